package smpp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/linxGnu/gosmpp/data"
)

// CommandID is a command_id (SMPP 3.4 §5.1.2.1). Responses have the top bit
// set, which makes them negative in gosmpp's signed type.
type CommandID = data.CommandIDType

// The command ids of SMPP 3.4 §5.1.2.1.
const (
	IDGenericNack         = data.GENERIC_NACK
	IDBindReceiver        = data.BIND_RECEIVER
	IDBindReceiverResp    = data.BIND_RECEIVER_RESP
	IDBindTransmitter     = data.BIND_TRANSMITTER
	IDBindTransmitterResp = data.BIND_TRANSMITTER_RESP
	IDBindTransceiver     = data.BIND_TRANSCEIVER
	IDBindTransceiverResp = data.BIND_TRANSCEIVER_RESP
	IDOutbind             = data.OUTBIND
	IDUnbind              = data.UNBIND
	IDUnbindResp          = data.UNBIND_RESP
	IDEnquireLink         = data.ENQUIRE_LINK
	IDEnquireLinkResp     = data.ENQUIRE_LINK_RESP
	IDSubmitSM            = data.SUBMIT_SM
	IDSubmitSMResp        = data.SUBMIT_SM_RESP
	IDSubmitMulti         = data.SUBMIT_MULTI
	IDSubmitMultiResp     = data.SUBMIT_MULTI_RESP
	IDDeliverSM           = data.DELIVER_SM
	IDDeliverSMResp       = data.DELIVER_SM_RESP
	IDDataSM              = data.DATA_SM
	IDDataSMResp          = data.DATA_SM_RESP
	IDQuerySM             = data.QUERY_SM
	IDQuerySMResp         = data.QUERY_SM_RESP
	IDCancelSM            = data.CANCEL_SM
	IDCancelSMResp        = data.CANCEL_SM_RESP
	IDReplaceSM           = data.REPLACE_SM
	IDReplaceSMResp       = data.REPLACE_SM_RESP
	IDAlertNotification   = data.ALERT_NOTIFICATION
)

// isResponse tells responses, generic_nack among them, from requests by the
// top bit.
func isResponse(id CommandID) bool { return id < 0 }

// responseID is the id of the answer to a request (SMPP 3.4 §5.1.2).
func responseID(id CommandID) CommandID { return id | IDGenericNack }

// Status is a command_status (SMPP 3.4 §5.1.3). The zero Status is success.
type Status uint32

// The command_status values that this project sends or tells apart.
const (
	StatusOK               = Status(data.ESME_ROK)
	StatusInvMsgLen        = Status(data.ESME_RINVMSGLEN)
	StatusInvCmdLen        = Status(data.ESME_RINVCMDLEN)
	StatusInvCmdID         = Status(data.ESME_RINVCMDID)
	StatusInvBindState     = Status(data.ESME_RINVBNDSTS)
	StatusAlreadyBound     = Status(data.ESME_RALYBND)
	StatusInvPriority      = Status(data.ESME_RINVPRTFLG)
	StatusInvRegDelivery   = Status(data.ESME_RINVREGDLVFLG)
	StatusSystemError      = Status(data.ESME_RSYSERR)
	StatusInvSource        = Status(data.ESME_RINVSRCADR)
	StatusInvDest          = Status(data.ESME_RINVDSTADR)
	StatusInvMsgID         = Status(data.ESME_RINVMSGID)
	StatusBindFail         = Status(data.ESME_RBINDFAIL)
	StatusInvPassword      = Status(data.ESME_RINVPASWD)
	StatusInvSystemID      = Status(data.ESME_RINVSYSID)
	StatusCancelFail       = Status(data.ESME_RCANCELFAIL)
	StatusReplaceFail      = Status(data.ESME_RREPLACEFAIL)
	StatusMsgQueueFull     = Status(data.ESME_RMSGQFUL)
	StatusInvServiceType   = Status(data.ESME_RINVSERTYP)
	StatusInvNumDests      = Status(data.ESME_RINVNUMDESTS)
	StatusInvDestFlag      = Status(data.ESME_RINVDESTFLAG)
	StatusInvSubReplace    = Status(data.ESME_RINVSUBREP)
	StatusInvESMClass      = Status(data.ESME_RINVESMCLASS)
	StatusNoDistList       = Status(data.ESME_RCNTSUBDL)
	StatusSubmitFail       = Status(data.ESME_RSUBMITFAIL)
	StatusInvSourceTON     = Status(data.ESME_RINVSRCTON)
	StatusInvSourceNPI     = Status(data.ESME_RINVSRCNPI)
	StatusInvDestTON       = Status(data.ESME_RINVDSTTON)
	StatusInvDestNPI       = Status(data.ESME_RINVDSTNPI)
	StatusInvSystemType    = Status(data.ESME_RINVSYSTYP)
	StatusInvReplaceFlag   = Status(data.ESME_RINVREPFLAG)
	StatusThrottled        = Status(data.ESME_RTHROTTLED)
	StatusInvSchedule      = Status(data.ESME_RINVSCHED)
	StatusInvExpiry        = Status(data.ESME_RINVEXPIRY)
	StatusInvDefaultMsgID  = Status(data.ESME_RINVDFTMSGID)
	StatusTempAppError     = Status(data.ESME_RX_T_APPN)
	StatusPermAppError     = Status(data.ESME_RX_P_APPN)
	StatusRejectAppError   = Status(data.ESME_RX_R_APPN)
	StatusQueryFail        = Status(data.ESME_RQUERYFAIL)
	StatusInvOptParStream  = Status(data.ESME_RINVOPTPARSTREAM)
	StatusOptParNotAllowed = Status(data.ESME_ROPTPARNOTALLWD)
	StatusInvParLen        = Status(data.ESME_RINVPARLEN)
	StatusMissingOptParam  = Status(data.ESME_RMISSINGOPTPARAM)
	StatusInvOptParamVal   = Status(data.ESME_RINVOPTPARAMVAL)
	StatusDeliveryFailure  = Status(data.ESME_RDELIVERYFAILURE)
	StatusUnknownError     = Status(data.ESME_RUNKNOWNERR)

	// SMPP 5.0 §4.7.6; 3.4 peers use them all the same.
	StatusServiceTypeUnauthorized Status = 0x100
	StatusProhibited              Status = 0x101
	StatusInvDataCoding           Status = 0x104
)

// String is the name without its ESME_ prefix, such as RTHROTTLED; a value
// without a name, the vendor range 400-4FF among them, is its hex number.
func (s Status) String() string {
	switch s {
	case StatusServiceTypeUnauthorized:
		return "RSERTYPUNAUTH"
	case StatusProhibited:
		return "RPROHIBITED"
	case StatusInvDataCoding:
		return "RINVDCS"
	case Status(data.ESME_LAST_ERROR): // a bound of gosmpp's table, no status
		return "0x0000012C"
	}
	if name, ok := strings.CutPrefix(data.CommandStatusType(s).String(), "ESME_"); ok {
		return name
	}
	return fmt.Sprintf("0x%08X", uint32(s))
}

// Code is the number as staff and code maps write it, such as 0x0B, 0x58,
// 0x400. The prefix keeps it apart from the err codes of receipts.
func (s Status) Code() string { return fmt.Sprintf("0x%02X", uint32(s)) }

// ParseStatus reads a status as staff and code maps write it: 0x0B in any case and with
// any zeros, or its name, with or without ESME_. False: it is none, as the err of a
// receipt, which has no 0x.
func ParseStatus(s string) (Status, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if digits, ok := strings.CutPrefix(s, "0X"); ok {
		n, err := strconv.ParseUint(digits, 16, 32)
		return Status(n), err == nil
	}
	name, _ := strings.CutPrefix(s, "ESME_")
	for st := StatusOK; st <= StatusInvDataCoding; st++ {
		if st.String() == name {
			return st, true
		}
	}
	return 0, false
}
