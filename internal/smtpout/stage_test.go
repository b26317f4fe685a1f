package smtpout

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// places are where a dialogue can go wrong, in its order, with the stage that is told.
var places = []struct {
	at    string
	stage Stage
}{
	{"greeting", StageGreeting}, {"EHLO", StageEHLO}, {"STARTTLS", StageSTARTTLS}, {"AUTH", StageAUTH},
	{"MAIL", StageMAIL}, {"RCPT", StageRCPT}, {"DATA", StageDATA}, {"content", StageContent}, {".", StageEnd},
}

// large is a content that no socket holds: a peer that stops reading is noticed.
func large() Mail {
	m := mailOf("")
	m.Write = func(w io.Writer) error {
		line := []byte(strings.Repeat("x", 998) + "\r\n")
		for range 16 << 10 {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	}
	return m
}

// What a loss or a no means, wherever it comes.
func TestEveryStage(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	for _, place := range places {
		for _, event := range []string{cut, rst, "421 4.3.2 closing", "451 4.3.0 not now", "550 5.7.1 no", "nonsense", "399 hm", "250-half"} {
			m := mailOf("Hi")
			if place.at == "content" {
				m = large()
			}
			p := newPeer(t, serveTLS(answers{place.at: event}, id.config, nil, "AUTH PLAIN"))
			s := p.sender(trusting(id))
			out, err := s.Send(t.Context(), target(login("s3cret"), mode(TLSRequired)), m)
			s.Close()
			e := failure(t, err)
			name := place.at + " " + strings.TrimPrefix(event, "\x00")
			answered := event[0] == '4' || event[0] == '5'
			if place.at == "content" && answered && e.Codes() == "" {
				// The peer's RST may have overtaken its words; then it is a loss.
				answered = false
			}
			want := struct{ onWire, ambiguous, retry bool }{onWire: place.at == "."}
			reason := message.ReasonVendorUnreachable
			switch {
			case !answered && want.onWire:
				want.ambiguous, reason = true, message.ReasonSubmitInDoubt
			case answered && event[0] == '5' && !place.stage.setUp():
				reason = message.ReasonVendorRejected
			default:
				want.retry = true
			}
			if e.OnWire() != want.onWire || e.Ambiguous() != want.ambiguous || e.Retryable() != want.retry || e.Reason() != reason {
				t.Errorf("%s: on wire %v, ambiguous %v, again %v, %s; want %+v, %s (%v)", name, e.OnWire(), e.Ambiguous(), e.Retryable(), e.Reason(), want, reason, err)
			}
			early := e.Stage() == StageConnect && name == "greeting rst" // the RST may come before the dialler looks
			if e.Stage() != place.stage && !early {
				t.Errorf("%s: stage %s (%v)", name, e.Stage(), err)
			}
			if answered != (e.Codes() != "") || len(out) != 1 || out[0].Taken() || answered && out[0].Code == 0 {
				t.Errorf("%s: %v, %+v", name, err, out)
			}
			if e.Configuration() != (answered && event[0] == '5' && place.stage.setUp()) {
				t.Errorf("%s: configuration %v", name, e.Configuration())
			}
		}
	}
}

// Silence ends in time: a command's, a block's, the final one's. On a pipe in a bubble no
// second of it passes.
func TestSilence(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	for _, place := range places {
		synctest.Test(t, func(t *testing.T) {
			p := newPipes(t, serveTLS(answers{place.at: hang}, id.config, nil, "AUTH PLAIN"))
			s := p.sender(trusting(id))
			begin := time.Now()
			_, err := s.Send(t.Context(), target(login("s3cret"), mode(TLSRequired)), large())
			took := time.Since(begin)
			want := DefaultCommand
			switch place.at {
			case "content":
				want = DefaultBlock + lastWord
			case ".":
				want = DefaultFinal
			}
			e := failure(t, err)
			if took != want || e.Stage() != place.stage || e.Ambiguous() != (place.at == ".") || !strings.Contains(e.Error(), "no answer in time") {
				t.Errorf("%s: %v after %v, want %v", place.at, err, took, want)
			}
			p.hangUp()
		})
	}
}

// A peer that takes a content by a trickle does not hold it for ever: its size gives it
// its time.
func TestTrickle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, func(k *talk) {
			k.say("220 hi")
			k.hear()
			k.say("250 hi")
			k.hear()
			k.say("250 fine")
			k.hear()
			k.say("250 fine")
			k.hear()
			k.say("354 go on")
			for {
				time.Sleep(time.Minute)
				if _, err := io.ReadFull(k.conn, make([]byte, 8<<10)); err != nil {
					return
				}
			}
		})
		s := p.sender()
		m := large()
		m.Size = 1 << 20
		begin := time.Now()
		_, err := s.Send(t.Context(), target(), m)
		want := DefaultCommand + (1<<20)/minRate*time.Second
		e := failure(t, err)
		if took := time.Since(begin); e.Stage() != StageContent || e.OnWire() || took != want+lastWord {
			t.Errorf("%v after %v, want %v", err, took, want+lastWord)
		}
		p.done.Wait()
	})
}

// A context that ends cuts the mail wherever it is, and leaves nothing running: a bubble
// does not end before its goroutines.
func TestContextEndsAnywhere(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	for _, place := range append(places[:len(places):len(places)], struct {
		at    string
		stage Stage
	}{"connect", StageConnect}) {
		for _, closing := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var s *Sender
				closed := make(chan struct{})
				end := func(string) {
					if !closing {
						cancel()
						return
					}
					go func() {
						defer close(closed)
						s.Close()
					}()
				}
				p := newPipes(t, serveTLS(answers{place.at: hang}, id.config, end, "AUTH PLAIN"))
				c := Config{DialContext: p.dial, Roots: id.roots}
				if place.at == "connect" {
					c.DialContext = func(ctx context.Context, _, _ string) (_ net.Conn, err error) {
						end("")
						<-ctx.Done()
						return nil, ctx.Err()
					}
				}
				s = New(c)
				m := mailOf("Hi")
				if place.at == "content" {
					m = large()
				}
				begin := time.Now()
				out, err := s.Send(ctx, target(login("s3cret"), mode(TLSRequired)), m)
				if took := time.Since(begin); took != 0 {
					t.Errorf("%s: it took %v to end", place.at, took)
				}
				e := failure(t, err)
				cause := context.Canceled
				if closing {
					cause = ErrClosed
					<-closed
				}
				if !errors.Is(err, cause) || e.Stage() != place.stage || e.Ambiguous() != (place.at == ".") || e.Retryable() == e.Ambiguous() || out[0].Err != e {
					t.Errorf("%s: %v (%s), %+v", place.at, err, e.Reason(), out)
				}
				s.Close()
				cancel()
				p.hangUp()
				p.done.Wait()
			})
		}
	}
}

// The mail is in doubt from the octet on that makes its final dot whole, and not before: a
// peer that is gone after any other cannot have it.
func TestInDoubtFromTheLastOctetOn(t *testing.T) {
	t.Parallel()
	const whole = "Hi\r\n.\r\n"
	for n := 0; n <= len(whole); n++ {
		for _, stays := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes(t, func(k *talk) {
					k.say("220 hi")
					for _, a := range []string{"250 hi", "250 fine", "250 fine", "354 go on"} {
						k.hear()
						k.say(a)
					}
					// Without the buffer: what is not asked for is not written.
					if _, err := io.ReadFull(k.conn, make([]byte, n)); err != nil {
						panic(errHungUp)
					}
					if stays {
						k.stopReading()
					}
				})
				s := p.sender()
				_, err := s.Send(t.Context(), target(), mailOf("Hi"))
				doubt := n == len(whole)
				e := failure(t, err)
				if e.Ambiguous() != doubt || e.OnWire() != doubt || e.Retryable() == doubt || (e.Stage() == StageEnd) != doubt || (e.Reason() == message.ReasonSubmitInDoubt) != doubt {
					t.Errorf("after %d octets, stays %v: %v (%s)", n, stays, err, e.Reason())
				}
				p.hangUp()
				p.done.Wait()
			})
		}
	}
}

// A peer that greets late, as some do to be rid of the impatient, is waited for.
func TestLateGreeting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, func(k *talk) {
			time.Sleep(DefaultCommand - time.Second)
			serve(nil)(k)
		})
		s := p.sender()
		if _, err := s.Send(t.Context(), target(), mailOf("Hi")); err != nil {
			t.Error(err)
		}
		s.Close()
		p.done.Wait()
	})
}

// A peer that refuses a content on its way, and reads no further, is heard.
func TestRefusedInMidContent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, func(k *talk) {
			k.say("220 hi")
			for _, a := range []string{"250 hi", "250 fine", "250 fine", "354 go on"} {
				k.hear()
				k.say(a)
			}
			_, _ = io.ReadFull(k.r, make([]byte, 4<<10))
			k.say("552 5.3.4 too large")
		})
		s := p.sender()
		_, err := s.Send(t.Context(), target(), large())
		if e := failure(t, err); e.Codes() != "552 5.3.4" || e.Stage() != StageContent || e.Reason() != message.ReasonMediaRejected || e.OnWire() || e.Retryable() {
			t.Errorf("%v (%s)", err, e.Reason())
		}
		p.done.Wait()
	})
}
