package message

import "time"

// EdgeMM4 is the Edge of a message that came over MM4.
const EdgeMM4 = "mm4"

// ProviderMM4 is the provider_type of vendors that are spoken to over MM4.
const ProviderMM4 = "mm4"

// How long a mail is tried that is owed beside messages.
const (
	MM4ResponseLife = 24 * time.Hour
	MM4ReportLife   = 72 * time.Hour
)

// MM4Origin is what must be repeated in what a peer of MM4, a customer's or a vendor's, is
// told of a message that came from it. It prints nothing of itself in logs: none of its fields is logged.
type MM4Origin struct {
	PeerID         ID
	Reference      string // X-Mms-Message-ID, without quotes and brackets
	Sender         string // the originator's address as the peer wrote it
	Recipient      string // the recipient's
	System         string // where reports go: X-Mms-Originator-System, else the envelope's sender
	DeliveryReport bool   // one was asked for
	ReadReport     bool
}

// MM4MailKind says what a mail is that a peer of MM4 is owed beside messages.
type MM4MailKind string

// The kinds: three responses, and two reports.
const (
	MM4ForwardRES        MM4MailKind = "forward_res"
	MM4DeliveryReport    MM4MailKind = "delivery_report"
	MM4DeliveryReportRES MM4MailKind = "delivery_report_res"
	MM4ReadReport        MM4MailKind = "read_report"
	MM4ReadReportRES     MM4MailKind = "read_report_res"
)

// MM4MailKinds lists every kind once.
func MM4MailKinds() []MM4MailKind {
	return []MM4MailKind{MM4ForwardRES, MM4DeliveryReport, MM4DeliveryReportRES, MM4ReadReport, MM4ReadReportRES}
}

// IsResponse reports whether a mail of the kind answers a request of the peer's.
func (k MM4MailKind) IsResponse() bool {
	return k == MM4ForwardRES || k == MM4DeliveryReportRES || k == MM4ReadReportRES
}

// MM4Response is what a response says.
type MM4Response struct {
	System     string   `json:"system"`               // where it goes
	Reference  string   `json:"reference"`            // X-Mms-Message-ID of the request
	Status     string   `json:"status"`               // X-Mms-Request-Status-Code
	Text       string   `json:"text,omitempty"`       // X-Mms-Status-Text
	Recipients []string `json:"recipients,omitempty"` // X-Mms-Request-Recipients; none: all
}

// MM4Mail is a mail that a peer is owed: a response, or a report of a message.
type MM4Mail struct {
	ID            ID
	PeerID        ID
	Kind          MM4MailKind
	MessageID     ID          // that it is about; zero: of a response to what is no message of ours
	Status        Status      // of a delivery report
	ReadStatus    string      // of a read report: X-Mms-Read-Status
	Reason        Reason      // of a delivery report of a message that failed
	At            time.Time   // when what it tells of happened
	TransactionID string      // of a response: of the request
	Ordinal       int         // of several responses to one request, from 0
	Response      MM4Response // of a response
	Origin        MM4Origin   // of a report: of the message
	ExpiresAt     time.Time   // it is not tried any more then
	Attempts      int         // that were made
}

// MM4MailState is where a mail is.
type MM4MailState string

// The states of a mail.
const (
	MM4MailPending MM4MailState = "pending"
	MM4MailSent    MM4MailState = "sent"
	MM4MailFailed  MM4MailState = "failed"  // refused for good
	MM4MailExpired MM4MailState = "expired" // nobody took it in its time
)

// MM4MailResult is what became of a try of a mail.
type MM4MailResult struct {
	State MM4MailState
	Code  string        // of SMTP, with the enhanced one; empty: there was no answer
	Error string        // for staff; it names no address of a user
	Next  time.Duration // of a pending one: until the next try
}

// MM4Answer is what a vendor has answered to a MM4_forward.REQ of ours.
type MM4Answer struct {
	VendorID  ID
	MessageID ID
	Attempt   int
	Status    string    // X-Mms-Request-Status-Code
	Detail    string    // X-Mms-Status-Text, for staff
	CameAt    time.Time // the zero value is now
	// Doubtful: in the record the attempt is in doubt. Only StaleMM4Answers fills it in.
	Doubtful bool
}

// Ref names the attempt that was answered: an MMS has one part.
func (a MM4Answer) Ref() AttemptRef { return AttemptRef{a.MessageID, 1, a.Attempt} }

// MM4Session is a session that a peer of MM4 has with one of our processes.
type MM4Session struct {
	ID      ID
	PeerID  ID     // zero: not known yet
	Address string // the peer's, without its port; empty: not known yet
	TLS     bool
	State   string // what it is at
	Mails   int    // that were taken
	BeganAt time.Time
}
