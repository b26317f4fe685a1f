package rest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/message"
)

var update = flag.Bool("update", false, "write openapi.json and openapi_admin.json anew")

// generated is the document, made once for all tests.
func generated(t testing.TB) []byte {
	t.Helper()
	doc, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// generatedAdmin is the document of the internal API.
func generatedAdmin(t testing.TB) []byte {
	t.Helper()
	doc, err := generateAdmin()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var generate = sync.OnceValues(func() ([]byte, error) {
	api := humachi.New(chi.NewRouter(), humaConfig())
	s := &Server{}
	s.register(api)
	finish(api.OpenAPI())
	return documentJSON(api.OpenAPI())
})

var generateAdmin = sync.OnceValues(func() ([]byte, error) {
	api := humachi.New(chi.NewRouter(), adminConfig())
	s := &Server{Admin: &Admin{}}
	s.registerAdmin(api)
	finish(api.OpenAPI())
	return documentJSON(api.OpenAPI())
})

// The document is part of the interface: a change of it must be seen in review.
func TestDocumentIsTheStoredOne(t *testing.T) {
	t.Run("customers", func(t *testing.T) { isStored(t, "openapi.json", generated(t)) })
	t.Run("internal", func(t *testing.T) { isStored(t, "openapi_admin.json", generatedAdmin(t)) })
}

func isStored(t *testing.T, name string, doc []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(doc, stored) {
		was, is := strings.Split(string(stored), "\n"), strings.Split(string(doc), "\n")
		for i := range is {
			if i >= len(was) || was[i] != is[i] {
				t.Fatalf("%s differs from line %d on; look at the change and run the test with -update.\nis: %s", name, i+1, is[i])
			}
		}
		t.Fatalf("%s is longer than the document; look at the change and run the test with -update", name)
	}
}

func TestDocumentHoldsNoStrangers(t *testing.T) {
	doc := string(generated(t))
	for _, word := range []string{"$schema", "ErrorModel", "cdn", "unpkg"} {
		if strings.Contains(doc, word) {
			t.Errorf("the document mentions %s", word)
		}
	}
}

// The hand-written decoder takes the fields of the document and no others.
func TestDecoderAndDocumentAgree(t *testing.T) {
	document := document(t)
	props := document.at("components", "schemas", "CreateMessage", "properties").(map[string]any)
	samples := map[string]string{
		"from": `"+12025550143"`, "to": `"+13105550117"`, "body": `"x"`, "webhook_url": `"https://shop.example/a"`,
		"webhook_failover_url": `"https://shop.example/b"`, "send_at": `"2026-11-22T00:00:00Z"`, "validity_seconds": `60`,
		"message_class": `"otp"`, "delivery": `"at_least_once"`, "encoding": `"gsm7"`, "smart_encoding": `true`,
		"media_urls": `["https://shop.example/a.png"]`, "media_ids": `["01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"]`, "media_transcoding": `"bypass"`, "subject": `"x"`,
		"client_reference": `"r"`, "metadata": `{"a":"b"}`, "dry_run": `true`,
	}
	var members []string
	for name := range props {
		if samples[name] == "" {
			t.Errorf("no sample for the documented field %s", name)
		}
		members = append(members, fmt.Sprintf("%q:%s", name, samples[name]))
	}
	if len(props) != len(samples) {
		t.Errorf("the document has %d fields, the decoder %d", len(props), len(samples))
	}
	in, _, refusal := decodeCreate([]byte("{"+strings.Join(members, ",")+"}"), began, publicHTTPS)
	if refusal != nil {
		t.Fatal(refusal, refusal.Fields)
	}
	v := reflect.ValueOf(in)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the decoder did not fill in %s", v.Type().Field(i).Name)
		}
	}
	for name, want := range map[string][]string{
		"message_class": {"otp", "conversation", "bulk"}, "delivery": {"at_most_once", "at_least_once"}, "encoding": {"auto", "gsm7", "ucs2"}, "media_transcoding": {"auto", "bypass"},
	} {
		var enum []string
		for _, e := range props[name].(map[string]any)["enum"].([]any) {
			enum = append(enum, e.(string))
		}
		if !slices.Equal(enum, want) {
			t.Errorf("%s: the document offers %v", name, enum)
		}
	}
}

// The statuses of the document are those of the words.
func TestDocumentKnowsEveryStatus(t *testing.T) {
	enum := document(t).at("components", "schemas", "Message", "properties", "status", "enum").([]any)
	for _, s := range message.Statuses() {
		if !slices.Contains(enum, any(string(s))) {
			t.Errorf("status %s is missing", s)
		}
	}
	if len(enum) != len(message.Statuses()) {
		t.Errorf("%d statuses, want %d", len(enum), len(message.Statuses()))
	}
}

// spec is the document as a client reads it.
type spec struct {
	t    testing.TB
	root map[string]any
}

func document(t testing.TB) spec {
	t.Helper()
	root, err := parseDocument()
	if err != nil {
		t.Fatal(err)
	}
	return spec{t, root}
}

var parseDocument = sync.OnceValues(func() (root map[string]any, err error) {
	doc, err := generate()
	if err == nil {
		err = json.Unmarshal(doc, &root)
	}
	return root, err
})

func (s spec) at(path ...string) any {
	s.t.Helper()
	var v any = s.root
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok || m[p] == nil {
			s.t.Fatalf("the document has no %v", path)
		}
		v = m[p]
	}
	return v
}

// check holds an answer against the document: its status, type, headers, body.
func (s spec) check(method, path string, r *reply) {
	s.t.Helper()
	status := fmt.Sprint(r.StatusCode)
	answer := s.at("paths", path, method, "responses", status).(map[string]any)
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	content := answer["content"].(map[string]any)[kind]
	if content == nil {
		s.t.Fatalf("%s %s %s: undocumented content type %q", method, path, status, kind)
	}
	for name := range answer["headers"].(map[string]any) {
		optional := name == "Location" && r.StatusCode != 202 || name == "Idempotency-Replayed" || name == "Retry-After" && r.StatusCode < 400
		if r.Header.Get(name) == "" && !optional {
			s.t.Errorf("%s %s %s: header %s is missing", method, path, status, name)
		}
	}
	var body any
	if err := json.Unmarshal(r.body, &body); err != nil {
		s.t.Fatal(err)
	}
	if err := s.valid(content.(map[string]any)["schema"].(map[string]any), body, "answer"); err != nil {
		s.t.Errorf("%s %s %s: %v\n%s", method, path, status, err, r.body)
	}
}

// valid is as much of JSON Schema as the document uses.
func (s spec) valid(schema map[string]any, v any, where string) error {
	if ref, ok := schema["$ref"].(string); ok {
		return s.valid(s.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any), v, where)
	}
	if any, ok := schema["anyOf"].([]any); ok {
		var errs []string
		for _, option := range any {
			err := s.valid(option.(map[string]interface{}), v, where)
			if err == nil {
				return nil
			}
			errs = append(errs, err.Error())
		}
		return fmt.Errorf("%s fits nothing: %s", where, strings.Join(errs, "; "))
	}
	if err := validType(schema, v, where); err != nil || v == nil {
		return err
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Errorf("%s is %v, want one of %v", where, v, enum)
	}
	switch v := v.(type) {
	case string:
		return validText(schema, v, where)
	case []any:
		items, _ := schema["items"].(map[string]any)
		for i, e := range v {
			if err := s.valid(items, e, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		props, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				return fmt.Errorf("%s.%v is missing", where, name)
			}
		}
		for name, e := range v {
			sub, ok := props[name].(map[string]any)
			if !ok {
				if sub, ok = schema["additionalProperties"].(map[string]any); !ok {
					if props != nil {
						return fmt.Errorf("%s.%s is not documented", where, name)
					}
					continue
				}
			}
			if err := s.valid(sub, e, where+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func validType(schema map[string]any, v any, where string) error {
	var names []any
	switch t := schema["type"].(type) {
	case string:
		names = []any{t}
	case []any:
		names = t
	default:
		return nil
	}
	got := "null"
	switch v := v.(type) {
	case bool:
		got = "boolean"
	case float64:
		got = "number"
		if v == math.Trunc(v) && slices.Contains(names, any("integer")) {
			got = "integer"
		}
	case string:
		got = "string"
	case []any:
		got = "array"
	case map[string]any:
		got = "object"
	}
	if !slices.Contains(names, any(got)) {
		return fmt.Errorf("%s is a %s, want %v", where, got, names)
	}
	return nil
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func validText(schema map[string]any, v, where string) error {
	switch schema["format"] {
	case "uuid":
		if !uuidForm.MatchString(v) {
			return fmt.Errorf("%s is no UUID: %q", where, v)
		}
	case "date-time":
		if _, err := time.Parse("2006-01-02T15:04:05.000Z", v); err != nil {
			return fmt.Errorf("%s is no time in UTC with milliseconds: %q", where, v)
		}
	}
	return nil
}

// adminDocument is the internal API's document as a client reads it.
func adminDocument(t testing.TB) spec {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(generatedAdmin(t), &root); err != nil {
		t.Fatal(err)
	}
	return spec{t, root}
}
