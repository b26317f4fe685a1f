// Package jasmin serves messages as Jasmin's HTTP API does: /send, /rate, /balance and
// /ping, with credentials among the parameters, so that a program which sends through a
// Jasmin sends here once its host name is another one.
//
// The rule not to break: nothing of a request is logged or repeated in an answer but the
// names of parameters and what cannot be secret, since user names, passwords and texts
// stand in URLs.
package jasmin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// Door is Jasmin's HTTP API. The zero value is ready.
type Door struct{}

type server struct{ desk *rest.Desk }

// Mount registers the paths.
func (Door) Mount(r chi.Router, desk *rest.Desk) {
	s := &server{desk}
	send, rate, balance := desk.Named("jasminSend", s.send), desk.Named("jasminRate", s.rate), desk.Named("jasminBalance", s.balance)
	r.Get("/send", send)
	r.Post("/send", send)
	r.Get("/rate", rate)
	r.Post("/rate", rate)
	r.Get("/balance", balance)
	r.Post("/balance", balance)
	r.Get("/ping", desk.Named("jasminPing", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "Jasmin/PONG") }))
}

// refusal is an error in Jasmin's words.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // a peer that has gone needs no answer
}

func asJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and strings: it cannot happen
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a peer that has gone needs no answer
}

// The words that programs may look for.
const (
	noArguments  = "Mandatory arguments not found, please refer to the HTTPAPI specifications."
	noRoute      = "No route found"
	cannotCharge = "Cannot charge submit_sm, check RouterPB log file for details"
	tooFast      = "User throughput exceeded"
	cannotSend   = "Cannot send submit_sm, check SMPPClientManagerPB log file for details"
)

// refused says an error in Jasmin's words, for who is called user.
func (s *server) refused(w http.ResponseWriter, r *http.Request, err error, user string) *refusal {
	var own *refusal
	if errors.As(err, &own) {
		return own
	}
	e := s.desk.Refusal(r, err)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", e.Seconds())
	}
	return said(e.Reason, e.Status, e.Detail, user)
}

// said is a reason in Jasmin's words.
func said(reason message.Reason, status int, detail, user string) *refusal {
	switch reason {
	case message.ReasonUnauthenticated:
		return &refusal{http.StatusForbidden, "Authentication failure for username:" + shown(user)}
	case message.ReasonForbidden, message.ReasonAccountSuspended:
		return &refusal{http.StatusForbidden, "Authorization failed for username:" + shown(user)}
	case message.ReasonNoRoute:
		return &refusal{http.StatusPreconditionFailed, noRoute}
	case message.ReasonInsufficientBalance, message.ReasonQuotaExceeded:
		return &refusal{http.StatusForbidden, cannotCharge}
	case message.ReasonRateLimitExceeded, message.ReasonQueueFull:
		return &refusal{http.StatusForbidden, tooFast}
	}
	if status >= http.StatusInternalServerError {
		return &refusal{http.StatusInternalServerError, cannotSend}
	}
	return &refusal{http.StatusBadRequest, string(reason) + ": " + strings.ReplaceAll(detail, `"`, "'")}
}

// parameters reads those of the query and of the body, which is a form or a JSON object.
// Of several of a name the first counts.
func parameters(w http.ResponseWriter, r *http.Request) (url.Values, []byte, error) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return rest.ReadForm(w, r, true)
	}
	body, err := rest.ReadBody(w, r)
	if err != nil {
		return nil, nil, err
	}
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, message.Refuse(message.ReasonInvalidRequest, "the query cannot be read")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, nil, message.Refuse(message.ReasonInvalidRequest, "the body is no JSON object")
	}
	for name, raw := range members {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw) // a number, as it is written
		}
		all[name] = append(all[name], text)
	}
	return all, body, nil
}

// admit lets in who has an API key and its secret, or an SMPP system_id and its password:
// users of a Jasmin have one name and password for both its interfaces.
func (s *server) admit(r *http.Request, user, password string) (*rest.Guest, error) {
	snap := s.desk.Snapshot()
	if snap != nil && snap.Credentials[user] == nil && !strings.HasPrefix(user, secret.APIKeyPrefix) {
		return s.desk.AdmitESME(r, user, password)
	}
	var candidates []*snapshot.Credential
	if snap != nil && snap.Credentials[user] != nil {
		candidates = append(candidates, snap.Credentials[user])
	}
	return s.desk.Admit(r, candidates, password)
}

// balance tells what the account has: ND of one that does not pay in advance, as Jasmin says
// of a user without a quota.
func (s *server) balance(w http.ResponseWriter, r *http.Request) {
	user := ""
	fail := func(err error) {
		e := s.refused(w, r, err, user)
		asJSON(w, e.status, e.text)
	}
	p, _, err := parameters(w, r)
	if err == nil {
		err = check(p, credentialFields)
	}
	if err != nil {
		fail(err)
		return
	}
	user = p.Get("username")
	guest, err := s.admit(r, user, p.Get("password"))
	if err == nil {
		err = guest.Read("usage:read")
	}
	if err != nil {
		fail(err)
		return
	}
	ctx, cancel := s.desk.Context(r)
	defer cancel()
	b, err := guest.Balance(ctx)
	if err != nil {
		fail(err)
		return
	}
	var amount any = "ND"
	if b.Prepaid {
		amount = json.Number((b.Amount - b.Reserved).String())
	}
	asJSON(w, http.StatusOK, map[string]any{"balance": amount, "sms_count": "ND"})
}
