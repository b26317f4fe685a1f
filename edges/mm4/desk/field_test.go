package desk_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// The tests of this file are mistakes that gateways in the field make with MM4, each
// once.

// TestFieldResponseToEachForward: no MM4_forward.RES was ever sent.
func TestFieldResponseToEachForward(t *testing.T) {
	w := setup(t)
	w.submit("250", text())
	w.deliver("250", fromVendor()+"\nx\n")
	w.owes("forward_res Ok", "forward_res Ok")
}

// TestFieldReportsAreNoMessages: reports and responses were taken for messages.
func TestFieldReportsAreNoMessages(t *testing.T) {
	w := setup(t)
	for i, kind := range mm4.Types() {
		if kind == mm4.ForwardREQ {
			continue
		}
		raw := report(kind, "m1", fmt.Sprintf("X-Mms-Transaction-ID: %d", i), "X-Mms-Request-Status-Code: Ok", "X-Mms-MM-Status-Code: Retrieved", "X-Mms-Read-Status: Read")
		w.submit("250", raw, "system-user@mms.gw.example")
		w.deliver("250", raw, "system-user@mms.gw.example")
	}
	if len(w.accepted())+len(w.doors.inbound) > 0 {
		t.Error("a report became a message")
	}
}

// TestFieldSevenBitParts: parts that are not base64 were refused after the 250.
func TestFieldSevenBitParts(t *testing.T) {
	w := setup(t)
	w.submit("250", header()+parts("mixed", "text/plain\nContent-Transfer-Encoding: 7bit|plain", "text/plain\nContent-Transfer-Encoding: quoted-printable|=C3=A9", picture))
	if r := w.accepted()[0]; r.Body != "plain\né" || len(r.Media) != 1 {
		t.Errorf("%+v", r)
	}
}

// TestFieldOneMessage: text and media of one inbound MMS became two messages, in either
// order, and one that came twice was delivered twice.
func TestFieldOneMessage(t *testing.T) {
	w := setup(t)
	raw := fromVendor() + parts("mixed", "text/plain|look", picture)
	for range 3 {
		w.deliver("250", raw)
	}
	if l := w.doors.inbound; len(l) != 1 || l[0].Text != "look" || len(l[0].Files) != 1 {
		t.Errorf("%+v", l)
	}
}

// TestFieldTextAndMediaKept: the text of an MMS was dropped, and files of no octets were
// sent as a success.
func TestFieldTextAndMediaKept(t *testing.T) {
	w := setup(t)
	w.submit("250", header()+parts("mixed", picture, "text/plain|words"))
	if r := w.accepted()[0]; r.Body != "words" || len(r.Media) != 1 {
		t.Errorf("%+v", r)
	}
	w.submit("554", header("X-Mms-Transaction-ID: t2", "X-Mms-Ack-Request: No")+parts("mixed", "audio/amr\nContent-Transfer-Encoding: base64|"))
	if len(w.accepted()) != 1 {
		t.Error("an empty file was taken")
	}
}

// TestFieldAddressWithoutMail: an error after the final 250 counted as a failure, and the
// mail went out again.
func TestFieldAddressWithoutMail(t *testing.T) {
	w := setup(t)
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for _, s := range []string{"", "EHLO x", "MAIL FROM:<a@mms.pbx.example>", "RCPT TO:<" + number(alice) + ">", "DATA", strings.ReplaceAll(text(), "\n", "\r\n") + "."} {
		if s != "" {
			fmt.Fprintf(conn, "%s\r\n", s)
		}
		for line := "xxx-"; len(line) > 3 && line[3] == '-'; {
			if line, err = r.ReadString('\n'); err != nil || line[0] > '3' {
				t.Fatalf("%q after %.20q: %v", line, s, err)
			}
		}
	}
	_ = conn.Close() // without QUIT
	w.submit("250", text())
	if len(w.accepted()) != 1 {
		t.Errorf("%d messages", len(w.accepted()))
	}
}

// TestFieldOneOfManyAtOnce: the same mail by eight connections at a time is one message.
func TestFieldOneOfManyAtOnce(t *testing.T) {
	w := setup(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if code, said := w.mail(customerIP, "a@mms.pbx.example", text(), number(alice)); code != 250 {
				t.Errorf("%d %s", code, said)
			}
		})
	}
	group.Wait()
	if len(w.accepted()) != 1 {
		t.Errorf("%d messages", len(w.accepted()))
	}
	w.owes("forward_res Ok")
}

// TestFieldNothingInLogs: numbers and texts were in the logs.
func TestFieldNothingInLogs(t *testing.T) {
	w := setup(t)
	w.doors.refuse = func(r ingress.Request) error { return message.Refuse(message.ReasonOptedOut, "%s has stopped", r.To) }
	w.submit("250", strings.Replace(text("Subject: secret"), "hello", "secret", 1))
	w.deliver("250", fromVendor("Subject: secret")+"\nsecret\n")
	w.submit("250", report(mm4.ForwardRES, "x", "X-Mms-Request-Status-Code: Error-unspecified", "X-Mms-Status-Text: secret "+alice), "system-user@mms.gw.example")
	for _, word := range []string{"secret", alice, alice[1:], string(own)[1:]} {
		if strings.Contains(w.logs.String(), word) {
			t.Errorf("%q is in the log:\n%s", word, w.logs)
		}
	}
}
