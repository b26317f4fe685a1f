package optout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Source is the table.
type Source interface {
	// LoadOptOuts calls each with every opt-out in force and returns the version that
	// they are of.
	LoadOptOuts(ctx context.Context, each func(message.OptOut)) (int64, error)
	// OptOutsSince reads what was written after the mark of a version and an id, in
	// force or ended, in the order of both.
	OptOutsSince(ctx context.Context, version int64, id message.ID, limit int) ([]message.OptOut, error)
	// OptOutVersion reads the newest version alone: cheap.
	OptOutVersion(ctx context.Context) (int64, error)
	// ListenOptOuts calls changed after each notification of a write, until ctx ends
	// or the connection is lost, and returns why.
	ListenOptOuts(ctx context.Context, changed func()) error
}

// Times of the refresh.
const (
	// pollEvery is how often the version is looked at in case a notification was lost
	// with its connection: an opt-out is in force everywhere within two seconds.
	pollEvery = time.Second
	// relistenAfter is the pause before a lost listening connection is made anew; the
	// poll covers the gap.
	relistenAfter = time.Second
	// queryTimeout bounds one query: a server that has vanished without a word must
	// not keep the set from asking again. loadTimeout bounds the reading of it all.
	queryTimeout = 10 * time.Second
	loadTimeout  = 10 * time.Minute
	// behindAfter is how long the table may be out of reach before Behind says so.
	behindAfter = 5 * time.Second
	// pageSize is how many rows are read at a time. Decisions wait while a page is
	// applied, for some hundred microseconds.
	pageSize = 1000
)

// key names what is stopped: a hash of account, recipient, scope and sender or
// campaign, with seeds that nobody outside knows. 128 bits: among a million opt-outs
// the chance that some look-up meets a stranger's is below 1 in 10^32.
type key [2]uint64

// entry is what a decision must say of an opt-out. 24 octets.
type entry struct {
	id     message.ID
	since  uint32 // Unix seconds
	word   uint16 // of Set.words
	source uint8  // of sources
}

var sources = [...]message.OptOutSource{message.OptOutByKeyword, message.OptOutByAPI, message.OptOutByVendor, message.OptOutByImport}

// maxWords bounds how many different keywords are remembered. They come from a short
// list unless somebody has entered others; of one beyond the bound a decision does not
// say the keyword.
const maxWords = 4096

// Set is the opt-outs in force. Make one with New; Stopped, Add and Behind are safe for
// concurrent use.
type Set struct {
	source Source
	log    *slog.Logger
	seeds  [2]maphash.Seed
	now    func() time.Time
	page   int

	refreshing sync.Mutex // one refresh at a time

	mu       sync.RWMutex // guards what follows
	stops    map[key]entry
	words    []string // words[0] is empty
	wordOf   map[string]uint16
	mark     mark
	seen     time.Time     // when the set was last known to be what the table is
	advanced chan struct{} // closed when the mark moves, and replaced

	cancel  context.CancelFunc
	stir    chan struct{} // never closed; a lost stir is one that is already waiting
	running sync.WaitGroup
}

// mark is how far the table has been read: to the row id of a version.
type mark struct {
	version int64
	id      message.ID
}

// last is behind every row of its version.
var last = message.ID(bytes.Repeat([]byte{0xff}, 16))

// whole is the newest version of which every row has been read.
func (m mark) whole() int64 {
	if m.id == last {
		return m.version
	}
	return m.version - 1
}

// New makes an empty set that follows source.
func New(source Source, log *slog.Logger) *Set {
	return &Set{source: source, log: log, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, now: time.Now, page: pageSize,
		stops: map[key]entry{}, words: []string{""}, wordOf: map[string]uint16{"": 0}, mark: mark{id: last},
		advanced: make(chan struct{}), stir: make(chan struct{}, 1)}
}

// Start reads the table and follows it until Stop. When it returns without an error the
// set is whole. A second Start does nothing.
func (s *Set) Start(ctx context.Context) error {
	if s.cancel != nil {
		return nil
	}
	if err := s.reload(ctx); err != nil {
		return fmt.Errorf("load the opt-outs: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.running.Go(func() { s.listen(run) })
	s.running.Go(func() { s.follow(run) })
	return nil
}

// Stop ends the following. The set stays as it is.
func (s *Set) Stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.running.Wait()
}

// Stopped finds what keeps an account's sender from a recipient: an opt-out of the
// account, else of the campaign, whose registry's id is empty for none, else of the
// sender. Of the opt-out that comes back Keyword, Source, Scope, what it is of, ID and At
// are filled in.
func (s *Set) Stopped(account message.ID, sender, recipient message.Address, campaign string) (message.OptOut, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.find(message.OptOut{AccountID: account, Recipient: recipient, Scope: message.OptOutAccount}); ok {
		return o, true
	}
	if campaign != "" {
		if o, ok := s.find(message.OptOut{AccountID: account, Recipient: recipient, Scope: message.OptOutCampaign, CampaignID: campaign}); ok {
			return o, true
		}
	}
	return s.find(message.OptOut{AccountID: account, Recipient: recipient, Scope: message.OptOutNumber, Sender: sender})
}

func (s *Set) find(o message.OptOut) (message.OptOut, bool) {
	e, ok := s.stops[s.key(&o)]
	if !ok {
		return message.OptOut{}, false
	}
	o.ID, o.At, o.Keyword, o.Source = e.id, time.Unix(int64(e.since), 0).UTC(), s.words[e.word], sources[e.source]
	return o, true
}

func (s *Set) key(o *message.OptOut) key {
	var room [128]byte
	b := append(room[:0], o.AccountID[:]...)
	b = append(b, o.Scope[0], byte(len(o.Recipient)))
	b = append(b, o.Recipient...)
	b = append(b, o.Sender...)
	b = append(b, o.CampaignID...)
	return key{maphash.Bytes(s.seeds[0], b), maphash.Bytes(s.seeds[1], b)}
}

// Len is how many opt-outs are in force.
func (s *Set) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.stops)
}

// Add takes what this process has committed, recorded or ended, in any order, before
// the table is read again. What the set has read as of a later version stays.
func (s *Set) Add(list []message.OptOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		o := &list[i]
		if o.Version <= s.mark.whole() {
			continue // read already, perhaps with what became of it since
		}
		k := s.key(o)
		if _, there := s.stops[k]; there && o.Active() {
			continue // by another row, whose turn to end comes first
		}
		s.apply(k, o)
	}
}

// apply makes one row count.
func (s *Set) apply(k key, o *message.OptOut) {
	if o.Active() {
		s.stops[k] = s.entry(o)
		return
	}
	if s.stops[k].id == o.ID { // else it is a later row that stops the same
		delete(s.stops, k)
	}
}

func (s *Set) entry(o *message.OptOut) entry {
	e := entry{id: o.ID, since: uint32(min(max(o.At.Unix(), 0), 1<<32-1))}
	for i, is := range sources {
		if is == o.Source {
			e.source = uint8(i)
		}
	}
	word, known := s.wordOf[o.Keyword]
	if !known && len(s.words) < maxWords {
		word = uint16(len(s.words))
		s.words = append(s.words, o.Keyword)
		s.wordOf[o.Keyword] = word
	}
	e.word = word
	return e
}

// Behind says since when the set may differ from the table because that is out of reach,
// nil while it is not. Decisions go by what was read last.
func (s *Set) Behind() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.seen.IsZero():
		return errors.New("no opt-outs are loaded")
	case s.now().Sub(s.seen) > behindAfter:
		return fmt.Errorf("opt-outs were last read at %s; decisions go by those", s.seen.UTC().Format(time.RFC3339))
	}
	return nil
}

// Await returns when everything up to a version has been read, or ctx ends.
func (s *Set) Await(ctx context.Context, version int64) error {
	for {
		s.mu.RLock()
		have, advanced := s.mark.whole(), s.advanced
		s.mu.RUnlock()
		if have >= version {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Refresh reads what is new now.
func (s *Set) Refresh(ctx context.Context) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	began := s.now()
	newest, err := bounded(ctx, s.source.OptOutVersion)
	if err != nil {
		return err
	}
	s.mu.RLock()
	at := s.mark
	s.mu.RUnlock()
	if newest < at.whole() {
		s.log.Warn("the opt-outs are of an earlier version than before, as after a restore: they are read anew", "version", newest)
		return s.reloadLocked(ctx)
	}
	for newest > at.whole() {
		page, err := bounded(ctx, func(ctx context.Context) ([]message.OptOut, error) {
			return s.source.OptOutsSince(ctx, at.version, at.id, s.page)
		})
		if err != nil {
			return err
		}
		if len(page) > 0 {
			at = mark{page[len(page)-1].Version, page[len(page)-1].ID}
		}
		if len(page) < s.page {
			at = mark{max(at.version, newest), last}
		}
		s.take(page, at)
	}
	s.mu.Lock()
	s.seen = began
	s.mu.Unlock()
	return nil
}

// bounded gives one query its time.
func bounded[T any](ctx context.Context, query func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return query(ctx)
}

// take applies a page and moves the mark.
func (s *Set) take(page []message.OptOut, to mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range page {
		s.apply(s.key(&page[i]), &page[i])
	}
	s.move(to)
}

func (s *Set) move(to mark) {
	s.mark = to
	close(s.advanced)
	s.advanced = make(chan struct{})
}

func (s *Set) reload(ctx context.Context) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	return s.reloadLocked(ctx)
}

// reloadLocked reads the whole table beside the set in force and then replaces that.
// refreshing is held.
func (s *Set) reloadLocked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	began := s.now()
	fresh := map[key]entry{}
	version, err := s.source.LoadOptOuts(ctx, func(o message.OptOut) {
		k := s.key(&o)
		s.mu.Lock() // of the words
		fresh[k] = s.entry(&o)
		s.mu.Unlock()
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops, s.seen = fresh, began
	s.move(mark{version, last})
	return nil
}

func (s *Set) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.source.ListenOptOuts(ctx, s.poke)
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("notifications of opt-outs interrupted; polling goes on", "error", err)
		select {
		case <-time.After(relistenAfter):
		case <-ctx.Done():
		}
	}
}

// poke has the table looked at soon.
func (s *Set) poke() {
	select {
	case s.stir <- struct{}{}:
	default:
	}
}

func (s *Set) follow(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.stir:
		case <-tick.C:
		}
		err := s.Refresh(ctx)
		if err != nil && ctx.Err() == nil && !away {
			s.log.Warn("opt-outs could not be read; the last ones stay in force", "error", err)
		}
		away = err != nil
	}
}
