package rest

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

const (
	// maxBatch is the largest body of a batch: 10 MiB. What multipart adds to it is little.
	maxBatch      = 10 << 20
	maxBatchForm  = 64 << 10
	maxBatchField = 1 << 20 // of the form's options
	// batchTime is how long a batch may take to come in.
	batchTime = time.Minute
	// batchesAtOnce is how many bodies of batches may be in this process at a time, each
	// of which takes some 40 MiB at worst, and batchesOfAccount how many of one account.
	batchesAtOnce    = 8
	batchesOfAccount = 2
	// maxText is the longest text of a message, in characters: that of an MMS.
	maxText  = 5000
	maxField = 64 // of a number, in characters
)

// batchBodies counts what is coming in and being stored. The zero value has none.
type batchBodies struct {
	mu   sync.Mutex
	open map[message.ID]int
	all  int
}

// begin lets one more come in, or says why not.
func (u *batchBodies) begin(account message.ID) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.open[account] >= batchesOfAccount:
		return &limited{message.Refuse(message.ReasonRateLimitExceeded, "more than %d batches of this account are coming in at a time", batchesOfAccount), time.Second}
	case u.all >= batchesAtOnce:
		return &message.Error{Reason: message.ReasonUnavailable, Detail: "too many batches are coming in; repeat the request", After: time.Second}
	}
	if u.open == nil {
		u.open = make(map[message.ID]int)
	}
	u.open[account]++
	u.all++
	return nil
}

func (u *batchBodies) end(account message.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all--
	if u.open[account]--; u.open[account] == 0 {
		delete(u.open, account)
	}
}

// createBatchBody is the body of POST /v1/messages/batch as the document shows it.
// decodeBatch reads it; a test holds the two together.
type createBatchBody struct {
	Name               string            `json:"name,omitempty" maxLength:"100" doc:"For you to find it by" example:"spring sale"`
	Messages           []batchRowBody    `json:"messages" minItems:"1" maxItems:"10000" nullable:"false" doc:"The rows"`
	ThrottlePerSecond  *int64            `json:"throttle_per_second,omitempty" minimum:"1" doc:"Rows a second at most, up to the account's rate. Left out: the account's rate."`
	From               string            `json:"from,omitempty" maxLength:"64" doc:"Of rows without one" example:"+12025550143"`
	Body               string            `json:"body,omitempty" maxLength:"5000" doc:"Of rows without one. {{name}} stands for the row's variable of that name; a row that lacks it is refused." example:"Hello {{first_name}}, your code is {{code}}"`
	MediaURLs          []string          `json:"media_urls,omitempty" maxItems:"10" nullable:"false" doc:"Of every row; as of a message"`
	MediaIDs           []string          `json:"media_ids,omitempty" maxItems:"10" nullable:"false" doc:"Of rows without any"`
	MediaTranscoding   string            `json:"media_transcoding,omitempty" enum:"auto,bypass" doc:"As of a message"`
	Subject            string            `json:"subject,omitempty" maxLength:"40" doc:"Of an MMS; may have variables"`
	WebhookURL         string            `json:"webhook_url,omitempty" format:"uri" maxLength:"2048" doc:"Gets the events of the messages instead of the account's endpoints, and batch.completed beside them" example:"https://shop.example/hooks/sms"`
	WebhookFailoverURL string            `json:"webhook_failover_url,omitempty" format:"uri" maxLength:"2048" doc:"Used from the second try on when webhook_url fails."`
	SendAt             *time.Time        `json:"send_at,omitempty" doc:"When to send, at most 35 days ahead. Rows are accepted at once; those that are worked after it are sent then."`
	ValiditySeconds    *int64            `json:"validity_seconds,omitempty" minimum:"60" maximum:"259200" doc:"As of a message, from send_at or the row's acceptance"`
	MessageClass       string            `json:"message_class,omitempty" enum:"otp,conversation,bulk" doc:"Left out: the account's default"`
	Delivery           string            `json:"delivery,omitempty" enum:"at_most_once,at_least_once" doc:"Left out: the account's default"`
	Encoding           string            `json:"encoding,omitempty" enum:"auto,gsm7,ucs2" doc:"Left out: auto"`
	SmartEncoding      *bool             `json:"smart_encoding,omitempty" doc:"Left out: the account's setting"`
	ClientReference    string            `json:"client_reference,omitempty" maxLength:"64" doc:"Of rows without one"`
	Metadata           map[string]string `json:"metadata,omitempty" maxProperties:"20" doc:"Of every message"`
}

// batchRowBody is a row of a batch.
type batchRowBody struct {
	To              string            `json:"to" minLength:"1" maxLength:"64" doc:"As of a message. One that is no number has its row refused, not the batch." example:"+13105550117"`
	Body            string            `json:"body,omitempty" maxLength:"5000" doc:"Instead of the batch's; may have variables too"`
	From            string            `json:"from,omitempty" maxLength:"64"`
	Variables       map[string]string `json:"variables,omitempty" maxProperties:"50" doc:"At most 50, names of at most 64 characters, values of at most 1,600"`
	MediaIDs        []string          `json:"media_ids,omitempty" maxItems:"10" nullable:"false" doc:"Instead of the batch's"`
	ClientReference string            `json:"client_reference,omitempty" maxLength:"64"`
}

// checkBatchBody is the other body of POST /v1/messages/batch/check.
type checkBatchBody struct {
	From         string `json:"from,omitempty" maxLength:"64"`
	Type         string `json:"type,omitempty" enum:"sms,mms" doc:"Left out: sms"`
	MessageCount int64  `json:"message_count" minimum:"1" maximum:"10000"`
	SegmentsEach int64  `json:"segments_each,omitempty" minimum:"1" maximum:"255" doc:"Left out: 1"`
}

// batchBody is what came in. refusal says what is wrong with it, nil for nothing, and
// status with which status if not the reason's own. print is what a repetition is known
// by.
type batchBody struct {
	createMessage // the defaults of the rows
	name          string
	throttle      *int64
	rows          []message.BatchContent
	listed        bool // there were messages
	filed         bool // it is a form, whose rows are checked with their lines
	estimate      *batchEstimate

	print   []byte
	refusal *message.Error
	status  int
}

// batchEstimate is a number of messages to be checked.
type batchEstimate struct {
	kind        string
	count, each *int64
}

// receiveBatch takes a body in, of JSON or a form with a file, and reads it. end is
// called when nothing of it is needed any more, also after an error, which is the answer.
func (s *Server) receiveBatch(x *exchange, check bool) (in *batchBody, end func(), err error) {
	account := x.caller.account.ID
	if err := s.bodies.begin(account); err != nil {
		return nil, func() {}, s.problem(x, err, 0)
	}
	end = func() { s.bodies.end(account) }
	control := http.NewResponseController(x)
	deadline := time.Now().Add(batchTime)
	_ = control.SetReadDeadline(deadline) // where it cannot be set there is none
	_ = control.SetWriteDeadline(deadline.Add(DefaultWrite))

	in = &batchBody{}
	d := &decoder{}
	body := http.MaxBytesReader(x.ResponseWriter, x.request.Body, maxBatch+maxBatchForm)
	kind, params, _ := mime.ParseMediaType(x.request.Header.Get("Content-Type"))
	if kind == multipartType {
		d, err = in.readForm(body, params["boundary"])
	} else {
		d, err = in.readJSON(body, check)
	}
	var syntax *syntaxError
	switch {
	case errors.As(err, &syntax):
		in.refusal, in.status = unreadable(err), http.StatusBadRequest
	case err != nil:
		return nil, end, s.problem(x, err, 0)
	default:
		alone := message.Batch{AccountID: account, Credential: x.caller.batchKey()}
		in.check(d, s.now(), s.checkURL(), s.Batches.BatchRate(&alone))
		in.refusal = d.refusal()
	}
	return in, end, nil
}

// readJSON reads a body of JSON. An error that is no *syntaxError is one of reading.
func (in *batchBody) readJSON(body io.Reader, check bool) (*decoder, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxBatch+1))
	if err != nil {
		return nil, unread(err)
	}
	if len(text) > maxBatch {
		return nil, message.Refuse(message.ReasonPayloadTooLarge, "the body is larger than %d octets", maxBatch)
	}
	sum := sha256.Sum256(text)
	in.print = sum[:]
	return decodeObject(text, func(d *decoder, name, location string) (bool, error) {
		if check {
			if known, err := in.estimated(d, name, location); known || err != nil {
				return known, err
			}
		}
		if name == "messages" {
			in.listed = true
			return true, in.messages(d, location)
		}
		return in.option(d, name, location)
	})
}

// option reads a member that is about all rows.
func (in *batchBody) option(d *decoder, name, location string) (bool, error) {
	switch name {
	case "name":
		return true, d.text(location, &in.name, oneLine)
	case "throttle_per_second":
		return true, d.whole(location, &in.throttle)
	case "to", "dry_run":
		return false, nil
	}
	return in.member(d, name, location)
}

func (in *batchBody) estimated(d *decoder, name, location string) (bool, error) {
	if in.estimate == nil {
		switch name {
		case "type", "message_count", "segments_each":
			in.estimate = &batchEstimate{}
		default:
			return false, nil
		}
	}
	switch name {
	case "type":
		return true, d.choice(location, &in.estimate.kind, string(message.SMS), string(message.MMS))
	case "message_count":
		return true, d.whole(location, &in.estimate.count)
	case "segments_each":
		return true, d.whole(location, &in.estimate.each)
	}
	return false, nil
}

func (in *batchBody) messages(d *decoder, location string) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	if d.peek() != '[' {
		d.invalid(location, "must be an array of objects")
		return d.skip()
	}
	n := 0
	return d.array(func() error {
		if n++; n > message.MaxBatchRows {
			if n == message.MaxBatchRows+1 {
				d.invalid(location, "has more than %d elements", message.MaxBatchRows)
			}
			return d.skip()
		}
		place := fmt.Sprintf("%s[%d]", location, n-1)
		d.within = place
		var row message.BatchContent
		err := d.nested(place, func(d *decoder, name, at string) (bool, error) { return rowMember(&row, d, name, at) })
		in.rows = append(in.rows, row)
		return err
	})
}

func rowMember(row *message.BatchContent, d *decoder, name, at string) (bool, error) {
	switch name {
	case "to":
		return true, d.text(at, &row.To, oneLine)
	case "body":
		return true, d.text(at, &row.Body, lines)
	case "from":
		return true, d.text(at, &row.From, oneLine)
	case "variables":
		return true, d.pairs(at, &row.Variables, message.MaxVariables, message.MaxVariableName, maxVariable)
	case "media_ids":
		var none createMessage
		return true, none.list(d, at, &row.MediaIDs)
	case "client_reference":
		return true, d.text(at, &row.ClientReference, oneLine)
	}
	return false, nil
}

// maxVariable is the longest value of a variable, in characters.
const maxVariable = 1600

// check looks for what cannot be right, of all rows. What the rows come to is for whoever
// works them.
func (in *batchBody) check(d *decoder, now time.Time, checkURL func(*url.URL) error, rate int) {
	if d.faulty("body") { // it was no object
		return
	}
	if n := utf8.RuneCountInString(in.name); n > message.MaxBatchName {
		d.invalid("body.name", "has %d characters; at most %d are allowed", n, message.MaxBatchName)
	}
	if t := in.throttle; t != nil && (*t < 1 || *t > int64(rate)) {
		d.invalid("body.throttle_per_second", "is %d; it must lie between 1 and %d, the rate of the account and the API key", *t, rate)
	}
	tooLong(d, "body.body", in.Body, maxText)
	tooLong(d, "body.from", in.From, maxField)
	in.checkDefaults(d, now, checkURL)
	if in.estimate != nil {
		in.checkEstimate(d)
		return
	}
	if len(in.rows) == 0 && !d.faulty("body.messages") && !d.faulty(fileField) {
		d.invalid("body.messages", "is required: 1 to %d rows", message.MaxBatchRows)
	}
	if in.filed {
		return
	}
	for i := range in.rows {
		if len(d.list) == maxFaults {
			return
		}
		in.checkRow(d, &in.rows[i], func(name string) string { return fmt.Sprintf("body.messages[%d].%s", i, name) })
	}
}

func tooLong(d *decoder, location, s string, most int) {
	if len(s) > most && utf8.RuneCountInString(s) > most {
		d.invalid(location, "must have at most %d characters", most)
	}
}

// checkDefaults is about what all rows have.
func (in *batchBody) checkDefaults(d *decoder, now time.Time, checkURL func(*url.URL) error) {
	subject, transcoding := in.Subject, in.MediaTranscoding
	in.Subject, in.MediaTranscoding = "", "" // whether there is media, each row says
	in.checkMedia(d, checkURL, 0)
	in.Subject, in.MediaTranscoding = subject, transcoding
	tooLong(d, "body.subject", in.Subject, 40)
	tooLong(d, "body.client_reference", in.ClientReference, maxReference)
	in.checkTimes(d, now)
	if in.WebhookFailoverURL != "" && in.WebhookURL == "" && !d.faulty("body.webhook_url") {
		d.invalid("body.webhook_failover_url", "needs webhook_url beside it")
	}
	d.url("body.webhook_url", in.WebhookURL, checkURL)
	d.url("body.webhook_failover_url", in.WebhookFailoverURL, checkURL)
}

// checkRow is about one row; at gives the location of a field.
func (in *batchBody) checkRow(d *decoder, row *message.BatchContent, at func(name string) string) {
	if row.To == "" && !d.faulty(at("to")) {
		d.invalid(at("to"), "is required: the recipient's number, such as +13105550117")
	}
	media := len(in.MediaURLs)+len(in.MediaIDs)+len(row.MediaIDs) > 0
	if row.Body == "" && in.Body == "" && !media && !d.faulty(at("body")) && !d.faulty("body.body") {
		d.invalid(at("body"), "is required: neither the row nor the batch has a text")
	}
	tooLong(d, at("to"), row.To, maxField)
	tooLong(d, at("from"), row.From, maxField)
	tooLong(d, at("body"), row.Body, maxText)
	tooLong(d, at("client_reference"), row.ClientReference, maxReference)
	for i, id := range row.MediaIDs {
		if _, err := message.ParseID(id); err != nil && id != "" {
			d.invalid(fmt.Sprintf("%s[%d]", at("media_ids"), i), "must be the id of a file of POST /v1/media")
		}
	}
	if n := len(in.MediaURLs) + len(row.MediaIDs); n > maxFiles {
		d.invalid(at("media_ids"), "makes %d files together with media_urls; at most %d are allowed", n, maxFiles)
	}
}

func (in *batchBody) checkEstimate(d *decoder) {
	e := in.estimate
	if in.listed {
		d.invalid("body.messages", "stands alone: leave type, message_count and segments_each out beside it")
	}
	if e.count == nil && !d.faulty("body.message_count") {
		d.invalid("body.message_count", "is required beside type and segments_each: how many messages")
	}
	if e.count != nil && (*e.count < 1 || *e.count > message.MaxBatchRows) {
		d.invalid("body.message_count", "must lie between 1 and %d", message.MaxBatchRows)
	}
	if e.each != nil && (*e.each < 1 || *e.each > 255) {
		d.invalid("body.segments_each", "must lie between 1 and 255")
	}
}

// batch is what is stored.
func (in *batchBody) batch(c *caller, now time.Time) *message.Batch {
	d := message.BatchDefaults{From: in.From, Body: in.Body, Subject: in.Subject, MediaURLs: in.MediaURLs, MediaIDs: in.MediaIDs, MediaAsIs: cmp.Or(in.MediaTranscoding, c.account.MediaTranscoding) == mediaBypass,
		Class: message.Class(in.MessageClass), Delivery: message.Delivery(in.Delivery), Encoding: message.Encoding(in.Encoding), SmartEncoding: in.SmartEncoding,
		ClientReference: in.ClientReference, Metadata: in.Metadata}
	if in.SendAt != nil {
		d.SendAt = in.SendAt.UTC()
	}
	if in.ValiditySeconds != nil {
		d.ValiditySeconds = *in.ValiditySeconds
	}
	b := &message.Batch{ID: message.NewID(), AccountID: c.account.ID, Credential: c.batchKey(), Name: in.name, Status: message.BatchRunning, Defaults: d,
		Total: len(in.rows), WebhookURL: in.WebhookURL, WebhookFailover: in.WebhookFailoverURL, CreatedAt: now.UTC().Truncate(time.Millisecond)}
	if in.throttle != nil {
		b.Throttle = int(*in.throttle)
	}
	return b
}

// batchKey is the API key whose bounds hold for a batch; zero for a user of the portal.
func (c *caller) batchKey() message.ID {
	if c.user != "" {
		return message.ID{}
	}
	return c.credential.ID
}
