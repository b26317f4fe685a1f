package smpp

import (
	"encoding/binary"
	"sync"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// HeaderSize is the size of a PDU's header in octets (SMPP 3.4 §3.2).
const HeaderSize = data.PDU_HEADER_SIZE

// MaxFrame is the largest PDU that is read or written: a message_payload of
// 64 KiB needs 65,552 octets with the header. MaxFrameOpen holds until the
// session is bound: a bind needs 190 at most.
const (
	MaxFrame     = 64<<10 + HeaderSize
	MaxFrameOpen = 512
)

// Version34 is the interface_version of SMPP 3.4; a lower one is an older peer
// that understands neither TLVs nor message ids above 8 hex characters.
const Version34 = data.SMPP_V34

// Header is the header of a PDU.
type Header struct {
	Length   uint32
	ID       CommandID
	Status   Status
	Sequence uint32
}

// PDU is the body of one PDU. The types of this package are the only ones; a
// PDU may be sent again after it was answered, but not changed while in use.
type PDU interface {
	// CommandID is the command_id that the body belongs to.
	CommandID() CommandID

	read(r *reader)
	write(w *writer)
}

// Packet is a PDU as it came. Octet fields of Body alias Raw.
type Packet struct {
	Header
	Body PDU
	Raw  []byte // the whole frame with its header
}

// parseHeader reads the first 16 octets of a frame.
func parseHeader(frame []byte) Header {
	h := pdu.ParseHeader([HeaderSize]byte(frame))
	return Header{
		Length:   uint32(h.CommandLength),
		ID:       h.CommandID,
		Status:   Status(h.CommandStatus),
		Sequence: uint32(h.SequenceNumber),
	}
}

// Decode reads one whole frame. The Packet's header and Raw are set even when
// the body cannot be read, if there are 16 octets. Every error is a
// *DecodeError. A body is never required in a response, whatever its status.
func Decode(frame []byte) (Packet, error) {
	if len(frame) < HeaderSize {
		return Packet{}, &DecodeError{Status: StatusInvCmdLen, Field: "command_length", OutOfStep: true}
	}
	p := Packet{Header: parseHeader(frame), Raw: frame}
	if uint64(p.Length) != uint64(len(frame)) {
		return p, &DecodeError{Header: p.Header, Status: StatusInvCmdLen, Field: "command_length", OutOfStep: true}
	}
	body := newPDU(p.ID)
	if body == nil {
		return p, &DecodeError{Header: p.Header, Status: StatusInvCmdID, Field: "command_id"}
	}
	p.Body = body
	r := readers.Get().(*reader)
	*r = reader{b: frame[HeaderSize:], lenient: isResponse(p.ID)}
	body.read(r)
	st, field := r.status, r.field
	*r = reader{}
	readers.Put(r)
	if st != StatusOK {
		return p, &DecodeError{Header: p.Header, Status: st, Field: field}
	}
	return p, nil
}

// Append writes one PDU to b and returns the longer slice. Every error is a
// *FieldError; b is then returned as it was. A refusing response goes as a
// header only where peers are known to read that, and with an empty body where
// gosmpp's clients need one.
func Append(b []byte, st Status, sequence uint32, body PDU) ([]byte, error) {
	start := len(b)
	id := body.CommandID()
	w := writers.Get().(*writer)
	*w = writer{b: append(b, make([]byte, HeaderSize)...)}
	if st == StatusOK || !isResponse(id) {
		body.write(w)
	} else {
		writeRefusal(w, id, body)
	}
	out, err := w.b, w.err
	*w = writer{}
	writers.Put(w)
	n := len(out) - start
	if err == nil && n > MaxFrame {
		err = &FieldError{Field: "command_length", Reason: "larger than 65552"}
	}
	if err != nil {
		return b, err
	}
	h := out[start:]
	binary.BigEndian.PutUint32(h, uint32(n))
	binary.BigEndian.PutUint32(h[4:], uint32(id))
	binary.BigEndian.PutUint32(h[8:], uint32(st))
	binary.BigEndian.PutUint32(h[12:], sequence)
	return out, nil
}

// Readers and writers go through an interface and would be allocated for every
// PDU.
var (
	readers = sync.Pool{New: func() any { return new(reader) }}
	writers = sync.Pool{New: func() any { return new(writer) }}
)

// writeRefusal writes the body of a response whose status is not 0. SMPP 3.4
// lets it go; gosmpp's clients want an empty string in these, and want none in
// the responses to the other two binds.
func writeRefusal(w *writer, id CommandID, body PDU) {
	switch id {
	case IDBindTransceiverResp:
		w.u8(0) // an empty system_id
	case IDDeliverSMResp, IDDataSMResp:
		w.u8(0) // an empty message_id
	case IDSubmitMultiResp, IDQuerySMResp:
		body.write(w)
	}
}

// newPDU makes the empty body of a command, nil for an unknown one.
func newPDU(id CommandID) PDU {
	switch id {
	case IDSubmitSM:
		return new(SubmitSM)
	case IDSubmitSMResp:
		return new(SubmitSMResp)
	case IDDeliverSM:
		return new(DeliverSM)
	case IDDeliverSMResp:
		return new(DeliverSMResp)
	case IDEnquireLink:
		return new(EnquireLink)
	case IDEnquireLinkResp:
		return new(EnquireLinkResp)
	case IDBindReceiver, IDBindTransmitter, IDBindTransceiver:
		return &Bind{Mode: modeOf(id)}
	case IDBindReceiverResp, IDBindTransmitterResp, IDBindTransceiverResp:
		return &BindResp{Mode: modeOf(id &^ IDGenericNack)}
	case IDOutbind:
		return new(Outbind)
	case IDUnbind:
		return new(Unbind)
	case IDUnbindResp:
		return new(UnbindResp)
	case IDGenericNack:
		return new(GenericNack)
	case IDDataSM:
		return new(DataSM)
	case IDDataSMResp:
		return new(DataSMResp)
	case IDSubmitMulti:
		return new(SubmitMulti)
	case IDSubmitMultiResp:
		return new(SubmitMultiResp)
	case IDQuerySM:
		return new(QuerySM)
	case IDQuerySMResp:
		return new(QuerySMResp)
	case IDCancelSM:
		return new(CancelSM)
	case IDCancelSMResp:
		return new(CancelSMResp)
	case IDReplaceSM:
		return new(ReplaceSM)
	case IDReplaceSMResp:
		return new(ReplaceSMResp)
	case IDAlertNotification:
		return new(AlertNotification)
	}
	return nil
}

// ResponseTo makes the empty response body of a request, nil when the command
// has no response (outbind, alert_notification, responses themselves) or is
// unknown.
func ResponseTo(id CommandID) PDU {
	if isResponse(id) {
		return nil
	}
	return newPDU(responseID(id))
}
