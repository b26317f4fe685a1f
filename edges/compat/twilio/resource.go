package twilio

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/twilio"
)

// resource is a message.
type resource struct {
	Body                *string           `json:"body"`
	NumSegments         string            `json:"num_segments"`
	Direction           string            `json:"direction"`
	From                string            `json:"from"`
	To                  string            `json:"to"`
	DateUpdated         string            `json:"date_updated"`
	Price               *string           `json:"price"` // null until it is settled
	ErrorMessage        *string           `json:"error_message"`
	URI                 string            `json:"uri"`
	AccountSID          string            `json:"account_sid"`
	NumMedia            string            `json:"num_media"`
	Status              string            `json:"status"`
	MessagingServiceSID *string           `json:"messaging_service_sid"`
	SID                 string            `json:"sid"`
	DateSent            *string           `json:"date_sent"` // null until a vendor has it
	DateCreated         string            `json:"date_created"`
	ErrorCode           *int              `json:"error_code"`
	PriceUnit           string            `json:"price_unit"`
	APIVersion          string            `json:"api_version"`
	SubresourceURIs     map[string]string `json:"subresource_uris"`
}

func (c *call) resourceOf(m *message.Message) resource {
	sid := twilio.MessageSID(m)
	base := c.uri("/Messages/" + sid)
	r := resource{
		NumSegments: strconv.Itoa(m.Segments), Direction: "outbound-api", From: string(m.From), To: string(m.To),
		DateUpdated: twilio.Date(m.UpdatedAt), URI: base + ".json", AccountSID: twilio.SID(twilio.AccountPrefix, m.AccountID),
		NumMedia: strconv.Itoa(len(m.Media)), Status: twilio.Status(m), SID: sid, DateCreated: twilio.Date(m.CreatedAt),
		PriceUnit: m.Price.Currency, APIVersion: twilio.APIVersion, SubresourceURIs: map[string]string{"media": base + "/Media.json"},
	}
	if m.UpdatedAt.IsZero() {
		r.DateUpdated = r.DateCreated
	}
	if m.Direction == message.Inbound {
		r.Direction = "inbound"
	}
	if text, ok := m.Text(); ok {
		r.Body = &text
	}
	if m.Price.Currency != "" && !m.Price.Estimated {
		r.Price = new("-" + m.Price.Amount.String())
		if m.Price.Amount == 0 {
			r.Price = new("0")
		}
	}
	if !m.SubmittedAt.IsZero() {
		r.DateSent = new(twilio.Date(m.SubmittedAt))
	}
	if code := twilio.ErrorCode(m); code != 0 {
		r.ErrorCode = &code
		text := "Unknown error"
		if e := m.Error; e != nil {
			text = e.Detail
			if text == "" {
				text = e.Reason.Entry().Title
			}
		}
		r.ErrorMessage = &text
	}
	return r
}

func (c *call) fetch() {
	if err := c.guest.Read(readMessages); err != nil {
		c.fail(err)
		return
	}
	if m := c.message(); m != nil {
		c.answer(http.StatusOK, c.resourceOf(m))
	}
}

// update withdraws a message. A text cannot be taken out of the record here: saying that it
// was would be worse than the error.
func (c *call) update() {
	if err := c.guest.Change(); err != nil {
		c.fail(err)
		return
	}
	form, _, ok := c.form()
	if !ok {
		return
	}
	switch {
	case form.Has("Body"):
		refuse(c.w, http.StatusBadRequest, twilio.CodeInvalid, "The text of a message cannot be redacted or changed here: the account's content_retention_days says how long texts are kept")
		return
	case form.Get("Status") != twilio.Canceled:
		refuse(c.w, http.StatusBadRequest, twilio.CodeInvalid, "Status must be canceled: nothing else of a message can be changed")
		return
	}
	m := c.message()
	if m == nil {
		return
	}
	ctx, cancel := c.desk.Context(c.r)
	defer cancel()
	m, err := c.guest.Withdraw(ctx, m)
	switch {
	case message.ReasonOf(err) == message.ReasonConflict:
		refuse(c.w, http.StatusConflict, twilio.CodeTooLate, message.AsError(err).Detail)
	case err != nil:
		c.fail(err)
	default:
		c.answer(http.StatusOK, c.resourceOf(m))
	}
}

// media is a file of a message.
type media struct {
	SID         string `json:"sid"`
	AccountSID  string `json:"account_sid"`
	ParentSID   string `json:"parent_sid"`
	ContentType string `json:"content_type"`
	DateCreated string `json:"date_created"`
	DateUpdated string `json:"date_updated"`
	URI         string `json:"uri"`
}

func (c *call) mediaOf(m *message.Message, f message.MediaFile) media {
	sid, at := twilio.SID(twilio.MediaPrefix, f.ID), twilio.Date(m.CreatedAt)
	return media{sid, twilio.SID(twilio.AccountPrefix, m.AccountID), twilio.MessageSID(m), f.ContentType, at, at,
		c.uri("/Messages/" + twilio.MessageSID(m) + "/Media/" + sid + ".json")}
}

// listMedia lists the files that are stored: one that is still to be fetched is not yet there.
func (c *call) listMedia() {
	if err := c.guest.Read(readMessages); err != nil {
		c.fail(err)
		return
	}
	m := c.message()
	if m == nil {
		return
	}
	list := []media{}
	for _, f := range m.Media {
		if f.Fetched() {
			list = append(list, c.mediaOf(m, f.File))
		}
	}
	at := c.uri("/Messages/" + twilio.MessageSID(m) + "/Media.json")
	c.answer(http.StatusOK, struct {
		page
		Media []media `json:"media_list"`
	}{page{End: max(len(list)-1, 0), FirstPageURI: at, PageSize: len(list), URI: at}, list})
}

// fetchMedia shows a file, or without .json leads to its octets.
func (c *call) fetchMedia() {
	if err := c.guest.Read(readMessages); err != nil {
		c.fail(err)
		return
	}
	given, about := strings.CutSuffix(chi.URLParam(c.r, "media"), ".json")
	id, ok := twilio.ParseSID(given, twilio.MediaPrefix)
	if !ok {
		notFound(c.w)
		return
	}
	m := c.message()
	if m == nil {
		return
	}
	for _, f := range m.Media {
		switch {
		case !f.Fetched() || f.File.ID != id:
		case about:
			c.answer(http.StatusOK, c.mediaOf(m, f.File))
			return
		default:
			c.w.Header().Set("Location", c.desk.MediaURL(f.File))
			c.w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
	}
	notFound(c.w)
}

// page is what every list has.
type page struct {
	End             int     `json:"end"`
	FirstPageURI    string  `json:"first_page_uri"`
	NextPageURI     *string `json:"next_page_uri"`
	Page            int     `json:"page"`
	PageSize        int     `json:"page_size"`
	PreviousPageURI *string `json:"previous_page_uri"` // null: lists are read forward
	Start           int     `json:"start"`
	URI             string  `json:"uri"`
}

const (
	defaultPage = 50
	maxPage     = 200
	maxNumber   = 1_000_000 // of a page, which only counts what was shown
	pagePrefix  = "PA"
)

// list lists messages, newest first. Dates are those of acceptance. A page may be short or
// empty although there are more: Twilio's libraries follow next_page_uri until there is none.
func (c *call) list() {
	if err := c.guest.Read(readMessages); err != nil {
		c.fail(err)
		return
	}
	asked, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		refuse(c.w, http.StatusBadRequest, twilio.CodeInvalid, "The query cannot be read")
		return
	}
	filter, before, wrong := filterOf(asked)
	if wrong != "" {
		refuse(c.w, http.StatusBadRequest, twilio.CodeInvalid, wrong)
		return
	}
	size := within(asked.Get("PageSize"), defaultPage, 1, maxPage)
	number := within(asked.Get("Page"), 0, 0, maxNumber)
	ctx, cancel := c.desk.Context(c.r)
	defer cancel()
	found, err := c.guest.Search(ctx, message.Search{Filter: filter, Before: before, Limit: size})
	if err != nil {
		c.fail(err)
		return
	}
	list := make([]resource, 0, len(found.Messages))
	for _, m := range found.Messages {
		list = append(list, c.resourceOf(m))
	}
	at := func(page int, token string) string {
		q := url.Values{}
		for _, name := range []string{"To", "From", "DateSent", "DateSent<", "DateSent>"} {
			if asked.Has(name) {
				q.Set(name, asked.Get(name))
			}
		}
		q.Set("PageSize", strconv.Itoa(size))
		q.Set("Page", strconv.Itoa(page))
		if token != "" {
			q.Set("PageToken", token)
		}
		return c.uri("/Messages.json?" + q.Encode())
	}
	p := page{Start: number * size, End: max(number*size+len(list)-1, 0), Page: number, PageSize: size,
		FirstPageURI: at(0, ""), URI: at(number, asked.Get("PageToken"))}
	if found.Next != (message.ID{}) {
		p.NextPageURI = new(at(number+1, pagePrefix+twilio.SID(twilio.SMSPrefix, found.Next)))
	}
	c.answer(http.StatusOK, struct {
		page
		Messages []resource `json:"messages"`
	}{p, list})
}

// within reads a number, and takes the nearest that is allowed; usual if it is none.
func within(s string, usual, least, most int) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return usual
	}
	return min(max(n, least), most)
}

// filterOf reads what a list is to show. wrong says what cannot be read.
func filterOf(q url.Values) (f message.Filter, before message.ID, wrong string) {
	for name, into := range map[string]*message.Address{"To": &f.To, "From": &f.From} {
		if s := strings.TrimSpace(q.Get(name)); s != "" {
			a, err := message.ParseWire(s)
			if err != nil {
				return f, before, name + " must be a number in E.164 format, a short code or a sender"
			}
			*into = a
		}
	}
	for _, name := range []string{"DateSent", "DateSent<", "DateSent>"} {
		s := strings.TrimSpace(q.Get(name))
		if s == "" {
			continue
		}
		day, at, ok := dateOf(s)
		if !ok {
			return f, before, name + " must be a date such as 2026-11-21, or a time in ISO 8601"
		}
		end := at
		if day {
			end = at.AddDate(0, 0, 1)
		}
		if name != "DateSent<" {
			f.CreatedAfter = later(f.CreatedAfter, at.Add(-time.Millisecond))
		}
		if name == "DateSent" && !day {
			end = at.Truncate(24*time.Hour).AddDate(0, 0, 1)
			f.CreatedAfter = later(f.CreatedAfter, at.Truncate(24*time.Hour).Add(-time.Millisecond))
		}
		if name != "DateSent>" && (f.CreatedBefore.IsZero() || end.Before(f.CreatedBefore)) {
			f.CreatedBefore = end
		}
	}
	if token := q.Get("PageToken"); token != "" {
		id, ok := twilio.ParseSID(strings.TrimPrefix(token, pagePrefix), twilio.SMSPrefix, twilio.MMSPrefix)
		before = id
		if !ok || !strings.HasPrefix(token, pagePrefix) {
			return f, before, "PageToken is none of this list: follow next_page_uri"
		}
	}
	return f, before, ""
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// dateOf reads a date, or a time.
func dateOf(s string) (day bool, at time.Time, ok bool) {
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return true, at, true
	}
	at, err := time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+"))
	return false, at.UTC(), err == nil && at.Year() > 0 && at.Year() < 10_000
}
