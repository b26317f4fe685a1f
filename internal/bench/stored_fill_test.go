package main

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// What the journal is filled with is in the feed of whose it is: what customers are told
// of each message, and what they are told of besides.
func TestFillIsInTheFeed(t *testing.T) {
	ctx := stacktest.Context(t)
	const name = "stored_fill"
	server := stacktest.Postgres(t).Server()
	if err := server.CreateDatabase(ctx, name); err != nil {
		t.Fatal(err)
	}
	cfg := postgres.Config{Host: server.Host, Port: server.Port, User: server.User, Password: server.Password, Database: name}
	if _, err := postgres.Migrate(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	keys, err := secret.LoadOrCreateKeyring(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(ctx, cfg, keys.Box(secret.Content))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const from = "+12025550143"
	by, account := postgres.Actor{Name: "test", Role: "test"}, message.NewID()
	for _, err := range []error{
		db.CreateAccount(ctx, by, snapshot.Account{ID: account, CompanyName: "Test"}),
		db.CreateNumber(ctx, by, snapshot.Number{Number: from, AccountID: account, Type: snapshot.LongCode, SMSEnabled: true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(ctx, server.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	const n = 2000 // of which every twentieth is the account's
	k := &keeper{runner: &runner{load: &load{api: &api{from: from}}, out: io.Discard}, messages: n, conn: conn}
	if err := k.fill(ctx, time.Now().Add(-storedFor)); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	q := message.FeedQuery{AccountID: account, Limit: 200}
	for {
		page, err := db.Feed(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			kinds[e.Type]++
		}
		if q.Behind = page.Next; !page.More {
			break
		}
	}
	if each := n / storedAccounts; kinds["message.accepted"] != each || kinds["message.sent"] != each || kinds["message.delivered"] != each || kinds["opt_out.created"] != n/1000 || len(kinds) != 4 {
		t.Errorf("%v", kinds)
	}
}
