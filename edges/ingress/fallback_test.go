package ingress_test

import (
	"context"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Where no vendor takes MMS it is a text with links from its acceptance on, for those who
// want that, under the rules and at the price of a text.
func TestMMSIsAcceptedAsText(t *testing.T) {
	b := withMMS(t)
	for _, v := range b.config.Vendors {
		v.SupportsMMS = false
	}
	b.MediaURL = func(f message.MediaFile) string { return "https://gw.example/media/" + f.Token.String() }
	file := message.MediaFile{ID: message.NewID(), Token: message.NewMediaToken(), ContentType: "image/png"}
	r := b.request()
	r.Body, r.Media = strings.Repeat("a", 100), []message.Media{{File: file}, {Source: "https://files.example/a.png"}}
	if _, err := b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonNoRoute {
		t.Fatalf("who does not want it: %v", err)
	}
	b.account.MMSFallback, b.account.ContentRetentionDays = snapshot.MMSFallbackLink, 30
	out, err := b.Accept(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	m := out.Message
	want := r.Body + "\nhttps://gw.example/media/" + m.Media[0].File.Token.String() + "\nhttps://files.example/a.png"
	if m.Kind != message.SMS || m.Requested != message.MMS || m.Body != want || m.Segments != 2 || m.Price.Amount != 2*4500 || m.Status != message.StatusAccepted || m.Media[0].File.Token == file.Token {
		t.Errorf("%+v", m)
	}
	if last := out.Trail[len(out.Trail)-1]; last.Rule != policy.RuleRoute || last.Result != message.Pass {
		t.Errorf("%+v", out.Trail)
	}
	r.DryRun = true
	if out, err = b.Accept(context.Background(), r); err != nil || out.Message.Segments != 2 || out.Message.Kind != message.SMS {
		t.Errorf("a dry run: %+v, %v", out.Message, err)
	}
	r.DryRun = false
	// A number that may send no texts sends none.
	b.config.Numbers[number].SMSEnabled = false
	if out, err = b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonNoRoute || out.Message.Kind != message.MMS {
		t.Errorf("from a number without SMS: %+v, %v", out.Message, err)
	}
	b.config.Numbers[number].SMSEnabled = true
	for _, v := range b.config.Vendors {
		v.SupportsMMS = true
	}
	if out, err = b.Accept(context.Background(), r); err != nil || out.Message.Kind != message.MMS || out.Message.Requested != "" {
		t.Errorf("with a vendor that takes it: %+v, %v", out.Message, err)
	}
	for _, v := range b.config.Vendors {
		v.SupportsMMS = false
	}
	b.MediaURL = nil
	if _, err = b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonNoRoute {
		t.Errorf("without a public URL: %v", err)
	}
}
