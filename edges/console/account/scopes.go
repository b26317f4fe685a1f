package account

import (
	"slices"

	"github.com/postrider/postrider/edges/console/page"
)

// scope is a permission of the customers' API, and what it lets somebody do.
type scope struct{ name, words string }

// scopes are all that a credential or a user can be given, in the order in which they are
// asked for.
var scopes = []scope{
	{"messages:write", "send messages, cancel and retry them"},
	{"messages:read", "read messages, sent and received"},
	{"media:write", "upload files for MMS"},
	{"numbers:read", "see numbers and where their messages go"},
	{"numbers:write", "change where messages to numbers go"},
	{"webhooks:read", "see webhooks and what was delivered"},
	{"webhooks:write", "change webhooks, replay deliveries"},
	{"optouts:read", "see who has opted out"},
	{"optouts:write", "add and end opt-outs"},
	{"registry:read", "see brands and campaigns"},
	{"registry:write", "register brands and campaigns"},
	{"usage:read", "see usage, limits and balance"},
	{"credentials:write", "make and end API and SMPP credentials"},
	{"account:write", "change the account, let users in"},
}

// ScopeWords is what a scope lets somebody do.
func ScopeWords(name string) string {
	for _, s := range scopes {
		if s.name == name {
			return s.words
		}
	}
	return name
}

// scopeOptions are those that the reader can give away, and those that are given already,
// which stay unless somebody takes them away.
func (p Place) scopeOptions(given []string) []page.Option {
	var out []page.Option
	for _, s := range scopes {
		if p.Staff || p.May(s.name) || slices.Contains(given, s.name) {
			out = append(out, page.Option{Value: s.name, Text: s.name + ": " + s.words})
		}
	}
	for _, g := range given {
		if !slices.ContainsFunc(scopes, func(s scope) bool { return s.name == g }) {
			out = append(out, page.Option{Value: g, Text: g})
		}
	}
	return out
}

// scopesCell is a list of scopes in words.
func scopesCell(list []string) page.Cell {
	if len(list) == len(scopes) {
		return page.Str("everything")
	}
	return listCell(list, "nothing")
}
