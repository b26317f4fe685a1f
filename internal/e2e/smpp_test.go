package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// esme is a customer's PBX or bulk sender. Its account outlives its sessions.
type esme struct {
	s       *system
	session *smpp.Session

	mu       sync.Mutex
	receipts map[string][]string // stat words by message_id
	odd      []string            // deliver_sm that are no receipts
}

func (s *system) newESME() *esme { return &esme{s: s, receipts: map[string][]string{}} }

// bind opens a session; the one before has ended.
func (e *esme) bind(mode smpp.Mode, port int) error {
	session, err := smpp.Dial(e.s.tb.Context(), smpp.DialConfig{
		Config:  smpp.Config{Handler: smpp.HandlerFunc(e.handle), Window: 50, Inbound: 50},
		Address: fmt.Sprintf("127.0.0.1:%d", port),
		Bind:    smpp.Bind{Mode: mode, SystemID: esmeID, Password: esmePassword, InterfaceVersion: smpp.Version34},
	})
	if err == nil {
		e.session = session
	}
	return err
}

// rebind binds again and again, as an ESME does whose SMSC went away.
func (e *esme) rebind(mode smpp.Mode, port int) {
	e.s.tb.Helper()
	e.s.until("the ESME is bound", func() bool { return e.bind(mode, port) == nil })
	e.s.tb.Cleanup(e.session.Close)
}

func (e *esme) unbind() {
	e.s.tb.Helper()
	if err := e.session.Unbind(stacktest.Context(e.s.tb)); err != nil {
		e.s.tb.Errorf("unbind: %v", err)
	}
}

func (e *esme) handle(r *smpp.Request) {
	m, ok := r.Body.(*smpp.DeliverSM)
	if !ok {
		_ = r.Respond(smpp.StatusInvCmdID, nil)
		return
	}
	receipt, ok := smpp.ReceiptOf(&m.Message, string(m.ShortMessage))
	e.mu.Lock()
	if ok && receipt.ID == receipt.TLVID && "+"+strings.TrimPrefix(m.Dest.Text, "+") == from {
		e.receipts[receipt.ID] = append(e.receipts[receipt.ID], receipt.Stat)
	} else {
		e.odd = append(e.odd, fmt.Sprintf("%+v", receipt))
	}
	e.mu.Unlock()
	_ = r.Respond(smpp.StatusOK, nil)
}

func (e *esme) has(id string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.receipts[id])
}

// submission is a short message with a wish for its receipt.
func submission(to, body string) *smpp.SubmitSM {
	m := &smpp.SubmitSM{}
	m.Source, m.Dest = smpp.Address{TON: 1, NPI: 1, Text: strings.TrimPrefix(from, "+")}, smpp.Address{TON: 1, NPI: 1, Text: strings.TrimPrefix(to, "+")}
	m.RegisteredDelivery, m.ShortMessage = 1, []byte(body)
	return m
}

func (e *esme) submit(ctx context.Context, to, body string) (string, error) {
	resp, err := e.session.Submit(ctx, submission(to, body))
	if err != nil {
		return "", err
	}
	return resp.MessageID, nil
}

// wantReceipts waits for the final word on each message.
func (e *esme) wantReceipts(ids []string) {
	e.s.tb.Helper()
	missing := len(ids)
	defer func() {
		if e.s.tb.Failed() {
			e.s.tb.Logf("%d receipts are missing; odd deliveries: %v", missing, e.odd)
		}
	}()
	e.s.until("every receipt has come", func() bool {
		missing = 0
		for _, id := range ids {
			if len(e.has(id)) == 0 {
				missing++
			}
		}
		return missing == 0
	})
	for _, id := range ids {
		for _, stat := range e.has(id) {
			if stat != "DELIVRD" {
				e.s.tb.Errorf("%s: %v", id, e.has(id))
			}
		}
	}
	if len(e.odd) > 0 {
		e.s.tb.Errorf("odd deliveries: %v", e.odd)
	}
}

// messageID is the message behind a message_id of ours.
func messageID(t testing.TB, id string) message.ID {
	t.Helper()
	if len(id) != 32 {
		t.Fatalf("message_id %q", id)
	}
	parsed, err := message.ParseID(id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:])
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestSMPP takes an ESME through a day: a transceiver sends and gets its
// receipts, asks, and leaves; what is decided while it is away waits for it.
func TestSMPP(t *testing.T) {
	t.Parallel()
	s := start(t)
	e := s.newESME()
	e.rebind(smpp.ModeTransceiver, s.smppPort)
	ctx := stacktest.Context(t)
	var ids []string
	for i := range 20 {
		id, err := e.submit(ctx, destination(i), fmt.Sprintf("message %d", i))
		if err != nil {
			t.Fatalf("submit %d: %v", i, err)
		}
		ids = append(ids, id)
	}
	e.wantReceipts(ids)
	for i, id := range ids {
		m, err := s.db.Message(ctx, messageID(t, id))
		if err != nil || m.Status != message.StatusDelivered || m.Edge != message.EdgeSMPP || m.Body != fmt.Sprintf("message %d", i) {
			t.Errorf("message %d: %+v, %v", i, m, err)
		}
	}
	packet, err := e.session.Request(ctx, &smpp.QuerySM{MessageID: ids[0], Source: submission(from, "").Source})
	if q, ok := packet.Body.(*smpp.QuerySMResp); err != nil || !ok || q.State != message.ReceiptDelivered.Number() || q.FinalDate == "" {
		t.Errorf("query: %+v, %v", packet.Body, err)
	}
	var refused *smpp.StatusError
	if _, err := e.submit(ctx, "+1", "x"); !errors.As(err, &refused) || refused.Status != smpp.StatusInvDest {
		t.Errorf("to nobody: %v", err)
	}
	e.unbind()

	e.rebind(smpp.ModeTransmitter, s.smppPort)
	id, err := e.submit(ctx, destination(100), strings.Repeat("a long one ", 20))
	if err != nil {
		t.Fatal(err)
	}
	s.until("the message is delivered", func() bool {
		m, err := s.db.Message(ctx, messageID(t, id))
		return err == nil && m.Status == message.StatusDelivered
	})
	e.unbind()
	if got := e.has(id); len(got) != 0 {
		t.Errorf("a transmitter got %v", got)
	}
	e.rebind(smpp.ModeReceiver, s.smppPort)
	e.wantReceipts([]string{id})
	e.unbind()

	if err := (&esme{s: s}).wrongPassword(s.smppPort); err == nil {
		t.Error("bound with a wrong password")
	}
}

func (e *esme) wrongPassword(port int) error {
	session, err := smpp.Dial(e.s.tb.Context(), smpp.DialConfig{Address: fmt.Sprintf("127.0.0.1:%d", port),
		Bind: smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: esmeID, Password: "guess"}})
	if err == nil {
		session.Close()
	}
	return err
}

// sent is what an ESME knows of its submits.
type sent struct {
	ids     []string // by number; empty: no answer came
	unknown int
}

// flood submits n messages one after the other over each of a few lanes. One
// without an answer is not repeated: the ESME cannot know.
func (e *esme) flood(n, lanes, port int, mode smpp.Mode, each func(i int)) sent {
	out := sent{ids: make([]string, n)}
	var mu sync.Mutex // holds back lanes while one rebinds
	var next int
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				session := e.session
				mu.Unlock()
				if i >= n {
					return
				}
				each(i)
				ctx, cancel := context.WithTimeout(e.s.tb.Context(), time.Minute)
				resp, err := session.Submit(ctx, submission(destination(i), fmt.Sprintf("message %d", i)))
				cancel()
				mu.Lock()
				if err == nil {
					out.ids[i] = resp.MessageID
				} else {
					out.unknown++
					if e.session == session {
						session.Close()
						e.rebind(mode, port)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out
}

// TestKillUnderSMPP kills the gateway while an ESME sends: what was answered is
// submitted once and its receipt comes, before the death or after it.
func TestKillUnderSMPP(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "5ms", "--receipt-delay", "500ms", "--receipt-delay-jitter", "500ms")
	e := s.newESME()
	e.rebind(smpp.ModeTransceiver, s.smppPort)
	const n = 400
	var once sync.Once
	out := e.flood(n, 10, s.smppPort, smpp.ModeTransceiver, func(i int) {
		if i == n/2 {
			once.Do(func() {
				if err := s.gateway.Kill(); err != nil {
					t.Error(err)
				}
				s.startGateway()
			})
		}
	})
	s.judgeSMPP(e, out)
}

// judgeSMPP waits until all that was answered is settled, and counts.
func (s *system) judgeSMPP(e *esme, out sent) {
	s.tb.Helper()
	var settled []string
	doubtful := 0
	s.until("every message is settled or in doubt", func() bool {
		settled, doubtful = settled[:0], 0
		seen := s.destinations()
		for i, id := range out.ids {
			if id == "" {
				continue
			}
			switch st := s.status(messageID(s.tb, id).String()); {
			case st == message.StatusDelivered:
				settled = append(settled, id)
			case st == message.StatusInDoubt && seen[destination(i)] == 0:
				doubtful++
			default:
				return false
			}
		}
		return true
	})
	e.wantReceipts(settled)
	doubled := 0
	for to, n := range s.destinations() {
		if n > 1 {
			doubled++
			s.tb.Logf("%s was submitted %d times", to, n)
		}
	}
	s.tb.Logf("%d messages: %d delivered with their receipts, %d in doubt, %d without an answer, %d doubled", len(out.ids), len(settled), doubtful, out.unknown, doubled)
	if doubled > 0 || doubtful > 100 || len(settled) == 0 {
		s.tb.Error("want every answered message delivered once or in doubt")
	}
}

// TestReceiptsThroughAnotherGateway: what an ESME sends through one process it
// hears of from another, also when the first is killed.
func TestReceiptsThroughAnotherGateway(t *testing.T) {
	t.Parallel()
	s := start(t, "--receipt-delay", "1s")
	_, port := s.second(stacktest.Folder(t))
	sender, receiver := s.newESME(), s.newESME()
	sender.rebind(smpp.ModeTransmitter, s.smppPort)
	receiver.rebind(smpp.ModeReceiver, port)
	ctx := stacktest.Context(t)
	var ids []string
	for i := range 40 {
		id, err := sender.submit(ctx, destination(i), "through the first")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := s.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	s.judgeSMPP(receiver, sent{ids: ids})
}
