package smpp

import (
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Message types in esm_class (SMPP 3.4 §5.2.12) and the bits beside them.
const (
	esmTypeMask             = 0x3C
	ESMReceipt              = 0x04 // SMSC delivery receipt
	ESMDeliveryAck          = 0x08 // by the recipient's equipment
	ESMUserAck              = 0x10 // by the recipient
	ESMConversationEnd      = 0x18
	ESMIntermediate         = 0x20 // intermediate notification
	ESMUDHI                 = 0x40 // short_message begins with a user data header
	receiptTextRunes        = 20
	receiptDate             = "0601021504" // YYMMDDhhmm
	networkTypeGSM     byte = 3
)

// Receipt is a delivery receipt as it stands in a deliver_sm or data_sm (SMPP
// 3.4 appendix B, which only suggests the form: every vendor has its own).
type Receipt struct {
	ID     string // by the text; empty: the text has none
	TLVID  string // by receipted_message_id; empty: not given
	Sub    int    // parts submitted
	Dlvrd  int    // parts delivered
	Submit time.Time
	Done   time.Time // both zero when missing or unreadable; taken as UTC
	Stat   string    // the word as written; by message_state when the text has none
	State  message.ReceiptState
	Err    string // as written; by network_error_code when the text has none
	Text   string // the first characters of the message
}

// ReceiptOf reads m as a receipt; text is its decoded text. False: it is no
// receipt. With esm_class saying so it is one whatever the text; without, only
// when it carries receipted_message_id and message_state, or when the text has
// an id, a state and a third key of a receipt.
//
// Optional parameters go before the text. Keys are read in any case and order;
// what is missing stays zero.
func ReceiptOf(m *Message, text string) (Receipt, bool) {
	r, keys := parseReceiptText(text)
	id, hasID := m.TLVs.Text(TagReceiptedMessageID)
	state, hasState := m.TLVs.Byte(TagMessageState)
	switch m.ESMClass & esmTypeMask {
	case ESMReceipt, ESMIntermediate:
	case 0:
		byText := keys >= 3 && r.ID != "" && r.Stat != ""
		if !byText && !(hasID && hasState) {
			return Receipt{}, false
		}
	default:
		return Receipt{}, false
	}
	r.TLVID = strings.TrimSpace(id)
	var known bool
	r.State, known = message.ParseReceiptState(r.Stat)
	if hasState && state >= 1 && state <= 8 {
		r.State, known = message.ReceiptStateOf(state), true
		if r.Stat == "" {
			r.Stat = string(r.State)
		}
	}
	if !known && m.ESMClass&esmTypeMask == ESMIntermediate {
		r.State = message.ReceiptEnroute
	}
	if v, ok := m.TLVs.Get(TagNetworkErrorCode); ok && len(v) == 3 && r.Err == "" {
		r.Err = fmt.Sprintf("%03d", int(v[1])<<8|int(v[2]))
	}
	return r, true
}

// Marked reports whether esm_class says what m is, if it is no plain message.
func (m *Message) Marked() bool { return m.ESMClass&esmTypeMask != 0 }

// receiptKeys are the keys in lower case without blanks, as keyAt reads them.
var receiptKeys = []string{"id", "sub", "dlvrd", "submitdate", "donedate", "stat", "err", "text"}

// keyJoiner takes the blanks out of a key. It is made once: making it costs some
// 2 KB, and every word of a text that stands before a colon may be a key.
var keyJoiner = strings.NewReplacer(" ", "", "_", "")

// parseReceiptText reads the keys of a receipt text and counts them. What
// follows text: is the customer's own words and no key is believed there,
// unless the state has not come before.
func parseReceiptText(s string) (r Receipt, keys int) {
	seen := make(map[string]bool, len(receiptKeys))
	for at := 0; at < len(s); {
		key, start := keyAt(s, at)
		if key == "" {
			at++
			continue
		}
		value, next := receiptValue(s, start, key)
		at = max(next, start)
		if seen[key] {
			continue
		}
		seen[key] = true
		keys++
		r.set(key, value)
		if key == "text" && seen["stat"] {
			break
		}
	}
	return r, keys
}

// keyAt reads a key with its colon that begins at s[at], at the beginning of a
// word. start is where its value begins.
func keyAt(s string, at int) (key string, start int) {
	if at > 0 && s[at-1] != ' ' && s[at-1] != '\t' && s[at-1] != '\n' && s[at-1] != '\r' && s[at-1] != ',' {
		return "", 0
	}
	colon := strings.IndexByte(s[at:min(len(s), at+len("submit date")+2)], ':')
	if colon < 1 {
		return "", 0
	}
	word := keyJoiner.Replace(strings.ToLower(s[at : at+colon]))
	for _, k := range receiptKeys {
		if word == k {
			return k, at + colon + 1
		}
	}
	return "", 0
}

// receiptValue reads a value up to the next blank, or to the end for text. One
// blank after the colon is skipped, if no other key follows it.
func receiptValue(s string, start int, key string) (value string, next int) {
	if key == "text" {
		return s[start:], start // read on: see parseReceiptText
	}
	if start < len(s) && s[start] == ' ' {
		if k, _ := keyAt(s, start+1); k != "" {
			return "", start
		}
		start++
	}
	end := strings.IndexAny(s[start:], " \t\r\n,")
	if end < 0 {
		end = len(s) - start
	}
	return strings.Trim(s[start:start+end], "\x00"), start + end
}

func (r *Receipt) set(key, value string) {
	switch key {
	case "id":
		r.ID = value
	case "sub":
		r.Sub, _ = number(clip(value, 4))
	case "dlvrd":
		r.Dlvrd, _ = number(clip(value, 4))
	case "submitdate":
		r.Submit = receiptTime(value)
	case "donedate":
		r.Done = receiptTime(value)
	case "stat":
		r.Stat = value
	case "err":
		r.Err = value
	case "text":
		r.Text = value
	}
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// receiptTime reads the dates that vendors write: YYMMDDhhmm, with seconds,
// with a four-digit year, or an SMPP time. Anything else is the zero time.
func receiptTime(s string) time.Time {
	if t, err := ParseTime(s, time.Time{}); err == nil && len(s) == sizeTime-1 && s[15] != 'R' {
		return t
	}
	for _, layout := range []string{receiptDate, "060102150405", "200601021504", "20060102150405"} {
		if len(layout) != len(s) {
			continue
		}
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// String is the receipt's text in the usual form, dates in UTC. Of Text at most
// 20 characters are written; a missing Err is 000.
func (r Receipt) String() string {
	err := r.Err
	if err == "" {
		err = "000"
	}
	text := []rune(r.Text)
	return fmt.Sprintf("id:%s sub:%03d dlvrd:%03d submit date:%s done date:%s stat:%s err:%s text:%s",
		r.ID, r.Sub, r.Dlvrd, r.Submit.UTC().Format(receiptDate), r.Done.UTC().Format(receiptDate),
		r.State, err, string(text[:min(len(text), receiptTextRunes)]))
}

// AppendTLVs adds receipted_message_id, message_state and, for an Err that is a
// number, network_error_code of the GSM kind.
func (r Receipt) AppendTLVs(t *TLVs) {
	t.AddCString(TagReceiptedMessageID, r.ID)
	t.AddByte(TagMessageState, r.State.Number())
	if n, ok := number(r.Err); ok && r.Err != "" && len(r.Err) <= 5 && n <= 0xFFFF {
		t.Add(TagNetworkErrorCode, []byte{networkTypeGSM, byte(n >> 8), byte(n)})
	}
}
