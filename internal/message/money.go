package message

import (
	"fmt"
	"strconv"
	"strings"
)

// Micros is an amount of money in millionths of the currency's unit, the
// precision of the price columns: 0.0045 USD is Micros(4500).
type Micros int64

// String is the amount as a decimal without an exponent, with at least two and
// at most six decimals: "0.0045", "12.00".
func (m Micros) String() string {
	sign, v := "", uint64(m)
	if m < 0 {
		sign, v = "-", -v // right for the smallest value as well, whose opposite int64 lacks
	}
	frac := fmt.Sprintf("%06d", v%1_000_000)
	frac = frac[:2] + strings.TrimRight(frac[2:], "0")
	return sign + strconv.FormatUint(v/1_000_000, 10) + "." + frac
}

// Price is what a message costs the customer. Estimated prices become actual
// when the message is settled.
type Price struct {
	Amount    Micros
	Currency  string // ISO 4217; empty when no price is known
	Estimated bool
}
