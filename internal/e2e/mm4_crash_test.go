package e2e

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/mm4/mm4test"
	"github.com/postrider/postrider/internal/message"
)

// sentWhenKilled is a mail that the gateway was sending when it was killed.
type sentWhenKilled struct {
	name string
	peer *mm4test.Peer
	at   mm4test.Point
	fits func(mm4test.Mail) bool
	held *mm4test.Held
}

// TestKillWhileMailsAreSent kills the gateway while it sends five mails: to a vendor and to
// a customer's PBX one in the middle of its content and one that is there, but whose 250
// was not said; and a report whose 250 was not said. Nobody can tell then what is there.
// The next process sends each of them again with its ids, so that a peer that knows what it
// has got has each message once.
//
// One kill serves all of them, since what the dead process had under way is missed only
// after a while.
func TestKillWhileMailsAreSent(t *testing.T) {
	t.Parallel()
	m, _ := startMM4(t)
	const reported, half, whole, halfIn, wholeIn = "+13125550201", "+13125550202", "+13125550203", "+13125550204", "+13125550205"
	forward := func(c mm4test.Mail) bool { return c.Type() == "MM4_forward.REQ" }
	toNumber := func(n string) func(mm4test.Mail) bool {
		return func(c mm4test.Mail) bool { return forward(c) && to(n)(c) }
	}
	fromNumber := func(n string) func(mm4test.Mail) bool {
		return func(c mm4test.Mail) bool { return forward(c) && strings.Contains(c.Header.Get("From"), n) }
	}
	mails := []*sentWhenKilled{
		{name: "half of it with the vendor", peer: m.carrier, at: mm4test.Within, fits: toNumber(half)},
		{name: "all of it with the vendor", peer: m.carrier, at: mm4test.Behind, fits: toNumber(whole)},
		{name: "half of it with the PBX", peer: m.pbx, at: mm4test.Within, fits: fromNumber(halfIn)},
		{name: "all of it with the PBX", peer: m.pbx, at: mm4test.Behind, fits: fromNumber(wholeIn)},
		{name: "a report", peer: m.pbx, at: mm4test.Behind, fits: func(c mm4test.Mail) bool { return c.Type() == "MM4_delivery_report.REQ" }},
	}
	for _, k := range mails {
		k.held = k.peer.Hold(k.at, k.fits)
	}

	m.send(t, m.pbx, m.pbx.Forward("k-one", from, ownDomain, []string{reported}, "", m.all("reported")...))
	m.wantResponse(t, "k-one", "Ok")
	if err := m.carrier.Report(t.Context(), m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(reported)), "Retrieved"); err != nil {
		t.Fatal(err)
	}
	up := m.upload(m.video)
	var ids []string
	for _, number := range []string{half, whole} {
		ids = append(ids, m.post(map[string]any{"from": from, "to": number, "body": "on the way to " + number, "media_ids": []string{up.ID}}).ID)
	}
	for i, sender := range []string{halfIn, wholeIn} {
		m.send(t, m.carrier, m.carrier.Forward(fmt.Sprintf("k-in-%d", i), sender, ownDomain, []string{extension}, "", m.all("on the way from "+sender)...))
	}
	for _, k := range mails {
		m.until(k.name, func() bool {
			select {
			case <-k.held.Reached():
				return true
			default:
				return false
			}
		})
	}
	if err := m.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, k := range mails {
		k.held.Release()
	}
	// Two minutes go by: the dead process had the report to itself for so long.
	m.alter("update mm4_mails set due_at = now() where state = 'pending' and claimed_by is not null")
	m.startGateway()

	for _, k := range mails {
		m.wantAgain(t, k)
	}
	for i, number := range []string{half, whole} {
		m.is(ids[i], message.StatusSent)
		if err := m.carrier.Report(t.Context(), m.mail(t, m.carrier, "MM4_forward.REQ", 1, to(number)), "Retrieved"); err != nil {
			t.Fatal(err)
		}
		m.is(ids[i], message.StatusDelivered)
		m.wantExplained(t, ids[i])
	}
	for _, sender := range []string{halfIn, wholeIn} {
		m.delivered(t, sender)
		if page := m.inbound(sender); len(page) != 1 {
			t.Errorf("from %s came %+v", sender, page)
		}
	}
	// The carrier is owed two, of what it handed over itself; this is the PBX's.
	m.until("the report is on record", func() bool {
		return m.number("select count(*) from mm4_mails m join mm4_peers p on p.id = m.peer_id"+
			" where p.name = 'pbx' and m.kind = 'delivery_report' and m.state = 'sent'") == 1
	})
	m.nothingSpooled(t)
	for _, p := range []*mm4test.Peer{m.pbx, m.carrier} {
		if err := p.Faults(); err != nil {
			t.Error(err)
		}
	}
}

// wantAgain waits for a mail that was being sent, and wants it to be the one that the dead
// process began: by its ids, and octet for octet as far as it came.
func (m *overMM4) wantAgain(t *testing.T, k *sentWhenKilled) {
	t.Helper()
	before, n := k.held.Mail(), 1
	if k.at == mm4test.Behind {
		n++ // it is there
	}
	m.mail(t, k.peer, before.Type(), n, k.fits)
	for _, c := range k.peer.CameOf(before.Type()) {
		if !k.fits(c) {
			continue
		}
		for _, id := range []string{"X-Mms-Transaction-Id", "X-Mms-Message-Id", "Message-Id", "From", "To"} {
			if got, want := c.Header.Get(id), before.Header.Get(id); got != want || want == "" {
				t.Errorf("%s: %s is %q, and was %q", k.name, id, got, want)
			}
		}
		if got, want := below(c), below(before); !bytes.HasPrefix(got, want) || k.at == mm4test.Behind && len(got) != len(want) {
			t.Errorf("%s: %d octets of content are not the %d that came before", k.name, len(got), len(want))
		}
		n--
	}
	if n != 0 {
		t.Errorf("%s: it came %d times more than it should", k.name, -n)
	}
}

// below is what is below the header of a mail.
func below(c mm4test.Mail) []byte {
	_, rest, _ := bytes.Cut(c.Raw, []byte("\r\n\r\n"))
	return rest
}

// wantExplained wants the timeline to say that nobody knew, and that it was sent again
// under the same attempt.
func (m *overMM4) wantExplained(t *testing.T, id string) {
	t.Helper()
	parsed, err := message.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	events, err := m.db.Events(t.Context(), parsed, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range events {
		told = append(told, fmt.Sprintf("%s %v", e.Type, e.Detail))
	}
	next := []message.EventType{message.StatusEvent(message.StatusSending), message.EventSubmitUnknown, message.StatusEvent(message.StatusSending), message.StatusEvent(message.StatusSent)}
	for _, e := range events {
		if len(next) > 0 && e.Type == next[0] {
			next = next[1:]
		}
	}
	if len(next) > 0 {
		t.Errorf("the timeline lacks %v: %s", next, strings.Join(told, "\n"))
	}
	if n := m.number("select count(*) from segments where message_id = $1", id); n != 1 {
		t.Errorf("it shows %d attempts, want 1", n)
	}
}

// nothingSpooled wants the folder of files on their way empty.
func (m *overMM4) nothingSpooled(t *testing.T) {
	t.Helper()
	var store string
	for _, e := range m.env {
		if at, ok := strings.CutPrefix(e, "MEDIA_STORE="); ok {
			store = at
		}
	}
	if left := entries(t, filepath.Join(store, "spool", "*")); store == "" || len(left) > 0 {
		t.Errorf("the spool has %v left", left)
	}
}
