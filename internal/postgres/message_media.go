package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// insertMedia is the clause of an acceptance that gives the messages which this
// statement stores their files. What was uploaded before shares its octets: they stay
// as long as one of the two files is there, and the key on media_objects lets nobody
// name octets that have just gone.
const insertMedia = `, given_media as (
  select *
  from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bytea[], $6::bytea[])
  as g(message_id, position, file_id, token, sha256, source)
), own_files as (
  insert into media_files (id, account_id, token, sha256, ready, expires_at)
  select g.file_id, f.account_id, g.token, g.sha256, true, null
  from given_media g
  join fresh f on f.id = g.message_id
  join stored s on s.id = g.message_id
  where g.file_id is not null
  order by g.sha256 -- their rows are locked
), carried as (
  insert into message_media (message_id, position, file_id, source)
  select g.message_id, g.position, g.file_id, g.source
  from given_media g
  join stored s on s.id = g.message_id
)`

// mediaObjectKey is the constraint that a file's octets are there.
const mediaObjectKey = "media_files_sha256_fkey"

func mediaColumns(group []*acceptance) []any {
	var messages []message.ID
	var positions []int16
	var files, tokens []*message.ID
	var sums, sources [][]byte
	for _, i := range group {
		for n, m := range i.Message.Media {
			messages, positions, sources = append(messages, i.Message.ID), append(positions, int16(m.Position)), append(sources, i.sources[n])
			if !m.Fetched() {
				files, tokens, sums = append(files, nil), append(tokens, nil), append(sums, nil)
				continue
			}
			token := message.ID(m.File.Token)
			files, tokens, sums = append(files, &m.File.ID), append(tokens, &token), append(sums, m.File.SHA256[:])
		}
	}
	return []any{messages, positions, files, tokens, sums, sources}
}

func sourcePlace(id message.ID, position int) []byte {
	return binary.BigEndian.AppendUint16(append(id[:], "media_source"...), uint16(position))
}

// sealMedia gives the subject and the sources of the files as they are stored.
func (db *DB) sealMedia(m *message.Message) (subject []byte, sources [][]byte) {
	if m.Subject != "" {
		subject = db.sealer.Seal([]byte(m.Subject), subjectPlace(m.ID))
	}
	for _, f := range m.Media {
		var sealed []byte
		if f.Source != "" {
			sealed = db.sealer.Seal([]byte(f.Source), sourcePlace(m.ID, f.Position))
		}
		sources = append(sources, sealed)
	}
	return subject, sources
}

func (db *DB) openSubject(m *message.Message, sealed []byte) error {
	if sealed == nil {
		return nil
	}
	subject, err := db.sealer.Open(sealed, subjectPlace(m.ID))
	if err != nil {
		return fmt.Errorf("subject of %s: %w", m.ID, err)
	}
	m.Subject = string(subject)
	return nil
}

const selectMessageMedia = `
select c.message_id, c.position, c.source, f.id, f.account_id, f.token, f.sha256, o.content_type, o.size_bytes, f.created_at
from message_media c
left join media_files f on f.id = c.file_id and f.ready
left join media_objects o on o.sha256 = f.sha256
where c.message_id = any($1::uuid[]) and c.profile = $2
order by c.message_id, c.position`

// MessageMedia lists the files of a message in order: as they came, or, with a profile,
// as they were made for it, none if they were not.
func (db *DB) MessageMedia(ctx context.Context, id message.ID, profile string) ([]message.Media, error) {
	list, err := db.mediaOf(ctx, []message.ID{id}, profile)
	return list[id], err
}

// fillMedia adds their files to the MMS of a list.
func (db *DB) fillMedia(ctx context.Context, list []*message.Message) error {
	var ids []message.ID
	for _, m := range list {
		if m.Kind == message.MMS || m.Requested == message.MMS {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	media, err := db.mediaOf(ctx, ids, "")
	if err != nil {
		return err
	}
	for _, m := range list {
		if files, ok := media[m.ID]; ok {
			m.Media = files
		}
	}
	return nil
}

func (db *DB) mediaOf(ctx context.Context, ids []message.ID, profile string) (map[message.ID][]message.Media, error) {
	rows, err := db.pool.Query(ctx, selectMessageMedia, ids, profile)
	if err != nil {
		return nil, fmt.Errorf("read the files of messages: %w", err)
	}
	out := make(map[message.ID][]message.Media, len(ids))
	var of message.ID
	var position int
	var source, sum []byte
	var file, account, token *message.ID
	var kind *string
	var size *int64
	var at *time.Time
	_, err = pgx.ForEachRow(rows, []any{&of, &position, &source, &file, &account, &token, &sum, &kind, &size, &at}, func() error {
		m := message.Media{Position: position}
		if source != nil {
			opened, err := db.sealer.Open(source, sourcePlace(of, position))
			if err != nil {
				return fmt.Errorf("source of file %d of %s: %w", position, of, err)
			}
			m.Source = string(opened)
		}
		if file != nil {
			m.File = message.MediaFile{ID: *file, AccountID: orZero(account), Token: message.MediaToken(orZero(token)), ContentType: orZero(kind), Size: orZero(size), CreatedAt: orZero(at)}
			copy(m.File.SHA256[:], sum)
		}
		out[of] = append(out[of], m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the files of messages: %w", err)
	}
	return out, nil
}

const (
	giveMediaFile = `
update media_files
set ready = true, expires_at = null
where id = $1 and (expires_at is null or expires_at > now())`

	fetchedMedia = `
update message_media
set file_id = $3
where message_id = $1 and position = $2 and profile = '' and file_id is null`
)

// MediaFetched gives a message the file that was fetched for it, which AddMedia has
// committed and whose octets are stored. It reports false, and does nothing, when the
// message has one already, or has none there any more: the file ends by itself then.
func (db *DB) MediaFetched(ctx context.Context, id message.ID, position int, file message.ID) (given bool, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, fetchedMedia, id, position, file)
		if given = err == nil && tag.RowsAffected() == 1; err != nil || !given {
			return err
		}
		return exactlyOne(tx.Exec(ctx, giveMediaFile, file))
	})
	if err != nil {
		return false, fmt.Errorf("give message %s its file %d: %w", id, position, err)
	}
	return given, nil
}

// insertLine adds a line to a message's timeline.
const insertLine = `
with counted as (
  update messages
  set event_seq = event_seq + 1
  where id = $1
  returning id, event_seq
)
insert into message_events (message_id, sequence, at, type, detail)
select id, event_seq, clock_timestamp(), $2, $3::jsonb
from counted`

// MediaReceived gives a message of a handset a file that was fetched for it: one that
// AddMedia has committed, or, without an ID, one that shares octets that are stored. A
// message that has a file in that place, or whose text is gone, is left alone.
func (db *DB) MediaReceived(ctx context.Context, id message.ID, position int, f message.MediaFile) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var kept bool
		err := tx.QueryRow(ctx, "select body is not null from messages where id = $1 for key share", id).Scan(&kept)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !kept {
			return nil
		}
		if err != nil {
			return err
		}
		return givePrepared(ctx, tx, id, "", message.Media{Position: position, File: f})
	})
	if err != nil && sqlState(err) != uniqueViolation {
		return fmt.Errorf("give inbound message %s its file %d: %w", id, position, err)
	}
	return nil
}

// Note adds a line to the timeline of a message that is there.
func (db *DB) Note(ctx context.Context, id message.ID, line message.Event) error {
	if _, err := db.pool.Exec(ctx, insertLine, id, string(line.Type), detailJSON(line.Detail)); err != nil {
		return fmt.Errorf("note the files of %s: %w", id, err)
	}
	return nil
}

const (
	lockMediaOf = `
select
from message_media
where message_id = $1 and profile = ''
order by position
for update`

	// insertShared writes nothing when no file has the octets: their row may be left of a
	// DropMedia whose end nobody saw, and they may be gone.
	insertShared = `
insert into media_files (id, account_id, token, sha256, ready, expires_at)
select $1, $2, $3, $4, true, null
where exists (select from media_files where sha256 = $4)`

	insertPrepared = `
insert into message_media (message_id, profile, position, file_id)
values ($1, $2, $3, $4)`
)

// MediaPrepared gives a message the files that were made of its own for a profile, all
// of them or, when it has some already, none. One whose ID is that of a file which
// AddMedia has committed becomes the message's; one without an ID shares octets that are
// stored. ReasonNotFound: such octets have gone meanwhile, or the message has no files
// any more; nothing is written then. In the same commit the timeline gets its line.
func (db *DB) MediaPrepared(ctx context.Context, id message.ID, profile string, files []message.Media, line message.Event) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		// Of two runs one goes first, and the other finds what it has done.
		tag, err := tx.Exec(ctx, lockMediaOf, id)
		if err != nil || tag.RowsAffected() == 0 {
			return errOr(err, message.Refuse(message.ReasonNotFound, "message %s has no files", id))
		}
		var there bool
		if err := tx.QueryRow(ctx, "select exists (select from message_media where message_id = $1 and profile = $2)", id, profile).Scan(&there); err != nil || there {
			return err
		}
		for _, m := range files {
			if err := givePrepared(ctx, tx, id, profile, m); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, insertLine, id, string(line.Type), detailJSON(line.Detail))
		return err
	})
	var no *message.Error
	switch {
	case err == nil, errors.As(err, &no):
		return err
	case sqlState(err) == foreignKeyViolation && constraintOf(err) == mediaObjectKey:
		return message.Because(message.ReasonNotFound, err, "what a file was made into is gone")
	}
	return fmt.Errorf("give message %s what its files were made into: %w", id, err)
}

func givePrepared(ctx context.Context, tx pgx.Tx, id message.ID, profile string, m message.Media) error {
	f := m.File
	if !m.Fetched() {
		f.ID = message.NewID()
		tag, err := tx.Exec(ctx, insertShared, f.ID, f.AccountID, message.ID(message.NewMediaToken()), f.SHA256[:])
		if err != nil || tag.RowsAffected() == 0 {
			return errOr(err, message.Refuse(message.ReasonNotFound, "what a file was made into is gone"))
		}
	} else if err := exactlyOne(tx.Exec(ctx, giveMediaFile, f.ID)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, insertPrepared, id, profile, m.Position, f.ID)
	return err
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

const (
	insertResult = `
insert into media_results (key, sha256)
values ($1, $2)
on conflict (key) do update
set sha256 = excluded.sha256, made_at = now()`

	selectResult = `
select o.sha256, o.content_type, o.size_bytes
from media_results r
join media_objects o on o.sha256 = r.sha256
where r.key = $1 and exists (select from media_files f where f.sha256 = r.sha256)`
)

// KeepMediaResult remembers what a conversion gave, under everything that it depends on,
// for as long as somebody has its octets.
func (db *DB) KeepMediaResult(ctx context.Context, key string, sum [32]byte) error {
	_, err := db.pool.Exec(ctx, insertResult, key, sum[:])
	if err != nil && sqlState(err) != foreignKeyViolation { // nobody has them any more
		return fmt.Errorf("remember a conversion: %w", err)
	}
	return nil
}

// MediaResult finds what a conversion gave: SHA256, ContentType and Size are set. It may
// be gone by the time that it is used.
func (db *DB) MediaResult(ctx context.Context, key string) (f message.MediaFile, known bool, err error) {
	var sum []byte
	err = db.pool.QueryRow(ctx, selectResult, key).Scan(&sum, &f.ContentType, &f.Size)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return f, false, nil
	case err != nil:
		return f, false, fmt.Errorf("look for a conversion: %w", err)
	}
	copy(f.SHA256[:], sum)
	return f, true, nil
}
