package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/postrider/postrider/internal/stack"
)

// Node is a process of the gateway. Its methods are safe for concurrent use; they wait
// for each other.
type Node struct {
	Name    string
	Roles   []string // empty: all
	API     string   // host:port, behind no wire; empty: it has no such role
	SMPP    string   // likewise
	Metrics string   // likewise; every node has it

	mu      sync.Mutex
	program string   // path
	env     []string // beside the environment of this process
	logFile string
	process *stack.Process // nil: never started
	wanted  bool           // it is to run: who finds it dead starts it again
	deaths  []string       // that nobody asked for
	died    time.Time      // when it last ended otherwise than in order; zero: never
	watches sync.WaitGroup
}

// stopPatience bounds a stop in order. The gateway's own bounds are 10 s for requests
// and 15 s for links; a busy machine needs more.
const stopPatience = 2 * time.Minute

// restartPause is how long after its end a process is started again.
const restartPause = 500 * time.Millisecond

func (n *Node) has(role string) bool { return len(n.Roles) == 0 || slices.Contains(n.Roles, role) }

// Use changes the program and adds to the environment, from the next start on. An
// empty program is the one before.
func (n *Node) Use(program string, env ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if program != "" {
		n.program = program
	}
	n.env = append(slices.Clone(n.env), env...)
}

// Kill ends the process by SIGKILL, and returns when it is gone. One that does not run
// stays as it is.
func (n *Node) Kill() error {
	n.mu.Lock()
	n.wanted = false
	var err error
	if n.process != nil {
		err = n.process.Kill()
		n.died = time.Now()
	}
	n.mu.Unlock()
	n.watches.Wait()
	return err
}

// Stop ends it in order, by SIGTERM. A suspended one goes on first.
func (n *Node) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	n.mu.Lock()
	n.wanted = false
	var err error
	if n.process != nil {
		if err = n.process.Signal(syscall.SIGCONT); err == nil {
			err = n.process.Stop(ctx)
		}
	}
	n.mu.Unlock()
	n.watches.Wait()
	return err
}

// Start starts the process unless it runs, and returns when it is ready.
func (n *Node) Start(ctx context.Context) error {
	if err := n.launch(); err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if err := until(ctx, n.Name+" is ready", func() bool { return n.ready(ctx, client) }); err != nil {
		return fmt.Errorf("%w; its log ends:\n%s", err, n.logTail())
	}
	return nil
}

// launch starts the process unless it runs, and does not wait for it: it may not become
// ready as long as something else is away.
func (n *Node) launch() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = true
	if n.process != nil && n.process.Running() {
		return nil
	}
	args := []string{"serve"}
	if len(n.Roles) > 0 {
		args = append(args, "--roles", strings.Join(n.Roles, ","))
	}
	p, err := stack.StartProcess(stack.ProcessConfig{Name: n.Name, Path: n.program, Args: args, Env: append(os.Environ(), n.env...), LogFile: n.logFile})
	if err != nil {
		return err
	}
	n.process = p
	n.watches.Go(func() { n.watch(p) })
	return nil
}

// watch starts the process again when it ends by itself, as whatever runs gateways
// does: one that does not find its database at its start, for example, ends.
func (n *Node) watch(p *stack.Process) {
	<-p.Done()
	n.mu.Lock()
	again := n.wanted && n.process == p
	if again {
		n.died = time.Now()
		n.deaths = append(n.deaths, n.Name+" ended by itself: "+p.LogTail())
	}
	n.mu.Unlock()
	if again {
		time.Sleep(restartPause)
		n.mu.Lock()
		again = n.wanted && n.process == p
		n.mu.Unlock()
	}
	if again {
		if err := n.launch(); err != nil {
			n.mu.Lock()
			n.deaths = append(n.deaths, err.Error())
			n.mu.Unlock()
		}
	}
}

// Deaths are those that nobody asked for, with the end of the log of each, since the
// last call.
func (n *Node) Deaths() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	deaths := n.deaths
	n.deaths = nil
	return deaths
}

// Died is when the process last ended otherwise than in order; zero: it never did.
func (n *Node) Died() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.died
}

func (n *Node) ready(ctx context.Context, client *http.Client) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Metrics+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Suspend stops the process where it is (SIGSTOP); Resume lets it go on.
func (n *Node) Suspend() error { return n.signal(syscall.SIGSTOP) }

// Resume undoes Suspend.
func (n *Node) Resume() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(signal syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return nil
	}
	return n.process.Signal(signal)
}

// Running reports whether there is a process.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil && n.process.Running()
}

// PID is the process's; 0: there is none.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil || !n.process.Running() {
		return 0
	}
	return n.process.PID()
}

func (n *Node) logTail() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return ""
	}
	return n.process.LogTail()
}
