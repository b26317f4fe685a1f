package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

const (
	// diskSize is room for what a run stores. The image is sparse: it takes what is used.
	diskSize = 8 << 30
	// mediaDiskSize is likewise of what the MMS of a run are: some ten kilobytes each.
	mediaDiskSize = 2 << 30
	// trialSize is of the disk that says whether there can be one.
	trialSize = 16 << 20
)

// Disk is a file system of its own in a file of the machine's, which can be filled
// without filling the machine's. Its methods are not safe for concurrent use.
type Disk struct {
	Dir    string // where it is mounted
	image  string
	filler string
}

// missingDisk says what this machine lacks for a Disk; it tries once.
var missingDisk = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "postrider-disk-")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d, err := mountDisk(context.Background(), dir, trialSize)
	if err == nil {
		err = errors.Join(d.Fill(), d.Free())
		err = errors.Join(err, d.Close())
	}
	if err != nil {
		return "no file system of its own can be mounted here: " + err.Error()
	}
	return ""
})

// mountDisk makes an empty file system of that many octets and mounts it in dir/disk,
// which only root may. One that a killed run left there goes first.
func mountDisk(ctx context.Context, dir string, size int64) (*Disk, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may")
	}
	d := &Disk{Dir: filepath.Join(dir, "disk"), image: filepath.Join(dir, "disk.img")}
	d.filler = filepath.Join(d.Dir, "filler")
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := unmountDisk(dir); err != nil {
		return nil, err
	}
	file, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		return nil, err
	}
	// Root has no blocks of its own on it (-m 0): Fill leaves nothing to anybody.
	if err := run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", d.image); err != nil {
		return nil, err
	}
	if err := run(ctx, "mount", "-o", "loop", d.image, d.Dir); err != nil {
		return nil, err
	}
	return d, nil
}

// unmountDisk takes away what mountDisk mounted in dir, if it is there.
func unmountDisk(dir string) error {
	d := Disk{Dir: filepath.Join(dir, "disk"), image: filepath.Join(dir, "disk.img")}
	var here, above syscall.Stat_t
	if syscall.Stat(d.Dir, &here) != nil || syscall.Stat(dir, &above) != nil || here.Dev == above.Dev {
		return nil
	}
	return d.Close()
}

// Fill leaves no free block. Calling it again fills what was freed meanwhile.
func (d *Disk) Fill() error {
	file, err := os.OpenFile(d.filler, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	// Blocks are reserved, not written. Others write meanwhile, so the free space is asked
	// for again after each; the rest is for the map of the filler's own blocks.
	at := info.Size()
	for {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(d.Dir, &fs); err != nil {
			return errors.Join(fmt.Errorf("statfs %s: %w", d.Dir, err), file.Close())
		}
		size := int64(fs.Bfree) * fs.Bsize
		for size >= fs.Bsize {
			err = syscall.Fallocate(int(file.Fd()), 0, at, size)
			if !errors.Is(err, syscall.ENOSPC) {
				break
			}
			size /= 2
		}
		switch {
		case size < fs.Bsize:
			return file.Close()
		case err != nil:
			return errors.Join(fmt.Errorf("fill %s: %w", d.Dir, err), file.Close())
		}
		at += size
	}
}

// Free undoes Fill. Freeing what is not full does nothing.
func (d *Disk) Free() error {
	if err := os.Remove(d.filler); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// Close unmounts it, and removes its image. Who used it must have ended.
func (d *Disk) Close() error {
	if err := run(context.Background(), "umount", d.Dir); err != nil {
		return err
	}
	return os.Remove(d.image)
}

// run runs a program; its error has what the program said.
func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}
