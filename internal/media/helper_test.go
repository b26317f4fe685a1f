package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/secret"
)

func keyring(t testing.TB, ids ...string) *secret.Keyring {
	t.Helper()
	var entries []string
	for _, id := range ids {
		key := sha256.Sum256([]byte("a key for tests: " + id))
		entries = append(entries, id+":"+base64.StdEncoding.EncodeToString(key[:]))
	}
	k, err := secret.ParseKeyring(strings.Join(entries, ","))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open opens a store in a folder; ids name the keys of its ring, none is no ring.
func open(t testing.TB, location string, ids ...string) *Store {
	t.Helper()
	var o Options
	if len(ids) > 0 {
		o.Keyring = keyring(t, ids...)
	}
	s, err := Open(context.Background(), location, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// bothKinds runs a test with a store in clear and one that seals.
func bothKinds(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("plain", func(t *testing.T) { test(t, open(t, t.TempDir())) })
	t.Run("sealed", func(t *testing.T) { test(t, open(t, t.TempDir(), "k1")) })
}

// noise gives n bytes, the same ones for the same n.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(b)
	return b
}

func put(t testing.TB, s *Store, b []byte) Object {
	t.Helper()
	o, err := s.Put(context.Background(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// get reads a part of an object; the bytes that came are given with the error.
func get(s *Store, sha [32]byte, offset, length int64) ([]byte, int64, error) {
	r, size, err := s.Reader(context.Background(), sha, offset, length)
	if err != nil {
		return nil, size, err
	}
	b, err := io.ReadAll(r)
	if e := r.Close(); err == nil {
		err = e
	}
	return b, size, err
}

func whole(s *Store, sha [32]byte) ([]byte, error) {
	b, _, err := get(s, sha, 0, -1)
	return b, err
}

// files lists the files below a folder, by their names within it.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// pathOfObject is the one file of an object that is stored now.
func pathOfObject(s *Store, sha [32]byte) string {
	return filepath.Join(s.dir, filepath.FromSlash(s.places(sha)[0].key))
}

func change(t testing.TB, path string, with func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, with(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func retryable(err error) bool {
	var e interface{ Retryable() bool }
	return asRetryable(err, &e) && e.Retryable()
}
