package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/smpp"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

// Roles that a process can have. Each is served by at least one process of an
// installation.
var allRoles = []string{"rest", "smpp", "mm4", "messages", "media", "notify", "vendors", "console"}

// Config is what a process reads from its environment, once, at its start. What
// concerns customers, vendors and routes is rows in the database instead, and
// takes effect while the process runs.
type Config struct {
	// APIHost and APIPort are where the customer API listens. TLS ends at the
	// proxy before it.
	APIHost string `env:"API_HOST" envDefault:"0.0.0.0"`
	APIPort int    `env:"API_PORT" envDefault:"8080"`
	// PublicURL is where customers reach the API; it stands in the pages'
	// examples.
	PublicURL string `env:"PUBLIC_URL"`
	// What GET /v1/connection-info tells customers beside PublicURL and the ports, for the
	// gateway does not see what is in front of it. SMPPPublicHost and MM4PublicHost are the
	// names that they connect to; empty: not said. The public ports are those of a load
	// balancer; 0: SMPPPort, SMPPTLSPort if there is a certificate, and MM4Port.
	// SourceAddresses are the addresses and networks (comma-separated) that the gateway
	// connects from.
	SMPPPublicHost    string   `env:"SMPP_PUBLIC_HOST"`
	SMPPPublicPort    int      `env:"SMPP_PUBLIC_PORT"`
	SMPPPublicTLSPort int      `env:"SMPP_PUBLIC_TLS_PORT"`
	MM4PublicHost     string   `env:"MM4_PUBLIC_HOST"`
	MM4PublicPort     int      `env:"MM4_PUBLIC_PORT"`
	SourceAddresses   []string `env:"SOURCE_ADDRESSES"`

	// TwilioDoor serves messages under /2010-04-01 as Twilio's API does, and JasminDoor
	// under /send, /rate and /balance as Jasmin's does. The latter has user names and
	// passwords in URLs, which proxies log: it is open only where it is asked for.
	TwilioDoor bool `env:"TWILIO_DOOR" envDefault:"true"`
	JasminDoor bool `env:"JASMIN_DOOR"`
	// TrustedProxies are the addresses (CIDR, comma-separated) of the proxies
	// whose X-Forwarded-For is believed. Without it, allowed addresses and the
	// limits per address see the proxy only.
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES"`
	// SMPPHost and SMPPPort are where customers bind. SMPPTLSPort is the same
	// under TLS, once there is a certificate: two PEM files, which are read again
	// when they change. A port of 0 is not listened on.
	SMPPHost    string `env:"SMPP_HOST" envDefault:"0.0.0.0"`
	SMPPPort    int    `env:"SMPP_PORT" envDefault:"2775"`
	SMPPTLSPort int    `env:"SMPP_TLS_PORT" envDefault:"2776"`
	SMPPTLSCert string `env:"SMPP_TLS_CERT"`
	SMPPTLSKey  string `env:"SMPP_TLS_KEY"`
	// SMPPOutbindPort is where vendors connect to send us an outbind, in the role
	// vendors, under TLS with the same certificate if SMPPOutbindTLS. 0: nowhere.
	SMPPOutbindPort int  `env:"SMPP_OUTBIND_PORT"`
	SMPPOutbindTLS  bool `env:"SMPP_OUTBIND_TLS"`
	// SMPPProxyFrom are the addresses (CIDR, comma-separated) of the proxies that
	// say by PROXY protocol who is behind them.
	SMPPProxyFrom []netip.Prefix `env:"SMPP_PROXY_FROM"`
	// SMPPMaxUnbound bounds those of SMPPMaxConnections that have not proved a
	// password; the oldest of them makes room for a new one. 0: the default 1000, or
	// one less than SMPPMaxConnections.
	SMPPMaxUnbound int `env:"SMPP_MAX_UNBOUND"`
	// SMPPMaxConnections bounds the connections of this process, bound or not, and
	// SMPPMaxPerAddress those from one address (a /64 in IPv6), of which
	// SMPPConnectRate may be opened in ten seconds. Who has many customers behind
	// one address raises the latter two. 0: the defaults 5000, 50 and 100.
	SMPPMaxConnections int `env:"SMPP_MAX_CONNECTIONS"`
	SMPPMaxPerAddress  int `env:"SMPP_MAX_PER_ADDRESS"`
	SMPPConnectRate    int `env:"SMPP_CONNECT_RATE"`
	// SMPPInactivity unbinds a session after so long without any request but
	// enquire_link. 0: never.
	SMPPInactivity time.Duration `env:"SMPP_INACTIVITY"`
	// MM4Host and MM4Port are where MM4 peers connect. 0: they cannot.
	MM4Host string `env:"MM4_HOST" envDefault:"0.0.0.0"`
	MM4Port int    `env:"MM4_PORT" envDefault:"2566"`
	// MM4Domain has the domains (comma-separated) of our numbers' addresses, such as
	// mms.example.com; the first is written. Empty: the host of PublicURL, else the
	// machine's name. MM4Hostname is what we call ourselves; empty: the first domain.
	MM4Domain   string `env:"MM4_DOMAIN"`
	MM4Hostname string `env:"MM4_HOSTNAME"`
	// MM4TLSCert and MM4TLSKey are for STARTTLS: two PEM files, which are read again when
	// they change. Without them it is not offered.
	MM4TLSCert string `env:"MM4_TLS_CERT"`
	MM4TLSKey  string `env:"MM4_TLS_KEY"`
	// MM4ProxyFrom is as SMPPProxyFrom.
	MM4ProxyFrom []netip.Prefix `env:"MM4_PROXY_FROM"`
	// MM4MaxSessions bounds the sessions of this process, MM4MaxPerAddress those from one
	// address, of which MM4ConnectRate may be opened in ten seconds. 0: the defaults
	// 1000, 50 and 100.
	MM4MaxSessions   int `env:"MM4_MAX_SESSIONS"`
	MM4MaxPerAddress int `env:"MM4_MAX_PER_ADDRESS"`
	MM4ConnectRate   int `env:"MM4_CONNECT_RATE"`
	// RedisHost is where rates are counted for all replicas together. Empty: each
	// process counts for itself, and N of them let through up to N times as much.
	RedisHost     string `env:"REDIS_HOST"`
	RedisPort     int    `env:"REDIS_PORT" envDefault:"6379"`
	RedisPassword string `env:"REDIS_PASSWORD"`
	RedisTLS      bool   `env:"REDIS_TLS"`
	// RegistryURL is the campaign registry's API with its version, such as
	// https://registry.example/v2; RegistryKey and RegistrySecret are our account
	// there. Without them brands and campaigns are described here and filed nowhere.
	RegistryURL    string        `env:"REGISTRY_URL"`
	RegistryKey    string        `env:"REGISTRY_KEY"`
	RegistrySecret secret.String `env:"REGISTRY_SECRET"`
	// MetricsHost and MetricsPort serve /metrics, /healthz and /readyz. They are
	// not for the public.
	MetricsHost string `env:"METRICS_HOST" envDefault:"0.0.0.0"`
	MetricsPort int    `env:"METRICS_PORT" envDefault:"9090"`
	// PprofPort serves the Go runtime's profiles, on 127.0.0.1 only. 0: not.
	PprofPort int `env:"PPROF_PORT"`

	PostgresHost     string `env:"POSTGRES_HOST" envDefault:"127.0.0.1"`
	PostgresPort     int    `env:"POSTGRES_PORT" envDefault:"5432"`
	PostgresUser     string `env:"POSTGRES_USER" envDefault:"postrider"`
	PostgresPassword string `env:"POSTGRES_PASSWORD"`
	PostgresDB       string `env:"POSTGRES_DB" envDefault:"postrider"`
	PostgresSSLMode  string `env:"POSTGRES_SSLMODE" envDefault:"prefer"`
	// PostgresMaxConns bounds the connections of this process.
	PostgresMaxConns int `env:"POSTGRES_MAX_CONNS" envDefault:"20"`

	TemporalAddress   string `env:"TEMPORAL_ADDRESS" envDefault:"127.0.0.1:7233"`
	TemporalNamespace string `env:"TEMPORAL_NAMESPACE" envDefault:"postrider"`
	// TemporalUIURL is where staff look at workflows: the internal API links there.
	// Empty: it does not.
	TemporalUIURL string `env:"TEMPORAL_UI_URL"`
	// TemporalUIServer is the URL of the server of the Temporal UI, which the console shows
	// to staff for reading at /console/temporal, the path that it must have as its public
	// one; the links lead there unless TemporalUIURL is set. Empty: it does not.
	TemporalUIServer string `env:"TEMPORAL_UI_SERVER"`

	// Keys is the keyring, "id:base64,id:base64": the first seals, the others
	// still open. KeyFile holds the same in a file, which is made on a first
	// start when it does not exist; one of the two must be set.
	Keys    string `env:"POSTRIDER_KEYS"`
	KeyFile string `env:"POSTRIDER_KEY_FILE"`

	// MediaStore is where files of media are kept: a folder, or
	// s3://bucket?region=…&endpoint=…, the same for all processes. Empty: the folder media
	// beside KeyFile; without one there is no store, and nothing can be uploaded.
	MediaStore string `env:"MEDIA_STORE"`
	// MediaSealed has files sealed with the keyring. Either way both kinds are read.
	MediaSealed bool `env:"MEDIA_SEALED" envDefault:"true"`

	// WebhookAllowLoopback lets webhooks go to this machine and over plain
	// http: for development only.
	WebhookAllowLoopback bool `env:"WEBHOOK_ALLOW_LOOPBACK"`
	// EmailRelay is where inbound messages that go to e-mail addresses are handed over:
	// host:port, or smtp://user:password@host:port (smtps:// with TLS from the start).
	// Empty: there is none, and such deliveries fail. EmailFrom is the address that they
	// come from; empty: postrider@ and the relay's host.
	EmailRelay secret.String `env:"EMAIL_RELAY"`
	EmailFrom  string        `env:"EMAIL_FROM"`
	// InvitationsLogged writes the links of invitations to the log when there is no
	// EmailRelay: for development only, since whoever reads one can use it.
	InvitationsLogged bool `env:"INVITATIONS_LOGGED"`
	// EmailMaxBytes is the most octets of an e-mail as it is sent; the files of a message
	// that do not fit are links. 0: all are.
	EmailMaxBytes int64 `env:"EMAIL_MAX_BYTES" envDefault:"10000000"`
	// Currency is what the routes' rates are in.
	Currency string `env:"CURRENCY" envDefault:"USD"`
	// InboundPartsWait is how long after its newest part an inbound message waits for
	// the others before it is delivered as it is.
	InboundPartsWait time.Duration `env:"INBOUND_PARTS_WAIT" envDefault:"60s"`
	// RetentionDays is how long messages are kept from their acceptance, with all that
	// belongs to them; RetentionStrayDays the same of what came in for nobody: messages
	// to numbers without an owner, receipts that match nothing.
	RetentionDays      int `env:"RETENTION_DAYS" envDefault:"400"`
	RetentionStrayDays int `env:"RETENTION_STRAY_DAYS" envDefault:"30"`
	// Starters bounds the workflow starts under way at once. 0: the default.
	Starters int `env:"STARTERS" envDefault:"0"`
	// AdmissionBusy is how many accepted messages may wait for their workflows before
	// this process takes AdmissionRate a second only, and AdmissionFull how many before
	// it takes none; each class counts itself and the more urgent ones. 0: the defaults
	// 50,000, 200 and 250,000.
	AdmissionBusy int `env:"ADMISSION_BUSY"`
	AdmissionRate int `env:"ADMISSION_RATE"`
	AdmissionFull int `env:"ADMISSION_FULL"`

	LogLevel  string `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"json"`

	// RabbitMQHost is taken so that configurations of the gateway before this
	// one still start; nothing uses it.
	RabbitMQHost string `env:"RABBITMQ_HOST"`
}

func readConfig() (Config, error) {
	var c Config
	if err := env.Parse(&c); err != nil {
		return c, err
	}
	var errs []error
	for name, port := range map[string]int{"API_PORT": c.APIPort, "METRICS_PORT": c.MetricsPort, "PPROF_PORT": c.PprofPort, "POSTGRES_PORT": c.PostgresPort,
		"SMPP_PORT": c.SMPPPort, "SMPP_TLS_PORT": c.SMPPTLSPort, "SMPP_OUTBIND_PORT": c.SMPPOutbindPort, "MM4_PORT": c.MM4Port, "REDIS_PORT": c.RedisPort,
		"SMPP_PUBLIC_PORT": c.SMPPPublicPort, "SMPP_PUBLIC_TLS_PORT": c.SMPPPublicTLSPort, "MM4_PUBLIC_PORT": c.MM4PublicPort} {
		if port < 0 || port > 65535 {
			errs = append(errs, fmt.Errorf("%s is %d; want 0 to 65535", name, port))
		}
	}
	for name, n := range map[string]int{"SMPP_MAX_CONNECTIONS": c.SMPPMaxConnections, "SMPP_MAX_PER_ADDRESS": c.SMPPMaxPerAddress,
		"SMPP_CONNECT_RATE": c.SMPPConnectRate, "SMPP_MAX_UNBOUND": c.SMPPMaxUnbound,
		"MM4_MAX_SESSIONS": c.MM4MaxSessions, "MM4_MAX_PER_ADDRESS": c.MM4MaxPerAddress, "MM4_CONNECT_RATE": c.MM4ConnectRate,
		"ADMISSION_BUSY": c.AdmissionBusy, "ADMISSION_RATE": c.AdmissionRate, "ADMISSION_FULL": c.AdmissionFull} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("%s is %d; want a number from 1, or 0 for the default", name, n))
		}
	}
	if most := cmp.Or(c.SMPPMaxConnections, smpp.DefaultMaxConnections); c.SMPPMaxUnbound > 0 && c.SMPPMaxUnbound >= most {
		errs = append(errs, fmt.Errorf("SMPP_MAX_UNBOUND is %d; want less than SMPP_MAX_CONNECTIONS, which is %d", c.SMPPMaxUnbound, most))
	}
	if busy := cmp.Or(c.AdmissionBusy, ingress.DefaultBusy); busy > cmp.Or(c.AdmissionFull, ingress.DefaultFull) {
		errs = append(errs, fmt.Errorf("ADMISSION_BUSY is %d; want at most ADMISSION_FULL, which is %d", busy, cmp.Or(c.AdmissionFull, ingress.DefaultFull)))
	}
	if c.SMPPInactivity < 0 {
		errs = append(errs, fmt.Errorf("SMPP_INACTIVITY is %s; want a time such as 5m, or 0 for never", c.SMPPInactivity))
	}
	if c.InboundPartsWait < time.Second || c.InboundPartsWait > time.Hour {
		errs = append(errs, fmt.Errorf("INBOUND_PARTS_WAIT is %s; want 1s to 1h", c.InboundPartsWait))
	}
	if c.Keys == "" && c.KeyFile == "" {
		errs = append(errs, errors.New("set POSTRIDER_KEYS or POSTRIDER_KEY_FILE: without a key nothing can be stored"))
	}
	if err := c.checkRetention(); err != nil {
		errs = append(errs, err)
	}
	if err := c.checkRegistry(); err != nil {
		errs = append(errs, err)
	}
	if err := c.checkMM4(); err != nil {
		errs = append(errs, err)
	}
	if err := c.checkSources(); err != nil {
		errs = append(errs, err)
	}
	if (c.SMPPTLSCert == "") != (c.SMPPTLSKey == "") {
		errs = append(errs, errors.New("set both of SMPP_TLS_CERT and SMPP_TLS_KEY, or neither"))
	}
	if c.Keys != "" && c.KeyFile != "" {
		errs = append(errs, errors.New("set one of POSTRIDER_KEYS and POSTRIDER_KEY_FILE, not both"))
	}
	return c, errors.Join(errs...)
}

func (c Config) keyring() (*secret.Keyring, error) {
	if c.Keys != "" {
		return secret.ParseKeyring(c.Keys)
	}
	return secret.LoadOrCreateKeyring(filepath.Clean(c.KeyFile))
}

func (c Config) postgres() postgres.Config {
	return postgres.Config{Host: c.PostgresHost, Port: c.PostgresPort, User: c.PostgresUser, Password: c.PostgresPassword,
		Database: c.PostgresDB, SSLMode: c.PostgresSSLMode, MaxConns: c.PostgresMaxConns}
}

// parseRoles reads the --roles flag; empty means all.
func parseRoles(list string) (map[string]bool, error) {
	roles := map[string]bool{}
	for _, r := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.Contains(allRoles, r) {
			return nil, fmt.Errorf("role %q is unknown; want some of %s", r, strings.Join(allRoles, ", "))
		}
		roles[r] = true
	}
	if len(roles) == 0 {
		for _, r := range allRoles {
			roles[r] = true
		}
	}
	return roles, nil
}
