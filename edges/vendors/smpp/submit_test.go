package smpp

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

func TestSubmit(t *testing.T) {
	st := play(t, vendortest.Config{SystemID: "gw", Password: "s3cret", NewID: func(int) string { return "0190AF3C" }},
		func(c *Config) { c.Vendor.IDFormat = "hex_to_dec" })
	st.ready()
	s := part("Hi @")
	s.ExpiresAt = time.Now().Add(36*time.Hour + 30*time.Minute)
	r, no := st.submitPart(context.Background(), s)
	if no != nil {
		t.Fatal(no)
	}
	if r.VendorMessageID != "0190AF3C" || r.NormalizedID != "26259260" {
		t.Errorf("result %+v", r)
	}
	m := st.smsc.Submits()[0].PDU.Message
	if m.Source != (smpp.Address{TON: 1, NPI: 1, Text: "12025550143"}) || m.Dest != (smpp.Address{TON: 1, NPI: 1, Text: "13105550117"}) ||
		m.RegisteredDelivery != 1 || m.DataCoding != 0 || string(m.ShortMessage) != "Hi \x00" {
		t.Errorf("wrote %+v", m)
	}
	now := time.Now()
	if until, err := smpp.ParseTime(m.Validity, now); err != nil || until.Sub(now) < 36*time.Hour || m.Validity[15] != 'R' {
		t.Errorf("validity %q", m.Validity)
	}
	if got := st.link.Status(); got.Bind != "connected" || got.Binds != 1 || got.InFlight != 0 || got.LastError != "" {
		t.Errorf("status %+v", got)
	}
	if room := st.link.Room(); room != defaultWindow {
		t.Errorf("room %d", room)
	}
}

func TestSubmitForms(t *testing.T) {
	for _, tt := range []struct {
		name  string
		long  string
		edit  func(*message.Submission)
		check func(m smpp.Message) bool
	}{
		{"alphanumeric", "udh", func(s *message.Submission) { s.From = "ACME" }, func(m smpp.Message) bool { return m.Source == smpp.Address{TON: 5, Text: "ACME"} }},
		{"short code", "udh", func(s *message.Submission) { s.From = "12345" }, func(m smpp.Message) bool { return m.Source == smpp.Address{TON: 3, Text: "12345"} }},
		{"udh", "udh", func(s *message.Submission) { s.Part, s.Parts, s.Reference = 2, 3, 0x0107 }, func(m smpp.Message) bool {
			return m.ESMClass == 0x40 && string(m.ShortMessage) == "\x05\x00\x03\x07\x03\x02text"
		}},
		{"sar", "sar", func(s *message.Submission) { s.Part, s.Parts, s.Reference = 2, 3, 0x0107 }, func(m smpp.Message) bool {
			ref, _ := m.TLVs.Uint16(smpp.TagSarMsgRefNum)
			return m.ESMClass == 0 && string(m.ShortMessage) == "text" && ref == 0x0107
		}},
		{"payload", "payload", func(s *message.Submission) { s.Text, s.Encoding = string(make([]rune, 200)), message.EncodingUCS2 }, func(m smpp.Message) bool {
			v, _ := m.TLVs.Get(smpp.TagMessagePayload)
			return len(m.ShortMessage) == 0 && len(v) == 400 && m.DataCoding == 8
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.LongMessage = tt.long })
			st.ready()
			s := part("text")
			tt.edit(&s)
			if _, no := st.submitPart(context.Background(), s); no != nil {
				t.Fatal(no)
			}
			if m := st.smsc.Submits()[0].PDU.Message; !tt.check(m) {
				t.Errorf("wrote %+v", m)
			}
		})
	}
}

func TestSubmitThatNeverLeaves(t *testing.T) {
	st := play(t, vendortest.Config{}, nil)
	st.ready()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		edit func(*message.Submission)
		want verdict
	}{
		"no such character": {context.Background(), func(s *message.Submission) { s.Text = "`" }, verdict{reason: message.ReasonEncodingMismatch}},
		"validity ended":    {context.Background(), func(s *message.Submission) { s.ExpiresAt = time.Now().Add(-time.Second) }, verdict{reason: message.ReasonExpired}},
		"address with NUL":  {context.Background(), func(s *message.Submission) { s.From = "A\x00B" }, verdict{reason: message.ReasonInternal}},
		"files":             {context.Background(), func(s *message.Submission) { s.Media = []message.MediaLink{{URL: "https://gw.example/media/x"}} }, verdict{reason: message.ReasonMediaRejected}},
		"context ended":     {ended, func(*message.Submission) {}, verdict{reason: message.ReasonVendorUnreachable, re: true}},
	} {
		s := part("text")
		tt.edit(&s)
		if _, no := st.submitPart(tt.ctx, s); verdictOf(no) != tt.want {
			t.Errorf("%s: %+v", name, no)
		}
	}
	if n := len(st.smsc.Submits()); n != 0 {
		t.Errorf("%d submits left", n)
	}
	if st.link.Room() != defaultWindow {
		t.Errorf("room %d", st.link.Room())
	}
}

// A machine whose clock is wrong neither ends a message too early nor lets it live on.
func TestExpiryByTheGivenClock(t *testing.T) {
	for ahead, want := range map[time.Duration]message.Reason{-10 * time.Minute: "", 10 * time.Minute: message.ReasonExpired} {
		st := play(t, vendortest.Config{}, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(ahead) } })
		st.ready()
		s := part("text")
		s.ExpiresAt = time.Now().Add(ahead / 2)
		if _, no := st.submitPart(context.Background(), s); verdictOf(no).reason != want {
			t.Errorf("by a clock that is ahead by %s: %+v, want %q", ahead, no, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  vendortest.Answer
		attempt int
		want    verdict
		code    string
	}{
		{"temporary", vendortest.Answer{Status: smpp.StatusSystemError}, 1, verdict{reason: message.ReasonVendorUnreachable, wire: true, re: true, after: 5 * time.Second}, "0x08"},
		{"temporary, again", vendortest.Answer{Status: smpp.StatusSystemError}, 2, verdict{reason: message.ReasonVendorUnreachable, wire: true, re: true, after: 30 * time.Second}, "0x08"},
		{"queue full", vendortest.Answer{Status: smpp.StatusMsgQueueFull}, 1, verdict{reason: message.ReasonVendorThrottled, wire: true, re: true, after: 30 * time.Second}, "0x14"},
		{"permanent", vendortest.Answer{Status: smpp.StatusInvDest}, 1, verdict{reason: message.ReasonInvalidDestination, wire: true}, "0x0B"},
		{"sender", vendortest.Answer{Status: smpp.StatusInvSource}, 1, verdict{reason: message.ReasonUnauthorizedSender, wire: true}, "0x0A"},
		{"submit failed", vendortest.Answer{Status: smpp.StatusSubmitFail}, 1, verdict{reason: message.ReasonVendorRejected, wire: true, re: true, after: 30 * time.Second}, "0x45"},
		{"submit failed twice", vendortest.Answer{Status: smpp.StatusSubmitFail}, 2, verdict{reason: message.ReasonVendorRejected, wire: true}, "0x45"},
		{"vendor's own", vendortest.Answer{Status: 0x401}, 1, verdict{reason: message.ReasonVendorRejected, wire: true}, "0x401"},
		{"mapped", vendortest.Answer{Status: 0x402}, 1, verdict{reason: message.ReasonFiltered, wire: true}, "0x402"},
		{"nack", vendortest.Answer{Status: smpp.StatusSystemError, Nack: true}, 1, verdict{reason: message.ReasonVendorRejected, wire: true}, "0x08"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := play(t, vendortest.Config{OnSubmit: answerWith(tt.answer)}, func(c *Config) {
				c.Vendor.CodeMap = map[string]message.Reason{"0x402": message.ReasonFiltered, "0x401": "no such reason"}
			})
			st.ready()
			s := part("text")
			s.Attempt = tt.attempt
			_, no := st.submitPart(context.Background(), s)
			if verdictOf(no) != tt.want || no.VendorCode != tt.code {
				t.Errorf("%+v", no)
			}
		})
	}
}

func TestThrottlePausesTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := true
		st := playInMemory(t, vendortest.Config{OnSubmit: func(vendortest.Submit) vendortest.Answer {
			if throttle {
				return vendortest.Answer{Status: smpp.StatusThrottled, Delay: 100 * time.Millisecond}
			}
			return vendortest.Answer{}
		}}, nil)
		st.ready()
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			pause *= time.Second
			var wg sync.WaitGroup
			for range 3 { // those of one window count once
				wg.Go(func() {
					_, no := st.submit("text")
					if v := verdictOf(no); v.reason != message.ReasonVendorThrottled || !v.re || v.ambiguous || v.after != pause {
						t.Errorf("verdict %+v, want a pause of %v", v, pause)
					}
				})
			}
			wg.Wait()
			if st.link.Room() != 0 {
				t.Error("room while paused")
			}
			start := time.Now()
			st.ready()
			if got := time.Since(start); got != pause {
				t.Errorf("ready after %v, want %v", got, pause)
			}
		}
		throttle = false
		if _, no := st.submit("text"); no != nil {
			t.Error(no)
		}
		throttle = true
		if _, no := st.submit("text"); no.RetryAfter() != time.Second {
			t.Errorf("after success the pause is %v", no.RetryAfter())
		}
		// A submit waits the pause out rather than fail.
		throttle = false
		start := time.Now()
		if _, no := st.submit("text"); no != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", no, time.Since(start))
		}
	})
}

func TestSilenceIsAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{OnSubmit: answerWith(vendortest.Answer{Silence: true})},
			func(c *Config) { c.Vendor.ResponseTimeout = 12 * time.Second })
		st.ready()
		for i := range maxSilent {
			start := time.Now()
			_, no := st.submit("text")
			if v := verdictOf(no); v != (verdict{message.ReasonSubmitInDoubt, true, true, false, 0}) || time.Since(start) != 12*time.Second {
				t.Errorf("%d: %+v after %v", i, v, time.Since(start))
			}
		}
		// A vendor that answers nothing but enquire_link is bound anew.
		if err := st.smsc.WaitBinds(t.Context(), 2); err != nil {
			t.Error(err)
		}
	})
}

func TestContextEndsAfterTheWrite(t *testing.T) {
	release := make(chan struct{})
	st := play(t, vendortest.Config{OnSubmit: func(s vendortest.Submit) vendortest.Answer {
		if s.Number == 1 {
			<-release
		}
		return vendortest.Answer{}
	}}, func(c *Config) { c.Vendor.Window = 1 })
	st.ready()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan *message.SubmitError, 1)
	go func() {
		_, no := st.submitPart(ctx, part("text"))
		result <- no
	}()
	if _, err := st.smsc.WaitSubmits(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if no := <-result; !no.Ambiguous() || no.Reason != message.ReasonSubmitInDoubt {
		t.Errorf("%+v", no)
	}
	// Its place stays taken until the answer: the vendor still counts it.
	if st.link.Room() != 0 {
		t.Errorf("room %d", st.link.Room())
	}
	waiting, cancelWaiting := context.WithCancel(context.Background())
	go func() {
		_, no := st.submitPart(waiting, part("text"))
		result <- no
	}()
	cancelWaiting()
	if no := <-result; no.OnWire() || !no.Retryable() {
		t.Errorf("waiting for room: %+v", no)
	}
	close(release)
	st.ready()
}

func TestBindsShareTheWork(t *testing.T) {
	st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.Window, c.Vendor.MaxBinds = 4, 2 })
	st.bound(2)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, no := st.submit(fmt.Sprint(i)); no != nil {
				t.Error(no)
			}
		})
	}
	wg.Wait()
	used := map[*smpp.Session]int{}
	for _, s := range st.smsc.Submits() {
		used[s.Session]++
	}
	if len(st.smsc.Submits()) != 40 || len(used) != 2 {
		t.Errorf("%d submits over %d binds", len(st.smsc.Submits()), len(used))
	}
	if st.link.Room() != 8 {
		t.Errorf("room %d", st.link.Room())
	}
}

func TestFullWindowHoldsSubmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{OnSubmit: answerWith(vendortest.Answer{Delay: time.Second})}, func(c *Config) { c.Vendor.Window = 3 })
		st.ready()
		start := time.Now()
		var wg sync.WaitGroup
		for range 7 {
			wg.Go(func() {
				if _, no := st.submit("text"); no != nil {
					t.Error(no)
				}
			})
		}
		synctest.Wait()
		if got := st.link.Status().InFlight; got != 3 || st.link.Room() != 0 || len(st.smsc.Submits()) != 3 {
			t.Errorf("in flight %d, room %d, at the vendor %d", got, st.link.Room(), len(st.smsc.Submits()))
		}
		wg.Wait()
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("7 submits by a window of 3 took %v", got)
		}
		if got := st.link.Status().SlowestMilli; got < 100 || got > 1000 {
			t.Errorf("answer time %d ms", got)
		}
	})
}

func TestRateIsNeverExceeded(t *testing.T) {
	for _, perSecond := range []int{1, 7, 100} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := playInMemory(t, vendortest.Config{}, func(c *Config) { c.Vendor.Throughput, c.Vendor.Window = perSecond, 50 })
				st.ready()
				var wg sync.WaitGroup
				for range 3*perSecond + 3 {
					wg.Go(func() {
						if _, no := st.submit("text"); no != nil {
							t.Error(no)
						}
					})
				}
				wg.Wait()
				got := st.smsc.Submits()
				allowed := perSecond + max(1, perSecond/50)
				for i := range got {
					if j := i + allowed; j < len(got) && got[j].At.Sub(got[i].At) < time.Second {
						t.Fatalf("%d submits within %v", allowed+1, got[j].At.Sub(got[i].At))
					}
				}
				ideal := time.Duration(len(got)-1) * time.Second / time.Duration(perSecond)
				if took := got[len(got)-1].At.Sub(got[0].At); took > ideal {
					t.Errorf("paced too slowly: %v", took)
				}
			})
		})
	}
}

// Parts that may leave for a moment only, and more of them than the rate has room for:
// those that are too late give their turn to others.
func TestRateOfPartsThatAreTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds = 10, 60
		st := playInMemory(t, vendortest.Config{}, func(c *Config) { c.Vendor.Throughput, c.Vendor.Window = perSecond, 50 })
		st.ready()
		end := time.Now().Add(seconds * time.Second)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for time.Now().Before(end) {
					p, began := part("text"), time.Now()
					p.Still = func() error {
						if time.Since(began) < 3*time.Second {
							return nil
						}
						return &message.SubmitError{Reason: message.ReasonVendorThrottled, Again: true}
					}
					_, _ = st.submitPart(context.Background(), p)
				}
			})
		}
		wg.Wait()
		got := st.smsc.Submits()
		if len(got) < perSecond*seconds/2 {
			t.Errorf("%d left in %d s", len(got), seconds)
		}
		for i := range got {
			if j := i + perSecond + 2; j < len(got) && got[j].At.Sub(got[i].At) < time.Second {
				t.Fatalf("%d submits within %v", perSecond+3, got[j].At.Sub(got[i].At))
			}
		}
	})
}

func TestRateThatOutlastsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, func(c *Config) { c.Vendor.Throughput = 1 })
		st.ready()
		if _, no := st.submit("text"); no != nil {
			t.Fatal(no)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, no := st.submitPart(ctx, part("text")); verdictOf(no) != (verdict{message.ReasonVendorThrottled, false, false, true, time.Second}) {
			t.Errorf("%+v", no)
		}
	})
}
