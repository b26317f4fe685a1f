package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/activities/transcode"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/smpp"
	vendorsmpp "github.com/postrider/postrider/edges/vendors/smpp"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/optout"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/internal/webhook"
	"github.com/postrider/postrider/workers"
)

// Gateway is one process: every part of it in the order in which it is put
// together, and the reverse of it at the end.
type Gateway struct {
	Config Config
	Roles  map[string]bool
	Log    *slog.Logger

	keys     *secret.Keyring
	db       *postgres.DB
	media    *media.Library   // nil: there is no store
	fetcher  *fetch.Fetcher   // of customers' files; nil: without the role media
	tools    *transcode.Tools // that were found; nil: without the role media
	config   *snapshot.Holder
	optOuts  *optout.Set
	metrics  *telemetry.Metrics
	temporal client.Client
	sender   *webhook.Sender
	fleet    *workers.Fleet
	steps    workers.Steps
	ingress  *ingress.Ingress
	keepers  []*workers.Keeper
	rest     restEdge
	smpp     *smpp.Server
	mm4      mm4Edge
	mailer   *smtpout.Sender  // of MM4, see mails
	outbind  *vendorsmpp.Door // nil: no listener
	shared   *limit.Shared    // nil: rates are counted in process
	alone    *limit.Limiter   // of all edges, without shared
	refusals *limit.Refusals
	held     heldCollector
	registry *registrations
	upkeep   *workers.Caretaker // nil: this process does none
	ops      *opsServer
	profiles *profiles // nil: not served

	ready  readiness
	health vendorHealth
	life   life

	background sync.WaitGroup // servers and small notes; close waits for them
}

// Times of the shutdown, in its order.
const (
	drainTimeout  = 10 * time.Second // for requests under way
	unbindTimeout = 15 * time.Second // for customers' and vendors' answers under way
)

// Run serves until ctx ends, then shuts down in order.
func (g *Gateway) Run(ctx context.Context) error {
	if err := g.open(ctx); err != nil {
		g.close()
		return err
	}
	if err := g.start(ctx); err != nil {
		g.shutdown()
		return err
	}
	g.Log.Info("postrider is up", "roles", rolesOf(g.Roles), "api", g.Config.APIPort, "metrics", g.Config.MetricsPort)
	select {
	case <-ctx.Done():
		g.Log.Info("shutting down")
	case err := <-g.failed():
		g.shutdown()
		return err
	}
	g.shutdown()
	return nil
}

// open joins the parts; nothing is served yet.
func (g *Gateway) open(ctx context.Context) error {
	var err error
	if g.keys, err = g.Config.keyring(); err != nil {
		return err
	}
	content := g.keys.Box(secret.Content)
	if g.db, err = postgres.Open(ctx, g.Config.postgres(), content); err != nil {
		return err
	}
	if err = g.openMedia(ctx); err != nil {
		return err
	}
	g.metrics = telemetry.New()
	g.config = snapshot.NewHolder(g.db, g.Log)
	g.config.OnRefresh(g.observeRefresh)
	g.optOuts = optout.New(g.db, g.Log)
	g.db.OnOptOut(g.optOuts.Add)
	codec := workers.Codec{Sealer: content}
	if g.temporal, err = client.NewLazyClient(client.Options{
		HostPort:      g.Config.TemporalAddress,
		Namespace:     g.Config.TemporalNamespace,
		Identity:      g.instance(),
		DataConverter: codec.DataConverter(),
		FailureConverter: temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
			EncodeCommonAttributes: true, DataConverter: codec.DataConverter()}),
		// Payloads are sealed, which leaves nothing to compress, and the rest is a
		// few hundred octets between machines that stand side by side.
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}},
		Logger:            temporallog.NewStructuredLogger(g.Log.With("part", "temporal")),
	}); err != nil {
		return fmt.Errorf("make the client of Temporal: %w", err)
	}
	g.sender = webhook.NewSender(webhook.Config{Policy: g.webhookPolicy()})
	g.joinHealth()
	g.joinIngress()
	g.joinSteps()
	if err := g.joinDeliver(); err != nil {
		return err
	}
	g.joinMedia(ctx)
	g.joinLimits()
	g.ingress.Rates = g.limiter()
	if err := g.joinRegistry(); err != nil {
		return err
	}
	if g.Roles["smpp"] {
		g.joinSMPP()
	}
	if g.Roles["mm4"] {
		g.joinMM4()
	}
	g.ops = newOpsServer(g)
	g.profiles = newProfiles(g.Config.PprofPort)
	return nil
}

func (g *Gateway) webhookPolicy() webhook.Policy {
	if !g.Config.WebhookAllowLoopback {
		return webhook.Policy{}
	}
	return webhook.Policy{AllowHTTP: true, AllowLoopback: true}
}

// instance names this process in the journal and in Temporal: unique for each
// start, so that a journal row tells whether its writer still lives.
func (g *Gateway) instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + strconv.Itoa(os.Getpid()) + "-" + startMark
}

// startMark tells this run of the process from others of the same host and number:
// in a container both are the same after every restart.
var startMark = message.Hex32(message.NewID())[24:]

func (g *Gateway) joinIngress() {
	policy := g.webhookPolicy()
	g.ingress = &ingress.Ingress{
		MediaURL:  g.linkURL(),
		Journal:   g.db,
		Temporal:  workers.Starter{Client: g.temporal, DeliveryAccount: g.db.DeliveryAccount},
		Snapshot:  g.config.Current,
		OptOuts:   g.optOuts,
		MediaFile: g.mediaFile(),
		CheckURL:  func(url string) error { return webhook.ValidateURL(url, policy) },
		Instance:  g.instance(),
		Log:       g.Log.With("part", "ingress"),
		Now:       g.db.Now,
		Starters:  g.Config.Starters,
		Admission: ingress.Admission{Busy: g.Config.AdmissionBusy, Rate: g.Config.AdmissionRate, Full: g.Config.AdmissionFull},
		Calls:     g.db,
		NoStarts:  !g.Roles["messages"],
		Currency:  g.Config.Currency,
		PartsWait: g.Config.InboundPartsWait,
		Metrics:   g.ingressMetrics(),
		Outcome: func(ctx context.Context, in record.Input) (record.Result, error) {
			return g.steps.Record.RecordOutcome(ctx, in)
		},
	}
	g.db.OnLeft(g.ingress.Left)
	g.joinPace()
}

func (g *Gateway) joinSteps() {
	g.fleet = &workers.Fleet{Client: g.temporal, Namespace: g.Config.TemporalNamespace, Kinds: g.vendorKinds(), Log: g.Log.With("part", "vendors"),
		Leases: g.db, Instance: g.instance()}
	gate := activities.Gate{Snapshot: g.config.Current, OptOuts: g.optOuts, Pacer: g.db, Reviews: g.db, Now: g.db.Now, Refused: g.observeRefusal}
	g.steps = workers.Steps{
		Admit: &admit.Activities{Journal: g.db, Gate: gate},
		Route: &route.Activities{Journal: g.db, Snapshot: g.config.Current, Links: g.fleet, Now: g.db.Now, Health: g.health.board.Health, Reviser: g.db, MediaURL: g.linkURL()},
		Submit: &submit.Activities{Journal: g.db, Gate: gate, Connector: g.fleet.Connector, Draining: g.fleet.Draining, Instance: g.instance(), Observe: g.observeSubmit,
			Expect: g.ingress.Expect, Forget: g.ingress.Forget, MediaURL: g.mediaURL},
		Record: &record.Activities{Journal: g.db, Snapshot: g.config.Current, Now: g.db.Now, Recorded: g.observeOutcome,
			Await: g.ingress.AwaitDecision, CapReached: gate.CapReached},
		Notify: &notify.Activities{Journal: g.db, Snapshot: g.config.Current, Sender: g.sender, Now: g.db.Now, Observe: g.observeWebhook, Endpoints: g.db},
	}
	g.steps.Admit.Route = g.steps.Route.ChooseRoute
	g.steps.Submit.Tell, g.steps.Record.Tell = notify.First(g.steps.Notify), notify.First(g.steps.Notify)
	g.ingress.FirstTries = notify.First(g.steps.Notify)
	g.steps.Batch, g.steps.Redrive = g.batchSteps(), g.redriveSteps()
	g.steps.Submit.Outcome = g.steps.Record.RecordOutcome
	g.fleet.Submit = g.steps.Submit
}

// start begins to serve, from the inside out: what accepts comes last.
func (g *Gateway) start(ctx context.Context) error {
	// Before anything can leave: nobody who has stopped a sender is written to.
	if err := g.optOuts.Start(ctx); err != nil {
		return err
	}
	if g.Roles["vendors"] {
		g.inherit(ctx)
	}
	g.fleet.Start(ctx)
	if g.Roles["vendors"] {
		g.config.OnChange(g.fleet.Apply)
	}
	if err := g.config.Start(ctx); err != nil {
		return err
	}
	g.health.start(ctx, g)
	if err := g.ops.start(); err != nil {
		return err
	}
	if err := g.profiles.start(g); err != nil {
		return err
	}
	if g.Roles["messages"] {
		g.keep(ctx, "messages", func() worker.Worker { return workers.Messages(g.temporal, g.steps) })
		g.keep(ctx, "batches", func() worker.Worker { return workers.Batches(g.temporal, g.steps) })
	}
	if g.Roles["messages"] {
		g.upkeep = g.caretaker(g.db)
		g.upkeep.Start(ctx)
	}
	if g.Roles["media"] && g.steps.Prepare != nil {
		g.keep(ctx, "media", func() worker.Worker { return workers.Media(g.temporal, g.steps) })
	}
	if g.Roles["notify"] {
		g.keep(ctx, "notify", func() worker.Worker { return workers.Notify(g.temporal, g.steps) })
		g.keep(ctx, "mm4", func() worker.Worker { return workers.MM4(g.temporal, g.steps) })
		g.keep(ctx, "mail", func() worker.Worker { return workers.Mail(g.temporal, g.steps) })
	}
	g.registry.start(ctx, g.Roles)
	// The starters need a messages worker of the same process to start eagerly;
	// other processes leave their messages in the outbox for them, tell workflows of
	// the receipts that came over their links, and know how much is under way.
	if g.Roles["messages"] || g.Roles["vendors"] || g.Roles["rest"] || g.Roles["smpp"] || g.Roles["mm4"] {
		g.ingress.Start(ctx)
	}
	g.registerGauges()
	g.refusals.Start(ctx)
	if g.Roles["rest"] || g.Roles["console"] {
		if err := g.startREST(ctx); err != nil {
			return err
		}
	}
	if g.Roles["smpp"] {
		if err := g.startSMPP(); err != nil {
			return err
		}
	}
	if g.Roles["mm4"] {
		if err := g.startMM4(ctx); err != nil {
			return err
		}
	}
	if err := g.startOutbind(); err != nil {
		return err
	}
	g.ready.up()
	return nil
}

func (g *Gateway) keep(ctx context.Context, name string, build func() worker.Worker) {
	k := &workers.Keeper{Name: name, New: build, Log: g.Log}
	k.Start(ctx)
	g.keepers = append(g.keepers, k)
}

func (g *Gateway) failed() <-chan error { return g.ready.failed() }

// shutdown goes in the order that loses and refuses nothing: readiness, what
// accepts, what works, the vendors' links, the pools.
func (g *Gateway) shutdown() {
	g.ready.down()
	g.stopAccepting()
	g.refusals.Stop()
	if g.upkeep != nil {
		g.upkeep.Stop()
	}
	g.ingress.Stop()
	g.registry.stop()
	g.fleet.StopWorkers()
	var stops sync.WaitGroup
	for _, k := range g.keepers {
		stops.Go(k.Stop)
	}
	stops.Wait()
	unbind, cancel := context.WithTimeout(context.Background(), unbindTimeout)
	g.fleet.Unbind(unbind)
	cancel()
	g.life.end()
	g.health.stop()
	g.close()
	g.Log.Info("postrider is down")
}

// stopAccepting drains the edges, both at once: one after the other would take
// longer than an orchestrator waits.
func (g *Gateway) stopAccepting() {
	var edges sync.WaitGroup
	defer edges.Wait()
	if g.outbind != nil {
		edges.Go(func() {
			drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
			defer cancel()
			_ = g.outbind.Shutdown(drain) // who is cut off has not said whose it is
		})
	}
	edges.Go(g.stopMM4)
	if g.rest != nil {
		edges.Go(func() {
			drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
			defer cancel()
			if err := g.rest.Shutdown(drain); err != nil {
				g.Log.Warn("requests were cut off", "error", err)
			}
		})
	}
	if g.smpp != nil {
		edges.Go(func() {
			unbind, cancel := context.WithTimeout(context.Background(), unbindTimeout)
			defer cancel()
			if err := g.smpp.Shutdown(unbind); err != nil {
				g.Log.Warn("customers' sessions were cut off", "error", err)
			}
		})
	}
}

func (g *Gateway) close() {
	if g.config != nil {
		g.config.Stop()
	}
	if g.optOuts != nil {
		g.optOuts.Stop()
	}
	if g.ops != nil {
		g.ops.stop()
	}
	g.profiles.stop()
	g.background.Wait()
	if g.sender != nil {
		g.sender.Close()
	}
	if g.shared != nil {
		g.shared.Close()
	}
	if g.mailer != nil {
		g.mailer.Close()
	}
	if g.temporal != nil {
		g.temporal.Close()
	}
	if g.fetcher != nil {
		g.fetcher.Close()
	}
	if g.media != nil {
		if err := g.media.Store.Close(); err != nil {
			g.Log.Warn("close the media store", "error", err)
		}
	}
	if g.db != nil {
		g.db.Close()
	}
}

func rolesOf(roles map[string]bool) []string {
	var out []string
	for _, r := range allRoles {
		if roles[r] {
			out = append(out, r)
		}
	}
	return out
}

// restEdge is what the shutdown needs of the REST edge.
type restEdge interface {
	Serve(net.Listener) error
	Shutdown(ctx context.Context) error
}

func listen(host string, port int) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return l, nil
}

// serve runs a server and reports an end that nobody asked for.
func (g *Gateway) serve(name string, run func() error) {
	g.background.Go(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			g.ready.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}
