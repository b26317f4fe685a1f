package ingress

import (
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// read makes the message of a request, or says what is wrong with it.
func (in *Ingress) read(s *snapshot.Snapshot, r Request, now time.Time) (*message.Message, error) {
	account := s.Accounts[r.AccountID]
	if account == nil {
		return nil, message.Refuse(message.ReasonAccountSuspended, "the account does not exist any more")
	}
	if r.Refused != nil {
		return nil, r.Refused
	}
	id := r.ID
	if id == (message.ID{}) {
		id = message.NewID()
	}
	m := &message.Message{ID: id, AccountID: r.AccountID, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted,
		Edge: r.Edge, Automatic: r.Automatic, BatchID: r.BatchID, ClientReference: r.ClientReference, Metadata: r.Metadata, WebhookURL: r.WebhookURL, WebhookFailover: r.WebhookFailover,
		FailuresOnly: r.FailuresOnly, Callback: r.Callback, RetryOf: r.RetryOf, TraceParent: r.TraceParent, SendAt: r.SendAt, CreatedAt: now.UTC().Truncate(time.Millisecond)}
	m.UpdatedAt = m.CreatedAt
	setGroup(r, m)
	var err error
	if m.To, err = message.ParseRecipient(r.To); err != nil {
		return nil, field(err, "body.to")
	}
	if err := setSender(s, account, r, m); err != nil {
		return nil, field(err, "body.from")
	}
	if err := setMedia(r, m); err != nil {
		return nil, err
	}
	if err := in.setText(account, r, m); err != nil {
		return nil, err
	}
	if err := setPolicy(account, r, m); err != nil {
		return nil, err
	}
	if err := setTimes(r, m, now); err != nil {
		return nil, err
	}
	if err := in.checkURL(r.WebhookURL, "body.webhook_url"); err != nil {
		return nil, err
	}
	return m, in.checkURL(r.WebhookFailover, "body.webhook_failover_url")
}

func (in *Ingress) checkURL(url, where string) error {
	if url == "" || in.CheckURL == nil {
		return nil
	}
	if err := in.CheckURL(url); err != nil {
		return field(err, where)
	}
	return nil
}

// field names the field that an error is about.
func field(err error, where string) error {
	e := *message.AsError(err)
	if len(e.Fields) == 0 {
		e.Fields = []message.FieldError{{Location: where, Message: e.Detail}}
	}
	return &e
}

func setSender(s *snapshot.Snapshot, account *snapshot.Account, r Request, m *message.Message) error {
	used, asked, err := Sender(s, account, r.From)
	if err != nil {
		return err
	}
	if r.Automatic && asked != "" { // it answers from the number that was written to
		used, asked = asked, ""
	}
	m.From, m.RequestedFrom = used, asked
	return nil
}

func (in *Ingress) setText(account *snapshot.Account, r Request, m *message.Message) error {
	if m.Kind == message.MMS {
		return setMMSText(account, r, m)
	}
	m.DataCoding, m.Header, m.TLVs = r.DataCoding, r.Header, r.TLVs
	if r.Encoding == message.EncodingBinary || len(r.Header) > 0 {
		return setOctets(account, r, m)
	}
	if r.Body == "" {
		return field(message.Refuse(message.ReasonInvalidRequest, "body is required"), "body.body")
	}
	if n := utf8.RuneCountInString(r.Body); n > maxCharacters {
		return field(message.Refuse(message.ReasonMessageTooLong, "body has %d characters, %d are allowed", n, maxCharacters), "body.body")
	}
	smart := account.SmartEncoding
	if r.SmartEncoding != nil {
		smart = *r.SmartEncoding
	}
	wish := r.Encoding
	if wish == "" {
		wish = message.EncodingAuto
	}
	layout, err := text.Plan(r.Body, wish, smart)
	if err != nil {
		return field(err, "body.body")
	}
	return setParts(account, m, layout.Text, layout.Encoding, len(layout.Parts))
}

func setPolicy(account *snapshot.Account, r Request, m *message.Message) error {
	m.Class, m.Delivery = r.Class, r.Delivery
	if m.Class == "" {
		m.Class = account.DefaultClass
	}
	if m.Delivery == "" {
		m.Delivery = account.Delivery
	}
	if !m.Class.Valid() {
		return field(message.Refuse(message.ReasonInvalidRequest, "message_class must be otp, conversation or bulk"), "body.message_class")
	}
	if !m.Delivery.Valid() {
		return field(message.Refuse(message.ReasonInvalidRequest, "delivery must be at_most_once or at_least_once"), "body.delivery")
	}
	return nil
}

func setTimes(r Request, m *message.Message, now time.Time) error {
	validity := r.Validity
	if validity == 0 {
		validity = m.Class.Validity()
	}
	if err := checkValidity(validity); err != nil {
		return err
	}
	from := m.CreatedAt
	if !r.SendAt.IsZero() {
		if err := checkSendAt(r.SendAt, now); err != nil {
			return err
		}
		if r.SendAt.After(now) {
			from = r.SendAt
		}
		m.SendAt = r.SendAt.UTC().Truncate(time.Millisecond)
	}
	m.ExpiresAt = from.Add(validity).UTC().Truncate(time.Millisecond)
	return nil
}

func checkValidity(validity time.Duration) error {
	if validity < message.MinValidity || validity > message.MaxValidity {
		return field(message.Refuse(message.ReasonInvalidSchedule, "validity_seconds must be from 60 to 259200"), "body.validity_seconds")
	}
	return nil
}

func checkSendAt(at, now time.Time) error {
	switch ahead := at.Sub(now); {
	case ahead > maxSchedule:
		return field(message.Refuse(message.ReasonInvalidSchedule, "send_at may lie at most 35 days ahead"), "body.send_at")
	case ahead < -pastSchedule:
		return field(message.Refuse(message.ReasonInvalidSchedule, "send_at lies in the past"), "body.send_at")
	}
	return nil
}
