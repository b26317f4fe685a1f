package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

// The demo's second vendor is there with its route once there is demo traffic, is where
// its simulator is now, and is not in use without one.
func TestDemoStandby(t *testing.T) {
	s := startShell(t)
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	d := &dev{flags: devFlags{dir: t.TempDir()}, config: c, smsc: smscPorts{SMPP: "127.0.0.1:2875"}, hooks: &hookSink{changed: make(chan struct{})}}
	d.dir = d.flags.dir
	const vendors = `select coalesce(string_agg(concat_ws(' ', v.instance_name, v.port, v.is_active, r.priority), ', '), '')
		from vendors v join routing_rules r on r.vendor_id = v.id where v.instance_name like '%2'`
	for _, c := range []struct{ at, want string }{
		{"", ""},
		{"127.0.0.1:2876", "smscsim2 2876 t 20"},
		{"", "smscsim2 2876 f 20"},
		{"127.0.0.1:2877", "smscsim2 2877 t 20"},
	} {
		d.demo, d.standby = demoState{}, smscPorts{SMPP: c.at}
		if err := d.prepare(stacktest.Context(t)); err != nil {
			t.Fatal(err)
		}
		if got := s.row(vendors); got != c.want {
			t.Errorf("with a simulator at %q: %s, want %s", c.at, got, c.want)
		}
	}
}

// The script carries what a command needs to find the demo, and only its user reads it.
func TestDemoShell(t *testing.T) {
	dir := t.TempDir()
	d := &dev{dir: dir, config: Config{PostgresHost: dir + "/it's here", PostgresPort: 28804, KeyFile: dir + "/keys", Keys: "k1:c2VjcmV0"}}
	if err := d.writeShell(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "postrider")
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"#!/bin/sh\n", "export POSTGRES_HOST='" + dir + `/it'\''s here'` + "\n", "export POSTGRES_PORT='28804'\n", "export POSTRIDER_KEY_FILE='" + dir + "/keys'\n", "exec '", `' "$@"` + "\n"} {
		if !strings.Contains(string(script), want) {
			t.Errorf("no %q in\n%s", want, script)
		}
	}
	if strings.Contains(string(script), "c2VjcmV0") {
		t.Error("the keyring is in it")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
