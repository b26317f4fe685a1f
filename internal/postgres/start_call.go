package postgres

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// startsChannel carries calls to start messages: the ids of messages, or nothing,
	// which says that some wait for their turn in their conversation.
	startsChannel = "starts"
	// callSize is how many messages are in one notification, which holds less than
	// 8,000 octets: 22 a message.
	callSize = 256
	// claimFor is how long at least a call stays with who has taken it on. Who hears of it
	// later than that takes it on again, and starts what is not started yet once more,
	// which does nothing.
	claimFor = time.Second
	// maxClaims bounds the calls that a process keeps from others, for they stand in a table
	// of the server that everybody needs; what is beyond it goes before its time.
	maxClaims = 128
)

// callStarts is a transaction of its own: in that of acceptance, all processes would
// commit one after the other, behind one lock, each with its write to the disk. It
// writes no row, so it waits for no disk.
const callStarts = `
select pg_notify('` + startsChannel + `', payload)
from unnest($1::text[]) as payload`

// CallStarts tells whoever listens that these messages are in the outbox and that this
// process does not start them, and that some wait for their turn if turns says so. It is
// a hint: that it is lost is not found out.
func (db *DB) CallStarts(ctx context.Context, ids []message.ID, turns bool) error {
	var payloads []string
	if turns {
		payloads = append(payloads, "")
	}
	for len(ids) > 0 {
		n := min(len(ids), callSize)
		payloads = append(payloads, callOf(ids[:n]))
		ids = ids[n:]
	}
	if _, err := db.pool.Exec(ctx, callStarts, payloads); err != nil {
		return fmt.Errorf("tell of messages to be started: %w", err)
	}
	return nil
}

func callOf(ids []message.ID) string {
	octets := make([]byte, 0, len(ids)*len(message.ID{}))
	for _, id := range ids {
		octets = append(octets, id[:]...)
	}
	return base64.RawStdEncoding.EncodeToString(octets)
}

// called reads what callOf has written; none of anything else.
func called(payload string) []message.ID {
	octets, err := base64.RawStdEncoding.DecodeString(payload)
	if err != nil || len(octets)%len(message.ID{}) != 0 {
		return nil
	}
	ids := make([]message.ID, len(octets)/len(message.ID{}))
	for i := range ids {
		copy(ids[i][:], octets[i*len(message.ID{}):])
	}
	return ids
}

// takeCall is true for the first who asks, and for nobody else until he lets go.
const takeCall = `
select pg_try_advisory_lock($1)`

const dropCalls = `
select pg_advisory_unlock(key)
from unnest($1::bigint[]) as key`

const selectCalled = `
select s.message_id, m.account_id, s.priority, m.created_at, m.send_at, m.expires_at, m.segments, m.campaign_id,
  m.from_addr, m.to_addr, m.message_class, m.kind, m.edge
from starts s
join messages m on m.id = s.message_id
where s.message_id = any($1::uuid[])
  and not exists (select from backlog b where b.message_id = s.message_id and b.waits)
order by s.priority, s.message_id`

// ListenStarts calls began once it listens, and called with the messages of each call
// that this process is the first to take on, or with turns when some wait for their turn;
// one call at a time, and as long as it lasts nothing else is heard. It ends with ctx or
// the connection, and returns why. Should the process die before it has started them,
// they are in the outbox like any other.
func (db *DB) ListenStarts(ctx context.Context, began func(), called func(starts []message.Start, turns bool)) error {
	mine := claims{turned: time.Now()}
	return db.listen(ctx, listening{channel: startsChannel, began: began, heard: func(ctx context.Context, c *pgx.Conn, payload string) error {
		if payload == "" {
			called(nil, true)
			return nil
		}
		starts, err := mine.take(ctx, c, payload)
		if len(starts) > 0 {
			called(starts, false)
		}
		return err
	}})
}

// claims are the calls that this process has taken on, by their advisory locks, which
// go with the connection if nothing else lets go of them.
type claims struct {
	fresh, old []int64
	turned     time.Time // when old was last replaced
}

// take gives what is left to start of a call's messages, unless somebody else has taken
// the call on.
func (cl *claims) take(ctx context.Context, c *pgx.Conn, payload string) ([]message.Start, error) {
	ids := called(payload)
	if len(ids) == 0 {
		return nil, nil // not of ours
	}
	if err := cl.turn(ctx, c); err != nil {
		return nil, err
	}
	key := callKey(ids)
	mine := false
	if err := c.QueryRow(ctx, takeCall, key).Scan(&mine); err != nil || !mine {
		return nil, err
	}
	cl.fresh = append(cl.fresh, key)
	rows, err := c.Query(ctx, selectCalled, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanStart)
}

// turn lets go of what was taken on long enough ago.
func (cl *claims) turn(ctx context.Context, c *pgx.Conn) error {
	if time.Since(cl.turned) < claimFor && len(cl.fresh) < maxClaims/2 {
		return nil
	}
	if len(cl.old) > 0 {
		if _, err := c.Exec(ctx, dropCalls, cl.old); err != nil {
			return err
		}
	}
	cl.old, cl.fresh, cl.turned = cl.fresh, nil, time.Now()
	return nil
}

// callKey names a call among advisory locks: by the random half of its first message,
// which is in no other call.
func callKey(ids []message.ID) int64 { return int64(binary.BigEndian.Uint64(ids[0][8:])) }
