package postgres

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Replicas add to one entry an account and minute, whatever their order; only the
// account's own are listed, and old ones go.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	minute := time.Now().UTC().Truncate(time.Minute)
	other := message.NewID()
	entry := func(account message.ID, at time.Time, scope string, n int64) message.RateRefusals {
		return message.RateRefusals{AccountID: account, Minute: at, Edge: "rest", Scope: scope, Count: n}
	}
	list := []message.RateRefusals{
		entry(b.owner, minute, "account", 1), entry(b.owner, minute, "number", 2), entry(other, minute, "account", 3),
		entry(b.owner, minute.Add(-time.Minute), "key", 4), entry(b.owner, minute.Add(-91*24*time.Hour), "key", 5),
	}
	turned := []message.RateRefusals{list[2], list[1], list[0], list[3]}
	replicas := []*DB{b.DB, b.replica()}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := replicas[i%2].AddRefusals(b.ctx, [][]message.RateRefusals{list, turned}[i%2]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got, err := b.Refusals(b.ctx, b.owner, minute.Add(-time.Hour))
	want := []message.RateRefusals{entry(b.owner, minute, "account", 20), entry(b.owner, minute, "number", 40), entry(b.owner, minute.Add(-time.Minute), "key", 80)}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v, want %v", err, got, want)
	}
	if got, err := b.Refusals(b.ctx, b.owner, minute); err != nil || len(got) != 2 {
		t.Errorf("%v, since this minute %v", err, got)
	}
	if n := b.count("select count(*) from rate_refusals where minute < now() - interval '90 days'"); n != 0 {
		t.Errorf("%d old entries are left", n)
	}
	if err := b.AddRefusals(b.ctx, nil); err != nil {
		t.Error(err)
	}
}

func TestSetRates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.configured()
	key := s.Credentials["key-"+b.owner.String()].ID
	for _, err := range []error{
		b.SetAccountRate(b.ctx, actor, b.owner, 30, 60), b.SetCredentialRate(b.ctx, actor, key, 20, 40), b.SetNumberRate(b.ctx, actor, "+12025550143", 3),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.RefreshSnapshot(b.ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	a, c, n := s.Accounts[b.owner], s.CredentialByID(key), s.Numbers["+12025550143"]
	if a.APIRateLimit != 30 || a.APIBurst != 60 || c.RateLimit != 20 || c.Burst != 40 || n.RateLimit != 3 {
		t.Errorf("account %d+%d, key %d+%d, number %d", a.APIRateLimit, a.APIBurst, c.RateLimit, c.Burst, n.RateLimit)
	}
	for _, err := range []error{
		b.SetAccountRate(b.ctx, actor, message.NewID(), 1, 0), b.SetCredentialRate(b.ctx, actor, message.NewID(), 1, 0), b.SetNumberRate(b.ctx, actor, "+12025550199", 1),
	} {
		if message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("of nobody: %v", err)
		}
	}
	two, number := message.NewID(), message.Address("+12025550188")
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: two, CompanyName: "Two", WebhookSecret: "x", APIBurst: 5}); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateCredential(b.ctx, actor, snapshot.Credential{ID: message.NewID(), AccountID: two, Key: "k", SecretHash: []byte("h"), RateLimit: 4, Burst: 6}); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateNumber(b.ctx, actor, snapshot.Number{Number: number, AccountID: two, Type: snapshot.LongCode, RateLimit: 7}); err != nil {
		t.Fatal(err)
	}
	if s, err = b.RefreshSnapshot(b.ctx, s); err != nil || s.Accounts[two].APIBurst != 5 || s.Credentials["k"].Burst != 6 || s.Numbers[number].RateLimit != 7 {
		t.Errorf("created: %v, %+v, %+v, %+v", err, s.Accounts[two], s.Credentials["k"], s.Numbers[number])
	}
}
