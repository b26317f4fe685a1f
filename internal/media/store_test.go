package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func asRetryable(err error, e *interface{ Retryable() bool }) bool { return errors.As(err, e) }

func TestPutAndRead(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		for _, n := range []int{0, 1, packagePlain - 1, packagePlain, packagePlain + 1, 3*packagePlain + 17} {
			b := noise(n)
			o := put(t, s, b)
			if o.SHA256 != sha256.Sum256(b) || o.Size != int64(n) || o.Hex() != hex.EncodeToString(o.SHA256[:]) {
				t.Errorf("%d bytes: %+v", n, o)
			}
			if ok, err := s.Exists(t.Context(), o.SHA256); !ok || err != nil {
				t.Errorf("%d bytes: exists %v, %v", n, ok, err)
			}
			if got, err := whole(s, o.SHA256); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes: %d came back, %v", n, len(got), err)
			}
			for range 2 { // what is not there is deleted already
				if err := s.Delete(t.Context(), o.SHA256); err != nil {
					t.Fatal(err)
				}
			}
			if ok, err := s.Exists(t.Context(), o.SHA256); ok || err != nil {
				t.Errorf("%d bytes: exists %v, %v after it was deleted", n, ok, err)
			}
			if _, err := whole(s, o.SHA256); !errors.Is(err, ErrNotFound) || retryable(err) {
				t.Errorf("%d bytes: %v", n, err)
			}
			if _, _, err := s.ReadSeeker(t.Context(), o.SHA256); !errors.Is(err, ErrNotFound) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		if left := files(t, s.dir); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func TestNamesAndBytes(t *testing.T) {
	text := []byte(strings.Repeat("the text of a message that nobody else reads. ", 100))
	clear := open(t, t.TempDir())
	o := put(t, clear, text)
	name := filepath.Join("plain", o.Hex()[:2], o.Hex())
	if got := files(t, clear.dir); len(got) != 1 || got[0] != name {
		t.Errorf("files %v, want %s", got, name)
	}
	if b, err := os.ReadFile(filepath.Join(clear.dir, name)); err != nil || !bytes.Equal(b, text) {
		t.Errorf("%d bytes, %v", len(b), err)
	}

	sealed := open(t, t.TempDir(), "k1")
	put(t, sealed, text)
	got := files(t, sealed.dir)
	if len(got) != 1 || !strings.HasPrefix(got[0], filepath.Join("sealed", "k1")+string(filepath.Separator)) || strings.Contains(got[0], o.Hex()) {
		t.Errorf("files %v", got)
	}
	b, err := os.ReadFile(filepath.Join(sealed.dir, got[0]))
	if err != nil || bytes.Contains(b, text[:16]) || bytes.Contains(b, o.SHA256[:]) {
		t.Errorf("what is stored shows what it is: %v", err)
	}
	if int64(len(b)) != sealedSize(o.Size) || !bytes.HasPrefix(b, []byte(magic)) {
		t.Errorf("%d bytes are stored", len(b))
	}
	for _, dir := range []string{clear.dir, filepath.Join(clear.dir, "plain"), filepath.Join(clear.dir, "spool"), filepath.Dir(filepath.Join(sealed.dir, got[0]))} {
		if info, err := os.Stat(dir); err != nil || dir != clear.dir && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}

// A plain object that looks like a sealed one is what it is.
func TestPlainThatBeginsAsSealed(t *testing.T) {
	dir := t.TempDir()
	sealed := open(t, dir, "k1")
	o := put(t, sealed, noise(100))
	b, err := os.ReadFile(pathOfObject(sealed, o.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	clear := open(t, dir)
	of := put(t, clear, b)
	for _, s := range []*Store{clear, sealed} {
		if got, err := whole(s, of.SHA256); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

func TestSameBytesAreStoredOnce(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		b := noise(100_000)
		o := put(t, s, b)
		before, err := os.Stat(pathOfObject(s, o.SHA256))
		if err != nil {
			t.Fatal(err)
		}
		if again := put(t, s, b); again != o {
			t.Errorf("%+v, then %+v", o, again)
		}
		after, err := os.Stat(pathOfObject(s, o.SHA256))
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("it was written again: %v", err)
		}
	})
}

func TestManyPutTheSame(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		b := noise(200_000)
		sha := sha256.Sum256(b)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				<-start
				if _, err := s.Put(t.Context(), bytes.NewReader(b), 1<<20); err != nil {
					t.Error(err)
				}
				if got, err := whole(s, sha); err != nil || !bytes.Equal(got, b) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		close(start)
		wg.Wait()
		if got := files(t, s.dir); len(got) != 1 {
			t.Errorf("files %v", got)
		}
	})
}

// The bytes of an object are on disk before anybody sees its name.
func TestBytesAreSyncedFirst(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		b := noise(100_000)
		path, synced := pathOfObject(s, sha256.Sum256(b)), 0
		s.syncFile = func(f *os.File) error {
			synced++
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the object has its name: %v", err)
			}
			want := int64(len(b))
			if s.sealer != nil {
				want = sealedSize(want)
			}
			if info, err := f.Stat(); err != nil || info.Size() != want {
				t.Errorf("synced %v, %v; want %d bytes", info, err, want)
			}
			return syncFile(f)
		}
		put(t, s, b)
		put(t, s, b)
		if synced != 1 {
			t.Errorf("synced %d times", synced)
		}
		s.syncFile = func(*os.File) error { return errors.New("no sync") }
		if _, err := s.Put(t.Context(), strings.NewReader("x"), 1); !errors.Is(err, ErrUnavailable) || !retryable(err) {
			t.Errorf("a sync that failed: %v", err)
		}
		if got := files(t, s.dir); len(got) != 1 {
			t.Errorf("files %v", got)
		}
	})
	if syncFile(nil) == nil {
		t.Error("a file that is not known is synced")
	}
}

// The name of an object is on disk when Store returns, whoever stored it: its folder and
// those above it were synced, in that order.
func TestFoldersAreSynced(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		for _, when := range []string{"stored", "there already"} {
			var synced []string
			s.syncDir = func(dir string) error {
				if _, err := os.Stat(pathOfObject(s, sha256.Sum256([]byte("x")))); err != nil {
					t.Errorf("synced before the object was there: %v", err)
				}
				synced = append(synced, dir)
				return syncDir(dir)
			}
			o := put(t, s, []byte("x"))
			want := []string{}
			for dir := filepath.Dir(pathOfObject(s, o.SHA256)); len(dir) >= len(s.dir); dir = filepath.Dir(dir) {
				want = append(want, dir)
			}
			if strings.Join(synced, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: synced %v, want %v", when, synced, want)
			}
		}
		s.syncDir = func(string) error { return errors.New("no sync") }
		if _, err := s.Put(t.Context(), strings.NewReader("x"), 1); !errors.Is(err, ErrUnavailable) || !retryable(err) {
			t.Errorf("a sync that failed: %v", err)
		}
	})
}

func TestRanges(t *testing.T) {
	sizes := []int{1, 1000, packagePlain - 1, packagePlain, packagePlain + 1, 2*packagePlain - 1, 2 * packagePlain, 3*packagePlain + 17}
	bothKinds(t, func(t *testing.T, s *Store) {
		shas := map[int][32]byte{}
		for _, n := range sizes {
			shas[n] = put(t, s, noise(n)).SHA256
		}
		rapid.Check(t, func(t *rapid.T) {
			n := rapid.SampledFrom(sizes).Draw(t, "size")
			near := func(name string) int64 { // some place, or one at a border of packages
				at := rapid.OneOf(rapid.IntRange(0, n), rapid.Map(rapid.IntRange(-3, 12), func(i int) int {
					return i/3*packagePlain + i%3 - 1
				})).Draw(t, name)
				return int64(min(max(at, 0), n))
			}
			offset := near("offset")
			length := near("end") - offset
			if length < 0 || rapid.IntRange(0, 9).Draw(t, "to the end") == 0 {
				length = -1
			}
			want := noise(n)[offset:]
			if length >= 0 {
				want = want[:length]
			}
			got, size, err := get(s, shas[n], offset, length)
			if err != nil || size != int64(n) || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes from %d of %d: %d came, size %d, %v", length, offset, n, len(got), size, err)
			}
		})
		n := sizes[len(sizes)-1]
		if got, _, err := get(s, shas[n], 5, 1<<40); err != nil || len(got) != n-5 {
			t.Errorf("beyond the end: %d bytes, %v", len(got), err)
		}
		for _, offset := range []int64{-1, int64(n) + 1} {
			if _, _, err := get(s, shas[n], offset, 1); err == nil {
				t.Errorf("the offset %d passes", offset)
			}
		}
	})
}

func TestReadSeeker(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		b := noise(3*packagePlain + 17)
		o := put(t, s, b)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rs, size, err := s.ReadSeeker(r.Context(), o.SHA256)
			if err != nil || size != o.Size {
				t.Errorf("size %d, %v", size, err)
				return
			}
			defer rs.Close()
			w.Header().Set("ETag", `"`+o.Hex()+`"`)
			w.Header().Set("Content-Type", o.ContentType)
			http.ServeContent(w, r, "", time.Time{}, rs)
		}))
		defer srv.Close()
		for _, c := range []struct {
			ranges string
			status int
			want   []byte
		}{
			{"", 200, b},
			{"bytes=0-", 206, b},
			{"bytes=65535-65537", 206, b[65535:65538]},
			{"bytes=-17", 206, b[len(b)-17:]},
			{"bytes=9999999-", 416, nil},
		} {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
			if c.ranges != "" {
				r.Header.Set("Range", c.ranges)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != c.status || err != nil || c.want != nil && !bytes.Equal(got, c.want) {
				t.Errorf("%q: %d, %d bytes, %v", c.ranges, answer.StatusCode, len(got), err)
			}
		}
	})
}

func TestSeek(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		b := noise(packagePlain + 100)
		rs, _, err := s.ReadSeeker(t.Context(), put(t, s, b).SHA256)
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Close()
		rapid.Check(t, func(t *rapid.T) {
			model := bytes.NewReader(b)
			if _, err := rs.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(1, 8).Draw(t, "steps") {
				if rapid.Bool().Draw(t, "seek") {
					offset, whence := rapid.Int64Range(-100, int64(len(b))+100).Draw(t, "offset"), rapid.IntRange(0, 3).Draw(t, "whence")
					want, wantErr := model.Seek(offset, whence)
					got, err := rs.Seek(offset, whence)
					if (err == nil) != (wantErr == nil) || err == nil && got != want {
						t.Fatalf("Seek(%d, %d) = %d, %v; want %d, %v", offset, whence, got, err, want, wantErr)
					}
					continue
				}
				n := rapid.IntRange(0, 1000).Draw(t, "read")
				want, got := make([]byte, n), make([]byte, n)
				n1, err1 := io.ReadFull(model, want)
				n2, err2 := io.ReadFull(rs, got)
				if n1 != n2 || !errors.Is(err2, err1) || !bytes.Equal(want[:n1], got[:n2]) {
					t.Fatalf("read %d, %v; want %d, %v", n2, err2, n1, err1)
				}
			}
		})
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ location, says string }{
		{"", "give a folder"},
		{"gs://bucket", `"gs"`},
		{"mem://", `"mem"`},
		{"file://", "absolute path"},
		{"file://elsewhere/x", "absolute path"},
		{"file:///x?metadata=skip", "absolute path"},
		{"file:///%zz", "cannot be read"},
		{"s3://", "cannot be read"},
		{"s3://key:hunter2@bucket?region=us-east-1", "AWS_ACCESS_KEY_ID"},
		{"s3://bucket/prefix?region=us-east-1", "prefix="},
		{"s3://bucket?regoin=us-east-1", "regoin"},
		{file, "not a directory"},
	} {
		s, err := Open(t.Context(), c.location, Options{})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", c.location, err)
		}
		if s != nil {
			t.Errorf("%q: a store", c.location)
		}
	}
	for _, location := range []string{filepath.Join(dir, "a", "b"), "file://" + filepath.Join(dir, "c"), "file://localhost" + filepath.Join(dir, "a", "b")} {
		s, err := Open(t.Context(), location, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(s.dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", location, info, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(t.Context(), t.TempDir(), Options{SpoolDir: filepath.Join(file, "x")}); err == nil {
		t.Error("a spool within a file")
	}
}

func TestKeysChange(t *testing.T) {
	dir := t.TempDir()
	plain, one := open(t, dir), open(t, dir, "k1")
	b1, b2 := noise(100_001), noise(100_002)
	early := put(t, plain, b1)
	first := put(t, one, b2)
	two := open(t, dir, "k2", "k1")
	for _, c := range []struct {
		s    *Store
		o    Object
		want []byte
		err  error
	}{
		{plain, early, b1, nil},
		{one, early, b1, nil},
		{one, first, b2, nil},
		{two, early, b1, nil},
		{two, first, b2, nil},
		{plain, first, nil, ErrNotFound},
		{open(t, dir, "k2"), first, nil, ErrUnknownKey},
		{open(t, dir, "k2"), early, b1, nil},
	} {
		got, err := whole(c.s, c.o.SHA256)
		if !errors.Is(err, c.err) || c.err == nil && err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%d bytes, %v; want %d, %v", len(got), err, len(c.want), c.err)
		}
	}
	_, err := whole(open(t, dir, "k2"), first.SHA256)
	if !strings.Contains(err.Error(), `"k1"`) || !retryable(err) {
		t.Errorf("a ring that lacks a key: %v", err)
	}
	if _, err := whole(two, sha256.Sum256(nil)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a whole ring: %v", err)
	}
	// What comes in again is sealed anew, under the current key.
	put(t, two, b1)
	put(t, two, b2)
	if got := files(t, filepath.Join(dir, "sealed", "k2")); len(got) != 2 {
		t.Errorf("files %v", got)
	}
	for _, o := range []Object{early, first} {
		if err := two.Delete(t.Context(), o.SHA256); err != nil {
			t.Error(err)
		}
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	// A ring of the same name with another key opens nothing, and says so.
	other := open(t, dir, "k1")
	o := put(t, one, b1)
	other.sealer = newSealer(keyring(t, "k9"))
	other.sealer.names = one.sealer.names
	if _, err := whole(other, o.SHA256); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a header of an unknown key: %v", err)
	}
}

func TestUnavailable(t *testing.T) {
	s := open(t, t.TempDir())
	o := Object{SHA256: sha256.Sum256([]byte("x"))}
	if err := os.MkdirAll(filepath.Join(s.dir, "plain"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A file where a folder should be.
	if err := os.WriteFile(filepath.Join(s.dir, "plain", o.Hex()[:2]), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), strings.NewReader("x"), 1); !errors.Is(err, ErrUnavailable) || !retryable(err) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, strings.NewReader("x"), 1); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
