package mm4

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// certificate is one for tests.
var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mm4.gw.example"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mm4.gw.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

func (w *world) withTLS() *world {
	w.t.Helper()
	cert, err := certificate()
	if err != nil {
		w.t.Fatal(err)
	}
	w.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	return w
}

// secure does the handshake behind STARTTLS.
func (c *client) secure() *client {
	c.t.Helper()
	conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return &client{Conn: conn, t: c.t, r: bufio.NewReader(conn)}
}

// guarded is a peer with a password, and all demands.
func guarded() Peer {
	p := acme()
	p.RequireTLS, p.RequireAuth, p.Username = true, true, "acme"
	p.Password = func(s string) bool { return s == "open sesame" }
	return p
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var plainRight, plainWrong = b64("\x00acme\x00open sesame"), b64("\x00acme\x00wrong")

func TestTLSAndAUTHDemanded(t *testing.T) {
	w := setup(t, guarded()).withTLS().listen()
	c := w.dial("127.0.0.1")
	c.want("220")
	c.send("EHLO x\r\n")
	if got := c.want("250 SIZE"); !strings.Contains(got, "250-STARTTLS\r\n") || strings.Contains(got, "AUTH") || strings.Contains(got, "CHUNKING") {
		t.Errorf("EHLO in clear: %q", got)
	}
	c.dialogue("> MAIL FROM:<>\n< 530 5.7.0\n> AUTH PLAIN " + plainRight + "\n< 530 5.7.0\n> STARTTLS now\n< 501 5.5.4\n> STARTTLS\n< 220 2.0.0")
	s := c.secure()
	s.dialogue("> MAIL FROM:<>\n< 503 5.5.1\n> EHLO y") // what was said in clear does not count
	if got := s.want("250 SIZE"); strings.Contains(got, "STARTTLS") || !strings.Contains(got, "250-AUTH PLAIN LOGIN\r\n") || strings.Contains(got, "CHUNKING") {
		t.Errorf("EHLO under TLS: %q", got)
	}
	s.dialogue("> STARTTLS\n< 503 5.5.1\n> MAIL FROM:<>\n< 530 5.7.0\n> AUTH PLAIN " + plainWrong + "\n< 535 5.7.8\n> AUTH PLAIN " + plainRight +
		"\n< 235\n> AUTH PLAIN\n< 503 5.5.1\n" + envelope + "> AUTH PLAIN\n< 503\n> DATA\n< 354\nmail\n< 250 2.0.0 id-1")
	m := w.desk.got()[0]
	checkUsual(t, m)
	if !m.Session.TLS || m.Session.Username != "acme" || m.Session.Hello != "y" {
		t.Errorf("facts %+v", m.Session)
	}
	if got := w.Sessions(); len(got) != 1 || !got[0].TLS || got[0].Mails != 1 || got[0].Peer != "acme" || got[0].State != StateIdle {
		t.Errorf("sessions %+v", got)
	}
	s.dialogue("> QUIT\n< 221\nend")
	_ = c.Close()
	w.closed()
	for _, secret := range []string{"sesame", plainRight, "wrong"} {
		if strings.Contains(w.logs.String(), secret) {
			t.Errorf("the log shows a password:\n%s", w.logs)
		}
	}
}

func TestAUTHExchanges(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"PLAIN in two steps", "> AUTH PLAIN\n< 334 \n> " + plainRight + "\n< 235"},
		{"plain in small letters", "> auth plain " + plainRight + "\n< 235"},
		{"PLAIN for the same identity", "> AUTH PLAIN " + b64("acme\x00acme\x00open sesame") + "\n< 235"},
		{"PLAIN for another identity", "> AUTH PLAIN " + b64("root\x00acme\x00open sesame") + "\n< 501 5.5.4\n> NOOP\n< 250"},
		{"PLAIN of two pieces", "> AUTH PLAIN " + b64("acme\x00open sesame") + "\n< 501 5.5.4"},
		{"LOGIN", "> AUTH LOGIN\n< 334 " + b64("Username:") + "\n> " + b64("acme") + "\n< 334 " + b64("Password:") + "\n> " + b64("open sesame") + "\n< 235"},
		{"LOGIN with the name", "> AUTH LOGIN " + b64("acme") + "\n< 334\n> " + b64("open sesame") + "\n< 235"},
		{"LOGIN, wrong", "> AUTH LOGIN " + b64("acme") + "\n< 334\n> " + b64("sesame") + "\n< 535 5.7.8"},
		{"LOGIN without a name", "> AUTH LOGIN =\n< 334\n> =\n< 535 5.7.8"},
		{"given up", "> AUTH PLAIN\n< 334\n> *\n< 501\n> NOOP\n< 250"},
		{"no base64", "> AUTH PLAIN !!!\n< 454"},
		{"a command for a response", "> AUTH PLAIN\n< 334\n> QUIT\n< 501"},
		{"unknown name", "> AUTH PLAIN " + b64("\x00zeta\x00open sesame") + "\n< 535 5.7.8"},
		{"unknown mechanism", "> AUTH CRAM-MD5\n< 501 5.5.4\n> AUTH\n< 502"},
		{"three wrong ones", strings.Repeat("> AUTH PLAIN "+plainWrong+"\n< 535 5.7.8\n", 2) + "> AUTH PLAIN " + plainWrong + "\n< 421 4.3.2\nend"},
		{"a line end in a response", "> AUTH PLAIN\n< 334\n>> \"" + plainRight + "\\n\"\n< 500 5.5.2\nend"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := guarded()
			p.RequireTLS, p.AuthWithoutTLS = false, true
			w := setup(t, p).withTLS().listen()
			w.dial("127.0.0.1").dialogue(hello + tt.script)
		})
	}
}

// TestPasswordsAreNotGuessed: an address that has said too many wrong ones waits,
// whatever the session; one further away does not.
func TestPasswordsAreNotGuessed(t *testing.T) {
	p := guarded()
	p.RequireTLS, p.AuthWithoutTLS = false, true
	w := setup(t, p)
	w.Limits.AuthFailures = 4
	w.listen()
	for range 2 {
		w.dial("127.0.0.1").dialogue(hello + strings.Repeat("> AUTH PLAIN "+plainWrong+"\n< 535\n", 2))
	}
	w.dial("127.0.0.1").dialogue(hello + "> AUTH PLAIN " + plainRight + "\n< 421 4.3.2\nend")
	w.dial("127.0.0.2").dialogue(hello + "> AUTH PLAIN " + plainRight + "\n< 235")
	w.until("a refusal", func() bool { return w.refused[RefusedPasswords] == 1 })
}

// TestPasswordCheckPanics: a panic there is no password.
func TestPasswordCheckPanics(t *testing.T) {
	p := guarded()
	p.RequireTLS, p.AuthWithoutTLS = false, true
	p.Password = func(string) bool { panic("bcrypt") }
	w := setup(t, p).listen()
	for range 2 * authChecks { // each gives its place back
		w.dial("127.0.0.1").dialogue(hello + "> AUTH PLAIN " + plainRight + "\n< 451 4.3.0\n> MAIL FROM:<>\n< 530 5.7.0")
	}
}

// TestSTARTTLSInjection: what was sent in clear behind STARTTLS is never done.
func TestSTARTTLSInjection(t *testing.T) {
	w := setup(t).withTLS().listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello)
	c.send("STARTTLS\r\n" + begun + usual + ".\r\n")
	c.want("503 5.5.1")
	c.wantEnd()
	w.until("a refusal", func() bool { return w.refused[RefusedInjection] == 1 })
	if len(w.desk.got()) > 0 {
		t.Error("the injected mail was taken")
	}
}

// TestSTARTTLSWithinAMail: nothing of it is taken over into the secured session.
func TestSTARTTLSWithinAMail(t *testing.T) {
	w := setup(t).withTLS().listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> STARTTLS\n< 503 5.5.1\n> RSET\n< 250\n> STARTTLS\n< 220")
	s := c.secure()
	s.dialogue("> RCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\n< 503\n> EHLO x\n< 250 \n> DATA\n< 503\n" + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0 id-1")
}

// TestHandshakeFails: the session ends; it does not go on in clear.
func TestHandshakeFails(t *testing.T) {
	w := setup(t).withTLS().listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + "> STARTTLS\n< 220")
	c.send("\x16\x03\x01\x00\x05hello") // a record, and no handshake in it
	alert := make([]byte, 7)
	if _, err := io.ReadFull(c.r, alert); err != nil || alert[0] != 0x15 {
		t.Fatalf("%q, %v, want an alert", alert, err)
	}
	c.send("EHLO x\r\n")
	c.wantEnd()
	_ = c.Close()
	w.closed()
}

// TestTLSDemandedAlone: without TLS no mail is begun, with it no password is needed.
func TestTLSDemandedAlone(t *testing.T) {
	p := acme()
	p.RequireTLS = true
	w := setup(t, p).withTLS().listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + "> MAIL FROM:<>\n< 530 5.7.0 say STARTTLS\n> RCPT TO:<system-user@mms.gw.example>\n< 503\n> STARTTLS\n< 220")
	c.secure().dialogue("> EHLO x\n< 250 \n" + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0")
}

// TestOldTLS is refused.
func TestOldTLS(t *testing.T) {
	w := setup(t).withTLS()
	w.TLS.MinVersion = tls.VersionTLS10
	w.listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + "> STARTTLS\n< 220")
	if err := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}).Handshake(); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}
