package rest

import (
	"context"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// changeMessage is the body of PATCH /v1/messages/{id} as the document shows it.
type changeMessage struct {
	Body            *string    `json:"body,omitempty" minLength:"1" maxLength:"5000" doc:"The new text"`
	SendAt          *time.Time `json:"send_at,omitempty" nullable:"true" doc:"The new time to send, at most 35 days ahead. null: now"`
	ValiditySeconds *int64     `json:"validity_seconds,omitempty" nullable:"true" minimum:"60" maximum:"259200" doc:"Counted from send_at, or from acceptance if that is later. null: the class's. Left out: as long as it was"`
}

// changed is what a body asks for.
type changed struct {
	create   createMessage // body, send_at and validity_seconds, for the checks that a new message gets
	now      bool          // send_at is null
	standard bool          // validity_seconds is null
}

// decodeChange reads a merge patch (RFC 7396): what is left out stays.
func decodeChange(body []byte, now time.Time) (changed, int, *message.Error) {
	var in changed
	given := false
	status, refusal := readObject(body, func(d *decoder, name, location string) (bool, error) {
		null := d.peek() == 'n'
		switch name {
		case "body":
			given = true
			if null {
				d.invalid(location, "must not be null: a message has a text")
			}
		case "send_at":
			in.now = null
		case "validity_seconds":
			in.standard = null
		case "from", "to", "media_urls", "media_ids", "message_class", "client_reference", "metadata":
			d.invalid(location, "cannot be changed; cancel the message and send another one")
			return true, d.skip()
		default:
			return false, nil
		}
		return in.create.member(d, name, location)
	}, func(d *decoder) {
		if given && in.create.Body == "" && !d.faulty("body.body") {
			d.invalid("body.body", "must not be empty; leave it out to keep the text")
		}
		in.create.checkTimes(d, now)
	})
	return in, status, refusal
}

// empty reports whether nothing is asked for.
func (in *changed) empty() bool {
	return in.create.Body == "" && in.create.SendAt == nil && in.create.ValiditySeconds == nil && !in.now && !in.standard
}

// revision is what ingress is asked for.
func (in *changed) revision(m *message.Message, c *caller, now time.Time) ingress.Revision {
	r := ingress.Revision{MessageID: m.ID, AccountID: m.AccountID, Credential: c.credential, Edge: edgeName, Body: in.create.Body}
	if in.create.Body != "" {
		r.Encoding = message.EncodingAuto
	}
	switch {
	case in.create.SendAt != nil:
		r.SendAt = *in.create.SendAt
	case in.now && m.SendAt.After(now): // one that is on its way is sent now as it is
		r.SendAt = now
	}
	switch {
	case in.create.ValiditySeconds != nil:
		r.Validity = time.Duration(*in.create.ValiditySeconds) * time.Second
	case in.standard:
		r.Validity = m.Class.Validity()
	}
	return r
}

type changeInput struct {
	MessageInput
	RawBody []byte
}

// patchMessage answers PATCH /v1/messages/{id}.
func (s *Server) patchMessage(ctx context.Context, in *changeInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	// What is changed is changed, whether or not the client still listens.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	m, err := s.ownMessage(ctx, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	asked, status, refusal := decodeChange(in.RawBody, s.now())
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	if asked.empty() {
		return s.shown(x, m)
	}
	if asked.create.Body != "" && m.Encoding == message.EncodingBinary {
		return nil, s.problem(x, message.Refuse(message.ReasonConflict, "the message is of octets that came over SMPP, and has no text to be changed"), 0)
	}
	if !m.Status.Revisable() { // ingress says the same, of the moment in which it writes
		return nil, s.problem(x, message.Refuse(message.ReasonConflict, "it is too late to change the message: it is %s", m.Status), 0)
	}
	if _, err = s.Ingress.Revise(ctx, asked.revision(m, &x.caller, s.now())); err == nil {
		m, err = s.Journal.AccountMessage(ctx, m.AccountID, m.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.shown(x, m)
}
