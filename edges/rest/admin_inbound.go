package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Strays are what came from vendors and found nobody.
type Strays interface {
	// InboundUnrouted lists messages to a number of nobody's, or to all of them, newest
	// first, older than one.
	InboundUnrouted(ctx context.Context, number message.Address, before message.ID, limit int) ([]message.InboundRecord, error)
	// UnmatchedReceipts lists receipts that match no part, newest first, older than one.
	UnmatchedReceipts(ctx context.Context, before message.ID, limit int) ([]message.Receipt, error)
	// UnmatchedReceipt reads one of them; ReasonNotFound when there is none.
	UnmatchedReceipt(ctx context.Context, id message.ID) (message.Receipt, error)
}

// Reclaim brings strays to whose they are, as ingress does. Each leaves a line in the
// audit log.
type Reclaim interface {
	Redrive(ctx context.Context, by message.Actor, id message.ID) error
	RedriveAll(ctx context.Context, by message.Actor, number message.Address, after message.ID) (ingress.Redriven, message.ID, error)
	MatchReceipt(ctx context.Context, by message.Actor, receipt, id message.ID, part int) error
}

type unroutedResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	ID         string   `json:"id" format:"uuid"`
	VendorID   string   `json:"vendor_id" format:"uuid"`
	Vendor     *string  `json:"vendor" doc:"Its name; null: it was removed"`
	From       string   `json:"from" doc:"As the vendor wrote it, if it is no number"`
	To         string   `json:"to"`
	Body       *string  `json:"body" doc:"null: it is binary, or the caller may not read texts"`
	Segments   int      `json:"segments" doc:"Parts that it came in; 1 also when the vendor did not say"`
	Complete   bool     `json:"complete" doc:"false: parts of it never came"`
	Keyword    *string  `json:"keyword"`
	RepeatOf   *string  `json:"repeat_of" format:"uuid" doc:"A message that said the same shortly before"`
	Why        string   `json:"why" enum:"nobody,not_enabled,assigned" doc:"As the number is now: nobody's; somebody's and enabled for nothing; somebody's, so that it can be taken in anew"`
	AccountID  *string  `json:"account_id" format:"uuid" doc:"Whose the number is now; null: nobody's"`
	ReceivedAt string   `json:"received_at" format:"date-time"`
}

func (s *Server) unroutedOf(r message.InboundRecord, texts bool) unroutedResource {
	out := unroutedResource{ID: r.ID.String(), VendorID: r.VendorID.String(), Vendor: s.vendorName(r.VendorID), From: string(r.From), To: string(r.To),
		Segments: max(1, r.Joined), Complete: r.Missing == 0, Keyword: optional(r.Keyword), ReceivedAt: stamp(r.ReceivedAt)}
	if texts && r.Encoding != message.EncodingBinary {
		out.Body = &r.Text
	}
	if r.RepeatOf != (message.ID{}) {
		out.RepeatOf = new(r.RepeatOf.String())
	}
	out.Why = "nobody"
	if n := s.Snapshot().Numbers[r.To]; n != nil {
		out.Why, out.AccountID = "not_enabled", new(n.AccountID.String())
		if n.SMSEnabled || n.MMSEnabled {
			out.Why = "assigned"
		}
	}
	return out
}

// vendorName is the name of a vendor that there is.
func (s *Server) vendorName(id message.ID) *string {
	if v := s.Snapshot().Vendors[id]; v != nil {
		return &v.Name
	}
	return nil
}

type strayReceiptResource struct {
	_               struct{} `json:"-" additionalProperties:"true"`
	ID              string   `json:"id" format:"uuid"`
	VendorID        string   `json:"vendor_id" format:"uuid"`
	Vendor          *string  `json:"vendor" doc:"Its name; null: it was removed"`
	VendorMessageID string   `json:"vendor_message_id" doc:"Without leading zeros, in small letters"`
	State           string   `json:"state" enum:"DELIVRD,UNDELIV,REJECTD,DELETED,EXPIRED"`
	Err             *string  `json:"err" doc:"The vendor's own code"`
	From            string   `json:"from" doc:"Sender of the message, as the vendor wrote it"`
	To              string   `json:"to" doc:"Its recipient"`
	DoneAt          *string  `json:"done_at" format:"date-time"`
	ReceivedAt      string   `json:"received_at" format:"date-time"`
}

func (s *Server) strayReceiptOf(r message.Receipt) strayReceiptResource {
	out := strayReceiptResource{ID: r.ID.String(), VendorID: r.VendorID.String(), Vendor: s.vendorName(r.VendorID), VendorMessageID: r.VendorMessageID, State: string(r.State),
		Err: optional(r.Err), From: r.Destination, To: r.Source, ReceivedAt: stamp(r.ReceivedAt)}
	if !r.DoneAt.IsZero() {
		out.DoneAt = new(stamp(r.DoneAt))
	}
	return out
}

type redriveBody struct {
	Number string `json:"number,omitempty" doc:"To this number alone" example:"+12025550143"`
	After  string `json:"after,omitempty" format:"uuid" doc:"Go on behind this message: next_after of the answer before"`
}

func (in *redriveBody) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "number":
		return true, d.text(location, &in.Number, oneLine)
	case "after":
		return true, d.text(location, &in.After, oneLine)
	}
	return false, nil
}

type redrivenResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	Redriven  int      `json:"redriven" doc:"Messages that are on their way to their accounts now"`
	Left      int      `json:"left" doc:"Messages whose number is still nobody's, or not enabled"`
	NextAfter *string  `json:"next_after" format:"uuid" doc:"Where to go on; null: that was all"`
}

type reclaimedResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	MessageID string   `json:"message_id" format:"uuid" doc:"See /messages/{id}"`
}

type matchBody struct {
	MessageID string `json:"message_id" format:"uuid"`
	Part      int    `json:"part,omitempty" minimum:"1" maximum:"255" default:"1" doc:"Of the message's parts, from 1"`
}

func (in *matchBody) read(body []byte) (id message.ID, part int, status int, refusal *message.Error) {
	var given *int64
	status, refusal = readObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "message_id":
			return true, d.text(location, &in.MessageID, oneLine)
		case "part":
			return true, d.whole(location, &given)
		}
		return false, nil
	}, func(d *decoder) {
		var err error
		if id, err = message.ParseID(in.MessageID); err != nil && !d.faulty("body.message_id") {
			d.invalid("body.message_id", "is required: a UUID of 32 hex digits, hyphens optional")
		}
		if part = 1; given != nil {
			if *given < 1 || *given > 255 {
				d.invalid("body.part", "must be 1 to 255")
				return
			}
			part = int(*given)
		}
	})
	return id, part, status, refusal
}

const (
	unroutedPath = adminPrefix + "/inbound/unrouted"
	receiptPath  = adminPrefix + "/receipts"
)

func (s *Server) registerStrays(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Inbound"}
	register(api, s.operation(huma.Operation{
		OperationID: "listUnrouted", Method: http.MethodGet, Path: unroutedPath, Tags: tags, Summary: "List inbound messages of nobody's",
		Description: "Messages to numbers that nobody owned when they came, or that were not enabled, newest first. Roles admin, support and compliance see the texts, and the audit log says which.",
	}, anyStaff()), s.listUnrouted, nil)
	body := bodyOf[redriveBody](schemas)
	body.Required = false
	register(api, s.operation(huma.Operation{
		OperationID: "redriveAllUnrouted", Method: http.MethodPost, Path: unroutedPath + "/redrive", Tags: tags, Summary: "Take messages of nobody's in anew",
		Description: "The oldest 500, to one number or to all: those whose number is somebody's by now are delivered to them. While `next_after` is not null there are more.",
	}, staff(snapshot.RoleSupport).taking(), 400, 413, 415), s.redriveAll, body)
	register(api, s.operation(huma.Operation{
		OperationID: "redriveUnrouted", Method: http.MethodPost, Path: unroutedPath + "/{id}/redrive", Tags: tags, Summary: "Take a message of nobody's in anew",
		Description: "It is delivered to whose the number is now. 404: no such message waits; it may have been taken in already. 409: the number is still nobody's, or not enabled.",
	}, staff(snapshot.RoleSupport), 404, 409), s.redriveOne, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "listUnmatchedReceipts", Method: http.MethodGet, Path: receiptPath + "/unmatched", Tags: tags, Summary: "List receipts that match nothing",
		Description: "Final receipts whose id is no part's, newest first.",
	}, anyStaff()), s.listStrayReceipts, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getUnmatchedReceipt", Method: http.MethodGet, Path: receiptPath + "/{id}", Tags: tags, Summary: "Read a receipt that matches nothing",
	}, anyStaff(), 404), s.getStrayReceipt, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "matchReceipt", Method: http.MethodPost, Path: receiptPath + "/{id}/match", Tags: tags, Summary: "Say whose a receipt is",
		Description: "The part counts as if the vendor had given it the receipt's id. 409: the receipt is a part's already, or the part is decided or with another vendor.",
	}, staff(snapshot.RoleSupport).taking(), 400, 404, 409, 413, 415), s.matchReceipt, bodyOf[matchBody](schemas))
}

type unroutedInput struct {
	Page
	To string `query:"to" maxLength:"24" doc:"To this number alone, with its country code" example:"+12025550143"`
}

func (s *Server) listUnrouted(ctx context.Context, in *unroutedInput) (*output[list[unroutedResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	before, refusal := in.before()
	var faults faults
	to := queryAddress(&faults, "query.to", in.To)
	if refusal == nil {
		refusal = faults.refusal()
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	found, err := s.Admin.Strays.InboundUnrouted(ctx, to, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	found, next := page(found, in.Page, func(r message.InboundRecord) string { return encodeRowCursor(r.ID) })
	texts := x.caller.staff.Role.ReadsTexts()
	var read []string
	for _, r := range found {
		if r.Text != "" {
			read = append(read, r.ID.String())
		}
	}
	if texts && len(read) > 0 {
		// Without a line about it nothing is shown.
		if err := s.Admin.Audit.Audit(ctx, x.actor(), "inbound.read", "", map[string]any{"messages": read}); err != nil {
			return nil, s.problem(x, err, 0)
		}
	}
	return listed(found, next, func(r message.InboundRecord) unroutedResource { return s.unroutedOf(r, texts) }), nil
}

func (s *Server) redriveOne(ctx context.Context, in *RowInput) (*output[reclaimedResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	id, err := in.row()
	if err == nil {
		err = s.Admin.Reclaim.Redrive(ctx, x.actor(), id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[reclaimedResource]{Body: reclaimedResource{MessageID: id.String()}}, nil
}

func (s *Server) redriveAll(ctx context.Context, in *struct{ RawBody []byte }) (*output[redrivenResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	var given redriveBody
	var number message.Address
	var after message.ID
	if len(in.RawBody) > 0 {
		status, refusal := readObject(in.RawBody, given.member, func(d *decoder) {
			number = queryAddress(&d.faults, "body.number", given.Number)
			if given.After != "" {
				d.account("body.after", given.After, &after)
			}
		})
		if refusal != nil {
			return nil, s.problem(x, refusal, status)
		}
	}
	done, last, err := s.Admin.Reclaim.RedriveAll(ctx, x.actor(), number, after)
	if err != nil && done.Taken == 0 {
		return nil, s.problem(x, err, 0)
	}
	out := redrivenResource{Redriven: done.Taken, Left: done.Left}
	if done.More || err != nil { // what was done is said all the same
		out.NextAfter = new(last.String())
	}
	return &output[redrivenResource]{Body: out}, nil
}

func (s *Server) listStrayReceipts(ctx context.Context, in *Page) (*output[list[strayReceiptResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	found, err := s.Admin.Strays.UnmatchedReceipts(ctx, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	found, next := page(found, *in, func(r message.Receipt) string { return encodeRowCursor(r.ID) })
	return listed(found, next, s.strayReceiptOf), nil
}

func (s *Server) getStrayReceipt(ctx context.Context, in *RowInput) (*output[strayReceiptResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := in.row()
	var r message.Receipt
	if err == nil {
		r, err = s.Admin.Strays.UnmatchedReceipt(ctx, id)
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[strayReceiptResource]{Body: s.strayReceiptOf(r)}, nil
}

func (s *Server) matchReceipt(ctx context.Context, in *rowBody) (*output[reclaimedResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	receipt, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var given matchBody
	id, part, status, refusal := given.read(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	if err := s.Admin.Reclaim.MatchReceipt(ctx, x.actor(), receipt, id, part); err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[reclaimedResource]{Body: reclaimedResource{MessageID: id.String()}}, nil
}
