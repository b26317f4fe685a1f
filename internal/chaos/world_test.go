package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestWire shows what the wires do to connections: without that, nothing that the suite
// says of networks means anything.
func TestWire(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() { // ends with the listener; its connections with the wire's
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	w, err := newWire("a>b", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer w.proxy.Stop()
	c := dialWire(t, w)
	if !c.answers(t) {
		t.Fatal("a whole wire does not answer")
	}
	if err := w.Slow(time.Hour, 0); err != nil {
		t.Fatal(err)
	}
	if !c.silent(t) {
		t.Error("a slow wire is fast")
	}
	if err := w.Heal(); err != nil {
		t.Fatal(err)
	}
	if !c.hears(t) || !c.answers(t) {
		t.Error("a wire that was slow lost something when it was healed")
	}
	if err := w.HalfOpen(); err != nil {
		t.Fatal(err)
	}
	if !c.silent(t) {
		t.Error("a half-open wire answers, or says that it does not")
	}
	if err := w.Heal(); err != nil {
		t.Fatal(err)
	}
	if c.answers(t) {
		t.Error("a connection lives on of which octets are missing")
	}
	if c = dialWire(t, w); !c.answers(t) {
		t.Error("a healed wire does not answer")
	}
	for range 2 { // cutting and healing twice is as once
		if err := w.Cut(); err != nil {
			t.Fatal(err)
		}
	}
	if c.answers(t) {
		t.Error("a cut wire holds its connections")
	}
	if _, err := net.Dial("tcp", w.Addr()); err == nil {
		t.Error("a cut wire takes connections")
	}
	for range 2 {
		if err := w.Heal(); err != nil {
			t.Fatal(err)
		}
	}
	if !dialWire(t, w).answers(t) {
		t.Error("a healed wire does not answer")
	}
}

// wireConn says a line and hears it again.
type wireConn struct {
	net.Conn
	lines *bufio.Reader
}

func dialWire(t *testing.T, w *Wire) *wireConn {
	t.Helper()
	conn, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &wireConn{Conn: conn, lines: bufio.NewReader(conn)}
}

// answers is false when the connection is closed.
func (c *wireConn) answers(t *testing.T) bool {
	t.Helper()
	_, err := io.WriteString(c, "hello\n")
	return err == nil && c.hears(t)
}

// hears waits for a line that was said before.
func (c *wireConn) hears(t *testing.T) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.lines.ReadString('\n')
	return err == nil
}

// silent says something, to which nothing must come, neither a line nor an end.
func (c *wireConn) silent(t *testing.T) bool {
	t.Helper()
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return false
	}
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.lines.ReadString('\n')
	return errors.Is(err, os.ErrDeadlineExceeded)
}
