package main

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	dbschemas "go.temporal.io/server/schema"
)

// keptIndexes serve the UI's lists and the server's own queries; with the primary key and the
// columns that search attributes use they are all that remains. The stock schema indexes every
// pre-allocated column, is touched three times a workflow, and made 53 of the 93 KB of WAL that a
// message cost.
var keptIndexes = map[string]bool{
	"default_idx":      true, // close time, start time: every list without a filter
	"by_workflow_id":   true,
	"by_workflow_type": true,
	"by_status":        true, // also narrows the server's own counts of running workflows of a worker version
	"by_task_queue":    true,
	"by_build_ids":     true,
}

// visibilityIndex is one index of the server's visibility table.
type visibilityIndex struct {
	name   string
	column string // lower case; empty for default_idx, whose key is an expression
	ddl    string
}

var createIndexPattern = regexp.MustCompile(`(?m)^CREATE INDEX (\w+)\s+ON executions_visibility [^(]*\(namespace_id, (?:(\w+)|\().*$`)

// schemaIndexes lists the indexes in the server's embedded schema. Reading them there means that an
// index which a later server adds is judged by the same rule, and that one can be made again.
func schemaIndexes() ([]visibilityIndex, error) {
	text, err := fs.ReadFile(dbschemas.Assets(), visibilitySchema+"/schema.sql")
	if err != nil {
		return nil, err
	}
	var indexes []visibilityIndex
	for _, match := range createIndexPattern.FindAllStringSubmatch(string(text), -1) {
		indexes = append(indexes, visibilityIndex{match[1], strings.ToLower(match[2]), match[0]})
	}
	if len(indexes) < len(keptIndexes) {
		return nil, fmt.Errorf("found %d indexes in the embedded visibility schema", len(indexes))
	}
	return indexes, nil
}

// indexPlan says what to drop and what to make, given the columns that search attributes use and
// the indexes that are there. Indexes that are not the schema's own are nobody's business here.
func indexPlan(schema []visibilityIndex, used, existing map[string]bool) (drop []string, create []string) {
	for _, index := range schema {
		wanted := keptIndexes[index.name] || used[index.column]
		switch {
		case existing[index.name] && !wanted:
			drop = append(drop, pgx.Identifier{index.name}.Sanitize())
		case !existing[index.name] && wanted:
			create = append(create, index.ddl)
		}
	}
	return drop, create
}

const selectVisibilityIndexes = `
select indexname
from pg_indexes
where schemaname = current_schema() and tablename = 'executions_visibility'`

// trimIndexes drops the visibility indexes on columns that no search attribute uses and makes the
// missing ones on columns that one does, for instance after a fifth attribute was declared. Columns
// stay, so the server's statements and schema upgrades work as before. The second run does nothing.
//
// It takes an exclusive lock on the visibility table for the moment of the drop, and for as long as
// the build takes when it makes an index; visibility tasks wait and retry.
func trimIndexes(ctx context.Context, p postgresOptions, used map[string]bool) (dropped, created int, err error) {
	schema, err := schemaIndexes()
	if err != nil {
		return 0, 0, err
	}
	conn, err := p.connect(ctx, p.VisibilityDatabase)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, selectVisibilityIndexes)
	if err != nil {
		return 0, 0, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, 0, err
	}
	existing := map[string]bool{}
	for _, name := range names {
		existing[name] = true
	}
	drop, create := indexPlan(schema, used, existing)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		statements := create
		if len(drop) > 0 {
			statements = append([]string{"drop index if exists " + strings.Join(drop, ", ")}, create...)
		}
		for _, statement := range statements {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	return len(drop), len(create), err
}

const selectCommitSetting = `
select exists (
	select
	from pg_db_role_setting s
	join pg_database d on d.oid = s.setdatabase
	where d.datname = current_database() and s.setrole = 0 and 'synchronous_commit=off' = any (s.setconfig)
)`

// relaxVisibilityCommits lets the visibility database, and only it, answer before the WAL is on
// disk. Visibility is an index that the server can lose the last instants of; history is not. The
// setting holds for connections opened after it, so this runs before the server opens any.
func relaxVisibilityCommits(ctx context.Context, p postgresOptions) error {
	conn, err := p.connect(ctx, p.VisibilityDatabase)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var done bool
	if err := conn.QueryRow(ctx, selectCommitSetting).Scan(&done); err != nil || done {
		return err
	}
	_, err = conn.Exec(ctx, "alter database "+pgx.Identifier{p.VisibilityDatabase}.Sanitize()+" set synchronous_commit = off")
	return err
}
