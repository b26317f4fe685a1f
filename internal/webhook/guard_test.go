package webhook

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

func TestValidateURL(t *testing.T) {
	office := Policy{AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	test := Policy{AllowHTTP: true, AllowLoopback: true}
	for _, c := range []struct {
		url    string
		policy Policy
		ok     bool
	}{
		{"https://shop.example/hooks/sms", Policy{}, true},
		{"https://shop.example", Policy{}, true},
		{"HTTPS://Shop.Example./x?y=z#f", Policy{}, true},
		{"https://user:pass@shop.example:8443/", Policy{}, true},
		{"https://shop.example:443/", Policy{}, true},
		{"https://a_b.shop.example/", Policy{}, true},
		{"https://bücher.example/", Policy{}, true},
		{"https://93.184.215.14/", Policy{}, true},
		{"https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:8443/", Policy{}, true},

		{"", Policy{}, false},
		{"shop.example/x", Policy{}, false},
		{"https:shop.example", Policy{}, false},
		{"https://", Policy{}, false},
		{"https:///x", Policy{}, false},
		{"https://:443/x", Policy{}, false},
		{"http://shop.example/", Policy{}, false},
		{"ftp://shop.example/", Policy{}, false},
		{"file:///etc/passwd", Policy{}, false},
		{"gopher://shop.example:443/", Policy{}, false},
		{"https://shop.example:80/", Policy{}, false},
		{"https://shop.example:6379/", Policy{}, false},
		{"https://shop.example:0/", Policy{}, false},
		{"https://shop.example:65979/", Policy{}, false}, // 443 + 65536
		{"https://shop.example:/", Policy{}, false},
		{"https://shop.example:https/", Policy{}, false},
		{"https://shop.example/\x7f", Policy{}, false},
		{"https://shop..example/", Policy{}, false},
		{"https://.example/", Policy{}, false},
		{"https://intranet/", Policy{}, false},
		{"https://localhost/", Policy{}, false},
		{"https://LOCALHOST./", Policy{}, false},
		{"https://a.localhost/", Policy{}, false},
		{"https://printer.local/", Policy{}, false},
		{"https://metadata.google.internal/", Policy{}, false},
		{"https://127.0.0.1/", Policy{}, false},
		{"https://127.1/", Policy{}, false},
		{"https://2130706433/", Policy{}, false},
		{"https://0x7f000001/", Policy{}, false},
		{"https://0x7f.0.0.0x1/", Policy{}, false},
		{"https://0177.0.0.01/", Policy{}, false},
		{"https://127.0.0.1./", Policy{}, false},
		{"https://0.0.0.0/", Policy{}, false},
		{"https://10.0.0.1/", Policy{}, false},
		{"https://169.254.169.254/latest/meta-data/", Policy{}, false},
		{"https://[::1]/", Policy{}, false},
		{"https://[::]/", Policy{}, false},
		{"https://[::ffff:93.184.215.14]/", Policy{}, false},
		{"https://[fe80::1%25eth0]/", Policy{}, false},
		{"https://[fd00:ec2::254]/", Policy{}, false},
		{"https://shop.example/" + strings.Repeat("x", 2048), Policy{}, false},
		{"https://" + strings.Repeat("a.", 130) + "example/", Policy{}, false},

		{"http://shop.example/", test, true},
		{"http://shop.example:81/", test, false},
		{"http://127.0.0.1:41233/", test, true},
		{"http://localhost:41233/", test, true},
		{"https://[::1]:41233/", test, true},
		{"http://10.0.0.1/", test, false},
		{"https://shop.example:444/", Policy{ExtraPorts: []int{444}}, true},
		{"https://shop.example:445/", Policy{ExtraPorts: []int{444}}, false},
		{"https://10.1.2.3/", office, true},
		{"https://10.2.2.3/", office, false},
		{"https://pbx/", office, true},
		{"https://10.1.2.3:22/", office, false},
	} {
		err := ValidateURL(c.url, c.policy)
		if (err == nil) != c.ok {
			t.Errorf("ValidateURL(%.60q) = %v", c.url, err)
		}
		if err == nil {
			continue
		}
		if message.ReasonOf(err) != message.ReasonUnsafeURL {
			t.Errorf("ValidateURL(%.60q): reason %s", c.url, message.ReasonOf(err))
		}
	}
	err := ValidateURL("ftp://user:hunter2@shop.example/path?token=abc", Policy{})
	for _, leak := range []string{"user", "hunter2", "path", "token"} {
		if strings.Contains(err.Error(), leak) {
			t.Errorf("the error shows the URL: %v", err)
		}
	}
}

func TestControl(t *testing.T) {
	for _, c := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp4", "93.184.215.14:443", true},
		{"tcp4", "93.184.215.14:8443", true},
		{"tcp6", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:443", true},
		{"tcp4", "8.8.8.8:443", true},
		{"tcp4", "100.63.255.255:443", true},
		{"tcp4", "100.128.0.0:443", true},
		{"tcp4", "172.15.255.255:443", true},
		{"tcp4", "172.32.0.0:443", true},
		{"tcp6", "[2001:200::1]:443", true},

		{"tcp4", "93.184.215.14:80", false},
		{"tcp4", "93.184.215.14:22", false},
		{"udp4", "93.184.215.14:443", false},
		{"unix", "/run/docker.sock", false},
		{"tcp4", "", false},
		{"tcp4", "shop.example:443", false},
		{"tcp4", "0.0.0.0:443", false},
		{"tcp4", "0.1.2.3:443", false},
		{"tcp4", "10.255.255.255:443", false},
		{"tcp4", "100.64.0.1:443", false},
		{"tcp4", "100.100.100.200:443", false},
		{"tcp4", "127.0.0.1:443", false},
		{"tcp4", "127.255.255.254:443", false},
		{"tcp4", "168.63.129.16:443", false},
		{"tcp4", "169.254.169.254:443", false},
		{"tcp4", "169.254.170.2:443", false},
		{"tcp4", "172.16.0.1:443", false},
		{"tcp4", "172.31.255.255:443", false},
		{"tcp4", "192.0.0.192:443", false},
		{"tcp4", "192.0.2.1:443", false},
		{"tcp4", "192.88.99.1:443", false},
		{"tcp4", "192.168.1.1:443", false},
		{"tcp4", "198.18.0.1:443", false},
		{"tcp4", "198.19.255.255:443", false},
		{"tcp4", "198.51.100.1:443", false},
		{"tcp4", "203.0.113.1:443", false},
		{"tcp4", "224.0.0.1:443", false},
		{"tcp4", "239.255.255.250:443", false},
		{"tcp4", "240.0.0.1:443", false},
		{"tcp4", "255.255.255.255:443", false},
		{"tcp6", "[::]:443", false},
		{"tcp6", "[::1]:443", false},
		{"tcp6", "[::ffff:8.8.8.8]:443", false},
		{"tcp6", "[::ffff:127.0.0.1]:443", false},
		{"tcp6", "[::8.8.8.8]:443", false},
		{"tcp6", "[64:ff9b::a00:1]:443", false},
		{"tcp6", "[64:ff9b:1::a00:1]:443", false},
		{"tcp6", "[100::1]:443", false},
		{"tcp6", "[2001::1]:443", false},
		{"tcp6", "[2001:db8::1]:443", false},
		{"tcp6", "[2002:a00:1::1]:443", false},
		{"tcp6", "[3fff::1]:443", false},
		{"tcp6", "[5f00::1]:443", false},
		{"tcp6", "[fc00::1]:443", false},
		{"tcp6", "[fd00:ec2::254]:443", false},
		{"tcp6", "[fe80::1]:443", false},
		{"tcp6", "[fe80::1%lo]:443", false},
		{"tcp6", "[fec0::1]:443", false},
		{"tcp6", "[ff02::1]:443", false},
	} {
		err := (Policy{}).Control(c.network, c.address, nil)
		if (err == nil) != c.ok {
			t.Errorf("Control(%s, %s) = %v", c.network, c.address, err)
		}
		if err != nil && message.ReasonOf(err) != message.ReasonUnsafeURL {
			t.Errorf("Control(%s, %s): reason %s", c.network, c.address, message.ReasonOf(err))
		}
	}
	loop := Policy{AllowLoopback: true}
	for address, ok := range map[string]bool{"127.0.0.1:1": true, "[::1]:65535": true, "10.0.0.1:443": false, "93.184.215.14:1": false, "[::ffff:127.0.0.1]:443": false} {
		if err := loop.Control("tcp"+string("46"[strings.Count(address, "[")]), address, nil); (err == nil) != ok {
			t.Errorf("loopback policy, %s: %v", address, err)
		}
	}
}

// Whatever the standard library knows to be special stays out.
func TestGuardAgainstTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a netip.Addr
		if rapid.Bool().Draw(t, "v4") {
			a = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "octets")))
		} else {
			a = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "octets")))
		}
		if !(Policy{}).allowsAddr(a) {
			return
		}
		ip := net.IP(a.AsSlice())
		if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
			t.Fatalf("%s is allowed", a)
		}
	})
}

func FuzzValidateURL(f *testing.F) {
	f.Add("https://shop.example/hooks?x=1")
	f.Add("https://[::ffff:127.0.0.1]:443/")
	f.Add("https://0x7f.1:8443")
	f.Fuzz(func(t *testing.T, raw string) {
		if err := ValidateURL(raw, Policy{}); err != nil {
			if message.ReasonOf(err) != message.ReasonUnsafeURL {
				t.Fatal(err)
			}
			return
		}
		if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(raw)), "https://") || len(raw) > maxURL {
			t.Fatalf("%q passes", raw)
		}
		if a, err := netip.ParseAddr(HostOf(raw)); err == nil && !(Policy{}).allowsAddr(a) {
			t.Fatalf("%q passes", raw)
		}
	})
}
