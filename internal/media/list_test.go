package media

import (
	"context"
	"errors"
	"maps"
	"os"
	"testing"
	"time"
)

// listed lists a store into a map of sizes.
func listed(s *Store, before time.Time) (map[[32]byte]int64, error) {
	got := map[[32]byte]int64{}
	err := s.List(context.Background(), before, func(sha [32]byte, size int64, _ time.Time) error {
		got[sha] = size
		return nil
	})
	return got, err
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	want := map[[32]byte]int64{}
	var last Object
	for i, s := range []*Store{open(t, dir), open(t, dir, "k1"), open(t, dir, "k2", "k1")} {
		for n := range 20 {
			o := put(t, s, noise(1000*i+n))
			want[o.SHA256], last = o.Size, o
		}
	}
	s := open(t, dir, "k2", "k1")
	if got, err := listed(s, time.Time{}); err != nil || !maps.Equal(got, want) {
		t.Errorf("%d objects, want %d, %v", len(got), len(want), err)
	}
	// Those of a key that the ring lacks are left out.
	if got, err := listed(open(t, dir, "k2"), time.Time{}); err != nil || len(got) != 40 {
		t.Errorf("%d objects, %v", len(got), err)
	}
	if got, err := listed(open(t, dir), time.Time{}); err != nil || len(got) != 20 {
		t.Errorf("%d objects, %v", len(got), err)
	}

	now := time.Now()
	long := now.Add(-48 * time.Hour).Truncate(time.Second)
	if err := os.Chtimes(pathOfObject(s, last.SHA256), long, long); err != nil {
		t.Fatal(err)
	}
	if got, err := listed(s, now.Add(-time.Hour)); err != nil || len(got) != 1 || got[last.SHA256] != last.Size {
		t.Errorf("%d objects, %v", len(got), err)
	}
	if got, err := listed(s, long); err != nil || len(got) != 0 {
		t.Errorf("%d objects, %v", len(got), err)
	}

	calls, stop := 0, errors.New("enough")
	err := s.List(t.Context(), time.Time{}, func([32]byte, int64, time.Time) error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}

	change(t, pathOfObject(s, last.SHA256), func(b []byte) []byte { b[50] ^= 1; return b })
	delete(want, last.SHA256)
	if got, err := listed(s, time.Time{}); !errors.Is(err, ErrDamaged) || !maps.Equal(got, want) {
		t.Errorf("%d objects, want %d, %v", len(got), len(want), err)
	}
}
