package optout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// book records batches in memory.
type book struct {
	list    []message.OptOut
	batches []int
	fail    int // the batch that fails, from 1; 0: none
}

func (b *book) ImportOptOuts(_ context.Context, batch []message.OptOut) (int, error) {
	if b.batches = append(b.batches, len(batch)); len(b.batches) == b.fail {
		return 0, errors.New("away")
	}
	fresh := 0
	for _, o := range batch {
		if !slices.ContainsFunc(b.list, func(is message.OptOut) bool {
			return is.Recipient == o.Recipient && is.Scope == o.Scope && is.Sender == o.Sender && is.CampaignID == o.CampaignID
		}) {
			b.list = append(b.list, o)
			fresh++
		}
	}
	return fresh, nil
}

// OptOuts lists newest first, which is the order of the ids.
func (b *book) OptOuts(_ context.Context, _ message.ID, _ message.OptOutFilter, before message.ID, limit int) ([]message.OptOut, error) {
	var out []message.OptOut
	for _, o := range slices.Backward(b.list) {
		if (before == message.ID{} || o.ID.String() < before.String()) && len(out) < limit {
			out = append(out, o)
		}
	}
	return out, nil
}

var imported = Import{Account: accounts[0], Actor: "tester", Now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Check: func(o message.OptOut) error {
	if o.CampaignID == "CSTRANGE" {
		return errors.New("no campaign of yours")
	}
	return nil
}}

func TestImportRows(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine+10)
	file := strings.Join([]string{
		"\ufeffPhone,sender,campaign_id,scope,keyword,reason,created_at", // 1
		"+1 (310) 555-0117,+12025550143,,,STOP,,2020-02-03T04:05:06Z",    // 2
		"+13105550118,,C8X2KQ1", // 3
		"",                      // 4
		"+13105550119",          // 5
		`+13105550119,12345,,number,,"said, ""no"""`, // 6
		"+13105550117,+12025550143",                  // 7: twice
		"3105550117",                                 // 8: no country
		"+13105550120,+12025550143,,campaign",        // 9
		"+13105550120,,,number",                      // 10
		"+13105550120,,,everything",                  // 11
		"+13105550120,,CSTRANGE",                     // 12
		"+13105550120,,,,,,2027-01-01T00:00:00Z",     // 13: to come
		"+13105550120,,,,,,yesterday",                // 14
		"+13105550120," + long,                       // 15
		`+13105550120,"12345`,                        // 16: no end
		"+13105550120,,,,,,,more",                    // 17
		"+13105550120,\xff",                          // 18
		"+13105550120,,,," + strings.Repeat("K", 33), // 19
		"+13105550121,ACME",                          // 20, and the file ends here without a line feed
	}, "\r\n")
	b := &book{}
	r, err := imported.Read(t.Context(), strings.NewReader(file), b)
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows != 18 || r.Created != 5 || r.Already != 1 || r.Invalid != 12 || len(r.Bad) != 12 {
		t.Errorf("%+v", r)
	}
	want := map[int]string{8: "recipient", 9: "sender: must be left out", 10: "sender: is required", 11: "scope", 12: "no campaign of yours", 13: "has passed", 14: "has passed",
		15: "octets", 16: "quotes", 17: "fields", 18: "UTF-8", 19: "keyword"}
	for _, bad := range r.Bad {
		if want[bad.Line] == "" || !strings.Contains(bad.Error, want[bad.Line]) || strings.HasPrefix(bad.Error, "invalid_request") {
			t.Errorf("line %d: %q, want %q", bad.Line, bad.Error, want[bad.Line])
		}
		delete(want, bad.Line)
	}
	if len(want) > 0 {
		t.Errorf("not told: %v", want)
	}
	first := b.list[0]
	if first.Recipient != "+13105550117" || first.Sender != "+12025550143" || first.Scope != message.OptOutNumber || first.Keyword != "STOP" || first.Source != message.OptOutByImport ||
		first.Actor != "tester" || first.AccountID != accounts[0] || !first.At.Equal(time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)) || first.ID == (message.ID{}) {
		t.Errorf("%+v", first)
	}
	if o := b.list[1]; o.Scope != message.OptOutCampaign || o.CampaignID != "C8X2KQ1" || !o.At.IsZero() {
		t.Errorf("%+v", o)
	}
	if o := b.list[2]; o.Scope != message.OptOutAccount {
		t.Errorf("%+v", o)
	}
	if o := b.list[3]; o.Reason != `said, "no"` || o.Sender != "12345" {
		t.Errorf("%+v", o)
	}
}

func TestImportFiles(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"":                         "empty",
		"\n\n":                     "empty",
		"sender\n12345":            "no column recipient",
		"recipient,to\n":           "twice",
		"recipient,price\n":        "column 2",
		`recipient,"x` + "\n":      "line 1",
		strings.Repeat("a,", 5000): "line 1",
	} {
		r, err := imported.Read(t.Context(), strings.NewReader(file), &book{})
		if message.ReasonOf(err) != message.ReasonInvalidRequest || !strings.Contains(err.Error(), want) || r.Created != 0 {
			t.Errorf("%.20q: %+v, %v", file, r, err)
		}
	}
}

// A file of many rows is recorded batch by batch; what was recorded before something
// went wrong stays, and the file may be given again.
func TestImportBatches(t *testing.T) {
	t.Parallel()
	const rows = 2*batchRows + 7
	var file strings.Builder
	file.WriteString("recipient\n")
	for i := range rows {
		fmt.Fprintf(&file, "+1310555%04d\n", i)
		if i%3 == 0 {
			file.WriteString("nobody\n")
		}
	}
	b := &book{fail: 2}
	r, err := imported.Read(t.Context(), strings.NewReader(file.String()), b)
	if err == nil || r.Created != batchRows || len(b.list) != batchRows {
		t.Errorf("%d, %v", r.Created, err)
	}
	b.fail, b.batches = 0, nil
	r, err = imported.Read(t.Context(), strings.NewReader(file.String()), b)
	if err != nil || r.Created != rows-batchRows || r.Already != batchRows || !slices.Equal(b.batches, []int{batchRows, batchRows, 7}) || r.Invalid != rows/3+1 || len(r.Bad) != maxBad {
		t.Errorf("%d, %d, %d, %v, %v", r.Created, r.Already, r.Invalid, b.batches, err)
	}
}

// What is exported can be imported, without what has ended.
func TestExportThenImport(t *testing.T) {
	t.Parallel()
	b := &book{}
	for i := range exportPage + 5 {
		o := message.OptOut{ID: message.NewID(), AccountID: accounts[0], Recipient: message.Address(fmt.Sprintf("+1310555%04d", i)), Scope: message.OptOutNumber, Sender: "12345",
			Keyword: "STOP", Source: message.OptOutByKeyword, Reason: "a \"quoted\", one\nof two lines", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		if i%100 == 0 {
			o.Ended = message.OptOutEnd{At: o.At.Add(time.Hour), Reason: "came back"}
		}
		b.list = append(b.list, o)
	}
	var out strings.Builder
	pages := 0
	if err := Export(t.Context(), b, accounts[0], message.OptOutFilter{}, &out, func() { pages++ }); err != nil || pages != 2 {
		t.Fatal(pages, err)
	}
	again := &book{}
	r, err := imported.Read(t.Context(), strings.NewReader(out.String()), again)
	if err != nil || r.Rows != exportPage+5 || r.Invalid != 11 || r.Created != exportPage+5-11 {
		t.Fatalf("%+v, %v", r, err)
	}
	newest := again.list[0]
	if newest.Recipient != "+13105551004" || newest.Sender != "12345" || newest.Reason != `a "quoted", one of two lines` || !newest.At.Equal(b.list[1].At) || newest.Source != message.OptOutByImport {
		t.Errorf("%+v", newest)
	}
	if !strings.HasPrefix(r.Bad[0].Error, "it has ended_at") {
		t.Errorf("%+v", r.Bad[0])
	}
}

func FuzzImport(f *testing.F) {
	f.Add("recipient,sender\n+13105550117,12345\n")
	f.Add("to\n\"+13105550117\"\n")
	f.Fuzz(func(t *testing.T, file string) {
		b := &book{}
		r, _ := imported.Read(t.Context(), strings.NewReader(file), b)
		if r.Rows != r.Created+r.Already+r.Invalid || r.Created != len(b.list) {
			t.Errorf("%+v of %q", r, file)
		}
	})
}

func TestFreeTextIsNoFormula(t *testing.T) {
	for s, want := range map[string]string{"": "", "lost": "lost", "=HYPERLINK(1)": "'=HYPERLINK(1)", "+1": "'+1", "-1": "'-1", "@x": "'@x", "a\nb": "a b", "é=": "é="} {
		if got := oneLine(s); got != want {
			t.Errorf("%q became %q", s, got)
		}
	}
}
