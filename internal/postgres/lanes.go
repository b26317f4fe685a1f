package postgres

import (
	"sync"

	"github.com/postrider/postrider/internal/message"
)

// lanes puts acceptances into the acceptor that is for them. Those of one account
// are in one acceptor at a time, whichever it is, so that they are committed in the
// order in which they entered also while the account is given its first limit. Safe
// for concurrent use.
type lanes struct {
	plain, metered *acceptor

	mu sync.Mutex
	at map[message.ID]*place // accounts with something under way
}

// place is where an account's acceptances are.
type place struct {
	lane *acceptor
	n    int
}

func (l *lanes) enter(item *acceptance) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	account := item.Message.AccountID
	p := l.at[account]
	if p == nil {
		p = &place{lane: l.plain}
		if item.meters() {
			p.lane = l.metered
		}
	}
	if err := p.lane.put(item); err != nil {
		return err
	}
	p.n++
	l.at[account] = p
	return nil
}

// leave counts out an acceptance that is decided.
func (l *lanes) leave(account message.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.at[account]; p != nil {
		if p.n--; p.n == 0 {
			delete(l.at, account)
		}
	}
}

// apart splits a group into the messages of accounts that take of a limit or
// balance in it, and the others: these go on in a single statement. Each keeps its
// order, and an account's messages stay together.
func apart(group []*acceptance) (plain, metered []*acceptance) {
	accounts := map[message.ID]bool{}
	for _, item := range group {
		if item.meters() {
			accounts[item.Message.AccountID] = true
		}
	}
	if len(accounts) == 0 {
		return group, nil
	}
	for _, item := range group {
		if accounts[item.Message.AccountID] {
			metered = append(metered, item)
		} else {
			plain = append(plain, item)
		}
	}
	return plain, metered
}
