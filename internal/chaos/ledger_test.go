package main

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, i := range []int{0, 1, linesOfOne - 1, linesOfOne, 123_456, maxMessages - 1} {
		to := destination(i)
		if got, ok := indexOf(to); !ok || got != i || seen[to] {
			t.Errorf("message %d goes to %s, which is message %d", i, to, got)
		}
		if got, ok := indexOf(strings.TrimPrefix(to, "+")); !ok || got != i {
			t.Errorf("%s without its sign is message %d", to, got)
		}
		seen[to] = true
	}
	for _, foreign := range []string{"", "+1", "+13102200099", "+13112200100", "+13102110100", "+13105550117", "+1310220010", "+131022001000", "+1310 200100", "+44131022001"} {
		if i, ok := indexOf(foreign); ok {
			t.Errorf("%s is message %d", foreign, i)
		}
	}
}

func TestLedgerAnswers(t *testing.T) {
	l := NewLedger()
	before := time.Now()
	whole, _ := l.Offer(Offer{Account: accountPrudent})
	inParts, _ := l.Offer(Offer{Account: accountPBX, ESME: "pbx-a", Parts: 3, Receipt: true})
	ids := []message.ID{message.NewID(), message.NewID(), message.NewID(), message.NewID()}
	l.PartAccepted(whole, 0, ids[0])
	l.Ended(whole, answerUnknown, "too late")
	l.PartAccepted(inParts, 2, ids[3])
	l.PartAccepted(inParts, 0, ids[1])
	if e := l.get(inParts); e.answer != answerNone {
		t.Error("accepted with a part that was not answered")
	}
	l.Ended(inParts, answerUnknown, strings.Repeat("x", 1000))
	if e := l.get(whole); e.answer != answerAccepted || e.ids[0] != ids[0] {
		t.Errorf("%+v", e)
	}
	if e := l.get(inParts); e.answer != answerUnknown || len(e.why) != maxWhy {
		t.Errorf("%+v", e)
	}
	l.PartAccepted(whole, 0, ids[1])
	if strange, _ := l.Strange(); len(strange) != 1 {
		t.Errorf("two ids for one answer: %v", strange)
	}
	if got := l.Between(before, time.Now()); !slices.Equal(got, []int{whole, inParts}) {
		t.Errorf("offered: %v", got)
	}
	if got := l.Between(time.Now(), time.Time{}); len(got) != 0 {
		t.Errorf("offered from now on: %v", got)
	}
}

func TestLedgerWebhooks(t *testing.T) {
	l := NewLedger()
	i, _ := l.Offer(Offer{Account: accountPrudent, Hook: true})
	id, event := message.NewID(), message.NewID()
	l.PartAccepted(i, 0, id)
	l.Event(accountPrudent, destination(i), "delivered", id, event, []byte("a"))
	l.Event(accountPrudent, destination(i), "delivered", id, event, []byte("a"))
	if e := l.get(i); len(e.events) != 1 || e.events[0].times != 2 || e.events[0].changed || !e.delivered() {
		t.Errorf("said twice: %+v", e.events)
	}
	l.Event(accountPrudent, destination(i), "delivered", id, event, []byte("b"))
	if e := l.get(i); !e.events[0].changed {
		t.Error("another body under the same webhook-id was not seen")
	}
	l.Event(accountPrudent, destination(i), "sent", message.NewID(), message.NewID(), nil)
	if e := l.get(i); e.foreign != 1 || len(e.events) != 1 {
		t.Errorf("of another message: %+v", e)
	}
	for range 2 * maxSeen {
		l.Event(accountPrudent, destination(i), "sent", id, message.NewID(), nil)
	}
	if e := l.get(i); len(e.events) != maxSeen || e.more != maxSeen+1 {
		t.Errorf("%d events are kept, %d counted", len(e.events), e.more)
	}
	l.Event(accountEager, destination(i), "sent", id, event, nil)     // not its message
	l.Event(accountPrudent, destination(i+1), "sent", id, event, nil) // of nobody
	l.Event(accountPrudent, "+13105550117", "sent", id, event, nil)   // no key
	l.Receipt(destination(i), id, "DELIVRD", true)                    // it went over REST
	l.Forged()
	if strange, forged := l.Strange(); len(strange) != 4 || forged != 1 {
		t.Errorf("%d strange, %d forged: %v", len(strange), forged, strange)
	}
}

// A receipt may come before the answer that it names was read.
func TestLedgerReceipts(t *testing.T) {
	l := NewLedger()
	i, _ := l.Offer(Offer{Account: accountPBX, ESME: "pbx-a", Parts: 2, Receipt: true})
	a, b := message.NewID(), message.NewID()
	l.PartAccepted(i, 0, a)
	l.Receipt(destination(i), b, "DELIVRD", true)
	l.Receipt(destination(i), a, "ENROUTE", false)
	e := l.get(i)
	if told, _ := e.told(); told || e.receipts[0].final {
		t.Errorf("%+v", e.receipts)
	}
	l.PartAccepted(i, 1, b)
	l.Receipt(destination(i), a, "UNKNOWN", true)
	l.Receipt(destination(i), a, "DELIVRD", true)
	e = l.get(i)
	if told, at := e.told(); !told || at.IsZero() || e.receipts[0].stat != "DELIVRD" || e.receipts[0].times != 2 || e.receipts[1].stat != "DELIVRD" {
		t.Errorf("%+v", e.receipts)
	}
}

func TestLedgerAhead(t *testing.T) {
	l := NewLedger()
	var ids []message.ID
	for i := range 3 {
		l.Offer(Offer{Account: accountPrudent, Hook: true})
		ids = append(ids, message.NewID())
		l.PartAccepted(i, 0, ids[i])
	}
	l.Offer(Offer{Account: accountPrudent, Hook: true})
	l.Ended(3, answerRefused, "")
	l.Event(accountPrudent, destination(1), "sent", ids[1], message.NewID(), nil)
	l.Event(accountPrudent, destination(2), "delivered", ids[2], message.NewID(), nil)
	l.Event(accountPrudent, destination(2), "delivered", ids[2], message.NewID(), nil)
	if n := l.Ahead(); n != 2 {
		t.Errorf("%d are under way", n)
	}
	l.list[0].answered = time.Now().Add(-longAgo)
	if n := l.Ahead(); n != 1 {
		t.Errorf("%d are under way without the one of long ago", n)
	}
	l.Event(accountPrudent, destination(0), "delivered", ids[0], message.NewID(), nil)
	l.Event(accountPrudent, destination(1), "delivered", ids[1], message.NewID(), nil)
	if n := l.Ahead(); n != 0 || len(l.queue) != 0 {
		t.Errorf("%d are under way, %d in line", n, len(l.queue))
	}
}

func TestLedgerIsFull(t *testing.T) {
	l := NewLedger()
	l.list = make([]*entry, maxMessages)
	if _, ok := l.Offer(Offer{}); ok {
		t.Error("it took one more")
	}
}

func TestLedgerFromManySides(t *testing.T) {
	l := NewLedger()
	var works sync.WaitGroup
	for range 8 {
		works.Go(func() {
			for range 200 {
				i, _ := l.Offer(Offer{Account: accountPBX, ESME: "pbx-a", Receipt: true, Hook: true})
				id := message.NewID()
				l.Receipt(destination(i), id, "DELIVRD", true)
				l.PartAccepted(i, 0, id)
				l.Event(accountPBX, destination(i), "delivered", id, message.NewID(), nil)
			}
		})
	}
	works.Wait()
	for _, i := range l.Between(time.Time{}, time.Time{}) {
		e := l.get(i)
		if told, _ := e.told(); !told || e.answer != answerAccepted {
			t.Fatalf("message %d: %+v", i, e)
		}
	}
	if l.Len() != 1600 {
		t.Errorf("%d messages", l.Len())
	}
}
