package desk_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/mm4/desk"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/snapshot"
)

const patience = 30 * time.Second

var (
	account, stranger     = message.ID{15: 1}, message.ID{15: 2}
	vendorID, otherVendor = message.ID{15: 3}, message.ID{15: 4}
	customer, vendorPeer  = message.ID{15: 5}, message.ID{15: 6}
	now                   = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	errAway               = errors.New("the database is away")
	own                   = message.Address("+12025550101")
	customerIP, vendorIP  = "127.0.0.1", "127.0.0.2"
	alice, bob, carol     = "+13105550101", "+13105550102", "+13105550103"
)

// doors is an ingress that keeps what it takes, and idempotency keys as the journal
// does.
type doors struct {
	mu       sync.Mutex
	refuse   func(r ingress.Request) error
	requests []ingress.Request // accepted
	refused  []ingress.Request
	keys     map[string]*message.Idempotency
	inbound  []message.InboundMessage
	arrive   func(m message.InboundMessage) error
	receipts []message.Receipt
	known    map[message.AttemptRef]message.ID // attempts, and whose
	down     error
}

func (d *doors) Accept(_ context.Context, r ingress.Request) (ingress.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return ingress.Outcome{}, d.down
	}
	name := r.Key.Operation + " " + r.Key.Value
	if first := d.keys[name]; first != nil {
		if first.BodyHash != r.Key.BodyHash {
			return ingress.Outcome{}, message.Refuse(message.ReasonIdempotencyMismatch, "the key came with another body")
		}
		return ingress.Outcome{Replay: first}, nil
	}
	if r.Refused != nil {
		return ingress.Outcome{}, r.Refused
	}
	var refused *message.Error
	if d.refuse != nil {
		if err := d.refuse(r); err != nil && !errors.As(err, &refused) {
			return ingress.Outcome{}, err
		}
	}
	m := &message.Message{ID: message.NewID(), AccountID: r.AccountID}
	status, body, err := r.Key.Render(m, refused)
	if err != nil {
		return ingress.Outcome{}, err
	}
	if status != 429 {
		d.keys[name] = &message.Idempotency{BodyHash: r.Key.BodyHash, Status: status, Response: body}
	}
	if refused != nil {
		d.refused = append(d.refused, r)
		return ingress.Outcome{Message: m}, refused
	}
	d.requests = append(d.requests, r)
	return ingress.Outcome{Message: m}, nil
}

// Inbound keeps a message once by what the vendor calls it.
func (d *doors) Inbound(_ context.Context, m message.InboundMessage) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return d.down
	}
	if d.arrive != nil {
		if err := d.arrive(m); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(d.inbound, func(o message.InboundMessage) bool { return o.VendorRef == m.VendorRef && o.To == m.To }) {
		d.inbound = append(d.inbound, m)
	}
	return nil
}

func (d *doors) Match(_ context.Context, r message.Receipt) (message.Matched, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return message.Matched{}, d.down
	}
	d.receipts = append(d.receipts, r)
	return message.Matched{Known: d.known[r.Attempt] == r.VendorID}, nil
}

// journal keeps the rest.
type journal struct {
	mu       sync.Mutex
	down     error
	mails    []message.MM4Mail
	owed     int // how often a row became due
	answers  []message.MM4Answer
	attempts map[message.AttemptRef]message.ID
	messages map[message.ID]*message.Message
	reads    []string
	notes    []string
}

func (j *journal) Note(_ context.Context, id message.ID, line message.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down == nil {
		j.notes = append(j.notes, fmt.Sprint(message.Hex32(id), " ", line.Type, line.Detail))
	}
	return j.down
}

func (j *journal) OweMM4(_ context.Context, mails []message.MM4Mail) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return j.down
	}
	for _, m := range mails {
		j.owed++
		if !slices.ContainsFunc(j.mails, func(o message.MM4Mail) bool {
			return o.PeerID == m.PeerID && o.Kind == m.Kind && o.TransactionID == m.TransactionID && o.Ordinal == m.Ordinal
		}) {
			j.mails = append(j.mails, m)
		}
	}
	return nil
}

func (j *journal) PutMM4Answer(_ context.Context, a message.MM4Answer) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.down != nil:
		return j.down
	case j.attempts[a.Ref()] != a.VendorID:
		return message.Refuse(message.ReasonNotFound, "no such attempt")
	case !slices.ContainsFunc(j.answers, func(o message.MM4Answer) bool { return o.Ref() == a.Ref() }):
		j.answers = append(j.answers, a)
	}
	return nil
}

func (j *journal) MM4Read(_ context.Context, id message.ID, at time.Time, status string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down == nil {
		j.reads = append(j.reads, fmt.Sprintf("%s %s %s", message.Hex32(id), at.Format(time.RFC3339), status))
	}
	return j.down
}

func (j *journal) Message(_ context.Context, id message.ID) (*message.Message, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if m := j.messages[id]; m != nil || j.down != nil {
		return m, j.down
	}
	return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
}

// files is the rows of the media library.
type files struct {
	media.Records
	mu    sync.Mutex
	fail  error
	added []message.MediaFile
}

func (f *files) AddMedia(_ context.Context, m *message.MediaFile) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		f.added = append(f.added, *m)
	}
	return f.fail
}

// world is a desk behind a server.
type world struct {
	*desk.Desk
	t       testing.TB
	doors   *doors
	journal *journal
	files   *files
	state   *snapshot.Snapshot
	server  *server.Server
	addr    string
	logs    *bytes.Buffer
	taken   map[string]int
	mu      sync.Mutex // of logs and taken
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.Write(p)
}

// setup makes one; changes are made to its configuration before anything runs.
func setup(t testing.TB, changes ...func(*snapshot.Snapshot)) *world {
	t.Helper()
	attempts := map[message.AttemptRef]message.ID{}
	w := &world{t: t, doors: &doors{keys: map[string]*message.Idempotency{}, known: attempts}, files: &files{}, logs: &bytes.Buffer{}, taken: map[string]int{},
		journal: &journal{attempts: attempts, messages: map[message.ID]*message.Message{}}}
	w.state = &snapshot.Snapshot{
		Accounts: map[message.ID]*snapshot.Account{account: {ID: account}},
		Numbers: map[message.Address]*snapshot.Number{
			own:            {Number: own, AccountID: account, SMSEnabled: true, MMSEnabled: true},
			"+12025550109": {Number: "+12025550109", AccountID: stranger, SMSEnabled: true, MMSEnabled: true},
			"+12025550108": {Number: "+12025550108", AccountID: account, SMSEnabled: true},
		},
		Vendors: map[message.ID]*snapshot.Vendor{vendorID: {ID: vendorID, Name: "hub", Host: "mm4.hub.example"}},
		MM4Peers: map[message.ID]*snapshot.MM4Peer{
			customer:   {ID: customer, Name: "pbx", AccountID: account, Enabled: true, Host: "mms.pbx.example", Addresses: []netip.Prefix{netip.MustParsePrefix(customerIP + "/32")}},
			vendorPeer: {ID: vendorPeer, Name: "hub", VendorID: vendorID, Enabled: true, Addresses: []netip.Prefix{netip.MustParsePrefix(vendorIP + "/32")}},
		},
	}
	for _, change := range changes {
		change(w.state)
	}
	log := slog.New(slog.NewTextHandler(w, nil))
	w.Desk = &desk.Desk{Ingress: w.doors, Journal: w.journal, Snapshot: func() *snapshot.Snapshot { return w.state }, Domains: []string{"mms.gw.example"},
		Log: log, Now: func() time.Time { return now },
		Metrics: desk.Metrics{Taken: func(k mm4.Type, s mm4.Status) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.taken[string(k)+" "+string(s)]++
		}}}
	store, err := media.Open(context.Background(), t.TempDir(), media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	directory := desk.Directory{Snapshot: w.Snapshot, Log: log}
	w.server = &server.Server{Desk: w.Desk, Spool: &media.Library{Store: store, Records: w.files}, Peers: directory.Current, Domains: w.Domains, Log: log,
		Limits: server.Limits{ConnectRate: 1 << 30, SessionsPerAddress: 1 << 20}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := cmp.Or(w.server.Shutdown(ctx), <-served, store.Close()); err != nil {
			t.Error(err)
		}
		if strings.Contains(w.logs.String(), "panic") {
			t.Error(w.logs.String())
		}
	})
	return w
}

// mail sends one from an address of the loopback, and gives the reply: its code and text.
func (w *world) mail(ip, from, raw string, to ...string) (int, string) {
	w.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	c, err := smtp.NewClient(conn, "mms.gw.example")
	if err != nil {
		w.t.Fatal(err)
	}
	said := func(err error) (int, string) {
		w.t.Helper()
		var p *textproto.Error
		if !errors.As(err, &p) {
			w.t.Fatal(err)
		}
		return p.Code, p.Msg
	}
	if err := c.Mail(from); err != nil {
		return said(err)
	}
	for _, r := range to {
		if err := c.Rcpt(r); err != nil {
			return said(err)
		}
	}
	// The library's Data does not give the text of the last reply.
	if err := c.Text.PrintfLine("DATA"); err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := c.Text.ReadResponse(354); err != nil {
		return said(err)
	}
	dot := c.Text.DotWriter()
	if _, err := dot.Write([]byte(strings.ReplaceAll(raw, "\n", "\r\n"))); err != nil {
		w.t.Fatal(err)
	}
	if err := dot.Close(); err != nil {
		w.t.Fatal(err)
	}
	code, text, err := c.Text.ReadResponse(0)
	if err != nil {
		w.t.Fatal(err)
	}
	return code, text
}

// submit sends a mail of the customer, and checks the reply's beginning.
func (w *world) submit(want, raw string, to ...string) string {
	w.t.Helper()
	if len(to) == 0 {
		to = []string{number(alice)}
	}
	return w.want(want, customerIP, "system-user@mms.pbx.example", raw, to...)
}

// deliver sends a mail of the vendor.
func (w *world) deliver(want, raw string, to ...string) string {
	w.t.Helper()
	if len(to) == 0 {
		to = []string{number(string(own))}
	}
	return w.want(want, vendorIP, "system-user@mms.hub.example", raw, to...)
}

func (w *world) want(want, ip, from, raw string, to ...string) string {
	w.t.Helper()
	code, text := w.mail(ip, from, raw, to...)
	if got := fmt.Sprint(code, " ", text); !strings.HasPrefix(got, want) {
		w.t.Fatalf("reply %q, want %q", got, want)
	}
	_, id, _ := strings.Cut(text, " ")
	return id
}

// number is a number at our domain.
func number(n string) string { return n + "/TYPE=PLMN@mms.gw.example" }

// header is that of a forward, which changes are made to: "Name: value" sets a header,
// "-Name" leaves it out.
func header(changes ...string) string {
	lines := []string{"X-Mms-3GPP-MMS-Version: 6.10.0", "X-Mms-Message-Type: MM4_forward.REQ", "X-Mms-Transaction-ID: t1", "X-Mms-Message-ID: m1@mms.pbx.example",
		"X-Mms-Ack-Request: Yes", "X-Mms-Originator-System: system-user@mms.pbx.example", "From: <+12025550101/TYPE=PLMN@mms.pbx.example>",
		"To: <" + number(alice) + ">", "Date: Fri, 02 Jan 2026 15:04:05 +0000"}
	for _, c := range changes {
		name, _, _ := strings.Cut(c, ":")
		bare := strings.TrimPrefix(name, "-")
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(strings.ToLower(l), strings.ToLower(bare)+":") })
		switch {
		case strings.HasPrefix(name, "-") && i >= 0:
			lines = slices.Delete(lines, i, i+1)
		case strings.HasPrefix(name, "-"):
		case i >= 0:
			lines[i] = c
		default:
			lines = append(lines, c)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// text is a forward of a text alone.
func text(changes ...string) string {
	return header(changes...) + "Content-Type: text/plain; charset=utf-8\n\nhello\n"
}

// gif is the smallest picture there is, in base64.
const gif = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

// parts makes a mail of parts, each "type[; parameters]|content".
func parts(kind string, list ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "MIME-Version: 1.0\nContent-Type: multipart/%s; boundary=\"b-1\"\n\n", kind)
	for _, p := range list {
		head, body, _ := strings.Cut(p, "|")
		if strings.HasPrefix(head, "multipart/") {
			fmt.Fprintf(&b, "--b-1\n%s\n", body)
			continue
		}
		fmt.Fprintf(&b, "--b-1\nContent-Type: %s\n\n%s\n", head, body)
	}
	return b.String() + "--b-1--\n"
}

const (
	picture = "image/gif; name=dot.gif\nContent-Transfer-Encoding: base64|" + gif
	card    = "text/x-vcard; name=z.vcf|BEGIN:VCARD\nVERSION:3.0\nFN:Z\nEND:VCARD"
	smil    = "application/smil|<smil><head></head><body></body></smil>"
	pdf     = "application/pdf; name=a.pdf|%PDF-1.4\n%%EOF"
)

// accepted gives the requests, by their recipients.
func (w *world) accepted() []ingress.Request {
	w.doors.mu.Lock()
	defer w.doors.mu.Unlock()
	return slices.Clone(w.doors.requests)
}

// owes checks which responses are owed: "kind status recipients".
func (w *world) owes(want ...string) {
	w.t.Helper()
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	var got []string
	for _, m := range w.journal.mails {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", m.Kind, m.Response.Status, strings.Join(m.Response.Recipients, " "))))
		if h := composed(m); len(h) == 0 {
			w.t.Errorf("a response that cannot be sent: %+v", m)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("owed %q, want %q", got, want)
	}
}

// composed is a response as it would go out; empty: it could not.
func composed(m message.MM4Mail) string {
	system, err := mm4.ParseAddress(m.Response.System)
	if err != nil {
		return ""
	}
	ours := mm4.Address{Local: "system-user", Type: mm4.Email, Domain: "mms.gw.example"}
	types := map[message.MM4MailKind]mm4.Type{message.MM4ForwardRES: mm4.ForwardRES, message.MM4DeliveryReportRES: mm4.DeliveryReportRES, message.MM4ReadReportRES: mm4.ReadReplyReportRES}
	h := mm4.Header{Type: types[m.Kind], TransactionID: m.TransactionID, MessageID: m.Response.Reference, RequestStatus: mm4.Status(m.Response.Status),
		StatusText: m.Response.Text, Sender: ours, From: ours, To: []mm4.Address{system}, Date: m.At}
	for _, r := range m.Response.Recipients {
		a, err := mm4.ParseAddress(r)
		if err != nil {
			return ""
		}
		h.RequestRecipients = append(h.RequestRecipients, a)
	}
	var b bytes.Buffer
	if err := mm4.Write(&b, h, nil); err != nil {
		return ""
	}
	return b.String()
}
