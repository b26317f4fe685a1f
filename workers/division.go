package workers

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/postrider/postrider/internal/message"
)

// division is how one vendor's slots are shared out, as one process sees it after it
// has written its own part. Every slot stands for one bind and for one part of the
// rate; `of` in a lease says for which.
type division struct {
	me     string
	vendor message.ID
	slots  int // that the vendor has
	// mine are the leases that this process has, by slot; others those that other
	// processes have.
	mine, others []message.VendorLease
	// servers are the processes that serve the vendor, without this one.
	servers []string
}

// target is how many slots are this process's by right. Who has more than others keeps
// what cannot be shared evenly: a bind is not moved without need.
func (d division) target() int {
	type server struct {
		name string
		has  int
		hash uint64
	}
	all := []server{{name: d.me, has: len(d.mine)}}
	for _, name := range d.servers {
		if name != d.me {
			all = append(all, server{name: name})
		}
	}
	for i := range all {
		// Single binds of several vendors do not all go to the same process.
		h := fnv.New64a()
		_, _ = h.Write(d.vendor[:])
		_, _ = h.Write([]byte(all[i].name))
		all[i].hash = h.Sum64()
		for _, l := range d.others {
			if l.Instance == all[i].name {
				all[i].has++
			}
		}
	}
	slices.SortFunc(all, func(a, b server) int {
		return cmp.Or(cmp.Compare(b.has, a.has), cmp.Compare(a.hash, b.hash), cmp.Compare(a.name, b.name))
	})
	rank := slices.IndexFunc(all, func(s server) bool { return s.name == d.me })
	if d.slots == 0 {
		return 0
	}
	target := d.slots / len(all)
	if rank < d.slots%len(all) {
		target++
	}
	return target
}

// plan is what the process does next: it goes on with keep, stops using leave and gives
// it back, and tries to get take. Each is in order, by slot.
func (d division) plan() (keep, leave, take []int) {
	target := d.target()
	free := make([]bool, d.slots)
	for i := range free {
		free[i] = true
	}
	for _, l := range slices.Concat(d.mine, d.others) {
		if l.Slot < d.slots {
			free[l.Slot] = false
		}
	}
	own := make([]int, 0, len(d.mine))
	for _, l := range d.mine {
		own = append(own, l.Slot)
	}
	slices.Sort(own)
	for _, slot := range own {
		if slot < d.slots && len(keep) < target {
			keep = append(keep, slot)
		} else {
			leave = append(leave, slot)
		}
	}
	for slot := 0; slot < d.slots && len(keep)+len(take) < target; slot++ {
		if free[slot] {
			take = append(take, slot)
		}
	}
	return keep, leave, take
}

// claimed is what part of the rate leases claim.
func claimed(leases []message.VendorLease) float64 {
	sum := 0.0
	for _, l := range leases {
		sum += 1 / float64(max(1, l.Of))
	}
	return sum
}

// almost forgives what adding fractions leaves over.
const almost = 1e-9

// of is the part of the rate that the process claims for each of so many slots of its
// own. It is the vendor's, unless that is more than it claimed before and the others
// still claim it.
func (d division) of(count int) int {
	before := 0
	for _, l := range d.mine {
		before = max(before, l.Of)
	}
	if d.slots == 0 {
		return max(1, before)
	}
	if before > d.slots && claimed(d.others)+float64(count)/float64(d.slots) > 1+almost {
		return before
	}
	return d.slots
}

// fitting are those of the slots to be taken whose part of the rate the others leave,
// beside what the process claims for so many slots already. They leave it once they have
// heard of a change of the vendor's slots.
func (d division) fitting(take []int, own, of int) []int {
	left := 1 + almost - claimed(d.others) - float64(own)/float64(of)
	return take[:min(len(take), max(0, int(left*float64(of))))]
}

// fraction is what part of the vendor's rate the process may use over so many slots: what
// it claims for them, as far as the others leave it. The claims that it rests on are
// committed, all of them, before the others' are read: of two that raise theirs at once,
// one sees the other's.
func (d division) fraction(active int) float64 {
	if active == 0 || len(d.mine) == 0 {
		return 0
	}
	of := 1
	for _, l := range d.mine {
		of = max(of, l.Of)
	}
	f := min(float64(active)/float64(of), 1-claimed(d.others))
	if f <= almost {
		return 0
	}
	return f
}
