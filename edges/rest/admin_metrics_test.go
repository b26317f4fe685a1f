package rest

import (
	"fmt"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleViewer)
	empty := o.do("GET", adminPrefix+"/metrics", "", by).json(t)
	if minute := empty["last_minute"].(map[string]any); empty["queue_size"] != 0.0 || minute["error_rate"] != 0.0 {
		t.Errorf("%v", empty)
	}
	busy, idle := o.vendor(), o.vendor()
	o.queued = map[string]int{busy.Name: 7}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := o.conn.Exec(o.ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	sample := func(ago string, accepted, refused, other, silent int) {
		exec(`insert into vendor_samples (at, vendor_id, instance, accepted, refused, other, silent, receipts)
			values (now() - $1::text::interval, $2, gen_random_uuid(), $3, $4, $5, $6, 0)`, ago, busy.ID, accepted, refused, other, silent)
	}
	sample("30 seconds", 60, 20, 10, 10)
	sample("40 seconds", 60, 0, 0, 0) // of another process
	sample("30 minutes", 3480, 0, 0, 0)
	sample("2 hours", 1000, 0, 0, 0)
	// Ids are in the order of time, by the clock of the server that asks: the journal's.
	now := o.db.Now()
	for i, ago := range []int64{10, 20, 600, 7200} {
		exec(`insert into inbound_messages (id, vendor_id, fingerprint, from_addr, to_addr, encoding, received_at) values ($1, $2, $3, '', '', 'gsm7', now())`,
			fmt.Sprintf("%012x%04x%016x", now.UnixMilli()-ago*1000, 0x7000+i, i), busy.ID, fmt.Appendf(nil, "%d", i))
	}
	for range 3 {
		o.message(nil)
	}
	r := o.do("GET", adminPrefix+"/metrics", "", by)
	got := r.json(t)
	vendors := map[any]map[string]any{}
	for _, v := range got["vendors"].([]any) {
		vendors[v.(map[string]any)["connector_id"]] = v.(map[string]any)
	}
	show := func(of any) string {
		m := of.(map[string]any)
		t := m["throughput"].(map[string]any)
		return fmt.Sprintf("%.4f %.4f %.4f", t["in"], t["out"], m["error_rate"])
	}
	v := vendors[busy.Name]
	const minute, hour = "0.0333 2.0000 0.1875", "0.0008 1.0000 0.0082"
	if got["queue_size"] != 3.0 || v["queue_size"] != 7.0 || v["vendor_id"] != busy.ID.String() {
		t.Errorf("%s", r.body)
	}
	for _, of := range []map[string]any{got, v} {
		if m, h := show(of["last_minute"]), show(of["last_hour"]); m != minute || h != hour {
			t.Errorf("last minute %s, want %s; last hour %s, want %s", m, minute, h, hour)
		}
	}
	if v := vendors[idle.Name]; v == nil || v["queue_size"] != nil || show(v["last_hour"]) != "0.0000 0.0000 0.0000" {
		t.Errorf("%v", v)
	}
	session := o.bound("gw-1")
	stats := o.do("GET", statsPath, "", by).json(t)
	if list := stats["sessions"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != session.String() || stats["queue_size"] != 3.0 || show(stats["last_minute"]) != minute {
		t.Errorf("%v", stats)
	}
}

// The paths of gateways before this one: who may, and nothing but what they are for.
func TestKeptPaths(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) { o.server.FailedPerMinute = 1000 })
	for path, method := range map[string]string{"/clients": "GET", "/carriers": "GET", "/stats": "GET", "/reload": "POST"} {
		wantProblem(t, o.do(method, path, ""), 401, message.ReasonUnauthenticated)
		wantProblem(t, o.do(method, path, "", as("keyA")), 401, message.ReasonUnauthenticated)
		for _, other := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			r := o.do(other, path, "", o.by(snapshot.RoleAdmin))
			if other == method {
				if r.StatusCode != 200 {
					t.Errorf("%s %s: %d %s", other, path, r.StatusCode, r.body)
				}
				continue
			}
			wantProblem(t, r, 405, message.ReasonInvalidRequest)
			want := "GET, HEAD, OPTIONS"
			if method == "POST" {
				want = "OPTIONS, POST"
			}
			if got := r.Header.Get("Allow"); got != want {
				t.Errorf("%s %s: Allow %q, want %q", other, path, got, want)
			}
		}
	}
	if r := o.do("GET", "/health", ""); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("POST", "/reload", "", o.by(snapshot.RoleViewer)), 403, message.ReasonForbidden)
}
