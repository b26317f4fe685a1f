package smpp

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Profile is what is known of a vendor's SMPP service before there is an account at it:
// a row to begin with. It is data: nothing of it is asked for once the row is made.
type Profile struct {
	Name        string // by which staff ask for it
	Description string // a sentence
	// Vendor has the fields that the profile sets; the others are as of any new vendor.
	// Host, Username, Password and Name are the account's own.
	Vendor snapshot.Vendor
	// Ask is what the profile cannot know and staff have to find out.
	Ask []string
}

// Profiles lists the profiles by name. The caller may keep and change what it is given.
func Profiles() []Profile { return []Profile{sinch(), sinchShortCode()} }

// ProfileNamed finds a profile.
func ProfileNamed(name string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// sinch is Sinch's service for long codes and toll-free numbers in the US, formerly
// Inteliquent's, by Sinch's public guides; to be verified with the account's own papers.
func sinch() Profile {
	return Profile{
		Name:        "sinch",
		Description: "Sinch (also former Inteliquent), US long codes and toll-free numbers: TLS, two binds of 10 parts a second.",
		Vendor: snapshot.Vendor{
			ProviderType: "smpp", BindType: "transceiver",
			Port: 3601, UseTLS: true, // TLS 1.2, from addresses that Sinch has been told of
			Throughput: 20, MaxBinds: 2, Window: 10, // 10 a second a bind
			SupportsUnicode: true, // letters as a sender do not exist in the US, and MMS goes by MM4
			IDFormat:        "same", LongMessage: "udh", DefaultAlphabet: "gsm7", ReceiptID: "auto",
			CodeMap: map[string]message.Reason{
				// Elsewhere 000 is "no error"; here a failure of it is the network's.
				"0": message.ReasonUnreachable, "000": message.ReasonUnreachable,
			},
			EnquireLink: 60 * time.Second, ResponseTimeout: 30 * time.Second,
			ReceiptPercent: 50, ReceiptExpected: 5 * time.Minute,
		},
		Ask: []string{
			"host: Sinch has two sites; make a vendor of each, with the same priority",
			"our addresses: Sinch lets in those that it has been told of",
			"system_type: some accounts need cp",
			"whether Sinch connects to us for inbound messages and receipts: then an outbind name, or an SMPP credential of the vendor when it binds",
		},
	}
}

// sinchShortCode is sinch for short codes, whose senders have a type of number of their
// own.
func sinchShortCode() Profile {
	p := sinch()
	unknown, e164 := byte(0), byte(1)
	p.Name = "sinch-short-code"
	p.Description = "Sinch, US short codes: as sinch, with senders of the type that it wants for them."
	p.Vendor.SourceTON, p.Vendor.SourceNPI = &unknown, &e164
	return p
}
