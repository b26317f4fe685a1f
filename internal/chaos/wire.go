package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/postrider/postrider/internal/stack"
)

// Wire is the way from one part to another. Its methods are safe for concurrent use.
type Wire struct {
	Name string

	mu    sync.Mutex
	proxy *toxiproxy.Proxy
	cut   bool
	mute  bool // half open
}

// newWire lays a wire to an address, at a port of its own that is nobody else's also
// while the wire is cut.
func newWire(name, upstream string) (*Wire, error) {
	port, err := stack.FreePort()
	if err != nil {
		return nil, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &Wire{Name: name, proxy: toxiproxy.NewProxy(server, name, net.JoinHostPort(loopback, strconv.Itoa(port)), upstream)}
	if err := w.proxy.Start(); err != nil {
		return nil, fmt.Errorf("wire %s: %w", name, err)
	}
	return w, nil
}

// Addr is the host:port at which the peer is found through the wire.
func (w *Wire) Addr() string { return w.proxy.Listen }

// Cut ends all connections and refuses new ones.
func (w *Wire) Cut() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proxy.Stop()
	w.cut = true
	return nil
}

// Slow delays what goes through, each way, by latency give or take jitter.
func (w *Wire) Slow(latency, jitter time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.poison("latency", fmt.Sprintf(`{"latency":%d,"jitter":%d}`, latency.Milliseconds(), jitter.Milliseconds()))
}

// HalfOpen lets what is sent vanish, each way: nothing is closed, and nobody is told.
// New connections are taken, and are as silent.
func (w *Wire) HalfOpen() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = true
	return w.poison("timeout", `{"timeout":0}`)
}

// poison adds a toxic in both directions; one of its kind must not be there.
func (w *Wire) poison(kind, attributes string) error {
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := `{"name":"` + kind + "-" + stream + `","type":"` + kind + `","stream":"` + stream + `","attributes":` + attributes + `}`
		if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return fmt.Errorf("wire %s: %w", w.Name, err)
		}
	}
	return nil
}

// Heal undoes all of it. What was half open until then is closed, as by a network that
// forgot its connections.
func (w *Wire) Heal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute { // octets are missing in the middle of its connections
		w.proxy.Stop()
		w.cut = true
	}
	w.proxy.Toxics.ResetToxics(context.Background())
	w.mute = false
	if !w.cut {
		return nil
	}
	// Nobody else has the port. The kernel may still be at closing.
	var err error
	for range 100 {
		if err = w.proxy.Start(); err == nil || errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			w.cut = false
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("wire %s: %w", w.Name, err)
}
