package mm4

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
)

var replyLine = regexp.MustCompile(`^[2-5][0-9][0-9][ -][ -~]*$`)

// FuzzSession says anything to a server. Whatever it is, the session ends when the
// connection does; all replies are lines of SMTP; the Desk has had exactly the mails
// that were answered with 250; and nothing stays in the spool.
func FuzzSession(f *testing.F) {
	f.Add([]byte(begun + usual + ".\r\nQUIT\r\n"))
	f.Add([]byte(begun + usual + "\n.\r\nMAIL FROM:<>\r\n.\r\n" + begun))
	f.Add([]byte(begun + top + "\r\nhello\r\r\n.\r\nRSET\r\n"))
	f.Add([]byte("EHLO x\r\nAUTH PLAIN\r\n" + plainRight + "\r\nAUTH LOGIN\r\n*\r\n"))
	f.Add([]byte("EHLO x\r\nSTARTTLS\r\n\x16\x03\x01"))
	f.Add([]byte("EHLO x\r\nMAIL FROM:<\"a b\"@x> SIZE=12 BODY=8BITMIME\r\nRCPT TO:<@a,@b:12345/TYPE=PLMN@mms.gw.example>\r\nBDAT 3 LAST\r\nabc"))
	f.Add([]byte("HELO\r\nNOOP\r\nVRFY x\r\nHELP\r\n\r\nXXXX\r\nLHLO y\r\n" + strings.Repeat("y", 1100)))
	f.Add([]byte("STARTTLSX\r\nEHLO x y\r\nmail from:x@y\r\nrcpt to:system-user@mms.gw.example\r\ndata\r\n.\r\n"))
	p := acme()
	p.Username, p.Password, p.AuthWithoutTLS = "acme", func(s string) bool { return s == "open sesame" }, true
	w := setup(f, p).withTLS()
	w.Limits.ConnectRate, w.Limits.AuthFailures = 1<<30, 1<<30
	listener := w.pipes()
	f.Fuzz(func(t *testing.T, input []byte) {
		w.t = t
		before := len(w.desk.got())
		c := listener.dial("127.0.0.1")
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = c.Write(input)
			_ = c.Close()
		}()
		var said bytes.Buffer
		_, _ = io.Copy(&said, c.r)
		<-written
		w.closed()
		if files := w.spooled(); len(files) > 0 {
			t.Fatalf("files are left in the spool: %v", files)
		}
		// The handshake of STARTTLS is no text.
		text, _, _ := strings.Cut(said.String(), "220 2.0.0 begin the handshake\r\n")
		lines := strings.Split(text, "\r\n")
		taken := 0
		for _, l := range lines[:len(lines)-1] {
			if !replyLine.MatchString(l) {
				t.Fatalf("reply %q", l)
			}
			if strings.HasPrefix(l, "250 2.0.0 id-") {
				taken++
			}
		}
		// A reply may be lost, when the connection ended before it was written.
		if got := len(w.desk.got()) - before; taken > got {
			t.Fatalf("%d replies 250 for %d mails", taken, got)
		}
	})
}
