package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// insertMediaObject waits for whoever removes the same octets at the moment, and is then
// the first to have them again. If they are there, it holds their row: the update changes
// nothing, but nobody removes them before the file that is about to name them is seen.
const insertMediaObject = `
insert into media_objects (sha256, size_bytes, content_type)
values ($1, $2, $3)
on conflict (sha256) do update set sha256 = excluded.sha256`

const insertMediaFile = `
insert into media_files (id, account_id, token, sha256, expires_at)
values ($1, $2, $3, $4, now() + $5::interval)
returning created_at`

// AddMedia commits a file whose octets are about to be stored, and fills in when it was
// made and until when it waits for them. From then on the octets stay, whoever had them
// before. Nobody finds the file until MediaReady.
func (db *DB) AddMedia(ctx context.Context, f *message.MediaFile) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertMediaObject, f.SHA256[:], f.Size, f.ContentType); err != nil {
			return err
		}
		return tx.QueryRow(ctx, insertMediaFile, f.ID, f.AccountID, message.ID(f.Token), f.SHA256[:], message.MediaPendingKept).Scan(&f.CreatedAt)
	})
	if err != nil {
		return fmt.Errorf("add a file of media: %w", err)
	}
	f.ExpiresAt = f.CreatedAt.Add(message.MediaPendingKept)
	return nil
}

const readyMedia = `
update media_files
set ready = true, expires_at = now() + $2::interval
where id = $1 and expires_at > now()
returning account_id`

// MediaReady notes that the octets of a file are stored, and that it is kept for so long
// from now. With answer, the request's key is kept in the same commit: replay is the first
// answer if the key was seen before, and then nothing is noted. ReasonNotFound: the file
// has waited too long and is gone, or was removed.
func (db *DB) MediaReady(ctx context.Context, id message.ID, keep time.Duration, answer func(message.MediaFile) (message.Idempotency, error)) (f message.MediaFile, replay *message.Idempotency, err error) {
	var key message.Idempotency
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var account message.ID
		if err := tx.QueryRow(ctx, readyMedia, id, keep).Scan(&account); err != nil {
			return err
		}
		if f, err = scanMedia(tx.QueryRow(ctx, selectMediaByID, account, id)); err != nil || answer == nil {
			return err
		}
		if key, err = answer(f); err != nil {
			return err
		}
		return db.keepKey(ctx, tx, key)
	})
	if errors.Is(err, errKeySeen) {
		first, err := db.replay(ctx, key)
		return message.MediaFile{}, first.Replay, err
	}
	return f, nil, mediaError("a file of media is stored", err)
}

const selectMedia = `
select f.id, f.account_id, f.token, f.sha256, o.content_type, o.size_bytes, f.created_at, f.expires_at
from media_files f
join media_objects o on o.sha256 = f.sha256
where f.ready and (f.expires_at is null or f.expires_at > now()) and `

const (
	selectMediaByID    = selectMedia + "f.account_id = $1 and f.id = $2"
	selectMediaByToken = selectMedia + "f.token = $1"
)

// Media finds a file of an account. One of another account, one that has expired and one
// that never was are all ReasonNotFound.
func (db *DB) Media(ctx context.Context, account, id message.ID) (message.MediaFile, error) {
	return scanMedia(db.pool.QueryRow(ctx, selectMediaByID, account, id))
}

// MediaByToken finds a file by what lets anybody read it, as Media does.
func (db *DB) MediaByToken(ctx context.Context, token message.MediaToken) (message.MediaFile, error) {
	return scanMedia(db.pool.QueryRow(ctx, selectMediaByToken, message.ID(token)))
}

func scanMedia(row pgx.Row) (f message.MediaFile, err error) {
	var token message.ID
	var sum []byte
	var expires *time.Time
	err = row.Scan(&f.ID, &f.AccountID, &token, &sum, &f.ContentType, &f.Size, &f.CreatedAt, &expires)
	if err != nil {
		return message.MediaFile{}, mediaError("read a file of media", err)
	}
	f.Token, f.ExpiresAt = message.MediaToken(token), orZero(expires)
	copy(f.SHA256[:], sum)
	return f, nil
}

// RemoveMedia removes a file of an account, as Media finds it, unless it is a message's:
// ReasonConflict then. Its octets go by and by, if no other file has them.
func (db *DB) RemoveMedia(ctx context.Context, account, id message.ID) error {
	tag, err := db.pool.Exec(ctx, "delete from media_files where account_id = $1 and id = $2 and ready and expires_at > now()", account, id)
	if err != nil || tag.RowsAffected() == 1 {
		return mediaError("remove a file of media", err)
	}
	if _, err := db.Media(ctx, account, id); err != nil {
		return err
	}
	return message.Refuse(message.ReasonConflict, "the file is a message's, and goes with its text")
}

func mediaError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		return message.Refuse(message.ReasonNotFound, "there is no such file, or it has expired")
	}
	return fmt.Errorf("%s: %w", what, err)
}

const (
	takeLooseMedia = `
select sha256
from media_loose
order by since, sha256
limit 1
for update skip locked`

	// lockMediaObject waits for those who are adding a file of these octets: their rows
	// are seen by the statement after it.
	lockMediaObject = `
select
from media_objects
where sha256 = $1
for update`

	deleteMediaObject = `
delete from media_objects o
where o.sha256 = $1 and not exists (select from media_files f where f.sha256 = o.sha256)`
)

// DropMedia looks at one object that may have lost its last file, and reports whether
// there was one. If it has, remove takes its octets away before the row goes, and while
// nobody can have them anew: should anything fail in between, the row stays and it is
// tried again. It may find them gone.
func (db *DB) DropMedia(ctx context.Context, remove func(ctx context.Context, sum [32]byte) error) (found bool, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var sum []byte
		switch err := tx.QueryRow(ctx, takeLooseMedia).Scan(&sum); {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		found = true
		if _, err := tx.Exec(ctx, lockMediaObject, sum); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, deleteMediaObject, sum)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			if err := remove(ctx, [32]byte(sum)); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, "delete from media_loose where sha256 = $1", sum)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("drop octets of media: %w", err)
	}
	return found, nil
}
