package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/webhook"
)

func (g *Gateway) ingressMetrics() ingress.Metrics {
	return ingress.Metrics{
		Accepted: func(edge string, took time.Duration) {
			g.metrics.AcceptDuration.WithLabelValues(edge).Observe(took.Seconds())
		},
		Status: func(m *message.Message, status message.Status, reason message.Reason) {
			g.metrics.MessageStatus.WithLabelValues(string(status), string(reason)).Inc()
			account := m.AccountID.String()
			switch {
			case status == message.StatusAccepted:
				g.metrics.SentPerCustomer.WithLabelValues(account).Inc()
				if m.Edge == message.EdgeSMPP {
					g.metrics.ServerSubmit.WithLabelValues(account).Inc()
				}
			default:
				g.observeViolation(m, reason)
			}
		},
		Flagged: func(m *message.Message, class string) {
			g.metrics.TenDLC.WithLabelValues(m.AccountID.String(), "content_"+class).Inc()
		},
		Receipt: func(vendor message.ID, state message.ReceiptState) {
			g.metrics.Receipts.WithLabelValues(vendor.String(), string(state)).Inc()
		},
		Inbound: func(vendor, account message.ID, first bool) {
			g.metrics.ServerDelivered.WithLabelValues(vendor.String()).Inc()
			if first && account != (message.ID{}) {
				g.metrics.ReceivedPerCustomer.WithLabelValues(account.String()).Inc()
			}
		},
		Backlog: func(now []message.Backlog) {
			depth := map[int]int{1: 0, 3: 0, 5: 0}
			for _, b := range now {
				depth[b.Priority] += b.Messages
			}
			for priority, n := range depth {
				g.metrics.QueueDepth.WithLabelValues(strconv.Itoa(priority)).Set(float64(n))
			}
		},
	}
}

func (g *Gateway) observeSubmit(vendor message.ID, _ string, took time.Duration, err error) {
	status := "ok"
	var no *message.SubmitError
	if errors.As(err, &no) {
		status = string(no.Reason)
	} else if err != nil {
		status = "error"
	}
	g.metrics.ClientSubmit.WithLabelValues(vendor.String(), status).Inc()
	g.metrics.SubmitDuration.WithLabelValues(vendor.String()).Observe(took.Seconds())
}

func (g *Gateway) observeOutcome(m *message.Message, status message.Status, reason message.Reason) {
	g.metrics.MessageStatus.WithLabelValues(string(status), string(reason)).Inc()
	if status.Final() && !m.SubmittedAt.IsZero() {
		g.metrics.CostPerCustomer.WithLabelValues(m.AccountID.String()).Add(float64(m.Price.Amount) / 1e6)
		g.metrics.TimeToSent.WithLabelValues(string(m.Class)).Observe(m.SubmittedAt.Sub(m.CreatedAt).Seconds())
	}
}

// observeRefusal counts what the policy has refused after acceptance.
func (g *Gateway) observeRefusal(m *message.Message, status message.Status, reason message.Reason) {
	g.metrics.MessageStatus.WithLabelValues(string(status), string(reason)).Inc()
	g.observeViolation(m, reason)
}

func (g *Gateway) observeViolation(m *message.Message, reason message.Reason) {
	if reason.Class() == message.FixRegistration || reason == message.ReasonProhibitedContent {
		g.metrics.TenDLC.WithLabelValues(m.AccountID.String(), string(reason)).Inc()
	}
}

func (g *Gateway) observeWebhook(outcome webhook.Outcome, took time.Duration) {
	g.metrics.WebhookAttempts.WithLabelValues(string(outcome)).Observe(took.Seconds())
}

// observeRefresh is told of each try to read the configuration anew.
func (g *Gateway) observeRefresh(took time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	g.metrics.ConfigRefresh.WithLabelValues(outcome).Observe(took.Seconds())
}

// registerGauges adds the gauges that are read from what they describe.
func (g *Gateway) registerGauges() {
	g.metrics.Gauge("config_version", "Version of the configuration in force.", func() float64 { return float64(g.config.Current().Version) })
	g.metrics.Gauge("config_stale", "1 while the configuration cannot be read as it is now and an older one is in force.", func() float64 {
		if g.config.Failing() != nil {
			return 1
		}
		return 0
	})
	g.metrics.Counted("journal_unstarted_messages", "Accepted messages whose workflow may not have been started.", g.db.CountUnstarted)
	g.metrics.Counted("receipts_unmatched", "Receipts that match no part.", g.db.CountUnmatched)
	g.metrics.Counted("automatic_replies_owed", "Answers to STOP, START and HELP that are not accepted as messages yet.", g.db.CountReplies)
	g.metrics.CountedBy("campaign_daily_cap_used", "Parts of today's cap in US Pacific time that are given out, by campaign or brand; the 1,000 with the most.", "counter", g.capUse)
	g.metrics.Collect(linkCollector{g})
	g.metrics.CountedBy("messages_held", "Admitted messages that wait, by the rule that makes them.", "rule", g.db.Holds)
	g.metrics.Collect(&g.held)
}

var (
	descConnections = prometheus.NewDesc("smpp_client_connections_total", "Links to vendors, by state: 1 for the state that a link is in.", []string{"vendor_id", "status"}, nil)
	descThroughput  = prometheus.NewDesc("smpp_client_throughput_current", "Parts a second over a vendor's link now.", []string{"vendor_id"}, nil)
)

// linkCollector reads the links at each scrape.
type linkCollector struct{ g *Gateway }

func (c linkCollector) Describe(out chan<- *prometheus.Desc) {
	out <- descConnections
	out <- descThroughput
}

func (c linkCollector) Collect(out chan<- prometheus.Metric) {
	for v, s := range c.g.fleet.Status() {
		for _, state := range []string{"connected", "connecting", "disconnected"} {
			on := 0.0
			if s.Bind == state {
				on = 1
			}
			out <- prometheus.MustNewConstMetric(descConnections, prometheus.GaugeValue, on, v.ID.String(), state)
		}
		out <- prometheus.MustNewConstMetric(descThroughput, prometheus.GaugeValue, s.Throughput, v.ID.String())
	}
}

// healthEvery is how often the links' health is compared with their rows.
const healthEvery = 5 * time.Second

// healthWatch writes what the links look like into the vendors' rows, for
// staff.
type healthWatch struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func (h *healthWatch) start(g *Gateway) {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.running.Go(func() {
		tick := time.NewTicker(healthEvery)
		defer tick.Stop()
		seen := map[message.ID]string{}
		for {
			g.noteHealth(ctx, seen)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

func (h *healthWatch) stop() {
	if h.cancel != nil {
		h.cancel()
	}
	h.running.Wait()
}

// noteHealth writes what has changed since seen.
func (g *Gateway) noteHealth(ctx context.Context, seen map[message.ID]string) {
	for v, s := range g.fleet.Status() {
		health := "unhealthy"
		if s.Bind == "connected" {
			health = "healthy"
		}
		if seen[v.ID] == health {
			continue
		}
		if err := g.db.VendorHealth(ctx, v.ID, health); err == nil {
			seen[v.ID] = health
		}
	}
}
