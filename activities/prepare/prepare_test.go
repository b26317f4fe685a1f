package prepare

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/postrider/postrider/activities/transcode"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/webhook"
)

// desk is the journal and the records of the library, for one message, in memory.
type desk struct {
	mu      sync.Mutex
	m       *message.Message
	files   map[string][]message.Media // by profile
	added   map[message.ID]message.MediaFile
	results map[string]message.MediaFile
	lines   []message.Event
	fails   map[string]error // of the next call, by its name
	in      message.Received
}

func (d *desk) Received(context.Context, message.ID) (message.Received, error) { return d.in, nil }

func (d *desk) MediaReceived(_ context.Context, _ message.ID, position int, f message.MediaFile) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("received"); err != nil {
		return err
	}
	d.files[""] = append(d.files[""], message.Media{Position: position, File: f})
	return nil
}

func (d *desk) Note(_ context.Context, _ message.ID, line message.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
	return nil
}

func (d *desk) call(name string) error {
	err := d.fails[name]
	delete(d.fails, name)
	return err
}

func (d *desk) Envelope(context.Context, message.ID) (*message.Message, error) { return d.m, nil }
func (d *desk) Message(context.Context, message.ID) (*message.Message, error)  { return d.m, nil }

func (d *desk) MessageMedia(_ context.Context, _ message.ID, profile string) ([]message.Media, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.files[profile]), d.call("media")
}

func (d *desk) MediaFetched(_ context.Context, _ message.ID, position int, file message.ID) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("fetched"); err != nil {
		return false, err
	}
	d.files[""][position-1].File = d.added[file]
	return true, nil
}

func (d *desk) MediaPrepared(_ context.Context, _ message.ID, profile string, files []message.Media, line message.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("prepared"); err != nil {
		return err
	}
	d.files[profile], d.lines = files, append(d.lines, line)
	return nil
}

func (d *desk) MediaResult(_ context.Context, key string) (message.MediaFile, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.results[key]
	return f, ok, nil
}

func (d *desk) KeepMediaResult(_ context.Context, key string, sum [32]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.added {
		if f.SHA256 == sum {
			d.results[key] = message.MediaFile{SHA256: sum, ContentType: f.ContentType, Size: f.Size}
		}
	}
	return nil
}

func (d *desk) AddMedia(_ context.Context, f *message.MediaFile) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.added[f.ID] = *f
	return nil
}

func (d *desk) MediaReady(context.Context, message.ID, time.Duration, func(message.MediaFile) (message.Idempotency, error)) (message.MediaFile, *message.Idempotency, error) {
	return message.MediaFile{}, nil, errors.New("files of messages are never uploads")
}

func (d *desk) Media(context.Context, message.ID, message.ID) (message.MediaFile, error) {
	return message.MediaFile{}, errors.New("not asked for")
}

func (d *desk) MediaByToken(_ context.Context, token message.MediaToken) (message.MediaFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.added {
		if f.Token == token {
			return f, nil
		}
	}
	return message.MediaFile{}, message.Refuse(message.ReasonNotFound, "there is no such file")
}

func (d *desk) RemoveMedia(context.Context, message.ID, message.ID) error { return nil }
func (d *desk) DropMedia(context.Context, func(context.Context, [32]byte) error) (bool, error) {
	return false, nil
}

// shrink converts by keeping as many octets as the share allows.
type shrink struct {
	mu   sync.Mutex
	runs int
	err  error
}

func (s *shrink) FitOne(_ context.Context, dir string, n int, part transcode.Part, share int64, _ mediaprofile.Profile, progress func(string)) (transcode.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	progress("at work")
	r := transcode.Result{Part: part, From: part.ContentType}
	if s.err != nil || part.Size <= share {
		return r, s.err
	}
	b, err := os.ReadFile(part.Path)
	if err != nil {
		return r, err
	}
	r.Changed, r.Part.Path, r.Part.Size, r.Rung = true, filepath.Join(dir, fmt.Sprintf("out-%d", n)), share, "cut"
	return r, os.WriteFile(r.Part.Path, b[:share], 0o600)
}

type bundle struct {
	*desk
	*Activities
	t       *testing.T
	library *media.Library
	convert *shrink
	served  map[string]func(w http.ResponseWriter)
	asked   map[string]int
	hosted  string
	profile mediaprofile.Profile
	hosts   []string           // of the vendor
	own     message.MediaToken // zero: the files come from elsewhere
	smaller bool               // the vendor has refused what was made for it
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, convert: &shrink{}, served: map[string]func(http.ResponseWriter){}, asked: map[string]int{}, profile: mediaprofile.Defaults()[0]}
	b.desk = &desk{m: &message.Message{ID: message.NewID(), AccountID: message.NewID(), Kind: message.MMS, Status: message.StatusQueued, Body: "look"},
		files: map[string][]message.Media{}, added: map[message.ID]message.MediaFile{}, results: map[string]message.MediaFile{}, fails: map[string]error{}}
	store, err := media.Open(t.Context(), t.TempDir(), media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b.library = &media.Library{Store: store, Records: b.desk}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked[r.URL.Path]++
		if serve := b.served[r.URL.Path]; serve != nil {
			serve(w)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(s.Close)
	b.hosted = s.URL
	f := fetch.New(webhook.Policy{AllowHTTP: true, AllowLoopback: true}, fetch.Options{})
	t.Cleanup(f.Close)
	b.Activities = &Activities{Journal: b.desk, Library: b.library, Fetcher: f, Converter: b.convert, Profile: func(message.ID) mediaprofile.Profile { return b.profile }, Dir: t.TempDir(),
		Access: func(message.ID) ([]string, *fetch.Credentials) { return b.hosts, nil }, Own: func(message.ID, string) (message.MediaToken, bool) { return b.own, b.own != message.MediaToken{} }}
	b.hosts = []string{"127.0.0.1"}
	return b
}

// picture is a PNG, with so many octets behind it that no reader looks at.
func picture(t *testing.T, behind int) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, 2, 2))
	p.Set(1, 1, color.White)
	var b bytes.Buffer
	if err := png.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, behind)...)
}

// given adds a file that was uploaded.
func (b *bundle) given(octets []byte) {
	b.t.Helper()
	up, err := b.library.Receive(b.t.Context(), bytes.NewReader(octets), 10<<20)
	if err != nil {
		b.t.Fatal(err)
	}
	defer up.Close()
	f, err := up.Add(b.t.Context(), b.m.AccountID)
	if err != nil {
		b.t.Fatal(err)
	}
	b.files[""] = append(b.files[""], message.Media{Position: len(b.files[""]) + 1, File: f})
}

// named adds a file that has to be fetched.
func (b *bundle) named(path string, serve func(w http.ResponseWriter)) {
	b.files[""] = append(b.files[""], message.Media{Position: len(b.files[""]) + 1, Source: b.hosted + path})
	b.served[path] = serve
}

func octets(b []byte) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = w.Write(b) }
}

// run runs the activity as a worker does.
func (b *bundle) run() (r Result, err error) {
	b.t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(b.Activities)
	got, err := env.ExecuteActivity(b.Activities.Prepare, Input{MessageID: b.m.ID, Vendor: message.VendorRef{ID: message.NewID(), Name: "acme"}, Smaller: b.smaller})
	if err == nil {
		err = got.Get(&r)
	}
	if left, _ := os.ReadDir(b.Dir); len(left) > 0 {
		b.t.Errorf("left behind: %v", left)
	}
	return r, err
}

func (b *bundle) wants(reason message.Reason) {
	b.t.Helper()
	if r, err := b.run(); err != nil || r.Reason != reason || r.Detail == "" && reason != "" {
		b.t.Errorf("%+v, %v; want %q", r, err, reason)
	}
}

func (b *bundle) read(f message.MediaFile) []byte {
	b.t.Helper()
	r, err := b.library.Open(b.t.Context(), f)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func TestPrepare(t *testing.T) {
	b := setup(t)
	small, large := picture(t, 0), picture(t, 900_000)
	b.given(small)
	b.named("/large.png", octets(large))
	r, err := b.run()
	if err != nil || r.Reason != "" || r.Profile == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	made := b.files[r.Profile]
	if len(made) != 2 || made[0].Position != 1 || made[1].Position != 2 {
		t.Fatalf("made %+v", made)
	}
	// What fits shares the octets, what does not has its own.
	if made[0].Fetched() || made[0].File.SHA256 != sha256.Sum256(small) {
		t.Errorf("the small one: %+v", made[0])
	}
	if !made[1].Fetched() || made[1].File.Size >= int64(len(large)) || !bytes.HasPrefix(large, b.read(made[1].File)) {
		t.Errorf("the large one: %+v", made[1])
	}
	if own := b.files[""][1]; !bytes.Equal(b.read(own.File), large) {
		t.Error("the message's own is not what was fetched")
	}
	if len(b.lines) != 1 || b.lines[0].Type != message.EventMediaPrepared {
		t.Errorf("the timeline: %+v", b.lines)
	}
	// The next run finds it done.
	if again, err := b.run(); err != nil || again != r || b.convert.runs != 2 || b.asked["/large.png"] != 1 || len(b.lines) != 1 {
		t.Errorf("again: %+v, %v, %d conversions, %v", again, err, b.convert.runs, b.asked)
	}
	// Another message with the same file: nothing is converted again.
	for name := range maps.Clone(b.files) {
		if name != "" {
			delete(b.files, name)
		}
	}
	if r, err = b.run(); err != nil || b.convert.runs != 3 { // the small one is looked at, not converted
		t.Errorf("with what is known: %v, %d conversions", err, b.convert.runs)
	}
	if f := b.files[r.Profile][1]; f.Fetched() || f.File.SHA256 != made[1].File.SHA256 {
		t.Errorf("with what is known: %+v", f)
	}
}

// A run that was cut off anywhere is gone on with.
func TestCutOff(t *testing.T) {
	for _, at := range []string{"media", "fetched", "prepared"} {
		t.Run(at, func(t *testing.T) {
			b := setup(t)
			b.named("/a.png", octets(picture(t, 900_000)))
			b.fails[at] = errors.New("the database is away")
			if _, err := b.run(); err == nil {
				t.Fatal("no error")
			}
			r, err := b.run()
			if err != nil || len(b.files[r.Profile]) != 1 {
				t.Errorf("%+v, %v", r, err)
			}
			if n := b.asked["/a.png"]; at == "prepared" && n != 1 {
				t.Errorf("it was fetched %d times", n)
			}
		})
	}
}

// What a conversion gave went with its last message between the look and the commit.
func TestResultHasGone(t *testing.T) {
	b := setup(t)
	b.given(picture(t, 0))
	b.fails["prepared"] = message.Refuse(message.ReasonNotFound, "gone")
	if _, err := b.run(); err == nil {
		t.Fatal("no error: nobody would try again")
	}
	b.wants("")
}

func TestNotFetched(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter)
		want  message.Reason
	}{
		"not there": {nil, message.ReasonMediaUnavailable},
		"empty":     {octets(nil), message.ReasonMediaRejected},
		"a page":    {octets([]byte("<!DOCTYPE html><html><body>not a picture</body></html>")), message.ReasonMediaRejected},
		"too large": {octets(picture(t, MaxFile)), message.ReasonMediaRejected},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.named("/a.png", c.serve)
			b.wants(c.want)
			if b.files[""][0].Fetched() {
				t.Error("the message has it")
			}
		})
	}
	t.Run("later", func(t *testing.T) { // a host in trouble is asked again
		b := setup(t)
		b.named("/a.png", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
		if r, err := b.run(); err == nil {
			t.Fatalf("%+v: nobody would try again", r)
		}
		b.served["/a.png"] = octets(picture(t, 0))
		b.wants("")
	})
	t.Run("of an address inside", func(t *testing.T) {
		b := setup(t)
		b.files[""] = []message.Media{{Position: 1, Source: "https://169.254.169.254/latest/meta-data"}}
		b.wants(message.ReasonMediaRejected)
	})
}

func TestAsTheyAre(t *testing.T) {
	b := setup(t)
	b.m.MediaAsIs = true
	b.given(picture(t, 0))
	if r, err := b.run(); err != nil || r != (Result{}) || b.convert.runs != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	b.given(picture(t, 900_000))
	b.wants(message.ReasonMediaRejected)
}

func TestNothingToPrepare(t *testing.T) {
	b := setup(t)
	b.wants("") // it is of text alone
	b.m.Redacted = true
	b.wants(message.ReasonMediaUnavailable) // the files have gone with the text
	b.m.Status = message.StatusCanceled
	b.wants("") // the submit says that it has ended
}

// What cannot be converted is an answer; what could not be done just now is tried again.
func TestConversionFails(t *testing.T) {
	b := setup(t)
	b.given(picture(t, 0))
	b.convert.err = &transcode.Error{Reason: message.ReasonMediaRejected, Detail: "it cannot be read"}
	b.wants(message.ReasonMediaRejected)
	b.convert.err = &transcode.Error{Reason: message.ReasonMediaUnavailable, Detail: "the disk is full"}
	if r, err := b.run(); err == nil {
		t.Errorf("%+v: nobody would try again", r)
	}
}

// A profile that is changed has another name, so that nobody takes what was made for it
// before.
func TestProfileIsChanged(t *testing.T) {
	b := setup(t)
	b.given(picture(t, 0))
	first, err := b.run()
	if err != nil {
		t.Fatal(err)
	}
	b.profile.MaxSide = 640
	if second, err := b.run(); err != nil || second.Profile == first.Profile || len(b.files[second.Profile]) != 1 {
		t.Errorf("%+v, %v", second, err)
	}
}
