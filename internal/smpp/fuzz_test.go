package smpp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/fuzztest"
	"github.com/postrider/postrider/internal/text"
)

// hostile are frames and streams that other implementations stumble over: the
// inputs of gosmpp's fact sheet and lengths that lie.
func hostile(t testing.TB) [][]byte {
	t.Helper()
	var list [][]byte
	for _, s := range []string{
		"", "00", "00000010", "00000010 00000015 00000000", // cut off
		"00000000", "0000000f", "00010001", "00010011", "7fffffff", "80000000", "ffffffff",
		"00000000 00000015 00000000 00000001", "ffffffff 00000015 00000000 00000001",
		"00000018 00000003 00000000 00000001 00 00 00 00 00000000",                   // query_sm with a parameter
		"00000010 80000009 0000000e 00000001", "00000010 80000005 00000000 00000001", // responses without a body
		"00000014 00000015 00000000 00000001 00000000",                            // enquire_link with one
		"00000010 00000777 00000000 00000007 00000010 00000015 00000000 00000008", // an unknown command, then one that is known
		"00000017 80000004 00000000 00000001 616263 61626364",                     // no NUL
		"00000021 00000004 00000000 00000001 00 0000 00 0000 00 40 00 00 00 00 00 00 00 00 00",
		"00000023 00000004 00000000 00000001 00 0000 00 0000 00 40 00 00 00 00 00 00 00 00 02 ff 41",
		"474554202f20485454502f312e310d0a0d0a", "16030100c8010000c40303", "50524f58592054435034203139322e302e322e310d0a",
	} {
		list = append(list, unhex(t, s))
	}
	for _, v := range vectors {
		list = append(list, unhex(t, v.hex))
	}
	for _, body := range samplePDUs() {
		b, err := Append(nil, StatusOK, 1, body)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b, append(bytes.Clone(b), b...))
	}
	return append(list,
		frame(IDSubmitSM, 0, 1, bytes.Repeat([]byte{0}, 60000)),
		frame(IDSubmitSM, 0, 1, append(make([]byte, 16), bytes.Repeat([]byte{0x14, 0, 0, 0}, 16000)...)), // 16,000 empty parameters
		frame(IDSubmitSM, 0, 1, append(make([]byte, 17), 0x04, 0x24, 0xFF, 0xFF)),                        // a parameter longer than the PDU
		frame(IDBindTransceiver, 0, 1, bytes.Repeat([]byte{'a'}, 60000)),
		frame(IDBindTransceiver, 0, 1, bytes.Repeat([]byte{'a'}, 490)),
		frame(IDSubmitMulti, 0, 1, append(make([]byte, 4), 0xFF)),
		frame(IDSubmitMultiResp, 0, 1, bytes.Repeat([]byte{'1', 0}, 30000)))
}

// cut splits a stream as SMPP 3.4 §3.2 says, with no more than the length field.
// Broken: a length outside 16 to limit begins what is left.
func cut(stream []byte, limit int) (frames [][]byte, rest []byte, broken bool) {
	for len(stream) >= 4 {
		n := int(binary.BigEndian.Uint32(stream))
		if n < HeaderSize || n > limit {
			return frames, stream, true
		}
		if n > len(stream) {
			break
		}
		frames = append(frames, stream[:n])
		stream = stream[n:]
	}
	return frames, stream, false
}

// FuzzFraming cuts a stream that comes in pieces of any size. The frames are
// those that the length fields tell; what it allocates is what has arrived, not
// what a length promises.
func FuzzFraming(f *testing.F) {
	for _, b := range hostile(f) {
		f.Add(b, byte(0), uint16(MaxFrameOpen))
		f.Add(b, byte(1), uint16(0))
	}
	f.Fuzz(func(t *testing.T, stream []byte, pieces byte, most uint16) {
		limit := MaxFrame
		if most >= HeaderSize {
			limit = int(most)
		}
		want, rest, broken := cut(stream, limit)
		var got [][]byte
		var err error
		// One frame may have been promised and not come: it was allocated whole.
		fuzztest.Within(t, 8*len(stream)+limit+64<<10, func() {
			var r io.Reader = bytes.NewReader(stream)
			switch pieces % 3 {
			case 1:
				r = iotest.OneByteReader(r)
			case 2:
				r = iotest.HalfReader(r)
			}
			got, err = nil, nil
			fr := newFrameReader(r, time.Minute, func(time.Time) {})
			for err == nil {
				var b []byte
				if b, err = fr.next(limit); err == nil {
					got = append(got, b)
				}
			}
		})
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("frame %d is %x, want %x", i, got[i], want[i])
			}
		}
		var bad *DecodeError
		switch {
		case broken:
			if !errors.As(err, &bad) || !bad.OutOfStep || bad.Header.Length != binary.BigEndian.Uint32(rest) {
				t.Fatalf("a length of %x gave %v", rest[:4], err)
			}
			if bad.Header.Length >= HeaderSize && len(rest) >= HeaderSize && bad.Header.Sequence != binary.BigEndian.Uint32(rest[12:]) {
				t.Fatalf("sequence number %d of %x", bad.Header.Sequence, rest[:16])
			}
		case len(rest) == 0 && err != io.EOF, len(rest) > 0 && err != io.ErrUnexpectedEOF:
			t.Fatalf("the end with %d octets left is %v", len(rest), err)
		}
	})
}

// asked is what a server session owes for a stream: an answer to each request,
// in order. Ends: after these the session may end, and the rest has no answer.
func asked(stream []byte, mode Mode) (owed []uint32, ends bool) {
	for {
		limit := MaxFrame
		if mode == ModeNone {
			limit = MaxFrameOpen
		}
		frames, _, broken := cut(stream, limit)
		if broken && len(frames) == 0 {
			return owed, true
		}
		if len(frames) == 0 {
			return owed, false
		}
		stream = stream[len(frames[0]):]
		p, err := Decode(frames[0])
		switch body := p.Body.(type) {
		case *Outbind, *AlertNotification:
			continue
		case *Unbind:
			return owed, true // its answer waits for the others
		case *Bind:
			if mode == ModeNone && err != nil {
				return append(owed, p.Sequence), true
			}
			if mode == ModeNone {
				mode = body.Mode
			}
		}
		if !isResponse(p.ID) {
			owed = append(owed, p.Sequence)
		}
	}
}

// FuzzServerStream gives a server session whatever a peer can send, in any
// state: before the bind, and bound in each way. Every request that can be
// framed is answered once and in order by its sequence number, and the session
// still answers afterwards, unless the stream has unbound it or is out of step.
func FuzzServerStream(f *testing.F) {
	bindFrame := func(m Mode) []byte {
		b, err := Append(nil, StatusOK, 1, &Bind{Mode: m, SystemID: "acme", InterfaceVersion: Version34})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	modes := []Mode{ModeNone, ModeTransmitter, ModeReceiver, ModeTransceiver}
	for _, b := range hostile(f) {
		for i := range modes {
			f.Add(byte(i), b)
		}
	}
	f.Add(byte(0), append(bindFrame(ModeTransceiver), unhex(f, submitVector)...))
	f.Add(byte(3), append(unhex(f, submitVector), bindFrame(ModeReceiver)...))
	f.Fuzz(func(t *testing.T, state byte, stream []byte) {
		if len(stream) > 2*MaxFrame {
			return
		}
		mode := modes[int(state)%len(modes)]
		if mode != ModeNone {
			stream = append(bindFrame(mode), stream...)
		}
		// The last frame is made whole, and a question follows that has an answer.
		_, rest, broken := cut(stream, MaxFrame)
		if n := len(rest); !broken && n > 0 {
			var head [4]byte
			copy(head[:], rest)
			size := max(int(binary.BigEndian.Uint32(head[:])), 4)
			if size < HeaderSize || size > MaxFrame {
				size = n
			}
			stream = append(bytes.Clone(stream), make([]byte, max(size-n, 4-n, 0))...)
		}
		stream = append(stream, frame(IDEnquireLink, 0, 0x7E57, nil)...)
		owed, ends := asked(stream, ModeNone)

		var got []Packet
		answers := len(owed)
		if ends {
			answers = math.MaxInt
		}
		// A request costs some 400 octets whatever its size, which is 16 at least.
		fuzztest.Within(t, 64*len(stream)+128<<10, func() { got = converse(t, stream, answers) })
		if len(got) < len(owed) {
			t.Fatalf("%d answers, want %d", len(got), len(owed))
		}
		for i, seq := range owed {
			if got[i].Sequence != seq || !isResponse(got[i].ID) {
				t.Fatalf("answer %d is %08x to %d, want one to %d; %x", i, uint32(got[i].ID), got[i].Sequence, seq, stream[:min(200, len(stream))])
			}
		}
		if ends && len(got) == 0 {
			t.Fatal("the session ended without a word")
		}
	})
}

// converse sends a stream to a server session of its own and gives what comes
// back, up to the end or to so many answers.
func converse(t *testing.T, stream []byte, answers int) []Packet {
	near, far := net.Pipe()
	s := NewServerSession(near, ServerConfig{
		Config:   Config{Handler: answerAll, EnquireLink: -1},
		SystemID: "gw", Bind: acceptAll,
	})
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = far.Write(stream) // an error: the session has ended
	}()
	var got []Packet
	fr := newFrameReader(far, 0, func(time.Time) {})
	for len(got) < answers {
		b, err := fr.next(MaxFrame)
		if err != nil {
			break
		}
		p, err := Decode(b)
		if err != nil {
			t.Errorf("our own answer %x: %v", b, err)
		}
		got = append(got, p)
	}
	_ = far.Close()
	<-written
	s.Close()
	s.Wait()
	if err := s.Err(); errors.Is(err, ErrPanic) {
		t.Error("the session panicked")
	}
	return got
}

// FuzzContent reads any short_message, message_payload and sar_* as a text or a
// part of one.
func FuzzContent(f *testing.F) {
	for _, s := range []string{"", "00", "05", "ff", "0500", "050003000000", "05000301020141", "060804000102014142", "060804000102", "0400030102", "050003010203", "0b0504158a000000030102014100"} {
		for _, coding := range []byte{0, 8, 0xF4} {
			f.Add(byte(ESMUDHI), coding, unhex(f, s), []byte(nil), uint32(0))
			f.Add(byte(ESMUDHI), coding, []byte(nil), unhex(f, s), uint32(0))
		}
	}
	f.Add(byte(0), byte(0), []byte("hi"), []byte("both"), uint32(0))
	f.Add(byte(0), byte(8), []byte{0xD8}, []byte(nil), uint32(0x00010201))
	f.Fuzz(func(t *testing.T, esm, coding byte, short, payload []byte, sar uint32) {
		m := Message{ESMClass: esm, DataCoding: coding, ShortMessage: short}
		if payload != nil {
			m.TLVs.Add(TagMessagePayload, payload)
		}
		if sar != 0 {
			m.TLVs.AddUint16(TagSarMsgRefNum, uint16(sar>>16))
			m.TLVs.AddByte(TagSarTotalSegments, byte(sar>>8))
			m.TLVs.AddByte(TagSarSegmentSeqnum, byte(sar))
		}
		fuzztest.Within(t, 32*(len(short)+len(payload))+16<<10, func() {
			c, st := m.Content()
			if c.Parts != 0 && (c.Part < 1 || c.Part > c.Parts || c.Parts > 255) || c.Parts == 0 && c.Part != 0 {
				t.Fatalf("part %d of %d", c.Part, c.Parts)
			}
			if len(c.Octets) > max(len(short), len(payload)) {
				t.Fatalf("%d octets out of %d and %d", len(c.Octets), len(short), len(payload))
			}
			if c.Reference < 0 || c.Reference >= 3<<16 {
				t.Fatalf("reference %x", c.Reference)
			}
			if s, ok := text.Decode(coding, text.AlphabetGSM7, c.Octets); !utf8.ValidString(s) || !ok && s != "" {
				t.Fatalf("status %s, text %q", st, s)
			}
		})
	})
}

// FuzzTime reads any time of a peer, and writes what it has read.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"", "260102150405020-", "000001120000000R", "991231235959948+", "000101000000048+", "999999999999999R", "260229000000000+", "26010215040502-+", "26010215040502 0", strings.Repeat("9", 100)} {
		f.Add(s, int64(1_780_000_000))
	}
	f.Fuzz(func(t *testing.T, s string, now int64) {
		at := time.Unix(now%(1<<33), 0).UTC()
		got, err := ParseTime(s, at)
		var bad *TimeError
		if err != nil {
			if !errors.As(err, &bad) || !got.IsZero() {
				t.Fatalf("%v with %v", got, err)
			}
			return
		}
		if got.IsZero() != (s == "") && !strings.HasSuffix(s, "R") {
			t.Fatalf("%q is %v", s, got)
		}
		if strings.HasSuffix(s, "R") && got.Before(at) {
			t.Fatalf("%q is %v before", s, at.Sub(got))
		}
		if !got.IsZero() && got.Year() >= 2000 && got.Year() <= 2099 {
			if back, err := ParseTime(FormatTime(got), at); err != nil || !back.Equal(got) {
				t.Fatalf("%q was read as %v and written as %q, %v", s, got, FormatTime(got), err)
			}
		}
		if r := FormatRelative(got.Sub(at)); len(r) != sizeTime-1 {
			t.Fatalf("relative %q", r)
		}
	})
}
