package mm4out_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
)

func post(t *testing.T) (*vendortest.MM4Vendor, *mm4out.Post, *snapshot.MM4Peer) {
	t.Helper()
	v, err := vendortest.NewMM4(vendortest.MM4Config{Answer: func(mm4.Header, mm4.Status) {}})
	if err != nil {
		t.Fatal(err)
	}
	p := &mm4out.Post{Own: mm4out.System{Domain: "mms.gw.example"}, Sender: smtpout.New(smtpout.Config{}),
		Store: func(context.Context, message.MediaFile) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("GIF89a")), nil
		}}
	t.Cleanup(func() {
		p.Sender.Close()
		v.Close()
	})
	return v, p, &snapshot.MM4Peer{Name: "acme", Host: "127.0.0.1", Port: v.Port(), Domain: "mms.acme.example"}
}

func forward() mm4out.Forward {
	return mm4out.Forward{From: "+13105550117", To: "+12025550143", Subject: "Hi", Text: "Where is it?", Date: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		Files: []message.MediaFile{{ContentType: "image/gif", Size: 6}}}
}

// Each try of a message is the same mail, and leads back to the message.
func TestPost(t *testing.T) {
	v, p, peer := post(t)
	id := message.NewID()
	for range 2 {
		if err := p.Send(t.Context(), peer, id, 1, forward()); err != nil {
			t.Fatal(err)
		}
	}
	mails := v.Mails()
	if len(mails) != 2 || mails[0].Text != mails[1].Text {
		t.Fatalf("%d mails, or different ones", len(mails))
	}
	h := mails[0].Header
	for _, s := range []string{h.TransactionID, h.MessageID} {
		if got, ok := mm4.MessageOf(s); !ok || got != id {
			t.Errorf("%s leads to %v", s, got)
		}
	}
	if h.AckRequest != mm4.Yes || h.DeliveryReport != mm4.No || h.ReadReply != mm4.No || mails[0].From != "+13105550117/TYPE=PLMN@mms.gw.example" || mails[0].To != "+12025550143/TYPE=PLMN@mms.acme.example" {
		t.Errorf("%+v, from %s to %s", h, mails[0].From, mails[0].To)
	}
	if c := v.Came()[0]; c.Text != "Where is it?" || len(c.Media) != 1 || c.Media[0] != "GIF89a" {
		t.Errorf("%+v", c)
	}
	read := forward()
	read.ReadReport = true
	if err := p.Send(t.Context(), peer, id, 2, read); err != nil || v.Mails()[2].Header.ReadReply != mm4.Yes || v.Mails()[2].Header.TransactionID == h.TransactionID {
		t.Errorf("another place has the same transaction: %v", err)
	}
}

// What may pass is tried again, what is lost as well, and what is refused is not.
func TestPostRefused(t *testing.T) {
	for name, c := range map[string]struct {
		reply vendortest.ReplyKind
		pass  bool
	}{"throttled": {vendortest.Throttle, true}, "not now": {vendortest.Temporary, true}, "lost": {vendortest.Cut, true}, "refused": {vendortest.Permanent, false}} {
		v, p, peer := post(t)
		v.Answer(vendortest.Reply{Kind: c.reply})
		err := p.Send(t.Context(), peer, message.NewID(), 1, forward())
		if err == nil || mm4out.MayPass(err) != c.pass {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.Send(t.Context(), peer, message.NewID(), 1, forward()); err != nil {
			t.Errorf("%s: then: %v", name, err)
		}
	}
	_, p, peer := post(t)
	peer.Host = ""
	var setup *mm4out.SetupError
	if err := p.Send(t.Context(), peer, message.NewID(), 1, forward()); !errors.As(err, &setup) || !mm4out.MayPass(err) {
		t.Errorf("no host: %v", err)
	}
	_, p, peer = post(t)
	f := forward()
	f.Files = make([]message.MediaFile, 30)
	var fault *mm4.Fault
	if err := p.Send(t.Context(), peer, message.NewID(), 1, f); !errors.As(err, &fault) || mm4out.MayPass(err) {
		t.Errorf("too many files: %v", err)
	}
}

// A peer that hangs holds a few messages; another is not held up by it.
func TestHangingPeer(t *testing.T) {
	v, p, peer := post(t)
	_, _, other := post(t)
	other.Name = "other"
	begun := make(chan struct{}, 100)
	open := make(chan struct{})
	p.Store = func(context.Context, message.MediaFile) (io.ReadCloser, error) {
		begun <- struct{}{}
		<-open
		return io.NopCloser(strings.NewReader("GIF89a")), nil
	}
	results := make(chan error, 100)
	for range 30 {
		go func() { results <- p.Send(t.Context(), peer, message.NewID(), 1, forward()) }()
	}
	var busy *mm4out.BusyError
	for range 22 {
		if err := <-results; !errors.As(err, &busy) || !mm4out.MayPass(err) {
			t.Errorf("%v", err)
		}
	}
	for range smtpout.DefaultConnections {
		<-begun
	}
	text := forward()
	text.Files = nil
	if err := p.Send(t.Context(), other, message.NewID(), 1, text); err != nil {
		t.Errorf("another peer: %v", err)
	}
	close(open)
	for range 8 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := len(v.Mails()); n != 8 {
		t.Errorf("%d mails", n)
	}
	if err := p.Send(t.Context(), peer, message.NewID(), 1, text); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
