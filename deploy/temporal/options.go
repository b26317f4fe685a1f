package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/searchattribute/sadefs"
)

// Defaults that a caller may change by flag.
const (
	defaultPort      = 7233           // Temporal's registered frontend port
	defaultUIPort    = 8233           // the official dev server's UI port
	defaultRetention = 72 * time.Hour // the longest validity; Postgres is the long memory
	postgresShards   = 64             // one node; permanent for the database
	sqliteShards     = 4              // one writer anyway; more shards only poll
	minRetention     = time.Hour      // system.namespaceMinRetentionLocal
	envPrefix        = "TEMPORALD_"
)

var (
	namespacePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$`)
	// Database names go into statements that take no parameters (CREATE DATABASE) and into the
	// server's unescaped connection URL, so only plain ones are allowed.
	databasePattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	userPattern     = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	uiPathPattern   = regexp.MustCompile(`^(/[A-Za-z0-9_.-]+)+$`)
	logLevels       = []string{"debug", "info", "warn", "error"}
)

// options is everything the command line says. The zero value is not usable; parseOptions makes it.
type options struct {
	CodecEndpoint    string
	DynamicConfig    dynamicValues
	IP               string
	LogFormat        string
	LogLevel         string
	Namespace        string
	Port             int // 0 takes a free one; the ready line says which
	Postgres         postgresOptions
	PprofPort        int // on 127.0.0.1; 0 means no profiles
	ReadyFile        string
	Retention        time.Duration
	SearchAttributes attributes
	Shards           int
	SQLite           bool
	SQLiteFile       string // empty keeps SQLite in memory
	StatsAddr        string
	UIPath           string // empty: at /
	UIPort           int    // 0 means no UI
	UIReadOnly       bool
	Version          bool
}

// attribute is one custom search attribute of the namespace.
type attribute struct {
	Name string
	Type enumspb.IndexedValueType
}

// attributes is a repeatable flag; one value may also hold several, separated by commas.
type attributes []attribute

// defaultAttributes are what support searches by.
func defaultAttributes() attributes {
	keyword := enumspb.INDEXED_VALUE_TYPE_KEYWORD
	return attributes{{"Account", keyword}, {"Vendor", keyword}, {"Campaign", keyword}, {"Outcome", keyword}}
}

func (a *attributes) String() string {
	var parts []string
	for _, one := range *a {
		parts = append(parts, one.Name+"="+one.Type.String())
	}
	return strings.Join(parts, ",")
}

func (a *attributes) Set(value string) error {
	for part := range strings.SplitSeq(value, ",") {
		name, typeName, ok := strings.Cut(part, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not Name=Type", part)
		}
		valueType, err := enumspb.IndexedValueTypeFromString(typeName)
		if err != nil || valueType == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return fmt.Errorf("%q: unknown type %q", part, typeName)
		}
		if sadefs.IsReserved(name) {
			return fmt.Errorf("%q is a name of Temporal's own", name)
		}
		if slices.ContainsFunc(*a, func(have attribute) bool { return have.Name == name }) {
			return fmt.Errorf("%q is given twice", name)
		}
		*a = append(*a, attribute{name, valueType})
	}
	return nil
}

// dynamicValues is the repeatable flag key=JSON that overrides a dynamic-config key.
type dynamicValues map[string]any

func (d *dynamicValues) String() string {
	return strings.Join(slices.Sorted(maps.Keys(*d)), ",")
}

func (d *dynamicValues) Set(value string) error {
	key, text, ok := strings.Cut(value, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q is not key=JSON", value)
	}
	var parsed any
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		return fmt.Errorf("%s: %q is not JSON: %w", key, text, err)
	}
	if *d == nil {
		*d = dynamicValues{}
	}
	if number, ok := parsed.(float64); ok && number == math.Trunc(number) {
		parsed = int(number) // the server takes an int for a float, but not the reverse
	}
	(*d)[key] = parsed
	return nil
}

// parseOptions reads the arguments, then the environment for every flag that was not given.
// `server start-dev …` are the official CLI's arguments, as the SDK's testsuite.StartDevServer
// sends them; they mean SQLite.
func parseOptions(args []string, lookupEnv func(string) (string, bool), help io.Writer) (*options, error) {
	if len(args) >= 2 && args[0] == "server" && args[1] == "start-dev" {
		return parseDevServer(args[2:], help)
	}
	o := &options{LogFormat: "json"}
	fs := flag.NewFlagSet("temporald", flag.ContinueOnError)
	fs.SetOutput(help)
	o.declare(fs)
	fs.Usage = func() { usage(fs) }
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err := fillFromEnv(fs, lookupEnv); err != nil {
		return nil, err
	}
	if o.SearchAttributes == nil {
		o.SearchAttributes = defaultAttributes()
	}
	return o, o.complete()
}

func (o *options) declare(fs *flag.FlagSet) {
	fs.StringVar(&o.CodecEndpoint, "codec-endpoint", "", "`URL`, or path where the UI is served, at which its users decode payloads")
	fs.Var(&o.DynamicConfig, "dynamic-config-value", "`key=JSON` that overrides a dynamic-config key; repeatable")
	fs.StringVar(&o.IP, "ip", "127.0.0.1", "`address` that the frontend and the UI listen on")
	fs.StringVar(&o.LogLevel, "log-level", "warn", "one of "+strings.Join(logLevels, ", "))
	fs.StringVar(&o.Namespace, "namespace", "postrider", "namespace to create and keep as declared")
	fs.StringVar(&o.Postgres.Database, "pg-db", "temporal", "core database; created if missing")
	fs.StringVar(&o.Postgres.Host, "pg-host", "127.0.0.1", "Postgres host, or the folder of its Unix socket, over which a statement costs less")
	fs.StringVar(&o.Postgres.Password, "pg-password", "", "Postgres password; better given in the environment, where ps does not show it")
	fs.IntVar(&o.Postgres.Port, "pg-port", 5432, "Postgres port")
	fs.StringVar(&o.Postgres.User, "pg-user", "temporal", "Postgres user; must own both databases")
	fs.StringVar(&o.Postgres.VisibilityDatabase, "pg-visibility-db", "temporal_visibility", "visibility database; created if missing")
	fs.IntVar(&o.Port, "port", defaultPort, "gRPC port of the frontend; 0 takes a free one")
	fs.IntVar(&o.PprofPort, "pprof-port", 0, "port on 127.0.0.1 of the Go runtime's profiles, /debug/pprof/; 0 means none")
	fs.StringVar(&o.ReadyFile, "ready-file", "", "`path` of a JSON file that exists while the server is up")
	fs.DurationVar(&o.Retention, "retention", defaultRetention, "how long closed workflows are kept, at least 1h")
	fs.Var(&o.SearchAttributes, "search-attribute", "`Name=Type`, repeatable (default "+(new(defaultAttributes())).String()+")")
	fs.IntVar(&o.Shards, "shards", 0, "history shards, fixed by a database's first start (default 64, with -sqlite 4)")
	fs.BoolVar(&o.SQLite, "sqlite", false, "keep everything in memory; for quick tests")
	fs.StringVar(&o.StatsAddr, "stats-addr", "", "`host:port` for GET /stats, /counters and /healthz; port 0 takes a free one")
	fs.StringVar(&o.UIPath, "ui-path", "", "`path` below which a proxy serves the Web UI, such as /console/temporal")
	fs.IntVar(&o.UIPort, "ui-port", defaultUIPort, "port of the Web UI; 0 means no UI")
	fs.BoolVar(&o.UIReadOnly, "ui-read-only", false, "the Web UI offers nothing that changes a workflow")
	fs.BoolVar(&o.Version, "version", false, "print versions and exit")
}

// parseDevServer reads the arguments of `temporal server start-dev` that the SDK sends.
func parseDevServer(args []string, help io.Writer) (*options, error) {
	o := &options{SQLite: true, Retention: 24 * time.Hour, SearchAttributes: attributes{}}
	fs := flag.NewFlagSet("temporald server start-dev", flag.ContinueOnError)
	fs.SetOutput(help)
	headless := fs.Bool("headless", false, "no UI")
	fs.StringVar(&o.SQLiteFile, "db-filename", "", "keep the state in this file")
	fs.Var(&o.DynamicConfig, "dynamic-config-value", "`key=JSON`, repeatable")
	fs.StringVar(&o.IP, "ip", "127.0.0.1", "address to listen on")
	fs.StringVar(&o.LogFormat, "log-format", "json", "json or console")
	fs.StringVar(&o.LogLevel, "log-level", "warn", "one of "+strings.Join(logLevels, ", "))
	fs.StringVar(&o.Namespace, "namespace", "default", "namespace to create")
	fs.IntVar(&o.Port, "port", defaultPort, "gRPC port")
	fs.Var(&o.SearchAttributes, "search-attribute", "`Name=Type`, repeatable")
	fs.IntVar(&o.UIPort, "ui-port", 0, "port of the Web UI (default: gRPC port + 1000)")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if o.UIPort == 0 && !*headless {
		o.UIPort = o.Port + 1000
	}
	return o, o.complete()
}

// envName is the variable that stands in for a flag: --pg-host is TEMPORALD_PG_HOST.
func envName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

func fillFromEnv(fs *flag.FlagSet, lookupEnv func(string) (string, bool)) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		value, set := lookupEnv(envName(f.Name))
		if given[f.Name] || !set {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", envName(f.Name), err))
		}
	})
	return errors.Join(errs...)
}

func usage(fs *flag.FlagSet) {
	fmt.Fprintf(fs.Output(), `temporald runs Temporal and its Web UI in one process.

usage: temporald [flags]
       temporald server start-dev [flags of the official CLI that the SDK's test suite uses]

Each flag may come from the environment instead: --pg-host from %s, and so on.
A repeatable flag takes its values there separated by commas (--dynamic-config-value: one).

`, envName("pg-host"))
	fs.PrintDefaults()
}

// complete fills what depends on other options and refuses what cannot work.
func (o *options) complete() error {
	if o.Shards == 0 {
		o.Shards = postgresShards
		if o.SQLite {
			o.Shards = sqliteShards
		}
	}
	checks := []struct {
		ok      bool
		problem string
	}{
		{net.ParseIP(o.IP) != nil, fmt.Sprintf("--ip %q is not an IP address", o.IP)},
		{validPort(o.Port), fmt.Sprintf("--port %d is not a port", o.Port)},
		{validPort(o.UIPort), fmt.Sprintf("--ui-port %d is not a port", o.UIPort)},
		{validPort(o.PprofPort), fmt.Sprintf("--pprof-port %d is not a port", o.PprofPort)},
		{o.UIPort == 0 || o.UIPort != o.Port, "--ui-port and --port are the same"},
		{namespacePattern.MatchString(o.Namespace), fmt.Sprintf("--namespace %q: letters, digits, _ . - only", o.Namespace)},
		{o.Retention >= minRetention, fmt.Sprintf("--retention %s is below %s", o.Retention, minRetention)},
		{o.Shards > 0 && o.Shards <= 16384, fmt.Sprintf("--shards %d is not between 1 and 16384", o.Shards)},
		{slices.Contains(logLevels, o.LogLevel), fmt.Sprintf("--log-level %q is none of %s", o.LogLevel, strings.Join(logLevels, ", "))},
		{validURL(o.CodecEndpoint) || validPath(o.CodecEndpoint), fmt.Sprintf("--codec-endpoint %q is neither an http(s) URL nor a path", o.CodecEndpoint)},
		{o.UIPath == "" || validPath(o.UIPath), fmt.Sprintf("--ui-path %q is not a path, such as /console/temporal", o.UIPath)},
		{validHostPort(o.StatsAddr), fmt.Sprintf("--stats-addr %q is not host:port", o.StatsAddr)},
	}
	var errs []error
	for _, check := range checks {
		if !check.ok {
			errs = append(errs, errors.New(check.problem))
		}
	}
	if _, err := assignFields(nil, o.SearchAttributes); err != nil {
		errs = append(errs, err)
	}
	if !o.SQLite {
		errs = append(errs, o.Postgres.validate())
	}
	return errors.Join(errs...)
}

func validPort(port int) bool { return port >= 0 && port <= 65535 }

func validHostPort(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return addr == "" || err == nil
}

// validPath reports whether text is a path as it stands in a URL, without a slash at the end.
func validPath(text string) bool { return uiPathPattern.MatchString(text) }

func validURL(text string) bool {
	u, err := url.Parse(text)
	return text == "" || err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}
