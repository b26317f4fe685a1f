package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// staffInvitation is the body of an invitation.
type staffInvitation struct {
	Email string `json:"email" maxLength:"254" format:"email" doc:"Names the person in the audit log, and never changes" example:"ada@gw.example"`
	Name  string `json:"name,omitempty" maxLength:"200" example:"Ada Lovelace"`
	Role  string `json:"role" enum:"admin,operator,support,compliance,viewer" doc:"Of somebody who was invited before, role and name stay"`
	Send  bool   `json:"send,omitempty" doc:"E-mail the link instead of answering it"`
}

type invitedResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	ID        string   `json:"id" format:"uuid"`
	Email     string   `json:"email"`
	Link      *string  `json:"link" doc:"Shown once: who opens it chooses the password. null: it was sent"`
	ExpiresAt string   `json:"expires_at" format:"date-time"`
}

func (s *Server) registerStaffInvitations(api huma.API) {
	register(api, s.operation(huma.Operation{
		OperationID: "inviteStaff", Method: http.MethodPost, Path: staffPath + "/invite", Tags: []string{"Staff"}, Summary: "Let somebody choose a password by a link",
		Description: "Good once and for 72 hours. Who is not there yet is made; of somebody who was invited before and has no password yet, the link before ends. 409: the person has a password, or is not active. 503: `send`, and this gateway sends no e-mail.",
	}, staff().taking(), 400, 409, 413, 415, 503), s.inviteStaff, bodyOf[staffInvitation](api.OpenAPI().Components.Schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeStaffSecondFactor", Method: http.MethodDelete, Path: staffPath + "/{id}/second-factor", Tags: []string{"Staff"}, Summary: "Take a second factor off",
		Description: "For somebody who has lost the authenticator app and all recovery codes. 404: there is none.", DefaultStatus: http.StatusNoContent,
	}, staff(), 404), s.removeStaffFactor, nil)
}

func (s *Server) inviteStaff(ctx context.Context, in *rawInput) (*output[invitedResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	var body staffBody
	send := false
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "send":
			return true, d.bool(location, &send)
		case "password":
			return false, nil
		}
		return body.member(d, name, location)
	}, body.check)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	if s.Admin.StaffLink == nil || send && s.Admin.SendStaffLink == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "this gateway sends no e-mail: leave send out to be given the link, or set EMAIL_RELAY"), 0)
	}
	link, hash := s.Admin.StaffLink()
	m, err := s.Admin.Staff.InviteStaff(ctx, x.actor(), snapshot.Staff{ID: message.NewID(), Email: body.Email, Name: body.Name, Role: snapshot.Role(body.Role)}, hash, invitationGood)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	r := invitedResource{ID: m.ID.String(), Email: m.Email, ExpiresAt: stamp(m.InvitedUntil)}
	if !send {
		r.Link = &link
		return &output[invitedResource]{Body: r}, nil
	}
	if err := s.Admin.SendStaffLink(ctx, m.Email, link, m.InvitedUntil); err != nil {
		s.log.Warn("invitation not sent", "request_id", x.requestID, "staff", m.ID, "error", err)
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "the invitation could not be e-mailed; invite again, or without send to be given the link"), 0)
	}
	return &output[invitedResource]{Body: r}, nil
}

func (s *Server) removeStaffFactor(ctx context.Context, in *RowInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err == nil {
		_, err = s.Admin.Staff.StaffMember(ctx, id)
	}
	if err == nil {
		err = s.Admin.Staff.RemoveSecondFactor(ctx, x.actor(), snapshot.Console, id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}
