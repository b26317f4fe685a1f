package smpp

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// bodies are the texts in the order in which they entered.
func (j *reqStore) bodies() (list []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, a := range j.entered {
		list = append(list, a.Message.Body)
	}
	return list
}

// Submits that a window holds enter the journal as they were sent, though their
// answers wait for one another's commit.
func TestSubmitsEnterInOrder(t *testing.T) {
	w := reqSetup(t)
	proceed := make(chan struct{})
	w.store.down = func(message.Acceptance) error { <-proceed; return nil }
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprint("text ", i))
		w.send(reqText(func(m *smpp.Message) { m.ShortMessage = []byte(want[i]) }))
	}
	w.quiet() // all were read
	if got := w.store.bodies(); !slices.Equal(got, want) {
		t.Errorf("entered %q", got)
	}
	close(proceed)
	for range want {
		if p := w.read(); p.Status != smpp.StatusOK {
			t.Errorf("%s", p.Status)
		}
	}
}

// A text that follows a long one in parts waits until that one is whole; one for
// somebody else does not.
func TestSubmitBehindParts(t *testing.T) {
	w := reqSetup(t)
	proceed, began := make(chan struct{}), make(chan struct{}, 2)
	w.store.adding = func() { began <- struct{}{}; <-proceed }
	first, second := w.send(partUDH(7, false, 1, 2, "one ")), w.send(partUDH(7, false, 2, 2, "two"))
	<-began
	behind := w.send(reqText(func(m *smpp.Message) { m.ShortMessage = []byte("three") }))
	if p := w.ask(reqText(func(m *smpp.Message) { m.Dest.Text = "13105550118"; m.ShortMessage = []byte("other") })); p.Status != smpp.StatusOK {
		t.Errorf("to somebody else: %s", p.Status)
	}
	if got := w.store.bodies(); !slices.Equal(got, []string{"other"}) {
		t.Errorf("entered %q while the parts were not in", got)
	}
	close(proceed)
	var answered []uint32
	for range 3 {
		p := w.read()
		if p.Status != smpp.StatusOK {
			t.Errorf("%s", p.Status)
		}
		answered = append(answered, p.Sequence)
	}
	slices.Sort(answered)
	if !slices.Equal(answered, []uint32{first, second, behind}) {
		t.Errorf("answered %v", answered)
	}
	if got := w.store.accepted; len(got) != 3 || got[1].Message.Body != "one two" || got[2].Message.Body != "three" {
		t.Errorf("accepted %+v", got)
	}
	w.bound.order.mu.Lock()
	defer w.bound.order.mu.Unlock()
	if len(w.bound.order.last) != 0 {
		t.Errorf("%d conversations are still remembered", len(w.bound.order.last))
	}
}

// What waits behind a request that does not come back is answered in time, and
// has not entered.
func TestSubmitBehindStuckParts(t *testing.T) {
	o := &order{}
	of := []conversation{{"a", "b"}}
	_, stuck := o.line(of, true)
	before, entered := o.line(of, false)
	if len(before) != 1 || entered == nil {
		t.Fatal("does not wait")
	}
	select {
	case <-before[0]:
		t.Fatal("may enter")
	default:
	}
	stuck()
	<-before[0]
	if b, e := o.line([]conversation{{"a", "c"}}, false); b != nil || e != nil {
		t.Error("another conversation waits")
	}
	entered()
	entered()
	if b, e := o.line(of, false); b != nil || e != nil {
		t.Error("waits for nothing")
	}
}

// The property of the line: whatever asks and whatever does not, and in whatever
// order the askers come back, requests of one conversation enter as they came.
func TestLineProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := &order{}
		type waiter struct {
			n       int
			of      []conversation
			before  []<-chan struct{}
			entered func()
		}
		var line []*waiter
		seen := map[conversation][]int{}
		enter := func(w *waiter) {
			for _, c := range w.of {
				seen[c] = append(seen[c], w.n)
			}
			if w.entered != nil {
				w.entered()
			}
		}
		settle := func(w *waiter) bool {
			for _, ch := range w.before {
				select {
				case <-ch:
				default:
					return false
				}
			}
			enter(w)
			return true
		}
		for n := range rapid.IntRange(1, 30).Draw(rt, "requests") {
			w := &waiter{n: n}
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 2), 1, 2, rapid.ID[int]).Draw(rt, "conversations") {
				w.of = append(w.of, conversation{"a", fmt.Sprint(i)})
			}
			w.before, w.entered = o.line(w.of, rapid.Bool().Draw(rt, "asks"))
			if w.entered == nil {
				enter(w)
			} else {
				line = append(line, w)
			}
			for len(line) > 0 && rapid.Bool().Draw(rt, "comes back") {
				i := rapid.IntRange(0, len(line)-1).Draw(rt, "who")
				if !settle(line[i]) {
					break
				}
				line = slices.Delete(line, i, i+1)
			}
		}
		for len(line) > 0 {
			line = slices.DeleteFunc(line, settle)
		}
		for c, list := range seen {
			if !slices.IsSorted(list) {
				rt.Fatalf("%v: entered %v", c, list)
			}
		}
		if len(o.last) != 0 {
			rt.Fatalf("%d are remembered", len(o.last))
		}
	})
}

// A submit_multi with a key asks first, and what follows it waits.
func TestSubmitBehindKeyedMulti(t *testing.T) {
	w := reqSetup(t)
	proceed, began := make(chan struct{}), make(chan struct{}, 1)
	w.store.down = func(a message.Acceptance) error {
		if a.Idempotency != nil && a.Message.To == "+13105550117" {
			began <- struct{}{}
			<-proceed
		}
		return nil
	}
	w.send(reqMulti(func(m *smpp.SubmitMulti) { m.TLVs.Add(smpp.TagIdempotencyKey, []byte("k")) }, "13105550117", "13105550118"))
	<-began
	w.send(reqText(func(m *smpp.Message) { m.Dest.Text = "13105550118"; m.ShortMessage = []byte("after") }))
	w.quiet()
	close(proceed)
	for range 2 {
		if p := w.read(); p.Status != smpp.StatusOK {
			t.Errorf("%s", p.Status)
		}
	}
	if got := w.store.bodies(); len(got) != 3 || got[2] != "after" {
		t.Errorf("entered %q", got)
	}
}
