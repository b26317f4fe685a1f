package smpp

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// Server is the SMSC. Fill in the fields, then Serve. It is safe for concurrent
// use; the fields must not change once it serves.
type Server struct {
	Ingress  Ingress
	Journal  Journal
	Snapshot func() *snapshot.Snapshot
	Log      *slog.Logger
	Now      func() time.Time
	Instance string      // names this process in the registry; unique per start
	SystemID string      // ours, told in bind_resp; empty: postrider
	TLS      *tls.Config // for ServeTLS
	// ProxyFrom are the proxies whose PROXY protocol header names the peer; a
	// header from anywhere else ends the connection. Empty: none is read.
	ProxyFrom []netip.Prefix
	Metrics   Metrics

	deliverer deliverer
}

// Metrics are called when something happened; nil fields are not called.
type Metrics struct {
	Connections func(delta int)
	Binds       func(systemID string, delta int)
	BindRefused func(reason message.Reason)
	Request     func(command string, status string, took time.Duration)
	Throttled   func(account message.ID)
	Delivered   func(kind message.DeliveryKind, state message.NotificationState)
}

// bound is one bound session of a customer.
type bound struct {
	id         message.ID // of its row in the registry
	systemID   string
	credential message.ID
	account    message.ID
	session    *smpp.Session
	// legacy is a peer below version 3.4: it gets no optional parameters, and
	// message ids of 8 hex digits.
	legacy bool
}

// settings are the credential's as they are now; nil when it is gone or
// disabled.
func (s *Server) settings(b *bound) *snapshot.SMPPCredential {
	c := s.Snapshot().SMPPCredentialByID(b.credential)
	if c == nil || !c.Enabled {
		return nil
	}
	return c
}
