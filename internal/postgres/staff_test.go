package postgres

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// hire adds a member of staff.
func (b *bundle) hire(email string, role snapshot.Role) snapshot.StaffMember {
	b.tb.Helper()
	m, err := b.CreateStaff(b.ctx, actor, snapshot.Staff{ID: message.NewID(), Email: email, Name: "A", Role: role, PasswordHash: "$2a$04$hash", Active: true})
	if err != nil {
		b.tb.Fatal(err)
	}
	return m
}

func (b *bundle) config() *snapshot.Snapshot {
	b.tb.Helper()
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	return s
}

func TestStaff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, bob := b.hire("ada@gw.example", snapshot.RoleAdmin), b.hire("bob@gw.example", snapshot.RoleViewer)
	if _, err := b.CreateStaff(b.ctx, actor, snapshot.Staff{ID: message.NewID(), Email: "bob@gw.example", Role: snapshot.RoleViewer}); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("an address twice: %v", err)
	}
	s := b.config()
	was := s.Staff["bob@gw.example"]
	if was == nil || s.StaffByID(bob.ID) != was || was.PasswordHash != "$2a$04$hash" || was.Role != snapshot.RoleViewer || !was.Active || was.PasswordID == (message.ID{}) {
		t.Fatalf("%+v", was)
	}
	if bob.Email != "bob@gw.example" || bob.PasswordHash != "" || bob.CreatedAt.IsZero() || !bob.LastLoginAt.IsZero() {
		t.Errorf("%+v", bob)
	}

	// A login is noted, and is no change of the configuration.
	for range 2 {
		if err := b.StaffTried(b.ctx, actor, bob.ID, false); err != nil {
			t.Fatal(err)
		}
	}
	m, err := b.StaffMember(b.ctx, bob.ID)
	if err != nil || m.FailedTries != 2 || m.LastFailedAt.IsZero() {
		t.Errorf("%+v, %v", m, err)
	}
	if err := b.StaffTried(b.ctx, actor, bob.ID, true); err != nil {
		t.Fatal(err)
	}
	if m, err = b.StaffMember(b.ctx, bob.ID); err != nil || m.FailedTries != 0 || m.LastLoginAt.IsZero() {
		t.Errorf("%+v, %v", m, err)
	}
	if v := b.version(); v != s.Version {
		t.Errorf("version %d after logins, was %d", v, s.Version)
	}
	if n := b.count("select count(*) from audit_log where target = $1 and action in ('staff.login', 'staff.login_failed')", bob.ID.String()); n != 3 {
		t.Errorf("%d lines about logins", n)
	}

	// Role, name and password change by themselves; a password ends what the one
	// before has opened.
	m, err = b.ChangeStaff(b.ctx, actor, bob.ID, snapshot.StaffChange{Role: new(snapshot.RoleSupport)})
	if err != nil || m.Role != snapshot.RoleSupport || m.Name != "A" || b.config().Staff["bob@gw.example"].PasswordID != was.PasswordID {
		t.Errorf("%+v, %v", m, err)
	}
	if n := b.count(`select count(*) from audit_log where target = $1 and action = 'staff.update' and before = '{"role": "viewer"}' and after = '{"role": "support"}'`, bob.ID.String()); n != 1 {
		t.Errorf("%d lines about the role", n)
	}
	if _, err = b.ChangeStaff(b.ctx, actor, bob.ID, snapshot.StaffChange{PasswordHash: "$2a$04$other"}); err != nil {
		t.Fatal(err)
	}
	if is := b.config().Staff["bob@gw.example"]; is.PasswordHash != "$2a$04$other" || is.PasswordID == was.PasswordID {
		t.Errorf("%+v", is)
	}
	if n := b.count("select count(*) from audit_log t where t::text like '%$2a$%'"); n != 0 {
		t.Error("the audit log holds a hash")
	}

	// Somebody stays admin.
	for _, c := range []snapshot.StaffChange{{Active: new(false)}, {Role: new(snapshot.RoleViewer)}} {
		if _, err := b.ChangeStaff(b.ctx, actor, ada.ID, c); message.ReasonOf(err) != message.ReasonConflict {
			t.Errorf("the last admin goes: %v", err)
		}
	}
	if _, err = b.ChangeStaff(b.ctx, actor, ada.ID, snapshot.StaffChange{Name: new("Ada"), Role: new(snapshot.RoleAdmin), Active: new(true)}); err != nil {
		t.Error(err)
	}
	if _, err := b.ChangeStaff(b.ctx, actor, message.NewID(), snapshot.StaffChange{Active: new(false)}); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("somebody who is not there: %v", err)
	}
	list, err := b.StaffList(b.ctx, message.ID{}, 1)
	if err != nil || len(list) != 1 || list[0].ID != bob.ID {
		t.Fatalf("%+v, %v", list, err)
	}
	if list, err = b.StaffList(b.ctx, bob.ID, 5); err != nil || len(list) != 1 || list[0].Name != "Ada" {
		t.Errorf("%+v, %v", list, err)
	}
	if id, err := b.StaffID(b.ctx, "ada@gw.example"); err != nil || id != ada.ID {
		t.Errorf("%s, %v", id, err)
	}
	if _, err := b.StaffID(b.ctx, "eve@gw.example"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Error(err)
	}
	if broken, err := b.VerifyAudit(b.ctx); err != nil || broken != 0 {
		t.Errorf("line %d does not follow, %v", broken, err)
	}
}

// Two admins who remove each other at the same time: one of them stays.
func TestLastAdminConcurrent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	for i := range 5 {
		one, two := b.hire(fmt.Sprintf("one%d@gw.example", i), snapshot.RoleAdmin), b.hire(fmt.Sprintf("two%d@gw.example", i), snapshot.RoleAdmin)
		b.exec("update staff set active = id in ($1, $2)", one.ID, two.ID)
		var wg sync.WaitGroup
		for db, id := range map[*DB]message.ID{b.DB: one.ID, other: two.ID} {
			wg.Go(func() {
				if _, err := db.ChangeStaff(b.ctx, actor, id, snapshot.StaffChange{Active: new(false)}); err != nil && message.ReasonOf(err) != message.ReasonConflict {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := b.count("select count(*) from staff where role = 'admin' and active"); n != 1 {
			t.Fatalf("%d admins are left", n)
		}
	}
}

func TestServiceCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := snapshot.ServiceCredential{ID: message.NewID(), Name: "billing", Key: "pk_1", SecretHash: []byte("hash"), Scopes: []string{snapshot.ScopeServiceMessages}, Active: true}
	made, err := b.CreateServiceCredential(b.ctx, actor, c)
	if err != nil || made.Name != "billing" || made.SecretHash != nil || made.CreatedAt.IsZero() {
		t.Fatalf("%+v, %v", made, err)
	}
	s := b.config()
	if got := s.ServiceCredentials["pk_1"]; got == nil || fmt.Sprint(*got) != fmt.Sprint(c) || s.ServiceCredentialByID(c.ID) != got || !got.InForce(time.Now()) {
		t.Errorf("%+v", got)
	}
	if err := b.ServiceCredentialUsed(b.ctx, c.ID); err != nil {
		t.Fatal(err)
	}
	if v := b.version(); v != s.Version {
		t.Error("a use is a change of the configuration")
	}
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	made, err = b.ChangeServiceCredential(b.ctx, actor, c.ID, snapshot.ServiceChange{ExpiresAt: &at})
	if err != nil || !made.ExpiresAt.Equal(at) || !made.Active || made.LastUsedAt.IsZero() {
		t.Errorf("%+v, %v", made, err)
	}
	if got := b.config().ServiceCredentials["pk_1"]; !got.InForce(at.Add(-time.Second)) || got.InForce(at) {
		t.Errorf("%+v", got)
	}
	made, err = b.ChangeServiceCredential(b.ctx, actor, c.ID, snapshot.ServiceChange{Active: new(false), ExpiresAt: &time.Time{}, Name: new("x")})
	if err != nil || !made.ExpiresAt.IsZero() || made.Active || made.Name != "x" {
		t.Errorf("%+v, %v", made, err)
	}
	if b.config().ServiceCredentials["pk_1"].InForce(time.Now()) {
		t.Error("it is in force")
	}
	if _, err := b.ChangeServiceCredential(b.ctx, actor, message.NewID(), snapshot.ServiceChange{Active: new(false)}); message.ReasonOf(err) != message.ReasonNotFound {
		t.Error(err)
	}
	if list, err := b.ServiceCredentials(b.ctx, message.ID{}, 5); err != nil || len(list) != 1 || list[0].ID != c.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if n := b.count("select count(*) from audit_log where target = $1", c.ID.String()); n != 3 {
		t.Errorf("%d lines of the audit log", n)
	}
}

func TestCustomers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	second := message.NewID()
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: second, CompanyName: "Second", WebhookSecret: "x"}); err != nil {
		t.Fatal(err)
	}
	all, err := b.Customers(b.ctx, snapshot.CustomerFilter{}, message.ID{}, 10)
	if err != nil || len(all) != 2 || all[0].ID != second || all[1].ID != b.owner {
		t.Fatalf("%+v, %v", all, err)
	}
	if c := all[1]; !c.APIKeys || !c.ESMEs || c.ExternalID != "acme-1" || c.CompanyName != "Acme" || c.APIRateLimit != 25 || c.WebhookSecret != "" || c.CreatedAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if c := all[0]; c.APIKeys || c.ESMEs {
		t.Errorf("%+v", c)
	}
	c, err := b.SuspendCustomer(b.ctx, actor, second, true, "not paid")
	if err != nil || c.Status != snapshot.AccountSuspended {
		t.Errorf("%+v, %v", c, err)
	}
	if n := b.count(`select count(*) from audit_log where target = $1 and action = 'account.status' and before = '{"status": "active"}' and after = '{"status": "suspended", "reason": "not paid"}'`, second.String()); n != 1 {
		t.Error("the audit log does not say why")
	}
	for f, want := range map[snapshot.CustomerFilter]string{
		{Status: snapshot.AccountSuspended}: second.String(), {Status: snapshot.AccountActive}: b.owner.String(), {ExternalID: "acme-1"}: b.owner.String(), {ExternalID: "acme"}: "", {Name: "ACM"}: b.owner.String(), {Name: "econ"}: second.String(), {Name: "%"}: "",
	} {
		got, err := b.Customers(b.ctx, f, message.ID{}, 10)
		if err != nil || len(got) > 1 || (len(got) == 1) != (want != "") || len(got) == 1 && got[0].ID.String() != want {
			t.Errorf("%+v: %+v, %v", f, got, err)
		}
	}
	if c, err = b.SuspendCustomer(b.ctx, actor, second, false, ""); err != nil || c.Status != snapshot.AccountActive {
		t.Errorf("%+v, %v", c, err)
	}
	if err := b.SetAccountStatus(b.ctx, actor, second, snapshot.AccountClosed); err != nil {
		t.Fatal(err)
	}
	if _, err := b.SuspendCustomer(b.ctx, actor, second, false, ""); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("a closed account goes on: %v", err)
	}
	if _, err := b.SuspendCustomer(b.ctx, actor, message.NewID(), true, ""); message.ReasonOf(err) != message.ReasonNotFound {
		t.Error(err)
	}
	if _, err := b.Customer(b.ctx, message.NewID()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Error(err)
	}
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hire("ada@gw.example", snapshot.RoleAdmin)
	eve := Actor{Name: "eve@gw.example", Role: "support", Address: "192.0.2.7"}
	for i := range 5 {
		if err := b.Audit(b.ctx, eve, "message.read", fmt.Sprint("m", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	// They lie five minutes apart.
	b.exec("update audit_log set at = '2026-11-22T10:00:00Z'::timestamptz + id * interval '5 minutes'")
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		f    message.AuditFilter
		want string
	}{
		{message.AuditFilter{}, "6 5 4 3 2 1"},
		{message.AuditFilter{Actor: "eve@gw.example"}, "6 5 4 3 2"},
		{message.AuditFilter{Action: "staff.create"}, "1"},
		{message.AuditFilter{Target: "m2"}, "4"},
		{message.AuditFilter{Target: "m2", Action: "staff.create"}, ""},
		{message.AuditFilter{After: at.Add(10 * time.Minute), Before: at.Add(25 * time.Minute)}, "4 3"},
	} {
		for _, limit := range []int{2, 10} {
			got, before := "", int64(0)
			for {
				lines, err := b.AuditLog(b.ctx, c.f, before, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range lines {
					got += fmt.Sprint(l.ID, " ")
					before = l.ID
				}
				if len(lines) < limit {
					break
				}
			}
			if got != c.want+" " && got != c.want {
				t.Errorf("%+v: %q, want %q", c.f, got, c.want)
			}
		}
	}
	lines, err := b.AuditLog(b.ctx, message.AuditFilter{Target: "m4"}, 0, 1)
	if err != nil || lines[0].By != eve || lines[0].Action != "message.read" || len(lines[0].Hash) != 32 || lines[0].Before != nil {
		t.Errorf("%+v, %v", lines, err)
	}
}

// The lists of staff go by an index, whatever narrows them.
func TestStaffPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	b.exec(`insert into audit_log (at, actor, role, action, target, hash)
	  select now() - n * interval '1 second', 'a' || n % 500, 'admin', 'x' || n % 300, 't' || n, '' from generate_series(1, 30000) n`)
	b.exec(analyze)
	id := message.NewID()
	for name, f := range map[string]message.Filter{
		"after": {CreatedAfter: time.Now()}, "vendor, after": {CreatedAfter: time.Now(), Vendor: "north"}, "to": {To: "+13100000001"},
		"account": {AccountID: id}, "account, vendor": {AccountID: id, Vendor: id.String()}, "account, to": {AccountID: id, To: "+13100000001"},
		"a vendor's id": {VendorMessageID: "a1"}, "account, a vendor's id": {AccountID: id, VendorMessageID: "a1"},
	} {
		for _, before := range []message.ID{{}, id} {
			sql, args := listQuery(f.AccountID, f, before, 50)
			for _, seqscan := range []string{"on", "off"} {
				plan := b.explain(sql, len(args), seqscan)
				read := endToEnd(plan)
				if f.VendorMessageID != "" { // the vendors are few
					read = slices.DeleteFunc(read, func(table string) bool { return table == "vendors" })
				}
				if len(read) > 0 {
					t.Errorf("messages by %s:\n%s", name, plan)
				}
			}
		}
	}
	for name, f := range map[string]message.AuditFilter{
		"actor": {Actor: "a"}, "action": {Action: "a"}, "target": {Target: "a"}, "after": {After: time.Now()}, "before": {Before: time.Now()}, "between": {After: time.Now(), Before: time.Now()},
	} {
		sql, args := auditQuery(f, 0, 50)
		for _, seqscan := range []string{"on", "off"} {
			if plan := b.explain(sql, len(args), seqscan); len(endToEnd(plan)) > 0 {
				t.Errorf("audit log by %s:\n%s", name, plan)
			}
		}
	}
}

// A message is found by the id that its vendor gave any of its parts.
func TestMessagesByVendorsID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.CreateVendor(b.ctx, actor, snapshot.Vendor{ID: b.vendor.ID, Name: "north", Host: "127.0.0.1", Port: 2775, Active: true}); err != nil {
		t.Fatal(err)
	}
	m := b.sent("ab12", "ab13")
	b.sent("ab14")
	for given, want := range map[string]int{"ab12": 1, "AB13": 1, "ab1": 0, "%": 0} {
		list, err := b.AllMessages(b.ctx, message.Filter{VendorMessageID: given}, message.ID{}, 10)
		if err != nil || len(list) != want || want > 0 && list[0].ID != m.ID {
			t.Errorf("%s: %v, %v", given, list, err)
		}
	}
	if list, err := b.AllMessages(b.ctx, message.Filter{VendorMessageID: "ab12", AccountID: message.NewID()}, message.ID{}, 10); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func TestAllMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	mine, theirs := b.accepted(1), b.draft()
	theirs.AccountID, theirs.To = message.NewID(), "+13105550118"
	b.store(theirs)
	b.exec("update messages set vendor_id = $1, vendor_name = 'north' where id = $2", b.vendor.ID, mine.ID)
	old := b.draft()
	old.CreatedAt = time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Millisecond)
	old.ID = idAt(old.CreatedAt)
	b.store(old)
	for _, c := range []struct {
		name string
		f    message.Filter
		want []message.ID
	}{
		{"all", message.Filter{}, []message.ID{theirs.ID, mine.ID, old.ID}},
		{"account", message.Filter{AccountID: b.owner}, []message.ID{mine.ID, old.ID}},
		{"vendor", message.Filter{Vendor: "north"}, []message.ID{mine.ID}},
		{"vendor's id", message.Filter{Vendor: b.vendor.ID.String()}, []message.ID{mine.ID}},
		{"to", message.Filter{To: "+13105550118"}, []message.ID{theirs.ID}},
		{"after", message.Filter{CreatedAfter: time.Now().Add(-time.Hour)}, []message.ID{theirs.ID, mine.ID}},
		{"before", message.Filter{CreatedBefore: time.Now().Add(-time.Hour)}, []message.ID{old.ID}},
		{"account, before", message.Filter{AccountID: theirs.AccountID, CreatedBefore: time.Now().Add(-time.Hour)}, nil},
	} {
		list, err := b.AllMessages(b.ctx, c.f, message.ID{}, 10)
		var got []message.ID
		for _, m := range list {
			got = append(got, m.ID)
			if len(m.Parts) != 1 || m.Body == "" {
				t.Errorf("%s: without parts or text", c.name)
			}
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v, %v", c.name, got, c.want, err)
		}
	}
	if list, err := b.AllMessages(b.ctx, message.Filter{}, theirs.ID, 1); err != nil || len(list) != 1 || list[0].ID != mine.ID {
		t.Errorf("%v, %v", list, err)
	}
	if m, err := b.WholeMessage(b.ctx, theirs.ID); err != nil || m.AccountID != theirs.AccountID || len(m.Parts) != 1 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := b.WholeMessage(b.ctx, message.NewID()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Error(err)
	}
}
