package office

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A route that is moved changes places with its neighbour alone, whatever the priorities are.
func TestMovedRoute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list, id string // id:priority
		up       bool
		want     string // the order then, those of one priority together
	}{
		{"1:10 2:20 3:30", "3", true, "1 3 2"},
		{"1:10 2:20 3:30", "1", false, "2 1 3"},
		{"1:10 2:20 3:30", "2", false, "1 3 2"},
		{"1:0 2:1 3:2", "2", true, "2 1 3"},
		{"1:0 2:1 3:2 4:9", "3", true, "1 3 2 4"},
		{"1:10 2:10 3:20", "2", true, "2 1 3"},
		{"1:10 2:10 3:11", "1", false, "2 1 3"},
		{"1:10 2:20 3:20 4:30", "4", true, "1 4 2,3"},
		{"1:10 2:11 3:11 4:12", "4", true, "1 4 2,3"},
		{"1:10", "1", true, "1"}, {"1:10 2:20", "1", true, "1 2"}, {"1:10 2:20", "2", false, "1 2"}, {"1:10", "7", true, "1"},
	} {
		var list []routeView
		for _, w := range strings.Fields(c.list) {
			var r routeView
			if _, err := fmt.Sscanf(w, "%d:%d", &r.ID, &r.Priority); err != nil {
				t.Fatal(err)
			}
			list = append(list, r)
		}
		for _, m := range moved(list, c.id, c.up) {
			i := slices.IndexFunc(list, func(r routeView) bool { return r.ID == m.ID })
			list[i].Priority = m.Priority
		}
		slices.SortFunc(list, func(a, b routeView) int { return 1000*(a.Priority-b.Priority) + int(a.ID-b.ID) })
		got := ""
		for i, r := range list {
			switch {
			case r.Priority < 0:
				t.Errorf("%s: priority %d", c.list, r.Priority)
			case i == 0:
			case list[i-1].Priority == r.Priority:
				got += ","
			default:
				got += " "
			}
			got += fmt.Sprint(r.ID)
		}
		if got != c.want {
			t.Errorf("%s, %s up %t: %s, want %s", c.list, c.id, c.up, got, c.want)
		}
	}
}

func TestRouteInWords(t *testing.T) {
	t.Parallel()
	sms, otp, need, account := "sms", "otp", "unicode", "a"
	for _, c := range []struct {
		route routeView
		want  string
	}{
		{routeView{}, "every message"},
		{routeView{Dest: "^1", Days: "mon-sun", From: "00:00", Until: "00:00"}, "to +1…"},
		{routeView{Dest: "^1.*", Source: "^4477$"}, "to +1…, from +4477"},
		{routeView{Dest: ".*"}, "to any number"},
		{routeView{Dest: "^(1|44)"}, "to what matches ^(1|44)"},
		{routeView{Type: &sms, Class: &otp, Need: &need, AccountID: &account, Days: "mon-fri", From: "08:00", Until: "20:00", Zone: "UTC"}, "SMS, class otp, texts that need Unicode, of Acme, on mon-fri, from 08:00 until 20:00 (UTC)"},
	} {
		if got := c.route.matches("Acme"); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
