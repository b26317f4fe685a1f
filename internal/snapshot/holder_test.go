package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// fakeSource is a configuration that tests change. It is safe for concurrent
// use.
type fakeSource struct {
	mu      sync.Mutex
	version int64
	broken  error         // of RefreshSnapshot
	away    error         // of ConfigVersion and ListenConfig
	takes   time.Duration // of RefreshSnapshot
	loads   int
	changed func() // of the listener; nil: nobody listens
	cut     chan error
	listens int
}

func (f *fakeSource) RefreshSnapshot(_ context.Context, old *Snapshot) (*Snapshot, error) {
	f.mu.Lock()
	took := f.takes
	f.mu.Unlock()
	<-time.After(took)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loads++
	switch {
	case f.broken != nil:
		return nil, f.broken
	case old != nil && old.Version == f.version:
		return old, nil
	}
	return &Snapshot{Version: f.version}, nil
}

func (f *fakeSource) ConfigVersion(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version, f.away
}

func (f *fakeSource) ListenConfig(ctx context.Context, changed func()) error {
	cut := make(chan error, 1)
	f.mu.Lock()
	f.listens++
	away := f.away
	if away == nil {
		f.changed, f.cut = changed, cut
	}
	f.mu.Unlock()
	if away != nil {
		return away
	}
	changed()
	select {
	case err := <-cut:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// set changes something; notify says whether the listener hears of it.
func (f *fakeSource) set(version int64, notify bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version = version
	if notify && f.changed != nil {
		f.changed()
	}
}

// with changes how the source behaves.
func (f *fakeSource) with(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeSource) count(n *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *n
}

// holding runs a test in a bubble of its own time with a started holder.
func holding(t *testing.T, test func(t *testing.T, f *fakeSource, h *Holder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{version: 1}
		h := NewHolder(f, slog.New(slog.DiscardHandler))
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(restMax) // what listening began with is behind us
		test(t, f, h)
		h.Stop()
		h.Stop() // twice does nothing
	})
}

// after lets time pass, of which the bubble has plenty.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestHolderByNotification(t *testing.T) {
	t.Parallel()
	holding(t, func(t *testing.T, f *fakeSource, h *Holder) {
		f.set(2, true)
		synctest.Wait() // no time passes
		if v := h.Current().Version; v != 2 {
			t.Errorf("version %d", v)
		}
	})
}

func TestHolderByPoll(t *testing.T) {
	t.Parallel()
	holding(t, func(t *testing.T, f *fakeSource, h *Holder) {
		before := f.count(&f.loads)
		after(10 * pollEvery)
		if n := f.count(&f.loads); n != before {
			t.Errorf("loaded %d times although nothing changed", n-before)
		}
		f.set(2, false)
		after(pollEvery)
		if v := h.Current().Version; v != 2 {
			t.Errorf("version %d", v)
		}
		// A database that was restored goes back.
		f.set(1, false)
		after(pollEvery)
		if v := h.Current().Version; v != 1 {
			t.Errorf("version %d", v)
		}
	})
}

// A lost connection is made anew, not in a hurry, and what happened meanwhile is
// seen.
func TestHolderListensAgain(t *testing.T) {
	t.Parallel()
	holding(t, func(t *testing.T, f *fakeSource, h *Holder) {
		f.with(func() { f.away = errors.New("no route to host"); f.cut <- f.away; f.changed = nil; f.version = 2 })
		after(5*relistenAfter + relistenAfter/2)
		if n := f.count(&f.listens); n != 1+5 && n != 1+6 {
			t.Errorf("listened %d times in five pauses", n)
		}
		if v := h.Current().Version; v != 1 {
			t.Errorf("version %d out of nowhere", v)
		}
		f.with(func() { f.away = nil })
		after(relistenAfter)
		if v := h.Current().Version; v != 2 {
			t.Errorf("version %d", v)
		}
		f.set(3, true)
		synctest.Wait()
		if v := h.Current().Version; v != 3 {
			t.Errorf("version %d", v)
		}
	})
}

// A configuration that cannot be read leaves the last one in force, until it
// can.
func TestHolderKeepsTheLast(t *testing.T) {
	t.Parallel()
	holding(t, func(t *testing.T, f *fakeSource, h *Holder) {
		f.with(func() { f.broken = errors.New("dest_pattern of route 7") })
		f.set(2, true)
		after(3 * pollEvery)
		if v := h.Current().Version; v != 1 {
			t.Errorf("version %d", v)
		}
		f.with(func() { f.broken = nil })
		after(pollEvery)
		if v := h.Current().Version; v != 2 {
			t.Errorf("version %d", v)
		}
	})
}

// While the configuration cannot be read, somebody hears of it: since when, how often
// it was tried, and why.
func TestHolderTellsOfFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{version: 1}
		h := NewHolder(f, slog.New(slog.DiscardHandler))
		good, bad := 0, 0
		h.OnRefresh(func(_ time.Duration, err error) {
			if err != nil {
				bad++
			} else {
				good++
			}
		})
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(restMax)
		if err := h.Failing(); err != nil || good == 0 || bad != 0 {
			t.Errorf("at first: %v, %d good, %d bad", err, good, bad)
		}
		row := errors.New("dest_pattern of route 7")
		f.with(func() { f.broken = row })
		broke := time.Now()
		f.set(2, true)
		after(3 * pollEvery)
		var fail *Failure
		if !errors.As(h.Failing(), &fail) || !errors.Is(fail, row) || !fail.Since.Equal(broke) || fail.Tries < 3 || fail.Tries != bad {
			t.Errorf("failing: %+v, %d tries seen", fail, bad)
		}
		if !strings.Contains(h.Failing().Error(), row.Error()) {
			t.Errorf("%q does not name the row", h.Failing())
		}
		f.with(func() { f.broken = nil })
		after(pollEvery)
		if err := h.Failing(); err != nil || h.Current().Version != 2 {
			t.Errorf("mended: %v, version %d", err, h.Current().Version)
		}
		h.Stop()
	})
}

// A burst of changes is read together: a few times a second, and the last one soon.
func TestHolderCoalesces(t *testing.T) {
	t.Parallel()
	for _, takes := range []time.Duration{0, 100 * time.Millisecond, 900 * time.Millisecond} {
		holding(t, func(t *testing.T, f *fakeSource, h *Holder) {
			f.with(func() { f.takes = takes })
			before, began := f.count(&f.loads), time.Now()
			late := time.Duration(0) // how old the state in force may have been
			changed := make(map[int64]time.Time)
			for v := int64(2); time.Since(began) < 10*time.Second; v++ {
				f.set(v, true)
				changed[v] = time.Now()
				after(time.Millisecond)
				if next := changed[h.Current().Version+1]; !next.IsZero() {
					late = max(late, time.Since(next))
				}
			}
			if n := f.count(&f.loads) - before; n > 41 || n < 5 {
				t.Errorf("a refresh of %s: read %d times in ten seconds", takes, n)
			}
			if most := 2*takes + restMax + 2*time.Millisecond; late > most {
				t.Errorf("a refresh of %s: a change was in force after %s, want %s", takes, late, most)
			}
		})
	}
}

// A reload reads everything and publishes it although the version is the same.
func TestHolderReload(t *testing.T) {
	t.Parallel()
	holding(t, func(t *testing.T, _ *fakeSource, h *Holder) {
		old := h.Current()
		if err := h.Reload(t.Context()); err != nil || h.Current() == old {
			t.Errorf("%v, the same snapshot: %v", err, h.Current() == old)
		}
	})
}

// What a snapshot takes over of an older one it takes over with its look-ups, and
// what it does not is looked up anew.
func TestIndexAfter(t *testing.T) {
	t.Parallel()
	account := message.NewID()
	credential, esme := &Credential{ID: message.NewID()}, &SMPPCredential{ID: message.NewID()}
	old := &Snapshot{
		Credentials:     map[string]*Credential{"k": credential},
		SMPPCredentials: map[string]*SMPPCredential{"e": esme},
		Numbers:         map[message.Address]*Number{"+12025550145": {Number: "+12025550145", AccountID: account}},
		Routes:          []Route{{ID: 2, Priority: 20}, {ID: 1, Priority: 10}},
	}
	old.Index()
	s := &Snapshot{Credentials: old.Credentials, SMPPCredentials: old.SMPPCredentials, Numbers: old.Numbers, Routes: old.Routes}
	s.IndexAfter(old)
	if !same(s.credentialsByID, old.credentialsByID) || !same(s.smppByID, old.smppByID) || !same(s.numbersOf, old.numbersOf) {
		t.Error("look-ups were made twice")
	}
	if s.CredentialByID(credential.ID) != credential || s.SMPPCredentialByID(esme.ID) != esme || len(s.NumbersOf(account)) != 1 || s.Routes[0].ID != 1 {
		t.Error("what was taken over is not found")
	}
	s = &Snapshot{Credentials: map[string]*Credential{}, Numbers: map[message.Address]*Number{"+12025550146": {Number: "+12025550146", AccountID: account}}}
	s.IndexAfter(old)
	if s.CredentialByID(credential.ID) != nil || s.SMPPCredentialByID(esme.ID) != nil || s.NumbersOf(account)[0].Number != "+12025550146" {
		t.Error("what was not taken over is found")
	}
}

func TestHolderWatchers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{version: 1}
		h := NewHolder(f, slog.New(slog.DiscardHandler))
		var seen []int64
		h.OnChange(func(s *Snapshot) {
			if h.Current() != s {
				t.Error("told before it is current")
			}
			seen = append(seen, s.Version)
		})
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil { // twice does nothing
			t.Fatal(err)
		}
		synctest.Wait()
		for v := range int64(5) {
			after(restMax)
			f.set(v/2+2, true) // each version twice
			synctest.Wait()
		}
		h.Stop()
		f.set(9, true)
		after(2 * pollEvery)
		if len(seen) != 4 || seen[0] != 1 || seen[3] != 4 {
			t.Errorf("seen %v", seen)
		}
		if n := f.count(&f.listens); n != 1 {
			t.Errorf("%d listeners", n)
		}
		if h.Current().Version != 4 {
			t.Error("the last snapshot is gone after the end")
		}
	})
}

func TestHolderCannotStart(t *testing.T) {
	t.Parallel()
	f := &fakeSource{broken: errors.New("dest_pattern of route 7")}
	h := NewHolder(f, slog.New(slog.DiscardHandler))
	if err := h.Start(t.Context()); !errors.Is(err, f.broken) {
		t.Errorf("started with %v", err)
	}
	h.Stop()
}

func TestIndex(t *testing.T) {
	t.Parallel()
	account, other := message.NewID(), message.NewID()
	credential := &Credential{ID: message.NewID(), Key: "k"}
	campaign := &Campaign{ID: message.NewID()}
	s := &Snapshot{
		Credentials: map[string]*Credential{"k": credential},
		Campaigns:   map[message.ID]*Campaign{campaign.ID: campaign},
		Numbers: map[message.Address]*Number{
			"+12025550145": {Number: "+12025550145", AccountID: account, SMSEnabled: true, Campaign: campaign.ID},
			"+12025550143": {Number: "+12025550143", AccountID: account},
			"+12025550144": {Number: "+12025550144", AccountID: other, SMSEnabled: true},
			"+12025550146": {Number: "+12025550146", AccountID: other, SMSEnabled: true},
		},
		Routes: []Route{{ID: 3, Priority: 20}, {ID: 2, Priority: 10}, {ID: 1, Priority: 20}},
	}
	s.Index()
	if s.CredentialByID(credential.ID) != credential || s.CredentialByID(account) != nil {
		t.Error("credentials are not found by id")
	}
	if n := s.NumbersOf(account); len(n) != 2 || n[0].Number != "+12025550143" || n[1].Number != "+12025550145" {
		t.Errorf("numbers: %v", n)
	}
	if s.Routes[0].ID != 2 || s.Routes[1].ID != 1 || s.Routes[2].ID != 3 {
		t.Errorf("routes: %+v", s.Routes)
	}
	if only, ok := s.OnlySender(account); !ok || only != "+12025550145" {
		t.Errorf("only sender %q, %v", only, ok)
	}
	for _, a := range []message.ID{other, message.NewID()} {
		if only, ok := s.OnlySender(a); ok || only != "" {
			t.Errorf("only sender %q of several or none", only)
		}
	}
	if s.CampaignOf(s.Numbers["+12025550145"]) != campaign || s.CampaignOf(s.Numbers["+12025550143"]) != nil || s.CampaignOf(nil) != nil {
		t.Error("campaigns of numbers")
	}
}
