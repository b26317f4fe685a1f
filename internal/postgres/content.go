package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const contentColumns = `
  id, account_id, name, kind, class, pattern, action, message_class, effective_from, active, actor, created_at, updated_at`

const selectActiveContentRules = `select` + contentColumns + `
from content_rules
where active
order by id`

// loadContentRules compiles the active rules. One that cannot be used is left out.
func loadContentRules(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	var rules []content.Rule
	err := each(ctx, tx, selectActiveContentRules, func(row pgx.CollectableRow) error {
		r, err := scanContentRule(row)
		rules = append(rules, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("read content rules: %w", err)
	}
	var problems []content.Problem
	s.Content, problems = content.Compile(rules, s.LoadedAt)
	for _, p := range problems {
		s.Problem("content_rules", "content rule %s: %v", p.Rule.ID, p.Err)
	}
	return nil
}

func scanContentRule(row pgx.CollectableRow) (content.Rule, error) {
	var r content.Rule
	var account *message.ID
	err := row.Scan(&r.ID, &account, &r.Name, &r.Kind, &r.Class, &r.Pattern, &r.Action, &r.MessageClass, &r.From, &r.Active, &r.Actor, &r.CreatedAt, &r.UpdatedAt)
	r.AccountID = orZero(account)
	return r, err
}

const selectContentRule = `select` + contentColumns + `
from content_rules
where id = $1`

// ContentRule reads one rule; ReasonNotFound when there is none.
func (db *DB) ContentRule(ctx context.Context, id message.ID) (content.Rule, error) {
	return contentRule(ctx, db.pool, id)
}

func contentRule(ctx context.Context, q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, id message.ID) (content.Rule, error) {
	rows, err := q.Query(ctx, selectContentRule, id)
	if err != nil {
		return content.Rule{}, fmt.Errorf("read content rule %s: %w", id, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanContentRule)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, message.Refuse(message.ReasonNotFound, "there is no content rule %s", id)
	}
	if err != nil {
		return r, fmt.Errorf("read content rule %s: %w", id, err)
	}
	return r, nil
}

// $1 after  $2 limit  $3 account, null: all  $4 only global ones  $5 only active ones
const selectContentRules = `select` + contentColumns + `
from content_rules
where id > $1
  and ($3::uuid is null or account_id = $3)
  and (not $4 or account_id is null)
  and (not $5 or active)
order by id
limit $2`

// ContentRules lists rules, oldest first, from behind one.
func (db *DB) ContentRules(ctx context.Context, f content.Filter, after message.ID, limit int) ([]content.Rule, error) {
	rows, err := db.pool.Query(ctx, selectContentRules, after, limit, idOrNull(f.AccountID), f.Global, f.Active)
	if err != nil {
		return nil, fmt.Errorf("list content rules: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanContentRule)
	if err != nil {
		return nil, fmt.Errorf("list content rules: %w", err)
	}
	return list, nil
}

// lockContentRules keeps others from changing rules until the transaction ends: how
// many a scope may have is checked of all of them together. Readers do not wait.
const lockContentRules = `
lock table content_rules in share row exclusive mode`

const selectContentScope = `select` + contentColumns + `
from content_rules
where active
  and account_id is not distinct from $1
  and id <> $2
order by id`

// fits checks a rule together with the active ones of its scope.
func fits(ctx context.Context, tx pgx.Tx, r content.Rule) error {
	if err := r.Check(); err != nil || !r.Active {
		return err
	}
	if _, err := tx.Exec(ctx, lockContentRules); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, selectContentScope, idOrNull(r.AccountID), r.ID)
	if err != nil {
		return err
	}
	scope, err := pgx.CollectRows(rows, scanContentRule)
	if err != nil {
		return err
	}
	_, problems := content.Compile(append(scope, r), time.Now())
	for _, p := range problems {
		if p.Rule.ID == r.ID {
			return message.Refuse(message.ReasonInvalidRequest, "%s", p.Err.Error())
		}
	}
	return nil
}

const insertContentRule = `
insert into content_rules (id, account_id, name, kind, class, pattern, action, message_class, effective_from, active, actor)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

// CreateContentRule adds a rule. ReasonInvalidRequest when it cannot be used,
// ReasonConflict when its scope has one of that name.
func (db *DB) CreateContentRule(ctx context.Context, by Actor, r content.Rule) error {
	return db.audited(ctx, by, "content_rule.create", r.ID.String(), shownRule(r), func(tx pgx.Tx) error {
		if err := fits(ctx, tx, r); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertContentRule, r.ID, idOrNull(r.AccountID), r.Name, r.Kind, r.Class, r.Pattern, r.Action, r.MessageClass,
			orElse(r.From, time.Now()), r.Active, by.Name)
		return sameName(err, r)
	})
}

// shownRule is a rule in the audit log. Patterns are rules, not texts of customers.
func shownRule(r content.Rule) map[string]any {
	return map[string]any{"account_id": idOrNull(r.AccountID), "name": r.Name, "kind": r.Kind, "class": r.Class, "pattern": r.Pattern, "action": r.Action,
		"message_class": r.MessageClass, "effective_from": r.From, "active": r.Active}
}

func sameName(err error, r content.Rule) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "23505": // unique_violation
			return message.Refuse(message.ReasonConflict, "there is a content rule %q already", r.Name)
		case "23503": // foreign_key_violation
			return message.Refuse(message.ReasonInvalidRequest, "there is no account %s", r.AccountID)
		}
	}
	return err
}

const updateContentRule = `
update content_rules
set name = $2, kind = $3, class = $4, pattern = $5, action = $6, message_class = $7, effective_from = $8, active = $9, actor = $10, updated_at = now()
where id = $1`

// ChangeContentRule has change make a rule into what it is to be, and stores that.
// What it is about, all accounts or one, stays. It returns the rule as it is then.
func (db *DB) ChangeContentRule(ctx context.Context, by Actor, id message.ID, change func(*content.Rule) error) (content.Rule, error) {
	var r content.Rule
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "content_rule.update", id.String(), before, after, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockContentRules); err != nil {
			return err
		}
		was, err := contentRule(ctx, tx, id)
		if err != nil {
			return err
		}
		r = was
		if err := change(&r); err != nil {
			return err
		}
		r.ID, r.AccountID = was.ID, was.AccountID
		if err := fits(ctx, tx, r); err != nil {
			return err
		}
		maps.Copy(before, shownRule(was))
		maps.Copy(after, shownRule(r))
		if err := sameName(exactlyOne(tx.Exec(ctx, updateContentRule, id, r.Name, r.Kind, r.Class, r.Pattern, r.Action, r.MessageClass, r.From, r.Active, by.Name)), r); err != nil {
			return err
		}
		r, err = contentRule(ctx, tx, id)
		return err
	})
	return r, err
}

const deleteContentRule = `
delete from content_rules
where id = $1`

// DeleteContentRule takes a rule away. ReasonNotFound when there is none.
func (db *DB) DeleteContentRule(ctx context.Context, by Actor, id message.ID) error {
	before := map[string]any{}
	return db.auditedChange(ctx, by, "content_rule.delete", id.String(), before, nil, func(tx pgx.Tx) error {
		was, err := contentRule(ctx, tx, id)
		if err != nil {
			return err
		}
		maps.Copy(before, shownRule(was))
		return exactlyOne(tx.Exec(ctx, deleteContentRule, id))
	})
}

const insertStarterRule = insertContentRule + `
on conflict do nothing`

// ImportStarterRules adds the shipped rules that are not there yet, by their names,
// and returns how many. What was changed of those that are there stays.
func (db *DB) ImportStarterRules(ctx context.Context, by Actor) (int, error) {
	rules, err := content.Starter()
	if err != nil {
		return 0, err
	}
	added := 0
	shown := map[string]any{}
	err = db.audited(ctx, by, "content_rule.import", "starter", shown, func(tx pgx.Tx) error {
		added = 0
		for _, r := range rules {
			r.ID = message.NewID()
			if err := fits(ctx, tx, r); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			tag, err := tx.Exec(ctx, insertStarterRule, r.ID, nil, r.Name, r.Kind, r.Class, r.Pattern, r.Action, r.MessageClass, r.From, r.Active, by.Name)
			if err != nil {
				return err
			}
			added += int(tag.RowsAffected())
		}
		shown["added"] = added
		return nil
	})
	return added, err
}

// AllContentRules compiles the active rules, or all of them, to try a text on.
func (db *DB) AllContentRules(ctx context.Context, inactive bool) (*content.Rules, error) {
	var rules []content.Rule
	for after := (message.ID{}); ; {
		list, err := db.ContentRules(ctx, content.Filter{Active: !inactive}, after, 1000)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			r.Active = true
			rules = append(rules, r)
			after = r.ID
		}
		if len(list) < 1000 {
			break
		}
	}
	compiled, _ := content.Compile(rules, time.Now())
	return compiled, nil
}
