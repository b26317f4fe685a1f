package postgres

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// northern makes the vendor of the bundle.
func (b *bundle) northern() snapshot.VendorState {
	b.tb.Helper()
	v, err := b.AddVendor(b.ctx, actor, snapshot.Vendor{ID: b.vendor.ID, Name: b.vendor.Name, ProviderType: "smpp", Active: true, Host: "smsc.example", Port: 2775,
		Password: "one", OutbindPassword: "two", ClientKey: "three", SigningKeys: []string{"four", "five"}, ReceiptExpected: time.Minute, Throughput: 5})
	if err != nil {
		b.tb.Fatal(err)
	}
	return v
}

func nobodyMinds(snapshot.VendorState) error { return nil }

// What is told to a running link changes nothing of what the link is made from: neither
// the version nor a sealed secret, which would look new if it were sealed again.
func TestVendorSecretsStay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.northern()
	const sealed = "select md5(row(password, tls_client_key, outbind_password, signing_keys)::text) from vendors where provider_type = 'smpp'"
	before := scalar[string](b, sealed)
	again, err := b.ChangeVendor(b.ctx, actor, v.ID, "vendor.update", func(v *snapshot.VendorState) error {
		v.Throughput, v.MaxBinds, v.Priority, v.Paused, v.Name, v.ProviderType = 7, 3, 1, true, "other", "telnyx"
		return nil
	})
	if err != nil || again.Version != v.Version || again.Throughput != 7 || again.Name != "north" || again.ProviderType != "smpp" || scalar[string](b, sealed) != before {
		t.Errorf("%+v, %v", again, err)
	}
	for name, change := range map[string]func(*snapshot.VendorState){
		"password": func(v *snapshot.VendorState) { v.Password = "1" }, "tls_client_key": func(v *snapshot.VendorState) { v.ClientKey = "" },
		"outbind_password": func(v *snapshot.VendorState) { v.OutbindPassword = "2" }, "signing_keys": func(v *snapshot.VendorState) { v.SigningKeys = []string{"six", "four"} },
	} {
		was := again
		again, err = b.ChangeVendor(b.ctx, actor, v.ID, "vendor.update", func(v *snapshot.VendorState) error { change(v); return nil })
		if err != nil || again.Version != was.Version+1 {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
		last := scalar[string](b, "select coalesce(before::text, '-') || ' ' || after::text from audit_log order by id desc limit 1")
		if last != `- {"`+name+`": "changed"}` {
			t.Errorf("%s: the audit log says %s", name, last)
		}
	}
	if got := b.load().Vendors[v.ID]; got.Password != "1" || got.ClientKey != "" || got.OutbindPassword != "2" || strings.Join(got.SigningKeys, " ") != "six four" {
		t.Errorf("%+v", got)
	}
	if _, err := b.ChangeVendor(b.ctx, actor, message.NewID(), "vendor.update", func(*snapshot.VendorState) error { return nil }); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("%v", err)
	}
	no := errors.New("no")
	lines := b.count("select count(*) from audit_log")
	if _, err := b.ChangeVendor(b.ctx, actor, v.ID, "vendor.update", func(*snapshot.VendorState) error { return no }); !errors.Is(err, no) || b.count("select count(*) from audit_log") != lines {
		t.Errorf("%v", err)
	}
}

// Changes of several processes at once come one after another, and none is lost.
func TestVendorChangesAreNotLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.northern()
	var all sync.WaitGroup
	for _, db := range []*DB{b.DB, b.replica()} {
		for range 5 {
			all.Go(func() {
				_, err := db.ChangeVendor(b.ctx, actor, v.ID, "vendor.update", func(v *snapshot.VendorState) error { v.Restarts++; return nil })
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if got, err := b.Vendor(b.ctx, v.ID); err != nil || got.Restarts != 10 {
		t.Errorf("%d, %v", got.Restarts, err)
	}
}

// What stands in the way of a removal: what waits, what is in doubt, receipts that may
// come, and whoever may not have heard yet. What is held waits for something else.
func TestVendorUse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.northern()
	use := func() snapshot.VendorUse {
		t.Helper()
		u, err := b.VendorUse(b.ctx, v.ID)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := use(); u.Waiting+u.InDoubt+u.Numbers+len(u.Routes) != 0 || u.Rest != 0 {
		t.Errorf("of a new one: %+v", u)
	}
	b.sending(1)
	b.heldUntil(time.Now().Add(time.Hour))
	b.doubtful(2)
	if u := use(); u.Waiting != 1 || u.InDoubt != 2 || u.Rest != 0 {
		t.Errorf("%+v", u)
	}
	route, err := b.AddRoute(b.ctx, actor, snapshot.RouteState{Route: snapshot.Route{VendorID: v.ID}, Active: true})
	if err != nil {
		t.Fatal(err)
	}
	if u := use(); len(u.Routes) != 1 || u.Routes[0] != route.ID || u.Rest != knownWithin {
		t.Errorf("%+v", u)
	}
	b.sent("a1")
	if u := use(); u.Waiting != 1 || u.Rest != time.Minute {
		t.Errorf("%+v", u)
	}
	if _, gone, err := b.RemoveVendor(b.ctx, actor, v.ID, false, nobodyMinds); gone || message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("%v, %v", gone, err)
	}
	if u, gone, err := b.RemoveVendor(b.ctx, actor, v.ID, true, nobodyMinds); gone || err != nil || u.Waiting != 1 || u.Rest <= 0 || u.Rest > time.Minute {
		t.Errorf("%+v, %v, %v", u, gone, err)
	}
	// Nobody waits for the receipts of a vendor without a link.
	if _, err := b.ChangeVendor(b.ctx, actor, v.ID, "vendor.update", func(v *snapshot.VendorState) error { v.Active = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if u := use(); u.Rest != 0 {
		t.Errorf("%+v", u)
	}
	b.exec("delete from backlog")
	b.exec("update segments set state = 'refused' where state = 'in_doubt'")
	if _, gone, err := b.RemoveVendor(b.ctx, actor, v.ID, true, nobodyMinds); !gone || err != nil {
		t.Errorf("%v, %v", gone, err)
	}
	if len(b.load().Routes) != 0 {
		t.Error("its route is left")
	}
	for range 2 {
		if _, gone, err := b.RemoveVendor(b.ctx, actor, v.ID, true, nobodyMinds); gone || message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("%v, %v", gone, err)
		}
	}
}

// A number that the vendor hosts stays, and names none.
func TestVendorRemovalFreesNumbers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.northern()
	if err := b.CreateNumber(b.ctx, actor, snapshot.Number{Number: "+12025550143", AccountID: b.account(), VendorID: v.ID, Type: snapshot.LongCode, SMSEnabled: true}); err != nil {
		t.Fatal(err)
	}
	if _, gone, err := b.RemoveVendor(b.ctx, actor, v.ID, true, nobodyMinds); gone || err != nil {
		t.Fatal(gone, err)
	}
	b.exec("alter table vendors disable trigger vendors_version")
	b.exec("update vendors set draining_since = now() - interval '6 seconds'")
	if u, gone, err := b.RemoveVendor(b.ctx, actor, v.ID, true, nobodyMinds); !gone || err != nil {
		t.Fatalf("%+v %v", u, err)
	}
	if n := b.load().Numbers["+12025550143"]; n == nil || n.VendorID != (message.ID{}) {
		t.Errorf("%+v", n)
	}
}

// Draining is counted from when it began, and health is no change of staff's.
func TestVendorDrainingSince(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.northern()
	set := func(draining bool) snapshot.VendorState {
		t.Helper()
		v, err := b.ChangeVendor(b.ctx, actor, v.ID, "vendor.drain", func(v *snapshot.VendorState) error { v.Draining = draining; v.Restarts++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := set(true)
	if second := set(true); first.DrainingSince.IsZero() || !second.DrainingSince.Equal(first.DrainingSince) || !second.UpdatedAt.After(first.UpdatedAt) {
		t.Errorf("%v, then %v", first, second)
	}
	last := set(false)
	b.exec("update vendors set health_status = 'down', last_bind_time = now() where id = $1", v.ID)
	if got, err := b.Vendor(b.ctx, v.ID); err != nil || !got.DrainingSince.IsZero() || !got.UpdatedAt.Equal(last.UpdatedAt) || got.Health != message.HealthDown || got.LastBind.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
}

// However much there is, the questions about one vendor are answered from indexes.
func TestVendorUsePlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, q := range []struct {
		sql    string
		params int
		uses   string
	}{
		{countWaiting, 2, "messages_pkey"},
		{countInDoubt, 2, "segments_doubted"},
		{hadMessages, 1, "segments_vendor_id"},
	} {
		plan := b.explain(q.sql, q.params, "off")
		if !strings.Contains(plan, q.uses) || regexp.MustCompile(`Seq Scan on (messages|segments|holds)`).MatchString(plan) {
			t.Errorf("%s\n%s", q.sql, plan)
		}
	}
}

// Everything is read anew when somebody asks for it, though nothing changed, and those
// who listen hear of it.
func TestReread(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.northern()
	before := b.load()
	if same, err := b.RefreshSnapshot(b.ctx, before); err != nil || same != before {
		t.Fatal(err)
	}
	if err := b.Reread(b.ctx, actor, "vendors"); err != nil {
		t.Fatal(err)
	}
	after, err := b.RefreshSnapshot(b.ctx, before)
	if err != nil || after == before || after.Vendors[b.vendor.ID] == before.Vendors[b.vendor.ID] || after.Tables["accounts"] != before.Tables["accounts"] {
		t.Errorf("%v", err)
	}
	if err := b.Reread(b.ctx, actor); err != nil {
		t.Fatal(err)
	}
	all, err := b.RefreshSnapshot(b.ctx, after)
	if err != nil || all.Tables["accounts"] == (message.ID{}) || all.Tables["vendors"] == after.Tables["vendors"] || all.Tables["messages"] != (message.ID{}) {
		t.Errorf("%v, %v", all.Tables, err)
	}
}

func TestRoutesForStaff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.northern()
	full := snapshot.Route{VendorID: v.ID, Priority: 3, DestPattern: regexp.MustCompile("^1"), Name: "n", Class: message.ClassOTP, Capability: "long", Selection: "least_cost", MaxCost: 7000,
		Sticky: true, Days: 3, FromMinute: 60, UntilMinute: 120, Zone: time.UTC, EffectiveFrom: time.Now().Truncate(time.Second), Weight: 9, RatePerMsg: 4500}
	r, err := b.AddRoute(b.ctx, actor, snapshot.RouteState{Route: full, Active: true})
	if err != nil || r.ID == 0 || r.Version != 1 || r.Weight != 9 || r.MaxCost != 7000 || !r.EffectiveFrom.Equal(full.EffectiveFrom) || r.Days != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := b.load().Routes[0]; got.DestPattern.String() != "^1" || got.FromMinute != 60 || got.Capability != "long" {
		t.Errorf("%+v", got)
	}
	changed, err := b.ChangeRoute(b.ctx, actor, r.ID, func(r *snapshot.RouteState) error { r.Active, r.MaxCost, r.Class = false, 0, ""; return nil })
	if err != nil || changed.Version != 2 || changed.MaxCost != 0 || changed.Class != "" || changed.Sticky != true {
		t.Errorf("%+v, %v", changed, err)
	}
	for _, other := range []func(*snapshot.RouteState){func(r *snapshot.RouteState) { r.VendorID = message.NewID() }, func(r *snapshot.RouteState) { r.AccountID = message.NewID() }} {
		_, err := b.ChangeRoute(b.ctx, actor, r.ID, func(r *snapshot.RouteState) error { other(r); return nil })
		if e := message.AsError(err); e.Reason != message.ReasonInvalidRequest || len(e.Fields) != 1 || !strings.HasSuffix(e.Fields[0].Location, "_id") {
			t.Errorf("%v", err)
		}
	}
	no := errors.New("no")
	if err := b.RemoveRoute(b.ctx, actor, r.ID, func(snapshot.RouteState) error { return no }); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
	if err := b.RemoveRoute(b.ctx, actor, r.ID, func(snapshot.RouteState) error { return nil }); err != nil {
		t.Error(err)
	}
	if _, err := b.Route(b.ctx, r.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("%v", err)
	}
	last := scalar[string](b, "select action || ' ' || target || ' ' || (before->>'name') from audit_log order by id desc limit 1")
	if last != "route.delete "+routeTarget(r.ID)+" n" {
		t.Errorf("the audit log says %s", last)
	}
}
