package main

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestParsePlace(t *testing.T) {
	for arg, want := range map[string]string{"storage": "storage", "endpoints": "webhook", "smpp:acme": "smpp acme", "mailto:a@b.example": "email a@b.example",
		"https://shop.example/sms": "webhook https://shop.example/sms"} {
		p, err := parsePlace(arg)
		if err != nil || describePlace(p) != want {
			t.Errorf("%s: %q, %v, want %q", arg, describePlace(p), err, want)
		}
	}
	for _, arg := range []string{"", "smpp:", "mailto:", "mailto:a", "fax", "ftp://x", "https://"} {
		if p, err := parsePlace(arg); err == nil {
			t.Errorf("%q is %+v", arg, p)
		}
	}
	if got := describePlace(message.Place{Method: message.InboundWebhook, URL: "https://a.example", HTTPMethod: "PUT"}); got != "webhook PUT https://a.example" {
		t.Error(got)
	}
}
