package snapshot

import (
	"cmp"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// fallbackProfile is what is taken nearly everywhere.
const fallbackProfile = "default"

// MediaProfile is what media a vendor takes: what its row names, else what is named as its
// kind is, else the profile default. Known is false when its row names one that is not
// there any more, or cannot be read: then it is default as well. A nil vendor takes
// default.
func (s *Snapshot) MediaProfile(v *Vendor) (p mediaprofile.Profile, known bool) {
	known = true
	if v != nil {
		if p, ok := s.profileNamed(cmp.Or(v.MediaProfile, v.ProviderType)); ok {
			return p, true
		}
		known = v.MediaProfile == ""
	}
	p, _ = s.profileNamed(fallbackProfile)
	return p, known
}

func (s *Snapshot) profileNamed(name string) (mediaprofile.Profile, bool) {
	if p, ok := s.MediaProfiles[name]; ok {
		return p, true
	}
	return mediaprofile.Builtin(name)
}
