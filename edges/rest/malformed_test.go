package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

// with makes a good body with one more member.
func with(member string) string {
	return `{"to":"+13105550117","body":"x",` + member + `}`
}

var malformed = []struct {
	name   string
	body   string
	status int
	code   message.Reason
	field  string // that errors names; empty: body
	say    string // a part of its message
}{
	{"nothing", " ", 400, message.ReasonInvalidRequest, "", "empty"},
	{"half an object", `{"to":"+1`, 400, message.ReasonInvalidRequest, "body.to", "ends inside a string"},
	{"no closing brace", `{"to":"+13105550117"`, 400, message.ReasonInvalidRequest, "", "ends where"},
	{"no value", `{"to":}`, 400, message.ReasonInvalidRequest, "body.to", "a value"},
	{"no colon", `{"to" "x"}`, 400, message.ReasonInvalidRequest, "", "expected"},
	{"no comma", `{"to":"x" "body":"y"}`, 400, message.ReasonInvalidRequest, "", "expected"},
	{"trailing comma", `{"to":"x",}`, 400, message.ReasonInvalidRequest, "", "field name"},
	{"name without quotes", `{to:"x"}`, 400, message.ReasonInvalidRequest, "", "field name"},
	{"single quotes", `{'to':'x'}`, 400, message.ReasonInvalidRequest, "", "double quotes"},
	{"comment", `{"to":"x" /* y */}`, 400, message.ReasonInvalidRequest, "", "expected"},
	{"two documents", parcel + parcel, 400, message.ReasonInvalidRequest, "", "end of the body"},
	{"something behind", parcel + "x", 400, message.ReasonInvalidRequest, "", "end of the body"},
	{"NUL behind", parcel + "\x00", 400, message.ReasonInvalidRequest, "", "end of the body"},
	{"form", "to=%2B13105550117&body=x", 400, message.ReasonInvalidRequest, "", ""},
	{"byte order mark", "\xef\xbb\xbf" + parcel, 400, message.ReasonInvalidRequest, "", "byte order mark"},
	{"UTF-16", "\xff\xfe{\x00}\x00", 400, message.ReasonInvalidRequest, "", "UTF-8"},
	{"unknown escape", `{"to":"\x41"}`, 400, message.ReasonInvalidRequest, "body.to", "escape"},
	{"short escape", `{"to":"\u12"}`, 400, message.ReasonInvalidRequest, "body.to", "hex"},
	{"bad escape", `{"to":"\u12g4"}`, 400, message.ReasonInvalidRequest, "body.to", "hex"},
	{"line break in a string", "{\"body\":\"a\nb\"}", 400, message.ReasonInvalidRequest, "body.body", "U+000A"},
	{"invalid UTF-8", "{\"to\":\"+13105550117\",\"body\":\"a\xc3(b\"}", 400, message.ReasonInvalidRequest, "body.body", "UTF-8"},
	{"invalid UTF-8 beside an escape", "{\"body\":\"\\n\xff\"}", 400, message.ReasonInvalidRequest, "body.body", "UTF-8"},
	{"invalid UTF-8 in a name", "{\"\xff\":1}", 400, message.ReasonInvalidRequest, "", "UTF-8"},
	{"surrogate in UTF-8", "{\"body\":\"\xed\xa0\x80\"}", 400, message.ReasonInvalidRequest, "body.body", "UTF-8"},
	{"number with a leading zero", with(`"validity_seconds":0600`), 400, message.ReasonInvalidRequest, "", ""},
	{"number that ends early", with(`"validity_seconds":-`), 400, message.ReasonInvalidRequest, "body.validity_seconds", "digit"},
	{"NaN", with(`"validity_seconds":NaN`), 400, message.ReasonInvalidRequest, "body.validity_seconds", ""},
	{"True", with(`"dry_run":True`), 400, message.ReasonInvalidRequest, "body.dry_run", ""},
	{"nul", with(`"from":nul`), 400, message.ReasonInvalidRequest, "body.from", "word"},
	{"too deep", with(`"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)), 400, message.ReasonInvalidRequest, "body.x", "deep"},

	{"array", `[]`, 422, message.ReasonInvalidRequest, "", "must be a JSON object"},
	{"string", `"x"`, 422, message.ReasonInvalidRequest, "", "must be a JSON object"},
	{"null", `null`, 422, message.ReasonInvalidRequest, "", "must be a JSON object"},
	{"number", `1`, 422, message.ReasonInvalidRequest, "", "must be a JSON object"},
	{"no fields", `{}`, 422, message.ReasonInvalidRequest, "body.to", "required"},
	{"no recipient", `{"body":"x"}`, 422, message.ReasonInvalidRequest, "body.to", "required"},
	{"no text", `{"to":"+13105550117"}`, 422, message.ReasonInvalidRequest, "body.body", "required"},
	{"empty text", `{"to":"+13105550117","body":""}`, 422, message.ReasonInvalidRequest, "body.body", "required"},
	{"empty recipient", `{"to":"","body":"x"}`, 422, message.ReasonInvalidRequest, "body.to", "required"},
	{"null recipient", `{"to":null,"body":"x"}`, 422, message.ReasonInvalidRequest, "body.to", "required"},
	{"recipient is a number", `{"to":13105550117,"body":"x"}`, 422, message.ReasonInvalidRequest, "body.to", "string"},
	{"recipient is a list", `{"to":["+13105550117"],"body":"x"}`, 422, message.ReasonInvalidRequest, "body.to", "string"},
	{"text is an object", `{"to":"+13105550117","body":{"a":[1,2.5e3,true,null]}}`, 422, message.ReasonInvalidRequest, "body.body", "string"},
	{"unknown field", with(`"txt":"y"`), 422, message.ReasonInvalidRequest, "body.txt", "no such field"},
	{"field in other case", with(`"Body":"y"`), 422, message.ReasonInvalidRequest, "body.Body", "no such field"},
	{"MMS fields without a file", with(`"media_urls":[],"subject":"x"`), 422, message.ReasonInvalidRequest, "body.subject", "with media only"},
	{"schema member", with(`"$schema":"x"`), 422, message.ReasonInvalidRequest, "body.$schema", "no such field"},
	{"field twice", `{"to":"+13105550117","body":"x","to":"+13105550118"}`, 422, message.ReasonInvalidRequest, "body.to", "twice"},
	{"field twice by an escape", `{"to":"+13105550117","body":"x","t\u006f":"+13105550118"}`, 422, message.ReasonInvalidRequest, "body.to", "twice"},
	{"too many fields", with(manyFields(80)), 422, message.ReasonInvalidRequest, "body.f0", "no such field"},
	{"NUL in the text", `{"to":"+13105550117","body":"a\u0000b"}`, 422, message.ReasonInvalidRequest, "body.body", "U+0000 as character 2"},
	{"bell in the text", `{"to":"+13105550117","body":"\u0007"}`, 422, message.ReasonInvalidRequest, "body.body", "U+0007"},
	{"DEL in the text", "{\"to\":\"+13105550117\",\"body\":\"\x7f\"}", 422, message.ReasonInvalidRequest, "body.body", "U+007F"},
	{"C1 control in the text", `{"to":"+13105550117","body":"é\u0085"}`, 422, message.ReasonInvalidRequest, "body.body", "U+0085 as character 2"},
	{"lone high surrogate", `{"to":"+13105550117","body":"a\ud83d"}`, 422, message.ReasonInvalidRequest, "body.body", "surrogate"},
	{"lone low surrogate", `{"to":"+13105550117","body":"\ude00a"}`, 422, message.ReasonInvalidRequest, "body.body", "surrogate"},
	{"surrogates in the wrong order", `{"to":"+13105550117","body":"\ude00\ud83d"}`, 422, message.ReasonInvalidRequest, "body.body", "surrogate"},
	{"high surrogate twice", `{"to":"+13105550117","body":"\ud83d\ud83d\ude00"}`, 422, message.ReasonInvalidRequest, "body.body", "surrogate"},
	{"high surrogate before another escape", `{"to":"+13105550117","body":"\ud83d\u0041"}`, 422, message.ReasonInvalidRequest, "body.body", "surrogate"},
	{"line break in the sender", with(`"from":"+12025550143\n"`), 422, message.ReasonInvalidRequest, "body.from", "U+000A"},
	{"reference too long", with(`"client_reference":"` + strings.Repeat("é", 65) + `"`), 422, message.ReasonInvalidRequest, "body.client_reference", "65 characters; at most 64"},
	{"reference with a tab", with(`"client_reference":"a\tb"`), 422, message.ReasonInvalidRequest, "body.client_reference", "U+0009"},
	{"reference is a number", with(`"client_reference":8812`), 422, message.ReasonInvalidRequest, "body.client_reference", "string"},
	{"validity in quotes", with(`"validity_seconds":"3600"`), 422, message.ReasonInvalidRequest, "body.validity_seconds", "whole number"},
	{"validity with a fraction", with(`"validity_seconds":3600.5`), 422, message.ReasonInvalidRequest, "body.validity_seconds", "whole number"},
	{"validity with an exponent", with(`"validity_seconds":36e2`), 422, message.ReasonInvalidRequest, "body.validity_seconds", "whole number"},
	{"validity beyond 64 bits", with(`"validity_seconds":99999999999999999999`), 422, message.ReasonInvalidRequest, "body.validity_seconds", "whole number"},
	{"validity too short", with(`"validity_seconds":59`), 422, message.ReasonInvalidSchedule, "body.validity_seconds", "between 60 and 259200"},
	{"validity too long", with(`"validity_seconds":259201`), 422, message.ReasonInvalidSchedule, "body.validity_seconds", "between 60 and 259200"},
	{"validity negative", with(`"validity_seconds":-1`), 422, message.ReasonInvalidSchedule, "body.validity_seconds", "is -1"},
	{"time without offset", with(`"send_at":"2026-11-22T10:00:00"`), 422, message.ReasonInvalidRequest, "body.send_at", "RFC 3339"},
	{"time that is none", with(`"send_at":"tomorrow"`), 422, message.ReasonInvalidRequest, "body.send_at", "RFC 3339"},
	{"time that is empty", with(`"send_at":""`), 422, message.ReasonInvalidRequest, "body.send_at", "RFC 3339"},
	{"time as a number", with(`"send_at":1763756104`), 422, message.ReasonInvalidRequest, "body.send_at", "string"},
	{"time in the past", with(`"send_at":"2026-11-21T20:14:04Z"`), 422, message.ReasonInvalidSchedule, "body.send_at", "past"},
	{"time too far ahead", with(`"send_at":"2026-12-26T20:15:05Z"`), 422, message.ReasonInvalidSchedule, "body.send_at", "35 days"},
	{"unknown class", with(`"message_class":"urgent"`), 422, message.ReasonInvalidRequest, "body.message_class", `"otp", "conversation", "bulk"`},
	{"empty class", with(`"message_class":""`), 422, message.ReasonInvalidRequest, "body.message_class", "one of"},
	{"unknown delivery", with(`"delivery":"exactly_once"`), 422, message.ReasonInvalidRequest, "body.delivery", "one of"},
	{"unknown encoding", with(`"encoding":"utf8"`), 422, message.ReasonInvalidRequest, "body.encoding", "one of"},
	{"flag in quotes", with(`"smart_encoding":"true"`), 422, message.ReasonInvalidRequest, "body.smart_encoding", "true or false"},
	{"flag as a number", with(`"dry_run":1`), 422, message.ReasonInvalidRequest, "body.dry_run", "true or false"},
	{"metadata is a list", with(`"metadata":["a"]`), 422, message.ReasonInvalidRequest, "body.metadata", "object"},
	{"metadata value is a number", with(`"metadata":{"shop":7}`), 422, message.ReasonInvalidRequest, "body.metadata.shop", "string"},
	{"metadata value is null", with(`"metadata":{"shop":null}`), 422, message.ReasonInvalidRequest, "body.metadata.shop", "not null"},
	{"metadata value too long", with(`"metadata":{"a":"` + strings.Repeat("x", 257) + `"}`), 422, message.ReasonInvalidRequest, "body.metadata.a", "at most 256"},
	{"metadata key too long", with(`"metadata":{"` + strings.Repeat("k", 41) + `":"a"}`), 422, message.ReasonInvalidRequest, "body.metadata." + strings.Repeat("k", 41), "1 to 40"},
	{"metadata key empty", with(`"metadata":{"":"a"}`), 422, message.ReasonInvalidRequest, "body.metadata.", "1 to 40"},
	{"metadata key twice", with(`"metadata":{"a":"1","a":"2"}`), 422, message.ReasonInvalidRequest, "body.metadata.a", "twice"},
	{"metadata with too many pairs", with(`"metadata":{` + manyFields(21) + `}`), 422, message.ReasonInvalidRequest, "body.metadata", "more than 20"},
	{"metadata key with half a character", with(`"metadata":{"\ud83d":"a"}`), 422, message.ReasonInvalidRequest, "body.metadata", "surrogate"},
	{"metadata key with NUL", with(`"metadata":{"\u0000":"a"}`), 422, message.ReasonInvalidRequest, "body.metadata", "U+0000"},
	{"metadata with NUL", with(`"metadata":{"a":"\u0000"}`), 422, message.ReasonInvalidRequest, "body.metadata.a", "U+0000"},
	{"URL that is none", with(`"webhook_url":"shop.example/hooks"`), 422, message.ReasonInvalidRequest, "body.webhook_url", "URL such as"},
	{"URL without host", with(`"webhook_url":"https:///hooks"`), 422, message.ReasonInvalidRequest, "body.webhook_url", "URL such as"},
	{"URL too long", with(`"webhook_url":"https://shop.example/` + strings.Repeat("x", 2048) + `"`), 422, message.ReasonInvalidRequest, "body.webhook_url", "at most 2048"},
	{"URL of another scheme", with(`"webhook_url":"http://shop.example/"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "https"},
	{"URL with a password", with(`"webhook_url":"https://a:b@shop.example/"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "password"},
	{"URL with another port", with(`"webhook_url":"https://shop.example:22/"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "port"},
	{"URL of this host", with(`"webhook_url":"https://127.0.0.1/"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "Internet"},
	{"URL of this host by name", with(`"webhook_url":"https://LOCALHOST./"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "Internet"},
	{"URL of a mapped address", with(`"webhook_url":"https://[::ffff:10.0.0.1]/"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "Internet"},
	{"URL of the metadata service", with(`"webhook_url":"https://169.254.169.254/"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "Internet"},
	{"URL of a carrier's inner net", with(`"webhook_url":"https://100.64.1.1/"`), 422, message.ReasonUnsafeURL, "body.webhook_url", "Internet"},
	{"failover without URL", with(`"webhook_failover_url":"https://shop.example/"`), 422, message.ReasonInvalidRequest, "body.webhook_failover_url", "needs webhook_url"},
}

func manyFields(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"f%d":"x"`, i)
	}
	return strings.Join(list, ",")
}

func TestMalformedBodies(t *testing.T) {
	b := setup(t, nil)
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			r := b.do("POST", "/v1/messages", c.body, as("keyA"))
			p := wantProblem(t, r, c.status, c.code)
			field := c.field
			if field == "" {
				field = "body"
			}
			found := false
			list, _ := p["errors"].([]any)
			for _, e := range list {
				m := e.(map[string]any)
				found = found || m["location"] == field && strings.Contains(m["message"].(string), c.say)
			}
			if !found {
				t.Errorf("errors do not say %q of %s: %s", c.say, field, r.body)
			}
			if p["message_id"] != nil {
				t.Errorf("message_id without a message: %s", r.body)
			}
		})
	}
	if calls, stored := b.ingress.count(); calls != 0 || stored != 0 {
		t.Errorf("ingress was called %d times and stored %d messages", calls, stored)
	}
}

func TestOneAnswerNamesEveryFault(t *testing.T) {
	b := setup(t, nil)
	r := b.do("POST", "/v1/messages", `{"to":5,"validity_seconds":1,"colour":"red","message_class":"x"}`, as("keyA"))
	p := wantProblem(t, r, 422, message.ReasonInvalidRequest)
	var got []string
	for _, e := range p["errors"].([]any) {
		got = append(got, e.(map[string]any)["location"].(string))
	}
	if want := "body.to body.colour body.message_class body.body body.validity_seconds"; strings.Join(got, " ") != want {
		t.Errorf("errors name %v", got)
	}
}

func TestBoundsThatAreAllowed(t *testing.T) {
	b := setup(t, nil)
	for _, member := range []string{
		`"validity_seconds":60`, `"validity_seconds":259200`, `"send_at":"2026-11-21T20:14:05Z"`, `"send_at":"2026-12-26T20:15:04Z"`,
		`"client_reference":"` + strings.Repeat("é", 64) + `"`, `"metadata":{}`, `"metadata":{` + manyFields(20) + `}`,
		`"metadata":{"` + strings.Repeat("k", 40) + `":"` + strings.Repeat("ü", 256) + `"}`, `"webhook_url":"https://shop.example:8443/a?b=c"`,
		`"webhook_url":"https://93.184.216.34/"`,
	} {
		if r := b.do("POST", "/v1/messages", with(member), as("keyA")); r.StatusCode != 202 {
			t.Errorf("%s: %d %s", member, r.StatusCode, r.body)
		}
	}
}

func TestBodySize(t *testing.T) {
	b := setup(t, nil)
	pad := func(n int) string { return parcel + strings.Repeat(" ", n-len(parcel)) }
	if r := b.do("POST", "/v1/messages", pad(maxBody), as("keyA")); r.StatusCode != 202 {
		t.Errorf("1 MiB: %d %s", r.StatusCode, r.body)
	}
	wantProblem(t, b.do("POST", "/v1/messages", pad(maxBody+1), as("keyA")), 413, message.ReasonPayloadTooLarge)
	wantProblem(t, b.do("POST", "/v1/messages", pad(3*maxBody), as("keyA"), func(r *http.Request) { r.ContentLength = -1 }), 413, message.ReasonPayloadTooLarge)
	wantProblem(t, b.do("POST", "/v1/auth/token", pad(maxBody+1)), 413, message.ReasonPayloadTooLarge)
	if calls, _ := b.ingress.count(); calls != 1 {
		t.Errorf("ingress was called %d times", calls)
	}
}

// The reader takes what encoding/json writes, and reads the same of it.
func TestReaderReadsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		written, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		r := reader{text: written}
		r.peek()
		got, whole, err := r.string()
		if err != nil || !whole || got != text || r.end() != nil {
			t.Fatalf("%q was read as %q (%v, %v)", text, got, whole, err)
		}
	})
}

// The reader agrees with encoding/json on what is JSON.
func TestReaderAgreesOnSyntax(t *testing.T) {
	seeds := []string{parcel, `{"a":[1,-2.5e+3,{"b":null}],"c":"\u00e9\n","d":true}`, `[[],{},"",0]`, `"\ud83d\ude00"`}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		text := []byte(seeds[random.IntN(len(seeds))])
		for range random.IntN(3) {
			text[random.IntN(len(text))] = `{}[]",:\u0e+-.1tfn `[random.IntN(19)]
		}
		r := reader{text: text}
		err := r.skip()
		if err == nil {
			err = r.end()
		}
		if (err == nil) != json.Valid(text) {
			t.Fatalf("%s: %v, encoding/json says %v", text, err, json.Valid(text))
		}
	}
}

func FuzzDecodeCreate(f *testing.F) {
	for _, c := range malformed {
		f.Add([]byte(c.body))
	}
	f.Add([]byte(parcel))
	f.Fuzz(func(t *testing.T, body []byte) {
		in, status, refusal := decodeCreate(body, began, publicHTTPS)
		if refusal == nil {
			if !json.Valid(body) {
				t.Fatalf("%q is no JSON and was taken", body)
			}
			for _, s := range []string{in.From, in.To, in.Body, in.ClientReference, in.WebhookURL} {
				if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
					t.Fatalf("%q was taken as text", s)
				}
			}
			if in.To == "" || in.Body == "" {
				t.Fatalf("%q was taken without recipient or text", body)
			}
			return
		}
		if status == 400 && json.Valid(body) && utf8.Valid(body) && bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) < maxDepth {
			t.Fatalf("%q is JSON and was called none: %v", body, refusal)
		}
		if len(refusal.Fields) == 0 || len(refusal.Fields) > maxFaults || refusal.Detail == "" || !utf8.ValidString(refusal.Detail) {
			t.Fatalf("refusal %+v", refusal)
		}
	})
}
