package postgres

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

func TestMessagesFilters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := message.NewID()
	start := time.Now().UTC().Truncate(time.Millisecond).Add(-time.Hour)
	var all []*message.Message
	for i := range 6 {
		m := b.draft()
		m.CreatedAt = start.Add(time.Duration(i) * time.Minute)
		m.ClientReference = fmt.Sprintf("ref-%d", i%2)
		m.To = message.Address(fmt.Sprintf("+1310555011%d", i%3))
		switch i {
		case 0:
			m.From, m.Kind = "+12025550100", message.MMS
		case 1:
			m.Class, m.CampaignID = message.ClassBulk, "OTHER"
		case 2:
			m.Status, m.Error = message.StatusRejected, message.Refuse(message.ReasonNoRoute, "no")
		}
		b.store(m)
		all = append(all, m)
	}
	b.exec("update messages set batch_id = $1 where id = $2", batch, all[3].ID)
	b.exec("update messages set direction = 'inbound', status = 'delivered' where id = $1", all[4].ID)
	foreign := b.draft()
	foreign.AccountID = message.NewID()
	b.store(foreign)

	for _, c := range []struct {
		name string
		f    message.Filter
		want string
	}{
		{"all", message.Filter{}, "5 4 3 2 1 0"},
		{"direction", message.Filter{Direction: message.Inbound}, "4"},
		{"status", message.Filter{Statuses: []message.Status{message.StatusRejected}}, "2"},
		{"statuses", message.Filter{Statuses: []message.Status{message.StatusRejected, message.StatusDelivered}}, "4 2"},
		{"kind", message.Filter{Kind: message.MMS}, "0"},
		{"from", message.Filter{From: "+12025550100"}, "0"},
		{"to", message.Filter{To: "+13105550111"}, "4 1"},
		{"reference", message.Filter{ClientReference: "ref-1"}, "5 3 1"},
		{"batch", message.Filter{BatchID: batch}, "3"},
		{"campaign", message.Filter{CampaignID: "OTHER"}, "1"},
		{"reason", message.Filter{Reason: message.ReasonNoRoute}, "2"},
		{"class", message.Filter{Class: message.ClassBulk}, "1"},
		{"after", message.Filter{CreatedAfter: start.Add(3 * time.Minute)}, "5 4"},
		{"before", message.Filter{CreatedBefore: start.Add(2 * time.Minute)}, "1 0"},
		{"between, to", message.Filter{CreatedAfter: start, CreatedBefore: start.Add(5 * time.Minute), To: "+13105550111"}, "4 1"},
		{"nothing", message.Filter{ClientReference: "ref-7"}, ""},
	} {
		for _, limit := range []int{2, 100} {
			var got []string
			before := message.ID{}
			for { // page by page
				page, err := b.Messages(b.ctx, b.owner, c.f, before, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range page {
					for i := range all {
						if all[i].ID == m.ID {
							got = append(got, fmt.Sprint(i))
						}
					}
					if len(m.Parts) != 1 || m.Body != "Your parcel is on its way" {
						t.Errorf("%s: a message without its parts or text", c.name)
					}
					before = m.ID
				}
				if len(page) < limit {
					break
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s, %d a page: %v, want %s", c.name, limit, got, c.want)
			}
		}
	}
	if page, err := b.Messages(b.ctx, message.NewID(), message.Filter{}, message.ID{}, 10); err != nil || len(page) != 0 {
		t.Errorf("an account without messages sees %d, %v", len(page), err)
	}
	if _, err := b.AccountMessage(b.ctx, b.owner, foreign.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account's message: %v", err)
	}
}

// TestLateInboundInLists: an inbound message whose owner was found days later is in the
// lists of the time when he was, after those that were made then.
func TestLateInboundInLists(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	var want []message.ID
	store := func(at time.Time, days int, direction message.Direction) message.ID {
		m := b.draft()
		id := message.NewID()
		m.ID = idAt(at.AddDate(0, 0, -days))
		copy(m.ID[6:], id[6:])
		m.CreatedAt = at
		b.store(m)
		b.exec("update messages set direction = $2 where id = $1", m.ID, string(direction))
		return m.ID
	}
	store(now.AddDate(0, 0, -4), 0, message.Inbound) // before the time, between the ids
	store(now.AddDate(0, 0, -2), 3, message.Inbound) // late, but before the time
	soon := store(now, 0, message.Outbound)
	late, later := store(now, 3, message.Inbound), store(now, 5, message.Inbound)
	want = []message.ID{soon, late, later}
	other := b.draft()
	other.AccountID = message.NewID()
	b.store(other)
	b.exec("update messages set direction = 'inbound' where id = $1", other.ID)

	f := message.Filter{CreatedAfter: now.Add(-time.Hour), CreatedBefore: now.Add(time.Hour)}
	all := f
	all.AccountID = b.owner
	for name, list := range map[string]func(before message.ID, limit int) ([]*message.Message, error){
		"customer": func(before message.ID, limit int) ([]*message.Message, error) {
			return b.Messages(b.ctx, b.owner, f, before, limit)
		},
		"staff": func(before message.ID, limit int) ([]*message.Message, error) {
			return b.AllMessages(b.ctx, all, before, limit)
		},
	} {
		for _, limit := range []int{1, 2, 50} {
			var got []message.ID
			for before, more := (message.ID{}), true; more; {
				page, err := list(before, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range page {
					got = append(got, m.ID)
					before = m.ID
				}
				more = len(page) == limit
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d a page: %v, want %v", name, limit, got, want)
			}
		}
	}
	f.Direction = message.Inbound
	if page, err := b.Messages(b.ctx, b.owner, f, message.ID{}, 50); err != nil || len(page) != 2 || page[0].ID != late {
		t.Errorf("inbound alone: %+v, %v", page, err)
	}
	f.Statuses = []message.Status{"of another time"}
	if page, err := b.Messages(b.ctx, b.owner, f, message.ID{}, 50); err != nil || len(page) != 0 {
		t.Errorf("of no status: %+v, %v", page, err)
	}
}

func TestRedacted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	b.exec("update messages set body = null where id = $1", m.ID)
	if got, err := b.Message(b.ctx, m.ID); err != nil || !got.Redacted || got.Body != "" {
		t.Errorf("%+v, %v", got, err)
	}
	// A text moved to another row does not open there.
	other := b.accepted(1)
	b.exec("update messages set body = (select body from messages where id = $1) where id = $2", b.accepted(1).ID, other.ID)
	if _, err := b.Message(b.ctx, other.ID); err == nil {
		t.Error("a text was read that belongs to another message")
	}
}

// fill makes a journal of a size at which the planner has a choice: 30,000
// messages, most of them of one account, with everything about them.
func (b *bundle) fill() {
	b.tb.Helper()
	for _, sql := range []string{
		`create table ids as
		 select ('00000000-' || lpad(to_hex(n), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as id, n,
		   ('00000000-0000-7000-9000-' || lpad(to_hex(case when n % 30 < 29 then 0 else n % 7 end), 12, '0'))::uuid as account from generate_series(1, 30000) n`,
		`insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, body, encoding, segments, message_class, delivery, client_reference, edge, expires_at, created_at, updated_at)
		 select id, account, 'outbound', 'sms', 'sent', '+12025550143', '+1310' || lpad((n % 5000)::text, 7, '0'), 'x', 'gsm7', 1, 'bulk', 'at_most_once', 'r' || n, 'rest',
		   now() + interval '1 hour', now() - n * interval '1 second', now() from ids`,
		`insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state, doubted, normalized_id)
		 select id, 1, 1, account, 'v', 'i', case when n % 1000 = 0 then 'in_doubt' else 'submitted' end, n % 1000 = 0, case when n % 1000 = 0 then null else to_hex(n) end from ids`,
		`insert into message_events (message_id, sequence, at, type) select id, s, now(), 'sent' from ids, generate_series(1, 5) s`,
		`insert into receipts (id, vendor_id, normalized_id, state, message_id, part) select id, account, to_hex(n), 'DELIVRD', case when n % 100 <> 0 then id end, 1 from ids`,
		`insert into webhook_deliveries (id, event_id, account_id, message_id, type, url, payload, state) select id, id, account, id, 't', 'u', 'p', 'delivered' from ids`,
		`insert into webhooks_due (delivery_id, due_at) select id, now() + n * interval '1 second' from ids`,
		`insert into idempotency_keys (account_id, operation, key, body_hash, http_status, response) select account, 'op', n::text, '', 202, '' from ids`,
		`insert into starts (message_id, priority) select id, 1 + n % 5 from ids`,
		`insert into backlog (message_id, account_id, priority, from_addr, to_addr, hold_seconds, waits)
		 select id, account, 3, '+12025550143', '+1310' || lpad((n % 5000)::text, 7, '0'), 10, n % 10 = 0 from ids`,
		`insert into settlements_due (message_id) select id from ids`,
		`insert into holds (message_id, account_id, rule, until) select id, account, case when n % 3 = 0 then 'content' else 'rate' end, case when n % 3 > 0 then now() end from ids`,
		`insert into route_overrides (message_id, vendor_id, actor) select id, account, 'a' from ids where n % 6 = 0`,
		`insert into reviews (message_id, revision, verdict, actor) select id, 0, 'release', 'a' from ids where n % 6 = 0`,
		`insert into revisions_due (message_id, revision, since) select id, 1, now() - n * interval '1 second' from ids`,
		`insert into reservations (message_id, account_id, number, kind, parts, prepaid, at, ended_at, adopted_at)
		 select id, account, '+12025550143', 'sms', 1, n % 2 = 0, now(), case when n % 100 = 0 then now() end, case when n % 200 = 1 then now() - n * interval '1 minute' end from ids`,
		`drop table ids`, analyze,
	} {
		b.exec(sql)
	}
}

// fillMedia adds files of media, whose tables are younger than those that fill writes to.
func (b *bundle) fillMedia() {
	b.tb.Helper()
	for _, sql := range []string{
		`insert into media_objects (sha256, size_bytes, content_type) select sha256(n::text::bytea), 1, 'image/jpeg' from generate_series(1, 3000) n`,
		`insert into media_files (id, account_id, token, sha256, ready, expires_at)
		 select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), sha256(n::text::bytea), n % 100 > 0, now() + n * interval '1 minute' from generate_series(1, 3000) n`,
		`insert into message_media (message_id, profile, position, file_id, source)
		 select gen_random_uuid(), case n % 3 when 0 then 'acme#1' else '' end, n % 3 + 1, case n % 10 when 0 then null else id end, 'x' from (select id, row_number() over () n from media_files) f`,
		`insert into media_results (key, sha256) select encode(sha256, 'hex'), sha256 from media_objects`,
		analyze,
	} {
		b.exec(sql)
	}
}

// Every query that lists or looks up something goes by an index, with the plan
// that the gateway's own sessions get.
func TestPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	for _, sql := range []string{
		`insert into accounts (id, company_name, webhook_secret) select distinct account_id, 'a', 's'::bytea from messages on conflict do nothing`,
		`insert into webhook_failed (delivery_id, account_id) select id, account_id from messages`,
		`update message_statuses set status = 'failed' where ('x' || right(message_id::text, 6))::bit(24)::int % 50 = 0`,
		`update message_statuses_until set until_id = '00000000-7000-7000-8000-000000000000'`,
		`insert into webhook_endpoints (id, account_id, url, secret) select id, account_id, 'u', 's' from messages order by id limit 1000`,
		`insert into webhook_attempts (delivery_id, replay, number, endpoint_id, http_status, ms, error) select id, 0, 1, id, 500, 1, '' from messages`,
		`insert into webhook_failing (endpoint_id) select id from webhook_endpoints`,
		`insert into api_credentials (id, account_id, key, secret_hash) select id, account_id, id::text as key, '' from messages order by id limit 3000`,
		`insert into usage_days select account_id, current_date - (row_number() over (order by id))::int, 'outbound', 'sms', '', '', 'delivered', '', 1, 1, 0 from messages limit 3000`,
		`insert into brands (id, account_id, name, cap_key) select id, account_id, 'b', 'k' from messages order by id limit 3000`,
		`insert into campaigns (id, account_id, brand) select id, account_id, id from brands`,
		`insert into campaign_carriers (campaign, network_id, network, status) select id, 1, 'AT&T', 'approved' from campaigns`,
		`insert into usage_limits (account_id, number, kind, period, parts) select id, n::text, 'sms', 'day', 5 from accounts, generate_series(1, 300) n`,
		`insert into usage_counters (limit_id, starts_at, ends_at, used) select id, now() - d * interval '1 day', now() + (1 - d) * interval '1 day', 1 from usage_limits, generate_series(0, 3) d`,
		`insert into numbers (number, account_id, type, campaign) select '+1202' || (5550000 + row_number() over (order by id)), account_id, 'long_code', id from campaigns`,
		analyze,
	} {
		b.exec(sql)
	}
	b.fillMedia()
	b.fillSignIn()
	b.exec("insert into account_events (id, account_id, type, payload) select gen_random_uuid(), md5((n % 50)::text)::uuid, 'opt_out.created', '{}' from generate_series(1, 5000) n")
	b.exec("analyze account_events")
	id, account := message.NewID(), message.NewID()
	list := func(f message.Filter, before message.ID) (string, []any) { return listQuery(account, f, before, 50) }
	type query struct {
		name, sql string
		args      []any
		scan      string // a table that may be read from end to end
	}
	queries := []query{
		{"PeopleOfTheConsole", selectConsolePeople, []any{"ada@gw.example", 16}, ""},
		{"PeopleOfThePortal", selectPortalPeople, []any{"ada@gw.example", 16}, "accounts"}, // which are eight here
		{"SessionOfTheConsole", selectConsoleSession, []any{nil, nil, nil, nil, nil}, ""},
		{"SessionOfThePortal", selectPortalSession, []any{nil, nil, nil, nil, nil}, ""},
		{"SessionSeen", sessionSeen, []any{id, true}, ""},
		{"RotateSession", rotateSession, []any{id, nil, nil}, ""},
		{"RotateAgain", rotateAgain, []any{id, nil, nil}, ""},
		{"WebSessions", selectPersonSessions, []any{id, nil, id}, ""},
		{"EndSessions", deleteOtherSessions, []any{id, id}, ""},
		{"LinkOfTheConsole", selectConsoleLink, []any{nil}, ""},
		{"LinkOfThePortal", selectPortalLink, []any{nil}, ""},
		{"FirstAnswer", selectKey, []any{account, "op", "k"}, ""},
		{"Message", selectMessage, []any{id}, ""},
		{"Brands", selectAccountBrands, []any{account, nil, 50}, ""},
		{"Campaigns", selectAccountCampaigns, []any{account, nil, 50}, ""},
		{"Parts", selectParts, among([]message.ID{id, account}), ""},
		{"Events", selectEvents, []any{id, 0, 50}, ""},
		{"Progress", selectOutcome, []any{id}, ""},
		{"Status", selectStatus, []any{id}, ""},
		// In the order of the index, until there are enough.
		{"Unstarted", fmt.Sprintf(claimUnstarted, 256), []any{time.Second, []message.ID{id}, "one", startClaim}, "starts"},
		{"Called", selectCalled, []any{[]message.ID{id}}, ""},
		{"EarlyReceipts", selectEarly, []any{account, []string{"a1"}, id}, ""},
		{"Unmatched", selectUnmatched, []any{time.Second, 256}, ""},
		{"Held for review", selectUnseen, []any{id, 50}, ""},
		{"Lately", selectLately, []any{id, id, id, 50}, ""},
		// They hold what is under way only, and are read in the order of their indexes.
		{"Pile of the backlog", pileBacklog, []any{id, 50}, ""},
		{"Pile unstarted", pileUnstarted, []any{id, 50}, ""},
		{"Pile in doubt", pileInDoubt, []any{id, 50}, "message_statuses_until"}, // it has one row
		{"Pile held", pileHeld, []any{id, 50}, ""},
		{"Pile due", pileDue, []any{id, 50}, ""},
		{"Pile failed", pileFailed, []any{id, 50}, ""},
		{"Pile unmatched", pileUnmatched, []any{id, 50}, ""},
		{"OldestWaiting", selectOldestWaiting, []any{id, 50}, ""},
		{"LimitsUsed", selectLimitsUsed, []any{10}, "usage_limits"}, // all of them are compared
		{"Held of an account", selectUnseenOf, []any{id, 50, account}, ""},
		{"Messages by id", selectMessages, among([]message.ID{id}), ""},
		{"Reviewed", lockReviewed, []any{id}, ""},
		{"Rerouted", lockRerouted, []any{id}, ""},
		{"Raised", raiseRevision, []any{id, []string{"accepted"}}, ""},
		{"RouteOverride", selectRouteOverride, []any{id}, ""},
		{"LastVendor", selectLastVendor, []any{account, "1", "2"}, ""},
		{"Sample", selectSample, []any{id, id, 100, int64(10)}, ""},
		{"Sample counted", countSample, []any{id, id}, ""},
		{"Doubtful", selectDoubtful, []any{account, "1", "2", time.Now(), id}, ""},
		{"LockStranger", lockStranger, []any{account, "a", "DELIVRD"}, ""},
		{"Deciding", selectDeciding, []any{id}, ""},
		{"Pending", selectPending, []any{id}, ""},
		{"Notification", selectNotification, []any{id}, ""},
		{"DeliveryAccount", selectDeliveryAccount, []any{id}, ""},
		{"Overdue", selectOverdue, []any{time.Second, 256}, ""},
		{"Started", deleteStarts, []any{[]message.ID{id}}, ""},
		{"Postpone", postpone, []any{account, "a", "DELIVRD"}, ""},
		{"NameDoubtful", nameDoubtful, []any{id, 1, 1, "a", account, id}, ""},
		{"DropSettlement", dropDue, []any{id}, ""},
		{"Defer", deferOverdue, []any{[]message.ID{id}, time.Hour}, ""},
		{"Receipt", storeReceipt, append(matchArgs(b.receipt("a1", message.ReceiptDelivered)), id, "a", "b", "c"), ""},
		{"Rematch", rematchReceipt, matchArgs(b.receipt("a1", message.ReceiptDelivered)), ""},
		{"RecordAttempt", recordPending, []any{id, 1, "pending", 0, "", "", 5, "{}", id, 1, 0}, ""},
		{"RecordAttempt failed", recordFailed, []any{id, 1, "failed", 0, "", "", 5, "{}", id, 1, 0}, ""},
		{"RecordAttempt delivered", recordArrived, []any{id, 1, "delivered", 0, "", "", 5, "{}", id, 1, 0, id}, ""},
		{"WebhookDeliveries", selectAccountDeliveries, []any{account, id, 50}, ""},
		{"WebhookDeliveries of a message", selectMessageDeliveries, []any{account, id, 50, id}, ""},
		{"WebhookDeliveries of an endpoint", selectLookedDeliveries, []any{account, id, 50}, ""},
		{"WebhookDeliveries failed", selectFailedDeliveries, []any{account, id, 50, id}, ""},
		// It holds what is under way only.
		{"WebhookDeliveries pending", selectPendingDeliveries, []any{account, id, 50, id}, "webhooks_due"},
		{"WebhookDelivery", selectDelivery, []any{account, id}, ""},
		{"tries of a delivery", selectTries, []any{id}, ""},
		{"replay", replayDeliveries, []any{[]message.ID{id}}, ""},
		{"failed to replay", selectFailedRange, []any{account, id, id, 50}, ""},
		{"all to replay", selectAllRange, []any{account, id, id, 50}, ""},
		{"WebhookEndpoints", selectOwnEndpoints, []any{account, id, 50}, ""},
		{"EndpointFailed", noteFailing, []any{id, 100, time.Hour}, ""},
		// The oldest come first and the table holds what is late only.
		{"RevisionTold", deleteRevisionDue, []any{id, 1}, ""},
		{"RevisionsDue", selectRevisionsDue, []any{time.Second, 256}, ""},
		{"SettlementTold", toldDue, []any{id}, ""},
		{"Customer's messages under way", countUnderWay, []any{account, mostUnderWay}, ""},
		{"Media", selectMediaByID, []any{account, id}, ""},
		{"MediaByToken", selectMediaByToken, []any{id}, ""},
		{"MediaReady", readyMedia, []any{id, time.Hour}, ""},
		{"DropMedia", deleteMediaObject, []any{make([]byte, 32)}, ""},
		{"MessageMedia", selectMessageMedia, []any{[]message.ID{id}, ""}, ""},
		{"MediaFetched", fetchedMedia, []any{id, 1, account}, ""},
		{"MediaGiven", giveMediaFile, []any{id}, ""},
		{"MediaResult", selectResult, []any{"key"}, ""},
		{"Files purged", purgeMedia, []any{[]message.ID{id}}, ""},
		{"Feed", selectFeed, feedArgs(account, message.FeedPosition{}, 7, 50), ""},
		{"FeedMessages", selectFeedMessages, append(among([]message.ID{id}), account), ""},
		{"FeedGrows", selectGrown, []any{[]message.ID{account}, []string{"1"}, []message.ID{id}, []int32{0}}, ""},
		{"Planned", addPlannedEvent, []any{id, time.Now(), "{}", "{}"}, ""},
		{"PlannedAt", selectPlannedAt, []any{id, time.Now()}, ""},
		{"OwnCredential", selectOwnCredential, []any{account, id}, ""},
		{"Usage", selectUsage, []any{account, time.Now(), time.Now(), id, true, true, true, true, true, 0, 50}, "usage_counted"},
		{"Usage counted", countPiece, []any{id, id}, ""},
		{"Statuses listed", listPiece, []any{id, id}, ""},
		{"Usage piece", selectUsagePiece, []any{id, id, 5000}, ""},
		{"SettlementsDue", claimDue, []any{time.Second, 256}, "settlements_due"},
	}
	b.wantInOrder(account, id)
	for name, c := range map[string]message.Change{
		"status": {To: message.StatusSent}, "attempts": {To: message.StatusSending, Attempts: []message.Attempt{{Part: 1, Number: 1, Vendor: b.vendor, Instance: "a"}}},
		"attempts taken over": {While: message.StatusSending, TakenOver: []message.Attempt{{Part: 1, Number: 1, Instance: "b"}}},
		"answers":             {Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartSubmitted}}}, "settled": {To: message.StatusDelivered, Settled: true, Started: true},
		"told": {To: message.StatusSent, Events: line(message.StatusSent), Notifications: []message.Notification{b.notification(&message.Message{ID: id}, "message.sent")}, Said: "{}"},
	} {
		c.MessageID = id
		sql, args := advanceStatement(c)
		queries = append(queries, query{"Advance with " + name, sql, args, ""})
	}
	for name, f := range map[string]message.Filter{
		"none": {}, "status": {Statuses: []message.Status{message.StatusFailed}}, "to": {To: "+13100000001"}, "reference": {ClientReference: "r7"},
		"from": {From: "+12025550143"}, "direction": {Direction: message.Inbound}, "kind": {Kind: message.MMS}, "batch": {BatchID: id},
		"campaign": {CampaignID: "C"}, "reason": {Reason: message.ReasonExpired}, "class": {Class: message.ClassOTP},
		"after": {CreatedAfter: time.Now()}, "before": {CreatedBefore: time.Now()},
		"many": {To: "+13100000001", Statuses: []message.Status{message.StatusFailed}, CreatedAfter: time.Now(), Class: message.ClassBulk},
	} {
		for _, before := range []message.ID{{}, id} {
			sql, args := list(f, before)
			scan := ""
			if name == "status" {
				scan = "message_statuses_until" // it has one row
			}
			f.AccountID = account
			border, of := borderQuery(f, spanOf(f).below(before), 500)
			queries = append(queries, query{"Messages by " + name, sql, args, scan}, query{"Slices by " + name, border, of, scan})
		}
	}
	lateSQL, lateArgs := lateQuery(message.Filter{AccountID: account, CreatedAfter: time.Now(), CreatedBefore: time.Now()}, id, id, 50)
	queries = append(queries, query{"Messages that came late", lateSQL, lateArgs, ""})
	for _, q := range queries {
		for _, seqscan := range []string{"on", "off"} { // as Postgres has it, and as our sessions do
			plan := b.explain(q.sql, len(q.args), seqscan)
			for _, table := range endToEnd(plan) {
				if table != q.scan {
					t.Errorf("%s, enable_seqscan %s, reads %s from end to end:\n%s", q.name, seqscan, table, plan)
				}
			}
			for need, index := range map[string]string{"Messages by to": "messages_to", "Messages by reference": "messages_reference", "Messages by none": "messages_account", "Messages by status": "message_statuses_account", "LastVendor": "messages_to", "Messages that came late": "messages_received",
				"Unstarted": "starts_order", "Unmatched": "receipts_unmatched", "Overdue": "webhooks_due_at", "Doubtful": "segments_doubted",
				"Receipt": "segments_vendor_id", "Feed": "message_events_feed", "FeedGrows": "message_events_feed", "Rematch": "segments_vendor_id", "EarlyReceipts": "segments_vendor_id", "NameDoubtful": "segments_vendor_id"} {
				if q.name == need && !strings.Contains(plan, index) {
					t.Errorf("%s, enable_seqscan %s, does not use %s:\n%s", q.name, seqscan, index, plan)
				}
			}
		}
	}
}

// wantInOrder wants lists by status to come in the order of indexes, so that the newest
// are found without the rest.
func (b *bundle) wantInOrder(account, before message.ID) {
	b.tb.Helper()
	f := message.Filter{Statuses: []message.Status{message.StatusFailed, message.StatusUndelivered}, CampaignID: "C"}
	of, args := listQuery(account, f, before, 50)
	all, fewer := listQuery(message.ID{}, f, before, 50)
	for sql, n := range map[string]int{of: len(args), all: len(fewer)} {
		plan := b.explain(sql, n, "off", inOrder)
		if strings.Contains(plan, "Sort  ") || strings.Contains(plan, "->  Sort") || !strings.Contains(plan, "Merge Append") {
			b.tb.Errorf("the rows are sorted:\n%s", plan)
		}
	}
}

var scanNode = regexp.MustCompile(`(?:Seq Scan on|Index (?:Only )?Scan (?:Backward )?using \S+ on|Bitmap Heap Scan on) (\S+)`)

// endToEnd lists the tables that a plan reads whole: sequentially, or by an
// index without a condition on it, which is no better.
func endToEnd(plan string) []string {
	var tables []string
	lines := strings.Split(plan, "\n")
	for i, l := range lines {
		m := scanNode.FindStringSubmatch(l)
		if m == nil || strings.Contains(l, "Bitmap Heap") {
			continue
		}
		if i+1 == len(lines) || !strings.Contains(lines[i+1], "Index Cond:") {
			tables = append(tables, m[1])
		}
	}
	return tables
}

// explain gives the plan of a statement as this process's sessions run it: a
// generic one, made without regard to the parameters. It shows what is done in each
// partition, as long as its values rule none out, under the names of the whole tables.
func (b *bundle) explain(sql string, params int, seqscan string, settings ...string) string {
	b.tb.Helper()
	conn, err := b.pool.Acquire(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(b.ctx, "set enable_seqscan = "+seqscan); err != nil {
		b.tb.Fatal(err)
	}
	if _, err := conn.Exec(b.ctx, "set enable_partition_pruning = off"); err != nil {
		b.tb.Fatal(err)
	}
	for _, s := range settings {
		if _, err := conn.Exec(b.ctx, strings.ReplaceAll(s, "true)", "false)")); err != nil {
			b.tb.Fatal(err)
		}
	}
	if _, err := conn.Exec(b.ctx, "prepare explained as "+sql); err != nil {
		b.tb.Fatalf("%v\n%s", err, sql)
	}
	rows, err := conn.Query(b.ctx, "explain (costs off) execute explained"+strings.Replace("("+strings.Repeat(", null", params)+")", "(, ", "(", 1))
	if err != nil {
		b.tb.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.tb.Fatalf("%v\n%s", err, sql)
	}
	if _, err := conn.Exec(b.ctx, "deallocate explained; reset enable_partition_pruning; reset enable_sort; reset enable_bitmapscan"); err != nil {
		b.tb.Fatal(err)
	}
	return b.wholeNames(strings.Join(plan, "\n"), seqscan)
}

var relation = regexp.MustCompile(`((?:using|on) )([a-z0-9_]+)`)

// wholeNames names in a plan what its partitions and their indexes are of. Partitions
// without rows, which Postgres as it comes reads from end to end, are left out: our
// sessions do not, and with them nothing is.
func (b *bundle) wholeNames(plan, seqscan string) string {
	b.tb.Helper()
	rows, err := b.pool.Query(b.ctx, "select p.relname, w.relname, p.reltuples <= 0 from pg_inherits i join pg_class p on p.oid = i.inhrelid join pg_class w on w.oid = i.inhparent")
	if err != nil {
		b.tb.Fatal(err)
	}
	of := map[string]string{}
	var part, whole string
	empty := false
	if _, err := pgx.ForEachRow(rows, []any{&part, &whole, &empty}, func() error {
		of[part] = whole
		if empty && seqscan == "on" {
			plan = regexp.MustCompile(`(?m)^.*Seq Scan on `+part+`\b.*$`).ReplaceAllString(plan, "")
		}
		return nil
	}); err != nil {
		b.tb.Fatal(err)
	}
	return relation.ReplaceAllStringFunc(plan, func(s string) string {
		m := relation.FindStringSubmatch(s)
		return m[1] + orElse(of[m[2]], m[2])
	})
}
