package account

import (
	"net/http"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// settingsPages are the pages of the account itself, and of how to reach the gateway.
func settingsPages() map[string]show {
	return map[string]show{
		"GET /settings":         (*visit).settings,
		"POST /settings":        (*visit).settings,
		"GET /limits":           (*visit).limits,
		"POST /limits/{action}": (*visit).limitAct,
		"GET /connection":       (*visit).connection,
	}
}

func settingsLinks(p Place) []page.Link {
	return p.links(link{"Settings", "/settings", accountWrite}, link{"Limits", "/limits", "usage:read"})
}

// accountView is of an account what is shown and not changed here.
type accountView struct {
	ID      string
	Status  string
	Allowed []string `json:"allowed_source_addresses"`
	Forced  *string  `json:"force_source_address"`
	Created string   `json:"created_at"`
	Updated string   `json:"updated_at"`
}

// settingsForm is what a customer sets of the account.
func settingsForm() *page.Form {
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{
		{Name: "name", Label: "Name", Required: true, Max: 200},
		{Name: "time_zone", Label: "Time zone", Required: true, Suggest: []string{"America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "UTC", "Europe/Berlin"}, Help: "Days and months of limits are its: an IANA name such as America/New_York."},
		{Name: "default_country", Label: "Country", Required: true, Max: 2, Help: "Two letters: of numbers that come without a country code."},
		{Name: "default_message_class", Label: "Class", Kind: page.Choice, Group: "Messages that do not say themselves", Help: "otp goes first, then conversation, then bulk.",
			Options: []page.Option{{Value: "otp", Text: "otp: codes that somebody waits for"}, {Value: "conversation", Text: "conversation: one to one"}, {Value: "bulk", Text: "bulk: to many"}}},
		{Name: "delivery", Label: "When a submit is in doubt", Kind: page.Choice, Help: "When nobody knows whether the vendor has a message.",
			Options: []page.Option{{Value: "at_most_once", Text: "do not send again: it may be lost, it is never there twice"}, {Value: "at_least_once", Text: "send again: it may be there twice, it is not lost"}}},
		{Name: "ordered_conversations", Label: "Order within a conversation", Kind: page.Choice, Help: "In order, a message waits for the one before it to the same recipient.",
			Options: []page.Option{{Text: "kept over SMPP alone"}, {Value: "true", Text: "kept"}, {Value: "false", Text: "not kept: each goes as soon as it can"}}},
		{Name: "media_transcoding", Label: "Files of MMS", Kind: page.Choice, Options: []page.Option{{Value: "auto", Text: "are made to fit the network"}, {Value: "bypass", Text: "go as they are"}}},
		{Name: "max_parts", Label: "Most parts of a text", Kind: page.Number, Keep: true, Unit: "parts", Help: "1 to 255. Longer texts are refused: each part is paid for."},
		{Name: "smart_encoding", Label: "Replace characters such as “ and – by look-alikes, so that a text needs fewer parts", Kind: page.Check},
		{Name: "internal_delivery", Label: "Messages to numbers of this gateway stay in the house", Kind: page.Check},
		{Name: "content_retention_days", Label: "Texts are kept for", Kind: page.Number, Keep: true, Unit: "days", Group: "Privacy", Help: "0 to 3,650. Afterwards a message is shown without its text; 0: within hours of its end."},
	}}
}

// settings is what the customer sets of the account.
func (v *visit) settings() (page.Page, error) {
	f := settingsForm()
	f.Action = v.at("/settings")
	var a accountView
	if err := v.Loaded(f, v.op("/account"), &a); err != nil {
		return page.Page{}, err
	}
	fixed := page.Facts{Title: "Set by the operator", Items: []page.Fact{
		{Label: "Account id", Value: page.Mono(a.ID).WithCopy()}, {Label: "Senders beside its numbers", Value: listCell(a.Allowed, "none")},
		{Label: "Forced sender", Help: "Replaces every sender", Value: page.Str(or(a.Forced, ""))}, {Label: "Account since", Value: page.When(a.Created)}, {Label: "Changed", Value: page.When(a.Updated)},
	}}
	body := v.offer(accountWrite, f)
	if !v.May(accountWrite) {
		body = append(body, f.Facts("Settings"))
	}
	p := v.page(page.Page{Title: "Settings", Lead: "They hold for messages that are accepted from now on, everywhere within five seconds.", Body: append(body, page.Section{ID: "fixed", Title: "Set by the operator", Body: []page.Block{fixed}})})
	if !v.Post() {
		return p, nil
	}
	return v.Submit(site.Task{Form: f, Method: http.MethodPatch, Path: v.op("/account"), Then: site.To(f.Action), Said: "The settings are saved.", Body: func(body map[string]any) map[string]any {
		// A choice is text, and this is a truth or null.
		if s, ok := body["ordered_conversations"].(string); ok {
			body["ordered_conversations"] = s == "true"
		}
		return body
	}}, func() (page.Page, error) { return p, nil })
}
