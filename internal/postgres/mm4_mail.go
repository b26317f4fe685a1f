package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// mm4Lease is how long a claimed mail is left to its process: longer than a dialogue
// with a slow peer takes.
const mm4Lease = 2 * time.Minute

const countMails = `
select count(*)
from (
  select
  from mm4_mails
  where state = 'pending'
  limit $1) m`

// mostCounted bounds a look at what is owed: beyond it the number says nothing more.
const mostCounted = 100_000

// CountMM4Mails counts the mails that peers are owed, to 100,000.
func (db *DB) CountMM4Mails(ctx context.Context) (int, error) {
	var n int
	err := db.pool.QueryRow(ctx, countMails, mostCounted).Scan(&n)
	return n, err
}

// OnMM4Owed has fn called after each commit of this process that owes a peer of MM4 a
// mail: it is due now, and others find it only when they look. The end of a deliver_sm that
// nobody came for, after days, is not told. fn must not block. Safe for concurrent use; the
// last one counts.
func (db *DB) OnMM4Owed(fn func()) { db.onMM4Owed.Store(&fn) }

// owedMM4 calls what was given to OnMM4Owed.
func (db *DB) owedMM4() {
	if fn := db.onMM4Owed.Load(); fn != nil {
		(*fn)()
	}
}

// owedMM4 adds the delivery report that a sender over MM4 has asked for. There is one
// for a status, so a late receipt after `unconfirmed` makes a second one. A peer that is
// gone is owed nothing: its row is locked, so that whoever removes it ends the mail.
func (w *writer) owedMM4(c message.Change) {
	reason := ""
	if c.Error != nil {
		reason = string(c.Error.Reason)
	}
	w.clause("owed", `insert into mm4_mails (id, peer_id, kind, message_id, status, reason, expires_at)
  select `+w.arg(message.NewID(), "uuid")+", p.id, 'delivery_report', m.id, "+w.arg(string(c.To), "text")+", "+w.arg(reason, "text")+`,
    now() + `+w.arg(message.MM4ReportLife, "interval")+`
  from moved m
  join mm4_origins o on o.message_id = m.id
  join mm4_peers p on p.id = o.peer_id
  where o.delivery_report
  for key share of p
  on conflict do nothing
  returning id`)
	w.owes = true
}

// insertResponses writes responses. One that is there is due again, with what it says
// now. One that is just being sent may have reached the peer before the repetition came: it
// goes again when it is known what became of that.
const insertResponses = `
with given as (
  select distinct on (peer_id, kind, transaction_id, ordinal) *
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::bytea[], $7::smallint[], $8::bytea[], $9::timestamptz[])
  as g(id, peer_id, kind, message_id, at, transaction_id, ordinal, response, expires_at)
  order by peer_id, kind, transaction_id, ordinal
)
insert into mm4_mails as m (id, peer_id, kind, message_id, at, transaction_id, ordinal, response, expires_at)
select g.id, g.peer_id, g.kind, g.message_id, coalesce(g.at, now()), g.transaction_id, g.ordinal, g.response,
  coalesce(g.expires_at, now() + $10::interval)
from given g
join mm4_peers p on p.id = g.peer_id
for key share of p
on conflict (peer_id, kind, transaction_id, ordinal) where kind like '%\_res' do update
set state = 'pending',
    attempts = case when m.state = 'pending' then m.attempts else 0 end,
    message_id = coalesce(excluded.message_id, m.message_id),
    at = excluded.at,
    response = excluded.response,
    due_at = case when m.claimed_by is null then now() else m.due_at end,
    expires_at = excluded.expires_at,
    again = m.again or m.state = 'pending' and m.claimed_by is not null and m.due_at > now(),
    done_at = null`

// OweMM4 commits responses to requests of peers, and has them sent. Of each the ID, At
// and ExpiresAt may be zero: then they are a new one, now, and MM4ResponseLife from now.
// A response of the same peer, kind, transaction and ordinal that was owed before is due
// again, at once or, when it is just being sent, after that. A peer that is not there is owed nothing.
func (db *DB) OweMM4(ctx context.Context, mails []message.MM4Mail) error {
	if len(mails) == 0 {
		return nil
	}
	responses := make([][]byte, len(mails))
	for i, m := range mails {
		if !m.Kind.IsResponse() {
			return fmt.Errorf("owe over MM4: %q is no response", m.Kind)
		}
		doc, err := json.Marshal(m.Response)
		if err != nil {
			return fmt.Errorf("owe over MM4: %w", err)
		}
		responses[i] = db.sealer.Seal(doc, responsePlace(m))
	}
	type m = message.MM4Mail
	_, err := db.pool.Exec(ctx, insertResponses,
		pick(mails, func(m m) message.ID { return orNewID(m.ID) }),
		pick(mails, func(m m) message.ID { return m.PeerID }),
		pick(mails, func(m m) string { return string(m.Kind) }),
		pick(mails, func(m m) *message.ID { return idOrNull(m.MessageID) }),
		pick(mails, func(m m) *time.Time { return timeOrNull(m.At) }),
		pick(mails, func(m m) []byte { return []byte(m.TransactionID) }),
		pick(mails, func(m m) int16 { return int16(m.Ordinal) }),
		responses,
		pick(mails, func(m m) *time.Time { return timeOrNull(m.ExpiresAt) }),
		message.MM4ResponseLife)
	if err != nil {
		return fmt.Errorf("owe %d responses over MM4: %w", len(mails), err)
	}
	db.owedMM4()
	return nil
}

func orNewID(id message.ID) message.ID {
	if id == (message.ID{}) {
		return message.NewID()
	}
	return id
}

// responsePlace is what a response is bound to: to which request it answers, since a
// repetition writes it anew.
func responsePlace(m message.MM4Mail) []byte {
	return fmt.Appendf(m.PeerID[:], "%s %d %s", m.Kind, m.Ordinal, m.TransactionID)
}

// claimMails takes what is due, the peers in turn, so that much for one of them does not
// keep the others waiting. What has expired ends instead. A report of a message waits for
// an earlier one of its kind. What is sent from here on is sent after every repetition
// that has come.
//
//	$1 instance  $2 limit  $3 lease
const claimMails = `
with due as materialized (
  select d.id, d.over
  from mm4_peers p
  cross join lateral (
    select c.*, row_number() over (order by c.due_at, c.id) as turn
    from (
      select m.id, m.due_at, m.expires_at <= now() as over
      from mm4_mails m
      where m.peer_id = p.id and m.state = 'pending' and m.due_at <= now()
        and (m.expires_at <= now() or m.kind like '%\_res' or not exists (
          select
          from mm4_mails e
          where e.message_id = m.message_id and e.kind = m.kind and e.kind not like '%\_res' and e.state = 'pending'
            and (e.created_at, e.id) < (m.created_at, m.id)
          offset 0))
      order by m.due_at
      limit $2
      for update skip locked
    ) c
  ) d
  order by d.turn, d.due_at
  limit $2
), worked as (
  update mm4_mails m
  set state = case when d.over then 'expired' else 'pending' end,
      claimed_by = case when d.over then null else $1::text end,
      due_at = case when d.over then m.due_at else now() + $3::interval end,
      again = false,
      done_at = case when d.over then now() end
  from due d
  where m.id = d.id
  returning m.id, m.peer_id, m.kind, m.message_id, m.status, m.reason, m.at, m.transaction_id, m.ordinal, m.response, m.expires_at, m.attempts,
    m.created_at, d.over
)
select w.id, w.peer_id, w.kind, w.message_id, w.status, w.reason, w.at, w.transaction_id, w.ordinal, w.response, w.expires_at, w.attempts,
  o.peer_id, o.reference, o.sender, o.recipient, o.system, o.delivery_report, o.read_report
from worked w
left join mm4_origins o on o.message_id = w.message_id and w.kind not like '%\_res'
where not w.over
order by w.created_at, w.id`

// MM4MailsDue takes mails that are due, at most limit, and keeps other processes off
// them for two minutes; a claim that was neither recorded nor released lapses then. Peers
// that are disabled are not left out: it is for the caller to put their mails off. A mail
// that cannot be read is left out and named by the error that comes beside the others:
// they are claimed all the same.
func (db *DB) MM4MailsDue(ctx context.Context, instance string, limit int) ([]message.MM4Mail, error) {
	rows, err := db.pool.Query(ctx, claimMails, instance, limit, mm4Lease)
	if err != nil {
		return nil, fmt.Errorf("claim mails of MM4: %w", err)
	}
	defer rows.Close()
	var list []message.MM4Mail
	var unread []error
	for rows.Next() {
		m, err := db.scanMail(rows)
		if err != nil {
			unread = append(unread, fmt.Errorf("mail of MM4 %s: %w", m.ID, err))
			continue
		}
		list = append(list, m)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("claim mails of MM4: %w", err)
	}
	return list, errors.Join(unread...)
}

func (db *DB) scanMail(row pgx.CollectableRow) (m message.MM4Mail, err error) {
	var kind, status, reason string
	var about, peer *message.ID
	var transaction, sealed, reference, sender, recipient, system []byte
	var delivery, read *bool
	if err := row.Scan(&m.ID, &m.PeerID, &kind, &about, &status, &reason, &m.At, &transaction, &m.Ordinal, &sealed, &m.ExpiresAt, &m.Attempts,
		&peer, &reference, &sender, &recipient, &system, &delivery, &read); err != nil {
		return m, err
	}
	m.Kind, m.MessageID, m.Reason, m.TransactionID = message.MM4MailKind(kind), orZero(about), message.Reason(reason), string(transaction)
	switch {
	case m.Kind.IsResponse():
		doc, err := db.sealer.Open(sealed, responsePlace(m))
		if err != nil {
			return m, err
		}
		return m, json.Unmarshal(doc, &m.Response)
	case peer == nil:
		return m, errors.New("the message that it is about is gone")
	case m.Kind == message.MM4ReadReport:
		m.ReadStatus = status
	default:
		m.Status = message.Status(status)
	}
	m.Origin = message.MM4Origin{PeerID: *peer, Reference: string(reference), Sender: string(sender), Recipient: string(recipient), System: string(system),
		DeliveryReport: orZero(delivery), ReadReport: orZero(read)}
	return m, nil
}

// recordMail writes a try. What was sent counts whoever says so; all else only of who has
// the claim. One whose next try would come too late ends now. A report that has ended
// makes room for the next of its message, which is due already. A response whose request
// has come again meanwhile has not ended: it is due. That is taken back by the claim alone,
// so that a try that is recorded twice leaves it due.
//
//	$1 id  $2 instance  $3 state  $4 code  $5 error  $6 next
const recordMail = `
update mm4_mails
set state = case when $3 <> 'pending' and again then 'pending' when $3 = 'pending' and now() + $6::interval >= expires_at then 'expired' else $3 end,
    attempts = case when $3 <> 'pending' and again then 0 else attempts + 1 end,
    last_code = $4,
    last_error = $5,
    due_at = case when $3 = 'pending' then now() + $6::interval when again then now() else due_at end,
    claimed_by = null,
    done_at = case when $3 = 'pending' and now() + $6::interval >= expires_at or $3 <> 'pending' and not again then now() end
where id = $1
  and case when $3 = 'sent' then state <> 'sent' else state = 'pending' and claimed_by = $2 end
returning $3 <> 'pending' and again`

// MM4MailTried records what became of a try that the instance made, and ends its claim.
// One that is to be tried again after its time ends as expired. A try that is recorded
// twice counts once, and one whose claim has gone over to another instance only if the
// mail was sent. A response whose request came again while it was tried is due again then.
func (db *DB) MM4MailTried(ctx context.Context, instance string, id message.ID, r message.MM4MailResult) error {
	again := false
	err := db.one(ctx, id, recordMail, flag(&again), id, instance, string(r.State), storable(r.Code), storable(r.Error), r.Next)
	if err != nil {
		return fmt.Errorf("record a try of mail %s of MM4: %w", id, err)
	}
	if again {
		db.owedMM4()
	}
	return nil
}

const releaseMails = `
update mm4_mails
set claimed_by = null, due_at = now()
where claimed_by = $1 and state = 'pending'`

// ReleaseMM4 gives all of the instance's claims back untried: the next to ask may have
// them.
func (db *DB) ReleaseMM4(ctx context.Context, instance string) error {
	if _, err := db.pool.Exec(ctx, releaseMails, instance); err != nil {
		return fmt.Errorf("release mails of MM4: %w", err)
	}
	return nil
}

const (
	lockMessage = `
select
from messages
where id = $1
for no key update`

	selectRead = `
select exists (
  select
  from message_events
  where message_id = $1 and type = 'read')`

	insertReadReport = `
insert into mm4_mails (id, peer_id, kind, message_id, status, at, expires_at)
select $2, p.id, 'read_report', o.message_id, $3, $4, now() + $5::interval
from mm4_origins o
join mm4_peers p on p.id = o.peer_id
where o.message_id = $1 and o.read_report
for key share of p
on conflict do nothing`
)

// MM4Read notes in a message's timeline that it was read, or with status (a word of
// X-Mms-Read-Status) what else became of it, and owes the read report to an originator
// over MM4 that asked for it. Only the first call for a message does anything.
// ReasonNotFound: there is no such message.
func (db *DB) MM4Read(ctx context.Context, id message.ID, at time.Time, status string) error {
	owes := false
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if err := exactlyOne(tx.Exec(ctx, lockMessage, id)); err != nil {
			return err
		}
		var known bool
		if err := tx.QueryRow(ctx, selectRead, id).Scan(&known); err != nil || known {
			return err
		}
		detail := map[string]any{"status": storable(status), "read_at": at.UTC().Format(time.RFC3339)}
		if _, err := tx.Exec(ctx, insertLine, id, string(message.EventRead), detailJSON(detail)); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, insertReadReport, id, message.NewID(), storable(status), at, message.MM4ReportLife)
		owes = err == nil && tag.RowsAffected() > 0
		return err
	})
	if err != nil {
		return fmt.Errorf("note that message %s was read: %w", id, err)
	}
	if owes {
		db.owedMM4()
	}
	return nil
}
