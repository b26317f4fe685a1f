package mm4

import (
	"io"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/fuzztest"
)

// feed is a mail of any length that exists only as it is read.
type feed struct {
	head, line, tail string
	lines            int // of line, left
	at               string
	given            int
}

func (f *feed) Read(p []byte) (int, error) {
	for f.at == "" {
		switch {
		case f.head != "":
			f.at, f.head = f.head, ""
		case f.lines > 0:
			f.at = f.line
			f.lines--
		case f.tail != "":
			f.at, f.tail = f.tail, ""
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, f.at)
	f.at = f.at[n:]
	f.given += n
	return n, nil
}

// readAhead is how much of a mail may be in buffers: of the splitter, of a transfer
// encoding, and two of a charset.
const readAhead = 4 * readBuffer

// A part of 50 MB is never held: the reader takes no more of the mail than was asked
// of it, but for its buffers, and what it allocates is these buffers.
func TestPartsAreStreamed(t *testing.T) {
	const long, short = 50 << 20, 5 << 20
	for _, tt := range []struct {
		name, header, line string
		yields             int // octets of content that a line gives
		size               int // of the mail
	}{
		{"octets", "Content-Type: image/png\n", strings.Repeat("x", 76) + "\r\n", 78, long},
		{"base64", "Content-Type: image/png\nContent-Transfer-Encoding: base64\n", strings.Repeat("QUJD", 19) + "\r\n", 57, long},
		{"quoted-printable", "Content-Type: image/png\nContent-Transfer-Encoding: quoted-printable\n", strings.Repeat("=41", 25) + "=\r\n", 25, short},
		{"text", "Content-Type: text/plain; charset=utf-8\n", strings.Repeat("ü", 38) + "\r\n", 77, short},
		{"text in UTF-16", "Content-Type: text/plain; charset=utf-16\n", strings.Repeat("\x00x", 100), 100, short},
		{"one line", "Content-Type: image/png\n", strings.Repeat("x", 100), 100, long},
		{"quoted-printable blanks", "Content-Type: image/png\nContent-Transfer-Encoding: quoted-printable\n", strings.Repeat(" ", 4095) + "x", 4096, short},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head := crlf(top + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + tt.header + "\n")
			fuzztest.Within(t, 256<<10, func() {
				f := &feed{head: head, line: tt.line, lines: tt.size / len(tt.line), tail: "\r\n--b--\r\n"}
				m, err := NewReader(f, Limits{})
				if err != nil {
					t.Fatal(err)
				}
				p, err := m.Next()
				if err != nil {
					t.Fatal(err)
				}
				taken, buf := 0, make([]byte, 10000)
				for {
					n, err := p.Body.Read(buf)
					taken += n
					if due := len(head) + taken*len(tt.line)/tt.yields; f.given > due+readAhead {
						t.Fatalf("%d octets were read of the mail for %d of content", f.given, taken)
					}
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if want := tt.size / len(tt.line) * tt.yields; taken < want-1 || taken > want {
					t.Errorf("%d octets of content, want %d", taken, want)
				}
				if _, err := m.Next(); err != io.EOF {
					t.Error(err)
				}
			})
		})
	}
}

// What nobody wants to read is passed over as cheaply.
func TestPartsArePassedOver(t *testing.T) {
	fuzztest.Within(t, 128<<10, func() {
		f := &feed{head: crlf(top + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n"), line: "xyz\r\n", lines: 1 << 20, tail: "--b\r\n\r\nHello\r\n--b--\r\n"}
		m, err := NewReader(f, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if f.given > readBuffer {
			t.Errorf("%d octets were read for the header", f.given)
		}
		for range 2 {
			if _, err := m.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.Next(); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestPartsAreWrittenAsTheyAreRead(t *testing.T) {
	const size = 50 << 20
	fuzztest.Within(t, 128<<10, func() {
		f := &feed{line: strings.Repeat("x", 1000), lines: size / 1000}
		p := OutPart{ContentType: "video/mp4", Size: size / 1000 * 1000, Open: func() (io.ReadCloser, error) { return io.NopCloser(f), nil }}
		var n counter
		if err := Write(&n, forward(), []OutPart{p}); err != nil {
			t.Fatal(err)
		}
		if said, err := EncodedSize(forward(), []OutPart{p}); err != nil || said != int64(n) {
			t.Errorf("%d octets, %v, want %d", n, err, said)
		}
	})
}
