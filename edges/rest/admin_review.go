package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// ReviewTable keeps the messages that content rules hold, and what is said of them.
type ReviewTable interface {
	// HeldMessages lists them with their texts, oldest first, from behind one; of one
	// account, or all.
	HeldMessages(ctx context.Context, account, after message.ID, limit int) ([]*message.Message, error)
	// Review records a verdict, with a line in the audit log and in the timeline;
	// ReasonConflict when the message does not wait for one.
	Review(ctx context.Context, by message.Actor, id message.ID, verdict message.Verdict, reason string) error
}

type refusalBody struct {
	Reason string `json:"reason" minLength:"1" maxLength:"300" doc:"Why. The customer sees it" example:"The sweepstakes is not part of the campaign"`
}

// maxReviewReason is the longest reason of a review, in characters.
const maxReviewReason = 300

func (s *Server) registerReviews(api huma.API) {
	tags := []string{"Messages"}
	register(api, s.operation(huma.Operation{
		OperationID: "listHeldMessages", Method: http.MethodGet, Path: messagePath + "/held", Tags: tags, Summary: "List messages that wait for a review",
		Description: "Those that content rules hold, oldest first. Roles admin, support and compliance see the texts, and the audit log says which.",
	}, anyStaff()), s.listHeld, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "releaseMessage", Method: http.MethodPost, Path: messagePath + "/{id}/release", Tags: tags, Summary: "Let a held message go",
		Description: "It is admitted anew, and goes unless something else is against it. Repeated: 200. 409: it does not wait for a review, or was refused.",
	}, staff(snapshot.RoleCompliance).taking(), 400, 404, 409, 413, 415), s.releaseMessage, optionalReason(api))
	register(api, s.operation(huma.Operation{
		OperationID: "refuseMessage", Method: http.MethodPost, Path: messagePath + "/{id}/refuse", Tags: tags, Summary: "Refuse a held message",
		Description: "It ends as `rejected` with `prohibited_content`. Repeated: 200. 409: it does not wait for a review, or was released.",
	}, staff(snapshot.RoleCompliance).taking(), 400, 404, 409, 413, 415), s.refuseMessage, bodyOf[refusalBody](api.OpenAPI().Components.Schemas))
}

type heldInput struct {
	Page
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this account alone"`
}

func (s *Server) listHeld(ctx context.Context, in *heldInput) (*output[list[adminMessageResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	after, refusal := in.before()
	var account message.ID
	if refusal == nil && in.AccountID != "" {
		var faults faults
		faults.account("query.account_id", in.AccountID, &account)
		refusal = faults.refusal()
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	messages, err := s.Admin.Reviews.HeldMessages(ctx, account, after, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	messages, next := page(messages, in.Page, func(m *message.Message) string { return encodeRowCursor(m.ID) })
	texts, err := s.texts(ctx, x, messages)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return listed(messages, next, func(m *message.Message) adminMessageResource { return s.adminMessageOf(m, texts) }), nil
}

func (s *Server) releaseMessage(ctx context.Context, in *rowBody) (*output[adminMessageResource], error) {
	return s.review(ctx, in, message.VerdictRelease)
}

func (s *Server) refuseMessage(ctx context.Context, in *rowBody) (*output[adminMessageResource], error) {
	return s.review(ctx, in, message.VerdictRefuse)
}

func (s *Server) review(ctx context.Context, in *rowBody, verdict message.Verdict) (*output[adminMessageResource], error) {
	x := exchangeOf(ctx)
	// What is recorded is told to the workflow, whether or not the client still listens.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	id, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var why reasonBody
	if len(in.RawBody) > 0 || verdict == message.VerdictRefuse {
		status, refusal := readObject(in.RawBody, why.member, func(d *decoder) {
			if why.Reason == "" && verdict == message.VerdictRefuse && !d.faulty("body.reason") {
				d.invalid("body.reason", "is required: why")
			}
			d.most("body.reason", why.Reason, maxReviewReason)
		})
		if refusal != nil {
			return nil, s.problem(x, refusal, status)
		}
	}
	if err := s.Admin.Reviews.Review(ctx, x.actor(), id, verdict, why.Reason); err != nil {
		return nil, s.problem(x, err, 0)
	}
	// A hint: when Temporal is away, a sweep tells the workflow.
	_ = s.Admin.Reconsider(ctx, id)
	m, err := s.Admin.Messages.WholeMessage(ctx, id)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.showMessage(ctx, m)
}
