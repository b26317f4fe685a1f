package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Violation is an invariant that does not hold.
type Violation struct {
	Invariant string
	Rows      int
	Examples  []string // keys of some of the rows
}

// mostExamples is how many keys a Violation names.
const mostExamples = 5

// invariant is a sentence that is true of the rows whenever no process is in the
// middle of something. Its query gives the keys of the rows that break it; $1 is how
// long a row must have been as it is, so that what is under way does not count.
type invariant struct {
	says   string
	tables []string // that it is about
	query  string
}

// endedStatuses are those at which a message has ended, as a list of SQL.
var endedStatuses = "('" + strings.Join(finals(message.Status.Final), "', '") + "')"

// anyMessages is the usual one: a row of the table is of a message that exists.
func anyMessages(table string) invariant {
	return invariant{"a row of " + table + " is of a message that exists", []string{table, "messages"},
		"select t.message_id::text as key from " + table + " t where not exists (select from messages m where m.id = t.message_id) and $1::interval is not null"}
}

// untilFinal: a row of the table is there for as long as its message has not ended.
func untilFinal(table, and string) invariant {
	return invariant{"a message that has ended has no row in " + table, []string{table, "messages"},
		"select t.message_id::text as key from " + table + " t join messages m on m.id = t.message_id where m.status in " + endedStatuses +
			" and m.updated_at < now() - $1::interval" + and}
}

// invariants are about all tables but those of unbound.
var invariants = []invariant{
	// The record.
	{"the timeline of a message has no gap", []string{"messages", "message_events"}, `
select m.id::text as key
from messages m
cross join lateral (
  select count(*) as n, max(e.sequence) as top
  from message_events e
  where e.message_id = m.id
) e
where (e.n <> m.event_seq or e.top <> m.event_seq) and m.updated_at < now() - $1::interval`},
	{"an event is of a message that exists", []string{"message_events"}, `
select e.message_id::text as key
from message_events e
where not exists (select from messages m where m.id = e.message_id) and not exists (select from inbound_messages i where i.id = e.message_id)
  and e.at < now() - $1::interval`},
	{"a message that ended otherwise than delivered or withdrawn says why", []string{"messages"}, `
select m.id::text as key
from messages m
where m.status in ` + endedStatuses + ` and m.status not in ('delivered', 'canceled') and m.reason = '' and m.direction = 'outbound' and m.updated_at < now() - $1::interval`},
	{"what went out has a journalled attempt for each part", []string{"messages", "segments"}, `
select m.id::text as key
from messages m
where m.direction = 'outbound' and m.status in ('sent', 'delivered', 'undelivered')
  and (select count(distinct s.part) from segments s where s.message_id = m.id and s.state <> 'refused') < m.segments
  and m.updated_at < now() - $1::interval`},
	{"under at_most_once a part has one attempt that was not refused", []string{"segments", "messages"}, `
select s.message_id::text as key
from segments s
join messages m on m.id = s.message_id
where m.delivery = 'at_most_once' and s.state <> 'refused' and $1::interval is not null
group by s.message_id, s.part
having count(*) > 1`},
	{"no part of a message that has ended is being sent", []string{"segments", "messages"}, `
select s.message_id::text as key
from segments s
join messages m on m.id = s.message_id
where s.state = 'sending' and m.status in ` + endedStatuses + ` and m.updated_at < now() - $1::interval`},
	anyMessages("segments"),

	// What is to be done with a message.
	anyMessages("starts"), untilFinal("starts", ""),
	anyMessages("settlements_due"), untilFinal("settlements_due", " and m.status <> 'unconfirmed' and t.since < now() - $1::interval"),
	anyMessages("backlog"),
	{"a message in the backlog has not left", []string{"backlog", "messages"}, `
select b.message_id::text as key
from backlog b
join messages m on m.id = b.message_id
where m.status not in ('accepted', 'scheduled', 'queued', 'sending') and m.updated_at < now() - $1::interval`},
	anyMessages("holds"),
	{"a message that is held is queued", []string{"holds", "messages"}, `
select h.message_id::text as key
from holds h
join messages m on m.id = h.message_id
where m.status <> 'queued' and m.updated_at < now() - $1::interval`},
	anyMessages("reviews"),
	anyMessages("text_purges_due"),
	anyMessages("message_media"),
	anyMessages("revisions_due"), untilFinal("revisions_due", ""),
	anyMessages("route_overrides"),
	anyMessages("reservations"), untilFinal("reservations", " and t.ended_at is null"),

	// Receipts of vendors.
	{"a matched receipt is of a part that was tried", []string{"receipts", "segments"}, `
select r.id::text as key
from receipts r
where r.message_id is not null and not exists (select from segments s where s.message_id = r.message_id and s.part = coalesce(r.part, s.part))
  and $1::interval is not null`},
	// Of parts that are in doubt, all of one number and without an id, nobody can say which
	// one a receipt is about.
	{"a receipt that decides something matches a message", []string{"receipts"}, `
select r.id::text as key
from receipts r
where r.message_id is null and r.state in ('DELIVRD', 'UNDELIV', 'REJECTD', 'DELETED', 'EXPIRED') and r.last_at < now() - $1::interval
  and not exists (
    select from segments s
    join messages m on m.id = s.message_id
    where s.vendor_id = r.vendor_id and s.doubted and m.segments > 1 and ltrim(m.to_addr, '+') = ltrim(r.source, '+'))`},

	// What customers are told.
	{"a pending webhook is due some time", []string{"webhook_deliveries", "webhooks_due"}, `
select d.id::text as key
from webhook_deliveries d
where d.state = 'pending' and not exists (select from webhooks_due w where w.delivery_id = d.id) and d.created_at < now() - $1::interval`},
	{"what is due is a pending webhook", []string{"webhooks_due", "webhook_deliveries"}, `
select w.delivery_id::text as key
from webhooks_due w
where not exists (select from webhook_deliveries d where d.id = w.delivery_id and d.state = 'pending') and w.due_at < now() + interval '100 years' and $1::interval is not null`},
	{"a message that is not delivered is listed by its status", []string{"message_statuses", "messages"}, `
select m.id::text as key
from messages m
left join message_statuses s on s.message_id = m.id
where m.id < (select until_id from message_statuses_until) and m.updated_at < now() - $1::interval
  and s.status is distinct from nullif(m.status, 'delivered')
  and (s.message_id is not null or not exists (select from backlog b where b.message_id = m.id))`},
	anyMessages("message_statuses"),
	{"what customers are told of a message is in the feed of its account", []string{"message_events", "messages"}, `
select e.message_id || ' ' || e.sequence as key
from message_events e
join messages m on m.id = e.message_id
where e.feed_xid is not null and e.account_id is distinct from m.account_id and $1::interval is not null`},
	{"what a webhook tells of a message is a line of its timeline in the feed", []string{"webhook_deliveries", "message_events", "feed_marks"}, `
select d.id::text as key
from webhook_deliveries d
where d.message_id is not null and d.event_id <> d.message_id and d.created_at < now() - $1::interval
  and d.created_at > (select min(at) from feed_marks)
  and not exists (select from message_events e where e.message_id = d.message_id and e.feed_xid is not null and event_id(e.message_id, e.sequence) = d.event_id)`},
	{"a webhook that has failed is listed, and what is listed has failed", []string{"webhook_deliveries", "webhook_failed"}, `
select d.id::text as key
from webhook_deliveries d
where d.state = 'failed' and not exists (select from webhook_failed f where f.delivery_id = d.id) and d.created_at < now() - $1::interval
union all
select f.delivery_id::text
from webhook_failed f
where not exists (select from webhook_deliveries d where d.id = f.delivery_id and d.state = 'failed') and $1::interval is not null`},
	{"a try is of a webhook that exists", []string{"webhook_attempts", "webhook_deliveries"}, `
select a.delivery_id::text as key
from webhook_attempts a
where not exists (select from webhook_deliveries d where d.id = a.delivery_id) and a.at < now() - $1::interval`},
	{"a webhook about a message is of one that exists", []string{"webhook_deliveries", "messages"}, `
select d.id::text as key
from webhook_deliveries d
where d.message_id is not null and not exists (select from messages m where m.id = d.message_id) and d.created_at < now() - $1::interval`},
	anyMessages("smpp_origins"),
	anyMessages("smpp_deliveries"),
	{"a pending deliver_sm is somebody's who can bind", []string{"smpp_deliveries", "smpp_credentials"}, `
select d.id::text as key
from smpp_deliveries d
where d.state = 'pending' and not exists (select from smpp_credentials c where c.id = d.credential_id) and d.created_at < now() - $1::interval`},
	{"a deliver_sm is claimed for minutes at most", []string{"smpp_deliveries"}, `
select d.id::text as key
from smpp_deliveries d
where d.state = 'pending' and d.claimed_until > clock_timestamp() + interval '5 minutes' and $1::interval is not null`},
	{"a bind is of a credential that exists", []string{"smpp_binds", "smpp_credentials"}, `
select b.id::text as key
from smpp_binds b
where not exists (select from smpp_credentials c where c.id = b.credential_id) and b.seen_at < now() - $1::interval`},

	anyMessages("mm4_origins"),
	anyMessages("mm4_answers"),
	{"a report over MM4 that is owed is of a message that exists", []string{"mm4_mails", "messages"}, `
select d.id::text as key
from mm4_mails d
where d.state = 'pending' and d.kind not like '%\_res' and not exists (select from messages m where m.id = d.message_id) and d.created_at < now() - $1::interval`},
	{"a message that has ended has the delivery report that was asked for over MM4", []string{"mm4_mails", "mm4_origins", "mm4_peers", "messages"}, `
select o.message_id::text as key
from mm4_origins o
join messages m on m.id = o.message_id
join mm4_peers p on p.id = o.peer_id
where o.delivery_report and m.status in ` + endedStatuses + ` and m.updated_at < now() - $1::interval and m.updated_at > now() - interval '7 days'
  and not exists (select from mm4_mails d where d.message_id = o.message_id and d.kind = 'delivery_report' and d.status = m.status)`},
	// What an ESME did with an inbound message has one line, whatever it made of the status.
	{"a delivery report over MM4 tells of a status that its message has had", []string{"mm4_mails", "message_events"}, `
select d.id::text as key
from mm4_mails d
where d.kind = 'delivery_report' and d.state = 'pending' and $1::interval is not null
  and not exists (select from message_events e where e.message_id = d.message_id and (e.type = d.status or e.type = 'deliver_sm_attempt'))`},
	{"a mail of MM4 that is owed is a peer's that exists, and claimed for minutes at most", []string{"mm4_mails", "mm4_peers"}, `
select d.id::text as key
from mm4_mails d
where d.state = 'pending' and $1::interval is not null
  and (not exists (select from mm4_peers p where p.id = d.peer_id) or d.claimed_by is not null and d.due_at > clock_timestamp() + interval '5 minutes')`},

	// Messages in parts from ESMEs.
	{"parts that were settled are joined", []string{"smpp_parts"}, `
select p.id::text as key
from smpp_parts p
where p.message_id is not null and p.decided_at < now() - $1::interval - interval '30 seconds'`},
	{"a joined part is of a message that exists", []string{"smpp_joined", "messages"}, `
select j.message_id::text as key
from smpp_joined j
where not exists (select from messages m where m.id = j.message_id) and j.joined_at < now() - $1::interval - interval '30 seconds'`},
	{"an answer that is repeated for a key names what exists", []string{"idempotency_keys", "messages"}, `
select k.message_id::text as key
from idempotency_keys k
where k.http_status = 202 and k.message_id is not null and not exists (select from messages m where m.id = k.message_id) and k.created_at < now() - $1::interval`},

	// Batches.
	{"a batch counts the rows that are worked", []string{"batches", "batch_rows"}, `
select b.id::text as key
from batches b
cross join lateral (
  select count(*) as n, count(*) filter (where r.state in ('made', 'refused')) as worked, count(*) filter (where r.state = 'refused') as refused
  from batch_rows r
  where r.batch_id = b.id
) r
where (r.n <> b.total or r.worked <> b.worked or r.refused <> b.refused) and b.created_at < now() - $1::interval`},
	{"a row that is made has its message, which is of the batch", []string{"batch_rows", "messages"}, `
select r.batch_id || ' ' || r.row as key
from batch_rows r
where r.state = 'made' and not exists (select from messages m where m.id = r.message_id and m.batch_id = r.batch_id) and r.claimed_at < now() - $1::interval`},
	{"a message of a batch is of one row", []string{"messages", "batch_rows"}, `
select m.id::text as key
from messages m
where m.batch_id is not null and m.updated_at < now() - $1::interval
  and (select count(*) from batch_rows r where r.batch_id = m.batch_id and r.message_id = m.id) <> 1
  and exists (select from batches b where b.id = m.batch_id)`},
	{"a batch that has completed has no row left", []string{"batches"}, `
select b.id::text as key
from batches b
where b.status = 'completed' and b.worked < b.total and $1::interval is not null`},
	{"a workflow is told of a batch that exists", []string{"batch_tells", "batches", "redrives"}, `
select t.batch_id::text as key
from batch_tells t
where not exists (select from batches b where b.id = t.batch_id) and not exists (select from redrives r where r.id = t.batch_id) and $1::interval is not null`},

	// Re-drives.
	{"a re-drive counts its messages", []string{"redrives", "redrive_items"}, `
select r.id::text as key
from redrives r
cross join lateral (
  select count(*) as n, count(*) filter (where i.state = 'done') as done, count(*) filter (where i.state = 'passed') as passed, count(*) filter (where i.state = 'refused') as refused
  from redrive_items i
  where i.redrive_id = r.id
) i
where not r.dry_run and (i.n <> r.looked or i.done <> r.done or i.passed <> r.passed or i.refused <> r.refused) and r.created_at < now() - $1::interval`},
	{"a re-drive that has ended has nothing open", []string{"redrives"}, `
select r.id::text as key
from redrives r
where r.completed_at is not null and r.done + r.passed + r.refused < r.looked and $1::interval is not null`},
	{"a re-drive's new message is there, and made of its message", []string{"redrive_items", "messages"}, `
select i.redrive_id || ' ' || i.message_id as key
from redrive_items i
where i.state = 'done' and i.new_message_id is not null and i.claimed_at < now() - $1::interval
  and not exists (select from messages m where m.id = i.new_message_id and m.retry_of = i.message_id)`},

	// Messages from handsets.
	{"an inbound part was joined into a message that exists", []string{"inbound_messages"}, `
select i.id::text as key
from inbound_messages i
where i.whole_id is not null and not exists (select from inbound_messages w where w.id = i.whole_id) and $1::interval is not null`},
	anyMessages("inbound_deliveries"),
	anyMessages("inbound_starts"),
	{"an automatic reply answers a message that exists", []string{"automatic_replies", "inbound_messages"}, `
select r.id::text as key
from automatic_replies r
where not exists (select from inbound_messages i where i.id = r.inbound_id) and r.created_at < now() - $1::interval`},

	// Money and limits.
	{"a balance is the sum of its ledger, and what it holds back the sum of its reservations", []string{"balances", "balance_entries", "reservations"}, `
select b.account_id::text as key
from balances b
where $1::interval is not null
  and (b.balance_micros <> (select coalesce(sum(e.amount_micros), 0) from balance_entries e where e.account_id = b.account_id)
    or b.reserved_micros <> (select coalesce(sum(r.micros), 0) from reservations r where r.account_id = b.account_id and r.prepaid))`},
	{"a charge is for a message that exists", []string{"balance_entries", "messages"}, `
select e.id::text as key
from balance_entries e
where e.kind = 'charge' and not exists (select from messages m where m.id = e.message_id) and $1::interval is not null`},
	{"no counter of a limit is below zero", []string{"usage_counters"}, `
select c.limit_id::text as key
from usage_counters c
where c.used < 0 and $1::interval is not null`},

	// Links.
	{"a lease is of a vendor that exists, and for minutes at most", []string{"vendor_leases", "vendors"}, `
select l.vendor_id || ' ' || l.slot as key
from vendor_leases l
where not exists (select from vendors v where v.id = l.vendor_id) and l.until < now() - $1::interval or l.until > clock_timestamp() + interval '5 minutes'`},
	{"links that nobody reports are forgotten", []string{"vendor_links"}, `
select l.vendor_id || ' ' || l.instance as key
from vendor_links l
where l.seen_at < now() - $1::interval - interval '10 minutes' and exists (select from vendor_links o where o.seen_at > now() - interval '1 minute')`},

	// Media.
	{"octets of media have a file, or somebody will look whether they have", []string{"media_objects", "media_files", "media_loose"}, `
select encode(o.sha256, 'hex') as key
from media_objects o
where not exists (select from media_files f where f.sha256 = o.sha256) and not exists (select from media_loose l where l.sha256 = o.sha256)
  and $1::interval is not null`},

	{"a file without an end is of a message", []string{"media_files", "message_media"}, `
select f.id::text as key
from media_files f
where f.expires_at is null and not exists (select from message_media c where c.file_id = f.id) and $1::interval is not null`},

	// The registry.
	{"what is filed is claimed for a day at most", []string{"registry_requests"}, `
select r.id::text as key
from registry_requests r
where r.state = 'open' and r.claimed_until > now() + interval '1 day' and $1::interval is not null`},
	{"what is compared with the registry exists", []string{"registry_syncs", "brands", "campaigns"}, `
select s.target::text as key
from registry_syncs s
where not exists (select from brands b where b.id = s.target) and not exists (select from campaigns c where c.id = s.target) and $1::interval is not null`},
}

// unbound are the tables that no invariant is about, and why there is none.
var unbound = map[string]string{
	"media_results":          heldTogether,
	"upkeep_rounds":          "how far the upkeep has come",
	"text_purges":            "how far the purge of texts has come, by account",
	"accounts":               heldTogether,
	"api_credentials":        heldTogether,
	"signing_keys":           heldTogether,
	"numbers":                heldTogether,
	"routing_rules":          heldTogether,
	"webhook_endpoints":      heldTogether,
	"webhook_failing":        heldTogether,
	"usage_limits":           heldTogether,
	"content_rules":          heldTogether,
	"media_profiles":         heldTogether,
	"inbound_routes":         heldTogether,
	"brand_details":          heldTogether,
	"campaign_details":       heldTogether,
	"campaign_carriers":      heldTogether,
	"staff":                  heldTogether,
	"service_credentials":    heldTogether,
	"portal_users":           heldTogether,
	"message_statuses_until": "how far the list of statuses has come",
	"usage_days":             "sums: what they are of may be gone",
	"usage_counted":          "how far the sums have come",
	"usage_late":             "how messages were counted, which may be gone",
	"portal_invitations":     heldTogether,
	"second_factors":         heldTogether,
	"sign_in_links":          heldTogether,
	"web_sessions":           heldTogether,

	"account_events":    "what was told, for thirty days",
	"config_version":    "a counter",
	"config_tables":     "a stamp for each table",
	"opt_outs_version":  "a counter",
	"audit_log":         "each row vouches for the one before it",
	"opt_outs":          "its unique index allows one that is active, and nothing is taken out",
	"tax_ids":           "keys that point to nothing",
	"pacers":            "a book of moments: what is free is worked out anew",
	"pace_slots":        "likewise",
	"pace_days":         "likewise",
	"pace_spent":        "what was booked, for as long as it may be asked for again",
	"batch_paces":       "a moment for each that rows are worked for: what is free is worked out anew",
	"keyword_pairs":     "counts of a day",
	"rate_refusals":     "statistics",
	"vendor_samples":    "statistics of an hour",
	"mm4_sessions":      "sessions of the moment, which lapse by themselves",
	"schema_migrations": "what was applied, with its checksums",
}

const heldTogether = "configuration: foreign keys and checks hold it together"

// Violations looks through all tables for rows that should not be as they are, and
// have been for the time settled. It reads whole tables: it is for tests, and for a
// night on which somebody wonders; rows whose messages retention has just taken away
// are still found then. Nothing is changed.
func (db *DB) Violations(ctx context.Context, settled time.Duration) ([]Violation, error) {
	var found []Violation
	err := pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local enable_seqscan = on; set local plan_cache_mode = auto"); err != nil {
			return err
		}
		for _, i := range invariants {
			v, err := violation(ctx, tx, i, settled)
			if err != nil {
				return fmt.Errorf("%q: %w", i.says, err)
			}
			if v.Rows > 0 {
				found = append(found, v)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for violations: %w", err)
	}
	return found, nil
}

func violation(ctx context.Context, tx pgx.Tx, i invariant, settled time.Duration) (Violation, error) {
	v := Violation{Invariant: i.says}
	rows, err := tx.Query(ctx, fmt.Sprintf("select key, count(*) over () from (%s) v limit %d", i.query, mostExamples), settled)
	if err != nil {
		return v, err
	}
	var key string
	_, err = pgx.ForEachRow(rows, []any{&key, &v.Rows}, func() error {
		v.Examples = append(v.Examples, key)
		return nil
	})
	return v, err
}

// selectTableNames lists the tables; the partitions of one count as that one.
const selectTableNames = `
select c.relname
from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
order by c.relname`

// Unjudged lists the tables that neither an invariant is about nor a reason says why
// none is: somebody has added one and has not thought of it.
func (db *DB) Unjudged(ctx context.Context) ([]string, error) {
	rows, err := db.pool.Query(ctx, selectTableNames)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	known := maps.Clone(unbound)
	for _, i := range invariants {
		for _, t := range i.tables {
			known[t] = i.says
		}
	}
	return slices.DeleteFunc(tables, func(t string) bool { return known[t] != "" }), err
}
