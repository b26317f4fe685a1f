package ingress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

const (
	// joinAge is how long a whole set may wait before a sweep makes its message:
	// younger ones are with the process that took the last part. joinTimeout is what
	// that process gives itself, for its ESME waits for the answer.
	joinAge     = 5 * time.Second
	joinTimeout = 4 * time.Second
	// forgetBatch is how many joined parts one sweep forgets: with a sweep every two
	// seconds it keeps up with more than can be joined.
	forgetBatch = 5000
)

// Part is one submit of a message that an ESME has cut itself.
type Part struct {
	// Request is what the submit asks for. Its Body is not looked at, its Encoding is
	// what the text will be sent in, and SMPP must be there.
	Request   Request
	Reference int  // concatenation reference, its kind above bit 15
	Total     int  // parts of the message, 2 to 255
	Number    int  // of this one, from 1
	Coding    byte // data_coding
	Alphabet  string
	Octets    []byte // of the text, without a user data header
}

// PartOutcome is what became of a Part.
type PartOutcome struct {
	AnswerID string               // the message_id that the part is known by from now on
	Replay   *message.Idempotency // the first answer when the key was seen before; AnswerID is empty then
}

// partRequest is what the journal keeps of a part's request: what the edge has
// read, as it was when the part came.
type partRequest struct {
	Edge        string           `json:"edge"`
	From        string           `json:"from,omitempty"`
	To          string           `json:"to"`
	Encoding    message.Encoding `json:"encoding,omitempty"`
	DataCoding  byte             `json:"data_coding,omitempty"`
	Header      []byte           `json:"header,omitempty"`
	TLVs        []message.TLV    `json:"tlvs,omitempty"`
	Class       message.Class    `json:"class,omitempty"`
	Validity    time.Duration    `json:"validity,omitempty"`
	SendAt      time.Time        `json:"send_at,omitzero"`
	Reference   string           `json:"client_reference,omitempty"`
	TraceParent string           `json:"trace_parent,omitempty"`
	Alphabet    string           `json:"alphabet,omitempty"`
}

// placeholder stands for a text that is not known yet.
const placeholder = "."

// Part commits one part of a message. An error is a *message.Error, and nothing
// was stored: the part alone breaks a rule, as one from an account that may not
// send. After a nil error the part is on disk; with those that belong to it it
// becomes one message, which reaches a final status. What the rules say of that one
// its receipts tell.
func (in *Ingress) Part(ctx context.Context, p Part) (PartOutcome, error) {
	in.ready()
	in.accepting.Add(1)
	defer in.accepting.Add(-1)
	s, r := in.Snapshot(), p.Request
	r.Body = placeholder
	m, err := in.read(s, r, in.Now())
	if err != nil {
		first, err := in.repeated(ctx, r, err)
		return PartOutcome{Replay: first}, err
	}
	if p.Number == 1 { // one place for the message; the others belong to what was let in
		if err := in.gate.admit(m, in.Now()); err != nil {
			return PartOutcome{}, err
		}
	}
	err = refusal(policy.Evaluate(s, in.question(m, r.Credential)))
	if err == nil {
		err = in.backlog.full(s.Accounts[r.AccountID], m)
	}
	if err != nil {
		first, err := in.repeated(ctx, r, err)
		return PartOutcome{Replay: first}, err
	}
	kept, err := json.Marshal(partRequest{Edge: r.Edge, From: r.From, To: r.To, Encoding: r.Encoding, DataCoding: r.DataCoding, Header: r.Header,
		TLVs: r.TLVs, Class: r.Class, Validity: r.Validity, SendAt: r.SendAt, Reference: r.ClientReference, TraceParent: r.TraceParent, Alphabet: p.Alphabet})
	if err != nil {
		return PartOutcome{}, message.Because(message.ReasonInternal, err, "")
	}
	part := message.SMPPPart{ID: message.NewID(), AccountID: r.AccountID, Origin: *r.SMPP, Reference: p.Reference, Total: p.Total, Number: p.Number,
		Coding: p.Coding, Octets: p.Octets, Request: kept}
	if part.Origin.AnswerID == "" {
		part.Origin.AnswerID = message.Hex32(part.ID)
	}
	var key *message.Idempotency
	if r.Key != nil {
		if key, err = in.answer(r, &message.Message{ID: part.ID}, nil); err != nil {
			return PartOutcome{}, err
		}
	}
	added, err := in.Journal.AddPart(ctx, part, key)
	switch {
	case err != nil:
		return PartOutcome{}, err
	case added.Replay != nil:
		return PartOutcome{Replay: added.Replay}, nil
	}
	if added.Set != nil {
		ctx, cancel := context.WithTimeout(ctx, joinTimeout)
		defer cancel()
		if err := in.join(ctx, *added.Set); err != nil {
			in.Log.Warn("parts not joined, the sweep will", "message_id", added.Set.MessageID, "error", err)
		}
	}
	return PartOutcome{AnswerID: part.Origin.AnswerID}, nil
}

// join makes one message of a set and then takes its parts away. It may be done
// twice, also at once and by two processes: the set is settled, its message has one
// id, and the first to store it wins and tells of it. Of a message that was stored
// before, the outbox knows whether it is to be started at all.
func (in *Ingress) join(ctx context.Context, set message.SMPPPartSet) error {
	switch {
	case len(set.Parts) == 0:
		return nil
	case set.Repeats != (message.ID{}):
		_, err := in.Journal.RepeatParts(ctx, set) // the sweep ends it
		return err
	}
	began := in.Now()
	s := in.Snapshot()
	m, d := in.joined(s, set)
	var err error
	a := message.Acceptance{Message: m, Trail: d.Trail, Origin: originOf(set, set.MessageID), Owed: true, Hold: holdOf(s.Accounts[m.AccountID], m),
		Metered: metered(s.Accounts[m.AccountID], m), Unfit: func(m *message.Message) (*message.Idempotency, []message.Notification, error) {
			notes, err := notification.Of(s, m, false)
			return nil, notes, err
		}}
	for _, p := range set.Parts {
		if p.ID != set.MessageID {
			a.More = append(a.More, p.Origin)
		}
	}
	if a.Notifications, err = notification.Of(s, m, false); err != nil { // of one that has failed the sweep tells
		return err
	}
	accepted, err := in.Journal.Accept(ctx, a)
	if err != nil {
		return err
	}
	if !accepted.Repeated {
		if !unfit(m, &d, accepted.Fit) && d.Error == nil {
			in.firsts.offer(m.AccountID, a.Notifications)
			in.backlog.joined(m)
		}
		in.tell(m, d, accepted.Waits, began)
	}
	return in.Journal.MarkJoined(ctx, set.MessageID)
}

func originOf(set message.SMPPPartSet, id message.ID) *message.SMPPOrigin {
	for i := range set.Parts {
		if set.Parts[i].ID == id {
			return &set.Parts[i].Origin
		}
	}
	return &set.Parts[0].Origin
}

// joined makes the message of a set: accepted, or ended with the reason. Its time
// is that of its newest part: then it was whole, and validity counts from then.
func (in *Ingress) joined(s *snapshot.Snapshot, set message.SMPPPartSet) (*message.Message, policy.Decision) {
	var at time.Time
	for _, p := range set.Parts {
		if p.CreatedAt.After(at) {
			at = p.CreatedAt
		}
	}
	body, kept, err := textOf(set)
	r := Request{ID: set.MessageID, AccountID: set.Parts[0].AccountID, Edge: kept.Edge, From: kept.From, To: kept.To, Body: body, Encoding: kept.Encoding,
		DataCoding: kept.DataCoding, Header: kept.Header, TLVs: kept.TLVs, Class: kept.Class, Validity: kept.Validity, SendAt: ahead(kept.SendAt, at), ClientReference: kept.Reference, TraceParent: kept.TraceParent}
	var m *message.Message
	if err == nil {
		m, err = in.read(s, r, at)
	}
	if err != nil {
		return ended(s, r, set, message.AsError(err), at), policy.Decision{Error: message.AsError(err)}
	}
	return m, in.decide(s, r, m)
}

// ahead is a send time that still lies ahead: zero when it has come while the
// message waited for its parts. It was judged when its part came.
func ahead(sendAt, now time.Time) time.Time {
	if !sendAt.After(now) {
		return time.Time{}
	}
	return sendAt
}

// textOf puts the text of a set together, or its octets. Characters may lie across
// two parts, so the octets are joined first. What there is comes back beside an
// error too.
func textOf(set message.SMPPPartSet) (body string, kept partRequest, err error) {
	parts, whole := set.Text()
	if e := json.Unmarshal(parts[0].Request, &kept); e != nil {
		return "", kept, message.Because(message.ReasonInternal, e, "the submit's request cannot be read")
	}
	var octets []byte
	same, sameHeader := true, true
	for _, p := range parts {
		octets = append(octets, p.Octets...)
		same = same && p.Coding == parts[0].Coding
		var other struct{ Header []byte }
		sameHeader = sameHeader && json.Unmarshal(p.Request, &other) == nil && bytes.Equal(other.Header, kept.Header)
	}
	body, readable := string(octets), true
	if kept.Encoding != message.EncodingBinary {
		body, readable = text.DecodeStrict(parts[0].Coding, kept.Alphabet, octets)
	}
	if !same { // octets of two alphabets are no text
		body = ""
	}
	switch {
	case !whole:
		err = message.Refuse(message.ReasonMissingPart, "%d of %d parts came", len(parts), parts[0].Total)
	case !same:
		err = message.Refuse(message.ReasonEncodingMismatch, "the parts differ in data_coding")
	case !sameHeader:
		err = message.Refuse(message.ReasonEncodingMismatch, "the parts differ in the ports of their user data headers")
	case !readable:
		err = message.Refuse(message.ReasonEncodingMismatch, "the joined text has octets that its data_coding lacks")
	}
	return body, kept, err
}

// ended is the message of parts that cannot be sent: its record, to which the
// answers that were given lead. What is missing makes it failed, what breaks a rule
// rejected.
func ended(s *snapshot.Snapshot, r Request, set message.SMPPPartSet, e *message.Error, at time.Time) *message.Message {
	m := &message.Message{ID: set.MessageID, AccountID: r.AccountID, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusRejected, Error: e, Edge: r.Edge,
		From: message.Address(r.From), To: message.Address(r.To), Body: r.Body, Encoding: r.Encoding, DataCoding: r.DataCoding, Header: r.Header, TLVs: r.TLVs, Segments: set.Parts[0].Total,
		Class: r.Class, Delivery: message.AtMostOnce, ClientReference: r.ClientReference, TraceParent: r.TraceParent,
		CreatedAt: at.UTC().Truncate(time.Millisecond)}
	if e.Reason == message.ReasonMissingPart {
		m.Status = message.StatusFailed
	}
	if m.Class == "" {
		m.Class = message.ClassBulk
	}
	if m.Encoding != message.EncodingUCS2 && m.Encoding != message.EncodingBinary {
		m.Encoding = message.EncodingGSM7
	}
	if account := s.Accounts[r.AccountID]; account != nil {
		_ = setSender(s, account, r, m) // else it stays as it was asked for
	}
	m.UpdatedAt, m.ExpiresAt = m.CreatedAt, m.CreatedAt.Add(m.Class.Validity())
	return m
}

// parts makes messages of the sets that are due: those whose process has died
// between the last part and the message, those that stayed incomplete, and those
// that came again.
func (s *sweeper) parts(ctx context.Context) error {
	due, err := s.in.Journal.PartsDue(ctx, joinAge, message.SMPPPartWait, startBatch)
	errs := []error{err, s.in.Journal.ForgetJoined(ctx, forgetBatch)}
	for _, set := range due {
		if err := s.in.join(ctx, set); err != nil {
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}
