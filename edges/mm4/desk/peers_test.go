package desk_test

import (
	"bytes"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/edges/mm4/desk"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestDirectoryFollowsTheConfiguration(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	net := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	peers := map[message.ID]*snapshot.MM4Peer{
		{1}: {ID: message.ID{1}, Name: "a", AccountID: account, Enabled: true, Addresses: net("192.0.2.1/32"), MailDomains: []string{"a.example"}, Username: "a", PasswordHash: string(hash),
			MaxSize: 1 << 20, MaxSessions: 3, MaxRecipients: 4, Rate: 5, DataTime: time.Minute, RequireTLS: true},
		{2}: {ID: message.ID{2}, Name: "b", VendorID: vendorID, Addresses: net("192.0.2.2/32")},
		{3}: {ID: message.ID{3}, Name: "c", VendorID: vendorID, Enabled: true, Addresses: net("192.0.2.3/32")},
		{4}: {ID: message.ID{4}, Name: "d", AccountID: account, Enabled: true, Addresses: net("192.0.2.0/24")}, // not to be told from c
		{5}: {ID: message.ID{5}, Name: "e", AccountID: account, Enabled: true},                                 // from nowhere
	}
	s := &snapshot.Snapshot{MM4Peers: peers}
	var logs bytes.Buffer
	d := desk.Directory{Snapshot: func() *snapshot.Snapshot { return s }, Log: slog.New(slog.NewTextHandler(&logs, nil))}
	names := func(ip string) string {
		var out []string
		for _, p := range d.Current().At(netip.MustParseAddr(ip)) {
			out = append(out, p.Name)
		}
		return strings.Join(out, " ")
	}
	for ip, want := range map[string]string{"192.0.2.1": "a", "192.0.2.2": "", "192.0.2.3": "c", "192.0.2.4": ""} {
		if got := names(ip); got != want {
			t.Errorf("from %s: %q, want %q", ip, got, want)
		}
	}
	a := d.Current().At(netip.MustParseAddr("192.0.2.1"))[0]
	if !a.RequireAuth || a.AuthWithoutTLS || !a.Password("open sesame") || a.Password("open") || a.MaxSize != 1<<20 || a.MaxSessions != 3 || a.MaxRecipients != 4 || a.Rate != 5 || a.DataTime != time.Minute || !a.RequireTLS {
		t.Errorf("%+v", a)
	}
	was := d.Current()
	s = &snapshot.Snapshot{MM4Peers: peers, Version: 7} // something else has changed
	if d.Current() != was {
		t.Error("the directory was made anew for nothing")
	}
	if got := strings.Count(logs.String(), "cannot be used"); got != 2 {
		t.Errorf("%d faults are logged:\n%s", got, &logs)
	}
	now := maps.Clone(peers)
	delete(now, message.ID{3})
	s = &snapshot.Snapshot{MM4Peers: now}
	if got := names("192.0.2.4"); got != "d" {
		t.Errorf("d is %q when nobody is in its way", got)
	}
	if got := strings.Count(logs.String(), "cannot be used"); got != 2 {
		t.Errorf("what was known is logged again:\n%s", &logs)
	}
	s = &snapshot.Snapshot{}
	if got := names("192.0.2.1"); got != "" {
		t.Errorf("%q without peers", got)
	}
}
