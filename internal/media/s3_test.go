package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeS3 is as much of S3 as the store uses: one bucket with path-style names, whole
// and ranged GET, HEAD, PUT in one or in parts, DELETE, ListObjectsV2 in small pages.
type fakeS3 struct {
	t  *testing.T
	mu sync.Mutex

	objects map[string][]byte         // guarded by mu
	parts   map[string]map[int][]byte // of uploads; guarded by mu
	calls   map[string]int            // by method; guarded by mu
	// before looks at each request first; true says that it answered. Called with mu held.
	before func(w http.ResponseWriter, r *http.Request, key string) bool
}

// s3 starts a server and gives the location of its bucket.
func s3(t *testing.T) (*fakeS3, string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir()) // the spool: what other processes left in the system's is not ours to count
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	f := &fakeS3{t: t, objects: map[string][]byte{}, parts: map[string]map[int][]byte{}, calls: map[string]int{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, "s3://media?region=us-east-1&s3ForcePathStyle=true&endpoint=" + url.QueryEscape(srv.URL)
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[r.Method]++
	key, ok := strings.CutPrefix(r.URL.Path, "/media/")
	if !ok {
		key = ""
		if r.URL.Path != "/media" {
			f.t.Errorf("%s %s", r.Method, r.URL.Path)
		}
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential=key/") {
		f.t.Errorf("%s is not signed: %q", r.Method, r.Header.Get("Authorization"))
	}
	if f.before != nil && f.before(w, r, key) {
		return
	}
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && key == "":
		f.list(w, query)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		b, ok := f.objects[key]
		if !ok {
			refuse(w, 404, "NoSuchKey")
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%08x"`, crc32.ChecksumIEEE(b)))
		http.ServeContent(w, r, "", time.Now(), bytes.NewReader(b))
	case r.Method == http.MethodPost && query.Has("uploads"):
		id := "upload-" + strconv.Itoa(len(f.parts))
		f.parts[id] = map[int][]byte{}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case r.Method == http.MethodPost:
		parts := f.parts[query.Get("uploadId")]
		f.objects[key] = nil
		for _, n := range slices.Sorted(maps.Keys(parts)) {
			f.objects[key] = append(f.objects[key], parts[n]...)
		}
		io.WriteString(w, "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
	case r.Method == http.MethodPut:
		b, err := io.ReadAll(r.Body)
		if err != nil || strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING") {
			f.t.Errorf("a body that the fake does not read: %v, %v", r.Header, err)
		}
		if n, err := strconv.Atoi(query.Get("partNumber")); err == nil {
			f.parts[query.Get("uploadId")][n] = b
		} else {
			f.objects[key] = b
		}
		w.Header().Set("ETag", `"x"`)
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(204)
	default:
		f.t.Errorf("%s %s", r.Method, r.URL)
		refuse(w, 501, "NotImplemented")
	}
}

// list answers ListObjectsV2 in pages of three.
func (f *fakeS3) list(w http.ResponseWriter, query url.Values) {
	type object struct {
		Key          string
		LastModified string
		Size         int
	}
	type prefix struct{ Prefix string }
	var answer struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []object
		CommonPrefixes        []prefix
	}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		rest, ok := strings.CutPrefix(key, query.Get("prefix"))
		if !ok || key <= query.Get("continuation-token") {
			continue
		}
		if len(answer.Contents) == 3 {
			answer.IsTruncated, answer.NextContinuationToken = true, answer.Contents[2].Key
			break
		}
		if dir, _, ok := strings.Cut(rest, "/"); ok && query.Get("delimiter") == "/" {
			if p := (prefix{query.Get("prefix") + dir + "/"}); !slices.Contains(answer.CommonPrefixes, p) {
				answer.CommonPrefixes = append(answer.CommonPrefixes, p)
			}
			continue
		}
		answer.Contents = append(answer.Contents, object{key, time.Now().UTC().Format(time.RFC3339), len(f.objects[key])})
	}
	if err := xml.NewEncoder(w).Encode(answer); err != nil {
		f.t.Error(err)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

func TestS3(t *testing.T) {
	f, location := s3(t)
	// The last is sent in parts.
	sizes := []int{0, 1, packagePlain, packagePlain + 1, 200_000, 17 << 20}
	for _, s := range []*Store{open(t, location), open(t, location, "k1")} {
		want := map[[32]byte]int64{}
		for _, n := range sizes {
			b := noise(n)
			o := put(t, s, b)
			want[o.SHA256] = o.Size
			puts := f.calls[http.MethodPut]
			if again := put(t, s, b); again != o || f.calls[http.MethodPut] != puts {
				t.Errorf("%d bytes are stored twice", n)
			}
			if got, err := whole(s, o.SHA256); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes: %d came back, %v", n, len(got), err)
			}
			if got, size, err := get(s, o.SHA256, int64(n/2), int64(n/3)); err != nil || size != int64(n) || !bytes.Equal(got, b[n/2:n/2+n/3]) {
				t.Errorf("a part of %d bytes: %d came back, %v", n, len(got), err)
			}
			if got, _, err := get(s, o.SHA256, int64(n), -1); err != nil || len(got) != 0 {
				t.Errorf("the end of %d bytes: %v", n, err)
			}
			rs, size, err := s.ReadSeeker(t.Context(), o.SHA256)
			if err != nil || size != int64(n) {
				t.Fatalf("%d, %v", size, err)
			}
			if _, err := rs.Seek(int64(n/2), io.SeekStart); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(rs); err != nil || !bytes.Equal(got, b[n/2:]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			rs.Close()
		}
		if got, err := listed(s, time.Time{}); err != nil || s.sealer == nil && !maps.Equal(got, want) || s.sealer != nil && len(got) != len(want) {
			t.Errorf("%d objects, want %d, %v", len(got), len(want), err)
		}
		if n, err := s.Clean(t.Context(), time.Hour); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if len(f.parts) != 2 {
		t.Errorf("%d uploads in parts", len(f.parts))
	}
	s := open(t, location, "k2", "k1")
	for _, n := range sizes {
		sha := sha256.Sum256(noise(n))
		if ok, err := s.Exists(t.Context(), sha); !ok || err != nil {
			t.Errorf("%d bytes: exists %v, %v", n, ok, err)
		}
		for range 2 {
			if err := s.Delete(t.Context(), sha); err != nil {
				t.Error(err)
			}
		}
		if _, err := whole(s, sha); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if len(f.objects) != 0 {
		t.Errorf("%d objects are left", len(f.objects))
	}
}

// No more uploads run at a time than there is memory for.
func TestUploadsTakeTurns(t *testing.T) {
	_, location := s3(t)
	s := open(t, location)
	for range maxUploads {
		s.turns <- struct{}{}
	}
	p, err := s.Spool(t.Context(), strings.NewReader("x"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stored := make(chan error)
	go func() { stored <- p.Store(ctx) }()
	<-s.turns
	if err := <-stored; err != nil || len(s.turns) != maxUploads-1 {
		t.Errorf("%d turns are taken, %v", len(s.turns), err)
	}
	s.turns <- struct{}{}
	q, err := s.Spool(t.Context(), strings.NewReader("y"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	go func() { stored <- q.Store(ctx) }()
	cancel()
	if err := <-stored; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Many objects in one part of the names, so that a listing has pages.
func TestS3ListsInPages(t *testing.T) {
	f, location := s3(t)
	for i := range 20 {
		f.objects["plain/ab/ab"+strings.Repeat("0", 60)+fmt.Sprintf("%02x", i)] = []byte("x")
	}
	f.objects["plain/ab/notes"] = nil
	if got, err := listed(open(t, location), time.Time{}); err != nil || len(got) != 20 {
		t.Errorf("%d objects, %v", len(got), err)
	}
}

func TestS3Fails(t *testing.T) {
	f, location := s3(t)
	s := open(t, location, "k1")
	b := noise(3 * packagePlain)
	o := put(t, s, b)

	// A connection that breaks within the body is no damage.
	for _, keep := range []int{10, headerSize - 1, 100, packageSealed + 5} {
		f.before = func(w http.ResponseWriter, r *http.Request, key string) bool {
			if header := r.Header.Get("Range") == "bytes=0-159"; r.Method != http.MethodGet || header != (keep < headerSize && keep != 100) {
				return false
			}
			stored := f.objects[key]
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(stored)-1, len(stored)))
			w.Header().Set("Content-Length", strconv.Itoa(len(stored)))
			w.WriteHeader(206)
			if keep > headerSize {
				stored = stored[headerSize:]
			}
			w.Write(stored[:keep])
			return true
		}
		got, err := whole(s, o.SHA256)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrDamaged) || !retryable(err) || !bytes.HasPrefix(b, got) {
			t.Errorf("%d bytes came: %v", keep, err)
		}
	}

	// One that has become shorter is.
	f.before = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		refuse(w, 416, "InvalidRange")
		return true
	}
	if _, err := whole(s, o.SHA256); !errors.Is(err, ErrDamaged) || retryable(err) {
		t.Errorf("%v", err)
	}

	for _, c := range []struct {
		status int
		code   string
		want   error
	}{{507, "XMinioStorageFull", ErrFull}, {403, "AccessDenied", ErrUnavailable}} {
		f.before = func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if r.Method == http.MethodPut {
				refuse(w, c.status, c.code)
			}
			return r.Method == http.MethodPut
		}
		_, err := s.Put(t.Context(), strings.NewReader("new"), 10)
		if !errors.Is(err, c.want) || !retryable(err) {
			t.Errorf("%d: %v", c.status, err)
		}
	}
	f.before = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		refuse(w, 403, "AccessDenied")
		return true
	}
	_, errRead := whole(s, o.SHA256)
	_, errExists := s.Exists(t.Context(), o.SHA256)
	_, errList := listed(s, time.Time{})
	_, errPut := s.Put(t.Context(), strings.NewReader("new"), 10)
	for i, err := range []error{errRead, errExists, errList, errPut, s.Delete(t.Context(), o.SHA256)} {
		if !errors.Is(err, ErrUnavailable) || !retryable(err) || errors.Is(err, ErrNotFound) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Between the header and the packages somebody stores the same file again.
func TestStoredAnewWhileItIsRead(t *testing.T) {
	f, location := s3(t)
	s := open(t, location, "k1")
	b := noise(100_000)
	o := put(t, s, b)
	key := s.places(o.SHA256)[0].key
	first := f.objects[key]
	delete(f.objects, key)
	put(t, s, b)
	if bytes.Equal(first, f.objects[key]) {
		t.Fatal("both are sealed by one key")
	}
	reads := 0
	f.before = func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		if reads++; reads == 2 {
			f.objects[key] = first
		}
		return false
	}
	if got, err := whole(s, o.SHA256); err != nil || !bytes.Equal(got, b) || reads != 4 {
		t.Errorf("%d reads, %d bytes, %v", reads, len(got), err)
	}
	// An object that is damaged for good does not keep anybody for ever.
	f.objects[key][200] ^= 1
	reads = 10
	if _, err := whole(s, o.SHA256); !errors.Is(err, ErrDamaged) || reads != 10+2*sealedTries {
		t.Errorf("%d reads, %v", reads-10, err)
	}
}
