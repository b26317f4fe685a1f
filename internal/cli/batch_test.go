package cli

import (
	"bytes"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/client/api"
)

func batchOf(status string, pending int, more string) string {
	return strings.NewReplacer("STATUS", status, "PENDING", string(rune('0'+pending)), "MORE", more).Replace(
		`{"id":"` + id + `","name":"n","status":"STATUS","counts":{"total":4,"pending":PENDING,"accepted":0,"rejected":1,"sent":0,"delivered":0,"undelivered":0,"failed":0,"expired":0,"canceled":0,"unconfirmed":0},"price":null,"created_at":"2026-11-21T20:15:04.310Z"MORE}`)
}

func TestBatchFollows(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	g.on("POST /v1/messages/batch", says(202, batchOf("running", 4, "")))
	g.on("GET /v1/messages/batch/"+id, says(200, batchOf("running", 4, `,"eta":"2026-11-21T20:15:08.310Z"`)), says(200, batchOf("running", 4, "")), says(503, `{"code":"unavailable"}`),
		says(200, batchOf("running", 2, "")), says(200, batchOf("completed", 0, `,"completed_at":"2026-11-21T20:15:08.310Z"`)))
	g.on("GET /v1/messages/batch/"+id+"/messages", says(200, `{"data":[{"row":3,"to":"+1","message_id":null,"status":"rejected","error":{"code":"opted_out","class":"permanent","detail":"stopped"}}],"next_cursor":null}`))
	s.in = "to\n+1\n"
	out, lines, err := s.run("batch", "send", "-", "--body", "Hello", "--throttle", "7", "--metadata", "a=b", "--name", "n")
	if ExitCode(err) != ExitUnwelcome || !strings.Contains(err.Error(), "1 of 4 rows were refused") {
		t.Errorf("%v", err)
	}
	if want := "0 of 4 rows, running, 1 refused, until 21:15:08\n2 of 4 rows, running, 1 refused\n4 of 4 rows, completed, 1 refused\n"; lines != want {
		t.Errorf("%s\nwant %s", lines, want)
	}
	if !strings.Contains(out, "opted_out: stopped") || !strings.Contains(out, "2026-11-21 21:15:08") {
		t.Error(out)
	}
	_, params, err := mime.ParseMediaType(g.asked[0].Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	form, err := multipart.NewReader(strings.NewReader(g.bodies[0]), params["boundary"]).ReadForm(1 << 20)
	if err != nil || form.Value["options"][0] != `{"body":"Hello","metadata":{"a":"b"},"name":"n","throttle_per_second":7}` || len(form.File["file"]) != 1 {
		t.Errorf("%+v, %v", form, err)
	}
}

func TestBatchFiles(t *testing.T) {
	for _, c := range []struct{ format, path, content, want string }{
		{"", "a.csv", "[x", "csv"}, {"", "a.JSON", "x", "json"}, {"", "-", " \n[", "json"}, {"", "-", "\ufeff{", "json"}, {"", "-", "to\n", "csv"}, {"csv", "a.json", "x", "csv"},
		{"", "a.csv", " \n", ""}, {"xml", "a.csv", "x", ""},
	} {
		if got, err := formatOf(c.format, c.path, []byte(c.content)); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
	for _, c := range []struct{ content, want, fault string }{
		{`[{"to":"+1"}]`, `{"body":"x","messages":[{"to":"+1"}]}`, ""},
		{"\ufeff" + `{"messages":[{"to":"+1"}],"body":"y","strange":1}`, `{"body":"x","messages":[{"to":"+1"}],"strange":1}`, ""},
		{"[\n{\"to\":\n]", "", "line 3"},
		{`"text"`, "", "must be a list"},
	} {
		got, err := batchJSON("f", []byte(c.content), map[string]any{"body": "x"})
		if string(got) != c.want || (err == nil) != (c.fault == "") || err != nil && (!strings.Contains(err.Error(), c.fault) || ExitCode(err) != ExitUsage) {
			t.Errorf("%s: %s, %v", c.content, got, err)
		}
	}
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, time.UTC)
	p.width = 60
	for _, pending := range []int{4, 3, 0} {
		b := must[api.Batch](t, batchOf("running", pending, ""))
		p.show(&b)
	}
	p.end()
	p.end()
	want := "\r\x1b[K[..............................] 0 of 4 rows, running, 1 r…" + "\r\x1b[K[#######.......................] 1 of 4 rows, running, 1 r…" +
		"\r\x1b[K[##############################] 4 of 4 rows, running, 1 r…" + "\n"
	if out.String() != want {
		t.Errorf("%q\nwant %q", out.String(), want)
	}
}

func TestBatchCheck(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	check := `{"allowed":ALLOWED,"error":null,"eta":null,"limits":[{"type":"sms","period":"day","number":null,"used":1,"limit":5,"needed":9,"fits":false,"resets_at":"2026-11-22T00:00:00.000Z"}],"price":null,"rows_refused":[],"segments":9}`
	g.on("POST /v1/messages/batch/check", says(200, strings.Replace(check, "ALLOWED", "false", 1)), says(200, strings.Replace(check, "ALLOWED", "true", 1)))
	s.in = `[{"to":"+1"}]`
	out, _, err := s.run("batch", "check", "-")
	if ExitCode(err) != ExitUnwelcome || !strings.Contains(out, "sms a day") {
		t.Errorf("%s %v", out, err)
	}
	if _, _, err := s.run("batch", "check", "-"); err != nil {
		t.Error(err)
	}
}
