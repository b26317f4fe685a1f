package ingress_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func (s *server) Reroute(_ context.Context, id message.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if s.closed[id] {
		return message.Refuse(message.ReasonNotFound, "closed")
	}
	s.rerouted = append(s.rerouted, id)
	return nil
}

// A workflow is told; one that is not there needs not be; that Temporal is away is
// said.
func TestReroute(t *testing.T) {
	b := setup(t)
	id, ended := message.NewID(), message.NewID()
	b.server.closed[ended] = true
	for _, id := range []message.ID{id, ended} {
		if err := b.Reroute(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	b.server.down = errors.New("away")
	if err := b.Reroute(t.Context(), id); !errors.Is(err, b.server.down) {
		t.Errorf("%v", err)
	}
	if !slices.Equal(b.server.rerouted, []message.ID{id}) {
		t.Errorf("told %v", b.server.rerouted)
	}
}
