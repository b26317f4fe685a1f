package media

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/fuzztest"
)

// ftyp makes a file type box of a major brand and compatible ones, with something behind.
func ftyp(brands ...string) string {
	body := brands[0] + "\x00\x00\x02\x00" + strings.Join(brands[1:], "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + "ftyp" + body + "\x00\x00\x00\x08mdat"
}

const (
	ebml    = "\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82"
	vcard   = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoë Example\r\nEND:VCARD\r\n"
	vevent  = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	latin1  = "Gr\xfc\xdfe aus K\xf6ln, bis sp\xe4ter am Bahnhof.\n"
	greeted = "Grüße aus Köln, bis später am Bahnhof. 🚆\n"
)

// heads are the begins of files as programs make them, and the type of each.
var heads = []struct{ name, head, want string }{
	{"jpeg, JFIF", "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00H\x00H\x00\x00\xff\xdb", "image/jpeg"},
	{"jpeg, Exif", "\xff\xd8\xff\xe1\x1c\x45Exif\x00\x00MM\x00*", "image/jpeg"},
	{"png", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00", "image/png"},
	{"gif", "GIF89a\x01\x00\x01\x00\x80\x00\x00", "image/gif"},
	{"gif of 1987", "GIF87a\x01\x00\x01\x00\x80\x00\x00", "image/gif"},
	{"webp", "RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00", "image/webp"},
	{"heic", ftyp("heic", "mif1", "heic"), "image/heic"},
	{"heic as mif1", ftyp("mif1", "mif1", "heic", "miaf"), "image/heic"},
	{"heic, a sequence", ftyp("hevc", "hevc", "iso8"), "image/heic"},
	{"heif of something else", ftyp("mif1", "mif1", "miaf"), "image/heif"},
	{"avif", ftyp("avif", "avif", "mif1", "miaf"), "image/avif"},
	{"avif as mif1", ftyp("mif1", "avif", "miaf"), "image/avif"},
	{"bmp", "BM\x46\x00\x00\x00\x00\x00\x00\x006\x00\x00\x00(\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x18\x00", "image/bmp"},
	{"tiff, little-endian", "II*\x00\x08\x00\x00\x00\x0f\x00\x00\x01", "image/tiff"},
	{"tiff, big-endian", "MM\x00*\x00\x00\x00\x08\x00\x0f\x01\x00", "image/tiff"},

	{"mp4", ftyp("isom", "isom", "iso2", "avc1", "mp41"), "video/mp4"},
	{"mp4, version 2", ftyp("mp42", "mp42", "isom"), "video/mp4"},
	{"mp4 of an unknown brand", ftyp("none", "isom"), "video/mp4"},
	{"m4v", ftyp("M4V ", "M4V ", "mp42"), "video/mp4"},
	{"3gp", ftyp("3gp4", "isom", "3gp4"), "video/3gpp"},
	{"3gp, release 6", ftyp("3gp6", "3gp6", "3gg6"), "video/3gpp"},
	{"3gp, progressive", ftyp("3gr7", "3gr7"), "video/3gpp"},
	{"3g2", ftyp("3g2a", "3g2a"), "video/3gpp2"},
	{"mov", ftyp("qt  ", "qt  "), "video/quicktime"},
	{"mov of old", "\x00\x00\x00\x08wide\x00\x01\x02\x03mdat", "video/quicktime"},
	{"webm", ebml + "\x84webmB\x87\x81\x02B\x85\x81\x02", "video/webm"},
	{"mkv", ebml + "\x88matroskaB\x87\x81\x04B\x85\x81\x02", "video/x-matroska"},
	{"avi", "RIFF\xa2\xf5\x06\x00AVI LIST\x7e\x22\x00\x00hdrlavih", "video/x-msvideo"},

	{"amr", "#!AMR\n\x3c\x48\xf5\x1f", "audio/amr"},
	{"amr, wide band", "#!AMR-WB\n\x24\x10", "audio/amr-wb"},
	{"mp3 with ID3", "ID3\x04\x00\x00\x00\x00\x00\x23TSSE\x00\x00\x00\x0f\x00\x00\x03Lavf60.16.100\x00", "audio/mpeg"},
	{"mp3, MPEG 1", "\xff\xfb\x90\x64\x00\x00\x00\x00", "audio/mpeg"},
	{"mp3, MPEG 2", "\xff\xf3\x84\xc4\x00\x00\x00\x03", "audio/mpeg"},
	{"aac, MPEG 4", "\xff\xf1\x50\x80\x02\x1f\xfc\xde\x02\x00Lavc", "audio/aac"},
	{"aac, MPEG 2", "\xff\xf9\x50\x80\x02\x1f\xfc\xde\x02\x00", "audio/aac"},
	{"aac with a checksum", "\xff\xf0\x50\x80\x02\x1f\xfc\xde\x02\x00", "audio/aac"},
	{"m4a", ftyp("M4A ", "M4A ", "isom", "iso2"), "audio/mp4"},
	{"wav", "RIFF\x46\x10\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00", "audio/wav"},
	{"ogg, vorbis", "OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x6b\x8b\x45\x67\x00\x00\x00\x00\x66\x33\x48\x73\x01\x1e\x01vorbis\x00\x00\x00\x00\x02", "audio/ogg"},
	{"ogg, opus", "OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x6b\x8b\x45\x67\x00\x00\x00\x00\x66\x33\x48\x73\x01\x13OpusHead\x01\x02", "audio/ogg"},
	{"flac", "fLaC\x00\x00\x00\x22\x12\x00\x12\x00", "audio/flac"},

	{"text", "See you at 8.\n", "text/plain"},
	{"text beyond ASCII", greeted, "text/plain"},
	{"text with a mark", "\xef\xbb\xbf" + greeted, "text/plain"},
	{"text of one letter", "x", "text/plain"},
	{"text like a table", "name,town\nZoë,Köln\nJim,Ely\n", "text/plain"},
	{"text like a list", "# Today\n- eggs\n- milk\n", "text/plain"},
	{"text like JSON", `{"a": [1, 2]}`, "text/plain"},
	{"text about a tag", "In HTML 5 you may write <svg> within the page.\n", "text/plain"},
	{"text in Latin-1", latin1, unknownType},
	{"text with NUL", "See you\x00 at 8.\n", unknownType},
	{"text in UTF-16", "\xff\xfeS\x00e\x00e\x00", unknownType},
	{"vcard", vcard, "text/vcard"},
	{"vcard, as people write it", "\xef\xbb\xbf\nbegin:vcard\nversion:3.0\nend:vcard\n", "text/vcard"},
	{"vcard in Latin-1", strings.ReplaceAll(vcard, "ë", "\xeb"), unknownType},
	{"ics", vevent, "text/calendar"},
	{"smil", "<smil><head><layout/></head><body/></smil>", "application/smil"},
	{"smil with everything before", "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<!-- a slide -->\n<!DOCTYPE smil PUBLIC \"-//W3C//DTD SMIL 1.0//EN\" \"x\">\n<smil xmlns=\"x\">", "application/smil"},

	{"pdf", "%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "application/pdf"},
	{"svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\">", "image/svg+xml"},
	{"svg by a prefix", "<?xml version=\"1.0\"?>\n<x:svg xmlns:x=\"http://www.w3.org/2000/svg\">", "image/svg+xml"},
	{"svg behind a comment", "<!-- " + strings.Repeat("x", 500) + " --><svg>", "image/svg+xml"},
	{"html", "<!DOCTYPE html>\n<html><head><title>x</title>", "text/html"},
	{"html without a type", "\n  <HTML><body onload=x()>", "text/html"},
	{"html of a script", "<script>alert(1)</script>", "text/html"},
	{"xhtml", "<?xml version=\"1.0\"?><html xmlns=\"x\">", "text/html"},
	{"xml", "<?xml version=\"1.0\"?><greeting/>", "text/xml"},
	{"zip", "PK\x03\x04\x14\x00\x00\x00\x08\x00\x00\x00!\x00\x00\x00\x00\x00", "application/zip"},
	{"ffconcat", "ffconcat version 1.0\nfile '/etc/passwd'\n", "text/x-ffconcat"},
	{"ffconcat that is no text", "ffconcat version 1.0\nfile '\xff'\n", "text/x-ffconcat"},
	{"m3u8", "#EXTM3U\n#EXT-X-VERSION:3\n", "application/vnd.apple.mpegurl"},
	{"m3u8 behind blanks", "\xef\xbb\xbf \n#extm3u\n", "application/vnd.apple.mpegurl"},
	{"dash", "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\">", "application/dash+xml"},
	{"exe", "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00", "application/vnd.microsoft.portable-executable"},
	{"nothing", "", unknownType},
	{"noise", "\x07\x91\x02\x03\x9c\x44\xe1\x05", unknownType},
}

func sniff(s string, pieces int) string {
	look := new(sniffer)
	for len(s) > 0 {
		n := min(max(pieces, 1), len(s))
		look.write([]byte(s[:n]))
		s = s[n:]
	}
	return look.contentType()
}

func TestTypes(t *testing.T) {
	for _, c := range heads {
		for _, piece := range []int{1 << 20, 3} {
			if got := sniff(c.head, piece); got != c.want {
				t.Errorf("%s is taken for %s, not %s", c.name, got, c.want)
			}
		}
	}
}

// What comes long after the begin of a text makes it no text.
func TestTextIsTextToItsEnd(t *testing.T) {
	long := strings.Repeat(greeted, 1000)
	for tail, want := range map[string]string{"": "text/plain", "\xff": unknownType, "\x00": unknownType, "\xf0\x9f": unknownType, "🚆": "text/plain"} {
		for _, piece := range []int{1, 7, 4096, chunk} {
			if got := sniff(long+tail, piece); got != want {
				t.Errorf("with %q behind it is %s", tail, got)
			}
		}
	}
	look := new(sniffer)
	look.write([]byte(long))
	if len(look.head) != headSize {
		t.Errorf("%d bytes are kept", len(look.head))
	}
}

func TestUTF8InPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text"))
		if len(b) > 0 && rapid.Bool().Draw(t, "cut") {
			b = b[:rapid.IntRange(0, len(b)).Draw(t, "at")]
		}
		var c utf8Check
		for rest := b; len(rest) > 0; {
			n := rapid.IntRange(0, min(len(rest), 5)).Draw(t, "piece")
			c.write(rest[:n])
			rest = rest[n:]
		}
		if want := utf8.Valid(b) && bytes.IndexByte(b, 0) < 0; c.valid() != want {
			t.Fatalf("%q: %v", b, c.valid())
		}
	})
}

func FuzzTypes(f *testing.F) {
	for _, c := range heads {
		f.Add([]byte(c.head))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got string
		fuzztest.Within(t, 1<<20+8*len(b), func() { got = sniff(string(b), 1000) })
		kind, sub, ok := strings.Cut(got, "/")
		if !ok || sub == "" || strings.ContainsAny(got, "; ") {
			t.Fatalf("%q", got)
		}
		if kind == "text" && got != "text/x-ffconcat" && !utf8.Valid(b) {
			t.Fatalf("%q is %s", b, got)
		}
		if whole := sniff(string(b), len(b)); whole != got {
			t.Fatalf("in pieces %s, in one %s", got, whole)
		}
	})
}
