package e2e

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// mailbox is a relay that takes all mails.
type mailbox struct {
	l     net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	mails []string
}

func startMailbox(tb testing.TB) *mailbox {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	b := &mailbox{l: l}
	b.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.serve(c) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		b.wg.Wait()
	})
	return b
}

func (b *mailbox) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	fmt.Fprint(c, "220 box\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.ToUpper(verb) {
		case "DATA":
			fmt.Fprint(c, "354 go on\r\n")
			var data strings.Builder
			for line, err = in.ReadString('\n'); err == nil && line != ".\r\n"; line, err = in.ReadString('\n') {
				data.WriteString(strings.TrimPrefix(line, "."))
			}
			if err != nil {
				return
			}
			b.mu.Lock()
			b.mails = append(b.mails, data.String())
			b.mu.Unlock()
			fmt.Fprint(c, "250 taken\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 box\r\n")
		}
	}
}

// all are the mails that came.
func (b *mailbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mails)
}

// shop is a consumer of a number's own webhook that does not answer before it is told
// to.
type shop struct {
	*hooks
	server *httptest.Server
	came   chan struct{} // one for each request that waits
	open   chan struct{} // closed: it answers

	mu      sync.Mutex
	methods map[string]int
}

func openShop(tb testing.TB) *shop {
	s := &shop{hooks: startHooks(tb), came: make(chan struct{}, 100), open: make(chan struct{}), methods: map[string]int{}}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.methods[r.Method]++
		s.mu.Unlock()
		s.came <- struct{}{}
		select {
		case <-s.open:
		case <-r.Context().Done():
			return
		}
		s.ServeHTTP(w, r)
	}))
	tb.Cleanup(s.server.Close)
	return s
}

// pbx is an ESME that keeps the texts of what comes to it.
type pbx struct {
	mu    sync.Mutex
	texts map[string]string // part numbers as they came to their octets
}

func (p *pbx) handle(r *smpp.Request) {
	m, ok := r.Body.(*smpp.DeliverSM)
	if !ok {
		_ = r.Respond(smpp.StatusInvCmdID, nil)
		return
	}
	c, _ := m.Content()
	p.mu.Lock()
	p.texts[fmt.Sprintf("%d/%d of %d", c.Part, c.Parts, c.Reference)] = string(c.Octets)
	p.mu.Unlock()
	_ = r.Respond(smpp.StatusOK, nil)
}

// text is what came, in the order of its parts.
func (p *pbx) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for k := range p.texts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(p.texts[k])
	}
	return b.String()
}

// TestInboundSurvivesDeath: a gateway is killed while a text waits for its last parts,
// again when the vendor has the answer to the last, and again while a customer is being
// told. The text is one message, and comes whole to the number's webhook, to an ESME, to
// a mailbox and to the store.
func TestInboundSurvivesDeath(t *testing.T) {
	t.Parallel()
	s, box, shop, ctx := start(t), startMailbox(t), openShop(t), stacktest.Context(t)
	smsc, err := vendortest.Listen("", vendortest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(smsc.Close)
	own := secret.NewWebhookSecret().Reveal()
	shop.trust(own)
	row := snapshot.Vendor{ID: message.NewID(), Name: "handsets", Username: "postrider", Password: "test", Active: true}
	row.Host, row.Port = hostPort(t, smsc.Addr())
	place := func(p message.Place) message.Destination { return message.Destination{Place: p, Active: true} }
	_, err = s.db.SetInboundRoutes(ctx, actor, message.DestinationSet{AccountID: s.account, Number: ours, List: []message.Destination{
		place(message.Place{Method: message.InboundWebhook, URL: shop.server.URL, HTTPMethod: http.MethodPut}),
		place(message.Place{Method: message.InboundSMPP, SystemID: esmeID}),
		place(message.Place{Method: message.InboundEmail, Email: "inbox@shop.example"}),
		place(message.Place{Method: message.InboundStorage}),
	}}, "", func() string { return own })
	if err := cmp.Or(err, s.db.CreateVendor(ctx, actor, row)); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "EMAIL_RELAY="+box.l.Addr().String())
	restart := func() {
		t.Helper()
		if err := s.gateway.Kill(); err != nil {
			t.Fatal(err)
		}
		s.startGateway()
	}
	pdus, want := lettersOf(t, 7), letter(7)
	for _, i := range []int{3, 0, 6, 1} {
		deliverUntilTaken(ctx, t, smsc, pdus[i])
	}
	restart() // it knows the relay from now on
	for _, i := range []int{0, 5, 2, 7, 5, 4} {
		deliverUntilTaken(ctx, t, smsc, pdus[i])
	}
	restart() // the last part was answered a moment ago
	<-shop.came
	restart() // the customer has the event, and has not answered
	deliverUntilTaken(ctx, t, smsc, pdus[4])
	close(shop.open)

	p := &pbx{texts: map[string]string{}}
	session, err := smpp.Dial(ctx, smpp.DialConfig{Config: smpp.Config{Handler: smpp.HandlerFunc(p.handle), Window: 50, Inbound: 50},
		Address: fmt.Sprintf("127.0.0.1:%d", s.smppPort), Bind: smpp.Bind{Mode: smpp.ModeReceiver, SystemID: esmeID, Password: esmePassword, InterfaceVersion: smpp.Version34}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	s.until("the ESME has the text", func() bool { return p.text() == want })
	s.until("the mail has come", func() bool { return len(box.all()) > 0 })
	s.until("all is recorded", func() bool {
		return s.number("select count(*) from inbound_outcomes where state in ('delivered', 'stored')") == 4 &&
			s.number("select count(*) from messages where direction = 'inbound' and status = 'delivered'") == 1
	})
	wantInbound(ctx, t, s, shop, box, want)
}

// wantInbound checks what the shop, the mailbox and the store have of the one text that
// came.
func wantInbound(ctx context.Context, t *testing.T, s *system, shop *shop, box *mailbox, want string) {
	t.Helper()
	list, err := s.db.ReceivedMessages(ctx, s.account, message.ReceivedFilter{To: ours}, message.ID{}, 10)
	if err != nil || len(list) != 1 || list[0].Body != want || !list[0].Complete || list[0].Segments != 8 {
		t.Fatalf("in the store: %+v, %v", list, err)
	}
	id := list[0].ID.String()
	var event struct {
		Data struct {
			MessageID string `json:"message_id"`
			Body      string
		}
	}
	shop.hooks.mu.Lock()
	err = json.Unmarshal([]byte(shop.ids[id]), &event)
	events, bad, forged := len(shop.ids), shop.bad, shop.forged
	shop.hooks.mu.Unlock()
	if err != nil || event.Data.Body != want || event.Data.MessageID != id || events != 1 || bad+forged != 0 {
		t.Errorf("the webhook had %d events, %d badly signed, %d changed: %+v, %v", events, bad, forged, event, err)
	}
	shop.mu.Lock()
	if shop.methods[http.MethodPut] == 0 || len(shop.methods) != 1 {
		t.Errorf("methods %v", shop.methods)
	}
	shop.mu.Unlock()
	for _, raw := range box.all() { // a mail may come twice, and can be known then
		m, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil || !strings.Contains(string(body), want) || !strings.HasPrefix(m.Header.Get("Message-Id"), "<"+message.Hex32(list[0].ID)+"@") {
			t.Errorf("mail %v: %v", m.Header, err)
		}
	}
	// A process that dies between the start of the workflow and the note of it leaves the start
	// owed: it is made again a while later, and finds the workflow there.
	s.until("no start is owed", func() bool { return s.number("select count(*) from inbound_starts") == 0 })
}
