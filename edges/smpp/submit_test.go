package smpp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestSubmit(t *testing.T) {
	w := reqSetup(t)
	p := w.ask(reqText(func(m *smpp.Message) {
		m.ServiceType, m.ProtocolID, m.ESMClass = "USSD", 0x7F, 0x83 // none of our business, reply path and store and forward
		m.RegisteredDelivery = 0x1D                                  // final, both acknowledgements, notice
		m.TLVs.AddUint16(smpp.TagUserMessageReference, 0xBEEF)
		m.TLVs.AddCString(smpp.TagClientReference, strings.Repeat("é", 64))
		m.TLVs.Add(0x1403, []byte("unknown"))
	}))
	a := w.last()
	m, o := a.Message, a.Origin
	if p.Status != smpp.StatusOK || p.Body.(*smpp.SubmitSMResp).MessageID != message.Hex32(m.ID) || p.Body.(*smpp.SubmitSMResp).TLVs != nil {
		t.Errorf("answered %s %+v for %s", p.Status, p.Body, m.ID)
	}
	if m.AccountID != w.account.ID || m.Edge != message.EdgeSMPP || m.From != "+12025550143" || m.To != "+13105550117" || m.Body != "hello" ||
		m.Encoding != message.EncodingGSM7 || m.Class != message.ClassBulk || m.ClientReference != strings.Repeat("é", 64) || !m.SendAt.IsZero() ||
		m.ExpiresAt.Sub(m.CreatedAt) != 24*time.Hour || a.Idempotency != nil {
		t.Errorf("%+v", m)
	}
	if o.CredentialID != w.smpp.ID || o.Registered != 0x1D || o.Source != (message.SMPPAddress{TON: 1, NPI: 1, Text: "12025550143"}) ||
		o.Dest != (message.SMPPAddress{TON: 1, NPI: 1, Text: "13105550117"}) || string(o.Reference) != "\xBE\xEF" || o.AnswerID != message.Hex32(m.ID) {
		t.Errorf("%+v", o)
	}
	if got := w.counted(); got != "submit_sm ROK" {
		t.Errorf("counted %q", got)
	}
}

func reqPayload(m *smpp.Message, s string) {
	m.ShortMessage = nil
	m.TLVs.Add(smpp.TagMessagePayload, []byte(s))
}

// reqRefusal is a submit_sm that is refused, and with what.
type reqRefusal struct {
	name   string
	change func(*smpp.Message)
	config func(*reqWorld)
	want   smpp.Status
}

// reqRefusals are those of api.md §8 and §5.
var reqRefusals = []reqRefusal{
	{name: "text twice", change: func(m *smpp.Message) { m.TLVs.Add(smpp.TagMessagePayload, []byte("hello")) }, want: 0x01},
	{name: "text twice goes before the flag", change: func(m *smpp.Message) {
		m.ReplaceIfPresent = 1
		m.TLVs.Add(smpp.TagMessagePayload, []byte("hello"))
	}, want: 0x01},
	{name: "no text", change: func(m *smpp.Message) { m.ShortMessage = nil }, want: 0x01},
	{name: "only NULs", change: func(m *smpp.Message) { m.DataCoding, m.ShortMessage = 1, []byte{0, 0} }, want: 0x01},
	{name: "header longer than the text", change: func(m *smpp.Message) { m.ESMClass, m.ShortMessage = 0x40, []byte{5, 0, 3, 1} }, want: 0x43},
	{name: "sar incomplete", change: func(m *smpp.Message) { m.TLVs.AddUint16(smpp.TagSarMsgRefNum, 1) }, want: 0xC3},
	{name: "sar without sense", change: func(m *smpp.Message) {
		m.TLVs.AddUint16(smpp.TagSarMsgRefNum, 1)
		m.TLVs.AddByte(smpp.TagSarTotalSegments, 2)
		m.TLVs.AddByte(smpp.TagSarSegmentSeqnum, 3)
	}, want: 0xC4},
	{name: "replace_if_present", change: func(m *smpp.Message) { m.ReplaceIfPresent = 1 }, want: 0x54},
	{name: "replace goes before registered", change: func(m *smpp.Message) { m.ReplaceIfPresent, m.RegisteredDelivery = 1, 3 }, want: 0x54},
	{name: "default message", change: func(m *smpp.Message) { m.DefaultMsgID = 1 }, want: 0x63},
	{name: "registered 3", change: func(m *smpp.Message) { m.RegisteredDelivery = 3 }, want: 0x07},
	{name: "registered bit 5", change: func(m *smpp.Message) { m.RegisteredDelivery = 0x21 }, want: 0x07},
	{name: "registered bit 7", change: func(m *smpp.Message) { m.RegisteredDelivery = 0x80 }, want: 0x07},
	{name: "priority", change: func(m *smpp.Message) { m.Priority = 4 }, want: 0x06},
	{name: "schedule unreadable", change: func(m *smpp.Message) { m.Schedule = "260230000000000+" }, want: 0x61},
	{name: "schedule past", change: func(m *smpp.Message) { m.Schedule = smpp.FormatTime(reqNow.Add(-2 * time.Minute)) }, want: 0x61},
	{name: "schedule too far", change: func(m *smpp.Message) { m.Schedule = smpp.FormatTime(reqNow.Add(36 * 24 * time.Hour)) }, want: 0x61},
	{name: "schedule after validity", change: func(m *smpp.Message) {
		m.Schedule, m.Validity = smpp.FormatRelative(2*time.Hour), smpp.FormatRelative(time.Hour)
	}, want: 0x61},
	{name: "validity unreadable", change: func(m *smpp.Message) { m.Validity = "0000000000000000" }, want: 0x62},
	{name: "validity past", change: func(m *smpp.Message) { m.Validity = smpp.FormatTime(reqNow) }, want: 0x62},
	{name: "validity too short", change: func(m *smpp.Message) { m.Validity = smpp.FormatRelative(59 * time.Second) }, want: 0x62},
	{name: "validity too long", change: func(m *smpp.Message) { m.Validity = smpp.FormatRelative(72*time.Hour + time.Second) }, want: 0x62},
	{name: "datagram mode", change: func(m *smpp.Message) { m.ESMClass = 1 }, want: 0x43},
	{name: "transaction mode", change: func(m *smpp.Message) { m.ESMClass = 2 }, want: 0x43},
	{name: "acknowledgement", change: func(m *smpp.Message) { m.ESMClass = 0x08 }, want: 0x43},
	{name: "receipt", change: func(m *smpp.Message) { m.ESMClass = 0x04 }, want: 0x43},
	{name: "source ton", change: func(m *smpp.Message) { m.Source.TON = 7 }, want: 0x48},
	{name: "source npi", change: func(m *smpp.Message) { m.Source.NPI = 2 }, want: 0x49},
	{name: "source unreadable", change: func(m *smpp.Message) { m.Source = smpp.Address{TON: 5, Text: "<script>"} }, want: 0x0A},
	{name: "source of others", change: func(m *smpp.Message) { m.Source.Text = "12025550199" }, want: 0x0A},
	{name: "source empty, two numbers", change: func(m *smpp.Message) { m.Source = smpp.Address{} }, config: func(w *reqWorld) {
		w.config.Numbers["+12025550144"] = &snapshot.Number{Number: "+12025550144", AccountID: w.account.ID, SMSEnabled: true}
		w.config.Index()
	}, want: 0x0A},
	{name: "destination ton", change: func(m *smpp.Message) { m.Dest.TON = 9 }, want: 0x50},
	{name: "destination npi", change: func(m *smpp.Message) { m.Dest.NPI = 255 }, want: 0x51},
	{name: "destination empty", change: func(m *smpp.Message) { m.Dest = smpp.Address{} }, want: 0x0B},
	{name: "destination a name", change: func(m *smpp.Message) { m.Dest = smpp.Address{TON: 5, Text: "ACME"} }, want: 0x0B},
	{name: "destination impossible", change: func(m *smpp.Message) { m.Dest.Text = "11115550117" }, want: 0x0B},
	{name: "destination is the sender", change: func(m *smpp.Message) { m.Dest = m.Source }, want: 0x0B},
	{name: "premium", change: func(m *smpp.Message) { m.Dest.Text = "19005550117" }, want: 0x0B},
	{name: "no route", config: func(w *reqWorld) { w.config.Routes = nil }, want: 0x0B},
	{name: "binary", change: func(m *smpp.Message) { m.DataCoding = 4 }, config: noSMPPVendor, want: 0x45},
	{name: "pictogram", change: func(m *smpp.Message) { m.DataCoding = 9 }, want: 0x45},
	{name: "octets of no alphabet", change: func(m *smpp.Message) { m.ShortMessage = []byte("caf\xE9") }, want: 0x45},
	{name: "ports", change: func(m *smpp.Message) {
		m.ESMClass, m.ShortMessage = 0x40, []byte{6, 5, 4, 0x0B, 0x84, 0x23, 0xF0, 'h', 'i'}
	}, config: noSMPPVendor, want: 0x45},
	{name: "ports, too long", change: func(m *smpp.Message) {
		m.ESMClass, m.ShortMessage = 0x40, append([]byte{6, 5, 4, 0x0B, 0x84, 0x23, 0xF0}, strings.Repeat("a", 153)...)
	}, want: 0x01},
	{name: "octets, too many", change: func(m *smpp.Message) {
		reqPayload(m, strings.Repeat("a", 10*134+1))
		m.DataCoding = 4
	}, want: 0x01},
	{name: "no octets", change: func(m *smpp.Message) { m.DataCoding, m.ShortMessage = 4, nil }, want: 0x01},
	{name: "national, too long", change: func(m *smpp.Message) {
		m.ESMClass, m.ShortMessage = 0x40, append([]byte{3, 0x24, 1, 1}, strings.Repeat("a", 156)...)
	}, want: 0x01},
	{name: "too many parts", change: func(m *smpp.Message) { reqPayload(m, strings.Repeat("a", 10*153+1)) }, want: 0x01},
	{name: "64 KiB", change: func(m *smpp.Message) { reqPayload(m, strings.Repeat("a", 65000)) }, want: 0x01},
	{name: "64 KiB over the rate", change: func(m *smpp.Message) { reqPayload(m, strings.Repeat("a", 65000)) },
		config: func(w *reqWorld) { w.smpp.Throughput = 100 }, want: 0x01},
	{name: "key empty", change: func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagIdempotencyKey, "") }, want: 0xC4},
	{name: "key with blanks", change: func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagIdempotencyKey, "a b") }, want: 0xC4},
	{name: "key too long", change: func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagIdempotencyKey, strings.Repeat("k", 256)) }, want: 0xC4},
	{name: "reference too long", change: func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagClientReference, strings.Repeat("é", 65)) }, want: 0xC4},
	{name: "reference not UTF-8", change: func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagClientReference, "caf\xE9") }, want: 0xC4},
	{name: "reference with a NUL", change: func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagClientReference, "a\x00b") }, want: 0xC4},
	{name: "class", change: func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagMessageClass, "urgent") }, want: 0xC4},
	{name: "class empty", change: func(m *smpp.Message) { m.TLVs.Add(smpp.TagMessageClass, nil) }, want: 0xC4},
	{name: "account suspended", config: func(w *reqWorld) { w.account.Status = snapshot.AccountSuspended }, want: 0x45},
	{name: "account gone", config: func(w *reqWorld) { delete(w.config.Accounts, w.account.ID) }, want: 0x45},
	{name: "campaign inactive", config: func(w *reqWorld) {
		for _, c := range w.config.Campaigns {
			c.Status = snapshot.CampaignSuspended
		}
	}, want: 0x45},
	{name: "credential disabled", config: func(w *reqWorld) { w.smpp.Enabled = false }, want: 0x45},
	{name: "journal away", config: func(w *reqWorld) {
		w.store.down = func(message.Acceptance) error { return message.Refuse(message.ReasonUnavailable, "away") }
	}, want: 0x08},
	{name: "journal broken", config: func(w *reqWorld) { w.store.down = func(message.Acceptance) error { return errors.New("no") } }, want: 0x08},
	{name: "backlog", config: func(w *reqWorld) {
		w.store.down = func(message.Acceptance) error { return message.Refuse(message.ReasonQueueFull, "full") }
	}, want: 0x14},
	{name: "quota", config: func(w *reqWorld) {
		w.store.down = func(message.Acceptance) error { return message.Refuse(message.ReasonQuotaExceeded, "spent") }
	}, want: 0x14},
}

// A refusal is a header only, and nothing is left that will be sent.
func TestSubmitRefused(t *testing.T) {
	for _, c := range reqRefusals {
		t.Run(c.name, func(t *testing.T) {
			w := reqSetup(t)
			if c.config != nil {
				c.config(w)
			}
			p := w.ask(reqText(c.change))
			if p.Status != c.want || len(p.Raw) != smpp.HeaderSize {
				t.Errorf("answered %s with %d octets, want %s and a header", p.Status, len(p.Raw), c.want)
			}
			if n := len(w.store.taken()); n != 0 {
				t.Errorf("%d were accepted", n)
			}
			if want := "submit_sm " + c.want.String(); w.counted() != want {
				t.Errorf("counted %q, want %q", w.counted(), want)
			}
			w.quiet()
		})
	}
}

// Every reason of the catalogue that ingress may give has its status.
func TestSubmitByCatalogue(t *testing.T) {
	for _, e := range message.Catalogue() {
		w := reqSetup(t)
		w.ingress.accept = func(context.Context, ingress.Request) (ingress.Outcome, error) {
			return ingress.Outcome{}, message.Refuse(e.Reason, "refused")
		}
		want := smpp.Status(e.SMPP)
		if want == 0 {
			want = smpp.StatusSystemError // it cannot arise here
		}
		if p := w.ask(reqText(nil)); p.Status != want {
			t.Errorf("%s: answered %s, want %s", e.Reason, p.Status, want)
		}
	}
}

func TestSubmitClass(t *testing.T) {
	for _, c := range []struct {
		priority byte
		tlv      string
		want     message.Class
	}{
		{0, "", message.ClassBulk}, {1, "", message.ClassConversation}, {2, "", message.ClassOTP}, {3, "", message.ClassOTP},
		{0, "otp", message.ClassOTP}, {3, "bulk", message.ClassBulk}, {1, "conversation\x00", message.ClassConversation},
	} {
		w := reqSetup(t)
		p := w.ask(reqText(func(m *smpp.Message) {
			m.Priority = c.priority
			if c.tlv != "" {
				m.TLVs.Add(smpp.TagMessageClass, []byte(c.tlv))
			}
		}))
		if p.Status != smpp.StatusOK || w.last().Message.Class != c.want {
			t.Errorf("%+v: %s", c, p.Status)
		}
	}
}

func TestSubmitTimes(t *testing.T) {
	at := reqNow.Add(3 * time.Hour)
	for _, c := range []struct {
		schedule, validity string
		sendAt             time.Time
		valid              time.Duration // from the sending
	}{
		{"", "", time.Time{}, 24 * time.Hour},
		{"", smpp.FormatRelative(time.Minute), time.Time{}, time.Minute},
		{"", smpp.FormatRelative(72 * time.Hour), time.Time{}, 72 * time.Hour},
		{"", smpp.FormatTime(at), time.Time{}, 3 * time.Hour},
		{"", "261121221504008-", time.Time{}, 4 * time.Hour}, // at UTC-2 it is two hours earlier than it says
		{smpp.FormatTime(at), "", at, 24 * time.Hour},
		{smpp.FormatRelative(3 * time.Hour), smpp.FormatRelative(4 * time.Hour), at, time.Hour},
		{smpp.FormatTime(at), smpp.FormatTime(at.Add(90 * time.Minute)), at, 90 * time.Minute},
		{smpp.FormatTime(reqNow.Add(-30 * time.Second)), smpp.FormatRelative(time.Hour), reqNow.Add(-30 * time.Second), time.Hour},
	} {
		w := reqSetup(t)
		if p := w.ask(reqText(func(m *smpp.Message) { m.Schedule, m.Validity = c.schedule, c.validity })); p.Status != smpp.StatusOK {
			t.Errorf("%+v: %s", c, p.Status)
			continue
		}
		m, from := w.last().Message, reqNow
		if c.sendAt.After(reqNow) {
			from = c.sendAt
		}
		if !m.SendAt.Equal(c.sendAt) || m.ExpiresAt.Sub(from) != c.valid {
			t.Errorf("%+v: send at %s, expires %s", c, m.SendAt, m.ExpiresAt)
		}
	}
}

func TestSubmitPayload(t *testing.T) {
	w := reqSetup(t)
	long := strings.Repeat("a", 3*153)
	p := w.ask(reqText(func(m *smpp.Message) { m.ShortMessage = nil; m.TLVs.Add(smpp.TagMessagePayload, []byte(long)) }))
	if m := w.last().Message; p.Status != smpp.StatusOK || m.Body != long || m.Segments != 3 {
		t.Errorf("%s, %d parts", p.Status, m.Segments)
	}
}

// A header that says part 1 of 1, and one that says nothing, leave a whole text.
func TestSubmitHeaderOfAWholeText(t *testing.T) {
	for _, text := range []string{"\x00hello", "\x05\x00\x03\x07\x01\x01hello"} {
		w := reqSetup(t)
		if p := w.ask(reqText(func(m *smpp.Message) { m.ESMClass, m.ShortMessage = 0x40, []byte(text) })); p.Status != smpp.StatusOK || w.last().Message.Body != "hello" {
			t.Errorf("%q: %s", text, p.Status)
		}
	}
}

func TestDataSM(t *testing.T) {
	data := func(change func(*smpp.DataSM)) *smpp.DataSM {
		p := &smpp.DataSM{Source: reqFrom, Dest: reqTo, RegisteredDelivery: 2, DataCoding: 8}
		p.TLVs.Add(smpp.TagMessagePayload, []byte("\x00h\x00i"))
		if change != nil {
			change(p)
		}
		return p
	}
	w := reqSetup(t)
	p := w.ask(data(nil))
	a := w.last()
	if p.Status != smpp.StatusOK || p.Body.(*smpp.DataSMResp).MessageID != message.Hex32(a.Message.ID) || a.Message.Body != "hi" || a.Origin.Registered != 2 {
		t.Errorf("%s %+v %+v", p.Status, p.Body, a.Message)
	}
	if w.counted() != "data_sm ROK" {
		t.Errorf("counted %q", w.counted())
	}
	for _, c := range []struct {
		name   string
		change func(*smpp.DataSM)
		want   smpp.Status
	}{
		{"no payload", func(p *smpp.DataSM) { p.TLVs = nil }, 0xC3},
		{"no payload goes before the class", func(p *smpp.DataSM) { p.TLVs, p.ESMClass = nil, 2 }, 0xC3},
		{"empty payload", func(p *smpp.DataSM) { p.TLVs[0].Data = nil }, 0x01},
		{"transaction mode", func(p *smpp.DataSM) { p.ESMClass = 2 }, 0x43},
		{"registered", func(p *smpp.DataSM) { p.RegisteredDelivery = 3 }, 0x07},
		{"long destination", func(p *smpp.DataSM) { p.Dest.Text = strings.Repeat("1", 64) }, 0x0B},
		{"pictogram", func(p *smpp.DataSM) { p.DataCoding = 9 }, 0x45},
	} {
		if p := w.ask(data(c.change)); p.Status != c.want || p.Body.(*smpp.DataSMResp).MessageID != "" {
			t.Errorf("%s: %s %+v, want %s", c.name, p.Status, p.Body, c.want)
		}
	}
	w.last()
}

func TestSubmitSender(t *testing.T) {
	w := reqSetup(t)
	if p := w.ask(reqText(func(m *smpp.Message) { m.Source = smpp.Address{} })); p.Status != smpp.StatusOK {
		t.Fatal(p.Status)
	}
	if a := w.last(); a.Message.From != "+12025550143" || a.Origin.Source != (message.SMPPAddress{}) {
		t.Errorf("the only number: %+v", a.Message)
	}
	w = reqSetup(t)
	w.account.ForceSourceAddress = "72345"
	w.ask(reqText(nil))
	if a := w.last(); a.Message.From != "72345" || a.Message.RequestedFrom != "+12025550143" || a.Origin.Source.Text != "12025550143" {
		t.Errorf("forced: %+v", a.Message)
	}
}

// A peer below version 3.4 reads 8 hex digits, and finds its message by them.
func TestSubmitOfOlderPeer(t *testing.T) {
	w := reqSetup(t)
	w.bound.legacy = true
	seen := map[string]bool{}
	for range 100 {
		p := w.ask(reqText(nil))
		id := p.Body.(*smpp.SubmitSMResp).MessageID
		if _, ok := readMessageID(id); !ok || len(id) != 8 || seen[id] || p.Body.(*smpp.SubmitSMResp).TLVs != nil {
			t.Fatalf("answered %q", id)
		}
		seen[id] = true
	}
	for _, a := range w.store.taken() {
		if !seen[a.Origin.AnswerID] {
			t.Errorf("%s is not an id that was answered", a.Origin.AnswerID)
		}
	}
}

func TestSubmitKey(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		t.Run(fmt.Sprint("legacy ", legacy), func(t *testing.T) {
			w := reqSetup(t)
			w.bound.legacy = legacy
			keyed := func(key string, change func(*smpp.Message)) *smpp.SubmitSM {
				return reqText(func(m *smpp.Message) {
					m.TLVs.AddCString(smpp.TagIdempotencyKey, key)
					if change != nil {
						change(m)
					}
				})
			}
			first := w.ask(keyed("order-1", nil))
			id := first.Body.(*smpp.SubmitSMResp).MessageID
			if first.Status != smpp.StatusOK || id != w.last().Origin.AnswerID || w.last().Idempotency.Operation != "submit_sm" {
				t.Fatalf("%s %q", first.Status, id)
			}
			again := w.ask(keyed("order-1", nil))
			if again.Status != smpp.StatusOK || again.Body.(*smpp.SubmitSMResp).MessageID != id {
				t.Errorf("again: %s %+v", again.Status, again.Body)
			}
			data := &smpp.DataSM{Source: reqFrom, Dest: reqTo, RegisteredDelivery: 1}
			data.TLVs.AddCString(smpp.TagIdempotencyKey, "order-1")
			data.TLVs.Add(smpp.TagMessagePayload, []byte("hello"))
			if p := w.ask(data); p.Status != smpp.StatusOK || p.Body.(*smpp.DataSMResp).MessageID != id {
				t.Errorf("again as data_sm: %s %+v", p.Status, p.Body)
			}
			for name, change := range map[string]func(*smpp.Message){
				"text":       func(m *smpp.Message) { m.ShortMessage = []byte("hallo") },
				"number":     func(m *smpp.Message) { m.Dest.Text = "13105550118" },
				"registered": func(m *smpp.Message) { m.RegisteredDelivery = 0 },
				"validity":   func(m *smpp.Message) { m.Validity = smpp.FormatRelative(time.Hour) },
				"class":      func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagMessageClass, "otp") },
			} {
				if p := w.ask(keyed("order-1", change)); p.Status != smpp.StatusSubmitFail {
					t.Errorf("other %s: %s", name, p.Status)
				}
			}
			w.last()
			foreign := func(m *smpp.Message) { m.Source.Text = "12025550199" }
			for range 2 { // the refusal is stored, and given again
				if p := w.ask(keyed("order-2", foreign)); p.Status != smpp.StatusInvSource {
					t.Errorf("refused: %s", p.Status)
				}
			}
			if n := w.store.stored(); n != 2 {
				t.Errorf("%d stored, want one accepted and one refused", n)
			}
		})
	}
}

func TestAcceptedWithoutMessage(t *testing.T) {
	w := reqSetup(t)
	w.ingress.accept = func(context.Context, ingress.Request) (ingress.Outcome, error) { return ingress.Outcome{}, nil }
	if p := w.ask(reqText(nil)); p.Status != smpp.StatusSystemError {
		t.Error(p.Status)
	}
}

// Over the rate nothing is stored. What a request costs is its parts, for each
// number; a request that is refused for what it says costs nothing.
func TestThrottled(t *testing.T) {
	long := func(m *smpp.Message) { m.ShortMessage = []byte(strings.Repeat("a", 161)) }
	data := &smpp.DataSM{Source: reqFrom, Dest: reqTo}
	data.TLVs.Add(smpp.TagMessagePayload, []byte("hello"))
	for _, c := range []struct {
		name     string
		rate     int
		first    []smpp.PDU // within the rate
		over     smpp.PDU
		messages int // in over
	}{
		{"one", 1, []smpp.PDU{reqText(nil)}, reqText(nil), 1},
		{"data_sm", 1, []smpp.PDU{data}, data, 1},
		{"parts", 3, []smpp.PDU{reqText(long), reqText(nil)}, reqText(nil), 1},
		{"parts over", 3, []smpp.PDU{reqText(nil), reqText(nil)}, reqText(long), 1},
		{"numbers", 4, []smpp.PDU{reqMulti(func(p *smpp.SubmitMulti) { long(&p.Message) }, "13105550117", "13105550118")}, reqText(nil), 1},
		{"numbers over", 4, []smpp.PDU{reqText(nil)}, reqMulti(func(p *smpp.SubmitMulti) { long(&p.Message) }, "13105550117", "13105550118"), 2},
		{"refused", 1, []smpp.PDU{reqText(func(m *smpp.Message) { m.Dest.Text = "1" }), reqText(nil)}, reqText(nil), 1},
		{"query", 1, []smpp.PDU{&smpp.QuerySM{}, reqText(nil)}, reqText(nil), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := reqSetup(t)
			w.smpp.Throughput = c.rate
			for _, pdu := range c.first {
				if p := w.ask(pdu); p.Status == smpp.StatusThrottled {
					t.Fatalf("%T within the rate: %s", pdu, p.Status)
				}
			}
			stored := w.store.stored()
			if p := w.ask(c.over); p.Status != smpp.StatusThrottled || w.store.stored() != stored {
				t.Errorf("%s, %d stored", p.Status, w.store.stored()-stored)
			}
			if want := fmt.Sprintf("throttled %s bind %d, ", w.account.ID, c.messages) + commandName(c.over) + " RTHROTTLED"; !strings.HasSuffix(w.counted(), want) {
				t.Errorf("counted %q", w.counted())
			}
		})
	}
}

// ROK comes after the commit, and later requests do not wait for it.
func TestAnswerAfterCommit(t *testing.T) {
	w := reqSetup(t)
	entered, commit := make(chan struct{}), make(chan struct{})
	w.store.down = func(a message.Acceptance) error {
		if a.Message.Body == "slow" {
			close(entered)
			<-commit
		}
		return nil
	}
	slow := w.send(reqText(func(m *smpp.Message) { m.ShortMessage = []byte("slow") }))
	<-entered
	if p := w.ask(reqText(nil)); p.Status != smpp.StatusOK {
		t.Error(p.Status)
	}
	w.quiet()
	close(commit)
	if p := w.read(); p.Sequence != slow || p.Status != smpp.StatusOK {
		t.Errorf("%d %s", p.Sequence, p.Status)
	}
	if n := len(w.store.taken()); n != 2 {
		t.Errorf("%d accepted", n)
	}
}
