package smpp

import (
	"context"
	"slices"

	"github.com/postrider/postrider/internal/message"
)

// Recheck brings the sessions in line with the configuration in force. It unbinds
// those that it would not let bind any more: whose credential is gone or disabled,
// or has lost its account, address, transport, bind type or password. Windows change
// at once; throughput is looked at for each submit anyway. It does not wait for the
// sessions. It is called within seconds of a change anyway.
//
// Sessions beyond a lowered max_binds are unbound by the watch soon after.
func (s *Server) Recheck() {
	s.prepare()
	for _, c := range s.registry.allBound() {
		c.recheck()
	}
}

// recheck looks at one bound session.
func (c *connection) recheck() {
	snap := c.server.Snapshot()
	if snap == nil {
		return
	}
	cred := snap.SMPPCredentialByID(c.own.credential)
	if cred == nil {
		c.unbind("the credential is gone")
		return
	}
	if err := c.mayBind(snap, cred, c.own.session.Mode()); err != nil {
		c.unbind(message.AsError(err).Detail)
		return
	}
	if cred.PasswordHash != c.own.password {
		c.unbind("the password has changed")
		return
	}
	c.own.session.SetWindow(cred.Window, cred.Window)
	c.server.registry.setMaxBinds(c, cred.MaxBinds)
}

// endSurplus unbinds the newest sessions of credentials that have more than they
// may since their max_binds was lowered. Each process judges its own by the journal's
// registry; who is among the oldest there stays so when others go, so all judge
// alike, in whatever order they look. What the journal does not answer now is asked
// again by the next watch.
//
// It is the change that is judged, not the number: binds that exceed it because
// their process could not be heard of for a while stay.
func (s *Server) endSurplus() {
	for credential, lowered := range s.registry.allLowered() {
		ctx, cancel := context.WithTimeout(s.life, journalTime)
		surplus, err := s.Journal.SurplusBinds(ctx, credential, lowered.max)
		cancel()
		if err != nil {
			s.log.Warn("smpp surplus binds not known", "credential", credential, "error", err)
			return
		}
		for _, c := range lowered.connections {
			if slices.Contains(surplus, c.row) {
				c.unbind("more binds than it may have now")
			}
		}
		s.registry.judged(lowered.connections, lowered.max)
	}
}

// endAsked unbinds the sessions whose end staff have asked for, of whatever process they
// have asked it. What the journal does not answer now is asked again by the next watch.
func (s *Server) endAsked() {
	ctx, cancel := context.WithTimeout(s.life, journalTime)
	defer cancel()
	ids, err := s.Journal.BindsToEnd(ctx, s.Instance)
	if err != nil {
		s.log.Warn("smpp binds to end not known", "error", err)
		return
	}
	for _, c := range s.registry.holding(ids) {
		c.unbind("ended by staff")
	}
}

// holding lists the bound connections of the rows.
func (r *registry) holding(rows []message.ID) []*connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*connection
	for _, id := range rows {
		if row := r.rows[id]; row != nil && row.connection.bound != nil {
			list = append(list, row.connection)
		}
	}
	return list
}

// lowered is a credential that some of our sessions were let in to under a higher
// max_binds.
type lowered struct {
	max         int // now
	connections []*connection
}

// setMaxBinds notes what the credential's max_binds is now. What it was when the
// session was last judged is judged by allLowered.
func (r *registry) setMaxBinds(c *connection, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.maxBinds = most
	if most > c.judgedBinds {
		c.judgedBinds = most
	}
}

// allLowered lists by credential the connections whose max_binds is lower than when
// they were let in or last judged.
func (r *registry) allLowered() map[message.ID]lowered {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all map[message.ID]lowered
	for c := range r.connections {
		if c.bound == nil || c.maxBinds >= c.judgedBinds {
			continue
		}
		if all == nil {
			all = make(map[message.ID]lowered)
		}
		l := all[c.bound.credential]
		all[c.bound.credential] = lowered{c.maxBinds, append(l.connections, c)}
	}
	return all
}

// judged notes that the connections were judged by this max_binds.
func (r *registry) judged(connections []*connection, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range connections {
		c.judgedBinds = most
	}
}
