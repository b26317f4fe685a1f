package rest

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// Journal is what this edge reads.
type Journal interface {
	// AccountMessage reads one message with its parts; another account's is
	// ReasonNotFound, as one that does not exist.
	AccountMessage(ctx context.Context, account, id message.ID) (*message.Message, error)
	// SearchMessages looks for an account's messages, newest first, until the search is told
	// to stop. The account of the filter does not count.
	SearchMessages(ctx context.Context, account message.ID, s message.Search) (message.Found, error)
	// Events reads a timeline, oldest first, from after a sequence number. It
	// does not ask whose message it is.
	Events(ctx context.Context, id message.ID, after, limit int) ([]message.Event, error)
	// FirstAnswer finds the stored answer of an idempotency key, nil if the key
	// is free, ReasonIdempotencyMismatch if it was used with another body.
	FirstAnswer(ctx context.Context, k message.Idempotency) (*message.Idempotency, error)
	// KeepAnswer stores the answer of a key, unless there is one: that comes back.
	KeepAnswer(ctx context.Context, k message.Idempotency) (*message.Idempotency, error)
	Usage
}

// Page is what every list takes. It is exported only because huma looks into
// embedded types no other way.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many at most"`
	Cursor string `query:"cursor" maxLength:"100" doc:"next_cursor of the page before"`
}

// size is the limit, the default if none was given.
func (p Page) size() int {
	if p.Limit == 0 {
		return defaultPage
	}
	return p.Limit
}

const defaultPage = 50

// list is a page of a list.
type list[T any] struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	Data       []T      `json:"data" nullable:"false"`
	NextCursor *string  `json:"next_cursor" doc:"Give it as cursor to get the next page; null at the end"`
}

type output[T any] struct {
	Body T
}

// MessageInput names a message. It is exported only because huma looks into embedded
// types no other way.
type MessageInput = messageInput

type messageInput struct {
	ID string `path:"id" doc:"The message's id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
}

type eventsInput struct {
	ID string `path:"id" doc:"The message's id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Page
}

type listInput struct {
	Page
	MessageFilters
}

// MessageFilters narrow a list of messages. The name is exported only because huma looks
// into embedded types no other way.
type MessageFilters struct {
	Direction       string    `query:"direction" enum:"outbound,inbound" doc:"outbound: sent by the account; inbound: received"`
	Status          []string  `query:"status,explode" enum:"accepted,scheduled,queued,sending,in_doubt,sent,delivered,undelivered,failed,rejected,expired,canceled,unconfirmed" maxItems:"13" nullable:"false" doc:"May be repeated: any of them"`
	Type            string    `query:"type" enum:"sms,mms" doc:"Of this type alone"`
	From            string    `query:"from" maxLength:"64" doc:"The sender that was used" example:"+12025550143"`
	To              string    `query:"to" maxLength:"64" doc:"The recipient" example:"+13105550117"`
	ClientReference string    `query:"client_reference" maxLength:"64" doc:"With this reference, as it was sent"`
	BatchID         string    `query:"batch_id" maxLength:"36" doc:"Of this batch alone"`
	CampaignID      string    `query:"campaign_id" maxLength:"64" doc:"The registry's id" example:"C8X2KQ1"`
	ErrorCode       string    `query:"error_code" maxLength:"64" doc:"A code of GET /v1/errors"`
	MessageClass    string    `query:"message_class" enum:"otp,conversation,bulk" doc:"Of this class alone"`
	CreatedAfter    time.Time `query:"created_after" doc:"RFC 3339"`
	CreatedBefore   time.Time `query:"created_before" doc:"RFC 3339"`
}

func (s *Server) getMessage(ctx context.Context, in *messageInput) (*output[messageResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	m, err := s.ownMessage(ctx, in.ID)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[messageResource]{Body: s.resourceOf(m)}, nil
}

// ownMessage reads a message of the caller's account.
func (s *Server) ownMessage(ctx context.Context, given string) (*message.Message, error) {
	id, err := message.ParseID(given)
	if err != nil {
		return nil, message.Refuse(message.ReasonNotFound, "no such message: an id is a UUID of 32 hex digits, hyphens optional")
	}
	account := exchangeOf(ctx).caller.account.ID
	m, err := s.Journal.AccountMessage(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if m.AccountID != account { // the journal has checked it; nothing else stands between two customers
		return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
	}
	return m, nil
}

func (s *Server) listEvents(ctx context.Context, in *eventsInput) (*output[list[eventResource]], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	after, ok := 0, true
	if in.Cursor != "" {
		after, ok = decodeEventCursor(in.Cursor)
	}
	if !ok {
		return nil, s.problem(x, badCursor(), 0)
	}
	m, err := s.ownMessage(ctx, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	events, err := s.Journal.Events(ctx, m.ID, after, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var next *string
	if len(events) > in.size() {
		events = events[:in.size()]
		next = optional(encodeEventCursor(events[len(events)-1].Sequence))
	}
	out := &output[list[eventResource]]{Body: list[eventResource]{Data: make([]eventResource, 0, len(events)), NextCursor: next}}
	for _, e := range events {
		out.Body.Data = append(out.Body.Data, eventOf(e))
	}
	return out, nil
}

func (s *Server) listMessages(ctx context.Context, in *listInput) (*output[messageList[messageResource]], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	filter, before, refusal := in.asked()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	found, err := s.Journal.SearchMessages(ctx, x.caller.account.ID, message.Search{Filter: filter, Before: before, Limit: in.size(), Left: s.within(searchTime)})
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[messageList[messageResource]]{Body: searched(found, s.resourceOf)}, nil
}

// asked is the filter, and the message before which the page begins.
func (in *listInput) asked() (message.Filter, message.ID, *message.Error) {
	f, refusal := in.filter()
	var before message.ID
	if in.Cursor != "" {
		var ok bool
		if before, ok = decodeMessageCursor(in.Cursor); !ok {
			return f, before, badCursor()
		}
	}
	return f, before, refusal
}

// filter checks what huma could not and makes the words of the journal of it.
func (in *MessageFilters) filter() (message.Filter, *message.Error) {
	var faults faults
	f := message.Filter{
		Direction: message.Direction(in.Direction), Kind: message.Kind(in.Type), Class: message.Class(in.MessageClass),
		ClientReference: in.ClientReference, CampaignID: in.CampaignID, Reason: message.Reason(in.ErrorCode),
		CreatedAfter: in.CreatedAfter, CreatedBefore: in.CreatedBefore,
	}
	for _, status := range in.Status {
		f.Statuses = append(f.Statuses, message.Status(status))
	}
	f.From = queryAddress(&faults, "query.from", in.From)
	f.To = queryAddress(&faults, "query.to", in.To)
	if f.Reason != "" && !f.Reason.Known() {
		faults.invalid("query.error_code", "is no code of GET /v1/errors")
	}
	queryText(&faults, "query.client_reference", in.ClientReference)
	queryText(&faults, "query.campaign_id", in.CampaignID)
	var err error
	if in.BatchID != "" {
		if f.BatchID, err = message.ParseID(in.BatchID); err != nil {
			faults.invalid("query.batch_id", "must be a UUID of 32 hex digits, hyphens optional")
		}
	}
	return f, faults.refusal()
}

// queryText refuses what Postgres could not compare.
func queryText(f *faults, location, s string) {
	if _, at := control(s, oneLine); at >= 0 || !utf8.ValidString(s) {
		f.invalid(location, "must be UTF-8 text without control characters")
	}
}

func badCursor() *message.Error {
	var f faults
	f.invalid("query.cursor", "is no cursor of this list; give next_cursor of the page before as it is")
	return f.refusal()
}

// queryAddress reads a number in a query, where a + that was not written as %2B
// has become a blank and may be left off.
func queryAddress(f *faults, location, s string) message.Address {
	if s == "" {
		return ""
	}
	a, err := message.ParseWire(strings.TrimSpace(s))
	if err != nil {
		f.invalid(location, "must be a number with its country code (+ written as %%2B or left off), a short code or a sender")
	}
	return a
}
