package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const routeStateColumns = routingColumns + `,
  is_active, version, created_at, updated_at`

// In the order in which they are asked; the cursor is the last one's priority and id.
const selectRouteStates = `select` + routeStateColumns + `
from routing_rules
where (priority, id) > ($1, $2)
  and ($3::uuid is null or vendor_id = $3)
  and ($4::uuid is null or account_id = $4)
  and (not $5 or is_active)
order by priority, id
limit $6`

const selectRouteState = `select` + routeStateColumns + `
from routing_rules
where id = $1`

const lockRoute = selectRouteState + `
for update`

func scanRouteState(row pgx.CollectableRow) (snapshot.RouteState, error) {
	var r snapshot.RouteState
	var err error
	r.Route, err = scanRoute(row, map[string]*time.Location{}, &r.Active, &r.Version, &r.CreatedAt, &r.UpdatedAt)
	r.Broken, err = brokenness(err)
	return r, err
}

// Routes lists routes by priority and id: at most limit, from behind the one with that
// priority and id; -1 and 0 are before the first.
func (db *DB) Routes(ctx context.Context, f snapshot.RouteFilter, priority int, after int64, limit int) ([]snapshot.RouteState, error) {
	rows, err := db.pool.Query(ctx, selectRouteStates, priority, after, idOrNull(f.VendorID), idOrNull(f.AccountID), f.Active, limit)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return pgx.CollectRows(rows, scanRouteState)
}

// Route reads a route. ReasonNotFound when there is none.
func (db *DB) Route(ctx context.Context, id int64) (snapshot.RouteState, error) {
	return oneRoute(ctx, db.pool, selectRouteState, id)
}

func oneRoute(ctx context.Context, q querier, sql string, id int64) (snapshot.RouteState, error) {
	rows, err := q.Query(ctx, sql, id)
	if err != nil {
		return snapshot.RouteState{}, fmt.Errorf("read route %d: %w", id, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanRouteState)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, message.Refuse(message.ReasonNotFound, "there is no route %d", id)
	}
	if err != nil {
		return r, fmt.Errorf("read route %d: %w", id, err)
	}
	return r, nil
}

const insertRouteState = `
insert into routing_rules (priority, dest_pattern, source_pattern, vendor_id, account_id, message_type, rate_per_msg, weight,
  name, message_class, capability, selection, max_cost, sticky, days, from_minute, until_minute, time_zone, effective_from, effective_until, is_active)
values ($1, nullif($2, ''), nullif($3, ''), $4, $5, nullif($6, ''), $7::numeric / 1000000, $8,
  $9, nullif($10, ''), nullif($11, ''), $12, nullif($13::numeric, 0) / 1000000, $14, $15, $16, $17, $18, $19, $20, $21)
returning id`

const updateRoute = `
update routing_rules
set priority = $1, dest_pattern = nullif($2, ''), source_pattern = nullif($3, ''), vendor_id = $4, account_id = $5, message_type = nullif($6, ''),
    rate_per_msg = $7::numeric / 1000000, weight = $8, name = $9, message_class = nullif($10, ''), capability = nullif($11, ''), selection = $12,
    max_cost = nullif($13::numeric, 0) / 1000000, sticky = $14, days = $15, from_minute = $16, until_minute = $17, time_zone = $18,
    effective_from = $19, effective_until = $20, is_active = $21
where id = $22`

// routeRow is a route's columns in the order of both statements.
func routeRow(r snapshot.RouteState) []any {
	return []any{r.Priority, patternOf(r.DestPattern), patternOf(r.SourcePattern), r.VendorID, idOrNull(r.AccountID), string(r.MessageType), int64(r.RatePerMsg), orElse(r.Weight, 1),
		r.Name, string(r.Class), r.Capability, orElse(r.Selection, "weighted"), int64(r.MaxCost), r.Sticky, int16(orElse(r.Days, everyDay)), r.FromMinute, r.UntilMinute,
		routeZone(r.Route), timeOrNull(r.EffectiveFrom), timeOrNull(r.EffectiveUntil), r.Active}
}

func routeZone(r snapshot.Route) string {
	if r.Zone == nil {
		return "UTC"
	}
	return r.Zone.String()
}

// AddRoute adds a route and returns it with its id.
func (db *DB) AddRoute(ctx context.Context, by Actor, r snapshot.RouteState) (snapshot.RouteState, error) {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, insertRouteState, routeRow(r)...).Scan(&r.ID); err != nil {
			return routeFault(err, r)
		}
		after := shownRoute(r)
		after["id"] = r.ID
		if err := audit(ctx, tx, auditRow{by: by, action: "route.create", target: routeTarget(r.ID)}, nil, after); err != nil {
			return err
		}
		var err error
		r, err = oneRoute(ctx, tx, selectRouteState, r.ID)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("route.create: %w", err)
	}
	return r, nil
}

// ChangeRoute has change make a route into what it is to be, and stores that. It
// returns the route as it is then.
func (db *DB) ChangeRoute(ctx context.Context, by Actor, id int64, change func(*snapshot.RouteState) error) (snapshot.RouteState, error) {
	var r snapshot.RouteState
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "route.update", routeTarget(id), before, after, func(tx pgx.Tx) error {
		was, err := oneRoute(ctx, tx, lockRoute, id)
		if err != nil {
			return err
		}
		if was.Broken != "" { // what cannot be read would be lost, and the route match too much
			return message.Refuse(message.ReasonConflict, "route %d cannot be read (%s): remove it and add another", id, was.Broken)
		}
		r = was
		if err := change(&r); err != nil {
			return err
		}
		r.ID = id
		if err := routeFault(exactlyOne(tx.Exec(ctx, updateRoute, append(routeRow(r), id)...)), r); err != nil {
			return err
		}
		differences(shownRoute(was), shownRoute(r), before, after)
		r, err = oneRoute(ctx, tx, selectRouteState, id)
		return err
	})
	return r, err
}

const deleteRoute = `
delete from routing_rules
where id = $1`

// RemoveRoute takes a route away. check looks at it first; its error is the answer.
func (db *DB) RemoveRoute(ctx context.Context, by Actor, id int64, check func(snapshot.RouteState) error) error {
	before := map[string]any{}
	return db.auditedChange(ctx, by, "route.delete", routeTarget(id), before, nil, func(tx pgx.Tx) error {
		was, err := oneRoute(ctx, tx, lockRoute, id)
		if err != nil {
			return err
		}
		if err := check(was); err != nil {
			return err
		}
		maps.Copy(before, shownRoute(was))
		return exactlyOne(tx.Exec(ctx, deleteRoute, id))
	})
}

func routeTarget(id int64) string { return strconv.FormatInt(id, 10) }

// shownRoute is a route in the audit log.
func shownRoute(r snapshot.RouteState) map[string]any {
	return map[string]any{"name": r.Name, "is_active": r.Active, "priority": r.Priority, "dest_pattern": patternOf(r.DestPattern), "source_pattern": patternOf(r.SourcePattern),
		"vendor_id": r.VendorID, "account_id": idOrNull(r.AccountID), "message_type": r.MessageType, "message_class": r.Class, "capability": r.Capability,
		"rate_per_msg": r.RatePerMsg.String(), "max_cost": r.MaxCost.String(), "selection": r.Selection, "weight": r.Weight, "sticky": r.Sticky,
		"days": int(r.Days), "from_minute": r.FromMinute, "until_minute": r.UntilMinute, "time_zone": routeZone(r.Route),
		"effective_from": timeOrNull(r.EffectiveFrom), "effective_until": timeOrNull(r.EffectiveUntil)}
}

// routeFault puts the database's refusals in words.
func routeFault(err error, r snapshot.RouteState) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != foreignKeyViolation {
		return err
	}
	field := message.FieldError{Location: "vendor_id", Message: "there is no vendor " + r.VendorID.String()}
	if pg.ConstraintName == "routing_rules_account_id_fkey" {
		field = message.FieldError{Location: "account_id", Message: "there is no account " + r.AccountID.String()}
	}
	return &message.Error{Reason: message.ReasonInvalidRequest, Detail: field.Location + ": " + field.Message, Fields: []message.FieldError{field}}
}
