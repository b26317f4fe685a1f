package rest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// AuditLog says who did what.
type AuditLog interface {
	// Audit writes a line about something that changed no configuration, such as
	// the reading of a text. Target may be empty, after nil.
	Audit(ctx context.Context, by message.Actor, action, target string, after any) error
	// AuditLog lists the lines, newest first, older than the line before.
	AuditLog(ctx context.Context, f message.AuditFilter, before int64, limit int) ([]message.AuditEntry, error)
}

type auditResource struct {
	_       struct{}        `json:"-" additionalProperties:"true"`
	ID      int64           `json:"id" doc:"Grows with each line"`
	At      string          `json:"at" format:"date-time"`
	Actor   string          `json:"actor" doc:"E-mail address of staff, key of a service, or name of a program" example:"ada@gw.example"`
	Role    string          `json:"role" example:"operator"`
	Action  string          `json:"action" example:"account.status"`
	Target  string          `json:"target" doc:"What it was done to"`
	Before  json.RawMessage `json:"before"`
	After   json.RawMessage `json:"after"`
	Address string          `json:"address" doc:"Where from"`
	Hash    string          `json:"hash" doc:"SHA-256 over the line and the hash of the line before it, in hex"`
}

// TransformSchema says what the two documents may be.
func (auditResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	for _, name := range []string{"before", "after"} {
		s.Properties[name] = &huma.Schema{Description: "Fields and values", AnyOf: []*huma.Schema{{Type: "object", AdditionalProperties: true}, {Type: "null"}}}
	}
	return s
}

func auditOf(e message.AuditEntry) auditResource {
	return auditResource{
		ID: e.ID, At: stamp(e.At), Actor: e.By.Name, Role: e.By.Role, Action: e.Action, Target: e.Target,
		Before: storedJSON(e.Before), After: storedJSON(e.After), Address: e.By.Address, Hash: hex.EncodeToString(e.Hash),
	}
}

// storedJSON is a stored JSON document, null for none.
func storedJSON(b []byte) json.RawMessage {
	if len(b) == 0 {
		return json.RawMessage("null")
	}
	return b
}

type auditInput struct {
	Page
	Actor         string    `query:"actor" maxLength:"254" example:"ada@gw.example"`
	Action        string    `query:"action" maxLength:"64" example:"account.status"`
	Target        string    `query:"target" maxLength:"254"`
	CreatedAfter  time.Time `query:"created_after" doc:"RFC 3339"`
	CreatedBefore time.Time `query:"created_before" doc:"RFC 3339"`
}

func (s *Server) registerAudit(api huma.API) {
	register(api, s.operation(huma.Operation{
		OperationID: "listAuditLog", Method: http.MethodGet, Path: adminPrefix + "/audit-log", Tags: []string{"Audit"},
		Summary: "Read the audit log", Description: "Newest first. Filters narrow the list; all of them must hold.",
	}, staff(snapshot.RoleCompliance)), s.listAudit, nil)
}

func (s *Server) listAudit(ctx context.Context, in *auditInput) (*output[list[auditResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	before, ok := int64(0), true
	if in.Cursor != "" {
		before, ok = decodeAuditCursor(in.Cursor)
	}
	if !ok {
		return nil, s.problem(x, badCursor(), 0)
	}
	var f faults
	queryText(&f, "query.actor", in.Actor)
	queryText(&f, "query.action", in.Action)
	queryText(&f, "query.target", in.Target)
	if refusal := f.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	filter := message.AuditFilter{Actor: in.Actor, Action: in.Action, Target: in.Target, After: in.CreatedAfter, Before: in.CreatedBefore}
	lines, err := s.Admin.Audit.AuditLog(ctx, filter, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	lines, next := page(lines, in.Page, func(e message.AuditEntry) string { return encodeAuditCursor(e.ID) })
	return listed(lines, next, auditOf), nil
}
