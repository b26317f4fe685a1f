package main

import (
	"encoding/json"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

func TestReportStored(t *testing.T) {
	r := example()
	x := &stored{Messages: 1000, Bytes: 4_000_000, Seconds: 2, DropSeconds: 1.5, Looks: 70, Dropped: []string{"messages_20260831"},
		Lists: []listed{{"the newest 50", false, quantiles{P50: 1}, quantiles{P50: 2.5}}, {"the feed", false, quantiles{}, quantiles{P99: 51.25}},
			{"a campaign", true, quantiles{}, quantiles{P99: 199.9}}, {"a class", true, quantiles{}, quantiles{P99: 200}}}}
	r.further = append(r.further, x.section())
	for _, want := range []string{"4000 octets", "messages_20260831", "took 1.5 s", "in 70 looks", "| the newest 50 | 1.0 |", "Of 4 reads 2 have a p99 that is not below 50 ms (200 ms for the 2 searches that no index serves and pages of the console): the feed (51.2 ms), a class (200.0 ms)"} {
		if got := r.markdown(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestStoredOptions(t *testing.T) {
	plain, err := readOptions(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	none := plain.messages()
	if _, err := readOptions([]string{"--stored", "10000000"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := plain.messages() - none; n != 2*storedFlood+1000 {
		t.Errorf("%d messages of its own", n)
	}
	if _, err := readOptions(nil, io.Discard); err != nil || plain.messages() != none {
		t.Errorf("messages of its own when it was not asked for, %v", err)
	}
	if _, _, err := (&storedBench{-1}).run(t.Context(), nil); err == nil {
		t.Error("less than nothing is stored")
	}
	if s, kept, err := (&storedBench{}).run(t.Context(), nil); err != nil || kept != nil || len(s.table) != 0 {
		t.Error("it measured unasked")
	}
}

// Each list of the customers' API is among the reads that are measured.
func TestEveryListIsMeasured(t *testing.T) {
	text, err := os.ReadFile("../../edges/rest/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct{ Parameters []struct{ Name, In string } }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	measured := map[string]bool{}
	for _, r := range reads("{id}", time.Now()) {
		path, _, _ := strings.Cut(r.path, "?")
		measured[path] = true
	}
	// Of one batch there are 10,000 rows at most, found by its id.
	measured["/v1/messages/batch/{id}/messages"] = true
	lists := 0
	for path, methods := range doc.Paths {
		for _, p := range methods["get"].Parameters {
			if p.Name != "cursor" {
				continue
			}
			lists++
			if !measured[path] {
				t.Errorf("GET %s is a list that the bench does not measure: add it to reads", path)
			}
		}
	}
	// What staff search by over all accounts is filters of theirs.
	text, err = os.ReadFile("../../edges/rest/openapi_admin.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	filters := map[string]bool{}
	for _, p := range doc.Paths["/api/v1/admin/messages"]["get"].Parameters {
		filters[p.Name] = true
	}
	searched := map[string]bool{}
	for _, r := range searches() {
		u, err := url.Parse(r.path)
		if err != nil || u.Path != "/api/v1/admin/messages" {
			t.Fatal(r.path, err)
		}
		for name := range u.Query() {
			searched[name] = true
			if !filters[name] {
				t.Errorf("%s is no filter of %s", name, u.Path)
			}
		}
	}
	for _, name := range []string{"campaign_id", "error_code", "message_class", "vendor", "from"} {
		if !searched[name] {
			t.Errorf("no search by %s is measured", name)
		}
	}
	if lists < 10 {
		t.Errorf("%d lists: the document was not read", lists)
	}
}
