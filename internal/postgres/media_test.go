package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// file is one of so many octets that nobody has stored yet.
func (b *bundle) file(octets string) message.MediaFile {
	return message.MediaFile{ID: message.NewID(), AccountID: b.owner, Token: message.NewMediaToken(), SHA256: sha256.Sum256([]byte(octets)),
		ContentType: "image/jpeg", Size: int64(len(octets))}
}

// kept is a file that is ready.
func (b *bundle) kept(octets string) message.MediaFile {
	b.tb.Helper()
	f := b.file(octets)
	if err := b.AddMedia(b.ctx, &f); err != nil {
		b.tb.Fatal(err)
	}
	f, replay, err := b.MediaReady(b.ctx, f.ID, message.MediaKept, nil)
	if err != nil || replay != nil {
		b.tb.Fatal(replay, err)
	}
	return f
}

// drained is what DropMedia takes away until nothing is left to be looked at.
func (b *bundle) drained(refuse error) (sums [][32]byte, err error) {
	for {
		found, err := b.DropMedia(b.ctx, func(_ context.Context, sum [32]byte) error {
			sums = append(sums, sum)
			return refuse
		})
		if err != nil || !found {
			return sums, err
		}
	}
}

func isNotFound(err error) bool { return message.ReasonOf(err) == message.ReasonNotFound }

func TestMediaFile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := b.file("a picture")
	if err := b.AddMedia(b.ctx, &f); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Media(b.ctx, b.owner, f.ID); !isNotFound(err) {
		t.Errorf("before its octets are stored: %v", err)
	}
	if _, err := b.MediaByToken(b.ctx, f.Token); !isNotFound(err) {
		t.Errorf("by its token before its octets are stored: %v", err)
	}
	ready, replay, err := b.MediaReady(b.ctx, f.ID, message.MediaKept, nil)
	if err != nil || replay != nil {
		t.Fatal(replay, err)
	}
	until := ready.ExpiresAt
	if left := time.Until(until); left < message.MediaKept-time.Minute || left > message.MediaKept+time.Minute {
		t.Errorf("it is kept until %s", until)
	}
	for what, find := range map[string]func() (message.MediaFile, error){
		"id":    func() (message.MediaFile, error) { return b.Media(b.ctx, b.owner, f.ID) },
		"token": func() (message.MediaFile, error) { return b.MediaByToken(b.ctx, f.Token) },
	} {
		got, err := find()
		if err != nil {
			t.Fatal(err)
		}
		if !got.ExpiresAt.Equal(until) || !got.CreatedAt.Equal(f.CreatedAt) {
			t.Errorf("by %s: made %s, until %s", what, got.CreatedAt, got.ExpiresAt)
		}
		got.ExpiresAt, got.CreatedAt = f.ExpiresAt, f.CreatedAt
		if got != f {
			t.Errorf("by %s: %+v, want %+v", what, got, f)
		}
	}
	stranger := message.NewID()
	if _, err := b.Media(b.ctx, stranger, f.ID); !isNotFound(err) {
		t.Errorf("read by another account: %v", err)
	}
	if err := b.RemoveMedia(b.ctx, stranger, f.ID); !isNotFound(err) {
		t.Errorf("removed by another account: %v", err)
	}
	b.exec("update media_files set expires_at = now() where id = $1", f.ID)
	if _, err := b.Media(b.ctx, b.owner, f.ID); !isNotFound(err) {
		t.Errorf("when it has expired: %v", err)
	}
	if _, err := b.MediaByToken(b.ctx, f.Token); !isNotFound(err) {
		t.Errorf("by its token when it has expired: %v", err)
	}
	if _, _, err := b.MediaReady(b.ctx, f.ID, message.MediaKept, nil); !isNotFound(err) {
		t.Errorf("stored too late: %v", err)
	}
	if err := b.RemoveMedia(b.ctx, b.owner, f.ID); !isNotFound(err) {
		t.Errorf("removed when it has expired: %v", err)
	}
}

// A key that was seen before gets its first answer, and the file of the second request
// is nobody's.
func TestMediaKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	upload := func(hash byte) (message.MediaFile, *message.Idempotency, error) {
		f := b.file("a picture")
		if err := b.AddMedia(b.ctx, &f); err != nil {
			t.Fatal(err)
		}
		return b.MediaReady(b.ctx, f.ID, message.MediaKept, func(f message.MediaFile) (message.Idempotency, error) {
			return message.Idempotency{AccountID: b.owner, Operation: "POST /v1/media", Key: "k", BodyHash: [32]byte{hash}, Status: 201, Response: []byte(f.ID.String())}, nil
		})
	}
	first, replay, err := upload(1)
	if err != nil || replay != nil {
		t.Fatal(replay, err)
	}
	_, replay, err = upload(1)
	if err != nil || replay == nil || string(replay.Response) != first.ID.String() {
		t.Errorf("again: %+v, %v", replay, err)
	}
	if _, _, err = upload(2); message.ReasonOf(err) != message.ReasonIdempotencyMismatch {
		t.Errorf("with another body: %v", err)
	}
	if n := b.count("select count(*) from media_files where ready"); n != 1 {
		t.Errorf("%d files", n)
	}
}

// Octets go with the last file that has them, and not before.
func TestMediaOctetsGoWithTheLastFile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two, other := b.kept("a picture"), b.kept("a picture"), b.kept("another")
	if n := b.count("select count(*) from media_objects"); n != 2 {
		t.Fatalf("%d objects", n)
	}
	if err := b.RemoveMedia(b.ctx, b.owner, one.ID); err != nil {
		t.Fatal(err)
	}
	if sums, err := b.drained(nil); err != nil || len(sums) != 0 {
		t.Fatalf("took away %x, %v", sums, err)
	}
	if err := b.RemoveMedia(b.ctx, b.owner, two.ID); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the store is away")
	if sums, err := b.drained(full); !errors.Is(err, full) || len(sums) != 1 {
		t.Fatalf("took away %x, %v", sums, err)
	}
	if sums, err := b.drained(nil); err != nil || len(sums) != 1 || sums[0] != one.SHA256 {
		t.Fatalf("took away %x, %v", sums, err)
	}
	if sums, err := b.drained(nil); err != nil || len(sums) != 0 {
		t.Fatalf("again: %x, %v", sums, err)
	}
	if _, err := b.Media(b.ctx, b.owner, other.ID); err != nil {
		t.Error(err)
	}
	// What has expired is taken by the upkeep, whose statement this is.
	b.exec("update media_files set expires_at = now() - interval '1 second'")
	b.exec(takeOf("media_files", "expires_at", ""), time.Now(), 100)
	if sums, err := b.drained(nil); err != nil || len(sums) != 1 || sums[0] != other.SHA256 {
		t.Errorf("took away %x, %v", sums, err)
	}
	b.whole()
}

// Who adds a file while its octets are being taken away waits, and stores them again.
func TestMediaAddedWhileItsOctetsGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := b.kept("a picture")
	if err := b.RemoveMedia(b.ctx, b.owner, f.ID); err != nil {
		t.Fatal(err)
	}
	added := make(chan error, 1) // written once
	found, err := b.DropMedia(b.ctx, func(context.Context, [32]byte) error {
		again := b.file("a picture")
		go func() { added <- b.AddMedia(b.ctx, &again) }()
		b.blocked()
		return nil
	})
	if err != nil || !found {
		t.Fatal(found, err)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	if sums, err := b.drained(nil); err != nil || len(sums) != 0 {
		t.Errorf("took away %x of a file that there is, %v", sums, err)
	}
	if n := b.count("select count(*) from media_objects"); n != 1 {
		t.Errorf("%d objects", n)
	}
}

// Who removes the last file while somebody has just seen it there: the octets are looked
// at once more.
func TestMediaRemovedWhileItIsLookedAt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.kept("a picture"), b.kept("a picture")
	if err := b.RemoveMedia(b.ctx, b.owner, one.ID); err != nil {
		t.Fatal(err)
	}
	tx, err := b.pool.Begin(b.ctx) // as DropMedia, up to where it has found the other file
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	var sum []byte
	if err := tx.QueryRow(b.ctx, takeLooseMedia).Scan(&sum); err != nil {
		t.Fatal(err)
	}
	if tag, err := tx.Exec(b.ctx, deleteMediaObject, sum); err != nil || tag.RowsAffected() != 0 {
		t.Fatal(tag, err)
	}
	removed := make(chan error, 1) // written once
	go func() { removed <- b.RemoveMedia(b.ctx, b.owner, two.ID) }()
	b.until("the removal waits or is done", func() bool {
		return len(removed) > 0 || b.count("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") > 0
	})
	if _, err := tx.Exec(b.ctx, "delete from media_loose where sha256 = $1", sum); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	if sums, err := b.drained(nil); err != nil || len(sums) != 1 {
		t.Errorf("took away %x, %v", sums, err)
	}
}

// Many who add and remove the same octets, and others who take them away: what is ready
// has its octets at any moment, and in the end nothing is left.
func TestMediaCrowd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const workers, rounds, pictures = 6, 25, 3
	var mu sync.Mutex
	stored := map[[32]byte]bool{}
	remove := func(_ context.Context, sum [32]byte) error {
		mu.Lock()
		defer mu.Unlock()
		delete(stored, sum)
		return nil
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				f := b.file(fmt.Sprint("picture ", rand.IntN(pictures)))
				if err := b.AddMedia(b.ctx, &f); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				stored[f.SHA256] = true // as the store does: whether it was there or not
				mu.Unlock()
				if _, _, err := b.MediaReady(b.ctx, f.ID, message.MediaKept, nil); err != nil {
					t.Error(err)
				}
				if _, err := b.DropMedia(b.ctx, remove); err != nil {
					t.Error(err)
				}
				mu.Lock()
				there := stored[f.SHA256]
				mu.Unlock()
				if !there {
					t.Error("a file that is ready has lost its octets")
				}
				if err := b.RemoveMedia(b.ctx, b.owner, f.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for {
		found, err := b.DropMedia(b.ctx, remove)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			break
		}
	}
	if n := b.count("select (select count(*) from media_objects) + (select count(*) from media_files) + (select count(*) from media_loose)"); n != 0 || len(stored) != 0 {
		t.Errorf("%d rows and %d objects are left", n, len(stored))
	}
}
