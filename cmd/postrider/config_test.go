package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestReadConfig(t *testing.T) {
	t.Setenv("POSTRIDER_KEY_FILE", "/tmp/keys")
	t.Setenv("API_PORT", "18080")
	t.Setenv("TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1/32")
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.RedisHost != "" || c.RedisPort != 6379 || c.SMPPConnectRate != 0 {
		t.Errorf("%+v", c)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
	if c.APIPort != 18080 || c.MetricsPort != 9090 || !slices.Equal(c.TrustedProxies, want) {
		t.Errorf("%+v", c)
	}
}

func TestReadConfigRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		says string
	}{
		{"no keys", nil, "POSTRIDER_KEYS"},
		{"two places for keys", map[string]string{"POSTRIDER_KEYS": "a:b", "POSTRIDER_KEY_FILE": "f"}, "not both"},
		{"port out of range", map[string]string{"POSTRIDER_KEY_FILE": "f", "API_PORT": "70000"}, "API_PORT"},
		{"port as text", map[string]string{"POSTRIDER_KEY_FILE": "f", "METRICS_PORT": "http"}, "MetricsPort"},
		{"a domain that is none", map[string]string{"POSTRIDER_KEY_FILE": "f", "MM4_DOMAIN": "mms.gw.example, x y@z"}, "MM4_DOMAIN"},
		{"half a certificate", map[string]string{"POSTRIDER_KEY_FILE": "f", "MM4_TLS_CERT": "c"}, "MM4_TLS_KEY"},
		{"a negative rate", map[string]string{"POSTRIDER_KEY_FILE": "f", "MM4_CONNECT_RATE": "-1"}, "MM4_CONNECT_RATE"},
		{"connections below none", map[string]string{"POSTRIDER_KEY_FILE": "f", "SMPP_MAX_PER_ADDRESS": "-1"}, "SMPP_MAX_PER_ADDRESS"},
		{"unbound connections below none", map[string]string{"POSTRIDER_KEY_FILE": "f", "SMPP_MAX_UNBOUND": "-1"}, "SMPP_MAX_UNBOUND"},
		{"as many unbound as in all", map[string]string{"POSTRIDER_KEY_FILE": "f", "SMPP_MAX_UNBOUND": "5000"}, "SMPP_MAX_UNBOUND"},
		{"more unbound than in all", map[string]string{"POSTRIDER_KEY_FILE": "f", "SMPP_MAX_CONNECTIONS": "50", "SMPP_MAX_UNBOUND": "51"}, "SMPP_MAX_UNBOUND"},
		{"messages kept for less than their life", map[string]string{"POSTRIDER_KEY_FILE": "f", "RETENTION_DAYS": "39"}, "RETENTION_DAYS is 39; want 40 to 3650"},
		{"messages kept for ever", map[string]string{"POSTRIDER_KEY_FILE": "f", "RETENTION_DAYS": "0"}, "RETENTION_DAYS is 0"},
		{"strays kept longer than messages", map[string]string{"POSTRIDER_KEY_FILE": "f", "RETENTION_DAYS": "60", "RETENTION_STRAY_DAYS": "61"}, "RETENTION_STRAY_DAYS is 61; want 7 to 60"},
		{"retention as a duration", map[string]string{"POSTRIDER_KEY_FILE": "f", "RETENTION_DAYS": "400d"}, "RetentionDays"},
		{"no wait for parts", map[string]string{"POSTRIDER_KEY_FILE": "f", "INBOUND_PARTS_WAIT": "0"}, "INBOUND_PARTS_WAIT"},
		{"busy below nothing", map[string]string{"POSTRIDER_KEY_FILE": "f", "ADMISSION_BUSY": "-1"}, "ADMISSION_BUSY"},
		{"busy after it is full", map[string]string{"POSTRIDER_KEY_FILE": "f", "ADMISSION_FULL": "40000"}, "ADMISSION_FULL"},
		{"inactivity backwards", map[string]string{"POSTRIDER_KEY_FILE": "f", "SMPP_INACTIVITY": "-5m"}, "SMPP_INACTIVITY"},
		{"port of Redis", map[string]string{"POSTRIDER_KEY_FILE": "f", "REDIS_PORT": "-6379"}, "REDIS_PORT"},
		{"registry without its key", map[string]string{"POSTRIDER_KEY_FILE": "f", "REGISTRY_URL": "https://registry.example/v2"}, "REGISTRY_KEY"},
		{"registry in the clear", map[string]string{"POSTRIDER_KEY_FILE": "f", "REGISTRY_URL": "http://registry.example/v2", "REGISTRY_KEY": "k", "REGISTRY_SECRET": "s"}, "https"},
		{"proxy without a mask", map[string]string{"POSTRIDER_KEY_FILE": "f", "TRUSTED_PROXIES": "10.0.0.1"}, "TrustedProxies"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			if _, err := readConfig(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v, want something of %s", err, c.says)
			}
		})
	}
}

func TestParseRoles(t *testing.T) {
	all, err := parseRoles("")
	if err != nil || len(all) != len(allRoles) {
		t.Errorf("%v, %v", all, err)
	}
	some, err := parseRoles("rest, messages")
	if err != nil || len(some) != 2 || !some["rest"] || !some["messages"] {
		t.Errorf("%v, %v", some, err)
	}
	if _, err := parseRoles("rest,nonsense"); err == nil {
		t.Error("an unknown role passed")
	}
}

func TestMicros(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "0.0045": 4500, "1": 1_000_000, "12.5": 12_500_000, "0.000001": 1} {
		if got, err := micros(s); err != nil || int64(got) != want {
			t.Errorf("%s is %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "-1", "0.0000001", "1,5"} {
		if got, err := micros(s); err == nil {
			t.Errorf("%q passed as %d", s, got)
		}
	}
}

// Customers are told what the operator says, and nothing of machines that they cannot reach.
func TestConnection(t *testing.T) {
	c := Config{PublicURL: "https://gw.example", SMPPPort: 2775, SMPPTLSPort: 2776, MM4Port: 2566, MM4Domain: "mms.gw.example"}
	if got := c.connection(); got.APIURL != "https://gw.example" || got.SMPPHost != "" || got.SMPPPort != 0 || got.MM4Port != 0 || got.MM4Domain != "" {
		t.Errorf("%+v", got)
	}
	c.SMPPPublicHost, c.MM4PublicHost, c.MM4PublicPort, c.SourceAddresses = "smpp.gw.example", "mm4.gw.example", 25, []string{"192.0.2.10", "198.51.100.0/24"}
	if got := c.connection(); got.SMPPPort != 2775 || got.SMPPTLSPort != 0 || got.MM4Port != 25 || got.MM4Domain != "mms.gw.example" {
		t.Errorf("%+v", got)
	}
	c.SMPPTLSCert = "cert.pem"
	if got := c.connection(); got.SMPPTLSPort != 2776 {
		t.Errorf("%+v", got)
	}
	if err := c.checkSources(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"gw.example", "192.0.2.1/24"} {
		c.SourceAddresses = []string{bad}
		if err := c.checkSources(); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
