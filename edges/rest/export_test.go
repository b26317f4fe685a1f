package rest

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// An export has every message that the filters let pass, once, newest first, however
// many pages it takes, and none of another account.
func TestExportMessages(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	const most = 2*exportPage + 7
	for i := range most {
		m := &message.Message{ID: message.NewID(), AccountID: accountA, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusSent, From: "+12025550143", To: "+13105550117",
			Body: fmt.Sprint("text ", i), CreatedAt: began, ExpiresAt: began}
		b.ingress.stored = append(b.ingress.stored, m)
	}
	odd := b.ingress.stored[most-1]
	odd.Body, odd.ClientReference, odd.Metadata = "=HYPERLINK(\"http://evil\",\"a\nb\"),x\ry", "-1+2", map[string]string{"a": "b"}
	odd.Price, odd.Error = message.Price{Amount: 4500, Currency: "USD"}, &message.Error{Reason: message.ReasonFiltered, Detail: "@cmd"}
	b.ingress.stored = append(b.ingress.stored, &message.Message{ID: message.NewID(), AccountID: accountB, Body: "not theirs"})

	r := b.do("GET", "/v1/messages/export", "", as("keyA"), header("Accept", "text/csv"))
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/csv; charset=utf-8" || r.Header.Get("Content-Disposition") != `attachment; filename="messages.csv"` {
		t.Fatalf("%d %v", r.StatusCode, r.Header)
	}
	if n := strings.Count(string(r.body), "\r\n"); n != most+1 {
		t.Errorf("%d rows end in CRLF", n)
	}
	rows, err := csv.NewReader(strings.NewReader(string(r.body))).ReadAll()
	if err != nil || len(rows) != most+1 {
		t.Fatal(len(rows), err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	seen := map[string]bool{}
	for i, row := range rows[1:] {
		if id := row[at["id"]]; seen[id] || id != b.ingress.stored[most-1-i].ID.String() || row[at["from"]] != "+12025550143" {
			t.Fatalf("row %d: %v", i, row)
		} else {
			seen[id] = true
		}
	}
	first := rows[1]
	for name, want := range map[string]string{"body": "'=HYPERLINK(\"http://evil\",\"a\nb\"),x\ry", "client_reference": "'-1+2", "metadata": `{"a":"b"}`, "error_code": "filtered", "error_detail": "'@cmd",
		"price_amount": odd.Price.Amount.String(), "price_currency": "USD", "created_at": stamp(began), "segments": "0"} {
		if first[at[name]] != want {
			t.Errorf("%s is %q, want %q", name, first[at[name]], want)
		}
	}
	if r := b.do("GET", "/v1/messages/export?status=failed", "", as("keyA")); string(r.body) != strings.Join(messageColumns, ",")+"\r\n" {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
	wantProblem(t, b.do("GET", "/v1/messages/export?to=x%00", "", as("keyA")), 422, message.ReasonInvalidRequest)
	wantProblem(t, b.do("GET", "/v1/messages/export?cursor=a", "", as("keyA")), 422, message.ReasonInvalidRequest)
	b.journal.err = errors.New("away")
	if r := b.do("GET", "/v1/messages/export", "", as("keyA")); r.Header.Get("Content-Disposition") != "" {
		t.Error("a refusal is no file")
	} else {
		wantProblem(t, r, 500, message.ReasonInternal)
	}
	for range exportsPerMinute {
		r = b.do("GET", "/v1/messages/export", "", as("keyA"))
	}
	wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
	if p := wantProblem(t, b.do("GET", "/v1/messages", "", as("keyA"), header("Accept", "text/csv")), 406, message.ReasonInvalidRequest); !strings.Contains(p["detail"].(string), "/export") {
		t.Error(p)
	}
}

// A list that breaks off behind its first page is cut, and does not look whole.
func TestExportThatBreaksOff(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle) { b.server.Journal = shortJournal{b.journal} })
	for range exportPage + 1 {
		b.ingress.stored = append(b.ingress.stored, &message.Message{ID: message.NewID(), AccountID: accountA, Body: strings.Repeat("x", 500), CreatedAt: began})
	}
	r, err := http.NewRequest("GET", b.base+"/v1/messages/export", nil)
	if err != nil {
		t.Fatal(err)
	}
	as("keyA")(r)
	answer, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("%d octets look whole", len(got))
	}
}

// shortJournal has no second page.
type shortJournal struct{ *fakeJournal }

func (j shortJournal) SearchMessages(ctx context.Context, account message.ID, s message.Search) (message.Found, error) {
	if s.Before != (message.ID{}) {
		return message.Found{}, errors.New("away")
	}
	return j.fakeJournal.SearchMessages(ctx, account, s)
}

func TestExportOfOtherLists(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle) {
		b.config.Credentials["keyA"].Scopes = append(b.config.Credentials["keyA"].Scopes, scopeUsageRead)
		in := &fakeInbound{sets: map[string]message.DestinationSet{}}
		in.messages = append(in.messages, message.ReceivedState{Received: message.Received{Message: &message.Message{ID: message.NewID(), AccountID: accountA, From: "+13105550117", To: "+12025550143", Body: "+1 please", Kind: message.SMS}, ReceivedAt: began}})
		b.server.Inbound = in
	})
	r := b.do("GET", "/v1/inbound-messages/export", "", as("keyA"))
	if rows, err := csv.NewReader(strings.NewReader(string(r.body))).ReadAll(); err != nil || len(rows) != 2 || rows[1][1] != "+13105550117" || rows[1][3] != "'+1 please" {
		t.Errorf("%d %s, %v", r.StatusCode, r.body, err)
	}
	b.clock.advance(time.Second)
	r = b.do("GET", "/v1/balance/entries/export", "", as("keyA"))
	if rows, err := csv.NewReader(strings.NewReader(string(r.body))).ReadAll(); err != nil || len(rows) < 1 || strings.Join(rows[0], ",") != strings.Join(entryColumns, ",") {
		t.Errorf("%d %s, %v", r.StatusCode, r.body, err)
	}
}

func TestExportAuditLog(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	r := o.do("GET", adminPrefix+"/audit-log/export?action=account.create", "", o.by(snapshot.RoleCompliance))
	rows, err := csv.NewReader(strings.NewReader(string(r.body))).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][4] != "account.create" || rows[1][5] != o.customer.String() || !strings.HasPrefix(rows[1][7], "{") {
		t.Errorf("%d %s, %v", r.StatusCode, r.body, err)
	}
}
