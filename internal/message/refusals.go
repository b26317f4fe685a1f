package message

import "time"

// RateRefusals is how often an account was refused for one rate in one minute.
type RateRefusals struct {
	AccountID ID
	Minute    time.Time // its beginning, UTC
	Edge      string    // rest, smpp, …
	Scope     string    // whose rate it was: account, key, number, bind, request
	Count     int64
}
