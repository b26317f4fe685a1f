package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// SessionTable knows the live sessions of SMPP and MM4, of all processes.
type SessionTable interface {
	// Sessions lists them, newest first, older than before.
	Sessions(ctx context.Context, f snapshot.SessionFilter, before message.ID, limit int) ([]snapshot.Session, error)
	// EndSession has the process that holds a session end it within 5 seconds, and leaves a
	// line in the audit log; ReasonNotFound when there is none.
	EndSession(ctx context.Context, by message.Actor, id message.ID) error
}

const sessionPath = adminPrefix + "/sessions"

type liveSessionResource struct {
	_                struct{} `json:"-" additionalProperties:"true"`
	ID               string   `json:"id" format:"uuid"`
	Protocol         string   `json:"protocol" enum:"smpp,mm4"`
	Kind             *string  `json:"kind" enum:"customer,vendor" doc:"null: it has not shown who it is"`
	AccountID        *string  `json:"account_id" format:"uuid" doc:"null: it is no customer's"`
	VendorID         *string  `json:"vendor_id" format:"uuid" doc:"null: it is no vendor's"`
	Name             *string  `json:"name" doc:"Its system_id, or the name of the MM4 peer" example:"acme1"`
	BindType         *string  `json:"bind_type" enum:"receiver,transmitter,transceiver" doc:"null: it is of MM4"`
	State            string   `json:"state" enum:"bound,opening,idle,mail,data,commit" doc:"bound: of SMPP. Of MM4 as it was at most 10 seconds ago"`
	Address          *string  `json:"address" doc:"Where it comes from" example:"192.0.2.7"`
	TLS              bool     `json:"tls"`
	InterfaceVersion *int     `json:"interface_version" doc:"Of SMPP, as the ESME said, 52 for 3.4"`
	Mails            *int     `json:"mails" doc:"Of MM4: mails that were taken, at most 10 seconds ago"`
	Replica          string   `json:"replica" doc:"The process that holds it" example:"gw-1-17-abcdef"`
	Ending           bool     `json:"ending" doc:"Its end was asked for"`
	BeganAt          string   `json:"began_at" format:"date-time"`
	SeenAt           string   `json:"seen_at" format:"date-time"`
}

func liveSessionOf(s snapshot.Session) liveSessionResource {
	r := liveSessionResource{ID: s.ID.String(), Protocol: s.Protocol, AccountID: optionalID(s.AccountID), VendorID: optionalID(s.VendorID), Name: optional(s.Name),
		BindType: optional(s.Mode), State: s.State, Address: optional(s.Address), TLS: s.TLS, InterfaceVersion: optionalPort(int(s.Version)), Replica: s.Replica,
		Ending: s.Ending, BeganAt: stamp(s.BeganAt), SeenAt: stamp(s.SeenAt)}
	switch {
	case s.VendorID != (message.ID{}):
		r.Kind = optional(string(snapshot.OwnerVendor))
	case s.AccountID != (message.ID{}):
		r.Kind = optional(string(snapshot.OwnerCustomer))
	}
	if s.Protocol == "mm4" {
		r.Mails = &s.Mails
	}
	return r
}

func (s *Server) registerSessions(api huma.API) {
	tags := []string{"Sessions"}
	register(api, s.operation(huma.Operation{
		OperationID: "listSessions", Method: http.MethodGet, Path: sessionPath, Tags: tags, Summary: "List the live sessions of SMPP and MM4",
		Description: "Those that customers and vendors have opened to any of the gateway's processes, the newest first. One of a process that has died is listed for 30 seconds more. Our own links to vendors are at `" + vendorPath + "/status`.",
	}, anyStaff()), s.listLiveSessions, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "endSession", Method: http.MethodDelete, Path: sessionPath + "/{id}", Tags: tags, Summary: "End a session",
		Description:   "The process that holds it does so within 5 seconds: an SMPP session is unbound once what it has under way is answered, an MM4 session is told 421. Nothing keeps the peer from coming back: for that there is `enabled` of an SMPP user, and `is_active` of an MM4 peer.",
		DefaultStatus: http.StatusNoContent,
	}, staff(snapshot.RoleOperator), 404), s.endSession, nil)
}

type sessionListInput struct {
	Page
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this customer alone"`
	VendorID  string `query:"vendor_id" maxLength:"36" doc:"Of this vendor alone"`
	Kind      string `query:"kind" enum:"customer,vendor" doc:"of a customer, or one that this side made to a vendor"`
	Protocol  string `query:"protocol" enum:"smpp,mm4" doc:"how the two sides speak"`
	Replica   string `query:"replica" maxLength:"254" doc:"Of this process alone"`
}

func (s *Server) listLiveSessions(ctx context.Context, in *sessionListInput) (*output[list[liveSessionResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	f := snapshot.SessionFilter{Kind: snapshot.OwnerKind(in.Kind), Protocol: in.Protocol, Replica: in.Replica}
	var faults faults
	faults.owners(in.AccountID, in.VendorID, &f.AccountID, &f.VendorID)
	queryText(&faults, "query.replica", in.Replica)
	if refusal := faults.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.Sessions.Sessions(ctx, f, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(l snapshot.Session) string { return encodeRowCursor(l.ID) })
	return listed(rows, next, liveSessionOf), nil
}

func (s *Server) endSession(ctx context.Context, in *RowInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err == nil {
		err = s.Admin.Sessions.EndSession(ctx, x.actor(), id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}
