package transcode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// kind is how a format is treated.
type kind int

const (
	unknown kind = iota
	still
	animation // GIF: by its frames it may be a still
	heif      // HEIC and AVIF: a still for another program
	video     // with or without sound; may turn out to be sound alone
	audio
	document // passed or refused, never converted
	layout   // SMIL of somebody else: dropped, the gateway makes its own
)

// format is what the octets of a file say that it is.
type format struct {
	contentType string
	ext         string
	kind        kind
	demuxer     string // ffmpeg's name; empty: ffmpeg never reads it
}

var (
	formatJPEG     = format{"image/jpeg", "jpg", still, ""}
	formatPNG      = format{"image/png", "png", still, ""}
	formatGIF      = format{"image/gif", "gif", animation, "gif"}
	formatWebP     = format{"image/webp", "webp", still, ""}
	formatBMP      = format{"image/bmp", "bmp", still, ""}
	formatTIFF     = format{"image/tiff", "tif", still, ""}
	formatHEIC     = format{"image/heic", "heic", heif, ""}
	formatAVIF     = format{"image/avif", "avif", heif, ""}
	formatMP4      = format{"video/mp4", "mp4", video, "mov"}
	format3GP      = format{"video/3gpp", "3gp", video, "mov"}
	formatMOV      = format{"video/quicktime", "mov", video, "mov"}
	formatWebM     = format{"video/webm", "webm", video, "matroska"}
	formatMatroska = format{"video/x-matroska", "mkv", video, "matroska"}
	formatAVI      = format{"video/x-msvideo", "avi", video, "avi"}
	formatM4A      = format{"audio/mp4", "m4a", audio, "mov"}
	formatMP3      = format{"audio/mpeg", "mp3", audio, "mp3"}
	formatAAC      = format{"audio/aac", "aac", audio, "aac"}
	formatAMR      = format{"audio/amr", "amr", audio, "amr"}
	formatAMRWB    = format{"audio/amr-wb", "awb", audio, "amr"}
	formatWAV      = format{"audio/wav", "wav", audio, "wav"}
	formatOgg      = format{"audio/ogg", "ogg", audio, "ogg"}
	formatFLAC     = format{"audio/flac", "flac", audio, "flac"}
	formatVCard    = format{"text/vcard", "vcf", document, ""}
	formatCalendar = format{"text/calendar", "ics", document, ""}
	formatPDF      = format{"application/pdf", "pdf", document, ""}
	formatText     = format{"text/plain", "txt", document, ""}
	formatSMIL     = format{"application/smil", "smil", layout, ""}
)

// fixed reports whether parts of a type are never converted.
func fixed(contentType string) bool {
	return strings.HasPrefix(contentType, "text/") || contentType == formatPDF.contentType || contentType == formatSMIL.contentType
}

// headBytes is what sniff wants to see of a file.
const headBytes = 4096

// signatures begin a file of their format.
var signatures = []struct {
	magic string
	format
}{
	{"\xff\xd8\xff", formatJPEG},
	{"\x89PNG\r\n\x1a\n", formatPNG},
	{"GIF87a", formatGIF},
	{"GIF89a", formatGIF},
	{"II*\x00", formatTIFF},
	{"MM\x00*", formatTIFF},
	{"#!AMR\n", formatAMR},
	{"#!AMR-WB\n", formatAMRWB},
	{"OggS", formatOgg},
	{"fLaC", formatFLAC},
	{"ID3", formatMP3},
	{"%PDF-", formatPDF},
}

// sniff decides what a file is by its first octets, at most headBytes of them.
// The claimed type is asked only where octets cannot tell: plain text and SMIL.
// Whatever no rule knows is of kind unknown and goes nowhere; that is where
// scripts, playlists, archives and programs end.
func sniff(head []byte, claimed string) format {
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.magic)) {
			return s.format
		}
	}
	if len(head) >= 12 {
		switch {
		case string(head[:4]) == "RIFF":
			return map[string]format{"WEBP": formatWebP, "AVI ": formatAVI, "WAVE": formatWAV}[string(head[8:12])]
		case string(head[4:8]) == "ftyp":
			return sniffBrand(head)
		case strings.Contains("moov mdat wide free skip pnot", string(head[4:8])) && binary.BigEndian.Uint32(head) < 1<<31:
			return formatMOV // QuickTime older than ftyp
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x1a\x45\xdf\xa3")):
		if bytes.Contains(head[:min(len(head), 64)], []byte("webm")) {
			return formatWebM
		}
		return formatMatroska
	case len(head) >= 26 && string(head[:2]) == "BM" && bmpHeader(head):
		return formatBMP
	case len(head) >= 4 && head[0] == 0xff && head[1]&0xf6 == 0xf0:
		return formatAAC // ADTS: sync and layer 0
	case len(head) >= 4 && head[0] == 0xff && head[1]&0xe6 == 0xe2 && head[1]&0x18 != 0x08:
		return formatMP3 // a frame: sync, layer III, no reserved version
	}
	return sniffText(head, claimed)
}

// heifBrands are the major brands of HEIF (ISO/IEC 23008-12 §10).
var heifBrands = []string{"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"}

// sniffBrand tells the relatives of MP4 apart (ISO/IEC 14496-12 §4.3). A still
// may hide its brand behind mif1, which says only "an image file".
func sniffBrand(head []byte) format {
	size := min(int(binary.BigEndian.Uint32(head)), len(head))
	brands := []string{string(head[8:12])}
	for at := 16; at+4 <= size; at += 4 {
		brands = append(brands, string(head[at:at+4]))
	}
	if slices.Contains(brands, "avif") || slices.Contains(brands, "avis") {
		return formatAVIF
	}
	switch major := brands[0]; {
	case slices.Contains(heifBrands, major):
		return formatHEIC
	case strings.HasPrefix(major, "3g"):
		return format3GP
	case major == "qt  ":
		return formatMOV
	case major == "M4A ", major == "M4B ":
		return formatM4A
	}
	return formatMP4
}

// bmpHeader tells a bitmap from a text that begins with BM: reserved octets are
// zero and the size of the second header is one of the known.
func bmpHeader(head []byte) bool {
	switch binary.LittleEndian.Uint32(head[14:]) {
	case 12, 40, 52, 56, 64, 108, 124:
		return binary.LittleEndian.Uint32(head[6:]) == 0
	}
	return false
}

// textual are beginnings of text that a program may run or follow, whatever type
// it is said to have.
var textual = []string{"#extm3u", "ffconcat", "<!doctype", "<html", "<svg", "<?xml", "<script", "#!/"}

func sniffText(head []byte, claimed string) format {
	if !isText(head) {
		return format{}
	}
	text := strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n")
	upper := strings.ToUpper(text[:min(len(text), 16)])
	claimed, _, _ = strings.Cut(strings.ToLower(claimed), ";")
	claimed = strings.TrimSpace(claimed)
	switch {
	case strings.HasPrefix(upper, "BEGIN:VCARD"):
		return formatVCard
	case strings.HasPrefix(upper, "BEGIN:VCALENDAR"):
		return formatCalendar
	case claimed == "application/smil" && strings.Contains(strings.ToLower(text), "<smil"):
		return formatSMIL
	case claimed != "text/plain":
		return format{}
	}
	for _, t := range textual {
		if strings.HasPrefix(strings.ToLower(text), t) {
			return format{}
		}
	}
	return formatText
}

// isText reports UTF-8 without control characters; the end may be cut within a
// character.
func isText(head []byte) bool {
	for i := 0; i < len(head); {
		r, n := utf8.DecodeRune(head[i:])
		if r == utf8.RuneError && n == 1 {
			return len(head) >= headBytes && len(head)-i < utf8.UTFMax
		}
		if r < 0x20 && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return false
		}
		i += n
	}
	return len(head) > 0
}

// sniffFile decides what a file is.
func sniffFile(path, claimed string) (format, error) {
	f, err := os.Open(path)
	if err != nil {
		return format{}, err
	}
	defer f.Close()
	head := make([]byte, headBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return format{}, err
	}
	return sniff(head[:n], claimed), nil
}
