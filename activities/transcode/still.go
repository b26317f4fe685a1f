package transcode

import (
	"context"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// A rung is a size of stills with its qualities (of image/jpeg, 1 to 100), the
// better one first.
type rung struct {
	side      int
	qualities []int
}

// stillRungs go down in steps that were tried on photos: quality before size,
// since at these sizes a screen shows missing pixels sooner than coarse ones.
var stillRungs = []rung{
	{1920, []int{85, 70}},
	{1280, []int{82, 65}},
	{1024, []int{80, 60}},
	{800, []int{72, 52}},
	{640, []int{72, 52}},
	{480, []int{60, 42}},
	{320, []int{42}},
}

const (
	maxRuns      = 6    // conversions of one still
	octetsAPixel = 0.25 // of a JPEG at the first quality: a rule of thumb, put right after each run

)

// attempt is one encoding of a still.
type attempt struct {
	w, h, quality int
}

// turned is the attempt as it looks when it stands upright.
func (a attempt) turned(orientation int) attempt {
	if orientation >= 5 {
		a.w, a.h = a.h, a.w
	}
	return a
}

func (a attempt) String() string {
	return fmt.Sprintf("%d x %d, quality %d", a.w, a.h, a.quality)
}

// weight compares the octets of two encodings of the same picture: pixels, and a
// guess at the curve of quality, which only chooses what is tried next.
func (a attempt) weight() float64 {
	return float64(a.w*a.h) * math.Exp(float64(a.quality)/28)
}

// attempts lists the encodings of a picture of that size, from the best down,
// each size and quality once.
func attempts(w, h, most int) []attempt {
	var list []attempt
	seen := map[attempt]bool{}
	for _, r := range stillRungs {
		aw, ah := fitSide(w, h, min(r.side, most))
		for _, q := range r.qualities {
			// A small picture has the same size on several rungs: only its quality falls.
			a := attempt{aw, ah, q}
			if n := len(list); seen[a] || n > 0 && list[n-1].weight() <= a.weight() {
				continue
			}
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

// firstAttempt is the best that may be expected to fit.
func firstAttempt(list []attempt, share int64) int {
	for i, a := range list {
		if octetsAPixel*a.weight()/math.Exp(85.0/28) <= float64(share) {
			return i
		}
	}
	return len(list) - 1
}

// nextAttempt is the best that may be expected to fit after one that did not.
func nextAttempt(list []attempt, at, size int, share int64) int {
	for i := at + 1; i < len(list); i++ {
		if float64(size)*list[i].weight()/list[at].weight() <= float64(share) {
			return i
		}
	}
	return len(list) - 1
}

// still fits JPEG, PNG, WebP, BMP and TIFF.
func (j *job) still(ctx context.Context) (outcome, error) {
	b, err := j.read()
	if err != nil {
		return outcome{}, err
	}
	release, err := j.t.acquire(ctx, j.progress)
	if err != nil {
		return outcome{}, err
	}
	defer release()
	j.say("%s of %d octets", j.format.contentType, len(b))
	return j.fitStill(ctx, b, j.format, true)
}

// fitStill fits the octets of a still. turn: its orientation counts (that of a HEIC
// file was applied by the program that converted it).
func (j *job) fitStill(ctx context.Context, b []byte, f format, turn bool) (outcome, error) {
	cfg, err := measure(f.contentType, b)
	if err != nil {
		return outcome{}, err
	}
	if f == formatWebP && len(b) > 20 && string(b[12:16]) == "VP8X" && b[20]&0x02 != 0 { // RFC 9649 §2.7
		return outcome{}, rejected("an animated WebP cannot be converted; a GIF or a video can")
	}
	stripped, m, err := strip(f, b)
	if err != nil {
		return outcome{}, undecodable(err, "it is damaged or breaks off")
	}
	if err := m.bearable(); err != nil {
		return outcome{}, err
	}
	if !turn {
		m.orientation = 1
	}
	img, err := decode(f.contentType, b)
	if err != nil {
		return outcome{}, err
	}
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	if f == j.format && m.orientation == 1 && j.fits() && max(cfg.Width, cfg.Height) <= j.profile.MaxSide && !isCMYK(img) {
		if !m.private {
			return j.untouched(), nil
		}
		if stripped != nil {
			return j.written(stripped, f, "metadata removed")
		}
	}
	return j.encodeStill(ctx, img, m)
}

// strip removes metadata without encoding again; nil: not for this format.
func strip(f format, b []byte) ([]byte, meta, error) {
	switch f {
	case formatJPEG:
		return stripJPEG(b)
	case formatPNG:
		return stripPNG(b)
	case formatWebP:
		// private: nobody has looked for what else is in there.
		return nil, meta{orientation: webpOrientation(b), private: true}, nil
	case formatTIFF:
		return nil, meta{orientation: exifOrientation(b), private: true}, nil // Exif is of its form
	}
	return nil, meta{orientation: 1, private: true}, nil
}

// isCMYK: handsets show such a JPEG in false colours.
func isCMYK(img image.Image) bool {
	_, ok := img.(*image.CMYK)
	return ok
}

// encodeStill encodes until the result fits: at most maxRuns times.
func (j *job) encodeStill(ctx context.Context, img image.Image, m meta) (outcome, error) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	note := ""
	if transparent(img) {
		if j.profile.Transparency == mediaprofile.TransparencyKeep && j.profile.Takes(formatPNG.contentType) {
			out, err := j.encodePNG(ctx, img, m)
			if err != nil || out.path != "" {
				return out, err
			}
		}
		note = ", on white"
	}
	icc := m.icc
	if isCMYK(img) || int64(len(icc)) > j.limit(formatJPEG)/10 {
		icc = nil
	}
	list := attempts(w, h, j.profile.MaxSide)
	limit := j.limit(formatJPEG)
	var last int
	for i := firstAttempt(list, limit); ; {
		if err := ctx.Err(); err != nil {
			return outcome{}, err
		}
		a := list[i]
		j.runs++
		j.say("JPEG, %v", a.turned(m.orientation))
		b, err := encodeJPEG(upright(scale(img, a.w, a.h, false), m.orientation), a.quality, icc)
		if err != nil {
			return outcome{}, err
		}
		if last = len(b); int64(last) <= limit {
			return j.written(b, formatJPEG, "JPEG, "+a.turned(m.orientation).String()+note)
		}
		if i == len(list)-1 {
			return outcome{}, j.tooLarge(int64(last), formatJPEG)
		}
		if i = nextAttempt(list, i, last, limit); j.runs >= maxRuns-1 {
			i = len(list) - 1
		}
	}
}

// encodePNG keeps transparency while it fits, at no more than two sizes; an empty
// outcome: it does not.
func (j *job) encodePNG(ctx context.Context, img image.Image, m meta) (outcome, error) {
	limit := j.limit(formatPNG)
	tried := 0
	for _, r := range stillRungs {
		w, h := fitSide(img.Bounds().Dx(), img.Bounds().Dy(), min(r.side, j.profile.MaxSide))
		if w*h == tried || float64(w*h)*octetsAPixel > float64(limit) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return outcome{}, err
		}
		tried = w * h
		j.runs++
		j.say("PNG, %d x %d", w, h)
		b, err := encodePNG(upright(scale(img, w, h, true), m.orientation))
		if err != nil {
			return outcome{}, err
		}
		if int64(len(b)) <= limit {
			return j.written(b, formatPNG, fmt.Sprintf("PNG, %d x %d", w, h))
		}
		if j.runs == 2 {
			break
		}
	}
	return outcome{}, nil
}

// heif converts HEIC and AVIF to JPEG by heif-convert, then fits that.
func (j *job) heif(ctx context.Context) (outcome, error) {
	b, err := j.read()
	if err != nil {
		return outcome{}, err
	}
	w, h := heifSize(b)
	if err := checkSize(w, h); err != nil {
		return outcome{}, err
	}
	j.say("%s of %d octets", j.format.contentType, len(b))
	if _, err := j.run(ctx, heifConvert, "-q", "92", sourceName, "picture.jpg"); err != nil {
		return outcome{}, err
	}
	// A file of several pictures becomes several files; the first is the one to show.
	found, err := filepath.Glob(j.in("picture*.jpg"))
	if err != nil || len(found) == 0 {
		return outcome{}, undecodable(err, "it holds no picture that can be read")
	}
	path := found[0]
	if _, err := os.Stat(j.in("picture.jpg")); err == nil {
		path = j.in("picture.jpg")
	}
	if b, err = os.ReadFile(path); err != nil {
		return outcome{}, err
	}
	release, err := j.t.acquire(ctx, j.progress)
	if err != nil {
		return outcome{}, err
	}
	defer release()
	return j.fitStill(ctx, b, formatJPEG, false)
}
