package smtpout

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     reply
	}{
		{"one line", "250 2.1.5 fine\r\n", reply{250, "2.1.5", []string{"fine"}}},
		{"code alone", "250\r\n", reply{250, "", []string{""}}},
		{"enhanced alone", "550 5.1.1\r\n", reply{550, "5.1.1", []string{""}}},
		{"lines", "550-5.7.1 no\r\n550-5.7.1 not you\r\n550 5.7.1 ever\r\n", reply{550, "5.7.1", []string{"no", "not you", "ever"}}},
		{"enhanced in the first alone", "550-5.7.1 no\r\n550 ever\r\n", reply{550, "5.7.1", []string{"no", "ever"}}},
		{"enhanced in the last alone", "550-no\r\n550 5.7.1 ever\r\n", reply{550, "5.7.1", []string{"no", "ever"}}},
		{"of another class", "550 4.7.1 no\r\n", reply{550, "", []string{"4.7.1 no"}}},
		{"a version", "220 5.1.1000 ready\r\n", reply{220, "", []string{"5.1.1000 ready"}}},
		{"bare LF", "250-a\n250 b\n", reply{250, "", []string{"a", "b"}}},
		{"empty text", "250-\r\n250 \r\n", reply{250, "", []string{"", ""}}},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
			got, err := readReply(bufio.NewReader(r))
			if err != nil || !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
			}
		}
	}
}

func TestReadReplyRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxReplyLine)
	for name, in := range map[string]string{
		"no code":          "hello\r\n",
		"empty":            "\r\n",
		"one digit less":   "25 fine\r\n",
		"a code of 1":      "150 fine\r\n",
		"a code of 6":      "650 fine\r\n",
		"glued":            "2500 fine\r\n",
		"two codes":        "250-a\r\n251 b\r\n",
		"a line too long":  "250 " + long + "\r\n",
		"too many lines":   strings.Repeat("250-x\r\n", maxReplyLines) + "250 x\r\n",
		"HTTP":             "HTTP/1.1 400 Bad Request\r\n",
		"code, no blank":   "250fine\r\n",
		"letters in it":    "2x0 fine\r\n",
		"a minus in front": "-250 fine\r\n",
	} {
		if a, err := readReply(bufio.NewReader(strings.NewReader(in))); !errors.Is(err, errGarbled) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for _, in := range []string{"", "250", "250 fine", "250-fine\r\n"} {
		if a, err := readReply(bufio.NewReader(strings.NewReader(in))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %+v, %v", in, a, err)
		}
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		" a\r\nb\x00c\x1b[31m\u0085\u2028d ": "a  b c [31m  d",
		"bad\xff":                            "bad?",
		strings.Repeat("é", 200):             strings.Repeat("é", 150),
		"x" + strings.Repeat("é", 200):       "x" + strings.Repeat("é", 149),
	} {
		if got := oneLine(in); got != want || len(got) > maxText {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
