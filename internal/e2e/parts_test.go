package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/internal/text"
)

// handsetNumber is the n-th of those that write.
func handsetNumber(i int) string { return fmt.Sprintf("+1310%07d", 6000000+i) }

// letter is what the n-th handset writes: eight parts, of which each can be told from
// the others.
func letter(i int) string {
	var b strings.Builder
	for w := 0; b.Len() < 7*text.PartSeptets+20; w++ {
		fmt.Fprintf(&b, "%d-%d ", i, w)
	}
	return b.String()
}

// TestInboundInParts has 10,000 handsets write a text of eight parts each, every part twice and
// in no order. Each text comes once and whole.
func TestInboundInParts(t *testing.T) {
	t.Parallel()
	s := start(t)
	const n, block = 10_000, 500
	// A machine that is slow leaves parts behind for longer than the usual minute.
	s.env = append(s.env, "INBOUND_PARTS_WAIT=1h")
	s.restartGateway()
	smsc, err := vendortest.Listen("", vendortest.Config{Session: smpp.Config{Window: 400}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(smsc.Close)
	ctx := stacktest.Context(t)
	row := snapshot.Vendor{ID: message.NewID(), Name: "handsets", Username: "postrider", Password: "test", Active: true, MaxBinds: 4}
	row.Host, row.Port = hostPort(t, smsc.Addr())
	if err := s.db.CreateVendor(ctx, actor, row); err != nil {
		t.Fatal(err)
	}
	if err := smsc.WaitBinds(ctx, 4); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	work := make(chan *smpp.DeliverSM)
	var posts sync.WaitGroup
	for range 256 {
		posts.Go(func() {
			for p := range work {
				deliverUntilTaken(t.Context(), t, smsc, p)
			}
		})
	}
	for first := 0; first < n; first += block {
		var pdus []*smpp.DeliverSM
		for i := first; i < first+block; i++ {
			pdus = append(pdus, lettersOf(t, i)...)
		}
		pdus = append(pdus, pdus...)
		rand.Shuffle(len(pdus), func(i, j int) { pdus[i], pdus[j] = pdus[j], pdus[i] })
		for _, p := range pdus {
			work <- p
		}
	}
	close(work)
	posts.Wait()
	t.Logf("%d parts were taken in %s", 16*n, time.Since(began).Round(time.Millisecond))
	s.until("every text has come", func() bool {
		return s.number("select count(*) from messages where direction = 'inbound' and status = 'delivered'") >= n
	})
	t.Logf("%d texts were with their owner after %s", n, time.Since(began).Round(time.Millisecond))
	if got := s.number("select count(*) from messages where direction = 'inbound'"); got != n {
		t.Errorf("%d texts, want %d", got, n)
	}
	rows, err := s.sql().Query(t.Context(), "select id from messages where direction = 'inbound'")
	if err != nil {
		t.Fatal(err)
	}
	var all []message.ID
	for rows.Next() {
		var id message.ID
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		all = append(all, id)
	}
	seen := map[message.Address]string{}
	for _, id := range all {
		m, err := s.db.Message(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if seen[m.From] != "" {
			t.Fatalf("%s wrote twice", m.From)
		}
		seen[m.From] = m.Body
		if m.To != from || m.Segments != 8 || m.AccountID != s.account {
			t.Fatalf("%+v", m)
		}
	}
	for i := range n {
		if got := seen[message.Address(handsetNumber(i))]; got != letter(i) {
			t.Fatalf("handset %d wrote %q, what came is %q", i, letter(i), got)
		}
	}
}

// lettersOf are the parts of a letter on the wire.
func lettersOf(t *testing.T, i int) []*smpp.DeliverSM {
	t.Helper()
	parts, err := text.Split(letter(i), message.EncodingGSM7, false)
	if err != nil || len(parts) != 8 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	var out []*smpp.DeliverSM
	for k, part := range parts {
		p := &smpp.DeliverSM{Message: smpp.Message{Source: smpp.AddressOf(message.Address(handsetNumber(i))), Dest: smpp.AddressOf(from)}}
		if err := p.SetText(smpp.Outgoing{Text: part, Encoding: message.EncodingGSM7, Long: smpp.LongUDH, Ref: uint16(i % 256), Part: k + 1, Parts: 8}); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// deliverUntilTaken sends a part until the gateway says that it has it, as an SMSC does.
func deliverUntilTaken(ctx context.Context, t *testing.T, smsc *vendortest.SMSC, p *smpp.DeliverSM) {
	for {
		err := smsc.Deliver(ctx, p)
		if err == nil {
			return
		}
		var refused *smpp.StatusError
		if !errors.As(err, &refused) && !errors.Is(err, vendortest.ErrNoReceiver) || ctx.Err() != nil {
			t.Errorf("a part was not taken: %v", err)
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
