package mm4

import (
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Registry knows the sessions of all processes. Its implementation is internal/postgres.
type Registry interface {
	// MM4SessionsAlive says that the instance's sessions live: those are entered as seen
	// now, and others of the instance are taken out. A session lives for 30 s from there.
	MM4SessionsAlive(ctx context.Context, instance string, sessions []message.MM4Session) error
	// MM4SessionsToEnd lists those of the instance's whose end staff have asked for.
	MM4SessionsToEnd(ctx context.Context, instance string) ([]message.ID, error)
}

const (
	// callEvery is when it is asked which sessions are to end, and new ones are told.
	callEvery = 2 * time.Second
	// aliveEvery is when all are told again: three times in the life of an entry.
	aliveEvery = 10 * time.Second
	// registryTime bounds one question.
	registryTime = 5 * time.Second
)

// beginRollCall starts telling the registry of the sessions. Shutdown ends it. It is
// called with mu held.
func (s *Server) beginRollCall() {
	if s.Registry == nil || s.calling || s.draining {
		return
	}
	s.calling = true
	s.calls.Go(s.rollCall)
}

func (s *Server) rollCall() {
	t := time.NewTicker(callEvery)
	defer t.Stop()
	var told []message.ID
	var at time.Time
	for {
		select {
		case <-s.life.Done():
			s.tell(context.WithoutCancel(s.life), nil)
			return
		case now := <-t.C:
			s.kickAsked()
			list := s.Sessions()
			rows := make([]message.ID, len(list))
			for i, c := range list {
				rows[i] = c.Row
			}
			if (!slices.Equal(rows, told) || len(rows) > 0 && now.Sub(at) >= aliveEvery) && s.tell(s.life, list) {
				told, at = rows, now
			}
		}
	}
}

// tell reports whether the registry has the sessions now.
func (s *Server) tell(ctx context.Context, list []SessionInfo) bool {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	sessions := make([]message.MM4Session, len(list))
	for i, c := range list {
		sessions[i] = message.MM4Session{ID: c.Row, PeerID: c.PeerID, TLS: c.TLS, State: string(c.State), Mails: c.Mails, BeganAt: c.Since}
		if c.Address.IsValid() {
			sessions[i].Address = c.Address.String()
		}
	}
	if err := s.Registry.MM4SessionsAlive(ctx, s.Instance, sessions); err != nil {
		s.log.Warn("mm4 sessions not told; the register's lapse after 30 s", "error", err)
		return false
	}
	return true
}

// kickAsked ends the sessions whose end staff have asked for.
func (s *Server) kickAsked() {
	ctx, cancel := context.WithTimeout(s.life, registryTime)
	defer cancel()
	ids, err := s.Registry.MM4SessionsToEnd(ctx, s.Instance)
	if err != nil {
		s.log.Warn("mm4 sessions to end not known", "error", err)
	}
	if len(ids) == 0 {
		return
	}
	for _, c := range s.all() {
		if info := c.snapshot(); slices.Contains(ids, info.Row) {
			s.log.Info("mm4 session ended by staff", "peer", info.Peer, "address", info.Address.String())
			c.kick()
		}
	}
}
