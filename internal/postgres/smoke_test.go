package postgres

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func mustCompile(s string) *regexp.Regexp { return regexp.MustCompile(s) }

// TestEveryMethod runs every statement once against a real server, on the way of
// one message from acceptance to its last webhook. What each promises in detail
// is tested beside it.
func TestEveryMethod(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	ok("Ping", b.Ping(b.ctx))
	b.smokeConfig(ok)
	m := b.smokeMessage(ok)
	b.smokeReceipts(ok, m)
	b.smokeWebhooks(ok, m)
	b.smokeSMPP(ok)
}

func (b *bundle) smokeConfig(ok func(string, error)) {
	b.tb.Helper()
	s := b.configured()
	credential := s.Credentials["key-"+b.owner.String()]
	ok("SetAccountStatus", b.SetAccountStatus(b.ctx, actor, b.owner, snapshot.AccountSuspended))
	for _, c := range s.Campaigns {
		ok("SetCampaignStatus", b.SetCampaignStatus(b.ctx, actor, c.ID, snapshot.CampaignSuspended))
	}
	ok("CredentialUsed", b.CredentialUsed(b.ctx, credential.ID))
	ok("RevokeCredential", b.RevokeCredential(b.ctx, actor, credential.ID))
	ok("VendorHealth", b.VendorHealth(b.ctx, b.vendor.ID, "healthy"))
	_, err := b.ConfigVersion(b.ctx)
	ok("ConfigVersion", err)
	_, err = b.LoadSnapshot(b.ctx)
	ok("LoadSnapshot", err)
	ctx, cancel := context.WithCancel(b.ctx)
	if err := b.ListenConfig(ctx, cancel); ctx.Err() == nil {
		ok("ListenConfig", err)
	}
}

func (b *bundle) smokeMessage(ok func(string, error)) *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.Segments, m.RetryOf, m.SendAt = 2, message.NewID(), m.CreatedAt.Add(time.Minute)
	key := message.Idempotency{AccountID: b.owner, Operation: "POST /v1/messages", Key: "order-1", BodyHash: [32]byte{1}, Status: 202, Response: []byte(`{"id":"1"}`)}
	_, err := b.Accept(b.ctx, message.Acceptance{Message: m, Idempotency: &key})
	ok("Accept", err)
	_, err = b.FirstAnswer(b.ctx, key)
	ok("FirstAnswer", err)
	_, err = b.Unstarted(b.ctx, "one", 0, 10, nil)
	ok("Unstarted", err)
	_, err = b.Unstarted(b.ctx, "one", time.Second, 10, []message.ID{m.ID})
	ok("Unstarted", err)
	_, err = b.CountUnstarted(b.ctx)
	ok("CountUnstarted", err)
	ok("CallStarts", b.CallStarts(b.ctx, []message.ID{m.ID}, true))
	ok("Started", b.Started(b.ctx, []message.ID{m.ID}))
	for _, c := range []message.Change{
		{To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: b.vendor, Started: true},
		{To: message.StatusSending, Events: line(message.StatusSending), Attempts: []message.Attempt{{Part: 1, Number: 1, Vendor: b.vendor, Instance: "a"}, {Part: 2, Number: 1, Vendor: b.vendor, Instance: "a"}}},
		{Events: []message.Event{{Type: message.EventSubmitRefused}}, VendorCode: "58"},
		{To: message.StatusSent, Submitted: true, Events: line(message.StatusSent), MaybeDoubled: true,
			Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartSubmitted, VendorMessageID: "0A1", NormalizedID: "a1"},
				{Part: 2, Attempt: 1, State: message.PartInDoubt, Reason: message.ReasonSubmitInDoubt}},
			Notifications: []message.Notification{b.notification(m, "message.sent")}},
	} {
		c.MessageID = m.ID
		b.must(c)
	}
	_, err = b.Message(b.ctx, m.ID)
	ok("Message", err)
	_, err = b.AccountMessage(b.ctx, b.owner, m.ID)
	ok("AccountMessage", err)
	_, err = b.Messages(b.ctx, b.owner, message.Filter{Direction: message.Outbound, Statuses: message.Statuses(), Kind: message.SMS, From: m.From, To: m.To,
		ClientReference: "order-8812", BatchID: message.NewID(), CampaignID: "C8X2KQ1", Reason: message.ReasonExpired, Class: message.ClassBulk,
		CreatedAfter: m.CreatedAt, CreatedBefore: m.CreatedAt}, message.NewID(), 50)
	ok("Messages", err)
	_, err = b.Events(b.ctx, m.ID, 0, 100)
	ok("Events", err)
	_, err = b.Parts(b.ctx, m.ID, 2)
	ok("Parts", err)
	_, err = b.Progress(b.ctx, m.ID)
	ok("Progress", err)
	return m
}

func (b *bundle) smokeReceipts(ok func(string, error), m *message.Message) {
	b.tb.Helper()
	_, err := b.Receipt(b.ctx, b.receipt("A1", message.ReceiptDelivered))
	ok("Receipt", err)
	stranger := b.receipt("ffff", message.ReceiptUndeliverable)
	_, err = b.Receipt(b.ctx, stranger)
	ok("Receipt of a stranger", err)
	_, err = b.EarlyReceipts(b.ctx, b.vendor.ID, []string{"ffff"})
	ok("EarlyReceipts", err)
	_, err = b.Unmatched(b.ctx, 0, 10)
	ok("Unmatched", err)
	_, err = b.CountUnmatched(b.ctx)
	ok("CountUnmatched", err)
	_, err = b.SettleDoubt(b.ctx, stranger)
	ok("SettleDoubt", err)
	_, err = b.SettlementsDue(b.ctx, 0, 10)
	ok("SettlementsDue", err)
	_, _, _, err = b.DecidingReceipt(b.ctx, m.ID)
	ok("DecidingReceipt", err)
	ok("DropSettlement", b.DropSettlement(b.ctx, m.ID))
	price := m.Price
	b.must(message.Change{MessageID: m.ID, To: message.StatusUndelivered, Events: line(message.StatusUndelivered), Settled: true, Price: &price,
		Error: message.Refuse(message.ReasonUnreachable, "the vendor reported UNDELIV"), Receipt: &message.ReceiptSummary{Stat: "UNDELIV", Err: "011", At: m.CreatedAt}})
}

func (b *bundle) smokeWebhooks(ok func(string, error), m *message.Message) {
	b.tb.Helper()
	pending, err := b.PendingNotifications(b.ctx, m.ID)
	ok("PendingNotifications", err)
	if len(pending) != 1 {
		b.tb.Fatalf("%d pending notifications", len(pending))
	}
	_, _, err = b.Notification(b.ctx, pending[0])
	ok("Notification", err)
	ok("RecordAttempt", b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: pending[0], MessageID: m.ID, Type: "message.sent", Number: 1,
		HTTPStatus: 503, Millis: 84, Error: "busy", Answer: "try later", State: message.NotificationPending, NextInSecs: 5}))
	_, err = b.OverdueNotifications(b.ctx, 0, 10)
	ok("OverdueNotifications", err)
	ok("DeferNotifications", b.DeferNotifications(b.ctx, pending, time.Hour))
}

func (b *bundle) smokeSMPP(ok func(string, error)) {
	b.tb.Helper()
	credential := scalar[message.ID](b, "select id from smpp_credentials")
	ok("UpdateSMPPCredential", b.UpdateSMPPCredential(b.ctx, actor, credential, snapshot.SMPPCredential{Enabled: true}))
	ok("SetSMPPEnabled", b.SetSMPPEnabled(b.ctx, actor, credential, true))
	ok("SetSMPPPassword", b.SetSMPPPassword(b.ctx, actor, credential, "$2a$10$hash"))
	_, err := b.SMPPCredentialID(b.ctx, "acme")
	ok("SMPPCredentialID", err)
	_, err = b.SMPPCredentials(b.ctx, b.owner)
	ok("SMPPCredentials", err)
	ok("ChangeAccount", b.ChangeAccount(b.ctx, actor, b.owner, AccountChange{MaxHeld: 10}))
	bind := bindOf(credential, "a")
	_, err = b.Bind(b.ctx, bind, 2)
	ok("Bind", err)
	_, err = b.BindsAlive(b.ctx, "a", []message.ID{bind.ID})
	ok("BindsAlive", err)
	ok("EnterAgain", b.EnterAgain(b.ctx, []message.SMPPBind{bind}))
	_, err = b.SurplusBinds(b.ctx, credential, 1)
	ok("SurplusBinds", err)
	_, err = b.HeldDeliveries(b.ctx)
	ok("HeldDeliveries", err)
	_, err = b.EndHeld(b.ctx, b.owner, 10)
	ok("EndHeld", err)
	ok("AuditBind", b.AuditBind(b.ctx, b.owner, "acme", "127.0.0.1", "smpp.bind", "transceiver"))
	m := b.owing(credential)
	list, err := b.ClaimDeliveries(b.ctx, "a", map[message.ID]int{credential: 10}, time.Minute)
	ok("ClaimDeliveries", err)
	if len(list) != 1 {
		b.tb.Fatalf("%d deliveries", len(list))
	}
	ok("ReleaseDeliveries", b.ReleaseDeliveries(b.ctx, "a", []message.ID{list[0].ID}))
	ok("Delivered", b.Delivered(b.ctx, "a", []message.SMPPDelivered{{ID: list[0].ID, MessageID: m.ID, Kind: list[0].Kind, Number: 1, State: message.NotificationDelivered}}))
	_, _, err = b.Answered(b.ctx, credential, list[0].Origin.AnswerID)
	ok("Answered", err)
	_, err = b.Between(b.ctx, credential, list[0].Origin.Source, list[0].Origin.Dest, 10)
	ok("Between", err)
	ok("Unbind", b.Unbind(b.ctx, bind.ID))
}
