package jasmin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/compat/compattest"
	"github.com/postrider/postrider/edges/compat/jasmin"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// client is a program that was written for a Jasmin.
type client struct {
	t    testing.TB
	base string
}

func (c client) get(path string, pairs ...string) (int, string) {
	return c.ask("GET", path+"?"+values(pairs).Encode(), "", "")
}

func (c client) post(path string, pairs ...string) (int, string) {
	return c.ask("POST", path, "application/x-www-form-urlencoded", values(pairs).Encode())
}

func (c client) ask(method, at, kind, body string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequest(method, c.base+at, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func values(pairs []string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// sample is a message of the ESME's, with more parameters.
func sample(more ...string) []string {
	return append([]string{"username", compattest.ESME, "password", compattest.Password, "to", "13105550117", "from", "12025550143"}, more...)
}

var success = regexp.MustCompile(`^Success "([0-9a-f]{8}-[0-9a-f-]{27})"$`)

func serve(t testing.TB) (*compattest.World, client) {
	w := compattest.Serve(t, jasmin.Door{})
	return w, client{t, w.URL}
}

func TestSend(t *testing.T) {
	t.Parallel()
	w, c := serve(t)
	for name, with := range map[string]struct {
		params []string
		want   func(r ingress.Request) bool
	}{
		"a text":       {sample("content", "Héllo ☎"), func(r ingress.Request) bool { return r.Body == "Héllo ☎" && r.WebhookURL == "" && r.Callback == "" }},
		"plus":         {append(sample("content", "x"), "to", "ignored"), func(r ingress.Request) bool { return r.To == "+13105550117" && r.From == "+12025550143" }},
		"UCS-2":        {sample("coding", "8", "content", "\x06\x23\x06\x31"), func(r ingress.Request) bool { return r.Body == "أر" && r.Encoding == message.EncodingUCS2 }},
		"UCS-2 in hex": {sample("coding", "8", "hex-content", "06230631"), func(r ingress.Request) bool { return r.Body == "أر" && r.Encoding == message.EncodingUCS2 }},
		"GSM in hex":   {sample("hex-content", "1b65"), func(r ingress.Request) bool { return r.Body == "€" }},
		"Latin":        {sample("coding", "3", "content", "\xe9"), func(r ingress.Request) bool { return r.Body == "é" && r.Encoding == message.EncodingAuto }},
		"binary": {sample("coding", "4", "hex-content", "00ff"), func(r ingress.Request) bool {
			return r.Body == "\x00\xff" && r.Encoding == message.EncodingBinary && r.DataCoding == 4
		}},
		"urgent":   {sample("priority", "3", "content", "x"), func(r ingress.Request) bool { return r.Class == message.ClassOTP }},
		"tags":     {sample("tags", "1,702-a", "content", "x"), func(r ingress.Request) bool { return r.Metadata["tags"] == "1,702-a" }},
		"validity": {sample("validity-period", "1440", "content", "x"), func(r ingress.Request) bool { return r.Validity == 24*time.Hour }},
		"later":    {sample("sdt", "000000000100000R", "content", "x"), func(r ingress.Request) bool { return r.SendAt.Equal(compattest.Began.Add(time.Minute)) }},
		"receipts": {sample("dlr-url", "https://shop.example/dlr", "dlr-level", "3", "dlr-method", "get", "content", "x"), func(r ingress.Request) bool {
			return r.WebhookURL == "https://shop.example/dlr" && r.Callback == message.CallbackJasmin(3, true)
		}},
		"usual receipts": {sample("dlr-url", "https://shop.example/dlr", "dlr", "no", "content", "x"), func(r ingress.Request) bool { return r.Callback == message.CallbackJasmin(1, false) }},
		"no URL":         {sample("dlr", "yes", "content", "x"), func(r ingress.Request) bool { return r.WebhookURL == "" && r.Callback == "" }},
		"with a key":     {[]string{"username", compattest.NameA, "password", compattest.SecretA, "to", "+13105550117", "from", "+12025550143", "content", "x"}, func(r ingress.Request) bool { return r.Credential.ID == compattest.KeyA }},
	} {
		for _, by := range []func(string, ...string) (int, string){c.get, c.post} {
			before := w.Stored()
			status, answer := by("/send", with.params...)
			r, _ := w.Asked()
			if status != 200 || !success.MatchString(answer) || w.Stored() != before+1 || !with.want(r) {
				t.Errorf("%s: %d %s, %+v", name, status, answer, r)
			}
		}
	}
	status, answer := c.ask("POST", "/send", "application/json", `{"username":"jasmin1","password":"s3cret!!","to":13105550117,"from":"+12025550143","content":"from JSON","dlr-level":2,"dlr-url":"https://shop.example/dlr"}`)
	if r, _ := w.Asked(); status != 200 || !success.MatchString(answer) || r.Body != "from JSON" || r.Callback != message.CallbackJasmin(2, false) {
		t.Errorf("%d %s", status, answer)
	}
	if log := w.Log.String(); strings.Contains(log, compattest.Password) || strings.Contains(log, "13105550117") || strings.Contains(log, compattest.ESME) {
		t.Errorf("the log has what stood in the URL:\n%s", log)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w, c := serve(t)
	without := func(name string) []string {
		var list []string
		all := sample("content", "x")
		for i := 0; i < len(all); i += 2 {
			if all[i] != name {
				list = append(list, all[i], all[i+1])
			}
		}
		return list
	}
	for name, with := range map[string]struct {
		params []string
		status int
		want   string
	}{
		"nothing":          {nil, 400, `Error "Mandatory arguments not found, please refer to the HTTPAPI specifications."`},
		"unknown argument": {sample("content", "x", "mo", "1"), 400, `Error "Argument [mo] is unknown."`},
		"no to":            {without("to"), 400, `Error "Mandatory argument [to] is not found."`},
		"no password":      {without("password"), 400, `Error "Mandatory argument [password] is not found."`},
		"bad to":           {append(without("to"), "to", "abc"), 400, `Error "Argument [to] has an invalid value: [abc]."`},
		"coding":           {sample("content", "x", "coding", "11"), 400, `Error "Argument [coding] has an invalid value: [11]."`},
		"another alphabet": {sample("content", "x", "coding", "5"), 400, `Error "Argument [coding] has an invalid value: [5]."`},
		"level":            {sample("content", "x", "dlr-level", "4"), 400, `Error "Argument [dlr-level] has an invalid value: [4]."`},
		"no content":       {sample(), 400, `Error "content or hex-content not present."`},
		"both contents":    {sample("content", "x", "hex-content", "00"), 400, `Error "content and hex-content cannot be used both in same request."`},
		"odd UCS-2":        {sample("content", "xyz", "coding", "8"), 400, `Error "Argument [content] has an invalid value."`},
		"validity":         {sample("content", "x", "validity-period", "0"), 400, `Error "Argument [validity-period] has an invalid value: [0]."`},
		"password":         {append(without("password"), "password", "wrong"), 403, `Error "Authentication failure for username:jasmin1"`},
		"user":             {append(without("username"), "username", "nobody"), 403, `Error "Authentication failure for username:nobody"`},
		"key":              {[]string{"username", "pk_nobody", "password", "x", "to", "1310", "content", "x"}, 403, `Error "Authentication failure for username:pk_nobody"`},
		"scope":            {[]string{"username", "pk_ro", "password", compattest.SecretRO, "to", "1310", "content", "x"}, 403, `Error "Authorization failed for username:pk_ro"`},
		"unsafe receipts":  {sample("content", "x", "dlr-url", "http://10.0.0.1/"), 400, ""},
	} {
		status, answer := c.get("/send", with.params...)
		if status != with.status || with.want != "" && answer != with.want || strings.Contains(answer, compattest.Password) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	for reason, want := range map[message.Reason]struct {
		status int
		text   string
	}{
		message.ReasonNoRoute:             {412, `Error "No route found"`},
		message.ReasonInsufficientBalance: {403, `Error "Cannot charge submit_sm, check RouterPB log file for details"`},
		message.ReasonQueueFull:           {403, `Error "User throughput exceeded"`},
		message.ReasonOptedOut:            {400, `Error "opted_out: 'because'"`},
		message.ReasonAccountSuspended:    {403, `Error "Authorization failed for username:jasmin1"`},
		message.ReasonInternal:            {500, `Error "Cannot send submit_sm, check SMPPClientManagerPB log file for details"`},
		message.ReasonUnavailable:         {500, `Error "Cannot send submit_sm, check SMPPClientManagerPB log file for details"`},
	} {
		w.Refuse(func(ingress.Request) error { return message.Refuse(reason, `"because"`) })
		if status, answer := c.get("/send", sample("content", "x")...); status != want.status || answer != want.text {
			t.Errorf("%s: %d %s", reason, status, answer)
		}
	}
	if w.Stored() > 0 {
		t.Error("something was stored")
	}
}

func TestESME(t *testing.T) {
	t.Parallel()
	w, c := serve(t)
	for name, with := range map[string]struct {
		change func(*snapshot.SMPPCredential)
		want   int
	}{
		"as it is":         {func(*snapshot.SMPPCredential) {}, 200},
		"disabled":         {func(e *snapshot.SMPPCredential) { e.Enabled = false }, 403},
		"a receiver":       {func(e *snapshot.SMPPCredential) { e.Transceiver, e.Receiver = false, true }, 403},
		"elsewhere":        {func(e *snapshot.SMPPCredential) { e.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, 403},
		"over TLS only":    {func(e *snapshot.SMPPCredential) { e.RequireTLS = true }, 403},
		"a vendor's":       {func(e *snapshot.SMPPCredential) { e.VendorID = message.NewID() }, 403},
		"nobody's":         {func(e *snapshot.SMPPCredential) { e.AccountID = message.NewID() }, 403},
		"another password": {func(e *snapshot.SMPPCredential) { e.PasswordHash = "$2a$04$abcdefghijklmnopqrstuv" }, 403},
		"as it is again":   {func(*snapshot.SMPPCredential) {}, 200},
	} {
		w.Configure(func(s *snapshot.Snapshot) { with.change(s.SMPPCredentials[compattest.ESME]) })
		for range 2 { // the second time it may be known
			if status, answer := c.get("/send", sample("content", "x")...); status != with.want {
				t.Errorf("%s: %d %s", name, status, answer)
			}
		}
	}
}

func TestRateAndBalance(t *testing.T) {
	t.Parallel()
	w, c := serve(t)
	object := func(status int, answer string) map[string]any {
		t.Helper()
		var m map[string]any
		if err := json.Unmarshal([]byte(answer), &m); err != nil || status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		return m
	}
	if m := object(c.get("/rate", sample("content", strings.Repeat("x", 200))...)); m["unit_rate"] != 0.0045 || m["submit_sm_count"] != 2.0 {
		t.Errorf("%v", m)
	}
	if m := object(c.get("/rate", sample()...)); m["submit_sm_count"] != 1.0 || w.Stored() > 0 {
		t.Errorf("%v", m)
	}
	who := sample()[:4]
	if m := object(c.get("/balance", who...)); m["balance"] != "ND" || m["sms_count"] != "ND" {
		t.Errorf("%v", m)
	}
	w.Prepaid()
	if m := object(c.post("/balance", who...)); m["balance"] != 12.0 {
		t.Errorf("%v", m)
	}
	if status, answer := c.get("/balance", "username", "nobody", "password", "x"); status != 403 || answer != `"Authentication failure for username:nobody"` {
		t.Errorf("%d %s", status, answer)
	}
	w.Refuse(func(ingress.Request) error { return message.Refuse(message.ReasonNoRoute, "") })
	if status, answer := c.get("/rate", sample()...); status != 412 || answer != `"No route found"` {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := c.get("/ping"); status != 200 || answer != "Jasmin/PONG" {
		t.Errorf("%d %s", status, answer)
	}
}

// FuzzSend: whatever comes is taken or refused, and never our fault.
func FuzzSend(f *testing.F) {
	w, c := serve(f)
	for _, s := range []string{"content=x", "hex-content=0", "coding=8&content=%d8%00", "sdt=999999999999999R&content=x", "sdt=000000000000000-&content=x", "validity-period=99999999999999999999&content=x", "dlr-level=&dlr=yes&content=x&dlr-url=http://%00", "dlr=yes&dlr-level=", "coding=&content=x", "%zz", ";;", "content=\xff&tags=,,"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, query, body string) {
		c := client{t, w.URL}
		for _, kind := range []string{"application/x-www-form-urlencoded", "application/json"} {
			for _, path := range []string{"/send", "/rate", "/balance"} {
				at, err := url.Parse(c.base + path)
				if err != nil {
					t.Fatal(err)
				}
				at.RawQuery = values(sample()).Encode() + "&" + query
				r, err := http.NewRequest("POST", c.base, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.URL = at
				r.Header.Set("Content-Type", kind)
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					continue // no such request can be written
				}
				answer, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode >= 500 {
					t.Errorf("%s?%s with %q: %d %s", path, query, body, resp.StatusCode, answer)
				}
			}
		}
	})
	_ = c
}
