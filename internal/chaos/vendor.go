package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack"
)

// Vendor is a simulated SMSC (cmd/smscsim). It is never killed: it counts. Safe for
// concurrent use.
type Vendor struct {
	Name string
	ID   message.ID
	SMPP string // host:port, behind no wire
	HTTP string // base URL of its control

	process *stack.Process
	usual   map[string]json.RawMessage // settings that it was started with
}

// vendorReceiptDelay gives events something to come in between.
const vendorReceiptDelay = "200ms"

// startVendor starts a simulator in dir, and returns when it listens.
func startVendor(ctx context.Context, name, program, dir string) (*Vendor, error) {
	ready := filepath.Join(dir, name+".json")
	if err := os.Remove(ready); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	p, err := stack.StartProcess(stack.ProcessConfig{Name: name, Path: program, LogFile: filepath.Join(dir, name+".log"),
		Args: []string{"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", ready, "--receipt-delay", vendorReceiptDelay, "--receipt-delay-jitter", "100ms"}})
	if err != nil {
		return nil, err
	}
	v := &Vendor{Name: name, process: p}
	var at struct{ SMPP, HTTP string }
	err = until(ctx, name+" listens", func() bool {
		body, err := os.ReadFile(ready)
		return !p.Running() || err == nil && json.Unmarshal(body, &at) == nil
	})
	v.SMPP, v.HTTP = at.SMPP, "http://"+at.HTTP
	if err == nil {
		err = v.call(ctx, http.MethodGet, "/config", nil, &v.usual)
	}
	if err != nil {
		tail := p.LogTail()
		_ = p.Kill()
		return nil, fmt.Errorf("vendor %s: %w; its log ends:\n%s", name, err, tail)
	}
	delete(v.usual, "password") // it is shown masked
	return v, nil
}

// Configure changes settings of the simulator, by the names of its PUT /config, such
// as {"error_percent": 20}.
func (v *Vendor) Configure(ctx context.Context, settings map[string]any) error {
	body, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	return v.call(ctx, http.MethodPut, "/config", body, nil)
}

// Restore gives it the settings back with which it was started.
func (v *Vendor) Restore(ctx context.Context) error {
	settings := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(v.usual)) {
		settings[name] = v.usual[name]
	}
	return v.Configure(ctx, settings)
}

// Disconnect drops all of its connections.
func (v *Vendor) Disconnect(ctx context.Context) error {
	return v.call(ctx, http.MethodPost, "/disconnect", nil, nil)
}

// Sessions is how many binds it has.
func (v *Vendor) Sessions(ctx context.Context) (int, error) {
	var stats struct {
		Sessions int `json:"sessions"`
	}
	err := v.call(ctx, http.MethodGet, "/stats", nil, &stats)
	return stats.Sessions, err
}

// vendorRows is how many destinations are asked for at a time.
const vendorRows = 20_000

// Taken is how many complete messages came to each destination, by its number as
// +12025550100.
func (v *Vendor) Taken(ctx context.Context) (map[string]int, error) {
	taken := map[string]int{}
	for since := 0; ; {
		var rows []struct {
			Number      int    `json:"number"`
			Destination string `json:"destination"`
			Count       int    `json:"count"`
		}
		if err := v.call(ctx, http.MethodGet, fmt.Sprintf("/destinations?since=%d&limit=%d", since, vendorRows), nil, &rows); err != nil {
			return nil, err
		}
		for _, row := range rows {
			since = max(since, row.Number)
			if row.Count > 0 {
				taken["+"+strings.TrimPrefix(row.Destination, "+")] += row.Count
			}
		}
		if len(rows) < vendorRows {
			return taken, nil
		}
	}
}

// call makes one request to its control.
func (v *Vendor) call(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, v.HTTP+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("vendor %s: %s %s: %s", v.Name, method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
