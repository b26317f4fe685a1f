package content

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

//go:embed data/starter.json
var starterDoc []byte

// starterRule is a rule as data/starter.json has it.
type starterRule struct {
	Name    string   `json:"name"`
	Kind    Kind     `json:"kind"`
	Class   string   `json:"class"`
	Action  Action   `json:"action"`
	Since   string   `json:"since"` // a day
	Pattern []string `json:"pattern"`
}

// Starter is a set of global rules to begin with, without ids. Those that flag are
// active: they show what they would find. Those that hold or refuse are not: lists of
// words also catch pharmacies and bars whose programme allows what they write, so an
// operator looks at what is flagged, and at the words, before anything is stopped.
func Starter() ([]Rule, error) {
	d := json.NewDecoder(bytes.NewReader(starterDoc))
	d.DisallowUnknownFields()
	var read []starterRule
	if err := d.Decode(&read); err != nil {
		return nil, fmt.Errorf("starter rules: %w", err)
	}
	var rules []Rule
	for _, s := range read {
		since, err := time.Parse(time.DateOnly, s.Since)
		if err != nil {
			return nil, fmt.Errorf("starter rule %s: %w", s.Name, err)
		}
		rules = append(rules, Rule{Name: "starter: " + s.Name, Kind: s.Kind, Class: s.Class, Pattern: strings.Join(s.Pattern, "\n"),
			Action: s.Action, From: since, Active: s.Action == ActionFlag})
	}
	return rules, nil
}
