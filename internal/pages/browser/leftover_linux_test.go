package browser

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// However a test binary ends, no process of its browser stays.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stop", "panic", "kill"} {
		t.Run(how, func(t *testing.T) {
			profile := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "BROWSER_PROFILE="+profile, "BROWSER_END="+how)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, _ := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
				t.Errorf("it said %q", line)
			}
			if how == "kill" {
				if processes(t, profile) == 0 {
					t.Error("there is no process of the browser to begin with")
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
			if err := cmd.Wait(); (err == nil) != (how == "stop") {
				t.Errorf("it ended with %v", err)
			}
			if how == "stop" {
				if n := processes(t, profile); n != 0 {
					t.Errorf("%d processes are left", n)
				}
				return
			}
			deadline := time.After(patience)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for processes(t, profile) > 0 {
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("%d processes are left", processes(t, profile))
				}
			}
		})
	}
}

// processes counts the processes that have the profile in their command line, as all of a browser have.
func processes(t *testing.T, profile string) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(profile)) { // an error: it has just ended
			n++
		}
	}
	return n
}
