package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

func TestSubmitAndReceipt(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	m := sms("15551230001", "Hello there, how are you today?")
	m.TLVs.Add(smpp.TagUserMessageReference, []byte{1, 2})
	id := e.submit(m)
	d := e.receive()
	r, ok := smpp.ReceiptOf(&d.Message, string(d.ShortMessage))
	if !ok || r.ID != id || r.TLVID != id || r.State != message.ReceiptDelivered || r.Err != "000" || r.Sub != 1 || r.Dlvrd != 1 {
		t.Errorf("receipt %+v of %s", r, id)
	}
	if r.Text != "Hello there, how are" {
		t.Errorf("receipt repeats %q", r.Text)
	}
	if d.Source != m.Dest || d.Dest != m.Source {
		t.Errorf("receipt from %v to %v", d.Source, d.Dest)
	}
	if ref, _ := d.TLVs.Uint16(smpp.TagUserMessageReference); ref != 0x0102 {
		t.Errorf("receipt has reference %x", ref)
	}
	e.settle()
	got := s.seen()
	if got.Accepted != 1 || got.Answered != 1 || got.ReceiptsSent != 1 || got.ReceiptsAcked != 1 || got.ReceiptsPending != 0 ||
		got.Sessions != 1 || got.DistinctMessages != 1 || got.Duplicates != 0 || got.Parts != 1 || got.Refused["RINVDSTADR"] != 1 {
		t.Errorf("stats %+v", got)
	}
}

func TestMagicDestinations(t *testing.T) {
	s := configured(t, func(c *config) { c.Magic = true })
	for _, row := range []struct {
		digits string
		state  message.ReceiptState
		err    string
	}{
		{"0001", message.ReceiptUndeliverable, "001"},
		{"0002", message.ReceiptExpired, "002"},
		{"0003", message.ReceiptRejected, "003"},
		{"1234", message.ReceiptDelivered, "000"},
	} {
		e := dial(t, s)
		id := e.submit(sms("1555123"+row.digits, "x"))
		if r := e.receipt(); r.ID != id || r.State != row.state || r.Err != row.err {
			t.Errorf("%s: receipt %+v", row.digits, r)
		}
		e.settle() // or the next client gets it again
		e.session.Close()
	}
}

func TestMagicRefusals(t *testing.T) {
	s := configured(t, func(c *config) { c.Magic = true })
	e := dial(t, s)
	e.refused(sms("15551230006", "x"), smpp.StatusThrottled)
	e.refused(sms("15559990006", "x"), smpp.StatusThrottled)
	first := e.submit(sms("15551230006", "x"))
	if r := e.receipt(); r.ID != first {
		t.Errorf("receipt %+v", r)
	}
	e.refused(sms("15551230014", "x"), smpp.StatusMsgQueueFull)
	e.submit(sms("15551230014", "x"))
	e.receipt()
	for range 2 {
		e.refused(sms("15551230007", "x"), smpp.StatusSystemError)
		e.refused(sms("15551230008", "x"), smpp.StatusInvDest)
		e.refused(sms("15551230015", "x"), smpp.StatusSubmitFail)
	}
	e.nothing()
	if got := s.seen(); got.Accepted != 2 || got.Refused["RTHROTTLED"] != 2 || got.Refused["RSYSERR"] != 2 || got.Parts != 2 {
		t.Errorf("stats %+v", got)
	}
}

func TestMagicReceiptCounts(t *testing.T) {
	s := configured(t, func(c *config) { c.Magic = true })
	e := dial(t, s)
	e.submit(sms("15551230004", "no receipt"))
	e.nothing()
	id := e.submit(sms("15551230010", "two receipts"))
	for range 2 {
		if r := e.receipt(); r.ID != id {
			t.Errorf("receipt %+v", r)
		}
	}
	e.nothing()
}

func TestSilence(t *testing.T) {
	for _, row := range []struct {
		name, destination string
		edit              func(c *config)
		receipt           bool
	}{
		{"magic with receipt", "15551230005", func(c *config) { c.Magic = true }, true},
		{"magic without", "15551230013", func(c *config) { c.Magic = true }, false},
		{"percent with receipt", "15551239999", func(c *config) { c.SilentPercent = 100 }, true},
		{"percent without", "15551239999", func(c *config) { c.SilentPercent, c.SilentReceipts = 100, false }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := configured(t, row.edit)
			e := dial(t, s)
			ended := make(chan error, 1)
			err := e.session.Start(within(t), sms(row.destination, "x"), func(_ smpp.Packet, err error) { ended <- err })
			if err != nil {
				t.Fatal(err)
			}
			if row.receipt {
				e.receipt()
			}
			e.nothing()
			e.session.Close()
			var lost *smpp.RequestError
			if err := <-ended; !errors.As(err, &lost) || !lost.Ambiguous() {
				t.Errorf("submit ended with %v, want in doubt", err)
			}
			if got := s.seen(); got.Silent != 1 || got.Accepted != 1 || got.Answered != 0 || got.Parts != 1 {
				t.Errorf("stats %+v", got)
			}
		})
	}
}

// The receipt is on the wire before the answer: the client's handler runs before
// the submit ends.
func TestEarlyReceipt(t *testing.T) {
	for name, edit := range map[string]func(c *config){
		"magic":   func(c *config) { c.Magic = true },
		"percent": func(c *config) { c.EarlyReceiptPercent = 100 },
	} {
		t.Run(name, func(t *testing.T) {
			e := dial(t, configured(t, edit))
			id := e.submit(sms("15551230009", "x"))
			select {
			case d := <-e.got:
				if r, _ := smpp.ReceiptOf(&d.Message, string(d.ShortMessage)); r.ID != id {
					t.Errorf("receipt %+v", r)
				}
			default:
				t.Error("the answer came before the receipt")
			}
		})
	}
}

func TestEarlyReceiptWithoutReceiver(t *testing.T) {
	s := configured(t, func(c *config) { c.EarlyReceiptPercent = 100 })
	id := connect(t, s.ready().SMPP, smpp.ModeTransmitter, nil).submit(sms("15551239999", "x"))
	if r := connect(t, s.ready().SMPP, smpp.ModeReceiver, nil).receipt(); r.ID != id {
		t.Errorf("receipt %+v", r)
	}
}

func TestShares(t *testing.T) {
	const n = 400
	s := configured(t, func(c *config) {
		c.Seed, c.ThrottlePercent, c.ErrorPercent = 7, 25, 25
		c.ErrorStatuses = statuses{smpp.StatusSystemError, 0x401}
		if err := c.ReceiptRateFinal.UnmarshalText([]byte("UNDELIV=30:069,EXPIRED=20")); err != nil {
			t.Fatal(err)
		}
	})
	e := dial(t, s)
	taken := 0
	for range n {
		_, err := e.session.Submit(within(t), sms("15551230001", "x"))
		if err == nil {
			taken++
		}
	}
	states := map[string]int{}
	for range taken {
		r := e.receipt()
		states[string(r.State)+r.Err]++
	}
	got := s.seen()
	for name, count := range map[string]int{"RTHROTTLED": got.Refused["RTHROTTLED"], "RSYSERR": got.Refused["RSYSERR"], "vendor": got.Refused["0x00000401"], "taken": taken} {
		if count < n/20 || count > n*3/4 {
			t.Errorf("%s came %d times of %d: %v", name, count, n, got.Refused)
		}
	}
	if states["UNDELIV069"] == 0 || states["EXPIRED002"] == 0 || states["DELIVRD000"] == 0 || len(states) != 3 {
		t.Errorf("receipt states %v", states)
	}
}

func TestThrottleRate(t *testing.T) {
	c := defaultConfig()
	c.ThrottleRate = 3
	p := newPlanner(1)
	now := time.Now()
	for i := range 5 {
		o := p.plan(&c, "acme", "1", now)
		if throttled := o.refuse == smpp.StatusThrottled; throttled != (i >= 3) {
			t.Errorf("submit %d: throttled %v", i, throttled)
		}
	}
	if o := p.plan(&c, "other", "1", now); o.refuse != smpp.StatusOK {
		t.Errorf("another system_id: %v", o.refuse)
	}
	if o := p.plan(&c, "acme", "1", now.Add(2*time.Second)); o.refuse != smpp.StatusOK {
		t.Errorf("two seconds later: %v", o.refuse)
	}
}

// The same seed makes the same choices.
func TestSeed(t *testing.T) {
	c := defaultConfig()
	c.ErrorPercent, c.SilentPercent, c.DuplicateReceiptPercent, c.LatencyJitter = 30, 30, 30, duration(time.Second)
	choices := func(p *planner) (out []plan) {
		for range 100 {
			out = append(out, p.plan(&c, "acme", "1", time.Time{}))
		}
		return out
	}
	p := newPlanner(42)
	first := choices(p)
	p.reseed(42)
	if !slices.Equal(first, choices(p)) || !slices.Equal(first, choices(newPlanner(42))) {
		t.Error("the same seed chose differently")
	}
	if slices.Equal(first, choices(newPlanner(43))) {
		t.Error("another seed chose the same")
	}
}

func TestWindow(t *testing.T) {
	s := configured(t, func(c *config) { c.Window, c.Latency = 2, duration(time.Hour) })
	e := dial(t, s)
	for range 2 {
		if err := e.session.Start(within(t), sms("15551230001", "x"), func(smpp.Packet, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	e.refused(sms("15551230001", "x"), smpp.StatusThrottled)
	if got := s.seen(); got.Accepted != 2 || got.Refused["RTHROTTLED"] != 1 {
		t.Errorf("stats %+v", got)
	}
}

func TestLatency(t *testing.T) {
	s := configured(t, func(c *config) {
		c.Latency, c.LatencyJitter = duration(2*time.Millisecond), duration(time.Millisecond)
		c.ReceiptDelay, c.ReceiptDelayJitter = duration(time.Millisecond), duration(5*time.Millisecond)
	})
	e := dial(t, s)
	id := e.submit(sms("15551230001", "x"))
	if r := e.receipt(); r.ID != id {
		t.Errorf("receipt %+v", r)
	}
}

func TestDisconnect(t *testing.T) {
	for _, row := range []struct {
		name, destination string
		edit              func(c *config)
		recorded          bool
	}{
		{"every, recorded", "15551239999", func(c *config) { c.DisconnectEvery = 1 }, true},
		{"percent, lost", "15551239999", func(c *config) { c.DisconnectPercent, c.DisconnectRecordedPercent = 100, 0 }, false},
		{"magic, recorded", "15551230011", func(c *config) { c.Magic = true }, true},
		{"magic, lost", "15551230012", func(c *config) { c.Magic = true }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := configured(t, row.edit)
			e := dial(t, s)
			_, err := e.session.Submit(within(t), sms(row.destination, "x"))
			var lost *smpp.RequestError
			if !errors.As(err, &lost) || !lost.Ambiguous() {
				t.Errorf("submit ended with %v, want in doubt", err)
			}
			if got := s.seen(); (got.Accepted == 1) != row.recorded || (got.Parts == 1) != row.recorded || got.Disconnected != 1 {
				t.Errorf("stats %+v", got)
			}
			again := connect(t, s.ready().SMPP, smpp.ModeReceiver, nil)
			if row.recorded {
				again.receipt()
			}
		})
	}
}

func TestDisconnectEveryThird(t *testing.T) {
	s := configured(t, func(c *config) { c.DisconnectEvery = 3 })
	e := dial(t, s)
	e.submit(sms("15551230001", "1"))
	e.submit(sms("15551230001", "2"))
	if _, err := e.session.Submit(within(t), sms("15551230001", "3")); err == nil {
		t.Error("the third was answered")
	}
}

func TestRegisteredDelivery(t *testing.T) {
	s := configured(t, func(c *config) { c.Magic = true })
	e := dial(t, s)
	for _, row := range []struct {
		registered  byte
		destination string
		want        bool
	}{
		{0, "15551239999", false},
		{2, "15551239999", false},
		{2, "15551230001", true},
		{3, "15551230001", false},
		{3, "15551239999", true},
		{0x11, "15551239999", true},
	} {
		m := sms(row.destination, "x")
		m.RegisteredDelivery = row.registered
		e.submit(m)
		if row.want {
			e.receipt()
		}
		e.nothing()
	}
}

func TestIDFormats(t *testing.T) {
	for _, row := range []struct {
		format string
		of     smpp.IDFormat
		differ bool
	}{
		{idDecimal, smpp.IDSame, false},
		{idHex, smpp.IDSame, false},
		{idHexDecimal, smpp.IDHexToDec, true},
		{idDecimalHex, smpp.IDDecToHex, true},
		{idUUID, smpp.IDSame, false},
		{idLeadingZeros, smpp.IDSame, true},
	} {
		for _, tlvs := range []string{receiptBoth, receiptText, receiptTLV} {
			t.Run(row.format+" "+tlvs, func(t *testing.T) {
				s := configured(t, func(c *config) { c.IDFormat, c.ReceiptTLVs = row.format, tlvs })
				e := dial(t, s)
				id := e.submit(sms("15551230001", "x"))
				r := e.receipt()
				if row.of.Of(r) != row.of.Answer(id) {
					t.Errorf("answer %s does not match receipt %+v", id, r)
				}
				if (r.ID == "") != (tlvs == receiptTLV) || (r.TLVID == "") != (tlvs == receiptText) {
					t.Errorf("%s: receipt %+v", tlvs, r)
				}
				if r.ID != "" && (r.ID != id) != row.differ {
					t.Errorf("answer %s, receipt %s", id, r.ID)
				}
				if r.State != message.ReceiptDelivered {
					t.Errorf("state %s", r.State)
				}
			})
		}
	}
}

func TestRefusedForms(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	e.refused(sms("15551230001", strings.Repeat("x", 161)), smpp.StatusInvMsgLen)
	brokenHeader := sms("15551230001", "")
	brokenHeader.ESMClass, brokenHeader.ShortMessage = smpp.ESMUDHI, []byte{9, 0, 3}
	e.refused(brokenHeader, smpp.StatusInvESMClass)
	wide := sms("15551230001", "")
	wide.DataCoding, wide.ShortMessage = smpp.CodingUCS2, make([]byte, 142)
	e.refused(wide, smpp.StatusInvMsgLen)
	long := cutSMS(t, "15551230001", strings.Repeat("y", 300), smpp.LongUDH, 1)[0]
	long.ShortMessage = append(long.ShortMessage, 'z')
	e.refused(long, smpp.StatusInvMsgLen)
	if _, err := e.session.Request(within(t), &smpp.QuerySM{MessageID: "1"}); err == nil {
		t.Error("query_sm was answered")
	}
	if got := s.seen(); got.Accepted != 0 || got.Parts != 0 {
		t.Errorf("stats %+v", got)
	}
	e.submit(sms("15551230001", strings.Repeat("x", 160)))
}

func TestDataSM(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	m := &smpp.DataSM{Source: smpp.Address{Text: "1000"}, Dest: smpp.Address{Text: "15551230001"}, RegisteredDelivery: 1}
	m.TLVs.Add(smpp.TagMessagePayload, []byte("by data_sm"))
	p, err := e.session.Request(within(t), m)
	if err != nil {
		t.Fatal(err)
	}
	if r := e.receipt(); r.ID == "" || r.ID != p.Body.(*smpp.DataSMResp).MessageID {
		t.Errorf("receipt %+v of %+v", r, p.Body)
	}
}

func TestCredentials(t *testing.T) {
	s := simulate(t, func(o *options) {
		o.Config.SystemID = "acme"
		_ = o.Config.Password.UnmarshalText([]byte("right"))
	})
	for _, row := range []struct {
		id, password string
		want         smpp.Status
	}{{"acme", "right", 0}, {"acme", "wrong", smpp.StatusInvPassword}, {"other", "right", smpp.StatusInvSystemID}} {
		session, err := smpp.Dial(within(t), smpp.DialConfig{
			Address: s.ready().SMPP, Bind: smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: row.id, Password: row.password},
		})
		var refused *smpp.BindError
		if (err == nil) != (row.want == 0) || errors.As(err, &refused) && refused.Status != row.want {
			t.Errorf("%s: bind ended with %v, want %v", row.id, err, row.want)
		}
		if err == nil {
			session.Close()
			session.Wait()
		}
	}
}
