package ingress_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// withMMS is a setup in which number and vendor take MMS.
func withMMS(t *testing.T) *bundle {
	b := setup(t)
	b.config.Numbers[number].MMSEnabled = true
	for _, v := range b.config.Vendors {
		v.ProviderType, v.SupportsMMS = "twilio", true
	}
	return b
}

func TestAcceptMMS(t *testing.T) {
	b := withMMS(t)
	up := message.MediaFile{ID: message.NewID(), AccountID: b.account.ID, Token: message.NewMediaToken(), SHA256: [32]byte{1}, ContentType: "image/png", Size: 9, ExpiresAt: time.Now().Add(time.Hour)}
	r := b.request()
	r.Body, r.Subject, r.MediaAsIs = strings.Repeat("é", 5000), "Holiday", true
	r.Media = []message.Media{{Source: "https://files.example/a.png"}, {File: up}}
	out, err := b.Accept(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	m := out.Message
	if m.Kind != message.MMS || m.Segments != 1 || len(m.Parts) != 1 || m.Body != r.Body || m.Subject != "Holiday" || !m.MediaAsIs || len(m.Media) != 2 {
		t.Fatalf("%+v", m)
	}
	if first := m.Media[0]; first.Position != 1 || first.Source != "https://files.example/a.png" || first.Fetched() {
		t.Errorf("%+v", first)
	}
	// The file is the message's own, and shares nothing but the octets.
	own := m.Media[1]
	if own.Position != 2 || !own.Fetched() || own.File.ID == up.ID || own.File.Token == up.Token || own.File.SHA256 != up.SHA256 || !own.File.ExpiresAt.IsZero() || own.File.ContentType != up.ContentType {
		t.Errorf("%+v", own)
	}
	if r.Media[1].File != up {
		t.Error("the request was changed")
	}

	r = b.request()
	r.Body, r.Media = "", []message.Media{{Source: "https://files.example/a.png"}}
	if out, err = b.Accept(context.Background(), r); err != nil || out.Message.Encoding != message.EncodingGSM7 {
		t.Errorf("without a text: %+v, %v", out.Message, err)
	}
}

func TestRefusedMMS(t *testing.T) {
	file := message.Media{Source: "https://files.example/a.png"}
	for _, c := range []struct {
		name   string
		change func(b *bundle, r *ingress.Request)
		reason message.Reason
		field  string
		stored bool
	}{
		{"subject of an SMS", func(_ *bundle, r *ingress.Request) { r.Media, r.Subject = nil, "x" }, message.ReasonInvalidRequest, "body.subject", false},
		{"long subject", func(_ *bundle, r *ingress.Request) { r.Subject = strings.Repeat("é", 41) }, message.ReasonInvalidRequest, "body.subject", false},
		{"eleven files", func(_ *bundle, r *ingress.Request) { r.Media = make([]message.Media, 11) }, message.ReasonInvalidRequest, "body.media_urls", false},
		{"long text", func(_ *bundle, r *ingress.Request) { r.Body = strings.Repeat("a", 5001) }, message.ReasonMessageTooLong, "body.body", false},
		{"number without MMS", func(b *bundle, _ *ingress.Request) { b.config.Numbers[number].MMSEnabled = false }, message.ReasonUnauthorizedSender, "", true},
		{"no vendor with MMS", func(b *bundle, _ *ingress.Request) {
			for _, v := range b.config.Vendors {
				v.SupportsMMS = false
			}
		}, message.ReasonNoRoute, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := withMMS(t)
			r := b.request()
			r.Media = []message.Media{file}
			c.change(b, &r)
			out, err := b.Accept(context.Background(), r)
			var e *message.Error
			if !errors.As(err, &e) || e.Reason != c.reason || (out.Message != nil) != c.stored {
				t.Fatalf("%v (%+v), want %s", err, out.Message, c.reason)
			}
			if c.field != "" && (len(e.Fields) != 1 || e.Fields[0].Location != c.field) {
				t.Errorf("fields %+v, want %s", e.Fields, c.field)
			}
		})
	}
}
