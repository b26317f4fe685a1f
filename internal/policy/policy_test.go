package policy

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	own      message.Address = "+12025550143" // a US long code of the account
	tollFree message.Address = "+18005550199"
	short    message.Address = "12345"
	london   message.Address = "+442071838750"
	to       message.Address = "+13105550117"
)

var (
	account  = message.NewID()
	stranger = message.NewID()
	north    = message.NewID()
)

// world is a configuration in which the message of allowed may go.
func world() *snapshot.Snapshot {
	active, suspended := message.NewID(), message.NewID()
	s := &snapshot.Snapshot{
		Accounts: map[message.ID]*snapshot.Account{
			account:  {ID: account, Status: snapshot.AccountActive, AllowedSourceAddresses: []string{"ACME", "+12025550166", "+18775550100"}},
			stranger: {ID: stranger, Status: snapshot.AccountActive},
		},
		Campaigns: map[message.ID]*snapshot.Campaign{
			active:    {ID: active, AccountID: account, CampaignID: "C8X2KQ1", Status: snapshot.CampaignActive},
			suspended: {ID: suspended, AccountID: account, CampaignID: "CSUSPND", Status: snapshot.CampaignSuspended},
		},
		Numbers: map[message.Address]*snapshot.Number{
			own:            {Number: own, AccountID: account, SMSEnabled: true, MMSEnabled: true, Campaign: active},
			"+12025550144": {Number: "+12025550144", AccountID: account, SMSEnabled: true, Campaign: suspended},
			"+12025550145": {Number: "+12025550145", AccountID: account, SMSEnabled: true},
			"+12025550146": {Number: "+12025550146", AccountID: account, MMSEnabled: true, Campaign: active},
			"+12025550147": {Number: "+12025550147", AccountID: stranger, SMSEnabled: true, Campaign: active},
			"+14165550100": {Number: "+14165550100", AccountID: account, SMSEnabled: true}, // Toronto
			tollFree:       {Number: tollFree, AccountID: account, SMSEnabled: true, Verification: "approved"},
			"+18335550101": {Number: "+18335550101", AccountID: account, SMSEnabled: true, Verification: "pending"},
			short:          {Number: short, AccountID: account, SMSEnabled: true},
			london:         {Number: london, AccountID: account, SMSEnabled: true},
		},
		Vendors: map[message.ID]*snapshot.Vendor{
			north: {ID: north, Name: "north", ProviderType: "smpp", Active: true, SupportsUnicode: true, SupportsAlphanumeric: true, SupportsMMS: true},
		},
		Routes: []snapshot.Route{{ID: 1, Priority: 10, VendorID: north, RatePerMsg: 4500}},
	}
	s.Index()
	return s
}

func allowed() *message.Message {
	return &message.Message{ID: message.NewID(), AccountID: account, Kind: message.SMS, From: own, To: to, Encoding: message.EncodingGSM7, Segments: 1}
}

// Every rule with every answer that it can give, and the trail that leads there.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	const all = "account_active sender_owned destination campaign opt_out content quiet_hours route"
	key := func(numbers ...string) *snapshot.Credential { return &snapshot.Credential{AllowedNumbers: numbers} }
	for _, c := range []struct {
		name   string
		change func(*snapshot.Snapshot, *message.Message)
		cred   *snapshot.Credential
		want   message.Reason // empty: allowed
		detail string         // must be in the refusal's words, or the last entry's
		trail  string
	}{
		{"allowed", nil, nil, "", "1 candidates", all},
		{"no such account", func(_ *snapshot.Snapshot, m *message.Message) { m.AccountID = message.NewID() }, nil, message.ReasonAccountSuspended, "does not exist", "account_active"},
		{"suspended account", func(s *snapshot.Snapshot, _ *message.Message) { s.Accounts[account].Status = snapshot.AccountSuspended }, nil, message.ReasonAccountSuspended, "suspended", "account_active"},
		{"closed account", func(s *snapshot.Snapshot, _ *message.Message) { s.Accounts[account].Status = snapshot.AccountClosed }, nil, message.ReasonAccountSuspended, "closed", "account_active"},

		{"no sender", from(""), nil, message.ReasonUnauthorizedSender, "not a number of this account", "account_active sender_owned"},
		{"number of nobody", from("+12025550150"), nil, message.ReasonUnauthorizedSender, "not a number of this account", "account_active sender_owned"},
		{"number of another", from("+12025550147"), nil, message.ReasonUnauthorizedSender, "not a number of this account", "account_active sender_owned"},
		{"unknown alphanumeric", from("EVIL"), nil, message.ReasonUnauthorizedSender, "not a number of this account", "account_active sender_owned"},
		{"not enabled for SMS", from("+12025550146"), nil, message.ReasonUnauthorizedSender, "not enabled for SMS", "account_active sender_owned"},
		{"enabled for MMS", mms("+12025550146"), nil, "", "", all},
		{"not enabled for MMS", mms("+12025550145"), nil, message.ReasonUnauthorizedSender, "not enabled for MMS", "account_active sender_owned"},
		{"key of this number", nil, key("+12025550199", string(own)), "", "", all},
		{"key of other numbers", nil, key("+12025550199"), message.ReasonUnauthorizedSender, "this API key", "account_active sender_owned"},
		{"key without list", nil, key(), "", "", all},
		{"forced sender", func(s *snapshot.Snapshot, m *message.Message) {
			s.Accounts[account].ForceSourceAddress, m.From, m.To = "SHOP", "SHOP", "+447700900123"
		}, nil, "", "", all},
		{"allowed alphanumeric", func(_ *snapshot.Snapshot, m *message.Message) { m.From, m.To = "ACME", "+447700900123" }, nil, "", "", all},

		{"no recipient", sendTo(""), nil, message.ReasonInvalidDestination, "not a number", "account_active sender_owned destination"},
		{"alphanumeric recipient", sendTo("ACME"), nil, message.ReasonInvalidDestination, "not a number", "account_active sender_owned destination"},
		{"premium recipient", sendTo("+19005550100"), nil, message.ReasonDestinationNotAllowed, "premium", "account_active sender_owned destination"},
		{"to oneself", sendTo(own), nil, message.ReasonInvalidDestination, "same number", "account_active sender_owned destination"},
		{"alphanumeric to +1", from("ACME"), nil, message.ReasonUnauthorizedSender, "+1", "account_active sender_owned destination"},
		{"short code recipient", sendTo("54321"), nil, "", "", all},

		{"long code without campaign", from("+12025550145"), nil, message.ReasonUnregisteredCampaign, "no 10DLC campaign", "account_active sender_owned destination campaign"},
		{"suspended campaign", from("+12025550144"), nil, message.ReasonCampaignInactive, "CSUSPND, which is suspended", "account_active sender_owned destination campaign"},
		{"campaign not yet registered", func(s *snapshot.Snapshot, _ *message.Message) {
			c := s.CampaignOf(s.Numbers[own])
			c.CampaignID, c.Status = "", snapshot.CampaignPending
		}, nil, message.ReasonCampaignInactive, "(not yet registered), which is pending", "account_active sender_owned destination campaign"},
		{"campaign of another", func(s *snapshot.Snapshot, _ *message.Message) { s.CampaignOf(s.Numbers[own]).AccountID = stranger }, nil, message.ReasonUnregisteredCampaign, "no 10DLC campaign", "account_active sender_owned destination campaign"},
		{"campaign gone", func(s *snapshot.Snapshot, _ *message.Message) { clear(s.Campaigns) }, nil, message.ReasonUnregisteredCampaign, "", "account_active sender_owned destination campaign"},
		{"allowed long code that is nobody's", from("+12025550166"), nil, message.ReasonUnregisteredCampaign, "", "account_active sender_owned destination campaign"},
		{"verified toll-free", from(tollFree), nil, "", "", all},
		{"toll-free pending", from("+18335550101"), nil, message.ReasonSenderUnverified, "is pending", "account_active sender_owned destination campaign"},
		{"allowed toll-free that is nobody's", from("+18775550100"), nil, message.ReasonSenderUnverified, "unknown", "account_active sender_owned destination campaign"},
		{"Canadian number", from("+14165550100"), nil, "", "", all},
		{"short code", from(short), nil, "", "", all},
		{"London", from(london), nil, "", "", all},

		{"no route", func(s *snapshot.Snapshot, _ *message.Message) { s.Routes = nil }, nil, message.ReasonNoRoute, "no active route", all},
		{"inactive vendor", func(s *snapshot.Snapshot, _ *message.Message) { s.Vendors[north].Active = false }, nil, message.ReasonNoRoute, "no active route", all},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, m := world(), allowed()
			if c.change != nil {
				c.change(s, m)
			}
			d := Evaluate(s, Question{Message: m, Credential: c.cred})
			var rules []string
			for i, e := range d.Trail {
				rules = append(rules, e.Rule)
				last := i == len(d.Trail)-1
				if refused := e.Result == message.Refused; refused != (last && c.want != "") || !refused && e.Result != message.Pass {
					t.Errorf("%s: %s", e.Rule, e.Result)
				}
			}
			if got := strings.Join(rules, " "); got != c.trail {
				t.Errorf("trail %s, want %s", got, c.trail)
			}
			last := d.Trail[len(d.Trail)-1]
			if !strings.Contains(last.Detail, c.detail) {
				t.Errorf("trail ends with %q, want %q", last.Detail, c.detail)
			}
			if c.want == "" {
				if !d.Allowed() || len(d.Candidates) == 0 {
					t.Errorf("refused: %v", d.Error)
				}
				return
			}
			if d.Allowed() || d.Error.Reason != c.want || d.Error.Detail != last.Detail || d.Candidates != nil {
				t.Errorf("%v, want %s", d.Error, c.want)
			}
		})
	}
}

func from(a message.Address) func(*snapshot.Snapshot, *message.Message) {
	return func(_ *snapshot.Snapshot, m *message.Message) { m.From = a }
}

func sendTo(a message.Address) func(*snapshot.Snapshot, *message.Message) {
	return func(_ *snapshot.Snapshot, m *message.Message) { m.To = a }
}

func mms(a message.Address) func(*snapshot.Snapshot, *message.Message) {
	return func(s *snapshot.Snapshot, m *message.Message) {
		m.From, m.Kind, s.Vendors[north].ProviderType = a, message.MMS, "twilio"
		s.Numbers["+12025550145"].Campaign = s.Numbers[own].Campaign
	}
}

func TestCampaignOfDecision(t *testing.T) {
	t.Parallel()
	if d := Evaluate(world(), Question{Message: allowed()}); d.CampaignID != "C8X2KQ1" {
		t.Errorf("campaign %q", d.CampaignID)
	}
	m := allowed()
	m.From = short
	if d := Evaluate(world(), Question{Message: m}); d.CampaignID != "" || d.Trail[3].Detail != "not a US long code" {
		t.Errorf("%+v", d)
	}
}

// A decision changes neither the configuration nor the message.
func TestEvaluateIsPure(t *testing.T) {
	t.Parallel()
	s, m := world(), allowed()
	for range 3 {
		d := Evaluate(s, Question{Message: m})
		if !d.Allowed() || d.Candidates[0].Rate != 4500 || d.Candidates[0].Route != 1 || d.Candidates[0].Vendor != s.Vendors[north] || len(d.Trail) != 8 {
			t.Fatalf("%+v", d)
		}
	}
	if m.CampaignID != "" || m.Status != "" {
		t.Errorf("the message was changed: %+v", m)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	compile := regexp.MustCompile
	for _, c := range []struct {
		name  string
		route snapshot.Route
		want  bool
	}{
		{"anything", snapshot.Route{}, true},
		{"recipient", snapshot.Route{DestPattern: compile("^1310")}, true},
		{"recipient has no plus sign", snapshot.Route{DestPattern: compile(`^\+`)}, false},
		{"another recipient", snapshot.Route{DestPattern: compile("^44")}, false},
		{"sender", snapshot.Route{SourcePattern: compile("^1202")}, true},
		{"another sender", snapshot.Route{SourcePattern: compile("^1310")}, false},
		{"account", snapshot.Route{AccountID: account}, true},
		{"another account", snapshot.Route{AccountID: stranger}, false},
		{"type", snapshot.Route{MessageType: message.SMS}, true},
		{"another type", snapshot.Route{MessageType: message.MMS}, false},
		{"all of it", snapshot.Route{DestPattern: compile("^1"), SourcePattern: compile("^1"), AccountID: account, MessageType: message.SMS}, true},
	} {
		s := world()
		c.route.VendorID = north
		s.Routes = []snapshot.Route{c.route}
		if got := len(Candidates(s, allowed(), Ways{})) == 1; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestCapable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		vendor  func(*snapshot.Vendor)
		message func(*message.Message)
		want    bool
	}{
		{"bare vendor, plain text", func(v *snapshot.Vendor) { *v = snapshot.Vendor{ID: v.ID, Active: true} }, func(*message.Message) {}, true},
		{"no alphanumeric senders", func(v *snapshot.Vendor) { v.SupportsAlphanumeric = false }, func(m *message.Message) { m.From = "ACME" }, false},
		{"alphanumeric senders", nil, func(m *message.Message) { m.From = "ACME" }, true},
		{"no unicode", func(v *snapshot.Vendor) { v.SupportsUnicode = false }, func(m *message.Message) { m.Encoding = message.EncodingUCS2 }, false},
		{"unicode", nil, func(m *message.Message) { m.Encoding = message.EncodingUCS2 }, true},
		{"no MMS", func(v *snapshot.Vendor) { v.SupportsMMS = false }, func(m *message.Message) { m.Kind = message.MMS }, false},
		{"MMS", func(v *snapshot.Vendor) { v.ProviderType = "twilio" }, func(m *message.Message) { m.Kind = message.MMS }, true},
		{"MMS over SMPP", nil, func(m *message.Message) { m.Kind = message.MMS }, false},
		{"receives only", func(v *snapshot.Vendor) { v.BindType = "receiver" }, func(*message.Message) {}, false},
		{"transmits", func(v *snapshot.Vendor) { v.BindType = "transmitter" }, func(*message.Message) {}, true},
		{"inactive", func(v *snapshot.Vendor) { v.Active = false }, func(*message.Message) {}, false},
		{"octets over SMPP", nil, func(m *message.Message) { m.Encoding = message.EncodingBinary }, true},
		{"octets over HTTP", func(v *snapshot.Vendor) { v.ProviderType = "twilio" }, func(m *message.Message) { m.Encoding = message.EncodingBinary }, false},
		{"ports over SMPP", nil, func(m *message.Message) { m.Header = []byte("\x04\x02\x01\x01") }, true},
		{"ports over HTTP", func(v *snapshot.Vendor) { v.ProviderType = "telnyx" }, func(m *message.Message) { m.Header = []byte("\x04\x02\x01\x01") }, false},
		{"message class over HTTP", func(v *snapshot.Vendor) { v.ProviderType = "telnyx" }, func(m *message.Message) { m.DataCoding = 0x10 }, true},
		{"parameters over HTTP", func(v *snapshot.Vendor) { v.ProviderType = "telnyx" }, func(m *message.Message) { m.TLVs = []message.TLV{{Tag: 0x1403}} }, true},
	} {
		s, m := world(), allowed()
		if c.vendor != nil {
			c.vendor(s.Vendors[north])
		}
		c.message(m)
		if got := len(Candidates(s, m, Ways{})) == 1; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Where a text would go, octets that cannot are refused for their form.
func TestNoCandidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		vendor  func(*snapshot.Vendor)
		message func(*message.Message)
		want    message.Reason
	}{
		{"octets", func(v *snapshot.Vendor) { v.ProviderType = "twilio" }, func(m *message.Message) { m.Encoding = message.EncodingBinary }, message.ReasonEncodingMismatch},
		{"header", func(v *snapshot.Vendor) { v.ProviderType = "telnyx" }, func(m *message.Message) { m.Header = []byte{4, 0} }, message.ReasonEncodingMismatch},
		{"octets, no vendor at all", func(v *snapshot.Vendor) { v.Active = false }, func(m *message.Message) { m.Encoding = message.EncodingBinary }, message.ReasonNoRoute},
		{"text, and MMS only", func(v *snapshot.Vendor) { v.ProviderType = "mm4" }, func(m *message.Message) {}, message.ReasonNoRoute},
		{"text", func(v *snapshot.Vendor) { v.Active = false }, func(m *message.Message) {}, message.ReasonNoRoute},
		{"MMS with a text beyond GSM", func(v *snapshot.Vendor) { v.ProviderType, v.SupportsMMS, v.SupportsUnicode = "twilio", false, false }, func(m *message.Message) {
			m.Kind, m.Encoding = message.MMS, message.EncodingUCS2
		}, message.ReasonNoRoute},
	} {
		s, m := world(), allowed()
		c.vendor(s.Vendors[north])
		c.message(m)
		before := *m
		d := Evaluate(s, Question{Message: m})
		if d.Allowed() || d.Error.Reason != c.want || m.Encoding != before.Encoding || len(m.Header) != len(before.Header) {
			t.Errorf("%s: %v", c.name, d.Error)
		}
		if again := NoCandidate(s, m, Ways{}); again.Reason != c.want {
			t.Errorf("%s: %v", c.name, again)
		}
	}
}

// What a sender must be registered for depends on where it sends to.
func TestRegistrationAndRecipient(t *testing.T) {
	t.Parallel()
	leased := func(until time.Time) func(s *snapshot.Snapshot, m *message.Message) {
		return func(s *snapshot.Snapshot, m *message.Message) { m.From, s.Numbers[short].LeasedUntil = short, until }
	}
	closed := func(prefixes ...string) func(s *snapshot.Snapshot, m *message.Message) {
		return func(s *snapshot.Snapshot, m *message.Message) { s.Accounts[account].AllowedDestinations = prefixes }
	}
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(*snapshot.Snapshot, *message.Message)
		want   message.Reason
		detail string
	}{
		"unregistered to London":      {func(_ *snapshot.Snapshot, m *message.Message) { m.From, m.To = "+12025550145", "+442071838751" }, "", "abroad"},
		"unregistered to Toronto":     {func(_ *snapshot.Snapshot, m *message.Message) { m.From, m.To = "+12025550145", "+14165550199" }, "", "abroad"},
		"suspended to Toronto":        {func(_ *snapshot.Snapshot, m *message.Message) { m.From, m.To = "+12025550144", "+14165550199" }, "", "abroad"},
		"registered to Toronto":       {func(_ *snapshot.Snapshot, m *message.Message) { m.To = "+14165550199" }, "", "C8X2KQ1"},
		"unregistered to a toll-free": {func(_ *snapshot.Snapshot, m *message.Message) { m.From, m.To = "+12025550145", "+18005550123" }, message.ReasonUnregisteredCampaign, ""},
		"lease runs":                  {leased(now.Add(time.Hour)), "", "leased until 2026-11-21"},
		"lease has ended":             {leased(now), message.ReasonSenderUnverified, "the lease of 12345 ended on 2026-11-21"},
		"lease is not known":          {leased(time.Time{}), "", "not a US long code"},
		"open destination":            {closed("44", "1310"), "", ""},
		"closed destination":          {closed("44", "1311"), message.ReasonDestinationNotAllowed, "+44, +1311 only"},
	} {
		s, m := world(), allowed()
		c.change(s, m)
		d := Evaluate(s, Question{Message: m, Now: now})
		last := d.Trail[len(d.Trail)-1].Detail
		if c.want == "" && len(d.Trail) > 3 {
			last = d.Trail[3].Detail
		}
		if (d.Error == nil) != (c.want == "") || message.ReasonOf(asError(d.Error)) != c.want || !strings.Contains(last, c.detail) {
			t.Errorf("%s: %v, %+v", name, d.Error, d.Trail)
		}
	}
}

func asError(e *message.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// Vendors that cannot take the sender or the alphabet are the reason, not the route.
func TestNoVendorIsCapable(t *testing.T) {
	t.Parallel()
	s, m := world(), allowed()
	s.Vendors[north].SupportsAlphanumeric, s.Vendors[north].SupportsUnicode = false, false
	m.From, m.To = "ACME", "+447700900123"
	if d := Evaluate(s, Question{Message: m}); message.ReasonOf(asError(d.Error)) != message.ReasonUnauthorizedSender || !strings.Contains(d.Error.Detail, "alphanumeric") {
		t.Errorf("%v", d.Error)
	}
	m = allowed()
	m.Encoding = message.EncodingUCS2
	if d := Evaluate(s, Question{Message: m}); message.ReasonOf(asError(d.Error)) != message.ReasonEncodingMismatch {
		t.Errorf("%v", d.Error)
	}
	// One who waits for two things waits for the later.
	late := Decision{Holds: []message.Hold{{Rule: "a", Until: time.Unix(5, 0)}, {Rule: "b", Until: time.Unix(9, 0)}, {Rule: "c", Until: time.Unix(7, 0)}}}
	if h := late.Hold(); h.Rule != "b" {
		t.Errorf("waits for %+v", h)
	}
	late.Holds = append(late.Holds, message.Hold{Rule: "d"}, message.Hold{Rule: "e", Until: time.Unix(99, 0)})
	if h := late.Hold(); h.Rule != "d" {
		t.Errorf("waits for %+v", h)
	}
}
