package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// overtakes finds pairs of messages of one conversation of which the later went
// on the wire before the earlier was taken.
const overtakes = `
with m as (
  select m.id, m.to_addr, b.n,
    (select max(answered_at) from segments s where s.message_id = m.id) as taken,
    (select min(sent_at) from segments s where s.message_id = m.id) as tried
  from messages m
  join unnest($1::uuid[]) with ordinality as b(id, n) on b.id = m.id
)
select count(*)
from m earlier
join m later on later.to_addr = earlier.to_addr and later.n > earlier.n and later.tried < earlier.taken`

// configIsCurrent reports whether the gateway goes by the newest configuration.
func (s *system) configIsCurrent(ctx context.Context, db *pgx.Conn) bool {
	s.tb.Helper()
	var version int64
	if err := db.QueryRow(ctx, "select version from config_version").Scan(&version); err != nil {
		s.tb.Fatal(err)
	}
	resp, err := s.client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", s.metricsPort))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && bytes.Contains(body, fmt.Appendf(nil, "\nconfig_version %d\n", version))
}

// logBacklog shows what has not left.
func (s *system) logBacklog(db *pgx.Conn) {
	rows, err := db.Query(context.Background(), `select row_to_json(b)::text || ' ' || m.status || ' ' ||
		(select json_agg(json_build_array(e.at, e.type, e.detail) order by e.sequence) from message_events e where e.message_id = m.id)::text
		from backlog b join messages m on m.id = b.message_id order by turn limit 6`)
	if err != nil {
		s.tb.Log(err)
		return
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.tb.Log(err)
	for _, l := range list {
		s.tb.Log(l)
	}
}

// smscPut changes how the simulator behaves.
func (s *system) smscPut(settings map[string]any) {
	s.tb.Helper()
	body, err := json.Marshal(settings)
	if err != nil {
		s.tb.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPut, s.smscStats+"/config", bytes.NewReader(body))
	if err != nil {
		s.tb.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.tb.Fatalf("PUT /config answered %d", resp.StatusCode)
	}
}

// TestConversationOrder: texts of one conversation reach the vendor in the order
// in which they were submitted, though the vendor throttles and fails, and
// another takes over.
func TestConversationOrder(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "5ms", "--error-percent", "100", "--error-statuses", "RTHROTTLED")
	ctx := stacktest.Context(t)
	host, port := s.smscHostPort()
	other := message.NewID()
	if err := s.db.CreateVendor(ctx, actor, snapshot.Vendor{ID: other, Name: "sim2", Host: host, Port: port, Username: "postrider2", Password: "test", Active: true, Window: 100, SupportsUnicode: true,
		ResponseTimeout: 3 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.CreateRoute(ctx, actor, snapshot.Route{Priority: 20, DestPattern: regexp.MustCompile("^1"), VendorID: other, RatePerMsg: 4500}); err != nil {
		t.Fatal(err)
	}
	pg := s.postgres.Server()
	db, err := pgx.Connect(ctx, fmt.Sprintf("host='%s' port=%d user='%s' password='%s' dbname=postrider", pg.Host, pg.Port, pg.User, pg.Password))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	if _, err := db.Exec(ctx, "update accounts set conversation_hold_seconds = 120"); err != nil { // nothing is stuck here
		t.Fatal(err)
	}
	e := s.newESME()
	s.until("the setting holds", func() bool { return s.configIsCurrent(ctx, db) })
	e.rebind(smpp.ModeTransceiver, s.smppPort)
	const n, conversations = 24, 3
	ids := make([]string, n)
	var answered sync.WaitGroup
	for i := range n {
		answered.Add(1)
		if _, err := e.session.Begin(ctx, submission(destination(i%conversations), fmt.Sprintf("text %d", i)), func(p smpp.Packet, err error) {
			defer answered.Done()
			if err != nil {
				t.Errorf("submit %d: %v", i, err)
				return
			}
			ids[i] = p.Body.(*smpp.SubmitSMResp).MessageID
		}); err != nil {
			t.Fatal(err)
		}
	}
	answered.Wait()
	if t.Failed() {
		return
	}
	defer func() {
		if t.Failed() {
			s.logBacklog(db)
		}
	}()
	count := func(sql string) (n int) {
		if err := db.QueryRow(ctx, sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	s.until("the vendor has throttled", func() bool { return count("select count(*) from segments where state = 'refused'") > 2*conversations })
	// It recovers, and refuses some for good: those the other vendor may take.
	s.smscPut(map[string]any{"error_percent": 40, "error_statuses": "RINVDSTADR"})
	s.until("all have left", func() bool { return count("select count(*) from backlog") == 0 })
	parsed := make([]message.ID, n)
	for i, id := range ids {
		parsed[i] = messageID(t, id)
	}
	t.Logf("%d attempts were repetitions, %d went to the second vendor, %d messages failed", count("select count(*) from segments where attempt > 1"),
		count("select count(*) from segments where vendor_name = 'sim2'"), count("select count(*) from messages where status = 'failed'"))
	var overtaken int
	if err := db.QueryRow(ctx, overtakes, parsed).Scan(&overtaken); err != nil {
		t.Fatal(err)
	}
	if count("select count(*) from segments where vendor_name = 'sim2'") == 0 {
		t.Error("no vendor took over: nothing was shown")
	}
	if overtaken > 0 {
		t.Errorf("%d pairs went out in the wrong order", overtaken)
	}
}
