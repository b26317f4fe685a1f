package optout

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

// table is the opt-outs as the database keeps them: each write has the next version,
// rows of one write share it, and a row has its newest alone.
type table struct {
	mu      sync.Mutex
	rows    []message.OptOut // as they are now
	version int64
	away    error
	changed func()
}

// write is one statement: it ends rows, then records others.
func (t *table) write(end []message.ID, record []message.OptOut) []message.OptOut {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.version++
	var out []message.OptOut
	for i := range t.rows {
		if o := &t.rows[i]; slices.Contains(end, o.ID) && o.Active() {
			o.Ended.At, o.Version = time.Unix(1, 0), t.version
			out = append(out, *o)
		}
	}
	for _, o := range record {
		if t.active(o) == nil {
			if o.Version = t.version; o.At.IsZero() {
				o.At = time.Unix(100, 0).UTC()
			}
			t.rows = append(t.rows, o)
			out = append(out, o)
		}
	}
	if t.changed != nil {
		t.changed()
	}
	return out
}

func (t *table) active(o message.OptOut) *message.OptOut {
	for i := range t.rows {
		if r := &t.rows[i]; r.Active() && r.AccountID == o.AccountID && r.Recipient == o.Recipient && r.Scope == o.Scope && r.Sender == o.Sender && r.CampaignID == o.CampaignID {
			return r
		}
	}
	return nil
}

func (t *table) LoadOptOuts(_ context.Context, each func(message.OptOut)) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.rows {
		if o.Active() {
			each(o)
		}
	}
	return t.version, t.away
}

func (t *table) OptOutsSince(_ context.Context, version int64, id message.ID, limit int) ([]message.OptOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	order := func(a, b message.OptOut) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), bytes.Compare(a.ID[:], b.ID[:]))
	}
	var out []message.OptOut
	for _, o := range t.rows {
		if order(o, message.OptOut{Version: version, ID: id}) > 0 {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, order)
	return out[:min(limit, len(out))], t.away
}

func (t *table) OptOutVersion(context.Context) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.version, t.away
}

func (t *table) ListenOptOuts(ctx context.Context, changed func()) error {
	t.mu.Lock()
	t.changed = changed
	t.mu.Unlock()
	changed()
	<-ctx.Done()
	return ctx.Err()
}

var (
	accounts   = []message.ID{message.NewID(), message.NewID()}
	recipients = []message.Address{"+13105550117", "+13105550118"}
	senders    = []message.Address{"+12025550143", "12345"}
	campaigns  = []string{"C8X2KQ1", ""}
)

// pairs calls f with everything that may be asked.
func pairs(f func(account message.ID, sender, recipient message.Address, campaign string)) {
	for _, a := range accounts {
		for _, r := range recipients {
			for _, s := range senders {
				for _, c := range campaigns {
					f(a, s, r, c)
				}
			}
		}
	}
}

// stops is what the table says, by the widest scope.
func (t *table) stops(account message.ID, sender, recipient message.Address, campaign string) *message.OptOut {
	for _, scope := range []message.OptOutScope{message.OptOutAccount, message.OptOutCampaign, message.OptOutNumber} {
		for i := range t.rows {
			if o := &t.rows[i]; o.Active() && o.Scope == scope && o.AccountID == account && o.Recipient == recipient && o.Stops(sender, campaign) {
				return o
			}
		}
	}
	return nil
}

func differs(s *Set, t *table) error {
	var err error
	pairs(func(account message.ID, sender, recipient message.Address, campaign string) {
		want := t.stops(account, sender, recipient, campaign)
		got, ok := s.Stopped(account, sender, recipient, campaign)
		if ok != (want != nil) || ok && (got.ID != want.ID || got.Scope != want.Scope || got.Keyword != want.Keyword || got.Source != want.Source || !got.At.Equal(want.At)) {
			err = fmt.Errorf("%s %s %q: %v %+v, want %+v", sender, recipient, campaign, ok, got, want)
		}
	})
	return err
}

func anOptOut(t *rapid.T) message.OptOut {
	o := message.OptOut{ID: message.NewID(), AccountID: rapid.SampledFrom(accounts).Draw(t, "account"), Recipient: rapid.SampledFrom(recipients).Draw(t, "recipient"),
		Scope:   rapid.SampledFrom([]message.OptOutScope{message.OptOutNumber, message.OptOutCampaign, message.OptOutAccount}).Draw(t, "scope"),
		Keyword: rapid.SampledFrom([]string{"", "STOP", "ALTO"}).Draw(t, "keyword"), Source: rapid.SampledFrom(sources[:]).Draw(t, "source"),
		At: time.Unix(rapid.Int64Range(0, 1<<32-1).Draw(t, "at"), 0).UTC()}
	switch o.Scope {
	case message.OptOutNumber:
		o.Sender = rapid.SampledFrom(senders).Draw(t, "sender")
	case message.OptOutCampaign:
		o.CampaignID = campaigns[0]
	}
	return o
}

// Whatever is written, whenever and in whatever order the set hears of it, as the
// writer, by a notification or late, it is what the table is as soon as it has read.
func TestSetFollowsTheTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tab := &table{}
		s := New(tab, slog.New(slog.DiscardHandler))
		s.page = rapid.IntRange(1, 5).Draw(t, "page")
		if rapid.Bool().Draw(t, "something is there at the start") {
			tab.write(nil, []message.OptOut{anOptOut(t), anOptOut(t)})
		}
		if err := s.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		var unheard [][]message.OptOut // commits of which Add was not told yet
		refresh := func(t *rapid.T) {
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := differs(s, tab); err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"record": func(t *rapid.T) {
				list := rapid.SliceOfN(rapid.Custom(anOptOut), 1, 4).Draw(t, "list")
				unheard = append(unheard, tab.write(nil, list))
			},
			"end": func(t *rapid.T) {
				var ids []message.ID
				for _, o := range tab.rows {
					if o.Active() && rapid.Bool().Draw(t, "end it") {
						ids = append(ids, o.ID)
					}
				}
				unheard = append(unheard, tab.write(ids, nil))
			},
			"a write that changes nothing": func(*rapid.T) { tab.write(nil, nil) },
			"hear": func(t *rapid.T) {
				if len(unheard) == 0 {
					return // nothing to hear of yet
				}
				i := rapid.IntRange(0, len(unheard)-1).Draw(t, "which")
				s.Add(unheard[i])
				if rapid.Bool().Draw(t, "for the last time") {
					unheard = slices.Delete(unheard, i, i+1)
				}
			},
			"write and hear at once": func(t *rapid.T) {
				refresh(t)
				o := anOptOut(t)
				s.Add(tab.write(nil, []message.OptOut{o}))
				if err := differs(s, tab); err != nil {
					t.Fatal("without reading: ", err)
				}
			},
			"refresh": refresh,
			"": func(t *rapid.T) {
				if n := len(s.words); n > 3 {
					t.Fatalf("%d words", n)
				}
			},
		})
		refresh(t)
		in := 0
		for _, o := range tab.rows {
			if o.Active() {
				in++
			}
		}
		if s.Len() != in {
			t.Fatalf("%d entries, %d are in force", s.Len(), in)
		}
	})
}

// A database that was restored has an earlier version: what it does not know any more
// is not in force any more.
func TestSetAfterRestore(t *testing.T) {
	t.Parallel()
	tab := &table{}
	s := New(tab, slog.New(slog.DiscardHandler))
	o := message.OptOut{ID: message.NewID(), AccountID: accounts[0], Recipient: recipients[0], Scope: message.OptOutAccount, Source: message.OptOutByAPI}
	tab.write(nil, []message.OptOut{o})
	before := slices.Clone(tab.rows)
	o.ID, o.Recipient = message.NewID(), recipients[1]
	tab.write(nil, []message.OptOut{o})
	if err := s.Refresh(t.Context()); err != nil || s.Len() != 2 {
		t.Fatal(s.Len(), err)
	}
	tab.rows, tab.version = before, 1
	if err := s.Refresh(t.Context()); err != nil || s.Len() != 1 {
		t.Fatal(s.Len(), err)
	}
	if err := differs(s, tab); err != nil {
		t.Error(err)
	}
}

// While its table is away a set keeps what it has, and says so.
func TestSetKeepsTheLast(t *testing.T) {
	t.Parallel()
	tab := &table{}
	s := New(tab, slog.New(slog.DiscardHandler))
	now := time.Unix(1000, 0)
	s.now = func() time.Time { return now }
	if s.Behind() == nil {
		t.Error("a set that has read nothing does not say so")
	}
	tab.write(nil, []message.OptOut{{ID: message.NewID(), AccountID: accounts[0], Recipient: recipients[0], Scope: message.OptOutAccount, Source: message.OptOutByAPI}})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.Behind(); err != nil {
		t.Error(err)
	}
	s.Stop()
	s.Stop() // harmless
	tab.away = errors.New("away")
	now = now.Add(behindAfter + time.Second)
	if err := s.Refresh(t.Context()); !errors.Is(err, tab.away) {
		t.Error(err)
	}
	if s.Behind() == nil {
		t.Error("it does not say that it is behind")
	}
	if err := differs(s, tab); err != nil {
		t.Error(err)
	}
	tab.away = nil
	if err := s.Refresh(t.Context()); err != nil || s.Behind() != nil {
		t.Error(err, s.Behind())
	}
	broken := New(&table{away: errors.New("away")}, slog.New(slog.DiscardHandler))
	if err := broken.Start(t.Context()); err == nil {
		t.Error("it started without its table")
	}
	broken.Stop()
}

// More keywords than are remembered cost a decision its word, nothing else.
func TestSetWords(t *testing.T) {
	t.Parallel()
	tab := &table{}
	s := New(tab, slog.New(slog.DiscardHandler))
	var list []message.OptOut
	for i := range maxWords + 10 {
		list = append(list, message.OptOut{ID: message.NewID(), AccountID: accounts[0], Recipient: message.Address(fmt.Sprintf("+1310%07d", i)), Scope: message.OptOutAccount,
			Source: message.OptOutByAPI, Keyword: fmt.Sprint("word ", i)})
	}
	for i := range list {
		list[i].Version = 1
	}
	tab.rows, tab.version = list, 1
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "word 0", maxWords - 2: fmt.Sprint("word ", maxWords-2), maxWords + 9: ""} {
		if o, ok := s.Stopped(accounts[0], "x", list[i].Recipient, ""); !ok || o.Keyword != want {
			t.Errorf("%d: %v %q", i, ok, o.Keyword)
		}
	}
}

// An opt-out that this process has just recorded stays when the end of the one before it
// is read later: nothing may leave in between.
func TestSetKeepsTheLaterRow(t *testing.T) {
	t.Parallel()
	s := New(&table{}, slog.New(slog.DiscardHandler))
	first := message.OptOut{ID: message.NewID(), AccountID: accounts[0], Recipient: recipients[0], Scope: message.OptOutAccount, Source: message.OptOutByAPI, At: time.Unix(100, 0), Version: 2}
	second := first
	second.ID, second.Version = message.NewID(), 3
	s.Add([]message.OptOut{second})
	first.Ended.At = time.Unix(200, 0)
	s.take([]message.OptOut{first}, mark{2, last})
	if o, ok := s.Stopped(accounts[0], senders[0], recipients[0], ""); !ok || o.ID != second.ID {
		t.Errorf("%v %+v", ok, o)
	}
}
