package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack"
)

// World is one Postrider, whole, with everything around it. Its maps do not change
// after StartWorld; its parts are safe for concurrent use.
type World struct {
	Dir      string // of the state and logs of all parts
	Root     string // of the checkout
	Postgres *stack.Postgres
	Temporal *stack.Temporal
	DB       *postgres.DB // straight to the server, past the wires; for seeding and judging
	Nodes    map[string]*Node
	Vendors  map[string]*Vendor
	Wires    map[string]*Wire // by name, as in wireName
	Customer *Customer
	Accounts map[string]*Account // by Name
	Log      func(format string, args ...any)
	// PostgresClock is the zero one where there is no libfaketime.
	PostgresClock PostgresClock
	Disk          *Disk        // of Postgres; nil: it has none of its own
	MediaDisk     *Disk        // of Media and of the folder in which its files are worked on; likewise
	Media         *media.Store // past the gateways, for judging
	mediaDir      string       // of Media
	temp          string       // that folder

	gateway, simulator, temporald string // programs
	stepped                       string // the gateway with a clock that can be stepped; empty: none
	keys                          *secret.Keyring
	hooks                         string // host:port at which Customer listens
}

// WorldOptions are the choices of who starts a world.
type WorldOptions struct {
	Log func(format string, args ...any) // nil: nothing is said
	// Disk gives Postgres a file system of its own, which can be full, and MediaDisk the
	// media.
	Disk, MediaDisk bool
	// Stepped also builds the gateway whose clock can be stepped.
	Stepped bool
}

// Names of the parts.
const (
	nodeREST     = "rest-1"
	nodeSMPP     = "smpp-1"
	nodeMessages = "messages-1"
	nodeNotify   = "notify-1"
	nodeVendors  = "vendors-1"
	nodeMedia    = "media-1"
	nodeAll      = "all-2" // a replica with all roles

	vendorAcme = "acme" // the first choice of every message
	vendorZeta = "zeta" // takes what acme does not

	peerPostgres = "postgres"
	peerTemporal = "temporal" // also as the source of the wire to Postgres
	peerCustomer = "customer" // the endpoint of webhooks
	peerMedia    = "media"    // the store; behind no wire

	// Sources of wires that are no node: a vendor's address and a customer's endpoint
	// are the same for all gateways, so they have one wire for all.
	allGateways = "gateways"
	sideClient  = "client" // of REST
	sideESME    = "esme"
)

// wireName names the wire from one part to another, as "rest-1>postgres". There are:
//
//	<node>>postgres, <node>>temporal    for each of the nodes
//	temporal>postgres
//	gateways>acme, gateways>zeta        to the vendors
//	gateways>customer                   to the endpoint of webhooks
//	client>rest-1, client>all-2         requests over REST
//	esme>smpp-1, esme>all-2             binds of customers
func wireName(from, to string) string { return from + ">" + to }

// Names of the accounts.
const (
	accountPrudent = "prudent" // over REST, at_most_once
	accountEager   = "eager"   // over REST, at_least_once
	accountPBX     = "pbx"     // over SMPP, at_most_once
	// accountNeighbour sends nothing: its numbers get the MMS of the others.
	accountNeighbour = "neighbour"
)

// Account is a customer that the world was seeded with.
type Account struct {
	Name       string
	ID         message.ID
	Delivery   message.Delivery
	From       message.Address // its number, +1202555…
	Key        string          // of the REST API
	Secret     string
	HookSecret string   // signs its webhooks
	SystemIDs  []string // its ESMEs bind with these; empty for the accounts over REST
	Password   string   // of each of SystemIDs
}

const loopback = "127.0.0.1"

// publicURL begins the links of files. No proxy of that name is there: who follows one asks
// a gateway for its path.
const publicURL = "https://gw.example"

// patience ends a wait for something that does not come; it measures nothing.
const patience = 10 * time.Minute

// StartWorld builds the programs, and starts everything in dir, which is made when it
// is missing. It returns when all is ready. What it started when it fails is ended.
func StartWorld(ctx context.Context, dir string, o WorldOptions) (*World, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	w := &World{Dir: dir, Log: o.Log, Nodes: map[string]*Node{}, Vendors: map[string]*Vendor{}, Wires: map[string]*Wire{}, Accounts: map[string]*Account{}}
	if w.Log == nil {
		w.Log = func(string, ...any) {}
	}
	for _, step := range []func(context.Context, WorldOptions) error{w.build, w.startServers, w.openMedia, w.startVendors, w.seed, w.startNodes, w.startCustomer} {
		if err := step(ctx, o); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

// build makes the programs and the folders.
func (w *World) build(ctx context.Context, o WorldOptions) error {
	err := os.MkdirAll(w.path("bin"), 0o755)
	if err != nil {
		return err
	}
	if w.Root, err = stack.RepoRoot(); err != nil {
		return err
	}
	if w.gateway, err = stack.BuildPostrider(ctx, w.Root, w.path("bin")); err != nil {
		return err
	}
	if w.simulator, err = stack.BuildSMSCSim(ctx, w.Root, w.path("bin")); err != nil {
		return err
	}
	if o.Stepped {
		if w.stepped, err = buildStepped(ctx, w.Root, "./cmd/postrider", w.path("bin/postrider-stepped")); err != nil {
			return err
		}
	}
	w.temporald, err = stack.BuildTemporald(ctx, w.Root, os.Stderr)
	return err
}

// path is of a file in the world's folder.
func (w *World) path(name string) string { return filepath.Join(w.Dir, name) }

// database is the name of the gateway's.
const database = "postrider"

// startServers starts Postgres, and Temporal on it through a wire. Postgres syncs what
// it commits: it is killed, and the machine's disk may be what a world stands on.
func (w *World) startServers(ctx context.Context, o WorldOptions) error {
	var err error
	dir := w.path("postgres")
	if o.Disk {
		if w.Disk, err = mountDisk(ctx, w.Dir, diskSize); err != nil {
			return fmt.Errorf("the disk of postgres: %w", err)
		}
		dir = filepath.Join(w.Disk.Dir, "postgres")
	}
	if w.PostgresClock, err = newPostgresClock(w.Dir); err != nil {
		return err
	}
	w.Postgres, err = stack.StartPostgres(ctx, stack.PostgresConfig{Dir: dir, Throwaway: true,
		Env: w.PostgresClock.Env(), Settings: map[string]string{"fsync": "on", "full_page_writes": "on", "max_connections": "300"}})
	if err != nil {
		return err
	}
	// The wire makes a network of what was a socket's file.
	wire, err := w.wire(peerTemporal, peerPostgres, net.JoinHostPort(loopback, strconv.Itoa(w.Postgres.Port())))
	if err != nil {
		return err
	}
	server := w.Postgres.Server()
	if server.Host, server.Port, err = splitAddr(wire.Addr()); err != nil {
		return err
	}
	w.Temporal, err = stack.StartTemporal(ctx, stack.TemporalConfig{Binary: w.temporald, Dir: w.path("temporal"), Postgres: server})
	if err != nil {
		return err
	}
	if err := w.Postgres.CreateDatabase(ctx, database); err != nil {
		return err
	}
	server = w.Postgres.Server()
	cfg := postgres.Config{Host: server.Host, Port: server.Port, User: server.User, Password: server.Password, Database: database}
	if _, err := postgres.Migrate(ctx, cfg); err != nil {
		return err
	}
	if w.keys, err = secret.LoadOrCreateKeyring(w.path("keys")); err != nil {
		return err
	}
	w.DB, err = postgres.Open(ctx, cfg, w.keys.Box(secret.Content))
	return err
}

// openMedia gives the gateways' files a place.
func (w *World) openMedia(ctx context.Context, o WorldOptions) error {
	dir := w.path(peerMedia)
	if o.MediaDisk {
		var err error
		if w.MediaDisk, err = mountDisk(ctx, dir, mediaDiskSize); err != nil {
			return fmt.Errorf("the disk of media: %w", err)
		}
		dir = w.MediaDisk.Dir
	}
	w.temp = filepath.Join(dir, "tmp")
	if err := os.MkdirAll(w.temp, 0o755); err != nil {
		return err
	}
	w.mediaDir = filepath.Join(dir, "store")
	var err error
	w.Media, err = media.Open(ctx, w.mediaDir, media.Options{Keyring: w.keys})
	return err
}

func (w *World) startVendors(ctx context.Context, _ WorldOptions) error {
	for _, name := range []string{vendorAcme, vendorZeta} {
		v, err := startVendor(ctx, name, w.simulator, w.Dir)
		if err != nil {
			return err
		}
		w.Vendors[name] = v
		if _, err := w.wire(allGateways, name, v.SMPP); err != nil {
			return err
		}
	}
	return nil
}

// startNodes starts all gateways at once, and waits until they are ready and hold
// binds to both vendors.
func (w *World) startNodes(ctx context.Context, _ WorldOptions) error {
	for _, n := range []*Node{
		{Name: nodeREST, Roles: []string{"rest"}}, {Name: nodeSMPP, Roles: []string{"smpp"}}, {Name: nodeMessages, Roles: []string{"messages"}},
		{Name: nodeNotify, Roles: []string{"notify"}}, {Name: nodeVendors, Roles: []string{"vendors"}},
		{Name: nodeMedia, Roles: []string{"media"}}, {Name: nodeAll},
	} {
		if err := w.addNode(n); err != nil {
			return err
		}
	}
	var starts sync.WaitGroup
	errs := make([]error, len(w.Nodes))
	for i, name := range slices.Sorted(maps.Keys(w.Nodes)) {
		starts.Go(func() { errs[i] = w.Nodes[name].Start(ctx) })
	}
	starts.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, v := range w.Vendors {
		if err := until(ctx, "vendor "+v.Name+" is bound", func() bool {
			sessions, err := v.Sessions(ctx)
			return err == nil && sessions > 0
		}); err != nil {
			return err
		}
	}
	return nil
}

// addNode gives a node its ports and wires. It does not start it.
func (w *World) addNode(n *Node) error {
	ports, err := stack.FreePorts(3)
	if err != nil {
		return err
	}
	n.program, n.logFile = w.gateway, w.path(n.Name+".log")
	n.Metrics = net.JoinHostPort(loopback, strconv.Itoa(ports[0]))
	n.env = []string{
		"API_HOST=" + loopback, "SMPP_HOST=" + loopback, "METRICS_HOST=" + loopback, "METRICS_PORT=" + strconv.Itoa(ports[0]),
		"API_PORT=" + strconv.Itoa(ports[1]), "SMPP_PORT=" + strconv.Itoa(ports[2]), "SMPP_TLS_PORT=0", "MM4_PORT=0",
		"POSTGRES_USER=" + w.Postgres.Server().User, "POSTGRES_DB=" + database, "TEMPORAL_NAMESPACE=" + w.Temporal.Namespace(),
		"POSTRIDER_KEY_FILE=" + w.path("keys"), "WEBHOOK_ALLOW_LOOPBACK=true", "LOG_FORMAT=text", "TMPDIR=" + w.temp,
		"MEDIA_STORE=" + w.mediaDir, "PUBLIC_URL=" + publicURL,
	}
	if n.has("rest") {
		n.API = net.JoinHostPort(loopback, strconv.Itoa(ports[1]))
		if _, err := w.wire(sideClient, n.Name, n.API); err != nil {
			return err
		}
	}
	if n.has("smpp") {
		n.SMPP = net.JoinHostPort(loopback, strconv.Itoa(ports[2]))
		if _, err := w.wire(sideESME, n.Name, n.SMPP); err != nil {
			return err
		}
	}
	toPostgres, err := w.wire(n.Name, peerPostgres, net.JoinHostPort(loopback, strconv.Itoa(w.Postgres.Port())))
	if err != nil {
		return err
	}
	toTemporal, err := w.wire(n.Name, peerTemporal, w.Temporal.Address())
	if err != nil {
		return err
	}
	host, port, err := splitAddr(toPostgres.Addr())
	if err != nil {
		return err
	}
	n.env = append(n.env, "POSTGRES_HOST="+host, "POSTGRES_PORT="+strconv.Itoa(port), "TEMPORAL_ADDRESS="+toTemporal.Addr())
	w.Nodes[n.Name] = n
	return nil
}

// startCustomer comes last: it is bound when it returns.
func (w *World) startCustomer(ctx context.Context, _ WorldOptions) error {
	var err error
	w.Customer, err = StartCustomer(ctx, w, w.hooks)
	return err
}

// wire lays one to an address.
func (w *World) wire(from, to, address string) (*Wire, error) {
	wire, err := newWire(wireName(from, to), address)
	if err != nil {
		return nil, err
	}
	w.Wires[wire.Name] = wire
	return wire, nil
}

// StopNodes ends all gateways in order, as if the installation was taken down.
func (w *World) StopNodes(ctx context.Context) error {
	var stops sync.WaitGroup
	errs := make([]error, len(w.Nodes))
	for i, name := range slices.Sorted(maps.Keys(w.Nodes)) {
		stops.Go(func() { errs[i] = w.Nodes[name].Stop(ctx) })
	}
	stops.Wait()
	return errors.Join(errs...)
}

// StartNodes starts those that do not run.
func (w *World) StartNodes(ctx context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(w.Nodes)) {
		errs = append(errs, w.Nodes[name].Start(ctx))
	}
	return errors.Join(errs...)
}

// Close ends everything and leaves nothing running. The folder stays.
func (w *World) Close() error {
	var errs []error
	if w.Customer != nil {
		errs = append(errs, w.Customer.Close())
	}
	for _, n := range w.Nodes {
		errs = append(errs, n.Kill())
	}
	for _, v := range w.Vendors {
		errs = append(errs, v.process.Kill())
	}
	if w.Temporal != nil {
		errs = append(errs, w.Temporal.Kill())
	}
	if w.DB != nil {
		w.DB.Close()
	}
	for _, wire := range w.Wires {
		wire.proxy.Stop()
	}
	if w.Postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		errs = append(errs, w.Postgres.StopImmediate(ctx))
	}
	if w.Media != nil {
		errs = append(errs, w.Media.Close())
	}
	for _, d := range []*Disk{w.Disk, w.MediaDisk} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// until looks again and again until the condition holds, ctx ends, or patience does.
func until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting until %s: %w", what, ctx.Err())
		}
	}
	return nil
}

func splitAddr(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.Atoi(text)
	return host, port, err
}
