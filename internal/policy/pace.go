package policy

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

// PaceLimits lists the caps that the message counts against; none: it is not
// paced. Carriers count what US long codes send to US numbers. Which carrier the
// recipient has is not known, so the caps of each count everything.
func PaceLimits(s *snapshot.Snapshot, m *message.Message) []pace.Limit {
	if !m.From.USLongCode() || !m.To.USLongCode() {
		return nil
	}
	n := s.Numbers[m.From]
	c := s.CampaignOf(n)
	if c == nil || c.AccountID != m.AccountID {
		return nil
	}
	var limits []pace.Limit
	name := "campaign " + campaignName(c)
	if l := throughput(c, n, m.Kind); l.Parts > 0 {
		l.Name = name
		limits = append(limits, l)
	}
	if c.DailyCap > 0 {
		limits = append(limits, pace.Limit{Key: "campaign-day " + c.ID.String(), Parts: c.DailyCap, Window: pace.PacificDay, Name: name})
	}
	if b := s.Brands[c.Brand]; b != nil && b.DailyCap > 0 {
		limits = append(limits, pace.Limit{Key: "brand-day " + b.CapKey, Parts: b.DailyCap, Window: pace.PacificDay, Name: "brand " + b.Name})
	}
	return limits
}

// throughput is how many parts a minute the campaign may send of the kind, or each
// of its numbers.
func throughput(c *snapshot.Campaign, n *snapshot.Number, kind message.Kind) pace.Limit {
	l := pace.Limit{Key: "campaign-sms " + c.ID.String(), Parts: c.Throughput, Window: pace.Minute}
	if kind == message.MMS {
		l.Key, l.Parts = "campaign-mms "+c.ID.String(), c.MMSThroughput
	}
	if c.PerNumber {
		l.Key += " " + string(n.Number)
	}
	return l
}
