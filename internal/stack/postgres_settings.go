package stack

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// commonSettings suit a machine that also holds everything else. They are sized for 2 cores and 4 GB,
// the smallest on which the README's figures were taken.
var commonSettings = map[string]string{
	"listen_addresses": loopback,
	// 50 for Temporal, the gateway's pools per role, the bench, and people with psql.
	"max_connections": "200",
	"jit":             "off", // statements here are short; compiling one costs more than running it
	"timezone":        "UTC",
	"log_timezone":    "UTC",
	"lc_messages":     "C", // start reads the log
	// Text and telephone numbers must not reach the log: no details of rows, no parameters.
	"log_error_verbosity":               "terse",
	"log_parameter_max_length":          "0",
	"log_parameter_max_length_on_error": "0",
	"log_checkpoints":                   "off",
	"log_line_prefix":                   "%m [%p] %d ",
}

// durableSettings are for data that matters.
var durableSettings = map[string]string{
	"synchronous_commit":           "on", // the durability contract
	"shared_buffers":               "256MB",
	"effective_cache_size":         "1GB",
	"random_page_cost":             "1.1", // SSDs
	"max_wal_size":                 "2GB", // rare checkpoints, so that fewer whole pages are logged
	"checkpoint_completion_target": "0.9",
	// The hot tables (Temporal's tasks, the journal's attempts) turn over their whole content in
	// minutes; at the default of 20 % dead rows their indexes would be mostly dead entries.
	// Each look costs a process for each database, whether or not there is work: every 10 s it was a
	// fifth of what Postgres used; see docs/tuning.md.
	"autovacuum_naptime":                    "30s",
	"autovacuum_vacuum_scale_factor":        "0.05",
	"autovacuum_vacuum_insert_scale_factor": "0.1",
	"autovacuum_analyze_scale_factor":       "0.05",
	"autovacuum_vacuum_cost_limit":          "1000",
}

// throwawaySettings are for data that does not: as little disk and memory as possible.
var throwawaySettings = map[string]string{
	"fsync":            "off",
	"full_page_writes": "off",
	"shared_buffers":   "64MB",
	"max_wal_size":     "256MB",
	"min_wal_size":     "32MB",
}

// configure writes the server's configuration. It lives beside the data folder, which belongs to
// another user when this process is root, and is written anew at each start; ALTER SYSTEM wins over it.
func (p *Postgres) configure(ctx context.Context) error {
	settings := maps.Clone(commonSettings)
	kind, method := durableSettings, "scram-sha-256"
	if p.cfg.Throwaway {
		kind, method = throwawaySettings, "trust"
	}
	maps.Copy(settings, kind)
	settings["hba_file"] = p.hbaFile()
	settings["port"] = strconv.Itoa(p.cfg.Port)
	settings["unix_socket_directories"] = p.socketDir()
	maps.Copy(settings, p.cfg.Settings)

	hba := fmt.Sprintf("# Written at each start.\nlocal all all %[1]s\nhost all all %[2]s/32 %[1]s\n", method, loopback)
	if err := p.makeOwned(p.sockets()); err != nil {
		return err
	}
	if err := os.Chmod(p.sockets(), 0o755); err != nil { // the server's own user is not the only client
		return fmt.Errorf("postgres: %w", err)
	}
	if err := os.WriteFile(p.hbaFile(), []byte(hba), 0o644); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := p.writeSettings(settings); err != nil || p.cfg.Throwaway {
		return err
	}
	if _, chosen := settings["wal_compression"]; chosen {
		return nil
	}
	settings["wal_compression"] = "on"
	if p.supports(ctx, "wal_compression", "lz4") { // a fraction of the CPU, but a build option
		settings["wal_compression"] = "lz4"
	}
	return p.writeSettings(settings)
}

func (p *Postgres) writeSettings(settings map[string]string) error {
	var b strings.Builder
	b.WriteString("# Written at each start. ALTER SYSTEM overrides it.\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	if err := os.WriteFile(p.configFile(), []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

// supports asks this build of the server whether a setting may have a value.
func (p *Postgres) supports(ctx context.Context, name, value string) bool {
	cmd := exec.CommandContext(ctx, p.programs.postgres, "-D", p.data(), "-c", "config_file="+p.configFile(), "-c", name+"="+value, "-C", name)
	cmd.Dir, cmd.Env = p.data(), postgresEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.runAs.credential()}
	return cmd.Run() == nil
}

// socketDir is where the Unix socket is, empty for none. The longest address of a Unix socket is 103
// bytes on macOS and 107 on Linux, and the kernel takes no longer one.
func (p *Postgres) socketDir() string {
	const longest = 103
	if len(filepath.Join(p.sockets(), ".s.PGSQL.65535")) > longest {
		return ""
	}
	return p.sockets()
}

// postgresEnv is the environment of the server's programs. The caller's is left out: PGPORT, PGDATA
// or a locale that this machine does not have would change what they do.
func postgresEnv() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "TMPDIR", "LD_LIBRARY_PATH"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}
