package httpvendor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/snapshot"
)

// defaultWindow is how many requests run at once when the vendor's row says nothing.
const defaultWindow = 10

// Link is a vendors.Link over HTTP. Make one with New; it is safe for concurrent use.
// A changed vendor row needs a new Link.
type Link struct {
	*vendors.Gate
	spec   Spec
	vendor *snapshot.Vendor
	api    *api
	status string // URL at which a message's status is reported, but for its attempt
	now    func() time.Time
}

// New checks the vendor's row. The error names the field; it never holds a secret.
func New(spec Spec, cfg Config, v *snapshot.Vendor) (*Link, error) {
	if cfg.PublicURL == "" {
		return nil, fmt.Errorf("vendor %s: PUBLIC_URL is not set, so it has nowhere to report to", v.Name)
	}
	a, err := newAPI(spec, v)
	if err != nil {
		return nil, err
	}
	l := &Link{
		spec: spec, vendor: v, api: a, now: cfg.Now,
		status: strings.TrimRight(cfg.PublicURL, "/") + "/status/" + v.ID.String() + "?" + attemptParam + "=",
	}
	if l.now == nil {
		l.now = time.Now
	}
	gate := vendors.GateConfig{Window: window(v), Retry: cfg.Retry, Probe: func(ctx context.Context) error {
		_, err := a.probe(ctx)
		return err
	}}
	if cfg.Log != nil {
		gate.Log = cfg.Log.With("vendor", v.Name)
	}
	l.Gate = vendors.NewGate(gate)
	return l, nil
}

func window(v *snapshot.Vendor) int {
	if v.Window > 0 {
		return v.Window
	}
	return defaultWindow
}

// Whole is true: the vendor cuts texts itself.
func (l *Link) Whole() bool { return true }

// Repeats is false: what is posted twice is sent twice.
func (l *Link) Repeats() bool { return false }

// Stop takes no more submits, waits for the answers under way until ctx ends, then
// gives them up. A second call waits as well.
func (l *Link) Stop(ctx context.Context) {
	l.Gate.Stop(ctx)
	l.api.close()
}
