package mm4

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ownLines is how a text's line ends come back, without the mark that no text begins
// with.
func ownLines(s string) string {
	return strings.TrimPrefix(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s), "\ufeff")
}

// texts are of all of Unicode, with what transfer encodings and boundaries stumble over.
func texts() *rapid.Generator[string] {
	piece := rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{
			".", "\r\n.\r\n", "\n", "\r", "\r\n", " ", "\t", " \r\n", "=", "=3D", "=\r\n", "--", "--b=_t", "\r\n--b=_t\r\n", "\r\n--b=_t--\r\n", "\nFrom ",
			"=?utf-8?q?x?=", "\x00", "\ufeff", "\ufffd", "😀", "\u2028", `"`, `\`, ";", ",", "<", ">", ":", "%41", "*", "'",
			strings.Repeat(".", 80), strings.Repeat("x", 1200), strings.Repeat(" ", 100), strings.Repeat(".\r\n", 50), strings.Repeat("é", 500),
		}),
	)
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 0, 6).Draw(t, "pieces"), "")
	})
}

func octets() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) string { return string(b) }),
		texts(),
		rapid.Map(rapid.IntRange(0, 9000), func(n int) string { return strings.Repeat("\x00\r\n.\xff", n)[:n] }),
	)
}

func domains() *rapid.Generator[string] { return rapid.StringMatching(`[a-z0-9-]{1,12}\.example`) }

func addresses() *rapid.Generator[Address] {
	return rapid.Custom(func(t *rapid.T) Address {
		a := Address{Name: cleanText(texts().Draw(t, "name"))}
		switch rapid.IntRange(0, 4).Draw(t, "type") {
		case 0:
			a.Type, a.Local = PLMN, rapid.StringMatching(`\+[0-9]{3,15}|[0-9]{9,15}`).Draw(t, "number")
		case 1:
			a.Type, a.Local = ShortCode, rapid.StringMatching(`[0-9]{3,8}`).Draw(t, "code")
		case 2:
			a.Type, a.Local = IPv4, netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip"))).String()
		case 3:
			a.Type = IPv6
			b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ip")
			a.Local = netip.AddrFrom16([16]byte(append([]byte{0x20}, b[1:]...))).String()
		case 4:
			a.Type, a.Local = Email, rapid.StringMatching(`[a-z][a-z0-9.=/+-]{0,10}[a-z]|[a-z]{1,5} [a-z@"\\]{1,5}x`).Draw(t, "local")
			if strings.Contains(a.Local, "..") || strings.Contains(a.Local, "/type=") {
				a.Local = "john"
			}
		}
		if a.Type == Email || rapid.Bool().Draw(t, "has a domain") {
			a.Domain = domains().Draw(t, "domain")
		}
		return a
	})
}

// optional gives the zero value half of the time.
func optional[T any](t *rapid.T, g *rapid.Generator[T], label string) (v T) {
	if rapid.Bool().Draw(t, "has "+label) {
		return g.Draw(t, label)
	}
	return v
}

func drawTime(t *rapid.T, label string) time.Time {
	return time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, label), 0).UTC()
}

func headers() *rapid.Generator[Header] {
	ids := rapid.StringMatching(`[A-Za-z0-9][!-~]{0,80}[A-Za-z0-9]`)
	people := rapid.Map(texts(), cleanText)
	list := rapid.SliceOfN(addresses(), 1, 5)
	flags := rapid.SampledFrom([]Flag{Unset, No, Yes})
	return rapid.Custom(func(t *rapid.T) Header {
		h := Header{
			Type:                rapid.SampledFrom(Types()).Draw(t, "type"),
			Version:             rapid.StringMatching(`[56]\.[0-9]{1,2}\.0`).Draw(t, "version"),
			TransactionID:       ids.Draw(t, "transaction"),
			MessageID:           ids.Draw(t, "message"),
			MailID:              optional(t, ids, "mail"),
			OriginatorSystem:    optional(t, ids, "system"),
			Sender:              optional(t, addresses(), "sender"),
			From:                addresses().Draw(t, "from"),
			To:                  list.Draw(t, "to"),
			Cc:                  optional(t, list, "cc"),
			Subject:             optional(t, people, "subject"),
			Date:                drawTime(t, "date"),
			AckRequest:          flags.Draw(t, "ack"),
			DeliveryReport:      flags.Draw(t, "report"),
			ReadReply:           flags.Draw(t, "read"),
			ForwardToOriginator: flags.Draw(t, "forward"),
			Class:               optional(t, rapid.SampledFrom(Classes()), "class"),
			Priority:            optional(t, rapid.SampledFrom(Priorities()), "priority"),
			SenderVisibility:    optional(t, rapid.SampledFrom(Visibilities()), "visibility"),
			ForwardCounter:      rapid.IntRange(0, 9).Draw(t, "counter"),
			RequestStatus:       rapid.SampledFrom(RequestStatuses()).Draw(t, "status"),
			StatusText:          optional(t, people, "status text"),
			RequestRecipients:   optional(t, list, "recipients"),
			MMStatus:            rapid.SampledFrom(MMStatuses()).Draw(t, "mm status"),
			MMStatusExtension:   optional(t, rapid.SampledFrom(Extensions()), "extension"),
			ReadStatus:          rapid.SampledFrom(ReadStatuses()).Draw(t, "read status"),
		}
		switch rapid.IntRange(0, 2).Draw(t, "expiry") {
		case 1:
			h.Expiry.After = time.Duration(rapid.Int64Range(1, 3e8).Draw(t, "seconds")) * time.Second
		case 2:
			h.Expiry.At = drawTime(t, "end")
		}
		for range rapid.IntRange(0, 3).Draw(t, "others") {
			h.Other = append(h.Other, Field{
				"X-Mms-" + rapid.StringMatching(`Foo-[0-9]{1,3}`).Draw(t, "name"), rapid.StringMatching(`[!-~]{1,50}( [!-~]{1,30}){0,9}`).Draw(t, "value"),
			})
		}
		return h
	})
}

// What is written is read back, and is as long as was said before.
func TestWriteThenRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := headers().Draw(t, "header")
		var parts []OutPart
		var want []row
		if h.Type == ForwardREQ {
			for range rapid.IntRange(0, 6).Draw(t, "parts") {
				name := optional(t, texts(), "name")
				if rapid.Bool().Draw(t, "is a text") {
					s := texts().Draw(t, "text")
					parts = append(parts, OutPart{Name: name, Text: s})
					want = append(want, row{"text/plain", CleanName(name), ownLines(s), true})
					continue
				}
				s := octets().Draw(t, "octets")
				kind := rapid.SampledFrom([]string{"image/jpeg", "IMAGE/GIF", "video/mp4", "audio/amr", "text/vcard", "application/pdf"}).Draw(t, "kind")
				parts = append(parts, media(kind, name, s))
				want = append(want, row{strings.ToLower(kind), CleanName(name), s, false})
			}
		}
		if len(want) == 1 && want[0].text {
			want[0].name = "" // alone it has no header of its own
		}
		var b strings.Builder
		if err := Write(&b, h, parts); err != nil {
			t.Fatal(err)
		}
		mail := b.String()
		if n, err := EncodedSize(h, parts); err != nil || n != int64(len(mail)) {
			t.Fatalf("%d octets, %v, its size was to be %d", len(mail), err, n)
		}
		checkMail(t, mail)
		got, read, err := readMail(mail)
		if err != nil {
			t.Fatalf("%v\n%s", err, mail)
		}
		if !reflect.DeepEqual(got, h) {
			t.Fatalf("header\n%+v\nwant\n%+v\n%s", got, h, mail)
		}
		checkParts(t, read, want)
	})
}

// checkMail is checkLines for the whole mail of a property.
func checkMail(t *rapid.T, mail string) {
	for i, line := range strings.Split(mail, "\r\n") {
		if len(line) > maxLine || !isASCII(strings.ReplaceAll(line, "\t", " ")) {
			t.Fatalf("line %d: %q", i+1, line)
		}
	}
	if !strings.HasSuffix(mail, "\r\n") {
		t.Fatalf("the mail ends in %q", mail[max(0, len(mail)-10):])
	}
}

func checkParts(t *rapid.T, read []got, want []row) {
	ids := map[string]bool{}
	var have []row
	for _, p := range read {
		if p.err != nil {
			t.Fatal(p.err)
		}
		if ids[p.ContentID] && p.ContentID != "" {
			t.Fatalf("the id %q is given twice", p.ContentID)
		}
		ids[p.ContentID] = true
		if !p.IsSMIL() {
			have = append(have, row{p.ContentType, p.Name, p.content, p.IsText()})
		}
	}
	for _, p := range read {
		if p.IsSMIL() && len(want) > 0 {
			for id := range ids {
				if n := strings.Count(p.content, `"cid:`+id+`"`); n > 1 {
					t.Fatalf("the layout shows %q %d times", id, n)
				}
			}
		}
	}
	if len(want) == 0 {
		want = []row{{"text/plain", "", "", true}}
	}
	if !reflect.DeepEqual(have, want) {
		t.Fatalf("parts\n%q\nwant\n%q", flat(have), flat(want))
	}
}

func flat(rows []row) (out []string) {
	for _, r := range rows {
		out = append(out, r.kind, r.name, r.content)
	}
	return out
}

func TestTransferEncodingsOfAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := texts().Draw(t, "text")
		if got := decodeText(encodeText(cleanText(s))); got != cleanText(s) {
			t.Fatalf("%q is %q", cleanText(s), got)
		}
		name := CleanName(s)
		if again := CleanName(name); again != name || len(name) > maxName || strings.ContainsAny(name, "/\\\r\n\x00") {
			t.Fatalf("the name %q is %q when cleaned again", name, again)
		}
		_, params := parseParams("image/png" + formatParam("name", name) + "; x=y")
		if params["name"] != name || params["x"] != "y" {
			t.Fatalf("the name %q is %q", name, params)
		}
	})
}

// Blanks beside each other in a name are where a long header is folded.
func TestNameWithBlanksOnALongLine(t *testing.T) {
	for _, name := range []string{"A  " + strings.Repeat("x", 120) + ".jpg", strings.Repeat("a  ", 60) + "b.jpg"} {
		if _, params := parseParams("image/jpeg" + formatParam("name", name)); params["name"] != name {
			t.Errorf("%q, want %q", params["name"], name)
		}
		if strings.Contains(formatParam("name", name), "  ") {
			t.Errorf("%s may be folded between two blanks", formatParam("name", name))
		}
	}
}
