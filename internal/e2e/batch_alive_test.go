package e2e

import (
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/workflows"
)

// TestBatchIsStartedAgain has a batch whose row was stored by a process that died before
// it told anybody, and one whose workflow is terminated in the middle: both are worked to
// their end, each row once.
func TestBatchIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := stacktest.Context(t)
	credential := queried[string](s, "select id::text from api_credentials where account_id = $1 limit 1", s.account)
	owner, err := message.ParseID(credential)
	if err != nil {
		t.Fatal(err)
	}
	// The row of a process that dies now.
	if err := s.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	left := &message.Batch{ID: message.NewID(), AccountID: s.account, Credential: owner, Status: message.BatchRunning, Total: 20, CreatedAt: time.Now().UTC(),
		Defaults: message.BatchDefaults{From: from, Body: "left", Class: message.ClassOTP}}
	rows := make([]message.BatchContent, left.Total)
	for i := range rows {
		rows[i].To = destination(1000 + i)
	}
	if _, err := s.db.CreateBatch(ctx, left, rows, nil); err != nil {
		t.Fatal(err)
	}
	s.startGateway()
	completed := func(id string) bool {
		b, ok := s.batchOf(id)
		return ok && b.Status == "completed"
	}
	s.until("the batch that nobody was told of has completed", func() bool { return completed(left.ID.String()) })

	const n = 200
	id := s.batch("terminated", 0, n, map[string]any{"throttle_per_second": 20})
	s.until("some rows are worked", func() bool { return s.worked(id) >= 20 })
	c, err := client.Dial(client.Options{HostPort: s.temporal.Address(), Namespace: s.temporal.Namespace()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	batch, err := message.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.TerminateWorkflow(ctx, workflows.BatchID(batch), "", "by mistake"); err != nil {
		t.Fatal(err)
	}
	s.until("nobody works it", func() bool {
		return queried[bool](s, "select looked_at < now() - interval '4 seconds' from batches where id = $1", id)
	})
	before := s.worked(id)
	if before == n {
		t.Fatal("it had completed before: the test is blind")
	}
	// Time passes, and the next process looks as the running ones do each minute.
	if _, err := s.sql().Exec(ctx, "update batches set looked_at = now() - interval '6 minutes' where id = $1", id); err != nil {
		t.Fatal(err)
	}
	s.restartGateway()
	s.until("it has completed all the same", func() bool { return completed(id) })
	if got := queried[int](s, "select count(distinct to_addr) from messages where batch_id = $1", id); got != n || queried[int](s, "select count(*) from messages where batch_id = $1", id) != n {
		t.Errorf("%d rows were worked after %d", got, before)
	}
	s.until("every row has left", func() bool { return len(s.destinations()) == n+left.Total })
	s.wantUnviolated()
}
