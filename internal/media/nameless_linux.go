package media

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nameless opens a file in dir that never has a name, so that a process that is killed
// leaves nothing. False: the file system of dir knows none.
func nameless(dir string) (*os.File, bool, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		return nil, false, nil
	}
	return f, true, err
}
