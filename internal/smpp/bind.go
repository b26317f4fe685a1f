package smpp

// Mode is how a session is bound.
type Mode byte

// The modes; the zero Mode is not bound.
const (
	ModeNone        Mode = iota
	ModeReceiver         // the ESME receives
	ModeTransmitter      // the ESME sends
	ModeTransceiver      // both
)

// String is receiver, transmitter or transceiver.
func (m Mode) String() string {
	switch m {
	case ModeReceiver:
		return "receiver"
	case ModeTransmitter:
		return "transmitter"
	case ModeTransceiver:
		return "transceiver"
	}
	return "none"
}

// CanSubmit reports whether the ESME of the bind may submit.
func (m Mode) CanSubmit() bool { return m == ModeTransmitter || m == ModeTransceiver }

// CanDeliver reports whether the ESME of the bind takes deliver_sm.
func (m Mode) CanDeliver() bool { return m == ModeReceiver || m == ModeTransceiver }

func modeOf(id CommandID) Mode {
	switch id {
	case IDBindReceiver:
		return ModeReceiver
	case IDBindTransmitter:
		return ModeTransmitter
	case IDBindTransceiver:
		return ModeTransceiver
	}
	return ModeNone
}

// Bind is bind_receiver, bind_transmitter or bind_transceiver by its Mode
// (SMPP 3.4 §4.1). SystemID has 15 octets at most, SystemType 12, AddressRange
// 40; Password is let through up to 64.
type Bind struct {
	Mode             Mode
	SystemID         string
	Password         string
	SystemType       string
	InterfaceVersion byte
	AddressTON       byte
	AddressNPI       byte
	AddressRange     string
}

// CommandID is the bind's command by its Mode; an invalid Mode cannot be
// written.
func (p *Bind) CommandID() CommandID {
	switch p.Mode {
	case ModeReceiver:
		return IDBindReceiver
	case ModeTransmitter:
		return IDBindTransmitter
	}
	return IDBindTransceiver
}

func (p *Bind) read(r *reader) {
	p.SystemID = r.cstr("system_id", sizeSystemID, StatusInvSystemID)
	p.Password = r.cstr("password", sizePassword, StatusInvPassword)
	p.SystemType = r.cstr("system_type", sizeSystemType, StatusInvSystemType)
	p.InterfaceVersion = r.u8("interface_version")
	p.AddressTON = r.u8("addr_ton")
	p.AddressNPI = r.u8("addr_npi")
	p.AddressRange = r.cstr("address_range", sizeAddressRange, StatusInvParLen)
}

func (p *Bind) write(w *writer) {
	if p.Mode < ModeReceiver || p.Mode > ModeTransceiver {
		w.fail("command_id", "bind has no mode")
	}
	w.cstr("system_id", p.SystemID, sizeSystemID)
	w.cstr("password", p.Password, sizePassword)
	w.cstr("system_type", p.SystemType, sizeSystemType)
	w.u8(p.InterfaceVersion)
	w.u8(p.AddressTON)
	w.u8(p.AddressNPI)
	w.cstr("address_range", p.AddressRange, sizeAddressRange)
}

// BindResp answers a Bind of the same Mode. SystemID is the SMSC's.
type BindResp struct {
	Mode     Mode
	SystemID string
	TLVs     TLVs
}

// CommandID is the response's command by its Mode.
func (p *BindResp) CommandID() CommandID {
	return responseID((&Bind{Mode: p.Mode}).CommandID())
}

func (p *BindResp) read(r *reader) {
	p.SystemID = r.cstr("system_id", sizeSystemID, StatusInvParLen)
	p.TLVs = r.tlvs()
}

func (p *BindResp) write(w *writer) {
	w.cstr("system_id", p.SystemID, sizeSystemID)
	w.tlvs(p.TLVs)
}

// Outbind is the SMSC's wish to be bound to (SMPP 3.4 §4.1.7). It is read, never
// sent by us, and has no response.
type Outbind struct {
	SystemID string
	Password string
}

// CommandID is outbind.
func (*Outbind) CommandID() CommandID { return IDOutbind }

func (p *Outbind) read(r *reader) {
	p.SystemID = r.cstr("system_id", sizeSystemID, StatusInvSystemID)
	p.Password = r.cstr("password", sizePassword, StatusInvPassword)
}

func (p *Outbind) write(w *writer) {
	w.cstr("system_id", p.SystemID, sizeSystemID)
	w.cstr("password", p.Password, sizePassword)
}

// The PDUs without a body. What a peer puts after the header is ignored: some
// send four zero octets with enquire_link.
type (
	// Unbind ends a bind (SMPP 3.4 §4.2).
	Unbind struct{}
	// UnbindResp answers Unbind.
	UnbindResp struct{}
	// EnquireLink asks whether the peer lives (SMPP 3.4 §4.11).
	EnquireLink struct{}
	// EnquireLinkResp answers EnquireLink.
	EnquireLinkResp struct{}
	// GenericNack answers what could not be understood (SMPP 3.4 §4.3).
	GenericNack struct{}
	// CancelSMResp answers CancelSM.
	CancelSMResp struct{}
	// ReplaceSMResp answers ReplaceSM.
	ReplaceSMResp struct{}
)

// CommandID is unbind.
func (*Unbind) CommandID() CommandID { return IDUnbind }
func (*Unbind) read(*reader)         {}
func (*Unbind) write(*writer)        {}

// CommandID is unbind_resp.
func (*UnbindResp) CommandID() CommandID { return IDUnbindResp }
func (*UnbindResp) read(*reader)         {}
func (*UnbindResp) write(*writer)        {}

// CommandID is enquire_link.
func (*EnquireLink) CommandID() CommandID { return IDEnquireLink }
func (*EnquireLink) read(*reader)         {}
func (*EnquireLink) write(*writer)        {}

// CommandID is enquire_link_resp.
func (*EnquireLinkResp) CommandID() CommandID { return IDEnquireLinkResp }
func (*EnquireLinkResp) read(*reader)         {}
func (*EnquireLinkResp) write(*writer)        {}

// CommandID is generic_nack.
func (*GenericNack) CommandID() CommandID { return IDGenericNack }
func (*GenericNack) read(*reader)         {}
func (*GenericNack) write(*writer)        {}

// CommandID is cancel_sm_resp.
func (*CancelSMResp) CommandID() CommandID { return IDCancelSMResp }
func (*CancelSMResp) read(*reader)         {}
func (*CancelSMResp) write(*writer)        {}

// CommandID is replace_sm_resp.
func (*ReplaceSMResp) CommandID() CommandID { return IDReplaceSMResp }
func (*ReplaceSMResp) read(*reader)         {}
func (*ReplaceSMResp) write(*writer)        {}
