package postgres

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// fillSignIn makes so many people and sessions that a plan shows what it would do.
func (b *bundle) fillSignIn() {
	b.tb.Helper()
	for _, sql := range []string{
		`insert into staff (id, email, password_hash, password_id, role) select md5('s' || n)::uuid, 's' || n || '@gw.example', '', gen_random_uuid(), 'viewer' from generate_series(1, 3000) n`,
		`insert into portal_users (id, account_id, email, password_id) select md5('p' || a.n)::uuid, a.id, 'p' || a.n % 2000 || '@shop.example', gen_random_uuid()
		 from (select id, row_number() over () as n from accounts cross join generate_series(1, 400)) a limit 3000`,
		`insert into web_sessions (id, staff_id, password_id, token_hash, before_hash, waiting, address, user_agent, expires_at)
		 select gen_random_uuid(), id, password_id, sha256(email::bytea), sha256(name::bytea || id::text::bytea), false, '', '', now() from staff`,
		`insert into web_sessions (id, user_id, password_id, token_hash, waiting, address, user_agent, expires_at)
		 select gen_random_uuid(), id, password_id, sha256(id::text::bytea), false, '', '', now() from portal_users`,
		`insert into second_factors (staff_id, secret) select id, '' from staff`,
		`insert into sign_in_links (staff_id, purpose, token_hash, expires_at) select id, 'reset', sha256(email::bytea), now() from staff`,
		`insert into portal_invitations (user_id, token_hash, expires_at) select id, sha256(id::text::bytea), now() from portal_users`,
		`analyze staff, portal_users, accounts, web_sessions, second_factors, sign_in_links, portal_invitations`,
	} {
		b.exec(sql)
	}
}

// lobby has a member of staff and a user of the portal, each with a password.
type lobby struct {
	*bundle
	people map[snapshot.Door]snapshot.Person
}

func openLobby(t *testing.T) *lobby {
	l := &lobby{bundle: setup(t), people: map[snapshot.Door]snapshot.Person{}}
	l.hire("ada@gw.example", snapshot.RoleAdmin)
	l.shop(l.owner)
	if _, _, err := l.InvitePortalUser(l.ctx, actor, snapshot.PortalUser{ID: message.NewID(), AccountID: l.owner, Email: "ada@shop.example", Scopes: []string{"messages:read"}},
		10, []byte("invitation"), time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.RedeemLink(l.ctx, actor, snapshot.Portal, [][]byte{[]byte("invitation")}, "$chosen"); err != nil {
		t.Fatal(err)
	}
	l.people[snapshot.Console] = l.person(snapshot.Console, "ada@gw.example")
	l.people[snapshot.Portal] = l.person(snapshot.Portal, "ada@shop.example")
	return l
}

func (l *lobby) person(door snapshot.Door, email string) snapshot.Person {
	l.tb.Helper()
	list, err := l.People(l.ctx, door, email)
	if err != nil || len(list) != 1 {
		l.tb.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// in opens a session with a token.
func (l *lobby) in(door snapshot.Door, token string, waiting bool) snapshot.NewWebSession {
	l.tb.Helper()
	p := l.people[door]
	s := snapshot.NewWebSession{ID: message.NewID(), Door: door, Person: p.ID, PasswordID: p.PasswordID, TokenHash: []byte(token), Waiting: waiting,
		Address: "192.0.2.1", UserAgent: strings.Repeat("é\x00", 200)}
	if err := l.OpenWebSession(l.ctx, p.Actor("192.0.2.1"), s); err != nil {
		l.tb.Error(err)
	}
	return s
}

// show gives a token; rotated says that the session has the next one now.
func (l *lobby) show(door snapshot.Door, token, next string) (s snapshot.WebSession, rotated bool, err error) {
	return l.WebSession(l.ctx, door, [][]byte{[]byte("of another key"), []byte(token)}, []byte(next))
}

// ago makes a session so much older in one of its times.
func (l *lobby) ago(id message.ID, column, by string) {
	l.tb.Helper()
	l.exec("update web_sessions set "+column+" = "+column+" - $2::interval where id = $1", id, by)
}

// works says whether a token opens anything, and wants it to be so.
func (l *lobby) works(door snapshot.Door, token string, want bool) {
	l.tb.Helper()
	if _, _, err := l.show(door, token, "unwanted"); want && err != nil || !want && message.ReasonOf(err) != message.ReasonUnauthenticated {
		l.tb.Errorf("token %s at the %s: %v, want it to work: %v", token, door, err, want)
	}
}

func TestWebSessions(t *testing.T) {
	t.Parallel()
	for door, other := range map[snapshot.Door]snapshot.Door{snapshot.Console: snapshot.Portal, snapshot.Portal: snapshot.Console} {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			l := openLobby(t)
			l.in(door, "one", false)
			s, rotated, err := l.show(door, "one", "two")
			if err != nil || rotated || s.Person.ID != l.people[door].ID || s.Person.Email != l.people[door].Email || s.Waiting || s.SecondFactor || len([]rune(s.UserAgent)) != 200 {
				t.Fatalf("%+v %v %v", s, rotated, err)
			}
			if p := s.Person; door == snapshot.Portal && (p.Account != l.owner || p.AccountName != "Shop" || !slices.Equal(p.Scopes, []string{"messages:read"})) || door == snapshot.Console && p.Role != snapshot.RoleAdmin {
				t.Errorf("%+v", p)
			}
			l.works(other, "one", false)
			l.works(door, "none", false)
			thing := map[snapshot.Door]string{snapshot.Console: "staff", snapshot.Portal: "portal_user"}[door]
			if n := l.count("select count(*) from audit_log where action = $1 and actor = $2", thing+".login", s.Person.Email); n != 1 {
				t.Errorf("%d lines of the audit log", n)
			}
			// Several at a time do not get in each other's way.
			var all sync.WaitGroup
			for i := range 48 {
				all.Go(func() { l.in(door, fmt.Sprint("at once ", i), false) })
			}
			all.Wait()
			if err := l.EndWebSessions(l.ctx, actor, s.Person, s.ID); err != nil {
				t.Error(err)
			}
			// Signing out, of one and of all others.
			two, three := l.in(door, "b", false), l.in(door, "c", false)
			if list, err := l.WebSessions(l.ctx, s.Person); err != nil || len(list) != 3 || !slices.ContainsFunc(list, func(x snapshot.WebSession) bool { return x.ID == two.ID && x.Address == "192.0.2.1" }) {
				t.Errorf("%+v, %v", list, err)
			}
			l.reason(l.EndWebSession(l.ctx, actor, l.people[other], two.ID), message.ReasonNotFound)
			if err := l.EndWebSession(l.ctx, actor, s.Person, two.ID); err != nil {
				t.Error(err)
			}
			l.works(door, "b", false)
			if err := l.EndWebSessions(l.ctx, actor, s.Person, three.ID); err != nil {
				t.Error(err)
			}
			l.works(door, "one", false)
			l.works(door, "c", true)
			if err := l.EndWebSessions(l.ctx, actor, s.Person, message.ID{}); err != nil {
				t.Error(err)
			}
			l.works(door, "c", false)
		})
	}
}

// A session ends in many ways.
func TestWebSessionsEnd(t *testing.T) {
	t.Parallel()
	l := openLobby(t)
	staff, user := l.people[snapshot.Console], l.people[snapshot.Portal]
	hash := "$another"
	for _, c := range []struct {
		name string
		door snapshot.Door
		end  func(id message.ID)
		undo func()
	}{
		{"absolute", snapshot.Console, func(id message.ID) { l.ago(id, "expires_at", "12 hours") }, nil},
		{"idle staff", snapshot.Console, func(id message.ID) { l.ago(id, "seen_at", "30 minutes") }, nil},
		{"idle user", snapshot.Portal, func(id message.ID) { l.ago(id, "seen_at", "2 hours") }, nil},
		{"staff deactivated", snapshot.Console, func(message.ID) { l.exec("update staff set active = false where id = $1", staff.ID) }, func() { l.exec("update staff set active = true") }},
		{"user deactivated", snapshot.Portal, func(message.ID) { l.exec("update portal_users set active = false") }, func() { l.exec("update portal_users set active = true") }},
		{"account suspended", snapshot.Portal, func(message.ID) { l.exec("update accounts set status = 'suspended'") }, func() { l.exec("update accounts set status = 'active'") }},
		{"password of staff", snapshot.Console, func(message.ID) {
			if _, err := l.ChangeStaff(l.ctx, actor, staff.ID, snapshot.StaffChange{PasswordHash: hash}); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"password of a user", snapshot.Portal, func(message.ID) { l.exec("update portal_users set password_id = gen_random_uuid()") }, nil},
		{"user removed", snapshot.Portal, func(message.ID) { l.exec("delete from portal_users where id = $1", user.ID) }, nil},
	} {
		l.people[snapshot.Console] = l.person(snapshot.Console, staff.Email)
		l.people[snapshot.Portal] = l.person(snapshot.Portal, user.Email)
		s := l.in(c.door, c.name, false)
		l.works(c.door, c.name, true)
		c.end(s.ID)
		l.works(c.door, c.name, false)
		if c.undo != nil {
			// Who may not sign in does not, though his password is right.
			err := l.OpenWebSession(l.ctx, actor, snapshot.NewWebSession{ID: message.NewID(), Door: c.door, Person: s.Person, PasswordID: s.PasswordID, TokenHash: []byte("x")})
			l.reason(err, message.ReasonUnauthenticated)
			c.undo()
		}
	}
	// Less than that, and it goes on.
	s := l.in(snapshot.Console, "fresh", false)
	l.ago(s.ID, "seen_at", "29 minutes")
	l.works(snapshot.Console, "fresh", true)
	l.ago(s.ID, "seen_at", "29 minutes") // it was seen in between
	l.works(snapshot.Console, "fresh", true)
	// What is over goes from the table.
	if _, err := l.pool.Exec(l.ctx, takeOf("web_sessions", "expires_at", ""), time.Now(), 100); err != nil {
		t.Fatal(err)
	}
	if n := l.count("select count(*) from web_sessions where expires_at < now()"); n != 0 {
		t.Errorf("%d sessions that are over", n)
	}
}

// The token changes every quarter of an hour, and signs nobody out who asks for several
// things at once, or does not get the answer.
func TestWebSessionTokensRotate(t *testing.T) {
	t.Parallel()
	l := openLobby(t)
	const door = snapshot.Console
	s := l.in(door, "one", false)
	rotates := func(token, next string, want bool) {
		t.Helper()
		if _, rotated, err := l.show(door, token, next); err != nil || rotated != want {
			t.Errorf("%s: rotated %v, %v", token, rotated, err)
		}
	}
	rotates("one", "two", false)
	l.ago(s.ID, "rotated_at", "15 minutes")
	// Of many at a time one has the newer token, and all get their answer.
	var all sync.WaitGroup
	var mu sync.Mutex
	var newer []string
	for _, next := range []string{"a", "b", "c", "d", "e", "f"} {
		all.Go(func() {
			_, rotated, err := l.show(door, "one", next)
			mu.Lock()
			defer mu.Unlock()
			if rotated {
				newer = append(newer, next)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(newer) != 1 {
		t.Fatalf("the session was given %q", newer)
	}
	// Two that have read it at one moment, before either has written.
	at := sessionState{current: true, used: true, due: true, settled: true}
	for i, want := range []bool{true, false} {
		twin := l.in(door, "twin", false)
		if i > 0 {
			l.exec("update web_sessions set token_hash = 'by another request' where id = $1", twin.ID)
		}
		if rotated, err := l.seen(l.ctx, twin.ID, at, [][]byte{[]byte("twin")}, []byte("next")); err != nil || rotated != want {
			t.Errorf("rotated %v, want %v: %v", rotated, want, err)
		}
		l.exec("delete from web_sessions where id = $1", twin.ID)
	}
	// Nobody has shown the newer one: its answer may be lost, so the one before goes on.
	rotates("one", "x", false)
	l.ago(s.ID, "rotated_at", "1 minute")
	rotates("one", "two", true)
	l.works(door, newer[0], false)
	// With the newer one in use the older one ends, but for what is under way.
	rotates("two", "x", false)
	rotates("one", "x", false)
	l.ago(s.ID, "token_used_at", "1 minute")
	l.works(door, "one", false)
	l.works(door, "two", true)
	if n := l.count("select count(*) from web_sessions where person = $1", s.Person); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// That a session was seen is written once a minute.
func TestWebSessionsAreSeldomWritten(t *testing.T) {
	t.Parallel()
	l := openLobby(t)
	s := l.in(snapshot.Portal, "one", false)
	written := func() string {
		return scalar[string](l.bundle, "select xmin::text from web_sessions where id = $1", s.ID)
	}
	l.works(snapshot.Portal, "one", true) // its token was seen for the first time
	was := written()
	for range 3 {
		l.works(snapshot.Portal, "one", true)
	}
	if written() != was {
		t.Error("it was written for each request")
	}
	l.ago(s.ID, "seen_at", "1 minute")
	was = written()
	l.works(snapshot.Portal, "one", true)
	if written() == was || l.count("select count(*) from web_sessions where seen_at > now() - interval '1 minute'") != 1 {
		t.Error("it was not written after a minute")
	}
}

func TestSecondFactors(t *testing.T) {
	t.Parallel()
	for _, door := range []snapshot.Door{snapshot.Console, snapshot.Portal} {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			l := openLobby(t)
			p := l.people[door]
			do := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			mine, _ := l.in(door, "mine", false), l.in(door, "elsewhere", false)
			_, err := l.SecondFactor(l.ctx, p.ID)
			l.reason(err, message.ReasonNotFound)
			do(l.ProposeSecondFactor(l.ctx, p, []byte("first")))
			do(l.ProposeSecondFactor(l.ctx, p, []byte("sealed")))
			if l.person(door, p.Email).SecondFactor {
				t.Error("a factor that was only proposed is asked for")
			}
			codes := [][]byte{[]byte("r1"), []byte("r2")}
			l.reason(l.ConfirmSecondFactor(l.ctx, actor, p, mine.ID, []byte("first"), 7, codes), message.ReasonConflict)
			do(l.ConfirmSecondFactor(l.ctx, actor, p, mine.ID, []byte("sealed"), 7, codes))
			l.reason(l.ConfirmSecondFactor(l.ctx, actor, p, mine.ID, []byte("sealed"), 8, codes), message.ReasonConflict)
			l.reason(l.ProposeSecondFactor(l.ctx, p, []byte("third")), message.ReasonConflict)
			if f, err := l.SecondFactor(l.ctx, p.ID); err != nil || !f.Confirmed || f.LastStep != 7 || f.Codes != 2 || string(f.Sealed) != "sealed" {
				t.Errorf("%+v, %v", f, err)
			}
			// Who was in without it is in no longer.
			l.works(door, "elsewhere", false)
			if s, _, err := l.show(door, "mine", "x"); err != nil || !s.SecondFactor || !s.Person.SecondFactor {
				t.Errorf("%+v, %v", s, err)
			}

			// A session that waits opens nothing until the code is right, and has another
			// token then.
			waits := l.in(door, "waits", true)
			if s, _, err := l.show(door, "waits", "x"); err != nil || !s.Waiting || s.ExpiresAt.After(time.Now().Add(11*time.Minute)) {
				t.Errorf("%+v, %v", s, err)
			}
			if list, err := l.WebSessions(l.ctx, p); err != nil || len(list) != 1 {
				t.Errorf("%+v, %v", list, err)
			}
			do(l.PassWebSession(l.ctx, actor, p, waits.ID, []byte("passed"), "totp"))
			l.reason(l.PassWebSession(l.ctx, actor, p, waits.ID, []byte("again"), "totp"), message.ReasonNotFound)
			l.works(door, "waits", false)
			if s, _, err := l.show(door, "passed", "x"); err != nil || s.Waiting || !s.SecondFactor || s.ExpiresAt.Before(time.Now().Add(11*time.Hour)) {
				t.Errorf("%+v, %v", s, err)
			}

			// A step and a recovery code are taken once, and by one.
			for _, step := range []int64{6, 7} {
				if ok, err := l.TakeStep(l.ctx, p.ID, step); err != nil || ok {
					t.Errorf("step %d: %v %v", step, ok, err)
				}
			}
			once(t, "step 10", func() (bool, error) { return l.TakeStep(l.ctx, p.ID, 10) })
			once(t, "recovery code", func() (bool, error) {
				return l.TakeRecovery(l.ctx, p.ID, [][]byte{[]byte("of another key"), []byte("r1")})
			})
			if f, err := l.SecondFactor(l.ctx, p.ID); err != nil || f.Codes != 1 || f.LastStep != 10 {
				t.Errorf("%+v, %v", f, err)
			}
			do(l.RemoveSecondFactor(l.ctx, actor, door, p.ID))
			l.reason(l.RemoveSecondFactor(l.ctx, actor, door, p.ID), message.ReasonNotFound)
			if l.person(door, p.Email).SecondFactor {
				t.Error("it is asked for still")
			}
		})
	}
}

// once wants one of several at a time to be told yes.
func once(t *testing.T, what string, take func() (bool, error)) {
	t.Helper()
	var all sync.WaitGroup
	taken := make(chan bool, 8)
	for range cap(taken) {
		all.Go(func() {
			ok, err := take()
			if err != nil {
				t.Error(err)
			}
			taken <- ok
		})
	}
	all.Wait()
	close(taken)
	n := 0
	for ok := range taken {
		if ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%s: taken %d times", what, n)
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	for _, door := range []snapshot.Door{snapshot.Console, snapshot.Portal} {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			l := openLobby(t)
			p := l.people[door]
			hashes := func(token string) [][]byte { return [][]byte{[]byte("of another key"), []byte(token)} }
			offer := func(token string, good time.Duration) {
				t.Helper()
				if err := l.OfferReset(l.ctx, actor, p, []byte(token), good); err != nil {
					t.Fatal(err)
				}
			}
			redeem := func(token string) error {
				_, err := l.RedeemLink(l.ctx, Actor{Address: "192.0.2.9"}, door, hashes(token), "$new "+token)
				return err
			}
			l.in(door, "open", false)
			offer("late", -time.Second)
			l.reason(redeem("late"), message.ReasonNotFound)
			offer("one", time.Hour)
			offer("two", time.Hour) // takes the place of the one before
			l.reason(redeem("one"), message.ReasonNotFound)
			if got, purpose, err := l.Link(l.ctx, door, hashes("two")); err != nil || got.ID != p.ID || purpose != snapshot.LinkReset {
				t.Errorf("%+v %s %v", got, purpose, err)
			}
			for _, other := range []snapshot.Door{snapshot.Console, snapshot.Portal} {
				if _, _, err := l.Link(l.ctx, other, hashes("two")); (err == nil) != (other == door) {
					t.Errorf("at the %s: %v", other, err)
				}
			}
			l.works(door, "open", true) // reading a link uses nothing
			once(t, "link", func() (bool, error) {
				err := redeem("two")
				if err != nil && message.ReasonOf(err) == message.ReasonNotFound {
					return false, nil
				}
				return err == nil, err
			})
			l.works(door, "open", false)
			if now := l.person(door, p.Email); now.PasswordHash != "$new two" || now.PasswordID == p.PasswordID {
				t.Errorf("%+v", now)
			}
			// Somebody who may not sign in chooses no password either.
			offer("three", time.Hour)
			l.exec("update staff set active = false")
			l.exec("update accounts set status = 'suspended'")
			_, _, err := l.Link(l.ctx, door, hashes("three"))
			l.reason(err, message.ReasonNotFound)
			l.reason(redeem("three"), message.ReasonNotFound)
			if n := l.count("select count(*) from audit_log where actor = $1 and address = '192.0.2.9' and after->>'by' = 'reset'", p.Email); n != 1 {
				t.Errorf("%d lines of the audit log", n)
			}
			if n := l.count("select count(*) from audit_log t where t::text like '%$new%'"); n != 0 {
				t.Error("the audit log holds a hash")
			}
		})
	}
}

func TestInviteStaff(t *testing.T) {
	t.Parallel()
	l := openLobby(t)
	bob := snapshot.Staff{ID: message.NewID(), Email: "bob@gw.example", Name: "Bob", Role: snapshot.RoleViewer}
	m, err := l.InviteStaff(l.ctx, actor, bob, []byte("one"), time.Hour)
	if err != nil || m.ID != bob.ID || m.Role != snapshot.RoleViewer || !m.Active {
		t.Fatalf("%+v, %v", m, err)
	}
	if p := l.person(snapshot.Console, bob.Email); p.PasswordHash != "" {
		t.Errorf("%+v", p)
	}
	again := bob
	again.ID = message.NewID()
	if m, err = l.InviteStaff(l.ctx, actor, again, []byte("two"), time.Hour); err != nil || m.ID != bob.ID {
		t.Errorf("%+v, %v", m, err)
	}
	_, _, err = l.Link(l.ctx, snapshot.Console, [][]byte{[]byte("one")})
	l.reason(err, message.ReasonNotFound)
	if _, purpose, err := l.Link(l.ctx, snapshot.Console, [][]byte{[]byte("two")}); err != nil || purpose != snapshot.LinkInvitation {
		t.Errorf("%s %v", purpose, err)
	}
	if _, err := l.RedeemLink(l.ctx, actor, snapshot.Console, [][]byte{[]byte("two")}, "$chosen"); err != nil {
		t.Error(err)
	}
	_, err = l.InviteStaff(l.ctx, actor, again, []byte("three"), time.Hour)
	l.reason(err, message.ReasonConflict)
	l.exec("update staff set active = false, password_hash = '' where id = $1", bob.ID)
	_, err = l.InviteStaff(l.ctx, actor, again, []byte("three"), time.Hour)
	l.reason(err, message.ReasonConflict)
}

// A changed password ends all sessions but the one in which it was changed.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	for _, door := range []snapshot.Door{snapshot.Console, snapshot.Portal} {
		l := openLobby(t)
		p := l.people[door]
		mine := l.in(door, "mine", false)
		l.in(door, "elsewhere", false)
		if err := l.OfferReset(l.ctx, actor, p, []byte("link"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := l.RehashPassword(l.ctx, p, "$same"); err != nil || l.person(door, p.Email).PasswordHash != "$same" {
			t.Error(err)
		}
		if err := l.RehashPassword(l.ctx, p, "$late"); err != nil || l.person(door, p.Email).PasswordHash != "$same" {
			t.Error("a hash was replaced that was there no longer", err)
		}
		l.works(door, "mine", true)
		if err := l.ChangePassword(l.ctx, actor, p, "$new", mine.ID, []byte("next")); err != nil {
			t.Fatal(err)
		}
		l.works(door, "mine", false)
		l.works(door, "elsewhere", false)
		l.works(door, "next", true)
		_, _, err := l.Link(l.ctx, door, [][]byte{[]byte("link")})
		l.reason(err, message.ReasonNotFound)
		l.reason(l.ChangePassword(l.ctx, actor, p, "$stale", mine.ID, []byte("x")), message.ReasonUnauthenticated)
		err = l.OpenWebSession(l.ctx, actor, snapshot.NewWebSession{ID: message.NewID(), Door: door, Person: p.ID, PasswordID: p.PasswordID, TokenHash: []byte("y")})
		l.reason(err, message.ReasonUnauthenticated)
		if err := l.SignInFailed(l.ctx, p.Actor("192.0.2.1"), p, "password"); err != nil {
			t.Error(err)
		}
	}
}

// One address may have a password in several accounts.
func TestPeopleOfSeveralAccounts(t *testing.T) {
	t.Parallel()
	l := openLobby(t)
	other := message.NewID()
	l.shop(other)
	if _, _, err := l.InvitePortalUser(l.ctx, actor, snapshot.PortalUser{ID: message.NewID(), AccountID: other, Email: "ada@shop.example"}, 10, []byte("i"), time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	l.in(snapshot.Portal, "one", false)
	list, err := l.People(l.ctx, snapshot.Portal, "ada@shop.example")
	if err != nil || len(list) != 2 || list[0].Account != l.owner || list[1].PasswordHash != "" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, none := range []string{"", "nobody@shop.example", "a\x00b"} {
		if list, err := l.People(l.ctx, snapshot.Portal, none); err != nil || len(list) != 0 {
			t.Errorf("%q: %+v, %v", none, list, err)
		}
	}
}
