package desk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"net/http"
	"slices"
	"time"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/snapshot"
)

// submitted takes a MM4_forward.REQ of a customer: it becomes a message for each number
// of the envelope.
func (d *Desk) submitted(ctx context.Context, m *server.Mail) (string, error) {
	f, err := d.readForward(m)
	if err == nil {
		err = d.takeRate(f)
	}
	if err == nil {
		err = f.store(ctx)
	}
	if err != nil {
		return d.deny(ctx, m, err)
	}
	list := make([]verdict, len(f.to))
	for i, to := range f.to {
		list[i] = d.accept(ctx, f, to)
	}
	return d.settle(ctx, m, message.ID{}, list)
}

// forward is a MM4_forward.REQ of a customer on its way into the journal.
type forward struct {
	*server.Mail
	snapshot *snapshot.Snapshot
	country  string
	system   string // where reports go
	from     string
	to       []target
	content  content
	sums     [][32]byte // of the files
	media    []message.Media
	validity time.Duration
	expired  *message.Error
	group    message.ID
	together []string // all numbers that see each other
}

// target is a recipient of the envelope.
type target struct {
	number  string      // as ingress reads it
	written mm4.Address // as the header has it, else the envelope
}

// readForward checks what can be checked without asking anybody.
func (d *Desk) readForward(m *server.Mail) (*forward, error) {
	h := &m.Header
	s := d.Snapshot()
	f := &forward{Mail: m, snapshot: s, country: country(s, m.Peer), system: d.systemOf(m), content: contentOf(m).sendable()}
	if h.SenderVisibility == mm4.Hide {
		return nil, denied("X-Mms-Sender-Visibility", "a sender cannot be hidden here; leave the header out")
	}
	if f.from = f.dialable(h.From); h.From.Number() == "" {
		return nil, &mm4.Fault{Status: mm4.StatusAddress, Header: "From", Detail: "the originator is no number; write +E164/TYPE=PLMN@domain"}
	}
	if err := f.address(d); err != nil {
		return nil, err
	}
	switch c := f.content; {
	case c.text == "" && len(c.files) == 0:
		return nil, message.Refuse(message.ReasonInvalidRequest, "the mail has neither a text nor a file")
	case len(c.files) > ingress.MaxMedia:
		return nil, message.Refuse(message.ReasonMediaRejected, "the mail has %d files, %d are allowed", len(c.files), ingress.MaxMedia)
	}
	for _, file := range f.content.files {
		f.sums = append(f.sums, file.Object().SHA256)
	}
	f.validity, f.expired = validityOf(h.Expiry, d.Now())
	return f, nil
}

// dialable is an address as ingress reads it.
func (f *forward) dialable(a mm4.Address) string { return message.Dialable(0, a.Number(), f.country) }

// address finds the recipients: the numbers of the envelope, each once. The header has
// to name one of them; those that it names beside are other systems'.
func (f *forward) address(d *Desk) error {
	named := f.Header.Recipients()
	numbers := make([]string, len(named)) // read once: a number costs more than its comparison
	for i, a := range named {
		if a.Number() != "" {
			numbers[i] = f.dialable(a)
		}
	}
	for _, a := range shown(&f.Header) {
		f.together = append(f.together, f.dialable(a))
	}
	shared := false
	for _, r := range f.To {
		t := target{number: f.dialable(r.Address), written: r.Address}
		if r.Number() == "" || d.isSystem(r.Address) || slices.ContainsFunc(f.to, func(o target) bool { return o.number == t.number }) {
			continue
		}
		if i := slices.Index(numbers, t.number); i >= 0 {
			shared, t.written = true, named[i]
		}
		f.to = append(f.to, t)
	}
	if !shared {
		return &mm4.Fault{Status: mm4.StatusAddress, Header: "To", Detail: "To and Cc name none of the recipients of the envelope"}
	}
	if len(f.to) > 1 || len(named) > 1 {
		f.group = groupOf(f.Mail)
	}
	return nil
}

// shown are the numbers that a mail shows to each other, as many as are kept: those of
// Bcc are not shown.
func shown(h *mm4.Header) []mm4.Address {
	open := mm4.Header{To: h.To, Cc: h.Cc}
	list := slices.DeleteFunc(open.Recipients(), func(a mm4.Address) bool { return a.Number() == "" })
	return list[:min(len(list), message.MaxGroup)]
}

// groupOf is the id of what a mail says to several. It is the same when the mail comes
// again, and in the mails over which its recipients are spread.
func groupOf(m *server.Mail) message.ID {
	sum := digest(m.Peer.ID[:], []byte(m.Header.TransactionID), []byte(m.Header.MessageID))
	id := message.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8, RFC 9562 §5.8
	return id
}

// digest is a hash of fields, none of which can run into another.
func digest(list ...[]byte) [32]byte {
	h := sha256.New()
	for _, b := range list {
		_ = binary.Write(h, binary.BigEndian, uint64(len(b))) // a hash takes all
		_, _ = h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}

// validityOf is how long a message may be tried; 0: nothing was said. Peers name days
// that we do not have, and moments that are over.
func validityOf(e mm4.Expiry, now time.Time) (time.Duration, *message.Error) {
	end := e.Time(now)
	switch left := end.Sub(now); {
	case end.IsZero():
		return 0, nil
	case left <= 0:
		return 0, message.Refuse(message.ReasonInvalidSchedule, "X-Mms-Expiry lies in the past")
	default:
		return min(max(left, message.MinValidity), message.MaxValidity), nil
	}
}

// takeRate counts the messages at the rate of their sender.
func (d *Desk) takeRate(f *forward) error {
	account := f.snapshot.Accounts[f.Peer.AccountID]
	if d.Numbers == nil || account == nil {
		return nil
	}
	rate, ok := ingress.NumberRate(f.snapshot, account, f.from)
	if !ok {
		return nil
	}
	rate.N = min(len(f.to), rate.PerSecond) // more would never have room
	v := limit.TakeRates(d.Numbers, []limit.Rate{rate}, d.Now())
	if v.OK {
		return nil
	}
	if d.Metrics.RateLimited != nil {
		d.Metrics.RateLimited(account.ID, v.Rate.Scope, len(f.to))
	}
	return message.Refuse(message.ReasonRateLimitExceeded, "more messages a second than the sender may send; send the mail later")
}

// store stores the files, once for all recipients.
func (f *forward) store(ctx context.Context) error {
	files, err := f.content.store(ctx, f.Peer.AccountID)
	for _, file := range files {
		f.media = append(f.media, message.Media{File: file})
	}
	return err
}

// accept makes the message for one recipient.
func (d *Desk) accept(ctx context.Context, f *forward, to target) verdict {
	h := &f.Header
	r := ingress.Request{AccountID: f.Peer.AccountID, Edge: message.EdgeMM4, From: f.from, To: to.number, Body: f.content.text, Subject: f.content.subject,
		Media: slices.Clone(f.media), MMS: true, Validity: f.validity, Refused: f.expired,
		GroupID: f.group, GroupRecipients: f.together,
		MM4: &message.MM4Origin{PeerID: f.Peer.ID, Reference: h.MessageID, Sender: plain(h.From), Recipient: plain(to.written), System: f.system,
			DeliveryReport: h.DeliveryReport == mm4.Yes, ReadReport: h.ReadReply == mm4.Yes},
		Key: f.key(to)}
	if h.Priority == mm4.High {
		r.Class = message.ClassOTP
	}
	out, err := d.Ingress.Accept(ctx, r)
	v := verdict{recipient: to.written, status: mm4.StatusOK}
	switch {
	case out.Replay != nil:
		v.id, err = first(out.Replay)
	case out.Message != nil:
		v.id = out.Message.ID
	}
	if v.err = err; err != nil {
		v.status, v.text = statusOf(err)
	}
	return v
}

// plain is an address without its display name.
func plain(a mm4.Address) string {
	a.Name = ""
	return a.String()
}

// key makes a mail that comes again harmless, as far as it says the same. Headers that
// peers write anew at each try are not compared.
func (f *forward) key(to target) *ingress.Key {
	h := &f.Header
	said := [][]byte{[]byte(f.from), []byte(h.MessageID), []byte(h.Subject), []byte(f.content.text)}
	for _, sum := range f.sums {
		said = append(said, sum[:])
	}
	value := digest([]byte(h.Type), []byte(h.TransactionID), []byte(to.number))
	return &ingress.Key{Operation: "mm4 forward " + f.Peer.ID.String(), Value: hex.EncodeToString(value[:]), BodyHash: digest(said...), Render: render}
}

// answer is what is kept beside a key.
type answer struct {
	ID     message.ID     `json:"id"`
	Reason message.Reason `json:"reason,omitempty"`
	Detail string         `json:"detail,omitempty"`
}

// render keeps no refusal that may pass: the peer sends the mail again for that.
func render(m *message.Message, e *message.Error) (int, []byte, error) {
	a, status := answer{}, http.StatusAccepted
	if m != nil {
		a.ID = m.ID
	}
	if e != nil {
		a.Reason, a.Detail, status = e.Reason, e.Detail, http.StatusUnprocessableEntity
		if e.Reason.Temporary() {
			status = http.StatusTooManyRequests
		}
	}
	b, err := json.Marshal(a)
	return status, b, err
}

// first reads what a mail was answered when it came first.
func first(replay *message.Idempotency) (message.ID, error) {
	var a answer
	if err := json.Unmarshal(replay.Response, &a); err != nil {
		return message.ID{}, fmt.Errorf("read the first answer to an MM4 request: %w", err)
	}
	if a.Reason != "" {
		return a.ID, &message.Error{Reason: a.Reason, Detail: a.Detail}
	}
	return a.ID, nil
}
