package smpp

import (
	"bytes"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// readText reads what is to be sent. A text is decoded, unless it is one of several
// parts: a character may lie across two of them, so they are decoded once they are
// joined. Octets of no alphabet stay as they are, and so do septets that need a
// national language table, which we do not have: what was made for one vendor's
// handset another's vendor gets to the octet, but only vendors over SMPP.
//
// The ESME's choice of alphabet is kept: UCS-2 goes out as UCS-2 even where GSM
// 7-bit would do, for that is the number of parts the sender has counted. The
// other alphabets name no wish beyond the text, which goes as GSM 7-bit if it
// can. A message class is kept for vendors that know of it.
func (sub *submission) readText(m *smpp.Message, alphabet string, account *snapshot.Account) smpp.Status {
	header := sub.content.Header
	octets := text.IsBinary(m.DataCoding)
	switch {
	case !octets && !isText(m.DataCoding),
		len(header) > 0 && sub.content.Parts > 1 && !(octets && text.OnlyPorts(header)):
		// Elements of a part may speak of a place in it, and the parts that go out
		// may be others.
		return statusOf(account, message.ReasonEncodingMismatch)
	}
	sub.common.Header, sub.common.DataCoding = header, text.ClassOf(m.DataCoding)
	if octets || text.NeedsNational(header) && !text.IsUCS2(m.DataCoding) {
		sub.common.Encoding, sub.common.DataCoding = message.EncodingBinary, m.DataCoding
	} else if text.IsUCS2(m.DataCoding) {
		sub.common.Encoding = message.EncodingUCS2
	}
	if sub.content.Parts > 1 {
		return smpp.StatusOK
	}
	// What ingress will refuse as too long costs one part: it goes nowhere, and
	// the rate must not hide the better answer.
	n, ok := sub.readWhole(m.DataCoding, alphabet, account.SmartEncoding)
	switch {
	case !ok:
		return statusOf(account, message.ReasonEncodingMismatch)
	case n <= account.MaxParts:
		sub.parts = max(1, n)
	}
	return smpp.StatusOK
}

// readWhole reads what is no part, and says how many it will be; 0: too many. False:
// it is no text.
func (sub *submission) readWhole(coding byte, alphabet string, smart bool) (parts int, ok bool) {
	if sub.common.Encoding == message.EncodingBinary {
		sub.common.Body = string(sub.content.Octets)
		list, _ := text.SplitOctets(sub.common.Body, coding, sub.common.Header, false)
		return len(list), true
	}
	body, ok := text.DecodeStrict(coding, alphabet, sub.content.Octets)
	if !ok {
		return 0, false
	}
	sub.common.Body = body
	if sub.common.Encoding == "" {
		sub.common.Encoding = message.EncodingAuto
	}
	layout, err := text.Plan(body, sub.common.Encoding, smart)
	if err != nil {
		return 0, true
	}
	return len(layout.Parts), true
}

// isText reports whether a data_coding stands for text that may be sent (api.md
// §8): alphabets, and message classes (3GPP TS 23.038 §4). A message waiting
// indication would arrive as a text that means nothing.
func isText(coding byte) bool {
	switch coding {
	case 0, 1, 3, 6, 7, smpp.CodingUCS2:
		return true
	}
	return text.ClassOf(coding) != 0
}

// What one message may pass on of optional parameters.
const (
	maxPassed       = 16
	maxPassedOctets = 1024
)

// readPassed keeps the parameters that some vendor takes. Which vendor the message
// goes to is not known yet.
func (sub *submission) readPassed(t smpp.TLVs, config *snapshot.Snapshot) smpp.Status {
	size := 0
	for _, p := range t {
		if !smpp.Passable(p.Tag) || !config.PassesTLV(uint16(p.Tag)) {
			continue
		}
		size += len(p.Data)
		switch {
		case len(sub.common.TLVs) == maxPassed:
			return smpp.StatusOptParNotAllowed
		case size > maxPassedOctets:
			return smpp.StatusInvOptParamVal
		}
		sub.common.TLVs = append(sub.common.TLVs, message.TLV{Tag: uint16(p.Tag), Value: bytes.Clone(p.Data)}) // it aliases the frame
	}
	return smpp.StatusOK
}
