package twilio

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/twilio"
)

// createOperation is what an Idempotency-Key of a new message belongs to.
const createOperation = http.MethodPost + " " + Prefix + "/Messages.json"

const (
	maxFiles     = 10
	maxSendAhead = 35 * 24 * time.Hour
	maxSendPast  = time.Minute // a clock may be off, a request may be slow
)

// fault is what is wrong with a field.
type fault struct {
	code int
	text string
}

// form reads the form of the body; false: the answer was given.
func (c *call) form() (url.Values, []byte, bool) {
	form, body, err := rest.ReadForm(c.w, c.r, false)
	if err != nil {
		c.fail(err)
		return nil, nil, false
	}
	for name, values := range form {
		if !rest.Text(name) || slices.ContainsFunc(values, func(v string) bool { return !rest.Text(v) }) {
			refuse(c.w, http.StatusBadRequest, twilio.CodeInvalid, "The form must be UTF-8 text without control characters")
			return nil, nil, false
		}
	}
	return form, body, true
}

// create sends a message.
func (c *call) create() {
	if err := c.guest.Write(); err != nil {
		c.fail(err)
		return
	}
	form, body, ok := c.form()
	if !ok {
		return
	}
	ctx, cancel := c.desk.Context(c.r)
	defer cancel()
	var status int
	var answer []byte
	key, err := c.guest.Key(createOperation, body, func(m *message.Message, e *message.Error) (int, []byte, error) {
		var err error
		status, answer, err = c.rendered(m, e)
		return status, answer, err
	})
	if err != nil {
		c.fail(err)
		return
	}
	request, wrong := c.request(form)
	if wrong != nil {
		// A repeated request gets its first answer even if it would not pass any more, as with
		// a SendAt that has come and gone.
		first, err := c.guest.First(ctx, key)
		switch {
		case err != nil:
			c.fail(err)
		case first != nil:
			c.replay(first)
		default:
			refuse(c.w, http.StatusBadRequest, wrong.code, wrong.text)
		}
		return
	}
	request.Key = key
	out, err := c.guest.Send(ctx, request)
	switch {
	case err == nil && out.Replay != nil:
		c.replay(out.Replay)
	case err != nil:
		if form.Get("From") == "" && hasField(err, "body.from") {
			refuse(c.w, http.StatusBadRequest, twilio.CodeNoFrom, "A 'From' phone number is required")
			return
		}
		c.fail(err)
	default:
		if answer == nil {
			if status, answer, err = c.rendered(out.Message, nil); err != nil {
				c.fail(err)
				return
			}
		}
		write(c.w, status, answer)
	}
}

// rendered is the answer to a message that was taken, or to one that was refused.
func (c *call) rendered(m *message.Message, e *message.Error) (int, []byte, error) {
	if e != nil {
		entry := e.Reason.Entry()
		status, text := statusOf(e.Reason, entry.HTTP), e.Detail
		if text == "" {
			text = entry.Help
		}
		return status, refusalOf(status, codeOf(e.Reason, e.Fields), text), nil
	}
	body, err := json.Marshal(c.resourceOf(m))
	return http.StatusCreated, body, err
}

func (c *call) replay(first *message.Idempotency) {
	c.w.Header().Set("Idempotency-Replayed", "true")
	write(c.w, first.Status, first.Response)
}

func hasField(err error, location string) bool {
	e := message.AsError(err)
	return slices.ContainsFunc(e.Fields, func(f message.FieldError) bool { return f.Location == location })
}

// notOffered are fields without which a message would not be what its sender means.
var notOffered = []struct {
	name string
	code int
	text string
}{
	{"MessagingServiceSid", twilio.CodeNoService, "The Messaging Service does not exist: this gateway has none; give the sender as From"},
	{"ContentSid", twilio.CodeNoContent, "The ContentSid is invalid: this gateway has no content templates; give the text as Body"},
	{"FallbackFrom", twilio.CodeInvalid, "FallbackFrom is not offered: give the sender as From"},
	{"PersistentAction", twilio.CodeInvalid, "PersistentAction is not offered: it is of channels other than SMS and MMS"},
}

// request makes a form into a message.
func (c *call) request(form url.Values) (ingress.Request, *fault) {
	r := c.guest.Request()
	for _, f := range notOffered {
		if form.Get(f.name) != "" {
			return r, &fault{f.code, f.text}
		}
	}
	r.To, r.From, r.Body = form.Get("To"), form.Get("From"), form.Get("Body")
	files := form["MediaUrl"]
	switch {
	case r.To == "":
		return r, &fault{twilio.CodeNoTo, "A 'To' phone number is required"}
	case r.Body == "" && len(files) == 0:
		return r, &fault{twilio.CodeNoBody, "Message body is required"}
	case len(files) > maxFiles:
		return r, &fault{twilio.CodeTooManyMedia, "Number of media files exceeds allowed limit: at most 10"}
	}
	for _, u := range files {
		if err := c.desk.CheckURL(u); u == "" || err != nil {
			return r, &fault{twilio.CodeInvalidMedia, "Invalid media URL(s): each must be a public https URL"}
		}
		r.Media = append(r.Media, message.Media{Source: u})
	}
	if u := form.Get("StatusCallback"); u != "" {
		if err := c.desk.CheckURL(u); err != nil {
			return r, &fault{twilio.CodeInvalidCallback, "The 'StatusCallback' URL is not valid: it " + err.Error()}
		}
		r.WebhookURL, r.Callback = u, message.CallbackTwilio
	} else if form.Get("ApplicationSid") != "" {
		return r, &fault{twilio.CodeInvalid, "This gateway has no applications: give StatusCallback instead of ApplicationSid"}
	}
	return r, c.options(form, &r)
}

// options reads what is seldom given.
func (c *call) options(form url.Values, r *ingress.Request) *fault {
	if s := form.Get("ValidityPeriod"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > int(message.MaxValidity/time.Second) {
			return &fault{twilio.CodeInvalid, "ValidityPeriod must be a number of seconds from 1 to " + strconv.Itoa(int(message.MaxValidity/time.Second))}
		}
		r.Validity = max(time.Duration(n)*time.Second, message.MinValidity)
	}
	smart, wrong := flag(form, "SmartEncoded")
	if wrong != nil {
		return wrong
	}
	r.SmartEncoding = smart
	asMMS, wrong := flag(form, "SendAsMms")
	if wrong != nil {
		return wrong
	}
	r.MMS = asMMS != nil && *asMMS
	shorten, wrong := flag(form, "ShortenUrls")
	switch {
	case wrong != nil:
		return wrong
	case shorten != nil && *shorten:
		return &fault{twilio.CodeInvalid, "ShortenUrls is not offered: leave it out"}
	case form.Get("ContentRetention") == "discard", form.Get("AddressRetention") == "obfuscate":
		return &fault{twilio.CodeInvalid, "Retention cannot be chosen for one message: the account's content_retention_days says how long texts are kept"}
	}
	return c.schedule(form, r)
}

func (c *call) schedule(form url.Values, r *ingress.Request) *fault {
	kind, at := form.Get("ScheduleType"), form.Get("SendAt")
	switch {
	case kind == "" && at == "":
		return nil
	case kind != "" && kind != "fixed":
		return &fault{twilio.CodeInvalid, "ScheduleType must be fixed"}
	}
	t, err := time.Parse(time.RFC3339, at)
	if ahead := t.Sub(c.desk.Now()); err != nil || ahead < -maxSendPast || ahead > maxSendAhead {
		return &fault{twilio.CodeInvalidSchedule, "SendAt must be a time in ISO 8601, such as 2026-11-30T20:36:27Z, at most 35 days ahead"}
	}
	r.SendAt = t
	return nil
}

// flag reads true or false; nil: it was not given.
func flag(form url.Values, name string) (*bool, *fault) {
	switch strings.ToLower(form.Get(name)) {
	case "":
		return nil, nil
	case "true":
		return new(true), nil
	case "false":
		return new(false), nil
	}
	return nil, &fault{twilio.CodeInvalid, name + " must be true or false"}
}
