package snapshot

import (
	"context"
	"errors"
	"log/slog"
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
	broken  error // of LoadSnapshot
	away    error // of ConfigVersion and ListenConfig
	loads   int
	changed func() // of the listener; nil: nobody listens
	cut     chan error
	listens int
}

func (f *fakeSource) LoadSnapshot(context.Context) (*Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loads++
	if f.broken != nil {
		return nil, f.broken
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
		synctest.Wait()
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
