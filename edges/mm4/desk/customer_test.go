package desk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestForward(t *testing.T) {
	w := setup(t)
	id := w.submit("250 2.0.0 ", header("Subject: Lunch?", "X-Mms-Delivery-Report: Yes", "X-Mms-Read-Reply: Yes")+parts("related", smil, picture, "text/plain; charset=utf-8|Café"))
	list := w.accepted()
	if len(list) != 1 {
		t.Fatalf("%d messages", len(list))
	}
	r := list[0]
	if r.AccountID != account || r.Edge != message.EdgeMM4 || r.From != string(own) || r.To != alice || r.Body != "Café" || r.Subject != "Lunch?" || !r.MMS ||
		r.Class != "" || r.Validity != 0 || r.GroupID != (message.ID{}) || len(r.Media) != 1 || r.Media[0].File.ContentType != "image/gif" || r.Media[0].File.AccountID != account {
		t.Errorf("request %+v", r)
	}
	want := message.MM4Origin{PeerID: customer, Reference: "m1@mms.pbx.example", Sender: "+12025550101/TYPE=PLMN@mms.pbx.example", Recipient: number(alice),
		System: "system-user@mms.pbx.example", DeliveryReport: true, ReadReport: true}
	if *r.MM4 != want {
		t.Errorf("origin %+v, want %+v", *r.MM4, want)
	}
	w.owes("forward_res Ok")
	m := w.journal.mails[0]
	if message.Hex32(m.MessageID) != id || m.PeerID != customer || m.TransactionID != "t1" || m.Response.System != "system-user@mms.pbx.example" ||
		m.Response.Reference != "m1@mms.pbx.example" || !m.ExpiresAt.Equal(now.Add(24*time.Hour)) {
		t.Errorf("response %+v to %s", m, id)
	}
}

// TestForwardAgain: the peer lost our reply. The same id, no second message, and its
// response goes again.
func TestForwardAgain(t *testing.T) {
	w := setup(t)
	id := w.submit("250 2.0.0 ", text())
	again := w.submit("250 2.0.0 ", strings.Replace(text(), "Date: Fri", "X-Mms-Expiry: 4000\nDate: Fri", 1))
	if len(w.accepted()) != 1 || id != again || w.journal.owed != 2 {
		t.Errorf("%d messages, ids %s and %s, owed %d times", len(w.accepted()), id, again, w.journal.owed)
	}
	w.owes("forward_res Ok")
	// Another type of the same transaction is another request, and another content of
	// it is a mistake.
	w.submit("250 2.0.0 ", strings.Replace(text(), "hello", "goodbye", 1))
	if len(w.accepted()) != 1 {
		t.Error("another content was taken")
	}
	w.submit("250 2.0.0 ", text("X-Mms-Transaction-ID: t2"))
	if len(w.accepted()) != 2 {
		t.Error("another transaction was taken for a repetition")
	}
}

// TestCommittedInPart: of three recipients the journal takes two and is then away. The
// peer is told to come again, and what it brings is finished.
func TestCommittedInPart(t *testing.T) {
	w := setup(t)
	raw := text("To: <"+number(alice)+">, <"+number(bob)+">", "Cc: <"+number(carol)+">")
	to := []string{number(alice), number(bob), number(carol)}
	w.doors.refuse = func(r ingress.Request) error {
		if r.To == carol {
			return errAway
		}
		return nil
	}
	w.submit("451 4.3.0", raw, to...)
	w.owes()
	w.doors.refuse = nil
	w.journal.down = errAway // all are committed, the response is not
	w.submit("451 4.3.0", raw, to...)
	w.journal.down = nil
	w.submit("250 2.0.0", raw, to...)
	w.owes("forward_res Ok")
	var got []string
	for _, r := range w.accepted() {
		got = append(got, r.To)
		if r.GroupID == (message.ID{}) || r.GroupID != w.accepted()[0].GroupID {
			t.Errorf("group %s", r.GroupID)
		}
	}
	if !slices.Equal(got, []string{alice, bob, carol}) {
		t.Errorf("messages to %v", got)
	}
}

// TestRestOfRecipients: a peer that may name only so many sends the rest in another
// mail, with the same ids. It is one group.
func TestRestOfRecipients(t *testing.T) {
	w := setup(t)
	raw := text("To: <" + number(alice) + ">, <" + number(bob) + ">")
	w.submit("250", raw, number(alice))
	w.submit("250", raw, number(bob))
	list := w.accepted()
	if len(list) != 2 || list[0].To != alice || list[1].To != bob || list[0].GroupID != list[1].GroupID || list[0].GroupID == (message.ID{}) {
		t.Errorf("%+v", list)
	}
	w.submit("250", text("X-Mms-Transaction-ID: t2", "To: <"+number(alice)+">, <"+number(bob)+">"))
	if g := w.accepted()[2].GroupID; g == list[0].GroupID {
		t.Error("two mails are one group")
	}
}

// TestRecipientOnce: one number in two forms is one recipient.
func TestRecipientOnce(t *testing.T) {
	w := setup(t)
	w.submit("250", text("To: <3105550101/TYPE=PLMN@mms.gw.example>"), number(alice), "13105550101/TYPE=PLMN@mms.gw.example", "3105550101@mms.gw.example", "system-user@mms.gw.example")
	if list := w.accepted(); len(list) != 1 || list[0].To != alice || list[0].MM4.Recipient != "3105550101/TYPE=PLMN@mms.gw.example" {
		t.Errorf("%+v", list)
	}
}

func TestWholeMailRefused(t *testing.T) {
	many := make([]string, 11)
	for i := range many {
		many[i] = picture
	}
	for name, tt := range map[string]struct {
		raw      string
		response string
		reply    string // without a response
	}{
		"our own system":   {text("X-Mms-Originator-System: <system-user@MMS.gw.example>"), "Error-service-denied", "550 5.7.1"},
		"sent by us":       {text("Sender: system-user@mms.gw.example"), "Error-service-denied", "550 5.7.1"},
		"forwarded often":  {text("X-Mms-Forward-Counter: 6"), "Error-service-denied", "550 5.7.1"},
		"other recipients": {text("To: <+13105550109/TYPE=PLMN@mms.gw.example>"), "Error-sending-address-unresolved", "553 5.1.3"},
		"hidden sender":    {text("X-Mms-Sender-Visibility: Hide"), "Error-service-denied", "550 5.7.1"},
		"sender no number": {text("From: <joe@mms.pbx.example>"), "Error-sending-address-unresolved", "553 5.1.3"},
		"nothing in it":    {header() + parts("mixed", smil), "Error-message-format-corrupt", "554 5.6.0"},
		"too many files":   {header() + parts("mixed", many...), "Error-content-not-accepted", "554 5.6.0"},
		"a broken mail":    {header("Content-Type: multipart/mixed") + "\nx\n", "Error-message-format-corrupt", "554 5.6.0"},
		"expired":          {text("X-Mms-Expiry: Thu, 01 Jan 2026 15:04:05 +0000"), "Error-message-format-corrupt", "554 5.6.0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := setup(t)
			w.submit("250 2.0.0", tt.raw)
			w.owes("forward_res " + tt.response)
			if m := w.journal.mails[0]; m.Response.System != "system-user@mms.pbx.example" || m.Response.Text == "" {
				t.Errorf("response %+v", m.Response)
			}
			for _, ack := range []string{"X-Mms-Ack-Request: No\n", ""} {
				w.submit(tt.reply, strings.Replace(tt.raw, "X-Mms-Ack-Request: Yes\n", ack, 1), number(alice))
			}
			if len(w.accepted())+len(w.doors.refused) > 0 {
				t.Error("something was stored")
			}
		})
	}
}

func TestForwardedFive(t *testing.T) {
	w := setup(t)
	w.submit("250", text("X-Mms-Forward-Counter: 5"))
	w.owes("forward_res Ok")
}

// TestUnownedSender: another customer's number does not get through, and neither does
// the peer's own claim of it.
func TestUnownedSender(t *testing.T) {
	w := setup(t)
	w.doors.refuse = func(r ingress.Request) error {
		if r.From != string(own) {
			return message.Refuse(message.ReasonUnauthorizedSender, "the sender is not the account's")
		}
		return nil
	}
	w.submit("250", text("From: <+12025550109/TYPE=PLMN@mms.pbx.example>"))
	w.owes("forward_res Error-service-denied")
	w.submit("550 5.7.1 ", text("From: +12025550109", "X-Mms-Ack-Request: No", "X-Mms-Transaction-ID: t2"))
	if len(w.accepted()) > 0 {
		t.Error("it was accepted")
	}
}

// TestMixedOutcomes: a response for each status, with those whom it is for; without
// responses the reply counts for all, so it is one of success.
func TestMixedOutcomes(t *testing.T) {
	w := setup(t)
	w.doors.refuse = func(r ingress.Request) error {
		switch r.To {
		case bob:
			return message.Refuse(message.ReasonOptedOut, "stopped")
		case carol:
			return message.Refuse(message.ReasonNoRoute, "no way")
		}
		return nil
	}
	to := []string{number(carol), number(alice), number(bob), number("+13105550104")}
	names := "To: <" + strings.Join(to, ">, <") + ">"
	for range 2 {
		w.submit("250", text(names), to...)
		w.owes("forward_res Ok "+number(alice)+" "+number("+13105550104"), "forward_res Error-service-denied "+number(bob), "forward_res Error-sending-address-unresolved "+number(carol))
	}
	for i, m := range w.journal.mails {
		if m.Ordinal != i {
			t.Errorf("ordinal %d of response %d", m.Ordinal, i)
		}
	}
	w.submit("250", text(names, "X-Mms-Ack-Request: No", "X-Mms-Transaction-ID: t2"), to...)
	w.submit("553 5.1.3", text(names, "X-Mms-Ack-Request: No", "X-Mms-Transaction-ID: t3"), number(carol), number(bob))
	if n := len(w.journal.mails); n != 3 {
		t.Errorf("%d responses", n)
	}
}

// TestReasons goes through the catalogue: what may pass later is always a 4xx, what is
// for good a response if one is due, else a 5xx, which is no other than the catalogue's.
func TestReasons(t *testing.T) {
	w := setup(t)
	for i, e := range message.Catalogue() {
		w.doors.refuse = func(ingress.Request) error { return message.Refuse(e.Reason, "for a reason") }
		for _, ack := range []string{"Yes", "No"} {
			w.journal.mails = nil
			code, said := w.mail(customerIP, "system-user@mms.pbx.example", text(fmt.Sprintf("X-Mms-Transaction-ID: %d%s", i, ack), "X-Mms-Ack-Request: "+ack), number(alice))
			digits := e.MM4 != "" && e.MM4[0] >= '0' && e.MM4[0] <= '9'
			switch {
			case e.Reason.Temporary():
				if code/100 != 4 || len(w.journal.mails) > 0 {
					t.Errorf("%s, ack %s: %d %s", e.Reason, ack, code, said)
				}
			case ack == "Yes" && !digits:
				if code != 250 || len(w.journal.mails) != 1 {
					t.Errorf("%s: %d %s, %d responses", e.Reason, code, said, len(w.journal.mails))
					continue
				}
				status, known := mm4.ParseStatus(w.journal.mails[0].Response.Status)
				if !known || status.Retryable() || status == mm4.StatusOK {
					t.Errorf("%s: response %s", e.Reason, status)
				}
				if word, ok := mm4.ParseStatus(e.MM4); ok && word != status {
					t.Errorf("%s: response %s, the catalogue has %s", e.Reason, status, word)
				}
			default:
				if code/100 != 5 || len(w.journal.mails) > 0 {
					t.Errorf("%s, ack %s: %d %s", e.Reason, ack, code, said)
				}
				if digits && fmt.Sprint(code) != e.MM4 {
					t.Errorf("%s: reply %d, the catalogue has %s", e.Reason, code, e.MM4)
				}
			}
		}
	}
}

// TestPassingRefusalIsNotKept: what was refused for a time is taken when it comes again.
func TestPassingRefusalIsNotKept(t *testing.T) {
	w := setup(t)
	w.doors.refuse = func(ingress.Request) error { return message.Refuse(message.ReasonQuotaExceeded, "spent") }
	w.submit("452 4.3.1", text())
	w.doors.refuse = nil
	w.submit("250", text())
	w.owes("forward_res Ok")
}

func TestContent(t *testing.T) {
	long := strings.Repeat("long ", 9)
	for name, tt := range map[string]struct {
		raw     string
		body    string
		subject string
		types   string
	}{
		"texts":            {header() + parts("related", smil, "text/plain|one", picture, "text/plain|two\n\nthree"), "one\ntwo\n\nthree", "", "image/gif"},
		"vcard and pdf":    {header("Subject: S") + parts("mixed", card, pdf, picture), "", "S", "text/vcard application/pdf image/gif"},
		"text alone":       {text("Subject: S"), "S\nhello", "", ""},
		"subject alone":    {header("Subject: S") + parts("mixed", smil), "S", "", ""},
		"a long subject":   {header("Subject: "+long) + parts("mixed", picture, "text/plain|x"), strings.TrimSpace(long) + "\nx", "", "image/gif"},
		"picture alone":    {header() + "Content-Type: image/gif\nContent-Transfer-Encoding: base64\n\n" + gif + "\n", "", "", "image/gif"},
		"alternatives":     {header() + parts("alternative", "text/plain|see the picture", picture), "", "", "image/gif"},
		"the last of them": {header() + parts("alternative", picture, "text/plain|a dot"), "a dot", "", ""},
		"a word of ours":   {strings.Replace(text(), "hello", "STOP", 1), "STOP", "", ""},
		"another charset":  {header() + "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nCaf=E9\n", "Café", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := setup(t)
			w.submit("250", tt.raw)
			w.owes("forward_res Ok")
			r := w.accepted()[0]
			var types []string
			for _, f := range r.Media {
				types = append(types, f.File.ContentType)
			}
			if r.Body != tt.body || r.Subject != tt.subject || strings.Join(types, " ") != tt.types || !r.MMS {
				t.Errorf("body %q, subject %q, files %v", r.Body, r.Subject, types)
			}
		})
	}
}

func TestExpiryAndPriority(t *testing.T) {
	for _, tt := range []struct {
		header   string
		validity time.Duration
		class    message.Class
	}{
		{"X-Mms-Priority: Low", 0, ""},
		{"X-Mms-Priority: Normal", 0, ""},
		{"X-Mms-Priority: High", 0, message.ClassOTP},
		{"X-Mms-Expiry: 3600", time.Hour, ""},
		{"X-Mms-Expiry: 1", message.MinValidity, ""},
		{"X-Mms-Expiry: 604800", message.MaxValidity, ""},
		{"X-Mms-Expiry: Fri, 02 Jan 2026 17:04:05 +0000", 2 * time.Hour, ""},
		{"X-Mms-Expiry: soon", 0, ""},
	} {
		w := setup(t)
		w.submit("250", text(tt.header))
		if r := w.accepted()[0]; r.Validity != tt.validity || r.Class != tt.class {
			t.Errorf("%s: validity %s, class %q", tt.header, r.Validity, r.Class)
		}
	}
}

// TestNoRoomForMedia: nothing is stored, and the peer is told to come again.
func TestNoRoomForMedia(t *testing.T) {
	w := setup(t)
	raw := header() + parts("mixed", picture)
	w.files.fail = message.Because(message.ReasonUnavailable, media.ErrFull, "the media store cannot be used now")
	w.submit("452 4.3.1", raw)
	w.files.fail = message.Because(message.ReasonUnavailable, media.ErrUnavailable, "the media store cannot be used now")
	w.submit("451 4.3.0", raw)
	w.files.fail = errAway
	w.submit("451 4.3.0", raw)
	w.owes()
	if len(w.accepted()) > 0 {
		t.Error("it was accepted without its file")
	}
	w.files.fail = nil
	w.submit("250", raw)
	w.owes("forward_res Ok")
}

// TestNoPlaceForResponses: nothing is sent to the peer, so all is said by SMTP.
func TestNoPlaceForResponses(t *testing.T) {
	w := setup(t, func(s *snapshot.Snapshot) { s.MM4Peers[customer].Host = "" })
	w.submit("250", text())
	w.doors.refuse = func(ingress.Request) error { return message.Refuse(message.ReasonOptedOut, "stopped") }
	w.submit("550 5.7.1", text("X-Mms-Transaction-ID: t2"))
	w.submit("554 5.6.0", header("Content-Type: multipart/mixed")+"\nx\n")
	w.owes()
}

// TestWhereResponsesGo: to the system that the mail names, else to the envelope's
// sender, else to the peer's system; never to ourselves.
func TestWhereResponsesGo(t *testing.T) {
	for _, tt := range []struct{ header, from, want string }{
		{"X-Mms-Originator-System: <mmsc@other.example>", "x@mms.pbx.example", "mmsc@other.example"},
		{"-X-Mms-Originator-System", "x@mms.pbx.example", "x@mms.pbx.example"},
		{"-X-Mms-Originator-System", "", "system-user@mms.pbx.example"},
		{"X-Mms-Originator-System: ?", "", "system-user@mms.pbx.example"},
		{"X-Mms-Originator-System: +12025550101/TYPE=PLMN", "", "+12025550101/TYPE=PLMN@mms.pbx.example"},
		{"X-Mms-Originator-System: a@mms.gw.example", "", "system-user@mms.pbx.example"},
	} {
		w := setup(t)
		w.want("250", customerIP, tt.from, text(tt.header), number(alice))
		if got := w.journal.mails[0].Response.System; got != tt.want {
			t.Errorf("%s from %q: %s, want %s", tt.header, tt.from, got, tt.want)
		}
	}
}

func TestSenderRate(t *testing.T) {
	w := setup(t, func(s *snapshot.Snapshot) { s.Numbers[own].RateLimit = 2 })
	w.Numbers = limit.New(0)
	at := time.Now() // a limiter knows nothing before its own beginning
	w.Now = func() time.Time { return at }
	var told int
	w.Metrics.RateLimited = func(a message.ID, scope string, n int) {
		if a == account && scope == limit.ScopeNumber {
			told += n
		}
	}
	names := "To: <" + number(alice) + ">, <" + number(bob) + ">, <" + number(carol) + ">"
	w.submit("250", text(names), number(alice), number(bob), number(carol)) // more than ever fit
	w.submit("450 4.7.1", text("X-Mms-Transaction-ID: t2"))
	if told != 1 || len(w.accepted()) != 3 {
		t.Errorf("%d told, %d accepted", told, len(w.accepted()))
	}
}

func TestRecipients(t *testing.T) {
	w := setup(t)
	for to, want := range map[string]string{
		number(alice):                              "250",
		number("3105550101"):                       "250",
		number("12345"):                            "250",
		"system-user@mms.gw.example":               "553", // accepted, but nobody's
		"joe@mms.gw.example":                       "550 5.1.1",
		number(alice) + ".elsewhere.example":       "550 5.1.1",
		"+19999999999999/TYPE=PLMN@mms.gw.example": "553 5.1.3",
	} {
		code, said := w.mail(customerIP, "a@mms.pbx.example", text("To: <"+to+">", "X-Mms-Transaction-ID: "+to, "-X-Mms-Ack-Request"), to)
		if got := fmt.Sprint(code, " ", said); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
}
