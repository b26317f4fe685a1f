package smpp

import "github.com/postrider/postrider/internal/smpp"

// handle answers one request of a bound ESME. It runs on the session's reader
// and hands on what has to wait.
func (s *Server) handle(b *bound, r *smpp.Request) {
	_ = r.Respond(smpp.StatusInvCmdID, nil)
}
