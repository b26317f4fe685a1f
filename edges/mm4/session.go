package mm4

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/door"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// session is one connection, and what the library calls for it. Its fields are the
// session's goroutine's but for those under mu.
type session struct {
	server  *Server
	id      uint64
	raw     net.Conn // as accepted
	proxied bool     // a PROXY header comes first
	place   *door.Place
	address netip.Addr
	since   time.Time
	// candidates are who it may be, as the Directory was at the connection's beginning.
	candidates []*Peer
	counted    *Peer // whose place it takes; nil: nobody's yet

	greeted  bool   // it has said EHLO since the connection was secured
	hello    string // the name in it
	proved   *Peer  // whose password it has said
	tries    int    // wrong passwords
	commands int    // since a mail was taken
	mail     *Mail  // between MAIL and the reply to DATA

	mu     sync.Mutex
	link   *link // nil: before the greeting
	info   SessionInfo
	kicked bool
}

// bid is link's, or closes a connection that has none yet. It is safe for concurrent use.
func (c *session) bid(r *smtp.SMTPError) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil {
		_ = c.raw.Close()
		return
	}
	l.bid(r)
}

// cut closes the connection under whatever goes on. It is safe for concurrent use.
func (c *session) cut() { _ = c.raw.Close() }

func (c *session) snapshot() SessionInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

// note changes what Sessions tells.
func (c *session) note(change func(*SessionInfo)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.info)
}

// state changes what the session is at. One that Kick has ended begins no mail.
func (c *session) state(s State) {
	c.mu.Lock()
	c.info.State = s
	kicked := c.kicked && s == StateData
	c.mu.Unlock()
	if kicked {
		c.cut()
	}
}

// kick ends the session for an operator.
func (c *session) kick() {
	c.mu.Lock()
	c.kicked = true
	inData := c.info.State == StateData
	c.mu.Unlock()
	c.bid(say(codeBusy, "the session was ended by an operator"))
	if inData {
		c.cut()
	}
}

// refused counts a refusal.
func (c *session) refused(cause string) {
	if c.server.Metrics.Refused != nil {
		c.server.Metrics.Refused(cause)
	}
	c.server.log.Info("mm4 refused", "reason", cause, "address", c.address.String())
}

// count makes the session take a place of p, and no longer one of another peer. It
// reports whether there was one.
func (c *session) count(p *Peer) bool {
	if c.counted == nil || c.counted.ID != p.ID {
		if !c.server.enterPeer(p) {
			c.refused(RefusedPeer)
			return false
		}
		if c.counted != nil {
			c.server.leavePeer(c.counted.ID)
		}
	}
	c.counted = p
	c.note(func(i *SessionInfo) { i.PeerID, i.Peer = p.ID, p.Name })
	return true
}

// maxSize is what SIZE offers: the most that any of the candidates may send.
func (c *session) maxSize() int64 {
	var most int64
	for _, p := range c.candidates {
		most = max(most, p.MaxSize)
	}
	return most
}

// last makes r the last reply of the session.
func (c *session) last(r *smtp.SMTPError) error {
	c.link.over = true
	return r
}

// protect runs what may panic, and makes an error of it.
func (c *session) protect(what string, do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("mm4 panic", "in", what, "session", c.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = say(codeFailed, "the server has failed; send it again")
		}
	}()
	return do()
}

// answer makes the library's error of ours.
func answer(err error) error {
	if err == nil {
		return nil
	}
	return replyTo(err)
}

// Mail begins a mail: who the peer is, and whether it may send one now.
func (c *session) Mail(from string, o *smtp.MailOptions) error {
	return answer(c.protect("MAIL", func() error {
		m := &Mail{}
		domain := ""
		if from != "" {
			a, err := mm4.ParseAddress(from)
			if err != nil {
				return say(codeSyntax, "MAIL FROM is no address; write +E164/TYPE=PLMN@domain or user@domain")
			}
			m.From, domain = a, a.Domain
		}
		p, err := c.identify(domain)
		if err != nil {
			return err
		}
		if o.Size > p.MaxSize {
			return say(codeTooLarge, "the mail is larger than %d octets", p.MaxSize)
		}
		if !c.count(p) {
			return c.last(say(codeBusy, "%s", turnAwayTexts[RefusedPeer]))
		}
		if p.Rate > 0 && !c.server.rates.Take("mm4 "+p.ID.String(), p.Rate, time.Second, c.server.now()).OK {
			c.refused(RefusedRate)
			return say(codeRate, "more than %d mails in a second; send it later", p.Rate)
		}
		m.Peer = p
		c.mail = m
		c.state(StateMail)
		return nil
	}))
}

// identify tells whose mail from a domain is, and whether it has proved what it must.
// It looks at the peers that are in force now.
func (c *session) identify(domain string) (*Peer, error) {
	candidates := c.server.Peers().At(c.address)
	if len(candidates) == 0 {
		c.refused(RefusedStranger)
		return nil, c.last(say(codeStranger, "no peer connects from this address any more"))
	}
	var p *Peer
	if c.proved != nil {
		i := slices.IndexFunc(candidates, func(q *Peer) bool { return q.ID == c.proved.ID && q.Username == c.proved.Username })
		if i < 0 {
			c.refused(RefusedStranger)
			return nil, c.last(say(codeStranger, "the peer that has proved its password is gone"))
		}
		if candidates[i].sends(domain) {
			p = candidates[i]
		}
	} else {
		p = byDomain(candidates, domain)
	}
	switch {
	case p != nil && p.RequireTLS && !c.link.secured:
		return nil, say(codeDemanded, "say STARTTLS first")
	case p != nil && p.RequireAuth && c.proved == nil, p == nil && c.proved == nil && allRequireAuth(candidates):
		return nil, say(codeDemanded, "say AUTH first")
	case p == nil:
		return nil, say(codeDenied, "MAIL FROM has no domain that tells the peer; use the one that was agreed")
	}
	return p, nil
}

func allRequireAuth(peers []*Peer) bool {
	return !slices.ContainsFunc(peers, func(p *Peer) bool { return !p.RequireAuth })
}

// Rcpt takes a recipient at one of our domains, if the Desk has it.
func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	return answer(c.protect("RCPT", func() error {
		m := c.mail
		a, err := mm4.ParseAddress(to)
		switch {
		case err != nil || a.Type == mm4.IPv4 || a.Type == mm4.IPv6:
			return say(codeAddress, "the recipient is no number; write +E164/TYPE=PLMN@domain")
		case !c.server.ours(a.Domain):
			return say(codeNobody, "the domain is not ours, and nothing is relayed")
		}
		if slices.ContainsFunc(m.To, func(r Recipient) bool {
			return r.Local == a.Local && r.Type == a.Type && strings.EqualFold(r.Domain, a.Domain)
		}) {
			return nil
		}
		if len(m.To) >= m.Peer.MaxRecipients {
			return say(codeTooMany, "more than %d recipients; send the rest in another mail", m.Peer.MaxRecipients)
		}
		ctx, cancel := context.WithTimeout(c.server.life, recipientTime)
		defer cancel()
		if err := c.server.Desk.Recipient(ctx, m.Peer, a); err != nil {
			if message.ReasonOf(err) == message.ReasonNotFound {
				return say(codeNobody, "no such recipient")
			}
			return err
		}
		m.To = append(m.To, Recipient{a})
		return nil
	}))
}

// Reset forgets the mail that was begun.
func (c *session) Reset() {
	c.mail = nil
	c.state(StateIdle)
}

// Logout has nothing to free: run does.
func (c *session) Logout() error { return nil }

// facts are what is known of the session.
func (c *session) facts() Facts {
	f := Facts{ID: c.id, Address: c.address, Hello: c.hello, TLS: c.link.secured, Since: c.since}
	if c.proved != nil {
		f.Username = c.proved.Username
	}
	return f
}

// libraryLog takes what the library logs: its panics, which are ours to mend. The rest
// are connections that broke off.
type libraryLog struct{ log *slog.Logger }

// Printf logs a panic.
func (l libraryLog) Printf(format string, v ...any) {
	if strings.HasPrefix(format, "panic") {
		l.log.Error("mm4 library panic", "panic", fmt.Sprintf(format, v...))
	}
}

// Println logs nothing: the library does not call it.
func (l libraryLog) Println(...any) {}
