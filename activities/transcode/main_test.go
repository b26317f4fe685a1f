package transcode

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// The samples that are too large to keep, made once by TestMain.
var (
	large  string // their directory
	shared *Transcoder
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		// All processors: nobody waits for an SMS here.
		shared = New(context.Background(), Config{Limit: runtime.NumCPU()})
		if missing := shared.Tools().Missing; len(missing) > 0 {
			fmt.Fprintf(os.Stderr, "these tests need programs that are missing here; install them with `sh deploy/install.sh test`:\n  %s\n", strings.Join(missing, "\n  "))
			return 1
		}
		var err error
		if large, err = os.MkdirTemp("", "transcode-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(large)
		if err := makeLarge(); err != nil {
			fmt.Fprintln(os.Stderr, "making the large samples:", err)
			return 1
		}
		return m.Run()
	}())
}

// makeLarge makes them; the seed is fixed, so that each run has the same.
func makeLarge() error {
	photo := image.NewRGBA(image.Rect(0, 0, 4000, 3000))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range 3000 {
		for x := range 4000 {
			n := uint8(r.Uint32() & 31)
			photo.SetRGBA(x, y, color.RGBA{uint8(x/16) + n, uint8(y/12) + n, 128 + n, 255})
		}
	}
	// What lies at the lower left is at the upper left once it stands upright (Exif 6).
	for y := 2600; y < 3000; y++ {
		for x := range 400 {
			photo.SetRGBA(x, y, color.RGBA{255, 0, 0, 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, photo, &jpeg.Options{Quality: 90}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(large, "phone12.jpg"), withExif(b.Bytes(), 6), 0o600); err != nil {
		return err
	}
	const lavfi = "-nostdin -loglevel error -y -threads 2 -f lavfi "
	for _, args := range []string{
		lavfi + "-t 2 -i testsrc2=size=3840x2160:rate=30 -f lavfi -t 2 -i sine=440 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -b:v 20M -c:a aac uhd.mp4",
		lavfi + "-t 3 -i testsrc2=size=640x480:rate=15,noise=alls=20:allf=t big.gif",
		lavfi + "-t 60 -i aevalsrc=0.3*sin(880*PI*t)|0.3*sin(1000*PI*t):s=44100 long.wav",
		lavfi + "-t 300 -i testsrc2=size=64x64:rate=2 -c:v libx264 -preset ultrafast long.mkv",
		lavfi + "-t 1 -i testsrc2=size=64x64:rate=2 -c:v cinepak cinepak.mov",
	} {
		c := exec.Command("ffmpeg", strings.Fields(args)...)
		c.Dir = large
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
	}
	return nil
}

// withExif gives a JPEG an orientation, a camera and a place, as phones do.
func withExif(b []byte, orientation uint16) []byte {
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x03")
	entry := func(tag, kind uint16, count, value uint32) {
		for _, v := range []any{tag, kind, count, value} {
			tiff, _ = binary.Append(tiff, binary.BigEndian, v)
		}
	}
	entry(0x010f, 2, 13, 50)                          // Make
	entry(0x0112, 3, 1, uint32(orientation)<<16)      // Orientation
	entry(0x8825, 4, 1, 64)                           // the GPS IFD
	tiff = append(tiff, 0, 0, 0, 0)                   // no further IFD
	tiff = append(tiff, "Camera Works\x00\x00"...)    // at 50
	tiff = append(tiff, 0, 1, 0, 1, 0, 2, 0, 0, 0, 2) // GPSLatitudeRef
	tiff = append(tiff, 'N', 0, 0, 0, 0, 0, 0, 0)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	head := binary.BigEndian.AppendUint16([]byte{0xff, markerAPP1}, uint16(len(segment)+2))
	return insertAfterSOI(b, append(head, segment...))
}

// pngBomb writes a PNG of black pixels, one bit each, without holding them.
func pngBomb(path string, w, h int) error {
	var data bytes.Buffer
	z, _ := zlib.NewWriterLevel(&data, zlib.BestSpeed)
	row := make([]byte, 1+(w+7)/8)
	for range h {
		if _, err := z.Write(row); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	var out bytes.Buffer
	out.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(name string, b []byte) {
		_ = binary.Write(&out, binary.BigEndian, uint32(len(b)))
		b = append([]byte(name), b...)
		out.Write(b)
		_ = binary.Write(&out, binary.BigEndian, crc32.ChecksumIEEE(b))
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h))
	chunk("IHDR", append(header, 1, 0, 0, 0, 0))
	chunk("IDAT", data.Bytes())
	chunk("IEND", nil)
	return os.WriteFile(path, out.Bytes(), 0o600)
}

// sample finds a sample, kept or made.
func sample(name string) string {
	if _, err := os.Stat(filepath.Join(large, name)); err == nil {
		return filepath.Join(large, name)
	}
	return filepath.Join("testdata", name)
}

// claims are the types that somebody says a sample has, where octets cannot tell.
var claims = map[string]string{".smil": "application/smil", ".txt": "text/plain"}

func partOf(name string) Part {
	return Part{Name: "../../" + name, ContentType: claims[filepath.Ext(name)], Path: sample(name)}
}

// written makes a file of its own for a test.
func written(t testing.TB, name string, b []byte) Part {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return Part{Path: path, ContentType: claims[filepath.Ext(name)]}
}

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(sample(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// profile gives a default by name, changed.
func profile(name string, change func(*mediaprofile.Profile)) mediaprofile.Profile {
	for _, p := range mediaprofile.Defaults() {
		if p.Name == name {
			if change != nil {
				change(&p)
			}
			return p
		}
	}
	panic("no profile " + name)
}

// fitted is a result with what is known of it.
type fitted struct {
	Result
	dir   string
	bytes []byte
}

// fit makes one part fit and checks what holds of every result.
func fit(t *testing.T, part Part, p mediaprofile.Profile) (fitted, error) {
	t.Helper()
	dir := t.TempDir()
	results, err := shared.Fit(t.Context(), dir, []Part{part}, p, 0, nil)
	left, readErr := os.ReadDir(dir)
	if readErr != nil {
		t.Fatal(readErr)
	}
	if err != nil {
		if len(left) > 0 {
			t.Errorf("left behind after %v: %v", err, left)
		}
		return fitted{}, err
	}
	r := fitted{Result: results[0], dir: dir}
	if want := 1; !r.Changed && len(left) != 0 || r.Changed && len(left) != want {
		t.Errorf("changed: %v, and in the directory are %v", r.Changed, left)
	}
	if r.bytes, err = os.ReadFile(r.Part.Path); err != nil {
		t.Fatal(err)
	}
	if int64(len(r.bytes)) != r.Part.Size {
		t.Errorf("%d octets, said to be %d", len(r.bytes), r.Part.Size)
	}
	if r.Changed && sha(r.bytes) != r.Part.SHA256 {
		t.Errorf("the SHA-256 is another")
	}
	if !r.Changed && r.Part.Path != part.Path {
		t.Errorf("unchanged, but at another path")
	}
	if strings.Contains(r.Part.Name, "/") || !strings.HasPrefix(r.Part.Name, "media-1.") {
		t.Errorf("named %q", r.Part.Name)
	}
	return r, nil
}

func mustFit(t *testing.T, part Part, p mediaprofile.Profile) fitted {
	t.Helper()
	r, err := fit(t, part, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// look probes a result with ffprobe as it comes, without the guards of the product.
func look(t *testing.T, path string) *probe {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	copied, err := os.Create(filepath.Join(dir, sourceName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(copied, f); err != nil {
		t.Fatal(err)
	}
	copied.Close()
	form, err := sniffFile(path, "")
	if err != nil {
		t.Fatal(err)
	}
	j := &job{t: shared, dir: dir, progress: func(string) {}}
	p, err := j.probe(ctx, sourceName, form.demuxer)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func dimensions(t *testing.T, b []byte) (w, h int) {
	t.Helper()
	cfg, _, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Width, cfg.Height
}
