package rest

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// fakeBatches keeps batches in memory.
type fakeBatches struct {
	mu      sync.Mutex
	ingress *fakeIngress // has the answers of keys
	list    []*message.BatchProgress
	rows    map[message.ID][]message.BatchContent
	state   map[message.ID][]message.BatchRow
	check   ingress.BatchCheck
	rate    int
}

func (f *fakeBatches) keep(k message.Idempotency) (*message.Idempotency, error) {
	if first, err := f.ingress.first(k); first != nil || err != nil {
		return first, err
	}
	f.ingress.mu.Lock()
	defer f.ingress.mu.Unlock()
	f.ingress.answers[k.AccountID.String()+k.Operation+k.Key] = k
	return nil, nil
}

func (f *fakeBatches) CreateBatch(_ context.Context, b *message.Batch, rows []message.BatchContent, key *message.Idempotency) (*message.Idempotency, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key != nil {
		if first, err := f.keep(*key); first != nil || err != nil {
			return first, err
		}
	}
	f.list = append(f.list, &message.BatchProgress{Batch: *b, Statuses: map[message.Status]int{}, Running: 1})
	f.rows[b.ID] = rows
	return nil, nil
}

func (f *fakeBatches) find(account, id message.ID) (*message.BatchProgress, error) {
	for _, p := range f.list {
		if p.ID == id && p.AccountID == account {
			return p, nil
		}
	}
	return nil, message.Refuse(message.ReasonNotFound, "no batch %s", id)
}

func (f *fakeBatches) Batch(_ context.Context, account, id message.ID) (message.BatchProgress, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.find(account, id)
	if err != nil {
		return message.BatchProgress{}, err
	}
	return *p, nil
}

func (f *fakeBatches) Batches(_ context.Context, account, before message.ID, limit int) (out []message.BatchProgress, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range slices.Backward(f.list) {
		if p.AccountID == account && (before == (message.ID{}) || bytes.Compare(p.ID[:], before[:]) < 0) && len(out) < limit {
			out = append(out, *p)
		}
	}
	return out, nil
}

func (f *fakeBatches) BatchRows(_ context.Context, account, id message.ID, statuses []string, after, limit int) (out []message.BatchRow, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.find(account, id); err != nil {
		return nil, err
	}
	for _, r := range f.state[id] {
		if r.Row > after && len(out) < limit && (len(statuses) == 0 || slices.Contains(statuses, string(r.Status))) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (f *fakeBatches) SetBatch(_ context.Context, account, id message.ID, to message.BatchStatus, answer func(message.BatchProgress) (message.Idempotency, error)) (message.BatchProgress, *message.Idempotency, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.find(account, id)
	switch {
	case err != nil:
		return message.BatchProgress{}, nil, err
	case p.Status != to && p.Status.Final():
		return message.BatchProgress{}, nil, message.Refuse(message.ReasonConflict, "the batch is %s", p.Status)
	}
	p.Status = to
	if answer == nil {
		return *p, nil, nil
	}
	k, err := answer(*p)
	if err != nil {
		return *p, nil, err
	}
	first, err := f.keep(k)
	return *p, first, err
}

func (f *fakeBatches) CheckBatch(context.Context, *message.Batch, []message.BatchContent) (ingress.BatchCheck, error) {
	return f.check, nil
}

func (f *fakeBatches) BatchRate(b *message.Batch) int {
	if b.Throttle > 0 {
		return min(b.Throttle, f.rate)
	}
	return f.rate
}

func withBatches(b *bundle) *fakeBatches {
	f := &fakeBatches{ingress: b.ingress, rows: map[message.ID][]message.BatchContent{}, state: map[message.ID][]message.BatchRow{}, rate: 10}
	b.server.Batches = f
	return f
}

const twoRows = `{"name":"spring","from":"+12025550143","body":"Hello {{name}}","messages":[{"to":"+13105550117","variables":{"name":"Ann"}},{"to":"+13105550118","body":"own"}]}`

// batchForm makes a multipart body of named parts, in order.
func batchForm(parts ...string) (string, func(*http.Request)) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		p, _ := w.CreateFormFile(parts[i], "rows.csv")
		_, _ = p.Write([]byte(parts[i+1]))
	}
	_ = w.Close()
	return b.String(), func(r *http.Request) { r.Header.Set("Content-Type", w.FormDataContentType()) }
}

func TestBatchOverREST(t *testing.T) {
	var f *fakeBatches
	b := setup(t, func(b *bundle) { f = withBatches(b) })
	keyed := func(r *http.Request) { r.Header.Set("Idempotency-Key", "k1") }
	r := b.do("POST", "/v1/messages/batch", twoRows, as("keyA"), keyed)
	if r.StatusCode != 202 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	got := r.json(t)
	id := got["id"].(string)
	if got["status"] != "running" || got["counts"].(map[string]any)["pending"] != 2.0 || got["eta"] == nil || r.Header.Get("Location") != "/v1/messages/batch/"+id {
		t.Errorf("%s, %s", r.body, r.Header)
	}
	again := b.do("POST", "/v1/messages/batch", twoRows, as("keyA"), keyed)
	if again.StatusCode != 202 || again.Header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(again.body, r.body) || again.Header.Get("Location") != r.Header.Get("Location") {
		t.Errorf("%d %s", again.StatusCode, again.body)
	}
	wantProblem(t, b.do("POST", "/v1/messages/batch", strings.Replace(twoRows, "spring", "autumn", 1), as("keyA"), keyed), 422, message.ReasonIdempotencyMismatch)
	stored := f.rows[uuidOf(t, id)]
	if len(f.list) != 1 || len(stored) != 2 || stored[0].Variables["name"] != "Ann" || stored[1].Body != "own" || f.list[0].Defaults.Body != "Hello {{name}}" {
		t.Errorf("%+v, %+v", f.list, stored)
	}
	b.clock.advance(time.Second)
	for _, step := range []struct {
		path   string
		status int
		is     string
	}{{"pause", 200, "paused"}, {"pause", 200, "paused"}, {"resume", 200, "running"}, {"cancel", 200, "canceled"}, {"cancel", 200, "canceled"}, {"resume", 409, ""}} {
		r := b.do("POST", "/v1/messages/batch/"+id+"/"+step.path, "", as("keyA"))
		if r.StatusCode != step.status || step.is != "" && r.json(t)["status"] != step.is {
			t.Errorf("%s: %d %s", step.path, r.StatusCode, r.body)
		}
	}
	if c := b.do("GET", "/v1/messages/batch/"+id, "", as("keyA")).json(t)["counts"].(map[string]any); c["canceled"] != 2.0 || c["pending"] != 0.0 {
		t.Errorf("%v", c)
	}
	if l := b.do("GET", "/v1/messages/batch?limit=1", "", as("keyA")).json(t); len(l["data"].([]any)) != 1 || l["next_cursor"] != nil {
		t.Errorf("%v", l)
	}
	wantProblem(t, b.do("GET", "/v1/messages/batch?limit=51", "", as("keyA")), 422, message.ReasonInvalidRequest)
	f.state[uuidOf(t, id)] = []message.BatchRow{
		{Row: 1, State: message.RowMade, MessageID: message.NewID(), Status: message.StatusDelivered, To: "+13105550117"},
		{Row: 2, State: message.RowRefused, Status: message.StatusRejected, Content: &message.BatchContent{To: "x"}, Error: message.Refuse(message.ReasonInvalidDestination, "no number")},
		{Row: 3, State: message.RowPending, Status: "pending", Content: &message.BatchContent{To: "y"}},
	}
	l := b.do("GET", "/v1/messages/batch/"+id+"/messages?limit=2", "", as("keyA")).json(t)
	rows := l["data"].([]any)
	if len(rows) != 2 || rows[1].(map[string]any)["error"].(map[string]any)["code"] != "invalid_destination" || rows[1].(map[string]any)["message_id"] != nil {
		t.Errorf("%v", l)
	}
	if l = b.do("GET", "/v1/messages/batch/"+id+"/messages?cursor="+l["next_cursor"].(string), "", as("keyA")).json(t); len(l["data"].([]any)) != 1 || l["next_cursor"] != nil {
		t.Errorf("%v", l)
	}
	wantProblem(t, b.do("GET", "/v1/messages/batch/"+id+"/messages?status=odd", "", as("keyA")), 422, message.ReasonInvalidRequest)
	wantProblem(t, b.do("POST", "/v1/messages/batch", twoRows, as("keyRO")), 403, message.ReasonForbidden)
	b.server.Batches = nil
	wantProblem(t, b.do("GET", "/v1/messages/batch/"+id, "", as("keyA")), 503, message.ReasonUnavailable)
}

// A repetition of a form has another boundary, and is the same request.
// What a batch does not say of its files is as its account has it.
func TestBatchMediaIsTheAccounts(t *testing.T) {
	var f *fakeBatches
	b := setup(t, func(b *bundle) { f = withBatches(b) })
	for _, c := range []struct {
		account, said string
		asIs          bool
	}{{"", "", false}, {mediaBypass, "", true}, {mediaBypass, "auto", false}, {"auto", mediaBypass, true}} {
		b.reconfigure(func(s *snapshot.Snapshot) { s.Accounts[accountA].MediaTranscoding = c.account })
		body := twoRows
		if c.said != "" {
			body = strings.Replace(twoRows, "{", `{"media_transcoding":"`+c.said+`",`, 1)
		}
		if r := b.do("POST", "/v1/messages/batch", body, as("keyA")); r.StatusCode != 202 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		if got := f.list[len(f.list)-1].Defaults.MediaAsIs; got != c.asIs {
			t.Errorf("%+v: as they are: %v", c, got)
		}
	}
}

func TestBatchForm(t *testing.T) {
	var f *fakeBatches
	b := setup(t, func(b *bundle) { f = withBatches(b) })
	keyed := func(r *http.Request) { r.Header.Set("Idempotency-Key", "k1") }
	file := "\xef\xbb\xbfPhone;message; First name ;note\r\n+13105550117;\"Hi; {{First name}}\";\"Ann \"\"A\"\"\";\"two\r\nlines\"\r\n\r\n +13105550118 ;;Bea;\r\n"
	options := `{"name":"csv","from":"+12025550143","body":"Hello {{First name}}"}`
	var ids []string
	for _, order := range [][]string{{"file", file, "options", options}, {"options", options, "file", file}} {
		body, typed := batchForm(order...)
		r := b.do("POST", "/v1/messages/batch", body, as("keyA"), keyed, typed)
		if r.StatusCode != 202 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		ids = append(ids, r.json(t)["id"].(string))
	}
	if ids[0] != ids[1] || len(f.list) != 1 {
		t.Error("one request made two batches")
	}
	want := []message.BatchContent{
		{To: "+13105550117", Body: "Hi; {{First name}}", Variables: map[string]string{"First name": `Ann "A"`, "note": "two\nlines"}},
		{To: "+13105550118", Variables: map[string]string{"First name": "Bea", "note": ""}},
	}
	if got := f.rows[uuidOf(t, ids[0])]; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	body, typed := batchForm("file", file, "options", strings.Replace(options, "csv", "other", 1))
	wantProblem(t, b.do("POST", "/v1/messages/batch", body, as("keyA"), keyed, typed), 422, message.ReasonIdempotencyMismatch)
}

// What is wrong is named, with its place, and nothing is stored.
func TestBatchRefusals(t *testing.T) {
	var f *fakeBatches
	b := setup(t, func(b *bundle) { f = withBatches(b) })
	row := func(s string) string { return `{"body":"x","messages":[` + s + `]}` }
	with := func(s string) string { return `{"body":"x","messages":[{"to":"+13105550117"}],` + s + `}` }
	for _, c := range []struct {
		body, field, say string
		status           int
	}{
		{`[]`, "body", "JSON object", 422},
		{`{`, "body", "", 400},
		{`{"messages":[{"to":"+1`, "body.messages[0]", "ends inside", 400},
		{`{"body":"x"}`, "body.messages", "is required", 422},
		{`{"body":"x","messages":[]}`, "body.messages", "is required", 422},
		{`{"body":"x","messages":{}}`, "body.messages", "array", 422},
		{row(`{"to":"+13105550117"},1`), "body.messages[1]", "object", 422},
		{row(`{"to":"+13105550117"},{}`), "body.messages[1].to", "is required", 422},
		{row(`{"to":7}`), "body.messages[0].to", "double quotes", 422},
		{row(`{"to":"+1","tel":"x"}`), "body.messages[0].tel", "no such field", 422},
		{row(`{"to":"+1","to":"+1"}`), "body.messages[0].to", "twice", 422},
		{row(`{"to":"+1","variables":{"a":1}}`), "body.messages[0].variables.a", "double quotes", 422},
		{row(`{"to":"+1","variables":[]}`), "body.messages[0].variables", "object of strings", 422},
		{row(`{"to":"+1","media_ids":["x"]}`), "body.messages[0].media_ids[0]", "id of a file", 422},
		{row(`{"to":"a\u0000b"}`), "body.messages[0].to", "control character", 422},
		{row(`{"to":"+1","client_reference":"` + strings.Repeat("x", 65) + `"}`), "body.messages[0].client_reference", "64", 422},
		{`{"messages":[{"to":"+13105550117"}]}`, "body.messages[0].body", "neither", 422},
		{with(`"to":"+1"`), "body.to", "no such field", 422},
		{with(`"dry_run":true`), "body.dry_run", "no such field", 422},
		{with(`"name":"` + strings.Repeat("x", 101) + `"`), "body.name", "100", 422},
		{with(`"throttle_per_second":0`), "body.throttle_per_second", "between 1 and 10", 422},
		{with(`"throttle_per_second":11`), "body.throttle_per_second", "between 1 and 10", 422},
		{with(`"throttle_per_second":1.5`), "body.throttle_per_second", "whole", 422},
		{with(`"webhook_url":"http://x.example"`), "body.webhook_url", "https", 422},
		{with(`"webhook_failover_url":"https://x.example"`), "body.webhook_failover_url", "webhook_url", 422},
		{with(`"validity_seconds":1`), "body.validity_seconds", "between", 422},
		{with(`"message_class":"x"`), "body.message_class", "one of", 422},
		{row(strings.Repeat(`{"to":"+1"},`, message.MaxBatchRows) + `{"to":"+1"}`), "body.messages", "more than 10000", 422},
	} {
		b.clock.advance(time.Second)
		r := b.do("POST", "/v1/messages/batch", c.body, as("keyA"))
		p := r.json(t)
		where, say := "", ""
		for _, e := range p["errors"].([]any) {
			if e := e.(map[string]any); where != c.field {
				where, say = e["location"].(string), e["message"].(string)
			}
		}
		if r.StatusCode != c.status || where != c.field || !strings.Contains(say, c.say) {
			t.Errorf("%.80s: %d %s %q", c.body, r.StatusCode, where, say)
		}
	}
	for _, c := range []struct{ file, field, say string }{
		{"", "file", "is empty"},
		{"to,body\n", "file", "no row"},
		{"phone,number,body\n+1,+1,x\n", "file.header[1]", "same as an earlier"},
		{"a,a,to,body\n", "file.header[1]", "same as an earlier"},
		{"name,body\nx,y\n", "file", "no column for the recipient"},
		{"to,,body\n+1,x,y\n", "file.header[1]", "is empty"},
		{"to,{x},body\n+1,x,y\n", "file.header[1]", "brace"},
		{"to,body\n+1,x\n+1\n", "file.rows[1]", "line 3 has 1 fields, the header has 2"},
		{"to,body\n+1,\"x\n", "file", "quote"},
		{"to,body\n+1,x\"y\n", "file", "line 2"},
		{"to,body\n,x\n", "file.rows[0].to", "line 2: is required"},
		{"Phone,name\n+1,x\n", "file.rows[0].body", "neither"},
		{"to,body\n+1,\xff\n", "file.rows[0].body", "line 2: is not valid UTF-8"},
		{"to,body\n+1,a\x00b\n", "file.rows[0].body", "control character"},
		{"\xff\xfet\x00o\x00", "file", "UTF-16"},
		{"to,body\n" + strings.Repeat("+1,x\n", message.MaxBatchRows+1), "file", "more than 10000 rows"},
		{"to,body," + strings.Repeat("x,", 70) + "\n", "file", "columns"},
	} {
		b.clock.advance(time.Second)
		body, typed := batchForm("file", c.file)
		r := b.do("POST", "/v1/messages/batch", body, as("keyA"), typed)
		found := false
		for _, e := range r.json(t)["errors"].([]any) {
			e := e.(map[string]any)
			found = found || e["location"] == c.field && strings.Contains(e["message"].(string), c.say)
		}
		if r.StatusCode != 422 || !found {
			t.Errorf("%.60q: %d %s", c.file, r.StatusCode, r.body)
		}
	}
	b.clock.advance(time.Second)
	for _, parts := range [][]string{{"options", "{}"}, {"file", "to,body\n+1,x\n", "file", "to\n"}, {"other", "x"}} {
		b.clock.advance(time.Second)
		body, typed := batchForm(parts...)
		wantProblem(t, b.do("POST", "/v1/messages/batch", body, as("keyA"), typed), 422, message.ReasonInvalidRequest)
	}
	body, typed := batchForm("file", "to,body\n+1,x\n", "options", `{"messages":[]}`)
	wantProblem(t, b.do("POST", "/v1/messages/batch", body, as("keyA"), typed), 422, message.ReasonInvalidRequest)
	big := `{"body":"` + strings.Repeat("x", maxBatch) + `"}`
	wantProblem(t, b.do("POST", "/v1/messages/batch", big, as("keyA")), 413, message.ReasonPayloadTooLarge)
	wantProblem(t, b.do("POST", "/v1/messages/batch", body[:len(body)/2], as("keyA"), typed), 422, message.ReasonInvalidRequest)
	wantProblem(t, b.do("POST", "/v1/messages/batch", "x", as("keyA"), func(r *http.Request) { r.Header.Set("Content-Type", "text/csv") }), 415, message.ReasonInvalidRequest)
	if len(f.list) != 0 {
		t.Errorf("%d batches were stored", len(f.list))
	}
}

func TestCheckBatch(t *testing.T) {
	var f *fakeBatches
	b := setup(t, func(b *bundle) { f = withBatches(b) })
	f.check = ingress.BatchCheck{Segments: 3, Price: message.Price{Amount: 9000, Currency: "USD", Estimated: true}, Parts: map[ingress.BatchSender]int64{{From: "+12025550143", Kind: message.SMS}: 3},
		Refused: []message.RowRefusal{{Row: 2, Error: message.Refuse(message.ReasonOptedOut, "stopped")}}}
	got := b.do("POST", "/v1/messages/batch/check", twoRows, as("keyA")).json(t)
	if got["allowed"] != false || got["segments"] != 3.0 || got["price"].(map[string]any)["amount"] != "0.009" || got["rows_refused"].([]any)[0].(map[string]any)["code"] != "opted_out" || got["eta"] == nil {
		t.Errorf("%v", got)
	}
	f.check.Refused = nil
	b.clock.advance(time.Second)
	if got = b.do("POST", "/v1/messages/batch/check", twoRows, as("keyA")).json(t); got["allowed"] != true {
		t.Errorf("%v", got)
	}
	if len(f.list) != 0 {
		t.Error("a check stored a batch")
	}
	for _, c := range []struct {
		body, field string
	}{{`{"type":"sms"}`, "body.message_count"}, {`{"message_count":0}`, "body.message_count"}, {`{"message_count":10001}`, "body.message_count"}, {`{"message_count":1,"segments_each":256}`, "body.segments_each"},
		{`{"message_count":1,"type":"fax"}`, "body.type"}, {`{"message_count":1,"messages":[{"to":"+1","body":"x"}]}`, "body.messages"}} {
		b.clock.advance(time.Second)
		p := wantProblem(t, b.do("POST", "/v1/messages/batch/check", c.body, as("keyA")), 422, message.ReasonInvalidRequest)
		if at := p["errors"].([]any)[0].(map[string]any)["location"]; at != c.field {
			t.Errorf("%s: %v", c.body, at)
		}
	}
	b.clock.advance(time.Second)
	wantProblem(t, b.do("POST", "/v1/messages/batch", `{"message_count":1}`, as("keyA")), 422, message.ReasonInvalidRequest)
	got = b.do("POST", "/v1/messages/batch/check", `{"from":"+19995550143","message_count":7,"segments_each":2}`, as("keyA")).json(t)
	if got["allowed"] != false || got["segments"] != 14.0 || got["error"].(map[string]any)["code"] != "unauthorized_sender" {
		t.Errorf("%v", got)
	}
}

// So many bodies come in at a time, of an account and of all.
func TestBatchBodiesAreBounded(t *testing.T) {
	var u batchBodies
	var began []message.ID
	for range batchesAtOnce / batchesOfAccount {
		account := message.NewID()
		for range batchesOfAccount {
			if err := u.begin(account); err != nil {
				t.Fatal(err)
			}
		}
		began = append(began, account)
		if err := u.begin(account); message.ReasonOf(err) != message.ReasonRateLimitExceeded {
			t.Errorf("%v", err)
		}
	}
	if err := u.begin(message.NewID()); message.ReasonOf(err) != message.ReasonUnavailable {
		t.Errorf("%v", err)
	}
	for _, a := range began {
		u.end(a)
		u.end(a)
	}
	if len(u.open) != 0 || u.all != 0 {
		t.Errorf("%+v", &u)
	}
}

// The documented fields of a batch and its rows are those that are read.
func TestBatchDecoderAndDocumentAgree(t *testing.T) {
	samples := map[string]string{"name": `"n"`, "messages": `[]`, "throttle_per_second": `1`, "from": `"x"`, "body": `"x"`, "media_urls": `[]`, "media_ids": `[]`, "media_transcoding": `"auto"`,
		"subject": `"x"`, "webhook_url": `"https://a.example"`, "webhook_failover_url": `"https://a.example"`, "send_at": `"2026-11-22T00:00:00Z"`, "validity_seconds": `60`, "message_class": `"otp"`,
		"delivery": `"at_least_once"`, "encoding": `"gsm7"`, "smart_encoding": `true`, "client_reference": `"r"`, "metadata": `{"a":"b"}`, "to": `"x"`, "variables": `{"a":"b"}`}
	for schema, read := range map[string]func(string) error{
		"CreateBatchBody": func(member string) error {
			in := &batchBody{}
			d, err := in.readJSON(strings.NewReader("{"+member+"}"), false)
			if err == nil && len(d.list) > 0 {
				err = fmt.Errorf("%+v", d.list)
			}
			return err
		},
		"BatchRowBody": func(member string) error {
			in := &batchBody{}
			d, err := in.readJSON(strings.NewReader(`{"messages":[{`+member+`}]}`), false)
			if err == nil && len(d.list) > 0 {
				err = fmt.Errorf("%+v", d.list)
			}
			return err
		},
	} {
		for name := range document(t).at("components", "schemas", schema, "properties").(map[string]any) {
			if err := read(fmt.Sprintf("%q:%s", name, samples[name])); err != nil {
				t.Errorf("%s.%s: %v", schema, name, err)
			}
		}
	}
}

// Whatever a table holds, it is read back as it was written.
func TestBatchFileProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~äöü€\n]{0,20}`)
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z ]{0,5}[a-z]`).Filter(func(s string) bool { return batchColumns[s] == "" }), 0, 4, rapid.ID).Draw(t, "names")
		comma := rapid.SampledFrom([]rune{',', ';'}).Draw(t, "comma")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.Comma, w.UseCRLF = comma, rapid.Bool().Draw(t, "crlf")
		_ = w.Write(append([]string{"to", "text"}, names...))
		var want []message.BatchContent
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			row := message.BatchContent{To: rapid.StringMatching(`\+[0-9]{1,9}`).Draw(t, "to"), Body: text.Draw(t, "body")}
			record := []string{row.To, row.Body}
			for _, n := range names {
				v := text.Draw(t, "value")
				if row.Variables == nil {
					row.Variables = map[string]string{}
				}
				row.Variables[n] = v
				record = append(record, v)
			}
			_ = w.Write(record)
			want = append(want, row)
		}
		w.Flush()
		in := &batchBody{createMessage: createMessage{Body: "x"}}
		table := batchTable{batch: in}
		if err := table.read(&b); err != nil || len(table.faults.list) > 0 || !reflect.DeepEqual(in.rows, want) {
			t.Fatalf("%v, %+v\n%+v\nwant %+v", err, table.faults.list, in.rows, want)
		}
	})
}

// Whatever comes, it is answered without a fault of ours.
func FuzzBatchBody(f *testing.F) {
	f.Add([]byte(twoRows), false)
	f.Add([]byte("to;name\n+1;\"x\"\n"), true)
	f.Fuzz(func(t *testing.T, body []byte, file bool) {
		in := &batchBody{}
		if !file {
			if d, err := in.readJSON(bytes.NewReader(body), true); err == nil {
				in.check(d, began, publicHTTPS, 10)
				_, _ = json.Marshal(in.rows)
			}
			return
		}
		table := batchTable{batch: in}
		if err := table.read(bytes.NewReader(body)); err == nil {
			d := &decoder{}
			table.settle(d)
			if len(d.list) > maxFaults || len(in.rows) > message.MaxBatchRows {
				t.Errorf("%d faults, %d rows", len(d.list), len(in.rows))
			}
		}
	})
}
