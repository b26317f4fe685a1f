package smpp

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/origin"
)

const (
	// failuresWindow is the time within which so many failed binds hold further
	// ones back.
	failuresWindow = time.Minute
	// maxFailures is that number for one system_id at one address.
	maxFailures = 5
	// maxAddressFailures is it for an address, over all system_ids. It is higher:
	// an ESME that has a wrong password and tries on fails five times, then once
	// after each hold, and must not take those along that share its address.
	maxAddressFailures = 20

	holdMin = 5 * time.Second // the first hold; each further one is twice as long
	holdMax = time.Minute

	// failuresKept is how long after its last failure a key is forgotten, and
	// with it how long its holds had become.
	failuresKept = 10 * time.Minute
	// maxFailing bounds the keys that are remembered; the one that has not failed
	// for longest goes first. A key costs 1 KiB at most.
	maxFailing = 20_000
)

// failureKey is a system_id at an address; with no system_id, the address.
type failureKey struct {
	host     netip.Addr
	systemID string
}

type failing struct {
	key   failureKey
	times []time.Time // of the last failures, oldest first
	hold  time.Duration
	until time.Time // held back
}

// failures holds back binds after others that have failed. It counts by the
// address and by the system_id at the address, never by the system_id alone:
// a stranger could keep a customer out. It is safe for concurrent use.
type failures struct {
	mu     sync.Mutex
	keys   map[failureKey]*list.Element
	recent list.List // of *failing, the last failed first
}

func newFailures() *failures { return &failures{keys: make(map[failureKey]*list.Element)} }

// held tells whether a bind is held back, nil when it is not.
func (f *failures) held(a netip.Addr, systemID string, now time.Time) *heldBack {
	f.mu.Lock()
	defer f.mu.Unlock()
	host := origin.Host(a)
	switch {
	case f.heldLocked(failureKey{host, ""}, now):
		return &heldBack{address: true}
	case f.heldLocked(idKey(host, systemID), now):
		return &heldBack{}
	}
	return nil
}

// idKey is the key of a system_id, also of the empty one.
func idKey(host netip.Addr, systemID string) failureKey { return failureKey{host, "." + systemID} }

func (f *failures) heldLocked(key failureKey, now time.Time) bool {
	e := f.keys[key]
	return e != nil && now.Before(e.Value.(*failing).until)
}

// failed counts a failed bind.
func (f *failures) failed(a netip.Addr, systemID string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	host := origin.Host(a)
	id := f.failedLocked(idKey(host, systemID), maxFailures, now)
	if id.hold > 0 || id.often(maxFailures, now) { // once held it gets no further five
		id.hold, id.until = longer(id.hold, now)
	}
	address := f.failedLocked(failureKey{host, ""}, maxAddressFailures, now)
	if address.often(maxAddressFailures, now) {
		address.hold, address.until = longer(address.hold, now)
	}
}

// often reports whether the last so many failures lie within the window.
func (k *failing) often(most int, now time.Time) bool {
	return len(k.times) == most && now.Sub(k.times[0]) <= failuresWindow
}

// longer is the hold after one.
func longer(hold time.Duration, now time.Time) (time.Duration, time.Time) {
	hold = min(max(2*hold, holdMin), holdMax)
	return hold, now.Add(hold)
}

// failedLocked counts a failure of the key and keeps the times of the last most.
func (f *failures) failedLocked(key failureKey, most int, now time.Time) *failing {
	e := f.keys[key]
	if e == nil {
		if len(f.keys) >= maxFailing {
			f.forget(f.recent.Back())
		}
		e = f.recent.PushFront(&failing{key: key})
		f.keys[key] = e
	}
	f.recent.MoveToFront(e)
	k := e.Value.(*failing)
	k.times = append(k.times, now)
	if len(k.times) > most {
		k.times = append(k.times[:0], k.times[1:]...)
	}
	return k
}

// succeeded forgets the failures of the system_id at the address. Those of the
// address stay: who has one password may be guessing at others.
func (f *failures) succeeded(a netip.Addr, systemID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.keys[idKey(origin.Host(a), systemID)]; e != nil {
		f.forget(e)
	}
}

// tidy forgets the keys that have not failed for long.
func (f *failures) tidy(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.recent.Back(); e != nil; e = f.recent.Back() {
		k := e.Value.(*failing)
		if now.Sub(k.times[len(k.times)-1]) < failuresKept {
			return
		}
		f.forget(e)
	}
}

func (f *failures) forget(e *list.Element) {
	f.recent.Remove(e)
	delete(f.keys, e.Value.(*failing).key)
}
