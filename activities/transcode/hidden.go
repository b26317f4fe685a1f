package transcode

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"
)

// vouched are the boxes of MP4, 3GP and MOV that a film needs and that say nothing of who
// made it, by the box that they stand in (ISO/IEC 14496-12 §6.2.3; QuickTime's wide). Any
// other may hold a place, a camera or a picture: uuid is made for it, what stands in a
// list of metadata as well, and cameras have boxes of their own.
var vouched = map[string]string{
	"":     "ftyp styp pdin sidx ssix moov moof mfra mdat free skip wide",
	"moov": "mvhd iods trak mvex udta free skip",
	"trak": "tkhd tref edts mdia udta free skip",
	// Only as ffmpeg leaves them: with an empty list.
	"udta": "meta",
	"meta": "hdlr ilst free",
	"ilst": "",
	"edts": "elst",
	"mdia": "mdhd hdlr elng minf free skip",
	"minf": "vmhd smhd nmhd hdlr dinf stbl free skip",
	"dinf": "dref",
	"stbl": "stsd stts ctts cslg stss stsh stsc stsz stz2 stco co64 stdp padb sdtp sbgp sgpd subs saiz saio free skip",
	"mvex": "mehd trex leva",
	"moof": "mfhd traf free skip",
	"traf": "tfhd tfdt trun sdtp sbgp sgpd subs saiz saio free skip",
	"mfra": "tfra mfro",
}

// maxIndex is the largest moov or moof that is looked into; ten minutes of video have
// less than 1 MB.
const maxIndex = 8 << 20

// hides reports whether a file of the job's directory, one of MP4's family, has octets
// that nobody vouches for: a box of another kind, or padding that is not empty.
func (j *job) hides(name string) (bool, error) {
	f, err := os.Open(j.in(name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return hidesBoxes(f, info.Size())
}

// hidesBoxes looks at the boxes of the top level, and into those with the index. What
// does not add up hides something.
func hidesBoxes(r io.ReaderAt, size int64) (bool, error) {
	for at := int64(0); at < size; {
		var head [16]byte
		n, err := r.ReadAt(head[:], at)
		if err != nil && err != io.EOF {
			return false, err
		}
		kind, begin, length, ok := box(head[:n], size-at)
		if !ok || !vouches("", kind) {
			return true, nil
		}
		body := io.NewSectionReader(r, at+begin, length-begin)
		switch kind {
		case "mdat":
		case "free", "skip", "wide":
			if empty, err := zeros(body); err != nil || !empty {
				return true, err
			}
		default:
			if body.Size() > maxIndex {
				return true, nil
			}
			b, err := io.ReadAll(body)
			if err != nil {
				return false, err
			}
			if hidesWithin(kind, b) {
				return true, nil
			}
		}
		at += length
	}
	return false, nil
}

// hidesWithin looks into a box. The depth is that of vouched: no box is in one of its own
// kind.
func hidesWithin(kind string, b []byte) bool {
	if _, ok := vouched[kind]; !ok {
		// Descriptions of a codec are of many kinds. What is known to hide stands out.
		return kind == "stsd" && (bytes.Contains(b, []byte("uuid")) || bytes.Contains(b, []byte("udta")) || bytes.Contains(b, []byte("meta")))
	}
	if kind == "meta" { // it begins with a version, but for QuickTime's
		if len(b) < 4 {
			return true
		}
		b = b[4:]
	}
	for len(b) > 0 {
		inner, begin, length, ok := box(b[:min(len(b), 16)], int64(len(b)))
		if !ok || !vouches(kind, inner) {
			return true
		}
		body := b[begin:length]
		switch {
		case inner == "free" || inner == "skip":
			if len(bytes.Trim(body, "\x00")) > 0 {
				return true
			}
		case kind == "meta" && inner == "hdlr" && len(body) > 25: // it has a name
			return true
		case hidesWithin(inner, body):
			return true
		}
		b = b[length:]
	}
	return false
}

func vouches(outer, inner string) bool {
	return len(inner) == 4 && !strings.Contains(inner, " ") && strings.Contains(" "+vouched[outer]+" ", " "+inner+" ")
}

// box reads the head of a box within what is left: its kind, where its content begins and
// how long it is as a whole.
func box(head []byte, left int64) (kind string, begin, length int64, ok bool) {
	if len(head) < 8 {
		return "", 0, 0, false
	}
	begin, length = 8, int64(binary.BigEndian.Uint32(head))
	switch {
	case length == 0: // to the end
		length = left
	case length == 1 && len(head) == 16:
		begin, length = 16, int64(binary.BigEndian.Uint64(head[8:])&(1<<62-1))
	}
	return string(head[4:8]), begin, length, length >= begin && length <= left
}

// zeros reports whether there is nothing else.
func zeros(r io.Reader) (bool, error) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		if len(bytes.Trim(buffer[:n], "\x00")) > 0 {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
