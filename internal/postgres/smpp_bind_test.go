package postgres

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func bindOf(credential message.ID, instance string) message.SMPPBind {
	return message.SMPPBind{ID: message.NewID(), CredentialID: credential, Instance: instance, Mode: "transceiver", Address: "192.0.2.7", TLS: true, Version: 0x34}
}

func (b *bundle) bind(db *DB, bind message.SMPPBind, max int) bool {
	b.tb.Helper()
	entered, err := db.Bind(b.ctx, bind, max)
	if err != nil {
		b.tb.Fatal(err)
	}
	return entered
}

func (b *bundle) alive(db *DB, instance string, binds ...message.SMPPBind) {
	b.tb.Helper()
	if _, err := db.BindsAlive(b.ctx, instance, pick(binds, func(s message.SMPPBind) message.ID { return s.ID })); err != nil {
		b.tb.Fatal(err)
	}
}

// registered lists the ids in the registry.
func (b *bundle) registered() []message.ID {
	b.tb.Helper()
	return scalar[[]message.ID](b, "select coalesce(array_agg(id order by id), '{}') from smpp_binds")
}

func TestBind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential, other := message.NewID(), message.NewID()
	one, two, three := bindOf(credential, "a"), bindOf(credential, "b"), bindOf(credential, "a")
	one.BoundAt = time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	if !b.bind(b.DB, one, 2) || !b.bind(b.DB, two, 2) || b.bind(b.DB, three, 2) {
		t.Error("the third of two was entered, or one of the first two was not")
	}
	if b.bind(b.DB, bindOf(other, "a"), 0) || !b.bind(b.DB, bindOf(other, "a"), 1) {
		t.Error("another credential's binds were counted, or none are allowed and one was entered")
	}
	// Entered again after a lost answer.
	if !b.bind(b.DB, one, 2) || b.count("select count(*) from smpp_binds where credential_id = $1", credential) != 2 {
		t.Error("the same bind counts twice")
	}
	if n := b.count(`select count(*) from smpp_binds where id = $1 and credential_id = $2 and instance = 'a' and mode = 'transceiver' and address = '192.0.2.7'
		and tls and version = 52 and bound_at = $3 and seen_at between now() - interval '1 minute' and now()`, one.ID, credential, one.BoundAt); n != 1 {
		t.Error("it is not described")
	}
	if n := b.count("select count(*) from smpp_binds where id = $1 and bound_at between now() - interval '1 minute' and now()", two.ID); n != 1 {
		t.Error("without a time it was not bound now")
	}
	for range 2 { // the second time it is gone
		if err := b.Unbind(b.ctx, two.ID); err != nil {
			t.Fatal(err)
		}
	}
	if !b.bind(b.DB, three, 2) {
		t.Error("there is no room after an unbind")
	}
	// A bind that nobody has heard of for 30 seconds counts for nothing.
	b.exec("update smpp_binds set seen_at = now() - interval '29 seconds'")
	if b.bind(b.DB, bindOf(credential, "b"), 2) {
		t.Error("one that was seen lately is not counted")
	}
	b.exec("update smpp_binds set seen_at = now() - interval '31 seconds' where id = $1", one.ID)
	if !b.bind(b.DB, bindOf(credential, "b"), 2) {
		t.Error("a lapsed one is counted")
	}
}

// However many come at once, over however many processes, max get in.
func TestBindsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica(), b.replica()}
	for range 5 {
		credential := message.NewID()
		start := make(chan struct{})
		var entered atomic.Int64
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				<-start
				if in, err := replicas[i%3].Bind(b.ctx, bindOf(credential, "x"), 10); err != nil {
					t.Error(err)
				} else if in {
					entered.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if n := b.count("select count(*) from smpp_binds where credential_id = $1", credential); n != 10 || entered.Load() != 10 {
			t.Fatalf("%d rows, %d were told yes", n, entered.Load())
		}
	}
}

// One credential's bind under way keeps no other's waiting.
func TestBindLocksItsCredential(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held := bindOf(message.NewID(), "a")
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	if _, err := tx.Exec(b.ctx, lockCredential, credentialLock(held.CredentialID)); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		entered bool
		err     error
	}
	done := make(chan answer, 1)
	go func() {
		entered, err := b.Bind(b.ctx, held, 1)
		done <- answer{entered, err}
	}()
	b.blocked()
	if !b.bind(b.DB, bindOf(message.NewID(), "a"), 1) {
		t.Error("another credential was refused")
	}
	select {
	case <-done:
		t.Error("the same credential did not wait")
	default:
	}
	// What was committed under the lock counts, though it is younger than the wait.
	if _, err := tx.Exec(b.ctx, insertBind, message.NewID(), held.CredentialID, "b", "receiver", "", false, int16(0x34), nil, 1); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.entered || got.err != nil {
		t.Errorf("two of one: %+v", got)
	}
}

func TestBindsAlive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := message.NewID()
	one, two, gone, other := bindOf(credential, "a"), bindOf(credential, "a"), bindOf(credential, "a"), bindOf(credential, "b")
	all := []message.SMPPBind{one, two, gone, other}
	for _, s := range all {
		b.bind(b.DB, s, 10)
	}
	b.exec("update smpp_binds set seen_at = now() - interval '31 seconds'")
	b.alive(b.DB, "a", one, two, other) // other is not a's to speak of
	want := []message.ID{one.ID, two.ID, other.ID}
	if got := b.registered(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	live := scalar[[]message.ID](b, "select array_agg(id order by id) from smpp_binds where seen_at > now() - interval '10 seconds'")
	if !slices.Equal(live, want[:2]) {
		t.Errorf("seen: %v, want %v", live, want[:2])
	}
	b.alive(b.DB, "a")
	if got := b.registered(); !slices.Equal(got, want[2:]) {
		t.Errorf("%v is left, want %v", got, want[2:])
	}
}

// The rows of the dead go after 5 minutes, by whoever was alive all the while:
// after an outage nobody takes the others for dead.
func TestBindsOfTheDead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := message.NewID()
	mine, away, dead := bindOf(credential, "a"), bindOf(credential, "b"), bindOf(credential, "c")
	for _, s := range []message.SMPPBind{mine, away, dead} {
		b.bind(b.DB, s, 10)
	}
	b.exec("update smpp_binds set seen_at = now() - interval '6 minutes'")
	b.alive(b.DB, "nobody")
	b.alive(b.DB, "a", mine) // the first to come back
	if n := len(b.registered()); n != 3 {
		t.Errorf("%d binds are left after an outage", n)
	}
	b.alive(b.DB, "b", away)
	b.exec("update smpp_binds set seen_at = now() - interval '4 minutes 50 seconds' where id = $1", dead.ID)
	b.alive(b.DB, "a", mine)
	if n := len(b.registered()); n != 3 {
		t.Errorf("%d binds are left before 5 minutes have passed", n)
	}
	b.exec("update smpp_binds set seen_at = now() - interval '5 minutes 1 second' where id = $1", dead.ID)
	b.alive(b.DB, "a", mine)
	if got := b.registered(); !slices.Equal(got, []message.ID{mine.ID, away.ID}) {
		t.Errorf("left: %v", got)
	}
}

func TestAuditBind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := message.NewID()
	if err := b.AuditBind(b.ctx, account, "acme", "192.0.2.7", "smpp.bind_refused", "too many binds"); err != nil {
		t.Fatal(err)
	}
	if err := b.AuditBind(b.ctx, message.ID{}, "a\x00b\xffc", "2001:db8::1", "smpp.bind_refused", "unknown\x00"); err != nil {
		t.Fatal(err)
	}
	if n := b.count(`select count(*) from audit_log where action = 'smpp.bind_refused' and target = 'acme' and actor = 'acme' and role = 'esme' and address = '192.0.2.7'
		and after = jsonb_build_object('account_id', $1::uuid, 'detail', 'too many binds')`, account); n != 1 {
		t.Error("the line is not there")
	}
	if n := b.count(`select count(*) from audit_log where target = $1 and after = '{"detail": "unknown\ufffd"}'`, "a\ufffdb\ufffdc"); n != 1 {
		t.Error("the line of a stranger is not there")
	}
	if broken, err := b.VerifyAudit(b.ctx); err != nil || broken != 0 {
		t.Errorf("row %d does not follow, %v", broken, err)
	}
}

// A process that could not be heard of for minutes finds its rows gone, and enters
// them again, whoever has bound meanwhile.
func TestBindsEnteredAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	stays, lost := bindOf(credential, "a"), bindOf(credential, "a")
	lost.Address, lost.TLS, lost.Version, lost.BoundAt = "192.0.2.7", true, 0x34, time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	b.bind(b.DB, stays, 2)
	b.bind(b.DB, lost, 2)
	b.exec("delete from smpp_binds where id = $1", lost.ID)
	later := bindOf(credential, "b")
	if !b.bind(b.DB, later, 2) {
		t.Fatal("the place was not free")
	}
	missing, err := b.BindsAlive(b.ctx, "a", []message.ID{stays.ID, lost.ID})
	if err != nil || !slices.Equal(missing, []message.ID{lost.ID}) {
		t.Fatalf("missing %v, %v", missing, err)
	}
	for range 2 { // once more changes nothing
		if err := b.EnterAgain(b.ctx, []message.SMPPBind{lost}); err != nil {
			t.Fatal(err)
		}
	}
	if missing, err = b.BindsAlive(b.ctx, "a", []message.ID{stays.ID, lost.ID}); err != nil || len(missing) != 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
	if n := b.count(`select count(*) from smpp_binds where id = $1 and credential_id = $2 and instance = 'a' and mode = $3 and address = '192.0.2.7' and tls and version = 52 and bound_at = $4`,
		lost.ID, credential, lost.Mode, lost.BoundAt); n != 1 {
		t.Error("it is not what it was")
	}
	if n := len(b.registered()); n != 3 {
		t.Errorf("%d binds", n)
	}
}

// The newest beyond the number are surplus; those that have lapsed count for nothing.
func TestSurplusBinds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential, other := b.esme(b.owner, "acme"), b.esme(b.owner, "other")
	var binds []message.SMPPBind
	for i := range 5 {
		bind := bindOf(credential, string(rune('a'+i%2)))
		bind.BoundAt = time.Now().Add(time.Duration(i-10) * time.Minute)
		b.bind(b.DB, bind, 10)
		binds = append(binds, bind)
	}
	b.bind(b.DB, bindOf(other, "a"), 10)
	surplus := func(max int) []message.ID {
		t.Helper()
		got, err := b.SurplusBinds(b.ctx, credential, max)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	id := func(list ...message.SMPPBind) []message.ID {
		return pick(list, func(s message.SMPPBind) message.ID { return s.ID })
	}
	if got := surplus(3); !slices.Equal(got, id(binds[3:]...)) {
		t.Errorf("%v", got)
	}
	if got := surplus(5); len(got) != 0 {
		t.Errorf("%v", got)
	}
	b.exec("update smpp_binds set seen_at = now() - interval '31 seconds' where id = $1", binds[0].ID)
	if got := surplus(3); !slices.Equal(got, id(binds[4])) {
		t.Errorf("%v", got)
	}
}
