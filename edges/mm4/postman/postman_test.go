package postman_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/mm4/postman"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
)

const patience = 30 * time.Second

var (
	quick, dead, vendorPeer = message.ID{15: 1}, message.ID{15: 2}, message.ID{15: 3}
	account, vendorID       = message.ID{15: 8}, message.ID{15: 9}
	happened                = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
)

// journal keeps what is owed.
type journal struct {
	mu       sync.Mutex
	due      []message.MM4Mail
	tried    map[message.ID]message.MM4MailResult
	released int
	answers  []message.MM4Answer
	done     []message.AttemptRef
	changed  chan struct{} // closed at each change
}

func (j *journal) MM4MailsDue(_ context.Context, _ string, limit int) ([]message.MM4Mail, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(limit, len(j.due))
	out := slices.Clone(j.due[:n])
	j.due = j.due[n:]
	return out, nil
}

func (j *journal) MM4MailTried(_ context.Context, _ string, id message.ID, r message.MM4MailResult) error {
	j.change(func() { j.tried[id] = r })
	return nil
}

func (j *journal) ReleaseMM4(context.Context, string) error {
	j.change(func() { j.released++ })
	return nil
}

func (j *journal) StaleMM4Answers(context.Context, time.Duration, int) ([]message.MM4Answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.answers), nil
}

func (j *journal) MM4AnswerDone(_ context.Context, a message.MM4Answer) error {
	j.change(func() { j.done = append(j.done, a.Ref()) })
	return nil
}

func (j *journal) change(do func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	do()
	close(j.changed)
	j.changed = make(chan struct{})
}

// until waits until ok, which runs under the lock, is true.
func (j *journal) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(patience)
	for {
		j.mu.Lock()
		is, changed := ok(), j.changed
		j.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-end:
			t.Fatal("waited in vain:", what)
		}
	}
}

// mmsc is a peer that answers as it is told, and keeps the mails that it has taken.
type mmsc struct {
	net.Listener
	mu    sync.Mutex
	reply map[string]string // by verb; "." is the final dot's; "hang": none
	mails []string
	conns int
	came  chan struct{} // closed with the first mail
}

func newMMSC(t *testing.T) *mmsc {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mmsc{Listener: l, reply: map[string]string{}, came: make(chan struct{})}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { m.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		group.Wait()
	})
	return m
}

func (m *mmsc) serve(c net.Conn) {
	defer c.Close()
	m.mu.Lock()
	m.conns++
	m.mu.Unlock()
	r := bufio.NewReader(c)
	said := "220"
	for verb := "220"; ; {
		m.mu.Lock()
		answer := m.reply[verb]
		m.mu.Unlock()
		switch {
		case answer == "hang":
			_, _ = r.ReadString('\n') // until the other side goes
			return
		case answer != "":
			said = answer
		}
		fmt.Fprintf(c, "%s 2.0.0 x\r\n", said)
		if verb == "DATA" && strings.HasPrefix(said, "354") {
			var mail strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.WriteString(line)
			}
			m.mu.Lock()
			if m.mails = append(m.mails, mail.String()); len(m.mails) == 1 {
				close(m.came)
			}
			m.mu.Unlock()
			verb, said = ".", "250"
			continue
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ = strings.Cut(strings.TrimSpace(strings.ToUpper(line)), " ")
		if said = "250"; verb == "DATA" {
			said = "354"
		}
	}
}

func (m *mmsc) set(verb, reply string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reply[verb] = reply
}

func (m *mmsc) port() int { return m.Addr().(*net.TCPAddr).Port }

// world is a postman with its peers.
type world struct {
	*postman.Postman
	journal  *journal
	quick    *mmsc
	dead     *mmsc
	receipts []message.Receipt
	refuse   error // of receipts
	state    *snapshot.Snapshot
}

func setup(t *testing.T) *world {
	w := &world{journal: &journal{tried: map[message.ID]message.MM4MailResult{}, changed: make(chan struct{})}, quick: newMMSC(t), dead: newMMSC(t)}
	w.state = &snapshot.Snapshot{
		Vendors: map[message.ID]*snapshot.Vendor{vendorID: {ID: vendorID, Name: "hub", Host: "127.0.0.1", Port: w.quick.port()}},
		MM4Peers: map[message.ID]*snapshot.MM4Peer{
			quick:      {ID: quick, Name: "quick", AccountID: account, Enabled: true, Host: "127.0.0.1", Port: w.quick.port(), TLS: "never", Version: "6.3.0"},
			dead:       {ID: dead, Name: "dead", AccountID: account, Enabled: true, Host: "127.0.0.1", Port: w.dead.port(), TLS: "never"},
			vendorPeer: {ID: vendorPeer, Name: "hub", VendorID: vendorID, Enabled: true, Domain: "mms.hub.example", Version: "6.8.0"},
		},
	}
	sender := smtpout.New(smtpout.Config{})
	w.Postman = &postman.Postman{Journal: w.journal, Sender: sender, Snapshot: func() *snapshot.Snapshot { return w.state }, Instance: "one",
		Own: mm4out.System{Domain: "mms.gw.example", Host: "mm4.gw.example"}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Receipt: func(_ context.Context, r message.Receipt) error {
			if w.refuse == nil {
				w.receipts = append(w.receipts, r)
			}
			return w.refuse
		}}
	t.Cleanup(func() {
		w.Stop()
		w.Stop()
		sender.Close()
		if w.journal.released > 1 {
			t.Errorf("claims were given back %d times", w.journal.released)
		}
	})
	return w
}

// response is one that is owed to a peer.
func response(peer message.ID) message.MM4Mail {
	return message.MM4Mail{ID: message.NewID(), PeerID: peer, Kind: message.MM4ForwardRES, At: happened, TransactionID: "t1",
		Response: message.MM4Response{System: "system-user@mms.pbx.example", Reference: "m1", Status: "Ok"}}
}

// owe makes mails due, and says so.
func (w *world) owe(mails ...message.MM4Mail) {
	w.journal.change(func() { w.journal.due = append(w.journal.due, mails...) })
	w.Poke()
}

func (w *world) result(t *testing.T, m message.MM4Mail) message.MM4MailResult {
	t.Helper()
	w.journal.until(t, "a try to be recorded", func() bool { return w.journal.tried[m.ID].State != "" })
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	return w.journal.tried[m.ID]
}

func TestMails(t *testing.T) {
	w := setup(t)
	w.Start(t.Context())
	origin := message.MM4Origin{PeerID: quick, Reference: "m1@mms.pbx.example", Sender: "+12025550101/TYPE=PLMN@mms.pbx.example", Recipient: "+13105550101/TYPE=PLMN@mms.gw.example", System: "reports@mms.pbx.example"}
	for _, tt := range []struct {
		mail message.MM4Mail
		want []string
	}{
		{message.MM4Mail{Kind: message.MM4ForwardRES, TransactionID: "t1", Response: message.MM4Response{System: "mmsc@mms.pbx.example", Reference: "m1", Status: "Error-service-denied", Text: "stopped",
			Recipients: []string{"+13105550101/TYPE=PLMN@mms.gw.example"}}},
			[]string{"X-Mms-Message-Type: MM4_forward.RES", "X-Mms-3GPP-MMS-Version: 6.3.0", "X-Mms-Transaction-ID: t1", "X-Mms-Message-ID: m1", "X-Mms-Request-Status-Code: Error-service-denied",
				"X-Mms-Status-Text: stopped", "X-Mms-Request-Recipients: <+13105550101/TYPE=PLMN@mms.gw.example>", "From: <system-user@mms.gw.example>", "To: <mmsc@mms.pbx.example>", "Date: Fri, 02 Jan 2026 15:04:05 +0000"}},
		{message.MM4Mail{Kind: message.MM4DeliveryReportRES, TransactionID: "t2", Response: message.MM4Response{System: "mmsc@mms.pbx.example", Reference: "m1", Status: "Ok"}},
			[]string{"X-Mms-Message-Type: MM4_delivery_report.RES", "X-Mms-Transaction-ID: t2"}},
		{message.MM4Mail{Kind: message.MM4ReadReportRES, TransactionID: "t3", Response: message.MM4Response{System: "mmsc@mms.pbx.example", Reference: "m1", Status: "Ok"}},
			[]string{"X-Mms-Message-Type: MM4_read_reply_report.RES", "X-Mms-Transaction-ID: t3"}},
		{message.MM4Mail{Kind: message.MM4DeliveryReport, Origin: origin, Status: message.StatusUndelivered, Reason: message.ReasonRecipientRefused},
			[]string{"X-Mms-Message-Type: MM4_delivery_report.REQ", "X-Mms-Message-ID: m1@mms.pbx.example", "X-Mms-MM-Status-Code: Rejected", "X-Mms-MM-Status-Extension: Rejection-By-MMS-Recipient", "X-Mms-Ack-Request: No",
				"X-Mms-Originator-System: system-user@mms.gw.example", "From: <+13105550101/TYPE=PLMN@mms.gw.example>", "To: <+12025550101/TYPE=PLMN@mms.pbx.example>", "Date: Fri, 02 Jan 2026 15:04:05 +0000"}},
		{message.MM4Mail{Kind: message.MM4ReadReport, Origin: origin, ReadStatus: "deleted without being read"},
			[]string{"X-Mms-Message-Type: MM4_read_reply_report.REQ", "X-Mms-Read-Status: Deleted without being read"}},
	} {
		m := tt.mail
		m.ID, m.PeerID, m.At = message.NewID(), quick, happened
		w.owe(m)
		if r := w.result(t, m); r.State != message.MM4MailSent || r.Code != "250 2.0.0" || r.Error != "" {
			t.Errorf("%s: %+v", m.Kind, r)
		}
		w.quick.mu.Lock()
		got := w.quick.mails[len(w.quick.mails)-1]
		w.quick.mu.Unlock()
		for _, line := range append(tt.want, "Sender: <system-user@mms.gw.example>", "Message-ID: <"+message.Hex32(m.ID)+"@mm4.gw.example>") {
			if !strings.Contains("\r\n"+got, "\r\n"+line+"\r\n") {
				t.Errorf("%s lacks %q:\n%s", m.Kind, line, got)
			}
		}
		if h, err := mm4.NewReader(strings.NewReader(got), mm4.Limits{}); err != nil {
			t.Errorf("%s cannot be read: %v", m.Kind, err)
		} else if m.Kind == message.MM4DeliveryReport && h.Header.TransactionID != mm4.TransactionID(m.ID, mm4.DeliveryReportREQ, 1) {
			t.Errorf("transaction %s", h.Header.TransactionID)
		}
	}
}

func TestToVendor(t *testing.T) {
	w := setup(t)
	w.Start(t.Context())
	m := response(vendorPeer)
	w.owe(m)
	if r := w.result(t, m); r.State != message.MM4MailSent {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct {
		mail message.MM4Mail
		want []string
	}{
		{message.MM4Mail{Kind: message.MM4DeliveryReport, Status: message.StatusDelivered}, []string{"X-Mms-MM-Status-Code: Retrieved"}},
		{message.MM4Mail{Kind: message.MM4DeliveryReport, Status: message.StatusFailed}, []string{"X-Mms-MM-Status-Code: Rejected", "X-Mms-MM-Status-Extension: Rejection-by-Other-RS"}},
		{message.MM4Mail{Kind: message.MM4ReadReport, ReadStatus: "Read"}, []string{"X-Mms-Read-Status: Read"}},
	} {
		m := c.mail
		m.ID, m.PeerID, m.At = message.NewID(), vendorPeer, happened
		m.Origin = message.MM4Origin{PeerID: vendorPeer, Reference: "v1@hub", Sender: "+13105550101/TYPE=PLMN@mms.hub.example", Recipient: "+12025550101/TYPE=PLMN@mms.us.example", System: "reports@mms.hub.example"}
		w.owe(m)
		if r := w.result(t, m); r.State != message.MM4MailSent {
			t.Errorf("%+v", r)
		}
		w.quick.mu.Lock()
		got := w.quick.mails[len(w.quick.mails)-1]
		w.quick.mu.Unlock()
		for _, line := range append(c.want, "X-Mms-Message-Type: "+map[message.MM4MailKind]string{message.MM4DeliveryReport: "MM4_delivery_report.REQ", message.MM4ReadReport: "MM4_read_reply_report.REQ"}[m.Kind],
			"X-Mms-3GPP-MMS-Version: 6.8.0", "X-Mms-Message-ID: v1@hub", "From: <+12025550101/TYPE=PLMN@mms.us.example>", "To: <+13105550101/TYPE=PLMN@mms.hub.example>") {
			if !strings.Contains("\r\n"+got, "\r\n"+line+"\r\n") {
				t.Errorf("%s lacks %q:\n%s", m.Kind, line, got)
			}
		}
	}
}

// TestVendorWithTheNameOfAPeer: each has its own connection, which is kept while the other
// is sent something.
func TestVendorWithTheNameOfAPeer(t *testing.T) {
	w := setup(t)
	w.state.MM4Peers[quick].Name = w.state.Vendors[vendorID].Name
	w.state.MM4Peers[vendorPeer].Name = "another"
	w.state.Vendors[vendorID].Port = w.dead.port()
	w.Start(t.Context())
	for _, peer := range []message.ID{quick, vendorPeer, quick} {
		m := response(peer)
		w.owe(m)
		if r := w.result(t, m); r.State != message.MM4MailSent {
			t.Fatalf("%+v", r)
		}
	}
	w.quick.mu.Lock()
	defer w.quick.mu.Unlock()
	if w.quick.conns != 1 || len(w.quick.mails) != 2 {
		t.Errorf("%d connections, %d mails", w.quick.conns, len(w.quick.mails))
	}
}

// TestTriesAgain: what may pass is tried after 1, 5, 15 minutes and each hour; what is
// refused for good is not.
func TestTriesAgain(t *testing.T) {
	w := setup(t)
	w.Start(t.Context())
	for i, want := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour} {
		w.quick.set("MAIL", "451")
		m := response(quick)
		m.Attempts = i
		w.owe(m)
		if r := w.result(t, m); r.State != message.MM4MailPending || r.Next != want || r.Code != "451 2.0.0" && r.Code != "451" || r.Error == "" {
			t.Errorf("try %d: %+v", i+1, r)
		}
	}
	w.quick.set("MAIL", "")
	w.quick.set("RCPT", "550")
	m := response(quick)
	w.owe(m)
	if r := w.result(t, m); r.State != message.MM4MailFailed || !strings.HasPrefix(r.Code, "550") {
		t.Errorf("%+v", r)
	}
	for name, spoil := range map[string]func(m *message.MM4Mail){
		"no address": func(m *message.MM4Mail) { m.Response.System = "" },
		"no domain":  func(m *message.MM4Mail) { m.Response.System = "+12025550101/TYPE=PLMN" },
		"a line end": func(m *message.MM4Mail) { m.TransactionID = "a\r\nX: y" },
		"no kind":    func(m *message.MM4Mail) { m.Kind = "other" },
		"recipients": func(m *message.MM4Mail) { m.Response.Recipients = []string{"?"} },
		"no sender": func(m *message.MM4Mail) {
			*m = message.MM4Mail{ID: m.ID, PeerID: quick, Kind: message.MM4DeliveryReport, Origin: message.MM4Origin{System: "a@b.example", Recipient: "+12025550101"}}
		},
	} {
		m := response(quick)
		spoil(&m)
		w.owe(m)
		if r := w.result(t, m); r.State != message.MM4MailFailed || r.Error == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestPeerThatCannotBeUsed: a person has to mend it; until then the mails wait.
func TestPeerThatCannotBeUsed(t *testing.T) {
	w := setup(t)
	none, off, hostless, orphan := message.ID{15: 21}, message.ID{15: 22}, message.ID{15: 23}, message.ID{15: 24}
	w.state.MM4Peers[off] = &snapshot.MM4Peer{ID: off, Name: "off", AccountID: account, Host: "127.0.0.1"}
	w.state.MM4Peers[hostless] = &snapshot.MM4Peer{ID: hostless, Name: "hostless", AccountID: account, Enabled: true}
	w.state.MM4Peers[orphan] = &snapshot.MM4Peer{ID: orphan, Name: "orphan", VendorID: message.ID{15: 25}, Enabled: true}
	w.Start(t.Context())
	for _, peer := range []message.ID{none, off, hostless, orphan} {
		m := response(peer)
		w.owe(m)
		if r := w.result(t, m); r.State != message.MM4MailPending || r.Error == "" || r.Next != time.Minute {
			t.Errorf("%s: %+v", w.state.MM4Peers[peer].Name, r)
		}
	}
}

// TestDeadPeerHoldsUpNobody: it takes its connections and nothing more, and has a
// hundred mails due, before those of another.
func TestDeadPeerHoldsUpNobody(t *testing.T) {
	w := setup(t)
	w.dead.set("220", "hang")
	var stuck, mails []message.MM4Mail
	for range 100 {
		stuck, mails = append(stuck, response(dead)), append(mails, response(quick))
	}
	w.owe(append(slices.Clone(stuck), mails...)...)
	w.Start(t.Context())
	for _, m := range mails {
		if r := w.result(t, m); r.State != message.MM4MailSent {
			t.Fatalf("%+v", r)
		}
	}
	w.dead.mu.Lock()
	conns := w.dead.conns
	w.dead.mu.Unlock()
	if conns > 2 {
		t.Errorf("%d connections to the dead one at a time", conns)
	}
	w.Stop()
	for _, m := range stuck {
		if r, ok := w.journal.tried[m.ID]; ok {
			t.Fatalf("a try that was cut off is recorded: %+v", r)
		}
	}
	if w.journal.released != 1 {
		t.Error("what was claimed is not given back")
	}
}

// TestUnreachedPeerIsLeftAlone: those behind the first that fail to connect wait without
// a try of their own.
func TestUnreachedPeerIsLeftAlone(t *testing.T) {
	w := setup(t)
	if err := w.dead.Close(); err != nil {
		t.Fatal(err)
	}
	var mails []message.MM4Mail
	for range 50 {
		mails = append(mails, response(dead))
	}
	w.owe(mails...)
	w.Start(t.Context())
	spared := 0
	for _, m := range mails {
		r := w.result(t, m)
		if r.State != message.MM4MailPending || r.Next != time.Minute {
			t.Fatalf("%+v", r)
		}
		if strings.Contains(r.Error, "a moment ago") {
			spared++
		}
	}
	if spared < 48 { // two may have been under way together
		t.Errorf("%d of %d were spared", spared, len(mails))
	}
}

// TestLostReply: the peer may have the mail. It goes again, with the same ids.
func TestLostReply(t *testing.T) {
	w := setup(t)
	w.quick.set(".", "hang")
	w.Start(t.Context())
	m := response(quick)
	w.owe(m)
	select {
	case <-w.quick.came:
	case <-time.After(patience):
		t.Fatal("the mail does not come")
	}
	w.Stop()
	if r, ok := w.journal.tried[m.ID]; ok || w.journal.released != 1 {
		t.Errorf("recorded %+v, released %d times", r, w.journal.released)
	}
}

func TestAnswersThatNobodyWaitsFor(t *testing.T) {
	w := setup(t)
	answer := func(status mm4.Status, doubtful bool) message.MM4Answer {
		return message.MM4Answer{VendorID: vendorID, MessageID: message.NewID(), Attempt: 2, Status: string(status), CameAt: happened, Doubtful: doubtful}
	}
	ok, no, settled := answer(mm4.StatusOK, true), answer(mm4.StatusAddress, true), answer(mm4.StatusOK, false)
	w.journal.answers = []message.MM4Answer{ok, no, settled}
	w.refuse = errors.New("away")
	if err := w.Sweep(t.Context()); err == nil || len(w.journal.done) > 0 {
		t.Fatalf("%v, done %v", err, w.journal.done)
	}
	w.refuse = nil
	if err := w.Sweep(t.Context()); err != nil || !slices.Equal(w.journal.done, []message.AttemptRef{ok.Ref(), no.Ref(), settled.Ref()}) {
		t.Errorf("%v, done %v", err, w.journal.done)
	}
	if len(w.receipts) != 2 {
		t.Fatalf("receipts %+v", w.receipts)
	}
	if r := w.receipts[0]; r.State != message.ReceiptAccepted || r.Attempt != ok.Ref() || r.VendorID != vendorID || r.Reason != "" || r.ID == (message.ID{}) ||
		r.VendorMessageID != message.NormalizeVendorID(ok.Ref().String()+"@mms.gw.example") || !r.DoneAt.Equal(happened) {
		t.Errorf("%+v", r)
	}
	if r := w.receipts[1]; r.State != message.ReceiptRejected || r.Attempt != no.Ref() || r.Reason != message.ReasonUnknownSubscriber || r.Err != string(mm4.StatusAddress) {
		t.Errorf("%+v", r)
	}
}
