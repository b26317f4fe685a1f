package smpp

import (
	"context"
	"net"
	"sync"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// entries is how many binds may be entered into the journal at a time. A storm
// of reconnects waits here and not for the connections of the pool, which the
// messages of those already bound need.
const entries = 16

// registry knows what this process serves: listeners, connections, and the rows
// of the journal's registry that are ours.
type registry struct {
	// entry has a place for each bind that is being entered. A beat takes all of
	// them. Those who wait are served in order, so neither starves.
	entry chan struct{}

	mu          sync.Mutex
	draining    bool
	launched    bool
	listeners   map[net.Listener]struct{}
	connections map[*connection]struct{}
	rows        map[message.ID]*registryRow // those being entered among them
}

// registryRow is a row of the journal's registry that is ours.
type registryRow struct {
	message.SMPPBind
	connection *connection
	ending     bool // it is being taken out
}

func newRegistry() *registry {
	return &registry{
		entry:       make(chan struct{}, entries),
		listeners:   make(map[net.Listener]struct{}),
		connections: make(map[*connection]struct{}),
		rows:        make(map[message.ID]*registryRow),
	}
}

// listen notes a listener and launches the server with the first one; false:
// the server shuts down.
func (r *registry) listen(l net.Listener, launch func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return false
	}
	r.listeners[l] = struct{}{}
	if !r.launched {
		r.launched = true
		launch()
	}
	return true
}

func (r *registry) unlisten(l net.Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.listeners, l)
}

func (r *registry) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// drain closes the listeners and lists the connections. From now on neither is
// added. First is false when it was called before.
func (r *registry) drain() (connections []*connection, launched, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, r.launched, false
	}
	r.draining = true
	for l := range r.listeners {
		_ = l.Close()
	}
	for c := range r.connections {
		connections = append(connections, c)
	}
	return connections, r.launched, true
}

// add runs fn for a connection on a goroutine of work; false: the server shuts
// down, and fn does not run.
func (r *registry) add(c *connection, work *sync.WaitGroup, fn func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return false
	}
	r.connections[c] = struct{}{}
	work.Go(fn)
	return true
}

func (r *registry) remove(c *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.connections, c)
}

// setSession tells of a connection's session.
func (r *registry) setSession(c *connection, session *smpp.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.session = session
}

func (r *registry) sessionOf(c *connection) *smpp.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return c.session
}

// setBound tells that a connection is bound.
func (r *registry) setBound(c *connection, b *bound) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.bound = b
}

// allBound lists the connections that are bound.
func (r *registry) allBound() []*connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*connection, 0, len(r.connections))
	for c := range r.connections {
		if c.bound != nil {
			list = append(list, c)
		}
	}
	return list
}

// leave notes why we end a session, and runs fn on a goroutine of work unless
// somebody was before us or everything ends anyway.
func (r *registry) leave(c *connection, cause string, work *sync.WaitGroup, fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining || c.cause != "" {
		return
	}
	c.cause = cause
	work.Go(fn)
}

// causeOf is why we end a session; empty: we do not. With a cause given it is
// noted, unless there was one before.
func (r *registry) causeOf(c *connection, cause string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.cause == "" {
		c.cause = cause
	}
	return c.cause
}

// addRow and removeRow keep the rows that a beat names.
func (r *registry) addRow(c *connection, row message.SMPPBind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows[row.ID] = &registryRow{SMPPBind: row, connection: c}
}

// endRow says that a row is about to be taken out. A beat still names it, for that
// may fail.
func (r *registry) endRow(id message.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if row := r.rows[id]; row != nil {
		row.ending = true
	}
}

// lostRows gives those of the rows that should be there.
func (r *registry) lostRows(missing []message.ID) []message.SMPPBind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lost []message.SMPPBind
	for _, id := range missing {
		if row := r.rows[id]; row != nil && !row.ending {
			lost = append(lost, row.SMPPBind)
		}
	}
	return lost
}

func (r *registry) removeRow(id message.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.rows, id)
}

func (r *registry) rowIDs() []message.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]message.ID, 0, len(r.rows))
	for id := range r.rows {
		ids = append(ids, id)
	}
	return ids
}

// leaving finds a connection of the credential whose session has ended, or is
// about to, and whose row is still there; nil when there is none.
func (r *registry) leaving(credential message.ID) *connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range r.rows {
		c := row.connection
		if c.bound == nil || c.bound.credential != credential {
			continue
		}
		if st := c.bound.session.State(); st == smpp.StateUnbound || st == smpp.StateClosed {
			return c
		}
	}
	return nil
}

// enterRow takes a place to enter a bind; false: ctx ended.
func (r *registry) enterRow(ctx context.Context) bool {
	select {
	case r.entry <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *registry) enteredRow() { <-r.entry }

// holdEntries waits until no bind is being entered and keeps new ones waiting
// until releaseEntries; false: ctx ended first, and nothing is held.
func (r *registry) holdEntries(ctx context.Context) bool {
	for n := range entries {
		if !r.enterRow(ctx) {
			for range n {
				<-r.entry
			}
			return false
		}
	}
	return true
}

func (r *registry) releaseEntries() {
	for range entries {
		<-r.entry
	}
}
