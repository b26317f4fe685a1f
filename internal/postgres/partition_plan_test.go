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

var touchedNode = regexp.MustCompile(`(?:Seq Scan|Heap Scan|using \S+) on (\S+).*\(actual rows`)

// touched runs a statement by the plan that our sessions have of it, takes back what it
// did, and lists the partitions that it looked into.
func (b *bundle) touched(sql string, args ...any) []string {
	b.tb.Helper()
	conn, err := b.pool.Acquire(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer conn.Release()
	tx, err := conn.Begin(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	if _, err := tx.Exec(b.ctx, "prepare looks as "+sql); err != nil {
		b.tb.Fatalf("%v\n%s", err, sql)
	}
	defer func() { _, _ = conn.Exec(b.ctx, "deallocate looks") }()
	values := make([]string, len(args))
	for i, a := range args {
		values[i] = b.written(a)
	}
	call := "looks(" + strings.Join(values, ", ") + ")"
	if len(args) == 0 {
		call = "looks"
	}
	rows, err := tx.Query(b.ctx, "explain (analyze, costs off, timing off, summary off) execute "+call)
	if err != nil {
		b.tb.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.tb.Fatalf("%v\n%s\n%s", err, sql, call)
	}
	var list []string
	for _, l := range plan {
		m := touchedNode.FindStringSubmatch(l) // what was never executed has no actual rows
		if m != nil && slices.ContainsFunc(partitionTables, func(t partitioned) bool { return strings.HasPrefix(m[1], t.table+"_") }) {
			list = append(list, m[1])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (b *bundle) listed(sql string, args []any) []string { return b.touched(sql, args...) }

// written is an argument as it stands in a statement.
func (b *bundle) written(a any) string {
	b.tb.Helper()
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	list := func(n int, of func(int) string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = of(i)
		}
		return "array[" + strings.Join(all, ", ") + "]"
	}
	switch v := a.(type) {
	case nil:
		return "null"
	case string:
		return quote(v)
	case *string:
		if v == nil {
			return "null"
		}
		return quote(*v)
	case *time.Time:
		if v == nil {
			return "null"
		}
		return quote(v.Format(time.RFC3339Nano))
	case time.Time:
		return quote(v.Format(time.RFC3339Nano))
	case time.Duration:
		return quote(fmt.Sprintf("%d ms", v.Milliseconds()))
	case message.ID:
		return quote(v.String())
	case *message.ID:
		if v == nil {
			return "null"
		}
		return quote(v.String())
	case []string:
		return list(len(v), func(i int) string { return quote(v[i]) }) + "::text[]"
	case []*string:
		return list(len(v), func(i int) string { return b.written(v[i]) }) + "::jsonb[]"
	case []int32:
		return list(len(v), func(i int) string { return fmt.Sprint(v[i]) }) + "::int[]"
	case []message.ID:
		return list(len(v), func(i int) string { return quote(v[i].String()) }) + "::uuid[]"
	case []*message.ID:
		return list(len(v), func(i int) string { return "null" }) + "::uuid[]"
	case bool, int, int16, int32, int64, float64:
		return fmt.Sprint(v)
	}
	b.tb.Fatalf("an argument of type %T", a)
	return ""
}

// What is done for a message looks into the partition that the message is in, whatever
// else there is; a receipt into those of the 40 days before it.
func TestPartitionsTouched(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	const spans = 6
	now := time.Now()
	var all []*message.Message
	for i := spans; i >= 0; i-- {
		at := now.Add(-time.Duration(i) * partitionSpan)
		b.made(at, time.Hour)
		m := b.at(at)
		b.store(m)
		b.exec(`insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state, normalized_id) values ($1, 1, 1, $2, 'v', 'i', 'sending', $3)`,
			m.ID, b.vendor.ID, fmt.Sprint("id", i))
		b.exec(`insert into webhook_deliveries (id, event_id, account_id, message_id, type, url, payload, inbound_position) values ($1, $1, $2, $1, 't', 'u', 'p', 1)`, m.ID, b.owner)
		b.exec(`insert into inbound_deliveries (message_id, position, method) values ($1, 1, 'webhook')`, m.ID)
		all = append(all, m)
	}
	b.made(now, 2*partitionSpan)
	b.exec(analyze)
	if n := len(b.layout(messagesTable)); n < spans {
		t.Fatalf("only %d partitions", n)
	}
	homes := func(tables ...partitioned) func(*message.Message) []string {
		return func(m *message.Message) (list []string) {
			for _, table := range tables {
				list = append(list, b.home(table, m.ID))
			}
			return list
		}
	}
	events, segments := ofMessages[0], ofMessages[1]
	may := homes(messagesTable, events, segments, deliveriesTable)
	// since are the partitions of some tables that end after a time.
	since := func(from time.Time, tables ...partitioned) (list []string) {
		for _, table := range tables {
			for _, p := range b.layout(table) {
				if p.to == (message.ID{}) || timeOf(p.to).After(from) {
					list = append(list, p.name)
				}
			}
		}
		return list
	}
	m := all[2] // of a time long ago
	for name, c := range map[string]message.Change{
		"status": {To: message.StatusQueued, Started: true}, "attempts": {To: message.StatusSending, Attempts: []message.Attempt{{Part: 1, Number: 2, Vendor: b.vendor, Instance: "a"}}},
		"answers": {Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartSubmitted}}}, "settled": {To: message.StatusRejected, Settled: true, Started: true},
		"told": {To: message.StatusQueued, Events: line(message.StatusQueued), Notifications: []message.Notification{b.notification(m, "message.sent")}},
	} {
		c.MessageID = m.ID
		sql, args := advanceStatement(c)
		if got := b.touched(sql, args...); len(got) == 0 || outside(got, may(m)) {
			t.Errorf("advance with %s looks into %v", name, got)
		}
	}
	for _, q := range []struct {
		name, sql string
		args      []any
	}{
		{"message", selectMessage, []any{m.ID}},
		{"status", selectStatus, []any{m.ID}},
		{"progress", selectOutcome, []any{m.ID}},
		{"events", selectEvents, []any{m.ID, 0, 50}},
		{"parts", selectParts, among([]message.ID{m.ID})},
		{"several", selectMessages, among([]message.ID{m.ID})},
		{"stored", selectStoredIDs, among([]message.ID{m.ID})},
		{"deciding", selectDeciding, []any{m.ID}},
		{"notification", selectNotification, []any{m.ID}},
		{"attempt", recordPending, []any{m.ID, 1, "pending", 0, "", "", 5, "{}", m.ID, 1, 0}},
		{"last attempt", recordArrived, []any{m.ID, 1, "delivered", 0, "", "", 5, "{}", m.ID, 1, 0, m.ID}},
		{"named", nameAttempt, []any{m.ID, 1, b.vendor.ID, "x"}},
		{"newest", lockNewest, []any{m.ID, 1}},
		{"action", insertStaffAction, []any{m.ID, "{}"}},
		{"inbound event", addInboundEvent, []any{m.ID, "x", "{}"}},
		{"sample", selectSample, []any{idAt(m.CreatedAt), idAt(m.CreatedAt.Add(time.Second)), 65536, int64(10)}},
	} {
		if got := b.touched(q.sql, q.args...); len(got) == 0 || outside(got, may(m)) {
			t.Errorf("%s looks into %v", q.name, got)
		}
	}
	// What is told of a message is not older than it.
	after := append(may(m), since(m.CreatedAt.Add(-48*time.Hour), deliveriesTable)...)
	for name, sql := range map[string]string{"pending": selectPending, "outcomes": selectOutcomes, "owed": selectOwed} {
		if got := b.touched(sql, m.ID); len(got) == 0 || outside(got, after) {
			t.Errorf("%s looks into %v", name, got)
		}
	}
	// Receipts.
	recent := since(now.Add(-receiptsWithin), messagesTable, events, segments)
	r := b.receipt("id0", message.ReceiptDelivered)
	for name, q := range map[string]struct {
		sql  string
		args []any
	}{
		"receipt":  {storeReceipt, append(matchArgs(r), r.ID, "a", "b", "c")},
		"rematch":  {rematchReceipt, matchArgs(r)},
		"early":    {selectEarly, []any{b.vendor.ID, []string{"id0"}, receiptsFrom(now)}},
		"doubtful": {selectDoubtful, []any{b.vendor.ID, "13105550117", "12025550143", now, receiptsFrom(now)}},
		"doubt":    {nameDoubtful, []any{all[spans].ID, 1, 1, "id9", b.vendor.ID, receiptsFrom(now)}},
		"by hand":  {nameByHand, []any{all[spans].ID, 1, 1, "id9", b.vendor.ID, receiptsFrom(now)}},
	} {
		if got := b.touched(q.sql, q.args...); outside(got, recent) {
			t.Errorf("%s looks into %v", name, got)
		}
	}
	matched := b.received(r)
	if matched.MessageID != all[spans].ID {
		t.Errorf("the receipt is of %s", matched.MessageID)
	}
	// Vendors use ids again, and the record is kept for long.
	if stranger := b.received(b.receipt(fmt.Sprint("id", spans), message.ReceiptDelivered)); stranger.Known {
		t.Error("a receipt found a message of long ago")
	}
	// Lists stop at the newest that they need, and go no further than the times asked for.
	newest := since(now.Add(-time.Hour), messagesTable)
	if got := b.listed(listQuery(b.owner, message.Filter{}, message.ID{}, 1)); outside(got, newest) {
		t.Errorf("the newest message is looked for in %v", got)
	}
	if got := b.listed(listQuery(b.owner, message.Filter{}, m.ID, 1)); outside(got, since(time.Time{}, messagesTable)[:4]) {
		t.Errorf("the one before %s is looked for in %v", m.CreatedAt, got)
	}
	span := message.Filter{CreatedAfter: m.CreatedAt.Add(-time.Second), CreatedBefore: m.CreatedAt.Add(time.Second), Direction: message.Outbound}
	// Ids and times may differ by some hours, which may be in a neighbour's time.
	near, list := homes(messagesTable)(m), b.layout(messagesTable)
	at := slices.IndexFunc(list, func(p partition) bool { return p.name == near[0] })
	for _, p := range list[max(at-1, 0):min(at+2, len(list))] {
		near = append(near, p.name)
	}
	if got := b.listed(listQuery(b.owner, span, message.ID{}, 50)); len(got) == 0 || outside(got, near) {
		t.Errorf("messages of two seconds are looked for in %v", got)
	}
	span.AccountID = message.ID{}
	if got := b.listed(listQuery(message.ID{}, span, message.ID{}, 50)); len(got) == 0 || outside(got, near) {
		t.Errorf("messages of two seconds of all accounts are looked for in %v", got)
	}
}

// outside reports whether one of the list is not among those that may be.
func outside(list, may []string) bool {
	return slices.ContainsFunc(list, func(name string) bool { return !slices.Contains(may, name) })
}
