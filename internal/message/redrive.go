package message

import "time"

// Bounds of a re-drive.
const (
	MaxRedrive       = 100_000 // messages that are looked at
	DefaultRedrive   = 10_000
	MaxRedriveRate   = 500 // messages a second
	DefaultRedriveAt = 50
	// MaxRedriveReason is in characters. With the id before it, it is still a note of a
	// timeline.
	MaxRedriveReason = 240
	// RedriveSample is how many messages a dry run shows, and RedriveAccounts how many
	// accounts are counted each for itself.
	RedriveSample   = 20
	RedriveAccounts = 50
)

// RedriveKept is how long a re-drive is kept after it was made.
const RedriveKept = 90 * 24 * time.Hour

// RedriveAction is what is done to each message of a re-drive, as staff could do it to one.
type RedriveAction string

// The actions.
const (
	RedriveRetry   RedriveAction = "retry"   // a new message is made of one that has ended
	RedriveCancel  RedriveAction = "cancel"  // it is withdrawn
	RedriveRelease RedriveAction = "release" // one that a content rule holds goes
	RedriveRefuse  RedriveAction = "refuse"  // one that a content rule holds is rejected
	RedriveReroute RedriveAction = "reroute" // its vendor is named, or the routes are asked again
	RedriveResolve RedriveAction = "resolve" // one in doubt is said to be sent, or not, or sent again
)

// RedriveActions lists the actions.
func RedriveActions() []RedriveAction {
	return []RedriveAction{RedriveRetry, RedriveCancel, RedriveRelease, RedriveRefuse, RedriveReroute, RedriveResolve}
}

// RedriveStatus is where a re-drive is.
type RedriveStatus string

// The statuses of a re-drive; the last two are final.
const (
	RedriveRunning   RedriveStatus = "running"
	RedriveStopping  RedriveStatus = "stopping" // what was taken on is finished, and nothing more is
	RedriveStopped   RedriveStatus = "stopped"
	RedriveCompleted RedriveStatus = "completed"
)

// Final reports whether nothing more is done.
func (s RedriveStatus) Final() bool { return s == RedriveStopped || s == RedriveCompleted }

// Redrive does one thing to each message that a filter finds, newest first.
type Redrive struct {
	ID     ID
	By     Actor
	Reason string
	Action RedriveAction
	RedriveParameters
	// Filter finds the messages. It ends with the moment at which the re-drive was made, so
	// that what it makes is none of them.
	Filter    Filter
	DryRun    bool // nothing is done, only counted
	Limit     int  // the most messages that are looked at
	PerSecond int  // the most that something is done to, a second
	Expected  int  // messages that a dry run before it has found; 0: there was none

	Status RedriveStatus
	// Position is the message before which the search goes on; zero: at the newest.
	Position ID
	Searched bool // the search has come to its end, or to Limit
	More     bool // it came to Limit, and there may be more

	Looked  int // messages that were found
	Done    int // the action was done, or would have been in a dry run
	Passed  int // nothing was tried, for the action is not for such a message
	Refused int // it was tried, and refused; or would have been
	Tally   RedriveTally

	CreatedAt   time.Time
	LookedAt    time.Time // when it last came on
	CompletedAt time.Time // zero: not yet
}

// Open is how many messages were taken on and are not done with.
func (r *Redrive) Open() int { return r.Looked - r.Done - r.Passed - r.Refused }

// RedriveParameters belong to one action each.
type RedriveParameters struct {
	// AcceptDuplicate, of a retry, takes messages too that may have arrived.
	AcceptDuplicate bool `json:"accept_duplicate,omitempty"`
	// Vendor, of a reroute, is whom it goes to; zero: the routes are asked.
	Vendor     ID     `json:"vendor,omitzero"`
	VendorName string `json:"vendor_name,omitempty"`
	// As, of a resolution, is what is known.
	As Resolution `json:"as,omitempty"`
}

// RedriveTally counts the messages that were found.
type RedriveTally struct {
	Statuses map[Status]int `json:"statuses,omitempty"`
	Accounts map[string]int `json:"accounts,omitempty"` // by id; those beyond RedriveAccounts together under ""
	Passed   map[string]int `json:"passed,omitempty"`   // by why, in words
	Refused  map[Reason]int `json:"refused,omitempty"`
	Sample   []RedriveLook  `json:"sample,omitempty"` // the first of a dry run
}

// RedriveLook is what a dry run says of a message.
type RedriveLook struct {
	MessageID ID               `json:"message_id"`
	AccountID ID               `json:"account_id"`
	Status    Status           `json:"status"`
	Outcome   RedriveItemState `json:"outcome"`
	Why       string           `json:"why,omitempty"`
}

// RedriveItemState is what has become of a message in a re-drive.
type RedriveItemState string

// The states of a message in a re-drive.
const (
	ItemClaimed RedriveItemState = "claimed" // it was taken on, and may be done
	ItemDone    RedriveItemState = "done"
	ItemPassed  RedriveItemState = "passed"
	ItemRefused RedriveItemState = "refused"
	// ItemWaits is said of one that has to be tried again and certainly has changed
	// nothing; the record keeps it as claimed.
	ItemWaits RedriveItemState = "waits"
)

// RedriveItem is a message in a re-drive.
type RedriveItem struct {
	MessageID ID
	State     RedriveItemState
	// NewMessageID is the id of the message that a retry makes. It is in the record before
	// the message is accepted, so that a step that runs twice makes the same one.
	NewMessageID ID
	// Try counts from 1 how often it was given out under that id, and tells one try from
	// another.
	Try   int
	Error *Error // why it was passed over or refused, or is tried again; nil: it was not
	// Sure says of one that was refused that nothing else can come of it: its message is in
	// the record as rejected, or all earlier tries came to nothing.
	Sure bool
}

// RedrivePage is what a step has found of the messages.
type RedrivePage struct {
	From     ID // the position that it was looked for at
	Next     ID // where the search goes on
	Searched bool
	More     bool
	Items    []RedriveItem // claimed or passed over; of a dry run done, passed or refused
	Messages []*Message    // that they are of, in their order
}

// Count adds what a page has found. The counts of items that were claimed come with their
// end.
func (r *Redrive) Count(p RedrivePage) {
	t := &r.Tally
	for i, item := range p.Items {
		m := p.Messages[i]
		r.Looked++
		add(&t.Statuses, m.Status, 1)
		account := m.AccountID.String()
		if t.Accounts[account] == 0 && len(t.Accounts) >= RedriveAccounts {
			account = ""
		}
		add(&t.Accounts, account, 1)
		r.Settle(item)
		if r.DryRun && len(t.Sample) < RedriveSample {
			look := RedriveLook{MessageID: m.ID, AccountID: m.AccountID, Status: m.Status, Outcome: item.State}
			if item.Error != nil {
				look.Why = item.Error.Detail
			}
			t.Sample = append(t.Sample, look)
		}
	}
	r.Position, r.Searched, r.More = p.Next, p.Searched, p.More
}

// Settle counts an item that has come to its end; others do not count.
func (r *Redrive) Settle(item RedriveItem) {
	switch item.State {
	case ItemDone:
		r.Done++
	case ItemPassed:
		r.Passed++
		add(&r.Tally.Passed, item.Error.Detail, 1)
	case ItemRefused:
		r.Refused++
		add(&r.Tally.Refused, item.Error.Reason, 1)
	}
}

func add[K comparable](m *map[K]int, key K, n int) {
	if *m == nil {
		*m = map[K]int{}
	}
	if n > 0 {
		(*m)[key] += n
	}
}
