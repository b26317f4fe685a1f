package account

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/edges/console/page"
)

func texts(groups []page.NavGroup) []string {
	var out []string
	for _, g := range groups {
		for _, l := range g.Links {
			out = append(out, l.Text)
		}
	}
	return out
}

func TestLinksAreThoseThatTheReaderMayRead(t *testing.T) {
	of := func(staff bool, scopes ...string) []string {
		return texts(Links(Place{Base: "/portal", Staff: staff, May: func(s string) bool { return slices.Contains(scopes, s) }}))
	}
	if got := of(false, "webhooks:read"); !slices.Contains(got, "Deliveries") || slices.Contains(got, "Users") || slices.Contains(got, "Limits") {
		t.Error(got)
	}
	if got := of(false, "account:write"); !slices.Contains(got, "Users") || !slices.Contains(got, "Settings") || slices.Contains(got, "Deliveries") {
		t.Error(got)
	}
	if got := of(true); !slices.Contains(got, "Users") || !slices.Contains(got, "API credentials") || slices.Contains(got, "API reference") {
		t.Errorf("staff read everything: %v", got)
	}
}

func TestTabShowsWhereTheReaderIs(t *testing.T) {
	p := Place{Base: "/console/customers/1", Staff: true, May: func(string) bool { return true }, Also: []page.Link{{Text: "Terms", Href: "/console/customers/1/terms"}}}
	for path, want := range map[string]string{"/console/customers/1": "Overview", "/console/customers/1/users/2": "Users", "/console/customers/1/terms": "Terms", "/console/customers/1/usersof": ""} {
		got := ""
		for _, l := range p.tabs(path).Items {
			if l.Current {
				got += l.Text
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestEveryScopeIsInWords(t *testing.T) {
	for _, s := range scopes {
		if ScopeWords(s.name) != s.words || s.words == "" {
			t.Error(s)
		}
	}
	if got := ScopeWords("of:later"); got != "of:later" {
		t.Error(got)
	}
}

func TestNobodyGivesAwayWhatHeHasNot(t *testing.T) {
	p := Place{May: func(s string) bool { return s == "messages:read" }}
	var got []string
	for _, o := range p.scopeOptions([]string{"usage:read", "of:later"}) {
		got = append(got, o.Value)
	}
	if !slices.Equal(got, []string{"messages:read", "usage:read", "of:later"}) {
		t.Error(got)
	}
	if n := len(Place{Staff: true}.scopeOptions(nil)); n != len(scopes) {
		t.Errorf("staff can give %d of %d", n, len(scopes))
	}
}
