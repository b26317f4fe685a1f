package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// StaffTable keeps those who may log in. A method that changes something leaves a
// line in the audit log.
type StaffTable interface {
	StaffList(ctx context.Context, before message.ID, limit int) ([]snapshot.StaffMember, error)
	// StaffMember reads one; ReasonNotFound when there is none.
	StaffMember(ctx context.Context, id message.ID) (snapshot.StaffMember, error)
	// CreateStaff is ReasonConflict for an e-mail address that somebody has.
	CreateStaff(ctx context.Context, by message.Actor, m snapshot.Staff) (snapshot.StaffMember, error)
	// ChangeStaff is ReasonConflict for what would leave nobody who is admin.
	ChangeStaff(ctx context.Context, by message.Actor, id message.ID, c snapshot.StaffChange) (snapshot.StaffMember, error)
	// InviteStaff is ReasonConflict for somebody who has a password or is not active. Of
	// the link's token it is given the keyed hash.
	InviteStaff(ctx context.Context, by message.Actor, m snapshot.Staff, token []byte, good time.Duration) (snapshot.StaffMember, error)
	// RemoveSecondFactor is ReasonNotFound without one.
	RemoveSecondFactor(ctx context.Context, by message.Actor, door snapshot.Door, person message.ID) error
}

// staffBody is the body of both a new member of staff and a change of one.
type staffBody struct {
	Email    string `json:"email" maxLength:"254" format:"email" doc:"Names the person in the audit log, and never changes" example:"ada@gw.example"`
	Name     string `json:"name,omitempty" maxLength:"200" example:"Ada Lovelace"`
	Role     string `json:"role" enum:"admin,operator,support,compliance,viewer"`
	Password string `json:"password,omitempty" minLength:"12" maxLength:"72" doc:"Left out: one is made, and shown once."`
}

// staffPatch is the body of a change. What is left out stays.
type staffPatch struct {
	Name     string `json:"name,omitempty" maxLength:"200"`
	Role     string `json:"role,omitempty" enum:"admin,operator,support,compliance,viewer" doc:"Another role ends the access tokens of the one before."`
	Active   *bool  `json:"active,omitempty" doc:"false: may not log in, and tokens end."`
	Password string `json:"password,omitempty" minLength:"12" maxLength:"72" doc:"Ends the access tokens of the one before."`
}

type staffResource struct {
	_            struct{} `json:"-" additionalProperties:"true"`
	ID           string   `json:"id" format:"uuid"`
	Email        string   `json:"email" example:"ada@gw.example"`
	Name         string   `json:"name"`
	Role         string   `json:"role" enum:"admin,operator,support,compliance,viewer"`
	Active       bool     `json:"active"`
	Password     *string  `json:"password,omitempty" nullable:"false" doc:"Shown once, when it was made here"`
	LastLoginAt  *string  `json:"last_login_at" format:"date-time"`
	FailedTries  int      `json:"failed_tries" doc:"Wrong passwords since the last login"`
	LastFailedAt *string  `json:"last_failed_at" format:"date-time"`
	Joined       bool     `json:"joined" doc:"false: invited, and no password was chosen yet"`
	SecondFactor bool     `json:"second_factor" doc:"A code of an authenticator app is asked for at a sign-in"`
	InvitedUntil *string  `json:"invited_until" format:"date-time" doc:"When the link of the invitation ends, or has ended; null: none is open"`
	CreatedAt    string   `json:"created_at" format:"date-time"`
	UpdatedAt    string   `json:"updated_at" format:"date-time"`
}

func staffOf(m snapshot.StaffMember) staffResource {
	return staffResource{
		ID: m.ID.String(), Email: m.Email, Name: m.Name, Role: string(m.Role), Active: m.Active,
		LastLoginAt: optionalTime(m.LastLoginAt), FailedTries: m.FailedTries, LastFailedAt: optionalTime(m.LastFailedAt),
		Joined: m.Joined, SecondFactor: m.SecondFactor, InvitedUntil: optionalTime(m.InvitedUntil),
		CreatedAt: stamp(m.CreatedAt), UpdatedAt: stamp(m.UpdatedAt),
	}
}

const staffPath = adminPrefix + "/staff"

func (s *Server) registerStaff(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Staff"}
	register(api, s.operation(huma.Operation{
		OperationID: "listStaff", Method: http.MethodGet, Path: staffPath, Tags: tags, Summary: "List staff", Description: "Newest first.",
	}, staff()), s.listStaff, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createStaff", Method: http.MethodPost, Path: staffPath, Tags: tags, Summary: "Let somebody log in", DefaultStatus: http.StatusCreated,
	}, staff().taking(), 400, 409, 413, 415), s.createStaff, bodyOf[staffBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getStaff", Method: http.MethodGet, Path: staffPath + "/{id}", Tags: tags, Summary: "Read a member of staff",
	}, staff(), 404), s.getStaff, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeStaff", Method: http.MethodPatch, Path: staffPath + "/{id}", Tags: tags, Summary: "Change name, role, password, or whether somebody may log in",
		Description: "The last active admin stays one.",
	}, staff().taking(), 400, 404, 409, 413, 415), s.changeStaff, bodyOf[staffPatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeStaff", Method: http.MethodDelete, Path: staffPath + "/{id}", Tags: tags, Summary: "Let somebody log in no longer",
		Description: "What they did stays under their name; `active` lets them log in again.", DefaultStatus: http.StatusNoContent,
	}, staff(), 404, 409), s.removeStaff, nil)
	s.registerStaffInvitations(api)
}

func (s *Server) listStaff(ctx context.Context, in *Page) (*output[list[staffResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	members, err := s.Admin.Staff.StaffList(ctx, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	members, next := page(members, *in, func(m snapshot.StaffMember) string { return encodeRowCursor(m.ID) })
	return listed(members, next, staffOf), nil
}

func (s *Server) getStaff(ctx context.Context, in *RowInput) (*output[staffResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := in.row()
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	m, err := s.Admin.Staff.StaffMember(ctx, id)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[staffResource]{Body: staffOf(m)}, nil
}

func (in *staffBody) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "email":
		return true, d.text(location, &in.Email, oneLine)
	case "name":
		return true, d.text(location, &in.Name, oneLine)
	case "role":
		return true, d.choice(location, &in.Role, roleNames(snapshot.Roles())...)
	case "password":
		return true, d.text(location, &in.Password, oneLine)
	}
	return false, nil
}

func (in *staffBody) check(d *decoder) {
	in.Email = strings.ToLower(strings.TrimSpace(in.Email))
	if !d.faulty("body.email") && !emailAddress(in.Email) {
		d.invalid("body.email", "is required: an e-mail address such as ada@gw.example")
	}
	if in.Role == "" && !d.faulty("body.role") {
		d.invalid("body.role", "is required: one of %s", quoted(roleNames(snapshot.Roles())))
	}
	d.most("body.name", in.Name, maxName)
	d.password("body.password", in.Password)
}

// maxName is the longest name of somebody or something, in characters.
const maxName = 200

// most refuses a text of more characters.
func (d *decoder) most(location, s string, characters int) {
	if n := utf8.RuneCountInString(s); n > characters {
		d.invalid(location, "has %d characters; at most %d are allowed", n, characters)
	}
}

// password refuses one that is too short or too long; none is all right.
func (d *decoder) password(location, s string) {
	if s != "" && (len(s) < secret.MinPassword || len(s) > secret.MaxPassword) {
		d.invalid(location, "must have %d to %d octets", secret.MinPassword, secret.MaxPassword)
	}
}

// emailAddress is as much of a check as is worth making: staff are few.
func emailAddress(s string) bool {
	name, host, ok := strings.Cut(s, "@")
	return ok && name != "" && host != "" && len(s) <= 254 && !strings.ContainsAny(s, " \t\u00a0") && !strings.Contains(host, "@")
}

func (s *Server) createStaff(ctx context.Context, in *rawInput) (*created[staffResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	var body staffBody
	if status, refusal := readObject(in.RawBody, body.member, body.check); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	var shown *string
	if body.Password == "" {
		body.Password = secret.NewPassword(20).Reveal()
		shown = &body.Password
	}
	hash, err := s.hashPassword(ctx, body.Password)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	m, err := s.Admin.Staff.CreateStaff(ctx, x.actor(), snapshot.Staff{
		ID: message.NewID(), Email: body.Email, Name: body.Name, Role: snapshot.Role(body.Role), PasswordHash: hash, Active: true,
	})
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	r := staffOf(m)
	r.Password = shown
	return &created[staffResource]{Location: staffPath + "/" + r.ID, Body: r}, nil
}

// hashPassword waits for its turn as a login does.
func (s *Server) hashPassword(ctx context.Context, password string) (string, error) {
	if err := s.turns.Take(ctx); err != nil {
		return "", err
	}
	defer s.turns.Give()
	hash, err := s.Admin.Passwords.HashPassword(password)
	if errors.Is(err, secret.ErrPasswordLength) {
		err = message.Because(message.ReasonInvalidRequest, err, "%s", err.Error())
	}
	return hash, err
}

func (s *Server) changeStaff(ctx context.Context, in *rowBody) (*output[staffResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var c snapshot.StaffChange
	var password string
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "name":
			return true, d.optional(location, &c.Name)
		case "role":
			return true, d.parsedChoice(location, roleNames(snapshot.Roles()), func(v string) { c.Role = new(snapshot.Role(v)) })
		case "active":
			return true, d.flag(location, &c.Active)
		case "password":
			return true, d.text(location, &password, oneLine)
		}
		return false, nil
	}, func(d *decoder) {
		if c.Name != nil {
			d.most("body.name", *c.Name, maxName)
		}
		d.password("body.password", password)
	})
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	if password != "" {
		if c.PasswordHash, err = s.hashPassword(ctx, password); err != nil {
			return nil, s.problem(x, err, 0)
		}
	}
	m, err := s.Admin.Staff.ChangeStaff(ctx, x.actor(), id, c)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[staffResource]{Body: staffOf(m)}, nil
}

func (s *Server) removeStaff(ctx context.Context, in *RowInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err == nil {
		_, err = s.Admin.Staff.ChangeStaff(ctx, x.actor(), id, snapshot.StaffChange{Active: new(false)})
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}
