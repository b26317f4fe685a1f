package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/workflows"
)

// starts is as much of Temporal as inbound messages need.
type starts struct {
	ingress.Temporal

	mu    sync.Mutex
	begun map[message.ID]int
	moved *sync.Cond
}

func (s *starts) StartInbound(_ context.Context, in workflows.InboundInput) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun[in.MessageID]++
	s.moved.Broadcast()
	return nil
}

// longTexts makes messages that need so many parts, each with pairs that may be cut in
// two, and their parts as octets.
func longTexts(messages, parts int) (texts []string, octets [][][]byte) {
	for i := range messages {
		s := fmt.Sprintf("%d: %s", i, strings.Repeat("to be continued 💌 ", parts*4))
		var all []byte
		for _, u := range utf16.Encode([]rune(s)) {
			all = append(all, byte(u>>8), byte(u))
		}
		var cut [][]byte
		for n := range parts {
			cut = append(cut, all[len(all)*n/parts:len(all)*(n+1)/parts])
		}
		texts, octets = append(texts, s), append(octets, cut)
	}
	return texts, octets
}

// Long messages whose parts come in any order, twice, over several links of two
// processes are each in the record once, whole and in order, and each is started.
func TestInboundPartsShuffledAndDoubled(t *testing.T) {
	const messages, parts, links = 120, 8, 8
	s := startShell(t)
	var account struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	s.admin(nil, "number", "add", "+12025550143", "--account", account.ID)
	texts, octets := longTexts(messages, parts)
	var all []message.InboundMessage
	vendor := message.NewID()
	for i := range messages {
		for n := range parts {
			m := message.InboundMessage{VendorID: vendor, From: fmt.Sprintf("1310555%04d", i%50), To: "12025550143", DataCoding: 8, Raw: octets[i][n], Encoding: message.EncodingUCS2,
				Reference: i, Part: n + 1, Parts: parts}
			all = append(all, m, m)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	server := &starts{begun: map[message.ID]int{}}
	server.moved = sync.NewCond(&server.mu)
	queue := make(chan message.InboundMessage)
	ctx := t.Context()
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			err := withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
				config, err := db.LoadSnapshot(ctx)
				if err != nil {
					return err
				}
				in := &ingress.Ingress{Journal: db, Temporal: server, Snapshot: func() *snapshot.Snapshot { return config }, Log: slog.New(slog.DiscardHandler), Now: time.Now, PartsWait: time.Hour}
				in.Start(ctx)
				defer in.Stop()
				var feeding sync.WaitGroup
				for range links {
					feeding.Go(func() {
						for m := range queue {
							m.ReceivedAt = time.Now()
							if err := in.Inbound(ctx, m); err != nil {
								t.Error(err)
							}
						}
					})
				}
				feeding.Wait()
				server.mu.Lock()
				defer server.mu.Unlock()
				for len(server.begun) < messages && !t.Failed() {
					server.moved.Wait()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for _, m := range all {
		queue <- m
	}
	close(queue)
	running.Wait()
	id, err := message.ParseID(account.ID)
	if err != nil {
		t.Fatal(err)
	}
	err = withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
		list, err := db.Messages(ctx, id, message.Filter{Direction: message.Inbound}, message.ID{}, 10*messages)
		if err != nil {
			return err
		}
		var got []string
		for _, m := range list {
			got = append(got, m.Body)
			if m.Incomplete || m.Segments != parts || server.begun[m.ID] == 0 {
				t.Errorf("%s: incomplete %v, %d parts, started %d times", m.ID, m.Incomplete, m.Segments, server.begun[m.ID])
			}
		}
		slices.Sort(got)
		slices.Sort(texts)
		if !slices.Equal(got, texts) {
			t.Errorf("%d messages, want %d", len(got), len(texts))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
