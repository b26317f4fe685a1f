package stack

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// tiny is a module whose program prints the given word.
func tiny(t *testing.T, word string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module tiny\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { print(\""+word+"\") }\n")
	return dir
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func runs(t *testing.T, path, want string) {
	t.Helper()
	if out, err := exec.Command(path).CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("%s printed %q, %v", path, out, err)
	}
}

func TestBuildOnce(t *testing.T) {
	t.Parallel()
	source, cache := tiny(t, "one"), t.TempDir()
	outs := make([]bytes.Buffer, 4)
	paths := make([]string, len(outs))
	var builds sync.WaitGroup
	for i := range outs {
		builds.Go(func() {
			path, err := buildCached(t.Context(), source, cache, "tiny", &outs[i])
			if err != nil {
				t.Error(err)
			}
			paths[i] = path
		})
	}
	builds.Wait()
	var said string
	for i, path := range paths {
		said += outs[i].String()
		if path != paths[0] {
			t.Errorf("two builds of one source: %s and %s", path, paths[0])
		}
	}
	if n := strings.Count(said, "built tiny in"); n != 1 {
		t.Errorf("built %d times:\n%s", n, said)
	}
	runs(t, paths[0], "one")
	write(t, filepath.Join(source, "main_test.go"), "package main\n")
	write(t, filepath.Join(source, "README.md"), "words\n")
	again, err := buildCached(t.Context(), source, cache, "tiny", &outs[0])
	if err != nil || again != paths[0] {
		t.Errorf("files that do not count gave another build: %s, %v", again, err)
	}
}

func TestBuildFollowsTheSource(t *testing.T) {
	t.Parallel()
	source, cache := tiny(t, "0"), t.TempDir()
	built := map[string]bool{}
	for _, word := range []string{"0", "1", "2", "3", "4"} {
		write(t, filepath.Join(source, "main.go"), "package main\n\nfunc main() { print(\""+word+"\") }\n")
		path, err := buildCached(t.Context(), source, cache, "tiny", &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}
		if built[path] {
			t.Errorf("a changed source gave the old build")
		}
		built[path] = true
		runs(t, path, word)
	}
	if kept, _ := filepath.Glob(filepath.Join(cache, "tiny-*")); len(kept) != keptBuilds {
		t.Errorf("the cache keeps %d builds: %q", len(kept), kept)
	}
}

func TestBuildFailure(t *testing.T) {
	t.Parallel()
	source, cache := tiny(t, "one"), t.TempDir()
	write(t, filepath.Join(source, "main.go"), "package main\n\nfunc main() { absent() }\n")
	_, err := buildCached(t.Context(), source, cache, "tiny", &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "undefined: absent") {
		t.Errorf("the compiler's word is missing: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "tiny-*")); len(left) > 0 {
		t.Errorf("a failed build left %q", left)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var b buildProgress
	said := strings.Repeat("go: downloading x v1\n", 40) + strings.Repeat(strings.Repeat("x", 99)+"\n", 1000)
	for len(said) > 0 { // the go command's writes end anywhere
		n := min(7, len(said))
		if _, err := b.Write([]byte(said[:n])); err != nil {
			t.Fatal(err)
		}
		said = said[n:]
	}
	if got := b.String(); got != "40 modules fetched, 1000 packages compiled" {
		t.Error(got)
	}
	if kept := len(b.tail()); kept > buildTail || kept < buildTail-100 {
		t.Errorf("%d bytes are kept", kept)
	}
}

func TestRepoRoot(t *testing.T) {
	t.Parallel()
	root, err := RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "deploy", "temporal", "go.mod")); err != nil {
		t.Error(err)
	}
}
