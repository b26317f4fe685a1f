package deliver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/message"
)

// shelf holds files by their content type.
type shelf struct {
	files map[string][]byte
	err   error
}

type handle struct{ *bytes.Reader }

func (handle) Close() error { return nil }

func (s *shelf) Open(_ context.Context, f message.MediaFile) (io.ReadSeekCloser, error) {
	return handle{bytes.NewReader(s.files[f.ContentType])}, s.err
}

// mailed makes the message an MMS with files of these sizes for an e-mail.
func mailed(t *testing.T, sizes ...int64) (*bundle, *shelf) {
	t.Helper()
	b := setup(t)
	b.goes("+12025550143", inbox)
	b.message.Kind, b.message.Subject = message.MMS, "Holiday"
	types := []string{"image/jpeg", "video/mp4", "text/plain"}
	s := &shelf{files: map[string][]byte{}}
	for i, n := range sizes {
		b.message.Media = append(b.message.Media, message.InboundMedia{URL: "https://vendor.example/secret", ContentType: types[i]})
		b.files = append(b.files, message.Media{Position: i + 1, File: message.MediaFile{ID: message.NewID(), ContentType: types[i], Size: n}})
		s.files[types[i]] = bytes.Repeat([]byte{byte(i)}, int(n))
	}
	b.planned(t)
	b.plan[0].CreatedAt = b.clock
	b.Library, b.MailBytes = s, 10_000_000
	return b, s
}

func names(m email.Mail) (out []string) {
	for _, f := range m.Files {
		out = append(out, f.Name)
	}
	return out
}

// What fits is attached, in order, and the rest are links that the text tells of.
func TestMailHasFiles(t *testing.T) {
	for _, c := range []struct {
		name         string
		room         int64
		sizes        []int64
		attached     string
		links, never int // files that are links, and that could not be had
	}{
		{name: "all fit", room: 10_000_000, sizes: []int64{1000, 2_000_000, 30}, attached: "media-1.jpg media-2.mp4 media-3.txt"},
		{name: "the second does not", room: 1_000_000, sizes: []int64{1000, 2_000_000, 30}, attached: "media-1.jpg media-3.txt", links: 1},
		{name: "to the octet", room: mailText + 1024 + partHeader + 1024/76*2, sizes: []int64{768}, attached: "media-1.jpg"},
		{name: "an octet more", room: mailText + 1024 + partHeader + 1024/76*2 - 1, sizes: []int64{768}, links: 1},
		{name: "nothing may be attached", sizes: []int64{1, 2, 3}, links: 3},
		{name: "one was not fetched", room: 10_000_000, sizes: []int64{1000, 0}, attached: "media-1.jpg", never: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, _ := mailed(t, c.sizes...)
			if c.never > 0 {
				b.files = b.files[:1]
			}
			b.MailBytes = c.room
			if err := b.SendMail(t.Context(), Input{MessageID: b.message.ID, Position: 1}); err != nil {
				t.Fatal(err)
			}
			m := b.mailer.mails[0]
			if got := strings.Join(names(m), " "); got != c.attached {
				t.Errorf("attached %q, want %q", got, c.attached)
			}
			if n := strings.Count(m.Body, "https://gw.example/media/"); n != c.links || strings.Count(m.Body, "could not be fetched") != c.never || strings.Contains(m.Body, "vendor.example") {
				t.Errorf("%q", m.Body)
			}
			if more := strings.Contains(m.Body, "more media than is attached"); more != (c.attached != "" && c.links+c.never > 0) {
				t.Errorf("%q", m.Body)
			}
			var octets int64
			for _, f := range m.Files {
				octets += f.Weight()
				r, err := f.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got, _ := io.ReadAll(r); int64(len(got)) != f.Size {
					t.Errorf("%s has %d octets of %d", f.Name, len(got), f.Size)
				}
			}
			if octets > c.room {
				t.Errorf("%d octets, %d are allowed", octets, c.room)
			}
		})
	}
}

// partHeader is what email.File.Weight has for an empty file.
var partHeader = email.File{}.Weight()

// losing is a relay that reads the files, and takes no mail of which one cannot be read.
type losing struct{ mailer }

func (l *losing) Send(ctx context.Context, m email.Mail) error {
	_ = l.mailer.Send(ctx, m)
	for _, f := range m.Files {
		if _, err := f.Open(ctx); err != nil {
			return &email.FileError{Name: f.Name, Err: err}
		}
	}
	return nil
}

// A file that is lost takes the text with it no longer than the store cannot be reached.
func TestMailWithoutLostFile(t *testing.T) {
	b, s := mailed(t, 1000)
	relay := &losing{}
	b.Mailer = relay
	in := Input{MessageID: b.message.ID, Position: 1}
	s.err = message.Refuse(message.ReasonUnavailable, "the media store cannot be used now")
	if err := b.SendMail(t.Context(), in); err == nil || len(relay.mails) != 1 || b.plan[0].State != message.InboundPending {
		t.Errorf("the store is away: %v, %+v", err, b.plan[0])
	}
	s.err = message.Because(message.ReasonInternal, errors.New("not found"), "the file's content is not in the media store")
	if err := b.SendMail(t.Context(), in); err != nil || len(relay.mails) != 3 || b.plan[0].State != message.InboundDelivered {
		t.Fatalf("the file is lost: %v, %+v", err, b.plan[0])
	}
	if m := relay.mails[2]; len(m.Files) != 0 || !strings.Contains(m.Body, "https://gw.example/media/image/jpeg") {
		t.Errorf("%+v", m)
	}
}
