package rest

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// ownStore keeps accounts with what belongs to them in memory, as the tables do.
type ownStore struct {
	mu       sync.Mutex
	ingress  *fakeIngress // has the answers of keys
	accounts map[message.ID]snapshot.Customer
	numbers  map[message.Address]snapshot.NumberState
	keys     map[message.ID]snapshot.CredentialState
	esmes    map[message.ID]snapshot.SMPPCredentialState
	users    map[message.ID]snapshot.PortalUser
	hashes   map[message.ID]string
	by       []message.Actor
	invited  []Invitation
	sent     int
	fails    error // of e-mails
}

// withOwn puts such a store behind every operation, and gives keyA and keyB every scope.
func withOwn(b *bundle) *ownStore {
	f := &ownStore{ingress: b.ingress, accounts: map[message.ID]snapshot.Customer{}, numbers: map[message.Address]snapshot.NumberState{},
		keys: map[message.ID]snapshot.CredentialState{}, esmes: map[message.ID]snapshot.SMPPCredentialState{}, users: map[message.ID]snapshot.PortalUser{}, hashes: map[message.ID]string{}}
	for id, a := range b.config.Accounts {
		c := snapshot.Customer{Account: *a, CreatedAt: began, UpdatedAt: began}
		c.TimeZone, c.DefaultClass, c.Delivery, c.MediaTranscoding, c.MaxParts, c.DefaultCountry = "UTC", message.ClassConversation, message.AtMostOnce, "auto", 10, "US"
		f.accounts[id] = c
	}
	for name, n := range map[message.Address]message.ID{"+12025550143": accountA, "+12025550144": accountA, "+12025550199": accountB} {
		f.numbers[name] = snapshot.NumberState{Number: snapshot.Number{Number: name, AccountID: n, Type: snapshot.LongCode, SMSEnabled: true, Verification: "unverified"}, CreatedAt: began, UpdatedAt: began}
	}
	for _, c := range b.config.Credentials {
		if c.Key != "keyRO" {
			c.Scopes = grantable()
		}
		f.keys[c.ID] = snapshot.CredentialState{Credential: *c, CreatedAt: began, UpdatedAt: began}
	}
	b.config.Numbers = map[message.Address]*snapshot.Number{}
	for name, n := range f.numbers {
		b.config.Numbers[name] = &n.Number
	}
	b.config.Index()
	s := b.server
	s.Accounts, s.Credentials, s.ESMEs, s.Users = f, f, f, f
	s.HashSecret = func(word string) []byte { return []byte("hash of " + word) }
	s.Invite = func(_ context.Context, i Invitation) error { f.invited = append(f.invited, i); return f.fails }
	return f
}

// kept is a row that belongs to an account.
func kept[K comparable, T any](rows map[K]T, id K, mine func(T) bool) (T, error) {
	row, ok := rows[id]
	if !ok || !mine(row) {
		var none T
		return none, message.Refuse(message.ReasonNotFound, "there is no such thing")
	}
	return row, nil
}

func changeKept[K comparable, T any](f *ownStore, by message.Actor, rows map[K]T, id K, mine func(T) bool, change func(*T) error) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	row, err := kept(rows, id, mine)
	if err == nil {
		err = change(&row)
	}
	if err == nil {
		rows[id], f.by = row, append(f.by, by)
	}
	return row, err
}

func made[T any](f *ownStore, row T, answer func(T) (message.Idempotency, error)) (T, *message.Idempotency, error) {
	if answer != nil {
		k, err := answer(row)
		if err != nil {
			return row, nil, err
		}
		f.ingress.mu.Lock()
		f.ingress.answers[k.AccountID.String()+k.Operation+k.Key] = k
		f.ingress.mu.Unlock()
	}
	return row, nil, nil
}

func (f *ownStore) Customer(_ context.Context, id message.ID) (snapshot.Customer, error) {
	return kept(f.accounts, id, func(snapshot.Customer) bool { return true })
}
func (f *ownStore) ChangeOwnAccount(_ context.Context, by message.Actor, id message.ID, change func(*snapshot.Customer) error) (snapshot.Customer, error) {
	return changeKept(f, by, f.accounts, id, func(snapshot.Customer) bool { return true }, change)
}
func (f *ownStore) OwnNumbers(_ context.Context, account message.ID, filter snapshot.NumberFilter, after message.Address, limit int) (list []snapshot.NumberState, _ error) {
	for _, name := range []message.Address{"+12025550143", "+12025550144", "+12025550199"} {
		if n := f.numbers[name]; n.AccountID == account && name > after && len(list) < limit && (filter.Tag == "" || filter.Tag == n.Tag) {
			list = append(list, n)
		}
	}
	return list, nil
}
func (f *ownStore) OwnNumber(_ context.Context, account message.ID, number message.Address) (snapshot.NumberState, error) {
	return kept(f.numbers, number, func(n snapshot.NumberState) bool { return n.AccountID == account })
}
func (f *ownStore) ChangeOwnNumber(_ context.Context, by message.Actor, account message.ID, number message.Address, change func(*snapshot.NumberState) error) (snapshot.NumberState, error) {
	return changeKept(f, by, f.numbers, number, func(n snapshot.NumberState) bool { return n.AccountID == account }, change)
}

func ofKey(account message.ID) func(snapshot.CredentialState) bool {
	return func(c snapshot.CredentialState) bool { return c.AccountID == account }
}
func (f *ownStore) OwnCredentials(_ context.Context, account, _ message.ID, _ int) (list []snapshot.CredentialState, _ error) {
	for _, c := range f.keys {
		if c.AccountID == account {
			list = append(list, c)
		}
	}
	return list, nil
}
func (f *ownStore) OwnCredential(_ context.Context, account, id message.ID) (snapshot.CredentialState, error) {
	return kept(f.keys, id, ofKey(account))
}
func (f *ownStore) AddOwnCredential(_ context.Context, by message.Actor, c snapshot.Credential, _ int, answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error) {
	row := snapshot.CredentialState{Credential: c, CreatedAt: began, UpdatedAt: began}
	f.keys[c.ID], f.by, f.hashes[c.ID] = row, append(f.by, by), string(c.SecretHash)
	return made(f, row, answer)
}
func (f *ownStore) ChangeOwnCredential(_ context.Context, by message.Actor, account, id message.ID, change func(*snapshot.CredentialState) error) (snapshot.CredentialState, error) {
	return changeKept(f, by, f.keys, id, ofKey(account), change)
}
func (f *ownStore) RegenerateOwnCredential(_ context.Context, by message.Actor, account, id message.ID, hash []byte, overlap time.Duration, check func(snapshot.CredentialState) error, answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error) {
	row, err := changeKept(f, by, f.keys, id, ofKey(account), func(c *snapshot.CredentialState) error {
		c.PreviousUntil = began.Add(overlap)
		return check(*c)
	})
	if err != nil {
		return row, nil, err
	}
	f.hashes[id] = string(hash)
	return made(f, row, answer)
}
func (f *ownStore) RevokeOwnCredential(_ context.Context, by message.Actor, account, id message.ID, check func(snapshot.CredentialState) error) error {
	_, err := changeKept(f, by, f.keys, id, ofKey(account), func(c *snapshot.CredentialState) error { return check(*c) })
	if err == nil {
		delete(f.keys, id)
	}
	return err
}

func ofESME(account message.ID) func(snapshot.SMPPCredentialState) bool {
	return func(c snapshot.SMPPCredentialState) bool { return c.AccountID == account }
}
func (f *ownStore) OwnSMPPCredentials(_ context.Context, account, _ message.ID, _ int) (list []snapshot.SMPPCredentialState, _ error) {
	for _, c := range f.esmes {
		if c.AccountID == account {
			list = append(list, c)
		}
	}
	return list, nil
}
func (f *ownStore) OwnSMPPCredential(_ context.Context, account, id message.ID) (snapshot.SMPPCredentialState, error) {
	return kept(f.esmes, id, ofESME(account))
}
func (f *ownStore) AddOwnSMPPCredential(_ context.Context, by message.Actor, c snapshot.SMPPCredential, _ int, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (snapshot.SMPPCredentialState, *message.Idempotency, error) {
	f.hashes[c.ID] = c.PasswordHash
	c.PasswordHash, c.LongMO = "", "udh"
	row := snapshot.SMPPCredentialState{SMPPCredential: c, CreatedAt: began, UpdatedAt: began}
	f.esmes[c.ID], f.by = row, append(f.by, by)
	return made(f, row, answer)
}
func (f *ownStore) ChangeOwnSMPPCredential(_ context.Context, by message.Actor, account, id message.ID, change func(*snapshot.SMPPCredentialState) error) (snapshot.SMPPCredentialState, error) {
	return changeKept(f, by, f.esmes, id, ofESME(account), change)
}
func (f *ownStore) RegenerateOwnSMPPCredential(_ context.Context, by message.Actor, account, id message.ID, hash string, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (snapshot.SMPPCredentialState, *message.Idempotency, error) {
	row, err := changeKept(f, by, f.esmes, id, ofESME(account), func(*snapshot.SMPPCredentialState) error { return nil })
	if err != nil {
		return row, nil, err
	}
	f.hashes[id] = hash
	return made(f, row, answer)
}
func (f *ownStore) RemoveOwnSMPPCredential(_ context.Context, by message.Actor, account, id message.ID, check func(snapshot.SMPPCredentialState) error) error {
	_, err := changeKept(f, by, f.esmes, id, ofESME(account), func(c *snapshot.SMPPCredentialState) error { return check(*c) })
	return err
}
func (f *ownStore) OwnSMPPSessions(_ context.Context, account, id message.ID) ([]snapshot.SMPPSession, error) {
	_, err := kept(f.esmes, id, ofESME(account))
	return []snapshot.SMPPSession{{ID: id, Mode: "transceiver", Version: 0x34, BoundAt: began, SeenAt: began}}, err
}

func ofUser(account message.ID) func(snapshot.PortalUser) bool {
	return func(u snapshot.PortalUser) bool { return u.AccountID == account }
}
func (f *ownStore) PortalUsers(_ context.Context, account, _ message.ID, _ int) (list []snapshot.PortalUser, _ error) {
	for _, u := range f.users {
		if u.AccountID == account {
			list = append(list, u)
		}
	}
	return list, nil
}
func (f *ownStore) InvitePortalUser(_ context.Context, by message.Actor, u snapshot.PortalUser, _ int, token []byte, good time.Duration, answer func(snapshot.PortalUser) (message.Idempotency, error)) (snapshot.PortalUser, *message.Idempotency, error) {
	u.Active, u.CreatedAt, u.UpdatedAt, u.Invitation.ExpiresAt = true, began, began, began.Add(good)
	f.users[u.ID], f.by, f.hashes[u.ID] = u, append(f.by, by), string(token)
	return made(f, u, answer)
}
func (f *ownStore) InviteAgain(_ context.Context, by message.Actor, account, id message.ID, token []byte, good time.Duration) (snapshot.PortalUser, error) {
	f.hashes[id] = string(token)
	return changeKept(f, by, f.users, id, ofUser(account), func(u *snapshot.PortalUser) error { u.Invitation.ExpiresAt = began.Add(good); return nil })
}
func (f *ownStore) InvitationSent(context.Context, message.ID, []byte) error { f.sent++; return nil }
func (f *ownStore) ChangePortalUser(_ context.Context, by message.Actor, account, id message.ID, change func(*snapshot.PortalUser) error) (snapshot.PortalUser, error) {
	return changeKept(f, by, f.users, id, ofUser(account), change)
}
func (f *ownStore) RemovePortalUser(_ context.Context, by message.Actor, account, id message.ID, check func(snapshot.PortalUser) error) error {
	_, err := changeKept(f, by, f.users, id, ofUser(account), func(u *snapshot.PortalUser) error { return check(*u) })
	return err
}

func setupOwn(t *testing.T, change func(*bundle, *ownStore)) (*bundle, *ownStore) {
	t.Helper()
	var f *ownStore
	b := setup(t, func(b *bundle) {
		f = withOwn(b)
		if change != nil {
			change(b, f)
		}
	})
	return b, f
}

func want(t testing.TB, r *reply, status int) map[string]any {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%d, want %d: %s", r.StatusCode, status, r.body)
	}
	if status == http.StatusNoContent {
		return nil
	}
	return r.json(t)
}

func TestAccount(t *testing.T) {
	t.Parallel()
	b, f := setupOwn(t, nil)
	doc := document(t)
	r := b.do("GET", "/v1/account", "", as("keyA"))
	doc.check("get", "/v1/account", r)
	tag := r.Header.Get("ETag")
	if got := want(t, r, 200); got["name"] != "A" || got["time_zone"] != "UTC" || tag == "" {
		t.Errorf("%v, ETag %s", got, tag)
	}
	r = b.do("PATCH", "/v1/account", `{"time_zone":"America/New_York","max_parts":6,"ordered_conversations":true,"media_transcoding":"bypass","content_retention_days":0}`, as("keyA"), header("If-Match", tag))
	doc.check("patch", "/v1/account", r)
	if got := want(t, r, 200); got["time_zone"] != "America/New_York" || got["max_parts"] != 6.0 || got["ordered_conversations"] != true || got["media_transcoding"] != "bypass" || got["name"] != "A" || got["content_retention_days"] != 0.0 {
		t.Error(got)
	}
	if f.by[0].Name != "credential "+credentialA.String() || f.by[0].Role != "customer" {
		t.Errorf("by %+v", f.by[0])
	}
	wantProblem(t, b.do("PATCH", "/v1/account", `{"max_parts":5}`, as("keyA"), header("If-Match", tag)), 412, message.ReasonConflict)
	if got := want(t, b.do("PATCH", "/v1/account", `{"ordered_conversations":null}`, as("keyA")), 200); got["ordered_conversations"] != nil {
		t.Error(got)
	}
	for body, field := range map[string]string{
		`{"allowed_source_addresses":["X"]}`: "allowed_source_addresses", `{"force_source_address":"X"}`: "force_source_address", `{"status":"closed"}`: "status",
		`{"time_zone":"Mars/North"}`: "time_zone", `{"time_zone":"Local"}`: "time_zone", `{"time_zone":""}`: "time_zone", `{"max_parts":256}`: "max_parts", `{"max_parts":0}`: "max_parts",
		`{"name":""}`: "name", `{"default_country":"us"}`: "default_country", `{"content_retention_days":3651}`: "content_retention_days", `{"colour":"red"}`: "colour",
	} {
		p := wantProblem(t, b.do("PATCH", "/v1/account", body, as("keyA")), 422, message.ReasonInvalidRequest)
		if !strings.Contains(p["detail"].(string), field) {
			t.Errorf("%s: %v", body, p["detail"])
		}
	}
	wantProblem(t, b.do("PATCH", "/v1/account", `{`, as("keyA")), 400, message.ReasonInvalidRequest)
	wantProblem(t, b.do("GET", "/v1/account", "", as("keyRO")), 403, message.ReasonForbidden)
	if f.accounts[accountA].MaxParts != 6 || f.accounts[accountB].MaxParts != 10 {
		t.Error("a refused change was made")
	}
}

func TestConnectionInfo(t *testing.T) {
	t.Parallel()
	b, _ := setupOwn(t, func(b *bundle, _ *ownStore) {
		b.server.Connection = Connection{APIURL: "https://gw.example", SMPPHost: "smpp.gw.example", SMPPPort: 2775, SourceAddresses: []string{"192.0.2.10"}}
	})
	r := b.do("GET", "/v1/connection-info", "", as("keyA"))
	document(t).check("get", "/v1/connection-info", r)
	if got := string(r.body); !strings.Contains(got, `"smpp":{"host":"smpp.gw.example","port":2775,"tls_port":null},"mm4":{"host":null,"port":null,"domain":null},"source_addresses":["192.0.2.10"]`) {
		t.Error(got)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	b, f := setupOwn(t, nil)
	doc := document(t)
	r := b.do("GET", "/v1/numbers?limit=1", "", as("keyA"))
	doc.check("get", "/v1/numbers", r)
	first := want(t, r, 200)
	rest := want(t, b.do("GET", "/v1/numbers?limit=1&cursor="+first["next_cursor"].(string), "", as("keyA")), 200)
	if len(first["data"].([]any)) != 1 || rest["data"].([]any)[0].(map[string]any)["number"] != "+12025550144" || rest["next_cursor"] != nil {
		t.Errorf("%v, %v", first, rest)
	}
	wantProblem(t, b.do("GET", "/v1/numbers?cursor=x", "", as("keyA")), 422, message.ReasonInvalidRequest)
	for _, path := range []string{"/v1/numbers/%2B12025550143", "/v1/numbers/12025550143"} {
		r = b.do("PATCH", path, `{"tag":"support","group":null}`, as("keyA"))
		doc.check("patch", "/v1/numbers/{number}", r)
		if got := want(t, r, 200); got["tag"] != "support" || got["group"] != nil {
			t.Error(got)
		}
		got := b.do("GET", path, "", as("keyA"))
		if want(t, got, 200)["tag"] != "support" || got.Header.Get("ETag") != r.Header.Get("ETag") {
			t.Errorf("%s", got.body)
		}
	}
	wantProblem(t, b.do("PATCH", "/v1/numbers/12025550143", `{"tag":"x"}`, as("keyA"), header("If-Match", `"other"`)), 412, message.ReasonConflict)
	for _, body := range []string{`{"sms_enabled":false}`, `{"tag":"` + strings.Repeat("x", 65) + `"}`, `{"tag":7}`} {
		wantProblem(t, b.do("PATCH", "/v1/numbers/12025550143", body, as("keyA")), 422, message.ReasonInvalidRequest)
	}
	for _, path := range []string{"/v1/numbers/12025550199", "/v1/numbers/13105550117", "/v1/numbers/x"} {
		wantProblem(t, b.do("GET", path, "", as("keyA")), 404, message.ReasonNotFound)
	}
	if f.numbers["+12025550199"].Tag != "" {
		t.Error("another's number was changed")
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	b, f := setupOwn(t, nil)
	doc := document(t)
	const body = `{"name":"shop","scopes":["messages:write"],"allowed_numbers":["+12025550143"],"allowed_ips":["192.0.2.7","198.51.100.0/24"],"rate_limit":5,"expires_at":"2027-01-01T00:00:00Z"}`
	r := b.do("POST", credentialPath, body, as("keyA"), header("Idempotency-Key", "one"))
	doc.check("post", credentialPath, r)
	c := want(t, r, 201)
	id, word := c["id"].(string), c["secret"].(string)
	if f.hashes[uuidOf(t, id)] != "hash of "+word || r.Header.Get("Location") != credentialPath+"/"+id || len(c["allowed_ips"].([]any)) != 2 {
		t.Errorf("%v, Location %s", c, r.Header.Get("Location"))
	}
	r = b.do("POST", credentialPath, body, as("keyA"), header("Idempotency-Key", "one"))
	doc.check("post", credentialPath, r)
	if again := want(t, r, 201); again["id"] != id || again["secret"] != nil || r.Header.Get("Idempotency-Replayed") != "true" || !strings.Contains(string(r.body), `"secret":null`) {
		t.Errorf("%s", r.body)
	}
	one := credentialPath + "/" + id
	r = b.do("GET", one, "", as("keyA"))
	doc.check("get", credentialPath+"/{id}", r)
	if strings.Contains(string(r.body), word) || strings.Contains(string(r.body), "secret") {
		t.Errorf("shown again: %s", r.body)
	}
	r = b.do("PATCH", one, `{"allowed_ips":null,"expires_at":null,"name":"other"}`, as("keyA"), header("If-Match", r.Header.Get("ETag")))
	if got := want(t, r, 200); got["name"] != "other" || len(got["allowed_ips"].([]any)) != 0 || got["expires_at"] != nil || got["rate_limit"] != 5.0 {
		t.Error(got)
	}
	r = b.do("POST", one+"/regenerate", `{"overlap_seconds":60}`, as("keyA"))
	doc.check("post", credentialPath+"/{id}/regenerate", r)
	if got := want(t, r, 200); got["secret"] == word || f.hashes[uuidOf(t, id)] != "hash of "+got["secret"].(string) || got["previous_until"] == nil || got["key"] != c["key"] {
		t.Error(got)
	}
	want(t, b.do("POST", one+"/regenerate", "", as("keyA")), 200)
	for body, status := range map[string]int{`{"scopes":[]}`: 422, `{}`: 422, `{"scopes":["everything"]}`: 422, `{"scopes":["messages:read"],"allowed_numbers":["+12025550199"]}`: 422,
		`{"scopes":["messages:read"],"allowed_ips":["192.0.2.7/24"]}`: 422, `{"scopes":["messages:read"],"expires_at":"2026-01-01T00:00:00Z"}`: 422, `{"scopes":["messages:read"],"secret":"x"}`: 422} {
		if r := b.do("POST", credentialPath, body, as("keyA")); r.StatusCode != status {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	wantProblem(t, b.do("DELETE", credentialPath+"/"+credentialA.String(), "", as("keyA")), 409, message.ReasonConflict)
	want(t, b.do("DELETE", one, "", as("keyA")), 204)
	wantProblem(t, b.do("GET", one, "", as("keyA")), 404, message.ReasonNotFound)
	if strings.Contains(b.log.String(), word) {
		t.Error("the secret is in the log")
	}
}

// A credential hands on nothing that it has not got: neither scopes nor numbers, networks,
// rate and time beyond its own, by whatever operation.
func TestNobodyGivesMoreThanHeHas(t *testing.T) {
	t.Parallel()
	b, _ := setupOwn(t, func(b *bundle, f *ownStore) {
		c := b.config.Credentials["keyA"]
		c.Scopes = []string{scopeCredentialsWrite, scopeAccountWrite, scopeMessagesRead}
		c.AllowedNumbers, c.RateLimit, c.ExpiresAt = []string{"+12025550143"}, 5, began.Add(time.Hour)
		c.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	const within = `"allowed_numbers":["+12025550143"],"allowed_ips":["127.0.0.1"],"rate_limit":5,"expires_at":"2026-11-21T21:00:00Z"`
	id := want(t, b.do("POST", credentialPath, `{"scopes":["messages:read"],`+within+`}`, as("keyA")), 201)["id"].(string)
	for _, body := range []string{
		`{"scopes":["messages:write"],` + within + `}`,
		`{"scopes":["messages:read"],` + strings.Replace(within, `"+12025550143"`, `"+12025550143","+12025550144"`, 1) + `}`,
		`{"scopes":["messages:read"],` + strings.Replace(within, `"+12025550143"`, ``, 1) + `}`,
		`{"scopes":["messages:read"],` + strings.Replace(within, `127.0.0.1"`, `126.0.0.0/7"`, 1) + `}`,
		`{"scopes":["messages:read"],` + strings.Replace(within, `:5`, `:6`, 1) + `}`,
		`{"scopes":["messages:read"],` + strings.Replace(within, `2026`, `2027`, 1) + `}`,
		`{"scopes":["messages:read"]}`,
	} {
		wantProblem(t, b.do("POST", credentialPath, body, as("keyA")), 403, message.ReasonForbidden)
	}
	one := credentialPath + "/" + id
	for _, body := range []string{`{"scopes":["messages:write"]}`, `{"allowed_numbers":null}`, `{"allowed_ips":null}`, `{"rate_limit":0}`, `{"expires_at":null}`} {
		wantProblem(t, b.do("PATCH", one, body, as("keyA")), 403, message.ReasonForbidden)
	}
	want(t, b.do("PATCH", one, `{"name":"fine"}`, as("keyA")), 200)
	wantProblem(t, b.do("POST", credentialPath+"/"+credentialRO.String()+"/regenerate", "", as("keyA")), 403, message.ReasonForbidden)
	want(t, b.do("POST", one+"/regenerate", "", as("keyA")), 200)
	wantProblem(t, b.do("POST", esmePath, `{}`, as("keyA")), 403, message.ReasonForbidden)
	wantProblem(t, b.do("POST", userPath, `{"email":"a@shop.example","scopes":["messages:write"]}`, as("keyA")), 403, message.ReasonForbidden)
	want(t, b.do("POST", userPath, `{"email":"a@shop.example","scopes":["messages:read"]}`, as("keyA")), 201)
}

// Whoever may come from some networks only, or for a time, gives nobody a bind for more.
func TestNobodyBindsFromWhereHeMayNot(t *testing.T) {
	t.Parallel()
	b, _ := setupOwn(t, func(b *bundle, _ *ownStore) {
		c := b.config.Credentials["keyA"]
		c.Scopes = []string{scopeCredentialsWrite, scopeMessagesRead, scopeMessagesWrite}
		c.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		ends := b.config.Credentials["keyRO"]
		ends.Scopes, ends.ExpiresAt = c.Scopes, began.Add(time.Hour)
	})
	wantProblem(t, b.do("POST", esmePath, `{}`, as("keyA")), 403, message.ReasonForbidden)
	wantProblem(t, b.do("POST", esmePath, `{"allowed_ips":["192.0.2.0/24"]}`, as("keyA")), 403, message.ReasonForbidden)
	one := esmePath + "/" + want(t, b.do("POST", esmePath, `{"allowed_ips":["127.0.0.1"]}`, as("keyA")), 201)["id"].(string)
	wantProblem(t, b.do("PATCH", one, `{"allowed_ips":null}`, as("keyA")), 403, message.ReasonForbidden)
	want(t, b.do("PATCH", one, `{"enabled":false}`, as("keyA")), 200)
	want(t, b.do("PATCH", one, `{"allowed_ips":["127.0.0.2"]}`, as("keyA")), 200)
	wantProblem(t, b.do("POST", esmePath, `{"allowed_ips":["127.0.0.1"]}`, as("keyRO")), 403, message.ReasonForbidden)
}

func TestSMPPCredentials(t *testing.T) {
	t.Parallel()
	b, f := setupOwn(t, func(b *bundle, _ *ownStore) {
		b.server.Connection = Connection{SMPPHost: "smpp.gw.example", SMPPPort: 2775}
	})
	doc := document(t)
	r := b.do("POST", esmePath, `{"max_binds":4,"throughput":499,"bind_types":["receiver"],"receipt_format":"text"}`, as("keyA"), header("Idempotency-Key", "one"))
	doc.check("post", esmePath, r)
	c := want(t, r, 201)
	id, word := c["id"].(string), c["password"].(string)
	if len(word) != 8 || len(c["system_id"].(string)) != 12 || c["receipt_format"] != "text" || c["connection_info"].(map[string]any)["host"] != "smpp.gw.example" || !strings.HasPrefix(f.hashes[uuidOf(t, id)], "$2a$") {
		t.Error(c)
	}
	r = b.do("POST", esmePath, `{"max_binds":4,"throughput":499,"bind_types":["receiver"],"receipt_format":"text"}`, as("keyA"), header("Idempotency-Key", "one"))
	if got := want(t, r, 201); got["id"] != id || !strings.Contains(string(r.body), `"password":null`) {
		t.Errorf("%s", r.body)
	}
	one := esmePath + "/" + id
	r = b.do("GET", one, "", as("keyA"))
	doc.check("get", esmePath+"/{id}", r)
	if strings.Contains(string(r.body), "password") {
		t.Errorf("shown again: %s", r.body)
	}
	if got := want(t, b.do("PATCH", one, `{"enabled":false,"mo_lifetime_seconds":60}`, as("keyA"), header("If-Match", r.Header.Get("ETag"))), 200); got["enabled"] != false || got["mo_lifetime_seconds"] != 60.0 {
		t.Error(got)
	}
	if got := want(t, b.do("POST", one+"/regenerate", `{"password_length":20}`, as("keyA")), 200); len(got["password"].(string)) != 20 {
		t.Error(got)
	}
	r = b.do("GET", one+"/sessions", "", as("keyA"))
	doc.check("get", esmePath+"/{id}/sessions", r)
	for _, body := range []string{`{"throughput":500}`, `{"system_id":"with space"}`, `{"system_id":"0123456789abcdef"}`, `{"password_length":7}`, `{"bind_types":[]}`, `{"password":"mine"}`, `{"allowed_ips":["x"]}`} {
		wantProblem(t, b.do("POST", esmePath, body, as("keyA")), 422, message.ReasonInvalidRequest)
	}
	wantProblem(t, b.do("PATCH", one, `{"throughput":501}`, as("keyA")), 422, message.ReasonInvalidRequest)
	wantProblem(t, b.do("PATCH", one, `{"system_id":"other"}`, as("keyA")), 422, message.ReasonInvalidRequest)
	want(t, b.do("DELETE", one, "", as("keyA")), 204)
	if strings.Contains(b.log.String(), word) {
		t.Error("the password is in the log")
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	b, f := setupOwn(t, nil)
	doc := document(t)
	r := b.do("POST", userPath, `{"email":"Ada@Shop.example","name":"Ada","scopes":["messages:read"]}`, as("keyA"), header("Idempotency-Key", "one"))
	doc.check("post", userPath, r)
	u := want(t, r, 201)
	link := f.invited[0].Link
	id, token := u["id"].(string), link[strings.LastIndexByte(link, '/')+1:]
	if u["email"] != "ada@shop.example" || u["invitation"] != "sent" || f.sent != 1 || len(token) < 40 || f.hashes[uuidOf(t, id)] != "hash of "+token || strings.Contains(string(r.body), token) {
		t.Errorf("%v, %+v", u, f.invited)
	}
	want(t, b.do("POST", userPath, `{"email":"Ada@Shop.example","name":"Ada","scopes":["messages:read"]}`, as("keyA"), header("Idempotency-Key", "one")), 201)
	if len(f.invited) != 1 {
		t.Error("a repeated request invites again")
	}
	one := userPath + "/" + id
	if got := want(t, b.do("PATCH", one, `{"active":false,"scopes":["usage:read","usage:read"],"name":null}`, as("keyA")), 200); got["active"] != false || len(got["scopes"].([]any)) != 1 || got["name"] != nil {
		t.Error(got)
	}
	f.fails = errors.New("away")
	if got := want(t, b.do("POST", one+"/invite", "", as("keyA")), 200); got["invitation"] != "not_sent" || len(f.invited) != 2 {
		t.Error(got)
	}
	doc.check("get", userPath, b.do("GET", userPath, "", as("keyA")))
	for _, body := range []string{`{"email":"nobody","scopes":["messages:read"]}`, `{"email":"a@b.example"}`, `{"scopes":["messages:read"]}`, `{"email":"a@b.example","scopes":["x"]}`} {
		wantProblem(t, b.do("POST", userPath, body, as("keyA")), 422, message.ReasonInvalidRequest)
	}
	wantProblem(t, b.do("PATCH", one, `{"email":"b@b.example"}`, as("keyA")), 422, message.ReasonInvalidRequest)
	want(t, b.do("DELETE", one, "", as("keyA")), 204)
	if strings.Contains(b.log.String(), token) {
		t.Error("a link is in the log")
	}
	b.server.Invite = nil
	wantProblem(t, b.do("POST", userPath, `{"email":"c@shop.example","scopes":["messages:read"]}`, as("keyA")), 503, message.ReasonUnavailable)
}
