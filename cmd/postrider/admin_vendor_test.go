package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// Nothing is asked of the database, which is not there, before all flags are right.
func TestAdminVendorFlags(t *testing.T) {
	t.Setenv("POSTRIDER_KEYS", "")
	t.Setenv("POSTRIDER_KEY_FILE", "")
	vendor := []string{"vendor", "add", "acme", "--host", "h.example", "--port", "2775", "--system-id", "us"}
	route := []string{"route", "add", "--vendor", "acme"}
	for _, c := range []struct {
		words []string
		says  string
	}{
		{vendor[:2], "arg"},
		{vendor[:3], "--system-id: is required"},
		{[]string{"vendor", "add", "a b", "--host", "h", "--port", "1", "--system-id", "u"}, "--instance-name"},
		{append(vendor, "--provider-type", "fax"), "--provider-type"},
		// By the API's names of the settings, all is right: what is missing is the keyring.
		{append(vendor[:7:7], "--username", "us", "--use-tls", "--supports-mms=false"), "POSTRIDER_KEYS"},
		{[]string{"route", "add", "--vendor-id", "acme", "--dest-pattern", "^1", "--rate-per-msg", "0.01", "--is-active=false"}, "POSTRIDER_KEYS"},
		{append(vendor, "--port", "0"), "--port"},
		{append(vendor, "--window", "0"), "--window"},
		{append(vendor, "--window", "ten"), "--window"},
		{append(vendor, "--tls=maybe"), "--tls"},
		{append(vendor, "--pass-tlvs", "1403,2A01"), "--pass-tlvs: 2A01 may not"},
		{append(vendor, "--code-map", "45"), "--code-map"},
		{append(vendor, "--code-map", "45=nonsense"), "--code-map"},
		{append(vendor, "--tls-ca", filepath.Join(t.TempDir(), "none")), "--tls-ca"},
		{append(vendor, "--profile", "tall"), "--profile"},
		{append(vendor, "--secrets", filepath.Join(t.TempDir(), "none")), "--secrets"},
		{[]string{"vendor", "set", "acme"}, "nothing to set"},
		{[]string{"vendor", "throughput", "acme", "-1"}, "unknown shorthand"},
		{[]string{"vendor", "throughput", "acme", "many"}, "PARTS"},
		{[]string{"route", "add"}, "[vendor vendor-id]"},
		{append(route, "--dest", "("), "--dest"},
		{append(route, "--rate", "1e3"), "--rate"},
		{append(route, "--days", "someday"), "--days"},
		{append(route, "--account", "acme"), "--account"},
		{[]string{"route", "set", "x", "--weight", "3"}, "ROUTE"},
		{[]string{"route", "set", "3"}, "nothing to set"},
		{[]string{"route", "remove", "0"}, "ROUTE"},
		{[]string{"route", "test", "x"}, "body.to"},
		{[]string{"route", "test", "+13105550117", "--class", "loud"}, "message_class"},
		{[]string{"route", "what-if", filepath.Join(t.TempDir(), "none")}, "none"},
	} {
		if _, _, err := command(t, append([]string{"admin"}, c.words...)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.words, err, c.says)
		}
	}
	// A secret that cannot be read is not shown.
	if out, err := typed(t, `{"password":"topsecret","x":1}`, append(vendor, "--secrets", "-")...); err == nil || strings.Contains(err.Error()+out, "topsecret") {
		t.Errorf("%v %s", err, out)
	}
}

func TestAdminVendor(t *testing.T) {
	s := startShell(t)
	var made struct {
		ID   message.ID
		Name string `json:"instance_name"`
	}
	out, err := typed(t, `{"password":"topsecret","signing_keys":["k2","k1"]}`, "vendor", "add", "acme", "--host", "smsc.example", "--port", "2776", "--system-id", "us", "--tls", "--alphanumeric",
		"--throughput", "50", "--pass-tlvs", "1403,0x020A", "--code-map", "45=unknown_subscriber,58=vendor_throttled", "--source-ton", "5", "--secrets", "-")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Name != "acme" {
		t.Fatal(err, out)
	}
	var shown map[string]any
	s.admin(&shown, "vendor", "show", "acme")
	if shown["id"] != made.ID.String() || shown["use_tls"] != true || shown["supports_alphanumeric"] != true || shown["throughput"] != 50.0 || shown["source_ton"] != 5.0 ||
		shown["password_set"] != true || shown["signing_keys_set"] != 2.0 || len(shown["code_map"].(map[string]any)) != 2 || len(shown["pass_tlvs"].([]any)) != 2 {
		t.Errorf("%v", shown)
	}
	for _, value := range shown {
		if text, ok := value.(string); ok && strings.Contains(text, "topsecret") {
			t.Error("the password is shown")
		}
	}
	if _, err := typed(t, "", "vendor", "add", "acme", "--host", "h", "--port", "1", "--system-id", "u"); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("a name twice: %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := typed(t, "", "vendor", "set", "acme", "--tls-ca", ca); err == nil || !strings.Contains(err.Error(), "--tls-ca") {
		t.Errorf("%v", err)
	}
	s.admin(nil, "vendor", "set", "acme", "--source-ton", "", "--display-name", "Acme", "--tls=false")
	s.admin(nil, "vendor", "throughput", made.ID.String(), "75")
	for _, word := range []string{"restart", "pause", "drain"} {
		s.admin(nil, "vendor", word, "acme")
	}
	const row = "select concat_ws(' ', display_name, use_tls, coalesce(source_ton::text, 'null'), throughput, restarts, paused, draining, host) from vendors where instance_name = 'acme'"
	if got := s.row(row); got != "Acme f null 75 1 t t smsc.example" {
		t.Errorf("the vendor is %s", got)
	}
	s.admin(nil, "vendor", "resume", "acme")
	if got := s.row(row); got != "Acme f null 75 1 f f smsc.example" {
		t.Errorf("the vendor is %s", got)
	}
	for _, words := range [][]string{{"vendor", "list"}, {"vendor", "status"}, {"vendor", "status", "acme"}} {
		out, _, err := command(t, append([]string{"admin"}, words...)...)
		if err != nil || !strings.Contains(out, "acme") || !strings.Contains(out, "HEALTH") || strings.Contains(out, "internal") == (len(words) == 3) {
			t.Errorf("%q: %v\n%s", words, err, out)
		}
	}
	if _, err := typed(t, "", "vendor", "show", "nobody"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("%v", err)
	}
	s.profiles(t)
	s.routes(t, made.ID)
	if _, err := typed(t, "", "vendor", "remove", "acme"); err == nil || !strings.Contains(err.Error(), "drain") {
		t.Errorf("removed with a route: %v", err)
	}
	if _, err := typed(t, "", "vendor", "remove", "acme", "--drain", "--wait", "1ms"); err == nil || !strings.Contains(err.Error(), "not gone yet") {
		t.Errorf("removed before every process knows: %v", err)
	}
	if _, err := s.conn.Exec(stacktest.Context(t), "alter table vendors disable trigger vendors_version; update vendors set draining_since = now() - interval '1 minute'"); err != nil {
		t.Fatal(err)
	}
	s.admin(nil, "vendor", "remove", "acme", "--drain")
	if n := s.row("select (select count(*) from vendors) || ' ' || (select count(*) from routing_rules)"); n != "1 0" {
		t.Errorf("vendors and routes left: %s", n)
	}
	if n := s.row("select count(*)::text from audit_log where action like 'vendor.%' and role = 'shell'"); n != strconv.Itoa(9+2*len(vendorProfiles())) {
		t.Errorf("%s lines of the audit log", n)
	}
}

// profiles adds a vendor of each profile that is shipped: each is one that can be added.
func (s *shell) profiles(t *testing.T) {
	for name := range vendorProfiles() {
		s.admin(nil, "vendor", "add", "p-"+name, "--profile", name, "--host", "smsc.example", "--system-id", "us", "--window", "7")
		var shown map[string]any
		s.admin(&shown, "vendor", "show", "p-"+name)
		if shown["window"] != 7.0 || strings.HasPrefix(name, "sinch") && (shown["port"] != 3601.0 || shown["use_tls"] != true) {
			t.Errorf("%s: %v", name, shown)
		}
		s.admin(nil, "vendor", "remove", "p-"+name)
	}
}

// routes tries the commands of routes with a vendor that is there.
func (s *shell) routes(t *testing.T, vendor message.ID) {
	var made struct{ ID int64 }
	s.admin(&made, "route", "add", "--vendor", "acme", "--dest", "^1", "--rate", "0.0045", "--days", "mon-fri", "--from-time", "08:00", "--until-time", "20:00", "--message-class", "otp")
	id := s.row("select id::text from routing_rules")
	if _, err := typed(t, "", "route", "add", "--vendor", "nobody"); err == nil || !strings.Contains(err.Error(), "--vendor") {
		t.Errorf("%v", err)
	}
	if _, err := typed(t, "", "route", "add", "--vendor", vendor.String(), "--account", message.NewID().String()); err == nil || !strings.Contains(err.Error(), "--account") {
		t.Errorf("%v", err)
	}
	s.admin(nil, "route", "set", id, "--message-class", "", "--days", "mon-sun", "--from-time", "00:00", "--until-time", "00:00", "--vendor", vendor.String(), "--name", "us")
	const row = "select concat_ws(' ', name, dest_pattern, coalesce(message_class, 'all'), days, from_minute, until_minute, rate_per_msg, is_active, version) from routing_rules"
	if got := s.row(row); got != "us ^1 all 127 0 0 0.004500 t 2" {
		t.Errorf("the route is %s", got)
	}
	out, _, err := command(t, "admin", "route", "list", "--vendor", "acme")
	if err != nil || !strings.Contains(out, "always") || !strings.Contains(out, "acme") {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, err = command(t, "admin", "route", "test", "+13105550117", "--from", "+12025550143", "--body", "hi")
	if err != nil || !strings.Contains(out, "acme") || !strings.Contains(out, "\n1 ") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = typed(t, `{"remove":[`+id+`]}`, "route", "what-if", "-")
	if err != nil || !strings.Contains(out, "0 messages") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := typed(t, `{"remove":[12345]}`, "route", "what-if", "-"); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("%v", err)
	}
	s.admin(nil, "route", "set", id, "--active=false")
	if got := s.row(row); got != "us ^1 all 127 0 0 0.004500 f 3" {
		t.Errorf("the route is %s", got)
	}
	s.admin(&made, "route", "add", "--vendor", "acme")
	s.admin(nil, "route", "remove", id)
}

// The demo has somebody who may do everything in the internal API, also when what an
// older release made is there already; the password is that of demo.env.
func TestDemoAdmin(t *testing.T) {
	s := startShell(t)
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	d := &dev{flags: devFlags{dir: t.TempDir()}, config: c, smsc: smscPorts{SMPP: "127.0.0.1:2875"}, hooks: &hookSink{changed: make(chan struct{})}}
	d.dir = d.flags.dir
	ctx := stacktest.Context(t)
	fits := func() {
		t.Helper()
		hash := s.row("select password_hash from staff where email = $1 and role = 'admin' and active", d.demo.AdminEmail)
		if !(secret.Passwords{}).PasswordFits(hash, d.demo.AdminPassword) {
			t.Error("the password does not fit")
		}
		if got := s.row("select count(*) from staff where email like '%' || $1", d.demo.PeopleSuffix) + s.row("select count(*) from portal_users where email like '%' || $1 and password_hash is not null", d.demo.PeopleSuffix); got != "52" {
			t.Errorf("staff and users are %s", got)
		}
	}
	if err := d.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	fits()
	was := d.demo
	for _, older := range []bool{false, true} {
		if older {
			b, err := os.ReadFile(filepath.Join(d.dir, "demo.json"))
			if err != nil {
				t.Fatal(err)
			}
			b = []byte(strings.NewReplacer(was.AdminEmail, "", was.AdminPassword, "", was.PeopleSuffix, "").Replace(string(b)))
			if err := os.WriteFile(filepath.Join(d.dir, "demo.json"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d.demo = demoState{}
		if err := d.prepare(ctx); err != nil {
			t.Fatal(err)
		}
		if d.demo.AccountID != was.AccountID || (d.demo.AdminEmail == was.AdminEmail) == older {
			t.Errorf("%+v after %+v", d.demo, was)
		}
		fits()
	}
	if err := d.writeEnv(); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(d.dir, "demo.env"))
	if err != nil || !strings.Contains(string(env), "POSTRIDER_ADMIN_EMAIL='"+d.demo.AdminEmail+"'\n") || !strings.Contains(string(env), "POSTRIDER_ADMIN_PASSWORD='"+d.demo.AdminPassword+"'\n") {
		t.Errorf("%v\n%s", err, env)
	}
}
