package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// adminOperations is the document of the internal API with what is known of its
// operations beside it.
func adminOperations(t testing.TB) *huma.OpenAPI {
	t.Helper()
	api := humachi.New(chi.NewRouter(), adminConfig())
	s := &Server{Admin: &Admin{}}
	s.registerAdmin(api)
	finish(api.OpenAPI())
	return api.OpenAPI()
}

const (
	everybody = "admin operator support compliance viewer"
	readers   = "admin support compliance" // of texts
)

// sample is a request that an operation takes, and who may make it: written down
// once more, so that a role which is given too much shows.
type sample struct {
	who    string // roles
	status int    // of the answer to those
	// action is what the audit log says of it; empty: nothing.
	action string
	// by are the roles whose requests the audit log tells of; empty: all of who.
	by string
	// harmless: it changes nothing and shows no customer's text, though it is no GET.
	harmless bool
	// ask makes what the request is about, and the request. Nil: the path as it is.
	ask func(o *office) (path, body string)
}

// adminSamples has a row for each operation of the internal API.
var adminSamples = map[string]sample{
	"listStaff":   {who: "admin", status: 200},
	"getStaff":    {who: "admin", status: 200, ask: aboutStaff("")},
	"changeStaff": {who: "admin", status: 200, action: "staff.update", ask: aboutStaff(`{"name":"Bob"}`)},
	"removeStaff": {who: "admin", status: 204, action: "staff.update", ask: aboutStaff("")},
	"createStaff": {who: "admin", status: 201, action: "staff.create", ask: func(*office) (string, string) {
		return staffPath, `{"email":"` + message.NewID().String() + `@gw.example","role":"viewer","password":"` + staffPassword + `"}`
	}},

	"inviteStaff": {who: "admin", status: 200, action: "staff.invite", ask: func(*office) (string, string) {
		return staffPath + "/invite", `{"email":"` + message.NewID().String() + `@gw.example","role":"viewer"}`
	}},
	"removeStaffSecondFactor": {who: "admin", status: 204, action: "staff.factor_remove", ask: func(o *office) (string, string) { return o.withFactor() + "/second-factor", "" }},

	"listServiceCredentials":  {who: "admin", status: 200},
	"getServiceCredential":    {who: "admin", status: 200, ask: aboutService("")},
	"changeServiceCredential": {who: "admin", status: 200, action: "service_credential.update", ask: aboutService(`{"expires_at":null}`)},
	"removeServiceCredential": {who: "admin", status: 204, action: "service_credential.update", ask: aboutService("")},
	"createServiceCredential": {who: "admin", status: 201, action: "service_credential.create", ask: func(*office) (string, string) { return servicePath, `{"name":"dunning"}` }},

	"listCustomers": {who: everybody, status: 200},
	"getCustomer":   {who: everybody, status: 200, ask: aboutCustomer("", "")},
	"createCustomer": {who: "admin operator", status: 201, action: "account.create", ask: func(*office) (string, string) {
		return customerPath, `{"company_name":"New","external_id":"` + message.NewID().String() + `"}`
	}},
	"changeCustomer":             {who: "admin operator", status: 200, action: "account.update", ask: aboutCustomer("", `{"max_parts":3}`)},
	"closeCustomer":              {who: "admin operator", status: 204, action: "account.status", ask: aboutCustomer("", "")},
	"setCustomerLimits":          {who: "admin operator", status: 200, action: "usage_limits.set", ask: aboutCustomer("/limits", `{"limits":[{"type":"sms","period":"day","limit":5}]}`)},
	"listCustomerBalanceEntries": {who: everybody, status: 200, ask: aboutCustomer("/balance-entries", "")},
	"createCustomerBalanceEntry": {who: "admin operator", status: 201, action: "balance.book", ask: aboutCustomer("/balance-entries", `{"amount":"5","currency":"USD","reason":"paid"}`)},
	"suspendCustomer":            {who: "admin operator", status: 200, action: "account.status", ask: aboutCustomer("/suspend", `{"reason":"not paid"}`)},
	"resumeCustomer":             {who: "admin operator", status: 200, action: "account.status", ask: aboutCustomer("/resume", "")},

	"listAllNumbers":  {who: everybody, status: 200},
	"getAnyNumber":    {who: everybody, status: 200, ask: aboutNumber("")},
	"changeAnyNumber": {who: "admin operator", status: 200, action: "number.update", ask: aboutNumber(`{"tag":"a"}`)},
	"removeNumber":    {who: "admin operator", status: 204, action: "number.delete", ask: aboutNumber("")},
	"createNumber": {who: "admin operator", status: 201, action: "number.create", ask: func(o *office) (string, string) {
		return numbersPath, `{"number":"` + string(o.freshNumber()) + `","account_id":"` + o.customer.String() + `"}`
	}},
	"importNumbers": {who: "admin operator", status: 200, action: "number.create", ask: func(o *office) (string, string) {
		return numbersPath + "/import", "number,account_id\n" + string(o.freshNumber()) + "," + o.customer.String() + "\n"
	}},

	"listAllMessages":      {who: everybody, status: 200, action: "message.read", by: readers, ask: aboutMessage("", "")},
	"getAnyMessage":        {who: everybody, status: 200, action: "message.read", by: readers, ask: aboutMessage("/{id}", "")},
	"listAnyMessageEvents": {who: everybody, status: 200, ask: aboutMessage("/{id}/events", "")},
	"cancelAnyMessage":     {who: "admin support", status: 200, action: "message.cancel", ask: aboutMessage("/{id}/cancel", `{"reason":"asked for"}`)},
	"retryAnyMessage":      {who: "admin support", status: 202, action: "message.retry", ask: aboutEnded("/{id}/retry")},
	"resolveMessage":       {who: "admin support", status: 200, action: "message.resolve", ask: aboutDoubted("/{id}/resolve", `{"as":"not_sent","reason":"their log has nothing"}`)},

	"createRedrive":    {who: "admin support", status: 202, action: "redrive.create", ask: func(*office) (string, string) { return redrivePath, aRedrive }},
	"listRedrives":     {who: everybody, status: 200, ask: func(o *office) (string, string) { o.redriven(nil); return redrivePath, "" }},
	"getRedrive":       {who: everybody, status: 200, ask: aboutRedriveOne("")},
	"listRedriveItems": {who: everybody, status: 200, ask: aboutRedriveOne("/items")},
	"stopRedrive":      {who: "admin support", status: 200, action: "redrive.stop", ask: aboutRedriveOne("/stop")},

	"listHeldMessages": {who: everybody, status: 200, action: "message.read", by: readers, ask: aboutHeld("/held", "")},
	"releaseMessage":   {who: "admin compliance", status: 200, action: "message.review_release", ask: aboutHeld("/{id}/release", "")},
	"refuseMessage":    {who: "admin compliance", status: 200, action: "message.review_refuse", ask: aboutHeld("/{id}/refuse", `{"reason":"a lottery"}`)},

	"listUnrouted":          {who: everybody, status: 200, action: "inbound.read", by: readers, ask: aboutUnrouted("")},
	"redriveUnrouted":       {who: "admin support", status: 200, action: "inbound.redrive", ask: aboutUnrouted("/{id}/redrive")},
	"redriveAllUnrouted":    {who: "admin support", status: 200, action: "inbound.redrive", ask: aboutUnrouted("/redrive")},
	"listUnmatchedReceipts": {who: everybody, status: 200},
	"getUnmatchedReceipt": {who: everybody, status: 200, ask: func(o *office) (string, string) {
		receipt, _ := o.strayReceipt()
		return receiptPath + "/" + receipt.String(), ""
	}},
	"matchReceipt": {who: "admin support", status: 200, action: "receipt.match", ask: aboutStrayReceipt()},

	"listAllWebhookDeliveries": {who: everybody, status: 200},
	"getAnyWebhookDelivery":    {who: everybody, status: 200, ask: aboutWebhook("")},
	"replayAnyWebhookDelivery": {who: "admin support", status: 202, action: "webhook_delivery.replay", ask: aboutWebhook("/replay")},
	"replayAnyWebhookDeliveries": {who: "admin support", status: 202, action: "webhook_delivery.replay_range", ask: func(*office) (string, string) {
		return adminDeliveryPath + "/replay", `{"account_id":"` + accountA.String() + `","after":"2026-11-01T00:00:00Z"}`
	}},

	"listContentRules":  {who: everybody, status: 200},
	"getContentRule":    {who: everybody, status: 200, ask: aboutRule("")},
	"changeContentRule": {who: "admin compliance", status: 200, action: "content_rule.update", ask: aboutRule(`{"active":false}`)},
	"removeContentRule": {who: "admin compliance", status: 204, action: "content_rule.delete", ask: aboutRule("")},
	"testContentRules":  {who: "admin compliance", status: 200, harmless: true, ask: func(*office) (string, string) { return contentPath + "/test", `{"body":"casino"}` }},
	"createContentRule": {who: "admin compliance", status: 201, action: "content_rule.create", ask: func(*office) (string, string) {
		return contentPath, `{"name":"` + message.NewID().String() + `","kind":"word","class":"spam","pattern":"bad","action":"flag"}`
	}},

	"listVendors":         {who: everybody, status: 200},
	"getVendor":           {who: everybody, status: 200, ask: aboutVendor("", "")},
	"changeVendor":        {who: "admin operator", status: 200, action: "vendor.update", ask: aboutVendor("", `{"priority":7}`)},
	"removeVendor":        {who: "admin operator", status: 204, action: "vendor.delete", ask: aboutVendor("", "")},
	"listVendorStatus":    {who: everybody, status: 200},
	"getVendorStatus":     {who: everybody, status: 200, ask: aboutVendor("/status", "")},
	"testVendor":          {who: "admin operator", status: 200, action: "vendor.test", ask: aboutVendor("/test", "")},
	"restartVendor":       {who: "admin operator", status: 200, action: "vendor.restart", ask: aboutVendor("/restart", "")},
	"pauseVendor":         {who: "admin operator", status: 200, action: "vendor.pause", ask: aboutVendor("/pause", "")},
	"drainVendor":         {who: "admin operator", status: 200, action: "vendor.drain", ask: aboutVendor("/drain", "")},
	"resumeVendor":        {who: "admin operator", status: 200, action: "vendor.resume", ask: aboutVendor("/resume", "")},
	"setVendorThroughput": {who: "admin operator", status: 200, action: "vendor.throughput", ask: aboutVendor("/throughput", `{"tps":5}`)},
	"reloadVendors":       {who: "admin operator", status: 200, action: "config.reload"},
	"reloadConfiguration": {who: "admin operator", status: 200, action: "config.reload"},
	"listClients":         {who: everybody, status: 200},
	"listCarriers":        {who: everybody, status: 200},
	"reload":              {who: "admin operator", status: 200, action: "config.reload"},
	"createVendor": {who: "admin operator", status: 201, action: "vendor.create", ask: func(*office) (string, string) {
		return vendorPath, `{"instance_name":"v-` + message.NewID().String() + `","provider_type":"smpp","host":"smsc.example","port":2775,"username":"us"}`
	}},

	"listMediaProfiles": {who: everybody, status: 200},
	"setMediaProfile":   {who: "admin operator", status: 200, action: "media_profile.update", ask: func(*office) (string, string) { return mediaProfilePath + "/lean", leanProfile }},
	"removeMediaProfile": {who: "admin operator", status: 204, action: "media_profile.delete", ask: func(o *office) (string, string) {
		p, _ := mediaprofile.Builtin("default")
		p.Name = message.NewID().String()
		if _, err := o.db.SetMediaProfile(o.ctx, shellActor, p); err != nil {
			o.t.Fatal(err)
		}
		return mediaProfilePath + "/" + p.Name, ""
	}},

	"listRoutes":  {who: everybody, status: 200},
	"getRoute":    {who: everybody, status: 200, ask: aboutRoute("")},
	"changeRoute": {who: "admin operator", status: 200, action: "route.update", ask: aboutRoute(`{"weight":7}`)},
	"removeRoute": {who: "admin operator", status: 204, action: "route.delete", ask: aboutRoute("")},
	"createRoute": {who: "admin operator", status: 201, action: "route.create", ask: func(o *office) (string, string) {
		return routePath, `{"vendor_id":"` + o.vendor().ID.String() + `"}`
	}},
	"testRoute":    {who: "admin operator", status: 200, harmless: true, ask: func(*office) (string, string) { return routePath + "/test", `{"to":"+13105550117"}` }},
	"whatIfRoutes": {who: "admin operator", status: 200, harmless: true, ask: func(*office) (string, string) { return routePath + "/what-if", `{}` }},
	"rerouteMessage": {who: "admin support", status: 200, action: "message.reroute", ask: func(o *office) (string, string) {
		return messagePath + "/" + o.message(nil).ID.String() + "/reroute", `{"vendor":"` + o.vendor().Name + `","reason":"it is slow"}`
	}},

	"listMM4Peers":  {who: everybody, status: 200},
	"getMM4Peer":    {who: everybody, status: 200, ask: aboutMM4Peer("")},
	"changeMM4Peer": {who: "admin operator", status: 200, action: "mm4_peer.update", ask: aboutMM4Peer(`{"rate":7}`)},
	"removeMM4Peer": {who: "admin operator", status: 204, action: "mm4_peer.delete", ask: aboutMM4Peer("")},
	"createMM4Peer": {who: "admin operator", status: 201, action: "mm4_peer.create", ask: func(o *office) (string, string) { return mm4PeerPath, o.newMM4Peer("") }},

	"listSMPPUsers":      {who: everybody, status: 200},
	"getSMPPUser":        {who: everybody, status: 200, ask: aboutSMPPUser("", "")},
	"changeSMPPUser":     {who: "admin operator", status: 200, action: "smpp_credential.update", ask: aboutSMPPUser("", `{"throughput":700}`)},
	"setSMPPUserQuota":   {who: "admin operator", status: 200, action: "smpp_credential.update", ask: aboutSMPPUser("/quota", `{"throughput":700,"max_binds":3,"window":5}`)},
	"removeSMPPUser":     {who: "admin operator", status: 204, action: "smpp_credential.delete", ask: aboutSMPPUser("", "")},
	"regenerateSMPPUser": {who: "admin operator", status: 200, action: "smpp_credential.regenerate", ask: aboutSMPPUser("/regenerate", "")},
	"createSMPPUser": {who: "admin operator", status: 201, action: "smpp_credential.create", ask: func(o *office) (string, string) {
		return smppUserPath, `{"account_id":"` + o.customer.String() + `"}`
	}},

	"listSessions": {who: everybody, status: 200},
	"endSession":   {who: "admin operator", status: 204, action: "session.end", ask: aboutSession},

	"getMetrics":  {who: everybody, status: 200},
	"getOverview": {who: everybody, status: 200},
	"getStats":    {who: everybody, status: 200},

	"listAllBrands":           {who: everybody, status: 200},
	"getAnyBrand":             {who: everybody, status: 200, ask: aboutBrand("", "", false)},
	"changeAnyBrandStatus":    {who: "admin compliance", status: 200, action: "brand.submit", ask: aboutBrand("", `{"status":"pending"}`, false)},
	"syncBrand":               {who: "admin compliance", status: 200, action: "brand.sync", ask: aboutBrand("/sync", "", true)},
	"listAllCampaigns":        {who: everybody, status: 200},
	"getAnyCampaign":          {who: everybody, status: 200, ask: aboutCampaign("")},
	"changeAnyCampaignStatus": {who: "admin compliance", status: 200, action: "campaign.suspend", ask: aboutCampaign(`{"status":"suspended","reason":"complaints"}`)},
	"syncCampaign":            {who: "admin compliance", status: 200, action: "campaign.sync", ask: aboutSubmittedCampaign},

	"listAllOptOuts": {who: everybody, status: 200},
	"getAnyOptOut":   {who: everybody, status: 200, ask: aboutOptOut("", "")},
	"endAnyOptOut":   {who: "admin compliance", status: 200, action: "opt_out.end", ask: aboutOptOut("", `{"reason":"opted in again"}`)},

	"decodePayloads": {who: "admin support", status: 200, action: "payload.read", ask: func(*office) (string, string) {
		return codecPath + "/decode", `{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"e30="}]}`
	}},

	"verifyAuditLog": {who: "admin compliance", status: 200},
	"getAuditLine": {who: "admin compliance", status: 200, ask: func(o *office) (string, string) {
		return adminPrefix + "/audit-log/" + strconv.FormatInt(o.last().ID, 10), ""
	}},
	"listAuditLog":   {who: "admin compliance", status: 200},
	"exportAuditLog": {who: "admin compliance", status: 200},
}

func aboutStaff(body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		m, err := o.db.CreateStaff(o.ctx, shellActor, snapshot.Staff{ID: message.NewID(), Email: message.NewID().String() + "@gw.example", Role: snapshot.RoleViewer, Active: true})
		if err != nil {
			o.t.Fatal(err)
		}
		return staffPath + "/" + m.ID.String(), body
	}
}

func aboutService(body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		id := message.NewID()
		_, err := o.db.CreateServiceCredential(o.ctx, shellActor, snapshot.ServiceCredential{ID: id, Name: "x", Key: id.String(), SecretHash: []byte("x"),
			Scopes: []string{snapshot.ScopeServiceMessages}, Active: true})
		if err != nil {
			o.t.Fatal(err)
		}
		return servicePath + "/" + id.String(), body
	}
}

func aboutCustomer(suffix, body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		id := message.NewID()
		if err := o.db.CreateAccount(o.ctx, shellActor, snapshot.Account{ID: id, CompanyName: "B", WebhookSecret: "x"}); err != nil {
			o.t.Fatal(err)
		}
		return customerPath + "/" + id.String() + suffix, body
	}
}

// freshNumber is one that nobody has.
func (o *office) freshNumber() message.Address {
	return message.Address(fmt.Sprintf("+1202556%04d", o.count("select count(*) + (select count(*) from audit_log) from numbers")))
}

func aboutNumber(body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		n := o.freshNumber()
		if err := o.db.CreateNumber(o.ctx, shellActor, snapshot.Number{Number: n, AccountID: o.customer, Type: "long_code", SMSEnabled: true}); err != nil {
			o.t.Fatal(err)
		}
		return numbersPath + "/" + string(n)[1:], body
	}
}

// aRedrive is a body that is taken.
const aRedrive = `{"action":"retry","reason":"acme-1 was down","filter":{"status":["failed"],"vendor":"acme-1"}}`

// redriven stores a re-drive.
func (o *office) redriven(change func(*message.Redrive)) *message.Redrive {
	o.t.Helper()
	r := &message.Redrive{ID: message.NewID(), By: shellActor, Reason: "acme-1 was down", Action: message.RedriveRetry, Filter: message.Filter{Vendor: "acme-1", CreatedBefore: o.clock.now()},
		Limit: 100, PerSecond: 50, Status: message.RedriveRunning, CreatedAt: o.clock.now()}
	if change != nil {
		change(r)
	}
	if _, err := o.db.CreateRedrive(o.ctx, r, nil); err != nil {
		o.t.Fatal(err)
	}
	return r
}

func aboutRedriveOne(suffix string) func(*office) (string, string) {
	return func(o *office) (string, string) { return redrivePath + "/" + o.redriven(nil).ID.String() + suffix, "" }
}

func aboutMessage(suffix, body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		return messagePath + strings.Replace(suffix, "{id}", o.message(nil).ID.String(), 1), body
	}
}

// aboutEnded is about a message that has failed.
func aboutEnded(suffix string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		m := o.message(nil)
		o.advance(message.Change{MessageID: m.ID, To: message.StatusFailed, Error: message.Refuse(message.ReasonVendorUnreachable, "")})
		return messagePath + strings.Replace(suffix, "{id}", m.ID.String(), 1), ""
	}
}

// aboutDoubted is about a message in doubt.
func aboutDoubted(suffix, body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		return messagePath + strings.Replace(suffix, "{id}", o.doubted(1, 0).ID.String(), 1), body
	}
}

// advance writes a change of a message.
func (o *office) advance(c message.Change) {
	o.t.Helper()
	a, err := o.db.Advance(o.ctx, c)
	if err != nil || !a.Changed {
		o.t.Fatalf("%+v: %+v, %v", c, a, err)
	}
}

// doubted is a message of so many parts in doubt, behind those that were taken.
func (o *office) doubted(parts, taken int) *message.Message {
	o.t.Helper()
	vendor := message.VendorRef{ID: message.NewID(), Name: "acme-1"}
	m := o.message(func(m *message.Message) {
		m.Segments, m.Delivery, m.Class = parts+taken, message.AtMostOnce, message.ClassConversation
	})
	send := message.Change{MessageID: m.ID, To: message.StatusSending, Vendor: vendor}
	answer := message.Change{MessageID: m.ID, To: message.StatusInDoubt}
	for p := 1; p <= parts+taken; p++ {
		send.Attempts = append(send.Attempts, message.Attempt{Part: p, Number: 1, Vendor: vendor, Instance: "gw"})
		a := message.Answer{Part: p, Attempt: 1, State: message.PartInDoubt, Reason: message.ReasonSubmitInDoubt}
		if p <= taken {
			a = message.Answer{Part: p, Attempt: 1, State: message.PartSubmitted, NormalizedID: m.ID.String() + string(rune('0'+p))}
		}
		answer.Answers = append(answer.Answers, a)
	}
	o.advance(message.Change{MessageID: m.ID, To: message.StatusQueued})
	o.advance(send)
	o.advance(answer)
	return m
}

// eachOperation calls visit with each operation of the internal API that asks who
// it is.
func eachOperation(t *testing.T, visit func(op *huma.Operation, a access)) {
	t.Helper()
	n := 0
	for _, item := range adminOperations(t).Paths {
		for _, op := range operationsOf(item) {
			a, _ := op.Metadata["access"].(access)
			if op.OperationID == "issueStaffToken" { // the way in
				if a.internal() {
					t.Error("one must be logged in to log in")
				}
				continue
			}
			visit(op, a)
			n++
		}
	}
	if n < len(adminSamples) {
		t.Errorf("%d operations and %d samples", n, len(adminSamples))
	}
}

// aboutWebhook asks about a delivery that has failed.
func aboutWebhook(rest string) func(o *office) (string, string) {
	return func(o *office) (string, string) {
		n := message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: accountA, Type: "endpoint.test", URL: "https://shop.example", Payload: "{}"}
		if err := o.db.RecordTested(o.ctx, n, message.NotificationAttempt{State: message.NotificationFailed, HTTPStatus: 500}); err != nil {
			o.t.Fatal(err)
		}
		return adminDeliveryPath + "/" + n.ID.String() + rest, ""
	}
}

// No operation is for anybody, or for customers, by having been forgotten.
func TestEveryOperationSaysWhoMay(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(op *huma.Operation, a access) {
		sample, ok := adminSamples[op.OperationID]
		switch {
		case !a.internal() || a.scope != "" || a.rate != asStaff && (a.rate != asService || a.service == ""):
			t.Errorf("%s does not say which staff may: give it staff(…) or anyStaff()", op.OperationID)
		case len(a.roles) > 0 && !slices.Contains(a.roles, snapshot.RoleAdmin):
			t.Errorf("%s is not for admin", op.OperationID)
		case !ok && len(a.roles) > 0 && !slices.Contains(op.Tags, behalfTag):
			t.Errorf("%s has no row in adminSamples", op.OperationID)
		case !isInternal(op.Path):
			t.Errorf("%s is at %s, which is public", op.OperationID, op.Path)
		case op.Method != http.MethodGet && ok && sample.action == "" && !sample.harmless:
			t.Errorf("the audit log says nothing of %s", op.OperationID)
		}
	})
}

// Every role at every operation: it may or it may not, the answer is as documented,
// and the audit log tells of it.
func TestRoles(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	doc := adminDocument(t)
	eachOperation(t, func(op *huma.Operation, a access) {
		sample, ok := adminSamples[op.OperationID]
		if !ok {
			return
		}
		for _, role := range snapshot.Roles() {
			o.clock.advance(time.Second)
			path, body := op.Path, ""
			if sample.ask != nil {
				path, body = sample.ask(o)
			}
			token := o.by(role)
			before := o.last().ID
			with := func(*http.Request) {}
			if slices.Contains(a.bodies, csvType) {
				with = header("Content-Type", csvType)
			}
			r := o.do(op.Method, path, body, token, with)
			may := slices.Contains(strings.Fields(sample.who), string(role))
			if r.StatusCode != http.StatusNoContent && !strings.HasPrefix(r.Header.Get("Content-Type"), csvType) {
				doc.check(strings.ToLower(op.Method), op.Path, r)
			}
			last := o.last()
			if !may {
				wantProblem(t, r, http.StatusForbidden, message.ReasonForbidden)
				if last.ID != before {
					t.Errorf("%s by %s: it was refused, and the audit log has %s", op.OperationID, role, last.Action)
				}
				continue
			}
			if r.StatusCode != sample.status {
				t.Errorf("%s by %s: %d, want %d: %s", op.OperationID, role, r.StatusCode, sample.status, r.body)
			}
			o.wantLine(op.OperationID, sample, role, before)
		}
	})
}

// wantLine looks for the line that the audit log must have about a request, after
// the line before.
func (o *office) wantLine(operation string, s sample, role snapshot.Role, before int64) {
	o.t.Helper()
	told := s.action != "" && (s.by == "" || slices.Contains(strings.Fields(s.by), string(role)))
	lines, err := o.db.AuditLog(o.ctx, message.AuditFilter{Actor: string(role) + "@gw.example"}, 0, 2)
	if err != nil {
		o.t.Fatal(err)
	}
	found := false
	for _, l := range lines {
		if l.ID > before && l.By.Role != "registry" { // what the registry made of it
			found = found || l.Action == s.action
			if l.By.Role != string(role) || l.By.Address != "127.0.0.1" {
				o.t.Errorf("%s by %s: the audit log says %+v", operation, role, l.By)
			}
			if !told {
				o.t.Errorf("%s by %s: the audit log has %s", operation, role, l.Action)
			}
		}
	}
	if told && !found {
		o.t.Errorf("%s by %s: the audit log lacks %s", operation, role, s.action)
	}
}

// Nobody else gets in: without a token, with one of a customer, a customer's key,
// or as a service.
func TestStrangersAtTheInternalAPI(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) { o.server.FailedPerMinute = 1000 })
	customer := o.do("POST", "/v1/auth/token", "", as("keyA")).json(t)["access_token"].(string)
	service := o.serviceToken()
	eachOperation(t, func(op *huma.Operation, a access) {
		o.clock.advance(time.Second)
		path, body := op.Path, ""
		if s := adminSamples[op.OperationID]; s.ask != nil {
			path, body = s.ask(o)
		}
		before := o.last().ID
		for name, who := range map[string]func(*http.Request){
			"nobody": func(*http.Request) {}, "a customer's token": bearer(customer), "a customer's key": as("keyA"), "a made-up token": bearer("e30.e30.e30"),
		} {
			r := o.do(op.Method, path, body, who)
			wantProblem(t, r, http.StatusUnauthorized, message.ReasonUnauthenticated)
			if got := r.Header.Values("WWW-Authenticate"); len(got) != 1 || !strings.HasPrefix(got[0], "Bearer ") {
				t.Errorf("%s as %s: %v", op.OperationID, name, got)
			}
		}
		if a.service == "" {
			wantProblem(t, o.do(op.Method, path, body, bearer(service)), http.StatusForbidden, message.ReasonForbidden)
		}
		if o.last().ID != before {
			t.Errorf("%s: a stranger changed something: %+v", op.OperationID, o.last())
		}
	})
}
