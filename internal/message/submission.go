package message

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Submission is one part of a message on its way to a vendor, or the whole of it to
// one that cuts texts itself: what a connector needs to put it on the wire, and
// nothing else.
type Submission struct {
	MessageID ID
	Part      int // from 1
	Parts     int
	Attempt   int // from 1
	// Whole: Text is that of the whole message. Part is 1, and Parts is how many parts
	// it is counted as.
	Whole bool

	From       Address
	To         Address
	Encoding   Encoding
	Text       string      // of this part, unless Whole; octets if Encoding is binary
	Subject    string      // of an MMS
	Media      []MediaLink // of an MMS, where the vendor can fetch them
	DataCoding byte        // as in Message
	Header     []byte      // as in Message
	TLVs       []TLV       // as in Message; those that the vendor does not take are left out by its connector
	Reference  uint16      // concatenation reference, the same for all parts; unused when Parts is 1
	ExpiresAt  time.Time
	Class      Class

	// Again: an earlier process began this very attempt and died, so that nobody knows
	// whether the vendor has it. Only for vendors that know an attempt which they get
	// twice. An error that is not Answered says nothing of the first try: one that is not
	// OnWire, or is Retryable, asks for another Again.
	Again bool

	// Still is asked right before the part is written, after whatever it had to wait
	// for in the connector; its error, a *SubmitError, is the submit's, and nothing is
	// written. It may be called from several goroutines, does not block, and allows
	// all parts of a message that has left in part. Nil: nobody asks.
	Still func() error `json:"-"`
}

// MediaLink is where a vendor can fetch a file of an MMS.
type MediaLink struct {
	URL         string // unguessable
	ContentType string
	Size        int64 // octets
	// File is the file itself, for a connector that carries it to the vendor.
	File MediaFile `json:"-"`
}

// AttemptRef names a try to submit a part. It goes to vendors that echo it.
type AttemptRef struct {
	MessageID     ID
	Part, Attempt int
}

// Ref names the try that the submission is.
func (s Submission) Ref() AttemptRef { return AttemptRef{s.MessageID, s.Part, s.Attempt} }

// String is the reference as vendors echo it: letters, digits and hyphens.
func (r AttemptRef) String() string {
	return fmt.Sprintf("%s-%d-%d", Hex32(r.MessageID), r.Part, r.Attempt)
}

// IsZero reports whether it names nothing.
func (r AttemptRef) IsZero() bool { return r.MessageID == (ID{}) }

// ParseAttemptRef reads what String wrote; false for anything else.
func ParseAttemptRef(s string) (AttemptRef, bool) {
	f := strings.Split(s, "-")
	if len(f) != 3 || len(f[0]) != 32 {
		return AttemptRef{}, false
	}
	id, err := uuid.Parse(f[0])
	part, err1 := strconv.Atoi(f[1])
	attempt, err2 := strconv.Atoi(f[2])
	r := AttemptRef{id, part, attempt}
	if err != nil || err1 != nil || err2 != nil || part < 1 || part > 255 || attempt < 1 || attempt > 1<<30 || r.String() != s {
		return AttemptRef{}, false
	}
	return r, true
}

// Allowed asks Still.
func (s Submission) Allowed() error {
	if s.Still == nil {
		return nil
	}
	return s.Still()
}

// SubmitResult is the vendor's yes.
type SubmitResult struct {
	VendorMessageID string // as the vendor wrote it
	NormalizedID    string // canonical, by the vendor's id format: what receipts are matched by
}

// SubmitError is the vendor's no, or silence. What may be done next hangs on
// OnWire: something that was written and not answered may have been sent.
type SubmitError struct {
	Reason     Reason
	VendorCode string        // the vendor's own code, for staff
	Detail     string        // a sentence, for staff
	Written    bool          // the submission left this process
	Answered   bool          // the vendor answered it with a refusal
	Again      bool          // the same vendor may take it later
	After      time.Duration // earliest next try; zero: the caller's schedule
	Err        error
}

// Error is the reason with the vendor's words.
func (e *SubmitError) Error() string {
	s := string(e.Reason)
	if e.VendorCode != "" {
		s += " (vendor code " + e.VendorCode + ")"
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *SubmitError) Unwrap() error { return e.Err }

// Retryable reports whether the same vendor may take the part later.
func (e *SubmitError) Retryable() bool { return e.Again }

// RetryAfter is the earliest next try; zero leaves it to the caller.
func (e *SubmitError) RetryAfter() time.Duration { return e.After }

// OnWire reports whether the part left this process.
func (e *SubmitError) OnWire() bool { return e.Written }

// Ambiguous reports whether the vendor may have the part without our knowing:
// written and not answered.
func (e *SubmitError) Ambiguous() bool { return e.Written && !e.Answered }
