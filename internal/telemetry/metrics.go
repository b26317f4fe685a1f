// Package telemetry holds the process's metrics and its logger.
//
// The rule not to break: no label holds a phone number, a message id or
// anything else that grows with traffic.
package telemetry

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the gateway's own series. The names of the gateway architecture
// are kept.
type Metrics struct {
	registry *prometheus.Registry

	MessageStatus    *prometheus.CounterVec   // status, code
	AcceptDuration   *prometheus.HistogramVec // edge
	BatchRows        *prometheus.CounterVec   // outcome: made, refused, waits
	BatchChunk       prometheus.Histogram
	Redriven         *prometheus.CounterVec   // action; outcome: done, passed, refused, waits, claimed
	TimeToSent       *prometheus.HistogramVec // message_class
	SubmitDuration   *prometheus.HistogramVec // vendor_id
	MediaTranscode   *prometheus.HistogramVec // kind: image, video, audio, text, application
	MediaProfileless *prometheus.CounterVec   // vendor_id
	ClientSubmit     *prometheus.CounterVec   // vendor_id, status
	Receipts         *prometheus.CounterVec   // vendor_id, dlr_status
	WebhookAttempts  *prometheus.HistogramVec // outcome
	APIRequests      *prometheus.HistogramVec // operation, status
	SentPerCustomer  *prometheus.CounterVec   // customer_id
	CostPerCustomer  *prometheus.CounterVec   // customer_id
	RateExceeded     *prometheus.CounterVec   // type
	ConfigRefresh    *prometheus.HistogramVec // outcome: ok, failed
	TenDLC           *prometheus.CounterVec   // customer_id, reason
	Registry         *prometheus.CounterVec   // operation, result
	PaceWaiting      prometheus.Histogram
	Illegal          prometheus.Counter
	QueueDepth       *prometheus.GaugeVec   // priority
	Admission        *prometheus.GaugeVec   // message_class
	OldestUnstarted  *prometheus.GaugeVec   // message_class
	NotAdmitted      *prometheus.CounterVec // message_class, reason
	StartsCalled     *prometheus.CounterVec // result: told, left
	StartsHeard      prometheus.Counter
	HealthChanges    *prometheus.CounterVec // vendor_id, health

	ServerSessions    prometheus.Gauge // bound ESMEs
	ServerConnections prometheus.Gauge // bound or not
	LimitsAlone       prometheus.Counter
	ServerBinds       *prometheus.CounterVec   // status
	ServerSubmit      *prometheus.CounterVec   // customer_id
	ServerRequests    *prometheus.HistogramVec // command, status
	ServerRefused     *prometheus.CounterVec   // cause
	ServerDeliver     *prometheus.CounterVec   // kind, state
	AuditDropped      prometheus.Counter

	MM4Sessions prometheus.Gauge         // of peers
	MM4Refused  *prometheus.CounterVec   // cause
	MM4Mails    *prometheus.HistogramVec // code
	MM4Messages *prometheus.CounterVec   // direction, type, status

	UpkeepRows       *prometheus.CounterVec // table
	UpkeepPartitions *prometheus.CounterVec // action: made, removed
	UpkeepOldest     *prometheus.GaugeVec   // table

	VendorWebhooks     *prometheus.CounterVec   // vendor_id, result
	VendorWebhooksTook *prometheus.HistogramVec // vendor_id, result

	ServerDelivered     *prometheus.CounterVec // vendor_id
	ReceivedPerCustomer *prometheus.CounterVec // customer_id
	InboundUnrouted     *prometheus.CounterVec // vendor_id
	InboundJoined       *prometheus.CounterVec // result
	InboundRedriven     *prometheus.CounterVec // customer_id
}

// seconds are buckets from a millisecond to a minute: what the gateway itself
// takes lies at the low end, what vendors and customers take at the high end.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// New makes the series and registers them.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.MessageStatus = counter("message_status_total", "Statuses that messages have reached, with the reason code of failures.", "status", "code")
	m.AcceptDuration = histogram("message_accept_duration_seconds", "From the decoded request to its commit in the journal.", "edge")
	m.BatchRows = counter("batch_rows_total", "Rows of batches that were worked, by what became of them: made into a message, refused without one, or waits to be worked again.", "outcome")
	m.Redriven = counter("redrive_messages_total", "Messages that re-drives have tried, by what was done and what became of it: done, passed over, refused, waits, or not known (claimed).", "action", "outcome")
	m.BatchChunk = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "batch_chunk_duration_seconds", Help: "How long a chunk of rows was worked on, its waiting for the account's rate among it.", Buckets: seconds})
	m.registry.MustRegister(m.BatchChunk)
	m.MediaTranscode = histogram("media_transcode_duration_seconds", "Making a file fit what a vendor takes; files that fit already count as well.", "kind")
	m.MediaProfileless = counter("media_profile_missing_total", "MMS made ready with the profile default, because the one that the vendor names is not there.", "vendor_id")
	m.TimeToSent = histogram("message_time_to_sent_seconds", "From acceptance to the vendor's answer for every part.", "message_class")
	m.SubmitDuration = histogram("vendor_submit_duration_seconds", "From a part's submit to the vendor's answer.", "vendor_id")
	m.ClientSubmit = counter("smpp_client_submit_sm_total", "Parts submitted to a vendor, by its answer.", "vendor_id", "status")
	m.Receipts = counter("smpp_client_dlr_received_total", "Receipts committed, by the vendor and the receipt word.", "vendor_id", "dlr_status")
	m.WebhookAttempts = histogram("webhook_attempt_duration_seconds", "Webhook tries, by what came of them.", "outcome")
	m.VendorWebhooks = counter("vendor_webhooks_total", "Webhooks of vendors, by what became of them; without a vendor: nobody's.", "vendor_id", "result")
	m.VendorWebhooksTook = histogram("vendor_webhook_duration_seconds", "How long webhooks of vendors took to be answered.", "vendor_id", "result")
	m.APIRequests = histogram("api_request_duration_seconds", "Requests of the customer API.", "operation", "status")
	m.SentPerCustomer = counter("sms_sent_per_customer", "Messages accepted for sending.", "customer_id")
	m.CostPerCustomer = counter("sms_cost_per_customer", "Price of settled messages, in currency units.", "customer_id")
	m.RateExceeded = counter("rate_limit_exceeded_total", "Requests or parts held back by a rate.", "type")
	m.ConfigRefresh = histogram("config_refresh_duration_seconds", "Readings of the configuration after a change, by how they ended: ok, or failed while an older one stays in force.", "outcome")
	m.TenDLC = counter("sms_10dlc_violations", "Messages refused for want of an active campaign or for their content, and those that content rules flag or hold (content_ and the class).", "customer_id", "reason")
	m.Registry = counter("registry_requests_total", "Requests to the campaign registry, by what came of them.", "operation", "result")
	m.PaceWaiting = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pace_waiting_seconds",
		Help:    "How long messages have to wait for their moment under the caps of carriers.",
		Buckets: []float64{0, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600}})
	m.registry.MustRegister(m.PaceWaiting)
	m.QueueDepth = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "message_queue_depth", Help: "Messages on their way out, of all processes."}, []string{"priority"})
	m.registry.MustRegister(m.QueueDepth)
	m.Admission = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "admission_state", Help: "How messages of a class are taken: 0 as they come, 1 at ADMISSION_RATE, 2 not at all."}, []string{"message_class"})
	m.OldestUnstarted = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "journal_unstarted_oldest_seconds", Help: "How long the oldest message of a class has waited for its workflow."}, []string{"message_class"})
	m.registry.MustRegister(m.Admission, m.OldestUnstarted)
	m.NotAdmitted = counter("admission_refused_total", "Messages refused because too many wait for their workflows.", "message_class", "reason")
	m.StartsCalled = counter("journal_starts_called_total", "Messages that this process accepted and others start: told of, or left to their sweeps.", "result")
	m.StartsHeard = prometheus.NewCounter(prometheus.CounterOpts{Name: "journal_starts_heard_total", Help: "Messages that this process took on because another had accepted them and told of them."})
	m.HealthChanges = counter("vendor_health_changes_total", "Changes of a vendor's health as this process sees it, by what it became: healthy, degraded, down.", "vendor_id", "health")
	m.Illegal = prometheus.NewCounter(prometheus.CounterOpts{Name: "illegal_transitions_total", Help: "Changes of status that the record refused."})
	m.ServerSessions = prometheus.NewGauge(prometheus.GaugeOpts{Name: "smpp_server_active_sessions_total", Help: "Sessions of bound customers."})
	m.ServerConnections = prometheus.NewGauge(prometheus.GaugeOpts{Name: "smpp_server_connections", Help: "Connections of customers, bound or not."})
	m.LimitsAlone = prometheus.NewCounter(prometheus.CounterOpts{Name: "limits_counted_alone_total", Help: "Events that were counted against a rate in process because Redis did not answer."})
	m.ServerBinds = counter("smpp_server_bind_requests_total", "Binds that customers asked for.", "status")
	m.ServerSubmit = counter("smpp_server_submit_sm_total", "Messages accepted over SMPP.", "customer_id")
	m.ServerRequests = histogram("smpp_server_request_duration_seconds", "From a customer's request to its answer.", "command", "status")
	m.ServerRefused = counter("smpp_server_connections_refused_total", "Connections closed before a bind was decided.", "cause")
	m.ServerDeliver = counter("smpp_server_deliveries_total", "Tries to bring a receipt or message to a customer.", "kind", "state")
	m.ServerDelivered = counter("smpp_server_deliver_sm_total", "Inbound messages, or parts of them, taken from a vendor.", "vendor_id")
	m.ReceivedPerCustomer = counter("sms_received_per_customer", "Inbound messages to a customer's numbers.", "customer_id")
	m.InboundUnrouted = counter("inbound_unrouted_total", "Inbound messages to numbers that were nobody's or not enabled.", "vendor_id")
	m.InboundJoined = counter("inbound_joined_total", "Inbound messages that were made of parts: whole, or incomplete after the wait.", "result")
	m.InboundRedriven = counter("inbound_redriven_total", "Inbound messages that were nobody's and were given to a customer.", "customer_id")
	m.MM4Sessions = prometheus.NewGauge(prometheus.GaugeOpts{Name: "mm4_server_sessions", Help: "Sessions of MM4 peers."})
	m.MM4Refused = counter("mm4_server_refused_total", "Connections of MM4 peers that were closed, or mails that were not begun.", "cause")
	m.MM4Mails = histogram("mm4_server_mail_duration_seconds", "From DATA to the reply to a mail of an MM4 peer, by the reply's code; 0: the connection was lost.", "code")
	m.MM4Messages = counter("mm4_messages_total", "MM4 messages by their type: in, with what they were answered, or say if they are responses; out, with what became of the try.", "direction", "type", "status")
	m.registry.MustRegister(m.MM4Sessions)
	m.AuditDropped = prometheus.NewCounter(prometheus.CounterOpts{Name: "audit_dropped_total", Help: "Lines of the audit log that could not be written."})
	m.UpkeepRows = counter("retention_rows_removed_total", "Rows that were removed as old, by table; texts: messages whose text was.", "table")
	m.UpkeepPartitions = counter("retention_partitions_total", "Partitions that were made or removed.", "action")
	m.UpkeepOldest = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "retention_oldest_timestamp_seconds",
		Help: "When the oldest row was made that is kept, as the process saw it that did the last round of upkeep."}, []string{"table"})
	m.registry.MustRegister(m.UpkeepOldest)
	m.registry.MustRegister(m.StartsHeard, m.ServerSessions, m.ServerConnections, m.LimitsAlone, m.AuditDropped)
	m.registry.MustRegister(m.Illegal, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Gauge adds a gauge that is read from the thing it describes at each scrape.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Collect adds a collector of series whose labels are known only at the scrape.
func (m *Metrics) Collect(c prometheus.Collector) { m.registry.MustRegister(c) }

// Handler serves the series to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second})
}

// CountedBy is Counted for a gauge with one label.
func (m *Metrics) CountedBy(name, help, label string, count func(context.Context) (map[string]int, error)) {
	m.Collect(&countedBy{desc: prometheus.NewDesc(name, help, []string{label}, nil), count: count})
}

// Counted is a gauge read from the database at most once a few seconds: a
// scrape must not become a load.
func (m *Metrics) Counted(name, help string, count func(context.Context) (int, error)) {
	c := &counted{count: count}
	m.Gauge(name, help, c.read)
}
