package smtpout

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
)

// foreign is a backend of go-smtp's server, which is not ours.
type foreign struct {
	mu    sync.Mutex
	mails []string // sender, recipients, octets, one after the other
}

func (f *foreign) NewSession(*smtp.Conn) (smtp.Session, error) { return &visit{foreign: f}, nil }

type visit struct {
	foreign *foreign
	user    string
	from    string
	to      []string
	size    int64
}

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, name, password string) error {
		if name != "gw" || password != "s3cret" {
			return smtp.ErrAuthFailed
		}
		v.user = name
		return nil
	}), nil
}

func (v *visit) Mail(from string, o *smtp.MailOptions) error {
	if v.user == "" {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "log in first"}
	}
	v.from, v.size = from, o.Size
	return nil
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such\nnumber"}
	}
	v.to = append(v.to, to)
	return nil
}

func (v *visit) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if v.size != 0 && v.size != int64(len(b)) {
		return errors.New("another size than was said")
	}
	v.foreign.mu.Lock()
	defer v.foreign.mu.Unlock()
	v.foreign.mails = append(v.foreign.mails, v.from, strings.Join(v.to, ","), string(b))
	return nil
}

func (v *visit) Reset() { v.from, v.to = "", nil }

func (v *visit) Logout() error { return nil }

func (f *foreign) serve(t *testing.T, change func(*smtp.Server)) (port int) {
	t.Helper()
	srv := smtp.NewServer(f)
	srv.Domain, srv.MaxMessageBytes, srv.MaxRecipients = "peer.example", 1<<20, 3
	change(srv)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		done.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// A server that is not ours takes our mails: over STARTTLS, logged in, several on one
// connection, with dots and refusals.
func TestForeignServer(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	var f foreign
	port := f.serve(t, func(s *smtp.Server) { s.TLSConfig = id.config })
	s := New(Config{Roots: id.roots})
	t.Cleanup(s.Close)
	to := target(login("s3cret"), func(t *Target) {
		t.Host, t.Port, t.ServerName, t.TLS = "127.0.0.1", port, "mx.peer.example", TLSRequired
	})
	body := "Subject: Hi\r\n\r\n.\r\n..\r\n.a\r\nend\r\n"
	for range 2 {
		m := mailOf(body, toPath, "nobody@peer.example", "b@peer.example", "c@peer.example", "d@peer.example")
		m.Size = int64(len(body))
		out, err := s.Send(t.Context(), to, m)
		if err != nil || !out[0].Taken() || !out[2].Taken() || !out[3].Taken() || out[0].Code != 250 || out[0].Enhanced != "2.0.0" {
			t.Fatalf("%+v, %v", out, err)
		}
		if e := out[1].Err; e == nil || e.Reason() != message.ReasonUnknownSubscriber || out[1].Text != "no such number" {
			t.Errorf("%+v", out[1])
		}
		if e := out[4].Err; e == nil || e.Reason() != message.ReasonVendorThrottled || !e.Retryable() || out[4].Code != 452 {
			t.Errorf("one too many: %+v", out[4])
		}
	}
	one := []string{fromPath, toPath + ",b@peer.example,c@peer.example", body}
	if got := f.mails; !slices.Equal(got, append(slices.Clone(one), one...)) {
		t.Errorf("%q", got)
	}
	m := mailOf("x")
	m.Size = 1<<20 + 1
	if _, err := s.Send(t.Context(), to, m); failure(t, err).Reason() != message.ReasonMediaRejected {
		t.Error(err)
	}
	to.Password = secret.Conceal("wrong")
	if _, err := s.Send(t.Context(), to, mailOf("x")); failure(t, err).Stage() != StageAUTH || failure(t, err).Codes() != "535 5.7.8" {
		t.Error(err)
	}
	to.Username, to.Password = "", secret.Conceal("")
	if _, err := s.Send(t.Context(), to, mailOf("x")); failure(t, err).Codes() != "530 5.7.0" || !failure(t, err).Configuration() || !failure(t, err).Retryable() {
		t.Error(err)
	}
}

// Why the client of go-smtp does not serve: before STARTTLS it gives a name that is not
// ours and that peers refuse, it cannot go on without STARTTLS, and it takes extensions in
// small letters for none. When this fails, docs/dependencies.md is due for another look.
func TestWhyNotTheLibrarysClient(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(nil, "size 10"))
	dial := func() net.Conn {
		conn, err := p.dial(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	if c, err := smtp.NewClientStartTLS(dial(), &tls.Config{}); err == nil {
		t.Error("it goes on without STARTTLS")
		_ = c.Close()
	}
	if got := p.commands(); len(got) == 0 || got[0] != "EHLO localhost" {
		t.Errorf("its name is %q", got)
	}
	c := smtp.NewClient(dial())
	if err := c.Hello("mm4.gw.example"); err != nil {
		t.Fatal(err)
	}
	if ok, _ := c.Extension("SIZE"); ok {
		t.Error("it reads extensions in small letters")
	}
	_ = c.Close()
}
