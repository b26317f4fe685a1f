package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

type vendorLinkResource struct {
	_             struct{} `json:"-" additionalProperties:"true"`
	Instance      string   `json:"instance" doc:"The process"`
	BindStatus    string   `json:"bind_status" enum:"connected,connecting,disconnected"`
	Binds         int      `json:"binds" doc:"That are live"`
	InFlight      int      `json:"in_flight" doc:"Parts that it was given and has not answered"`
	Throughput    float64  `json:"throughput" doc:"Parts a second"`
	RateShare     float64  `json:"rate_share" doc:"Parts a second that this process may send; 0: no limit, or none without binds"`
	ErrorRate     float64  `json:"error_rate" doc:"Of the answers of the last minute, the share that tells of the vendor's trouble"`
	LatencyMillis int      `json:"latency_ms" doc:"Mean time to an answer"`
	LastError     *string  `json:"last_error"`
	Since         *string  `json:"since" format:"date-time" doc:"Of the bind_status"`
	SeenAt        *string  `json:"seen_at" format:"date-time"`
}

type vendorStatusResource struct {
	_                 struct{}             `json:"-" additionalProperties:"true"`
	ConnectorID       string               `json:"connector_id" doc:"instance_name of the vendor"`
	VendorID          string               `json:"vendor_id" format:"uuid"`
	IsActive          bool                 `json:"is_active"`
	Paused            bool                 `json:"paused"`
	Draining          bool                 `json:"draining"`
	HealthStatus      string               `json:"health_status" enum:"unknown,healthy,degraded,down"`
	BindStatus        string               `json:"bind_status" enum:"connected,connecting,disconnected" doc:"connected: over one process at least"`
	ThroughputCurrent float64              `json:"throughput_current" doc:"Parts a second over the last seconds, over all processes"`
	ThroughputMax     int                  `json:"throughput_max" doc:"What is allowed; 0: no limit"`
	QueueSize         *int                 `json:"queue_size" doc:"Messages on its queue; null: it could not be asked"`
	ErrorRate         float64              `json:"error_rate" doc:"Of the answers of the last minute, the share that tells of the vendor's trouble"`
	LatencyMillis     int                  `json:"latency_ms" doc:"Mean time to an answer"`
	InFlight          int                  `json:"in_flight"`
	Since             *string              `json:"since" format:"date-time" doc:"Of the bind_status"`
	LastError         *string              `json:"last_error" doc:"The newest, of any process"`
	LastBindTime      *string              `json:"last_bind_time" format:"date-time"`
	Binds             []vendorLinkResource `json:"binds" nullable:"false" doc:"One for each process that has a link"`
}

func (s *Server) registerVendorWork(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Vendors"}
	operator := staff(snapshot.RoleOperator)
	register(api, s.operation(huma.Operation{
		OperationID: "listVendorStatus", Method: http.MethodGet, Path: vendorPath + "/status", Tags: tags, Summary: "See what vendors do now", Description: "Newest vendor first.",
	}, anyStaff()), s.listVendorStatus, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getVendorStatus", Method: http.MethodGet, Path: vendorPath + "/{id}/status", Tags: tags, Summary: "See what a vendor does now",
	}, anyStaff(), 404), s.getVendorStatus, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "testVendor", Method: http.MethodPost, Path: vendorPath + "/{id}/test", Tags: tags, Summary: "Test the connection to a vendor",
		Description: "Over a connection of its own: a bind and an enquire_link, or a request that reads something with the credentials. No message is sent. A vendor that allows one bind at a time may refuse it.",
	}, operator, 404, 409), s.testVendor, nil)
	for _, op := range []struct {
		id, word, summary, description string
		change                         func(*snapshot.VendorState)
	}{
		{"restartVendor", "restart", "Make a vendor's links anew", "On every process, each after its window has drained.", func(v *snapshot.VendorState) { v.Restarts++ }},
		{"pauseVendor", "pause", "Give a vendor no messages", "Its binds stay, receipts and inbound messages come. What is there already waits; routes ask the vendor last.", func(v *snapshot.VendorState) { v.Paused = true }},
		{"drainVendor", "drain", "Have what waits for a vendor go to others", "Its binds stay, receipts and inbound messages come; routes pass it over.", func(v *snapshot.VendorState) { v.Draining = true }},
		{"resumeVendor", "resume", "Give a vendor messages again", "Ends a pause and a draining.", func(v *snapshot.VendorState) { v.Paused, v.Draining = false, false }},
	} {
		register(api, s.operation(huma.Operation{
			OperationID: op.id, Method: http.MethodPost, Path: vendorPath + "/{id}/" + op.word, Tags: tags, Summary: op.summary, Description: op.description + " It holds on every process within 5 seconds.",
		}, operator, 404, 409), func(ctx context.Context, in *VendorInput) (*entity[vendorResource], error) {
			return s.withVendor(ctx, in.ID, IfMatch{}, "vendor."+op.word, func(v *snapshot.VendorState) error {
				op.change(v)
				return nil
			})
		}, nil)
	}
	register(api, s.operation(huma.Operation{
		OperationID: "setVendorThroughput", Method: http.MethodPut, Path: vendorPath + "/{id}/throughput", Tags: tags, Summary: "Set a vendor's throughput",
		Description: "Over all processes together, within 5 seconds, and without a new link.",
	}, operator.taking(), 400, 404, 409, 412, 413, 415), s.setVendorThroughput, bodyOf[throughputBody](schemas))
	for _, op := range []struct {
		id, word, summary string
		tables            []string
	}{
		{"reloadVendors", "reload-vendors", "Have every process read vendors and routes anew", []string{"vendors", "routing_rules"}},
		{"reloadConfiguration", "reload", "Have every process read the configuration anew", nil},
	} {
		register(api, s.operation(huma.Operation{
			OperationID: op.id, Method: http.MethodPost, Path: adminPrefix + "/" + op.word, Tags: tags, Summary: op.summary,
			Description: "Changes are noticed anyway, also those made in the database.",
		}, operator), func(ctx context.Context, _ *struct{}) (*output[reloadResource], error) {
			return s.reload(ctx, op.tables)
		}, nil)
	}
}

func (s *Server) listVendorStatus(ctx context.Context, in *vendorListInput) (*output[list[vendorStatusResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	rows, next, err := s.vendorPage(ctx, in)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	shown, err := s.vendorStatus(ctx, rows)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return listed(shown, next, func(r vendorStatusResource) vendorStatusResource { return r }), nil
}

func (s *Server) getVendorStatus(ctx context.Context, in *VendorInput) (*output[vendorStatusResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	v, err := s.vendor(ctx, in.ID)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	shown, err := s.vendorStatus(ctx, []snapshot.VendorState{v})
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[vendorStatusResource]{Body: shown[0]}, nil
}

// vendorStatus puts together what is known of vendors now.
func (s *Server) vendorStatus(ctx context.Context, rows []snapshot.VendorState) ([]vendorStatusResource, error) {
	links := map[message.ID][]message.VendorLinkState{}
	if s.Admin.VendorLinks != nil {
		all, err := s.Admin.VendorLinks(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range all {
			links[l.VendorID] = append(links[l.VendorID], l)
		}
	}
	out, names := make([]vendorStatusResource, len(rows)), make([]string, len(rows))
	for i, v := range rows {
		out[i], names[i] = vendorStatusOf(v, links[v.ID]), v.Name
	}
	for i, n := range s.queueSizes(ctx, names) {
		out[i].QueueSize = n
	}
	return out, nil
}

// vendorStatusOf sums a vendor's links up.
func vendorStatusOf(v snapshot.VendorState, links []message.VendorLinkState) vendorStatusResource {
	r := vendorStatusResource{ConnectorID: v.Name, VendorID: v.ID.String(), IsActive: v.Active, Paused: v.Paused, Draining: v.Draining,
		HealthStatus: string(healthOf(v.Health)), BindStatus: "disconnected", ThroughputMax: v.Throughput, LastBindTime: optionalTime(v.LastBind), Binds: []vendorLinkResource{}}
	rank := map[string]int{"disconnected": 1, "connecting": 2, "connected": 3}
	var since, seen time.Time
	var errors, latency, weights float64
	for _, l := range links {
		if rank[l.Bind] == 0 {
			l.Bind = "disconnected"
		}
		// The vendor is in a state since the first of its links is.
		if rank[l.Bind] > rank[r.BindStatus] || since.IsZero() {
			r.BindStatus, since = l.Bind, l.Since
		} else if l.Bind == r.BindStatus && !l.Since.IsZero() && l.Since.Before(since) {
			since = l.Since
		}
		if l.LastError != "" && !l.SeenAt.Before(seen) {
			r.LastError, seen = optional(l.LastError), l.SeenAt
		}
		r.ThroughputCurrent += l.Throughput
		r.InFlight += l.InFlight
		weight := max(l.Throughput, 0.001) // links that send little say little
		errors, latency, weights = errors+weight*l.ErrorRate, latency+weight*float64(l.LatencyMillis), weights+weight
		r.Binds = append(r.Binds, vendorLinkResource{Instance: l.Instance, BindStatus: l.Bind, Binds: l.Binds, InFlight: l.InFlight, Throughput: l.Throughput,
			RateShare: l.RateShare, ErrorRate: l.ErrorRate, LatencyMillis: l.LatencyMillis, LastError: optional(l.LastError), Since: optionalTime(l.Since), SeenAt: optionalTime(l.SeenAt)})
	}
	if weights > 0 {
		r.ErrorRate, r.LatencyMillis = errors/weights, int(latency/weights)
	}
	r.Since = optionalTime(since)
	return r
}

type vendorTestResource struct {
	_      struct{} `json:"-" additionalProperties:"true"`
	OK     bool     `json:"ok"`
	Millis int64    `json:"ms" doc:"How long it took"`
	Detail string   `json:"detail" doc:"What the vendor said, or why it could not be asked"`
}

// testPatience bounds the test of a connection.
const testPatience = 15 * time.Second

func (s *Server) testVendor(ctx context.Context, in *VendorInput) (*output[vendorTestResource], error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.answerTimeout(), testPatience))
	defer cancel()
	x := exchangeOf(ctx)
	v, err := s.vendor(ctx, in.ID)
	switch {
	case err != nil:
	case v.ProviderType == message.ProviderInternal:
		err = message.Refuse(message.ReasonConflict, "the vendor %s is the gateway itself: there is no connection to test", v.Name)
	case s.Admin.TestVendor == nil:
		err = message.Refuse(message.ReasonUnavailable, "this process cannot connect to vendors")
	default: // in the audit log before the vendor sees it
		err = s.Admin.Audit.Audit(ctx, x.actor(), "vendor.test", v.ID.String(), nil)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	began := time.Now()
	detail, err := s.Admin.TestVendor(ctx, &v.Vendor)
	r := vendorTestResource{OK: err == nil, Millis: time.Since(began).Milliseconds(), Detail: detail}
	if err != nil {
		r.Detail = err.Error() // without credentials, as all that connectors say
	}
	return &output[vendorTestResource]{Body: r}, nil
}

type throughputBody struct {
	TPS int `json:"tps" minimum:"0" maximum:"100000" doc:"Parts a second; 0: no limit"`
}

func (s *Server) setVendorThroughput(ctx context.Context, in *vendorChangeInput) (*entity[vendorResource], error) {
	var tps *int64
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		if name != "tps" {
			return false, nil
		}
		return true, d.whole(location, &tps)
	}, func(d *decoder) {
		if !d.faulty("body.tps") && (tps == nil || *tps < 0 || *tps > 100_000) {
			d.invalid("body.tps", "is required: 0 to 100000 parts a second, 0 for no limit")
		}
	})
	if refusal != nil {
		return nil, s.problem(exchangeOf(ctx), refusal, status)
	}
	return s.withVendor(ctx, in.ID, in.IfMatch, "vendor.throughput", func(v *snapshot.VendorState) error {
		v.Throughput = int(*tps)
		return nil
	})
}

type reloadResource struct {
	_       struct{} `json:"-" additionalProperties:"true"`
	Version int64    `json:"version" doc:"Of the configuration that this process has now"`
	Vendors int      `json:"vendors" doc:"How many it has"`
}

func (s *Server) reload(ctx context.Context, tables []string) (*output[reloadResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	err := s.Admin.Vendors.Reread(ctx, x.actor(), tables...)
	if err == nil && s.Admin.Reload != nil {
		err = s.Admin.Reload(ctx)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	now := s.Snapshot()
	return &output[reloadResource]{Body: reloadResource{Version: now.Version, Vendors: len(now.Vendors)}}, nil
}
