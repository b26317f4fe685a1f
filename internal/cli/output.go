package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/postrider/postrider/internal/client/api"
)

// json reports whether the output is for scripts: the objects of the API as they came, a
// single one indented, those of a list one in a line.
func (a *app) json() bool { return a.output == "json" }

// object prints the JSON of an answer.
func object(w io.Writer, raw []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(w)
	return err
}

// objectLine prints JSON in one line.
func objectLine(w io.Writer, raw []byte) error {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(w)
	return err
}

// table prints rows of tab-separated cells under a head, in columns, once it is flushed.
func table(out io.Writer, head string) *tabwriter.Writer {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if head != "" {
		fmt.Fprintln(w, head)
	}
	return w
}

// row adds one to a table.
func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = plain(fmt.Sprint(c))
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

// plain is text that a terminal may be given: what others wrote must not move its cursor,
// colour it, or turn its lines around. Emojis are joined by a mark that stays.
func plain(s string) string {
	const joiner = '\u200d'
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == joiner || unicode.IsPrint(r) || unicode.Is(unicode.Mn, r):
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// clip shortens text to n characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// or is a text that may be missing.
func or(s *string, other string) string {
	if s == nil {
		return other
	}
	return *s
}

// at is a time as people here read it; empty if there is none.
func (a *app) at(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.In(a.location).Format("2006-01-02 15:04:05")
}

func price(p *api.Price) string {
	if p == nil {
		return ""
	}
	text := p.Amount + " " + p.Currency
	if p.Estimated {
		text += " (estimated)"
	}
	return text
}

func why(e *api.Error) string {
	if e == nil {
		return ""
	}
	if e.Detail == "" {
		return e.Code
	}
	return e.Code + ": " + e.Detail
}

// fields prints names and values below each other, leaving out what is empty.
func fields(out io.Writer, pairs ...string) error {
	w := table(out, "")
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			row(w, pairs[i], pairs[i+1])
		}
	}
	return w.Flush()
}
