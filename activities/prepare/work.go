package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// WorkName begins the names of the folders in which files are worked on.
const WorkName = "postrider-media-"

// workStale is how old a folder must be that is taken for nobody's where folders cannot
// be locked: no run takes as long.
const workStale = 24 * time.Hour

// workFolder makes a folder for one run, which is locked for as long as the process lives
// or until release, which removes it. So others know a folder whose owner was killed.
func workFolder(base string) (dir string, release func(), err error) {
	for {
		if dir, err = os.MkdirTemp(base, WorkName); err != nil {
			return "", nil, err
		}
		f, err := os.Open(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // Clear was faster
		}
		if err != nil {
			return "", nil, errors.Join(err, os.RemoveAll(dir))
		}
		// Where the file system has no locks, age decides.
		_ = flock(f, syscall.LOCK_EX)
		mine, err := f.Stat()
		if now, gone := os.Stat(dir); err != nil || gone != nil || !os.SameFile(mine, now) {
			f.Close()
			continue // likewise, between the two
		}
		return dir, func() {
			_ = os.RemoveAll(dir)
			f.Close()
		}, nil
	}
}

// Clear removes the folders of runs whose process was killed, and gives how many.
func Clear(base string) (removed int) {
	dirs, _ := filepath.Glob(filepath.Join(base, WorkName+"*")) // the pattern is well formed
	for _, dir := range dirs {
		if abandoned(dir) {
			removed++
		}
	}
	return removed
}

// abandoned removes a folder if it is nobody's.
func abandoned(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.IsDir() {
		return false
	}
	switch err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return false // somebody works in it
	case err != nil && time.Since(info.ModTime()) < workStale:
		return false
	}
	return os.RemoveAll(dir) == nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}
