package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// splitNodes are the processes of the replica that has one for each role; allNodes has
// the other replica too.
var (
	splitNodes = []string{nodeREST, nodeSMPP, nodeMessages, nodeNotify, nodeVendors, nodeMedia}
	allNodes   = append(splitNodes[:len(splitNodes):len(splitNodes)], nodeAll)
)

// restartAfter is how long a killed process stays away.
var restartAfter = span{0, 3 * time.Second}

// processEvents are what happens to processes of the gateway.
func processEvents() []Event {
	var list []Event
	for _, name := range allNodes {
		list = append(list, Event{
			Name: "kill -9 " + name, Promise: promiseKill, Short: true, Weight: 6, alone: []string{name},
			Run: lasting(restartAfter, nodes(kill, name), nodes(startNode, name)),
		})
	}
	for _, name := range allNodes {
		list = append(list, Event{
			Name: name + " suspended for 20 s", Promise: promiseKill, Short: name == nodeVendors, Weight: 2, alone: []string{name},
			Run: lasting(exactly(20*time.Second), nodes(suspend, name), nodes(resume, name)),
		})
	}
	return append(list,
		Event{
			Name: "kill -9 of all gateways at once", Promise: promiseKill, Weight: 4, alone: allNodes,
			Run: lasting(restartAfter, nodes(kill, allNodes...), nodes(startNode, allNodes...)),
		},
		Event{
			Name: "kill -9 " + nodeVendors + " every 2 s", Promise: promiseKill, Weight: 2, alone: []string{nodeVendors},
			Run: again(5, lasting(span{time.Second, 2 * time.Second}, nodes(startNode, nodeVendors), nodes(kill, nodeVendors)),
				nodes(startNode, nodeVendors)),
		},
		Event{
			Name: "rolling restart of two replicas", Promise: promiseRolling, Short: true, Weight: 4, alone: allNodes,
			Run: rollingRestart,
		},
		Event{
			Name: "kill -9 of everything", Promise: promiseAccepted, Weight: 3, alone: append([]string{peerPostgres, peerTemporal}, allNodes...),
			Run: lasting(restartAfter, killEverything, startEverything),
		},
	)
}

// again does the same so many times and heals at the end, whatever came before.
func again(times int, do, heals act) act {
	return func(ctx context.Context, w *World, r *rand.Rand) error {
		var err error
		for i := 0; i < times && err == nil; i++ {
			err = do(ctx, w, r)
		}
		return errors.Join(err, healing(ctx, func(ctx context.Context) error { return heals(ctx, w, r) }))
	}
}

// nodes does the same to each of the nodes, one after the other, and to the others also
// when it fails at one.
func nodes(do func(context.Context, *Node) error, names ...string) act {
	return func(ctx context.Context, w *World, _ *rand.Rand) error {
		var errs []error
		for _, name := range names {
			errs = append(errs, do(ctx, w.Nodes[name]))
		}
		return errors.Join(errs...)
	}
}

func kill(_ context.Context, n *Node) error          { return n.Kill() }
func startNode(ctx context.Context, n *Node) error   { return n.Start(ctx) }
func suspend(_ context.Context, n *Node) error       { return n.Suspend() }
func resume(_ context.Context, n *Node) error        { return n.Resume() }
func restartNode(ctx context.Context, n *Node) error { return errors.Join(n.Stop(ctx), n.Start(ctx)) }

// rollingRestart ends and starts one process after the other, in an order that the seed
// chooses, as a new version is rolled out.
func rollingRestart(ctx context.Context, w *World, r *rand.Rand) error {
	for _, i := range r.Perm(len(allNodes)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A node that was stopped is started, whatever becomes of ctx.
		if err := healing(ctx, func(ctx context.Context) error { return restartNode(ctx, w.Nodes[allNodes[i]]) }); err != nil {
			return err
		}
	}
	return nil
}

// killEverything is the nearest to a machine that goes down which can be had on one that
// stays up: what the kernel has in its memory survives.
func killEverything(ctx context.Context, w *World, r *rand.Rand) error {
	return errors.Join(nodes(kill, allNodes...)(ctx, w, r), w.Temporal.Kill(), w.Postgres.Kill())
}

func startEverything(ctx context.Context, w *World, r *rand.Rand) error {
	if err := w.Postgres.Restart(ctx); err != nil {
		return err
	}
	if err := w.Temporal.Restart(ctx); err != nil {
		return err
	}
	return nodes(startNode, allNodes...)(ctx, w, r)
}
