package e2e

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// TestKillRedrive sends 200 messages again that were not delivered, and kills the gateway
// in the middle, three times: each of them becomes one new message.
func TestKillRedrive(t *testing.T) {
	t.Parallel()
	s := start(t, "--receipt-delay", "50ms", "--receipt-rate-final", "UNDELIV=100:001")
	const n = 200
	batch := s.batch("undelivered", 0, n, nil)
	count := func(sql string, args ...any) int { return queried[int](s, sql, args...) }
	s.until("none was delivered", func() bool {
		return count("select count(*) from messages where batch_id = $1 and status = 'undelivered'", batch) == n
	})
	of, err := message.ParseID(batch)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody is told of it: the sweep finds it.
	r := &message.Redrive{ID: message.NewID(), By: message.Actor{Name: "night", Role: "support"}, Reason: "the vendor had an outage", Action: message.RedriveRetry,
		Filter: message.Filter{BatchID: of, CreatedBefore: time.Now()}, Limit: 1000, PerSecond: 40, CreatedAt: time.Now().UTC()}
	if _, err := s.db.CreateRedrive(stacktest.Context(t), r, nil); err != nil {
		t.Fatal(err)
	}
	made := func() int { return count("select count(*) from messages where retry_of is not null") }
	for _, at := range []int{1, n / 4, n / 2} {
		s.until("some were sent again", func() bool { return made() >= at })
		s.kill()
	}
	var done *message.Redrive
	s.until("the re-drive has completed", func() bool {
		done, err = s.db.RedriveByID(t.Context(), r.ID)
		return err == nil && done.Status.Final()
	})
	if done.Status != message.RedriveCompleted || done.Looked != n || done.Done != n {
		t.Errorf("%+v", done)
	}
	if of := count("select count(distinct m.retry_of) from messages m join messages o on o.id = m.retry_of where o.batch_id = $1", batch); made() != n || of != n {
		t.Errorf("%d messages were made of %d", made(), of)
	}
	s.until("every new message has ended, or is in doubt", func() bool {
		return count("select count(*) from messages where retry_of is not null and status in ('undelivered', 'in_doubt')") == n
	})
	seen := s.destinations()
	for i := range n {
		if seen[destination(i)] > 2 {
			t.Errorf("%s was sent %d times", destination(i), seen[destination(i)])
		}
	}
	s.wantUnviolated()
}
