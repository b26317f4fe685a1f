package mm4out

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/mail"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
)

var own = System{Domain: "mms.gw.example", Host: "mm4.gw.example"}

const gif = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;"

func peer(t *testing.T) Peer {
	t.Helper()
	p, err := CustomerPeer(&snapshot.MM4Peer{Name: "acme", Host: "127.0.0.1", Domain: "mms.peer.example", Version: "6.10.0"}, own)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// example is the message of the fact sheet's first example (mm4.md §9.1).
func example() Forward {
	return Forward{
		TransactionID: "01JC8Q7Z5T-f1", MessageID: "01JC8Q7Z5T@mms.gw.example", From: "+15551230001", To: "+15551230002", Subject: "Lunch?",
		Text: "Café at noon?", Files: []message.MediaFile{{ContentType: "image/gif", Size: int64(len(gif))}},
		Date: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), Expiry: mm4.Expiry{After: 48 * time.Hour}, DeliveryReport: true,
	}
}

func opens(content string) Store {
	return func(context.Context, message.MediaFile) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}
}

func written(t *testing.T, m smtpout.Mail) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != m.Size {
		t.Errorf("%d octets, and SIZE says %d", b.Len(), m.Size)
	}
	return b.String()
}

// The mail has every header of the fact sheet's example, with its value, and the same
// envelope.
func TestMailAsInTheFactSheet(t *testing.T) {
	p, f := peer(t), example()
	m, err := f.Mail(t.Context(), own, &p, opens(gif))
	if err != nil {
		t.Fatal(err)
	}
	if m.From != "+15551230001/TYPE=PLMN@mms.gw.example" || len(m.To) != 1 || m.To[0] != "+15551230002/TYPE=PLMN@mms.peer.example" {
		t.Errorf("from %q to %q", m.From, m.To)
	}
	text := written(t, m)
	if again := written(t, m); again != text {
		t.Error("a second try is another mail")
	}
	sheet, err := os.ReadFile("../mm4/testdata/forward_req.eml")
	if err != nil {
		t.Fatal(err)
	}
	want, got := headerOf(t, string(sheet)), headerOf(t, text)
	delete(want, "Content-Type") // its boundary and the id of the layout are anybody's
	if len(want) < 15 {
		t.Fatalf("the example has %d headers: the test is blind", len(want))
	}
	for name := range want {
		if got.Get(name) != want.Get(name) {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want.Get(name))
		}
	}
	if kind := got.Get("Content-Type"); !strings.HasPrefix(kind, "multipart/related") || !strings.Contains(kind, `type="application/smil"`) || !strings.Contains(kind, "start=") {
		t.Errorf("Content-Type: %s", kind)
	}
	r, err := mm4.NewReader(strings.NewReader(text), mm4.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for {
		part, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			t.Fatal(err)
		}
		if part.IsSMIL() {
			body = nil
		}
		parts = append(parts, part.ContentType+" "+part.Name+" "+string(body))
	}
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "application/smil ") || parts[1] != "text/plain text.txt Café at noon?" || parts[2] != "image/gif media-1.gif "+gif {
		t.Errorf("parts %q", parts)
	}
}

// A group is shown to its recipients, at our domain, and the envelope is one's alone.
func TestGroup(t *testing.T) {
	p, f := peer(t), example()
	f.With = []message.Address{"+15551230003", "+15551230004"}
	m, err := f.Mail(t.Context(), own, &p, opens(gif))
	if err != nil {
		t.Fatal(err)
	}
	if cc := headerOf(t, written(t, m)).Get("Cc"); cc != "<+15551230003/TYPE=PLMN@mms.gw.example>, <+15551230004/TYPE=PLMN@mms.gw.example>" || len(m.To) != 1 {
		t.Errorf("Cc %q, to %q", cc, m.To)
	}
}

func headerOf(t *testing.T, text string) mail.Header {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header
}

func TestPriorityOfEachClass(t *testing.T) {
	p := peer(t)
	for class, want := range map[message.Class]mm4.Priority{message.ClassOTP: mm4.High, message.ClassConversation: mm4.Normal, message.ClassBulk: mm4.Low, "": mm4.Normal} {
		f := example()
		if f.Class = class; f.header(own, &p).Priority != want {
			t.Errorf("%q: %s", class, f.header(own, &p).Priority)
		}
	}
}

// A file that cannot be read, or is not what it was, ends the mail before it is whole.
func TestFilesThatFail(t *testing.T) {
	p, f := peer(t), example()
	gone := errors.New("the store is away")
	for name, store := range map[string]Store{
		"away": func(context.Context, message.MediaFile) (io.ReadCloser, error) { return nil, gone }, "short": opens(gif[1:]), "long": opens(gif + "x"), "none": nil,
	} {
		m, err := f.Mail(t.Context(), own, &p, store)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Write(io.Discard); err == nil || name == "away" && !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.Subject, f.MessageID = "x", "evil\r\nX-Mms-Evil: yes"
	var fault *mm4.Fault
	if _, err := f.Mail(t.Context(), own, &p, nil); !errors.As(err, &fault) {
		t.Errorf("a broken id: %v", err)
	}
}

func TestIDsOfAttempts(t *testing.T) {
	ref := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 3}
	for domain, whole := range map[string]bool{"mms.gw.example": true, "": false, "a-domain-that-is-far-too-long.gw.example": false, "a b": false} {
		transaction, id := AttemptIDs(ref, domain)
		if transaction != ref.String() || len(id) > maxID || strings.HasSuffix(id, "@"+domain) != whole {
			t.Errorf("%q: %s, %s", domain, transaction, id)
		}
		for _, s := range []string{transaction, id, `"` + id + `"`, "<" + id + ">", " " + id + " "} {
			if got, ok := AttemptOf(s); !ok || got != ref {
				t.Errorf("%s: %v", s, got)
			}
		}
		if got, ok := mm4.MessageOf(id); !ok || got != ref.MessageID {
			t.Errorf("%s names message %v", id, got)
		}
	}
	for _, s := range []string{"", "p-7781", message.Hex32(ref.MessageID), message.Hex32(ref.MessageID) + "-f1", ref.String() + "x"} {
		if got, ok := AttemptOf(s); ok {
			t.Errorf("%q names %v", s, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for a, want := range map[message.Address]string{
		"+15551230001": "+15551230001/TYPE=PLMN@mms.gw.example", "12345": "12345/TYPE=PLMN@mms.gw.example", "ACME": "ACME@mms.gw.example", "My Shop!": "My-Shop@mms.gw.example",
		"?": "unknown@mms.gw.example",
	} {
		got := own.AddressOf(a)
		if got.String() != want {
			t.Errorf("%s is %s", a, got)
		}
		read, err := mm4.ParseAddress(got.String())
		if err != nil || read.Local != got.Local || read.Type != got.Type {
			t.Errorf("%s is read as %+v: %v", got, read, err)
		}
		p, f := peer(t), example()
		f.From = a
		if _, err := f.Mail(t.Context(), own, &p, opens(gif)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if s := own.Address().String(); s != "system-user@mms.gw.example" {
		t.Error(s)
	}
}

func TestPeers(t *testing.T) {
	customer := &snapshot.MM4Peer{Name: "acme", Host: "mx.peer.example", Port: 2566, MX: true, TLS: "required", ServerName: "other.example",
		SendUsername: "gw", SendPassword: "hunter2", SystemUser: "mms", Domain: "mms.peer.example", Version: "5.3.0"}
	got, err := CustomerPeer(customer, own)
	if err != nil || got.Target.TLS != smtpout.TLSRequired || got.Target.Port != 2566 || !got.Target.MX || got.Target.ServerName != "other.example" ||
		got.Target.Username != "gw" || got.Target.Password.Reveal() != "hunter2" || got.Target.EHLO != "mm4.gw.example" || got.System().String() != "mms@mms.peer.example" || got.Version != "5.3.0" {
		t.Errorf("%+v, %v", got, err)
	}
	for word, mode := range map[string]smtpout.TLSMode{"": smtpout.TLSOpportunistic, "opportunistic": smtpout.TLSOpportunistic, "never": smtpout.TLSNever,
		"required": smtpout.TLSRequired, "implicit": smtpout.TLSImplicit} {
		p, err := CustomerPeer(&snapshot.MM4Peer{Name: "a", Host: "mx.peer.example", TLS: word}, own)
		if err != nil || p.Target.TLS != mode || p.Domain != "mx.peer.example" {
			t.Errorf("%q: %+v, %v", word, p, err)
		}
	}
	for host, domain := range map[string]string{"192.0.2.7": "[192.0.2.7]", "2001:db8::1": "[IPv6:2001:db8::1]"} {
		p, err := CustomerPeer(&snapshot.MM4Peer{Name: "a", Host: host}, own)
		if err != nil || p.Domain != domain || p.Target.Host != host {
			t.Errorf("%s: %+v, %v", host, p, err)
		}
		f := Forward{TransactionID: "t1", MessageID: "m1", From: "+15551230001", To: "+15551230002", Text: "x", Date: time.Unix(0, 0)}
		m, err := f.Mail(t.Context(), own, &p, nil)
		if err != nil || m.To[0] != "+15551230002/TYPE=PLMN@"+domain {
			t.Errorf("%s: %v, %v", host, m.To, err)
		}
		if a, err := mm4.ParseAddress(p.System().String()); err != nil || a != p.System() {
			t.Errorf("the system at %s is read as %+v, %v", host, a, err)
		}
	}
	for _, bad := range []snapshot.MM4Peer{{Name: "a"}, {Name: "a", Host: "x", TLS: "perhaps"}, {Name: "a", Host: "x", TLSCA: "none"}, {Name: "a", Host: "x", SendPassword: "hunter2"}} {
		if _, err := CustomerPeer(&bad, own); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, c := range []struct {
		row  snapshot.Vendor
		mode smtpout.TLSMode
	}{{snapshot.Vendor{Port: 25}, smtpout.TLSNever}, {snapshot.Vendor{Port: 587, UseTLS: true, Username: "gw", Password: "x"}, smtpout.TLSRequired}, {snapshot.Vendor{Port: 465, UseTLS: true}, smtpout.TLSImplicit}} {
		c.row.Name, c.row.Host = "hub", "mm4.hub.example"
		p, err := VendorPeer(&c.row, nil, own)
		if err != nil || p.Target.TLS != c.mode || p.Target.MX || p.Domain != "mm4.hub.example" || p.Target.Port != c.row.Port {
			t.Errorf("%+v: %+v, %v", c.row, p, err)
		}
		if p, err = VendorPeer(&c.row, customer, own); err != nil || p.Domain != "mms.peer.example" || p.User != "mms" || p.Version != "5.3.0" || p.Target.Host != "mm4.hub.example" || !p.Target.MX {
			t.Errorf("with names of its own: %+v, %v", p, err)
		}
	}
	if _, err := VendorPeer(&snapshot.Vendor{Name: "hub", Host: "192.0.2.7"}, customer, own); err == nil || !strings.Contains(err.Error(), "mx:") {
		t.Errorf("mail exchangers of an address: %v", err)
	}
	if _, err := VendorPeer(&snapshot.Vendor{Name: "hub", Host: "x"}, nil, System{}); err == nil || !strings.Contains(err.Error(), "MM4_DOMAIN") {
		t.Errorf("without a domain: %v", err)
	}
}
