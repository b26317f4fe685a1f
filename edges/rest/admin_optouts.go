package rest

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
)

const staffOptOutPath = adminPrefix + "/opt-outs"

// OptOutResource is optOutResource: the name is exported only because huma looks into
// embedded types no other way.
type OptOutResource = optOutResource

type staffOptOutResource struct {
	AccountID string  `json:"account_id" format:"uuid"`
	Actor     *string `json:"actor" doc:"Who has recorded it, if it was nobody's message"`
	EndedBy   *string `json:"ended_by"`
	OptOutResource
}

// TransformSchema says what the customers' resource says of itself.
func (staffOptOutResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.AdditionalProperties = true
	return s
}

func staffOptOutOf(o message.OptOut) staffOptOutResource {
	return staffOptOutResource{AccountID: o.AccountID.String(), Actor: optional(o.Actor), EndedBy: optional(o.Ended.Actor), OptOutResource: optOutOf(o)}
}

func (s *Server) registerStaffOptOuts(api huma.API) {
	tags := []string{"Opt-outs"}
	end := staff(snapshot.RoleCompliance)
	register(api, s.operation(huma.Operation{
		OperationID: "listAllOptOuts", Method: http.MethodGet, Path: staffOptOutPath, Tags: tags, Summary: "List the opt-outs of all customers",
		Description: "Newest first, those that have ended among them: the history is kept for five years. To record one, or to import, use `" + behalfPath + "/opt-outs`.",
	}, anyStaff()), s.listAllOptOuts, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getAnyOptOut", Method: http.MethodGet, Path: staffOptOutPath + "/{id}", Tags: tags, Summary: "Read an opt-out",
	}, anyStaff(), 404), s.getAnyOptOut, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "endAnyOptOut", Method: http.MethodDelete, Path: staffOptOutPath + "/{id}", Tags: tags, Summary: "End an opt-out",
		Description: "Only with proof that the recipient wants messages again. `reason` is required, in the body (`{\"reason\": …}`) or the query. One that had ended before stays as it was.",
	}, end, 400, 404, 413), s.endAnyOptOut, nil)
}

type staffOptOutsInput struct {
	Page
	OptOutFilter
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this customer alone; without it sender, campaign_id and active need a recipient"`
}

func (s *Server) listAllOptOuts(ctx context.Context, in *staffOptOutsInput) (*output[list[staffOptOutResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	filter, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	var account message.ID
	var faults faults
	faults.owners(in.AccountID, "", &account, nil)
	for name, given := range map[string]bool{"sender": in.Sender != "", "campaign_id": in.CampaignID != "", "active": in.Active != ""} {
		if given && in.AccountID == "" && in.Recipient == "" { // there is no index to go by
			faults.invalid("query."+name, "needs account_id or recipient beside it")
		}
	}
	if refusal := faults.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.OptOuts.OptOuts(ctx, account, filter, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(o message.OptOut) string { return encodeRowCursor(o.ID) })
	return listed(rows, next, staffOptOutOf), nil
}

func (s *Server) getAnyOptOut(ctx context.Context, in *optOutInput) (*output[staffOptOutResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := optOutID(in.ID)
	var o message.OptOut
	if err == nil {
		o, err = s.Admin.OptOuts.AnyOptOut(ctx, id)
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[staffOptOutResource]{Body: staffOptOutOf(o)}, nil
}

func (s *Server) endAnyOptOut(ctx context.Context, in *endOptOutInput) (*output[staffOptOutResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	body, err := io.ReadAll(http.MaxBytesReader(x.ResponseWriter, x.request.Body, maxBody))
	if err != nil {
		return nil, s.problem(x, unread(err), 0)
	}
	reason, status, refusal := endReason(in.Reason, body)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	id, err := optOutID(in.ID)
	var o message.OptOut
	if err == nil {
		o, err = s.Admin.OptOuts.AnyOptOut(ctx, id)
	}
	if err == nil {
		o, err = s.Admin.OptOuts.RemoveOptOut(ctx, x.actor(), o.AccountID, id, message.OptOutEnd{Actor: x.caller.name(), Reason: reason}, notification.OptOutTell(s.Snapshot(), s.now()))
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[staffOptOutResource]{Body: staffOptOutOf(o)}, nil
}
