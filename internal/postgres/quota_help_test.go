package postgres

import (
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// customer makes an account, in a time zone, that pays in advance if credit is above 0.
func (b *bundle) customer(zone string, credit message.Micros) message.ID {
	b.tb.Helper()
	id := message.NewID()
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: id, CompanyName: "Acme", WebhookSecret: "whsec_x", TimeZone: zone}); err != nil {
		b.tb.Fatal(err)
	}
	if credit > 0 {
		if err := b.SetPrepaid(b.ctx, actor, id, true); err != nil {
			b.tb.Fatal(err)
		}
		b.credit(id, credit)
	}
	return id
}

func (b *bundle) credit(account message.ID, amount message.Micros) {
	b.tb.Helper()
	if _, err := b.Book(b.ctx, actor, message.BalanceEntry{AccountID: account, Kind: message.EntryCredit, Amount: amount, Currency: "USD"}); err != nil {
		b.tb.Fatal(err)
	}
}

func (b *bundle) limit(account message.ID, number message.Address, kind message.Kind, p message.Period, parts int64) {
	b.tb.Helper()
	if err := b.SetUsageLimit(b.ctx, actor, message.UsageLimit{AccountID: account, Number: number, Kind: kind, Period: p, Parts: parts}); err != nil {
		b.tb.Fatal(err)
	}
}

// metered is an acceptance of an account with limits or a balance.
func (b *bundle) metered(account message.ID, parts int) message.Acceptance {
	m := b.draft()
	m.AccountID, m.Segments = account, parts
	m.Price.Amount *= message.Micros(parts)
	return message.Acceptance{Message: m, Metered: true, Trail: []message.TrailEntry{{Rule: "sender_owned", Result: message.Pass}, {Rule: "route", Result: message.Pass}}}
}

// withKey gives an acceptance a key, and the answer of a refusal that may not pass
// later.
func withKey(a message.Acceptance, key string) message.Acceptance {
	answer := func(status int, body string) *message.Idempotency {
		return &message.Idempotency{AccountID: a.Message.AccountID, Operation: "POST /v1/messages", Key: key, BodyHash: [32]byte{1}, Status: status, Response: []byte(body)}
	}
	a.Idempotency = answer(202, "accepted "+a.Message.ID.String())
	a.Unfit = func(m *message.Message) (*message.Idempotency, []message.Notification, error) {
		if m.Error.Retryable() {
			return nil, nil, nil
		}
		return answer(m.Error.Reason.Entry().HTTP, string(m.Error.Reason)), nil, nil
	}
	return a
}

// entered accepts and reports the refusal.
func (b *bundle) entered(db *DB, a message.Acceptance) message.Accepted {
	b.tb.Helper()
	got, err := db.Accept(b.ctx, a)
	if err != nil {
		b.tb.Fatal(err)
	}
	return got
}

// fits fails the test unless the message was accepted, or refused for the reason.
func (b *bundle) fits(a message.Acceptance, want message.Reason) *message.Message {
	b.tb.Helper()
	got := b.entered(b.DB, a)
	var reason message.Reason
	if got.Fit.Refused != nil {
		reason = got.Fit.Refused.Reason
	}
	if reason != want {
		b.tb.Fatalf("refused for %q (%+v), want %q", reason, got.Fit.Trail, want)
	}
	return a.Message
}

// used reads what is taken of an account's limits at a time, in order.
func (b *bundle) used(account message.ID, at time.Time) string {
	b.tb.Helper()
	limits, err := b.Limits(b.ctx, account, at)
	if err != nil {
		b.tb.Fatal(err)
	}
	s := ""
	for _, u := range limits {
		s += fmt.Sprintf("%s%s %s %d/%d; ", u.Number, u.Kind, u.Period, u.Used, u.Parts)
	}
	return s
}

// money reads an account's balance and what is reserved of it, and fails the test
// when the ledger does not add up to it.
func (b *bundle) money(account message.ID) string {
	b.tb.Helper()
	m, err := b.Balance(b.ctx, account)
	if err != nil {
		b.tb.Fatal(err)
	}
	entries, err := b.BalanceEntries(b.ctx, account, 0, 1_000_000)
	if err != nil {
		b.tb.Fatal(err)
	}
	sum := message.Micros(0)
	for i := len(entries) - 1; i >= 0; i-- {
		if sum += entries[i].Amount; entries[i].After != sum {
			b.tb.Errorf("after entry %d the balance is said to be %s, it is %s", entries[i].Sequence, entries[i].After, sum)
		}
	}
	if sum != m.Amount {
		b.tb.Errorf("the ledger sums up to %s, the balance is %s", sum, m.Amount)
	}
	return m.Amount.String() + " " + m.Reserved.String()
}

// ends brings a message to its end in a way.
func (b *bundle) ends(m *message.Message, how string) {
	b.tb.Helper()
	final := func(to message.Status, price message.Micros) message.Change {
		return message.Change{MessageID: m.ID, To: to, Events: line(to), Started: true, Price: &message.Price{Amount: price, Currency: "USD"}}
	}
	attempt := func(number int) {
		c := message.Change{MessageID: m.ID, To: message.StatusSending}
		for p := range m.Segments {
			c.Attempts = append(c.Attempts, message.Attempt{Part: p + 1, Number: number, Vendor: b.vendor, Instance: "one"})
		}
		b.must(c)
	}
	answer := func(to message.Status, state message.PartState, number int) {
		c := message.Change{MessageID: m.ID, To: to}
		for p := range m.Segments {
			c.Answers = append(c.Answers, message.Answer{Part: p + 1, Attempt: number, State: state})
		}
		b.must(c)
	}
	if how != "canceled" && how != "rejected" {
		b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true})
	}
	switch how {
	case "canceled":
		b.must(final(message.StatusCanceled, 0))
	case "rejected": // at admission, which settles no price
		b.must(message.Change{MessageID: m.ID, To: message.StatusRejected, Started: true})
	case "expired":
		b.must(final(message.StatusExpired, 0))
	case "refused":
		attempt(1)
		answer(message.StatusQueued, message.PartRefused, 1)
		b.must(final(message.StatusFailed, 0))
	case "partial": // the price is that of the record
		attempt(1)
		answer("", message.PartSubmitted, 1)
		b.must(final(message.StatusFailed, 0))
	case "doubted":
		attempt(1)
		b.must(final(message.StatusExpired, m.Price.Amount))
	case "delivered", "undelivered", "unconfirmed", "late":
		attempt(1)
		answer(message.StatusSent, message.PartSubmitted, 1)
		to := message.Status(how)
		if how == "late" {
			b.must(final(message.StatusUnconfirmed, m.Price.Amount))
			to = message.StatusDelivered
		}
		b.must(final(to, m.Price.Amount))
	default:
		b.tb.Fatal(how)
	}
}

// leaves says of each way whether something left the gateway, and whether it is
// charged.
var endings = map[string]struct{ left, charged bool }{
	"canceled": {}, "rejected": {}, "expired": {}, "refused": {}, "partial": {true, false}, "doubted": {true, true},
	"delivered": {true, true}, "undelivered": {true, true}, "unconfirmed": {true, true}, "late": {true, true},
}
