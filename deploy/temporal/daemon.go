package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite" // registers the SQLite store
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

// stopPatience is how long a stop may take before the process gives up on it. Nothing is lost then:
// an unfinished stop looks to the next start like a crash, which Postgres makes harmless.
const stopPatience = 10 * time.Second

// daemon is the running whole. start may fail at any step; stop undoes the steps that were done and
// may be called in every state, but once.
type daemon struct {
	opts   *options
	logger log.Logger
	stdout io.Writer

	stats    *statsServer
	profiles *http.Server
	server   temporal.Server
	ui       *uiserver.Server
}

// readiness is the content of the ready file and of the ready line.
type readiness struct {
	Address   string `json:"address"`
	UI        string `json:"ui"` // empty without a UI
	Stats     string `json:"stats"`
	Namespace string `json:"namespace"`
	PID       int    `json:"pid"`
}

// start brings everything up in the order of need and returns when a client may use all of it.
func (d *daemon) start(ctx context.Context) error {
	if err := d.removeReadyFile(); err != nil { // a stale one would tell a lie from now on
		return err
	}
	counts := &counters{namespace: d.opts.Namespace}
	state := readiness{Namespace: d.opts.Namespace, PID: os.Getpid()}
	var err error
	if d.opts.StatsAddr != "" {
		if d.stats, err = startStats(d.opts.StatsAddr, counts); err != nil {
			return fmt.Errorf("stats: %w", err)
		}
		state.Stats = "http://" + d.stats.addr
	}
	if d.opts.PprofPort != 0 {
		if d.profiles, err = startProfiles(d.opts.PprofPort); err != nil {
			return fmt.Errorf("profiles: %w", err)
		}
	}
	core, visibility, err := d.prepareStores(ctx)
	if err != nil {
		return err
	}
	if state.Address, err = d.startServer(core, visibility, counts); err != nil {
		return err
	}
	if err := d.settle(ctx, state.Address); err != nil {
		return err
	}
	if d.opts.UIPort != 0 {
		if d.ui, state.UI, err = startUI(ctx, d.opts, state.Address); err != nil {
			return err
		}
	}
	return d.announce(state)
}

// prepareStores makes databases, schemas and the namespace exist.
func (d *daemon) prepareStores(ctx context.Context) (core, visibility *config.SQL, err error) {
	if d.opts.SQLite {
		core = sqliteConfig(d.opts.SQLiteFile)
		visibility = core
		// In memory the plugin makes the schema itself; a new file needs it once.
		if _, statErr := os.Stat(d.opts.SQLiteFile); d.opts.SQLiteFile != "" && errors.Is(statErr, fs.ErrNotExist) {
			err = sqliteschema.SetupSchema(core)
		}
	} else {
		core = d.opts.Postgres.sqlConfig(d.opts.Postgres.Database, coreConns)
		visibility = d.opts.Postgres.sqlConfig(d.opts.Postgres.VisibilityDatabase, visibilityConns)
		err = d.opts.Postgres.prepare(ctx, d.logger)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := createNamespace(core, d.opts); err != nil {
		return nil, nil, fmt.Errorf("namespace %s: %w", d.opts.Namespace, err)
	}
	return core, visibility, ctx.Err()
}

// startServer runs the four roles and returns the frontend's address.
func (d *daemon) startServer(core, visibility *config.SQL, counts *counters) (string, error) {
	ports := choosePorts(d.opts)
	cfg := serverConfig(d.opts, ports, core, visibility)
	authorizer, err := authorization.GetAuthorizerFromConfig(&cfg.Global.Authorization)
	if err != nil {
		return "", err
	}
	claims, err := authorization.GetClaimMapperFromConfig(&cfg.Global.Authorization, d.logger)
	if err != nil {
		return "", err
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(ports.staticHosts(d.opts.IP)),
		temporal.WithLogger(d.logger),
		temporal.WithAuthorizer(authorizer),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return claims }),
		temporal.WithDynamicConfigClient(dynamicConfig(d.opts)),
		temporal.WithCustomMetricsHandler(metricsHandler{counters: counts}),
	)
	if err != nil {
		return "", fmt.Errorf("server: %w", err)
	}
	// NewServer replaces the number by the stored one and only warns. Going on would leave the
	// operator believing in a number that is not there.
	if stored := int(cfg.Persistence.NumHistoryShards); stored != d.opts.Shards {
		return "", fmt.Errorf("the database was made with %d shards, which cannot change: start with --shards %d", stored, stored)
	}
	d.server = server
	if err := server.Start(); err != nil {
		return "", fmt.Errorf("server: %w", err)
	}
	return cfg.PublicClient.HostPort, nil
}

// settle brings the namespace to what was declared and, on Postgres, the visibility indexes to what
// the namespaces use.
func (d *daemon) settle(ctx context.Context, frontend string) error {
	c, err := client.DialContext(ctx, client.Options{
		HostPort:  frontend,
		Namespace: d.opts.Namespace,
		Logger:    log.NewSdkLogger(d.logger),
	})
	if err != nil {
		return fmt.Errorf("frontend: %w", err)
	}
	defer c.Close()
	if err := syncNamespace(ctx, c.WorkflowService(), d.opts); err != nil {
		return err
	}
	if d.opts.SQLite {
		return nil
	}
	used, err := usedColumns(ctx, c.WorkflowService())
	if err != nil {
		return err
	}
	dropped, created, err := trimIndexes(ctx, d.opts.Postgres, used)
	if err != nil {
		return fmt.Errorf("visibility indexes: %w", err)
	}
	d.logger.Info("visibility indexes trimmed", tag.Int("dropped", dropped), tag.Int("created", created))
	return nil
}

// announce tells everyone who waits, each in its own way.
func (d *daemon) announce(state readiness) error {
	if d.stats != nil {
		d.stats.ready.Store(true)
	}
	if d.opts.ReadyFile != "" {
		if err := writeReadyFile(d.opts.ReadyFile, state); err != nil {
			return fmt.Errorf("ready file: %w", err)
		}
	}
	ui := state.UI
	if ui == "" {
		ui = "off"
	}
	_, err := fmt.Fprintf(d.stdout, "temporald ready: grpc %s ui %s namespace %s\n", state.Address, ui, state.Namespace)
	return err
}

// writeReadyFile renames a finished file into place, so a reader never sees half of it.
func writeReadyFile(path string, state readiness) error {
	body, err := json.Marshal(state)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(append(body, '\n'))
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

func (d *daemon) removeReadyFile() error {
	if d.opts.ReadyFile == "" {
		return nil
	}
	if err := os.Remove(d.opts.ReadyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}

// stop takes everything down in reverse order, within stopPatience.
func (d *daemon) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if d.stats != nil {
		d.stats.ready.Store(false)
	}
	errs := []error{d.removeReadyFile()}
	if d.ui != nil {
		d.ui.Stop()
	}
	if d.server != nil {
		stopped := make(chan error, 1) // buffered: nobody reads it after a timeout
		go func() { stopped <- d.server.Stop() }()
		select {
		case err := <-stopped:
			errs = append(errs, err)
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("the server did not stop within %s", stopPatience))
		}
	}
	if d.profiles != nil {
		errs = append(errs, d.profiles.Close()) // cuts off whoever still reads one
	}
	if d.stats != nil {
		errs = append(errs, d.stats.stop(ctx))
	}
	return errors.Join(errs...)
}
