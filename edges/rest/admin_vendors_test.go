package rest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

// vendor makes one.
func (o *office) vendor() snapshot.VendorState {
	o.t.Helper()
	var f vendorconf.Faults
	v := vendorconf.NewVendor("v-"+message.NewID().String(), "smpp", &f)
	v.Host, v.Port, v.Username, v.Password = "smsc.example", 2775, "us", "topsecret"
	made, err := o.db.AddVendor(o.ctx, shellActor, v)
	if err != nil || len(f) > 0 {
		o.t.Fatal(err, f)
	}
	return made
}

func aboutVendor(suffix, body string) func(*office) (string, string) {
	return func(o *office) (string, string) { return vendorPath + "/" + o.vendor().ID.String() + suffix, body }
}

func (o *office) testVendor(_ context.Context, v *snapshot.Vendor) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return "bound as " + v.Username, o.says
}

func (o *office) queueSize(_ context.Context, vendor string) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n, ok := o.queued[vendor]; ok {
		return n, nil
	}
	return 0, errors.New("nobody knows")
}

func (o *office) vendorLinks(context.Context) ([]message.VendorLinkState, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.links), nil
}

const vendorDoc = `{"instance_name":"acme-1","provider_type":"smpp","host":"smsc.acme.example","port":2776,"username":"postrider","password":"pa55word",
	"throughput":50,"cost_per_sms":"0.0031","pass_tlvs":["0x1403","020a"],"code_map":{"45":"unknown_subscriber"},"source_ton":5,"vendor_replies":"vendor",
	"outbind_system_id":"acme","outbind_password":"0utbind","outbind_allowed_ips":["198.51.100.0/24"],"signing_keys":["k2","k1"]}`

func TestVendorLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	r := o.do("POST", vendorPath, vendorDoc, by)
	made := r.json(t)
	if r.StatusCode != 201 || r.Header.Get("ETag") == "" || made["throughput"] != 50.0 || made["cost_per_sms"] != "0.0031" || made["password_set"] != true ||
		made["signing_keys_set"] != 2.0 || made["source_ton"] != 5.0 || made["dest_ton"] != nil || made["max_binds"] != 1.0 || made["is_active"] != true ||
		made["vendor_replies"] != "vendor" || made["health_status"] != "unknown" || fmt.Sprint(made["pass_tlvs"], made["code_map"], made["outbind_allowed_ips"]) != "[1403 020A] map[45:unknown_subscriber] [198.51.100.0/24]" {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	id := message.ID{}
	if err := id.UnmarshalText([]byte(made["id"].(string))); err != nil {
		t.Fatal(err)
	}
	v := o.snapshot().Vendors[id]
	if v == nil || v.Password != "pa55word" || v.OutbindPassword != "0utbind" || !slices.Equal(v.SigningKeys, []string{"k2", "k1"}) || v.CostPerSMS != 3100 || *v.SourceTON != 5 || v.Replies != snapshot.RepliesVendor {
		t.Errorf("in the configuration: %+v", v)
	}
	path := r.Header.Get("Location")
	if again := o.do("POST", vendorPath, vendorDoc, by); again.StatusCode != 409 {
		t.Errorf("a name twice: %d %s", again.StatusCode, again.body)
	}
	// By name as by id; every role reads.
	read := o.do("GET", vendorPath+"/acme-1", "", o.by(snapshot.RoleViewer))
	if read.StatusCode != 200 || read.json(t)["id"] != made["id"] || read.Header.Get("ETag") != r.Header.Get("ETag") {
		t.Errorf("%d %s", read.StatusCode, read.body)
	}

	// What can be told to a running link is told, and does not make it anew.
	r = o.do("PATCH", path, `{"throughput":75,"display_name":"Acme","cost_per_mms":"0.02","dest_ton":1,"code_map":{},"host":null}`, by)
	changed := o.snapshot().Vendors[id]
	if r.StatusCode != 200 || changed.Throughput != 75 || changed.CostPerMMS != 20000 || *changed.DestTON != 1 || len(changed.CodeMap) != 0 || changed.Host != "smsc.acme.example" || changed.Password != "pa55word" {
		t.Errorf("%d %s %+v", r.StatusCode, r.body, changed)
	}
	before := changed.Version
	if r := o.do("PUT", path+"/throughput", `{"tps":0}`, by); r.StatusCode != 200 || r.json(t)["throughput"] != 0.0 || o.snapshot().Vendors[id].Version != before {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("PATCH", path, `{"password":"n3w","source_ton":null,"signing_keys":null}`, by); r.StatusCode != 200 || r.json(t)["source_ton"] != nil || r.json(t)["signing_keys_set"] != 0.0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if v := o.snapshot().Vendors[id]; v.Password != "n3w" || v.Version != before+1 || v.OutbindPassword != "0utbind" {
		t.Errorf("%+v", v)
	}
	for _, word := range []string{"restart", "pause", "drain"} {
		o.do("POST", path+"/"+word, "", by)
	}
	if v := o.snapshot().Vendors[id]; !v.Paused || !v.Draining || v.Version != before+2 {
		t.Errorf("%+v", v)
	}
	if r := o.do("POST", vendorPath+"/acme-1/resume", "", by).json(t); r["paused"] != false || r["draining"] != false || r["draining_since"] != nil {
		t.Errorf("%v", r)
	}
	// No secret is in an answer or in the audit log, and what changed is.
	lines, err := o.db.AuditLog(o.ctx, message.AuditFilter{Target: id.String()}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&log, "%s %s %s\n", l.Action, l.Before, l.After)
	}
	for _, secret := range []string{"pa55word", "n3w", "0utbind", `"k1"`} {
		if strings.Contains(log.String(), secret) || strings.Contains(string(read.body), secret) {
			t.Errorf("%s is shown", secret)
		}
	}
	for _, want := range []string{`vendor.throughput {"throughput": 75} {"throughput": 0}`, `"password": "changed"`, `vendor.restart {"restarts": 0} {"restarts": 1}`, `vendor.pause {"paused": false} {"paused": true}`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the audit log lacks %s:\n%s", want, log.String())
		}
	}
	if r := o.do("DELETE", path, "", by); r.StatusCode != 204 || len(r.body) != 0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("GET", path, "", by); r.StatusCode != 404 {
		t.Errorf("%d", r.StatusCode)
	}
	wantProblem(t, o.do("GET", vendorPath+"/acme-1", "", by), 404, message.ReasonNotFound)
}

// Two who change the same thing: the second hears of it.
func TestVendorIfMatch(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	path := vendorPath + "/" + o.vendor().ID.String()
	seen := o.do("GET", path, "", by).Header.Get("ETag")
	with := func(tag string) func(*http.Request) { return header("If-Match", tag) }
	first := o.do("PATCH", path, `{"priority":1}`, by, with(seen))
	if first.StatusCode != 200 || first.Header.Get("ETag") == seen {
		t.Fatalf("%d %s", first.StatusCode, first.body)
	}
	for method, body := range map[string]string{"PATCH": `{"priority":2}`, "DELETE": ""} {
		wantProblem(t, o.do(method, path, body, by, with(seen)), 412, message.ReasonConflict)
	}
	wantProblem(t, o.do("DELETE", path+"?drain=true", "", by, with(seen)), 412, message.ReasonConflict)
	// Who has seen the newest state may take it away, at once and, with nothing in the
	// way, by draining.
	other := o.do("GET", vendorPath+"/"+o.vendor().Name, "", by)
	if r := o.do("DELETE", vendorPath+"/"+other.json(t)["id"].(string)+"?drain=true", "", by, with(other.Header.Get("ETag"))); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("PUT", path+"/throughput", `{"tps":1}`, by, with("W/"+first.Header.Get("ETag"))), 412, message.ReasonConflict)
	if got := o.do("GET", path, "", by); got.Header.Get("ETag") != first.Header.Get("ETag") || got.json(t)["priority"] != 1.0 || got.json(t)["draining"] != false {
		t.Errorf("%s", got.body)
	}
	// Health is nothing that staff set; a secret is, though nobody sees it.
	if _, err := o.conn.Exec(o.ctx, "update vendors set health_status = 'degraded', last_bind_time = now()"); err != nil {
		t.Fatal(err)
	}
	got := o.do("GET", path, "", by)
	if got.Header.Get("ETag") != first.Header.Get("ETag") || got.json(t)["health_status"] != "degraded" || got.json(t)["updated_at"] != first.json(t)["updated_at"] {
		t.Errorf("%s", got.body)
	}
	second := o.do("PATCH", path, `{"password":"other"}`, by, with(`"x", `+first.Header.Get("ETag")))
	if second.StatusCode != 200 || second.Header.Get("ETag") == first.Header.Get("ETag") {
		t.Errorf("%d %s", second.StatusCode, second.body)
	}
	if r := o.do("PATCH", path, `{"priority":3}`, by, with("*")); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// One answer names everything that is wrong, by its field.
func TestVendorRules(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	cert, key := selfSigned(t)
	_, otherKey := selfSigned(t)
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	const smpp = `"instance_name":"a","provider_type":"smpp","host":"h.example","port":1,"username":"u",`
	for body, want := range map[string]string{
		`{}`: "body.instance_name body.provider_type",
		`{"instance_name":"a b","provider_type":"internal"}`:                                                                  "body.instance_name body.provider_type",
		`{"instance_name":"a","provider_type":"smpp"}`:                                                                        "body.host body.port body.username",
		`{"instance_name":"a","provider_type":"mm4","port":1}`:                                                                "body.host",
		`{"instance_name":"a","provider_type":"twilio"}`:                                                                      "body.password body.username",
		`{"instance_name":"a","provider_type":"twilio","username":"SK7","password":"x"}`:                                      "body.account_sid",
		`{"instance_name":"a","provider_type":"telnyx","password":"x","profile":"long"}`:                                      "body.profile",
		`{"instance_name":"a","provider_type":"telnyx"}`:                                                                      "body.password",
		`{"instance_name":"a","provider_type":"telnyx","password":"x","base_url":"http://api.example"}`:                       "body.base_url",
		`{"instance_name":"a","provider_type":"telnyx","password":"x","base_url":"https://u:p@api.example"}`:                  "body.base_url",
		`{` + smpp + `"host":"h.example:2775"}`:                                                                               "body.host",
		`{` + smpp + `"colour":"red"}`:                                                                                        "body.colour",
		`{` + smpp + `"throughput":-1,"max_binds":101,"window":0,"default_coding":2,"source_ton":256}`:                        "body.default_coding body.max_binds body.source_ton body.throughput body.window",
		`{` + smpp + `"throughput":99999999999999}`:                                                                           "body.throughput",
		`{` + smpp + `"throughput":"10","is_active":"yes","pass_tlvs":"1403","code_map":[]}`:                                  "body.code_map body.is_active body.pass_tlvs body.throughput",
		`{` + smpp + `"cost_per_sms":"-1","cost_per_mms":"0.0000001"}`:                                                        "body.cost_per_mms body.cost_per_sms",
		`{` + smpp + `"bind_type":"both","id_format":"x","long_message":"x","default_alphabet":"x","receipt_id":"x"}`:         "body.bind_type body.default_alphabet body.id_format body.long_message body.receipt_id",
		`{` + smpp + `"pass_tlvs":["2A01","zz"],"code_map":{"1":"nonsense"},"outbind_allowed_ips":["1.2.3.4/8","x"]}`:         "body.code_map body.outbind_allowed_ips body.pass_tlvs",
		`{` + smpp + `"tls_ca":"x"}`:                                                                                          "body.tls_ca",
		`{` + smpp + `"tls_ca":` + quote(cert+key) + `}`:                                                                      "body.tls_ca",
		`{` + smpp + `"tls_client_cert":` + quote(cert) + `}`:                                                                 "body.tls_client_key",
		`{` + smpp + `"tls_client_key":` + quote(key) + `}`:                                                                   "body.tls_client_cert",
		`{` + smpp + `"tls_client_cert":` + quote(cert) + `,"tls_client_key":` + quote(otherKey) + `}`:                        "body.tls_client_cert",
		`{` + smpp + `"outbind_system_id":"x"}`:                                                                               "body.outbind_password",
		`{` + smpp + `"profile":"tall"}`:                                                                                      "body.profile",
		`{` + smpp + `"password":"a\u0000b"}`:                                                                                 "body.password",
		`{` + smpp + `"password":"` + strings.Repeat("x", 65) + `","system_type":"` + strings.Repeat("x", 13) + `"}`:          "body.password body.system_type",
		`{"instance_name":"a","provider_type":"smpp","host":"h","port":1,"username":"sixteen-letters-"}`:                      "body.username",
		`{` + smpp + `"signing_keys":["",""]}`:                                                                                "body.signing_keys",
		`{` + smpp + `"receipt_percent":101,"receipt_expected_seconds":0,"enquire_link_seconds":0,"receipt_grace_seconds":0}`: "body.enquire_link_seconds body.receipt_expected_seconds body.receipt_grace_seconds body.receipt_percent",
	} {
		body = strings.Replace(body, `"host":"h.example","port":1,"username":"u","host"`, `"port":1,"username":"u","host"`, 1)
		r := o.do("POST", vendorPath, body, by)
		if r.StatusCode != 422 {
			t.Errorf("%.120s: %d %s", body, r.StatusCode, r.body)
			continue
		}
		var got []string
		for _, e := range r.json(t)["errors"].([]any) {
			got = append(got, e.(map[string]any)["location"].(string))
		}
		slices.Sort(got)
		if got := strings.Join(slices.Compact(got), " "); got != want {
			t.Errorf("%.120s: %s, want %s", body, got, want)
		}
		if strings.Contains(string(r.body), "PRIVATE") {
			t.Errorf("%s", r.body)
		}
	}
	if n := o.count("select count(*) from vendors where provider_type <> 'internal'"); n != 0 {
		t.Errorf("%d vendors were made", n)
	}
	good := `{` + smpp + `"use_tls":true,"tls_ca":` + quote(cert) + `,"tls_client_cert":` + quote(cert) + `,"tls_client_key":` + quote(key) + `,"profile":"long","window":78}`
	if r := o.do("POST", vendorPath, good, by); r.StatusCode != 201 || r.json(t)["long_message"] != "sar" || r.json(t)["window"] != 78.0 || r.json(t)["tls_client_key_set"] != true {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for body, want := range map[string]int{`{"instance_name":"b"}`: 422, `{"provider_type":"mm4"}`: 422, `{"host":""}`: 422, `{"tls_client_cert":""}`: 422, `{"priority":`: 400, `{}`: 200} {
		if r := o.do("PATCH", vendorPath+"/a", body, by); r.StatusCode != want {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	for _, body := range []string{`{}`, `{"tps":-1}`, `{"tps":100001}`, `{"tps":"5"}`, `{"tps":5,"x":1}`} {
		if r := o.do("PUT", vendorPath+"/a/throughput", body, by); r.StatusCode != 422 {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	// The gateway itself is listed, and is not to be changed.
	inside := vendorPath + "/" + message.InternalVendor.String()
	if r := o.do("GET", inside, "", by); r.StatusCode != 200 || r.json(t)["provider_type"] != "internal" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, c := range [][3]string{{"PATCH", "", `{"priority":1}`}, {"DELETE", "", ""}, {"DELETE", "?drain=true", ""}, {"POST", "/pause", ""}, {"POST", "/test", ""}} {
		wantProblem(t, o.do(c[0], inside+c[1], c[2], by), 409, message.ReasonConflict)
	}
}

// The settings that the document has are those that are read, all of them, and what is
// read is what is stored and shown.
func TestEverySettingTravels(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	v := o.vendor()
	cert, key := selfSigned(t)
	other := vendorconf.Vendor{DisplayName: "d", IsActive: false, Host: "other.example", Port: 7, Username: "other", UseTLS: true, TLSCA: cert, TLSServerName: "s.example",
		TLSClientCert: cert, BindType: "receiver", SystemType: "st", Throughput: 7, MaxBinds: 7, Window: 7, Priority: 7, CostPerSMS: "0.07", CostPerMMS: "0.0707",
		SupportsAlphanumeric: true, SupportsUnicode: false, SupportsMMS: true, IDFormat: "hex_to_dec", LongMessage: "payload", DefaultAlphabet: "latin1", DefaultCoding: 3,
		ReceiptGraceSeconds: 7, ReceiptPercent: 7, ReceiptExpectedSeconds: 7, VendorReplies: "gateway", MediaProfile: "att", CodeMap: map[string]string{"7": "filtered"},
		AccountSID: "AC7", MessagingProfileID: "MG7", BaseURL: "https://api.example/7", PassTLVs: []string{"1403"}, SourceTON: new(0), SourceNPI: new(7), DestTON: new(7), DestNPI: new(7),
		AddrTON: 7, AddrNPI: 7, AddressRange: "^7", ReceiptID: "tlv", ReceiptsUnmarked: true, EnquireLinkSeconds: 7, ResponseTimeoutSeconds: 7, OutbindSystemID: "o7",
		OutbindAllowedIPs: []string{"198.51.100.7/32"}}
	before := vendorconf.VendorOf(&v.Vendor)
	for i := range reflect.TypeFor[vendorconf.Vendor]().NumField() {
		f := reflect.TypeFor[vendorconf.Vendor]().Field(i)
		if reflect.DeepEqual(reflect.ValueOf(other).Field(i).Interface(), reflect.ValueOf(before).Field(i).Interface()) {
			t.Errorf("the test does not change %s", f.Name)
		}
	}
	doc, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.TrimSuffix(string(doc), "}") + `,"outbind_password":"x","tls_client_key":` + string(must(json.Marshal(key))) + `}`
	r := o.do("PATCH", vendorPath+"/"+v.Name, body, by)
	if r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	var shown vendorconf.Vendor
	if err := json.Unmarshal(r.body, &shown); err != nil || !reflect.DeepEqual(shown, other) {
		t.Errorf("%v\n%+v\n%+v", err, shown, other)
	}
	if stored := vendorconf.VendorOf(o.snapshot().Vendors[v.ID]); !reflect.DeepEqual(stored, other) {
		t.Errorf("stored %+v", stored)
	}
	props := adminDocument(t).at("components", "schemas", "VendorPatch", "properties").(map[string]any)
	for _, s := range vendorconf.Settings(&shown) {
		if props[s.Name] == nil {
			t.Errorf("the document lacks %s", s.Name)
		}
		if !strings.Contains(string(r.body), `"`+s.Name+`":`) {
			t.Errorf("%s is not shown", s.Name)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// selfSigned is a certificate and its key, in PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, c, c, k.Public(), k))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(k))}))
}

func TestVendorStatusOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	a, b := o.vendor(), o.vendor()
	since := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	o.queued = map[string]int{a.Name: 12}
	o.links = []message.VendorLinkState{
		{VendorID: a.ID, Instance: "one", Bind: "connecting", LastError: "connection refused", Since: since, SeenAt: since.Add(time.Minute)},
		{VendorID: a.ID, Instance: "two", Bind: "connected", Binds: 2, InFlight: 3, Throughput: 30, RateShare: 50, ErrorRate: 0.1, LatencyMillis: 100, Since: since.Add(time.Second), SeenAt: since},
		{VendorID: a.ID, Instance: "three", Bind: "connected", Binds: 1, Throughput: 10, RateShare: 25, ErrorRate: 0.5, LatencyMillis: 300, LastError: "older", Since: since.Add(time.Hour), SeenAt: since},
	}
	by := o.by(snapshot.RoleViewer)
	r := o.do("GET", vendorPath+"/"+a.ID.String()+"/status", "", by)
	s := r.json(t)
	if r.StatusCode != 200 || s["connector_id"] != a.Name || s["bind_status"] != "connected" || s["since"] != "2026-11-22T08:00:01.000Z" || s["throughput_current"] != 40.0 || s["throughput_max"] != 100.0 ||
		s["queue_size"] != 12.0 || s["in_flight"] != 3.0 || s["last_error"] != "connection refused" || len(s["binds"].([]any)) != 3 || s["latency_ms"] != 149.0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if rate := s["error_rate"].(float64); rate < 0.19 || rate > 0.21 {
		t.Errorf("error rate %v", rate)
	}
	list := o.do("GET", vendorPath+"/status", "", by).json(t)["data"].([]any)
	if len(list) != 3 { // and the gateway itself
		t.Fatalf("%v", list)
	}
	if first := list[0].(map[string]any); first["vendor_id"] != b.ID.String() || first["bind_status"] != "disconnected" || first["queue_size"] != nil || first["since"] != nil {
		t.Errorf("%v", first)
	}
	if got := o.do("GET", vendorPath+"/status?limit=1", "", by).json(t); got["next_cursor"] == nil || len(got["data"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	o.server.Admin.VendorLinks, o.server.Admin.QueueSize = nil, nil
	if r := o.do("GET", vendorPath+"/status", "", by); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
}

func TestVendorTestOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	path := vendorPath + "/" + o.vendor().ID.String() + "/test"
	if r := o.do("POST", path, "", by).json(t); r["ok"] != true || r["detail"] != "bound as us" {
		t.Errorf("%v", r)
	}
	o.says = errors.New("bind: 0x0E")
	if r := o.do("POST", path, "", by).json(t); r["ok"] != false || r["detail"] != "bind: 0x0E" || r["ms"] == nil {
		t.Errorf("%v", r)
	}
	o.server.Admin.TestVendor = nil
	wantProblem(t, o.do("POST", path, "", by), 503, message.ReasonUnavailable)
}

func TestReloadOverTheAPI(t *testing.T) {
	t.Parallel()
	reloads := 0
	o := open(t, func(o *office) { o.server.Admin.Reload = func(context.Context) error { reloads++; return nil } })
	by := o.by(snapshot.RoleOperator)
	before := o.snapshot()
	r := o.do("POST", adminPrefix+"/reload-vendors", "", by)
	after := o.snapshot()
	if v := r.json(t); r.StatusCode != 200 || v["version"] != float64(after.Version) || v["vendors"] != 1.0 || reloads != 1 || after.Version <= before.Version {
		t.Errorf("%d %s of %d", r.StatusCode, r.body, after.Version)
	}
	if before.Tables["vendors"] == after.Tables["vendors"] || before.Tables["accounts"] != after.Tables["accounts"] {
		t.Error("other tables are read than vendors and routes")
	}
	o.do("POST", adminPrefix+"/reload", "", by)
	all := o.snapshot()
	for _, table := range []string{"accounts", "vendors", "staff", "content_rules"} {
		if all.Tables[table] == after.Tables[table] || all.Tables[table] == (message.ID{}) {
			t.Errorf("%s is not read", table)
		}
	}
}

func TestVendorRemoval(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	v := o.vendor()
	path := vendorPath + "/" + v.ID.String()
	m := o.message(nil)
	if _, err := o.db.Advance(o.ctx, message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true, Vendor: message.VendorRef{ID: v.ID, Name: v.Name}}); err != nil {
		t.Fatal(err)
	}
	route := o.do("POST", routePath, `{"vendor_id":"`+v.ID.String()+`"}`, by)
	if r := o.do("DELETE", path, "", by); r.StatusCode != 409 || !strings.Contains(string(r.body), "messages waiting 1") || !strings.Contains(string(r.body), "routes 1") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if o.snapshot().Vendors[v.ID].Draining {
		t.Error("it drains though nobody asked")
	}
	for range 2 {
		r := o.do("DELETE", path+"?drain=true", "", by)
		adminDocument(t).check("delete", vendorPath+"/{id}", r)
		if got := r.json(t); r.StatusCode != 202 || got["waiting"] != 1.0 || len(got["routes"].([]any)) != 1 || got["rest_seconds"].(float64) < 1 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	if !o.snapshot().Vendors[v.ID].Draining {
		t.Error("it does not drain")
	}
	if _, err := o.conn.Exec(o.ctx, "update messages set vendor_id = null where id = $1", m.ID); err != nil {
		t.Fatal(err)
	}
	// Nothing waits, but not every process may know yet.
	if r := o.do("DELETE", path+"?drain=true", "", by); r.StatusCode != 202 || r.json(t)["waiting"] != 0.0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if _, err := o.conn.Exec(o.ctx, "alter table vendors disable trigger vendors_version; update vendors set draining_since = now() - interval '6 seconds'; alter table vendors enable trigger vendors_version"); err != nil {
		t.Fatal(err)
	}
	if r := o.do("DELETE", path+"?drain=true", "", by); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("GET", route.Header.Get("Location"), "", by); r.StatusCode != 404 {
		t.Errorf("its route is left: %d", r.StatusCode)
	}
	if lines := o.audited(v.ID.String()); !slices.Equal(lines, []string{"operator@gw.example operator vendor.drain 127.0.0.1", "operator@gw.example operator vendor.delete 127.0.0.1"}) {
		t.Errorf("%q", lines)
	}
}
