package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// fakeOptOuts keeps opt-outs in memory, as the table does.
type fakeOptOuts struct {
	mu      sync.Mutex
	list    []message.OptOut
	told    []message.Notification
	ingress *fakeIngress // has the answers of keys
	now     func() time.Time
	err     error // of everything
	after   int   // pages that are read before err; 0: none
	leaky   bool  // it forgets to ask whose they are
}

func (f *fakeOptOuts) OptOut(_ context.Context, account, id message.ID) (message.OptOut, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.list, func(o message.OptOut) bool { return o.ID == id && (f.leaky || o.AccountID == account) })
	if i < 0 {
		return message.OptOut{}, errors.Join(f.err, message.Refuse(message.ReasonNotFound, "no opt-out %s", id))
	}
	return f.list[i], f.err
}

func (f *fakeOptOuts) OptOuts(_ context.Context, account message.ID, filter message.OptOutFilter, before message.ID, limit int) ([]message.OptOut, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.after--; f.err != nil && f.after < 0 {
		return nil, f.err
	}
	var out []message.OptOut
	for _, o := range slices.Backward(f.list) {
		if o.AccountID == account && (before == message.ID{} || bytes.Compare(o.ID[:], before[:]) < 0) && len(out) < limit &&
			(filter.Recipient == "" || filter.Recipient == o.Recipient) && (filter.Sender == "" || filter.Sender == o.Sender) &&
			(filter.CampaignID == "" || filter.CampaignID == o.CampaignID) && (filter.Active == nil || *filter.Active == o.Active()) {
			out = append(out, o)
		}
	}
	return out, nil
}

func (f *fakeOptOuts) StoppedBy(_ context.Context, account message.ID, sender, recipient message.Address, campaign string) (message.OptOut, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.list {
		if o.AccountID == account && o.Active() && o.Recipient == recipient && o.Stops(sender, campaign) {
			return o, true, f.err
		}
	}
	return message.OptOut{}, false, f.err
}

func (f *fakeOptOuts) record(o message.OptOut) (message.OptOut, bool) {
	for _, is := range f.list {
		if is.Active() && is.AccountID == o.AccountID && is.Recipient == o.Recipient && is.Scope == o.Scope && is.Sender == o.Sender && is.CampaignID == o.CampaignID {
			return is, false
		}
	}
	if o.At.IsZero() {
		o.At = f.now()
	}
	f.list = append(f.list, o)
	return o, true
}

func (f *fakeOptOuts) RecordOptOut(_ context.Context, o message.OptOut, w message.OptOutWrite) (message.OptOutRecorded, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return message.OptOutRecorded{}, f.err
	}
	var r message.OptOutRecorded
	if r.OptOut, r.Fresh = f.record(o); r.Fresh {
		event, err := w.Tell(r.OptOut)
		if err != nil {
			return r, err
		}
		f.told = append(f.told, event.Deliveries...)
	}
	if w.Key != nil {
		k, err := w.Key(r.OptOut, r.Fresh)
		if err != nil {
			return r, err
		}
		f.ingress.mu.Lock()
		defer f.ingress.mu.Unlock()
		k.Response = bytes.Clone(k.Response)
		f.ingress.answers[k.AccountID.String()+k.Operation+k.Key] = k
	}
	return r, nil
}

func (f *fakeOptOuts) EndOptOut(_ context.Context, account, id message.ID, by message.OptOutEnd, tell message.OptOutTell) (message.OptOut, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		o := &f.list[i]
		if o.ID != id || o.AccountID != account {
			continue
		}
		if o.Active() {
			o.Ended = by
			o.Ended.At = f.now()
			event, err := tell(*o)
			if err != nil {
				return *o, err
			}
			f.told = append(f.told, event.Deliveries...)
		}
		return *o, f.err
	}
	return message.OptOut{}, message.Refuse(message.ReasonNotFound, "no opt-out %s", id)
}

func (f *fakeOptOuts) ImportOptOuts(_ context.Context, batch []message.OptOut) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fresh := 0
	for _, o := range batch {
		if _, is := f.record(o); is {
			fresh++
		}
	}
	return fresh, f.err
}

// withOptOuts starts a server whose keys may read and write opt-outs, keyRO reads alone.
func withOptOuts(t testing.TB) (*bundle, *fakeOptOuts) {
	t.Helper()
	b := setup(t, func(b *bundle) {
		for key, c := range b.config.Credentials {
			c.Scopes = append(c.Scopes, scopeOptOutsRead)
			if key != "keyRO" {
				c.Scopes = append(c.Scopes, scopeOptOutsWrite)
			}
		}
		campaign, foreign := message.NewID(), message.NewID()
		b.config.Campaigns = map[message.ID]*snapshot.Campaign{
			campaign: {ID: campaign, AccountID: accountA, CampaignID: "C8X2KQ1", Status: snapshot.CampaignActive},
			foreign:  {ID: foreign, AccountID: accountB, CampaignID: "CFOREIGN", Status: snapshot.CampaignActive},
		}
		b.config.Numbers = map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: accountA, Campaign: campaign}}
		b.config.Endpoints = map[message.ID][]snapshot.Endpoint{accountA: {{ID: message.NewID(), AccountID: accountA, URL: "https://shop.example/hooks", Format: "event"},
			{ID: message.NewID(), AccountID: accountA, URL: "https://shop.example/other", EventTypes: []string{"message.delivered"}}}}
		b.config.Index()
	})
	return b, b.optOuts
}

const stopOne = `{"recipient":"+1 (310) 555-0117","sender":"+12025550143","keyword":"STOP","reason":"asked by phone"}`

func TestCreateOptOut(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	r := b.do("POST", "/v1/opt-outs", stopOne, as("keyA"))
	got := r.json(t)
	id, _ := got["id"].(string)
	if r.StatusCode != http.StatusCreated || r.Header.Get("Location") != "/v1/opt-outs/"+id {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	for name, want := range map[string]any{"recipient": "+13105550117", "scope": "number", "sender": "+12025550143", "campaign_id": nil, "active": true, "keyword": "STOP",
		"source": "api", "message_id": nil, "reason": "asked by phone", "at": stamp(began), "ended_at": nil, "end_reason": nil} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if strings.Contains(string(r.body), "keyA") || f.list[0].Actor != "keyA" {
		t.Errorf("actor %q, %s", f.list[0].Actor, r.body)
	}
	// Again: what is in force.
	if r := b.do("POST", "/v1/opt-outs", stopOne, as("keyA")); r.StatusCode != http.StatusOK || r.json(t)["id"] != id || r.Header.Get("Location") != "" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	// Of another account it is another.
	if r := b.do("POST", "/v1/opt-outs", stopOne, as("keyB")); r.StatusCode != http.StatusCreated || r.json(t)["id"] == id {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if len(f.told) != 1 || f.told[0].Type != "opt_out.created" || f.told[0].URL != "https://shop.example/hooks" || f.told[0].MessageID != (message.ID{}) {
		t.Fatalf("%+v", f.told)
	}
	var event struct {
		Type string
		Data map[string]any
	}
	if err := json.Unmarshal([]byte(f.told[0].Payload), &event); err != nil || event.Type != "opt_out.created" || event.Data["id"] != id || event.Data["recipient"] != "+13105550117" || event.Data["source"] != "api" {
		t.Errorf("%s, %v", f.told[0].Payload, err)
	}
	for body, scope := range map[string]string{
		`{"recipient":"+13105550118"}`:                                           "account",
		`{"recipient":"+13105550118","campaign_id":"C8X2KQ1"}`:                   "campaign",
		`{"recipient":"+13105550118","scope":"number","sender":"ACME"}`:          "number",
		`{"recipient":"12345","scope":"account","sender":null,"keyword":"ALTO"}`: "account",
	} {
		if r := b.do("POST", "/v1/opt-outs", body, as("keyA")); r.StatusCode != http.StatusCreated || r.json(t)["scope"] != scope {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
}

func TestCreateOptOutRefused(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	for body, field := range map[string]string{
		`{}`:                         "body.recipient",
		`{"recipient":"3105550117"}`: "body.recipient",
		`{"recipient":7}`:            "body.recipient",
		`{"recipient":"+13105550117","scope":"all"}`:                               "body.scope",
		`{"recipient":"+13105550117","scope":"number"}`:                            "body.sender",
		`{"recipient":"+13105550117","scope":"account","sender":"12345"}`:          "body.sender",
		`{"recipient":"+13105550117","sender":"12345","campaign_id":"C8X2KQ1"}`:    "body.campaign_id",
		`{"recipient":"+13105550117","campaign_id":"CFOREIGN"}`:                    "body.campaign_id",
		`{"recipient":"+13105550117","keyword":"` + strings.Repeat("K", 33) + `"}`: "body.keyword",
		`{"recipient":"+13105550117","reason":"` + strings.Repeat("r", 257) + `"}`: "body.reason",
		`{"recipient":"+13105550117","reason":"two\nlines"}`:                       "body.reason",
		`{"recipient":"+13105550117","until":"tomorrow"}`:                          "body.until",
		`[]`: "body",
	} {
		p := wantProblem(t, b.do("POST", "/v1/opt-outs", body, as("keyA")), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
		errs, _ := p["errors"].([]any)
		if len(errs) != 1 || errs[0].(map[string]any)["location"] != field {
			t.Errorf("%s: %v", body, p["errors"])
		}
	}
	wantProblem(t, b.do("POST", "/v1/opt-outs", `{"recipient"`, as("keyA")), http.StatusBadRequest, message.ReasonInvalidRequest)
	wantProblem(t, b.do("POST", "/v1/opt-outs", stopOne), http.StatusUnauthorized, message.ReasonUnauthenticated)
	wantProblem(t, b.do("POST", "/v1/opt-outs", stopOne, as("keyRO")), http.StatusForbidden, message.ReasonForbidden)
	wantProblem(t, b.do("POST", "/v1/opt-outs", stopOne, as("keyA"), header("Content-Type", "text/csv")), http.StatusUnsupportedMediaType, message.ReasonInvalidRequest)
	if len(f.list) != 0 {
		t.Errorf("%+v", f.list)
	}
	f.err = errors.New("broken")
	wantProblem(t, b.do("POST", "/v1/opt-outs", stopOne, as("keyA")), http.StatusInternalServerError, message.ReasonInternal)
}

func TestCreateOptOutWithKey(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	key := header("Idempotency-Key", "stop-1")
	first := b.do("POST", "/v1/opt-outs", stopOne, as("keyA"), key)
	again := b.do("POST", "/v1/opt-outs", stopOne, as("keyA"), key)
	if first.StatusCode != http.StatusCreated || again.StatusCode != http.StatusCreated || !bytes.Equal(first.body, again.body) || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s, %d %s", first.StatusCode, first.body, again.StatusCode, again.body)
	}
	wantProblem(t, b.do("POST", "/v1/opt-outs", `{"recipient":"+13105550199"}`, as("keyA"), key), http.StatusUnprocessableEntity, message.ReasonIdempotencyMismatch)
	wantProblem(t, b.do("POST", "/v1/opt-outs", stopOne, as("keyA"), header("Idempotency-Key", "a b")), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	// The key is the operation's own: a message with it is a message.
	if r := b.do("POST", "/v1/messages", parcel, as("keyA"), key); r.StatusCode != http.StatusAccepted {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if len(f.list) != 1 {
		t.Errorf("%+v", f.list)
	}
}

func TestEndOptOut(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	make1 := func() string { return b.do("POST", "/v1/opt-outs", stopOne, as("keyA")).json(t)["id"].(string) }
	id := make1()
	const why = `{"reason":"opted in on the web form"}`
	for _, c := range []struct {
		path, body string
		field      string
	}{
		{id, "", "body.reason"}, {id, "{}", "body.reason"}, {id, `{"reason":"  "}`, "body.reason"}, {id, `{"reason":null}`, "body.reason"}, {id + "?reason=", "", "body.reason"},
		{id, `{"reason":7}`, "body.reason"}, {id, `{"why":"x"}`, "body.why"}, {id, `{"reason":"` + strings.Repeat("r", 257) + `"}`, "body.reason"},
		{id + "?reason=" + url.QueryEscape("two\nlines"), "", "query.reason"},
	} {
		p := wantProblem(t, b.do("DELETE", "/v1/opt-outs/"+c.path, c.body, as("keyA")), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
		if errs := p["errors"].([]any); errs[0].(map[string]any)["location"] != c.field {
			t.Errorf("%q %s: %v", c.path, c.body, errs)
		}
	}
	wantProblem(t, b.do("DELETE", "/v1/opt-outs/"+id, `{"reason"`, as("keyA")), http.StatusBadRequest, message.ReasonInvalidRequest)
	wantProblem(t, b.do("DELETE", "/v1/opt-outs/"+id, why, as("keyRO")), http.StatusForbidden, message.ReasonForbidden)
	wantProblem(t, b.do("DELETE", "/v1/opt-outs/"+id, why, as("keyB")), http.StatusNotFound, message.ReasonNotFound)
	wantProblem(t, b.do("DELETE", "/v1/opt-outs/x", why, as("keyA")), http.StatusNotFound, message.ReasonNotFound)
	wantProblem(t, b.do("DELETE", "/v1/opt-outs/"+id, `{"reason":"`+strings.Repeat("x", maxBody)+`"}`, as("keyA")), http.StatusRequestEntityTooLarge, message.ReasonPayloadTooLarge)
	if !f.list[0].Active() {
		t.Fatal("it was ended")
	}
	r := b.do("DELETE", "/v1/opt-outs/"+id, why, as("keyA"))
	if got := r.json(t); r.StatusCode != http.StatusOK || got["active"] != false || got["end_reason"] != "opted in on the web form" || got["ended_at"] != stamp(began) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	// Again nothing changes.
	if again := b.do("DELETE", "/v1/opt-outs/"+id+"?reason=another", "", as("keyA")); again.StatusCode != http.StatusOK || !bytes.Equal(again.body, r.body) {
		t.Errorf("%d %s", again.StatusCode, again.body)
	}
	if len(f.told) != 2 || f.told[1].Type != "opt_out.removed" || !strings.Contains(f.told[1].Payload, "web form") {
		t.Errorf("%+v", f.told)
	}
	// By the query.
	id = make1()
	if r := b.do("DELETE", "/v1/opt-outs/"+id+"?reason=came+back", "", as("keyA")); r.StatusCode != http.StatusOK || r.json(t)["end_reason"] != "came back" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestReadOptOuts(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	var ids []string
	for _, body := range []string{stopOne, `{"recipient":"+13105550118","campaign_id":"C8X2KQ1"}`, `{"recipient":"+13105550119"}`} {
		ids = append(ids, b.do("POST", "/v1/opt-outs", body, as("keyA")).json(t)["id"].(string))
	}
	b.do("POST", "/v1/opt-outs", stopOne, as("keyB"))
	if r := b.do("DELETE", "/v1/opt-outs/"+ids[2]+"?reason=x", "", as("keyA")); r.StatusCode != http.StatusOK {
		t.Fatal(r.StatusCode)
	}
	list := func(key, query string) (got []string, next any) {
		t.Helper()
		r := b.do("GET", "/v1/opt-outs"+query, "", as(key))
		if r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", query, r.StatusCode, r.body)
		}
		page := r.json(t)
		for _, o := range page["data"].([]any) {
			got = append(got, o.(map[string]any)["id"].(string))
		}
		return got, page["next_cursor"]
	}
	for query, want := range map[string][]string{
		"": {ids[2], ids[1], ids[0]}, "?active=true": {ids[1], ids[0]}, "?active=false": {ids[2]}, "?recipient=13105550117": {ids[0]},
		"?recipient=%2B13105550117": {ids[0]}, "?sender=12025550143": {ids[0]}, "?campaign_id=C8X2KQ1": {ids[1]}, "?recipient=12345": nil,
	} {
		if got, next := list("keyA", query); !slices.Equal(got, want) || next != nil {
			t.Errorf("%s: %v, %v", query, got, next)
		}
	}
	if got, _ := list("keyB", ""); len(got) != 1 || slices.Contains(ids, got[0]) {
		t.Errorf("another account sees %v", got)
	}
	first, next := list("keyRO", "?limit=2")
	rest, end := list("keyRO", "?limit=2&cursor="+next.(string))
	if !slices.Equal(first, []string{ids[2], ids[1]}) || !slices.Equal(rest, []string{ids[0]}) || end != nil {
		t.Errorf("%v, %v, %v", first, rest, end)
	}
	for _, query := range []string{"?cursor=x", "?recipient=" + strings.Repeat("x", 20), "?active=maybe", "?limit=0", "?color=red", "?campaign_id=%00"} {
		wantProblem(t, b.do("GET", "/v1/opt-outs"+query, "", as("keyA")), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	}
	wantProblem(t, b.do("GET", "/v1/opt-outs", ""), http.StatusUnauthorized, message.ReasonUnauthenticated)

	if r := b.do("GET", "/v1/opt-outs/"+strings.ReplaceAll(ids[0], "-", ""), "", as("keyRO")); r.StatusCode != http.StatusOK || r.json(t)["id"] != ids[0] {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, b.do("GET", "/v1/opt-outs/"+ids[0], "", as("keyB")), http.StatusNotFound, message.ReasonNotFound)
	wantProblem(t, b.do("GET", "/v1/opt-outs/nobody", "", as("keyA")), http.StatusNotFound, message.ReasonNotFound)
	// Even when the store forgets to ask.
	f.leaky = true
	wantProblem(t, b.do("GET", "/v1/opt-outs/"+ids[0], "", as("keyB")), http.StatusNotFound, message.ReasonNotFound)
}

func TestCheckOptOut(t *testing.T) {
	t.Parallel()
	b, _ := withOptOuts(t)
	check := func(key, recipient, sender string) map[string]any {
		t.Helper()
		r := b.do("GET", "/v1/opt-outs/check?recipient="+recipient+"&sender="+sender, "", as(key))
		if r.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return r.json(t)
	}
	if got := check("keyA", "13105550118", "12025550143"); got["stopped"] != false || got["opt_out"] != nil {
		t.Errorf("%v", got)
	}
	// Of the campaign that the number is in.
	id := b.do("POST", "/v1/opt-outs", `{"recipient":"+13105550118","campaign_id":"C8X2KQ1"}`, as("keyA")).json(t)["id"]
	if got := check("keyRO", "%2B13105550118", "12025550143"); got["stopped"] != true || got["opt_out"].(map[string]any)["id"] != id {
		t.Errorf("%v", got)
	}
	for _, c := range [][3]string{{"keyA", "13105550118", "12345"}, {"keyA", "13105550119", "12025550143"}, {"keyB", "13105550118", "12025550143"}} {
		if got := check(c[0], c[1], c[2]); got["stopped"] != false {
			t.Errorf("%v: %v", c, got)
		}
	}
	for _, query := range []string{"", "?recipient=12345", "?sender=12345", "?recipient=" + strings.Repeat("x", 20) + "&sender=12345"} {
		wantProblem(t, b.do("GET", "/v1/opt-outs/check"+query, "", as("keyA")), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	}
}

var asCSV = header("Content-Type", "text/csv")

func TestImportOptOuts(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	file := "recipient,sender,campaign_id\n+13105550117,12345\nnobody\n+13105550118,,C8X2KQ1\n+13105550118,,CFOREIGN\n+13105550117,12345\n"
	r := b.do("POST", "/v1/opt-outs/import", file, as("keyA"), asCSV)
	got := r.json(t)
	if r.StatusCode != http.StatusOK || got["rows"] != 5.0 || got["created"] != 2.0 || got["already"] != 1.0 || got["invalid"] != 2.0 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	errs := got["errors"].([]any)
	if len(errs) != 2 || errs[0].(map[string]any)["line"] != 3.0 || errs[1].(map[string]any)["line"] != 5.0 || !strings.Contains(errs[1].(map[string]any)["message"].(string), "no campaign CFOREIGN") {
		t.Errorf("%v", errs)
	}
	if f.list[0].AccountID != accountA || f.list[0].Source != message.OptOutByImport || f.list[0].Actor != "keyA" || len(f.told) != 0 {
		t.Errorf("%+v, %+v", f.list[0], f.told)
	}
	wantProblem(t, b.do("POST", "/v1/opt-outs/import", file, as("keyRO"), asCSV), http.StatusForbidden, message.ReasonForbidden)
	wantProblem(t, b.do("POST", "/v1/opt-outs/import", file, as("keyA")), http.StatusUnsupportedMediaType, message.ReasonInvalidRequest)
	wantProblem(t, b.do("POST", "/v1/opt-outs/import", "", as("keyA"), asCSV), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	wantProblem(t, b.do("POST", "/v1/opt-outs/import", "sender\n12345\n", as("keyA"), asCSV), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	large := "recipient\n" + strings.Repeat("+13105550117\n", maxImport/13+1)
	wantProblem(t, b.do("POST", "/v1/opt-outs/import", large, as("keyA"), asCSV), http.StatusRequestEntityTooLarge, message.ReasonPayloadTooLarge)
	f.err = errors.New("broken")
	wantProblem(t, b.do("POST", "/v1/opt-outs/import", file, as("keyA"), asCSV), http.StatusInternalServerError, message.ReasonInternal)
}

// The campaigns of an account are looked up once for a file, not gone through for each of
// its rows, of which there may be a million.
func TestImportLooksUpCampaignsOnce(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	check := b.server.campaignsOwned(accountA)
	b.reconfigure(func(s *snapshot.Snapshot) { s.Campaigns = nil })
	o := message.OptOut{AccountID: accountA, Scope: message.OptOutCampaign, CampaignID: "C8X2KQ1"}
	if err := check(o); err != nil {
		t.Errorf("the configuration is read for each row: %v", err)
	}
	o.CampaignID = "CFOREIGN"
	if err := check(o); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("another account's campaign: %v", err)
	}
	if len(f.list) != 0 {
		t.Error("something is recorded")
	}
}

func TestExportOptOuts(t *testing.T) {
	t.Parallel()
	b, f := withOptOuts(t)
	var file strings.Builder
	file.WriteString("recipient\n")
	const rows = 2500
	for i := range rows {
		file.WriteString("+1310555" + string([]byte{byte('0' + i/1000), byte('0' + i/100%10), byte('0' + i/10%10), byte('0' + i%10)}) + "\n")
	}
	if r := b.do("POST", "/v1/opt-outs/import", file.String(), as("keyA"), asCSV); r.json(t)["created"] != float64(rows) {
		t.Fatalf("%s", r.body)
	}
	b.do("POST", "/v1/opt-outs", stopOne, as("keyB"))
	csv := header("Accept", "text/csv")
	r := b.do("GET", "/v1/opt-outs/export?active=true", "", as("keyRO"), csv)
	lines := strings.Split(strings.TrimSpace(string(r.body)), "\n")
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/csv; charset=utf-8" || len(lines) != rows+1 || !strings.HasPrefix(lines[0], "recipient,scope,") || !strings.HasPrefix(lines[1], "+13105552499,account,") {
		t.Fatalf("%d %s, %d lines, %s", r.StatusCode, r.Header.Get("Content-Type"), len(lines), lines[:2])
	}
	if r := b.do("GET", "/v1/opt-outs/export", "", as("keyB")); strings.Count(string(r.body), "\n") != 2 || !strings.Contains(string(r.body), "+13105550117,number,+12025550143") {
		t.Errorf("another account: %s", r.body)
	}
	wantProblem(t, b.do("GET", "/v1/opt-outs", "", as("keyA"), csv), http.StatusNotAcceptable, message.ReasonInvalidRequest)
	wantProblem(t, b.do("GET", "/v1/opt-outs/export", "", as("keyA"), header("Accept", "image/png")), http.StatusNotAcceptable, message.ReasonInvalidRequest)
	wantProblem(t, b.do("GET", "/v1/opt-outs/export?active=7", "", as("keyA"), csv), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	// What fails before anything is out is told; later the connection is cut.
	f.err = errors.New("broken")
	wantProblem(t, b.do("GET", "/v1/opt-outs/export", "", as("keyA"), csv), http.StatusInternalServerError, message.ReasonInternal)
	f.after = 2
	q, err := http.NewRequest("GET", b.base+"/v1/opt-outs/export", nil)
	if err != nil {
		t.Fatal(err)
	}
	as("keyA")(q)
	answer, err := b.client.Do(q)
	if err == nil {
		_, err = new(bytes.Buffer).ReadFrom(answer.Body)
		_ = answer.Body.Close()
	}
	if err == nil {
		t.Error("a list that broke off looks whole")
	}
}

// The decoder takes the fields of the document and no others.
func TestOptOutDecoderAndDocumentAgree(t *testing.T) {
	props := document(t).at("components", "schemas", "CreateOptOut", "properties").(map[string]any)
	known := []string{"recipient", "scope", "sender", "campaign_id", "keyword", "reason"}
	for name := range props {
		if !slices.Contains(known, name) {
			t.Errorf("no decoder for %s", name)
		}
	}
	if len(props) != len(known) {
		t.Errorf("the document has %d fields, the decoder %d", len(props), len(known))
	}
}

// Each file may hold some hundred thousand rows that every process keeps.
func TestImportsAreFew(t *testing.T) {
	b, _ := withOptOuts(t)
	file := "recipient,sender\n+13105550117,+12025550143\n"
	for range importsPerMinute {
		if r := b.do("POST", "/v1/opt-outs/import", file, as("keyA"), asCSV); r.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	wantProblem(t, b.do("POST", "/v1/opt-outs/import", file, as("keyA"), asCSV), http.StatusTooManyRequests, message.ReasonRateLimitExceeded)
	b.clock.advance(time.Minute)
	if r := b.do("POST", "/v1/opt-outs/import", file, as("keyA"), asCSV); r.StatusCode != http.StatusOK {
		t.Errorf("a minute later: %d %s", r.StatusCode, r.body)
	}
}
