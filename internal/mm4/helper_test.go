package mm4

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crlf is a mail as it comes over SMTP.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// example is a mail of the fact sheet.
func example(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// got is a part with its content.
type got struct {
	*Part
	content string
	err     error // of the body
}

// readMail reads a mail to its end; err is that of NewReader or Next, nil for io.EOF.
func readMail(mail string) (h Header, parts []got, err error) {
	m, err := NewReader(strings.NewReader(mail), Limits{})
	if m != nil {
		h = m.Header
	}
	if err != nil {
		return h, nil, err
	}
	for {
		p, err := m.Next()
		if err == io.EOF {
			return h, parts, nil
		}
		if err != nil {
			return h, parts, err
		}
		b, err := io.ReadAll(p.Body)
		parts = append(parts, got{p, string(b), err})
	}
}

// mustRead is readMail for a mail that has nothing wrong.
func mustRead(t *testing.T, mail string) (Header, []got) {
	t.Helper()
	h, parts, err := readMail(mail)
	if err != nil {
		t.Fatalf("%v\n%s", err, mail)
	}
	for i, p := range parts {
		if p.err != nil {
			t.Fatalf("part %d: %v\n%s", i+1, p.err, mail)
		}
	}
	return h, parts
}

// wantFault checks that err is a fault of a status, that names the header.
func wantFault(t *testing.T, err error, status Status, header string) {
	t.Helper()
	var f *Fault
	if !errors.As(err, &f) {
		t.Fatalf("error %v is no fault", err)
	}
	if f.Status != status || f.Header != header {
		t.Errorf("fault %q of header %q (%v), want %q of %q", f.Status, f.Header, f, status, header)
	}
	if !strings.ContainsAny(f.Detail, ";") {
		t.Errorf("the fault %q names no cure", f.Detail)
	}
}

// top is the header of a forward.REQ without its MIME headers and the empty line.
const top = `X-Mms-3GPP-MMS-Version: 6.10.0
X-Mms-Message-Type: MM4_forward.REQ
X-Mms-Transaction-ID: t1
X-Mms-Message-ID: m1@mms.pbx.example
From: <+15551230001/TYPE=PLMN@mms.pbx.example>
To: <+15551230002/TYPE=PLMN@mms.gw.example>
`

// forward is a message to be written.
func forward() Header {
	return Header{
		Type: ForwardREQ, TransactionID: "t1", MessageID: "m1@mms.gw.example",
		From: plmn("+15551230001", "mms.gw.example"), To: []Address{plmn("+15551230002", "mms.peer.example")},
		Date: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
	}
}

func plmn(number, domain string) Address { return Address{Local: number, Type: PLMN, Domain: domain} }

// media is a part whose content is b.
func media(contentType, name, b string) OutPart {
	return OutPart{
		ContentType: contentType, Name: name, Size: int64(len(b)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(b)), nil },
	}
}

func render(t testing.TB, h Header, parts ...OutPart) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, h, parts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
