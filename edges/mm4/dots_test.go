package mm4

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// undot is dotReader, as RFC 5321 §4.5.2 would have it if it were slow: the end is the
// first CR LF . CR LF, where the mail begins behind a CR LF, and each dot behind a CR LF
// is taken away.
func undot(stream string) (mail, rest string, whole bool) {
	framed := "\r\n" + stream
	mail, rest, whole = strings.Cut(framed, "\r\n.\r\n")
	if whole {
		mail += "\r\n"
	}
	return strings.ReplaceAll(mail, "\r\n.", "\r\n")[2:], rest, whole
}

func readDots(stream io.Reader, size int) (mail string, rest string, err error) {
	in := bufio.NewReader(stream)
	d := &dotReader{in: in, wait: func() error { return nil }}
	var out bytes.Buffer
	buf := make([]byte, size)
	for err == nil {
		var n int
		n, err = d.Read(buf)
		out.Write(buf[:n])
	}
	if err == io.EOF {
		err = nil
		b, _ := io.ReadAll(in)
		rest = string(b)
	}
	return out.String(), rest, err
}

func TestDots(t *testing.T) {
	for _, tt := range []struct{ stream, mail, rest string }{
		{".\r\n", "", ""},
		{".\r\nQUIT\r\n", "", "QUIT\r\n"},
		{"a\r\n.\r\nb", "a\r\n", "b"},
		{"..\r\n...\r\n.a\r\n.\r\n", ".\r\n..\r\na\r\n", ""},
		{"a\r\r\n.\r\n", "a\r\r\n", ""}, // the library's reader goes on here
		{"\r\n.\r\n", "\r\n", ""},
		{".\r\r\n.\r\n", "\r\r\n", ""},
		{".\rx\r\n.\r\n", "\rx\r\n", ""},
		{"..\r\nx.\r\n.\r\n", ".\r\nx.\r\n", ""},
		// What only looks like the end.
		{"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", ""},
		{"a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", ""},
		{"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", ""},
		{"a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", ""},
		{"a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", ""},
		{"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", ""},
		{"a\r\n\x00.\r\nb\r\n.\r\n", "a\r\n\x00.\r\nb\r\n", ""},
	} {
		for _, size := range []int{1, 2, 3, 4096} {
			for name, r := range map[string]io.Reader{"at once": strings.NewReader(tt.stream), "by octets": iotest.OneByteReader(strings.NewReader(tt.stream))} {
				mail, rest, err := readDots(r, size)
				if mail != tt.mail || rest != tt.rest || err != nil {
					t.Errorf("%q %s, %d: %q, %q, %v, want %q, %q", tt.stream, name, size, mail, rest, err, tt.mail, tt.rest)
				}
			}
		}
	}
}

func TestDotsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{"\r", "\n", "\r\n", ".", "\r\n.", "a", "bc", "\x00"}), 0, 30).Draw(t, "pieces")
		stream := strings.Join(pieces, "")
		if rapid.Bool().Draw(t, "ends") {
			stream += "\r\n.\r\nrest"
		}
		mail, rest, err := readDots(strings.NewReader(stream), rapid.IntRange(1, 9).Draw(t, "size"))
		wantMail, wantRest, whole := undot(stream)
		switch {
		case whole && (mail != wantMail || rest != wantRest || err != nil):
			t.Fatalf("%q: %q, %q, %v, want %q, %q", stream, mail, rest, err, wantMail, wantRest)
		case !whole && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Fatalf("%q: %v, though it has no end", stream, err)
		}
	})
}
