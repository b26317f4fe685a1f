package ingress

import (
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// Limits of an MMS, in characters and files.
const (
	maxMMSCharacters = 5000
	MaxSubject       = 40
	MaxMedia         = 10
)

// setMedia makes the message an MMS if it has files, or is to be one. Each file becomes one of the
// message's own, which shares the octets of what was uploaded.
func setMedia(r Request, m *message.Message) error {
	if len(r.Media) == 0 && !r.MMS {
		if r.Subject != "" {
			return field(message.Refuse(message.ReasonInvalidRequest, "subject is of messages with media only; add media_urls or media_ids, or leave it out"), "body.subject")
		}
		return nil
	}
	if n := len(r.Media); n > MaxMedia {
		return field(message.Refuse(message.ReasonInvalidRequest, "%d files are too many; media_urls and media_ids may have %d together", n, MaxMedia), "body.media_urls")
	}
	if n := utf8.RuneCountInString(r.Subject); n > MaxSubject {
		return field(message.Refuse(message.ReasonInvalidRequest, "subject has %d characters, %d are allowed", n, MaxSubject), "body.subject")
	}
	m.Kind, m.Subject, m.MediaAsIs = message.MMS, r.Subject, r.MediaAsIs
	m.Media = make([]message.Media, len(r.Media))
	for i, f := range r.Media {
		f.Position = i + 1
		if f.Fetched() {
			f.File.ID, f.File.Token, f.File.AccountID, f.File.CreatedAt = message.NewID(), message.NewMediaToken(), m.AccountID, m.CreatedAt
			f.File.ExpiresAt = time.Time{}
		}
		m.Media[i] = f
	}
	return nil
}

// setMMSText gives an MMS its text, which may be empty and is not cut into parts.
func setMMSText(account *snapshot.Account, r Request, m *message.Message) error {
	if n := utf8.RuneCountInString(r.Body); n > maxMMSCharacters {
		return field(message.Refuse(message.ReasonMessageTooLong, "body has %d characters, %d are allowed in an MMS", n, maxMMSCharacters), "body.body")
	}
	if r.Body == "" && len(r.Media) == 0 {
		return field(message.Refuse(message.ReasonInvalidRequest, "body is required of a message without files"), "body.body")
	}
	encoding := message.EncodingGSM7
	if r.Body != "" {
		layout, err := text.Plan(r.Body, message.EncodingAuto, false)
		if err != nil {
			return field(err, "body.body")
		}
		encoding = layout.Encoding
	}
	return setParts(account, m, r.Body, encoding, 1)
}
