package message

import "time"

// Submission is one part of a message on its way to a vendor: what a connector
// needs to put it on the wire, and nothing else.
type Submission struct {
	MessageID ID
	Part      int // from 1
	Parts     int
	Attempt   int // from 1

	From       Address
	To         Address
	Encoding   Encoding
	Text       string // of this part; octets if Encoding is binary
	DataCoding byte   // as in Message
	Header     []byte // as in Message
	TLVs       []TLV  // as in Message; those that the vendor does not take are left out by its connector
	Reference  uint16 // concatenation reference, the same for all parts; unused when Parts is 1
	ExpiresAt  time.Time
	Class      Class

	// Still is asked right before the part is written, after whatever it had to wait
	// for in the connector; its error, a *SubmitError, is the submit's, and nothing is
	// written. It may be called from several goroutines, does not block, and allows
	// all parts of a message that has left in part. Nil: nobody asks.
	Still func() error `json:"-"`
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
