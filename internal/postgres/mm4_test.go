package postgres

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// mmsc is a peer with the defaults, of the owner's account.
func (b *bundle) mmsc(name string) snapshot.MM4Peer {
	b.tb.Helper()
	if b.count("select count(*) from accounts where id = $1", b.owner) == 0 {
		if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: b.owner, CompanyName: "Of " + name, WebhookSecret: "x"}); err != nil {
			b.tb.Fatal(err)
		}
	}
	n := b.count("select count(*) from mm4_peers")
	p := snapshot.MM4Peer{ID: message.NewID(), AccountID: b.owner, Name: name, Enabled: true, Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/32", n+1))},
		MailDomains: []string{"mms.example"}, MaxSize: 1 << 20, MaxSessions: 20, MaxRecipients: 20, Host: "mms.example", Port: 25, TLS: "opportunistic",
		SendUsername: "us", SendPassword: "swordfish", SystemUser: "system-user", Version: "6.10.0", MOLifetime: 72 * time.Hour}
	made, err := b.CreateMM4Peer(b.ctx, actor, p)
	if err != nil {
		b.tb.Fatal(err)
	}
	return made.MM4Peer
}

// mailed is an MMS as the MM4 edge hands it in.
func (b *bundle) mailed(peer message.ID, delivery, read bool) message.Acceptance {
	m := b.draft()
	m.Kind, m.Edge, m.GroupID = message.MMS, message.EdgeMM4, message.NewID()
	return message.Acceptance{Message: m, MM4: &message.MM4Origin{PeerID: peer, Reference: "abc\xff@mms.example", Sender: "+12025550143/TYPE=PLMN@mms.example",
		Recipient: "+13105550117/TYPE=PLMN@us.example", System: "system-user@mms.example", DeliveryReport: delivery, ReadReport: read}}
}

func (b *bundle) goesTo(m *message.Message, to message.Status, e *message.Error) {
	b.tb.Helper()
	b.exec("update messages set status = $2 where id = $1", m.ID, string(message.Before(to)[0]))
	b.must(message.Change{MessageID: m.ID, To: to, Events: line(to), Error: e, OwedMM4: true})
}

func (b *bundle) mails(db *DB, instance string) []message.MM4Mail {
	b.tb.Helper()
	list, err := db.MM4MailsDue(b.ctx, instance, 10)
	if err != nil {
		b.tb.Fatal(err)
	}
	return list
}

func (b *bundle) mailTried(instance string, id message.ID, r message.MM4MailResult) {
	b.tb.Helper()
	if err := b.MM4MailTried(b.ctx, instance, id, r); err != nil {
		b.tb.Fatal(err)
	}
}

func (b *bundle) mailStates() string {
	b.tb.Helper()
	return scalar[string](b, "select coalesce(string_agg(kind || ' ' || status || ' ' || state || ' ' || attempts, ', ' order by created_at, id), '') from mm4_mails")
}

// sound wants no invariant broken but those that goesTo breaks, which needs no workflow.
func (b *bundle) sound() {
	b.tb.Helper()
	found, err := b.Violations(b.ctx, 0)
	found = slices.DeleteFunc(found, func(v Violation) bool {
		return strings.HasPrefix(v.Invariant, "what went out has a journalled attempt") || strings.HasSuffix(v.Invariant, "no row in starts")
	})
	if err != nil || len(found) > 0 {
		b.tb.Errorf("%+v, %v", found, err)
	}
}

func response(peer message.ID, transaction string) message.MM4Mail {
	return message.MM4Mail{PeerID: peer, Kind: message.MM4ForwardRES, TransactionID: transaction,
		Response: message.MM4Response{System: "system-user@mms.example", Reference: "abc", Status: "Ok", Recipients: []string{"+13105550117"}}}
}

func TestMM4Report(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	owed := 0
	b.OnMM4Owed(func() { owed++ })
	asked, silent := b.mailed(p.ID, true, true), b.mailed(p.ID, false, false)
	for _, a := range []message.Acceptance{asked, silent} {
		b.taken(a)
	}
	if got, err := b.Message(b.ctx, asked.Message.ID); err != nil || got.GroupID != asked.Message.GroupID {
		t.Errorf("group %s, want %s, %v", got.GroupID, asked.Message.GroupID, err)
	}
	if due := b.mails(b.DB, "one"); len(due) != 0 {
		t.Fatalf("owed before anything happened: %+v", due)
	}
	refusal := message.Refuse(message.ReasonUnreachable, "no")
	b.goesTo(asked.Message, message.StatusUndelivered, refusal)
	b.goesTo(silent.Message, message.StatusUndelivered, refusal)
	if owed != 1 {
		t.Errorf("told %d times, want once", owed)
	}
	due := b.mails(b.DB, "one")
	if len(due) != 1 {
		t.Fatalf("owed: %+v", due)
	}
	m := due[0]
	if m.Origin != *asked.MM4 || m.PeerID != p.ID || m.Kind != message.MM4DeliveryReport || m.MessageID != asked.Message.ID ||
		m.Status != message.StatusUndelivered || m.Reason != message.ReasonUnreachable || time.Until(m.ExpiresAt) < 71*time.Hour || m.At.IsZero() {
		t.Errorf("%+v", m)
	}
	// The status, and with it the report, comes once.
	if adv, err := b.Advance(b.ctx, message.Change{MessageID: m.MessageID, To: message.StatusUndelivered, Events: line(message.StatusUndelivered), OwedMM4: true}); err != nil || adv.Changed {
		t.Errorf("%+v, %v", adv, err)
	}
	b.sound()
	b.mailTried("one", m.ID, message.MM4MailResult{State: message.MM4MailSent, Code: "250 2.0.0"})
	if got := b.mailStates(); got != "delivery_report undelivered sent 1" {
		t.Error(got)
	}
	b.sound()
}

// What is not committed with the status is not there either.
func TestMM4ReportWithStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	a := b.mailed(p.ID, true, false)
	b.taken(a)
	b.exec("update messages set status = 'sending' where id = $1", a.Message.ID)
	b.failCommits("mm4_mails")
	c := message.Change{MessageID: a.Message.ID, To: message.StatusFailed, Error: message.Refuse(message.ReasonNoRoute, "no"), Events: line(message.StatusFailed), OwedMM4: true}
	if _, err := b.Advance(b.ctx, c); err == nil {
		t.Fatal("the commit went through")
	}
	if got := scalar[string](b, "select status from messages where id = $1", a.Message.ID); got != "sending" {
		t.Errorf("it is %s without its report", got)
	}
	if got := b.mailStates(); got != "" {
		t.Errorf("there is %s without the status", got)
	}
}

// One that was refused, or stored before, has no origin of this.
func TestMM4OriginOfWhatIsStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	origins := func() int { return b.count("select count(*) from mm4_origins") }
	refused := b.mailed(p.ID, true, true)
	refused.Message.Status, refused.Message.Error = message.StatusRejected, message.Refuse(message.ReasonNoRoute, "no")
	b.taken(refused)
	if origins() != 0 {
		t.Error("a refused message has an origin")
	}
	scheduled := b.mailed(p.ID, true, true)
	scheduled.Message.Status, scheduled.Message.SendAt = message.StatusScheduled, time.Now().Add(time.Hour)
	b.taken(scheduled)
	again := scheduled
	again.MM4 = &message.MM4Origin{PeerID: p.ID, Reference: "other"}
	if got, err := b.Accept(b.ctx, again); err != nil || !got.Repeated {
		t.Errorf("%+v, %v", got, err)
	}
	if n := b.count("select count(*) from mm4_origins where reference = $1 and account_id = $2", []byte(scheduled.MM4.Reference), b.owner); n != 1 || origins() != 1 {
		t.Errorf("%d origins of %d are the first one's", n, origins())
	}
	// Beside one that came over SMPP, one with files and a plain one.
	sub := b.submitted(b.esme(b.owner, "acme"), 1)
	with := b.mailed(p.ID, true, true)
	file := b.kept("a picture")
	file.ID, file.Token = message.NewID(), message.NewMediaToken()
	with.Message.Media = []message.Media{{Position: 1, File: file}}
	var group []*acceptance
	for _, a := range []message.Acceptance{sub, with, {Message: b.draft()}} {
		group = append(group, b.sealed(a))
	}
	kept, err := b.accept.insert(group)
	if err != nil || len(kept) != 3 || origins() != 2 || b.count("select count(*) from smpp_origins") != 1 || len(b.have(with.Message, "")) != 1 {
		t.Errorf("%v, %v, %d origins", kept, err, origins())
	}
	b.sound()
}

func TestMM4MailsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	const many = 40
	var owed []message.MM4Mail
	for i := range many {
		owed = append(owed, response(p.ID, fmt.Sprint(i)))
	}
	if err := b.OweMM4(b.ctx, owed); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[message.ID]string{}
	for i := range 4 {
		db, instance := b.replica(), fmt.Sprint("p", i)
		wg.Go(func() {
			for {
				list, err := db.MM4MailsDue(b.ctx, instance, 3)
				if err != nil {
					t.Error(err)
				}
				if len(list) == 0 {
					return
				}
				mu.Lock()
				for _, m := range list {
					if by, twice := seen[m.ID]; twice {
						t.Errorf("%s has what %s has", instance, by)
					}
					seen[m.ID] = instance
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// Who looks at rows that others have locked passes them over.
	for list := b.mails(b.DB, "last"); len(list) > 0; list = b.mails(b.DB, "last") {
		for _, m := range list {
			seen[m.ID] = "last"
		}
	}
	if n := b.count("select count(*) from mm4_mails where claimed_by is not null and due_at > now() + interval '1 minute'"); len(seen) != many || n != many {
		t.Errorf("%d are claimed, %d were given", n, len(seen))
	}
	b.sound()
}

// A claim ends by its time, by its result, or by being given back.
func TestMM4MailClaims(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	if err := b.OweMM4(b.ctx, []message.MM4Mail{response(p.ID, "a")}); err != nil {
		t.Fatal(err)
	}
	one := func(instance string, want int) message.ID {
		t.Helper()
		list := b.mails(b.DB, instance)
		if len(list) != want {
			t.Fatalf("%s got %d, want %d", instance, len(list), want)
		}
		if want == 0 {
			return message.ID{}
		}
		return list[0].ID
	}
	id := one("one", 1)
	one("two", 0)
	b.exec("update mm4_mails set due_at = now()") // the lease is over
	one("two", 1)
	// What the first one says of it now counts only if it was sent.
	b.mailTried("one", id, message.MM4MailResult{State: message.MM4MailFailed, Code: "550"})
	if got := b.mailStates(); got != "forward_res  pending 0" {
		t.Error(got)
	}
	if err := b.ReleaseMM4(b.ctx, "one"); err != nil {
		t.Fatal(err)
	}
	one("three", 0)
	if err := b.ReleaseMM4(b.ctx, "two"); err != nil {
		t.Fatal(err)
	}
	one("three", 1)
	b.mailTried("three", id, message.MM4MailResult{State: message.MM4MailPending, Error: "connection refused", Next: time.Minute})
	b.mailTried("three", id, message.MM4MailResult{State: message.MM4MailPending, Error: "connection refused", Next: time.Minute})
	if got := b.mailStates(); got != "forward_res  pending 1" {
		t.Error(got)
	}
	one("three", 0)
	b.exec("update mm4_mails set due_at = now()")
	one("three", 1)
	b.mailTried("two", id, message.MM4MailResult{State: message.MM4MailSent, Code: "250"})
	if got := b.mailStates(); got != "forward_res  sent 2" {
		t.Error(got)
	}
	one("three", 0)
	b.sound()
}

func TestMM4MailExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	if err := b.OweMM4(b.ctx, []message.MM4Mail{response(p.ID, "a"), response(p.ID, "b")}); err != nil {
		t.Fatal(err)
	}
	id := b.mails(b.DB, "one")[0].ID
	b.mailTried("one", id, message.MM4MailResult{State: message.MM4MailPending, Error: "refused", Next: message.MM4ResponseLife + time.Second})
	if n := b.count("select count(*) from mm4_mails where id = $1 and state = 'expired' and attempts = 1 and done_at is not null", id); n != 1 {
		t.Error("it is tried after its time: " + b.mailStates())
	}
	b.exec("update mm4_mails set expires_at = now(), due_at = now()")
	if due := b.mails(b.DB, "one"); len(due) != 0 {
		t.Errorf("given after its time: %+v", due)
	}
	if got := b.mailStates(); !strings.Contains(got, "expired 0") || strings.Contains(got, "pending") {
		t.Error(got)
	}
	// Retention takes it in its time.
	b.exec("update mm4_mails set expires_at = now() - interval '8 days'")
	b.upkeep()
	if got := b.mailStates(); got != "" {
		t.Errorf("left: %s", got)
	}
}

// Much for one peer does not keep another one waiting.
func TestMM4MailsInTurn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	busy, idle := b.mmsc("busy"), b.mmsc("idle")
	var owed []message.MM4Mail
	for i := range 30 {
		owed = append(owed, response(busy.ID, fmt.Sprint(i)))
	}
	if err := b.OweMM4(b.ctx, owed); err != nil {
		t.Fatal(err)
	}
	if err := b.OweMM4(b.ctx, []message.MM4Mail{response(idle.ID, "x")}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(b.mails(b.DB, "one"), func(m message.MM4Mail) bool { return m.PeerID == idle.ID }) {
		t.Error("only the busy one was served")
	}
}

// A later word on a message waits for the one before.
func TestMM4ReportsInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	a := b.mailed(p.ID, true, false)
	b.taken(a)
	b.goesTo(a.Message, message.StatusUnconfirmed, message.Refuse(message.ReasonUnreachable, "nobody knows"))
	first := b.mails(b.DB, "one")
	b.mailTried("one", first[0].ID, message.MM4MailResult{State: message.MM4MailPending, Next: time.Hour})
	b.must(message.Change{MessageID: a.Message.ID, To: message.StatusDelivered, Events: line(message.StatusDelivered), OwedMM4: true})
	if due := b.mails(b.DB, "one"); len(due) != 0 {
		t.Errorf("it overtakes: %+v", due)
	}
	b.mailTried("one", first[0].ID, message.MM4MailResult{State: message.MM4MailSent})
	b.exec("update mm4_mails set due_at = now() where state = 'pending'")
	if due := b.mails(b.DB, "one"); len(due) != 1 || due[0].Status != message.StatusDelivered {
		t.Errorf("%+v, %s", due, b.mailStates())
	}
	b.sound()
}

// Whoever removes a peer, its mails have ended, and no new ones come.
func TestMM4PeerGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p, stays := b.mmsc("acme"), b.mmsc("stays")
	a := b.mailed(p.ID, true, true)
	b.taken(a)
	if err := b.OweMM4(b.ctx, []message.MM4Mail{response(p.ID, "a"), response(stays.ID, "a")}); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteMM4Peer(b.ctx, actor, p.ID, func(snapshot.MM4PeerState) error { return nil }); err != nil {
		t.Fatal(err)
	}
	b.goesTo(a.Message, message.StatusDelivered, nil)
	if err := b.MM4Read(b.ctx, a.Message.ID, time.Now(), "Read"); err != nil {
		t.Fatal(err)
	}
	if err := b.OweMM4(b.ctx, []message.MM4Mail{response(p.ID, "b")}); err != nil {
		t.Fatal(err)
	}
	if got := b.mailStates(); got != "forward_res  failed 0, forward_res  pending 0" && got != "forward_res  pending 0, forward_res  failed 0" {
		t.Error(got)
	}
	b.sound()
	b.exec("delete from accounts")
	if got := b.mailStates(); strings.Contains(got, "pending") {
		t.Error(got)
	}
}

func TestMM4Read(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	asked, silent := b.mailed(p.ID, false, true), b.mailed(p.ID, true, false)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	if err := b.MM4Read(b.ctx, message.NewID(), at, "Read"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("of no message: %v", err)
	}
	for _, a := range []message.Acceptance{asked, silent} {
		b.taken(a)
		var wg sync.WaitGroup
		for _, db := range []*DB{b.DB, b.replica(), b.DB} { // the vendor says it three times, at once
			wg.Go(func() {
				if err := db.MM4Read(b.ctx, a.Message.ID, at, "Deleted without being read"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := b.count("select count(*) from message_events where message_id = $1 and type = 'read'", a.Message.ID); n != 1 {
			t.Errorf("%d lines", n)
		}
	}
	due := b.mails(b.DB, "one")
	if len(due) != 1 || due[0].Kind != message.MM4ReadReport || due[0].ReadStatus != "Deleted without being read" || due[0].Status != "" || !due[0].At.Equal(at) ||
		due[0].Origin != *asked.MM4 || due[0].MessageID != asked.Message.ID {
		t.Errorf("%+v", due)
	}
	b.sound()
}

func TestMM4Answers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(1)
	a := message.MM4Answer{VendorID: b.vendor.ID, MessageID: m.ID, Attempt: 1, Status: "Ok", Detail: "thanks", CameAt: time.Now().UTC().Add(-time.Hour).Truncate(time.Microsecond)}
	for name, c := range map[string]message.MM4Answer{
		"message": {VendorID: b.vendor.ID, MessageID: message.NewID(), Attempt: 1}, "attempt": {VendorID: b.vendor.ID, MessageID: m.ID, Attempt: 2},
		"vendor": {VendorID: message.NewID(), MessageID: m.ID, Attempt: 1},
	} {
		if err := b.PutMM4Answer(b.ctx, c); message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("of another %s: %v", name, err)
		}
	}
	again := a
	again.Status, again.Detail = "Error-unspecified", ""
	for _, c := range []message.MM4Answer{a, again} { // the first one counts
		if err := b.PutMM4Answer(b.ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	take := func(db *DB, vendor message.ID, refs ...message.AttemptRef) []message.MM4Answer {
		t.Helper()
		list, err := db.TakeMM4Answers(b.ctx, vendor, refs)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	other := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 1}
	for _, db := range []*DB{b.DB, b.replica()} { // a process that dies with it loses nothing
		if list := take(db, b.vendor.ID, other, a.Ref()); len(list) != 1 || !list[0].CameAt.Equal(a.CameAt) || list[0].Detail != "thanks" || list[0].Status != "Ok" || list[0].Ref() != a.Ref() || list[0].Doubtful {
			t.Errorf("%+v, want %+v", list, a)
		}
	}
	if list := take(b.DB, message.NewID(), a.Ref()); len(list) != 0 {
		t.Errorf("another vendor's: %+v", list)
	}
	stale := func(want int) {
		t.Helper()
		list, err := b.StaleMM4Answers(b.ctx, time.Minute, 10)
		if err != nil || len(list) != want {
			t.Fatalf("stale: %+v, %v, want %d", list, err, want)
		}
		if want > 0 && (!list[0].Doubtful || list[0].Detail != "thanks") {
			t.Errorf("%+v", list[0])
		}
	}
	stale(0) // it is being sent: somebody waits, or will be found dead
	b.must(message.Change{MessageID: m.ID, To: message.StatusInDoubt, Events: line(message.StatusInDoubt), Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartInDoubt}}})
	stale(1)
	stale(0) // another process has it
	b.exec("update mm4_answers set claimed_until = now()")
	stale(1)
	if err := b.MM4AnswerDone(b.ctx, a); err != nil {
		t.Fatal(err)
	}
	b.exec("update mm4_answers set claimed_until = now()")
	stale(0)
	// One that the record shows goes by itself.
	m = b.sent("a1")
	a.MessageID = m.ID
	if err := b.PutMM4Answer(b.ctx, a); err != nil {
		t.Fatal(err)
	}
	b.sound()
	stale(0)
	if n := b.count("select count(*) from mm4_answers"); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestInboundWithFiles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	added := func(octets string) message.MediaFile {
		f := b.file(octets)
		if err := b.AddMedia(b.ctx, &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	mms := func(files ...message.MediaFile) message.Arrival {
		a := b.owned(b.arrival("Look"))
		a.Kind, a.VendorRef, a.Files, a.Subject = message.MMS, "ref", files, "Holiday"
		a.Message = &message.Message{Body: "Look", Segments: 1, Vendor: b.vendor.Name, Edge: "mm4", ExpiresAt: time.Now().Add(time.Hour), Class: message.ClassConversation, Delivery: message.AtMostOnce}
		return a
	}
	picture, film := added("a picture"), added("a film")
	first := mms(picture, film)
	if out := b.came(first); out.Start == nil || out.Again {
		t.Fatalf("%+v", out)
	}
	have := b.have(&message.Message{ID: first.ID}, "")
	if len(have) != 2 || have[0].File.SHA256 != picture.SHA256 || have[1].File.SHA256 != film.SHA256 || have[1].Position != 2 || have[0].File.AccountID != b.owner ||
		have[0].File.Token == picture.Token {
		t.Errorf("%+v", have)
	}
	got, err := b.Received(b.ctx, first.ID)
	if err != nil || len(got.Media) != 2 || got.Media[0].ContentType != picture.ContentType || got.Media[0].URL != "" || got.Subject != "Holiday" {
		t.Errorf("%+v, %v", got, err)
	}
	b.sound()
	// The same mail again is the same message.
	again := mms(added("a picture"), added("a film"))
	if out := b.came(again); !out.Again || out.Start != nil {
		t.Errorf("%+v", out)
	}
	if n := b.count("select count(*) from message_media"); n != 2 {
		t.Errorf("%d files", n)
	}
	// Two numbers of ours in one mail share the octets.
	second := mms(picture)
	second.Number, second.VendorRef = "+12025550144", "other"
	b.came(second)
	// A file that has ended stops the message.
	gone := picture
	gone.SHA256[0] ^= 1
	third := mms(film, gone)
	third.VendorRef = "third"
	if _, err := b.Inbound(b.ctx, third); message.ReasonOf(err) != message.ReasonUnavailable {
		t.Errorf("%v", err)
	}
	if n := b.count("select count(*) from inbound_messages where id = $1", third.ID) + b.count("select count(*) from messages where id = $1", third.ID) +
		b.count("select count(*) from message_media where message_id = $1", third.ID); n != 0 {
		t.Errorf("%d rows of what was not taken", n)
	}
	b.sound()
}
