package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

// NumberTable keeps the numbers of all accounts. A method that changes something leaves a
// line in the audit log.
type NumberTable interface {
	// Numbers lists them in the order of their digits, behind the number after.
	Numbers(ctx context.Context, f snapshot.NumberFilter, after message.Address, limit int) ([]snapshot.NumberState, error)
	// Number reads one; ReasonNotFound when there is none.
	Number(ctx context.Context, number message.Address) (snapshot.NumberState, error)
	// AddNumbers adds all or none. The fields of its refusal begin with numbers[0]. for
	// the first; ReasonConflict: numbers are taken. A rehearsal writes nothing.
	AddNumbers(ctx context.Context, by message.Actor, list []snapshot.Number, rehearse bool) error
	// UpdateNumber has change make one into what it is to be; ReasonConflict when a
	// campaign holds it to its account.
	UpdateNumber(ctx context.Context, by message.Actor, number message.Address, change func(*snapshot.NumberState) error) (snapshot.NumberState, error)
	// DeleteNumber takes one away; ReasonConflict when it is in a campaign.
	DeleteNumber(ctx context.Context, by message.Actor, number message.Address) error
}

// NumberSettings is what staff set of a number. The name is exported only because huma
// looks into embedded types no other way.
type NumberSettings = vendorconf.Number

type staffNumberBody struct {
	Number string `json:"number" maxLength:"32" doc:"E.164 with a leading +, or a short code" example:"+12025550143"`
	NumberSettings
}

// TransformSchema leaves settings out that have a default.
func (staffNumberBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"number", "account_id"}
	return s
}

type staffNumberPatch struct {
	NumberSettings
}

// TransformSchema asks for nothing.
func (staffNumberPatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

type staffNumberResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	Number     string   `json:"number" example:"+12025550143"`
	Type       string   `json:"type" enum:"long_code,toll_free,short_code"`
	CampaignID *string  `json:"campaign_id" format:"uuid" doc:"Its 10DLC campaign here"`
	NumberSettings
	CreatedAt string `json:"created_at" format:"date-time"`
	UpdatedAt string `json:"updated_at" format:"date-time"`
}

func staffNumberOf(n snapshot.NumberState) staffNumberResource {
	return staffNumberResource{Number: string(n.Number.Number), Type: string(n.Type), CampaignID: optionalID(n.Campaign), NumberSettings: vendorconf.NumberOf(&n.Number),
		CreatedAt: stamp(n.CreatedAt), UpdatedAt: stamp(n.UpdatedAt)}
}

func staffNumberTag(n snapshot.NumberState) string {
	return contentTag(n.Number.Number, n.Campaign, vendorconf.NumberOf(&n.Number))
}

func showNumber(n snapshot.NumberState) *entity[staffNumberResource] {
	return &entity[staffNumberResource]{ETag: staffNumberTag(n), Body: staffNumberOf(n)}
}

const numbersPath = adminPrefix + "/numbers"

func (s *Server) registerAllNumbers(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Numbers"}
	register(api, s.operation(huma.Operation{
		OperationID: "listAllNumbers", Method: http.MethodGet, Path: numbersPath, Tags: tags, Summary: "List the numbers of all customers", Description: "In the order of their digits.",
	}, anyStaff()), s.listAllNumbers, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createNumber", Method: http.MethodPost, Path: numbersPath, Tags: tags, Summary: "Give a number to a customer",
		Description: "It holds on every process within 5 seconds.", DefaultStatus: http.StatusCreated,
	}, staff(snapshot.RoleOperator).taking(), 400, 409, 413, 415), s.createNumber, bodyOf[staffNumberBody](schemas))
	s.registerNumberImport(api, tags)
	register(api, s.operation(huma.Operation{
		OperationID: "getAnyNumber", Method: http.MethodGet, Path: numbersPath + "/{number}", Tags: tags, Summary: "Read a number",
	}, anyStaff(), 404), s.getAnyNumber, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeAnyNumber", Method: http.MethodPatch, Path: numbersPath + "/{number}", Tags: tags, Summary: "Change a number, or give it to another customer",
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 412, 413, 415), s.changeAnyNumber, bodyOf[staffNumberPatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeNumber", Method: http.MethodDelete, Path: numbersPath + "/{number}", Tags: tags, Summary: "Take a number away from its customer",
		Description: "What is on its way goes on. Refused with 409 while it is in a campaign.", DefaultStatus: http.StatusNoContent,
	}, staff(snapshot.RoleOperator), 404, 409), s.removeNumber, nil)
}

type allNumbersInput struct {
	Page
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this customer alone"`
	VendorID  string `query:"vendor_id" maxLength:"36" doc:"Of this vendor alone"`
	Type      string `query:"type" enum:"long_code,toll_free,short_code" doc:"Of this kind alone"`
}

func (s *Server) listAllNumbers(ctx context.Context, in *allNumbersInput) (*output[list[staffNumberResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	f := snapshot.NumberFilter{Type: snapshot.NumberType(in.Type)}
	var faults faults
	if in.AccountID != "" {
		faults.account("query.account_id", in.AccountID, &f.AccountID)
	}
	if in.VendorID != "" {
		faults.account("query.vendor_id", in.VendorID, &f.VendorID)
	}
	refusal := faults.refusal()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	behind, err := decodeNumber(in.Cursor)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, err := s.Admin.Numbers.Numbers(ctx, f, behind, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, encodeNumber)
	return listed(rows, next, staffNumberOf), nil
}

// number reads the number of a path. What is none is not there.
func (in numberPath) number() (message.Address, error) {
	n, err := message.ParseWire(in.Number)
	if err != nil {
		return n, message.Refuse(message.ReasonNotFound, "there is no such number")
	}
	return n, nil
}

func (s *Server) getAnyNumber(ctx context.Context, in *numberPath) (*entity[staffNumberResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	number, err := in.number()
	var n snapshot.NumberState
	if err == nil {
		n, err = s.Admin.Numbers.Number(ctx, number)
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return showNumber(n), nil
}

// newNumber makes a number of a document.
func newNumber(given string, doc vendorconf.Number, f *vendorconf.Faults) snapshot.Number {
	var n snapshot.Number
	var err error
	if n.Number, err = message.ParseRecipient(given); err != nil {
		f.Add("number", "must be E.164 with a leading +, such as +12025550143, or a short code of 3 to 8 digits")
	}
	n.Type = snapshot.NumberTypeOf(n.Number)
	*f = append(*f, doc.Into(&n)...)
	return n
}

func (s *Server) createNumber(ctx context.Context, in *rawInput) (*createdTagged[staffNumberResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	doc, given := vendorconf.NewNumber(), ""
	status, refusal := readObject(in.RawBody, settings(&doc, func(d *decoder, name, location string) (bool, error) {
		if name != "number" {
			return false, nil
		}
		return true, d.text(location, &given, oneLine)
	}), nil)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	var f vendorconf.Faults
	n := newNumber(given, doc, &f)
	err := inBody(f.Refusal())
	if err == nil {
		err = placedIn(s.Admin.Numbers.AddNumbers(ctx, x.actor(), []snapshot.Number{n}, false), func(int) string { return "body." })
	}
	var made snapshot.NumberState
	if err == nil {
		made, err = s.Admin.Numbers.Number(ctx, n.Number)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &createdTagged[staffNumberResource]{Location: numbersPath + "/" + strings.TrimPrefix(string(n.Number), "+"), ETag: staffNumberTag(made), Body: staffNumberOf(made)}, nil
}

type numberChangeInput struct {
	Number string `path:"number" maxLength:"32" doc:"The number; its + is written as %2B or left off" example:"12025550143"`
	IfMatch
	RawBody []byte
}

func (s *Server) changeAnyNumber(ctx context.Context, in *numberChangeInput) (*entity[staffNumberResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	read := func(doc *vendorconf.Number) (int, *message.Error) {
		return readObject(in.RawBody, settings(doc, unknown), nil)
	}
	if status, refusal := read(new(vendorconf.Number)); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	number, err := numberPath{Number: in.Number}.number()
	var n snapshot.NumberState
	if err == nil {
		n, err = s.Admin.Numbers.UpdateNumber(ctx, x.actor(), number, func(n *snapshot.NumberState) error {
			if err := in.check(staffNumberTag(*n)); err != nil {
				return err
			}
			doc := vendorconf.NumberOf(&n.Number)
			_, _ = read(&doc) // it was read before
			return inBody(doc.Into(&n.Number).Refusal())
		})
	}
	if err != nil {
		return nil, s.problem(x, placedIn(err, func(int) string { return "body." }), changeStatus(err))
	}
	return showNumber(n), nil
}

func (s *Server) removeNumber(ctx context.Context, in *numberPath) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	number, err := in.number()
	if err == nil {
		err = s.Admin.Numbers.DeleteNumber(ctx, x.actor(), number)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}
