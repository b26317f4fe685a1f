package smtpout

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
)

// Resolver looks mail exchangers up, as net.Resolver does: an error beside records is of
// records that were left out, and a *net.DNSError that is not found means that there are
// none.
type Resolver interface {
	LookupMX(ctx context.Context, domain string) ([]*net.MX, error)
}

// maxHosts is how many exchangers are tried for one mail: two at least (RFC 5321 §5.1),
// and no more than keep a mail waiting.
const maxHosts = 5

// hosts lists who takes mails for the target, in the order to try them.
func (s *Sender) hosts(ctx context.Context, t *Target) ([]string, error) {
	if !t.MX {
		return []string{t.Host}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.Limits.orDefault().Connect)
	defer cancel()
	records, err := s.cfg.Resolver.LookupMX(ctx, t.Host)
	if len(records) == 0 {
		var none *net.DNSError
		if err == nil || errors.As(err, &none) && none.IsNotFound {
			return []string{t.Host}, nil // the implicit exchanger (RFC 5321 §5.1)
		}
		return nil, lost(StageLookup, err)
	}
	// A resolver shuffles those of one preference; the order of such stays.
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	var hosts []string
	for _, r := range records {
		if h := strings.TrimSuffix(r.Host, "."); validHost(h) && !slices.Contains(hosts, h) && len(hosts) < maxHosts {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 { // such as the one root of RFC 7505
		return nil, misfit(StageLookup, "the domain takes no mail")
	}
	return hosts, nil
}

// connect makes a connection that mails can be handed to, with the first host that lets
// it. The error is that of the most preferred.
func (s *Sender) connect(ctx context.Context, t *Target) (*session, error) {
	hosts, err := s.hosts(ctx, t)
	if err != nil {
		return nil, err
	}
	var first error
	for _, host := range hosts {
		begin := time.Now()
		c, err := s.call(ctx, t, host)
		s.connected(t, host, err, time.Since(begin))
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || stageOf(err) == StageAUTH { // a wrong password is wrong everywhere
			break
		}
	}
	return nil, first
}

// call makes a connection to one host.
func (s *Sender) call(ctx context.Context, t *Target, host string) (*session, error) {
	within, cancel := context.WithTimeout(ctx, t.Limits.orDefault().Connect)
	conn, err := s.cfg.DialContext(within, "tcp", net.JoinHostPort(host, t.port()))
	cancel()
	if err != nil {
		return nil, lost(StageConnect, err)
	}
	c := newSession(t, conn)
	release := c.watch(ctx)
	err = c.open(ctx, host, t.roots(s.cfg.Roots))
	release()
	if err == nil && c.broken {
		err = lost(StageConnect, whyEnded(ctx))
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// watch closes the connection when ctx ends, until release is called. Release waits for
// a close that is under way; then the session is broken.
func (c *session) watch(ctx context.Context) (release func()) {
	closed := make(chan struct{}) // closed by the function that closes the connection
	stop := context.AfterFunc(ctx, func() {
		c.close()
		close(closed)
	})
	return func() {
		if !stop() {
			<-closed
			c.broken = true
		}
	}
}

func stageOf(err error) Stage {
	var no *refusal
	var link *connectionError
	switch {
	case errors.As(err, &no):
		return no.stage
	case errors.As(err, &link):
		return link.stage
	}
	return ""
}
