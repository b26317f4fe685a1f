package main

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// The keys of messages are their destinations: one NANP number each. Lines 0000 to
// 0099 are left out: their last four digits mean something to the simulator.
const (
	areaCode      = 310
	firstExchange = 220
	firstLine     = 100
	linesOfOne    = 10_000 - firstLine
	maxMessages   = 500_000
)

// answer is what the sender of a message knows.
type answer uint8

const (
	answerNone     answer = iota // it is under way
	answerAccepted               // 202, or ROK to every part
	answerRefused                // for good
	answerUnknown                // nobody will ever say
)

// maxParts is how many parts a message has that an ESME cuts itself, and maxSeen how
// many different events of one message are remembered.
const (
	maxParts = 4
	maxSeen  = 8
	maxWhy   = 100
)

// Offer is a message as its sender offers it.
type Offer struct {
	Account string
	Door    string // the node that it is offered to first
	ESME    string // its system_id; empty: over REST
	Parts   int    // that it is submitted in; 1 for a whole one
	Probe   bool   // it is there to see whether all goes as before
	Receipt bool   // it asks for one
	Hook    bool   // its account has an endpoint
	MMS     bool   // it has a file and goes to one of mmsNumbers: its key is its reference and its subject
}

// seen is an event of a message, or a receipt, as its customer saw it.
type seen struct {
	event   message.ID // webhook-id
	body    uint64     // a hash of the first one's
	word    string     // one of message.Statuses
	at      time.Time  // when it came first
	times   int
	changed bool // the same webhook-id came with another body
}

// entry is what is known of one message. Its size is bounded.
type entry struct {
	Offer
	offered  time.Time
	answered time.Time
	answer   answer
	why      string               // it was refused, or is not known; at most maxWhy octets
	ids      [maxParts]message.ID // of the answers, by part
	events   []seen               // by webhook, at most maxSeen
	more     int                  // events beyond those
	foreign  int                  // events that name another message
	receipts [maxParts]receiptSeen
	over     bool      // its customer was told of its end, or it was accepted long ago
	file     *fileSeen // of an MMS; nil: of another message
}

// receiptSeen is what an ESME was told of a part.
type receiptSeen struct {
	final bool
	stat  string // of the last final one
	times int
	at    time.Time // of the first final one
}

// Ledger remembers what was asked for and what was said, by the sides that asked: what
// Postrider says of it counts for nothing here. Safe for concurrent use. It holds some
// 600 octets for each message and maxMessages at most.
type Ledger struct {
	seed maphash.Seed

	mu      sync.Mutex
	list    []*entry
	ahead   int                        // accepted, and not over
	queue   []int                      // what was accepted, oldest first; those at its head that are over are taken out
	early   map[message.ID]receiptSeen // receipts that came before their answer was read
	strange []string                   // what belongs to no message, at most maxStrange
	forged  int                        // webhooks with a wrong signature
	noRoom  []time.Time                // when uploads were answered 503, at most maxRefusals
}

const maxStrange = 20

// NewLedger makes one that is empty.
func NewLedger() *Ledger {
	return &Ledger{seed: maphash.MakeSeed(), early: map[message.ID]receiptSeen{}}
}

// exchangeAt is the exchange numbered i, without those that mean something.
func exchangeAt(i int) (int, bool) {
	for e := firstExchange; e < 1000; e++ {
		if e%100 == 11 || e == 555 || e == 976 {
			continue
		}
		if i == 0 {
			return e, true
		}
		i--
	}
	return 0, false
}

// destination is the key of message i, as +13105550117.
func destination(i int) string {
	e, _ := exchangeAt(i / linesOfOne)
	return fmt.Sprintf("+1%03d%03d%04d", areaCode, e, firstLine+i%linesOfOne)
}

// indexOf is the message of a key; false: it is no key of ours.
func indexOf(number string) (int, bool) {
	var area, exchange, line int
	digits := strings.TrimPrefix(number, "+")
	if len(digits) != 11 {
		return 0, false
	}
	if n, err := fmt.Sscanf(digits, "1%3d%3d%4d", &area, &exchange, &line); n != 3 || err != nil || area != areaCode || line < firstLine {
		return 0, false
	}
	before := 0
	for e := firstExchange; e < exchange; e++ {
		if e%100 != 11 && e != 555 && e != 976 {
			before++
		}
	}
	i := before*linesOfOne + line - firstLine
	return i, destination(i) == "+"+digits
}

// Offer enters a message that is about to be sent. False: the ledger is full.
func (l *Ledger) Offer(o Offer) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) >= maxMessages {
		return 0, false
	}
	o.Parts = min(max(o.Parts, 1), maxParts)
	e := &entry{Offer: o, offered: time.Now()}
	if o.MMS {
		e.file = &fileSeen{}
	}
	l.list = append(l.list, e)
	return len(l.list) - 1, true
}

// PartAccepted enters the answer to a part, from 0, of a message.
func (l *Ledger) PartAccepted(i, part int, id message.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.list[i]
	if e.ids[part] != (message.ID{}) && e.ids[part] != id {
		l.strangeLocked("%s was accepted as %s and as %s", destination(i), e.ids[part], id)
	}
	e.ids[part] = id
	if early, ok := l.early[id]; ok {
		e.receipts[part] = early
		delete(l.early, id)
	}
	for _, known := range e.ids[:e.Parts] {
		if known == (message.ID{}) {
			return
		}
	}
	if e.answer == answerNone {
		l.ahead++
		l.queue = append(l.queue, i)
	}
	e.answer, e.answered = answerAccepted, time.Now()
	l.overLocked(e)
}

// overLocked notes once that the customer of a message was told of its end.
func (l *Ledger) overLocked(e *entry) {
	if told, _ := e.told(); told && !e.over && e.answer == answerAccepted {
		e.over = true
		l.ahead--
	}
}

// longAgo is when what was accepted no longer counts as under way: it waits for
// something else than a machine that is busy.
const longAgo = 2 * time.Minute

// Ahead is how many messages were accepted a short while ago and are not over: their
// customers were not told of their end.
func (l *Ledger) Ahead() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		e := l.list[l.queue[0]]
		if !e.over && time.Since(e.answered) < longAgo {
			break
		}
		if !e.over {
			e.over = true
			l.ahead--
		}
		l.queue = l.queue[1:]
	}
	return l.ahead
}

// Ended enters that a message was refused, or that its answer is not known, and why.
func (l *Ledger) Ended(i int, a answer, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.list[i]; e.answer == answerNone {
		e.answer, e.answered, e.why = a, time.Now(), why[:min(len(why), maxWhy)]
	}
}

// Event enters a webhook that the endpoint of an account has taken: about the message
// with the key, which it calls id, with the word behind "message." of its type.
func (l *Ledger) Event(account, number, word string, id, event message.ID, body []byte) {
	hash := maphash.Bytes(l.seed, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := indexOf(number)
	if !ok || i >= len(l.list) || l.list[i].Account != account {
		l.strangeLocked("a webhook to %s about %s, which is not of its messages", account, message.Address(number).Masked())
		return
	}
	e := l.list[i]
	if e.ESME == "" && e.ids[0] != (message.ID{}) && e.ids[0] != id {
		e.foreign++
		return
	}
	for k := range e.events {
		s := &e.events[k]
		if s.event == event {
			s.times++
			s.changed = s.changed || s.body != hash || s.word != word
			return
		}
	}
	if len(e.events) >= maxSeen {
		e.more++
		return
	}
	e.events = append(e.events, seen{event: event, body: hash, word: strings.Clone(word), at: time.Now(), times: 1})
	l.overLocked(e)
}

// Forged enters a webhook whose signature was wrong.
func (l *Ledger) Forged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forged++
}

// Receipt enters a receipt that an ESME has taken: for the answer with the id, to the
// number, with its stat word.
func (l *Ledger) Receipt(number string, id message.ID, stat string, final bool) {
	if !final {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := indexOf(number)
	if !ok || i >= len(l.list) || l.list[i].ESME == "" {
		l.strangeLocked("a receipt about %s, which nobody sent over SMPP", message.Address(number).Masked())
		return
	}
	e := l.list[i]
	told := receiptSeen{final: true, stat: strings.Clone(stat), times: 1, at: time.Now()}
	for part, known := range e.ids[:e.Parts] {
		if known == id {
			if r := &e.receipts[part]; r.final {
				r.times++
				r.stat = told.stat
			} else {
				*r = told
			}
			l.overLocked(e)
			return
		}
	}
	// The answer is not read yet, or never came.
	if len(l.early) < maxMessages {
		l.early[id] = told
	}
}

// stray notes what belongs to no message.
func (l *Ledger) stray(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strangeLocked(format, args...)
}

// strangeLocked notes what must not be and belongs to no message.
func (l *Ledger) strangeLocked(format string, args ...any) {
	if len(l.strange) < maxStrange {
		l.strange = append(l.strange, fmt.Sprintf(format, args...))
	}
}

// Strange is what came and belongs to no message, and how many webhooks were forged.
func (l *Ledger) Strange() (list []string, forged int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(list, l.strange...), l.forged
}

// Len is how many messages there are.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

// Between gives the numbers of the messages that were offered from the one moment
// until the other, in order. A zero moment is no bound.
func (l *Ledger) Between(from, until time.Time) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []int
	for i, e := range l.list {
		if !from.IsZero() && e.offered.Before(from) || !until.IsZero() && e.offered.After(until) {
			continue
		}
		list = append(list, i)
	}
	return list
}

// get gives a copy of what is known of a message.
func (l *Ledger) get(i int) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := *l.list[i]
	e.events = append([]seen(nil), e.events...)
	if e.file != nil {
		f := *e.file
		f.arrivals = append([]arrival(nil), f.arrivals...)
		e.file = &f
	}
	return e
}

// told reports whether the customer was told of a final state in every way that he is
// to be told, and when he had the last of it.
func (e *entry) told() (bool, time.Time) {
	var at time.Time
	if e.Hook {
		found := false
		for _, s := range e.events {
			if message.Status(s.word).Final() {
				found, at = true, s.at
			}
		}
		if !found {
			return false, at
		}
	}
	if e.Receipt {
		for _, r := range e.receipts[:e.Parts] {
			if !r.final {
				return false, at
			}
			if r.at.After(at) {
				at = r.at
			}
		}
	}
	return true, at
}

// delivered reports whether the customer was told so.
func (e *entry) delivered() bool {
	for _, s := range e.events {
		if message.Status(s.word) == message.StatusDelivered {
			return true
		}
	}
	return false
}
