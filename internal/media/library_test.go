package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// diary notes what a Library asks of the journal, and what the store held then.
type diary struct {
	store   *Store
	did     []string
	fail    string // what fails
	refuses error
	loose   [][32]byte
}

func (d *diary) note(ctx context.Context, what string, sum [32]byte) error {
	there, err := d.store.Exists(ctx, sum)
	d.did = append(d.did, fmt.Sprintf("%s, stored: %t", what, there))
	if d.fail == what {
		return d.refuses
	}
	return err
}

func (d *diary) AddMedia(ctx context.Context, f *message.MediaFile) error {
	d.loose = append(d.loose, f.SHA256)
	return d.note(ctx, "add", f.SHA256)
}

func (d *diary) MediaReady(ctx context.Context, id message.ID, keep time.Duration, _ func(message.MediaFile) (message.Idempotency, error)) (message.MediaFile, *message.Idempotency, error) {
	f := message.MediaFile{ID: id, SHA256: d.loose[len(d.loose)-1], ExpiresAt: time.Unix(0, 0).Add(keep)}
	return f, nil, d.note(ctx, "ready", f.SHA256)
}

func (d *diary) Media(context.Context, message.ID, message.ID) (message.MediaFile, error) {
	return message.MediaFile{}, d.refuses
}

func (d *diary) MediaByToken(context.Context, message.MediaToken) (message.MediaFile, error) {
	return message.MediaFile{}, d.refuses
}

func (d *diary) RemoveMedia(context.Context, message.ID, message.ID) error { return d.refuses }

func (d *diary) DropMedia(ctx context.Context, remove func(context.Context, [32]byte) error) (bool, error) {
	if len(d.loose) == 0 {
		return false, nil
	}
	sum := d.loose[0]
	if err := remove(ctx, sum); err != nil {
		return false, err
	}
	d.loose = d.loose[1:]
	return true, nil
}

func library(t *testing.T) (*Library, *diary) {
	t.Helper()
	s, err := Open(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d := &diary{store: s, refuses: errors.New("the journal is away")}
	return &Library{Store: s, Records: d}, d
}

func keep(t *testing.T, l *Library, content string) (message.MediaFile, error) {
	t.Helper()
	up, err := l.Receive(t.Context(), strings.NewReader(content), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	f, _, err := up.Keep(t.Context(), message.NewID(), time.Hour, nil)
	return f, err
}

// The row comes before the bytes and the word that they are there after them, so that
// whoever takes away what nobody has never takes what somebody is about to have.
func TestKeepOrder(t *testing.T) {
	l, d := library(t)
	f, err := keep(t, l, "a card")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"add, stored: false", "ready, stored: true"}; !slices.Equal(d.did, want) {
		t.Errorf("%q, want %q", d.did, want)
	}
	r, err := l.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "a card" {
		t.Errorf("%q, %v", got, err)
	}
	if n, err := l.Sweep(t.Context(), 10); err != nil || n != 1 {
		t.Errorf("swept %d, %v", n, err)
	}
	if _, err := l.Open(t.Context(), f); message.ReasonOf(err) != message.ReasonInternal {
		t.Errorf("after its bytes were taken away: %v", err)
	}
}

func TestKeepFails(t *testing.T) {
	l, d := library(t)
	d.fail = "add"
	if _, err := keep(t, l, "a card"); !errors.Is(err, d.refuses) || !slices.Equal(d.did, []string{"add, stored: false"}) {
		t.Errorf("%v after %q", err, d.did)
	}
	if there, err := l.Store.Exists(t.Context(), d.loose[0]); there || err != nil {
		t.Errorf("stored without a row: %t, %v", there, err)
	}
	d.fail = "ready"
	if _, err := keep(t, l, "a card"); !errors.Is(err, d.refuses) {
		t.Errorf("%v", err)
	}
}

// Sweep does no more than it is asked for, and stops at an error.
func TestSweepLimit(t *testing.T) {
	l, _ := library(t)
	for i := range 3 {
		if _, err := keep(t, l, fmt.Sprint("card ", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 1, 0} {
		if n, err := l.Sweep(t.Context(), 2); err != nil || n != want {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
	}
}

func TestReceiveRefuses(t *testing.T) {
	l, _ := library(t)
	for content, want := range map[string]message.Reason{
		"": message.ReasonInvalidRequest, strings.Repeat("x", 101): message.ReasonPayloadTooLarge, "<html><body>x</body></html>": message.ReasonMediaRejected,
		"MZ\x90\x00\x03\x00\x00\x00": message.ReasonMediaRejected, "\x00\x01\x02\x03": message.ReasonMediaRejected,
	} {
		up, err := l.Receive(t.Context(), strings.NewReader(content), 100)
		if up != nil || message.ReasonOf(err) != want {
			t.Errorf("%.20q: %v, want %s", content, err, want)
		}
	}
}

// Each kind of error of the store has a reason.
func TestRefusals(t *testing.T) {
	for err, want := range map[error]message.Reason{
		ErrDamaged: message.ReasonInternal, ErrFull: message.ReasonUnavailable, ErrNotFound: message.ReasonInternal, &TooLargeError{7}: message.ReasonPayloadTooLarge,
		ErrUnavailable: message.ReasonUnavailable, ErrUnknownKey: message.ReasonUnavailable, context.DeadlineExceeded: message.ReasonUnavailable,
		context.Canceled: message.ReasonUnavailable, io.ErrUnexpectedEOF: message.ReasonInvalidRequest,
	} {
		if got := message.ReasonOf(refusal(fmt.Errorf("store: %w", err))); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func TestCarried(t *testing.T) {
	for kind, want := range map[string]bool{
		"image/jpeg": true, "image/heic": true, "video/mp4": true, "audio/amr": true, "text/plain": true, "text/vcard": true, "text/calendar": true, "application/pdf": true,
		"image/svg+xml": false, "text/html": false, "application/zip": false, "application/octet-stream": false, "audio/x-mpegurl": false, "text/javascript": false,
		"application/smil": false, "application/vnd.apple.mpegurl": false, "application/x-ms-dos-executable": false, "": false,
	} {
		if Carried(kind) != want {
			t.Errorf("%q: %t", kind, !want)
		}
	}
	for kind, end := range extensions {
		if !Carried(kind) {
			t.Errorf("%s has an ending and is not carried", kind)
		}
		if parsed, _, err := mime.ParseMediaType(kind); err != nil || parsed != kind || end[0] != '.' {
			t.Errorf("%s: %s, %v", kind, end, err)
		}
	}
	if got := FileName(2, "image/jpeg"); got != "media-2.jpg" {
		t.Error(got)
	}
	if got := FileName(1, "image/x-unheard-of"); got != "media-1" {
		t.Error(got)
	}
}
