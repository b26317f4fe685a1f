package main

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// ids names messages. It counts on from the time of its start in microseconds,
// so that a simulator that is started again does not give an id a second time
// unless it gave more than a million a second before.
type ids struct{ last atomic.Uint64 }

func newIDs(now time.Time) *ids {
	i := &ids{}
	i.last.Store(uint64(now.UnixMicro()))
	return i
}

// next gives the id of one message as the answer and as the receipt writes it.
func (i *ids) next(format string) (answer, receipt string) {
	if format == idUUID {
		id := uuid.New().String()
		return id, id
	}
	n := i.last.Add(1)
	decimal, hex := strconv.FormatUint(n, 10), strconv.FormatUint(n, 16)
	switch format {
	case idHex:
		return hex, hex
	case idHexDecimal:
		return hex, decimal
	case idDecimalHex:
		return decimal, hex
	case idLeadingZeros:
		return fmt.Sprintf("%020d", n), decimal
	}
	return decimal, decimal
}
