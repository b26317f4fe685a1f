package policy

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// OwnAnswer is what a number answers by itself to a message that is no keyword; nil:
// nothing. Only people get one: not short codes and names, behind which machines write,
// nor numbers of ours, whose own answers would answer this one. How often a pair gets
// it is the journal's to count.
func OwnAnswer(s *snapshot.Snapshot, n *snapshot.Number, from message.Address) *message.AutomaticReply {
	account := s.Accounts[n.AccountID]
	if n.AutoReply == "" || !n.SMSEnabled || account == nil || account.Status != snapshot.AccountActive ||
		from.Kind() != message.E164 || s.Numbers[from] != nil {
		return nil
	}
	return &message.AutomaticReply{AccountID: account.ID, From: n.Number, To: from, Text: n.AutoReply}
}
