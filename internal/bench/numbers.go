package main

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// The numbers that load is sent to: ten-digit NANP numbers, made of an area
// code, an exchange and a line. They are spread over all of the plan, as a
// customer's recipients are; numbers in a row would be kind to every index.
const (
	firstExchange = 200
	// Lines 0000 to 0099 are left out: their last four digits mean something to
	// the simulator.
	firstLine = 100
	lines     = 10_000 - firstLine
	// stride scatters neighbours. It is a prime that divides none of the three
	// counts, so that every number comes once before one comes again.
	stride = 314_159_257
)

// areaCodes are geographic codes of the United States.
var areaCodes = [...]int{
	201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218,
	301, 302, 303, 304, 305, 307, 308, 309, 310, 312, 313, 314, 315, 316, 317, 318,
	401, 402, 404, 405, 406, 407, 408, 409, 410, 412, 413, 414, 415, 417, 419, 423,
	501, 502, 503, 504, 505, 507, 508, 509, 510, 512, 513, 515, 516, 517, 518, 520,
}

// exchanges are the codes from 200 to 999 but the service codes (211 to 911),
// 555 and the premium 976.
var exchanges = func() []int {
	var list []int
	for n := firstExchange; n < 1000; n++ {
		if n%100 != 11 && n != 555 && n != 976 {
			list = append(list, n)
		}
	}
	return list
}()

// numbers gives a distinct number to each message of a run. It holds no state
// but its beginning; the zero value works.
type numbers struct {
	from uint64 // where in the plan the run begins
}

// planSize is how many numbers there are: about 5 × 10^8.
func planSize() uint64 { return uint64(len(areaCodes)) * uint64(len(exchanges)) * lines }

// unstride undoes stride modulo planSize.
var unstride = func() uint64 {
	size := new(big.Int).SetUint64(planSize())
	return new(big.Int).ModInverse(big.NewInt(stride), size).Uint64()
}()

// at is the number of message i, with its plus sign.
func (n numbers) at(i int) string {
	p := (n.from%planSize() + uint64(i)) % planSize() * stride % planSize()
	line := firstLine + p%lines
	p /= lines
	exchange := exchanges[p%uint64(len(exchanges))]
	area := areaCodes[p/uint64(len(exchanges))]
	return fmt.Sprintf("+1%03d%03d%04d", area, exchange, line)
}

// index is the message that a number was given to, with or without the plus
// sign; false: a number that at never gives.
func (n numbers) index(number string) (int, bool) {
	digits := strings.TrimPrefix(number, "+")
	whole, err := strconv.Atoi(digits)
	if err != nil || len(digits) != 11 || digits[0] != '1' {
		return 0, false
	}
	area, okArea := position(areaCodes[:], whole/10_000_000%1000)
	exchange, okExchange := position(exchanges, whole/10_000%1000)
	line := whole%10_000 - firstLine
	if !okArea || !okExchange || line < 0 {
		return 0, false
	}
	p := (uint64(area)*uint64(len(exchanges))+uint64(exchange))*lines + uint64(line)
	size := planSize()
	return int((p*unstride%size + size - n.from%size) % size), true
}

// position finds v in a sorted list.
func position(list []int, v int) (int, bool) {
	for i, have := range list {
		if have == v {
			return i, true
		}
	}
	return 0, false
}
