package mediaprofile

import "slices"

// The least that Smaller leaves: below it pictures cannot be made out, and Validate wants
// no less of a message.
const (
	leastBytes = 40_000
	leastSide  = 320
)

// plainTypes are those that a carrier which is particular takes rather than others.
var plainTypes = []string{"image/jpeg", "image/gif", "video/mp4", "video/3gpp", "audio/mp4", "audio/mpeg", "audio/amr", "text/plain"}

// Smaller is the profile for one more try after a refusal for content or size: half the
// octets and half the side, pictures as JPEG on white, and of the types it takes the plainest.
// Documents, which nobody converts, stay as they are taken. It has a name of its own, and
// is valid if the profile is.
func (p Profile) Smaller() Profile {
	half := func(n, least int64) int64 {
		if n == 0 {
			return 0
		}
		return min(n, max(n/2, least))
	}
	p.Name += "-smaller"
	p.MessageBytes, p.PartBytes, p.OtherBytes = half(p.MessageBytes, leastBytes), half(p.PartBytes, 0), half(p.OtherBytes, 0)
	p.PartBytes, p.OtherBytes = min(p.PartBytes, p.MessageBytes), min(p.OtherBytes, p.MessageBytes)
	p.MaxSide = int(half(int64(p.MaxSide), leastSide))
	p.Types = slices.DeleteFunc(slices.Clone(p.Types), func(t string) bool { return !slices.Contains(plainTypes, t) })
	p.Transparency = TransparencyWhite
	return p
}
