package rest

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/snapshot"
)

var oddTries = flag.Int("odd", 3, "how many requests of each kind TestOddInputs makes at each operation; more is slower and finds more")

// most is how long an odd input may be.
const most = 64 << 10

// pathMost bounds what is put into a path, a query or a header: with the rest of the
// head it stays below DefaultMaxHeaderBytes, above which net/http itself answers 431 in
// plain text before there is a request.
const pathMost = 3 << 10

// oddTexts are values of a field, a parameter or a name in a path.
var oddTexts = []string{
	"", " ", "\x00", "a\x00b", "\xff\xfe", "\xed\xa0\x80", "\u202e\u200b", "\ufffd", "\U0010ffff", "'; drop table messages; --", "%00", "%zz", "../../etc/passwd", "{{to}}",
	"-1", "0", "9223372036854775808", "1e999999", "NaN", "null", "true", "0x10", "１２", "+", "+1", "+12025550143", "*", "\\", "\r\nX-Odd: 1",
	"0000-00-00T00:00:00Z", "2026-11-22T25:61:61Z", "99999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "-9999-01-01T00:00:00Z",
	"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "https://[::1", "https://127.0.0.1/", "javascript:1", "a@b", "((((((((((a*)*)*)*)*)*)*)*)*)*$", "(?P<", "10.0.0.0/99",
}

// oddJSON are members' values that are no text, as JSON.
var oddJSON = []string{
	"null", "true", "0", "-1", "1.5", "1e400", "-1e400", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "2147483648", "0.0000000000000000000000000001", "[]", "{}", "[[]]", "[null]",
	`[""]`, `["\u0000"]`, `{"":""}`, `{"\u0000":"\u0000"}`, `"\u0000"`, `"\ud800"`, `"\udfff\ud800"`, "\"\xff\"", "\"a\x00\"", "\"\x1f\"",
	strings.Repeat("9", 4000), "1" + strings.Repeat("0", 400), "1." + strings.Repeat("3", 4000),
}

// oddRequest is a request as the tests below make them. Placed says where the odd part of
// it is, for messages of failing tests.
type oddRequest struct {
	asked
	target, body, kind, placed string
	header                     http.Header
}

// odds makes odd requests at one operation.
type odds struct {
	*surface
	random *rand.Rand
}

func (o *odds) pick(list []string) string { return list[o.random.IntN(len(list))] }

// text is an odd one of at most n octets.
func (o *odds) text(n int) string {
	switch o.random.IntN(6) {
	case 0:
		return strings.Repeat(o.pick([]string{"a", "\x00", "é", "\U0001f600", "9", "%", "\xff", "(", "{{a}}", "\u200d"}), n/4)
	case 1:
		b := make([]byte, o.random.IntN(min(n, 512)))
		for i := range b {
			b[i] = byte(o.random.UintN(256))
		}
		return string(b)
	}
	return o.pick(oddTexts)
}

// value is an odd one as JSON, of at most n octets.
func (o *odds) value(n int) string {
	if o.random.IntN(2) == 0 {
		return o.pick(oddJSON)
	}
	text := o.text(n)
	if o.random.IntN(8) == 0 {
		return `"` + text + `"` // as it is: control characters, quotes and no UTF-8
	}
	quoted, _ := json.Marshal(text) // of a string it does not fail
	return string(quoted)
}

// sampleOf is a value that a schema takes, as far as a schema says.
func (o *odds) sampleOf(doc spec, schema map[string]any, depth int) string {
	schema = resolved(doc, schema)
	if options, ok := schema["anyOf"].([]any); ok {
		return o.sampleOf(doc, options[0].(map[string]any), depth)
	}
	if example := schemaExample(schema); example != "" {
		return example
	}
	if enum, ok := schema["enum"].([]any); ok {
		text, _ := json.Marshal(enum[o.random.IntN(len(enum))])
		return string(text)
	}
	switch kind := jsonKind(schema); {
	case kind == "object":
		return o.object(doc, schema, "", "", depth)
	case kind == "array":
		items, _ := schema["items"].(map[string]any)
		if depth == 0 || items == nil {
			return "[]"
		}
		return "[" + o.sampleOf(doc, items, depth-1) + "]"
	case kind == "integer", kind == "number":
		if least, ok := schema["minimum"].(float64); ok {
			return fmt.Sprint(int(least))
		}
		return "1"
	case kind == "boolean":
		return "true"
	case schema["format"] == "date-time":
		return `"2026-11-22T00:00:00Z"`
	case schema["format"] == "uuid":
		return `"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	}
	return `"x"`
}

func resolved(doc spec, schema map[string]any) map[string]any {
	for {
		ref, ok := schema["$ref"].(string)
		if !ok {
			return schema
		}
		schema = doc.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
	}
}

func schemaExample(schema map[string]any) string {
	list, _ := schema["examples"].([]any)
	if len(list) == 0 {
		return ""
	}
	text, _ := json.Marshal(list[0]) // it came from JSON
	return string(text)
}

func jsonKind(schema map[string]any) string {
	switch t := schema["type"].(type) {
	case string:
		return t
	case []any:
		return t[0].(string)
	}
	return ""
}

// object is one with what it must have and some of the rest, and with one member of an odd
// value, if it is named.
func (o *odds) object(doc spec, schema map[string]any, odd, value string, depth int) string {
	props, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	var members []string
	for _, name := range sortedKeys(props) {
		must := slices.Contains(required, any(name))
		switch {
		case name == odd:
			members = append(members, fmt.Sprintf("%q:%s", name, value))
		case depth > 0 && (must || o.random.IntN(4) == 0):
			members = append(members, fmt.Sprintf("%q:%s", name, o.sampleOf(doc, props[name].(map[string]any), depth-1)))
		}
	}
	if props == nil && odd == "" {
		members = []string{`"a":"b"`}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// bodyKinds are the ways in which a body is odd.
var bodyKinds = []struct {
	name string
	make func(o *odds, a asked) string
}{
	{"random octets", func(o *odds, _ asked) string {
		b := make([]byte, most)
		for i := range b {
			b[i] = byte(o.random.UintN(256))
		}
		return string(b)
	}},
	{"nested", func(o *odds, a asked) string {
		open := o.pick([]string{"[", `{"a":`, `[{"a":[`})
		return strings.Repeat(open, most/len(open))
	}},
	{"nested in a field", func(o *odds, a asked) string {
		return `{"` + o.field(a) + `":` + strings.Repeat("[", most/2) + strings.Repeat("]", most/2-64) + "}"
	}},
	{"one long text", func(o *odds, a asked) string {
		return `{"` + o.field(a) + `":"` + strings.Repeat(o.pick([]string{"a", "é", `\u0000`, `\ud83d`, "9"}), most/8) + `"}`
	}},
	{"one long number", func(o *odds, a asked) string { return `{"` + o.field(a) + `":` + strings.Repeat("9", most-100) + "}" }},
	{"many members", func(o *odds, a asked) string {
		var b strings.Builder
		b.WriteString("{")
		for i := 0; b.Len() < most-100; i++ {
			fmt.Fprintf(&b, `"m%d":%d,`, i, i)
		}
		return b.String() + `"z":0}`
	}},
	{"every field odd", func(o *odds, a asked) string {
		var members []string
		for _, name := range o.fields(a) {
			members = append(members, fmt.Sprintf("%q:%s", name, o.value(most/(len(o.fields(a))+1))))
		}
		return "{" + strings.Join(members, ",") + "}"
	}},
	{"one field odd", func(o *odds, a asked) string {
		if a.schema == nil {
			return o.value(most)
		}
		return o.object(a.doc, resolved(a.doc, a.schema), o.field(a), o.value(most/2), 3)
	}},
	{"as documented", func(o *odds, a asked) string {
		if a.schema == nil {
			return o.text(most)
		}
		return o.sampleOf(a.doc, a.schema, 3)
	}},
}

func (o *odds) fields(a asked) []string {
	if a.schema == nil {
		return []string{"a"}
	}
	props, _ := resolved(a.doc, a.schema)["properties"].(map[string]any)
	return sortedKeys(props)
}

func (o *odds) field(a asked) string {
	list := o.fields(a)
	if len(list) == 0 {
		return "a"
	}
	return o.pick(list)
}

// name is what stands in a path for what is there: most operations look for it first.
func (o *odds) name(a asked) map[string]string {
	names := map[string]string{"{account}": o.customer.String(), "{number}": "12025550143"}
	path := a.path
	if rest, ok := strings.CutPrefix(a.path, behalfPath+"/"); ok {
		path = "/v1/" + rest
	}
	if sample := adminSamples[a.name]; a.internal && sample.ask != nil && strings.Contains(a.path, "{") {
		made, _ := sample.ask(o.office)
		given, open := strings.Split(made, "/"), strings.Split(a.path, "/")
		for i := range open {
			if i < len(given) && strings.HasPrefix(open[i], "{") {
				names[open[i]], _, _ = strings.Cut(given[i], "?")
			}
		}
	} else if strings.HasPrefix(path, "/v1/") && strings.Contains(path, "{id}") {
		names["{id}"], _ = o.thing(path)
	}
	return names
}

// oddly is a request that is odd in the given place, at what is there if real is true.
func (o *odds) oddly(a asked, place string, real map[string]string) oddRequest {
	r := oddRequest{asked: a, placed: place, header: http.Header{}}
	names := map[string]string{}
	for _, name := range a.names {
		names["{"+name+"}"] = real["{"+name+"}"]
	}
	query := url.Values{}
	if len(a.kinds) > 0 {
		r.kind = o.pick(a.kinds)
		if r.kind == jsonType || o.random.IntN(3) > 0 && slices.Contains(a.kinds, jsonType) {
			r.kind, r.body = jsonType, o.object(a.doc, resolved(a.doc, orNothing(a.schema)), "", "", 3)
		}
	}
	switch place {
	case "path":
		names["{"+o.pick(a.names)+"}"] = o.text(pathMost)
	case "query":
		query.Set(o.pick(a.query), o.text(pathMost))
		query.Add(o.pick(a.query), o.text(100))
	case "unknown query":
		query.Set(o.text(100), o.text(pathMost))
	case "header":
		name := o.pick([]string{"Idempotency-Key", "If-Match", "X-Request-Id", "Accept", "Content-Type", "traceparent", "Content-Encoding", "X-Forwarded-For", "Authorization"})
		r.header.Set(name, strings.Map(func(c rune) rune { // what else net/http does not send
			if c < ' ' || c == 0x7f {
				return '\t'
			}
			return c
		}, o.text(pathMost)))
	}
	r.target = pathParameter.ReplaceAllStringFunc(a.path, func(name string) string { return url.PathEscape(names[name]) })
	if len(query) > 0 {
		r.target += "?" + query.Encode()
	}
	return r
}

func orNothing(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// places are where a request of an operation can be odd, but for its body.
func (a asked) places() []string {
	list := []string{"unknown query", "header"}
	if len(a.names) > 0 {
		list = append(list, "path")
	}
	if len(a.query) > 0 {
		list = append(list, "query")
	}
	return list
}

// ask sends it and holds the answer against what holds for every input: no fault of ours,
// and a refusal is a problem.
func (s *surface) ask(r oddRequest, who func(*http.Request)) *reply {
	s.t.Helper()
	before := len(s.log.String())
	with := func(q *http.Request) {
		q.Header.Del("Content-Type")
		if r.kind != "" {
			q.Header.Set("Content-Type", strings.Replace(r.kind, "*/*", "image/gif", 1))
		}
		who(q)
		for name, v := range r.header {
			q.Header[name] = v
		}
	}
	answer, err := s.tryOut(r.method, r.target, r.body, with)
	if err != nil {
		s.t.Errorf("%s, %s odd: no answer: %v\n%q\n%.600q", r.name, r.placed, err, r.target, r.body)
		return nil
	}
	if answer.StatusCode >= 500 {
		s.t.Errorf("%s, %s odd: %d %s\n%s %q %v\n%.600q\n%.1500s", r.name, r.placed, answer.StatusCode, answer.body, r.method, r.target, r.header, r.body, faultsIn(s.log.String()[before:]))
	}
	if _, ok := problemCode(answer); answer.StatusCode >= 400 && !ok {
		s.t.Errorf("%s, %s odd: %d is no problem but %q: %.300q", r.name, r.placed, answer.StatusCode, answer.Header.Get("Content-Type"), answer.body)
	}
	return answer
}

// faultsIn are the lines of a log that tell of something gone wrong.
func faultsIn(log string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(log, "\n"), func(line string) bool {
		return !strings.Contains(line, "level=ERROR") && !strings.Contains(line, "panic")
	}), "\n")
}

// tryOut is do for requests that may get no answer.
func (s *surface) tryOut(method, target, body string, with func(*http.Request)) (*reply, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	q, err := http.NewRequest(method, s.base+target, content)
	if err != nil {
		return nil, err
	}
	with(q)
	answer, err := s.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	return &reply{answer, got}, err
}

// whoMay authenticates as somebody who may use an operation.
func (s *surface) whoMay(a asked, service string) func(*http.Request) {
	switch {
	case slices.Contains(a.scopes, snapshot.ScopeServiceMessages):
		return bearer(service)
	case a.internal:
		return s.by(snapshot.RoleAdmin)
	}
	return as("keyA")
}

// Every operation of both documents gets odd inputs in its body, each of its parameters,
// its path and its headers. The draws follow from the operation's name and -odd alone.
// What was taken does no harm to what reads it: every list is asked for at the end.
func TestOddInputs(t *testing.T) {
	t.Parallel()
	s := openSurface(t)
	service := s.serviceToken()
	all := everyOperation(t)
	sent := 0
	for _, a := range all {
		seed := fnv.New64a()
		_, _ = seed.Write([]byte(a.name))
		o := &odds{s, rand.New(rand.NewPCG(seed.Sum64(), 1))}
		real, who := o.name(a), s.whoMay(a, service)
		var list []oddRequest
		for _, place := range a.places() {
			for range *oddTries {
				list = append(list, o.oddly(a, place, real))
			}
		}
		if len(a.kinds) > 0 {
			for _, kind := range bodyKinds {
				n := 1
				if strings.HasSuffix(kind.name, "odd") {
					n = 2 * *oddTries
				}
				for range n {
					r := o.oddly(a, "body: "+kind.name, real)
					r.body = kind.make(o, a)
					list = append(list, r)
				}
			}
		}
		for _, r := range list {
			s.ask(r, who)
			sent++
		}
	}
	for _, a := range all {
		if a.method != http.MethodGet || len(a.names) > 0 && !slices.Equal(a.names, []string{"account"}) {
			continue
		}
		if a.name == "checkOptOut" || a.name == "customerCheckOptOut" {
			continue // it must be told whom
		}
		if r := s.do(a.method, s.at(a), "", s.whoMay(a, service)); r.StatusCode != http.StatusOK {
			t.Errorf("%s after all that: %d %.400s", a.name, r.StatusCode, r.body)
		}
	}
	if faults := faultsIn(s.log.String()); faults != "" {
		t.Errorf("the log tells of faults: %.3000s", faults)
	}
	t.Logf("%d requests at %d operations", sent, len(all))
}

// FuzzSurface draws the operation, the place and the odd part of a request.
func FuzzSurface(f *testing.F) {
	s := openSurface(f)
	service := s.serviceToken()
	all := everyOperation(f)
	for i, text := range oddTexts {
		f.Add(uint16(i*5), uint8(i), text)
	}
	for i, value := range oddJSON {
		f.Add(uint16(i*7), uint8(0), `{"`+"name"+`":`+value+`}`)
	}
	for _, c := range malformed {
		f.Add(uint16(slices.IndexFunc(all, func(a asked) bool { return a.name == "sendMessage" })), uint8(0), c.body)
	}
	f.Fuzz(func(t *testing.T, op uint16, place uint8, odd string) {
		a := all[int(op)%len(all)]
		if a.name == "removeStaff" || a.name == "changeStaff" || len(odd) > most {
			t.Skip()
		}
		a.doc.t, s.bundle.t = t, t // f's methods may not be called from here
		o := &odds{s, rand.New(rand.NewPCG(uint64(op), uint64(place)))}
		real := map[string]string{"{account}": s.customer.String(), "{number}": "12025550143"}
		r := oddRequest{asked: a, placed: "fuzzed", header: http.Header{}}
		names, query := map[string]string{}, ""
		switch short := odd[:min(len(odd), pathMost)]; {
		case len(a.kinds) > 0 && place%4 < 2:
			r.kind, r.body = a.kinds[0], odd
			if place%4 == 1 && a.schema != nil {
				r.kind, r.body = jsonType, o.object(a.doc, resolved(a.doc, a.schema), o.field(a), odd, 3)
			}
		case len(a.query) > 0 && place%4 < 3:
			query = "?" + url.Values{a.query[int(place)%len(a.query)]: {short}}.Encode()
		case len(a.names) > 0:
			names["{"+a.names[int(place)%len(a.names)]+"}"] = short
		}
		r.target = pathParameter.ReplaceAllStringFunc(a.path, func(name string) string {
			if given, ok := names[name]; ok {
				return url.PathEscape(given)
			}
			return url.PathEscape(cmp.Or(real[name], "01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"))
		}) + query
		s.ask(r, s.whoMay(a, service))
	})
}
