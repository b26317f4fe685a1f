package story

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/message"
)

func told(t *testing.T, line string) page.Event {
	t.Helper()
	var l Line
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		t.Fatal(err)
	}
	return Of([]Line{l}).Items[0]
}

// Every type of line that package message has is told in words of its own.
func TestEveryTypeHasItsWords(t *testing.T) {
	for _, s := range message.Statuses() {
		if _, ok := table[message.StatusEvent(s)]; !ok {
			t.Errorf("the status %s is not told", s)
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../../internal/message/message.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Names) == 0 || !strings.HasPrefix(v.Names[0].Name, "Event") || len(v.Values) == 0 {
			return true
		}
		lit, ok := v.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		word, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if _, ok := table[message.EventType(word)]; !ok {
			t.Errorf("%s is not told", word)
		}
		return true
	})
	if seen < 10 {
		t.Errorf("%d types were found: the test is blind", seen)
	}
}

func TestWhatIsTold(t *testing.T) {
	for line, want := range map[string]page.Event{
		`{"type":"accepted","detail":{"edge":"rest"}}`: {Title: "Accepted", Tone: page.Busy, Text: "It was written down and answered over the REST API."},
		`{"type":"admitted","detail":{"trail":[{"rule":"sender_owned","result":"pass"},{"rule":"campaign","result":"refuse","detail":"C8X2KQ1 is suspended"}]}}`: {Title: "Checked", Text: "Every rule that applies was looked at.",
			Lines: []string{"The sender belongs to the account: passed", "10DLC campaign: refused (C8X2KQ1 is suspended)"}},
		`{"type":"queued","detail":{"candidates":2,"vendor":"north"}}`:                                            {Title: "Queued", Tone: page.Busy, Text: "It goes to north. 2 vendors could take it."},
		`{"type":"queued","detail":{"hold":{"rule":"quiet_hours","detail":"until 08:00"}}}`:                       {Title: "Queued", Tone: page.Busy, Text: "It waits: Quiet hours – until 08:00."},
		`{"type":"sending","detail":{"part":2,"attempt":3,"vendor":"north"}}`:                                     {Title: "Submitting", Tone: page.Busy, Text: "Part 2 for the third time goes to north."},
		`{"type":"submit_refused","detail":{"part":1,"attempt":1,"code":"vendor_rejected","vendor_code":"0x45"}}`: {Title: "Refused by the vendor", Tone: page.Warn, Text: "Part 1. Because: vendor_rejected (the vendor said 0x45)."},
		`{"type":"failed","detail":{"error":{"code":"no_route","class":"retry","detail":"no vendor takes it"}}}`:  {Title: "Failed", Tone: page.Bad, Text: "No vendor takes it. (no_route)"},
		`{"type":"webhook_attempt","detail":{"attempt":2,"http_status":500,"ms":84}}`:                             {Title: "Webhook", Text: "The customer's endpoint was told for the second time and answered with 500 after 84 ms."},
		`{"type":"webhook_attempt","detail":{"attempt":1}}`:                                                       {Title: "Webhook", Text: "The customer's endpoint was told for the first time and gave no answer."},
		`{"type":"something_new","detail":{"n":1,"why":{"a":true}}}`:                                              {Title: "something new", Lines: []string{"n: 1", `why: {"a":true}`}},
	} {
		got := told(t, line)
		if got.Title != want.Title || got.Tone != want.Tone || got.Text != want.Text || strings.Join(got.Lines, "|") != strings.Join(want.Lines, "|") {
			t.Errorf("%s\n got %+v\nwant %+v", line, got, want)
		}
	}
}
