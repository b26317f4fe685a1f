package desk

import (
	"context"
	"log/slog"
	"strings"
	"time"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// report takes a report about a message, by the function for its kind, which gives the
// message.
func (d *Desk) report(ctx context.Context, m *server.Mail, take func(context.Context, *server.Mail) (message.ID, error)) (string, error) {
	id, err := take(ctx, m)
	v := verdict{status: mm4.StatusOK, id: id, err: err}
	if err != nil {
		v.status, v.text = statusOf(err)
	}
	return d.settle(ctx, m, id, []verdict{v})
}

// errUnknown says that a report names no message of the peer's.
func errUnknown() error {
	return message.Refuse(message.ReasonNotFound, "X-Mms-Message-ID names no message that you have had from us")
}

// attemptOf finds the try that a vendor's mail is about: our Message-ID is its reference
// at our domain, the Transaction-ID of our request the reference alone.
func attemptOf(id string) (message.AttemptRef, bool) {
	id, _, _ = strings.Cut(mm4.CleanID(id), "@")
	return message.ParseAttemptRef(strings.ToLower(id))
}

// delivery takes a delivery report. A vendor's is a receipt. A customer's tells of
// a message that it has taken already, which is delivered for us: its timeline shows it.
func (d *Desk) delivery(ctx context.Context, m *server.Mail) (message.ID, error) {
	h := &m.Header
	if m.Peer.VendorID == (message.ID{}) {
		about, err := d.about(ctx, m)
		if err != nil {
			return message.ID{}, err
		}
		return about.ID, d.Journal.Note(ctx, about.ID, message.Event{Type: message.EventMM4, Detail: map[string]any{"report": string(h.MMStatus)}})
	}
	ref, ok := attemptOf(h.MessageID)
	if !ok {
		return message.ID{}, errUnknown()
	}
	state, reason := h.MMStatus.Receipt(h.MMStatusExtension)
	now := d.Now()
	r := message.Receipt{ID: message.NewID(), VendorID: m.Peer.VendorID, VendorMessageID: message.NormalizeVendorID(mm4.CleanID(h.MessageID)), Attempt: ref,
		State: state, Reason: reason, Err: strings.TrimSpace(string(h.MMStatus) + " " + string(h.MMStatusExtension)), Source: h.From.Number(),
		DoneAt: h.Date, Raw: "status:" + string(h.MMStatus), ReceivedAt: now}
	if len(h.To) > 0 {
		r.Destination = h.To[0].Number()
	}
	if r.DoneAt.IsZero() {
		r.DoneAt = now
	}
	matched, err := d.Ingress.Match(ctx, r)
	if err == nil && !matched.Known {
		err = errUnknown()
	}
	return ref.MessageID, err
}

// read takes a report that a message was read, or deleted unread: a vendor's of one
// that it has had from us, or a customer's.
func (d *Desk) read(ctx context.Context, m *server.Mail) (message.ID, error) {
	about, err := d.about(ctx, m)
	if err != nil {
		return message.ID{}, err
	}
	at := m.Header.Date
	if now := d.Now(); at.IsZero() || at.After(now) {
		at = now
	}
	return about.ID, d.Journal.MM4Read(ctx, about.ID, at.UTC().Truncate(time.Millisecond), string(m.Header.ReadStatus))
}

// about finds the message that a mail is about, if the peer has had it from us: a vendor
// what it was given to carry on, a customer what came in for it.
func (d *Desk) about(ctx context.Context, m *server.Mail) (message.Message, error) {
	id, ok := mm4.MessageOf(strings.ToLower(mm4.CleanID(m.Header.MessageID)))
	if !ok {
		return message.Message{}, errUnknown()
	}
	found, err := d.Journal.Message(ctx, id)
	switch {
	case message.ReasonOf(err) == message.ReasonNotFound:
		return message.Message{}, errUnknown()
	case err != nil:
		return message.Message{}, err
	case m.Peer.VendorID != (message.ID{}) && (found.VendorID != m.Peer.VendorID || found.Direction != message.Outbound),
		m.Peer.AccountID != (message.ID{}) && (found.AccountID != m.Peer.AccountID || found.Direction != message.Inbound):
		return message.Message{}, errUnknown()
	}
	return *found, nil
}

// answered takes the response to a MM4_forward.REQ of ours. A vendor's is kept for the
// submit that waits for it; a customer has the message, whatever it says now, so its
// refusal is for people to see. Nobody is told of a response that answers nothing: there
// is no answer to answers.
func (d *Desk) answered(ctx context.Context, m *server.Mail) (string, error) {
	h := &m.Header
	id := message.NewID()
	d.taken(h.Type, h.RequestStatus)
	log := d.Log.With("peer", m.Peer.Name, "status", string(h.RequestStatus))
	if m.Peer.VendorID == (message.ID{}) {
		return message.Hex32(id), d.noted(ctx, m, log)
	}
	ref, ok := attemptOf(h.TransactionID)
	if !ok {
		ref, ok = attemptOf(h.MessageID)
	}
	if !ok || ref.Part != 1 { // an MMS has one part
		log.Info("mm4 response to nothing of ours")
		return message.Hex32(id), nil
	}
	err := d.Journal.PutMM4Answer(ctx, message.MM4Answer{VendorID: m.Peer.VendorID, MessageID: ref.MessageID, Attempt: ref.Attempt,
		Status: string(h.RequestStatus), Detail: storable(h.StatusText), CameAt: d.Now()})
	if message.ReasonOf(err) == message.ReasonNotFound {
		log.Info("mm4 response to nothing of ours")
		err = nil
	}
	if err != nil {
		return "", err
	}
	return message.Hex32(id), nil
}

// noted writes a customer's refusal of what it has taken into the message's timeline.
func (d *Desk) noted(ctx context.Context, m *server.Mail, log *slog.Logger) error {
	about, err := d.about(ctx, m)
	switch {
	case message.ReasonOf(err) == message.ReasonNotFound:
		log.Info("mm4 response to nothing of ours")
		return nil
	case err != nil || m.Header.RequestStatus == mm4.StatusOK:
		return err
	}
	log.Warn("mm4 message refused after its peer had taken it", "message_id", about.ID)
	return d.Journal.Note(ctx, about.ID, message.Event{Type: message.EventMM4, Detail: map[string]any{"answer": string(m.Header.RequestStatus)}})
}
