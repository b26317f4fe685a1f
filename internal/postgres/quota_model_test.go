package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// The quotaModel: what every account may have taken, by counting what was done.
type quotaModel struct {
	zone    *time.Location
	limits  map[string]int64 // by number, kind and period
	used    map[string]int64 // by limit and start
	balance message.Micros
	held    message.Micros
	prepaid bool
	open    []*message.Message
	keys    []string
}

func (md *quotaModel) counters(m *message.Message) map[string]string {
	out := map[string]string{}
	for _, number := range []message.Address{"", m.From} {
		for _, p := range message.Periods() {
			limit := fmt.Sprint(number, m.Kind, p)
			if _, ok := md.limits[limit]; ok {
				start, _ := p.Span(m.CreatedAt, md.zone)
				out[limit] = limit + start.Format(time.RFC3339)
			}
		}
	}
	return out
}

func (md *quotaModel) take(m *message.Message, parts int64, price message.Micros) message.Reason {
	for limit, counter := range md.counters(m) {
		if parts > 0 && md.used[counter]+parts > md.limits[limit] {
			return message.ReasonQuotaExceeded
		}
	}
	if md.prepaid && price > 0 && price > md.balance-md.held {
		return message.ReasonInsufficientBalance
	}
	for _, counter := range md.counters(m) {
		md.used[counter] += parts
	}
	if md.prepaid {
		md.held += price
	}
	return ""
}

func (md *quotaModel) end(m *message.Message, how string) {
	if !endings[how].left {
		for _, counter := range md.counters(m) {
			md.used[counter] -= int64(m.Segments)
		}
	}
	if md.prepaid {
		md.held -= m.Price.Amount
		if endings[how].charged {
			md.balance -= m.Price.Amount
		}
	}
}

// Whatever is done to several accounts by two processes, the journal says of their
// limits and money what a count of it says.
func TestQuotaModel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	dbs := []*DB{b.DB, b.replica()}
	base := time.Now().UTC().Truncate(24 * time.Hour).Add(-time.Hour) // around a midnight
	senders := []message.Address{"+12025550143", "+12025550144"}
	accounts, models := []message.ID{}, []*quotaModel{}
	for i, zone := range []string{"UTC", "America/Los_Angeles", "Asia/Kolkata"} {
		md := &quotaModel{zone: must2(time.LoadLocation(zone)), limits: map[string]int64{}, used: map[string]int64{}, prepaid: i > 0, balance: message.Micros(i) * 300_000}
		id := b.customer(zone, md.balance)
		for range 4 {
			number, kind, p := append(senders, "", "")[rnd.IntN(4)], []message.Kind{message.SMS, message.MMS}[rnd.IntN(2)], message.Periods()[rnd.IntN(3)]
			n := 5 + rnd.Int64N(40)
			md.limits[fmt.Sprint(number, kind, p)] = n
			b.limit(id, number, kind, p, n)
		}
		accounts, models = append(accounts, id), append(models, md)
	}
	refused, ended, replayed, revised := 0, 0, 0, 0
	for step := range 400 {
		i := rnd.IntN(len(accounts))
		account, md, db := accounts[i], models[i], dbs[rnd.IntN(2)]
		switch act := rnd.IntN(10); {
		case act < 6: // a group, as several senders make it
			n := 1 + rnd.IntN(4)
			waits := make([]func(context.Context) (message.Accepted, error), n)
			items := make([]message.Acceptance, n)
			for g := range n {
				a := b.metered(account, 1+rnd.IntN(4))
				a.Message.From, a.Message.Kind = senders[rnd.IntN(2)], []message.Kind{message.SMS, message.MMS}[rnd.IntN(2)]
				a.Message.CreatedAt = base.Add(time.Duration(rnd.IntN(120)) * time.Minute)
				a.Message.ID = madeAt(a.Message.CreatedAt)
				key := fmt.Sprintf("key-%d-%d", step, g)
				if len(md.keys) > 0 && rnd.IntN(4) == 0 {
					key = md.keys[rnd.IntN(len(md.keys))]
				}
				items[g] = withKey(a, key)
				waits[g] = db.Enter(items[g])
			}
			for g, wait := range waits {
				got := must2(wait(b.ctx))
				if seen(md.keys, items[g].Idempotency.Key) {
					if replayed++; got.Replay == nil {
						t.Fatalf("step %d: %+v", step, got)
					}
					continue
				}
				m := items[g].Message
				want, reason := md.take(m, int64(m.Segments), m.Price.Amount), message.Reason("")
				if got.Fit.Refused != nil {
					reason = got.Fit.Refused.Reason
				}
				if reason != want || got.Replay != nil {
					t.Fatalf("step %d: %+v, the quotaModel says %q", step, got, want)
				}
				if want == "" {
					md.open = append(md.open, m)
				} else {
					refused++
				}
				if want != message.ReasonQuotaExceeded {
					md.keys = append(md.keys, items[g].Idempotency.Key)
				}
			}
		case len(md.open) == 0:
		case act < 9:
			n := rnd.IntN(len(md.open))
			m := md.open[n]
			md.open = append(md.open[:n], md.open[n+1:]...)
			for how := range endings { // in no order
				b.ends(m, how)
				md.end(m, how)
				ended++
				break
			}
		default:
			m := md.open[rnd.IntN(len(md.open))]
			now := must2(b.Message(b.ctx, m.ID))
			now.Segments = 1 + rnd.IntN(6)
			now.Price.Amount = message.Micros(now.Segments) * 4500
			want := md.take(m, int64(now.Segments-m.Segments), now.Price.Amount-m.Price.Amount)
			done, err := db.Revise(b.ctx, message.Revision{Message: now, Detail: map[string]any{}})
			if message.ReasonOf(err) != want || done != (want == "") {
				t.Fatalf("step %d: %v, %v, the quotaModel says %q", step, done, err, want)
			}
			if revised++; done {
				m.Segments, m.Price.Amount = now.Segments, now.Price.Amount
			}
		}
		if step%20 == 0 {
			b.agrees(accounts, models, base)
		}
	}
	b.agrees(accounts, models, base)
	t.Logf("%d refused, %d ended, %d replayed, %d revised", refused, ended, replayed, revised)
	if refused == 0 || ended == 0 || replayed == 0 || revised == 0 {
		t.Error("the test does not reach everything")
	}
	b.whole()
}

func seen(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// madeAt is an id as it is made at a time.
func madeAt(at time.Time) message.ID {
	id, first := message.NewID(), idAt(at)
	copy(id[:6], first[:6])
	return id
}

func (b *bundle) agrees(accounts []message.ID, models []*quotaModel, base time.Time) {
	b.tb.Helper()
	for i, account := range accounts {
		md := models[i]
		for _, at := range []time.Time{base, base.Add(90 * time.Minute)} {
			for _, u := range must2(b.Limits(b.ctx, account, at)) {
				limit := fmt.Sprint(u.Number, u.Kind, u.Period)
				start, end := u.Period.Span(at, md.zone)
				if want := md.used[limit+start.Format(time.RFC3339)]; u.Used != want || u.Parts != md.limits[limit] || !u.ResetsAt.Equal(end) {
					b.tb.Fatalf("%s: %d used, the quotaModel says %d", limit, u.Used, want)
				}
			}
		}
		want := md.balance.String() + " " + md.held.String()
		if got := b.money(account); got != want {
			b.tb.Fatalf("the money is %s, the quotaModel says %s", got, want)
		}
	}
}
