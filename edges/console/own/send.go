package own

import (
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// maxFiles is how many files a message may have.
const maxFiles = 10

// sendForm asks for one message.
func (o *own) sendForm(v *site.Visit) *page.Form {
	from := page.Field{Name: "from", Label: "From", Max: 64, Placeholder: "+12025550143", Help: "A number of the account, or a sender that it may use. May be left out if there is one number only."}
	if numbers := senders(v); len(numbers) > 0 {
		from.Suggest = numbers
		if len(numbers) == 1 {
			from.Value = numbers[0]
		}
	}
	f := &page.Form{Submit: "Send", Ask: v.At("/send/check"), Fields: []page.Field{from,
		{Name: "to", Label: "To", Required: true, Max: 64, Placeholder: "+13105550117", Help: "One recipient, with the country code."},
		{Name: "body", Label: "Text", Kind: page.Multiline, Rows: 4, Max: 5000}}}
	if v.Has(mediaWrite) {
		f.Fields = append(f.Fields, page.Field{Name: "_files", Label: "Files", Kind: page.File, Several: true, Help: "Make it an MMS: pictures, sound, video, PDF, contacts; at most ten, 10 MiB together."})
	}
	f.Fields = append(f.Fields,
		page.Field{Name: "message_class", Label: "Class", Group: "More", Kind: page.Choice, Options: append([]page.Option{{Text: "as the account has it"}}, classes...), Help: "Decides who goes first; quiet hours hold bulk only."},
		page.Field{Name: "send_at", Label: "To be sent at", Kind: page.Moment, Help: "At most 35 days ahead. Empty: now."},
		page.Field{Name: "client_reference", Label: "Reference", Max: 64, Help: "Your own; it comes back with every event."},
		site.Key())
	return f
}

// senders are the account's numbers, as suggestions.
func senders(v *site.Visit) []string {
	var rows site.Rows[struct{ Number string }]
	if v.Get(api+"/numbers", url.Values{"limit": {"50"}}, &rows) != nil {
		return nil // whoever may not see them types one
	}
	var out []string
	for _, n := range rows.Data {
		out = append(out, n.Number)
	}
	return out
}

func (o *own) send(v *site.Visit) (page.Page, error) {
	form := o.sendForm(v)
	show := func() (page.Page, error) {
		return page.Page{Title: "Send a message", Lead: "A real message to a real phone: it is charged, and stands in the list like any other.", Body: []page.Block{form}}, nil
	}
	if !v.Has(messagesWrite) {
		return page.Page{Title: "Send a message", Body: []page.Block{page.Notice{Tone: page.Warn, Text: "Your user may not send: it has not got the scope messages:write. Somebody who manages the account's users gives it."}}}, nil
	}
	if !v.Post() {
		form.From(v.R.URL.Query())
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/messages", Once: true, Then: site.ToMade(v.At("/messages")), Said: "The message is accepted. This page follows it.", Body: func(b map[string]any) map[string]any {
		if ids := uploaded(v, form); len(ids) > 0 {
			b["media_ids"] = ids
		}
		return b
	}}, show)
}

// uploaded stores the files that came with a form, and gives their ids. What is wrong
// stands at the field.
func uploaded(v *site.Visit, form *page.Form) []string {
	if v.R.MultipartForm == nil {
		return nil
	}
	files := v.R.MultipartForm.File["_files"]
	if len(files) > maxFiles {
		form.Wrong("_files", fmt.Sprintf("are %d; at most %d go with a message", len(files), maxFiles))
		return nil
	}
	var ids []string
	for _, h := range files {
		id, err := upload(v, h)
		if err != nil {
			what := "could not be read"
			var p *call.Problem
			if errors.As(err, &p) {
				what = p.Detail
			}
			form.Wrong("_files", h.Filename+": "+what)
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

func upload(v *site.Visit, h *multipart.FileHeader) (string, error) {
	file, err := h.Open()
	if err != nil {
		return "", err
	}
	defer file.Close()
	got, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/media", RawBody: file, RawType: "application/octet-stream"})
	if err != nil {
		return "", err
	}
	var made struct{ ID string }
	return made.ID, got.Into(&made)
}

// dryRun is what would become of a message.
type dryRun struct {
	Allowed  bool
	Error    *failure
	Trail    []struct{ Rule, Result, Detail string }
	Encoding *string
	Segments *int
	Price    *price
	Hold     *struct{ Rule, Detail string }
	LeavesAt *string `json:"leaves_at"`
}

// checkMessage answers, while somebody types, what would become of the message.
func (o *own) checkMessage(v *site.Visit) (page.Page, error) {
	form := o.sendForm(v)
	body, ok := form.Read(v.R)
	text, _ := body["body"].(string)
	if !ok || text == "" {
		return v.Part()
	}
	body["dry_run"] = true
	got, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/messages", Body: body})
	var refused *call.Problem
	switch {
	case errors.As(err, &refused):
		n := page.Notice{Tone: page.Warn, Title: "It would not be taken", Text: site.Words(refused)}
		for _, f := range refused.Errors {
			n.Lines = append(n.Lines, strings.TrimPrefix(f.Location, "body.")+" "+f.Message)
		}
		return v.Part(n)
	case err != nil:
		return page.Page{}, err
	}
	var d dryRun
	if err := got.Into(&d); err != nil {
		return page.Page{}, err
	}
	return v.Part(d.told(len([]rune(text)))...)
}

// told is what a dry run found, in few words.
func (d *dryRun) told(characters int) []page.Block {
	stats := page.Stats{Title: "What it comes to", Items: []page.Stat{{Label: "Characters", Value: page.Grouped(int64(characters))}}}
	if d.Segments != nil {
		stats.Items = append(stats.Items, page.Stat{Label: "Parts", Value: page.Grouped(int64(*d.Segments)), Help: "SMS segments, which are what costs; files make it one MMS instead"})
	}
	if d.Encoding != nil {
		s := page.Stat{Label: "Encoding", Value: encodings(*d.Encoding), Help: "GSM 7-bit has 160 characters a part, or 153 of several. A character that it lacks, such as an emoji, makes it Unicode: 70, or 67"}
		if *d.Encoding == "ucs2" {
			s.Sub = "70 characters a part"
		}
		stats.Items = append(stats.Items, s)
	}
	if d.Price != nil {
		stats.Items = append(stats.Items, page.Stat{Label: "Price", Value: d.Price.Amount, Unit: d.Price.Currency, Help: "Estimated; without files"})
	}
	out := []page.Block{stats}
	switch {
	case d.Error != nil:
		out = append(out, page.Notice{Tone: page.Bad, Title: "It would be refused: " + strings.ReplaceAll(d.Error.Code, "_", " "), Text: d.Error.Detail, Lines: nonEmpty(advice[d.Error.Class]), Link: page.Link{Text: "What " + d.Error.Code + " means", Href: d.Error.doc()}})
	case d.Hold != nil:
		out = append(out, page.Notice{Tone: page.Warn, Title: "It would have to wait: " + strings.ReplaceAll(d.Hold.Rule, "_", " "), Text: d.Hold.Detail})
	case d.Allowed:
		out = append(out, page.Notice{Tone: page.Good, Text: "It would go: every rule that applies lets it pass."})
	}
	return out
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
