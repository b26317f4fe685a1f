package postgres

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Whoever adds a table says what must hold of it, or why nothing need.
func TestEveryTableIsJudged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	unjudged, err := b.Unjudged(b.ctx)
	if err != nil || len(unjudged) > 0 {
		t.Errorf("tables without an invariant: %v, %v; see invariants.go", unjudged, err)
	}
	b.exec("create table stray (id int)")
	if unjudged, err = b.Unjudged(b.ctx); err != nil || !slices.Equal(unjudged, []string{"stray"}) {
		t.Errorf("a new table: %v, %v", unjudged, err)
	}
	b.exec("drop table stray")
	rows, err := b.pool.Query(b.ctx, selectTableNames)
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	for name := range unbound {
		if !slices.Contains(tables, name) {
			t.Errorf("%s is explained and does not exist", name)
		}
	}
	for _, i := range invariants {
		for _, name := range i.tables {
			if !slices.Contains(tables, name) {
				t.Errorf("%q is about %s, which does not exist", i.says, name)
			}
			if unbound[name] != "" {
				t.Errorf("%s has an invariant and an excuse", name)
			}
		}
	}
}

// Each kind of row that should not be is seen, and a life in order shows none.
func TestViolations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: b.owner, CompanyName: "Shop"}); err != nil {
		t.Fatal(err)
	}
	m := b.accepted(1)
	if found, err := b.Violations(b.ctx, 0); err != nil || len(found) > 0 {
		t.Fatalf("after an acceptance: %+v, %v", found, err)
	}
	seen := map[int]bool{}
	stray, account, vendor := message.NewID(), message.NewID(), message.NewID()
	for _, c := range []struct {
		says string // how the sentence begins or goes on
		sql  string
		args []any
	}{
		{"has no gap", "delete from message_events where message_id = $1", []any{m.ID}},
		{"an event is of a message", "insert into message_events (message_id, sequence, at, type) values ($1, 1, now(), 'x')", []any{stray}},
		{"says why", "update messages set status = 'failed' where id = $1", []any{m.ID}},
		{"attempt for each part", "update messages set status = 'sent' where id = $1", []any{m.ID}},
		{"one attempt that was not refused", "insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) select $1, 1, a, $2, 'v', 'i', 'submitted' from generate_series(1, 2) a", []any{m.ID, vendor}},
		{"is being sent", "with s as (insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) values ($1, 1, 1, $2, 'v', 'i', 'sending')) update messages set status = 'delivered' where id = $1", []any{m.ID, vendor}},
		{"row of segments is of", "insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) values ($1, 1, 1, $2, 'v', 'i', 'sending')", []any{stray, vendor}},
		{"row of starts is of", "insert into starts (message_id, priority) values ($1, 1)", []any{stray}},
		{"no row in starts", "update messages set status = 'canceled' where id = $1", []any{m.ID}},
		{"row of settlements_due", "insert into settlements_due (message_id) values ($1)", []any{stray}},
		{"no row in settlements_due", "with s as (insert into settlements_due (message_id, since) values ($1, now() - interval '1 second')) update messages set status = 'canceled' where id = $1", []any{m.ID}},
		{"row of backlog", "insert into backlog (message_id, account_id, priority, from_addr, to_addr) values ($1, $2, 1, '', '')", []any{stray, account}},
		{"backlog has not left", "update messages set status = 'canceled' where id = $1", []any{m.ID}},
		{"row of holds", "insert into holds (message_id, account_id, rule) values ($1, $2, 'x')", []any{stray, account}},
		{"held is queued", "insert into holds (message_id, account_id, rule) values ($1, $2, 'x')", []any{m.ID, account}},
		{"row of text_purges_due", "insert into text_purges_due (message_id, account_id) values ($1, $2)", []any{stray, account}},
		{"row of message_media", "insert into message_media (message_id, position, source) values ($1, 1, 'x')", []any{stray}},
		{"row of message_statuses", "insert into message_statuses (message_id, account_id, status) values ($1, $2, 'failed')", []any{stray, account}},
		{"is listed by its status", "with u as (update message_statuses_until set until_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff') delete from backlog where message_id = $1", []any{m.ID}},
		{"row of reviews", "insert into reviews (message_id, revision, verdict, actor) values ($1, 0, 'release', 'x')", []any{stray}},
		{"row of revisions_due", "insert into revisions_due (message_id, revision) values ($1, 0)", []any{stray}},
		{"no row in revisions_due", "with s as (insert into revisions_due (message_id, revision) values ($1, 0)) update messages set status = 'canceled' where id = $1", []any{m.ID}},
		{"row of route_overrides", "insert into route_overrides (message_id, vendor_id, actor) values ($1, $2, 'x')", []any{stray, vendor}},
		{"row of reservations", "insert into reservations (message_id, account_id, number, kind, parts, prepaid, at) values ($1, $2, '', 'sms', 1, false, now())", []any{stray, account}},
		{"no row in reservations", "with s as (insert into reservations (message_id, account_id, number, kind, parts, prepaid, at) values ($1, $2, '', 'sms', 1, false, now())) update messages set status = 'canceled' where id = $1", []any{m.ID, account}},
		{"part that was tried", "insert into receipts (id, vendor_id, normalized_id, state, message_id, part) values ($1, $2, 'x', 'DELIVRD', $3, 1)", []any{stray, vendor, m.ID}},
		{"receipt that decides something", "insert into receipts (id, vendor_id, normalized_id, state, last_at) values ($1, $2, 'x', 'DELIVRD', now() - interval '1 second')", []any{stray, vendor}},
		{"pending webhook is due", "insert into webhook_deliveries (id, event_id, account_id, message_id, type, url, payload, created_at) values ($1, $1, $2, $3, '', '', '', now() - interval '1 second')", []any{stray, account, m.ID}},
		{"what is due is a pending", "insert into webhooks_due (delivery_id, due_at) values ($1, now())", []any{stray}},
		{"is a line of its timeline in the feed", "insert into webhook_deliveries (id, event_id, account_id, message_id, type, url, payload, state, created_at) values ($1, $1, $2, $3, '', '', '', 'delivered', now() - interval '1 ms')", []any{stray, account, m.ID}},
		{"in the feed of its account", "update message_events set account_id = $1 where message_id = $2", []any{stray, m.ID}},
		{"has failed is listed", "insert into webhook_failed (delivery_id, account_id) values ($1, $2)", []any{stray, account}},
		{"has failed is listed", "insert into webhook_deliveries (id, event_id, account_id, type, url, payload, state, created_at) values ($1, $1, $2, '', '', '', 'failed', now() - interval '1 second')", []any{stray, account}},
		{"try is of a webhook", "insert into webhook_attempts (delivery_id, replay, number, at, http_status, ms, error) values ($1, 0, 1, now() - interval '1 second', 0, 0, '')", []any{stray}},
		{"webhook about a message", "insert into webhook_deliveries (id, event_id, account_id, message_id, type, url, payload, state, created_at) values ($1, $1, $2, $1, '', '', '', 'delivered', now() - interval '1 second')", []any{stray, account}},
		{"row of smpp_origins", "insert into smpp_origins (message_id, account_id, credential_id, registered, source_ton, source_npi, source, dest_ton, dest_npi, dest) values ($1, $2, $2, 0, 0, 0, '', 0, 0, '')", []any{stray, account}},
		{"row of smpp_deliveries", "insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at) values ($1, $2, $2, $1, 'receipt', 'delivered', now())", []any{stray, account}},
		{"who can bind", "insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at, created_at) values ($1, $2, $2, $3, 'receipt', 'delivered', now(), now() - interval '1 second')", []any{stray, account, m.ID}},
		{"claimed for minutes", "insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at, claimed_until) values ($1, $2, $2, $3, 'receipt', 'delivered', now(), now() + interval '1 hour')", []any{stray, account, m.ID}},
		{"row of mm4_origins", "insert into mm4_origins (message_id, account_id, peer_id, reference, sender, recipient, system, delivery_report, read_report) values ($1, $2, $2, '', '', '', '', true, true)", []any{stray, account}},
		{"row of mm4_answers", "insert into mm4_answers (message_id, attempt, vendor_id, status) values ($1, 1, $2, 'Ok')", []any{stray, account}},
		{"report over MM4 that is owed", "insert into mm4_mails (id, peer_id, kind, message_id, expires_at, created_at) values ($1, $1, 'read_report', $1, now(), now() - interval '1 second')", []any{stray}},
		{"has the delivery report", "with p as (insert into mm4_peers (id, account_id, name) select $1, id, 'x' from accounts limit 1), o as (insert into mm4_origins (message_id, account_id, peer_id, reference, sender, recipient, system, delivery_report, read_report) values ($2, $1, $1, '', '', '', '', true, true)) update messages set status = 'canceled' where id = $2", []any{stray, m.ID}},
		{"status that its message has had", "insert into mm4_mails (id, peer_id, kind, message_id, status, expires_at) values ($1, $1, 'delivery_report', $2, 'canceled', now())", []any{stray, m.ID}},
		{"mail of MM4 that is owed", "with p as (insert into mm4_peers (id, account_id, name) select $1, id, 'x' from accounts limit 1) insert into mm4_mails (id, peer_id, kind, claimed_by, due_at, expires_at) values ($1, $1, 'forward_res', 'i', now() + interval '1 hour', now())", []any{stray}},
		{"bind is of a credential", "insert into smpp_binds (id, credential_id, instance, mode, tls, version, seen_at) values ($1, $1, 'i', 'receiver', false, 52, now() - interval '1 second')", []any{stray}},
		{"settled are joined", "insert into smpp_parts (id, account_id, credential_id, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, total, number, data_coding, octets, request, registered, answer_id, message_id, decided_at) values ($1, $2, $2, 0, 0, '', 0, 0, '', 1, 2, 1, 0, '', '{}', 0, 'x', $1, now() - interval '1 hour')", []any{stray, account}},
		{"joined part is of", "insert into smpp_joined (fingerprint, message_id, joined_at) values ('x', $1, now() - interval '1 hour')", []any{stray}},
		{"names what exists", "insert into idempotency_keys (account_id, operation, key, body_hash, message_id, http_status, response, created_at) values ($2, 'x', 'x', '', $1, 202, '', now() - interval '1 second')", []any{stray, account}},
		{"counts the rows", "insert into batches (id, account_id, credential_id, total, created_at) values ($1, $2, $2, 1, now() - interval '1 second')", []any{stray, account}},
		{"made has its message", "insert into batch_rows (batch_id, row, state, message_id, claimed_at) values ($1, 1, 'made', $1, now() - interval '1 second')", []any{stray}},
		{"message of a batch is of one row", "with b as (insert into batches (id, account_id, credential_id, total) values ($1, $2, $2, 1)) update messages set batch_id = $1 where id = $3", []any{stray, account, m.ID}},
		{"completed has no row left", "insert into batches (id, account_id, credential_id, total, status) values ($1, $2, $2, 1, 'completed')", []any{stray, account}},
		{"re-drive counts its messages", "insert into redrives (id, actor, role, reason, action, filter, most, per_second, looked, created_at) values ($1, '', '', '', 'retry', '{}', 1, 1, 1, now() - interval '1 second')", []any{stray}},
		{"has ended has nothing open", "insert into redrives (id, actor, role, reason, action, filter, most, per_second, looked, dry_run, status, completed_at, created_at) values ($1, '', '', '', 'retry', '{}', 1, 1, 1, true, 'stopped', now(), now())", []any{stray}},
		{"new message is there", "insert into redrive_items (redrive_id, message_id, state, new_message_id, claimed_at) values ($1, $1, 'done', $1, now() - interval '1 second')", []any{stray}},
		{"workflow is told of a batch", "insert into batch_tells (batch_id, account_id) values ($1, $2)", []any{stray, account}},
		{"inbound part was joined", "insert into inbound_messages (id, vendor_id, fingerprint, from_addr, to_addr, encoding, received_at, whole_id) values ($1, $2, '', '', '', '', now(), $2)", []any{stray, vendor}},
		{"row of inbound_deliveries", "insert into inbound_deliveries (message_id, position, method) values ($1, 1, 'storage')", []any{stray}},
		{"row of inbound_starts", "insert into inbound_starts (message_id, account_id) values ($1, $2)", []any{stray, account}},
		{"automatic reply", "insert into automatic_replies (id, inbound_id, account_id, from_addr, to_addr, body, action, created_at) values ($1, $1, $2, '', '', '', 'stop', now() - interval '1 second')", []any{stray, account}},
		{"balance is the sum", "insert into balances (account_id, balance_micros) select id, 1 from accounts limit 1", nil},
		{"charge is for a message", "insert into balance_entries (account_id, kind, amount_micros, currency, message_id, balance_after_micros) values ($2, 'charge', -1, 'USD', $1, 0)", []any{stray, account}},
		{"below zero", "with l as (insert into usage_limits (account_id, kind, period, parts) select id, 'sms', 'day', 1 from accounts limit 1 returning id) insert into usage_counters (limit_id, starts_at, ends_at, used) select id, now(), now(), -1 from l", nil},
		{"lease is of a vendor", "insert into vendor_leases (vendor_id, slot, instance, of_slots, until) values ($1, 0, 'i', 1, now() - interval '1 second')", []any{stray}},
		{"nobody reports", "insert into vendor_links (vendor_id, instance, serves, bind, binds, in_flight, throughput, rate_share, error_rate, latency_ms, last_error, since, seen_at) select $1::uuid, i::text, true, '', 0, 0, 0, 0, 0, 0, '', now(), now() - i * interval '1 hour' from generate_series(0, 1) i", []any{vendor}},
		{"octets of media", "insert into media_objects (sha256, size_bytes, content_type) values (sha256('x'), 1, 'text/plain')", nil},
		{"file without an end", "with o as (insert into media_objects (sha256, size_bytes, content_type) values (sha256('y'), 1, 'text/plain') returning sha256) insert into media_files (id, account_id, token, sha256) select $1, $2, $1, sha256 from o", []any{stray, account}},
		{"claimed for a day", "insert into registry_requests (id, operation, target, account_id, reference, actor, claimed_until) values ($1, 'brand', $1, $2, '', '', now() + interval '2 days')", []any{stray, account}},
		{"compared with the registry", "insert into registry_syncs (target, kind) values ($1, 'brand')", []any{stray}},
	} {
		seen[b.violates(c.says, c.sql, c.args)] = true
	}
	for i := range invariants {
		if !seen[i] {
			t.Errorf("nothing here breaks %q", invariants[i].says)
		}
	}
}

// violates makes the change in a transaction that is taken back, and wants the
// invariant whose sentence has says to see it. It gives that one's place.
func (b *bundle) violates(says, sql string, args []any) int {
	b.tb.Helper()
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	if _, err := tx.Exec(b.ctx, sql, args...); err != nil {
		b.tb.Errorf("%s: %v", says, err)
		return -1
	}
	of := slices.IndexFunc(invariants, func(i invariant) bool { return strings.Contains(i.says, says) })
	if of < 0 {
		b.tb.Errorf("no invariant says %q", says)
		return -1
	}
	// Its own change is as old as now(), and some want older ones.
	if v, err := violation(b.ctx, tx, invariants[of], -time.Second); err != nil || v.Rows == 0 || len(v.Examples) == 0 {
		b.tb.Errorf("%q did not see it: %+v, %v", invariants[of].says, v, err)
	}
	return of
}
