package office

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// What needs somebody stands first, in words, and what can wait behind it.
func TestVerdict(t *testing.T) {
	t.Parallel()
	refused, old, young := "bind refused: 0x0E", 90, 3
	well := vendorStatus{Name: "a", Active: true, BindStatus: "connected", Health: "healthy"}
	with := func(change func(*vendorStatus)) []vendorStatus { s := well; change(&s); return []vendorStatus{s} }
	for name, c := range map[string]struct {
		view overviewView
		tone page.Tone
		want string
	}{
		"well":          {overviewView{Vendors: []vendorStatus{well}}, page.Good, "All is well."},
		"no vendor":     {overviewView{}, page.Warn, "There is no vendor."},
		"off":           {overviewView{Vendors: with(func(s *vendorStatus) { s.Active, s.BindStatus = false, "disconnected" })}, page.Good, "All is well."},
		"disconnected":  {overviewView{Vendors: with(func(s *vendorStatus) { s.BindStatus, s.LastError = "disconnected", &refused })}, page.Bad, "Vendor a is disconnected. Its last error: bind refused: 0x0E"},
		"down":          {overviewView{Vendors: with(func(s *vendorStatus) { s.Health = "down" })}, page.Bad, "Vendor a is down"},
		"degraded":      {overviewView{Vendors: with(func(s *vendorStatus) { s.Health = "degraded" })}, page.Warn, "degraded"},
		"paused":        {overviewView{Vendors: with(func(s *vendorStatus) { s.Paused = true })}, page.Warn, "it is paused"},
		"errors":        {overviewView{Vendors: []vendorStatus{well}, LastMinute: flow{ErrorRate: 0.25}}, page.Bad, "25\u00a0%"},
		"not started":   {overviewView{Vendors: []vendorStatus{well}, Unstarted: pile{Count: 1, OldestSeconds: &old}}, page.Bad, "the oldest for 1 min 30 s"},
		"just accepted": {overviewView{Vendors: []vendorStatus{well}, Unstarted: pile{Count: 5, OldestSeconds: &young}}, page.Good, "All is well."},
		"in doubt":      {overviewView{Vendors: []vendorStatus{well}, InDoubt: pile{Count: 1234}}, page.Warn, "In doubt: 1,234. "},
		"many":          {overviewView{Vendors: []vendorStatus{well}, WebhooksFailed: pile{Count: 10_000}}, page.Warn, "Webhook deliveries given up: 10,000 or more. "},
		"cap":           {overviewView{Vendors: []vendorStatus{well}, Caps: []usedCap{{Name: "B1", Period: "day", Used: 10, Limit: 10}}}, page.Warn, "cap of B1 is used up"},
		"half a cap":    {overviewView{Vendors: []vendorStatus{well}, Caps: []usedCap{{Name: "B1", Period: "day", Used: 9, Limit: 10}}}, page.Good, "All is well."},
		"both":          {overviewView{Vendors: with(func(s *vendorStatus) { s.BindStatus = "connecting" }), Held: pile{Count: 1}}, page.Bad, "Held: 1. "},
	} {
		n, ok := verdict(&site.Visit{Site: &site.Site{}}, &c.view).(page.Notice)
		text := n.Title + " " + n.Text + " " + strings.Join(n.Lines, " ")
		if !ok || n.Tone != c.tone || !strings.Contains(text, c.want) {
			t.Errorf("%s: %s %q, want %s %q", name, n.Tone, text, c.tone, c.want)
		}
	}
}

// The fields of a what-if become what the operation takes.
func TestProposal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ fields, want, wrong string }{
		{"", "map[remove:[]]", ""},
		{"_vendor=v", "map[remove:[] vendors:[map[is_active:false vendor:v]]]", ""},
		{"_route=7 _priority=3", "map[remove:[] routes:[map[id:7 priority:3]]]", ""},
		{"_route=7", "map[remove:[]]", ""},
		{"_route_vendor=v _dest=^44", "map[remove:[] routes:[map[dest_pattern:^44 vendor_id:v]]]", ""},
		{"_priority=3", "", "_route_vendor"},
		{"_route=7 _priority=x", "", "_priority"},
	} {
		form := &page.Form{}
		for _, name := range []string{"_remove", "_vendor", "_route", "_route_vendor", "_priority", "_dest", "_rate"} {
			form.Fields = append(form.Fields, page.Field{Name: name})
		}
		for _, f := range strings.Fields(c.fields) {
			name, value, _ := strings.Cut(f, "=")
			form.Field(name).Value = value
		}
		got := fmt.Sprint(proposal(form, map[string]any{}))
		switch {
		case c.wrong != "":
			if form.Field(c.wrong).Error == "" {
				t.Errorf("%s: nothing is wrong with %s", c.fields, c.wrong)
			}
		case form.Failed() || got != c.want:
			t.Errorf("%s: %s, want %s", c.fields, got, c.want)
		}
	}
}
