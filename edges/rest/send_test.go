package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

func TestSendMessage(t *testing.T) {
	b := setup(t, nil)
	r := b.do("POST", "/v1/messages", `{"from":"+12025550143","to":"+1 (310) 555-0117","body":"Your parcel is on its way","webhook_url":"https://shop.example/hooks/sms",
		"webhook_failover_url":"https://b.shop.example:8443/","validity_seconds":3600,"client_reference":"order-8812","metadata":{"shop":"7"},"message_class":"otp",
		"delivery":"at_least_once","encoding":"gsm7","smart_encoding":true,"send_at":"2026-11-21T22:00:00+01:00"}`, as("keyA"),
		header("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	if r.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	document(t).check("post", "/v1/messages", r)
	got := r.json(t)
	if r.Header.Get("Location") != "/v1/messages/"+got["id"].(string) {
		t.Errorf("Location is %q", r.Header.Get("Location"))
	}
	want := `{"id":"` + got["id"].(string) + `","direction":"outbound","type":"sms","requested_type":null,"status":"accepted","from":"+12025550143","requested_from":null,` +
		`"to":"+13105550117","body":"Your parcel is on its way","subject":null,"media":[],"encoding":"gsm7","segments":1,"price":{"amount":"0.0045","currency":"USD","estimated":true},` +
		`"message_class":"otp","delivery":"at_least_once","campaign_id":"C8X2KQ1","batch_id":null,"group_id":null,"group_recipients":[],"retry_of":null,"client_reference":"order-8812",` +
		`"metadata":{"shop":"7"},"error":null,"hold":null,"receipt":null,"possible_duplicate":false,"parts":[{"part":1,"status":"accepted","receipt":null,"error":null}],` +
		`"send_at":"2026-11-21T21:00:00.000Z","expires_at":"2026-11-21T21:15:04.310Z","created_at":"2026-11-21T20:15:04.310Z","submitted_at":null,"delivered_at":null,"updated_at":"2026-11-21T20:15:04.310Z"}`
	if string(r.body) != want {
		t.Errorf("answer\n%s\nwant\n%s", r.body, want)
	}
	q := b.ingress.last(t)
	if q.AccountID != accountA || q.Credential == nil || q.Credential.ID != credentialA || q.Edge != "rest" || q.Key != nil || q.DryRun {
		t.Errorf("request %+v", q)
	}
	if q.Validity != time.Hour || !q.SendAt.Equal(began.Truncate(time.Hour).Add(time.Hour)) || q.SmartEncoding == nil || !*q.SmartEncoding ||
		q.WebhookFailover != "https://b.shop.example:8443/" || q.TraceParent != "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" ||
		q.Encoding != message.EncodingGSM7 || q.Class != message.ClassOTP || q.Delivery != message.AtLeastOnce {
		t.Errorf("request %+v", q)
	}
}

func TestNullCountsAsLeftOut(t *testing.T) {
	b := setup(t, nil)
	r := b.do("POST", "/v1/messages", `{"to":"+13105550117","body":"x","from":null,"webhook_url":null,"send_at":null,"validity_seconds":null,"message_class":null,"metadata":null,"smart_encoding":null,"dry_run":null}`, as("keyA"))
	if r.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	q := b.ingress.last(t)
	if q.From != "" || q.Validity != 0 || !q.SendAt.IsZero() || q.Class != "" || q.Metadata != nil || q.SmartEncoding != nil || q.DryRun {
		t.Errorf("request %+v", q)
	}
	document(t).check("post", "/v1/messages", r)
}

func TestTextArrivesAsItWasSent(t *testing.T) {
	b := setup(t, nil)
	for body, want := range map[string]string{
		`"caf\u00e9 \ud83d\ude00 \/ \\ \" \n\t"`: "café 😀 / \\ \" \n\t",
		`"naïve 😀 <b>&amp;</b>"`:                 "naïve 😀 <b>&amp;</b>",
		`" "`:                                    " ",
	} {
		r := b.do("POST", "/v1/messages", `{"to":"+13105550117","body":`+body+`}`, as("keyA"))
		if got := b.ingress.last(t).Body; got != want {
			t.Errorf("%s arrived as %q", body, got)
		}
		if got := r.json(t)["body"]; got != want {
			t.Errorf("%s is echoed as %q", body, got)
		}
	}
}

func TestRefusalsOfIngress(t *testing.T) {
	var refusal error
	record := true
	b := setup(t, func(b *bundle) {
		b.ingress.refuse = func(ingress.Request) (error, bool) { return refusal, record }
	})
	doc := document(t)
	for _, e := range message.Catalogue() {
		if e.HTTP == 0 || e.HTTP >= 500 || e.Reason == message.ReasonUnauthenticated {
			continue
		}
		t.Run(string(e.Reason), func(t *testing.T) {
			refusal = message.Refuse(e.Reason, "said so")
			r := b.do("POST", "/v1/messages", parcel, as("keyA"))
			p := wantProblem(t, r, e.HTTP, e.Reason)
			if p["detail"] != "said so" {
				t.Errorf("detail %v", p["detail"])
			}
			b.ingress.mu.Lock()
			stored := b.ingress.stored[len(b.ingress.stored)-1]
			b.ingress.mu.Unlock()
			if p["message_id"] != stored.ID.String() {
				t.Errorf("message_id is %v", p["message_id"])
			}
			if e.HTTP == 429 && r.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if e.HTTP != 404 && e.HTTP != 413 {
				doc.check("post", "/v1/messages", r)
			}
		})
	}
	record = false
	refusal = message.Refuse(message.ReasonInvalidDestination, "no number")
	p := wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA")), 422, message.ReasonInvalidDestination)
	if p["message_id"] != nil || fmt.Sprint(p["errors"]) != "[map[location:body.to message:no number]]" {
		t.Errorf("%v", p)
	}
	refusal = &message.Error{Reason: message.ReasonInvalidRequest, Detail: "bad sender", Fields: []message.FieldError{{Location: "body.from", Message: "no sender"}}}
	p = wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA")), 422, message.ReasonInvalidRequest)
	if fmt.Sprint(p["errors"]) != "[map[location:body.from message:no sender]]" {
		t.Errorf("%v", p)
	}
}

// waiting is a refusal that knows when to come back.
type waiting struct{ *message.Error }

func (waiting) RetryAfter() time.Duration { return 90 * time.Second }
func (w waiting) Unwrap() error           { return w.Error }

type waitingError struct{ waiting }

func (w waitingError) Error() string { return w.waiting.Error.Error() }

func TestFaultsOfIngress(t *testing.T) {
	var fault error
	b := setup(t, func(b *bundle) {
		b.ingress.refuse = func(ingress.Request) (error, bool) { return fault, false }
	})
	for _, c := range []struct {
		fault  error
		status int
		code   message.Reason
		retry  string
	}{
		{message.Refuse(message.ReasonUnavailable, "no journal"), 503, message.ReasonUnavailable, "5"},
		{errors.New("password=hunter2 on db-7"), 500, message.ReasonInternal, ""},
		{message.Because(message.ReasonInternal, errors.New("disk"), "hunter2"), 500, message.ReasonInternal, ""},
		{message.Refuse(message.ReasonExpired, "hunter2"), 500, message.ReasonInternal, ""},
		{message.Refuse(message.ReasonIdempotencyInProgress, "runs"), 409, message.ReasonIdempotencyInProgress, "1"},
		{message.Refuse(message.ReasonRateLimitExceeded, "too fast"), 429, message.ReasonRateLimitExceeded, "1"},
		{waitingError{waiting{message.Refuse(message.ReasonQuotaExceeded, "spent")}}, 429, message.ReasonQuotaExceeded, "90"},
	} {
		fault = c.fault
		r := b.do("POST", "/v1/messages", parcel, as("keyA"))
		wantProblem(t, r, c.status, c.code)
		if got := r.Header.Get("Retry-After"); got != c.retry {
			t.Errorf("%v: Retry-After %q, want %q", c.fault, got, c.retry)
		}
		if strings.Contains(string(r.body), "hunter2") {
			t.Errorf("the answer tells what belongs in the log: %s", r.body)
		}
		if c.status >= 500 && !strings.Contains(b.log.String(), r.Header.Get("X-Request-Id")) {
			t.Errorf("%v: not in the log", c.fault)
		}
	}
}

func TestDryRun(t *testing.T) {
	var refusal error
	record := true
	b := setup(t, func(b *bundle) {
		b.ingress.refuse = func(ingress.Request) (error, bool) { return refusal, record }
	})
	dry := strings.Replace(parcel, "{", `{"dry_run":true,`, 1)
	for _, c := range []struct {
		refusal error
		record  bool
		want    string
	}{
		{nil, true, `{"allowed":true,"error":null,"trail":[{"rule":"sender_owned","result":"pass"},{"rule":"route","result":"pass"}],"encoding":"gsm7","segments":1,"price":{"amount":"0.0045","currency":"USD","estimated":true},"route":{"id":7,"candidates":2},"hold":null,"leaves_at":"2026-11-21T20:15:04.310Z"}`},
		{message.Refuse(message.ReasonOptedOut, "stopped"), true, `{"allowed":false,"error":{"code":"opted_out","class":"permanent","detail":"stopped"},"trail":[{"rule":"sender_owned","result":"pass"},{"rule":"route","result":"pass"}],"encoding":"gsm7","segments":1,"price":{"amount":"0.0045","currency":"USD","estimated":true},"route":null,"hold":null,"leaves_at":null}`},
		{message.Refuse(message.ReasonInvalidDestination, "no number"), false, `{"allowed":false,"error":{"code":"invalid_destination","class":"permanent","detail":"no number"},"trail":[{"rule":"sender_owned","result":"pass"},{"rule":"route","result":"pass"}],"encoding":null,"segments":null,"price":null,"route":null,"hold":null,"leaves_at":null}`},
	} {
		refusal, record = c.refusal, c.record
		r := b.do("POST", "/v1/messages", dry, as("keyA"), header("Idempotency-Key", "dry"))
		if r.StatusCode != http.StatusOK || string(r.body) != c.want {
			t.Errorf("%v: %d\n%s\nwant\n%s", c.refusal, r.StatusCode, r.body, c.want)
		}
		document(t).check("post", "/v1/messages", r)
		if !b.ingress.last(t).DryRun || b.ingress.last(t).Key != nil {
			t.Errorf("request %+v", b.ingress.last(t))
		}
	}
	refusal, record = message.Refuse(message.ReasonUnavailable, "no journal"), false
	wantProblem(t, b.do("POST", "/v1/messages", dry, as("keyA")), 503, message.ReasonUnavailable)
	if _, stored := b.ingress.count(); stored != 0 {
		t.Errorf("%d messages were stored", stored)
	}
}

// A dry run says when the message would leave.
func TestDryRunLater(t *testing.T) {
	b := setup(t, nil)
	dry := strings.Replace(parcel, "{", `{"dry_run":true,`, 1)
	at := b.ingress.now().Add(time.Hour)
	for _, c := range []struct {
		waits message.Hold
		want  string
	}{
		{message.Hold{Rule: "quiet_hours", Until: at, Detail: "opens at 8"}, `"hold":{"rule":"quiet_hours","until":"` + stamp(at) + `","detail":"opens at 8"},"leaves_at":"` + stamp(at) + `"}`},
		{message.Hold{Rule: "content", Detail: "somebody looks at it"}, `"hold":{"rule":"content","until":null,"detail":"somebody looks at it"},"leaves_at":null}`},
	} {
		b.ingress.waits = &c.waits
		r := b.do("POST", "/v1/messages", dry, as("keyA"))
		if r.StatusCode != http.StatusOK || !strings.HasSuffix(string(r.body), c.want) {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		document(t).check("post", "/v1/messages", r)
	}
}

func TestSlowJournalIsAnswered(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.ingress.hold = make(chan struct{})
		b.server.AnswerTimeout = time.Millisecond
	})
	p := wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA")), 503, message.ReasonUnavailable)
	if !strings.Contains(p["detail"].(string), "Idempotency-Key") {
		t.Errorf("detail %v", p["detail"])
	}
}

// A client that hangs up does not end the acceptance of its message.
func TestAcceptanceDoesNotHangOnTheClient(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.ingress.hold = make(chan struct{})
		b.ingress.entered = make(chan struct{}, 1)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/messages", strings.NewReader(parcel))
	as("keyA")(r)
	w := httptest.NewRecorder()
	var wg sync.WaitGroup
	wg.Go(func() { b.server.Handler().ServeHTTP(w, r) })
	<-b.ingress.entered
	close(b.ingress.hold)
	wg.Wait()
	if _, stored := b.ingress.count(); stored != 1 || w.Code != 202 {
		t.Errorf("%d, %d messages are stored", w.Code, stored)
	}
}

func TestIdempotentSend(t *testing.T) {
	var refusal error
	b := setup(t, func(b *bundle) {
		b.ingress.refuse = func(ingress.Request) (error, bool) { return refusal, true }
	})
	key := func(k string) func(*http.Request) { return header("Idempotency-Key", k) }
	first := b.do("POST", "/v1/messages", parcel, as("keyA"), key("order-8812:a_b.c"))
	again := b.do("POST", "/v1/messages", parcel, as("keyA"), key("order-8812:a_b.c"))
	for i, r := range []*reply{first, again} {
		if r.StatusCode != 202 || string(r.body) != string(first.body) || r.Header.Get("Location") != first.Header.Get("Location") ||
			r.Header.Get("Content-Type") != jsonType || (r.Header.Get("Idempotency-Replayed") == "true") != (i == 1) {
			t.Errorf("answer %d: %d %v %s", i, r.StatusCode, r.Header, r.body)
		}
		document(t).check("post", "/v1/messages", r)
	}
	if got := string(first.body); !strings.Contains(got, `"status":"accepted"`) {
		t.Errorf("answer %s", got)
	}
	wantProblem(t, b.do("POST", "/v1/messages", parcel+" ", as("keyA"), key("order-8812:a_b.c")), 422, message.ReasonIdempotencyMismatch)
	wantProblem(t, b.do("POST", "/v1/messages", `{`, as("keyA"), key("order-8812:a_b.c")), 422, message.ReasonIdempotencyMismatch)
	if r := b.do("POST", "/v1/messages", parcel, as("keyB"), key("order-8812:a_b.c")); r.StatusCode != 202 || r.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("another account got %d, replayed %q", r.StatusCode, r.Header.Get("Idempotency-Replayed"))
	}

	refusal = message.Refuse(message.ReasonOptedOut, "stopped")
	refused := b.do("POST", "/v1/messages", parcel, as("keyA"), key("refused"))
	refusal = nil
	replayed := b.do("POST", "/v1/messages", parcel, as("keyA"), key("refused"))
	if string(refused.body) != string(replayed.body) || replayed.StatusCode != 422 || replayed.Header.Get("Content-Type") != problemType ||
		replayed.Header.Get("Idempotency-Replayed") != "true" || replayed.Header.Get("Location") != "" {
		t.Errorf("%s, then %d %v %s", refused.body, replayed.StatusCode, replayed.Header, replayed.body)
	}
	if _, stored := b.ingress.count(); stored != 3 {
		t.Errorf("%d messages are stored, want 3", stored)
	}
}

// What was accepted is answered again even when it would not pass any more.
func TestReplayOutlivesItsSendTime(t *testing.T) {
	b := setup(t, nil)
	body := `{"to":"+13105550117","body":"x","send_at":"2026-11-21T20:20:00Z"}`
	first := b.do("POST", "/v1/messages", body, as("keyA"), header("Idempotency-Key", "later"))
	b.clock.advance(time.Hour)
	again := b.do("POST", "/v1/messages", body, as("keyA"), header("Idempotency-Key", "later"))
	if again.StatusCode != 202 || string(again.body) != string(first.body) || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s", again.StatusCode, again.body)
	}
	wantProblem(t, b.do("POST", "/v1/messages", body, as("keyA"), header("Idempotency-Key", "fresh")), 422, message.ReasonInvalidSchedule)
}

// Ingress may refuse before it looks at the key, as when the account has lost
// its only number.
func TestReplayOutlivesItsSender(t *testing.T) {
	var refusal error
	b := setup(t, func(b *bundle) { b.server.Ingress = &hastyIngress{b.ingress, &refusal} })
	first := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", "k"))
	refusal = message.Refuse(message.ReasonInvalidRequest, "from is required")
	again := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", "k"))
	if again.StatusCode != 202 || string(again.body) != string(first.body) {
		t.Errorf("%d %s", again.StatusCode, again.body)
	}
	wantProblem(t, b.do("POST", "/v1/messages", parcel+" ", as("keyA"), header("Idempotency-Key", "k")), 422, message.ReasonIdempotencyMismatch)
	wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", "fresh")), 422, message.ReasonInvalidRequest)
	refusal = message.Refuse(message.ReasonUnavailable, "no journal")
	wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", "k")), 503, message.ReasonUnavailable)
}

// hastyIngress refuses before anything else.
type hastyIngress struct {
	Ingress
	refusal *error
}

func (h *hastyIngress) Accept(ctx context.Context, r ingress.Request) (ingress.Outcome, error) {
	if *h.refusal != nil {
		return ingress.Outcome{}, *h.refusal
	}
	return h.Ingress.Accept(ctx, r)
}

func TestIdempotencyKeyMustBeReadable(t *testing.T) {
	b := setup(t, nil)
	for _, k := range []string{"", "a b", "ü", "a/b", `"quoted"`, strings.Repeat("x", 256)} {
		r := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", k))
		p := wantProblem(t, r, 422, message.ReasonInvalidRequest)
		if !strings.Contains(fmt.Sprint(p["errors"]), "header.Idempotency-Key") {
			t.Errorf("%q: %v", k, p["errors"])
		}
	}
	wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA"), func(r *http.Request) {
		r.Header["Idempotency-Key"] = []string{"a", "b"}
	}), 422, message.ReasonInvalidRequest)
	if calls, _ := b.ingress.count(); calls != 0 {
		t.Errorf("ingress was called %d times", calls)
	}
	if r := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", strings.Repeat("x", 255))); r.StatusCode != 202 {
		t.Errorf("a key of 255: %d", r.StatusCode)
	}
}
