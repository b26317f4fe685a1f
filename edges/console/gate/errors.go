package gate

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// pageError is an error that a page of its own tells of.
type pageError struct {
	status      int
	title, text string
}

func (e *pageError) Error() string { return e.title }

var (
	errForeign = &pageError{http.StatusForbidden, "Not from here", "This form came from another site, so nothing was done."}
	errStale   = &pageError{http.StatusForbidden, "The form is out of date", "The form was open for too long, or in another browser. Nothing was done: please try again."}
	errForm    = &pageError{http.StatusBadRequest, "The form cannot be read", "What was sent is no form of this page, or is too large. Nothing was done."}
	errNoPage  = &pageError{http.StatusNotFound, "There is no such page", "The address may be misspelt."}
	errMethod  = &pageError{http.StatusMethodNotAllowed, "That cannot be done here", "This address takes no such request."}
	errLink    = &pageError{http.StatusNotFound, "This link does not work", "It was used, has expired, or was replaced by a newer one. Ask for a new one."}
	errAway    = &pageError{http.StatusServiceUnavailable, "Please try again", "The gateway cannot do this now. Nothing was lost; try again in a moment."}
)

// tooMany is a refusal for what was tried too often.
type tooMany struct{ wait time.Duration }

func (t *tooMany) Error() string { return "tried too often" }

// seconds is when to come back: whole ones, and one at least.
func (t *tooMany) seconds() int { return max(1, int((t.wait+time.Second-1)/time.Second)) }

// held shows a refusal where it was asked for, if err is one.
func (v *visit) held(err error, show func(text string) error) error {
	var t *tooMany
	if !errors.As(err, &t) {
		return err
	}
	v.w.Header().Set("Retry-After", strconv.Itoa(t.seconds()))
	wait := fmt.Sprintf("%d seconds", t.seconds())
	if minutes := (t.seconds() + 59) / 60; minutes > 1 {
		wait = fmt.Sprintf("%d minutes", minutes)
	}
	return show("Too many wrong tries. Wait " + wait + ", then try again.")
}

// fail answers a request that could not be served. What is our fault is logged.
func (v *visit) fail(err error) {
	var page *pageError
	var much *tooMany
	switch {
	case errors.As(err, &page):
	case errors.As(err, &much):
		_ = v.held(err, func(text string) error { // it is one
			page = &pageError{http.StatusTooManyRequests, "Please wait", text}
			return nil
		})
	case message.ReasonOf(err) == message.ReasonUnauthenticated:
		v.setCookie("", "")
		v.in = false
		err = v.toSignIn()
	case message.ReasonOf(err) == message.ReasonInvalidRequest, message.ReasonOf(err) == message.ReasonConflict, message.ReasonOf(err) == message.ReasonNotFound:
		page = errForm
	default:
		page = errAway
		if v.r.Context().Err() == nil {
			v.gate.Log.Error("page of the sign-in failed", "door", v.gate.Door, "method", v.r.Method, "error", err)
		}
	}
	if page != nil {
		err = v.showError(page)
	}
	if err != nil && v.r.Context().Err() == nil {
		v.gate.Log.Error("page not shown", "door", v.gate.Door, "error", err)
	}
}
