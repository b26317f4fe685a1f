package policy

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestPaceLimits(t *testing.T) {
	t.Parallel()
	if RuleRate != pace.RuleRate || RuleDailyCap != pace.RuleDailyCap {
		t.Error("a rule has two names")
	}
	brand, sister, none := message.NewID(), message.NewID(), message.NewID()
	ofBrand := func(key string, parts int, id string) pace.Limit {
		return pace.Limit{Key: "brand:" + key, Parts: parts, Window: pace.PacificDay, Name: "brand " + id}
	}
	minute := func(c *snapshot.Campaign, kind message.Kind, parts int) pace.Limit {
		return pace.Limit{Key: "campaign:" + c.ID.String() + ":" + string(kind), Parts: parts, Window: pace.Minute, Name: "campaign C8X2KQ1"}
	}
	for _, c := range []struct {
		name   string
		from   message.Address
		to     message.Address
		kind   message.Kind
		change func(*snapshot.Campaign)
		want   func(*snapshot.Campaign) []pace.Limit
	}{
		{"a campaign and its brand", own, to, message.SMS, nil, func(c *snapshot.Campaign) []pace.Limit {
			return []pace.Limit{minute(c, message.SMS, 75), ofBrand("ein-1", 2000, "B1234")}
		}},
		{"MMS", own, to, message.MMS, nil, func(c *snapshot.Campaign) []pace.Limit {
			return []pace.Limit{minute(c, message.MMS, 50), ofBrand("ein-1", 2000, "B1234")}
		}},
		{"another brand of the company", own, to, message.SMS, func(c *snapshot.Campaign) { c.Brand = sister }, func(c *snapshot.Campaign) []pace.Limit {
			return []pace.Limit{minute(c, message.SMS, 75), ofBrand("ein-1", 2000, "Sister")}
		}},
		{"a brand without a cap", own, to, message.SMS, func(c *snapshot.Campaign) { c.Brand, c.Throughput = none, 0 }, func(*snapshot.Campaign) []pace.Limit {
			return []pace.Limit{ofBrand("ein-2", 0, "B9")}
		}},
		{"a cap of its own", own, to, message.SMS, func(c *snapshot.Campaign) { c.DailyCap, c.Throughput = 500, 0 }, func(c *snapshot.Campaign) []pace.Limit {
			return []pace.Limit{{Key: "campaign:" + c.ID.String(), Parts: 500, Window: pace.PacificDay, Name: "campaign C8X2KQ1"}, ofBrand("ein-1", 2000, "B1234")}
		}},
		{"no brand, no limits", own, to, message.SMS, func(c *snapshot.Campaign) { c.Brand, c.Throughput = message.ID{}, 0 }, nil},
		{"per number", own, to, message.SMS, func(c *snapshot.Campaign) { c.PerNumber, c.Brand = true, message.ID{} }, func(c *snapshot.Campaign) []pace.Limit {
			return []pace.Limit{{Key: pace.NumberMinute(c.ID, own, message.SMS), Parts: 75, Window: pace.Minute, Name: "each number of campaign C8X2KQ1"}}
		}},
		{"to London", own, london, message.SMS, nil, nil},
		{"to Toronto", own, "+14165550117", message.SMS, nil, nil},
		{"toll-free", tollFree, to, message.SMS, nil, nil},
		{"a short code", short, to, message.SMS, nil, nil},
		{"nobody's number", "+12025550199", to, message.SMS, nil, nil},
		{"a campaign of somebody else", own, to, message.SMS, func(c *snapshot.Campaign) { c.AccountID = stranger }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := world()
			s.Brands = map[message.ID]*snapshot.Brand{
				brand:  {ID: brand, AccountID: account, Name: "B1234", DailyCap: 2000, CapKey: "ein-1"},
				sister: {ID: sister, AccountID: account, Name: "Sister", DailyCap: 2000, CapKey: "ein-1"},
				none:   {ID: none, AccountID: account, Name: "B9", CapKey: "ein-2"},
			}
			campaign := s.CampaignOf(s.Numbers[own])
			campaign.Brand, campaign.Throughput, campaign.MMSThroughput = brand, 75, 50
			if c.change != nil {
				c.change(campaign)
			}
			var want []pace.Limit
			if c.want != nil {
				want = c.want(campaign)
			}
			if got := PaceLimits(s, &message.Message{AccountID: account, Kind: c.kind, From: c.from, To: c.to}); !slices.Equal(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// Bulk leaves room in each limit for what is more urgent.
func TestBulkLeavesRoom(t *testing.T) {
	t.Parallel()
	s, m := world(), allowed()
	c := s.CampaignOf(s.Numbers[own])
	brand := &snapshot.Brand{ID: message.NewID(), Name: "Acme", DailyCap: 2000, CapKey: "acme"}
	s.Brands = map[message.ID]*snapshot.Brand{brand.ID: brand}
	c.Brand, c.Throughput, c.DailyCap = brand.ID, 75, 1
	for class, want := range map[message.Class][]int{message.ClassBulk: {7, 0, 100}, message.ClassConversation: {0, 0, 0}, message.ClassOTP: {0, 0, 0}} {
		m.Class = class
		var got []int
		for _, l := range PaceLimits(s, m) {
			got = append(got, l.Spare)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s leaves %v, want %v", class, got, want)
		}
	}
	c.Throughput = 5
	m.Class = message.ClassBulk
	if l := PaceLimits(s, m)[0]; l.Spare != 1 {
		t.Errorf("of 5 it leaves %d", l.Spare)
	}
}
