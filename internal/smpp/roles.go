package smpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Decision answers a bind.
type Decision struct {
	Status  Status // StatusOK: bound; else the session ends after the answer
	Window  int    // overrides Config.Window when positive
	Inbound int    // overrides Config.Inbound when positive
	// AllowDeliver lets a transmitting peer send deliver_sm as well: a vendor
	// that connects in with its inbound traffic.
	AllowDeliver bool
}

// ServerConfig is a session in the role of the SMSC.
type ServerConfig struct {
	Config
	// SystemID is ours, told in bind_resp; 15 octets at most.
	SystemID string
	// Bind decides a bind; nil refuses all. It runs on the session's reader.
	Bind func(ctx context.Context, s *Session, b *Bind) Decision
	// Bound is called once after a bind was accepted, on the session's reader,
	// before any request is read. It may be nil.
	Bound func(s *Session)
	// SessionInit bounds the time from connect to bind; 0: 10 s.
	SessionInit time.Duration
}

// NewServerSession runs an SMSC's session on conn, which it owns from now on.
func NewServerSession(conn net.Conn, cfg ServerConfig) *Session {
	if cfg.SessionInit == 0 {
		cfg.SessionInit = DefaultSessionInit
	}
	s := newSession(conn, cfg.Config, &cfg)
	s.start()
	return s
}

// DialConfig is a session in the role of the ESME.
type DialConfig struct {
	Config
	Address string      // host:port
	TLS     *tls.Config // nil: none
	Bind    Bind        // InterfaceVersion 0: 3.4
	// Timeout bounds connecting, the TLS handshake and the bind together;
	// 0: 30 s.
	Timeout time.Duration
	// DialContext connects; nil: net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// DefaultDialTimeout is DialConfig's Timeout.
const DefaultDialTimeout = 30 * time.Second

// Dial connects and binds. A refused bind is a *BindError, an address or TLS
// trouble the network's error. The handler may be called before Dial returns.
func Dial(ctx context.Context, cfg DialConfig) (*Session, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultDialTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	dial := cfg.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("smpp: connect: %w", err)
	}
	if cfg.TLS != nil {
		tc := tls.Client(conn, cfg.TLS)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("smpp: tls: %w", err)
		}
		conn = tc
	}
	return bind(ctx, conn, cfg)
}

// BindOn is Dial for a connection that is there already, as after an outbind. It owns
// the connection from now on, and closes it when the bind is refused.
func BindOn(ctx context.Context, conn net.Conn, cfg DialConfig) (*Session, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultDialTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	return bind(ctx, conn, cfg)
}

// ReadFirst reads the PDU with which a peer opens a connection that it has made to us: a
// bind, or an outbind (SMPP 3.4 §2.2.1), and nothing that may follow it. The error is
// ErrNotOpening for anything else. The caller sets a deadline.
func ReadFirst(conn net.Conn) (Packet, error) {
	frame := make([]byte, HeaderSize)
	if _, err := io.ReadFull(conn, frame); err != nil {
		return Packet{}, fmt.Errorf("smpp: first PDU: %w", err)
	}
	h := parseHeader(frame)
	opening := h.ID == IDOutbind || modeOf(h.ID) != ModeNone
	if !opening || h.Length < HeaderSize || h.Length > MaxFrameOpen {
		return Packet{}, ErrNotOpening
	}
	frame = append(frame, make([]byte, h.Length-HeaderSize)...)
	if _, err := io.ReadFull(conn, frame[HeaderSize:]); err != nil {
		return Packet{}, fmt.Errorf("smpp: first PDU: %w", err)
	}
	p, err := Decode(frame)
	if err != nil {
		return Packet{}, fmt.Errorf("smpp: first PDU: %w", err)
	}
	return p, nil
}

// bind runs an ESME's session on conn and binds it.
func bind(ctx context.Context, conn net.Conn, cfg DialConfig) (*Session, error) {
	s := newSession(conn, cfg.Config, nil)
	s.start()
	b := cfg.Bind
	if b.InterfaceVersion == 0 {
		b.InterfaceVersion = Version34
	}
	result := make(chan error, 1)
	_, err := s.send(&b, callOptions{done: func(_ Packet, err error) { result <- err }})
	if err == nil {
		select {
		case err = <-result:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err == nil {
		return s, nil
	}
	s.Close()
	s.Wait()
	var status *StatusError
	if errors.As(err, &status) {
		return nil, &BindError{Status: status.Status, Nack: status.Nack}
	}
	return nil, fmt.Errorf("smpp: bind: %w", err)
}
