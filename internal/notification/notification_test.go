package notification

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

var (
	account = message.NewID()
	at      = time.Date(2026, 11, 21, 21, 15, 9, 412_345_678, time.FixedZone("", 3600))
)

// delivered is the message of the documentation's example.
func delivered() *message.Message {
	id, err := message.ParseID("01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21")
	if err != nil {
		panic(err)
	}
	return &message.Message{ID: id, AccountID: account, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusDelivered,
		From: "+12025550143", To: "+13105550117", Body: "Your parcel is on its way", Segments: 1, ClientReference: "order-8812",
		Metadata: map[string]string{"shop": "7"}, Price: message.Price{Amount: 4500, Currency: "USD"},
		Receipt: &message.ReceiptSummary{Stat: "DELIVRD", Err: "000", At: time.Date(2026, 11, 21, 20, 15, 9, 0, time.UTC)},
		Vendor:  "north", VendorID: message.NewID(), TraceParent: "00-abc", WebhookURL: "https://shop.example/hooks/sms?token=s3cr3t"}
}

func endpoints(list ...snapshot.Endpoint) *snapshot.Snapshot {
	for i := range list {
		list[i].ID, list[i].AccountID, list[i].Secret = message.NewID(), account, "whsec_s3cr3t"
	}
	return &snapshot.Snapshot{Endpoints: map[message.ID][]snapshot.Endpoint{account: list}}
}

func of(t *testing.T, s *snapshot.Snapshot, m *message.Message, late bool) []message.Notification {
	t.Helper()
	list, err := Of(s, m, late)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The body of the documentation, byte for byte once the journal has put in the
// number.
func TestDocumentedBody(t *testing.T) {
	t.Parallel()
	const want = `{"type":"message.delivered","timestamp":"2026-11-21T20:15:09.412Z","data":{"message_id":"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21","sequence":7,"direction":"outbound","type":"sms","status":"delivered","from":"+12025550143","to":"+13105550117",` +
		`"segments":1,"client_reference":"order-8812","metadata":{"shop":"7"},"batch_id":null,"error":null,"receipt":{"stat":"DELIVRD","err":"000","at":"2026-11-21T20:15:09.000Z"},"price":{"amount":"0.0045","currency":"USD","estimated":false},"possible_duplicate":false,"late":false}}`
	n := of(t, endpoints(), delivered(), false)
	if len(n) != 1 {
		t.Fatalf("%d notifications", len(n))
	}
	if got := message.Filled(n[0].Payload, 7, at); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Every status in both formats, as stored in testdata.
func TestBodies(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, status := range message.Statuses() {
		for _, format := range []string{"event", "flat"} {
			m := delivered()
			m.Status, m.WebhookURL = status, ""
			switch status {
			case message.StatusDelivered:
			case message.StatusAccepted:
				m.Receipt, m.Price.Estimated, m.ClientReference, m.Metadata = nil, true, "", nil
			case message.StatusSent, message.StatusInDoubt:
				m.Receipt, m.Price, m.DuplicatePoss = nil, message.Price{}, true
			default:
				m.Receipt.Stat, m.Receipt.Err = "UNDELIV", "011"
				m.Error = message.Refuse(message.ReasonUnreachable, `said "<no>" & left`)
				m.BatchID = m.ID
			}
			for _, n := range of(t, endpoints(snapshot.Endpoint{Format: format}), m, status == message.StatusExpired) {
				fmt.Fprintf(&b, "%s %s %s\n", status, format, n.Payload)
				if !json.Valid([]byte(n.Payload)) || strings.Count(n.Payload, message.SequencePlaceholder) != 1 {
					t.Errorf("%s: %s", status, n.Payload)
				}
			}
		}
	}
	file := filepath.Join("testdata", "bodies.txt")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the bodies differ from %s:\n%s", file, b.String())
	}
}

// Customers are told of what the documentation lists and of nothing else.
func TestTold(t *testing.T) {
	t.Parallel()
	want := "accepted in_doubt sent delivered undelivered failed rejected expired canceled unconfirmed"
	var got []string
	for _, status := range message.Statuses() {
		m := delivered()
		m.Status, m.WebhookURL = status, ""
		list := of(t, endpoints(snapshot.Endpoint{}), m, false)
		if len(list) == 0 {
			continue
		}
		got = append(got, string(status))
		if list[0].Type != "message."+string(status) || list[0].Type != Type(status) {
			t.Errorf("%s: type %s", status, list[0].Type)
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

// A message's own URL gets its events instead of the endpoints, except the one
// that its sender has just got as an answer.
func TestOwnURL(t *testing.T) {
	t.Parallel()
	s := endpoints(snapshot.Endpoint{URL: "https://a.example"})
	m := delivered()
	m.WebhookFailover = "https://shop.example/spare"
	n := of(t, s, m, false)
	if len(n) != 1 || n[0].URL != m.WebhookURL || n[0].FailoverURL != m.WebhookFailover || n[0].EndpointID != (message.ID{}) ||
		n[0].MessageID != m.ID || n[0].AccountID != account || n[0].ID == (message.ID{}) {
		t.Errorf("%+v", n)
	}
	m.Status = message.StatusAccepted
	if n := of(t, s, m, false); len(n) != 0 {
		t.Errorf("told of acceptance: %+v", n)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	s := endpoints(
		snapshot.Endpoint{URL: "https://all.example", FailoverURL: "https://spare.example"},
		snapshot.Endpoint{URL: "https://failures.example", EventTypes: []string{"message.failed", "message.undelivered"}},
		snapshot.Endpoint{URL: "https://deliveries.example", EventTypes: []string{"message.delivered"}, Format: "flat"},
	)
	m := delivered()
	m.WebhookURL = ""
	n := of(t, s, m, true)
	if len(n) != 2 {
		t.Fatalf("%d notifications", len(n))
	}
	if n[0].URL != "https://all.example" || n[0].FailoverURL != "https://spare.example" || n[1].URL != "https://deliveries.example" || n[1].FailoverURL != "" {
		t.Errorf("%+v", n)
	}
	if n[0].ID == n[1].ID {
		t.Error("two deliveries have one id")
	}
	for i, e := range []int{0, 2} {
		if n[i].EndpointID != s.Endpoints[account][e].ID {
			t.Errorf("delivery %d is not for endpoint %d", i, e)
		}
	}
	if !strings.HasPrefix(n[0].Payload, `{"type":"message.delivered","timestamp":`) || !strings.HasPrefix(n[1].Payload, `{"message_id":`) ||
		!strings.HasSuffix(n[1].Payload, `"late":true}`) {
		t.Errorf("%s\n%s", n[0].Payload, n[1].Payload)
	}
	m.AccountID = message.NewID()
	if n := of(t, s, m, false); len(n) != 0 {
		t.Errorf("another account's endpoints: %+v", n)
	}
}

// The text, the vendor and secrets are not in the body; what a customer wrote
// cannot pass for the placeholder.
func TestBodyKeepsSecrets(t *testing.T) {
	t.Parallel()
	m := delivered()
	m.Status, m.Error = message.StatusFailed, message.Because(message.ReasonVendorUnreachable, fmt.Errorf("dial tcp 10.0.0.7: password s3cr3t"), "no link")
	m.ClientReference, m.Metadata = message.SequencePlaceholder, map[string]string{`"sequence"`: "-1", "sequence": "-1", "timestamp": "0", `"timestamp"`: "0"}
	for _, format := range []string{"event", "flat"} {
		m.WebhookURL = ""
		n := of(t, endpoints(snapshot.Endpoint{Format: format}), m, false)[0]
		for _, secret := range []string{"s3cr3t", "parcel", "north", m.VendorID.String(), "10.0.0.7", account.String(), "00-abc"} {
			if strings.Contains(n.Payload, secret) {
				t.Errorf("the body shows %q: %s", secret, n.Payload)
			}
		}
		if strings.Count(n.Payload, message.SequencePlaceholder) != 1 {
			t.Errorf("the placeholder is not there once: %s", n.Payload)
		}
		if strings.Count(n.Payload, message.TimestampPlaceholder) != map[string]int{"event": 1}[format] {
			t.Errorf("the placeholder of the time: %s", n.Payload)
		}
	}
}

// A receipt that delivers a message given up before leaves no error behind.
func TestLateDelivery(t *testing.T) {
	t.Parallel()
	m := delivered()
	m.Error = message.Refuse(message.ReasonNoReceipt, "silence")
	if n := of(t, endpoints(), m, true); !strings.Contains(n[0].Payload, `"error":null`) || !strings.Contains(n[0].Payload, `"late":true`) {
		t.Errorf("%s", n[0].Payload)
	}
}
