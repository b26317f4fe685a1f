package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// advanceStatement writes one Change. Everything hangs on the update of the
// message: if the status does not allow the change, nothing at all is written.
// The same holds for answers that bring no new status and were written before,
// so that their lines do not come into the timeline twice.
//
// The statement has a clause only for what the Change holds: there are a few
// dozen shapes, each prepared once a connection, and the usual ones are several
// times cheaper than one statement that has room for everything.
func advanceStatement(c message.Change) (string, []any) {
	w := &writer{}
	w.moved(c)
	w.events(c)
	w.attempts(c)
	w.takenOver(c)
	w.answers(c)
	w.notifications(c)
	if c.OptOut != nil {
		w.optOut(c)
	}
	if c.Owed {
		w.owed(c)
	}
	if c.OwedMM4 {
		w.owedMM4(c)
	}
	if c.Settled {
		w.clause("settled", "delete from settlements_due\n  where message_id = $1 and exists (select from moved)")
	}
	if c.Resettle {
		w.clause("resettled", "insert into settlements_due (message_id)\n  select id\n  from moved\n  on conflict (message_id) do update set told = 0, again_at = null")
	}
	if c.Started {
		w.clause("started", "delete from starts\n  where message_id = $1 and exists (select from moved)")
	}
	w.holds(c)
	w.backlog(c)
	w.ended(c)
	left := "null::uuid, null::smallint"
	if leaves(c.To) {
		left = "(select account_id from left_backlog), (select priority from left_backlog)"
	}
	owes := "false"
	if w.owes {
		owes = "exists (select from owed)"
	}
	stopped := "null::bigint"
	if c.OptOut != nil {
		stopped = "(select version from opt_out)"
	}
	w.sql.WriteString("\nselect event_seq, account_id, at, " + left + ", " + owes + ", " + stopped + "\nfrom moved")
	return w.sql.String(), w.args
}

// writer puts a statement together from clauses and numbers its parameters.
type writer struct {
	sql  strings.Builder
	args []any
	owes bool // there is a clause owed
}

// arg adds a parameter of the given type and returns its place.
func (w *writer) arg(v any, kind string) string {
	w.args = append(w.args, v)
	return "$" + strconv.Itoa(len(w.args)) + "::" + kind
}

func (w *writer) clause(name, body string) {
	start := ", "
	if w.sql.Len() == 0 {
		start = "with "
	}
	w.sql.WriteString(start + name + " as (\n  " + body + "\n)")
}

// moved updates the message itself.
func (w *writer) moved(c message.Change) {
	id := w.arg(c.MessageID, "uuid")
	set := []string{"updated_at = now()"}
	if c.To != "" {
		set = append(set, "status = "+w.arg(string(c.To), "text"))
	}
	if len(c.Events) > 0 {
		set = append(set, "event_seq = event_seq + "+w.arg(len(c.Events), "int"))
	}
	if c.Vendor.ID != (message.ID{}) {
		set = append(set, "vendor_id = "+w.arg(c.Vendor.ID, "uuid"), "vendor_name = "+w.arg(c.Vendor.Name, "text"))
	}
	switch {
	case c.To == message.StatusDelivered: // what a former vendor said of it is no longer true
		set = append(set, "reason = ''", "reason_detail = ''", "vendor_code = ''")
	default:
		if c.Error != nil {
			set = append(set, "reason = "+w.arg(string(c.Error.Reason), "text"), "reason_detail = "+w.arg(storable(c.Error.Detail), "text"))
		}
		if c.VendorCode != "" {
			set = append(set, "vendor_code = "+w.arg(storable(c.VendorCode), "text"))
		}
	}
	if c.Price != nil {
		set = append(set, "price_micros = "+w.arg(int64(c.Price.Amount), "bigint"), "price_final = true")
	}
	if c.Receipt != nil {
		set = append(set, "receipt_stat = "+w.arg(storable(c.Receipt.Stat), "text"), "receipt_err = "+w.arg(storable(c.Receipt.Err), "text"),
			"receipt_at = coalesce("+w.arg(timeOrNull(c.Receipt.At), "timestamptz")+", receipt_at)")
	}
	if c.MaybeDoubled {
		set = append(set, "possible_duplicate = true")
	}
	if c.Submitted {
		set = append(set, "submitted_at = coalesce(submitted_at, now())")
	}
	if c.Delivered {
		set = append(set, "delivered_at = coalesce(delivered_at, now())")
	}
	where := "id = " + id
	switch {
	case c.To != "":
		where += " and status = any(" + w.arg(statusesBefore(c), "text[]") + ")"
	case len(c.Answers) > 0:
		where += ` and exists (
    select
    from unnest(` + w.arg(pick(c.Answers, func(a message.Answer) int32 { return int32(a.Part) }), "int[]") + ", " +
			w.arg(pick(c.Answers, func(a message.Answer) int32 { return int32(a.Attempt) }), "int[]") + ", " +
			w.arg(pick(c.Answers, func(a message.Answer) string { return string(a.State) }), "text[]") + `) as a (part, attempt, state)
    join segments s on s.message_id = ` + id + ` and s.part = a.part and s.attempt = a.attempt
    where s.state in ('sending', 'in_doubt') and s.state <> a.state)`
	}
	if c.Hold != nil && c.To == "" {
		where += " and status = 'queued'"
	}
	if c.While != "" && c.To == "" {
		where += " and status = " + w.arg(string(c.While), "text")
	}
	if c.Resend {
		where += " and " + w.undecided(id, c)
	}
	if c.Revision != nil {
		where += " and revision = " + w.arg(*c.Revision, "int")
	}
	w.clause("moved", "update messages\n  set "+strings.Join(set, ",\n      ")+"\n  where "+where+"\n  returning id, event_seq, account_id, campaign_id, price_micros, clock_timestamp() as at")
}

// undecided is the condition for giving a message to another vendor although one has
// it. No status keeps a second run from doing the same, so the first one's attempts do.
func (w *writer) undecided(id string, c message.Change) string {
	return `status in ('sent', 'in_doubt') and parts_failed = 0 and parts_settled < segments
    and not exists (
      select
      from unnest(` + w.arg(pick(c.Attempts, func(a message.Attempt) int32 { return int32(a.Part) }), "int[]") + ", " +
		w.arg(pick(c.Attempts, func(a message.Attempt) int32 { return int32(a.Number) }), "int[]") + `) as a (part, attempt)
      join segments s on s.message_id = ` + id + ` and s.part = a.part and s.attempt = a.attempt)`
}

// events adds lines to the timeline. The last one is that of the new status: if customers
// are told of that, it is in their feed.
func (w *writer) events(c message.Change) {
	n := len(c.Events)
	if n == 0 {
		return
	}
	into, from := "message_id, sequence, at, type, detail", "m.id, m.event_seq + e.place, m.at, e.type, e.detail"
	if fed(c) {
		said := "null::jsonb"
		if c.Said != "" {
			said = w.arg(withoutNUL(c.Said), "jsonb")
		}
		into += ", account_id, feed_xid, told"
		if n == 1 {
			from += ", m.account_id, pg_current_xact_id(), " + said
		} else {
			from += ", case when e.place = 0 then m.account_id end, case when e.place = 0 then pg_current_xact_id() end, case when e.place = 0 then " + said + " end"
		}
	}
	w.clause("event", "insert into message_events ("+into+`)
  select `+from+`
  from moved m, `+w.list("e", n,
		of("place", "int", func(i int) int32 { return int32(i + 1 - n) }),
		of("type", "text", func(i int) string { return string(c.Events[i].Type) }),
		of("detail", "jsonb", func(i int) *string { return detailJSON(c.Events[i].Detail) })))
}

// fed reports whether the last line of a change is an event of the customers' feed.
func fed(c message.Change) bool {
	n := len(c.Events)
	return n > 0 && c.To.Told() && c.Events[n-1].Type == message.StatusEvent(c.To)
}

// attempts adds the rows of the submit journal. One that is there already is a
// duplicate key, on purpose, whoever wrote it: the statement fails and the caller must
// not send. The status alone does not say so: it is queued again when the run that
// wrote the row has come back with some parts refused.
func (w *writer) attempts(c message.Change) {
	if len(c.Attempts) == 0 {
		return
	}
	w.clause("attempt", `insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state)
  select m.id, a.part, a.attempt, a.vendor_id, a.vendor_name, a.instance, 'sending'
  from moved m, `+w.list("a", len(c.Attempts),
		of("part", "int", func(i int) int32 { return int32(c.Attempts[i].Part) }),
		of("attempt", "int", func(i int) int32 { return int32(c.Attempts[i].Number) }),
		of("vendor_id", "uuid", func(i int) message.ID { return c.Attempts[i].Vendor.ID }),
		of("vendor_name", "text", func(i int) string { return c.Attempts[i].Vendor.Name }),
		of("instance", "text", func(i int) string { return c.Attempts[i].Instance })))
}

// takenOver names the process that goes on with attempts which an earlier one left open.
func (w *writer) takenOver(c message.Change) {
	if len(c.TakenOver) == 0 {
		return
	}
	w.clause("taken_over", `update segments s
  set instance = a.instance
  from `+w.list("a", len(c.TakenOver),
		of("part", "int", func(i int) int32 { return int32(c.TakenOver[i].Part) }),
		of("attempt", "int", func(i int) int32 { return int32(c.TakenOver[i].Number) }),
		of("instance", "text", func(i int) string { return c.TakenOver[i].Instance }))+`
  where s.message_id = $1 and s.part = a.part and s.attempt = a.attempt and s.state = 'sending'
    and exists (select from moved)`)
}

func (w *writer) answers(c message.Change) {
	if len(c.Answers) == 0 {
		return
	}
	// The message is named by the parameter, so that one partition is opened and not all.
	w.clause("answer", `update segments s
  set state = a.state,
      doubted = s.doubted or a.state = 'in_doubt',
      vendor_message_id = a.vendor_message_id,
      normalized_id = coalesce(nullif(a.normalized_id, ''), s.normalized_id),
      vendor_code = a.vendor_code,
      reason = a.reason,
      answered_at = now()
  from `+w.list("a", len(c.Answers),
		of("part", "int", func(i int) int32 { return int32(c.Answers[i].Part) }),
		of("attempt", "int", func(i int) int32 { return int32(c.Answers[i].Attempt) }),
		of("state", "text", func(i int) string { return string(c.Answers[i].State) }),
		of("vendor_message_id", "text", func(i int) string { return storable(c.Answers[i].VendorMessageID) }),
		of("normalized_id", "text", func(i int) string { return storable(c.Answers[i].NormalizedID) }),
		of("vendor_code", "text", func(i int) string { return storable(c.Answers[i].VendorCode) }),
		of("reason", "text", func(i int) string { return string(c.Answers[i].Reason) }))+`
  where s.message_id = $1 and s.part = a.part and s.attempt = a.attempt and s.state in ('sending', 'in_doubt')
    and exists (select from moved)`)
}

// stampOf is a time as message.StampLayout writes it.
func stampOf(at string) string {
	return "to_char(" + at + ` at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}

func (w *writer) notifications(c message.Change) {
	n := len(c.Notifications)
	if n == 0 {
		return
	}
	id := of("id", "uuid", func(i int) message.ID { return c.Notifications[i].ID })
	w.clause("notification", `insert into webhook_deliveries (id, event_id, account_id, endpoint_id, message_id, type, url, failover_url, format, method, payload)
  select n.id, event_id(m.id, m.event_seq), m.account_id, n.endpoint_id, m.id, n.type, n.url, n.failover_url, n.format, n.method,
    replace(replace(n.payload, '"sequence":-1', '"sequence":' || m.event_seq), '"timestamp":0', '"timestamp":"' || `+stampOf("m.at")+` || '"')
  from moved m, `+w.list("n", n, id,
		of("endpoint_id", "uuid", func(i int) *message.ID { return idOrNull(c.Notifications[i].EndpointID) }),
		of("type", "text", func(i int) string { return c.Notifications[i].Type }),
		of("url", "text", func(i int) string { return c.Notifications[i].URL }),
		of("failover_url", "text", func(i int) string { return c.Notifications[i].FailoverURL }),
		of("format", "text", func(i int) string { return c.Notifications[i].Format }),
		of("method", "text", func(i int) string { return orElse(c.Notifications[i].Method, "POST") }),
		of("payload", "text", func(i int) string { return c.Notifications[i].Payload }))+`
  on conflict do nothing`)
	w.clause("due", `insert into webhooks_due (delivery_id, due_at)
  select n.id, now() + interval '60 seconds'
  from moved m, `+w.list("n", n, id)+`
  on conflict do nothing`)
}

// Advance writes a Change in one transaction, shared with others, and returns
// after the commit. A message that is not there is ReasonNotFound. When the
// status does not allow the change nothing is written and Changed is false:
// the caller looks at Was to tell a repetition from a refusal. An attempt that
// is journalled already is an error.
func (db *DB) Advance(ctx context.Context, c message.Change) (message.Advanced, error) {
	for range maxConflicts {
		out, err := db.advanceOnce(ctx, c)
		if err != nil || out.Changed {
			db.rememberUntried(c, out)
			return out, err
		}
		// The status is read after the refusal: if it allows the change by now,
		// another process moved it in between.
		was, revision := "", 0
		err = db.pool.QueryRow(ctx, selectStatus, c.MessageID).Scan(&was, &out.Sequence, &revision)
		if errors.Is(err, pgx.ErrNoRows) {
			return message.Advanced{}, message.Refuse(message.ReasonNotFound, "no message %s", c.MessageID)
		}
		if err != nil {
			return message.Advanced{}, fmt.Errorf("advance %s to %q: %w", c.MessageID, c.To, err)
		}
		out.Was = message.Status(was)
		if c.To == "" || !slices.Contains(c.From(), out.Was) {
			return out, nil
		}
		if c.Revision != nil && *c.Revision != revision {
			db.envelopes.take(c.MessageID) // what is remembered is the old one
			out.Revised = true
			return out, nil
		}
	}
	return message.Advanced{}, fmt.Errorf("advance %s to %q: its status does not stay", c.MessageID, c.To)
}

// rememberUntried keeps the notifications of a change for their first try.
func (db *DB) rememberUntried(c message.Change, out message.Advanced) {
	if !out.Changed {
		return
	}
	for _, n := range c.Notifications {
		n.MessageID, n.EventID = c.MessageID, message.EventID(c.MessageID, out.Sequence)
		n.Payload = message.Filled(n.Payload, out.Sequence, out.At)
		db.untried.put(n.ID, untried{n, time.Now()})
	}
}

const selectStatus = `
select status, event_seq, revision
from messages
where id = $1`

func (db *DB) advanceOnce(ctx context.Context, c message.Change) (message.Advanced, error) {
	var out message.Advanced
	var account message.ID
	var left *message.ID
	var priority *int
	sql, args := advanceStatement(c)
	var stopped *int64
	owes := false
	err := db.one(ctx, c.MessageID, sql, func(rows pgx.Rows) error {
		out, left = message.Advanced{}, nil
		for rows.Next() {
			out.Changed = true
			if err := rows.Scan(&out.Sequence, &account, &out.At, &left, &priority, &owes, &stopped); err != nil {
				return err
			}
		}
		return rows.Err()
	}, args...)
	if sqlState(err) == uniqueViolation {
		err = fmt.Errorf("another run has journalled an attempt of the same number: %w", err)
	}
	if err != nil {
		return message.Advanced{}, fmt.Errorf("advance %s to %q: %w", c.MessageID, c.To, err)
	}
	switch {
	case owes && c.OwedMM4:
		db.owedMM4()
	case owes:
		db.owed()
	}
	if stopped != nil {
		o := *c.OptOut
		o.At, o.Version = orElse(o.At, db.Now()), *stopped
		db.optedOut([]message.OptOut{o})
	}
	if out.Changed && (fed(c) || c.OptOutEvent != nil) {
		db.feed.grown(account)
	}
	if db.onLeft != nil && left != nil {
		db.onLeft(*left, orZero(priority))
	}
	return out, nil
}

// statusesBefore gives the statuses that allow the change.
func statusesBefore(c message.Change) []string {
	return pick(c.From(), func(s message.Status) string { return string(s) })
}

func pick[T, V any](list []T, of func(T) V) []V {
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = of(v)
	}
	return out
}

func detailJSON(detail map[string]any) *string {
	if len(detail) == 0 {
		return nil
	}
	b, err := json.Marshal(detail)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"unreadable": err.Error()})
	}
	s := withoutNUL(string(b))
	return &s
}
