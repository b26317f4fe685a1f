package httpvendor

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// attemptParam is the parameter of a status URL that names the attempt.
const attemptParam = "a"

// maxText is how much of an inbound text is kept: what the longest message of 255
// parts may hold.
const maxText = 1 << 17

// hook reads the webhooks of one vendor.
type hook struct {
	spec   Spec
	vendor *snapshot.Vendor
	keys   []string
}

func newHook(spec Spec, v *snapshot.Vendor) (vendors.Hook, error) {
	h := &hook{spec: spec, vendor: v, keys: v.SigningKeys}
	if len(h.keys) == 0 && spec.PasswordSigns && v.Password != "" && account(v) == v.Username {
		h.keys = []string{v.Password}
	}
	if len(h.keys) == 0 {
		return nil, fmt.Errorf("vendor %s: signing_keys is needed to take its webhooks", v.Name)
	}
	for i, key := range h.keys {
		if err := spec.Signature.Key(key); err != nil {
			return nil, fmt.Errorf("vendor %s: signing_keys[%d]: %w", v.Name, i, err)
		}
	}
	return h, nil
}

// Answer is what the vendor wants to hear.
func (h *hook) Answer() (string, []byte) { return h.spec.AnswerType, []byte(h.spec.Answer) }

// Read checks the signature before anything is read.
func (h *hook) Read(r vendors.HookRequest) (vendors.HookEvents, error) {
	if !h.spec.Signature.Signed(h.keys, r) {
		return vendors.HookEvents{}, vendors.ErrSignature
	}
	said, err := h.spec.Read(h.vendor, r)
	if err != nil {
		return vendors.HookEvents{}, err
	}
	var out vendors.HookEvents
	attempt, _ := message.ParseAttemptRef(r.URL.Query().Get(attemptParam)) // other words name nothing
	for _, told := range said.Receipts {
		receipt, err := h.receipt(told)
		if err != nil {
			return vendors.HookEvents{}, err
		}
		receipt.Attempt, receipt.ReceivedAt = attempt, r.Received
		if receipt.DoneAt.IsZero() {
			receipt.DoneAt = r.Received
		}
		out.Receipts = append(out.Receipts, receipt)
	}
	for _, m := range said.Inbound {
		m.VendorID, m.ReceivedAt = h.vendor.ID, r.Received
		m.VendorRef, m.From, m.To = clean(m.VendorRef, maxCode), clean(m.From, maxCode), clean(m.To, maxCode)
		if m.From == "" || m.To == "" {
			return vendors.HookEvents{}, errors.New("a message without a sender or a recipient")
		}
		m.Text = words(m.Text)
		m.Encoding = message.EncodingUCS2
		if text.IsGSM7(m.Text) {
			m.Encoding = message.EncodingGSM7
		}
		if m.Kind = message.SMS; len(m.Media) > 0 {
			m.Kind = message.MMS
		}
		out.Inbound = append(out.Inbound, m)
	}
	return out, nil
}

// words is a text that can be stored.
func words(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// receipt reads what a vendor says of a message. Its reason is by the vendor's code
// map, then by the rows, then by the state.
func (h *hook) receipt(told Receipt) (message.Receipt, error) {
	id := message.NormalizeVendorID(clean(told.ID, maxCode))
	if id == "" {
		return message.Receipt{}, errors.New("a status without the id of its message")
	}
	word, code := clean(told.Word, 32), clean(told.Code, 32)
	state, known := h.spec.States[word]
	if !known {
		state = message.ReceiptUnknown
	}
	r := message.Receipt{
		ID: message.NewID(), VendorID: h.vendor.ID, VendorMessageID: id, State: state, Err: code,
		Source: clean(told.To, maxCode), Destination: clean(told.From, maxCode), DoneAt: told.DoneAt, Raw: "status:" + word,
	}
	if code != "" {
		r.Raw += " code:" + code
	}
	part, final := state.PartState()
	if !final || part == message.PartDelivered {
		return r, nil
	}
	r.Reason = message.ReasonVendorRejected
	if part == message.PartExpired {
		r.Reason = message.ReasonExpired
	}
	if row, ok := h.spec.Codes[code]; ok && row.Reason != message.ReasonVendorUnreachable {
		r.Reason = row.Reason
	}
	if mapped, ok := h.vendor.CodeMap[code]; ok && code != "" && mapped.Known() {
		r.Reason = mapped
	}
	if r.Reason == message.ReasonExpired {
		r.State = message.ReceiptExpired
	}
	return r, nil
}
