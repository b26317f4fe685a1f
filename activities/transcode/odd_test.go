package transcode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// progressive writes a progressive JPEG of one grey, or one colour, with as many scans as
// wanted, each of which says in a few octets that no block has anything new.
func progressive(w, h, components, scans int) []byte {
	out := []byte{0xff, markerSOI}
	segment := func(marker byte, payload ...byte) {
		out = append(out, 0xff, marker)
		out = binary.BigEndian.AppendUint16(out, uint16(len(payload)+2))
		out = append(out, payload...)
	}
	segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)
	frame := []byte{8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), byte(components)}
	for c := range components {
		frame = append(frame, byte(c+1), 0x11, 0)
	}
	segment(markerSOF2, frame...)
	one := func(class, value byte) { // a code of one bit for one value
		table := make([]byte, 17, 18)
		table[0], table[1] = class, 1
		segment(0xc4, append(table, value)...)
	}
	one(0x00, 0)    // DC: no difference
	one(0x10, 0xe0) // AC: nothing in 2^14 blocks and as many more as the 14 bits behind it say
	blocks := (w + 7) / 8 * ((h + 7) / 8)
	for c := range components {
		segment(markerSOS, 1, byte(c+1), 0, 0, 0, 0)
		out = append(out, make([]byte, (blocks+7)/8)...)
	}
	var data []byte
	bits, n := uint32(0), 0
	for range (blocks + 1<<15 - 2) / (1<<15 - 1) {
		for bits, n = bits<<15|0x3fff, n+15; n >= 8; n -= 8 {
			if data = append(data, byte(bits>>(n-8))); data[len(data)-1] == 0xff {
				data = append(data, 0)
			}
		}
	}
	data = append(data, byte(bits<<(8-n))|byte(1<<(8-n)-1), 0)
	for range scans {
		segment(markerSOS, 1, 1, 0, 1, 63, 0)
		out = append(out, data...)
	}
	return append(out, 0xff, 0xd9)
}

// A file of some kilobytes may want hours of a decoder that nobody can end, and a
// progressive picture is held twice.
func TestHardJPEGsAreRefused(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		b    []byte
		says string
	}{
		"scans":  {progressive(800, 600, 1, 300), "301 scans are over the limit of 100"},
		"colour": {progressive(6000, 6000, 3, 1), "takes 432 MB to unpack"},
	} {
		_, err := fit(t, written(t, "hard.jpg", c.b), profile("default", nil))
		if rejectedOnly(t, err); err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: it says %v", what, err)
		}
	}
	mustFit(t, written(t, "grey.jpg", progressive(6000, 6000, 1, 90)), profile("default", nil))
	mustFit(t, written(t, "colour.jpg", progressive(800, 600, 3, 90)), profile("default", nil))
}

// A TIFF says how it stands in the tag that Exif has from it.
func TestTIFFStandsUpright(t *testing.T) {
	t.Parallel()
	in := image.NewGray(image.Rect(0, 0, 60, 40))
	var b bytes.Buffer
	if err := tiff.Encode(&b, in, nil); err != nil {
		t.Fatal(err)
	}
	// The directory is at the end: its count, entries in order of their tags, and a zero.
	file := b.Bytes()
	at := binary.LittleEndian.Uint32(file[4:])
	n := uint32(binary.LittleEndian.Uint16(file[at:]))
	entry := []byte{0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0}
	turned := append(append(bytes.Clone(file), byte(n+1), 0), insertTag(file[at+2:at+2+12*n], entry)...)
	turned = append(turned, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(turned[4:], uint32(len(file)))
	r := mustFit(t, written(t, "scan.tif", turned), profile("default", nil))
	if w, h := dimensions(t, r.bytes); w != 40 || h != 60 {
		t.Errorf("it became %d x %d", w, h)
	}
}

// insertTag puts an entry where it belongs among those of a directory.
func insertTag(entries, entry []byte) (out []byte) {
	for len(entries) > 0 && binary.LittleEndian.Uint16(entries) < binary.LittleEndian.Uint16(entry) {
		out, entries = append(out, entries[:12]...), entries[12:]
	}
	return append(append(out, entry...), entries...)
}

// The first frame of an animation may be a part of its picture.
func TestFirstFrameIsInItsPlace(t *testing.T) {
	t.Parallel()
	colours := color.Palette{color.Transparent, color.Black}
	spot := image.NewPaletted(image.Rect(100, 50, 150, 100), colours)
	for i := range spot.Pix {
		spot.Pix[i] = 1
	}
	var b bytes.Buffer
	all := &gif.GIF{Image: []*image.Paletted{spot, image.NewPaletted(image.Rect(0, 0, 300, 200), colours)}, Delay: []int{10, 10},
		Config: image.Config{ColorModel: colours, Width: 300, Height: 200}}
	if err := gif.EncodeAll(&b, all); err != nil {
		t.Fatal(err)
	}
	p := profile("default", func(p *mediaprofile.Profile) {
		p.AnimatedGIF, p.Transparency, p.MaxSide = mediaprofile.GIFFirstFrame, mediaprofile.TransparencyWhite, 290
	})
	r := mustFit(t, written(t, "spot.gif", b.Bytes()), p)
	if w, h := dimensions(t, r.bytes); w != 290 || h != 193 {
		t.Fatalf("it became %d x %d", w, h)
	}
	img, err := decode("image/jpeg", r.bytes)
	if err != nil {
		t.Fatal(err)
	}
	for at, black := range map[image.Point]bool{{10, 10}: false, {120, 72}: true} {
		if y := color.GrayModel.Convert(img.At(at.X, at.Y)).(color.Gray).Y; y < 40 != black {
			t.Errorf("at %v the grey is %d", at, y)
		}
	}
}

// Nothing is unpacked without a place, a GIF that fits as little as any other picture.
func TestFittingGIFsWaitForAPlace(t *testing.T) {
	t.Parallel()
	one := New(t.Context(), Config{Limit: 1})
	release, err := one.acquire(t.Context(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, name := range []string{"still.gif", "animation.gif"} {
		ctx, cancel := context.WithCancel(t.Context())
		results, err := one.Fit(ctx, t.TempDir(), []Part{partOf(name)}, profile("default", nil), 0, func(string) { cancel() })
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %+v, %v", name, results, err)
		}
	}
}

// Subtitles are left out; a film that has some is a film.
func TestSubtitlesAreLeftOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "words.srt"), []byte("1\n00:00:00,000 --> 00:00:01,000\nhello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, codec := range map[string]string{"words.mkv": "srt", "styled.mkv": "ass", "words.webm": "webvtt", "words.mp4": "mov_text"} {
		film := "libx264"
		if strings.HasSuffix(name, "webm") {
			film = "libvpx"
		}
		c := exec.Command("ffmpeg", strings.Fields(fmt.Sprintf("-nostdin -loglevel error -y -threads 1 -f lavfi -t 1 -i testsrc2=size=160x120:rate=10 -i words.srt -map 0 -map 1 -c:v %s -pix_fmt yuv420p -c:s %s %s", film, codec, name))...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		r := mustFit(t, Part{Path: filepath.Join(dir, name)}, profile("default", nil))
		if streams := look(t, r.Part.Path).Streams; len(streams) != 1 || streams[0].Type != "video" || r.Part.ContentType != "video/mp4" {
			t.Errorf("%s became %s with %+v", name, r.Part.ContentType, streams)
		}
	}
}
