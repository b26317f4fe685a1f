package transcode

import (
	"testing"
)

// Each run is one conversion on one processor; x/s is how many times as fast as it
// plays.
func BenchmarkFit(b *testing.B) {
	for _, c := range []struct {
		name    string
		seconds float64
	}{{"phone12.jpg", 0}, {"photo.jpg", 0}, {"photo.heic", 0}, {"big.gif", 0}, {"clip.mov", 2}, {"uhd.mp4", 2}, {"long.wav", 60}} {
		b.Run(c.name, func(b *testing.B) {
			p := profile("rural", nil)
			for b.Loop() {
				if _, err := shared.Fit(b.Context(), b.TempDir(), []Part{partOf(c.name)}, p, 0, nil); err != nil {
					b.Fatal(err)
				}
			}
			perSecond := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(perSecond, "files/s")
			if c.seconds > 0 {
				b.ReportMetric(perSecond*c.seconds, "x/s")
			}
		})
	}
}
