package message

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// legal is the table of statuses of the API document, written down a second
// time: a change of the one without the other is a mistake.
const legal = `
accepted    scheduled queued rejected canceled expired failed
scheduled   queued rejected canceled expired failed
queued      sending rejected canceled expired failed
sending     sent queued in_doubt failed delivered undelivered expired
in_doubt    sent delivered undelivered expired unconfirmed queued failed
sent        delivered undelivered expired unconfirmed
delivered
undelivered
failed
rejected
expired
canceled
unconfirmed delivered undelivered expired
`

func legalTable() (order []Status, next map[Status][]Status) {
	next = make(map[Status][]Status)
	for _, line := range strings.Split(strings.TrimSpace(legal), "\n") {
		words := strings.Fields(line)
		s := Status(words[0])
		order = append(order, s)
		for _, w := range words[1:] {
			next[s] = append(next[s], Status(w))
		}
	}
	return order, next
}

func TestStatusTable(t *testing.T) {
	order, next := legalTable()
	if !slices.Equal(Statuses(), order) {
		t.Fatalf("Statuses() = %v", Statuses())
	}
	odd := append(Statuses(), "", "Accepted", "read")
	for _, s := range odd {
		if s.Valid() != slices.Contains(order, s) {
			t.Errorf("%q.Valid() = %v", s, s.Valid())
		}
		for _, n := range odd {
			if want := slices.Contains(next[s], n); s.CanBecome(n) != want {
				t.Errorf("%q.CanBecome(%q) = %v", s, n, !want)
			}
		}
	}
}

func TestBeforeIsTheTableReadBackwards(t *testing.T) {
	order, next := legalTable()
	for _, n := range order {
		var want []Status
		for _, s := range order {
			if slices.Contains(next[s], n) {
				want = append(want, s)
			}
		}
		if got := Before(n); !slices.Equal(got, want) {
			t.Errorf("Before(%s) = %v, want %v", n, got, want)
		}
	}
	for _, s := range []Status{StatusAccepted, "", "read"} {
		if got := Before(s); got != nil {
			t.Errorf("Before(%q) = %v, want none", s, got)
		}
	}
}

func TestFinalStatuses(t *testing.T) {
	order, _ := legalTable()
	for i, s := range order {
		if want := i >= len(order)-7; s.Final() != want {
			t.Errorf("%s.Final() = %v", s, !want)
		}
		if want := s == StatusAccepted || s == StatusScheduled || s == StatusQueued; s.Cancelable() != want {
			t.Errorf("%s.Cancelable() = %v", s, !want)
		}
		if s.Final() && s != StatusUnconfirmed && slices.ContainsFunc(order, s.CanBecome) {
			t.Errorf("%s is final and goes on", s)
		}
	}
}

// A life is any walk along legal changes. Whatever the walk, nothing that a
// customer was told is taken back.
func TestNoWayBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := StatusAccepted
		var seen []Status
		for range 40 {
			var next []Status
			for _, n := range Statuses() {
				if s.CanBecome(n) {
					next = append(next, n)
				}
			}
			if len(next) == 0 {
				if !s.Final() {
					t.Fatalf("stuck in %s", s)
				}
				return
			}
			n := rapid.SampledFrom(next).Draw(t, "next")
			switch {
			case n == s:
				t.Fatalf("%s becomes itself", s)
			case n == StatusAccepted:
				t.Fatalf("%s becomes accepted again", s)
			case n == StatusScheduled && s != StatusAccepted:
				t.Fatalf("%s waits for its time again", s)
			case slices.Contains(seen, StatusSent) && !n.Final():
				t.Fatalf("the vendor took it, and then it is %s", n)
			case s.Final() && !(s == StatusUnconfirmed && n.Final()):
				t.Fatalf("final %s becomes %s", s, n)
			case n.Cancelable() && slices.Contains(seen, StatusSent):
				t.Fatalf("a sent message can be canceled in %s", n)
			}
			seen = append(seen, s)
			s = n
		}
	})
}

func TestEveryStatusCanEnd(t *testing.T) {
	for _, s := range Statuses() {
		reach := map[Status]bool{s: true}
		for grew := true; grew; {
			grew = false
			for r := range reach {
				for _, n := range Statuses() {
					if r.CanBecome(n) && !reach[n] {
						reach[n], grew = true, true
					}
				}
			}
		}
		ends := false
		for r := range reach {
			ends = ends || r.Final()
		}
		if !ends {
			t.Errorf("%s never ends", s)
		}
		if s == StatusAccepted && len(reach) != len(Statuses()) {
			t.Errorf("from accepted only %d statuses are reached", len(reach))
		}
	}
}
