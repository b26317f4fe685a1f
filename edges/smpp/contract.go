package smpp

import (
	"context"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// Ingress is the door that messages go through.
type Ingress interface {
	// Enter gives a message its place in the order of acceptance, and wait, called
	// once, returns when it is committed; see ingress.Ingress.
	Enter(r ingress.Request) (wait func(ctx context.Context) (ingress.Outcome, error))
	// Part commits one part of a message; see ingress.Ingress.
	Part(ctx context.Context, p ingress.Part) (ingress.PartOutcome, error)
	// Cancel withdraws a message: ReasonConflict when it is too late,
	// ReasonNotFound when it is not there.
	Cancel(ctx context.Context, id message.ID) error
	// Revise changes a message that has not left: ReasonConflict when it has; see
	// ingress.Ingress.
	Revise(ctx context.Context, r ingress.Revision) (*message.Message, error)
}

// Journal is what the edge needs of the record. Its implementation is
// internal/postgres.
type Journal interface {
	// Bind enters a bind into the registry unless the credential has max live
	// binds over all processes; it reports whether it did.
	Bind(ctx context.Context, b message.SMPPBind, max int) (bool, error)
	// Unbind takes it out.
	Unbind(ctx context.Context, id message.ID) error
	// BindsAlive says that the instance's binds live: those named are entered as
	// seen now, and others of the instance are taken out. Missing are those named
	// whose rows are not there any more.
	BindsAlive(ctx context.Context, instance string, binds []message.ID) (missing []message.ID, err error)
	// EnterAgain enters binds that live and were missing, whatever else is bound.
	EnterAgain(ctx context.Context, binds []message.SMPPBind) error
	// SurplusBinds lists the credential's live binds beyond the max oldest, over
	// all processes.
	SurplusBinds(ctx context.Context, credential message.ID, max int) ([]message.ID, error)
	// BindsToEnd lists the instance's binds whose end staff have asked for.
	BindsToEnd(ctx context.Context, instance string) ([]message.ID, error)
	// ClaimDeliveries takes deliveries that are due for the credentials, oldest
	// first, at most limit of each credential's share, and keeps other processes
	// off them for the lease.
	ClaimDeliveries(ctx context.Context, instance string, wanted map[message.ID]int, lease time.Duration) ([]message.SMPPDelivery, error)
	// Delivered records what became of tries that the instance made, with a line in
	// each message's timeline. A try whose claim has gone over to another instance
	// counts only if it delivered.
	Delivered(ctx context.Context, instance string, tries []message.SMPPDelivered) error
	// ReleaseDeliveries gives claims of the instance back untried.
	ReleaseDeliveries(ctx context.Context, instance string, ids []message.ID) error
	// HeldDeliveries lists the accounts that deliveries wait for.
	HeldDeliveries(ctx context.Context) ([]message.SMPPHeld, error)
	// EndHeld ends the oldest untried deliveries of what an account has beyond its
	// cap, at most so many, and reports how many.
	EndHeld(ctx context.Context, account message.ID, most int) (int, error)
	// Answered finds an account's message by the id that its submit was answered
	// with; ReasonNotFound when there is none. Several: those of a batch.
	Answered(ctx context.Context, credential message.ID, answerID string) ([]message.Message, []message.SMPPOrigin, error)
	// Between lists the ids of the account's messages from source to dest, as the
	// ESME wrote them, that may still be withdrawn; at most limit.
	Between(ctx context.Context, credential message.ID, source, dest message.SMPPAddress, limit int) ([]message.ID, error)
	// Audit writes a line of the audit log.
	AuditBind(ctx context.Context, account message.ID, systemID, address, event, detail string) error
}
