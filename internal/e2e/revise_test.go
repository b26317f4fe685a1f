package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// ask gives the status that a request was answered with.
func ask(ctx context.Context, session *smpp.Session, body smpp.PDU) (smpp.Status, error) {
	_, err := session.Request(ctx, body)
	var refused *smpp.StatusError
	if errors.As(err, &refused) {
		return refused.Status, nil
	}
	return smpp.StatusOK, err
}

// replace asks for another text and, unless they are empty, another schedule and
// validity.
func (e *esme) replace(ctx context.Context, id, text, schedule, validity string) smpp.Status {
	e.s.tb.Helper()
	st, err := ask(ctx, e.session, &smpp.ReplaceSM{MessageID: id, Source: submission(from, "").Source, RegisteredDelivery: 1,
		Schedule: schedule, Validity: validity, ShortMessage: []byte(text)})
	if err != nil {
		e.s.tb.Fatalf("replace: %v", err)
	}
	return st
}

func (e *esme) cancel(ctx context.Context, id string) smpp.Status {
	e.s.tb.Helper()
	st, err := ask(ctx, e.session, &smpp.CancelSM{MessageID: id, Source: submission(from, "").Source})
	if err != nil {
		e.s.tb.Fatalf("cancel: %v", err)
	}
	return st
}

// schedule submits a message that is to leave in d.
func (e *esme) schedule(ctx context.Context, to, text string, d time.Duration) string {
	e.s.tb.Helper()
	m := submission(to, text)
	m.Schedule = smpp.FormatRelative(d)
	resp, err := e.session.Submit(ctx, m)
	if err != nil {
		e.s.tb.Fatalf("submit: %v", err)
	}
	return resp.MessageID
}

// arrived lists the texts that the simulator has for a number.
func (s *system) arrived(to string) []string {
	s.tb.Helper()
	var seen []struct {
		Text string `json:"text"`
	}
	s.smscGet("/messages?destination="+url.QueryEscape(to), &seen)
	var texts []string
	for _, m := range seen {
		texts = append(texts, m.Text)
	}
	return texts
}

// wantArrived fails the test unless a number was sent this text and no other.
func (s *system) wantArrived(to, text string) {
	s.tb.Helper()
	if got := s.arrived(to); !slices.Equal(got, []string{text}) {
		s.tb.Errorf("%s got %q, want %q", to, got, text)
	}
}

// TestReplace: what is replaced while it is held leaves as it is then, whichever
// process it was replaced through, and whether it leaves sooner or later.
func TestReplace(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, port := s.second(stacktest.Folder(t))
	e, other := s.newESME(), s.newESME()
	e.rebind(smpp.ModeTransceiver, s.smppPort)
	other.rebind(smpp.ModeTransmitter, port)
	ctx := stacktest.Context(t)
	waits := func(id string) {
		s.until("the message waits", func() bool { return s.status(messageID(t, id).String()) == message.StatusScheduled })
	}
	soon := smpp.FormatRelative(2 * time.Second)

	sooner := e.schedule(ctx, destination(1), "old", time.Hour)
	waits(sooner)
	long := strings.Repeat("new ", 50)
	if st := e.replace(ctx, sooner, long, soon, smpp.FormatRelative(time.Hour)); st != smpp.StatusOK {
		t.Fatalf("replace: %s", st)
	}
	elsewhere := e.schedule(ctx, destination(2), "old", time.Hour)
	waits(elsewhere)
	if st := other.replace(ctx, elsewhere, "new", soon, ""); st != smpp.StatusOK {
		t.Fatalf("replace by another process: %s", st)
	}
	later := e.schedule(ctx, destination(3), "old", 3*time.Second)
	if st := other.replace(ctx, later, "new", smpp.FormatRelative(6*time.Second), ""); st != smpp.StatusOK {
		t.Fatalf("put off: %s", st)
	}
	textOnly := e.schedule(ctx, destination(4), "old", 4*time.Second)
	if st := other.replace(ctx, textOnly, "new", "", ""); st != smpp.StatusOK {
		t.Fatalf("text alone: %s", st)
	}
	e.wantReceipts([]string{sooner, elsewhere, later, textOnly})
	s.wantArrived(destination(1), long)
	for i := 2; i <= 4; i++ {
		s.wantArrived(destination(i), "new")
	}
	for _, id := range []string{sooner, later} {
		m, err := s.db.Message(ctx, messageID(t, id))
		if err != nil || m.SubmittedAt.Before(m.SendAt) || m.Revision != 1 {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if m, err := s.db.Message(ctx, messageID(t, sooner)); err != nil || m.Segments != 2 || m.Price.Amount != 9000 {
		t.Errorf("%+v, %v", m, err)
	}
	if st := e.replace(ctx, sooner, "too late", "", ""); st != smpp.StatusReplaceFail {
		t.Errorf("after it has left: %s", st)
	}
	if st := e.replace(ctx, message.Hex32(message.NewID()), "nobody's", "", ""); st != smpp.StatusInvMsgID {
		t.Errorf("unknown: %s", st)
	}
}

// TestReplaceAndCancelWhileTemporalIsAway: messages that no workflow works on yet
// can be changed and withdrawn.
func TestReplaceAndCancelWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	s := start(t)
	e := s.newESME()
	e.rebind(smpp.ModeTransceiver, s.smppPort)
	ctx := stacktest.Context(t)
	if err := s.temporal.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	submit := func(n int, text string) string {
		id, err := e.submit(ctx, destination(n), text)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	replaced, canceled, put := submit(1, "old"), submit(2, "never"), e.schedule(ctx, destination(3), "old", time.Hour)
	if st := e.replace(ctx, replaced, "new", "", ""); st != smpp.StatusOK {
		t.Errorf("replace: %s", st)
	}
	if st := e.replace(ctx, put, "new", smpp.FormatRelative(time.Second), ""); st != smpp.StatusOK {
		t.Errorf("replace of a scheduled one: %s", st)
	}
	if st := e.cancel(ctx, canceled); st != smpp.StatusOK {
		t.Errorf("cancel: %s", st)
	}
	if st := s.status(messageID(t, canceled).String()); st != message.StatusCanceled {
		t.Errorf("it is %s", st)
	}
	if st := e.cancel(ctx, canceled); st != smpp.StatusCancelFail {
		t.Errorf("cancel again: %s", st)
	}
	if st := e.replace(ctx, canceled, "new", "", ""); st != smpp.StatusReplaceFail {
		t.Errorf("replace after cancel: %s", st)
	}
	// Its receipt needs no workflow.
	s.until("the receipt of the withdrawal has come", func() bool { return slices.Equal(e.has(canceled), []string{"DELETED"}) })
	if err := s.temporal.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	e.wantReceipts([]string{replaced, put})
	s.wantArrived(destination(1), "new")
	s.wantArrived(destination(3), "new")
	if got := s.arrived(destination(2)); len(got) != 0 {
		t.Errorf("the one that was withdrawn arrived: %q", got)
	}
}

// TestKillWhileReplacing kills the gateway while an ESME replaces messages that are
// about to leave: what was answered is what leaves, once.
func TestKillWhileReplacing(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, port := s.second(stacktest.Folder(t))
	e, sender := s.newESME(), s.newESME()
	e.rebind(smpp.ModeTransceiver, port)
	sender.rebind(smpp.ModeTransmitter, s.smppPort)
	ctx := stacktest.Context(t)
	const n = 120
	ids := make([]string, n)
	for i := range ids {
		ids[i] = e.schedule(ctx, destination(i), "old", time.Duration(2+i%5)*time.Second)
	}
	replaced := make([]smpp.Status, n) // of the newest answer
	answered := make([]bool, n)
	var next, killed = make(chan int, n), make(chan struct{})
	for i := range n {
		next <- i
	}
	close(next)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for i := range next {
				if i == n/2 {
					if err := s.gateway.Kill(); err != nil {
						t.Error(err)
					}
					close(killed)
				}
				session := sender.session
				if i%2 == 0 {
					session = e.session
				}
				var err error
				replaced[i], err = ask(ctx, session, &smpp.ReplaceSM{MessageID: ids[i], Source: submission(from, "").Source, RegisteredDelivery: 1, ShortMessage: fmt.Appendf(nil, "new %d", i)})
				answered[i] = err == nil
			}
		})
	}
	all.Wait()
	<-killed
	s.until("every message is settled or in doubt", func() bool {
		seen := s.destinations()
		for i, id := range ids {
			switch st := s.status(messageID(t, id).String()); {
			case st == message.StatusDelivered, st == message.StatusInDoubt && seen[destination(i)] == 0:
			default:
				return false
			}
		}
		return true
	})
	count := map[string]int{}
	for i, id := range ids {
		m, err := s.db.Message(ctx, messageID(t, id))
		if err != nil {
			t.Fatal(err)
		}
		what := "without an answer"
		switch got, fresh := s.arrived(destination(i)), fmt.Sprintf("new %d", i); {
		case m.Status == message.StatusInDoubt && len(got) == 0:
			what = "in doubt"
		case len(got) != 1 || got[0] != m.Body:
			t.Errorf("message %d: %q arrived, the record says %q", i, got, m.Body)
		case !answered[i] && (got[0] == "old" || got[0] == fresh):
		case answered[i] && replaced[i] == smpp.StatusOK && got[0] == fresh:
			what = "replaced"
		case answered[i] && replaced[i] != smpp.StatusOK && got[0] == "old":
			what = "too late"
		default:
			t.Errorf("message %d: answered %v with %s, and %q arrived", i, answered[i], replaced[i], got)
		}
		count[what]++
	}
	t.Logf("%v", count)
	if count["replaced"] == 0 {
		t.Error("none was replaced")
	}
}
