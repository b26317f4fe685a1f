package postgres

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func (b *bundle) answeredAs(credential message.ID, id string) ([]message.Message, []message.SMPPOrigin) {
	b.tb.Helper()
	list, origins, err := b.Answered(b.ctx, credential, id)
	if err != nil || len(list) != len(origins) {
		b.tb.Fatalf("%d messages with %d origins, %v", len(list), len(origins), err)
	}
	return list, origins
}

// What an ESME wrote comes back to the octet.
func TestOriginStores(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	for name, spoil := range map[string]func(*message.SMPPOrigin){
		"usual":        func(*message.SMPPOrigin) {},
		"no reference": func(o *message.SMPPOrigin) { o.Reference = nil },
		"all bits": func(o *message.SMPPOrigin) {
			o.Registered, o.Source.TON, o.Source.NPI, o.Dest.TON, o.Dest.NPI = 255, 255, 254, 253, 252
		},
		"odd octets":   func(o *message.SMPPOrigin) { o.Source.Text, o.Dest.Text = "\xc4\x00CME", "\xff" },
		"empty source": func(o *message.SMPPOrigin) { o.Source = message.SMPPAddress{} },
		"an old peer":  func(o *message.SMPPOrigin) { o.AnswerID = "0000a1b2" },
		"of a batch":   func(o *message.SMPPOrigin) { o.AnswerID = message.Hex32(message.NewID()) },
		"no receipt":   func(o *message.SMPPOrigin) { o.Registered = 0 },
		"a coding": func(o *message.SMPPOrigin) {
			coding := byte(245)
			o.Coding = &coding
		},
		"NUL reference": func(o *message.SMPPOrigin) { o.Reference = []byte{0, 0} },
	} {
		a := b.submitted(credential, 0x11)
		spoil(a.Origin)
		m := b.taken(a)
		list, origins := b.answeredAs(credential, a.Origin.AnswerID)
		if len(list) != 1 || !reflect.DeepEqual(origins[0], *a.Origin) {
			t.Errorf("%s: %+v, want %+v", name, origins, *a.Origin)
		}
		want, err := b.Message(b.ctx, m.ID)
		if err != nil || !reflect.DeepEqual(list[0], *want) || want.Body != m.Body {
			t.Errorf("%s: %+v, want %+v, %v", name, list[0], want, err)
		}
	}
}

// Only what is on its way is owed anything; a replay stores nothing.
func TestOriginOfAccepted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	for _, s := range message.Statuses() {
		a := b.submitted(credential, 1)
		a.Message.Status = s
		b.taken(a)
		want := 0
		if s == message.StatusAccepted || s == message.StatusScheduled {
			want = 1
		}
		if n := b.count("select count(*) from smpp_origins where message_id = $1", a.Message.ID); n != want {
			t.Errorf("%s: %d rows", s, n)
		}
	}
	first, again := b.submitted(credential, 1), b.submitted(credential, 1)
	first.Idempotency = keyed(first.Message, "k", 1).Idempotency
	again.Idempotency = keyed(again.Message, "k", 1).Idempotency
	b.taken(first)
	for _, a := range []message.Acceptance{again, first} {
		if got, err := b.Accept(b.ctx, a); err != nil || got.Replay == nil {
			t.Errorf("no replay: %+v, %v", got, err)
		}
	}
	if n := b.count("select count(*) from smpp_origins where message_id = any($1)", []message.ID{first.Message.ID, again.Message.ID}); n != 1 {
		t.Errorf("%d origins for one message", n)
	}
	// The same message without a key: a repeat after a lost connection.
	plain := b.submitted(credential, 1)
	b.taken(plain)
	b.taken(plain)
	if n := b.count("select count(*) from smpp_origins where message_id = $1", plain.Message.ID); n != 1 {
		t.Errorf("%d origins for one message", n)
	}
}

// Messages of other edges share the commit and get no origin; each gets its own.
func TestOriginsOfAGroup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	release := b.hold("messages")
	waiting := []<-chan acceptResult{b.accepting(b.ctx, message.Acceptance{Message: b.draft()})}
	b.blocked()
	var all []message.Acceptance
	for i := range 20 {
		a := b.submitted(credential, byte(i))
		if i%3 == 0 {
			a.Origin = nil
		} else {
			a.Origin.Dest.Text = fmt.Sprint(i)
		}
		all = append(all, a)
		waiting = append(waiting, b.accepting(b.ctx, a))
	}
	b.until("all wait", func() bool { return b.queued() == len(all) })
	release()
	for _, done := range waiting {
		if r := <-done; r.err != nil {
			t.Fatal(r.err)
		}
	}
	if n := b.count("select count(distinct xmin::text) from messages"); n != 2 {
		t.Errorf("%d transactions", n)
	}
	for _, a := range all {
		if a.Origin == nil {
			if n := b.count("select count(*) from smpp_origins where message_id = $1", a.Message.ID); n != 0 {
				t.Error("a message of another edge has an origin")
			}
			continue
		}
		if _, origins := b.answeredAs(credential, a.Origin.AnswerID); !reflect.DeepEqual(origins, []message.SMPPOrigin{*a.Origin}) {
			t.Errorf("%+v, want %+v", origins, *a.Origin)
		}
	}
	b.whole()
}

// A message is there with what its sender is owed or not at all.
func TestOriginInTheSameCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	nothing := func(what string) {
		t.Helper()
		if n := b.count("select (select count(*) from messages) + (select count(*) from message_events) + (select count(*) from starts) + (select count(*) from smpp_origins)"); n != 0 {
			t.Errorf("%s: %d rows", what, n)
		}
	}
	release := b.hold("smpp_origins")
	done := b.accepting(b.ctx, b.submitted(credential, 1))
	b.blocked()
	b.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
	if r := <-done; message.ReasonOf(r.err) != message.ReasonUnavailable {
		t.Errorf("killed half way: %v", r.err)
	}
	release()
	nothing("killed half way")
	b.failCommits("smpp_origins")
	if _, err := b.Accept(b.ctx, b.submitted(credential, 1)); err == nil {
		t.Error("accepted although the commit failed")
	}
	nothing("the commit failed")
}

func TestAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.esme(b.owner, "acme"), b.esme(b.owner, "acme2")
	stranger := b.esme(message.NewID(), "other")
	single := b.submitted(first, 1)
	b.taken(single)
	batch := message.Hex32(message.NewID())
	var ids []message.ID
	for range 5 {
		a := b.submitted(first, 1)
		a.Origin.AnswerID = batch
		ids = append(ids, b.taken(a).ID)
	}
	for _, c := range []struct {
		name       string
		credential message.ID
		id         string
		want       []message.ID
	}{
		{"its own", first, single.Origin.AnswerID, []message.ID{single.Message.ID}},
		{"by another credential of the account", second, single.Origin.AnswerID, []message.ID{single.Message.ID}},
		{"a batch", first, batch, ids},
		{"a batch, by the other credential", second, batch, ids},
		{"another account", stranger, single.Origin.AnswerID, nil},
		{"a batch, another account", stranger, batch, nil},
		{"no credential", message.NewID(), single.Origin.AnswerID, nil},
		{"nobody's", first, message.Hex32(message.NewID()), nil},
		{"a member's own id, which nobody was told", first, message.Hex32(ids[0]), nil},
		{"with hyphens", first, single.Message.ID.String(), nil},
		{"empty", first, "", nil},
		{"odd octets", first, "a\x00\xff", nil},
	} {
		list, origins, err := b.Answered(b.ctx, c.credential, c.id)
		if c.want == nil {
			if message.ReasonOf(err) != message.ReasonNotFound || list != nil || origins != nil {
				t.Errorf("%s: %d messages, %v", c.name, len(list), err)
			}
			continue
		}
		if err != nil || len(origins) != len(list) || !slices.Equal(pick(list, func(m message.Message) message.ID { return m.ID }), c.want) {
			t.Errorf("%s: %d messages, %d origins, %v", c.name, len(list), len(origins), err)
		}
	}
	// Two accounts may have been given the same short id.
	mine, theirs := b.submitted(first, 1), b.submitted(stranger, 1)
	mine.Origin.AnswerID, theirs.Origin.AnswerID = "00000001", "00000001"
	theirs.Message.AccountID = scalar[message.ID](b, "select account_id from smpp_credentials where id = $1", stranger)
	b.taken(mine)
	b.taken(theirs)
	for credential, want := range map[message.ID]message.ID{second: mine.Message.ID, stranger: theirs.Message.ID} {
		if list, _ := b.answeredAs(credential, "00000001"); len(list) != 1 || list[0].ID != want {
			t.Errorf("%d messages", len(list))
		}
	}
}

// A short id that came round again means the newest submit, which may have been
// one of many messages; a long one never comes round.
func TestAnsweredShortID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	long := message.Hex32(message.NewID())
	var short, all []message.ID
	for _, age := range []time.Duration{48 * time.Hour, time.Hour, batchTime + time.Second, batchTime - time.Second, time.Minute, 0} {
		for _, id := range []string{"0000a1b2", long} {
			a := b.submitted(credential, 1)
			a.Origin.AnswerID = id
			a.Message.CreatedAt = a.Message.CreatedAt.Truncate(time.Hour).Add(-age)
			b.taken(a)
			switch {
			case id == long:
				all = append(all, a.Message.ID)
			case age < batchTime:
				short = append(short, a.Message.ID)
			}
		}
	}
	for id, want := range map[string][]message.ID{"0000a1b2": short, long: all} {
		list, origins := b.answeredAs(credential, id)
		if got := pick(list, func(m message.Message) message.ID { return m.ID }); !slices.Equal(got, want) || origins[0].AnswerID != id {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
}

// An id that came round too often gives its newest messages.
func TestAnsweredIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.taken(b.submitted(credential, 1))
	b.exec(`insert into messages select (jsonb_populate_record(m, jsonb_build_object('id', 'ffffffff-0000-7000-8000-' || lpad(n::text, 12, '0')))).* from messages m, generate_series(1, 300) n where m.id = $1`, m.ID)
	b.exec("update messages set body = null")
	b.exec(`insert into smpp_origins select (jsonb_populate_record(o, jsonb_build_object('message_id', m.id, 'answer_id', 'ab'))).* from smpp_origins o, messages m where m.id > o.message_id`)
	list, _ := b.answeredAs(credential, "ab")
	if len(list) != mostAnswered || list[0].ID.String() != "ffffffff-0000-7000-8000-000000000045" || list[255].ID.String() != "ffffffff-0000-7000-8000-000000000300" {
		t.Errorf("%d messages from %s", len(list), list[0].ID)
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.esme(b.owner, "acme"), b.esme(b.owner, "acme2")
	stranger := b.esme(message.NewID(), "other")
	usual := b.submitted(first, 1).Origin
	source, dest := usual.Source, usual.Dest
	var may []message.ID
	for _, s := range message.Statuses() {
		m := b.taken(b.submitted(first, 1))
		b.exec("update messages set status = $2 where id = $1", m.ID, string(s))
		if s == message.StatusAccepted || s == message.StatusScheduled || s == message.StatusQueued {
			may = append(may, m.ID)
		}
	}
	for _, spoil := range []func(*message.SMPPOrigin){
		func(o *message.SMPPOrigin) { o.Source.Text += "X" }, func(o *message.SMPPOrigin) { o.Dest.Text += "0" },
		func(o *message.SMPPOrigin) { o.Source, o.Dest = o.Dest, o.Source },
	} {
		a := b.submitted(first, 1)
		spoil(a.Origin)
		b.taken(a)
	}
	between := func(credential message.ID, limit int) []message.ID {
		t.Helper()
		ids, err := b.Between(b.ctx, credential, source, dest, limit)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	for _, credential := range []message.ID{first, second} {
		if got := between(credential, 100); !slices.Equal(got, may) {
			t.Errorf("%v, want %v", got, may)
		}
	}
	if got := between(first, 2); !slices.Equal(got, may[:2]) {
		t.Errorf("the oldest two: %v, want %v", got, may[:2])
	}
	for _, credential := range []message.ID{stranger, message.NewID()} {
		if got := between(credential, 100); len(got) != 0 {
			t.Errorf("another account finds %v", got)
		}
	}
	// Peers write the same number in several ways.
	plus := b.submitted(first, 1)
	plus.Origin.Dest = message.SMPPAddress{TON: 0, NPI: 0, Text: "+" + strings.TrimPrefix(dest.Text, "+")}
	b.taken(plus)
	if got := between(first, 100); len(got) != len(may)+1 || got[len(may)] != plus.Message.ID {
		t.Errorf("%v, want %s among them", got, plus.Message.ID)
	}
	// What has left cannot be withdrawn, and is not looked at.
	b.exec("delete from backlog")
	if got := between(first, 100); len(got) != 0 {
		t.Errorf("%v have left", got)
	}
}
