package page

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Form is fields with a button. The zero Method is "post"; "get" makes a filter, whose
// fields become the query.
type Form struct {
	// Action is the path that it is sent to; empty: the page's own.
	Action string
	Method string
	// Submit is what the button says.
	Submit string
	// Danger colors the button; Quiet makes it a plain one.
	Danger, Quiet bool
	Fields        []Field
	// Patch says that the body is a merge patch: what is empty is null, not left out.
	Patch bool
	// ETag goes with the form, so that a change made meanwhile is not overwritten.
	ETag string
	// Cancel leads back without doing anything; a zero one is not shown.
	Cancel Link
	// Inline lays the fields side by side, as filters are.
	Inline bool
	// Label says to screen readers what a form without a heading is for.
	Label string
	// Download leaves the reader on the page, since the answer is a file.
	Download bool
	// Trouble is what is wrong with the whole, as the API says it; see Refuse.
	Trouble      string
	TroubleLines []string
}

// Kind is what a field holds and how it is asked for.
type Kind int

// The kinds of fields.
const (
	OneLine   Kind = iota // text of one line
	Multiline             // text
	Number                // a whole number
	Amount                // a decimal number that stays text in JSON, such as money
	Real                  // a decimal number
	Check                 // a truth
	Choice                // one of Options
	Choices               // some of Options
	Lines                 // a list of texts, a line each
	Secret                // text that is not shown; empty leaves what there is
	Moment                // a time, in the reader's zone
	Pairs                 // an object of texts, "name: value" a line
	File                  // a file, which Read leaves alone
	Hidden                // text that is not asked for
	Email                 // an e-mail address
)

// Option is one of a choice.
type Option struct{ Value, Text string }

// Field is one field of a form.
type Field struct {
	// Name is the path of the member of the JSON body, or the parameter of the query. One
	// that begins with an underscore is no member.
	Name  string
	Label string
	Help  string
	Kind  Kind
	// Value is text as the field shows it; Values are those of Choices.
	Value   string
	Values  []string
	Options []Option
	// Suggest is offered while typing.
	Suggest  []string
	Required bool
	// ReadOnly is shown and not sent.
	ReadOnly    bool
	Placeholder string
	// Group begins a part of the form under this heading; it goes on until the next.
	Group string
	// Unit stands behind the field.
	Unit string
	// Keep says that an empty field is left out of a merge patch too, Blank that it is an
	// empty text.
	Keep, Blank bool
	// Auto is HTML's autocomplete, such as "current-password".
	Auto string
	// Rows is the height of a multiline field; 0: 3.
	Rows int
	// Max is the most characters; 0: as many as one likes.
	Max int
	// Slider puts a slider beside a number, from 0 to so many; 0: none. It needs a script.
	Slider int
	// Error is what is wrong with it.
	Error string
}

// csrfField and etagField are names that no member of a body has.
const (
	CSRFField = "csrf"
	etagField = "_etag"
)

// Field finds a field; nil: there is none.
func (f *Form) Field(name string) *Field {
	for i := range f.Fields {
		if f.Fields[i].Name == name {
			return &f.Fields[i]
		}
	}
	return nil
}

// Wrong puts what is wrong at a field, or at the form if there is no such field.
func (f *Form) Wrong(name, what string) {
	if field := f.Field(name); field != nil {
		field.Error = what
		return
	}
	f.TroubleLines = append(f.TroubleLines, strings.TrimSpace(name+" "+what))
}

// Failed reports whether something is wrong.
func (f *Form) Failed() bool {
	return f.Trouble != "" || len(f.TroubleLines) > 0 || slices.ContainsFunc(f.Fields, func(x Field) bool { return x.Error != "" })
}

// Fault is something wrong with a member of a body, as a problem of the API lists it.
type Fault struct{ Location, Message string }

// Refuse shows the API's refusal: what it says of members stands at their fields, the
// rest above the form.
func (f *Form) Refuse(detail string, faults []Fault) {
	f.Trouble = detail
	for _, fault := range faults {
		_, path, ok := strings.Cut(fault.Location, ".")
		if !ok {
			path = fault.Location
		}
		best := -1
		for i, field := range f.Fields {
			if (path == field.Name || strings.HasPrefix(path, field.Name+".") || strings.HasPrefix(path, field.Name+"[")) &&
				(best < 0 || len(field.Name) > len(f.Fields[best].Name)) && !field.ReadOnly {
				best = i
			}
		}
		switch {
		case best < 0:
			f.TroubleLines = append(f.TroubleLines, strings.TrimSpace(path+" "+fault.Message))
		case f.Fields[best].Error == "":
			f.Fields[best].Error = fault.Message
		default:
			f.Fields[best].Error += "; " + fault.Message
		}
	}
}

// From takes the fields' values from a query or a form that was sent.
func (f *Form) From(sent url.Values) {
	for i := range f.Fields {
		field := &f.Fields[i]
		if field.ReadOnly || field.Kind == File {
			continue
		}
		switch field.Kind {
		case Choices:
			field.Values = sent[field.Name]
		case Check:
			field.Value = strconv.FormatBool(sent.Get(field.Name) != "")
		default:
			if sent.Has(field.Name) {
				field.Value = strings.ReplaceAll(sent.Get(field.Name), "\r\n", "\n")
			}
		}
	}
	if sent.Has(etagField) {
		f.ETag = sent.Get(etagField)
	}
}

// Query gives the fields that are set, as a filter's query.
func (f *Form) Query() url.Values {
	q := url.Values{}
	for _, field := range f.Fields {
		switch {
		case field.Kind == Choices:
			for _, v := range field.Values {
				q.Add(field.Name, v)
			}
		case field.Kind == Check && field.Value != "true":
		case field.Value == "":
		case field.Kind == Moment:
			if t, ok := moment(field.Value); ok {
				q.Set(field.Name, stamp(t))
			}
		default:
			q.Set(field.Name, strings.TrimSpace(field.Value))
		}
	}
	return q
}

// Fill takes the fields' values from a resource of the API.
func (f *Form) Fill(resource []byte) error {
	var whole map[string]any
	d := json.NewDecoder(strings.NewReader(string(resource)))
	d.UseNumber()
	if err := d.Decode(&whole); err != nil {
		return err
	}
	for i := range f.Fields {
		f.Fields[i].fill(member(whole, f.Fields[i].Name))
	}
	return nil
}

// member finds the value at a path of names.
func member(whole map[string]any, path string) any {
	name, rest, deeper := strings.Cut(path, ".")
	v := whole[name]
	if !deeper {
		return v
	}
	inner, _ := v.(map[string]any)
	return member(inner, rest)
}

func (f *Field) fill(v any) {
	switch v := v.(type) {
	case nil:
		if f.Kind != Hidden {
			f.Value, f.Values = "", nil
		}
	case string:
		f.Value = v
	case bool:
		f.Value = strconv.FormatBool(v)
	case json.Number:
		f.Value = v.String()
	case []any:
		f.Values = nil
		for _, e := range v {
			if s, ok := e.(string); ok {
				f.Values = append(f.Values, s)
			} else if n, ok := e.(json.Number); ok {
				f.Values = append(f.Values, n.String())
			}
		}
		f.Value = strings.Join(f.Values, "\n")
	case map[string]any:
		var lines []string
		for name, e := range v {
			if s, ok := e.(string); ok {
				lines = append(lines, name+": "+s)
			}
		}
		slices.Sort(lines)
		f.Value = strings.Join(lines, "\n")
	}
}

// Read takes what was sent and makes the JSON body of it. It reports false when a field
// cannot be read, which is then said at the field. The request's body must be bounded.
func (f *Form) Read(r *http.Request) (map[string]any, bool) {
	if err := parse(r); err != nil {
		f.Trouble = "what was sent is too large or no form: " + err.Error()
		return nil, false
	}
	f.From(r.PostForm)
	return f.Body()
}

func parse(r *http.Request) error {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return r.ParseMultipartForm(1 << 20)
	}
	return r.ParseForm()
}

// Body is the JSON body that the fields' values make.
func (f *Form) Body() (map[string]any, bool) {
	body := map[string]any{}
	ok := true
	for i := range f.Fields {
		field := &f.Fields[i]
		if field.ReadOnly || field.Kind == File || strings.HasPrefix(field.Name, "_") {
			continue
		}
		v, given, problem := field.value()
		switch {
		case problem != "":
			field.Error = problem
			ok = false
			continue
		case !given && field.Required:
			field.Error = "is needed"
			ok = false
			continue
		case !given && field.Blank:
			v = ""
		case !given && (!f.Patch || field.Keep || field.Kind == Secret || field.Kind == Hidden):
			continue
		}
		put(body, field.Name, v)
	}
	return body, ok
}

// value is the field's member of the body, nil and false when it is empty.
func (f *Field) value() (v any, given bool, problem string) {
	text := f.Value
	if f.Kind != Multiline && f.Kind != Secret {
		text = strings.TrimSpace(text)
	}
	switch f.Kind {
	case Check:
		return f.Value == "true", true, ""
	case Choices:
		return append([]string{}, f.Values...), true, ""
	case Lines:
		list := []string{}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				list = append(list, line)
			}
		}
		return list, len(list) > 0 || !f.Keep, ""
	case Pairs:
		object := map[string]any{}
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) == "" {
				continue
			}
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				return nil, false, "needs a colon in each line, as in name: value"
			}
			object[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		if len(object) > 0 {
			return object, true, ""
		}
		return nil, false, ""
	}
	if text == "" {
		return nil, false, ""
	}
	switch f.Kind {
	case Number:
		n, err := strconv.ParseInt(strings.ReplaceAll(text, ",", ""), 10, 64)
		if err != nil {
			return nil, false, "must be a whole number"
		}
		return n, true, ""
	case Real:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, false, "must be a number, such as 0.25"
		}
		return n, true, ""
	case Moment:
		t, ok := moment(text)
		if !ok {
			return nil, false, "must be a time, such as 2026-11-21T20:15"
		}
		return stamp(t), true, ""
	}
	return text, true, ""
}

// moment reads a time as browsers send it, in UTC, or as the API gives it.
func moment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func put(body map[string]any, path string, v any) {
	name, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		body[name] = v
		return
	}
	inner, ok := body[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		body[name] = inner
	}
	put(inner, rest, v)
}

// What the template asks of a field.

// Input is HTML's type of an input.
func (f Field) Input() string {
	switch f.Kind {
	case Number:
		return "number"
	case Secret:
		return "password"
	case Moment:
		return "datetime-local"
	case File:
		return "file"
	case Hidden:
		return "hidden"
	case Email:
		return "email"
	}
	return "text"
}

// Area, Select, Box, Boxes and Time report how the field is drawn.
func (f Field) Area() bool   { return f.Kind == Multiline || f.Kind == Lines || f.Kind == Pairs }
func (f Field) Select() bool { return f.Kind == Choice }
func (f Field) Box() bool    { return f.Kind == Check }
func (f Field) Boxes() bool  { return f.Kind == Choices }
func (f Field) Time() bool   { return f.Kind == Moment }
func (f Field) Unseen() bool { return f.Kind == Hidden }
func (f Field) Files() bool  { return f.Kind == File }

// Shown is the value as an input has it. What a Secret was given is not sent back.
func (f Field) Shown() string {
	switch f.Kind {
	case Secret, File:
		return ""
	case Moment:
		if t, ok := moment(f.Value); ok {
			return t.Format("2006-01-02T15:04")
		}
	}
	return f.Value
}

// Has reports whether an option is chosen.
func (f Field) Has(value string) bool {
	if f.Kind == Choices {
		return slices.Contains(f.Values, value)
	}
	return f.Value == value
}

// Height is the rows of a multiline field.
func (f Field) Height() int {
	if f.Rows > 0 {
		return f.Rows
	}
	return min(12, max(3, strings.Count(f.Value, "\n")+1))
}

// Sent is the form's method as HTML has it, and whether it goes with a file.
func (f *Form) Sent() string {
	if f.Method == "get" {
		return "get"
	}
	return "post"
}

// Uploads reports whether the form has a file.
func (f *Form) Uploads() bool {
	return slices.ContainsFunc(f.Fields, func(x Field) bool { return x.Kind == File })
}

// Groups are the fields, parted where a group begins.
func (f *Form) Groups() []FieldGroup {
	var out []FieldGroup
	for _, field := range f.Fields {
		if len(out) == 0 || field.Group != "" {
			out = append(out, FieldGroup{Title: field.Group})
		}
		g := &out[len(out)-1]
		g.Fields = append(g.Fields, field)
	}
	return out
}

// FieldGroup is fields under a heading, which may be empty.
type FieldGroup struct {
	Title  string
	Fields []Field
}

// fieldID is what a label points at. Several forms of a page may have a field of one name.
func fieldID(f *Form, name string) string {
	at := f.Action
	if f.Submit != "" {
		at += "-" + f.Submit
	}
	return "f-" + slug(at) + "-" + slug(name)
}

func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// pairs makes a JSON text for a data attribute.
func pairs(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}
