package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Lists that are written out row by row and those that come as arrays are kept alike.
func TestListsOfEachLength(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, n := range []int{1, 2, fewRows, fewRows + 1, 9} {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf("list-%d-%d", n, i+1)
		}
		m := b.sending(n)
		c := b.answered(m, ids...)
		for range n {
			c.Notifications = append(c.Notifications, b.notification(m, "message.sent"))
		}
		adv := b.must(c)
		for i, p := range b.parts(m) {
			if p.Number != i+1 || p.Attempt != 1 || p.VendorMessageID != ids[i] || p.State != message.PartSubmitted || p.Vendor != b.vendor.Name {
				t.Errorf("of %d, part %d: %+v", n, i+1, p)
			}
		}
		events := b.timeline(m) // accepted, queued, a line a part, sent
		if len(events) != n+3 {
			t.Fatalf("of %d: %d lines", n, len(events))
		}
		for i, e := range events[2 : n+2] {
			if e.Detail["part"] != float64(i+1) {
				t.Errorf("of %d, line %d: %+v", n, i+3, e)
			}
		}
		other := b.replica() // which remembers nothing
		for _, note := range c.Notifications {
			got, state, err := other.Notification(b.ctx, note.ID)
			want := strings.ReplaceAll(note.Payload, message.SequencePlaceholder, fmt.Sprintf(`"sequence":%d`, adv.Sequence))
			if err != nil || state != message.NotificationPending || got.Payload != want || got.EventID != message.EventID(m.ID, adv.Sequence) || got.URL != note.URL {
				t.Errorf("of %d: %+v, %s, %v", n, got, state, err)
			}
		}
		if due := b.count("select count(*) from webhooks_due w join webhook_deliveries d on d.id = w.delivery_id where d.message_id = $1", m.ID); due != n {
			t.Errorf("of %d: %d are due", n, due)
		}
	}
}

// Nobody has counted the receipts yet, as in a new installation: each id is looked up,
// and not all that the vendor ever said.
func TestEarlyReceiptsOfAYoungTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	if _, err := tx.Exec(b.ctx, "prepare early as "+selectEarly); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(b.ctx, fmt.Sprintf("explain (costs off) execute early('%s', '{a,b}', '%s')", b.vendor.ID, message.NewID()))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(plan, "\n"); !strings.Contains(all, "Index Cond: ((vendor_id = $1) AND (normalized_id = given.id))") {
		t.Errorf("the plan:\n%s", all)
	}
}
