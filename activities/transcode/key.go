package transcode

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// revision is part of every Key: raise it when the same input would now give
// another output, so that no stored result of the old way is used again.
const revision = 2

// Key is under which the result for a content (its SHA-256), a profile and a
// share is kept. It depends on what decides the result and on nothing else, so
// that carriers with the same needs share results; it is the same in every
// process and release until revision is raised.
func Key(sha256Hex string, p mediaprofile.Profile, share int64) string {
	types := slices.Clone(p.Types)
	slices.Sort(types)
	// The share of a part is never above the limit of its own type. That of one part
	// decides beyond it where another type has a limit of its own: HEIC becomes JPEG.
	part := int64(0)
	if p.OtherBytes > 0 {
		part = p.Binary(p.PartBytes)
	}
	// Plain values only: Marshal cannot fail.
	b, _ := json.Marshal(struct {
		Revision     int
		Content      string
		Types        []string
		Share, Other int64
		Part         int64 `json:",omitempty"`
		Side, Secs   int
		Video, Audio string
		Cut          bool
		GIF, Alpha   string
		Documents    mediaprofile.Documents
	}{revision, sha256Hex, slices.Compact(types), share, p.Binary(p.OtherBytes), part, p.MaxSide, p.MaxSeconds, p.Video, p.Audio, p.Cut, p.AnimatedGIF, p.Transparency, p.Documents})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
