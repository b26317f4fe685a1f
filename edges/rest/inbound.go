package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// The scopes of numbers.
const (
	scopeNumbersRead  = "numbers:read"
	scopeNumbersWrite = "numbers:write"
)

// Inbound keeps where inbound messages go, and the messages. Every call is for one
// account; what is another's is ReasonNotFound.
type Inbound interface {
	// InboundRoutes reads the destinations of a number, or of the account for an empty
	// one, without their secrets.
	InboundRoutes(ctx context.Context, account message.ID, number message.Address) (message.DestinationSet, error)
	// SetInboundRoutes replaces them. Secrets that it made are in the answer. stamp, if
	// not empty, must be that of the set there is: else ReasonConflict.
	SetInboundRoutes(ctx context.Context, by message.Actor, set message.DestinationSet, stamp string, newSecret func() string) (message.DestinationSet, error)
	ReceivedMessages(ctx context.Context, account message.ID, f message.ReceivedFilter, behind message.ID, limit int) ([]message.ReceivedState, error)
	ReceivedMessage(ctx context.Context, account, id message.ID) (message.ReceivedState, error)
}

// numberPath is a path with a number.
type numberPath struct {
	Number string `path:"number" maxLength:"32" doc:"The number; its + is written as %2B or left off" example:"12025550143"`
}

// owned finds the number of a path; another account's is as one that does not exist.
func (s *Server) owned(x *exchange, given string) (*snapshot.Number, error) {
	number, err := message.ParseWire(given)
	if err == nil {
		if n := s.Snapshot().Numbers[number]; n != nil && n.AccountID == x.caller.account.ID {
			return n, nil
		}
	}
	return nil, message.Refuse(message.ReasonNotFound, "the account has no such number")
}

// beginInbound is what every operation on inbound messages starts with.
func (s *Server) beginInbound(ctx context.Context) (context.Context, context.CancelFunc, *exchange, error) {
	x := exchangeOf(ctx)
	if s.Inbound == nil {
		return ctx, func() {}, x, s.problem(x, message.Refuse(message.ReasonUnavailable, "inbound messages are not served here"), 0)
	}
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	return ctx, cancel, x, nil
}

func (s *Server) getNumberInbound(ctx context.Context, in *numberPath) (*entity[InboundResource], error) {
	ctx, cancel, x, err := s.beginInbound(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	n, err := s.owned(x, in.Number)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.readInbound(ctx, x, n.Number)
}

func (s *Server) getInboundSettings(ctx context.Context, _ *struct{}) (*entity[InboundResource], error) {
	ctx, cancel, x, err := s.beginInbound(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	return s.readInbound(ctx, x, "")
}

// readInbound shows what holds for a number: its own settings, or else the account's,
// or else what is done without any. The ETag is that of the number's own.
func (s *Server) readInbound(ctx context.Context, x *exchange, number message.Address) (*entity[InboundResource], error) {
	account := x.caller.account.ID
	set, err := s.Inbound.InboundRoutes(ctx, account, number)
	if err == nil && set.AccountID != account { // the store has checked it; nothing else stands between two customers
		err = message.Refuse(message.ReasonNotFound, "the account has no such number")
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	shown := set
	if len(set.List) == 0 && number != "" {
		if shown, err = s.Inbound.InboundRoutes(ctx, account, ""); err != nil {
			return nil, s.problem(x, err, 0)
		}
	}
	if len(shown.List) == 0 {
		shown.List = []message.Destination{s.withoutSettings(account)}
	}
	out := &entity[InboundResource]{ETag: stampTag(set.Stamp), Body: inboundOf(shown, number, len(set.List) == 0)}
	if number != "" {
		out.Body.AutoReply = set.AutoReply
	}
	return out, nil
}

// withoutSettings is what happens to the messages of an account that has set nothing.
func (s *Server) withoutSettings(account message.ID) message.Destination {
	for _, e := range s.Snapshot().Endpoints[account] {
		if len(e.EventTypes) == 0 || slices.Contains(e.EventTypes, "message.received") {
			return message.Destination{Place: message.Place{Method: message.InboundWebhook}, Position: 1, Active: true}
		}
	}
	return message.Destination{Place: message.Place{Method: message.InboundStorage}, Position: 1, Active: true}
}

func stampTag(stamp string) string { return strconv.Quote(stamp) }

type putInbound struct {
	IfMatch string `header:"If-Match" maxLength:"64" doc:"The ETag of what you have read: the change is refused with 412 if it was changed since"`
	RawBody []byte
}

type putNumberInbound struct {
	Number  string `path:"number" maxLength:"32" doc:"The number; its + is written as %2B or left off" example:"12025550143"`
	IfMatch string `header:"If-Match" maxLength:"64" doc:"The ETag of what you have read: the change is refused with 412 if it was changed since"`
	RawBody []byte
}

func (s *Server) putNumberInbound(ctx context.Context, in *putNumberInbound) (*entity[InboundResource], error) {
	ctx, cancel, x, err := s.beginInbound(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	n, err := s.owned(x, in.Number)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.writeInbound(ctx, x, n.Number, in.IfMatch, in.RawBody)
}

func (s *Server) putInboundSettings(ctx context.Context, in *putInbound) (*entity[InboundResource], error) {
	ctx, cancel, x, err := s.beginInbound(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	return s.writeInbound(ctx, x, "", in.IfMatch, in.RawBody)
}

func (s *Server) writeInbound(ctx context.Context, x *exchange, number message.Address, ifMatch string, body []byte) (*entity[InboundResource], error) {
	set, status, refusal := s.decodeInbound(x.caller.account.ID, number, body)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	stamp := ""
	if ifMatch != "" && ifMatch != "*" {
		stamp = unquoted(ifMatch)
	}
	made, err := s.Inbound.SetInboundRoutes(ctx, customerActor(x), set, stamp, newWebhookSecret)
	if err != nil {
		status := 0
		if stamp != "" && message.ReasonOf(err) == message.ReasonConflict {
			status = http.StatusPreconditionFailed
		}
		return nil, s.problem(x, err, status)
	}
	if len(made.List) == 0 {
		return s.readInbound(ctx, x, number)
	}
	return &entity[InboundResource]{ETag: stampTag(made.Stamp), Body: inboundOf(made, number, false)}, nil
}

// unquoted is the stamp of an ETag.
func unquoted(tag string) string {
	if s, err := strconv.Unquote(tag); err == nil && s != "" {
		return s
	}
	return "none" // it matches nothing
}

type testedOutput struct {
	Body struct {
		Data []testedResource `json:"data" nullable:"false"`
	}
}

type testedResource struct {
	_        struct{} `json:"-" additionalProperties:"true"`
	Position int      `json:"position"`
	Method   string   `json:"method" enum:"webhook,smpp,mm4,email,storage"`
	OK       bool     `json:"ok"`
	MS       int      `json:"ms" doc:"How long it took"`
	Detail   string   `json:"detail" example:"HTTP 200"`
}

// testInbound tries the destinations of a number with a message that nobody sent.
func (s *Server) testInbound(ctx context.Context, in *numberPath) (*testedOutput, error) {
	ctx, cancel, x, err := s.beginInbound(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if s.TestInbound == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "destinations are not tested here"), 0)
	}
	n, err := s.owned(x, in.Number)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if by := x.staffActor(); by != nil {
		if err := s.Admin.Audit.Audit(ctx, *by, "inbound.test", string(n.Number), map[string]any{"account_id": n.AccountID}); err != nil {
			return nil, s.problem(x, err, 0)
		}
	}
	out := &testedOutput{}
	out.Body.Data = []testedResource{}
	for _, r := range s.TestInbound(ctx, x.caller.account.ID, n.Number) {
		out.Body.Data = append(out.Body.Data, testedResource{Position: r.Position, Method: string(r.Method), OK: r.OK, MS: int(r.Took.Milliseconds()), Detail: r.Detail})
	}
	return out, nil
}

// receivedCursor is the first octet of a cursor of inbound messages.
const receivedCursor = 'i'

type receivedInput struct {
	Page
	ReceivedFilters
}

// ReceivedFilters narrow a list of inbound messages. The name is exported only because
// huma looks into embedded types no other way.
type ReceivedFilters struct {
	To    string    `query:"to" maxLength:"64" doc:"The number that was written to" example:"+12025550143"`
	From  string    `query:"from" maxLength:"64" doc:"Who wrote" example:"+13105550117"`
	After time.Time `query:"after" doc:"Taken into the record after; RFC 3339. That is when it was received, or later if its parts were waited for or its number was nobody's then."`
}

func (in *ReceivedFilters) filter() (message.ReceivedFilter, *message.Error) {
	var faults faults
	f := message.ReceivedFilter{To: queryAddress(&faults, "query.to", in.To), From: queryAddress(&faults, "query.from", in.From), After: in.After}
	return f, faults.refusal()
}

func (s *Server) listReceived(ctx context.Context, in *receivedInput) (*output[list[receivedResource]], error) {
	ctx, cancel, x, err := s.beginInbound(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	f, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	behind, err := decodeIDCursor(receivedCursor, in.Cursor)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	found, err := s.Inbound.ReceivedMessages(ctx, x.caller.account.ID, f, behind, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[list[receivedResource]]{Body: list[receivedResource]{Data: make([]receivedResource, 0, len(found))}}
	if len(found) > in.size() {
		found = found[:in.size()]
		out.Body.NextCursor = encodeIDCursor(receivedCursor, found[len(found)-1].ID)
	}
	for _, r := range found {
		out.Body.Data = append(out.Body.Data, s.receivedOf(r))
	}
	return out, nil
}

func (s *Server) getReceived(ctx context.Context, in *idInput) (*output[receivedResource], error) {
	ctx, cancel, x, err := s.beginInbound(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("message", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	r, err := s.Inbound.ReceivedMessage(ctx, x.caller.account.ID, id)
	if err == nil && r.AccountID != x.caller.account.ID {
		err = message.Refuse(message.ReasonNotFound, "no inbound message %s", id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[receivedResource]{Body: s.receivedOf(r)}, nil
}
