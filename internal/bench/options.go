package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// options say what is measured.
type options struct {
	Env  string // demo.env of a running stack; empty: start one
	Dir  string // of an own stack
	Keep bool   // leave its folder
	Only bool   // nothing but what the flags name

	WarmUp      time.Duration
	WarmUpRate  float64
	Idle        time.Duration
	Rates       rateList
	SteadyFor   time.Duration
	Even        bool
	Seed        uint64
	Connections int
	Capacity    int // messages of each round
	Rounds      int
	Floor       int      // workflows of each of its rounds and shapes; 0: none
	Shares      rateList // of the capacity just measured, per cent
	AcceptRate  float64
	AcceptFor   time.Duration // 0: not
	AcceptOver  string        // rest, smpp or both
	Burst       int
	BurstConns  int
	SMPP        int // messages over one bind
	SMPPWindow  int
	Gateways    int // processes that are compared with one; below 2: not
	Patience    time.Duration

	Backlog      int // messages accepted while the vendor is away
	Soak         time.Duration
	SoakRate     float64
	Overload     time.Duration
	OverloadRate float64
	OverloadCap  int // messages that its account may have on their way

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
	Report   string // path without its ending: JSON, Markdown and plots
	JSON     string
	Markdown string
}

// rateList is a flag: numbers above 0, with commas between them.
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
			return fmt.Errorf("%q is no rate; want a number above 0, up to 100000", word)
		}
		*r = append(*r, rate)
	}
	return nil
}

// defaults are what a run without flags measures: everything that the targets
// name and that minutes can show.
func defaults() options {
	return options{Rates: rateList{50}, Shares: rateList{10, 50, 80, 100}, SteadyFor: 30 * time.Second, Idle: 5 * time.Second,
		Capacity: 3000, Rounds: 3, Floor: 2000, AcceptFor: 4 * time.Second, AcceptOver: "both", Gateways: 2}
}

// nothing is what a run with --only begins with.
func nothing() options {
	return options{SteadyFor: defaults().SteadyFor, Rounds: 1, AcceptOver: defaults().AcceptOver}
}

func readOptions(args []string, help io.Writer) (options, error) {
	o := defaults()
	if slices.Contains(args, "--only") || slices.Contains(args, "-only") || slices.Contains(args, "--only=true") {
		o = nothing()
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(help)
	o.stackFlags(fs)
	o.phaseFlags(fs)
	o.longFlags(fs)
	for _, e := range extras {
		e.flags(fs)
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	return o, errors.Join(o.validate(fs.Args()), o.validateLong())
}

func (o *options) stackFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.Env, "env", "", "demo.env of a stack that runs; without it the bench starts its own, and stops it")
	fs.StringVar(&o.Dir, "dir", filepath.Join(".run", "bench"), "folder of its own stack, on the disk to be measured")
	fs.BoolVar(&o.Keep, "keep", false, "do not remove that folder at the end")
	fs.BoolVar(&o.Only, "only", false, "measure nothing but what the other flags name")
	fs.StringVar(&o.Auth, "auth", "token", "token or basic")
	fs.BoolVar(&o.Verify, "verify", false, "check the webhooks' signatures, which costs the bench CPU")
	fs.StringVar(&o.Report, "report", "", "write the report to this path with .json and .md added, and its plots beside them")
	fs.StringVar(&o.JSON, "json", "", "write the report to this file as JSON")
	fs.StringVar(&o.Markdown, "markdown", "", "write the report to this file as Markdown")
}

func (o *options) phaseFlags(fs *flag.FlagSet) {
	fs.DurationVar(&o.WarmUp, "warm-up", 8*time.Second, "load before anything is measured")
	fs.Float64Var(&o.WarmUpRate, "warm-up-rate", 50, "its rate, messages a second")
	fs.DurationVar(&o.Idle, "idle", o.Idle, "how long the unused stack is measured; 0: not")
	fs.Var(&o.Rates, "rates", "steady rates, messages a second; empty: none. A rate that is not held ends the list")
	fs.Var(&o.Shares, "shares", "steady rates as per cent of the capacity that this run has measured; empty: none")
	fs.DurationVar(&o.SteadyFor, "steady", o.SteadyFor, "how long each steady rate is offered")
	fs.BoolVar(&o.Even, "even", false, "evenly spaced arrivals instead of random ones")
	fs.Uint64Var(&o.Seed, "seed", 1, "of the random arrivals")
	fs.IntVar(&o.Connections, "connections", 256, "connections at steady rates, at most")
	fs.IntVar(&o.Capacity, "capacity", o.Capacity, "messages of each round of the capacity phase; 0: none, and then neither --shares nor --gateways")
	fs.IntVar(&o.Rounds, "rounds", o.Rounds, "rounds of the capacity phase, of which the median is told")
	fs.IntVar(&o.Floor, "floor", o.Floor, "bare workflows, of each shape, before, between and after the rounds; 0: none")
	fs.Float64Var(&o.AcceptRate, "accept-rate", 4500, "messages a second that are offered to acceptance, over REST and over SMPP")
	fs.DurationVar(&o.AcceptFor, "accept", o.AcceptFor, "how long each is offered; 0: not")
	fs.StringVar(&o.AcceptOver, "accept-over", o.AcceptOver, "rest, smpp or both: over what")
	fs.IntVar(&o.Burst, "burst", 0, "messages of the burst; 0: none")
	fs.IntVar(&o.BurstConns, "burst-connections", 64, "connections of the burst and the capacity phase")
	fs.IntVar(&o.SMPP, "smpp", 0, "messages over one SMPP transceiver; 0: none. Their end is their receipt")
	fs.IntVar(&o.SMPPWindow, "smpp-window", 100, "its unanswered submits")
	fs.IntVar(&o.Gateways, "gateways", o.Gateways, "compare the capacity of so many gateway processes with that of one; 0: do not")
	fs.DurationVar(&o.Patience, "patience", 30*time.Second, "a backlog of which nothing ends for so long is given up")
	fs.DurationVar(&o.ReceiptDelay, "receipt-delay", 50*time.Millisecond, "from the simulator's answer to its receipt; receipts that come within a second cost the least")
}

// longFlags are of what no run without flags measures.
func (o *options) longFlags(fs *flag.FlagSet) {
	fs.IntVar(&o.Backlog, "backlog", 0, "messages that are accepted while the vendor is away, and then drained; 0: none")
	fs.DurationVar(&o.Soak, "soak", 0, "how long memory is watched under a steady load; 0: not")
	fs.Float64Var(&o.SoakRate, "soak-rate", 30, "that load, messages a second")
	fs.DurationVar(&o.Overload, "overload", 0, "how long more is offered than can be completed; 0: not")
	fs.Float64Var(&o.OverloadRate, "overload-rate", 4000, "how much, messages a second")
	fs.IntVar(&o.OverloadCap, "overload-cap", 20_000, "messages that the overload's account may have on their way")
	fs.IntVar(&o.Campaign, "campaign", 0, "messages of one account's campaign that is in another account's way; 0: none. The run ends while it waits")
	fs.StringVar(&o.CampaignClass, "campaign-class", "bulk", "its message_class")
	fs.IntVar(&o.CampaignRate, "campaign-rate", 100, "parts a second that the vendor takes meanwhile")
	fs.DurationVar(&o.CampaignCalm, "campaign-calm", 10*time.Second, "how long the other account is measured before the campaign")
	fs.DurationVar(&o.CampaignFor, "campaign-for", 2*time.Minute, "how long it is measured from the campaign's first message on")
	fs.Float64Var(&o.ProbeRate, "probe-rate", 1, "one-time passwords, and as many conversation messages, that the other account sends a second")
}

func (o *options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is no flag", rest[0])
	case o.Connections < 1 || o.BurstConns < 1 || o.Connections > 10_000 || o.BurstConns > 10_000:
		return errors.New("connections are 1 to 10000")
	case o.WarmUp < 0 || o.Idle < 0 || o.ReceiptDelay < 0 || o.AcceptFor < 0 || o.SteadyFor <= 0 || o.Patience <= o.ReceiptDelay:
		return errors.New("a duration is negative, --steady is 0, or --patience is not above --receipt-delay")
	case !(o.WarmUpRate > 0 && o.WarmUpRate <= 100_000) || !(o.AcceptRate > 0 && o.AcceptRate <= 100_000):
		return errors.New("--warm-up-rate and --accept-rate are above 0, up to 100000")
	case o.Capacity < 0 || o.Burst < 0 || o.SMPP < 0 || o.Floor < 0 || o.Rounds < 1 || o.Rounds > 100:
		return errors.New("--capacity, --burst, --smpp and --floor are 0 or more, --rounds 1 to 100")
	case o.Gateways < 0 || o.Gateways > 8:
		return errors.New("--gateways are 0 to 8")
	case o.SMPPWindow < 1 || o.SMPPWindow > 1000:
		return errors.New("--smpp-window is 1 to 1000")
	case o.Auth != "token" && o.Auth != "basic":
		return fmt.Errorf("--auth is %q; want token or basic", o.Auth)
	case o.AcceptOver != "rest" && o.AcceptOver != "smpp" && o.AcceptOver != "both":
		return fmt.Errorf("--accept-over is %q; want rest, smpp or both", o.AcceptOver)
	case o.messages() > maxMessages:
		return fmt.Errorf("that makes %d messages; want %d at most", o.messages(), maxMessages)
	}
	return nil
}

func (o *options) validateLong() error {
	switch {
	case o.Campaign < 0 || o.CampaignRate < 1 || o.CampaignRate > 10_000 || o.CampaignCalm < 0 || o.CampaignFor <= 0:
		return errors.New("--campaign and --campaign-calm are 0 or more, --campaign-for is more, --campaign-rate is 1 to 10000")
	case !(o.ProbeRate > 0 && o.ProbeRate <= 100) || !message.Class(o.CampaignClass).Valid():
		return errors.New("--probe-rate is above 0 and at most 100, --campaign-class is otp, conversation or bulk")
	case (o.Campaign > 0 || o.Overload > 0) && o.Verify:
		return errors.New("--verify knows the secret of one account, and a --campaign or an --overload needs two")
	case o.Backlog < 0 || o.Soak < 0 || o.Overload < 0 || o.OverloadCap < 1:
		return errors.New("--backlog, --soak and --overload are 0 or more, --overload-cap is 1 or more")
	case !(o.SoakRate > 0 && o.SoakRate <= 100_000) || !(o.OverloadRate > 0 && o.OverloadRate <= 100_000):
		return errors.New("--soak-rate and --overload-rate are above 0, up to 100000")
	}
	return nil
}

// maxMessages bounds the memory of a run, some 70 octets a message, and stays
// within what the simulator tells apart.
const maxMessages = 1_000_000

// fastest is a capacity that two cores cannot reach: so many messages a second
// are kept room for in the phases whose rate is known only when they begin.
const fastest = 2000

func (o *options) messages() int {
	n := arrivals(o.WarmUpRate, o.WarmUp) + o.Rounds*o.Capacity + o.Burst + o.SMPP + o.Backlog +
		2*arrivals(o.AcceptRate, o.AcceptFor) + arrivals(o.SoakRate, o.Soak) + arrivals(o.OverloadRate, o.Overload)
	for _, rate := range o.Rates {
		n += arrivals(rate, o.SteadyFor)
	}
	if o.Capacity > 0 {
		for _, share := range o.Shares {
			n += arrivals(share/100*fastest, o.SteadyFor)
		}
	}
	if o.Gateways > 1 {
		n += gatewayRounds * (2*o.Capacity + o.Capacity/gatewayWarmUp)
	}
	if o.Campaign > 0 {
		n += o.Campaign + len(probeClasses)*o.probeCount()
	}
	for _, e := range extras {
		n += e.messages()
	}
	return n
}

// arrivals is how many messages a rate makes in a while.
func arrivals(rate float64, d time.Duration) int { return int(rate * d.Seconds()) }
