package registry

import (
	_ "embed" // for the tables
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed tiers.json
var tiersJSON []byte

// Table is what carriers allow from a day on. Carriers move these figures, so they
// are data with the day they hold from; what the registry reports of a campaign
// itself comes before them.
type Table struct {
	From    Day     `json:"from"`
	Source  string  `json:"source"`
	Classes []Class `json:"classes"`
	Tiers   []Tier  `json:"tiers"`
}

// Class is a message class of AT&T: what a campaign may send a minute, counted in
// parts.
type Class struct {
	Name      string `json:"class"`
	Least     int    `json:"least"` // score from which it holds; -1: also of a brand that is not vetted
	Use       string `json:"use"`   // a use case of its own, or dedicated, mixed
	SMS       int    `json:"sms"`   // parts a minute
	MMS       int    `json:"mms"`
	PerNumber bool   `json:"per_number"` // both are each number's
}

// Tier is a tier of T-Mobile: what a company may send a day, counted in parts over
// all its campaigns and vendors, from midnight to midnight US Pacific time.
type Tier struct {
	Name   string `json:"tier"`
	Least  int    `json:"least"` // score from which it holds; -1: not vetted; over 100: by no score
	PerDay int    `json:"per_day"`
}

// Day is a date without a time.
type Day struct{ time.Time }

// UnmarshalJSON reads 2006-01-02.
func (d *Day) UnmarshalJSON(b []byte) (err error) {
	d.Time, err = time.Parse(`"`+time.DateOnly+`"`, string(b))
	return err
}

var tables = sync.OnceValues(func() ([]Table, error) {
	var list []Table
	err := json.Unmarshal(tiersJSON, &list)
	slices.SortFunc(list, func(a, b Table) int { return a.From.Compare(b.From.Time) })
	return list, err
})

// TableAt is the table in force at a time, the first one before all of them.
func TableAt(t time.Time) Table {
	list, err := tables()
	if err != nil || len(list) == 0 {
		return Table{} // a test reads the tables: it cannot happen
	}
	in := list[0]
	for _, table := range list {
		if !table.From.After(t) {
			in = table
		}
	}
	return in
}

// mixedUse are the use cases that carriers take for mixed or marketing.
var mixedUse = []string{"MIXED", "MARKETING", "SWEEPSTAKE"}

// ClassFor is the message class that a campaign of this use case and score gets
// when the registry does not report one.
func (t Table) ClassFor(useCase string, score int) Class {
	use := "dedicated"
	if slices.Contains(mixedUse, useCase) {
		use = "mixed"
	}
	best := Class{Least: -2}
	for _, c := range t.Classes {
		switch {
		case c.Use == useCase:
			return c
		case c.Use == use && score >= c.Least && c.Least > best.Least:
			best = c
		}
	}
	if best.Least == -2 {
		return Class{}
	}
	return best
}

// Class finds a class by its name.
func (t Table) Class(name string) (Class, bool) {
	i := slices.IndexFunc(t.Classes, func(c Class) bool { return strings.EqualFold(c.Name, name) })
	if i < 0 {
		return Class{}, false
	}
	return t.Classes[i], true
}

// Tier finds a tier by its name, which the registry writes in several ways.
func (t Table) Tier(name string) (Tier, bool) {
	plain := strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToUpper(name))
	plain = strings.TrimSuffix(strings.NewReplacer("UPPER_MID", "HIGH_MID", "LOWER_MID", "LOW_MID").Replace(plain), "_TIER")
	i := slices.IndexFunc(t.Tiers, func(tier Tier) bool { return tier.Name == plain })
	if i < 0 {
		return Tier{}, false
	}
	return t.Tiers[i], true
}

// TierFor is the tier that a brand gets when the registry does not report one.
// topIndex: it is a company of the Russell 3000.
func (t Table) TierFor(entityType string, score int, topIndex bool) Tier {
	if entityType == SoleProprietor {
		tier, _ := t.Tier(SoleProprietor)
		return tier
	}
	if topIndex {
		score = 100
	}
	best := Tier{Least: -2}
	for _, tier := range t.Tiers {
		if score >= tier.Least && tier.Least > best.Least {
			best = tier
		}
	}
	if best.Least == -2 {
		return Tier{}
	}
	return best
}

// Limits are what a campaign may send.
type Limits struct {
	Class     string
	SMS, MMS  int // parts a minute; 0: not known
	PerNumber bool
	Tier      string // empty: no carrier has reported one
	PerDay    int    // of Tier
}

// LimitsOf takes the carriers' own figures where they report them, and the table's
// where they do not.
func (t Table) LimitsOf(useCase string, score int, carriers []Carrier) Limits {
	class := t.ClassFor(useCase, score)
	var l Limits
	for _, c := range carriers {
		if c.NetworkID == ATT {
			if c.Class != "" {
				known, ok := t.Class(c.Class)
				if !ok {
					known = Class{SMS: class.SMS, MMS: class.MMS} // a new class: the figures of what we know it to be
				}
				known.Name = c.Class
				class = known
			}
			l.SMS, l.MMS = c.TPM, c.MMSTPM
		}
		if c.NetworkID == TMobile && c.BrandTier != "" {
			l.Tier = c.BrandTier
			if tier, ok := t.Tier(c.BrandTier); ok {
				l.Tier, l.PerDay = tier.Name, tier.PerDay
			}
		}
	}
	l.Class, l.PerNumber = class.Name, class.PerNumber
	if l.SMS <= 0 {
		l.SMS = class.SMS
	}
	if l.MMS <= 0 {
		l.MMS = class.MMS
	}
	return l
}
