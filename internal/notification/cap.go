package notification

import (
	"bytes"
	"cmp"
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

// OfCap makes the events of a mark: one for each account whose campaign or brand it is.
// An account hears of its own brand alone, although others may share the cap.
func OfCap(s *snapshot.Snapshot, m pace.Mark, at time.Time) ([]message.AccountEvent, error) {
	kind := CapReached
	if m.Percent < 100 {
		kind = CapWarning
	}
	var out []message.AccountEvent
	for _, o := range owners(s, m) {
		d := capData{CampaignID: o.campaign, BrandID: o.brand, Day: m.Day, Percent: m.Percent, Used: m.Used, Closed: m.Closed,
			ResetsAt: m.ResetsAt.UTC().Format(message.StampLayout)}
		if m.Cap > 0 {
			d.Cap = &m.Cap
		}
		e, err := OfAccount(s, o.account, kind, d, at)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
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
