// Package story tells what happened to a message in plain words: the timeline of the API,
// line by line, as a person reads it. The console and the portal show it; what only staff
// see is left out by the API, not here.
package story

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/message"
)

// Line is a line of a timeline, as the API has it.
type Line struct {
	Sequence int            `json:"sequence"`
	At       time.Time      `json:"at"`
	Type     string         `json:"type"`
	Detail   map[string]any `json:"detail"`
}

// Of tells the lines. What a line says beyond its words stands in its details.
func Of(lines []Line) page.Timeline {
	out := page.Timeline{Empty: "Nothing is on record."}
	for _, l := range lines {
		out.Items = append(out.Items, tell(l))
	}
	return out
}

// words begin the telling of a line.
type words struct {
	title string
	tone  page.Tone
	// tell gives the sentence, and names what of the detail it has said.
	tell func(d detail) (text string, lines []string)
}

// detail is what a line says beyond its type; what was asked for is not shown again.
type detail struct {
	of   map[string]any
	said map[string]bool
}

// take gives a member as text, and notes that it was said; empty: there is none.
func (d detail) take(name string) string {
	v, ok := d.of[name]
	if !ok || v == nil {
		return ""
	}
	d.said[name] = true
	return plain(v)
}

func (d detail) is(name string) bool {
	v, _ := d.of[name].(bool)
	if _, ok := d.of[name]; ok {
		d.said[name] = true
	}
	return v
}

func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case nil:
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// sentence joins the parts that are there.
func sentence(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// around puts words around a value that is there.
func around(before, value, after string) string {
	if value == "" {
		return ""
	}
	return before + value + after
}

func tell(l Line) page.Event {
	d := detail{of: l.Detail, said: map[string]bool{}}
	w, known := table[message.EventType(l.Type)]
	if !known {
		w = words{title: strings.ReplaceAll(l.Type, "_", " ")}
	}
	e := page.Event{At: l.At, Title: w.title, Tone: w.tone}
	if w.tell != nil {
		e.Text, e.Lines = w.tell(d)
	}
	if trouble := d.trouble(); trouble != "" {
		e.Text = sentence(e.Text, trouble)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Detail)) {
		if v := plain(l.Detail[name]); !d.said[name] && v != "" {
			e.Lines = append(e.Lines, strings.ReplaceAll(name, "_", " ")+": "+v)
		}
	}
	return e
}

// trouble is why something went wrong: {code, class, detail, vendor_code} under "error", or
// the members themselves.
func (d detail) trouble() string {
	of := d
	if inner, ok := d.of["error"].(map[string]any); ok {
		d.said["error"] = true
		of = detail{of: inner, said: map[string]bool{}}
	}
	code, text := of.take("code"), of.take("detail")
	of.take("class")
	switch vendor := of.take("vendor_code"); {
	case code == "" && text == "" && vendor == "":
		return ""
	case text == "":
		return sentence("Because: "+code, around("(the vendor said ", vendor, ")")) + "."
	default:
		return sentence(strings.ToUpper(text[:1])+strings.TrimSuffix(text[1:], ".")+".", around("(", sentence(code, around("vendor: ", vendor, "")), ")"))
	}
}

// part names a part and its attempt where there is more than one.
func part(d detail) string {
	p, attempt := d.take("part"), d.take("attempt")
	s := around("Part ", p, "")
	if attempt != "" && attempt != "1" && attempt != "0" {
		s = sentence(s, around("for the ", ordinal(attempt), " time"))
	}
	return s
}

func ordinal(n string) string {
	switch n {
	case "2":
		return "second"
	case "3":
		return "third"
	}
	return n + "th"
}

// trail tells the rules that were looked at.
func trail(d detail) []string {
	entries, _ := d.of["trail"].([]any)
	if entries != nil {
		d.said["trail"] = true
	}
	var out []string
	for _, e := range entries {
		m, _ := e.(map[string]any)
		rule, result, text := plain(m["rule"]), plain(m["result"]), plain(m["detail"])
		verdict := map[string]string{"pass": "passed", "hold": "must wait", "refuse": "refused"}[result]
		if verdict == "" {
			verdict = result
		}
		out = append(out, sentence(ruleWords(rule)+": "+verdict, around("(", text, ")")))
	}
	return out
}

// rules are the policy's rules as a person calls them.
var rules = map[string]string{
	"account_active": "The account is active", "sender_owned": "The sender belongs to the account", "destination": "The recipient can be sent to",
	"campaign": "10DLC campaign", "opt_out": "The recipient has not opted out", "content": "Content rules", "quiet_hours": "Quiet hours",
	"rate": "Rate", "quota": "Quota", "balance": "Balance", "daily_cap": "Daily cap", "route": "Route",
}

func ruleWords(rule string) string {
	if w, ok := rules[rule]; ok {
		return w
	}
	return strings.ReplaceAll(rule, "_", " ")
}

// hold tells what a message waits for.
func hold(d detail) string {
	h, _ := d.of["hold"].(map[string]any)
	if h == nil {
		return ""
	}
	d.said["hold"] = true
	return sentence("It waits:", ruleWords(plain(h["rule"]))+around(" – ", plain(h["detail"]), "")+".")
}
