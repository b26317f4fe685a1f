package smpp

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// submission is what a submit asks for, read and checked as far as ingress does
// not.
type submission struct {
	common ingress.Request // without recipient and key
	origin message.SMPPOrigin
	to     []recipient // one for each destination, in order
	// content is the text as octets; Parts is above 1 for a part of a message that
	// the ESME has cut itself, and common.Body is empty then.
	content smpp.Content
	parts   int // what each recipient costs of the rate, at least 1
	// key is the idempotency key, empty for none; hash is of all that was asked.
	key     string
	hash    [32]byte
	account *snapshot.Account // whose it is
}

// recipient is one destination as written and as ingress takes it.
type recipient struct {
	written smpp.Address
	number  string
	status  smpp.Status // why it cannot be one
}

// request is what ingress is asked for recipient i.
func (sub *submission) request(i int) ingress.Request {
	r, origin := sub.common, sub.origin
	origin.Dest = written(sub.to[i].written)
	r.To, r.SMPP = sub.to[i].number, &origin
	return r
}

// conversations are those that the submission's messages belong to.
func (sub *submission) conversations() []conversation {
	list := make([]conversation, len(sub.to))
	for i, to := range sub.to {
		list[i] = conversation{sub.common.From, to.number}
	}
	return list
}

func written(a smpp.Address) message.SMPPAddress {
	return message.SMPPAddress{TON: a.TON, NPI: a.NPI, Text: a.Text}
}

// read reads what a submit asks for its destinations. The status is the first
// thing that is wrong, in the order of the rows of api.md §8; a wrong
// destination counts only when none is right.
func (x *exchange) read(c *snapshot.SMPPCredential, m *smpp.Message, dests []smpp.Address) (submission, smpp.Status) {
	config := x.s.Snapshot()
	account := config.Accounts[x.b.account]
	if account == nil {
		account = &snapshot.Account{} // ingress refuses it
	}
	sub := submission{parts: 1, account: account, common: ingress.Request{AccountID: x.b.account, Edge: message.EdgeSMPP}}
	sub.origin = message.SMPPOrigin{CredentialID: x.b.credential, Registered: m.RegisteredDelivery, Source: written(m.Source)}
	coding := m.DataCoding // a replace_sm has none of its own
	sub.origin.Coding = &coding
	if v, ok := m.TLVs.Get(smpp.TagUserMessageReference); ok {
		sub.origin.Reference = bytes.Clone(v) // it aliases the frame
	}
	for _, step := range []func() smpp.Status{
		func() (st smpp.Status) { sub.content, st = m.Content(); return st },
		func() smpp.Status { return checkFlags(m) },
		func() smpp.Status { return sub.readPriority(m.Priority) },
		func() smpp.Status { return sub.readTimes(m, x.s.now()) },
		func() smpp.Status { return checkClass(m.ESMClass) },
		func() smpp.Status { return sub.readAddresses(m.Source, dests, account.DefaultCountry) },
		func() smpp.Status { return sub.readText(m, c.Alphabet, account) },
		func() smpp.Status { return sub.readTLVs(m.TLVs) },
		func() smpp.Status { return sub.readPassed(m.TLVs, config) },
	} {
		if st := step(); st != smpp.StatusOK {
			return submission{}, st
		}
	}
	sub.hash = hashOf(m, dests, sub.content)
	return sub, smpp.StatusOK
}

// registeredReserved are the bits of registered_delivery that SMPP 3.4 §5.2.17
// keeps for itself; its low two bits have no meaning 3 either.
const registeredReserved = 0xE0

func checkFlags(m *smpp.Message) smpp.Status {
	switch {
	case m.ReplaceIfPresent != 0:
		return smpp.StatusInvReplaceFlag
	case m.DefaultMsgID != 0:
		return smpp.StatusInvDefaultMsgID
	case m.RegisteredDelivery&registeredReserved != 0, m.RegisteredDelivery&3 == 3:
		return smpp.StatusInvRegDelivery
	}
	return smpp.StatusOK
}

// readPriority makes a class of the priority_flag. 0, which a data_sm has too,
// leaves it to the account.
func (sub *submission) readPriority(p byte) smpp.Status {
	switch p {
	case 0:
	case 1:
		sub.common.Class = message.ClassConversation
	case 2, 3:
		sub.common.Class = message.ClassOTP
	default:
		return smpp.StatusInvPriority
	}
	return smpp.StatusOK
}

// readTimes reads schedule and validity, absolute or relative to now. What is
// out of range ingress refuses.
func (sub *submission) readTimes(m *smpp.Message, now time.Time) smpp.Status {
	sendAt, err := smpp.ParseTime(m.Schedule, now)
	if err != nil {
		return smpp.StatusInvSchedule
	}
	expires, err := smpp.ParseTime(m.Validity, now)
	if err != nil {
		return smpp.StatusInvExpiry
	}
	sub.common.SendAt = sendAt
	if expires.IsZero() {
		return smpp.StatusOK
	}
	from := now
	if sendAt.After(now) {
		from = sendAt
	}
	switch {
	case !expires.After(now):
		return sub.late(m.TLVs, smpp.StatusInvExpiry, "body.validity_seconds")
	case !expires.After(from):
		return sub.late(m.TLVs, smpp.StatusInvSchedule, "body.send_at")
	}
	sub.common.Validity = expires.Sub(from)
	return smpp.StatusOK
}

// The fields of esm_class toward the SMSC (SMPP 3.4 §5.2.12).
const (
	esmModeMask     = 0x03
	esmStoreForward = 0x03
	esmTypeMask     = 0x3C
)

// checkClass takes the default mode, which is store and forward, and that mode
// by name. Datagram and transaction mode promise an answer about the handset
// that a store cannot give; acknowledgements between handsets are not ours to
// make up. The reply path bit is ignored.
func checkClass(esmClass byte) smpp.Status {
	if mode := esmClass & esmModeMask; mode != 0 && mode != esmStoreForward || esmClass&esmTypeMask != 0 {
		return smpp.StatusInvESMClass
	}
	return smpp.StatusOK
}

// readAddresses reads source and destinations. An empty source is the account's
// only sender, as in REST.
func (sub *submission) readAddresses(source smpp.Address, dests []smpp.Address, country string) smpp.Status {
	if strings.TrimSpace(source.Text) != "" {
		switch {
		case !knownTON(source.TON):
			return smpp.StatusInvSourceTON
		case !knownNPI(source.NPI):
			return smpp.StatusInvSourceNPI
		}
		from, err := message.ParseSender(message.Dialable(source.TON, source.Text, country))
		if err != nil {
			return smpp.StatusInvSource
		}
		sub.common.From = string(from)
	}
	sub.to = make([]recipient, len(dests))
	for i, d := range dests {
		sub.to[i] = readRecipient(d, country)
	}
	for _, r := range sub.to {
		if r.status == smpp.StatusOK {
			return smpp.StatusOK
		}
	}
	return sub.to[0].status
}

func readRecipient(a smpp.Address, country string) recipient {
	r := recipient{written: a}
	to, err := message.ParseRecipient(message.Dialable(a.TON, a.Text, country))
	switch {
	case !knownTON(a.TON):
		r.status = smpp.StatusInvDestTON
	case !knownNPI(a.NPI):
		r.status = smpp.StatusInvDestNPI
	case err != nil:
		r.status = smpp.StatusInvDest
	default:
		r.number = string(to)
	}
	return r
}

// tonLast is the last type of number there is (SMPP 3.4 §5.2.5).
const tonLast = 6

func knownTON(ton byte) bool { return ton <= tonLast }

// knownNPI: SMPP 3.4 §5.2.6.
func knownNPI(npi byte) bool {
	switch npi {
	case 0, 1, 3, 4, 6, 8, 9, 10, 14, 18:
		return true
	}
	return false
}

// The rules of our own parameters, those of REST.
const (
	maxKey       = 255
	maxReference = 64
)

// readTLVs reads our own parameters.
func (sub *submission) readTLVs(t smpp.TLVs) smpp.Status {
	key, hasKey := t.Text(smpp.TagIdempotencyKey)
	reference, _ := t.Text(smpp.TagClientReference)
	class, hasClass := t.Text(smpp.TagMessageClass)
	switch {
	case hasKey && !validKey(key),
		!validReference(reference),
		hasClass && !message.Class(class).Valid():
		return smpp.StatusInvOptParamVal
	}
	sub.key, sub.common.ClientReference = key, reference
	if hasClass { // it says more than the priority_flag
		sub.common.Class = message.Class(class)
	}
	return smpp.StatusOK
}

func validKey(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("_:.-", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxKey
}

func validReference(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxReference && strings.IndexFunc(s, unicode.IsControl) < 0
}

// hashOf is the same for two submits that ask for the same, whatever PDU and
// place of the text they use. Times count as written: a relative one means the
// same again.
func hashOf(m *smpp.Message, dests []smpp.Address, c smpp.Content) (sum [32]byte) {
	h := sha256.New()
	field := func(b []byte) { // with its length, so that no two fields run into one
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		h.Write(b)
	}
	address := func(a smpp.Address) {
		field([]byte{a.TON, a.NPI})
		field([]byte(a.Text))
	}
	address(m.Source)
	field(binary.BigEndian.AppendUint16(nil, uint16(len(dests))))
	for _, d := range dests {
		address(d)
	}
	field([]byte{m.Priority, m.RegisteredDelivery, m.DataCoding})
	field([]byte(m.Schedule))
	field([]byte(m.Validity))
	field(c.Octets)
	for _, tag := range []smpp.Tag{smpp.TagUserMessageReference, smpp.TagClientReference, smpp.TagMessageClass} {
		v, _ := m.TLVs.Get(tag)
		field(v)
	}
	// What most submits lack adds nothing, so that their hashes are those of the
	// releases that did not know it.
	if len(c.Header) > 0 {
		field([]byte("header"))
		field(c.Header)
	}
	for _, p := range m.TLVs {
		if smpp.Passable(p.Tag) { // whether or not a vendor takes it today
			field(binary.BigEndian.AppendUint16([]byte("tlv"), uint16(p.Tag)))
			field(p.Data)
		}
	}
	h.Sum(sum[:0])
	return sum
}
