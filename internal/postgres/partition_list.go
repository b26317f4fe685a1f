package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
)

// Partition is a part of a table that grows, with the rows of one span of time.
type Partition struct {
	Table string     `json:"table"`
	Name  string     `json:"name"`
	From  *time.Time `json:"from"`  // nil: from the beginning
	Until *time.Time `json:"until"` // nil: without an end
	Rows  *int64     `json:"rows"`  // as Postgres last estimated them; nil: it never has
	Bytes int64      `json:"bytes"` // with indexes
}

const selectSize = `
select nullif(reltuples, -1)::bigint, pg_total_relation_size(oid)
from pg_class
where oid = $1::text::regclass`

// Partitions lists the partitions of all tables that have them, oldest first.
func (db *DB) Partitions(ctx context.Context) ([]Partition, error) {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	defer conn.Release()
	var all []Partition
	for _, t := range partitionTables {
		list, err := partitions(ctx, conn, t)
		if err != nil {
			return nil, fmt.Errorf("list partitions: %s: %w", t.table, err)
		}
		for _, p := range list {
			shown := Partition{Table: t.table, Name: p.name, From: timeOfBound(p.from), Until: timeOfBound(p.to)}
			if err := conn.QueryRow(ctx, selectSize, quoted(p.name)).Scan(&shown.Rows, &shown.Bytes); err != nil {
				return nil, fmt.Errorf("list partitions: %s: %w", p.name, err)
			}
			all = append(all, shown)
		}
	}
	return all, nil
}

func timeOfBound(id message.ID) *time.Time {
	if id == (message.ID{}) {
		return nil
	}
	t := timeOf(id)
	return &t
}

// dividedMost is how many rows a partition may have that is divided: they are moved
// while the table is locked.
const dividedMost = 50_000

// DividePartitions gives the times since `since` partitions of their own that are all in
// the first partition, as after the migration that made it one: for imports of old
// messages and for benches. It refuses when that has many rows. Otherwise as
// MakePartitions.
func (db *DB) DividePartitions(ctx context.Context, since time.Time) ([]string, error) {
	var made []string
	latest := spanEnd(time.Now().Add(partitionMargin))
	err := db.upkeep(ctx, func(conn *pgxpool.Conn) error {
		for _, t := range partitionTables {
			list, err := partitions(ctx, conn, t)
			if err != nil {
				return fmt.Errorf("%s: %w", t.table, err)
			}
			first, n := list[0], 0
			if err := conn.QueryRow(ctx, "select count(*) from (select from "+quoted(first.name)+" limit $1) few", dividedMost+1).Scan(&n); err != nil {
				return err
			}
			if n > dividedMost {
				return message.Refuse(message.ReasonConflict, "%s has more than %d rows", first.name, dividedMost)
			}
			for end := spanEnd(since); !end.After(latest) && (first.to == (message.ID{}) || end.Before(timeOf(first.to))); end = spanEnd(end) {
				next := partition{name: t.table + end.Format("_20060102"), from: idAt(end), to: first.to}
				if err := endAt(ctx, conn, t, first, next); err != nil {
					return fmt.Errorf("partition %s: %w", next.name, err)
				}
				made, first = append(made, next.name), next
			}
		}
		return nil
	})
	if err != nil {
		return made, fmt.Errorf("divide partitions: %w", err)
	}
	return made, nil
}
