package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// duration is a time.Duration that JSON and flags write as 50ms.
type duration time.Duration

// MarshalText is time.Duration's form.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// String is time.Duration's form.
func (d duration) String() string { return time.Duration(d).String() }

// UnmarshalText takes time.Duration's form, not below 0.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("duration %s is below 0", v)
	}
	*d = duration(v)
	return nil
}

// outcome is a final state of a message with the err field of its receipt.
type outcome struct {
	state   message.ReceiptState
	err     string // three digits
	percent float64
}

// outcomes are the final states with their shares. What is left of 100 is
// DELIVRD with err 000. Its text is DELIVRD=95,UNDELIV=3:001,EXPIRED=2:002.
type outcomes []outcome

// usualErrs are the err fields of states that are named without one, after the
// list that several carriers share.
var usualErrs = map[message.ReceiptState]string{
	message.ReceiptUndeliverable: "001",
	message.ReceiptExpired:       "002",
	message.ReceiptRejected:      "003",
}

func usualErr(st message.ReceiptState) string {
	if e, ok := usualErrs[st]; ok {
		return e
	}
	return "000"
}

// MarshalText is the text described above.
func (o outcomes) MarshalText() ([]byte, error) {
	var parts []string
	for _, v := range o {
		parts = append(parts, fmt.Sprintf("%s=%s:%s", v.state, strconv.FormatFloat(v.percent, 'g', -1, 64), v.err))
	}
	return []byte(strings.Join(parts, ",")), nil
}

// UnmarshalText takes the text described above; empty is all delivered.
func (o *outcomes) UnmarshalText(b []byte) error {
	var out outcomes
	sum := 0.0
	for _, item := range splitList(string(b)) {
		word, rest, _ := strings.Cut(item, "=")
		share, errCode, hasErr := strings.Cut(rest, ":")
		st, known := message.ParseReceiptState(word)
		if !known {
			return fmt.Errorf("receipt state %q is unknown; want DELIVRD, UNDELIV, EXPIRED, REJECTD, DELETED, ACCEPTD or UNKNOWN", word)
		}
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || !isPercent(p) {
			return fmt.Errorf("share of %s is %q; want a percentage", word, share)
		}
		if !hasErr {
			errCode = usualErr(st)
		}
		if len(errCode) != 3 || strings.Trim(errCode, "0123456789") != "" {
			return fmt.Errorf("err of %s is %q; want three digits", word, errCode)
		}
		sum += p
		out = append(out, outcome{state: st, err: errCode, percent: p})
	}
	if sum > 100+1e-9 {
		return fmt.Errorf("shares of receipt states add up to %g; want 100 at most", sum)
	}
	*o = out
	return nil
}

// pick chooses by a number from 0 to 100.
func (o outcomes) pick(roll float64) (message.ReceiptState, string) {
	for _, v := range o {
		if roll < v.percent {
			return v.state, v.err
		}
		roll -= v.percent
	}
	return message.ReceiptDelivered, "000"
}

// statuses are command_status values by name or number: RSYSERR,0x58,1025.
type statuses []smpp.Status

// MarshalText lists names, numbers where there is none.
func (s statuses) MarshalText() ([]byte, error) {
	var names []string
	for _, st := range s {
		names = append(names, st.String())
	}
	return []byte(strings.Join(names, ",")), nil
}

// UnmarshalText takes names with or without ESME_, and numbers.
func (s *statuses) UnmarshalText(b []byte) error {
	var out statuses
	for _, word := range splitList(string(b)) {
		st, ok := parseStatus(word)
		if !ok || st == smpp.StatusOK {
			return fmt.Errorf("status %q is unknown; want a name such as RSYSERR or a number such as 0x58", word)
		}
		out = append(out, st)
	}
	*s = out
	return nil
}

// lastNamed is the highest command_status with a name (SMPP 3.4 §5.1.3, 5.0
// §4.7.6).
const lastNamed = 0x110

func parseStatus(word string) (smpp.Status, bool) {
	name := strings.TrimPrefix(strings.ToUpper(word), "ESME_")
	for st := smpp.Status(0); st <= lastNamed; st++ {
		if st.String() == name {
			return st, true
		}
	}
	n, err := strconv.ParseUint(word, 0, 32)
	return smpp.Status(n), err == nil
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func isPercent(p float64) bool { return !math.IsNaN(p) && p >= 0 && p <= 100 }
