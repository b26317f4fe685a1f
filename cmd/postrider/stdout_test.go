package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a command prints goes to standard output, where a pipe finds it: cobra's own Print
// writes to standard error, and a test that sets the output does not see the difference.
func TestNoCommandPrintsToStandardError(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "cmd.Print") {
			t.Errorf("%s: write to cmd.OutOrStdout()", name)
		}
	}
}
