package transcode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
)

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// old is a handset of 2005; lean takes little, and all choices go the other way than
// the defaults'.
var (
	old  = mediaprofile.Profile{Name: "old", Types: []string{"image/jpeg", "video/3gpp", "audio/amr"}, MessageBytes: 60_000, MaxParts: 3, MaxSide: 640, Video: mediaprofile.VideoH263, Audio: mediaprofile.AudioAMR, AnimatedGIF: mediaprofile.GIFFirstFrame, Transparency: mediaprofile.TransparencyWhite}
	lean = mediaprofile.Profile{Name: "lean", Types: []string{"image/jpeg", "video/mp4", "audio/mpeg", "text/plain"}, MessageBytes: 70_000, Encoded: true, MaxParts: 3, MaxSide: 800, Video: mediaprofile.VideoH264, Audio: mediaprofile.AudioMP3, AnimatedGIF: mediaprofile.GIFVideo, Transparency: mediaprofile.TransparencyWhite, Documents: mediaprofile.Documents{PDF: mediaprofile.Pass}}
)

// The types that each sample becomes; empty: it is refused.
var becomes = []struct{ name, standard, old, lean string }{
	{"photo.jpg", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"phone.jpg", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"phone12.jpg", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"press.jpg", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"progressive.jpg", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"photo.png", "image/png", "image/jpeg", "image/jpeg"},
	{"deep.png", "image/png", "image/jpeg", "image/jpeg"},
	{"logo.png", "image/png", "image/jpeg", "image/jpeg"},
	{"photo.webp", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"logo.webp", "image/png", "image/jpeg", "image/jpeg"},
	{"animation.webp", "", "", ""},
	{"photo.bmp", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"photo.tif", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"photo.heic", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"phone.heic", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"photo.avif", "image/jpeg", "image/jpeg", "image/jpeg"},
	{"still.gif", "image/gif", "image/jpeg", "image/jpeg"},
	{"animation.gif", "image/gif", "image/jpeg", "video/mp4"},
	{"big.gif", "image/gif", "image/jpeg", "video/mp4"},
	{"clip.mp4", "video/mp4", "video/3gpp", "video/mp4"},
	{"located.mp4", "video/mp4", "video/3gpp", "video/mp4"},
	{"clip.mov", "video/mp4", "video/3gpp", "video/mp4"},
	{"hevc.mp4", "video/mp4", "video/3gpp", "video/mp4"},
	{"clip.webm", "video/mp4", "video/3gpp", "video/mp4"},
	{"live.webm", "video/mp4", "video/3gpp", "video/mp4"},
	{"clip.mkv", "video/mp4", "video/3gpp", "video/mp4"},
	{"clip.avi", "video/mp4", "video/3gpp", "video/mp4"},
	{"clip.3gp", "video/3gpp", "video/3gpp", "video/mp4"},
	{"vfr.mp4", "video/mp4", "video/3gpp", "video/mp4"},
	{"uhd.mp4", "video/mp4", "video/3gpp", "video/mp4"},
	{"cinepak.mov", "", "", ""},
	{"tone.wav", "audio/mp4", "audio/amr", "audio/mpeg"},
	{"long.wav", "audio/mp4", "audio/amr", ""},
	{"tone.mp3", "audio/mpeg", "audio/amr", "audio/mpeg"},
	{"tone.m4a", "audio/mp4", "audio/amr", "audio/mpeg"},
	{"tone.aac", "audio/mp4", "audio/amr", "audio/mpeg"},
	{"tone.ogg", "audio/mp4", "audio/amr", "audio/mpeg"},
	{"tone.flac", "audio/mp4", "audio/amr", "audio/mpeg"},
	{"tone.amr", "audio/amr", "audio/amr", "audio/mpeg"},
	{"card.vcf", "text/vcard", "", ""},
	{"event.ics", "text/calendar", "", ""},
	{"letter.pdf", "", "", "application/pdf"},
	{"note.txt", "text/plain", "", "text/plain"},
}

// Whatever goes in: what comes out is of a type that is taken, within the budget,
// can be read, is no larger than allowed, and says nothing of who made it where.
func TestEverySampleFitsEveryProfile(t *testing.T) {
	for _, row := range becomes {
		for _, c := range []struct {
			mediaprofile.Profile
			want string
		}{{profile("default", nil), row.standard}, {old, row.old}, {lean, row.lean}} {
			t.Run(row.name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				r, err := fit(t, partOf(row.name), c.Profile)
				if c.want == "" {
					rejectedOnly(t, err)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				check(t, r, c.Profile, c.want)
			})
		}
	}
}

// rejectedOnly checks that an error is of the content and names the part.
func rejectedOnly(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != message.ReasonMediaRejected || e.Retryable() || !strings.HasPrefix(e.File, "part 1") {
		t.Errorf("not refused as it should be: %v", err)
	}
}

// personal is what some sample says about its maker.
var personal = []string{"Exif", "Camera Works", "Holidays", "48.1371", "http://ns.adobe.com/xap", "GPS"}

func check(t *testing.T, r fitted, p mediaprofile.Profile, contentType string) {
	t.Helper()
	if r.Part.ContentType != contentType {
		t.Fatalf("it became %s (%s), want %s", r.Part.ContentType, r.Rung, contentType)
	}
	if !p.Takes(contentType) {
		t.Errorf("%s is not taken", contentType)
	}
	if most := Budget(p, 1, 0); r.Part.Size > most {
		t.Errorf("%d octets are over %d", r.Part.Size, most)
	}
	for _, word := range personal {
		if bytes.Contains(r.bytes, []byte(word)) {
			t.Errorf("it still says %q", word)
		}
	}
	if !r.Changed && (r.Rung != "" || r.Runs != 0) {
		t.Errorf("unchanged by %q in %d runs", r.Rung, r.Runs)
	}
	switch {
	case strings.HasPrefix(contentType, "image/"):
		img, err := decode(contentType, r.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if b := img.Bounds(); max(b.Dx(), b.Dy()) > p.MaxSide {
			t.Errorf("%v is larger than %d", b, p.MaxSide)
		}
	case strings.HasPrefix(contentType, "video/"):
		checkVideo(t, r, p)
	case strings.HasPrefix(contentType, "audio/"):
		if a := look(t, r.Part.Path).first("audio"); a == nil || !slices.Contains(playableAudio, a.Codec) {
			t.Errorf("its sound is %+v", a)
		}
	}
}

func checkVideo(t *testing.T, r fitted, p mediaprofile.Profile) {
	t.Helper()
	probed := look(t, r.Part.Path)
	v := probed.first("video")
	if v == nil || probed.private() || len(probed.Streams) > 2 {
		t.Fatalf("probed as %+v", probed)
	}
	hidden, err := hidesBoxes(bytes.NewReader(r.bytes), r.Part.Size)
	if err != nil || hidden {
		t.Errorf("it has boxes that nobody vouches for: %v, %v", hidden, err)
	}
	if !r.Changed {
		return
	}
	whole, indexFirst, err := (&job{dir: filepath.Dir(r.Part.Path)}).layoutOf(filepath.Base(r.Part.Path))
	if !whole || !indexFirst || err != nil {
		t.Errorf("whole: %v, index first: %v, %v", whole, indexFirst, err)
	}
	if strings.HasPrefix(r.Rung, "metadata") {
		return
	}
	if want := p.Video; v.Codec != want || v.PixFmt != "yuv420p" || v.Width%2+v.Height%2 != 0 {
		t.Errorf("it is %+v, want %s", v, want)
	}
	if w, h := v.display(); max(w, h) > 640 || len(v.SideData) > 0 {
		t.Errorf("it is %d x %d, turned by %v", w, h, v.SideData)
	}
	if a := probed.first("audio"); a != nil && a.Channels != 1 {
		t.Errorf("its sound has %d channels", a.Channels)
	}
}

func TestUpright(t *testing.T) {
	t.Parallel()
	for name, portrait := range map[string]float64{"phone.jpg": 4.0 / 3, "phone.heic": 4.0 / 3, "phone12.jpg": 4.0 / 3} {
		r := mustFit(t, partOf(name), profile("default", nil))
		if w, h := dimensions(t, r.bytes); float64(h)/float64(w) < portrait*0.99 || float64(h)/float64(w) > portrait*1.01 {
			t.Errorf("%s became %d x %d", name, w, h)
		}
		if name != "phone12.jpg" {
			continue
		}
		img, err := jpeg.Decode(bytes.NewReader(r.bytes))
		if err != nil {
			t.Fatal(err)
		}
		red := color.RGBAModel.Convert(img.At(10, 10)).(color.RGBA)
		if red.R < 200 || red.G > 60 || red.B > 60 {
			t.Errorf("its corner is %v: it does not stand upright", red)
		}
	}
	r := mustFit(t, partOf("clip.mov"), profile("default", nil))
	if w, h := look(t, r.Part.Path).first("video").display(); w != 240 || h != 320 {
		t.Errorf("the turned video became %d x %d", w, h)
	}
}

// What fits is not touched: not a single octet.
func TestFittingIsUntouched(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"photo.png", "logo.png", "animation.gif", "still.gif", "clip.mp4", "tone.amr", "card.vcf", "event.ics", "note.txt"} {
		if r := mustFit(t, partOf(name), profile("default", nil)); r.Changed {
			t.Errorf("%s was changed: %s", name, r.Rung)
		}
	}
}

// Metadata goes without encoding again: the pixels stay the same.
func TestMetadataIsCutOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"comment", load(t, "progressive.jpg")},
		{"exif, upright", withExif(load(t, "photo.jpg"), 1)},
		{"a film behind it", slices.Concat(load(t, "photo.jpg"), load(t, "located.mp4"))},
	} {
		r := mustFit(t, written(t, "photo.jpg", c.b), profile("default", nil))
		check(t, r, profile("default", nil), "image/jpeg")
		if r.Rung != "metadata removed" || r.Runs != 0 || len(r.bytes) >= len(c.b) {
			t.Errorf("%s: %q in %d runs, %d octets of %d", c.name, r.Rung, r.Runs, len(r.bytes), len(c.b))
		}
		before, err := jpeg.Decode(bytes.NewReader(c.b))
		if err != nil {
			t.Fatal(err)
		}
		after, err := jpeg.Decode(bytes.NewReader(r.bytes))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before.(*image.YCbCr).Y, after.(*image.YCbCr).Y) {
			t.Errorf("%s: the pixels are others", c.name)
		}
	}
}

func TestAnimations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode, name  string
		message     int64
		contentType string
		moving      bool
	}{
		{mediaprofile.GIFKeep, "big.gif", 600_000, "image/gif", true},
		{mediaprofile.GIFKeep, "animation.gif", 40_000, "image/jpeg", false},
		{mediaprofile.GIFFirstFrame, "big.gif", 600_000, "image/jpeg", false},
		{mediaprofile.GIFVideo, "big.gif", 600_000, "video/mp4", false},
	} {
		p := profile("default", func(p *mediaprofile.Profile) { p.AnimatedGIF, p.MessageBytes = c.mode, c.message })
		r := mustFit(t, partOf(c.name), p)
		check(t, r, p, c.contentType)
		if !c.moving {
			continue
		}
		all, err := gif.DecodeAll(bytes.NewReader(r.bytes))
		if err != nil || len(all.Image) < 20 || all.LoopCount != 0 {
			t.Errorf("%s: %d frames, %d loops, %v", r.Rung, len(all.Image), all.LoopCount, err)
		}
	}
}

// Transparency stays, or goes where it is meant to go: on white, not on black.
func TestTransparency(t *testing.T) {
	t.Parallel()
	for mode, contentType := range map[string]string{mediaprofile.TransparencyKeep: "image/png", mediaprofile.TransparencyWhite: "image/jpeg"} {
		p := profile("default", func(p *mediaprofile.Profile) { p.Transparency = mode })
		r := mustFit(t, partOf("logo.webp"), p)
		check(t, r, p, contentType)
		img, err := decode(contentType, r.bytes)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, alpha := img.At(0, 0).RGBA()
		corner := color.RGBAModel.Convert(img.At(0, 0)).(color.RGBA)
		if mode == mediaprofile.TransparencyKeep && alpha != 0 || mode == mediaprofile.TransparencyWhite && (corner.R < 250 || corner.G < 250 || corner.B < 250) {
			t.Errorf("%s: the corner is %v", mode, corner)
		}
	}
}

// The first run is aimed, so a 4K video takes one or two, and makes use of its share.
func TestVideoAims(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rural", "default"} {
		p := profile(name, nil)
		r := mustFit(t, partOf("uhd.mp4"), p)
		check(t, r, p, "video/mp4")
		if r.Runs > videoRuns || r.Part.Size < Budget(p, 1, 0)/3 {
			t.Errorf("%s: %d octets of %d in %d runs: %s", name, r.Part.Size, Budget(p, 1, 0), r.Runs, r.Rung)
		}
	}
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		seconds int
		cut     bool
		says    string // empty: it is cut
	}{
		{"long.mkv", 60, false, "limit of 60 s"},
		{"long.mkv", 0, false, "limit of 280000"},
		{"long.mkv", 20, true, ""},
		{"long.wav", 20, true, ""},
		{"long.wav", 20, false, "limit of 20 s"},
	} {
		p := profile("rural", func(p *mediaprofile.Profile) { p.MaxSeconds, p.Cut = c.seconds, c.cut })
		r, err := fit(t, partOf(c.name), p)
		if c.says != "" {
			rejectedOnly(t, err)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := look(t, r.Part.Path).seconds(); got < float64(c.seconds)-1 || got > float64(c.seconds)+1 {
			t.Errorf("%s was cut to %g s", c.name, got)
		}
	}
}

func TestSeveralParts(t *testing.T) {
	t.Parallel()
	p := profile("default", func(p *mediaprofile.Profile) { p.Documents.VCard = mediaprofile.Pass })
	dir := t.TempDir()
	var said []string
	results, err := shared.Fit(t.Context(), dir, []Part{partOf("phone12.jpg"), partOf("card.vcf"), partOf("layout.smil"), partOf("clip.mov")}, p, 500,
		func(detail string) { said = append(said, detail) })
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	var types []string
	for _, r := range results {
		if !r.Dropped {
			sum += r.Part.Size
			types = append(types, r.Part.ContentType)
		}
	}
	if want := []string{"image/jpeg", "text/vcard", "video/mp4"}; !slices.Equal(types, want) || sum > Budget(p, 4, 500) {
		t.Errorf("%v of together %d octets, want %v of %d", types, sum, want, Budget(p, 4, 500))
	}
	if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "part 1: JPEG") }) ||
		!slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "part 4: video/mp4") }) {
		t.Errorf("progress said %q", said)
	}

	// The second one fails: nothing of the first is left.
	dir = t.TempDir()
	_, err = shared.Fit(t.Context(), dir, []Part{partOf("phone.jpg"), partOf("animation.webp")}, p, 0, nil)
	if files, _ := filepath.Glob(dir + "/*"); err == nil || len(files) > 0 || !strings.Contains(err.Error(), "part 2 (image/webp)") {
		t.Errorf("%v, and left is %v", err, files)
	}
}

func TestCalledOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	// The first word of progress is said when work has begun.
	_, err := shared.Fit(ctx, t.TempDir(), []Part{partOf("phone12.jpg")}, profile("default", nil), 0, func(string) { cancel() })
	var e *Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || !e.Retryable() {
		t.Errorf("called off: %v", err)
	}
}

// Converting twice gives the same octets: who looks for a result under its Key may
// find either.
func TestSameAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"phone.jpg", "clip.mov", "tone.wav", "logo.webp"} {
		a, b := mustFit(t, partOf(name), profile("default", nil)), mustFit(t, partOf(name), profile("default", nil))
		if a.Part.SHA256 != b.Part.SHA256 {
			t.Errorf("%s became two things", name)
		}
	}
}
