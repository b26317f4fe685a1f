// Command bench measures the running, real stack: it sends messages over REST,
// takes their webhooks, and asks the simulator what the vendor saw. `make bench`
// runs it; docs/performance.md holds its figures. With --smpp it sends over one
// SMPP bind as well, takes receipts for the ends, and asks the gateway for each
// message that it answered; `make bench-smpp` does that alone.
//
// Load is open-loop: messages are sent on a schedule made beforehand, and
// latency runs from the scheduled time, so that a gateway that stalls cannot
// hide it by stalling its load as well. Only the floods (capacity, burst) send
// as fast as answers come.
//
// The bench shares the machine with what it measures, so the figures are those
// of a machine that also bears its load; its own share is in the report. It
// changes nothing of the stack: no setting is made for a measurement.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// options say what is measured.
type options struct {
	Env  string // demo.env of a running stack; empty: start one
	Dir  string // of an own stack
	Keep bool   // leave its folder

	WarmUp      time.Duration
	WarmUpRate  float64
	Idle        time.Duration
	Rates       rateList
	SteadyFor   time.Duration
	Even        bool
	Seed        uint64
	Connections int
	Capacity    int
	Burst       int
	BurstConns  int
	SMPP        int // messages over one bind
	SMPPWindow  int
	Patience    time.Duration

	Campaign      int // messages of another account's campaign; 0: none
	CampaignClass string
	CampaignRate  int           // parts a second that the vendor takes meanwhile
	CampaignCalm  time.Duration // without it
	CampaignFor   time.Duration // from its first message to the end
	ProbeRate     float64       // messages a second of each class that it is in the way of
	// ReceiptDelay is set at the simulator, also at one that ran before.
	ReceiptDelay time.Duration

	Auth     string
	Verify   bool
	JSON     string
	Markdown string
}

// rateList is a flag: messages a second, with commas between them.
type rateList []float64

func (r *rateList) String() string {
	var list []string
	for _, rate := range *r {
		list = append(list, strconv.FormatFloat(rate, 'g', -1, 64))
	}
	return strings.Join(list, ",")
}

// Set reads the list; "" is an empty one.
func (r *rateList) Set(s string) error {
	*r = nil
	for _, word := range strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' }) {
		rate, err := strconv.ParseFloat(word, 64)
		if err != nil || !(rate > 0 && rate <= 100_000) {
			return fmt.Errorf("%q is no rate; want messages a second, up to 100000", word)
		}
		*r = append(*r, rate)
	}
	return nil
}

func readOptions(args []string, help io.Writer) (options, error) {
	o := options{Rates: rateList{50, 100, 150}}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(help)
	fs.StringVar(&o.Env, "env", "", "demo.env of a stack that runs; without it the bench starts its own, and stops it")
	fs.StringVar(&o.Dir, "dir", filepath.Join(".run", "bench"), "folder of its own stack, on the disk to be measured")
	fs.BoolVar(&o.Keep, "keep", false, "do not remove that folder at the end")
	fs.DurationVar(&o.WarmUp, "warm-up", 8*time.Second, "load before anything is measured")
	fs.Float64Var(&o.WarmUpRate, "warm-up-rate", 50, "its rate, messages a second")
	fs.DurationVar(&o.Idle, "idle", 5*time.Second, "how long the unused stack is measured; 0: not")
	fs.Var(&o.Rates, "rates", "steady rates, messages a second; empty: none. A rate that is not held ends the list")
	fs.DurationVar(&o.SteadyFor, "steady", 20*time.Second, "how long each steady rate is offered")
	fs.BoolVar(&o.Even, "even", false, "evenly spaced arrivals instead of random ones")
	fs.Uint64Var(&o.Seed, "seed", 1, "of the random arrivals")
	fs.IntVar(&o.Connections, "connections", 256, "connections at steady rates, at most")
	fs.IntVar(&o.Capacity, "capacity", 3000, "messages of the capacity phase; 0: none")
	fs.IntVar(&o.Burst, "burst", 20_000, "messages of the burst; 0: none")
	fs.IntVar(&o.BurstConns, "burst-connections", 64, "connections of the burst and the capacity phase")
	fs.IntVar(&o.SMPP, "smpp", 0, "messages over one SMPP transceiver; 0: none. Their end is their receipt")
	fs.IntVar(&o.SMPPWindow, "smpp-window", 100, "its unanswered submits")
	fs.IntVar(&o.Campaign, "campaign", 0, "messages of one account's campaign that is in another account's way; 0: none. The run ends while it waits")
	fs.StringVar(&o.CampaignClass, "campaign-class", "bulk", "its message_class")
	fs.IntVar(&o.CampaignRate, "campaign-rate", 100, "parts a second that the vendor takes meanwhile")
	fs.DurationVar(&o.CampaignCalm, "campaign-calm", 10*time.Second, "how long the other account is measured before the campaign")
	fs.DurationVar(&o.CampaignFor, "campaign-for", 2*time.Minute, "how long it is measured from the campaign's first message on")
	fs.Float64Var(&o.ProbeRate, "probe-rate", 1, "one-time passwords, and as many conversation messages, that the other account sends a second")
	fs.DurationVar(&o.Patience, "patience", 30*time.Second, "a backlog of which nothing ends for so long is given up")
	fs.DurationVar(&o.ReceiptDelay, "receipt-delay", 50*time.Millisecond, "from the simulator's answer to its receipt; receipts that come within a second cost the least")
	fs.StringVar(&o.Auth, "auth", "token", "token or basic")
	fs.BoolVar(&o.Verify, "verify", false, "check the webhooks' signatures, which costs the bench CPU")
	fs.StringVar(&o.JSON, "json", "", "write the report to this file as JSON")
	fs.StringVar(&o.Markdown, "markdown", "", "write the report to this file as Markdown")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate(fs.Args())
}

func (o *options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is no flag", rest[0])
	case o.Connections < 1 || o.BurstConns < 1 || o.Connections > 10_000 || o.BurstConns > 10_000:
		return errors.New("connections are 1 to 10000")
	case o.WarmUp < 0 || o.Idle < 0 || o.ReceiptDelay < 0 || o.SteadyFor <= 0 || o.Patience <= o.ReceiptDelay:
		return errors.New("a duration is negative, --steady is 0, or --patience is not above --receipt-delay")
	case !(o.WarmUpRate > 0 && o.WarmUpRate <= 100_000):
		return errors.New("--warm-up-rate is 1 to 100000")
	case o.Capacity < 0 || o.Burst < 0 || o.SMPP < 0:
		return errors.New("--capacity, --burst and --smpp are 0 or more")
	case o.Campaign < 0 || o.CampaignRate < 1 || o.CampaignRate > 10_000 || o.CampaignCalm < 0 || o.CampaignFor <= 0:
		return errors.New("--campaign and --campaign-calm are 0 or more, --campaign-for is more, --campaign-rate is 1 to 10000")
	case !(o.ProbeRate > 0 && o.ProbeRate <= 100) || !message.Class(o.CampaignClass).Valid():
		return errors.New("--probe-rate is above 0 and at most 100, --campaign-class is otp, conversation or bulk")
	case o.Campaign > 0 && o.Verify:
		return errors.New("--verify knows the secret of one account, and a --campaign needs two")
	case o.SMPPWindow < 1 || o.SMPPWindow > 1000:
		return errors.New("--smpp-window is 1 to 1000")
	case o.Auth != "token" && o.Auth != "basic":
		return fmt.Errorf("--auth is %q; want token or basic", o.Auth)
	case o.messages() > maxMessages:
		return fmt.Errorf("that makes %d messages; want %d at most", o.messages(), maxMessages)
	}
	return nil
}

// maxMessages bounds the memory of a run, some 70 octets a message, and stays
// within what the simulator tells apart.
const maxMessages = 1_000_000

func (o *options) messages() int {
	n := arrivals(o.WarmUpRate, o.WarmUp) + o.Capacity + o.Burst + o.SMPP
	for _, rate := range o.Rates {
		n += arrivals(rate, o.SteadyFor)
	}
	if o.Campaign > 0 {
		n += o.Campaign + len(probeClasses)*o.probeCount()
	}
	return n
}

// arrivals is how many messages a rate makes in a while.
func arrivals(rate float64, d time.Duration) int { return int(rate * d.Seconds()) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the bench at once
	o, err := readOptions(os.Args[1:], os.Stderr)
	if err == nil {
		err = bench(ctx, o, os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench opens or starts a stack, measures it, and stops what it started.
func bench(ctx context.Context, o options, args []string) (err error) {
	var t *target
	if o.Env != "" {
		t, err = openTarget(o.Env)
	} else {
		t, err = startTarget(ctx, o.Dir, os.Stderr)
	}
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := t.stop(); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
		// What went wrong is in the logs.
		if t.own != nil && !o.Keep && (err == nil || errors.Is(err, context.Canceled)) {
			err = errors.Join(err, remove(t.dir))
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the bench, or with the stack
		select {
		case <-t.ended():
			cancel(errors.New("the stack ended while it was measured; its logs are in " + t.dir))
		case <-ctx.Done():
		}
	}()
	return measure(ctx, o, t, args)
}

// measure goes through all phases and reports, also of those that an interrupt
// leaves.
func measure(ctx context.Context, o options, t *target, args []string) error {
	report := &report{Setting: describe(ctx, t, args)}
	of := numbers{from: rand.Uint64N(planSize())}
	records := newRecords(o.messages(), strconv.FormatUint(rand.Uint64N(1<<32), 36))
	sim, err := openSimulator(ctx, t.env["POSTRIDER_SMSC_STATS"])
	if err != nil {
		return err
	}
	if err := sim.delayReceipts(ctx, o.ReceiptDelay); err != nil {
		return err
	}
	hooks, err := openConsumer(o, t, records)
	if err != nil {
		return err
	}
	defer func() { _ = hooks.stop() }()
	api, err := openAPI(ctx, o, t, hooks.url())
	if err != nil {
		return err
	}
	load := newLoad(api, of, records, max(o.Connections, o.BurstConns))
	defer load.close()
	r := &runner{load: load, records: records, meter: meter{proc: "/proc", root: t.pid, self: os.Getpid()},
		counter: temporalCounter(t.dir), patience: o.Patience, out: os.Stderr}
	report.Skipped, err = phases(ctx, o, r, t)
	if err != nil {
		return err
	}
	if o.Campaign > 0 && ctx.Err() == nil {
		if report.Campaign, err = campaignOf(ctx, o, t, r, sim, api); err != nil {
			return err
		}
	}
	// An interrupted run is told of too: what was measured was measured.
	quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	submits, err := sim.submits(quiet, of)
	if err == nil {
		r.settle(submits)
	}
	report.Phases, report.Forged = r.results, int(hooks.forged.Load())
	return errors.Join(report.write(os.Stdout, o), err, context.Cause(ctx), report.verdict())
}

// campaignOf makes the account of the campaign, bounds the vendor, measures, and takes
// the bound away.
func campaignOf(ctx context.Context, o options, t *target, r *runner, sim *simulator, a *api) (x *campaign, err error) {
	op, err := openOperator(r.meter)
	if err != nil {
		return nil, err
	}
	account, err := op.addSender(ctx, campaignSender)
	if err != nil {
		return nil, err
	}
	if err := op.throttle(ctx, o.CampaignRate); err != nil {
		return nil, err
	}
	if t.own == nil {
		defer func() { err = errors.Join(err, op.throttle(context.WithoutCancel(ctx), 0)) }()
	}
	bulk, err := newAPI(t.env["POSTRIDER_URL"], basic(account.key, account.secret), account.from, a.webhook)
	if err != nil {
		return nil, err
	}
	bulk.class = o.CampaignClass
	c := &campaigner{runner: r, o: &o, sim: sim, bulk: newLoad(bulk, r.load.numbers, r.records, o.BurstConns), others: map[message.Class]*load{}}
	defer c.bulk.close()
	for _, class := range probeClasses {
		own := *a
		own.class = string(class)
		c.others[class] = newLoad(&own, r.load.numbers, r.records, probeConnections)
		defer c.others[class].close()
	}
	return c.run(ctx)
}

const (
	// campaignSender is the number of the campaign's account; the demo's is another.
	campaignSender = "+12025550144"
	// probeConnections lets the other account's messages leave when they are due,
	// however long the ones before them take.
	probeConnections = 32
)

// phases runs them all and names the rates that were left out.
func phases(ctx context.Context, o options, r *runner, t *target) (skipped []float64, err error) {
	draw := func(rate float64, d time.Duration) schedule {
		if o.Even {
			return evenly(arrivals(rate, d), rate)
		}
		return randomly(arrivals(rate, d), rate, o.Seed)
	}
	if due := draw(o.WarmUpRate, o.WarmUp); len(due) > 0 {
		r.steady(ctx, warmUp, o.WarmUpRate, due, o.Connections)
	}
	if o.Idle > 0 && ctx.Err() == nil {
		r.idle(ctx, o.Idle)
	}
	for i, rate := range o.Rates {
		if ctx.Err() != nil {
			return nil, nil
		}
		if x := r.steady(ctx, fmt.Sprintf("steady %g/s", rate), rate, draw(rate, o.SteadyFor), o.Connections); !x.Held {
			skipped = o.Rates[i+1:]
			break
		}
	}
	if o.Capacity > 0 && ctx.Err() == nil {
		r.flood(ctx, capacity, o.Capacity, o.BurstConns)
	}
	if o.Burst > 0 && ctx.Err() == nil {
		r.flood(ctx, burst, o.Burst, o.BurstConns)
	}
	if o.SMPP > 0 && ctx.Err() == nil {
		e, err := bindESME(ctx, t, r.records, o.SMPPWindow)
		if err != nil {
			return skipped, err
		}
		defer e.session.Close()
		x := r.floodOver(ctx, fmt.Sprintf("SMPP, window %d", o.SMPPWindow), o.SMPP, 1, e.posters(o.SMPPWindow))
		if x.Kept = e.look(ctx, o.SMPPWindow); x.Kept.Found < x.Kept.Answers {
			fmt.Fprintf(r.out, "  of %d answers %d have an id of their own, and %d are in the journal\n", x.Kept.Answers, x.Kept.Distinct, x.Kept.Found)
		}
	}
	return skipped, nil
}

func openConsumer(o options, t *target, r *records) (*consumer, error) {
	secret := ""
	if o.Verify {
		var err error
		if secret, err = t.webhookSecret(); err != nil {
			return nil, err
		}
	}
	return startConsumer(r, secret)
}

func openAPI(ctx context.Context, o options, t *target, hook string) (*api, error) {
	base, key, secret := t.env["POSTRIDER_URL"], t.env["POSTRIDER_API_KEY"], t.env["POSTRIDER_API_SECRET"]
	authorization := basic(key, secret)
	if o.Auth == "token" {
		var err error
		if authorization, err = bearer(ctx, base, key, secret); err != nil {
			return nil, err
		}
	}
	return newAPI(base, authorization, t.env["POSTRIDER_FROM"], hook)
}
