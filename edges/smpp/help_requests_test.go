package smpp

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// reqStore is the journal behind the real ingress: acceptances in memory, with
// their keys.
type reqStore struct {
	ingress.Journal
	mu       sync.Mutex
	accepted []message.Acceptance // refused messages too, as in the record
	entered  []message.Acceptance
	keys     map[string]message.Idempotency
	down     func(message.Acceptance) error // nil: everything is committed
	parts    []message.SMPPPart
	partDown error  // of AddPart
	adding   func() // before AddPart; nil: nothing
}

// AddPart keeps one set: all that is there when its last part comes.
func (j *reqStore) AddPart(_ context.Context, p message.SMPPPart, key *message.Idempotency) (message.SMPPPartAdded, error) {
	if j.adding != nil {
		j.adding()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.partDown != nil {
		return message.SMPPPartAdded{}, j.partDown
	}
	if key != nil {
		first, ok := j.keys[key.Operation+"|"+key.Key]
		switch {
		case ok && first.BodyHash != key.BodyHash:
			return message.SMPPPartAdded{}, message.Refuse(message.ReasonIdempotencyMismatch, "another body")
		case ok:
			return message.SMPPPartAdded{Replay: &first}, nil
		}
		j.keys[key.Operation+"|"+key.Key] = *key
	}
	j.parts = append(j.parts, p)
	set := message.SMPPPartSet{Parts: slices.Clone(j.parts)}
	set.Sort()
	if _, whole := set.Text(); !whole {
		return message.SMPPPartAdded{}, nil
	}
	set.MessageID = set.Parts[0].ID
	return message.SMPPPartAdded{Set: &set}, nil
}

func (j *reqStore) MarkJoined(context.Context, message.ID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.parts = nil
	return nil
}

func (j *reqStore) Accept(ctx context.Context, in message.Acceptance) (message.Accepted, error) {
	if j.down != nil {
		if err := j.down(in); err != nil {
			return message.Accepted{}, err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if k := in.Idempotency; k != nil {
		first, ok := j.keys[k.Operation+"|"+k.Key]
		switch {
		case ok && first.BodyHash != k.BodyHash:
			return message.Accepted{}, message.Refuse(message.ReasonIdempotencyMismatch, "another body")
		case ok:
			return message.Accepted{Replay: &first}, nil
		}
		j.keys[k.Operation+"|"+k.Key] = *k
	}
	j.accepted = append(j.accepted, in)
	return message.Accepted{}, nil
}

// Enter notes the order in which messages enter; the rest is Accept.
func (j *reqStore) Enter(in message.Acceptance) func(context.Context) (message.Accepted, error) {
	j.mu.Lock()
	j.entered = append(j.entered, in)
	j.mu.Unlock()
	return func(ctx context.Context) (message.Accepted, error) { return j.Accept(ctx, in) }
}

func (j *reqStore) FirstAnswer(_ context.Context, k message.Idempotency) (*message.Idempotency, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first, ok := j.keys[k.Operation+"|"+k.Key]
	switch {
	case !ok:
		return nil, nil
	case first.BodyHash != k.BodyHash:
		return nil, message.Refuse(message.ReasonIdempotencyMismatch, "another body")
	}
	return &first, nil
}

// taken gives what was accepted and not refused.
func (j *reqStore) taken() []message.Acceptance {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []message.Acceptance
	for _, a := range j.accepted {
		if a.Message.Status == message.StatusAccepted {
			out = append(out, a)
		}
	}
	return out
}

// stored counts all.
func (j *reqStore) stored() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.accepted)
}

// reqIngress is the real ingress, with a Cancel of its own; accept replaces
// Accept where a test wants it.
type reqIngress struct {
	*ingress.Ingress
	accept func(context.Context, ingress.Request) (ingress.Outcome, error)

	mu       sync.Mutex
	canceled []message.ID
	revised  []ingress.Revision
	refuse   map[message.ID]error // of Cancel and Revise
}

func (in *reqIngress) Enter(r ingress.Request) func(context.Context) (ingress.Outcome, error) {
	if in.accept != nil {
		return func(ctx context.Context) (ingress.Outcome, error) { return in.accept(ctx, r) }
	}
	return in.Ingress.Enter(r)
}

func (in *reqIngress) Cancel(_ context.Context, id message.ID) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.refuse[id]; err != nil {
		return err
	}
	in.canceled = append(in.canceled, id)
	return nil
}

func (in *reqIngress) Revise(_ context.Context, r ingress.Revision) (*message.Message, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.revised = append(in.revised, r)
	if err := in.refuse[r.MessageID]; err != nil {
		return nil, err
	}
	return &message.Message{ID: r.MessageID}, nil
}

// reqJournal answers queries from a list.
type reqJournal struct {
	Journal
	mu       sync.Mutex
	messages []message.Message
	origins  []message.SMPPOrigin
	down     error
	asked    []string // what Answered and Between were asked
	asking   func()   // before Answered; nil: nothing
}

func (j *reqJournal) Answered(_ context.Context, credential message.ID, id string) ([]message.Message, []message.SMPPOrigin, error) {
	if j.asking != nil {
		j.asking()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, id)
	if j.down != nil {
		return nil, nil, j.down
	}
	var messages []message.Message
	var origins []message.SMPPOrigin
	for i, o := range j.origins {
		if o.AnswerID == id && o.CredentialID == credential {
			messages, origins = append(messages, j.messages[i]), append(origins, o)
		}
	}
	if messages == nil {
		return nil, nil, message.Refuse(message.ReasonNotFound, "no such message")
	}
	return messages, origins, nil
}

func (j *reqJournal) Between(_ context.Context, credential message.ID, source, dest message.SMPPAddress, limit int) ([]message.ID, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, source.Text+">"+dest.Text)
	if j.down != nil {
		return nil, j.down
	}
	var ids []message.ID
	for i, o := range j.origins {
		if o.CredentialID == credential && o.Source == source && o.Dest == dest && j.messages[i].Status.Cancelable() && len(ids) < limit {
			ids = append(ids, j.messages[i].ID)
		}
	}
	return ids, nil
}

// add puts a message from reqFrom to reqTo into the journal and gives its id.
func (j *reqJournal) add(w *reqWorld, answer string, status message.Status, change func(*message.Message, *message.SMPPOrigin)) message.ID {
	m := message.Message{ID: message.NewID(), Status: status, UpdatedAt: reqNow}
	if answer == "" {
		answer = message.Hex32(m.ID)
	}
	o := message.SMPPOrigin{CredentialID: w.bound.credential, Source: written(reqFrom), Dest: written(reqTo), AnswerID: answer}
	if change != nil {
		change(&m, &o)
	}
	j.messages, j.origins = append(j.messages, m), append(j.origins, o)
	return m.ID
}

var (
	reqNow  = time.Date(2026, 11, 21, 20, 15, 4, 0, time.UTC)
	reqFrom = smpp.Address{TON: 1, NPI: 1, Text: "12025550143"}
	reqTo   = smpp.Address{TON: 1, NPI: 1, Text: "13105550117"}
)

// reqWorld is a server with one bound session over a pipe: only handle and what
// is below it is real, and the ingress.
type reqWorld struct {
	t       testing.TB
	server  *Server
	bound   *bound
	store   *reqStore
	ingress *reqIngress
	journal *reqJournal
	config  *snapshot.Snapshot
	account *snapshot.Account
	smpp    *snapshot.SMPPCredential
	session *smpp.Session
	conn    net.Conn
	seq     uint32
	handle  func(*smpp.Request) // the session's handler; connect takes it over
	deliver bool                // the bind may send deliver_sm, as a vendor's may

	mu     sync.Mutex
	counts []string // of Metrics.Request and Throttled
}

func reqSetup(t testing.TB) *reqWorld {
	t.Helper()
	w := &reqWorld{t: t, store: &reqStore{keys: map[string]message.Idempotency{}}, journal: &reqJournal{}}
	campaign, vendor := message.NewID(), message.NewID()
	w.account = &snapshot.Account{ID: message.NewID(), Status: snapshot.AccountActive, DefaultClass: message.ClassBulk, Delivery: message.AtMostOnce, MaxParts: 10,
		DefaultCountry: "US", AllowedSourceAddresses: []string{"72345", "ACME"}}
	w.smpp = &snapshot.SMPPCredential{ID: message.NewID(), AccountID: w.account.ID, SystemID: "acme", Enabled: true, Throughput: 1 << 20, Window: 100, Transceiver: true}
	w.config = &snapshot.Snapshot{
		Accounts:        map[message.ID]*snapshot.Account{w.account.ID: w.account},
		Campaigns:       map[message.ID]*snapshot.Campaign{campaign: {ID: campaign, AccountID: w.account.ID, CampaignID: "C1", Status: snapshot.CampaignActive}},
		Numbers:         map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: w.account.ID, SMSEnabled: true, Campaign: campaign}},
		Vendors:         map[message.ID]*snapshot.Vendor{vendor: {ID: vendor, Name: "acme", ProviderType: "smpp", Active: true, SupportsUnicode: true, SupportsAlphanumeric: true}},
		Routes:          []snapshot.Route{{ID: 1, VendorID: vendor}},
		SMPPCredentials: map[string]*snapshot.SMPPCredential{w.smpp.SystemID: w.smpp},
	}
	w.config.Index()
	now := func() time.Time { return reqNow }
	quiet := slog.New(slog.DiscardHandler)
	w.ingress = &reqIngress{refuse: map[message.ID]error{}, Ingress: &ingress.Ingress{Journal: w.store, NoStarts: true, Log: quiet, Now: now,
		Snapshot: func() *snapshot.Snapshot { return w.config }}}
	w.server = &Server{Ingress: w.ingress, Journal: w.journal, Snapshot: func() *snapshot.Snapshot { return w.config }, Log: quiet, Now: now,
		Metrics: Metrics{
			Request: func(command, status string, took time.Duration) {
				if took < 0 {
					w.count("took less than nothing")
				}
				w.count(command + " " + status)
			},
			Throttled: func(account message.ID, scope string, n int) {
				w.count(fmt.Sprintf("throttled %s %s %d", account, scope, n))
			},
		}}
	w.server.prepare()
	w.bound = &bound{id: message.NewID(), systemID: "acme", credential: w.smpp.ID, account: w.account.ID}
	w.handle = func(r *smpp.Request) { w.server.handle(w.bound, r) }
	w.connect()
	return w
}

// connect binds a fresh session over a pipe.
func (w *reqWorld) connect() {
	w.t.Helper()
	ours, theirs := net.Pipe()
	cfg := smpp.ServerConfig{SystemID: "gw", Bind: func(context.Context, *smpp.Session, *smpp.Bind) smpp.Decision {
		return smpp.Decision{AllowDeliver: w.deliver}
	}}
	cfg.Handler = smpp.HandlerFunc(w.handle)
	cfg.EnquireLink, cfg.Inbound = -1, 100
	session := smpp.NewServerSession(ours, cfg)
	w.session, w.bound.session, w.conn, w.seq = session, session, theirs, 0
	w.t.Cleanup(func() {
		_ = theirs.Close()
		session.Close()
		session.Wait()
	})
	if p := w.ask(&smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "acme", InterfaceVersion: smpp.Version34}); p.Status != smpp.StatusOK {
		w.t.Fatalf("bind: %s", p.Status)
	}
}

func (w *reqWorld) count(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts = append(w.counts, s)
}

func (w *reqWorld) counted() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.counts, ", ")
}

// write sends a frame of any command; its length is put right.
func (w *reqWorld) write(id smpp.CommandID, body []byte) uint32 {
	w.t.Helper()
	w.seq++
	frame := binary.BigEndian.AppendUint32(nil, uint32(16+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(id))
	frame = binary.BigEndian.AppendUint32(frame, 0)
	frame = binary.BigEndian.AppendUint32(frame, w.seq)
	if _, err := w.conn.Write(append(frame, body...)); err != nil {
		w.t.Fatalf("write: %v", err)
	}
	return w.seq
}

func (w *reqWorld) send(body smpp.PDU) uint32 {
	w.t.Helper()
	frame, err := smpp.Append(nil, smpp.StatusOK, 1, body)
	if err != nil {
		w.t.Fatalf("%T: %v", body, err)
	}
	return w.write(body.CommandID(), frame[16:])
}

func (w *reqWorld) read() smpp.Packet {
	w.t.Helper()
	head := make([]byte, 4)
	if _, err := io.ReadFull(w.conn, head); err != nil {
		w.t.Fatalf("read: %v, the session ended with %v", err, w.session.Err())
	}
	frame := append(head, make([]byte, binary.BigEndian.Uint32(head)-4)...)
	if _, err := io.ReadFull(w.conn, frame[4:]); err != nil {
		w.t.Fatalf("read: %v", err)
	}
	p, err := smpp.Decode(frame)
	if err != nil {
		w.t.Fatalf("%x: %v", frame, err)
	}
	return p
}

// ask sends a request and reads its answer.
func (w *reqWorld) ask(body smpp.PDU) smpp.Packet {
	w.t.Helper()
	seq := w.send(body)
	p := w.read()
	if p.Sequence != seq || p.ID != body.CommandID()|smpp.IDGenericNack {
		w.t.Fatalf("%T was answered with %08x %d, want %d", body, uint32(p.ID), p.Sequence, seq)
	}
	return p
}

// quiet fails when an answer waits that nobody has asked for.
func (w *reqWorld) quiet() {
	w.t.Helper()
	w.ask(&smpp.EnquireLink{})
}

// last gives the one acceptance there must be.
func (w *reqWorld) last() message.Acceptance {
	w.t.Helper()
	all := w.store.taken()
	if len(all) != 1 {
		w.t.Fatalf("%d messages were accepted, want 1", len(all))
	}
	return all[0]
}

// reqText is a submit_sm that is taken.
func reqText(change func(*smpp.Message)) *smpp.SubmitSM {
	p := &smpp.SubmitSM{Message: smpp.Message{Source: reqFrom, Dest: reqTo, RegisteredDelivery: 1, ShortMessage: []byte("hello")}}
	if change != nil {
		change(&p.Message)
	}
	return p
}

func reqHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
