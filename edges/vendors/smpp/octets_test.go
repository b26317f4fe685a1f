package smpp

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// Octets, headers and message classes as the vendor reads them from its socket.
func TestSubmitOctets(t *testing.T) {
	const ports = "\x05\x04\x0B\x84\x23\xF0"
	const raw = "\x00\xff\x1b"
	binary := func(s *message.Submission) { s.Encoding, s.Text, s.DataCoding = message.EncodingBinary, raw, 4 }
	for _, tt := range []struct {
		name  string
		long  string
		edit  func(*message.Submission)
		check func(m smpp.Message) bool
	}{
		{"octets", "udh", binary, func(m smpp.Message) bool {
			return m.DataCoding == 4 && m.ESMClass == 0 && string(m.ShortMessage) == raw
		}},
		{"as data_coding says", "udh", func(s *message.Submission) { binary(s); s.DataCoding = 0xF7 }, func(m smpp.Message) bool { return m.DataCoding == 0xF7 }},
		{"for ports", "udh", func(s *message.Submission) { binary(s); s.Header = []byte(ports) }, func(m smpp.Message) bool {
			return m.ESMClass == 0x40 && string(m.ShortMessage) == "\x06"+ports+raw
		}},
		{"for ports, whole by payload", "payload", func(s *message.Submission) { binary(s); s.Header, s.Text = []byte(ports), strings.Repeat(raw, 50) }, func(m smpp.Message) bool {
			v, _ := m.TLVs.Get(smpp.TagMessagePayload)
			return m.ESMClass == 0x40 && string(v) == "\x06"+ports+strings.Repeat(raw, 50)
		}},
		{"text for ports", "sar", func(s *message.Submission) { s.Header = []byte(ports) }, func(m smpp.Message) bool {
			return m.DataCoding == 0 && m.ESMClass == 0x40 && string(m.ShortMessage) == "\x06"+ports+"text"
		}},
		{"flash", "udh", func(s *message.Submission) { s.DataCoding = 0x10 }, func(m smpp.Message) bool { return m.DataCoding == 0x10 && string(m.ShortMessage) == "text" }},
		{"flash in parts", "udh", func(s *message.Submission) { s.DataCoding, s.Part, s.Parts, s.Reference = 0xF0, 1, 2, 7 }, func(m smpp.Message) bool {
			return m.DataCoding == 0xF0 && string(m.ShortMessage) == "\x05\x00\x03\x07\x02\x01text"
		}},
		{"flash in UCS-2", "udh", func(s *message.Submission) { s.DataCoding, s.Encoding, s.Text = 0x18, message.EncodingUCS2, "\u041f" }, func(m smpp.Message) bool {
			return m.DataCoding == 0x18 && string(m.ShortMessage) == "\x04\x1f"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.LongMessage = tt.long })
			st.ready()
			s := part("text")
			tt.edit(&s)
			if _, no := st.submitPart(context.Background(), s); no != nil {
				t.Fatal(no)
			}
			if m := st.smsc.Submits()[0].PDU.Message; !tt.check(m) {
				t.Errorf("wrote %+v", m)
			}
		})
	}
}

// A long binary message arrives to the octet, each part with the ports.
func TestSubmitOctetsInParts(t *testing.T) {
	header := []byte("\x05\x04\x0B\x84\x23\xF0")
	octets := make([]byte, 1000)
	for i := range octets {
		octets[i] = byte(i * 7)
	}
	parts, err := text.SplitOctets(string(octets), 0xF4, header, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, long := range []string{"udh", "sar", "payload"} {
		st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.LongMessage = long })
		st.ready()
		for i, p := range parts {
			s := part(p)
			s.Encoding, s.DataCoding, s.Header, s.Part, s.Parts, s.Reference = message.EncodingBinary, 0xF4, header, i+1, len(parts), 0x1234
			if _, no := st.submitPart(context.Background(), s); no != nil {
				t.Fatal(no)
			}
		}
		var joined []byte
		for i, s := range st.smsc.Submits() {
			c, status := s.PDU.Content()
			if status != smpp.StatusOK || c.Part != i+1 || c.Parts != len(parts) || !bytes.Equal(c.Header, header) || s.PDU.DataCoding != 0xF4 || len(s.PDU.ShortMessage) > text.SingleOctets {
				t.Errorf("%s: %s %+v", long, status, s.PDU)
			}
			joined = append(joined, c.Octets...)
		}
		if !bytes.Equal(joined, octets) {
			t.Errorf("%s: the octets have changed", long)
		}
	}
}

// A vendor is given the parameters of its own list, in the order in which they came,
// and nothing of them is logged.
func TestPassedParameters(t *testing.T) {
	st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.PassTLVs = []uint16{0x1403, 0x0381} })
	st.ready()
	s := part("text")
	s.TLVs = []message.TLV{{Tag: 0x1403, Value: []byte("one")}, {Tag: 0x1404, Value: []byte("of another vendor")}, {Tag: 0x0381, Value: []byte("3105550117")}, {Tag: 0x1403, Value: nil}}
	if _, no := st.submitPart(context.Background(), s); no != nil {
		t.Fatal(no)
	}
	got := st.smsc.Submits()[0].PDU.TLVs
	want := smpp.TLVs{{Tag: 0x1403, Data: []byte("one")}, {Tag: 0x0381, Data: []byte("3105550117")}, {Tag: 0x1403}}
	if !slices.EqualFunc(got, want, func(a, b smpp.TLV) bool { return a.Tag == b.Tag && bytes.Equal(a.Data, b.Data) }) {
		t.Errorf("wrote %+v", got)
	}
	if log := strings.Join(st.log.Lines(), "\n"); strings.Contains(log, "5550117") {
		t.Error("a parameter is logged")
	}
}
