package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func example() *report {
	cpu := map[string]float64{partGateway: 2, partTemporal: 4, partPostgres: 3, partSMSC: 0.1, partBench: 0.5}
	return &report{
		Setting: setting{Date: time.Date(2026, 11, 21, 20, 15, 0, 0, time.UTC), Command: "go run ./internal/bench", Commit: "0123456789abcdef", Dirty: true, Go: "go1.26",
			System: "linux/amd64", CPU: "Some CPU", Cores: 2, Memory: 4 << 30, Disk: "ext4", Sync: 0.5, Postgres: "fsync on"},
		Phases: []*result{
			{Name: warmUp, Kind: "open", Offered: 50, Sent: 400, Accepted: 400, Delivered: 400},
			{Name: "idle", Kind: "idle", Use: usage{Seconds: 5, CPU: map[string]float64{partGateway: 0.1}}},
			{Name: "steady 50/s", Kind: "open", Offered: 50, Sent: 1000, Accepted: 1000, Delivered: 1000, CompleteRate: 49.9, Held: true, Drained: true,
				Accept: quantiles{1000, 2.5, 5, 9, 20}, EndToEnd: quantiles{1000, 90, 120, 150, 300}, TemporalWrites: 3.01, Use: usage{Seconds: 20, CPU: cpu, Others: 0.5, Memory: map[string]int64{partGateway: 100 << 20}}},
			{Name: burst, Kind: "closed", Connections: 64, Sent: 20000, Accepted: 19999, Delivered: 19998, Otherwise: map[string]int{"failed": 1}, Errors: map[string]int{"503 unavailable": 1},
				AcceptRate: 2345, AcceptSeconds: 8.5, CompleteRate: 99, DrainSeconds: 190, Drained: true, AcceptUse: usage{CPU: map[string]float64{partGateway: 10}}, Use: usage{CPU: cpu}},
		},
		Skipped: []float64{100, 150},
	}
}

func TestMarkdown(t *testing.T) {
	got := example().markdown()
	for _, want := range []string{
		"2026-11-21 20:15 UTC, commit 0123456789ab with changes, `go run ./internal/bench`, go1.26.\n",
		"2 cores (Some CPU, linux/amd64), 4.0 GB memory; ext4, where keeping 8 kB takes 0.50 ms. Postgres: fsync on.",
		"| 50 | 49.9 | yes | 2.5 | 5.0 | 9.0 | 20.0 | 90 | 120 | 150 | 300 | 0 | 0.0 |\n",
		"Left out above a rate that was not held: 100,150.",
		"| burst | 20000 | 64 | 2345 | 0.0 | 0.0 | 0.0 | 0.0 | 99.0 | 198.5 | 1 |\n",
		"2000 accepted/s in the burst (reached), 100 completed/s (not reached).",
		"| CPU-ms a message | gateway | temporald | postgres | smscsim | bench | all | cores of others | Temporal writes |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
		"| steady 50/s | 2.00 | 4.00 | 3.00 | 0.10 | 0.50 | 9.60 | 0.50 | 3.01 |\n",
		"| burst, acceptance alone | 0.50 |",
		"Idle, of one core: gateway 2.0 %,",
		"| steady 50/s | 100 | 0 |",
		"| burst | 19999 | 19998 | failed 1 | 0 | 0 | 0 | 0 |\n",
		"| burst | 503 unavailable 1 |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, "|") && !strings.HasSuffix(line, "|\n") {
			t.Errorf("broken row %q", line)
		}
	}
}

func TestReportWithoutProc(t *testing.T) {
	r := example()
	for _, x := range r.Phases {
		x.Use, x.AcceptUse = usage{}, usage{}
	}
	if got := r.markdown(); strings.Contains(got, "Cost") || strings.Contains(got, "Memory") {
		t.Errorf("tells what is not known:\n%s", got)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	o := options{JSON: filepath.Join(dir, "r.json"), Markdown: filepath.Join(dir, "r.md")}
	var out bytes.Buffer
	r := example()
	if err := r.write(&out, o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Steady load") || !strings.Contains(out.String(), "198.5") {
		t.Errorf("printed\n%s", out.String())
	}
	body, err := os.ReadFile(o.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Phases) != 4 || back.Phases[2].Accept != r.Phases[2].Accept || back.Setting.Commit != r.Setting.Commit {
		t.Errorf("%+v", back)
	}
	if md, err := os.ReadFile(o.Markdown); err != nil || string(md) != r.markdown() {
		t.Errorf("%v\n%s", err, md)
	}
	if err := r.verdict(); err != nil {
		t.Errorf("verdict %v", err)
	}
	r.Forged = 1
	if r.verdict() == nil {
		t.Error("a forged event is no fault")
	}
	o.JSON = filepath.Join(dir, "nowhere", "r.json")
	if err := r.write(io.Discard, o); err == nil {
		t.Error("a file that cannot be written is no error")
	}
}

func TestOptions(t *testing.T) {
	o, err := readOptions([]string{"--rates", "10, 20.5", "--steady", "2s", "--burst", "7", "--capacity", "0", "--accept", "0s", "--warm-up", "0s"}, io.Discard)
	if err != nil || o.messages() != 20+41+7 {
		t.Errorf("%d messages, %v", o.messages(), err)
	}
	o, err = readOptions([]string{"--rates", "", "--burst", "0", "--capacity", "0", "--accept", "0s", "--warm-up", "0s", "--campaign", "100", "--campaign-calm", "10s", "--campaign-for", "20s", "--probe-rate", "0.5"}, io.Discard)
	if err != nil || o.messages() != 100+2*15 {
		t.Errorf("%d messages, %v", o.messages(), err)
	}
	o, err = readOptions([]string{"--only", "--backlog", "500", "--soak", "10s", "--soak-rate", "3", "--overload", "2s", "--overload-rate", "100", "--warm-up", "0s"}, io.Discard)
	if err != nil || o.messages() != 500+30+200 || o.Idle != 0 || o.Floor != 0 {
		t.Errorf("%d messages, %+v, %v", o.messages(), o, err)
	}
	// Every phase of a run without flags has its messages.
	o, err = readOptions(nil, io.Discard)
	if want := 8*50 + 3*3000 + 2*4*4500 + 30*50 + 30*fastest*240/100 + gatewayRounds*6600; err != nil || o.messages() != want {
		t.Errorf("%d messages, want %d, %v", o.messages(), want, err)
	}
	if o, err := readOptions([]string{"--rates", ""}, io.Discard); err != nil || len(o.Rates) != 0 {
		t.Errorf("%v, %v", o.Rates, err)
	}
	if _, err := readOptions([]string{"--help"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
	for _, args := range [][]string{
		{"--rates", "fast"}, {"--rates", "0"}, {"--rates", "-1"}, {"--rates", "1e9"}, {"--rates", "NaN"}, {"--connections", "0"}, {"--burst-connections", "100000"},
		{"--burst", "-1"}, {"--capacity", "-1"}, {"--burst", "2000000"}, {"--auth", "none"}, {"--steady", "0s"}, {"--warm-up", "-1s"}, {"--warm-up-rate", "0"},
		{"--patience", "0s"}, {"everything"}, {"--campaign", "-1"}, {"--campaign-rate", "0"}, {"--campaign-for", "0s"}, {"--campaign-calm", "-1s"}, {"--campaign-class", "urgent"},
		{"--probe-rate", "0"}, {"--campaign", "1", "--verify"}, {"--overload", "1s", "--verify"}, {"--rounds", "0"}, {"--floor", "-1"}, {"--accept", "-1s"}, {"--accept-rate", "0"}, {"--accept-over", "mail"},
		{"--gateways", "9"}, {"--soak", "-1s"}, {"--soak-rate", "0"}, {"--backlog", "-1"}, {"--overload-cap", "0"}, {"--shares", "0"}, {"--soak", "24h"},
	} {
		if _, err := readOptions(args, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestReportOverSMPP(t *testing.T) {
	r := example()
	if got := r.markdown(); strings.Contains(got, "Over SMPP") {
		t.Errorf("tells of what was not done:\n%s", got)
	}
	x := &result{Name: "SMPP, window 100", Kind: "closed", Connections: 1, Sent: 1000, Accepted: 1000, Delivered: 1000, AcceptRate: 1234, AcceptSeconds: 0.8, DrainSeconds: 7.2, Drained: true,
		Accept: quantiles{1000, 40, 60, 120, 130}, Kept: &kept{Window: 100, Answers: 1000, Distinct: 1000, Found: 1000}}
	r.Phases = append(r.Phases, x)
	got := r.markdown()
	for _, want := range []string{
		"| SMPP, window 100 | 1000 | 100 | 1234 | 40.0 | 60.0 | 120.0 | 130.0 | 1000 | 1000 | 1000 | 8.0 | 0 |\n",
		"Wanted: 500 answered/s (reached), p99 below 100 ms (not reached).",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if err := r.verdict(); err != nil {
		t.Errorf("verdict %v", err)
	}
	for _, k := range []kept{{Answers: 1000, Distinct: 999, Found: 999}, {Answers: 1000, Distinct: 1000, Found: 999}} {
		if x.Kept = &k; r.verdict() == nil {
			t.Errorf("%+v is no fault", k)
		}
	}
}
