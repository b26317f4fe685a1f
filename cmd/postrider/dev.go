package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/edges/console/temporal"
	"github.com/postrider/postrider/internal/stack"
)

// devFlags are what `postrider dev` can be told; `make run` tells it nothing.
type devFlags struct {
	dir string // everything it makes lies below it
}

func devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: Postgres, Temporal, gateway, SMSC simulator, demo traffic",
		Long: `Starts a private Postgres cluster, the embedded Temporal server with its UI, the
gateway with every role and an SMSC simulator, creates a demo account and sends
a first set of messages through it all. Ctrl-C stops what it started.

  DEMO=0              sends no demo traffic
  POSTGRES_HOST …     uses that Postgres instead of a private one
  TEMPORAL_ADDRESS    uses that Temporal instead of the embedded one
  API_PORT, SMPP_PORT, MM4_PORT, METRICS_PORT, TEMPORAL_PORT, TEMPORAL_UI_PORT, SMSC_PORT
                      choose ports; a taken one is replaced by a free one`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &dev{flags: f, out: cmd.OutOrStdout()}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&f.dir, "dir", ".run", "where state and logs are kept")
	return cmd
}

// dev is a running development stack.
type dev struct {
	flags devFlags
	out   io.Writer
	dir   string

	config  Config               // of the gateway
	server  stack.PostgresServer // for temporald; set with a private cluster
	started []part               // in the order of their start
	ended   chan string          // names of parts that ended by themselves; buffered, never closed
	demo    demoState
	smsc    smscPorts
	standby smscPorts // of the second simulator; empty without demo traffic
	ui      string    // of Temporal; empty: not ours
	hooks   *hookSink
}

// part is something that was started and is to be stopped.
type part struct {
	name string
	stop func(context.Context) error
}

// stopPatience bounds the stop of each part.
const stopPatience = 30 * time.Second

func (d *dev) run(ctx context.Context) error {
	var err error
	if d.dir, err = filepath.Abs(d.flags.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.dir, "log"), 0o755); err != nil {
		return err
	}
	d.ended = make(chan string, 8)
	defer d.stopAll()
	began := time.Now()
	for _, step := range []func(context.Context) error{d.build, d.startPostgres, d.startTemporal, d.startSMSC, d.startHooks, d.prepare, d.startGateway} {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	fmt.Fprintf(d.out, "\neverything is up after %.1f s\n", time.Since(began).Seconds())
	if err := errors.Join(d.writeEnv(), d.writeShell()); err != nil {
		return err
	}
	if demoWanted() {
		if err := d.traffic(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	d.printPlaces()
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.out, "\nstopping")
		return nil
	case name := <-d.ended:
		return fmt.Errorf("%s ended by itself; see %s", name, filepath.Join(d.dir, "log"))
	}
}

func (d *dev) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// add remembers a started part and watches it.
func (d *dev) add(name string, done <-chan struct{}, stop func(context.Context) error) {
	d.started = append(d.started, part{name, stop})
	if done != nil {
		go func() { // ends with the part, which stopAll stops
			<-done
			select {
			case d.ended <- name:
			default:
			}
		}()
	}
}

func (d *dev) stopAll() {
	for i := len(d.started) - 1; i >= 0; i-- {
		p := d.started[i]
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		if err := p.stop(ctx); err != nil {
			d.say("stopping %s: %v", p.name, err)
		}
		cancel()
	}
}

func (d *dev) bin() string { return filepath.Join(d.dir, "bin") }

// build makes the programs that are run beside this one.
func (d *dev) build(ctx context.Context) error {
	root, err := stack.RepoRoot()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.bin(), 0o755); err != nil {
		return err
	}
	if _, err := stack.BuildSMSCSim(ctx, root, d.bin()); err != nil {
		return err
	}
	if os.Getenv("TEMPORAL_ADDRESS") != "" {
		return nil
	}
	path, err := stack.BuildTemporald(ctx, root, d.out)
	if err != nil {
		return err
	}
	link := filepath.Join(d.bin(), "temporald")
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(path, link)
}

func (d *dev) startPostgres(ctx context.Context) error {
	var err error
	if os.Getenv("POSTRIDER_KEYS") == "" && os.Getenv("POSTRIDER_KEY_FILE") == "" {
		if err := os.Setenv("POSTRIDER_KEY_FILE", filepath.Join(d.dir, "keys")); err != nil {
			return err
		}
	}
	if d.config, err = readConfig(); err != nil {
		return err
	}
	d.config.LogFormat, d.config.LogLevel = "text", "info"
	d.config.APIHost, d.config.SMPPHost, d.config.MM4Host, d.config.MetricsHost = "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"
	d.config.SMPPPublicHost, d.config.MM4PublicHost = cmp.Or(d.config.SMPPPublicHost, "127.0.0.1"), cmp.Or(d.config.MM4PublicHost, "127.0.0.1")
	d.config.MM4Domain = cmp.Or(d.config.MM4Domain, demoDomain)
	d.config.WebhookAllowLoopback = true
	d.config.InvitationsLogged = true
	if os.Getenv("POSTGRES_HOST") != "" {
		d.say("Postgres    the one at %s", d.config.PostgresHost)
		d.server = stack.PostgresServer{Host: d.config.PostgresHost, Port: d.config.PostgresPort, User: d.config.PostgresUser, Password: d.config.PostgresPassword}
		return nil
	}
	pg, err := stack.StartPostgres(ctx, stack.PostgresConfig{Dir: filepath.Join(d.dir, "postgres"), Log: d.out})
	if err != nil {
		return err
	}
	d.add("Postgres", pg.Done(), pg.Stop)
	if err := pg.CreateDatabase(ctx, "postrider"); err != nil {
		return err
	}
	d.server = pg.Server()
	d.config.PostgresHost, d.config.PostgresPort = d.server.Host, d.server.Port
	d.config.PostgresUser, d.config.PostgresPassword, d.config.PostgresDB = d.server.User, d.server.Password, "postrider"
	d.say("Postgres    127.0.0.1:%d", d.server.Port)
	return nil
}

func (d *dev) startTemporal(ctx context.Context) error {
	if os.Getenv("TEMPORAL_ADDRESS") != "" {
		d.say("Temporal    the one at %s", d.config.TemporalAddress)
		return nil
	}
	port, err := choosePort("TEMPORAL_PORT", 7233)
	if err != nil {
		return err
	}
	uiPort, err := choosePort("TEMPORAL_UI_PORT", 8233)
	if err != nil {
		return err
	}
	d.config.TemporalUIServer = "http://127.0.0.1:" + strconv.Itoa(uiPort)
	t, err := stack.StartTemporal(ctx, stack.TemporalConfig{Binary: filepath.Join(d.bin(), "temporald"), Dir: filepath.Join(d.dir, "log"),
		Postgres: d.server, Port: port, UIPort: uiPort, Namespace: d.config.TemporalNamespace,
		Args: []string{"--codec-endpoint", temporal.CodecPath, "--ui-path", temporal.Path, "--ui-read-only"}})
	if err != nil {
		return err
	}
	d.add("Temporal", t.Done(), t.Stop)
	d.config.TemporalAddress = t.Address()
	d.say("Temporal    %s", t.Address())
	return nil
}

func (d *dev) startGateway(ctx context.Context) error {
	var err error
	if d.config.APIPort, err = choosePort("API_PORT", 8080); err != nil {
		return err
	}
	if d.config.SMPPPort, err = choosePort("SMPP_PORT", 2775); err != nil {
		return err
	}
	if d.config.MM4Port, err = choosePort("MM4_PORT", 2566); err != nil {
		return err
	}
	if d.config.MetricsPort, err = choosePort("METRICS_PORT", 9090); err != nil {
		return err
	}
	d.config.PublicURL = d.url()
	if d.config.TemporalUIServer != "" {
		d.ui = d.url() + temporal.Path
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := stack.StartProcess(stack.ProcessConfig{Name: "gateway", Path: self, Args: []string{"serve"},
		Env: append(os.Environ(), d.config.environment()...), LogFile: filepath.Join(d.dir, "log", "gateway.log")})
	if err != nil {
		return err
	}
	d.add("gateway", p.Done(), p.Stop)
	if err := d.waitReady(ctx, p); err != nil {
		return err
	}
	d.say("gateway     %s, SMPP 127.0.0.1:%d, MM4 127.0.0.1:%d", d.url(), d.config.SMPPPort, d.config.MM4Port)
	return nil
}

// readyPatience bounds the wait for a part that does not come up.
const readyPatience = 60 * time.Second

// waitReady returns when the gateway is ready and bound to its vendor.
func (d *dev) waitReady(ctx context.Context, p *stack.Process) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", d.config.MetricsPort), nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.Done():
			return fmt.Errorf("the gateway did not start:\n%s", p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("the gateway is not ready: %w\n%s", ctx.Err(), p.LogTail())
		case <-tick.C:
		}
	}
}

// choosePort takes the port of the variable, or the usual one, or a free one if
// that is taken.
func choosePort(variable string, usual int) (int, error) {
	if s := os.Getenv(variable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 65535 {
			return 0, fmt.Errorf("%s is %q; want a port number", variable, s)
		}
		usual = n
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(usual)))
	if err != nil {
		return stack.FreePort()
	}
	return usual, l.Close()
}

func (d *dev) url() string { return "http://127.0.0.1:" + strconv.Itoa(d.config.APIPort) }

// environment is the configuration as the variables that readConfig reads.
func (c Config) environment() []string {
	return []string{
		"API_HOST=" + c.APIHost, "PUBLIC_URL=" + c.PublicURL, "SMPP_PUBLIC_HOST=" + c.SMPPPublicHost, "MM4_PUBLIC_HOST=" + c.MM4PublicHost, "API_PORT=" + strconv.Itoa(c.APIPort),
		"SMPP_HOST=" + c.SMPPHost, "SMPP_PORT=" + strconv.Itoa(c.SMPPPort), "SMPP_TLS_PORT=" + strconv.Itoa(c.SMPPTLSPort),
		"SMPP_TLS_CERT=" + c.SMPPTLSCert, "SMPP_TLS_KEY=" + c.SMPPTLSKey,
		"MM4_HOST=" + c.MM4Host, "MM4_PORT=" + strconv.Itoa(c.MM4Port), "MM4_DOMAIN=" + c.MM4Domain, "MM4_TLS_CERT=" + c.MM4TLSCert, "MM4_TLS_KEY=" + c.MM4TLSKey,
		"METRICS_HOST=" + c.MetricsHost, "METRICS_PORT=" + strconv.Itoa(c.MetricsPort),
		"POSTGRES_HOST=" + c.PostgresHost, "POSTGRES_PORT=" + strconv.Itoa(c.PostgresPort), "POSTGRES_USER=" + c.PostgresUser,
		"POSTGRES_PASSWORD=" + c.PostgresPassword, "POSTGRES_DB=" + c.PostgresDB, "POSTGRES_SSLMODE=" + c.PostgresSSLMode,
		"TEMPORAL_ADDRESS=" + c.TemporalAddress, "TEMPORAL_NAMESPACE=" + c.TemporalNamespace, "TEMPORAL_UI_URL=" + c.TemporalUIURL,
		"POSTRIDER_KEYS=" + c.Keys, "POSTRIDER_KEY_FILE=" + c.KeyFile,
		"WEBHOOK_ALLOW_LOOPBACK=" + strconv.FormatBool(c.WebhookAllowLoopback), "INVITATIONS_LOGGED=" + strconv.FormatBool(c.InvitationsLogged), "TEMPORAL_UI_SERVER=" + c.TemporalUIServer,
		"TWILIO_DOOR=" + strconv.FormatBool(c.TwilioDoor), "JASMIN_DOOR=" + strconv.FormatBool(c.JasminDoor),
		"LOG_LEVEL=" + c.LogLevel, "LOG_FORMAT=" + c.LogFormat, "STARTERS=" + strconv.Itoa(c.Starters),
	}
}
