package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/snapshot"
)

// demoStandby is the vendor that is asked after demoVendor. Its simulator takes
// everything.
const demoStandby = "smscsim2"

// demoWanted reports whether demo traffic is to be sent. Without it there is one vendor
// alone: that is what the bench measures.
func demoWanted() bool { return os.Getenv("DEMO") != "0" }

// prepareStandby makes the second vendor and its route, or has the one of a former start
// be where its simulator is now. Without a simulator it is not in use.
func (d *dev) prepareStandby(ctx context.Context, db *postgres.DB) error {
	wanted := d.standby.SMPP != ""
	_, err := db.Vendor(ctx, d.demo.StandbyID)
	there := err == nil
	switch {
	case message.ReasonOf(err) == message.ReasonNotFound:
		err = nil
	case err != nil:
		return err
	}
	host, port := "", 0
	if wanted {
		if host, port, err = splitPort(d.standby.SMPP); err != nil {
			return err
		}
	}
	switch {
	case there:
		_, err = db.ChangeVendor(ctx, demoActor, d.demo.StandbyID, "vendor.update", func(v *snapshot.VendorState) error {
			if v.Active = wanted; wanted {
				v.Host, v.Port = host, port
			}
			return nil
		})
	case wanted:
		d.demo.StandbyID = message.NewID()
		err = db.CreateVendor(ctx, demoActor, snapshot.Vendor{ID: d.demo.StandbyID, Name: demoStandby, DisplayName: "SMSC simulator that stands by", Host: host, Port: port,
			Username: "postrider", Password: "simulate", Active: true, Window: 200, SupportsUnicode: true, SupportsAlphanumeric: true})
		if err == nil {
			_, err = db.CreateRoute(ctx, demoActor, snapshot.Route{Name: "standby", Priority: 20, DestPattern: regexp.MustCompile("^1"), VendorID: d.demo.StandbyID,
				AccountID: d.demo.AccountID, RatePerMsg: 4500})
		}
	}
	if err != nil {
		return fmt.Errorf("the demo's second vendor: %w", err)
	}
	return nil
}

// received is a message from a handset as its customer reads it.
type received struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Segments int    `json:"segments"`
	Delivery struct {
		State string `json:"state"`
	} `json:"delivery"`

	took time.Duration
}

// receive has the simulator send a message from a handset, in parts, and waits until its
// customer can read it.
func (d *dev) receive(ctx context.Context) (received, error) {
	const handset = "+13105550110"
	began := time.Now()
	text := strings.Repeat("Where is my parcel? ", 10)
	if err := d.handset(ctx, handset, string(d.demo.From), text); err != nil {
		return received{}, err
	}
	path := "/v1/inbound-messages?" + url.Values{"from": {handset}, "after": {began.Add(-time.Second).UTC().Format(time.RFC3339Nano)}}.Encode()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var page struct {
			Data []received `json:"data"`
		}
		if err := d.call(ctx, http.MethodGet, path, nil, http.StatusOK, &page); err != nil {
			return received{}, err
		}
		if n := len(page.Data); n > 0 && page.Data[n-1].Delivery.State != "pending" {
			in := page.Data[n-1]
			in.took = time.Since(began)
			return in, nil
		}
		select {
		case <-ctx.Done():
			return received{}, errors.New("it did not come")
		case <-tick.C:
		}
	}
}

// writeShell writes a script that runs the gateway's commands on what runs here.
// Variables of a shell would do as well, but the next `make run` in that shell would
// take the database of the last one for somebody else's.
func (d *dev) writeShell() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := d.config
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# Runs a command on the demo: postrider admin vendor status\n")
	for _, v := range []struct{ name, value string }{
		{"POSTGRES_HOST", c.PostgresHost}, {"POSTGRES_PORT", strconv.Itoa(c.PostgresPort)}, {"POSTGRES_USER", c.PostgresUser}, {"POSTGRES_PASSWORD", c.PostgresPassword},
		{"POSTGRES_DB", c.PostgresDB}, {"POSTGRES_SSLMODE", c.PostgresSSLMode}, {"TEMPORAL_ADDRESS", c.TemporalAddress}, {"TEMPORAL_NAMESPACE", c.TemporalNamespace},
		{"POSTRIDER_KEY_FILE", c.KeyFile}, {"WEBHOOK_ALLOW_LOOPBACK", "true"},
	} {
		if v.value != "" { // a keyring in a variable is the user's
			fmt.Fprintf(&b, "export %s=%s\n", v.name, quoted(v.value))
		}
	}
	fmt.Fprintf(&b, "exec %s \"$@\"\n", quoted(self))
	path := filepath.Join(d.dir, "postrider")
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o700); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// quoted is a word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
