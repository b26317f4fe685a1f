package mm4

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// row is what a part of an odd mail is to be.
type row struct {
	kind, name, content string
	text                bool
}

// odd are mails as PBXs, hubs and mail programs send them, without their MM4 headers.
var odd = []struct {
	name, mail string
	want       []row
}{
	{"no type at all", "\nHello\n", []row{{"text/plain", "", "Hello", true}}},
	{"one part that is a text", "Content-Type: text/plain; charset=utf-8\n\nGrüße\n", []row{{"text/plain", "", "Grüße", true}}},
	{"one part that is a picture", "Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\niVBORw==\n", []row{{"image/png", "a.png", "\x89PNG", false}}},
	{"an empty body", "Content-Type: text/plain\n\n", []row{{"text/plain", "", "", true}}},
	{"no body", "", []row{{"text/plain", "", "", true}}},
	{"a text that ends in empty lines", "\nHello\n\n\n", []row{{"text/plain", "", "Hello\n\n", true}}},
	{"headers in odd case, with odd blanks", "CONTENT-TYPE:   TEXT/PLAIN ;  CHARSET = \"UTF-8\" ;\ncontent-transfer-encoding:BASE64\n\nSGVsbG8=\n", []row{{"text/plain", "", "Hello", true}}},
	{"folded headers", "Content-Type:\n multipart/mixed;\n\tboundary=\"b\"\n\n--b\nContent-Type:\n\ttext/plain\n\nHello\n--b--\n", []row{{"text/plain", "", "Hello", true}}},
	{"parts without Content-ID and without encoding", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nHello\n--b\nContent-Type: image/svg+xml\n\n<svg/>\n--b--\n", []row{{"text/plain", "", "Hello", true}, {"image/svg+xml", "", "<svg/>", false}}},
	{"7-bit parts", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\nHello\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: 7-Bit\n\nAgain\n--b--\n", []row{{"text/plain", "", "Hello", true}, {"text/plain", "", "Again", true}}},
	{"8-bit and binary", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8BIT\n\nGrüße\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: \"binary\";\n\n\x89PNG\x00\n--b--\n", []row{{"text/plain", "", "Grüße", true}, {"image/png", "", "\x89PNG\x00", false}}},
	{"an encoding on the multipart", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\nHello\n--b--\n", []row{{"text/plain", "", "Hello", true}}},
	{"parts without headers", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n--b\n\n--b--\n", []row{{"text/plain", "", "Hello", true}, {"text/plain", "", "", true}}},
	{"parts without anything", "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\nContent-Type: text/html\n--b--\n", []row{{"text/plain", "", "", true}, {"text/html", "", "", false}}},
	{"nested mixed and related", "Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/related; boundary=inner; type=application/smil; start=<smil>\n\n--inner\nContent-Type: application/smil\nContent-ID: <smil>\n\n<smil/>\n--inner\nContent-Type: image/gif\nContent-Transfer-Encoding: base64\n\nR0lGODlh\n--inner--\n\n--outer\nContent-Type: text/plain\n\nHello\n--outer--\n", []row{{"application/smil", "", "<smil/>", false}, {"image/gif", "", "GIF89a", false}, {"text/plain", "", "Hello", true}}},
	{"a boundary that begins like another", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b-1\n\n--b-1\n\nOne\n--b-1\n\nTwo\n--b-1--\n--b\n\nThree\n--b--\n", []row{{"text/plain", "", "One", true}, {"text/plain", "", "Two", true}, {"text/plain", "", "Three", true}}},
	{"an inner multipart that is never closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nOne\n--b\n\nTwo\n--b--\n", []row{{"text/plain", "", "One", true}, {"text/plain", "", "Two", true}}},
	{"an inner multipart with the boundary of the outer", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nOne\n--b--\n--b\n\nTwo\n--b--\n", []row{{"text/plain", "", "One", true}, {"text/plain", "", "Two", true}}},
	{"preamble and epilogue", "Content-Type: multipart/mixed; boundary=b\n\nThis is MIME.\n--bb\n--b \t\n\nHello\n--b--  \n--b\n\nNo\n--b--\nbye\n", []row{{"text/plain", "", "Hello", true}}},
	{"a long preamble", "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("x", 20000) + "\n--b\n\nHello\n--b--", []row{{"text/plain", "", "Hello", true}}},
	{"lines that look like boundaries", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--\n--c\n--bb\n --b\n--b--x\n--B\nx--b\n--b--\n", []row{{"text/plain", "", "--\n--c\n--bb\n --b\n--b--x\n--B\nx--b", true}}},
	{"a boundary with equals signs that is not quoted", "Content-Type: multipart/mixed; boundary=----=_Part_1_2.3\n\n------=_Part_1_2.3\n\nHello\n------=_Part_1_2.3--\n", []row{{"text/plain", "", "Hello", true}}},
	{"related with its parameters not quoted", "Content-Type: multipart/related; type=application/smil; start=<0.smil>; boundary=\"b b\"; boundary=c\n\n--b b\nContent-Type: text/plain\n\nHello\n--b b--\n", []row{{"text/plain", "", "Hello", true}}},
	{"base64 with junk and without padding", "Content-Type: image/gif\nContent-Transfer-Encoding: base64\n\n  R0lG\t*ODlh\n\nA Q A !B\nAA\n", []row{{"image/gif", "", "GIF89a\x01\x00\x01\x00", false}}},
	{"base64 in pieces", "Content-Transfer-Encoding: base64\n\nSGVsbG8=\nLCA=d29ybGQ=\n", []row{{"text/plain", "", "Hello, world", true}}},
	{"base64 in one long line", "Content-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("Hello", 4000))) + "\n", []row{{"text/plain", "", strings.Repeat("Hello", 4000), true}}},
	{"quoted-printable with its oddities", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: Quoted-Printable\n\nGr=c3=BC=\n=C3=9Fe=  \t\n!   \n1 = 1 =zz=\n", []row{{"text/plain", "", "Grüße!\n1 = 1 =zz", true}}},
	{"quoted-printable in one long line", "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("Caf=C3=A9 ", 3000) + "\n", []row{{"text/plain", "", strings.TrimSuffix(strings.Repeat("Café ", 3000), " "), true}}},
	{"an attachment with a path", "Content-Type: image/jpeg\nContent-Disposition: attachment; filename=\"../../etc/passwd\"\n\nx\n", []row{{"image/jpeg", "passwd", "x", false}}},
	{"an attachment with a path of Windows", "Content-Type: image/jpeg; name=\"C:\\Users\\x\\my photo.jpg\"\n\nx\n", []row{{"image/jpeg", "my photo.jpg", "x", false}}},
	{"a name that is not quoted", "Content-Type: image/jpeg; name=my photo.jpg; x=y\n\nx\n", []row{{"image/jpeg", "my photo.jpg", "x", false}}},
	{"a quote that is never closed", "Content-Type: image/jpeg; name=\"photo.jpg\n\nx\n", []row{{"image/jpeg", "photo.jpg", "x", false}}},
	{"a name by RFC 2231", "Content-Type: image/jpeg; name*=utf-8'de'Gr%C3%BC%C3%9Fe%20.jpg; name=ascii.jpg\n\nx\n", []row{{"image/jpeg", "Grüße .jpg", "x", false}}},
	{"a name by RFC 2231 in pieces", "Content-Type: image/jpeg\nContent-Disposition: attachment;\n filename*1*=%E4%F6.;\n filename*0*=iso-8859-1''%FC;\n filename*2=\"jpg\"\n\nx\n", []row{{"image/jpeg", "üäö.jpg", "x", false}}},
	{"a name by RFC 2047", "Content-Type: image/jpeg; name=\"=?windows-1251?B?9O7y7i5qcGc=?=\"\n\nx\n", []row{{"image/jpeg", "фото.jpg", "x", false}}},
	{"a name in windows-1252", "Content-Type: image/jpeg; name=\"Gr\xfc\xdfe \x80.jpg\"\n\nx\n", []row{{"image/jpeg", "Grüße €.jpg", "x", false}}},
	{"a name that would end a header", "Content-Type: image/jpeg; name=\"=?utf-8?q?a=0D=0AX-Mms-Ack-Request=3A_Yes.jpg?=\"\n\nx\n", []row{{"image/jpeg", "a  X-Mms-Ack-Request_ Yes.jpg", "x", false}}},
	{"a type that is none", "Content-Type: picture\n\nx\n", []row{{"application/octet-stream", "", "x", false}}},
	{"a type with a comment", "Content-Type: text/plain (a text); charset=us-ascii\n\nx\n", []row{{"text/plain", "", "x", true}}},
	{"a type that is half", "Content-Type: text\n\nx\n", []row{{"text/plain", "", "x", true}}},
	{"a mail in the mail", "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", []row{{"message/rfc822", "", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx", false}}},
	{"an empty multipart", "Content-Type: multipart/mixed; boundary=b\n\n--b--\n", nil},
	{"layout by its name", "Content-Type: text/plain; name=a.SMIL\n\n<smil/>\n", []row{{"text/plain", "a.SMIL", "<smil/>", false}}},
	{"a text in old line ends", "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\na=0Db=0D=0Ac=0A=0Dd\n", []row{{"text/plain", "", "a\nb\nc\n\nd", true}}},
}

func TestOddMails(t *testing.T) {
	for _, tt := range odd {
		t.Run(tt.name, func(t *testing.T) {
			mail := crlf(top + tt.mail)
			_, parts := mustRead(t, mail)
			var have []row
			for _, p := range parts {
				have = append(have, row{p.ContentType, p.Name, p.content, p.IsText()})
			}
			if !reflect.DeepEqual(have, tt.want) {
				t.Errorf("parts\n%+v\nwant\n%+v", have, tt.want)
			}
		})
	}
}

// The same with bare LF behind the mail's header, as programs write that copy a file
// onto the socket.
func TestOddMailsWithBareLF(t *testing.T) {
	for _, tt := range odd {
		head, body, ok := strings.Cut(tt.mail, "\n\n")
		if !ok || strings.Contains(tt.name, "mail in the mail") {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			_, parts := mustRead(t, crlf(top+head+"\n\n")+body)
			for i, p := range parts {
				if p.content != tt.want[i].content {
					t.Errorf("part %d is %q, want %q", i+1, p.content, tt.want[i].content)
				}
			}
		})
	}
}

// A line that is as long as the buffer: its line end comes in two halves.
func TestLinesAsLongAsTheBuffer(t *testing.T) {
	for n := readBuffer - 3; n < readBuffer+4; n++ {
		x := strings.Repeat("x", n)
		for _, end := range []string{"", "\r\ny", "\r\n\r\n", "\ny", "\r", "\r\r"} {
			mail := crlf(top+"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\n") + x + end + "\r\n--b--\r\n"
			if _, parts := mustRead(t, mail); parts[0].content != x+end {
				t.Errorf("%d octets and %q end in %q", n, end, parts[0].content[n-1:])
			}
			if _, parts := mustRead(t, crlf(top+"Content-Type: image/png\n\n")+x+end+"\r\n"); parts[0].content != x+end {
				t.Errorf("alone, %d octets and %q end in %q", n, end, parts[0].content[n-1:])
			}
		}
	}
}

func TestAlternatives(t *testing.T) {
	_, parts := mustRead(t, crlf(top+`Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain

Hello
--a
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html

<b>Hello</b>
--r
Content-Type: image/gif

GIF89a
--r--
--a--
--m
Content-Type: image/png

x
--m
Content-Type: multipart/alternative; boundary=a

--a

Bye
--a--
--m--
`))
	want := []Alternative{{1, 1}, {1, 2}, {1, 2}, {}, {2, 1}}
	for i, p := range parts {
		if len(parts) != len(want) || p.Alternative != want[i] {
			t.Errorf("part %d of %d is %+v, want %+v", i+1, len(parts), p.Alternative, want[i])
		}
	}
}

func TestCharsets(t *testing.T) {
	encode := func(e encoding.Encoding, s string) string {
		out, err := e.NewEncoder().String(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	octets16 := func(s string, bigEndian bool) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(s)) {
			if hi, lo := byte(u>>8), byte(u); bigEndian {
				b.Write([]byte{hi, lo})
			} else {
				b.Write([]byte{lo, hi})
			}
		}
		return b.String()
	}
	for _, tt := range []struct{ label, octets, want string }{
		{"", "Gr\xfc\xdfe", "Grüße"},
		{"", "Grüße", "Grüße"},
		{"utf-8", "\xef\xbb\xbfGrüße \xe2\x82", "Grüße â‚"},
		{"UTF8", "日本", "日本"},
		{"us-ascii", "Grüße", "Grüße"},
		{"ANSI_X3.4-1968", "a\x93b\x94", "a“b”"},
		{"iso-8859-1", "Gr\xfc\xdfe \x80", "Grüße €"},
		{"ISO_8859-15", "\xa4", "€"},
		{"iso8859-2", "\xb1", "ą"},
		{"iso-8859-5", encode(charmap.ISO8859_5, "Привет"), "Привет"},
		{"windows-1252", "\x80", "€"},
		{"'cp1252'", "\x80", "€"},
		{"windows-1251", encode(charmap.Windows1251, "Привет"), "Привет"},
		{"Windows_1250", encode(charmap.Windows1250, "Łódź"), "Łódź"},
		{"koi8-r", encode(charmap.KOI8R, "Привет"), "Привет"},
		{"gb18030", encode(simplifiedchinese.GB18030, "你好"), "你好"},
		{"gb2312", encode(simplifiedchinese.GBK, "你好"), "你好"},
		{"shift_jis", encode(japanese.ShiftJIS, "こんにちは"), "こんにちは"},
		{"iso-2022-jp", encode(japanese.ISO2022JP, "こんにちは"), "こんにちは"},
		{"utf-16", "\xff\xfe" + octets16("Grüße 😀", false), "Grüße 😀"},
		{"utf-16", "\xfe\xff" + octets16("Grüße 😀", true), "Grüße 😀"},
		{"utf-16", octets16("Grüße 😀", true), "Grüße 😀"},
		{"UTF-16", octets16("Grüße 😀", false), "Grüße 😀"},
		{"utf-16le", octets16("日本", false), "日本"},
		{"utf-16be", octets16("日本", true), "日本"},
		{"utf-16be", "\xfe\xff" + octets16("日本", true), "日本"},
		{"ucs-2", octets16("Grüße", true), "Grüße"},
		{"utf-16", "", ""},
	} {
		mail := crlf(top+"Content-Type: text/plain; charset=\""+tt.label+"\"\nContent-Transfer-Encoding: base64\n\n") + base64.StdEncoding.EncodeToString([]byte(tt.octets)) + "\r\n"
		_, parts := mustRead(t, mail)
		if p := parts[0]; p.content != tt.want || p.CharsetErr != nil || p.Charset != tt.label {
			t.Errorf("%q of %q is %q, %v, want %q", tt.octets, tt.label, p.content, p.CharsetErr, tt.want)
		}
	}
}

func TestUnknownCharset(t *testing.T) {
	_, parts := mustRead(t, crlf(top+"Content-Type: text/plain; charset=x-mac-klingon\n\nHello \xfc ü\n"))
	var e *CharsetError
	if p := parts[0]; p.content != "Hello ü ü" || !errors.As(p.CharsetErr, &e) || e.Charset != "x-mac-klingon" {
		t.Errorf("%q, %v", parts[0].content, parts[0].CharsetErr)
	}
	// What is not the message's text stays as it is, unless it says what it is.
	for label, want := range map[string]string{"": "N:M\xfcller", "; charset=iso-8859-1": "N:Müller"} {
		if _, parts := mustRead(t, crlf(top+"Content-Type: text/vcard"+label+"\n\nN:M\xfcller\n")); parts[0].content != want {
			t.Errorf("a card of %q is %q", label, parts[0].content)
		}
	}
}

func TestCleanNames(t *testing.T) {
	for in, want := range map[string]string{
		"": "", ".": "", "..": "", "/": "", `\`: "", "a/": "", ".htaccess": "htaccess", "../../x": "x", `..\x`: "x", "a\x00b.jpg": "a b.jpg",
		"con\r\ntrol.txt": "con  trol.txt", "evil\u202egpj.exe": "evilgpj.exe", "<b>.jpg": "_b_.jpg", `a"b.jpg`: "a_b.jpg", "  a.jpg. ": "a.jpg", "50%.jpg": "50_.jpg",
		strings.Repeat("ü", 100) + ".jpeg": strings.Repeat("ü", 57) + ".jpeg", strings.Repeat("a", 500): strings.Repeat("a", 120), "a." + strings.Repeat("b", 200): "a." + strings.Repeat("b", 118),
		"C:photo.jpg": "C_photo.jpg", "\ufffd.jpg": "_.jpg",
	} {
		if got := CleanName(in); got != want {
			t.Errorf("CleanName(%q) = %q, want %q", in, got, want)
		} else if again := CleanName(got); again != got {
			t.Errorf("CleanName(%q) = %q", got, again)
		}
	}
}

func TestTruncated(t *testing.T) {
	whole := crlf(top + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nHello\n--b--\n")
	body := strings.Index(whole, "\r\n\r\n") + 4
	for n := body; n < len(whole); n++ {
		_, parts, err := readMail(whole[:n])
		if strings.HasSuffix(whole[:n], "--b--") || strings.HasSuffix(whole[:n], "--b--\r") {
			if err != nil {
				t.Errorf("%q: %v", whole[body:n], err)
			}
			continue
		}
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("%q: %v", whole[body:n], err)
		}
		wantFault(t, err, StatusFormatCorrupt, "")
		// What there is can be read, and says that it is not all.
		for _, p := range parts {
			if !errors.Is(p.err, ErrTruncated) || !strings.HasPrefix("Hello\n--b--", p.content) {
				t.Errorf("%q: part %q, %v", whole[body:n], p.content, p.err)
			}
		}
	}
}

func TestFaultsOfTheBody(t *testing.T) {
	nested := func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: multipart/mixed; boundary=b0\n")
		for i := range n - 1 {
			b.WriteString("\n--b" + string(rune('0'+i)) + "\nContent-Type: multipart/mixed; boundary=b" + string(rune('1'+i)) + "\n")
		}
		b.WriteString("\n--b" + string(rune('0'+n-1)) + "\n\nHello\n--b0--\n")
		return b.String()
	}
	flat := func(n int, header string) string {
		return "Content-Type: multipart/mixed; boundary=b\n" + strings.Repeat("\n--b\n"+header+"\nx", n) + "\n--b--\n"
	}
	for _, ok := range []string{nested(4), flat(25, "")} {
		mustRead(t, crlf(top+ok))
	}
	for _, tt := range []struct {
		name, mail string
		status     Status
		header     string
	}{
		{"nested too deep", nested(5), StatusContent, ""},
		{"too many parts", flat(26, ""), StatusContent, ""},
		{"too many multiparts", flat(26, "Content-Type: multipart/mixed; boundary=c\n"), StatusContent, ""},
		{"no boundary", "Content-Type: multipart/mixed\n\nx\n", StatusFormatCorrupt, hContentType},
		{"an empty boundary", "Content-Type: multipart/mixed; boundary=\"\"\n\nx\n", StatusFormatCorrupt, hContentType},
		{"an unknown encoding", "Content-Type: text/plain\nContent-Transfer-Encoding: x-uuencode\n\nx\n", StatusFormatCorrupt, hTransferEncoding},
		{"a part's header without end", flat(1, strings.Repeat("X-Foo: "+strings.Repeat("a", 900)+"\n", 20)), StatusFormatCorrupt, ""},
		{"a part's header with a long line", flat(1, "X-Foo: "+strings.Repeat("a", 1000)+"\n"), StatusFormatCorrupt, ""},
		{"a part's header with a NUL", flat(1, "X-Foo: \x00\n"), StatusFormatCorrupt, ""},
		{"text where a part's header should be", flat(1, "Hello\n"), StatusFormatCorrupt, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readMail(crlf(top + tt.mail))
			wantFault(t, err, tt.status, tt.header)
		})
	}
	_, parts, err := readMail(crlf(top + "Content-Transfer-Encoding: base64\n\nSGVsbG8sI\n"))
	if err != nil || len(parts) != 1 || parts[0].content != "Hello," {
		t.Fatalf("%+v, %v", parts, err)
	}
	wantFault(t, parts[0].err, StatusFormatCorrupt, hTransferEncoding)
}

func TestBodyEndsWithNext(t *testing.T) {
	m, err := NewReader(strings.NewReader(example(t, "forward_req")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := m.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Next(); err != nil {
		t.Fatal(err)
	}
	if n, err := first.Body.Read(make([]byte, 10)); n != 0 || err != errOver {
		t.Errorf("the body of the first part gives %d, %v", n, err)
	}
}
