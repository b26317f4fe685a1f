package desk

import (
	"cmp"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Directory makes the server's directory of peers out of the configuration, anew when
// they have changed. A peer that cannot be used is left out, and logged when that
// begins. Fill in the fields; it is safe for concurrent use.
type Directory struct {
	Snapshot func() *snapshot.Snapshot
	Log      *slog.Logger

	last  atomic.Pointer[edition]
	mu    sync.Mutex        // of making one
	known map[string]string // peers that cannot be used: why
}

// edition is the directory of one configuration.
type edition struct {
	peers     map[message.ID]*snapshot.MM4Peer // kept, so that no other map gets its place in memory
	directory *server.Directory
}

// Current is the directory that is in force.
func (d *Directory) Current() *server.Directory {
	peers := d.Snapshot().MM4Peers
	if e := d.last.Load(); e != nil && same(e.peers, peers) {
		return e.directory
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.last.Load(); e != nil && same(e.peers, peers) {
		return e.directory
	}
	e := &edition{peers, d.read(peers)}
	d.last.Store(e)
	return e.directory
}

// same reports whether two are one map. What has not changed is the same map in the
// next configuration.
func same(a, b map[message.ID]*snapshot.MM4Peer) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// read makes a directory.
func (d *Directory) read(peers map[message.ID]*snapshot.MM4Peer) *server.Directory {
	var list []server.Peer
	for _, p := range slices.SortedFunc(maps.Values(peers), func(a, b *snapshot.MM4Peer) int { return cmp.Compare(a.Name, b.Name) }) {
		if p.Enabled {
			list = append(list, peerOf(p))
		}
	}
	directory, faults := server.UsableDirectory(list)
	now := map[string]string{}
	for name, err := range faults {
		if now[name] = err.Error(); now[name] != d.known[name] {
			d.Log.Warn("mm4 peer cannot be used", "peer", name, "error", err)
		}
	}
	d.known = now
	return directory
}

// peerOf is a peer as the server knows it. One that has a password must say it, and
// under TLS only.
func peerOf(p *snapshot.MM4Peer) server.Peer {
	out := server.Peer{ID: p.ID, Name: p.Name, AccountID: p.AccountID, VendorID: p.VendorID, Addresses: p.Addresses, Domains: p.MailDomains,
		RequireTLS: p.RequireTLS, MaxSize: p.MaxSize, MaxSessions: p.MaxSessions, MaxRecipients: p.MaxRecipients, Rate: p.Rate, DataTime: p.DataTime}
	if p.Username != "" {
		hash := []byte(p.PasswordHash)
		out.RequireAuth, out.Username = true, p.Username
		out.Password = func(password string) bool { return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil }
	}
	return out
}
