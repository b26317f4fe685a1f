package postgres

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// hub is the MMSC of the vendor, which speaks MM4.
func (b *bundle) hub() snapshot.MM4Peer {
	b.tb.Helper()
	if err := b.CreateVendor(b.ctx, actor, snapshot.Vendor{ID: b.vendor.ID, Name: b.vendor.Name, ProviderType: message.ProviderMM4, Host: "mms.hub.example", Active: true, SupportsMMS: true}); err != nil {
		b.tb.Fatal(err)
	}
	made, err := b.CreateMM4Peer(b.ctx, actor, snapshot.MM4Peer{ID: message.NewID(), VendorID: b.vendor.ID, Name: "hub", Enabled: true, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.200/32")},
		MaxSize: 1 << 20, MaxSessions: 20, MaxRecipients: 20, TLS: "opportunistic", SystemUser: "system-user", Version: "6.10.0"})
	if err != nil {
		b.tb.Fatal(err)
	}
	return made.MM4Peer
}

// handedIn is an MMS of the owner's that the vendor hands in, and wants to be told of.
func (b *bundle) handedIn(peer message.ID, delivery, read bool) message.Arrival {
	a := b.toRecord(b.owned(b.arrival("Look")))
	a.Kind, a.VendorRef, a.Message.Edge = message.MMS, "v1@hub/"+a.ID.String(), message.EdgeMM4
	a.MM4 = &message.MM4Origin{PeerID: peer, Reference: "v1\xff@hub", Sender: string(handset) + "/TYPE=PLMN@mms.hub.example", Recipient: string(ours) + "/TYPE=PLMN@us.example",
		System: "reports@mms.hub.example", DeliveryReport: delivery, ReadReport: read}
	return a
}

// A vendor that asks for a delivery report is owed it with the status, however the message
// ends and whoever writes that.
func TestMM4ReportToVendor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p, credential := b.hub(), b.esme(b.owner, "acme")
	owed := 0
	b.OnMM4Owed(func() { owed++ })
	hook := func(state message.NotificationState) func(*message.Message) {
		return func(m *message.Message) {
			to := b.to(m, 1, message.InboundWebhook)
			b.plan(m, to)
			b.settled(m, message.StatusAccepted)
			b.tell(to, 1, state)
		}
	}
	by := func(method message.InboundMethod, state message.InboundState) func(*message.Message) {
		return func(m *message.Message) {
			b.plan(m, b.to(m, 1, method))
			if method == message.InboundStorage {
				return
			}
			if err := b.RecordMail(b.ctx, m.ID, 1, state, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	esme := func(do func(*message.Message)) func(*message.Message) {
		return func(m *message.Message) {
			to := b.to(m, 1, message.InboundSMPP)
			to.Credential = credential
			b.plan(m, to)
			do(m)
		}
	}
	for _, tt := range []struct {
		name  string
		way   func(*message.Message)
		want  message.Status
		quiet bool // nobody is told at once
	}{
		{"endpoint", hook(message.NotificationDelivered), message.StatusDelivered, false},
		{"endpoint that does not take it", hook(message.NotificationFailed), message.StatusFailed, false},
		{"mailbox", by(message.InboundEmail, message.InboundDelivered), message.StatusDelivered, false},
		{"peer", by(message.InboundMM4, message.InboundDelivered), message.StatusDelivered, false},
		{"peer that refuses it", by(message.InboundMM4, message.InboundFailed), message.StatusFailed, false},
		{"store", by(message.InboundStorage, ""), message.StatusDelivered, false},
		{"ESME", esme(func(m *message.Message) { b.record(b.tried(m, 1, message.NotificationDelivered, 0)) }), message.StatusDelivered, false},
		{"ESME that refuses it", esme(func(m *message.Message) { b.record(b.tried(m, 1, message.NotificationFailed, 0)) }), message.StatusFailed, false},
		{"ESME that does not come", esme(func(m *message.Message) {
			b.exec("update smpp_deliveries set expires_at = now() where message_id = $1", m.ID)
			b.claim(b.DB, "a", nil)
		}), message.StatusDelivered, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, silent := b.handedIn(p.ID, true, false), b.handedIn(p.ID, false, true)
			owed = 0
			for _, a := range []message.Arrival{silent, asked} {
				b.came(a)
				again := a
				again.ID = message.NewID()
				if !b.came(again).Again {
					t.Error("it was stored twice")
				}
				if due := b.mails(b.DB, "one"); len(due) != 0 {
					t.Fatalf("owed before anything is known: %+v", due)
				}
				m := &message.Message{ID: a.ID, AccountID: a.AccountID}
				tt.way(m)
				b.settled(m, tt.want)
				b.settled(m, tt.want) // and again
			}
			due := b.mails(b.DB, "one")
			if len(due) != 1 {
				t.Fatalf("owed: %+v", due)
			}
			m := due[0]
			if m.Origin != *asked.MM4 || m.PeerID != p.ID || m.Kind != message.MM4DeliveryReport || m.MessageID != asked.ID || m.Status != tt.want || m.Reason != "" || m.At.IsZero() {
				t.Errorf("%+v", m)
			}
			if left := time.Until(m.ExpiresAt); left > message.MM4ReportLife || left < message.MM4ReportLife-time.Minute {
				t.Errorf("it is tried for %s", left)
			}
			if want := map[bool]int{false: 1}[tt.quiet]; owed != want {
				t.Errorf("told %d times, want %d", owed, want)
			}
			b.sound()
			b.mailTried("one", m.ID, message.MM4MailResult{State: message.MM4MailSent, Code: "250 2.0.0"})
		})
	}
	if n := b.count("select count(*) from mm4_origins"); n != 18 {
		t.Errorf("%d origins", n)
	}
	b.sound()
}

// One that has failed may be delivered after all, and is reported again.
func TestMM4ReportAfterFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.handedIn(b.hub().ID, true, false)
	b.came(a)
	m := &message.Message{ID: a.ID, AccountID: a.AccountID}
	hook := b.to(m, 1, message.InboundWebhook)
	b.plan(m, hook)
	b.tell(hook, 1, message.NotificationFailed)
	b.settled(m, message.StatusFailed)
	b.exec("with failed as (delete from webhook_failed) update webhook_deliveries set state = 'delivered' where message_id = $1", m.ID)
	b.settled(m, message.StatusDelivered)
	if got := b.mailStates(); got != "delivery_report failed pending 0, delivery_report delivered pending 0" {
		t.Error(got)
	}
	b.sound()
}

// What is not committed with the status, or with the message, is not there either.
func TestMM4ReportToVendorWithStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.hub()
	a := b.handedIn(p.ID, true, false)
	b.came(a)
	m := &message.Message{ID: a.ID, AccountID: a.AccountID}
	b.plan(m, b.to(m, 1, message.InboundStorage))
	b.failCommits("mm4_mails")
	if _, err := b.SettleInbound(b.ctx, m.ID); err == nil {
		t.Fatal("the commit went through")
	}
	if got := scalar[string](b, "select status from messages where id = $1", m.ID) + b.mailStates(); got != "accepted" {
		t.Errorf("it is %s without its report", got)
	}
	b.exec("drop function refuse cascade")
	b.failCommits("mm4_origins")
	lost := b.handedIn(p.ID, true, true)
	if _, err := b.Inbound(b.ctx, lost); err == nil {
		t.Fatal("the commit went through")
	}
	if n := b.count("select count(*) from messages where id = $1", lost.ID) + b.count("select count(*) from inbound_messages where id = $1", lost.ID); n != 0 {
		t.Errorf("%d rows of a message that was not taken", n)
	}
}

// A read report of a customer's MMSC goes on to the vendor that asked for one, and the
// customer's is asked for it then.
func TestMM4ReadReportToVendor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.hub()
	asked, silent := b.handedIn(p.ID, false, true), b.handedIn(p.ID, true, false)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for _, a := range []message.Arrival{asked, silent, b.toRecord(b.owned(b.arrival("of another vendor")))} {
		b.came(a)
		if r, err := b.Received(b.ctx, a.ID); err != nil || r.ReadReport != (a.ID == asked.ID) {
			t.Errorf("%t, %v", r.ReadReport, err)
		}
		if err := b.MM4Read(b.ctx, a.ID, at, "Read"); err != nil {
			t.Fatal(err)
		}
	}
	due := b.mails(b.DB, "one")
	if len(due) != 1 || due[0].Kind != message.MM4ReadReport || due[0].MessageID != asked.ID || due[0].PeerID != p.ID || due[0].ReadStatus != "Read" || !due[0].At.Equal(at) || due[0].Origin != *asked.MM4 {
		t.Errorf("%+v", due)
	}
	b.sound()
}

// A vendor that was removed is owed nothing, and what it was owed has ended. What is nobody's
// is reported to nobody.
func TestMM4ReportToVendorGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.hub()
	before, after := b.handedIn(p.ID, true, true), b.handedIn(p.ID, true, true)
	nobodys := b.handedIn(p.ID, true, true)
	nobodys.AccountID, nobodys.Message = message.ID{}, nil
	for _, a := range []message.Arrival{before, after, nobodys} {
		b.came(a)
	}
	if n := b.count("select count(*) from mm4_origins where account_id = $1", b.owner); n != 2 || b.count("select count(*) from mm4_origins") != 2 {
		t.Errorf("%d origins are the owner's", n)
	}
	for i, a := range []message.Arrival{before, after} {
		if i == 1 {
			b.exec("delete from vendors")
		}
		m := &message.Message{ID: a.ID}
		b.plan(m, b.to(m, 1, message.InboundStorage))
		b.settled(m, message.StatusDelivered)
		if err := b.MM4Read(b.ctx, a.ID, time.Now(), "Read"); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.mailStates(); strings.Count(got, "failed 0") != 2 || strings.Contains(got, "pending") {
		t.Error(got)
	}
	b.sound()
}
