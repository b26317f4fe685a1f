package mm4

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// maxOwnID bounds the ids that we make: some peers keep no more of one.
const maxOwnID = 60

// maxID bounds the ids of others. TS 23.140 sets no limit; the longest that were
// seen have some 120 octets.
const maxID = 250

// MessageID is X-Mms-Message-ID of a message of ours: its id, and the domain if that
// fits into 60 octets and is one. The same message always has the same.
func MessageID(id message.ID, domain string) string {
	s := message.Hex32(id)
	if domain != "" && len(s)+1+len(domain) <= maxOwnID && strings.Trim(domain, idOctets) == "" {
		s += "@" + domain
	}
	return s
}

const idOctets = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// transactionLetters tell the requests about one message apart.
var transactionLetters = map[Type]string{ForwardREQ: "f", DeliveryReportREQ: "d", ReadReplyReportREQ: "r"}

// TransactionID is X-Mms-Transaction-ID of a request of ours about the message id. A
// request that is sent again because nobody answered keeps its n, so that the peer
// knows it; one with other content, or to another peer, gets the next. It panics for a
// type that is no request.
func TransactionID(id message.ID, t Type, n int) string {
	letter, ok := transactionLetters[t]
	if !ok {
		panic(fmt.Sprintf("mm4: %q is no request: a response has the transaction id of its request", t))
	}
	return fmt.Sprintf("%s-%s%d", message.Hex32(id), letter, n)
}

// MessageOf is the message of ours that a Message-ID or a Transaction-ID names; false
// when it is not ours. It does not look at the domain.
func MessageOf(s string) (message.ID, bool) {
	s = CleanID(s)
	if len(s) < 32 || len(s) > 32 && s[32] != '@' && s[32] != '-' {
		return message.ID{}, false
	}
	id, err := message.ParseID(s[:32])
	if err != nil || message.Hex32(id) != s[:32] {
		return message.ID{}, false
	}
	return id, true
}

// CleanID strips blanks, quotes and angle brackets from around an id, in which form
// ids are compared, with regard to case.
func CleanID(s string) string {
	for {
		t := strings.TrimSpace(s)
		if n := len(t); n >= 2 && (t[0] == '"' && t[n-1] == '"' || t[0] == '<' && t[n-1] == '>') {
			t = t[1 : n-1]
		}
		if t == s {
			return t
		}
		s = t
	}
}
