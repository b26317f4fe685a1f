package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// Whoever died is named once, to one of those that come later; who lives is never
// named.
func TestLife(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "life")
	show := func(instance string) *life {
		l := &life{folder: folder}
		if err := l.show(instance); err != nil {
			t.Fatal(err)
		}
		return l
	}
	stranger := show("other-host-1-x")
	first, second := show("host-1-first"), show("host-2-second")
	// The lock goes with the process, which ends without a word.
	for _, l := range []*life{first, stranger} {
		if err := l.file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var dead []string
	away := errors.New("the database is away")
	bury := func(l *life, fail error) error {
		dead = nil
		return l.bury(func(instance string) error {
			dead = append(dead, instance)
			return fail
		})
	}
	third := show("host-1-third")
	if err := bury(third, away); !errors.Is(err, away) || !slices.Equal(dead, []string{"host-1-first"}) {
		t.Errorf("dead %v, %v", dead, err)
	}
	if err := bury(second, nil); err != nil || !slices.Equal(dead, []string{"host-1-first"}) {
		t.Errorf("dead %v, %v", dead, err)
	}
	if err := bury(third, nil); err != nil || len(dead) != 0 {
		t.Errorf("dead %v, %v", dead, err)
	}
	second.end()
	if err := bury(third, nil); err != nil || len(dead) != 0 {
		t.Errorf("dead %v, %v", dead, err)
	}
	third.end()
	stranger.end()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder stays: %v", err)
	}
}

// A process that is started again has the leases of its forerunner at once, and nobody
// else's.
func TestLeasesOfTheDeadAreInherited(t *testing.T) {
	startShell(t)
	t.Setenv("TMPDIR", t.TempDir())
	ctx := stacktest.Context(t)
	err := withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
		c, err := readConfig()
		if err != nil {
			return err
		}
		g := &Gateway{Config: c, Log: slog.New(slog.DiscardHandler), db: db}
		host := hostOf(g.instance())
		vendor := message.NewID()
		for slot, name := range []string{host + "-1-dead", host + "-2-lives"} {
			l := &life{folder: c.lifeFolder()}
			if err := l.show(name); err != nil {
				return err
			}
			defer l.end()
			if slot == 0 {
				_ = l.file.Close()
			}
			hold := []message.VendorLease{{VendorID: vendor, Slot: slot, Of: 2}}
			if _, err := db.VendorBeat(ctx, message.VendorBeat{Instance: name, Hold: hold, Lease: time.Hour}); err != nil {
				return err
			}
		}
		g.inherit(ctx)
		g.life.end()
		leases, _, err := db.VendorLeases(ctx, time.Hour)
		if want := []message.VendorLease{{VendorID: vendor, Slot: 1, Instance: host + "-2-lives", Of: 2}}; !slices.Equal(leases, want) {
			t.Errorf("leases %v, want %v", leases, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What others may write to is not believed.
func TestLifeInAFolderOfOthers(t *testing.T) {
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	l := &life{folder: folder}
	if err := l.show("host-1-first"); err == nil {
		t.Error("it is believed")
	}
	l.end()
}
