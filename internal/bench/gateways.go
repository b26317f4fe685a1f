package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/stack"
)

const (
	// gatewayRounds is how often one gateway process and several take turns.
	gatewayRounds = 2
	// gatewayWarmUp is the part of a round's messages that warms new processes up.
	gatewayWarmUp = 5
)

// replicas compares the capacities of one gateway process and of several, which share
// the machine, its Temporal and its Postgres.
type replicas struct {
	Gateways int       `json:"gateways"`
	One      []float64 `json:"one_completed_per_second"`
	Several  []float64 `json:"several_completed_per_second"`
}

// peer is a further gateway process.
type peer struct {
	process *stack.Process
	url     string
}

// gateways takes turns: one process, several, one, several.
func (p *plan) gateways(ctx context.Context) (err error) {
	if p.o.Gateways < 2 || p.o.Capacity == 0 {
		return nil
	}
	if p.meter.root == 0 {
		return errors.New("--gateways starts processes beside those of a stack, and those are not found")
	}
	op, err := openOperator(p.meter)
	if err != nil {
		return err
	}
	// Each process has a bind of its own when there are several, and one has as many
	// when it is alone: messages that must travel to another's bind cost twice as much.
	if err := op.binds(ctx, p.o.Gateways); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, op.binds(context.WithoutCancel(ctx), 1)) }()
	x := &replicas{Gateways: p.o.Gateways}
	p.report.Replicas = x
	for i := range gatewayRounds {
		if ctx.Err() != nil {
			return nil
		}
		if err := p.bindings(ctx, op, 1); err != nil {
			return err
		}
		alone := p.flood(ctx, fmt.Sprintf("one gateway, %d of %d", i+1, gatewayRounds), p.o.Capacity, p.o.BurstConns)
		x.One = append(x.One, alone.CompleteRate)
		rate, err := p.together(ctx, op, fmt.Sprintf("%d gateways, %d of %d", x.Gateways, i+1, gatewayRounds))
		if err != nil {
			return err
		}
		x.Several = append(x.Several, rate)
	}
	return nil
}

// together floods several processes, which it starts and stops.
func (p *plan) together(ctx context.Context, op *operator, name string) (rate float64, err error) {
	var links []poster
	turns := [][]poster{p.load.over(p.o.BurstConns)}
	defer func() { p.meter.more = nil }()
	for n := 2; n <= p.o.Gateways; n++ {
		g, err := p.startPeer(ctx, op, n)
		if err != nil {
			return 0, err
		}
		defer func() {
			// What it has taken must end here or elsewhere; no ctx cuts that short.
			stop, cancel := context.WithTimeout(context.Background(), stopPatience)
			defer cancel()
			if stopErr := g.process.Stop(stop); stopErr != nil {
				err = errors.Join(err, stopErr)
			}
		}()
		p.meter.more = append(p.meter.more, g.process.PID())
		a := *p.api
		a.address = strings.TrimPrefix(g.url, "http://")
		l := newLoad(&a, p.load.numbers, p.records, p.o.BurstConns)
		defer l.close()
		turns = append(turns, l.links)
	}
	if err := p.bindings(ctx, op, p.o.Gateways); err != nil {
		return 0, err
	}
	for i := range p.o.BurstConns { // as many connections as one process had
		links = append(links, turns[i%len(turns)][i])
	}
	// New processes have cold caches, pools and statements.
	p.floodOver(ctx, warmUp, p.o.Capacity/gatewayWarmUp, len(links), links)
	return p.floodOver(ctx, name, p.o.Capacity, len(links), links).CompleteRate, nil
}

// startPeer runs the stack's gateway once more, on ports of its own, and returns when
// it is ready.
func (p *plan) startPeer(ctx context.Context, op *operator, n int) (*peer, error) {
	names := []string{"API_PORT", "METRICS_PORT", "SMPP_PORT", "MM4_PORT"}
	ports, err := stack.FreePorts(len(names))
	if err != nil {
		return nil, err
	}
	env := op.env
	for i, name := range names {
		env = append(env[:len(env):len(env)], name+"="+strconv.Itoa(ports[i])) // the later one holds
	}
	process, err := stack.StartProcess(stack.ProcessConfig{Name: "gateway", Path: op.program, Args: []string{"serve"}, Env: env,
		LogFile: filepath.Join(p.t.dir, "log", fmt.Sprintf("gateway-%d.log", n))})
	if err != nil {
		return nil, err
	}
	if err := ready(ctx, process, ports[1]); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return &peer{process, "http://127.0.0.1:" + strconv.Itoa(ports[0])}, nil
}

// bindings returns when the processes have shared the simulator's binds out, which
// takes as long as a lease at most.
func (p *plan) bindings(ctx context.Context, op *operator, processes int) error {
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		n, err := op.bound(ctx)
		if err != nil || n == processes {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d gateways are bound to the simulator instead of %d: %w", n, processes, ctx.Err())
		}
	}
}

// peerPatience bounds a gateway's start.
const peerPatience = 60 * time.Second

// ready returns when a gateway says that it is.
func ready(ctx context.Context, process *stack.Process, port int) error {
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", port), nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-process.Done():
			return fmt.Errorf("a further gateway did not start:\n%s", process.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("a further gateway is not ready: %w", ctx.Err())
		}
	}
}

func (r *report) gateways() section {
	x := r.Replicas
	if x == nil || len(x.Several) == 0 {
		return section{}
	}
	t := table{{"gateway processes", "completed/s by round", "median"}}
	row := func(n int, rates []float64) {
		var words []string
		for _, rate := range rates {
			words = append(words, one(rate))
		}
		t = append(t, []string{strconv.Itoa(n), strings.Join(words, ", "), one(median(rates))})
	}
	row(1, x.One)
	row(x.Gateways, x.Several)
	note := fmt.Sprintf("In turns, %d processes on the cores of one, with one Temporal, one Postgres and as many binds to the vendor in all: %.2f times as much. On a machine that one process keeps busy this shows what a further process costs (its own polls, leases, caches), not what it brings on a machine of its own.",
		x.Gateways, median(x.Several)/max(median(x.One), 1e-9))
	return section{"Several gateways", t, note}
}
