package smtpout

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// send writes pieces as a content, and gives what a peer would read.
func send(c *content, pieces ...string) (string, error) {
	var b bytes.Buffer
	c.w = bufio.NewWriter(&b)
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			return b.String(), err
		}
	}
	err := c.finish()
	return b.String(), err
}

func TestContent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"", ".\r\n"},
		{"a", "a\r\n.\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n"},
		{".\r\n.\r\n", "..\r\n..\r\n.\r\n"},
		{"..a\r\nb.", "...a\r\nb.\r\n.\r\n"},
		{"\r\n", "\r\n.\r\n"},
		// Each of these ends a mail for some peer, and would begin another, were it sent
		// as it is.
		{"a\n.\nMAIL FROM:<x>\n", "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n"},
		{"a\r.\rMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
		{"a\r\n.\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
		{"a\n.\r\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
		{"a\r\n.\rMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
		{"a\r.\r\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
		{"a\r\r\nb", "a\r\n\r\nb\r\n.\r\n"},
		{"a\r", "a\r\n.\r\n"},
		{"a\n\r", "a\r\n\r\n.\r\n"},
	} {
		for cut := 0; cut <= len(tt.in); cut++ {
			if got, err := send(&content{}, tt.in[:cut], tt.in[cut:]); err != nil || got != tt.want {
				t.Errorf("%q, cut at %d: %q, %v, want %q", tt.in, cut, got, err, tt.want)
			}
		}
	}
}

func TestContentBounds(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		name string
		c    content
		in   []string
		want error
	}{
		{"the longest line", content{}, []string{line, "\r\n", line}, nil},
		{"the longest with a dot", content{}, []string{"." + line[1:]}, nil},
		{"one more", content{}, []string{line, "x"}, errLongLine},
		{"8 bit", content{eight: true}, []string{"\xff"}, nil},
		{"8 bit where none is", content{}, []string{"a\x80"}, err8Bit},
		{"the largest", content{most: 4}, []string{".", "x\n"}, nil},
		{"one more octet", content{most: 4}, []string{".xx\r\n"}, errTooLarge},
		{"one more by the last line end", content{most: 4}, []string{".xx"}, errTooLarge},
	} {
		got, err := send(&tt.c, tt.in...)
		if !errors.Is(err, tt.want) || tt.want != nil && strings.HasSuffix(got, "\r\n.\r\n") {
			t.Errorf("%s: %v, want %v; %d octets", tt.name, err, tt.want, len(got))
		}
		if n, err := tt.c.Write([]byte("more\r\n")); tt.want != nil && (n != 0 || !errors.Is(err, tt.want)) {
			t.Errorf("%s: it takes more after its error: %d, %v", tt.name, n, err)
		}
	}
}

var anyLineEnd = regexp.MustCompile(`\r\n|\r|\n`)

// meant is the content that a peer has to end up with: an account of its own of what
// content does.
func meant(body string) string {
	s := anyLineEnd.ReplaceAllLiteralString(body, "\r\n")
	if s != "" && !strings.HasSuffix(s, "\r\n") {
		s += "\r\n"
	}
	return s
}

// undot is what a peer makes of what it reads (RFC 5321 §4.5.2).
func undot(s string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(s, "\r\n") {
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	return b.String()
}

// Whatever is written, in whatever pieces, is what the peer reads once the dots are undone;
// and the wire holds no CR or LF on its own.
func TestContentArrives(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(nil, "8BITMIME"))
	s := p.sender()
	to := target(func(t *Target) { t.Limits.PerConnection = 1 << 20 })
	cuts := 0
	rapid.Check(t, func(r *rapid.T) {
		piece := rapid.StringOf(rapid.SampledFrom([]rune{'\r', '\n', '.', '.', 'a', ' ', '\t', 0, 'é', '-'}))
		pieces := rapid.SliceOf(piece).Draw(r, "pieces")
		body := strings.Join(pieces, "")
		m := mailOf("")
		m.Body8Bit = true
		m.Write = func(w io.Writer) error {
			for _, s := range pieces {
				if _, err := io.WriteString(w, s); err != nil {
					return err
				}
			}
			return nil
		}
		if _, err := s.Send(t.Context(), to, m); err != nil {
			if errors.Is(err, errLongLine) {
				cuts++
				r.Skip()
			}
			r.Fatal(err)
		}
		all := p.contents()
		got := all[len(all)-1]
		if undot(got) != meant(body) {
			r.Fatalf("the peer reads %q of %q", got, body)
		}
		if rest := strings.ReplaceAll(got, "\r\n", ""); strings.ContainsAny(rest, "\r\n") {
			r.Fatalf("a bare line end in %q", got)
		}
	})
	if calls, _ := p.counts(); calls != 1+cuts {
		t.Errorf("%d connections for mails one after the other, %d of them cut", calls, cuts)
	}
}
