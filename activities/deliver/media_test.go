package deliver

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// mms makes the message one with two files at the vendor, of which one was fetched.
func (b *bundle) mms() {
	b.message.Kind, b.message.Media = message.MMS, []message.InboundMedia{{URL: "https://vendor.example/secret/1", ContentType: "image/heic"}, {URL: "https://vendor.example/secret/2", ContentType: "video/mp4"}}
	b.files = []message.Media{{Position: 1, File: message.MediaFile{ID: message.NewID(), ContentType: "image/png", Size: 70, SHA256: [32]byte{0xab}}}}
}

// A message whose files are not here is planned once they were fetched, as far as they
// could be.
func TestPlanWaitsForFiles(t *testing.T) {
	b := setup(t)
	b.goes("", message.Place{Method: message.InboundWebhook, URL: "https://shop.example/in"})
	b.mms()
	b.message.Group = []message.Address{"+12025550143", "+13105550118"}
	p, err := b.Activities.PlanInbound(t.Context(), Input{MessageID: b.message.ID})
	if err != nil || !p.Fetch || len(p.Destinations) > 0 || b.plan != nil {
		t.Fatalf("%+v, %v; written %+v", p, err, b.plan)
	}
	p, err = b.Activities.PlanInbound(t.Context(), Input{MessageID: b.message.ID, Fetched: true})
	if err != nil || p.Fetch || len(p.Destinations) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	var event struct {
		Data struct {
			Group []string `json:"group_recipients"`
			Media []struct {
				URL         *string
				ContentType string `json:"content_type"`
				SizeBytes   int64  `json:"size_bytes"`
				SHA256      *string
				ExpiresAt   *time.Time `json:"expires_at"`
			}
		}
	}
	payload := b.plan[0].Notifications[0].Payload
	if err := json.Unmarshal([]byte(payload), &event); err != nil {
		t.Fatal(err)
	}
	if got := event.Data.Group; !slices.Equal(got, []string{"+12025550143", "+13105550118"}) {
		t.Errorf("sent to %v", got)
	}
	m := event.Data.Media
	if len(m) != 2 || m[0].URL == nil || *m[0].URL != "https://gw.example/media/image/png" || m[0].ContentType != "image/png" || m[0].SizeBytes != 70 || m[0].SHA256 == nil ||
		m[1].URL != nil || m[1].ContentType != "video/mp4" || strings.Contains(payload, "vendor.example") {
		t.Errorf("%s", payload)
	}
	// As long as the text is kept, which is some hours at least.
	if at := m[0].ExpiresAt; at == nil || !at.Equal(b.message.ReceivedAt.Add(message.TextLeast).Truncate(time.Millisecond)) || m[1].ExpiresAt != nil {
		t.Errorf("the URLs are good until %v and %v", m[0].ExpiresAt, m[1].ExpiresAt)
	}
	b = setup(t)
	b.goes("", message.Place{Method: message.InboundWebhook, URL: "https://shop.example/in"})
	b.mms()
	b.config.Accounts[b.message.AccountID].ContentRetentionDays = 30
	if _, err := b.Activities.PlanInbound(t.Context(), Input{MessageID: b.message.ID, Fetched: true}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b.plan[0].Notifications[0].Payload), &event); err != nil {
		t.Fatal(err)
	}
	if at := event.Data.Media[0].ExpiresAt; at == nil || !at.Equal(b.message.ReceivedAt.Add(30*24*time.Hour).Truncate(time.Millisecond)) {
		t.Errorf("with 30 days the URL is good until %v", at)
	}
}

func TestPlanWithoutFiles(t *testing.T) {
	b := setup(t)
	if p, err := b.Activities.PlanInbound(t.Context(), Input{MessageID: b.message.ID}); err != nil || p.Fetch {
		t.Errorf("an SMS: %+v, %v", p, err)
	}
	b = setup(t)
	b.mms()
	b.files = append(b.files, message.Media{Position: 2, File: message.MediaFile{ID: message.NewID(), ContentType: "video/mp4"}})
	if p, err := b.Activities.PlanInbound(t.Context(), Input{MessageID: b.message.ID}); err != nil || p.Fetch {
		t.Errorf("with all files here: %+v, %v", p, err)
	}
	b = setup(t)
	b.mms()
	b.message.Redacted = true
	if p, err := b.Activities.PlanInbound(t.Context(), Input{MessageID: b.message.ID}); err != nil || p.Fetch {
		t.Errorf("of a text that is gone: %+v, %v", p, err)
	}
}

func TestFlatEventHasLinks(t *testing.T) {
	b := setup(t)
	b.goes("", message.Place{Method: message.InboundWebhook, URL: "https://shop.example/in", Format: "flat"})
	b.mms()
	if _, err := b.Activities.PlanInbound(t.Context(), Input{MessageID: b.message.ID, Fetched: true}); err != nil {
		t.Fatal(err)
	}
	if payload := b.plan[0].Notifications[0].Payload; !strings.Contains(payload, `"media_urls":["https://gw.example/media/image/png"]`) {
		t.Errorf("%s", payload)
	}
}
