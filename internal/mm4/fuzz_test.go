package mm4

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/fuzztest"
)

// FuzzRead reads any mail to its end: nothing panics, every error is a fault, what is
// allocated is a small multiple of what came, and what was read can be written and
// read again.
func FuzzRead(f *testing.F) {
	for name := range examples {
		f.Add([]byte(example(f, name)))
	}
	for _, tt := range odd {
		f.Add([]byte(crlf(top + tt.mail)))
	}
	for _, s := range []string{
		"", "\r\n", "\r\n\r\n", ":\r\n", " \r\n", "a", strings.Repeat("a:\r\n", 2000), strings.Repeat("X-Mms-A: b\r\n", 900),
		crlf(top + "Subject: " + strings.Repeat("=?gb18030?b?wOQ=?= ", 40) + "\n\n"),
		crlf(top + "Content-Type: multipart/mixed; boundary=b\n" + strings.Repeat("\n--b\nContent-Type: multipart/mixed; boundary=b\n", 30)),
		crlf(top + "Content-Type: a/b" + strings.Repeat(";\n x*1=y", 300) + "\n\n"),
		crlf(top + "To: " + strings.Repeat(",<1234>", 120) + "\n\n"),
		crlf(top + "Content-Type: text/plain; charset=utf-16\n\n\x00\n\x00"), crlf(top + "Content-Type: text/plain; charset=hz-gb-2312\n\n~{~~"),
		crlf(top + "Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$\x1b(B"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, mail []byte) {
		var h Header
		var err error
		// An encoded word of 17 octets in a charset with a table costs 10 KiB while it
		// is decoded, one after the other.
		fuzztest.Within(t, 640*len(mail)+1<<20, func() { h, err = walk(t, string(mail)) })
		if err == nil || h.Type == "" {
			rewrite(t, h)
		}
	})
}

// walk reads a mail to its end; err is that of its header.
func walk(t *testing.T, mail string) (Header, error) {
	t.Helper()
	m, err := NewReader(strings.NewReader(mail), Limits{})
	checkFault(t, err)
	if err != nil {
		return Header{}, err
	}
	total := 0
	for n := 0; ; n++ {
		p, err := m.Next()
		if err == io.EOF {
			break
		}
		checkFault(t, err)
		if err != nil {
			break
		}
		if n >= DefaultParts || p.ContentType == "" || p.Name != CleanName(p.Name) || strings.ContainsAny(p.ContentID+p.ContentLocation, "\r\n\x00") {
			t.Errorf("part %d is %+v", n+1, p)
		}
		size, err := io.Copy(io.Discard, p.Body)
		checkFault(t, err)
		total += int(size)
	}
	if total > 4*len(mail) { // an octet of windows-1252 has three in UTF-8
		t.Errorf("%d octets of content in %d of mail", total, len(mail))
	}
	return m.Header, nil
}

func checkFault(t *testing.T, err error) {
	t.Helper()
	var f *Fault
	if err != nil && (!errors.As(err, &f) || f.Detail == "" || f.Status == "" || f.Status == StatusOK || strings.ContainsAny(err.Error(), "\r\n\x00")) {
		t.Errorf("error %#v", err)
	}
}

// rewrite writes what was read: it is refused, or reads the same again.
func rewrite(t *testing.T, h Header) {
	t.Helper()
	if h.Date.IsZero() {
		h.Date = time.Unix(0, 0).UTC()
	}
	var b strings.Builder
	if err := Write(&b, h, nil); err != nil {
		checkFault(t, err)
		return
	}
	again, _, err := readMail(b.String())
	if err != nil {
		var f *Fault
		if errors.As(err, &f) && strings.Contains(f.Detail, "more than") {
			return // the encoded words have made it too long
		}
		t.Fatalf("%v\n%s", err, b.String())
	}
	for _, x := range []*Header{&h, &again} {
		x.Bcc, x.Other = nil, nil
		if x.Version == "" {
			x.Version = DefaultVersion
		}
	}
	if !reflect.DeepEqual(h, again) {
		t.Errorf("read\n%+v\nthen\n%+v\n%s", h, again, b.String())
	}
}

// FuzzAddresses: what can be read can be written and is then read as the same.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{
		"+15551230002/TYPE=PLMN@mms.peer.example", `"a \"b\"" <12345/TYPE=PLMN>, x@y.example`, "2001:db8::1/TYPE=IPv6@x.example;", "g: a@b.example, <c@d.example>;",
		`"john doe"@mail.example`, "=?utf-8?q?=C3=BC?= <1234567890>", "::ffff:1.2.3.4/TYPE=IPv6", "<<1234>>", `"<"@x.example`, `a@[1.2.3.4]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		as, err := ParseAddresses(s)
		if err != nil {
			if err != errAddress {
				t.Errorf("error %v", err)
			}
			return
		}
		for _, a := range as {
			if !a.valid() {
				if isASCII(a.String()) {
					t.Errorf("%q is %+v, which cannot be written", s, a)
				}
				continue
			}
			back, err := ParseAddresses(a.header())
			if err != nil || len(back) != 1 || back[0] != a {
				t.Errorf("%q is %+v, written %q, read %+v, %v", s, a, a.header(), back, err)
			}
		}
	})
}
