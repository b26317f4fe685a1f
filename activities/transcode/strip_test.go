package transcode

import (
	"bytes"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

func TestSniff(t *testing.T) {
	for name, want := range map[string]format{
		"photo.jpg": formatJPEG, "photo.png": formatPNG, "still.gif": formatGIF, "photo.webp": formatWebP, "photo.bmp": formatBMP, "photo.tif": formatTIFF,
		"photo.heic": formatHEIC, "photo.avif": formatAVIF, "clip.mp4": formatMP4, "clip.3gp": format3GP, "clip.mov": formatMOV, "clip.webm": formatWebM,
		"clip.mkv": formatMatroska, "clip.avi": formatAVI, "tone.m4a": formatM4A, "tone.mp3": formatMP3, "tone.aac": formatAAC, "tone.amr": formatAMR,
		"tone.wav": formatWAV, "tone.ogg": formatOgg, "tone.flac": formatFLAC, "card.vcf": formatVCard, "event.ics": formatCalendar, "letter.pdf": formatPDF,
		"note.txt": formatText, "layout.smil": formatSMIL, "make.sh": {}, "README.md": {},
	} {
		if got, err := sniffFile(sample(name), claims[filepath.Ext(name)]); err != nil || got != want {
			t.Errorf("%s is %+v, want %+v; %v", name, got, want, err)
		}
		// What somebody claims does not make a picture of it.
		if got, err := sniffFile(sample(name), "image/jpeg"); err != nil || got != want && want != formatText && want != formatSMIL {
			t.Errorf("%s, said to be a JPEG, is %+v; %v", name, got, err)
		}
	}
	for head, want := range map[string]format{
		"\xff\xfb\x90\x64":                                 formatMP3,
		"\xff\xf1\x50\x80":                                 formatAAC,
		"\x00\x00\x00\x08wide\x00\x00\x00\x00":             formatMOV,
		"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ":     formatMOV,
		"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif": formatAVIF,
		"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00heic":     formatHEIC,
		"#!AMR-WB\n":        formatAMRWB,
		"\ufeffBEGIN:VCARD": formatVCard,
	} {
		if got := sniff([]byte(head), ""); got != want {
			t.Errorf("%q is %+v, want %+v", head, got, want)
		}
	}
}

func TestOrientationIsRead(t *testing.T) {
	for o := 1; o <= 8; o++ {
		if _, m, err := stripJPEG(withExif(load(t, "photo.jpg"), uint16(o))); err != nil || m.orientation != o || !m.private {
			t.Errorf("orientation %d: %+v, %v", o, m, err)
		}
	}
	for _, o := range []uint16{0, 9, 65535} {
		if _, m, _ := stripJPEG(withExif(load(t, "photo.jpg"), o)); m.orientation != 1 {
			t.Errorf("orientation %d: %+v", o, m)
		}
	}
}

// The eight orientations put the same corner where it belongs: Exif 2.32 §4.6.4, "the
// 0th row is the visual top" and so on.
func TestUprightTurns(t *testing.T) {
	in := image.NewRGBA(image.Rect(0, 0, 3, 2))
	at := func(x, y int) color.RGBA { return color.RGBA{uint8(x), uint8(y), 7, 255} }
	for y := range 2 {
		for x := range 3 {
			in.SetRGBA(x, y, at(x, y))
		}
	}
	// For each: the size, and which source pixel is at the upper left and the upper right.
	for o, want := range map[int]struct{ w, h, lx, ly, rx, ry int }{
		0: {3, 2, 0, 0, 2, 0}, 1: {3, 2, 0, 0, 2, 0}, 2: {3, 2, 2, 0, 0, 0}, 3: {3, 2, 2, 1, 0, 1}, 4: {3, 2, 0, 1, 2, 1},
		5: {2, 3, 0, 0, 0, 1}, 6: {2, 3, 0, 1, 0, 0}, 7: {2, 3, 2, 1, 2, 0}, 8: {2, 3, 2, 0, 2, 1},
	} {
		out := upright(in, o)
		b := out.Bounds()
		if b.Dx() != want.w || b.Dy() != want.h || out.RGBAAt(0, 0) != at(want.lx, want.ly) || out.RGBAAt(want.w-1, 0) != at(want.rx, want.ry) {
			t.Errorf("orientation %d: %v with %v and %v", o, b, out.RGBAAt(0, 0), out.RGBAAt(want.w-1, 0))
		}
	}
}

func TestGIFIsCounted(t *testing.T) {
	for name, frames := range map[string]int{"animation.gif": 30, "still.gif": 1} {
		if _, m, err := stripGIF(load(t, name)); err != nil || m.frames != frames || m.private {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	// A comment and XMP go.
	b := load(t, "animation.gif")
	at := 13 + colourTable(b[10])
	xmp := "\x21\xff\x0bXMP DataXMP\x05place\x00\x21\xfe\x08Holidays\x00"
	out, m, err := stripGIF(bytes.Join([][]byte{b[:at], []byte(xmp), b[at:]}, nil))
	if err != nil || !m.private || !bytes.Equal(out, b) {
		t.Errorf("%+v, %v, %d octets instead of %d", m, err, len(out), len(b))
	}
}

func TestPNGIsStripped(t *testing.T) {
	b := load(t, "photo.png")
	// Between the header, whose chunk has 25 octets behind the 8 of the signature, and the rest.
	chunk := "\x00\x00\x00\x0dtEXtTitle\x00Holiday\x00\x00\x00\x00"
	out, m, err := stripPNG(bytes.Join([][]byte{b[:33], []byte(chunk), b[33:], []byte("more")}, nil))
	if err != nil || !m.private || !bytes.Equal(out, b) {
		t.Errorf("%+v, %v, %d octets instead of %d", m, err, len(out), len(b))
	}
}

func TestBoxes(t *testing.T) {
	for name, want := range map[string][2]bool{"clip.mp4": {true, true}, "clip.mov": {true, false}} {
		b := load(t, name)
		for _, n := range []int{len(b), len(b) - 1, len(b) / 2} {
			whole, first, err := boxes(func(at int64, into []byte) error { copy(into, b[at:]); return nil }, int64(n))
			if err != nil || whole != (n == len(b)) || whole && [2]bool{whole, first} != want {
				t.Errorf("%s, %d of %d: whole %v, index first %v, %v", name, n, len(b), whole, first, err)
			}
		}
	}
}

func TestScaleNeverEnlargesAndKeepsWhite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h, side := rapid.IntRange(1, 300).Draw(t, "w"), rapid.IntRange(1, 300).Draw(t, "h"), rapid.IntRange(1, 400).Draw(t, "side")
		nw, nh := fitSide(w, h, side)
		if nw < 1 || nh < 1 || nw > w || nh > h || max(nw, nh) > side {
			t.Fatalf("%d x %d within %d is %d x %d", w, h, side, nw, nh)
		}
		out := scale(image.NewNRGBA(image.Rect(0, 0, w, h)), nw, nh, false)
		if b := out.Bounds(); b.Dx() != nw || b.Dy() != nh || out.RGBAAt(nw/2, nh/2) != (color.RGBA{255, 255, 255, 255}) {
			t.Fatalf("%v, and nothing became %v", b, out.RGBAAt(nw/2, nh/2))
		}
	})
}

// Whatever comes in: no panic, nothing grows, and what was stripped once has nothing
// to strip.
func FuzzStrip(f *testing.F) {
	for _, name := range []string{"still.gif", "phone.jpg", "logo.png", "phone.heic", "logo.webp", "card.vcf", "tone.amr"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sniff(b[:min(len(b), headBytes)], "text/plain")
		heifSize(b)
		webpOrientation(b)
		if o := exifOrientation(b); o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
		_, _, _ = boxes(func(at int64, into []byte) error { copy(into, b[at:]); return nil }, int64(len(b)))
		for name, stripper := range map[string]func([]byte) ([]byte, meta, error){"JPEG": stripJPEG, "PNG": stripPNG, "GIF": stripGIF} {
			out, m, err := stripper(b)
			if err != nil {
				continue
			}
			again, m2, err := stripper(out)
			if len(out) > len(b) || err != nil || m2.private || !bytes.Equal(again, out) || !m.private && !bytes.Equal(out, b) {
				t.Fatalf("%s: %d of %d octets, then %d; %+v, %+v, %v", name, len(out), len(b), len(again), m, m2, err)
			}
		}
	})
}
