package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxGroup bounds how many statements share a commit: enough that a commit's
// cost vanishes, few enough that one slow statement delays few.
const maxGroup = 128

// errClosed is the answer to a statement that comes after the group's end.
var errClosed = errors.New("journal is closed")

// statement is one SQL statement of a caller. It must be safe to run twice.
type statement struct {
	sql  string
	args []any
	// read takes the statement's rows. It may run more than once, and what it
	// read counts only when the group's commit has succeeded.
	read func(pgx.Rows) error
	done chan error
}

// groups runs statements in a few lanes; statements with the same key share a
// lane and so keep their order and never wait for each other's row locks.
type groups struct {
	pool  *pgxpool.Pool
	lanes []chan *statement
	seed  maphash.Seed
	wg    sync.WaitGroup

	mu     sync.RWMutex
	closed bool
}

func newGroups(pool *pgxpool.Pool, lanes int) *groups {
	g := &groups{pool: pool, seed: maphash.MakeSeed()}
	for range lanes {
		lane := make(chan *statement, maxGroup) // closed by close, after which nothing is sent
		g.lanes = append(g.lanes, lane)
		g.wg.Go(func() { g.run(lane) })
	}
	return g
}

// close lets the statements that are waiting finish and stops the lanes.
func (g *groups) close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		for _, l := range g.lanes {
			close(l)
		}
	}
	g.mu.Unlock()
	g.wg.Wait()
}

// do runs s with others in one transaction and returns after its commit. When
// ctx ends first the statement may still run: its fate is then unknown to the
// caller, as after a lost connection.
func (g *groups) do(ctx context.Context, key []byte, s *statement) error {
	s.done = make(chan error, 1) // written once by the lane, never closed
	lane := g.lanes[maphash.Bytes(g.seed, key)%uint64(len(g.lanes))]
	if err := g.send(ctx, lane, s); err != nil {
		return err
	}
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *groups) send(ctx context.Context, lane chan *statement, s *statement) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return errClosed
	}
	select {
	case lane <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *groups) run(lane chan *statement) {
	for first := range lane {
		group := append(make([]*statement, 0, maxGroup), first)
	drain:
		for len(group) < maxGroup {
			select {
			case s, ok := <-lane:
				if !ok {
					break drain
				}
				group = append(group, s)
			default:
				break drain
			}
		}
		g.commit(group)
	}
}

// commit runs the group in one transaction. When a statement fails, each gets a
// transaction of its own, so that a bad one fails alone and one of two groups
// that waited for each other's rows goes on. When the server is away, all fail:
// asking for each again would hold the lane for as many timeouts.
func (g *groups) commit(group []*statement) {
	err := g.transact(group)
	if err == nil || len(group) == 1 && !conflicted(err) || Unavailable(err) {
		for _, s := range group {
			s.done <- err
		}
		return
	}
	for _, s := range group {
		s.done <- g.alone(s)
	}
}

// maxConflicts is how often a statement of its own is tried while another
// process holds rows that it needs in the other order. Each try waits for the
// server's deadlock_timeout first.
const maxConflicts = 4

func (g *groups) alone(s *statement) error {
	var err error
	for range maxConflicts {
		if err = g.transact([]*statement{s}); !conflicted(err) {
			return err
		}
	}
	return err
}

// conflicted reports whether the server ended a transaction only because of
// another one: it may succeed when it is repeated.
func conflicted(err error) bool {
	c := sqlState(err)
	return c == deadlockDetected || c == serializationFailure
}

func (g *groups) transact(group []*statement) error {
	// The callers' own deadlines end their waiting, not the others' commit.
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	b := &pgx.Batch{}
	for _, s := range group {
		b.Queue(s.sql, s.args...)
	}
	// A batch is one implicit transaction: the server commits at its end, and
	// Close reports that commit.
	br := g.pool.SendBatch(ctx, b)
	for _, s := range group {
		rows, err := br.Query()
		if err == nil && s.read != nil {
			err = s.read(rows)
		}
		if rows != nil {
			rows.Close()
			err = errors.Join(err, rows.Err())
		}
		if err != nil {
			_ = br.Close()
			return fmt.Errorf("journal: %w", err)
		}
	}
	if err := br.Close(); err != nil {
		return fmt.Errorf("journal: commit: %w", err)
	}
	return nil
}
