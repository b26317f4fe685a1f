// Package vendorconf is how staff write vendors, peers of MM4, routes, customers and numbers down: as
// documents of named settings, which the internal API and the shell read, check and show
// alike.
//
// A setting is a field of Vendor, MM4Peer, Route, Customer or Number. Its name, what it says of itself and its
// bounds are in the field's tags, so that a setting which is added is at once a member
// of the API's documents, a flag of the shell and checked in both. Secrets are no
// settings: nothing here shows them.
package vendorconf

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// Faults gathers settings that break their rules. A location is the setting's name.
type Faults []message.FieldError

func (f *Faults) add(setting, format string, args ...any) {
	*f = append(*f, message.FieldError{Location: setting, Message: fmt.Sprintf(format, args...)})
}

// Add notes what is wrong with something beside the settings of a document.
func (f *Faults) Add(setting, format string, args ...any) { f.add(setting, format, args...) }

// has reports whether something is wrong with a setting already.
func (f Faults) has(setting string) bool {
	return slices.ContainsFunc(f, func(e message.FieldError) bool { return e.Location == setting })
}

// Refusal is the whole as one error, nil when nothing is wrong.
func (f Faults) Refusal() error {
	if len(f) == 0 {
		return nil
	}
	var words []string
	for _, e := range f {
		words = append(words, e.Location+" "+e.Message)
	}
	return &message.Error{Reason: message.ReasonInvalidRequest, Detail: strings.Join(words, "; "), Fields: f}
}

// Setting is one setting of a document.
type Setting struct {
	Name string
	Doc  string
	// Value is what the document has: of a kind that Set takes. It is set in place.
	Value reflect.Value
	tag   reflect.StructTag
}

// Settings lists those of a document, which is a pointer to a struct.
func Settings(doc any) []Setting {
	v := reflect.ValueOf(doc).Elem()
	list := make([]Setting, 0, v.NumField())
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		list = append(list, Setting{Name: name, Doc: f.Tag.Get("doc"), Value: v.Field(i), tag: f.Tag})
	}
	return list
}

// Choices are the words that the setting takes, nil for any.
func (s Setting) Choices() []string {
	if words := s.tag.Get("enum"); words != "" {
		return strings.Split(words, ",")
	}
	return nil
}

// Lines reports whether the setting is a text of several lines.
func (s Setting) Lines() bool { return s.tag.Get("lines") == "true" }

// check looks at the bounds in the tags.
func (s Setting) check(f *Faults) {
	switch v := reflect.Indirect(s.Value); v.Kind() {
	case reflect.String:
		s.checkText(f, v.String())
	case reflect.Int:
		low, high := s.bound("minimum", 0), s.bound("maximum", 1<<31-1)
		if n := int(v.Int()); n < low || n > high {
			f.add(s.Name, "must be %d to %d", low, high)
		} else if words := s.Choices(); words != nil && !slices.Contains(words, strconv.Itoa(n)) {
			f.add(s.Name, "must be one of %s", strings.Join(words, ", "))
		}
	case reflect.Slice, reflect.Map:
		if most := s.Most(); v.Len() > most {
			f.add(s.Name, "has more than %d entries", most)
		}
	}
}

func (s Setting) checkText(f *Faults, text string) {
	words, most := s.Choices(), s.bound("maxLength", 255)
	switch {
	case words != nil && !slices.Contains(words, text):
		f.add(s.Name, "must be one of %s", strings.Join(words, ", "))
	case utf8.RuneCountInString(text) > most:
		f.add(s.Name, "must have at most %d characters", most)
	case strings.ContainsRune(text, 0) || !utf8.ValidString(text):
		f.add(s.Name, "has octets that are no text")
	}
}

func (s Setting) bound(tag string, otherwise int) int {
	if n, err := strconv.Atoi(s.tag.Get(tag)); err == nil {
		return n
	}
	return otherwise
}

// Set reads the setting from words of the shell: lists and pairs (a=b) have commas
// between, and an empty word is null where the setting may be null.
func (s Setting) Set(word string) error {
	v := s.Value
	if v.Kind() == reflect.Pointer {
		if word == "" {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(word)
	case reflect.Bool:
		b, err := strconv.ParseBool(word)
		if err != nil {
			return fmt.Errorf("want true or false, not %q", word)
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(word)
		if err != nil {
			return fmt.Errorf("want a whole number, not %q", word)
		}
		v.SetInt(int64(n))
	case reflect.Slice:
		v.Set(reflect.ValueOf(list(word)))
	case reflect.Map:
		m := map[string]string{}
		for _, pair := range list(word) {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("want pairs such as 45=vendor_rejected, not %q", pair)
			}
			m[key] = value
		}
		v.Set(reflect.ValueOf(m))
	default:
		return fmt.Errorf("a setting of the kind %s cannot be set", v.Kind())
	}
	return nil
}

func list(word string) []string {
	out := []string{}
	for part := range strings.SplitSeq(word, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// checkAll looks at the bounds of every setting.
func checkAll(doc any) Faults {
	var f Faults
	for _, s := range Settings(doc) {
		s.check(&f)
	}
	return f
}

// Amount reads a decimal of at most four places before the point and six after it.
func Amount(text string) (message.Micros, bool) {
	n, ok := Money(text)
	return n, ok && n < 10_000_000_000
}

// Money reads a decimal up to a billion, of at most six places after the point.
func Money(text string) (message.Micros, bool) {
	whole, frac, _ := strings.Cut(text, ".")
	n, err := strconv.ParseUint(whole+frac+strings.Repeat("0", max(0, 6-len(frac))), 10, 63)
	if whole == "" || len(frac) > 6 || err != nil || n > 1e15 {
		return 0, false
	}
	return message.Micros(n), true
}

func (f *Faults) amount(setting, text string) message.Micros {
	n, ok := Amount(text)
	if !ok {
		f.add(setting, "must be a decimal from 0 to 9999.999999, such as 0.0045")
	}
	return n
}

func (f *Faults) id(setting, text string) message.ID {
	id, err := message.ParseID(text)
	if err != nil {
		f.add(setting, "must be a UUID of 32 hex digits, hyphens optional")
	}
	return id
}

// Most is how many entries a list or map may have.
func (s Setting) Most() int { return s.bound("maxItems", s.bound("maxProperties", 100)) }
