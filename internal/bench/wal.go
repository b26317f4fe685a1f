package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// walLog reads how far Postgres's write-ahead log has come. Its methods work on
// nil, which knows nothing. It has one user at a time.
type walLog struct{ conn *pgx.Conn }

// openLog connects as the gateway does, whose environment names the server.
func openLog(ctx context.Context, m meter) (*walLog, error) {
	op, err := openOperator(m)
	if err != nil {
		return nil, err
	}
	var dsn strings.Builder
	for key, name := range map[string]string{"host": "POSTGRES_HOST", "port": "POSTGRES_PORT", "user": "POSTGRES_USER", "password": "POSTGRES_PASSWORD", "dbname": "POSTGRES_DB", "sslmode": "POSTGRES_SSLMODE"} {
		fmt.Fprintf(&dsn, "%s='%s' ", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(op.value(name)))
	}
	conn, err := pgx.Connect(ctx, dsn.String())
	if err != nil {
		return nil, errors.New("the bench cannot log in to Postgres") // the cause may name the password
	}
	return &walLog{conn}, nil
}

func (l *walLog) close() {
	if l != nil {
		_ = l.conn.Close(context.Background())
	}
}

// octets is the log's end, in octets since the cluster was made; 0: not known.
func (l *walLog) octets(ctx context.Context) int64 {
	if l == nil {
		return 0
	}
	var n int64
	if err := l.conn.QueryRow(ctx, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").Scan(&n); err != nil {
		return 0
	}
	return n
}

// value is a variable of the gateway's environment; empty: it has none.
func (o *operator) value(name string) string {
	for _, entry := range o.env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// metricsURL is where the gateway tells of itself.
func (o *operator) metricsURL() string {
	return fmt.Sprintf("http://%s:%s/metrics", o.value("METRICS_HOST"), o.value("METRICS_PORT"))
}
