package ingress

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Revisions is what ingress needs of the record to change a message before it
// leaves.
type Revisions interface {
	Message(ctx context.Context, id message.ID) (*message.Message, error)
	// Revise writes a revision; false: the message has left, or was revised since it
	// was read.
	Revise(ctx context.Context, r message.Revision) (bool, error)
	// RevisionsDue lists messages whose workflows may wait for an old send time.
	RevisionsDue(ctx context.Context, age time.Duration, limit int) ([]message.RevisionDue, error)
	RevisionTold(ctx context.Context, told message.RevisionDue) error
}

const (
	// maxRevisions is how often a revision is tried while others change the same
	// message.
	maxRevisions = 8
	// reviseAge is how long a workflow may not know of a new send time before it is
	// told again, and reviseTimeout how long telling it may take.
	reviseAge     = 10 * time.Second
	reviseTimeout = 2 * time.Second
)

// Revision is what a customer wants changed of a message that has not left. The
// zero value of a field keeps what there is.
type Revision struct {
	MessageID  message.ID
	AccountID  message.ID           // whose message it must be
	Credential *snapshot.Credential // nil: not bound to one
	Edge       string               // that the change came through: rest, smpp

	Body string
	// Encoding is that of a new Body; empty: the message's. Auto chooses anew.
	Encoding message.Encoding
	SendAt   time.Time
	// Validity counts from the send time, or from acceptance when that is later;
	// ExpiresAt says the same as a moment. At most one of them is set. Without either
	// a message whose send time changes stays valid for as long as it was.
	Validity   time.Duration
	ExpiresAt  time.Time
	Registered *byte // registered_delivery of a message that came over SMPP
}

// Revise changes a message that is accepted or scheduled, and returns it as it is
// then. It is checked as a new one would be, and refused with the same errors;
// nothing is stored of a refusal. ReasonNotFound when the account has no such
// message, ReasonConflict when it has left or ended. After a nil error the change
// is on disk, and what leaves is the message as it is now, at the time it has now.
func (in *Ingress) Revise(ctx context.Context, r Revision) (*message.Message, error) {
	in.ready()
	for range maxRevisions {
		m, err := in.Journal.Message(ctx, r.MessageID)
		switch {
		case err != nil:
			return nil, err
		case m.AccountID != r.AccountID, m.Direction != message.Outbound:
			return nil, message.Refuse(message.ReasonNotFound, "no message %s", r.MessageID)
		case !m.Status.Revisable(), m.Redacted:
			return nil, message.Refuse(message.ReasonConflict, "it is too late to change the message: it is %s", m.Status)
		}
		was := *m
		d, err := in.revise(in.Snapshot(), r, m)
		if err != nil {
			return nil, err
		}
		change := message.Revision{Message: m, Registered: r.Registered, Tell: !m.SendAt.Equal(was.SendAt), Detail: revisedDetail(r, &was, m, d)}
		done, err := in.Journal.Revise(ctx, change)
		if err != nil {
			return nil, err
		}
		if done {
			m.Revision++
			if change.Tell {
				in.tellRevised(ctx, message.RevisionDue{MessageID: m.ID, Revision: m.Revision})
			}
			return m, nil
		}
	}
	return nil, message.Refuse(message.ReasonConflict, "the message is being changed by others")
}

// revise makes m what the revision asks for, or says what is wrong with that.
func (in *Ingress) revise(s *snapshot.Snapshot, r Revision, m *message.Message) (policy.Decision, error) {
	account := s.Accounts[m.AccountID]
	if account == nil {
		return policy.Decision{}, message.Refuse(message.ReasonAccountSuspended, "the account does not exist any more")
	}
	if r.Body != "" {
		wish := r.Encoding
		if wish == "" || m.Encoding == message.EncodingBinary { // octets stay octets
			wish = m.Encoding
		}
		if err := in.setText(account, Request{Body: r.Body, Encoding: wish, DataCoding: m.DataCoding, Header: m.Header, TLVs: m.TLVs}, m); err != nil {
			return policy.Decision{}, err
		}
	}
	if err := reviseTimes(r, m, in.Now()); err != nil {
		return policy.Decision{}, err
	}
	d := in.decide(s, Request{Credential: r.Credential}, m)
	return d, refusal(d)
}

// reviseTimes gives m its new times, under the rules of a new message. Those that
// the revision leaves alone are not looked at, but for a validity that has ended:
// such a message is not sent whatever it says.
func reviseTimes(r Revision, m *message.Message, now time.Time) error {
	if r.SendAt.IsZero() && r.Validity == 0 && r.ExpiresAt.IsZero() {
		if !m.ExpiresAt.After(now) {
			return message.Refuse(message.ReasonConflict, "the validity of the message has ended")
		}
		return nil
	}
	validity := min(m.ExpiresAt.Sub(validFrom(m)), message.MaxValidity)
	if !r.SendAt.IsZero() {
		if err := checkSendAt(r.SendAt, now); err != nil {
			return err
		}
		m.SendAt = r.SendAt.UTC().Truncate(time.Millisecond)
	}
	from := validFrom(m)
	switch {
	case !r.ExpiresAt.IsZero():
		m.ExpiresAt = r.ExpiresAt.UTC().Truncate(time.Millisecond)
		if from.Before(now) { // it could have been accepted only now
			from = now
		}
		validity = r.ExpiresAt.Sub(from)
	case r.Validity != 0:
		validity = r.Validity
		fallthrough
	default:
		m.ExpiresAt = from.Add(validity)
	}
	if err := checkValidity(validity); err != nil {
		return err
	}
	if !m.ExpiresAt.After(now) {
		return field(message.Refuse(message.ReasonInvalidSchedule, "the validity would have ended already"), "body.validity_seconds")
	}
	return nil
}

// validFrom is when the message's validity begins to count.
func validFrom(m *message.Message) time.Time {
	if m.SendAt.After(m.CreatedAt) {
		return m.SendAt
	}
	return m.CreatedAt
}

// revisedDetail is what the timeline says of a revision: what was changed, and what
// it is now unless that is the text.
func revisedDetail(r Revision, was, m *message.Message, d policy.Decision) map[string]any {
	detail := map[string]any{"edge": r.Edge, "trail": d.Trail}
	changed := []string{}
	if r.Body != "" {
		changed = append(changed, "body")
		detail["segments"], detail["encoding"] = m.Segments, m.Encoding
	}
	if !m.SendAt.Equal(was.SendAt) {
		changed = append(changed, "send_at")
		detail["send_at"] = m.SendAt
	}
	if !m.ExpiresAt.Equal(was.ExpiresAt) {
		changed = append(changed, "expires_at")
		detail["expires_at"] = m.ExpiresAt
	}
	if r.Registered != nil {
		changed = append(changed, "registered_delivery")
		detail["registered_delivery"] = int(*r.Registered)
	}
	detail["changed"] = changed
	return detail
}

// tellRevised wakes the workflow that may wait for the old send time. It is a
// hint: the row stays until it has come over. One that is not there needs none:
// its first step reads the record, or it has ended.
func (in *Ingress) tellRevised(ctx context.Context, due message.RevisionDue) {
	ctx, cancel := context.WithTimeout(ctx, reviseTimeout)
	defer cancel()
	err := in.Temporal.Revised(ctx, due.MessageID)
	if err == nil || message.ReasonOf(err) == message.ReasonNotFound {
		err = in.Journal.RevisionTold(ctx, due)
	}
	if err != nil {
		in.Log.Debug("workflow not told of a revision, the sweep will", "message_id", due.MessageID, "error", err)
	}
}

// revisions tells the workflows that were not told.
func (s *sweeper) revisions(ctx context.Context) error {
	due, err := s.in.Journal.RevisionsDue(ctx, reviseAge, startBatch)
	if err != nil {
		return err
	}
	for _, d := range due {
		err := s.in.Temporal.Revised(ctx, d.MessageID)
		if err != nil && message.ReasonOf(err) != message.ReasonNotFound {
			return err
		}
		if err := s.in.Journal.RevisionTold(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// repeated finds the first answer of a request that is refused now: what was true
// of its times when it came first may be true no more, and a repeat after a lost
// answer must get that answer. Without one, the refusal comes back.
func (in *Ingress) repeated(ctx context.Context, r Request, refused error) (*message.Idempotency, error) {
	if r.Key == nil || r.DryRun {
		return nil, refused
	}
	first, err := in.Journal.FirstAnswer(ctx, message.Idempotency{AccountID: r.AccountID, Operation: r.Key.Operation, Key: r.Key.Value, BodyHash: r.Key.BodyHash})
	if err == nil && first == nil {
		err = refused
	}
	return first, err
}
