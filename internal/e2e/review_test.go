package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// office is a member of staff at the internal API.
type office struct {
	s     *system
	token string
}

// office makes a member of staff with the role, and logs in.
func (s *system) office(role snapshot.Role) *office {
	s.tb.Helper()
	const password = "correct horse battery"
	hash, err := secret.Passwords{}.HashPassword(password)
	if err != nil {
		s.tb.Fatal(err)
	}
	email := string(role) + "@gw.example"
	if _, err := s.db.CreateStaff(stacktest.Context(s.tb), actor, snapshot.Staff{ID: message.NewID(), Email: email, PasswordHash: hash, Role: role, Active: true}); err != nil {
		s.tb.Fatal(err)
	}
	s.current()
	o := &office{s: s}
	var login struct {
		AccessToken string `json:"access_token"`
	}
	if code := o.do(http.MethodPost, "/auth/token", map[string]string{"email": email, "password": password}, &login); code != http.StatusOK {
		s.tb.Fatalf("login answered %d", code)
	}
	o.token = login.AccessToken
	return o
}

// do makes a request and gives the answer's status.
func (o *office) do(method, path string, body, into any) int {
	o.s.tb.Helper()
	a, _ := o.change(method, path, "", body)
	if a.status >= 300 {
		o.s.tb.Logf("%s %s: %d %s", method, path, a.status, a.body)
	} else if into != nil {
		if err := json.Unmarshal(a.body, into); err != nil {
			o.s.tb.Fatalf("%s: %s", err, a.body)
		}
	}
	return a.status
}

// change makes a request about the version that an ETag stands for, or any; it gives the
// ETag of what there is then.
func (o *office) change(method, path, etag string, body any) (a answer, newer string) {
	o.s.tb.Helper()
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			o.s.tb.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d/api/v1/admin%s", o.s.apiPort, path), &b)
	if err != nil {
		o.s.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if o.token != "" {
		req.Header.Set("Authorization", "Bearer "+o.token)
	}
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	resp, err := o.s.client.Do(req)
	if err != nil {
		o.s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		o.s.tb.Fatal(err)
	}
	return answer{resp.StatusCode, got}, resp.Header.Get("ETag")
}

// TestReview: texts that a content rule holds wait until somebody has looked at them;
// what is released is delivered, what is refused says why, and what nobody looks at can
// be withdrawn.
func TestReview(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := stacktest.Context(t)
	if err := s.db.CreateContentRule(ctx, actor, content.Rule{ID: message.NewID(), Name: "casino", Kind: content.KindWord, Class: "gambling", Pattern: "casino",
		Action: content.ActionHold, Active: true}); err != nil {
		t.Fatal(err)
	}
	compliance := s.office(snapshot.RoleCompliance)
	var ids []string
	for i, text := range []string{"win at the casino", "lose at the casino", "look at the casino"} {
		ids = append(ids, s.post(map[string]any{"from": from, "to": destination(i), "body": text}).ID)
	}
	for _, id := range ids {
		s.until("it waits", func() bool {
			a, err := s.api().GetMessageWithResponse(ctx, id)
			return err == nil && a.JSON200 != nil && a.JSON200.Status == "queued" && a.JSON200.Hold != nil && a.JSON200.Hold.Rule == "content" && a.JSON200.Hold.Until == nil
		})
	}
	var held struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if code := compliance.do(http.MethodGet, "/messages/held", nil, &held); code != http.StatusOK || len(held.Data) != len(ids) {
		t.Fatalf("%d: %d are held", code, len(held.Data))
	}
	if code := compliance.do(http.MethodPost, "/messages/"+ids[0]+"/release", map[string]string{"reason": "a joke"}, nil); code/100 != 2 {
		t.Fatalf("release answered %d", code)
	}
	if code := compliance.do(http.MethodPost, "/messages/"+ids[1]+"/refuse", map[string]string{"reason": "no licence"}, nil); code/100 != 2 {
		t.Fatalf("refuse answered %d", code)
	}
	if a, err := s.api().CancelMessageByPostWithResponse(ctx, ids[2], &api.CancelMessageByPostParams{}); err != nil || a.JSON200 == nil {
		t.Logf("cancel answered %+v, %v", a, err)
		if code := s.office(snapshot.RoleSupport).do(http.MethodPost, "/messages/"+ids[2]+"/cancel", map[string]string{"reason": "asked to"}, nil); code/100 != 2 {
			t.Fatalf("cancel answered %d", code)
		}
	}
	for i, want := range []string{"delivered", "rejected", "canceled"} {
		if r := s.final(ids[i]); r.Status != want || i == 1 && (r.Error == nil || r.Error.Code != "prohibited_content") {
			t.Errorf("%d is %+v", i, r)
		}
	}
	seen := s.destinations()
	if seen[destination(0)] != 1 || len(seen) != 1 {
		t.Errorf("the vendor has %v", seen)
	}
	if n := s.number("select count(*) from holds"); n != 0 {
		t.Errorf("%d still wait", n)
	}
}
