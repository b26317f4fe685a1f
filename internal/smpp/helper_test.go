package smpp

import (
	"context"
	"net"
	"testing"
	"time"
	"unicode"
)

// rangeASCII are the printable characters that a C-string may hold.
var rangeASCII = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7E, Stride: 1}}, LatinOffset: 1}

// peer is the other end of a session, scripted octet by octet.
type peer struct {
	t  testing.TB
	c  net.Conn
	fr *frameReader
}

func newPeer(t testing.TB, c net.Conn) *peer {
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t: t, c: c, fr: newFrameReader(c, 0, func(time.Time) {})}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.c.Write(b); err != nil {
		p.t.Fatalf("peer write: %v", err)
	}
}

func (p *peer) send(st Status, seq uint32, body PDU) {
	p.t.Helper()
	b, err := Append(nil, st, seq, body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(b)
}

// read gives the next PDU; it fails the test at the end of the stream.
func (p *peer) read() Packet {
	p.t.Helper()
	f, err := p.fr.next(MaxFrame)
	if err != nil {
		p.t.Fatalf("peer read: %v", err)
	}
	pk, err := Decode(f)
	if err != nil {
		p.t.Fatalf("peer decode: %v", err)
	}
	return pk
}

func (p *peer) want(id CommandID, st Status, seq uint32) Packet {
	p.t.Helper()
	pk := p.read()
	if pk.ID != id || pk.Status != st || pk.Sequence != seq {
		p.t.Fatalf("peer got %08x %v %d, want %08x %v %d", uint32(pk.ID), pk.Status, pk.Sequence, uint32(id), st, seq)
	}
	return pk
}

// wantEOF reads to the end and fails on another PDU.
func (p *peer) wantEOF() {
	p.t.Helper()
	if f, err := p.fr.next(MaxFrame); err == nil {
		p.t.Fatalf("peer got %x, want the end", f)
	}
}

func (p *peer) bind(m Mode) {
	p.t.Helper()
	p.send(StatusOK, 1, &Bind{Mode: m, SystemID: "acme", Password: "pw", InterfaceVersion: Version34})
	p.want((&BindResp{Mode: m}).CommandID(), StatusOK, 1)
}

// tcpPair gives both ends of a loopback connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ch := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			close(ch)
			return
		}
		ch <- c
	}()
	a, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, ok := <-ch
	if !ok {
		t.Fatal("no connection")
	}
	return a, b
}

func acceptAll(context.Context, *Session, *Bind) Decision { return Decision{} }

// answerAll answers each submit_sm with its own text as message id.
var answerAll = HandlerFunc(func(r *Request) {
	var body PDU
	if m, ok := r.Body.(*SubmitSM); ok {
		body = &SubmitSMResp{MessageID: string(m.ShortMessage)}
	}
	_ = r.Respond(StatusOK, body)
})

// serve runs a server session on conn that ends with the test.
func serve(t testing.TB, conn net.Conn, cfg ServerConfig) *Session {
	t.Helper()
	if cfg.Bind == nil {
		cfg.Bind = acceptAll
	}
	if cfg.SystemID == "" {
		cfg.SystemID = "gw"
	}
	s := NewServerSession(conn, cfg)
	t.Cleanup(func() { s.Close(); s.Wait() })
	return s
}

// esme binds a client session over conn that ends with the test; the peer
// answers the bind.
func esme(t testing.TB, cfg DialConfig) (*Session, *peer) {
	t.Helper()
	return esmeOver(t, cfg, tcpPair)
}

func esmeOver(t testing.TB, cfg DialConfig, pair func(testing.TB) (net.Conn, net.Conn)) (*Session, *peer) {
	t.Helper()
	a, b := pair(t)
	p := newPeer(t, b)
	cfg.Bind.SystemID = "acme"
	if cfg.Bind.Mode == ModeNone {
		cfg.Bind.Mode = ModeTransceiver
	}
	cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return a, nil }
	type result struct {
		s   *Session
		err error
	}
	ch := make(chan result, 1)
	go func() {
		s, err := Dial(context.Background(), cfg)
		ch <- result{s, err}
	}()
	p.want(cfg.Bind.CommandID(), StatusOK, 1)
	p.send(StatusOK, 1, &BindResp{Mode: cfg.Bind.Mode, SystemID: "smsc", TLVs: TLVs{{Tag: TagSCInterfaceVersion, Data: []byte{Version34}}}})
	r := <-ch
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.s.Close(); r.s.Wait() })
	return r.s, p
}

func pipePair(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }

func textSM(s string) *SubmitSM {
	return &SubmitSM{Message{Dest: Address{1, 1, "15551230002"}, ShortMessage: []byte(s)}}
}
