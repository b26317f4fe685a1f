package smpp

// deliverer brings to the bound sessions what their customers are owed.
type deliverer struct{}

func (d *deliverer) start(s *Server) {}
func (d *deliverer) stop()           {}

// attach and detach tell of sessions that can receive.
func (d *deliverer) attach(b *bound) {}
func (d *deliverer) detach(b *bound) {}
