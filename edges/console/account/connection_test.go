package account

import (
	"go/format"
	"strings"
	"testing"
)

func TestSamplesHoldTheAccountsValues(t *testing.T) {
	s := sample{url: "https://gw.example", from: "+12025550143", to: "+13105550117", key: "ak_1", systemID: "acme1"}
	for name, text := range map[string]string{"curl": s.curl(), "go": s.golang(), "python": s.python(), "node": s.node()} {
		for _, want := range []string{"https://gw.example/v1/messages", s.from, s.to, "API_SECRET", "Idempotency-Key"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		if strings.Contains(text, "%!") {
			t.Errorf("%s: %s", name, text)
		}
	}
	formatted, err := format.Source([]byte(s.golang()))
	if err != nil || string(formatted) != s.golang() {
		t.Errorf("the sample in Go is not formatted: %v\n%s", err, formatted)
	}
	if text := s.smppSettings(); !strings.Contains(text, "acme1") || !strings.Contains(text, "not served") {
		t.Error(text)
	}
}
