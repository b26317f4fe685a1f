package mm4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/mm4"
)

// TestWrittenMailsArrive: what internal/mm4 writes arrives with the same texts and files,
// in their order, sent by a client that is not ours.
func TestWrittenMailsArrive(t *testing.T) {
	w := setup(t).listen()
	c, err := smtp.Dial(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	n := 0
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab .=é😀\n\t-,+")), 1, 300, -1)
	rapid.Check(t, func(t *rapid.T) {
		h := mm4.Header{
			Type: mm4.ForwardREQ, TransactionID: fmt.Sprintf("t-%d", n), MessageID: "m@mms.pbx.example", Date: time.Unix(1_800_000_000, 0).UTC(),
			From:    mm4.Address{Local: "+15551230001", Type: mm4.PLMN, Domain: "mms.pbx.example"},
			To:      []mm4.Address{{Local: "+15551230002", Type: mm4.PLMN, Domain: "mms.gw.example"}},
			Subject: text.Draw(t, "subject"),
		}
		var parts []mm4.OutPart
		var texts, sums []string
		for range rapid.IntRange(1, 6).Draw(t, "parts") {
			if rapid.Bool().Draw(t, "text") {
				s := text.Draw(t, "a text")
				parts, texts = append(parts, mm4.OutPart{Text: s}), append(texts, s)
				continue
			}
			file := append([]byte("GIF89a"), rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "a file")...)
			sum := sha256.Sum256(file)
			sums = append(sums, hex.EncodeToString(sum[:]))
			parts = append(parts, mm4.OutPart{ContentType: "image/gif", Name: "x.gif", Size: int64(len(file)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }})
		}
		var mail bytes.Buffer
		if err := mm4.Write(&mail, h, parts); err != nil {
			t.Fatal(err)
		}
		if err := c.SendMail("+15551230001/TYPE=PLMN@mms.pbx.example", []string{"+15551230002/TYPE=PLMN@mms.gw.example"}, &mail); err != nil {
			t.Fatal(err)
		}
		got := w.desk.got()
		if n++; len(got) != n {
			t.Fatalf("%d mails, want %d", len(got), n)
		}
		m := got[n-1]
		var gotTexts []string
		for _, x := range m.Texts {
			gotTexts = append(gotTexts, x.Text)
		}
		if strings.Join(gotTexts, "\x00") != strings.Join(texts, "\x00") || fmt.Sprint(m.sums) != fmt.Sprint(sums) || m.Header.TransactionID != h.TransactionID {
			t.Fatalf("texts %q, want %q; files %v, want %v", gotTexts, texts, m.sums, sums)
		}
	})
}
