package rest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/mm4"
	edge "github.com/postrider/postrider/edges/smpp"
	"github.com/postrider/postrider/internal/message"
	mm4wire "github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// serve runs a server on a free port until the test ends.
func serve(t *testing.T, run func(net.Listener) error, shutdown func(context.Context) error) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- run(l) }()
	t.Cleanup(func() {
		if err := shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// One process is asked to end a session that another one has; that of a third stays.
func TestEndSessionOfAnotherProcess(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	hash, err := secret.HashSMPPPassword("password")
	if err != nil {
		t.Fatal(err)
	}
	c := snapshot.SMPPCredential{ID: message.NewID(), AccountID: o.customer, SystemID: "acme1", PasswordHash: hash, Enabled: true}
	if err := o.db.CreateSMPPCredential(o.ctx, shellActor, c); err != nil {
		t.Fatal(err)
	}
	sessions := map[string]*smpp.Session{}
	for _, replica := range []string{"gw-1", "gw-2"} {
		s := &edge.Server{Journal: o.db, Snapshot: o.snapshot, Instance: replica}
		sessions[replica], err = smpp.Dial(o.ctx, smpp.DialConfig{Address: serve(t, s.Serve, s.Shutdown), Bind: smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "acme1", Password: "password"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sessions[replica].Close)
	}
	list := o.do("GET", sessionPath+"?replica=gw-2", "", o.by(snapshot.RoleViewer)).json(t)["data"].([]any)
	if len(list) != 1 {
		t.Fatalf("%v", list)
	}
	if r := o.do("DELETE", sessionPath+"/"+fmt.Sprint(list[0].(map[string]any)["id"]), "", o.by(snapshot.RoleOperator)); r.StatusCode != 204 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	select {
	case <-sessions["gw-2"].Done():
	case <-o.ctx.Done():
		t.Fatal("the session goes on")
	}
	select {
	case <-sessions["gw-1"].Done():
		t.Error("the session of another process ended too")
	default:
	}
}

// noDesk takes no mail.
type noDesk struct{}

func (noDesk) Recipient(context.Context, *mm4.Peer, mm4wire.Address) error {
	return message.Refuse(message.ReasonNotFound, "")
}

func (noDesk) Accept(context.Context, *mm4.Mail) (string, error) {
	return "", message.Refuse(message.ReasonNotFound, "")
}

type noSpool struct{ mm4.Spool }

func TestEndMM4SessionOfAnotherProcess(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	made := o.do("POST", mm4PeerPath, fmt.Sprintf(`{"name":"acme","account_id":"%s","addresses":["127.0.0.0/24"]}`, o.customer), o.by(snapshot.RoleOperator)).json(t)
	id, err := message.ParseID(made["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	peers, err := mm4.NewDirectory([]mm4.Peer{{ID: id, Name: "acme", AccountID: o.customer, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &mm4.Server{Desk: noDesk{}, Spool: noSpool{}, Peers: func() *mm4.Directory { return peers }, Domains: []string{"mms.gw.example"}, Registry: o.db, Instance: "gw-2"}
	conn, err := net.Dial("tcp", serve(t, func(l net.Listener) error { return s.Serve(context.Background(), l) }, s.Shutdown))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "220") {
		t.Fatal(lines.Text())
	}
	// The register is told every two seconds.
	var list []any
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(list) == 0 {
		list = o.do("GET", sessionPath+"?protocol=mm4", "", o.by(snapshot.RoleViewer)).json(t)["data"].([]any)
		select {
		case <-tick.C:
			o.clock.advance(time.Second)
		case <-o.ctx.Done():
			t.Fatal("the session is not listed")
		}
	}
	got := list[0].(map[string]any)
	if got["name"] != "acme" || got["account_id"] != o.customer.String() || got["state"] != "idle" || got["address"] != "127.0.0.1" || got["replica"] != "gw-2" {
		t.Errorf("%v", got)
	}
	if r := o.do("DELETE", sessionPath+"/"+fmt.Sprint(got["id"]), "", o.by(snapshot.RoleOperator)); r.StatusCode != 204 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "421") || lines.Scan() {
		t.Errorf("%q, and it goes on", lines.Text())
	}
	if err := s.Shutdown(o.ctx); err != nil {
		t.Fatal(err)
	}
	if n := o.count("select count(*) from mm4_sessions"); n != 0 {
		t.Errorf("%d sessions are left in the register", n)
	}
}
