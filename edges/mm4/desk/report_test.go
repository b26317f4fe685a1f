package desk_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/snapshot"
)

// fromVendor is a forward of the vendor's to our number.
func fromVendor(changes ...string) string {
	return header(append([]string{"From: <" + alice + "/TYPE=PLMN@mms.hub.example>", "To: <+12025550101/TYPE=PLMN@mms.gw.example>",
		"X-Mms-Originator-System: system-user@mms.hub.example", "X-Mms-Message-ID: \"v1@hub\""}, changes...)...)
}

func TestFromVendor(t *testing.T) {
	w := setup(t)
	raw := fromVendor("Subject: Hi") + parts("related", smil, picture, "text/plain|STOP", card)
	w.deliver("250 2.0.0", raw)
	w.owes("forward_res Ok")
	if len(w.doors.inbound) != 1 {
		t.Fatalf("%d messages", len(w.doors.inbound))
	}
	m := w.doors.inbound[0]
	if m.VendorID != vendorID || m.VendorRef != "v1@hub/t1" || m.From != alice || m.To != string(own) || m.Kind != message.MMS || m.Subject != "Hi" || m.Text != "STOP" ||
		m.Encoding != message.EncodingGSM7 || len(m.Files) != 2 || m.Files[0].ContentType != "image/gif" || m.Files[0].AccountID != account || m.Files[1].ContentType != "text/vcard" || !m.ReceivedAt.Equal(now) {
		t.Errorf("%+v", m)
	}
	if r := w.journal.mails[0]; r.PeerID != vendorPeer || r.Response.System != "system-user@mms.hub.example" {
		t.Errorf("%+v", r)
	}
	w.deliver("250", raw) // the reply was lost
	if len(w.doors.inbound) != 1 || w.journal.owed != 2 {
		t.Errorf("%d messages, %d responses", len(w.doors.inbound), w.journal.owed)
	}
}

// TestVendorAsksForReports: of each number of ours, under the address that the header has
// for it, to where the vendor wants them.
func TestVendorAsksForReports(t *testing.T) {
	w := setup(t)
	group := "To: <+12025550101/TYPE=PLMN@mms.us.example>, <" + bob + "/TYPE=PLMN@mms.other.example>"
	for i, c := range []struct {
		asks           []string
		delivery, read bool
	}{{[]string{"X-Mms-Delivery-Report: Yes", "-X-Mms-Read-Reply"}, true, false}, {[]string{"-X-Mms-Delivery-Report", "X-Mms-Read-Reply: yes"}, false, true},
		{[]string{"X-Mms-Delivery-Report: No", "X-Mms-Read-Reply: No"}, false, false}, {[]string{"-X-Mms-Delivery-Report", "-X-Mms-Read-Reply"}, false, false}} {
		w.doors.inbound = nil
		changes := append([]string{"From: Alice <" + alice + "/TYPE=PLMN@mms.hub.example>", group, fmt.Sprintf("X-Mms-Message-ID: <v%d@hub>", i),
			"X-Mms-Originator-System: reports@mms.hub.example"}, c.asks...)
		w.deliver("250", fromVendor(changes...)+"\nx\n", number(string(own)), number("2025550109"))
		l := w.doors.inbound
		if len(l) != 2 {
			t.Fatalf("%d messages", len(l))
		}
		if !c.delivery && !c.read {
			if l[0].MM4 != nil || l[1].MM4 != nil {
				t.Errorf("nothing was asked for, and there is %+v", l[0].MM4)
			}
			continue
		}
		want := message.MM4Origin{PeerID: vendorPeer, Reference: fmt.Sprintf("v%d@hub", i), Sender: alice + "/TYPE=PLMN@mms.hub.example", Recipient: string(own) + "/TYPE=PLMN@mms.us.example",
			System: "reports@mms.hub.example", DeliveryReport: c.delivery, ReadReport: c.read}
		if l[0].MM4 == nil || *l[0].MM4 != want {
			t.Errorf("%v: %+v, want %+v", c.asks, l[0].MM4, want)
		}
		want.Recipient = number("2025550109") // the envelope alone has it
		if l[1].MM4 == nil || *l[1].MM4 != want {
			t.Errorf("%v: %+v, want %+v", c.asks, l[1].MM4, want)
		}
	}
}

// TestGroupFromVendor: one mail to numbers of two customers. Each has its own copy of
// the file, and the mail is answered when both are committed.
func TestGroupFromVendor(t *testing.T) {
	w := setup(t)
	raw := fromVendor("To: <+12025550101/TYPE=PLMN>, <+12025550109/TYPE=PLMN>, <"+bob+"/TYPE=PLMN>") + parts("mixed", picture)
	w.doors.arrive = func(m message.InboundMessage) error {
		if m.To == "+12025550109" {
			return errAway
		}
		return nil
	}
	w.deliver("451", raw, number(string(own)), number("+12025550109"))
	w.owes()
	w.doors.arrive = nil
	w.deliver("250", raw, number(string(own)), number("2025550109"), number("+12025550109"))
	w.owes("forward_res Ok")
	if l := w.doors.inbound; len(l) != 2 || l[0].Files[0].AccountID != account || l[1].Files[0].AccountID != stranger || l[1].To != "+12025550109" {
		t.Errorf("%+v", l)
	}
}

// TestCrowd: of a group no more numbers are passed on than are kept, however many a mail
// names.
func TestCrowd(t *testing.T) {
	w := setup(t)
	var crowd strings.Builder
	for i := range message.MaxGroup + 20 {
		fmt.Fprintf(&crowd, ",\n <+1310555%04d/TYPE=PLMN@x.example>", 100+i)
	}
	w.deliver("250", fromVendor("Cc: joe@x.example"+crowd.String())+"\nx\n")
	w.submit("250", text("To: <"+number(bob)+">"+crowd.String(), "Bcc: <+13105559999/TYPE=PLMN@x.example>"), number(bob))
	if g := w.doors.inbound[0].Group; len(g) != message.MaxGroup || g[0] != string(own) || g[1] != "+13105550100" {
		t.Errorf("from a vendor: %d, %v", len(g), g)
	}
	if g := w.accepted()[0].GroupRecipients; len(g) != message.MaxGroup || g[0] != bob || g[1] != "+13105550100" {
		t.Errorf("from a customer: %d, %v", len(g), g)
	}
}

func TestVendorRecipients(t *testing.T) {
	w := setup(t)
	w.deliver("550 5.1.1", fromVendor()+"\nx\n", number(bob))
	w.deliver("250", fromVendor("X-Mms-Transaction-ID: t2")+"\nx\n", number("+12025550108")) // for SMS alone
	w.owes("forward_res Error-sending-address-unresolved")
	w.deliver("553", fromVendor("X-Mms-Ack-Request: No")+"\nx\n", number("+12025550108"))
	w.deliver("553", fromVendor("X-Mms-Ack-Request: No")+"\nx\n", "system-user@mms.gw.example")
	w.deliver("554 5.6.0", fromVendor("X-Mms-Ack-Request: No")+parts("mixed", smil))
	w.deliver("550 5.7.1", fromVendor("X-Mms-Ack-Request: No", "X-Mms-Forward-Counter: 9")+"\nx\n")
	w.files.fail = errAway
	w.deliver("451", fromVendor()+parts("mixed", picture))
	if len(w.doors.inbound) > 0 {
		t.Error("something was taken")
	}
}

// TestSenderOfVendorMail: what is no number comes as it was written.
func TestSenderOfVendorMail(t *testing.T) {
	w := setup(t)
	w.deliver("250", fromVendor("From: Joe <joe@mail.example>", "Subject: =?utf-8?q?Caf=C3=A9?=")+"Content-Type: text/plain; charset=utf-8\n\nmañana ☕\n")
	if m := w.doors.inbound[0]; m.From != "joe@mail.example" || m.Subject != "Café" || m.Text != "mañana ☕" || m.Encoding != message.EncodingUCS2 || len(m.Files) != 0 {
		t.Errorf("%+v", m)
	}
}

// report is a mail about a message.
func report(kind mm4.Type, id string, changes ...string) string {
	return header(append([]string{"X-Mms-Message-Type: " + string(kind), "X-Mms-Message-ID: " + id, "X-Mms-Originator-System: system-user@mms.hub.example",
		"X-Mms-Transaction-ID: r1", "From: <" + alice + "/TYPE=PLMN@mms.hub.example>", "To: <+12025550101/TYPE=PLMN@mms.gw.example>"}, changes...)...) + "\n"
}

func TestVendorReports(t *testing.T) {
	w := setup(t)
	ref := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 2}
	w.doors.known[ref] = vendorID
	id := "<" + strings.ToUpper(ref.String()) + "@mms.gw.example>"
	want := map[mm4.MMStatus]message.ReceiptState{mm4.Retrieved: "DELIVRD", mm4.Forwarded: "DELIVRD", mm4.Expired: "EXPIRED", mm4.Rejected: "REJECTD",
		mm4.Unrecognised: "UNDELIV", mm4.Unreachable: "UNDELIV", mm4.Deferred: "ENROUTE", mm4.Indeterminate: "UNKNOWN"}
	for _, s := range mm4.MMStatuses() {
		w.doors.receipts = nil
		w.deliver("250 2.0.0", report(mm4.DeliveryReportREQ, id, "X-Mms-MM-Status-Code: "+string(s), "X-Mms-Ack-Request: No", "X-Mms-MM-Status-Extension: Rejection-By-MMS-Recipient"))
		r := w.doors.receipts[0]
		if r.State != want[s] || r.VendorID != vendorID || r.Attempt != ref || r.VendorMessageID != message.NormalizeVendorID(ref.String()+"@mms.gw.example") ||
			r.Source != alice || r.Destination != string(own) || !r.DoneAt.Equal(now) || r.Err != string(s)+" Rejection-By-MMS-Recipient" || r.ID == (message.ID{}) {
			t.Errorf("%s: %+v", s, r)
		}
		if s == mm4.Rejected && r.Reason != message.ReasonRecipientRefused {
			t.Errorf("reason %s", r.Reason)
		}
	}
	w.owes()
	w.deliver("250", report(mm4.DeliveryReportREQ, id, "X-Mms-MM-Status-Code: Retrieved"), "system-user@mms.gw.example")
	w.owes("delivery_report_res Ok")
	w.doors.down = errAway
	w.deliver("451", report(mm4.DeliveryReportREQ, id, "X-Mms-MM-Status-Code: Retrieved", "X-Mms-Transaction-ID: r2"))
	w.owes("delivery_report_res Ok")
}

// TestReportsToOtherSenders: reports come to whatever a message was sent from, which may be
// a number that is in no list of ours, or a word. No message does.
func TestReportsToOtherSenders(t *testing.T) {
	w := setup(t, func(s *snapshot.Snapshot) {
		s.Accounts[account].AllowedSourceAddresses = []string{"+18775550100", "ACME Ltd"}
		s.Accounts[account].ForceSourceAddress = "54321"
	})
	ref := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 1}
	w.doors.known[ref] = vendorID
	for i, to := range []string{number("+18775550100"), number("8775550100"), "acme-ltd@mms.gw.example", number("54321")} {
		tx := fmt.Sprintf("X-Mms-Transaction-ID: r%d", i)
		w.deliver("250", report(mm4.DeliveryReportREQ, ref.String(), tx, "X-Mms-MM-Status-Code: Retrieved", "To: <"+to+">", "X-Mms-Ack-Request: No"), to)
		w.deliver("553", fromVendor("X-Mms-Ack-Request: No", "To: <"+to+">", tx)+"\nx\n", to)
	}
	if len(w.doors.receipts) != 4 || len(w.doors.inbound) > 0 {
		t.Errorf("%d receipts, %d messages", len(w.doors.receipts), len(w.doors.inbound))
	}
	for _, to := range []string{number("+18775550101"), "acme@mms.gw.example", "@mms.gw.example", number("12345")} {
		if code, _ := w.mail(vendorIP, "", report(mm4.DeliveryReportREQ, ref.String(), "X-Mms-MM-Status-Code: Retrieved"), to); code/100 != 5 {
			t.Errorf("%s: %d", to, code)
		}
	}
	w.submit("550 5.1.1", text(), "acme-ltd@mms.gw.example")
}

// TestUnknownReports: what names no message that the peer has had from us.
func TestUnknownReports(t *testing.T) {
	w := setup(t)
	foreign := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 1}
	w.doors.known[foreign] = otherVendor
	w.journal.messages[foreign.MessageID] = &message.Message{ID: foreign.MessageID, VendorID: otherVendor, AccountID: account, Direction: message.Outbound}
	mine := message.NewID()
	w.journal.messages[mine] = &message.Message{ID: mine, AccountID: stranger, Direction: message.Inbound}
	sent := message.NewID() // by the customer itself
	w.journal.messages[sent] = &message.Message{ID: sent, AccountID: account, Direction: message.Outbound}
	n := 0
	for _, kind := range []mm4.Type{mm4.DeliveryReportREQ, mm4.ReadReplyReportREQ} {
		res := map[mm4.Type]string{mm4.DeliveryReportREQ: "delivery_report_res", mm4.ReadReplyReportREQ: "read_report_res"}[kind]
		for _, id := range []string{"x", foreign.String() + "@mms.gw.example", (message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 1}).String(), message.Hex32(mine), message.Hex32(sent)} {
			for _, send := range []func(string, string, ...string) string{w.deliver, w.submit} {
				w.journal.mails = nil
				tx := fmt.Sprintf("X-Mms-Transaction-ID: u%d", n)
				n++
				raw := report(kind, id, tx, "X-Mms-MM-Status-Code: Retrieved", "X-Mms-Read-Status: Read")
				send("250", raw, "system-user@mms.gw.example")
				w.owes(res + " Error-message-not-found")
				send("554 5.6.0", strings.Replace(raw, "X-Mms-Ack-Request: Yes\n", "", 1), "system-user@mms.gw.example")
			}
		}
	}
	if len(w.journal.reads) > 0 {
		t.Errorf("reads %v", w.journal.reads)
	}
}

func TestReadReports(t *testing.T) {
	w := setup(t)
	out, in := message.NewID(), message.NewID()
	w.journal.messages[out] = &message.Message{ID: out, VendorID: vendorID, AccountID: account, Direction: message.Outbound}
	w.journal.messages[in] = &message.Message{ID: in, VendorID: vendorID, AccountID: account, Direction: message.Inbound}
	ref := message.AttemptRef{MessageID: out, Part: 1, Attempt: 1}
	w.deliver("250", report(mm4.ReadReplyReportREQ, ref.String()+"@mms.gw.example", "X-Mms-Read-Status: Read", "Date: Fri, 02 Jan 2026 14:00:00 +0000"), "system-user@mms.gw.example")
	w.submit("250", report(mm4.ReadReplyReportREQ, mm4.MessageID(in, "mms.gw.example"), "X-Mms-Read-Status: deleted without being read", "-Date"), "system-user@mms.gw.example")
	w.owes("read_report_res Ok", "read_report_res Ok")
	want := []string{message.Hex32(out) + " 2026-01-02T14:00:00Z Read", message.Hex32(in) + " 2026-01-02T15:04:05Z Deleted without being read"}
	if fmt.Sprint(w.journal.reads) != fmt.Sprint(want) {
		t.Errorf("reads %v, want %v", w.journal.reads, want)
	}
	w.submit("250", report(mm4.DeliveryReportREQ, mm4.MessageID(in, "mms.gw.example"), "X-Mms-MM-Status-Code: Retrieved"), "system-user@mms.gw.example")
	w.owes("read_report_res Ok", "read_report_res Ok", "delivery_report_res Ok")
	if want := message.Hex32(in) + " mm4_attemptmap[report:Retrieved]"; fmt.Sprint(w.journal.notes) != "["+want+"]" {
		t.Errorf("the timeline has %v, want %s", w.journal.notes, want)
	}
	w.journal.down = errAway
	w.deliver("451", report(mm4.ReadReplyReportREQ, ref.String(), "X-Mms-Read-Status: Read"), "system-user@mms.gw.example")
}

func TestAnswers(t *testing.T) {
	w := setup(t)
	ref := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 3}
	w.doors.known[ref] = vendorID
	system := "system-user@mms.gw.example"
	res := func(id, status string) string {
		return report(mm4.ForwardRES, ref.String()+"@mms.gw.example", "X-Mms-Transaction-ID: "+id, "X-Mms-Request-Status-Code: "+status, "X-Mms-Status-Text: thanks")
	}
	w.journal.down = errAway
	w.deliver("451", res(ref.String(), "Ok"), system)
	w.journal.down = nil
	w.deliver("250", res("\""+ref.String()+"\"", "ok"), system)
	w.deliver("250", res(ref.String(), "Error-unspecified"), system) // the first counts
	if len(w.journal.answers) != 1 {
		t.Fatalf("answers %+v", w.journal.answers)
	}
	if a := w.journal.answers[0]; a.VendorID != vendorID || a.Ref() != ref || a.Status != "Ok" || a.Detail != "thanks" || !a.CameAt.Equal(now) {
		t.Errorf("%+v", a)
	}
	w.journal.answers = nil
	w.deliver("250", res("their-own", "Error-content-not-accepted"), system) // found by the message id
	if a := w.journal.answers[0]; a.Ref() != ref || a.Status != "Error-content-not-accepted" {
		t.Errorf("%+v", a)
	}
	nobodys := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 1}.String()
	w.deliver("250", strings.Replace(res(nobodys, "Ok"), "X-Mms-Message-ID: "+ref.String()+"@mms.gw.example\n", "", 1), system)
	w.deliver("250", report(mm4.ForwardRES, "x", "X-Mms-Transaction-ID: x", "X-Mms-Request-Status-Code: Ok"), system)
	in := message.NewID()
	w.journal.messages[in] = &message.Message{ID: in, AccountID: account, Direction: message.Inbound}
	for _, status := range []string{"Ok", "Error-content-not-accepted"} {
		w.submit("250", report(mm4.ForwardRES, mm4.MessageID(in, "mms.gw.example"), "X-Mms-Request-Status-Code: "+status), system)
	}
	if want := message.Hex32(in) + " mm4_attemptmap[answer:Error-content-not-accepted]"; fmt.Sprint(w.journal.notes) != "["+want+"]" {
		t.Errorf("the timeline has %v, want %s", w.journal.notes, want)
	}
	w.submit("250", res("x", "Ok"), system)
	w.deliver("250", report(mm4.DeliveryReportRES, "x", "X-Mms-Request-Status-Code: Ok"), system)
	w.submit("250", report(mm4.ReadReplyReportRES, "x", "X-Mms-Request-Status-Code: Ok"), system)
	w.owes() // there is no answer to answers
	if len(w.journal.answers) != 1 {
		t.Errorf("answers %+v", w.journal.answers)
	}
	if !strings.Contains(w.logs.String(), "refused after its peer had taken it") {
		t.Error("nobody is told of the refusal")
	}
}

func TestUnknownType(t *testing.T) {
	w := setup(t)
	w.submit("554 5.6.0", text("X-Mms-Message-Type: MM4_capability.REQ"))
	w.submit("554 5.6.0", text("-X-Mms-Message-Type"))
	w.owes()
	if len(w.accepted()) > 0 {
		t.Error("it was accepted")
	}
}
