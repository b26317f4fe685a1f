package page

import (
	"strconv"
	"strings"
	"time"
)

// Cell is a value as it is shown: the functions of this file make them.
type Cell struct {
	Text string
	Href string
	// Kind is how it is drawn: "", "code", "badge", "time", "number", "none" or "form".
	Kind string
	Tone Tone
	// Help explains it on hover.
	Help string
	// Sub stands below in small.
	Sub string
	At  time.Time
	// Copy adds a button that copies Text.
	Copy bool
	// Do is a form of one button.
	Do *Form
}

// Str is text; empty: None.
func Str(s string) Cell {
	if s == "" {
		return None("")
	}
	return Cell{Text: s}
}

// None is the dash of what is not there; help says why.
func None(help string) Cell { return Cell{Kind: "none", Text: "–", Help: help} }

// To is a link.
func To(text, href string) Cell {
	if text == "" {
		return None("")
	}
	return Cell{Text: text, Href: href}
}

// Mono is an id, a number or a code in a fixed width.
func Mono(s string) Cell {
	if s == "" {
		return None("")
	}
	return Cell{Text: s, Kind: "code"}
}

// CodeTo is Mono that leads somewhere.
func CodeTo(text, href string) Cell { c := Mono(text); c.Href = href; return c }

// Badge is a word in a color.
func Badge(text string, tone Tone, help string) Cell {
	return Cell{Text: text, Kind: "badge", Tone: tone, Help: help}
}

// YesNo is a truth.
func YesNo(yes bool) Cell {
	if yes {
		return Cell{Text: "yes"}
	}
	return Cell{Text: "no"}
}

// On is the state of what can be switched off.
func On(active bool) Cell {
	if active {
		return Badge("active", Good, "")
	}
	return Badge("off", Plain, "")
}

// Time is a time in the reader's zone; the zero time is none.
func Time(t time.Time) Cell {
	if t.IsZero() {
		return None("")
	}
	return Cell{Kind: "time", At: t.UTC()}
}

// When is Time of an RFC 3339 text as the API gives it; what is none, is a dash.
func When(s string) Cell {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return None("")
	}
	return Time(t)
}

// Whenp is When of a text that may be null.
func Whenp(s *string) Cell {
	if s == nil {
		return None("")
	}
	return When(*s)
}

// Strp is Str of a text that may be null.
func Strp(s *string) Cell {
	if s == nil {
		return None("")
	}
	return Str(*s)
}

// Num is a whole number, grouped by thousands.
func Num[N int | int64 | uint64 | uint32](n N) Cell {
	return Cell{Kind: "number", Text: Grouped(int64(n))}
}

// Rate is a number with at most two digits behind the point.
func Rate(f float64) Cell { return Cell{Kind: "number", Text: Decimal(f)} }

// Decimal writes a number with at most two digits behind the point.
func Decimal(f float64) string {
	s := strconv.FormatFloat(f, 'f', 2, 64)
	whole, rest, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err == nil && n != 0 {
		whole = Grouped(n)
	}
	if rest = strings.TrimRight(rest, "0"); rest == "" {
		return whole
	}
	return whole + "." + rest
}

// Money is an amount as the API gives it, and its currency.
func Money(amount, currency string) Cell {
	if amount == "" {
		return None("")
	}
	return Cell{Kind: "number", Text: amount + " " + currency}
}

// Grouped writes 1234567 as 1,234,567.
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, d := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// Do is a button that sends its form.
func Do(f *Form) Cell { return Cell{Kind: "form", Do: f} }

// WithSub adds a line below in small.
func (c Cell) WithSub(s string) Cell { c.Sub = s; return c }

// WithHelp adds an explanation.
func (c Cell) WithHelp(s string) Cell { c.Help = s; return c }

// WithCopy adds a button that copies the text.
func (c Cell) WithCopy() Cell { c.Copy = true; return c }

// Duration writes a length of time by its two largest units: "3 h 20 min".
func Duration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	var parts []string
	for i, u := range units {
		if n := d / u.of; n > 0 {
			parts = append(parts, strconv.FormatInt(int64(n), 10)+" "+u.name)
			d -= n * u.of
		} else if len(parts) > 0 {
			break
		}
		if len(parts) == 2 || i == len(units)-1 {
			break
		}
	}
	return strings.Join(parts, " ")
}

// clock is a time as it stands in a page until a script puts it into the reader's zone.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// stamp is it for machines.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
