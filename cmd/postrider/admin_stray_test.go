package main

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

func TestAdminRedriveAndMatch(t *testing.T) {
	s := startShell(t)
	var account struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	const nobodys, ours = "+12025550177", "+12025550178"
	var lost, found, also message.ID
	ctx := t.Context()
	err := withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
		for id, to := range map[*message.ID]message.Address{&lost: nobodys, &found: ours, &also: ours} {
			a := message.Arrival{ID: message.NewID(), Sender: "+13105550117", Number: to,
				InboundMessage: message.InboundMessage{VendorID: message.NewID(), VendorRef: message.NewID().String(), Text: "hello", Encoding: message.EncodingGSM7}}
			*id = a.ID
			if _, err := db.Inbound(ctx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"redrive"}, {"redrive", lost.String(), "--all"}, {"redrive", "--number", "x!"}, {"redrive", lost.String()}, {"redrive", message.NewID().String()}} {
		if _, _, err := command(t, append([]string{"admin", "inbound"}, words...)...); err == nil {
			t.Errorf("%q was done", words)
		}
	}
	s.admin(nil, "number", "add", ours, "--account", account.ID)
	s.admin(nil, "number", "set", ours, "--auto-reply", "we are closed")
	if got := s.row("select auto_reply from numbers where number = $1", ours); got != "we are closed" {
		t.Errorf("it answers %q", got)
	}
	if _, _, err := command(t, "admin", "number", "set", ours, "--auto-reply", strings.Repeat("x", maxReply+1)); err == nil {
		t.Error("an answer of any length")
	}
	s.admin(nil, "inbound", "redrive", found.String())
	out, _, err := command(t, "admin", "inbound", "redrive", "--all")
	if err != nil || out != "1 on their way, 1 left\n" {
		t.Errorf("%q, %v", out, err)
	}
	if got := s.row("select count(*)::text from inbound_starts where account_id::text = $1 and message_id = any($2)", account.ID, []string{found.String(), also.String()}); got != "2" {
		t.Errorf("%s are to be started", got)
	}
	receipt, vendor := message.NewID(), message.NewID()
	err = withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
		_, err := db.Receipt(ctx, message.Receipt{ID: receipt, VendorID: vendor, VendorMessageID: "b2", State: message.ReceiptDelivered, Source: "13105550117", Destination: "12025550178"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err := command(t, "admin", "receipt", "unmatched"); err != nil || !strings.Contains(out, receipt.String()) || strings.Contains(out, "3105550117") {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := s.conn.Exec(ctx, "insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) values ($1, 1, 1, $2, 'north', 'one', 'submitted')", found, vendor); err != nil {
		t.Fatal(err)
	}
	s.admin(nil, "receipt", "match", receipt.String(), found.String())
	if got := s.row("select state from segments where message_id = $1", found); got != "delivered" {
		t.Errorf("the part is %s", got)
	}
}
