package smtpout

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/fuzztest"
	"github.com/postrider/postrider/internal/message"
)

func TestSend(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(answers{".": "250-2.0.0 taken\r\n250 2.0.0 as 17"}, "SIZE 10000", "8BITMIME"))
	m := mailOf("Subject: Hi\r\n\r\n.dot\r\n")
	m.Size = 19
	out, err := p.sender().Send(t.Context(), target(), m)
	if err != nil || len(out) != 1 || !out[0].Taken() || out[0] != (Outcome{Code: 250, Enhanced: "2.0.0", Text: "taken as 17"}) {
		t.Fatalf("%+v, %v", out, err)
	}
	want := []string{"EHLO mm4.gw.example", "MAIL FROM:<" + fromPath + "> SIZE=19", "RCPT TO:<" + toPath + ">", "DATA"}
	if got := p.commands(); !slices.Equal(got[:4], want) {
		t.Errorf("the peer heard %q", got)
	}
	if got := p.contents(); !slices.Equal(got, []string{"Subject: Hi\r\n\r\n..dot\r\n"}) {
		t.Errorf("the peer read %q", got)
	}
}

// An answer may come in pieces of any size: on a pipe each write is a read of its own.
func TestEHLOInPieces(t *testing.T) {
	t.Parallel()
	answer := "220 peer.example\r\n250-peer.example\r\n250-8bitmime\r\n250-size 77\r\n250 starttls\r\n"
	greeting := strings.Index(answer, "\n") + 1
	for at := 1; at < len(answer); at++ {
		p := newPipes(t, func(k *talk) {
			said := 0
			for _, end := range []int{greeting, len(answer)} {
				if at > said && at < end {
					k.raw(answer[said:at])
					said = at
				}
				k.raw(answer[said:end])
				said = end
				if end == greeting {
					k.hear()
				}
			}
			if line := k.hear(); line != "MAIL FROM:<"+fromPath+"> SIZE=5 BODY=8BITMIME" {
				t.Errorf("cut at %d: %s", at, line)
			}
			k.say("550 no")
			k.untilGone()
		})
		m := mailOf("")
		m.Size, m.Body8Bit = 5, true
		s := p.sender()
		_, err := s.Send(t.Context(), target(func(t *Target) { t.TLS = TLSNever }), m)
		if e := failure(t, err); e.Codes() != "550" {
			t.Errorf("cut at %d: %v", at, err)
		}
		p.hangUp()
		s.Close()
		p.done.Wait()
	}
}

// A peer of the old kind knows no EHLO, and has no extensions.
func TestHELO(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(answers{"EHLO": "502 5.5.1 what?", "HELO": "250-hi\r\n250 SIZE 1"}))
	m := mailOf("Hi")
	m.Size = 4
	if _, err := p.sender().Send(t.Context(), target(), m); err != nil {
		t.Fatal(err)
	}
	if got := p.commands(); got[1] != "HELO mm4.gw.example" || got[2] != "MAIL FROM:<"+fromPath+">" {
		t.Errorf("%q", got)
	}
}

// Each recipient has its own answer; the mail goes to those who were taken.
func TestRecipients(t *testing.T) {
	t.Parallel()
	const a, b, c, d = "a@x.example", "b@x.example", "c@x.example", "d@x.example"
	rcpt := func(s string) string { return "RCPT TO:<" + s + ">" }
	p := newPeer(t, serve(answers{
		rcpt(a): "550 5.1.1 no such number " + toNumber, rcpt(b): "251 2.1.5 will forward", rcpt(c): "452 4.5.3 too many", rcpt(d): "552 too many",
	}))
	s := p.sender()
	out, err := s.Send(t.Context(), target(), mailOf("Hi", a, b, c, d))
	if err != nil {
		t.Fatal(err)
	}
	if e := out[0].Err; e == nil || e.Reason() != message.ReasonUnknownSubscriber || e.Retryable() || e.Stage() != StageRCPT || e.OnWire() || out[0].Text != "no such number "+toNumber || out[0].Code != 550 || out[0].Enhanced != "5.1.1" {
		t.Errorf("a: %+v", out[0])
	}
	if !out[1].Taken() || out[1].Code != 250 || out[1].Text != "taken as 17" {
		t.Errorf("b: %+v", out[1])
	}
	for _, o := range out[2:] {
		if o.Taken() || o.Err.Reason() != message.ReasonVendorThrottled || !o.Err.Retryable() {
			t.Errorf("too many: %+v", o)
		}
	}
	// All are refused: no content is sent; the next mail begins behind a RSET.
	out, err = s.Send(t.Context(), target(), mailOf("Hi", a, c))
	if e := failure(t, err); e.Reason() != message.ReasonVendorThrottled || !e.Retryable() || e != out[1].Err || out[0].Err.Retryable() {
		t.Errorf("%v, %+v", err, out)
	}
	if _, err = s.Send(t.Context(), target(), mailOf("Hi", b)); err != nil {
		t.Fatal(err)
	}
	got := p.commands()
	if i := slices.Index(got, "RSET"); i < 0 || p.count("DATA") != 2 || p.count("RSET") != 1 || !strings.HasPrefix(got[i+1], "MAIL") {
		t.Errorf("%q", got)
	}
	if calls, _ := p.counts(); calls != 1 {
		t.Errorf("%d connections", calls)
	}
}

// The answer to DATA or the final dot is that of all who were taken at RCPT.
func TestMailRefused(t *testing.T) {
	t.Parallel()
	for at, onWire := range map[string]bool{"DATA": false, ".": true} {
		p := newPeer(t, serve(answers{at: "554 5.6.0 not parseable", "RCPT TO:<a@x.example>": "550 5.1.1 who?"}))
		s := p.sender()
		for range 2 { // also the second time: the connection is still in step
			out, err := s.Send(t.Context(), target(), mailOf("Hi", "a@x.example", "b@x.example"))
			e := out[1].Err
			if e == nil || e.Reason() != message.ReasonMediaRejected || e.Retryable() || e.OnWire() != onWire || e.Ambiguous() || out[1].Text != "not parseable" {
				t.Errorf("%s: %+v, %v", at, out, err)
			}
			if out[0].Err.Reason() != message.ReasonUnknownSubscriber || out[0].Err.OnWire() || failure(t, err).Reason() == "" {
				t.Errorf("%s: %+v, %v", at, out, err)
			}
		}
		if calls, _ := p.counts(); calls != 1 {
			t.Errorf("%s: %d connections", at, calls)
		}
	}
}

// After the answer to the final dot nothing changes it.
func TestWhatComesAfterYes(t *testing.T) {
	t.Parallel()
	for _, end := range []string{cut, rst, "554 5.0.0 never", "what?", "421 4.3.2 closing"} {
		p := newPeer(t, serve(answers{"QUIT": end}))
		s := p.sender()
		out, err := s.Send(t.Context(), target(func(t *Target) { t.Limits.PerConnection = 1 }), mailOf("Hi"))
		if err != nil || !out[0].Taken() {
			t.Errorf("%q: %+v, %v", end, out, err)
		}
		s.Close()
		if p.count("QUIT") != 1 {
			t.Errorf("%q: no QUIT", end)
		}
	}
}

// What can be known not to fit is not begun.
func TestNotBegun(t *testing.T) {
	t.Parallel()
	written := func(io.Writer) error { t.Error("the content was written"); return nil }
	for _, tt := range []struct {
		name   string
		mail   Mail
		target func(*Target)
		stage  Stage
		reason message.Reason
		why    string
	}{
		{"too large", Mail{Size: 1001}, nil, StageMAIL, message.ReasonMediaRejected, "1001 octets, the peer takes 1000"},
		{"8 bit", Mail{Body8Bit: true}, nil, StageMAIL, message.ReasonEncodingMismatch, "above 127"},
		{"nobody", Mail{To: []string{}}, nil, StageCheck, message.ReasonInvalidDestination, "no recipient"},
		{"a second command", Mail{To: []string{"a@x.example>\r\nDATA"}}, nil, StageCheck, message.ReasonInvalidDestination, "cannot be written"},
		{"a parameter", Mail{From: "a@x.example> SIZE=1"}, nil, StageCheck, message.ReasonInvalidRequest, "cannot be written"},
		{"letters", Mail{To: []string{"jürgen@x.example"}}, nil, StageCheck, message.ReasonInvalidDestination, "cannot be written"},
		{"a long path", Mail{To: []string{strings.Repeat("a", 255)}}, nil, StageCheck, message.ReasonInvalidDestination, "cannot be written"},
		{"no own name", Mail{}, func(t *Target) { t.EHLO = "" }, StageCheck, message.ReasonVendorUnreachable, "ehlo: want"},
	} {
		p := newPeer(t, serve(nil, "SIZE 1000"))
		m := tt.mail
		m.Write = written
		if m.To == nil {
			m.To = []string{toPath}
		}
		to := target()
		if tt.target != nil {
			tt.target(to)
		}
		out, err := p.sender().Send(t.Context(), to, m)
		e := failure(t, err)
		if e.Stage() != tt.stage || e.Reason() != tt.reason || !strings.Contains(e.Error(), tt.why) || e.OnWire() || len(out) != len(m.To) || p.count("MAIL") != 0 {
			t.Errorf("%s: %v (%s), %+v, heard %q", tt.name, err, e.Reason(), out, p.commands())
		}
		if e.Retryable() != e.Configuration() {
			t.Errorf("%s: goes again: %v", tt.name, e.Retryable())
		}
	}
}

// A content that breaks off is not ended: the peer must not take half a mail.
func TestContentBreaksOff(t *testing.T) {
	t.Parallel()
	gone := errors.New("the disk is gone")
	for _, tt := range []struct {
		name   string
		write  func(w io.Writer) error
		want   error
		reason message.Reason
	}{
		{"the source", func(w io.Writer) error { _, _ = io.WriteString(w, "half\r\n"); return gone }, gone, message.ReasonInternal},
		{"at once", func(w io.Writer) error { return gone }, gone, message.ReasonInternal},
		{"more than said", func(w io.Writer) error { _, err := io.WriteString(w, strings.Repeat("x\r\n", 400)); return err }, errTooLarge, message.ReasonMediaRejected},
		{"a source that does not listen", func(w io.Writer) error { _, _ = io.WriteString(w, strings.Repeat("x", 999)); return nil }, errLongLine, message.ReasonInvalidRequest},
		{"8 bit", func(w io.Writer) error { _, err := io.WriteString(w, "é"); return err }, err8Bit, message.ReasonInvalidRequest},
	} {
		p := newPeer(t, serve(nil, "SIZE 1000"))
		s := p.sender()
		m := mailOf("")
		m.Write = tt.write
		_, err := s.Send(t.Context(), target(), m)
		if e := failure(t, err); !errors.Is(err, tt.want) || e.Reason() != tt.reason || e.Stage() != StageContent || e.OnWire() || e.Ambiguous() {
			t.Errorf("%s: %v (%s)", tt.name, err, e.Reason())
		}
		if _, err := s.Send(t.Context(), target(), mailOf("next")); err != nil {
			t.Errorf("%s: the next mail: %v", tt.name, err)
		}
		if got := p.contents(); !slices.Equal(got, []string{"next\r\n"}) {
			t.Errorf("%s: the peer took %q", tt.name, got)
		}
		if calls, _ := p.counts(); calls != 2 {
			t.Errorf("%s: %d connections", tt.name, calls)
		}
	}
}

// A large mail flows through: 50 MB cost no more memory than a small one.
func TestLargeMailIsNotHeld(t *testing.T) {
	p := newPeer(t, func(k *talk) {
		k.say("220 hi")
		for {
			line, err := k.r.ReadSlice('\n')
			switch {
			case err != nil:
				return
			case line[0] == 'Q':
				k.say("221 bye")
				return
			case line[0] != 'D':
				k.say("250 fine")
				continue
			}
			k.say("354 go on")
			for string(line) != ".\r\n" {
				if line, err = k.r.ReadSlice('\n'); err != nil {
					return
				}
			}
			k.say("250 taken")
		}
	})
	s := p.sender()
	line := []byte(strings.Repeat("x", 76) + "\r\n")
	const octets = 50 << 20
	m := mailOf("")
	m.Size = octets
	m.Write = func(w io.Writer) error {
		for n := 0; n < octets; n += len(line) {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	}
	fuzztest.Within(t, 1<<20, func() {
		if _, err := s.Send(t.Context(), target(), m); err != nil {
			t.Error(err)
		}
	})
}

// Neither errors nor logs show an address, a password, or what the peer says.
func TestNothingIsShown(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	const password, said = "s3cret-pass", "the text of the mail"
	for _, at := range []string{"greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "content", ".", "none"} {
		for _, code := range []int{450, 550, 235, 334} {
			var j journal
			answer := fmt.Sprintf("%d %s %s %s %s", code, toPath, fromNumber, password, said)
			p := newPeer(t, serveTLS(answers{at: answer}, id.config, nil, "AUTH PLAIN"))
			s := p.sender(func(c *Config) { c.Log, c.Roots = j.logger(), id.roots })
			out, err := s.Send(t.Context(), target(login(password)), mailOf(strings.Repeat(said+"\r\n", 4000)))
			shown := fmt.Sprint(err) + fmt.Sprintf("%+v", err) + j.text() + fmt.Sprint(out[0].LogValue())
			for _, secret := range []string{toNumber, fromNumber, toNumber[1:], "2550143", password, encode(password), said, "peer.example>"} {
				if strings.Contains(shown, secret) {
					t.Errorf("%s %d: %q is shown in %s", at, code, secret, shown)
				}
			}
			if !strings.Contains(j.text(), "acme") {
				t.Errorf("%s %d: the log says nothing", at, code)
			}
		}
	}
	for in, want := range map[string]string{
		toPath: "+1202*****43", "12345/TYPE=PLMN": "1**45", "system-user@mms.example": "s*********r", "": "", "ab@x": "ab",
	} {
		if got := masked(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

// Metrics are told of each recipient and each call.
func TestMetrics(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(answers{"RCPT TO:<a@x.example>": "550 5.1.1 who?"}))
	var told []string
	s := p.sender(func(c *Config) {
		c.Metrics.Answered = func(target string, r message.Reason, took time.Duration) {
			told = append(told, fmt.Sprint(target, " ", r, " ", took > 0))
		}
		c.Metrics.Connected = func(target string, at Stage, took time.Duration) {
			told = append(told, fmt.Sprint(target, " at ", at, " ", took > 0))
		}
	})
	if _, err := s.Send(t.Context(), target(), mailOf("Hi", "a@x.example", "b@x.example")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"acme at  true", "acme unknown_subscriber true", "acme  true"}; !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}

// A content that panics leaves no connection lent: who catches it may send again.
func TestWritePanics(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(nil))
	s := p.sender()
	to := target(func(t *Target) { t.Limits.Connections = 1 })
	m := mailOf("")
	m.Write = func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		panic("no")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = s.Send(t.Context(), to, m)
	}()
	if _, err := s.Send(t.Context(), to, mailOf("next")); err != nil || !slices.Equal(p.contents(), []string{"next\r\n"}) {
		t.Errorf("%v, %q", err, p.contents())
	}
}
