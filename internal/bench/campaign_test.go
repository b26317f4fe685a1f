package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// second is a time of a run.
func second(s float64) int64 { return int64(s * float64(time.Second)) }

// The stage of the other account's message is that in which it was due, whenever it
// arrives, and who never arrives is told apart from who was refused.
func TestDelaysByStage(t *testing.T) {
	r := newRecords(8, "test")
	p := probes{message.ClassOTP, span{records: r, first: 2, last: 8}}
	arrived := map[int]arrival{0: {second(99), 1}}
	for i, m := range []struct{ due, arrived float64 }{{0.5, 0.6}, {1.5, 4.5}, {2.5, 0}, {3.5, 4}, {4.5, 0}, {0, 0}} {
		list := &r.list[2+i]
		list.due.Store(second(m.due))
		if i != 4 {
			list.answered.Store(second(m.due) + 1)
		}
		if m.arrived > 0 {
			arrived[2+i] = arrival{second(m.arrived), 1}
		}
	}
	for stage, want := range map[string]delay{
		stageCalm:    {Took: quantiles{1, 100, 100, 100, 100}},
		stageAccept:  {Took: quantiles{1, 3000, 3000, 3000, 3000}, Missing: 1},
		stageWaiting: {Took: quantiles{1, 500, 500, 500, 500}, Refused: 1},
	} {
		want.Stage, want.Class = stage, message.ClassOTP
		if got := delayIn(stage, p, arrived, 1, second(1), second(3), second(5)); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// A campaign whose vendor takes two parts a second, another account's message among
// them, and stops for a while.
func TestTellOfACampaign(t *testing.T) {
	r := newRecords(101, "test")
	flood := span{records: r, first: 0, last: 100}
	for i := range 100 {
		r.list[i].answered.Store(second(5) + int64(i))
	}
	arrived := map[int]arrival{100: {second(16.25), 1}, 99: {second(200), 1}}
	for i := range 60 {
		arrived[i] = arrival{second(1 + float64(i)/2), 1 + i/59}
	}
	x := campaign{Sent: 100}
	x.tell(flood, arrived, second(1), second(5), second(41))
	want := campaign{Sent: 100, Seconds: 40, Accepted: 100, AcceptRate: 25, Arrived: 60, Waiting: 40, Doubled: 1, Rate: 40.0 / 30, Least: 0, Most: 3}
	if fmt.Sprintf("%+v", x) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v\nwant %+v", x, want)
	}
	if x.fault() == nil {
		t.Error("a repeated submit is no fault")
	}
	if x.Doubled = 0; x.fault() != nil {
		t.Errorf("%v", x.fault())
	}
	if x.Delays = []delay{{Missing: 1}}; x.fault() == nil {
		t.Error("a lost message of the other account is no fault")
	}
}

func TestExtremes(t *testing.T) {
	at := []int64{0, 1, 2, 50, 100, 101, 102, 103}
	if least, most := extremes(at, 10, 0, 110); least != 0 || most != 4 {
		t.Errorf("%d to %d", least, most)
	}
	if least, most := extremes(at, 60, 0, 104); least != 1 || most != 4 {
		t.Errorf("%d to %d", least, most)
	}
	if least, most := extremes(at, 1000, 0, 110); least != 8 || most != 8 {
		t.Errorf("%d to %d in less than a window", least, most)
	}
	if least, most := extremes(nil, 10, 0, 110); least != 0 || most != 0 {
		t.Errorf("%d to %d of none", least, most)
	}
}

func TestCampaignRuns(t *testing.T) {
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	o := options{Campaign: 40, CampaignClass: "bulk", CampaignRate: 7, CampaignFor: 100 * time.Millisecond, ProbeRate: 100}
	r := s.bench(o.messages()+1, 2)
	sim, err := openSimulator(t.Context(), s.server.URL+"/stats")
	if err != nil {
		t.Fatal(err)
	}
	of := func(class message.Class) *load {
		a := *r.load.api
		a.class = string(class)
		l := newLoad(&a, r.load.numbers, r.records, 3)
		t.Cleanup(l.close)
		return l
	}
	c := campaigner{runner: r, o: &o, sim: sim, bulk: of(message.ClassBulk), others: map[message.Class]*load{}}
	for _, class := range probeClasses {
		c.others[class] = of(class)
	}
	x, err := c.run(t.Context())
	if err != nil || x.fault() != nil {
		t.Fatal(err, x.fault())
	}
	if x.Sent != 40 || x.Accepted != s.classes["bulk"] || x.Class != "bulk" || x.Throughput != 7 || len(x.Errors) != 0 || len(x.Delays) != 6 {
		t.Errorf("%+v", x)
	}
	got := map[message.Class]int{}
	for _, d := range x.Delays {
		got[d.Class] += d.Took.Count
		if d.Took.Count > 0 && (d.Took.P50 <= 0 || d.Took.Max < d.Took.P50) {
			t.Errorf("%+v", d)
		}
	}
	for _, class := range probeClasses {
		if n := s.classes[string(class)]; n == 0 || n > 10 || got[class] > n {
			t.Errorf("%d of %s were sent, and %d are told of", n, class, got[class])
		}
	}
}

func TestReportOfACampaign(t *testing.T) {
	r := example()
	if strings.Contains(r.markdown(), "campaign") {
		t.Error("tells of what was not done")
	}
	r.Campaign = &campaign{Class: "bulk", Throughput: 100, Seconds: 120.4, Sent: 50000, Accepted: 49999, AcceptRate: 4321.4, Arrived: 11000, Waiting: 38999, Rate: 98.76, Least: 950, Most: 103,
		Delays: []delay{{stageCalm, "otp", quantiles{10, 15, 30, 31, 31}, 0, 0}, {stageWaiting, "otp", quantiles{107, 80, 300, 900, 1999}, 1, 0}, {stageWaiting, "conversation", quantiles{108, 90, 400, 950, 2100}, 0, 2}},
		Use:    usage{Others: 0.5, Memory: map[string]int64{partGateway: 512 << 20, partTemporal: 1024 << 20}}}
	got := r.markdown()
	for _, want := range []string{
		"**A campaign in the way**",
		"| otp | before it | 10 | 15 | 30 | 31 | 31 | 0 | 0 |\n",
		"| otp | while it waits | 108 | 80 | 300 | 900 | 1999 | 1 | 0 |\n",
		"| conversation | while it waits | 110 | 90 | 400 | 950 | 2100 | 0 | 2 |\n",
		"campaign of 50000 messages (class bulk): 49999 accepted at 4321/s, and the vendor takes 100 parts a second. After 120 s 11000 had arrived, 98.8 a second after the first 10 s, and 38999 waited.",
		"at most 103 arrived within a second and at least 950 within ten. Most memory while it waited: gateway 512 MB, temporald 1024 MB,",
		"Wanted: below 2000 ms for one-time passwords (reached).",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	r.Campaign.Delays[1].Took.Max = 2000
	if !strings.Contains(r.markdown(), "for one-time passwords (not reached)") {
		t.Error("2 s are below 2 s")
	}
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "2 messages of the other account") {
		t.Errorf("verdict %v", err)
	}
}

// fakeAdmin is where the test's own program notes how it was called as the gateway.
const fakeAdmin = "BENCH_TEST_ADMIN"

func TestMain(m *testing.M) {
	if file := os.Getenv(fakeAdmin); file != "" {
		pretend(file, os.Args[1:])
		return
	}
	stacktest.Main(m)
}

// pretend is `postrider admin` as the operator sees it.
func pretend(file string, args []string) {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, strings.Join(args, " "))
	switch args[1] {
	case "account":
		fmt.Println(`{"id": "A1"}`)
	case "campaign":
		fmt.Println(`{"id": "C1"}`)
	case "credential":
		fmt.Println(`{"id": "K1", "key": "pr_key", "secret": "sesame"}`)
	case "vendor":
		fmt.Fprintln(os.Stderr, "no such vendor")
		os.Exit(1)
	}
}

// The operator is the gateway's own program, with its environment.
func TestOperator(t *testing.T) {
	dir := procDir(t, 0, [5]any{10, 1, "postrider", 0, 0}, [5]any{11, 10, "postrider", 0, 0})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(t.TempDir(), "calls")
	if err := os.Symlink(self, filepath.Join(dir, "11", "exe")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "11", "environ"), []byte(fakeAdmin+"="+calls+"\x00HOME=/\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	op, err := openOperator(meter{proc: dir, root: 10})
	if err != nil {
		t.Fatal(err)
	}
	s, err := op.addSender(t.Context(), "+12025550144", 20_000)
	if err != nil || s != (sender{"pr_key", "sesame", "+12025550144"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := op.throttle(t.Context(), 100); err == nil || !strings.Contains(err.Error(), "no such vendor") {
		t.Errorf("%v", err)
	}
	f, err := os.Open(calls)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	for scan := bufio.NewScanner(f); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	for _, want := range []string{"admin number add +12025550144 --account A1 --campaign C1", "admin vendor throughput smscsim 100"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q in %q", want, lines)
		}
	}
	if len(lines) != 6 {
		t.Errorf("%q", lines)
	}
	for _, m := range []meter{{proc: dir}, {proc: dir, root: 11}} {
		if _, err := openOperator(m); err == nil {
			t.Errorf("%+v has a gateway", m)
		}
	}
}
