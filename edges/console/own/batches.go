package own

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// batchView is many messages that were given together.
type batchView struct {
	ID       string
	Name     *string
	Status   string
	Counts   counts
	Price    price
	Throttle *int    `json:"throttle_per_second"`
	Created  string  `json:"created_at"`
	Started  *string `json:"started_at"`
	Done     *string `json:"completed_at"`
	ETA      *string `json:"eta"`
}

// counts are the rows of a batch by what became of them; they come to Total.
type counts struct {
	Total, Pending, Accepted, Rejected, Sent, Delivered, Undelivered, Failed, Expired, Canceled, Unconfirmed int
}

func (b *batchView) name() string {
	if b.Name != nil && *b.Name != "" {
		return *b.Name
	}
	return "Batch " + ending(b.ID)
}

func (b *batchView) state() page.Cell {
	switch b.Status {
	case "running":
		return page.Badge("running", page.Busy, "Its rows become messages")
	case "paused":
		return page.Badge("paused", page.Warn, "No further row is worked until it is resumed")
	case "canceled":
		return page.Badge("canceled", page.Plain, "The rows that were left were dropped")
	}
	return page.Badge("completed", page.Good, "Every row has its message or its refusal; the messages go on")
}

// bad are the rows that came to nothing.
func (c *counts) bad() int { return c.Rejected + c.Undelivered + c.Failed + c.Expired }

func (o *own) batches(v *site.Visit) (page.Page, error) {
	rows, err := site.List[batchView](v, api+"/messages/batch", nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Batches", Empty: "There is no batch yet.", EmptyHelp: "A batch sends one text to many, each with words of its own.", Columns: []page.Column{{Title: "Batch"}, {Title: "State"}, {Title: "Rows", Right: true}, {Title: "Waiting", Right: true, Help: "Rows that are not worked yet"}, {Title: "Under way", Right: true, Help: "Accepted or sent, without a delivery report yet"}, {Title: "Delivered", Right: true}, {Title: "Not delivered", Right: true, Help: "Refused, failed, expired or undelivered"}, {Title: "Price", Right: true}, {Title: "Made"}}}
	p := page.Page{Title: "Batches", Lead: "Many messages that were given together, newest first."}
	if v.Has(messagesWrite) {
		p.Actions = []page.Action{{Text: "Send a batch", Href: v.At("/batches/new"), Main: true}}
		table.EmptyLink = page.Link{Text: "Send a batch", Href: v.At("/batches/new")}
	}
	p.Body = []page.Block{site.Table(v, rows, table, func(b batchView) page.Row {
		return page.Row{Cells: []page.Cell{page.To(b.name(), v.At("/batches/"+url.PathEscape(b.ID))), b.state(), page.Num(b.Counts.Total), page.Num(b.Counts.Pending), page.Num(b.Counts.Accepted + b.Counts.Sent), page.Num(b.Counts.Delivered), page.Num(b.Counts.bad()), page.Money(b.Price.Amount, b.Price.Currency), page.When(b.Created)}}
	})}
	return p, nil
}

func (o *own) batch(v *site.Visit) (page.Page, error) { return o.batchPage(v, nil, "") }

func (o *own) batchPage(v *site.Visit, tried *page.Form, action string) (page.Page, error) {
	var b batchView
	if err := v.Get(api+"/messages/batch/"+v.ID(), nil, &b); err != nil {
		return page.Page{}, err
	}
	rows, err := o.rows(v)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: b.name(), Crumbs: []page.Link{{Text: "Batches", Href: v.At("/batches")}, {Text: b.name()}}, Actions: []page.Action{{Text: "Its messages", Href: v.At("/messages?batch_id=" + url.QueryEscape(b.ID))}, {Text: "Download as CSV", Href: v.At("/messages/export?batch_id=" + url.QueryEscape(b.ID)), Download: true}}}
	p.Body = []page.Block{page.Split{Left: []page.Block{page.Live{Path: v.At("/batches/" + v.ID() + "/live"), Label: "How far it is", Body: b.progress()}, rows},
		Right: []page.Block{o.batchActions(v, &b, tried, action)}}}
	return p, nil
}

func (o *own) batchLive(v *site.Visit) (page.Page, error) {
	return v.Stream(liveEvery, func(context.Context) ([]page.Block, error) {
		var b batchView
		if err := v.Get(api+"/messages/batch/"+v.ID(), nil, &b); err != nil {
			return nil, err
		}
		return b.progress(), nil
	})
}

// progress is how far it is, in figures.
func (b *batchView) progress() []page.Block {
	c := &b.Counts
	share := func(n int) float64 {
		if c.Total == 0 {
			return 0
		}
		return float64(n) / float64(c.Total)
	}
	stat := func(label string, n int, help string, tone page.Tone) page.Stat {
		if n == 0 {
			tone = page.Plain
		}
		return page.Stat{Label: label, Value: page.Grouped(int64(n)), Bar: true, Share: share(n), Help: help, Tone: tone}
	}
	stats := page.Stats{Title: "Rows", Items: []page.Stat{stat("Worked", c.Total-c.Pending, "Rows that have their message or their refusal", page.Plain), stat("Under way", c.Accepted+c.Sent, "Accepted or sent, without a delivery report yet", page.Plain), stat("Delivered", c.Delivered, "", page.Good),
		stat("Refused", c.Rejected, "By a rule, as a message or before", page.Bad), stat("Not delivered", c.Undelivered+c.Failed+c.Expired, "Undelivered, failed or expired", page.Bad), stat("In doubt", c.Unconfirmed, "Sent, and no delivery report came in time", page.Warn), stat("Canceled", c.Canceled, "Withdrawn messages, and rows that were dropped", page.Plain)}}
	stats.Items[0].Sub = "of " + page.Grouped(int64(c.Total))
	throttle := page.Str("as fast as the account may")
	if b.Throttle != nil {
		throttle = page.Str(fmt.Sprintf("%d rows a second at most", *b.Throttle))
	}
	cost := page.Money(b.Price.Amount, b.Price.Currency)
	if b.Price.Estimated {
		cost = cost.WithSub("estimated until all are settled")
	}
	return []page.Block{stats, page.Facts{Title: "The batch", Items: []page.Fact{{Label: "State", Value: b.state()}, {Label: "Price", Value: cost}, {Label: "Pace", Value: throttle}, {Label: "Made", Value: page.When(b.Created)}, {Label: "First row worked", Value: page.Whenp(b.Started)}, {Label: "All rows worked", Value: page.Whenp(b.Done)},
		{Label: "Expected end", Value: page.Whenp(b.ETA), Help: "When the last row will have been worked, at today's pace"}, {Label: "Id", Value: page.Mono(b.ID).WithCopy()}}}}
}

// batchDeeds are what can be done with a batch, and in which states.
var batchDeeds = []struct {
	name, summary, text, submit, said string
	danger                            bool
	from                              []string
}{
	{"pause", "Pause it…", "No further row is worked until it is resumed; what is sent already goes on.", "Pause", "The batch is paused.", false, []string{"running"}},
	{"resume", "Resume it…", "The rows that are left are worked.", "Resume", "The batch goes on.", false, []string{"paused"}},
	{"cancel", "Cancel it…", "Rows that are not worked are dropped, and messages that have not left are withdrawn. What is sent stays sent. It cannot be taken back.", "Cancel the batch", "The batch is canceled.", true, []string{"running", "paused"}},
}

func (o *own) batchActions(v *site.Visit, b *batchView, tried *page.Form, action string) page.Block {
	s := page.Section{ID: "actions", Title: "Actions"}
	if !v.Has(messagesWrite) {
		s.Help = "Somebody with the scope messages:write pauses and cancels batches."
		return s
	}
	for _, d := range batchDeeds {
		form, open := tried, true
		if d.name != action {
			form, open = &page.Form{Action: v.At("/batches/" + v.ID() + "/" + d.name), Submit: d.submit, Danger: d.danger, Fields: []page.Field{site.Key()}}, false
			if !slices.Contains(d.from, b.Status) {
				continue
			}
		}
		s.Body = append(s.Body, page.Disclosure{Summary: d.summary, Danger: d.danger, Open: open, Body: []page.Block{page.Text(d.text), form}})
	}
	if len(s.Body) == 0 {
		s.Help = "Its rows are all worked: nothing can be done with it any more. Its messages can be canceled one by one until they leave."
	}
	return s
}

func (o *own) batchAct(v *site.Visit) (page.Page, error) {
	for _, d := range batchDeeds {
		if d.name != v.Param("action") {
			continue
		}
		form := &page.Form{Action: v.At("/batches/" + v.ID() + "/" + d.name), Submit: d.submit, Danger: d.danger, Fields: []page.Field{site.Key()}}
		return v.Submit(site.Task{Form: form, Path: api + "/messages/batch/" + v.ID() + "/" + d.name, Bare: true, Once: true, Then: site.To(v.At("/batches/" + v.ID())), Said: d.said},
			func() (page.Page, error) { return o.batchPage(v, form, d.name) })
	}
	return v.Missing()
}

// batchRow is a row, and what became of it.
type batchRow struct {
	Row       int
	To        *string
	MessageID *string `json:"message_id"`
	Status    *string
	Error     *failure
}

func (o *own) rows(v *site.Visit) (page.Block, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Filter", Label: "Filter rows", Fields: []page.Field{{Name: "status", Label: "Status", Kind: page.Choice, Options: append([]page.Option{{Text: "any"}, {Value: "pending", Text: "not worked yet"}}, page.StatusOptions()...)}}}
	rows, err := site.List[batchRow](v, api+"/messages/batch/"+v.ID()+"/messages", filter, nil)
	if err != nil {
		return nil, err
	}
	table := site.Table(v, rows, page.Table{Caption: "Rows", Empty: "No row fits.", Columns: []page.Column{{Title: "Row", Right: true, Help: "In the order in which they came, from 1"}, {Title: "To"}, {Title: "Status"}, {Title: "Message"}, {Title: "Why", Help: "Why it was refused, or did not go"}}}, func(r batchRow) page.Row {
		status, id := page.None("Its message is no longer kept"), page.None("It has no message")
		if r.Status != nil {
			status = page.Status(*r.Status)
			if *r.Status == "pending" {
				status = page.Badge("waiting", page.Busy, "It is not worked yet")
			}
		}
		if r.MessageID != nil {
			id = page.CodeTo(ending(*r.MessageID), v.At("/messages/"+url.PathEscape(*r.MessageID)))
		}
		why := r.Error.why()
		if r.Error != nil {
			why.Sub = r.Error.Detail
		}
		return page.Row{Cells: []page.Cell{page.Num(r.Row), page.Strp(r.To), status, id, why}}
	})
	return page.Section{ID: "rows", Title: "Rows", Body: []page.Block{filter, table}}, nil
}

// keptRows bounds a file that is put into the field after a check, so that it need not be
// chosen again, in octets.
const keptRows = 256 << 10

func batchForm(v *site.Visit) *page.Form {
	return &page.Form{Submit: "Send the batch", Also: []page.Button{{Text: "Check it first", Name: "_check", Value: "1"}}, Cancel: page.Link{Text: "Cancel", Href: v.At("/batches")}, Fields: []page.Field{
		{Name: "name", Label: "Name", Max: 100, Help: "For you to find it by."},
		{Name: "_file", Label: "File", Kind: page.File, Group: "Who gets it", Help: "A CSV in UTF-8 of at most 10,000 rows. Its first line names the columns: to, and any of body, from and client_reference; every other column is a variable."},
		{Name: "_rows", Label: "Or the rows themselves", Kind: page.Multiline, Rows: 5, Placeholder: "to,name\n+13105550117,Ada", Help: "As in the file, with the first line."},
		{Name: "from", Label: "From", Max: 64, Group: "What they get", Suggest: senders(v), Help: "Of rows that name none."},
		{Name: "body", Label: "Text", Kind: page.Multiline, Rows: 4, Max: 5000, Help: "Of rows that have none. {{name}} stands for the row's column of that name; a row that lacks it is refused."},
		{Name: "message_class", Label: "Class", Group: "How it is sent", Kind: page.Choice, Options: append([]page.Option{{Text: "as the account has it"}}, classes...), Help: "Quiet hours hold bulk only."},
		{Name: "throttle_per_second", Label: "Rows a second at most", Kind: page.Number, Help: "Empty: as fast as the account may."},
		{Name: "send_at", Label: "To be sent at", Kind: page.Moment, Help: "At most 35 days ahead. Empty: now."}, site.Key()}}
}

func (o *own) newBatch(v *site.Visit) (page.Page, error) {
	form := batchForm(v)
	show := func(status int, before ...page.Block) (page.Page, error) {
		v.Show(status, page.Page{Title: "Send a batch", Lead: "One text to many, each with words of its own.", Crumbs: []page.Link{{Text: "Batches", Href: v.At("/batches")}, {Text: "New"}}, Body: append(before, form)})
		return v.Answered()
	}
	if !v.Post() {
		return show(http.StatusOK)
	}
	body, ok := form.Read(v.R)
	file, err := given(v, form)
	if err != nil {
		return page.Page{}, err
	}
	if len(file) == 0 {
		form.Wrong("_file", "is needed: choose a CSV, or write the rows below")
		ok = false
	}
	if !ok {
		return show(http.StatusUnprocessableEntity)
	}
	q, err := batchRequest(file, body)
	if err != nil {
		return page.Page{}, err
	}
	check := v.R.PostForm.Get("_check") != ""
	if check {
		q.Path += "/check"
	} else {
		q.Key = v.R.PostForm.Get("_key")
	}
	got, err := v.Do(q)
	if refused, ok := problemOf(err); ok {
		form.Refuse(site.Words(refused), batchFaults(refused))
		return show(refused.Status)
	}
	if err != nil {
		return page.Page{}, err
	}
	if !check {
		return v.Done(site.ToMade(v.At("/batches"))(got), "The batch is accepted. This page follows it.")
	}
	var c batchCheck
	if err := got.Into(&c); err != nil {
		return page.Page{}, err
	}
	return show(http.StatusOK, c.told()...)
}

// given is the CSV that came with the form: as a file, or written out. A small file is put
// into the field.
func given(v *site.Visit, form *page.Form) ([]byte, error) {
	rows := form.Field("_rows")
	f, _, err := v.R.FormFile("_file")
	if err != nil { // none was chosen
		return []byte(strings.TrimSpace(rows.Value)), nil
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err == nil && len(text) > 0 && len(text) <= keptRows {
		rows.Value = string(text)
	}
	return text, err
}

// batchRequest writes the form that the operation takes.
func batchRequest(file []byte, options map[string]any) (call.Request, error) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	part, err := w.CreateFormFile("file", "rows.csv")
	if err == nil {
		_, err = part.Write(file)
	}
	if err != nil {
		return call.Request{}, err
	}
	text, err := json.Marshal(options)
	if err != nil {
		return call.Request{}, err
	}
	if err := w.WriteField("options", string(text)); err != nil {
		return call.Request{}, err
	}
	if err := w.Close(); err != nil {
		return call.Request{}, err
	}
	return call.Request{Method: http.MethodPost, Path: api + "/messages/batch", RawBody: &out, RawType: w.FormDataContentType()}, nil
}

// batchCheck is what would become of a batch.
type batchCheck struct {
	Allowed  bool
	Error    *failure
	Segments int
	Price    *price
	Limits   []struct {
		Number              *string
		Type, Period        string
		Limit, Used, Needed int
		Fits                bool
		ResetsAt            string `json:"resets_at"`
	}
	Refused []struct {
		Row    int
		Code   string
		Detail *string
	} `json:"rows_refused"`
	ETA *string
}

func (c *batchCheck) told() []page.Block {
	n := page.Notice{Tone: page.Good, Title: "Every row would be accepted", Text: "Limits and balance have room for all of them."}
	switch {
	case c.Error != nil:
		n = page.Notice{Tone: page.Bad, Title: "Nothing would be sent: " + strings.ReplaceAll(c.Error.Code, "_", " "), Text: c.Error.Detail, Link: page.Link{Text: "What " + c.Error.Code + " means", Href: c.Error.doc()}}
	case len(c.Refused) > 0:
		n = page.Notice{Tone: page.Warn, Title: "One row would be refused", Text: "The others would go."}
		if len(c.Refused) > 1 {
			n.Title = fmt.Sprintf("%d rows would be refused", len(c.Refused))
		}
	case !c.Allowed:
		n = page.Notice{Tone: page.Warn, Title: "It does not all fit", Text: "A limit or the balance has no room for all rows: see below."}
	}
	stats := page.Stats{Title: "What it comes to", Items: []page.Stat{{Label: "Parts", Value: page.Grouped(int64(c.Segments)), Help: "Of the rows that would be accepted"}}}
	if c.Price != nil {
		stats.Items = append(stats.Items, page.Stat{Label: "Price", Value: c.Price.Amount, Unit: c.Price.Currency, Help: "Estimated"})
	}
	out := []page.Block{n, stats}
	if t, err := time.Parse(time.RFC3339, pointed(c.ETA)); err == nil {
		out = append(out, page.Facts{Items: []page.Fact{{Label: "The last row would be worked", Value: page.Time(t)}}})
	}
	if len(c.Refused) > 0 {
		t := page.Table{Caption: "Rows that would be refused", ShowCaption: true, Columns: []page.Column{{Title: "Row", Right: true, Help: "From 1, without the header"}, {Title: "Code"}, {Title: "Why"}}}
		for _, r := range c.Refused {
			t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Num(r.Row), page.CodeTo(r.Code, "/docs/errors/"+url.PathEscape(r.Code)), page.Strp(r.Detail)}})
		}
		out = append(out, t)
	}
	if len(c.Limits) > 0 {
		t := page.Table{Caption: "Limits", ShowCaption: true, Columns: []page.Column{{Title: "Limit"}, {Title: "Used", Right: true}, {Title: "Needed", Right: true, Help: "Parts; of a minute, as many as are worked in one"}, {Title: "Of", Right: true}, {Title: "Fits"}, {Title: "Ends"}}}
		for _, l := range c.Limits {
			fits := page.Badge("fits", page.Good, "")
			if !l.Fits {
				fits = page.Badge("too much", page.Warn, "Rows beyond it wait, or are refused")
			}
			of := "account"
			if l.Number != nil {
				of = *l.Number
			}
			t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Str(strings.ToUpper(l.Type) + " a " + l.Period).WithSub(of), page.Num(l.Used), page.Num(l.Needed), page.Num(l.Limit), fits, page.When(l.ResetsAt)}})
		}
		out = append(out, t)
	}
	return append(out, page.Text("Nothing was sent. If the file is a large one, choose it again before you send."))
}

func problemOf(err error) (*call.Problem, bool) {
	var p *call.Problem
	ok := errors.As(err, &p)
	return p, ok
}

// batchFaults are what is wrong, with the names of the form's fields.
func batchFaults(p *call.Problem) []page.Fault {
	var out []page.Fault
	for _, f := range p.Errors {
		at := strings.Replace(strings.Replace(f.Location, "body.options.", "body.", 1), "body.file", "body._file", 1)
		out = append(out, page.Fault{Location: at, Message: f.Message})
	}
	return out
}
