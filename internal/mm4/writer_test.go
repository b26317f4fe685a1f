package mm4

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// lines checks the form of a whole mail: CRLF, no long line, nothing above ASCII.
func checkLines(t testing.TB, mail string) {
	t.Helper()
	if !strings.HasSuffix(mail, "\r\n") {
		t.Errorf("the mail ends in %q", mail[max(0, len(mail)-10):])
	}
	for i, line := range strings.Split(strings.TrimSuffix(mail, "\r\n"), "\r\n") {
		if len(line) > maxLine || !isASCII(strings.ReplaceAll(line, "\t", " ")) {
			t.Errorf("line %d: %q", i+1, line)
		}
	}
}

func TestNothingGetsIntoAHeader(t *testing.T) {
	const evil = "x\r\nX-Mms-Evil: yes\r\n\r\nbody"
	set := map[string]func(*Header, string){
		"version":     func(h *Header, s string) { h.Version = s },
		"transaction": func(h *Header, s string) { h.TransactionID = s },
		"message":     func(h *Header, s string) { h.MessageID = s },
		"mail":        func(h *Header, s string) { h.MailID = s },
		"system":      func(h *Header, s string) { h.OriginatorSystem = s },
		"class":       func(h *Header, s string) { h.Class = Class(s) },
		"priority":    func(h *Header, s string) { h.Priority = Priority(s) },
		"visibility":  func(h *Header, s string) { h.SenderVisibility = Visibility(s) },
		"status":      func(h *Header, s string) { h.RequestStatus = Status(s) },
		"mm status":   func(h *Header, s string) { h.MMStatus = MMStatus(s) },
		"extension":   func(h *Header, s string) { h.MMStatusExtension = Extension(s) },
		"read status": func(h *Header, s string) { h.ReadStatus = ReadStatus(s) },
		"sender":      func(h *Header, s string) { h.Sender = plmn("+15551230001", s) },
		"from":        func(h *Header, s string) { h.From.Local = s },
		"from mail":   func(h *Header, s string) { h.From = Address{Local: s, Type: Email, Domain: "x.example"} },
		"from domain": func(h *Header, s string) { h.From.Domain = s },
		"from type":   func(h *Header, s string) { h.From.Type = AddressType(s) },
		"to":          func(h *Header, s string) { h.To = append(h.To, Address{Local: s, Type: PLMN}) },
		"cc":          func(h *Header, s string) { h.Cc = []Address{{Local: s, Type: Email, Domain: "x.example"}} },
		"recipients":  func(h *Header, s string) { h.RequestRecipients = []Address{{Local: "1", Type: PLMN, Domain: s}} },
		"other name":  func(h *Header, s string) { h.Other = []Field{{"X-Mms-" + s, "y"}} },
		"other value": func(h *Header, s string) { h.Other = []Field{{"X-Mms-Foo", s}} },
		"type":        func(h *Header, s string) { h.Type = Type(s) },
	}
	for name, f := range set {
		for _, s := range []string{evil, "x\ny", "x\ry", "x\x00y", "é\r\n"} {
			h := forward()
			f(&h, s)
			var b strings.Builder
			err := Write(&b, h, nil)
			var fault *Fault
			if !errors.As(err, &fault) || b.Len() > 0 {
				t.Errorf("%s %q: %v, wrote %q", name, s, err, b.String())
			}
			if _, err2 := EncodedSize(h, nil); err2 == nil || err2.Error() != err.Error() {
				t.Errorf("%s %q: its size: %v", name, s, err2)
			}
		}
	}
	for name, part := range map[string]OutPart{
		"type": {ContentType: "text/" + evil, Open: media("", "", "").Open}, "id": {Text: "x", ContentID: evil},
		"id with a bracket": {Text: "x", ContentID: "a>b"}, "type with parameters": {Text: "x", ContentType: "text/plain; x=y"},
		"multipart": {ContentType: "multipart/mixed", Open: media("", "", "").Open}, "a text that is a picture": {ContentType: "image/png", Text: "x"},
		"negative": {ContentType: "image/png", Size: -1, Open: media("", "", "").Open}, "the layout's id": {Text: "x", ContentID: "smil@mms.gw.example"},
	} {
		var fault *Fault
		if err := Write(io.Discard, forward(), []OutPart{part, {Text: "y"}}); !errors.As(err, &fault) {
			t.Errorf("a part with %s: %v", name, err)
		}
	}
}

// Texts of people are not refused: they are encoded, or cleaned.
func TestTextsOfPeopleAreEncoded(t *testing.T) {
	for in, want := range map[string]string{
		"x\r\nX-Mms-Evil: yes":       "x  X-Mms-Evil: yes",
		"=?utf-8?q?x?=":              "=?utf-8?q?x?=",
		"a  b":                       "a  b",
		" a ":                        "a",
		"Grüße 😀":                    "Grüße 😀",
		strings.Repeat("日本語", 100):   strings.Repeat("日本語", 100),
		strings.Repeat("word ", 100): strings.TrimSuffix(strings.Repeat("word ", 100), " "),
		strings.Repeat("x", 1500):    strings.Repeat("x", 1500),
		"a\u2028b\u0085c\x7fd":       "a b c d",
		"bad \xff utf-8":             "bad ÿ utf-8",
	} {
		h := forward()
		h.Subject, h.StatusText, h.From.Name = in, in, in
		mail := render(t, h)
		checkLines(t, mail)
		if strings.Contains(mail, "\nX-Mms-Evil") {
			t.Errorf("%q is written as\n%s", in, mail)
		}
		if got, _ := mustRead(t, mail); got.Subject != want || got.StatusText != want || got.From.Name != want {
			t.Errorf("%q is read back as %q, %q and %q, want %q", in, got.Subject, got.StatusText, got.From.Name, want)
		}
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Header)
		parts  int
		status Status
		header string
	}{
		{"no type", func(h *Header) { h.Type = "" }, 0, StatusUnsupported, hType},
		{"no transaction id", func(h *Header) { h.TransactionID = "" }, 0, StatusFormatCorrupt, hTransactionID},
		{"no date", func(h *Header) { h.Date = time.Time{} }, 0, StatusFormatCorrupt, "Date"},
		{"no sender", func(h *Header) { h.From = Address{} }, 0, StatusAddress, hFrom},
		{"no recipient", func(h *Header) { h.To = nil }, 0, StatusAddress, hTo},
		{"a hidden recipient alone", func(h *Header) { h.To, h.Bcc = nil, h.To }, 0, StatusAddress, hFrom},
		{"an empty recipient", func(h *Header) { h.To = append(h.To, Address{}) }, 0, StatusAddress, hTo},
		{"a response without status", func(h *Header) { h.Type = ForwardRES }, 0, StatusFormatCorrupt, hRequestStatus},
		{"a response with parts", func(h *Header) { h.Type, h.RequestStatus = ForwardRES, StatusOK }, 1, StatusFormatCorrupt, ""},
		{"too many parts", func(*Header) {}, 25, StatusContent, ""},
		{"a header of another kind", func(h *Header) { h.Other = []Field{{"Received", "x"}} }, 0, StatusFormatCorrupt, ""},
		{"a word that is too long", func(h *Header) { h.Other = []Field{{"X-Mms-Foo", strings.Repeat("x", 1000)}} }, 0, StatusFormatCorrupt, "X-Mms-Foo"},
	} {
		h := forward()
		tt.change(&h)
		var parts []OutPart
		for range tt.parts {
			parts = append(parts, OutPart{Text: "x"})
		}
		wantFault(t, Write(io.Discard, h, parts), tt.status, tt.header)
	}
	mustRead(t, render(t, forward(), make([]OutPart, maxOut)...)) // with the layout as many as are read
}

func TestOtherHeadersArePassedOn(t *testing.T) {
	h := forward()
	h.Other = []Field{{"X-Mms-Previously-sent-by", "1, +15551230009/TYPE=PLMN@x.example"}, {"x-mms-priority", "Urgent"}}
	mail := render(t, h)
	if !strings.Contains(mail, "\r\nX-Mms-Previously-sent-by: 1, +15551230009/TYPE=PLMN@x.example\r\n") || strings.Contains(mail, "Urgent") {
		t.Errorf("wrote\n%s", mail)
	}
}

func TestLongListsAreFolded(t *testing.T) {
	h := forward()
	for i := range 200 {
		h.Cc = append(h.Cc, plmn(fmt.Sprintf("+1555123%04d", i), "mms.peer.example"))
	}
	mail := render(t, h)
	checkLines(t, mail)
	for line := range strings.SplitSeq(mail, "\r\n") {
		if len(line) > 78 {
			t.Errorf("line %q", line)
		}
	}
	if got, _ := mustRead(t, mail); len(got.Cc) != 200 || got.Cc[199] != h.Cc[199] {
		t.Errorf("%d recipients", len(got.Cc))
	}
}

func TestPartsThatBreakOff(t *testing.T) {
	broken := errors.New("the disk is gone")
	closed := 0
	open := func(r io.Reader) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) {
			return struct {
				io.Reader
				io.Closer
			}{r, closer(func() error { closed++; return nil })}, nil
		}
	}
	for name, p := range map[string]OutPart{
		"shorter":       {Size: 10, Open: open(strings.NewReader("123456789"))},
		"longer":        {Size: 8, Open: open(strings.NewReader("123456789"))},
		"endless":       {Size: 8, Open: open(iotest.OneByteReader(neverEnding{}))},
		"reading fails": {Size: 8, Open: open(io.MultiReader(strings.NewReader("1234"), iotest.ErrReader(broken)))},
		"ends oddly":    {Size: 8, Open: open(io.MultiReader(strings.NewReader("1234"), iotest.ErrReader(io.ErrUnexpectedEOF)))},
	} {
		p.ContentType = "image/png"
		before := closed
		err := Write(io.Discard, forward(), []OutPart{p})
		var fault *Fault
		if err == nil || errors.As(err, &fault) || !strings.Contains(err.Error(), "part 1") || closed != before+1 {
			t.Errorf("%s: %v, closed %d times", name, err, closed-before)
		}
		if name == "reading fails" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cannot := OutPart{ContentType: "image/png", Open: func() (io.ReadCloser, error) { return nil, broken }}
	if err := Write(io.Discard, forward(), []OutPart{cannot}); !errors.Is(err, broken) {
		t.Errorf("opening fails: %v", err)
	}
	if err := Write(&limited{n: 700}, forward(), []OutPart{media("image/png", "", strings.Repeat("x", 9000))}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("writing fails: %v", err)
	}
	failing := OutPart{ContentType: "image/png", Open: func() (io.ReadCloser, error) {
		return struct {
			io.Reader
			io.Closer
		}{strings.NewReader(""), closer(func() error { return broken })}, nil
	}}
	if err := Write(io.Discard, forward(), []OutPart{failing}); !errors.Is(err, broken) {
		t.Errorf("closing fails: %v", err)
	}
}

type closer func() error

func (c closer) Close() error { return c() }

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// limited takes n octets.
type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	if l.n -= len(p); l.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestTheSameMessageIsTheSameMail(t *testing.T) {
	h := forward()
	h.Other = []Field{{"X-Mms-A", "1"}, {"X-Mms-B", "2"}}
	parts := []OutPart{media("image/png", "a.png", "PNG"), {Text: "Hello"}, media("audio/amr", "a.amr", "#!AMR")}
	first := render(t, h, parts...)
	for range 20 {
		if again := render(t, h, parts...); again != first {
			t.Fatalf("wrote\n%s\nand\n%s", first, again)
		}
	}
	h.Date = h.Date.In(time.FixedZone("", 3600))
	if again := render(t, h, parts...); again != first {
		t.Error("the zone of a date changes the mail")
	}
}

func TestEncodedSizeOpensNothing(t *testing.T) {
	p := media("image/png", "", "x")
	p.Open = func() (io.ReadCloser, error) { t.Error("a part was opened"); return nil, io.EOF }
	p.Size = 1 << 40
	n, err := EncodedSize(forward(), []OutPart{p})
	if want := int64(1) << 40 * 4 / 3 * 78 / 76; err != nil || n < want || n > want+2000 {
		t.Errorf("%d, %v, want about %d", n, err, want)
	}
}

func TestBase64Size(t *testing.T) {
	for n := range 400 {
		var b strings.Builder
		got, err := writeBase64(&b, strings.NewReader(strings.Repeat("x", n)))
		if err != nil || got != int64(n) || base64Size(int64(n)) != int64(b.Len()) {
			t.Errorf("%d octets are %d in base64, %d by the size; %v", n, b.Len(), base64Size(int64(n)), err)
		}
		sc := bufio.NewScanner(strings.NewReader(b.String()))
		for sc.Scan() {
			if len(sc.Text()) > base64Line || len(sc.Text()) == 0 {
				t.Errorf("%d octets: line %q", n, sc.Text())
			}
		}
	}
}

func TestLayout(t *testing.T) {
	part := func(kind, id string) OutPart {
		return OutPart{ContentType: kind, ContentID: id, Open: func() (io.ReadCloser, error) { return nil, io.EOF }}
	}
	img, vid, aud, txt, card := part("image/png", "i"), part("video/mp4", "v"), part("audio/amr", "a"), part("text/plain", "t"), part("text/vcard", "c")
	for want, parts := range map[string][]OutPart{
		"":                      {card},
		"i+t":                   {img, txt},
		"t+i":                   {txt, img},
		"i i+t":                 {img, card, img, txt},
		"t+i t+i":               {txt, img, txt, img},
		"t t":                   {txt, txt},
		"i+t+a":                 {img, txt, aud},
		"v+t a":                 {vid, txt, aud},
		"a+t v":                 {aud, txt, vid},
		"a+i a":                 {aud, img, aud},
		"v+t i":                 {vid, txt, img},
		"i+t i+t i+t i+t i+t a": {img, txt, img, txt, img, txt, img, txt, img, txt, aud},
	} {
		if want == "i+t i+t i+t i+t i+t a" { // the sound goes with the last picture
			want = "i+t i+t i+t i+t i+t+a"
		}
		smil := Layout(parts)
		if want == "" {
			if smil != "" {
				t.Errorf("layout %q", smil)
			}
			continue
		}
		have, n := parseLayout(t, smil)
		words := strings.Fields(want)
		if len(have) != len(words) {
			t.Errorf("%s: %d slides in\n%s", want, len(have), smil)
			continue
		}
		total := 0
		for i, w := range words {
			total += len(strings.Split(w, "+"))
			for id := range strings.SplitSeq(w, "+") {
				if !strings.Contains(have[i], "cid:"+id+";") {
					t.Errorf("%s: slide %d is %q", want, i+1, have[i])
				}
			}
			if timed := strings.ContainsAny(w, "av"); timed == strings.Contains(have[i], "dur") {
				t.Errorf("%s: slide %d has the length %q", want, i+1, have[i])
			}
		}
		if n != total {
			t.Errorf("%s: %d elements, want %d", want, n, total)
		}
	}
}

// parseLayout gives for each slide its length and what it shows.
func parseLayout(t *testing.T, smil string) (slides []string, elements int) {
	t.Helper()
	checkLines(t, smil)
	d := xml.NewDecoder(strings.NewReader(smil))
	regions := map[string]bool{}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return slides, elements
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, smil)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		attr := map[string]string{}
		for _, a := range e.Attr {
			attr[a.Name.Local] = a.Value
		}
		switch e.Name.Local {
		case "region":
			regions[attr["id"]] = true
		case "par":
			slides = append(slides, "")
			if attr["dur"] != "" {
				slides[len(slides)-1] = "dur;"
			}
		case "img", "video", "text", "audio":
			elements++
			if r := attr["region"]; !regions[r] && e.Name.Local != "audio" {
				t.Errorf("region %q", r)
			}
			slides[len(slides)-1] += attr["src"] + ";"
		}
	}
}

func TestLayoutEscapes(t *testing.T) {
	smil := Layout([]OutPart{{ContentType: "image/png", ContentID: `a"<&>'é b@x.example`}})
	slides, _ := parseLayout(t, smil)
	if len(slides) != 1 || slides[0] != "dur;cid:a%22%3C%26%3E%27%C3%A9%20b@x.example;" {
		t.Errorf("%q in\n%s", slides, smil)
	}
}
