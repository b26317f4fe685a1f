package email

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	gomessage "github.com/emersion/go-message"
	"github.com/emersion/go-smtp"
)

// post is an SMTP server that is not ours, and keeps what it is given.
type post struct {
	mu    sync.Mutex
	mails [][]byte
	over  chan struct{} // one for each DATA that has ended, well or not
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return p, nil }
func (p *post) Mail(string, *smtp.MailOptions) error        { return nil }
func (p *post) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (p *post) Reset()                                      {}
func (p *post) Logout() error                               { return nil }

func (p *post) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		p.mu.Lock()
		p.mails = append(p.mails, b)
		p.mu.Unlock()
	}
	p.over <- struct{}{}
	return err
}

func startPost(t *testing.T) (*post, *Relay) {
	t.Helper()
	p := &post{over: make(chan struct{}, 10)}
	server := smtp.NewServer(p)
	server.Domain = "relay.example"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	relay, err := Parse(l.Addr().String(), "gateway@postrider.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, relay
}

func octets(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func file(name, kind string, b []byte) File {
	return File{Name: name, ContentType: kind, Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// What a handset has sent arrives octet by octet, under its type and name, beside the text.
func TestFilesAreAttached(t *testing.T) {
	t.Parallel()
	p, relay := startPost(t)
	contents := [][]byte{octets(1 << 20), octets(77), []byte("Grüße\r\n.\r\n..\r\n\nend"), {0}}
	m := letter()
	m.Subject = "Holiday"
	m.Files = []File{file("media-1.jpg", "image/jpeg", contents[0]), file("media-2.mp4", "video/mp4", contents[1]), file("media-3.txt", "text/plain", contents[2]), file("media-4", "image/x-odd", contents[3])}
	if err := relay.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var weight int64
	for _, f := range m.Files {
		weight += f.Weight()
	}
	if n := int64(len(p.mails[0])); n > weight+2000 || n < weight-int64(len(m.Files))*partHeader {
		t.Errorf("the mail has %d octets, its files were taken for %d", n, weight)
	}
	whole, err := gomessage.Read(bytes.NewReader(p.mails[0]))
	if err != nil {
		t.Fatal(err)
	}
	if kind, _, _ := whole.Header.ContentType(); kind != "multipart/mixed" {
		t.Fatalf("it is %s", kind)
	}
	parts := whole.MultipartReader()
	text, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	kind, _, _ := text.Header.ContentType()
	body, err := io.ReadAll(text.Body)
	if err != nil || kind != "text/plain" || !strings.HasPrefix(strings.ReplaceAll(string(body), "\r\n", "\n"), m.Body) {
		t.Errorf("%s: %q, %v", kind, body, err)
	}
	for i, f := range m.Files {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := part.Header.ContentType()
		how, params, _ := part.Header.ContentDisposition()
		got, err := io.ReadAll(part.Body)
		if err != nil || kind != f.ContentType || how != "attachment" || params["filename"] != f.Name || !bytes.Equal(got, contents[i]) {
			t.Errorf("%s: %s, %s %v, %d octets, %v", f.Name, kind, how, params, len(got), err)
		}
	}
	if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
		t.Errorf("more than was sent: %v", err)
	}
}

// A mail whose file breaks off does not come as if it were whole, and another try may
// bring it.
func TestLostFile(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is broken")
	for name, open := range map[string]func(context.Context) (io.ReadCloser, error){
		"gone": func(context.Context) (io.ReadCloser, error) { return nil, broken },
		"breaks off": func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(octets(200_000)), iotest.ErrReader(broken))), nil
		},
		"too short": func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil },
	} {
		t.Run(name, func(t *testing.T) {
			p, relay := startPost(t)
			m := letter()
			m.Files = []File{file("media-1.jpg", "image/jpeg", octets(100_000)), {Name: "media-2.mp4", ContentType: "video/mp4", Size: 300_000, Open: open}}
			err := relay.Send(t.Context(), m)
			var lost *FileError
			if !errors.As(err, &lost) || lost.Name != "media-2.mp4" || !Temporary(err) {
				t.Errorf("%v", err)
			}
			<-p.over
			if len(p.mails) != 0 {
				t.Errorf("the relay has taken a mail of %d octets", len(p.mails[0]))
			}
			m.Files = m.Files[:1]
			if err := relay.Send(t.Context(), m); err != nil || len(p.mails) != 1 {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// So many mails with files are written at a time; others wait, and those without do not.
func TestMailsWithFilesTakeTurns(t *testing.T) {
	t.Parallel()
	_, relay := startPost(t)
	for range withFiles {
		relay.files <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := letter()
	m.Files = []File{file("media-1.jpg", "image/jpeg", octets(10))}
	cancel()
	if err := relay.Send(ctx, m); err == nil || !Temporary(err) {
		t.Errorf("%v", err)
	}
	if err := relay.Send(t.Context(), letter()); err != nil {
		t.Error(err)
	}
	<-relay.files
	if err := relay.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
}

func TestTimeOf(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]time.Duration{0: timeout, 7_000_000: timeout + 95*time.Second, 90_000_000: Longest} {
		if got := timeOf(Mail{Files: []File{{Size: size}}}); got != want {
			t.Errorf("%d octets: %s, want %s", size, got, want)
		}
	}
}
