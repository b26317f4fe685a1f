package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

func TestStatsOverHTTP(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	e.submit(sms("15551230001", "x"))
	e.receipt()
	e.settle()
	var got map[string]any
	s.call(t, "GET", "/stats", "", 200, &got)
	for name, want := range map[string]float64{
		"accepted": 1, "answered": 1, "silent": 0, "receipts_sent": 1, "receipts_acked": 1, "receipts_pending": 0,
		"mo_sent": 0, "mo_acked": 0, "sessions": 1, "distinct_messages": 1, "duplicates": 0, "parts": 1, "messages_complete": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if refused, ok := got["refused"].(map[string]any); !ok || refused["RINVDSTADR"] != 1.0 {
		t.Errorf("refused %v", got["refused"])
	}
	if _, ok := got["submits_per_second"].(float64); !ok {
		t.Errorf("submits_per_second %v", got["submits_per_second"])
	}
	s.call(t, "GET", "/healthz", "", 200, nil)
}

func TestReset(t *testing.T) {
	s := configured(t, func(c *config) { c.Magic = true })
	tx := connect(t, s.ready().SMPP, smpp.ModeTransmitter, nil)
	tx.submit(sms("15551239999", "x"))
	tx.refused(sms("15551230006", "x"), smpp.StatusThrottled)
	s.call(t, "POST", "/reset", "", 204, nil)
	got := s.seen()
	if got.Accepted != 0 || len(got.Refused) != 0 || got.Parts != 0 || got.Destinations != 0 || got.Sessions != 1 || got.ReceiptsPending != 1 {
		t.Errorf("stats %+v", got)
	}
	tx.refused(sms("15551230006", "x"), smpp.StatusThrottled)
	dial(t, s).receipt()
}

func TestDestinationsOverHTTP(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	for i := range 25 {
		e.submit(sms(fmt.Sprintf("1555123%04d", i), "x"))
	}
	e.submit(sms("15551230003", "x"))
	var all []destinationView
	since := "0"
	for {
		var rows []destinationView
		since = s.call(t, "GET", "/destinations?limit=10&since="+since, "", 200, &rows).Get("X-Next-Since")
		if len(rows) == 0 {
			break
		}
		all = append(all, rows...)
	}
	if len(all) != 25 {
		t.Fatalf("%d rows", len(all))
	}
	for i, row := range all {
		want := 1
		if i == 3 {
			want = 2
		}
		if row.Destination != fmt.Sprintf("1555123%04d", i) || row.Count != want || row.Parts != want || row.Duplicates != want-1 ||
			row.Number != i+1 || len(row.Texts) != 1 || row.LastAt.Before(row.FirstAt) {
			t.Errorf("row %+v", row)
		}
	}
	var late []destinationView
	s.call(t, "GET", "/destinations?since="+url.QueryEscape(all[3].LastAt.Format(time.RFC3339Nano)), "", 200, &late)
	if len(late) != 1 || late[0].Number != 4 {
		t.Errorf("rows since a time: %+v", late)
	}
	for _, query := range []string{"since=yesterday", "limit=0", "limit=x", "limit=1000000"} {
		s.call(t, "GET", "/destinations?"+query, "", 400, nil)
	}
}

func TestMessagesOverHTTP(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	words := strings.Repeat("界😀", 300)
	for _, m := range cutSMS(t, "15551230001", words, smpp.LongUDH, 9) {
		e.submit(m)
	}
	var rows []messageView
	for _, address := range []string{"15551230001", "+15551230001", "%2B15551230001"} {
		s.call(t, "GET", "/messages?destination="+address, "", 200, &rows)
		if len(rows) != 1 || rows[0].Text != words || rows[0].Encoding != "ucs2" || rows[0].Source != "15550001000" || rows[0].Parts < 10 {
			t.Errorf("%s: %+v", address, rows)
		}
	}
	s.call(t, "GET", "/messages?destination=1", "", 200, &rows)
	if len(rows) != 0 {
		t.Errorf("rows %+v", rows)
	}
	s.call(t, "GET", "/messages", "", 400, nil)
}

func TestConfigOverHTTP(t *testing.T) {
	s := simulate(t, func(o *options) { _ = o.Config.Password.UnmarshalText([]byte("pw")) })
	var got map[string]any
	s.call(t, "GET", "/config", "", 200, &got)
	if got["receipt_delay"] != "0s" || got["error_statuses"] != "RSYSERR" || got["receipt_rate_final"] != "" || got["id_format"] != "decimal" {
		t.Errorf("config %v", got)
	}
	if shown := fmt.Sprint(got["password"]); shown == "" || strings.Contains(shown, "pw") {
		t.Errorf("password shows as %q", shown)
	}
	s.call(t, "PUT", "/config", fmt.Sprintf(`{"error_percent":100,"error_statuses":"RINVDSTADR,0x401","password":%q}`, got["password"]), 200, &got)
	if got["error_percent"] != 100.0 || got["receipt_delay"] != "0s" || s.config.Load().Password.Reveal() != "pw" {
		t.Errorf("config %v", got)
	}
	e := dial(t, s)
	if _, err := e.session.Submit(within(t), sms("15551230001", "x")); err == nil {
		t.Error("the submit was taken")
	}
	s.call(t, "PUT", "/config", `{"error_percent":0,"id_format":"uuid","receipt_rate_final":"EXPIRED=100:007"}`, 200, nil)
	if id := e.submit(sms("15551230001", "x")); len(id) != 36 {
		t.Errorf("id %s", id)
	}
	if r := e.receipt(); r.State != "EXPIRED" || r.Err != "007" {
		t.Errorf("receipt %+v", r)
	}
}

func TestConfigRefused(t *testing.T) {
	s := simulate(t, nil)
	before := *s.config.Load()
	for _, body := range []string{
		`{`, `[]`, `{} {}`, `{"nonsense":1}`, `{"latency":5}`, `{"latency":"-5s"}`, `{"error_percent":101}`, `{"throttle_percent":-1}`,
		`{"id_format":"roman"}`, `{"receipt_tlvs":"none"}`, `{"alphabet":"morse"}`, `{"error_statuses":"RNOSUCH"}`, `{"error_statuses":"ROK"}`,
		`{"error_percent":5,"error_statuses":""}`, `{"window":-1}`, `{"deliver_window":0}`, `{"mo_rate":1e9}`, `{"throttle_rate":-1}`,
		`{"receipt_rate_final":"MAYBE=5"}`, `{"receipt_rate_final":"UNDELIV=60,EXPIRED=60"}`, `{"receipt_rate_final":"UNDELIV=5:1"}`,
		`{"receipt_rate_final":"UNDELIV"}`, `{"receipt_retry":"0s"}`, `{"disconnect_every":-1}`,
	} {
		s.call(t, "PUT", "/config", body, 400, nil)
	}
	if fmt.Sprint(*s.config.Load()) != fmt.Sprint(before) {
		t.Error("a refused configuration took effect")
	}
}

func TestDisconnectOverHTTP(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	var got map[string]int
	s.call(t, "POST", "/disconnect?system_id=other", "", 200, &got)
	if got["closed"] != 0 || e.session.Err() != nil {
		t.Errorf("closed %v", got)
	}
	s.call(t, "POST", "/disconnect", "", 200, &got)
	<-e.session.Done()
	if got["closed"] != 1 {
		t.Errorf("closed %v", got)
	}
}

func TestRate(t *testing.T) {
	s := newStats()
	at := func(d time.Duration) time.Time { return s.began.Add(d) }
	for second := range 20 {
		for range 10 * (second + 1) {
			s.submit(at(time.Duration(second) * time.Second))
		}
	}
	// Whole seconds 15 to 19 had 160 to 200.
	v := s.view(totals{}, at(20*time.Second))
	if v.SubmitsPerSecond != 180 || v.PeakPerSecond != 200 {
		t.Errorf("%g per second, peak %d", v.SubmitsPerSecond, v.PeakPerSecond)
	}
	if v := s.view(totals{}, at(time.Hour)); v.SubmitsPerSecond != 0 {
		t.Errorf("%g per second after an hour", v.SubmitsPerSecond)
	}
}

// A vendor that is away hangs up on who is there and on who comes, until it is back.
func TestAway(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	s.call(t, "PUT", "/config", `{"away":true}`, 200, nil)
	<-e.session.Done()
	if session, err := smpp.Dial(within(t), smpp.DialConfig{Address: s.ready().SMPP, Bind: smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "acme", Password: "pw"}}); err == nil {
		session.Close()
		t.Error("somebody has bound to who is away")
	}
	s.call(t, "PUT", "/config", `{"away":false}`, 200, nil)
	if e := dial(t, s); e.session.Err() != nil {
		t.Error(e.session.Err())
	}
}
