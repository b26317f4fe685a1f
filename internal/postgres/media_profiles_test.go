package postgres

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func leanProfile(name string) mediaprofile.Profile {
	p, _ := mediaprofile.Builtin("default")
	p.Name, p.MaxSide, p.Cut = name, 640, true
	return p
}

func TestMediaProfilesAreInTheSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	vendor := func() *snapshot.Vendor { return b.load().Vendors[b.vendor.ID] }
	if p, known := b.load().MediaProfile(vendor()); !known || p.Name != "default" || len(b.load().MediaProfiles) != 0 {
		t.Errorf("in an empty table: %s, %v", p.Name, known)
	}
	version := b.load().Version
	if _, err := b.SetMediaProfile(b.ctx, actor, leanProfile("lean")); err != nil {
		t.Fatal(err)
	}
	if b.load().Version == version {
		t.Error("a new profile does not change the version")
	}
	// A snapshot that reads only what has changed has it as well.
	old := b.load()
	if _, err := b.SetMediaProfile(b.ctx, actor, leanProfile("default")); err != nil {
		t.Fatal(err)
	}
	s, err := b.RefreshSnapshot(b.ctx, old)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := s.MediaProfile(nil); p.MaxSide != 640 || len(s.MediaProfiles) != 2 || len(old.MediaProfiles) != 1 {
		t.Errorf("after the change: %+v of %d", p, len(s.MediaProfiles))
	}
	// What another release has written and this one cannot use: the one of the release counts.
	b.exec(`update media_profiles set definition = definition || '{"video": "av1"}' where name = 'default'`)
	s = b.load()
	if p, _ := s.MediaProfile(nil); p.MaxSide != 1920 || len(s.Problems["media_profiles"]) != 1 {
		t.Errorf("a row that is broken: %+v, %v", p, s.Problems)
	}
	list, err := b.MediaProfiles(b.ctx)
	if err != nil || len(list) != 2 || list[0].Broken == "" || list[0].Name != "default" || list[1].Broken != "" {
		t.Errorf("listed: %+v, %v", list, err)
	}
	// One that the vendor names and that has gone is told from one that it does not name.
	b.exec("update vendors set media_profile = 'gone'")
	if p, known := b.load().MediaProfile(vendor()); known || p.Name != "default" {
		t.Errorf("a profile that has gone: %s, %v", p.Name, known)
	}
	for _, name := range []string{"default", "lean"} {
		if err := b.RemoveMediaProfile(b.ctx, actor, name); err != nil {
			t.Error(err)
		}
	}
	if err := b.RemoveMediaProfile(b.ctx, actor, "lean"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("removed twice: %v", err)
	}
	if n, err := b.VerifyAudit(b.ctx); n != 0 || err != nil {
		t.Errorf("audit row %d, %v", n, err)
	}
	if got := scalar[string](b, "select before->>'message_bytes' from audit_log where action = 'media_profile.update' and target = 'default'"); got != "600000" {
		t.Errorf("the audit log has %q of what the row took the place of", got)
	}
}

// A vendor that names a profile from before anybody looked can be changed in all else.
func TestVendorWithAProfileThatIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	b.exec("update vendors set media_profile = 'gone'")
	change := func(change func(*snapshot.VendorState)) error {
		_, err := b.ChangeVendor(b.ctx, actor, b.vendor.ID, "vendor.update", func(v *snapshot.VendorState) error { change(v); return nil })
		return err
	}
	if err := change(func(v *snapshot.VendorState) { v.Paused = true }); err != nil {
		t.Error(err)
	}
	if err := change(func(v *snapshot.VendorState) { v.MediaProfile = "none" }); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("another one that is not there: %v", err)
	}
	if err := change(func(v *snapshot.VendorState) { v.MediaProfile = "att" }); err != nil {
		t.Error(err)
	}
}

// Whoever gives a vendor a profile and whoever removes it at the same time: never both.
func TestProfileIsGivenAndRemovedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	for range 20 {
		b.exec("update vendors set media_profile = ''")
		if _, err := b.SetMediaProfile(b.ctx, actor, leanProfile("lean")); err != nil {
			t.Fatal(err)
		}
		var given, removed error
		var wg sync.WaitGroup
		wg.Go(func() {
			_, given = b.ChangeVendor(b.ctx, actor, b.vendor.ID, "vendor.update", func(v *snapshot.VendorState) error { v.MediaProfile = "lean"; return nil })
		})
		wg.Go(func() { removed = b.RemoveMediaProfile(b.ctx, actor, "lean") })
		wg.Wait()
		if (given == nil) == (removed == nil) {
			t.Fatalf("given: %v; removed: %v", given, removed)
		}
		b.exec("update vendors set media_profile = ''")
		if removed != nil {
			if err := b.RemoveMediaProfile(b.ctx, actor, "lean"); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The same, one after the other by hand: the removal waits for who holds the row.
	if _, err := b.SetMediaProfile(b.ctx, actor, leanProfile("lean")); err != nil {
		t.Fatal(err)
	}
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(b.ctx)) }()
	if err := knownProfile(b.ctx, tx, "lean"); err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(b.ctx, b.pool, func(other pgx.Tx) error {
		_, err := other.Exec(b.ctx, lockMediaProfile+" nowait", "lean")
		return err
	})
	if err == nil {
		t.Error("a profile that is just being given can be removed")
	}
}

func TestMediaProfilesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into media_profiles (name, definition) select 'p' || n, '{}' from generate_series(1, $1::int) n`, maxMediaProfiles)
	if _, err := b.SetMediaProfile(b.ctx, actor, leanProfile("one-more")); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("one more: %v", err)
	}
	if _, err := b.SetMediaProfile(b.ctx, actor, leanProfile("p1")); err != nil {
		t.Errorf("one of them: %v", err)
	}
	var err error
	if _, err = b.SetMediaProfile(b.ctx, actor, leanProfile("P")); message.ReasonOf(err) != message.ReasonInvalidRequest || !slices.ContainsFunc(message.AsError(err).Fields, func(f message.FieldError) bool { return f.Location == "name" }) {
		t.Errorf("a name that cannot be: %v", err)
	}
}
