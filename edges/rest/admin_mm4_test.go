package rest

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// newMM4Peer is the body of a peer of the customer's with a name and an address that no
// other one has, and more members.
func (o *office) newMM4Peer(more string) string {
	id := message.NewID()
	return fmt.Sprintf(`{"name":"p-%s","account_id":"%s","addresses":["2001:db8:%x:%x::/64"]%s}`, id, o.customer, id[12:14], id[14:16], more)
}

func aboutMM4Peer(body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		r := o.do("POST", mm4PeerPath, o.newMM4Peer(""), o.by(snapshot.RoleAdmin))
		if r.StatusCode != 201 {
			o.t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return r.Header.Get("Location"), body
	}
}

func TestMM4PeerLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	doc := fmt.Sprintf(`{"name":"acme","account_id":"%s","addresses":["198.51.100.0/24"],"mail_domains":["MMS.acme.example."],"auth_username":"acme","auth_password":"correct horse",
		"host":"mms.acme.example","tls":"required","send_username":"us","send_password":"swordfish","size_limit":1000000}`, o.customer)
	r := o.do("POST", mm4PeerPath, doc, by)
	made := r.json(t)
	if r.StatusCode != 201 || r.Header.Get("ETag") == "" || made["auth_password_set"] != true || made["send_password_set"] != true || made["vendor_id"] != nil ||
		made["account_id"] != o.customer.String() || made["is_active"] != true || made["max_sessions"] != 20.0 || made["system_user"] != "system-user" ||
		fmt.Sprint(made["addresses"], made["mail_domains"]) != "[198.51.100.0/24] [mms.acme.example]" || made["mo_lifetime_seconds"] != 259200.0 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	id, err := message.ParseID(made["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	p := o.snapshot().MM4Peers[id]
	if p == nil || p.SendPassword != "swordfish" || p.MaxSize != 1_000_000 || bcrypt.CompareHashAndPassword([]byte(p.PasswordHash), []byte("correct horse")) != nil {
		t.Errorf("in the configuration: %+v", p)
	}
	if again := o.do("POST", mm4PeerPath, strings.Replace(doc, "198.51", "198.52", 1), by); again.StatusCode != 409 {
		t.Errorf("a name twice: %d %s", again.StatusCode, again.body)
	}
	// By name as by id; every role reads.
	read := o.do("GET", mm4PeerPath+"/acme", "", o.by(snapshot.RoleViewer))
	if read.StatusCode != 200 || read.json(t)["id"] != made["id"] || read.Header.Get("ETag") != r.Header.Get("ETag") {
		t.Errorf("%d %s", read.StatusCode, read.body)
	}
	path := r.Header.Get("Location")
	r = o.do("PATCH", path, `{"rate":5,"send_password":"n3w"}`, by)
	if p := o.snapshot().MM4Peers[id]; r.StatusCode != 200 || p.Rate != 5 || p.SendPassword != "n3w" || p.Host != "mms.acme.example" || p.PasswordHash == "" {
		t.Errorf("%d %s %+v", r.StatusCode, r.body, p)
	}
	if stale := o.do("PATCH", path, `{"rate":6}`, by, header("If-Match", read.Header.Get("ETag"))); stale.StatusCode != 412 {
		t.Errorf("%d %s", stale.StatusCode, stale.body)
	}
	r = o.do("PATCH", path, `{"auth_username":"","auth_password":null,"send_username":"","send_password":null,"is_active":false}`, by)
	if p := o.snapshot().MM4Peers[id]; r.StatusCode != 200 || p.PasswordHash != "" || p.SendPassword != "" || p.Enabled || r.json(t)["auth_password_set"] != false {
		t.Errorf("%d %s %+v", r.StatusCode, r.body, p)
	}
	list := o.do("GET", mm4PeerPath+"?account_id="+o.customer.String(), "", by)
	if list.StatusCode != 200 || !strings.Contains(string(list.body), `"acme"`) {
		t.Errorf("%d %s", list.StatusCode, list.body)
	}
	if none := o.do("GET", mm4PeerPath+"?vendor_id="+message.NewID().String(), "", by); none.StatusCode != 200 || strings.Contains(string(none.body), `"acme"`) {
		t.Errorf("%d %s", none.StatusCode, none.body)
	}
	lines, err := o.db.AuditLog(o.ctx, message.AuditFilter{Target: id.String()}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	log := ""
	for _, l := range lines {
		log += fmt.Sprintf("%s %s %s\n", l.Action, l.Before, l.After)
	}
	for _, secret := range []string{"correct horse", "swordfish", "n3w", "$2a$"} {
		if strings.Contains(log, secret) || strings.Contains(string(read.body), secret) {
			t.Errorf("%s is shown", secret)
		}
	}
	for _, want := range []string{`"send_password": "changed"`, `"password": "changed"`, `mm4_peer.create`, `"rate": 5`} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log lacks %s:\n%s", want, log)
		}
	}
	if r := o.do("DELETE", mm4PeerPath+"/acme", "", by); r.StatusCode != 204 || o.snapshot().MM4Peers[id] != nil {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("GET", path, "", by), 404, message.ReasonNotFound)
}

func TestMM4PeerRefused(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	with := func(more string) string { return o.newMM4Peer("," + more) }
	at := func(addresses string) string {
		return fmt.Sprintf(`{"name":"a","account_id":"%s","addresses":[%s]}`, o.customer, addresses)
	}
	smpp := o.vendor()
	for says, body := range map[string]string{
		"body.name":           `{"name":"a b","account_id":"` + o.customer.String() + `","addresses":["192.0.2.1/32"]}`,
		"body.account_id":     `{"name":"a","addresses":["192.0.2.1/32"]}`,
		"body.addresses":      `{"name":"a","account_id":"` + o.customer.String() + `"}`,
		"bits beyond":         at(`"192.0.2.1/24"`),
		"no network":          at(`"192.0.2.1"`),
		"such wide addresses": at(`"0.0.0.0/0"`),
		"wide":                at(`"192.0.2.0/24","::/0"`),
		"body.mail_domains":   with(`"mail_domains":["a b"]`),
		"body.auth_password":  with(`"auth_username":"a"`),
		"12 to 72":            with(`"auth_username":"a","auth_password":"short"`),
		"body.auth_username":  with(`"auth_password":"long enough for it"`),
		"body.size_limit":     with(`"size_limit":1`),
		"body.tls":            with(`"host":"h.example","send_username":"a","send_password":"b"`),
		"body.send_password":  with(`"host":"h.example","tls":"required","send_username":"a"`),
		"body.send_username":  with(`"host":"h.example","tls":"required","send_password":"a"`),
		"body.host":           with(`"host":"h:25"`),
		"is required with":    with(`"mx":true`),
		"with mx a domain":    with(`"host":"192.0.2.1","mx":true`),
		"body.tls_ca":         with(`"tls_ca":"x"`),
		"body.domain":         with(`"domain":"192.0.2.1"`),
		"body.system_user":    with(`"system_user":"a@b"`),
		"body.mms_version":    with(`"mms_version":"x\r\n"`),
		"for customers' peers": `{"name":"a","vendor_id":"` + smpp.ID.String() +
			`","addresses":["192.0.2.1/32"],"host":"h.example"}`,
		"body.password": with(`"password":"x"`),
	} {
		r := o.do("POST", mm4PeerPath, body, by)
		if r.StatusCode != 422 || !strings.Contains(string(r.body), says) {
			t.Errorf("%s: %d %s", says, r.StatusCode, r.body)
		}
	}
	if n := o.count("select count(*) from mm4_peers"); n != 0 {
		t.Errorf("%d were made", n)
	}
	// Whose it is.
	r := o.do("POST", mm4PeerPath, `{"name":"a","vendor_id":"`+smpp.ID.String()+`","addresses":["192.0.2.1/32"]}`, by)
	if r.StatusCode != 409 || !strings.Contains(string(r.body), "kind smpp") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, owner := range []string{"vendor_id", "account_id"} {
		wantProblem(t, o.do("POST", mm4PeerPath, `{"name":"a","`+owner+`":"`+message.NewID().String()+`","addresses":["192.0.2.1/32"]}`, by), 404, message.ReasonNotFound)
	}
}

// Two that could not be told apart are not in use at the same time.
func TestMM4PeersApart(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	post := func(name, more string) *reply {
		t.Helper()
		return o.do("POST", mm4PeerPath, fmt.Sprintf(`{"name":"%s","account_id":"%s"%s}`, name, o.customer, more), by)
	}
	must := func(r *reply, status int, says string) {
		t.Helper()
		if r.StatusCode != status || !strings.Contains(string(r.body), says) {
			t.Errorf("%d %s, want %d and %q", r.StatusCode, r.body, status, says)
		}
	}
	must(post("first", `,"addresses":["192.0.2.0/24"],"mail_domains":["a.example","b.example"]`), 201, "")
	must(post("same", `,"addresses":["192.0.2.7/32"],"mail_domains":["B.example"]`), 409, "first")
	must(post("any", `,"addresses":["192.0.2.7/32"]`), 201, "") // any domain that is no other peer's
	must(post("two", `,"addresses":["192.0.0.0/16"]`), 409, "any")
	must(post("auth", `,"addresses":["0.0.0.0/0"],"auth_username":"u","auth_password":"long enough for it","mail_domains":["c.example"]`), 201, "")
	must(post("auth2", `,"addresses":["0.0.0.0/0"],"auth_username":"u","auth_password":"long enough for it"`), 409, "username")
	must(post("auth3", `,"addresses":["0.0.0.0/0"],"auth_username":"v","auth_password":"long enough for it","mail_domains":["c.example"]`), 201, "")
	must(post("off", `,"addresses":["192.0.2.0/24"],"mail_domains":["a.example"],"is_active":false`), 201, "")
	must(o.do("PATCH", mm4PeerPath+"/off", `{"is_active":true}`, by), 409, "first")
	must(o.do("PATCH", mm4PeerPath+"/first", `{"is_active":false}`, by), 200, "")
	must(o.do("PATCH", mm4PeerPath+"/off", `{"is_active":true}`, by), 200, "")
}
