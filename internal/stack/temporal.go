package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// TemporalConfig says how to run temporald, the server of deploy/temporal. Binary, Dir and Postgres are
// required; the zero values of the others work.
type TemporalConfig struct {
	// Args are further flags of temporald.
	Args []string
	// Binary is the program, as BuildTemporald returns it.
	Binary string
	// Dir holds its log and its ready file, and is made when missing.
	Dir string
	// Namespace is created by the server. Empty means temporald's own default, "postrider".
	Namespace string
	// Port is the gRPC port on 127.0.0.1. Zero takes a free one, which Restart keeps.
	Port int
	// Postgres is the server in which temporald makes its databases, temporal and temporal_visibility.
	Postgres PostgresServer
	// StatsPort serves temporald's counters on 127.0.0.1. Zero takes a free one, which Restart keeps.
	StatsPort int
	// UIPort is the Web UI's port on 127.0.0.1. Zero means no UI.
	UIPort int
}

// Temporal is an embedded Temporal server, running or stopped. Its methods are safe for concurrent use,
// but Stop, Kill and Restart wait for each other.
type Temporal struct {
	cfg TemporalConfig

	mu    sync.Mutex // serialises starts and stops
	proc  *Process
	ready readyFile
}

// readyFile is what temporald writes when it is up.
type readyFile struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace"`
	PID       int    `json:"pid"`
	Stats     string `json:"stats"`
	UI        string `json:"ui"`
}

// StartTemporal runs temporald and returns when clients may use it: 1 to 2 s, the first time on a
// Postgres 3 to 5 s. The error of one that ended instead has the end of its log.
func StartTemporal(ctx context.Context, cfg TemporalConfig) (*Temporal, error) {
	if cfg.Binary == "" || cfg.Dir == "" {
		return nil, errors.New("temporal: the configuration names no Binary or no Dir")
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("temporal: %w", err)
	}
	for _, port := range []*int{&cfg.Port, &cfg.StatsPort} {
		if *port != 0 {
			continue
		}
		free, err := FreePort()
		if err != nil {
			return nil, err
		}
		*port = free
	}
	t := &Temporal{cfg: cfg}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// Address is the frontend's host:port, for TEMPORAL_ADDRESS.
func (t *Temporal) Address() string { return net.JoinHostPort(loopback, strconv.Itoa(t.cfg.Port)) }

// Namespace is the namespace that the server created.
func (t *Temporal) Namespace() string { return t.state().Namespace }

// Stats is the base URL of the counters: /stats, /counters, /healthz.
func (t *Temporal) Stats() string { return t.state().Stats }

// UI is the Web UI's URL, empty without one.
func (t *Temporal) UI() string { return t.state().UI }

// LogFile is the server's log.
func (t *Temporal) LogFile() string { return filepath.Join(t.cfg.Dir, "temporald.log") }

// PID is the server's process id, since its last start.
func (t *Temporal) PID() int { return t.state().PID }

func (t *Temporal) state() readyFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ready
}

// Done is closed when the server that runs now has ended, for whatever reason. After a Restart, ask
// again.
func (t *Temporal) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.proc.Done()
}

// Stop ends the server, and kills it when ctx ends first. Both lose nothing. Stopping twice does
// nothing.
func (t *Temporal) Stop(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.proc.Stop(ctx)
}

// Kill ends the server with SIGKILL.
func (t *Temporal) Kill() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.proc.Kill()
}

// Restart starts the server again on the same ports, after stopping it if it runs, and returns when
// clients may use it.
func (t *Temporal) Restart(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.proc.Stop(ctx); err != nil {
		return err
	}
	return t.start(ctx)
}

func (t *Temporal) start(ctx context.Context) error {
	path := filepath.Join(t.cfg.Dir, "temporald.ready")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("temporal: %w", err)
	}
	proc, err := StartProcess(ProcessConfig{
		Args: t.args(path), Env: append(os.Environ(), "TEMPORALD_PG_PASSWORD="+t.cfg.Postgres.Password),
		LogFile: t.LogFile(), Name: "temporald", Path: t.cfg.Binary,
	})
	if err != nil {
		return err
	}
	t.proc = proc
	for {
		if state, ok := readReady(path); ok && state.PID == proc.PID() {
			t.ready = state
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("temporald ended while starting (log: %s):\n%s", t.LogFile(), proc.LogTail())
		default:
		}
		if err := pause(ctx, readyPoll); err != nil {
			return errors.Join(fmt.Errorf("temporald was not ready in time (log: %s): %w", t.LogFile(), err), proc.Kill())
		}
	}
}

func (t *Temporal) args(readyFile string) []string {
	args := []string{
		"--ip", loopback, "--port", strconv.Itoa(t.cfg.Port), "--ui-port", strconv.Itoa(t.cfg.UIPort),
		"--stats-addr", net.JoinHostPort(loopback, strconv.Itoa(t.cfg.StatsPort)), "--ready-file", readyFile,
		"--pg-host", t.cfg.Postgres.Host, "--pg-port", strconv.Itoa(t.cfg.Postgres.Port), "--pg-user", t.cfg.Postgres.User,
	}
	if t.cfg.Namespace != "" {
		args = append(args, "--namespace", t.cfg.Namespace)
	}
	return append(args, t.cfg.Args...)
}

// readReady reads the file that temporald renames into place, so it is never half there.
func readReady(path string) (state readyFile, ok bool) {
	body, err := os.ReadFile(path)
	if err != nil {
		return readyFile{}, false
	}
	err = json.Unmarshal(body, &state)
	return state, err == nil
}
