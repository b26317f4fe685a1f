package mm4

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// with is top with other lines, as a mail with an empty body.
func with(lines string) string { return crlf(top + lines + "\n") }

// without is top without a header.
func without(name string) string {
	var out []string
	for line := range strings.SplitSeq(top, "\n") {
		if !strings.HasPrefix(line, name+":") {
			out = append(out, line)
		}
	}
	return crlf(strings.Join(out, "\n") + "\n")
}

func TestEveryHeaderIsRead(t *testing.T) {
	h, _ := mustRead(t, with(`x-mms-ack-request: yes
X-MMS-DELIVERY-REPORT: YES
X-Mms-Read-Reply: no
X-Mms-Originator-System: <system-user@mms.pbx.example>
X-Mms-Message-Class: informational
X-Mms-Priority: HIGH
X-Mms-Expiry: Fri, 02 Jan 2026 15:04:05 GMT
X-Mms-Sender-Visibility: hide
X-Mms-Forward-Counter: 3
X-Mms-Previously-sent-by: 1, +15551230009/TYPE=PLMN@x.example
X-Mms-Content-Class: text
Cc: <+15551230003/TYPE=PLMN@mms.gw.example>,
	<+15551230004/TYPE=PLMN@mms.gw.example>
Bcc: 12345
Sender: nobody
Subject: =?utf-8?q?Mittag=3F_=E2=98=BA?=
Date: Fri, 2 Jan 2026 16:04:05 +0100
Message-ID: <mail-1@pbx.example>
Received: from somewhere
X-Other: is no header of MM4
`))
	want := Header{
		Type: ForwardREQ, Version: "6.10.0", TransactionID: "t1", MessageID: "m1@mms.pbx.example", MailID: "mail-1@pbx.example",
		OriginatorSystem: "system-user@mms.pbx.example", AckRequest: Yes, DeliveryReport: Yes, ReadReply: No,
		Class: Informational, Priority: High, Expiry: Expiry{At: at("2026-01-02T15:04:05Z")}, SenderVisibility: Hide, ForwardCounter: 3,
		From: plmn("+15551230001", "mms.pbx.example"), To: []Address{plmn("+15551230002", "mms.gw.example")},
		Cc:      []Address{plmn("+15551230003", "mms.gw.example"), plmn("+15551230004", "mms.gw.example")},
		Bcc:     []Address{{Local: "12345", Type: ShortCode}},
		Subject: "Mittag? ☺", Date: at("2026-01-02T15:04:05Z"),
		Other: []Field{{"X-Mms-Previously-Sent-By", "1, +15551230009/TYPE=PLMN@x.example"}, {"X-Mms-Content-Class", "text"}},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("header\n%+v\nwant\n%+v", h, want)
	}
}

func TestWhatMeansNothingIsKept(t *testing.T) {
	h, _ := mustRead(t, with("X-Mms-Priority: Urgent\nX-Mms-Expiry: soon\nX-Mms-Ack-Request: perhaps\nX-Mms-Foo: bar\nDate: yesterday\n"))
	want := []Field{{"X-Mms-Priority", "Urgent"}, {"X-Mms-Expiry", "soon"}, {"X-Mms-Ack-Request", "perhaps"}, {"X-Mms-Foo", "bar"}}
	if !reflect.DeepEqual(h.Other, want) || h.Priority != "" || h.AckRequest != Unset || !h.Date.IsZero() {
		t.Errorf("header %+v", h)
	}
	if h, _ = mustRead(t, with(strings.Repeat("X-Mms-Foo: bar\n", 200))); len(h.Other) != maxOther {
		t.Errorf("%d headers were kept", len(h.Other))
	}
	res := strings.NewReplacer("forward.REQ", "forward.RES").Replace(top) + "X-Mms-Request-Status-Code: Error-whatever\n\n"
	if h, _ = mustRead(t, crlf(res)); h.RequestStatus != StatusUnspecified || len(h.Other) != 1 {
		t.Errorf("header %+v", h)
	}
	report := strings.NewReplacer("forward.REQ", "delivery_report.REQ").Replace(top) + "X-Mms-MM-Status-Code: Lost\n\n"
	if h, _ = mustRead(t, crlf(report)); h.MMStatus != Indeterminate || len(h.Other) != 1 {
		t.Errorf("header %+v", h)
	}
}

func TestExpiry(t *testing.T) {
	begin := at("2026-01-02T00:00:00Z")
	for in, want := range map[string]time.Time{
		"3600": begin.Add(time.Hour), "Fri, 02 Jan 2026 15:04:05 +0000": at("2026-01-02T15:04:05Z"), "Friday, 02-Jan-26 15:04:05 GMT": at("2026-01-02T15:04:05Z"),
		"Fri Jan  2 15:04:05 2026": at("2026-01-02T15:04:05Z"), "2026-01-02T15:04:05Z": at("2026-01-02T15:04:05Z"), "2026-01-02T16:04:05+0100": at("2026-01-02T15:04:05Z"),
		"0": {}, "-5": {}, "99999999999999999999": {}, "400000000": {}, "Fri, 02 Jan 0001 15:04:05 +0000": {}, "": {},
	} {
		h, _ := mustRead(t, with("X-Mms-Expiry: "+in+"\n"))
		if got := h.Expiry.Time(begin); !got.Equal(want) {
			t.Errorf("%q ends at %v, want %v", in, got, want)
		}
	}
}

// A zone means the same wherever the machine stands, and an hour too early may be the end
// of a message.
func TestZonesOfDates(t *testing.T) {
	t.Cleanup(func(was *time.Location) func() { return func() { time.Local = was } }(time.Local))
	for _, place := range []string{"UTC", "America/New_York"} {
		where, err := time.LoadLocation(place)
		if err != nil {
			t.Fatal(err)
		}
		time.Local = where
		for in, want := range map[string]string{
			"Fri, 02 Jan 2026 15:04:05 EST": "20:04:05", "Fri, 2 Jan 2026 15:04:05 pdt": "22:04:05", "Friday, 02-Jan-26 15:04:05 CST": "21:04:05",
			"Fri, 02 Jan 2026 15:04:05 UT": "15:04:05", "Fri, 02 Jan 2026 15:04:05 Z": "15:04:05", "Fri, 02 Jan 2026 15:04:05 WAT": "15:04:05",
			"Fri, 02 Jan 2026 15:04:05 +05:30": "09:34:05", "Fri, 02 Jan 2026 15:04:05 -0000": "15:04:05", "Fri, 02 Jan 2026 15:04 +0100 (CET)": "14:04:00",
			"2 Jan 2026 15:04:05": "15:04:05", "Fr,02 Jan 2026 15:04:05 EST (Fri)": "20:04:05", "2026-01-02 15:04:05 -0500": "20:04:05",
		} {
			h, _ := mustRead(t, with("Date: "+in+"\nX-Mms-Expiry: "+in+"\n"))
			if got := h.Date.Format(time.DateTime); got != "2026-01-02 "+want || !h.Expiry.At.Equal(h.Date) {
				t.Errorf("%s: %q is %s and %v, want %s", place, in, got, h.Expiry.At, want)
			}
		}
	}
}

func TestIDsAreReadInEveryForm(t *testing.T) {
	for _, form := range []string{"Ab-1@x.example", "<Ab-1@x.example>", `"Ab-1@x.example"`, ` "<Ab-1@x.example>" `} {
		mail := strings.NewReplacer("t1", form, "m1@mms.pbx.example", form).Replace(with(""))
		if h, _ := mustRead(t, mail); h.TransactionID != "Ab-1@x.example" || h.MessageID != "Ab-1@x.example" {
			t.Errorf("%q is %q and %q", form, h.TransactionID, h.MessageID)
		}
	}
}

func TestFaultsOfTheHeader(t *testing.T) {
	for _, tt := range []struct {
		name, mail string
		status     Status
		header     string
	}{
		{"nothing", "", StatusFormatCorrupt, hType},
		{"no type", without(hType), StatusFormatCorrupt, hType},
		{"another mail", crlf("From: a@b.example\nTo: c@d.example\n\nHello\n"), StatusFormatCorrupt, hType},
		{"unknown type", strings.Replace(with(""), "MM4_forward.REQ", "MM4_capability.REQ", 1), StatusUnsupported, hType},
		{"unknown type, and more", strings.Replace(with("From: x\n"), "MM4_forward.REQ", "MM4_capability.REQ", 1), StatusUnsupported, hType},
		{"no transaction id", without(hTransactionID), StatusFormatCorrupt, hTransactionID},
		{"no message id", without(hMessageID), StatusFormatCorrupt, hMessageID},
		{"an id too long", strings.Replace(with(""), "t1", strings.Repeat("t", 300), 1), StatusFormatCorrupt, hTransactionID},
		{"an id that is not ASCII", strings.Replace(with(""), "t1", "té", 1), StatusFormatCorrupt, hTransactionID},
		{"no sender", without(hFrom), StatusAddress, hFrom},
		{"two senders", strings.Replace(with(""), "<+15551230001", "+15551230009, <+15551230001", 1), StatusAddress, hFrom},
		{"a sender that is none", strings.Replace(with(""), "<+15551230001/TYPE=PLMN@mms.pbx.example>", "anonymous", 1), StatusAddress, hFrom},
		{"no recipient", without(hTo), StatusAddress, hTo},
		{"a recipient that is none", with("Cc: everybody\n"), StatusAddress, hCc},
		{"recipients without end", with("Cc: 1234567" + strings.Repeat(",\n"+strings.Repeat(" 123,", 100)+" 123", 10) + "\n"), StatusFormatCorrupt, hTo},
		{"a type of address that is unknown", with("Cc: 5551230002/TYPE=FAX@x.example\n"), StatusAddress, hCc},
		{"two types", with("X-Mms-Message-Type: MM4_forward.RES\n"), StatusFormatCorrupt, hType},
		{"two transactions", with("X-Mms-Transaction-Id: t2\n"), StatusFormatCorrupt, hTransactionID},
		{"two content types", with("Content-Type: text/plain\nContent-Type: text/html\n"), StatusFormatCorrupt, hContentType},
		{"two encodings", with("Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n"), StatusFormatCorrupt, hTransferEncoding},
		{"a counter that does not count", with("X-Mms-Forward-Counter: many\n"), StatusFormatCorrupt, "X-Mms-Forward-Counter"},
		{"a negative counter", with("X-Mms-Forward-Counter: -1\n"), StatusFormatCorrupt, "X-Mms-Forward-Counter"},
		{"a response without status", strings.Replace(with(""), "forward.REQ", "forward.RES", 1), StatusFormatCorrupt, hRequestStatus},
		{"a report without status", strings.Replace(with(""), "forward.REQ", "delivery_report.REQ", 1), StatusFormatCorrupt, hMMStatus},
		{"a read report without status", strings.Replace(with(""), "forward.REQ", "read_reply_report.REQ", 1), StatusFormatCorrupt, hReadStatus},
		{"a bare LF", strings.Replace(with(""), "t1\r\n", "t1\nX-Mms-Foo: bar\r\n", 1), StatusFormatCorrupt, ""},
		{"a bare CR", strings.Replace(with(""), "t1\r\n", "t1\rX-Mms-Foo: bar\r\n", 1), StatusFormatCorrupt, ""},
		{"a NUL", strings.Replace(with(""), "t1", "t\x001", 1), StatusFormatCorrupt, ""},
		{"all bare", strings.ReplaceAll(with(""), "\r\n", "\n"), StatusFormatCorrupt, ""},
		{"a line without a colon", with("Hello\n"), StatusFormatCorrupt, ""},
		{"a blank in a name", with("X Mms: a\n"), StatusFormatCorrupt, ""},
		{"a folded first line", " " + with(""), StatusFormatCorrupt, ""},
		{"a long line", with("X-Mms-Foo: " + strings.Repeat("a", 990) + "\n"), StatusFormatCorrupt, ""},
		{"a very long line", with("X-Mms-Foo: " + strings.Repeat("a", 99999) + "\n"), StatusFormatCorrupt, ""},
		{"a long header", with(strings.Repeat("X-Foo: "+strings.Repeat("a", 900)+"\n", 75)), StatusFormatCorrupt, ""},
		{"many lines", with(strings.Repeat("a:\n", 1001)), StatusFormatCorrupt, ""},
		{"a fold without end", with("X-Foo: a\n" + strings.Repeat(" a\n", 1001)), StatusFormatCorrupt, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readMail(tt.mail)
			wantFault(t, err, tt.status, tt.header)
		})
	}
}

// What a report and a response are about is told by their ids: whom they name must not
// lose them.
func TestNamesOfSystemsAreNoFaults(t *testing.T) {
	for _, kind := range Types() {
		if kind == ForwardREQ {
			continue
		}
		mail := strings.NewReplacer(string(ForwardREQ), string(kind), "From: <+15551230001/TYPE=PLMN@mms.pbx.example>", "From: MMSC Relay", "To: <", "To: relay <relay>, <").Replace(
			with("X-Mms-Request-Status-Code: Ok\nX-Mms-MM-Status-Code: Retrieved\nX-Mms-Read-Status: Read\nX-Mms-Request-Recipients: all\n"))
		h, _, err := readMail(mail)
		if err != nil || !h.From.IsZero() || len(h.To) > 0 || h.TransactionID != "t1" || h.MessageID == "" {
			t.Errorf("%s: %+v, %v", kind, h, err)
		}
	}
}

func TestLimitsAreMet(t *testing.T) {
	long := "X-Mms-Foo: " + strings.Repeat("a", maxLine-len("X-Mms-Foo: "))
	if h, _ := mustRead(t, with(long+"\n")); len(h.Other) != 1 || len(h.Other[0].Value) != maxLine-len("X-Mms-Foo: ") {
		t.Error("a line of 998 octets")
	}
	many := "Cc: +15551239999" + strings.Repeat(",\n <+15551230003/TYPE=PLMN@mms.gw.example>", 400) + "\n"
	if h, _ := mustRead(t, with(many)); len(h.Cc) != 401 {
		t.Errorf("%d recipients in a folded list", len(h.Cc))
	}
	var many2 strings.Builder
	many2.WriteString("To: ")
	for range 20 {
		many2.WriteString("<+15551230003/TYPE=PLMN@mms.gw.example>, ")
	}
	if h, _ := mustRead(t, with(many2.String()+"\n")); len(h.To) != 21 { // with that of top
		t.Errorf("%d recipients on one line and in another header", len(h.To))
	}
	m, err := NewReader(strings.NewReader(with("")), Limits{Header: 200})
	wantFault(t, err, StatusFormatCorrupt, "")
	if m != nil {
		t.Error("a reader of half a header")
	}
}

// A refusal has to be answered: what was read of the header is there.
func TestFaultLeavesTheIDs(t *testing.T) {
	h, _, err := readMail(crlf("X-Mms-Forward-Counter: x\n" + top + "X-Mms-Ack-Request: Yes\nX-Mms-Originator-System: s@x.example\n\n"))
	if err == nil || h.TransactionID != "t1" || h.MessageID == "" || h.AckRequest != Yes || h.OriginatorSystem != "s@x.example" || h.Type != ForwardREQ {
		t.Errorf("%+v, %v", h, err)
	}
	m, err := NewReader(strings.NewReader(with("Cc: x\n")), Limits{})
	if _, again := m.Next(); again != err || err == nil {
		t.Errorf("the parts of a refused mail: %v", again)
	}
}

func TestFaultIsOfTheCatalogue(t *testing.T) {
	_, _, err := readMail(without(hFrom))
	var e *message.Error
	if message.ReasonOf(err) != message.ReasonInvalidDestination || !errors.As(err, &e) || e.Fields[0].Location != "header.From" {
		t.Errorf("%v: %+v", err, e)
	}
	_, _, err = readMail(strings.Replace(with(""), "MM4_forward.REQ", "MM4_x", 1))
	var typ *TypeError
	if message.ReasonOf(err) != message.ReasonInvalidRequest || !errors.As(err, &typ) || typ.Value != "MM4_x" {
		t.Errorf("%v: %+v", err, typ)
	}
	for _, s := range []Status{StatusFormatCorrupt, StatusUnsupported, StatusAddress, StatusContent, "odd"} {
		if r := (&Fault{Status: s}).Reason(); !r.Known() || r.Temporary() {
			t.Errorf("%s: %s", s, r)
		}
	}
	if r := content("x;").Reason(); r != message.ReasonMediaRejected {
		t.Errorf("content: %s", r)
	}
}

// What is no field is said without what it was: it may be a text, or a number.
func TestFaultsShowNothing(t *testing.T) {
	for _, mail := range []string{with("SecretLine\n"), with("Cc: SecretLine\n"), strings.Replace(with(""), "t1", "SecretLineé", 1)} {
		if _, _, err := readMail(mail); err == nil || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%v", err)
		}
	}
}

func TestErrorsOfTheSourceArePassedOn(t *testing.T) {
	testSourceErrors(t, with("Content-Type: multipart/mixed; boundary=b\n")+crlf("--b\nContent-Type: text/plain\n\nHello\n--b--\n"))
	testSourceErrors(t, with("")+"Hello\r\n--\r\n")
}

// onceBroken gives an error one time, and io.EOF from then on.
type onceBroken struct{ err error }

func (o *onceBroken) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

func testSourceErrors(t *testing.T, mail string) {
	t.Helper()
	broken := errors.New("the line was cut")
	for n := range len(mail) {
		r := io.MultiReader(iotest.OneByteReader(strings.NewReader(mail[:n])), &onceBroken{broken})
		m, err := NewReader(r, Limits{})
		for err == nil {
			var p *Part
			if p, err = m.Next(); err == nil {
				_, err = io.Copy(io.Discard, p.Body)
			}
		}
		if !errors.Is(err, broken) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

// However the octets come, the mail reads the same.
func TestPiecesOfAnySize(t *testing.T) {
	want, err := NewReader(strings.NewReader(example(t, "forward_req")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewReader(iotest.OneByteReader(strings.NewReader(example(t, "forward_req"))), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		a, err1 := want.Next()
		b, err2 := m.Next()
		if err1 != err2 || err1 != nil && err1 != io.EOF {
			t.Fatal(err1, err2)
		}
		if err1 == io.EOF {
			break
		}
		x, err1 := io.ReadAll(a.Body)
		y, err2 := io.ReadAll(iotest.OneByteReader(b.Body))
		if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
			t.Errorf("%q, %v is %q, %v", x, err1, y, err2)
		}
	}
}
