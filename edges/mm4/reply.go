package mm4

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// The replies that are ours to give (api.md §9). What they are for stands beside the
// text that goes with them.
var (
	codeTaken     = mm4.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}}
	codeReady     = mm4.Reply{Code: 220, Enhanced: [3]int{2, 0, 0}}
	codeBusy      = mm4.Reply{Code: 421, Enhanced: [3]int{4, 3, 2}}
	codeLate      = mm4.Reply{Code: 421, Enhanced: [3]int{4, 4, 2}} // RFC 3463: bad connection
	codeRate      = mm4.Reply{Code: 450, Enhanced: [3]int{4, 7, 1}}
	codeFailed    = mm4.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}}
	codeFull      = mm4.Reply{Code: 452, Enhanced: [3]int{4, 3, 1}}
	codeTooMany   = mm4.Reply{Code: 452, Enhanced: [3]int{4, 5, 3}}
	codeUnread    = mm4.Reply{Code: 500, Enhanced: [3]int{5, 5, 2}}
	codeSyntax    = mm4.Reply{Code: 501, Enhanced: [3]int{5, 5, 4}}
	codeUnoffered = mm4.Reply{Code: 502, Enhanced: [3]int{5, 5, 1}}
	codeOrder     = mm4.Reply{Code: 503, Enhanced: [3]int{5, 5, 1}}
	codeDemanded  = mm4.Reply{Code: 530, Enhanced: [3]int{5, 7, 0}}
	codePassword  = mm4.Reply{Code: 535, Enhanced: [3]int{5, 7, 8}}
	codeNobody    = mm4.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}}
	codeDenied    = mm4.Reply{Code: 550, Enhanced: [3]int{5, 7, 1}}
	codeTooLarge  = mm4.Reply{Code: 552, Enhanced: [3]int{5, 3, 4}}
	codeAddress   = mm4.Reply{Code: 553, Enhanced: [3]int{5, 1, 3}}
	codeStranger  = mm4.Reply{Code: 554, Enhanced: [3]int{5, 7, 1}}
)

// say makes a reply of a code and a text.
func say(c mm4.Reply, format string, args ...any) *smtp.SMTPError {
	return &smtp.SMTPError{Code: c.Code, EnhancedCode: c.Enhanced, Message: printable(fmt.Sprintf(format, args...))}
}

// line is a reply as it goes over the wire.
func line(r *smtp.SMTPError) string {
	e := r.EnhancedCode
	return fmt.Sprintf("%d %d.%d.%d %s\r\n", r.Code, e[0], e[1], e[2], r.Message)
}

// maxReplyText keeps a reply within its line (RFC 5321 §4.5.3.1.5: 512 octets).
const maxReplyText = 450

// printable leaves nothing in a text that could end a line, or that is not ASCII.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxReplyText)]
}

// replyTo is the answer to what was refused for err, which is not nil. What is
// foreign is not shown.
func replyTo(err error) *smtp.SMTPError {
	var said *smtp.SMTPError
	if errors.As(err, &said) {
		return said
	}
	var fault *mm4.Fault
	if errors.As(err, &fault) {
		return say(fault.Status.Reply(), "%s", strings.TrimPrefix(fault.Error(), "mm4: "))
	}
	var refused *message.Error
	if errors.As(err, &refused) {
		text := refused.Detail
		if text == "" {
			text = refused.Reason.Entry().Title
		}
		return say(mm4.ReplyOf(refused.Reason), "%s", text)
	}
	return say(codeFailed, "the mail could not be stored; send it again")
}

// forResponse reports whether a response may tell why a request is refused: the
// catalogue gives the cause a status, and not digits of SMTP, and it is for good.
func forResponse(err error) bool {
	var fault *mm4.Fault
	var refused *message.Error
	switch {
	case errors.As(err, &fault):
		return !errors.Is(err, mm4.ErrTruncated)
	case errors.As(err, &refused):
		_, ok := mm4.ParseStatus(refused.Reason.Entry().MM4)
		return ok && !refused.Reason.Temporary()
	}
	return false
}
