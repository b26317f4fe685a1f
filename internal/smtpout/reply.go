package smtpout

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Bounds of what a peer may answer. RFC 5321 §4.5.3.1.5 gives a line of a reply 512
// octets, which some pass; an EHLO has some twenty lines.
const (
	maxReplyLine  = 2048
	maxReplyLines = 128
	maxText       = 300 // octets of Outcome.Text
)

// errGarbled is an answer that is none of SMTP, or one that comes unasked.
var errGarbled = errors.New("the peer does not speak SMTP as it should")

// reply is a peer's answer to one command.
type reply struct {
	code     int
	enhanced string   // such as 5.1.1; empty: none
	lines    []string // without code, and without the enhanced code where the reply has one
}

// class is the first digit: 2 yes, 3 go on, 4 not now, 5 no (RFC 5321 §4.2.1).
func (r *reply) class() int { return r.code / 100 }

// text is the reply in one line.
func (r *reply) text() string { return oneLine(strings.Join(r.lines, " ")) }

// oneLine takes out what could end a line or colour a terminal, and cuts at maxText.
func oneLine(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7F && c < 0xA0 || c == '\u2028' || c == '\u2029' {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// readReply reads an answer of one line or several (RFC 5321 §4.2.1). An error is the
// connection's, or errGarbled.
func readReply(r *bufio.Reader) (*reply, error) {
	a := &reply{}
	for n := 0; ; n++ {
		if n == maxReplyLines {
			return nil, fmt.Errorf("%w: an answer of more than %d lines", errGarbled, maxReplyLines)
		}
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		code, more, text, ok := splitReply(line)
		if !ok || n > 0 && code != a.code {
			return nil, fmt.Errorf("%w: a line of an answer has no code, or another than the first", errGarbled)
		}
		a.code = code
		a.lines = append(a.lines, text)
		if !more {
			a.cutEnhanced()
			return a, nil
		}
	}
}

// readLine reads to the line end, which is left out. A bare LF is taken for one: in an
// answer nothing can be smuggled by it.
func readLine(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := r.ReadSlice('\n')
		if b.Len()+len(part) > maxReplyLine {
			return "", fmt.Errorf("%w: a line of an answer is longer than %d octets", errGarbled, maxReplyLine)
		}
		b.Write(part)
		switch {
		case err == nil:
			return strings.TrimRight(b.String(), "\r\n"), nil
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF // whether the peer said half a line or nothing
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

// splitReply takes a line apart: 250-text goes on, 250 text or 250 is the last.
func splitReply(line string) (code int, more bool, text string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return 0, false, "", false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, "", true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	return code, line[3] == '-', line[4:], true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// cutEnhanced takes the enhanced code out of the lines. It stands before the text of each
// (RFC 2034 §4), of the first alone or, with some servers, of the last; its class is the
// code's. Anything else is text.
func (r *reply) cutEnhanced() {
	for i, l := range r.lines {
		word, rest, _ := strings.Cut(l, " ")
		if r.enhanced == "" && isEnhanced(word, r.class()) {
			r.enhanced = word
		}
		if r.enhanced != "" && word == r.enhanced {
			r.lines[i] = rest
		}
	}
}

// isEnhanced reports whether s is class.subject.detail, with the class and one to three
// digits each (RFC 3463 §2).
func isEnhanced(s string, class int) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != string(rune('0'+class)) {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
