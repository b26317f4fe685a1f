package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// apply is what the database does with a plan.
func apply(existing map[string]bool, drop, create []string) {
	for _, name := range drop {
		delete(existing, strings.Trim(name, `"`))
	}
	for _, ddl := range create {
		existing[strings.Fields(ddl)[2]] = true
	}
}

func TestIndexPlan(t *testing.T) {
	schema, err := schemaIndexes()
	if err != nil {
		t.Fatal(err)
	}
	existing := map[string]bool{"executions_visibility_pkey": true, "somebodys_own": true}
	for _, index := range schema {
		existing[index.name] = true
	}
	for name := range keptIndexes {
		if !existing[name] {
			t.Errorf("%s is kept, but not in the schema", name)
		}
	}
	used := map[string]bool{"keyword01": true, "keyword02": true}
	drop, create := indexPlan(schema, used, existing)
	if len(create) != 0 || len(drop) != len(schema)-len(keptIndexes)-2 {
		t.Errorf("first plan: drop %d of %d, create %v", len(drop), len(schema), create)
	}
	apply(existing, drop, create)
	want := append(slices.Collect(maps.Keys(keptIndexes)), "executions_visibility_pkey", "somebodys_own", "by_keyword_01", "by_keyword_02")
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(existing)); !slices.Equal(got, want) {
		t.Errorf("left: %v\nwant: %v", got, want)
	}
	if drop, create = indexPlan(schema, used, existing); len(drop)+len(create) != 0 {
		t.Errorf("second plan: drop %v, create %v", drop, create)
	}
	// A changed set of attributes moves the indexes with it.
	drop, create = indexPlan(schema, map[string]bool{"keyword02": true, "text01": true}, existing)
	if !slices.Equal(drop, []string{`"by_keyword_01"`}) || len(create) != 1 || !strings.Contains(create[0], "by_text_01") {
		t.Errorf("third plan: drop %v, create %v", drop, create)
	}
}
