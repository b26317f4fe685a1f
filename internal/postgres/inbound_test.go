package postgres

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	handset message.Address = "+13105550117"
	ours    message.Address = "+12025550143"
)

// arrival is a text from the handset as ingress hands it over: to a number of
// nobody's unless it gets an owner.
func (b *bundle) arrival(text string) message.Arrival {
	return message.Arrival{ID: message.NewID(), Sender: handset, Number: ours,
		InboundMessage: message.InboundMessage{VendorID: b.vendor.ID, Text: text, Encoding: message.EncodingGSM7, ReceivedAt: time.Now().UTC().Truncate(time.Microsecond)}}
}

func (b *bundle) owned(a message.Arrival) message.Arrival {
	a.AccountID = b.owner
	return a
}

// keyword is an arrival that does something, and whose answer the gateway gives.
func (b *bundle) keyword(action message.KeywordAction) message.Arrival {
	a := b.owned(b.arrival(string(action)))
	a.Keyword, a.Action = strings.ToUpper(string(action)), action
	a.Act = &message.KeywordAct{
		OptOut: message.OptOut{AccountID: b.owner, Recipient: handset, Scope: message.OptOutNumber, Sender: ours, CampaignID: "C8X2KQ1", Keyword: a.Keyword, Source: message.OptOutByKeyword},
		Reply:  &message.AutomaticReply{ID: message.NewID(), AccountID: b.owner, From: ours, To: handset, Text: "answer to " + a.Keyword, Action: action},
	}
	return a
}

func (b *bundle) came(a message.Arrival) message.Arrived {
	b.tb.Helper()
	out, err := b.Inbound(b.ctx, a)
	if err != nil {
		b.tb.Fatal(err)
	}
	return out
}

// records are the owner's inbound messages, oldest first.
func (b *bundle) records() []message.InboundRecord {
	b.tb.Helper()
	list, err := b.InboundOf(b.ctx, b.owner, 100)
	if err != nil {
		b.tb.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// story is the kinds of events of an inbound message, whose numbers must have no
// gaps.
func (b *bundle) story(id message.ID) string {
	b.tb.Helper()
	events, err := b.Events(b.ctx, id, 0, 100)
	if err != nil {
		b.tb.Fatal(err)
	}
	var kinds []string
	for i, e := range events {
		if e.Sequence != i+1 {
			b.tb.Errorf("event %d has number %d", i+1, e.Sequence)
		}
		kinds = append(kinds, string(e.Type))
	}
	if n := b.count("select event_seq from inbound_messages where id = $1", id); n != len(events) {
		b.tb.Errorf("event_seq is %d of %d events", n, len(events))
	}
	return strings.Join(kinds, " ")
}

func TestInboundIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	whole := b.owned(b.arrival("where is it? ñ"))
	part := b.owned(b.arrival(""))
	part.Raw, part.Header, part.DataCoding, part.Alphabet, part.Encoding = []byte{0, 'a', 0xD8}, []byte{4, 1, 7}, 8, "latin1", message.EncodingUCS2
	part.Reference, part.Part, part.Parts = 2<<16+7, 1, 3
	binary := b.owned(b.arrival(""))
	binary.Raw, binary.DataCoding, binary.Encoding = []byte{1, 2}, 4, message.EncodingBinary
	lost := b.arrival("STOP")
	lost.Keyword, lost.Action = "STOP", message.KeywordStop
	odd := b.owned(b.arrival("\x00 NUL\xff"))
	odd.Sender, odd.VendorRef, odd.ForHuman = "BA\x00NK\xff", "a\x00b", true
	for _, a := range []message.Arrival{whole, part, binary, lost, odd} {
		if out := b.came(a); !idle(out) {
			t.Errorf("%q: %+v", a.Text, out)
		}
		if got := b.story(a.ID); got != "received" {
			t.Errorf("%q: %s", a.Text, got)
		}
	}
	got := b.records()
	if len(got) != 4 {
		t.Fatalf("%d records", len(got))
	}
	for i, a := range []message.Arrival{whole, part, binary} {
		r := got[i]
		if r.ID != a.ID || r.AccountID != b.owner || r.VendorID != b.vendor.ID || r.From != handset || r.To != ours || r.Text != a.Text || r.Encoding != a.Encoding ||
			r.Part != a.Part || r.Parts != a.Parts || !r.ReceivedAt.Equal(a.ReceivedAt) || r.RepeatOf != (message.ID{}) || r.ForHuman || r.Changed {
			t.Errorf("%+v\nis not %+v", r, a)
		}
	}
	if r := got[3]; !r.ForHuman || r.Text != odd.Text {
		t.Errorf("%+v", r)
	}
	var raw, header []byte
	var reference, coding int
	if err := b.pool.QueryRow(b.ctx, "select raw, user_data_header, reference, data_coding from inbound_messages where id = $1 and alphabet = 'latin1'", part.ID).Scan(&raw, &header, &reference, &coding); err != nil {
		t.Fatal(err)
	}
	for _, sealed := range []struct{ got, place, want []byte }{{raw, rawPlace(part.ID), part.Raw}, {header, headerPlace(part.ID), part.Header}} {
		if clear, err := b.sealer.Open(sealed.got, sealed.place); err != nil || !bytes.Equal(clear, sealed.want) {
			t.Errorf("%x, %v", clear, err)
		}
	}
	if reference != part.Reference || coding != 8 {
		t.Errorf("reference %d, data_coding %d", reference, coding)
	}
	unrouted, err := b.InboundUnrouted(b.ctx, "", message.ID{}, 10)
	if err != nil || len(unrouted) != 1 || unrouted[0].ID != lost.ID || unrouted[0].Keyword != "STOP" || unrouted[0].AccountID != (message.ID{}) {
		t.Errorf("unrouted: %+v, %v", unrouted, err)
	}
	human, err := b.InboundForHuman(b.ctx, 10)
	if err != nil || len(human) != 1 || human[0].ID != odd.ID {
		t.Errorf("for a human: %+v, %v", human, err)
	}
}

// The vendor's id tells a repetition; without one, what says the same shortly after
// is kept as one that may be.
func TestInboundAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.owned(b.arrival("one"))
	first.VendorRef = "mo-1"
	again := first
	again.ID = message.NewID()
	other := again // the vendor counts from the beginning once more
	other.ID, other.Text = message.NewID(), "two"
	if b.came(first).Again || !b.came(again).Again || !b.came(again).Again || b.came(other).Again {
		t.Error("the vendor's id is not what tells a repetition")
	}
	if n := b.count("select seen from inbound_messages where id = $1", first.ID); n != 3 {
		t.Errorf("seen %d times", n)
	}
	plain := b.owned(b.arrival("three"))
	repeated, late, elsewhere := plain, plain, plain
	repeated.ID, repeated.ReceivedAt = message.NewID(), plain.ReceivedAt.Add(repeatWithin-time.Second)
	late.ID, late.ReceivedAt = message.NewID(), plain.ReceivedAt.Add(-repeatWithin-time.Second)
	elsewhere.ID, elsewhere.Sender = message.NewID(), "+13105550118"
	for _, a := range []message.Arrival{plain, repeated, late, elsewhere} {
		if b.came(a).Again {
			t.Errorf("%+v is lost", a)
		}
	}
	for _, r := range b.records() {
		want := message.ID{}
		if r.ID == repeated.ID {
			want = plain.ID
		}
		if r.RepeatOf != want {
			t.Errorf("%s repeats %s", r.ID, r.RepeatOf)
		}
	}
	// The same twice, as after an answer that was lost on its way: nothing fails.
	if out, err := b.Inbound(b.ctx, plain); err != nil || !out.Again {
		t.Errorf("written twice: %+v, %v", out, err)
	}
	if n := b.count("select count(*) from message_events where message_id = $1", plain.ID); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestKeywordsInTheSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.configured()
	if a, v := s.Accounts[b.owner], s.Vendors[b.vendor.ID]; len(a.Keywords.Stop) > 0 || a.StopReply != "" || v.Replies != snapshot.RepliesDefault {
		t.Errorf("as made: %+v, %q", a, v.Replies)
	}
	words := snapshot.Keywords{Stop: []string{"leave"}, Help: []string{"menú"}}
	stop, help, empty := "no more of {company}", "call us", ""
	for _, c := range []AnswersChange{{Keywords: &words, StopReply: &stop}, {HelpReply: &help}, {StartReply: &empty}} {
		if err := b.ChangeAnswers(b.ctx, actor, b.owner, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []snapshot.VendorReplies{snapshot.RepliesVendor, snapshot.RepliesGateway, snapshot.RepliesDefault} {
		if err := b.SetVendorReplies(b.ctx, actor, b.vendor.Name, r); err != nil {
			t.Fatal(err)
		}
		s, err := b.LoadSnapshot(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Vendors[b.vendor.ID].Replies; got != r {
			t.Errorf("replies %q, want %q", got, r)
		}
		a := s.Accounts[b.owner]
		if !slices.Equal(a.Keywords.Stop, words.Stop) || !slices.Equal(a.Keywords.Help, words.Help) || a.StopReply != stop || a.HelpReply != help || a.StartReply != "" {
			t.Errorf("%+v", a)
		}
	}
	if err := b.SetVendorReplies(b.ctx, actor, "nobody", snapshot.RepliesVendor); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("of no vendor: %v", err)
	}
	if err := b.ChangeAnswers(b.ctx, actor, message.NewID(), AnswersChange{StopReply: &stop}); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("of no account: %v", err)
	}
}

func TestInboundPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, sql := range []string{
		`insert into inbound_messages (id, account_id, vendor_id, vendor_message_id, fingerprint, from_addr, to_addr, encoding, for_human, received_at)
		 select gen_random_uuid(), case when n % 10 > 0 then gen_random_uuid() end, gen_random_uuid(), case when n % 2 = 0 then n::text else '' end, sha256(n::text::bytea), '+1310', '+1202', 'gsm7', n % 100 = 0, now()
		 from generate_series(1, 20000) n`,
		`insert into keyword_pairs (number, recipient, day) select '+1', n::text, current_date - n % 3 from generate_series(1, 20000) n`,
		`insert into automatic_replies (id, inbound_id, account_id, from_addr, to_addr, body, action, taken_at)
		 select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '', '', '', 'stop', now() - n * interval '1 second' from generate_series(1, 20000) n`,
		analyze,
	} {
		b.exec(sql)
	}
	for _, q := range []struct {
		name, sql string
		params    int
		uses      string
	}{
		{"Inbound", insertInbound, 37, "inbound_messages_said"},
		{"Inbound again", insertInbound, 37, "inbound_messages_vendor_id"},
		{"InboundOf", selectInboundOf, 2, "inbound_messages_account"},
		{"InboundUnrouted", selectInboundUnrouted, 2, "inbound_messages_unrouted"},
		{"InboundForHuman", selectInboundHuman, 1, "inbound_messages_human"},
		{"RepliesDue", takeReplies, 2, "automatic_replies_taken"},
		{"owe", countReply, 5, "keyword_pairs_pkey"},
		{"ForgetPairs", deletePairs, 1, "keyword_pairs_day"},
		{"Traffic", selectTraffic, 3, "inbound_messages_pkey"},
	} {
		plan := b.explain(q.sql, q.params, "off")
		if !strings.Contains(plan, q.uses) || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s:\n%s", q.name, plan)
		}
	}
}

// idle reports whether nothing came of an arrival but that it is kept.
func idle(out message.Arrived) bool {
	return !out.Again && !out.Changed && out.Reply == nil && out.Start == nil && len(out.Wholes) == 0
}
