package rest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// sent accepts a message and puts it into a status.
func (b *bundle) sent(status message.Status) string {
	b.t.Helper()
	id := b.send("keyA")
	b.ingress.set(b.t, id, func(m *message.Message) { m.Status = status })
	b.clock.advance(time.Second)
	return id
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	doc := document(t)
	for _, how := range []struct{ method, suffix, path string }{{"DELETE", "", "/v1/messages/{id}"}, {"POST", "/cancel", "/v1/messages/{id}/cancel"}} {
		for _, s := range message.Statuses() {
			id := b.sent(s)
			_, before := b.ingress.count()
			b.ingress.withdrawn = nil
			r := b.do(how.method, "/v1/messages/"+id+how.suffix, "", as("keyA"))
			doc.check(strings.ToLower(how.method), how.path, r)
			if !s.Cancelable() && s != message.StatusCanceled {
				wantProblem(t, r, 409, message.ReasonConflict)
				if len(b.ingress.withdrawn) > 0 {
					t.Errorf("%s: asked about a message that has left", s)
				}
				continue
			}
			for range 2 {
				if r.StatusCode != 200 || r.json(t)["status"] != "canceled" || r.json(t)["id"] != id {
					t.Errorf("%s from %s: %d %s", how.method, s, r.StatusCode, r.body)
				}
				r = b.do(how.method, "/v1/messages/"+id+how.suffix, "", as("keyA"))
			}
			if _, after := b.ingress.count(); after != before {
				t.Error("a message was made")
			}
			b.clock.advance(time.Second)
		}
	}
	// It left between the look and the try.
	id := b.sent(message.StatusQueued)
	b.ingress.stop = message.Refuse(message.ReasonConflict, "it is too late")
	wantProblem(t, b.do("DELETE", "/v1/messages/"+id, "", as("keyA")), 409, message.ReasonConflict)
	wantProblem(t, b.do("DELETE", "/v1/messages/"+id, "", as("keyRO")), 403, message.ReasonForbidden)
}

// The key of a cancellation gives the first answer again, refusals too, whatever has
// become of the message since.
func TestCancelByKey(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	key := header("Idempotency-Key", "k1")
	left := b.sent(message.StatusSent)
	first := b.do("POST", "/v1/messages/"+left+"/cancel", "", as("keyA"), key)
	wantProblem(t, first, 409, message.ReasonConflict)
	b.ingress.set(t, left, func(m *message.Message) { m.Status = message.StatusQueued })
	again := b.do("POST", "/v1/messages/"+left+"/cancel", "", as("keyA"), key)
	if again.StatusCode != 409 || again.Header.Get("Idempotency-Replayed") != "true" || string(again.body) != string(first.body) {
		t.Errorf("%d %s", again.StatusCode, again.body)
	}
	b.clock.advance(time.Second)
	id := b.sent(message.StatusQueued) // the same key, of another path
	var wg sync.WaitGroup
	answers := make([]*reply, 40)
	for i := range answers {
		wg.Go(func() { answers[i] = b.do("POST", "/v1/messages/"+id+"/cancel", "", as("keyA"), key) })
	}
	wg.Wait()
	for _, r := range answers {
		if r.StatusCode != 200 || string(r.body) != string(answers[0].body) {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	b.clock.advance(time.Second)
	wantProblem(t, b.do("POST", "/v1/messages/"+id+"/cancel?x=1", "", as("keyA"), key), 422, message.ReasonInvalidRequest) // no such parameter
}

func TestChange(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	doc := document(t)
	patch := func(id, body string) *reply {
		b.clock.advance(time.Second)
		r := b.do("PATCH", "/v1/messages/"+id, body, as("keyA"))
		doc.check("patch", "/v1/messages/{id}", r)
		return r
	}
	for _, s := range message.Statuses() {
		id := b.sent(s)
		if r := patch(id, `{"body":"Tomorrow"}`); s.Revisable() != (r.StatusCode == 200) || !s.Revisable() && r.StatusCode != 409 {
			t.Errorf("%s: %d %s", s, r.StatusCode, r.body)
		}
		if r := b.do("PATCH", "/v1/messages/"+id, `{}`, as("keyA"), header("Content-Type", patchType)); r.StatusCode != 200 {
			t.Errorf("as a merge patch: %d %s", r.StatusCode, r.body)
		}
		if r := patch(id, `{}`); r.StatusCode != 200 || r.json(t)["status"] != string(s) {
			t.Errorf("nothing of %s: %d %s", s, r.StatusCode, r.body)
		}
	}
	later := b.sent(message.StatusScheduled)
	b.ingress.set(t, later, func(m *message.Message) { m.SendAt, m.Class = b.clock.now().Add(time.Hour), message.ClassOTP })
	at := b.clock.now().Add(2 * time.Hour).UTC().Truncate(time.Millisecond)
	if r := patch(later, fmt.Sprintf(`{"body":"Tomorrow","send_at":%q,"validity_seconds":60}`, at.Format(time.RFC3339Nano))); r.StatusCode != 200 || r.json(t)["body"] != "Tomorrow" {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	last := func() (body string, at time.Time, validity time.Duration) {
		r := b.ingress.revisions[len(b.ingress.revisions)-1]
		if r.AccountID != accountA || r.Credential.Key != "keyA" || r.Edge != edgeName {
			t.Errorf("%+v", r)
		}
		return r.Body, r.SendAt, r.Validity
	}
	if body, when, validity := last(); body != "Tomorrow" || !when.Equal(at) || validity != time.Minute {
		t.Error(body, when, validity)
	}
	patch(later, `{"send_at":null}`)
	if body, when, validity := last(); body != "" || !when.Equal(b.clock.now()) || validity != 0 {
		t.Error(body, when, validity)
	}
	patch(later, `{"validity_seconds":null}`)
	if _, when, validity := last(); !when.IsZero() || validity != message.ClassOTP.Validity() {
		t.Error(when, validity)
	}
	for body, location := range map[string]string{
		`{"body":null}`: "body.body", `{"body":""}`: "body.body", `{"body":7}`: "body.body", `{"body":"a\u0000b"}`: "body.body", `{"body":"\ud83d"}`: "body.body",
		`{"send_at":"yesterday"}`: "body.send_at", `{"validity_seconds":"60"}`: "body.validity_seconds", `{"validity_seconds":1.5}`: "body.validity_seconds",
		`{"to":"+13105550118"}`: "body.to", `{"metadata":{"a":"b"}}`: "body.metadata", `{"status":"sent"}`: "body.status", `[]`: "body", `{"body":"a","body":"b"}`: "body.body",
	} {
		before := len(b.ingress.revisions)
		p := wantProblem(t, patch(later, body), 422, message.ReasonInvalidRequest)
		if got := p["errors"].([]any)[0].(map[string]any)["location"]; got != location || len(b.ingress.revisions) != before {
			t.Errorf("%s: %v", body, p)
		}
	}
	wantProblem(t, patch(later, `{"send_at":"2020-01-01T00:00:00Z"}`), 422, message.ReasonInvalidSchedule)
	wantProblem(t, patch(later, `{"validity_seconds":59}`), 422, message.ReasonInvalidSchedule)
	wantProblem(t, patch(later, `{"body":`), 400, message.ReasonInvalidRequest)
	b.ingress.set(t, later, func(m *message.Message) { m.Encoding = message.EncodingBinary })
	wantProblem(t, patch(later, `{"body":"text"}`), 409, message.ReasonConflict)
	b.ingress.stop = message.Refuse(message.ReasonOptedOut, "the recipient has stopped the sender")
	wantProblem(t, patch(later, `{"validity_seconds":90}`), 422, message.ReasonOptedOut)
}

func TestRetry(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	doc := document(t)
	retry := func(id, body string, with ...func(*http.Request)) *reply {
		b.clock.advance(time.Second)
		r := b.do("POST", "/v1/messages/"+id+"/retry", body, append(with, as("keyA"))...)
		doc.check("post", "/v1/messages/{id}/retry", r)
		return r
	}
	may := []message.Status{message.StatusUndelivered, message.StatusFailed, message.StatusExpired, message.StatusRejected}
	for _, s := range message.Statuses() {
		id := b.sent(s)
		r := retry(id, "")
		if !contains(words(may), string(s)) {
			wantProblem(t, r, 409, message.ReasonConflict)
		} else if made := r.json(t); r.StatusCode != 202 || made["retry_of"] != id || made["id"] == id || r.Header.Get("Location") != "/v1/messages/"+made["id"].(string) {
			t.Errorf("%s: %d %s", s, r.StatusCode, r.body)
		}
		if s == message.StatusUnconfirmed {
			wantProblem(t, retry(id, `{"accept_duplicate":false}`), 409, message.ReasonConflict)
			if r := retry(id, `{"accept_duplicate":true}`); r.StatusCode != 202 {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
		}
	}
	// A retry of a retry names the one that was named.
	first := b.sent(message.StatusFailed)
	second := retry(first, "{}").json(t)["id"].(string)
	b.ingress.set(t, second, func(m *message.Message) { m.Status = message.StatusFailed })
	if r := retry(second, ""); r.json(t)["retry_of"] != second {
		t.Errorf("%s", r.body)
	}
	for body, status := range map[string]int{`{"accept_duplicate":"yes"}`: 422, `{"to":"+1"}`: 422, `{`: 400, `[]`: 422} {
		wantProblem(t, retry(first, body), status, message.ReasonInvalidRequest)
	}
	for _, change := range []func(*message.Message){
		func(m *message.Message) { m.Redacted = true },
		func(m *message.Message) { m.From = "" },
		func(m *message.Message) { m.Direction = message.Inbound },
	} {
		id := b.sent(message.StatusFailed)
		b.ingress.set(t, id, change)
		wantProblem(t, retry(id, ""), 409, message.ReasonConflict)
	}
}

func words(list []message.Status) (out []string) {
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}

// What is sent again is all that the first one was.
func TestRetryIsTheSameMessage(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	id := b.sent(message.StatusFailed)
	file := message.MediaFile{ID: message.NewID(), ContentType: "image/gif", Size: 43, SHA256: [32]byte{1}}
	b.ingress.set(t, id, func(m *message.Message) {
		m.Kind, m.Subject, m.MediaAsIs, m.Class, m.Delivery = message.MMS, "Parcel", true, message.ClassOTP, message.AtLeastOnce
		m.RequestedFrom, m.GroupID, m.GroupRecipients = "+12025550199", message.NewID(), []message.Address{"+13105550117", "+13105550118"}
		m.WebhookURL, m.WebhookFailover, m.FailuresOnly = "https://shop.example/a", "https://shop.example/b", true
		m.ClientReference, m.Metadata = "order-1", map[string]string{"a": "b"}
		m.SendAt = m.CreatedAt.Add(time.Hour)
		m.ExpiresAt = m.SendAt.Add(300 * time.Second)
		m.Media = []message.Media{{Position: 1, File: file, Source: "https://shop.example/x.gif"}, {Position: 2, Source: "https://shop.example/y.gif"}}
	})
	if r := b.do("POST", "/v1/messages/"+id+"/retry", "", as("keyA")); r.StatusCode != 202 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	was := b.ingress.find(uuidOf(t, id))
	got := b.ingress.last(t)
	if got.RetryOf != was.ID || got.From != "+12025550199" || got.To != "+13105550117" || got.Body != was.Body || got.Subject != "Parcel" || !got.MMS || !got.MediaAsIs ||
		got.Class != message.ClassOTP || got.Delivery != message.AtLeastOnce || got.GroupID != was.GroupID || len(got.GroupRecipients) != 2 || got.Validity != 5*time.Minute ||
		got.WebhookURL != was.WebhookURL || got.WebhookFailover != was.WebhookFailover || !got.FailuresOnly || got.ClientReference != "order-1" || got.Metadata["a"] != "b" ||
		!got.SendAt.IsZero() || got.Automatic || got.Credential.Key != "keyA" || got.Rate.Rule == "" || *got.SmartEncoding || got.Encoding != message.EncodingGSM7 {
		t.Errorf("%+v", got)
	}
	if len(got.Media) != 2 || got.Media[0].File != file || got.Media[0].Source != "" || got.Media[1].Source != "https://shop.example/y.gif" {
		t.Errorf("%+v", got.Media)
	}
	if len(b.ingress.calls) != 2 {
		t.Error(len(b.ingress.calls))
	}
}

// Fifty equal requests at once make one message, at every door.
func TestOneMessageForFiftyEqualRequests(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"send": "/v1/messages", "kept": keptSendPath, "retry": ""} {
		b := setup(t, nil)
		body, other, before := parcel, parcel+" ", 0
		if path == "" {
			path, body, other, before = "/v1/messages/"+b.sent(message.StatusFailed)+"/retry", "", "{}", 1
		}
		var wg sync.WaitGroup
		answers := make([]*reply, 50)
		for i := range answers {
			wg.Go(func() { answers[i] = b.do("POST", path, body, as("keyA"), header("Idempotency-Key", "order:1")) })
		}
		wg.Wait()
		replayed := 0
		for _, r := range answers {
			if r.StatusCode != 202 || string(r.body) != string(answers[0].body) || r.Header.Get("Location") != answers[0].Header.Get("Location") || !strings.HasPrefix(r.Header.Get("Location"), "/v1/messages/") {
				t.Fatalf("%s: %d %s %s", name, r.StatusCode, r.Header.Get("Location"), r.body)
			}
			if r.Header.Get("Idempotency-Replayed") == "true" {
				replayed++
			}
		}
		if _, stored := b.ingress.count(); stored != before+1 || replayed != 49 {
			t.Errorf("%s: %d messages, %d replays", name, stored, replayed)
		}
		wantProblem(t, b.do("POST", path, other, as("keyA"), header("Idempotency-Key", "order:1")), 422, message.ReasonIdempotencyMismatch)
	}
}

func TestKeptSend(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle) { withMedia(b) })
	doc := document(t)
	post := func(body string, with ...func(*http.Request)) *reply {
		b.clock.advance(time.Second)
		r := b.do("POST", keptSendPath, body, append(with, as("keyA"))...)
		doc.check("post", keptSendPath, r)
		return r
	}
	r := post(`{"from":"+12025550143","to":"+13105550117","text":"Hello","client_reference":"r1"}`)
	if r.StatusCode != 202 || r.json(t)["body"] != "Hello" || r.json(t)["client_reference"] != "r1" || r.Header.Get("Location") != "/v1/messages/"+r.json(t)["id"].(string) {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	in64 := base64.StdEncoding.EncodeToString([]byte(dot))
	wrapped, _ := json.Marshal(in64[:20] + "\r\n" + strings.TrimRight(in64[20:], "="))
	r = post(`{"to":"+13105550117","subject":"S","media":[{"filename":"a.png","content_type":"image/png","content":"` + in64 + `"},{"url":"https://shop.example/a.gif"},{"content":` + string(wrapped) + `}]}`)
	if r.StatusCode != 202 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if got := b.ingress.last(t); len(got.Media) != 3 || got.Media[0].Source != "https://shop.example/a.gif" || got.Media[1].File.ContentType != "image/gif" || got.Media[2].File.SHA256 != got.Media[1].File.SHA256 || got.Subject != "S" {
		t.Errorf("%+v", got.Media)
	}
	if r = post(`{"to":"+13105550117","dry_run":true,"media":[{"content":"` + in64 + `"}]}`); r.StatusCode != 200 || len(b.ingress.last(t).Media) != 1 || b.ingress.last(t).Media[0].Fetched() {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for body, location := range map[string]string{
		`{"to":"+13105550117"}`: "body.body", `{"to":"+13105550117","text":"a","body":"b"}`: "body.body", `{"to":"+13105550117","text":5}`: "body.text",
		`{"to":"+13105550117","media":{}}`: "body.media", `{"to":"+13105550117","media":[5]}`: "body.media[0]", `{"to":"+13105550117","media":[{}]}`: "body.media[0]",
		`{"to":"+13105550117","media":[{"url":"https://shop.example/a","content":"YQ=="}]}`: "body.media[0]",
		`{"to":"+13105550117","media":[{"content":"%%"}]}`:                                  "body.media[0].content", `{"to":"+13105550117","media":[{"content":"="}]}`: "body.media[0].content",
		`{"to":"+13105550117","media":[{"size":5}]}`: "body.media[0].size", `{"to":"+13105550117","text":"a","bogus":5}`: "body.bogus",
		`{"to":"+13105550117","media":[` + strings.TrimSuffix(strings.Repeat(`{"content":"YQ=="},`, 11), ",") + `]}`: "body.media",
	} {
		p := wantProblem(t, post(body), 422, message.ReasonInvalidRequest)
		if got := p["errors"].([]any)[0].(map[string]any)["location"]; got != location {
			t.Errorf("%s: %v", body, p)
		}
	}
	wantProblem(t, post(`{"to":"+13105550117","media":[{"url":"http://10.0.0.1/a"}]}`), 422, message.ReasonUnsafeURL)
	big := strings.Repeat("A", 1<<20)
	wantProblem(t, post(`{"to":"+13105550117","text":"a","client_reference":"`+big+`"}`), 422, message.ReasonInvalidRequest)
	wantProblem(t, post(`{"to":"+13105550117","text":"`+strings.Repeat(big, 15)+`"}`), 413, message.ReasonPayloadTooLarge)
	if len(b.server.uploads.open) != 0 {
		t.Error("a place for large bodies was not given back")
	}
	b.ingress.refuse = func(ingress.Request) (error, bool) {
		return &message.Error{Reason: message.ReasonMessageTooLong, Detail: "too long", Fields: []message.FieldError{{Location: "body.body", Message: "too long"}}}, false
	}
	if p := wantProblem(t, post(`{"to":"+13105550117","text":"a"}`), 422, message.ReasonMessageTooLong); p["errors"].([]any)[0].(map[string]any)["location"] != "body.text" {
		t.Error(p)
	}
}
