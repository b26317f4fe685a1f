package account

import (
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/notification"
)

// eventWords says when an event of each type is sent.
var eventWords = map[string]string{
	"batch.completed":         "all rows of a batch have ended",
	"campaign.cap_reached":    "a campaign has used up its day",
	"campaign.cap_warning":    "80 % of a campaign's day are used",
	"campaign.status_changed": "the registry says something new of a campaign",
	"endpoint.disabled":       "another endpoint was disabled",
	"endpoint.test":           "somebody has asked for a test",
	"message.accepted":        "a message was taken and written down",
	"message.canceled":        "a message was withdrawn before it left",
	"message.delivered":       "the network reports that the handset has it",
	"message.expired":         "its validity ended before it was delivered",
	"message.failed":          "no vendor took it",
	"message.in_doubt":        "nobody knows whether the vendor has it",
	"message.received":        "a message came in to one of your numbers",
	"message.rejected":        "a rule refused it",
	"message.sent":            "a vendor has taken it",
	"message.unconfirmed":     "it was sent, and no report came in time",
	"message.undelivered":     "the network reports that it cannot be delivered",
	"opt_out.created":         "a recipient has opted out",
	"opt_out.removed":         "a recipient has opted in again",
}

// eventOptions are the types of events, each with when it is sent.
func eventOptions() []page.Option {
	var out []page.Option
	for _, t := range notification.Types() {
		out = append(out, page.Option{Value: t, Text: t + ": " + eventWords[t]})
	}
	return out
}
