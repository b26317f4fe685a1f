package message

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FeedKept is how long an event stays in the pull feed. Messages are kept longer
// (MinRetention); the event of one that was removed goes with it.
const FeedKept = 30 * 24 * time.Hour

// Told reports whether customers are told that a message has the status; the others are
// steps on the way.
func (s Status) Told() bool {
	return s == StatusAccepted || s == StatusSent || s == StatusInDoubt || s.Final()
}

// EventID is the id of what a customer is told by a line of a message's timeline:
// webhook-id, the same for each endpoint, try and replay, and id in the pull feed. The
// function event_id of the schema is the same. It has the message's time, so the ids of
// events sort by the acceptance of their messages.
func EventID(id ID, sequence int) ID {
	var b [20]byte
	copy(b[:], id[:])
	binary.BigEndian.PutUint32(b[16:], uint32(sequence))
	h := sha256.Sum256(b[:])
	copy(id[9:], h[:])
	return id
}

// Placeholders in the payload of a notification about a message, where the number and
// the time of the timeline's line belong. The journal puts them in, because only there
// are they known. A customer's own text cannot hold them: in JSON all of it is strings.
const (
	SequencePlaceholder  = `"sequence":-1`
	TimestampPlaceholder = `"timestamp":0`
)

// StampLayout is RFC 3339 in UTC with milliseconds, as everywhere in the API.
const StampLayout = "2006-01-02T15:04:05.000Z07:00"

// Filled is a payload with its placeholders replaced.
func Filled(payload string, sequence int, at time.Time) string {
	payload = strings.Replace(payload, SequencePlaceholder, `"sequence":`+strconv.Itoa(sequence), 1)
	return strings.Replace(payload, TimestampPlaceholder, `"timestamp":"`+at.UTC().Format(StampLayout)+`"`, 1)
}

// said is what an event tells of its message that the message's row may not say any more
// when somebody reads the feed. Zero fields are left out: a message of one part that
// costs nothing and goes well needs none.
type said struct {
	Kind     Kind    `json:"type,omitempty"`     // empty: sms
	Segments *int    `json:"segments,omitempty"` // nil: 1
	Price    *Micros `json:"price,omitempty"`    // nil: the message has no price
	Final    bool    `json:"final,omitempty"`    // the price is no estimate

	Code   Reason `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`

	Stat string `json:"stat,omitempty"`
	Err  string `json:"err,omitempty"`
	At   int64  `json:"at,omitempty"` // of the receipt, in Unix milliseconds

	Possible bool `json:"possible_duplicate,omitempty"`
	Late     bool `json:"late,omitempty"`

	Tag   string `json:"tag,omitempty"` // of an inbound message's number
	Group string `json:"group,omitempty"`
}

// Said is what has to be kept of the event that m, as it is now, has its status, so that
// AsSaid can give the same event again; empty: nothing. It holds no text of the message.
func Said(m *Message, late bool) string {
	s := said{Possible: m.DuplicatePoss, Late: late}
	if m.Kind != SMS {
		s.Kind = m.Kind
	}
	if m.Segments != 1 {
		s.Segments = &m.Segments
	}
	if m.Price.Currency != "" {
		s.Price, s.Final = &m.Price.Amount, !m.Price.Estimated
	}
	if e := m.Error; e != nil && m.Status != StatusDelivered {
		s.Code, s.Detail = e.Reason, e.Detail
	}
	if r := m.Receipt; r != nil {
		s.Stat, s.Err, s.At = r.Stat, r.Err, r.At.UnixMilli()
	}
	return s.json()
}

// SaidOfNumber is the same for an inbound message: what its number was called.
func SaidOfNumber(tag, group string) string { return said{Tag: tag, Group: group}.json() }

func (s said) json() string {
	if s == (said{}) {
		return ""
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "" // strings and numbers always marshal
	}
	return string(b)
}

// AsSaid gives a message as it was when the journal wrote that it had the status, from
// its row of today and what Said kept of that moment.
func AsSaid(m *Message, status Status, kept []byte) (as *Message, late bool, err error) {
	s, err := readSaid(kept)
	if err != nil {
		return nil, false, fmt.Errorf("what was told of %s: %w", m.ID, err)
	}
	is := *m
	is.Status, is.Kind, is.Segments, is.DuplicatePoss, is.Error, is.Receipt = status, SMS, 1, s.Possible, nil, nil
	if s.Kind != "" {
		is.Kind = s.Kind
	}
	if s.Segments != nil {
		is.Segments = *s.Segments
	}
	if is.Price = (Price{}); s.Price != nil {
		is.Price = Price{Amount: *s.Price, Currency: m.Price.Currency, Estimated: !s.Final}
	}
	if s.Code != "" {
		is.Error = &Error{Reason: s.Code, Detail: s.Detail}
	}
	if s.Stat != "" {
		is.Receipt = &ReceiptSummary{Stat: s.Stat, Err: s.Err, At: time.UnixMilli(s.At)}
	}
	return &is, s.Late, nil
}

// NumberAsSaid gives what SaidOfNumber kept.
func NumberAsSaid(kept []byte) (tag, group string, err error) {
	s, err := readSaid(kept)
	return s.Tag, s.Group, err
}

func readSaid(kept []byte) (s said, err error) {
	if len(kept) > 0 {
		err = json.Unmarshal(kept, &s)
	}
	return s, err
}

// FeedPosition is a place in an account's feed: behind what lies there. The order is that
// of the fields. The zero position is the beginning.
type FeedPosition struct {
	Transaction uint64
	ID          ID // of the message or, of an event that is of none, of the event
	Sequence    int
}

// FeedQuery asks for a part of an account's feed.
type FeedQuery struct {
	AccountID ID
	Behind    FeedPosition
	Types     []string // of the events that are wanted; nil: all
	Limit     int      // most events
}

// FeedPage is a part of the feed.
type FeedPage struct {
	Events []FeedEvent
	// Next is the position to go on from, whether there were events or not.
	Next FeedPosition
	// More: there may be more behind Next already.
	More bool
}

// FeedEvent is one event of the feed. Of Payload, Message and Received one is set.
type FeedEvent struct {
	ID   ID
	Type string
	At   time.Time
	// Payload is the body of an event that is of no message.
	Payload string
	// Message is an outbound message as it was then; Sequence is the line's number, and
	// Late that the process of the message had ended before.
	Message  *Message
	Sequence int
	Late     bool
	// Received is an inbound message, with what its number was called then.
	Received   *Received
	Tag, Group string
}

// AccountEvent is an event that is of no message: Payload is its body in format event,
// and Deliveries are those to the endpoints that want it. Whoever records it writes all of
// it in the transaction of its fact, the event also when nobody wants it.
type AccountEvent struct {
	ID         ID // webhook-id
	AccountID  ID
	Type       string
	Payload    string
	Deliveries []Notification
}
