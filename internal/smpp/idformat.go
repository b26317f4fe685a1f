package smpp

import (
	"math/big"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// IDFormat says how a vendor writes the same message id in its answers and in
// its receipts: a column of the vendor's row. The zero IDFormat is IDSame.
type IDFormat string

// The formats.
const (
	IDSame     IDFormat = "same"
	IDHexToDec IDFormat = "hex_to_dec" // hex in the answer, decimal in the receipt
	IDDecToHex IDFormat = "dec_to_hex" // decimal in the answer, hex in the receipt
)

// Answer is the canonical form of an id from a submit_sm_resp, or from
// receipted_message_id, which SMPP 3.4 §5.3.2.12 wants to be the same. An id
// that is not of the format is only normalised.
func (f IDFormat) Answer(id string) string {
	norm := message.NormalizeVendorID(id)
	switch f {
	case IDHexToDec:
		return convert(norm, 16, 10)
	case IDDecToHex:
		return convert(norm, 10, 16)
	}
	return norm
}

// Receipt is the canonical form of an id from the text of a receipt: equal to
// Answer of the same message.
func (f IDFormat) Receipt(id string) string {
	norm := message.NormalizeVendorID(id)
	if f == IDHexToDec && strings.ContainsAny(norm, "abcdef") {
		return convert(norm, 16, 10) // the vendor did not convert it after all
	}
	return norm
}

// Of is the canonical id of a receipt, which may have two: with IDSame the
// optional parameter is the cleaner one, else the format speaks of the text.
func (f IDFormat) Of(r Receipt) string {
	if r.ID != "" && (r.TLVID == "" || f == IDHexToDec || f == IDDecToHex) {
		return f.Receipt(r.ID)
	}
	return f.Answer(r.TLVID)
}

func convert(id string, from, to int) string {
	n, ok := new(big.Int).SetString(id, from)
	if !ok || strings.ContainsAny(id, "+-_") {
		return id
	}
	return n.Text(to)
}
