package account

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// usageRow is a sum of a report.
type usageRow struct {
	Day        *string
	Direction  string
	Type       *string
	Number     *string
	CampaignID *string `json:"campaign_id"`
	Status     *string
	Messages   int64
	Parts      int64
	Cost       *money
}

type money struct{ Amount, Currency string }

func (m *money) cell() page.Cell {
	if m == nil {
		return page.None("Nothing had a price")
	}
	return page.Money(m.Amount, m.Currency)
}

// report is usage as the API tells it.
type report struct {
	SentToday     int64 `json:"messages_sent_today"`
	ReceivedToday int64 `json:"messages_received_today"`
	From, To      string
	site.Rows[usageRow]
}

const (
	// statusDays is how many days are drawn by status: more are too many rows.
	statusDays = 92
	// reportPages bounds the requests for one chart; each brings 200 rows.
	reportPages = 20
)

// divisions are what the table may be divided by.
var divisions = []struct{ by, text string }{{"day", "By day"}, {"type", "By type"}, {"status", "By status"}, {"number", "By number"}, {"campaign", "By campaign"}}

func (v *visit) usageFilter() *page.Form {
	return &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Days", Fields: []page.Field{
		{Name: "from", Label: "From", Kind: page.Day, Help: "Days are in UTC."}, {Name: "to", Label: "To", Kind: page.Day, Help: "At most 366 days together."}, {Name: "by", Kind: page.Hidden}}}
}

// period is the query of the days that are asked for.
func period(filter *page.Form) url.Values {
	q := filter.Query()
	q.Del("by")
	return q
}

func (v *visit) usage() (page.Page, error) {
	filter := v.usageFilter()
	filter.From(v.R.URL.Query())
	by := filter.Field("by").Value
	if !slices.ContainsFunc(divisions, func(d struct{ by, text string }) bool { return d.by == by }) {
		by = "day"
	}
	days, err := v.report(period(filter), "day", reportPages)
	if err != nil {
		return page.Page{}, err
	}
	filter.Field("from").Value, filter.Field("to").Value = days.From, days.To
	body := []page.Block{v.usageStats(days), filter, traffic(days)}
	if span(days.From, days.To) <= statusDays {
		outcomes, err := v.report(period(filter), "day,status", reportPages)
		if err != nil {
			return page.Page{}, err
		}
		body = append(body, outcomeChart(outcomes))
	}
	body = append(body, costChart(days))
	q := period(filter)
	q.Set("group_by", by)
	export := v.at("/usage/export?" + q.Encode())
	table, err := v.usageTable(by, period(filter))
	if err != nil {
		return page.Page{}, err
	}
	body = append(body, page.Section{ID: "table", Title: "The figures", Actions: []page.Action{{Text: "Download as CSV", Href: export, Download: true}}, Body: []page.Block{v.divisionTabs(by, filter), table}})
	return page.Page{Title: "Usage", Lead: "What was sent and received, and what it cost. A message counts at the day on which it was accepted.", Crumbs: v.crumbs(), Charts: true, Body: body}, nil
}

// report reads a whole report, of at most so many pages.
func (v *visit) report(query url.Values, by string, most int) (*report, error) {
	q := url.Values{"group_by": {by}, "limit": {"200"}}
	for name, values := range query {
		q[name] = values
	}
	var whole report
	for range most {
		var r report
		if err := v.Get(v.op("/usage"), q, &r); err != nil {
			return nil, err
		}
		r.Data = append(whole.Data, r.Data...)
		whole = r
		if r.NextCursor == nil {
			break
		}
		q.Set("cursor", *r.NextCursor)
	}
	return &whole, nil
}

func (v *visit) usageStats(days *report) page.Block {
	var sent, received, parts int64
	costs := map[string]float64{}
	for _, r := range days.Data {
		if r.Direction == "outbound" {
			sent += r.Messages
			parts += r.Parts
		} else {
			received += r.Messages
		}
		if r.Cost != nil {
			amount, _ := strconv.ParseFloat(r.Cost.Amount, 64) // 0: no number, which the API does not give
			costs[r.Cost.Currency] += amount
		}
	}
	within := fmt.Sprintf("in %d days", span(days.From, days.To))
	stats := page.Stats{Title: "Usage", Items: []page.Stat{
		{Label: "Sent today", Value: page.Grouped(days.SentToday), Help: "Accepted since midnight in UTC, without those that were refused", Href: v.messagesOf(url.Values{"direction": {"outbound"}})},
		{Label: "Received today", Value: page.Grouped(days.ReceivedToday), Help: "Since midnight in UTC", Href: v.messagesOf(url.Values{"direction": {"inbound"}})},
		{Label: "Sent", Value: page.Grouped(sent), Sub: within, Help: "With those that were refused"},
		{Label: "Received", Value: page.Grouped(received), Sub: within},
		{Label: "Parts sent", Value: page.Grouped(parts), Help: "SMS segments, which are what costs", Sub: within},
	}}
	for currency, amount := range costs {
		stats.Items = append(stats.Items, page.Stat{Label: "Cost", Value: strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.4f", amount), "0"), "."), Unit: currency, Help: "Of the prices that are final", Sub: within})
	}
	return stats
}

// span is how many days there are from one to the other, both counted.
func span(from, to string) int {
	a, err := time.Parse(time.DateOnly, from)
	b, err2 := time.Parse(time.DateOnly, to)
	if err != nil || err2 != nil {
		return 0
	}
	return int(b.Sub(a)/(24*time.Hour)) + 1
}

// daily draws lines over all days of a report: what line gives for a row is added up.
func daily(chart page.Chart, r *report, names []string, tones []page.Tone, line func(usageRow) (int, float64)) page.Chart {
	chart.Days = true
	first, err := time.Parse(time.DateOnly, r.From)
	if err != nil || len(r.Data) == 0 {
		return chart
	}
	n := span(r.From, r.To)
	chart.Lines = make([]page.Line, len(names))
	for i, name := range names {
		chart.Lines[i] = page.Line{Name: name, Tone: tones[i], Values: make([]float64, n)}
	}
	for i := range n {
		chart.At = append(chart.At, first.AddDate(0, 0, i).Unix())
	}
	for _, row := range r.Data {
		day, err := time.Parse(time.DateOnly, deref(row.Day))
		i := int(day.Sub(first) / (24 * time.Hour))
		if err != nil || i < 0 || i >= n {
			continue
		}
		if at, value := line(row); at >= 0 {
			chart.Lines[at].Values[i] += value
		}
	}
	return chart
}

func traffic(days *report) page.Block {
	return daily(page.Chart{Title: "Messages a day", Help: "By the day on which they were accepted or received, in UTC"}, days, []string{"sent", "received"}, []page.Tone{page.Busy, page.Good}, func(r usageRow) (int, float64) {
		if r.Direction == "outbound" {
			return 0, float64(r.Messages)
		}
		return 1, float64(r.Messages)
	})
}

// outcomes are what becomes of messages, as the chart tells them apart.
var outcomes = map[string]int{"delivered": 0, "undelivered": 1, "failed": 1, "expired": 1, "rejected": 1, "unconfirmed": 2, "in_doubt": 2}

func outcomeChart(r *report) page.Block {
	return daily(page.Chart{Title: "What became of sent messages, a day", Help: "Not delivered: undelivered, failed, expired and rejected. In doubt: no answer or no delivery report came"}, r,
		[]string{"delivered", "not delivered", "in doubt", "under way or canceled"}, []page.Tone{page.Good, page.Bad, page.Warn, page.Busy}, func(r usageRow) (int, float64) {
			if r.Direction != "outbound" {
				return -1, 0
			}
			at, known := outcomes[deref(r.Status)]
			if !known {
				at = 3
			}
			return at, float64(r.Messages)
		})
}

func costChart(r *report) page.Block {
	currency := ""
	for _, row := range r.Data {
		if row.Cost != nil {
			currency = row.Cost.Currency
			break
		}
	}
	return daily(page.Chart{Title: "Cost a day", Unit: currency, Bars: true, Help: "Of the prices that are final"}, r, []string{"cost"}, []page.Tone{page.Busy}, func(row usageRow) (int, float64) {
		if row.Cost == nil || row.Cost.Currency != currency {
			return -1, 0
		}
		amount, err := strconv.ParseFloat(row.Cost.Amount, 64)
		if err != nil {
			return -1, 0
		}
		return 0, amount
	})
}

func (v *visit) divisionTabs(by string, filter *page.Form) page.Block {
	tabs := page.Tabs{Label: "What the figures are divided by"}
	for _, d := range divisions {
		q := period(filter)
		q.Set("by", d.by)
		tabs.Items = append(tabs.Items, page.Link{Text: d.text, Href: v.at("/usage?" + q.Encode() + "#table"), Current: d.by == by})
	}
	return tabs
}

func (v *visit) usageTable(by string, query url.Values) (page.Block, error) {
	query.Set("group_by", by)
	query.Set("limit", "100")
	rows, err := site.List[usageRow](v.Visit, v.op("/usage"), nil, query)
	if err != nil {
		return nil, err
	}
	heads := map[string]string{"day": "Day", "type": "Type", "status": "Status", "number": "Number", "campaign": "Campaign"}
	campaigns := map[string]string{}
	if by == "campaign" {
		campaigns = v.campaignPages()
	}
	table := page.Table{Caption: "Usage", Empty: "Nothing was sent or received in these days.", Columns: []page.Column{{Title: heads[by]}, {Title: "Direction"}, {Title: "Messages", Right: true}, {Title: "Parts", Right: true, Help: "SMS segments"}, {Title: "Cost", Right: true, Help: "Of the prices that are final"}}}
	return site.Table(v.Visit, rows, table, func(r usageRow) page.Row {
		return page.Row{Cells: []page.Cell{v.division(by, r, campaigns), page.Str(map[string]string{"outbound": "sent", "inbound": "received"}[r.Direction]), page.Num(r.Messages), page.Num(r.Parts), r.Cost.cell()}}
	}), nil
}

func (v *visit) division(by string, r usageRow, campaigns map[string]string) page.Cell {
	switch by {
	case "type":
		return page.Str(map[string]string{"sms": "SMS", "mms": "MMS"}[deref(r.Type)])
	case "status":
		if r.Status != nil {
			c := page.Status(*r.Status)
			c.Href = v.messagesOf(url.Values{"status": {*r.Status}})
			return c
		}
	case "number":
		if r.Number != nil {
			return page.CodeTo(*r.Number, v.at("/numbers/"+url.PathEscape(*r.Number)))
		}
	case "campaign":
		if r.CampaignID != nil {
			return page.CodeTo(*r.CampaignID, campaigns[*r.CampaignID])
		}
		return page.None("In no campaign")
	case "day":
		return page.Strp(r.Day)
	}
	return page.None("")
}

func (v *visit) exportUsage() (page.Page, error) {
	q := url.Values{"format": {"csv"}}
	for _, name := range []string{"from", "to", "group_by"} {
		if s := v.R.URL.Query().Get(name); s != "" {
			q.Set(name, s)
		}
	}
	return v.File(v.op("/usage"), q, "text/csv")
}
