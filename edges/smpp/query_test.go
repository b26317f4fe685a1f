package smpp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

func TestQuery(t *testing.T) {
	done := reqNow.Add(90 * time.Second)
	states := map[message.Status]byte{
		message.StatusAccepted: 1, message.StatusScheduled: 1, message.StatusQueued: 1, message.StatusSending: 1, message.StatusInDoubt: 1, message.StatusSent: 1,
		message.StatusDelivered: 2, message.StatusExpired: 3, message.StatusCanceled: 4, message.StatusUndelivered: 5, message.StatusFailed: 5,
		message.StatusUnconfirmed: 7, message.StatusRejected: 8,
	}
	for _, s := range message.Statuses() {
		w := reqSetup(t)
		id := message.Hex32(w.journal.add(w, "", s, func(m *message.Message, _ *message.SMPPOrigin) {
			m.UpdatedAt, m.Error = done, message.Refuse(message.ReasonUnreachable, "away")
		}))
		p := w.ask(&smpp.QuerySM{MessageID: id, Source: reqFrom})
		want := smpp.QuerySMResp{MessageID: id, State: states[s]}
		if s.Final() {
			want.FinalDate = "261121201634000+"
			want.ErrorCode = 4 // of 405
		}
		if s == message.StatusDelivered {
			want.ErrorCode = 0
		}
		if got := *p.Body.(*smpp.QuerySMResp); p.Status != smpp.StatusOK || got != want || states[s] == 0 {
			t.Errorf("%s: %s %+v, want %+v", s, p.Status, got, want)
		}
		if w.counted() != "query_sm ROK" {
			t.Errorf("counted %q", w.counted())
		}
	}
}

func TestQueryDeliveredAt(t *testing.T) {
	w := reqSetup(t)
	id := message.Hex32(w.journal.add(w, "", message.StatusDelivered, func(m *message.Message, _ *message.SMPPOrigin) { m.DeliveredAt = reqNow.Add(-time.Second) }))
	if p := w.ask(&smpp.QuerySM{MessageID: id, Source: reqFrom}); p.Body.(*smpp.QuerySMResp).FinalDate != "261121201503000+" {
		t.Errorf("%+v", p.Body)
	}
}

// The error_code is the first digit of what the receipt says: of the reason's
// entry, of our own fault for a reason without one, and of the status without a
// reason.
func TestQueryError(t *testing.T) {
	for _, e := range message.Catalogue() {
		want := byte(9)
		if e.ReceiptErr != "" {
			want = e.ReceiptErr[0] - '0'
		}
		m := &message.Message{Status: message.StatusFailed, Error: message.Refuse(e.Reason, "")}
		if got := queryError(m); got != want {
			t.Errorf("%s: %d, want %d", e.Reason, got, want)
		}
	}
	for status, want := range map[message.Status]byte{message.StatusFailed: 5, message.StatusDelivered: 0, message.StatusSent: 0, message.StatusAccepted: 0} {
		if got := queryError(&message.Message{Status: status}); got != want {
			t.Errorf("%s without a reason: %d, want %d", status, got, want)
		}
	}
}

// What query_sm, cancel_sm and replace_sm have in common: the id must be ours
// and the source its own.
func TestFind(t *testing.T) {
	w := reqSetup(t)
	long := message.Hex32(w.journal.add(w, "", message.StatusQueued, nil))
	w.journal.add(w, "0190af3c", message.StatusQueued, nil)
	bare := message.Hex32(w.journal.add(w, "", message.StatusQueued, func(_ *message.Message, o *message.SMPPOrigin) { o.Source = message.SMPPAddress{} }))
	foreign := message.Hex32(w.journal.add(w, "", message.StatusQueued, func(_ *message.Message, o *message.SMPPOrigin) { o.CredentialID = message.NewID() }))
	batch := message.Hex32(message.NewID())
	w.journal.add(w, batch, message.StatusQueued, nil)
	w.journal.add(w, batch, message.StatusQueued, func(_ *message.Message, o *message.SMPPOrigin) { o.Dest.Text = "13105550118" })
	one := message.Hex32(message.NewID())
	w.journal.add(w, one, message.StatusQueued, nil)
	hyphens := long[:8] + "-" + long[8:12] + "-" + long[12:16] + "-" + long[16:20] + "-" + long[20:]

	for _, c := range []struct {
		name, id, source string
		query, replace   smpp.Status
	}{
		{"its own", long, reqFrom.Text, 0, 0x13},
		{"with a plus sign", long, "+" + reqFrom.Text, 0, 0x13},
		{"upper case", strings.ToUpper(long), reqFrom.Text, 0, 0x13},
		{"hyphens", hyphens, reqFrom.Text, 0, 0x13},
		{"8 digits", "0190AF3C", reqFrom.Text, 0, 0x13},
		{"other source", long, "12025550144", 0x0C, 0x0C},
		{"no source", long, "", 0x0C, 0x0C},
		{"submitted without source", bare, "", 0, 0x13},
		{"submitted without source, asked with one", bare, reqFrom.Text, 0x0C, 0x0C},
		{"unknown", message.Hex32(message.NewID()), reqFrom.Text, 0x0C, 0x0C},
		{"another's", foreign, reqFrom.Text, 0x0C, 0x0C},
		{"empty", "", reqFrom.Text, 0x0C, 0x0C},
		{"odd", "0190af3g", reqFrom.Text, 0x0C, 0x0C},
		{"odd octets", "\xff\xfe'; drop table", reqFrom.Text, 0x0C, 0x0C},
		{"batch", batch, reqFrom.Text, 0x67, 0x0C},
		{"batch of one", one, reqFrom.Text, 0, 0x13},
	} {
		source := smpp.Address{Text: c.source} // type and plan do not count
		if p := w.ask(&smpp.QuerySM{MessageID: c.id, Source: source}); p.Status != c.query || p.Status == 0 && p.Body.(*smpp.QuerySMResp).MessageID != c.id {
			t.Errorf("%s: query %s %+v, want %s", c.name, p.Status, p.Body, c.query)
		}
		if p := w.ask(&smpp.ReplaceSM{MessageID: c.id, Source: source}); p.Status != c.replace {
			t.Errorf("%s: replace %s, want %s", c.name, p.Status, c.replace)
		}
	}
	for _, id := range w.journal.asked {
		if canonical, ok := readMessageID(id); !ok || canonical != id {
			t.Errorf("the journal was asked for %q", id)
		}
	}
	w.journal.down = errors.New("away")
	if p := w.ask(&smpp.QuerySM{MessageID: long, Source: reqFrom}); p.Status != smpp.StatusSystemError {
		t.Errorf("journal away: %s", p.Status)
	}
}

// However much is asked at once, only so much of it is at the journal, and what
// is submitted meanwhile does not wait for it.
func TestAskersAreBounded(t *testing.T) {
	w := reqSetup(t)
	id := message.Hex32(w.journal.add(w, "", message.StatusSent, nil))
	at, proceed := make(chan struct{}, 100), make(chan struct{})
	w.journal.asking = func() { at <- struct{}{}; <-proceed }
	const n = 3 * askers
	for range n {
		w.send(&smpp.QuerySM{MessageID: id, Source: reqFrom})
	}
	for range askers {
		<-at
	}
	if p := w.ask(reqText(nil)); p.Status != smpp.StatusOK {
		t.Errorf("a submit: %s", p.Status)
	}
	if len(at) > 0 {
		t.Errorf("more than %d are at the journal", askers)
	}
	close(proceed)
	for range n {
		if p := w.read(); p.Status != smpp.StatusOK {
			t.Errorf("%s", p.Status)
		}
	}
}
