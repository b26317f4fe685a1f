package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

// command runs the program with the words.
func command(t *testing.T, words ...string) (out, complaints string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := root()
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(words)
	err = cmd.ExecuteContext(stacktest.Context(t))
	return stdout.String(), stderr.String(), err
}

// Nothing is asked of the database, which is not there, before all flags are right.
func TestAdminFlags(t *testing.T) {
	t.Setenv("POSTRIDER_KEYS", "")
	t.Setenv("POSTRIDER_KEY_FILE", "")
	id := message.NewID().String()
	create := []string{"smpp-credential", "create", "acme", "--account", id}
	set := []string{"account", "set", id}
	for _, c := range []struct {
		before []string
		flags  string // between spaces
		says   []string
	}{
		{create[:2], "--account " + id, []string{"arg"}},
		{create[:3], "", []string{"[account vendor]"}},
		{create[:3], "--account acme", []string{"--account"}},
		{create[:2], "sixteen-letters- --account " + id, []string{"SYSTEM_ID", "15"}},
		{create[:2], "ac\x00me --account " + id, []string{"SYSTEM_ID"}},
		{[]string{"endpoint", "add", "https://shop.example/hooks", "--account", id}, "--types campaign.cap_reached,message.send", []string{"--types", "message.send", "campaign.cap_warning"}},
		{create, "--long-mo pigeon", []string{"--long-mo", "payload"}},
		{create, "--alphabet ebcdic", []string{"--alphabet", "latin1"}},
		{create, "--max-binds 0", []string{"--max-binds", "1 to 1000"}},
		{create, "--max-binds 1001", []string{"--max-binds"}},
		{create, "--throughput -1", []string{"--throughput", "100000"}},
		{create, "--window 1001", []string{"--window"}},
		{create, "--mo-lifetime 59s", []string{"--mo-lifetime", "1m0s"}},
		{create, "--mo-lifetime 721h", []string{"--mo-lifetime", "720h"}},
		{create, "--mo-lifetime 61500ms", []string{"--mo-lifetime", "whole"}},
		{create, "--allowed-ips 198.51.100.7", []string{"--allowed-ips", "CIDR"}},
		{create, "--allowed-ips 198.51.100.7/24", []string{"--allowed-ips", "198.51.100.0/24"}},
		{create, "--allowed-ips ::ffff:198.51.100.0/120", []string{"--allowed-ips", "IPv4"}},
		{create, "--bind-types outbind", []string{"--bind-types", "receiver"}},
		{create, "--bind-types=", []string{"--bind-types"}},
		{create, "--password=", []string{"--password", "8"}},
		{create, "--password seven77", []string{"--password", "8"}},
		{create, "--password " + strings.Repeat("a", 65), []string{"--password", "64"}},
		{create, "--password pässwörd", []string{"--password", "ASCII"}},
		{create, "--long-mo pigeon --window 0 --password seven77", []string{"--long-mo", "--window", "--password"}},
		{[]string{"smpp-credential", "regenerate", "acme"}, "--password seven77", []string{"--password"}},
		{[]string{"smpp-credential", "list"}, "--account acme", []string{"--account"}},
		{set, "", []string{"nothing to set"}},
		{set[:2], "acme --max-backlog 5", []string{"id"}},
		{set, "--ordered maybe", []string{"--ordered", "edge"}},
		{set, "--conversation-hold 0s", []string{"--conversation-hold"}},
		{set, "--conversation-hold 61m", []string{"--conversation-hold", "1h"}},
		{set, "--conversation-hold 1500ms", []string{"--conversation-hold", "whole"}},
		{set, "--max-backlog 0", []string{"--max-backlog"}},
		{set, "--max-backlog 100000001", []string{"--max-backlog"}},
		{set, "--smpp-max-held 10000001", []string{"--smpp-max-held"}},
		{set, "--smpp-encoding-mismatch 0B", []string{"--smpp-encoding-mismatch", "45 or 104"}},
		{set, "--smpp-opted-out 0B,45", []string{"--smpp-opted-out", "0B or 45"}},
		{[]string{"account", "create", "--name", "Acme"}, "--max-backlog 0 --smpp-max-held 0", []string{"--max-backlog", "--smpp-max-held"}},
		{set, "--resend-after 61m", []string{"--resend-after", "1h"}},
		{[]string{"account", "create", "--name", "Acme"}, "--resend-after 1500ms", []string{"--resend-after", "whole"}},
		{[]string{"account", "rate", id}, "", []string{`"rate"`}},
		{[]string{"account", "rate", id}, "--rate 0", []string{"--rate", "1 to 100000"}},
		{[]string{"account", "rate", id}, "--rate 10 --burst 91", []string{"--burst", "0 to 90"}},
		{[]string{"account", "rate", "acme"}, "--rate 10", []string{"id"}},
		{[]string{"credential", "rate", id}, "--rate 0 --burst 1", []string{"--burst"}},
		{[]string{"number", "rate", "ACME"}, "--rate 1", []string{"number"}},
		{[]string{"number", "rate", "+12025550143"}, "--rate 100001", []string{"--rate"}},
		{[]string{"account", "refusals", id}, "--since 0s", []string{"--since"}},
		// All right: what is missing is the keyring.
		{create, "--long-mo sar --password eight888 --bind-types receiver,transmitter", []string{"POSTRIDER_KEYS"}},
		{set, "--ordered no", []string{"POSTRIDER_KEYS"}},
	} {
		words := append(append([]string{"admin"}, c.before...), strings.Fields(c.flags)...)
		out, _, err := command(t, words...)
		if err == nil || out != "" {
			t.Errorf("%q: %v, %q", words, err, out)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%q says %v, want something of %s", words, err, says)
			}
		}
		if strings.Contains(err.Error(), "seven77") {
			t.Errorf("%q says the password: %v", words, err)
		}
	}
}

// shell runs commands on a database of the test's own.
type shell struct {
	*testing.T
	conn *pgx.Conn
}

func startShell(t *testing.T) *shell {
	t.Helper()
	ctx := stacktest.Context(t)
	conn, err := pgx.Connect(ctx, stacktest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	c := conn.Config()
	for name, value := range map[string]string{"POSTGRES_HOST": c.Host, "POSTGRES_PORT": strconv.Itoa(int(c.Port)), "POSTGRES_USER": c.User, "POSTGRES_PASSWORD": c.Password,
		"POSTGRES_DB": c.Database, "POSTGRES_SSLMODE": "disable", "POSTRIDER_KEYS": secret.NewKey("k1").Reveal(), "POSTRIDER_KEY_FILE": ""} {
		t.Setenv(name, value)
	}
	s := &shell{t, conn}
	if _, _, err := command(t, "migrate"); err != nil {
		t.Fatal(err)
	}
	return s
}

// admin runs a command and reads what it prints, if it prints.
func (s *shell) admin(into any, words ...string) (complaints string) {
	s.Helper()
	out, complaints, err := command(s.T, append([]string{"admin"}, words...)...)
	if err == nil && into != nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		s.Fatalf("%q: %v", words, err)
	}
	return complaints
}

// row is the first column of the only row.
func (s *shell) row(sql string, args ...any) string {
	s.Helper()
	var v string
	if err := s.conn.QueryRow(stacktest.Context(s.T), sql, args...).Scan(&v); err != nil {
		s.Fatal(err)
	}
	return v
}

// fits wants the password to be that of the system_id.
func (s *shell) fits(systemID, password string) {
	s.Helper()
	hash := s.row("select password_hash from smpp_credentials where system_id = $1", systemID)
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil {
		s.Errorf("password of %s: %v", systemID, err)
	}
}

type smppCreated struct {
	ID       string `json:"id"`
	SystemID string `json:"system_id"`
	Password string `json:"password"`
}

func TestAdminSMPPCredential(t *testing.T) {
	s := startShell(t)
	var account, made, own, again smppCreated
	s.admin(&account, "account", "create", "--name", "Acme")
	if said := s.admin(&made, "smpp-credential", "create", "acme", "--account", account.ID); said != "" || len(made.Password) != 8 || made.SystemID != "acme" {
		t.Errorf("%+v, it says %q", made, said)
	}
	s.fits("acme", made.Password)
	// The utmost of each setting is what the database takes.
	for i, end := range []string{"--max-binds 1 --throughput 1 --window 1 --mo-lifetime 1m --long-mo sar --alphabet ascii --bind-types receiver --allowed-ips 2001:db8::/32",
		"--max-binds 1000 --throughput 100000 --window 1000 --mo-lifetime 720h --long-mo payload --alphabet latin1 --bind-types transmitter,transceiver"} {
		words := []string{"smpp-credential", "create", fmt.Sprintf("fifteen-letters%d", i)[1:], "--account", account.ID, "--password", "<& long >"}
		if said := s.admin(&own, append(words, strings.Fields(end)...)...); !strings.Contains(said, "8 characters") || own.Password != "<& long >" {
			t.Errorf("%+v, it says %q", own, said)
		}
		s.fits(own.SystemID, "<& long >")
	}
	rows := s.row("select count(*)::text from smpp_credentials")
	if _, _, err := command(t, "admin", "smpp-credential", "create", "acme", "--account", account.ID); err == nil || !strings.Contains(err.Error(), "system_id acme is taken") {
		t.Errorf("a system_id that somebody has: %v", err)
	}
	if _, _, err := command(t, "admin", "smpp-credential", "create", "b", "--account", message.NewID().String()); err == nil || !strings.Contains(err.Error(), "--account") {
		t.Errorf("an account that nobody has: %v", err)
	}
	if n := s.row("select count(*)::text from smpp_credentials"); n != rows {
		t.Errorf("%s rows, there were %s", n, rows)
	}

	s.admin(nil, "smpp-credential", "disable", "acme")
	if on := s.row("select enabled::text from smpp_credentials where system_id = 'acme'"); on != "false" {
		t.Error("it is not disabled")
	}
	s.admin(nil, "smpp-credential", "enable", "acme")
	s.admin(&again, "smpp-credential", "regenerate", "acme")
	if again.ID != made.ID || again.Password == made.Password {
		t.Error("regenerate made no new password")
	}
	s.fits("acme", again.Password)
	for _, word := range []string{"disable", "enable", "regenerate"} {
		if _, _, err := command(t, "admin", "smpp-credential", word, "nobody"); err == nil || !strings.Contains(err.Error(), "no system_id nobody") {
			t.Errorf("%s what is not there: %v", word, err)
		}
	}
	if n := s.row("select count(*)::text from audit_log where action like 'smpp_credential.%' and role = 'shell'"); n != "6" {
		t.Errorf("%s lines of the audit log, want 6", n)
	}

	var list []map[string]any
	s.admin(&list, "smpp-credential", "list", "--account", account.ID)
	if len(list) != 3 || list[0]["system_id"] != "acme" || list[0]["enabled"] != true || list[0]["live_binds"] != 0.0 || list[0]["account_id"] != account.ID ||
		fmt.Sprint(list[0]["bind_types"]) != "[receiver transmitter transceiver]" || fmt.Sprint(list[2]["bind_types"]) != "[transmitter transceiver]" {
		t.Errorf("listed: %v", list)
	}
	if out := fmt.Sprint(list); strings.Contains(out, "$2") || strings.Contains(out, "password") || strings.Contains(out, "hash") {
		t.Errorf("the list tells too much: %s", out)
	}
	s.admin(&list, "smpp-credential", "list", "--account", message.NewID().String())
	if len(list) != 0 {
		t.Errorf("a stranger's: %v", list)
	}
}

func TestAdminAccountSettings(t *testing.T) {
	s := startShell(t)
	const settings = `select concat_ws(' ', coalesce(ordered_conversations::text, 'edge'), conversation_hold_seconds, max_backlog, smpp_max_held,
		smpp_encoding_mismatch_status, smpp_opted_out_status, api_rate_limit, internal_delivery, resend_after_seconds) from accounts where id = $1`
	var plain, full struct{ ID string }
	s.admin(&plain, "account", "create", "--name", "Plain")
	s.admin(&full, "account", "create", "--name", "Full", "--ordered=yes", "--conversation-hold", "1h", "--max-backlog", "100000000", "--smpp-max-held", "10000000",
		"--smpp-encoding-mismatch", "104", "--smpp-opted-out", "45", "--internal-delivery", "--resend-after", "90s")
	is := func(id, want string) {
		t.Helper()
		if got := s.row(settings, id); got != want {
			t.Errorf("settings %s, want %s", got, want)
		}
	}
	is(plain.ID, "edge 10 100000 100000 69 11 10 f 0")
	is(full.ID, "true 3600 100000000 10000000 260 69 10 t 90")
	s.admin(nil, "account", "set", full.ID, "--ordered=edge", "--max-backlog", "1")
	is(full.ID, "edge 3600 1 10000000 260 69 10 t 90")
	s.admin(nil, "account", "set", plain.ID, "--ordered=no", "--conversation-hold", "1s", "--smpp-max-held", "1", "--smpp-encoding-mismatch", "104", "--smpp-opted-out", "45",
		"--internal-delivery", "--resend-after", "1h")
	is(plain.ID, "false 1 100000 1 260 69 10 t 3600")
	s.admin(nil, "account", "set", full.ID, "--internal-delivery=false", "--resend-after", "0s")
	is(full.ID, "edge 3600 1 10000000 260 69 10 f 0")
	if n := s.row("select count(*)::text from audit_log where action = 'account.update' and role = 'shell'"); n != "3" {
		t.Errorf("%s lines of the audit log, want 2", n)
	}
	if _, _, err := command(t, "admin", "account", "set", message.NewID().String(), "--max-backlog", "1"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("an account that does not exist: %v", err)
	}
}
