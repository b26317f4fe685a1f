package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	loopback = "127.0.0.1"
	lockFile = "postmaster.pid" // Postgres's own, in the data folder
	// superuser owns the cluster and everything in it.
	superuser = "postgres"
	// readyPoll is how often a start looks whether its part is ready; both parts say so in a file.
	readyPoll = 20 * time.Millisecond
	// leavePatience is how long a start waits for what an earlier, killed run left behind: its
	// postmaster, which the kernel told to stop, or the backends of a killed postmaster.
	leavePatience = 15 * time.Second
)

// PostgresConfig says where a private cluster lives. Dir is required.
type PostgresConfig struct {
	// Dir holds the cluster, its log, its socket and its password, and is made when missing. One
	// cluster at a time runs on it. It outlives Stop; RemovePostgres removes it.
	Dir string
	// Env is added to the server's environment, as name=value. The caller's own is left out; see
	// postgresEnv.
	Env []string
	// Log receives sentences for the person who waits ("creating a Postgres cluster in …"). Nil
	// drops them. The server's own log is Dir/postgres.log.
	Log io.Writer
	// Port is the TCP port on 127.0.0.1. Zero takes a free one, which Restart keeps.
	Port int
	// Settings are added to Postgres's configuration, and win over what this package chooses.
	Settings map[string]string
	// Throwaway is for tests whose data nobody will miss: nothing is synced to disk, and local
	// connections need no password. What was committed still survives a kill of Postgres, though not
	// of the machine. The choice belongs to the cluster: do not change it for an existing Dir.
	Throwaway bool
}

// PostgresServer is what a client needs to know of a server.
type PostgresServer struct {
	Host     string // a name, an address or the folder of a Unix socket
	Password string // empty when the server asks for none
	Port     int
	User     string
}

// Postgres is a private cluster, running or stopped. Its methods are safe for concurrent use, but
// Stop, Kill and Restart wait for each other.
type Postgres struct {
	cfg      PostgresConfig
	home     string // Dir, or the folder that stands in for it; see placeHome
	password string
	programs programs
	runAs    *account // nil: as this process's own user

	mu   sync.Mutex // serialises starts and stops
	proc *Process
}

// StartPostgres creates the cluster if Dir has none and starts it on 127.0.0.1 and on a Unix socket.
// It returns when connections are accepted, or when ctx ends. Started by root it runs as the user
// postgres or nobody, since Postgres refuses root. ErrNoPostgres is returned when none is installed;
// a cluster made by another major version, and one that is in use, are errors that say what to do.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	if cfg.Dir == "" {
		return nil, errors.New("postgres: the configuration names no Dir")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	cfg.Dir = dir
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	p := &Postgres{cfg: cfg}
	if p.runAs, err = unprivileged(); err != nil {
		return nil, err
	}
	if p.home, err = placeHome(dir, p.runAs, cfg.Log); err != nil {
		return nil, err
	}
	made, err := clusterMajor(p.data())
	if err != nil {
		return nil, err
	}
	if p.programs, err = findPrograms(ctx, made); err != nil {
		return nil, err
	}
	if made == 0 {
		err = p.create(ctx)
	} else if !cfg.Throwaway {
		p.password, err = readPassword(p.passwordFile())
	}
	if err != nil {
		return nil, err
	}
	if cfg.Port == 0 {
		if p.cfg.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Postgres) data() string         { return filepath.Join(p.home, "data") }
func (p *Postgres) sockets() string      { return filepath.Join(p.home, "socket") }
func (p *Postgres) passwordFile() string { return filepath.Join(p.home, "password") }
func (p *Postgres) configFile() string   { return filepath.Join(p.home, "postgresql.conf") }
func (p *Postgres) hbaFile() string      { return filepath.Join(p.home, "pg_hba.conf") }

// LogFile is the server's log.
func (p *Postgres) LogFile() string { return filepath.Join(p.home, "postgres.log") }

// Port is the TCP port on 127.0.0.1; a Restart keeps it.
func (p *Postgres) Port() int { return p.cfg.Port }

// Server is what a client needs. Its Host is the folder of the Unix socket, over which a statement
// costs less than over TCP, or 127.0.0.1 where the socket's path would be longer than an address may be.
func (p *Postgres) Server() PostgresServer {
	s := PostgresServer{Host: loopback, Password: p.password, Port: p.cfg.Port, User: superuser}
	if dir := p.socketDir(); dir != "" {
		s.Host = dir
	}
	return s
}

// DSN is the URL of a database over TCP. It contains the password.
func (p *Postgres) DSN(database string) string {
	s := p.Server()
	s.Host = loopback
	return s.DSN(database)
}

// DSN is the URL of a database, without TLS. It contains the password.
func (s PostgresServer) DSN(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(s.User, s.Password),
		Host: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	if s.Password == "" {
		u.User = url.User(s.User)
	}
	if filepath.IsAbs(s.Host) {
		u.Host, u.RawQuery = "", url.Values{"host": {s.Host}, "port": {strconv.Itoa(s.Port)}, "sslmode": {"disable"}}.Encode()
	}
	return u.String()
}

// CreateDatabase makes a database of that name unless there is one.
func (p *Postgres) CreateDatabase(ctx context.Context, name string) error {
	return p.Server().CreateDatabase(ctx, name)
}

// CreateDatabase makes a database of that name unless there is one. The user must be allowed to, and
// able to connect to the database postgres.
func (s PostgresServer) CreateDatabase(ctx context.Context, name string) error {
	return s.exec(ctx, "create database "+pgx.Identifier{name}.Sanitize(), "42P04") // duplicate_database
}

// CloneDatabase makes a database as a copy of another one, to which nobody may be connected.
func (p *Postgres) CloneDatabase(ctx context.Context, name, template string) error {
	return p.Server().exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()+
		" template "+pgx.Identifier{template}.Sanitize(), "")
}

// DropDatabase removes a database if it exists, cutting off who is connected to it.
func (p *Postgres) DropDatabase(ctx context.Context, name string) error {
	return p.Server().exec(ctx, "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)", "")
}

// exec runs one statement in the database postgres; an error with the given SQLSTATE is none.
func (s PostgresServer) exec(ctx context.Context, statement, tolerated string) error {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	_, err = conn.Exec(ctx, statement)
	var refusal interface{ SQLState() string }
	if errors.As(err, &refusal) && refusal.SQLState() == tolerated {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("postgres: %s: %w", statement, err)
	}
	return errors.Join(err, conn.Close(ctx))
}

// Done is closed when the server that runs now has ended, for whatever reason. After a Restart, ask
// again.
func (p *Postgres) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc.Done()
}

// Stop ends the server cleanly, cutting its clients off (a fast shutdown). When ctx ends first, it is
// killed, which loses nothing but makes the next start recover. Stopping twice does nothing.
func (p *Postgres) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc.stopWith(ctx, syscall.SIGINT)
}

// StopImmediate ends the server without a checkpoint; the next start recovers from the log. It is the
// quickest end that leaves no backend behind.
func (p *Postgres) StopImmediate(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc.stopWith(ctx, syscall.SIGQUIT)
}

// Kill sends SIGKILL to the postmaster, as the kernel does when memory runs out. Backends notice and
// end by themselves, some moments later.
func (p *Postgres) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc.Kill()
}

// Restart starts the server again on the same port and data, after stopping it if it runs. It returns
// when connections are accepted, after recovery if there is something to recover.
func (p *Postgres) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.proc.stopWith(ctx, syscall.SIGINT); err != nil {
		return err
	}
	return p.start(ctx)
}

// start runs the postmaster and waits for it. A killed one may have left backends that still hold the
// shared memory; Postgres refuses to start beside them, so start tries again until they are gone.
func (p *Postgres) start(ctx context.Context) error {
	if err := p.clearStale(ctx); err != nil {
		return err
	}
	if err := p.configure(ctx); err != nil {
		return err
	}
	deadline := time.Now().Add(leavePatience)
	for tries := 0; ; tries++ {
		err := p.launch(ctx)
		if err == nil || !strings.Contains(err.Error(), "shared memory block") || time.Now().After(deadline) {
			return err
		}
		if tries == 0 {
			fmt.Fprintln(p.cfg.Log, "waiting for what a killed Postgres left behind to end")
		}
		if err := pause(ctx, 10*readyPoll); err != nil {
			return err
		}
	}
}

func (p *Postgres) launch(ctx context.Context) error {
	death := syscall.SIGINT
	if p.cfg.Throwaway {
		death = syscall.SIGQUIT
	}
	proc, err := StartProcess(ProcessConfig{
		Args:       []string{"-D", p.data(), "-c", "config_file=" + p.configFile()},
		Credential: p.runAs.credential(), DeathSignal: death, Dir: p.data(), Env: append(postgresEnv(), p.cfg.Env...),
		LogFile: p.LogFile(), Name: "postgres", Path: p.programs.postgres,
	})
	if err != nil {
		return err
	}
	p.proc = proc
	for {
		if p.announcedReady(proc.PID()) {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("postgres ended while starting (log: %s):\n%s", p.LogFile(), proc.LogTail())
		default:
		}
		if err := pause(ctx, readyPoll); err != nil {
			return errors.Join(fmt.Errorf("postgres was not ready in time (log: %s): %w", p.LogFile(), err), proc.Kill())
		}
	}
}

// announcedReady reads postmaster.pid, in which Postgres keeps its state: the first line is the
// process id, the eighth "ready" once connections are accepted (src/include/utils/pidfile.h).
func (p *Postgres) announcedReady(pid int) bool {
	body, err := os.ReadFile(filepath.Join(p.data(), lockFile))
	if err != nil {
		return false
	}
	lines := strings.Split(string(body), "\n")
	return len(lines) > 7 && strings.TrimSpace(lines[0]) == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}

// clearStale removes the lock of a postmaster that is gone. Postgres does it itself unless the process
// id was given to somebody else since, as happens after a reboot and in containers. A postmaster that
// is really there may be on its way out, because its parent was killed; start waits for that.
func (p *Postgres) clearStale(ctx context.Context) error {
	path := filepath.Join(p.data(), lockFile)
	deadline := time.Now().Add(leavePatience)
	for tries := 0; ; tries++ {
		pid, err := lockedBy(p.data())
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
		if !isPostmaster(pid, p.data()) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("postgres: %w", err)
			}
			return nil
		}
		if tries == 1 { // the usual one is gone by now
			fmt.Fprintf(p.cfg.Log, "waiting for the Postgres of an earlier run (process %d) to end\n", pid)
		}
		if time.Now().After(deadline) || pause(ctx, readyPoll) != nil {
			return fmt.Errorf("postgres: another one (process %d) runs on %s: stop what started it first", pid, p.cfg.Dir)
		}
	}
}

// lockedBy is the process id in the data folder's lock file, 0 if the file has none.
func lockedBy(data string) (int, error) {
	body, err := os.ReadFile(filepath.Join(data, lockFile))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(body), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid < 0 { // negative: a single-user server, which nothing here starts
		return 0, nil
	}
	return pid, nil
}

// pause waits, and returns ctx's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
