package main

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// demoReader is what the demo's second user of the account may do: look, and change nothing.
var demoReader = []string{"messages:read", "numbers:read", "webhooks:read", "registry:read", "optouts:read", "usage:read"}

// demoUsers bounds the users of the demo's account; two are made.
const demoUsers = 10

// seedPeople makes those who sign in to the demo's pages: staff of every role, and two users
// of its account. They share one password, which is printed. Nobody is put in place of
// anybody: a password that was lost stays so.
func (d *dev) seedPeople(ctx context.Context, db *postgres.DB, keys *secret.Keyring) error {
	password := secret.NewPassword(staffPasswordLength).Reveal()
	hash, err := secret.Passwords{}.HashPassword(password)
	if err != nil {
		return err
	}
	// Two people may run the demo against one database.
	suffix := "-" + message.Hex32(message.NewID())[24:] + "@postrider.example"
	for _, role := range snapshot.Roles() {
		email := string(role) + suffix
		if role == snapshot.RoleAdmin {
			email = "demo" + suffix
			d.demo.AdminEmail = email
		}
		if _, err := db.CreateStaff(ctx, demoActor, snapshot.Staff{ID: message.NewID(), Email: email, Name: "Demo " + string(role), Role: role, PasswordHash: hash, Active: true}); err != nil {
			return fmt.Errorf("make the demo's staff: %w", err)
		}
	}
	for name, scopes := range map[string][]string{"owner": allScopes, "reader": demoReader} {
		token, sum := gate.NewLink(keys)
		u := snapshot.PortalUser{ID: message.NewID(), AccountID: d.demo.AccountID, Email: name + suffix, Name: "Demo " + name, Scopes: scopes}
		if _, _, err := db.InvitePortalUser(ctx, demoActor, u, demoUsers, sum, time.Hour, nil); err != nil {
			return fmt.Errorf("invite the demo's user: %w", err)
		}
		if _, err := db.RedeemLink(ctx, demoActor, snapshot.Portal, keys.Hasher().Hashes(token), hash); err != nil {
			return fmt.Errorf("give the demo's user a password: %w", err)
		}
	}
	d.demo.AdminPassword, d.demo.PeopleSuffix = password, suffix
	return nil
}

// person is the address that somebody of the demo signs in with: a role, "owner" or "reader".
func (d *dev) person(name string) string { return name + d.demo.PeopleSuffix }
