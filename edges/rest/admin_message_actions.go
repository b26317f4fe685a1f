package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// resolveBody is what staff say of a message in doubt.
type resolveBody struct {
	As     string `json:"as" enum:"sent,not_sent,send_again" doc:"sent: the vendor has it, and its receipt is waited for. not_sent: the vendor does not have it, and it has failed. send_again: it is offered again, and may come twice."`
	Reason string `json:"reason" minLength:"1" maxLength:"300" doc:"How that is known, for the timeline and the audit log"`
}

func readResolve(body []byte) (in resolveBody, status int, refusal *message.Error) {
	var words []string
	for _, r := range message.Resolutions() {
		words = append(words, string(r))
	}
	status, refusal = readObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "as":
			return true, d.choice(location, &in.As, words...)
		case "reason":
			return true, d.text(location, &in.Reason, lines)
		}
		return false, nil
	}, func(d *decoder) {
		if in.As == "" && !d.faulty("body.as") {
			d.invalid("body.as", "is required: %s", quoted(words))
		}
		if in.Reason == "" && !d.faulty("body.reason") {
			d.invalid("body.reason", "is required: how that is known")
		}
		d.most("body.reason", in.Reason, maxReviewReason)
	})
	return in, status, refusal
}

func (s *Server) resolveMessage(ctx context.Context, in *rowBody) (*output[adminMessageResource], error) {
	x := exchangeOf(ctx)
	// What is in the audit log is done, whether or not the client still listens.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	given, status, refusal := readResolve(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	m, err := s.anyMessage(ctx, in.ID)
	switch {
	case err != nil:
	case s.Admin.Resolve == nil:
		err = message.Refuse(message.ReasonUnavailable, "this process cannot resolve messages in doubt")
	case m.Status != message.StatusInDoubt: // ingress says the same, of the moment in which it writes
		err = message.Refuse(message.ReasonConflict, "the message is %s, and not in doubt", m.Status)
	default:
		err = s.Admin.Audit.Audit(ctx, x.actor(), "message.resolve", m.ID.String(),
			map[string]any{"account_id": m.AccountID, "vendor": m.Vendor, "as": given.As, "reason": given.Reason})
	}
	if err == nil {
		err = s.Admin.Resolve(ctx, ingress.Resolution{MessageID: m.ID, As: message.Resolution(given.As), By: x.actor(), Note: given.Reason})
	}
	if err == nil {
		m, err = s.Admin.Messages.WholeMessage(ctx, m.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.showMessage(ctx, m)
}

// retryAnyMessage sends a customer's message again, at its account's cost and under its
// rules; its rates are not counted, for it is not the account that asks.
func (s *Server) retryAnyMessage(ctx context.Context, in *rowBody) (*rawOutput, error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	m, err := s.anyMessage(ctx, in.ID)
	if err == nil {
		err = s.Admin.Audit.Audit(ctx, x.actor(), "message.retry", m.ID.String(), map[string]any{"account_id": m.AccountID, "status": m.Status})
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	// What staff may see of the text depends on their role, and each look is audited: they
	// are told of the new message, and read it if they want to.
	a := &answer{server: s, exchange: x, show: func(m *message.Message) any { return s.adminMessageOf(m, false) }}
	out, err := s.sendAgain(ctx, x, m, in.RawBody, http.MethodPost+" "+messagePath+"/"+m.ID.String()+"/retry", a)
	if err == nil && out.Location != "" {
		out.Location = internalMessage(out.Location)
	}
	return out, err
}

// internalMessage is where staff find a message that stands at a path for customers.
func internalMessage(path string) string { return messagePath + path[len(messagesPath):] }

func (s *Server) registerMessageActions(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Messages"}
	register(api, s.operation(huma.Operation{
		OperationID: "resolveMessage", Method: http.MethodPost, Path: messagePath + "/{id}/resolve", Tags: tags, Summary: "Say what became of a message in doubt",
		Description: "Of a message that is `in_doubt`; else 409. What is asked is in the audit log before it is done. A message whose validity has ended is not sent again, nor one whose workflow has gone.",
	}, staff(snapshot.RoleSupport).taking(), 400, 404, 409, 413, 415), s.resolveMessage, bodyOf[resolveBody](schemas))
	body := bodyOf[retryBody](schemas)
	body.Required = false
	register(api, s.operation(huma.Operation{
		OperationID: "retryAnyMessage", Method: http.MethodPost, Path: messagePath + "/{id}/retry", Tags: tags, Summary: "Send a message again as a new one",
		Description: "As `POST /v1/messages/{id}/retry` for its customer. What is asked is in the audit log before it is done. The answer shows no text.", DefaultStatus: http.StatusAccepted,
		Parameters: []*huma.Param{idempotencyKeyParam()},
		Responses:  map[string]*huma.Response{"202": {Description: "The new message: stored and under way", Content: contentOf[adminMessageResource](schemas)}},
	}, staff(snapshot.RoleSupport).taking(), 400, 402, 404, 409, 413, 415), s.retryAnyMessage, body)
}
