package page

import "testing"

func TestFormIsReadByWhoMayNotSendIt(t *testing.T) {
	f := &Form{Fields: []Field{
		{Name: "a", Label: "Text", Value: "x"}, {Name: "b", Label: "Number", Kind: Number, Value: "5000", Unit: "/s"}, {Name: "c", Label: "Truth", Kind: Check, Value: "true"},
		{Name: "d", Label: "One", Kind: Choice, Value: "v", Options: []Option{{"v", "the value"}}}, {Name: "e", Label: "Some", Kind: Choices, Values: []string{"v", "w"}, Options: []Option{{"v", "the value"}}},
		{Name: "f", Label: "List", Kind: Lines, Value: "1\n2"}, {Name: "g", Kind: Hidden, Value: "hidden"}, {Name: "h", Kind: Secret, Value: "secret"}, {Name: "i", Label: "Nothing"},
		{Name: "k", Label: "Untruth", Kind: Check, Value: "false"},
		{Name: "j", Label: "When", Kind: Moment, Value: "2026-11-21T20:15"},
	}}
	want := []string{"x", "5,000 /s", "yes", "the value", "the value, w", "1, 2", "–", "no", ""}
	facts := f.Facts("Read")
	if len(facts.Items) != len(want) {
		t.Fatalf("%+v", facts.Items)
	}
	for i, text := range want {
		if got := facts.Items[i].Value.Text; got != text {
			t.Errorf("%s: %q, want %q", facts.Items[i].Label, got, text)
		}
	}
	if at := facts.Items[len(want)-1].Value.At; clock(at) != "2026-11-21 20:15:00 UTC" {
		t.Error(at)
	}
}
