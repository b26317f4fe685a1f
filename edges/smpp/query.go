package smpp

import (
	"context"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// query answers a query_sm from stored state. It is legal in BOUND_TX and
// BOUND_TRX.
func (x *exchange) query(q *smpp.QuerySM) {
	x.work(func(ctx context.Context) {
		found, st := x.find(ctx, q.MessageID, q.Source)
		switch {
		case st != smpp.StatusOK:
			x.answer(st, nil)
			return
		case len(found) > 1: // a batch has no one state
			x.answer(smpp.StatusQueryFail, nil)
			return
		}
		m := &found[0].message
		x.answer(smpp.StatusOK, &smpp.QuerySMResp{MessageID: q.MessageID, FinalDate: smpp.FormatTime(finalDate(m)),
			State: receiptState(m.Status).Number(), ErrorCode: queryError(m)})
	})
}

// answered is a message that the ESME knows by a message_id of ours.
type answered struct {
	message message.Message
	origin  message.SMPPOrigin
}

// find gives the messages that were answered with the id and came from the
// source: one, or those of a batch. RINVMSGID says that there is none; it does
// not say whether only the source is another.
func (x *exchange) find(ctx context.Context, id string, source smpp.Address) ([]answered, smpp.Status) {
	id, ok := readMessageID(id)
	if !ok {
		return nil, smpp.StatusInvMsgID
	}
	messages, origins, err := x.s.Journal.Answered(ctx, x.b.credential, id)
	if err != nil {
		return nil, x.failure(err)
	}
	var found []answered
	for i := range min(len(messages), len(origins)) {
		if sameNumber(origins[i].Source.Text, source.Text) {
			found = append(found, answered{messages[i], origins[i]})
		}
	}
	if len(found) == 0 {
		return nil, smpp.StatusInvMsgID
	}
	return found, smpp.StatusOK
}

// shortIDDigits is the length of a message_id of a peer below version 3.4.
const shortIDDigits = 8

// readMessageID reads one of our message_ids as an ESME may have kept it: in
// either case, the long form also with hyphens.
func readMessageID(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) == shortIDDigits {
		return s, strings.Trim(s, "0123456789abcdef") == ""
	}
	id, err := message.ParseID(s)
	return message.Hex32(id), err == nil
}

// sameNumber compares two addresses as written; a plus sign makes no
// difference, and neither does the type of number, which peers leave off in
// what is not a submit.
func sameNumber(a, b string) bool {
	bare := func(s string) string { return strings.TrimPrefix(strings.TrimSpace(s), "+") }
	return bare(a) == bare(b)
}

// finalDate is when the message reached its final status; zero before.
func finalDate(m *message.Message) time.Time {
	switch {
	case !m.Status.Final():
		return time.Time{}
	case m.Status == message.StatusDelivered && !m.DeliveredAt.IsZero():
		return m.DeliveredAt
	}
	return m.UpdatedAt
}

// queryError is the error_code: the field has one octet, so of the three digits
// that the receipt has it gets the first, which tells the kind of trouble.
func queryError(m *message.Message) byte { return receiptErr(m.Status, m)[0] - '0' }
