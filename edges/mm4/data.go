package mm4

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// intake is the octets of one mail, as far as the peer and the spool have room for
// them.
type intake struct {
	dots *dotReader
	most int64 // that the peer may send
	n    int64 // octets so far
	room *room
	held int64 // reserved of room
	err  error // why it ends before the final dot; it stays
}

// Read gives io.EOF behind the final dot only.
func (in *intake) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	n, err := in.dots.Read(p)
	in.n += int64(n)
	switch {
	case err != nil && err != io.EOF:
		in.err = err
	case in.n > in.most:
		in.err = say(codeTooLarge, "the mail is larger than %d octets", in.most)
	case !in.room.take(int64(n)):
		in.err = say(codeFull, "too much mail is on its way; send it later")
	default:
		in.held += int64(n)
		return n, err
	}
	return 0, in.err
}

// finish reads a mail to its final dot, which is where commands begin again, whatever
// became of it.
func (in *intake) finish() error {
	if in.dots.ended {
		return nil
	}
	buf := make([]byte, drainBuffer)
	for drained := 0; ; {
		n, err := in.dots.Read(buf)
		in.n += int64(n) // what is thrown away has come in time as well
		drained += n
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case drained > drainOctets:
			return errEndless
		}
	}
}

// drainBuffer is how much of a refused mail is read at a time.
const drainBuffer = 16 << 10

var errEndless = errors.New("mm4: a refused mail does not end")

// pace sets the deadline for the next octets: by how much has come, and in all.
func (c *session) pace(in *intake, begun time.Time) func() error {
	l := c.server.limits
	whole := l.DataTime
	if t := c.mail.Peer.DataTime; t > 0 {
		whole = t
	}
	return func() error {
		// Seconds first: a large mail times a second in nanoseconds is no int64.
		earned := time.Duration(in.n/l.DataRate) * time.Second
		return c.link.raw.SetReadDeadline(begun.Add(min(l.DataGrace+earned, whole)))
	}
}

// Data takes the mail that follows. It reads the connection itself and gives the library
// the end alone, because the library's reader passes over some.
func (c *session) Data(io.Reader) error {
	begun := time.Now()
	m := c.mail
	m.Session = c.facts()
	in := &intake{most: m.Peer.MaxSize, room: &c.server.room}
	in.dots = &dotReader{in: c.link.in, wait: c.pace(in, begun)}
	defer func() { in.room.give(in.held) }()
	defer func() {
		if err := m.close(); err != nil {
			c.server.log.Error("mm4 spool", "error", err)
		}
	}()

	err := c.protect("DATA", func() error { return c.receive(in, m) })
	lost := in.finish()
	m.Size = in.n
	var reply *smtp.SMTPError
	switch {
	case errors.Is(lost, os.ErrDeadlineExceeded):
		reply = say(codeLate, "the mail came too slowly; send it again")
		_ = c.last(reply)
	case lost != nil:
		if in.err == nil {
			in.err = lost
		}
		reply = replyTo(in.err)
		_ = c.last(reply)
	default:
		if in.err != nil {
			err = in.err // what became of it further on says less
		}
		reply = c.settle(m, err)
		c.link.endMail()
	}
	if reply.Code == codeTaken.Code {
		c.commands = 0
		c.note(func(i *SessionInfo) { i.Mails++ })
	}
	c.state(StateIdle) // before the reply goes out
	code := reply.Code
	if lost != nil && !errors.Is(lost, os.ErrDeadlineExceeded) {
		code = 0
	}
	c.told(m, code, time.Since(begun))
	return reply
}

// settle gives a whole mail to the Desk, or the cause why it is refused.
func (c *session) settle(m *Mail, cause error) *smtp.SMTPError {
	refuser, _ := c.server.Desk.(Refuser)
	h := &m.Header
	if cause != nil && (refuser == nil || h.AckRequest != mm4.Yes || !h.Type.Request() || h.TransactionID == "" || !forResponse(cause)) {
		return replyTo(cause)
	}
	c.state(StateCommit)
	// What has begun to be committed is not given up: half of a commit cannot be told
	// from a whole one.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.server.life), c.server.limits.Accept)
	defer cancel()
	var id string
	err := c.protect("the desk", func() (err error) {
		if cause == nil {
			id, err = c.server.Desk.Accept(ctx, m)
			return err
		}
		if err := m.close(); err != nil {
			return err
		}
		m.Texts = nil
		if id, err = refuser.Refuse(ctx, m, cause); err != nil {
			err = cause
		}
		return err
	})
	if err != nil {
		return replyTo(err)
	}
	return say(codeTaken, "%s", id)
}

// told counts and logs what became of a mail.
func (c *session) told(m *Mail, code int, took time.Duration) {
	if c.server.Metrics.Mail != nil {
		c.server.Metrics.Mail(m.Peer.Name, m.Header.Type, code, m.Size, took)
	}
	c.server.log.Info("mm4 mail", "peer", m.Peer.Name, "session", c.id, "type", string(m.Header.Type), "code", code,
		"from", m.From, "recipients", len(m.To), "size", m.Size)
}

// receive reads the mail: its header, its texts, and its media into the spool.
func (c *session) receive(in *intake, m *Mail) error {
	r, err := mm4.NewReader(in, c.server.limits.Mail)
	if r != nil {
		m.Header = r.Header
	}
	if err != nil {
		return err
	}
	if m.Header.Type != mm4.ForwardREQ {
		// A report and a response say all in their header; whatever else they have must
		// not lose them.
		_, err := io.Copy(io.Discard, in)
		return err
	}
	parts := &taking{session: c, mail: m, most: in.most}
	for index := 0; ; index++ {
		p, err := r.Next()
		if err == io.EOF {
			return parts.missing()
		}
		if err == nil {
			err = parts.take(p, index)
		}
		if err != nil {
			return err
		}
	}
}

// taking is the parts of a mail as they come.
type taking struct {
	session *session
	mail    *Mail
	most    int64 // octets of a file
	octets  int   // of texts
	// Of parts that say the same one is enough: refusals has, by their group, the parts
	// that no phone is sent, and taken the groups that have another.
	refusals map[int]error
	taken    map[int]bool
}

// take takes one part.
func (t *taking) take(p *mm4.Part, index int) error {
	switch {
	case p.IsSMIL():
		return nil
	case p.IsText():
		return t.text(p, index)
	}
	u, err := t.session.server.Spool.Receive(t.session.server.life, p.Body, t.most)
	group := p.Alternative.Group
	switch {
	case err == nil:
		t.mail.Files = append(t.mail.Files, File{
			Upload: u, Index: index, ContentType: p.ContentType, Name: p.Name, ContentID: p.ContentID,
			Location: p.ContentLocation, Alternative: p.Alternative,
		})
		t.have(group)
		return nil
	case group > 0 && message.ReasonOf(err) == message.ReasonMediaRejected:
		if t.refusals == nil {
			t.refusals = make(map[int]error)
		}
		t.refusals[group] = err
		return nil
	}
	return err
}

func (t *taking) text(p *mm4.Part, index int) error {
	left := t.session.server.limits.Text - t.octets
	b, err := io.ReadAll(io.LimitReader(p.Body, int64(left)+1))
	switch {
	case err != nil:
		return err
	case len(b) > left:
		return message.Refuse(message.ReasonMessageTooLong, "the texts of the mail have more than %d octets", t.session.server.limits.Text)
	case len(b) == 0:
		return nil
	}
	t.octets += len(b)
	t.mail.Texts = append(t.mail.Texts, Text{
		Text: string(b), Index: index, Name: p.Name, ContentID: p.ContentID, Alternative: p.Alternative, Garbled: p.CharsetErr != nil,
	})
	t.have(p.Alternative.Group)
	return nil
}

func (t *taking) have(group int) {
	if group > 0 {
		if t.taken == nil {
			t.taken = make(map[int]bool)
		}
		t.taken[group] = true
	}
}

// missing tells of parts that were refused and had no other in their place.
func (t *taking) missing() error {
	for group, err := range t.refusals {
		if !t.taken[group] {
			return err
		}
	}
	return nil
}
