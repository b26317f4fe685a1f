package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// internalPrefix begins the paths of the internal API, adminPrefix those of its
// staff. The proxy before the gateway publishes neither.
const (
	internalPrefix = "/api/v1"
	adminPrefix    = internalPrefix + "/admin"
)

// Admin is what the internal API works with. All fields without "nil" in their
// comment must be set.
//
// An operation is added in four steps: an interface here that the database has,
// whose writing methods take a message.Actor and leave a line in the audit log; a
// file admin_THING.go with the handlers and a method registerTHING, in which each
// operation says by staff(roles…) who may; a line in registerAdmin; a row in the
// tables of admin_matrix_test.go.
type Admin struct {
	// Audit reads and writes the audit log.
	Audit AuditLog
	// Cancel withdraws a message, as ingress does.
	Cancel func(ctx context.Context, id message.ID) error
	// CodecOrigin is the origin of the Temporal UI, whose pages may open payloads from a
	// browser. Empty: no page may.
	CodecOrigin string
	// Content keeps the content rules.
	Content ContentRules
	// Customers are the accounts.
	Customers Customers
	// Decode opens payloads of workflows, as Temporal's remote codec protocol has them, and
	// says how many there were. Nil: that cannot be done here.
	Decode func(payloads []byte) (opened []byte, n int, err error)
	// HashSecret makes the keyed hash of a service's new secret, which Secrets of
	// the server checks.
	HashSecret func(secret string) []byte
	// LoggedIn is told that a member of staff has logged in, or that somebody gave
	// a wrong password for one. It must not block. Nil: nobody wants to know.
	LoggedIn func(by message.Actor, staff message.ID, in bool)
	// MediaProfiles keeps what vendors take of files.
	MediaProfiles MediaProfiles
	// Messages are those of all accounts.
	Messages AllMessages
	// MM4Peers keeps the peers of MM4.
	MM4Peers MM4PeerTable
	// Numbers keeps the numbers of all accounts.
	Numbers NumberTable
	// OptOuts tells the audit log of what staff do to the opt-outs of accounts.
	OptOuts StaffOptOuts
	// Passwords makes and checks the hashes of staff's passwords.
	Passwords Passwords
	// Reclaim brings what found nobody to whose it is, as ingress does.
	Reclaim Reclaim
	// QueueSize is how many messages wait on the queue of the vendor of this name. Nil:
	// it cannot be asked.
	QueueSize func(ctx context.Context, vendor string) (int, error)
	// Reconsider tells the workflow of a message that waits to look again, as ingress
	// does.
	Reconsider func(ctx context.Context, id message.ID) error
	// Redrives keeps re-drives. Nil: there are none here.
	Redrives Redrives
	// RedriveURL is where the workflow of a re-drive can be looked at. Nil: nowhere.
	RedriveURL func(id message.ID) string
	// Registry is what staff do with brands and campaigns.
	Registry StaffRegistry
	// Reload reads the configuration anew in this process. Nil: it does so in its time.
	Reload func(ctx context.Context) error
	// Reroute names the vendor that a message is to go over, or with the zero id leaves it
	// to the routes again, and tells its workflow. It leaves a line in the audit log, and
	// refuses with ReasonConflict when it is too late. Nil: that cannot be done here.
	Reroute func(ctx context.Context, by message.Actor, id, vendor message.ID, reason string) error
	// Resolve moves a message out of doubt, as ingress does. The line in the audit log is
	// written before. Nil: that cannot be done here.
	Resolve func(ctx context.Context, r ingress.Resolution) error
	// Reviews are the messages that wait for somebody to look at them.
	Reviews ReviewTable
	// Routes keeps the routing rules.
	Routes RouteTable
	// Routing explains where messages go. Nil: that cannot be asked here.
	Routing Routing
	// SecondFactor takes a code of a member of staff whose password was right, once; it is
	// true for who has no second factor. Nil: nobody has one.
	SecondFactor func(ctx context.Context, staff message.ID, code string, now time.Time) (bool, error)
	// Services are the credentials of the platform's own services.
	Services Services
	// ServiceUsed is told, at most once a minute for each, that a service's
	// credential was used. It must not block. Nil: nobody wants to know.
	ServiceUsed func(credential message.ID)
	// Sessions are the live sessions of all processes.
	Sessions SessionTable
	// SMPPUsers keeps the SMPP credentials of all accounts and vendors.
	SMPPUsers SMPPUserTable
	// SendStaffLink e-mails somebody a link of StaffLink, which ends at a time. Nil: this
	// gateway sends no e-mail.
	SendStaffLink func(ctx context.Context, to, link string, until time.Time) error
	// Staff are those who may log in.
	Staff StaffTable
	// StaffLink makes a link by which a member of staff chooses a password, and the keyed
	// hash of its token, which is all that is stored. Nil: nobody can be invited here.
	StaffLink func() (link string, hash []byte)
	// Strays are inbound messages and receipts that found nobody.
	Strays Strays
	// Traffic counts what goes through the gateway.
	Traffic TrafficTable
	// TestVendor connects to a vendor, over a connection of its own, and tells what it
	// said; the error holds no credentials. Nil: that cannot be done here.
	TestVendor func(ctx context.Context, v *snapshot.Vendor) (detail string, err error)
	// VendorLinks tells what the links of every process look like; those of processes that
	// have gone are not among them. Nil: that is not known.
	VendorLinks func(ctx context.Context) ([]message.VendorLinkState, error)
	// VendorProfiles are sets of settings that are shipped, by name: what of one is set is
	// laid over a new vendor of its provider type.
	VendorProfiles map[string]snapshot.Vendor
	// Vendors keeps the vendors.
	Vendors VendorTable
	// WorkflowURL is where the workflow of a message can be looked at. Nil:
	// nowhere.
	WorkflowURL func(m *message.Message) string
}

// staff is the access to an operation of the internal API for admin and the given
// roles.
func staff(roles ...snapshot.Role) access {
	a := access{rate: asStaff}
	for _, r := range snapshot.Roles() {
		if r == snapshot.RoleAdmin || slices.Contains(roles, r) {
			a.roles = append(a.roles, r)
		}
	}
	return a
}

// anyStaff is the access for every role: what reads configuration and status.
func anyStaff() access { return staff(snapshot.Roles()...) }

// taking adds that the operation takes a JSON body.
func (a access) taking() access {
	a.bodies = []string{jsonType}
	return a
}

// internal reports whether the access is to the internal API.
func (a access) internal() bool { return len(a.roles) > 0 || a.service != "" }

// actor is the caller of the internal API as the audit log names it.
func (x *exchange) actor() message.Actor {
	by := message.Actor{Address: x.client.String()}
	switch c := &x.caller; {
	case c.staff != nil:
		by.Name, by.Role = c.staff.Email, string(c.staff.Role)
	case c.service != nil:
		by.Name, by.Role = c.service.Key, roleService
	}
	return by
}

// roleService stands in the audit log where staff have their role.
const roleService = "service"

// refuses says why the caller may not use an operation, nil if he may.
func (c *caller) refuses(a access) error {
	switch {
	case a.scope != "" && !c.may(a.scope):
		return message.Refuse(message.ReasonForbidden, "the credential lacks the scope %s", a.scope)
	case !a.internal():
	case c.staff != nil && slices.Contains(a.roles, c.staff.Role):
	case c.service != nil && a.service != "" && c.may(a.service):
	case c.staff != nil && len(a.roles) > 0:
		return message.Refuse(message.ReasonForbidden, "the role %s may not do this; it is for %s", c.staff.Role, strings.Join(roleNames(a.roles), ", "))
	case c.service != nil && a.service != "":
		return message.Refuse(message.ReasonForbidden, "the credential lacks the scope %s", a.service)
	case c.staff != nil:
		return message.Refuse(message.ReasonForbidden, "this is for services with the scope %s", a.service)
	default:
		return message.Refuse(message.ReasonForbidden, "this is for staff")
	}
	return nil
}

func roleNames(roles []snapshot.Role) []string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return names
}

// adminConfig is humaConfig for the internal API.
func adminConfig() huma.Config {
	config := humaConfig()
	doc := config.OpenAPI
	doc.Info.Title = "Postrider internal"
	doc.Info.Description = "What staff and the platform's own services do with the gateway. It is not for the public: publish none of its paths.\n\n" +
		"Authenticate with an access token (`POST /api/v1/admin/auth/token`). " +
		"Each change and each reading of a message's text is in the audit log."
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearerAuth: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token from POST /api/v1/admin/auth/token"},
	}
	doc.Tags = []*huma.Tag{
		{Name: "Access", Description: "Access tokens for staff and services."},
		{Name: "Messages", Description: "The messages of all accounts."},
		{Name: "Re-drives", Description: "One thing done to each message of a filtered set, such as sending all again that a vendor failed on."},
		{Name: "Inbound", Description: "What came from vendors and found nobody."},
		{Name: "Webhooks", Description: "What customers' endpoints are told, and telling it again."},
		{Name: "Vendors", Description: "Upstream links: what they are, what they do now."},
		{Name: "Routes", Description: "Which vendor a message is offered to, and why."},
		{Name: "MM4 peers", Description: "MMSCs of customers and vendors: how they connect to us, and we to them."},
		{Name: "SMPP users", Description: "What customers' ESMEs bind with, and vendors that bind to us."},
		{Name: "Sessions", Description: "Who is connected over SMPP and MM4 now, to whichever process."},
		{Name: "Metrics", Description: "How much goes through the gateway now."},
		{Name: "Registrations", Description: "10DLC brands and campaigns of all customers, and their filing with the campaign registry."},
		{Name: "Opt-outs", Description: "Who has stopped whom, over all customers."},
		{Name: "Content rules", Description: "What texts are looked at for."},
		{Name: "Customers", Description: "Accounts."},
		{Name: "Numbers", Description: "Whose they are, who hosts them, what they may send."},
		{Name: behalfTag, Description: "The customers' own operations, used by staff for one account. They are those of the public API and follow its rules; the audit log names the member of staff."},
		{Name: "Codec", Description: "What workflows were given and gave, for the Temporal UI."},
		{Name: "Staff", Description: "Who may log in, and the credentials of services."},
		{Name: "Audit", Description: "Who did what."},
		{Name: keptTag, Description: "Paths of gateways before this one, which scripts still ask."},
	}
	return config
}

// registerAdmin adds the operations of the internal API.
func (s *Server) registerAdmin(api huma.API) {
	s.registerLogin(api)
	s.registerStaff(api)
	s.registerServices(api)
	s.registerCustomers(api)
	s.registerAdminMessages(api)
	s.registerMessageActions(api)
	s.registerRedrives(api)
	s.registerServiceMessages(api)
	s.registerReviews(api)
	s.registerStrays(api)
	s.registerAdminWebhooks(api)
	s.registerContent(api)
	s.registerVendors(api)
	s.registerMediaProfiles(api)
	s.registerRoutes(api)
	s.registerMM4Peers(api)
	s.registerSMPPUsers(api)
	s.registerSessions(api)
	s.registerCodec(api)
	s.registerStaffOptOuts(api)
	s.registerStaffRegistry(api)
	s.registerMetrics(api)
	s.registerOverview(api)
	s.registerAudit(api)
	s.registerAllNumbers(api)
	s.registerKept(api)
	s.registerBehalf(api)
}

// RowInput names a row by its id. It is exported only because huma looks into
// embedded types no other way.
type RowInput struct {
	ID string `path:"id" doc:"The id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
}

// rowBody is the same with a body.
type rowBody struct {
	RowInput
	RawBody []byte
}

// row reads the id. What is no id is not there.
func (in RowInput) row() (message.ID, error) {
	id, err := message.ParseID(in.ID)
	if err != nil {
		return id, message.Refuse(message.ReasonNotFound, "there is no such thing: an id is a UUID of 32 hex digits, hyphens optional")
	}
	return id, nil
}

// created is the answer to what was made.
type created[T any] struct {
	Location string `header:"Location" doc:"Its path"`
	Body     T
}

// nothing is the answer of 204.
type nothing struct{}

// readObject reads a body of one object; see decodeObject. An empty body is an
// object without members if that is allowed.
func readObject(body []byte, member func(d *decoder, name, location string) (bool, error), check func(d *decoder)) (int, *message.Error) {
	d, err := decodeObject(body, member)
	if err != nil {
		return http.StatusBadRequest, unreadable(err)
	}
	if check != nil && !d.faulty("body") {
		check(d)
	}
	return 0, d.refusal()
}

// listed makes a page of rows.
func listed[R, T any](rows []R, next *string, show func(R) T) *output[list[T]] {
	out := &output[list[T]]{Body: list[T]{Data: make([]T, 0, len(rows)), NextCursor: next}}
	for _, r := range rows {
		out.Body.Data = append(out.Body.Data, show(r))
	}
	return out
}

// before is the row after which the page begins, zero for the first.
func (p Page) before() (message.ID, *message.Error) {
	if p.Cursor == "" {
		return message.ID{}, nil
	}
	id, ok := decodeRowCursor(p.Cursor)
	if !ok {
		return id, badCursor()
	}
	return id, nil
}

// page cuts a list that was asked for with one element more than the page has, and
// gives the cursor of the next.
func page[T any](rows []T, in Page, cursor func(T) string) ([]T, *string) {
	if len(rows) <= in.size() {
		return rows, nil
	}
	rows = rows[:in.size()]
	return rows, optional(cursor(rows[len(rows)-1]))
}
