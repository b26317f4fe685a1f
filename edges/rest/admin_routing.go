package rest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/internal/vendorconf"
)

// Routing explains where messages go.
type Routing interface {
	// ExplainRoute tells what every route makes of a message that leaves then, with the
	// configuration and the health of vendors as they are now.
	ExplainRoute(ctx context.Context, m *message.Message, at time.Time) ([]policy.Explained, []message.TrailEntry, error)
	// WhatIf follows messages of the past through the configuration that a proposal leads
	// to: about limit of those that were accepted from a time until another.
	WhatIf(ctx context.Context, p policy.Proposal, from, until time.Time, limit int) (policy.Forecast, error)
}

type routeTestBody struct {
	To           string     `json:"to" maxLength:"64" doc:"The recipient" example:"+13105550117"`
	From         string     `json:"from,omitempty" maxLength:"64" doc:"The sender. Left out: the account's only number, else one that no pattern and no vendor knows" example:"+12025550143"`
	AccountID    *string    `json:"account_id,omitempty" format:"uuid" nullable:"true" doc:"Whose message it is. Left out: the owner's of the sender, if that is a number of ours; else nobody's"`
	Type         string     `json:"type,omitempty" enum:"sms,mms" default:"sms"`
	MessageClass string     `json:"message_class,omitempty" enum:"otp,conversation,bulk" doc:"Left out: the account's"`
	Body         string     `json:"body,omitempty" maxLength:"5000" doc:"Its text: what it needs of a vendor depends on it"`
	At           *time.Time `json:"at,omitempty" doc:"When it leaves. Left out: now"`
}

type routeCandidateResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	Place      *int     `json:"place" doc:"1: it is asked first; null: it is not asked"`
	RouteID    *int64   `json:"route_id" doc:"null: no route leads there; staff have named the vendor, or the message stays in the house"`
	RouteName  *string  `json:"route_name"`
	VendorID   string   `json:"vendor_id" format:"uuid"`
	Vendor     *string  `json:"vendor" doc:"Its name; null: there is no such vendor"`
	Health     string   `json:"health" enum:"unknown,healthy,degraded,down"`
	RatePerMsg string   `json:"rate_per_msg" doc:"What the customer pays a part"`
	Cost       string   `json:"cost" doc:"What the vendor takes for a part"`
	Reason     string   `json:"reason" doc:"Why it lost, or what its place comes from"`
}

type routeTestResource struct {
	_          struct{}                 `json:"-" additionalProperties:"true"`
	Selected   *string                  `json:"selected" doc:"Name of the vendor that is asked first; null: none takes it"`
	Parts      int                      `json:"parts" doc:"That the text makes"`
	Encoding   string                   `json:"encoding"`
	Candidates []routeCandidateResource `json:"candidates" nullable:"false" doc:"Those that are asked in their order, then those that lost"`
	Trail      []routeTrailResource     `json:"trail" nullable:"false" doc:"Every route in the order of the configuration"`
}

type routeTrailResource struct {
	_      struct{} `json:"-" additionalProperties:"true"`
	Rule   string   `json:"rule" example:"route 12"`
	Result string   `json:"result" enum:"pass,hold,refuse"`
	Detail string   `json:"detail"`
}

type whatIfBody struct {
	From    *time.Time     `json:"from,omitempty" doc:"Messages that were accepted from then on. Left out: the beginning of yesterday, UTC"`
	Until   *time.Time     `json:"until,omitempty" doc:"Until then, at most 31 days later. Left out: 24 hours after from"`
	Limit   int            `json:"limit,omitempty" minimum:"1" maximum:"100000" default:"10000" doc:"About how many are looked at; they are picked evenly"`
	Routes  []whatIfRoute  `json:"routes,omitempty" maxItems:"200" doc:"Routes that there would be; with an id, in place of that one"`
	Remove  []int64        `json:"remove,omitempty" maxItems:"200" doc:"Routes that there would not be"`
	Vendors []whatIfVendor `json:"vendors,omitempty" maxItems:"200" doc:"What vendors would be"`
}

type whatIfRoute struct {
	ID int64 `json:"id,omitempty" doc:"The route in whose place it is: what is left out is as it is there"`
	RouteSettings
}

// TransformSchema leaves out what has a default.
func (whatIfRoute) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

type whatIfVendor struct {
	Vendor     string  `json:"vendor" maxLength:"50" doc:"Its id or name"`
	IsActive   *bool   `json:"is_active,omitempty"`
	Paused     *bool   `json:"paused,omitempty"`
	Draining   *bool   `json:"draining,omitempty"`
	Priority   *int    `json:"priority,omitempty" minimum:"0" maximum:"1000000"`
	CostPerSMS *string `json:"cost_per_sms,omitempty" maxLength:"11"`
	CostPerMMS *string `json:"cost_per_mms,omitempty" maxLength:"11"`
}

type forecastSums struct {
	_       struct{} `json:"-" additionalProperties:"true"`
	NoRoute int      `json:"no_route" doc:"Messages that no vendor could have taken"`
	Price   string   `json:"price" doc:"What the customers would have paid"`
	Cost    string   `json:"cost" doc:"What the vendors would have taken"`
}

type forecastVendor struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	VendorID    string   `json:"vendor_id" format:"uuid"`
	Vendor      string   `json:"vendor"`
	Used        int      `json:"used" doc:"Messages that it had in fact"`
	FirstBefore int      `json:"first_before" doc:"Messages for which it would have been asked first, by the configuration in force"`
	FirstAfter  int      `json:"first_after" doc:"The same by the proposed one"`
	PartsBefore int      `json:"parts_before"`
	PartsAfter  int      `json:"parts_after"`
	CostBefore  string   `json:"cost_before"`
	CostAfter   string   `json:"cost_after"`
}

type whatIfResource struct {
	_        struct{}         `json:"-" additionalProperties:"true"`
	From     string           `json:"from" format:"date-time"`
	Until    string           `json:"until" format:"date-time"`
	Messages int              `json:"messages" doc:"That were looked at"`
	Moved    int              `json:"moved" doc:"Of those, that would have gone to another vendor first"`
	Before   forecastSums     `json:"before"`
	After    forecastSums     `json:"after"`
	Vendors  []forecastVendor `json:"vendors" nullable:"false"`
}

func (s *Server) registerRouting(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Routes"}
	register(api, s.operation(huma.Operation{
		OperationID: "testRoute", Method: http.MethodPost, Path: routePath + "/test", Tags: tags, Summary: "See where a message would go",
		Description: "Explains every route and why it lost. Nothing is stored or sent.",
	}, staff(snapshot.RoleOperator).taking(), 400, 413, 415), s.testRoute, bodyOf[routeTestBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "whatIfRoutes", Method: http.MethodPost, Path: routePath + "/what-if", Tags: tags, Summary: "See what a change would have made of yesterday's messages",
		Description: "Follows messages of the past through the configuration in force and through the proposed one. All vendors count as healthy in both. Nothing is changed.",
	}, staff(snapshot.RoleOperator).taking(), 400, 413, 415), s.whatIf, bodyOf[whatIfBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "rerouteMessage", Method: http.MethodPost, Path: messagePath + "/{id}/reroute", Tags: []string{"Messages"}, Summary: "Name the vendor of a message",
		Description: "It alone is asked, whatever the routes say; with null the routes are asked again. Refused with 409 once the message has been sent or has ended.",
	}, staff(snapshot.RoleSupport).taking(), 400, 404, 409, 413, 415), s.reroute, bodyOf[rerouteBody](schemas))
}

// unknownSender stands for a sender of which nothing is known: a number that is nobody's.
const unknownSender = message.Address("+12025550100")

func (s *Server) testRoute(ctx context.Context, in *rawInput) (*output[routeTestResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	m, at, status, refusal := ReadRouteTest(in.RawBody, s.now(), s.Snapshot())
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	if s.Admin.Routing == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "this process cannot explain routes"), 0)
	}
	list, trail, err := s.Admin.Routing.ExplainRoute(ctx, m, at)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	r := routeTestResource{Parts: m.Segments, Encoding: string(m.Encoding), Candidates: []routeCandidateResource{}, Trail: []routeTrailResource{}}
	for _, e := range list {
		c := routeCandidateResource{RouteName: optional(e.Name), VendorID: e.VendorID.String(), Vendor: optional(e.Vendor), Health: string(healthOf(e.Health)),
			RatePerMsg: e.Rate.String(), Cost: e.Cost.String(), Reason: e.Reason}
		if e.Place > 0 {
			c.Place = &e.Place
		}
		if e.Route != 0 {
			c.RouteID = &e.Route
		}
		if e.Place == 1 {
			r.Selected = optional(e.Vendor)
		}
		r.Candidates = append(r.Candidates, c)
	}
	for _, e := range trail {
		r.Trail = append(r.Trail, routeTrailResource{Rule: e.Rule, Result: string(e.Result), Detail: e.Detail})
	}
	return &output[routeTestResource]{Body: r}, nil
}

// ReadRouteTest reads the body of a test of routes: the message that it is about, and
// when that leaves. What is left out is as the account has it. The shell has the same
// words, and reads them without a configuration first. The status is that of the
// refusal, 0 for the catalogue's.
func ReadRouteTest(body []byte, now time.Time, config *snapshot.Snapshot) (m *message.Message, at time.Time, status int, refusal *message.Error) {
	at = now
	m = &message.Message{ID: message.NewID(), Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted, Delivery: message.AtMostOnce}
	status, refusal = readObject(body, func(d *decoder, name, location string) (bool, error) {
		address := func(into *message.Address, parse func(string) (message.Address, error)) func(string) {
			return func(v string) {
				a, err := parse(v)
				if err != nil {
					d.invalid(location, "is no address: %s", message.AsError(err).Detail)
				}
				*into = a
			}
		}
		switch name {
		case "to":
			return true, d.parsed(location, address(&m.To, message.ParseRecipient))
		case "from":
			return true, d.parsed(location, address(&m.From, message.ParseSender))
		case "account_id":
			return true, d.parsed(location, func(v string) { d.account(location, v, &m.AccountID) })
		case "type":
			return true, d.parsedChoice(location, []string{string(message.SMS), string(message.MMS)}, func(v string) { m.Kind = message.Kind(v) })
		case "message_class":
			return true, d.parsedChoice(location, []string{string(message.ClassOTP), string(message.ClassConversation), string(message.ClassBulk)},
				func(v string) { m.Class = message.Class(v) })
		case "body":
			return true, d.text(location, &m.Body, lines)
		case "at":
			return true, d.time(location, func(v time.Time) { at = v })
		}
		return false, nil
	}, func(d *decoder) {
		if m.To == "" && !d.faulty("body.to") {
			d.invalid("body.to", "is required: the recipient")
		}
		d.most("body.body", m.Body, maxTried)
		if len(d.list) == 0 {
			plan, err := text.Plan(m.Body, message.EncodingAuto, asAccount(m, config))
			if err != nil {
				d.invalid("body.body", "%s", message.AsError(err).Detail)
			}
			m.Encoding, m.Segments = plan.Encoding, max(1, len(plan.Parts))
		}
	})
	m.CreatedAt = at
	return m, at, status, refusal
}

// asAccount fills in what the account's settings make of a message, as they do when it
// sends, and reports whether they replace look-alikes in its text.
func asAccount(m *message.Message, config *snapshot.Snapshot) (smart bool) {
	if config != nil {
		if n := config.Numbers[m.From]; n != nil && m.AccountID == (message.ID{}) {
			m.AccountID = n.AccountID // who else would send with it
		}
		if a := config.Accounts[m.AccountID]; a != nil {
			if only, ok := config.OnlySender(a.ID); ok && m.From == "" {
				m.From = only
			}
			m.From, m.Class, smart = cmp.Or(a.ForceSourceAddress, m.From), cmp.Or(m.Class, a.DefaultClass), a.SmartEncoding
		}
	}
	m.From, m.Class = cmp.Or(m.From, unknownSender), cmp.Or(m.Class, message.ClassConversation)
	return smart
}

// Bounds of a look into the past.
const (
	whatIfSpan    = 31 * 24 * time.Hour
	whatIfLimit   = 10_000
	whatIfMost    = 100_000
	whatIfEntries = 200
)

// Past is what a what-if is asked about.
type Past struct {
	From, Until time.Time
	Limit       int // about how many messages
	Proposal    policy.Proposal
}

func (s *Server) whatIf(ctx context.Context, in *rawInput) (*output[whatIfResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	p, status, refusal := ReadWhatIf(in.RawBody, s.now(), s.Snapshot())
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	if s.Admin.Routing == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "this process cannot look at past messages"), 0)
	}
	f, err := s.Admin.Routing.WhatIf(ctx, p.Proposal, p.From, p.Until, p.Limit)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	r := whatIfResource{From: stamp(p.From), Until: stamp(p.Until), Messages: f.Messages, Moved: f.Moved, Before: sumsOf(f.Before), After: sumsOf(f.After), Vendors: []forecastVendor{}}
	for _, v := range f.Vendors {
		r.Vendors = append(r.Vendors, forecastVendor{VendorID: v.ID.String(), Vendor: v.Name, Used: v.Used, FirstBefore: v.First.Before, FirstAfter: v.First.After,
			PartsBefore: v.Parts.Before, PartsAfter: v.Parts.After, CostBefore: v.Cost.Before.String(), CostAfter: v.Cost.After.String()})
	}
	return &output[whatIfResource]{Body: r}, nil
}

func sumsOf(s policy.Sums) forecastSums {
	return forecastSums{NoRoute: s.NoRoute, Price: s.Price.String(), Cost: s.Cost.String()}
}

// ReadWhatIf reads the body of a what-if, in which vendors and routes of the
// configuration are named. The shell has the same words. The status is that of the
// refusal, 0 for the catalogue's.
func ReadWhatIf(body []byte, now time.Time, config *snapshot.Snapshot) (Past, int, *message.Error) {
	p := Past{Proposal: policy.Proposal{Vendors: map[message.ID]policy.VendorChange{}}}
	limit := new(int64(whatIfLimit))
	status, refusal := readObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "from":
			return true, d.time(location, func(at time.Time) { p.From = at })
		case "until":
			return true, d.time(location, func(at time.Time) { p.Until = at })
		case "limit":
			return true, d.whole(location, &limit)
		case "routes":
			return true, d.each(location, whatIfEntries, func(place string) error { return p.route(d, place, config) })
		case "remove":
			return true, d.each(location, whatIfEntries, func(place string) error {
				var id *int64
				err := d.whole(place, &id)
				if id != nil {
					p.Proposal.Remove = append(p.Proposal.Remove, *id)
				}
				return err
			})
		case "vendors":
			return true, d.each(location, whatIfEntries, func(place string) error { return p.vendor(d, place, config) })
		}
		return false, nil
	}, func(d *decoder) {
		if p.From.IsZero() {
			p.From = now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
		}
		if p.Until.IsZero() {
			p.Until = p.From.Add(24 * time.Hour)
		}
		if !p.From.Before(p.Until) || p.Until.Sub(p.From) > whatIfSpan {
			d.invalid("body.until", "must be after from, and at most 31 days")
		}
		if *limit < 1 || *limit > whatIfMost {
			d.invalid("body.limit", "must be 1 to %d", whatIfMost)
		}
		p.Limit = bounded(*limit)
	})
	return p, status, refusal
}

// each reads an array of at most so many elements.
func (d *decoder) each(location string, most int, element func(place string) error) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	if d.peek() != '[' {
		d.invalid(location, "must be an array: […]")
		return d.skip()
	}
	n := 0
	return d.array(func() error {
		if n++; n > most {
			if n == most+1 {
				d.invalid(location, "has more than %d elements", most)
			}
			return d.skip()
		}
		return element(fmt.Sprintf("%s[%d]", location, n-1))
	})
}

// inner reads an object inside of a body.
func (d *decoder) inner(place string, member func(d *decoder, name, location string) (bool, error)) error {
	if d.peek() != '{' {
		d.invalid(place, "must be an object: {…}")
		return d.skip()
	}
	seen := map[string]bool{}
	return d.object(func(name string) error {
		location := place + "." + clip(name)
		if seen[name] {
			d.invalid(location, "appears twice; send it once")
			return d.skip()
		}
		if len(seen) < maxMembers {
			seen[name] = true
		}
		known, err := member(d, name, location)
		if known || err != nil {
			return err
		}
		d.invalid(location, "there is no such field; see /docs for those there are")
		return d.skip()
	})
}

// route reads a route that would be there. What is left out of one that is there already
// is as it is.
func (p *Past) route(d *decoder, place string, config *snapshot.Snapshot) error {
	back := d.reader
	var id *int64
	// Which one it is must be known before the rest is laid over it.
	before := len(d.list)
	err := d.inner(place, func(d *decoder, name, location string) (bool, error) {
		if name == "id" {
			return true, d.whole(location, &id)
		}
		return true, d.skip()
	})
	if err != nil || len(d.list) > before {
		return err
	}
	doc := vendorconf.NewRoute()
	var r snapshot.Route
	if id != nil {
		r.ID = *id
		for i := range config.Routes {
			if config.Routes[i].ID == *id {
				doc = vendorconf.RouteOf(&config.Routes[i], true)
			}
		}
	}
	d.reader = back
	err = d.inner(place, settings(&doc, func(d *decoder, name, _ string) (bool, error) {
		if name != "id" {
			return false, nil
		}
		return true, d.skip()
	}))
	if err != nil || len(d.list) > before {
		return err
	}
	for _, f := range doc.Into(&r) {
		d.invalid(place+"."+f.Location, "%s", f.Message)
	}
	if doc.IsActive {
		p.Proposal.Routes = append(p.Proposal.Routes, r)
	} else if r.ID != 0 {
		p.Proposal.Remove = append(p.Proposal.Remove, r.ID)
	}
	return nil
}

// vendor reads what a vendor would be.
func (p *Past) vendor(d *decoder, place string, config *snapshot.Snapshot) error {
	var c policy.VendorChange
	var given string
	var priority *int64
	cost := func(location string, into **message.Micros) error {
		return d.parsed(location, func(v string) {
			amount, ok := vendorconf.Amount(v)
			if !ok {
				d.invalid(location, "must be a decimal from 0 to 9999.999999, such as 0.0045")
			}
			*into = &amount
		})
	}
	err := d.inner(place, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "vendor":
			return true, d.text(location, &given, oneLine)
		case "is_active":
			return true, d.flag(location, &c.Active)
		case "paused":
			return true, d.flag(location, &c.Paused)
		case "draining":
			return true, d.flag(location, &c.Draining)
		case "priority":
			return true, d.whole(location, &priority)
		case "cost_per_sms":
			return true, cost(location, &c.CostPerSMS)
		case "cost_per_mms":
			return true, cost(location, &c.CostPerMMS)
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if priority != nil {
		c.Priority = new(bounded(*priority))
	}
	v := vendorNamed(config, given)
	if v == nil {
		d.invalid(place+".vendor", "there is no such vendor")
		return nil
	}
	p.Proposal.Vendors[v.ID] = c
	return nil
}

// vendorNamed finds a vendor of the configuration by its id or name, nil when there is
// none.
func vendorNamed(config *snapshot.Snapshot, given string) *snapshot.Vendor {
	if id, err := message.ParseID(given); err == nil {
		return config.Vendors[id]
	}
	for _, v := range config.Vendors {
		if v.Name == given {
			return v
		}
	}
	return nil
}

type rerouteBody struct {
	Vendor *string `json:"vendor" nullable:"true" maxLength:"50" doc:"Its id or name; null: the routes are asked again" example:"acme-1"`
	Reason string  `json:"reason" minLength:"1" maxLength:"300" doc:"Why, for the timeline and the audit log"`
}

func (s *Server) reroute(ctx context.Context, in *rowBody) (*output[adminMessageResource], error) {
	x := exchangeOf(ctx)
	// What is in the audit log is done, whether or not the client still listens.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	var vendor message.ID
	var reason string
	named := false
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "vendor":
			named = true
			return true, d.parsed(location, func(given string) {
				switch v := vendorNamed(s.Snapshot(), given); {
				case v == nil:
					d.invalid(location, "there is no such vendor")
				case !v.Active || v.Draining:
					d.invalid(location, "the vendor %s takes no messages now", v.Name)
				default:
					vendor = v.ID
				}
			})
		case "reason":
			return true, d.text(location, &reason, lines)
		}
		return false, nil
	}, func(d *decoder) {
		if !named {
			d.invalid("body.vendor", "is required: a vendor, or null for the routes")
		}
		if reason == "" && !d.faulty("body.reason") {
			d.invalid("body.reason", "is required: why")
		}
		d.most("body.reason", reason, 300)
	})
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	m, err := s.anyMessage(ctx, in.ID)
	if err == nil && s.Admin.Reroute == nil {
		err = message.Refuse(message.ReasonUnavailable, "this process cannot route messages anew")
	}
	if err == nil {
		err = s.Admin.Reroute(ctx, x.actor(), m.ID, vendor, reason)
	}
	if err == nil {
		m, err = s.Admin.Messages.WholeMessage(ctx, m.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.showMessage(ctx, m)
}
