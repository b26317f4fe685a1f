package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func record1(t testing.TB, l *ledger, ms ...*smpp.SubmitSM) {
	t.Helper()
	for _, m := range ms {
		c, st := m.Content()
		if st != smpp.StatusOK {
			t.Fatalf("content: %v", st)
		}
		l.take(&m.Message, c, "", noon)
	}
}

func wantTotals(t testing.TB, l *ledger, want totals) {
	t.Helper()
	if got := l.counts(); got != want {
		t.Errorf("totals\n%+v, want\n%+v", got, want)
	}
}

func TestLedgerWhole(t *testing.T) {
	l := newLedger(100)
	record1(t, l, sms("1", "a"), sms("2", "a"), sms("1", "b"))
	wantTotals(t, l, totals{Parts: 3, MessagesComplete: 3, DistinctMessages: 3, Destinations: 2})
	other := sms("1", "a")
	other.Source.Text = "another"
	record1(t, l, other)
	wantTotals(t, l, totals{Parts: 4, MessagesComplete: 4, DistinctMessages: 4, Destinations: 2})
	record1(t, l, sms("1", "a"), sms("1", "a"))
	wantTotals(t, l, totals{Parts: 6, MessagesComplete: 6, DistinctMessages: 4, DuplicateMessages: 2, Duplicates: 2, Destinations: 2})
	rows := l.list(0, time.Time{}, 10)
	if len(rows) != 2 || rows[0].Count != 5 || rows[0].Distinct != 3 || rows[0].Duplicates != 2 || rows[1].Duplicates != 0 {
		t.Errorf("rows %+v", rows)
	}
	sum := sha256.Sum256([]byte("a"))
	if rows[1].Texts[0] != hex.EncodeToString(sum[:]) {
		t.Errorf("texts %v", rows[1].Texts)
	}
}

func TestLedgerParts(t *testing.T) {
	words := strings.Repeat("0123456789", 40) // three parts
	for _, long := range []smpp.LongMessage{smpp.LongUDH, smpp.LongSAR} {
		t.Run(string(long), func(t *testing.T) {
			l := newLedger(100)
			parts := cutSMS(t, "1", words, long, 7)
			record1(t, l, parts[2], parts[0])
			wantTotals(t, l, totals{Parts: 2, Incomplete: 1, Destinations: 1})
			record1(t, l, parts[0])
			wantTotals(t, l, totals{Parts: 3, Incomplete: 1, Duplicates: 1, Destinations: 1})
			record1(t, l, parts[1])
			wantTotals(t, l, totals{Parts: 4, MessagesComplete: 1, DistinctMessages: 1, Duplicates: 1, Destinations: 1})
			// A part of it again is one duplicate and makes nothing incomplete.
			record1(t, l, parts[1])
			wantTotals(t, l, totals{Parts: 5, MessagesComplete: 1, DistinctMessages: 1, Duplicates: 2, Destinations: 1})
			record1(t, l, parts[1])
			wantTotals(t, l, totals{Parts: 6, MessagesComplete: 1, DistinctMessages: 1, Duplicates: 3, Destinations: 1})
			if got := l.shown("1"); len(got) != 1 || got[0].Text != words || got[0].Parts != 3 {
				t.Errorf("shown %+v", got)
			}
		})
	}
}

func TestLedgerWholeMessageAgain(t *testing.T) {
	words := strings.Repeat("0123456789", 40)
	for name, ref := range map[string]uint16{"same reference": 7, "new reference": 8} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(100)
			record1(t, l, cutSMS(t, "1", words, smpp.LongUDH, 7)...)
			record1(t, l, cutSMS(t, "1", words, smpp.LongUDH, ref)...)
			wantTotals(t, l, totals{
				Parts: 6, MessagesComplete: 2, DistinctMessages: 1, DuplicateMessages: 1, Duplicates: 3, Destinations: 1,
			})
		})
	}
}

// An 8-bit reference comes round: a new message that begins like the last one
// with its reference is no duplicate.
func TestLedgerReferenceUsedAgain(t *testing.T) {
	begin := strings.Repeat("0123456789", 31)
	first, second := cutSMS(t, "1", begin+"one", smpp.LongUDH, 7), cutSMS(t, "1", begin+"two", smpp.LongUDH, 7)
	for name, order := range map[string][]int{"in order": {0, 1, 2}, "backwards": {2, 1, 0}, "mixed": {1, 2, 0}} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(100)
			record1(t, l, first...)
			for _, i := range order {
				record1(t, l, second[i])
			}
			wantTotals(t, l, totals{Parts: 6, MessagesComplete: 2, DistinctMessages: 2, Destinations: 1})
		})
	}
}

// A message that was left unfinished is seen, whatever follows with its
// reference.
func TestLedgerUnfinished(t *testing.T) {
	l := newLedger(100)
	record1(t, l, cutSMS(t, "1", strings.Repeat("a", 400), smpp.LongUDH, 7)[:2]...)
	record1(t, l, cutSMS(t, "1", strings.Repeat("b", 400), smpp.LongUDH, 7)...)
	wantTotals(t, l, totals{Parts: 5, MessagesComplete: 1, DistinctMessages: 1, Incomplete: 1, Destinations: 1})
}

func TestLedgerBounds(t *testing.T) {
	l := newLedger(3)
	for i := range 5 {
		record1(t, l, sms(fmt.Sprint(i), "x"))
	}
	wantTotals(t, l, totals{Parts: 5, MessagesComplete: 3, DistinctMessages: 3, Destinations: 3, Overflow: 2})
	record1(t, l, sms("0", "y"))
	wantTotals(t, l, totals{Parts: 6, MessagesComplete: 4, DistinctMessages: 3, Destinations: 3, Overflow: 3})
	l.reset()
	wantTotals(t, l, totals{})
	for ref := range uint16(5) {
		record1(t, l, cutSMS(t, "1", strings.Repeat("b", 400), smpp.LongUDH, ref)[0])
	}
	wantTotals(t, l, totals{Parts: 5, Incomplete: 3, Destinations: 1, Overflow: 2})
}

func TestLedgerTextBudget(t *testing.T) {
	l := newLedger(10)
	l.textBytes = maxTextBytes
	record1(t, l, sms("1", "secret"))
	got := l.shown("1")
	if len(got) != 1 || !got[0].Dropped || got[0].Text != "" || got[0].SHA256 == "" {
		t.Errorf("shown %+v", got)
	}
	wantTotals(t, l, totals{Parts: 1, MessagesComplete: 1, DistinctMessages: 1, Destinations: 1})
}

func TestLedgerTexts(t *testing.T) {
	emoji := strings.Repeat("x", 66) + "😀" + strings.Repeat("y", 66)
	for _, words := range []string{
		"", "plain", strings.Repeat("a", 160), strings.Repeat("a", 161), "€{}[]~|^\\", strings.Repeat("{", 81), "@£$Ωé",
		"مرحبا بالعالم", "你好，世界", "Grüße 😀", emoji, strings.Repeat("0123456789", 145), strings.Repeat("界", 660),
	} {
		for _, long := range []smpp.LongMessage{smpp.LongUDH, smpp.LongSAR, smpp.LongPayload} {
			l := newLedger(10)
			parts := cutSMS(t, "15551230001", words, long, 3)
			rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			record1(t, l, parts...)
			got := l.shown("+15551230001")
			if len(got) != 1 || got[0].Text != words || got[0].Parts != len(parts) {
				t.Errorf("%s %q: shown %+v", long, words, got)
			}
		}
	}
}

func TestLedgerKeepsOctets(t *testing.T) {
	l := newLedger(10)
	m := sms("1", "")
	m.DataCoding, m.ShortMessage = 4, []byte{0xDE, 0xAD}
	record1(t, l, m, m)
	if got := l.shown("1"); len(got) != 1 || got[0].Octets != "dead" || got[0].Text != "" || got[0].Count != 2 {
		t.Errorf("shown %+v", got)
	}
}

// Whatever the order of parts: what was taken once is whole and no duplicate,
// and k repetitions of parts are k duplicates.
func TestLedgerCountsExactly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLedger(1000)
		var all []*smpp.SubmitSM
		n := rapid.IntRange(1, 8).Draw(rt, "messages")
		for i := range n {
			words := fmt.Sprintf("%d %s", i, strings.Repeat("w", rapid.IntRange(0, 600).Draw(rt, "length")))
			all = append(all, cutSMS(t, fmt.Sprint(i%3), words, smpp.LongUDH, uint16(i))...)
		}
		again := rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 0, 10).Draw(rt, "again")
		for _, i := range again {
			all = append(all, all[i])
		}
		order := rapid.Permutation(all).Draw(rt, "order")
		record1(t, l, order...)
		got := l.counts()
		if got.DistinctMessages != n || got.Duplicates != len(again) || got.Incomplete != 0 || got.Overflow != 0 || got.Parts != len(all) {
			rt.Fatalf("%d messages, %d repeated: %+v", n, len(again), got)
		}
		if l.textBytes < 0 {
			rt.Fatalf("text budget is %d", l.textBytes)
		}
	})
}

// What stands behind a header is kept to the octet, with header and parameters.
func TestLedgerOctets(t *testing.T) {
	l := newLedger(100)
	one := sms("1", "")
	one.DataCoding, one.ESMClass, one.ShortMessage = 4, smpp.ESMUDHI, []byte("\x06\x05\x04\x0B\x84\x23\xF0\x00\xff")
	one.TLVs.Add(0x1403, []byte{1, 2})
	one.TLVs.AddUint16(smpp.TagUserMessageReference, 7)
	record1(t, l, one)
	two := sms("2", "")
	if err := two.SetText(smpp.Outgoing{Text: "\x00", Encoding: message.EncodingBinary, Coding: 0xF5, Part: 1, Parts: 2}); err != nil {
		t.Fatal(err)
	}
	rest := sms("2", "")
	if err := rest.SetText(smpp.Outgoing{Text: "\x01", Encoding: message.EncodingBinary, Coding: 0xF5, Part: 2, Parts: 2}); err != nil {
		t.Fatal(err)
	}
	record1(t, l, rest, two)
	got := l.shown("1")
	if len(got) != 1 || got[0].Octets != "00ff" || got[0].Text != "" || got[0].Header != "05040b8423f0" || got[0].DataCoding != 4 || fmt.Sprint(got[0].TLVs) != "[{1403 0102}]" {
		t.Errorf("%+v", got)
	}
	three := sms("3", "")
	three.ESMClass, three.ShortMessage = smpp.ESMUDHI, []byte("\x03\x24\x01\x01a\x1b")
	record1(t, l, three)
	if got = l.shown("3"); len(got) != 1 || got[0].Octets != "611b" || got[0].Text != "" || got[0].Header != "240101" {
		t.Errorf("%+v", got)
	}
	if got = l.shown("2"); len(got) != 1 || got[0].Octets != "0001" || got[0].Header != "" || got[0].DataCoding != 0xF5 || got[0].TLVs != nil {
		t.Errorf("%+v", got)
	}
}
