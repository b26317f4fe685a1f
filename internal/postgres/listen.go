package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Times of a listening connection.
const (
	// listenIdle is how long a connection may hear nothing before it is asked for a
	// sign of life: of one whose other end has vanished TCP would say nothing for minutes.
	listenIdle = 5 * time.Second
	// listenAsk bounds one question over such a connection, and listenBye its end.
	listenAsk = 5 * time.Second
	listenBye = time.Second
)

// listening is what is done with the notifications of a channel.
type listening struct {
	channel string // a name of ours, which goes into the statement as it is
	// began is called when notifications come from now on.
	began func()
	// heard is called with each, one call at a time. An error ends the listening.
	heard func(ctx context.Context, c *pgx.Conn, payload string) error
}

// listen hears what is notified on a channel until ctx ends or the connection is lost,
// and returns why. The connection is its own, beside those of the pool, of which there
// may be none to spare just then. PgBouncer in transaction mode takes the statement and
// passes nothing on: whoever listens looks now and then as well.
func (db *DB) listen(ctx context.Context, l listening) error {
	c, err := pgx.ConnectConfig(ctx, db.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to listen to %s: %w", l.channel, err)
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), listenBye)
		defer cancel()
		_ = c.Close(bye)
	}()
	if err := registerIDs(ctx, c); err != nil {
		return err
	}
	listen := func(ctx context.Context) error {
		_, err := c.Exec(ctx, "listen "+l.channel)
		return err
	}
	if err := ask(ctx, listen); err != nil {
		return fmt.Errorf("listen to %s: %w", l.channel, err)
	}
	l.began()
	for {
		idle, cancel := context.WithTimeout(ctx, listenIdle)
		n, err := c.WaitForNotification(idle)
		cancel()
		switch {
		case err == nil:
			err = ask(ctx, func(ctx context.Context) error { return l.heard(ctx, c, n.Payload) })
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && !c.IsClosed():
			err = ask(ctx, listen) // which is to do nothing, and says so
		}
		if err != nil {
			return fmt.Errorf("listening to %s: %w", l.channel, err)
		}
	}
}

// ask bounds a question over a listening connection.
func ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, listenAsk)
	defer cancel()
	return question(ctx)
}
