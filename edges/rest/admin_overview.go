package rest

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// overviewFor is how long one counting answers all who ask this process.
	overviewFor = 2 * time.Second
	// capsShown is how many of the day's counters are compared: those that are used most.
	capsShown = 100
	// nearEnd is the share from which a cap or limit is listed, and capsListed how many are.
	nearEnd    = 0.5
	capsListed = 10
	// overviewVendors bounds the vendors that are listed.
	overviewVendors = 200
)

type flowResource struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	Accepted    float64  `json:"accepted" doc:"Messages a second that customers gave"`
	FromVendors float64  `json:"from_vendors" doc:"Messages a second that came from vendors; a part of a long one counts as one"`
	ToVendors   float64  `json:"to_vendors" doc:"Parts a second that vendors took"`
	Final       float64  `json:"final" doc:"Messages a second that reached a final status, of those that came in the last hour"`
	ErrorRate   float64  `json:"error_rate" minimum:"0" maximum:"1" doc:"As in the metrics"`
}

type pileResource struct {
	_             struct{} `json:"-" additionalProperties:"true"`
	Count         int      `json:"count" doc:"Exact up to 10,000, which stands for more too"`
	OldestSeconds *int     `json:"oldest_seconds" doc:"How long the oldest has waited; null: there is none"`
	OldestID      *string  `json:"oldest_id" format:"uuid"`
}

type latelyResource struct {
	_        struct{}       `json:"-" additionalProperties:"true"`
	Since    *string        `json:"since" format:"date-time" doc:"An hour ago, or where the newest 20,000 messages began; null: there was none"`
	Outbound map[string]int `json:"outbound" nullable:"false" doc:"Messages by status"`
	Inbound  map[string]int `json:"inbound" nullable:"false" doc:"Messages by status"`
}

type capResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	Kind       string   `json:"kind" enum:"brand,campaign,account" doc:"Whose it is; brand: of all brands of one company"`
	Name       string   `json:"name" doc:"What it is called"`
	AccountID  string   `json:"account_id" format:"uuid"`
	BrandID    *string  `json:"brand_id" format:"uuid"`
	CampaignID *string  `json:"campaign_id" format:"uuid" doc:"Its id here"`
	Number     *string  `json:"number" doc:"Of a limit of one number"`
	Type       *string  `json:"type" enum:"sms,mms" doc:"Of an account's limit"`
	Period     string   `json:"period" enum:"minute,day,month" doc:"day of a brand and campaign: in US Pacific time"`
	Used       int64    `json:"used" doc:"Parts"`
	Limit      int64    `json:"limit" doc:"Parts"`
	Closed     bool     `json:"closed" doc:"A vendor said that the carrier takes no more today"`
	ResetsAt   string   `json:"resets_at" format:"date-time"`
}

type overviewResource struct {
	_              struct{}               `json:"-" additionalProperties:"true"`
	At             string                 `json:"at" format:"date-time" doc:"When it was counted: at most some seconds ago"`
	LastMinute     flowResource           `json:"last_minute"`
	LastHour       flowResource           `json:"last_hour"`
	Lately         latelyResource         `json:"lately" doc:"What has become of the messages of the last hour"`
	Backlog        pileResource           `json:"backlog" doc:"Accepted messages that no vendor has; the oldest is the first that waits for no time that was asked for"`
	Unstarted      pileResource           `json:"unstarted" doc:"Of those, the ones whose workflow has not begun, though nothing is before them"`
	InDoubt        pileResource           `json:"in_doubt" doc:"Messages of which it is not known whether the vendor has them"`
	Held           pileResource           `json:"held" doc:"Messages that wait for somebody to read them"`
	WebhooksDue    pileResource           `json:"webhooks_due" doc:"Deliveries that are to be tried"`
	WebhooksFailed pileResource           `json:"webhooks_failed" doc:"Deliveries that were given up and not replayed"`
	Unrouted       pileResource           `json:"unrouted" doc:"Inbound messages to numbers that are nobody's"`
	Unmatched      pileResource           `json:"unmatched" doc:"Receipts that fit no message"`
	Caps           []capResource          `json:"caps" nullable:"false" doc:"Daily caps of 10DLC and limits of accounts of which half is used, the fullest first; at most 10"`
	Vendors        []vendorStatusResource `json:"vendors" nullable:"false" doc:"Newest first, at most 200; not the gateway itself"`
}

// overviewKept is the last overview of this process, which answers whoever asks soon after.
type overviewKept struct {
	mu   sync.Mutex
	at   time.Time
	body *overviewResource
}

func (s *Server) registerOverview(api huma.API) {
	register(api, s.operation(huma.Operation{
		OperationID: "getOverview", Method: http.MethodGet, Path: adminPrefix + "/overview", Tags: []string{"Metrics"}, Summary: "See how the gateway stands",
		Description: "What the console's first page shows: rates, what waits and how long, which caps are near their end, and the vendors. One counting answers everybody for two seconds.",
	}, anyStaff()), s.getOverview, nil)
}

func (s *Server) getOverview(ctx context.Context, _ *struct{}) (*output[overviewResource], error) {
	k := &s.overview
	k.mu.Lock() // whoever comes meanwhile has the same answer
	defer k.mu.Unlock()
	if k.body != nil && s.now().Sub(k.at).Abs() < overviewFor {
		return &output[overviewResource]{Body: *k.body}, nil
	}
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout()) // others wait for it too
	defer cancel()
	body, err := s.overviewNow(ctx)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	k.at, k.body = s.now(), body
	return &output[overviewResource]{Body: *body}, nil
}

func (s *Server) overviewNow(ctx context.Context) (*overviewResource, error) {
	now := s.now()
	o, err := s.Admin.Traffic.Overview(ctx)
	if err != nil {
		return nil, err
	}
	traffic, err := s.Admin.Traffic.Traffic(ctx)
	if err != nil {
		return nil, err
	}
	caps, err := s.Admin.Traffic.PaceToday(ctx, capsShown)
	if err != nil {
		return nil, err
	}
	vendors, err := s.Admin.Vendors.Vendors(ctx, snapshot.VendorFilter{}, message.ID{}, overviewVendors)
	if err != nil {
		return nil, err
	}
	vendors = slices.DeleteFunc(vendors, func(v snapshot.VendorState) bool { return v.ID == message.InternalVendor }) // it has no link
	pile := func(p message.Pile) pileResource {
		r := pileResource{Count: p.Count, OldestID: optionalID(p.ID)}
		if !p.Oldest.IsZero() {
			r.OldestSeconds = new(int(max(0, now.Sub(p.Oldest)) / time.Second))
		}
		return r
	}
	r := &overviewResource{At: stamp(now), Lately: latelyResource{Since: optionalTime(o.Lately.Since), Outbound: map[string]int{}, Inbound: map[string]int{}},
		Backlog: pile(o.Backlog), Unstarted: pile(o.Unstarted), InDoubt: pile(o.InDoubt), Held: pile(o.Held), WebhooksDue: pile(o.WebhooksDue),
		WebhooksFailed: pile(o.WebhooksFailed), Unrouted: pile(o.Unrouted), Unmatched: pile(o.Unmatched)}
	r.LastMinute, r.LastHour = flows(&o.Lately, traffic, now)
	for _, c := range o.Lately.Counts {
		into := r.Lately.Outbound
		if c.Direction == message.Inbound {
			into = r.Lately.Inbound
		}
		into[string(c.Status)] += c.Messages
	}
	r.Caps = nearCaps(caps, o.Limits, s.Snapshot())
	r.Vendors, err = s.vendorStatus(ctx, vendors)
	return r, err
}

// flows are the rates of the last minute and hour.
func flows(lately *message.Lately, traffic []message.VendorTraffic, now time.Time) (minute, hour flowResource) {
	var m, h message.TrafficCount
	for _, t := range traffic {
		m.Add(t.Minute)
		h.Add(t.Hour)
	}
	rates := func(c message.TrafficCount, over time.Duration) flowResource {
		t := trafficOf(c, over)
		return flowResource{FromVendors: t.Throughput.In, ToVendors: t.Throughput.Out, ErrorRate: t.ErrorRate}
	}
	minute, hour = rates(m, time.Minute), rates(h, time.Hour)
	var came, cameLast, ended, endedLast int
	for _, c := range lately.Counts {
		if c.Direction != message.Outbound {
			continue
		}
		came, cameLast = came+c.Messages, cameLast+c.Minute
		if c.Status.Final() {
			ended, endedLast = ended+c.Messages, endedLast+c.Moved
		}
	}
	// Of a busy gateway the counts go back less than an hour, or than a minute.
	span := time.Hour
	if lately.Cut {
		span = max(time.Second, min(span, now.Sub(lately.Since)))
	}
	last := min(span, time.Minute).Seconds()
	minute.Accepted, minute.Final = float64(cameLast)/last, float64(endedLast)/60
	hour.Accepted, hour.Final = float64(came)/span.Seconds(), float64(ended)/span.Seconds()
	return minute, hour
}

// nearCaps are the caps and limits of which half is used, the fullest first.
func nearCaps(caps []pace.Use, limits []message.Usage, config *snapshot.Snapshot) []capResource {
	names := capNames(config)
	out := []capResource{}
	for _, c := range caps {
		r, known := names[c.Key]
		if r.Used, r.Limit, r.Closed, r.ResetsAt = int64(c.Used), int64(c.Parts), c.Closed, stamp(c.ResetsAt); known {
			out = append(out, r)
		}
	}
	for _, l := range limits {
		r := capResource{Kind: "account", AccountID: l.AccountID.String(), Name: l.AccountID.String(), Number: optional(string(l.Number)), Type: optional(string(l.Kind)),
			Period: string(l.Period), Used: l.Used, Limit: l.Parts, ResetsAt: stamp(l.ResetsAt)}
		if a := config.Accounts[l.AccountID]; a != nil {
			r.Name = a.CompanyName
		}
		out = append(out, r)
	}
	share := func(c capResource) float64 {
		if c.Closed {
			return 2 // nothing more goes, whatever was counted
		}
		return float64(c.Used) / float64(max(1, c.Limit))
	}
	out = slices.DeleteFunc(out, func(c capResource) bool {
		return share(c) < nearEnd || c.Limit == 0 && !c.Closed && c.Kind != "account"
	})
	slices.SortStableFunc(out, func(a, b capResource) int {
		return cmp.Or(cmp.Compare(share(b), share(a)), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(len(out), capsListed)]
}

// capNames says whose the daily counters of a configuration are.
func capNames(config *snapshot.Snapshot) map[string]capResource {
	names := map[string]capResource{}
	for id, c := range config.Campaigns {
		names[pace.CampaignDay(id)] = capResource{Kind: "campaign", Name: cmp.Or(c.CampaignID, id.String()), AccountID: c.AccountID.String(), CampaignID: optionalID(id), BrandID: optionalID(c.Brand), Period: "day"}
	}
	for id, b := range config.Brands {
		key := pace.BrandDay(b.CapKey)
		if before, ok := names[key]; !ok || *before.BrandID > id.String() { // of several the same one each time
			names[key] = capResource{Kind: "brand", Name: b.Name, AccountID: b.AccountID.String(), BrandID: optionalID(id), Period: "day"}
		}
	}
	return names
}
