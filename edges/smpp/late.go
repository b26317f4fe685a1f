package smpp

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// late refuses times that the clock has overtaken. With an idempotency key the
// submit may be a repeat, sent after its first answer was lost: then ingress looks
// the key up before it refuses, off the reader. The field names the status, see
// fieldStatus.
func (sub *submission) late(t smpp.TLVs, st smpp.Status, field string) smpp.Status {
	if _, ok := t.Get(smpp.TagIdempotencyKey); !ok {
		return st
	}
	refused := message.Refuse(message.ReasonInvalidSchedule, "the time lies in the past")
	refused.Fields = []message.FieldError{{Location: field, Message: refused.Detail}}
	sub.common.Refused = refused
	return smpp.StatusOK
}
