package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// oldestPostgres is the lowest major version that the schema is written for. deploy/install.sh knows
// the same number.
const oldestPostgres = 15

// ErrNoPostgres says that no server of a usable version was found.
var ErrNoPostgres = fmt.Errorf("no Postgres server %d or newer found: run deploy/install.sh, or put initdb and postgres in PATH", oldestPostgres)

// programFolders are where packagers put the server's programs, which they keep out of PATH: Debian
// and Ubuntu, the Postgres project's RPMs, Alpine, Homebrew on both kinds of Mac.
var programFolders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
}

// programs are one installation's.
type programs struct {
	initdb, postgres string
	major            int
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// findPrograms returns the installation of the given major version, or for 0 the one in PATH if it is
// new enough, else the newest.
func findPrograms(ctx context.Context, major int) (programs, error) {
	var best programs
	for _, folder := range candidateFolders() {
		found, err := inspect(ctx, folder)
		if err != nil {
			return programs{}, err
		}
		switch {
		case found.major == 0:
		case found.major == major:
			return found, nil
		case major != 0 || found.major < oldestPostgres:
			best.major = max(best.major, found.major) // for the message below
		case folder == pathFolder():
			return found, nil
		case found.major > best.major:
			best = found
		}
	}
	switch {
	case major != 0 && best.major != 0:
		return programs{}, fmt.Errorf("postgres: the cluster was made by version %d, and here is version %d, which cannot read it: "+
			"install version %d, or remove the cluster to start afresh (make clean)", major, best.major, major)
	case best.postgres == "":
		return programs{}, ErrNoPostgres
	}
	return best, nil
}

func candidateFolders() []string {
	var folders []string
	if folder := pathFolder(); folder != "" {
		folders = append(folders, folder)
	}
	for _, pattern := range programFolders {
		matches, _ := filepath.Glob(pattern) // the patterns are well-formed
		folders = append(folders, matches...)
	}
	return folders
}

// pathFolder is the folder of the postgres in PATH, empty if there is none.
func pathFolder() string {
	path, err := exec.LookPath("postgres")
	if err != nil {
		return ""
	}
	return filepath.Dir(path)
}

// inspect returns the zero value for a folder without a server.
func inspect(ctx context.Context, folder string) (programs, error) {
	found := programs{initdb: filepath.Join(folder, "initdb"), postgres: filepath.Join(folder, "postgres")}
	for _, path := range []string{found.initdb, found.postgres} {
		if _, err := exec.LookPath(path); err != nil {
			return programs{}, nil
		}
	}
	out, err := exec.CommandContext(ctx, found.postgres, "--version").Output()
	if err != nil {
		return programs{}, ctx.Err() // a program that does not run is no server; a cancelled look is an error
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return programs{}, nil
	}
	found.major, err = strconv.Atoi(string(match[1]))
	return found, err
}

// clusterMajor is the version that made the cluster, 0 when there is no cluster.
func clusterMajor(data string) (int, error) {
	body, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if entries, err := os.ReadDir(data); err == nil && len(entries) > 0 {
			return 0, fmt.Errorf("postgres: %s is not empty and not a cluster: remove it", data)
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("postgres: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0, fmt.Errorf("postgres: %s/PG_VERSION: %w", data, err)
	}
	return major, nil
}

// isPostmaster reports whether that process is a Postgres server on that folder.
func isPostmaster(pid int, data string) bool {
	if pid == 0 {
		return false
	}
	if runtime.GOOS != "linux" { // launch names the folder in the command line
		out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
		return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), " -D "+data+" ")
	}
	process := filepath.Join("/proc", strconv.Itoa(pid))
	program, err1 := os.Readlink(filepath.Join(process, "exe"))
	folder, err2 := os.Readlink(filepath.Join(process, "cwd"))
	data, err3 := filepath.EvalSymlinks(data)
	return errors.Join(err1, err2, err3) == nil && folder == data && strings.HasPrefix(filepath.Base(program), "postgres")
}
