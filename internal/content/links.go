package content

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

//go:embed data/shorteners.txt
var shortenersText string

//go:embed data/tlds.txt
var tldsText string

// maxLinks is how many links of a text are looked at.
const maxLinks = 50

// link is a link of a text.
type link struct {
	host     string // in small letters, without port; labels of punycode decoded
	from, to int32  // characters
	sure     bool   // it is written as a link, or ends in a known top-level domain
	userinfo bool   // there is a name before the host
	address  bool   // the host is an IP address, in any notation that browsers take
}

// findLinks lists the links of a text: with a scheme, and hosts with a dot in them
// that are no mail address. What is not surely a link is a link to those who look
// for its very host.
func findLinks(v *view) []link {
	var list []link
	text, from := v.undisguised()
	add := func(l link, start, end int) {
		if l.host != "" && len(list) < maxLinks {
			l.from, l.to = from[start], from[end-1]+1
			list = append(list, l)
		}
	}
	for i := 0; i < len(text) && len(list) < maxLinks; {
		if start, ok := schemed(text, i); ok {
			end := start + authorityEnd(text[start:])
			l := readAuthority(text[start:end])
			l.sure = true
			add(l, i, max(end, start))
			i = max(end, start)
			continue
		}
		if !hostly(text[i]) {
			i++
			continue
		}
		end := i
		for end < len(text) && hostly(text[end]) {
			end++
		}
		// A word ends here. One that is a scheme's is looked at above.
		bare := strings.Trim(text[i:end], ".-_")
		if strings.Contains(bare, ".") {
			start := i + strings.Index(text[i:end], bare)
			stop := start + len(bare)
			path := stop < len(text) && text[stop] == '/'
			mail := i > 0 && text[i-1] == '@' && !path
			l := readAuthority(bare)
			l.userinfo = i > 0 && text[i-1] == '@'
			l.sure = path || strings.HasPrefix(bare, "www.") || knownTLD(l.host)
			if l.address && !path {
				l.sure = false // a version, or an amount
			}
			if !mail {
				add(l, start, stop)
			}
		}
		i = end
	}
	return list
}

// undisguised is undisguise without the change: links are compared as they are and as
// they look.
func (v *view) undisguised() (string, []int32) {
	text := make([]byte, 0, len(v.chars)+16)
	from := make([]int32, 0, len(v.chars)+16)
	for i, c := range v.chars {
		n := len(text)
		text = utf8.AppendRune(text, c.r)
		for range len(text) - n {
			from = append(from, int32(i))
		}
	}
	return string(text), from
}

// schemed reports where the authority begins, if a scheme stands at i. Browsers take
// backslashes and any number of slashes.
func schemed(text string, i int) (int, bool) {
	if text[i] != 'h' && text[i] != 'f' || i > 0 && hostly(text[i-1]) && text[i-1] < utf8.RuneSelf && text[i-1] != '.' && text[i-1] != '-' {
		return 0, false
	}
	for _, scheme := range []string{"https:", "http:", "ftp:"} {
		rest, ok := strings.CutPrefix(text[i:], scheme)
		if !ok || rest == "" || rest[0] != '/' && rest[0] != '\\' {
			continue
		}
		return len(text) - len(strings.TrimLeft(rest, `/\`)), true
	}
	return 0, false
}

// authorityEnd is where the authority at the beginning of s ends (RFC 3986 §3.2).
func authorityEnd(s string) int {
	if n := strings.IndexAny(s, "/\\?# \t\r\n<>\"'`"); n >= 0 {
		return n
	}
	return len(s)
}

// hostly reports whether an octet may stand in a bare host.
func hostly(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c >= utf8.RuneSelf
}

// readAuthority reads what stands between the slashes and the path.
func readAuthority(s string) link {
	var l link
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		s, l.userinfo = s[at+1:], true
	}
	if in, ok := strings.CutPrefix(s, "["); ok { // IPv6
		host, _, closed := strings.Cut(in, "]")
		if _, err := netip.ParseAddr(host); closed && err == nil {
			l.host, l.address = host, true
		}
		return l
	}
	host, _, _ := strings.Cut(s, ":")
	host = unescape(host)
	if end := strings.IndexFunc(host, func(r rune) bool { return r < utf8.RuneSelf && !hostly(byte(r)) }); end >= 0 {
		host = host[:end]
	}
	labels := strings.Split(strings.Trim(host, "."), ".")
	for i, label := range labels {
		if coded, ok := strings.CutPrefix(label, "xn--"); ok {
			if clear, err := decodePunycode(coded); err == nil {
				labels[i] = clear
			}
		}
	}
	l.host, l.address = strings.Join(labels, "."), isAddress(labels)
	return l
}

// unescape undoes percent signs in a host.
func unescape(host string) string {
	if !strings.Contains(host, "%") {
		return host
	}
	var b strings.Builder
	for i := 0; i < len(host); i++ {
		if host[i] == '%' && i+2 < len(host) {
			if n, err := strconv.ParseUint(host[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(host[i])
	}
	return strings.ToLower(b.String())
}

// isAddress reports whether the labels are an IPv4 address: one to four numbers,
// decimal, octal or hexadecimal, the last of which may stand for several octets.
func isAddress(labels []string) bool {
	if len(labels) > 4 {
		return false
	}
	for _, label := range labels {
		digits, base := label, 10
		if rest, ok := strings.CutPrefix(label, "0x"); ok {
			digits, base = rest, 16
		}
		if _, err := strconv.ParseUint(digits, base, 32); err != nil {
			return false
		}
	}
	return true
}

// knownTLD reports whether a host ends in a top-level domain: of a country, of
// another script, or a generic one of data/tlds.txt.
func knownTLD(host string) bool {
	dot := strings.LastIndexByte(host, '.')
	if dot <= 0 {
		return false
	}
	tld := host[dot+1:]
	if strings.IndexFunc(tld, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return true
	}
	if len(tld) == 2 {
		return tld[0] >= 'a' && tld[1] >= 'a'
	}
	return tlds()[tld]
}

var tlds = sync.OnceValue(func() map[string]bool {
	m := map[string]bool{}
	for _, line := range dataLines(tldsText) {
		for tld := range strings.FieldsSeq(line) {
			m[tld] = true
		}
	}
	return m
})

// dataLines are the lines that say something.
func dataLines(text string) []string {
	return slices.DeleteFunc(lines(text), func(line string) bool { return line[0] == '#' })
}

// readShorteners reads the list of shorteners: since and domain a line.
func readShorteners(text string, now time.Time) ([]string, error) {
	var list []string
	for _, line := range dataLines(text) {
		f := strings.Fields(line)
		if len(f) != 2 {
			return list, fmt.Errorf("%q: want a date and a domain", line)
		}
		since, err := time.Parse(time.DateOnly, f[0])
		if err != nil {
			return list, err
		}
		if !since.After(now) {
			list = append(list, f[1])
		}
	}
	return list, nil
}

// linkRules are the link rules of a set.
type linkRules struct {
	domains  map[string][]int32
	any      []int32
	address  []int32
	userinfo []int32
	unsaid   []int32 // @undeclared
}

func (s *linkRules) add(rule int32, pattern string, now time.Time) error {
	list := lines(pattern)
	if len(list) == 0 {
		return errors.New("there is no domain")
	}
	for _, line := range list {
		switch strings.ToLower(line) {
		case "*":
			s.any = append(s.any, rule)
		case "@ip":
			s.address = append(s.address, rule)
		case "@userinfo":
			s.userinfo = append(s.userinfo, rule)
		case "@undeclared":
			s.unsaid = append(s.unsaid, rule)
		case "@shorteners":
			domains, err := readShorteners(shortenersText, now)
			if err != nil {
				return err
			}
			for _, d := range domains {
				s.domain(rule, d)
			}
		default:
			text, _ := newView(strings.TrimPrefix(line, "*.")).undisguised()
			l := readAuthority(text)
			if !strings.Contains(l.host, ".") || l.host != strings.Trim(unpuny(text), ".") || l.userinfo {
				return fmt.Errorf("%q is no domain such as example.com, nor *, @shorteners, @ip, @userinfo or @undeclared", line)
			}
			s.domain(rule, l.host)
		}
	}
	return nil
}

// unpuny is the domain with its labels of punycode decoded.
func unpuny(domain string) string {
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		if coded, ok := strings.CutPrefix(label, "xn--"); ok {
			if clear, err := decodePunycode(coded); err == nil {
				labels[i] = clear
			}
		}
	}
	return strings.Join(labels, ".")
}

func (s *linkRules) domain(rule int32, domain string) {
	if s.domains == nil {
		s.domains = map[string][]int32{}
	}
	if !slices.Contains(s.domains[domain], rule) {
		s.domains[domain] = append(s.domains[domain], rule)
	}
}

func (s *linkRules) empty() bool {
	return len(s.domains) == 0 && len(s.any) == 0 && len(s.address) == 0 && len(s.userinfo) == 0 && len(s.unsaid) == 0
}

// find calls hit with each rule that a link breaks. A host that only looks like the
// domain of a rule counts as well, but not for rules that allow.
func (s *linkRules) find(list []link, undeclared bool, allows func(int32) bool, hit func(rule, from, to int32)) {
	for _, l := range list {
		all := func(rules []int32) {
			for _, r := range rules {
				hit(r, l.from, l.to)
			}
		}
		if l.sure {
			all(s.any)
			if undeclared {
				all(s.unsaid)
			}
			if l.address {
				all(s.address)
			}
			if l.userinfo {
				all(s.userinfo)
			}
		}
		s.above(l.host, func(r int32) { hit(r, l.from, l.to) })
		if look := looksLike(l.host); look != l.host {
			s.above(look, func(r int32) {
				if !allows(r) {
					hit(r, l.from, l.to)
				}
			})
		}
	}
}

// above calls hit with the rules of the host's domain and of those that it lies in.
func (s *linkRules) above(host string, hit func(int32)) {
	for host != "" {
		for _, r := range s.domains[host] {
			hit(r)
		}
		_, rest, found := strings.Cut(host, ".")
		if !found {
			return
		}
		host = rest
	}
}

// looksLike is a host in the Latin letters that it looks like.
func looksLike(host string) string {
	if strings.IndexFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return host
	}
	b := make([]byte, 0, len(host))
	for _, c := range clean(host) {
		if c.look != 0 {
			b = append(b, c.look)
		} else {
			b = utf8.AppendRune(b, c.r)
		}
	}
	return string(b)
}

// decodePunycode decodes a label (RFC 3492 §6.2), without its xn-- in front.
func decodePunycode(s string) (string, error) {
	const base, tmin, tmax, skew, damp = 36, 1, 26, 38, 700
	var out []rune
	if d := strings.LastIndexByte(s, '-'); d > 0 {
		out, s = []rune(s[:d]), s[d+1:]
	}
	if len(s) > 63 || len(out) > 63 { // RFC 1034 §3.1
		return "", errors.New("the label is too long")
	}
	n, i, bias := 128, 0, 72
	for first := true; s != ""; first = false {
		before, w := i, 1
		for k := base; ; k += base {
			if s == "" {
				return "", errors.New("the label ends within a number")
			}
			digit := strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789", s[0])
			s = s[1:]
			if digit < 0 || i+digit*w > 1<<40 {
				return "", errors.New("the label is no punycode")
			}
			i += digit * w
			t := min(max(k-bias, tmin), tmax)
			if digit < t {
				break
			}
			if w *= base - t; w > 1<<32 {
				return "", errors.New("the label is no punycode")
			}
		}
		bias = adapt(i-before, len(out)+1, first, base, tmin, tmax, skew, damp)
		n += i / (len(out) + 1)
		i %= len(out) + 1
		if n > utf8.MaxRune {
			return "", errors.New("the label is no punycode")
		}
		out = slices.Insert(out, i, rune(n))
		i++
	}
	return string(out), nil
}

// adapt is the bias of the next number (RFC 3492 §6.1).
func adapt(delta, points int, first bool, base, tmin, tmax, skew, damp int) int {
	if first {
		delta /= damp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for delta > (base-tmin)*tmax/2 {
		delta /= base - tmin
		k += base
	}
	return k + (base-tmin+1)*delta/(delta+skew)
}
