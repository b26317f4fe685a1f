package message_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

func TestAttemptRef(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := message.AttemptRef{MessageID: message.NewID(), Part: rapid.IntRange(1, 255).Draw(t, "part"), Attempt: rapid.IntRange(1, 1000).Draw(t, "attempt")}
		got, ok := message.ParseAttemptRef(want.String())
		if !ok || got != want {
			t.Fatalf("%v read as %v, %v", want, got, ok)
		}
	})
}

func TestNoAttemptRef(t *testing.T) {
	good := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 1}.String()
	for _, s := range []string{"", "1-1", good + "-1", good[1:], "x" + good[1:], good[:33] + "0-1", good[:33] + "256-1", good[:33] + "1-0", good[:33] + "01-1", good[:33] + "+1-1", message.NewID().String()} {
		if r, ok := message.ParseAttemptRef(s); ok {
			t.Errorf("%q read as %v", s, r)
		}
	}
}
