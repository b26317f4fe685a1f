package ingress_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// The tests of the background parts run in bubbles: their clock moves when
// nothing else does, and a goroutine that outlives Stop fails the bubble.

// pass lets time go by on the bubble's clock.
func pass(d time.Duration) { <-time.After(d) }

func TestAcceptedIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Start(t.Context())
		r := b.request()
		r.SendAt = time.Now().Add(time.Hour)
		out, err := b.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.Stop()
		m := out.Message
		if b.server.begun[m.ID] != 1 {
			t.Fatalf("started %d times", b.server.begun[m.ID])
		}
		if in := b.server.inputs[0]; in.MessageID != m.ID || in.AccountID != m.AccountID || in.Class != m.Class || !in.SendAt.Equal(m.SendAt) || !in.ExpiresAt.Equal(m.ExpiresAt) {
			t.Errorf("%+v", in)
		}
		a := b.server.about[0]
		if a.AccountID != m.AccountID || a.Campaign != "C1" || a.Priority != 3 || !strings.Contains(a.Summary, "sms") || a.Vendor != "acme" || !strings.Contains(a.Summary, "1 part") || len(a.Summary) > 400 {
			t.Errorf("%+v", a)
		}
		for _, secret := range []string{number.Digits(), m.To.Digits(), m.Body} {
			if strings.Contains(a.Summary+a.Details, secret) {
				t.Errorf("the UI would show %q: %s\n%s", secret, a.Summary, a.Details)
			}
		}
	})
}

func TestRefusedIsNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Start(t.Context())
		r := b.request()
		r.From = "+12025550199"
		_, _ = b.Accept(t.Context(), r)
		pass(time.Minute)
		b.Stop()
		if len(b.server.begun) != 0 {
			t.Error("started")
		}
	})
}

// Temporal hangs: acceptance does not notice, the number of starts under way
// stays bounded, and what was accepted is in the outbox until it is back.
func TestAcceptNeverWaitsForTemporal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Starters = 4
		b.server.takes, b.server.down = time.Hour, errAway
		b.Start(t.Context())
		began := time.Now()
		const n = 2000
		for range n {
			if _, err := b.Accept(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("acceptance waited %s", d)
		}
		pass(10 * time.Minute)
		b.server.mu.Lock()
		if len(b.journal.outbox) != n || b.server.most > 4 || len(b.server.begun) != 0 {
			t.Errorf("%d in the outbox, %d starts at once", len(b.journal.outbox), b.server.most)
		}
		b.server.takes, b.server.down = 0, nil
		b.server.mu.Unlock()
		b.journal.until(func() bool { return len(b.journal.outbox) == 0 })
		b.Stop()
		if len(b.server.begun) != n {
			t.Errorf("%d started", len(b.server.begun))
		}
	})
}

// While many customers wait for their answers, starts make room for them: for a
// second at most, and not longer than the crowd stays.
func TestStartsMakeRoomForAcceptance(t *testing.T) {
	for name, c := range map[string]struct {
		crowd int
		leave time.Duration // 0: it stays
		want  time.Duration
	}{"alone": {0, 0, 0}, "a crowd that stays": {20, 0, time.Second}, "a crowd that leaves": {20, 400 * time.Millisecond, 400 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				b.journal.slow = make(chan struct{})
				b.Start(t.Context())
				for range c.crowd {
					go func() {
						r := b.request()
						r.Edge = "slow"
						_, _ = b.Accept(context.Background(), r)
					}()
				}
				synctest.Wait()
				began := time.Now()
				out, err := b.Accept(t.Context(), b.request())
				if err != nil {
					t.Fatal(err)
				}
				if c.leave > 0 {
					pass(c.leave)
					close(b.journal.slow)
				}
				b.server.until(func() bool { return b.server.begun[out.Message.ID] == 1 })
				if took := time.Since(began); took < c.want || took > c.want+100*time.Millisecond {
					t.Errorf("started after %s, want %s", took, c.want)
				}
				if c.leave == 0 {
					close(b.journal.slow)
				}
				b.Stop()
			})
		})
	}
}

// While Temporal refuses, the starters do not spin, and one line says how many
// messages wait.
func TestStartsRestWhileTemporalIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		var lines bytes.Buffer
		b.Log = slog.New(slog.NewTextHandler(&lines, nil))
		b.Starters, b.server.down = 4, errAway
		for range 1000 {
			if _, err := b.Accept(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
		}
		b.Start(t.Context())
		pass(time.Minute)
		b.Stop()
		if b.server.asked > 4*65 {
			t.Errorf("%d starts were tried in a minute", b.server.asked)
		}
		if n := strings.Count(lines.String(), "could not be started"); n == 0 || n > 31 {
			t.Errorf("%d lines", n)
		}
	})
}

// What stays in the outbox when a process ends is started by the next one.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.server.down = errAway
		b.Start(t.Context())
		for range 500 {
			if _, err := b.Accept(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		b.Stop()
		b.Stop()
		if len(b.journal.outbox) != 500 {
			t.Fatalf("%d in the outbox", len(b.journal.outbox))
		}
		if _, err := b.Accept(t.Context(), b.request()); err != nil {
			t.Fatal(err) // after the stop, and not lost
		}
		next := setup(t)
		next.Journal = b.journal
		began := time.Now()
		next.Start(t.Context())
		b.journal.until(func() bool { return len(b.journal.outbox) == 0 })
		took := time.Since(began)
		next.Stop()
		if len(next.server.begun) != 501 || took > 15*time.Second {
			t.Errorf("%d started after %s", len(next.server.begun), took)
		}
	})
}

// A backlog is fed at the speed of the starters: no row is read while it is
// under way or after it was started, and there are no pauses between batches.
func TestBacklogDrainsAtTheSpeedOfTheStarters(t *testing.T) {
	for name, before := range map[string]bool{"left by an earlier process": true, "accepted in a burst": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				const n, starters, takes = 20_000, 16, 10 * time.Millisecond
				b.Starters, b.server.takes = starters, takes
				fill := func() {
					for range n {
						if _, err := b.Accept(t.Context(), b.request()); err != nil {
							t.Fatal(err)
						}
					}
				}
				ideal := n / starters * takes
				spare := 2 * time.Second // for rows to ripen, and the tail
				if before {
					fill()
					pass(time.Minute)
					first := b
					b = setup(t)
					b.Starters, b.server.takes, b.Journal = starters, takes, first.journal
					b.journal = first.journal
				}
				b.Start(t.Context())
				began := time.Now()
				if !before {
					fill()
				}
				b.server.until(func() bool { return len(b.server.begun) == n })
				took := time.Since(began)
				b.journal.until(func() bool { return len(b.journal.outbox) == 0 })
				b.Stop()
				if took > ideal+spare {
					t.Errorf("took %s, the starters alone need %s", took, ideal)
				}
				for id, times := range b.journal.reads {
					if times > 1 {
						t.Fatalf("row %s was read %d times", id, times)
					}
				}
				for id, times := range b.server.begun {
					if times > 1 {
						t.Fatalf("%s was started %d times", id, times)
					}
				}
				if b.server.most > starters {
					t.Errorf("%d starts at once", b.server.most)
				}
				if looks := b.journal.looks; looks > n/256+30 {
					t.Errorf("%d looks at the outbox", looks)
				}
			})
		})
	}
}

// A steady load above what the starters can take, and then its end: nothing
// waits for the next sweep's age.
func TestTailOfABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Starters, b.server.takes = 2, 10*time.Millisecond // 200 a second
		b.Start(t.Context())
		const n = 1500
		for i := range n { // 300 a second
			if _, err := b.Accept(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
			if i%3 == 2 {
				pass(10 * time.Millisecond)
			}
		}
		ended := time.Now()
		b.server.until(func() bool { return len(b.server.begun) == n })
		took := time.Since(ended)
		b.Stop()
		// A third of the load is left when it ends: 500 messages, 2.5 s.
		if took > 2500*time.Millisecond+1500*time.Millisecond {
			t.Errorf("the tail took %s", took)
		}
	})
}

// The most urgent of what waits goes first.
func TestUrgentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		for i := range 3000 {
			r := b.request()
			r.Class = message.ClassBulk
			if i >= 2900 {
				r.Class = message.ClassOTP
			}
			if _, err := b.Accept(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Minute)
		next := setup(t)
		next.Journal, next.Starters, next.server.takes = b.journal, 1, time.Millisecond
		next.Start(t.Context())
		next.server.until(func() bool { return len(next.server.inputs) >= 100 })
		next.Stop()
		for i, in := range next.server.inputs[:100] {
			if in.Class != message.ClassOTP {
				t.Fatalf("start %d is of class %s", i, in.Class)
			}
		}
	})
}

// Another process has started the message, and its row is still there: started
// again it only loses its row.
func TestStartedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		s := message.Start{MessageID: message.NewID(), Class: message.ClassBulk}
		b.journal.put(s)
		b.server.begun[s.MessageID] = 1
		b.Start(t.Context())
		b.journal.until(func() bool { return len(b.journal.outbox) == 0 })
		b.Stop()
	})
}

// The database goes away and comes back: looks fail, nothing is lost.
func TestOutboxAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		if _, err := b.Accept(t.Context(), b.request()); err != nil {
			t.Fatal(err)
		}
		b.journal.mu.Lock()
		b.journal.down = errAway
		b.journal.mu.Unlock()
		b.Start(t.Context())
		pass(time.Minute)
		b.journal.mu.Lock()
		b.journal.down = nil
		b.journal.mu.Unlock()
		b.journal.until(func() bool { return len(b.journal.outbox) == 0 })
		b.Stop()
	})
}

// A process without a worker for workflows takes messages in and leaves their
// start to others.
func TestNoStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.NoStarts = true
		b.Start(t.Context())
		for range 1000 {
			if _, err := b.Accept(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Minute)
		id := message.NewID()
		b.journal.matched = message.Matched{Known: true, Applied: true, MessageID: id, Progress: message.Progress{Segments: 1, Settled: 1}}
		if err := b.Receipt(t.Context(), message.Receipt{ID: message.NewID(), State: message.ReceiptDelivered}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.Stop()
		if len(b.server.begun) != 0 || len(b.journal.outbox) != 1000 || b.server.told[id] != 1 {
			t.Errorf("%d started, %d left, told %d", len(b.server.begun), len(b.journal.outbox), b.server.told[id])
		}
	})
}

// Edges and links may come up before Start and go down after Stop.
func TestCallsBeforeStartAndAfterStop(t *testing.T) {
	b := setup(t)
	done := make(chan error, 40)
	for i := range 20 {
		go func() {
			_, err := b.Accept(context.Background(), b.request())
			done <- err
		}()
		go func() {
			done <- b.Receipt(context.Background(), message.Receipt{ID: message.NewID(), VendorMessageID: fmt.Sprint(i)})
		}()
	}
	b.Start(context.Background())
	b.Stop()
	for range 40 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var never ingress.Ingress
	never.Stop()
}
