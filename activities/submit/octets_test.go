package submit_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// Octets go out in the parts that were counted, with all that belongs to them.
func TestSubmitOctets(t *testing.T) {
	for _, s := range setups {
		b := s.make(t, 2, message.AtMostOnce)
		b.m.Body, b.m.Encoding, b.m.DataCoding = strings.Repeat("\xff\x00", 100), message.EncodingBinary, 0xF5
		b.m.Header, b.m.TLVs = []byte("\x04\x02\x01\x02"), []message.TLV{{Tag: 0x1403, Value: []byte("v")}}
		b.journal.Put(b.m)
		if r := b.submit(t); r.Outcome != submit.Sent {
			t.Fatalf("%s: %+v", s.name, r)
		}
		texts := make([]string, 2)
		for _, p := range b.vendor.tries {
			texts[p.Part-1] = p.Text
			if p.Encoding != message.EncodingBinary || p.DataCoding != 0xF5 || string(p.Header) != string(b.m.Header) || len(p.TLVs) != 1 || p.Parts != 2 {
				t.Errorf("%s: %+v", s.name, p)
			}
		}
		if len(b.vendor.tries) != 2 || len(texts[0]) != 130 || strings.Join(texts, "") != b.m.Body {
			t.Errorf("%s: %d octets, then %d", s.name, len(texts[0]), len(texts[1]))
		}
	}
}
