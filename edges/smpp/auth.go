package smpp

import (
	"cmp"
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// heldBack is a bind that was refused for those that failed before it.
type heldBack struct {
	address bool // for all failures of the address, whatever the system_id
}

// Error says what was held back.
func (h *heldBack) Error() string {
	if h.address {
		return "held back: too many failures of the address"
	}
	return "held back: too many failures of the system_id at the address"
}

// authenticate finds the credential of a bind and checks its password. An
// unknown system_id and a wrong password cost the same and are answered alike.
// With an error the credential is whose system_id was used, nil when unknown or
// not looked for.
func (c *connection) authenticate(ctx context.Context, b *smpp.Bind) (*snapshot.SMPPCredential, error) {
	s := c.server
	snap := s.Snapshot()
	if snap == nil {
		return nil, message.Refuse(message.ReasonUnavailable, "the configuration is not read yet")
	}
	// Asked again when the password's turn has come, so that what others have
	// failed meanwhile counts.
	held := func() error {
		if h := s.failures.held(c.peer, b.SystemID, s.now()); h != nil {
			return message.Because(message.ReasonUnauthenticated, h, "%s", h.Error())
		}
		return nil
	}
	if err := held(); err != nil {
		return nil, err
	}
	cred := snap.SMPPCredentials[b.SystemID]
	hash := b.SystemID // those that wait for an unknown one share it, as with a known one
	if cred != nil {
		hash = cred.PasswordHash
	}
	fits, err := s.passwords.check(ctx, password{cred, hash, b.Password}, s.passwords.costIn(snap), held)
	switch {
	case err != nil:
		return nil, err
	case fits:
		s.failures.succeeded(c.peer, b.SystemID)
		return cred, nil
	}
	s.failures.failed(c.peer, b.SystemID, s.now())
	if cred == nil {
		return nil, message.Refuse(message.ReasonUnauthenticated, "unknown system_id")
	}
	// The strangers' line must not tell which system_ids exist.
	if !s.passwords.enterStranger(ctx) {
		return cred, errNoTurn()
	}
	s.passwords.leaveStranger()
	return cred, message.Refuse(message.ReasonUnauthenticated, "wrong password")
}

// strangersHash is a hash of bcrypt of a value that nobody knows, without the cost
// that stands before it.
const strangersHash = ".sg4Y0d61g6byWmRtxpu..RZ2QGSeMS16dik/XzYtV38joHGa7Wpy"

// hashOfCost is a hash to spend so much time on. No password fits it.
func hashOfCost(cost int) string { return fmt.Sprintf("$2a$%02d$%s", cost, strangersHash) }

// costliest is the cost of the hash that takes longest; bcrypt.DefaultCost when there
// is none.
func costliest(snap *snapshot.Snapshot) int {
	most := 0
	for _, c := range snap.SMPPCredentials {
		if cost, err := bcrypt.Cost([]byte(c.PasswordHash)); err == nil {
			most = max(most, cost)
		}
	}
	return cmp.Or(most, bcrypt.DefaultCost)
}

// password is what a bind wants checked. Credential is nil when its system_id
// is unknown, and hash that system_id then.
type password struct {
	credential *snapshot.SMPPCredential
	hash       string
	given      string
}

// maxKnown is how many passwords that were right are remembered.
const maxKnown = 4096

type passwordKey [sha256.Size]byte

// passwords checks passwords against bcrypt hashes. One that was right is known
// again without bcrypt, so that a thousand binds that come back at once cost
// nothing; one that was wrong is computed each time. What is kept is an HMAC
// under a key of this process, and it covers the hash: a changed password ends
// what was known. It is safe for concurrent use.
type passwords struct {
	compare func(hash, password []byte) error
	secret  [32]byte
	turns   chan struct{} // one element a bcrypt under way
	// stranger has an element while one for an unknown system_id is under way, or
	// waits for its turn; the others wait here. So made-up ids take one place in the
	// line of the customers, however many they are.
	stranger chan struct{}

	mu      sync.Mutex
	known   map[passwordKey]*list.Element
	recent  list.List // of passwordKey, the last used first
	flights map[passwordKey]*flight
	costOf  *snapshot.Snapshot // cost is the costliest of; the same until the configuration changes
	cost    int
}

// flight is a bcrypt under way, or waiting for its turn.
type flight struct {
	done chan struct{} // closed when fits and err are set
	fits bool
	err  error
}

func newPasswords() *passwords {
	p := &passwords{
		compare:  bcrypt.CompareHashAndPassword,
		turns:    make(chan struct{}, turnsOn(runtime.GOMAXPROCS(0))),
		stranger: make(chan struct{}, 1),
		known:    make(map[passwordKey]*list.Element), flights: make(map[passwordKey]*flight),
	}
	_, _ = rand.Read(p.secret[:]) // never fails: it ends the process before
	return p
}

// turnsOn is how many of so many cores may compute bcrypt: half of them, for those
// who are bound need the others.
func turnsOn(cores int) int { return max(1, cores/2) }

// enterStranger waits in the strangers' line until it is one's turn, which
// leaveStranger ends; false: ctx ended.
func (p *passwords) enterStranger(ctx context.Context) bool {
	select {
	case p.stranger <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *passwords) leaveStranger() { <-p.stranger }

// costIn is what every check of a password is to cost under the configuration.
func (p *passwords) costIn(snap *snapshot.Snapshot) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.costOf != snap {
		p.costOf, p.cost = snap, costliest(snap)
	}
	return p.cost
}

// check reports whether the password is the credential's. Whatever the credential,
// and with none, it takes as long as a hash of the cost does. Before it computes it
// asks held, and gives that error back; after ctx it gives up its turn.
//
// One that several wait for is computed once.
func (p *passwords) check(ctx context.Context, pw password, cost int, held func() error) (bool, error) {
	key := p.key(pw)
	for {
		p.mu.Lock()
		if e := p.known[key]; e != nil {
			p.recent.MoveToFront(e)
			p.mu.Unlock()
			return true, nil
		}
		f := p.flights[key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			p.flights[key] = f
			p.mu.Unlock()
			p.fly(ctx, key, f, pw, cost, held)
			return f.fits, f.err
		}
		p.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return false, errNoTurn()
		}
		if f.err == nil {
			return f.fits, nil
		}
		// The one who computed gave up; that is no answer for us.
		if err := held(); err != nil {
			return false, err
		}
	}
}

func errNoTurn() error {
	return message.Because(message.ReasonUnavailable, errNoTime, "the password was not checked")
}

// fly computes, and tells those who wait.
func (p *passwords) fly(ctx context.Context, key passwordKey, f *flight, pw password, cost int, held func() error) {
	f.err = errNoTurn() // what those who wait get if compare panics
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.flights, key)
		if f.fits {
			p.remember(key)
		}
		close(f.done)
	}()
	if pw.credential == nil {
		if !p.enterStranger(ctx) {
			return
		}
		defer p.leaveStranger()
	}
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-p.turns }()
	if f.err = held(); f.err != nil {
		return
	}
	f.fits = p.fits(pw, cost)
}

// fits compares, and takes as long as the cost says over any system_id: one that
// does not exist, a hash that cannot be read and one that was made at another cost
// do not show in the time. Each step of the cost takes twice as long as the one
// before, so one hash of each step in between makes up for what is missing.
func (p *passwords) fits(pw password, cost int) bool {
	own, err := bcrypt.Cost([]byte(pw.hash))
	if pw.credential == nil || err != nil {
		_ = p.compare([]byte(hashOfCost(cost)), []byte(pw.given))
		return false
	}
	err = p.compare([]byte(pw.hash), []byte(pw.given))
	for c := own; c < cost; c++ {
		_ = p.compare([]byte(hashOfCost(c)), []byte(pw.given))
	}
	return err == nil
}

// remember keeps a password that was right; the caller holds mu.
func (p *passwords) remember(key passwordKey) {
	if len(p.known) >= maxKnown {
		oldest := p.recent.Back()
		p.recent.Remove(oldest)
		delete(p.known, oldest.Value.(passwordKey))
	}
	p.known[key] = p.recent.PushFront(key)
}

// key is the HMAC-SHA256 over credential, hash and password, each with its
// length.
func (p *passwords) key(pw password) passwordKey {
	h := hmac.New(sha256.New, p.secret[:])
	var id message.ID
	if pw.credential != nil {
		id = pw.credential.ID
	}
	for _, field := range [][]byte{id[:], []byte(pw.hash), []byte(pw.given)} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(field)))
		h.Write(n[:])
		h.Write(field)
	}
	return passwordKey(h.Sum(nil))
}
