package postgres

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// aged puts messages of so long ago into the journal: some of the account's, some of
// others, in each direction.
func (b *bundle) aged(ago time.Duration, n int) []message.ID {
	b.tb.Helper()
	var ids []message.ID
	for i := range n {
		m := b.draft()
		m.CreatedAt = time.Now().UTC().Add(-ago).Add(time.Duration(i) * time.Millisecond).Truncate(time.Millisecond)
		m.ID = idAt(m.CreatedAt)
		fresh := message.NewID()
		copy(m.ID[6:], fresh[6:])
		m.From = message.Address(fmt.Sprintf("+1202555014%d", i%3))
		m.Segments = 1 + i%2
		b.store(m)
		ids = append(ids, m.ID)
	}
	return ids
}

// wholeUsage is what the report must say: the journal, added up by itself.
const wholeUsage = `
select (created_at at time zone 'UTC')::date::text || ' ' || direction || ' ' || case direction when 'inbound' then to_addr else from_addr end || ' ' || campaign_id || ' ' || status || ' ' || kind,
  count(*) || ' ' || sum(segments) || ' ' || sum(case when price_final then price_micros else 0 end)
from messages
where account_id = $1
group by 1`

func (b *bundle) checkUsage(says string) {
	b.tb.Helper()
	want := map[string]string{}
	rows, err := b.pool.Query(b.ctx, wholeUsage, b.owner)
	if err != nil {
		b.tb.Fatal(err)
	}
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			b.tb.Fatal(err)
		}
		want[key] = value
	}
	from := time.Now().UTC().Truncate(24 * time.Hour)
	list, err := b.UsageReport(b.ctx, b.owner, from.AddDate(0, 0, -9), from.AddDate(0, 0, 1), message.UsageBy{Day: true, Number: true, Campaign: true, Status: true, Kind: true}, 0, 1000)
	if err != nil {
		b.tb.Fatal(err)
	}
	got := map[string]string{}
	for _, u := range list {
		got[fmt.Sprintf("%s %s %s %s %s %s", u.Day.Format(time.DateOnly), u.Direction, u.Number, u.CampaignID, u.Status, u.Kind)] = fmt.Sprintf("%d %d %d", u.Messages, u.Parts, int64(u.Cost))
	}
	if !maps.Equal(got, want) {
		b.tb.Fatalf("%s: the report says\n%v\nthe journal\n%v", says, got, want)
	}
}

// The report is what the journal would add up to: before it is counted, when it is, and
// when what was counted has changed or come in late.
func TestUsageReport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := append(b.aged(50*time.Hour, 30), b.aged(20*time.Minute, 30)...)
	young := b.aged(time.Minute, 10)
	b.exec("update messages set direction = 'inbound', status = 'delivered' where id = $1", old[3])
	b.checkUsage("uncounted")
	b.upkeep()
	if n := b.count("select coalesce(sum(messages), 0)::int from usage_days"); n != len(old) {
		t.Fatalf("%d messages are counted, of %d", n, len(old))
	}
	b.checkUsage("counted")

	b.exec("update messages set status = 'delivered', price_final = true where id = any($1)", old[:20])
	b.exec("update messages set status = 'delivered', price_final = true where id = any($1)", young)
	b.exec("update messages set status = 'undelivered' where id = any($1)", old[:5]) // twice, and counted once
	b.exec("update messages set body = null where id = any($1)", old)                // what is not counted leaves nothing
	if n := b.count("select count(*)::int from usage_late"); n != 20 {
		t.Errorf("%d rows for 20 messages that have changed", n)
	}
	b.aged(30*time.Hour, 3)
	b.upkeep()
	b.checkUsage("changed")
	if n := b.count("select count(*)::int from usage_late"); n != 0 {
		t.Errorf("%d rows stay", n)
	}
	b.upkeep()
	b.checkUsage("once more")
	// Messages that go stay counted.
	b.exec("delete from messages where id = any($1)", old[:10])
	b.upkeep()
	if n := b.count("select sum(messages)::int from usage_days where account_id = $1", b.owner); n != len(old)+3 {
		t.Errorf("%d messages are counted after some have gone", n)
	}
	if list, err := b.UsageReport(b.ctx, message.NewID(), time.Now().UTC().AddDate(0, 0, -9), time.Now().UTC().AddDate(0, 0, 1), message.UsageBy{}, 0, 10); err != nil || len(list) != 0 {
		t.Errorf("another account sees %+v, %v", list, err)
	}
	list, err := b.UsageReport(b.ctx, b.owner, time.Now().UTC().AddDate(0, 0, -9), time.Now().UTC().AddDate(0, 0, 1), message.UsageBy{Number: true}, 1, 1)
	if err != nil || len(list) != 1 || list[0].Status != "" || !list[0].Day.IsZero() {
		t.Errorf("a page: %+v, %v", list, err)
	}
}

// However changes and rounds fall together, nothing is counted twice or not at all.
func TestUsageReportConcurrent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.aged(40*time.Minute, 60)
	statuses := []string{"queued", "sending", "sent", "delivered", "undelivered"}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for range 60 {
				if _, err := b.pool.Exec(b.ctx, "update messages set status = $1, price_final = true where id = $2", statuses[r.IntN(len(statuses))], ids[r.IntN(len(ids))]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		b.upkeep()
	}
	wg.Wait()
	b.upkeep()
	b.checkUsage("after all")
}
