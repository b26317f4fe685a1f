package notification

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestOfCap(t *testing.T) {
	t.Parallel()
	other, campaign := message.NewID(), message.NewID()
	s := endpoints(
		snapshot.Endpoint{URL: "https://shop.example/all", FailoverURL: "https://shop.example/spare"},
		snapshot.Endpoint{URL: "https://shop.example/flat", Format: "flat", EventTypes: []string{CapReached}},
		snapshot.Endpoint{URL: "https://shop.example/messages", EventTypes: []string{"message.delivered"}},
	)
	s.Endpoints[other] = []snapshot.Endpoint{{ID: message.NewID(), AccountID: other, URL: "https://other.example"}}
	s.Campaigns = map[message.ID]*snapshot.Campaign{campaign: {ID: campaign, AccountID: account, CampaignID: "C8X2KQ1"}}
	s.Brands = map[message.ID]*snapshot.Brand{}
	for i, of := range []message.ID{account, account, other, other} {
		id := message.NewID()
		s.Brands[id] = &snapshot.Brand{ID: id, AccountID: of, BrandID: []string{"B1", "B2", "B3", "B4"}[i], CapKey: []string{"x", "x", "x", "y"}[i], Status: "approved"}
	}
	// A draft with the tax id of the company: nobody has checked whose that is.
	drafter, draft := message.NewID(), message.NewID()
	s.Endpoints[drafter] = []snapshot.Endpoint{{ID: message.NewID(), AccountID: drafter, URL: "https://drafter.example"}}
	s.Brands[draft] = &snapshot.Brand{ID: draft, AccountID: drafter, CapKey: "x", Status: "unregistered"}
	resets := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		mark pace.Mark
		want map[string]string // URL to body
	}{
		{"a campaign's cap", pace.Mark{Key: pace.CampaignDay(campaign), Percent: 80, Day: "2026-11-22", Used: 400, Cap: 500, ResetsAt: resets}, map[string]string{
			"https://shop.example/all": `{"type":"campaign.cap_warning","timestamp":"2026-11-21T20:15:09.412Z","data":{"campaign_id":"C8X2KQ1","brand_id":null,"day":"2026-11-22","percent":80,"used":400,"daily_cap":500,"closed_by_carrier":false,"resets_at":"2026-11-23T08:00:00.000Z"}}`,
		}},
		{"a brand's cap, that two accounts share", pace.Mark{Key: pace.BrandDay("x"), Percent: 100, Day: "2026-11-22", Used: 7, Closed: true, ResetsAt: resets}, map[string]string{
			"https://shop.example/all":  `{"type":"campaign.cap_reached","timestamp":"2026-11-21T20:15:09.412Z","data":{"campaign_id":null,"brand_id":"B1","day":"2026-11-22","percent":100,"used":7,"daily_cap":null,"closed_by_carrier":true,"resets_at":"2026-11-23T08:00:00.000Z"}}`,
			"https://shop.example/flat": `{"campaign_id":null,"brand_id":"B1","day":"2026-11-22","percent":100,"used":7,"daily_cap":null,"closed_by_carrier":true,"resets_at":"2026-11-23T08:00:00.000Z"}`,
			"https://other.example":     `{"type":"campaign.cap_reached","timestamp":"2026-11-21T20:15:09.412Z","data":{"campaign_id":null,"brand_id":"B3","day":"2026-11-22","percent":100,"used":7,"daily_cap":null,"closed_by_carrier":true,"resets_at":"2026-11-23T08:00:00.000Z"}}`,
		}},
		{"nobody's", pace.Mark{Key: pace.BrandDay("z"), Percent: 100, ResetsAt: resets}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, err := OfCap(s, c.mark, at)
			var list []message.Notification
			for _, e := range made {
				list = append(list, e.Deliveries...)
				if e.AccountID == (message.ID{}) || !strings.HasPrefix(e.Payload, `{"type":"`+e.Type+`","timestamp":"2026-11-21T20:15:09.412Z","data":{"campaign_id":`) {
					t.Errorf("%+v", e)
				}
			}
			if err != nil || len(list) != len(c.want) {
				t.Fatalf("%+v, %v", list, err)
			}
			events := map[message.ID]message.ID{}
			for _, n := range list {
				if n.Payload != c.want[n.URL] {
					t.Errorf("%s:\n%s\nwant\n%s", n.URL, n.Payload, c.want[n.URL])
				}
				if !strings.Contains(n.Payload, n.Type) && n.URL != "https://shop.example/flat" || n.EndpointID == (message.ID{}) || n.MessageID != (message.ID{}) {
					t.Errorf("%+v", n)
				}
				if e, seen := events[n.AccountID]; seen && e != n.EventID {
					t.Error("one event has two ids")
				}
				events[n.AccountID] = n.EventID
			}
		})
	}
}
