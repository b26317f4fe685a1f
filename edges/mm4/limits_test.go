package mm4

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/door"
	"github.com/postrider/postrider/internal/media"
)

func TestSessionLimits(t *testing.T) {
	for _, tt := range []struct {
		cause  string
		change func(w *world, p *Peer)
	}{
		{RefusedTotal, func(w *world, _ *Peer) { w.Limits.Sessions = 2 }},
		{RefusedAddress, func(w *world, _ *Peer) { w.Limits.SessionsPerAddress = 2 }},
		{RefusedPeer, func(_ *world, p *Peer) { p.MaxSessions = 2 }},
	} {
		t.Run(tt.cause, func(t *testing.T) {
			p := acme()
			w := setup(t, p)
			tt.change(w, &p)
			d := directory(t, p)
			w.Peers = func() *Directory { return d }
			w.listen()
			first, second := w.dial("127.0.0.1"), w.dial("127.0.0.1")
			first.want("220")
			second.want("220")
			w.dial("127.0.0.1").dialogue("< 421 4.3.2\nend")
			w.until("a refusal", func() bool { return w.refused[tt.cause] == 1 })
			if tt.cause == RefusedAddress {
				w.dial("127.0.0.2").dialogue("< 220")
			}
			first.dialogue("> QUIT\n< 221\nend")
			_ = first.Close()
			w.until("a session to end", func() bool { return w.open <= 2 && len(w.Sessions()) <= 2 })
			if tt.cause != RefusedAddress {
				w.until("a place", func() bool { return len(w.Sessions()) == 1 })
			}
			w.dial("127.0.0.1").dialogue(hello)
		})
	}
}

// TestSessionLimitBehindOneAddress: a session counts with the peer whose mail it has.
func TestSessionLimitBehindOneAddress(t *testing.T) {
	a, z := acme(), zeta()
	a.Domains, z.Domains, z.MaxSessions = []string{"mms.pbx.example"}, []string{"mms.zeta.example"}, 1
	w := setup(t, a, z).listen()
	first := w.dial("127.0.0.1")
	first.dialogue(hello + "> MAIL FROM:<x@mms.zeta.example>\n< 250")
	w.dial("127.0.0.1").dialogue(hello + "> MAIL FROM:<x@mms.zeta.example>\n< 421 4.3.2\nend")
	first.dialogue("> RSET\n< 250\n> MAIL FROM:<x@mms.pbx.example>\n< 250")
	w.dial("127.0.0.1").dialogue(hello + "> MAIL FROM:<x@mms.zeta.example>\n< 250")
}

func TestConnectRate(t *testing.T) {
	w := setup(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := make(chan time.Time, 1)
	clock <- now
	w.Now = func() time.Time {
		t := <-clock
		clock <- t
		return t
	}
	w.Limits.ConnectRate = 3
	w.listen()
	for range 3 {
		w.dial("127.0.0.1").want("220")
	}
	w.dial("127.0.0.1").dialogue("< 421 4.3.2\nend")
	w.dial("127.0.0.2").want("220")
	<-clock
	clock <- now.Add(door.ConnectWindow)
	w.dial("127.0.0.1").want("220")
}

// TestSpoolIsShared: what one mail has taken another cannot have, until it is done.
func TestSpoolIsShared(t *testing.T) {
	w := setup(t)
	w.Limits.SpoolOctets = int64(len(usual)) + 100
	begun := make(chan struct{}, 3)
	w.Spool = tellingSpool{w.Spool, begun}
	w.listen()
	first, second := w.dial("127.0.0.1"), w.dial("127.0.0.1")
	first.dialogue(hello + envelope + "> DATA\n< 354")
	first.send(usual[:len(usual)-20])
	<-begun // so the header is reserved
	second.dialogue(hello + envelope + "> DATA\n< 354\nmail\n< 452 4.3.1")
	first.send(usual[len(usual)-20:] + ".\r\n")
	first.want("250 2.0.0")
	second.dialogue(envelope + "> DATA\n< 354\nmail\n< 250 2.0.0")
}

// tellingSpool tells of each file that begins to come.
type tellingSpool struct {
	Spool
	begun chan struct{}
}

func (s tellingSpool) Receive(ctx context.Context, r io.Reader, limit int64) (*media.Upload, error) {
	s.begun <- struct{}{}
	return s.Spool.Receive(ctx, r, limit)
}

// timed runs a test in a bubble, with a server on pipes.
func timed(t *testing.T, change func(w *world, p *Peer), test func(t *testing.T, w *world, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		a := acme()
		a.Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}
		w := setup(t, a)
		if change != nil {
			change(w, &a)
			d := directory(t, a)
			w.Peers = func() *Directory { return d }
		}
		test(t, w, w.pipes())
	})
}

// endless is a client whose own deadline is far away.
func (c *client) endless() *client {
	_ = c.SetDeadline(time.Time{})
	return c
}

func TestCommandDeadline(t *testing.T) {
	for name, script := range map[string]string{
		"silence":           hello,
		"half a command":    hello + ">> \"MAIL FROM\"",
		"an open envelope":  hello + envelope,
		"half a response":   "< 220\n> EHLO x\n< 250 \n> AUTH PLAIN\n< 334 \n>> \"AGFj\"",
		"nothing but a SYN": "< 220",
	} {
		t.Run(name, func(t *testing.T) {
			timed(t, func(_ *world, p *Peer) {
				p.Username, p.Password, p.AuthWithoutTLS = "acme", func(string) bool { return true }, true
			}, func(t *testing.T, w *world, p *pipes) {
				c := p.dial("127.0.0.1").endless()
				c.dialogue(script)
				begin := time.Now()
				c.dialogue("< 421 4.4.2\nend")
				if took := time.Since(begin); took != DefaultCommand {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

// TestOctetsDoNotExtendACommand: a command has its time, however it comes.
func TestOctetsDoNotExtendACommand(t *testing.T) {
	timed(t, nil, func(t *testing.T, w *world, p *pipes) {
		c := p.dial("127.0.0.1").endless()
		c.want("220")
		begin := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				<-time.After(time.Minute)
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		c.dialogue("< 421 4.4.2\nend")
		if took := time.Since(begin); took != DefaultCommand {
			t.Errorf("ended after %v", took)
		}
		<-done
	})
}

func TestSlowData(t *testing.T) {
	line := strings.Repeat("x", 62) + "\r\n"
	for _, tt := range []struct {
		name   string
		change func(w *world, p *Peer)
		octets int           // that come
		every  time.Duration // a line
		want   time.Duration
	}{
		{"silence", nil, 0, time.Hour, DefaultDataGrace},
		{"a line a second", nil, 1 << 20, time.Second, DefaultDataGrace}, // 64 octets a second earn nothing
		{"fast enough, and never at its end", func(w *world, _ *Peer) { w.Limits.DataRate = 16 }, 1 << 20, time.Second, DefaultDataTime},
		{"the peer's own time", func(w *world, p *Peer) { w.Limits.DataRate, p.DataTime = 16, 5*time.Minute }, 1 << 20, time.Second, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			timed(t, tt.change, func(t *testing.T, w *world, p *pipes) {
				c := p.dial("127.0.0.1").endless()
				c.dialogue(hello + envelope + "> DATA\n< 354")
				begin := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					if _, err := io.WriteString(c, part("Content-Type: text/plain\n", "")); err != nil {
						return
					}
					for sent := 0; sent < tt.octets; sent += len(line) {
						<-time.After(tt.every)
						if _, err := io.WriteString(c, line); err != nil {
							return
						}
					}
				}()
				c.dialogue("< 421 4.4.2\nend")
				if took := time.Since(begin).Truncate(time.Second); took != tt.want {
					t.Errorf("ended after %v, want %v", took, tt.want)
				}
				<-done
				if len(w.desk.got()) > 0 {
					t.Error("the desk has half a mail")
				}
			})
		})
	}
}

// TestSlowButTooLarge: a mail that is refused already keeps the time that its octets
// earn, so that its sender hears why.
func TestSlowButTooLarge(t *testing.T) {
	timed(t, func(w *world, p *Peer) { w.Limits.DataRate, p.MaxSize = 32, 1000 }, func(t *testing.T, w *world, p *pipes) {
		c := p.dial("127.0.0.1").endless()
		c.dialogue(hello + envelope + "> DATA\n< 354")
		begin := time.Now()
		for time.Since(begin) < 3*DefaultDataGrace {
			<-time.After(time.Second)
			c.send(strings.Repeat("x", 62) + "\r\n")
		}
		c.dialogue(">> \".\\r\\n\"\n< 552 5.3.4\n> NOOP\n< 250")
	})
}

// TestAcceptTime: a Desk that does not come back is given up, by its context.
func TestAcceptTime(t *testing.T) {
	timed(t, nil, func(t *testing.T, w *world, p *pipes) {
		w.desk.accept = func(ctx context.Context, _ *Mail) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		c := p.dial("127.0.0.1").endless()
		c.dialogue(hello + envelope + "> DATA\n< 354\nmail")
		begin := time.Now()
		c.want("451 4.3.0")
		if took := time.Since(begin); took != DefaultAccept {
			t.Errorf("ended after %v", took)
		}
		c.dialogue("> QUIT\n< 221\nend")
	})
}
