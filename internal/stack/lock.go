package stack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a waiting lock looks again. flock has no wait that a context could end.
const lockPoll = 100 * time.Millisecond

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// TryLock takes the file's lock, making the file and its folder if need be, or returns ErrLocked. The
// lock is advisory, is held until the returned file is closed, and the kernel drops it when the process
// dies. The file itself stays: removing it would let two processes hold locks on two files of one name.
func TryLock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return file, nil
}

// waitLock takes the file's lock, waiting as long as ctx allows. It calls waiting once before it
// waits, and not at all when the lock is free.
func waitLock(ctx context.Context, path string, waiting func()) (*os.File, error) {
	file, err := TryLock(path)
	if !errors.Is(err, ErrLocked) {
		return file, err
	}
	waiting()
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		if file, err = TryLock(path); !errors.Is(err, ErrLocked) {
			return file, err
		}
	}
}
