package mm4

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	short := func(n, d string) Address { return Address{Local: n, Type: ShortCode, Domain: d} }
	for in, want := range map[string]Address{
		"+15551230002/TYPE=PLMN@mms.peer.example":                         plmn("+15551230002", "mms.peer.example"),
		"<+15551230002/TYPE=PLMN@mms.peer.example>":                       plmn("+15551230002", "mms.peer.example"),
		" < +15551230002/TYPE=PLMN @ mms.peer.example > ":                 plmn("+15551230002", "mms.peer.example"),
		"+15551230002/TYPE=PLMN":                                          plmn("+15551230002", ""),
		"<+15551230002/TYPE=PLMN>":                                        plmn("+15551230002", ""),
		"<+15551230002/TYPE=PLMN@[192.0.2.7]>":                            plmn("+15551230002", "[192.0.2.7]"),
		"+15551230002/type=plmn@MMS.Peer.example":                         plmn("+15551230002", "MMS.Peer.example"),
		"+15551230002/TYPE=PLMN/MMSC=7@mms.peer.example":                  plmn("+15551230002", "mms.peer.example"),
		`"+15551230002/TYPE=PLMN"@mms.peer.example`:                       plmn("+15551230002", "mms.peer.example"),
		"5551230002/TYPE=PLMN@mms.peer.example":                           plmn("5551230002", "mms.peer.example"),
		"15551230002@mms.peer.example":                                    plmn("15551230002", "mms.peer.example"),
		"15551230002":                                                     plmn("15551230002", ""),
		"+1 (555) 123-0002/TYPE=PLMN@x.example":                           plmn("+15551230002", "x.example"),
		"tel:+15551230002":                                                plmn("+15551230002", ""),
		"12345/TYPE=PLMN@mms.peer.example":                                short("12345", "mms.peer.example"),
		"12345":                                                           short("12345", ""),
		"12345/TYPE=SC":                                                   short("12345", ""),
		"+12345/TYPE=PLMN":                                                plmn("+12345", ""),
		"192.0.2.7/TYPE=IPv4@x.example":                                   {Local: "192.0.2.7", Type: IPv4, Domain: "x.example"},
		"2001:DB8::1/TYPE=IPv6@x.example":                                 {Local: "2001:db8::1", Type: IPv6, Domain: "x.example"},
		"john.doe@mail.example":                                           {Local: "john.doe", Type: Email, Domain: "mail.example"},
		`"john doe"@mail.example`:                                         {Local: "john doe", Type: Email, Domain: "mail.example"},
		"system-user@mms.gw.example":                                      system("mms.gw.example"),
		"system-user@[192.0.2.7]":                                         system("[192.0.2.7]"),
		"system-user@[IPv6:2001:db8::1]":                                  system("[IPv6:2001:db8::1]"),
		"<+15551230002/TYPE=PLMN@[IPv6:2001:db8::1]>":                     plmn("+15551230002", "[IPv6:2001:db8::1]"),
		"+15551230002/TYPE=PLMN@x.example (John Doe)":                     plmn("+15551230002", "x.example"),
		"<+15551230002/TYPE=PLMN@x.example(John)>":                        plmn("+15551230002", "x.example"),
		`"Doe, John" <+15551230002/TYPE=PLMN@x.example>`:                  {Name: "Doe, John", Local: "+15551230002", Type: PLMN, Domain: "x.example"},
		`"a \"b\" <c>" <+15551230002/TYPE=PLMN@x.example>`:                {Name: `a "b" <c>`, Local: "+15551230002", Type: PLMN, Domain: "x.example"},
		"John <+15551230002>":                                             {Name: "John", Local: "+15551230002", Type: PLMN},
		"=?iso-8859-1?q?J=F6rg?= <+15551230002/TYPE=PLMN@x.example>":      {Name: "Jörg", Local: "+15551230002", Type: PLMN, Domain: "x.example"},
		"J\xf6rg <john@mail.example>":                                     {Name: "Jörg", Local: "john", Type: Email, Domain: "mail.example"},
		"John Doe <john@mail.example>":                                    {Name: "John Doe", Local: "john", Type: Email, Domain: "mail.example"},
		"=?utf-8?q?a=0D=0AX-Mms-Ack-Request:_Yes?= <+15551230002@x.exam>": {Name: "a  X-Mms-Ack-Request: Yes", Local: "+15551230002", Type: PLMN, Domain: "x.exam"},
	} {
		as, err := ParseAddresses(in)
		if err != nil || len(as) != 1 || as[0] != want {
			t.Errorf("%q is %+v, %v, want %+v", in, as, err, want)
			continue
		}
		back, err := ParseAddresses(as[0].header())
		if err != nil || len(back) != 1 {
			t.Errorf("%q is written as %q: %v", in, as[0].header(), err)
			continue
		}
		want.Name, back[0].Name = strings.Join(strings.Fields(want.Name), " "), strings.Join(strings.Fields(back[0].Name), " ")
		if back[0] != want {
			t.Errorf("%q is written as %q and read as %+v", in, as[0].header(), back[0])
		}
		if !as[0].valid() {
			t.Errorf("%+v cannot be written", as[0])
		}
	}
}

func TestNoAddresses(t *testing.T) {
	for _, in := range []string{
		"", "<>", "@", "john", "john@", "@x.example", "+/TYPE=PLMN@x.example", "12/TYPE=PLMN@x.example", "1234567890123456/TYPE=PLMN",
		"+1555123000a/TYPE=PLMN@x.example", "ACME/TYPE=PLMN@x.example", "+15551230002/TYPE=X@x.example", "192.0.2.7/TYPE=IPv6@x.example",
		"300.0.2.7/TYPE=IPv4@x.example", "fe80::1%eth0/TYPE=IPv6", "+15551230002/TYPE=PLMN@x y.example", "+15551230002/TYPE=PLMN@x<y",
		"+1555\r\n1230002", "+15551230002\x00", "a@b\x7f", strings.Repeat("1", 2000), "j@" + strings.Repeat("d", 300), "j\x01@x.example",
		"\"j\\\r\n\"@x.example", "<+15551230002/TYPE=PLMN@x.example", "++15551230002",
		"j@[IPv6:2001:db8::1", "j@[IPv6:x]", "j@[IPv6:192.0.2.7]", "j@[IPv6:fe80::1%eth0]", "+15551230002/TYPE=PLMN@x.example(John",
	} {
		a, err := ParseAddress(in)
		if in == "<+15551230002/TYPE=PLMN@x.example" { // a bracket may be missing
			if err != nil {
				t.Errorf("%q: %v", in, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%q is %+v", in, a)
		} else if err != errAddress {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestLists(t *testing.T) {
	a, b := plmn("+15551230002", "x.example"), plmn("+15551230003", "x.example")
	for in, want := range map[string][]Address{
		"":                          nil,
		" , ;":                      nil,
		"undisclosed-recipients:;":  nil,
		"undisclosed recipients: ;": nil,
		"+15551230002/TYPE=PLMN@x.example,+15551230003/TYPE=PLMN@x.example":                  {a, b},
		"<+15551230002/TYPE=PLMN@x.example>; <+15551230003/TYPE=PLMN@x.example>;":            {a, b},
		"friends: +15551230002/TYPE=PLMN@x.example, <+15551230003/TYPE=PLMN@x.example>;":     {a, b},
		`"a, \"b; c" <+15551230002/TYPE=PLMN@x.example>`:                                     {{Name: `a, "b; c`, Local: a.Local, Type: PLMN, Domain: a.Domain}},
		"2001:db8::1/TYPE=IPv6@x.example, fe80::1/TYPE=IPv6@x.example,abcd::/TYPE=IPv6@x.ex": {{Local: "2001:db8::1", Type: IPv6, Domain: "x.example"}, {Local: "fe80::1", Type: IPv6, Domain: "x.example"}, {Local: "abcd::", Type: IPv6, Domain: "x.ex"}},
	} {
		if got, err := ParseAddresses(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v, want %+v", in, got, err, want)
		}
	}
	if _, err := ParseAddresses("+15551230002, nobody"); err != errAddress {
		t.Errorf("a list with a bad one: %v", err)
	}
}

func TestNumberAndMask(t *testing.T) {
	for a, want := range map[Address]string{
		plmn("5551230002", ""):            "5551230002",
		{Local: "12345", Type: ShortCode}: "12345",
		system("x.example"):               "",
		{Local: "192.0.2.7", Type: IPv4}:  "",
		{}:                                "",
	} {
		if got := a.Number(); got != want {
			t.Errorf("%+v has the number %q", a, got)
		}
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "to", plmn("+15551230002", "x.example"))
	if s := b.String(); strings.Contains(s, "1230002") || !strings.Contains(s, "+1555") {
		t.Errorf("log %q", s)
	}
}

func TestRecipientsAreNamedOnce(t *testing.T) {
	h := Header{
		To:  []Address{plmn("+15551230002", "a.example"), {Local: "j", Type: Email, Domain: "a.example"}},
		Cc:  []Address{plmn("+15551230002", "b.example"), {Name: "J", Local: "j", Type: Email, Domain: "A.example"}, {Local: "j", Type: Email, Domain: "b.example"}},
		Bcc: []Address{plmn("+15551230003", "")},
	}
	if got := h.Recipients(); !reflect.DeepEqual(got, []Address{h.To[0], h.To[1], h.Cc[2], h.Bcc[0]}) {
		t.Errorf("recipients %+v", got)
	}
}
