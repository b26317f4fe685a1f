package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postrider/postrider/internal/stack"
)

// mark is the file by which the suite knows a folder that it made: only such a one is
// removed.
const mark = "made-by-chaos"

// renewFolder makes an empty folder, and removes what an earlier run left in it.
func renewFolder(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, mark)); err == nil {
		if err := removeFolder(dir); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty, and the suite did not make it: choose another --dir", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, mark), nil, 0o644)
}

// removeFolder deletes a world's folder, and its Postgres cluster wherever that is.
func removeFolder(dir string) error {
	if err := errors.Join(unmountDisk(dir), unmountDisk(filepath.Join(dir, peerMedia))); err != nil { // a killed run's
		return err
	}
	return errors.Join(stack.RemovePostgres(filepath.Join(dir, "postgres")), os.RemoveAll(dir))
}
