package rest

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// numberCursor is of lists of numbers: the number itself.
const numberCursor = 'n'

// Longest words that customers put beside a number.
const maxTag = 64

type numberResource struct {
	_            struct{} `json:"-" additionalProperties:"true"`
	Number       string   `json:"number" example:"+12025550143"`
	Type         string   `json:"type" enum:"long_code,toll_free,short_code"`
	SMSEnabled   bool     `json:"sms_enabled"`
	MMSEnabled   bool     `json:"mms_enabled"`
	CampaignID   *string  `json:"campaign_id" doc:"The registry's id of its 10DLC campaign" example:"C8X2KQ1"`
	Verification string   `json:"verification" enum:"unverified,pending,approved,rejected" doc:"Of a toll-free number"`
	Tag          *string  `json:"tag" doc:"Yours; comes with messages that it receives" example:"support"`
	Group        *string  `json:"group" doc:"Yours; as tag" example:"east"`
	CreatedAt    string   `json:"created_at" format:"date-time"`
	UpdatedAt    string   `json:"updated_at" format:"date-time"`
}

func numberOf(n snapshot.NumberState) numberResource {
	return numberResource{Number: string(n.Number.Number), Type: string(n.Type), SMSEnabled: n.SMSEnabled, MMSEnabled: n.MMSEnabled, CampaignID: optional(n.CampaignID),
		Verification: n.Verification, Tag: optional(n.Tag), Group: optional(n.Group), CreatedAt: stamp(n.CreatedAt), UpdatedAt: stamp(n.UpdatedAt)}
}

func numberTag(n snapshot.NumberState) string {
	r := numberOf(n)
	r.UpdatedAt = ""
	return contentTag("number", r)
}

type numberBody struct {
	Tag   *string `json:"tag,omitempty" maxLength:"64" nullable:"true" doc:"null: none"`
	Group *string `json:"group,omitempty" maxLength:"64" nullable:"true" doc:"null: none"`
}

type numbersQuery struct {
	Page
	Type       string `query:"type" enum:"long_code,toll_free,short_code" doc:"Of this kind alone"`
	Tag        string `query:"tag" maxLength:"64" doc:"With this tag alone"`
	Group      string `query:"group" maxLength:"64" doc:"Of this group alone"`
	CampaignID string `query:"campaign_id" maxLength:"64" doc:"The registry's id"`
}

type numberChange struct {
	Number string `path:"number" maxLength:"32" doc:"The number; its + is written as %2B or left off" example:"12025550143"`
	IfMatch
	RawBody []byte
}

func (s *Server) registerOwnNumbers(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Account"}
	read := access{scope: scopeNumbersRead, rate: asRequest}
	register(api, s.operation(huma.Operation{
		OperationID: "listNumbers", Method: http.MethodGet, Path: "/v1/numbers", Tags: tags, Summary: "List the account's numbers", Description: "In their order.",
		Extensions: example(`curl -sS '` + exampleHost + `/v1/numbers?type=long_code' -u "$API_KEY:$API_SECRET"`),
	}, read), s.listNumbers, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getNumber", Method: http.MethodGet, Path: "/v1/numbers/{number}", Tags: tags, Summary: "Read a number",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/numbers/12025550143 -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.getNumber, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeNumber", Method: http.MethodPatch, Path: "/v1/numbers/{number}", Tags: tags, Summary: "Change a number's tag and group",
		Extensions: example(`curl -sS -X PATCH ` + exampleHost + `/v1/numbers/12025550143 -u "$API_KEY:$API_SECRET" -H 'Content-Type: application/json' -d '{"tag":"support"}'`),
	}, access{scope: scopeNumbersWrite, rate: asRequest, bodies: []string{jsonType, patchType}}, 400, 404, 412, 413, 415), s.changeNumber, bodyOf[numberBody](schemas))
}

func (s *Server) listNumbers(ctx context.Context, in *numbersQuery) (*output[list[numberResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Accounts == nil {
		return nil, s.problem(x, errNoOwn, 0)
	}
	after, err := decodeNumber(in.Cursor)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var f faults
	queryText(&f, "query.tag", in.Tag)
	queryText(&f, "query.group", in.Group)
	queryText(&f, "query.campaign_id", in.CampaignID)
	if refusal := f.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	filter := snapshot.NumberFilter{Type: snapshot.NumberType(in.Type), Tag: in.Tag, Group: in.Group, CampaignID: in.CampaignID}
	rows, err := s.Accounts.OwnNumbers(ctx, x.caller.account.ID, filter, after, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, encodeNumber)
	return listed(rows, next, numberOf), nil
}

// encodeNumber makes the cursor behind a number.
func encodeNumber(n snapshot.NumberState) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{numberCursor}, n.Number.Number...))
}

// decodeNumber reads it; empty: from the first.
func decodeNumber(cursor string) (message.Address, error) {
	if cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 2 || b[0] != numberCursor {
		return "", badCursor()
	}
	number, err := message.ParseRecipient(string(b[1:]))
	if err != nil || string(number) != string(b[1:]) {
		return "", badCursor()
	}
	return number, nil
}

// errNoNumber is the same for what is nobody's and what is another's.
var errNoNumber = message.Refuse(message.ReasonNotFound, "the account has no such number")

func pathNumber(given string) (message.Address, error) {
	number, err := message.ParseWire(given)
	if err != nil {
		return "", errNoNumber
	}
	return number, nil
}

// unnumbered hides which number was asked for.
func unnumbered(err error) error {
	if message.ReasonOf(err) == message.ReasonNotFound {
		return errNoNumber
	}
	return err
}

func (s *Server) getNumber(ctx context.Context, in *numberPath) (*entity[numberResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Accounts == nil {
		return nil, s.problem(x, errNoOwn, 0)
	}
	number, err := pathNumber(in.Number)
	var n snapshot.NumberState
	if err == nil {
		n, err = s.Accounts.OwnNumber(ctx, x.caller.account.ID, number)
	}
	if err != nil {
		return nil, s.problem(x, unnumbered(err), 0)
	}
	return &entity[numberResource]{ETag: numberTag(n), Body: numberOf(n)}, nil
}

func (s *Server) changeNumber(ctx context.Context, in *numberChange) (*entity[numberResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Accounts == nil {
		return nil, s.problem(x, errNoOwn, 0)
	}
	status := 0
	number, err := pathNumber(in.Number)
	var n snapshot.NumberState
	if err == nil {
		n, err = s.Accounts.ChangeOwnNumber(ctx, x.changer(), x.caller.account.ID, number, func(n *snapshot.NumberState) error {
			if err := in.check(numberTag(*n)); err != nil {
				return err
			}
			var refusal *message.Error
			if status, refusal = readObject(in.RawBody, numberMember(n), func(d *decoder) {
				d.most("body.tag", n.Tag, maxTag)
				d.most("body.group", n.Group, maxTag)
			}); refusal != nil {
				return refusal
			}
			return nil
		})
	}
	if err != nil {
		return nil, s.problem(x, unnumbered(err), max(status, changeStatus(err)))
	}
	return &entity[numberResource]{ETag: numberTag(n), Body: numberOf(n)}, nil
}

func numberMember(n *snapshot.NumberState) func(d *decoder, name, location string) (bool, error) {
	word := func(d *decoder, location string, into *string) error {
		var given *string
		err := d.merged(location, &given, oneLine)
		if given != nil {
			*into = *given
		}
		return err
	}
	return func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "tag":
			return true, word(d, location, &n.Tag)
		case "group":
			return true, word(d, location, &n.Group)
		case "number", "type", "sms_enabled", "mms_enabled", "campaign_id", "verification", "created_at", "updated_at":
			d.invalid(location, "is shown, and not changed here; a campaign has its numbers at /v1/campaigns/{id}/numbers, the rest the operator sets")
			return true, d.skip()
		}
		return false, nil
	}
}
