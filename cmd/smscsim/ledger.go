package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// ledger knows what was taken: every short message, joined to the messages that
// they are parts of, per destination. Memory is bounded: what is over the bounds
// is counted as overflow, and then loss and doubling can no longer be told.
//
// A duplicate is a short message that was taken before: the same source,
// destination, concatenation reference, part and octets; or one whose message is
// complete and has the source, destination and text of an earlier one, whatever
// its reference. So a message of three parts that is submitted twice counts
// three.
type ledger struct {
	limit int // destinations, messages and sets of parts, each
	seed  maphash.Seed

	mu           sync.Mutex
	destinations map[string]*destination
	ordered      []*destination // by first appearance
	messages     map[messageKey]*record
	sets         map[setKey]*partSet
	sources      map[string]string // one copy of each
	textBytes    int               // held in records and sets
	totals       totals
}

// totals are the ledger's counters, part of GET /stats.
type totals struct {
	Parts             int `json:"parts"`              // short messages taken; a whole message is one
	MessagesComplete  int `json:"messages_complete"`  // whole ones and complete sets, repetitions among them
	DistinctMessages  int `json:"distinct_messages"`  // of those, by source, destination and text
	DuplicateMessages int `json:"duplicate_messages"` // complete ones that were complete before
	Duplicates        int `json:"duplicates"`         // short messages that were taken before
	Incomplete        int `json:"incomplete"`         // sets that lack parts
	Destinations      int `json:"destinations"`
	Overflow          int `json:"overflow"` // short messages beyond the bounds
}

const (
	// maxTextBytes bounds texts that are kept for GET /messages; beyond it
	// messages are told apart as before, but not shown.
	maxTextBytes = 256 << 20
	// maxSources is how many senders share one copy of their address.
	maxSources = 100_000
)

type destination struct {
	number      int // from 1, by first appearance
	address     string
	first, last time.Time
	complete    int
	parts       int
	duplicates  int
	incomplete  int
	messages    []*record
}

// record is a distinct message of a destination.
type record struct {
	source      string
	sum         [sha256.Size]byte // of the text in UTF-8, or of the octets
	text        string
	octets      []byte // instead of text, when they are none or stand behind a header
	header      []byte // elements of the user data header beside concatenation
	tlvs        smpp.TLVs
	dropped     bool // the text is not kept, see maxTextBytes
	coding      byte
	parts       int
	count       int
	first, last time.Time
}

type messageKey struct {
	destination *destination
	sum         [16]byte // sha256 of source and text, cut
}

type setKey struct {
	destination *destination
	source      string
	reference   int
	parts       int
}

// partSet is the parts with one reference. When it is complete it stays, without
// texts, to know repetitions; a new message that uses the reference again
// replaces it and remembers it as previous until it is complete itself.
type partSet struct {
	hashes     []uint64 // by part; 0: missing
	texts      []piece  // nil: complete
	missing    int
	duplicates int // parts that are as in previous; counted already
	previous   *partSet
	incomplete bool // counts as such: it has a part that is no repetition
}

type piece struct {
	text   string
	octets []byte    // when they are no text
	header []byte    // as in record
	tlvs   smpp.TLVs // those that a gateway may have passed on
}

func (p piece) size() int {
	n := len(p.text) + len(p.octets) + len(p.header)
	for i := range p.tlvs {
		n += len(p.tlvs[i].Data)
	}
	return n
}

func newLedger(limit int) *ledger {
	l := &ledger{limit: limit, seed: maphash.MakeSeed()}
	l.reset()
	return l
}

// reset forgets everything.
func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.destinations = make(map[string]*destination)
	l.ordered = nil
	l.messages = make(map[messageKey]*record)
	l.sets = make(map[setKey]*partSet)
	l.sources = make(map[string]string)
	l.textBytes = 0
	l.totals = totals{}
}

// take records one short message and gives its own text.
func (l *ledger) take(m *smpp.Message, c smpp.Content, alphabet string, now time.Time) string {
	s, ok := text.Decode(m.DataCoding, alphabet, c.Octets)
	p := piece{text: s, header: c.Header}
	if !ok || len(c.Header) > 0 {
		p.text, p.octets = "", append([]byte{}, c.Octets...)
	}
	for _, v := range m.TLVs {
		if smpp.Passable(v.Tag) {
			p.tlvs.Add(v.Tag, bytes.Clone(v.Data))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.Parts++
	d := l.destinationLocked(m.Dest.Text, now)
	if d == nil {
		l.totals.Overflow++
		return s
	}
	d.last = now
	d.parts++
	source := l.sourceLocked(m.Source.Text)
	if c.Parts <= 1 {
		l.completeLocked(d, source, p, m.DataCoding, 1, now)
		return s
	}
	l.partLocked(d, source, p, m.DataCoding, c, now)
	return s
}

func (l *ledger) destinationLocked(address string, now time.Time) *destination {
	if d := l.destinations[address]; d != nil {
		return d
	}
	if len(l.ordered) >= l.limit {
		return nil
	}
	d := &destination{number: len(l.ordered) + 1, address: strings.Clone(address), first: now}
	l.destinations[d.address] = d
	l.ordered = append(l.ordered, d)
	return d
}

func (l *ledger) sourceLocked(address string) string {
	if s, ok := l.sources[address]; ok {
		return s
	}
	s := strings.Clone(address)
	if len(l.sources) < maxSources {
		l.sources[s] = s
	}
	return s
}

// completeLocked counts a message that is all there.
func (l *ledger) completeLocked(d *destination, source string, p piece, coding byte, parts int, now time.Time) {
	l.totals.MessagesComplete++
	d.complete++
	key := messageKey{destination: d}
	h := sha256.New()
	h.Write([]byte(source))
	h.Write([]byte{0})
	h.Write([]byte(p.text))
	h.Write(p.octets)
	copy(key.sum[:], h.Sum(nil))
	if r := l.messages[key]; r != nil {
		r.count++
		r.last = now
		l.totals.DuplicateMessages++
		l.duplicatesLocked(d, parts)
		return
	}
	if len(l.messages) >= l.limit {
		l.totals.Overflow += parts
		return
	}
	r := &record{source: source, coding: coding, parts: parts, count: 1, first: now, last: now}
	h.Reset()
	h.Write([]byte(p.text))
	h.Write(p.octets)
	h.Sum(r.sum[:0])
	if l.textBytes+p.size() > maxTextBytes {
		r.dropped = true
	} else {
		l.textBytes += p.size()
		r.text, r.octets, r.header, r.tlvs = p.text, p.octets, p.header, p.tlvs
	}
	l.messages[key] = r
	d.messages = append(d.messages, r)
	l.totals.DistinctMessages++
}

func (l *ledger) duplicatesLocked(d *destination, n int) {
	d.duplicates += n
	l.totals.Duplicates += n
}

func (l *ledger) incompleteLocked(d *destination, n int) {
	d.incomplete += n
	l.totals.Incomplete += n
}

// partLocked adds a part to its set.
func (l *ledger) partLocked(d *destination, source string, p piece, coding byte, c smpp.Content, now time.Time) {
	key := setKey{destination: d, source: source, reference: c.Reference, parts: c.Parts}
	hash := l.hash(p, coding)
	set, at := l.sets[key], c.Part-1
	switch {
	case set == nil:
		if len(l.sets) >= l.limit {
			l.totals.Overflow++
			return
		}
		set = l.newSetLocked(key, nil)
	case set.missing == 0:
		set = l.newSetLocked(key, set) // said again, or the reference is used again
	case set.hashes[at] == hash:
		l.duplicatesLocked(d, 1)
		return
	case set.hashes[at] != 0:
		l.dropTextsLocked(set) // another message: the old one stays incomplete
		set = l.newSetLocked(key, nil)
	}
	if set.previous != nil && set.previous.hashes[at] == hash {
		set.duplicates++
		l.duplicatesLocked(d, 1)
	} else if !set.incomplete {
		set.incomplete = true
		l.incompleteLocked(d, 1)
	}
	if l.textBytes+p.size() > maxTextBytes {
		l.totals.Overflow++
		return
	}
	l.textBytes += p.size()
	set.hashes[at], set.texts[at] = hash, p
	set.missing--
	if set.missing == 0 {
		l.joinLocked(d, source, set, coding, now)
	}
}

// newSetLocked begins a set of parts. After a complete one it may turn out to be
// no more than the repetition of a part.
func (l *ledger) newSetLocked(key setKey, previous *partSet) *partSet {
	set := &partSet{
		hashes: make([]uint64, key.parts), texts: make([]piece, key.parts), missing: key.parts, previous: previous,
	}
	l.sets[key] = set
	return set
}

// joinLocked completes a set. What was counted as repeated parts is settled by
// the whole text.
func (l *ledger) joinLocked(d *destination, source string, set *partSet, coding byte, now time.Time) {
	if set.incomplete {
		l.incompleteLocked(d, -1)
	}
	l.duplicatesLocked(d, -set.duplicates)
	var whole piece
	var words strings.Builder
	for _, p := range set.texts {
		words.WriteString(p.text)
		whole.octets = append(whole.octets, p.octets...)
		whole.header, whole.tlvs = p.header, p.tlvs
	}
	whole.text = words.String()
	l.dropTextsLocked(set)
	set.previous, set.duplicates, set.incomplete = nil, 0, false
	l.completeLocked(d, source, whole, coding, len(set.hashes), now)
}

func (l *ledger) dropTextsLocked(set *partSet) {
	for _, p := range set.texts {
		l.textBytes -= p.size()
	}
	set.texts = nil
}

// hash tells parts apart; never 0.
func (l *ledger) hash(p piece, coding byte) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	var head [9]byte
	head[0] = coding
	binary.BigEndian.PutUint64(head[1:], uint64(len(p.text)))
	_, _ = h.Write(head[:])
	_, _ = h.WriteString(p.text)
	_, _ = h.Write(p.octets)
	if v := h.Sum64(); v != 0 {
		return v
	}
	return 1
}
