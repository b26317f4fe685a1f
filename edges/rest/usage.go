package rest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

const scopeUsageRead = "usage:read"

// Usage is what this edge reads of limits and money.
type Usage interface {
	// Limits lists an account's limits with what is taken of them in the periods that
	// at lies in, always in the same order.
	Limits(ctx context.Context, account message.ID, at time.Time) ([]message.Usage, error)
	Balance(ctx context.Context, account message.ID) (message.Balance, error)
	// BalanceEntries lists an account's ledger, newest first, from before an entry's
	// sequence; 0: from the newest.
	BalanceEntries(ctx context.Context, account message.ID, before int64, limit int) ([]message.BalanceEntry, error)
	// UsageReport adds up what an account has sent and received, from midnight to midnight
	// in UTC: at most limit rows behind the first `skip`, always in the same order.
	UsageReport(ctx context.Context, account message.ID, from, to time.Time, by message.UsageBy, skip, limit int) ([]message.UsageRow, error)
}

type limitResource struct {
	_        struct{} `json:"-" additionalProperties:"true"`
	Number   *string  `json:"number" doc:"The limit is this number's; null: the account's" example:"+12025550143"`
	Type     string   `json:"type" enum:"sms,mms"`
	Period   string   `json:"period" enum:"minute,day,month" doc:"Days and months are those of the account's time zone"`
	Limit    int64    `json:"limit" doc:"Parts that may be sent in the period"`
	Used     int64    `json:"used" doc:"Parts that are taken: reserved at acceptance, given back when nothing left the gateway"`
	ResetsAt string   `json:"resets_at" format:"date-time" doc:"When the period ends"`
}

type balanceResource struct {
	_              struct{} `json:"-" additionalProperties:"true"`
	Prepaid        bool     `json:"prepaid" doc:"Messages are paid in advance, and refused when the balance does not cover them"`
	CurrentBalance string   `json:"current_balance" doc:"A decimal: the sum of the entries" example:"12.00"`
	Reserved       string   `json:"reserved" doc:"Of that, for messages on their way" example:"0.0045"`
	Available      string   `json:"available" doc:"What may be spent: current_balance without reserved" example:"11.9955"`
	Currency       *string  `json:"currency" doc:"ISO 4217; null while nothing was booked" example:"USD"`
}

type moneyResource struct {
	_        struct{} `json:"-" additionalProperties:"true"`
	Amount   string   `json:"amount" doc:"A decimal, negative for what was taken" example:"-0.0045"`
	Currency string   `json:"currency" example:"USD"`
}

type balanceEntryResource struct {
	_            struct{}      `json:"-" additionalProperties:"true"`
	ID           string        `json:"id" format:"uuid"`
	Kind         string        `json:"kind" enum:"credit,charge,refund,adjustment"`
	Amount       moneyResource `json:"amount"`
	BalanceAfter moneyResource `json:"balance_after"`
	MessageID    *string       `json:"message_id" doc:"The message that was charged or refunded"`
	Reason       *string       `json:"reason"`
	Reference    *string       `json:"reference" doc:"Of a payment"`
	CreatedAt    string        `json:"created_at" format:"date-time"`
}

type limitsInput struct {
	Page
	Number string `query:"number" maxLength:"64" doc:"Only the limits of this number" example:"+12025550143"`
	Type   string `query:"type" enum:"sms,mms" doc:"Limits on messages of this type alone"`
}

type entriesInput struct{ Page }

func (s *Server) registerUsage(api huma.API) {
	register(api, s.operation(huma.Operation{
		OperationID: "listLimits", Method: http.MethodGet, Path: "/v1/limits", Tags: []string{"Usage"},
		Summary: "List the usage limits", Description: "With what is taken of them now. The account's limits come first; of several that count a message the strictest holds.",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/limits -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeUsageRead, rate: asRequest}), s.listLimits, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getBalance", Method: http.MethodGet, Path: "/v1/balance", Tags: []string{"Usage"},
		Summary:    "Read the balance",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/balance -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeUsageRead, rate: asRequest}), s.getBalance, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "listBalanceEntries", Method: http.MethodGet, Path: "/v1/balance/entries", Tags: []string{"Usage"},
		Summary: "List the entries of the balance", Description: "Newest first. A message is charged once, when it has ended and left the gateway.",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/balance/entries -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeUsageRead, rate: asRequest}), s.listBalanceEntries, nil)
	s.registerUsageReport(api)
}

func (s *Server) listLimits(ctx context.Context, in *limitsInput) (*output[list[limitResource]], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	from, ok := int64(0), true
	if in.Cursor != "" {
		from, ok = decodeNumberCursor(limitCursor, in.Cursor)
	}
	if !ok {
		return nil, s.problem(x, badCursor(), 0)
	}
	var faults faults
	number := queryAddress(&faults, "query.number", in.Number)
	if refusal := faults.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	limits, err := s.Journal.Limits(ctx, x.caller.account.ID, s.now())
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[list[limitResource]]{Body: list[limitResource]{Data: []limitResource{}}}
	n := int64(0) // of those that are asked for
	for _, u := range limits {
		if number != "" && u.Number != number || in.Type != "" && string(u.Kind) != in.Type {
			continue
		}
		if n++; n <= from {
			continue
		}
		if len(out.Body.Data) == in.size() {
			out.Body.NextCursor = optional(encodeNumberCursor(limitCursor, n-1))
			break
		}
		out.Body.Data = append(out.Body.Data, limitOf(u))
	}
	return out, nil
}

func (s *Server) getBalance(ctx context.Context, _ *struct{}) (*output[balanceResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	b, err := s.Journal.Balance(ctx, x.caller.account.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[balanceResource]{Body: balanceResource{Prepaid: b.Prepaid, CurrentBalance: b.Amount.String(), Reserved: b.Reserved.String(),
		Available: (b.Amount - b.Reserved).String(), Currency: optional(b.Currency)}}, nil
}

func (s *Server) listBalanceEntries(ctx context.Context, in *entriesInput) (*output[list[balanceEntryResource]], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	before, ok := int64(0), true
	if in.Cursor != "" {
		before, ok = decodeNumberCursor(entryCursor, in.Cursor)
	}
	if !ok || in.Cursor != "" && before == 0 {
		return nil, s.problem(x, badCursor(), 0)
	}
	entries, err := s.Journal.BalanceEntries(ctx, x.caller.account.ID, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var next *string
	if len(entries) > in.size() {
		entries = entries[:in.size()]
		next = optional(encodeNumberCursor(entryCursor, entries[len(entries)-1].Sequence))
	}
	out := &output[list[balanceEntryResource]]{Body: list[balanceEntryResource]{Data: make([]balanceEntryResource, 0, len(entries)), NextCursor: next}}
	for _, e := range entries {
		out.Body.Data = append(out.Body.Data, entryOf(e))
	}
	return out, nil
}

func limitOf(u message.Usage) limitResource {
	return limitResource{Number: optional(string(u.Number)), Type: string(u.Kind), Period: string(u.Period), Limit: u.Parts, Used: u.Used, ResetsAt: stamp(u.ResetsAt)}
}

func entryOf(e message.BalanceEntry) balanceEntryResource {
	return balanceEntryResource{ID: e.ID.String(), Kind: string(e.Kind),
		Amount: moneyResource{Amount: e.Amount.String(), Currency: e.Currency}, BalanceAfter: moneyResource{Amount: e.After.String(), Currency: e.Currency},
		MessageID: optionalID(e.MessageID), Reason: optional(e.Reason), Reference: optional(e.Reference), CreatedAt: stamp(e.At)}
}

// The cursors of these lists: 8 octets of a number.
const (
	limitCursor = 'l' // how many limits came before
	entryCursor = 'b' // an entry's sequence
)

func encodeNumberCursor(of byte, n int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{of}, uint64(n)))
}

func decodeNumberCursor(of byte, s string) (int64, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 9 || b[0] != of || b[1] > 0x7f {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[1:])), true
}
