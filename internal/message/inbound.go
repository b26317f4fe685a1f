package message

import "time"

// InboundMessage is one inbound PDU or request as the vendor wrote it: a message from a
// handset, or one part of it.
type InboundMessage struct {
	VendorID   ID
	VendorRef  string // the vendor's id for it, for deduplication; may be empty
	From, To   string // as written
	FromTON    byte   // types of number beside them (SMPP 3.4 §5.2.5); 0: not said
	ToTON      byte
	Kind       Kind           // empty: SMS
	Subject    string         // of an MMS
	Media      []InboundMedia // of an MMS
	Group      []string       // of a group MMS: all its recipients as written, To among them; nil: it has one
	Files      []MediaFile    // of an MMS that came with its files, in their order: they are in the store; Media is nil then
	MM4        *MM4Origin     // of a vendor's MM4_forward.REQ that asks for reports; nil: nobody is told what becomes of it
	Text       string         // empty if it could not be decoded
	Raw        []byte         // octets as received: of a part, and when the text could not be decoded; else nil
	Header     []byte         // elements of the user data header beside concatenation; nil: none
	DataCoding byte           // how Raw is coded
	Alphabet   string         // what data_coding 0 meant there, as in text.Decode
	Encoding   Encoding       // of Text; binary when there is none
	Reference  int            // concatenation reference, its kind above bit 15, with Part and Parts; Parts 0 or 1: whole
	Part       int
	Parts      int
	ReceivedAt time.Time
}

// InboundMedia is a file of an inbound MMS as the vendor offers it.
type InboundMedia struct {
	URL         string `json:"url"` // at the vendor; it may need the vendor's credentials, and it may end soon
	ContentType string `json:"content_type"`
	Size        int64  `json:"size,omitempty"`   // octets; 0: not said
	SHA256      string `json:"sha256,omitempty"` // hex; empty: not said
	// Link is where the gateway serves the file that it has fetched; empty: it has not,
	// or could not. It is not stored.
	Link string `json:"-"`
	// LinkUntil is until when it does so at least. It is not stored.
	LinkUntil time.Time `json:"-"`
}

// TextLeast is how long a text, and files beside it, are kept at least after they came,
// whatever an account wants.
const TextLeast = 3 * time.Hour

// MaxGroup is how many recipients of a group are kept. Handsets and vendors allow fewer:
// Telnyx 8, most carriers 20.
const MaxGroup = 100

// Whole reports whether it is all of a message.
func (m InboundMessage) Whole() bool { return m.Parts <= 1 }

// KeywordAction is what a word that an inbound message consists of does.
type KeywordAction string

// The actions.
const (
	KeywordNone  KeywordAction = ""
	KeywordStop  KeywordAction = "stop"
	KeywordStart KeywordAction = "start"
	KeywordHelp  KeywordAction = "help"
)

// Arrival is an inbound message on its way into the journal with what must be
// committed with it.
type Arrival struct {
	InboundMessage
	ID        ID
	AccountID ID      // who owns the number; zero: nobody, it is kept for staff
	Sender    Address // who wrote it: canonical if From is a number, else as written
	Number    Address // to whom: canonical if To is a number, else as written
	Keyword   string  // the word that it is, as the sets list it; empty: none
	Action    KeywordAction
	IfStopped bool // the word is one only when the sender had stopped the messages
	ForHuman  bool // somebody should read it: it may ask for an end of the messages
	// Act says what the Action does, or what the number answers by itself; nil: nothing,
	// as for a number of nobody's.
	Act *KeywordAct
	// Message is what it becomes in the record; nil: it is a part, or the number is
	// nobody's, or it is too old to be delivered.
	Message *Message
	// Recipients are those of Group: canonical if they are numbers, else as written.
	Recipients []Address
	Joined     int // parts that it came in; 0: it came whole
	Missing    int // of those, the ones that never came

	// Join makes the message of the set that a part ends; nil: it is no part. It is
	// called within a transaction, maybe more than once, and does no I/O.
	Join func(InboundSet) Arrival
	// Wait is how long after its newest part a set waits for the others.
	Wait time.Duration
}

// InboundSet is what has come of a message in parts.
type InboundSet struct {
	Parts []InboundMessage // by their numbers, each once; at least one
}

// Missing is how many of the parts have not come.
func (s InboundSet) Missing() int { return s.Parts[0].Parts - len(s.Parts) }

// Unrouted is a message to a number that was nobody's.
type Unrouted struct {
	ID ID
	InboundMessage
	Joined, Missing int // as in Arrival
}

// InboundStart is an inbound message whose workflow is to be started.
type InboundStart struct {
	MessageID ID
	AccountID ID
}

// KeywordAct is what the action of a keyword changes. Without an action it is a
// number's own answer, and there is a Reply alone.
type KeywordAct struct {
	OptOut OptOut // of a stop: what is recorded; of a start: its pair, campaign and scope say what is ended
	// Tell gives the event of it; nil: there is none.
	Tell OptOutTell
	// Reply is the one answer that is owed when something has changed, or to a call
	// for help; nil: none is given.
	Reply *AutomaticReply
}

// Arrived says what the journal made of an Arrival.
type Arrived struct {
	// Again: the vendor has sent it before, under the same id; nothing was done.
	Again bool
	// Changed: an opt-out was recorded or ended.
	Changed bool
	// Reply is the answer that is owed now; nil: none.
	Reply *AutomaticReply
	// Start is the message that is in the record now; nil: none.
	Start *InboundStart
	// Wholes are the messages that a part has ended: its own set, and what was left of
	// an older one with its reference.
	Wholes []ArrivedWhole
}

// ArrivedWhole is a message that was made of parts.
type ArrivedWhole struct {
	AccountID ID // zero: the number is nobody's
	Missing   int
	Reply     *AutomaticReply
	Start     *InboundStart
}

// AutomaticReply is an answer of the gateway's own to STOP, START or HELP, or of a
// number to whatever it is sent, that is not accepted as a message yet.
type AutomaticReply struct {
	ID        ID // of the message that it becomes
	InboundID ID
	AccountID ID
	From, To  Address
	Text      string
	Action    KeywordAction // what it answers; KeywordNone: it is the number's own
	CreatedAt time.Time
}

// EdgeAutomatic is the Edge of a message that the gateway made itself.
const EdgeAutomatic = "automatic"

// InboundRecord is an inbound message as it is kept, for staff.
type InboundRecord struct {
	ID         ID
	AccountID  ID // zero: the number is nobody's
	VendorID   ID
	From, To   Address
	Text       string // empty if it is binary, or a part
	Encoding   Encoding
	Part       int // of Parts; 0: whole
	Parts      int
	Keyword    string
	Action     KeywordAction
	Changed    bool // the keyword recorded or ended an opt-out
	ForHuman   bool
	RepeatOf   ID  // a message that says the same and came shortly before it; zero: none
	Joined     int // parts that it came in; 0: it came whole
	Missing    int // of those, the ones that never came
	ReceivedAt time.Time
}

// InboundWait is how long after the newest part of an inbound message the gateway
// waits for the others, unless it is told otherwise. Handsets send the parts one after
// the other, within seconds.
const InboundWait = 60 * time.Second

// InboundValidity is how long an inbound message is worth delivering.
const InboundValidity = 72 * time.Hour
