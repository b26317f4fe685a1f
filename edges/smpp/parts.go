package smpp

import "github.com/postrider/postrider/internal/smpp"

// submitPart takes one part of a message that the ESME has cut itself, by user
// data header or sar_* parameters: c tells which part of how many. The fields
// of m were checked and its part was taken from the rate; it answers the
// request.
func (s *Server) submitPart(b *bound, r *smpp.Request, m *smpp.Message, c smpp.Content) {
	s.answer(r, s.now(), smpp.StatusSystemError, nil)
}
