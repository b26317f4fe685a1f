package rest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

// messageResource is a message as customers see it. The operator's side of it
// (vendor, vendor's ids and codes) is left out on purpose.
type messageResource struct {
	_                 struct{}          `json:"-" additionalProperties:"true"`
	ID                string            `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Direction         string            `json:"direction" enum:"outbound,inbound"`
	Type              string            `json:"type" enum:"sms,mms"`
	RequestedType     *string           `json:"requested_type" enum:"mms" doc:"mms of an SMS that was asked for as one: no vendor took its files, and its text has links to them"`
	Status            string            `json:"status" enum:"accepted,scheduled,queued,sending,in_doubt,sent,delivered,undelivered,failed,rejected,expired,canceled,unconfirmed" doc:"More may come: treat one that you do not know as not final."`
	From              *string           `json:"from" doc:"The sender that is used; null if a refused request named none that could be read" example:"+12025550143"`
	RequestedFrom     *string           `json:"requested_from" doc:"What was asked for, when a forced sender replaced it"`
	To                *string           `json:"to" doc:"The recipient; null if a refused request named none that could be read" example:"+13105550117"`
	Body              *string           `json:"body" doc:"The text; null once content_retention_days have passed, and if the encoding is binary" example:"Your parcel is on its way"`
	Subject           *string           `json:"subject" doc:"Of an MMS"`
	Media             []mediaResource   `json:"media" nullable:"false" doc:"The files of an MMS that are stored; those of media_urls are from when they were fetched"`
	Encoding          *string           `json:"encoding" doc:"gsm7, ucs2, or binary for octets that came over SMPP and are not shown; null if it was refused before that was known" example:"gsm7"`
	Segments          int               `json:"segments" doc:"Parts that it is sent in" example:"1"`
	Price             *priceResource    `json:"price"`
	MessageClass      string            `json:"message_class" enum:"otp,conversation,bulk"`
	Delivery          string            `json:"delivery" enum:"at_most_once,at_least_once"`
	CampaignID        *string           `json:"campaign_id" example:"C8X2KQ1"`
	BatchID           *string           `json:"batch_id" format:"uuid"`
	GroupID           *string           `json:"group_id" format:"uuid"`
	GroupRecipients   []string          `json:"group_recipients" nullable:"false" doc:"All recipients of the group that group_id names, in its sender's order; else empty"`
	RetryOf           *string           `json:"retry_of" format:"uuid"`
	ClientReference   *string           `json:"client_reference" example:"order-8812"`
	Metadata          map[string]string `json:"metadata"`
	Error             *errorResource    `json:"error"`
	Hold              *holdResource     `json:"hold" doc:"What a queued message waits for; null when that is its vendor, or nothing"`
	Receipt           *receiptResource  `json:"receipt"`
	PossibleDuplicate bool              `json:"possible_duplicate" doc:"It was sent again while it was in doubt whether the vendor had it"`
	Parts             []partResource    `json:"parts" nullable:"false"`
	SendAt            *string           `json:"send_at" format:"date-time"`
	ExpiresAt         *string           `json:"expires_at" format:"date-time" doc:"End of its validity" example:"2026-11-21T21:15:04.310Z"`
	CreatedAt         string            `json:"created_at" format:"date-time" example:"2026-11-21T20:15:04.310Z"`
	SubmittedAt       *string           `json:"submitted_at" format:"date-time"`
	DeliveredAt       *string           `json:"delivered_at" format:"date-time"`
	UpdatedAt         string            `json:"updated_at" format:"date-time" example:"2026-11-21T20:15:04.310Z"`
}

type mediaResource struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	ID          string   `json:"id" format:"uuid"`
	URL         string   `json:"url" format:"uri"`
	ContentType string   `json:"content_type"`
	SizeBytes   int64    `json:"size_bytes"`
	SHA256      string   `json:"sha256"`
}

type priceResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	Amount    string   `json:"amount" doc:"A decimal" example:"0.0045"`
	Currency  string   `json:"currency" example:"USD"`
	Estimated bool     `json:"estimated" doc:"false once the message is settled"`
}

type errorResource struct {
	_      struct{} `json:"-" additionalProperties:"true"`
	Code   string   `json:"code" doc:"A code of GET /v1/errors" example:"unreachable"`
	Class  string   `json:"class" enum:"permanent,retry,fix_registration"`
	Detail string   `json:"detail"`
}

type holdResource struct {
	_      struct{} `json:"-" additionalProperties:"true"`
	Rule   string   `json:"rule" doc:"The rule that makes it wait" example:"quiet_hours"`
	Until  *string  `json:"until" format:"date-time" doc:"When it is expected to leave; null: when somebody has looked at it"`
	Detail string   `json:"detail"`
}

type receiptResource struct {
	_    struct{} `json:"-" additionalProperties:"true"`
	Stat string   `json:"stat" doc:"The receipt's word" example:"DELIVRD"`
	Err  string   `json:"err" doc:"The network's own code" example:"000"`
	At   *string  `json:"at" format:"date-time"`
}

type partResource struct {
	_       struct{}         `json:"-" additionalProperties:"true"`
	Part    int              `json:"part" doc:"From 1"`
	Status  string           `json:"status" doc:"In the words of the message's status"`
	Receipt *receiptResource `json:"receipt"`
	Error   *errorResource   `json:"error"`
}

// TransformSchema says which members may be null instead of an object.
func (messageResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "price", "error", "hold", "receipt")
}

// TransformSchema is as for the message.
func (partResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "error", "receipt")
}

// TransformSchema is as for the message.
func (dryRunResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "error", "price", "route", "hold")
}

// orNull makes references nullable. huma can do that for plain values only.
func orNull(s *huma.Schema, members ...string) *huma.Schema {
	for _, name := range members {
		if was := s.Properties[name]; was.Ref != "" {
			s.Properties[name] = &huma.Schema{Description: was.Description, AnyOf: []*huma.Schema{{Ref: was.Ref}, {Type: "null"}}}
		}
	}
	return s
}

var _ huma.SchemaTransformer = messageResource{}

// resourceOf makes a message into what customers see.
func (s *Server) resourceOf(m *message.Message) messageResource {
	r := messageResource{
		ID: m.ID.String(), Direction: string(m.Direction), Type: string(m.Kind), RequestedType: optional(string(m.Requested)), Status: string(m.Status),
		From: optional(string(m.From)), RequestedFrom: optional(string(m.RequestedFrom)), To: optional(string(m.To)),
		Subject: optional(m.Subject), Media: s.mediaOf(m), Encoding: optional(string(m.Encoding)), Segments: m.Segments, Price: priceOf(m.Price),
		MessageClass: string(cmp.Or(m.Class, message.ClassConversation)), Delivery: string(cmp.Or(m.Delivery, message.AtMostOnce)), CampaignID: optional(m.CampaignID),
		BatchID: optionalID(m.BatchID), GroupID: optionalID(m.GroupID), GroupRecipients: wordsOf(m.GroupRecipients), RetryOf: optionalID(m.RetryOf),
		ClientReference: optional(m.ClientReference), Metadata: m.Metadata,
		Error: errorOf(m.Error), Hold: holdOf(m.Hold), Receipt: receiptOf(m.Receipt), PossibleDuplicate: m.DuplicatePoss,
		SendAt: optionalTime(m.SendAt), ExpiresAt: optionalTime(m.ExpiresAt), CreatedAt: stamp(m.CreatedAt),
		SubmittedAt: optionalTime(m.SubmittedAt), DeliveredAt: optionalTime(m.DeliveredAt), UpdatedAt: stamp(m.UpdatedAt),
	}
	if m.UpdatedAt.IsZero() {
		r.UpdatedAt = r.CreatedAt
	}
	if body, ok := m.Text(); ok {
		r.Body = &body
	}
	if r.Metadata == nil {
		r.Metadata = map[string]string{}
	}
	r.Parts = make([]partResource, max(m.Segments, len(m.Parts)))
	for i := range r.Parts {
		p := message.Part{Number: i + 1}
		if i < len(m.Parts) {
			p = m.Parts[i]
		}
		r.Parts[i] = partOf(m, p)
	}
	return r
}

// mediaOf lists the files that are stored.
func (s *Server) mediaOf(m *message.Message) []mediaResource { return s.filesOf(m.Media) }

func (s *Server) filesOf(files []message.Media) []mediaResource {
	list := make([]mediaResource, 0, len(files))
	for _, f := range files {
		if f.Fetched() {
			list = append(list, mediaResource{ID: f.File.ID.String(), URL: s.mediaURL(f.File), ContentType: f.File.ContentType, SizeBytes: f.File.Size, SHA256: hex.EncodeToString(f.File.SHA256[:])})
		}
	}
	return list
}

// partOf is one part. A part that was not tried is where its message is.
func partOf(m *message.Message, p message.Part) partResource {
	r := partResource{Part: p.Number, Status: string(p.State.Status()), Receipt: receiptOf(p.Receipt)}
	if p.Attempt == 0 {
		r.Status = string(m.Status)
	}
	if p.Reason != "" {
		r.Error = errorOf(&message.Error{Reason: p.Reason})
	}
	return r
}

// errorOf shows a reason. Where nobody wrote a sentence the catalogue's stands.
func errorOf(e *message.Error) *errorResource {
	if e == nil {
		return nil
	}
	entry := e.Reason.Entry()
	r := &errorResource{Code: string(entry.Reason), Class: string(entry.Class), Detail: e.Detail}
	if r.Detail == "" {
		r.Detail = entry.Help
	}
	return r
}

func holdOf(h *message.Hold) *holdResource {
	if h == nil {
		return nil
	}
	return &holdResource{Rule: h.Rule, Until: optionalTime(h.Until), Detail: h.Detail}
}

func receiptOf(r *message.ReceiptSummary) *receiptResource {
	if r == nil {
		return nil
	}
	return &receiptResource{Stat: r.Stat, Err: r.Err, At: optionalTime(r.At)}
}

func priceOf(p message.Price) *priceResource {
	if p.Currency == "" {
		return nil
	}
	return &priceResource{Amount: p.Amount.String(), Currency: p.Currency, Estimated: p.Estimated}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func optionalID(id message.ID) *string {
	if id == (message.ID{}) {
		return nil
	}
	return optional(id.String())
}

// wordsOf writes addresses; none is an empty list.
func wordsOf(list []message.Address) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = string(a)
	}
	return out
}

func optionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return optional(stamp(t))
}

// stamp writes a time as every answer does: RFC 3339, UTC, milliseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// eventResource is one line of a timeline.
type eventResource struct {
	_        struct{}       `json:"-" additionalProperties:"true"`
	Sequence int            `json:"sequence" doc:"From 1, without gaps" example:"1"`
	At       string         `json:"at" format:"date-time" example:"2026-11-21T20:15:04.310Z"`
	Type     string         `json:"type" doc:"A status, or admitted, revised, media_prepared, fell_back_to_sms, submit_accepted, submit_refused, submit_unknown, receipt, webhook_attempt, deliver_sm_attempt, mm4_attempt, read, opt_out_recorded, staff_action; of an inbound message also received, opt_out_ended, reply_owed" example:"accepted"`
	Detail   map[string]any `json:"detail"`
}

// publicDetail lists what a customer sees of an event's detail. It is a list of
// what is shown, so that a new member which names a vendor stays inside until
// somebody has thought of it.
var publicDetail = map[string]bool{
	"edge": true, "trail": true, "candidates": true, "part": true, "parts": true, "attempt": true, "attempts": true,
	"stat": true, "err": true, "code": true, "class": true, "detail": true, "reason": true, "segments": true,
	"send_at": true, "until": true, "http_status": true, "ms": true, "state": true, "event": true, "keyword": true,
	"possible_duplicate": true, "hold": true, "late": true, "next_in_seconds": true,
	"changed": true, "expires_at": true, "encoding": true, "resolved": true, "scope": true, "source": true, "missing": true, "files": true, "smaller": true, "requested_type": true,
}

func eventOf(e message.Event) eventResource {
	r := eventResource{Sequence: e.Sequence, At: stamp(e.At), Type: string(e.Type), Detail: map[string]any{}}
	for name, v := range e.Detail {
		switch {
		case name == "trail":
			r.Detail[name] = publicTrail(v)
		case publicDetail[name]:
			r.Detail[name] = v
		}
	}
	return r
}

// publicTrail drops what the route rule says, because it names vendors.
func publicTrail(v any) any {
	switch trail := v.(type) {
	case []message.TrailEntry:
		return trailOf(trail)
	case []any: // as it comes out of a JSON column
		kept := make([]any, 0, len(trail))
		for _, entry := range trail {
			m, ok := entry.(map[string]any)
			if !ok {
				continue
			}
			if m["rule"] == ruleRoute {
				m = map[string]any{"rule": m["rule"], "result": m["result"]}
			}
			kept = append(kept, m)
		}
		return kept
	}
	return []any{}
}

const ruleRoute = "route"

// trailResource is a rule that was looked at.
type trailResource struct {
	_      struct{} `json:"-" additionalProperties:"true"`
	Rule   string   `json:"rule" example:"sender_owned"`
	Result string   `json:"result" enum:"pass,hold,refuse"`
	Detail string   `json:"detail,omitempty"`
}

func trailOf(trail []message.TrailEntry) []trailResource {
	list := make([]trailResource, 0, len(trail))
	for _, e := range trail {
		r := trailResource{Rule: e.Rule, Result: string(e.Result), Detail: e.Detail}
		if e.Rule == ruleRoute {
			r.Detail = ""
		}
		list = append(list, r)
	}
	return list
}

// maxPooled is the largest buffer that is kept for the next answer.
const maxPooled = 64 << 10

// buffers are what answers are encoded in.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encode writes v as JSON without escaping <, > and & and without a newline.
func encode(v any) ([]byte, error) {
	b := buffers.Get().(*bytes.Buffer)
	defer func() {
		if b.Cap() <= maxPooled {
			buffers.Put(b)
		}
	}()
	b.Reset()
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// writeJSON answers outside the document's operations.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	body, err := encode(v)
	if err != nil {
		panic(err) // our own structs: it cannot happen
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a peer that has gone needs no answer
	}
}

// schemaName names a type in the document: messageResource is Message.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	name := t.Name()
	if i := strings.IndexByte(name, '['); i >= 0 { // a list of something
		arg := name[strings.LastIndexAny(name, "./[")+1 : len(name)-1]
		name = strings.TrimSuffix(arg, "Resource") + "List"
	}
	name = strings.TrimSuffix(name, "Resource")
	if name == "" {
		name = hint
	}
	return strings.ToUpper(name[:1]) + name[1:]
}
