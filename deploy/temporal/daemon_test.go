package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdktemporal "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const queue = "messages"

var accountKey = sdktemporal.NewSearchAttributeKeyKeyword("Account")

func greet(_ context.Context, name string) (string, error) { return "hello " + name, nil }

// greeting is the cheapest workflow there is: one local activity in its first task, then the end.
func greeting(ctx workflow.Context, name string) (string, error) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 5 * time.Second})
	var text string
	err := workflow.ExecuteLocalActivity(ctx, greet, name).Get(ctx, &text)
	return text, err
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), startDeadline)
	t.Cleanup(cancel)
	return ctx
}

// connectWorker dials temporald and starts a worker on the same client, as eager starts require.
func connectWorker(t *testing.T, address, namespace string) client.Client {
	t.Helper()
	c, err := client.DialContext(testContext(t), client.Options{HostPort: address, Namespace: namespace, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflow(greeting)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Stop(); c.Close() })
	return c
}

// quiet drops the SDK's log, which reports each refused poll while a test has Postgres down.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

func greetOnce(ctx context.Context, c client.Client, id string) error {
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: queue, EnableEagerStart: true,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: sdktemporal.NewSearchAttributes(accountKey.ValueSet(id)),
	}, greeting, id)
	if err != nil {
		return err
	}
	var text string
	if err := run.Get(ctx, &text); err != nil {
		return err
	}
	if text != "hello "+id {
		return fmt.Errorf("%s answered %q", id, text)
	}
	return nil
}

// TestLifeOnPostgres takes one installation through its life: first start, work, a Postgres that
// goes away and returns, stop, a start with other settings, and a start with a wrong one.
func TestLifeOnPostgres(t *testing.T) {
	pg := newTestPostgres(t)
	uiPort := freePort(t)
	began := time.Now()
	d := start(t, pg.env(), append(pg.flags(), "--ui-port", uiPort, "--ui-path", "/console/temporal", "--ui-read-only", "--codec-endpoint", "/console/codec")...)
	t.Logf("first start, with Postgres starting up beside it: %s", time.Since(began).Round(time.Millisecond))

	want := fmt.Sprintf("temporald ready: grpc %s ui http://127.0.0.1:%s/console/temporal namespace postrider\n", d.Address, uiPort)
	if d.readyLine != want {
		t.Errorf("ready line %q, want %q", d.readyLine, want)
	}
	if d.PID != d.cmd.Process.Pid || d.Namespace != "postrider" {
		t.Errorf("ready file: %+v", d.readiness)
	}
	c := connectWorker(t, d.Address, "postrider")
	t.Run("endpoints", func(t *testing.T) { testEndpoints(t, d) })
	t.Run("namespace", func(t *testing.T) {
		testNamespace(t, c, defaultRetention, "Account", "Vendor", "Campaign", "Outcome")
	})
	t.Run("writes", func(t *testing.T) { testWrites(t, d, c) })
	t.Run("visibility", func(t *testing.T) { testVisibility(t, pg, c) })
	t.Run("postgres away", func(t *testing.T) { testPostgresAway(t, pg, d, c) })

	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM:\n%s", code, d.stderr)
	}
	if fileExists(d.readyFile) {
		t.Error("the ready file outlived the process")
	}

	t.Run("restart", func(t *testing.T) { testRestart(t, pg) })
	t.Run("wrong password", func(t *testing.T) { // an error at once, unlike a Postgres that is not up yet
		p, _ := launch(t, []string{"TEMPORALD_PG_PASSWORD=wr0ng"}, append(pg.flags(), "--port", "0", "--ui-port", "0")...)
		if code := p.exitCode(t); code != 1 || !strings.Contains(p.stderr.String(), "password authentication failed") ||
			strings.Contains(p.stderr.String(), "wr0ng") {
			t.Errorf("exit code %d, stderr %s", code, p.stderr)
		}
	})
	t.Run("wrong shards", func(t *testing.T) {
		p, _ := launch(t, pg.env(), append(pg.flags(), "--port", "0", "--ui-port", "0", "--shards", "8")...)
		if code := p.exitCode(t); code != 1 || !strings.Contains(p.stderr.String(), "--shards 64") {
			t.Errorf("exit code %d, stderr %s", code, p.stderr)
		}
	})
}

func testEndpoints(t *testing.T, d *process) {
	if _, status := get(t, d.Stats+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	if page, status := get(t, d.UI+"/"); status != http.StatusOK || !strings.Contains(string(page), "<html") || !strings.Contains(string(page), `"/console/temporal/_app/`) {
		t.Errorf("ui: %d %.100s", status, page)
	}
	if counters, status := get(t, d.Stats+"/counters"); status != http.StatusOK || !strings.Contains(string(counters), `"service_requests"`) {
		t.Errorf("counters: %d %.100s", status, counters)
	}
	settings, _ := get(t, d.UI+"/api/v1/settings")
	for _, part := range []string{`"/console/codec"`, `"DefaultNamespace":"postrider"`, `"DisableWriteActions":true`} {
		if !strings.Contains(string(settings), part) {
			t.Errorf("ui settings lack %s: %s", part, settings)
		}
	}
	// Through the UI to the frontend and back.
	if body, status := get(t, d.UI+"/api/v1/namespaces/postrider"); status != http.StatusOK {
		t.Errorf("ui api: %d %s", status, body)
	}
}

func testNamespace(t *testing.T, c client.Client, retention time.Duration, attributes ...string) {
	ctx := testContext(t)
	described, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "postrider"})
	if err != nil {
		t.Fatal(err)
	}
	if got := described.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); got != retention {
		t.Errorf("retention %s, want %s", got, retention)
	}
	listed, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: "postrider"})
	if err != nil {
		t.Fatal(err)
	}
	if got := listed.GetCustomAttributes(); len(got) != len(attributes) {
		t.Errorf("search attributes: %v", got)
	}
	for _, name := range attributes {
		if got := listed.GetCustomAttributes()[name]; got != enumspb.INDEXED_VALUE_TYPE_KEYWORD {
			t.Errorf("%s has type %s", name, got)
		}
	}
}

// testWrites holds the counting to its formula: an eager start with a
// local activity that closes in its first task costs one create and one update.
func testWrites(t *testing.T, d *process, c client.Client) {
	const workflows = 10
	before := d.readStats(t)
	for i := range workflows {
		if err := greetOnce(testContext(t), c, fmt.Sprintf("writes-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	after := d.readStats(t)
	counts := map[string][2]int64{
		"execution writes":  {2 * workflows, after.ExecutionWrites - before.ExecutionWrites},
		"state transitions": {2 * workflows, after.StateTransitions - before.StateTransitions},
		"eager starts":      {workflows, after.WorkflowEagerExecution - before.WorkflowEagerExecution},
		"eager denied":      {0, after.WorkflowEagerExecutionDenied - before.WorkflowEagerExecutionDenied},
		"start calls": {workflows, after.ServiceRequests["frontend/StartWorkflowExecution"] -
			before.ServiceRequests["frontend/StartWorkflowExecution"]},
	}
	for _, operation := range []string{"CreateWorkflowExecution", "UpdateWorkflowExecution"} {
		counts[operation] = [2]int64{workflows, after.NamespacePersistenceRequests[operation] - before.NamespacePersistenceRequests[operation]}
	}
	for what, count := range counts {
		if count[0] != count[1] {
			t.Errorf("%s: %d, want %d", what, count[1], count[0])
		}
	}
}

func testVisibility(t *testing.T, pg *testPostgres, c client.Client) {
	ctx := testContext(t)
	list := &workflowservice.ListWorkflowExecutionsRequest{Query: `Account = "writes-3" and ExecutionStatus = "Completed"`}
	err := poll(ctx, 20*time.Millisecond, func() error {
		found, err := c.ListWorkflow(ctx, list)
		if err == nil && len(found.GetExecutions()) != 1 {
			err = errors.New("not there yet")
		}
		return err
	})
	if err != nil {
		t.Errorf("search by Account: %v", err)
	}
	// The primary key, the six kept ones and the columns of the four attributes.
	const indexes = "select count(*) from pg_indexes where tablename = 'executions_visibility'"
	if got := scan[int](t, pg, pg.VisibilityDatabase, indexes); got != 11 {
		t.Errorf("%d visibility indexes", got)
	}
	used := map[string]bool{"keyword01": true, "keyword02": true, "keyword03": true, "keyword04": true}
	if dropped, created, err := trimIndexes(ctx, pg.postgresOptions, used); err != nil || dropped+created != 0 {
		t.Errorf("second trim: dropped %d, created %d, %v", dropped, created, err)
	}
	for database, want := range map[string]string{pg.Database: "on", pg.VisibilityDatabase: "off"} {
		if got := scan[string](t, pg, database, "show synchronous_commit"); got != want {
			t.Errorf("synchronous_commit of %s is %s", database, got)
		}
	}
}

// testPostgresAway stops Postgres under the running server. Nothing can be promised meanwhile; once
// Postgres is back, work goes on without a restart.
func testPostgresAway(t *testing.T, pg *testPostgres, d *process, c client.Client) {
	pg.stop()
	short, cancel := context.WithTimeout(testContext(t), 2*time.Second)
	defer cancel()
	if err := greetOnce(short, c, "away"); err == nil {
		t.Error("a workflow ran without Postgres")
	}
	pg.start()
	back := time.Now()
	ctx := testContext(t)
	attempt := 0
	err := poll(ctx, 100*time.Millisecond, func() error {
		select {
		case <-d.exited:
			t.Fatalf("temporald ended with its Postgres: %s", d.cmd.ProcessState)
		default:
		}
		attempt++
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return greetOnce(try, c, fmt.Sprintf("back-%d", attempt))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("working %s after Postgres was started again", time.Since(back).Round(time.Millisecond))
}

// testRestart starts on the same data, over the Unix socket, with one attribute more and another
// retention.
func testRestart(t *testing.T, pg *testPostgres) {
	began := time.Now()
	d := start(t, pg.env(), append(pg.flags(), "--pg-host", pg.sockets(), "--ui-port", "0", "--retention", "24h", "--search-attribute",
		"Account=Keyword,Vendor=Keyword,Campaign=Keyword,Outcome=Keyword", "--search-attribute", "Region=Keyword")...)
	t.Logf("second start, with a changed namespace: %s", time.Since(began).Round(time.Millisecond))
	if d.UI != "" || !strings.Contains(d.readyLine, " ui off ") {
		t.Errorf("ready line %q", d.readyLine)
	}
	c := connectWorker(t, d.Address, "postrider")
	testNamespace(t, c, 24*time.Hour, "Account", "Vendor", "Campaign", "Outcome", "Region")
	var text string
	if err := c.GetWorkflow(testContext(t), "writes-0", "").Get(testContext(t), &text); err != nil || text != "hello writes-0" {
		t.Errorf("workflow of the first life: %q, %v", text, err)
	}
	if err := greetOnce(testContext(t), c, "second-life"); err != nil {
		t.Error(err)
	}
	const index = "select count(*) from pg_indexes where indexname = 'by_keyword_05'"
	if got := scan[int](t, pg, pg.VisibilityDatabase, index); got != 1 {
		t.Error("no index for the fifth attribute")
	}
	if code := d.stop(t, syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}

	began = time.Now()
	d = start(t, pg.env(), append(pg.flags(), "--pg-host", pg.sockets(), "--ui-port", "0", "--retention", "24h", "--search-attribute", "Account=Keyword")...)
	t.Logf("third start, with nothing to change: %s", time.Since(began).Round(time.Millisecond))
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// TestStartDevServer lets the SDK's own test suite drive temporald with the official CLI's arguments.
func TestStartDevServer(t *testing.T) {
	t.Setenv(runMainEnv, "1") // the SDK starts the process with this environment
	output := &lockedBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("temporald's output:\n%s", output)
		}
	})
	server, err := testsuite.StartDevServer(testContext(t), testsuite.DevServerOptions{
		ExistingPath:     testBinary(t),
		ClientOptions:    &client.Options{Namespace: "dev", Logger: quiet{}},
		LogLevel:         "error",
		Stdout:           output,
		Stderr:           output,
		SearchAttributes: sdktemporal.NewSearchAttributes(accountKey.ValueSet("x")),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := connectWorker(t, server.FrontendHostPort(), "dev")
	if err := greetOnce(testContext(t), c, "dev-1"); err != nil {
		t.Error(err)
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
}
