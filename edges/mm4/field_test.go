package mm4

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// The tests of this file are mistakes that MM4 servers in the field make, each once.

// TestFieldReportsAreNoMessages: reports were taken for messages. Each of the six types
// arrives as what it is, and what is no forward has no texts and no files.
func TestFieldReportsAreNoMessages(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello)
	for i, kind := range mm4.Types() {
		mail := strings.Replace(usual, string(mm4.ForwardREQ), strings.ToUpper(string(kind)), 1)
		mail = "X-Mms-Request-Status-Code: Ok\r\nX-Mms-MM-Status-Code: Retrieved\r\nX-Mms-Read-Status: Read\r\n" + mail
		c.dialogue("> MAIL FROM:<system-user@mms.pbx.example>\n< 250\n> RCPT TO:<system-user@mms.gw.example>\n< 250\n> DATA\n< 354")
		c.send(mail + ".\r\n")
		c.want("250 2.0.0")
		m := w.desk.got()[i]
		forward := kind == mm4.ForwardREQ
		if m.Header.Type != kind || (len(m.Texts) > 0) != forward || (len(m.Files) > 0) != forward {
			t.Errorf("%s came as %s with %d texts, %d files", kind, m.Header.Type, len(m.Texts), len(m.Files))
		}
	}
}

// TestOddBodiesOfReports: what is said in the header is not lost for a body that cannot be
// read, but for one that is too large.
func TestOddBodiesOfReports(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello)
	report := strings.Replace(top, string(mm4.ForwardREQ), string(mm4.ForwardRES), 1) + "X-Mms-Request-Status-Code: Ok\r\n"
	for _, tt := range []struct{ body, want string }{
		{"Content-Type: multipart/report\r\n\r\nthanks\r\n", "250 2.0.0"},
		{"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nbroken off\r\n", "250 2.0.0"},
		{"Content-Transfer-Encoding: x-uuencode\r\n\r\nthanks\r\n", "250 2.0.0"},
		{"\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", DefaultMaxSize/72), "552 5.3.4"},
	} {
		c.dialogue("> MAIL FROM:<system-user@mms.pbx.example>\n< 250\n> RCPT TO:<system-user@mms.gw.example>\n< 250\n> DATA\n< 354")
		c.send(report + tt.body + ".\r\n")
		c.want(tt.want)
	}
	if got := w.desk.got(); len(got) != 3 || got[0].Header.RequestStatus != mm4.StatusOK {
		t.Errorf("%d mails: %+v", len(got), got)
	}
}

// TestFieldEveryTransferEncoding: parts that are not base64 were refused after the 250.
// Here each is read, and before the reply.
func TestFieldEveryTransferEncoding(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello)
	card := "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoë\r\nEND:VCARD"
	for i, tt := range []struct{ encoding, text, card string }{
		{"7bit", "noon", strings.Replace(card, "ë", "e", 1)},
		{"8bit", "Café", card},
		{"binary", "Café", card},
		{"", "Café", card},
		{"quoted-printable", "Caf=C3=A9", strings.Replace(card, "ë", "=C3=AB", 1)},
		{"base64", "Q2Fmw6k=", b64(card)},
		{"BASE64", "Q2Fmw6k=", b64(card)},
	} {
		head := "\r\n"
		if tt.encoding != "" {
			head = "Content-Transfer-Encoding: " + tt.encoding + "\r\n\r\n"
		}
		c.dialogue("> MAIL FROM:<x@mms.pbx.example> BODY=8BITMIME\n< 250\n> RCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\n< 250\n> DATA\n< 354")
		c.send(top + "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n" + head + tt.text +
			"\r\n--x\r\nContent-Type: text/x-vcard\r\n" + head + tt.card + "\r\n--x--\r\n.\r\n")
		c.want("250 2.0.0")
		m := w.desk.got()[i]
		want := "Café"
		if tt.encoding == "7bit" {
			want = "noon"
		}
		if len(m.Texts) != 1 || m.Texts[0].Text != want || len(m.Files) != 1 || m.Files[0].Object().ContentType != "text/vcard" {
			t.Errorf("%s: %+v", tt.encoding, m.Mail)
		}
		if size := m.Files[0].Object().Size; tt.encoding != "7bit" && size != int64(len(card)) {
			t.Errorf("%s: %d octets, want %d", tt.encoding, size, len(card))
		}
	}
}

// TestFieldNothingIsRefusedBehind250: what cannot be read was found out after the
// reply. Here the reply tells it.
func TestFieldNothingIsRefusedBehind250(t *testing.T) {
	w := setup(t).listen()
	w.dial("127.0.0.1").dialogue(hello + envelope + "> DATA\n< 354\n" +
		fmt.Sprintf(">> %q\n", part("Content-Type: image/gif\nContent-Transfer-Encoding: x-uuencode\n", "begin 644 x\r\n.\r\n")) + "< 554 5.6.0")
	if len(w.desk.got()) > 0 {
		t.Error("the desk has it")
	}
}

// TestFieldWhatAResponseNeeds: no response was ever sent. What one needs comes with
// the mail.
func TestFieldWhatAResponseNeeds(t *testing.T) {
	w := setup(t).listen()
	w.dial("127.0.0.1").dialogue(hello + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0")
	h := w.desk.got()[0].Header
	to, ok := h.ResponseTo()
	if h.AckRequest != mm4.Yes || h.TransactionID != "t1" || h.MessageID != "m1@mms.pbx.example" || !ok || to.String() != "system-user@mms.pbx.example" {
		t.Errorf("%+v", h)
	}
}

// TestFieldGoneWithoutQUIT: an error behind the final 250 was taken for a failure of
// the mail. 250 is custody, and what follows changes nothing.
func TestFieldGoneWithoutQUIT(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0")
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	w.closed()
	if len(w.desk.got()) != 1 || len(w.told) != 1 || w.told[0] != "acme MM4_forward.REQ 250" {
		t.Errorf("%d mails, told %q", len(w.desk.got()), w.told)
	}
}

// TestFieldForeignSender: a customer's mail from a number of another was taken. Whose
// number it is the Desk knows, and it knows whose mail it is, whatever MAIL FROM says.
func TestFieldForeignSender(t *testing.T) {
	w := setup(t)
	w.desk.accept = func(_ context.Context, m *Mail) (string, error) {
		if m.Peer.AccountID != acme().AccountID || m.Header.From.Local == "+15551230001" {
			return "", message.Refuse(message.ReasonUnauthorizedSender, "the sender is not yours")
		}
		return "id", nil
	}
	w.listen().dial("127.0.0.1").dialogue(hello + envelope + "> DATA\n< 354\nmail\n< 550 5.7.1 the sender is not yours")
}

// TestFieldEHLOAndHELO: EHLO was answered, and understood, in one line only. Ours has
// several, which is for the client to read; one that knows HELO alone is served too.
func TestFieldEHLOAndHELO(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.want("220")
	c.send("EHLO x\r\n")
	if got := c.want("250 "); strings.Count(got, "\r\n") < 4 {
		t.Errorf("%q", got)
	}
	w.dial("127.0.0.1").dialogue("< 220\n> HELO x\n< 250\n" + envelope + "> DATA\n< 354\nmail\n< 250 2.0.0")
}
