package smpp

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// One customer's bad peer harms nobody else: not those who bind with other
// credentials, not those with its own. What it was sent and has not taken goes
// to its other binds.

// link is a connection of an ESME through toxiproxy, which can cut it without a
// word to either end.
type link struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

func newLink(t testing.TB, upstream string) *link {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // bandwidth logs past the one that it is given
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "link", "127.0.0.1:0", upstream)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return &link{t, p}
}

// poison adds a toxic, as toxiproxy's HTTP interface would.
func (l *link) poison(toxic string) {
	l.t.Helper()
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		l.t.Fatal(err)
	}
}

// smallBuffers accepts connections that hold little in the kernel, so that a
// peer which does not read is felt soon.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}
	return c, err
}

// claimed waits until so many deliveries are claimed and not answered.
func (w *crowd) claimed(n int) {
	j := w.journal.deliveries
	j.await(func() bool {
		held := 0
		for _, r := range j.rows {
			if r.state == message.NotificationPending && !r.claimed.IsZero() {
				held++
			}
		}
		return held == n
	})
}

func answerIDs(rows []*deliverRow) []string {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.Origin.AnswerID
	}
	return ids
}

// floodOver writes submits without a pause and reads no answer, until the
// connection ends. It counts them.
func floodOver(c net.Conn) (frames int) {
	body := reqText(func(m *smpp.Message) { m.ShortMessage, m.RegisteredDelivery = []byte(floodText), 0 })
	var frame []byte
	for {
		var err error
		if frame, err = smpp.Append(frame[:0], smpp.StatusOK, uint32(frames+2), body); err != nil {
			return frames
		}
		if _, err := c.Write(frame); err != nil {
			return frames
		}
		frames++
	}
}

// A peer that submits and submits and reads nothing is read no further once its
// answers pile up, and its session ends by the write deadline.
func TestSlowReaderHarmsNobody(t *testing.T) {
	w := newCrowd(t, "acme", "other")
	w.journal.hurry = true
	w.timers.WriteTimeout = 2 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.serve(smallBuffers{l})
	address := l.Addr().String()
	slow := newLink(t, address)
	cut := serverDial(t, slow.proxy.Listen)
	cut.bind(bindTRX)
	slow.poison(`{"type": "bandwidth", "stream": "downstream", "attributes": {"rate": 0}}`)
	owed := w.owe(deliverReceipts(w.credential("acme"), 30)...)
	w.claimed(10) // its window
	before := memoryInUse()

	steady, other := w.bind(crowdBind{systemID: "acme", address: address}), w.bind(crowdBind{systemID: "other", address: address})
	steady.received(20)
	var frames int
	var sides sync.WaitGroup
	sides.Go(func() { frames = floodOver(cut) })
	sides.Go(func() { other.trade(200) })
	steady.trade(200)
	w.events.await("row out", 1)
	if grown := int64(memoryInUse()) - int64(before); grown > 6<<20 {
		t.Errorf("%d octets more in use", grown)
	}

	// The connection thaws: what was on its way comes, and the end.
	slow.proxy.Toxics.ResetToxics(t.Context())
	if _, err := io.Copy(io.Discard, cut); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("the end: %v", err)
	}
	_ = cut.Close()
	got := steady.received(30 + 200)
	sides.Wait()
	w.journal.deliveries.done()
	for _, id := range answerIDs(owed) {
		if !slices.Contains(got, id) {
			t.Errorf("the receipt of %s did not come by the other bind", id)
		}
	}
	if got := len(w.journal.row()); got != 2 {
		t.Errorf("%d binds are in the registry, want the 2 that work", got)
	}
	// 49 octets an answer: what the kernel and the proxy hold, 256 answers in the
	// session and a window of requests.
	t.Logf("%d submits written, %d taken", frames, w.store.floodTaken())
	if n := w.store.floodTaken(); n > 50_000 {
		t.Errorf("%d submits were taken whose answers nobody reads", n)
	}
}

// A peer behind a link that swallows everything, without FIN or RST, is found
// out by enquire_link.
func TestHalfOpenPeerHarmsNobody(t *testing.T) {
	w := newCrowd(t, "acme", "other")
	w.journal.hurry = true
	w.timers.EnquireLink, w.timers.EnquireTimeout = 500*time.Millisecond, 2*time.Second
	address := w.listen()
	broken := newLink(t, address)
	cut := serverDial(t, broken.proxy.Listen)
	cut.bind(bindTRX)
	broken.poison(`{"type": "timeout", "stream": "downstream", "name": "down"}`)
	broken.poison(`{"type": "timeout", "stream": "upstream", "name": "up"}`)
	owed := w.owe(deliverReceipts(w.credential("acme"), 10)...)
	w.claimed(10)

	steady, other := w.bind(crowdBind{systemID: "acme", address: address}), w.bind(crowdBind{systemID: "other", address: address})
	var sides sync.WaitGroup
	sides.Go(func() { other.trade(200) })
	steady.trade(200)
	sides.Wait()
	w.events.await("row out", 1)
	w.events.await("smpp.unbind known acme 127.0.0.1: no answer to enquire_link", 1)
	got := steady.received(10 + 200)
	w.journal.deliveries.done()
	for _, id := range answerIDs(owed) {
		if !slices.Contains(got, id) {
			t.Errorf("the receipt of %s did not come by the other bind", id)
		}
	}
	steady.trade(20)
	other.trade(20)
	if got := len(w.journal.row()); got != 2 {
		t.Errorf("%d binds are in the registry, want the 2 that work", got)
	}
}

// The timers of the whole server are those of api.md §8: enquire_link after 30 s
// of silence, the end 10 s later.
func TestSilentPeerEndsAfter40Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCrowd(t, "acme")
		pipes := newServerPipes(t)
		w.serve(pipes)
		p := pipes.dial("192.0.2.1")
		p.bind(bindTRX)
		began := time.Now()
		p.want("00000015 00000000 00000001")
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("enquire_link after %v", took)
		}
		p.wantEnd()
		w.events.await("row out", 1)
		if took := time.Since(began); took != 40*time.Second {
			t.Errorf("out of the registry after %v", took)
		}
		w.events.await("smpp.unbind known acme 192.0.2.1: no answer to enquire_link", 1)
	})
}

// A peer that answers enquire_link and no deliver_sm keeps its bind and its
// window full, while others get what they are owed. What it leaves unanswered
// goes again after 30 s, the same, and reaches the one who answers.
func TestMutePeerHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCrowd(t, "acme", "other")
		pipes := newServerPipes(t)
		w.serve(pipes)
		dial := func(address string) func(context.Context, string, string) (net.Conn, error) {
			return func(context.Context, string, string) (net.Conn, error) { return pipes.dial(address), nil }
		}
		mute := w.bind(crowdBind{systemID: "acme", dial: dial("192.0.2.1"), mute: true})
		began := time.Now()
		stuck := w.owe(deliverReceipts(w.credential("acme"), 10)...)
		mute.received(10)
		good, other := w.bind(crowdBind{systemID: "acme", dial: dial("192.0.2.2")}), w.bind(crowdBind{systemID: "other", dial: dial("192.0.2.3")})
		good.trade(50)
		other.trade(50)
		if took := time.Since(began); took > 29*time.Second { // each submit and its receipt: two claims of 20 ms
			t.Errorf("the others waited: %v", took)
		}
		if n := len(mute.received(10)); n != 10 {
			t.Errorf("the mute peer got %d, its window is 10", n)
		}
		w.journal.deliveries.done()
		for _, r := range stuck {
			first := r.tries[0]
			if first.State != message.NotificationPending || first.Error != whySilent || first.Again != 5*time.Second {
				t.Errorf("the first try came to %+v", first)
			}
			id := r.Origin.AnswerID
			texts := slices.Concat(mute.got[id], good.got[id])
			if len(good.got[id]) != 1 || len(texts) != len(r.tries) {
				t.Errorf("%s: %d times to the mute peer and %d to the good one, in %d tries", id, len(mute.got[id]), len(good.got[id]), len(r.tries))
			}
			for _, s := range texts {
				if s != texts[0] {
					t.Errorf("%s went again as %q, first as %q", id, s, texts[0])
				}
			}
		}
		if took := time.Since(began); took < 35*time.Second {
			t.Errorf("all was delivered after %v", took)
		}
		if mute.session.Err() != nil || len(w.journal.row()) != 3 {
			t.Errorf("the mute peer's session: %v", mute.session.Err())
		}
		runtime.KeepAlive(other)
	})
}
