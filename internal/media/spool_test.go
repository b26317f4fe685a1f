package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

func TestLimit(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		for _, c := range []struct {
			size  int
			limit int64
			ok    bool
		}{
			{0, 0, true}, {1, 0, false}, {1, 1, true}, {2, 1, false},
			{chunk, chunk, true}, {chunk + 1, chunk, false}, {chunk + 2, chunk + 1, false}, {3*chunk + 1, 3*chunk + 1, true}, {10 * chunk, chunk, false},
		} {
			b := noise(c.size)
			for name, r := range map[string]io.Reader{"whole": bytes.NewReader(b), "by the byte": iotest.OneByteReader(bytes.NewReader(b)), "with the end": iotest.DataErrReader(bytes.NewReader(b))} {
				o, err := s.Put(t.Context(), r, c.limit)
				if c.ok {
					if err != nil || o.Size != int64(c.size) {
						t.Errorf("%d of %d, %s: %+v, %v", c.size, c.limit, name, o, err)
					}
					continue
				}
				var large *TooLargeError
				if !errors.Is(err, ErrTooLarge) || !errors.As(err, &large) || large.Limit != c.limit || retryable(err) {
					t.Errorf("%d of %d, %s: %v", c.size, c.limit, name, err)
				}
				if ok, _ := s.Exists(t.Context(), sha256.Sum256(b)); ok {
					t.Errorf("%d of %d is stored", c.size, c.limit)
				}
			}
		}
		if _, err := s.Put(t.Context(), strings.NewReader(""), -1); err == nil || errors.Is(err, ErrTooLarge) {
			t.Errorf("a limit below 0: %v", err)
		}
	})
	// An endless file is given up at once.
	s := open(t, t.TempDir())
	read := 0
	endless := readerFunc(func(p []byte) (int, error) { read += len(p); return len(p), nil })
	if _, err := s.Put(t.Context(), endless, 100_000); !errors.Is(err, ErrTooLarge) || read > 100_000+chunk {
		t.Errorf("%d bytes were read, %v", read, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestSpool(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		b := noise(100_000)
		p, err := s.Spool(t.Context(), bytes.NewReader(b), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		// Nothing has a name: a process that is killed here leaves nothing behind.
		if got := files(t, s.dir); len(got) != 0 {
			t.Errorf("files %v", got)
		}
		o := p.Object()
		if o.SHA256 != sha256.Sum256(b) || o.Size != 100_000 || o.ContentType != unknownType {
			t.Errorf("%+v", o)
		}
		if ok, err := s.Exists(t.Context(), o.SHA256); ok || err != nil {
			t.Errorf("it exists: %v, %v", ok, err)
		}
		one, two := p.Open(), p.Open()
		for _, r := range []io.Reader{io.LimitReader(one, 10), two, one} {
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			if err := p.Store(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := io.ReadAll(p.Open()); !errors.Is(err, os.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
		if got, err := whole(s, o.SHA256); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if got := files(t, filepath.Join(s.dir, "spool")); len(got) != 0 {
			t.Errorf("files %v", got)
		}
	})
}

func TestSpoolOpensOneFileEach(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts by /proc")
	}
	s := open(t, t.TempDir(), "k1")
	put(t, s, noise(100))
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := open()
	for _, r := range []io.Reader{
		bytes.NewReader(noise(200_000)), iotest.ErrReader(errors.New("x")), io.LimitReader(iotest.TimeoutReader(bytes.NewReader(noise(200_000))), 150_000), bytes.NewReader(noise(2 << 20)),
	} {
		o, err := s.Put(t.Context(), r, 1<<20)
		if err == nil {
			_, err = whole(s, o.SHA256)
		}
		_ = err
	}
	if _, err := s.Put(t.Context(), bytes.NewReader(noise(99)), 1<<20); err != nil {
		t.Fatal(err)
	}
	if after := open(); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

func TestReaderThatFails(t *testing.T) {
	s := open(t, t.TempDir())
	why := errors.New("the peer hung up")
	if _, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(why)), 100); !errors.Is(err, why) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if _, err := s.Put(t.Context(), readerFunc(func([]byte) (int, error) { return 0, nil }), 100); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v", err)
	}
	// A slow reader ends with ctx, at its next byte.
	ctx, cancel := context.WithCancel(t.Context())
	read := 0
	slow := readerFunc(func(p []byte) (int, error) {
		if read++; read == 5 {
			cancel()
		}
		return copy(p, "x"), nil
	})
	if _, err := s.Put(ctx, slow, 1<<20); !errors.Is(err, context.Canceled) || read != 5 {
		t.Errorf("%d reads, %v", read, err)
	}
	if got := files(t, s.dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestStoreLeavesNothingHalf(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		p, err := s.Spool(t.Context(), bytes.NewReader(noise(300_000)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Store(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		// The spool's bytes change on disk, as they do on a failing one.
		if _, err := p.file.WriteAt([]byte("other"), 200_000); err != nil {
			t.Fatal(err)
		}
		if err := p.Store(t.Context()); !errors.Is(err, ErrUnavailable) || !retryable(err) {
			t.Errorf("%v", err)
		}
		// And cannot be read in the end.
		if err := p.file.Truncate(100_000); err != nil {
			t.Fatal(err)
		}
		if err := p.Store(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.Store(t.Context()); err == nil {
			t.Error("stored after Close")
		}
		if got := files(t, s.dir); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}

func TestFullDisk(t *testing.T) {
	s := open(t, t.TempDir())
	full := func(err error) {
		t.Helper()
		if !errors.Is(err, ErrFull) || !retryable(err) || errors.Is(err, ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
	s.create = func() (*os.File, error) { return nil, &os.PathError{Op: "open", Path: "x", Err: syscall.ENOSPC} }
	_, err := s.Put(t.Context(), strings.NewReader("x"), 1)
	full(err)
	if _, err := os.Stat("/dev/full"); err == nil {
		s.create = func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
		_, err = s.Put(t.Context(), strings.NewReader("x"), 1)
		full(err)
	}
	_, err = take(t.Context(), writerFunc(func([]byte) (int, error) { return 0, syscall.EDQUOT }), strings.NewReader("x"), 1)
	full(err)
	full(storage("store media", fmt.Errorf("write: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})))
	s = open(t, t.TempDir())
	s.syncDir = func(string) error { return &os.PathError{Op: "sync", Path: "x", Err: syscall.ENOSPC} }
	_, err = s.Put(t.Context(), strings.NewReader("x"), 1)
	full(err)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestClean(t *testing.T) {
	s := open(t, t.TempDir(), "k1")
	o := put(t, s, noise(1000))
	object := pathOfObject(s, o.SHA256)
	name := strings.Repeat("ab", 32)
	half := []string{
		filepath.Join(s.dir, "plain", "ab", name+".18f2.tmp"),
		filepath.Join(filepath.Dir(object), name+".18f3.tmp"),
		filepath.Join(s.dir, "spool", spoolPrefix+"123"),
	}
	other := []string{
		filepath.Join(s.dir, "plain", "ab", "notes.tmp"),
		filepath.Join(s.dir, "spool", "notes"),
		filepath.Join(s.dir, "spool", "folder", spoolPrefix+"1"),
		filepath.Join(s.dir, name+".1.tmp"),
	}
	long := time.Now().Add(-2 * time.Hour)
	for _, path := range append(append([]string{}, half...), other...) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, []byte("half"))
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(object, long, long); err != nil {
		t.Fatal(err)
	}
	young := filepath.Join(s.dir, "plain", "ab", name+".18f4.tmp")
	writeFile(t, young, []byte("half"))

	// What is half-written is no object.
	if ok, err := s.Exists(t.Context(), [32]byte(bytes.Repeat([]byte{0xab}, 32))); ok || err != nil {
		t.Errorf("it exists: %v, %v", ok, err)
	}
	n := 0
	if err := s.List(t.Context(), time.Time{}, func([32]byte, int64, time.Time) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d objects, %v", n, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := s.Clean(ctx, time.Hour); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Clean(t.Context(), time.Hour); n != len(half) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Clean(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, path := range half {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	for _, path := range append(other, young, object) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if n, err := open(t, t.TempDir()).Clean(t.Context(), 0); n != 0 || err != nil {
		t.Errorf("an empty store: %d, %v", n, err)
	}
}
