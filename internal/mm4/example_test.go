package mm4

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func system(domain string) Address {
	return Address{Local: "system-user", Type: Email, Domain: domain}
}

// examples are the six mails of the fact sheet, as a Header says them.
var examples = map[string]Header{
	"forward_req": {
		Type: ForwardREQ, Version: "6.10.0", TransactionID: "01JC8Q7Z5T-f1", MessageID: "01JC8Q7Z5T@mms.gw.example",
		OriginatorSystem: "system-user@mms.gw.example", AckRequest: Yes, DeliveryReport: Yes, ReadReply: No,
		Class: Personal, Priority: Normal, Expiry: Expiry{After: 48 * time.Hour}, SenderVisibility: Show,
		Sender: system("mms.gw.example"), From: plmn("+15551230001", "mms.gw.example"), To: []Address{plmn("+15551230002", "mms.peer.example")},
		Subject: "Lunch?", Date: at("2026-01-02T15:04:05Z"), MailID: "01JC8Q7Z5T-f1@mm4.gw.example",
	},
	"forward_res": {
		Type: ForwardRES, Version: "6.10.0", TransactionID: "01JC8Q7Z5T-f1", MessageID: "01JC8Q7Z5T@mms.gw.example",
		RequestStatus: StatusOK, StatusText: "accepted",
		Sender: system("mms.peer.example"), From: system("mms.peer.example"), To: []Address{system("mms.gw.example")},
		Date: at("2026-01-02T15:04:07Z"), MailID: "p-7781@mm4.peer.example",
	},
	"delivery_report_req": {
		Type: DeliveryReportREQ, Version: "6.10.0", TransactionID: "p-9001", MessageID: "01JC8Q7Z5T@mms.gw.example",
		OriginatorSystem: "system-user@mms.peer.example", AckRequest: Yes, MMStatus: Retrieved, ForwardToOriginator: Yes,
		Sender: system("mms.peer.example"), From: plmn("+15551230002", "mms.peer.example"), To: []Address{plmn("+15551230001", "mms.gw.example")},
		Date: at("2026-01-02T15:04:31Z"), MailID: "p-9001@mm4.peer.example",
	},
	"delivery_report_res": {
		Type: DeliveryReportRES, Version: "6.10.0", TransactionID: "p-9001", MessageID: "01JC8Q7Z5T@mms.gw.example",
		RequestStatus: StatusOK,
		Sender:        system("mms.gw.example"), From: system("mms.gw.example"), To: []Address{system("mms.peer.example")},
		Date: at("2026-01-02T15:04:32Z"), MailID: "01JC8Q80AA@mm4.gw.example",
	},
	"read_reply_report_req": {
		Type: ReadReplyReportREQ, Version: "6.10.0", TransactionID: "p-9155", MessageID: "01JC8Q7Z5T@mms.gw.example",
		OriginatorSystem: "system-user@mms.peer.example", AckRequest: Yes, ReadStatus: Read,
		Sender: system("mms.peer.example"), From: plmn("+15551230002", "mms.peer.example"), To: []Address{plmn("+15551230001", "mms.gw.example")},
		Date: at("2026-01-02T15:10:00Z"), MailID: "p-9155@mm4.peer.example",
	},
	"read_reply_report_res": {
		Type: ReadReplyReportRES, Version: "6.10.0", TransactionID: "p-9155",
		RequestStatus: StatusOK,
		Sender:        system("mms.gw.example"), From: system("mms.gw.example"), To: []Address{system("mms.peer.example")},
		Date: at("2026-01-02T15:10:01Z"), MailID: "01JC8Q8R3K@mm4.gw.example",
	},
}

func TestExamplesAreRead(t *testing.T) {
	for name, want := range examples {
		t.Run(name, func(t *testing.T) {
			h, parts := mustRead(t, example(t, name))
			if !reflect.DeepEqual(h, want) {
				t.Errorf("header\n%+v\nwant\n%+v", h, want)
			}
			if name != "forward_req" {
				if len(parts) != 1 || parts[0].ContentType != "text/plain" || parts[0].content != "" {
					t.Errorf("parts %+v, want an empty text", parts)
				}
			}
		})
	}
}

func TestExampleHasItsThreeParts(t *testing.T) {
	_, parts := mustRead(t, example(t, "forward_req"))
	type row struct{ kind, name, id, location string }
	want := []row{
		{"application/smil", "layout.smil", "smil@gw.example", ""},
		{"image/gif", "dot.gif", "dot@gw.example", "dot.gif"},
		{"text/plain", "t.txt", "txt@gw.example", ""},
	}
	if len(parts) != len(want) {
		t.Fatalf("%d parts", len(parts))
	}
	for i, p := range parts {
		if r := (row{p.ContentType, p.Name, p.ContentID, p.ContentLocation}); r != want[i] {
			t.Errorf("part %d is %+v, want %+v", i+1, r, want[i])
		}
	}
	if !parts[0].IsSMIL() || parts[1].IsSMIL() || !parts[2].IsText() || parts[1].IsText() {
		t.Error("the layout or the text is not known as such")
	}
	if s := parts[0].content; !strings.HasPrefix(s, "<smil>") || !strings.HasSuffix(s, "</smil>") || !strings.Contains(s, "</head>\r\n<body>") {
		t.Errorf("layout %q", s)
	}
	if s := parts[1].content; !strings.HasPrefix(s, "GIF89a") || len(s) != 42 {
		t.Errorf("picture of %d octets: %q", len(s), s)
	}
	if s := parts[2].content; s != "Café at noon?" {
		t.Errorf("text %q", s)
	}
}

// The mails without media come out octet by octet; of the one with media the header
// does, up to the boundary.
func TestExamplesAreWritten(t *testing.T) {
	for name, h := range examples {
		t.Run(name, func(t *testing.T) {
			want := example(t, name)
			if name == "forward_req" {
				var ok bool
				want, _, ok = strings.Cut(want, "MIME-Version")
				mail := render(t, h, media("image/gif", "dot.gif", "GIF89a"), OutPart{Text: "Café at noon?"})
				if mine, _, _ := strings.Cut(mail, "MIME-Version"); !ok || mine != want {
					t.Errorf("wrote\n%s\nwant\n%s", mine, want)
				}
				return
			}
			if mine := render(t, h); mine != want {
				t.Errorf("wrote\n%s\nwant\n%s", mine, want)
			}
		})
	}
}

// forwardMail is what Write makes of a picture and a text.
const forwardMail = `X-Mms-3GPP-MMS-Version: 6.10.0
X-Mms-Message-Type: MM4_forward.REQ
X-Mms-Transaction-ID: t1
X-Mms-Message-ID: m1@mms.gw.example
From: <+15551230001/TYPE=PLMN@mms.gw.example>
To: <+15551230002/TYPE=PLMN@mms.peer.example>
Date: Fri, 02 Jan 2026 15:04:05 +0000
MIME-Version: 1.0
Content-Type: multipart/related; boundary="b=_m1"; type="application/smil";
 start="<smil@mms.gw.example>"

--b=_m1
Content-Type: application/smil; charset=utf-8; name="layout.smil"
Content-ID: <smil@mms.gw.example>

<smil><head><layout>
<region id="Image" top="0" left="0" width="100%" height="70%" fit="meet"/>
<region id="Text" top="70%" left="0" width="100%" height="30%" fit="scroll"/>
</layout></head><body>
<par dur="5s">
<img src="cid:part-1@mms.gw.example" region="Image"/>
<text src="cid:part-2@mms.gw.example" region="Text"/>
</par>
</body></smil>

--b=_m1
Content-Type: image/gif; name="dot.gif"
Content-ID: <part-1@mms.gw.example>
Content-Location: dot.gif
Content-Transfer-Encoding: base64

R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7R0lGODlhAQABAIAAAAAA
AP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
--b=_m1
Content-Type: text/plain; charset=utf-8; name*=utf-8''caf%C3%A9.txt
Content-ID: <part-2@mms.gw.example>
Content-Transfer-Encoding: quoted-printable

Caf=C3=A9
at noon?=20
--b=_m1--
`

func TestForwardIsWritten(t *testing.T) {
	const gif = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;"
	mail := render(t, forward(), media("image/gif", "dot.gif", gif+gif), OutPart{Text: "Café\nat noon? ", Name: "café.txt"})
	if mail != crlf(forwardMail) {
		t.Errorf("wrote\n%s\nwant\n%s", mail, forwardMail)
	}
}

func TestTextAlone(t *testing.T) {
	mail := render(t, forward(), OutPart{Text: "Grüße\r\n.\r\n--b=_m1--\r\n"})
	_, body, ok := strings.Cut(mail, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	if want := crlf("Gr=C3=BC=C3=9Fe\n.\n--b=3D_m1--\n\n"); !ok || body != want {
		t.Errorf("wrote %q, want %q", body, want)
	}
	if _, parts := mustRead(t, mail); len(parts) != 1 || parts[0].content != "Grüße\n.\n--b=_m1--\n" {
		t.Errorf("read back %+v", parts)
	}
}

func TestWhatNoLayoutShowsIsMixed(t *testing.T) {
	mail := render(t, forward(), media("text/vcard", "me.vcf", "BEGIN:VCARD"))
	if !strings.Contains(mail, "Content-Type: multipart/mixed; boundary=\"b=_m1\"\r\n") || strings.Contains(mail, "smil") {
		t.Errorf("wrote\n%s", mail)
	}
	if _, parts := mustRead(t, mail); len(parts) != 1 || parts[0].content != "BEGIN:VCARD" || parts[0].IsText() {
		t.Errorf("read back %+v", parts)
	}
}
