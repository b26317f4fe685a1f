package vendortest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
)

// shortAnswer is the answer timer of tests that wait for its end.
const shortAnswer = 300 * time.Millisecond

func conformAccept(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	result := sc.accepted(whole())
	if result.VendorMessageID == "" || result.NormalizedID == "" {
		t.Errorf("no id in %+v", result)
	}
	c := sc.came(1)[0]
	if !sameNumber(c.From, suiteFrom) || !sameNumber(c.To, suiteTo) || c.Text != suiteText || len(c.Octets) != 0 || c.Parts > 1 {
		t.Errorf("came as %+v", c)
	}
	if result.VendorMessageID != c.ID {
		t.Errorf("id %q, and the vendor says %q", result.VendorMessageID, c.ID)
	}
	st := sc.link.Status()
	if st.Bind != "connected" || st.InFlight != 0 || st.Errors != 0 || st.LastError != "" || st.Share != full {
		t.Errorf("status %+v", st)
	}
	if sc.link.Room() != 10 {
		t.Errorf("room %d after the answer", sc.link.Room())
	}
	other := whole()
	other.MessageID = message.NewID()
	if again := sc.accepted(other); again.NormalizedID == result.NormalizedID {
		t.Errorf("two messages are both %q", again.NormalizedID)
	}
}

// sameNumber compares what the vendor reads with our number, which some write without
// the plus.
func sameNumber(written string, a message.Address) bool {
	return strings.TrimPrefix(written, "+") == a.Digits()
}

func conformThrottle(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	sc.vendor.Answer(Reply{Kind: Throttle})
	o := sc.submit(t.Context(), whole())
	sc.expect(o, later, message.ReasonVendorThrottled)
	if o.no != nil && o.no.RetryAfter() <= 0 {
		t.Error("throttled, and no word of when to try again")
	}
	// The pause is the link's: it has no room, and what is submitted all the same waits.
	if room := sc.link.Room(); room != 0 {
		t.Errorf("room %d while throttled", room)
	}
	sc.accepted(whole())
	sc.waitReady()
	sc.came(2)
}

func conformTemporary(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	sc.vendor.Answer(Reply{Kind: Temporary})
	o := sc.submit(t.Context(), whole())
	sc.expect(o, later)
	if o.no != nil && o.no.VendorCode == "" {
		t.Errorf("no vendor code in %v", o.no)
	}
	sc.accepted(whole())
	if st := sc.link.Status(); st.Errors != 0.5 {
		t.Errorf("one of two answers tells of trouble, and status says %v", st.Errors)
	}
}

func conformPermanent(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	sc.vendor.Answer(Reply{Kind: Permanent})
	o := sc.submit(t.Context(), whole())
	sc.expect(o, refused)
	if o.no != nil && o.no.VendorCode == "" {
		t.Errorf("no vendor code in %v", o.no)
	}
	sc.accepted(whole())
	if st := sc.link.Status(); st.Errors != 0 {
		t.Errorf("a refusal of one message counts as the vendor's trouble: %v", st.Errors)
	}
}

// What was written and not answered may have been sent.
func conformSilence(t *testing.T, s Subject) {
	sc := ready(t, s, Options{AnswerTimeout: shortAnswer})
	sc.vendor.Answer(Reply{Kind: Silent})
	sc.expect(sc.submit(t.Context(), whole()), ambiguous, message.ReasonSubmitInDoubt)
	if st := sc.link.Status(); st.Errors != 1 || st.InFlight != 0 {
		t.Errorf("status %+v", st)
	}
	sc.waitReady()
	sc.accepted(whole())
	sc.came(2)
}

func conformSlow(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	hold := make(chan struct{})
	sc.vendor.Answer(Reply{Hold: hold})
	slow := sc.begin(t.Context(), whole())
	sc.came(1)
	if got, room := sc.link.Status().InFlight, sc.link.Room(); got != 1 || room != 9 {
		t.Errorf("in flight %d, room %d", got, room)
	}
	sc.accepted(whole()) // others pass
	close(hold)
	if o := <-slow; o.no != nil {
		t.Errorf("answered late: %v", o.no)
	}
}

// All of a window are lost together: every one of them may have been sent, and none is
// written again by the link itself.
func conformCut(t *testing.T, s Subject) {
	const window = 4
	for _, tt := range []struct {
		name string
		last Reply
	}{{"after one was read", Reply{Kind: Cut}}, {"from outside", Reply{Hold: make(chan struct{})}}} {
		t.Run(tt.name, func(t *testing.T) {
			sc := ready(t, s, Options{Window: window})
			open := make(chan struct{})
			var all []<-chan outcome
			for i := range window {
				r := Reply{Hold: open}
				if i == window-1 {
					r = tt.last
				}
				sc.vendor.Answer(r)
				all = append(all, sc.begin(t.Context(), whole()))
				if _, err := sc.vendor.WaitCame(t.Context(), i+1); err != nil {
					t.Fatal(err)
				}
			}
			sc.vendor.CutAll()
			for _, ch := range all {
				sc.expect(<-ch, ambiguous, message.ReasonSubmitInDoubt)
			}
			sc.came(window)
			sc.afterCut()
			sc.came(window + 1)
		})
	}
}

// afterCut submits until the link has noticed everything and is up again.
func (sc *scene) afterCut() {
	sc.t.Helper()
	for {
		sc.waitReady()
		o := sc.submit(sc.t.Context(), whole())
		if o.no == nil {
			return
		}
		if o.fate() != notSent {
			sc.t.Fatalf("after the cut: %v", o.no)
		}
	}
}

func conformCallerLeaves(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	ended, end := context.WithCancel(t.Context())
	end()
	sc.expect(sc.submit(ended, whole()), notSent)

	sc.vendor.Answer(Reply{Hold: make(chan struct{})})
	ctx, leave := context.WithCancel(t.Context())
	left := sc.begin(ctx, whole())
	sc.came(1)
	leave()
	sc.expect(<-left, ambiguous, message.ReasonSubmitInDoubt)
	sc.accepted(whole())
	sc.came(2)
}

// Still is asked last of all, and its no is the answer.
func conformStill(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	no := &message.SubmitError{Reason: message.ReasonOptedOut, Detail: "stopped meanwhile"}
	sub := whole()
	sub.Still = func() error { return no }
	if _, err := sc.link.Submit(t.Context(), sub); !errors.Is(err, no) {
		t.Errorf("Still's answer became %v", err)
	}
	if st := sc.link.Status(); sc.link.Room() != 10 || st.InFlight != 0 || st.Errors != 0 {
		t.Errorf("room %d, status %+v after it", sc.link.Room(), st)
	}
	asked := 0
	sub.Still = func() error { asked++; return nil }
	sc.accepted(sub)
	if asked != 1 {
		t.Errorf("Still was asked %d times", asked)
	}
	sc.came(1)
}

// A long message goes whole to a connector that cuts itself, and part by part to
// another. What comes at the vendor is the text, in order.
func conformLong(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	id, parts := message.NewID(), []string{strings.Repeat("first ", 25), strings.Repeat("next ", 30), "last"}
	text := strings.Join(parts, "")
	if sc.link.Whole() {
		sub := whole()
		sub.MessageID, sub.Whole, sub.Parts, sub.Text = id, true, len(parts), text
		sc.accepted(sub)
		if c := sc.came(1)[0]; c.Text != text {
			t.Errorf("came as %d characters, of %d", len(c.Text), len(text))
		}
		return
	}
	seen := make(map[string]bool)
	for i, p := range parts {
		sub := whole()
		sub.MessageID, sub.Part, sub.Parts, sub.Text, sub.Reference = id, i+1, len(parts), p, 0x0107
		seen[sc.accepted(sub).NormalizedID] = true
	}
	for i, c := range sc.came(len(parts)) {
		if c.Text != parts[i] || c.Parts != len(parts) {
			t.Errorf("part %d came as %q of %d", i+1, c.Text, c.Parts)
		}
	}
	if len(seen) != len(parts) {
		t.Errorf("%d ids for %d parts", len(seen), len(parts))
	}
}

func conformOctets(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	sub := whole()
	sub.Encoding, sub.Text, sub.DataCoding = message.EncodingBinary, "\x01\x00\xff", 4
	if !s.Octets {
		sc.expect(sc.submit(t.Context(), sub), fate{}, message.ReasonEncodingMismatch)
		sc.came(0)
		return
	}
	sc.accepted(sub)
	if c := sc.came(1)[0]; string(c.Octets) != sub.Text || c.Text != "" {
		t.Errorf("came as %q, %q", c.Octets, c.Text)
	}
}

// stopContext bounds a stop that should end by itself.
func stopContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A link that stops waits for the answers of what it has written, and takes nothing
// new.
func conformStop(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	hold := make(chan struct{})
	sc.vendor.Answer(Reply{Hold: hold})
	slow := sc.begin(t.Context(), whole())
	sc.came(1)
	ctx, done := stopContext(t), make(chan struct{}, 2)
	for range 2 {
		go func() {
			sc.link.Stop(ctx)
			done <- struct{}{}
		}()
	}
	sc.stopped()
	if room := sc.link.Room(); room != 0 {
		t.Errorf("room %d while it stops", room)
	}
	close(hold)
	if o := <-slow; o.no != nil {
		t.Errorf("stop did not wait for the answer: %v", o.no)
	}
	<-done
	<-done
	sc.expect(sc.submit(t.Context(), whole()), notSent)
	if err := sc.link.WaitReady(t.Context()); err == nil {
		t.Error("ready after the stop")
	}
	if st := sc.link.Status(); st.Bind != "disconnected" || st.Binds != 0 || st.InFlight != 0 {
		t.Errorf("status %+v", st)
	}
	sc.link.Start(context.Background()) // harmless
	sc.link.SetShare(full)
	sc.link.Stop(ctx)
	sc.expect(sc.submit(t.Context(), whole()), notSent)
	sc.came(1)
}

func conformStopGivesUp(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	sc.vendor.Answer(Reply{Hold: make(chan struct{})})
	slow := sc.begin(t.Context(), whole())
	sc.came(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sc.link.Stop(ctx)
	sc.expect(<-slow, ambiguous, message.ReasonSubmitInDoubt)
}

func conformStopBeforeStart(t *testing.T, s Subject) {
	sc := prepare(t, s, Options{})
	sc.link.SetShare(full)
	sc.expect(sc.submit(t.Context(), whole()), notSent)
	sc.link.Stop(stopContext(t))
	sc.link.Start(context.Background())
	sc.link.SetShare(vendors.Share{})
	sc.link.Stop(stopContext(t))
	sc.expect(sc.submit(t.Context(), whole()), notSent)
	sc.came(0)
}
