package mm4

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/mm4"
)

// Desk is who takes mails. Its methods are called by many sessions at a time.
//
// An error that is a *message.Error is answered as mm4.ReplyOf says, with its Detail as
// the text; a *mm4.Fault by its status; any other is not shown, and answered with
// 451 4.3.0. A panic is the same.
type Desk interface {
	// Recipient may refuse a recipient at RCPT: a number, or a user with a name, as our
	// system is for what is about a message. ReasonNotFound is answered with 550 5.1.1.
	// It has 10 s.
	Recipient(ctx context.Context, p *Peer, to mm4.Address) error

	// Accept commits a mail, of whatever type its header says: a forward, a report, or
	// a response. Nil is answered with 250 and the id, so it returns nil after the
	// commit only. Its context ends by Limits.Accept alone: not with the connection, and
	// not at shutdown.
	//
	// The mail and its files are the Desk's until it returns; then the server closes the
	// files. The Desk tells duplicates and loops, and whether the envelope and
	// the header name the same recipients.
	Accept(ctx context.Context, m *Mail) (id string, err error)
}

// Refuser is what a Desk may be besides: asked about a request that was read far
// enough for a response, wants one (X-Mms-Ack-Request: Yes), and is refused for good for
// a cause that a response has a word for. A Desk that returns nil has committed to
// sending that response, and the reply is 250; with an error, or without this method,
// cause is answered by SMTP. The mail has its header, and no texts or files. The
// context is as Accept's.
type Refuser interface {
	Refuse(ctx context.Context, m *Mail, cause error) (id string, err error)
}

// Spool is where media go while a mail comes. *media.Library is one.
type Spool interface {
	// Receive takes in all of r, and at most limit octets.
	Receive(ctx context.Context, r io.Reader, limit int64) (*media.Upload, error)
}

// Mail is one MM4 message as it came.
type Mail struct {
	Peer    *Peer
	Session Facts
	From    mm4.Address // of MAIL FROM; zero: the null sender
	To      []Recipient // of RCPT TO, each once, in their order; at least one
	Header  mm4.Header
	Texts   []Text // text/plain
	Files   []File // all other parts; layout is left out, for the gateway makes its own
	Size    int64  // octets of the mail, without dot-stuffing and the final dot
}

// close gives the files back.
func (m *Mail) close() error {
	var errs []error
	for _, f := range m.Files {
		errs = append(errs, f.Close())
	}
	m.Files = nil
	return errors.Join(errs...)
}

// Recipient is one RCPT TO.
type Recipient struct {
	mm4.Address
}

// Text is a text part in UTF-8, with LF at the ends of lines.
type Text struct {
	Text        string
	Index       int // its place among the parts of the mail, from 0
	Name        string
	ContentID   string
	Alternative mm4.Alternative
	// Garbled: its charset is not known, so it may read odd.
	Garbled bool
}

// File is any other part, in the spool.
type File struct {
	*media.Upload
	Index       int    // its place among the parts of the mail, from 0
	ContentType string // as the peer says; Object tells what it is
	Name        string
	ContentID   string
	Location    string // Content-Location
	Alternative mm4.Alternative
}

// Facts are what is known of the session that a mail came in.
type Facts struct {
	ID       uint64     // of the session, see SessionInfo
	Address  netip.Addr // of the peer, behind a proxy too
	Hello    string     // what it calls itself in EHLO; not checked
	TLS      bool
	Username string // that was proved by AUTH; empty: none
	Since    time.Time
}
