package smpp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/telemetry/logtest"
)

// doorOf listens for outbinds to the link of st.
func doorOf(t *testing.T, st *stage, edit func(*snapshot.Vendor)) (address string, o *Door, log *logtest.Log) {
	t.Helper()
	v := st.link.vendor
	v.Active, v.OutbindSystemID, v.OutbindPassword = true, "caller", "open-sesame"
	v.OutbindAllowed = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if edit != nil {
		edit(&v)
	}
	other := v
	other.ID, other.OutbindSystemID = message.NewID(), "other"
	log = &logtest.Log{}
	o = &Door{
		Vendors: func() []*snapshot.Vendor { return []*snapshot.Vendor{&other, &v} },
		Link: func(id message.ID) Adopter {
			if id == v.ID {
				return st.link
			}
			return nil
		},
		Log: slog.New(log),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- o.Serve(l) }()
	t.Cleanup(func() {
		if err := o.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		for _, line := range log.Lines() {
			if strings.Contains(line, "sesame") || strings.Contains(line, "s3cret") {
				t.Errorf("a password is in the log: %s", line)
			}
		}
	})
	return l.Addr().String(), o, log
}

// The vendor calls: we bind to it on its own connection, take what it delivers, and the
// link's own binds and share are as they were.
func TestOutbind(t *testing.T) {
	binds := make(chan smpp.Bind, 10)
	st := play(t, vendortest.Config{OnBind: func(b *smpp.Bind) smpp.Decision { binds <- *b; return smpp.Decision{} }}, func(c *Config) {
		c.Vendor.BindType = "transmitter"
	})
	st.ready()
	<-binds
	address, _, _ := doorOf(t, st, nil)
	if err := st.smsc.Call(t.Context(), address, "caller", "open-sesame"); err != nil {
		t.Fatal(err)
	}
	if b := <-binds; b.Mode != smpp.ModeReceiver || b.SystemID != "gw" || b.Password != "s3cret" {
		t.Errorf("bound by %+v", b)
	}
	st.bound(2)
	if err := st.smsc.Deliver(t.Context(), deliver("hello", 0, nil)); err != nil {
		t.Fatal(err)
	}
	if m := <-st.sink.inbound; m.Text != "hello" {
		t.Errorf("%+v", m)
	}
	if _, no := st.submit("text"); no != nil {
		t.Error(no)
	}
	if got := st.link.Status(); got.Binds != 1 || got.Bind != "connected" || st.link.Room() != defaultWindow {
		t.Errorf("status %+v, room %d", got, st.link.Room())
	}
	// Without a share it stays: the vendor has made it.
	st.link.SetShare(vendors.Share{})
	st.statusBinds(0)
	if err := st.smsc.Deliver(t.Context(), deliver("again", 0, nil)); err != nil {
		t.Fatal(err)
	}
	if m := <-st.sink.inbound; m.Text != "again" {
		t.Errorf("%+v", m)
	}
	if got := st.link.Status(); got.Bind != "disconnected" || st.link.Room() != 0 {
		t.Errorf("status %+v", got)
	}
	st.link.Stop(t.Context())
	if err := st.smsc.WaitGone(t.Context()); err != nil {
		t.Error(err)
	}
	if err := st.smsc.Call(t.Context(), address, "caller", "open-sesame"); err != nil {
		t.Fatal(err)
	}
	if err := st.smsc.WaitGone(t.Context()); err != nil || len(binds) != 0 {
		t.Errorf("a link that has stopped binds: %v", err)
	}
}

func TestOutbindOfStrangers(t *testing.T) {
	for _, tt := range []struct {
		name, systemID, password string
		edit                     func(*snapshot.Vendor)
		welcome                  bool
	}{
		{name: "wrong password", systemID: "caller", password: "open"},
		{name: "no password", systemID: "caller"},
		{name: "wrong name", systemID: "Caller", password: "open-sesame"},
		{name: "no name", password: "open-sesame"},
		{name: "no link here", systemID: "other", password: "open-sesame"},
		{name: "address", systemID: "caller", password: "open-sesame", edit: func(v *snapshot.Vendor) {
			v.OutbindAllowed = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}},
		{name: "inactive", systemID: "caller", password: "open-sesame", edit: func(v *snapshot.Vendor) { v.Active = false }},
		{name: "neither password nor addresses", systemID: "caller", edit: func(v *snapshot.Vendor) { v.OutbindPassword, v.OutbindAllowed = "", nil }},
		{name: "a vendor that may not call", edit: func(v *snapshot.Vendor) { v.OutbindSystemID, v.OutbindPassword = "", "" }},
		{name: "addresses alone", systemID: "caller", edit: func(v *snapshot.Vendor) { v.OutbindPassword = "" }, welcome: true},
		{name: "password alone", systemID: "caller", password: "open-sesame", edit: func(v *snapshot.Vendor) { v.OutbindAllowed = nil }, welcome: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := play(t, vendortest.Config{}, nil)
			st.ready()
			address, _, _ := doorOf(t, st, tt.edit)
			vendor, err := vendortest.Listen("", vendortest.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer vendor.Close()
			if err := vendor.Call(t.Context(), address, tt.systemID, tt.password); err != nil {
				t.Fatal(err)
			}
			if tt.welcome {
				if err := vendor.WaitBinds(t.Context(), 1); err != nil {
					t.Error(err)
				}
				return
			}
			if err := vendor.WaitGone(t.Context()); err != nil || vendor.Binds() != 0 {
				t.Errorf("%d binds, %v", vendor.Binds(), err)
			}
		})
	}
}

// What is no outbind ends the connection, whatever it is.
func TestOutbindOfOthers(t *testing.T) {
	st := play(t, vendortest.Config{}, nil)
	st.ready()
	address, o, _ := doorOf(t, st, nil)
	frame := func(p smpp.PDU) []byte {
		b, err := smpp.Append(nil, smpp.StatusOK, 1, p)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, octets := range map[string][]byte{
		"web":          []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
		"submit_sm":    frame(&smpp.SubmitSM{}),
		"enquire_link": frame(&smpp.EnquireLink{}),
		"too long":     append([]byte{0, 0, 4, 0, 0, 0, 0, 0x0B, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 1008)...),
		"too short":    {0, 0, 0, 1, 0, 0, 0, 0x0B, 0, 0, 0, 0, 0, 0, 0, 1},
		"no NULs":      append([]byte{0, 0, 0, 20, 0, 0, 0, 0x0B, 0, 0, 0, 0, 0, 0, 0, 1}, "call"...),
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(octets); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := io.ReadAll(conn); len(got) != 0 {
			t.Errorf("%s is answered by %q", name, got)
		}
		_ = conn.Close()
	}
	// Who says nothing takes a place, and no more than there are.
	var silent []net.Conn
	for range maxCallers + 1 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	if _, err := silent[maxCallers].Read(make([]byte, 1)); err == nil {
		t.Error("the last one was answered")
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, conn := range silent {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("answered")
		}
		_ = conn.Close()
	}
}

// Strangers who connect and say nothing keep no vendor out.
func TestOutbindBesideACrowd(t *testing.T) {
	st := play(t, vendortest.Config{}, nil)
	st.ready()
	address, _, _ := doorOf(t, st, func(v *snapshot.Vendor) { v.OutbindAllowed = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")} })
	for range maxCallers {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	call, err := smpp.Append(nil, smpp.StatusOK, 1, &smpp.Outbind{SystemID: "caller", Password: "open-sesame"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(call); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 16)); err != nil {
		t.Errorf("nobody binds: %v", err)
	}
}

// A vendor that calls again and again has no more than its places.
func TestOutbindHasABound(t *testing.T) {
	st := play(t, vendortest.Config{}, nil)
	st.ready()
	address, _, _ := doorOf(t, st, nil)
	vendor, err := vendortest.Listen("", vendortest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer vendor.Close()
	for i := range maxAdopted {
		if err := vendor.Call(t.Context(), address, "caller", "open-sesame"); err != nil {
			t.Fatal(err)
		}
		if err := vendor.WaitBound(t.Context(), i+1); err != nil {
			t.Fatal(err)
		}
	}
	st.bound(1 + maxAdopted)
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	if err := st.link.Adopt(a); err == nil {
		t.Error("one more is taken")
	}
	vendor.Disconnect()
	st.bound(1)
	if err := vendor.Call(t.Context(), address, "caller", "open-sesame"); err != nil {
		t.Fatal(err)
	}
	if err := vendor.WaitBound(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// A vendor that calls and then refuses the bind keeps nothing of us.
func TestOutbindAndABindThatIsRefused(t *testing.T) {
	st := play(t, vendortest.Config{}, nil)
	st.ready()
	vendor, err := vendortest.Listen("", vendortest.Config{OnBind: func(*smpp.Bind) smpp.Decision { return smpp.Decision{Status: smpp.StatusBindFail} }})
	if err != nil {
		t.Fatal(err)
	}
	defer vendor.Close()
	address, o, log := doorOf(t, st, nil)
	if err := vendor.Call(t.Context(), address, "caller", "open-sesame"); err != nil {
		t.Fatal(err)
	}
	if err := vendor.WaitGone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Join(log.Lines(), "\n"); !strings.Contains(lines, "RBINDFAIL") {
		t.Errorf("logged %q", lines)
	}
	if got := st.link.Status(); got.Bind != "connected" || got.Binds != 1 {
		t.Errorf("status %+v", got)
	}
}

func TestShutdownBeforeServe(t *testing.T) {
	o := &Door{}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Serve(l); err != nil {
		t.Error(err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}
