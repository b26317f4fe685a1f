package ingress

import (
	"context"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/text"
)

// gap stands in a text where parts never came. Every alphabet has its characters.
const gap = "(...)"

// inboundBatch is how many sets one sweep ends.
const inboundBatch = 1024

// partsWait is how long the parts of an inbound message are waited for.
func (in *Ingress) partsWait() time.Duration {
	if in.PartsWait > 0 {
		return in.PartsWait
	}
	return message.InboundWait
}

// joinInbound makes one message of a set. It is called within the journal's transaction, so
// that the message and what its keyword does are committed with the part that was the
// last of it.
func (in *Ingress) joinInbound(set message.InboundSet) message.Arrival {
	return in.whole(joined(set), set.Parts[0].Parts, set.Missing())
}

// joined puts the parts of a message together: the octets first, since a character may
// lie across two parts, and then the text of them. A part whose octets are in another
// alphabet than those before it begins anew, and so does one before which some are
// missing. If one of them is no text, all of it is octets.
func joined(set message.InboundSet) message.InboundMessage {
	m := set.Parts[0]
	m.Part, m.Parts, m.Reference, m.VendorRef, m.Raw = 0, 0, 0, "", nil
	var b strings.Builder
	var octets []byte
	readable, next := true, 1
	for run := range runs(set.Parts) {
		if run[0].Part > next {
			b.WriteString(gap)
		}
		next = run[len(run)-1].Part + 1
		s, ok := read(run)
		b.WriteString(s)
		readable = readable && ok
	}
	if next <= set.Parts[0].Parts {
		b.WriteString(gap)
	}
	for _, p := range set.Parts {
		octets = append(octets, p.Raw...)
		if p.ReceivedAt.After(m.ReceivedAt) {
			m.ReceivedAt = p.ReceivedAt
		}
	}
	if m.Text, m.Encoding = b.String(), message.EncodingUCS2; text.IsGSM7(m.Text) {
		m.Encoding = message.EncodingGSM7
	}
	if !readable {
		m.Text, m.Raw, m.Encoding = "", octets, message.EncodingBinary
	}
	return m
}

// runs gives the parts, sorted by their numbers, in runs whose octets belong together.
func runs(parts []message.InboundMessage) func(yield func([]message.InboundMessage) bool) {
	return func(yield func([]message.InboundMessage) bool) {
		for len(parts) > 0 {
			n := 1
			for n < len(parts) && parts[n].Part == parts[n-1].Part+1 && parts[n].DataCoding == parts[0].DataCoding &&
				parts[n].Alphabet == parts[0].Alphabet && (parts[n].Raw == nil) == (parts[0].Raw == nil) {
				n++
			}
			if !yield(parts[:n]) {
				return
			}
			parts = parts[n:]
		}
	}
}

// read is the text of a run; false: it has none.
func read(run []message.InboundMessage) (string, bool) {
	if run[0].Raw == nil { // there is the text alone
		var b strings.Builder
		for _, p := range run {
			b.WriteString(p.Text)
		}
		return b.String(), run[0].Encoding != message.EncodingBinary
	}
	var octets []byte
	for _, p := range run {
		octets = append(octets, p.Raw...)
	}
	return text.Decode(run[0].DataCoding, run[0].Alphabet, octets)
}

// inbound makes messages of the parts whose others have not come.
func (s *sweeper) inbound(ctx context.Context) error {
	wholes, err := s.in.Journal.InboundOver(ctx, s.in.partsWait(), inboundBatch, s.in.joinInbound)
	for _, w := range wholes {
		s.in.arrivedWhole(w)
	}
	return err
}
