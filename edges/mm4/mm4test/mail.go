package mm4test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// Part is a leaf of a mail.
type Part struct {
	ContentType string
	Name        string
	Location    string
	Content     []byte // without its transfer encoding
}

// read reads a mail as any reader of MIME does.
func read(r io.Reader) (textproto.MIMEHeader, []Part, error) {
	m, err := mail.ReadMessage(bufio.NewReader(r))
	if err != nil {
		return nil, nil, err
	}
	h := textproto.MIMEHeader(m.Header)
	parts, err := leaves(h, m.Body, nil)
	return h, parts, err
}

func leaves(h textproto.MIMEHeader, body io.Reader, before []Part) ([]Part, error) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("content type %q: %w", h.Get("Content-Type"), err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		r := multipart.NewReader(body, params["boundary"])
		for {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return before, nil
			}
			if err != nil {
				return nil, err
			}
			if before, err = leaves(p.Header, p, before); err != nil {
				return nil, err
			}
		}
	}
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("a part of %s: %w", kind, err)
	}
	_, disposition, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	name := params["name"]
	if name == "" {
		name = disposition["filename"]
	}
	return append(before, Part{ContentType: kind, Name: name, Location: h.Get("Content-Location"), Content: content}), nil
}

// Out is a mail to be sent.
type Out struct {
	From   string   // of MAIL FROM; empty: the system's
	To     []string // of RCPT TO
	Header [][2]string
	Parts  []Part // none: a body of nothing
}

// User is the address of a number.
func User(number, domain string) string { return number + "/TYPE=PLMN@" + domain }

// System is the peer's own address.
func (p *Peer) System() string { return "system-user@" + p.cfg.Domain }

// Forward is an MM4_forward.REQ from a number of the peer's to numbers at domain, with a
// response and a delivery report asked for. The id names it at the peer.
func (p *Peer) Forward(id, from, domain string, to []string, subject string, parts ...Part) Out {
	o := Out{From: User(from, p.cfg.Domain), Parts: parts}
	var list []string
	for _, number := range to {
		o.To = append(o.To, User(number, domain))
		list = append(list, "<"+User(number, domain)+">")
	}
	o.Header = [][2]string{
		{"X-Mms-3GPP-MMS-Version", "6.10.0"}, {"X-Mms-Message-Type", "MM4_forward.REQ"}, {"X-Mms-Transaction-ID", id + "-t"},
		{"X-Mms-Message-ID", `"` + id + "@" + p.cfg.Domain + `"`}, {"X-Mms-Originator-System", p.System()}, {"X-Mms-Ack-Request", "Yes"},
		{"X-Mms-Delivery-Report", "Yes"}, {"X-Mms-Read-Reply", "Yes"}, {"X-Mms-Message-Class", "Personal"}, {"X-Mms-Priority", "Normal"},
		{"Sender", "<" + p.System() + ">"}, {"From", "<" + o.From + ">"}, {"To", strings.Join(list, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", subject)}, {"Date", time.Now().Format(time.RFC1123Z)},
	}
	return o
}

// With is the mail with a header as given; an empty value takes it out.
func (o Out) With(name, value string) Out {
	o.Header = slices.DeleteFunc(slices.Clone(o.Header), func(f [2]string) bool { return strings.EqualFold(f[0], name) })
	if value != "" {
		o.Header = append(o.Header, [2]string{name, value})
	}
	return o
}

// about is the header of what is said about a mail that came.
func (p *Peer) about(kind string, m Mail) [][2]string {
	return [][2]string{
		{"X-Mms-3GPP-MMS-Version", "6.10.0"}, {"X-Mms-Message-Type", kind}, {"X-Mms-Message-ID", m.Header.Get("X-Mms-Message-ID")},
		{"Date", time.Now().Format(time.RFC1123Z)},
	}
}

// Respond answers a request with a status.
func (p *Peer) Respond(ctx context.Context, m Mail, status string) error {
	to := strings.Trim(m.Header.Get("X-Mms-Originator-System"), "<>")
	o := Out{From: p.System(), To: []string{to}, Header: append(p.about(strings.TrimSuffix(m.Type(), ".REQ")+".RES", m),
		[2]string{"X-Mms-Transaction-ID", m.TransactionID()}, [2]string{"X-Mms-Request-Status-Code", status},
		[2]string{"From", "<" + p.System() + ">"}, [2]string{"To", "<" + to + ">"})}
	return p.Send(ctx, o)
}

// Report tells what became of a message that came, for its first recipient, and asks for
// a response.
func (p *Peer) Report(ctx context.Context, m Mail, status string) error {
	return p.tell(ctx, "MM4_delivery_report.REQ", m, [2]string{"X-Mms-MM-Status-Code", status})
}

// Read tells that a message that came was read.
func (p *Peer) Read(ctx context.Context, m Mail) error {
	return p.tell(ctx, "MM4_read_reply_report.REQ", m, [2]string{"X-Mms-Read-Status", "Read"})
}

func (p *Peer) tell(ctx context.Context, kind string, m Mail, word [2]string) error {
	p.mu.Lock()
	p.sequence++
	id := fmt.Sprintf("p-%d", p.sequence)
	p.mu.Unlock()
	o := Out{From: m.To[0], To: []string{m.From}, Header: append(p.about(kind, m), word, [2]string{"X-Mms-Transaction-ID", id},
		[2]string{"X-Mms-Originator-System", p.System()}, [2]string{"X-Mms-Ack-Request", "Yes"},
		[2]string{"From", "<" + m.To[0] + ">"}, [2]string{"To", m.Header.Get("From")})}
	return p.Send(ctx, o)
}

// Send sends a mail to the gateway on a connection of its own. What the gateway refuses
// is an *smtp.SMTPError.
func (p *Peer) Send(ctx context.Context, o Out) error {
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Hello("mm4." + p.cfg.Domain); err != nil {
		return err
	}
	content := o.octets()
	w, err := c.envelope(o, &smtp.MailOptions{Size: int64(len(content))})
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// Break begins to send a mail and loses the connection in the midst of its content.
func (p *Peer) Break(ctx context.Context, o Out) error {
	conn, err := p.Begin(ctx, o)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Begin sends a mail as far as the middle of its content. The connection stays open until
// the caller closes it.
func (p *Peer) Begin(ctx context.Context, o Out) (io.Closer, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.half(o); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// half sends the envelope of a mail and half of its content.
func (c *client) half(o Out) error {
	w, err := c.envelope(o, nil)
	if err != nil {
		return err
	}
	content := o.octets()
	_, err = w.Write(content[:len(content)/2])
	return err
}

// envelope says who the mail is from and for, and begins its content.
func (c *client) envelope(o Out, options *smtp.MailOptions) (io.WriteCloser, error) {
	if err := c.Mail(o.From, options); err != nil {
		return nil, err
	}
	for _, to := range o.To {
		if err := c.Rcpt(to, nil); err != nil {
			return nil, err
		}
	}
	return c.Data()
}

// client is a connection to the gateway.
type client struct{ *smtp.Client }

func (p *Peer) dial(ctx context.Context) (*client, error) {
	d := net.Dialer{}
	if p.cfg.From != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(p.cfg.From)}
	}
	conn, err := d.DialContext(ctx, "tcp", p.cfg.Gateway)
	if err != nil {
		return nil, err
	}
	return &client{smtp.NewClient(conn)}, nil
}

// octets is the mail as it travels.
func (o Out) octets() []byte {
	var b bytes.Buffer
	for _, f := range o.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	if len(o.Parts) == 0 {
		b.WriteString("Content-Type: text/plain; charset=us-ascii\r\n\r\n")
		return b.Bytes()
	}
	w := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: multipart/related; boundary=%q; type=\"application/smil\"; start=\"<smil>\"\r\n\r\n", w.Boundary())
	parts := append([]Part{{ContentType: "application/smil", Name: "layout.smil", Content: []byte("<smil><body/></smil>")}}, o.Parts...)
	for i, p := range parts {
		h := textproto.MIMEHeader{}
		h.Set("Content-Type", fmt.Sprintf("%s; name=%q", p.ContentType, p.Name))
		h.Set("Content-Transfer-Encoding", "base64")
		if h.Set("Content-Id", fmt.Sprintf("<part%d>", i)); i == 0 {
			h.Set("Content-Id", "<smil>")
		}
		out, err := w.CreatePart(h)
		if err != nil {
			panic(err) // a buffer takes everything
		}
		lines := base64.StdEncoding.EncodeToString(p.Content)
		for len(lines) > 76 {
			_, _ = io.WriteString(out, lines[:76]+"\r\n")
			lines = lines[76:]
		}
		_, _ = io.WriteString(out, lines)
	}
	_ = w.Close()
	return b.Bytes()
}
