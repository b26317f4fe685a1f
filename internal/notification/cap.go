package notification

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

// Events of a daily cap, of a campaign or of the brand of campaigns.
const (
	CapWarning = "campaign.cap_warning" // 80 % of the day's parts are given out
	CapReached = "campaign.cap_reached" // all are, or the carrier takes no more
)

// capEvent is the body of format "event".
type capEvent struct {
	Type      string  `json:"type"`
	Timestamp string  `json:"timestamp"`
	Data      capData `json:"data"`
}

// capData is what an event says of a cap, and the whole body of format "flat".
type capData struct {
	CampaignID *string `json:"campaign_id"` // of a campaign's own cap
	BrandID    *string `json:"brand_id"`    // of a brand's
	Day        string  `json:"day"`         // in US Pacific time
	Percent    int     `json:"percent"`
	Used       int     `json:"used"`
	Cap        *int    `json:"daily_cap"` // null: not known
	Closed     bool    `json:"closed_by_carrier"`
	ResetsAt   string  `json:"resets_at"`
}

// OfCap lists the notifications of a mark: one to each endpoint that wants it, of
// each account whose campaign or brand it is. An account hears of its own brand
// alone, although others may share the cap.
func OfCap(s *snapshot.Snapshot, m pace.Mark, at time.Time) ([]message.Notification, error) {
	kind := CapReached
	if m.Percent < 100 {
		kind = CapWarning
	}
	var out []message.Notification
	for _, o := range owners(s, m) {
		eventID := message.NewID()
		for _, e := range s.Endpoints[o.account] {
			if len(e.EventTypes) > 0 && !slices.Contains(e.EventTypes, kind) {
				continue
			}
			d := capData{CampaignID: o.campaign, BrandID: o.brand, Day: m.Day, Percent: m.Percent, Used: m.Used, Closed: m.Closed,
				ResetsAt: m.ResetsAt.UTC().Format(timeLayout)}
			if m.Cap > 0 {
				d.Cap = &m.Cap
			}
			var whole any = capEvent{kind, at.UTC().Format(timeLayout), d}
			if e.Format == "flat" {
				whole = d
			}
			body, err := json.Marshal(whole)
			if err != nil {
				return nil, fmt.Errorf("event %s: %w", kind, err)
			}
			out = append(out, message.Notification{ID: message.NewID(), EventID: eventID, AccountID: o.account, EndpointID: e.ID, Type: kind,
				URL: e.URL, FailoverURL: e.FailoverURL, Payload: string(body)})
		}
	}
	return out, nil
}

// brandApproved is the status of a brand whose company the registry has verified.
const brandApproved = "approved"

// owner is an account and what it calls the thing that a cap is of.
type owner struct {
	account, row    message.ID
	campaign, brand *string
}

// owners are the accounts whose campaign or brand a mark is of, each once. A brand
// counts when the registry has approved it: anybody may write the tax id of another
// company into a draft, and is not to hear what that company sends.
func owners(s *snapshot.Snapshot, m pace.Mark) []owner {
	var all []owner
	for _, c := range s.Campaigns {
		if pace.CampaignDay(c.ID) == m.Key {
			all = append(all, owner{account: c.AccountID, row: c.ID, campaign: &c.CampaignID})
		}
	}
	for _, b := range s.Brands {
		if b.Status == brandApproved && pace.BrandDay(b.CapKey) == m.Key {
			all = append(all, owner{account: b.AccountID, row: b.ID, brand: &b.BrandID})
		}
	}
	slices.SortFunc(all, func(a, b owner) int {
		return cmp.Or(bytes.Compare(a.account[:], b.account[:]), bytes.Compare(a.row[:], b.row[:]))
	})
	return slices.CompactFunc(all, func(a, b owner) bool { return a.account == b.account })
}
