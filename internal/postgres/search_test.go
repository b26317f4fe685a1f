package postgres

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

// searchWorld is a journal of random messages, and what a reader of searches sees of it.
type searchWorld struct {
	b      *bundle
	rt     *rapid.T
	now    time.Time
	stored []*message.Message // the oldest id first
	atMark []message.Status   // that of the first message whose status may not be listed, many times
}

var (
	searchAccounts = []message.ID{{0: 1}, {0: 2}}
	searchVendors  = []message.VendorRef{{ID: message.ID{0: 8}, Name: "north"}, {ID: message.ID{0: 9}, Name: "south"}}
	searchBatches  = []message.ID{{}, {0: 5}, {0: 6}}
	searchAges     = []time.Duration{0, time.Minute, 4 * time.Minute, 50 * time.Minute, 3 * time.Hour, 30 * time.Hour, 40 * 24 * time.Hour}
)

// Pages one after the other are the whole list, whatever is asked for and however often the
// search is told to stop: nothing twice, nothing missed, in order.
func TestSearchIsWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		b.exec("delete from messages")
		b.exec("delete from message_statuses")
		b.exec("delete from backlog")
		w := &searchWorld{b: b, rt: rt, now: time.Now().UTC().Truncate(time.Millisecond)}
		for range rapid.IntRange(0, 40).Draw(rt, "messages") {
			w.store()
		}
		w.mark()
		b.sliced = sliced{rapid.IntRange(1, 4).Draw(rt, "first"), rapid.IntRange(1, 16).Draw(rt, "most")}
		for range 4 {
			w.read()
		}
	})
}

// mark says below which id the statuses are listed: of none, of all that could be, or of
// those below a message.
func (w *searchWorld) mark() {
	marks := []message.ID{{}, idAt(w.now.Add(-statusesBehind))}
	for _, m := range w.stored {
		if bytes.Compare(m.ID[:], marks[1][:]) < 0 {
			marks = append(marks, m.ID)
		}
	}
	mark := rapid.SampledFrom(marks).Draw(w.rt, "mark")
	for _, m := range w.stored {
		if m.ID == mark {
			w.atMark = slices.Repeat([]message.Status{m.Status}, 10)
		}
	}
	w.b.exec("update message_statuses_until set until_id = $1", mark)
}

// store makes a message up.
func (w *searchWorld) store() {
	rt := w.rt
	m := &message.Message{
		AccountID: rapid.SampledFrom(searchAccounts).Draw(rt, "account"), Direction: rapid.SampledFrom([]message.Direction{message.Outbound, message.Inbound}).Draw(rt, "direction"),
		Status: rapid.SampledFrom(message.Statuses()).Draw(rt, "status"), Kind: rapid.SampledFrom([]message.Kind{message.SMS, message.MMS}).Draw(rt, "kind"),
		From: rapid.SampledFrom([]message.Address{"+12025550143", "+12025550144"}).Draw(rt, "from"), To: rapid.SampledFrom([]message.Address{"+13105550117", "+13105550118"}).Draw(rt, "to"),
		ClientReference: rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(rt, "reference"), BatchID: rapid.SampledFrom(searchBatches).Draw(rt, "batch"),
		CampaignID: rapid.SampledFrom([]string{"", "C1", "C2"}).Draw(rt, "campaign"), Class: rapid.SampledFrom([]message.Class{message.ClassBulk, message.ClassOTP}).Draw(rt, "class"),
	}
	if rapid.Bool().Draw(rt, "error") {
		m.Error = &message.Error{Reason: message.ReasonExpired}
	}
	v := rapid.SampledFrom(searchVendors).Draw(rt, "vendor")
	m.VendorID, m.Vendor = v.ID, v.Name
	m.CreatedAt = w.now.Add(-rapid.SampledFrom(searchAges).Draw(rt, "age") - time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds"))*time.Second)
	made := m.CreatedAt.Add(-10 * time.Millisecond)
	if m.Direction == message.Inbound { // in parts, or of nobody at first
		made = m.CreatedAt.Add(-rapid.SampledFrom([]time.Duration{0, 30 * time.Minute, 50 * time.Hour}).Draw(rt, "late"))
	}
	m.ID = at(made)
	w.insert(m)
}

const insertSearched = `
insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, encoding, segments, message_class, delivery, edge, expires_at, created_at, updated_at,
  client_reference, batch_id, campaign_id, vendor_id, vendor_name, reason)
values ($1, $2, $3, $4, $5, $6, $7, 'gsm7', 1, $8, 'at_most_once', 'rest', $9, $9, $9, nullif($10, ''), $11, $12, $13, $14, $15)`

func (w *searchWorld) insert(m *message.Message) {
	w.rt.Helper()
	batch := &pgx.Batch{}
	var code string
	if m.Error != nil {
		code = string(m.Error.Reason)
	}
	batch.Queue(insertSearched, m.ID, m.AccountID, string(m.Direction), string(m.Kind), string(m.Status), string(m.From), string(m.To), string(m.Class), m.CreatedAt,
		m.ClientReference, ptrUnlessZero(m.BatchID), m.CampaignID, m.VendorID, m.Vendor, code)
	if m.Direction == message.Outbound && waits(m.Status) {
		batch.Queue("delete from message_statuses where message_id = $1", m.ID)
		batch.Queue("insert into backlog (message_id, account_id, priority, from_addr, to_addr) values ($1, $2, 3, '', '')", m.ID, m.AccountID)
	}
	batch.Queue(`insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state, vendor_message_id, normalized_id) values ($1, 1, 1, $2, $3, 'i', 'submitted', 'v1', 'v1')`,
		m.ID, m.VendorID, m.Vendor)
	if err := w.b.pool.SendBatch(w.b.ctx, batch).Close(); err != nil {
		w.rt.Fatal(err)
	}
	w.stored = append(w.stored, m)
	slices.SortFunc(w.stored, func(a, b *message.Message) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

// filter makes up what is asked for: one or two things, and maybe a time.
func (w *searchWorld) filter(f *message.Filter) {
	rt := w.rt
	for range rapid.IntRange(0, 2).Draw(rt, "filters") {
		switch rapid.IntRange(0, 12).Draw(rt, "filter") {
		case 0:
			f.Direction = rapid.SampledFrom([]message.Direction{message.Outbound, message.Inbound}).Draw(rt, "of direction")
		case 1, 11, 12:
			f.Statuses = rapid.SliceOfN(rapid.SampledFrom(append(message.Statuses(), w.atMark...)), 1, 3).Draw(rt, "of statuses")
		case 2:
			f.Kind = message.MMS
		case 3:
			f.From = "+12025550144"
		case 4:
			f.To = "+13105550118"
		case 5:
			f.ClientReference = "r2"
		case 6:
			f.BatchID = searchBatches[1]
		case 7:
			f.CampaignID = rapid.SampledFrom([]string{"C1", "none"}).Draw(rt, "of campaign")
		case 8:
			f.Reason = message.ReasonExpired
		case 9:
			f.Class = message.ClassOTP
		case 10:
			f.Vendor = rapid.SampledFrom([]string{"north", searchVendors[1].ID.String()}).Draw(rt, "of vendor")
		}
	}
	times := append([]time.Duration{-time.Hour, 60 * 365 * 24 * time.Hour}, searchAges...)
	if rapid.Bool().Draw(rt, "with a time") {
		f.CreatedAfter = w.now.Add(-rapid.SampledFrom(times).Draw(rt, "after") - 10*time.Second)
	}
	if rapid.Bool().Draw(rt, "with an end") {
		f.CreatedBefore = w.now.Add(-rapid.SampledFrom(times).Draw(rt, "before") + 10*time.Second)
	}
}

// want is the list, by the messages themselves.
func (w *searchWorld) want(f message.Filter) (list []message.ID) {
	for _, m := range slices.Backward(w.stored) {
		code := message.Reason("")
		if m.Error != nil {
			code = m.Error.Reason
		}
		switch {
		case f.AccountID != (message.ID{}) && m.AccountID != f.AccountID, f.Direction != "" && m.Direction != f.Direction, len(f.Statuses) > 0 && !slices.Contains(f.Statuses, m.Status),
			f.Kind != "" && m.Kind != f.Kind, f.From != "" && m.From != f.From, f.To != "" && m.To != f.To, f.ClientReference != "" && m.ClientReference != f.ClientReference,
			f.BatchID != (message.ID{}) && m.BatchID != f.BatchID, f.CampaignID != "" && m.CampaignID != f.CampaignID, f.Reason != "" && code != f.Reason, f.Class != "" && m.Class != f.Class,
			f.Vendor != "" && m.Vendor != f.Vendor && m.VendorID.String() != f.Vendor,
			!f.CreatedAfter.IsZero() && !m.CreatedAt.After(f.CreatedAfter), !f.CreatedBefore.IsZero() && !m.CreatedAt.Before(f.CreatedBefore):
			continue
		// Those that are late are in the lists of their accounts alone.
		case f.AccountID == (message.ID{}) && !f.CreatedAfter.IsZero() && timeOf(m.ID).Before(f.CreatedAfter.Add(-idSlack)):
			continue
		}
		list = append(list, m.ID)
	}
	return list
}

// read follows a search from page to page, while messages may be stored.
func (w *searchWorld) read() {
	rt := w.rt
	var f message.Filter
	if rapid.Bool().Draw(rt, "of an account") {
		f.AccountID = searchAccounts[0]
	}
	w.filter(&f)
	customer := f.AccountID != (message.ID{}) && f.Vendor == "" && rapid.Bool().Draw(rt, "by the customer")
	s := message.Search{Filter: f, Limit: rapid.SampledFrom([]int{1, 2, 3, 50}).Draw(rt, "limit")}
	if customer { // he is shown his own, whatever the filter says
		s.AccountID = rapid.SampledFrom([]message.ID{{}, f.AccountID, searchAccounts[1]}).Draw(rt, "asked for")
	}
	stopAfter := rapid.SampledFrom([]int{1, 2, 3, 1000}).Draw(rt, "slices")
	growing := rapid.Bool().Draw(rt, "growing")
	want, later := w.want(f), map[message.ID]bool{}
	var got []message.ID
	for pages := 0; ; pages++ {
		asked := 0 // before the search, and after each slice but the last
		s.Left = func() time.Duration {
			if asked++; asked <= stopAfter {
				return time.Second
			}
			return 0
		}
		var found message.Found
		var err error
		if customer {
			found, err = w.b.SearchMessages(w.b.ctx, f.AccountID, s)
		} else {
			found, err = w.b.SearchAllMessages(w.b.ctx, s)
		}
		if err != nil {
			rt.Fatal(err)
		}
		for _, m := range found.Messages {
			if !later[m.ID] {
				got = append(got, m.ID)
			}
			delete(later, m.ID) // once
		}
		n, end := len(found.Messages), found.Next == (message.ID{})
		switch short := n < s.Limit; {
		case n > s.Limit, asked > stopAfter+1, end && !found.Until.IsZero(), !end && short != !found.Until.IsZero(), !end && short && (asked <= stopAfter || !found.Until.Equal(timeOf(found.Next))):
			rt.Fatalf("%d of %d found, next %v, until %v, asked %d times of %d", n, s.Limit, found.Next, found.Until, asked, stopAfter)
		case !end && asked <= stopAfter && !growing && len(got) >= len(want):
			rt.Fatalf("a page that is full goes on behind the last of %d", len(want))
		case !end && s.Before != (message.ID{}) && bytes.Compare(found.Next[:], s.Before[:]) >= 0:
			rt.Fatalf("from %v to %v", s.Before, found.Next)
		}
		if s.Before = found.Next; end {
			break
		}
		if growing && pages < 3 {
			known := len(w.stored)
			w.store()
			for _, m := range w.stored {
				if len(w.stored) > known && !slices.Contains(want, m.ID) && slices.Contains(w.want(f), m.ID) {
					later[m.ID] = true
				}
			}
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("%+v, %d a page, stopped after %d slices: %d found, want %d\n%v\n%v", f, s.Limit, stopAfter, len(got), len(want), got, want)
	}
}

// Slices grow, and a search is asked after each whether it is to go on, but for the one that
// ends at the end.
func TestSearchSlices(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now()
	var ids []message.ID // the newest first
	for i := range 31 {
		ids = append(ids, at(now.Add(-time.Duration(i)*time.Hour)))
		b.stored(ids[i], b.owner, message.Outbound, message.StatusDelivered)
	}
	b.sliced = sliced{2, 8}
	rare := message.Filter{CampaignID: "C"}
	var borders []message.ID
	s := message.Search{Filter: rare, Limit: 5, Left: func() time.Duration { return 0 }}
	for {
		found, err := b.SearchAllMessages(b.ctx, s)
		if err != nil || len(found.Messages) > 0 {
			t.Fatal(found, err)
		}
		if s.Before = found.Next; s.Before == (message.ID{}) {
			break
		}
		if !found.Until.Equal(timeOf(found.Next)) {
			t.Errorf("until %v, next %v", found.Until, found.Next)
		}
		borders = append(borders, found.Next)
	}
	if len(borders) != 15 || borders[0] != ids[1] || borders[14] != ids[29] {
		t.Errorf("one slice a search: %v of %v", borders, ids)
	}
	for name, c := range map[string]struct {
		f     message.Filter
		asked int
	}{
		"rare":                {rare, 5}, // after 2, 6, 14, 22 and 30 of 31
		"rare, of an account": {message.Filter{CampaignID: "C", AccountID: b.owner}, 5}, "all": {message.Filter{}, 0}, "of an account": {message.Filter{AccountID: b.owner}, 0},
		"to": {message.Filter{To: "+13105550199", CampaignID: "C"}, 0}, "in doubt": {message.Filter{Statuses: []message.Status{message.StatusInDoubt}}, 0},
	} {
		asked := -1 // the first time is before the search
		found, err := b.SearchAllMessages(b.ctx, message.Search{Filter: c.f, Limit: 40, Left: func() time.Duration { asked++; return time.Second }})
		if err != nil || asked != c.asked || found.Next != (message.ID{}) {
			t.Errorf("%s: asked %d times, want %d: %v, %v", name, asked, c.asked, found.Next, err)
		}
	}
	// Without an account it is no customer's search.
	if found, err := b.SearchMessages(b.ctx, message.ID{}, message.Search{Limit: 5}); err != nil || len(found.Messages) > 0 {
		t.Errorf("%d messages of no account, %v", len(found.Messages), err)
	}
}

// A slice has as many rows as the time lets expect that is left, and no more than twice as many
// as the one before.
func TestStrides(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		left []time.Duration // before the first slice, and after each
		want []int           // the slices
	}{
		"no time was ever given": {nil, []int{500, 1000, 2000, 2000, 2000}},
		"from memory":            {[]time.Duration{100 * ms, 99 * ms, 97 * ms, 94 * ms, 91 * ms, 0}, []int{500, 1000, 2000, 2000, 2000}},
		"from the disk":          {[]time.Duration{100 * ms, 75 * ms, 25 * ms, 3 * ms}, []int{500, 1000, 500}},
		"one slice is too long":  {[]time.Duration{100 * ms, -3 * ms}, []int{500}},
		"no time at all":         {[]time.Duration{0, 0}, []int{500}},
		"a clock that stands":    {[]time.Duration{9 * ms, 9 * ms, 9 * ms, 0}, []int{500, 1000, 2000}},
		"a clock that goes back": {[]time.Duration{9 * ms, 12 * ms, 0}, []int{500, 1000}},
	} {
		var left func() time.Duration
		if c.left != nil {
			left = func() time.Duration {
				next := c.left[0]
				c.left = c.left[1:]
				return next
			}
		}
		s := sliced{}.strides(left)
		got := []int{s.rows}
		for s.next() && len(got) < 5 {
			got = append(got, s.rows)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// What an index finds is not cut into slices.
func TestSearchIndexed(t *testing.T) {
	account := message.ID{1}
	for _, c := range []struct {
		name string
		f    message.Filter
		want bool
	}{
		{"all", message.Filter{}, true}, {"account", message.Filter{AccountID: account}, true}, {"to", message.Filter{To: "+1"}, true}, {"to, class", message.Filter{To: "+1", Class: message.ClassOTP}, true},
		{"account, to", message.Filter{AccountID: account, To: "+1"}, true}, {"account, to, class", message.Filter{AccountID: account, To: "+1", Class: message.ClassOTP}, false},
		{"reference", message.Filter{ClientReference: "r"}, false}, {"account, reference", message.Filter{AccountID: account, ClientReference: "r"}, true},
		{"batch", message.Filter{BatchID: account}, true}, {"batch, to", message.Filter{BatchID: account, To: "+1"}, false}, {"a vendor's id, class", message.Filter{VendorMessageID: "v", Class: message.ClassOTP}, true},
		{"received", message.Filter{AccountID: account, Direction: message.Inbound}, true}, {"received by all", message.Filter{Direction: message.Inbound}, false},
		{"sent", message.Filter{AccountID: account, Direction: message.Outbound}, false}, {"delivered", message.Filter{AccountID: account, Statuses: []message.Status{message.StatusDelivered}}, false},
		{"failed", message.Filter{Statuses: []message.Status{message.StatusFailed}}, true}, {"failed, class", message.Filter{Statuses: []message.Status{message.StatusFailed}, Class: message.ClassOTP}, false},
		// Among those that wait there are some in another status.
		{"queued", message.Filter{AccountID: account, Statuses: []message.Status{message.StatusFailed, message.StatusQueued}}, false},
		{"vendor", message.Filter{Vendor: "north"}, false}, {"after", message.Filter{AccountID: account, CreatedAfter: time.Now()}, false},
	} {
		if got := indexed(c.f); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// A search reads its walk along an index and in its order, and no other rows.
func TestSearchPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	id := message.NewID()
	ids := span{id, id}
	b.exec("update messages set batch_id = id, campaign_id = 'C' where client_reference is not null")
	b.exec(analyze)
	of := func(f message.Filter) message.Filter { f.AccountID = id; return f }
	status := message.Filter{Statuses: []message.Status{message.StatusFailed, message.StatusQueued}}
	for name, c := range map[string]struct {
		f     message.Filter
		index string
	}{
		"all": {message.Filter{}, "messages_pkey"}, "an account": {of(message.Filter{}), "messages_account"}, "account, to": {of(message.Filter{To: "+13100000001"}), "messages_to"},
		"account, reference": {of(message.Filter{ClientReference: "r7"}), "messages_reference"}, "reference": {message.Filter{ClientReference: "r7"}, "messages_pkey"},
		"batch": {message.Filter{BatchID: id}, "messages_batch"}, "batch, to": {message.Filter{BatchID: id, To: "+13100000001"}, "messages_batch"},
		"account, reference, to": {of(message.Filter{ClientReference: "r7", To: "+13100000001"}), "messages_reference"}, "received": {of(message.Filter{Direction: message.Inbound}), "messages_inbound"},
		"status": {status, "message_statuses_status"}, "account, status": {of(status), "message_statuses_account"},
	} {
		rare := c.f
		rare.CampaignID, rare.From, rare.Reason, rare.Class, rare.Vendor, rare.CreatedAfter = "C", "+12025550143", message.ReasonExpired, message.ClassOTP, "north", time.Now()
		var settings []string
		if byStatus(c.f) {
			settings = []string{inOrder}
		}
		border, n := borderQuery(rare, ids, 500)
		search, m := searchQuery(rare, ids, 50)
		for sql, params := range map[string]int{border: len(n), search: len(m)} {
			plan := b.explain(sql, params, "off", settings...)
			read := slices.DeleteFunc(endToEnd(plan), func(table string) bool { return table == "message_statuses_until" })
			if len(read) > 0 || !strings.Contains(plan, c.index) || c.index != "messages_to" && strings.Contains(plan, "messages_to ") {
				t.Errorf("%s, reads %v, not along %s:\n%s\n%s", name, read, c.index, sql, plan)
			}
			if sql == border && name != "received" && strings.Contains(plan, "Sort") && !strings.Contains(plan, "backlog") {
				t.Errorf("%s is sorted:\n%s", name, plan)
			}
		}
	}
}
