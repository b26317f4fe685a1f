package rest

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

const (
	// maxLimits bounds the limits of one customer, and maxLimitParts what one may be: a
	// slip of the keyboard, not a plan.
	maxLimits     = 1000
	maxLimitParts = 1_000_000_000_000
)

type limitBody struct {
	Number string `json:"number,omitempty" maxLength:"64" doc:"The limit is this sender's; left out: the account's" example:"+12025550143"`
	Type   string `json:"type" enum:"sms,mms"`
	Period string `json:"period" enum:"minute,day,month" doc:"Days and months are those of the account's time zone"`
	Limit  int64  `json:"limit" minimum:"0" maximum:"1000000000000" doc:"Parts that may be sent in the period"`
}

type limitsBody struct {
	Limits []limitBody `json:"limits" nullable:"false" maxItems:"1000" doc:"All of them: those that are missing are taken away"`
}

type entryBody struct {
	Kind      string `json:"kind,omitempty" enum:"credit,refund,adjustment" default:"credit" doc:"A payment, money given back, or a correction, which alone may be negative"`
	Amount    string `json:"amount" maxLength:"20" doc:"A decimal of at most six places" example:"250.00"`
	Currency  string `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217; all entries of a customer have the same" example:"USD"`
	Reason    string `json:"reason" minLength:"1" maxLength:"500" doc:"What the customer reads beside it" example:"Invoice 2026-104"`
	Reference string `json:"reference,omitempty" maxLength:"200" doc:"Of the payment: the same one is not booked twice" example:"wire-88120"`
	MessageID string `json:"message_id,omitempty" format:"uuid" doc:"The message it is about"`
}

// registerCustomerMoney adds limits and ledger of a customer. Reading them is an operation
// of the customers, which staff have as well.
func (s *Server) registerCustomerMoney(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Customers"}
	account := &huma.Param{Name: "account", In: "path", Required: true, Description: "The customer's id, with or without hyphens", Schema: &huma.Schema{Type: "string"}}
	write, read := staff(snapshot.RoleOperator).taking(), anyStaff()
	write.behalf, read.behalf = true, true
	register(api, s.operation(huma.Operation{
		OperationID: "setCustomerLimits", Method: http.MethodPut, Path: behalfPath + "/limits", Tags: tags, Summary: "Set a customer's usage limits",
		Description: "They replace those there are. A limit that stays keeps what is taken of it; of a new one what was sent in the running period counts.", Parameters: []*huma.Param{account},
	}, write, 400, 404, 409, 413, 415), s.setLimits, bodyOf[limitsBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listCustomerBalanceEntries", Method: http.MethodGet, Path: behalfPath + "/balance-entries", Tags: tags, Summary: "List the entries of a customer's balance",
		Description: "Newest first.", Parameters: []*huma.Param{account},
	}, read, 404), s.listBalanceEntries, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createCustomerBalanceEntry", Method: http.MethodPost, Path: behalfPath + "/balance-entries", Tags: tags, Summary: "Book a payment, a refund or a correction",
		Description: "Charges are the gateway's own. A `reference` that was booked before answers with that entry, or with 409 if it says something else.", DefaultStatus: http.StatusCreated,
		Parameters: []*huma.Param{account, idempotencyKeyParam()},
		Responses:  map[string]*huma.Response{"201": {Description: "Booked", Content: contentOf[balanceEntryResource](schemas)}},
	}, write, 400, 404, 409, 413, 415), s.bookEntry, bodyOf[entryBody](schemas))
}

// decodeLimits reads the body of PUT …/limits.
func decodeLimits(body []byte) ([]message.UsageLimit, int, *message.Error) {
	list := []message.UsageLimit{}
	given := false
	status, refusal := readObject(body, func(d *decoder, name, location string) (bool, error) {
		if name != "limits" {
			return false, nil
		}
		if d.peek() != '[' {
			d.invalid(location, `must be an array such as [{"type":"sms","period":"day","limit":1000}]`)
			return true, d.skip()
		}
		given = true
		return true, d.array(func() error {
			place := fmt.Sprintf("%s[%d]", location, len(list))
			if len(list) == maxLimits {
				d.invalid(location, "has more than %d elements", maxLimits)
				return d.skip()
			}
			l, err := d.limit(place)
			for _, other := range list {
				if other.Number == l.Number && other.Kind == l.Kind && other.Period == l.Period {
					d.invalid(place, "is there twice")
				}
			}
			list = append(list, l)
			return err
		})
	}, func(d *decoder) {
		if !given && !d.faulty("body.limits") {
			d.invalid("body.limits", "is required; [] takes all limits away")
		}
	})
	return list, status, refusal
}

// limit reads one limit.
func (d *decoder) limit(place string) (message.UsageLimit, error) {
	var l message.UsageLimit
	var kind, period string
	var parts *int64
	if d.peek() != '{' {
		d.invalid(place, `must be an object such as {"type":"sms","period":"day","limit":1000}`)
		return l, d.skip()
	}
	before := len(d.list)
	err := d.object(func(name string) error {
		at := place + "." + clip(name)
		switch name {
		case "number":
			return d.parsed(at, func(s string) {
				a, err := message.ParseSender(s)
				if err != nil {
					d.invalid(at, "is no sender, such as +12025550143")
				}
				l.Number = a
			})
		case "type":
			return d.choice(at, &kind, string(message.SMS), string(message.MMS))
		case "period":
			return d.choice(at, &period, "minute", "day", "month")
		case "limit":
			return d.whole(at, &parts)
		}
		d.invalid(at, "there is no such field; see /docs for those there are")
		return d.skip()
	})
	l.Kind, l.Period = message.Kind(kind), message.Period(period)
	if len(d.list) > before || err != nil {
		return l, err
	}
	switch {
	case kind == "":
		d.invalid(place+".type", "is required: sms or mms")
	case period == "":
		d.invalid(place+".period", "is required: minute, day or month")
	case parts == nil || *parts < 0 || *parts > maxLimitParts:
		d.invalid(place+".limit", "is required: 0 to %d parts", int64(maxLimitParts))
	default:
		l.Parts = *parts
	}
	return l, nil
}

func (s *Server) setLimits(ctx context.Context, in *rawInput) (*output[list[limitResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	limits, status, refusal := decodeLimits(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	err := s.Admin.Customers.SetUsageLimits(ctx, x.actor(), x.caller.account.ID, limits)
	var set []message.Usage
	if err == nil {
		set, err = s.Journal.Limits(ctx, x.caller.account.ID, s.now())
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return listed(set, nil, limitOf), nil
}

// decodeEntry reads the body of a new entry.
func decodeEntry(body []byte) (message.BalanceEntry, int, *message.Error) {
	e := message.BalanceEntry{Kind: message.EntryCredit}
	var amount string
	status, refusal := readObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "kind":
			kind := string(e.Kind)
			err := d.choice(location, &kind, string(message.EntryCredit), string(message.EntryRefund), string(message.EntryAdjustment))
			e.Kind = message.EntryKind(kind)
			return true, err
		case "amount":
			return true, d.text(location, &amount, oneLine)
		case "currency":
			return true, d.text(location, &e.Currency, oneLine)
		case "reason":
			return true, d.text(location, &e.Reason, oneLine)
		case "reference":
			return true, d.text(location, &e.Reference, oneLine)
		case "message_id":
			return true, d.parsed(location, func(s string) {
				id, err := message.ParseID(s)
				if err != nil {
					d.invalid(location, "must be a UUID of 32 hex digits, hyphens optional")
				}
				e.MessageID = id
			})
		}
		return false, nil
	}, func(d *decoder) { d.checkEntry(&e, amount) })
	return e, status, refusal
}

func (d *decoder) checkEntry(e *message.BalanceEntry, amount string) {
	word, negative := strings.CutPrefix(amount, "-")
	n, ok := vendorconf.Money(word)
	if e.Amount = n; negative {
		e.Amount = -n
	}
	switch {
	case d.faulty("body.amount"):
	case !ok || n == 0:
		d.invalid("body.amount", `must be a decimal in quotes of at most six places, such as "250.00", and not 0`)
	case negative && e.Kind != message.EntryAdjustment:
		d.invalid("body.amount", "must be above 0: only an adjustment takes money")
	}
	if !currencyRule.MatchString(e.Currency) && !d.faulty("body.currency") {
		d.invalid("body.currency", "must be the three capital letters of ISO 4217, such as USD")
	}
	if strings.TrimSpace(e.Reason) == "" && !d.faulty("body.reason") {
		d.invalid("body.reason", "is required: what the customer reads beside it")
	}
	d.most("body.reason", e.Reason, maxReason)
	d.most("body.reference", e.Reference, 200)
}

var currencyRule = regexp.MustCompile(`^[A-Z]{3}$`)

// entryOperation is what the Idempotency-Key of a booking belongs to.
const entryOperation = http.MethodPost + " " + adminPrefix + "/customers/balance-entries"

func (s *Server) bookEntry(ctx context.Context, in *rawInput) (*rawOutput, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	key, err := s.operationKey(x, entryOperation, in.RawBody)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	answered := func(first *message.Idempotency) *rawOutput {
		return &rawOutput{Status: first.Status, Body: first.Response, ContentType: jsonType, Location: x.base + "/balance-entries", Replayed: "true"}
	}
	if key != nil {
		first, err := s.Journal.FirstAnswer(ctx, *key)
		switch {
		case err != nil:
			return nil, s.problem(x, err, 0)
		case first != nil:
			return answered(first), nil
		}
	}
	e, status, refusal := decodeEntry(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	e.AccountID = x.caller.account.ID
	var keep func(message.BalanceEntry) (message.Idempotency, error)
	if key != nil {
		keep = func(e message.BalanceEntry) (message.Idempotency, error) {
			body, err := encode(entryOf(e))
			key.Status, key.Response = http.StatusCreated, body
			return *key, err
		}
	}
	made, first, err := s.Admin.Customers.BookOnce(ctx, x.actor(), e, keep)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if first != nil {
		return answered(first), nil
	}
	body, err := encode(entryOf(made))
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &rawOutput{Status: http.StatusCreated, Body: body, ContentType: jsonType, Location: x.base + "/balance-entries"}, nil
}
