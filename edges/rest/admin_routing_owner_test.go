package rest

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A test of routes that names a number of ours and no account is about its owner's
// message: routes of the account count.
func TestRouteTestOfOurOwnNumber(t *testing.T) {
	owner, other := message.NewID(), message.NewID()
	config := &snapshot.Snapshot{
		Accounts: map[message.ID]*snapshot.Account{owner: {ID: owner, DefaultClass: message.ClassBulk}, other: {ID: other}},
		Numbers:  map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: owner}},
	}
	config.Index()
	for body, want := range map[string]message.ID{
		`{"to":"+13105550117","from":"+12025550143"}`:                                       owner,
		`{"to":"+13105550117","from":"+12025550143","account_id":"` + other.String() + `"}`: other,
		`{"to":"+13105550117","from":"+12025550199"}`:                                       {},
		`{"to":"+13105550117"}`:                                                             {},
	} {
		m, _, _, refusal := ReadRouteTest([]byte(body), time.Now(), config)
		if refusal != nil || m.AccountID != want {
			t.Errorf("%s: account %s, %v", body, m.AccountID, refusal)
		}
	}
}
