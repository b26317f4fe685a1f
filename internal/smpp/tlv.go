package smpp

import (
	"encoding/binary"
	"strings"

	"github.com/linxGnu/gosmpp/pdu"
)

// Tag is the tag of an optional parameter (SMPP 3.4 §5.3.2).
type Tag = pdu.Tag

// TLV is an optional parameter. Data are the raw octets: those of a C-string
// keep their NUL.
type TLV = pdu.Field

// The tags that this project reads or writes. TagSCInterfaceVersion is missing
// from gosmpp; the last three are our own (vendor range).
const (
	TagReceiptedMessageID    = pdu.TagReceiptedMessageID
	TagUserMessageReference  = pdu.TagUserMessageReference
	TagSarMsgRefNum          = pdu.TagSarMsgRefNum
	TagSarTotalSegments      = pdu.TagSarTotalSegments
	TagSarSegmentSeqnum      = pdu.TagSarSegmentSeqnum
	TagNetworkErrorCode      = pdu.TagNetworkErrorCode
	TagMessagePayload        = pdu.TagMessagePayload
	TagDeliveryFailureReason = pdu.TagDeliveryFailureReason
	TagMessageState          = pdu.TagMessageStateOption
	TagMsAvailabilityStatus  = pdu.TagMsAvailabilityStatus

	TagSCInterfaceVersion Tag = 0x0210
	TagIdempotencyKey     Tag = 0x2A01
	TagClientReference    Tag = 0x2A02
	TagMessageClass       Tag = 0x2A03
)

// maxTLVs bounds how many optional parameters one PDU may carry. SMPP 3.4
// defines 45 tags; gosmpp's parser takes 16,000 and 53 times the PDU's memory.
const maxTLVs = 64

// TLVs are the optional parameters of a PDU in wire order.
type TLVs []TLV

// Get gives the value of the first parameter with the tag, and whether there is
// one. An empty value is present with length 0.
func (t TLVs) Get(tag Tag) ([]byte, bool) {
	for i := range t {
		if t[i].Tag == tag {
			return t[i].Data, true
		}
	}
	return nil, false
}

// Text is the value as a string without NULs at its end: peers leave the final
// one off, or pad.
func (t TLVs) Text(tag Tag) (string, bool) {
	v, ok := t.Get(tag)
	return strings.TrimRight(string(v), "\x00"), ok
}

// Byte is the value of a one-octet parameter; false when it is absent or has
// another length.
func (t TLVs) Byte(tag Tag) (byte, bool) {
	v, ok := t.Get(tag)
	if !ok || len(v) != 1 {
		return 0, false
	}
	return v[0], true
}

// Uint16 is the value of a two-octet parameter; false when it is absent or has
// another length.
func (t TLVs) Uint16(tag Tag) (uint16, bool) {
	v, ok := t.Get(tag)
	if !ok || len(v) != 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(v), true
}

// Add appends a parameter; v is kept, not copied.
func (t *TLVs) Add(tag Tag, v []byte) { *t = append(*t, TLV{Tag: tag, Data: v}) }

// AddByte appends a one-octet parameter.
func (t *TLVs) AddByte(tag Tag, v byte) { t.Add(tag, []byte{v}) }

// AddUint16 appends a two-octet parameter.
func (t *TLVs) AddUint16(tag Tag, v uint16) { t.Add(tag, binary.BigEndian.AppendUint16(nil, v)) }

// AddCString appends s with its final NUL.
func (t *TLVs) AddCString(tag Tag, s string) { t.Add(tag, append([]byte(s), 0)) }

// fixedLen are the lengths that SMPP 3.4 §5.3.2 fixes for what we write.
func fixedLen(tag Tag) (int, bool) {
	if n, ok := fixedLenRead(tag); ok {
		return n, true
	}
	switch tag {
	case TagMessageState, TagSCInterfaceVersion, TagDeliveryFailureReason:
		return 1, true
	case TagNetworkErrorCode:
		return 3, true
	}
	return 0, false
}

// fixedLenRead are those that a received PDU must keep, else RINVPARLEN: a
// message would be joined wrongly. Odd lengths in receipts are let through, for
// a refused receipt is lost.
func fixedLenRead(tag Tag) (int, bool) {
	switch tag {
	case TagUserMessageReference, TagSarMsgRefNum:
		return 2, true
	case TagSarTotalSegments, TagSarSegmentSeqnum:
		return 1, true
	}
	return 0, false
}

// Passable reports whether a parameter of an ESME's submit may be passed on to
// vendors as it is: what says something of the message or its handset that we need
// not know (SMPP 3.4 §5.3.2), and the range that vendors define for themselves, but
// for our own in it. What tells of text, parts, receipts and sessions is for us.
// The schema has the same list (tlvs_may_pass).
func Passable(tag Tag) bool {
	switch tag {
	case TagIdempotencyKey, TagClientReference, TagMessageClass:
		return false
	case 0x0005, 0x0006, 0x0007, 0x0008, // dest_addr_subunit, _network_type, _bearer_type, _telematics_id
		0x000D, 0x000E, 0x000F, 0x0010, // the same of the source
		0x0019,                 // payload_type
		0x0030,                 // ms_msg_wait_facilities
		0x0201,                 // privacy_indicator
		0x0202, 0x0203, 0x0205, // source_subaddress, dest_subaddress, user_response_code
		0x020A, 0x020B, // source_port, destination_port
		0x020D,                 // language_indicator
		0x0302, 0x0303, 0x0304, // callback_num_pres_ind, callback_num_atag, number_of_messages
		0x0381,                 // callback_num
		0x1201, 0x1203, 0x1204, // display_time, sms_signal, ms_validity
		0x130C,         // alert_on_message_delivery
		0x1380, 0x1383: // its_reply_type, its_session_info
		return true
	}
	return tag >= vendorRange && tag <= vendorRangeEnd
}

// The range of tags that vendors define for themselves (SMPP 3.4 §5.3.1).
const (
	vendorRange    Tag = 0x1400
	vendorRangeEnd Tag = 0x3FFF
)
