package rest

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
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
	// VerifyAudit gives the id of the first line that does not follow from the one before
	// it, 0 when all do.
	VerifyAudit(ctx context.Context) (broken int64, err error)
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
	AuditFilters
}

// AuditFilters narrow the audit log. The name is exported only because huma looks into
// embedded types no other way.
type AuditFilters struct {
	Actor         string    `query:"actor" maxLength:"254" doc:"Who did it, as the log names him" example:"ada@gw.example"`
	Action        string    `query:"action" maxLength:"64" doc:"What was done" example:"account.status"`
	Target        string    `query:"target" maxLength:"254" doc:"What it was done to, as the log names it"`
	CreatedAfter  time.Time `query:"created_after" doc:"RFC 3339"`
	CreatedBefore time.Time `query:"created_before" doc:"RFC 3339"`
}

func (s *Server) registerAudit(api huma.API) {
	register(api, s.operation(huma.Operation{
		OperationID: "listAuditLog", Method: http.MethodGet, Path: adminPrefix + "/audit-log", Tags: []string{"Audit"},
		Summary: "Read the audit log", Description: "Newest first. Filters narrow the list; all of them must hold.",
	}, staff(snapshot.RoleCompliance)), s.listAudit, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getAuditLine", Method: http.MethodGet, Path: adminPrefix + "/audit-log/{id}", Tags: []string{"Audit"}, Summary: "Read a line of the audit log",
	}, staff(snapshot.RoleCompliance), 404), s.getAuditLine, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "verifyAuditLog", Method: http.MethodGet, Path: adminPrefix + "/audit-log/verify", Tags: []string{"Audit"},
		Summary: "Check the chain of the audit log", Description: "Reads it from its first line: a line that was altered, put in or taken out shows. Lines that were taken off its end do not: keep `newest_hash` elsewhere, and look for it the next time. Some seconds a million lines.",
	}, staff(snapshot.RoleCompliance)), s.verifyAudit, nil)
	registerExport(api, s, huma.Operation{OperationID: "exportAuditLog", Path: adminPrefix + "/audit-log", Tags: []string{"Audit"},
		Summary: "Export the audit log as CSV", Description: "Newest first, with the filters of the list, as many as there are.",
	}, staff(snapshot.RoleCompliance), auditColumns, s.exportAudit)
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
	filter, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	lines, err := s.Admin.Audit.AuditLog(ctx, filter, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	lines, next := page(lines, in.Page, func(e message.AuditEntry) string { return encodeAuditCursor(e.ID) })
	return listed(lines, next, auditOf), nil
}

type auditLineInput struct {
	ID string `path:"id" doc:"The line's id" example:"1234"`
}

func (s *Server) getAuditLine(ctx context.Context, in *auditLineInput) (*output[auditResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	missing := message.Refuse(message.ReasonNotFound, "the audit log has no such line")
	id, err := strconv.ParseInt(in.ID, 10, 64)
	if err != nil || id < 1 || id == math.MaxInt64 {
		return nil, s.problem(exchangeOf(ctx), missing, 0)
	}
	lines, err := s.Admin.Audit.AuditLog(ctx, message.AuditFilter{}, id+1, 1)
	if err == nil && (len(lines) == 0 || lines[0].ID != id) {
		err = missing
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[auditResource]{Body: auditOf(lines[0])}, nil
}

type auditCheckResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	Intact     bool     `json:"intact"`
	BrokenID   *int64   `json:"broken_id" doc:"The first line that does not follow from the one before it; null: all do"`
	NewestID   int64    `json:"newest_id" doc:"As it was before the check"`
	NewestHash string   `json:"newest_hash"`
}

func (s *Server) verifyAudit(ctx context.Context, _ *struct{}) (*output[auditCheckResource], error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.WriteTimeout, DefaultWrite))
	defer cancel()
	x := exchangeOf(ctx)
	newest, err := s.Admin.Audit.AuditLog(ctx, message.AuditFilter{}, 0, 1)
	var r auditCheckResource
	if err == nil && len(newest) == 1 {
		r.NewestID, r.NewestHash = newest[0].ID, hex.EncodeToString(newest[0].Hash)
	}
	var broken int64
	if err == nil {
		broken, err = s.Admin.Audit.VerifyAudit(ctx)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if r.Intact = broken == 0; !r.Intact {
		r.BrokenID = &broken
	}
	return &output[auditCheckResource]{Body: r}, nil
}

func (in *AuditFilters) filter() (message.AuditFilter, *message.Error) {
	var f faults
	queryText(&f, "query.actor", in.Actor)
	queryText(&f, "query.action", in.Action)
	queryText(&f, "query.target", in.Target)
	return message.AuditFilter{Actor: in.Actor, Action: in.Action, Target: in.Target, After: in.CreatedAfter, Before: in.CreatedBefore}, f.refusal()
}

var auditColumns = []string{"id", "at", "actor", "role", "action", "target", "before", "after", "address", "hash"}

type exportAuditInput struct{ AuditFilters }

func (s *Server) exportAudit(ctx context.Context, in *exportAuditInput) (*huma.StreamResponse, error) {
	x := exchangeOf(ctx)
	filter, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	return export(ctx, s, x.caller.id(), exported[message.AuditEntry]{name: "audit-log", columns: auditColumns,
		page: func(ctx context.Context, last *message.AuditEntry) ([]message.AuditEntry, bool, error) {
			before := int64(0)
			if last != nil {
				before = last.ID
			}
			return exportedPage(s.Admin.Audit.AuditLog(ctx, filter, before, exportPage))
		},
		row: func(e message.AuditEntry) []string {
			r := auditOf(e)
			return []string{strconv.FormatInt(r.ID, 10), r.At, freeText(&r.Actor), r.Role, r.Action, freeText(&r.Target), string(e.Before), string(e.After), r.Address, r.Hash}
		},
	})
}
