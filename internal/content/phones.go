package content

import (
	"errors"
	"fmt"
	"strings"
)

// maxPhones is how many phone numbers of a text are looked at.
const maxPhones = 50

// phone is a phone number of a text.
type phone struct {
	number   string // E.164
	from, to int32  // characters
}

// findPhones lists the phone numbers of a text: with a plus sign and a country code,
// or as North America writes them, with spaces, dots, dashes and brackets. Numbers
// spelt with letters are not found.
func findPhones(v *view) []phone {
	var list []phone
	for i := 0; i < len(v.chars) && len(list) < maxPhones; {
		c := v.chars[i].r
		if c != '+' && c != '(' && !digit(c) {
			i++
			continue
		}
		if i > 0 && wordly(v.chars[i-1]) {
			i = skipDigits(v, i)
			continue
		}
		number, end := readPhone(v, i)
		if number != "" {
			list = append(list, phone{number, int32(i), int32(end)})
		}
		i = max(end, i+1)
	}
	return list
}

func digit(r rune) bool { return r >= '0' && r <= '9' }

func skipDigits(v *view, i int) int {
	for i++; i < len(v.chars) && digit(v.chars[i].r); i++ {
	}
	return i
}

// readPhone reads the number that begins at i, as E.164; empty: there is none. It
// returns where what it looked at ends.
func readPhone(v *view, i int) (string, int) {
	var digits, shape []byte // shape: how many digits stand together
	plus := v.chars[i].r == '+'
	end, separators := i, 0
	for j := i; j < len(v.chars) && len(digits) <= 15; j++ {
		c := v.chars[j].r
		switch {
		case digit(c):
			if n := len(shape); n > 0 && end == j {
				shape[n-1]++
			} else {
				shape = append(shape, 1)
			}
			digits = append(digits, byte(c))
			end, separators = j+1, 0
			continue
		case j == i: // + or (
			continue
		case c == ' ' || c == '.' || c == '-' || c == '(' || c == ')' || c == '/' || c == 0x2010 || c == 0x2011 || c == 0x2013:
			if separators++; separators <= 2 {
				continue
			}
		}
		break
	}
	if end < len(v.chars) && wordly(v.chars[end]) {
		return "", skipDigits(v, end)
	}
	n := string(digits)
	switch {
	case len(n) > 15:
	case plus && len(n) >= 8 && n[0] != '0':
		return "+" + n, end
	case !plus && strings.HasPrefix(n, "00") && len(n) >= 10:
		return "+" + n[2:], end
	case !plus && len(n) == 10 && nanp(n) && shapes[string(shape)]:
		return "+1" + n, end
	case !plus && len(n) == 11 && n[0] == '1' && nanp(n[1:]) && (len(shape) == 1 || shapes[string(shape[1:])]):
		return "+" + n, end
	}
	return "", max(end, i+1)
}

// shapes are how the ten digits of a number are written together: a date and a time
// have other ones.
var shapes = map[string]bool{"\x0a": true, "\x03\x03\x04": true, "\x03\x07": true, "\x06\x04": true}

// nanp reports whether ten digits may be a number of the North American Numbering
// Plan.
func nanp(n string) bool {
	return n[0] >= '2' && n[3] >= '2' && n[1:3] != "11" && n[1] != '9'
}

// phoneRules are the phone rules of a set.
type phoneRules struct {
	heads   map[string][]int32 // beginnings of numbers
	longest int
	any     []int32
	unsaid  []int32 // @undeclared
}

func (s *phoneRules) add(rule int32, pattern string) error {
	list := lines(pattern)
	if len(list) == 0 {
		return errors.New("there is no number")
	}
	for _, line := range list {
		switch strings.ToLower(line) {
		case "*":
			s.any = append(s.any, rule)
		case "@undeclared":
			s.unsaid = append(s.unsaid, rule)
		default:
			rest, plus := strings.CutPrefix(line, "+")
			if !plus || len(rest) < 1 || len(rest) > 15 || strings.Trim(rest, "0123456789") != "" {
				return fmt.Errorf("%q is no beginning of a number such as +1900, nor * or @undeclared", line)
			}
			if s.heads == nil {
				s.heads = map[string][]int32{}
			}
			s.heads[line] = append(s.heads[line], rule)
			s.longest = max(s.longest, len(line))
		}
	}
	return nil
}

func (s *phoneRules) empty() bool { return len(s.heads) == 0 && len(s.any) == 0 && len(s.unsaid) == 0 }

func (s *phoneRules) find(list []phone, undeclared bool, hit func(rule, from, to int32)) {
	for _, p := range list {
		all := func(rules []int32) {
			for _, r := range rules {
				hit(r, p.from, p.to)
			}
		}
		all(s.any)
		if undeclared {
			all(s.unsaid)
		}
		for n := 2; n <= min(s.longest, len(p.number)); n++ {
			all(s.heads[p.number[:n]])
		}
	}
}
