package main

import (
	"maps"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
)

func TestAssignFields(t *testing.T) {
	added, err := assignFields(nil, defaultAttributes())
	want := map[string]string{"Keyword01": "Account", "Keyword02": "Vendor", "Keyword03": "Campaign", "Keyword04": "Outcome"}
	if err != nil || !maps.Equal(added, want) {
		t.Errorf("%v, %v", added, err)
	}
	// What exists stays where it is, wherever the operator API put it; the rest fills the gaps.
	existing := map[string]string{"Keyword01": "Vendor", "Keyword09": "Account", "Int01": "Parts"}
	added, err = assignFields(existing, append(defaultAttributes(), attribute{"Cost", enumspb.INDEXED_VALUE_TYPE_INT}))
	want = map[string]string{"Keyword02": "Campaign", "Keyword03": "Outcome", "Int02": "Cost"}
	if err != nil || !maps.Equal(added, want) {
		t.Errorf("%v, %v", added, err)
	}
	_, err = assignFields(map[string]string{"Int01": "Account"}, defaultAttributes())
	if err == nil || !strings.Contains(err.Error(), "exists with type Int") {
		t.Errorf("changed type: %v", err)
	}
}
