package rest

import (
	"bytes"
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

const (
	// usageCursor is of reports: how many rows came before.
	usageCursor = 'u'
	// maxUsageDays bounds the days of one report.
	maxUsageDays = 366
	// maxUsageRows bounds one report as CSV; as JSON it comes by pages.
	maxUsageRows = 50_000
)

// usageGroups are what a report may be divided by.
var usageGroups = []string{"day", "number", "campaign", "status", "type"}

// usageColumns are those of a report as CSV.
var usageColumns = []string{"day", "direction", "type", "number", "campaign_id", "status", "messages", "parts", "cost", "currency"}

type usageRowResource struct {
	_          struct{}       `json:"-" additionalProperties:"true"`
	Day        *string        `json:"day" doc:"A day in UTC; null: not divided by it" example:"2026-11-21"`
	Direction  string         `json:"direction" enum:"outbound,inbound"`
	Type       *string        `json:"type" enum:"sms,mms"`
	Number     *string        `json:"number" doc:"The account's: the sender, or to whom it came"`
	CampaignID *string        `json:"campaign_id"`
	Status     *string        `json:"status"`
	Messages   int64          `json:"messages"`
	Parts      int64          `json:"parts"`
	Cost       *moneyResource `json:"cost" doc:"Of the prices that are final; null: nothing had a price"`
}

// TransformSchema is as for the message.
func (usageRowResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "cost")
}

type usageResource struct {
	_          struct{}           `json:"-" additionalProperties:"true"`
	Sent       int64              `json:"messages_sent_today" doc:"Accepted from the account since midnight in UTC, without those that were rejected"`
	Received   int64              `json:"messages_received_today"`
	From       string             `json:"from" example:"2026-10-23"`
	To         string             `json:"to" doc:"The last day" example:"2026-11-21"`
	Data       []usageRowResource `json:"data" nullable:"false"`
	NextCursor *string            `json:"next_cursor" doc:"Give it as cursor to get the next page; null at the end"`
}

type usageInput struct {
	Page
	From    string   `query:"from" maxLength:"10" doc:"The first day, in UTC; left out: 29 days before the last" example:"2026-11-01"`
	To      string   `query:"to" maxLength:"10" doc:"The last day; left out: today. At most 366 days together" example:"2026-11-21"`
	GroupBy []string `query:"group_by" enum:"day,number,campaign,status,type" maxItems:"5" doc:"What the sums are divided by, beside direction and currency, with commas; left out: day"`
	Format  string   `query:"format" enum:"json,csv" default:"json" doc:"csv: all of it as a table, at most 50,000 rows, without today's figures"`
}

func (s *Server) registerUsageReport(api huma.API) {
	text := &huma.Schema{Type: huma.TypeString}
	report := access{scope: scopeUsageRead, rate: asRequest, answers: csvType}
	register(api, s.operation(huma.Operation{
		OperationID: "getUsage", Method: http.MethodGet, Path: "/v1/usage", Tags: []string{"Usage"}, Summary: "See what was sent and received, and what it cost",
		Description: "Every message counts at the day of its acceptance, with the status that it has now, rejected ones as well: divide by `status` to tell them apart. " +
			"What changes more than ten minutes after a message's acceptance shows within a quarter of an hour.",
		Responses: map[string]*huma.Response{"200": {Description: "The report", Content: map[string]*huma.MediaType{
			jsonType: {Schema: schemaOf[usageResource](api.OpenAPI().Components.Schemas)}, csvType: {Schema: text}}}},
		Extensions: example(`curl -sS '` + exampleHost + `/v1/usage?from=2026-11-01&to=2026-11-21&group_by=day,status' -u "$API_KEY:$API_SECRET"`),
	}, report), s.getUsage, nil)
}

// reportOutput is a report in either form. It is encoded already.
type reportOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Body        []byte
}

func (s *Server) getUsage(ctx context.Context, in *usageInput) (*reportOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	today := s.now().UTC().Truncate(24 * time.Hour)
	from, to, by, refusal := in.read(today)
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	account := x.caller.account.ID
	if in.Format == "csv" {
		rows, err := s.Journal.UsageReport(ctx, account, from, to.AddDate(0, 0, 1), by, 0, maxUsageRows+1)
		if err == nil && len(rows) > maxUsageRows {
			err = message.Refuse(message.ReasonInvalidRequest, "the table has more than %d rows; ask for fewer days, or divide it by less", maxUsageRows)
		}
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		return &reportOutput{ContentType: csvType + "; charset=utf-8", Disposition: `attachment; filename="usage.csv"`, Body: usageTable(rows)}, nil
	}
	skip, ok := int64(0), true
	if in.Cursor != "" {
		skip, ok = decodeNumberCursor(usageCursor, in.Cursor)
	}
	if !ok || skip > 1<<31 {
		return nil, s.problem(x, badCursor(), 0)
	}
	rows, err := s.Journal.UsageReport(ctx, account, from, to.AddDate(0, 0, 1), by, int(skip), in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := usageResource{From: from.Format(time.DateOnly), To: to.Format(time.DateOnly), Data: []usageRowResource{}}
	if len(rows) > in.size() {
		rows = rows[:in.size()]
		out.NextCursor = optional(encodeNumberCursor(usageCursor, skip+int64(len(rows))))
	}
	for _, u := range rows {
		out.Data = append(out.Data, usageRowOf(u))
	}
	now, err := s.Journal.UsageReport(ctx, account, today, today.AddDate(0, 0, 1), message.UsageBy{Status: true}, 0, 1000)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	for _, u := range now {
		switch {
		case u.Direction == message.Inbound:
			out.Received += u.Messages
		case u.Status != message.StatusRejected:
			out.Sent += u.Messages
		}
	}
	body, err := encode(out)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &reportOutput{ContentType: jsonType, Body: body}, nil
}

// read checks the query. Both days are midnights in UTC.
func (in *usageInput) read(today time.Time) (from, to time.Time, by message.UsageBy, refusal *message.Error) {
	var f faults
	day := func(location, given string, otherwise time.Time) time.Time {
		if given == "" {
			return otherwise
		}
		at, err := time.Parse(time.DateOnly, given)
		if err != nil {
			f.invalid(location, "must be a day such as 2026-11-21")
			return otherwise
		}
		return at
	}
	to = day("query.to", in.To, today)
	from = day("query.from", in.From, to.AddDate(0, 0, -29))
	switch days := int(to.Sub(from)/(24*time.Hour)) + 1; {
	case days < 1:
		f.invalid("query.from", "must not be after to")
	case days > maxUsageDays:
		f.invalid("query.from", "makes %d days with to; at most %d are told at once", days, maxUsageDays)
	}
	if len(in.GroupBy) == 0 {
		by.Day = true
	}
	into := map[string]*bool{"day": &by.Day, "number": &by.Number, "campaign": &by.Campaign, "status": &by.Status, "type": &by.Kind}
	for _, g := range in.GroupBy {
		if into[g] == nil {
			f.invalid("query.group_by", "must be some of %s", strings.Join(usageGroups, ","))
			continue
		}
		*into[g] = true
	}
	return from, to, by, f.refusal()
}

func usageRowOf(u message.UsageRow) usageRowResource {
	r := usageRowResource{Direction: string(u.Direction), Type: optional(string(u.Kind)), Number: optional(string(u.Number)), CampaignID: optional(u.CampaignID),
		Status: optional(string(u.Status)), Messages: u.Messages, Parts: u.Parts}
	if !u.Day.IsZero() {
		r.Day = optional(u.Day.Format(time.DateOnly))
	}
	if u.Currency != "" {
		r.Cost = &moneyResource{Amount: u.Cost.String(), Currency: u.Currency}
	}
	return r
}

// usageTable is a report as CSV. No cell begins as a formula does but for a number's +,
// which is followed by digits alone.
func usageTable(rows []message.UsageRow) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(usageColumns) // into memory: it cannot fail
	for _, u := range rows {
		day, cost := "", ""
		if !u.Day.IsZero() {
			day = u.Day.Format(time.DateOnly)
		}
		if u.Currency != "" {
			cost = u.Cost.String()
		}
		_ = w.Write([]string{day, string(u.Direction), string(u.Kind), string(u.Number), u.CampaignID, string(u.Status),
			strconv.FormatInt(u.Messages, 10), strconv.FormatInt(u.Parts, 10), cost, u.Currency})
	}
	w.Flush()
	return b.Bytes()
}
