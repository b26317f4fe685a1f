package rest

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// batchOperation is what an Idempotency-Key of a new batch belongs to, batchPath where
// batches stand.
const (
	batchPath      = "/v1/messages/batch"
	batchOperation = http.MethodPost + " " + batchPath
)

// Batches keeps batches and has them worked. Every method asks whose it is: another
// account's batch is ReasonNotFound, as one that does not exist.
type Batches interface {
	// CreateBatch stores a batch with its rows, and the answer of its key: all of it or
	// nothing. The first answer comes back when the key was seen before.
	CreateBatch(ctx context.Context, b *message.Batch, rows []message.BatchContent, key *message.Idempotency) (*message.Idempotency, error)
	Batch(ctx context.Context, account, id message.ID) (message.BatchProgress, error)
	// Batches lists an account's, newest first, older than before.
	Batches(ctx context.Context, account, before message.ID, limit int) ([]message.BatchProgress, error)
	// BatchRows lists rows in their order, from behind one.
	BatchRows(ctx context.Context, account, id message.ID, statuses []string, after, limit int) ([]message.BatchRow, error)
	// SetBatch pauses, resumes or cancels a batch; ReasonConflict when it has ended.
	// answer makes what is stored for the request's key; nil: it has none.
	SetBatch(ctx context.Context, account, id message.ID, to message.BatchStatus, answer func(message.BatchProgress) (message.Idempotency, error)) (message.BatchProgress, *message.Idempotency, error)
	// CheckBatch says what would become of the rows. Nothing is stored.
	CheckBatch(ctx context.Context, b *message.Batch, rows []message.BatchContent) (ingress.BatchCheck, error)
	// BatchRate is how many rows of a batch are worked a second.
	BatchRate(b *message.Batch) int
}

// batchResource is a batch as customers see it.
type batchResource struct {
	_           struct{}       `json:"-" additionalProperties:"true"`
	ID          string         `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Name        *string        `json:"name" example:"spring sale"`
	Status      string         `json:"status" enum:"running,paused,completed,canceled" doc:"completed: every row has its message or its refusal. The messages go on"`
	Counts      countsResource `json:"counts"`
	Price       *priceResource `json:"price" doc:"Of the messages together: what left the gateway, or still may"`
	Throttle    *int           `json:"throttle_per_second" doc:"Rows a second at most; null: as many as the account may"`
	CreatedAt   string         `json:"created_at" format:"date-time"`
	StartedAt   *string        `json:"started_at" format:"date-time" doc:"When the first row was worked"`
	CompletedAt *string        `json:"completed_at" format:"date-time" doc:"When it had completed, or its cancellation was carried out"`
	ETA         *string        `json:"eta" format:"date-time" doc:"When the last row will have been worked, at today's pace; null: it is not being worked"`
}

// TransformSchema is as for the message.
func (batchResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "price")
}

// countsResource counts the rows of a batch.
type countsResource struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	Total       int      `json:"total" doc:"Rows; the others come to it"`
	Pending     int      `json:"pending" doc:"Not worked yet"`
	Accepted    int      `json:"accepted" doc:"Messages on their way to a vendor: accepted, scheduled, queued, sending or in_doubt"`
	Rejected    int      `json:"rejected" doc:"Refused, as a message or before"`
	Sent        int      `json:"sent"`
	Delivered   int      `json:"delivered"`
	Undelivered int      `json:"undelivered"`
	Failed      int      `json:"failed"`
	Expired     int      `json:"expired"`
	Canceled    int      `json:"canceled" doc:"Withdrawn messages, and rows that were dropped"`
	Unconfirmed int      `json:"unconfirmed"`
}

// batchRowResource is a row of a batch.
type batchRowResource struct {
	_         struct{}       `json:"-" additionalProperties:"true"`
	Row       int            `json:"row" doc:"Its number, from 1, in the order in which the rows came" example:"1"`
	To        *string        `json:"to" doc:"As it was given; of a message, the number it went to. null: no longer kept" example:"+13105550117"`
	MessageID *string        `json:"message_id" format:"uuid" doc:"null: it has no message yet, or was refused before it could be one"`
	Status    *string        `json:"status" doc:"Of its message; without one pending, rejected or canceled. null: its message is no longer kept" example:"delivered"`
	Error     *errorResource `json:"error" doc:"Why it was refused, or its message did not go"`
}

// TransformSchema is as for the message.
func (batchRowResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "error")
}

func (s *Server) batchOf(p message.BatchProgress) batchResource {
	c := p.Counts()
	r := batchResource{ID: p.ID.String(), Name: optional(p.Name), Status: string(p.Status), Price: priceOf(p.Price), CreatedAt: stamp(p.CreatedAt),
		StartedAt: optionalTime(p.StartedAt), CompletedAt: optionalTime(p.CompletedAt),
		Counts: countsResource{Total: c.Total, Pending: c.Pending, Accepted: c.Accepted, Rejected: c.Rejected, Sent: c.Sent, Delivered: c.Delivered,
			Undelivered: c.Undelivered, Failed: c.Failed, Expired: c.Expired, Canceled: c.Canceled, Unconfirmed: c.Unconfirmed}}
	if p.Throttle > 0 {
		r.Throttle = &p.Throttle
	}
	if p.Status == message.BatchRunning && c.Pending > 0 {
		r.ETA = optionalTime(s.eta(&p.Batch, c.Pending, p.Running))
	}
	return r
}

// eta is when so many rows of a batch will have been worked while so many batches of its
// account share its rate.
func (s *Server) eta(b *message.Batch, rows, running int) time.Time {
	perSecond := float64(s.Batches.BatchRate(b))
	alone := *b
	alone.Throttle = 0
	perSecond = min(perSecond, float64(s.Batches.BatchRate(&alone))/float64(max(running, 1)))
	return s.now().Add(time.Duration(float64(rows) / perSecond * float64(time.Second)))
}

var errNoBatches = message.Refuse(message.ReasonUnavailable, "batches are not served here")

// beginBatch is what every operation on batches starts with.
func (s *Server) beginBatch(ctx context.Context) (context.Context, context.CancelFunc, *exchange, error) {
	x := exchangeOf(ctx)
	if s.Batches == nil {
		return ctx, func() {}, x, s.problem(x, errNoBatches, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	return ctx, cancel, x, nil
}

// createBatch stores a batch and answers. What it says is checked before; what its rows
// come to is seen when they are worked.
func (s *Server) createBatch(ctx context.Context, _ *struct{}) (*rawOutput, error) {
	x := exchangeOf(ctx)
	if s.Batches == nil {
		return nil, s.problem(x, errNoBatches, 0)
	}
	in, end, err := s.receiveBatch(x, false)
	defer end()
	if err != nil {
		return nil, err
	}
	// Who has sent a batch whole is not to lose it by hanging up now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	key, err := s.operationKey(x, batchOperation, in.print)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		first, err := s.Journal.FirstAnswer(ctx, *key)
		switch {
		case err != nil:
			return nil, s.problem(x, err, 0)
		case first != nil:
			return replay(first), nil
		}
	}
	if in.refusal != nil {
		return nil, s.problem(x, in.refusal, in.status)
	}
	b := in.batch(&x.caller, s.now())
	made := message.BatchProgress{Batch: *b, Running: 1}
	made.Total = len(in.rows)
	body, err := encode(s.batchOf(made))
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		key.Status, key.Response = http.StatusAccepted, body
	}
	first, err := s.Batches.CreateBatch(ctx, b, in.rows, key)
	switch {
	case err != nil:
		return nil, s.problem(x, late(ctx, err), 0)
	case first != nil:
		return replay(first), nil
	}
	return &rawOutput{Status: http.StatusAccepted, Body: body, ContentType: jsonType, Location: batchPath + "/" + b.ID.String()}, nil
}

type batchInput struct {
	ID string `path:"id" doc:"The batch's id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
}

func (s *Server) getBatch(ctx context.Context, in *batchInput) (*output[batchResource], error) {
	ctx, cancel, x, err := s.beginBatch(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("batch", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	p, err := s.Batches.Batch(ctx, x.caller.account.ID, id)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[batchResource]{Body: s.batchOf(p)}, nil
}

// batchesInput has pages of its own: each batch's messages are counted.
type batchesInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"50" default:"20" doc:"How many at most"`
	Cursor string `query:"cursor" maxLength:"100" doc:"next_cursor of the page before"`
}

// Cursors of batches: 16 octets of an id; of rows: 8 of a number.
const (
	batchCursor    = 'B'
	batchRowCursor = 'R'
)

func (s *Server) listBatches(ctx context.Context, in *batchesInput) (*output[list[batchResource]], error) {
	ctx, cancel, x, err := s.beginBatch(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	before, err := decodeIDCursor(batchCursor, in.Cursor)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	size := in.Limit
	if size == 0 {
		size = 20
	}
	found, err := s.Batches.Batches(ctx, x.caller.account.ID, before, size+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[list[batchResource]]{Body: list[batchResource]{Data: []batchResource{}}}
	if len(found) > size {
		found = found[:size]
		out.Body.NextCursor = encodeIDCursor(batchCursor, found[size-1].ID)
	}
	for _, p := range found {
		out.Body.Data = append(out.Body.Data, s.batchOf(p))
	}
	return out, nil
}

type batchRowsInput struct {
	ID string `path:"id" doc:"The batch's id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Page
	Status []string `query:"status,explode" enum:"pending,accepted,scheduled,queued,sending,in_doubt,sent,delivered,undelivered,failed,rejected,expired,canceled,unconfirmed" maxItems:"14" nullable:"false" doc:"May be repeated: any of them"`
}

func (s *Server) listBatchRows(ctx context.Context, in *batchRowsInput) (*output[list[batchRowResource]], error) {
	ctx, cancel, x, err := s.beginBatch(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("batch", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	after, ok := int64(0), true
	if in.Cursor != "" {
		after, ok = decodeNumberCursor(batchRowCursor, in.Cursor)
	}
	if !ok || after > message.MaxBatchRows {
		return nil, s.problem(x, badCursor(), 0)
	}
	rows, err := s.Batches.BatchRows(ctx, x.caller.account.ID, id, in.Status, int(after), in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[list[batchRowResource]]{Body: list[batchRowResource]{Data: make([]batchRowResource, 0, len(rows))}}
	if len(rows) > in.size() {
		rows = rows[:in.size()]
		out.Body.NextCursor = optional(encodeNumberCursor(batchRowCursor, int64(rows[len(rows)-1].Row)))
	}
	for _, r := range rows {
		to := string(r.To)
		if to == "" && r.Content != nil {
			to = r.Content.To
		}
		out.Body.Data = append(out.Body.Data, batchRowResource{Row: r.Row, To: optional(to), MessageID: optionalID(r.MessageID), Status: optional(string(r.Status)), Error: errorOf(r.Error)})
	}
	return out, nil
}

// setBatch answers the POSTs that pause, resume and cancel a batch. path is what each of
// them ends in.
func (s *Server) setBatch(path string, to message.BatchStatus) func(context.Context, *batchInput) (*rawOutput, error) {
	return func(ctx context.Context, in *batchInput) (*rawOutput, error) {
		ctx, cancel, x, err := s.beginBatch(context.WithoutCancel(ctx))
		defer cancel()
		if err != nil {
			return nil, err
		}
		id, err := pathID("batch", in.ID)
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		key, err := s.operationKey(x, batchOperation+"/"+id.String()+path, nil)
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		var answer func(message.BatchProgress) (message.Idempotency, error)
		if key != nil {
			first, err := s.Journal.FirstAnswer(ctx, *key)
			switch {
			case err != nil:
				return nil, s.problem(x, err, 0)
			case first != nil:
				return replay(first), nil
			}
			answer = func(p message.BatchProgress) (message.Idempotency, error) {
				k := *key
				var err error
				k.Status = http.StatusOK
				k.Response, err = encode(s.batchOf(p))
				return k, err
			}
		}
		p, first, err := s.Batches.SetBatch(ctx, x.caller.account.ID, id, to, answer)
		switch {
		case err != nil:
			return nil, s.problem(x, late(ctx, err), 0)
		case first != nil:
			return replay(first), nil
		}
		body, err := encode(s.batchOf(p))
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		return &rawOutput{Status: http.StatusOK, Body: body, ContentType: jsonType}, nil
	}
}

// limitCheck is a limit with what a batch would take of it.
type limitCheck struct {
	_        struct{} `json:"-" additionalProperties:"true"`
	Number   *string  `json:"number" doc:"The limit is this number's; null: the account's"`
	Type     string   `json:"type" enum:"sms,mms"`
	Period   string   `json:"period" enum:"minute,day,month"`
	Limit    int64    `json:"limit" doc:"Parts that may be sent in the period"`
	Used     int64    `json:"used" doc:"Parts that are taken of it now"`
	Needed   int64    `json:"needed" doc:"Parts that the batch would take of it; of a minute, as many as are worked in one"`
	Fits     bool     `json:"fits"`
	ResetsAt string   `json:"resets_at" format:"date-time"`
}

// checkResource is what would become of a batch.
type checkResource struct {
	_        struct{}          `json:"-" additionalProperties:"true"`
	Allowed  bool              `json:"allowed" doc:"Every row would be accepted, and limits and balance have room for all of them"`
	Error    *errorResource    `json:"error" doc:"What stands against all rows"`
	Segments int64             `json:"segments" doc:"Of the rows that would be accepted"`
	Price    *priceResource    `json:"price" doc:"Of them; null: not known"`
	Limits   []limitCheck      `json:"limits" nullable:"false" doc:"The usage limits that count them"`
	Refused  []refusedResource `json:"rows_refused" nullable:"false"`
	ETA      *string           `json:"eta" format:"date-time" doc:"When the last row would have been worked if it began now"`
}

// TransformSchema is as for the message.
func (checkResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "error", "price")
}

type refusedResource struct {
	_      struct{} `json:"-" additionalProperties:"true"`
	Row    int      `json:"row"`
	Code   string   `json:"code" doc:"See /docs/errors" example:"opted_out"`
	Detail *string  `json:"detail"`
}

// checkBatch says what would become of a batch, or of as many messages as are named.
func (s *Server) checkBatch(ctx context.Context, _ *struct{}) (*output[checkResource], error) {
	x := exchangeOf(ctx)
	if s.Batches == nil {
		return nil, s.problem(x, errNoBatches, 0)
	}
	in, end, err := s.receiveBatch(x, true)
	defer end()
	if err != nil {
		return nil, err
	}
	if in.refusal != nil {
		return nil, s.problem(x, in.refusal, in.status)
	}
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	b := in.batch(&x.caller, s.now())
	check := ingress.BatchCheck{}
	rows := len(in.rows)
	out := checkResource{Limits: []limitCheck{}, Refused: []refusedResource{}}
	if in.estimate != nil {
		rows = int(*in.estimate.count)
		check, err = s.estimate(x, in)
	} else {
		check, err = s.Batches.CheckBatch(ctx, b, in.rows)
	}
	if err != nil {
		e := message.AsError(err)
		if in.estimate == nil || e.Reason.Entry().HTTP/100 != 4 {
			return nil, s.problem(x, late(ctx, err), 0)
		}
		out.Error = errorOf(e)
	}
	for _, r := range check.Refused {
		out.Refused = append(out.Refused, refusedResource{Row: r.Row, Code: string(r.Error.Reason), Detail: optional(r.Error.Detail)})
	}
	out.Segments, out.Price = int64(check.Segments), priceOf(check.Price)
	fits, err := s.checkLimits(ctx, x, &out, check, b, rows)
	if err != nil {
		return nil, s.problem(x, late(ctx, err), 0)
	}
	out.Allowed = fits && out.Error == nil && len(out.Refused) == 0
	out.ETA = optionalTime(s.eta(b, rows, 1))
	return &output[checkResource]{Body: out}, nil
}

// estimate is the check of a number of messages: of its sender and its parts alone.
func (s *Server) estimate(x *exchange, in *batchBody) (ingress.BatchCheck, error) {
	e, c, snap := in.estimate, &x.caller, s.Snapshot()
	kind, parts := message.SMS, *e.count
	if e.kind == string(message.MMS) {
		kind = message.MMS
	} else if e.each != nil {
		parts *= *e.each
	}
	out := ingress.BatchCheck{Segments: int(parts), Parts: map[ingress.BatchSender]int64{}}
	sender, _, err := ingress.Sender(snap, c.account, in.From)
	if err != nil {
		return out, err
	}
	n := snap.Numbers[sender]
	owned := n != nil && n.AccountID == c.account.ID || slices.Contains(c.account.AllowedSourceAddresses, string(sender))
	if !owned || len(c.credential.AllowedNumbers) > 0 && !slices.Contains(c.credential.AllowedNumbers, string(sender)) {
		return out, message.Refuse(message.ReasonUnauthorizedSender, "%s is no number of this account that the API key may send from", sender)
	}
	out.Parts[ingress.BatchSender{From: sender, Kind: kind}] = parts
	return out, nil
}

// checkLimits compares what a batch takes with the account's limits and balance, and
// reports whether all have room.
func (s *Server) checkLimits(ctx context.Context, x *exchange, out *checkResource, check ingress.BatchCheck, b *message.Batch, rows int) (bool, error) {
	limits, err := s.Journal.Limits(ctx, x.caller.account.ID, s.now())
	if err != nil {
		return false, err
	}
	fits := true
	for _, u := range limits {
		needed := int64(0)
		for of, n := range check.Parts {
			if of.Kind == u.Kind && (u.Number == "" || u.Number == of.From) {
				needed += n
			}
		}
		if needed == 0 {
			continue
		}
		if u.Period == message.PeriodMinute {
			inMinute := int64(s.Batches.BatchRate(b)) * 60
			needed = min(needed, (needed*inMinute+int64(rows)-1)/int64(max(rows, 1)))
		}
		l := limitCheck{Number: optional(string(u.Number)), Type: string(u.Kind), Period: string(u.Period), Limit: u.Parts, Used: u.Used, Needed: needed,
			Fits: u.Used+needed <= u.Parts, ResetsAt: stamp(u.ResetsAt)}
		fits = fits && l.Fits
		out.Limits = append(out.Limits, l)
	}
	balance, err := s.Journal.Balance(ctx, x.caller.account.ID)
	if err != nil || !balance.Prepaid || balance.Amount-balance.Reserved >= check.Price.Amount {
		return fits, err
	}
	if out.Error == nil {
		out.Error = errorOf(message.Refuse(message.ReasonInsufficientBalance, "%s of %s are available, the batch needs %s", balance.Amount-balance.Reserved, balance.Currency, check.Price.Amount))
	}
	return false, nil
}
