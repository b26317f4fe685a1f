package account

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
)

// recordsPages are the pages of what an account has to send and receive with, and of what
// came of it: numbers, delivery of what comes in, usage, money, opt-outs and registrations.
func recordsPages() map[string]show {
	return map[string]show{
		"GET /numbers":                       (*visit).numbers,
		"GET /numbers/{number}":              (*visit).number,
		"POST /numbers/{number}":             (*visit).saveNumber,
		"GET /numbers/{number}/inbound":      (*visit).numberInbound,
		"POST /numbers/{number}/inbound":     (*visit).numberInbound,
		"POST /numbers/{number}/test":        (*visit).testInbound,
		"GET /inbound-settings":              (*visit).defaultInbound,
		"POST /inbound-settings":             (*visit).defaultInbound,
		"GET /usage":                         (*visit).usage,
		"GET /usage/export":                  (*visit).exportUsage,
		"GET /balance":                       (*visit).balance,
		"POST /balance":                      (*visit).book,
		"GET /balance/export":                (*visit).exportEntries,
		"GET /opt-outs":                      (*visit).optOuts,
		"GET /opt-outs/new":                  (*visit).newOptOut,
		"POST /opt-outs/new":                 (*visit).newOptOut,
		"GET /opt-outs/check":                (*visit).checkOptOut,
		"GET /opt-outs/import":               (*visit).importOptOuts,
		"POST /opt-outs/import":              (*visit).importOptOuts,
		"GET /opt-outs/export":               (*visit).exportOptOuts,
		"GET /opt-outs/{optout}":             (*visit).optOut,
		"POST /opt-outs/{optout}":            (*visit).endOptOut,
		"GET /registration":                  (*visit).registration,
		"GET /brands/new":                    (*visit).newBrand,
		"POST /brands/new":                   (*visit).newBrand,
		"GET /brands/{brand}":                (*visit).brand,
		"POST /brands/{brand}/submit":        (*visit).submitBrand,
		"GET /brands/{brand}/{step}":         (*visit).brandStep,
		"POST /brands/{brand}/{step}":        (*visit).brandStep,
		"GET /campaigns/new":                 (*visit).newCampaign,
		"POST /campaigns/new":                (*visit).newCampaign,
		"GET /campaigns/{campaign}":          (*visit).campaign,
		"POST /campaigns/{campaign}/submit":  (*visit).submitCampaign,
		"POST /campaigns/{campaign}/numbers": (*visit).assignNumbers,
		"POST /campaigns/{campaign}/release": (*visit).releaseNumber,
		"GET /campaigns/{campaign}/{step}":   (*visit).campaignStep,
		"POST /campaigns/{campaign}/{step}":  (*visit).campaignStep,
	}
}

// The scopes of the customers' API that these pages ask for.
const (
	numbersRead   = "numbers:read"
	numbersWrite  = "numbers:write"
	usageRead     = "usage:read"
	optOutsRead   = "optouts:read"
	optOutsWrite  = "optouts:write"
	registryRead  = "registry:read"
	registryWrite = "registry:write"
)

func numbersLinks(p Place) []page.Link {
	return p.links(link{"Numbers", "/numbers", numbersRead}, link{"Inbound delivery", "/inbound-settings", numbersRead}, link{"10DLC registration", "/registration", registryRead}, link{"Opt-outs", "/opt-outs", optOutsRead})
}

func usageLinks(p Place) []page.Link {
	return p.links(link{"Usage", "/usage", usageRead}, link{"Balance", "/balance", usageRead})
}

// crumbs lead to a page below others of the account.
func (v *visit) crumbs(links ...page.Link) []page.Link {
	return append(append([]page.Link{}, v.Crumbs...), links...)
}

// param is a part of the path as it can stand in another one.
func (v *visit) param(name string) string { return url.PathEscape(v.Param(name)) }

// messagesOf is the list of messages that fit a query, which stands elsewhere for staff.
func (v *visit) messagesOf(query url.Values) string {
	if !v.Staff {
		if len(query) == 0 {
			return v.At("/messages")
		}
		return v.At("/messages?" + query.Encode())
	}
	whole := url.Values{"account_id": {v.account()}}
	for name, values := range query {
		whole[name] = values
	}
	return v.At("/messages?" + whole.Encode())
}

// account is the account's id, for staff; the portal's users have one only.
func (v *visit) account() string {
	_, id, _ := strings.Cut(v.API, "/customers/")
	id, _, _ = strings.Cut(id, "/")
	return id
}

// message is a link to the page of one; nil: a dash.
func (v *visit) message(id *string) page.Cell {
	if id == nil {
		return page.None("")
	}
	return page.CodeTo(ending(*id), v.At("/messages/"+url.PathEscape(*id))).WithHelp(*id)
}

// ending is the end of an id, which tells ids of one time apart.
func ending(id string) string {
	if len(id) > 12 {
		return "…" + id[len(id)-12:]
	}
	return id
}

// words makes a word of the API readable: at_most_once, PRIVATE_PROFIT.
func words(s string) string {
	if s == strings.ToUpper(s) {
		s = strings.ToLower(s)
	}
	return strings.ReplaceAll(s, "_", " ")
}

// joined puts what is there together.
func joined(by string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), by)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// refusal is what the API said no with, if it did.
func refusal(err error) (*call.Problem, bool) {
	var p *call.Problem
	ok := errors.As(err, &p)
	return p, ok
}

func pageFaults(p *call.Problem) []page.Fault {
	var out []page.Fault
	for _, f := range p.Errors {
		out = append(out, page.Fault{Location: f.Location, Message: f.Message})
	}
	return out
}
