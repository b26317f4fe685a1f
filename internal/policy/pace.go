package policy

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

// PaceLimits are the limits of carriers that the message counts against: only what
// goes from a US long code to a US number has any. Which carrier serves the recipient
// is not known, so those of all hold. A message that the campaign rule refuses has
// none.
func PaceLimits(s *snapshot.Snapshot, m *message.Message) []pace.Limit {
	n := s.Numbers[m.From]
	if !m.From.USLongCode() || !m.To.USLongCode() || n == nil || n.AccountID != m.AccountID {
		return nil
	}
	c := s.CampaignOf(n)
	if c == nil || c.AccountID != m.AccountID {
		return nil
	}
	var limits []pace.Limit
	if l, ok := CampaignRate(c, m.From, m.Kind); ok {
		limits = append(limits, l)
	}
	limits = append(limits, DayLimits(s, c)...)
	if m.Class == message.ClassBulk {
		for i := range limits {
			limits[i].Spare = spare(limits[i])
		}
	}
	return limits
}

// Bulk fills a limit but for a share of it, in percent, and one part at least: behind
// thousands in line a one-time password, or the answer to a STOP, would come too late.
const (
	minuteSpare = 10
	daySpare    = 5
)

func spare(l pace.Limit) int {
	share := minuteSpare
	if l.Window == pace.PacificDay {
		share = daySpare
	}
	if l.Parts <= 1 {
		return 0
	}
	return max(l.Parts*share/100, 1)
}

// CampaignRate is what the campaign may send a minute by messages of the kind: all of
// it together, or this number of it. False: there is no limit.
func CampaignRate(c *snapshot.Campaign, number message.Address, kind message.Kind) (pace.Limit, bool) {
	parts := c.Throughput
	if kind == message.MMS {
		parts = c.MMSThroughput
	} else {
		kind = message.SMS
	}
	if parts <= 0 {
		return pace.Limit{}, false
	}
	l := pace.Limit{Key: pace.CampaignMinute(c.ID, kind), Parts: parts, Window: pace.Minute, Name: "campaign " + campaignName(c)}
	if c.PerNumber {
		l.Key, l.Name = pace.NumberMinute(c.ID, number, kind), "each number of "+l.Name
	}
	return l, true
}

// DayLimits are what a campaign may send a day: its own cap, if it has one, and that
// of its brand, which all brands of the company share. A brand without a cap is
// counted as well, since a vendor may say that it has reached the carrier's.
func DayLimits(s *snapshot.Snapshot, c *snapshot.Campaign) []pace.Limit {
	var limits []pace.Limit
	if c.DailyCap > 0 {
		limits = append(limits, pace.Limit{Key: pace.CampaignDay(c.ID), Parts: c.DailyCap, Window: pace.PacificDay, Name: "campaign " + campaignName(c)})
	}
	if b := s.Brands[c.Brand]; b != nil {
		limits = append(limits, BrandLimit(b))
	}
	return limits
}

// BrandLimit is what a brand may send a day.
func BrandLimit(b *snapshot.Brand) pace.Limit {
	return pace.Limit{Key: pace.BrandDay(b.CapKey), Parts: b.DailyCap, Window: pace.PacificDay, Name: "brand " + b.Name}
}
