package twilio_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	sdk "github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/postrider/postrider/edges/compat/compattest"
	"github.com/postrider/postrider/edges/compat/twilio"
	"github.com/postrider/postrider/edges/ingress"
	vendor "github.com/postrider/postrider/edges/vendors/twilio"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	words "github.com/postrider/postrider/internal/twilio"
)

const from, to = "+12025550143", "+13105550117"

// elsewhere sends requests for Twilio to another base URL: all that a program has to change.
type elsewhere struct{ base string }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	at, err := url.Parse(e.base)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = at.Scheme, at.Host, ""
	return http.DefaultTransport.RoundTrip(r)
}

// library is Twilio's own, as it is.
func library(base, user, password string, account message.ID) *sdk.RestClient {
	c := &client.Client{Credentials: client.NewCredentials(user, password), HTTPClient: &http.Client{Transport: elsewhere{base}}}
	c.SetAccountSid(accountSID(account))
	return sdk.NewRestClientWithParams(sdk.ClientParams{Client: c})
}

func accountSID(id message.ID) string { return words.SID(words.AccountPrefix, id) }

func token(secret string) string { return hex.EncodeToString([]byte(secret)) }

func codeOf(t *testing.T, err error) (status, code int) {
	t.Helper()
	var e *client.TwilioRestError
	if !errors.As(err, &e) {
		t.Fatalf("%v", err)
	}
	return e.Status, e.Code
}

func TestLibrarySendsFetchesAndWithdraws(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	lib := library(w.URL, accountSID(compattest.A), token(compattest.SecretA), compattest.A)
	at := compattest.Began.Add(time.Hour).Truncate(time.Second)
	m, err := lib.Api.CreateMessage((&api.CreateMessageParams{}).SetTo(to).SetFrom(from).SetBody("Hello — ☎").SetStatusCallback("https://shop.example/status?x=1").
		SetValidityPeriod(5).SetSendAt(at).SetScheduleType("fixed").SetSmartEncoded(true).SetProvideFeedback(true).SetMaxPrice(1))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := w.Asked()
	if r.AccountID != compattest.A || r.To != to || r.From != from || r.Body != "Hello — ☎" || r.WebhookURL != "https://shop.example/status?x=1" || r.Callback != message.CallbackTwilio ||
		r.Validity != message.MinValidity || !r.SendAt.Equal(at) || r.SmartEncoding == nil || !*r.SmartEncoding || r.Credential.ID != compattest.KeyA {
		t.Errorf("%+v", r)
	}
	id, ok := words.ParseSID(*m.Sid, "SM")
	if !ok || *m.Status != "scheduled" || *m.AccountSid != accountSID(compattest.A) || *m.NumSegments != "1" || *m.NumMedia != "0" || *m.Direction != "outbound-api" ||
		*m.Body != "Hello — ☎" || m.Price != nil || m.ErrorCode != nil || m.DateSent != nil || *m.DateCreated != "Sat, 21 Nov 2026 20:15:04 +0000" || *m.ApiVersion != "2010-04-01" {
		t.Errorf("%+v", m)
	}
	w.Change(id, func(m *message.Message) { m.SendAt = time.Time{} })
	got, err := lib.Api.FetchMessage(*m.Sid, nil)
	if err != nil || *got.Status != "queued" {
		t.Fatalf("%+v, %v", got, err)
	}
	w.Change(id, func(m *message.Message) {
		m.Status, m.SubmittedAt, m.Price.Estimated = message.StatusUndelivered, compattest.Began, false
		m.Error = message.Refuse(message.ReasonUnreachable, "the handset is away")
	})
	got, err = lib.Api.FetchMessage(*m.Sid, nil)
	if err != nil || *got.Status != "undelivered" || *got.ErrorCode != 30003 || *got.ErrorMessage != "the handset is away" || *got.Price != "-0.0045" || *got.PriceUnit != "USD" || got.DateSent == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = lib.Api.UpdateMessage(*m.Sid, (&api.UpdateMessageParams{}).SetStatus("canceled"))
	if status, code := codeOf(t, err); status != 409 || code != 30409 {
		t.Error(err)
	}
	w.Change(id, func(m *message.Message) { m.Status = message.StatusScheduled })
	if got, err = lib.Api.UpdateMessage(*m.Sid, (&api.UpdateMessageParams{}).SetStatus("canceled")); err != nil || *got.Status != "canceled" {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = lib.Api.UpdateMessage(*m.Sid, (&api.UpdateMessageParams{}).SetBody(""))
	if status, _ := codeOf(t, err); status != 400 {
		t.Error(err)
	}
	if status, code := codeOf(t, lib.Api.DeleteMessage(*m.Sid, nil)); status != 405 || code != 20004 {
		t.Error(status, code)
	}
	if account, err := lib.Api.FetchAccount(accountSID(compattest.A)); err != nil || *account.FriendlyName != "A" {
		t.Errorf("%+v, %v", account, err)
	}
}

func TestLibrarySendsMedia(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	lib := library(w.URL, words.SID(words.KeyPrefix, compattest.KeyA), token(compattest.SecretA), compattest.A)
	m, err := lib.Api.CreateMessage((&api.CreateMessageParams{}).SetTo(to).SetFrom(from).SetMediaUrl([]string{"https://a.example/1.png", "https://a.example/2.png"}))
	if err != nil || !strings.HasPrefix(*m.Sid, "MM") || *m.NumMedia != "2" {
		t.Fatalf("%+v, %v", m, err)
	}
	id, _ := words.ParseSID(*m.Sid, "MM")
	file := message.MediaFile{ID: message.NewID(), ContentType: "image/png", Size: 7}
	w.Change(id, func(m *message.Message) { m.Media[0].File = file })
	list, err := lib.Api.ListMedia(*m.Sid, nil)
	if err != nil || len(list) != 1 || *list[0].ContentType != "image/png" || *list[0].ParentSid != *m.Sid {
		t.Fatalf("%+v, %v", list, err)
	}
	got, err := lib.Api.FetchMedia(*m.Sid, *list[0].Sid, nil)
	if err != nil || *got.Sid != words.SID("ME", file.ID) {
		t.Errorf("%+v, %v", got, err)
	}
	status, header, _ := do(t, "GET", w.URL+strings.TrimSuffix(*got.Uri, ".json"), nil)
	if status != 307 || !strings.Contains(header.Get("Location"), "/media/") {
		t.Errorf("%d %v", status, header)
	}
	_, err = lib.Api.FetchMedia(*m.Sid, words.SID("ME", message.NewID()), nil)
	if status, code := codeOf(t, err); status != 404 || code != 20404 {
		t.Error(err)
	}
}

func TestLibraryPages(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	lib := library(w.URL, accountSID(compattest.A), token(compattest.SecretA), compattest.A)
	other := library(w.URL, accountSID(compattest.B), token(compattest.SecretB), compattest.B)
	const all = 7
	want := map[string]bool{}
	for i := range all {
		number := to
		if i%2 == 1 {
			number = "+13105550118"
		}
		m, err := lib.Api.CreateMessage((&api.CreateMessageParams{}).SetTo(number).SetFrom(from).SetBody(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		want[*m.Sid] = true
		if _, err := other.Api.CreateMessage((&api.CreateMessageParams{}).SetTo(to).SetFrom(from).SetBody("of B")); err != nil {
			t.Fatal(err)
		}
	}
	list, err := lib.Api.ListMessage((&api.ListMessageParams{}).SetPageSize(3))
	if err != nil || len(list) != all {
		t.Fatalf("%d, %v", len(list), err)
	}
	for _, m := range list {
		if !want[*m.Sid] {
			t.Errorf("%s comes twice, or is not ours", *m.Sid)
		}
		delete(want, *m.Sid)
	}
	for name, c := range map[string]struct {
		ask  *api.ListMessageParams
		want int
	}{
		"to":              {(&api.ListMessageParams{}).SetTo("+13105550118").SetPageSize(1), 3},
		"from another":    {(&api.ListMessageParams{}).SetFrom("+12025550144"), 0},
		"on the day":      {(&api.ListMessageParams{}).SetDateSent(compattest.Began), all},
		"another day":     {(&api.ListMessageParams{}).SetDateSent(compattest.Began.AddDate(0, 0, 1)), 0},
		"before":          {(&api.ListMessageParams{}).SetDateSentBefore(compattest.Began.Add(-time.Minute)), 0},
		"after":           {(&api.ListMessageParams{}).SetDateSentAfter(compattest.Began.Add(-time.Minute)), all},
		"at most so many": {(&api.ListMessageParams{}).SetLimit(2), 2},
	} {
		if list, err := lib.Api.ListMessage(c.ask); err != nil || len(list) != c.want {
			t.Errorf("%s: %d, %v", name, len(list), err)
		}
	}
	first, err := lib.Api.PageMessage((&api.ListMessageParams{}).SetPageSize(3), "", "")
	if err != nil || first.NextPageUri == nil || first.Page != 0 || first.PageSize != 3 || first.End != 2 || !strings.HasPrefix(*first.NextPageUri, "/2010-04-01/Accounts/"+accountSID(compattest.A)+"/Messages.json?") {
		t.Errorf("%+v, %v", first, err)
	}
}

// The library goes on over pages that are short or empty.
func TestLibraryOverEmptyPages(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	lib := library(w.URL, accountSID(compattest.A), token(compattest.SecretA), compattest.A)
	for _, number := range []string{to, "+13105550118", "+13105550118", to, "+13105550118"} {
		if _, err := lib.Api.CreateMessage((&api.CreateMessageParams{}).SetTo(number).SetFrom(from).SetBody("x")); err != nil {
			t.Fatal(err)
		}
	}
	w.Stop()
	for number, want := range map[string]int{to: 2, "+13105550118": 3, "+13105550119": 0} {
		if list, err := lib.Api.ListMessage((&api.ListMessageParams{}).SetTo(number).SetPageSize(2)); err != nil || len(list) != want {
			t.Errorf("to %s: %d, %v", number, len(list), err)
		}
	}
}

// do makes a request as A's account.
func do(t testing.TB, method, at string, form url.Values) (int, http.Header, map[string]any) {
	t.Helper()
	r, err := http.NewRequest(method, at, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(accountSID(compattest.A), compattest.SecretA)
	return send(t, r)
}

func send(t testing.TB, r *http.Request) (int, http.Header, map[string]any) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatalf("%d: %v in %q", resp.StatusCode, err, body)
		}
	}
	return resp.StatusCode, resp.Header, m
}

func messages(w *compattest.World, account message.ID) string {
	return w.URL + "/2010-04-01/Accounts/" + accountSID(account) + "/Messages.json"
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	good := func(change ...string) url.Values {
		v := url.Values{"To": {to}, "From": {from}, "Body": {"Hello"}}
		for i := 0; i < len(change); i += 2 {
			if v.Del(change[i]); change[i+1] != "" {
				v.Set(change[i], change[i+1])
			}
		}
		return v
	}
	for name, c := range map[string]struct {
		form url.Values
		code float64
	}{
		"no To":           {good("To", ""), 21604},
		"no Body":         {good("Body", ""), 21602},
		"no From":         {good("From", ""), 21603},
		"bad To":          {good("To", "whatsapp:+1"), 21211},
		"bad From":        {good("From", "???"), 21212},
		"service":         {good("MessagingServiceSid", "MG1"), 21701},
		"template":        {good("ContentSid", "HX1"), 21655},
		"callback":        {good("StatusCallback", "http://10.0.0.1/"), 21609},
		"application":     {good("ApplicationSid", "AP1"), 20001},
		"media":           {good("MediaUrl", "ftp://a"), 21620},
		"eleven files":    {url.Values{"To": {to}, "From": {from}, "MediaUrl": strings.Split(strings.Repeat("https://a.example/1 ", 11), " ")[:11]}, 21623},
		"validity":        {good("ValidityPeriod", "x"), 20001},
		"too long valid":  {good("ValidityPeriod", "99999999"), 20001},
		"schedule":        {good("SendAt", "tomorrow", "ScheduleType", "fixed"), 35114},
		"past":            {good("SendAt", "2020-01-01T00:00:00Z", "ScheduleType", "fixed"), 35114},
		"schedule type":   {good("ScheduleType", "loose", "SendAt", "2026-11-22T00:00:00Z"), 20001},
		"flag":            {good("SmartEncoded", "maybe"), 20001},
		"shortened links": {good("ShortenUrls", "true"), 20001},
		"retention":       {good("ContentRetention", "discard"), 20001},
		"a NUL":           {good("Body", "a\x00b"), 20001},
		"no UTF-8":        {good("Body", "\xff"), 20001},
	} {
		status, _, m := do(t, "POST", messages(w, compattest.A), c.form)
		if status != 400 || m["code"] != c.code || m["status"] != float64(400) || m["message"] == "" || m["more_info"] != fmt.Sprintf("https://www.twilio.com/docs/errors/%d", int(c.code)) {
			t.Errorf("%s: %d %v", name, status, m)
		}
	}
	if w.Stored() > 0 {
		t.Error("something was stored")
	}
	for _, e := range message.Catalogue() {
		if e.HTTP == 0 {
			continue
		}
		w.Refuse(func(ingress.Request) error { return message.Refuse(e.Reason, "because") })
		status, _, m := do(t, "POST", messages(w, compattest.A), good())
		if m["code"] != float64(words.Code(e.Reason)) || status < 400 || m["status"] != float64(status) || (status >= 500) != (e.HTTP >= 500) {
			t.Errorf("%s: %d %v", e.Reason, status, m)
		}
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	w.Configure(func(s *snapshot.Snapshot) {
		s.Credentials["pk_old"] = &snapshot.Credential{ID: message.NewID(), AccountID: compattest.A, Key: "pk_old", SecretHash: []byte("hash of sk_old"), ExpiresAt: compattest.Began, Scopes: []string{"messages:read"}}
	})
	ask := func(method, at, user, password string) (int, map[string]any) {
		r, err := http.NewRequest(method, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		status, header, m := send(t, r)
		if (status == 401) != (header.Get("WWW-Authenticate") != "") {
			t.Errorf("%d: %v", status, header)
		}
		return status, m
	}
	list := messages(w, compattest.A)
	for name, c := range map[string]struct {
		user, password string
		want           int
	}{
		"account and secret":             {accountSID(compattest.A), compattest.SecretA, 200},
		"account and its other secret":   {accountSID(compattest.A), compattest.SecretRO, 200},
		"account and secret in hex":      {accountSID(compattest.A), token(compattest.SecretA), 200},
		"key sid":                        {words.SID("SK", compattest.KeyA), compattest.SecretA, 200},
		"API key":                        {compattest.NameA, compattest.SecretA, 200},
		"nobody":                         {"", "", 401},
		"wrong secret":                   {accountSID(compattest.A), "sk_wrong", 401},
		"secret of another key":          {words.SID("SK", compattest.KeyA), compattest.SecretRO, 401},
		"another account's secret":       {accountSID(compattest.A), compattest.SecretB, 401},
		"another account":                {accountSID(compattest.B), compattest.SecretB, 404},
		"an account that does not exist": {accountSID(message.NewID()), compattest.SecretA, 401},
		"expired":                        {"pk_old", "sk_old", 401},
		"a long secret":                  {accountSID(compattest.A), strings.Repeat("s", 3000), 401},
	} {
		if status, m := ask("GET", list, c.user, c.password); status != c.want {
			t.Errorf("%s: %d %v", name, status, m)
		}
	}
	if status, m := ask("POST", list, "pk_ro", compattest.SecretRO); status != 403 || m["code"] != float64(20403) {
		t.Errorf("%d %v", status, m)
	}
	_, _, mine := do(t, "POST", list, url.Values{"To": {to}, "From": {from}, "Body": {"Hello"}})
	sid, _ := mine["sid"].(string)
	for _, method := range []string{"GET", "POST"} {
		for _, account := range []message.ID{compattest.A, compattest.B} {
			at := w.URL + "/2010-04-01/Accounts/" + accountSID(account) + "/Messages/" + sid + ".json"
			r, _ := http.NewRequest(method, at, strings.NewReader("Status=canceled"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(compattest.NameB, compattest.SecretB)
			if status, _, m := send(t, r); status != 404 {
				t.Errorf("%s %s: %d %v", method, at, status, m)
			}
		}
	}
	for _, at := range []string{"/2010-04-01", "/2010-04-01/Accounts.json", "/2010-04-01/Accounts/" + accountSID(compattest.A) + "/Calls.json", "/2010-04-01/Accounts/" + accountSID(compattest.A) + "/Messages/SM1.json"} {
		if status, _, m := do(t, "GET", w.URL+at, nil); status != 404 || m["code"] != float64(20404) {
			t.Errorf("%s: %d %v", at, status, m)
		}
	}
}

// The same key is the same message, and its answer comes again.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	ask := func(body string) (int, http.Header, map[string]any) {
		r, _ := http.NewRequest("POST", messages(w, compattest.A), strings.NewReader(url.Values{"To": {to}, "From": {from}, "Body": {body}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Idempotency-Key", "k1")
		r.SetBasicAuth(accountSID(compattest.A), compattest.SecretA)
		return send(t, r)
	}
	_, _, first := ask("Hello")
	status, header, again := ask("Hello")
	if status != 201 || header.Get("Idempotency-Replayed") != "true" || again["sid"] != first["sid"] || w.Stored() != 1 {
		t.Errorf("%d %v %v", status, header, again)
	}
	if status, _, m := ask("Other"); status != 400 || w.Stored() != 1 {
		t.Errorf("%d %v", status, m)
	}
}

// FuzzForm: whatever comes is taken or refused in Twilio's form, and never our fault.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"To=%2B13105550117&From=%2B12025550143&Body=Hello", "", "%zz", "To=&To=1;Body", "SendAt=0000-00-00", "MediaUrl=%00", "To=\xff", "ValidityPeriod=-9223372036854775809", strings.Repeat("a=b&", 1000)} {
		f.Add(s, "PageToken=PASM1&DateSent%3C=x&PageSize=-1", "SM1")
		f.Add("Status=canceled&Body=", s, s)
	}
	w := compattest.Serve(f, twilio.Door{})
	f.Fuzz(func(t *testing.T, form, query, sid string) {
		for _, c := range []struct{ method, at string }{
			{"POST", messages(w, compattest.A)}, {"GET", messages(w, compattest.A) + "?" + (&url.URL{RawQuery: query}).RawQuery},
			{"POST", strings.TrimSuffix(messages(w, compattest.A), ".json") + "/" + url.PathEscape(sid) + ".json"},
			{"GET", strings.TrimSuffix(messages(w, compattest.A), ".json") + "/" + url.PathEscape(sid) + "/Media/" + url.PathEscape(sid)},
		} {
			r, err := http.NewRequest(c.method, w.URL, strings.NewReader(form))
			if err != nil {
				t.Fatal(err)
			}
			at, err := url.Parse(c.at)
			if err != nil {
				continue
			}
			r.URL = at
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(accountSID(compattest.A), compattest.SecretA)
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				continue // no such request can be written
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode >= 500 {
				t.Errorf("%s %s: %d %s", c.method, c.at, resp.StatusCode, body)
			}
		}
	})
}

// What the door calls a reason, the connector to Twilio reads as the same one: a customer
// who moves from there sees the codes that he knows.
func TestCodesAreTheVendors(t *testing.T) {
	t.Parallel()
	shared := map[message.Reason]message.Reason{ // reasons that Twilio has no code for, and what theirs means there
		message.ReasonProhibitedContent: message.ReasonFiltered, message.ReasonQueueFull: message.ReasonVendorThrottled, message.ReasonUnsafeURL: message.ReasonVendorRejected,
	}
	read := vendor.Spec().Codes
	for _, e := range message.Catalogue() {
		code := words.Code(e.Reason)
		row, ok := read[fmt.Sprint(code)]
		if !ok || row.Reason == "" || code == words.CodeUnknown || code/1000 == 20 { // 20xxx are of the request, not of the message
			continue
		}
		if want := shared[e.Reason]; row.Reason != e.Reason && row.Reason != want {
			t.Errorf("%s is told as %d, which means %s", e.Reason, code, row.Reason)
		}
	}
}

func TestListsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := compattest.Serve(t, twilio.Door{})
	for _, query := range []string{"PageToken=x", "PageToken=" + words.SID("SM", compattest.A), "DateSent=yesterday", "To=%00", "To=%zz", "DateSent%3C=9999999-01-01"} {
		if status, _, m := do(t, "GET", messages(w, compattest.A)+"?"+query, nil); status != 400 || m["code"] != float64(20001) {
			t.Errorf("%s: %d %v", query, status, m)
		}
	}
	if status, _, m := do(t, "GET", messages(w, compattest.A)+"?PageSize=-5&Page=x&Unknown=1", nil); status != 200 || m["page_size"] != 1.0 || m["page"] != 0.0 {
		t.Errorf("%d %v", status, m)
	}
}
