package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// maxAccepts bounds how many acceptances share a commit.
const maxAccepts = 256

// insertAccepted writes a group of acceptances in one statement: the keys
// first, then the messages whose key is fresh (or that have none), their first
// event, their outbox row and their place in the backlog. The row of a message that is already there (a
// repeat after a lost connection) counts as written. A group with messages that
// came over SMPP has insertOrigins before its end, and insertOwed when one of them
// was refused after its parts had been answered. One of which webhooks are told has
// insertTold. One with messages that have files has
// insertMedia, and one with messages that came over MM4 insertMM4Origins beside it.
var (
	insertAccepted      = insertMessages + selectFresh
	insertAcceptedSMPP  = joined(insertMessages, insertOrigins, selectFresh)
	insertAcceptedTold  = joined(insertMessages, insertTold, selectFresh)
	insertAcceptedParts = joined(insertMessages, insertOrigins, insertOwed, insertTold, selectFresh)
	insertAcceptedMedia = joined(insertMessages, insertMedia, selectFresh)
	insertAcceptedMM4   = joined(insertMessages, insertMedia, insertMM4Origins, selectFresh)
	// insertAcceptedAll is of the rare group that has messages of every sort.
	insertAcceptedAll = joined(insertMessages, insertMedia, insertMM4Origins, insertOrigins, insertOwed, insertTold, selectFresh)
)

// joined makes one statement of clauses whose parameters each count from $1.
func joined(clauses ...string) string {
	var sql strings.Builder
	before := 0
	for _, c := range clauses {
		most := 0
		sql.WriteString(parameter.ReplaceAllStringFunc(c, func(p string) string {
			n, _ := strconv.Atoi(p[1:])
			most = max(most, n)
			return "$" + strconv.Itoa(before+n)
		}))
		before += most
	}
	return sql.String()
}

var parameter = regexp.MustCompile(`\$[0-9]+`)

const selectFresh = `
select f.id, exists (select from stored s where s.id = f.id), coalesce(l.waits, (select waits from backlog b where b.message_id = f.id), false)
from fresh f
left join lined_up l on l.message_id = f.id`

const insertMessages = `
with given as (
  select *
  from unnest(
    $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::int[],
    $11::text[], $12::text[], $13::text[], $14::text[], $15::jsonb[], $16::text[], $17::text[], $18::bigint[], $19::text[],
    $20::text[], $21::text[], $22::text[], $23::text[], $24::timestamptz[], $25::timestamptz[], $26::timestamptz[],
    $27::smallint[], $28::jsonb[], $29::text[], $30::text[], $31::bytea[], $32::int[], $33::bytea[], $34::uuid[], $35::int[],
    $36::smallint[], $37::bytea[], $38::bytea[], $39::boolean[], $40::bytea[], $41::boolean[], $42::uuid[], $43::text[], $44::text[], $45::jsonb[],
    $46::boolean[], $47::uuid[], $48::text[])
  with ordinality as g(
    id, account_id, kind, status, from_addr, requested_from, to_addr, body, encoding, segments,
    message_class, delivery, campaign_id, client_reference, metadata, webhook_url, webhook_failover_url, price_micros, currency,
    edge, trace_parent, reason, reason_detail, send_at, expires_at, created_at,
    priority, detail, operation, key, body_hash, http_status, response, retry_of, hold_seconds,
    data_coding, user_data_header, tlvs, automatic, subject, media_as_is, group_id, group_recipients, requested_kind, told, failures_only, batch_id, callback, place)
), keyed as (
  insert into idempotency_keys (account_id, operation, key, body_hash, message_id, http_status, response, created_at)
  select account_id, operation, key, body_hash, id, http_status, response, created_at
  from given
  where key is not null
  order by account_id, operation, key -- everywhere the same, or two replicas with the same keys wait for each other
  on conflict do nothing
  returning message_id
), fresh as (
  select g.*
  from given g
  where g.key is null or g.id in (select message_id from keyed)
), stored as (
  insert into messages (
    id, account_id, direction, kind, status, from_addr, requested_from, to_addr, body, encoding, segments,
    message_class, delivery, campaign_id, client_reference, metadata, webhook_url, webhook_failover_url, price_micros, currency,
    edge, trace_parent, reason, reason_detail, send_at, expires_at, created_at, updated_at, retry_of,
    data_coding, user_data_header, tlvs, automatic, subject, media_as_is, group_id, group_recipients, requested_kind, failures_only, batch_id, callback)
  select
    id, account_id, 'outbound', kind, status, from_addr, requested_from, to_addr, body, encoding, segments,
    message_class, delivery, campaign_id, client_reference, metadata, webhook_url, webhook_failover_url, price_micros, currency,
    edge, trace_parent, reason, reason_detail, send_at, expires_at, created_at, created_at, retry_of,
    data_coding, user_data_header, tlvs, automatic, subject, media_as_is, group_id, string_to_array(group_recipients, ' '), requested_kind, failures_only, batch_id, callback
  from fresh
  on conflict (id) do nothing
  returning id
), event as (
  insert into message_events (message_id, sequence, at, type, detail, account_id, feed_xid, told)
  select f.id, 1, f.created_at, f.status, f.detail,
    case when f.told is not null then f.account_id end, case when f.told is not null then pg_current_xact_id() end, nullif(f.told, '{}')
  from fresh f
  join stored s on s.id = f.id
), outbox as (
  insert into starts (message_id, priority, created_at)
  select f.id, f.priority, now()
  from fresh f
  join stored s on s.id = f.id
  where f.status = 'accepted'
)` + insertBacklog

// acceptor gathers acceptances into shared commits. One commit is under way at
// a time; what comes meanwhile shares the next, in the order of its coming. The
// queue has no bound of its own: each acceptance in it has a caller that waits,
// and callers are bounded by the windows and connections of the edges.
type acceptor struct {
	db *DB
	wg sync.WaitGroup

	mu     sync.Mutex
	queue  []*acceptance
	more   sync.Cond // there is something in the queue, or the end
	closed bool

	repeatFor time.Duration // see the constant; guarded by mu
}

type acceptance struct {
	message.Acceptance
	body    []byte   // sealed, as header, tlvs, subject and sources are
	header  []byte   // nil: none
	tlvs    []byte   // nil: none
	subject []byte   // nil: none
	sources [][]byte // of its files; nil: given
	answer  []byte   // sealed response, nil without a key
	done    chan acceptOutcome
}

type acceptOutcome struct {
	fresh bool // its key was not seen before
	kept  kept
	err   error
}

// kept is how a message is kept.
type kept struct {
	stored bool // by this; else it was there before
	waits  bool // for its turn in its conversation
	fit    message.Fit
}

func newAcceptor(db *DB) *acceptor {
	a := &acceptor{db: db, repeatFor: repeatFor}
	a.more.L = &a.mu
	a.wg.Go(a.run)
	return a
}

func (a *acceptor) close() {
	a.mu.Lock()
	a.closed = true
	a.more.Signal()
	a.mu.Unlock()
	a.wg.Wait()
}

// Accept is Enter and the wait for the commit.
func (db *DB) Accept(ctx context.Context, in message.Acceptance) (message.Accepted, error) {
	return db.Enter(in)(ctx)
}

// Enter puts a message into the queue of what is committed next and returns at
// once; wait, called once, returns after the commit. Messages are committed in
// the order in which they entered, and those of one conversation leave in that
// order if in.Hold says so.
//
// What is committed is the message, its first event, its idempotency key, its
// outbox row, its place in the backlog and what its sender over SMPP is owed: the
// point from which the message is never lost. A refused message is kept the same
// way, with its trail, and is owed nothing unless in.Owed says so. When the key
// was seen before nothing is stored and the first answer comes back, or
// ReasonIdempotencyMismatch when the body differs. When ctx ends first, whether
// the message was accepted is unknown to the caller.
func (db *DB) Enter(in message.Acceptance) (wait func(ctx context.Context) (message.Accepted, error)) {
	item := db.sealed(in)
	if err := db.lanes.enter(item); err != nil {
		return func(context.Context) (message.Accepted, error) { return message.Accepted{}, err }
	}
	return func(ctx context.Context) (message.Accepted, error) { return db.accepted(ctx, item) }
}

// sealed is an acceptance with what of it is stored sealed.
func (db *DB) sealed(in message.Acceptance) *acceptance {
	item := &acceptance{Acceptance: in, done: make(chan acceptOutcome, 1)}
	item.body = db.sealer.Seal([]byte(in.Message.Body), in.Message.ID[:])
	item.header, item.tlvs = db.sealExtras(in.Message)
	item.subject, item.sources = db.sealMedia(in.Message)
	if k := in.Idempotency; k != nil {
		item.answer = db.sealer.Seal(k.Response, []byte(k.Key))
	}
	return item
}

// accepted waits for what becomes of an acceptance.
func (db *DB) accepted(ctx context.Context, item *acceptance) (message.Accepted, error) {
	select {
	case out := <-item.done:
		if out.err == nil && out.kept.stored && out.kept.fit.Refused == nil {
			db.remember(item.Message)
			db.rememberAccepted(item)
		}
		if out.err != nil || out.fresh {
			return message.Accepted{Waits: out.kept.waits, Repeated: out.fresh && !out.kept.stored, Fit: out.kept.fit}, out.err
		}
	case <-ctx.Done():
		return message.Accepted{}, ctx.Err()
	}
	return db.replay(ctx, *item.Idempotency)
}

// rememberAccepted keeps what is told of an acceptance for its first try.
func (db *DB) rememberAccepted(item *acceptance) {
	for _, n := range item.Notifications {
		db.untried.put(n.ID, untried{firstNotification(item, n), time.Now()})
	}
}

func (a *acceptor) put(item *acceptance) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return message.Refuse(message.ReasonUnavailable, "the gateway is shutting down")
	}
	a.queue = append(a.queue, item)
	a.more.Signal()
	return nil
}

// next waits for acceptances and takes as many as share a commit; none at the
// end.
func (a *acceptor) next() []*acceptance {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) == 0 && !a.closed {
		a.more.Wait()
	}
	n := min(len(a.queue), maxAccepts)
	group := a.queue[:n:n]
	if a.queue = a.queue[n:]; len(a.queue) == 0 {
		a.queue = nil // lets go of what was taken
	}
	return group
}

func (a *acceptor) run() {
	for group := a.next(); len(group) > 0; group = a.next() {
		a.commit(group)
	}
}

func (a *acceptor) commit(group []*acceptance) {
	plain, metered := apart(group)
	a.commitAs(plain)
	a.commitAs(metered)
}

func (a *acceptor) commitAs(group []*acceptance) {
	if len(group) == 0 {
		return
	}
	fresh, err := a.insertForSure(group)
	if err != nil && len(group) > 1 && !Unavailable(err) {
		// One bad row must not fail the others.
		for _, item := range group {
			fresh, err := a.insertForSure([]*acceptance{item})
			a.finish(item, fresh, err)
		}
		return
	}
	for _, item := range group {
		a.finish(item, fresh, err)
	}
}

const (
	// repeatFor is how long a group is written again whose commit got no answer:
	// below the time that customers wait for theirs.
	repeatFor = 15 * time.Second
	// The pauses between two tries double from firstRepeat to lastRepeat.
	firstRepeat = 100 * time.Millisecond
	lastRepeat  = time.Second
)

// insertForSure writes a group until it is known what became of it. A server
// that goes away in a commit leaves that open, and callers who are told so write
// their messages again under other ids. The ids of the group are the same each
// time, so what is there already is not written twice.
func (a *acceptor) insertForSure(group []*acceptance) (map[message.ID]kept, error) {
	until := time.Now().Add(a.patience())
	var open error // the first error that left it open
	for pause := firstRepeat; ; pause = min(2*pause, lastRepeat) {
		fresh, err := a.insert(group)
		if open == nil && Unavailable(err) && !nothingDone(err) {
			open = err
		}
		switch {
		case err == nil || !Unavailable(err):
			return fresh, err
		case open == nil:
			return nil, err
		case time.Now().Add(pause).After(until):
			return nil, open
		}
		time.Sleep(pause)
	}
}

func (a *acceptor) patience() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.repeatFor
}

// finish tells the caller. All has the messages whose key is fresh.
func (a *acceptor) finish(item *acceptance, all map[message.ID]kept, err error) {
	a.db.lanes.leave(item.Message.AccountID)
	if err != nil {
		item.done <- acceptOutcome{err: acceptError(err)}
		return
	}
	kept, fresh := all[item.Message.ID]
	if kept.stored {
		a.db.feed.grown(item.Message.AccountID)
	}
	item.done <- acceptOutcome{fresh: fresh, kept: kept}
}

// acceptError gives the reason for a failed commit.
func acceptError(err error) error {
	switch {
	case sqlState(err) == characterNotInText, sqlState(err) == untranslatableInJSON:
		return message.Because(message.ReasonInvalidRequest, err, "client_reference, metadata or a URL holds a character that cannot be stored")
	case sqlState(err) == foreignKeyViolation && constraintOf(err) == mediaObjectKey:
		return message.Because(message.ReasonInvalidRequest, err, "a file of media_ids has just expired; upload it again")
	case !Unavailable(err):
		return err
	case nothingDone(err):
		return message.Because(message.ReasonUnavailable, err, "the journal cannot be written now; nothing was stored")
	}
	return message.Because(message.ReasonUnavailable, err, "the journal went away before it confirmed; repeat with the same Idempotency-Key")
}

// insert writes a group and gives the messages whose key is fresh, or that have
// none: how each is kept.
func (a *acceptor) insert(group []*acceptance) (map[message.ID]kept, error) {
	if slices.ContainsFunc(group, (*acceptance).meters) {
		return a.reserve(group)
	}
	// Each caller's own deadline ends its own waiting only.
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	sql, args, refused := acceptStatement(group)
	rows, err := a.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("journal: accept: %w", err)
	}
	fresh := make(map[message.ID]kept, len(group))
	if err := scanKept(rows, fresh); err != nil {
		return nil, fmt.Errorf("journal: accept: %w", err)
	}
	if refused && len(fresh) > 0 {
		a.db.owed()
	}
	return fresh, nil
}

// acceptStatement is what inserts a group; refused reports whether senders over SMPP
// are owed receipts of refusals.
func acceptStatement(group []*acceptance) (sql string, args []any, refused bool) {
	args = acceptColumns(group)
	owed, refused := answersOwed(group)
	mm4 := mm4Origins(group)
	media := slices.ContainsFunc(group, func(i *acceptance) bool { return len(i.Message.Media) > 0 })
	notes := slices.ContainsFunc(group, func(i *acceptance) bool { return len(i.Notifications) > 0 })
	told := func() []any {
		return slices.Concat(originColumns(owed), []any{wishes(message.DeliverReceipt, message.StatusFailed), int16(registeredMask)}, toldColumns(group))
	}
	switch {
	case len(owed) == 0 && len(mm4) == 0 && !media && notes:
		return insertAcceptedTold, append(args, toldColumns(group)...), false
	case len(owed) == 0 && len(mm4) > 0 && !notes:
		return insertAcceptedMM4, slices.Concat(args, mediaColumns(group), mm4OriginColumns(mm4)), false
	case len(owed) == 0 && media && !notes:
		return insertAcceptedMedia, append(args, mediaColumns(group)...), false
	case len(owed) == 0 && !media && len(mm4) == 0:
		return insertAccepted, args, false
	case media || len(mm4) > 0:
		return insertAcceptedAll, slices.Concat(args, mediaColumns(group), mm4OriginColumns(mm4), told()), refused
	case refused || notes:
		return insertAcceptedParts, append(args, told()...), refused
	}
	return insertAcceptedSMPP, append(args, originColumns(owed)...), false
}

// scanKept reads what an acceptStatement says of the messages whose key is fresh.
func scanKept(rows pgx.Rows, into map[message.ID]kept) error {
	var id message.ID
	var k kept
	_, err := pgx.ForEachRow(rows, []any{&id, &k.stored, &k.waits}, func() error {
		into[id] = k
		return nil
	})
	return err
}

// column gathers one field over the group, as the array that unnest wants.
func column[T any](group []*acceptance, of func(*acceptance) T) []T {
	c := make([]T, len(group))
	for i, item := range group {
		c[i] = of(item)
	}
	return c
}

func acceptColumns(group []*acceptance) []any {
	type a = *acceptance
	keyed := func(of func(*message.Idempotency) string) func(a) *string {
		return func(i a) *string {
			if i.Idempotency == nil {
				return nil
			}
			s := of(i.Idempotency)
			return &s
		}
	}
	return []any{
		column(group, func(i a) message.ID { return i.Message.ID }),
		column(group, func(i a) message.ID { return i.Message.AccountID }),
		column(group, func(i a) string { return string(i.Message.Kind) }),
		column(group, func(i a) string { return string(i.Message.Status) }),
		column(group, func(i a) string { return string(i.Message.From) }),
		column(group, func(i a) string { return string(i.Message.RequestedFrom) }),
		column(group, func(i a) string { return string(i.Message.To) }),
		column(group, func(i a) []byte { return i.body }),
		column(group, func(i a) string { return string(i.Message.Encoding) }),
		column(group, func(i a) int32 { return int32(i.Message.Segments) }),
		column(group, func(i a) string { return string(i.Message.Class) }),
		column(group, func(i a) string { return string(i.Message.Delivery) }),
		column(group, func(i a) string { return i.Message.CampaignID }),
		column(group, func(i a) *string { return orNull(i.Message.ClientReference) }),
		column(group, func(i a) *string { return metadataJSON(i.Message.Metadata) }),
		column(group, func(i a) string { return i.Message.WebhookURL }),
		column(group, func(i a) string { return i.Message.WebhookFailover }),
		column(group, func(i a) int64 { return int64(i.Message.Price.Amount) }),
		column(group, func(i a) string { return i.Message.Price.Currency }),
		column(group, func(i a) string { return i.Message.Edge }),
		column(group, func(i a) string { return i.Message.TraceParent }),
		column(group, func(i a) string { return string(errorOf(i.Message).Reason) }),
		column(group, func(i a) string { return errorOf(i.Message).Detail }),
		column(group, func(i a) *time.Time { return timeOrNull(i.Message.SendAt) }),
		column(group, func(i a) time.Time { return i.Message.ExpiresAt }),
		column(group, func(i a) time.Time { return i.Message.CreatedAt }),
		column(group, func(i a) int16 { return int16(i.Message.Class.Priority()) }),
		column(group, firstDetail),
		column(group, keyed(func(k *message.Idempotency) string { return k.Operation })),
		column(group, keyed(func(k *message.Idempotency) string { return k.Key })),
		column(group, func(i a) []byte {
			if i.Idempotency == nil {
				return nil
			}
			return i.Idempotency.BodyHash[:]
		}),
		column(group, func(i a) int32 {
			if i.Idempotency == nil {
				return 0
			}
			return int32(i.Idempotency.Status)
		}),
		column(group, func(i a) []byte { return i.answer }),
		column(group, func(i a) *message.ID { return idOrNull(i.Message.RetryOf) }),
		column(group, func(i a) *int32 { return holdSeconds(i.Hold) }),
		column(group, func(i a) *int16 { return codingOrNull(i.Message.DataCoding) }),
		column(group, func(i a) []byte { return i.header }),
		column(group, func(i a) []byte { return i.tlvs }),
		column(group, func(i a) bool { return i.Message.Automatic }),
		column(group, func(i a) []byte { return i.subject }),
		column(group, func(i a) bool { return i.Message.MediaAsIs }),
		column(group, func(i a) *message.ID { return idOrNull(i.Message.GroupID) }),
		column(group, func(i a) *string { return groupOrNull(i.Message.GroupRecipients) }),
		column(group, func(i a) *string { return orNull(string(i.Message.Requested)) }),
		column(group, firstTold),
		column(group, func(i a) bool { return i.Message.FailuresOnly }),
		column(group, func(i a) *message.ID { return idOrNull(i.Message.BatchID) }),
		column(group, func(i a) string { return string(i.Message.Callback) }),
	}
}

// firstTold is what the feed keeps of the first line of the timeline; nil: it is not in
// the feed, since the sender has got the refusal as an answer.
func firstTold(i *acceptance) *string {
	if i.Message.Status != message.StatusAccepted && (!i.Owed || !i.Message.Status.Told()) {
		return nil
	}
	return new(orElse(withoutNUL(message.Said(i.Message, false)), "{}"))
}

// firstDetail is the detail of the first line of the timeline: the edge, and
// for a refusal what decided.
func firstDetail(i *acceptance) *string {
	detail := map[string]any{"edge": i.Message.Edge}
	if i.Message.Requested != "" {
		detail["requested_type"] = i.Message.Requested
	}
	if e := i.Message.Error; e != nil {
		detail["code"] = e.Reason
		detail["detail"] = e.Detail
		detail["trail"] = i.Trail
	}
	return detailJSON(detail)
}

func metadataJSON(m map[string]string) *string {
	if len(m) == 0 {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil // strings always marshal
	}
	s := string(b)
	return &s
}

func errorOf(m *message.Message) message.Error {
	if m.Error == nil {
		return message.Error{}
	}
	return *m.Error
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// groupOrNull is the recipients of a group as unnest takes them, since it would take apart
// an array of arrays: with blanks between, which no recipient has.
func groupOrNull(list []message.Address) *string {
	if len(list) == 0 {
		return nil
	}
	s := make([]string, len(list))
	for i, a := range list {
		s[i] = string(a)
	}
	return new(strings.Join(s, " "))
}

func idOrNull(id message.ID) *message.ID {
	if id == (message.ID{}) {
		return nil
	}
	return &id
}
