package account

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/registry"
)

// Every use case that the registry knows has words of its own.
func TestUseCasesHaveWords(t *testing.T) {
	for _, word := range registry.UseCases() {
		if useCases[word].name == "" || useCases[word].text == "" {
			t.Errorf("%s has no words", word)
		}
		if n, _ := registry.Samples(word); n < 1 {
			t.Errorf("%s: %d samples", word, n)
		}
	}
	if len(useCases) != len(registry.UseCases()) {
		t.Errorf("%d use cases have words; there are %d", len(useCases), len(registry.UseCases()))
	}
}

// Of a destination goes what belongs to its method; one without a method is left out.
func TestDestinationsAreGathered(t *testing.T) {
	form := &page.Form{Fields: slotFields(2, "+12025550143", nil)}
	for name, value := range map[string]string{
		"destinations[0].method": "email", "destinations[0].email_address": "a@shop.example", "destinations[0].webhook_url": "https://left.example", "destinations[0].active": "true",
		"destinations[0].fallback.method": "storage", "destinations[0].fallback.after_seconds": "60", "destinations[0].fallback.email_address": "left@shop.example",
		"destinations[1].webhook_url": "https://none.example",
	} {
		form.Field(name).Value = value
	}
	body, ok := form.Body()
	if !ok {
		t.Fatalf("%+v", form.Fields)
	}
	got, err := json.Marshal(joinSlots(2, true)(body))
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	_ = json.Unmarshal(got, &a)
	_ = json.Unmarshal([]byte(`{"auto_reply":"","destinations":[{"method":"email","email_address":"a@shop.example","active":true,"fallback":{"method":"storage","after_seconds":60}}]}`), &b)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s", got)
	}
}

// Samples that are there go, in order; the parts of a mixed use case go with it alone.
func TestCampaignBody(t *testing.T) {
	got := campaignBody(map[string]any{"use_case": "2FA", "sub_use_cases": []string{"MARKETING"}, "sample_messages": "one", "sample_messages[1]": nil, "sample_messages[2]": " three "})
	want := map[string]any{"use_case": "2FA", "sub_use_cases": []string{}, "sample_messages": []string{"one", "three"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

// What is missing stands at its field: of a list, at the element's or at the first.
func TestWhatIsMissingStandsAtItsField(t *testing.T) {
	step := campaignSteps(nil)[1]
	form := stepForm(&step, "")
	if !say(form, &step, []missing{{"body.sample_messages[1]", "has a link"}, {"body.description", "is required"}, {"body.message_flow", "is required"}}) {
		t.Fatal("nothing was said")
	}
	if form.Field("sample_messages[1]").Error != "has a link" || form.Field("description").Error != "is required" || form.Field("sample_messages").Error != "" || len(form.TroubleLines) != 0 {
		t.Errorf("%+v %v", form.Fields, form.TroubleLines)
	}
	for location, want := range map[string]string{"body.message_flow": "consent", "body.sample_messages": "messages", "body.brand_id": "use"} {
		if at, f := (missing{location, ""}).find(campaignSteps(nil)); at == nil || at.name != want || f.Name != (missing{location, ""}).field() {
			t.Errorf("%s: %+v", location, f)
		}
	}
}

// A day without traffic is drawn as nothing, and a row of another day not at all.
func TestDaysAreFilled(t *testing.T) {
	day, out := "2026-11-21", "2026-11-30"
	r := &report{From: "2026-11-20", To: "2026-11-22"}
	r.Data = []usageRow{{Day: &day, Direction: "outbound", Messages: 3}, {Day: &day, Direction: "inbound", Messages: 1}, {Day: &out, Direction: "outbound", Messages: 9}}
	c, ok := traffic(r).(page.Chart)
	if !ok || len(c.At) != 3 || !reflect.DeepEqual(c.Lines[0].Values, []float64{0, 3, 0}) || !reflect.DeepEqual(c.Lines[1].Values, []float64{0, 1, 0}) {
		t.Errorf("%+v", c)
	}
}
