package rest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// bound enters a live bind of the customer's, as a process of the name does.
func (o *office) bound(replica string) message.ID {
	o.t.Helper()
	credential := message.NewID()
	c := snapshot.SMPPCredential{ID: credential, AccountID: o.customer, SystemID: credential.String()[21:36], PasswordHash: "x", Enabled: true}
	if err := o.db.CreateSMPPCredential(o.ctx, shellActor, c); err != nil {
		o.t.Fatal(err)
	}
	b := message.SMPPBind{ID: message.NewID(), CredentialID: credential, Instance: replica, Mode: "transceiver", Address: "192.0.2.7", Version: 0x34}
	if ok, err := o.db.Bind(o.ctx, b, 1); !ok || err != nil {
		o.t.Fatal(ok, err)
	}
	return b.ID
}

func aboutSession(o *office) (path, body string) {
	return sessionPath + "/" + o.bound("gw-1").String(), ""
}

// Sessions of both protocols, with each filter, and which are to end.
func TestSessions(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	smpp := o.bound("gw-1")
	peer, err := message.ParseID(o.do("POST", mm4PeerPath, o.newMM4Peer(""), by).json(t)["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	mm4, unknown := message.NewID(), message.NewID()
	if err := o.db.MM4SessionsAlive(o.ctx, "gw-2", []message.MM4Session{
		{ID: mm4, PeerID: peer, Address: "198.51.100.1", State: "data", Mails: 3, BeganAt: time.Now()},
		{ID: unknown, State: "opening", BeganAt: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"": fmt.Sprint(unknown, mm4, smpp), "?protocol=smpp": fmt.Sprint(smpp), "?protocol=mm4": fmt.Sprint(unknown, mm4), "?kind=customer": fmt.Sprint(mm4, smpp),
		"?kind=vendor": "", "?replica=gw-2": fmt.Sprint(unknown, mm4), "?account_id=" + o.customer.String(): fmt.Sprint(mm4, smpp),
		"?vendor_id=" + o.customer.String(): "", "?account_id=" + o.customer.String() + "&replica=gw-1": fmt.Sprint(smpp),
	} {
		var got []any
		for _, each := range o.do("GET", sessionPath+query, "", by).json(t)["data"].([]any) {
			got = append(got, each.(map[string]any)["id"])
		}
		if s := strings.TrimSuffix(fmt.Sprintln(got...), "\n"); s != want {
			t.Errorf("%q: %s, want %s", query, s, want)
		}
	}
	first := o.do("GET", sessionPath+"?limit=1", "", by).json(t)
	second := o.do("GET", sessionPath+"?limit=1&cursor="+first["next_cursor"].(string), "", by).json(t)["data"].([]any)[0].(map[string]any)
	if second["id"] != mm4.String() || second["mails"] != 3.0 || second["state"] != "data" || second["kind"] != "customer" || second["bind_type"] != nil || second["replica"] != "gw-2" {
		t.Errorf("%v", second)
	}
	for _, id := range []message.ID{smpp, mm4} {
		for range 2 { // once more changes nothing
			if r := o.do("DELETE", sessionPath+"/"+id.String(), "", by); r.StatusCode != 204 {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
		}
		if lines := o.audited(id.String()); len(lines) != 2 || !strings.Contains(lines[0], "session.end") {
			t.Errorf("%v", lines)
		}
	}
	if ids, err := o.db.BindsToEnd(o.ctx, "gw-1"); err != nil || fmt.Sprint(ids) != fmt.Sprint([]message.ID{smpp}) {
		t.Error(ids, err)
	}
	if ids, err := o.db.BindsToEnd(o.ctx, "gw-2"); err != nil || len(ids) > 0 {
		t.Error(ids, err)
	}
	if ids, err := o.db.MM4SessionsToEnd(o.ctx, "gw-2"); err != nil || fmt.Sprint(ids) != fmt.Sprint([]message.ID{mm4}) {
		t.Error(ids, err)
	}
	if got := o.do("GET", sessionPath+"?protocol=smpp", "", by).json(t)["data"].([]any)[0].(map[string]any); got["ending"] != true {
		t.Errorf("%v", got)
	}
	// A beat keeps the mark; a process that names them no more has them out.
	if err := o.db.MM4SessionsAlive(o.ctx, "gw-2", []message.MM4Session{{ID: mm4, State: "idle", BeganAt: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	if ids, err := o.db.MM4SessionsToEnd(o.ctx, "gw-2"); err != nil || len(ids) != 1 {
		t.Error(ids, err)
	}
	wantProblem(t, o.do("DELETE", sessionPath+"/"+unknown.String(), "", by), 404, message.ReasonNotFound)
	if _, err := o.conn.Exec(o.ctx, "update smpp_binds set seen_at = now() - interval '31 seconds'"); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, o.do("DELETE", sessionPath+"/"+smpp.String(), "", by), 404, message.ReasonNotFound)
	wantProblem(t, o.do("DELETE", sessionPath+"/x", "", by), 404, message.ReasonNotFound)
}
