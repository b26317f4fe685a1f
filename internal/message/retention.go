package message

import "time"

// Retention says how long rows are kept whose work is done.
type Retention struct {
	// Messages is how long a finished message is kept with all that belongs to it,
	// counted from its acceptance; at least MinRetention.
	Messages time.Duration
	// Strays is how long what was nobody's is kept for staff: inbound messages without
	// an account and receipts that match nothing. At least MinStrays, at most Messages.
	Strays time.Duration
}

// Bounds of Retention. The earliest a message may go is after the longest that one can
// be under way: it waits for its time for 35 days, and is valid for three more.
const (
	MinRetention = 40 * 24 * time.Hour
	MinStrays    = 7 * 24 * time.Hour // receipts are matched again for three days
	MaxRetention = 3650 * 24 * time.Hour
)

// Cared is what one small step of a round of upkeep has done.
type Cared struct {
	// Rows that were removed, or messages whose text was.
	Rows int
	// Partitions that were removed; Made are new ones.
	Partitions, Made []string
	// More: there may be more to do, now.
	More bool
}

// KeptTable is what is kept of one table.
type KeptTable struct {
	Table  string
	Rule   string    // until when rows stay, in words
	Rows   int64     // as the server estimates them
	Octets int64     // on disk, with indexes
	Oldest time.Time // of the oldest row; zero: there is none, or no rule looks at it
}
