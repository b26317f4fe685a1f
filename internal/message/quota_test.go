package message

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		period     Period
		zone       string
		at         string
		start, end string
	}{
		{PeriodMinute, "Asia/Kolkata", "2026-03-08T09:59:59.9Z", "2026-03-08T09:59:00Z", "2026-03-08T10:00:00Z"},
		{PeriodDay, "UTC", "2026-03-08T00:00:00Z", "2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z"},
		{PeriodDay, "Asia/Kolkata", "2026-03-08T18:29:59Z", "2026-03-07T18:30:00Z", "2026-03-08T18:30:00Z"},
		// 23 and 25 hours.
		{PeriodDay, "America/Los_Angeles", "2026-03-08T10:00:00Z", "2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z"},
		{PeriodDay, "America/Los_Angeles", "2026-11-01T09:30:00Z", "2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"},
		// The clock is put forward at midnight: the day begins at 01:00.
		{PeriodDay, "America/Santiago", "2026-09-06T03:59:59Z", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"},
		{PeriodDay, "America/Santiago", "2026-09-06T04:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{PeriodMonth, "America/New_York", "2026-03-01T04:59:59Z", "2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z"},
		{PeriodMonth, "America/New_York", "2026-12-31T23:59:59Z", "2026-12-01T05:00:00Z", "2027-01-01T05:00:00Z"},
	} {
		start, end := c.period.Span(instant(t, c.at), zone(t, c.zone))
		if !start.Equal(instant(t, c.start)) || !end.Equal(instant(t, c.end)) {
			t.Errorf("%s of %s in %s: %s to %s, want %s to %s", c.period, c.at, c.zone, start, end, c.start, c.end)
		}
	}
}

// Every moment lies in one period, which ends where the next begins, whatever is done
// to the clocks.
func TestSpansAdjoin(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "America/New_York", "America/Santiago", "America/St_Johns", "Asia/Beirut", "Australia/Lord_Howe",
		"Pacific/Apia", "Africa/Casablanca", "America/Havana", "Asia/Kathmandu", "America/Sao_Paulo"} {
		zone := zone(t, name)
		for _, p := range Periods() {
			step, from, to := 37*time.Minute, time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2012, 6, 1, 0, 0, 0, 0, time.UTC)
			if p == PeriodMinute {
				to = from.AddDate(0, 1, 0)
			}
			_, end := p.Span(from, zone)
			before := from
			for at := from.Add(step); at.Before(to); at = at.Add(step) {
				start, next := p.Span(at, zone)
				if at.Before(start) || !at.Before(next) {
					t.Fatalf("%s, %s: %s is not in %s to %s", name, p, at, start, next)
				}
				if p != PeriodMinute && !start.Equal(end) && !(next.Equal(end) && !before.Before(start)) {
					t.Fatalf("%s, %s: %s begins at %s, the one before ended at %s", name, p, at, start, end)
				}
				if days := next.Sub(start).Hours() / 24; p == PeriodDay && (days < 0.9 || days > 1.1) {
					t.Fatalf("%s: the day of %s has %v days", name, at, days)
				}
				end, before = next, at
			}
		}
	}
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestFitIn(t *testing.T) {
	t.Parallel()
	fit := Fit{Trail: []TrailEntry{{Rule: RuleQuota}, {Rule: RuleBalance}}}
	for _, c := range [][2]string{{"", "quota balance"}, {"rate", "rate quota balance"}, {"rate route", "rate quota balance route"}, {"rate daily_cap route", "rate quota balance daily_cap route"}} {
		var trail []TrailEntry
		for _, rule := range strings.Fields(c[0]) {
			trail = append(trail, TrailEntry{Rule: rule})
		}
		got := ""
		for _, e := range fit.In(trail) {
			got += e.Rule + " "
		}
		if got != c[1]+" " {
			t.Errorf("%s: %s", c[0], got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	inner := &SubmitError{After: time.Minute}
	for want, e := range map[time.Duration]*Error{0: {Reason: ReasonInternal}, time.Hour: {After: time.Hour, Err: inner}, time.Minute: {Err: fmt.Errorf("of: %w", inner)}} {
		if got := e.RetryAfter(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
