package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

// patience ends a test that hangs; it measures nothing.
const patience = 3 * time.Minute

const from = "+12025550143"

// What the account's ESME binds with.
const esmeID, esmePassword = "pbx1", "s3cret!!"

var actor = postgres.Actor{Name: "test", Role: "test"}

// system is the whole of Postrider, started for one test.
type system struct {
	tb       testing.TB
	postgres *stack.Postgres
	temporal *stack.Temporal
	smsc     *stack.Process
	gateway  *stack.Process
	db       *postgres.DB
	hooks    *hooks
	shell    *pgx.Conn // see sql

	env                  []string
	apiPort, metricsPort int
	smppPort             int
	smscStats, smscAddr  string
	key, apiSecret, hook string
	account, vendor      message.ID
	esme                 message.ID // the SMPP credential
	gatewayLog           string
	client               *http.Client
}

// start brings everything up. smscArgs are flags of the simulator.
func start(tb testing.TB, smscArgs ...string) *system {
	tb.Helper()
	s := &system{tb: tb, hooks: startHooks(tb), client: &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	dir := stacktest.Folder(tb)
	s.postgres = stacktest.StartPostgres(tb, stack.PostgresConfig{Throwaway: true})
	s.temporal = stacktest.StartTemporal(tb, stack.TemporalConfig{Postgres: s.postgres.Server()})
	s.startSMSC(dir, smscArgs)
	ctx := stacktest.Context(tb)
	if err := s.postgres.CreateDatabase(ctx, "postrider"); err != nil {
		tb.Fatal(err)
	}
	pg := s.postgres.Server()
	cfg := postgres.Config{Host: pg.Host, Port: pg.Port, User: pg.User, Password: pg.Password, Database: "postrider"}
	if _, err := postgres.Migrate(ctx, cfg); err != nil {
		tb.Fatal(err)
	}
	keyFile := filepath.Join(dir, "keys")
	keys, err := secret.LoadOrCreateKeyring(keyFile)
	if err != nil {
		tb.Fatal(err)
	}
	if s.db, err = postgres.Open(ctx, cfg, keys.Box(secret.Content)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.db.Close)
	s.apiPort, s.metricsPort, s.smppPort = stacktest.FreePort(tb), stacktest.FreePort(tb), stacktest.FreePort(tb)
	s.env = []string{
		"API_HOST=127.0.0.1", "METRICS_HOST=127.0.0.1", "API_PORT=" + strconv.Itoa(s.apiPort),
		"SMPP_HOST=127.0.0.1", "SMPP_PORT=" + strconv.Itoa(s.smppPort), "SMPP_TLS_PORT=0", "MM4_PORT=0", "METRICS_PORT=" + strconv.Itoa(s.metricsPort),
		"POSTGRES_HOST=" + pg.Host, "POSTGRES_PORT=" + strconv.Itoa(pg.Port), "POSTGRES_USER=" + pg.User, "POSTGRES_PASSWORD=" + pg.Password, "POSTGRES_DB=postrider",
		"TEMPORAL_ADDRESS=" + s.temporal.Address(), "TEMPORAL_NAMESPACE=" + s.temporal.Namespace(),
		"POSTRIDER_KEY_FILE=" + keyFile, "WEBHOOK_ALLOW_LOOPBACK=true", "LOG_FORMAT=text", "LOG_LEVEL=info",
	}
	s.gatewayLog = filepath.Join(dir, "gateway.log")
	s.seed(ctx, keys)
	s.startGateway()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the gateway's log ends:\n%s", s.gateway.LogTail())
		}
	})
	return s
}

func (s *system) startSMSC(dir string, args []string) {
	s.tb.Helper()
	ready := filepath.Join(dir, "smscsim.json")
	s.smsc = stacktest.StartProcess(s.tb, stack.ProcessConfig{Name: "smscsim", Path: stacktest.SMSCSim(s.tb),
		Args: append([]string{"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", ready}, args...), LogFile: filepath.Join(dir, "smscsim.log")})
	var at struct{ SMPP, HTTP string }
	s.until("the simulator is ready", func() bool {
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, &at) == nil
	})
	s.smscStats = "http://" + at.HTTP
	s.smscAddr = at.SMPP
}

func (s *system) smscHostPort() (string, int) {
	s.tb.Helper()
	host, port, err := net.SplitHostPort(s.smscAddr)
	if err != nil {
		s.tb.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		s.tb.Fatal(err)
	}
	return host, n
}

// seed makes one account with a number, a campaign, a key, a vendor and a route.
func (s *system) seed(ctx context.Context, keys *secret.Keyring) {
	s.tb.Helper()
	s.account, s.vendor = message.NewID(), message.NewID()
	s.key, s.apiSecret, s.hook = secret.NewAPIKey(), secret.NewAPISecret().Reveal(), secret.NewWebhookSecret().Reveal()
	s.hooks.trust(s.hook)
	campaign := message.NewID()
	s.esme = message.NewID()
	hash, err := bcrypt.GenerateFromPassword([]byte(esmePassword), bcrypt.MinCost)
	if err != nil {
		s.tb.Fatal(err)
	}
	host, port := s.smscHostPort()
	for _, err := range []error{
		s.db.CreateAccount(ctx, actor, snapshot.Account{ID: s.account, CompanyName: "Test", APIRateLimit: 100_000, WebhookSecret: s.hook}),
		s.db.CreateCampaign(ctx, actor, snapshot.Campaign{ID: campaign, AccountID: s.account, CampaignID: "CTEST01", Status: snapshot.CampaignActive}, ""),
		s.db.CreateNumber(ctx, actor, snapshot.Number{Number: from, AccountID: s.account, Type: snapshot.LongCode, SMSEnabled: true, MMSEnabled: true, Campaign: campaign}),
		s.db.CreateCredential(ctx, actor, snapshot.Credential{ID: message.NewID(), AccountID: s.account, Key: s.key, SecretHash: keys.Hasher().HashSecret(s.apiSecret),
			Scopes: []string{"messages:write", "messages:read", "media:write", "webhooks:read", "webhooks:write"}}),
		s.db.CreateSMPPCredential(ctx, actor, snapshot.SMPPCredential{ID: s.esme, AccountID: s.account, SystemID: esmeID, PasswordHash: string(hash),
			Enabled: true, MaxBinds: 10, Throughput: 100_000, Window: 100, Receiver: true, Transmitter: true, Transceiver: true,
			ReceiptTLVs: true, LongMO: "udh", MOLifetime: time.Hour, Alphabet: "gsm7"}),
		s.db.CreateVendor(ctx, actor, snapshot.Vendor{ID: s.vendor, Name: "sim", Host: host, Port: port, Username: "postrider", Password: "test", Active: true, Window: 100, SupportsUnicode: true, ResponseTimeout: 3 * time.Second}),
	} {
		if err != nil {
			s.tb.Fatal(err)
		}
	}
	if _, err := s.db.CreateRoute(ctx, actor, snapshot.Route{Priority: 10, DestPattern: regexp.MustCompile("^1"), VendorID: s.vendor, RatePerMsg: 4500}); err != nil {
		s.tb.Fatal(err)
	}
}

// second starts another gateway on the same database and Temporal, with ports of
// its own, and gives the one where ESMEs bind.
func (s *system) second(dir string) (*stack.Process, int) {
	s.tb.Helper()
	api, metrics, port := stacktest.FreePort(s.tb), stacktest.FreePort(s.tb), stacktest.FreePort(s.tb)
	env := append(slices.Clone(s.env), "API_PORT="+strconv.Itoa(api), "METRICS_PORT="+strconv.Itoa(metrics), "SMPP_PORT="+strconv.Itoa(port))
	p := stacktest.StartProcess(s.tb, stack.ProcessConfig{Name: "second gateway", Path: stacktest.Postrider(s.tb), Args: []string{"serve"},
		Env: append(os.Environ(), env...), LogFile: filepath.Join(dir, "second.log")})
	s.until("the second gateway is ready", func() bool { return s.ready(p, metrics) })
	return p, port
}

func (s *system) startGateway() {
	s.tb.Helper()
	s.gateway = stacktest.StartProcess(s.tb, stack.ProcessConfig{Name: "gateway", Path: stacktest.Postrider(s.tb), Args: []string{"serve"},
		Env: append(os.Environ(), s.env...), LogFile: s.gatewayLog})
	s.until("the gateway is ready", func() bool { return s.ready(s.gateway, s.metricsPort) })
}

// restartGateway ends the gateway in order and starts it with s.env as it is now.
func (s *system) restartGateway() {
	s.tb.Helper()
	if err := s.gateway.Stop(stacktest.Context(s.tb)); err != nil {
		s.tb.Fatal(err)
	}
	s.startGateway()
}

func (s *system) ready(p *stack.Process, metricsPort int) bool {
	s.tb.Helper()
	if !p.Running() {
		s.tb.Fatalf("the gateway did not start:\n%s", p.LogTail())
	}
	resp, err := s.client.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", metricsPort))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// until looks again and again until the condition holds.
func (s *system) until(what string, holds func() bool) {
	s.tb.Helper()
	defer func(began time.Time) {
		if took := time.Since(began); took > 3*time.Second { // where the time of the suite goes
			s.tb.Logf("%.1f s until %s", took.Seconds(), what)
		}
	}(time.Now())
	deadline := time.After(patience)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			s.tb.Fatalf("gave up waiting until %s", what)
		}
	}
}

// smscGet reads JSON from the simulator.
func (s *system) smscGet(path string, into any) {
	s.tb.Helper()
	resp, err := s.client.Get(s.smscStats + path)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		s.tb.Fatal(err)
	}
}
