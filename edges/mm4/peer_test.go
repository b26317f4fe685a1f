package mm4

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func zeta() Peer {
	p := acme()
	p.ID, p.Name, p.AccountID, p.VendorID = zetaID, "zeta", message.ID{}, message.ID{15: 8}
	return p
}

func TestNewDirectory(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(a, z *Peer)
	}{
		{"as they are, one has no domain and one has", "", func(a, _ *Peer) { a.Domains = []string{"mms.pbx.example"} }},
		{"both without a domain", "no Domains for both", func(*Peer, *Peer) {}},
		{"a shared domain", "one of Domains is the same", func(a, z *Peer) { a.Domains, z.Domains = []string{"X.example"}, []string{"x.EXAMPLE"} }},
		{"other addresses", "", func(a, _ *Peer) { a.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }},
		{"a network within the other", "no Domains for both", func(a, _ *Peer) { a.Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")} }},
		{"one ID", "ID is the same", func(a, z *Peer) { a.ID = z.ID }},
		{"no ID", "ID is missing", func(a, _ *Peer) { a.ID = message.ID{} }},
		{"account and vendor", "exactly one", func(a, _ *Peer) { a.VendorID = zetaID }},
		{"neither", "exactly one", func(a, _ *Peer) { a.AccountID = message.ID{} }},
		{"no address", "no Addresses", func(a, _ *Peer) { a.Addresses = nil }},
		{"no network", "no network", func(a, _ *Peer) { a.Addresses = []netip.Prefix{{}} }},
		{"a name without a password", "set both or neither", func(a, _ *Peer) { a.Username = "x" }},
		{"AUTH without a password", "with RequireAuth", func(a, _ *Peer) { a.RequireAuth = true }},
		{"negative", "negative", func(a, _ *Peer) { a.Rate = -1 }},
		{"too large", "MaxSize is more", func(a, _ *Peer) { a.MaxSize = 1 << 40 }},
		{"told apart by AUTH", "", func(a, z *Peer) {
			for _, p := range []*Peer{a, z} {
				p.RequireAuth, p.Username, p.Password = true, p.Name, func(string) bool { return false }
			}
		}},
		{"one name behind one address", "Username is the same", func(a, z *Peer) {
			for _, p := range []*Peer{a, z} {
				p.RequireAuth, p.Username, p.Password = true, "x", func(string) bool { return false }
			}
		}},
	} {
		a, z := acme(), zeta()
		tt.change(&a, &z)
		_, err := NewDirectory([]Peer{a, z})
		if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	var none *Directory
	if none.At(netip.MustParseAddr("127.0.0.1")) != nil {
		t.Error("nobody is somebody")
	}
}

// TestDirectoryIsACopy: what becomes of the caller's peers changes nothing.
func TestDirectoryIsACopy(t *testing.T) {
	p := []Peer{acme()}
	p[0].Domains = []string{"A.example"}
	d := directory(t, p...)
	p[0].Domains[0], p[0].Addresses[0], p[0].Name = "b.example", netip.MustParsePrefix("10.0.0.0/8"), "other"
	got := d.At(netip.MustParseAddr("127.0.0.1"))
	if len(got) != 1 || got[0].Name != "acme" || got[0].Domains[0] != "a.example" {
		t.Errorf("%+v", got)
	}
}

func TestUnknownPeer(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.9.9")
	c.dialogue("< 554 5.7.1\nend")
	w.until("a refusal", func() bool { return w.refused[RefusedStranger] == 1 })
}

// TestTwoPeersBehindOneAddress: they are told apart by MAIL FROM.
func TestTwoPeersBehindOneAddress(t *testing.T) {
	a, z := acme(), zeta()
	a.Domains, a.MaxSize = []string{"mms.pbx.example"}, 9000
	z.Domains, z.MaxSize = []string{"mms.zeta.example", "mms.hub.example"}, 5000
	w := setup(t, a, z).listen()
	c := w.dial("127.0.0.1")
	c.dialogue("< 220\n> EHLO x\n< 250 SIZE 9000") // the larger; MAIL knows better
	for _, tt := range []struct{ from, script, peer string }{
		{"+15551230001/TYPE=PLMN@mms.pbx.example", "< 250", "acme"},
		{"+15551230001/TYPE=PLMN@MMS.hub.example", "< 250", "zeta"},
		{"system-user@mms.zeta.example", "< 250", "zeta"},
		{"+15551230001/TYPE=PLMN@mms.zeta.example", "< 552 5.3.4", ""},
		{"x@mms.other.example", "< 550 5.7.1", ""},
		{"", "< 550 5.7.1", ""},
	} {
		size := ""
		if strings.HasPrefix(tt.script, "< 552") {
			size = " SIZE=6000"
		}
		c.dialogue("> MAIL FROM:<" + tt.from + ">" + size + "\n" + tt.script)
		if tt.peer == "" {
			continue
		}
		if got := w.Sessions()[0]; got.Peer != tt.peer || got.State != StateMail {
			t.Errorf("%s: %+v", tt.from, got)
		}
		c.dialogue("> RCPT TO:<system-user@mms.gw.example>\n< 250\n> DATA\n< 354\nmail\n< 250 2.0.0")
		if got := w.desk.got(); got[len(got)-1].Peer.Name != tt.peer {
			t.Errorf("%s is %s", tt.from, got[len(got)-1].Peer.Name)
		}
	}
}

// TestTwoPeersByAUTH: they are told apart by their passwords.
func TestTwoPeersByAUTH(t *testing.T) {
	a, z := guarded(), zeta()
	z.RequireAuth, z.Username, z.Password = true, "zeta", func(s string) bool { return s == "zzz" }
	z.Domains = []string{"mms.zeta.example"}
	a.RequireTLS, a.AuthWithoutTLS, z.AuthWithoutTLS = false, true, false
	w := setup(t, a, z).listen()
	w.dial("127.0.0.1").dialogue(hello + "> MAIL FROM:<x@mms.pbx.example>\n< 530 5.7.0\n> AUTH PLAIN " + plainRight + "\n< 235\n" + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0")
	// The other must not say its password in clear, and has no TLS here.
	w.dial("127.0.0.1").dialogue(hello + "> AUTH PLAIN " + b64("\x00zeta\x00zzz") + "\n< 530 5.7.0\n> MAIL FROM:<x@mms.zeta.example>\n< 530 5.7.0")
	if got := w.desk.got(); len(got) != 1 || got[0].Peer.Name != "acme" {
		t.Errorf("%d mails", len(got))
	}
}

// TestForeignDomain: a peer that names its domains sends from these alone, with a
// password too.
func TestForeignDomain(t *testing.T) {
	p := guarded()
	p.Domains, p.RequireTLS, p.AuthWithoutTLS = []string{"mms.pbx.example"}, false, true
	w := setup(t, p).listen()
	w.dial("127.0.0.1").dialogue(hello + "> AUTH PLAIN " + plainRight + "\n< 235\n> MAIL FROM:<x@mms.zeta.example>\n< 550 5.7.1\n> MAIL FROM:<x@mms.pbx.example>\n< 250")
}

// TestDirectoryChanges: a change counts from the next mail on.
func TestDirectoryChanges(t *testing.T) {
	w := setup(t)
	var now atomic.Pointer[Directory]
	now.Store(directory(t, acme()))
	w.Peers = now.Load
	w.listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope)
	p := acme()
	p.MaxSize = 700
	now.Store(directory(t, p))
	c.dialogue("> DATA\n< 354\nmail\n< 250 2.0.0\n> MAIL FROM:<> SIZE=701\n< 552 5.3.4")
	now.Store(directory(t, zeta()))
	c.dialogue("> MAIL FROM:<>\n< 250\n> RSET\n< 250")
	if got := w.Sessions()[0].Peer; got != "zeta" {
		t.Errorf("it is %s", got)
	}
	now.Store(directory(t))
	c.dialogue("> MAIL FROM:<>\n< 554 5.7.1\nend")
}

// TestPeersPanics: what panics before the greeting ends that connection alone.
func TestPeersPanics(t *testing.T) {
	w := setup(t)
	d := w.Peers()
	var sick atomic.Bool
	w.Peers = func() *Directory {
		if sick.Load() {
			panic("no directory")
		}
		return d
	}
	w.listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello)
	sick.Store(true)
	c.dialogue("> MAIL FROM:<>\n< 451 4.3.0")
	w.dial("127.0.0.1").dialogue("end")
	sick.Store(false)
	c.dialogue(envelope + "> DATA\n< 354\nmail\n< 250 2.0.0")
}

func TestPROXY(t *testing.T) {
	const v2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x07\xcb\x00\x71\x01\x03\xe8\x0a\x06"
	for _, tt := range []struct{ name, header, script string }{
		{"version 1", "PROXY TCP4 127.0.0.7 203.0.113.1 1000 2566\r\n", hello + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0"},
		{"version 2", v2, hello + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0"},
		{"a stranger behind it", "PROXY TCP4 198.51.100.7 203.0.113.1 1000 2566\r\n", "< 554 5.7.1\nend"},
		{"none", "EHLO x\r\n", "end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := setup(t)
			w.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.8.0/24")}
			w.listen()
			c := w.dial("127.0.8.1")
			c.send(tt.header)
			c.dialogue(tt.script)
			if got := w.desk.got(); len(got) > 0 && got[0].Session.Address.String() != "127.0.0.7" {
				t.Errorf("address %v", got[0].Session.Address)
			}
		})
	}
	t.Run("from no proxy", func(t *testing.T) {
		w := setup(t).listen()
		c := w.dial("127.0.0.1")
		c.send("PROXY TCP4 127.0.0.7 203.0.113.1 1000 2566\r\n")
		c.dialogue("< 220\n< 501")
	})
}
