package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
)

func testBinary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func noEnv(string) (string, bool) { return "", false }

func fromMap(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

func TestDefaults(t *testing.T) {
	o, err := parseOptions(nil, noEnv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.IP != "127.0.0.1" || o.Port != 7233 || o.UIPort != 8233 || o.Namespace != "postrider" ||
		o.Retention != 72*time.Hour || o.Shards != 64 || o.LogLevel != "warn" || o.SQLite {
		t.Errorf("defaults: %+v", o)
	}
	if got := o.SearchAttributes.String(); got != "Account=Keyword,Vendor=Keyword,Campaign=Keyword,Outcome=Keyword" {
		t.Errorf("search attributes: %s", got)
	}
	if o, err = parseOptions([]string{"--sqlite"}, noEnv, io.Discard); err != nil || o.Shards != 4 {
		t.Errorf("sqlite: %+v, %v", o, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct{ args, complaint string }{
		{"--ip localhost", "not an IP address"},
		{"--port 70000", "--port 70000"},
		{"--port -1", "--port -1"},
		{"--port 7000 --ui-port 7000", "the same"},
		{"--namespace a/b", "--namespace"},
		{"--retention 59m", "below 1h"},
		{"--shards -4", "--shards"},
		{"--shards 20000", "--shards"},
		{"--log-level loud", "--log-level"},
		{"--codec-endpoint localhost:8080", "--codec-endpoint"},
		{"--ui-path console", "--ui-path"},
		{"--ui-path /console/", "--ui-path"},
		{"--stats-addr 9090", "--stats-addr"},
		{"--pg-db Temporal", "database name"},
		{"--pg-db x;drop", "database name"},
		{"--pg-db one --pg-visibility-db one", "must differ"},
		{"--pg-user a@b", "--pg-user"},
		{"--pg-port 0", "cannot be reached"},
		{"--search-attribute Account", "Name=Type"},
		{"--search-attribute Account=Word", "unknown type"},
		{"--search-attribute A=Keyword --search-attribute A=Int", "twice"},
		{"--search-attribute WorkflowType=Keyword", "Temporal's own"},
		{"--search-attribute A=Int,B=Int,C=Int,D=Int", "no column of type Int left"},
		{"--dynamic-config-value frontend.rps", "key=JSON"},
		{"--dynamic-config-value frontend.rps=many", "not JSON"},
		{"surplus", "unexpected argument"},
		{"--nonsense", "not defined"},
	} {
		_, err := parseOptions(strings.Fields(test.args), noEnv, io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.complaint) {
			t.Errorf("%s: %v, want %q", test.args, err, test.complaint)
		}
	}
	if _, err := parseOptions([]string{"--help"}, noEnv, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

func TestEnvironmentFillsWhatFlagsLeave(t *testing.T) {
	env := fromMap(map[string]string{
		"TEMPORALD_PG_PASSWORD":          "secret",
		"TEMPORALD_PG_HOST":              "db",
		"TEMPORALD_NAMESPACE":            "from-env",
		"TEMPORALD_SEARCH_ATTRIBUTE":     "A=Keyword,B=Int",
		"TEMPORALD_RETENTION":            "2h",
		"TEMPORALD_DYNAMIC_CONFIG_VALUE": "matching.rps=7",
	})
	o, err := parseOptions([]string{"--namespace", "from-flag"}, env, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.Postgres.Password != "secret" || o.Postgres.Host != "db" || o.Namespace != "from-flag" || o.Retention != 2*time.Hour {
		t.Errorf("%+v", o)
	}
	want := attributes{{"A", enumspb.INDEXED_VALUE_TYPE_KEYWORD}, {"B", enumspb.INDEXED_VALUE_TYPE_INT}}
	if !slices.Equal(o.SearchAttributes, want) {
		t.Errorf("search attributes: %v", o.SearchAttributes)
	}
	if o.DynamicConfig["matching.rps"] != 7 {
		t.Errorf("dynamic config: %v", o.DynamicConfig)
	}
	_, err = parseOptions(nil, fromMap(map[string]string{"TEMPORALD_PORT": "x"}), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "TEMPORALD_PORT") {
		t.Errorf("bad environment: %v", err)
	}
}

func TestDevServerArguments(t *testing.T) {
	args := "server start-dev --ip 127.0.0.1 --port 7300 --namespace default --dynamic-config-value " +
		"frontend.enableServerVersionCheck=false --log-level error --headless --search-attribute A=Keyword"
	o, err := parseOptions(strings.Fields(args), noEnv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !o.SQLite || o.Port != 7300 || o.UIPort != 0 || len(o.SearchAttributes) != 1 ||
		o.DynamicConfig["frontend.enableServerVersionCheck"] != false {
		t.Errorf("%+v", o)
	}
	o, err = parseOptions(strings.Fields("server start-dev --port 7300"), noEnv, io.Discard)
	if err != nil || o.UIPort != 8300 || len(o.SearchAttributes) != 0 {
		t.Errorf("with UI: %+v, %v", o, err)
	}
}
