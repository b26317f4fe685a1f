package postgres

import (
	"testing"

	"github.com/postrider/postrider/internal/notification"
)

func TestCampaignEventHasOneName(t *testing.T) {
	t.Parallel()
	if campaignEvent != notification.CampaignStatusChanged {
		t.Errorf("%q and %q", campaignEvent, notification.CampaignStatusChanged)
	}
}
