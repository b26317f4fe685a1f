package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

// TrafficTable counts what goes through the gateway, by rows of all processes.
type TrafficTable interface {
	// Traffic counts by vendor over the last hour. A vendor without any is missing.
	Traffic(ctx context.Context) ([]message.VendorTraffic, error)
	// Backlog counts the messages that are on their way out.
	Backlog(ctx context.Context) ([]message.Backlog, error)
	// Overview tells what came lately, what waits, and which limits are used most.
	Overview(ctx context.Context) (message.Overview, error)
	// PaceToday lists the day's counters of 10DLC caps that are used most.
	PaceToday(ctx context.Context, limit int) ([]pace.Use, error)
}

type throughputResource struct {
	_   struct{} `json:"-" additionalProperties:"true"`
	In  float64  `json:"in" doc:"Messages a second that came from vendors; a part of a long one counts as one"`
	Out float64  `json:"out" doc:"Parts a second that vendors took"`
}

type trafficResource struct {
	_          struct{}           `json:"-" additionalProperties:"true"`
	Throughput throughputResource `json:"throughput"`
	ErrorRate  float64            `json:"error_rate" minimum:"0" maximum:"1" doc:"Of the parts given to vendors, the share that was refused for trouble of theirs, or got no answer; 0 if there were none"`
}

type vendorMetricsResource struct {
	_          struct{}        `json:"-" additionalProperties:"true"`
	VendorID   string          `json:"vendor_id" format:"uuid"`
	Name       string          `json:"connector_id" example:"acme-1"`
	QueueSize  *int            `json:"queue_size" doc:"Messages that wait on its queue; null: it cannot be asked now"`
	LastMinute trafficResource `json:"last_minute"`
	LastHour   trafficResource `json:"last_hour"`
}

type metricsResource struct {
	_          struct{}                `json:"-" additionalProperties:"true"`
	At         string                  `json:"at" format:"date-time"`
	QueueSize  int                     `json:"queue_size" doc:"Messages that are accepted and that no vendor has yet"`
	LastMinute trafficResource         `json:"last_minute"`
	LastHour   trafficResource         `json:"last_hour"`
	Vendors    []vendorMetricsResource `json:"vendors" nullable:"false" doc:"In the order of their names"`
}

// MetricsResource is metricsResource: the name is exported only because huma looks into
// embedded types no other way.
type MetricsResource = metricsResource

type statsResource struct {
	MetricsResource
	Sessions []liveSessionResource `json:"sessions" nullable:"false" doc:"The newest 200; all are at /api/v1/admin/sessions"`
}

// TransformSchema says what metricsResource says of itself.
func (statsResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.AdditionalProperties = true
	return s
}

const (
	statsPath = "/stats"
	// mostStatsSessions keeps the answer small: those who ask it want numbers.
	mostStatsSessions = 200
)

func (s *Server) registerMetrics(api huma.API) {
	register(api, s.operation(huma.Operation{
		OperationID: "getMetrics", Method: http.MethodGet, Path: adminPrefix + "/metrics", Tags: []string{"Metrics"}, Summary: "See queues, throughput and errors",
		Description: "Of all processes, in total and by vendor, over the last minute and hour. What vendors answer is counted in steps of ten seconds. For monitoring there are the Prometheus series of each process.",
	}, anyStaff()), s.getMetrics, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getStats", Method: http.MethodGet, Path: statsPath, Tags: []string{"Kept paths"}, Summary: "See metrics and sessions",
		Description: "`" + adminPrefix + "/metrics` with what `" + sessionPath + "` lists.",
	}, anyStaff()), s.getStats, nil)
}

// trafficOf are the rates of a count over some time.
func trafficOf(c message.TrafficCount, over time.Duration) trafficResource {
	r := trafficResource{Throughput: throughputResource{In: float64(c.In) / over.Seconds(), Out: float64(c.Accepted) / over.Seconds()}}
	if given := c.Accepted + c.Failed + c.Refused; given > 0 {
		r.ErrorRate = float64(c.Failed) / float64(given)
	}
	return r
}

func (s *Server) metrics(ctx context.Context) (metricsResource, error) {
	r := metricsResource{At: stamp(s.now()), Vendors: []vendorMetricsResource{}}
	traffic, err := s.Admin.Traffic.Traffic(ctx)
	if err != nil {
		return r, err
	}
	backlog, err := s.Admin.Traffic.Backlog(ctx)
	if err != nil {
		return r, err
	}
	for _, b := range backlog {
		r.QueueSize += b.Messages
	}
	var minute, hour message.TrafficCount
	by := map[message.ID]message.VendorTraffic{}
	for _, t := range traffic { // those of vendors that are gone count in the total
		by[t.VendorID] = t
		minute.Add(t.Minute)
		hour.Add(t.Hour)
	}
	r.LastMinute, r.LastHour = trafficOf(minute, time.Minute), trafficOf(hour, time.Hour)
	var names []string
	for _, v := range s.Snapshot().Vendors {
		t := by[v.ID]
		r.Vendors = append(r.Vendors, vendorMetricsResource{VendorID: v.ID.String(), Name: v.Name, LastMinute: trafficOf(t.Minute, time.Minute), LastHour: trafficOf(t.Hour, time.Hour)})
	}
	slices.SortFunc(r.Vendors, func(a, b vendorMetricsResource) int { return strings.Compare(a.Name, b.Name) })
	for _, v := range r.Vendors {
		names = append(names, v.Name)
	}
	for i, n := range s.queueSizes(ctx, names) {
		r.Vendors[i].QueueSize = n
	}
	return r, nil
}

// How the queues of vendors are asked for their sizes.
const (
	queuesAtOnce = 8
	queuePatient = 2 * time.Second // all of them together: the rest of the answer does not wait longer
)

// queueSizes asks how much waits on the queues of the vendors of these names. What cannot
// be asked is nil: Temporal may be away.
func (s *Server) queueSizes(ctx context.Context, vendors []string) []*int {
	sizes := make([]*int, len(vendors))
	if s.Admin.QueueSize == nil {
		return sizes
	}
	ctx, cancel := context.WithTimeout(ctx, queuePatient)
	defer cancel()
	var asking sync.WaitGroup
	turns := make(chan struct{}, queuesAtOnce) // never closed
	for i, name := range vendors {
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			n, err := s.Admin.QueueSize(ctx, name)
			if err != nil {
				s.log.Warn("queue not asked for its size", "vendor", name, "error", err)
				return
			}
			sizes[i] = &n
		})
	}
	asking.Wait()
	return sizes
}

func (s *Server) getMetrics(ctx context.Context, _ *struct{}) (*output[metricsResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	r, err := s.metrics(ctx)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[metricsResource]{Body: r}, nil
}

func (s *Server) getStats(ctx context.Context, _ *struct{}) (*output[statsResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	r, err := s.metrics(ctx)
	var rows []snapshot.Session
	if err == nil {
		rows, err = s.Admin.Sessions.Sessions(ctx, snapshot.SessionFilter{}, message.ID{}, mostStatsSessions)
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[statsResource]{Body: statsResource{MetricsResource: r, Sessions: listed(rows, nil, liveSessionOf).Body.Data}}, nil
}
