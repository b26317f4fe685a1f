package rest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

// RouteTable keeps the routing rules. A method that changes something leaves a line in
// the audit log.
type RouteTable interface {
	// Routes lists them by priority and id, from behind the one with these.
	Routes(ctx context.Context, f snapshot.RouteFilter, priority int, after int64, limit int) ([]snapshot.RouteState, error)
	// Route reads one; ReasonNotFound when there is none.
	Route(ctx context.Context, id int64) (snapshot.RouteState, error)
	// AddRoute refuses a vendor or an account that there is not with ReasonInvalidRequest.
	AddRoute(ctx context.Context, by message.Actor, r snapshot.RouteState) (snapshot.RouteState, error)
	// ChangeRoute has change make a route into what it is to be.
	ChangeRoute(ctx context.Context, by message.Actor, id int64, change func(*snapshot.RouteState) error) (snapshot.RouteState, error)
	// RemoveRoute takes one away that check has nothing against.
	RemoveRoute(ctx context.Context, by message.Actor, id int64, check func(snapshot.RouteState) error) error
}

// RouteSettings is what staff set of a route. The name is exported only because huma
// looks into embedded types no other way.
type RouteSettings = vendorconf.Route

type routeBody struct{ RouteSettings }

type routePatch struct{ RouteSettings }

// TransformSchema leaves settings out that have a default.
func (routeBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"vendor_id"}
	return s
}

// TransformSchema asks for nothing.
func (routePatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

type adminRouteResource struct {
	_  struct{} `json:"-" additionalProperties:"true"`
	ID int64    `json:"id" example:"12"`
	RouteSettings
	Problem   *string `json:"problem" doc:"What of it cannot be read: it is out of the configuration; remove it and add another. null: nothing"`
	CreatedAt string  `json:"created_at" format:"date-time"`
	UpdatedAt string  `json:"updated_at" format:"date-time"`
}

func routeOf(r snapshot.RouteState) adminRouteResource {
	return adminRouteResource{ID: r.ID, RouteSettings: vendorconf.RouteOf(&r.Route, r.Active), Problem: optional(r.Broken), CreatedAt: stamp(r.CreatedAt), UpdatedAt: stamp(r.UpdatedAt)}
}

func routeTag(r snapshot.RouteState) string {
	return contentTag("route", r.ID, r.Version, r.CreatedAt.UnixMicro())
}

func showRoute(r snapshot.RouteState) *entity[adminRouteResource] {
	return &entity[adminRouteResource]{ETag: routeTag(r), Body: routeOf(r)}
}

const routePath = adminPrefix + "/routes"

func (s *Server) registerRoutes(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Routes"}
	register(api, s.operation(huma.Operation{
		OperationID: "listRoutes", Method: http.MethodGet, Path: routePath, Tags: tags, Summary: "List routes", Description: "In the order of their priorities.",
	}, anyStaff()), s.listRoutes, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createRoute", Method: http.MethodPost, Path: routePath, Tags: tags, Summary: "Add a route",
		Description: "It counts within 5 seconds.", DefaultStatus: http.StatusCreated,
	}, staff(snapshot.RoleOperator).taking(), 400, 413, 415), s.createRoute, bodyOf[routeBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getRoute", Method: http.MethodGet, Path: routePath + "/{id}", Tags: tags, Summary: "Read a route",
	}, anyStaff(), 404), s.getRoute, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeRoute", Method: http.MethodPatch, Path: routePath + "/{id}", Tags: tags, Summary: "Change a route",
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 412, 413, 415), s.changeRoute, bodyOf[routePatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeRoute", Method: http.MethodDelete, Path: routePath + "/{id}", Tags: tags, Summary: "Take a route away",
		DefaultStatus: http.StatusNoContent,
	}, staff(snapshot.RoleOperator), 404, 412), s.removeRoute, nil)
	s.registerRouting(api)
}

type routeListInput struct {
	Page
	VendorID  string `query:"vendor_id" maxLength:"36" doc:"To this vendor"`
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this account alone"`
	Active    bool   `query:"active" doc:"Without those that do not count"`
}

func (s *Server) listRoutes(ctx context.Context, in *routeListInput) (*output[list[adminRouteResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	f := snapshot.RouteFilter{Active: in.Active}
	var faults faults
	if in.VendorID != "" {
		faults.account("query.vendor_id", in.VendorID, &f.VendorID)
	}
	if in.AccountID != "" {
		faults.account("query.account_id", in.AccountID, &f.AccountID)
	}
	priority, after, ok := -1, int64(0), true
	if in.Cursor != "" {
		priority, after, ok = decodeRouteCursor(in.Cursor)
	}
	refusal := faults.refusal()
	if refusal == nil && !ok {
		refusal = badCursor()
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.Routes.Routes(ctx, f, priority, after, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(r snapshot.RouteState) string { return encodeRouteCursor(r.Priority, r.ID) })
	return listed(rows, next, routeOf), nil
}

// routeCursor begins the cursor of a list of routes: 4 octets of a priority, 8 of an id.
const routeCursor = 'w'

func encodeRouteCursor(priority int, id int64) string {
	b := binary.BigEndian.AppendUint32([]byte{routeCursor}, uint32(int32(priority)))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, uint64(id)))
}

func decodeRouteCursor(s string) (priority int, id int64, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 13 || b[0] != routeCursor || b[5] > 0x7f {
		return 0, 0, false
	}
	return int(int32(binary.BigEndian.Uint32(b[1:]))), int64(binary.BigEndian.Uint64(b[5:])), true
}

// RouteInput names a route. It is exported only because huma looks into embedded types
// no other way.
type RouteInput struct {
	ID string `path:"id" maxLength:"19" doc:"The route's number" example:"12"`
}

// number reads the id. What is no number is not there.
func (in RouteInput) number() (int64, error) {
	id, err := strconv.ParseInt(in.ID, 10, 64)
	if err != nil || id < 1 {
		return 0, message.Refuse(message.ReasonNotFound, "there is no such route: its id is a number")
	}
	return id, nil
}

func (s *Server) getRoute(ctx context.Context, in *RouteInput) (*entity[adminRouteResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := in.number()
	var r snapshot.RouteState
	if err == nil {
		r, err = s.Admin.Routes.Route(ctx, id)
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return showRoute(r), nil
}

func (s *Server) createRoute(ctx context.Context, in *rawInput) (*createdTagged[adminRouteResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	doc := vendorconf.NewRoute()
	if status, refusal := readObject(in.RawBody, settings(&doc, unknown), nil); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	var r snapshot.RouteState
	err := intoRoute(doc, &r)
	if err == nil {
		r, err = s.Admin.Routes.AddRoute(ctx, x.actor(), r)
	}
	if err != nil {
		return nil, s.problem(x, inBody(err), 0)
	}
	return &createdTagged[adminRouteResource]{Location: routePath + "/" + strconv.FormatInt(r.ID, 10), ETag: routeTag(r), Body: routeOf(r)}, nil
}

// intoRoute makes a route what a document says.
func intoRoute(doc vendorconf.Route, r *snapshot.RouteState) error {
	r.Active = doc.IsActive
	faults := doc.Into(&r.Route)
	if r.VendorID == message.InternalVendor {
		faults = append(faults, message.FieldError{Location: "vendor_id", Message: "no route leads to the vendor internal: messages stay in the house when the account's internal_delivery says so"})
	}
	return faults.Refusal()
}

type routeChangeInput struct {
	RouteInput
	IfMatch
	RawBody []byte
}

func (s *Server) changeRoute(ctx context.Context, in *routeChangeInput) (*entity[adminRouteResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.number()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	read := func(doc *vendorconf.Route) (int, *message.Error) {
		return readObject(in.RawBody, settings(doc, unknown), nil)
	}
	if status, refusal := read(&vendorconf.Route{}); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	r, err := s.Admin.Routes.ChangeRoute(ctx, x.actor(), id, func(r *snapshot.RouteState) error {
		if err := in.check(routeTag(*r)); err != nil {
			return err
		}
		doc := vendorconf.RouteOf(&r.Route, r.Active)
		_, _ = read(&doc) // it was read before
		return intoRoute(doc, r)
	})
	if err != nil {
		return nil, s.problem(x, inBody(err), changeStatus(err))
	}
	return showRoute(r), nil
}

type routeRemoveInput struct {
	RouteInput
	IfMatch
}

func (s *Server) removeRoute(ctx context.Context, in *routeRemoveInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.number()
	if err == nil {
		err = s.Admin.Routes.RemoveRoute(ctx, x.actor(), id, func(r snapshot.RouteState) error { return in.check(routeTag(r)) })
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return &nothing{}, nil
}

// bounded keeps a number of a body within what an int of 32 bits holds.
func bounded(n int64) int { return int(min(max(n, math.MinInt32), math.MaxInt32)) }
