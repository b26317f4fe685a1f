package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/client/api"
)

// batch sends one with so many rows, the first of them with the number first, repeated
// under its key until it is taken.
func (s *system) batch(key string, first, rows int, more map[string]any) string {
	s.tb.Helper()
	list := make([]map[string]any, rows)
	for i := range list {
		list[i] = map[string]any{"to": destination(first + i), "variables": map[string]string{"n": fmt.Sprint(first + i)}}
	}
	fields := map[string]any{"name": key, "from": from, "body": "row {{n}}", "messages": list, "message_class": "otp", "validity_seconds": 600}
	maps.Copy(fields, more)
	body, err := json.Marshal(fields)
	if err != nil {
		s.tb.Fatal(err)
	}
	var id string
	s.until("the batch is taken", func() bool {
		a, err := s.api().CreateBatchWithBodyWithResponse(s.tb.Context(), &api.CreateBatchParams{IdempotencyKey: &key}, jsonType, bytes.NewReader(body))
		if err != nil {
			return false
		}
		if code := a.StatusCode(); code >= 400 && code < 500 && code != http.StatusTooManyRequests {
			s.tb.Fatalf("%d: %s", code, a.Body)
		}
		if a.JSON202 != nil {
			id = a.JSON202.ID.String()
		}
		return a.JSON202 != nil
	})
	return id
}

// batchOf reads a batch; false while nobody answers.
func (s *system) batchOf(id string) (b api.Batch, ok bool) {
	a, err := s.api().GetBatchWithResponse(s.tb.Context(), id)
	if err != nil || a.JSON200 == nil {
		return b, false
	}
	return *a.JSON200, true
}

func (s *system) pauseBatch(id string) {
	s.tb.Helper()
	s.until("it is paused", func() bool {
		a, err := s.api().PauseBatchWithResponse(s.tb.Context(), id, &api.PauseBatchParams{})
		return err == nil && a.JSON200 != nil
	})
}

func (s *system) resumeBatch(id string) {
	s.tb.Helper()
	s.until("it is resumed", func() bool {
		a, err := s.api().ResumeBatchWithResponse(s.tb.Context(), id, &api.ResumeBatchParams{})
		return err == nil && a.JSON200 != nil
	})
}

func (s *system) cancelBatch(id string) {
	s.tb.Helper()
	s.until("it is canceled", func() bool {
		a, err := s.api().CancelBatchWithResponse(s.tb.Context(), id, &api.CancelBatchParams{})
		return err == nil && a.JSON200 != nil
	})
}

// worked is how many rows of a batch are worked, as the record has it.
func (s *system) worked(id string) int {
	s.tb.Helper()
	return queried[int](s, "select worked from batches where id = $1", id)
}

func queried[T any](s *system, sql string, args ...any) (v T) {
	s.tb.Helper()
	if err := s.sql().QueryRow(s.tb.Context(), sql, args...).Scan(&v); err != nil {
		s.tb.Fatal(err)
	}
	return v
}

// kill kills the gateway and starts it again.
func (s *system) kill() {
	s.tb.Helper()
	if err := s.gateway.Kill(); err != nil {
		s.tb.Fatal(err)
	}
	s.startGateway()
}

// wantUnviolated wants what the record says of itself to hold.
func (s *system) wantUnviolated() {
	s.tb.Helper()
	s.until("nothing is wrong with the record", func() bool {
		found, err := s.db.Violations(s.tb.Context(), 0)
		if err != nil {
			s.tb.Fatal(err)
		}
		return len(found) == 0
	})
}

// TestKillBatch kills the gateway at five moments of a batch of 2,000 rows, pauses it
// between and lets it go on: each row leaves once.
func TestKillBatch(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "2ms", "--receipt-delay", "200ms")
	const n = 2000
	slowly := map[string]any{"throttle_per_second": 400}
	id := s.batch("killed", 0, n, slowly)
	for _, rows := range []int{1, n / 5, n / 2} {
		s.until(fmt.Sprintf("%d rows are worked", rows), func() bool { return s.worked(id) >= rows })
		s.kill()
	}
	// What the dead process had claimed is not given back while the batch is paused.
	was := s.worked(id)
	s.until("it is worked again", func() bool { return s.worked(id) > was })
	s.pauseBatch(id)
	s.until("the pause has taken effect", func() bool {
		return queried[int](s, "select count(*) from batch_rows where batch_id = $1 and state = 'claimed'", id) == 0
	})
	before := s.worked(id)
	if before == n {
		t.Fatal("it was not paused in time: the test is blind")
	}
	s.kill()
	if after := s.worked(id); after != before {
		t.Errorf("%d rows were worked of a paused batch", after-before)
	}
	s.resumeBatch(id)
	s.until("most rows are worked", func() bool { return s.worked(id) >= n*9/10 })
	s.kill()
	s.until("the batch has completed", func() bool {
		b, ok := s.batchOf(id)
		return ok && b.Status == "completed"
	})
	var b api.Batch
	s.until("every message has ended, or is in doubt", func() bool {
		b, _ = s.batchOf(id)
		return b.Counts.Delivered+queried[int64](s, "select count(*) from messages where batch_id = $1 and status = 'in_doubt'", id) == n
	})
	seen, doubled, rows := s.destinations(), 0, queried[int](s, "select count(*) from messages where batch_id = $1", id)
	for i := range n {
		if seen[destination(i)] > 1 {
			doubled++
		}
	}
	t.Logf("%v; %d messages of %d recipients", b.Counts, rows, len(seen))
	if rows != n || doubled > 0 || int64(len(seen)) < b.Counts.Delivered || queried[int](s, "select count(distinct to_addr) from messages where batch_id = $1", id) != n {
		t.Errorf("want each row one message, sent once: %d messages, %d doubled, %d recipients", rows, doubled, len(seen))
	}
	// The batch is known by its key for as long as keys are kept.
	if again := s.batch("killed", 0, n, slowly); again != id {
		t.Errorf("its request made another batch: %s", again)
	}
	s.wantUnviolated()
}

// TestCancelBatch cancels a batch while rows are worked and messages wait, and kills the
// gateway while it withdraws them.
func TestCancelBatch(t *testing.T) {
	t.Parallel()
	s := start(t, "--receipt-delay", "200ms")
	const n = 500
	id := s.batch("canceled", 0, n, map[string]any{"throttle_per_second": 200, "send_at": time.Now().Add(time.Hour)})
	s.until("some rows are worked", func() bool { return s.worked(id) >= n/3 })
	s.cancelBatch(id)
	s.kill()
	var b api.Batch
	s.until("the cancellation is carried out", func() bool {
		ok := false
		b, ok = s.batchOf(id)
		return ok && b.CompletedAt != nil
	})
	if b.Status != "canceled" || b.Counts.Canceled != n {
		t.Errorf("%+v", b)
	}
	if seen := s.destinations(); len(seen) != 0 {
		t.Errorf("%d messages have left", len(seen))
	}
	if a, err := s.api().ResumeBatchWithResponse(t.Context(), id, &api.ResumeBatchParams{}); err != nil || a.StatusCode() != http.StatusConflict {
		t.Errorf("%v, %+v", err, a)
	}
	s.wantUnviolated()
}

// TestBatchesShareFairly has twenty batches of an account worked at once: none of them has
// to wait for another's end. The order of their rows is judged, not the time.
func TestBatchesShareFairly(t *testing.T) {
	s := start(t)
	const batches, rows = 20, 120 // four turns each
	rate := func(perSecond int) {
		if _, err := s.sql().Exec(t.Context(), "update accounts set api_rate_limit = $2 where id = $1", s.account, perSecond); err != nil {
			t.Fatal(err)
		}
		const one = `{"messages":[{"to":"+13105550117","body":"x"}],"throttle_per_second":%d}`
		s.until("the rate holds", func() bool {
			check := func(rate int) int {
				a, err := s.api().CheckBatchWithBodyWithResponse(t.Context(), jsonType, bytes.NewReader(fmt.Appendf(nil, one, rate)))
				if err != nil {
					t.Fatal(err)
				}
				return a.StatusCode()
			}
			return check(perSecond+1) == http.StatusUnprocessableEntity && check(perSecond) == http.StatusOK
		})
	}
	rate(4) // so that all are there before one is done
	var wg sync.WaitGroup
	ids := make([]string, batches)
	for i := range ids {
		wg.Go(func() { ids[i] = s.batch(fmt.Sprintf("fair-%d", i), i*rows, rows, nil) })
	}
	wg.Wait()
	if queried[int](s, "select count(*) from batches where status = 'completed'") > 0 {
		t.Fatal("one has completed before all were there: the test is blind")
	}
	rate(120)
	s.until("all have completed", func() bool {
		return queried[int](s, "select count(*) from batches where status = 'completed'") == batches
	})
	// When the first of them had its last row, the others had most of theirs.
	var least int
	if err := s.sql().QueryRow(t.Context(), `
with ordered as (
  select batch_id, row_number() over (order by id) as place
  from messages
), ends as (
  select batch_id, max(place) as last
  from ordered
  group by batch_id
)
select min(n) from (
  select e.batch_id, count(o.place) filter (where o.place < (select min(last) from ends)) as n
  from ends e
  join ordered o on o.batch_id = e.batch_id
  group by e.batch_id
) x`).Scan(&least); err != nil {
		t.Fatal(err)
	}
	began := queried[int](s, "select count(distinct batch_id) from (select batch_id from messages order by id limit $1) m", batches*rows/2)
	t.Logf("the slowest had %d of %d rows when the first had all; %d batches had begun in the first half", least, rows, began)
	if began != batches || least < rows/4 {
		t.Errorf("batches wait for each other's end: %d had begun in the first half, the slowest had %d rows when the first had all", began, least)
	}
	for _, id := range ids {
		if b, ok := s.batchOf(id); !ok || b.Counts.Rejected != 0 || b.Counts.Total != rows {
			t.Errorf("%+v", b)
		}
	}
	s.until("every row has left", func() bool { return len(s.destinations()) == batches*rows })
}
