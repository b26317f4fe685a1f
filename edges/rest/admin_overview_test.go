package rest

import (
	"fmt"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestOverview(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleViewer)
	look := func() map[string]any { return o.do("GET", adminPrefix+"/overview", "", by).json(t) }
	count := func(r map[string]any, of string) any { return r[of].(map[string]any)["count"] }
	first := look()
	if count(first, "backlog") != 0.0 || first["lately"].(map[string]any)["since"] != nil || len(first["caps"].([]any)) != 0 {
		t.Errorf("%v", first)
	}
	v := o.vendor()
	for range 3 {
		o.message(nil)
	}
	// Ids are in the order of time by the journal's clock, which is not that of this server.
	if _, err := o.conn.Exec(o.ctx, "update messages set id = overlay(id::text placing $1 from 1 for 13)::uuid", message.NewID().String()[:13]); err != nil {
		t.Fatal(err)
	}
	if again := look(); again["at"] != first["at"] || count(again, "backlog") != 0.0 {
		t.Errorf("was counted again at once: %v", again)
	}
	o.server.overview.body = nil
	got := look()
	if count(got, "backlog") != 3.0 || got["lately"].(map[string]any)["outbound"].(map[string]any)["accepted"] != 3.0 {
		t.Errorf("%v", got)
	}
	if rate := fmt.Sprintf("%.2f %.4f", got["last_minute"].(map[string]any)["accepted"], got["last_hour"].(map[string]any)["accepted"]); rate != "0.05 0.0008" {
		t.Errorf("accepted %s a second", rate)
	}
	if list := got["vendors"].([]any); len(list) != 1 || list[0].(map[string]any)["connector_id"] != v.Name {
		t.Errorf("%v", list)
	}
}

// Rates of a busy gateway are those of the time that was counted.
func TestFlows(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	lately := &message.Lately{Since: now.Add(-30 * time.Second), Cut: true, Counts: []message.LatelyCount{
		{Direction: message.Outbound, Status: message.StatusDelivered, Messages: 9000, Minute: 9000, Moved: 9000},
		{Direction: message.Outbound, Status: message.StatusSent, Messages: 6000, Minute: 6000, Moved: 6000},
		{Direction: message.Inbound, Status: message.StatusDelivered, Messages: 5000, Minute: 5000, Moved: 5000}}}
	traffic := []message.VendorTraffic{{Minute: message.TrafficCount{In: 60, Accepted: 90, Failed: 10}, Hour: message.TrafficCount{In: 3600, Accepted: 3600}}}
	minute, hour := flows(lately, traffic, now)
	if got := fmt.Sprint(minute.Accepted, minute.Final, minute.FromVendors, minute.ToVendors, minute.ErrorRate, hour.Accepted, hour.Final); got != "500 150 1 1.5 0.1 500 300" {
		t.Error(got)
	}
}

func TestNearCaps(t *testing.T) {
	t.Parallel()
	account, brand, sister, campaign := message.NewID(), message.NewID(), message.NewID(), message.NewID()
	config := &snapshot.Snapshot{Accounts: map[message.ID]*snapshot.Account{account: {CompanyName: "Acme"}},
		Brands:    map[message.ID]*snapshot.Brand{brand: {Name: "A", AccountID: account, CapKey: "k"}, sister: {Name: "B", AccountID: account, CapKey: "k"}},
		Campaigns: map[message.ID]*snapshot.Campaign{campaign: {CampaignID: "C1", AccountID: account, Brand: brand}}}
	use := func(key string, used, cap int, closed bool) pace.Use {
		return pace.Use{Limit: pace.Limit{Key: key, Parts: cap}, Used: used, Closed: closed}
	}
	got := nearCaps([]pace.Use{use(pace.BrandDay("k"), 80, 100, false), use(pace.CampaignDay(campaign), 3, 100, true), use("brand:gone", 99, 100, false), use(pace.BrandDay("k"), 40, 100, false)},
		[]message.Usage{{UsageLimit: message.UsageLimit{AccountID: account, Kind: message.SMS, Period: "day", Parts: 10}, Used: 9}}, config)
	var words []string
	for _, c := range got {
		words = append(words, fmt.Sprint(c.Kind, " ", c.Name, " ", c.Used, "/", c.Limit))
	}
	if fmt.Sprint(words) != "[campaign C1 3/100 account Acme 9/10 brand A 80/100]" || *got[2].BrandID != brand.String() {
		t.Error(words)
	}
}
