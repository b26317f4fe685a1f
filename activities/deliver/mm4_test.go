package deliver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/snapshot"
)

// peers takes messages.
type peers struct {
	to   []string
	ids  []message.ID
	sent []mm4out.Forward
	says error
}

func (p *peers) Send(_ context.Context, to *snapshot.MM4Peer, id message.ID, _ int, f mm4out.Forward) error {
	p.to, p.ids, p.sent = append(p.to, to.Name), append(p.ids, id), append(p.sent, f)
	return p.says
}

var mmsc = message.Place{Method: message.InboundMM4}

// withPeer is a message for an account with a peer, planned.
func withPeer(t *testing.T) (*bundle, *peers, Input) {
	t.Helper()
	b, p := setup(t), &peers{}
	b.config.MM4Peers = map[message.ID]*snapshot.MM4Peer{{1}: {Name: "acme", AccountID: b.account, Enabled: true, Host: "mms.acme.example", MOLifetime: 48 * time.Hour}}
	b.Peers = p
	b.goes("+12025550143", mmsc)
	if b.planned(t); b.plan[0].State != message.InboundPending {
		t.Fatalf("%+v", b.plan[0])
	}
	b.plan[0].CreatedAt = b.clock
	return b, p, Input{MessageID: b.message.ID, Position: 1}
}

func waitOf(t *testing.T, err error) time.Duration {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		t.Fatalf("the error is %v, want one that asks for another try", err)
	}
	return app.NextRetryDelay()
}

// It is tried after 1, 5 and 15 min and then each hour, with the same ids, for as long as
// the peer's row says.
func TestSendMM4(t *testing.T) {
	b, p, in := withPeer(t)
	p.says = &mm4out.SetupError{Err: errors.New("away")}
	for i, gap := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour} {
		got := waitOf(t, b.SendMM4(t.Context(), in))
		if got < gap*8/10 || got > gap*12/10 || b.plan[0].State != message.InboundPending || b.plan[0].Attempts != i+1 || b.plan[0].LastError == "" {
			t.Errorf("after try %d: %s, %+v", i+1, got, b.plan[0])
		}
	}
	p.says = nil
	if err := b.SendMM4(t.Context(), in); err != nil || b.plan[0].State != message.InboundDelivered {
		t.Errorf("%v, %+v", err, b.plan[0])
	}
	for i, f := range p.sent {
		if p.ids[i] != b.message.ID || p.to[i] != "acme" || f.Text != "Where is it?" || f.From != "+13105550117" || f.To != "+12025550143" || !f.Date.Equal(b.message.ReceivedAt) {
			t.Errorf("%d: %+v", i, f)
		}
	}
	if err := b.SendMM4(t.Context(), in); err != nil || len(p.sent) != 6 {
		t.Errorf("it is sent again: %v", err)
	}
	b, p, in = withPeer(t)
	p.says, b.clock = &mm4out.SetupError{Err: errors.New("away")}, b.clock.Add(48*time.Hour)
	if err := b.SendMM4(t.Context(), in); err != nil || b.plan[0].State != message.InboundFailed {
		t.Errorf("too late: %v, %+v", err, b.plan[0])
	}
	if err := b.GiveUpMM4(t.Context(), in); err != nil {
		t.Error(err)
	}
}

func TestSendMM4Fails(t *testing.T) {
	b, p, in := withPeer(t)
	p.says = &mm4.Fault{Status: mm4.StatusContent, Detail: "too many parts"}
	if err := b.SendMM4(t.Context(), in); err != nil || b.plan[0].State != message.InboundFailed || b.plan[0].LastError == "" {
		t.Errorf("refused: %v, %+v", err, b.plan[0])
	}
	b, p, in = withPeer(t)
	p.says = &mm4out.BusyError{Peer: "acme"}
	if got := waitOf(t, b.SendMM4(t.Context(), in)); got > time.Minute || b.plan[0].Attempts != 0 {
		t.Errorf("busy: again in %s, %+v", got, b.plan[0])
	}
	b, _, in = withPeer(t)
	b.config.MM4Peers = nil // it was switched off since
	if waitOf(t, b.SendMM4(t.Context(), in)); b.plan[0].State != message.InboundPending {
		t.Errorf("%+v", b.plan[0])
	}
	b, _, in = withPeer(t)
	b.Peers = nil
	if waitOf(t, b.SendMM4(t.Context(), in)); b.plan[0].State != message.InboundPending {
		t.Errorf("%+v", b.plan[0])
	}
	b = setup(t)
	b.goes("+12025550143", mmsc)
	if p := b.planned(t); p[0].State != message.InboundFailed || !strings.Contains(p[0].LastError, "MM4 peer") {
		t.Errorf("without a peer: %+v", p)
	}
}

// What is said of what cannot be carried, and the files that can.
func TestForwardOf(t *testing.T) {
	b, _, _ := withPeer(t)
	m := b.message
	m.Subject, m.Complete, m.Group = "Lunch", false, []message.Address{"+13105550117", m.To}
	m.Media = make([]message.InboundMedia, 2)
	m.Files = []message.Media{{Position: 1, File: message.MediaFile{ID: message.NewID(), ContentType: "image/gif"}}, {Position: 2, Source: "https://x.example/y"}}
	f := forwardOf(m)
	if len(f.With) != 1 || f.With[0] != "+13105550117" || len(f.Files) != 1 || f.Subject != "Lunch" || !strings.Contains(f.Text, "1 of its files") || !strings.Contains(f.Text, "never came") {
		t.Errorf("%+v", f)
	}
	if f.ReadReport || f.DeliveryReport {
		t.Error("reports are asked for that nobody wants")
	}
	if m.ReadReport = true; !forwardOf(m).ReadReport {
		t.Error("a read report that somebody wants is not asked for")
	}
	m.Encoding = message.EncodingBinary
	if f := forwardOf(m); !strings.HasPrefix(f.Text, "(This message is no text") {
		t.Errorf("%q", f.Text)
	}
}

func TestMM4Tester(t *testing.T) {
	b, p, _ := withPeer(t)
	tester := &Tester{Snapshot: func() *snapshot.Snapshot { return b.config }, Peers: p, Now: time.Now}
	if got := tester.Test(t.Context(), b.account, "+12025550143"); len(got) != 1 || !got[0].OK || got[0].Method != message.InboundMM4 || p.sent[0].To != "+12025550143" {
		t.Errorf("%+v", got)
	}
	p.says = errors.New("550")
	if got := tester.Test(t.Context(), b.account, "+12025550143"); got[0].OK || got[0].Detail != "550" {
		t.Errorf("%+v", got)
	}
	tester.Peers = nil
	if got := tester.Test(t.Context(), b.account, "+12025550143"); got[0].OK || got[0].Detail == "" {
		t.Errorf("%+v", got)
	}
	b.config.MM4Peers = nil
	if got := tester.Test(t.Context(), b.account, "+12025550143"); got[0].OK || !strings.Contains(got[0].Detail, "MM4 peer") {
		t.Errorf("%+v", got)
	}
}
