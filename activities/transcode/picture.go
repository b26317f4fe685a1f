package transcode

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/bmp"
	"golang.org/x/image/draw"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// The largest picture that is unpacked. 40 megapixels are more than any phone
// sends by message, and at 4 octets each 160 MB.
const (
	maxPixels      = 40_000_000
	maxPictureSize = 160_000_000 // octets when unpacked: half the pixels at 16 bits a channel
	// A progressive JPEG is held a second time until its last scan: 40 megapixels with
	// colours at a quarter, as cameras write them, have 240 MB.
	maxHeld = 256_000_000
	// maxScans is how often a decoder goes over a picture. Encoders make some ten; a scan
	// takes 60 octets of a file and, of 40 megapixels, 27 ms that nobody can end.
	maxScans = 100
)

type codec struct {
	config func([]byte) (image.Config, error)
	decode func([]byte) (image.Image, error)
}

// codecs read the stills. Each is called by the format that sniff has found, never by
// trying them in turn.
var codecs = map[string]codec{
	"image/jpeg": {func(b []byte) (image.Config, error) { return jpeg.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }},
	"image/png": {func(b []byte) (image.Config, error) { return png.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }},
	"image/gif": {func(b []byte) (image.Config, error) { return gif.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return gif.Decode(bytes.NewReader(b)) }},
	"image/webp": {func(b []byte) (image.Config, error) { return webp.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return webp.Decode(bytes.NewReader(b)) }},
	"image/bmp": {func(b []byte) (image.Config, error) { return bmp.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return bmp.Decode(bytes.NewReader(b)) }},
	"image/tiff": {func(b []byte) (image.Config, error) { return tiff.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return tiff.Decode(bytes.NewReader(b)) }},
}

// checkSize judges dimensions from a header, before anything is unpacked.
func checkSize(w, h int) error {
	switch {
	case w < 1 || h < 1:
		return rejected("it has no size")
	case w > mediaprofile.MaxSide || h > mediaprofile.MaxSide:
		return rejected("%d x %d pixels are over the limit of %d a side", w, h, mediaprofile.MaxSide)
	case w*h > maxPixels:
		return rejected("%d x %d pixels are over the limit of %d megapixels", w, h, maxPixels/1_000_000)
	}
	return nil
}

// measure reads width and height from a still's header and judges them.
func measure(contentType string, b []byte) (cfg image.Config, err error) {
	defer recovered(&err)
	cfg, err = codecs[contentType].config(b)
	if err != nil {
		return cfg, undecodable(err, "its header cannot be read")
	}
	if err := checkSize(cfg.Width, cfg.Height); err != nil {
		return cfg, err
	}
	switch cfg.ColorModel {
	case color.RGBA64Model, color.NRGBA64Model:
		if cfg.Width*cfg.Height*8 > maxPictureSize {
			return cfg, rejected("%d x %d pixels of 16 bits a channel are over the limit of %d megapixels", cfg.Width, cfg.Height, maxPictureSize/8_000_000)
		}
	}
	return cfg, nil
}

// bearable judges what it takes to unpack a still beyond its size.
func (m meta) bearable() error {
	switch {
	case m.scans > maxScans:
		return rejected("%d scans are over the limit of %d", m.scans, maxScans)
	case m.held > maxHeld:
		return rejected("a progressive JPEG of so many pixels takes %d MB to unpack, over the limit of %d; a plain one takes less", m.held/1_000_000, maxHeld/1_000_000)
	}
	return nil
}

// decode unpacks a still, which measure has judged.
func decode(contentType string, b []byte) (img image.Image, err error) {
	defer recovered(&err)
	img, err = codecs[contentType].decode(b)
	if err != nil {
		return nil, undecodable(err, "it is damaged or breaks off")
	}
	// What was unpacked must be what was judged.
	if err := checkSize(img.Bounds().Dx(), img.Bounds().Dy()); err != nil {
		return nil, err
	}
	return img, nil
}

// recovered turns the panic of a decoder into an error: they read what strangers
// send, some have panicked before, and the process carries everybody's messages.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = undecodable(fmt.Errorf("the decoder panicked: %v", r), "it is damaged")
	}
}

// transparent reports whether any pixel is not opaque.
func transparent(img image.Image) bool {
	o, ok := img.(interface{ Opaque() bool })
	return ok && !o.Opaque()
}

// fitSide gives the size of a picture whose longer side is at most side. It
// never enlarges, and no side vanishes.
func fitSide(w, h, side int) (int, int) {
	longer := max(w, h)
	if longer <= side {
		return w, h
	}
	return max(w*side/longer, 1), max(h*side/longer, 1)
}

// maxScratch bounds what the better scaler may take beside the picture: it keeps a
// strip of 32 octets for each pixel of the new width and the old height.
const maxScratch = 64_000_000

// scale makes a picture w × h, on white unless alpha is to be kept. While it is
// at least twice too large it is halved, by the cheap scaler, which then takes
// the mean of exactly four pixels; the last step is the better one's if its
// scratch memory is small.
func scale(img image.Image, w, h int, alpha bool) *image.RGBA {
	for {
		b := img.Bounds()
		if b.Dx() < 2*w || b.Dy() < 2*h || b.Dx() < 2 || b.Dy() < 2 {
			break
		}
		half := image.NewRGBA(image.Rect(0, 0, b.Dx()/2, b.Dy()/2))
		draw.ApproxBiLinear.Scale(half, half.Bounds(), img, b, draw.Src, nil)
		img = half
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	op := draw.Src
	if !alpha && transparent(img) {
		draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
		op = draw.Over
	}
	b := img.Bounds()
	switch {
	case b.Dx() == w && b.Dy() == h:
		draw.Draw(out, out.Bounds(), img, b.Min, op)
	case w*b.Dy()*32 <= maxScratch:
		draw.CatmullRom.Scale(out, out.Bounds(), img, b, op, nil)
	default:
		draw.ApproxBiLinear.Scale(out, out.Bounds(), img, b, op, nil)
	}
	return out
}

// upright turns a picture so that it stands as its Exif orientation (1 to 8)
// says; 5 to 8 swap width and height.
func upright(in *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 || orientation > 8 {
		return in
	}
	w, h := in.Bounds().Dx(), in.Bounds().Dy()
	ow, oh := w, h
	if orientation >= 5 {
		ow, oh = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, ow, oh))
	for y := range oh {
		for x := range ow {
			sx, sy := x, y
			if orientation >= 5 {
				sx, sy = y, x
			}
			switch orientation {
			case 2, 8:
				sx = w - 1 - sx
			case 3, 7:
				sx, sy = w-1-sx, h-1-sy
			case 4, 6:
				sy = h - 1 - sy
			}
			copy(out.Pix[y*out.Stride+4*x:][:4], in.Pix[sy*in.Stride+4*sx:][:4])
		}
	}
	return out
}

// encodeJPEG writes baseline, 4:2:0, with the colour profile of the source.
func encodeJPEG(img image.Image, quality int, icc []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, internal(err, "the picture could not be written")
	}
	return insertAfterSOI(out.Bytes(), icc), nil
}

func encodePNG(img image.Image) ([]byte, error) {
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, img); err != nil {
		return nil, internal(err, "the picture could not be written")
	}
	return out.Bytes(), nil
}
