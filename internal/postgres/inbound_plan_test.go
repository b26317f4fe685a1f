package postgres

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// mo is an inbound message as ingress stores it.
func (b *bundle) mo() *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.Direction, m.From, m.To = message.Inbound, "+13105550117", "+12025550143"
	b.store(m)
	b.exec("update messages set direction = 'inbound' where id = $1", m.ID)
	return m
}

// to is a destination of the message with what has to be done for it.
func (b *bundle) to(m *message.Message, position int, method message.InboundMethod) message.InboundPlanned {
	p := message.InboundPlanned{InboundDelivery: message.InboundDelivery{Position: position, Method: method, State: message.InboundPending}}
	switch method {
	case message.InboundWebhook:
		p.Notifications = []message.Notification{{ID: message.NewID(), EventID: m.ID, AccountID: m.AccountID, MessageID: m.ID, Type: "message.received",
			URL: fmt.Sprintf("https://shop.example/%d", position), Payload: "{}", Method: "PUT", Retries: new(3)}}
	case message.InboundEmail:
		p.Email = "inbox@shop.example"
	case message.InboundStorage:
		p.State = message.InboundStored
	}
	return p
}

func (b *bundle) plan(m *message.Message, plan ...message.InboundPlanned) []message.InboundOwed {
	b.tb.Helper()
	owed, err := b.PlanInbound(b.ctx, m.ID, plan, "")
	if err != nil {
		b.tb.Fatal(err)
	}
	return owed
}

// states are those of the message's destinations, in order.
func (b *bundle) states(m *message.Message) []message.InboundState {
	b.tb.Helper()
	list, err := b.InboundOutcomes(b.ctx, m.ID)
	if err != nil {
		b.tb.Fatal(err)
	}
	return pick(list, func(d message.InboundDelivery) message.InboundState { return d.State })
}

func (b *bundle) settled(m *message.Message, want message.Status) {
	b.tb.Helper()
	got, err := b.SettleInbound(b.ctx, m.ID)
	if err != nil || got != want {
		b.tb.Errorf("settled as %s, %v, want %s", got, err, want)
	}
}

// Everything that is owed is written with the plan, once; what was planned first holds.
func TestPlanInbound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	poked := 0
	b.OnOwed(func() { poked++ })
	m := b.mo()
	hook, esme, box := b.to(m, 1, message.InboundWebhook), b.to(m, 2, message.InboundSMPP), b.to(m, 3, message.InboundEmail)
	esme.Credential = b.esme(b.owner, "acme")
	hook.Notifications[0].InboundRoute = message.NewID()
	hook.Fallback = &message.Fallback{AfterSeconds: 60, Place: message.Place{Method: message.InboundEmail, Email: "night@shop.example"}}

	owed := b.plan(m, hook, esme, box)
	if len(owed) != 3 || len(owed[0].Notifications) != 1 || owed[0].Fallback == nil || owed[0].Fallback.Email != "night@shop.example" ||
		owed[1].Until.Before(time.Now().Add(71*time.Hour)) || owed[2].Email != "inbox@shop.example" {
		t.Fatalf("%+v", owed)
	}
	if poked != 1 {
		t.Errorf("the SMPP edge was told %d times", poked)
	}
	// From memory first, then as it is written.
	for range 2 {
		n, state, err := b.Notification(b.ctx, hook.Notifications[0].ID)
		if err != nil || state != message.NotificationPending || n.InboundRoute != hook.Notifications[0].InboundRoute || n.InboundPosition != 1 ||
			n.Method != "PUT" || n.Retries == nil || *n.Retries != 3 || n.MessageID != m.ID {
			t.Errorf("%+v, %s, %v", n, state, err)
		}
	}
	list := b.claim(b.DB, "a", map[message.ID]int{esme.Credential: 5})
	if len(list) != 1 || list[0].Message.ID != m.ID || list[0].Kind != message.DeliverMessage {
		t.Errorf("claimed %+v", list)
	}
	// Another run, with other settings.
	again := b.plan(m, b.to(m, 1, message.InboundStorage))
	if len(again) != 3 || again[0].Method != message.InboundWebhook || again[0].Notifications[0] != hook.Notifications[0].ID {
		t.Errorf("planned again: %+v", again)
	}
	if n := b.count("select count(*) from message_events where message_id = $1 and type = 'delivery_planned'", m.ID); n != 1 {
		t.Errorf("%d lines about the plan", n)
	}
	if n := b.count("select count(*) from webhooks_due where delivery_id = $1", hook.Notifications[0].ID); n != 1 {
		t.Error("nobody will tell the endpoint if this process dies")
	}
}

// Two processes that plan the same message write one plan.
func TestPlanInboundAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	for range 5 {
		m := b.mo()
		var wg sync.WaitGroup
		for _, db := range []*DB{b.DB, other} {
			wg.Go(func() {
				if owed, err := db.PlanInbound(b.ctx, m.ID, []message.InboundPlanned{b.to(m, 1, message.InboundWebhook)}, ""); err != nil || len(owed) != 1 || len(owed[0].Notifications) != 1 {
					t.Errorf("%+v, %v", owed, err)
				}
			})
		}
		wg.Wait()
		if n := b.count("select count(*) from webhook_deliveries where message_id = $1", m.ID); n != 1 {
			t.Errorf("%d deliveries", n)
		}
	}
}

// Only inbound messages are planned, and a credential of another account, or one that
// is gone, takes none.
func TestPlanInboundRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	out := b.accepted(1)
	if _, err := b.PlanInbound(b.ctx, out.ID, nil, ""); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("an outbound message: %v", err)
	}
	if _, err := b.Received(b.ctx, out.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("an outbound message: %v", err)
	}
	m := b.mo()
	esme := b.to(m, 1, message.InboundSMPP)
	esme.Credential = b.esme(message.NewID(), "others")
	owed := b.plan(m, esme)
	if len(owed) != 1 || owed[0].State != message.InboundFailed || owed[0].LastError == "" {
		t.Errorf("%+v", owed)
	}
	b.settled(m, message.StatusFailed)
}

// tell records a try at the message's webhook.
func (b *bundle) tell(p message.InboundPlanned, number int, state message.NotificationState) {
	b.tb.Helper()
	n := p.Notifications[0]
	if err := b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: n.ID, MessageID: n.MessageID, Number: number, HTTPStatus: 500, State: state}); err != nil {
		b.tb.Fatal(err)
	}
}

// A try over MM4 has a line of its own in the timeline.
func TestRecordMM4(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.mo()
	b.plan(m, b.to(m, 1, message.InboundMM4), b.to(m, 2, message.InboundEmail))
	for position := range 2 {
		if err := b.RecordMail(b.ctx, m.ID, position+1, message.InboundPending, "451 4.3.0"); err != nil {
			t.Fatal(err)
		}
	}
	events, err := b.Events(b.ctx, m.ID, 0, 50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[message.EventType]int{}
	for _, e := range events {
		seen[e.Type]++
	}
	if seen[message.EventMM4] != 1 || seen[message.EventEmail] != 1 {
		t.Errorf("%v", seen)
	}
}

// The message is what its destinations come to: delivered with the first that takes it,
// failed with the last that does not, and delivered after all when it is told again.
func TestSettleInbound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.mo()
	hook, box := b.to(m, 1, message.InboundWebhook), b.to(m, 2, message.InboundEmail)
	b.settled(m, message.StatusAccepted) // not planned
	b.plan(m, hook, box)
	b.settled(m, message.StatusAccepted)
	b.tell(hook, 1, message.NotificationPending)
	if err := b.RecordMail(b.ctx, m.ID, 2, message.InboundPending, "the relay put it off with 451"); err != nil {
		t.Fatal(err)
	}
	b.settled(m, message.StatusAccepted)
	b.tell(hook, 2, message.NotificationFailed)
	b.settled(m, message.StatusAccepted)
	if err := b.RecordMail(b.ctx, m.ID, 2, message.InboundFailed, "the relay refused it with 550"); err != nil {
		t.Fatal(err)
	}
	list, err := b.InboundOutcomes(b.ctx, m.ID)
	if err != nil || len(list) != 2 || list[0].State != message.InboundFailed || list[0].Attempts != 2 || list[0].LastError != "HTTP 500" ||
		list[1].State != message.InboundFailed || list[1].Attempts != 2 || list[1].LastError != "the relay refused it with 550" || list[1].DoneAt.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	b.settled(m, message.StatusFailed)
	b.settled(m, message.StatusFailed)
	// A try that comes in late, and one that somebody asked for.
	if err := b.RecordMail(b.ctx, m.ID, 2, message.InboundDelivered, ""); err != nil || b.states(m)[1] != message.InboundFailed {
		t.Errorf("%v, %v", b.states(m), err)
	}
	b.exec("update webhook_deliveries set state = 'delivered' where message_id = $1", m.ID)
	b.settled(m, message.StatusDelivered)
	b.settled(m, message.StatusDelivered)
	events, err := b.Events(b.ctx, m.ID, 0, 50)
	if err != nil {
		t.Fatal(err)
	}
	kinds := pick(events, func(e message.Event) string { return string(e.Type) })
	if want := []string{"accepted", "delivery_planned", "webhook_attempt", "email_attempt", "webhook_attempt", "email_attempt", "failed", "delivered"}; !slices.Equal(kinds, want) {
		t.Errorf("its story is %v, want %v", kinds, want)
	}
	for i, e := range events {
		if e.Sequence != i+1 {
			t.Errorf("line %d has number %d", i+1, e.Sequence)
		}
	}
}

// What is in the store has arrived, unless something is still under way.
func TestSettleStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.mo()
	hook := b.to(m, 1, message.InboundWebhook)
	b.plan(m, hook, b.to(m, 2, message.InboundStorage))
	b.settled(m, message.StatusAccepted)
	b.tell(hook, 1, message.NotificationFailed)
	b.settled(m, message.StatusDelivered)
}

// A message whose one destination is an ESME becomes what the edge writes of it.
func TestInboundByESME(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	owe := func(more ...message.InboundPlanned) *message.Message {
		m := b.mo()
		p := b.to(m, 1, message.InboundSMPP)
		p.Credential = credential
		b.plan(m, append([]message.InboundPlanned{p}, more...)...)
		b.settled(m, message.StatusAccepted)
		return m
	}
	status := func(m *message.Message) message.Status {
		return message.Status(scalar[string](b, "select status from messages where id = $1", m.ID))
	}
	took := owe()
	b.record(b.tried(took, 1, message.NotificationPending, time.Minute))
	if status(took) != message.StatusAccepted {
		t.Errorf("after a try that failed it is %s", status(took))
	}
	b.record(b.tried(took, 2, message.NotificationDelivered, 0))
	if status(took) != message.StatusDelivered || b.states(took)[0] != message.InboundDelivered {
		t.Errorf("taken, it is %s, %v", status(took), b.states(took))
	}
	refused := owe()
	b.record(b.tried(refused, 1, message.NotificationFailed, 0))
	if status(refused) != message.StatusFailed {
		t.Errorf("refused, it is %s", status(refused))
	}
	late := owe()
	b.exec("update smpp_deliveries set expires_at = now() where message_id = $1", late.ID)
	b.claim(b.DB, "a", nil)
	if status(late) != message.StatusDelivered || b.states(late)[0] != message.InboundStored {
		t.Errorf("nobody came for it: %s, %v", status(late), b.states(late))
	}
	// Where there is more to wait for, the workflow decides.
	other := b.mo()
	p, hook := b.to(other, 1, message.InboundSMPP), b.to(other, 2, message.InboundWebhook)
	p.Credential = credential
	b.plan(other, p, hook)
	b.record(b.tried(other, 1, message.NotificationFailed, 0))
	if status(other) != message.StatusAccepted {
		t.Errorf("one of two refused: %s", status(other))
	}
}

// A message to several ESMEs of its owner is owed to each.
func TestInboundToTwoESMEs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.esme(b.owner, "one"), b.esme(b.owner, "two")
	m := b.mo()
	first, second := b.to(m, 1, message.InboundSMPP), b.to(m, 2, message.InboundSMPP)
	first.Credential, second.Credential = one, two
	b.plan(m, first, second)
	if list := b.claim(b.DB, "a", map[message.ID]int{one: 1, two: 1}); len(list) != 2 {
		t.Errorf("claimed %d", len(list))
	}
}

// A fall-back takes what was not delivered, once, and ends what was under way.
func TestFallBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	fall := &message.Fallback{AfterSeconds: 60, Place: message.Place{Method: message.InboundWebhook, URL: "https://shop.example/night"}}
	for _, method := range []message.InboundMethod{message.InboundSMPP, message.InboundWebhook, message.InboundEmail} {
		m := b.mo()
		p := b.to(m, 1, method)
		p.Fallback = fall
		if method == message.InboundSMPP {
			p.Credential = credential
		}
		b.plan(m, p)
		to := b.to(m, 101, message.InboundWebhook)
		owed, err := b.FallBack(b.ctx, m.ID, 1, to)
		if err != nil || owed == nil || len(owed.Notifications) != 1 || owed.Position != 101 {
			t.Fatalf("%s: %+v, %v", method, owed, err)
		}
		if again, err := b.FallBack(b.ctx, m.ID, 1, b.to(m, 101, message.InboundWebhook)); err != nil || again == nil || again.Notifications[0] != owed.Notifications[0] {
			t.Errorf("%s, again: %+v, %v", method, again, err)
		}
		if got := b.states(m); !slices.Equal(got, []message.InboundState{message.InboundFailed, message.InboundPending}) {
			t.Errorf("%s: %v", method, got)
		}
		if n := b.count("select (select count(*) from smpp_deliveries where message_id = $1 and state = 'pending') + (select count(*) from webhook_deliveries where message_id = $1 and state = 'pending')", m.ID); n != 1 {
			t.Errorf("%s: %d are under way", method, n)
		}
		b.tell(to, 1, message.NotificationDelivered)
		b.settled(m, message.StatusDelivered)
	}
	// It has arrived: there is no need.
	m := b.mo()
	p := b.to(m, 1, message.InboundWebhook)
	p.Fallback = fall
	b.plan(m, p)
	b.tell(p, 1, message.NotificationDelivered)
	if owed, err := b.FallBack(b.ctx, m.ID, 1, b.to(m, 101, message.InboundWebhook)); err != nil || owed != nil {
		t.Errorf("%+v, %v", owed, err)
	}
	// It has failed by itself: its own reason stays.
	m = b.mo()
	p = b.to(m, 1, message.InboundWebhook)
	p.Fallback = fall
	b.plan(m, p)
	b.tell(p, 1, message.NotificationFailed)
	if owed, err := b.FallBack(b.ctx, m.ID, 1, b.to(m, 101, message.InboundWebhook)); err != nil || owed == nil {
		t.Errorf("%+v, %v", owed, err)
	}
	if list, _ := b.InboundOutcomes(b.ctx, m.ID); list[0].LastError != "HTTP 500" {
		t.Errorf("%+v", list[0])
	}
}

// Settings keep the ids and secrets of their positions, and are the account's own.
func TestSetInboundRoutes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.esme(b.owner, "acme")
	b.number("+12025550143", b.owner)
	n := 0
	secret := func() string { n++; return fmt.Sprintf("whsec_%d", n) }
	set := func(number message.Address, stamp string, list ...message.Destination) (message.DestinationSet, error) {
		return b.SetInboundRoutes(b.ctx, actor, message.DestinationSet{AccountID: b.owner, Number: number, List: list}, stamp, secret)
	}
	hook := message.Destination{Place: message.Place{Method: message.InboundWebhook, URL: "https://shop.example/sms"}, Active: true,
		Fallback: &message.Fallback{AfterSeconds: 60, Place: message.Place{Method: message.InboundEmail, Email: "a@shop.example"}}}
	store := message.Destination{Place: message.Place{Method: message.InboundStorage}, Active: true}

	first, err := set("+12025550143", "", hook, store)
	if err != nil || len(first.List) != 2 || first.List[0].WebhookSecret != "whsec_1" || first.List[1].WebhookSecret != "" || !first.Secrets[1] || first.List[0].Fallback.Email != "a@shop.example" {
		t.Fatalf("%+v, %v", first, err)
	}
	read, err := b.InboundRoutes(b.ctx, b.owner, "+12025550143")
	if err != nil || read.Stamp != first.Stamp || read.List[0].WebhookSecret != "" || !read.Secrets[1] {
		t.Errorf("%+v, %v", read, err)
	}
	if _, err := set("", "", store); err != nil {
		t.Fatal(err)
	}
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	of := s.Destinations.Of(b.owner, "+12025550143")
	if len(of) != 2 || of[0].WebhookSecret != "whsec_1" || s.Destinations.ByID(of[0].ID) != of[0] {
		t.Errorf("%+v", of)
	}
	if of := s.Destinations.Of(b.owner, "+12025550199"); len(of) != 1 || of[0].Method != message.InboundStorage {
		t.Errorf("the account's: %+v", of)
	}
	if of := s.Destinations.Of(message.NewID(), "+12025550143"); of != nil {
		t.Errorf("another account's: %+v", of)
	}
	// Changed: the secret stays, and the id with it; what is over the end goes.
	hook.URL = "https://shop.example/sms2"
	second, err := set("+12025550143", first.Stamp, hook)
	if err != nil || len(second.List) != 1 || second.List[0].ID != first.List[0].ID || second.List[0].WebhookSecret != "" || !second.Secrets[1] || second.Stamp == first.Stamp {
		t.Errorf("%+v, %v", second, err)
	}
	if _, err := set("+12025550143", first.Stamp, store); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("a stale one: %v", err)
	}
	hook.WebhookSecret = "chosen"
	if third, err := set("+12025550143", "", hook); err != nil || third.List[0].WebhookSecret != "" {
		t.Errorf("%+v, %v", third, err)
	}
	if s, err = b.RefreshSnapshot(b.ctx, s); err != nil || s.Destinations.Of(b.owner, "+12025550143")[0].WebhookSecret != "chosen" {
		t.Errorf("%v", err)
	}
	// None at all, and a number of somebody else.
	if none, err := set("+12025550143", ""); err != nil || len(none.List) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
	b.number("+12025550144", message.NewID())
	for _, number := range []message.Address{"+12025550144", "+12025550145"} {
		if _, err := set(number, "", store); message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("%s: %v", number, err)
		}
		if _, err := b.InboundRoutes(b.ctx, b.owner, number); message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("%s: %v", number, err)
		}
	}
	if n := b.count("select count(*) from audit_log where action = 'inbound_routes.set' and (before::text like '%whsec%' or after::text like '%whsec%' or after::text like '%chosen%')"); n != 0 {
		t.Error("the audit log has a secret")
	}
}

// number gives an account a number, and makes the account if need be.
func (b *bundle) number(number message.Address, account message.ID) {
	b.tb.Helper()
	if b.count("select count(*) from accounts where id = $1", account) == 0 {
		if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: account, CompanyName: "Owner", WebhookSecret: "x"}); err != nil {
			b.tb.Fatal(err)
		}
	}
	b.exec("insert into numbers (number, account_id, type) values ($1, $2, 'long_code')", string(number), account)
}

// An account sees its own inbound messages, oldest first, with what became of each.
func TestReceivedMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []*message.Message
	for range 4 {
		all = append(all, b.mo())
	}
	b.accepted(1)
	b.exec("update messages set account_id = $2 where id = $1", all[3].ID, message.NewID())
	b.exec("update messages set to_addr = '+12025550144' where id = $1", all[1].ID)
	b.exec("update messages set created_at = now() - interval '1 day' where id = $1", all[0].ID)
	hook := b.to(all[2], 1, message.InboundWebhook)
	b.plan(all[2], hook, b.to(all[2], 2, message.InboundStorage))
	b.tell(hook, 1, message.NotificationPending)
	list := func(f message.ReceivedFilter, behind message.ID, limit int) []message.ID {
		got, err := b.ReceivedMessages(b.ctx, b.owner, f, behind, limit)
		if err != nil {
			t.Fatal(err)
		}
		return pick(got, func(r message.ReceivedState) message.ID { return r.ID })
	}
	for name, c := range map[string]struct {
		got, want []message.ID
	}{
		"all":         {list(message.ReceivedFilter{}, message.ID{}, 9), ids(all[0], all[1], all[2])},
		"the first":   {list(message.ReceivedFilter{}, message.ID{}, 1), ids(all[0])},
		"behind":      {list(message.ReceivedFilter{}, all[0].ID, 9), ids(all[1], all[2])},
		"to":          {list(message.ReceivedFilter{To: "+12025550144"}, message.ID{}, 9), ids(all[1])},
		"from":        {list(message.ReceivedFilter{From: "+13105550117"}, message.ID{}, 9), ids(all[0], all[1], all[2])},
		"from nobody": {list(message.ReceivedFilter{From: "+13105550118"}, message.ID{}, 9), ids()},
		"after":       {list(message.ReceivedFilter{After: time.Now().Add(-time.Hour)}, message.ID{}, 9), ids(all[1], all[2])},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	one, err := b.ReceivedMessage(b.ctx, b.owner, all[2].ID)
	if err != nil || one.Body != all[2].Body || !one.Complete || one.ReceivedAt.IsZero() || len(one.Deliveries) != 2 || one.Deliveries[0].Attempts != 1 ||
		one.Deliveries[0].State != message.InboundPending || one.Deliveries[1].State != message.InboundStored {
		t.Errorf("%+v, %v", one, err)
	}
	for _, id := range []message.ID{all[3].ID, b.accepted(1).ID, message.NewID()} {
		if _, err := b.ReceivedMessage(b.ctx, b.owner, id); message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("%v", err)
		}
	}
}

// Every statement about inbound messages finds its rows by an index.
func TestDeliveryPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	b.exec("insert into accounts (id, company_name, webhook_secret) select distinct account_id, 'x', ''::bytea from messages")
	b.fillSMPP()
	b.exec("update messages set direction = 'inbound' where created_at::text ~ '7$'")
	b.exec("insert into inbound_routes (id, account_id, position, method) select gen_random_uuid(), id, 1, 'storage' from accounts")
	b.exec(analyze)
	listed, args := receivedQuery(message.NewID(), message.ReceivedFilter{From: "+13105550117"}, message.NewID(), 50)
	narrow, narrowed := receivedQuery(message.NewID(), message.ReceivedFilter{To: "+13105550117"}, message.NewID(), 50)
	for _, q := range []struct {
		name, sql string
		params    int
		uses      string
	}{
		{"ReceivedMessages", listed, len(args), "messages_received"},
		{"ReceivedMessages to", narrow, len(narrowed), "messages_"},
		{"ReceivedMessage", selectReceivedOf, 2, "Index Cond"},
		{"details", selectReceivedDetails, 3, "inbound_messages_pkey"},
		{"InboundOutcomes", selectOutcomes, 1, "webhook_deliveries_message"},
		{"outcomes of several", selectOutcomesOf, 1, "smpp_deliveries_message"},
		{"owed", selectOwed, 1, "inbound_deliveries_pkey"},
		{"SettleInbound", settleInbound, 3, "inbound_deliveries_pkey"},
		{"end webhooks", endWebhooks, 3, "webhook_deliveries_message"},
		{"end SMPP", endSMPP, 3, "smpp_deliveries_message"},
		{"RecordMail", recordInboundTry, 5, "inbound_deliveries_pkey"},
		{"InboundRoutes", selectDestinationsOf, 2, "inbound_routes"},
	} {
		// As it is set in production, where plans are made while tables are young.
		plan := b.explain(q.sql, q.params, "off")
		if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, q.uses) {
			t.Errorf("%s does not go by %s:\n%s", q.name, q.uses, plan)
		}
	}
}

// Messages of a conversation go to the ESME in the order in which they came, whichever of
// them was planned first.
func TestInboundPlannedLateGoesFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	first, second := b.mo(), b.mo()
	for _, m := range []*message.Message{second, first} {
		p := b.to(m, 1, message.InboundSMPP)
		p.Credential = credential
		b.plan(m, p)
	}
	b.wants("the first that came", credential, 10, first)
	b.record(b.tried(first, 1, message.NotificationDelivered, 0))
	b.wants("the second", credential, 10, second)
}

// Who has read the settings before somebody changed the number's own answer does not undo
// that unseen.
func TestStampCoversAutoReply(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.number("+12025550143", b.owner)
	set := func(stamp, reply string) (message.DestinationSet, error) {
		return b.SetInboundRoutes(b.ctx, actor, message.DestinationSet{AccountID: b.owner, Number: "+12025550143", AutoReply: &reply}, stamp, func() string { return "whsec_1" })
	}
	first, err := set("", "we are out")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set(first.Stamp, "we are back"); err != nil {
		t.Errorf("read just now: %v", err)
	}
	if _, err := set(first.Stamp, "still out"); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("read before: %v", err)
	}
}
