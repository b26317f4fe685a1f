package postgres

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func (b *bundle) sampled(from, until time.Time, limit int) []*message.Message {
	b.tb.Helper()
	var out []*message.Message
	err := b.SampleMessages(b.ctx, from, until, limit, func(m *message.Message) error {
		out = append(out, m)
		return nil
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	return out
}

func TestSampleMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	start := time.Now()
	routed := func(change func(m *message.Message)) *message.Message {
		t.Helper()
		m := b.draft()
		if change != nil {
			change(m)
		}
		b.store(m)
		b.exec("update messages set vendor_id = $1, vendor_name = $2 where id = $3", b.vendor.ID, b.vendor.Name, m.ID)
		return m
	}
	plain := routed(nil)
	ports := routed(func(m *message.Message) { m.Header, m.Segments = []byte{4, 2, 1, 1}, 3 })
	binary := routed(func(m *message.Message) { m.Encoding, m.SendAt = message.EncodingBinary, m.CreatedAt.Add(time.Hour) })
	homeless := b.draft()
	homeless.Status, homeless.Error = message.StatusRejected, message.Refuse(message.ReasonNoRoute, "no")
	b.store(homeless)
	refused := b.draft()
	refused.Status, refused.Error = message.StatusRejected, message.Refuse(message.ReasonOptedOut, "no")
	b.store(refused)
	inbound := routed(nil)
	b.exec("update messages set direction = 'inbound' where id = $1", inbound.ID)
	b.accepted(1) // not yet routed

	got := b.sampled(start.Add(-time.Minute), time.Now().Add(time.Minute), 100)
	want := []message.ID{plain.ID, ports.ID, binary.ID, homeless.ID}
	if ids := pick(got, func(m *message.Message) message.ID { return m.ID }); !slices.Equal(ids, want) {
		t.Fatalf("%v, want %v", ids, want)
	}
	p := got[0]
	if p.AccountID != plain.AccountID || p.From != plain.From || p.To != plain.To || p.Kind != plain.Kind || p.Class != plain.Class || p.Encoding != plain.Encoding ||
		p.Segments != 1 || p.VendorID != b.vendor.ID || p.Vendor != "north" || !p.CreatedAt.Equal(plain.CreatedAt) || p.Body != "" || p.SMPPOnly() {
		t.Errorf("%+v", p)
	}
	if !got[1].SMPPOnly() || got[1].Segments != 3 || !got[2].SMPPOnly() || !got[2].SendAt.Equal(binary.SendAt) || got[3].VendorID != (message.ID{}) {
		t.Errorf("%+v, %+v, %+v", got[1], got[2], got[3])
	}
	if got := b.sampled(start.Add(-time.Hour), start.Add(-time.Minute), 100); len(got) != 0 {
		t.Errorf("before it all: %d", len(got))
	}
	if got := b.sampled(time.Now().Add(time.Minute), time.Now().Add(time.Hour), 100); len(got) != 0 {
		t.Errorf("after it all: %d", len(got))
	}
	enough := errors.New("enough")
	n := 0
	err := b.SampleMessages(b.ctx, start.Add(-time.Minute), time.Now().Add(time.Minute), 100, func(*message.Message) error {
		n++
		return enough
	})
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}

// Of many, about as many as are asked for are picked, evenly, and the same ones again.
func TestSampleOfMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	day := time.Now().Add(-24 * time.Hour).Truncate(time.Hour)
	const all, limit = 4000, 400
	for h := range 4 {
		b.exec(`insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, encoding, segments, message_class, delivery, edge, expires_at, created_at, updated_at, vendor_id)
			select (substr(id, 1, 12) || '7' || substr(id, 14, 3) || '8' || substr(id, 30, 15))::uuid, $1, 'outbound', 'sms', 'sent', '+12025550143', '+13105550117', 'gsm7', 1, 'bulk', 'at_most_once', 'rest', now(), now(), now(), $2
			from (select lpad(to_hex($3::bigint), 12, '0') || encode(uuid_send(gen_random_uuid()), 'hex') as id from generate_series(1, $4)) r`,
			b.owner, b.vendor.ID, day.Add(time.Duration(h)*time.Hour).UnixMilli(), all/4)
	}
	first := b.sampled(day, day.Add(5*time.Hour), limit)
	// A binomial with a deviation of 19: nine of them on either side.
	if n := len(first); n < limit-170 || n > limit+170 {
		t.Errorf("%d of %d picked", n, all)
	}
	byHour := map[byte]int{}
	for _, m := range first {
		byHour[m.ID[3]]++
	}
	if len(byHour) != 4 {
		t.Errorf("not of every hour: %v", byHour)
	}
	again := b.sampled(day, day.Add(5*time.Hour), limit)
	if !slices.EqualFunc(first, again, func(a, b *message.Message) bool { return a.ID == b.ID }) {
		t.Errorf("%d, then %d others", len(first), len(again))
	}
	if n := len(b.sampled(day, day.Add(5*time.Hour), all)); n != all {
		t.Errorf("%d of all", n)
	}
}
