package main

import (
	"strings"
	"testing"
	"time"
)

func TestAdminPartition(t *testing.T) {
	s := startShell(t)
	for flags, says := range map[string]string{
		"partition drop": "before", "partition drop --before yesterday": "--before", "partition drop --before 2999-01-01": "--before",
		"partition make --ahead -1h": "--ahead", "partition make --since soon": "--since",
	} {
		if _, err := typed(t, "", strings.Fields(flags)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", flags, err)
		}
	}
	var made struct{ Made []string }
	s.admin(&made, "partition", "make", "--ahead", "2400h", "--since", time.Now().AddDate(0, -3, 0).Format(time.DateOnly))
	var list []struct {
		Table, Name string
		Rows        *int64
	}
	s.admin(&list, "partition", "list")
	if len(list) < 4*5 {
		t.Errorf("%d partitions, made %v", len(list), made.Made)
	}
	for _, p := range list {
		if p.Rows != nil && *p.Rows < 0 {
			t.Errorf("%s has %d rows", p.Name, *p.Rows)
		}
	}
	var gone struct{ Dropped []string }
	s.admin(&gone, "partition", "drop", "--before", time.Now().AddDate(0, -1, 0).Format(time.DateOnly))
	if len(gone.Dropped) == 0 {
		t.Error("nothing was dropped")
	}
}
