package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/workflows"
)

// Judge says what became of what was accepted, by the ledger, the record, the vendors
// and Temporal. It has one user at a time.
type Judge struct {
	w      *World
	ledger *Ledger
	// Hasty has Whole take webhooks that have their time at which they are tried again
	// for explained, and not wait for them: after an endpoint was away for long that is
	// half an hour.
	Hasty bool

	// How long nothing may go forward before it is taken for the end, and how long what
	// was held may outlive its holder.
	patience, terms time.Duration

	taken map[string]map[int]copies // by vendor and message
	since map[string]time.Time      // when a vendor was asked last
	open  client.Client             // of Temporal; nil: not needed yet
	said  time.Time                 // see say
	read  map[int]bool              // MMS whose file was read as its receiver reads it
}

const (
	lookAgain = 500 * time.Millisecond
	// A look leaves as many times of what it took to what it looks at.
	leaves = 4
	// mostProbes are under way through one door at once.
	mostProbes = 5
	batch      = 1000 // messages that are looked up at once
	// aged is how long a row must have been as it is before it counts as left behind.
	aged = 30 * time.Second
	// schedule is the longest gap before a webhook's next try that is waited for at the end.
	schedule = 40 * time.Minute
	// terms is longer than any lease, bind or claim lasts.
	terms = 2 * time.Minute
	// back is how much further back than the last look a vendor is asked.
	back      = 10 * time.Second
	vendorRow = 100_000
	sayEvery  = 15 * time.Second
	// stuckFor is how long one and the same workflow is given to end: one that lost what
	// it was told looks for itself after 2 and 10 minutes, on a machine
	// however busy; the load goes on meanwhile, so that there are others all the time.
	stuckFor = 12 * time.Minute
)

// NewJudge makes one for what is in the ledger. Close it.
func NewJudge(w *World, l *Ledger) *Judge {
	return &Judge{w: w, ledger: l, patience: patience, terms: terms, taken: map[string]map[int]copies{}, since: map[string]time.Time{}, read: map[int]bool{}}
}

// Close ends its connection to Temporal.
func (j *Judge) Close() {
	if j.open != nil {
		j.open.Close()
		j.open = nil
	}
}

// Window waits until all that was offered from before the event until everything went as
// before is at its end, or until it is clear that it never will be, and judges it. healed:
// when the event was over. Recover counts from there. The load may go on.
func (j *Judge) Window(ctx context.Context, from, healed time.Time) (Verdict, error) {
	j.said = time.Now()
	recovered, shut := j.recover(ctx, healed)
	over := healed.Add(recovered)
	v, err := j.settle(ctx, j.ledger.Between(from, over), false)
	v.Recover, v.DoorsShut, v.UploadsRefused = recovered, len(shut), j.ledger.Refusals(from, over)
	for _, s := range shut {
		v.detail("%s", s)
	}
	if err == nil {
		err = j.left(ctx, &v, aged)
	}
	return v, err
}

// Whole judges everything since the beginning. The load has stopped.
func (j *Judge) Whole(ctx context.Context) (Verdict, error) {
	j.said = time.Now()
	v, err := j.settle(ctx, j.ledger.Between(time.Time{}, time.Time{}), !j.Hasty)
	if err != nil {
		return v, err
	}
	strange, forged := j.ledger.Strange()
	v.Strange, v.UploadsRefused = len(strange)+forged, j.ledger.Refusals(time.Time{}, time.Time{})
	for _, s := range strange {
		v.detail("%s", s)
	}
	// Nothing comes any more, so what is due in some seconds is waited for too: a workflow
	// that was told of its receipt while it waited for its submit is told once more.
	return v, j.left(ctx, &v, 0)
}

// AfterStop is called when the load and all gateways have been stopped in order: no
// lease may live on beyond its term, and no row be without its owner.
func (j *Judge) AfterStop(ctx context.Context) (Verdict, error) {
	var v Verdict
	var held []string
	err := wait(ctx, j.terms, func() (done bool, progress string, err error) {
		held, err = j.w.DB.Held(ctx)
		return len(held) == 0, "", err
	})
	if err != nil {
		return v, err
	}
	v.LeakedLeases = len(held)
	for _, h := range held {
		v.detail("still held: %s", h)
	}
	return v, errors.Join(j.orphans(ctx, &v, 0), j.mediaAtRest(ctx, &v))
}

// say tells who watches what is waited for, now and then.
func (j *Judge) say(format string, args ...any) {
	if j.w.Log != nil && time.Since(j.said) > sayEvery {
		j.said = time.Now()
		j.w.Log("  waiting: "+format, args...)
	}
}

// wait looks again and again until it is done, or nothing has gone forward for the
// time. Errors of a look count as no progress; the last one is returned when nothing
// came after it.
func wait(ctx context.Context, patience time.Duration, look func() (done bool, progress string, err error)) error {
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	moved, last := time.Now(), ""
	for {
		began := time.Now()
		done, progress, err := look()
		switch {
		case err == nil && done:
			return nil
		case err == nil && progress != last:
			moved, last = time.Now(), progress
		case time.Since(moved) > patience:
			return err
		}
		pause.Reset(max(lookAgain, leaves*time.Since(began)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// settle assesses messages until all are settled or nothing changes any more.
// scheduled: webhooks that have their time are waited for.
func (j *Judge) settle(ctx context.Context, of []int, scheduled bool) (Verdict, error) {
	findings := map[int]finding{}
	pending := of
	err := wait(ctx, j.patience, func() (bool, string, error) {
		var err error
		pending, err = j.look(ctx, pending, findings, scheduled)
		if len(pending) > 0 {
			j.say("%d messages are not settled, as message %d: %q; %v", len(pending), pending[0], findings[pending[0]].why, err)
		}
		progress := fmt.Sprint(len(pending))
		if slices.ContainsFunc(pending, func(i int) bool { return findings[i].webhookIsToCome }) {
			progress += time.Now().String() // time alone brings them nearer
		}
		return err == nil && len(pending) == 0, progress, err
	})
	if err != nil {
		return Verdict{}, err
	}
	var v Verdict
	for _, i := range of {
		v.count(i, findings[i])
	}
	return v, nil
}

// look assesses messages once and gives those that are not settled; with an error all
// of them.
func (j *Judge) look(ctx context.Context, pending []int, findings map[int]finding, scheduled bool) ([]int, error) {
	if err := j.askVendors(ctx); err != nil {
		return pending, err
	}
	var still []int
	for chunk := range slices.Chunk(pending, batch) {
		fates, err := j.fatesOf(ctx, chunk)
		if err != nil {
			return pending, err
		}
		came, err := j.cameIn(ctx, chunk, fates)
		if err != nil {
			return pending, err
		}
		for _, i := range chunk {
			e := j.ledger.get(i)
			var f finding
			if e.MMS {
				f = assessMMS(&e, j.deliveryOf(e.Account), fates[i], came[i], j.unread(ctx, i, &e))
			} else {
				f = assess(&e, j.deliveryOf(e.Account), fates[i], j.copiesOf(i))
			}
			findings[i] = f
			if !f.settled || scheduled && f.webhookIsToCome && f.next < schedule {
				still = append(still, i)
			}
		}
	}
	return still, nil
}

func (j *Judge) deliveryOf(account string) message.Delivery {
	if a := j.w.Accounts[account]; a != nil {
		return a.Delivery
	}
	return message.AtMostOnce
}

// copiesOf is what all vendors together have of a message.
func (j *Judge) copiesOf(i int) copies {
	var sum copies
	for _, taken := range j.taken {
		sum = sum.add(taken[i])
	}
	return sum
}

// askVendors brings up to date what the vendors have.
func (j *Judge) askVendors(ctx context.Context) error {
	for name, v := range j.w.Vendors {
		if j.taken[name] == nil {
			j.taken[name] = map[int]copies{}
		}
		now := time.Now()
		if err := readTaken(ctx, v.HTTP, j.since[name], j.taken[name]); err != nil {
			return fmt.Errorf("ask %s: %w", name, err)
		}
		j.since[name] = now.Add(-back)
	}
	return nil
}

// readTaken reads of a simulator what has changed since a moment into taken.
func readTaken(ctx context.Context, base string, since time.Time, taken map[int]copies) error {
	q := url.Values{"limit": {fmt.Sprint(vendorRow)}}
	if !since.IsZero() {
		q.Set("since", since.Format(time.RFC3339Nano))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/destinations?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	var rows []struct {
		Destination                          string
		Count, Parts, Duplicates, Incomplete int
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<30)).Decode(&rows); err != nil {
		return err
	}
	if len(rows) >= vendorRow {
		return fmt.Errorf("it has %d destinations, more than can be read at once", len(rows))
	}
	for _, r := range rows {
		if i, ok := indexOf(r.Destination); ok {
			taken[i] = copies{whole: r.Count, parts: r.Parts, duplicates: r.Duplicates, incomplete: r.Incomplete}
		}
	}
	return nil
}

// door is a way in.
type door struct {
	node string
	smpp bool
}

func (d door) String() string {
	if d.smpp {
		return "SMPP at " + d.node
	}
	return "REST at " + d.node
}

// doors are all ways in.
var doors = []door{{nodeREST, false}, {nodeAll, false}, {nodeSMPP, true}, {nodeAll, true}}

// recover sends a message a second through each door until one was delivered and its
// customer told, and gives how long after the moment the last of the doors was so far,
// and which never were.
func (j *Judge) recover(ctx context.Context, healed time.Time) (time.Duration, []string) {
	load := j.w.Customer.load.Load()
	if load == nil {
		return 0, nil
	}
	var works sync.WaitGroup
	var mu sync.Mutex
	var longest time.Duration
	var shut []string
	// Probes that are under way when their door has shown itself go on to their end.
	var probes sync.WaitGroup
	for _, d := range doors {
		works.Go(func() {
			at, ok := j.probe(ctx, load, d, &probes)
			mu.Lock()
			defer mu.Unlock()
			if !ok {
				shut = append(shut, d.String()+": no message came through any more")
				return
			}
			longest = max(longest, at.Sub(healed))
		})
	}
	works.Wait()
	return longest, shut
}

// probe sends messages through a door until one of them is over, and gives when.
func (j *Judge) probe(ctx context.Context, load *Load, d door, probes *sync.WaitGroup) (time.Time, bool) {
	ctx, cancel := context.WithTimeout(ctx, j.patience)
	defer cancel()
	tick, look := time.NewTicker(time.Second), time.NewTicker(lookAgain/10)
	defer tick.Stop()
	defer look.Stop()
	var sent []int
	send := func() {
		if len(sent) >= mostProbes && !j.answeredAll(sent[len(sent)-mostProbes:]) {
			return
		}
		if i, ok := load.probe(load.ctx, d.node, d.smpp, probes); ok {
			sent = append(sent, i)
		}
	}
	for send(); ; {
		select {
		case <-tick.C:
			send()
		case <-look.C:
			for _, i := range sent {
				e := j.ledger.get(i)
				if told, at := e.told(); told && e.delivered() {
					return at, true
				}
			}
		case <-ctx.Done():
			return time.Time{}, false
		}
	}
}

// answeredAll reports whether the customers of all these messages were told of them.
func (j *Judge) answeredAll(of []int) bool {
	for _, i := range of {
		e := j.ledger.get(i)
		if told, _ := e.told(); !told && e.answer != answerRefused && e.answer != answerUnknown {
			return false
		}
	}
	return true
}

// left judges what is left of messages that are over. Rows count that have been as they are
// for the time settled.
func (j *Judge) left(ctx context.Context, v *Verdict, settled time.Duration) error {
	var stuck []string
	since := map[string]time.Time{} // when each was first found
	err := wait(ctx, j.patience, func() (bool, string, error) {
		list, err := j.stuck(ctx)
		if err != nil {
			return false, "", err
		}
		stuck = list
		if longest := notedFor(since, stuck); longest > stuckFor {
			return true, "", nil
		}
		j.say("%d workflows are stuck, %q; %v", len(stuck), stuck[:min(1, len(stuck))], err)
		return len(stuck) == 0, fmt.Sprint(len(stuck)), err
	})
	if err != nil {
		return err
	}
	v.StuckWorkflows = len(stuck)
	for _, s := range stuck {
		v.detail("%s", s)
	}
	return errors.Join(j.orphans(ctx, v, settled), j.halfStored(ctx, v, false))
}

// notedFor keeps since when each of the list is in it, and gives how long the first of
// them is. What follows a colon changes.
func notedFor(since map[string]time.Time, list []string) time.Duration {
	var longest time.Duration
	now, names := time.Now(), map[string]bool{}
	for _, s := range list {
		name, _, _ := strings.Cut(s, ":")
		names[name] = true
		if since[name].IsZero() {
			since[name] = now
		}
		longest = max(longest, now.Sub(since[name]))
	}
	maps.DeleteFunc(since, func(name string, _ time.Time) bool { return !names[name] })
	return longest
}

// orphans counts the rows that break an invariant and stay so.
func (j *Judge) orphans(ctx context.Context, v *Verdict, settled time.Duration) error {
	var found []postgres.Violation
	rows := 0
	err := wait(ctx, j.patience, func() (bool, string, error) {
		var err error
		found, err = j.w.DB.Violations(ctx, settled)
		rows = 0
		for _, f := range found {
			rows += f.Rows
			j.say("%d rows break %q: %s", f.Rows, f.Invariant, strings.Join(f.Examples, ", "))
		}
		return rows == 0, fmt.Sprint(rows), err
	})
	if err != nil {
		return err
	}
	v.OrphanRows = rows
	for _, f := range found {
		v.detail("%d rows break %q: %s", f.Rows, f.Invariant, strings.Join(f.Examples, ", "))
	}
	return nil
}

// temporal connects to the server once.
func (j *Judge) temporal() (client.Client, error) {
	if j.open == nil {
		var err error
		if j.open, err = client.Dial(client.Options{HostPort: j.w.Temporal.Address(), Namespace: j.w.Temporal.Namespace(),
			Identity: "chaos", Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))}); err != nil {
			return nil, err
		}
	}
	return j.open, nil
}

// stuck lists workflows that run on although their message is over and its customer
// told, and messages that nobody works on.
func (j *Judge) stuck(ctx context.Context) ([]string, error) {
	running, err := j.running(ctx)
	if err != nil {
		return nil, err
	}
	var list []string
	ids := make([]message.ID, 0, len(running))
	for id := range running {
		ids = append(ids, id)
	}
	for chunk := range slices.Chunk(ids, batch) {
		fates, err := j.w.DB.FatesOf(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, f := range fates {
			if !f.Status.Final() || f.Since < aged || f.WebhooksPending > 0 {
				continue
			}
			runs, err := j.runs(ctx, f.ID) // the list may be behind
			if err != nil {
				return nil, err
			}
			if runs {
				list = append(list, fmt.Sprintf("the workflow of %s runs on: it is %s since %s", f.ID, f.Status, f.Since.Round(time.Second)))
			}
		}
	}
	idle, err := j.idle(ctx, running)
	return append(list, idle...), err
}

// idle lists messages that have not ended, of which nobody is to start the workflow and
// none runs.
func (j *Judge) idle(ctx context.Context, running map[message.ID]bool) ([]string, error) {
	open, err := j.w.DB.Unfinished(ctx, aged, maxMessages)
	if err != nil {
		return nil, err
	}
	open = slices.DeleteFunc(open, func(id message.ID) bool { return running[id] })
	var list []string
	for chunk := range slices.Chunk(open, batch) {
		fates, err := j.w.DB.FatesOf(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, f := range fates {
			if f.Status.Final() || f.Waits {
				continue
			}
			runs, err := j.runs(ctx, f.ID)
			if err != nil {
				return nil, err
			}
			if !runs {
				list = append(list, fmt.Sprintf("nobody works on %s: it is %s since %s", f.ID, f.Status, f.Since.Round(time.Second)))
			}
		}
	}
	return list, nil
}

// running lists the messages whose workflow runs, as Temporal's list says.
func (j *Judge) running(ctx context.Context) (map[message.ID]bool, error) {
	c, err := j.temporal()
	if err != nil {
		return nil, err
	}
	list := map[message.ID]bool{}
	req := &workflowservice.ListWorkflowExecutionsRequest{PageSize: batch,
		Query: fmt.Sprintf("WorkflowType = '%s' and ExecutionStatus = 'Running'", workflows.OutboundType)}
	for {
		resp, err := c.ListWorkflow(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list workflows: %w", err)
		}
		for _, e := range resp.GetExecutions() {
			if id, err := message.ParseID(strings.TrimPrefix(e.GetExecution().GetWorkflowId(), "mt-")); err == nil {
				list[id] = true
			}
		}
		if req.NextPageToken = resp.GetNextPageToken(); len(req.NextPageToken) == 0 {
			return list, nil
		}
	}
}

// runs asks for one workflow.
func (j *Judge) runs(ctx context.Context, id message.ID) (bool, error) {
	c, err := j.temporal()
	if err != nil {
		return false, err
	}
	resp, err := c.WorkflowService().DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: j.w.Temporal.Namespace(), Execution: &commonpb.WorkflowExecution{WorkflowId: workflows.OutboundID(id)}})
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return false, nil
	}
	return resp.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, err
}
