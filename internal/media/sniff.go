package media

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"
)

// unknownType is what looks like nothing that is known.
const unknownType = "application/octet-stream"

// headSize is how much of a file's begin is looked at: what mimetype reads.
const headSize = 3072

// sniffer looks at a file as it passes: at its begin, and whether all of it is text.
// The zero sniffer is ready for the first bytes.
type sniffer struct {
	head []byte
	text utf8Check
}

func (s *sniffer) write(p []byte) {
	if n := min(headSize-len(s.head), len(p)); n > 0 {
		s.head = append(s.head, p[:n]...)
	}
	s.text.write(p)
}

func (s *sniffer) contentType() string { return detect(s.head, s.text.valid()) }

// utf8Check tells whether what passes is UTF-8 without NUL.
type utf8Check struct {
	bad   bool
	carry []byte // the begin of a character whose end has not come
}

func (c *utf8Check) write(p []byte) {
	if c.bad {
		return
	}
	for len(c.carry) > 0 && len(p) > 0 && !utf8.FullRune(c.carry) {
		c.carry, p = append(c.carry, p[0]), p[1:]
	}
	if len(c.carry) > 0 {
		if !utf8.FullRune(c.carry) {
			return
		}
		if c.bad = !utf8.Valid(c.carry); c.bad {
			return
		}
		c.carry = c.carry[:0]
	}
	whole := len(p)
	for i := whole - 1; i >= 0 && whole-i < utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				whole = i
			}
			break
		}
	}
	c.bad = !utf8.Valid(p[:whole]) || bytes.IndexByte(p, 0) >= 0
	c.carry = append(c.carry, p[whole:]...)
}

func (c *utf8Check) valid() bool { return !c.bad && len(c.carry) == 0 }

// names are the names that the rest of the gateway knows a type by, where mimetype has
// another.
var names = map[string]string{
	"audio/x-m4a":            "audio/mp4",
	"audio/x-wav":            "audio/wav",
	"image/vnd.mozilla.apng": "image/png",
	"video/matroska":         "video/x-matroska",
	"video/x-m4v":            "video/mp4",
}

// harmless are kinds of text that a person may have written without knowing that
// they have a name: a list is Markdown, two lines with commas are CSV. They go out as
// the text that they are.
var harmless = []string{
	"application/geo+json", "application/har+json", "application/json", "application/x-ndjson", "application/x-subrip",
	"text/csv", "text/markdown", "text/plain", "text/tab-separated-values", "text/vtt",
}

// detect names a file's type by its begin. Text says that the whole file is UTF-8
// without NUL; without that it is no kind of text/*.
//
// What decides here before mimetype does is what the gateway must not get wrong: types
// that only mobile phones make, and text that a decoder or a browser takes for
// instructions.
func detect(head []byte, text bool) string {
	if len(head) == 0 {
		return unknownType
	}
	for _, own := range []string{boxed(head), speech(head), script(head, text)} {
		if own != "" {
			return own
		}
	}
	found := mimetype.Detect(head)
	name, _, _ := strings.Cut(found.String(), ";")
	if isText(found) {
		return textType(head, name, text)
	}
	if better, ok := names[name]; ok {
		return better
	}
	return name
}

func isText(m *mimetype.MIME) bool {
	for ; m != nil; m = m.Parent() {
		if m.Is("text/plain") {
			return true
		}
	}
	return false
}

func textType(head []byte, name string, text bool) string {
	switch {
	case name == "image/svg+xml" && !bytes.HasPrefix(trim(head), []byte("<")):
		name = "text/plain" // somebody writes about <svg
	case slices.Contains(harmless, name):
		name = "text/plain"
	}
	if !text && strings.HasPrefix(name, "text/") {
		return unknownType
	}
	return name
}

// boxed names the files that begin with a file type box (ISO/IEC 14496-12 §4.3): by the
// major brand, and where that stands for several kinds, by the compatible ones.
func boxed(head []byte) string {
	if len(head) < 12 || string(head[4:8]) != "ftyp" {
		return ""
	}
	end := min(int(binary.BigEndian.Uint32(head)), len(head)) // 0 and 1 have other meanings, and no brands here
	var brands []string
	for i := 16; i+4 <= end; i += 4 {
		brands = append(brands, string(head[i:i+4]))
	}
	major := string(head[8:12])
	if name := brand(major); name != "" {
		return name
	}
	for _, b := range brands {
		if name := brand(b); name != "" {
			return name
		}
	}
	if major == "mif1" || major == "msf1" {
		return "image/heif"
	}
	return ""
}

// brand names the type that a brand stands for alone (TS 26.244 §5.3 for those of 3GPP,
// ISO/IEC 23008-12 annex B for HEIC, AVIF 1.1 §6); empty for mif1 and msf1, which only
// say that it is a picture, and for unknown ones.
func brand(b string) string {
	switch b {
	case "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs":
		return "image/heic"
	case "avif", "avis":
		return "image/avif"
	case "qt  ", "mqt ":
		return "video/quicktime"
	case "M4A ", "M4B ", "M4P ", "F4A ", "F4B ":
		return "audio/mp4"
	case "isom", "iso2", "iso3", "iso4", "iso5", "iso6", "iso7", "iso8", "iso9", "mp41", "mp42", "mp71", "avc1", "dash",
		"M4V ", "M4VH", "M4VP", "F4V ", "f4v ", "MSNV", "NDSC", "NDSH", "NDSM", "NDSP", "NDSS":
		return "video/mp4"
	}
	switch {
	case strings.HasPrefix(b, "3g2"), b == "KDDI":
		return "video/3gpp2"
	case strings.HasPrefix(b, "3g"):
		return "video/3gpp"
	}
	return ""
}

// speech names the files of RFC 4867 §5, and AAC in ADTS frames (ISO/IEC 13818-7
// §6.2): twelve bits of ones, one of MPEG version, two of layer, which are zero.
func speech(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("#!AMR-WB\n")):
		return "audio/amr-wb"
	case bytes.HasPrefix(head, []byte("#!AMR\n")):
		return "audio/amr"
	case len(head) > 6 && head[0] == 0xff && head[1]&0xf6 == 0xf0:
		return "audio/aac"
	}
	return ""
}

var bom = []byte("\xef\xbb\xbf")

func trim(head []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(head, bom), " \t\r\n\v\f")
}

// script names the text that somebody acts on: what decoders and browsers take for
// instructions, valid UTF-8 or not, and what phones take for a card or an appointment.
func script(head []byte, text bool) string {
	at := trim(head)
	switch {
	case hasFold(at, "#EXTM3U"):
		return "application/vnd.apple.mpegurl"
	case hasFold(at, "ffconcat version"):
		return "text/x-ffconcat"
	case text && hasFold(at, "BEGIN:VCARD\r"), text && hasFold(at, "BEGIN:VCARD\n"):
		return "text/vcard"
	case text && hasFold(at, "BEGIN:VCALENDAR\r"), text && hasFold(at, "BEGIN:VCALENDAR\n"):
		return "text/calendar"
	case !bytes.HasPrefix(at, []byte("<")):
		return ""
	}
	switch root(at) {
	case "smil":
		return "application/smil"
	case "svg":
		return "image/svg+xml"
	case "html":
		return "text/html"
	case "mpd":
		return "application/dash+xml"
	}
	return ""
}

func hasFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

// root is the name of the first element of XML or HTML, in lower case and without its name
// space's prefix; empty if there is none within the head.
func root(head []byte) string {
	d := xml.NewDecoder(bytes.NewReader(head))
	d.Strict = false
	// Names are ASCII in every encoding that gets here.
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		t, err := d.RawToken()
		if err != nil {
			return ""
		}
		if e, ok := t.(xml.StartElement); ok {
			return strings.ToLower(e.Name.Local)
		}
	}
}
