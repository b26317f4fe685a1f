package postgres

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// south is a second vendor.
func (b *bundle) south() message.ID {
	b.tb.Helper()
	id := message.NewID()
	if err := b.CreateVendor(b.ctx, actor, snapshot.Vendor{ID: id, Name: "south", ProviderType: "smpp", Active: true}); err != nil {
		b.tb.Fatal(err)
	}
	return id
}

func (b *bundle) namedFor(m *message.Message) message.ID {
	b.tb.Helper()
	id, err := b.RouteOverride(b.ctx, m.ID)
	if err != nil {
		b.tb.Fatal(err)
	}
	return id
}

func TestRouteOverride(t *testing.T) {
	t.Parallel()
	b := setup(t)
	south := b.south()
	m := b.accepted(1)
	if is := b.namedFor(m); is != (message.ID{}) {
		t.Errorf("nobody has named %s", is)
	}
	rows := func() int { return b.count("select count(*) from audit_log where action = 'message.reroute'") }
	for range 2 { // said twice it is said once
		if err := b.SetRouteOverride(b.ctx, actor, m.ID, south, " the customer asked "); err != nil {
			t.Fatal(err)
		}
		if is := b.namedFor(m); is != south {
			t.Errorf("named %s", is)
		}
		if n := rows(); n != 1 {
			t.Errorf("%d lines in the audit log", n)
		}
	}
	events := b.timeline(m)
	last := events[len(events)-1]
	if last.Type != message.EventStaffAction || last.Detail["action"] != "reroute" || last.Detail["vendor"] != "south" || last.Detail["actor"] != actor.Name || last.Detail["note"] != "the customer asked" {
		t.Errorf("timeline %+v", last)
	}
	// What was read of the message before is old: a step that goes by it finds out.
	stored, err := b.Envelope(b.ctx, m.ID)
	if err != nil || stored.Revision != 1 {
		t.Errorf("revision %d, %v", stored.Revision, err)
	}
	zero := 0
	adv, err := b.Advance(b.ctx, message.Change{MessageID: m.ID, Via: message.StatusQueued, To: message.StatusQueued, Revision: &zero})
	if err != nil || !adv.Revised || adv.Changed {
		t.Errorf("%+v, %v", adv, err)
	}
	if err := b.SetRouteOverride(b.ctx, actor, m.ID, b.vendor.ID, ""); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("a vendor that is not there: %v", err)
	}
	for range 2 {
		if err := b.SetRouteOverride(b.ctx, actor, m.ID, message.ID{}, ""); err != nil {
			t.Fatal(err)
		}
		if is, n := b.namedFor(m), rows(); is != (message.ID{}) || n != 2 {
			t.Errorf("taken back: %s, %d lines", is, n)
		}
	}
	if got := scalar[string](b, "select before ->> 'vendor_id' from audit_log where action = 'message.reroute' order by id desc limit 1"); got != south.String() {
		t.Errorf("before: %s", got)
	}
	if n, err := b.VerifyAudit(b.ctx); n != 0 || err != nil {
		t.Errorf("audit row %d, %v", n, err)
	}
}

// Staff may name a vendor as long as the message has a way to go.
func TestRouteOverrideInTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	south := b.south()
	for _, status := range message.Statuses() {
		for _, delivery := range []message.Delivery{message.AtMostOnce, message.AtLeastOnce} {
			m := b.draft()
			m.Delivery = delivery
			b.store(m)
			b.exec("update messages set status = $1 where id = $2", string(status), m.ID)
			err := b.SetRouteOverride(b.ctx, actor, m.ID, south, "")
			late := status.Final() || status == message.StatusSent || status == message.StatusInDoubt && delivery == message.AtMostOnce
			if late != (message.ReasonOf(err) == message.ReasonConflict) || late != (b.namedFor(m) == message.ID{}) {
				t.Errorf("%s, %s: %v", status, delivery, err)
			}
			if n := b.count("select revision from messages where id = $1", m.ID); (n == 1) != status.Revisable() {
				t.Errorf("%s: revision %d", status, n)
			}
		}
	}
	m := b.accepted(1)
	b.exec("update messages set direction = 'inbound' where id = $1", m.ID)
	for name, c := range map[string]struct {
		id     message.ID
		reason string
		want   message.Reason
	}{
		"inbound":    {m.ID, "", message.ReasonConflict},
		"not there":  {message.NewID(), "", message.ReasonNotFound},
		"long words": {m.ID, strings.Repeat("x", 301), message.ReasonInvalidRequest},
		"no words":   {m.ID, "a\x00b", message.ReasonInvalidRequest},
	} {
		if err := b.SetRouteOverride(b.ctx, actor, c.id, south, c.reason); message.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// While says in which status a line may be added.
func TestLineOfOneStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	c := message.Change{MessageID: m.ID, While: message.StatusQueued, Vendor: b.vendor, Events: line(message.StatusQueued)}
	if adv, err := b.Advance(b.ctx, c); err != nil || adv.Changed || adv.Was != message.StatusAccepted {
		t.Errorf("%+v, %v", adv, err)
	}
	if n := len(b.timeline(m)); n != 1 {
		t.Errorf("%d lines", n)
	}
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true})
	b.must(c)
	if got, err := b.Message(b.ctx, m.ID); err != nil || got.VendorID != b.vendor.ID || got.Status != message.StatusQueued || len(b.timeline(m)) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLastVendor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.vendor, message.VendorRef{ID: message.NewID(), Name: "south"}
	send := func(from, to message.Address, account message.ID, v message.VendorRef, submitted bool) {
		t.Helper()
		m := b.draft()
		m.From, m.To, m.AccountID = from, to, account
		b.store(m)
		b.exec("update messages set vendor_id = $1, vendor_name = $2, submitted_at = case when $3 then now() end where id = $4", v.ID, v.Name, submitted, m.ID)
	}
	const ours, other, handset message.Address = "+12025550143", "+12025550144", "+13105550117"
	last := func(account message.ID, from, to message.Address) message.ID {
		t.Helper()
		id, err := b.LastVendor(b.ctx, account, from, to)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if got := last(b.owner, ours, handset); got != (message.ID{}) {
		t.Errorf("of nothing: %s", got)
	}
	stranger := message.NewID()
	send(ours, handset, b.owner, north, true)
	send(ours, handset, b.owner, south, true)
	send(ours, handset, b.owner, north, false) // on its way: nobody has it yet
	send(other, handset, b.owner, north, true)
	send(ours, handset, stranger, north, true)
	send(ours, "+13105550118", b.owner, north, true)
	if got := last(b.owner, ours, handset); got != south.ID {
		t.Errorf("%s, want %s", got, south.ID)
	}
	if got := last(stranger, ours, handset); got != north.ID {
		t.Errorf("another account's: %s", got)
	}
	inbound := b.draft()
	inbound.To = handset
	b.store(inbound)
	b.exec("update messages set vendor_id = $1, submitted_at = now(), direction = 'inbound' where id = $2", north.ID, inbound.ID)
	if got := last(b.owner, ours, handset); got != south.ID {
		t.Errorf("after an inbound one: %s", got)
	}
	// It looks back so far and no further.
	for range 50 {
		send(other, handset, b.owner, north, true)
	}
	if got := last(b.owner, ours, handset); got != (message.ID{}) {
		t.Errorf("after 50 of another number: %s", got)
	}
}
