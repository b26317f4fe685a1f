package transcode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// meta is what a file says beside its pixels.
type meta struct {
	orientation int    // as in Exif, 1 to 8; 1: upright
	private     bool   // it holds more than the picture needs: Exif, GPS, comments, further pictures
	icc         []byte // JPEG: the segments of the colour profile as they stand
	scans       int    // JPEG: how often its decoder goes over the picture
	held        int64  // JPEG, progressive: octets of coefficients that are held until its last scan
	frames      int    // GIF: how many there are
	centis      int    // GIF: how long they last, in hundredths of a second
	pixels      int64  // GIF: width × height × frames of the canvas
}

var errCut = errors.New("the file breaks off")

// The markers of JPEG that matter here (ITU-T T.81 table B.1).
const (
	markerSOF2  = 0xc2 // progressive
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerCOM   = 0xfe
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP2  = 0xe2
	markerAPP14 = 0xee
	markerAPP15 = 0xef
)

// stripJPEG gives the same picture without metadata, and what that said. Only
// JFIF, the colour profile and Adobe's note on colours stay of the application
// segments; what follows the end of the picture (the film of a "live" photo,
// with its own GPS data) goes, too. The result is never longer than b.
func stripJPEG(b []byte) (out []byte, m meta, err error) {
	m.orientation = 1
	if len(b) < 4 || b[0] != 0xff || b[1] != markerSOI {
		return nil, m, errCut
	}
	out = append(make([]byte, 0, len(b)), b[:2]...)
	for at := 2; ; {
		marker, next, err := jpegMarker(b, at)
		if err != nil {
			return nil, m, err
		}
		if marker == markerEOI {
			m.private = m.private || next < len(b)
			return append(out, 0xff, markerEOI), m, nil
		}
		if marker >= 0xd0 && marker <= 0xd7 || marker == 0x01 { // RST, TEM: no length
			out = append(out, 0xff, marker)
			at = next
			continue
		}
		if next+2 > len(b) {
			return nil, m, errCut
		}
		end := next + int(binary.BigEndian.Uint16(b[next:]))
		if end < next+2 || end > len(b) {
			return nil, m, errCut
		}
		payload := b[next+2 : end]
		switch marker {
		case markerSOF2:
			m.held = coefficients(payload)
		case markerSOS:
			m.scans++
			end = entropyEnd(b, end)
		}
		if keepSegment(marker, payload) {
			segment := append([]byte{0xff, marker}, b[next:end]...)
			out = append(out, segment...)
			if marker == markerAPP2 {
				m.icc = append(m.icc, segment...)
			}
		} else {
			m.private = true
			if marker == markerAPP1 && bytes.HasPrefix(payload, []byte("Exif\x00\x00")) {
				m.orientation = exifOrientation(payload[6:])
			}
		}
		at = end
	}
}

// coefficients are the octets that a decoder holds of a progressive picture, by its
// frame header (T.81 §B.2.2): image/jpeg keeps 32 bits of each sample, and one sample of a
// component for each pixel, divided by how much coarser it is than the finest.
func coefficients(frame []byte) (octets int64) {
	if len(frame) < 6 {
		return 0
	}
	pixels := int64(binary.BigEndian.Uint16(frame[1:])) * int64(binary.BigEndian.Uint16(frame[3:]))
	var factors, finest int64
	for at := 6; at+3 <= len(frame); at += 3 {
		factor := int64(frame[at+1]>>4) * int64(frame[at+1]&15)
		factors, finest = factors+factor, max(finest, factor)
	}
	return 4 * pixels * factors / max(finest, 1)
}

// jpegMarker reads the marker at a place, over any fill octets, and gives the
// place behind it.
func jpegMarker(b []byte, at int) (marker byte, next int, err error) {
	if at+2 > len(b) || b[at] != 0xff {
		return 0, 0, errCut
	}
	for at++; at < len(b) && b[at] == 0xff; at++ {
	}
	if at >= len(b) || b[at] == 0 {
		return 0, 0, errCut
	}
	return b[at], at + 1, nil
}

// entropyEnd finds the marker that ends a scan's data: a zero after 0xff is
// data, and RST belongs to it (T.81 §B.1.1.5).
func entropyEnd(b []byte, at int) int {
	for ; at+1 < len(b); at++ {
		if b[at] == 0xff && b[at+1] != 0 && (b[at+1] < 0xd0 || b[at+1] > 0xd7) {
			return at
		}
	}
	return len(b)
}

func keepSegment(marker byte, payload []byte) bool {
	switch {
	case marker == markerAPP0:
		return bytes.HasPrefix(payload, []byte("JFIF\x00")) // JFXX has a thumbnail
	case marker == markerAPP2:
		return bytes.HasPrefix(payload, []byte("ICC_PROFILE\x00"))
	case marker == markerAPP14:
		return bytes.HasPrefix(payload, []byte("Adobe"))
	}
	return marker != markerCOM && (marker < markerAPP0 || marker > markerAPP15)
}

// exifOrientation reads the tag of that name from Exif's TIFF structure
// (CIPA DC-008 §4.6.4); anything else than 1 to 8 is 1.
func exifOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
	}
	ifd := uint64(order.Uint32(tiff[4:]))
	if ifd+2 > uint64(len(tiff)) {
		return 1
	}
	entries := tiff[ifd+2:]
	for range order.Uint16(tiff[ifd:]) {
		if len(entries) < 12 {
			return 1
		}
		if order.Uint16(entries) == 0x0112 && order.Uint16(entries[2:]) == 3 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// privateChunks are those of PNG that hold text, dates and Exif.
var privateChunks = []string{"eXIf", "tEXt", "zTXt", "iTXt", "tIME"}

// stripPNG gives the same picture without metadata, and what that said.
func stripPNG(b []byte) (out []byte, m meta, err error) {
	m.orientation = 1
	if len(b) < 8 {
		return nil, m, errCut
	}
	out = append(make([]byte, 0, len(b)), b[:8]...)
	for at := 8; ; {
		if len(b)-at < 12 {
			return nil, m, errCut
		}
		n := int64(binary.BigEndian.Uint32(b[at:]))
		if n > int64(len(b)-at-12) {
			return nil, m, errCut
		}
		end, name := at+12+int(n), string(b[at+4:at+8])
		if slices.Contains(privateChunks, name) {
			m.private = true
			if name == "eXIf" {
				m.orientation = exifOrientation(b[at+8 : end-4])
			}
		} else {
			out = append(out, b[at:end]...)
		}
		at = end
		if name == "IEND" {
			m.private = m.private || at < len(b)
			return out, m, nil
		}
	}
}

// webpOrientation finds the orientation in a WebP file (RFC 9649 §2.7).
func webpOrientation(b []byte) int {
	for at := int64(12); at+8 <= int64(len(b)); {
		n := int64(binary.LittleEndian.Uint32(b[at+4:]))
		if string(b[at:at+4]) == "EXIF" && at+8+n <= int64(len(b)) {
			return exifOrientation(bytes.TrimPrefix(b[at+8:at+8+n], []byte("Exif\x00\x00")))
		}
		at += 8 + n + n&1
	}
	return 1
}

// stripGIF gives the same animation without comments and foreign application
// blocks, where XMP puts what Exif says elsewhere; and counts its frames, by
// walking the blocks without unpacking any (GIF89a §12 to §27).
func stripGIF(b []byte) (out []byte, m meta, err error) {
	m.orientation = 1
	if len(b) < 13 {
		return nil, m, errCut
	}
	at := 13 + colourTable(b[10])
	canvas := int64(binary.LittleEndian.Uint16(b[6:])) * int64(binary.LittleEndian.Uint16(b[8:]))
	if at > len(b) {
		return nil, m, errCut
	}
	out = append(make([]byte, 0, len(b)), b[:at]...)
	for {
		if at >= len(b) {
			return nil, m, errCut
		}
		begin, keep := at, true
		switch b[at] {
		case 0x3b:
			m.private = m.private || at+1 < len(b)
			m.pixels = canvas * int64(m.frames)
			return append(out, 0x3b), m, nil
		case 0x2c:
			if at+11 > len(b) {
				return nil, m, errCut
			}
			m.frames++
			at = subBlocks(b, at+11+colourTable(b[at+9]))
		case 0x21:
			if at+3 > len(b) {
				return nil, m, errCut
			}
			if b[at+1] == 0xf9 && at+8 <= len(b) {
				m.centis += int(binary.LittleEndian.Uint16(b[at+4:]))
			}
			keep = keepExtension(b[at+1:])
			at = subBlocks(b, at+2)
		default:
			return nil, m, errors.New("there is a block of no known kind")
		}
		if at < 0 {
			return nil, m, errCut
		}
		if keep {
			out = append(out, b[begin:at]...)
		} else {
			m.private = true
		}
	}
}

// colourTable is the size of a table that a packed field announces.
func colourTable(packed byte) int {
	if packed&0x80 == 0 {
		return 0
	}
	return 3 << (packed&7 + 1)
}

// keepExtension keeps the timing of frames and the count of loops.
func keepExtension(label []byte) bool {
	return label[0] == 0xf9 ||
		label[0] == 0xff && (bytes.HasPrefix(label[1:], []byte("\x0bNETSCAPE2.0")) || bytes.HasPrefix(label[1:], []byte("\x0bANIMEXTS1.0")))
}

// subBlocks gives the place behind a chain of sub-blocks; -1: it breaks off.
func subBlocks(b []byte, at int) int {
	for at < len(b) {
		n := int(b[at])
		at += 1 + n
		if n == 0 {
			return at
		}
	}
	return -1
}

// insertAfterSOI puts segments behind the first marker of a JPEG.
func insertAfterSOI(jpeg, segments []byte) []byte {
	return slices.Concat(jpeg[:2], segments, jpeg[2:])
}

// boxes walks the boxes of an MP4 file (ISO/IEC 14496-12 §4.2) at its top level
// and tells whether they fill it to the last octet, as those of a whole file do,
// and whether the index comes before the media, so that playing can begin before
// everything has come.
func boxes(header func(at int64, b []byte) error, size int64) (whole, indexFirst bool, err error) {
	sawMedia := false
	for at := int64(0); at < size; {
		var b [16]byte
		n := min(int64(len(b)), size-at)
		if n < 8 {
			return false, indexFirst, nil
		}
		if err := header(at, b[:n]); err != nil {
			return false, false, err
		}
		length := int64(binary.BigEndian.Uint32(b[:]))
		switch {
		case length == 0: // to the end
			length = size - at
		case length == 1 && n == 16:
			length = int64(binary.BigEndian.Uint64(b[8:]) & (1<<62 - 1))
		}
		if length < 8 || length > size-at {
			return false, indexFirst, nil
		}
		switch string(b[4:8]) {
		case "moov":
			indexFirst = !sawMedia
		case "mdat":
			sawMedia = true
		}
		at += length
	}
	return true, indexFirst, nil
}

// heifSize is the largest picture that a HEIF file declares (the property ispe,
// ISO/IEC 23008-12 §6.5.3), looked for where the properties are; 0, 0: none.
func heifSize(b []byte) (w, h int) {
	at := bytes.Index(b, []byte("ipco"))
	if at < 0 {
		return 0, 0
	}
	for b = b[at:]; ; {
		i := bytes.Index(b, []byte("ispe"))
		if i < 0 || len(b) < i+16 {
			return w, h
		}
		w = max(w, int(binary.BigEndian.Uint32(b[i+8:])&(1<<31-1)))
		h = max(h, int(binary.BigEndian.Uint32(b[i+12:])&(1<<31-1)))
		b = b[i+16:]
	}
}
