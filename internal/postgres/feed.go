package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// The pull feed of an account is the lines of its messages' timelines that customers are
// told of, and account_events, in the order of the transactions that wrote them. A reader
// goes up to the oldest transaction that is under way: below it nothing can come any
// more, and everything that was committed there is seen. So whoever goes on from the last
// position misses nothing and gets nothing twice, whatever takes how long to commit. What
// is written is one index entry a line; the body is made by who reads.

// selectFeedBounds gives where the feed begins, the oldest transaction that is under way, and
// the next one to be.
const selectFeedBounds = `
select (select xid from feed_marks order by at limit 1)::text::bigint, pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
  pg_snapshot_xmax(pg_current_snapshot())::text::bigint`

// selectFeed reads lines and events from behind a position up to a transaction.
//
//	$1 account  $2 $3 $4 the position  $5 transaction  $6 most
const selectFeed = `
(select feed_xid::text::bigint, message_id, sequence, at, type, told, ''
from message_events
where account_id = $1 and (feed_xid, message_id, sequence) > ($2::text::xid8, $3::uuid, $4::int) and feed_xid < $5::text::xid8
order by message_events.feed_xid, message_id, sequence
limit $6)
union all
(select feed_xid::text::bigint, id, 0, at, type, null, payload
from account_events
where account_id = $1 and (feed_xid, id) > ($2::text::xid8, $3::uuid) and feed_xid < $5::text::xid8
order by account_events.feed_xid, id
limit $6)
order by 1, 2, 3
limit $6`

const (
	// feedScan is how many lines are looked at for a page of certain types: they stand in no
	// index, since hardly anybody asks for few of them and every message would pay.
	feedScan = 1000
	// feedLook is how long one call goes on while it finds nothing of the types asked for: a
	// read is to be answered within 50 ms. Who waits for events has it called again.
	feedLook = 20 * time.Millisecond
)

// feedLine is a row of the feed before its message is read.
type feedLine struct {
	at      message.FeedPosition
	time    time.Time
	kind    string // of the event; empty: it is of no type that is known
	told    []byte
	payload string
	inbound bool
	own     bool // it is of no message
}

// Feed reads an account's feed from behind a position: at most q.Limit events, and less
// than there are when it had to look at many lines; More says so. ReasonInvalidRequest:
// the position lies before what is kept, or is none of this journal.
func (db *DB) Feed(ctx context.Context, q message.FeedQuery) (message.FeedPage, error) {
	var page message.FeedPage
	fail := func(err error) (message.FeedPage, error) {
		return page, fmt.Errorf("read the feed of %s: %w", q.AccountID, err)
	}
	var floor, below, next int64
	if err := db.pool.QueryRow(ctx, selectFeedBounds).Scan(&floor, &below, &next); err != nil {
		return fail(err)
	}
	behind := q.Behind
	switch {
	case behind == (message.FeedPosition{}):
		behind.Transaction = uint64(floor)
	case behind.Transaction < uint64(floor):
		return page, message.Refuse(message.ReasonInvalidRequest,
			"this cursor has expired: events are kept for %d days; begin again without a cursor, and ask GET /v1/messages for what lies before", int(message.FeedKept.Hours()/24))
	case behind.Transaction > uint64(next):
		return page, message.Refuse(message.ReasonInvalidRequest, "this cursor is not of this feed; begin again without a cursor")
	}
	page.Next = behind
	scan := q.Limit
	if q.Types != nil {
		scan = max(scan, feedScan)
	}
	var lines []feedLine
	for until := time.Now().Add(feedLook); ; {
		found, err := db.feedLines(ctx, q.AccountID, page.Next, uint64(below), scan)
		if err != nil {
			return fail(err)
		}
		page.More = len(found) == scan
		lines = wanted(found, q.Types)
		switch {
		case len(lines) > q.Limit || len(lines) == q.Limit && len(found) > q.Limit:
			lines = lines[:q.Limit]
			page.Next, page.More = lines[q.Limit-1].at, true
		case page.More:
			page.Next = found[scan-1].at
		case page.Next.Transaction < uint64(below):
			page.Next = message.FeedPosition{Transaction: uint64(below)}
		}
		if len(lines) > 0 || !page.More || time.Now().After(until) {
			break
		}
	}
	var err error
	if page.Events, err = db.feedEvents(ctx, q.AccountID, lines); err != nil {
		return fail(err)
	}
	return page, nil
}

// wanted are the lines of the types asked for.
func wanted(lines []feedLine, types []string) []feedLine {
	out := make([]feedLine, 0, len(lines))
	for _, l := range lines {
		if types == nil || slices.Contains(types, l.kind) {
			out = append(out, l)
		}
	}
	return out
}

func (db *DB) feedLines(ctx context.Context, account message.ID, behind message.FeedPosition, below uint64, limit int) ([]feedLine, error) {
	rows, err := db.pool.Query(ctx, selectFeed, feedArgs(account, behind, below, limit)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l feedLine, err error) {
		var transaction int64
		err = row.Scan(&transaction, &l.at.ID, &l.at.Sequence, &l.time, &l.kind, &l.told, &l.payload)
		l.at.Transaction = uint64(transaction)
		switch l.own = l.payload != ""; {
		case l.own:
		case l.kind == string(message.EventPlanned):
			l.kind, l.inbound = message.MessageReceived, true
		default:
			l.kind = "message." + l.kind
		}
		return l, err
	})
}

func feedArgs(account message.ID, behind message.FeedPosition, below uint64, limit int) []any {
	return []any{account, fmt.Sprint(behind.Transaction), behind.ID, behind.Sequence, fmt.Sprint(below), limit}
}

const selectFeedMessages = `select` + messageColumns + `
from messages
where id = any($1) and id between $2 and $3 and account_id = $4`

// feedEvents makes events of lines. A message that retention has just taken away takes its
// events with it.
func (db *DB) feedEvents(ctx context.Context, account message.ID, lines []feedLine) ([]message.FeedEvent, error) {
	out := make([]message.FeedEvent, 0, len(lines))
	messages, err := db.feedMessages(ctx, account, lines)
	if err != nil {
		return nil, err
	}
	received, err := db.feedReceived(ctx, messages, lines)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		e := message.FeedEvent{ID: l.at.ID, Type: l.kind, At: l.time, Payload: l.payload}
		m := messages[l.at.ID]
		switch {
		case l.own:
		case m == nil:
			continue
		case l.inbound:
			r := received[l.at.ID]
			e.Received = &r
			if e.Tag, e.Group, err = message.NumberAsSaid(l.told); err != nil {
				return nil, fmt.Errorf("what was told of %s: %w", m.ID, err)
			}
		default:
			e.ID, e.Sequence = message.EventID(m.ID, l.at.Sequence), l.at.Sequence
			if e.Message, e.Late, err = message.AsSaid(m, message.Status(strings.TrimPrefix(l.kind, "message.")), l.told); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, nil
}

func (db *DB) feedMessages(ctx context.Context, account message.ID, lines []feedLine) (map[message.ID]*message.Message, error) {
	out := map[message.ID]*message.Message{}
	var ids []message.ID
	for _, l := range lines {
		if _, is := out[l.at.ID]; !is && !l.own {
			out[l.at.ID] = nil
			ids = append(ids, l.at.ID)
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	rows, err := db.pool.Query(ctx, selectFeedMessages, append(among(ids), account)...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, db.scanMessage)
	for _, m := range list {
		out[m.ID] = m
	}
	return out, err
}

// feedReceived reads what the owners of inbound messages are told of them.
func (db *DB) feedReceived(ctx context.Context, messages map[message.ID]*message.Message, lines []feedLine) (map[message.ID]message.Received, error) {
	var ids []message.ID
	for _, l := range lines {
		if l.inbound && messages[l.at.ID] != nil {
			ids = append(ids, l.at.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	out := make(map[message.ID]message.Received, len(ids))
	rows, err := db.pool.Query(ctx, selectReceivedDetails, among(ids)...)
	if err != nil {
		return nil, err
	}
	var id message.ID
	var r message.Received
	var subject, media []byte
	if _, err = pgx.ForEachRow(rows, []any{&id, &r.Complete, &r.Keyword, &r.ReceivedAt, &subject, &media, &r.Group}, func() (err error) {
		is := message.Received{Message: messages[id], Complete: r.Complete, Keyword: r.Keyword, ReceivedAt: r.ReceivedAt, Group: r.Group}
		is.Subject, is.Media, err = db.openMMS(id, subject, media)
		out[id] = is
		return err
	}); err != nil {
		return nil, err
	}
	files, err := db.mediaOf(ctx, ids, "")
	for id, list := range files {
		is := out[id]
		is.Files = list
		out[id] = is
	}
	return out, err
}

const insertFeedMark = `
insert into feed_marks (xid)
select pg_snapshot_xmin(pg_current_snapshot())
where not exists (
  select
  from feed_marks
  where at > now() - interval '1 hour')
on conflict do nothing`

const deleteFeedMarks = `
delete from feed_marks
where at < (
  select max(at)
  from feed_marks
  where at <= $1)`

// moveFeed has the feed begin where it began FeedKept ago, to the hour.
func (u *Upkeep) moveFeed(ctx context.Context) (done message.Cared, err error) {
	err = u.within(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertFeedMark); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, deleteFeedMarks, u.bounds.now.Add(-message.FeedKept))
		done.Rows = int(tag.RowsAffected())
		return err
	})
	return done, err
}
