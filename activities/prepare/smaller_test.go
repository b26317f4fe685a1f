package prepare

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// After a refusal the vendor gets less, under a name of its own, and the timeline says so.
func TestSmaller(t *testing.T) {
	b := setup(t)
	b.given(picture(t, 900_000))
	first, err := b.run()
	if err != nil {
		t.Fatal(err)
	}
	b.smaller = true
	second, err := b.run()
	if err != nil || second.Reason != "" || second.Profile == first.Profile {
		t.Fatalf("%+v after %+v, %v", second, first, err)
	}
	if was, is := b.files[first.Profile][0].File.Size, b.files[second.Profile][0].File.Size; is > was/2+10_000 {
		t.Errorf("%d octets after %d", is, was)
	}
	if len(b.lines) != 2 || b.lines[1].Detail["smaller"] != true || b.lines[1].Detail["profile"] != "default-smaller" || b.lines[0].Detail["smaller"] != nil {
		t.Errorf("the timeline: %+v", b.lines)
	}
	if again, err := b.run(); err != nil || again != second || len(b.lines) != 2 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// What is as small already would only be refused again; and what goes as it is stays so.
func TestNothingSmaller(t *testing.T) {
	b := setup(t)
	b.given(picture(t, 0))
	if _, err := b.run(); err != nil {
		t.Fatal(err)
	}
	b.smaller = true
	b.wants(message.ReasonMediaRejected)
	if len(b.lines) != 1 {
		t.Errorf("the timeline: %+v", b.lines)
	}
	asIs := setup(t)
	asIs.m.MediaAsIs, asIs.smaller = true, true
	asIs.given(picture(t, 0))
	asIs.wants(message.ReasonMediaRejected)
}
