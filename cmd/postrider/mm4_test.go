package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMM4Domains(t *testing.T) {
	for _, tt := range []struct {
		config Config
		want   []string
	}{
		{Config{MM4Domain: "MMS.gw.example, two.example."}, []string{"mms.gw.example", "two.example"}},
		{Config{PublicURL: "https://Api.gw.example:8443/x"}, []string{"api.gw.example"}},
	} {
		if got := tt.config.mm4Domains(); !slices.Equal(got, tt.want) {
			t.Errorf("%v, want %v", got, tt.want)
		}
	}
	for _, url := range []string{"", "http://127.0.0.1:8080", "http://[::1]"} {
		if got := (Config{PublicURL: url}).mm4Domains(); len(got) != 1 || got[0] == "" || net.ParseIP(got[0]) != nil {
			t.Errorf("%q: %v", url, got)
		}
	}
}

// TestServeMM4 runs a process with the role mm4 alone: a stranger is turned away, a peer
// that is added while it runs has its mail answered by a response at its own MMSC.
func TestServeMM4(t *testing.T) {
	startShell(t)
	ctx := stacktest.Context(t)
	port, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	mmsc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go takeMail(mmsc, got)
	t.Cleanup(func() { _ = mmsc.Close() })
	for name, value := range map[string]string{"MM4_HOST": "127.0.0.1", "MM4_PORT": strconv.Itoa(port), "MM4_DOMAIN": "mms.gw.example", "MM4_CONNECT_RATE": "100000", "METRICS_PORT": "0", "METRICS_HOST": "127.0.0.1", "MEDIA_STORE": t.TempDir()} {
		t.Setenv(name, value)
	}
	config, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	g := &Gateway{Config: config, Roles: map[string]bool{"mm4": true}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(run) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	until(t, "a stranger to be turned away", func() error { return smtp.SendMail(address, nil, "a@b.example", []string{"x@y"}, nil) }, `554 "5.7.1 `)
	err = withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
		account := snapshot.Account{ID: message.NewID(), CompanyName: "Acme"}
		if err := db.CreateAccount(ctx, demoActor, account); err != nil {
			return err
		}
		_, err := db.CreateMM4Peer(ctx, demoActor, snapshot.MM4Peer{ID: message.NewID(), Name: "pbx", AccountID: account.ID, Enabled: true, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			MaxSize: 1 << 20, MaxSessions: 5, MaxRecipients: 5, Host: "127.0.0.1", Port: mmsc.Addr().(*net.TCPAddr).Port, TLS: "never", Domain: "mms.pbx.example", SystemUser: "system-user", Version: "6.3.0", MOLifetime: time.Hour})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const mail = "X-Mms-3GPP-MMS-Version: 6.3.0\r\nX-Mms-Message-Type: MM4_forward.REQ\r\nX-Mms-Transaction-ID: t1\r\nX-Mms-Message-ID: m1\r\nX-Mms-Ack-Request: Yes\r\n" +
		"X-Mms-Originator-System: mmsc@mms.pbx.example\r\nFrom: +12025550101/TYPE=PLMN@mms.pbx.example\r\nTo: +13105550101/TYPE=PLMN@mms.gw.example\r\n\r\nhello\r\n"
	until(t, "the peer to be known", func() error {
		return smtp.SendMail(address, nil, "mmsc@mms.pbx.example", []string{"+13105550101/TYPE=PLMN@mms.gw.example"}, []byte(mail))
	}, "")
	select {
	case m := <-got: // the sender is not the account's
		for _, line := range []string{"X-Mms-Message-Type: MM4_forward.RES", "X-Mms-Transaction-ID: t1", "X-Mms-Request-Status-Code: Error-service-denied", "From: <system-user@mms.gw.example>", "To: <mmsc@mms.pbx.example>"} {
			if !strings.Contains(m, line+"\r\n") {
				t.Errorf("the response lacks %q:\n%s", line, m)
			}
		}
	case <-ctx.Done():
		t.Fatal("no response came")
	}
}

// until tries until the error is as wanted; empty: until there is none.
func until(t *testing.T, what string, try func() error, want string) {
	t.Helper()
	ctx := stacktest.Context(t)
	for {
		err := try()
		if want == "" && err == nil || want != "" && err != nil && strings.HasPrefix(err.Error(), want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// takeMail takes one mail as an MMSC does.
func takeMail(l net.Listener, got chan<- string) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	var all strings.Builder
	_, _ = io.WriteString(c, "220 x\r\n")
	buf := make([]byte, 64<<10)
	for data := false; ; {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		all.Write(buf[:n])
		switch s := all.String(); {
		case data && strings.HasSuffix(s, "\r\n.\r\n"):
			got <- s
			data = false
			_, _ = io.WriteString(c, "250 2.0.0 taken\r\n")
		case data || !strings.HasSuffix(s, "\r\n"):
		case strings.HasSuffix(s, "DATA\r\n"):
			data = true
			_, _ = io.WriteString(c, "354 go\r\n")
		default:
			_, _ = io.WriteString(c, "250 2.0.0 ok\r\n")
		}
	}
}
