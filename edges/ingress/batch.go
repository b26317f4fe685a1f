package ingress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// defaultBatchRate is how many rows a second are worked of an account that says nothing of
// its rate: as many messages as it may send over the API.
const defaultBatchRate = 10

// configurationLag is how far a replica's configuration may lie behind that of the one
// which took the batch in: until then nothing is refused for what is not in it.
const configurationLag = 30 * time.Second

// batchEdge is the edge that messages of batches came by.
const batchEdge = "rest"

// batchRows is what the rows of one batch have in common.
type batchRows struct {
	in         *Ingress
	batch      *message.Batch
	account    *snapshot.Account    // nil: there is none any more
	credential *snapshot.Credential // nil: no key made it, or it was removed
	removed    bool
}

func (in *Ingress) batchRows(b *message.Batch) *batchRows {
	s := in.Snapshot()
	rows := &batchRows{in: in, batch: b, account: s.Accounts[b.AccountID]}
	for _, c := range s.Credentials {
		if c.ID == b.Credential && c.AccountID == b.AccountID {
			rows.credential = c
		}
	}
	rows.removed = rows.credential == nil && b.Credential != message.ID{}
	return rows
}

// OpenBatch is for the rows of a batch within the next seconds: the rates at which they
// are worked, and what accepts one of them. A row comes back as RowMade when its message
// is in the journal, accepted or rejected; as RowRefused when it will not be one; as
// RowPending when it has to wait; as RowClaimed when it has to be worked again and may be
// in the journal. Its Error says why, and when it may be worked again. What accepts is
// safe for concurrent use.
func (in *Ingress) OpenBatch(b *message.Batch) ([]message.BatchPace, func(context.Context, message.BatchRow) message.BatchRow) {
	rows := in.batchRows(b)
	return rows.rates(), rows.accept
}

// rates are those of the account, its API key and the batch. The account's rows are worked
// at the rate that it may send messages at over the API, beside those: a campaign is not to
// keep one-time passwords out.
func (b *batchRows) rates() []message.BatchPace {
	list := []message.BatchPace{{Of: b.batch.AccountID, PerSecond: accountRate(b.account)}}
	if b.credential != nil && b.credential.RateLimit > 0 {
		list = append(list, message.BatchPace{Of: b.credential.ID, PerSecond: b.credential.RateLimit})
	}
	if b.batch.Throttle > 0 {
		list = append(list, message.BatchPace{Of: b.batch.ID, PerSecond: b.batch.Throttle})
	}
	return list
}

func accountRate(a *snapshot.Account) int {
	if a == nil {
		return defaultBatchRate
	}
	return cmp.Or(a.APIRateLimit, defaultBatchRate)
}

// BatchRate is how many rows of a batch are worked a second while no other batch of its
// account or API key runs.
func (in *Ingress) BatchRate(b *message.Batch) int {
	rates := in.batchRows(b).rates()
	least := rates[0].PerSecond
	for _, r := range rates {
		least = min(least, r.PerSecond)
	}
	return least
}

// accept has one row accepted.
func (b *batchRows) accept(ctx context.Context, row message.BatchRow) message.BatchRow {
	if row.Content == nil {
		return refusedRow(row, message.Refuse(message.ReasonInternal, "the row's content is gone"))
	}
	if (b.removed || b.account == nil) && b.in.Now().Sub(b.batch.CreatedAt) < configurationLag {
		row.State, row.Error = message.RowPending, &message.Error{Reason: message.ReasonUnavailable, Detail: "the configuration of the account is not here yet", After: time.Second}
		return row
	}
	if b.removed {
		return refusedRow(row, message.Refuse(message.ReasonForbidden, "the API key that made the batch was removed"))
	}
	r, err := b.request(*row.Content)
	if err == nil {
		err = b.files(ctx, row.Content, &r)
	}
	if err == nil {
		err = b.count(&r)
	}
	if err != nil {
		return b.judged(row, nil, err)
	}
	r.ID = row.MessageID
	out, err := b.in.Accept(ctx, r)
	return b.judged(row, out.Message, err)
}

// judged says what has become of a row by the answer to its request.
func (b *batchRows) judged(row message.BatchRow, stored *message.Message, err error) message.BatchRow {
	if err == nil || stored != nil {
		row.State = message.RowMade
		return row
	}
	row.Error = message.AsError(err)
	switch row.Error.Reason {
	case message.ReasonRateLimitExceeded, message.ReasonQueueFull:
		row.State = message.RowPending // these come before the journal
	case message.ReasonUnavailable, message.ReasonIdempotencyInProgress:
		row.State = message.RowClaimed
	default:
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			row.State = message.RowClaimed
			return row
		}
		return refusedRow(row, row.Error)
	}
	return row
}

func refusedRow(row message.BatchRow, e *message.Error) message.BatchRow {
	if e.Reason == message.ReasonInternal && e.Err != nil {
		e = message.Because(message.ReasonInternal, e.Err, "the row could not be worked")
	}
	row.State, row.Error = message.RowRefused, e
	return row
}

// count counts a row at its sender's rate.
func (b *batchRows) count(r *Request) error {
	r.Rate = message.TrailEntry{Rule: policy.RuleRate, Result: message.Pass, Detail: "a row of a batch, which is worked at the account's rate"}
	if b.in.Rates == nil || b.account == nil {
		return nil
	}
	number, ok := NumberRate(b.in.Snapshot(), b.account, r.From)
	if !ok {
		return nil
	}
	v := limit.TakeRates(b.in.Rates, []limit.Rate{number}, b.in.Now())
	if !v.OK {
		return &message.Error{Reason: message.ReasonRateLimitExceeded, Detail: v.Detail, After: v.Result.Reset}
	}
	r.Rate.Detail = v.Detail
	return nil
}

// request is a row with the defaults of its batch. An error is that of its template.
func (b *batchRows) request(c message.BatchContent) (Request, error) {
	d := b.batch.Defaults
	r := Request{
		AccountID: b.batch.AccountID, Credential: b.credential, Edge: batchEdge, BatchID: b.batch.ID,
		From: cmp.Or(c.From, d.From), To: c.To, MediaAsIs: d.MediaAsIs, Encoding: d.Encoding, SmartEncoding: d.SmartEncoding, Class: d.Class, Delivery: d.Delivery,
		Validity: time.Duration(d.ValiditySeconds) * time.Second, SendAt: ahead(d.SendAt, b.in.Now()), WebhookURL: b.batch.WebhookURL, WebhookFailover: b.batch.WebhookFailover,
		ClientReference: cmp.Or(c.ClientReference, d.ClientReference), Metadata: d.Metadata,
	}
	var err error
	if r.Body, err = filled("body", cmp.Or(c.Body, d.Body), c.Variables); err != nil {
		return r, err
	}
	r.Subject, err = filled("subject", d.Subject, c.Variables)
	return r, err
}

// filled fills a template, and names the variable that is missing.
func filled(name, template string, variables map[string]string) (string, error) {
	text, err := message.Fill(template, variables)
	var missing *message.MissingVariable
	if errors.As(err, &missing) {
		return "", field(message.Refuse(message.ReasonInvalidRequest, "%s has {{%s}}, and the row has no variable of that name", name, clipName(missing.Name)), "body."+name)
	}
	return text, err
}

// clipName keeps what stands between braces short enough for an answer: it may be text.
func clipName(s string) string {
	if r := []rune(s); len(r) > message.MaxVariableName {
		return string(r[:message.MaxVariableName]) + "…"
	}
	return s
}

// files gives the request its media: the batch's URLs, and the row's uploads or else the
// batch's.
func (b *batchRows) files(ctx context.Context, c *message.BatchContent, r *Request) error {
	ids := c.MediaIDs
	if len(ids) == 0 {
		ids = b.batch.Defaults.MediaIDs
	}
	for _, u := range b.batch.Defaults.MediaURLs {
		r.Media = append(r.Media, message.Media{Source: u})
	}
	if len(ids) > 0 && b.in.MediaFile == nil {
		return message.Refuse(message.ReasonUnavailable, "this process has no media store")
	}
	for i, given := range ids {
		id, err := message.ParseID(given)
		if err != nil {
			return message.Refuse(message.ReasonInvalidRequest, "media_ids[%d] is no id of a file", i)
		}
		f, err := b.in.MediaFile(ctx, b.batch.AccountID, id)
		switch {
		case message.ReasonOf(err) == message.ReasonNotFound:
			return message.Refuse(message.ReasonInvalidRequest, "media_ids[%d] is no file of this account, or it has expired", i)
		case err != nil:
			return message.Because(message.ReasonUnavailable, err, "media cannot be read now")
		}
		r.Media = append(r.Media, message.Media{File: f})
	}
	return nil
}

// BatchCheck is what would become of a batch.
type BatchCheck struct {
	Segments int
	Price    message.Price // of the rows that are not refused
	Refused  []message.RowRefusal
	Parts    map[BatchSender]int64 // of the rows that are not refused
}

// BatchSender is what limits count parts by.
type BatchSender struct {
	From message.Address
	Kind message.Kind
}

// CheckBatch says what would become of the rows of a batch if they were worked now, but
// for limits and money. Nothing is stored or taken. It ends early with ctx.
func (in *Ingress) CheckBatch(ctx context.Context, b *message.Batch, rows []message.BatchContent) (BatchCheck, error) {
	in.ready()
	common, s := in.batchRows(b), in.Snapshot()
	out := BatchCheck{Parts: map[BatchSender]int64{}, Price: message.Price{Currency: in.Currency, Estimated: true}}
	for i := range rows {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		m, err := common.rehearse(ctx, s, rows[i])
		if err != nil {
			if message.ReasonOf(err) == message.ReasonUnavailable {
				return out, err
			}
			out.Refused = append(out.Refused, message.RowRefusal{Row: i + 1, Error: message.AsError(err)})
			continue
		}
		out.Segments += m.Segments
		out.Price.Amount += m.Price.Amount
		out.Parts[BatchSender{m.From, m.Kind}] += int64(m.Segments)
	}
	return out, nil
}

// rehearse says what would become of a row.
func (b *batchRows) rehearse(ctx context.Context, s *snapshot.Snapshot, c message.BatchContent) (*message.Message, error) {
	r, err := b.request(c)
	if err == nil {
		err = b.files(ctx, &c, &r)
	}
	if err != nil {
		return nil, err
	}
	m, err := b.in.read(s, r, b.in.Now())
	if err != nil {
		return nil, err
	}
	m, d := b.in.decideAny(s, r, m)
	return m, refusal(d)
}

// describeBatch is what support staff read in the Temporal UI.
func describeBatch(t message.BatchTell) About {
	rows := "1 row"
	if t.Total != 1 {
		rows = fmt.Sprintf("%d rows", t.Total)
	}
	return About{AccountID: t.AccountID, Priority: message.ClassBulk.Priority(), Summary: "batch of " + rows,
		Details: fmt.Sprintf("- account `%s`\n- made %s\n- %s\n", t.AccountID, t.CreatedAt.UTC().Format(time.RFC3339), rows)}
}
