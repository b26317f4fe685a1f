package main

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

func TestNumbersAreDistinctAndValid(t *testing.T) {
	if planSize() < 10_000_000 {
		t.Fatalf("the plan has %d numbers", planSize())
	}
	rapid.Check(t, func(t *rapid.T) {
		n := numbers{from: rapid.Uint64().Draw(t, "from")}
		i := rapid.IntRange(0, int(planSize())-1).Draw(t, "i")
		to := n.at(i)
		// A number leads back to its message, so no two messages share one.
		if back, ok := n.index(to); !ok || back != i {
			t.Fatalf("message %d has number %s, which is message %d (%v)", i, to, back, ok)
		}
		if back, ok := n.index(to[1:]); !ok || back != i {
			t.Fatalf("without its plus sign, %s is message %d (%v)", to, back, ok)
		}
		address, err := message.ParseRecipient(to)
		if err != nil || string(address) != to {
			t.Fatalf("%s: %v, %v", to, address, err)
		}
		if !address.USLongCode() || address.Premium() || address.TollFree() {
			t.Fatalf("%s is no ordinary US number", to)
		}
		if to[8:10] == "00" {
			t.Fatalf("%s means something to the simulator", to)
		}
	})
}

func TestNumbersSpreadOverAreas(t *testing.T) {
	var n numbers
	areas := map[string]int{}
	for i := range 10_000 {
		areas[n.at(i)[2:5]]++
	}
	if len(areas) != len(areaCodes) {
		t.Errorf("10,000 messages in a row go to %d areas of %d", len(areas), len(areaCodes))
	}
}

func TestIndexRefusesForeignNumbers(t *testing.T) {
	var n numbers
	for _, number := range []string{"", "+", "+1", "+13105550117", "+12110000200", "+19002340200", "+13109760200", "+13102340099", "+4915112345678", "13102340x00", "+131023401000", "+-3102340100"} {
		if i, ok := n.index(number); ok {
			t.Errorf("%q is message %d", number, i)
		}
	}
}
