package pace

import (
	"fmt"
	"time"
	_ "time/tzdata" // the days are the same on machines without a zone database
)

// pacific is where T-Mobile's day begins and ends.
var pacific = func() *time.Location {
	l, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		panic(fmt.Sprintf("the embedded zone database is broken: %v", err))
	}
	return l
}()

// DayOf is the date of t in Los Angeles, such as 2026-11-22.
func DayOf(t time.Time) string { return t.In(pacific).Format(time.DateOnly) }

// NextDay is the midnight in Los Angeles after t, when the caps of a day begin anew.
func NextDay(t time.Time) time.Time {
	y, m, d := t.In(pacific).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, pacific).UTC()
}

// within gives the day of the slots of second t. When a slot of that second could
// be used on another day than t's, ok is false. next is the first second of the
// day after whose slots are used on that day.
func within(t int64) (day string, next int64, ok bool) {
	at := time.Unix(t, 0)
	y, m, d := at.In(pacific).Date()
	begin := time.Date(y, m, d, 0, 0, 0, 0, pacific).Unix()
	end := time.Date(y, m, d+1, 0, 0, 0, 0, pacific).Unix()
	if t < begin+lead {
		return "", begin + lead, false
	}
	return at.In(pacific).Format(time.DateOnly), end + lead, t+trail <= end
}
