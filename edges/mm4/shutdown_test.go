package mm4

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// TestHangUpBehindTheDot: a peer that does not wait for the reply has its mail
// committed, once.
func TestHangUpBehindTheDot(t *testing.T) {
	w := setup(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	w.desk.accept = func(ctx context.Context, _ *Mail) (string, error) {
		close(entered)
		<-leave
		done <- ctx.Err()
		return "id", nil
	}
	w.listen()
	c := w.dial("127.0.0.1")
	c.send(begun + usual + ".\r\n")
	<-entered
	_ = c.Conn.(*net.TCPConn).SetLinger(0) // RST: the worst way to go
	_ = c.Close()
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("the commit's context: %v", err)
	}
	w.closed()
	if got := w.desk.got(); len(got) != 1 {
		t.Fatalf("%d mails", len(got))
	}
	if len(w.told) != 1 || w.told[0] != "acme MM4_forward.REQ 250" {
		t.Errorf("told %q", w.told)
	}
}

func TestDeskPanics(t *testing.T) {
	w := setup(t)
	sick := true
	w.desk.accept = func(context.Context, *Mail) (string, error) {
		if sick {
			panic("the desk")
		}
		return "id", nil
	}
	w.listen()
	c := w.dial("127.0.0.1")
	other := w.dial("127.0.0.1")
	other.dialogue(hello)
	c.dialogue(hello + envelope + "> DATA\n< 354\nmail\n< 451 4.3.0")
	sick = false
	c.dialogue(envelope + "> DATA\n< 354\nmail\n< 250 2.0.0 id")
	other.dialogue(envelope + "> DATA\n< 354\nmail\n< 250 2.0.0 id")
}

// atDesk makes a server whose Desk holds a mail until told; a mail is there when it
// returns.
func atDesk(t *testing.T) (w *world, c *client, leave chan struct{}) {
	w = setup(t)
	entered := make(chan struct{})
	leave = make(chan struct{})
	w.desk.accept = func(ctx context.Context, _ *Mail) (string, error) {
		close(entered)
		<-leave
		return "id", ctx.Err()
	}
	w.listen()
	c = w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354\nmail")
	<-entered
	return w, c, leave
}

func (w *world) shut(ctx context.Context) chan error {
	down := make(chan error, 1)
	go func() { down <- w.Shutdown(ctx) }()
	return down
}

// TestShutdownDuringCommit waits for it, and the peer hears of it.
func TestShutdownDuringCommit(t *testing.T) {
	w, c, leave := atDesk(t)
	idle := w.dial("127.0.0.1")
	idle.dialogue(hello)
	down := w.shut(context.Background())
	idle.dialogue("< 421 4.3.2\nend")
	if got := w.Sessions(); len(got) == 0 || got[0].State != StateCommit {
		t.Errorf("sessions %+v", got)
	}
	close(leave)
	c.dialogue("< 250 2.0.0 id\n< 421 4.3.2\nend")
	if err := <-down; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", w.addr); err == nil {
		t.Error("the port is still open")
	}
	if err := w.Shutdown(context.Background()); err != nil {
		t.Error("again:", err)
	}
}

// TestShutdownDuringData lets the mail finish.
func TestShutdownDuringData(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	idle := w.dial("127.0.0.1")
	idle.dialogue(hello + envelope) // an envelope alone is nothing yet
	c.send(usual[:500])
	down := w.shut(context.Background())
	idle.dialogue("< 421 4.3.2\nend")
	c.send(usual[500:] + ".\r\n")
	c.dialogue("< 250 2.0.0 id-1\n< 421 4.3.2\nend")
	if err := <-down; err != nil {
		t.Error(err)
	}
	checkUsual(t, w.desk.got()[0])
}

// TestShutdownEndsInTime: a mail that does not end is cut off, and not taken.
func TestShutdownEndsInTime(t *testing.T) {
	w := setup(t).listen()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	c.send(usual)
	ctx, cancel := context.WithCancel(context.Background())
	down := w.shut(ctx)
	cancel()
	if err := <-down; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := io.ReadAll(c.r); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		var reset *net.OpError
		if !errors.As(err, &reset) {
			t.Error(err)
		}
	}
	if len(w.desk.got()) > 0 {
		t.Error("the desk has half a mail")
	}
}

// TestShutdownCutsNoCommit: at its end connections are closed, but what the Desk has
// begun is waited for, and its context goes on.
func TestShutdownCutsNoCommit(t *testing.T) {
	w, _, leave := atDesk(t)
	ctx, cancel := context.WithCancel(context.Background())
	down := w.shut(ctx)
	cancel()
	<-w.life.Done()
	close(leave)
	if err := <-down; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.closed()
	if len(w.told) != 1 || w.told[0] != "acme MM4_forward.REQ 250" {
		t.Errorf("told %q", w.told)
	}
}

// TestServeEndsWithItsContext, in order.
func TestServeEndsWithItsContext(t *testing.T) {
	w := setup(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx, l) }()
	c := w.dial("127.0.0.1")
	c.dialogue(hello + envelope + "> DATA\n< 354")
	cancel()
	c.dialogue("mail\n< 250 2.0.0 id-1\n< 421 4.3.2\nend")
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := w.Serve(context.Background(), l); err != nil {
		t.Error("serving after the end:", err)
	}
}

func TestServeNeedsItsParts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Server{}).Serve(context.Background(), l); err == nil {
		t.Error("it serves without a desk")
	}
	if err := setup(t).ListenAndServe(context.Background(), "127.0.0.1:none"); err == nil {
		t.Error("it listens nowhere")
	}
}

func TestKick(t *testing.T) {
	w := setup(t).listen()
	idle, busy := w.dial("127.0.0.1"), w.dial("127.0.0.1")
	idle.dialogue(hello)
	busy.dialogue(hello + envelope + "> DATA\n< 354")
	busy.send(usual)
	sessions := w.Sessions()
	if len(sessions) != 2 || sessions[1].State != StateData || sessions[0].State != StateIdle || sessions[0].Address.String() != "127.0.0.1" {
		t.Fatalf("sessions %+v", sessions)
	}
	if w.Kick(sessions[1].ID + 7) {
		t.Error("nobody was ended")
	}
	for _, s := range sessions {
		if !w.Kick(s.ID) {
			t.Errorf("%+v was not there", s)
		}
	}
	idle.dialogue("< 421 4.3.2\nend")
	_, _ = io.ReadAll(busy.r)
	_, _ = idle.Close(), busy.Close()
	w.closed()
	if len(w.desk.got()) > 0 || len(w.Sessions()) > 0 {
		t.Error("something is left")
	}
}

// TestKickDuringCommit: the mail that the Desk has is answered first.
func TestKickDuringCommit(t *testing.T) {
	w, c, leave := atDesk(t)
	w.Kick(w.Sessions()[0].ID)
	close(leave)
	c.dialogue("< 250 2.0.0 id\n< 421 4.3.2\nend")
}
