package mm4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

func TestMailIsTaken(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + `
		> DATA
		< 354
		mail
		< 250 2.0.0 id-1` + "\n" + envelope + `
		> DATA
		< 354
		mail
		< 250 2.0.0 id-2
		> QUIT
		< 221
		end`)
	got := w.desk.got()
	if len(got) != 2 {
		t.Fatalf("%d mails", len(got))
	}
	for _, m := range got {
		checkUsual(t, m)
		if f := m.Session; f.Hello != "mms.pbx.example" || f.TLS || f.Username != "" || f.Address.String() != "127.0.0.1" || f.ID == 0 {
			t.Errorf("facts %+v", f)
		}
	}
	_ = c.Close()
	w.closed()
	for _, secret := range []string{"15551230001", "15551230002", "noon", "Lunch"} {
		if strings.Contains(w.logs.String(), secret) {
			t.Errorf("the log shows %q:\n%s", secret, w.logs)
		}
	}
	if !strings.Contains(w.logs.String(), "+1555*****01") {
		t.Errorf("no masked number in the log:\n%s", w.logs)
	}
}

func TestEveryReply(t *testing.T) {
	many := strings.Repeat("> RCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\n< 250 2\n", 3) // once is enough for us
	for _, tt := range []struct {
		name, script string
		change       func(w *world, p *Peer)
	}{
		{"250 for a report to the system", hello + "> MAIL FROM:<system-user@mms.pbx.example>\n< 250 2\n> RCPT TO:<System-User@MMS.GW.example>\n< 250 2\n> RCPT TO:<+15551230002/TYPE=PLMN@mms.two.example>\n< 250 2", nil},
		{"250 for the null sender", hello + "> MAIL FROM:<>\n< 250 2", nil},
		{"250 for HELO", "< 220\n> HELO x\n< 250 2.0.0\n" + envelope, nil},
		{"421 4.3.2 too many commands", hello + strings.Repeat("> NOOP\n< 250 2\n", 9) + "> NOOP\n< 421 4.3.2\nend", func(w *world, _ *Peer) { w.Limits.Commands = 10 }},
		{"450 4.7.1 rate", hello + "> MAIL FROM:<>\n< 250\n> RSET\n< 250\n> MAIL FROM:<>\n< 450 4.7.1\n> NOOP\n< 250", func(_ *world, p *Peer) { p.Rate = 1 }},
		{"451 4.3.0 at RCPT", hello + "> MAIL FROM:<>\n< 250\n> RCPT TO:<12345/TYPE=PLMN@mms.gw.example>\n< 451 4.3.0 the mail could not be stored; send it again", func(w *world, _ *Peer) {
			w.desk.recipient = func(*Peer, mm4.Address) error { return errOdd }
		}},
		{"452 4.3.1 no room", hello + envelope + "> DATA\n< 354\nmail\n< 452 4.3.1\n> NOOP\n< 250", func(w *world, _ *Peer) { w.Limits.SpoolOctets = 100 }},
		{"452 4.5.3 recipients", hello + envelope + many + "> RCPT TO:<+15551230003/TYPE=PLMN@mms.gw.example>\n< 250\n> RCPT TO:<+15551230004/TYPE=PLMN@mms.gw.example>\n< 452 4.5.3\n> DATA\n< 354\nmail\n< 250 2.0.0", func(_ *world, p *Peer) { p.MaxRecipients = 2 }},
		{"550 5.1.1 nobody", hello + "> MAIL FROM:<>\n< 250\n> RCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\n< 550 5.1.1", func(w *world, _ *Peer) {
			w.desk.recipient = func(*Peer, mm4.Address) error {
				return message.Refuse(message.ReasonNotFound, "no such number")
			}
		}},
		{"550 5.1.1 no relay", hello + "> MAIL FROM:<>\n< 250\n> RCPT TO:<+15551230002/TYPE=PLMN@mms.elsewhere.example>\n< 550 5.1.1\n> DATA\n< 503 5.5.1", nil},
		{"550 5.7.1 denied", hello + "> MAIL FROM:<>\n< 250\n> RCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\n< 550 5.7.1 closed", func(w *world, _ *Peer) {
			w.desk.recipient = func(*Peer, mm4.Address) error {
				return message.Refuse(message.ReasonAccountSuspended, "closed")
			}
		}},
		{"552 5.3.4 SIZE", hello + "> MAIL FROM:<> SIZE=5001\n< 552 5.3.4\n> MAIL FROM:<> SIZE=99999999999999999999\n< 552 5.3.4\n> MAIL FROM:<> SIZE=5000\n< 250", func(_ *world, p *Peer) { p.MaxSize = 5000 }},
		{"553 5.1.3 not a number", hello + "> MAIL FROM:<>\n< 250\n> RCPT TO:<+1555123000299999/TYPE=PLMN@mms.gw.example>\n< 553 5.1.3\n> RCPT TO:<+15551230002/TYPE=FAX@mms.gw.example>\n< 553 5.1.3\n> RCPT TO:<192.0.2.1/TYPE=IPv4@mms.gw.example>\n< 553 5.1.3", nil},
		{"554 5.6.0 no MM4", hello + envelope + "> DATA\n< 354\n>> \"Subject: hi\\r\\n\\r\\nhello\\r\\n.\\r\\n\"\n< 554 5.6.0\n> NOOP\n< 250", nil},
		{"500 unknown command", hello + "> FLYX\n< 500 5.5.2", nil},
		{"500 empty command", hello + ">\n< 500 5.5.2", nil},
		{"500 too long", "< 220\n> EHLO " + strings.Repeat("x", 1000) + "\n< 500 5.5.2\nend", nil},
		{"500 too long for any buffer", "< 220\n> EHLO " + strings.Repeat("x", 9000) + "\n< 500 5.5.2\nend", nil},
		{"500 bare LF", "< 220\n>> \"EHLO x\\n\"\n< 500 5.5.2\nend", nil},
		{"500 CR within", "< 220\n>> \"EHLO x\\rMAIL\\r\\n\"\n< 500 5.5.2\nend", nil},
		{"500 NUL within", "< 220\n>> \"EHLO x\\x00\\r\\n\"\n< 500 5.5.2\nend", nil},
		{"501 letters that are not ASCII", hello + "> MAIL FROM:<jürgen@mms.pbx.example>\n< 501 5.5.4\n>> \"NOOP \\x1b[2J\\r\\n\"\n< 501 5.5.4\n> NOOP\n< 250", nil},
		{"501 EHLO without a name", "< 220\n> EHLO\n< 501\n> MAIL FROM:<>\n< 503 5.5.1", nil},
		{"501 sender", hello + "> MAIL FROM:<no one@x>\n< 501 5.5\n> MAIL FROM:<+1/TYPE=PLMN@mms.pbx.example>\n< 501 5.5.4\n> MAIL TO:<>\n< 501", nil},
		{"501 SIZE", hello + "> MAIL FROM:<> SIZE=abc\n< 501 5.5.4", nil},
		{"501 STARTTLS or DATA with parameters", hello + envelope + "> DATA now\n< 501 5.5.4", nil},
		{"502 no STARTTLS", hello + "> STARTTLS\n< 502 5.5.1", nil},
		{"502 BDAT, and its octets are no commands", hello + envelope + ">> \"BDAT 24 LAST\\r\\nMAIL FROM:<x@y>\\r\\nNOOP\\r\\n\"\n< 502 5.5.1\nend", nil},
		{"502 EXPN", hello + "> EXPN all\n< 502 5.5.1", nil},
		{"252 VRFY tells nothing", hello + "> VRFY +15551230002\n< 252", nil},
		{"503 before EHLO", "< 220\n> MAIL FROM:<>\n< 503 5.5.1\n> RCPT TO:<x@y>\n< 503 5.5.1\n> DATA\n< 503 5.5.1\n> AUTH PLAIN\n< 503 5.5.1", nil},
		{"503 a second MAIL", hello + "> MAIL FROM:<>\n< 250\n> MAIL FROM:<>\n< 503 5.5.1\n> RSET\n< 250\n> MAIL FROM:<>\n< 250", nil},
		{"503 DATA without a recipient", hello + "> MAIL FROM:<>\n< 250\n> DATA\n< 503 5.5.1", nil},
		{"503 after EHLO again", hello + envelope + "> EHLO y\n< 250 \n> DATA\n< 503 5.5.1", nil},
		{"504 SMTPUTF8 is not offered", hello + "> MAIL FROM:<> SMTPUTF8\n< 504 5.5.4\n> MAIL FROM:<> BODY=BINARYMIME\n< 504 5.5.4\n> MAIL FROM:<> BODY=8BITMIME\n< 250", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := acme()
			w := setup(t, p)
			if tt.change != nil {
				tt.change(w, &p)
				d := directory(t, p)
				w.Peers = func() *Directory { return d }
			}
			w.listen().dial("127.0.0.1").dialogue(tt.script)
		})
	}
}

func TestEHLOOffers(t *testing.T) {
	p := acme()
	p.MaxSize = 12345
	w := setup(t, p).listen()
	c := w.dial("127.0.0.1")
	c.want("220 mm4.gw.example")
	c.send("EHLO x\r\n")
	got := c.want("250 ")
	if want := "250-Hello x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 12345\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDeskRefusals: every reason of the catalogue has its reply, and a 4xx is one that
// may pass.
func TestDeskRefusals(t *testing.T) {
	w := setup(t)
	reasons := make(chan error, 1)
	w.desk.accept = func(_ context.Context, _ *Mail) (string, error) { return "", <-reasons }
	w.listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello)
	for _, e := range message.Catalogue() {
		reasons <- message.Refuse(e.Reason, "the detail of %s", e.Reason)
		c.dialogue(envelope + "> DATA\n< 354\nmail")
		r, readErr := c.reply()
		if readErr != nil {
			t.Fatal(e.Reason, readErr)
		}
		want := mm4.ReplyOf(e.Reason)
		if got := line(say(want, "the detail of %s", e.Reason)); r != got {
			t.Errorf("%s: %q, want %q", e.Reason, r, got)
		}
		if (r[0] == '4') != e.Reason.Temporary() || r[0] != '4' && r[0] != '5' {
			t.Errorf("%s: %q", e.Reason, r)
		}
	}
	for _, odd := range []error{errOdd, &mm4.Fault{Status: mm4.StatusUnsupported, Detail: "no"}} {
		reasons <- odd
		c.dialogue(envelope + "> DATA\n< 354\nmail")
		want := "451 4.3.0 the mail could not be stored; send it again\r\n"
		if odd != errOdd {
			want = "554 5.6.0 no\r\n"
		}
		if got := c.want(want[:9]); got != want {
			t.Errorf("%v: %q", odd, got)
		}
	}
}

func TestReplyTextIsHarmless(t *testing.T) {
	w := setup(t)
	w.desk.accept = func(context.Context, *Mail) (string, error) {
		return "", message.Refuse(message.ReasonFiltered, "a\r\n250 2.0.0 ok\x00é%s", strings.Repeat("x", 2000))
	}
	c := w.listen().dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354\nmail")
	if got := c.want("554 5.6.0 a??250 2.0.0 ok??x"); len(got) > 512 {
		t.Errorf("%d octets", len(got))
	}
}

// TestOthersClient: a client that is not ours is understood.
func TestOthersClient(t *testing.T) {
	w := setup(t).listen()
	c, err := smtp.Dial(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 3 {
		err := c.SendMail("+15551230001/TYPE=PLMN@mms.pbx.example", []string{"+15551230002/TYPE=PLMN@mms.gw.example"}, strings.NewReader(strings.ReplaceAll(usual, "\r\n..", "\r\n.")))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	got := w.desk.got()
	if len(got) != 3 {
		t.Fatalf("%d mails", len(got))
	}
	for _, m := range got {
		checkUsual(t, m)
	}
	raw := "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;"
	if sum := sha256.Sum256([]byte(raw)); got[0].sums[0] != hex.EncodeToString(sum[:]) {
		t.Error("the picture is another one")
	}
}
