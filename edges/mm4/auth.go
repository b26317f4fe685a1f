package mm4

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"

	"github.com/emersion/go-sasl"

	"github.com/postrider/postrider/internal/origin"
)

// mayAuth reports whether a password may be said now: the connection is secured, or a
// peer may do without.
func (c *session) mayAuth() bool {
	return c.link.secured || slices.ContainsFunc(c.candidates, func(p *Peer) bool { return p.Username != "" && p.AuthWithoutTLS })
}

// mayTry reports whether an address has said fewer wrong passwords than it may.
func (s *Server) mayTry(a netip.Addr) bool {
	return s.tries.Peek(origin.Host(a).String(), s.limits.AuthFailures, authWindow, s.now()).OK
}

// AuthMechanisms lists what is offered: nothing to those who have no password, or may
// not say it now.
func (c *session) AuthMechanisms() []string {
	hasOne := func(p *Peer) bool { return p.Username != "" }
	if !c.mayAuth() || !slices.ContainsFunc(c.candidates, hasOne) {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

// Auth begins an exchange.
func (c *session) Auth(mechanism string) (sasl.Server, error) {
	if slices.Contains(c.AuthMechanisms(), mechanism) {
		switch mechanism {
		case sasl.Plain:
			return &plain{check: c.authenticate}, nil
		case sasl.Login:
			return &login{check: c.authenticate}, nil
		}
	}
	return nil, say(codeSyntax, "the mechanism is not offered; see EHLO")
}

// authenticate checks a name and a password. A name that is not there takes as long as
// a wrong password.
func (c *session) authenticate(username, password string) error {
	s := c.server
	return answer(c.protect("AUTH", func() error {
		var named *Peer
		check := func(string) bool { return false }
		for _, p := range s.Peers().At(c.address) {
			if p.Username == "" {
				continue
			}
			if check = p.Password; p.Username == username {
				named = p
				break
			}
		}
		if named != nil && !named.AuthWithoutTLS && !c.link.secured {
			return say(codeDemanded, "a password is said under TLS only; say STARTTLS first")
		}
		s.checks <- struct{}{}
		ok := func() bool {
			defer func() { <-s.checks }()
			return check(password)
		}()
		if !ok || named == nil {
			return c.wrong()
		}
		if !c.count(named) {
			return c.last(say(codeBusy, "%s", turnAwayTexts[RefusedPeer]))
		}
		c.proved = named
		return nil
	}))
}

// wrong counts a wrong password.
func (c *session) wrong() error {
	s := c.server
	s.tries.Take(origin.Host(c.address).String(), s.limits.AuthFailures, authWindow, s.now())
	if c.tries++; c.tries >= maxAuthTries {
		c.refused(RefusedPasswords)
		return c.last(say(codeBusy, "too many wrong passwords"))
	}
	return say(codePassword, "the name or the password is wrong")
}

// errExchange is a response that its mechanism does not know.
var errExchange error = say(codeSyntax, "the response is none of this mechanism")

// plain is the server's side of PLAIN (RFC 4616).
type plain struct {
	check func(username, password string) error
}

// Next takes the one response: an identity, which is empty or the name, a name, and a
// password.
func (p *plain) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, false, errExchange
	}
	return nil, true, p.check(string(parts[1]), string(parts[2]))
}

// login is the server's side of LOGIN, which older MMSCs know alone: two questions.
type login struct {
	check    func(username, password string) error
	username []byte
	asked    int
}

var errLoginOver = errors.New("mm4: LOGIN is over")

// Next takes the name, which may come with the command, and the password.
func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.asked == 0 && response == nil {
		l.asked = 1
		return []byte("Username:"), false, nil
	}
	switch l.asked {
	case 0, 1:
		l.username, l.asked = response, 2
		return []byte("Password:"), false, nil
	case 2:
		l.asked = 3
		return nil, true, l.check(string(l.username), string(response))
	}
	return nil, false, errLoginOver
}
