package media

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"gocloud.dev/gcerrors"
)

// The kinds of errors, for errors.Is. Each has a method Retryable() bool: whether the
// same call may pass later.
var (
	// ErrDamaged: what is stored is not what was stored: cut short, changed, or moved
	// from another name. Not retryable.
	ErrDamaged error = &kind{"media object is damaged", false}
	// ErrFull: the disk, or a quota on it. Retryable: room is made by retention or by
	// an operator.
	ErrFull error = &kind{"media store is full", true}
	// ErrNotFound: the store has no such object. Not retryable.
	ErrNotFound error = &kind{"media object is not in the store", false}
	// ErrTooLarge is what a *TooLargeError is. Not retryable.
	ErrTooLarge error = &kind{"media is too large", false}
	// ErrUnavailable: the storage failed in any other way. Retryable.
	ErrUnavailable error = &kind{"media store is unavailable", true}
	// ErrUnknownKey: the object is not there under any key of the ring, and the store
	// has objects under keys that the ring lacks. Retryable, because an operator can
	// put the key back.
	ErrUnknownKey error = &kind{"media object may be sealed with a key that the keyring lacks", true}
)

type kind struct {
	text  string
	retry bool
}

func (k *kind) Error() string   { return k.text }
func (k *kind) Retryable() bool { return k.retry }

// TooLargeError says that a file has more bytes than were allowed.
type TooLargeError struct {
	Limit int64 // the most that was allowed
}

func (e *TooLargeError) Error() string { return fmt.Sprintf("media has more than %d bytes", e.Limit) }

// Is reports true for ErrTooLarge.
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// Retryable reports false.
func (e *TooLargeError) Retryable() bool { return false }

// storage gives an error of the storage its kind. An end of the caller's context
// stays what it is.
func storage(op string, err error) error {
	var known *kind
	var answer interface{ HTTPStatusCode() int } // errors of S3 have it
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &known):
		return fmt.Errorf("%s: %w", op, err)
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fmt.Errorf("%s: %w", op, ErrNotFound)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT),
		errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusInsufficientStorage:
		return fmt.Errorf("%s: %w: %w", op, ErrFull, err)
	case errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusRequestedRangeNotSatisfiable:
		// No byte is asked for beyond the size that the object has, or should have.
		return fmt.Errorf("%s: %w: %w", op, ErrDamaged, err)
	}
	return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
}

func damaged(op, why string) error { return fmt.Errorf("%s: %w: %s", op, ErrDamaged, why) }
