package notification

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Who wants to hear of failures alone hears of failed and rejected, at whichever URL.
func TestFailuresOnly(t *testing.T) {
	account := message.NewID()
	s := &snapshot.Snapshot{Endpoints: map[message.ID][]snapshot.Endpoint{account: {{ID: message.NewID(), URL: "https://shop.example/a"}}}}
	for _, url := range []string{"", "https://shop.example/b"} {
		var told []message.Status
		for _, st := range message.Statuses() {
			notes, err := Of(s, &message.Message{ID: message.NewID(), AccountID: account, Status: st, WebhookURL: url, FailuresOnly: true}, false)
			if err != nil {
				t.Fatal(err)
			}
			if len(notes) > 0 {
				told = append(told, st)
			}
		}
		if !slices.Equal(told, []message.Status{message.StatusFailed, message.StatusRejected}) {
			t.Errorf("told of %v", told)
		}
	}
}
