package telnyx

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const callback = "https://gw.example.com/status/v?a=1"

func TestSubmit(t *testing.T) {
	s := message.Submission{From: "+12025550143", To: "+13105550117", Text: "words", Encoding: message.EncodingGSM7, Subject: "about"}
	both := func(extra string) string {
		return `{"from":"+12025550143","to":"+13105550117",` + extra + `"webhook_url":"` + callback + `","webhook_failover_url":"` + callback + `","use_profile_webhooks":false}`
	}
	for name, c := range map[string]struct {
		change func(*message.Submission, *snapshot.Vendor)
		want   string
	}{
		"plain":   {func(*message.Submission, *snapshot.Vendor) {}, both(`"text":"words","type":"SMS","encoding":"gsm7",`)},
		"UCS-2":   {func(s *message.Submission, _ *snapshot.Vendor) { s.Encoding = message.EncodingUCS2 }, both(`"text":"words","type":"SMS","encoding":"ucs2",`)},
		"profile": {func(_ *message.Submission, v *snapshot.Vendor) { v.MessagingProfileID = "p1" }, both(`"text":"words","messaging_profile_id":"p1","type":"SMS","encoding":"gsm7",`)},
		"media": {func(s *message.Submission, _ *snapshot.Vendor) {
			s.Text, s.Media = "", []message.MediaLink{{URL: "https://m.example.com/1"}}
		}, both(`"subject":"about","media_urls":["https://m.example.com/1"],"type":"MMS",`)},
	} {
		sub, v := s, &snapshot.Vendor{}
		c.change(&sub, v)
		r, err := submit(v, sub, callback)
		if err != nil || r.Form != nil {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		body, err := json.Marshal(r.JSON)
		if err != nil {
			t.Fatal(err)
		}
		var got, want map[string]any
		if json.Unmarshal(body, &got) != nil || json.Unmarshal([]byte(c.want), &want) != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// hook reads unsigned bodies: the signature is tested where it is checked.
func hook(t *testing.T, v *snapshot.Vendor, body string) (vendors.HookEvents, error) {
	t.Helper()
	spec := Spec()
	spec.Signature = httpvendor.Signature{Key: func(string) error { return nil }, Signed: func([]string, vendors.HookRequest) bool { return true }}
	v.SigningKeys = []string{"key"}
	h, err := httpvendor.Kind(spec, httpvendor.Config{}).Hook(v)
	if err != nil {
		t.Fatal(err)
	}
	return h.Read(vendors.HookRequest{Method: http.MethodPost, URL: &url.URL{Path: "/status/v"}, Body: []byte(body), Received: at})
}

var at = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func TestStatuses(t *testing.T) {
	v := &snapshot.Vendor{ID: message.NewID()}
	for _, c := range []struct {
		event, word, code string // the code as it stands in the JSON
		state             message.ReceiptState
		err               string
		reason            message.Reason
	}{
		{"message.sent", "sent", ``, message.ReceiptEnroute, "", ""},
		{"message.sent", "queued", ``, message.ReceiptAccepted, "", ""},
		{"message.finalized", "delivered", ``, message.ReceiptDelivered, "", ""},
		{"message.finalized", "delivery_failed", `"40001"`, message.ReceiptUndeliverable, "40001", message.ReasonUnknownSubscriber},
		{"message.finalized", "delivery_failed", `40300`, message.ReceiptUndeliverable, "40300", message.ReasonOptedOut},
		{"message.finalized", "sending_failed", `"40010"`, message.ReceiptRejected, "40010", message.ReasonUnregisteredCampaign},
		{"message.finalized", "sending_failed", `"10009"`, message.ReceiptRejected, "10009", message.ReasonVendorRejected},
		{"message.finalized", "sending_failed", `null`, message.ReceiptRejected, "", message.ReasonVendorRejected},
		{"message.finalized", "delivery_failed", `"40014"`, message.ReceiptExpired, "40014", message.ReasonExpired},
		{"message.finalized", "expired", ``, message.ReceiptExpired, "", message.ReasonExpired},
		{"message.finalized", "delivery_unconfirmed", ``, message.ReceiptUnknown, "", ""},
		{"message.finalized", "of_tomorrow", ``, message.ReceiptUnknown, "", ""},
	} {
		errs, done := "[]", "null"
		if c.code != "" {
			errs, done = `[{"code":`+c.code+`,"title":"x"}]`, `"2026-11-22T08:59:58.5Z"`
		}
		got, err := hook(t, v, fmt.Sprintf(`{"data":{"event_type":%q,"id":"e1","payload":{"id":"4038-AB","from":{"phone_number":"+12025550143"},
			"to":[{"phone_number":"+13105550117","status":%q}],"errors":%s,"completed_at":%s,"media":[],"text":"words"}},"meta":{}}`, c.event, c.word, errs, done))
		if err != nil || len(got.Receipts) != 1 || len(got.Inbound) != 0 {
			t.Fatalf("%s: %+v, %v", c.word, got, err)
		}
		r := got.Receipts[0]
		want := message.Receipt{ID: r.ID, VendorID: v.ID, VendorMessageID: "4038-ab", State: c.state, Err: c.err, Reason: c.reason,
			Source: "+13105550117", Destination: "+12025550143", DoneAt: at, ReceivedAt: at, Raw: "status:" + c.word}
		if c.code != "" {
			want.DoneAt = at.Add(-1500 * time.Millisecond)
		}
		if c.err != "" {
			want.Raw += " code:" + c.err
		}
		if r != want {
			t.Errorf("%s %s: %+v", c.word, c.code, r)
		}
	}
}

func TestInbound(t *testing.T) {
	v := &snapshot.Vendor{ID: message.NewID()}
	got, err := hook(t, v, `{"data":{"event_type":"message.received","id":"e1","payload":{"id":"m1","from":{"phone_number":"+13105550117"},"subject":"about",
		"to":[{"phone_number":"+12025550199","status":"delivered"}],"cc":[{"phone_number":"+12025550143","status":"webhook_delivered"}],"text":"hi",
		"media":[{"url":"https://media.telnyx.com/1","content_type":"image/png","size":12,"hash_sha256":"ab"}]}}}`)
	want := []message.InboundMessage{{
		VendorID: v.ID, VendorRef: "m1", From: "+13105550117", To: "+12025550143", Kind: message.MMS, Subject: "about", Text: "hi", Encoding: message.EncodingGSM7, ReceivedAt: at,
		Group: []string{"+12025550199", "+12025550143"},
		Media: []message.InboundMedia{{URL: "https://media.telnyx.com/1", ContentType: "image/png", Size: 12, SHA256: "ab"}},
	}}
	if err != nil || len(got.Receipts) != 0 || !reflect.DeepEqual(got.Inbound, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Signed and of no use, or signed and odd.
func TestOther(t *testing.T) {
	for body, ok := range map[string]bool{
		`{}`: true, `{"data":{"event_type":"call.initiated","payload":{"to":"+1310"}}}`: true, `{"data":{"event_type":"message.received","payload":[]}}`: false, `{"data":{"event_type":"10dlc.campaign.update"}}`: true,
		``: false, `[]`: false, `{"data":{"event_type":"message.sent","payload":{"id":"m"}}}`: false,
		`{"data":{"event_type":"message.finalized","payload":{"to":[{"status":"delivered"}]}}}`: false,
		`{"data":{"event_type":"message.received","payload":{"id":"m"}}}`:                       false,
	} {
		got, err := hook(t, &snapshot.Vendor{}, body)
		if (err == nil) != ok || len(got.Receipts)+len(got.Inbound) > 0 {
			t.Errorf("%q: %+v, %v", body, got, err)
		}
	}
}

// Every code means something that the catalogue knows, and the spending limit, which
// comes with the status of a rate, ends the try.
func TestCodes(t *testing.T) {
	for code, row := range Spec().Codes {
		if !row.Reason.Known() || len(code) != 5 || row.Unclear {
			t.Errorf("%s: %+v", code, row)
		}
	}
	if row := Spec().Codes["40333"]; row.Again || row.Pause {
		t.Errorf("40333: %+v", row)
	}
}

// What is said of files decides whether smaller ones are tried, or a text with links.
func TestCodesOfFiles(t *testing.T) {
	for code, want := range map[string]message.Reason{
		"40302": message.ReasonMediaRejected, "40316": message.ReasonMediaRejected, "40317": message.ReasonMediaRejected,
	} {
		if row := Spec().Codes[code]; row.Reason != want || row.Again || row.Pause {
			t.Errorf("%s: %+v, want %s", code, row, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"data":{"event_type":"message.received","payload":{"id":"m","to":[{}],"media":[{}]}}}`)
	f.Add(`{"data":{"event_type":"message.finalized","payload":{"id":"m","to":[{}],"errors":[{"code":1}]}}}`)
	spec := Spec()
	f.Fuzz(func(t *testing.T, body string) {
		_, _ = spec.Read(&snapshot.Vendor{}, vendors.HookRequest{URL: &url.URL{}, Body: []byte(body)})
	})
}
