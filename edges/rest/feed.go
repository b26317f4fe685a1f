package rest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
)

// Feed is the events of an account.
type Feed interface {
	// Feed reads an account's events from behind a position, oldest first.
	Feed(ctx context.Context, q message.FeedQuery) (message.FeedPage, error)
	// FeedGrows waits until there is something behind a position, or ctx ends.
	FeedGrows(ctx context.Context, account message.ID, behind message.FeedPosition) error
}

// Bounds of those who wait for events.
const (
	maxPollers        = 512 // of a process
	maxAccountPollers = 10
	longestPoll       = 30 * time.Second
)

// pollers counts those who wait, by account. The zero value has none. Safe for concurrent
// use.
type pollers struct {
	mu  sync.Mutex
	of  map[message.ID]int
	all int
}

// enter reports whether one more may wait, and who calls leave then.
func (p *pollers) enter(account message.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.of[account] >= maxAccountPollers:
		return message.Refuse(message.ReasonRateLimitExceeded, "more than %d requests of the account wait for events; one poller reads all of them", maxAccountPollers)
	case p.all >= maxPollers:
		return message.Refuse(message.ReasonRateLimitExceeded, "too many wait for events now; ask without wait_seconds, or come back")
	}
	if p.of == nil {
		p.of = map[message.ID]int{}
	}
	p.of[account]++
	p.all++
	return nil
}

func (p *pollers) leave(account message.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.of[account]--; p.of[account] == 0 {
		delete(p.of, account)
	}
}

type feedInput struct {
	Page
	Types []string `query:"types,explode" maxItems:"40" nullable:"false" doc:"Of the events that are wanted; may be repeated, or hold several with commas between. Without it: all." example:"message.delivered"`
	Wait  int      `query:"wait_seconds" minimum:"0" maximum:"30" default:"0" doc:"How long to wait for the first event if there is none"`
}

// feedResource is a page of the feed. It is no list: its cursor never ends.
type feedResource struct {
	_          struct{}        `json:"-" additionalProperties:"true"`
	Data       []feedEventBody `json:"data" nullable:"false"`
	NextCursor string          `json:"next_cursor" doc:"Where to go on from. It is always there, also when data is empty: keep the newest and give it as cursor."`
}

// feedEventBody is a webhook's id and body in one.
type feedEventBody struct {
	_         struct{}  `json:"-" additionalProperties:"true"`
	ID        string    `json:"id" format:"uuid" doc:"The webhook-id of the webhooks about it"`
	Type      string    `json:"type" example:"message.delivered"`
	Timestamp string    `json:"timestamp" format:"date-time"`
	Data      eventData `json:"data" doc:"As in the webhook's body in format event"`
}

// eventData is JSON that was made elsewhere.
type eventData json.RawMessage

// MarshalJSON gives it as it is.
func (d eventData) MarshalJSON() ([]byte, error) { return d, nil }

// Schema is any object.
func (eventData) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "As in the webhook's body in format event; its members depend on the type"}
}

func (s *Server) registerFeed(api huma.API) {
	register(api, s.operation(huma.Operation{
		OperationID: "listAccountEvents", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"Messages"},
		Summary: "Read the event feed", Description: "All that webhooks tell of, oldest first, whether there are webhooks or not: each entry is a webhook's `webhook-id` as `id` and its body beside it. " +
			"Begin without a cursor at the oldest event, and go on with `next_cursor`, which is always there: no event is skipped, and none comes twice. " +
			"An event shows when everything that was written before it is there, usually within milliseconds. Events are kept for 30 days; a cursor that is older is refused. " +
			"A page may be short, or empty, although there is more: only `next_cursor` says how far it went. " +
			"With `wait_seconds` an empty answer waits for the first event. At most 10 requests of an account wait at a time.",
		Extensions: example(`curl -sS '` + exampleHost + `/v1/events?wait_seconds=30&types=message.delivered,message.undelivered' -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeMessagesRead, rate: asRequest}), s.listFeed, nil)
}

func (s *Server) listFeed(ctx context.Context, in *feedInput) (*output[feedResource], error) {
	x := exchangeOf(ctx)
	if s.Feed == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "this process has no event feed"), 0)
	}
	q, refusal := in.query()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	q.AccountID = x.caller.account.ID
	page, err := s.poll(ctx, x, q, time.Duration(in.Wait)*time.Second)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[feedResource]{Body: feedResource{Data: make([]feedEventBody, 0, len(page.Events)), NextCursor: encodeFeedCursor(page.Next)}}
	for _, e := range page.Events {
		if e.Received != nil {
			e.Received.Linked(s.mediaURL, x.caller.account.ContentRetentionDays)
		}
		one, err := feedEventOf(e)
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		out.Body.Data = append(out.Body.Data, one)
	}
	return out, nil
}

// query checks what huma could not.
func (in *feedInput) query() (q message.FeedQuery, refusal *message.Error) {
	var faults faults
	known := notification.FeedTypes()
	for _, given := range in.Types {
		for t := range strings.SplitSeq(given, ",") {
			if t = strings.TrimSpace(t); !slices.Contains(known, t) {
				faults.invalid("query.types", "no event is of type %s; there are %s", shown(t), strings.Join(known, ", "))
				return q, faults.refusal()
			}
			q.Types = append(q.Types, t)
		}
	}
	q.Limit = in.size()
	if in.Cursor != "" {
		var ok bool
		if q.Behind, ok = decodeFeedCursor(in.Cursor); !ok {
			return q, badCursor()
		}
	}
	return q, nil
}

// shown is what a customer sent, cut to what can be repeated to him.
func shown(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return fmt.Sprintf("%q", strings.ToValidUTF8(s, "?"))
}

// poll reads the feed, and waits if there is nothing. It ends with what there is when the
// time is over or the process shuts down, and with an error when the client goes.
func (s *Server) poll(ctx context.Context, x *exchange, q message.FeedQuery, wait time.Duration) (page message.FeedPage, err error) {
	if wait > 0 {
		if err := s.pollers.enter(q.AccountID); err != nil {
			return page, &limited{message.AsError(err), time.Second}
		}
		defer s.pollers.leave(q.AccountID)
		// Both end the request otherwise, the first by taking the client for gone.
		control := http.NewResponseController(x)
		_ = control.SetReadDeadline(time.Now().Add(wait + s.answerTimeout() + DefaultRead)) // where it cannot be set there is none
		_ = control.SetWriteDeadline(time.Now().Add(wait + s.answerTimeout() + DefaultWrite))
	}
	waiting, cancel := context.WithTimeout(ctx, min(wait, longestPoll))
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	for {
		reading, done := context.WithTimeout(ctx, s.answerTimeout())
		page, err = s.Feed.Feed(reading, q)
		done()
		if err != nil || len(page.Events) > 0 || waiting.Err() != nil {
			return page, err
		}
		q.Behind = page.Next
		if page.More {
			continue
		}
		err := s.Feed.FeedGrows(waiting, q.AccountID, q.Behind)
		switch {
		case err == nil:
		case ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
			return page, nil
		default:
			return page, err
		}
	}
}

func feedEventOf(e message.FeedEvent) (out feedEventBody, err error) {
	body, err := notification.Body(e)
	if err != nil {
		return out, err
	}
	var parts struct {
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &parts); err != nil {
		return out, fmt.Errorf("body of event %s: %w", e.ID, err)
	}
	return feedEventBody{ID: e.ID.String(), Type: parts.Type, Timestamp: parts.Timestamp, Data: eventData(parts.Data)}, nil
}

func encodeFeedCursor(p message.FeedPosition) string {
	b := binary.BigEndian.AppendUint64([]byte{feedCursor}, p.Transaction)
	b = append(b, p.ID[:]...)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, uint32(p.Sequence)))
}

func decodeFeedCursor(s string) (p message.FeedPosition, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 29 || b[0] != feedCursor || b[1] > 0x7f || b[25] > 0x7f {
		return p, false
	}
	p.Transaction = binary.BigEndian.Uint64(b[1:])
	copy(p.ID[:], b[9:])
	p.Sequence = int(binary.BigEndian.Uint32(b[25:]))
	return p, true
}
