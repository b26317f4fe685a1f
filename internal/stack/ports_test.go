package stack_test

import (
	"bytes"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/stack"
)

func TestFreePorts(t *testing.T) {
	t.Parallel()
	const callers, each = 8, 25
	results := make([][]int, callers)
	var calls sync.WaitGroup
	for i := range callers {
		calls.Go(func() {
			ports, err := stack.FreePorts(each)
			if err != nil {
				t.Error(err)
			}
			results[i] = ports
		})
	}
	calls.Wait()
	seen := map[int]bool{}
	for _, ports := range results {
		if len(ports) != each {
			t.Errorf("%d ports instead of %d", len(ports), each)
		}
		for _, port := range ports {
			if seen[port] {
				t.Errorf("port %d was given twice", port)
			}
			seen[port] = true
		}
	}
}

// Two processes that draw 500 ports each at random from 12,768 have 20 in common, unless each keeps off
// the other's.
func TestFreePortsOfTwoProcesses(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	other := start(t, rolePorts, 1, &out)
	ports, err := stack.FreePorts(portsDrawn)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Kill(); err != nil { // it kept its claims till now; its output is complete
		t.Fatal(err)
	}
	theirs := strings.Fields(out.String())
	if len(theirs) < portsDrawn {
		t.Fatalf("the other process drew %d ports", len(theirs))
	}
	for _, port := range ports {
		if slices.Contains(theirs, strconv.Itoa(port)) {
			t.Errorf("both got port %d", port)
		}
	}
}

// A child that is being started has all open sockets for a moment, the one with which
// a port was tried among them: it must not hold the port that was just found free.
func TestFreePortIsFree(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	var starts sync.WaitGroup
	defer starts.Wait()
	defer close(done)
	for range 2 {
		starts.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 500 {
		port, err := stack.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
}
