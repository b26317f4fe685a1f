package desk

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// content is what a mail says: of parts that say the same the last, which RFC 2046
// §5.1.4 has for the one that is closest to what was meant.
type content struct {
	subject string
	text    string
	files   []server.File
}

func contentOf(m *server.Mail) content {
	last := map[int]int{} // option by group
	note := func(a mm4.Alternative) {
		if a.Group > 0 {
			last[a.Group] = max(last[a.Group], a.Option)
		}
	}
	for _, t := range m.Texts {
		note(t.Alternative)
	}
	for _, f := range m.Files {
		note(f.Alternative)
	}
	chosen := func(a mm4.Alternative) bool { return a.Group == 0 || last[a.Group] == a.Option }

	c := content{subject: strings.TrimSpace(m.Header.Subject)}
	var texts []string
	for _, t := range slices.SortedStableFunc(slices.Values(m.Texts), func(a, b server.Text) int { return cmp.Compare(a.Index, b.Index) }) {
		// What stands before a boundary often ends its line.
		if s := strings.TrimRight(t.Text, "\n"); s != "" && chosen(t.Alternative) {
			texts = append(texts, s)
		}
	}
	c.text = strings.Join(texts, "\n")
	for _, f := range slices.SortedStableFunc(slices.Values(m.Files), func(a, b server.File) int { return cmp.Compare(a.Index, b.Index) }) {
		if chosen(f.Alternative) {
			c.files = append(c.files, f)
		}
	}
	return c
}

// sendable is the content as a message of ours may have it: a subject that is too long
// for one, or that has no file beside it, is the text's first line.
func (c content) sendable() content {
	if c.subject != "" && (len(c.files) == 0 || len([]rune(c.subject)) > ingress.MaxSubject) {
		c.text = strings.TrimSuffix(c.subject+"\n"+c.text, "\n")
		c.subject = ""
	}
	return c
}

// store stores the files for an account that is about to be given them.
func (c content) store(ctx context.Context, account message.ID) ([]message.MediaFile, error) {
	out := make([]message.MediaFile, 0, len(c.files))
	for _, f := range c.files {
		stored, err := f.Add(ctx, account)
		if err != nil {
			return nil, full(err)
		}
		out = append(out, stored)
	}
	return out, nil
}

// full says of a store without room that the mail should come again when there is some.
func full(err error) error {
	if errors.Is(err, media.ErrFull) {
		return message.Because(message.ReasonQueueFull, err, "the media store is full; send the mail later")
	}
	return err
}

// storable leaves out of a text what no table takes.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
