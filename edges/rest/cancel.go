package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/postrider/postrider/internal/message"
)

// cancelMessage answers DELETE /v1/messages/{id}, which is safe to repeat as it is.
func (s *Server) cancelMessage(ctx context.Context, in *messageInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	// What is withdrawn is withdrawn, whether or not the client still listens.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	m, err := s.ownMessage(ctx, in.ID)
	if err == nil {
		m, err = s.withdraw(ctx, m)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.shown(x, m)
}

// postCancel answers POST /v1/messages/{id}/cancel: the same, with an Idempotency-Key.
func (s *Server) postCancel(ctx context.Context, in *messageInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	m, err := s.ownMessage(ctx, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	key, err := s.operationKey(x, http.MethodPost+" /v1/messages/"+m.ID.String()+"/cancel", nil)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.onceKept(ctx, x, key, func() (*rawOutput, error) {
		m, err := s.withdraw(ctx, m)
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		return s.shown(x, m)
	})
}

// withdraw cancels a message of the caller's and gives it as it is then. One that has
// left is not asked about anywhere: it does not come back.
func (s *Server) withdraw(ctx context.Context, m *message.Message) (*message.Message, error) {
	switch {
	case m.Status == message.StatusCanceled:
		return m, nil
	case m.Direction != message.Outbound:
		return nil, message.Refuse(message.ReasonConflict, "what came from a handset cannot be withdrawn")
	case !m.Status.Cancelable():
		return nil, message.Refuse(message.ReasonConflict, "it is too late to withdraw the message: it is %s", m.Status)
	}
	if err := s.Ingress.Cancel(ctx, m.ID); err != nil {
		return nil, err
	}
	return s.Journal.AccountMessage(ctx, m.AccountID, m.ID)
}

// shown is the answer that shows a message.
func (s *Server) shown(x *exchange, m *message.Message) (*rawOutput, error) {
	body, err := encode(s.resourceOf(m))
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &rawOutput{Status: http.StatusOK, Body: body, ContentType: jsonType}, nil
}

// onceKept answers a request whose work may be done twice: it is done, and then its answer
// is kept under the key, if there is one. Refusals are kept as well, but those that may
// pass when the request comes again.
func (s *Server) onceKept(ctx context.Context, x *exchange, key *message.Idempotency, work func() (*rawOutput, error)) (*rawOutput, error) {
	if key == nil {
		return work()
	}
	first, err := s.Journal.FirstAnswer(ctx, *key)
	switch {
	case err != nil:
		return nil, s.problem(x, err, 0)
	case first != nil:
		return replay(first), nil
	}
	out, err := work()
	var refused *problem
	switch {
	case err == nil:
		key.Status, key.Response = out.Status, out.Body
	case errors.As(err, &refused) && refused.Status/100 == 4 && refused.Status != http.StatusTooManyRequests && refused.Status != http.StatusUnauthorized:
		key.Status = refused.Status
		if key.Response, err = encode(refused); err != nil {
			return nil, s.problem(x, err, 0)
		}
	default:
		return nil, err
	}
	first, kept := s.Journal.KeepAnswer(ctx, *key)
	switch {
	case kept != nil:
		return nil, s.problem(x, kept, 0)
	case first != nil:
		return replay(first), nil
	case refused != nil:
		return nil, refused
	}
	return out, nil
}
