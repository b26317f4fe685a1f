package media

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// List calls fn with each object that was stored before a time (the zero time: with
// each), in no order: its SHA-256, its size in clear, and when it was stored. It is for
// finding those that nobody refers to. An error of fn ends it and is returned. An
// object that is there in clear and sealed comes twice.
//
// Of a sealed object the header is read, which costs a request of S3 each. Those under
// keys that the ring lacks are left out. One with a damaged header is passed over, and
// the first such error returned in the end.
func (s *Store) List(ctx context.Context, before time.Time, fn func(sha [32]byte, size int64, stored time.Time) error) error {
	areas := []place{{key: plainArea}}
	if s.sealer != nil {
		for _, id := range s.sealer.ids {
			areas = append(areas, place{key: areaOf(id), keyID: id, sealed: true})
		}
	}
	var broken error
	for _, area := range areas {
		// By the 256 parts, since a folder is walked from its begin for each page.
		for i := range 256 {
			err := s.listPart(ctx, area, fmt.Sprintf("%s%02x/", area.key, i), before, fn)
			var b *brokenError
			switch {
			case errors.As(err, &b):
				broken = errors.Join(broken, b.err)
			case err != nil:
				return err
			}
		}
	}
	return broken
}

// brokenError tells an object that cannot be listed from the end of the listing.
type brokenError struct{ err error }

func (b *brokenError) Error() string { return b.err.Error() }

func (s *Store) listPart(ctx context.Context, area place, prefix string, before time.Time, fn func([32]byte, int64, time.Time) error) error {
	var broken error
	list := s.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		at, err := list.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return broken
		case err != nil:
			return storage("list media", err)
		}
		name, ok := nameOf(strings.TrimPrefix(at.Key, prefix))
		if !ok || !before.IsZero() && !at.ModTime.Before(before) {
			continue
		}
		sha, size, err := name, at.Size, error(nil)
		if area.sealed {
			sha, size, err = s.listed(ctx, place{key: at.Key, keyID: area.keyID, sealed: true})
		}
		switch {
		case errors.Is(err, ErrNotFound): // deleted since
		case errors.Is(err, ErrDamaged), errors.Is(err, ErrUnknownKey):
			if broken == nil {
				broken = &brokenError{fmt.Errorf("%s: %w", at.Key, err)}
			}
		case err != nil:
			return err
		default:
			if err := fn(sha, size, at.ModTime); err != nil {
				return err
			}
		}
	}
}

// listed tells whose object a sealed one is.
func (s *Store) listed(ctx context.Context, at place) ([32]byte, int64, error) {
	r, err := s.bucket.NewRangeReader(ctx, at.key, 0, headerSize, nil)
	if err != nil {
		return [32]byte{}, 0, storage("list media", err)
	}
	defer r.Close()
	header, err := io.ReadAll(source{r})
	if err != nil {
		return [32]byte{}, 0, storage("list media", err)
	}
	head, err := s.sealer.open(header, at)
	return head.sha, head.size, err
}

// nameOf reads the last part of an object's name; it is false for what is no object, such
// as the temporary file of a write.
func nameOf(s string) (name [32]byte, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(name) || hex.EncodeToString(b) != s {
		return name, false
	}
	return [32]byte(b), true
}

// half is the name of an object that was being written.
var half = regexp.MustCompile(`^[0-9a-f]{64}\.[0-9a-f]+\.tmp$`)

// Clean removes what processes that were killed left behind: half-written objects of a
// folder, and spool files that were killed before they lost their name. What was
// touched since olderThan ago stays, for it may be at work; an hour is long. It
// returns how many files it removed.
//
// A bucket's half-written objects are parts of uploads, which nobody sees; let the bucket's own
// rule for incomplete uploads remove them.
func (s *Store) Clean(ctx context.Context, olderThan time.Duration) (int, error) {
	before := time.Now().Add(-olderThan)
	removed := 0
	sweep := func(root string, ours func(name string) bool) error {
		return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			if d.IsDir() && path != root && root == s.spool {
				return fs.SkipDir // not ours
			}
			if !d.Type().IsRegular() || !ours(d.Name()) {
				return nil
			}
			if info, err := d.Info(); err != nil || !info.ModTime().Before(before) {
				return nil // gone, or young
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			removed++
			return nil
		})
	}
	err := sweep(s.spool, func(name string) bool { return strings.HasPrefix(name, spoolPrefix) })
	if s.dir != "" {
		for _, area := range []string{plainArea, sealedArea} {
			err = errors.Join(err, sweep(filepath.Join(s.dir, area), half.MatchString))
		}
	}
	return removed, storage("clean media", err)
}
