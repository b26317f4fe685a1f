// Package twilio serves messages as Twilio's API does, so that a program which sends with a
// library of Twilio's sends here once its base URL is another one. It reads forms, writes
// JSON and knows the words; who may, rates, idempotency and the record are package rest's.
//
// The rule not to break: what has no counterpart here is refused with an error that says so,
// unless leaving it out changes nothing that the sender would notice.
package twilio

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/twilio"
)

// Prefix is where the door is.
const Prefix = "/" + twilio.APIVersion

// The scope that reading needs.
const readMessages = "messages:read"

// Door is Twilio's messages. The zero value is ready.
type Door struct{}

type server struct{ desk *rest.Desk }

// Mount registers the paths.
func (Door) Mount(r chi.Router, desk *rest.Desk) {
	s := &server{desk}
	r.Route(Prefix, func(r chi.Router) {
		r.NotFound(desk.Named("twilioNotFound", func(w http.ResponseWriter, _ *http.Request) { notFound(w) }))
		r.MethodNotAllowed(desk.Named("twilioNotAllowed", func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusMethodNotAllowed, twilio.CodeMethod, "Method not allowed: messages are not deleted here, their texts go as the account's content_retention_days says")
		}))
		at := func(operation string, by func(*call)) http.HandlerFunc {
			return desk.Named(operation, s.served(by))
		}
		r.Get("/Accounts/{account}", at("twilioAccount", (*call).account))
		r.Get("/Accounts/{account}/Messages.json", at("twilioListMessages", (*call).list))
		r.Post("/Accounts/{account}/Messages.json", at("twilioSendMessage", (*call).create))
		r.Get("/Accounts/{account}/Messages/{message}", at("twilioGetMessage", (*call).fetch))
		r.Post("/Accounts/{account}/Messages/{message}", at("twilioUpdateMessage", (*call).update))
		r.Get("/Accounts/{account}/Messages/{message}/Media.json", at("twilioListMedia", (*call).listMedia))
		r.Get("/Accounts/{account}/Messages/{message}/Media/{media}", at("twilioGetMedia", (*call).fetchMedia))
	})
}

// call is one request of a guest.
type call struct {
	*server
	w     http.ResponseWriter
	r     *http.Request
	guest *rest.Guest
}

// served finds out who asks, and that he asks about his own account.
func (s *server) served(by func(*call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{server: s, w: w, r: r}
		user, password, ok := r.BasicAuth()
		if !ok {
			unauthenticated(w)
			return
		}
		guest, err := s.desk.Admit(r, s.candidates(user), secretOf(password))
		if err != nil {
			c.fail(err)
			return
		}
		c.guest = guest
		if id, ok := twilio.ParseSID(strings.TrimSuffix(chi.URLParam(r, "account"), ".json"), twilio.AccountPrefix); !ok || id != guest.Account().ID {
			notFound(w)
			return
		}
		by(c)
	}
}

// candidates are the credentials that a user name may stand for: an account's sid all of the
// account's, a key's sid or an API key that one.
func (s *server) candidates(user string) []*snapshot.Credential {
	snap := s.desk.Snapshot()
	if snap == nil {
		return nil
	}
	if account, ok := twilio.ParseSID(user, twilio.AccountPrefix); ok {
		return s.desk.Credentials(account)
	}
	c := snap.Credentials[user]
	if key, ok := twilio.ParseSID(user, twilio.KeyPrefix); ok {
		c = snap.CredentialByID(key)
	}
	if c == nil {
		return nil
	}
	return []*snapshot.Credential{c}
}

// secretOf is the API secret of a password. Some of Twilio's libraries take letters and
// digits only: for them the secret is written in hexadecimal.
func secretOf(password string) string {
	if plain, err := hex.DecodeString(password); err == nil && strings.HasPrefix(string(plain), secret.APISecretPrefix) {
		return string(plain)
	}
	return password
}

// uri is the path of a resource of the caller's account.
func (c *call) uri(rest string) string {
	return Prefix + "/Accounts/" + twilio.SID(twilio.AccountPrefix, c.guest.Account().ID) + rest
}

func (c *call) answer(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		c.fail(err)
		return
	}
	write(c.w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a peer that has gone needs no answer
}

// message reads the message of the path; nil: the answer was given.
func (c *call) message() *message.Message {
	id, ok := twilio.ParseSID(strings.TrimSuffix(chi.URLParam(c.r, "message"), ".json"), twilio.SMSPrefix, twilio.MMSPrefix)
	if !ok {
		notFound(c.w)
		return nil
	}
	ctx, cancel := c.desk.Context(c.r)
	defer cancel()
	m, err := c.guest.Message(ctx, id)
	if err != nil {
		c.fail(err)
		return nil
	}
	return m
}

// account answers for the account itself, which libraries ask for to see whether their
// credentials are right.
func (c *call) account() {
	if !strings.HasSuffix(chi.URLParam(c.r, "account"), ".json") {
		notFound(c.w)
		return
	}
	if err := c.guest.Read(readMessages); err != nil {
		c.fail(err)
		return
	}
	c.answer(http.StatusOK, map[string]any{
		"sid": twilio.SID(twilio.AccountPrefix, c.guest.Account().ID), "friendly_name": c.guest.Account().CompanyName, "status": "active", "type": "Full",
		"uri": c.uri(".json"), "subresource_uris": map[string]string{"messages": c.uri("/Messages.json")},
	})
}
