package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/edges/mm4/mm4test"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

const (
	ownDomain = "mms.gw.example"
	extension = "+12025550178" // a number of the account's that its PBX answers
)

// overMM4 is the gateway with a customer's PBX and a carrier that speak MM4.
type overMM4 struct {
	*system
	pbx, carrier *mm4test.Peer
	video        []byte
	picture      []byte
	card         []byte
}

// TestMM4 sends MMS over every pair of doors that has MM4 on one side at least: text,
// picture, video and vCard arrive, and so do the responses and reports.
func TestMM4(t *testing.T) {
	t.Parallel()
	m, staff := startMM4(t)
	twilio, telnyx := m.newHTTPVendor(staff, "twilio", "+1310"), m.newHTTPVendor(staff, "telnyx", "+1415")
	m.current()
	t.Run("from a PBX to a carrier", m.pbxToCarrier)
	t.Run("from a PBX to two numbers", m.group)
	t.Run("again", m.again)
	t.Run("refused", m.refused)
	t.Run("text alone", m.textAlone)
	t.Run("as a text with links", m.asText)
	t.Run("from REST to a carrier", m.restToCarrier)
	t.Run("from a carrier to REST", m.carrierToREST)
	t.Run("from a carrier to a PBX", m.carrierToPBX)
	t.Run("from a PBX to Twilio", func(t *testing.T) { m.pbxToTwilio(t, twilio) })
	t.Run("from Telnyx to a PBX", func(t *testing.T) { m.telnyxToPBX(t, telnyx) })
	t.Run("from a PBX to a PBX", m.inside)
	t.Run("killed within DATA", m.killedWithin)
	for _, p := range []*mm4test.Peer{m.pbx, m.carrier} {
		if err := p.Faults(); err != nil {
			t.Error(err)
		}
	}
}

func startMM4(t *testing.T) (*overMM4, *office) {
	m := &overMM4{system: start(t)}
	port := stacktest.FreePort(t)
	m.env = append(m.env, fmt.Sprintf("PUBLIC_URL=http://127.0.0.1:%d", m.apiPort), "MM4_HOST=127.0.0.1", "MM4_PORT="+strconv.Itoa(port), "MM4_DOMAIN="+ownDomain,
		"MEDIA_STORE="+filepath.Join(stacktest.Folder(t), "media"))
	m.restartGateway()
	gateway := "127.0.0.1:" + strconv.Itoa(port)
	m.pbx = startPeer(t, mm4test.Config{Domain: "mms.pbx.example", Gateway: gateway, From: "127.0.0.2"})
	m.carrier = startPeer(t, mm4test.Config{Domain: "mms.carrier.example", Gateway: gateway, From: "127.0.0.3"})
	m.alter("delete from routing_rules")
	staff := m.office(snapshot.RoleOperator)
	host, at := m.carrier.HostPort()
	var made struct{ ID string }
	staff.want(http.StatusCreated, http.MethodPost, "/vendors", map[string]any{"instance_name": "carrier-1", "provider_type": "mm4", "host": host, "port": at, "supports_mms": true}, &made)
	staff.want(http.StatusCreated, http.MethodPost, "/mm4-peers", map[string]any{"name": "carrier", "vendor_id": made.ID, "addresses": []string{"127.0.0.3/32"}, "domain": "mms.carrier.example"}, nil)
	staff.want(http.StatusCreated, http.MethodPost, "/routes", map[string]any{"vendor_id": made.ID, "dest_pattern": "^1312", "rate_per_msg": "0.02"}, nil)
	host, at = m.pbx.HostPort()
	staff.want(http.StatusCreated, http.MethodPost, "/mm4-peers", map[string]any{"name": "pbx", "account_id": m.account, "addresses": []string{"127.0.0.2/32"},
		"domain": "mms.pbx.example", "host": host, "port": at, "tls": "never"}, nil)
	staff.want(http.StatusCreated, http.MethodPost, "/routes", map[string]any{"vendor_id": m.vendor, "dest_pattern": "^1516", "rate_per_msg": "0.0045"}, nil)
	m.alter("update accounts set internal_delivery = true, mms_fallback = 'sms_link'")
	if err := m.db.CreateNumber(t.Context(), actor, snapshot.Number{Number: extension, AccountID: m.account, Type: snapshot.LongCode, SMSEnabled: true, MMSEnabled: true, Campaign: m.campaign()}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.db.SetInboundRoutes(t.Context(), actor, message.DestinationSet{AccountID: m.account, Number: extension,
		List: []message.Destination{{Place: message.Place{Method: message.InboundMM4}, Active: true}}}, "", nil); err != nil {
		t.Fatal(err)
	}
	m.current()
	var dot bytes.Buffer
	if err := png.Encode(&dot, noise(20, 20)); err != nil {
		t.Fatal(err)
	}
	m.picture = dot.Bytes()
	m.video, m.card = sample(t, "clip.mp4"), sample(t, "card.vcf")
	return m, staff
}

func startPeer(t *testing.T, cfg mm4test.Config) *mm4test.Peer {
	t.Helper()
	p, err := mm4test.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "activities", "transcode", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// all are text, picture, video and vCard.
func (m *overMM4) all(text string) []mm4test.Part {
	return []mm4test.Part{
		{ContentType: "text/plain", Name: "t.txt", Content: []byte(text)}, {ContentType: "image/png", Name: "dot.png", Content: m.picture},
		{ContentType: "video/mp4", Name: "clip.mp4", Content: m.video}, {ContentType: "text/x-vcard", Name: "card.vcf", Content: m.card},
	}
}

// wantAll wants text, picture, video and vCard behind a layout.
func (m *overMM4) wantAll(t *testing.T, text string, got mm4test.Mail) {
	t.Helper()
	var types []string
	for _, p := range got.Parts {
		types = append(types, p.ContentType)
		switch p.ContentType {
		case "text/plain":
			if strings.TrimRight(string(p.Content), "\r\n") != text {
				t.Errorf("the text is %q, want %q", p.Content, text)
			}
		case "image/png":
			if !bytes.Equal(p.Content, m.picture) {
				t.Errorf("the picture has %d octets, want %d", len(p.Content), len(m.picture))
			}
		}
	}
	slices.Sort(types)
	if want := []string{"application/smil", "image/png", "text/plain", "text/vcard", "video/mp4"}; !slices.Equal(types, want) && !slices.Equal(types, slices.Sorted(slices.Values(append(want[:3:3], "text/x-vcard", "video/mp4")))) {
		t.Errorf("the parts are %v, want %v", types, want)
	}
}

// send has a peer send a mail that is taken.
func (m *overMM4) send(t *testing.T, p *mm4test.Peer, o mm4test.Out) {
	t.Helper()
	if err := p.Send(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// mail waits for the n-th mail of a kind that fits.
func (m *overMM4) mail(t *testing.T, p *mm4test.Peer, kind string, n int, fits func(mm4test.Mail) bool) (got mm4test.Mail) {
	t.Helper()
	m.until(fmt.Sprintf("a peer has %d times %s", n, kind), func() bool {
		found := 0
		for _, c := range p.CameOf(kind) {
			if fits(c) {
				if found++; found == n {
					got = c
				}
			}
		}
		return found >= n
	})
	return got
}

// to fits mails to a number.
func to(number string) func(mm4test.Mail) bool {
	return func(c mm4test.Mail) bool { return c.Recipient() == number }
}

// between fits mails from a number to a number.
func between(sender, number string) func(mm4test.Mail) bool {
	return func(c mm4test.Mail) bool { return to(number)(c) && strings.Contains(c.Header.Get("From"), sender) }
}

// reference fits mails about a message by its peer's id.
func reference(id string) func(mm4test.Mail) bool {
	return func(c mm4test.Mail) bool {
		own, _, _ := strings.Cut(strings.Trim(c.Header.Get("X-Mms-Message-ID"), `"<>`), "@")
		return own == id
	}
}

// has is the account's newest message to a number.
func (m *overMM4) has(t *testing.T, number string) (r resource) {
	t.Helper()
	m.until("there is a message to "+number, func() bool {
		out := api.ListMessagesParamsDirection("outbound")
		a, err := m.api().ListMessagesWithResponse(t.Context(), &api.ListMessagesParams{Direction: &out, To: &number})
		if err != nil {
			t.Fatal(err)
		}
		page := a.JSON200
		if page == nil {
			t.Fatalf("%s: %s", a.Status(), a.Body)
		}
		if len(page.Data) > 0 {
			r = resourceOf(page.Data[0])
		}
		return len(page.Data) > 0
	})
	return r
}

// wantResponse waits for the response to a PBX's request.
func (m *overMM4) wantResponse(t *testing.T, id, status string) {
	t.Helper()
	r := m.mail(t, m.pbx, "MM4_forward.RES", 1, reference(id))
	if got := r.Header.Get("X-Mms-Request-Status-Code"); got != status || r.TransactionID() != id+"-t" {
		t.Errorf("%s is answered with %s (%s) under %s, want %s", id, got, r.Header.Get("X-Mms-Status-Text"), r.TransactionID(), status)
	}
}

// wantReport waits for the delivery report of a PBX's message.
func (m *overMM4) wantReport(t *testing.T, id, status string) {
	t.Helper()
	r := m.mail(t, m.pbx, "MM4_delivery_report.REQ", 1, reference(id))
	if got := r.Header.Get("X-Mms-MM-Status-Code"); got != status || !strings.Contains(r.Header.Get("To"), from) {
		t.Errorf("%s is reported as %s to %s, want %s", id, got, r.Header.Get("To"), status)
	}
}

func (m *overMM4) pbxToCarrier(t *testing.T) {
	number := "+13125550101"
	m.send(t, m.pbx, m.pbx.Forward("one", from, ownDomain, []string{number}, "Lunch?", m.all("Café at noon?")...))
	m.wantResponse(t, "one", "Ok")
	got := m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(number))
	m.wantAll(t, "Café at noon?", got)
	r := m.has(t, number)
	if r.Type != "mms" || r.Subject != "Lunch?" || len(r.Media) != 3 {
		t.Errorf("it shows as %+v", r)
	}
	m.is(r.ID, message.StatusSent)
	if err := m.carrier.Report(t.Context(), got, "Retrieved"); err != nil {
		t.Fatal(err)
	}
	m.is(r.ID, message.StatusDelivered)
	m.wantReport(t, "one", "Retrieved")
	m.mail(t, m.carrier, "MM4_delivery_report.RES", 1, func(c mm4test.Mail) bool { return c.Header.Get("X-Mms-Request-Status-Code") == "Ok" })
	if err := m.carrier.Read(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	m.mail(t, m.pbx, "MM4_read_reply_report.REQ", 1, reference("one"))
	if n := len(m.carrier.CameOf("MM4_forward.REQ")); n != 1 {
		t.Errorf("the carrier has %d messages, want 1", n)
	}
}

// group: a mail to two numbers is two messages, of which each is reported.
func (m *overMM4) group(t *testing.T) {
	m.send(t, m.pbx, m.pbx.Forward("two", from, ownDomain, []string{"+13125550111", "+13125550112"}, "", m.all("both")...))
	for _, number := range []string{"+13125550111", "+13125550112"} {
		got := m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(number))
		if err := m.carrier.Report(t.Context(), got, "Retrieved"); err != nil {
			t.Fatal(err)
		}
		m.is(m.has(t, number).ID, message.StatusDelivered)
	}
	m.mail(t, m.pbx, "MM4_delivery_report.REQ", 2, reference("two"))
	if n := m.number("select count(distinct group_id) from messages where to_addr in ('+13125550111', '+13125550112') and group_id is not null"); n != 1 {
		t.Errorf("they are of %d groups, want 1", n)
	}
}

// again: a request that comes twice is one message, and is answered twice.
func (m *overMM4) again(t *testing.T) {
	number := "+13125550121"
	o := m.pbx.Forward("three", from, ownDomain, []string{number}, "", m.all("once")...)
	if err := m.pbx.Break(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		m.send(t, m.pbx, o)
		m.mail(t, m.pbx, "MM4_forward.RES", n+1, reference("three"))
	}
	m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(number))
	if n := m.number("select count(*) from messages where to_addr = $1", number); n != 1 {
		t.Errorf("there are %d messages, want 1", n)
	}
}

// refused: by a response where one was asked for, else by SMTP.
func (m *overMM4) refused(t *testing.T) {
	foreign := m.pbx.Forward("four", "+12025559999", ownDomain, []string{"+13125550131"}, "", m.all("not mine")...)
	m.send(t, m.pbx, foreign)
	r := m.mail(t, m.pbx, "MM4_forward.RES", 1, reference("four"))
	if got := r.Header.Get("X-Mms-Request-Status-Code"); !strings.HasPrefix(got, "Error-") {
		t.Errorf("a sender that is not owned is answered with %s", got)
	}
	var no *smtp.SMTPError
	err := m.pbx.Send(t.Context(), m.pbx.Forward("five", "+12025559999", ownDomain, []string{"+13125550131"}, "", m.all("not mine")...).With("X-Mms-Ack-Request", ""))
	if !errors.As(err, &no) || no.Code/100 != 5 {
		t.Errorf("without a response it is answered with %v", err)
	}
	err = m.pbx.Send(t.Context(), m.pbx.Forward("six", from, ownDomain, []string{"+13125550131"}, "", m.all("round and round")...).With("X-Mms-Forward-Counter", "6").With("X-Mms-Ack-Request", ""))
	if !errors.As(err, &no) || no.Code/100 != 5 {
		t.Errorf("a loop is answered with %v", err)
	}
	if n := len(m.carrier.CameOf("MM4_forward.REQ")); n != 4 {
		t.Errorf("the carrier has %d messages, want 4", n)
	}
}

// textAlone: an MMS needs no file.
func (m *overMM4) textAlone(t *testing.T) {
	number := "+13125550135"
	m.send(t, m.pbx, m.pbx.Forward("ten", from, ownDomain, []string{number}, "", m.all("nothing to see")[0]))
	m.wantResponse(t, "ten", "Ok")
	got := m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(number))
	if len(got.Parts) != 1 || got.Parts[0].ContentType != "text/plain" || !strings.HasPrefix(string(got.Parts[0].Content), "nothing to see") {
		t.Errorf("it has %+v", got.Parts)
	}
}

// asText: where no vendor takes MMS the account wants a text with links, and the PBX hears
// what became of it.
func (m *overMM4) asText(t *testing.T) {
	number := "+15165550136"
	m.send(t, m.pbx, m.pbx.Forward("eleven", from, ownDomain, []string{number}, "Lunch?", m.all("at noon")...))
	m.wantResponse(t, "eleven", "Ok")
	r := m.has(t, number)
	m.is(r.ID, message.StatusDelivered)
	if r = m.get(r.ID); r.Type != "sms" || !strings.HasPrefix(r.Body, "Lunch?\nat noon\nhttp://127.0.0.1:") || strings.Count(r.Body, "/media/") != 3 {
		t.Errorf("it went as %s: %q", r.Type, r.Body)
	}
	m.wantReport(t, "eleven", "Retrieved")
}

// restToCarrier compares the dialogue with the fact sheet's.
func (m *overMM4) restToCarrier(t *testing.T) {
	number := "+13125550141"
	up := m.upload(m.picture)
	id := m.post(map[string]any{"from": from, "to": number, "body": "from REST", "subject": "Hi", "media_ids": []string{up.ID}}).ID
	got := m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(number))
	for name, want := range map[string]string{"X-Mms-3gpp-Mms-Version": "6.10.0", "X-Mms-Ack-Request": "Yes", "X-Mms-Delivery-Report": "Yes",
		"X-Mms-Originator-System": "system-user@" + ownDomain, "Subject": "Hi", "From": "<" + mm4test.User(from, ownDomain) + ">", "To": "<" + mm4test.User(number, "mms.carrier.example") + ">"} {
		if have := got.Header.Get(name); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	if got.To[0] != mm4test.User(number, "mms.carrier.example") || got.Size < int64(len(got.Raw)) {
		t.Errorf("the envelope is %v with SIZE=%d of %d octets", got.To, got.Size, len(got.Raw))
	}
	m.wantDialogue(t, got)
	m.is(id, message.StatusSent)
	if err := m.carrier.Report(t.Context(), got, "Unrecognised"); err != nil {
		t.Fatal(err)
	}
	m.is(id, message.StatusUndelivered)

	refused := "+13125550142"
	m.carrier.SetQuiet(true)
	no := m.post(map[string]any{"from": from, "to": refused, "body": "nobody", "media_ids": []string{up.ID}}).ID
	got = m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(refused))
	if err := m.carrier.Respond(t.Context(), got, "Error-sending-address-unresolved"); err != nil {
		t.Fatal(err)
	}
	m.carrier.SetQuiet(false)
	if r := m.final(no); r.Status != string(message.StatusFailed) || r.Error == nil || r.Error.Code != string(message.ReasonUnknownSubscriber) {
		t.Errorf("it is %s with %+v", r.Status, r.Error)
	}
}

// wantDialogue wants the lines of the fact sheet's dialogue around a mail, in their order.
// The connection may be one that was used before.
func (m *overMM4) wantDialogue(t *testing.T, got mm4test.Mail) {
	t.Helper()
	sheet := []string{"S: 220", "C: EHLO " + ownDomain, "S: 250", "C: MAIL FROM:<" + got.From + "> SIZE=", "S: 250", "C: RCPT TO:<" + got.To[0] + ">", "S: 250", "C: DATA", "S: 354", "C: .", "S: 250"}
	m.until("the dialogue is the fact sheet's", func() bool {
		want := sheet
		for _, line := range got.Dialogue() {
			if len(want) > 0 && strings.HasPrefix(line, want[0]) {
				want = want[1:]
			}
		}
		return len(want) == 0
	})
}

func (m *overMM4) carrierToREST(t *testing.T) {
	sender := "+13125550151"
	o := m.carrier.Forward("c-one", sender, ownDomain, []string{from}, "From afar", m.all("hello from MM4")...)
	for n := range 2 {
		m.send(t, m.carrier, o)
		m.mail(t, m.carrier, "MM4_forward.RES", n+1, func(c mm4test.Mail) bool { return c.TransactionID() == "c-one-t" })
	}
	m.receives(t, sender, "hello from MM4")
	r := m.mail(t, m.carrier, "MM4_delivery_report.REQ", 1, reference("c-one"))
	if r.Header.Get("X-Mms-MM-Status-Code") != "Retrieved" || r.Header.Get("From") != "<"+mm4test.User(from, ownDomain)+">" || r.Header.Get("To") != "<"+mm4test.User(sender, "mms.carrier.example")+">" ||
		r.To[0] != m.carrier.System() {
		t.Errorf("the carrier is told %v, to %v", r.Header, r.To)
	}
	page := m.inbound(sender)
	if len(page) != 1 || len(page[0].Media) != 3 || given(page[0].Subject) != "From afar" {
		t.Fatalf("%+v", page)
	}
	if _, octets := m.read(t, page[0].Media[0].URL); !bytes.Equal(octets, m.picture) {
		t.Errorf("the picture has %d octets, want %d", len(octets), len(m.picture))
	}
	nobody := m.carrier.Forward("c-two", sender, ownDomain, []string{"+12025550000"}, "", m.all("nobody")...)
	var no *smtp.SMTPError
	if err := m.carrier.Send(t.Context(), nobody); !errors.As(err, &no) || no.Code != 550 {
		t.Errorf("a number that is nobody's is answered with %v", err)
	}
	if n := len(m.carrier.CameOf("MM4_delivery_report.REQ")); n != 1 {
		t.Errorf("the carrier has %d reports, want 1", n)
	}
}

// carrierToPBX: the carrier hears that its message has arrived, and that it was read.
func (m *overMM4) carrierToPBX(t *testing.T) {
	sender := "+13125550152"
	m.send(t, m.carrier, m.carrier.Forward("c-three", sender, ownDomain, []string{extension}, "", m.all("hello PBX")...))
	got := m.mail(t, m.pbx, "MM4_forward.REQ", 1, between(sender, extension))
	if got.Header.Get("X-Mms-Read-Reply") != "Yes" {
		t.Error("the PBX is not asked to tell when it is read")
	}
	if r := m.mail(t, m.carrier, "MM4_delivery_report.REQ", 1, reference("c-three")); r.Header.Get("X-Mms-MM-Status-Code") != "Retrieved" {
		t.Errorf("the carrier is told %v", r.Header)
	}
	if err := m.pbx.Read(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	if r := m.mail(t, m.carrier, "MM4_read_reply_report.REQ", 1, reference("c-three")); r.Header.Get("X-Mms-Read-Status") != "Read" || !strings.Contains(r.Header.Get("From"), extension) || !strings.Contains(r.Header.Get("To"), sender) {
		t.Errorf("the carrier is told %v", r.Header)
	}
}

func (m *overMM4) pbxToTwilio(t *testing.T, v *overHTTP) {
	m.send(t, m.pbx, m.pbx.Forward("seven", from, ownDomain, []string{v.to(1)}, "", m.all("over Twilio")...))
	c := v.came(1, 1)
	if c.Text != "over Twilio" || len(c.Media) != 3 {
		t.Fatalf("came as %+v", c)
	}
	if _, octets := m.read(t, c.Media[0]); !bytes.Equal(octets, m.picture) {
		t.Errorf("the picture has %d octets, want %d", len(octets), len(m.picture))
	}
	v.says(c, message.ReceiptDelivered)
	m.wantReport(t, "seven", "Retrieved")
}

func (m *overMM4) telnyxToPBX(t *testing.T, v *overHTTP) {
	hosted := files(t)
	in := vendortest.Inbound{ID: "in-mm4", From: v.to(2), To: extension, Text: "over Telnyx", Media: []string{hosted + "/card.vcf", hosted + "/dot.png", hosted + "/clip.mp4"}}
	if err := v.SendInbound(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	got := m.mail(t, m.pbx, "MM4_forward.REQ", 1, between(in.From, extension))
	var types []string
	for _, p := range got.Parts {
		types = append(types, p.ContentType)
	}
	slices.Sort(types)
	if !slices.Equal(types, []string{"application/smil", "image/png", "text/plain", "text/vcard", "video/mp4"}) {
		t.Errorf("it has %v", types)
	}
	m.delivered(t, in.From)
}

// delivered waits until what a handset wrote is with its owner.
func (m *overMM4) delivered(t *testing.T, sender string) {
	t.Helper()
	m.until("what "+sender+" wrote is delivered", func() bool {
		page := m.inbound(sender)
		return len(page) > 0 && given(page[0].Delivery.Method) == "mm4" && page[0].Delivery.State == "delivered"
	})
}

// inside: from one number of ours to another, MM4 on both sides.
func (m *overMM4) inside(t *testing.T) {
	m.send(t, m.pbx, m.pbx.Forward("eight", from, ownDomain, []string{extension}, "", m.all("next door")...))
	got := m.mail(t, m.pbx, "MM4_forward.REQ", 1, between(from, extension))
	m.wantAll(t, "next door", got)
	m.wantReport(t, "eight", "Retrieved")
}

// killedWithin: the gateway is killed while a mail comes, and while it sends one. What
// was not answered is sent again; nothing is doubled and no file is left over.
func (m *overMM4) killedWithin(t *testing.T) {
	number := "+13125550161"
	o := m.pbx.Forward("nine", from, ownDomain, []string{number}, "", m.all("after the crash")...)
	held, err := m.pbx.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	m.until("half of the mail is in the spool", func() bool { return spooled(t, m.gateway.PID()) })
	if err := m.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.pbx.Send(t.Context(), o); err == nil {
		t.Error("a gateway that is dead has taken a mail")
	}
	m.startGateway()
	m.send(t, m.pbx, o)
	m.wantResponse(t, "nine", "Ok")
	m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(number))
	if n := m.number("select count(*) from messages where to_addr = $1", number); n != 1 {
		t.Errorf("there are %d messages, want 1", n)
	}
	var store string
	for _, e := range m.env {
		if at, ok := strings.CutPrefix(e, "MEDIA_STORE="); ok {
			store = at
		}
	}
	left, err := filepath.Glob(filepath.Join(store, "spool", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v; the spool has %v left", err, left)
	}
}
