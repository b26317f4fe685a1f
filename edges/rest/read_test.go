package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestReadMessage(t *testing.T) {
	b := setup(t, nil)
	id := b.send("keyA")
	at := began.Add(5 * time.Second)
	b.ingress.mu.Lock()
	m := b.ingress.stored[0]
	m.Status, m.Segments, m.Redacted, m.Body = message.StatusUndelivered, 3, true, ""
	m.From, m.RequestedFrom = "Postrider", "+12025550143"
	m.Error = &message.Error{Reason: message.ReasonUnreachable}
	m.Receipt = &message.ReceiptSummary{Stat: "UNDELIV", Err: "045", At: at}
	m.Price.Estimated = false
	m.SubmittedAt, m.UpdatedAt = at, at
	m.BatchID, m.RetryOf = message.NewID(), message.NewID()
	m.GroupID, m.GroupRecipients = message.NewID(), []message.Address{"+13105550117", "+13105550118"}
	m.Vendor = "acme-1"
	m.Parts = []message.Part{
		{Number: 1, Attempt: 1, State: message.PartDelivered, Vendor: "acme-1", VendorMessageID: "v1", Receipt: &message.ReceiptSummary{Stat: "DELIVRD", Err: "000", At: at}},
		{Number: 2, Attempt: 2, State: message.PartUndelivered, Vendor: "acme-1", VendorCode: "E45", Reason: message.ReasonUnreachable, Receipt: m.Receipt},
		{Number: 3},
	}
	b.ingress.mu.Unlock()
	for _, path := range []string{id, strings.ReplaceAll(id, "-", ""), strings.ToUpper(id)} {
		r := b.do("GET", "/v1/messages/"+path, "", as("keyA"))
		if r.StatusCode != 200 {
			t.Fatalf("%s: %d %s", path, r.StatusCode, r.body)
		}
		document(t).check("get", "/v1/messages/{id}", r)
		got := r.json(t)
		for name, want := range map[string]string{
			"id": id, "status": "undelivered", "body": "<nil>", "from": "Postrider", "requested_from": "+12025550143",
			"error":        "map[class:retry code:unreachable detail:" + message.ReasonUnreachable.Entry().Help + "]",
			"receipt":      "map[at:2026-11-21T20:15:09.310Z err:045 stat:UNDELIV]",
			"submitted_at": "2026-11-21T20:15:09.310Z", "delivered_at": "<nil>", "batch_id": m.BatchID.String(), "retry_of": m.RetryOf.String(),
			"group_id": m.GroupID.String(), "group_recipients": "[+13105550117 +13105550118]",
			"price": "map[amount:0.0045 currency:USD estimated:false]",
			"parts": "[map[error:<nil> part:1 receipt:map[at:2026-11-21T20:15:09.310Z err:000 stat:DELIVRD] status:delivered] " +
				"map[error:map[class:retry code:unreachable detail:" + message.ReasonUnreachable.Entry().Help + "] part:2 receipt:map[at:2026-11-21T20:15:09.310Z err:045 stat:UNDELIV] status:undelivered] " +
				"map[error:<nil> part:3 receipt:<nil> status:undelivered]]",
		} {
			if fmt.Sprint(got[name]) != want {
				t.Errorf("%s is %v, want %s", name, got[name], want)
			}
		}
		for _, inner := range []string{"acme", "E45", "v1\"", "vendor"} {
			if strings.Contains(string(r.body), inner) {
				t.Errorf("the operator's side shows: %q in %s", inner, r.body)
			}
		}
	}
}

// Octets are not shown as text.
func TestReadBinaryMessage(t *testing.T) {
	b := setup(t, nil)
	id := b.send("keyA")
	b.ingress.mu.Lock()
	m := b.ingress.stored[0]
	m.Encoding, m.Body, m.DataCoding, m.Header = message.EncodingBinary, "secret\x00\xff", 0xF5, []byte("\x04\x02\x01\x02")
	m.TLVs = []message.TLV{{Tag: 0x1403, Value: []byte("secret")}}
	b.ingress.mu.Unlock()
	for _, path := range []string{"/v1/messages/" + id, "/v1/messages"} {
		r := b.do("GET", path, "", as("keyA"))
		if r.StatusCode != 200 || !strings.Contains(string(r.body), `"body":null,`) || !strings.Contains(string(r.body), `"encoding":"binary"`) ||
			strings.Contains(string(r.body), "secret") || strings.Contains(string(r.body), "c2VjcmV0") {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
	document(t).check("get", "/v1/messages/{id}", b.do("GET", "/v1/messages/"+id, "", as("keyA")))
	if r := b.do("POST", "/v1/messages", `{"to":"+13105550117","body":"x","encoding":"binary"}`, as("keyA")); r.StatusCode != 422 {
		t.Errorf("asked for: %d", r.StatusCode)
	}
}

func TestIDsThatAreNone(t *testing.T) {
	b := setup(t, nil)
	for _, id := range []string{"x", message.NewID().String(), strings.Repeat("0", 32), "{" + message.NewID().String() + "}", "%00", "..%2f", strings.Repeat("x", 500)} {
		for _, suffix := range []string{"", "/events"} {
			wantProblem(t, b.do("GET", "/v1/messages/"+id+suffix, "", as("keyA")), 404, message.ReasonNotFound)
		}
	}
}

// No operation shows or touches anything of another account.
func TestTenantsAreApart(t *testing.T) {
	b := setup(t, nil)
	id := b.send("keyA")
	b.journal.events[uuidOf(t, id)] = []message.Event{{Sequence: 1, At: began, Type: "accepted"}}
	for _, path := range []string{"/v1/messages/" + id, "/v1/messages/" + id + "/events"} {
		if r := b.do("GET", path, "", as("keyA")); r.StatusCode != 200 {
			t.Errorf("the owner gets %d", r.StatusCode)
		}
		other := wantProblem(t, b.do("GET", path, "", as("keyB")), 404, message.ReasonNotFound)
		unknown := wantProblem(t, b.do("GET", strings.Replace(path, id, message.NewID().String(), 1), "", as("keyB")), 404, message.ReasonNotFound)
		delete(other, "request_id")
		delete(unknown, "request_id")
		if len(fmt.Sprint(other)) != len(fmt.Sprint(unknown)) {
			t.Errorf("another's message answers otherwise than one that is not there: %v, %v", other, unknown)
		}
	}
	if r := b.do("GET", "/v1/messages", "", as("keyB")); len(r.json(t)["data"].([]any)) != 0 {
		t.Errorf("the list of B shows %s", r.body)
	}
	cursor := encodeMessageCursor(message.NewID())
	if r := b.do("GET", "/v1/messages?cursor="+cursor, "", as("keyB")); len(r.json(t)["data"].([]any)) != 0 {
		t.Errorf("the list of B shows %s", r.body)
	}
	first := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Idempotency-Key", "k"))
	second := b.do("POST", "/v1/messages", parcel, as("keyB"), header("Idempotency-Key", "k"))
	if first.json(t)["id"] == second.json(t)["id"] || b.ingress.last(t).AccountID != accountB {
		t.Error("B got the answer of A")
	}
}

// A journal that hands out another account's message is not believed.
func TestJournalsMistakeIsNotPassedOn(t *testing.T) {
	b := setup(t, func(b *bundle) { b.server.Journal = &leakyJournal{b.journal} })
	id := b.send("keyA")
	for _, path := range []string{"/v1/messages/" + id, "/v1/messages/" + id + "/events"} {
		wantProblem(t, b.do("GET", path, "", as("keyB")), 404, message.ReasonNotFound)
	}
}

func TestListMessages(t *testing.T) {
	b := setup(t, nil)
	var sent []string
	for range 7 {
		sent = append(sent, b.send("keyA"))
	}
	b.send("keyB")
	slices.Reverse(sent)
	var got []string
	path, pages := "/v1/messages?limit=3", 0
	for path != "" {
		r := b.do("GET", path, "", as("keyA"))
		document(t).check("get", "/v1/messages", r)
		page := r.json(t)
		for _, m := range page["data"].([]any) {
			got = append(got, m.(map[string]any)["id"].(string))
		}
		path = ""
		if next, ok := page["next_cursor"].(string); ok {
			path = "/v1/messages?limit=3&cursor=" + next
		}
		if pages++; pages == 1 {
			b.send("keyA") // a newer one does not shift the pages
		}
	}
	if !slices.Equal(got, sent) || pages != 3 {
		t.Errorf("%d pages with %v, want %v", pages, got, sent)
	}
	if r := b.do("GET", "/v1/messages?limit=8", "", as("keyA")); r.json(t)["next_cursor"] != nil {
		t.Errorf("a last page that is full has a cursor: %s", r.body)
	}
	if r := b.do("GET", "/v1/messages", "", as("keyRO")); len(r.json(t)["data"].([]any)) != 8 {
		t.Errorf("%s", r.body)
	}
}

func TestFilters(t *testing.T) {
	b := setup(t, nil)
	batch := message.NewID()
	r := b.do("GET", "/v1/messages?direction=outbound&status=failed&status=sent&type=sms&from=%2B12025550143&to=13105550117&client_reference=r%201"+
		"&batch_id="+batch.String()+"&campaign_id=C8X2KQ1&error_code=unreachable&message_class=bulk&created_after=2026-11-01T00:00:00Z&created_before="+
		url.QueryEscape("2026-11-21T12:00:00.5+01:00"), "", as("keyA"))
	if r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	f := b.journal.filters[0]
	if f.Direction != message.Outbound || len(f.Statuses) != 2 || f.Statuses[1] != message.StatusSent || f.Kind != message.SMS || f.From != "+12025550143" || f.To != "+13105550117" ||
		f.ClientReference != "r 1" || f.BatchID != batch || f.CampaignID != "C8X2KQ1" || f.Reason != message.ReasonUnreachable || f.Class != message.ClassBulk ||
		f.CreatedAfter.IsZero() || !f.CreatedBefore.Equal(time.Date(2026, 11, 21, 11, 0, 0, 5e8, time.UTC)) {
		t.Errorf("filter %+v", f)
	}
	b.do("GET", "/v1/messages?to=+13105550117", "", as("keyA"))
	if f := b.journal.filters[1]; f.To != "+13105550117" {
		t.Errorf("a plus that became a blank: %+v", f)
	}
	for query, field := range map[string]string{
		"limit=0": "query.limit", "limit=201": "query.limit", "limit=-1": "query.limit", "limit=x": "query.limit", "limit=1e9": "query.limit",
		"limit=99999999999999999999": "query.limit", "cursor=x": "query.cursor", "cursor=" + encodeEventCursor(1): "query.cursor",
		"cursor=" + strings.Repeat("A", 101): "query.cursor", "direction=sideways": "query.direction", "status=gone": "query.status[0]",
		"status=sent&status=gone": "query.status[1]", "type=fax": "query.type", "from=%3F": "query.from", "to=abc%00": "query.to",
		"batch_id=1": "query.batch_id", "error_code=x": "query.error_code", "message_class=x": "query.message_class",
		"created_after=yesterday": "query.created_after", "created_before=2026-11-21": "query.created_before", "state=sent": "query.state",
		"client_reference=%00": "query.client_reference", "campaign_id=%ff": "query.campaign_id",
	} {
		p := wantProblem(t, b.do("GET", "/v1/messages?"+query, "", as("keyA")), 422, message.ReasonInvalidRequest)
		if !strings.Contains(fmt.Sprint(p["errors"]), "location:"+field+" ") {
			t.Errorf("%s: %v", query, p["errors"])
		}
		b.clock.advance(time.Second)
	}
	if len(b.journal.filters) != 2 {
		t.Errorf("the journal was asked %d times", len(b.journal.filters))
	}
}

func TestEvents(t *testing.T) {
	b := setup(t, nil)
	id := b.send("keyA")
	trail := []any{map[string]any{"rule": "campaign", "result": "pass", "detail": "C8X2KQ1"}, map[string]any{"rule": "route", "result": "pass", "detail": "acme-1"}}
	b.journal.events[uuidOf(t, id)] = []message.Event{
		{Sequence: 1, At: began, Type: "accepted", Detail: map[string]any{"edge": "rest"}},
		{Sequence: 2, At: began, Type: message.EventAdmitted, Detail: map[string]any{"trail": trail}},
		{Sequence: 3, At: began, Type: "sending", Detail: map[string]any{"part": 1, "attempt": 1, "vendor": "acme-1", "vendor_message_id": "v1", "instance": "pod-3"}},
		{Sequence: 4, At: began, Type: message.EventSubmitRefused, Detail: map[string]any{"vendor_code": "E45", "command_status": 8, "staff": "jo", "code": "vendor_rejected"}},
		{Sequence: 5, At: began, Type: "sent"},
	}
	var got []string
	path := "/v1/messages/" + strings.ReplaceAll(id, "-", "") + "/events?limit=2"
	for next := path; next != ""; {
		r := b.do("GET", next, "", as("keyA"))
		document(t).check("get", "/v1/messages/{id}/events", r)
		page := r.json(t)
		next = ""
		if c, ok := page["next_cursor"].(string); ok {
			next = path + "&cursor=" + c
		}
		for _, e := range page["data"].([]any) {
			got = append(got, fmt.Sprint(e))
		}
	}
	want := []string{
		"map[at:2026-11-21T20:15:04.310Z detail:map[edge:rest] sequence:1 type:accepted]",
		"map[at:2026-11-21T20:15:04.310Z detail:map[trail:[map[detail:C8X2KQ1 result:pass rule:campaign] map[result:pass rule:route]]] sequence:2 type:admitted]",
		"map[at:2026-11-21T20:15:04.310Z detail:map[attempt:1 part:1] sequence:3 type:sending]",
		"map[at:2026-11-21T20:15:04.310Z detail:map[code:vendor_rejected] sequence:4 type:submit_refused]",
		"map[at:2026-11-21T20:15:04.310Z detail:map[] sequence:5 type:sent]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, cursor := range []string{"x", encodeMessageCursor(message.NewID())} {
		wantProblem(t, b.do("GET", path+"&cursor="+cursor, "", as("keyA")), 422, message.ReasonInvalidRequest)
	}
}

func TestFaultsOfTheJournal(t *testing.T) {
	gone := errors.New("connection refused by 10.0.0.7")
	b := setup(t, func(b *bundle) { b.server.Away = func(err error) bool { return errors.Is(err, gone) } })
	id := b.send("keyA")
	b.journal.err = errors.New("password=hunter2")
	for _, path := range []string{"/v1/messages", "/v1/messages/" + id, "/v1/messages/" + id + "/events"} {
		r := b.do("GET", path, "", as("keyA"))
		wantProblem(t, r, 500, message.ReasonInternal)
		if strings.Contains(string(r.body), "hunter2") || !strings.Contains(b.log.String(), r.Header.Get("X-Request-Id")) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	b.journal.err = fmt.Errorf("read: %w", gone)
	r := b.do("GET", "/v1/messages", "", as("keyA"))
	if wantProblem(t, r, 503, message.ReasonUnavailable); strings.Contains(string(r.body), "10.0.0.7") {
		t.Errorf("the answer says where: %s", r.body)
	}
	b.journal.err = message.Refuse(message.ReasonUnavailable, "no journal")
	if r := b.do("GET", "/v1/messages", "", as("keyA")); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
}
