package desk_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// FuzzMail sends any mail, as a customer and as a vendor, twice each. Nothing panics;
// what is answered with 250 is committed, or was a request that is answered by a
// response; what is not leaves nothing behind; the second try changes nothing; and
// whatever is owed can be sent.
func FuzzMail(f *testing.F) {
	ref := message.AttemptRef{MessageID: message.ID{1}, Part: 1, Attempt: 1}
	for _, raw := range []string{
		text(), header("Subject: x") + parts("related", smil, picture, "text/plain|one"), header() + parts("alternative", "text/plain|a", picture), fromVendor() + parts("mixed", card, pdf),
		text("X-Mms-Originator-System: \"joe\"@[127.0.0.1]"), text("To: undisclosed-recipients:;", "Cc: "+number(alice)), text("X-Mms-Transaction-ID: \"<é>\""), text("X-Mms-Forward-Counter: 99"),
		report(mm4.DeliveryReportREQ, ref.String(), "X-Mms-MM-Status-Code: Retrieved"), report(mm4.ReadReplyReportREQ, ref.String(), "X-Mms-Read-Status: Read"),
		report(mm4.ForwardRES, "x", "X-Mms-Transaction-ID: "+ref.String(), "X-Mms-Request-Status-Code: Ok"), "", "\n\n", header("Content-Type: multipart/mixed; boundary=x") + "\n--x\n",
	} {
		f.Add(raw)
	}
	w := setup(f)
	f.Fuzz(func(t *testing.T, raw string) {
		w.t = t
		raw = strings.ReplaceAll(raw, "\r", "")
		for _, side := range []struct {
			ip, from, to string
		}{{customerIP, "system-user@mms.pbx.example", number(alice)}, {vendorIP, "system-user@mms.hub.example", number(string(own))}} {
			before := w.count()
			code, said := w.mail(side.ip, side.from, raw, side.to)
			first := w.count()
			again, _ := w.mail(side.ip, side.from, raw, side.to)
			second := w.count()
			switch {
			case code != again:
				t.Errorf("%d %s, and then %d", code, said, again)
			case code != 250 && first != before:
				t.Errorf("%d %s: committed %+v, before %+v", code, said, first, before)
			case second.messages != first.messages || second.owed != first.owed:
				t.Errorf("the second try: committed %+v, before %+v", second, first)
			}
		}
		w.journal.mu.Lock()
		defer w.journal.mu.Unlock()
		for _, m := range w.journal.mails {
			if composed(m) == "" {
				t.Errorf("cannot be sent: %+v", m)
			}
		}
		w.journal.mails = nil
	})
}

// counts is what is committed.
type counts struct{ messages, owed int }

func (w *world) count() counts {
	w.journal.mu.Lock()
	w.doors.mu.Lock()
	defer w.journal.mu.Unlock()
	defer w.doors.mu.Unlock()
	return counts{len(w.doors.requests) + len(w.doors.inbound), len(w.journal.mails)}
}
