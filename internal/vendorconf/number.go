package vendorconf

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Number is the settings of a number. What it is and its campaign are none.
type Number struct {
	AccountID    string  `json:"account_id" format:"uuid" maxLength:"36" doc:"The customer whose it is. One in a campaign keeps its customer; where messages to it go does not move along"`
	VendorID     *string `json:"vendor_id" format:"uuid" maxLength:"36" doc:"The vendor that hosts it and is asked first for what it sends; null: none in particular"`
	SMSEnabled   bool    `json:"sms_enabled"`
	MMSEnabled   bool    `json:"mms_enabled"`
	Verification string  `json:"verification" enum:"unverified,pending,approved,rejected" doc:"Of a toll-free number"`
	LeasedUntil  *string `json:"leased_until" format:"date-time" maxLength:"40" doc:"When the lease of a short code ends; null: not known"`
	Tag          string  `json:"tag" maxLength:"64"`
	Group        string  `json:"group" maxLength:"64"`
	RateLimit    int     `json:"rate_limit" minimum:"0" maximum:"100000" doc:"Messages a second with it as sender; 0: as many as its customer may"`
	AutoReply    string  `json:"auto_reply" maxLength:"459" lines:"true" doc:"What it answers to whoever writes to it, at most once an hour; empty: nothing"`
}

// NewNumber is the settings of a number when nothing else is said.
func NewNumber() Number { return Number{SMSEnabled: true, Verification: "unverified"} }

// NumberOf writes a number's settings down.
func NumberOf(n *snapshot.Number) Number {
	d := Number{AccountID: n.AccountID.String(), SMSEnabled: n.SMSEnabled, MMSEnabled: n.MMSEnabled, Verification: n.Verification,
		LeasedUntil: instant(n.LeasedUntil), Tag: n.Tag, Group: n.Group, RateLimit: n.RateLimit, AutoReply: n.AutoReply}
	if n.VendorID != (message.ID{}) {
		d.VendorID = word(n.VendorID.String())
	}
	return d
}

// Into makes the number what the document says, unless something of it breaks a rule:
// then the number is left half done, and the faults say why.
func (d Number) Into(n *snapshot.Number) Faults {
	f := checkAll(&d)
	n.AccountID, n.VendorID, n.LeasedUntil = f.id("account_id", d.AccountID), message.ID{}, time.Time{}
	if v := textOf(d.VendorID); v != "" {
		n.VendorID = f.id("vendor_id", v)
	}
	if at := textOf(d.LeasedUntil); at != "" {
		var err error
		if n.LeasedUntil, err = time.Parse(time.RFC3339Nano, at); err != nil {
			f.add("leased_until", "must be a time such as 2027-04-01T00:00:00Z (RFC 3339, with its offset)")
		}
	}
	n.SMSEnabled, n.MMSEnabled, n.Verification = d.SMSEnabled, d.MMSEnabled, d.Verification
	n.Tag, n.Group, n.RateLimit, n.AutoReply = d.Tag, d.Group, d.RateLimit, d.AutoReply
	return f
}
