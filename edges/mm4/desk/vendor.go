package desk

import (
	"context"
	"slices"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// arrived takes a MM4_forward.REQ from a vendor: it becomes an inbound message for each
// number of ours in the envelope. The header may name none of them: who was written to
// in a group is told by the envelope alone.
func (d *Desk) arrived(ctx context.Context, m *server.Mail) (string, error) {
	c := contentOf(m)
	if c.text == "" && c.subject == "" && len(c.files) == 0 {
		return d.deny(ctx, m, message.Refuse(message.ReasonInvalidRequest, "the mail has neither a text nor a file"))
	}
	s := d.Snapshot()
	files := map[message.ID][]message.MediaFile{} // by account
	var list []verdict
	var seen []message.Address
	for _, r := range m.To {
		if r.Number() == "" {
			continue
		}
		to, n := ingress.Owner(s, r.Number())
		if n != nil && slices.Contains(seen, to) {
			continue
		}
		seen = append(seen, to)
		v := verdict{recipient: r.Address, status: mm4.StatusOK}
		if v.err = d.arriveFor(ctx, m, c, n, files, to, r.Address); v.err != nil {
			v.status, v.text = statusOf(v.err)
		}
		list = append(list, v)
		if v.err != nil && passing(v.err) {
			break
		}
	}
	if len(list) == 0 {
		return d.deny(ctx, m, &mm4.Fault{Status: mm4.StatusAddress, Header: "To", Detail: "the envelope names no number"})
	}
	return d.settle(ctx, m, message.ID{}, list)
}

// arriveFor commits the message for one number, which the envelope writes as written and n
// describes; nil: it is nobody's.
func (d *Desk) arriveFor(ctx context.Context, m *server.Mail, c content, n *snapshot.Number, files map[message.ID][]message.MediaFile, to message.Address, written mm4.Address) error {
	if n == nil || !n.MMSEnabled {
		return &mm4.Fault{Status: mm4.StatusAddress, Header: "To", Detail: "the number takes no MMS here"}
	}
	stored, ok := files[n.AccountID]
	if !ok {
		var err error
		if stored, err = c.store(ctx, n.AccountID); err != nil {
			return err
		}
		files[n.AccountID] = stored
	}
	h := &m.Header
	in := message.InboundMessage{VendorID: m.Peer.VendorID, VendorRef: mm4.CleanID(h.MessageID) + "/" + mm4.CleanID(h.TransactionID), From: h.From.Number(), To: string(to),
		Kind: message.MMS, Subject: storable(c.subject), Files: slices.Clone(stored), Text: storable(c.text), Encoding: message.EncodingUCS2, ReceivedAt: d.Now(),
		MM4: d.asked(m, to, written)}
	for _, a := range shown(h) {
		in.Group = append(in.Group, a.Number())
	}
	if in.From == "" {
		in.From = plain(h.From)
	}
	if text.IsGSM7(in.Text) {
		in.Encoding = message.EncodingGSM7
	}
	return d.Ingress.Inbound(ctx, in)
}

// asked is what the vendor wants to be told of the message for a number; nil: nothing.
func (d *Desk) asked(m *server.Mail, to message.Address, written mm4.Address) *message.MM4Origin {
	h := &m.Header
	o := &message.MM4Origin{PeerID: m.Peer.ID, Reference: h.MessageID, Sender: plain(h.From), Recipient: plain(written), System: d.systemOf(m),
		DeliveryReport: h.DeliveryReport == mm4.Yes, ReadReport: h.ReadReply == mm4.Yes}
	if !o.DeliveryReport && !o.ReadReport {
		return nil
	}
	s := d.Snapshot()
	for _, a := range h.Recipients() { // the vendor knows him as the header has him
		if known, _ := ingress.Owner(s, a.Number()); a.Number() != "" && known == to {
			o.Recipient = plain(a)
			break
		}
	}
	return o
}
