package ingress_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

func TestAcceptOctets(t *testing.T) {
	ports := []byte("\x05\x04\x0B\x84\x23\xF0")
	for _, c := range []struct {
		name     string
		change   func(*ingress.Request)
		segments int // 0: refused
		reason   message.Reason
	}{
		{"octets", func(r *ingress.Request) { r.Body = "\x00\xff" }, 1, ""},
		{"full", func(r *ingress.Request) { r.Body = strings.Repeat("x", 140) }, 1, ""},
		{"ten parts", func(r *ingress.Request) { r.Body = strings.Repeat("x", 1340) }, 10, ""},
		{"eleven", func(r *ingress.Request) { r.Body = strings.Repeat("x", 1341) }, 0, message.ReasonMessageTooLong},
		{"none", func(r *ingress.Request) { r.Body = "" }, 0, message.ReasonInvalidRequest},
		{"nothing for ports", func(r *ingress.Request) { r.Body, r.Header = "", ports }, 1, ""},
		{"parts for ports", func(r *ingress.Request) { r.Body, r.Header = strings.Repeat("x", 134), ports }, 2, ""},
		{"text for ports", func(r *ingress.Request) { r.Encoding, r.Header, r.DataCoding = "", ports, 0 }, 1, ""},
		{"long text for ports", func(r *ingress.Request) {
			r.Encoding, r.Header, r.DataCoding, r.Body = "", ports, 0, strings.Repeat("x", 153)
		}, 0, message.ReasonMessageTooLong},
	} {
		b := setup(t)
		r := b.request()
		r.Encoding, r.DataCoding, r.TLVs = message.EncodingBinary, 4, []message.TLV{{Tag: 0x1403, Value: []byte("v")}}
		c.change(&r)
		out, err := b.Accept(t.Context(), r)
		if message.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.segments == 0 {
			continue
		}
		m := out.Message
		if m.Segments != c.segments || len(m.Parts) != c.segments || m.Body != r.Body || m.DataCoding != r.DataCoding || string(m.Header) != string(r.Header) || len(m.TLVs) != 1 ||
			(m.Encoding == message.EncodingBinary) != (r.Encoding == message.EncodingBinary) || m.Price.Amount == 0 {
			t.Errorf("%s: %+v", c.name, m)
		}
	}
}

// A missing part leaves the octets that came, as octets.
func TestOctetsMissing(t *testing.T) {
	b := setup(t)
	p := b.part(1, 1, 2, "\x00\xff")
	p.Coding, p.Request.Encoding, p.Request.DataCoding = 4, message.EncodingBinary, 4
	b.take(t, p)
	other := b.part(1, 2, 2, "\x01")
	other.Coding, other.Request.Encoding, other.Request.DataCoding = 2, message.EncodingBinary, 2
	b.take(t, other)
	if m := b.journal.accepted[0].Message; m.Encoding != message.EncodingBinary || m.Status != message.StatusRejected || m.Error.Reason != message.ReasonEncodingMismatch || m.DataCoding != 4 {
		t.Errorf("%+v", m)
	}
}
