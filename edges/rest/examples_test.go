package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// beforehand brings a thing into the state in which an operation takes it, by
// operationId.
var beforehand = map[string]func(b *bundle, id string){
	"retryMessage": func(b *bundle, id string) {
		b.ingress.set(b.t, id, func(m *message.Message) { m.Status = message.StatusFailed })
	},
	"resumeBatch": func(b *bundle, id string) { b.do("POST", "/v1/messages/batch/"+id+"/pause", "", as("keyA")) },
	"changeBrand": func(b *bundle, id string) {
		want(b.t, b.do("PATCH", "/v1/brands/"+id, notYet(wholeBrand), as("keyA")), http.StatusOK)
	},
	"changeCampaign": func(b *bundle, id string) {
		brand := want(b.t, b.do("POST", "/v1/brands", wholeBrand, as("keyA")), http.StatusCreated)["id"].(string)
		want(b.t, b.do("PATCH", "/v1/campaigns/"+id, `{"brand_id":"`+brand+`","sample_messages":["Acme: your code is 8812. Reply STOP to opt out."]}`, as("keyA")), http.StatusOK)
		want(b.t, b.do("PATCH", "/v1/campaigns/"+id, notYet(wholeCampaign), as("keyA")), http.StatusOK)
	},
	"assignNumbers": freeNumber,
	"releaseNumber": func(b *bundle, id string) {
		freeNumber(b, id)
		want(b.t, b.do("PUT", "/v1/campaigns/"+id+"/numbers", bodies["assignNumbers"], as("keyA")), http.StatusOK)
	},
}

// notYet is a registration that is complete, but not asked for.
func notYet(body string) string { return strings.Replace(body, `"submit":true`, `"submit":false`, 1) }

// freeNumber takes the number of the examples out of the campaigns of the examples before.
func freeNumber(b *bundle, _ string) {
	s := b.server.Registry.(fakeRegistry).shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owners, message.Address("+"+belongings["{number}"]))
}

// Every example of the document can be run as it stands: only the key, the place and
// the id are the reader's own.
func TestExamples(t *testing.T) {
	t.Parallel()
	b := furnished(t)
	shown := 0
	for _, op := range customerOperations() {
		samples, _ := op.Extensions["x-codeSamples"].([]any)
		if len(samples) == 0 {
			t.Errorf("%s has no example", op.OperationID)
		}
		for _, s := range samples {
			shown++
			b.clock.advance(time.Second)
			q, err := curl(s.(map[string]any)["source"].(string))
			if err != nil {
				t.Errorf("%s: %v", op.OperationID, err)
				continue
			}
			q.url = strings.Replace(q.url, "wait_seconds=30", "wait_seconds=0", 1) // nothing comes meanwhile
			if at := pathParameter.FindStringIndex(op.Path); at != nil {
				id := things[op.Path[:at[0]]](b)
				if prepare := beforehand[op.OperationID]; prepare != nil {
					prepare(b, id)
				}
				rest, _ := strings.CutPrefix(q.url, exampleHost+op.Path[:at[0]])
				_, tail, deeper := strings.Cut(rest, "/")
				q.url = exampleHost + op.Path[:at[0]] + id
				if deeper {
					q.url += "/" + tail
				} else if _, query, ok := strings.Cut(rest, "?"); ok {
					q.url += "?" + query
				}
			}
			r := b.do(q.method, strings.TrimPrefix(q.url, exampleHost), q.body, func(r *http.Request) {
				r.Header.Del("Content-Type")
				for name, value := range q.header {
					r.Header[name] = value
				}
				if q.user != "" {
					as("keyA")(r)
				}
			})
			want := []string{"200", "201", "202", "204"}
			if status := fmt.Sprint(r.StatusCode); !slices.Contains(want, status) || op.Responses[status] == nil || r.Header.Get("Idempotency-Replayed") != "" {
				t.Errorf("%s: its example gets %d %s", op.OperationID, r.StatusCode, r.body)
			}
			if q.method != op.Method {
				t.Errorf("%s: its example sends %s", op.OperationID, q.method)
			}
		}
	}
	if shown < 80 {
		t.Errorf("%d examples: the test is blind", shown)
	}
}

// command is a request as curl sends it.
type command struct {
	method, url, user, body string
	header                  http.Header
}

// exampleFiles are what the examples read.
var exampleFiles = map[string]string{"parcel.jpg": dot, "opt-outs.csv": "recipient,sender\n+13105550117,+12025550143\n"}

// curl reads a command line. An option that it does not know is an error: the example
// would not be tried as it stands.
func curl(line string) (command, error) {
	words := shellWords(line)
	q := command{header: http.Header{}}
	if len(words) == 0 || words[0] != "curl" {
		return q, fmt.Errorf("%q is no curl command", line)
	}
	data := func(text string) {
		q.body = text
		if q.method == "" {
			q.method = http.MethodPost
		}
	}
	for i := 1; i < len(words); i++ {
		option := words[i]
		if option == "-sS" {
			continue
		}
		if !strings.HasPrefix(option, "-") {
			q.url = option
			continue
		}
		if i++; i == len(words) {
			return q, fmt.Errorf("%s without a value in %q", option, line)
		}
		switch value := words[i]; option {
		case "-X":
			q.method = value
		case "-u":
			q.user = value
		case "-o":
		case "-H":
			name, text, _ := strings.Cut(value, ": ")
			q.header.Set(name, text)
		case "-d":
			data(value)
		case "--data-binary":
			data(exampleFiles[strings.TrimPrefix(value, "@")])
		case "-F":
			name, file, _ := strings.Cut(value, "=@")
			kind, form := formOf(name, file)
			q.header.Set("Content-Type", kind)
			data(form)
		default:
			return q, fmt.Errorf("the test does not know %s of %q", option, line)
		}
	}
	if q.method == "" {
		q.method = http.MethodGet
	}
	if q.body != "" && q.header.Get("Content-Type") == "" {
		q.header.Set("Content-Type", formType) // as curl does
	}
	if q.user != "" && q.user != "$API_KEY:$API_SECRET" {
		return q, fmt.Errorf("%q has the user %s", line, q.user)
	}
	return q, nil
}

func formOf(name, file string) (contentType, body string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(name, file)
	if err == nil {
		_, err = io.WriteString(part, exampleFiles[file])
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer
	}
	return w.FormDataContentType(), b.String()
}

// shellWords splits a line as the shell does: quotes, and lines that go on.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	quote, began := rune(0), false
	for _, c := range strings.ReplaceAll(line, "\\\n", " ") {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, began = c, true
		case quote == 0 && (c == ' ' || c == '\n'):
			if began {
				words = append(words, word.String())
			}
			word.Reset()
			began = false
		default:
			word.WriteRune(c)
			began = true
		}
	}
	if began {
		words = append(words, word.String())
	}
	return words
}

// The examples of single values fit what they are examples of.
func TestExampleValues(t *testing.T) {
	t.Parallel()
	for name, text := range map[string][]byte{"customers": generated(t), "internal": generatedAdmin(t)} {
		var root map[string]any
		if err := json.Unmarshal(text, &root); err != nil {
			t.Fatal(err)
		}
		s, shown := spec{t, root}, 0
		eachSchema(root, func(schema map[string]any) {
			list, _ := schema["examples"].([]any)
			for _, e := range list {
				shown++
				if schema["format"] == "date-time" {
					continue // of requests, which need no milliseconds
				}
				if err := s.valid(schema, e, "example"); err != nil {
					t.Errorf("%s: %v: %v", name, schema, err)
				}
			}
		})
		if shown < 50 {
			t.Errorf("%s: %d examples: the test is blind", name, shown)
		}
	}
}

func eachSchema(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			eachSchema(e, visit)
		}
	case map[string]any:
		if v["type"] != nil {
			visit(v)
		}
		for _, e := range v {
			eachSchema(e, visit)
		}
	}
}
