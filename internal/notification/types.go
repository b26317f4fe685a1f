package notification

import (
	"slices"

	"github.com/postrider/postrider/internal/message"
)

// CampaignStatusChanged is the type of the event that a campaign's status is another
// one.
const CampaignStatusChanged = "campaign.status_changed"

// documented are types of the contract that are made elsewhere, or by a later release:
// an endpoint may ask for them already.
var documented = []string{"batch.completed", "endpoint.disabled", "endpoint.test"}

// Types lists the types of events that an endpoint can ask for, in order. An endpoint
// that asks for none gets all.
func Types() []string {
	list := append(slices.Clone(documented), MessageReceived, OptOutCreated, OptOutRemoved, CampaignStatusChanged, CapWarning, CapReached)
	for _, s := range message.Statuses() {
		if told[s] {
			list = append(list, Type(s))
		}
	}
	slices.Sort(list)
	return list
}
