package snapshot

import (
	"net/netip"
	"regexp"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
)

// AccountStatus says whether an account may do anything.
type AccountStatus string

// The account statuses.
const (
	AccountActive    AccountStatus = "active"
	AccountSuspended AccountStatus = "suspended"
	AccountClosed    AccountStatus = "closed"
)

// MMSFallback is what becomes of an MMS that no vendor takes, or that all have refused for
// its files.
type MMSFallback string

// The fall-backs. The zero value is none.
const (
	MMSFallbackNone MMSFallback = "none"     // it is refused, or fails
	MMSFallbackLink MMSFallback = "sms_link" // it goes as an SMS: its text, and links to its files
)

// Valid reports whether it is one of the fall-backs.
func (f MMSFallback) Valid() bool { return f == MMSFallbackNone || f == MMSFallbackLink }

// Account is a customer.
type Account struct {
	ID                     message.ID
	ExternalID             string // the customer's id in the operator's other systems; may be empty
	CompanyName            string
	Status                 AccountStatus
	TimeZone               string // IANA name
	DefaultClass           message.Class
	Delivery               message.Delivery
	OrderedConversations   *bool         // nil: yes over SMPP, else no
	ConversationHold       time.Duration // how long a message that does not go holds up its conversation; 1 s to 1 h, 0: DefaultConversationHold
	MaxBacklog             int           // messages that may be on their way out at once; more are refused; 0: DefaultMaxBacklog
	MaxHeld                int           // deliver_sm that may wait for its ESMEs; more end as failed; 0: DefaultMaxHeld
	InternalDelivery       bool
	SmartEncoding          bool
	MaxParts               int             // 1-255
	ContentRetentionDays   int             // how long texts are kept after acceptance; 0: until some hours after it, or the message's end
	DefaultCountry         string          // ISO 3166 alpha-2
	AllowedSourceAddresses []string        // senders allowed beside owned numbers
	AllowedDestinations    []string        // digits that recipients must begin with; empty: anywhere
	ForceSourceAddress     message.Address // replaces every sender; empty: none
	APIRateLimit           int             // messages per second accepted over the API
	APIBurst               int             // how many more may come within one second; see limit.Rate; 0: none
	EncodingMismatchStatus uint32          // command_status over SMPP for message.ReasonEncodingMismatch; 0: the catalogue's
	OptedOutStatus         uint32          // the same for message.ReasonOptedOut
	WebhookSecret          string          // signs for URLs without a secret of their own
	WebhookOldSecret       string          // signs as well until WebhookOldUntil
	WebhookOldUntil        time.Time       // zero: no overlap runs
	Prepaid                bool            // messages are paid in advance
	Limited                bool            // it has usage limits: which, the journal looks up when it counts
	// OptOutScope is how much of its traffic a recipient stops who writes STOP to one
	// of its numbers; empty: the number.
	OptOutScope message.OptOutScope
	// ResendAfter: a one-time password that may be sent twice goes to the next vendor
	// when its receipt stays away for so long; 0: never.
	ResendAfter time.Duration
	// MMSFallback is what becomes of an MMS that no vendor takes.
	MMSFallback MMSFallback
	// MediaTranscoding is what is done with the files of its messages over REST that do
	// not say: "auto" or "bypass"; empty: auto.
	MediaTranscoding string

	Keywords     Keywords // that its recipients may write, beside those of everybody
	StopReply    string   // answers to STOP, START and HELP where a campaign has none; empty: the gateway's
	StartReply   string
	HelpReply    string
	QuietHours   quiet.Policy    // what is done with bulk messages in quiet hours; empty: quiet.PolicyWait
	QuietWindows *quiet.Override // its own windows, in place of those of the recipient's region; nil: none
}

// Metered reports whether the account's messages take of usage limits or of a
// balance.
func (a *Account) Metered() bool { return a.Prepaid || a.Limited }

// Defaults of an account.
const (
	DefaultConversationHold = 10 * time.Second
	DefaultMaxBacklog       = 100_000
	DefaultMaxHeld          = 100_000
)

// Ordered reports whether messages that came by the edge leave in the order of
// their conversation.
func (a *Account) Ordered(edge string) bool {
	if a.OrderedConversations != nil {
		return *a.OrderedConversations
	}
	return edge == message.EdgeSMPP
}

// Credential is a key and secret of the API. The secret itself is never held:
// only its keyed hash.
type Credential struct {
	ID                 message.ID
	AccountID          message.ID
	Name               string
	Key                string
	SecretHash         []byte
	PreviousSecretHash []byte    // valid until PreviousUntil, for rotation with overlap
	PreviousUntil      time.Time // zero: no overlap runs
	Scopes             []string
	AllowedNumbers     []string       // empty: all of the account's
	AllowedIPs         []netip.Prefix // empty: from anywhere
	RateLimit          int            // messages per second, of the account's; 0: as many as the account may
	Burst              int            // to RateLimit what APIBurst is to the account's
	ExpiresAt          time.Time      // zero: never
}

// SMPPCredential is what an ESME of a customer binds with, or a vendor that binds to us.
type SMPPCredential struct {
	ID           message.ID
	AccountID    message.ID // zero: a vendor's
	VendorID     message.ID // zero: an account's
	SystemID     string     // 1 to 15 octets, unique over all accounts
	PasswordHash string     // bcrypt
	Enabled      bool
	AllowedIPs   []netip.Prefix // empty: from anywhere
	MaxBinds     int            // at once, over all processes
	Throughput   int            // parts a second, over all binds
	Window       int            // unanswered requests of a session, each way
	Receiver     bool           // may bind as a receiver
	Transmitter  bool
	Transceiver  bool
	RequireTLS   bool
	ReceiptTLVs  bool          // receipts carry optional parameters beside their text
	LongMO       string        // udh, sar, payload: how long inbound texts go out
	MOLifetime   time.Duration // how long a deliver_sm is held while nobody is bound
	Alphabet     string        // what data_coding 0 means, as in text.Decode
}

// NumberType is the kind of a number.
type NumberType string

// The number types.
const (
	LongCode  NumberType = "long_code"
	TollFree  NumberType = "toll_free"
	ShortCode NumberType = "short_code"
)

// Number is a sender and inbound address that an account owns.
type Number struct {
	Number       message.Address
	AccountID    message.ID
	VendorID     message.ID // the vendor that hosts it; zero: any
	Type         NumberType
	SMSEnabled   bool
	MMSEnabled   bool
	Campaign     message.ID // row id of its 10DLC campaign; zero: none
	Verification string     // toll-free: unverified, pending, approved
	LeasedUntil  time.Time  // of a short code; zero: not known
	Tag, Group   string
	RateLimit    int    // messages a second that are taken with it as sender, over all edges; 0: no limit of its own
	AutoReply    string // what it answers to whoever writes to it, within limits; empty: nothing
}

// NumberTypeOf is the type that a number's digits have.
func NumberTypeOf(a message.Address) NumberType {
	switch {
	case a.Kind() == message.ShortCode:
		return ShortCode
	case a.TollFree():
		return TollFree
	}
	return LongCode
}

// CampaignStatus is the registration's state.
type CampaignStatus string

// The campaign statuses.
const (
	CampaignDraft     CampaignStatus = "draft"
	CampaignPending   CampaignStatus = "pending"
	CampaignActive    CampaignStatus = "active"
	CampaignSuspended CampaignStatus = "suspended"
	CampaignRejected  CampaignStatus = "rejected"
	CampaignExpired   CampaignStatus = "expired"
)

// Campaign is a 10DLC campaign.
type Campaign struct {
	ID            message.ID
	AccountID     message.ID
	CampaignID    string     // the registry's id
	Brand         message.ID // row id; zero: none
	UseCase       string
	Class         string // AT&T's message class, such as A or T; empty: not known
	Status        CampaignStatus
	Throughput    int       // SMS parts a minute; 0: unlimited
	MMSThroughput int       // the same of MMS
	PerNumber     bool      // both are each number's, not the campaign's
	DailyCap      int       // parts a day; 0: the brand's alone
	Carriers      []Carrier // what single carriers say of it
	StopReply     string    // the answers to STOP, HELP and START; empty: the account's
	HelpReply     string
	StartReply    string
	NoLinks       bool // it was registered without links in its texts; false: with, or it is not known
	NoPhones      bool // the same of phone numbers
}

// Carrier is what one carrier says of a campaign.
type Carrier struct {
	Network string `json:"network"`       // the carrier's name
	Status  string `json:"status"`        // review, approved, rejected, suspended
	TPM     int    `json:"tpm,omitempty"` // parts a minute; 0: not reported
}

// Brand is a company as the campaign registry knows it.
type Brand struct {
	ID             message.ID
	AccountID      message.ID
	BrandID        string // the registry's id; empty: not registered
	Name           string
	Status         string // unregistered, pending, approved, failed
	IdentityStatus string
	VettingScore   int    // 0-100; -1: not vetted
	Tier           string // T-Mobile's
	DailyCap       int    // parts a day in US Pacific time, over all vendors; 0: none
	CapKey         string // brands of one company share it, and the cap with it
}

// Vendor is an upstream link as its row describes it. Quirks of a vendor are
// fields here and nowhere else.
type Vendor struct {
	ID           message.ID
	Name         string // instance_name: names the queue vendor.<name>, at most 50 of [A-Za-z0-9_-]
	DisplayName  string
	ProviderType string // smpp, mm4, twilio, telnyx; internal: the gateway itself
	Active       bool
	Paused       bool  // takes no messages; its binds stay, and receipts come
	Draining     bool  // takes no messages, and those that wait for it go to others
	Version      int64 // grows when the row changes in what a link is made from; then it is made anew

	Host       string
	Port       int
	Username   string // system_id
	Password   string // in clear only in memory; never logged
	UseTLS     bool
	TLSCA      string // PEM; empty: the system's roots
	ServerName string // for TLS when it differs from Host
	BindType   string // transmitter, receiver, transceiver
	SystemType string
	ClientCert string // PEM, for vendors that ask for one; empty: none
	ClientKey  string // PEM, as Password

	BaseURL            string   // of an HTTP vendor's API; empty: the vendor's own
	AccountSID         string   // the account at an HTTP vendor
	MessagingProfileID string   // Telnyx: messaging profile; Twilio: messaging service; empty: none
	SigningKeys        []string // what its webhooks are signed with, newest first; as Password

	Throughput int // parts per second over all its links; 0: unlimited
	Priority   int // smaller first
	CostPerSMS message.Micros
	CostPerMMS message.Micros
	Window     int // unanswered submits of a bind; 0: 10
	MaxBinds   int // over all processes; 0: 1

	SupportsAlphanumeric bool
	SupportsUnicode      bool
	SupportsMMS          bool

	IDFormat        string                    // same, hex_to_dec (answer hex, receipt decimal), dec_to_hex
	LongMessage     string                    // udh, sar, payload
	DefaultAlphabet string                    // what data_coding 0 means there: gsm7, latin1, ascii
	CodeMap         map[string]message.Reason // vendor codes and receipt errs to reasons, over the built-in table
	PassTLVs        []uint16                  // tags of customers' optional parameters that it is given
	MediaProfile    string                    // what media it takes; empty: that of its kind

	// Types of number and numbering plans of addresses (SMPP 3.4 §5.2.5, §5.2.6); nil: by
	// the kind of the address.
	SourceTON, SourceNPI, DestTON, DestNPI *byte
	AddressTON, AddressNPI                 byte   // of the bind
	AddressRange                           string // of the bind
	DefaultCoding                          byte   // data_coding of text in the default alphabet: 0, 1 or 3
	ReceiptID                              string // where a receipt says whose it is: auto, tlv, text
	ReceiptsUnmarked                       bool   // receipts come without the bits of esm_class

	OutbindSystemID string // it may connect to us as this; empty: it may not
	OutbindPassword string // as Password
	OutbindAllowed  []netip.Prefix

	ReceiptPercent  int           // of the parts that it accepts, how many should get a final receipt; 0: it is not judged by them
	ReceiptExpected time.Duration // how soon

	EnquireLink     time.Duration // 0: 30 s
	ResponseTimeout time.Duration // 0: 30 s
	ReceiptGrace    time.Duration // 0: message.ReceiptGrace

	Replies VendorReplies // who answers STOP, START and HELP
}

// Route sends what matches it to a vendor.
type Route struct {
	ID            int64
	Priority      int            // smaller first
	DestPattern   *regexp.Regexp // on digits without +; nil: any
	SourcePattern *regexp.Regexp // likewise
	VendorID      message.ID
	AccountID     message.ID   // zero: every account
	MessageType   message.Kind // empty: both
	RatePerMsg    message.Micros
	Weight        int // 0: 1

	Name           string
	Class          message.Class  // empty: all
	Capability     string         // only for messages that need it: unicode, alphanumeric, mms, binary, long; empty: all
	Selection      string         // among routes of one priority: weighted (also when empty), least_cost
	MaxCost        message.Micros // of the vendor, a part; 0: any
	Sticky         bool           // a conversation stays with its vendor
	Days           uint8          // bit 0: Monday; 0: every day
	FromMinute     int            // of the day in Zone, 0-1440
	UntilMinute    int            // before FromMinute: over midnight; the same: the whole day
	Zone           *time.Location // nil: UTC
	EffectiveFrom  time.Time      // zero: always
	EffectiveUntil time.Time      // zero: for ever
}

// Endpoint is a place where an account wants its events.
type Endpoint struct {
	ID          message.ID
	AccountID   message.ID
	URL         string
	FailoverURL string
	EventTypes  []string // empty: all
	Secret      string
	OldSecret   string    // signs as well until OldUntil
	OldUntil    time.Time // zero: no overlap runs
	Format      string    // event, flat
}
