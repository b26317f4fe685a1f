package rest

import (
	"context"
	"net/http"
	"time"

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

// retryable says why a message cannot be sent again as a new one, nil if it can.
func retryable(m *message.Message, acceptDuplicate bool) error {
	if m.Direction != message.Outbound {
		return message.Refuse(message.ReasonConflict, "what came from a handset cannot be sent")
	}
	switch m.Status {
	case message.StatusUndelivered, message.StatusFailed, message.StatusExpired, message.StatusRejected:
	case message.StatusUnconfirmed:
		if !acceptDuplicate {
			return message.Refuse(message.ReasonConflict, `the recipient may have the message: it is unconfirmed; send {"accept_duplicate":true} if that may be`)
		}
	case message.StatusCanceled:
		return message.Refuse(message.ReasonConflict, "the message was canceled; send a new one")
	default:
		return message.Refuse(message.ReasonConflict, "the message is %s: only what is undelivered, failed, expired, rejected or unconfirmed is sent again", m.Status)
	}
	switch {
	case m.Redacted:
		return message.Refuse(message.ReasonConflict, "the text of the message is not kept any more (content_retention_days); send a new message")
	case m.From == "" || m.To == "":
		return message.Refuse(message.ReasonConflict, "the message has no sender or recipient that could be read; send a new one")
	}
	return nil
}

// onceMore is the request for the same message once more. Its validity is as long as it
// was and begins anew, its files are shared, and what decides is what holds now.
func onceMore(m *message.Message) ingress.Request {
	from := m.From
	if m.RequestedFrom != "" {
		from = m.RequestedFrom
	}
	validFrom := m.CreatedAt
	if m.SendAt.After(validFrom) {
		validFrom = m.SendAt
	}
	smart := false // the text is what was sent
	r := ingress.Request{
		AccountID: m.AccountID, Edge: edgeName, RetryOf: m.ID, From: string(from), To: string(m.To), Body: m.Body, Subject: m.Subject,
		MMS: m.Kind == message.MMS, MediaAsIs: m.MediaAsIs, GroupID: m.GroupID, GroupRecipients: wordsOf(m.GroupRecipients),
		Encoding: m.Encoding, SmartEncoding: &smart, DataCoding: m.DataCoding, Header: m.Header, TLVs: m.TLVs, Class: m.Class, Delivery: m.Delivery,
		Validity:   min(max(m.ExpiresAt.Sub(validFrom).Truncate(time.Second), message.MinValidity), message.MaxValidity),
		WebhookURL: m.WebhookURL, WebhookFailover: m.WebhookFailover, FailuresOnly: m.FailuresOnly, Callback: m.Callback, ClientReference: m.ClientReference, Metadata: m.Metadata,
	}
	if m.Kind != message.MMS { // one that became a text has its files as links in it
		r.Subject = ""
		return r
	}
	for _, f := range m.Media {
		if f.Fetched() {
			f.Source = ""
		}
		r.Media = append(r.Media, f)
	}
	return r
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
		refusal = asRefusal(retryable(m, accept))
	}
	if refusal != nil {
		// A late receipt may have changed what was possible when it came first.
		if first, err := s.firstAnswer(ctx, x, m.AccountID, key); err != nil || first != nil {
			return first, err
		}
		return nil, s.problem(x, refusal, status)
	}
	request := onceMore(m)
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
