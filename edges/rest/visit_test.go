package rest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// visit asks as pages of the process do.
func visit(s *Server, v Visitor, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", jsonType)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r.WithContext(WithVisitor(r.Context(), v)))
	return w
}

func TestStaffVisit(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	viewer, operator := Visitor{Staff: o.staff[snapshot.RoleViewer].ID}, Visitor{Staff: o.staff[snapshot.RoleOperator].ID}
	for _, c := range []struct {
		name               string
		v                  Visitor
		method, path, body string
		want               int
	}{
		{"a viewer reads", viewer, "GET", adminPrefix + "/vendors", "", 200},
		{"a viewer changes nothing", viewer, "POST", adminPrefix + "/customers", `{"company_name":"X"}`, 403},
		{"an operator does", operator, "POST", adminPrefix + "/customers", `{"company_name":"X"}`, 201},
		{"staff are no customers", operator, "GET", "/v1/messages", "", 401},
		{"nobody", Visitor{}, "GET", adminPrefix + "/vendors", "", 401},
		{"somebody unknown", Visitor{Staff: message.NewID()}, "GET", adminPrefix + "/vendors", "", 401},
		{"a user of the portal", Visitor{User: message.NewID(), Account: o.customer, Scopes: []string{scopeMessagesRead}}, "GET", adminPrefix + "/vendors", "", 401},
	} {
		if w := visit(o.server, c.v, c.method, c.path, c.body); w.Code != c.want {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if by := o.last(); by.By.Name != o.staff[snapshot.RoleOperator].Email {
		t.Errorf("the audit log names %+v", by)
	}
}

func TestPortalVisit(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	batches := withBatches(b)
	account := accountA
	user := Visitor{User: message.NewID(), Account: account, Email: "ada@shop.example", Scopes: []string{scopeMessagesRead, scopeMessagesWrite}}
	if w := visit(b.server, user, "POST", "/v1/messages", parcel); w.Code != http.StatusAccepted {
		t.Fatal(w.Code, w.Body)
	}
	if got := b.ingress.last(t); got.AccountID != account || got.Credential.ID != user.User {
		t.Errorf("%+v", got)
	}
	if w := visit(b.server, user, "POST", "/v1/messages/batch", `{"messages":[{"to":"+13105550117","body":"x"}]}`); w.Code != http.StatusAccepted {
		t.Fatal(w.Code, w.Body)
	}
	if made := batches.list[0]; made.AccountID != account || made.Credential != (message.ID{}) {
		t.Errorf("its rows would be bound to a key that there is not: %+v", made)
	}
	if w := visit(b.server, user, "GET", "/v1/numbers", ""); w.Code != http.StatusForbidden {
		t.Errorf("a scope that the user lacks: %d", w.Code)
	}
	other := user
	other.Account = message.NewID()
	if w := visit(b.server, other, "GET", "/v1/messages", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("an account that there is not: %d", w.Code)
	}
	b.reconfigure(func(s *snapshot.Snapshot) { s.Accounts[account].Status = snapshot.AccountSuspended })
	if w := visit(b.server, user, "GET", "/v1/messages", ""); w.Code != http.StatusForbidden {
		t.Errorf("a suspended account: %d", w.Code)
	}
}

// Pages are made of many requests: those who look have a rate of their own, and take nothing
// from that of the account's programs.
func TestVisitsHaveARateOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	user := Visitor{User: message.NewID(), Account: accountA, Email: "ada@shop.example", Scopes: []string{scopeMessagesRead}}
	for i := range visitRate {
		if w := visit(b.server, user, "GET", "/v1/messages", ""); w.Code != http.StatusOK {
			t.Fatalf("request %d: %d", i, w.Code)
		}
	}
	if w := visit(b.server, user, "GET", "/v1/messages", ""); w.Code != http.StatusTooManyRequests {
		t.Errorf("one more: %d", w.Code)
	}
	if r := b.do("GET", "/v1/messages", "", as("keyA")); r.StatusCode != http.StatusOK {
		t.Errorf("the account's own: %d", r.StatusCode)
	}
}
