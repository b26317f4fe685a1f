package rest

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
)

// fakeRecords keeps who has which file in memory, as the tables do.
type fakeRecords struct {
	mu      sync.Mutex
	files   map[message.ID]message.MediaFile
	ready   map[message.ID]bool
	ingress *fakeIngress // has the answers of keys
	now     func() time.Time
	err     error // of MediaReady
}

func (f *fakeRecords) AddMedia(_ context.Context, file *message.MediaFile) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file.CreatedAt = f.now()
	f.files[file.ID] = *file
	return nil
}

func (f *fakeRecords) MediaReady(_ context.Context, id message.ID, keep time.Duration, answer func(message.MediaFile) (message.Idempotency, error)) (message.MediaFile, *message.Idempotency, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.files[id]
	file.ExpiresAt = f.now().Add(keep)
	if f.err != nil {
		return file, nil, f.err
	}
	if answer != nil {
		k, err := answer(file)
		if err != nil {
			return file, nil, err
		}
		first, err := f.ingress.first(k)
		if first != nil || err != nil {
			return file, first, err
		}
		f.ingress.mu.Lock()
		f.ingress.answers[k.AccountID.String()+k.Operation+k.Key] = k
		f.ingress.mu.Unlock()
	}
	f.files[id], f.ready[id] = file, true
	return file, nil, nil
}

func (f *fakeRecords) find(is func(message.MediaFile) bool) (message.MediaFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, file := range f.files {
		if f.ready[id] && f.now().Before(file.ExpiresAt) && is(file) {
			return file, nil
		}
	}
	return message.MediaFile{}, message.Refuse(message.ReasonNotFound, "there is no such file, or it has expired")
}

func (f *fakeRecords) Media(_ context.Context, account, id message.ID) (message.MediaFile, error) {
	return f.find(func(file message.MediaFile) bool { return file.ID == id && file.AccountID == account })
}

func (f *fakeRecords) MediaByToken(_ context.Context, token message.MediaToken) (message.MediaFile, error) {
	return f.find(func(file message.MediaFile) bool { return file.Token == token })
}

func (f *fakeRecords) RemoveMedia(ctx context.Context, account, id message.ID) error {
	file, err := f.Media(ctx, account, id)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, file.ID)
	return nil
}

func (f *fakeRecords) DropMedia(context.Context, func(context.Context, [32]byte) error) (bool, error) {
	return false, nil
}

// withMedia gives the server a library: a real store in a folder, and records in memory.
func withMedia(b *bundle) *fakeRecords {
	store, err := media.Open(context.Background(), b.t.TempDir(), media.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = store.Close() })
	records := &fakeRecords{files: map[message.ID]message.MediaFile{}, ready: map[message.ID]bool{}, ingress: b.ingress, now: b.clock.now}
	b.server.Media = &media.Library{Store: store, Records: records}
	b.server.PublicURL = "https://gw.example"
	for name, c := range b.config.Credentials {
		if name != "keyRO" {
			c.Scopes = append(c.Scopes, scopeMediaWrite)
		}
	}
	return records
}

// dot is a GIF of one pixel.
const dot = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;"

// form is a body with the fields, each of which is a file, and its Content-Type.
func form(t *testing.T, fields ...string) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, name := range fields {
		part, err := w.CreateFormFile(name, "../../parcel.jpg")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, dot); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestUploadMedia(t *testing.T) {
	var records *fakeRecords
	b := setup(t, func(b *bundle) { records = withMedia(b) })
	inForm, kind := form(t, "file")
	for name, c := range map[string]struct{ body, kind string }{
		"as it is": {dot, "image/gif"}, "of no type": {dot, ""}, "of another type": {dot, "image/jpeg"},
		"as curl says": {dot, "application/x-www-form-urlencoded"}, "in a form": {inForm, kind},
	} {
		r := b.do("POST", "/v1/media", c.body, as("keyA"), header("Content-Type", c.kind))
		if r.StatusCode != 201 {
			t.Fatalf("%s: %d %s", name, r.StatusCode, r.body)
		}
		f := r.json(t)
		if f["content_type"] != "image/gif" || f["size_bytes"] != float64(len(dot)) || len(f["sha256"].(string)) != 64 || f["expires_at"] != "2026-11-28T20:15:04.310Z" {
			t.Errorf("%s: %s", name, r.body)
		}
		if at := r.Header.Get("Location"); at != "/v1/media/"+f["id"].(string) {
			t.Errorf("%s: Location %q", name, at)
		}
		if got := b.do("GET", r.Header.Get("Location"), "", as("keyA")); got.StatusCode != 200 || !bytes.Equal(got.body, r.body) {
			t.Errorf("%s: read: %d %s, want %s", name, got.StatusCode, got.body, r.body)
		}
	}
	if n := len(records.files); n != 5 {
		t.Errorf("%d files", n)
	}
}

// What is no file that can be sent is refused, and why.
func TestUploadMediaRefused(t *testing.T) {
	b := setup(t, func(b *bundle) { withMedia(b) })
	two, twoKind := form(t, "file", "file")
	other, otherKind := form(t, "picture")
	none, noneKind := form(t)
	whole, wholeKind := form(t, "file")
	for name, c := range map[string]struct {
		body, kind string
		status     int
		code       message.Reason
		says       string
	}{
		"empty":                 {"", "image/gif", 422, message.ReasonInvalidRequest, "empty"},
		"a page":                {"<!doctype html><html><script>x</script></html>", "image/gif", 422, message.ReasonMediaRejected, "text/html"},
		"a program":             {"MZ" + strings.Repeat("\x00\x90", 200), "image/gif", 422, message.ReasonMediaRejected, "by its content"},
		"a picture of scripts":  {`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`, "image/svg+xml", 422, message.ReasonMediaRejected, "svg"},
		"a playlist":            {"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "audio/mpeg", 422, message.ReasonMediaRejected, "by its content"},
		"too large":             {dot + strings.Repeat("x", maxUpload), "image/gif", 413, message.ReasonPayloadTooLarge, "10485760"},
		"two files":             {two, twoKind, 422, message.ReasonInvalidRequest, "second field"},
		"another field":         {other, otherKind, 422, message.ReasonInvalidRequest, "named file"},
		"no field":              {none, noneKind, 422, message.ReasonInvalidRequest, "no field"},
		"a form without a mark": {whole, "multipart/form-data", 422, message.ReasonInvalidRequest, "boundary"},
		"a form cut off":        {whole[:len(whole)-20], wholeKind, 422, message.ReasonInvalidRequest, "end"},
	} {
		r := b.do("POST", "/v1/media", c.body, as("keyA"), header("Content-Type", c.kind))
		if p := wantProblem(t, r, c.status, c.code); !strings.Contains(p["detail"].(string), c.says) {
			t.Errorf("%s: %q, want it to say %q", name, p["detail"], c.says)
		}
		b.clock.advance(time.Second)
	}
	wantProblem(t, b.do("POST", "/v1/media", dot, as("keyRO")), 403, message.ReasonForbidden)
	wantProblem(t, b.do("POST", "/v1/media", dot), 401, message.ReasonUnauthenticated)
	bare := setup(t, func(b *bundle) { withMedia(b); b.server.Media = nil })
	wantProblem(t, bare.do("POST", "/v1/media", dot, as("keyA")), 503, message.ReasonUnavailable)
}

// The same key and file get the first answer, in a form as well, whose boundary is
// another one each time.
func TestUploadMediaAgain(t *testing.T) {
	var records *fakeRecords
	b := setup(t, func(b *bundle) { records = withMedia(b) })
	upload := func() *reply {
		body, kind := form(t, "file")
		return b.do("POST", "/v1/media", body, as("keyA"), header("Content-Type", kind), header("Idempotency-Key", "picture-1"))
	}
	first := upload()
	again := upload()
	if first.StatusCode != 201 || again.StatusCode != 201 || !bytes.Equal(first.body, again.body) || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s, again %d %s", first.StatusCode, first.body, again.StatusCode, again.body)
	}
	if at := again.Header.Get("Location"); at == "" || at != first.Header.Get("Location") {
		t.Errorf("Location %q, again %q", first.Header.Get("Location"), at)
	}
	if len(records.ready) != 1 {
		t.Errorf("%d files", len(records.ready))
	}
	r := b.do("POST", "/v1/media", dot+" ", as("keyA"), header("Idempotency-Key", "picture-1"))
	wantProblem(t, r, 422, message.ReasonIdempotencyMismatch)
}

// Files of an account that come in at a time are bounded, and others are not held up.
func TestUploadsAtOnce(t *testing.T) {
	b := setup(t, func(b *bundle) { withMedia(b) })
	var feet []*io.PipeWriter
	var answers sync.WaitGroup
	for range uploadsAtOnce {
		r, w := io.Pipe()
		feet = append(feet, w)
		answers.Go(func() {
			req, err := http.NewRequest("POST", b.base+"/v1/media", r)
			if err != nil {
				t.Error(err)
				return
			}
			as("keyA")(req)
			answer, err := b.client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
			if answer.StatusCode != 201 {
				t.Errorf("one of those under way: %d", answer.StatusCode)
			}
		})
		if _, err := io.WriteString(w, dot); err != nil { // the server reads it when the upload has begun
			t.Fatal(err)
		}
	}
	for b.server.uploads.of(accountA) < uploadsAtOnce {
		runtime.Gosched() // until they have begun
	}
	wantProblem(t, b.do("POST", "/v1/media", dot, as("keyA")), 429, message.ReasonRateLimitExceeded)
	if r := b.do("POST", "/v1/media", dot, as("keyB")); r.StatusCode != 201 {
		t.Errorf("another account: %d %s", r.StatusCode, r.body)
	}
	for _, w := range feet {
		_ = w.Close()
	}
	answers.Wait()
	if n := b.server.uploads.of(accountA); n != 0 {
		t.Errorf("%d are under way", n)
	}
	if r := b.do("POST", "/v1/media", dot, as("keyA")); r.StatusCode != 201 {
		t.Errorf("after them: %d %s", r.StatusCode, r.body)
	}
}

func (u *uploads) of(account message.ID) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.open[account]
}

func TestReadMedia(t *testing.T) {
	b := setup(t, func(b *bundle) { withMedia(b) })
	f := b.do("POST", "/v1/media", dot, as("keyA")).json(t)
	link, ok := strings.CutPrefix(f["url"].(string), "https://gw.example")
	if !ok || !strings.HasSuffix(link, ".gif") {
		t.Fatal(f["url"])
	}
	bare := strings.TrimSuffix(link, ".gif")
	for _, path := range []string{link, bare, bare + ".anything", strings.ReplaceAll(bare, "-", "")} {
		r := b.do("GET", path, "", header("Accept", "image/*"))
		if r.StatusCode != 200 || string(r.body) != dot {
			t.Fatalf("%s: %d %q", path, r.StatusCode, r.body)
		}
		for name, want := range map[string]string{"Content-Type": "image/gif", "X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment; filename=media-1.gif",
			"Accept-Ranges": "bytes", "Etag": `"` + f["sha256"].(string) + `"`, "Content-Length": "42"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
	}
	if r := b.do("HEAD", link, ""); r.StatusCode != 200 || len(r.body) != 0 || r.ContentLength != int64(len(dot)) {
		t.Errorf("HEAD: %d, %d octets of %d", r.StatusCode, len(r.body), r.ContentLength)
	}
	if r := b.do("GET", link, "", header("Range", "bytes=3-5")); r.StatusCode != 206 || string(r.body) != "89a" {
		t.Errorf("a range: %d %q", r.StatusCode, r.body)
	}
	if r := b.do("GET", link, "", header("Range", "bytes=100-")); r.StatusCode != 416 {
		t.Errorf("a range beyond the end: %d", r.StatusCode)
	}
	if r := b.do("GET", link, "", header("If-None-Match", `"`+f["sha256"].(string)+`"`)); r.StatusCode != 304 {
		t.Errorf("known: %d", r.StatusCode)
	}
	if r := b.do("GET", link, "", header("Range", "bytes=-3")); r.StatusCode != 206 || string(r.body) != dot[len(dot)-3:] || r.Header.Get("Content-Range") != "bytes 39-41/42" {
		t.Errorf("the end: %d %q %q", r.StatusCode, r.body, r.Header.Get("Content-Range"))
	}
	if r := b.do("GET", link, "", header("Range", "bytes=0-2,3-5")); r.StatusCode != 206 || !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/byteranges") || !bytes.Contains(r.body, []byte("\r\n\r\n89a\r\n")) {
		t.Errorf("two ranges: %d %q", r.StatusCode, r.body)
	}
	if r := b.do("GET", link, "", header("Range", "bytes=0-0"+strings.Repeat(",1-1", maxRanges))); r.StatusCode != 200 || string(r.body) != dot {
		t.Errorf("more ranges than are read: %d, %d octets", r.StatusCode, len(r.body))
	}
	etag := `"` + f["sha256"].(string) + `"`
	if r := b.do("GET", link, "", header("If-None-Match", `"other", W/`+etag)); r.StatusCode != 304 || len(r.body) != 0 {
		t.Errorf("known by a list: %d", r.StatusCode)
	}
	if r := b.do("GET", link, "", header("Range", "bytes=3-5"), header("If-Range", `"other"`)); r.StatusCode != 200 || string(r.body) != dot {
		t.Errorf("a range of another file: %d %q", r.StatusCode, r.body)
	}
	if r := b.do("GET", link, "", header("Range", "bytes=3-5"), header("If-Range", etag)); r.StatusCode != 206 || string(r.body) != "89a" {
		t.Errorf("a range of this file: %d %q", r.StatusCode, r.body)
	}
	text := b.do("POST", "/v1/media", "Grüße", as("keyA")).json(t)
	if r := b.do("GET", strings.TrimPrefix(text["url"].(string), "https://gw.example"), ""); r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("text: %q", r.Header.Get("Content-Type"))
	}
}

// What there is not, what was removed and what has expired are all the same.
func TestReadMediaGone(t *testing.T) {
	b := setup(t, func(b *bundle) { withMedia(b) })
	upload := func() (id, link string) {
		f := b.do("POST", "/v1/media", dot, as("keyA")).json(t)
		return f["id"].(string), strings.TrimPrefix(f["url"].(string), "https://gw.example")
	}
	removed, removedLink := upload()
	if r := b.do("DELETE", "/v1/media/"+removed, "", as("keyA")); r.StatusCode != 204 || len(r.body) != 0 {
		t.Fatalf("DELETE: %d %s", r.StatusCode, r.body)
	}
	wantProblem(t, b.do("DELETE", "/v1/media/"+removed, "", as("keyA")), 404, message.ReasonNotFound)
	expired, expiredLink := upload()
	b.clock.advance(message.MediaKept)
	said := map[string]bool{}
	for _, path := range []string{removedLink, expiredLink, "/media/" + removed, "/media/" + message.NewMediaToken().String(), "/media/x", "/media/.gif", "/media/..%2f..%2fkeys"} {
		said[wantProblem(t, b.do("GET", path, ""), 404, message.ReasonNotFound)["detail"].(string)] = true
	}
	for _, id := range []string{removed, expired, message.NewID().String(), "x"} {
		said[wantProblem(t, b.do("GET", "/v1/media/"+id, "", as("keyA")), 404, message.ReasonNotFound)["detail"].(string)] = true
	}
	if len(said) != 1 {
		t.Errorf("%v", said)
	}
	if r := b.do("POST", removedLink, dot); r.StatusCode != 405 {
		t.Errorf("POST: %d", r.StatusCode)
	}
}
