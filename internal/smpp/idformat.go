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

// ReceiptID says where a vendor's receipts have the id that is to be believed: a column
// of the vendor's row. The zero ReceiptID is ReceiptIDAuto.
type ReceiptID string

// The places.
const (
	ReceiptIDAuto ReceiptID = "auto" // as IDFormat.Of
	ReceiptIDTLV  ReceiptID = "tlv"  // receipted_message_id, the text's only where it is missing
	ReceiptIDText ReceiptID = "text" // the text's, receipted_message_id only where it is missing
)

// OfAt is Of for a vendor whose receipts have the right id at the place.
func (f IDFormat) OfAt(at ReceiptID, r Receipt) string {
	switch {
	case at == ReceiptIDTLV && r.TLVID != "":
		return f.Answer(r.TLVID)
	case at == ReceiptIDText && r.ID != "":
		return f.Receipt(r.ID)
	}
	return f.Of(r)
}

func convert(id string, from, to int) string {
	n, ok := new(big.Int).SetString(id, from)
	if !ok || strings.ContainsAny(id, "+-_") {
		return id
	}
	return n.Text(to)
}
