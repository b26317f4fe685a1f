package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack"
)

// demoState is what the demo account is known by; it is kept beside the
// database, so that a second start finds what the first has made.
type demoState struct {
	AccountID     message.ID      `json:"account_id"`
	VendorID      message.ID      `json:"vendor_id"`
	APIKey        string          `json:"api_key"`
	APISecret     string          `json:"api_secret"`
	WebhookSecret string          `json:"webhook_secret"`
	SMPPSystemID  string          `json:"smpp_system_id"`
	SMPPPassword  string          `json:"smpp_password"`
	From          message.Address `json:"from"`
	AdminEmail    string          `json:"admin_email"`
	AdminPassword string          `json:"admin_password"`
	PeopleSuffix  string          `json:"people_suffix"` // of their addresses: see person
	StandbyID     message.ID      `json:"standby_id"`    // of the second vendor; zero until there is demo traffic
}

// smscPorts are where the simulator listens.
type smscPorts struct {
	SMPP string `json:"smpp"`
	HTTP string `json:"http"`
}

var demoActor = postgres.Actor{Name: "postrider dev", Role: "demo"}

const (
	demoVendor = "smscsim"
	demoFrom   = message.Address("+12025550143")
	// demoRate is the demo account's messages a second: enough for a load test
	// by hand.
	demoRate = 100_000
)

// demoBind is what the demo's ESMEs may do.
var demoBind = snapshot.SMPPCredential{Enabled: true, MaxBinds: 100, Throughput: demoRate, Window: 100, Receiver: true, Transmitter: true, Transceiver: true,
	ReceiptTLVs: true, LongMO: "udh", MOLifetime: 72 * time.Hour, Alphabet: "gsm7"}

func (d *dev) startSMSC(ctx context.Context) error {
	port, err := choosePort("SMSC_PORT", 2875)
	if err != nil {
		return err
	}
	if err := d.startSimulator(ctx, demoVendor, port, &d.smsc, "--magic"); err != nil || !demoWanted() {
		return err
	}
	return d.startSimulator(ctx, demoStandby, 0, &d.standby)
}

// startSimulator starts an SMSC simulator; port 0 is a free one.
func (d *dev) startSimulator(ctx context.Context, name string, port int, at *smscPorts, args ...string) error {
	ready := filepath.Join(d.dir, "log", name+".json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p, err := stack.StartProcess(stack.ProcessConfig{Name: name, Path: filepath.Join(d.bin(), "smscsim"),
		Args:    append([]string{"--listen", fmt.Sprintf("127.0.0.1:%d", port), "--http", "127.0.0.1:0", "--ready-file", ready}, args...),
		LogFile: filepath.Join(d.dir, "log", name+".log")})
	if err != nil {
		return err
	}
	d.add(name, p.Done(), p.Stop)
	if err := waitFile(ctx, ready, p, at); err != nil {
		return err
	}
	d.say("%-10s  %s, counts at http://%s/stats", name, at.SMPP, at.HTTP)
	return nil
}

// waitFile reads a JSON file that a program writes when it is ready.
func waitFile(ctx context.Context, path string, p *stack.Process, into any) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(path); err == nil {
			return json.Unmarshal(b, into)
		}
		select {
		case <-p.Done():
			return fmt.Errorf("it did not start:\n%s", p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w\n%s", ctx.Err(), p.LogTail())
		case <-tick.C:
		}
	}
}

// prepare applies the migrations and makes the demo account unless a former
// start has.
func (d *dev) prepare(ctx context.Context) error {
	if _, err := postgres.Migrate(ctx, d.config.postgres()); err != nil {
		return err
	}
	keys, err := d.config.keyring()
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, d.config.postgres(), keys.Box(secret.Content))
	if err != nil {
		return err
	}
	defer db.Close()
	defer func() { d.hooks.trust(d.demo.WebhookSecret) }()
	host, port, err := splitPort(d.smsc.SMPP)
	if err != nil {
		return err
	}
	file := filepath.Join(d.dir, "demo.json")
	snap, err := db.LoadSnapshot(ctx)
	if err != nil {
		return err
	}
	if b, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(b, &d.demo); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if snap.Accounts[d.demo.AccountID] != nil {
			if d.demo.PeopleSuffix == "" || snap.Staff[d.demo.AdminEmail] == nil { // an older release made the rest
				if err := errors.Join(d.seedPeople(ctx, db, keys), d.keep(file)); err != nil {
					return err
				}
			}
			return errors.Join(db.SetVendorAddress(ctx, demoActor, d.demo.VendorID, host, port), d.prepareStandby(ctx, db), d.prepareMM4(ctx, db), d.keep(file))
		}
	}
	if err := errors.Join(d.seed(ctx, db, keys, host, port), d.prepareStandby(ctx, db), d.prepareMM4(ctx, db)); err != nil {
		return err
	}
	return d.keep(file)
}

// keep writes what the next start of the demo wants to know.
func (d *dev) keep(file string) error {
	b, err := json.MarshalIndent(d.demo, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// seed makes the demo's configuration.
func (d *dev) seed(ctx context.Context, db *postgres.DB, keys *secret.Keyring, host string, port int) error {
	// A key from which one may not be derived again: two people may run the demo
	// against one database.
	suffix := message.Hex32(message.NewID())[24:]
	d.demo = demoState{AccountID: message.NewID(), VendorID: message.NewID(), APIKey: secret.NewAPIKey(), APISecret: secret.NewAPISecret().Reveal(),
		WebhookSecret: secret.NewWebhookSecret().Reveal(), SMPPSystemID: "demo" + suffix, SMPPPassword: secret.NewPassword(8).Reveal(), From: demoFrom}
	hash, err := bcrypt.GenerateFromPassword([]byte(d.demo.SMPPPassword), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	campaign := message.NewID()
	for _, make := range []func() error{
		func() error {
			return db.CreateAccount(ctx, demoActor, snapshot.Account{ID: d.demo.AccountID, CompanyName: "Demo", APIRateLimit: demoRate, WebhookSecret: d.demo.WebhookSecret,
				MMSFallback: snapshot.MMSFallbackLink}) // the simulators take no MMS
		},
		func() error {
			return db.CreateCampaign(ctx, demoActor, snapshot.Campaign{ID: campaign, AccountID: d.demo.AccountID, CampaignID: "CDEMO" + strings.ToUpper(suffix[:2]),
				UseCase: "ACCOUNT_NOTIFICATION", Status: snapshot.CampaignActive}, "Order and delivery notices of a demo shop")
		},
		func() error {
			return db.CreateNumber(ctx, demoActor, snapshot.Number{Number: d.demo.From, AccountID: d.demo.AccountID, Type: snapshot.LongCode, SMSEnabled: true, MMSEnabled: true, Campaign: campaign})
		},
		func() error {
			return db.CreateCredential(ctx, demoActor, snapshot.Credential{ID: message.NewID(), AccountID: d.demo.AccountID, Name: "demo", Key: d.demo.APIKey,
				SecretHash: keys.Hasher().HashSecret(d.demo.APISecret), Scopes: allScopes})
		},
		func() error {
			c := demoBind
			c.ID, c.AccountID, c.SystemID, c.PasswordHash = message.NewID(), d.demo.AccountID, d.demo.SMPPSystemID, string(hash)
			return db.CreateSMPPCredential(ctx, demoActor, c)
		},
		func() error {
			return db.CreateVendor(ctx, demoActor, snapshot.Vendor{ID: d.demo.VendorID, Name: demoVendor, DisplayName: "SMSC simulator", Host: host, Port: port,
				Username: "postrider", Password: "simulate", Active: true, Window: 200, Throughput: 0, SupportsUnicode: true, SupportsAlphanumeric: true})
		},
		func() error {
			_, err := db.CreateRoute(ctx, demoActor, snapshot.Route{Priority: 10, DestPattern: regexp.MustCompile("^1"), VendorID: d.demo.VendorID, AccountID: d.demo.AccountID, RatePerMsg: 4500})
			return err
		},
	} {
		if err := make(); err != nil {
			return fmt.Errorf("make the demo account: %w", err)
		}
	}
	return d.seedPeople(ctx, db, keys)
}

// writeEnv writes what scripts need to use the running system.
func (d *dev) writeEnv() error {
	lines := []struct{ name, value string }{
		{"POSTRIDER_URL", d.url()},
		{"POSTRIDER_API_URL", d.url()}, // for the command line
		{"POSTRIDER_API_KEY", d.demo.APIKey},
		{"POSTRIDER_API_SECRET", d.demo.APISecret},
		{"POSTRIDER_FROM", string(d.demo.From)},
		{"POSTRIDER_SMPP_ADDR", fmt.Sprintf("127.0.0.1:%d", d.config.SMPPPort)},
		{"POSTRIDER_SMPP_SYSTEM_ID", d.demo.SMPPSystemID},
		{"POSTRIDER_SMPP_PASSWORD", d.demo.SMPPPassword},
		{"POSTRIDER_MM4_ADDR", fmt.Sprintf("127.0.0.1:%d", d.config.MM4Port)},
		{"POSTRIDER_MM4_DOMAIN", d.config.mm4Domains()[0]},
		{"POSTRIDER_MM4_PEER", fmt.Sprintf("127.0.0.1:%d", demoMMSC)},
		{"POSTRIDER_ADMIN_EMAIL", d.demo.AdminEmail},
		{"POSTRIDER_ADMIN_PASSWORD", d.demo.AdminPassword},
		{"POSTRIDER_PEOPLE_SUFFIX", d.demo.PeopleSuffix},
		{"POSTRIDER_TEMPORAL_ADDRESS", d.config.TemporalAddress},
		{"POSTRIDER_TEMPORAL_UI", d.ui},
		{"POSTRIDER_METRICS", fmt.Sprintf("http://127.0.0.1:%d/metrics", d.config.MetricsPort)},
		{"POSTRIDER_SMSC_STATS", "http://" + d.smsc.HTTP + "/stats"},
		{"POSTRIDER_SMSC_MO", "http://" + d.smsc.HTTP + "/mo"},
	}
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s=%s\n", l.name, quoted(l.value))
	}
	// Written whole or not at all: scripts wait for the file.
	path := filepath.Join(d.dir, "demo.env")
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
