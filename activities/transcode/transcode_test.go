package transcode

import (
	"os"
	"path/filepath"
	"testing"
)

func TestQuick(t *testing.T) {
	tr := New(t.Context(), Config{})
	t.Logf("%+v", tr.Tools())
	files, _ := filepath.Glob("testdata/*")
	for _, f := range files {
		for _, p := range []Profile{Defaults()[0], {Name: "tiny", Types: []string{"image/jpeg", "video/3gpp", "audio/amr"}, MessageBytes: 40000, MaxParts: 3, MaxSide: 640, Video: VideoH263, Audio: AudioAMR, AnimatedGIF: GIFFirstFrame, Transparency: TransparencyWhite}} {
			dir := t.TempDir()
			ct := ""
			switch filepath.Ext(f) {
			case ".smil":
				ct = "application/smil"
			case ".txt":
				ct = "text/plain"
			}
			r, err := tr.Fit(t.Context(), dir, []Part{{Path: f, ContentType: ct}}, p, 0, nil)
			if err != nil {
				t.Logf("%-26s %s: %v", f, p.Name, err)
				continue
			}
			x := r[0]
			t.Logf("%-26s %s: %s %d -> %s %d changed=%v runs=%d %q %v", f, p.Name, x.From, 0, x.Part.ContentType, x.Part.Size, x.Changed, x.Runs, x.Rung, x.Took.Milliseconds())
			left, _ := os.ReadDir(dir)
			if len(left) > 1 {
				t.Error(left)
			}
		}
	}
}
