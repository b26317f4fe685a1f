package rest

import (
	"context"
	"net/http"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// retryBody is the body of POST /v1/messages/{id}/retry, which may be left out.
type retryBody struct {
	AcceptDuplicate *bool `json:"accept_duplicate,omitempty" doc:"Of an unconfirmed message: send it again although the recipient may have it. Left out: false."`
}

func readRetry(body []byte) (accept bool, status int, refusal *message.Error) {
	if len(body) == 0 {
		return false, 0, nil
	}
	var in retryBody
	status, refusal = readObject(body, func(d *decoder, name, location string) (bool, error) {
		if name != "accept_duplicate" {
			return false, nil
		}
		return true, d.flag(location, &in.AcceptDuplicate)
	}, nil)
	return in.AcceptDuplicate != nil && *in.AcceptDuplicate, status, refusal
}

// retryInput is a message and what is said of its retry.
type retryInput struct {
	MessageInput
	RawBody []byte
}

// retryMessage answers POST /v1/messages/{id}/retry.
func (s *Server) retryMessage(ctx context.Context, in *retryInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	m, err := s.ownMessage(ctx, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.sendAgain(ctx, x, m, in.RawBody, http.MethodPost+" "+messagesPath+"/"+m.ID.String()+"/retry", &answer{server: s, exchange: x})
}

// sendAgain makes a new message of one that has ended. The caller is its customer, or
// staff who have been noted in the audit log.
func (s *Server) sendAgain(ctx context.Context, x *exchange, m *message.Message, body []byte, operation string, a *answer) (*rawOutput, error) {
	key, err := s.idempotencyKey(x, body)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		key.Operation = operation
	}
	accept, status, refusal := readRetry(body)
	if refusal == nil {
		refusal = asRefusal(ingress.Retryable(m, accept))
	}
	if refusal != nil {
		// A late receipt may have changed what was possible when it came first.
		if first, err := s.firstAnswer(ctx, x, m.AccountID, key); err != nil || first != nil {
			return first, err
		}
		return nil, s.problem(x, refusal, status)
	}
	request := ingress.OnceMore(m, edgeName)
	request.Credential = x.caller.credential
	request.TraceParent = traceParent(x.request)
	if x.caller.account != nil {
		if err := s.takeMessage(x, &request); err != nil {
			return nil, s.problem(x, err, 0)
		}
	}
	return s.accept(ctx, a, request, key)
}

// asRefusal keeps a nil error from becoming one that is not nil.
func asRefusal(err error) *message.Error {
	if err == nil {
		return nil
	}
	return message.AsError(err)
}
