package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack"
)

var actor = postgres.Actor{Name: "chaos", Role: "chaos"}

// Of the vendors' links. The times are short, so that what is half open is found in
// seconds and not in a minute; everything else is as an operator would set it.
const (
	vendorWindow   = 50
	vendorBinds    = 2 // one of each process with the role vendors
	vendorTimeout  = 5 * time.Second
	vendorEnquire  = 5 * time.Second
	ratePerMessage = 4500 // micros
)

// seed writes what an operator would: the vendors, routes to them, the accounts. It
// lays the wire to the webhooks' endpoint as well, which every message names.
func (w *World) seed(ctx context.Context, _ WorldOptions) error {
	ports, err := stack.FreePorts(1)
	if err != nil {
		return err
	}
	w.hooks = net.JoinHostPort(loopback, strconv.Itoa(ports[0]))
	if _, err := w.wire(allGateways, peerCustomer, w.hooks); err != nil {
		return err
	}
	for i, name := range []string{vendorAcme, vendorZeta} {
		if err := w.seedVendor(ctx, w.Vendors[name], 10*(i+1)); err != nil {
			return fmt.Errorf("vendor %s: %w", name, err)
		}
	}
	for i, a := range []*Account{
		{Name: accountPrudent, Delivery: message.AtMostOnce},
		{Name: accountEager, Delivery: message.AtLeastOnce},
		{Name: accountPBX, Delivery: message.AtMostOnce, SystemIDs: []string{"pbx-a", "pbx-b"}},
		{Name: accountNeighbour, Delivery: message.AtMostOnce},
	} {
		a.From = message.Address("+1202555014" + strconv.Itoa(i))
		if err := w.seedAccount(ctx, a); err != nil {
			return fmt.Errorf("account %s: %w", a.Name, err)
		}
		w.Accounts[a.Name] = a
	}
	for i := range mmsNumbers {
		if err := w.DB.CreateNumber(ctx, actor, snapshot.Number{Number: message.Address(mmsNumber(i)), AccountID: w.Accounts[accountNeighbour].ID, Type: snapshot.LongCode,
			SMSEnabled: true, MMSEnabled: true}); err != nil {
			return fmt.Errorf("a number of %s: %w", accountNeighbour, err)
		}
	}
	return nil
}

// HookURL is where the account's webhooks go, through the wire.
func (w *World) HookURL(account string) string {
	return "http://" + w.Wires[wireName(allGateways, peerCustomer)].Addr() + "/hooks/" + account
}

// seedVendor makes the vendor and a route to it for everything.
func (w *World) seedVendor(ctx context.Context, v *Vendor, priority int) error {
	host, port, err := splitAddr(w.Wires[wireName(allGateways, v.Name)].Addr())
	if err != nil {
		return err
	}
	v.ID = message.NewID()
	if err := w.DB.CreateVendor(ctx, actor, snapshot.Vendor{ID: v.ID, Name: v.Name, Host: host, Port: port, Username: "postrider", Password: "test",
		Active: true, Window: vendorWindow, MaxBinds: vendorBinds, SupportsUnicode: true, ResponseTimeout: vendorTimeout, EnquireLink: vendorEnquire}); err != nil {
		return err
	}
	_, err = w.DB.CreateRoute(ctx, actor, snapshot.Route{Name: v.Name, Priority: priority, DestPattern: regexp.MustCompile("^1"), VendorID: v.ID, RatePerMsg: ratePerMessage})
	return err
}

// seedAccount makes the account with a number, a campaign, an API key and its ESMEs.
func (w *World) seedAccount(ctx context.Context, a *Account) error {
	a.ID, a.Key, a.Secret, a.HookSecret = message.NewID(), secret.NewAPIKey(), secret.NewAPISecret().Reveal(), secret.NewWebhookSecret().Reveal()
	a.Password = "s3cret!!"
	campaign := message.NewID()
	hash, err := bcrypt.GenerateFromPassword([]byte(a.Password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	err = w.DB.CreateAccount(ctx, actor, snapshot.Account{ID: a.ID, CompanyName: a.Name, Delivery: a.Delivery, APIRateLimit: 100_000,
		WebhookSecret: a.HookSecret, QuietHours: quiet.PolicyOff, InternalDelivery: true})
	for _, write := range []func() error{
		func() error {
			return w.DB.CreateCampaign(ctx, actor, snapshot.Campaign{ID: campaign, AccountID: a.ID, CampaignID: "CCHAOS" + string(a.From[len(a.From)-1:]), Status: snapshot.CampaignActive}, "")
		},
		func() error {
			return w.DB.CreateNumber(ctx, actor, snapshot.Number{Number: a.From, AccountID: a.ID, Type: snapshot.LongCode, SMSEnabled: true, MMSEnabled: true, Campaign: campaign})
		},
		func() error {
			return w.DB.CreateCredential(ctx, actor, snapshot.Credential{ID: message.NewID(), AccountID: a.ID, Key: a.Key, SecretHash: w.keys.Hasher().HashSecret(a.Secret),
				Scopes: []string{"messages:write", "messages:read", "media:write"}})
		},
	} {
		if err == nil {
			err = write()
		}
	}
	if err == nil && (len(a.SystemIDs) > 0 || a.Name == accountNeighbour) { // messages over SMPP name no URL, nor do those that come in
		err = w.DB.CreateEndpoint(ctx, actor, snapshot.Endpoint{ID: message.NewID(), AccountID: a.ID, URL: w.HookURL(a.Name), Secret: a.HookSecret})
	}
	for _, id := range a.SystemIDs {
		err = errors.Join(err, w.DB.CreateSMPPCredential(ctx, actor, snapshot.SMPPCredential{ID: message.NewID(), AccountID: a.ID, SystemID: id, PasswordHash: string(hash),
			Enabled: true, MaxBinds: 10, Throughput: 100_000, Window: 100, Receiver: true, Transmitter: true, Transceiver: true,
			ReceiptTLVs: true, LongMO: "udh", MOLifetime: time.Hour, Alphabet: "gsm7"}))
	}
	return err
}
