package content

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// maxPhrase is how many words a phrase may have.
const maxPhrase = 10

// words finds any number of words and phrases in one pass: a tree of words, entered
// at each word of the text.
type words struct {
	plain   node // words as they are written
	skeleta node // words reduced to what digits, signs and look-alikes can stand for
}

// node is what may follow a word.
type node struct {
	next  map[string]*node
	ends  map[string][]int32 // rules whose phrase ends with the word
	heads map[string][]int32 // the same, with any further letters
	sizes []int              // of the heads, in octets
}

// add puts the words of a rule in.
func (w *words) add(rule int32, pattern string) error {
	list := lines(pattern)
	if len(list) == 0 {
		return errors.New("there is no word")
	}
	for i, line := range list {
		phrase, starred := cutStar(line)
		v := newView(phrase)
		var plain, skeleta []string
		letters := 0
		for _, t := range v.plainWords() {
			var b []byte
			plain = append(plain, string(v.word(b, t)))
			if s, n, ok := v.skeleton(nil, t.from, t.to); ok {
				skeleta = append(skeleta, string(s))
				letters += n
			}
		}
		switch {
		case len(plain) == 0:
			return fmt.Errorf("line %d has no letter", i+1)
		case len(plain) > maxPhrase:
			return fmt.Errorf("line %d has more than %d words", i+1, maxPhrase)
		}
		w.plain.add(rule, plain, starred)
		if len(skeleta) == len(plain) && letters >= minSkeleton {
			w.skeleta.add(rule, skeleta, starred)
		}
	}
	return nil
}

func cutStar(line string) (string, bool) {
	if n := len(line) - 1; line[n] == '*' {
		return line[:n], true
	}
	return line, false
}

func (n *node) add(rule int32, phrase []string, starred bool) {
	for _, word := range phrase[:len(phrase)-1] {
		if n.next == nil {
			n.next = map[string]*node{}
		}
		if n.next[word] == nil {
			n.next[word] = &node{}
		}
		n = n.next[word]
	}
	last := phrase[len(phrase)-1]
	to := &n.ends
	if starred {
		to = &n.heads
		if i, found := slices.BinarySearch(n.sizes, len(last)); !found {
			n.sizes = slices.Insert(n.sizes, i, len(last))
		}
	}
	if *to == nil {
		*to = map[string][]int32{}
	}
	if !slices.Contains((*to)[last], rule) {
		(*to)[last] = append((*to)[last], rule)
	}
}

// token is a word of the text: characters from to to.
type token struct {
	from, to int32
	// disguised: it counts as a word only because of what its signs stand for.
	disguised bool
}

// plainWords are the runs of letters and digits.
func (v *view) plainWords() []token {
	list := make([]token, 0, len(v.chars)/5+1)
	for i := 0; i < len(v.chars); {
		if !wordly(v.chars[i]) {
			i++
			continue
		}
		end := v.wordEnd(i)
		list = append(list, token{from: int32(i), to: int32(end)})
		i = end
	}
	return list
}

// word appends a token as it is written.
func (v *view) word(b []byte, t token) []byte {
	for _, c := range v.chars[t.from:t.to] {
		b = utf8.AppendRune(b, c.r)
	}
	return b
}

// minSkeleton is the fewest characters of a word that digits and signs may hide.
const minSkeleton = 3

// skeleton appends what characters stand for: letters a to z, of which l is i, since
// a 1 may be either. It counts them; false: some character stands for no letter.
func (v *view) skeleton(b []byte, from, to int32) ([]byte, int, bool) {
	for _, c := range v.chars[from:to] {
		r := c.r
		switch {
		case c.look != 0:
			r = rune(c.look)
		case r < utf8.RuneSelf && leet[r] != 0:
			r = rune(leet[r])
		}
		if r == 'l' {
			r = 'i'
		}
		if r < 'a' || r > 'z' {
			return b, 0, false
		}
		b = append(b, byte(r))
	}
	return b, int(to - from), true
}

// signWords are the words with the signs that may stand for letters: within them, or
// before them ($ex). There are none when no word is disguised.
func (v *view) signWords() []token {
	var list []token
	any := false
	for i := 0; i < len(v.chars); {
		if !v.opens(i) {
			i++
			continue
		}
		end := i + 1
		for {
			for end < len(v.chars) && wordly(v.chars[end]) {
				end++
			}
			n := v.signsWithin(end)
			if n == 0 {
				break
			}
			end += n
		}
		t := token{from: int32(i), to: int32(end), disguised: v.signs(v.chars[i:end])}
		any = any || t.disguised
		list = append(list, t)
		i = end
	}
	if !any {
		return nil
	}
	return list
}

func sign(c char) bool { return c.r == '$' || c.r == '@' || c.r == '!' || c.r == '|' }

// opens reports whether a word with signs begins at i.
func (v *view) opens(i int) bool {
	c := v.chars[i]
	return wordly(c) || (c.r == '$' || c.r == '@') && i+1 < len(v.chars) && wordly(v.chars[i+1])
}

// signsWithin counts the signs at i, one or two, if the word goes on behind them.
func (v *view) signsWithin(i int) int {
	for n := 0; n <= 2 && i+n < len(v.chars); n++ {
		if wordly(v.chars[i+n]) {
			return n
		}
		if !sign(v.chars[i+n]) {
			break
		}
	}
	return 0
}

// signs reports whether a word has something in it that may stand for a letter.
func (v *view) signs(word []char) bool {
	if len(word) < minSkeleton {
		return false
	}
	letters, digits, looks := 0, 0, 0
	for _, c := range word {
		switch {
		case c.look != 0:
			letters++
			looks++
		case c.r >= '0' && c.r <= '9':
			digits++
		case sign(c):
			digits++
		default:
			letters++
		}
	}
	if looks > 0 && !v.disguised(word) {
		return false
	}
	return looks+digits > 0 && letters >= digits
}

// spelled are runs of at least three single letters with one sign or space between
// them: one word each.
func (v *view) spelled(plain []token) []token {
	var runs []token
	for i := 0; i < len(plain); {
		j := i
		for j < len(plain) && single(v, plain[j]) && (j == i || plain[j].from == plain[j-1].to+1) {
			j++
		}
		if j-i >= minSkeleton {
			runs = append(runs, token{from: int32(i), to: int32(j)})
		}
		i = max(j, i+1)
	}
	return runs
}

func single(v *view, t token) bool {
	return t.to == t.from+1 && !alone(v.chars[t.from].r) && (v.chars[t.from].r < '0' || v.chars[t.from].r > '9')
}

// find calls hit with each rule whose words are in the text, and the characters where.
func (w *words) find(v *view, hit func(rule, from, to int32)) {
	if w.plain.empty() {
		return
	}
	plain := v.plainWords()
	f := finder{v: v, hit: hit}
	f.token = func(b []byte, t token) ([]byte, bool) { return v.word(b, t), true }
	for i := range plain {
		f.follow(&w.plain, plain, i, true)
	}
	f.token = func(b []byte, t token) ([]byte, bool) {
		b, _, ok := v.skeleton(b, t.from, t.to)
		return b, ok
	}
	if signs := v.signWords(); signs != nil {
		for i := range signs {
			f.follow(&w.skeleta, signs, i, false)
		}
	}
	for _, run := range v.spelled(plain) {
		from, to := plain[run.from].from, plain[run.to-1].to
		f.token = func(b []byte, _ token) ([]byte, bool) {
			for _, t := range plain[run.from:run.to] {
				b = v.word(b, t)
			}
			return b, true
		}
		f.follow(&w.plain, []token{{from: from, to: to}}, 0, true)
	}
}

func (n *node) empty() bool { return len(n.next) == 0 && len(n.ends) == 0 && len(n.heads) == 0 }

// finder follows phrases through a tree.
type finder struct {
	v     *view
	token func([]byte, token) ([]byte, bool)
	hit   func(rule, from, to int32)
	buf   []byte
}

// follow goes from the i-th word of the text into the tree as far as it leads. What it
// finds counts if plain, or if some word on the way is disguised.
func (f *finder) follow(n *node, list []token, i int, plain bool) {
	first := list[i].from
	for ; i < len(list); i++ {
		t := list[i]
		b, ok := f.token(f.buf[:0], t)
		f.buf = b
		if !ok {
			return
		}
		plain = plain || t.disguised
		if plain {
			for _, rule := range n.ends[string(b)] {
				f.hit(rule, first, t.to)
			}
			for _, size := range n.sizes {
				if size > len(b) {
					break
				}
				for _, rule := range n.heads[string(b[:size])] {
					f.hit(rule, first, t.to)
				}
			}
		}
		if n = n.next[string(b)]; n == nil {
			return
		}
	}
}
