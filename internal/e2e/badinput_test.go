package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// TestBadInput posts bodies that cannot become a message. Each gets a problem
// that says what to change, and nothing is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	with := func(change string) string {
		return `{"from":"` + from + `","to":"+13105550117","body":"hello",` + change + `}`
	}
	bodies := []struct{ name, body, code string }{
		{"empty", ``, "invalid_request"},
		{"not JSON", `hello`, "invalid_request"},
		{"cut off", `{"from":"` + from + `","to":`, "invalid_request"},
		{"an array", `[]`, "invalid_request"},
		{"a string", `"hello"`, "invalid_request"},
		{"null", `null`, "invalid_request"},
		{"two documents", `{"to":"+13105550117","body":"a"}{"to":"+13105550117","body":"b"}`, "invalid_request"},
		{"deeply nested", strings.Repeat(`{"metadata":`, 5000) + strings.Repeat(`}`, 5000), "invalid_request"},
		{"no recipient", `{"from":"` + from + `","body":"hello"}`, "invalid_request"},
		{"empty recipient", `{"from":"` + from + `","to":"","body":"hello"}`, "invalid_request"},
		{"recipient of letters", `{"from":"` + from + `","to":"hello","body":"hello"}`, "invalid_destination"},
		{"national recipient", `{"from":"` + from + `","to":"3105550117","body":"hello"}`, "invalid_destination"},
		{"recipient too short", `{"from":"` + from + `","to":"+131055","body":"hello"}`, "invalid_destination"},
		{"recipient too long", `{"from":"` + from + `","to":"+131055501171234567","body":"hello"}`, "invalid_destination"},
		{"recipient of no area code", `{"from":"` + from + `","to":"+11105550117","body":"hello"}`, "invalid_destination"},
		{"two recipients", `{"from":"` + from + `","to":["+13105550117","+13105550118"],"body":"hello"}`, "invalid_request"},
		{"recipient as a number", `{"from":"` + from + `","to":13105550117,"body":"hello"}`, "invalid_request"},
		{"sender of nonsense", `{"from":"!!!","to":"+13105550117","body":"hello"}`, "invalid_request"},
		{"sender too long", `{"from":"ABCDEFGHIJKLMNOP","to":"+13105550117","body":"hello"}`, "invalid_request"},
		{"no body", `{"from":"` + from + `","to":"+13105550117"}`, "invalid_request"},
		{"empty body", `{"from":"` + from + `","to":"+13105550117","body":""}`, "invalid_request"},
		{"body as a number", `{"from":"` + from + `","to":"+13105550117","body":7}`, "invalid_request"},
		{"body with a NUL", `{"from":"` + from + `","to":"+13105550117","body":"a\u0000b"}`, "invalid_request"},
		{"body with half a surrogate pair", `{"from":"` + from + `","to":"+13105550117","body":"a\ud83d"}`, "invalid_request"},
		{"body that is not UTF-8", "{\"from\":\"" + from + "\",\"to\":\"+13105550117\",\"body\":\"a\xff\"}", "invalid_request"},
		{"body too long", `{"from":"` + from + `","to":"+13105550117","body":"` + strings.Repeat("a", 1601) + `"}`, "message_too_long"},
		{"too many parts", `{"from":"` + from + `","to":"+13105550117","body":"` + strings.Repeat("ж", 700) + `"}`, "message_too_long"},
		{"request too large", `{"from":"` + from + `","to":"+13105550117","body":"` + strings.Repeat("a", 1<<20) + `"}`, "payload_too_large"},
		{"unknown field", with(`"colour":"red"`), "invalid_request"},
		{"misspelt field", with(`"Body2":"x"`), "invalid_request"},
		{"gsm7 with other characters", `{"from":"` + from + `","to":"+13105550117","body":"ж","encoding":"gsm7"}`, "encoding_mismatch"},
		{"unknown encoding", with(`"encoding":"utf8"`), "invalid_request"},
		{"unknown class", with(`"message_class":"urgent"`), "invalid_request"},
		{"unknown delivery", with(`"delivery":"exactly_once"`), "invalid_request"},
		{"validity too short", with(`"validity_seconds":59`), "invalid_schedule"},
		{"validity too long", with(`"validity_seconds":259201`), "invalid_schedule"},
		{"validity as text", with(`"validity_seconds":"3600"`), "invalid_request"},
		{"send time in the past", with(`"send_at":"2020-01-01T00:00:00Z"`), "invalid_schedule"},
		{"send time too far", with(`"send_at":"2126-01-01T00:00:00Z"`), "invalid_schedule"},
		{"send time without a zone", with(`"send_at":"2026-12-01T00:00:00"`), "invalid_request"},
		{"reference too long", with(`"client_reference":"` + strings.Repeat("r", 65) + `"`), "invalid_request"},
		{"metadata of numbers", with(`"metadata":{"a":1}`), "invalid_request"},
		{"metadata key too long", with(`"metadata":{"` + strings.Repeat("k", 41) + `":"v"}`), "invalid_request"},
		{"metadata value too long", with(`"metadata":{"k":"` + strings.Repeat("v", 257) + `"}`), "invalid_request"},
		{"webhook that is no URL", with(`"webhook_url":"not a url"`), "invalid_request"},
		{"webhook to a file", with(`"webhook_url":"file:///etc/passwd"`), "invalid_request"},
		{"webhook to cloud metadata", with(`"webhook_url":"http://169.254.169.254/latest"`), "unsafe_url"},
		{"webhook to a private address", with(`"webhook_url":"https://10.0.0.1/hooks"`), "unsafe_url"},
	}
	for _, c := range bodies {
		a, err := s.call(http.MethodPost, "/v1/messages", []byte(c.body))
		if err != nil {
			t.Errorf("%s: no answer: %v", c.name, err)
			continue
		}
		var p struct {
			Code, Detail, Title string
			Errors              []struct{ Location, Message string }
		}
		if err := json.Unmarshal(a.body, &p); err != nil {
			t.Errorf("%s: the answer is not JSON: %s", c.name, a.body)
			continue
		}
		if a.status < 400 || a.status > 499 || p.Code != c.code {
			t.Errorf("%s: answered %d %s (%s), want 4xx %s", c.name, a.status, p.Code, p.Detail, c.code)
		}
		if p.Detail == "" && len(p.Errors) == 0 {
			t.Errorf("%s: the answer does not say what to change: %s", c.name, a.body)
		}
	}
	if len(bodies) < 30 {
		t.Errorf("only %d bodies", len(bodies))
	}
	stored, err := s.db.Messages(t.Context(), s.account, message.Filter{}, message.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(stored) > 0 {
		t.Errorf("%d messages were stored", len(stored))
	}
	if !s.gateway.Running() {
		t.Error("the gateway has ended")
	}
}
