package rest

import (
	"cmp"
	"context"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// Users keeps who may use the portal for an account: see Accounts. Of the token of an
// invitation it is given the keyed hash.
type Users interface {
	PortalUsers(ctx context.Context, account, before message.ID, limit int) ([]snapshot.PortalUser, error)
	// InvitePortalUser is ReasonConflict for an account that has `most` already, and for
	// an address that a user of the account has.
	InvitePortalUser(ctx context.Context, by message.Actor, u snapshot.PortalUser, most int, token []byte, good time.Duration, answer func(snapshot.PortalUser) (message.Idempotency, error)) (snapshot.PortalUser, *message.Idempotency, error)
	// InviteAgain ends the link before; ReasonConflict for a user who is not active.
	InviteAgain(ctx context.Context, by message.Actor, account, id message.ID, token []byte, good time.Duration) (snapshot.PortalUser, error)
	InvitationSent(ctx context.Context, user message.ID, token []byte) error
	// ChangePortalUser keeps name, scopes and active. ReasonConflict when nobody would be
	// left who could let others in.
	ChangePortalUser(ctx context.Context, by message.Actor, account, id message.ID, change func(*snapshot.PortalUser) error) (snapshot.PortalUser, error)
	RemovePortalUser(ctx context.Context, by message.Actor, account, id message.ID, check func(snapshot.PortalUser) error) error
}

const (
	maxUsers = 200 // of an account
	// invitationGood is how long a link can be used.
	invitationGood = 72 * time.Hour
	// invitePath is where a link leads, with its token behind it.
	invitePath = "/portal/invitations/"
)

type userResource struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	ID          string   `json:"id" format:"uuid"`
	Email       string   `json:"email" example:"ada@shop.example"`
	Name        *string  `json:"name" example:"Ada"`
	Scopes      []string `json:"scopes" nullable:"false"`
	Active      bool     `json:"active"`
	Invitation  string   `json:"invitation" enum:"none,sent,not_sent,expired,accepted" doc:"How far the link is with which the user chooses a password; not_sent: the e-mail could not be handed over, invite again"`
	ExpiresAt   *string  `json:"invitation_expires_at" format:"date-time" doc:"Of the open link"`
	LastLoginAt *string  `json:"last_login_at" format:"date-time"`
	CreatedAt   string   `json:"created_at" format:"date-time"`
	UpdatedAt   string   `json:"updated_at" format:"date-time"`
}

func (s *Server) userOf(u snapshot.PortalUser) userResource {
	r := userResource{ID: u.ID.String(), Email: u.Email, Name: optional(u.Name), Scopes: append([]string{}, u.Scopes...), Active: u.Active, Invitation: "none",
		ExpiresAt: optionalTime(u.Invitation.ExpiresAt), LastLoginAt: optionalTime(u.LastLoginAt), CreatedAt: stamp(u.CreatedAt), UpdatedAt: stamp(u.UpdatedAt)}
	switch open := u.Invitation; {
	case open.ExpiresAt.IsZero() && u.Joined:
		r.Invitation = "accepted"
	case open.ExpiresAt.IsZero():
	case !s.now().Before(open.ExpiresAt):
		r.Invitation = "expired"
	case open.SentAt.IsZero():
		r.Invitation = "not_sent"
	default:
		r.Invitation = "sent"
	}
	return r
}

// userTag is of what is set, not of who logs in.
func userTag(u snapshot.PortalUser) string {
	return contentTag("user", u.ID, u.Name, u.Scopes, u.Active, u.PasswordID)
}

type userBody struct {
	Email  string   `json:"email" maxLength:"254" format:"email" example:"ada@shop.example"`
	Name   string   `json:"name,omitempty" maxLength:"200"`
	Scopes []string `json:"scopes" minItems:"1" nullable:"false" doc:"Only such as your own credential has" example:"[\"messages:read\",\"usage:read\"]"`
}

type userPatch struct {
	Name   *string  `json:"name,omitempty" maxLength:"200" nullable:"true"`
	Scopes []string `json:"scopes,omitempty" minItems:"1" nullable:"false"`
	Active *bool    `json:"active,omitempty"`
}

// userMember reads what both bodies have.
func userMember(u *snapshot.PortalUser, d *decoder, name, location string) (bool, error) {
	switch name {
	case "name":
		var given *string
		err := d.merged(location, &given, oneLine)
		if given != nil {
			u.Name = *given
		}
		return true, err
	case "scopes":
		var list *[]string
		err := d.texts(location, &list, maxListed)
		if list != nil {
			u.Scopes = sorted(*list)
		}
		return true, err
	}
	return false, nil
}

func checkUser(d *decoder, by *caller, u *snapshot.PortalUser, had []string) {
	d.most("body.name", u.Name, maxName)
	if len(u.Scopes) == 0 && !d.faulty("body.scopes") {
		d.invalid("body.scopes", "is required: what the user may do, such as [\"messages:read\"]")
	}
	by.handsOn(&d.faults, "body.scopes", u.Scopes, had)
}

const userPath = "/v1/users"

func (s *Server) registerUsers(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Account"}
	plain := access{scope: scopeAccountWrite, rate: asRequest}
	takes := access{scope: scopeAccountWrite, rate: asRequest, bodies: []string{jsonType, patchType}}
	const auth, one = ` -u "$API_KEY:$API_SECRET"`, userPath + "/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"
	register(api, s.operation(keyed[userResource](api, huma.Operation{
		OperationID: "createUser", Method: http.MethodPost, Path: userPath, Tags: tags, Summary: "Invite a user of the portal",
		Description: "The user gets a link by e-mail, good once and for 72 hours, to choose a password. An account has at most 200 users.",
		Extensions:  example(`curl -sS ` + exampleHost + userPath + auth + ` -H 'Content-Type: application/json' -d '{"email":"ada@shop.example","name":"Ada","scopes":["messages:read"]}'`),
	}), access{scope: scopeAccountWrite, rate: asRequest, bodies: []string{jsonType}}, 400, 409, 413, 415), s.createUser, bodyOf[userBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listUsers", Method: http.MethodGet, Path: userPath, Tags: tags, Summary: "List the users of the portal", Description: "Newest first.",
		Extensions: example(`curl -sS ` + exampleHost + userPath + auth),
	}, plain), s.listUsers, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeUser", Method: http.MethodPatch, Path: userPath + "/{id}", Tags: tags, Summary: "Change a user of the portal",
		Description: "A merge patch: what is left out stays. Of the users who have chosen a password, one who is active keeps `account:write`.",
		Extensions:  example(`curl -sS -X PATCH ` + exampleHost + one + auth + ` -H 'Content-Type: application/json' -d '{"active":false}'`),
	}, takes, 400, 404, 409, 412, 413, 415), s.changeUser, bodyOf[userPatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeUser", Method: http.MethodDelete, Path: userPath + "/{id}", Tags: tags, Summary: "Remove a user of the portal", DefaultStatus: http.StatusNoContent,
		Extensions: example(`curl -sS -X DELETE ` + exampleHost + one + auth),
	}, plain, 404, 409, 412), s.removeUser, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "inviteUser", Method: http.MethodPost, Path: userPath + "/{id}/invite", Tags: tags, Summary: "Invite a user again",
		Description: "For one who has lost the link or forgotten the password: a new link is sent, and the one before ends. The password holds until another is chosen.",
		Extensions:  example(`curl -sS -X POST ` + exampleHost + one + `/invite` + auth),
	}, plain, 404, 409), s.inviteUser, nil)
}

var errNoUsers = message.Refuse(message.ReasonUnavailable, "users are not served here")

// errNoMail: a user who cannot be told is not made.
var errNoMail = message.Refuse(message.ReasonUnavailable, "this gateway sends no e-mail, so nobody can be invited; its operator sets EMAIL_RELAY")

func (s *Server) beginUsers(ctx context.Context, invites bool) (context.Context, context.CancelFunc, *exchange, error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	switch {
	case s.Users == nil:
		return ctx, cancel, x, s.problem(x, errNoUsers, 0)
	case invites && s.Invite == nil:
		return ctx, cancel, x, s.problem(x, errNoMail, 0)
	}
	return ctx, cancel, x, nil
}

// invitation is a new token and what is stored of it. It is as hard to guess as the
// secret of an API key.
func (s *Server) invitation() (token string, hash []byte) {
	token = strings.TrimPrefix(secret.NewAPISecret().Reveal(), secret.APISecretPrefix)
	return token, s.HashSecret(token)
}

// send hands a link over, and gives the user as he is then. What fails is shown as such:
// he is made all the same, and can be invited again.
func (s *Server) send(ctx context.Context, x *exchange, u snapshot.PortalUser, token string, hash []byte) snapshot.PortalUser {
	link := strings.TrimSuffix(cmp.Or(s.PublicURL, exampleHost), "/") + invitePath + url.PathEscape(token)
	if err := s.Invite(ctx, Invitation{To: u.Email, Account: x.caller.account.CompanyName, Link: link, ExpiresAt: u.Invitation.ExpiresAt}); err != nil {
		s.log.Warn("invitation not sent", "request_id", x.requestID, "user", u.ID, "error", err)
		return u
	}
	u.Invitation.SentAt = s.now()
	if err := s.Users.InvitationSent(ctx, u.ID, hash); err != nil {
		s.log.Warn("invitation sent, which is not noted", "request_id", x.requestID, "user", u.ID, "error", err)
	}
	return u
}

// Invitation is what a user of the portal is sent. Its link is a secret.
type Invitation struct {
	To        string // an e-mail address
	Account   string // the company's name
	Link      string
	ExpiresAt time.Time
}

func (s *Server) createUser(ctx context.Context, in *rawInput) (*madeOutput, error) {
	ctx, cancel, x, err := s.beginUsers(ctx, true)
	defer cancel()
	if err != nil {
		return nil, err
	}
	u := snapshot.PortalUser{ID: message.NewID(), AccountID: x.caller.account.ID}
	token, hash := s.invitation()
	return perform(ctx, s, in.RawBody, making[snapshot.PortalUser]{
		status: http.StatusCreated,
		read: func() (int, *message.Error) {
			return readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
				if name == "email" {
					return true, d.parsed(location, func(s string) { u.Email = strings.ToLower(s) })
				}
				return userMember(&u, d, name, location)
			}, func(d *decoder) {
				if a, err := mail.ParseAddress(u.Email); !d.faulty("body.email") && (err != nil || a.Name != "" || a.Address != u.Email || len(u.Email) > 254 || strings.ContainsAny(u.Email, " \"")) {
					d.invalid("body.email", "must be an e-mail address, such as ada@shop.example")
				}
				checkUser(d, &x.caller, &u, nil)
			})
		},
		do: func(ctx context.Context, answer func(snapshot.PortalUser) (message.Idempotency, error)) (snapshot.PortalUser, *message.Idempotency, error) {
			made, replay, err := s.Users.InvitePortalUser(ctx, x.changer(), u, maxUsers, hash, invitationGood, answer)
			if err == nil && replay == nil {
				made = s.send(ctx, x, made, token, hash)
			}
			return made, replay, err
		},
		show: func(u snapshot.PortalUser) any { return s.userOf(u) },
		path: userPath,
	})
}

func (s *Server) listUsers(ctx context.Context, in *Page) (*output[list[userResource]], error) {
	ctx, cancel, x, err := s.beginUsers(ctx, false)
	defer cancel()
	if err != nil {
		return nil, err
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Users.PortalUsers(ctx, x.caller.account.ID, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, *in, func(u snapshot.PortalUser) string { return encodeRowCursor(u.ID) })
	return listed(rows, next, s.userOf), nil
}

func (s *Server) changeUser(ctx context.Context, in *idChange) (*entity[userResource], error) {
	ctx, cancel, x, err := s.beginUsers(ctx, false)
	defer cancel()
	if err != nil {
		return nil, err
	}
	status := 0
	id, err := in.row()
	var u snapshot.PortalUser
	if err == nil {
		u, err = s.Users.ChangePortalUser(ctx, x.changer(), x.caller.account.ID, id, func(u *snapshot.PortalUser) error {
			if err := in.check(userTag(*u)); err != nil {
				return err
			}
			had := u.Scopes
			var refusal *message.Error
			if status, refusal = readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
				switch name {
				case "active":
					return true, d.bool(location, &u.Active)
				case "email":
					d.invalid(location, "cannot be changed: it is who was invited; remove the user and invite another")
					return true, d.skip()
				}
				return userMember(u, d, name, location)
			}, func(d *decoder) { checkUser(d, &x.caller, u, had) }); refusal != nil {
				return refusal
			}
			return nil
		})
	}
	if err != nil {
		return nil, s.problem(x, err, max(status, changeStatus(err)))
	}
	return &entity[userResource]{ETag: userTag(u), Body: s.userOf(u)}, nil
}

func (s *Server) removeUser(ctx context.Context, in *idRemoval) (*nothing, error) {
	ctx, cancel, x, err := s.beginUsers(ctx, false)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := in.row()
	if err == nil {
		err = s.Users.RemovePortalUser(ctx, x.changer(), x.caller.account.ID, id, func(u snapshot.PortalUser) error { return in.check(userTag(u)) })
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return &nothing{}, nil
}

func (s *Server) inviteUser(ctx context.Context, in *RowInput) (*output[userResource], error) {
	ctx, cancel, x, err := s.beginUsers(ctx, true)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := in.row()
	token, hash := s.invitation()
	var u snapshot.PortalUser
	if err == nil {
		u, err = s.Users.InviteAgain(ctx, x.changer(), x.caller.account.ID, id, hash, invitationGood)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[userResource]{Body: s.userOf(s.send(ctx, x, u, token, hash))}, nil
}
