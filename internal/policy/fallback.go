package policy

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// Links of a message that went as a text.
const (
	// leastLinked is how long its links work at least from when it may leave.
	leastLinked = 24 * time.Hour
	// maxTextCharacters is the longest text that an SMS may have, as ingress has it.
	maxTextCharacters = 1600
)

// AsText is the SMS that goes in the place of an MMS which no vendor takes: its subject, its
// text, then a link to each file, a line each. A file that was not fetched yet is linked where the
// customer has it. link says where a file is read; nil: nowhere.
//
// Nil: the account does not want it, the links would be too much text, or would end too
// early: files go with the message's text, which is kept for content_retention_days from
// acceptance, and that must last for its validity and a day from when it may leave. The
// message itself is not changed. Whether the SMS may go is another question.
func AsText(s *snapshot.Snapshot, m *message.Message, link func(message.MediaFile) string) *message.Message {
	a := s.Accounts[m.AccountID]
	if a == nil || a.MMSFallback != snapshot.MMSFallbackLink || link == nil || m.Kind != message.MMS || m.Body == "" && len(m.Media) == 0 {
		return nil
	}
	leaves := m.CreatedAt
	if m.SendAt.After(leaves) {
		leaves = m.SendAt
	}
	kept := m.CreatedAt.Add(time.Duration(a.ContentRetentionDays) * 24 * time.Hour)
	if kept.Before(m.ExpiresAt) || kept.Before(leaves.Add(leastLinked)) {
		return nil
	}
	lines := make([]string, 0, len(m.Media)+2)
	for _, said := range []string{m.Subject, m.Body} {
		if said != "" {
			lines = append(lines, said)
		}
	}
	for _, f := range m.Media {
		if f.Fetched() {
			lines = append(lines, link(f.File))
		} else {
			lines = append(lines, f.Source)
		}
	}
	body := strings.Join(lines, "\n")
	if utf8.RuneCountInString(body) > maxTextCharacters {
		return nil
	}
	layout, err := text.Plan(body, message.EncodingAuto, a.SmartEncoding)
	if err != nil || len(layout.Parts) > a.MaxParts {
		return nil
	}
	out := *m
	out.Kind, out.Requested, out.Status, out.Error = message.SMS, message.MMS, message.StatusAccepted, nil
	out.Body, out.Encoding, out.Segments = layout.Text, layout.Encoding, len(layout.Parts)
	out.Parts = make([]message.Part, out.Segments)
	for i := range out.Parts {
		out.Parts[i].Number = i + 1
	}
	return &out
}
