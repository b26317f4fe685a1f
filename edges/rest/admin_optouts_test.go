package rest

import (
	"fmt"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// stopped records that a recipient has stopped all of an account, which need not exist.
func (o *office) stopped(account message.ID, recipient message.Address) message.ID {
	o.t.Helper()
	is, _, err := o.db.AddOptOut(o.ctx, shellActor, message.OptOut{ID: message.NewID(), AccountID: account, Recipient: recipient, Scope: message.OptOutAccount, Source: message.OptOutByAPI}, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return is.ID
}

func aboutOptOut(suffix, body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		id := o.stopped(o.customer, message.Address(fmt.Sprintf("+1310557%04d", o.count("select count(*) from opt_outs"))))
		return staffOptOutPath + "/" + id.String() + suffix, body
	}
}

// A recipient is found at whichever customer, with what has ended.
func TestOptOutsOfAllCustomers(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleCompliance)
	other := message.NewID()
	if err := o.db.CreateAccount(o.ctx, shellActor, snapshot.Account{ID: other, CompanyName: "B", WebhookSecret: "x"}); err != nil {
		t.Fatal(err)
	}
	one, two, three := o.stopped(o.customer, "+13105550117"), o.stopped(other, "+13105550117"), o.stopped(other, "+13105550118")
	if r := o.do("DELETE", staffOptOutPath+"/"+two.String(), "", by); r.StatusCode != 422 {
		t.Errorf("without a reason: %d %s", r.StatusCode, r.body)
	}
	r := o.do("DELETE", staffOptOutPath+"/"+two.String(), `{"reason":"opted in on paper"}`, by)
	if got := r.json(t); r.StatusCode != 200 || got["active"] != false || got["ended_by"] != "compliance@gw.example" || got["account_id"] != other.String() || got["end_reason"] != "opted in on paper" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for query, want := range map[string]string{
		"": fmt.Sprint(three, two, one), "?recipient=%2B13105550117": fmt.Sprint(two, one), "?recipient=%2B13105550117&active=true": fmt.Sprint(one),
		"?account_id=" + other.String(): fmt.Sprint(three, two), "?active=false&account_id=" + other.String(): fmt.Sprint(two),
		"?limit=1": fmt.Sprint(three),
	} {
		got := ""
		for _, each := range o.do("GET", staffOptOutPath+query, "", by).json(t)["data"].([]any) {
			if got != "" {
				got += " "
			}
			got += fmt.Sprint(each.(map[string]any)["id"])
		}
		if got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	wantProblem(t, o.do("GET", staffOptOutPath+"?active=true", "", by), 422, message.ReasonInvalidRequest)
	wantProblem(t, o.do("GET", staffOptOutPath+"/"+message.NewID().String(), "", by), 404, message.ReasonNotFound)
	wantProblem(t, o.do("DELETE", staffOptOutPath+"/"+message.NewID().String()+"?reason=x", "", by), 404, message.ReasonNotFound)
}

func TestVerifyAuditLog(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleCompliance)
	last := o.last()
	r := o.do("GET", adminPrefix+"/audit-log/verify", "", by)
	if got := r.json(t); r.StatusCode != 200 || got["intact"] != true || got["broken_id"] != nil || got["newest_id"] != float64(last.ID) || got["newest_hash"] != fmt.Sprintf("%x", last.Hash) {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if _, err := o.conn.Exec(o.ctx, "alter table audit_log disable trigger user"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.conn.Exec(o.ctx, "update audit_log set actor = 'mallory' where id = $1", last.ID); err != nil {
		t.Fatal(err)
	}
	if got := o.do("GET", adminPrefix+"/audit-log/verify", "", by).json(t); got["intact"] != false || got["broken_id"] != float64(last.ID) {
		t.Errorf("%v", got)
	}
}
