package rest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// redriveFilter is the filter of GET /api/v1/admin/messages as an object.
type redriveFilter struct {
	Direction       string   `json:"direction,omitempty" enum:"outbound,inbound" doc:"outbound: sent by the account; inbound: received"`
	Status          []string `json:"status,omitempty" maxItems:"13" nullable:"false" doc:"Any of them"`
	Type            string   `json:"type,omitempty" enum:"sms,mms" doc:"Of this type alone"`
	From            string   `json:"from,omitempty" maxLength:"64" doc:"The sender that was used"`
	To              string   `json:"to,omitempty" maxLength:"64" doc:"The recipient"`
	ClientReference string   `json:"client_reference,omitempty" maxLength:"64" doc:"With this reference"`
	BatchID         string   `json:"batch_id,omitempty" maxLength:"36" doc:"Of this batch alone"`
	CampaignID      string   `json:"campaign_id,omitempty" maxLength:"64" doc:"The registry's id"`
	ErrorCode       string   `json:"error_code,omitempty" maxLength:"64" doc:"A code of GET /v1/errors"`
	MessageClass    string   `json:"message_class,omitempty" enum:"otp,conversation,bulk" doc:"Of this class alone"`
	CreatedAfter    string   `json:"created_after,omitempty" format:"date-time" doc:"RFC 3339"`
	CreatedBefore   string   `json:"created_before,omitempty" format:"date-time" doc:"RFC 3339. Left out: the moment of the request, which is the latest there may be"`
	AccountID       string   `json:"account_id,omitempty" maxLength:"36" doc:"Of this customer"`
	Vendor          string   `json:"vendor,omitempty" maxLength:"50" doc:"Name or id of the vendor that has it"`
	VendorMessageID string   `json:"vendor_message_id,omitempty" maxLength:"128" doc:"The id that a vendor gave one of its parts"`
}

func filterOf(f message.Filter) redriveFilter {
	out := redriveFilter{Direction: string(f.Direction), Type: string(f.Kind), From: string(f.From), To: string(f.To), ClientReference: f.ClientReference,
		CampaignID: f.CampaignID, ErrorCode: string(f.Reason), MessageClass: string(f.Class), Vendor: f.Vendor, VendorMessageID: f.VendorMessageID}
	for _, s := range f.Statuses {
		out.Status = append(out.Status, string(s))
	}
	for id, into := range map[message.ID]*string{f.BatchID: &out.BatchID, f.AccountID: &out.AccountID} {
		if id != (message.ID{}) {
			*into = id.String()
		}
	}
	for _, t := range []struct {
		at   time.Time
		into *string
	}{{f.CreatedAfter, &out.CreatedAfter}, {f.CreatedBefore, &out.CreatedBefore}} {
		if !t.at.IsZero() {
			*t.into = stamp(t.at)
		}
	}
	return out
}

// createRedriveBody is the body of POST /api/v1/admin/redrives.
type createRedriveBody struct {
	DryRunID        string         `json:"dry_run_id,omitempty" format:"uuid" doc:"Do what this dry run has shown: its action, filter, reason, limit and pace. The last three may be given anew; the others not"`
	Action          string         `json:"action,omitempty" enum:"retry,cancel,release,refuse,reroute,resolve" doc:"Needed without dry_run_id"`
	AcceptDuplicate bool           `json:"accept_duplicate,omitempty" doc:"Of a retry: take unconfirmed messages too, whose recipients may have them"`
	Vendor          *string        `json:"vendor,omitempty" nullable:"true" maxLength:"50" doc:"Of a reroute: whom they go to, by id or name; null or left out: the routes are asked again"`
	As              string         `json:"as,omitempty" enum:"sent,not_sent,send_again" doc:"Of a resolution, and needed there: what is known, as of POST /messages/{id}/resolve"`
	Reason          string         `json:"reason,omitempty" minLength:"1" maxLength:"240" doc:"Why, for the audit log and the timelines. Customers see that of a refusal. Needed without dry_run_id"`
	DryRun          bool           `json:"dry_run,omitempty" doc:"Count what would be done, and do nothing"`
	Limit           int            `json:"limit,omitempty" minimum:"1" maximum:"100000" doc:"The most messages that are looked at. Left out: 10,000"`
	PerSecond       int            `json:"per_second,omitempty" minimum:"1" maximum:"500" doc:"The most that something is done to, a second. Left out: 50"`
	Filter          *redriveFilter `json:"filter,omitempty" doc:"As of GET /messages; all must hold. At least one must be given. Needed without dry_run_id"`
}

// redriveAsked is what was read of a body.
type redriveAsked struct {
	createRedriveBody
	named     []string // members that were given
	created   [2]time.Time
	hasFilter bool
}

func (a *redriveAsked) member(d *decoder, name, location string) (bool, error) {
	a.named = append(a.named, name)
	var words []string
	switch name {
	case "dry_run_id":
		return true, d.text(location, &a.DryRunID, oneLine)
	case "action":
		for _, w := range message.RedriveActions() {
			words = append(words, string(w))
		}
		return true, d.choice(location, &a.Action, words...)
	case "accept_duplicate":
		return true, d.bool(location, &a.AcceptDuplicate)
	case "vendor":
		return true, d.optional(location, &a.Vendor)
	case "as":
		for _, w := range message.Resolutions() {
			words = append(words, string(w))
		}
		return true, d.choice(location, &a.As, words...)
	case "reason":
		return true, d.text(location, &a.Reason, lines)
	case "dry_run":
		return true, d.bool(location, &a.DryRun)
	case "limit":
		return true, d.ranged(location, &a.Limit, 1, message.MaxRedrive)
	case "per_second":
		return true, d.ranged(location, &a.PerSecond, 1, message.MaxRedriveRate)
	case "filter":
		a.Filter = &redriveFilter{}
		return true, d.nested(location, a.filter)
	}
	return false, nil
}

func (a *redriveAsked) filter(d *decoder, name, location string) (bool, error) {
	f := a.Filter
	a.hasFilter = a.hasFilter || name != "created_before"
	texts := map[string]*string{"from": &f.From, "to": &f.To, "client_reference": &f.ClientReference, "batch_id": &f.BatchID, "campaign_id": &f.CampaignID, "error_code": &f.ErrorCode,
		"account_id": &f.AccountID, "vendor": &f.Vendor, "vendor_message_id": &f.VendorMessageID}
	if into := texts[name]; into != nil {
		err := d.text(location, into, oneLine)
		d.most(location, *into, 128)
		return true, err
	}
	switch name {
	case "direction":
		return true, d.choice(location, &f.Direction, "outbound", "inbound")
	case "type":
		return true, d.choice(location, &f.Type, "sms", "mms")
	case "message_class":
		return true, d.choice(location, &f.MessageClass, "otp", "conversation", "bulk")
	case "created_after":
		return true, d.time(location, func(t time.Time) { a.created[0] = t })
	case "created_before":
		return true, d.time(location, func(t time.Time) { a.created[1] = t })
	case "status":
		var words []string
		for _, s := range message.Statuses() {
			words = append(words, string(s))
		}
		return true, d.each(location, len(words), func(place string) error {
			return d.parsedChoice(place, words, func(s string) { f.Status = append(f.Status, s) })
		})
	}
	return false, nil
}

// decodeRedrive reads a re-drive. The status is 400 for a body that is not JSON.
func (s *Server) decodeRedrive(ctx context.Context, body []byte) (*message.Redrive, int, *message.Error) {
	a := redriveAsked{}
	r := &message.Redrive{}
	status, refusal := readObject(body, a.member, func(d *decoder) {
		d.most("body.reason", a.Reason, message.MaxRedriveReason)
		if a.DryRunID != "" {
			s.afterDryRun(ctx, d, &a, r)
		} else {
			s.redriveAnew(d, &a, r)
		}
		r.Reason = cmp.Or(a.Reason, r.Reason)
		r.Limit = cmp.Or(a.Limit, r.Limit, message.DefaultRedrive)
		r.PerSecond = cmp.Or(a.PerSecond, r.PerSecond, message.DefaultRedriveAt)
		r.DryRun = a.DryRun
	})
	return r, status, refusal
}

// afterDryRun takes over what a dry run has shown.
func (s *Server) afterDryRun(ctx context.Context, d *decoder, a *redriveAsked, r *message.Redrive) {
	for _, name := range []string{"action", "accept_duplicate", "vendor", "as", "filter"} {
		if slices.Contains(a.named, name) {
			d.invalid("body."+name, "is that of the dry run: leave it out beside dry_run_id")
		}
	}
	if a.DryRun {
		d.invalid("body.dry_run", "leave it out beside dry_run_id: the dry run was made")
	}
	dry, err := s.redrive(ctx, RowInput{ID: a.DryRunID})
	switch {
	case err != nil:
		d.invalid("body.dry_run_id", "there is no such dry run")
	case !dry.DryRun:
		d.invalid("body.dry_run_id", "that re-drive is none: it was done")
	case dry.Status != message.RedriveCompleted:
		d.invalid("body.dry_run_id", "that dry run is %s: wait until it has completed, or make another", dry.Status)
	default:
		r.Action, r.RedriveParameters, r.Filter, r.Reason, r.Limit, r.PerSecond, r.Expected = dry.Action, dry.RedriveParameters, dry.Filter, dry.Reason, dry.Limit, dry.PerSecond, dry.Looked
	}
}

// redriveAnew reads one without a dry run before it.
func (s *Server) redriveAnew(d *decoder, a *redriveAsked, r *message.Redrive) {
	r.Action = message.RedriveAction(a.Action)
	if a.Action == "" && !d.faulty("body.action") {
		d.invalid("body.action", "is required: what is to be done")
	}
	if a.Reason == "" && !d.faulty("body.reason") {
		d.invalid("body.reason", "is required: why")
	}
	only := func(name string, action message.RedriveAction, given bool) {
		if given && a.Action != "" && r.Action != action {
			d.invalid("body."+name, "is for %s; leave it out", action)
		}
	}
	only("accept_duplicate", message.RedriveRetry, a.AcceptDuplicate)
	only("vendor", message.RedriveReroute, a.Vendor != nil)
	only("as", message.RedriveResolve, a.As != "")
	if r.AcceptDuplicate = a.AcceptDuplicate; r.Action == message.RedriveResolve && a.As == "" && !d.faulty("body.as") {
		d.invalid("body.as", "is required: what is known of the messages")
	}
	r.As = message.Resolution(a.As)
	if a.Vendor != nil && r.Action == message.RedriveReroute {
		switch v := vendorNamed(s.Snapshot(), *a.Vendor); {
		case v == nil:
			d.invalid("body.vendor", "there is no such vendor")
		case !v.Active || v.Draining:
			d.invalid("body.vendor", "the vendor %s takes no messages now", v.Name)
		default:
			r.Vendor, r.VendorName = v.ID, v.Name
		}
	}
	if !a.hasFilter && !d.faulty("body.filter") {
		d.invalid("body.filter", "is required: at least one condition beside created_before; a re-drive of everything is none")
		return
	}
	f := a.Filter
	in := adminListInput{AccountID: f.AccountID, Vendor: f.Vendor, VendorID: f.VendorMessageID}
	in.MessageFilters = MessageFilters{Direction: f.Direction, Status: f.Status, Type: f.Type, From: f.From, To: f.To, ClientReference: f.ClientReference, BatchID: f.BatchID,
		CampaignID: f.CampaignID, ErrorCode: f.ErrorCode, MessageClass: f.MessageClass, CreatedAfter: a.created[0], CreatedBefore: a.created[1]}
	var refused *message.Error
	r.Filter, refused = in.filter()
	for _, fault := range append(inFilter(refused), inFilter(in.widen(&r.Filter))...) {
		d.invalid(fault.Location, "%s", fault.Message)
	}
}
