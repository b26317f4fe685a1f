package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// money is limits and ledgers by account.
type money struct {
	limits  map[message.ID][]message.Usage
	balance map[message.ID]message.Balance
	entries map[message.ID][]message.BalanceEntry // newest first
	at      time.Time                             // that limits were asked for
	reports map[message.ID][]message.UsageRow
	asked   []reportAsked
}

type reportAsked struct {
	from, to time.Time
	by       message.UsageBy
}

func (m *money) UsageReport(_ context.Context, account message.ID, from, to time.Time, by message.UsageBy, skip, limit int) ([]message.UsageRow, error) {
	m.asked = append(m.asked, reportAsked{from, to, by})
	rows := m.reports[account]
	return rows[min(skip, len(rows)):min(skip+limit, len(rows))], nil
}

func (m *money) Limits(_ context.Context, account message.ID, at time.Time) ([]message.Usage, error) {
	m.at = at
	return m.limits[account], nil
}

func (m *money) Balance(_ context.Context, account message.ID) (message.Balance, error) {
	return m.balance[account], nil
}

func (m *money) BalanceEntries(_ context.Context, account message.ID, before int64, limit int) ([]message.BalanceEntry, error) {
	var out []message.BalanceEntry
	for _, e := range m.entries[account] {
		if (before == 0 || e.Sequence < before) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

// withUsage lets keyA read usage.
func withUsage(b *bundle) {
	s := configuration()
	s.Credentials["keyA"].Scopes = append(s.Credentials["keyA"].Scopes, scopeUsageRead)
	s.Index()
	b.config = s
}

func usageOf(number message.Address, kind message.Kind, p message.Period, parts, used int64) message.Usage {
	return message.Usage{UsageLimit: message.UsageLimit{Number: number, Kind: kind, Period: p, Parts: parts}, Used: used, ResetsAt: began.Add(time.Hour)}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, withUsage)
	b.journal.limits = map[message.ID][]message.Usage{
		accountA: {usageOf("", message.MMS, message.PeriodDay, 5, 0), usageOf("", message.SMS, message.PeriodMonth, 1000, 999), usageOf("+12025550143", message.SMS, message.PeriodMinute, 7, 3)},
		accountB: {usageOf("", message.SMS, message.PeriodDay, 1, 1)},
	}
	r := b.do("GET", "/v1/limits", "", as("keyA"))
	want := `{"data":[{"number":null,"type":"mms","period":"day","limit":5,"used":0,"resets_at":"` + stamp(began.Add(time.Hour)) + `"},` +
		`{"number":null,"type":"sms","period":"month","limit":1000,"used":999,"resets_at":"` + stamp(began.Add(time.Hour)) + `"},` +
		`{"number":"+12025550143","type":"sms","period":"minute","limit":7,"used":3,"resets_at":"` + stamp(began.Add(time.Hour)) + `"}],"next_cursor":null}`
	if r.StatusCode != 200 || strings.TrimSpace(string(r.body)) != want || !b.journal.at.Equal(b.clock.now()) {
		t.Errorf("%d %s\nwant %s", r.StatusCode, r.body, want)
	}
	periods := func(query string) string {
		t.Helper()
		var got []string
		for path := "/v1/limits?limit=1" + query; path != ""; {
			page := b.do("GET", path, "", as("keyA")).json(t)
			for _, l := range page["data"].([]any) {
				got = append(got, l.(map[string]any)["period"].(string))
			}
			path = ""
			if c, ok := page["next_cursor"].(string); ok {
				path = "/v1/limits?limit=1" + query + "&cursor=" + c
			}
		}
		return strings.Join(got, " ")
	}
	for query, want := range map[string]string{"": "day month minute", "&type=sms": "month minute", "&number=%2B12025550143": "minute", "&number=12025550143": "minute",
		"&number=+12025550143": "minute", "&number=%2B12025550144": ""} {
		if got := periods(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for _, bad := range []string{"x", encodeNumberCursor(entryCursor, 1)} {
		if r := b.do("GET", "/v1/limits?cursor="+bad, "", as("keyA")); r.StatusCode != 422 {
			t.Errorf("cursor %s: %d", bad, r.StatusCode)
		}
	}
	wantProblem(t, b.do("GET", "/v1/limits?number=%24", "", as("keyA")), 422, message.ReasonInvalidRequest)
	for _, path := range []string{"/v1/limits", "/v1/balance", "/v1/balance/entries"} {
		if r := b.do("GET", path, "", as("keyRO")); r.StatusCode != 403 || !strings.Contains(string(r.body), scopeUsageRead) {
			t.Errorf("%s without the scope: %d %s", path, r.StatusCode, r.body)
		}
	}
}

func TestBalance(t *testing.T) {
	t.Parallel()
	b := setup(t, withUsage)
	if r := b.do("GET", "/v1/balance", "", as("keyA")); strings.TrimSpace(string(r.body)) != `{"prepaid":false,"current_balance":"0.00","reserved":"0.00","available":"0.00","currency":null}` {
		t.Errorf("%s", r.body)
	}
	b.journal.balance = map[message.ID]message.Balance{accountA: {Prepaid: true, Amount: 12_000_000, Reserved: 4500, Currency: "USD"}}
	if r := b.do("GET", "/v1/balance", "", as("keyA")); strings.TrimSpace(string(r.body)) != `{"prepaid":true,"current_balance":"12.00","reserved":"0.0045","available":"11.9955","currency":"USD"}` {
		t.Errorf("%s", r.body)
	}
	id, about := message.NewID(), message.NewID()
	b.journal.entries = map[message.ID][]message.BalanceEntry{
		accountA: {{ID: id, Sequence: 9, Kind: message.EntryCharge, Amount: -4500, Currency: "USD", MessageID: about, After: 11_995_500, At: began, Actor: "alice"},
			{ID: id, Sequence: 4, Kind: message.EntryCredit, Amount: 12_000_000, Currency: "USD", After: 12_000_000, Reason: "paid", Reference: "inv-1", At: began, Actor: "alice"}},
		accountB: {{ID: id, Sequence: 5, Kind: message.EntryCredit, Currency: "EUR"}},
	}
	first := b.do("GET", "/v1/balance/entries?limit=1", "", as("keyA"))
	want := fmt.Sprintf(`{"data":[{"id":%q,"kind":"charge","amount":{"amount":"-0.0045","currency":"USD"},"balance_after":{"amount":"11.9955","currency":"USD"},"message_id":%q,"reason":null,"reference":null,"created_at":%q}],"next_cursor":%q}`,
		id, about, stamp(began), encodeNumberCursor(entryCursor, 9))
	if strings.TrimSpace(string(first.body)) != want {
		t.Errorf("%s\nwant %s", first.body, want)
	}
	second := b.do("GET", "/v1/balance/entries?limit=1&cursor="+encodeNumberCursor(entryCursor, 9), "", as("keyA")).json(t)
	if entry := second["data"].([]any)[0].(map[string]any); entry["reference"] != "inv-1" || second["next_cursor"] != nil {
		t.Errorf("%v", second)
	}
	for _, bad := range []string{"x", encodeNumberCursor(limitCursor, 1), encodeNumberCursor(entryCursor, 0)} {
		if r := b.do("GET", "/v1/balance/entries?cursor="+bad, "", as("keyA")); r.StatusCode != 422 {
			t.Errorf("cursor %s: %d", bad, r.StatusCode)
		}
	}
}

// A refusal says when to come back, and is what is sent also when the acceptance was
// rendered first.
func TestQuotaRefusal(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	refusal := message.Refuse(message.ReasonQuotaExceeded, "5 of 5 sms parts a day are used")
	refusal.After = 90 * time.Minute
	b.server.Ingress = metering{b.ingress, refusal}
	for _, key := range []string{"", "a"} {
		r := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", key))
		if key == "" {
			r = b.do("POST", "/v1/messages", parcel, as("keyA"))
		}
		p := r.json(t)
		if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "5400" || p["code"] != "quota_exceeded" || p["message_id"] == nil {
			t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
		}
	}
	// What did not fit at first may fit when its commit is repeated.
	b.server.Ingress = metering{b.ingress, nil}
	if r := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", "b")); r.StatusCode != http.StatusAccepted || r.json(t)["status"] != "accepted" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// metering renders as ingress and its journal do: the acceptance, then the refusal.
type metering struct {
	*fakeIngress
	refusal *message.Error
}

func (f metering) Accept(_ context.Context, r ingress.Request) (ingress.Outcome, error) {
	m := f.make(r)
	rejected := *m
	rejected.Status, rejected.Error = message.StatusRejected, message.Refuse(message.ReasonQuotaExceeded, "spent")
	if r.Key != nil {
		for _, m := range []*message.Message{m, &rejected} {
			if _, _, err := r.Key.Render(m, m.Error); err != nil {
				return ingress.Outcome{}, err
			}
		}
	}
	if f.refusal == nil {
		return ingress.Outcome{Message: m}, nil
	}
	rejected.Error = f.refusal
	return ingress.Outcome{Message: &rejected}, f.refusal
}

func TestUsageReport(t *testing.T) {
	t.Parallel()
	b := setup(t, withUsage)
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	b.journal.reports = map[message.ID][]message.UsageRow{
		accountA: {
			{Day: day, Direction: message.Outbound, Status: message.StatusDelivered, Number: "+12025550143", Messages: 3, Parts: 4, Cost: 13500, Currency: "USD"},
			{Day: day, Direction: message.Outbound, Status: message.StatusRejected, Messages: 2, Parts: 2},
			{Day: day, Direction: message.Inbound, Messages: 7, Parts: 7},
		},
		accountB: {{Direction: message.Outbound, Messages: 99}},
	}
	doc := document(t)
	r := b.do("GET", "/v1/usage?from=2026-11-01&to=2026-11-21&group_by=day,status&limit=2", "", as("keyA"))
	doc.check("get", "/v1/usage", r)
	got := r.json(t)
	if got["messages_sent_today"] != 3.0 || got["messages_received_today"] != 7.0 || len(got["data"].([]any)) != 2 || got["from"] != "2026-11-01" {
		t.Errorf("%s", r.body)
	}
	if a := b.journal.asked[0]; !a.from.Equal(day.AddDate(0, 0, -20)) || !a.to.Equal(day.AddDate(0, 0, 1)) || a.by != (message.UsageBy{Day: true, Status: true}) {
		t.Errorf("%+v", a)
	}
	r = b.do("GET", "/v1/usage?group_by=status&limit=2&cursor="+got["next_cursor"].(string), "", as("keyA"))
	if got = r.json(t); len(got["data"].([]any)) != 1 || got["next_cursor"] != nil {
		t.Errorf("%s", r.body)
	}
	r = b.do("GET", "/v1/usage?format=csv", "", as("keyA"), header("Accept", "text/csv"))
	const table = "day,direction,type,number,campaign_id,status,messages,parts,cost,currency\n2026-11-21,outbound,,+12025550143,,delivered,3,4,0.0135,USD\n2026-11-21,outbound,,,,rejected,2,2,,\n2026-11-21,inbound,,,,,7,7,,\n"
	if r.StatusCode != 200 || string(r.body) != table || r.Header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
	for _, query := range []string{"from=2026-11-22&to=2026-11-21", "from=2025-11-20&to=2026-11-21", "from=yesterday", "group_by=weather", "cursor=x"} {
		wantProblem(t, b.do("GET", "/v1/usage?"+query, "", as("keyA")), 422, message.ReasonInvalidRequest)
	}
	wantProblem(t, b.do("GET", "/v1/usage", "", as("keyB")), 403, message.ReasonForbidden)
}
