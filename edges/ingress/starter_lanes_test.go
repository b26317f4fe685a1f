package ingress_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// A campaign that fills the starters is in nobody's way who is more urgent, and a
// one-time password does not wait for the room that starts make for acceptance.
func TestCampaignIsInNobodysWay(t *testing.T) {
	const takes = 100 * time.Millisecond
	for name, c := range map[string]struct {
		crowd int
		most  map[message.Class]time.Duration
	}{
		"nobody accepts": {0, map[message.Class]time.Duration{message.ClassOTP: 2 * takes, message.ClassConversation: 2 * takes}},
		"many accept":    {20, map[message.Class]time.Duration{message.ClassOTP: 2 * takes, message.ClassConversation: 2*time.Second + 3*takes}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				b.Starters, b.server.takes = 4, takes
				b.journal.slow = make(chan struct{})
				b.Start(t.Context())
				accept := func(class message.Class) message.ID {
					r := b.request()
					r.Class = class
					out, err := b.Accept(t.Context(), r)
					if err != nil {
						t.Fatal(err)
					}
					return out.Message.ID
				}
				for range 2000 {
					accept(message.ClassBulk)
				}
				for range c.crowd {
					go func() {
						r := b.request()
						r.Edge = "slow"
						_, _ = b.Accept(context.Background(), r)
					}()
				}
				synctest.Wait()
				for class, most := range c.most {
					pass(5 * time.Second) // the sweep feeds the starters as well
					began, id := time.Now(), accept(class)
					b.server.until(func() bool { return b.server.begun[id] == 1 })
					if took := time.Since(began); took > most {
						t.Errorf("%s: started after %s", class, took)
					}
				}
				close(b.journal.slow)
				b.Stop()
				if len(b.server.begun) >= 2000 {
					t.Error("the campaign was over")
				}
			})
		})
	}
}
