package transcode

import (
	"math/big"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// What of a message's limit is not media. The figures are the fact sheet's:
// roomy, since a carrier that counts otherwise refuses the whole message.
const (
	layoutBytes = 1024 // the SMIL that the gateway makes
	headerBytes = 300  // MIME headers of one part
	// minShare is the least that a picture is worth showing in: 320 pixels at a low
	// quality are well below.
	minShare = 32_000
	// shareStep is to what shares are rounded down. Texts differ in length from
	// recipient to recipient; without it each would have its media converted anew.
	shareStep = 4_000
)

// Budget is what is left for the media of a message of so many parts and so
// much text, in binary octets: 95 % of what the limit allows without text, layout
// and headers. 0: nothing is left.
func Budget(p mediaprofile.Profile, parts, textBytes int) int64 {
	left := p.Binary(p.MessageBytes) - int64(textBytes) - layoutBytes - headerBytes*int64(parts)
	return max(left*95/100, 0)
}

// Plan shares the budget of a message over its parts, whose Size and
// ContentType must be those that Inspect gives. Documents and text keep their
// size; the others share what is left in proportion to theirs, at least 32 KB
// each, so that what fits together as it is also fits its shares. The error is
// an *Error: too many parts, or no room.
func Plan(p mediaprofile.Profile, parts []Part, textBytes int) ([]int64, error) {
	if len(parts) > p.MaxParts {
		return nil, rejected("%d parts are more than the %d that %s takes", len(parts), p.MaxParts, p.Name)
	}
	left := Budget(p, len(parts), textBytes)
	shares := make([]int64, len(parts))
	var open []int // those that have no share yet
	for i, part := range parts {
		if !fixed(part.ContentType) {
			open = append(open, i)
			continue
		}
		shares[i] = part.Size
		left -= part.Size
	}
	if left < minShare*int64(len(open)) {
		return nil, rejected("%s takes %d octets in one message, which is too little for %d parts and the text", p.Name, p.MessageBytes, len(parts))
	}
	// Who would get less than the least gets the least, which leaves less for the
	// others; so again, until nobody does.
	for again := true; again; {
		again = false
		rest, total := open[:0:0], sumSizes(parts, open)
		for _, i := range open {
			if portion(left, parts[i].Size, total) < minShare {
				shares[i] = minShare
				again = true
			} else {
				rest = append(rest, i)
			}
		}
		left -= minShare * int64(len(open)-len(rest))
		open = rest
	}
	total := sumSizes(parts, open)
	for _, i := range open {
		shares[i] = portion(left, parts[i].Size, total)
	}
	for i := range shares {
		shares[i] = within(p, shares[i], parts[i])
	}
	return shares, nil
}

// within keeps a share below the limit of one part and rounds it down, but not
// below what the part has if it fits.
func within(p mediaprofile.Profile, share int64, part Part) int64 {
	if most := p.PartLimit(part.ContentType); most > 0 {
		share = min(share, most)
	}
	rounded := share / shareStep * shareStep
	if part.Size <= share {
		return max(rounded, part.Size)
	}
	return rounded
}

func sumSizes(parts []Part, of []int) (sum int64) {
	for _, i := range of {
		sum += max(parts[i].Size, 1)
	}
	return sum
}

// portion is left × size ÷ total. The product may pass 63 bits for no real
// message, but sizes come from outside.
func portion(left, size, total int64) int64 {
	n := new(big.Int).Mul(big.NewInt(left), big.NewInt(max(size, 1)))
	return n.Quo(n, big.NewInt(total)).Int64()
}

// Check judges media that is to be sent as it is (bypass): number, types and
// sizes against the limits, without the safety margin. The error is an *Error.
func Check(p mediaprofile.Profile, parts []Part, textBytes int) error {
	if len(parts) > p.MaxParts {
		return rejected("%d parts are more than the %d that %s takes", len(parts), p.MaxParts, p.Name)
	}
	sum := int64(textBytes)
	for i, part := range parts {
		if !p.Takes(part.ContentType) {
			return asError(label(i+1, part), rejected("%s does not take this type", p.Name))
		}
		if most := p.PartLimit(part.ContentType); most > 0 && part.Size > most {
			return asError(label(i+1, part), rejected("%d octets are over the %d that %s takes in one part", part.Size, most, p.Name))
		}
		sum += part.Size
	}
	if most := p.Binary(p.MessageBytes); sum > most {
		return rejected("%d octets of media and text are over the %d that %s takes in one message", sum, most, p.Name)
	}
	return nil
}
