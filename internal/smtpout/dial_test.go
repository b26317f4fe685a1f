package smtpout

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// zone is a Resolver that answers one thing.
type zone struct {
	mx  []*net.MX
	err error
}

// LookupMX answers.
func (z zone) LookupMX(_ context.Context, domain string) ([]*net.MX, error) {
	if domain != "peer.example" {
		return nil, errors.New("asked for " + domain)
	}
	return z.mx, z.err
}

func TestMX(t *testing.T) {
	t.Parallel()
	none := &net.DNSError{Err: "no such host", IsNotFound: true}
	three := []*net.MX{{Host: "c.example.", Pref: 30}, {Host: "a.example.", Pref: 10}, {Host: "b.example.", Pref: 20}, {Host: "a.example", Pref: 40}}
	for _, tt := range []struct {
		name   string
		zone   zone
		fail   []string // hosts that cannot be reached
		dialed []string
		stage  Stage // of the error; empty: none
	}{
		{"in order", zone{mx: three}, nil, []string{"a.example:25"}, ""},
		{"the next", zone{mx: three}, []string{"a.example:25", "b.example:25"}, []string{"a.example:25", "b.example:25", "c.example:25"}, ""},
		{"none to be reached", zone{mx: three}, []string{"a.example:25", "b.example:25", "c.example:25"}, []string{"a.example:25", "b.example:25", "c.example:25"}, StageConnect},
		{"some records broken", zone{mx: three[:1], err: errors.New("a bad name")}, nil, []string{"c.example:25"}, ""},
		{"no record", zone{err: none}, nil, []string{"peer.example:25"}, ""},
		{"an empty list", zone{}, nil, []string{"peer.example:25"}, ""},
		{"no answer", zone{err: &net.DNSError{Err: "timeout", IsTimeout: true, IsTemporary: true}}, nil, nil, StageLookup},
		{"takes no mail", zone{mx: []*net.MX{{Host: "."}}}, nil, nil, StageLookup},
		{"no host name", zone{mx: []*net.MX{{Host: "a b\r\n."}}}, nil, nil, StageLookup},
	} {
		p := newPeer(t, serve(nil))
		var mu sync.Mutex
		var failed []Stage
		s := p.sender(func(c *Config) {
			c.Resolver = tt.zone
			c.Metrics.Connected = func(_ string, at Stage, _ time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, at)
			}
			dial := c.DialContext
			c.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				if slices.Contains(tt.fail, address) {
					p.mu.Lock()
					p.dialed = append(p.dialed, address)
					p.mu.Unlock()
					return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
				}
				return dial(ctx, network, address)
			}
		})
		_, err := s.Send(t.Context(), target(func(t *Target) { t.Host, t.MX = "peer.example", true }), mailOf("Hi"))
		if tt.stage == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		} else if e := failure(t, err); e.Stage() != tt.stage || !e.Retryable() || e.OnWire() || e.Reason() != message.ReasonVendorUnreachable {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !slices.Equal(p.dialed, tt.dialed) || len(failed) != len(tt.dialed) {
			t.Errorf("%s: called %q (%q), want %q", tt.name, p.dialed, failed, tt.dialed)
		}
	}
}

// A host that does not let us in, or has a wrong certificate, is passed over; one that
// refuses the password is not.
func TestNextHost(t *testing.T) {
	t.Parallel()
	id, other := newIdentity(t, "b.example"), newIdentity(t, "a.example")
	good := serveTLS(nil, id.config, nil, "AUTH PLAIN")
	for _, tt := range []struct {
		name  string
		first func(*talk)
		calls int
		stage Stage
	}{
		{"not let in", serve(answers{"greeting": "554 5.7.1 no"}), 2, ""},
		{"busy", serve(answers{"greeting": "421 4.3.2 too many"}), 2, ""},
		{"closed", serve(answers{"greeting": cut}), 2, ""},
		{"EHLO refused", serve(answers{"EHLO": "550 5.7.1 who?"}), 2, ""},
		{"no TLS", serve(nil, "AUTH PLAIN"), 2, ""},
		{"a wrong certificate", serveTLS(nil, other.config, nil, "AUTH PLAIN"), 2, ""},
		{"the password refused", serveTLS(answers{"AUTH": "535 5.7.8 no"}, id.config, nil, "AUTH PLAIN"), 1, StageAUTH},
	} {
		p := newPeer(t, tt.first, good)
		s := p.sender(trusting(id), func(c *Config) {
			c.Resolver = zone{mx: []*net.MX{{Host: "a.example"}, {Host: "b.example", Pref: 1}}}
		})
		change := func(t *Target) { t.Host, t.MX, t.TLS = "peer.example", true, TLSRequired }
		if tt.stage == StageAUTH {
			s.cfg.Resolver = zone{mx: []*net.MX{{Host: "b.example"}, {Host: "a.example", Pref: 1}}}
		}
		_, err := s.Send(t.Context(), target(change, login("s3cret")), mailOf("Hi"))
		if tt.stage == "" && err != nil || tt.stage != "" && failure(t, err).Stage() != tt.stage {
			t.Errorf("%s: %v", tt.name, err)
		}
		if calls, _ := p.counts(); calls != tt.calls {
			t.Errorf("%s: %d calls", tt.name, calls)
		}
	}
}

// Without anybody there the network's answer is told in words without an address.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	s := New(Config{})
	t.Cleanup(s.Close)
	_, err = s.Send(t.Context(), target(func(t *Target) { t.Host, t.Port = "127.0.0.1", port }), mailOf("Hi"))
	e := failure(t, err)
	if e.Stage() != StageConnect || !e.Retryable() || e.Configuration() || e.Error() != "smtp acme: connect: dial: connection refused" {
		t.Error(err)
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Error("the cause is lost")
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mode TLSMode
		port int
		want string
	}{{TLSRequired, 0, "25"}, {TLSImplicit, 0, "465"}, {TLSImplicit, 2566, "2566"}, {TLSNever, 2566, "2566"}} {
		to := target(mode(tt.mode), func(t *Target) { t.Port = tt.port })
		if got := to.port(); got != tt.want {
			t.Errorf("%s, %d: %s, want %s", tt.mode, tt.port, got, tt.want)
		}
	}
}
