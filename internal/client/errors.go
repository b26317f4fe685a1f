package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/client/api"
)

// Error is a request that came to nothing: refused, or without an answer. Doers make it;
// errors.As finds it.
type Error struct {
	Status     int           // of the answer; 0: there was none
	Problem    *api.Problem  // what the gateway says; nil: it was not the gateway that answered
	RetryAfter time.Duration // how long it asks to wait; 0: it does not say
	Cause      error         // why there is no Problem; nil if there is one
	Unanswered bool          // the request may have been carried out
}

// Error is one sentence for each thing that is wrong, with what to do about it and the
// name under which the gateway knows the request.
func (e *Error) Error() string {
	if e.Problem == nil {
		return e.Cause.Error()
	}
	p := e.Problem
	text := strings.TrimSuffix(p.Detail, ".")
	if text == "" {
		text = p.Title
	}
	if p.Errors != nil && len(*p.Errors) > 0 {
		var fields []string
		for _, f := range *p.Errors {
			fields = append(fields, fieldOf(f.Location)+": "+strings.TrimSuffix(f.Message, "."))
		}
		// Detail tells the first of them in the same words.
		if all := strings.Join(fields, "; "); strings.Contains(text, (*p.Errors)[0].Message) || strings.Contains((*p.Errors)[0].Message, text) {
			text = all
		} else {
			text += " (" + all + ")"
		}
	}
	text += " [" + p.Code + cure(p) + "]"
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(", try again in %v", e.RetryAfter.Round(time.Second))
	}
	if p.MessageID != nil {
		text += ", kept as message " + p.MessageID.String()
	}
	if p.RequestID != "" {
		text += ", request " + p.RequestID
	}
	return text
}

// cure is what the class of a code says about trying again.
func cure(p *api.Problem) string {
	switch p.Class {
	case api.ProblemClassRetry:
		return ", may pass later"
	case api.ProblemClassFixRegistration:
		return ", needs a change at the campaign registry"
	}
	return ""
}

// fieldOf is a location as its sender calls it: body.to is to.
func fieldOf(location string) string {
	for _, place := range []string{"body.", "query.", "header.", "path."} {
		if name, ok := strings.CutPrefix(location, place); ok {
			return name
		}
	}
	return location
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Retryable reports whether the same request may pass later.
func (e *Error) Retryable() bool {
	switch e.Status {
	case 0:
		return e.Unanswered && !errors.Is(e.Cause, context.Canceled) && !errors.Is(e.Cause, context.DeadlineExceeded)
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict:
		return e.Problem != nil && e.Problem.Code == "idempotency_in_progress"
	}
	return false
}

// Ambiguous reports whether the request may have been carried out all the same: then it is
// made again under the same key, or not at all.
func (e *Error) Ambiguous() bool {
	return e.Unanswered || e.Status >= 500 || e.Problem != nil && e.Problem.Code == "idempotency_in_progress"
}

// during is the error of a wait that was ended by err.
func (e *Error) during(err error) *Error {
	return &Error{Status: e.Status, Cause: err, Unanswered: e.Ambiguous()}
}

// refusal is the error of an answer that is not 2xx.
func refusal(req *http.Request, resp *http.Response, body []byte) *Error {
	e := &Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	var p api.Problem
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "application/problem+json" && json.Unmarshal(body, &p) == nil && p.Code != "" {
		e.Problem = &p
		return e
	}
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		e.Cause = fmt.Errorf("%s leads to %s: give that as the URL of the API, if it is right", req.URL.Host, shown(to))
		return e
	}
	e.Cause = notOurs(req, resp).Cause
	return e
}

// notOurs is an answer that something else than the gateway gave.
func notOurs(req *http.Request, resp *http.Response) *Error {
	kind := resp.Header.Get("Content-Type")
	if kind == "" {
		kind = "nothing"
	}
	return &Error{Status: resp.StatusCode, Cause: fmt.Errorf("%s answers %s with %d and %s, as the API does not: see whether its URL is right, and whether a proxy answers in its place",
		req.URL.Host, req.URL.Path, resp.StatusCode, shown(kind))}
}
