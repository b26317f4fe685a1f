package journaltest

import (
	"context"

	"github.com/postrider/postrider/internal/message"
)

type conversation struct {
	account  message.ID
	from, to message.Address
}

// Used says which vendor a conversation used last.
func (j *Journal) Used(account message.ID, from, to message.Address, vendor message.ID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last == nil {
		j.last = make(map[conversation]message.ID)
	}
	j.last[conversation{account, from, to}] = vendor
}

// Override names the vendor of a message, as staff do; a message that may still be
// revised gets another revision.
func (j *Journal) Override(id, vendor message.ID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.named == nil {
		j.named = make(map[message.ID]message.ID)
	}
	j.named[id] = vendor
	if r := j.rows[id]; r != nil && r.m.Status.Revisable() {
		r.m.Revision++
	}
}

// LastVendor is what Used has said.
func (j *Journal) LastVendor(_ context.Context, account message.ID, from, to message.Address) (message.ID, error) {
	var out message.ID
	err := j.do("last vendor", func() error {
		out = j.last[conversation{account, from, to}]
		return nil
	})
	return out, err
}

// RouteOverride is what Override has said.
func (j *Journal) RouteOverride(_ context.Context, id message.ID) (message.ID, error) {
	var out message.ID
	err := j.do("route override", func() error {
		out = j.named[id]
		return nil
	})
	return out, err
}
