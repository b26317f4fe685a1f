package rest

import (
	"context"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Visitor is whoever has signed in to the web pages of this process, for whom they use the
// operations: a member of staff, or a user of the portal. Its rights are those of the role
// or the scopes, and rates, refusals and the audit log are as they are for a token.
type Visitor struct {
	// Staff is the member of staff; zero: it is a user of the portal.
	Staff message.ID
	// User is the user of the portal, of the account Account.
	User, Account message.ID
	// Email names the user in the audit log.
	Email string
	// Scopes are the user's.
	Scopes []string
}

type visitorKey struct{}

// WithVisitor gives a context with which a request to Handler is the visitor's. Nothing in
// a request that comes over a connection can say this: only code of this process can. Who
// calls it has proved who the visitor is, for this request.
func WithVisitor(ctx context.Context, v Visitor) context.Context {
	// The page was found by a router, too; what it noted is not of the operation's path.
	ctx = context.WithValue(ctx, chi.RouteCtxKey, (*chi.Context)(nil))
	return context.WithValue(ctx, visitorKey{}, v)
}

// visitor is who signed in to the pages that ask, if it is they who ask.
func (x *exchange) visitor() (Visitor, bool) {
	v, ok := x.request.Context().Value(visitorKey{}).(Visitor)
	return v, ok
}

// staffVisit is the caller of the internal API for a member of staff who has signed in.
func (s *Server) staffVisit(v Visitor) (caller, error) {
	m := s.Snapshot().StaffByID(v.Staff)
	if m == nil || !m.Active {
		return caller{}, message.Refuse(message.ReasonUnauthenticated, "the right to log in has changed since; sign in again")
	}
	return caller{staff: m}, nil
}

// userVisit is the caller of the customers' API for a user of the portal. The user stands
// for a credential: with the same id, and without limits of its own.
func (s *Server) userVisit(x *exchange, v Visitor, now time.Time) (caller, error) {
	if v.User == (message.ID{}) {
		return caller{}, message.Refuse(message.ReasonUnauthenticated, "this is for customers; staff have operations of their own")
	}
	snap := s.Snapshot()
	c := &snapshot.Credential{ID: v.User, AccountID: v.Account, Key: v.Email, Scopes: slices.Clone(v.Scopes)}
	account := snap.Accounts[c.AccountID]
	switch {
	case account == nil:
		return caller{}, errCredential
	case account.Status != snapshot.AccountActive:
		return caller{}, message.Refuse(message.ReasonAccountSuspended, "the account is %s", account.Status)
	}
	return caller{account: account, credential: c, scopes: c.Scopes, user: v.Email}, nil
}
