package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider/internal/secret"
)

// options are what is fixed for the life of the process, and the behaviour it
// begins with.
type options struct {
	Listen          string
	HTTP            string
	ReadyFile       string
	LogLevel        string
	MaxDestinations int
	ResponseTimeout duration
	Config          config
}

// defaultMaxDestinations takes about a gigabyte when it is reached.
const defaultMaxDestinations = 2_000_000

const helpHead = `smscsim is an SMSC to talk to.

Every flag may be given in the environment instead: SMSCSIM_ and its name in
capitals, as SMSCSIM_RECEIPT_DELAY=2s. A flag on the command line goes first.
All but those marked (fixed) change at run time: PUT /config with a JSON object
of names with underscores, as {"receipt_delay": "2s"}; GET /config shows all.

`

const helpTail = `
HTTP: GET /stats, /destinations?since=&limit=, /messages?destination=, /config,
/healthz; PUT /config; POST /mo, /reset, /disconnect.

With --magic the last four digits of a destination choose what becomes of it:
  0001 receipt UNDELIV err 001         0008 refused, RINVDSTADR
  0002 receipt EXPIRED err 002         0009 receipt before the answer
  0003 receipt REJECTD err 003         0010 two receipts
  0004 no receipt                      0011 taken, then the connection is dropped
  0005 taken, no answer (see           0012 the connection is dropped, not taken
       --silent-receipts)              0013 taken, no answer, no receipt
  0006 RTHROTTLED once, then taken     0014 RMSGQFUL once, then taken
  0007 always RSYSERR                  0015 always RSUBMITFAIL
`

// readOptions reads flags and environment. flag.ErrHelp means that help was
// asked for and shown.
func readOptions(args, environ []string, help io.Writer) (options, error) {
	o := options{Config: defaultConfig()}
	fs := flag.NewFlagSet("smscsim", flag.ContinueOnError)
	fs.SetOutput(help)
	fs.Usage = func() {
		fmt.Fprint(help, helpHead)
		fs.PrintDefaults()
		fmt.Fprint(help, helpTail)
	}
	o.fixedFlags(fs)
	o.Config.submitFlags(fs)
	o.Config.receiptFlags(fs)
	if err := fromEnvironment(fs, environ); err != nil {
		return o, err
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	if o.MaxDestinations < 1 {
		return o, fmt.Errorf("max-destinations is %d; want 1 or more", o.MaxDestinations)
	}
	if err := o.Config.validate(); err != nil {
		return o, fmt.Errorf("flags: %w", err)
	}
	return o, nil
}

func fromEnvironment(fs *flag.FlagSet, environ []string) error {
	var bad error
	fs.VisitAll(func(f *flag.Flag) {
		name := "SMSCSIM_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		for _, entry := range environ {
			key, value, _ := strings.Cut(entry, "=")
			if key != name || value == "" {
				continue
			}
			if err := fs.Set(f.Name, value); err != nil && bad == nil {
				bad = fmt.Errorf("%s: %w", name, err)
			}
		}
	})
	return bad
}

func (o *options) fixedFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:2875", "`host:port` of the SMPP listener; port 0 is a free one (fixed)")
	fs.StringVar(&o.HTTP, "http", "127.0.0.1:0", "`host:port` of the HTTP listener; port 0 is a free one (fixed)")
	fs.StringVar(&o.ReadyFile, "ready-file", "", "`path` that gets {smpp, http, pid} as JSON when both listen, removed at a graceful stop (fixed)")
	fs.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error; the log goes to stderr (fixed)")
	fs.IntVar(&o.MaxDestinations, "max-destinations", defaultMaxDestinations, "destinations and messages that are told apart; the rest is counted as overflow (fixed)")
	o.ResponseTimeout = duration(defaultResponseTimeout)
	fs.TextVar(&o.ResponseTimeout, "response-timeout", o.ResponseTimeout, "how long a `duration` a deliver_sm waits for its answer before it is sent again (fixed)")
}

func (c *config) submitFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.SystemID, "system-id", c.SystemID, "system_id that may bind; empty: any")
	fs.TextVar(&c.Password, "password", secret.String{}, "`password` of a bind; empty: any")
	fs.TextVar(&c.Latency, "latency", c.Latency, "`duration` from a submit to its answer")
	fs.TextVar(&c.LatencyJitter, "latency-jitter", c.LatencyJitter, "`duration` by which the latency varies, up and down")
	fs.IntVar(&c.ThrottleRate, "throttle-rate", c.ThrottleRate, "submits in a second of one system_id above which RTHROTTLED is answered; 0: no limit")
	fs.Float64Var(&c.ThrottlePercent, "throttle-percent", c.ThrottlePercent, "share of submits answered RTHROTTLED")
	fs.Float64Var(&c.ErrorPercent, "error-percent", c.ErrorPercent, "share of submits refused with one of --error-statuses")
	fs.TextVar(&c.ErrorStatuses, "error-statuses", c.ErrorStatuses, "`statuses` by name or number, separated by commas")
	fs.Float64Var(&c.SilentPercent, "silent-percent", c.SilentPercent, "share of submits that are taken and never answered")
	fs.BoolVar(&c.SilentReceipts, "silent-receipts", c.SilentReceipts, "whether those get a receipt")
	fs.BoolVar(&c.Away, "away", c.Away, "hang up on everybody, at once")
	fs.IntVar(&c.DisconnectEvery, "disconnect-every", c.DisconnectEvery, "drop the connection at every `n`-th submit instead of answering; 0: never")
	fs.Float64Var(&c.DisconnectPercent, "disconnect-percent", c.DisconnectPercent, "share of submits at which the connection is dropped")
	fs.Float64Var(&c.DisconnectRecordedPercent, "disconnect-recorded-percent", c.DisconnectRecordedPercent, "share of those that were taken before it")
	fs.StringVar(&c.IDFormat, "id-format", c.IDFormat, "message ids: decimal, hex, hex-resp-decimal-receipt, decimal-resp-hex-receipt, uuid or leading-zeros (in the answer alone)")
	fs.StringVar(&c.Alphabet, "alphabet", c.Alphabet, "what data_coding 0 means: gsm7, latin1 or ascii")
	fs.IntVar(&c.Window, "window", c.Window, "unanswered submits of a session above which RTHROTTLED is answered; 0: 100000")
	fs.IntVar(&c.DeliverWindow, "deliver-window", c.DeliverWindow, "unanswered deliver_sm to one session, from its next bind on")
	fs.BoolVar(&c.Magic, "magic", c.Magic, "let the last four digits of a destination choose, see below")
	fs.Uint64Var(&c.Seed, "seed", c.Seed, "makes the random choices repeatable; 0: different each time")
}

func (c *config) receiptFlags(fs *flag.FlagSet) {
	fs.TextVar(&c.ReceiptDelay, "receipt-delay", c.ReceiptDelay, "`duration` from the answer to the receipt")
	fs.TextVar(&c.ReceiptDelayJitter, "receipt-delay-jitter", c.ReceiptDelayJitter, "`duration` by which it varies, up and down")
	fs.TextVar(&c.ReceiptRateFinal, "receipt-rate-final", c.ReceiptRateFinal, "`shares` of final states with err codes, as UNDELIV=2:001,EXPIRED=1; the rest is DELIVRD")
	fs.StringVar(&c.ReceiptTLVs, "receipt-tlvs", c.ReceiptTLVs, "where receipts carry id and state: both, text or tlv")
	fs.TextVar(&c.ReceiptRetry, "receipt-retry", c.ReceiptRetry, "`duration` before a receipt that was not taken is sent again")
	fs.IntVar(&c.ReceiptCap, "receipt-cap", c.ReceiptCap, "receipts and inbound messages held at most; the rest is dropped and counted")
	fs.Float64Var(&c.NoReceiptPercent, "no-receipt-percent", c.NoReceiptPercent, "share of messages without a receipt")
	fs.Float64Var(&c.DuplicateReceiptPercent, "duplicate-receipt-percent", c.DuplicateReceiptPercent, "share of messages with two receipts")
	fs.Float64Var(&c.EarlyReceiptPercent, "early-receipt-percent", c.EarlyReceiptPercent, "share of messages whose receipt comes before the answer")
	fs.Float64Var(&c.MORate, "mo-rate", c.MORate, "inbound messages per second")
	fs.StringVar(&c.MOAccount, "mo-account", c.MOAccount, "system_id that gets them; empty: each that is bound, in turn")
	fs.StringVar(&c.MOFrom, "mo-from", c.MOFrom, "their sender; empty: the recipient of the latest submit")
	fs.StringVar(&c.MOTo, "mo-to", c.MOTo, "their recipient; empty: the sender of the latest submit")
	fs.StringVar(&c.MOText, "mo-text", c.MOText, "their text; a running number follows it")
}
