package ingress_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// mo is a text from a handset as a vendor link hands it up.
func (b *bundle) mo(text string) message.InboundMessage {
	for id := range b.config.Vendors {
		return message.InboundMessage{VendorID: id, VendorRef: message.NewID().String(), From: "13105550117", To: number.Digits(), Text: text,
			Encoding: message.EncodingGSM7, ReceivedAt: time.Now()}
	}
	return message.InboundMessage{}
}

// arrived is what the journal was given last.
func (b *bundle) arrived() message.Arrival {
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	all := b.journal.inbounds.arrived
	return all[len(all)-1]
}

func (b *bundle) came(t *testing.T, m message.InboundMessage) message.Arrival {
	t.Helper()
	if err := b.Inbound(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return b.arrived()
}

// Vendors write numbers in many ways; whose it is they mean counts.
func TestInboundFindsTheOwner(t *testing.T) {
	b := setup(t)
	short, london := message.Address("24365"), message.Address("+442071838750")
	for _, n := range []message.Address{short, london} {
		b.config.Numbers[n] = &snapshot.Number{Number: n, AccountID: b.account.ID, SMSEnabled: true}
	}
	b.config.Index()
	for _, tt := range []struct {
		to    string
		ton   byte
		want  message.Address // empty: nobody's, kept as Number or, if that is empty too, as written
		kept  message.Address
		from  string
		fton  byte
		wrote message.Address
	}{
		{to: "12025550143", want: number, from: "13105550117", wrote: "+13105550117"},
		{to: "+12025550143", want: number, from: "+13105550117", wrote: "+13105550117"},
		{to: "12025550143", ton: 1, want: number, from: "13105550117", fton: 1, wrote: "+13105550117"},
		{to: "2025550143", want: number, from: "3105550117", wrote: "+13105550117"},
		{to: "2025550143", ton: 2, want: number, from: "3105550117", fton: 2, wrote: "+13105550117"},
		{to: "24365", want: short, from: "13105550117", wrote: "+13105550117"},
		{to: "24365", ton: 3, want: short, from: "12345", fton: 3, wrote: "12345"},
		{to: "24365", ton: 1, want: short, from: "BANK", fton: 5, wrote: "BANK"},
		{to: "442071838750", want: london, from: "447700900123", wrote: "+447700900123"},
		{to: "13105550199", kept: "+13105550199", from: "13105550117", wrote: "+13105550117"},
		{to: "99999", kept: "99999", from: "not a number at all", wrote: "not a number at all"},
		{to: "", from: "", kept: "", wrote: ""},
		{to: "$%&/", kept: "$%&/", from: "13105550117", wrote: "+13105550117"},
	} {
		m := b.mo("STOP")
		m.To, m.ToTON, m.From, m.FromTON = tt.to, tt.ton, tt.from, tt.fton
		a := b.came(t, m)
		owned := a.AccountID == b.account.ID
		if owned != (tt.want != "") || a.Number != tt.want+tt.kept || a.Sender != tt.wrote {
			t.Errorf("%s (%d) to %s (%d): %q to %q, owned %v", tt.from, tt.fton, tt.to, tt.ton, a.Sender, a.Number, owned)
		}
		if a.Action != message.KeywordStop || (a.Act != nil) != (owned && tt.from != "BANK") {
			t.Errorf("to %s: %+v", tt.to, a)
		}
	}
}

// A recipient's national number is read as where the number is that he writes to, wherever
// the customer sits: else his STOP would be another's.
func TestInboundReadsSendersAsTheNumberDoes(t *testing.T) {
	b := setup(t)
	short, london := message.Address("24365"), message.Address("+442071838750")
	for _, n := range []message.Address{short, london} {
		b.config.Numbers[n] = &snapshot.Number{Number: n, AccountID: b.account.ID, SMSEnabled: true}
	}
	b.config.Index()
	for _, tt := range []struct {
		country  string // the account's
		to, from string
		ton      byte
		want     message.Address
	}{
		{"GB", "12025550143", "3105550117", 0, "+13105550117"},
		{"GB", "12025550143", "3105550117", 2, "+13105550117"},
		{"US", "442071838750", "02079460018", 0, "+442079460018"},
		{"US", "442071838750", "2079460018", 2, "+442079460018"},
		{"GB", "24365", "02079460018", 0, "+442079460018"}, // a short code is the customer's country's
		{"GB", "12025550143", "02079460018", 0, "+442079460018"},
		{"GB", "12025550143", "442079460018", 1, "+442079460018"},
	} {
		b.account.DefaultCountry = tt.country
		m := b.mo("STOP")
		m.To, m.From, m.FromTON = tt.to, tt.from, tt.ton
		if a := b.came(t, m); a.Sender != tt.want || a.Act == nil || a.Act.OptOut.Recipient != tt.want {
			t.Errorf("%s (%d) to %s of an account in %s: %q", tt.from, tt.ton, tt.to, tt.country, a.Sender)
		}
	}
}

func TestInboundKeywords(t *testing.T) {
	b := setup(t)
	b.account.CompanyName, b.account.Keywords = "Acme", snapshot.Keywords{Stop: []string{"leave"}}
	var seen []bool
	b.Metrics.Inbound = func(vendor, account message.ID, first bool) { seen = append(seen, first && account == b.account.ID) }
	for _, tt := range []struct {
		text   string
		action message.KeywordAction
		human  bool
	}{
		{"hello", message.KeywordNone, false},
		{"Stop.", message.KeywordStop, false},
		{"Leave!", message.KeywordStop, false},
		{"start", message.KeywordStart, false},
		{"help", message.KeywordHelp, false},
		{"cancel my order please", message.KeywordNone, true},
	} {
		a := b.came(t, b.mo(tt.text))
		if a.Action != tt.action || a.ForHuman != tt.human || (a.Act != nil) != (tt.action != message.KeywordNone) {
			t.Errorf("%s: %+v", tt.text, a)
		}
		if a.Act == nil {
			continue
		}
		if o, r := a.Act.OptOut, a.Act.Reply; o.Recipient != "+13105550117" || o.Sender != number || o.CampaignID != "C1" || a.Act.Tell == nil ||
			r == nil || r.ID == (message.ID{}) || r.From != number || r.To != "+13105550117" || !strings.HasPrefix(r.Text, "Acme: ") {
			t.Errorf("%s: %+v, %+v", tt.text, o, r)
		}
	}
	// A part has no keyword, whatever it says, nor have octets.
	part := b.mo("STOP")
	part.Part, part.Parts, part.Reference, part.Raw = 2, 2, 7, []byte("STOP")
	if a := b.came(t, part); a.Action != message.KeywordNone || a.Act != nil || a.AccountID != b.account.ID || a.Reference != 7 {
		t.Errorf("a part: %+v", a)
	}
	binary := b.mo("")
	binary.Raw, binary.Encoding = []byte("STOP"), message.EncodingBinary
	if a := b.came(t, binary); a.Action != message.KeywordNone || a.Act != nil {
		t.Errorf("octets: %+v", a)
	}
	if len(seen) != 8 || !seen[0] || seen[6] || !seen[7] {
		t.Errorf("counted %v", seen)
	}
	b.journal.down = errAway
	if err := b.Inbound(t.Context(), b.mo("STOP")); !errors.Is(err, errAway) {
		t.Errorf("while the journal is away: %v", err)
	}
	if len(seen) != 8 {
		t.Error("what was not committed is counted")
	}
}

// owed is how many answers are owed.
func (b *bundle) owed() int {
	return b.journal.count(func() int { return len(b.journal.inbounds.owed) })
}

// The answer is a message like others, but that it goes first, once, and from the
// number that was written to.
func TestAnswerBecomesAMessage(t *testing.T) {
	b := setup(t)
	b.account.CompanyName, b.account.Delivery, b.account.ForceSourceAddress = "Acme", message.AtLeastOnce, "+12025550199"
	b.Start(t.Context())
	defer b.Stop()
	a := b.came(t, b.mo("STOP"))
	b.journal.until(func() bool { return len(b.journal.accepted) == 1 && len(b.journal.inbounds.owed) == 0 })
	m := b.journal.all()[0].Message
	if m.ID != a.Act.Reply.ID || m.AccountID != b.account.ID || m.From != number || m.To != "+13105550117" || !m.Automatic || m.Edge != message.EdgeAutomatic ||
		m.Class != message.ClassOTP || m.Delivery != message.AtMostOnce || m.Status != message.StatusAccepted || m.Encoding != message.EncodingGSM7 || m.Segments != 1 {
		t.Errorf("%+v", m)
	}
	b.server.until(func() bool { return b.server.begun[m.ID] == 1 })
}

// Whatever fails on the way, the answer is accepted once in the end.
func TestAnswersAreSwept(t *testing.T) {
	for _, fails := range []string{"accept before", "accept after", "drop before", "drop after"} {
		t.Run(fails, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				step, when, _ := strings.Cut(fails, " ")
				var failed atomic.Int32
				b.journal.fault = func(name string) (before, after error) {
					if name != step || failed.Add(1) > 2 {
						return nil, nil
					}
					if when == "before" {
						return errAway, nil
					}
					return nil, errAway
				}
				b.Start(t.Context())
				defer b.Stop()
				a := b.came(t, b.mo("STOP"))
				for b.owed() > 0 || b.journal.count(func() int { return min(len(b.journal.accepted), b.journal.inbounds.pairs) }) == 0 {
					pass(time.Second)
				}
				if all := b.journal.all(); len(all) != 1 || all[0].Message.ID != a.Act.Reply.ID || failed.Load() == 0 {
					t.Errorf("%d accepted, %d failures", len(all), failed.Load())
				}
			})
		})
	}
}

// An answer that nobody can take, or that the policy refuses, is not owed for ever.
func TestAnswersThatCannotGo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *bundle)
		stored int
	}{
		{"no route", func(b *bundle) { b.config.Routes = nil }, 1},
		{"no account", func(b *bundle) { delete(b.config.Accounts, b.account.ID) }, 0},
		{"too long", func(b *bundle) { b.account.MaxParts = 1 }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := setup(t)
			b.account.HelpReply = strings.Repeat("long ", 50)
			a := b.came(t, b.mo("HELP"))
			tt.change(b)
			b.Start(t.Context())
			defer b.Stop()
			for b.owed() > 0 {
				pass(time.Second)
			}
			all := b.journal.all()
			if len(all) != tt.stored || tt.stored == 1 && (all[0].Message.ID != a.Act.Reply.ID || all[0].Message.Status != message.StatusRejected) {
				t.Errorf("%s: %+v", tt.name, all)
			}
		})
	}
}

// After an outage nobody is written to because of a word that he has long forgotten.
func TestAnswersThatComeTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		reply := func(age time.Duration) message.ID {
			r := message.AutomaticReply{ID: message.NewID(), AccountID: b.account.ID, From: number, To: "+13105550117", Text: "Acme: call us", CreatedAt: time.Now().Add(-age)}
			b.journal.inbounds.owed = append(b.journal.inbounds.owed, r)
			return r.ID
		}
		reply(6 * time.Minute)
		kept := reply(4 * time.Minute)
		b.Start(t.Context())
		defer b.Stop()
		for b.owed() > 0 {
			pass(time.Second)
		}
		if all := b.journal.all(); len(all) != 1 || all[0].Message.ID != kept {
			t.Errorf("%+v", all)
		}
	})
}

var _ ingress.Inbounds = (*journal)(nil)
