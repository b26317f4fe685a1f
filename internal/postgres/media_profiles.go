package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const selectMediaProfiles = `
select name, definition, updated_at
from media_profiles
order by name`

const selectMediaProfile = `
select name, definition, updated_at
from media_profiles
where name = $1`

// scanMediaProfile reads a row. What another release wrote may be nothing that this one
// can use: then Broken says why.
func scanMediaProfile(row pgx.CollectableRow) (mediaprofile.Stored, error) {
	var name string
	var definition []byte
	var at time.Time
	if err := row.Scan(&name, &definition, &at); err != nil {
		return mediaprofile.Stored{}, err
	}
	p, err := mediaprofile.Read(name, definition)
	s := mediaprofile.Stored{Profile: p, UpdatedAt: at}
	if err != nil {
		s.Profile.Name, s.Broken = name, err.Error()
	}
	return s, nil
}

// loadMediaProfiles leaves out what cannot be used: a built-in profile of that name
// counts then, as without the row.
func loadMediaProfiles(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.MediaProfiles = map[string]mediaprofile.Profile{}
	err := each(ctx, tx, selectMediaProfiles, func(row pgx.CollectableRow) error {
		p, err := scanMediaProfile(row)
		switch {
		case err != nil:
			return err
		case p.Broken != "":
			s.Problem("media_profiles", "media profile %s: %s", p.Name, p.Broken)
		default:
			s.MediaProfiles[p.Name] = p.Profile
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read media profiles: %w", err)
	}
	return nil
}

// MediaProfiles lists the stored profiles by name, also those that cannot be used. The
// built-in ones are not among them, unless a row takes their place.
func (db *DB) MediaProfiles(ctx context.Context) ([]mediaprofile.Stored, error) {
	rows, err := db.pool.Query(ctx, selectMediaProfiles)
	if err != nil {
		return nil, fmt.Errorf("list media profiles: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanMediaProfile)
	if err != nil {
		return nil, fmt.Errorf("list media profiles: %w", err)
	}
	return list, nil
}

const (
	// lockMediaProfiles keeps others from adding profiles until the transaction ends: they
	// are counted. Readers do not wait, nor do vendors that name one.
	lockMediaProfiles = `
lock table media_profiles in share row exclusive mode`

	countMediaProfiles = `
select count(*)
from media_profiles
where name <> $1`

	upsertMediaProfile = `
insert into media_profiles (name, definition)
values ($1, $2)
on conflict (name) do update set definition = excluded.definition, updated_at = now()
returning updated_at`
)

// maxMediaProfiles bounds what every process holds in memory of them.
const maxMediaProfiles = 200

// SetMediaProfile stores a profile under its name, over what there is: a row, or what the
// release brings. It holds on every process within seconds, for what is prepared from
// then on. ReasonInvalidRequest names the field that breaks a rule.
func (db *DB) SetMediaProfile(ctx context.Context, by Actor, p mediaprofile.Profile) (mediaprofile.Stored, error) {
	out := mediaprofile.Stored{Profile: p}
	if err := p.Validate(); err != nil {
		return out, profileFault(err)
	}
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "media_profile.update", p.Name, before, after, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockMediaProfiles); err != nil {
			return err
		}
		was, stored, err := mediaProfile(ctx, tx, p.Name)
		if err != nil {
			return err
		}
		var others int
		if err := tx.QueryRow(ctx, countMediaProfiles, p.Name).Scan(&others); err != nil {
			return err
		}
		if !stored && others >= maxMediaProfiles {
			return message.Refuse(message.ReasonConflict, "there are %d media profiles already; take one away that no vendor names", others)
		}
		if !stored {
			was.Profile, _ = mediaprofile.Builtin(p.Name)
		}
		if was.Profile.Name != "" {
			maps.Copy(before, shownProfile(was))
		}
		maps.Copy(after, shownProfile(out))
		return tx.QueryRow(ctx, upsertMediaProfile, p.Name, string(p.Definition())).Scan(&out.UpdatedAt)
	})
	return out, err
}

// profileFault is what is wrong with a profile, in the words of staff.
func profileFault(err error) error {
	var fault *mediaprofile.Fault
	if !errors.As(err, &fault) {
		return err
	}
	return &message.Error{Reason: message.ReasonInvalidRequest, Detail: fault.Error(), Fields: []message.FieldError{{Location: fault.Field, Message: fault.Says}}}
}

// shownProfile is a profile in the audit log.
func shownProfile(p mediaprofile.Stored) map[string]any {
	shown := map[string]any{}
	if p.Broken != "" {
		shown["broken"] = p.Broken
		return shown
	}
	_ = json.Unmarshal(p.Definition(), &shown) // it was written a moment ago
	return shown
}

func mediaProfile(ctx context.Context, q querier, name string) (p mediaprofile.Stored, stored bool, err error) {
	rows, err := q.Query(ctx, selectMediaProfile, name)
	if err != nil {
		return p, false, fmt.Errorf("read media profile %s: %w", name, err)
	}
	p, err = pgx.CollectExactlyOneRow(rows, scanMediaProfile)
	if errors.Is(err, pgx.ErrNoRows) {
		return mediaprofile.Stored{}, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read media profile %s: %w", name, err)
	}
	return p, true, nil
}

const (
	// Vendors that are just being given the profile hold its row, and are seen once they
	// are done; others wait, and find it gone.
	lockMediaProfile = `
select
from media_profiles
where name = $1
for update`

	selectProfileUsers = `
select instance_name
from vendors
where media_profile = $1
order by instance_name
limit 6`

	deleteMediaProfile = `
delete from media_profiles
where name = $1`
)

// RemoveMediaProfile takes a row away: where the release brings a profile of that name,
// it counts again. ReasonNotFound when there is no row, ReasonConflict when nothing would
// be left of what a vendor names.
func (db *DB) RemoveMediaProfile(ctx context.Context, by Actor, name string) error {
	before := map[string]any{}
	_, builtin := mediaprofile.Builtin(name)
	return db.auditedChange(ctx, by, "media_profile.delete", withoutNUL(name), before, nil, func(tx pgx.Tx) error {
		locked, err := tx.Exec(ctx, lockMediaProfile, withoutNUL(name))
		if err != nil {
			return err
		}
		if locked.RowsAffected() == 0 {
			if builtin {
				return message.Refuse(message.ReasonNotFound, "the media profile %s is as the release brings it: there is nothing to take away", name)
			}
			return message.Refuse(message.ReasonNotFound, "there is no media profile %q", name)
		}
		was, _, err := mediaProfile(ctx, tx, name)
		if err != nil {
			return err
		}
		if !builtin {
			if err := unused(ctx, tx, name); err != nil {
				return err
			}
		}
		maps.Copy(before, shownProfile(was))
		return exactlyOne(tx.Exec(ctx, deleteMediaProfile, name))
	})
}

// unused refuses when vendors name a profile.
func unused(ctx context.Context, tx pgx.Tx, name string) error {
	rows, err := tx.Query(ctx, selectProfileUsers, name)
	if err != nil {
		return err
	}
	users, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(users) == 0 {
		return err
	}
	if len(users) > 5 {
		users[5] = "others"
	}
	return message.Refuse(message.ReasonConflict, "the media profile %s is named by the vendors %s; give them another media_profile first", name, strings.Join(users, ", "))
}

const (
	holdMediaProfile = `
select
from media_profiles
where name = $1
for key share`

	selectProfileNames = `
select name
from media_profiles`
)

// knownProfile refuses a vendor's media_profile that nobody knows, and keeps the one that
// is known until the transaction ends. Empty is known: what the vendor's kind takes.
func knownProfile(ctx context.Context, tx pgx.Tx, name string) error {
	if _, builtin := mediaprofile.Builtin(name); builtin || name == "" {
		return nil
	}
	held, err := tx.Exec(ctx, holdMediaProfile, withoutNUL(name))
	if err != nil || held.RowsAffected() > 0 {
		return err
	}
	rows, err := tx.Query(ctx, selectProfileNames)
	if err != nil {
		return err
	}
	stored, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	names := mediaprofile.Names(stored)
	fault := message.FieldError{Location: "media_profile", Message: "must be one of " + strings.Join(names, ", ") + ", or empty for what vendors of its kind take"}
	return &message.Error{Reason: message.ReasonInvalidRequest, Detail: fault.Location + " " + fault.Message, Fields: []message.FieldError{fault}}
}
