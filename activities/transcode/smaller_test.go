package transcode

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// Every profile has a smaller one, which is valid and gives other results.
func TestSmaller(t *testing.T) {
	t.Parallel()
	odd := mediaprofile.Defaults()[0]
	odd.Name, odd.MessageBytes, odd.PartBytes, odd.MaxSide, odd.AnimatedGIF, odd.Types = "odd", 41_000, 1, 160, mediaprofile.GIFVideo, []string{"image/jpeg", "image/webp", "video/mp4"}
	for _, p := range append(mediaprofile.Defaults(), odd) {
		s := p.Smaller()
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if s.Name == p.Name || s.MessageBytes > p.MessageBytes/2 && s.MessageBytes != 40_000 || s.MaxSide > p.MaxSide || p.Name != "odd" && s.MaxSide != p.MaxSide/2 ||
			len(s.Types) >= len(p.Types) || slices.Contains(s.Types, "image/png") || s.OtherBytes > 0 != (p.OtherBytes > 0) || s.Documents != p.Documents {
			t.Errorf("%+v of %+v", s, p)
		}
		if Key("00", p, 100_000) == Key("00", s, 100_000) {
			t.Errorf("%s: a result of one is taken for one of the other", p.Name)
		}
		if len(p.Types) == len(s.Types) || &p.Types[0] == &s.Types[0] {
			t.Errorf("%s: it shares its types", p.Name)
		}
	}
}
