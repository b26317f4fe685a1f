package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestReportSaysWhatWasWrong(t *testing.T) {
	r := Report{Seed: 7, LeftOut: []string{"disk full: not root"}, Rows: []Row{
		{Event: "kill -9 all-2", Verdict: Verdict{Accepted: 100, InDoubt: 2, Recover: 1500 * time.Millisecond}},
		{Event: "cut | rest-1", Wrong: []string{"1 lost\n"}, Verdict: Verdict{Accepted: 9, Lost: 1}},
	}}
	for _, want := range []string{
		"| kill -9 all-2 | 100 | 0 | 0 | 2 | 1.5 s | yes |",
		"| cut \\| rest-1 | 9 | 1 | 0 | 0 | - | **no**: 1 lost  |",
		"- disk full: not root",
	} {
		if got := r.markdown(); !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "cut | rest-1: 1 lost") || strings.Contains(err.Error(), "all-2") {
		t.Errorf("the verdict is %v", err)
	}
	if err := (&Report{}).verdict(); err == nil {
		t.Error("a report of nothing is content")
	}
}

func TestVerdictNamesEachFault(t *testing.T) {
	v := Verdict{Accepted: 9, Refused: 1, Unknown: 1, Final: 9, InDoubt: 1}
	if wrong := v.Wrong(); len(wrong) > 0 {
		t.Errorf("what the contract allows is wrong: %q", wrong)
	}
	v = Verdict{Open: 1, Lost: 1, Doubled: 1, ReceiptsMissing: 1, WebhooksMissing: 1, WebhookIDsChanged: 1, StuckWorkflows: 1, LeakedLeases: 1, OrphanRows: 1}
	if wrong := v.Wrong(); len(wrong) != 9 {
		t.Errorf("of nine faults are told: %q", wrong)
	}
}

func TestTableGoesBetweenTheMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "durability.md")
	if err := os.WriteFile(path, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := writeBetweenMarks(path, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + tableBegins + "\nnew\n\n" + tableEnds + "after\n"; string(got) != want {
		t.Errorf("the file is %q, want %q", got, want)
	}
}

func TestTheDocumentHasTheMarks(t *testing.T) {
	body, err := os.ReadFile("../../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), tableBegins) || !strings.Contains(string(body), tableEnds) {
		t.Error("make chaos would replace docs/durability.md: it has no marks for the table")
	}
}

func TestEventsAreChosen(t *testing.T) {
	events := []Event{{Name: "kill -9 all-2", Short: true}, {Name: "disk full", Missing: func() string { return "not root" }}, {Name: "clock step", Missing: func() string { return "" }}}
	for _, c := range []struct {
		o       options
		chosen  int
		leftOut int
	}{
		{options{}, 2, 1}, {options{Short: true}, 1, 0}, {options{Only: regexp.MustCompile("^clock")}, 1, 0},
		{options{Only: regexp.MustCompile("disk")}, 0, 1},
	} {
		chosen, leftOut := choose(events, c.o)
		if len(chosen) != c.chosen || len(leftOut) != c.leftOut {
			t.Errorf("%+v chooses %d and leaves %q out, want %d and %d", c.o, len(chosen), leftOut, c.chosen, c.leftOut)
		}
	}
}

func TestFlags(t *testing.T) {
	var help strings.Builder
	for _, c := range []struct {
		args []string
		want func(options) bool
	}{
		{nil, func(o options) bool { return o.For == 20*time.Minute && o.Seed != 0 }},
		{[]string{"--short"}, func(o options) bool { return o.For == 0 && o.Short }},
		{[]string{"--only", "kill"}, func(o options) bool { return o.For == 0 && o.Only.MatchString("kill -9") }},
		{[]string{"--only", "kill", "--for", "1m", "--seed", "7"}, func(o options) bool { return o.For == time.Minute && o.Seed == 7 }},
	} {
		if o, err := readOptions(c.args, &help); err != nil || !c.want(o) {
			t.Errorf("%q is read as %+v, %v", c.args, o, err)
		}
	}
	for _, args := range [][]string{{"--only", "("}, {"--for", "-1s"}, {"word"}} {
		if _, err := readOptions(args, &help); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
