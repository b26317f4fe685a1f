package postgres

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postrider/postrider/internal/message"
)

// The SQLSTATEs that statements here meet (Postgres documentation, appendix A).
const (
	foreignKeyViolation  = "23503"
	uniqueViolation      = "23505"
	readOnlyTransaction  = "25006" // the primary of yesterday
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03" // within lock_timeout
	characterNotInText   = "22021" // NUL or broken UTF-8
	untranslatableInJSON = "22P05" // \u0000 in jsonb
)

// Unavailable reports whether err means that the database could not be reached,
// was going down or has no room: the caller may try again. What was asked may
// or may not have been done; see nothingDone.
func Unavailable(err error) bool {
	if err == nil {
		return false
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code[:2] {
		case "08", "53", "57", "58": // connection, resources, operator intervention, the system's own errors
			return true
		}
		return pg.Code == readOnlyTransaction
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case pgconn.SafeToRetry(err), pgconn.Timeout(err), errors.As(err, &connect), errors.As(err, &network):
		return true
	case errors.Is(err, errClosed), errors.Is(err, context.DeadlineExceeded):
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// nothingDone reports whether an error that is Unavailable shows for certain
// that the server did nothing: it refused, or was never asked. An answer lost on
// its way leaves it open.
func nothingDone(err error) bool {
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	return errors.As(err, &pg) || errors.As(err, &connect) || pgconn.SafeToRetry(err) || errors.Is(err, errClosed)
}

// sqlState is the SQLSTATE of the server's refusal, empty when it made none.
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// constraintOf names the constraint that a statement has met; empty: none.
func constraintOf(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.ConstraintName
	}
	return ""
}

// exactlyOne turns an update that found no row into ReasonNotFound.
func exactlyOne(tag pgconn.CommandTag, err error) error {
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return message.Refuse(message.ReasonNotFound, "there is no such row")
	}
	return nil
}
