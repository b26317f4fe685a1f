package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/snapshot"
)

// desks is what the tests of the desks work on, made once.
var desks struct {
	once   sync.Once
	failed bool

	account  string
	token    string   // of the admin, for the internal API
	word     string   // the rule holds texts with it
	held     []string // messages
	rule     string
	delivery string // of a webhook that nobody takes
	optOut   string
	brand    string
	campaign string // a draft
	line     string // of the audit log
}

// strayTo is a number of nobody's to which handsets write.
const strayTo = "+12025550961"

// xss is what a stranger may write into every text.
const xss = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

// deskCall makes a request of the customers' API, or of the internal one with a token.
func deskCall(t *testing.T, method, url, token string, body any) map[string]any {
	t.Helper()
	g := demo(t)
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(url, "/auth/token"):
	case token != "":
		r.Header.Set("Authorization", "Bearer "+token)
	default:
		r.SetBasicAuth(g.env["POSTRIDER_API_KEY"], g.env["POSTRIDER_API_SECRET"])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s %v %s", method, url, resp.Status, err, answer)
	}
	out := map[string]any{}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// withDesks makes what the desks have to do, once.
func withDesks(t *testing.T) {
	t.Helper()
	g := demo(t)
	desks.once.Do(func() {
		desks.failed = true
		const admin = "/api/v1/admin"
		token := deskCall(t, "POST", g.url+admin+"/auth/token", "", map[string]any{"email": g.env["POSTRIDER_ADMIN_EMAIL"], "password": g.env["POSTRIDER_ADMIN_PASSWORD"]})["access_token"].(string)
		desks.token = token
		desks.account = deskCall(t, "GET", g.url+"/v1/account", "", nil)["id"].(string)
		desks.word = "tombola" + message.Hex32(message.NewID())[26:]
		desks.rule = deskCall(t, "POST", g.url+admin+"/content-rules", token, map[string]any{"name": "prizes " + desks.word, "kind": "word", "class": "sweepstakes", "pattern": desks.word, "action": "hold"})["id"].(string)
		deskCall(t, "POST", g.url+admin+"/reload", token, nil) // the rule is in force now
		for i := range 5 {
			m := deskCall(t, "POST", g.url+"/v1/messages", "", map[string]any{"from": g.env["POSTRIDER_FROM"], "to": fmt.Sprintf("+1310555015%d", i),
				"body": fmt.Sprintf("You have won the %s no. %d! %s", desks.word, i, xss)})
			desks.held = append(desks.held, m["id"].(string))
		}
		for i := range 2 {
			deskCall(t, "POST", g.env["POSTRIDER_SMSC_MO"], "", map[string]any{"from": "+13105550140", "to": strayTo, "text": fmt.Sprintf("Is anybody there, %d? %s", i, xss)})
		}
		deskCall(t, "POST", g.env["POSTRIDER_SMSC_MO"], "", map[string]any{"from": "+13105550141", "to": "+12025550962", "text": "Wrong number?"})
		m := deskCall(t, "POST", g.url+"/v1/messages", "", map[string]any{"from": g.env["POSTRIDER_FROM"], "to": "+13105550142", "body": "Your parcel is here.", "webhook_url": "http://127.0.0.1:9/postrider"})
		desks.optOut = deskCall(t, "POST", g.url+"/v1/opt-outs", "", map[string]any{"recipient": "+13105550143", "reason": "asked by phone"})["id"].(string)
		desks.brand = deskCall(t, "POST", g.url+"/v1/brands", "", map[string]any{"name": "Acme " + desks.word, "entity_type": "PRIVATE_PROFIT", "legal_name": "Acme Inc.", "ein": "12-3456789", "country": "US"})["id"].(string)
		desks.campaign = deskCall(t, "POST", g.url+"/v1/campaigns", "", map[string]any{"use_case": "ACCOUNT_NOTIFICATION", "description": "Tells customers of the shop what becomes of their orders.", "brand_id": desks.brand})["id"].(string)
		lines := deskCall(t, "GET", g.url+admin+"/audit-log?action=content_rule.create&limit=1", token, nil)["data"].([]any)
		desks.line = fmt.Sprintf("%.0f", lines[0].(map[string]any)["id"])
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for end := time.After(patience); ; {
			held := slices.DeleteFunc(deskCall(t, "GET", g.url+admin+"/messages/held", token, nil)["data"].([]any), func(m any) bool {
				return !slices.Contains(desks.held, m.(map[string]any)["id"].(string)) // the demo's
			})
			tried := deskCall(t, "GET", g.url+admin+"/webhook-deliveries?message_id="+m["id"].(string), token, nil)["data"].([]any)
			strays := deskCall(t, "GET", g.url+admin+"/inbound/unrouted?to="+strings.TrimPrefix(strayTo, "+"), token, nil)["data"].([]any)
			if len(tried) > 0 {
				desks.delivery = tried[0].(map[string]any)["id"].(string)
			}
			if len(held) == 5 && desks.delivery != "" && tried[0].(map[string]any)["last_error"] != nil && len(strays) == 2 {
				break
			}
			select {
			case <-ticker.C:
			case <-end:
				t.Fatalf("held: %d, strays: %d, tried: %v", len(held), len(strays), tried)
			}
		}
		desks.failed = false
	})
	if desks.failed {
		t.Fatal("what the desks have to do was not made; see the first test that failed")
	}
}

// asRole is a tab of a member of staff, with something to do at each desk.
func asRole(t *testing.T, role snapshot.Role) *browser.Tab {
	t.Helper()
	withDesks(t)
	return asStaff(t, role)
}

// What waits is judged before people begin to work on it, so that it is the same with and
// without scripts.
func TestDesksPages(t *testing.T) {
	t.Run("waiting", func(t *testing.T) {
		tab := asRole(t, snapshot.RoleAdmin)
		judgeAll(t, tab, "/console/held", "/console/held/"+desks.held[4], "/console/unrouted", "/console/receipts", "/console/webhooks", "/console/webhooks/"+desks.delivery, "/console/webhooks/replay")
	})
	t.Run("rules", func(t *testing.T) {
		tab := asRole(t, snapshot.RoleCompliance)
		judgeAll(t, tab, "/console/content-rules", "/console/content-rules/new", "/console/content-rules/try", "/console/content-rules/"+desks.rule, "/console/opt-outs", "/console/opt-outs/"+desks.optOut,
			"/console/brands", "/console/brands/"+desks.brand, "/console/campaigns", "/console/campaigns/"+desks.campaign)
	})
	t.Run("access", func(t *testing.T) {
		tab := asRole(t, snapshot.RoleAdmin)
		judgeAll(t, tab, "/console/audit?created_before=2026-01-01T00:00", "/console/audit?target="+desks.rule, "/console/audit/"+desks.line, "/console/audit/check", "/console/staff", "/console/staff/invite", "/console/services", "/console/services/new")
	})
}
