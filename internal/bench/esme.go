package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/postrider/postrider/internal/smpp"
)

// esme is a customer's side of one SMPP transceiver. A message's end is its
// receipt.
type esme struct {
	session *smpp.Session
	records *records
	from    string

	mu      sync.Mutex
	sent    map[string]string // client references by message_id
	doubled int               // answers with a message_id that another had
	early   map[string]string // stat words that came before their answer was read
}

// kept is what can be said of a phase's answers when all is over.
type kept struct {
	Window   int `json:"window"`
	Answers  int `json:"answers"`      // with ROK
	Distinct int `json:"distinct_ids"` // message_ids among them
	Found    int `json:"found"`        // of the latter: those that query_sm finds in the journal
}

// whole reports whether every answer had an id of its own, of a message that is
// in the journal.
func (k *kept) whole() bool { return k.Distinct == k.Answers && k.Found == k.Answers }

// bindESME binds to the stack as its demo customer.
func bindESME(ctx context.Context, t *target, r *records, window int) (*esme, error) {
	e := &esme{records: r, from: strings.TrimPrefix(t.env["POSTRIDER_FROM"], "+"), sent: map[string]string{}, early: map[string]string{}}
	var err error
	e.session, err = smpp.Dial(ctx, smpp.DialConfig{
		Config:  smpp.Config{Handler: smpp.HandlerFunc(e.handle), Window: window, Inbound: window},
		Address: t.env["POSTRIDER_SMPP_ADDR"],
		Bind:    smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: t.env["POSTRIDER_SMPP_SYSTEM_ID"], Password: t.env["POSTRIDER_SMPP_PASSWORD"]},
	})
	if err != nil {
		return nil, fmt.Errorf("bind to %s: %w", t.env["POSTRIDER_SMPP_ADDR"], err)
	}
	return e, nil
}

// lane is one of the submits that may be under way at once.
type lane struct{ *esme }

func (lane) close() {}

func (e *esme) posters(window int) []poster {
	list := make([]poster, window)
	for i := range list {
		list[i] = lane{e}
	}
	return list
}

// post submits one message and returns when it was answered.
func (l lane) post(ctx context.Context, to, reference string) error {
	m := &smpp.SubmitSM{}
	m.Source, m.Dest = smpp.Address{TON: 1, NPI: 1, Text: l.from}, smpp.Address{TON: 1, NPI: 1, Text: strings.TrimPrefix(to, "+")}
	m.RegisteredDelivery = 1
	m.ShortMessage = []byte("Your parcel " + reference + " is on its way and arrives today before 18:00.")
	resp, err := l.session.Submit(ctx, m)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if _, before := l.sent[resp.MessageID]; before {
		l.doubled++
	}
	l.sent[resp.MessageID] = reference
	stat, early := l.early[resp.MessageID]
	delete(l.early, resp.MessageID)
	l.mu.Unlock()
	if early {
		l.records.event(reference, outcomeWord(stat))
	}
	return nil
}

// look asks the gateway for each message that was answered, by its message_id:
// query_sm reads the journal.
func (e *esme) look(ctx context.Context, window int) *kept {
	e.mu.Lock()
	ids := slices.Collect(maps.Keys(e.sent))
	k := &kept{Window: window, Answers: len(ids) + e.doubled, Distinct: len(ids)}
	e.mu.Unlock()
	var next, found atomic.Int64
	var lanes sync.WaitGroup
	for range window {
		lanes.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ids) || ctx.Err() != nil {
					return
				}
				q := &smpp.QuerySM{MessageID: ids[i], Source: smpp.Address{TON: 1, NPI: 1, Text: e.from}}
				p, err := e.session.Request(ctx, q)
				if resp, ok := p.Body.(*smpp.QuerySMResp); err == nil && ok && resp.MessageID == ids[i] {
					found.Add(1)
				}
			}
		})
	}
	lanes.Wait()
	k.Found = int(found.Load())
	return k
}

func (e *esme) handle(r *smpp.Request) {
	defer func() { _ = r.Respond(smpp.StatusOK, nil) }()
	m, ok := r.Body.(*smpp.DeliverSM)
	if !ok {
		return
	}
	receipt, ok := smpp.ReceiptOf(&m.Message, string(m.ShortMessage))
	if !ok {
		return
	}
	e.mu.Lock()
	reference, known := e.sent[receipt.ID]
	if !known {
		e.early[receipt.ID] = receipt.Stat
	}
	e.mu.Unlock()
	if known {
		e.records.event(reference, outcomeWord(receipt.Stat))
	}
}

// outcomeWord is the event that a webhook would have brought.
func outcomeWord(stat string) string {
	switch stat {
	case "DELIVRD":
		return "delivered"
	case "EXPIRED":
		return "expired"
	case "REJECTD":
		return "rejected"
	case "DELETED":
		return "canceled"
	case "UNKNOWN":
		return "unconfirmed"
	}
	return "undelivered"
}
