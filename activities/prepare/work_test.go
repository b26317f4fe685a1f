package prepare

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestClear(t *testing.T) {
	base := t.TempDir()
	held, release, err := workFolder(base)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(base, WorkName+"killed")
	if err := os.MkdirAll(filepath.Join(left, "job-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(base, "another-program")
	file := filepath.Join(base, WorkName+"file") // no folder of ours
	for _, err := range []error{os.Mkdir(other, 0o700), os.WriteFile(file, nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := Clear(base); n != 1 {
		t.Errorf("%d folders removed, want the one that is nobody's", n)
	}
	for path, there := range map[string]bool{held: true, left: false, other: true, file: true} {
		if _, err := os.Stat(path); (err == nil) != there {
			t.Errorf("%s is there: %v", filepath.Base(path), err == nil)
		}
	}
	release()
	if _, err := os.Stat(held); err == nil {
		t.Error("a folder stays after its run")
	}
}

// Runs begin while others clear: each has a folder that stays.
func TestClearTakesNoFolderFromARun(t *testing.T) {
	base := t.TempDir()
	stop := make(chan struct{})
	var clearing, working sync.WaitGroup
	for range 2 {
		clearing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					Clear(base)
				}
			}
		})
	}
	for range 4 {
		working.Go(func() {
			for range 200 {
				dir, release, err := workFolder(base)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(dir, "in-1"), nil, 0o600); err != nil {
					t.Error(err)
				}
				release()
			}
		})
	}
	working.Wait()
	close(stop)
	clearing.Wait()
}
