package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

const (
	// elsewhere is where a cluster goes that its user cannot reach in Dir. Unlike /tmp it survives a
	// reboot.
	elsewhere = "/var/tmp"
	// locationFile in Dir names the folder that stands in for it, for `make clean` and for people.
	locationFile = "location"
)

// account is the user that Postgres runs as when this process is root.
type account struct {
	name     string
	uid, gid uint32
}

// credential is nil for the own user.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own gives a file or folder to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// unprivileged is the account that stands in for root, nil when this process is not root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("postgres does not run as root, and there is no user postgres or nobody to run it: add one, or start this as another user")
}

// placeHome returns the folder in which the cluster lives: dir, or one in /var/tmp when a folder above
// dir is closed to the account (a checkout under /root). Its name depends on dir alone, so the next
// start finds it again.
func placeHome(dir string, runAs *account, log io.Writer) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	if runAs == nil || canEnter(dir, runAs) {
		return dir, nil
	}
	sum := sha256.Sum256([]byte(dir))
	home := filepath.Join(elsewhere, "postrider-"+hex.EncodeToString(sum[:6]))
	if err := os.Mkdir(home, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("postgres: %w", err)
	}
	// Anybody may make folders there, and a foreign one could have anything in it.
	info, err := os.Lstat(home)
	if err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || stat.Uid != uint32(os.Geteuid()) {
		return "", fmt.Errorf("postgres: %s is not a folder of this user: remove it", home)
	}
	if !canEnter(home, runAs) {
		return "", fmt.Errorf("postgres: the user %s can enter neither %s nor %s: choose a folder that it can enter", runAs.name, dir, home)
	}
	pointer := filepath.Join(dir, locationFile)
	if old, err := os.ReadFile(pointer); err == nil && strings.TrimSpace(string(old)) == home {
		return home, nil
	}
	fmt.Fprintf(log, "Postgres does not run as root, and its user %s cannot enter %s: its files are in %s\n", runAs.name, dir, home)
	if err := os.WriteFile(pointer, []byte(home+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	return home, nil
}

// canEnter asks the kernel, by running a program as that user in that folder, since modes alone do not
// tell (ACLs, mounts).
func canEnter(dir string, runAs *account) bool {
	cmd := exec.Command("/bin/sh", "-c", ":")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: runAs.credential()}
	return cmd.Run() == nil
}

// RemovePostgres removes what StartPostgres made for dir, wherever it is. It refuses while the cluster
// runs. Removing what is not there is no error.
func RemovePostgres(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	pointer, err := os.ReadFile(filepath.Join(dir, locationFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The pointer is a file like any other: only what looks like ours is removed.
	homes := []string{dir}
	if home := strings.TrimSpace(string(pointer)); filepath.Dir(home) == elsewhere && strings.HasPrefix(filepath.Base(home), "postrider-") {
		homes = []string{home, dir}
	}
	for _, home := range homes {
		data := filepath.Join(home, "data")
		if pid, err := lockedBy(data); err == nil && isPostmaster(pid, data) {
			return fmt.Errorf("postgres runs on %s (process %d): stop what started it first", dir, pid)
		}
		if err := os.RemoveAll(home); err != nil {
			return err
		}
	}
	return nil
}

// create makes the cluster. initdb works in a folder of another name, so that an interrupted one
// leaves nothing that looks like a cluster.
func (p *Postgres) create(ctx context.Context) error {
	if !p.cfg.Throwaway {
		fmt.Fprintf(p.cfg.Log, "creating a Postgres %d cluster in %s\n", p.programs.major, p.home)
	}
	unfinished := p.data() + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := p.makeOwned(unfinished); err != nil {
		return err
	}
	// lc_ctype decides what upper and lower know beyond ASCII; sorting stays by bytes, which is fast
	// and the same everywhere. Only Linux is certain to have a C.UTF-8.
	args := []string{"-D", unfinished, "-U", superuser, "-E", "UTF8", "--locale=C", "-k", "-N"}
	if runtime.GOOS == "linux" {
		args = append(args, "--lc-ctype=C.UTF-8")
	}
	if p.cfg.Throwaway {
		args = append(args, "-A", "trust")
	} else {
		secret, err := p.choosePassword()
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(secret) }()
		args = append(args, "-A", "scram-sha-256", "--pwfile", secret)
	}
	cmd := exec.CommandContext(ctx, p.programs.initdb, args...)
	cmd.Dir, cmd.Env = unfinished, postgresEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.runAs.credential(), Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
	}
	if err := os.Rename(unfinished, p.data()); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

// makeOwned makes a folder that belongs to Postgres's user, closed to others.
func (p *Postgres) makeOwned(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := p.runAs.own(path); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

// choosePassword stores a new random password for later starts, and again in a file that initdb's
// user may read, whose path it returns.
func (p *Postgres) choosePassword() (path string, err error) {
	p.password = rand.Text()
	if err := os.WriteFile(p.passwordFile(), []byte(p.password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	file, err := os.CreateTemp(p.home, "initdb-*")
	if err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	_, err = file.WriteString(p.password + "\n")
	if err = errors.Join(err, p.runAs.own(file.Name()), file.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("postgres: %w", err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}

func readPassword(path string) (string, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("postgres: the cluster's password is unknown: %w", err)
	}
	return strings.TrimSpace(string(body)), nil
}
