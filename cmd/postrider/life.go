package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// life shows the other processes of this machine that this one lives: a file that is
// named for its instance and locked. The kernel drops the lock with the process and its
// connections, however it ends; the file stays then, and names the dead.
type life struct {
	folder, instance string
	file             *os.File // nil: it is not shown
}

// lifeFolder is where the processes of this installation show that they live. Those of
// others, on the same machine, have other folders.
func (c Config) lifeFolder() string {
	name := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s\n%s", c.PostgresHost, c.PostgresPort, c.PostgresDB, c.PostgresUser))
	return filepath.Join(os.TempDir(), fmt.Sprintf("postrider-%d-%x", os.Getuid(), name[:4]))
}

// inherit shows that this process lives, and gives back the vendor leases of those that
// died without a word: a process that is started again need not wait for the end of its
// own. What goes wrong here costs that wait and no more.
func (g *Gateway) inherit(ctx context.Context) {
	g.life.folder = g.Config.lifeFolder()
	err := g.life.show(g.instance())
	if err == nil {
		short, cancel := context.WithTimeout(ctx, noteTimeout)
		defer cancel()
		err = g.life.bury(func(instance string) error {
			g.Log.Info("vendor leases of a process that died are given back", "instance", instance)
			return g.db.EndVendors(short, instance)
		})
	}
	if err != nil {
		g.Log.Warn("vendor leases of a process that died cannot be given back; they end by themselves", "error", err)
	}
}

func (l *life) show(instance string) error {
	l.instance = instance
	if err := os.MkdirAll(l.folder, 0o700); err != nil {
		return err
	}
	// Whoever may write there could name one that lives.
	info, err := os.Lstat(l.folder)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(owner.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a folder of ours alone", l.folder)
	}
	hidden := filepath.Join(l.folder, "."+instance)
	file, err := os.OpenFile(hidden, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	// It gets its name once it is locked: without the lock it would name a dead one.
	if err = lock(file); err == nil {
		err = os.Rename(hidden, filepath.Join(l.folder, instance))
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	l.file = file
	return nil
}

// bury calls end for every instance of this machine that has died, until it succeeds. A
// folder that machines share may not share its locks.
func (l *life) bury(end func(instance string) error) error {
	files, err := os.ReadDir(l.folder)
	var faults []error
	for _, f := range files {
		if hostOf(f.Name()) == hostOf(l.instance) {
			faults = append(faults, buryOne(filepath.Join(l.folder, f.Name()), end))
		}
	}
	return errors.Join(append(faults, err)...)
}

func buryOne(path string, end func(instance string) error) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another has been here
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := lock(file); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil // it lives
		}
		return err
	}
	if err := end(filepath.Base(path)); err != nil {
		return err
	}
	return os.Remove(path)
}

// end takes the process out, which has given everything back.
func (l *life) end() {
	if l.file == nil {
		return
	}
	_ = os.Remove(filepath.Join(l.folder, l.instance))
	_ = l.file.Close()
	_ = os.Remove(l.folder) // the last one does
}

// hostOf is the machine of an instance, as Gateway.instance names it. A hidden file is of
// none.
func hostOf(instance string) string {
	for range 2 { // the process and its start
		instance = instance[:max(0, strings.LastIndexByte(instance, '-'))]
	}
	return instance
}

func lock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
