package ingress

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

func TestFairLevel(t *testing.T) {
	for _, c := range []struct {
		name  string
		asked []int
		rate  int
		want  int
	}{
		{"nobody asked", nil, 200, 200},
		{"one has it all", []int{5000}, 200, 200},
		{"two share", []int{5000, 300}, 200, 100},
		{"who asks for little leaves the rest", []int{5000, 20, 5000}, 200, 90},
		{"in several rounds", []int{10, 60, 5000, 5000}, 200, 65},
		{"all ask for little", []int{10, 20}, 200, 100},
		{"more accounts than the rate", []int{9, 9, 9, 9, 9}, 3, 1},
	} {
		asked := map[message.ID]int{}
		for _, n := range c.asked {
			asked[message.NewID()] = n
		}
		if got := fairLevel(asked, c.rate); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// All accounts together get no more than the rate, or one each, and as much of it as
// they asked for, but for what does not divide.
func TestFairLevelGivesOutTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.IntRange(1, 400), 1, 30).Draw(t, "asked")
		rate := rapid.IntRange(1, 500).Draw(t, "rate")
		asked, sum := map[message.ID]int{}, 0
		for _, n := range list {
			asked[message.NewID()] = n
			sum += n
		}
		level, given := fairLevel(asked, rate), 0
		for _, n := range list {
			given += min(n, level)
		}
		if given > max(rate, len(list)) {
			t.Fatalf("%d given of %d", given, rate)
		}
		if given < min(sum, rate-len(list)+1) {
			t.Fatalf("%d given of %d, %d were asked for", given, rate, sum)
		}
	})
}
