package twilio

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const callback = "https://gw.example.com/status/v?a=1"

func TestSubmit(t *testing.T) {
	s := message.Submission{From: "+12025550143", To: "+13105550117", Text: "café & more"}
	base := url.Values{"From": {"+12025550143"}, "To": {"+13105550117"}, "Body": {"café & more"}, "StatusCallback": {callback + "#rc=3&rp=all"}}
	with := func(name string, values ...string) url.Values {
		out := url.Values{name: values}
		for k, v := range base {
			if k != name {
				out[k] = v
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		change func(*message.Submission, *snapshot.Vendor)
		want   url.Values
	}{
		"plain":   {func(*message.Submission, *snapshot.Vendor) {}, base},
		"service": {func(_ *message.Submission, v *snapshot.Vendor) { v.MessagingProfileID = "MG1" }, with("MessagingServiceSid", "MG1")},
		"media": {func(s *message.Submission, _ *snapshot.Vendor) {
			s.Media = []message.MediaLink{{URL: "https://m.example.com/1"}, {URL: "https://m.example.com/2"}}
		}, with("MediaUrl", "https://m.example.com/1", "https://m.example.com/2")},
		"longer than Twilio waits": {func(s *message.Submission, _ *snapshot.Vendor) { s.ExpiresAt = time.Now().Add(11 * time.Hour) }, base},
		"nearly expired":           {func(s *message.Submission, _ *snapshot.Vendor) { s.ExpiresAt = time.Now().Add(time.Millisecond) }, with("ValidityPeriod", "1")},
	} {
		sub, v := s, &snapshot.Vendor{}
		c.change(&sub, v)
		r, err := submit(v, sub, callback)
		if err != nil || !reflect.DeepEqual(r.Form, c.want) || r.JSON != nil || !strings.Contains(r.Path, "{account}") {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	s.Text, s.Media = "", []message.MediaLink{{URL: "https://m.example.com/1"}}
	if r, err := submit(&snapshot.Vendor{}, s, callback); err != nil || r.Form.Has("Body") {
		t.Errorf("without a text: %v, %v", r, err)
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
	v := &snapshot.Vendor{ID: message.NewID(), CodeMap: map[string]message.Reason{"30008": message.ReasonFiltered}}
	for _, c := range []struct {
		word, code string
		state      message.ReceiptState
		reason     message.Reason
	}{
		{"queued", "", message.ReceiptAccepted, ""},
		{"sending", "", message.ReceiptAccepted, ""},
		{"sent", "", message.ReceiptEnroute, ""},
		{"delivered", "", message.ReceiptDelivered, ""},
		{"read", "", message.ReceiptDelivered, ""},
		{"undelivered", "30005", message.ReceiptUndeliverable, message.ReasonUnknownSubscriber},
		{"undelivered", "30034", message.ReceiptUndeliverable, message.ReasonUnregisteredCampaign},
		{"undelivered", "30027", message.ReceiptUndeliverable, message.ReasonDailyCapReached},
		{"undelivered", "30008", message.ReceiptUndeliverable, message.ReasonFiltered}, // by the row's map
		{"undelivered", "39999", message.ReceiptUndeliverable, message.ReasonVendorRejected},
		{"undelivered", "20003", message.ReceiptUndeliverable, message.ReasonVendorRejected},
		{"undelivered", "30036", message.ReceiptExpired, message.ReasonExpired},
		{"failed", "30007", message.ReceiptRejected, message.ReasonFiltered},
		{"failed", "", message.ReceiptRejected, message.ReasonVendorRejected},
		{"canceled", "", message.ReceiptDeleted, message.ReasonVendorRejected},
		{"partially_delivered", "", message.ReceiptUnknown, ""},
	} {
		body := url.Values{"MessageSid": {"SM0AB"}, "MessageStatus": {c.word}, "From": {"+12025550143"}, "To": {"+13105550117"}}
		if c.code != "" {
			body.Set("ErrorCode", c.code)
		}
		got, err := hook(t, v, body.Encode())
		if err != nil || len(got.Receipts) != 1 || len(got.Inbound) != 0 {
			t.Fatalf("%s: %+v, %v", c.word, got, err)
		}
		r := got.Receipts[0]
		want := message.Receipt{ID: r.ID, VendorID: v.ID, VendorMessageID: "sm0ab", State: c.state, Err: c.code, Reason: c.reason,
			Source: "+13105550117", Destination: "+12025550143", DoneAt: at, ReceivedAt: at, Raw: "status:" + c.word}
		if c.code != "" {
			want.Raw += " code:" + c.code
		}
		if r != want || r.ID == (message.ID{}) {
			t.Errorf("%s %s: %+v", c.word, c.code, r)
		}
	}
}

func TestInbound(t *testing.T) {
	v := &snapshot.Vendor{ID: message.NewID()}
	body := url.Values{"MessageSid": {"MM1"}, "SmsStatus": {"received"}, "From": {"+13105550117"}, "To": {"+12025550143"}, "Body": {"line\nçay ş"}, "NumMedia": {"2"},
		"MediaUrl0": {"https://api.twilio.com/1"}, "MediaContentType0": {"image/jpeg"}, "MediaUrl1": {"https://api.twilio.com/2"}, "MediaContentType1": {"text/vcard"}}
	got, err := hook(t, v, body.Encode())
	want := []message.InboundMessage{{
		VendorID: v.ID, VendorRef: "MM1", From: "+13105550117", To: "+12025550143", Kind: message.MMS, Text: "line\nçay ş", Encoding: message.EncodingUCS2, ReceivedAt: at,
		Media: []message.InboundMedia{{URL: "https://api.twilio.com/1", ContentType: "image/jpeg"}, {URL: "https://api.twilio.com/2", ContentType: "text/vcard"}},
	}}
	if err != nil || len(got.Receipts) != 0 || !reflect.DeepEqual(got.Inbound, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Signed and of no use, or signed and odd.
func TestOther(t *testing.T) {
	for body, ok := range map[string]bool{
		"": true, "CallSid=CA1&CallStatus=completed": true, "MessageSid=SM1": true, "MessageSid=SM1&MessageStatus=receiving": true,
		"MessageSid=SM1&Body=hi": false, "MessageSid=SM1&Body=hi&From=1": false, "MessageSid=%00&MessageStatus=sent": false, "%zz": false,
	} {
		got, err := hook(t, &snapshot.Vendor{}, body)
		if (err == nil) != ok || len(got.Receipts)+len(got.Inbound) > 0 {
			t.Errorf("%q: %+v, %v", body, got, err)
		}
	}
}

// Every code means something that the catalogue knows.
func TestCodes(t *testing.T) {
	for code, row := range Spec().Codes {
		if !row.Reason.Known() || len(code) != 5 || row.Unclear {
			t.Errorf("%s: %+v", code, row)
		}
	}
}

// What is said of files decides whether smaller ones are tried, or a text with links.
func TestCodesOfFiles(t *testing.T) {
	for code, want := range map[string]message.Reason{
		"11751": message.ReasonMediaRejected, "12300": message.ReasonMediaRejected, "21620": message.ReasonMediaUnavailable, "21623": message.ReasonMediaRejected, "30019": message.ReasonMediaRejected,
	} {
		if row := Spec().Codes[code]; row.Reason != want || row.Again || row.Pause {
			t.Errorf("%s: %+v, want %s", code, row, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("MessageSid=SM1&MessageStatus=delivered&From=1&To=2")
	f.Add("MessageSid=SM1&Body=%ff%00&NumMedia=9999&MediaUrl0=x&From=1&To=2")
	spec := Spec()
	f.Fuzz(func(t *testing.T, body string) {
		_, _ = spec.Read(&snapshot.Vendor{}, vendors.HookRequest{URL: &url.URL{}, Body: []byte(body)})
	})
}
