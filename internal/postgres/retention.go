package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// How long rows are kept that no setting says anything of.
const (
	// idempotencyKept is promised to customers.
	idempotencyKept = 72 * time.Hour
	// samplesKept, pacesKept and countersKept are longer than anybody looks back: an
	// hour for the health of vendors, a window for the caps of carriers, 40 days for
	// the counters of limits. Whoever writes to these tables takes old rows away as
	// well; what nobody writes to any more is left to the upkeep.
	samplesKept  = 2 * time.Hour
	pacesKept    = 24 * time.Hour
	paceDaysKept = 8 * 24 * time.Hour
	countersKept = 41 * 24 * time.Hour
	// mailsKept is for people who look for a mail of MM4: a request that comes again
	// within a day finds its response whatever it is.
	mailsKept = 7 * 24 * time.Hour
	// feedEventsKept is longer than they are shown.
	feedEventsKept = message.FeedKept + 24*time.Hour
	// idSkew is how much earlier than its message something may seem to have been made:
	// clocks of processes differ.
	idSkew = 24 * time.Hour
)

// tableRule says until when the rows of a table stay. Every table has one.
type tableRule struct {
	table string
	// rule is until when, in words; words makes it where settings have a say.
	rule  string
	words func(keep message.Retention) string
	// take is a statement that removes some of what is due, in the order of an index:
	// $1 the bound that `before` gives, $2 the most rows. Empty: nothing is to be
	// removed here, or partitions go as a whole.
	take   string
	before bound
	// oldest gives when the oldest row was made, as an id or a time; empty: nobody asks.
	oldest string
}

// bound gives what the rows to be removed lie before: an id or a time.
type bound func(u *upkeepBounds) any

// upkeepBounds are what one round goes by.
type upkeepBounds struct {
	now   time.Time
	keep  message.Retention
	first message.ID // no message has an earlier id, and none will that is kept
}

func ago(d time.Duration) bound {
	return func(u *upkeepBounds) any { return u.now.Add(-d) }
}

// goneMessages is before all messages that there are.
func goneMessages(u *upkeepBounds) any { return u.first }

// beforeMessages is before all that was made for one of them and has an id of its own.
func beforeMessages(u *upkeepBounds) any { return idAt(timeOf(u.first).Add(-idSkew)) }

func strays(u *upkeepBounds) any { return idAt(u.now.Add(-u.keep.Strays)) }

func redriveBound(u *upkeepBounds) any { return idAt(u.now.Add(-message.RedriveKept)) }

// takeOf removes rows of a table in the order of a column that an index begins with.
// Rows that somebody works on are left for later: it waits for nobody, and holds what
// nobody asks for any more.
func takeOf(table, column, where string) string {
	return `
delete from ` + table + `
where ctid = any(array(
  select ctid
  from ` + table + `
  where ` + where + column + ` < $1
  order by ` + column + `
  limit $2
  for update skip locked))`
}

func oldestOf(table, column, where string) string {
	return "select " + column + "\nfrom " + table + where + "\norder by " + column + "\nlimit 1"
}

// takeSlots and takeCounters go by the few that the rows belong to: rows of counters
// that are used are removed by whoever uses them, and an index by age would cost that
// one more.
const (
	takeSlots = `
delete from pace_slots
where ctid = any(array(
  select s.ctid
  from pacers p
  join pace_slots s on s.key = p.key
  where s.second < extract(epoch from $1::timestamptz)::bigint
  limit $2
  for update of s skip locked))`

	takeCounters = `
delete from usage_counters
where ctid = any(array(
  select c.ctid
  from usage_limits l
  join usage_counters c on c.limit_id = l.id
  where c.ends_at < $1::timestamptz
  limit $2
  for update of c skip locked))`
)

func inDays(d time.Duration) string {
	if d < 48*time.Hour {
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

func withMessages(keep message.Retention) string {
	return inDays(keep.Messages) + " after it was made, by the partition, once all messages in it are finished"
}

func afterMessages(message.Retention) string { return "with its message" }

func afterBatches(keep message.Retention) string {
	return inDays(keep.Messages) + " after it was made, once it has ended"
}

// ofMessage is the rule of a table whose rows belong to messages and are found by their
// ids, in time order.
func ofMessage(table, column string) tableRule {
	return tableRule{table: table, words: afterMessages, take: takeOf(table, column, ""), before: goneMessages, oldest: oldestOf(table, column, "")}
}

// inPartitions is the rule of a table whose rows go with a partition.
func inPartitions(table, column string) tableRule {
	return tableRule{table: table, words: withMessages, oldest: oldestOf(table, column, "")}
}

// emptied is the rule of a table of work: rows go when it is done.
func emptied(table, by string) tableRule { return tableRule{table: table, rule: "until " + by} }

// configured is the rule of tables that grow with what is configured, not with traffic.
func configured(tables ...string) (list []tableRule) {
	for _, t := range tables {
		list = append(list, tableRule{table: t, rule: "as long as it is configured"})
	}
	return list
}

func forever(table, why string) tableRule {
	return tableRule{table: table, rule: "for ever: " + why}
}

// tableRules has every table of the schema once; a test sees to it. A step of the
// upkeep that needs a table of another one comes before it.
var tableRules = concat(
	[]tableRule{
		inPartitions("messages", "id"),
		inPartitions("message_events", "message_id"),
		inPartitions("segments", "message_id"),
		inPartitions("webhook_deliveries", "id"),

		ofMessage("smpp_origins", "message_id"),
		ofMessage("smpp_deliveries", "message_id"),
		ofMessage("mm4_origins", "message_id"),
		ofMessage("mm4_answers", "message_id"),
		ofMessage("inbound_deliveries", "message_id"),
		ofMessage("reviews", "message_id"),
		ofMessage("route_overrides", "message_id"),
		ofMessage("text_purges_due", "message_id"),
		ofMessage("message_media", "message_id"),
		ofMessage("message_statuses", "message_id"),
		ofMessage("webhook_attempts", "delivery_id"),
		ofMessage("webhook_failed", "delivery_id"),
		{table: "receipts", take: takeOf("receipts", "id", ""), before: beforeMessages, oldest: oldestOf("receipts", "id", ""),
			words: func(keep message.Retention) string {
				return "as long as messages of their time; without a message " + inDays(keep.Strays)
			}},
		{table: "inbound_messages", take: takeOf("inbound_messages", "id", ""), before: goneMessages, oldest: oldestOf("inbound_messages", "id", ""),
			words: func(keep message.Retention) string {
				return "with its message; those of nobody's " + inDays(keep.Strays)
			}},

		{table: "batch_rows", words: afterBatches, take: takeBatchRows, before: goneMessages, oldest: oldestOf("batch_rows", "batch_id", "")},
		{table: "batches", words: afterBatches, take: takeBatches, before: goneMessages, oldest: oldestOf("batches", "id", "")},
		{table: "redrive_items", rule: inDays(message.RedriveKept) + ", once its re-drive has ended", take: takeRedriveItems, before: redriveBound, oldest: oldestOf("redrive_items", "redrive_id", "")},
		{table: "redrives", rule: inDays(message.RedriveKept) + ", once it has ended", take: takeRedrives, before: redriveBound, oldest: oldestOf("redrives", "id", "")},
		{table: "batch_paces", rule: inDays(pacesKept) + " after the last row", take: takeOf("batch_paces", "next_at", ""), before: ago(pacesKept)},
		{table: "idempotency_keys", rule: inDays(idempotencyKept), take: takeOf("idempotency_keys", "created_at", ""), before: ago(idempotencyKept), oldest: oldestOf("idempotency_keys", "created_at", "")},
		{table: "usage_days", rule: inDays(usageKept), take: takeOf("usage_days", "day", ""), before: ago(usageKept), oldest: oldestOf("usage_days", "day", "")},
		{table: "rate_refusals", rule: inDays(refusalsKept), take: takeOf("rate_refusals", "minute", ""), before: ago(refusalsKept), oldest: oldestOf("rate_refusals", "minute", "")},
		{table: "vendor_samples", rule: inDays(samplesKept), take: takeOf("vendor_samples", "at", ""), before: ago(samplesKept), oldest: oldestOf("vendor_samples", "at", "")},
		{table: "pace_days", rule: inDays(paceDaysKept), take: takeOf("pace_days", "day", ""), before: ago(paceDaysKept), oldest: oldestOf("pace_days", "day", "")},
		{table: "pace_spent", rule: "as long as it counts", take: takeOf("pace_spent", "until", ""), before: ago(0), oldest: oldestOf("pace_spent", "until", "")},
		{table: "pace_slots", rule: inDays(pacesKept), take: takeSlots, before: ago(pacesKept)},
		{table: "mm4_mails", rule: inDays(mailsKept) + " after the end of its time", take: takeOf("mm4_mails", "expires_at", ""), before: ago(mailsKept), oldest: oldestOf("mm4_mails", "expires_at", "")},
		{table: "account_events", rule: inDays(feedEventsKept), take: takeOf("account_events", "at", ""), before: ago(feedEventsKept), oldest: oldestOf("account_events", "at", "")},
		{table: "feed_marks", rule: inDays(message.FeedKept) + ", one an hour", oldest: oldestOf("feed_marks", "at", "")},
		{table: "media_files", rule: inDays(message.MediaKept) + " after their upload; those of messages with the text", take: takeOf("media_files", "expires_at", ""), before: ago(0)},
		{table: "web_sessions", rule: "until its time is over, or it is signed out of", take: takeOf("web_sessions", "expires_at", ""), before: ago(0)},
		{table: "sign_in_links", rule: "until it is used, or its time is over", take: takeOf("sign_in_links", "expires_at", ""), before: ago(0)},
		{table: "usage_counters", rule: inDays(countersKept) + " after the end of its period", take: takeCounters, before: ago(countersKept)},
	},
	[]tableRule{
		emptied("usage_late", "the next round of upkeep has counted the message anew"),
		emptied("starts", "the message's workflow runs"),
		emptied("settlements_due", "the message's workflow has answered that its receipts are recorded"),
		emptied("webhooks_due", "the delivery has arrived or failed"),
		emptied("webhook_failing", "the endpoint takes an event, or is enabled or removed"),
		emptied("backlog", "a vendor has the message, it is in doubt, or it has ended"),
		emptied("revisions_due", "the message's workflow knows of the revision"),
		emptied("holds", "the message goes on or ends"),
		emptied("reservations", "what the message took was charged or given back"),
		emptied("batch_tells", "the workflow of the batch or re-drive knows what was asked for"),
		emptied("inbound_starts", "the inbound message's workflow runs"),
		emptied("automatic_replies", "the answer is a message, or never will be"),
		emptied("smpp_parts", "the message of the part is in the journal"),
		emptied("smpp_joined", "ten minutes are over"),
		emptied("smpp_binds", "the bind ends, or was not seen for 30 seconds"),
		emptied("mm4_sessions", "the session ends, or was not seen for 30 seconds"),
		emptied("keyword_pairs", "the next day is over"),
		emptied("media_objects", "no file has the octets any more"),
		emptied("media_results", "no file has the octets any more"),
		emptied("media_loose", "the octets were found to be in use, or are gone"),
		emptied("vendor_leases", "the holder ends, or was not heard of for 15 seconds"),
		emptied("vendor_links", "the process ends, or was not heard of"),
	},
	configured("config_version", "config_tables", "accounts", "api_credentials", "smpp_credentials", "mm4_peers", "signing_keys", "campaigns", "campaign_details", "campaign_carriers",
		"brands", "brand_details", "tax_ids", "vendors", "numbers", "routing_rules", "webhook_endpoints", "inbound_routes", "content_rules", "media_profiles",
		"usage_limits", "portal_users", "portal_invitations", "second_factors", "balances", "registry_syncs", "staff", "service_credentials", "usage_counted", "message_statuses_until", "opt_outs_version", "upkeep_rounds", "schema_migrations"),
	[]tableRule{
		forever("pacers", "one row a campaign, number or brand; its lock is the counter's"),
		forever("text_purges", "one row an account"),
		forever("registry_requests", "what was filed with the registry; a row a brand or campaign"),
		forever("audit_log", "each line's hash covers the one before, and none may be missing"),
		forever("opt_outs", "what the gateway knew and when, for five years and more; ended, never deleted"),
		forever("balance_entries", "the ledger is only ever added to"),
	},
)

func concat(lists ...[]tableRule) (all []tableRule) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// strayRules remove what was nobody's, before the rule of its table would.
var strayRules = []tableRule{
	{table: "receipts", take: takeOf("receipts", "id", "message_id is null and "), before: strays},
	{table: "inbound_messages", take: takeOf("inbound_messages", "id", "account_id is null and "), before: strays},
}

// selectTables reads all tables; of those with partitions, all of them together.
const selectTables = `
select c.relname, coalesce(sum(pg_stat_get_live_tuples(p.oid)), 0)::bigint, coalesce(sum(pg_total_relation_size(p.oid)), 0)::bigint
from pg_class c
cross join lateral (
  select relid as oid
  from pg_partition_tree(c.oid)
  union
  select c.oid
) p
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
group by c.relname
order by c.relname`

// KeptTables tells of every table until when its rows stay and how much there is. Rows
// are the server's estimate.
func (db *DB) KeptTables(ctx context.Context, keep message.Retention) ([]message.KeptTable, error) {
	rows, err := db.pool.Query(ctx, selectTables)
	if err != nil {
		return nil, fmt.Errorf("look at the tables: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k message.KeptTable, err error) {
		err = row.Scan(&k.Table, &k.Rows, &k.Octets)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the tables: %w", err)
	}
	rules := make(map[string]tableRule, len(tableRules))
	for _, r := range tableRules {
		rules[r.table] = r
	}
	for i := range list {
		r, known := rules[list[i].Table]
		switch {
		case !known:
			list[i].Rule = "it is no table of this release"
		case r.words != nil:
			list[i].Rule = r.words(keep)
		default:
			list[i].Rule = r.rule
		}
		if list[i].Oldest, err = oldestRow(ctx, db.pool, r.oldest); err != nil {
			return nil, fmt.Errorf("oldest row of %s: %w", r.table, err)
		}
	}
	return list, nil
}

// oldestRow runs a statement that gives an id or a time at most; zero without one.
func oldestRow(ctx context.Context, from querier, sql string) (time.Time, error) {
	if sql == "" {
		return time.Time{}, nil
	}
	rows, err := from.Query(ctx, sql)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			rows.Close()
			return at, err
		}
		switch v := values[0].(type) {
		case time.Time:
			at = v
		case [16]byte:
			at = timeOf(v)
		}
	}
	return at, rows.Err()
}

// LastUpkeep is when the last whole round of upkeep ended, as Unix seconds; 0: never.
func (db *DB) LastUpkeep(ctx context.Context) (int, error) {
	var at *time.Time
	if err := db.pool.QueryRow(ctx, "select ended_at from upkeep_rounds").Scan(&at); err != nil {
		return 0, fmt.Errorf("last round of upkeep: %w", err)
	}
	return int(max(orZero(at).Unix(), 0)), nil
}
