package smpp

import "github.com/postrider/postrider/internal/message"

// Address is an address with its type of number and numbering plan (SMPP 3.4
// §5.2.5, §5.2.6). Text has 20 octets at most, 64 in data_sm.
type Address struct {
	TON, NPI byte
	Text     string
}

// The types of number and numbering plans that AddressOf writes (SMPP 3.4 §5.2.5,
// §5.2.6).
const (
	tonInternational = 1
	tonNetwork       = 3
	tonAlphanumeric  = 5
	npiE164          = 1
)

// AddressOf is one of our addresses with the type of number and the numbering plan
// that peers usually want: a short code is a number of the network. The zero
// Address when it is of no known kind.
func AddressOf(a message.Address) Address {
	switch a.Kind() {
	case message.E164:
		return Address{TON: tonInternational, NPI: npiE164, Text: a.Digits()}
	case message.Alphanumeric:
		return Address{TON: tonAlphanumeric, Text: string(a)}
	case message.ShortCode:
		return Address{TON: tonNetwork, Text: string(a)}
	}
	return Address{}
}

func (r *reader) address(field string, size int, tooLong Status) Address {
	return Address{
		TON:  r.u8(field),
		NPI:  r.u8(field),
		Text: r.cstr(field, size, tooLong),
	}
}

func (w *writer) address(field string, a Address, size int) {
	w.u8(a.TON)
	w.u8(a.NPI)
	w.cstr(field, a.Text, size)
}

// Message is what submit_sm and deliver_sm have in common (SMPP 3.4 §4.4.1,
// §4.6.1). The zero Message is a valid, empty one. Of ShortMessage and a
// message_payload TLV at most one may have octets; the codec does not check it,
// because a server wants to answer it with a status of its own.
type Message struct {
	ServiceType        string // 5 octets at most
	Source, Dest       Address
	ESMClass           byte
	ProtocolID         byte
	Priority           byte
	Schedule, Validity string // empty or 16 characters, see ParseTime
	RegisteredDelivery byte
	ReplaceIfPresent   byte
	DataCoding         byte
	DefaultMsgID       byte
	ShortMessage       []byte // 254 octets at most
	TLVs               TLVs
}

func (m *Message) readMessage(r *reader) {
	m.ServiceType = r.cstr("service_type", sizeServiceType, StatusInvServiceType)
	m.Source = r.address("source_addr", sizeAddress, StatusInvSource)
	m.Dest = r.address("destination_addr", sizeAddress, StatusInvDest)
	m.ESMClass = r.u8("esm_class")
	m.ProtocolID = r.u8("protocol_id")
	m.Priority = r.u8("priority_flag")
	m.Schedule = r.cstr("schedule_delivery_time", sizeTime, StatusInvSchedule)
	m.Validity = r.cstr("validity_period", sizeTime, StatusInvExpiry)
	m.RegisteredDelivery = r.u8("registered_delivery")
	m.ReplaceIfPresent = r.u8("replace_if_present_flag")
	m.DataCoding = r.u8("data_coding")
	m.DefaultMsgID = r.u8("sm_default_msg_id")
	m.ShortMessage = r.shortMessage()
	m.TLVs = r.tlvs()
}

// shortMessage reads sm_length and as many octets; more than 254 is
// RINVMSGLEN.
func (r *reader) shortMessage() []byte {
	n := int(r.u8("sm_length"))
	if n > MaxShortMessage {
		r.fail("sm_length", StatusInvMsgLen)
	}
	return r.octets("short_message", n)
}

func (m *Message) writeMessage(w *writer) {
	w.cstr("service_type", m.ServiceType, sizeServiceType)
	w.address("source_addr", m.Source, sizeAddress)
	w.address("destination_addr", m.Dest, sizeAddress)
	w.u8(m.ESMClass)
	w.u8(m.ProtocolID)
	w.u8(m.Priority)
	w.smTime("schedule_delivery_time", m.Schedule)
	w.smTime("validity_period", m.Validity)
	w.u8(m.RegisteredDelivery)
	w.u8(m.ReplaceIfPresent)
	w.u8(m.DataCoding)
	w.u8(m.DefaultMsgID)
	w.shortMessage(m.ShortMessage)
	w.tlvs(m.TLVs)
}

// SubmitSM gives a message to an SMSC.
type SubmitSM struct{ Message }

// CommandID is submit_sm.
func (*SubmitSM) CommandID() CommandID { return IDSubmitSM }
func (p *SubmitSM) read(r *reader)     { p.readMessage(r) }
func (p *SubmitSM) write(w *writer)    { p.writeMessage(w) }

// DeliverSM gives a message or a receipt to an ESME.
type DeliverSM struct{ Message }

// CommandID is deliver_sm.
func (*DeliverSM) CommandID() CommandID { return IDDeliverSM }
func (p *DeliverSM) read(r *reader)     { p.readMessage(r) }
func (p *DeliverSM) write(w *writer)    { p.writeMessage(w) }

// SubmitSMResp answers SubmitSM. MessageID has 64 octets at most.
type SubmitSMResp struct {
	MessageID string
	TLVs      TLVs
}

// CommandID is submit_sm_resp.
func (*SubmitSMResp) CommandID() CommandID { return IDSubmitSMResp }

func (p *SubmitSMResp) read(r *reader) {
	p.MessageID = r.cstr("message_id", sizeMessageID, StatusInvParLen)
	p.TLVs = r.tlvs()
}

func (p *SubmitSMResp) write(w *writer) {
	w.cstr("message_id", p.MessageID, sizeMessageID)
	w.tlvs(p.TLVs)
}

// DeliverSMResp answers DeliverSM. Its message_id is unused and always empty.
type DeliverSMResp struct{ TLVs TLVs }

// CommandID is deliver_sm_resp.
func (*DeliverSMResp) CommandID() CommandID { return IDDeliverSMResp }

func (p *DeliverSMResp) read(r *reader) {
	r.cstr("message_id", sizeMessageID, StatusInvParLen)
	p.TLVs = r.tlvs()
}

func (p *DeliverSMResp) write(w *writer) {
	w.u8(0)
	w.tlvs(p.TLVs)
}

// DataSM carries a message either way; its text is in a message_payload TLV
// (SMPP 3.4 §4.7).
type DataSM struct {
	ServiceType        string
	Source, Dest       Address // 64 octets each
	ESMClass           byte
	RegisteredDelivery byte
	DataCoding         byte
	TLVs               TLVs
}

// CommandID is data_sm.
func (*DataSM) CommandID() CommandID { return IDDataSM }

func (p *DataSM) read(r *reader) {
	p.ServiceType = r.cstr("service_type", sizeServiceType, StatusInvServiceType)
	p.Source = r.address("source_addr", sizeDataAddress, StatusInvSource)
	p.Dest = r.address("destination_addr", sizeDataAddress, StatusInvDest)
	p.ESMClass = r.u8("esm_class")
	p.RegisteredDelivery = r.u8("registered_delivery")
	p.DataCoding = r.u8("data_coding")
	p.TLVs = r.tlvs()
}

func (p *DataSM) write(w *writer) {
	w.cstr("service_type", p.ServiceType, sizeServiceType)
	w.address("source_addr", p.Source, sizeDataAddress)
	w.address("destination_addr", p.Dest, sizeDataAddress)
	w.u8(p.ESMClass)
	w.u8(p.RegisteredDelivery)
	w.u8(p.DataCoding)
	w.tlvs(p.TLVs)
}

// Message is the data_sm in the form of a submit_sm or deliver_sm; TLVs are
// shared.
func (p *DataSM) Message() Message {
	return Message{
		ServiceType: p.ServiceType, Source: p.Source, Dest: p.Dest, ESMClass: p.ESMClass,
		RegisteredDelivery: p.RegisteredDelivery, DataCoding: p.DataCoding, TLVs: p.TLVs,
	}
}

// DataSMResp answers DataSM.
type DataSMResp struct {
	MessageID string
	TLVs      TLVs
}

// CommandID is data_sm_resp.
func (*DataSMResp) CommandID() CommandID { return IDDataSMResp }

func (p *DataSMResp) read(r *reader) {
	p.MessageID = r.cstr("message_id", sizeMessageID, StatusInvParLen)
	p.TLVs = r.tlvs()
}

func (p *DataSMResp) write(w *writer) {
	w.cstr("message_id", p.MessageID, sizeMessageID)
	w.tlvs(p.TLVs)
}
