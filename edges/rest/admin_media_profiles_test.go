package rest

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const leanProfile = `{"types":["image/jpeg"],"message_bytes":100000,"max_parts":3,"max_side":640,"video":"h264","audio":"aac","animated_gif":"first_frame","transparency":"white","documents":{"vcard":"pass"}}`

// profiles are those of the list by name.
func (o *office) profiles(by snapshot.Role) map[string]map[string]any {
	o.t.Helper()
	found := map[string]map[string]any{}
	for _, p := range o.do("GET", mediaProfilePath, "", o.by(by)).json(o.t)["data"].([]any) {
		p := p.(map[string]any)
		found[p["name"].(string)] = p
	}
	return found
}

func TestMediaProfilesOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	if list := o.profiles(snapshot.RoleSupport); len(list) != len(mediaprofile.Defaults()) || list["att"]["stored"] != false || list["att"]["builtin"] != true || list["att"]["updated_at"] != nil {
		t.Errorf("at the beginning: %v", list)
	}
	v := o.vendor()
	path := vendorPath + "/" + v.ID.String()
	refused := o.do("PATCH", path, `{"media_profile":"lean"}`, by)
	wantProblem(t, refused, 422, message.ReasonInvalidRequest)
	if text := string(refused.body); !strings.Contains(text, `"body.media_profile"`) || !strings.Contains(text, "rural") {
		t.Errorf("the refusal names neither the field nor what there is: %s", text)
	}
	wantProblem(t, o.do("POST", vendorPath, `{"instance_name":"x","provider_type":"smpp","host":"h.example","port":1,"username":"u","media_profile":"lean"}`, by), 422, message.ReasonInvalidRequest)

	r := o.do("PUT", mediaProfilePath+"/lean", leanProfile, by)
	if got := r.json(t); r.StatusCode != 200 || got["stored"] != true || got["builtin"] != false || got["documents"].(map[string]any)["pdf"] != "refuse" || got["updated_at"] == nil {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("PATCH", path, `{"media_profile":"lean"}`, by); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if p, known := o.snapshot().MediaProfile(o.snapshot().Vendors[v.ID]); !known || p.MaxSide != 640 || p.Name != "lean" {
		t.Errorf("in force: %+v, %v", p, known)
	}
	inUse := o.do("DELETE", mediaProfilePath+"/lean", "", by)
	wantProblem(t, inUse, 409, message.ReasonConflict)
	if !strings.Contains(string(inUse.body), v.Name) {
		t.Errorf("the refusal does not say who names it: %s", inUse.body)
	}
	wantProblem(t, o.do("DELETE", mediaProfilePath+"/none", "", by), 404, message.ReasonNotFound)
	wantProblem(t, o.do("DELETE", mediaProfilePath+"/att", "", by), 404, message.ReasonNotFound)

	// A built-in one that a row takes the place of, and again does not, while it is named.
	o.do("PATCH", path, `{"media_profile":"att"}`, by)
	if r := o.do("PUT", mediaProfilePath+"/att", leanProfile, by); r.StatusCode != 200 || r.json(t)["builtin"] != true {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if p, _ := o.snapshot().MediaProfile(o.snapshot().Vendors[v.ID]); p.MaxSide != 640 {
		t.Errorf("in force: %+v", p)
	}
	for _, name := range []string{"att", "lean"} {
		if r := o.do("DELETE", mediaProfilePath+"/"+name, "", by); r.StatusCode != 204 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	if p, known := o.snapshot().MediaProfile(o.snapshot().Vendors[v.ID]); p.MaxSide != 1920 || !known {
		t.Errorf("in force: %+v", p)
	}
}

// What breaks a rule is refused by the field, and nothing of it is stored.
func TestMediaProfileFaults(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	before := o.last().ID
	for where, change := range map[string]map[string]any{
		"body.types":              {"types": []string{"image/png"}},
		"body.types ":             {"types": []string{"image/jpeg", "image/svg+xml"}},
		"body.types  ":            {"types": "image/jpeg"},
		"body.message_bytes":      {"message_bytes": 1},
		"body.message_bytes ":     {"message_bytes": nil},
		"body.part_bytes":         {"part_bytes": 100_001},
		"body.other_bytes":        {"other_bytes": -1},
		"body.max_parts":          {"max_parts": 1 << 40},
		"body.max_side":           {"max_side": 1.5},
		"body.max_seconds":        {"max_seconds": "1"},
		"body.video":              {"video": "av1"},
		"body.audio":              {"audio": ""},
		"body.cut":                {"cut": 1},
		"body.animated_gif":       {"animated_gif": "video"},
		"body.transparency":       {"transparency": "black"},
		"body.documents.pdf":      {"documents": map[string]any{"pdf": "maybe"}},
		"body.documents.document": {"documents": map[string]any{"document": "pass"}},
		"body.documents":          {"documents": "pass"},
		"body.name":               {"name": "lean"},
	} {
		doc := map[string]any{}
		if err := json.Unmarshal([]byte(leanProfile), &doc); err != nil {
			t.Fatal(err)
		}
		maps.Copy(doc, change)
		body, _ := json.Marshal(doc)
		r := o.do("PUT", mediaProfilePath+"/lean", string(body), by)
		wantProblem(t, r, 422, message.ReasonInvalidRequest)
		if !strings.Contains(string(r.body), `"`+strings.TrimSpace(where)+`"`) {
			t.Errorf("%s is not named: %s", where, r.body)
		}
	}
	for _, name := range []string{"LEAN", "%00", "a%2Fb", strings.Repeat("x", 51)} {
		if r := o.do("PUT", mediaProfilePath+"/"+name, leanProfile, by); r.StatusCode != 422 && r.StatusCode != 404 {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
	if r := o.do("PUT", mediaProfilePath+"/lean", `{"types":`, by); r.StatusCode != 400 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if o.last().ID != before || len(o.profiles(snapshot.RoleOperator)) != len(mediaprofile.Defaults()) {
		t.Error("something of what was refused is stored")
	}
}

// Every field of a profile is a member of the document, and is read, stored and shown.
func TestEveryFieldOfAProfileTravels(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	sent := mediaprofile.Profile{Name: "all", Types: []string{"image/jpeg", "video/3gpp"}, MessageBytes: 77_777, Encoded: true, PartBytes: 7, OtherBytes: 8, MaxParts: 9, MaxSide: 777,
		Video: "h263", Audio: "amr", MaxSeconds: 11, Cut: true, AnimatedGIF: "video", Transparency: "white", Documents: mediaprofile.Documents{VCard: "pass", Calendar: "pass", PDF: "pass"}}
	for i := range reflect.TypeFor[mediaprofile.Profile]().NumField() {
		if reflect.ValueOf(sent).Field(i).IsZero() {
			t.Errorf("the test does not set %s", reflect.TypeFor[mediaprofile.Profile]().Field(i).Name)
		}
	}
	r := o.do("PUT", mediaProfilePath+"/all", string(sent.Definition()), o.by(snapshot.RoleOperator))
	if r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if got := o.snapshot().MediaProfiles["all"]; !reflect.DeepEqual(got, sent) {
		t.Errorf("sent %+v\nread %+v", sent, got)
	}
	var want map[string]any
	if err := json.Unmarshal(sent.Definition(), &want); err != nil {
		t.Fatal(err)
	}
	shown := r.json(t)
	for name, v := range want {
		if !reflect.DeepEqual(shown[name], v) {
			t.Errorf("%s: shown %v, want %v", name, shown[name], v)
		}
	}
}
