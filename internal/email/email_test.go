package email

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay is an SMTP server that takes mails, or says what it is told to.
type relay struct {
	t        *testing.T
	l        net.Listener
	tls      *tls.Config       // nil: no STARTTLS
	implicit atomic.Bool       // TLS from the first octet
	auth     string            // what it takes as user\x00password; empty: it offers no AUTH
	says     map[string]string // other answers, by the verb; "" after the data
	wg       sync.WaitGroup
	mu       sync.Mutex
	mails    []string
	secure   []bool
	logins   []string
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, l: l, says: map[string]string{}}
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r.implicit.Load() {
				c = tls.Server(c, r.tls)
			}
			r.wg.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.wg.Wait()
	})
	return r
}

func (r *relay) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in, secure := bufio.NewReader(c), r.implicit.Load()
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("220 relay.example ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		verb = strings.ToUpper(verb)
		if answer, ok := r.says[verb]; ok {
			if answer == "hang up" {
				return
			}
			say("%s", answer)
			continue
		}
		switch verb {
		case "EHLO":
			lines := []string{"relay.example"}
			if r.tls != nil && !secure {
				lines = append(lines, "STARTTLS")
			}
			if r.auth != "" && secure {
				lines = append(lines, "AUTH PLAIN")
			}
			for i, l := range lines {
				sep := "-"
				if i == len(lines)-1 {
					sep = " "
				}
				say("250%s%s", sep, l)
			}
		case "STARTTLS":
			say("220 go on")
			s := tls.Server(c, r.tls)
			if s.Handshake() != nil {
				return
			}
			c, in, secure = s, bufio.NewReader(s), true
		case "AUTH":
			raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			r.mu.Lock()
			r.logins = append(r.logins, string(raw))
			r.mu.Unlock()
			if string(raw) != "\x00"+r.auth {
				say("535 no")
				continue
			}
			say("235 yes")
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			if answer, ok := r.says["."]; ok {
				say("%s", answer)
				continue
			}
			r.mu.Lock()
			r.mails, r.secure = append(r.mails, b.String()), append(r.secure, secure)
			r.mu.Unlock()
			say("250 kept")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// encrypts gives the relay a certificate and returns what the client needs for it.
func (r *relay) encrypts() *x509.CertPool {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		r.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return roots
}

func (r *relay) client(user string, roots *x509.CertPool) *Relay {
	r.t.Helper()
	c, err := Parse("smtp://"+user+r.l.Addr().String(), "gateway@postrider.example", roots)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func letter() Mail {
	return Mail{ID: "01a1ffc0fcb67b0eb1c96f0d2b8a3c55", To: "inbox@shop.example", From: "+13105550117", Number: "+12025550143", Tag: "support",
		Body: "Où est-il?\n.\n..\nZurück – 😀", At: time.Date(2026, 11, 21, 20, 16, 40, 0, time.UTC)}
}

// The owner reads who wrote what, and when; and the mail tells what it is.
func TestSend(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	if err := r.client("", nil).Send(t.Context(), letter()); err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(strings.NewReader(r.mails[0]))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"From": "<gateway@postrider.example>", "To": "<inbox@shop.example>", "Subject": "SMS from +13105550117",
		"Auto-Submitted": "auto-generated", "Message-Id": "<01a1ffc0fcb67b0eb1c96f0d2b8a3c55@postrider.example>", "Date": "Sat, 21 Nov 2026 20:16:40 +0000"} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "text/plain" || !strings.EqualFold(params["charset"], "utf-8") {
		t.Errorf("type %q, %v, %v", kind, params, err)
	}
	if m.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
		t.Fatal(m.Header)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	want := letter().Body + "\n\n-- \nTo +12025550143 (support)\n"
	if got := strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n") + "\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// What a handset writes makes no header.
func TestSendMakesNoHeader(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	m := letter()
	m.From, m.Subject, m.Tag = "ACME\r\nBcc: all@shop.example", "Hi\r\nBcc: all@shop.example\r\n\r\nBody", "a\r\nBcc: x"
	m.Body = "\r\nBcc: all@shop.example\r\n.\r\nMAIL FROM:<x@y>"
	if err := r.client("", nil).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(r.mails[0]))
	if err != nil || got.Header.Get("Bcc") != "" || len(r.mails) != 1 {
		t.Errorf("%v, %v", got.Header, err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "MMS from ACME  Bcc: all@shop.example: Hi") {
		t.Errorf("%q, %v", subject, err)
	}
}

// STARTTLS is used when it is offered, and a password is never sent without it.
func TestSendEncrypted(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	roots := r.encrypts()
	if err := r.client("", roots).Send(t.Context(), letter()); err != nil || !r.secure[0] {
		t.Errorf("%v, secure %v", err, r.secure)
	}
	r.auth = "user\x00s3cret"
	if err := r.client("user:s3cret@", roots).Send(t.Context(), letter()); err != nil || len(r.logins) != 1 {
		t.Errorf("%v, %q", err, r.logins)
	}
	err := r.client("user:wr0ng@", roots).Send(t.Context(), letter())
	if err == nil || !Temporary(err) || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("a wrong password: %v", err)
	}
	// Its certificate is not one that we know.
	if err := r.client("", nil).Send(t.Context(), letter()); err == nil || !Temporary(err) {
		t.Errorf("an unknown certificate: %v", err)
	}
	direct := newRelay(t)
	roots = direct.encrypts()
	direct.auth = r.auth
	direct.implicit.Store(true)
	c, err := Parse("smtps://user:s3cret@"+direct.l.Addr().String(), "gateway@postrider.example", roots)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), letter()); err != nil || !direct.secure[0] || len(direct.logins) != 1 {
		t.Errorf("TLS from the start: %v, %v", err, direct.secure)
	}
	plain := newRelay(t)
	plain.auth = r.auth
	if err := plain.client("user:s3cret@", nil).Send(t.Context(), letter()); err == nil || !Temporary(err) || len(plain.logins) != 0 {
		t.Errorf("without TLS: %v, %q", err, plain.logins)
	}
}

// 4xx and a lost connection may pass, 5xx does not; and what happens after the relay
// has the mail changes nothing.
func TestSendFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb, answer string
		temporary    bool
		says         string
	}{
		{"MAIL", "451 later", true, "451"}, {"MAIL", "550 no", false, "550"},
		{"RCPT", "450 greylisted", true, "450"}, {"RCPT", "550 unknown", false, "550"},
		{"DATA", "452 full", true, "452"}, {".", "554 spam", false, "554"}, {".", "451 later", true, "451"},
		{"EHLO", "hang up", true, ""}, {"RCPT", "hang up", true, ""}, {"DATA", "hang up", true, ""},
	} {
		r := newRelay(t)
		r.says[c.verb] = c.answer
		err := r.client("", nil).Send(t.Context(), letter())
		if err == nil || Temporary(err) != c.temporary || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s after %s: %v, temporary %v", c.answer, c.verb, err, Temporary(err))
		}
		if err != nil && (strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "inbox")) {
			t.Errorf("it says too much: %v", err)
		}
	}
	r := newRelay(t)
	r.says["QUIT"] = "hang up"
	if err := r.client("", nil).Send(t.Context(), letter()); err != nil || len(r.mails) != 1 {
		t.Errorf("taken, then gone: %v", err)
	}
	gone := newRelay(t)
	c := gone.client("", nil)
	_ = gone.l.Close()
	if err := c.Send(t.Context(), letter()); err == nil || !Temporary(err) {
		t.Errorf("nobody there: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newRelay(t).client("", nil).Send(ended, letter()); err == nil || !Temporary(err) {
		t.Errorf("called off: %v", err)
	}
	bad := letter()
	bad.To = "nobody"
	if err := newRelay(t).client("", nil).Send(t.Context(), bad); err == nil || Temporary(err) {
		t.Errorf("no address: %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for relay, want := range map[string]string{
		"mail.example:2525": "mail.example 2525", "mail.example": "mail.example 25", "smtps://mail.example": "mail.example 465",
		"smtp://u:p@mail.example:587": "mail.example 587", "[::1]:25": "::1 25",
	} {
		r, err := Parse(relay, "", nil)
		if err != nil {
			t.Errorf("%s: %v", relay, err)
			continue
		}
		if got := fmt.Sprint(r.host, " ", r.port); got != want {
			t.Errorf("%s: %s, want %s", relay, got, want)
		}
	}
	for _, relay := range []string{"", ":25", "http://mail.example", "mail.example:0", "mail.example:x", "smtp://u:s3cret@ma il.example"} {
		if _, err := Parse(relay, "", nil); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", relay, err)
		}
	}
	if _, err := Parse("mail.example", "nobody", nil); err == nil {
		t.Error("a sender that is no address")
	}
	for address, good := range map[string]bool{"a@b.example": true, "A B <a@b.example>": false, "a": false, "": false, "a@b.example\r\nBcc: x@y": false, "a@b.example,c@d.example": false} {
		if err := CheckAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// A mail with a text of our own goes the same way, to nobody but its recipient.
func TestWrite(t *testing.T) {
	r := newRelay(t)
	c := r.client("", nil)
	if err := c.Write(context.Background(), "ada@shop.example", "Your invitation\r\nBcc: eve@evil.example", "Choose a password here:\nhttps://gw.example/x\n"); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mails) != 1 || !strings.Contains(r.mails[0], "https://gw.example/x") || strings.Contains(r.mails[0], "\nBcc:") || !strings.Contains(r.mails[0], "Auto-Submitted: auto-generated") {
		t.Errorf("%q", r.mails)
	}
	if err := c.Write(context.Background(), "nobody", "x", "x"); err == nil || Temporary(err) {
		t.Errorf("no address: %v", err)
	}
}
