package mm4

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
)

// TestCutAtEveryOctet: of a mail that breaks off, wherever, nothing reaches the Desk
// and nothing stays in the spool.
func TestCutAtEveryOctet(t *testing.T) {
	w := setup(t)
	w.Limits = Limits{ConnectRate: 1 << 20, SessionsPerAddress: 1 << 20, Sessions: 1 << 20}
	a := acme()
	a.MaxSessions = 1 << 20
	d := directory(t, a)
	w.Peers = func() *Directory { return d }
	w.listen()
	whole := usual + ".\r\n"
	for cut := range len(whole) {
		c := w.dial("127.0.0.1")
		c.send(begun + whole[:cut])
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c.r)
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Split(string(b), "\r\n"); !strings.Contains(string(b), "\r\n354 ") || strings.Contains(lines[len(lines)-2], "250 ") {
			t.Fatalf("cut at %d: %q", cut, b)
		}
		_ = c.Close()
	}
	w.closed()
	if got := w.desk.got(); len(got) > 0 {
		t.Fatalf("%d mails that broke off reached the desk", len(got))
	}
	if files := w.spooled(); len(files) > 0 {
		t.Errorf("files are left in the spool: %v", files)
	}
	for _, told := range w.told {
		if !strings.HasSuffix(told, " 0") {
			t.Fatalf("a lost mail was told as %q", told)
		}
	}
}

// TestSplitAtEveryOctet: however a mail comes in segments, it is read the same.
func TestSplitAtEveryOctet(t *testing.T) {
	w := setup(t)
	p := w.pipes()
	c := p.dial("127.0.0.1")
	c.dialogue(hello)
	whole := usual + ".\r\n"
	for at := 1; at < len(whole); at++ {
		c.dialogue(envelope + "> DATA\n< 354")
		c.send(whole[:at]) // a write to a pipe returns once it was read
		c.send(whole[at:])
		c.want("250 2.0.0")
	}
	c.dialogue(envelope + "> DATA\n< 354")
	for i := range len(whole) {
		c.send(whole[i : i+1])
	}
	c.want("250 2.0.0")
	got := w.desk.got()
	if len(got) != len(whole) {
		t.Fatalf("%d mails, want %d", len(got), len(whole))
	}
	for _, m := range got {
		if checkUsual(t, m); t.Failed() || m.sums[0] != got[0].sums[0] {
			t.Fatal("a mail was read otherwise")
		}
	}
}

// TestPipelined: everything at once, as RFC 2920 lets a client; also commands behind
// the mail.
func TestPipelined(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.send(begun + usual + ".\r\n" + strings.TrimPrefix(begun, "EHLO mms.pbx.example\r\n") + usual + ".\r\nNOOP\r\nQUIT\r\n")
	c.dialogue("< 220\n< 250 \n< 250 2\n< 250 2\n< 354\n< 250 2.0.0 id-1\n< 250 2\n< 250 2\n< 354\n< 250 2.0.0 id-2\n< 250 2\n< 221\nend")
	for _, m := range w.desk.got() {
		checkUsual(t, m)
	}
}

// TestSmuggling: what other servers take for the end of a mail is a part of it here, so
// the commands behind it are text.
func TestSmuggling(t *testing.T) {
	inner := "MAIL FROM:<+15550000000/TYPE=PLMN@mms.pbx.example>\r\nRCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\r\nDATA\r\n" + usual
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n", "\n.\r", "\r\n.\r\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\r\n .\r\n"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			w := setup(t).listen()
			c := w.dial("127.0.0.1")
			c.dialogue(hello + envelope + "> DATA\n< 354")
			c.send(top + "\r\nhello" + end + inner + ".\r\n")
			c.want("250 2.0.0 id-1")
			c.dialogue("> QUIT\n< 221\nend")
			got := w.desk.got()
			if len(got) != 1 || len(got[0].Texts) != 1 || !strings.Contains(got[0].Texts[0].Text, "MAIL FROM:<+15550000000") {
				t.Fatalf("%d mails: %+v", len(got), got)
			}
		})
	}
}

// TestEndBehindTwoCRs: the end is where RFC 5321 has it, and not further on; else the
// next mail would be part of this one.
func TestEndBehindTwoCRs(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	c.send(top + "\r\nhello\r\r\n.\r\n")
	c.dialogue("< 250 2.0.0 id-1\n> NOOP\n< 250")
}

// TestDATARefusedMailIsNoCommands: a client that does not wait for 354 is told so for
// each line, and sent away; nothing of its mail is done.
func TestDATARefusedMailIsNoCommands(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello)
	c.send("DATA\r\n" + usual + ".\r\n")
	c.want("503 5.5.1")
	b, err := io.ReadAll(c.r)
	if err != nil || !strings.HasSuffix(string(b), "500 5.5.1 Too many errors. Quiting now\r\n") {
		t.Errorf("%q, %v", b, err)
	}
	if len(w.desk.got()) > 0 {
		t.Error("the desk has a mail")
	}
}

// TestTooLargeWithoutSIZE: a mail that says no size and has too much is read to its end
// and refused, with nothing kept, and the session goes on.
func TestTooLargeWithoutSIZE(t *testing.T) {
	p := acme()
	p.MaxSize = 100 << 10
	w := setup(t, p).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	c.send(top + "Content-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for range 5000 {
		c.send(strings.Repeat("A", 76) + "\r\n")
	}
	c.send(".\r\n")
	c.want("552 5.3.4")
	if files := w.spooled(); len(files) > 0 {
		t.Errorf("files are left in the spool: %v", files)
	}
	c.dialogue(envelope + "> DATA\n< 354\nmail\n< 250 2.0.0 id-1")
}

// TestExactlyAsLarge: the limit itself is allowed.
func TestExactlyAsLarge(t *testing.T) {
	for _, more := range []int64{0, -1} {
		p := acme()
		p.MaxSize = int64(len(usual)-1) + more
		w := setup(t, p).listen()
		want := map[int64]string{0: "250 2.0.0", -1: "552 5.3.4"}[more]
		w.dial("127.0.0.1").dialogue(hello + envelope + "> DATA\n< 354\nmail\n< " + want)
	}
}

// TestEndlessMail: of a mail that is refused already no more than drainOctets is read.
func TestEndlessMail(t *testing.T) {
	p := acme()
	p.MaxSize = 1000
	w := setup(t, p).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	block := []byte(strings.Repeat(strings.Repeat("A", 998)+"\r\n", 1000))
	for {
		if _, err := c.Write(block); err != nil {
			break
		}
	}
	_ = c.Close()
	w.closed()
	if len(w.told) != 1 || w.told[0] != "acme  0" {
		t.Errorf("told %q", w.told)
	}
}

// part is a mail of one part.
func part(head, body string) string {
	return top + crlf(head) + "\r\n" + body
}

func TestRefusedContent(t *testing.T) {
	long := "Content-Type: text/plain\n"
	for _, tt := range []struct{ name, mail, want string }{
		{"no type", "Subject: x\r\n\r\nhello\r\n", "554 5.6.0 X-Mms-Message-Type:"},
		{"unknown type", strings.Replace(part(long, "x\r\n"), "forward.REQ", "capability.REQ", 1), "554 5.6.0 X-Mms-Message-Type:"},
		{"no transaction", strings.Replace(part(long, "x\r\n"), "Transaction-ID", "Other", 1), "554 5.6.0 X-Mms-Transaction-ID:"},
		{"no From", strings.Replace(part(long, "x\r\n"), "From:", "Fro:", 1), "553 5.1.3 From:"},
		{"header too long", part("X-Long: "+strings.Repeat("x ", 40000)+"\n", "x\r\n"), "554 5.6.0 line 9 of a header"},
		{"bare LF in the header", strings.Replace(part(long, "x\r\n"), "\r\n", "\n", 1), "554 5.6.0 line 1 of the header"},
		{"a program", part("Content-Type: image/gif\n", "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"+strings.Repeat("\x00", 200)+"\r\n"), "554 5.6.0 the file is"},
		{"HTML alone", part("Content-Type: text/html\n", "<!DOCTYPE html><html><body>hi</body></html>\r\n"), "554 5.6.0 the file is"},
		{"HTML alone among alternatives", part("Content-Type: multipart/alternative; boundary=x\n", "--x\r\nContent-Type: text/html\r\n\r\n<!DOCTYPE html><html></html>\r\n--x--\r\n"), "554 5.6.0 the file is"},
		{"an empty file", part("Content-Type: image/gif\n", ""), "554 5.6.0 the file is empty"},
		{"text too long", part(long, strings.Repeat("0123456789 abcdef\r\n", 5000)), "554 5.6.0 the texts of the mail"},
		{"cut before the last boundary", strings.Replace(usual, "--b-1--", "", 1), "554 5.6.0 the mail ends before"},
		{"base64 breaks off", strings.Replace(usual, gif, gif+"A", 1), "554 5.6.0 Content-Transfer-Encoding:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := setup(t).listen()
			c := w.dial("127.0.0.1")
			c.dialogue(hello + envelope + "> DATA\n< 354")
			c.send(tt.mail + ".\r\n")
			c.want(tt.want)
			if got := w.desk.got(); len(got) > 0 {
				t.Errorf("the desk has %+v", got)
			}
			c.dialogue(envelope + "> DATA\n< 354\nmail\n< 250 2.0.0 id-1") // the stream is in step
		})
	}
}

// TestAlternatives: of parts that say the same one is enough.
func TestAlternatives(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	c.send(part("Content-Type: multipart/alternative; boundary=x\n", crlf("--x\nContent-Type: text/html\n\n<!DOCTYPE html><html></html>\n--x\nContent-Type: text/plain\n\nhi\n--x--\n")) + ".\r\n")
	c.want("250 2.0.0")
	if m := w.desk.got()[0]; len(m.Texts) != 1 || m.Texts[0].Text != "hi" || m.Texts[0].Alternative.Group != 1 || m.Texts[0].Index != 1 || len(m.Files) != 0 {
		t.Errorf("%+v", m.Mail)
	}
}

// refuser is a Desk that answers refused requests with responses.
type refuser struct {
	*desk
	refuse func(m *Mail, cause error) (string, error)
}

func (r refuser) Refuse(_ context.Context, m *Mail, cause error) (string, error) {
	return r.refuse(m, cause)
}

// TestRefuser: a request that wants a response gets one instead of a reply, if the Desk
// commits to it, and if a response can tell the cause.
func TestRefuser(t *testing.T) {
	html := part("Content-Type: text/html\n", "<!DOCTYPE html><html></html>\r\n")
	for _, tt := range []struct {
		name, mail, want string
		err              error
		asked            bool
	}{
		{"content", html, "250 2.0.0 res-1", nil, true},
		{"type", strings.Replace(html, "forward.REQ", "capability.REQ", 1), "554 5.6.0", nil, false},
		{"header", strings.Replace(html, "From:", "Fro:", 1), "250 2.0.0 res-1", nil, true},
		{"the desk cannot", html, "554 5.6.0 the file is", errOdd, true},
		{"nobody asked", strings.Replace(html, "Ack-Request: Yes", "Ack-Request: No", 1), "554 5.6.0 the file is", nil, false},
		{"too large", part("Content-Type: image/gif\n", strings.Repeat("A\r\n", 5000)), "552 5.3.4", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := acme()
			p.MaxSize = 10_000
			w := setup(t, p)
			asked := false
			w.Desk = refuser{w.desk, func(m *Mail, cause error) (string, error) {
				asked = true
				if m.Header.TransactionID != "t1" || cause == nil || len(m.Files)+len(m.Texts) > 0 || len(m.To) != 1 {
					t.Errorf("%+v for %v", m, cause)
				}
				return "res-1", tt.err
			}}
			c := w.listen().dial("127.0.0.1")
			c.dialogue(hello + envelope + "> DATA\n< 354")
			c.send(tt.mail + ".\r\n")
			c.want(tt.want)
			if asked != tt.asked {
				t.Errorf("asked: %v", asked)
			}
		})
	}
}

// TestSpoolFails: a full disk is ours to mend, and the mail may come again.
func TestSpoolFails(t *testing.T) {
	w := setup(t)
	w.Spool = spoolFunc(func(io.Reader) error {
		return message.Because(message.ReasonUnavailable, errOdd, "the media store cannot be used now")
	})
	w.listen().dial("127.0.0.1").dialogue(hello + envelope + "> DATA\n< 354\nmail\n< 45")
	w.Spool = spoolFunc(func(io.Reader) error { panic("the spool") })
	w.dial("127.0.0.1").dialogue(hello + envelope + "> DATA\n< 354\nmail\n< 451 4.3.0\n> NOOP\n< 250")
	if len(w.desk.got()) > 0 {
		t.Error("the desk has a mail")
	}
}

type spoolFunc func(r io.Reader) error

func (f spoolFunc) Receive(_ context.Context, r io.Reader, _ int64) (*media.Upload, error) {
	return nil, f(r)
}

// TestLargeMailTakesNoMemory: 50 MB pass through without being held.
func TestLargeMailTakesNoMemory(t *testing.T) {
	const size = 50 << 20
	p := acme()
	p.MaxSize = 2 * size
	w := setup(t, p).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	c.send(top + "Content-Type: video/mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	film := append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"), bytes.Repeat([]byte{0xa5}, 57*1000-24)...)
	var block bytes.Buffer
	for at := 0; at < len(film); at += 57 {
		block.WriteString(base64.StdEncoding.EncodeToString(film[at:at+57]) + "\r\n")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sent := 0
	for sent < size {
		if _, err := c.Write(block.Bytes()); err != nil {
			t.Fatal(err)
		}
		sent += len(film)
	}
	c.send(".\r\n")
	c.want("250 2.0.0")
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
		t.Errorf("%d octets were allocated for a mail of %d", took, sent)
	}
	m := w.desk.got()[0]
	if m.Files[0].Object().Size != int64(sent) || m.Files[0].Object().ContentType != "video/mp4" {
		t.Errorf("%+v, want %d octets", m.Files[0].Object(), sent)
	}
}
