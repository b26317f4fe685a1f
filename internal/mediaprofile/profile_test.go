package mediaprofile

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestReadWhatDefinitionWrites(t *testing.T) {
	for _, p := range Defaults() {
		if got, err := Read(p.Name, p.Definition()); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: %+v, %v", p.Name, got, err)
		}
	}
}

func TestReadNamesTheField(t *testing.T) {
	p, _ := Builtin("att")
	good := string(p.Definition())
	for field, c := range map[string]struct{ name, text string }{
		"name":           {"ATT", good},
		"name ":          {"att", strings.Replace(good, "{", `{"name":"x",`, 1)},
		"video":          {"att", strings.Replace(good, `"h264"`, `"av1"`, 1)},
		"message_bytes":  {"att", strings.Replace(good, "1000000", `"much"`, 1)},
		"message_bytes ": {"att", "{}"},
		"":               {"att", "null"},
		" ":              {"att", good + "{}"},
		"  ":             {"att", strings.Replace(good, "{", `{"colour":"red",`, 1)},
		"   ":            {"att", "[]"},
		"    ":           {"att", ""},
		"     ":          {"att", good + strings.Repeat(" ", MaxDefinition)},
	} {
		_, err := Read(c.name, []byte(c.text))
		var fault *Fault
		if field = strings.TrimSpace(field); !errors.As(err, &fault) || field != "" && fault.Field != field {
			t.Errorf("%.60s: %v, want a fault of %q", c.text, err, field)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, p := range Defaults() {
		f.Add(p.Name, p.Definition())
	}
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		p, err := Read(name, text)
		if err != nil {
			return
		}
		if again, err := Read(p.Name, p.Definition()); err != nil || p.Validate() != nil || !reflect.DeepEqual(again.Definition(), p.Definition()) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
