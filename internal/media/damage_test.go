package media

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/fuzztest"
)

func TestDamageIsFound(t *testing.T) {
	const n = 2*packagePlain + 100
	for _, c := range []struct {
		name string
		with func(b []byte) []byte
	}{
		{"emptied", func([]byte) []byte { return nil }},
		{"cut within the header", func(b []byte) []byte { return b[:100] }},
		{"cut behind the header", func(b []byte) []byte { return b[:headerSize] }},
		{"cut behind the first package", func(b []byte) []byte { return b[:headerSize+packageSealed] }},
		{"cut by one", func(b []byte) []byte { return b[:len(b)-1] }},
		{"longer by one", func(b []byte) []byte { return append(b, 0) }},
		{"the first bit", func(b []byte) []byte { b[0] ^= 1; return b }},
		{"the envelope", func(b []byte) []byte { b[40] ^= 1; return b }},
		{"what fills the header", func(b []byte) []byte { b[headerSize-1] ^= 1; return b }},
		{"the first package's header", func(b []byte) []byte { b[headerSize] ^= 1; return b }},
		{"the last bit", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, s *Store) {
				b := noise(n)
				o := put(t, s, b)
				change(t, pathOfObject(s, o.SHA256), c.with)
				got, err := whole(s, o.SHA256)
				if !errors.Is(err, ErrDamaged) || retryable(err) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				// Who copies as many bytes as there should be does not get all of them.
				if len(got) >= n || !bytes.HasPrefix(b, got) && s.sealer != nil {
					t.Errorf("%d bytes came", len(got))
				}
			})
		})
	}
}

func TestSwappedObjects(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		a, b := put(t, s, noise(1000)), put(t, s, append(noise(999), 0))
		pathA, pathB := pathOfObject(s, a.SHA256), pathOfObject(s, b.SHA256)
		asideA := readFile(t, pathA)
		writeFile(t, pathA, readFile(t, pathB))
		writeFile(t, pathB, asideA)
		for _, o := range []Object{a, b} {
			if _, err := whole(s, o.SHA256); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
		}
		if s.sealer == nil {
			return
		}
		if _, _, err := get(s, a.SHA256, 10, 1); !errors.Is(err, ErrDamaged) {
			t.Errorf("a part: %v", err)
		}
		// The header of one before the packages of the other.
		mixed := slices.Concat(asideA[:headerSize], readFile(t, pathA)[headerSize:])
		writeFile(t, pathA, mixed)
		if _, err := whole(s, a.SHA256); !errors.Is(err, ErrDamaged) {
			t.Errorf("%v", err)
		}
		// One that is sealed as it should be, but for the name of the other.
		var sealed bytes.Buffer
		if err := s.sealer.seal(&sealed, bytes.NewReader(append(noise(999), 0)), s.places(a.SHA256)[0], b); err != nil {
			t.Fatal(err)
		}
		writeFile(t, pathA, sealed.Bytes())
		if _, err := whole(s, a.SHA256); !errors.Is(err, ErrDamaged) {
			t.Errorf("%v", err)
		}
	})
}

// Packages have their places: one cannot stand for another.
func TestSwappedPackages(t *testing.T) {
	s := open(t, t.TempDir(), "k1")
	o := put(t, s, noise(3*packagePlain))
	change(t, pathOfObject(s, o.SHA256), func(b []byte) []byte {
		body := b[headerSize:]
		return slices.Concat(b[:headerSize], body[packageSealed:2*packageSealed], body[:packageSealed], body[2*packageSealed:])
	})
	for i := range int64(2) {
		if _, _, err := get(s, o.SHA256, i*packagePlain, 1); !errors.Is(err, ErrDamaged) {
			t.Errorf("package %d: %v", i, err)
		}
	}
	if b, _, err := get(s, o.SHA256, 2*packagePlain, -1); err != nil || !bytes.Equal(b, noise(3 * packagePlain)[2*packagePlain:]) {
		t.Errorf("the one that is in its place: %v", err)
	}
}

// What was cut short by something else is healed when the file comes in again.
func TestStoredAnewIfCutShort(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		b := noise(1000)
		o := put(t, s, b)
		change(t, pathOfObject(s, o.SHA256), func(b []byte) []byte { return b[:len(b)/2] })
		put(t, s, b)
		if got, err := whole(s, o.SHA256); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// No change of a sealed object is read as something else, whatever part is read.
func TestEveryBitOfASealedObjectCounts(t *testing.T) {
	s := open(t, t.TempDir(), "k1")
	b := noise(packagePlain + 1000)
	o := put(t, s, b)
	path := pathOfObject(s, o.SHA256)
	stored := readFile(t, path)
	rapid.Check(t, func(t *rapid.T) {
		bit := rapid.OneOf(rapid.IntRange(0, headerSize*8-1), rapid.IntRange(0, len(stored)*8-1)).Draw(t, "bit")
		changed := bytes.Clone(stored)
		changed[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := whole(s, o.SHA256)
		// The length of the key's name is changed: no key has that name.
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnknownKey) || !bytes.HasPrefix(b, got) {
			t.Fatalf("bit %d: %d bytes, %v", bit, len(got), err)
		}
	})
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A sealed object that somebody has changed is read as what it was, or not at all.
func FuzzSealed(f *testing.F) {
	s := open(f, f.TempDir(), "k1")
	b := noise(packagePlain + 100)
	o := put(f, s, b)
	path := pathOfObject(s, o.SHA256)
	stored := readFile(f, path)
	f.Add(stored, int64(0), int64(-1))
	f.Add(stored[:headerSize], int64(1), int64(2))
	f.Add(stored[:len(stored)-1], int64(packagePlain), int64(2))
	f.Add([]byte(magic), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, changed []byte, offset, length int64) {
		writeFile(t, path, changed)
		// A few packages' buffers, whatever the header says.
		fuzztest.Within(t, 4<<20+2*len(changed), func() {
			r, size, err := s.Reader(context.Background(), o.SHA256, offset, length)
			if err != nil {
				return
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if size != int64(len(b)) || !bytes.HasPrefix(b[offset:], got) {
				t.Fatalf("%d bytes from %d of %d: %v", len(got), offset, size, err)
			}
			if err == nil && length >= 0 && int64(len(got)) != min(length, size-offset) {
				t.Fatalf("%d bytes of %d without an error", len(got), length)
			}
		})
	})
}
