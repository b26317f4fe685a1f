package mm4out

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/smtpout"
)

// Store opens the octets of a file. Ctx is for reading them, too.
type Store func(ctx context.Context, f message.MediaFile) (io.ReadCloser, error)

// Forward is a message on its way to a peer: a MM4_forward.REQ.
type Forward struct {
	// TransactionID and MessageID are as in mm4.Header. They are the same for each try.
	TransactionID, MessageID string
	From                     message.Address   // one of ours
	To                       message.Address   // one of the peer's
	With                     []message.Address // who else has got it, of a group; nobody is sent anything for them
	Subject                  string
	Text                     string // empty: there is none
	Files                    []message.MediaFile
	Date                     time.Time  // it was sent, or came in; the same for each try
	Expiry                   mm4.Expiry // the zero Expiry says nothing
	Class                    message.Class
	DeliveryReport           bool // one is asked for
	ReadReport               bool // one is asked for
}

// maxID is how long an id of ours may be: some peers keep no more (see mm4.MessageID).
const maxID = 60

// idOctets are what a domain in an id consists of.
const idOctets = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// AttemptIDs are the X-Mms-Transaction-ID and X-Mms-Message-ID of a try to submit a
// message to a vendor. Each try has its own: with other ids than an earlier one it is
// another message to the vendor.
func AttemptIDs(ref message.AttemptRef, domain string) (transaction, messageID string) {
	s := ref.String()
	if domain == "" || len(s)+1+len(domain) > maxID || strings.Trim(domain, idOctets) != "" {
		return s, s
	}
	return s, s + "@" + domain
}

// AttemptOf is the try that an id names, as AttemptIDs has written it or as a peer gives
// it back; false: it names none. It does not look at the domain.
func AttemptOf(id string) (message.AttemptRef, bool) {
	id, _, _ = strings.Cut(mm4.CleanID(id), "@")
	return message.ParseAttemptRef(id)
}

// priorities are the X-Mms-Priority of the classes; others are Normal.
var priorities = map[message.Class]mm4.Priority{message.ClassOTP: mm4.High, message.ClassBulk: mm4.Low}

// header is what the mail's header says.
func (f *Forward) header(own System, to *Peer) mm4.Header {
	h := mm4.Header{
		Type: mm4.ForwardREQ, Version: to.Version, TransactionID: f.TransactionID, MessageID: f.MessageID, MailID: own.MailID(f.TransactionID),
		OriginatorSystem: own.Address().String(), Sender: own.Address(), From: own.AddressOf(f.From), To: []mm4.Address{to.AddressOf(f.To)},
		Subject: f.Subject, Date: f.Date, AckRequest: mm4.Yes, DeliveryReport: mm4.FlagOf(f.DeliveryReport), ReadReply: mm4.FlagOf(f.ReadReport),
		Expiry: f.Expiry, Class: mm4.Personal, Priority: mm4.Normal, SenderVisibility: mm4.Show,
	}
	// At our domain, where answers to them go: a peer takes none for a user of its own.
	for _, a := range f.With {
		h.Cc = append(h.Cc, own.AddressOf(a))
	}
	if p, ok := priorities[f.Class]; ok {
		h.Priority = p
	}
	return h
}

// Mail is the message as a mail from its sender to its recipient. Its files are opened
// when the mail goes, one after the other, and read until ctx ends. The error is a
// *mm4.Fault.
func (f *Forward) Mail(ctx context.Context, own System, to *Peer, open Store) (smtpout.Mail, error) {
	var parts []mm4.OutPart
	if f.Text != "" {
		parts = append(parts, mm4.OutPart{Name: "text.txt", Text: f.Text})
	}
	for i, file := range f.Files {
		parts = append(parts, mm4.OutPart{ContentType: file.ContentType, Name: media.FileName(i+1, file.ContentType), Size: file.Size,
			Open: func() (io.ReadCloser, error) {
				if open == nil {
					return nil, errors.New("this process has no media store")
				}
				return open(ctx, file)
			}})
	}
	h := f.header(own, to)
	return MailOf(h, parts, h.From, h.To[0])
}

// MailOf makes the mail of any message, with an envelope of its own. The error is a
// *mm4.Fault.
func MailOf(h mm4.Header, parts []mm4.OutPart, from, to mm4.Address) (smtpout.Mail, error) {
	size, err := mm4.EncodedSize(h, parts)
	if err != nil {
		return smtpout.Mail{}, err
	}
	return smtpout.Mail{From: from.String(), To: []string{to.String()}, Size: size, Write: func(w io.Writer) error { return mm4.Write(w, h, parts) }}, nil
}
