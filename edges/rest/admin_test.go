package rest

import (
	"testing"

	"github.com/postrider/postrider/internal/snapshot"
)

// What staff do, from the first login on.
func TestStaffLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	admin := o.by(snapshot.RoleAdmin)
	r := o.do("POST", staffPath, `{"email":"Ada@GW.example","role":"support","name":"Ada"}`, admin)
	if r.StatusCode != 201 || r.Header.Get("Location") == "" {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	made := r.json(t)
	if made["email"] != "ada@gw.example" || made["password"] == nil {
		t.Fatalf("%s", r.body)
	}
	token := o.fresh(`{"email":"ada@gw.example","password":"` + made["password"].(string) + `"}`)
	if r := o.do("GET", messagePath, "", bearer(token)); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	path := r.Header.Get("Location")
	if r := o.do("DELETE", path, "", admin); r.StatusCode != 204 || len(r.body) != 0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("GET", messagePath, "", bearer(token)); r.StatusCode != 401 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}
