package deliver

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// MaxMailBytes is the most that MailBytes may be: what the largest providers take.
const MaxMailBytes = 25_000_000

// mailText is left for the text of a mail and what stands around it, in octets.
const mailText = 40_000

// Library opens the files that messages have. *media.Library is one.
type Library interface {
	Open(ctx context.Context, f message.MediaFile) (io.ReadSeekCloser, error)
}

// mail is the message as an e-mail, with as many of its files as fit.
func (a *Activities) mail(m message.Received, d message.InboundDelivery, room int64) email.Mail {
	files := make([]email.File, len(m.Media))
	if a.Library != nil {
		for _, f := range m.Files {
			if f.Position <= len(files) {
				files[f.Position-1] = a.attached(f)
			}
		}
	}
	return mailOf(m, d, a.Snapshot(), files, room-mailText)
}

func (a *Activities) attached(f message.Media) email.File {
	return email.File{Name: media.FileName(f.Position, f.File.ContentType), ContentType: f.File.ContentType, Size: f.File.Size,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return a.Library.Open(ctx, f.File) }}
}

// mailOf is the message as an e-mail. Of files, which are by position and may be empty,
// those are attached that fit; the others are links, or could not be had.
func mailOf(m message.Received, d message.InboundDelivery, s *snapshot.Snapshot, files []email.File, room int64) email.Mail {
	body, shown := m.Text()
	if !shown {
		body = "(This message is no text. It can be fetched from the API.)"
	}
	mail := email.Mail{ID: message.Hex32(m.ID), To: d.Email, From: string(m.From), Number: string(m.To), Subject: m.Subject, At: m.ReceivedAt}
	var links strings.Builder
	for i, f := range m.Media {
		if i < len(files) && files[i].Open != nil && files[i].Weight() <= room {
			room -= files[i].Weight()
			mail.Files = append(mail.Files, files[i])
			continue
		}
		if f.Link == "" {
			fmt.Fprintf(&links, "\n%d. a file that could not be fetched (%s)", i+1, f.ContentType)
			continue
		}
		fmt.Fprintf(&links, "\n%d. %s (%s, %d octets)", i+1, f.Link, f.ContentType, f.Size)
	}
	switch {
	case links.Len() == 0:
	case len(mail.Files) == 0:
		body += "\n\nIt came with media:" + links.String()
	default:
		body += "\n\nIt came with more media than is attached:" + links.String()
	}
	if !m.Complete {
		body += "\n\n(Parts of this message never came.)"
	}
	mail.Body = body
	if n := s.Numbers[m.To]; n != nil && n.AccountID == m.AccountID {
		mail.Tag = n.Tag
	}
	return mail
}
