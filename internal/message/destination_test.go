package message

import (
	"slices"
	"testing"
)

// SumUp puts what has arrived first.
func TestSumUp(t *testing.T) {
	for _, c := range []struct {
		list []InboundState
		want InboundState
	}{
		{nil, InboundStored},
		{[]InboundState{InboundFailed, InboundDelivered, InboundPending}, InboundDelivered},
		{[]InboundState{InboundFailed, InboundStored, InboundPending}, InboundPending},
		{[]InboundState{InboundFailed, InboundStored}, InboundStored},
		{[]InboundState{InboundFailed, InboundFailed}, InboundFailed},
	} {
		var list []InboundDelivery
		for _, s := range c.list {
			list = append(list, InboundDelivery{State: s})
		}
		if got := SumUp(list); got != c.want {
			t.Errorf("%v: %s, want %s", c.list, got, c.want)
		}
		slices.Reverse(list)
		if got := SumUp(list); got != c.want {
			t.Errorf("%v turned round: %s, want %s", c.list, got, c.want)
		}
	}
}

// An inbound message ends, and only one that failed may still arrive.
func TestInboundTransitions(t *testing.T) {
	may := map[[2]Status]bool{{StatusAccepted, StatusDelivered}: true, {StatusAccepted, StatusFailed}: true, {StatusFailed, StatusDelivered}: true}
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			if got := from.InboundCanBecome(to); got != may[[2]Status{from, to}] {
				t.Errorf("%s may become %s: %v", from, to, got)
			}
			if got := slices.Contains(InboundBefore(to), from); got != from.InboundCanBecome(to) {
				t.Errorf("%s before %s: %v", from, to, got)
			}
		}
	}
}
