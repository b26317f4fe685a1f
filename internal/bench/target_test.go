package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseEnv(t *testing.T) {
	got := parseEnv([]byte("POSTRIDER_URL='http://127.0.0.1:8080'\n# a comment='x'\n\nexport B=plain\nC='it'\\''s = fine'\nD=''\nE='\nnothing\n"))
	want := map[string]string{"POSTRIDER_URL": "http://127.0.0.1:8080", "B": "plain", "C": "it's = fine", "D": "", "E": "'"}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDevDir(t *testing.T) {
	for line, want := range map[string]string{
		"/x/postrider dev":                             ".run",
		"postrider dev --dir /tmp/a":                   "/tmp/a",
		"postrider dev --dir=b":                        "b",
		"postrider --dir c dev":                        "c",
		"postrider dev --dir":                          ".run",
		"postrider serve --roles rest":                 "-",
		"postrider":                                    "-",
		"/home/dev/postrider admin message show --dir": "-",
	} {
		dir, ok := devDir(strings.Fields(line))
		if !ok {
			dir = "-"
		}
		if dir != want {
			t.Errorf("%q: %q, want %q", line, dir, want)
		}
	}
}

func TestRenewRemovesOnlyItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bench")
	if err := renew(dir); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "demo.env")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := renew(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
	other := t.TempDir()
	kept := filepath.Join(other, "thesis.tex")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := renew(other); err == nil {
		t.Error("a folder of somebody else was taken")
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func TestOpenTarget(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "demo.env")
	if _, err := openTarget(file); err == nil {
		t.Error("no file, no error")
	}
	if err := os.WriteFile(file, []byte("POSTRIDER_URL='http://127.0.0.1:1'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openTarget(file); err == nil || !strings.Contains(err.Error(), "POSTRIDER_API_KEY") {
		t.Errorf("an incomplete file: %v", err)
	}
	body := "POSTRIDER_URL='http://127.0.0.1:1'\nPOSTRIDER_API_KEY='k'\nPOSTRIDER_API_SECRET='s'\nPOSTRIDER_FROM='+1'\nPOSTRIDER_SMSC_STATS='http://127.0.0.1:2/stats'\n"
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	tg, err := openTarget(file)
	if err != nil || tg.pid != 0 || tg.ended() != nil || tg.stop() != nil {
		t.Errorf("%+v, %v", tg, err)
	}
	if _, err := tg.webhookSecret(); err == nil {
		t.Error("a secret without a file")
	}
	if err := os.WriteFile(filepath.Join(dir, "demo.json"), []byte(`{"webhook_secret":"whsec_x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if secret, err := tg.webhookSecret(); secret != "whsec_x" || err != nil {
		t.Errorf("%q, %v", secret, err)
	}
}

func TestHush(t *testing.T) {
	var out bytes.Buffer
	h := &hush{to: &out}
	for _, line := range []string{"dev | building\n", "dev | everything is up after 1.0 s\n", "dev | demo secret   sk_x\n"} {
		if n, err := h.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if got := out.String(); got != "dev | building\ndev | everything is up after 1.0 s\n" {
		t.Errorf("said %q", got)
	}
}

func TestFilesystem(t *testing.T) {
	const mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/data xfs rw 0 0\nbad\n"
	for dir, want := range map[string]string{"/work": "ext4", "/tmp": "tmpfs", "/tmp/x": "tmpfs", "/tmp/data/x": "xfs", "/tmpx": "ext4"} {
		if got := filesystem([]byte(mounts), dir); got != want {
			t.Errorf("%s is on %s, want %s", dir, got, want)
		}
	}
}

func TestSettingsOf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "postgresql.conf")
	if got := settingsOf(path); !strings.HasPrefix(got, "not known") {
		t.Errorf("no file: %q", got)
	}
	if err := os.WriteFile(path, []byte("# x\nfsync = 'off'\nsynchronous_commit = 'on'\nshared_buffers = '64MB'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := settingsOf(path); got != "fsync off, synchronous_commit on, full_page_writes on" {
		t.Errorf("%q", got)
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "postgresql.auto.conf"), []byte("synchronous_commit = off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := settingsOf(path); got != "fsync off, synchronous_commit off, full_page_writes on" {
		t.Errorf("with ALTER SYSTEM: %q", got)
	}
}

func TestSyncTime(t *testing.T) {
	dir := t.TempDir()
	if took, err := syncTime(dir); err != nil || took <= 0 {
		t.Errorf("%s, %v", took, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
