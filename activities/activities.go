// Package activities holds, one package a step, what the workflow of a message
// does to the world: admit, route, submit, record, notify. Each declares the
// small interfaces it needs; cmd joins them to implementations. Every activity
// may run twice, and its comment says what makes that harmless.
package activities

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/internal/message"
)

// Fail turns an error into what Temporal's retries understand: the type is the
// reason, and whether and when to try again comes from the error's own methods.
// An error without a reason (the database is away) is retried.
func Fail(err error) error {
	if err == nil {
		return nil
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return err
	}
	options := temporal.ApplicationErrorOptions{Cause: err}
	var known *message.Error
	if errors.As(err, &known) {
		options.NonRetryable = !known.Retryable()
	}
	var hint interface{ RetryAfter() time.Duration }
	if errors.As(err, &hint) {
		options.NextRetryDelay = hint.RetryAfter()
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), string(message.ReasonOf(err)), options)
}
