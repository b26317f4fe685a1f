package smpp

import (
	"context"
	"errors"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/origin"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// errNoTime is why a bind is answered RSYSERR when sessionInit ends before it
// could be decided.
var errNoTime = errors.New("no time left to decide the bind")

// decide answers a bind. It runs on the session's reader and ends within the
// connection's deadline, but for one bcrypt that has begun.
//
// Who has not proved the password learns nothing but that: everything else is
// looked at afterwards.
func (c *connection) decide(ctx context.Context, session *smpp.Session, b *smpp.Bind) smpp.Decision {
	c.tried = true
	// run may not have come so far yet, and a session that is answered must be known
	// to whoever ends it in order.
	c.server.registry.setSession(c, session)
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()

	cred, err := c.authenticate(ctx, b)
	if err == nil && !c.server.unbound.leave(c) {
		err = message.Refuse(message.ReasonUnavailable, "closed to make room for others")
	}
	if err != nil {
		return c.refuse(cred, b, err)
	}
	if err = c.mayBind(c.server.Snapshot(), cred, b.Mode); err == nil {
		err = c.enter(ctx, cred, b)
	}
	if err != nil {
		return c.refuse(cred, b, err)
	}
	c.own = &bound{
		id: c.row, systemID: cred.SystemID, credential: cred.ID, account: cred.AccountID, vendor: cred.VendorID, session: session,
		password: cred.PasswordHash, legacy: b.InterfaceVersion < smpp.Version34, unbind: c.unbind,
	}
	c.server.registry.setMaxBinds(c, cred.MaxBinds)
	return smpp.Decision{Window: cred.Window, Inbound: cred.Window, AllowDeliver: cred.VendorID != (message.ID{})}
}

// refuse counts a refused bind and makes its answer. The credential is that of
// the system_id, proved or not; nil: unknown.
func (c *connection) refuse(cred *snapshot.SMPPCredential, b *smpp.Bind, err error) smpp.Decision {
	s := c.server
	refusal := message.AsError(err)
	if s.Metrics.BindRefused != nil {
		s.Metrics.BindRefused(refusal.Reason)
	}
	l := auditLine{systemID: printable(b.SystemID), address: c.peer.String(), event: "smpp.bind_refused", detail: refusal.Detail}
	var held *heldBack
	switch {
	case cred != nil:
		l.account = cred.AccountID
	case errors.As(err, &held) && held.address:
		l.systemID = "" // one line for all that this address makes up
	}
	if refusal.Retryable() { // ours to mend
		s.log.Warn("smpp bind failed", "system_id", l.systemID, "reason", string(refusal.Reason), "error", err)
	} else {
		s.log.Info("smpp bind refused", "system_id", l.systemID, "address", l.address, "reason", string(refusal.Reason), "detail", refusal.Detail)
	}
	s.audits.refused(l, s.now())
	return smpp.Decision{Status: smpp.BindStatusOf(refusal.Reason)}
}

// mayBind looks at what holds for a proved credential, when it binds and as
// long as it is bound.
func (c *connection) mayBind(snap *snapshot.Snapshot, cred *snapshot.SMPPCredential, mode smpp.Mode) error {
	if err := c.mayOwner(snap, cred); err != nil {
		return err
	}
	switch {
	case !cred.Enabled:
		return message.Refuse(message.ReasonForbidden, "the credential is disabled")
	case len(cred.AllowedIPs) > 0 && !origin.In(c.peer, cred.AllowedIPs):
		return message.Refuse(message.ReasonForbidden, "not from this address")
	case cred.RequireTLS && c.config == nil:
		return message.Refuse(message.ReasonForbidden, "not without TLS")
	case mode == smpp.ModeReceiver && !cred.Receiver, mode == smpp.ModeTransmitter && !cred.Transmitter,
		mode == smpp.ModeTransceiver && !cred.Transceiver:
		return message.Refuse(message.ReasonForbidden, "not as a %s", mode)
	}
	return nil
}

// mayOwner looks at whose credential it is.
func (c *connection) mayOwner(snap *snapshot.Snapshot, cred *snapshot.SMPPCredential) error {
	if cred.VendorID != (message.ID{}) {
		vendor := snap.Vendors[cred.VendorID]
		switch {
		case c.server.FromVendor == nil:
			return message.Refuse(message.ReasonForbidden, "vendors do not bind here")
		case vendor == nil || !vendor.Active:
			return message.Refuse(message.ReasonAccountSuspended, "the vendor is gone or not active")
		}
		return nil
	}
	account := snap.Accounts[cred.AccountID]
	switch {
	case account == nil:
		return message.Refuse(message.ReasonAccountSuspended, "the account is gone")
	case account.Status != snapshot.AccountActive:
		return message.Refuse(message.ReasonAccountSuspended, "the account is %s", account.Status)
	}
	return nil
}

// enter puts the bind into the journal's registry.
//
// An ESME that ends a bind and makes the next at once is not refused for the
// one that it has ended: its row is waited for. The loop ends, since each turn
// waits for another session.
func (c *connection) enter(ctx context.Context, cred *snapshot.SMPPCredential, b *smpp.Bind) error {
	s := c.server
	for {
		// Who is leaving now may be gone, and its row with it, when the journal has said
		// that there is no room.
		leaving := s.registry.leaving(cred.ID)
		entered, err := c.enterOnce(ctx, cred, b)
		if err != nil {
			return message.Because(message.ReasonUnavailable, err, "the bind was not entered")
		}
		if entered {
			return nil
		}
		if leaving == nil {
			leaving = s.registry.leaving(cred.ID)
		}
		if leaving == nil {
			return message.Refuse(message.ReasonForbidden, "%d binds, which is all it may have", cred.MaxBinds)
		}
		select {
		case <-leaving.gone:
		case <-ctx.Done():
			return message.Because(message.ReasonUnavailable, errNoTime, "the bind was not entered")
		}
	}
}

// enterOnce reports whether there was room for the bind. After an error nobody
// knows; the next beat takes out what should not be there.
func (c *connection) enterOnce(ctx context.Context, cred *snapshot.SMPPCredential, b *smpp.Bind) (entered bool, err error) {
	s := c.server
	if !s.registry.enterRow(ctx) {
		return false, errNoTime
	}
	defer s.registry.enteredRow()
	row := message.SMPPBind{
		ID: message.NewID(), CredentialID: cred.ID, Instance: s.Instance, Mode: b.Mode.String(), Address: c.peer.String(),
		TLS: c.config != nil, Version: b.InterfaceVersion, BoundAt: s.now(),
	}
	s.registry.addRow(c, row)
	defer func() {
		if entered {
			c.row = row.ID
		} else {
			s.registry.removeRow(row.ID)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, journalTime)
	defer cancel()
	return s.Journal.Bind(ctx, row, cred.MaxBinds)
}

// takeOut takes a bind that has ended out of the registry.
func (s *Server) takeOut(row message.ID) {
	s.registry.endRow(row)
	ctx, cancel := context.WithTimeout(s.life, journalTime)
	defer cancel()
	if err := s.Journal.Unbind(ctx, row); err != nil {
		s.log.Warn("smpp bind not taken out of the registry; the next heartbeat does it", "error", err)
	}
	s.registry.removeRow(row)
}

// printable is what a stranger called itself, fit for a log. It is a copy: the
// original is cut from a string that holds the password as well.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, strings.Clone(s))
}
