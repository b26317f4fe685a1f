package main

import (
	"errors"
	"strconv"
	"time"

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
			g.health.meter.Receipt(vendor, state)
		},
		Inbound: func(vendor, account message.ID, first bool) {
			g.metrics.ServerDelivered.WithLabelValues(vendor.String()).Inc()
			switch {
			case first && account != (message.ID{}):
				g.metrics.ReceivedPerCustomer.WithLabelValues(account.String()).Inc()
			case first:
				g.metrics.InboundUnrouted.WithLabelValues(vendor.String()).Inc()
			}
		},
		Joined: func(missing int) {
			result := "whole"
			if missing > 0 {
				result = "incomplete"
			}
			g.metrics.InboundJoined.WithLabelValues(result).Inc()
		},
		Redriven: func(account message.ID) { g.metrics.InboundRedriven.WithLabelValues(account.String()).Inc() },
		Backlog: func(now []message.Backlog) {
			depth := map[int]int{1: 0, 3: 0, 5: 0}
			for _, b := range now {
				depth[b.Priority] += b.Messages
			}
			for priority, n := range depth {
				g.metrics.QueueDepth.WithLabelValues(strconv.Itoa(priority)).Set(float64(n))
			}
		},
		Admission: func(class message.Class, state ingress.AdmissionState, oldest time.Duration) {
			g.metrics.Admission.WithLabelValues(string(class)).Set(float64(state))
			g.metrics.OldestUnstarted.WithLabelValues(string(class)).Set(oldest.Seconds())
		},
		Called: func(told, left int) {
			g.metrics.StartsCalled.WithLabelValues("told").Add(float64(told))
			g.metrics.StartsCalled.WithLabelValues("left").Add(float64(left))
		},
		Heard: func(n int) { g.metrics.StartsHeard.Add(float64(n)) },
		NotAdmitted: func(class message.Class, reason message.Reason) {
			g.metrics.NotAdmitted.WithLabelValues(string(class), string(reason)).Inc()
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
	g.health.meter.Answered(vendor, err)
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
	if g.Roles["messages"] {
		g.metrics.Gauge("journal_starts_listening", "1 while this process hears of messages that others accept and do not start; else its sweep finds them.", func() float64 {
			if g.ingress.Hears() {
				return 1
			}
			return 0
		})
	}
	g.metrics.Counted("batches_running", "Batches whose rows are worked, of all accounts; paused ones do not count.", g.db.BatchesRunning)
	g.metrics.Counted("inbound_unstarted_messages", "Inbound messages whose workflow may not have been started.", g.db.CountInboundUnstarted)
	g.metrics.Counted("retention_last_success_timestamp_seconds", "When the last whole round of upkeep ended, of any process; 0: never.", g.db.LastUpkeep)
	g.metrics.Counted("receipts_unmatched", "Receipts that match no part.", g.db.CountUnmatched)
	if g.Roles["mm4"] {
		g.metrics.Counted("mm4_mails_pending", "Responses and reports that MM4 peers are owed; counted to 100,000.", g.db.CountMM4Mails)
	}
	g.metrics.Counted("automatic_replies_owed", "Answers to STOP, START and HELP, and numbers' own, that are not accepted as messages yet.", g.db.CountReplies)
	g.metrics.CountedBy("campaign_daily_cap_used", "Parts of today's cap in US Pacific time that are given out, by campaign or brand; the 1,000 with the most.", "counter", g.capUse)
	g.metrics.Collect(linkCollector{g})
	g.metrics.CountedBy("messages_held", "Admitted messages that wait, by the rule that makes them.", "rule", g.db.Holds)
	g.metrics.Collect(&g.held)
}
