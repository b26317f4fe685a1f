package notification

import (
	"slices"

	"github.com/postrider/postrider/internal/message"
)

// CampaignStatusChanged is the type of the event that a campaign's status is another
// one.
const CampaignStatusChanged = "campaign.status_changed"

// Types lists the types of events that an endpoint can ask for, in order. An endpoint
// that asks for none gets all.
func Types() []string {
	list := []string{EndpointDisabled, EndpointTest, MessageReceived, BatchCompleted, OptOutCreated, OptOutRemoved, CampaignStatusChanged, CapWarning, CapReached}
	for _, s := range message.Statuses() {
		if s.Told() {
			list = append(list, Type(s))
		}
	}
	slices.Sort(list)
	return list
}

// FeedTypes lists the types of events that are in the pull feed, in order.
func FeedTypes() []string {
	return slices.DeleteFunc(Types(), func(t string) bool { return t == EndpointTest })
}
