package smpp

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// statusOf is the command_status that a reason has for an account: the catalogue's,
// but for the two where accounts may choose (api.md §5). A nil account chooses
// nothing.
func statusOf(account *snapshot.Account, r message.Reason) smpp.Status {
	if account != nil {
		switch {
		case r == message.ReasonEncodingMismatch && account.EncodingMismatchStatus != 0:
			return smpp.Status(account.EncodingMismatchStatus)
		case r == message.ReasonOptedOut && account.OptedOutStatus != 0:
			return smpp.Status(account.OptedOutStatus)
		}
	}
	return smpp.StatusOf(r)
}

// statusOf is the command_status of a reason for the bind's account.
func (x *exchange) statusOf(r message.Reason) smpp.Status {
	return statusOf(x.s.Snapshot().Accounts[x.b.account], r)
}
