package rest

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// decoder reads the members of one JSON object into variables and gathers what
// is wrong with them. A member that is null counts as left out.
type decoder struct {
	reader
	faults
}

// decodeObject reads text, which must be one object. member reads the value of
// a member it knows and answers false, without reading, for one it does not.
// The error is a *syntaxError; everything else is in the decoder's faults.
func decodeObject(text []byte, member func(d *decoder, name, location string) (known bool, err error)) (*decoder, error) {
	d := &decoder{reader: reader{text: text}}
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return d, d.reader.fail("the body begins with a byte order mark; leave it out")
	}
	if c := d.peek(); c != '{' {
		if c == 0 && d.at == len(text) {
			return d, d.reader.fail("the body is empty where a JSON object is expected")
		}
		if err := d.skip(); err != nil {
			return d, err
		}
		d.invalid("body", "must be a JSON object: {…}")
		return d, d.end()
	}
	var names []string
	err := d.object(func(name string) error {
		location := "body." + clip(name)
		d.within = location
		defer func() { d.within = "" }()
		switch {
		case len(names) == maxMembers:
			d.invalid("body", "has more than %d fields", maxMembers)
		case len(names) > maxMembers: // said already
		case contains(names, name):
			d.invalid(location, "appears twice; send it once")
		default:
			known, err := member(d, name, location)
			if known || err != nil {
				names = append(names, name)
				return err
			}
			d.invalid(location, "there is no such field; see /docs for those there are")
		}
		names = append(names, name)
		return d.skip()
	})
	if err != nil {
		return d, err
	}
	return d, d.end()
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// clip keeps a name that a customer chose short enough for an answer.
func clip(s string) string {
	const most = 64
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// null reads a null if there is one.
func (d *decoder) null() (bool, error) {
	if d.peek() != 'n' {
		return false, nil
	}
	return true, d.word("null")
}

// layout says which control characters a text may have.
type layout bool

const (
	oneLine layout = false // none
	lines   layout = true  // tab, line feed, form feed, carriage return
)

// text reads a string.
func (d *decoder) text(location string, into *string, allow layout) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	if d.peek() != '"' {
		d.invalid(location, "must be a string in double quotes")
		return d.skip()
	}
	s, whole, err := d.string()
	if err != nil {
		return err
	}
	if !whole {
		d.invalid(location, `has half of a surrogate pair, such as \ud83d alone; send the whole character`)
		return nil
	}
	if c, at := control(s, allow); at >= 0 {
		d.invalid(location, "has the control character U+%04X as character %d; remove it", c, at+1)
		return nil
	}
	*into = s
	return nil
}

// control finds the first control character that is not allowed: its place is
// counted in characters, -1 for none.
func control(s string, allow layout) (rune, int) {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return 0, -1
	}
	at := 0
	for _, c := range s {
		switch {
		case allow == lines && (c == '\t' || c == '\n' || c == '\f' || c == '\r'):
		case c < ' ', c >= 0x7f && c <= 0x9f:
			return c, at
		}
		at++
	}
	return 0, -1
}

// choice reads a string that is one of the given.
func (d *decoder) choice(location string, into *string, of ...string) error {
	return d.parsed(location, func(s string) {
		if !contains(of, s) {
			d.invalid(location, "must be one of %s", quoted(of))
			return
		}
		*into = s
	})
}

// parsed reads a string and hands it to take, unless it is null or faulty.
func (d *decoder) parsed(location string, take func(string)) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	var s string
	before := len(d.list)
	if err := d.text(location, &s, oneLine); err != nil || len(d.list) > before {
		return err
	}
	take(s)
	return nil
}

// parsedChoice reads a string that is one of the given and hands it to take.
func (d *decoder) parsedChoice(location string, of []string, take func(string)) error {
	var v string
	err := d.choice(location, &v, of...)
	if v != "" {
		take(v)
	}
	return err
}

// optional reads a string of one line; null leaves into nil.
func (d *decoder) optional(location string, into **string) error {
	return d.parsed(location, func(s string) { *into = &s })
}

// time reads a time and hands it to take, unless it is null or faulty.
func (d *decoder) time(location string, take func(time.Time)) error {
	return d.parsed(location, func(s string) {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			d.invalid(location, "must be a time such as 2026-11-21T20:15:04Z (RFC 3339, with its offset)")
			return
		}
		take(at)
	})
}

func quoted(of []string) string {
	var b bytes.Buffer
	for i, s := range of {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", s)
	}
	return b.String()
}

// flag reads true or false.
func (d *decoder) flag(location string, into **bool) error {
	var v bool
	switch d.peek() {
	case 'n':
		return d.word("null")
	case 't':
		v = true
		*into = &v
		return d.word("true")
	case 'f':
		*into = &v
		return d.word("false")
	}
	d.invalid(location, "must be true or false, without quotes")
	return d.skip()
}

// whole reads an integer.
func (d *decoder) whole(location string, into **int64) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	c := d.peek()
	if c != '-' && (c < '0' || c > '9') {
		d.invalid(location, "must be a whole number, without quotes")
		return d.skip()
	}
	digits, err := d.number()
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		d.invalid(location, "must be a whole number without fraction or exponent, of at most 18 digits")
		return nil
	}
	*into = &n
	return nil
}

// pairs reads an object of strings.
func (d *decoder) pairs(location string, into *map[string]string, most, maxKey, maxValue int) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	if d.peek() != '{' {
		d.invalid(location, `must be an object of strings, such as {"order":"8812"}`)
		return d.skip()
	}
	m := make(map[string]string)
	n := 0
	err := d.object(func(key string) error {
		if n++; n > most {
			if n == most+1 {
				d.invalid(location, "has more than %d pairs", most)
			}
			return d.skip()
		}
		place := location + "." + clip(key)
		c, at := control(key, oneLine)
		_, twice := m[key]
		switch {
		case !d.name:
			d.invalid(location, "a key has half of a surrogate pair; send the whole character")
		case key == "" || utf8.RuneCountInString(key) > maxKey:
			d.invalid(place, "a key has 1 to %d characters", maxKey)
		case at >= 0:
			d.invalid(location, "a key has the control character U+%04X; remove it", c)
		case twice:
			d.invalid(place, "appears twice; send it once")
		}
		if null, err := d.null(); null || err != nil {
			d.invalid(place, "must be a string, not null")
			return err
		}
		var value string
		if err := d.text(place, &value, lines); err != nil {
			return err
		}
		if utf8.RuneCountInString(value) > maxValue {
			d.invalid(place, "must have at most %d characters", maxValue)
		}
		m[key] = value
		return nil
	})
	if err == nil && len(m) > 0 {
		*into = m
	}
	return err
}
