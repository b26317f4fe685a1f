package postgres

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// keeper is an account that keeps texts for so many days.
func (b *bundle) keeper(days int) message.ID {
	b.tb.Helper()
	id := message.NewID()
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: id, CompanyName: "Acme", WebhookSecret: "whsec_x"}); err != nil {
		b.tb.Fatal(err)
	}
	if err := b.ChangeAccount(b.ctx, actor, id, AccountChange{ContentRetentionDays: &days}); err != nil {
		b.tb.Fatal(err)
	}
	return id
}

// oldMessage puts a message of an age into the journal.
func (b *bundle) oldMessage(r *rand.Rand, account message.ID, age time.Duration, status message.Status) *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.ID, m.AccountID = oldID(r, time.Now().Add(-age)), account
	m.CreatedAt = m.CreatedAt.Add(-age)
	m.Header, m.TLVs = []byte{0}, []message.TLV{{Tag: 0x1403, Value: []byte{1}}}
	b.store(m)
	b.exec("update messages set status = $2 where id = $1", m.ID, string(status))
	return m
}

// redacted reports whether a message has nothing left of its text, and fails the test
// when it has something.
func (b *bundle) redacted(id message.ID) bool {
	b.tb.Helper()
	m, err := b.DB.Message(b.ctx, id)
	if err != nil {
		b.tb.Fatal(err)
	}
	if m.Redacted != (m.Body == "") || m.Redacted != (len(m.Header) == 0) || m.Redacted != (len(m.TLVs) == 0) {
		b.tb.Errorf("message %s has lost a part of its text: %+v", id, m)
	}
	return m.Redacted
}

// Texts go as each account wants it, and only they.
func TestTextsGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seed := rand.Uint64()
	t.Logf("drawn with seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	due := make(map[message.ID]bool)
	for _, days := range []int{0, 7, 30, 3650} {
		account := b.keeper(days)
		limit := max(time.Duration(days)*aDay, textSlack)
		for range 40 {
			age := time.Duration(r.Int64N(int64(60 * aDay)))
			if d := age - limit; d > -time.Hour && d < time.Hour {
				age = limit + 2*time.Hour
			}
			statuses := message.Statuses()
			status := statuses[r.IntN(len(statuses))]
			m := b.oldMessage(r, account, age, status)
			due[m.ID] = age > limit && status.Final()
		}
	}
	before := b.count("select count(*) from messages")
	check := func(when string) {
		t.Helper()
		for id, want := range due {
			if got := b.redacted(id); got != want {
				t.Errorf("%s: message %s of %s has lost its text: %t, want %t", when, id, timeOf(id), got, want)
			}
		}
	}
	n := 0
	for _, d := range due {
		if d {
			n++
		}
	}
	if rows := b.upkeep(); rows["texts"] != n {
		t.Errorf("%d texts went, want %d", rows["texts"], n)
	}
	check("first")
	if rows := b.upkeep(); rows["texts"] != 0 {
		t.Errorf("%d texts went again", rows["texts"])
	}
	// Those that were under way end.
	for id := range due {
		late := b.count("select count(*) from text_purges_due where message_id = $1", id) == 1
		if m, err := b.Message(b.ctx, id); err != nil || late == m.Status.Final() && late {
			t.Errorf("%s: %v, noted: %t", id, err, late)
		}
		if late {
			b.exec("update messages set status = 'failed' where id = $1", id)
			due[id] = true
		}
	}
	b.upkeep()
	check("after their end")
	if n := b.count("select count(*) from text_purges_due"); n != 0 {
		t.Errorf("%d are still noted", n)
	}
	// An account that keeps less from now on.
	b.exec("update accounts set content_retention_days = 1")
	b.upkeep()
	for id := range due {
		m, err := b.Message(b.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		due[id] = m.Status.Final() && time.Since(timeOf(id)) > aDay || due[id]
	}
	check("of less")
	if n := b.count("select count(*) from messages"); n != before {
		t.Errorf("%d messages, there were %d", n, before)
	}
}

// received is an old message from a handset as it is in the journal, with a part and
// what its account was told.
func (b *bundle) oldInbound(r *rand.Rand, account message.ID, age time.Duration) *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.ID, m.AccountID, m.Direction = oldID(r, time.Now().Add(-age)), account, message.Inbound
	m.Header, m.TLVs = []byte{0}, []message.TLV{{Tag: 0x1403, Value: []byte{1}}}
	b.store(m)
	b.exec("update messages set direction = 'inbound' where id = $1", m.ID)
	const insert = `insert into inbound_messages (id, account_id, vendor_id, fingerprint, from_addr, to_addr, body, raw, user_data_header, subject, media, encoding, received_at, whole_id, parts)
		values ($1, $2, $2, '', 'x', 'y', 'b', 'r', 'u', 's', 'm', 'gsm7', now(), $3, $4)`
	b.exec(insert, m.ID, account, nil, 0)
	b.exec(insert, message.NewID(), account, m.ID, 2)
	return m
}

const inboundTexts = `select count(*) from inbound_messages where (id = $1 or whole_id = $1) and num_nulls(body, raw, user_data_header, subject, media) < 5`

// A message from a handset keeps its text until every destination has it, wherever the
// text is; what the customer was told of it loses it as well.
func TestTextsOfInboundMessagesGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := rand.New(rand.NewPCG(4, 4))
	account := b.keeper(7)
	gone, waits, new := b.oldInbound(r, account, 8*aDay), b.oldInbound(r, account, 8*aDay), b.oldInbound(r, account, 6*aDay)
	for _, m := range []*message.Message{gone, waits, new} {
		hook := b.to(m, 1, message.InboundWebhook)
		hook.Notifications[0].Payload = `{"type":"message.received","timestamp":"2026-11-21T20:16:40.118Z","data":{"from":"+13105550117","body":"Where is it?","message_id":"` + m.ID.String() + `","subject":"Hello","media":[]}}`
		b.plan(m, hook, b.to(m, 2, message.InboundEmail))
		b.exec("update webhook_deliveries set state = 'delivered', last_attempt_at = now() - interval '2 hours' where message_id = $1", m.ID)
		b.exec("update messages set status = 'delivered' where id = $1", m.ID)
	}
	b.exec("update inbound_deliveries set state = 'failed', done_at = now() - interval '2 hours' where method = 'email' and message_id <> $1", waits.ID)
	texts := func(m *message.Message) (n int) {
		if !b.redacted(m.ID) {
			n++
		}
		n += b.count(inboundTexts, m.ID)
		return n + b.count("select count(*) from webhook_deliveries where message_id = $1 and payload like '%Where is it%' and payload like '%Hello%'", m.ID)
	}
	b.upkeep()
	if texts(gone) != 0 || texts(waits) != 4 || texts(new) != 4 {
		t.Errorf("texts left: %d, %d, %d; want 0, 4, 4", texts(gone), texts(waits), texts(new))
	}
	payload := scalar[string](b, "select payload from webhook_deliveries where message_id = $1", gone.ID)
	if !strings.Contains(payload, `"body":null`) || !strings.Contains(payload, `"from":"+13105550117"`) || !strings.Contains(payload, `"type":"message.received"`) || strings.Contains(payload, "subject") {
		t.Errorf("what it was told of is now %s", payload)
	}
	// The last destination has it, but only just: a fall-back may still be planned.
	b.exec("update inbound_deliveries set state = 'delivered', done_at = now() where state = 'pending' and method = 'email'")
	b.upkeep()
	if texts(waits) != 4 {
		t.Error("a text went within the hour")
	}
	b.exec("update inbound_deliveries set done_at = now() - interval '2 hours' where method = 'email'")
	b.upkeep()
	if texts(waits) != 0 || texts(new) != 4 {
		t.Errorf("texts left: %d, %d; want 0, 4", texts(waits), texts(new))
	}
}

// A message that somebody takes in anew is older than those whose texts are gone.
func TestTextsOfRedrivenMessagesGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := rand.New(rand.NewPCG(5, 5))
	b.owner = b.keeper(1)
	lost := b.arrival("where is it?")
	lost.ID = oldID(r, time.Now().Add(-20*aDay))
	b.came(lost)
	b.oldMessage(r, b.owner, 3*aDay, message.StatusDelivered)
	b.upkeep()
	u, err := b.UnroutedMessage(b.ctx, lost.ID)
	if err != nil || u.Text != lost.Text {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := b.Redrive(b.ctx, actor, b.found(u)); err != nil {
		t.Fatal(err)
	}
	b.upkeep()
	if m, err := b.Message(b.ctx, lost.ID); err != nil || m.Redacted {
		t.Fatalf("its text went before it was delivered: %+v, %v", m, err)
	}
	b.exec("delete from inbound_starts")
	b.exec("update messages set status = 'delivered' where id = $1", lost.ID)
	b.upkeep()
	if m, err := b.Message(b.ctx, lost.ID); err != nil || !m.Redacted || b.count(inboundTexts, lost.ID) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

// Whatever moment a process dies at, a text is gone everywhere or nowhere, and the next
// round finishes it; a row that somebody works on is passed over and not forgotten.
func TestTextsGoWholly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := rand.New(rand.NewPCG(6, 6))
	account := b.keeper(7)
	m := b.oldInbound(r, account, 8*aDay)
	b.exec("update messages set status = 'delivered' where id = $1", m.ID)
	whole := func() int {
		n := b.count(inboundTexts, m.ID)
		if !b.redacted(m.ID) {
			n++
		}
		return n
	}
	hold := func(sql string) pgx.Tx {
		tx, err := b.pool.Begin(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(b.ctx, sql, m.ID); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	// The step has the message and its row, and is stopped at the part.
	tx := hold("select from inbound_messages where whole_id = $1 for update")
	u := b.begun(b.replica())
	for u.Table() != "texts" {
		if _, err := u.Step(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := u.Step(b.ctx); sqlState(err) != lockNotAvailable {
		t.Errorf("it waits for what somebody works on: %v", err)
	}
	if err := u.End(b.ctx, false); err != nil {
		t.Fatal(err)
	}
	if whole() != 3 || b.count("select count(*) from text_purges") != 0 {
		t.Errorf("a step that failed has done something: %d texts are left", whole())
	}
	if err := tx.Rollback(b.ctx); err != nil {
		t.Fatal(err)
	}

	tx = hold("select from messages where id = $1 for update")
	b.upkeep()
	if whole() != 3 || b.count("select count(*) from text_purges_due") != 1 {
		t.Errorf("%d texts are left of a message that somebody works on", whole())
	}
	if err := tx.Rollback(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.upkeep()
	if whole() != 0 {
		t.Errorf("%d texts are left", whole())
	}
}

func TestWithoutText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"from":"a","to":"b","body":"x","message_id":"1","received_at":"t","media_urls":["u"]}`: `{"body":null,"from":"a","message_id":"1","received_at":"t","to":"b"}`,
		`{"type":"message.received","data":{"body":"x","subject":"s","tag":null}}`:               `{"data":{"body":null,"tag":null},"type":"message.received"}`,
		`{}`:         `{}`,
		`not json x`: `{}`,
	} {
		if got := withoutText(in); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}
