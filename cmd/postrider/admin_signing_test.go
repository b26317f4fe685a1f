package main

import (
	"strings"
	"testing"
)

// A rotation publishes the new key one token life before it signs; only one is under way
// at a time; what is compromised ends at once.
func TestAdminSigningKeys(t *testing.T) {
	s := startShell(t)
	if _, err := typed(t, "", "signing-key", "rotate", "--algorithm", "RS256"); err == nil || !strings.Contains(err.Error(), "HS256") {
		t.Error(err)
	}
	var first, second, third struct {
		KID       string
		Algorithm string
	}
	s.admin(&first, "signing-key", "rotate", "--compromised") // there was none
	if got := s.row("select count(*)::text from signing_keys where kid = $1 and signs_from <= now() and retired_at is null", first.KID); got != "1" || first.Algorithm != "EdDSA" {
		t.Errorf("%+v %s", first, got)
	}
	s.admin(&second, "signing-key", "rotate", "--algorithm", "HS256")
	if got := s.row(`select (n.signs_from - now() > interval '14 minutes' and n.retired_at is null and o.retired_at = n.signs_from)::text
		from signing_keys n, signing_keys o where n.kid = $1 and o.kid = $2`, second.KID, first.KID); got != "true" {
		t.Error("the new key does not take over from the old one")
	}
	out, err := typed(t, "", "signing-key", "list")
	for _, want := range []string{first.KID, second.KID, "waits", "signs", "HS256"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("the list lacks %s: %v\n%s", want, err, out)
		}
	}
	if _, err := typed(t, "", "signing-key", "rotate"); err == nil || !strings.Contains(err.Error(), second.KID) {
		t.Errorf("a second rotation: %v", err)
	}
	s.admin(&third, "signing-key", "rotate", "--compromised")
	out, err = typed(t, "", "signing-key", "list")
	if err != nil || strings.Count(out, "signs") != 1 || strings.Count(out, "ended") != 2 || strings.Contains(out, "waits") {
		t.Errorf("%v\n%s", err, out)
	}
	// What ended more than a day ago goes with the next rotation.
	var last struct{ KID string }
	s.admin(&last, "signing-key", "rotate")
	if got := s.row("select string_agg(kid, ' ' order by signs_from, kid) from signing_keys"); !strings.Contains(got, third.KID) || !strings.Contains(got, last.KID) || strings.Contains(got, first.KID) {
		t.Errorf("there are %s", got)
	}
	if got := s.row("select count(*)::text from audit_log where action = 'signing_key.rotate'"); got != "4" {
		t.Errorf("%s lines in the audit log", got)
	}
}
