package quiet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Policy is what an account wants done with bulk messages that would arrive in
// quiet hours.
type Policy string

// The policies. The empty one is PolicyWait.
const (
	PolicyOff    Policy = "off"    // send at any hour
	PolicyWait   Policy = "wait"   // hold until the hours are over, if the validity allows
	PolicyRefuse Policy = "refuse" // refuse with quiet_hours
)

// Valid reports whether p is one of the constants.
func (p Policy) Valid() bool { return p == PolicyOff || p == PolicyWait || p == PolicyRefuse }

// Whose clock an account's own windows are on.
const (
	ZoneRecipient = "recipient"
	ZoneAccount   = "account"
)

// Override is an account's own windows, in place of those of the recipient's
// region.
type Override struct {
	Zone     string // ZoneRecipient or ZoneAccount
	Schedule Schedule
}

// overrideDoc is an Override as it is stored and written.
type overrideDoc struct {
	Zone    string      `json:"zone,omitempty"`
	Windows []windowDoc `json:"windows"`
}

type windowDoc struct {
	Days string `json:"days"`
	From string `json:"from"`
	To   string `json:"to"`
}

// maxOverride bounds the document, in octets.
const maxOverride = 4096

// ParseOverride reads an account's own windows:
//
//	{"zone": "recipient", "windows": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}
//
// zone is recipient (the default) or account. A day that no window names is barred.
func ParseOverride(doc []byte) (*Override, error) {
	if len(doc) > maxOverride {
		return nil, fmt.Errorf("more than %d octets", maxOverride)
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	var read overrideDoc
	if err := d.Decode(&read); err != nil {
		return nil, fmt.Errorf("want {\"zone\", \"windows\": [{\"days\", \"from\", \"to\"}]}: %w", err)
	}
	if d.More() {
		return nil, errors.New("there is something behind the document")
	}
	o := &Override{Zone: read.Zone}
	switch o.Zone {
	case "":
		o.Zone = ZoneRecipient
	case ZoneRecipient, ZoneAccount:
	default:
		return nil, errors.New("zone: want recipient or account")
	}
	var windows []Window
	for i, w := range read.Windows {
		window, err := parseWindow(w.Days, w.From, w.To)
		if err != nil {
			return nil, fmt.Errorf("window %d: %w", i+1, err)
		}
		windows = append(windows, window)
	}
	var err error
	if o.Schedule, err = NewSchedule(windows); err != nil {
		return nil, err
	}
	if o.Schedule.Empty() {
		return nil, errors.New("no hour is open: give at least one window")
	}
	return o, nil
}

func parseWindow(days, from, to string) (w Window, err error) {
	if w.Days, err = ParseDays(days); err != nil {
		return w, err
	}
	if w.From, err = ParseClock(from); err != nil {
		return w, err
	}
	w.To, err = ParseClock(to)
	return w, err
}

// MarshalJSON writes the override as ParseOverride reads it.
func (o *Override) MarshalJSON() ([]byte, error) {
	doc := overrideDoc{Zone: o.Zone, Windows: []windowDoc{}}
	for _, w := range o.Schedule.windows {
		doc.Windows = append(doc.Windows, windowDoc{Days: dayWords(w.Days), From: clock(w.From), To: clock(w.To)})
	}
	return json.Marshal(doc)
}

func dayWords(days []time.Weekday) string {
	var words []string
	for _, d := range days {
		words = append(words, dayNames[d])
	}
	return strings.Join(words, ",")
}
