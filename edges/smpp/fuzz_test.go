package smpp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/fuzztest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/origin"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// fuzzStreams are what scanners, broken peers and good ones send.
func fuzzStreams(t testing.TB) [][]byte {
	var list [][]byte
	for _, s := range []string{
		"", "00", "0000000f", "ffffffff", "7fffffff 00000015 00000000 00000001", "00000201 00000009 00000000 00000001",
		"00000018 00000003 00000000 00000001 00 00 00 00 00000000", "00000010 00000077 00000000 00000001",
		"00000010 00000015 00000000 00000001 00000010 00000006 00000000 00000002",
		`"GET / HTTP/1.1" 0d0a0d0a`, "16030100c8010000c40303", `"PROXY TCP4 192.0.2.1 192.0.2.2 1 2" 0d0a`,
	} {
		list = append(list, serverOctets(t, s))
	}
	text := reqText(nil)
	part := reqText(func(m *smpp.Message) {
		m.ESMClass, m.ShortMessage = smpp.ESMUDHI, []byte("\x05\x00\x03\x07\x02\x01half")
	})
	for _, p := range []smpp.PDU{
		&smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "acme", Password: serverPassword, InterfaceVersion: smpp.Version34},
		&smpp.Bind{Mode: smpp.ModeReceiver, SystemID: "acme", Password: "guess"}, &smpp.Bind{Mode: smpp.ModeTransmitter, SystemID: "nobody"},
		text, part, &smpp.DataSM{Source: reqFrom, Dest: reqTo, TLVs: smpp.TLVs{{Tag: smpp.TagMessagePayload, Data: bytes.Repeat([]byte("x"), 2000)}}},
		reqMulti(nil, reqTo.Text, "1", "ACME"), &smpp.QuerySM{MessageID: "0190af3c", Source: reqFrom}, &smpp.CancelSM{Source: reqFrom, Dest: reqTo},
		&smpp.ReplaceSM{MessageID: "0190af3c", Source: reqFrom}, &smpp.DeliverSM{Message: text.Message}, &smpp.DeliverSMResp{}, &smpp.GenericNack{},
		&smpp.Outbind{}, &smpp.AlertNotification{}, &smpp.EnquireLink{}, &smpp.Unbind{},
	} {
		b, err := smpp.Append(nil, smpp.StatusOK, 7, p)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b, append(bytes.Clone(b), b...), b[:len(b)-1])
	}
	return list
}

// FuzzConnection gives the whole server whatever a peer can send, from the
// first octet on or after a bind of each kind. Nothing panics, what is answered
// can be read, memory follows what was sent, and the next connection is served.
func FuzzConnection(f *testing.F) {
	for _, b := range fuzzStreams(f) {
		for mode := range byte(4) {
			f.Add(mode, b)
		}
	}
	f.Fuzz(func(t *testing.T, mode byte, stream []byte) {
		if len(stream) > 2*smpp.MaxFrame {
			return
		}
		w := newCrowd(t, "acme")
		pipes := newServerPipes(t)
		w.serve(pipes)
		bind := func(p *serverPeer, mode byte) {
			p.pdu([]string{bindRX, bindTX, bindTRX}[mode] + ` 00000000 00000001 "acme"00 "` + serverPassword + `"00 00 34 00 00 00`)
			if b := p.read(); !bytes.Equal(b[8:12], []byte{0, 0, 0, 0}) {
				t.Fatalf("the bind was answered %x", b)
			}
		}
		connections := 0
		// What a request costs is many times its smallest size; a connection costs
		// its buffers, and the bcrypt of a stranger 5 KB.
		fuzztest.Within(t, 256*len(stream)+512<<10, func() {
			p := pipes.dial("192.0.2.1")
			if mode %= 4; mode != 3 {
				bind(p, mode)
			}
			read := make(chan error, 1)
			go func() { read <- readAll(p) }()
			_, _ = p.Write(stream) // an error: the server has ended the session
			_ = p.Close()
			if err := <-read; err != nil {
				t.Error(err)
			}
			connections++
			w.events.await("connections -1", connections)
		})
		if w.logged.contains("panic") {
			t.Error("a panic was logged")
		}
		// A transmitter: it is sent nothing but answers, whatever receipt the
		// stream's messages are still owed.
		next := pipes.dial("192.0.2.2")
		bind(next, 1)
		next.alive()
		_ = next.Close()
	})
}

// readAll reads answers to the end. What cannot be read is an error, the end
// within a PDU is not: the peer closes while we write.
func readAll(c net.Conn) error {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(c, head); err != nil {
			return nil
		}
		n := binary.BigEndian.Uint32(head)
		if n < smpp.HeaderSize || n > smpp.MaxFrame {
			return errors.New("an answer out of step")
		}
		frame := append(head, make([]byte, n-4)...)
		if _, err := io.ReadFull(c, frame[4:]); err != nil {
			return nil
		}
		if _, err := smpp.Decode(frame); err != nil {
			return err
		}
	}
}

// FuzzDeliverySM makes receipts, notices and inbound messages of whatever can
// stand in a row. What comes out can be written, says of which message it
// speaks, and carries no more than a short message may.
func FuzzDeliverySM(f *testing.F) {
	f.Add("12025550143", "13105550117", "0190af3c", "Your parcel is on its way", byte(0), byte(0), uint32(1))
	f.Add("ACME", "", "", "\x00\x1b\x1b€{}\ufffd stat:UNDELIV id:7", byte(1), byte(1), uint32(0xFFFFFFFF))
	f.Add(strings.Repeat("9", 64), "id:1 stat:X", "id: x", strings.Repeat("💥", 400), byte(2), byte(2), uint32(7))
	f.Add("+1", "1\x002", strings.Repeat("f", 65), strings.Repeat("abc\r\n", 9000), byte(2), byte(3), uint32(0))
	kinds := []message.DeliveryKind{message.DeliverReceipt, message.DeliverNotice, message.DeliverMessage}
	f.Fuzz(func(t *testing.T, from, to, id, body string, kind, how byte, bits uint32) {
		statuses := []message.Status{message.StatusDelivered, message.StatusUndelivered, message.StatusFailed, message.StatusRejected, message.StatusExpired, message.StatusCanceled, message.StatusUnconfirmed, message.StatusAccepted, "odd"}
		d := message.SMPPDelivery{
			Kind: kinds[int(kind)%len(kinds)], Status: statuses[int(bits)%len(statuses)], CreatedAt: time.Unix(int64(bits), 0),
			Message: message.Message{ID: message.ID{15: byte(bits)}, From: message.Address(from), To: message.Address(to), Body: body, CreatedAt: time.Unix(int64(bits), 0), Redacted: bits&8 != 0},
			Origin:  message.SMPPOrigin{AnswerID: id, Source: message.SMPPAddress{TON: how, Text: from}, Dest: message.SMPPAddress{NPI: how, Text: to}, Reference: []byte(id[:min(len(id), 2)])},
		}
		c := &snapshot.SMPPCredential{ReceiptTLVs: how&1 != 0, LongMO: []string{"udh", "sar", "payload", ""}[how%4], Alphabet: []string{"", text.AlphabetGSM7, text.AlphabetLatin1, text.AlphabetASCII}[how/4%4]}
		var pdus []*smpp.DeliverSM
		var err error
		// Each part is a PDU of its own and its text is encoded from runes.
		fuzztest.Within(t, 64*(len(body)+len(from)+len(to)+len(id))+64<<10, func() { pdus, err = deliverySM(&d, c, how&64 != 0) })
		if err != nil {
			return
		}
		for _, m := range pdus {
			frame, err := smpp.Append(nil, smpp.StatusOK, 1, m)
			var field *smpp.FieldError
			if err != nil {
				if !errors.As(err, &field) {
					t.Fatalf("not to be written: %v", err)
				}
				return
			}
			p, err := smpp.Decode(frame)
			if err != nil {
				t.Fatalf("not to be read: %v", err)
			}
			if d.Kind == message.DeliverMessage {
				continue
			}
			words, ok := text.Decode(p.Body.(*smpp.DeliverSM).DataCoding, c.Alphabet, m.ShortMessage)
			if !ok || !utf8.ValidString(words) {
				t.Fatalf("the receipt is %x in data_coding %d", m.ShortMessage, m.DataCoding)
			}
			r, ok := smpp.ReceiptOf(&p.Body.(*smpp.DeliverSM).Message, words)
			if !ok {
				t.Fatalf("no receipt: %q", words)
			}
			if plainID(id) && (r.ID != id || r.State == "" || r.Text == "" && r.Stat == "") {
				t.Fatalf("%q was read as %+v, want the id %q", words, r, id)
			}
		}
	})
}

// plainID reports whether an id is like those that we give.
func plainID(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// FuzzProxyHeader reads whatever a trusted proxy may send before the stream.
// What follows a header is left for the session.
func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{headerV1, headerV16, headerV2, headerV2TLV, headerV26, `"PROXY UNKNOWN" 0d0a`, proxyV2 + "20 00 0000", proxyV2 + "21 11 ffff", proxyV2 + "21 31 00d8" + strings.Repeat("41", 216),
		`"PROXY TCP4 999.1.1.1 1.1.1.1 99999 -1" 0d0a`, `"PROXY TCP6 ::1%eth0 ::1 1 1" 0d0a`, proxyV2 + "21 11 000c c6336407", "00000010"} {
		f.Add(serverOctets(f, s))
	}
	f.Add(append([]byte("PROXY "), bytes.Repeat([]byte{' '}, 5000)...))
	f.Fuzz(func(t *testing.T, header []byte) {
		if len(header) > 2*smpp.MaxFrame {
			return
		}
		stream := append(bytes.Clone(header), "the stream"...)
		var rest []byte
		var peer netip.Addr
		var err error
		fuzztest.Within(t, 16*len(header)+64<<10, func() {
			ours, theirs := net.Pipe()
			near := serverPipeConn{ours, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:1"))}
			written := make(chan struct{})
			go func() {
				defer close(written)
				_, _ = theirs.Write(stream)
				_ = theirs.Close()
			}()
			var c net.Conn
			if c, peer, err = origin.ReadProxyHeader(near, time.Now().Add(time.Minute)); err == nil {
				rest, _ = io.ReadAll(c)
			}
			_ = ours.Close()
			<-written
		})
		switch {
		case err == nil && (!peer.IsValid() || !bytes.HasSuffix(stream, rest)):
			t.Fatalf("peer %v, %q was read as the stream %q", peer, stream, rest)
		case err != nil && !errors.Is(err, origin.ErrProxyHeader):
			t.Fatal(err)
		}
	})
}
