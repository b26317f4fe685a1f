package registry_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/registry/registrytest"
	"github.com/postrider/postrider/internal/secret"
)

// bench is a client on a fake registry, with what it waited for and was told.
type bench struct {
	*testing.T
	fake *registrytest.Fake
	*registry.HTTP

	mu     sync.Mutex
	pauses []time.Duration
	seen   []string
}

func setup(t *testing.T, change func(*registry.HTTP)) *bench {
	t.Helper()
	b := &bench{T: t, fake: registrytest.Start()}
	t.Cleanup(b.fake.Close)
	h := registry.HTTP{URL: b.fake.URL, Key: registrytest.Key, Secret: secret.Conceal(registrytest.Secret)}
	h.Pause = func(_ context.Context, d time.Duration) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.pauses = append(b.pauses, d)
		return nil
	}
	h.Observe = func(operation, result string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen = append(b.seen, operation+" "+result)
	}
	if change != nil {
		change(&h)
	}
	client, err := registry.NewHTTP(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b.HTTP = client
	return b
}

func (b *bench) wants(err error, reason message.Reason, uncertain bool) {
	b.Helper()
	if message.ReasonOf(err) != reason || registry.Uncertain(err) != uncertain {
		b.Fatalf("%v (uncertain %v), want %s, %v", err, registry.Uncertain(err), reason, uncertain)
	}
	if err != nil && (strings.Contains(err.Error(), registrytest.Secret) || strings.Contains(err.Error(), registrytest.Key)) {
		b.Errorf("the error shows the secret: %v", err)
	}
}

func acme() *registry.Brand {
	return &registry.Brand{Name: "Acme", EntityType: registry.PrivateProfit, LegalName: "Acme Inc.", TaxID: secret.Conceal("12-3456789"), Phone: "+12025550143",
		Email: "support@acme.example", Street: "1 Main St", City: "Springfield", State: "IL", PostalCode: "62701", Country: "US", Vertical: "RETAIL"}
}

func orders() *registry.Campaign {
	return &registry.Campaign{UseCase: "MIXED", SubUseCases: []string{"2FA", "MARKETING"}, Description: "Orders", MessageFlow: "A box at the checkout",
		Samples: []string{"first sample", "second sample"}, OptOutKeywords: []string{"STOP", "END"}, StopReply: "No more.", HelpReply: "Help.", EmbeddedLink: true, SubscriberOptOut: true}
}

// The whole way through every call, and what is on the wire.
func TestClient(t *testing.T) {
	t.Parallel()
	b, ctx := setup(t, nil), t.Context()
	id, err := b.RegisterBrand(ctx, acme(), "ref-b")
	b.wants(err, "", false)
	body := b.fake.Bodies("POST /v2/brand/nonBlocking")[0]
	for _, part := range []string{`"ein":"123456789"`, `"companyName":"Acme Inc."`, `"displayName":"Acme"`, `"referenceId":"ref-b"`, `"postalCode":"62701"`} {
		if !strings.Contains(body, part) {
			t.Errorf("%s is not in %s", part, body)
		}
	}
	if s, err := b.Brand(ctx, id); err != nil || s.Status != registry.BrandPending || s.Score != -1 {
		t.Errorf("%+v, %v", s, err)
	}
	b.fake.SetBrand(id, map[string]any{"optionalAttributes": map[string]any{"russell3000": "true"}})
	b.fake.Vet(id, 60, "2026-10-01T00:00:00Z")
	b.fake.Vet(id, 80, "2026-11-01")
	b.fake.Vet(id, 20, "2025-11-01T00:00:00Z")
	b.fake.Vet(id, 99, "") // not complete
	s, err := b.Brand(ctx, id)
	b.wants(err, "", false)
	if s.Score != 80 || s.Status != registry.BrandApproved || s.IdentityStatus != "VETTED_VERIFIED" || !s.Russell3000 || !s.ExpiresAt.Equal(time.Date(2027, 11, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", s)
	}
	campaign, err := b.SubmitCampaign(ctx, orders(), id, "ref-c")
	b.wants(err, "", false)
	body = b.fake.Bodies("POST /v2/campaignBuilder")[0]
	for _, part := range []string{`"sample1":"first sample","sample2":"second sample"`, `"optoutKeywords":"STOP,END"`, `"optoutMessage":"No more."`, `"subUsecases":["2FA","MARKETING"]`, `"termsAndConditions":true`, `"embeddedLink":true`, `"ageGated":false`} {
		if !strings.Contains(body, part) {
			t.Errorf("%s is not in %s", part, body)
		}
	}
	if strings.Contains(body, "sample3") {
		t.Error("an empty sample is sent")
	}
	c, err := b.Campaign(ctx, campaign)
	if err != nil || c.Status != "ACTIVE" {
		t.Errorf("%+v, %v", c, err)
	}
	b.fake.SetCarrier(campaign, registry.TMobile, "REVIEW", map[string]any{"brandTier": "TOP"})
	b.fake.SetCarrier(campaign, registry.ATT, "approved", map[string]any{"mno": "AT&T", "msgClass": "B", "tpm": "4500", "mmsTpm": 2400, "surcharge": 0.002})
	b.fake.SetCarrier(campaign, 10100, "A_NEW_WORD", nil)
	carriers, err := b.Carriers(ctx, campaign)
	want := []registry.Carrier{{NetworkID: registry.ATT, Network: "AT&T", Status: "approved", Class: "B", TPM: 4500, MMSTPM: 2400, Surcharge: "0.002"},
		{NetworkID: registry.TMobile, Network: "T-Mobile", Status: "review", BrandTier: "TOP"}, {NetworkID: 10100, Network: "10100"}}
	if err != nil || !slices.Equal(carriers, want) {
		t.Errorf("%+v, %v", carriers, err)
	}
	for reference, want := range map[string]string{"ref-b": id, "REF-B": id, "ref-c": "", "": ""} {
		if got, err := b.FindBrand(ctx, reference); err != nil || got != want {
			t.Errorf("brand of %q: %q, %v", reference, got, err)
		}
	}
	if got, err := b.FindCampaign(ctx, "ref-c"); err != nil || got != campaign {
		t.Errorf("%q, %v", got, err)
	}
	if _, err = b.Brand(ctx, "BNONE"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Error(err)
	}
	_, err = b.RegisterBrand(ctx, acme(), "Ref-B")
	b.wants(err, message.ReasonConflict, false)
	_, err = b.SubmitCampaign(ctx, orders(), "BNONE", "ref-d")
	b.wants(err, message.ReasonNotFound, false)
}

// Calls that read are repeated as often as they should be, those that file never.
func TestTries(t *testing.T) {
	t.Parallel()
	const brand, register = "GET /v2/brand/{id}", "POST /v2/brand/nonBlocking"
	away := registrytest.Fault{Status: 503}
	for _, c := range []struct {
		name      string
		pattern   string
		faults    []registrytest.Fault
		reason    message.Reason
		uncertain bool
		calls     int
		seen      string
	}{
		{"away once", brand, []registrytest.Fault{away}, "", false, 2, "brand failed,brand ok,vetting ok"},
		{"away", brand, []registrytest.Fault{away, away, away}, message.ReasonUnavailable, true, 3, "brand failed,brand failed,brand failed"},
		{"answer lost", brand, []registrytest.Fault{{Lose: true}}, "", false, 2, ""}, // on a kept connection net/http itself repeats it
		{"limited", brand, []registrytest.Fault{{Status: 429, RetryAfter: "2"}}, "", false, 2, "brand limited,brand ok,vetting ok"},
		{"limited for long", brand, []registrytest.Fault{{Status: 429, RetryAfter: "600"}}, message.ReasonRateLimitExceeded, false, 1, "brand limited"},
		{"not there", brand, []registrytest.Fault{{Status: 404}}, message.ReasonNotFound, false, 1, "brand refused"},
		{"not there by its code", brand, []registrytest.Fault{{Status: 400, Errors: []registrytest.Error{{Code: 502, Description: "Brand not found"}}}}, message.ReasonNotFound, false, 1, "brand refused"},
		{"key refused", brand, []registrytest.Fault{{Status: 401}}, message.ReasonUnavailable, false, 1, "brand failed"},
		{"redirect", brand, []registrytest.Fault{{Status: 302}}, message.ReasonUnavailable, false, 1, "brand failed"},
		{"no JSON", brand, []registrytest.Fault{{Body: "<html>"}, {Body: "<html>"}, {Body: "<html>"}}, message.ReasonUnavailable, true, 3, "brand failed,brand failed,brand failed"},
		{"endless", brand, []registrytest.Fault{{Body: `{"a":"` + strings.Repeat("x", 2<<20)}}, "", false, 2, "brand failed,brand ok,vetting ok"},
		{"filed and away", register, []registrytest.Fault{away}, message.ReasonUnavailable, true, 1, "register_brand uncertain"},
		{"filed and lost", register, []registrytest.Fault{{Lose: true}}, message.ReasonUnavailable, true, 1, "register_brand uncertain"},
		{"filed and limited", register, []registrytest.Fault{{Status: 429}}, message.ReasonRateLimitExceeded, false, 1, "register_brand limited"},
		{"filed without an id", register, []registrytest.Fault{{Body: "{}"}}, message.ReasonUnavailable, true, 1, "register_brand ok"},
		{"filed and refused", register, []registrytest.Fault{{Status: 422}}, message.ReasonInvalidRequest, false, 1, "register_brand refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, ctx := setup(t, nil), t.Context()
			if c.pattern == brand {
				id, err := b.RegisterBrand(ctx, acme(), "ref")
				b.wants(err, "", false)
				b.seen = nil
				b.fake.Fail(c.pattern, c.faults...)
				_, err = b.Brand(ctx, id)
				b.wants(err, c.reason, c.uncertain)
			} else {
				b.fake.Fail(c.pattern, c.faults...)
				_, err := b.RegisterBrand(ctx, acme(), "ref")
				b.wants(err, c.reason, c.uncertain)
			}
			if n := b.fake.Calls(c.pattern); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if got := strings.Join(b.seen, ","); c.seen != "" && got != c.seen {
				t.Errorf("seen %s, want %s", got, c.seen)
			}
			for _, d := range b.pauses {
				if d <= 0 || d > registry.DefaultMaxPause {
					t.Errorf("it waits %s", d)
				}
			}
			if c.name == "limited" && b.pauses[0] < 2*time.Second {
				t.Errorf("it waits %s, the registry asks for 2 s", b.pauses[0])
			}
		})
	}
}

// The registry's words for fields become ours, and are bounded.
func TestRefusalNamesFields(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	list := []registrytest.Error{{Code: 501, Field: "sample2", Description: "too short"}, {Code: 501, Field: "optoutMessage", Description: strings.Repeat("x", 1000)},
		{Code: 501, Field: "somethingNew", Description: "wrong"}, {Code: 999, Description: "and more"}}
	for range 40 {
		list = append(list, registrytest.Error{Field: "description", Description: "no"})
	}
	b.fake.Fail("POST /v2/campaignBuilder", registrytest.Fault{Status: 400, Errors: list})
	_, err := b.SubmitCampaign(t.Context(), orders(), "B1", "ref")
	b.wants(err, message.ReasonInvalidRequest, false)
	e := message.AsError(err)
	if len(e.Fields) != 19 || e.Fields[0].Location != "body.sample_messages[1]" || e.Fields[1].Location != "body.stop_reply" || e.Fields[2].Location != "body.somethingnew" {
		t.Errorf("%d fields: %v", len(e.Fields), e.Fields[:3])
	}
	if len(e.Fields[1].Message) > 400 || !strings.Contains(e.Detail, "and more") {
		t.Errorf("detail %s", e.Detail)
	}
}

// A slow registry is left when its time is over, and the caller's end ends it at
// once; nothing is asked of one that is not there.
func TestTimeRunsOut(t *testing.T) {
	t.Parallel()
	b := setup(t, func(h *registry.HTTP) { h.Timeout, h.Tries = 50*time.Millisecond, 1 })
	never := make(chan struct{})
	defer close(never)
	b.fake.Fail("POST /v2/brand/nonBlocking", registrytest.Fault{Hold: never})
	_, err := b.RegisterBrand(t.Context(), acme(), "ref")
	b.wants(err, message.ReasonUnavailable, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = b.Brand(ctx, "B1"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller's end: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b = setup(t, func(h *registry.HTTP) { h.URL = gone })
	_, err = b.RegisterBrand(t.Context(), acme(), "ref")
	b.wants(err, message.ReasonUnavailable, false)
}

// A redirect never takes the secret elsewhere.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 8)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	b := setup(t, func(h *registry.HTTP) { h.URL = server.URL })
	_, err := b.Brand(t.Context(), "B1")
	b.wants(err, message.ReasonUnavailable, false)
	if len(asked) != 0 {
		t.Error("the other server was asked")
	}
}

func TestSettingsOfTheClient(t *testing.T) {
	t.Parallel()
	good := registry.HTTP{URL: "https://registry.example/v2/", Key: "k", Secret: secret.Conceal("s")}
	for name, c := range map[string]struct {
		change func(*registry.HTTP)
		says   string
	}{
		"as they should be": {func(*registry.HTTP) {}, ""},
		"loopback":          {func(h *registry.HTTP) { h.URL = "http://127.0.0.1:1/v2" }, ""},
		"plain http":        {func(h *registry.HTTP) { h.URL = "http://registry.example/v2" }, "https"},
		"no URL":            {func(h *registry.HTTP) { h.URL = "" }, "URL"},
		"secret in the URL": {func(h *registry.HTTP) { h.URL = "https://k:s@registry.example/v2" }, "URL"},
		"no key":            {func(h *registry.HTTP) { h.Key = "" }, "key and secret"},
		"no secret":         {func(h *registry.HTTP) { h.Secret = secret.String{} }, "key and secret"},
	} {
		h := good
		c.change(&h)
		client, err := registry.NewHTTP(h)
		if c.says == "" && (err != nil || strings.HasSuffix(client.URL, "/")) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// The keeper stops when it is told, also before it started and twice.
func TestKeeper(t *testing.T) {
	t.Parallel()
	k := registry.Keeper{Registrar: &registry.Registrar{}}
	k.Stop()
	k.Start(t.Context())
	k.Stop()
	k.Stop()
}
