package smpp

import (
	"fmt"
	"time"
)

// TimeError is a time that does not follow SMPP 3.4 §7.1.1. It does not say
// more: the peer gets RINVSCHED or RINVEXPIRY by the field it stood in.
type TimeError struct{ Value string }

// Error quotes the value, which holds digits and a sign at most when it came
// from a peer of good will.
func (e *TimeError) Error() string {
	return fmt.Sprintf("smpp: time %q is not YYMMDDhhmmsstnnp", e.Value)
}

// ParseTime reads an SMPP time: absolute with its offset from UTC in quarter
// hours, or relative to now. The result is in UTC with tenths of a second. The
// empty string is the zero time and no error: at once, or the server's default.
// Years are of this century. The error is a *TimeError.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if len(s) != sizeTime-1 {
		return time.Time{}, &TimeError{s}
	}
	var f [8]int // years, months, days, hours, minutes, seconds, tenths, quarter hours
	for i, at := range [8][2]int{{0, 2}, {2, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 12}, {12, 13}, {13, 15}} {
		n, ok := number(s[at[0]:at[1]])
		if !ok {
			return time.Time{}, &TimeError{s}
		}
		f[i] = n
	}
	switch s[15] {
	case 'R':
		d := time.Duration(f[3])*time.Hour + time.Duration(f[4])*time.Minute + time.Duration(f[5])*time.Second
		return now.UTC().AddDate(f[0], f[1], f[2]).Add(d), nil
	case '+', '-':
		t := time.Date(2000+f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], f[6]*int(100*time.Millisecond), time.UTC)
		valid := f[1] >= 1 && f[1] <= 12 && f[3] <= 23 && f[4] <= 59 && f[5] <= 59 && f[7] <= 48 &&
			t.Day() == f[2] && t.Month() == time.Month(f[1])
		if !valid {
			return time.Time{}, &TimeError{s}
		}
		offset := time.Duration(f[7]) * 15 * time.Minute
		if s[15] == '+' { // local time is ahead of UTC
			offset = -offset
		}
		return t.Add(offset), nil
	}
	return time.Time{}, &TimeError{s}
}

func number(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// FormatTime is t as an absolute SMPP time in UTC; the zero time is the empty
// string.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.UTC()
	return t.Format("060102150405") + string(rune('0'+t.Nanosecond()/int(100*time.Millisecond))) + "00+"
}

// maxRelative is the longest relative time that FormatRelative writes; days have
// two digits and SMSCs read more than 31 of them differently.
const maxRelative = 30 * 24 * time.Hour

// FormatRelative is d as a relative SMPP time, rounded up to a second, at least
// one second and at most 30 days.
func FormatRelative(d time.Duration) string {
	d = min(max(d, time.Second), maxRelative)
	n := int((d + time.Second - 1) / time.Second)
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", n/86400, n/3600%24, n/60%60, n%60)
}
