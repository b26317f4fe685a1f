package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/postrider/postrider/internal/stack"
)

// Profiles show memory: nobody serves them who did not ask for it, and who did serves
// them to this machine alone.
func TestProfiles(t *testing.T) {
	if p := newProfiles(Config{}.PprofPort); p != nil {
		t.Fatalf("profiles are served at %s without being asked for", p.server.Addr)
	}
	port, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{}
	p := newProfiles(port)
	if err := p.start(g); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=1", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the goroutines: %s", resp.Status)
	}
	// Another address of this machine is not listened on, so that none of its network is.
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.2:%d", port)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("127.0.0.2: %v, %v", c, err)
	}
	p.stop()
	g.background.Wait()
	select {
	case err := <-g.failed():
		t.Errorf("a stop counts as a failure: %v", err)
	default:
	}
}

func TestProfilesRefuseABadPort(t *testing.T) {
	t.Setenv("POSTRIDER_KEY_FILE", "f")
	t.Setenv("PPROF_PORT", "70000")
	if _, err := readConfig(); err == nil || !strings.Contains(err.Error(), "PPROF_PORT") {
		t.Errorf("port 70000: %v", err)
	}
}
