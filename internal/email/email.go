// Package email sends inbound messages to their owners by e-mail, over one relay that
// the operator names. It sends one mail at a time on a connection of its own: mails are
// few, and a relay that is away holds nothing up. Files are read from where they are kept
// while the mail is written, one after the other.
//
// The rule not to break: what a handset has written goes into the text alone, and into
// no header but the subject, where it is encoded.
package email

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

const (
	// timeout bounds one try, from connecting to the relay's last answer; a mail with files
	// has a second more for each octetsASecond, up to Longest.
	timeout       = 45 * time.Second
	octetsASecond = 100_000
	// withFiles is how many mails with files are written at once: the library holds a file
	// whole, in base64, while it is written.
	withFiles = 4
)

// Longest is how long Send takes at most.
const Longest = 150 * time.Second

// Mail is a message from a handset for its owner.
type Mail struct {
	ID      string // of the message: the same for every try, so that one that comes twice is known
	To      string // an address, without a name
	From    string // who wrote it: a number or a word
	Number  string // to which number
	Tag     string // of the number; may be empty
	Subject string // of an MMS; may be empty
	Body    string
	Files   []File    // attached, in this order
	At      time.Time // when it came in; zero: not said
}

// Relay is where mails are handed over. Safe for concurrent use.
type Relay struct {
	host     string
	port     int
	user     string
	password string
	tls      gomail.TLSPolicy
	implicit bool // TLS from the first octet
	from     string
	domain   string // of Message-IDs
	config   *tls.Config
	files    chan struct{} // a token for each mail with files that is being written
}

// Parse reads the address of a relay: host:port, or a URL smtp://user:password@host:port
// that logs in, smtps:// with TLS from the start. STARTTLS is used when it is offered,
// and demanded where a password is sent. From is the address that mails come from;
// empty: postrider@ and the relay's host. Roots are the authorities that the relay's
// certificate may come from; nil: the system's.
func Parse(relay, from string, roots *x509.CertPool) (*Relay, error) {
	if !strings.Contains(relay, "://") {
		relay = "smtp://" + relay
	}
	u, err := url.Parse(relay)
	if err != nil {
		return nil, errors.New("e-mail relay: want host:port or smtp://user:password@host:port") // the cause may show the password
	}
	r := &Relay{host: u.Hostname(), port: 25, tls: gomail.TLSOpportunistic, from: from, files: make(chan struct{}, withFiles),
		config: &tls.Config{ServerName: u.Hostname(), RootCAs: roots, MinVersion: tls.VersionTLS12}}
	switch u.Scheme {
	case "smtp":
	case "smtps":
		r.implicit, r.port = true, 465
	default:
		return nil, fmt.Errorf("e-mail relay: the scheme %q is not known, want smtp or smtps", u.Scheme)
	}
	if u.User != nil {
		r.user = u.User.Username()
		r.password, _ = u.User.Password()
		r.tls = gomail.TLSMandatory
	}
	if p := u.Port(); p != "" {
		if r.port, err = strconv.Atoi(p); err != nil || r.port < 1 || r.port > 65535 {
			return nil, errors.New("e-mail relay: the port must be from 1 to 65535")
		}
	}
	if r.host == "" {
		return nil, errors.New("e-mail relay: the host is missing")
	}
	if r.from == "" {
		r.from = "postrider@" + r.host
		if net.ParseIP(r.host) != nil || r.host == "localhost" {
			r.from = "postrider@localhost.localdomain"
		}
	}
	a, err := mail.ParseAddress(r.from)
	if err != nil {
		return nil, fmt.Errorf("e-mail sender %q is no address", r.from)
	}
	r.domain = a.Address[strings.LastIndexByte(a.Address, '@')+1:]
	return r, nil
}

// CheckAddress reports whether a mail can be sent to the address: one address, without
// a name, of at most 254 characters.
func CheckAddress(address string) error {
	a, err := mail.ParseAddress(address)
	if err != nil || a.Name != "" || a.Address != address || len(address) > 254 {
		return errors.New("want an e-mail address such as inbox@example.com")
	}
	return nil
}

// Send hands a mail over. A nil error: the relay has it. Temporary tells whether
// another error may pass.
func (r *Relay) Send(ctx context.Context, m Mail) error {
	within := timeOf(m)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if len(m.Files) > 0 {
		select {
		case r.files <- struct{}{}:
			defer func() { <-r.files }()
		case <-ctx.Done():
			return &failure{why: "too many mails with files are under way"}
		}
	}
	var lost *FileError
	hangUp := func() {}
	msg, err := r.write(ctx, m, func(e *FileError) {
		lost = e
		hangUp()
	})
	if err != nil {
		return &failure{why: err.Error(), permanent: true}
	}
	return r.hand(ctx, msg, within, &hangUp, &lost)
}

// Write hands a mail with a subject and a text to somebody, as Send does.
func (r *Relay) Write(ctx context.Context, to, subject, text string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if msg.From(r.from) != nil || msg.To(to) != nil {
		return &failure{why: "the sender or the recipient is no address", permanent: true}
	}
	msg.Subject(oneLine(subject))
	msg.SetMessageIDWithValue(rand.Text() + "@" + r.domain)
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, text)
	hangUp, lost := func() {}, (*FileError)(nil)
	return r.hand(ctx, msg, timeout, &hangUp, &lost)
}

// hand gives a mail to the relay. hangUp is set to what closes its connection, and lost is
// looked at when that was called for a file that could not be read.
func (r *Relay) hand(ctx context.Context, msg *gomail.Msg, within time.Duration, hangUp *func(), lost **FileError) error {
	// The client leaves its connection open when it does not like what it is greeted
	// with, so that is closed here.
	var conn net.Conn
	*hangUp = func() {
		if conn != nil {
			_ = conn.Close()
		}
	}
	defer func() { (*hangUp)() }()
	dial := func(ctx context.Context, network, address string) (_ net.Conn, err error) {
		conn, err = r.dial(ctx, network, address)
		return conn, err
	}
	options := []gomail.Option{gomail.WithPort(r.port), gomail.WithTimeout(within), gomail.WithTLSPolicy(r.tls), gomail.WithTLSConfig(r.config.Clone()),
		gomail.WithoutNoop(), gomail.WithDialContextFunc(dial)}
	how := gomail.SMTPAuthAutoDiscover
	if r.implicit {
		options = append(options, gomail.WithSSL())
		how = gomail.SMTPAuthPlain // with a dialler of ours it finds out nothing, for it takes the connection for a plain one
	}
	if r.user != "" {
		options = append(options, gomail.WithUsername(r.user), gomail.WithPassword(r.password), gomail.WithSMTPAuth(how))
	}
	c, err := gomail.NewClient(r.host, options...)
	if err != nil {
		return &failure{why: "the client could not be made"}
	}
	err = c.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // a connection that ends badly afterwards changes nothing
		return nil
	}
	if *lost != nil {
		return *lost
	}
	return explain(err)
}

func (r *Relay) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !r.implicit {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return (&tls.Dialer{Config: r.config.Clone()}).DialContext(ctx, network, address)
}

// write makes the mail: the text, and the files beside it if there are any. failed is
// called, while it is sent, when a file cannot be read.
func (r *Relay) write(ctx context.Context, m Mail, failed func(*FileError)) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.From(r.from); err != nil {
		return nil, errors.New("the sender is no address")
	}
	if err := msg.To(m.To); err != nil {
		return nil, errors.New("the recipient is no address")
	}
	subject := "SMS from " + m.From
	if m.Subject != "" {
		subject = "MMS from " + m.From + ": " + m.Subject
	}
	msg.Subject(oneLine(subject))
	msg.SetMessageIDWithValue(m.ID + "@" + r.domain)
	if !m.At.IsZero() {
		msg.SetDateWithValue(m.At.UTC())
	}
	// Nobody's holiday notice comes back (RFC 3834).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Postrider-Message-Id", m.ID)
	foot := "To " + m.Number
	if m.Tag != "" {
		foot += " (" + oneLine(m.Tag) + ")"
	}
	msg.SetBodyString(gomail.TypeTextPlain, m.Body+"\n\n-- \n"+foot+"\n")
	for _, f := range m.Files {
		msg.SetAttachments(append(msg.GetAttachments(), f.attachment(ctx, failed)))
	}
	return msg, nil
}

// oneLine takes out what would end a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, s)
}

// failure is why a mail was not taken, in words that its owner may read.
type failure struct {
	why       string
	permanent bool
}

func (f *failure) Error() string { return f.why }

// Temporary reports whether the same mail may be taken later: a connection that failed
// and an answer of 4xx may pass, one of 5xx does not (RFC 5321 §4.2.1).
func Temporary(err error) bool {
	var f *failure
	if errors.As(err, &f) {
		return !f.permanent
	}
	var lost *FileError
	return errors.As(err, &lost)
}

// explain makes an error without addresses of the relay's network and passwords. What
// the relay says before it is given the mail, such as to a wrong password, is the
// operator's to mend: the mail waits.
func explain(err error) error {
	code := 0
	var sent *gomail.SendError
	if errors.As(err, &sent) {
		code = sent.ErrorCode()
	}
	var before *textproto.Error
	var op *net.OpError
	switch {
	case code >= 500:
		return &failure{why: fmt.Sprintf("the relay refused it with %d", code), permanent: true}
	case code >= 400:
		return &failure{why: fmt.Sprintf("the relay put it off with %d", code)}
	case errors.As(err, &before):
		return &failure{why: fmt.Sprintf("the relay answered %d before the mail", before.Code)}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &op) && op.Timeout():
		return &failure{why: "the relay did not answer in time"}
	case errors.As(err, &op):
		return &failure{why: "the relay cannot be reached: " + op.Op}
	}
	return &failure{why: "the relay did not take it"}
}
