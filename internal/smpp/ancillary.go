package smpp

// maxDests is the largest number_of_dests (SMPP 3.4 §5.2.24).
const maxDests = 254

// Destination flags of submit_multi (SMPP 3.4 §5.2.25).
const (
	destFlagAddress = 1
	destFlagList    = 2
)

// Destination is one destination of submit_multi: an address, or a distribution
// list when List is not empty.
type Destination struct {
	Address Address
	List    string // 20 octets at most
}

// SubmitMulti gives one message for up to 254 destinations (SMPP 3.4 §4.5). Its
// Message's Dest is unused. A count of 0 or above 254 is RINVNUMDESTS.
type SubmitMulti struct {
	Message
	Dests []Destination
}

// CommandID is submit_multi.
func (*SubmitMulti) CommandID() CommandID { return IDSubmitMulti }

func (p *SubmitMulti) read(r *reader) {
	p.ServiceType = r.cstr("service_type", sizeServiceType, StatusInvServiceType)
	p.Source = r.address("source_addr", sizeAddress, StatusInvSource)
	p.readDests(r)
	p.ESMClass = r.u8("esm_class")
	p.ProtocolID = r.u8("protocol_id")
	p.Priority = r.u8("priority_flag")
	p.Schedule = r.cstr("schedule_delivery_time", sizeTime, StatusInvSchedule)
	p.Validity = r.cstr("validity_period", sizeTime, StatusInvExpiry)
	p.RegisteredDelivery = r.u8("registered_delivery")
	p.ReplaceIfPresent = r.u8("replace_if_present_flag")
	p.DataCoding = r.u8("data_coding")
	p.DefaultMsgID = r.u8("sm_default_msg_id")
	p.ShortMessage = r.shortMessage()
	p.TLVs = r.tlvs()
}

func (p *SubmitMulti) readDests(r *reader) {
	n := int(r.u8("number_of_dests"))
	if r.ok() && (n == 0 || n > maxDests) {
		r.fail("number_of_dests", StatusInvNumDests)
		return
	}
	// A destination is 2 octets at least: never allocate for more than came.
	if n = min(n, len(r.rest())/2+1); n > 0 && r.ok() {
		p.Dests = make([]Destination, 0, n)
	}
	for ; n > 0 && r.ok(); n-- {
		switch r.u8("dest_flag") {
		case destFlagAddress:
			p.Dests = append(p.Dests, Destination{Address: r.address("destination_addr", sizeAddress, StatusInvDest)})
		case destFlagList:
			list := r.cstr("dl_name", sizeListName, StatusInvParLen)
			if list == "" {
				r.fail("dl_name", StatusNoDistList)
			}
			p.Dests = append(p.Dests, Destination{List: list})
		default:
			r.fail("dest_flag", StatusInvDestFlag)
		}
	}
}

func (p *SubmitMulti) write(w *writer) {
	if len(p.Dests) == 0 || len(p.Dests) > maxDests {
		w.fail("number_of_dests", "is not 1 to 254")
		return
	}
	w.cstr("service_type", p.ServiceType, sizeServiceType)
	w.address("source_addr", p.Source, sizeAddress)
	w.u8(byte(len(p.Dests)))
	for _, d := range p.Dests {
		if d.List != "" {
			w.u8(destFlagList)
			w.cstr("dl_name", d.List, sizeListName)
			continue
		}
		w.u8(destFlagAddress)
		w.address("destination_addr", d.Address, sizeAddress)
	}
	w.u8(p.ESMClass)
	w.u8(p.ProtocolID)
	w.u8(p.Priority)
	w.smTime("schedule_delivery_time", p.Schedule)
	w.smTime("validity_period", p.Validity)
	w.u8(p.RegisteredDelivery)
	w.u8(p.ReplaceIfPresent)
	w.u8(p.DataCoding)
	w.u8(p.DefaultMsgID)
	w.shortMessage(p.ShortMessage)
	w.tlvs(p.TLVs)
}

// Unsuccess is a destination of submit_multi that was refused.
type Unsuccess struct {
	Address Address
	Status  Status
}

// SubmitMultiResp answers SubmitMulti; status 0 may come with refused
// destinations.
type SubmitMultiResp struct {
	MessageID string
	Unsuccess []Unsuccess
	TLVs      TLVs
}

// CommandID is submit_multi_resp.
func (*SubmitMultiResp) CommandID() CommandID { return IDSubmitMultiResp }

func (p *SubmitMultiResp) read(r *reader) {
	p.MessageID = r.cstr("message_id", sizeMessageID, StatusInvParLen)
	for n := r.u8("no_unsuccess"); n > 0 && r.ok() && len(r.rest()) > 0; n-- {
		p.Unsuccess = append(p.Unsuccess, Unsuccess{
			Address: r.address("unsuccess_sme", sizeAddress, StatusInvParLen),
			Status:  Status(r.u32("error_status_code")),
		})
	}
	p.TLVs = r.tlvs()
}

func (p *SubmitMultiResp) write(w *writer) {
	if len(p.Unsuccess) > maxDests {
		w.fail("no_unsuccess", "above 254")
		return
	}
	w.cstr("message_id", p.MessageID, sizeMessageID)
	w.u8(byte(len(p.Unsuccess)))
	for _, u := range p.Unsuccess {
		w.address("unsuccess_sme", u.Address, sizeAddress)
		w.u32(uint32(u.Status))
	}
	w.tlvs(p.TLVs)
}

// QuerySM asks for the state of a message (SMPP 3.4 §4.8). Optional parameters
// are none in 3.4; what a peer adds is read over.
type QuerySM struct {
	MessageID string
	Source    Address
}

// CommandID is query_sm.
func (*QuerySM) CommandID() CommandID { return IDQuerySM }

func (p *QuerySM) read(r *reader) {
	p.MessageID = r.cstr("message_id", sizeMessageID, StatusInvMsgID)
	p.Source = r.address("source_addr", sizeAddress, StatusInvSource)
	r.tlvs()
}

func (p *QuerySM) write(w *writer) {
	w.cstr("message_id", p.MessageID, sizeMessageID)
	w.address("source_addr", p.Source, sizeAddress)
}

// QuerySMResp answers QuerySM.
type QuerySMResp struct {
	MessageID string
	FinalDate string // empty while the message is not final
	State     byte   // message_state, SMPP 3.4 §5.2.28
	ErrorCode byte
}

// CommandID is query_sm_resp.
func (*QuerySMResp) CommandID() CommandID { return IDQuerySMResp }

func (p *QuerySMResp) read(r *reader) {
	p.MessageID = r.cstr("message_id", sizeMessageID, StatusInvParLen)
	p.FinalDate = r.cstr("final_date", sizeTime, StatusInvParLen)
	p.State = r.u8("message_state")
	p.ErrorCode = r.u8("error_code")
}

func (p *QuerySMResp) write(w *writer) {
	w.cstr("message_id", p.MessageID, sizeMessageID)
	w.smTime("final_date", p.FinalDate)
	w.u8(p.State)
	w.u8(p.ErrorCode)
}

// CancelSM withdraws a message, or all from Source to Dest when MessageID is
// empty (SMPP 3.4 §4.9).
type CancelSM struct {
	ServiceType  string
	MessageID    string
	Source, Dest Address
}

// CommandID is cancel_sm.
func (*CancelSM) CommandID() CommandID { return IDCancelSM }

func (p *CancelSM) read(r *reader) {
	p.ServiceType = r.cstr("service_type", sizeServiceType, StatusInvServiceType)
	p.MessageID = r.cstr("message_id", sizeMessageID, StatusInvMsgID)
	p.Source = r.address("source_addr", sizeAddress, StatusInvSource)
	p.Dest = r.address("destination_addr", sizeAddress, StatusInvDest)
	r.tlvs()
}

func (p *CancelSM) write(w *writer) {
	w.cstr("service_type", p.ServiceType, sizeServiceType)
	w.cstr("message_id", p.MessageID, sizeMessageID)
	w.address("source_addr", p.Source, sizeAddress)
	w.address("destination_addr", p.Dest, sizeAddress)
}

// ReplaceSM changes a held message (SMPP 3.4 §4.10). It has no data_coding: the
// message's old one holds.
type ReplaceSM struct {
	MessageID          string
	Source             Address
	Schedule, Validity string
	RegisteredDelivery byte
	DefaultMsgID       byte
	ShortMessage       []byte
}

// CommandID is replace_sm.
func (*ReplaceSM) CommandID() CommandID { return IDReplaceSM }

func (p *ReplaceSM) read(r *reader) {
	p.MessageID = r.cstr("message_id", sizeMessageID, StatusInvMsgID)
	p.Source = r.address("source_addr", sizeAddress, StatusInvSource)
	p.Schedule = r.cstr("schedule_delivery_time", sizeTime, StatusInvSchedule)
	p.Validity = r.cstr("validity_period", sizeTime, StatusInvExpiry)
	p.RegisteredDelivery = r.u8("registered_delivery")
	p.DefaultMsgID = r.u8("sm_default_msg_id")
	p.ShortMessage = r.shortMessage()
	r.tlvs()
}

func (p *ReplaceSM) write(w *writer) {
	w.cstr("message_id", p.MessageID, sizeMessageID)
	w.address("source_addr", p.Source, sizeAddress)
	w.smTime("schedule_delivery_time", p.Schedule)
	w.smTime("validity_period", p.Validity)
	w.u8(p.RegisteredDelivery)
	w.u8(p.DefaultMsgID)
	w.shortMessage(p.ShortMessage)
}

// AlertNotification says that a handset is back (SMPP 3.4 §4.12). It has no
// response.
type AlertNotification struct {
	Source, ESME Address // 64 octets each
	TLVs         TLVs
}

// CommandID is alert_notification.
func (*AlertNotification) CommandID() CommandID { return IDAlertNotification }

func (p *AlertNotification) read(r *reader) {
	p.Source = r.address("source_addr", sizeDataAddress, StatusInvSource)
	p.ESME = r.address("esme_addr", sizeDataAddress, StatusInvDest)
	p.TLVs = r.tlvs()
}

func (p *AlertNotification) write(w *writer) {
	w.address("source_addr", p.Source, sizeDataAddress)
	w.address("esme_addr", p.ESME, sizeDataAddress)
	w.tlvs(p.TLVs)
}
