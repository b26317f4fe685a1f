package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Every kind of message over every kind of vendor, whatever its row says of MMS and whether
// it is active, from a number that may send the one, the other, both or nothing.
func TestKindByVendorByNumber(t *testing.T) {
	t.Parallel()
	// What a vendor of a type can carry at all; MMS it must say besides.
	texts := map[string]bool{"smpp": true, "twilio": true, "telnyx": true}
	files := map[string]bool{"mm4": true, "twilio": true, "telnyx": true}
	flags := []bool{false, true}
	for _, kind := range []message.Kind{message.SMS, message.MMS} {
		for _, provider := range []string{"smpp", "mm4", "twilio", "telnyx"} {
			for i := range 16 {
				takesMMS, active, numberSMS, numberMMS := flags[i&1], flags[i>>1&1], flags[i>>2&1], flags[i>>3&1]
				name := fmt.Sprintf("%s over %s, supports_mms %t, active %t, from a number with sms_enabled %t, mms_enabled %t", kind, provider, takesMMS, active, numberSMS, numberMMS)
				s, m := world(), allowed()
				v, n := s.Vendors[north], s.Numbers[own]
				v.ProviderType, v.SupportsMMS, v.Active, v.SupportsUnicode = provider, takesMMS, active, false
				n.SMSEnabled, n.MMSEnabled = numberSMS, numberMMS
				m.Kind = kind
				if kind == message.MMS {
					m.Encoding = message.EncodingUCS2 // its text is a file like others
				}
				enabled, carried := numberSMS, texts[provider]
				if kind == message.MMS {
					enabled, carried = numberMMS, files[provider] && takesMMS
				}
				want, trail := message.Reason(""), "account_active sender_owned destination campaign opt_out content quiet_hours route"
				switch {
				case !enabled:
					want, trail = message.ReasonUnauthorizedSender, "account_active sender_owned"
				case !carried || !active:
					want = message.ReasonNoRoute
				}
				d := Evaluate(s, Question{Message: m})
				var looked []string
				for _, e := range d.Trail {
					looked = append(looked, e.Rule)
				}
				got := message.Reason("")
				if d.Error != nil {
					got = d.Error.Reason
				}
				if got != want || strings.Join(looked, " ") != trail || (len(d.Candidates) > 0) != (want == "") {
					t.Errorf("%s: %q by %v with %d candidates, want %q by %s", name, got, looked, len(d.Candidates), want, trail)
				}
				last := d.Trail[len(d.Trail)-1]
				if word := strings.ToUpper(string(kind)); want == message.ReasonUnauthorizedSender && !strings.Contains(last.Detail, "not enabled for "+word) {
					t.Errorf("%s: %q", name, last.Detail)
				}
			}
		}
	}
}

// Of several vendors an MMS goes to those that take it, in their order, also when another
// one has been named or stands before them; and who reads the refusal learns what is wrong.
func TestMMSGoesRoundThoseWithout(t *testing.T) {
	t.Parallel()
	s := routed("10 plain/1*1", "20 peer/1*1", "30 web/1*1")
	byName := map[string]*snapshot.Vendor{}
	for _, v := range s.Vendors {
		byName[v.Name] = v
	}
	byName["plain"].ProviderType, byName["peer"].ProviderType, byName["web"].ProviderType = "smpp", "mm4", "twilio"
	byName["plain"].SupportsMMS, byName["peer"].SupportsMMS, byName["web"].SupportsMMS = true, true, true
	text, picture := allowed(), allowed()
	picture.Kind = message.MMS
	if got := names(Candidates(s, text, Ways{})); got != "plain web" {
		t.Errorf("an SMS goes to %q", got)
	}
	if got := names(Candidates(s, picture, Ways{})); got != "peer web" {
		t.Errorf("an MMS goes to %q", got)
	}
	if got := names(Candidates(s, picture, Ways{Override: byName["plain"].ID})); got != "peer web" {
		t.Errorf("an MMS for which staff have named a vendor that takes none goes to %q", got)
	}
	byName["peer"].SupportsMMS, byName["web"].SupportsMMS = false, false
	if why := NoCandidate(s, picture, Ways{}); why.Reason != message.ReasonNoRoute || !strings.Contains(why.Detail, "takes MMS") {
		t.Errorf("%v", why)
	}
	for _, v := range s.Vendors {
		v.Active = false
	}
	if why := NoCandidate(s, picture, Ways{}); why.Reason != message.ReasonNoRoute || strings.Contains(why.Detail, "takes MMS") {
		t.Errorf("%v", why)
	}
	inside := &snapshot.Vendor{ID: message.InternalVendor, Name: "inside", ProviderType: message.ProviderInternal, Active: true, SupportsMMS: true}
	s.Vendors[inside.ID] = inside
	s.Accounts = map[message.ID]*snapshot.Account{account: {ID: account, Status: snapshot.AccountActive, InternalDelivery: true}}
	s.Numbers = map[message.Address]*snapshot.Number{to: {Number: to, AccountID: stranger, SMSEnabled: true}}
	if got := names(Candidates(s, picture, Ways{})); got != "" {
		t.Errorf("an MMS to a number in the house that takes none goes to %q", got)
	}
	s.Numbers[to].MMSEnabled = true
	if got := names(Candidates(s, picture, Ways{})); got != "inside" {
		t.Errorf("an MMS to a number in the house goes to %q", got)
	}
}
