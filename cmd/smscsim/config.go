package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/text"
)

// How message ids look. Numbers are the same number in both places.
const (
	idDecimal      = "decimal"
	idHex          = "hex"
	idHexDecimal   = "hex-resp-decimal-receipt"
	idDecimalHex   = "decimal-resp-hex-receipt"
	idUUID         = "uuid"
	idLeadingZeros = "leading-zeros"
)

// Where a receipt carries its id and state.
const (
	receiptBoth = "both"
	receiptText = "text"
	receiptTLV  = "tlv"
)

// config is how the simulator behaves. All of it may change while it runs;
// names in JSON are those of the flags with underscores.
type config struct {
	SystemID string        `json:"system_id"` // empty: any
	Password secret.String `json:"password"`  // empty: any; shown masked

	Latency       duration `json:"latency"`
	LatencyJitter duration `json:"latency_jitter"`

	ReceiptDelay            duration `json:"receipt_delay"`
	ReceiptDelayJitter      duration `json:"receipt_delay_jitter"`
	ReceiptRateFinal        outcomes `json:"receipt_rate_final"`
	ReceiptTLVs             string   `json:"receipt_tlvs"`
	ReceiptRetry            duration `json:"receipt_retry"`
	ReceiptCap              int      `json:"receipt_cap"`
	NoReceiptPercent        float64  `json:"no_receipt_percent"`
	DuplicateReceiptPercent float64  `json:"duplicate_receipt_percent"`
	EarlyReceiptPercent     float64  `json:"early_receipt_percent"`

	ThrottleRate    int      `json:"throttle_rate"`
	ThrottlePercent float64  `json:"throttle_percent"`
	ErrorPercent    float64  `json:"error_percent"`
	ErrorStatuses   statuses `json:"error_statuses"`
	SilentPercent   float64  `json:"silent_percent"`
	SilentReceipts  bool     `json:"silent_receipts"`

	Away                      bool    `json:"away"` // nobody can connect, and who was connected is not any more
	DisconnectEvery           int     `json:"disconnect_every"`
	DisconnectPercent         float64 `json:"disconnect_percent"`
	DisconnectRecordedPercent float64 `json:"disconnect_recorded_percent"`

	MORate    float64 `json:"mo_rate"`
	MOAccount string  `json:"mo_account"`
	MOFrom    string  `json:"mo_from"`
	MOTo      string  `json:"mo_to"`
	MOText    string  `json:"mo_text"`

	IDFormat      string `json:"id_format"`
	Alphabet      string `json:"alphabet"`
	Window        int    `json:"window"`
	DeliverWindow int    `json:"deliver_window"`
	Magic         bool   `json:"magic"`
	Seed          uint64 `json:"seed"` // 0: a different one at each start
}

// Bounds and defaults.
const (
	defaultReceiptDelay = 50 * time.Millisecond
	defaultReceiptRetry = time.Second
	defaultReceiptCap   = 1_000_000
	// defaultDeliverWindow lets one bind take receipts at full speed from a
	// gateway that answers each after a commit of some milliseconds.
	defaultDeliverWindow = 50
	// maxWindow bounds what one session leaves unanswered: latency times rate.
	maxWindow = 100_000
	maxMORate = 1000
)

func defaultConfig() config {
	return config{
		ReceiptDelay: duration(defaultReceiptDelay), ReceiptRetry: duration(defaultReceiptRetry),
		ReceiptTLVs: receiptBoth, ReceiptCap: defaultReceiptCap, SilentReceipts: true,
		ErrorStatuses: statuses{8}, DisconnectRecordedPercent: 100,
		MOText: "Hello from a handset", IDFormat: idDecimal, Alphabet: text.AlphabetGSM7,
		DeliverWindow: defaultDeliverWindow,
	}
}

// validate names every setting that is out of its range.
func (c *config) validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for name, p := range map[string]float64{
		"throttle_percent": c.ThrottlePercent, "error_percent": c.ErrorPercent, "silent_percent": c.SilentPercent,
		"no_receipt_percent": c.NoReceiptPercent, "duplicate_receipt_percent": c.DuplicateReceiptPercent,
		"early_receipt_percent": c.EarlyReceiptPercent, "disconnect_percent": c.DisconnectPercent,
		"disconnect_recorded_percent": c.DisconnectRecordedPercent,
	} {
		bad(isPercent(p), "%s is %g; want 0 to 100", name, p)
	}
	for name, n := range map[string]int{
		"throttle_rate": c.ThrottleRate, "disconnect_every": c.DisconnectEvery, "receipt_cap": c.ReceiptCap,
	} {
		bad(n >= 0, "%s is %d; want 0 or more", name, n)
	}
	bad(c.ErrorPercent == 0 || len(c.ErrorStatuses) > 0, "error_statuses is empty; name at least one status")
	bad(!math.IsNaN(c.MORate) && c.MORate >= 0 && c.MORate <= maxMORate, "mo_rate is %g; want 0 to %d", c.MORate, maxMORate)
	bad(c.Window >= 0 && c.Window <= maxWindow, "window is %d; want 0 to %d", c.Window, maxWindow)
	bad(c.DeliverWindow >= 1 && c.DeliverWindow <= maxWindow, "deliver_window is %d; want 1 to %d", c.DeliverWindow, maxWindow)
	bad(c.ReceiptRetry >= duration(time.Millisecond), "receipt_retry is %s; want 1ms or more", time.Duration(c.ReceiptRetry))
	for _, choice := range []struct {
		name, value string
		of          []string
	}{
		{"id_format", c.IDFormat, []string{idDecimal, idHex, idHexDecimal, idDecimalHex, idUUID, idLeadingZeros}},
		{"receipt_tlvs", c.ReceiptTLVs, []string{receiptBoth, receiptText, receiptTLV}},
		{"alphabet", c.Alphabet, []string{text.AlphabetGSM7, text.AlphabetLatin1, text.AlphabetASCII}},
	} {
		bad(slices.Contains(choice.of, choice.value), "%s is %q; want one of %q", choice.name, choice.value, choice.of)
	}
	return errors.Join(errs...)
}

// with gives a copy with the settings that the JSON object names. A password
// that comes back as its mask is kept as it was.
func (c config) with(r io.Reader) (config, error) {
	kept := c.Password
	c.ReceiptRateFinal, c.ErrorStatuses = slices.Clone(c.ReceiptRateFinal), slices.Clone(c.ErrorStatuses)
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return c, errors.New("something follows the JSON object")
	}
	if c.Password.Reveal() == kept.String() {
		c.Password = kept
	}
	return c, c.validate()
}

// window is how many submits of a session may wait for their answer.
func (c *config) window() int {
	if c.Window > 0 {
		return c.Window
	}
	return maxWindow
}
