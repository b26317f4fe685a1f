package message

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFill(t *testing.T) {
	vars := map[string]string{"name": "Ann", "first name": "Bea", "tricky": "{{name}}", "empty": "", "ü": "u"}
	for _, c := range []struct{ template, want, missing string }{
		{"", "", ""},
		{"plain", "plain", ""},
		{"Hello {{name}}!", "Hello Ann!", ""},
		{"{{name}}{{name}}", "AnnAnn", ""},
		{"{{ name }} {{first name}}", "Ann Bea", ""},
		{"{{tricky}}", "{{name}}", ""},
		{"[{{empty}}]", "[]", ""},
		{"{{ü}}", "u", ""},
		{"{{", "{{", ""},
		{"}} {{name}}", "}} Ann", ""},
		{"{name}", "{name}", ""},
		{"{{ open {{name}}", "{{ open Ann", ""},
		{"{{name}} {{", "Ann {{", ""},
		{"{{Name}}", "", "Name"},
		{"{{}}", "", ""},
		{"{{name}} {{ other }}", "", "other"},
	} {
		got, err := Fill(c.template, vars)
		var missing *MissingVariable
		switch {
		case errors.As(err, &missing):
			if missing.Name != c.missing || c.want != "" {
				t.Errorf("%q: %v", c.template, err)
			}
		case err != nil || c.missing != "" || got != c.want:
			t.Errorf("%q: %q, %v", c.template, got, err)
		}
	}
}

// What stands around placeholders comes out as it is, and what they stand for is not
// looked into.
func TestFillProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.StringMatching(`[^{}]*`)
		value := rapid.StringMatching(`[a-z{} ]*`)
		name := rapid.StringMatching(`[a-z][a-z ]{0,4}[a-z]`)
		vars := map[string]string{}
		var template, want strings.Builder
		for range rapid.IntRange(0, 6).Draw(t, "placeholders") {
			text, n := plain.Draw(t, "text"), name.Draw(t, "name")
			if _, ok := vars[n]; !ok {
				vars[n] = value.Draw(t, "value")
			}
			template.WriteString(text + "{{" + n + "}}")
			want.WriteString(text + vars[n])
		}
		end := plain.Draw(t, "end")
		got, err := Fill(template.String()+end, vars)
		if err != nil || got != want.String()+end {
			t.Fatalf("%q: %q, %v; want %q", template.String()+end, got, err, want.String()+end)
		}
	})
}
