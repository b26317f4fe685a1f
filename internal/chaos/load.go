package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// LoadOptions say how much is sent. A machine that is too slow for it gets less.
type LoadOptions struct {
	RESTPerSecond, SMPPPerSecond, MMSPerSecond int // 0: a default
}

const (
	defaultREST = 20
	defaultSMPP = 20
	defaultMMS  = 1 // each is an upload, a message, a conversion now and then, and one that comes in
	// mostAhead is how many messages may be accepted lately and not over: a machine
	// that is too slow gets less.
	mostAhead = 300
	// under is how many messages may be under way for each that comes in a second:
	// senders that wait for an answer are held up, as they are elsewhere.
	under = 10

	requestTimeout = 10 * time.Second
	sendAgain      = 250 * time.Millisecond // between two tries of one message
	// repeatFor is how long a part is repeated that got no answer: for some minutes
	// the gateway knows it again.
	repeatFor = 8 * time.Minute
	// validity is longer than any event, and any clock that is wrong.
	validity = time.Hour

	longEvery = 7 // each so many messages are long
	bursts    = 20
)

// Load keeps messages coming and writes what becomes of their submits into the ledger.
// Safe for concurrent use.
type Load struct {
	w      *World
	ledger *Ledger
	client *http.Client
	run    string // tells the keys of this load from others

	ctx      context.Context // ends what is under way
	cancel   context.CancelFunc
	stopping chan struct{} // closed by Stop: nothing new
	once     sync.Once
	works    sync.WaitGroup // pacers and messages
	count    atomic.Uint64
}

// StartLoad keeps a rate of messages up: over REST, by turns from both accounts, through
// both doors and of all classes, over connections that stay open; and over SMPP from
// each ESME that is bound. Some are long, and some are MMS. A request without an answer is repeated under
// its key at the other door until it has one; a submit_sm without one is not, unless it
// is a part of a message. Stop ends it.
func StartLoad(ctx context.Context, w *World, ledger *Ledger, o LoadOptions) (*Load, error) {
	l := &Load{w: w, ledger: ledger, run: strconv.FormatInt(time.Now().UnixMilli(), 36), stopping: make(chan struct{}),
		client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}}
	for _, name := range []string{accountPrudent, accountEager, accountPBX} {
		if w.Accounts[name] == nil {
			return nil, fmt.Errorf("the world has no account %q", name)
		}
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	w.Customer.load.Store(l)
	l.pace(orElse(o.RESTPerSecond, defaultREST), l.oneREST)
	l.pace(orElse(o.SMPPPerSecond, defaultSMPP), l.oneSMPP)
	l.pace(orElse(o.MMSPerSecond, defaultMMS), l.oneMMS)
	return l, nil
}

func orElse(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Stop sends nothing new and returns when every message under way has its answer, or
// the context of StartLoad has ended. Probes can still be sent.
func (l *Load) Stop() {
	l.once.Do(func() { close(l.stopping) })
	l.works.Wait()
	l.cancel()
	l.client.CloseIdleConnections()
}

// pace starts one message after the other, so many a second. A turn that finds too many
// under way is left out.
func (l *Load) pace(perSecond int, one func(n uint64)) {
	places := make(chan struct{}, perSecond*under)
	l.works.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := uint64(0); ; n++ {
			select {
			case <-tick.C:
			case <-l.stopping:
				return
			case <-l.ctx.Done():
				return
			}
			if l.ledger.Ahead() >= mostAhead {
				continue
			}
			select {
			case places <- struct{}{}:
				l.works.Go(func() {
					defer func() { <-places }()
					one(n)
				})
			default:
			}
		}
	})
}

// body is the text of message i: words, or three parts of them.
func body(i int, long bool) string {
	s := fmt.Sprintf("Your parcel %d is on its way and arrives today.", i)
	if long {
		s += strings.Repeat(fmt.Sprintf(" Parcel %d: please be at home.", i), 11)
	}
	return s
}

// restDoors are where requests go.
var restDoors = []string{nodeREST, nodeAll}

// oneREST sends the n-th message over REST.
func (l *Load) oneREST(n uint64) {
	account := []string{accountPrudent, accountEager}[n%2]
	door := restDoors[n/2%2]
	class := message.Classes()[n/4%3]
	i, ok := l.ledger.Offer(Offer{Account: account, Door: door, Hook: true})
	if ok {
		l.request(l.ctx, i, account, class, n%longEvery == longEvery-1, restDoors, int(n/2%2))
	}
}

// request asks for message i until there is an answer, at one door after the other.
func (l *Load) request(ctx context.Context, i int, account string, class message.Class, long bool, doors []string, first int) {
	a := l.w.Accounts[account]
	l.send(ctx, i, a, map[string]any{"from": a.From, "to": destination(i), "body": body(i, long), "webhook_url": l.w.HookURL(account),
		"message_class": class, "client_reference": "chaos-" + strconv.Itoa(i), "validity_seconds": int(validity / time.Second)}, doors, first)
}

// send asks for message i with these fields until there is an answer.
func (l *Load) send(ctx context.Context, i int, a *Account, fields map[string]any, doors []string, first int) {
	payload, err := json.Marshal(fields)
	if err != nil {
		l.ledger.Ended(i, answerRefused, err.Error())
		return
	}
	l.untilAnswered(ctx, i, doors, first, func(address string) (bool, error) {
		id, refused, err := l.post(ctx, a, address, l.key(i), payload)
		if err == nil {
			l.ledger.PartAccepted(i, 0, id)
		}
		return refused, err
	})
}

// key is under which message i is asked for, however often.
func (l *Load) key(i int) string { return "chaos-" + l.run + "-" + strconv.Itoa(i) }

// untilAnswered does what is needed for message i at one door after the other until there
// is no error. False: there never will be, and the ledger knows. refused: the error is a no
// that stays.
func (l *Load) untilAnswered(ctx context.Context, i int, doors []string, first int, do func(address string) (refused bool, err error)) bool {
	again := time.NewTicker(sendAgain)
	defer again.Stop()
	for try := first; ; try++ {
		refused, err := do(l.w.Wires[wireName(sideClient, doors[try%len(doors)])].Addr())
		switch {
		case refused:
			l.ledger.Ended(i, answerRefused, err.Error())
			return false
		case err == nil:
			return true
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			l.ledger.Ended(i, answerUnknown, err.Error())
			return false
		}
	}
}

// post asks for a message once. refused: the answer is a no that stays.
func (l *Load) post(ctx context.Context, a *Account, address, key string, payload []byte) (id message.ID, refused bool, err error) {
	status, said, err := l.call(ctx, a, "http://"+address+"/v1/messages", "application/json", key, payload)
	switch {
	case err != nil:
		return id, false, err
	case status == http.StatusAccepted:
		if id, err = message.ParseID(said.ID); err != nil {
			return id, true, fmt.Errorf("202 with the id %q", said.ID)
		}
		return id, false, nil
	}
	return id, said.stays(status), fmt.Errorf("%d %s", status, said.Code)
}

// said is what is read of an answer.
type said struct{ ID, Code, SHA256 string }

// stays reports whether an answer that is no success is a no for good.
func (s said) stays(status int) bool {
	return status < 500 && status != http.StatusTooManyRequests && s.Code != string(message.ReasonIdempotencyInProgress)
}

// call makes one request.
func (l *Load) call(ctx context.Context, a *Account, url, contentType, key string, payload []byte) (status int, answer said, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		return 0, answer, err
	}
	req.SetBasicAuth(a.Key, a.Secret)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Idempotency-Key", key)
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, answer, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, answer, err
	}
	_ = json.Unmarshal(got, &answer) // what is no JSON has no id
	return resp.StatusCode, answer, nil
}

// oneSMPP sends the n-th message over SMPP, from an ESME that is bound.
func (l *Load) oneSMPP(n uint64) {
	esmes := l.w.Customer.esmes
	e := esmes[int(n)%len(esmes)]
	s := e.now()
	if s == nil {
		return
	}
	parts := 1
	if n/uint64(len(esmes))%longEvery == longEvery-1 {
		parts = 3
	}
	if i, ok := l.ledger.Offer(Offer{Account: e.account.Name, Door: s.door, ESME: e.systemID, Parts: parts, Receipt: true, Hook: true}); ok {
		l.submit(l.ctx, i, e, s, parts)
	}
}

// submit sends message i, its parts at once, and returns when each was answered or never
// will be.
func (l *Load) submit(ctx context.Context, i int, e *esme, s *session, parts int) {
	pdus, err := pdusOf(i, parts, string(e.account.From), uint16(l.count.Add(1)))
	if err != nil {
		l.ledger.Ended(i, answerRefused, err.Error())
		return
	}
	var works sync.WaitGroup
	for part, m := range pdus {
		works.Go(func() { l.submitPart(ctx, i, part, len(pdus), e, s, m) })
	}
	works.Wait()
}

// submitPart sends one submit_sm. What the gateway says no to for now, or what was not
// written, it sends again; what got no answer only when it is a part of a message.
func (l *Load) submitPart(ctx context.Context, i, part, of int, e *esme, s *session, m *smpp.SubmitSM) {
	again := time.NewTicker(sendAgain)
	defer again.Stop()
	began := time.Now()
	for {
		resp, err := s.Submit(ctx, m)
		var no *smpp.StatusError
		var unanswered *smpp.RequestError
		switch {
		case err == nil:
			id, err := message.ParseID(resp.MessageID)
			if err != nil {
				l.ledger.Ended(i, answerRefused, fmt.Sprintf("ROK with the message_id %q", resp.MessageID))
				return
			}
			l.ledger.PartAccepted(i, part, id)
			return
		case errors.As(err, &no) && !forNow(no.Status):
			l.ledger.Ended(i, answerRefused, no.Error())
			return
		case errors.As(err, &unanswered) && unanswered.Written && (of == 1 || time.Since(began) > repeatFor):
			l.ledger.Ended(i, answerUnknown, err.Error())
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			l.ledger.Ended(i, answerUnknown, err.Error())
			return
		}
		if s, err = e.bound(ctx); err != nil {
			l.ledger.Ended(i, answerUnknown, "the ESME is not bound any more")
			return
		}
	}
}

// forNow reports whether a refusal means "later".
func forNow(s smpp.Status) bool {
	return s == smpp.StatusThrottled || s == smpp.StatusMsgQueueFull || s == smpp.StatusSystemError || s == smpp.StatusInvBindState
}

// pdusOf makes the submits of message i.
func pdusOf(i, parts int, from string, reference uint16) ([]*smpp.SubmitSM, error) {
	pieces := []string{body(i, false)}
	if parts > 1 {
		var err error
		if pieces, err = text.Split(body(i, true), message.EncodingGSM7, false); err != nil {
			return nil, err
		}
		if len(pieces) != parts {
			return nil, fmt.Errorf("a text of %d parts instead of %d", len(pieces), parts)
		}
	}
	var list []*smpp.SubmitSM
	for k, piece := range pieces {
		m := &smpp.SubmitSM{}
		m.Source = smpp.Address{TON: 1, NPI: 1, Text: strings.TrimPrefix(from, "+")}
		m.Dest = smpp.Address{TON: 1, NPI: 1, Text: strings.TrimPrefix(destination(i), "+")}
		m.RegisteredDelivery = 1
		m.Validity = relative(validity)
		octets, err := text.EncodeGSM7(piece)
		if err != nil {
			return nil, err
		}
		if len(pieces) > 1 {
			m.ESMClass |= smpp.ESMUDHI
			octets = append(text.ConcatUDH(reference, false, byte(len(pieces)), byte(k+1)), octets...)
		}
		m.ShortMessage = octets
		list = append(list, m)
	}
	return list, nil
}

// relative is a time span in the format of SMPP 3.4 §7.1.1, in hours and minutes.
func relative(d time.Duration) string {
	return fmt.Sprintf("000000%02d%02d00000R", int(d.Hours()), int(d.Minutes())%60)
}

// burst fills the window of a session and returns when the first of its submits was
// answered: the others are on their way. They go on by themselves.
func (l *Load) burst(ctx context.Context, e *esme, s *session) {
	first := make(chan struct{}, bursts)
	for range bursts {
		i, ok := l.ledger.Offer(Offer{Account: e.account.Name, Door: s.door, ESME: e.systemID, Receipt: true, Hook: true})
		if !ok {
			return
		}
		l.works.Go(func() {
			defer func() { first <- struct{}{} }()
			l.submit(l.ctx, i, e, s, 1)
		})
	}
	select {
	case <-first:
	case <-s.Done():
	case <-ctx.Done():
	}
}

// probe sends a message through one door alone, over REST or by an ESME that is bound
// there, and gives its number while it is under way; false: nobody is bound there.
func (l *Load) probe(ctx context.Context, door string, overSMPP bool, works *sync.WaitGroup) (int, bool) {
	if overSMPP {
		e, s := l.w.Customer.through(door)
		if e == nil {
			return 0, false
		}
		i, ok := l.ledger.Offer(Offer{Account: e.account.Name, Door: door, ESME: e.systemID, Receipt: true, Hook: true, Probe: true})
		if ok {
			works.Go(func() { l.submit(ctx, i, e, s, 1) })
		}
		return i, ok
	}
	i, ok := l.ledger.Offer(Offer{Account: accountPrudent, Door: door, Hook: true, Probe: true})
	if ok {
		works.Go(func() { l.request(ctx, i, accountPrudent, message.ClassOTP, false, []string{door}, 0) })
	}
	return i, ok
}
