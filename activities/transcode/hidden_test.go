package transcode

import (
	"bytes"
	"encoding/binary"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func madeBox(kind string, body ...[]byte) []byte {
	b := slices.Concat(body...)
	return slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(len(b)+8)), []byte(kind), b)
}

// inBox puts a box into the container that the path names, at its end, and mends all
// lengths and the places of the samples.
func inBox(t *testing.T, file []byte, path []string, added []byte) []byte {
	t.Helper()
	out := inserted(t, file, path, added)
	// What stands before the media moves it.
	moov := bytes.Index(out, []byte("moov"))
	if mdat := bytes.Index(file, []byte("mdat")); len(path) > 0 && bytes.Index(file, []byte("moov")) < mdat {
		for at := moov; ; {
			i := bytes.Index(out[at:], []byte("stco"))
			if i < 0 {
				break
			}
			at += i + 4
			for n := range binary.BigEndian.Uint32(out[at+4:]) {
				place := out[at+8+int(n)*4:]
				binary.BigEndian.PutUint32(place, binary.BigEndian.Uint32(place)+uint32(len(added)))
			}
		}
	}
	return out
}

func inserted(t *testing.T, b []byte, path []string, added []byte) []byte {
	t.Helper()
	if len(path) == 0 {
		return slices.Concat(b, added)
	}
	for at := 0; at < len(b); {
		kind, begin, length, ok := box(b[at:min(at+16, len(b))], int64(len(b)-at))
		if !ok {
			break
		}
		if kind == path[0] {
			body := inserted(t, b[at+int(begin):at+int(length)], path[1:], added)
			return slices.Concat(b[:at], madeBox(kind, body), b[at+int(length):])
		}
		at += int(length)
	}
	t.Fatalf("there is no box %v", path)
	return nil
}

const secretPlace = "+48.1371+011.5753/"

// Whatever box holds a place: it is cut out, and picture and sound stay as they are.
func TestBoxesThatHideAPlaceAreCutOut(t *testing.T) {
	t.Parallel()
	place := []byte(secretPlace)
	guid := []byte("0123456789abcdef")
	three := []string{"uuid at the top", "udta in moov", "free in stbl"} // of the family's other member
	for name, c := range map[string]struct {
		path  []string
		added []byte
	}{
		"uuid at the top":       {nil, madeBox("uuid", guid, place)},
		"free with data":        {nil, madeBox("free", place)},
		"skip with data":        {nil, madeBox("skip", place)},
		"meta at the top":       {nil, madeBox("meta", make([]byte, 4), place)},
		"a camera's own":        {nil, madeBox("GPMF", place)},
		"junk behind it":        {nil, place},
		"uuid in moov":          {[]string{"moov"}, madeBox("uuid", guid, place)},
		"udta in moov":          {[]string{"moov"}, madeBox("udta", madeBox("\xa9xyz", []byte{0, 18, 0x15, 0xc7}, place))},
		"unknown in udta":       {[]string{"moov"}, madeBox("udta", madeBox("GPMF", place))},
		"free in moov":          {[]string{"moov"}, madeBox("free", place)},
		"meta in moov":          {[]string{"moov"}, madeBox("meta", make([]byte, 4), madeBox("uuid", guid, place))},
		"udta in trak":          {[]string{"moov", "trak"}, madeBox("udta", madeBox("\xa9cam", []byte{0, 18, 0x15, 0xc7}, place))},
		"uuid in trak":          {[]string{"moov", "trak"}, madeBox("uuid", guid, place)},
		"meta in trak":          {[]string{"moov", "trak"}, madeBox("meta", make([]byte, 4), place)},
		"free in stbl":          {[]string{"moov", "trak", "mdia", "minf", "stbl"}, madeBox("free", place)},
		"unknown in minf":       {[]string{"moov", "trak", "mdia", "minf"}, madeBox("gps ", place)},
		"a long one at the top": {nil, slices.Concat([]byte{0, 0, 0, 1}, []byte("uuid"), binary.BigEndian.AppendUint64(nil, uint64(32+len(place))), guid, place)},
	} {
		for _, sample := range []string{"clip.mp4", "clip.3gp"} {
			if sample == "clip.3gp" && !slices.Contains(three, name) {
				continue
			}
			t.Run(name+"/"+sample, func(t *testing.T) {
				t.Parallel()
				file := load(t, sample)
				if hidden, err := hidesBoxes(bytes.NewReader(file), int64(len(file))); sample == "clip.mp4" && (hidden || err != nil) {
					t.Fatalf("the sample hides something: %v", err)
				}
				r, err := fit(t, written(t, sample, inBox(t, file, c.path, c.added)), profile("default", nil))
				if err != nil {
					if name == "junk behind it" { // a file that does not add up may be refused
						rejectedOnly(t, err)
						return
					}
					t.Fatal(err)
				}
				if bytes.Contains(r.bytes, place) {
					t.Error("the place is still there")
				}
				if r.Rung != "metadata removed" {
					t.Errorf("it was made by %q", r.Rung)
				}
				check(t, r, profile("default", nil), r.Part.ContentType)
				// Nothing is encoded again: the same packets.
				if was, is := packets(t, sample), packetsOf(t, r.Part.Path); was != is {
					t.Errorf("its packets are others:\n%s\n%s", was, is)
				}
			})
		}
	}
}

// What is empty hides nothing, so that files need not be written anew for it.
func TestEmptyPaddingStays(t *testing.T) {
	t.Parallel()
	for _, added := range [][]byte{madeBox("free"), madeBox("free", make([]byte, 100_000)), madeBox("skip", make([]byte, 9))} {
		if r := mustFit(t, written(t, "clip.mp4", inBox(t, load(t, "clip.mp4"), nil, added)), profile("default", nil)); r.Changed {
			t.Errorf("%d octets of padding: %q", len(added), r.Rung)
		}
	}
}

func packets(t *testing.T, name string) string { return packetsOf(t, sample(name)) }

// packetsOf are hashes of the packets of each stream.
func packetsOf(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := shared.exec(t.Context(), t.TempDir(), shared.programs[ffmpeg], []string{"-nostdin", "-loglevel", "error", "-i", path, "-map", "0:v", "-map", "0:a?", "-c", "copy", "-f", "streamhash", "-hash", "md5", "-"}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// Whatever the octets are: an answer, within the file, and none that misses a place in a
// box of the top level.
func FuzzHidesBoxes(f *testing.F) {
	for _, name := range []string{"testdata/clip.mp4", "testdata/clip.3gp", "testdata/tone.m4a"} {
		f.Add(load(f, strings.TrimPrefix(name, "testdata/")))
	}
	f.Add(madeBox("moov", madeBox("trak", madeBox("mdia", madeBox("minf", madeBox("stbl", madeBox("stsd", []byte("uuid"))))))))
	f.Add([]byte("\x00\x00\x00\x01mdat\x3f\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		if _, err := hidesBoxes(bytes.NewReader(b), int64(len(b))); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if hidden, err := hidesBoxes(bytes.NewReader(slices.Concat(b, madeBox("uuid", []byte(secretPlace)))), int64(len(b)+8+len(secretPlace))); err != nil || !hidden && !reaches(b) {
			t.Errorf("a place behind %d octets is missed: %v", len(b), err)
		}
	})
}

// reaches reports whether the last box of the top level takes in what is put behind it.
func reaches(b []byte) bool {
	for at := 0; at < len(b); {
		_, _, length, ok := box(b[at:min(at+16, len(b))], 1<<61)
		if !ok || int64(at)+length > int64(len(b)) || binary.BigEndian.Uint32(b[at:]) == 0 {
			return true
		}
		at += int(length)
	}
	return false
}
