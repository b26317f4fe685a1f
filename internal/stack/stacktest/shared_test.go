package stacktest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/postrider/postrider/internal/stack"
)

// What a killed test binary left goes; what a running one uses, or is about to, stays.
func TestRemoveAbandoned(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	used, new, abandoned := filepath.Join(os.TempDir(), folderPrefix+"used"), filepath.Join(os.TempDir(), folderPrefix+"new"), filepath.Join(os.TempDir(), folderPrefix+"abandoned")
	for _, dir := range []string{used, new, abandoned} {
		if err := os.MkdirAll(filepath.Join(dir, "postgres"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{used, abandoned} {
		held, err := lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if dir == abandoned {
			err = held.Close()
		} else {
			defer held.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	removeAbandoned()
	for dir, stays := range map[string]bool{used: true, new: true, abandoned: false} {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) == stays {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestTemporalIsShared(t *testing.T) {
	t.Parallel()
	servers := make(chan *stack.Temporal, 2)
	for range cap(servers) {
		t.Run("user", func(t *testing.T) { servers <- Temporal(t) })
	}
	if first, second := <-servers, <-servers; first != second {
		t.Error("two tests got two servers")
	}
}

// A test's own servers and programs end with the test.
func TestOwnPartsEnd(t *testing.T) {
	t.Parallel()
	var pg *stack.Postgres
	var process *stack.Process
	var dir string
	t.Run("owner", func(t *testing.T) {
		dir = Folder(t)
		pg = StartPostgres(t, stack.PostgresConfig{Dir: dir, Throwaway: true})
		process = StartProcess(t, stack.ProcessConfig{Path: "sleep", Args: []string{"1000"}})
	})
	<-pg.Done()
	<-process.Done()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the test's folder is still there: %v", err)
	}
}
