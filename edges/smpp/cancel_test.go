package smpp

import (
	"errors"
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// A message may be withdrawn until its submit: accepted, scheduled, queued.
func TestCancelByStatus(t *testing.T) {
	for _, s := range message.Statuses() {
		w := reqSetup(t)
		id := w.journal.add(w, "", s, nil)
		want, withdrawn := smpp.StatusCancelFail, []message.ID(nil)
		switch s {
		case message.StatusAccepted, message.StatusScheduled, message.StatusQueued:
			want, withdrawn = smpp.StatusOK, []message.ID{id}
		}
		p := w.ask(&smpp.CancelSM{MessageID: message.Hex32(id), Source: reqFrom})
		if p.Status != want || len(p.Raw) != smpp.HeaderSize || !slices.Equal(w.ingress.canceled, withdrawn) {
			t.Errorf("%s: %s, withdrawn %v", s, p.Status, w.ingress.canceled)
		}
		if w.counted() != "cancel_sm "+want.String() {
			t.Errorf("counted %q", w.counted())
		}
	}
}

func TestCancel(t *testing.T) {
	w := reqSetup(t)
	add := func(answer string, status message.Status, dest string) message.ID {
		return w.journal.add(w, answer, status, func(_ *message.Message, o *message.SMPPOrigin) { o.Dest.Text = dest })
	}
	single := add("", message.StatusQueued, "13105550117")
	late := add("", message.StatusQueued, "13105550117")
	ended := add("", message.StatusQueued, "13105550117")
	broken := add("", message.StatusQueued, "13105550117")
	sent := add("", message.StatusSent, "13105550117")
	w.ingress.refuse[late] = message.Refuse(message.ReasonConflict, "too late")
	w.ingress.refuse[ended] = message.Refuse(message.ReasonNotFound, "no workflow")
	w.ingress.refuse[broken] = errors.New("away")
	batch := message.Hex32(message.NewID())
	one, two := add(batch, message.StatusQueued, "13105550118"), add(batch, message.StatusQueued, "13105550119")
	gone := add(batch, message.StatusSent, "13105550120")
	w.ingress.refuse[gone] = message.Refuse(message.ReasonConflict, "too late")
	to := func(s string) smpp.Address { return smpp.Address{TON: 1, NPI: 1, Text: s} }

	for _, c := range []struct {
		name     string
		pdu      smpp.CancelSM
		want     smpp.Status
		canceled []message.ID
	}{
		{"by id", smpp.CancelSM{MessageID: message.Hex32(single), Source: reqFrom}, 0, []message.ID{single}},
		{"with its destination", smpp.CancelSM{ServiceType: "CMT", MessageID: message.Hex32(single), Source: reqFrom, Dest: to("+13105550117")}, 0, []message.ID{single}},
		{"other destination", smpp.CancelSM{MessageID: message.Hex32(single), Source: reqFrom, Dest: to("13105550118")}, 0x0C, nil},
		{"other source", smpp.CancelSM{MessageID: message.Hex32(single), Source: to("12025550144")}, 0x0C, nil},
		{"unknown", smpp.CancelSM{MessageID: message.Hex32(message.NewID()), Source: reqFrom}, 0x0C, nil},
		{"not an id", smpp.CancelSM{MessageID: "x", Source: reqFrom}, 0x0C, nil},
		{"left", smpp.CancelSM{MessageID: message.Hex32(sent), Source: reqFrom}, 0x11, nil},
		{"leaves meanwhile", smpp.CancelSM{MessageID: message.Hex32(late), Source: reqFrom}, 0x11, nil},
		{"ends meanwhile", smpp.CancelSM{MessageID: message.Hex32(ended), Source: reqFrom}, 0x11, nil},
		{"our fault", smpp.CancelSM{MessageID: message.Hex32(broken), Source: reqFrom}, 0x08, nil},
		{"one of a batch", smpp.CancelSM{MessageID: batch, Source: reqFrom, Dest: to("13105550119")}, 0, []message.ID{two}},
		{"batch", smpp.CancelSM{MessageID: batch, Source: reqFrom}, 0, []message.ID{one, two}},
		{"left of a batch", smpp.CancelSM{MessageID: batch, Source: reqFrom, Dest: to("13105550120")}, 0x11, nil},
		{"all of a pair, one fails", smpp.CancelSM{Source: reqFrom, Dest: reqTo}, 0x08, []message.ID{single}},
		{"all of another pair", smpp.CancelSM{Source: reqFrom, Dest: to("13105550118")}, 0, []message.ID{one}},
		{"none of a pair", smpp.CancelSM{Source: reqFrom, Dest: to("13105550121")}, 0x11, nil},
		{"no destination", smpp.CancelSM{Source: reqFrom}, 0x0B, nil},
		{"destination not text", smpp.CancelSM{Source: reqFrom, Dest: to("\xff")}, 0x0B, nil},
		{"source not text", smpp.CancelSM{Source: to("\xff"), Dest: reqTo}, 0x0A, nil},
	} {
		w.ingress.canceled = nil
		p := w.ask(&c.pdu)
		slices.SortFunc(w.ingress.canceled, func(a, b message.ID) int { return slices.Compare(a[:], b[:]) })
		if p.Status != c.want || !slices.Equal(w.ingress.canceled, c.canceled) {
			t.Errorf("%s: %s, withdrawn %v, want %s, %v", c.name, p.Status, w.ingress.canceled, c.want, c.canceled)
		}
	}
	// Once the fault is over, those that have left do not spoil the answer.
	delete(w.ingress.refuse, broken)
	if p := w.ask(&smpp.CancelSM{Source: reqFrom, Dest: reqTo}); p.Status != smpp.StatusOK {
		t.Errorf("all of a pair, some have left: %s", p.Status)
	}
	w.journal.down = errors.New("away")
	if p := w.ask(&smpp.CancelSM{Source: reqFrom, Dest: reqTo}); p.Status != smpp.StatusSystemError {
		t.Errorf("journal away: %s", p.Status)
	}
}

func TestCancelManyOfAPair(t *testing.T) {
	w := reqSetup(t)
	for range maxCancel + 5 {
		w.journal.add(w, "", message.StatusQueued, nil)
	}
	if p := w.ask(&smpp.CancelSM{Source: reqFrom, Dest: reqTo}); p.Status != smpp.StatusOK || len(w.ingress.canceled) != maxCancel {
		t.Errorf("%s, %d withdrawn", p.Status, len(w.ingress.canceled))
	}
}
