package account

import (
	"testing"

	"github.com/postrider/postrider/internal/notification"
)

func TestEveryEventIsExplained(t *testing.T) {
	for _, kind := range notification.Types() {
		if eventWords[kind] == "" {
			t.Errorf("%s has no words", kind)
		}
	}
	if got, want := len(eventWords), len(notification.Types()); got != want {
		t.Errorf("%d types of events have words, and there are %d", got, want)
	}
}
