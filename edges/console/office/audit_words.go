package office

import (
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/message"
)

func isID(s string) bool {
	_, err := message.ParseID(s)
	return err == nil
}

// auditObjects are what things are called, by the first part of an action.
var auditObjects = map[string]string{
	"account": "Account", "api_credential": "API credential", "balance": "Balance", "brand": "Brand", "campaign": "Campaign", "config": "Configuration", "content_rule": "Content rule",
	"inbound": "Unrouted messages", "media_profile": "Media profile", "message": "Message", "mm4_peer": "MM4 peer", "number": "Number", "opt_out": "Opt-out", "payload": "Data of a workflow", "portal_user": "Portal user", "receipt": "Receipt",
	"route": "Route", "service_credential": "Service credential", "session": "Session", "signing_key": "Signing key", "smpp_credential": "SMPP credential", "staff": "Staff", "usage_limit": "Usage limit",
	"usage_limits": "Usage limits", "vendor": "Vendor", "webhook": "Webhook", "webhook_delivery": "Webhook delivery", "webhook_endpoint": "Webhook endpoint",
}

// auditDeeds are what was done, by the second part. One that is missing is said as it is.
var auditDeeds = map[string]string{
	"create": "made", "update": "changed", "delete": "deleted", "read": "read", "remove": "taken away", "set": "set", "revoke": "revoked", "regenerate": "secret made anew", "rotate": "secret made anew",
	"status": "status changed", "rate": "rate changed", "login": "signed in", "login_failed": "wrong password", "logout": "signed out", "password": "password chosen", "reset": "link for a password asked for",
	"invite": "invited", "factor_add": "second factor put on", "factor_remove": "second factor taken off", "review_release": "released", "review_refuse": "refused", "cancel": "canceled", "retry": "sent once more",
	"reroute": "re-routed", "resolve": "doubt resolved", "redrive": "taken in", "match": "matched", "replay": "replayed", "replay_range": "replayed, many", "book": "booked", "submit": "filed", "sync": "compared with the registry",
	"suspend": "suspended", "resume": "resumed", "pause": "paused", "drain": "drained", "restart": "restarted", "test": "tested", "throughput": "throughput changed", "reload": "read anew", "import": "imported", "end": "ended",
	"enabled": "switched on or off", "disable": "switched off", "draft": "drafted", "change": "changed", "numbers": "numbers changed", "cap": "daily cap changed", "pace": "pace changed", "add": "added",
	"webhook_secret": "webhook secret made anew", "answers": "automatic answers changed", "destinations": "destinations changed", "prepaid": "prepayment changed", "address": "address changed", "replies": "replies changed",
}

// actionWords says an action of the audit log as people do: "content_rule.create" is
// "Content rule made".
func actionWords(action string) string {
	object, deed, _ := strings.Cut(action, ".")
	name, ok := auditObjects[object]
	if !ok {
		name = spaced(object)
	}
	did, ok := auditDeeds[deed]
	if !ok {
		did = spaced(deed)
	}
	return strings.TrimSpace(name + " " + did)
}

// filteredActions are those that people look for. Others are found by who and when.
var filteredActions = []string{
	"account.create", "account.status", "account.update", "api_credential.create", "api_credential.revoke", "balance.book", "brand.submit", "campaign.submit", "campaign.suspend", "config.reload", "content_rule.create", "content_rule.update", "content_rule.delete",
	"inbound.read", "inbound.redrive", "message.cancel", "message.read", "message.reroute", "message.resolve", "message.retry", "message.review_release", "message.review_refuse", "number.create", "number.update", "opt_out.create", "opt_out.end", "payload.read",
	"receipt.match", "route.create", "route.update", "route.delete", "service_credential.create", "service_credential.update", "session.end", "smpp_credential.create", "smpp_credential.update", "staff.create", "staff.invite", "staff.login", "staff.login_failed", "staff.update", "staff.password",
	"staff.factor_remove", "vendor.create", "vendor.update", "vendor.pause", "vendor.resume", "vendor.drain", "vendor.restart", "vendor.throughput", "webhook_delivery.replay", "webhook_delivery.replay_range",
}

func actionOptions() []page.Option {
	out := make([]page.Option, len(filteredActions))
	for i, a := range filteredActions {
		out[i] = page.Option{Value: a, Text: actionWords(a)}
	}
	slices.SortFunc(out, func(a, b page.Option) int { return strings.Compare(a.Text, b.Text) })
	return anyOption(out...)
}

// change is one value before and after.
type change struct{ name, before, after string }

// changes are what a line says of values: by name, those that stayed left out.
func (a *auditView) changes() []change {
	var before, after map[string]any
	_ = json.Unmarshal(a.Before, &before) // null, or an object that this process has written
	_ = json.Unmarshal(a.After, &after)
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	var out []change
	for name := range names {
		c := change{name: name, before: spoken(before[name]), after: spoken(after[name])}
		if c.before != c.after {
			out = append(out, c)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out
}

// maxSummary is how many changes a line of the list tells.
const maxSummary = 3

// summary is the changes in a line.
func (a *auditView) summary() string {
	list := a.changes()
	var out []string
	for _, c := range list[:min(len(list), maxSummary)] {
		s, before, after := spaced(c.name)+": ", brief(c.before), brief(c.after)
		switch {
		case before == "":
			s += after
		case after == "":
			s += before + " → none"
		default:
			s += before + " → " + after
		}
		out = append(out, s)
	}
	if more := len(list) - len(out); more > 0 {
		out = append(out, "and "+strconv.Itoa(more)+" more")
	}
	return strings.Join(out, "; ")
}

// brief is enough of a value for a line.
func brief(s string) string {
	first, rest, several := strings.Cut(s, ", ")
	if isID(first) {
		if !several {
			return short(first)
		}
		return short(first) + " and " + strconv.Itoa(1+strings.Count(rest, ", ")) + " more"
	}
	return firstOf(s, 60)
}

// maxSpoken is how many members of a list are told.
const maxSpoken = 20

// spoken is a JSON value as text; nothing for null and what is empty.
func spoken(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if strings.HasPrefix(v, "0001-01-01T") { // the zero time: none
			return ""
		}
		return v
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		var list []string
		for _, e := range v[:min(len(v), maxSpoken)] {
			list = append(list, spoken(e))
		}
		if more := len(v) - len(list); more > 0 {
			list = append(list, "and "+strconv.Itoa(more)+" more")
		}
		return strings.Join(list, ", ")
	case map[string]any:
		var list []string
		for name, e := range v {
			list = append(list, spaced(name)+" "+spoken(e))
		}
		slices.Sort(list)
		return strings.Join(list, ", ")
	}
	return ""
}
