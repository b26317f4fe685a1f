package account

import (
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// limitRow is a usage limit as GET /limits has it.
type limitRow struct {
	Number   *string `json:"number"`
	Type     string  `json:"type"`
	Period   string  `json:"period"`
	Limit    int64   `json:"limit"`
	Used     int64   `json:"used"`
	ResetsAt string  `json:"resets_at"`
}

var (
	limitTypes   = []page.Option{{Value: "sms", Text: "SMS"}, {Value: "mms", Text: "MMS"}}
	limitPeriods = []page.Option{{Value: "minute", Text: "a minute"}, {Value: "day", Text: "a day"}, {Value: "month", Text: "a month"}}
)

func (v *visit) limits() (page.Page, error) { return v.limitsPage(site.Tried{}) }

// allLimits are all of them: PUT replaces them together.
func (v *visit) allLimits() ([]limitRow, error) {
	var out []limitRow
	query := url.Values{"limit": {"100"}}
	for {
		var rows site.Rows[limitRow]
		if err := v.Get(v.op("/limits"), query, &rows); err != nil {
			return nil, err
		}
		if out = append(out, rows.Data...); rows.NextCursor == nil {
			return out, nil
		}
		query.Set("cursor", *rows.NextCursor)
	}
}

func (v *visit) limitsPage(tried site.Tried) (page.Page, error) {
	list, err := v.allLimits()
	if err != nil {
		return page.Page{}, err
	}
	staff := v.Staff && v.May("account:write")
	t := page.Table{Caption: "Usage limits", Empty: "No limit is set.", EmptyHelp: "As many messages may be sent as the rate and the balance allow.",
		Columns: []page.Column{{Title: "Holds for"}, {Title: "Type"}, {Title: "Period", Help: "Days and months are those of the account's time zone"}, {Title: "Limit", Right: true, Help: "SMS segments or MMS that may be sent in the period"},
			{Title: "Used", Right: true, Help: "Taken when a message is accepted, given back when nothing of it left"}, {Title: "Left", Right: true}, {Title: "State"}, {Title: "Begins anew"}}}
	for _, l := range list {
		t.Rows = append(t.Rows, v.limitRow(l))
	}
	body := []page.Block{t}
	if staff {
		body = append(body, page.Section{ID: "actions", Title: "Actions", Body: site.Deeds(v.at("/limits"), v.limitDeeds(list), tried)})
	} else if !v.Staff {
		body = append(body, page.Text("Of several limits that count a message the strictest holds. The operator of the gateway sets them: ask there for more."))
	}
	return v.page(page.Page{Title: "Limits", Lead: "How much may be sent, and what of it is used now.", Body: body}), nil
}

func (v *visit) limitRow(l limitRow) page.Row {
	who := page.Str("the whole account")
	if l.Number != nil {
		who = page.CodeTo(*l.Number, v.at("/numbers/"+url.PathEscape(*l.Number)))
	}
	left := max(0, l.Limit-l.Used)
	state, tone := page.Badge("room", page.Good, ""), page.Plain
	switch {
	case left == 0:
		state, tone = page.Badge("used up", page.Bad, "Messages are refused until it begins anew"), page.Bad
	case l.Used*5 >= l.Limit*4:
		state, tone = page.Badge("nearly used up", page.Warn, "More than 80 % is used"), page.Warn
	}
	return page.Row{Tone: tone, Cells: []page.Cell{who, page.Str(strings.ToUpper(l.Type)), page.Str(l.Period), page.Num(l.Limit), page.Num(l.Used), page.Num(left), state, page.When(l.ResetsAt)}}
}

// limitDeeds are what staff can do with the limits that there are.
func (v *visit) limitDeeds(list []limitRow) []site.Deed {
	set := site.Deed{Name: "set", Summary: "Set a limit…", Submit: "Set the limit", Text: "One that there is already gets the new figure and keeps what is used of it. A new one counts what was sent in the running period.", Fields: []page.Field{
		{Name: "number", Label: "Number", Placeholder: "+12025550143", Help: "Empty: the limit is the whole account's."},
		{Name: "type", Label: "Type", Kind: page.Choice, Options: limitTypes},
		{Name: "period", Label: "Period", Kind: page.Choice, Options: limitPeriods, Value: "day"},
		{Name: "limit", Label: "Limit", Kind: page.Number, Required: true, Unit: "parts", Help: "0: nothing may be sent."},
	}}
	set.Task = v.limitTask("The limit is set.", func(all []limitRow, _ *page.Form, body map[string]any) []limitRow {
		l := limitOf(body)
		for i := range all {
			if all[i].key() == l.key() {
				all[i].Limit = l.Limit
				return all
			}
		}
		return append(all, l)
	})
	if len(list) == 0 {
		return []site.Deed{set}
	}
	which := page.Field{Name: "_which", Label: "Which", Kind: page.Choice}
	for _, l := range list {
		which.Options = append(which.Options, page.Option{Value: l.key(), Text: or(l.Number, "the whole account") + ", " + strings.ToUpper(l.Type) + ", " + page.Grouped(l.Limit) + " a " + l.Period})
	}
	remove := site.Deed{Name: "remove", Summary: "Take a limit away…", Submit: "Take the limit away", Danger: true, Text: "From then on as much may be sent as the other limits, the rate and the balance allow.", Fields: []page.Field{which}}
	remove.Task = v.limitTask("The limit is taken away.", func(all []limitRow, f *page.Form, _ map[string]any) []limitRow {
		return slices.DeleteFunc(all, func(l limitRow) bool { return l.key() == f.Field("_which").Value })
	})
	return []site.Deed{set, remove}
}

// limitAct changes one of the limits.
func (v *visit) limitAct() (page.Page, error) {
	list, err := v.allLimits()
	if err != nil {
		return page.Page{}, err
	}
	return v.Act(v.at("/limits"), v.limitDeeds(list), v.Param("action"), v.limitsPage)
}

// limitTask puts all limits back with one change: the operation replaces them together.
func (v *visit) limitTask(said string, change func([]limitRow, *page.Form, map[string]any) []limitRow) site.Task {
	var form *page.Form
	var all []limitRow
	return site.Task{Method: "PUT", Path: v.op("/limits"), Then: site.To(v.at("/limits")), Said: said,
		Check: func(f *page.Form) {
			var err error
			if form = f; !f.Failed() {
				if all, err = v.allLimits(); err != nil {
					f.Trouble = "The limits that there are cannot be read now. Try again in a moment."
				}
			}
		},
		Body: func(body map[string]any) map[string]any {
			list := []map[string]any{}
			for _, l := range change(all, form, body) {
				one := map[string]any{"type": l.Type, "period": l.Period, "limit": l.Limit}
				if l.Number != nil {
					one["number"] = *l.Number
				}
				list = append(list, one)
			}
			return map[string]any{"limits": list}
		}}
}

func limitOf(body map[string]any) limitRow {
	var l limitRow
	l.Type, _ = body["type"].(string)
	l.Period, _ = body["period"].(string)
	l.Limit, _ = body["limit"].(int64)
	if n, _ := body["number"].(string); n != "" {
		l.Number = &n
	}
	return l
}

// key tells a limit from others of the account.
func (l limitRow) key() string { return or(l.Number, "") + " " + l.Type + " " + l.Period }
