package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// AllMessages reads the messages of all accounts.
type AllMessages interface {
	// SearchAllMessages looks for them, newest first, until the search is told to stop.
	SearchAllMessages(ctx context.Context, s message.Search) (message.Found, error)
	// WholeMessage reads one with its parts; ReasonNotFound when there is none.
	WholeMessage(ctx context.Context, id message.ID) (*message.Message, error)
	// Events reads a timeline, oldest first, from after a sequence number.
	Events(ctx context.Context, id message.ID, after, limit int) ([]message.Event, error)
}

// MessageShown is what customers see of a message. The name is exported only
// because huma looks into embedded types no other way.
type MessageShown = messageResource

// adminMessageResource adds the operator's side.
type adminMessageResource struct {
	_ struct{} `json:"-" additionalProperties:"true"`
	MessageShown
	AccountID   string              `json:"account_id" format:"uuid"`
	Vendor      *string             `json:"vendor" doc:"Name of the vendor that has it, or had it last"`
	WorkflowURL *string             `json:"workflow_url" format:"uri" doc:"Where its workflow can be looked at"`
	Error       *adminErrorResource `json:"error"`
	Parts       []adminPartResource `json:"parts" nullable:"false"`
}

type adminErrorResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	Code       string   `json:"code" doc:"A code of GET /v1/errors" example:"unreachable"`
	Class      string   `json:"class" enum:"permanent,retry,fix_registration"`
	Detail     string   `json:"detail"`
	VendorCode *string  `json:"vendor_code" doc:"The vendor's own code"`
}

type adminPartResource struct {
	_               struct{}            `json:"-" additionalProperties:"true"`
	Part            int                 `json:"part" doc:"From 1"`
	Status          string              `json:"status" doc:"In the words of the message's status"`
	Attempt         int                 `json:"attempt" doc:"From 1; 0: not yet tried"`
	Vendor          *string             `json:"vendor" doc:"Of the newest attempt"`
	VendorMessageID *string             `json:"vendor_message_id"`
	Receipt         *receiptResource    `json:"receipt"`
	Error           *adminErrorResource `json:"error"`
}

// TransformSchema is that of what customers see.
func (r adminMessageResource) TransformSchema(in huma.Registry, s *huma.Schema) *huma.Schema {
	return r.MessageShown.TransformSchema(in, s)
}

// TransformSchema is as for the message.
func (adminPartResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "error", "receipt")
}

// adminMessageOf makes a message into what staff see, without its text unless
// texts is true.
func (s *Server) adminMessageOf(m *message.Message, texts bool) adminMessageResource {
	r := adminMessageResource{MessageShown: s.resourceOf(m), AccountID: m.AccountID.String(), Vendor: optional(m.Vendor)}
	if !texts { // whoever has a file's URL reads it
		r.Body, r.Subject, r.Media = nil, nil, []mediaResource{}
	}
	if s.Admin.WorkflowURL != nil {
		r.WorkflowURL = optional(s.Admin.WorkflowURL(m))
	}
	r.Parts = make([]adminPartResource, len(r.MessageShown.Parts))
	r.Error = adminErrorOf(r.MessageShown.Error, "")
	for i, shown := range r.MessageShown.Parts {
		r.Parts[i] = adminPartResource{Part: shown.Part, Status: shown.Status, Receipt: shown.Receipt}
		if i >= len(m.Parts) {
			continue
		}
		p := m.Parts[i]
		r.Parts[i].Attempt, r.Parts[i].Vendor, r.Parts[i].VendorMessageID = p.Attempt, optional(p.Vendor), optional(p.VendorMessageID)
		r.Parts[i].Error = adminErrorOf(shown.Error, p.VendorCode)
		// The message's error is that of one of its parts, if a vendor is to blame.
		if r.Error != nil && r.Error.VendorCode == nil && m.Error.Reason == p.Reason {
			r.Error.VendorCode = optional(p.VendorCode)
		}
	}
	return r
}

func adminErrorOf(e *errorResource, vendorCode string) *adminErrorResource {
	if e == nil {
		return nil
	}
	return &adminErrorResource{Code: e.Code, Class: e.Class, Detail: e.Detail, VendorCode: optional(vendorCode)}
}

type adminListInput struct {
	AdminList
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this customer"`
	Vendor    string `query:"vendor" maxLength:"50" doc:"Name or id of the vendor that has it"`
	VendorID  string `query:"vendor_message_id" maxLength:"128" doc:"The id that a vendor gave one of its parts"`
}

// AdminList is the customers' filters. The name is exported only because huma looks
// into embedded types no other way.
type AdminList = listInput

// allMessageList has a name of its own in the document: AdminMessageList are lists that are
// always whole.
type allMessageList messageList[adminMessageResource]

const messagePath = adminPrefix + "/messages"

func (s *Server) registerAdminMessages(api huma.API) {
	tags := []string{"Messages"}
	register(api, s.operation(huma.Operation{
		OperationID: "listAllMessages", Method: http.MethodGet, Path: messagePath, Tags: tags, Summary: "List messages",
		Description: "Newest first, of all accounts. Filters narrow the list; all of them must hold." + saysSearched + " " +
			"Roles admin, support and compliance see the texts, and the audit log says which.",
	}, anyStaff()), s.listAllMessages, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getAnyMessage", Method: http.MethodGet, Path: messagePath + "/{id}", Tags: tags, Summary: "Read a message",
		Description: "Roles admin, support and compliance see the text, and the audit log says so.",
	}, anyStaff(), 404), s.getAnyMessage, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "listAnyMessageEvents", Method: http.MethodGet, Path: messagePath + "/{id}/events", Tags: tags, Summary: "Read a message's timeline",
		Description: "Oldest first, with everything that is known of each step.",
	}, anyStaff(), 404), s.listAnyEvents, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "cancelAnyMessage", Method: http.MethodPost, Path: messagePath + "/{id}/cancel", Tags: tags, Summary: "Withdraw a message",
		Description: "From `accepted`, `scheduled` and `queued`; later 409. Repeated: 200. What is asked is in the audit log before it is done.",
	}, staff(snapshot.RoleSupport).taking(), 400, 404, 409, 413, 415), s.cancelAnyMessage, optionalReason(api))
}

func optionalReason(api huma.API) *huma.RequestBody {
	body := bodyOf[reasonBody](api.OpenAPI().Components.Schemas)
	body.Required = false
	return body
}

func (s *Server) listAllMessages(ctx context.Context, in *adminListInput) (*output[allMessageList], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	filter, before, refusal := in.asked()
	if refusal == nil {
		refusal = in.widen(&filter)
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	found, err := s.Admin.Messages.SearchAllMessages(ctx, message.Search{Filter: filter, Before: before, Limit: in.size(), Left: s.within(searchTime)})
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	texts, err := s.texts(ctx, x, found.Messages)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[allMessageList]{Body: allMessageList(searched(found, func(m *message.Message) adminMessageResource { return s.adminMessageOf(m, texts) }))}, nil
}

// widen takes the filters that customers do not have.
func (in *adminListInput) widen(f *message.Filter) *message.Error {
	var faults faults
	if in.AccountID != "" {
		var err error
		if f.AccountID, err = message.ParseID(in.AccountID); err != nil {
			faults.invalid("query.account_id", "must be a UUID of 32 hex digits, hyphens optional")
		}
	}
	queryText(&faults, "query.vendor", in.Vendor)
	queryText(&faults, "query.vendor_message_id", in.VendorID)
	f.Vendor, f.VendorMessageID = in.Vendor, in.VendorID
	return faults.refusal()
}

// texts reports whether the caller may see the texts of messages. If there are any,
// it notes in the audit log that they were seen: without that they are not shown.
func (s *Server) texts(ctx context.Context, x *exchange, messages []*message.Message) (bool, error) {
	if !x.caller.staff.Role.ReadsTexts() {
		return false, nil
	}
	var read []string
	for _, m := range messages {
		if text, ok := m.Text(); ok && text != "" {
			read = append(read, m.ID.String())
		}
	}
	switch len(read) {
	case 0:
		return true, nil
	case 1:
		return true, s.Admin.Audit.Audit(ctx, x.actor(), "message.read", read[0], nil)
	}
	return true, s.Admin.Audit.Audit(ctx, x.actor(), "message.read", "", map[string]any{"messages": read})
}

// anyMessage reads a message by the id in a path.
func (s *Server) anyMessage(ctx context.Context, given string) (*message.Message, error) {
	id, err := RowInput{ID: given}.row()
	if err != nil {
		return nil, err
	}
	return s.Admin.Messages.WholeMessage(ctx, id)
}

func (s *Server) getAnyMessage(ctx context.Context, in *RowInput) (*output[adminMessageResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	m, err := s.anyMessage(ctx, in.ID)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return s.showMessage(ctx, m)
}

func (s *Server) showMessage(ctx context.Context, m *message.Message) (*output[adminMessageResource], error) {
	x := exchangeOf(ctx)
	texts, err := s.texts(ctx, x, []*message.Message{m})
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[adminMessageResource]{Body: s.adminMessageOf(m, texts)}, nil
}

func (s *Server) listAnyEvents(ctx context.Context, in *eventsInput) (*output[list[eventResource]], error) {
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
	m, err := s.anyMessage(ctx, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	events, err := s.Admin.Messages.Events(ctx, m.ID, after, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	events, next := page(events, in.Page, func(e message.Event) string { return encodeEventCursor(e.Sequence) })
	return listed(events, next, adminEventOf), nil
}

// adminEventOf keeps what customers do not see of a step.
func adminEventOf(e message.Event) eventResource {
	r := eventResource{Sequence: e.Sequence, At: stamp(e.At), Type: string(e.Type), Detail: e.Detail}
	if r.Detail == nil {
		r.Detail = map[string]any{}
	}
	return r
}

func (s *Server) cancelAnyMessage(ctx context.Context, in *rowBody) (*output[adminMessageResource], error) {
	x := exchangeOf(ctx)
	// What is in the audit log is done, whether or not the client still listens.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	var why reasonBody
	if status, refusal := why.read(in.RawBody); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	m, err := s.anyMessage(ctx, in.ID)
	if err == nil {
		err = s.Admin.Audit.Audit(ctx, x.actor(), "message.cancel", m.ID.String(), map[string]any{"account_id": m.AccountID, "status": m.Status, "reason": why.Reason})
	}
	if err == nil {
		err = s.Admin.Cancel(ctx, m.ID)
	}
	if err == nil {
		m, err = s.Admin.Messages.WholeMessage(ctx, m.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.showMessage(ctx, m)
}
