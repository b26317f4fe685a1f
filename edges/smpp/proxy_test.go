package smpp

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

const (
	proxyV2 = "0d0a0d0a000d0a515549540a" // the signature of version 2

	// From 198.51.100.7, port 1000, to 203.0.113.1, port 2775.
	headerV1  = `"PROXY TCP4 198.51.100.7 203.0.113.1 1000 2775" 0d0a`
	headerV16 = `"PROXY TCP6 2001:db8::7 2001:db8::1 1000 2775" 0d0a`
	headerV2  = proxyV2 + "21 11 000c c6336407 cb007101 03e8 0ad7"
	// A TLV after the addresses: authority, "gw".
	headerV2TLV = proxyV2 + `21 11 0011 c6336407 cb007101 03e8 0ad7 02 0002 "gw"`
	headerV26   = proxyV2 + "21 21 0024 20010db8000000000000000000000007 20010db8000000000000000000000001 03e8 0ad7"
)

func proxySetup(t testing.TB) *serverWorld {
	w := serverSetup(t)
	w.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}
	return w
}

func TestProxyHeader(t *testing.T) {
	for _, tt := range []struct{ name, header, address string }{
		{"version 1", headerV1, "198.51.100.7"},
		{"version 1, IPv6", headerV16, "2001:db8::7"},
		{"version 1, unknown", `"PROXY UNKNOWN" 0d0a`, "127.0.0.1"},
		{"version 1, unknown with addresses", `"PROXY UNKNOWN 198.51.100.7 203.0.113.1 1000 2775" 0d0a`, "127.0.0.1"},
		{"version 2", headerV2, "198.51.100.7"},
		{"version 2 with TLV", headerV2TLV, "198.51.100.7"},
		{"version 2, IPv6", headerV26, "2001:db8::7"},
		{"version 2, mapped", proxyV2 + "21 21 0024 00000000000000000000ffffc6336407 00000000000000000000ffffcb007101 03e8 0ad7", "198.51.100.7"},
		{"local", proxyV2 + "20 00 0000", "127.0.0.1"},
		{"local with addresses", proxyV2 + "20 11 000c c6336407 cb007101 03e8 0ad7", "127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := proxySetup(t)
			p := serverDial(t, w.listen())
			// The header and the bind in one segment: nothing may get lost between.
			if _, err := p.Write(append(serverOctets(t, tt.header), serverFramed(t, acmeTRX)...)); err != nil {
				t.Fatal(err)
			}
			p.want(acmeTRXAck)
			p.alive()
			if rows := w.journal.row(); len(rows) != 1 || rows[0].Address != tt.address {
				t.Errorf("rows %+v, want the address %s", rows, tt.address)
			}
			p.dialogue("> 00000006 00000000 00000002\n< 80000006 00000000 00000002\nend") // half-closed, as without a proxy
			w.audited("smpp.unbind known acme "+tt.address+": unbound", 1)
		})
	}
}

func TestProxyHeaderRefused(t *testing.T) {
	for _, tt := range []struct{ name, octets string }{
		{"missing", "00000010 00000015 00000000 00000001"},
		{"version 1 without its end", `"PROXY TCP4 198.51.100.7 203.0.113.1 1000 2775"`},
		{"version 1 in parts", `"PROXY TCP4 "`},
		{"version 1, bad address", `"PROXY TCP4 198.51.100.777 203.0.113.1 1000 2775" 0d0a`},
		{"version 1, UDP", `"PROXY UDP4 198.51.100.7 203.0.113.1 1000 2775" 0d0a`},
		{"version 1, too long", `"PROXY TCP4 198.51.100.7 203.0.113.1 1000 2775 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`},
		{"version 2, no addresses", proxyV2 + "21 00 0000"},
		{"version 2, UDP", proxyV2 + "21 12 000c c6336407 cb007101 03e8 0ad7"},
		{"version 2, too short for its addresses", proxyV2 + "21 11 0004 c6336407"},
		{"version 2, 64 KiB", proxyV2 + "21 11 ffff c6336407"},
		{"version 3", proxyV2 + "31 11 000c c6336407 cb007101 03e8 0ad7"},
		{"unknown command", proxyV2 + "22 11 000c c6336407 cb007101 03e8 0ad7"},
		{"garbage", `"GET / HTTP/1.1" 0d0a0d0a`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := proxySetup(t)
			p := w.pipes().dial("10.1.2.3")
			// What is written after the refusal cannot arrive.
			_, _ = p.Write(serverOctets(t, tt.octets))
			p.wantEnd()
			w.events.await("refused "+RefusedProxyHeader, 1)
		})
	}
}

func TestProxyHeaderTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, during := range map[string]func(p *serverPeer){
			"silence": func(*serverPeer) {},
			"half a header": func(p *serverPeer) {
				p.send(proxyV2 + "21 11")
			},
			"an octet a second": func(p *serverPeer) {
				for _, b := range serverOctets(p.t, headerV2)[:15] {
					<-time.After(time.Second)
					if _, err := p.Write([]byte{b}); err != nil {
						return
					}
				}
			},
			"no bind after it": func(p *serverPeer) {
				<-time.After(9 * time.Second)
				p.send(headerV2)
			},
		} {
			w := proxySetup(t)
			p := w.pipes().dial("10.1.2.3")
			began := time.Now()
			var sending sync.WaitGroup
			sending.Go(func() { during(p) })
			p.wantEnd()
			if took := time.Since(began); took != sessionInit {
				t.Errorf("%s: ended after %v", name, took)
			}
			w.events.await("connections -1", 1)
			sending.Wait()
		}
	})
}

// A header is of no use to those who are not proxies: what it says must not
// become their address.
func TestProxyHeaderOfAStranger(t *testing.T) {
	for name, header := range map[string]string{"version 1": headerV1, "version 2": headerV2} {
		t.Run(name, func(t *testing.T) {
			w := proxySetup(t)
			p := w.pipes().dial("192.0.2.1")
			go func() { _, _ = p.Write(append(serverOctets(t, header), serverFramed(t, acmeTRX)...)) }()
			if b := p.read(); b[7] != 0 || b[4] != 0x80 || b[11] != 2 {
				t.Errorf("got %x, want generic_nack with RINVCMDLEN", b)
			}
			p.wantEnd()
			w.events.await("refused "+RefusedFraming, 1)
		})
	}
	w := proxySetup(t)
	w.pipes().dial("192.0.2.1").bind(bindTRX) // without one they may bind
}

func TestWithoutProxiesNoHeaderIsRead(t *testing.T) {
	w := serverSetup(t)
	p := serverDial(t, w.listen())
	p.send(headerV2)
	p.dialogue("< 80000000 00000002 2111000c\nend")
}

// Limits and allowed addresses are those of the peer, not of its proxy.
func TestProxiedPeersAreToldApart(t *testing.T) {
	w := proxySetup(t)
	w.MaxPerAddress = 1
	w.cred.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	w.publish(2)
	l := w.pipes()
	from := func(address string) *serverPeer {
		p := l.dial("10.1.2.3")
		p.send(fmt.Sprintf(`"PROXY TCP4 %s 203.0.113.1 1000 2775" 0d0a`, address))
		return p
	}
	first := from("198.51.100.7")
	first.bind(bindTRX)
	from("198.51.100.8").bind(bindTRX)
	from("198.51.100.7").wantEnd()
	w.events.await("refused "+RefusedAddress, 1)
	w.events.await("connections -1", 1)
	_ = first.Close()
	w.events.await("connections -1", 2)
	from("198.51.100.7").bind(bindTRX)
	p := from("192.0.2.1")
	if st := p.tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusBindFail {
		t.Errorf("answered %s", st)
	}
	w.audited("smpp.bind_refused known acme 192.0.2.1: not from this address", 1)
}

func TestTLSBehindAProxy(t *testing.T) {
	w := proxySetup(t)
	w.cred.RequireTLS = true
	w.publish(2)
	ca := newServerCA(t)
	w.TLS = &tls.Config{GetCertificate: ca.files(t).GetCertificate}
	c, err := net.Dial("tcp", w.listenTLS())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(serverOctets(t, headerV2)); err != nil {
		t.Fatal(err)
	}
	p := newServerPeer(t, tls.Client(c, &tls.Config{RootCAs: ca.pool, ServerName: "smpp.test"}))
	p.bind(bindTRX)
	if rows := w.journal.row(); len(rows) != 1 || rows[0].Address != "198.51.100.7" || !rows[0].TLS {
		t.Errorf("rows %+v", rows)
	}
}
