package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
)

// paced are the limits of two campaigns of one brand, in a day of summer time's end.
func paced(first, second, day int) (limits [2][]pace.Limit, from time.Time) {
	for i, parts := range []int{first, second} {
		name := fmt.Sprintf("campaign C%d", i)
		limits[i] = []pace.Limit{
			{Key: name, Parts: parts, Window: pace.Minute, Name: name},
			{Key: "brand:B1", Parts: day, Window: pace.PacificDay, Name: "brand B1"},
		}
	}
	y := time.Now().Year() + 1
	return limits, time.Date(y, 11, 7, 6, 55, 0, 0, time.UTC) // 5 minutes or an hour and 5 before midnight
}

func (b *bundle) reserve(db *DB, d pace.Demand) pace.Slot {
	b.tb.Helper()
	s, err := db.Reserve(b.ctx, d)
	if err != nil {
		b.tb.Fatal(err)
	}
	return s
}

// within fails the test when slots are more than the limits allow. It counts
// without a look at the database.
func within(tb testing.TB, slots []pace.Slot, limits [2][]pace.Limit) {
	tb.Helper()
	days := map[string]int{}
	seconds := map[string]map[int64]int{}
	for _, s := range slots {
		for _, t := range s.Takes() {
			if t.Day != "" {
				days[t.Day] += s.Parts
				if pace.DayOf(s.At) != t.Day || pace.DayOf(s.At.Add(pace.Grace+pace.Skew)) != t.Day {
					tb.Errorf("the grace of %s is not all of %s", s.At, t.Day)
				}
				continue
			}
			if seconds[t.Key] == nil {
				seconds[t.Key] = map[int64]int{}
			}
			seconds[t.Key][t.Second] += s.Parts
		}
	}
	for day, parts := range days {
		if parts > limits[0][1].Parts {
			tb.Errorf("%s has %d parts, the cap is %d", day, parts, limits[0][1].Parts)
		}
	}
	for _, l := range [][]pace.Limit{limits[0], limits[1]} {
		for begin := range seconds[l[0].Key] {
			sum := 0
			for at, parts := range seconds[l[0].Key] {
				if at >= begin && at < begin+pace.Span {
					sum += parts
				}
			}
			if sum > l[0].Parts {
				tb.Errorf("%s has %d parts in the minute from %d, the cap is %d", l[0].Key, sum, begin, l[0].Parts)
			}
		}
	}
}

func sum(slots []pace.Slot) (parts int) {
	for _, s := range slots {
		parts += s.Parts
	}
	return parts
}

// Fifty senders over two replicas, of which one dies in the middle of its work, with
// answers on their way: no minute and no day has more than its cap.
func TestPaceFiftySenders(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("kill %v", kill), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			limits, from := paced(40, 15, 500) // less than the one replica that lives gives alone
			wire, mortal := b.through()
			var mu sync.Mutex
			var slots []pace.Slot
			lost := 0
			var given, died atomic.Int64
			var senders sync.WaitGroup
			for i := range 50 {
				senders.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 16))
					db := []*DB{b.DB, mortal}[i%2]
					for range 12 {
						d := pace.Demand{Limits: slices.Clone(limits[rnd.IntN(2)]), Parts: 1 + rnd.IntN(3), NotBefore: from.Add(time.Duration(rnd.IntN(90)) * time.Second)}
						if rnd.IntN(2) == 0 {
							slices.Reverse(d.Limits)
						}
						s, err := db.Reserve(b.ctx, d)
						mu.Lock()
						if err == nil {
							slots = append(slots, s)
						} else {
							lost += d.Parts
						}
						mu.Unlock()
						switch {
						case err == nil:
							if given.Add(1) == 150 && kill {
								wire.cut.Store(true) // from now on it gets no answers
								died.Store(1)
								go mortal.Close()
							}
						case !Unavailable(err) || !kill || db == b.DB:
							t.Errorf("%v", err)
						}
					}
				})
			}
			senders.Wait()
			within(t, slots, limits)
			used := b.count("select sum(used) from pace_days")
			if lowest := sum(slots); used < lowest || used > lowest+lost || !kill && used != lowest {
				t.Errorf("%d parts are counted, %d were given, of %d it is not known", used, lowest, lost)
			}
			if kill != (died.Load() == 1 && lost > 0) {
				t.Errorf("%d slots, %d parts lost", len(slots), lost)
			}
			if days := b.count("select count(*) from pace_days where used > 0"); days < 2 {
				t.Errorf("%d days: the cap was never reached", days)
			}
		})
	}
}

// A process that dies between its slot and its use leaves a gap and no more: who
// comes next gets what is left. What is given back can be had again, once.
func TestPaceCrashAndRelease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, from := paced(10, 0, 25)
	d := pace.Demand{Limits: limits[0], Parts: 10, NotBefore: from}
	dies := b.replica()
	lost := b.reserve(dies, d)
	dies.Close()
	if _, err := dies.Reserve(b.ctx, d); !errors.Is(err, errClosed) {
		t.Errorf("a closed journal gives: %v", err)
	}
	second := b.reserve(b.DB, d)
	if !lost.At.Equal(from) || second.At.Sub(lost.At) != time.Duration(pace.Span)*time.Second {
		t.Errorf("%s, then %s", lost.At, second.At)
	}
	if third := b.reserve(b.DB, d); third.Takes()[1].Day == second.Takes()[1].Day || third.Hold.Rule != pace.RuleDailyCap {
		t.Errorf("%+v", third)
	}
	other := b.replica()
	for i := range 3 { // two by each
		for _, db := range []*DB{b.DB, other} {
			if err := db.Release(b.ctx, second); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
	}
	if used := b.count("select used from pace_days order by day limit 1"); used != 10 {
		t.Errorf("%d parts are counted, want those of the lost slot", used)
	}
	again := b.reserve(b.DB, d)
	if !again.At.Equal(second.At) || again.Takes()[1] != second.Takes()[1] || again.ID == second.ID {
		t.Errorf("%+v, it was %+v", again, second)
	}
	within(t, []pace.Slot{lost, again}, limits)
	if err := b.Release(b.ctx, pace.Slot{}); err != nil {
		t.Errorf("nothing: %v", err)
	}
	// A day that is over stays as it was.
	past := pace.Slot{ID: message.NewID(), Second: time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC).Unix(), Parts: 2, Limits: limits[0]}
	b.exec("insert into pace_days (key, day, used) values ('brand:B1', '2020-01-01', 5)")
	if err := b.Release(b.ctx, past); err != nil || b.count("select used from pace_days where day = '2020-01-01'") != 5 {
		t.Errorf("%v", err)
	}
	if err := b.Release(b.ctx, past); err != nil || b.count("select count(*) from pace_spent") != 1 {
		t.Errorf("%v: releases are remembered for ever", err)
	}
}

// A slot stands for the one before it: on its day once, and for one demand only, however
// often and wherever it is asked for. One that was never due is given back whole.
func TestPaceInstead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	limits, from := paced(10, 0, 100)
	used := func() int { return b.count("select coalesce(sum(used), 0) from pace_days") }
	ask := func(db *DB, instead pace.Slot, at time.Time) pace.Slot {
		t.Helper()
		return b.reserve(db, pace.Demand{Limits: limits[0], Parts: 2, NotBefore: at, Instead: &instead})
	}
	// It is due long after it was given: what is before it counts for nothing.
	first := b.reserve(b.DB, pace.Demand{Limits: limits[0], Parts: 3, NotBefore: from})
	second := ask(other, first, from)
	if second.ID != first.ID || second.Turn != 1 || !second.At.Equal(first.At) || used() != 2 || b.count("select sum(parts) from pace_slots") != 2 {
		t.Errorf("%+v, %d parts", second, used())
	}
	third := ask(b.DB, first, from) // a repetition is counted again
	if third.Turn != 1 || used() != 4 {
		t.Errorf("%+v, %d parts", third, used())
	}
	for _, s := range []pace.Slot{first, second, second, third} {
		if err := b.Release(b.ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	if used() != 2 { // of the one that nobody knows of
		t.Errorf("%d parts", used())
	}
	// It was due: something may have left by it.
	b.exec("truncate pace_days, pace_slots, pacers")
	now := time.Now()
	late := b.reserve(b.DB, pace.Demand{Limits: limits[0], Parts: 3, NotBefore: now})
	again := ask(other, late, time.Time{})
	if same := again.Takes()[1] == late.Takes()[1]; same && used() != 2 || b.count("select sum(parts) from pace_slots") != 5 {
		t.Errorf("%+v after %+v: %d parts", again, late, used())
	}
	twice := ask(b.DB, late, time.Time{})
	if same := twice.Takes()[1] == late.Takes()[1]; same && used() != 4 || twice.Turn != 1 {
		t.Errorf("%+v after %+v: %d parts", twice, late, used())
	}
	if err := b.Release(b.ctx, late); err != nil || b.count("select sum(parts) from pace_slots") != 7 {
		t.Errorf("%v: a slot is given back that another stands instead of", err)
	}
	// The day of the one before is over, or full: it stays counted there.
	if err := b.CloseDay(b.ctx, limits[0]); err != nil {
		t.Fatal(err)
	}
	before := used()
	if next := ask(b.DB, again, time.Time{}); next.Takes()[1].Day == again.Takes()[1].Day || next.Turn != 2 || used() != before+2 {
		t.Errorf("%+v, %d parts, were %d", next, used(), before)
	}
}

// An estimate is what Reserve then gives, and leaves no trace.
func TestPaceEstimate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, from := paced(2, 0, 5)
	for i := range 7 {
		d := pace.Demand{Limits: limits[0], Parts: 1, NotBefore: from}
		if i == 6 {
			d.NotAfter = from.Add(time.Minute)
		}
		want, wantErr := b.Estimate(b.ctx, d)
		if n := b.count("select count(*) from pacers") + b.count("select coalesce(sum(used), 0) from pace_days"); n != min(i, 1)*2+i {
			t.Errorf("%d: an estimate has written, %d", i, n)
		}
		got, err := b.Reserve(b.ctx, d)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || !got.At.Equal(want.At) || got.Hold != want.Hold || !slices.Equal(got.Trail, want.Trail) {
			t.Errorf("%d: %+v, %v; the estimate was %+v, %v", i, got, err, want, wantErr)
		}
		if want.ID != (message.ID{}) || i == 6 && message.ReasonOf(err) != message.ReasonDailyCapReached {
			t.Errorf("%d: %+v, %v", i, want, err)
		}
	}
	for name, ask := range map[string]func(context.Context, pace.Demand) (pace.Slot, error){"Reserve": b.Reserve, "Estimate": b.Estimate} {
		if s, err := ask(b.ctx, pace.Demand{Limits: []pace.Limit{{Key: "x", Window: pace.Minute}}}); err != nil || s.Waits() || len(s.Takes()) != 0 {
			t.Errorf("%s without limits: %+v, %v", name, s, err)
		}
	}
	if n := b.count("select count(*) from pacers where key = 'x'"); n != 0 {
		t.Error("what has no limit is counted")
	}
}

// The time of the database counts: what is asked for in the past is asked for now.
func TestPaceNow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, _ := paced(3, 0, 0)
	before := scalar[time.Time](b, "select clock_timestamp()")
	s := b.reserve(b.DB, pace.Demand{Limits: limits[0], NotBefore: before.Add(-time.Hour)})
	if after := scalar[time.Time](b, "select clock_timestamp()"); s.At.Before(before.Truncate(time.Second)) || s.At.After(after.Add(10*time.Second)) {
		t.Errorf("%s, asked between %s and %s", s.At, before, after)
	}
	use, err := b.PaceUse(b.ctx, limits[0])
	if err != nil || len(use) != 2 || use[0].Used+use[0].Later != 1 || use[0].Name != "campaign C0" || use[1].Window != pace.PacificDay || use[1].ResetsAt.IsZero() {
		t.Errorf("%+v, %v", use, err)
	}
	today, err := b.PaceToday(b.ctx, 10)
	if s.Takes()[1].Day == pace.DayOf(time.Now()) && (err != nil || len(today) != 1 || today[0].Key != "brand:B1" || today[0].Used != 1 || use[1].Used != 1) {
		t.Errorf("%+v, %v", today, err)
	}
}

// Looking for a place goes on beyond what is read at first.
func TestPacePages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, from := paced(4, 0, 0)
	n := 2*slotsPage + 7
	b.exec("insert into pace_slots (key, second, parts) select 'campaign C0', $1::bigint + i * $2::bigint, 4 from generate_series(0, $3::integer - 1) i",
		from.Unix(), pace.Span, n)
	want := from.Add(time.Duration(int64(n)*pace.Span) * time.Second)
	d := pace.Demand{Limits: limits[0][:1], Parts: 2, NotBefore: from}
	if s, err := b.Estimate(b.ctx, d); err != nil || !s.At.Equal(want) {
		t.Errorf("%+v, %v, want %s", s, err, want)
	}
	if s := b.reserve(b.DB, d); !s.At.Equal(want) {
		t.Errorf("%s, want %s", s.At, want)
	}
}

// What is too old to matter goes.
func TestPaceForgets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, _ := paced(4, 0, 9)
	now := time.Now()
	b.exec("insert into pace_slots (key, second, parts) values ('campaign C0', $1, 4), ('campaign C0', $2, 4), ('campaign C1', $1, 4)",
		now.Add(-time.Hour).Unix(), now.Add(-9*time.Minute).Unix())
	b.exec("insert into pace_days (key, day, used) values ('brand:B1', $1, 4), ('brand:B1', $2, 4), ('brand:B2', $1, 4)",
		pace.DayOf(now.AddDate(0, 0, -9)), pace.DayOf(now.AddDate(0, 0, -6)))
	b.exec("insert into pace_spent (id, turn, until) values ($1, 0, now() - interval '1 second')", message.NewID())
	if err := b.Release(b.ctx, b.reserve(b.DB, pace.Demand{Limits: limits[0]})); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{"pace_slots where key = 'campaign C0'": 2, "pace_slots where key = 'campaign C1'": 1,
		"pace_days where key = 'brand:B1'": 2, "pace_days where key = 'brand:B2'": 1, "pace_spent": 1} {
		if n := b.count("select count(*) from " + what); n != want {
			t.Errorf("%s: %d rows, want %d", what, n, want)
		}
	}
}

// A caller who has gone takes nothing, and does not hold up the others.
func TestPaceCallerGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, from := paced(4, 4, 9)
	d := pace.Demand{Limits: limits[0], NotBefore: from}
	b.reserve(b.DB, d)
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(b.ctx, "select from pacers where key = 'campaign C0' for update"); err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := b.Reserve(b.ctx, d)
		first <- err
	}()
	b.blocked()
	ctx, leave := context.WithCancel(b.ctx)
	second := make(chan error, 1)
	go func() {
		_, err := b.Reserve(ctx, d)
		second <- err
	}()
	b.until("the second waits", func() bool {
		b.pacer.mu.Lock()
		defer b.pacer.mu.Unlock()
		return len(b.pacer.queue) == 1
	})
	leave()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := cmp.Or(tx.Rollback(b.ctx), <-first); err != nil {
		t.Error(err)
	}
	b.reserve(b.DB, pace.Demand{Limits: limits[1], NotBefore: from})
	if used := b.count("select sum(used) from pace_days"); used != 3 {
		t.Errorf("%d parts", used)
	}
}

// The marks of a day are told once, whoever crosses them, in the transaction that
// does, and reach the customer although no message carries them.
func TestPaceMarks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, _ := paced(0, 0, 50)
	var mu sync.Mutex
	var marked []pace.Mark
	var waits []time.Duration
	hooks := PaceHooks{
		Events: func(m pace.Mark) []message.AccountEvent {
			e := message.AccountEvent{ID: message.NewID(), AccountID: b.owner, Type: fmt.Sprintf("cap_%d", m.Percent), Payload: `{"day":"` + m.Day + `"}`}
			e.Deliveries = []message.Notification{{ID: message.NewID(), EventID: e.ID, AccountID: b.owner, EndpointID: message.NewID(),
				Type: e.Type, URL: "https://shop.example/hooks", FailoverURL: "https://shop.example/spare", Payload: e.Payload}}
			return []message.AccountEvent{e}
		},
		Marked: func(m pace.Mark) {
			mu.Lock()
			defer mu.Unlock()
			marked = append(marked, m)
		},
		Waited: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, d)
		},
	}
	other := b.replica()
	b.OnPace(hooks)
	other.OnPace(hooks)
	noon := noonAfter(time.Now())
	var senders sync.WaitGroup
	for i := range 10 {
		senders.Go(func() {
			for range 6 {
				if _, err := []*DB{b.DB, other}[i%2].Reserve(b.ctx, pace.Demand{Limits: limits[0], NotBefore: noon}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	slices.SortFunc(marked, func(x, y pace.Mark) int { return x.Percent - y.Percent })
	if len(marked) != 2 || marked[0].Percent != 80 || marked[0].Used != 40 || marked[1].Percent != 100 || marked[1].Used != 50 || marked[1].Cap != 50 || marked[1].Day != pace.DayOf(noon) {
		t.Fatalf("%+v", marked)
	}
	late := 0
	for _, w := range waits {
		if w > 0 {
			late++
		}
	}
	if len(waits) != 60 || late != 10 {
		t.Errorf("%d slots, %d wait", len(waits), late)
	}
	overdue, err := b.OverdueNotifications(b.ctx, time.Minute, 10)
	if err != nil || len(overdue) != 2 {
		t.Fatalf("%v, %v", overdue, err)
	}
	n, state, err := other.Notification(b.ctx, overdue[0])
	if err != nil || state != message.NotificationPending || !strings.HasPrefix(n.Type, "cap_") || n.AccountID != b.owner || n.MessageID != (message.ID{}) || n.Payload != `{"day":"`+marked[0].Day+`"}` {
		t.Errorf("%+v, %s, %v", n, state, err)
	}
	if err := b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: n.ID, Type: n.Type, Number: 1, HTTPStatus: 200, State: message.NotificationDelivered}); err != nil {
		t.Fatal(err)
	}
	if left, err := b.OverdueNotifications(b.ctx, time.Minute, 10); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func noonAfter(now time.Time) time.Time { return pace.NextDay(now).Add(12 * time.Hour) }

// What one replica hears from a vendor closes the day for all of them.
func TestPaceCloseDay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits, _ := paced(5, 5, 100)
	var marked atomic.Int64
	b.OnPace(PaceHooks{Marked: func(m pace.Mark) {
		if m.Percent == 100 && m.Closed && m.Cap == 100 {
			marked.Add(1)
		}
	}})
	other := b.replica()
	today := pace.DayOf(time.Now())
	for range 2 {
		if err := b.CloseDay(b.ctx, limits[0]); err != nil {
			t.Fatal(err)
		}
	}
	s := b.reserve(other, pace.Demand{Limits: limits[1]})
	if s.Takes()[1].Day == today || s.Hold.Rule != pace.RuleDailyCap {
		t.Errorf("%+v", s)
	}
	if marked.Load() != 1 {
		t.Errorf("told %d times", marked.Load())
	}
	if err := b.CloseDay(b.ctx, limits[0][:1]); err != nil || b.count("select count(*) from pacers where key = 'campaign C0'") != 0 {
		t.Errorf("%v", err)
	}
	if closed := b.count("select count(*) from pace_days where closed and day = $1::date", today); closed != 1 && today == pace.DayOf(time.Now()) {
		t.Errorf("%d days are closed", closed)
	}
}

func TestPacePlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("insert into pacers (key) select 'k' || i from generate_series(1, 5000) i")
	b.exec("insert into pace_slots (key, second, parts) select 'k' || i % 2000, i, 1 from generate_series(1, 60000) i")
	b.exec("insert into pace_days (key, day, used) select 'k' || i % 5000, current_date - 6 + i / 5000, i from generate_series(0, 39999) i")
	b.exec("insert into pace_spent (id, turn, until) select gen_random_uuid(), 0, now() + i * interval '1 second' from generate_series(1, 20000) i")
	b.exec(analyze)
	for _, q := range []struct {
		name, sql string
		params    int
		uses      []string
	}{
		{"insert", insertPacers, 1, nil},
		{"lock", lockPacers, 1, []string{"pacers_pkey"}},
		{"select", selectPacers, 1, []string{"pacers_pkey"}},
		{"slots", selectSlots, 4, []string{"pacers_pkey", "pace_slots_pkey"}},
		{"further", selectFurther, 3, []string{"pace_slots_pkey"}},
		{"days", selectDays, 1, []string{"pace_days_pkey"}},
		{"release", releaseSlots, 11, []string{"pace_slots_pkey", "pacers_pkey", "pace_days_pkey"}},
		{"deleteSpent", deleteSpent, 1, []string{"pace_spent_until"}},
		{"selectSpent", selectSpent, 2, []string{"pace_spent_pkey"}},
		{"insertSpent", insertSpent, 3, nil},
		{"addSeconds", addSeconds, 3, nil},
		{"deleteSeconds", deleteSeconds, 2, []string{"pace_slots_pkey"}},
		{"open", openPacers, 3, []string{"pacers_pkey"}},
		{"changeDays", changeDays, 7, nil},
		{"deleteDays", deleteDays, 2, []string{"pace_days_pkey"}},
		{"use", selectUse, 2, []string{"pace_slots_pkey", "pace_days_pkey"}},
		{"today", selectToday, 2, []string{"pace_days_day"}},
	} {
		plan := b.explain(q.sql, q.params, "off")
		for _, table := range endToEnd(plan) {
			t.Errorf("%s reads %s from end to end:\n%s", q.name, table, plan)
		}
		for _, index := range q.uses {
			if !strings.Contains(plan, index) {
				t.Errorf("%s does not use %s:\n%s", q.name, index, plan)
			}
		}
	}
}
