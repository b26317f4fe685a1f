package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const messageColumns = `
  id, account_id, direction, kind, status, from_addr, requested_from, to_addr, body, encoding, segments,
  message_class, delivery, campaign_id, coalesce(client_reference, ''), metadata, webhook_url, webhook_failover_url,
  price_micros, currency, price_final, batch_id, group_id, retry_of, vendor_id, vendor_name, reason, reason_detail,
  receipt_stat, receipt_err, receipt_at, possible_duplicate, edge, trace_parent, send_at, expires_at, created_at,
  submitted_at, delivered_at, updated_at, parts_settled, parts_failed, revision, data_coding, user_data_header, tlvs, automatic, not complete as incomplete,
  subject, media_as_is, group_recipients, coalesce(requested_kind, ''), failures_only, callback`

const selectMessage = `select` + messageColumns + `
from messages
where id = $1`

// Message reads one message with its text, whoever owns it. Its parts are not
// filled in. ReasonNotFound when there is none.
func (db *DB) Message(ctx context.Context, id message.ID) (*message.Message, error) {
	rows, err := db.pool.Query(ctx, selectMessage, id)
	if err != nil {
		return nil, fmt.Errorf("read message %s: %w", id, err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, db.scanMessage)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read message %s: %w", id, err)
	}
	return m, nil
}

// Envelope is a message as it was accepted. Its status, and what became of it, may
// be out of date, and it may have been revised, by another process too; so it
// serves decisions that the record checks again, status and revision, when they
// are written. It comes from memory when this
// process accepted the message a short while ago. The caller may change its
// fields, not what its maps hold.
func (db *DB) Envelope(ctx context.Context, id message.ID) (*message.Message, error) {
	if m, ok := db.envelopes.get(id); ok {
		out := *m
		return &out, nil
	}
	return db.Message(ctx, id)
}

// remember keeps an accepted message for its first steps. One that waits for
// its send time is not kept: until then it may be changed.
func (db *DB) remember(m *message.Message) {
	if m.Status != message.StatusAccepted || !m.SendAt.IsZero() {
		return
	}
	kept := *m
	kept.Parts = nil
	db.envelopes.put(m.ID, &kept)
}

// AccountMessage reads one message of an account with its parts. Another
// account's message is ReasonNotFound, as one that does not exist.
func (db *DB) AccountMessage(ctx context.Context, account, id message.ID) (*message.Message, error) {
	m, err := db.Message(ctx, id)
	if err != nil {
		return nil, err
	}
	if m.AccountID != account {
		return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
	}
	return m, db.fill(ctx, []*message.Message{m})
}

// fill adds to messages what is kept beside them: their parts, their files, and what
// they wait for.
func (db *DB) fill(ctx context.Context, list []*message.Message) error {
	if err := db.fillParts(ctx, list); err != nil {
		return err
	}
	if err := db.fillMedia(ctx, list); err != nil {
		return err
	}
	return db.fillHolds(ctx, list)
}

func (db *DB) scanMessage(row pgx.CollectableRow) (*message.Message, error) {
	m := &message.Message{}
	var (
		body, metadata, header, tlvs, subject        []byte
		coding                                       *int16
		batch, group, retry, vendor                  *message.ID
		reason, detail, stat, rerr                   string
		receiptAt, sendAt, submittedAt, deliveredAt  *time.Time
		priceFinal                                   bool
		direction, kind, status, from, requested, to string
		encoding, class, delivery                    string
	)
	err := row.Scan(&m.ID, &m.AccountID, &direction, &kind, &status, &from, &requested, &to, &body, &encoding, &m.Segments,
		&class, &delivery, &m.CampaignID, &m.ClientReference, &metadata, &m.WebhookURL, &m.WebhookFailover,
		&m.Price.Amount, &m.Price.Currency, &priceFinal, &batch, &group, &retry, &vendor, &m.Vendor, &reason, &detail,
		&stat, &rerr, &receiptAt, &m.DuplicatePoss, &m.Edge, &m.TraceParent, &sendAt, &m.ExpiresAt, &m.CreatedAt,
		&submittedAt, &deliveredAt, &m.UpdatedAt, &m.Settled, &m.Failed, &m.Revision, &coding, &header, &tlvs, &m.Automatic, &m.Incomplete, &subject, &m.MediaAsIs, &m.GroupRecipients, &m.Requested, &m.FailuresOnly, &m.Callback)
	if err != nil {
		return nil, err
	}
	m.Direction, m.Kind, m.Status = message.Direction(direction), message.Kind(kind), message.Status(status)
	m.From, m.RequestedFrom, m.To = message.Address(from), message.Address(requested), message.Address(to)
	m.Encoding, m.Class, m.Delivery = message.Encoding(encoding), message.Class(class), message.Delivery(delivery)
	m.DataCoding = byte(orZero(coding))
	m.Price.Estimated = !priceFinal
	m.BatchID, m.GroupID, m.RetryOf, m.VendorID = orZero(batch), orZero(group), orZero(retry), orZero(vendor)
	m.SendAt, m.SubmittedAt, m.DeliveredAt = orZero(sendAt), orZero(submittedAt), orZero(deliveredAt)
	if reason != "" {
		m.Error = &message.Error{Reason: message.Reason(reason), Detail: detail}
	}
	if stat != "" {
		m.Receipt = &message.ReceiptSummary{Stat: stat, Err: rerr, At: orZero(receiptAt)}
	}
	if metadata != nil {
		if err := json.Unmarshal(metadata, &m.Metadata); err != nil {
			return nil, fmt.Errorf("metadata of %s: %w", m.ID, err)
		}
	}
	if err := db.openExtras(m, header, tlvs); err != nil {
		return nil, err
	}
	if err := db.openSubject(m, subject); err != nil {
		return nil, err
	}
	if body == nil {
		m.Redacted = true
		return m, nil
	}
	text, err := db.sealer.Open(body, m.ID[:])
	if err != nil {
		return nil, fmt.Errorf("text of %s: %w", m.ID, err)
	}
	m.Body = string(text)
	return m, nil
}

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// listing is a query in the making. After from, the text ends in a condition.
type listing struct {
	strings.Builder
	args  []any
	order string // the column of the ids; empty: id
}

// put adds an argument and returns its number.
func (q *listing) put(v any) int {
	q.args = append(q.args, v)
	return len(q.args)
}

// and adds a condition on one value, which stands in it as $%d.
func (q *listing) and(cond string, v any) { fmt.Fprintf(q, "\n  and "+cond, q.put(v)) }

// narrow adds what the filter says, but for its vendor.
func (q *listing) narrow(f message.Filter) {
	add := q.and
	if f.Direction != "" {
		add("direction = $%d", string(f.Direction))
	}
	if f.AccountID != (message.ID{}) {
		add("account_id = $%d", f.AccountID)
	}
	if len(f.Statuses) > 0 {
		add("status = any($%d)", pick(f.Statuses, func(s message.Status) string { return string(s) }))
	}
	if f.Kind != "" {
		add("kind = $%d", string(f.Kind))
	}
	if f.From != "" {
		add("from_addr = $%d", string(f.From))
	}
	if f.To != "" {
		add("to_addr = $%d", string(f.To))
	}
	if f.ClientReference != "" {
		add("client_reference = $%d", f.ClientReference)
	}
	if f.BatchID != (message.ID{}) {
		add("batch_id = $%d", f.BatchID)
	}
	if f.CampaignID != "" {
		add("campaign_id = $%d", f.CampaignID)
	}
	if f.Reason != "" {
		add("reason = $%d", string(f.Reason))
	}
	if f.Class != "" {
		add("message_class = $%d", string(f.Class))
	}
	if !f.CreatedAfter.IsZero() {
		add("created_at > $%d", f.CreatedAfter)
	}
	if !f.CreatedBefore.IsZero() {
		add("created_at < $%d", f.CreatedBefore)
	}
}

// selectParts reads the newest attempt of each part.
const selectParts = `
select distinct on (message_id, part)
  message_id, part, attempt, state, vendor_name, instance, vendor_message_id, vendor_code, reason, receipt_stat, receipt_err, receipt_at, sent_at
from segments
where message_id = any($1) and message_id between $2 and $3
order by message_id, part, attempt desc`

func (db *DB) fillParts(ctx context.Context, list []*message.Message) error {
	if len(list) == 0 {
		return nil
	}
	byID := make(map[message.ID]*message.Message, len(list))
	ids := make([]message.ID, len(list))
	for i, m := range list {
		byID[m.ID], ids[i] = m, m.ID
		m.Parts = make([]message.Part, m.Segments)
		for p := range m.Parts {
			m.Parts[p].Number = p + 1
		}
	}
	rows, err := db.pool.Query(ctx, selectParts, among(ids)...)
	if err != nil {
		return fmt.Errorf("read parts: %w", err)
	}
	var id message.ID
	var p message.Part
	var state, reason, stat, rerr string
	var at *time.Time
	targets := []any{&id, &p.Number, &p.Attempt, &state, &p.Vendor, &p.Instance, &p.VendorMessageID, &p.VendorCode, &reason, &stat, &rerr, &at, &p.SentAt}
	_, err = pgx.ForEachRow(rows, targets, func() error {
		p.State, p.Reason, p.Receipt = message.PartState(state), message.Reason(reason), nil
		if stat != "" {
			p.Receipt = &message.ReceiptSummary{Stat: stat, Err: rerr, At: orZero(at)}
		}
		if m := byID[id]; p.Number <= len(m.Parts) {
			m.Parts[p.Number-1] = p
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read parts: %w", err)
	}
	return nil
}

const selectEvents = `
select sequence, at, type, detail
from message_events
where message_id = $1 and sequence > $2
order by sequence
limit $3`

// Events reads a message's timeline, oldest first, from after the given
// sequence number. The caller has checked whose message it is.
func (db *DB) Events(ctx context.Context, id message.ID, after, limit int) ([]message.Event, error) {
	rows, err := db.pool.Query(ctx, selectEvents, id, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", id, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (message.Event, error) {
		e := message.Event{MessageID: id}
		var kind string
		var detail []byte
		if err := row.Scan(&e.Sequence, &e.At, &kind, &detail); err != nil {
			return e, err
		}
		e.Type = message.EventType(kind)
		if detail != nil {
			if err := json.Unmarshal(detail, &e.Detail); err != nil {
				return e, fmt.Errorf("detail of event %d: %w", e.Sequence, err)
			}
		}
		return e, nil
	})
}
