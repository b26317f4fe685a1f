package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/postrider/postrider/internal/message"
)

// listener is where a customer hears of its messages in another gateway's form.
type listener struct {
	*httptest.Server
	valid func(r *http.Request, body string) bool
	ack   string

	mu   sync.Mutex
	told map[string][]string // by id, in the order in which they came
	bad  int
	deaf int // how many are still to be answered without ack
}

func listen(t *testing.T, id, word, ack string, deaf int) *listener {
	l := &listener{ack: ack, told: map[string][]string{}, deaf: deaf}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(r.URL.RawQuery + "&" + string(body))
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err != nil || l.valid != nil && !l.valid(r, string(body)):
			l.bad++
			w.WriteHeader(http.StatusForbidden)
		case l.deaf > 0:
			l.deaf--
		default:
			l.told[form.Get(id)] = append(l.told[form.Get(id)], form.Get(word))
			_, _ = io.WriteString(w, l.ack)
		}
	}))
	t.Cleanup(l.Close)
	return l
}

// heard reports whether exactly these words came for an id, each at least once, and nothing
// that could not be verified.
func (l *listener) heard(id string, words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := slices.Compact(slices.Sorted(slices.Values(l.told[id])))
	return l.bad == 0 && slices.Equal(got, slices.Sorted(slices.Values(words)))
}

// elsewhere is a client that calls the gateway where a library means Twilio.
type elsewhere struct{ host string }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "http", e.host, ""
	return http.DefaultTransport.RoundTrip(r)
}

// TestTwilioLibrary: Twilio's own library, with another base URL, sends, hears by signed
// callbacks what became of it, fetches, and lists page by page.
func TestTwilioLibrary(t *testing.T) {
	t.Parallel()
	s := start(t, "--magic")
	sid := "AC" + message.Hex32(s.account)
	basic := &client.Client{Credentials: client.NewCredentials(sid, hex.EncodeToString([]byte(s.apiSecret))),
		HTTPClient: &http.Client{Transport: elsewhere{fmt.Sprintf("127.0.0.1:%d", s.apiPort)}}}
	basic.SetAccountSid(sid)
	lib := twilio.NewRestClientWithParams(twilio.ClientParams{Client: basic})

	validator := client.NewRequestValidator(s.hook)
	l := listen(t, "MessageSid", "MessageStatus", "", 0)
	l.valid = func(r *http.Request, body string) bool {
		return validator.ValidateBody(l.URL+r.URL.String(), []byte(body), r.Header.Get("X-Twilio-Signature"))
	}
	send := func(to string) string {
		t.Helper()
		m, err := lib.Api.CreateMessage((&api.CreateMessageParams{}).SetFrom(from).SetTo(to).SetBody("Hello").SetStatusCallback(l.URL + "/status?shop=7"))
		if err != nil {
			t.Fatal(err)
		}
		return *m.Sid
	}
	good, bad := send(destination(301)), send("+13105550008") // which the simulator refuses
	s.until("the callbacks of what was delivered came", func() bool { return l.heard(good, "queued", "sent", "delivered") })
	s.until("the callbacks of what was refused came", func() bool { return l.heard(bad, "queued", "failed") })
	m, err := lib.Api.FetchMessage(good, nil)
	if err != nil || *m.Status != "delivered" || *m.Price != "-0.0045" || m.DateSent == nil || m.ErrorCode != nil {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = lib.Api.FetchMessage(bad, nil); err != nil || *m.Status != "failed" || m.ErrorCode == nil || *m.ErrorCode == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	var sids []string
	list, err := lib.Api.ListMessage((&api.ListMessageParams{}).SetPageSize(1))
	for _, m := range list {
		sids = append(sids, *m.Sid)
	}
	if err != nil || !slices.Equal(sids, []string{bad, good}) {
		t.Errorf("%q, %v", sids, err)
	}
}

// TestJasminClient: a program of a Jasmin's sends with its ESME's name and password, and
// hears of the submit and of the delivery, although it does not acknowledge at first.
func TestJasminClient(t *testing.T) {
	t.Parallel()
	s := start(t, "--magic")
	if a, err := s.call("GET", "/ping", nil); err != nil || a.status != http.StatusNotFound {
		t.Fatalf("the door is open before anybody opened it: %d %s, %v", a.status, a.body, err)
	}
	s.env = append(s.env, "JASMIN_DOOR=true", "LOG_LEVEL=debug")
	s.restartGateway()
	l := listen(t, "id", "message_status", "ACK/Jasmin", 1)
	get := func(path string, params url.Values) string {
		t.Helper()
		params.Set("username", esmeID)
		params.Set("password", esmePassword)
		resp, err := s.client.Get(fmt.Sprintf("http://127.0.0.1:%d%s?%s", s.apiPort, path, params.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s, %v", path, resp.StatusCode, body, err)
		}
		return string(body)
	}
	send := func(to, level, method string) string {
		t.Helper()
		answer := get("/send", url.Values{"to": {strings.TrimPrefix(to, "+")}, "from": {strings.TrimPrefix(from, "+")}, "content": {"Hello"},
			"dlr": {"yes"}, "dlr-url": {l.URL + "/dlr"}, "dlr-level": {level}, "dlr-method": {method}})
		found := regexp.MustCompile(`^Success "([0-9a-f-]{36})"$`).FindStringSubmatch(answer)
		if found == nil {
			t.Fatal(answer)
		}
		return found[1]
	}
	both, final, refused := send(destination(311), "3", "GET"), send(destination(312), "2", "POST"), send("+13105550008", "3", "POST")
	s.until("both callbacks came", func() bool { return l.heard(both, "ESME_ROK", "DELIVRD") })
	s.until("the receipt came", func() bool { return l.heard(final, "DELIVRD") })
	s.until("the refusal came", func() bool { return l.heard(refused, "ESME_RSUBMITFAIL") })
	if got := get("/rate", url.Values{"to": {"13105550117"}, "from": {from}, "content": {"Hello"}}); got != `{"submit_sm_count":1,"unit_rate":0.0045}` {
		t.Error(got)
	}
	if got := get("/balance", url.Values{}); got != `{"balance":"ND","sms_count":"ND"}` {
		t.Error(got)
	}
	if log := s.gateway.LogTail(); strings.Contains(log, esmePassword) {
		t.Errorf("the log has a password:\n%s", log)
	}
}
