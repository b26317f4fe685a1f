package ingress_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// Messages of one request with several recipients know each other.
func TestAcceptGroup(t *testing.T) {
	b := setup(t)
	group := message.NewID()
	r := b.request()
	r.GroupID, r.GroupRecipients = group, []string{"+1 (310) 555-0117", "+13105550118", "nobody", "+13105550117"}
	out, err := b.Accept(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if m := out.Message; m.GroupID != group || !slices.Equal(m.GroupRecipients, []message.Address{"+13105550117", "+13105550118"}) {
		t.Errorf("%v, %v", m.GroupID, m.GroupRecipients)
	}
	r = b.request()
	r.GroupRecipients = []string{"+13105550117"}
	if out, err = b.Accept(context.Background(), r); err != nil || out.Message.GroupID != (message.ID{}) || out.Message.GroupRecipients != nil {
		t.Errorf("alone: %+v, %v", out.Message, err)
	}
	for n := range message.MaxGroup + 5 {
		r.GroupRecipients = append(r.GroupRecipients, fmt.Sprintf("+1310555%04d", n))
	}
	if out, err = b.Accept(context.Background(), r); err != nil || len(out.Message.GroupRecipients) != message.MaxGroup {
		t.Errorf("a crowd: %d, %v", len(out.Message.GroupRecipients), err)
	}
}

// Who else has got an inbound message is known by the numbers that they can be reached at.
func TestInboundGroup(t *testing.T) {
	b := setup(t)
	m := b.mo("hi all")
	m.Group = []string{"13105550119", m.To, "(310) 555-0120", "someone@example.com", "+442071838750", "+13105550119"}
	want := []message.Address{"+13105550119", number, "+13105550120", "someone@example.com", "+442071838750"}
	if a := b.came(t, m); !slices.Equal(a.Recipients, want) {
		t.Errorf("%q, want %q", a.Recipients, want)
	}
	m = b.mo("hi")
	m.Group = []string{m.To}
	if a := b.came(t, m); a.Recipients != nil {
		t.Errorf("of one recipient: %q", a.Recipients)
	}
}
