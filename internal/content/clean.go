package content

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// What hides a word from a reader of octets and not from a person is taken away
// before anything is looked for:
//
//   - case;
//   - accents and other marks upon letters;
//   - forms of letters for compatibility: full width, circled, mathematical;
//   - characters without width or shape, soft hyphens, marks of direction;
//   - letters of Cyrillic and Greek that look like Latin ones, in a word that has
//     Latin letters as well, or in a text whose letters are at least half Latin. A word of a
//     Russian text stays what it is;
//   - for words alone, also digits and signs for letters (v1agra, $ex), in a word of
//     at least three characters with no more digits than letters, so that A55 and
//     order numbers stay what they are;
//   - for words alone, spaces and dots between at least three single letters.
//
// Not undone: letters that were doubled or left out, signs between some letters of a
// word, words written backwards. A regular expression can look for those.

// char is a character of a cleaned text.
type char struct {
	r    rune  // as it was cleaned
	look byte  // the Latin letter that it looks like; 0: it is one itself, or like none
	at   int32 // where it begins in the text
	end  int32 // where it ends
}

// lookalikes maps letters before they are made small: a capital Η looks like an H,
// its small form like an n.
var lookalikes = func() map[rune]byte {
	m := map[rune]byte{}
	for latin, others := range map[byte]string{
		'a': "АаΑαɑᴀ", 'b': "ВвΒβʙᏴ", 'c': "СсϹϲᴄ", 'd': "ԁᴅđ", 'e': "ЕеΕεᴇ", 'f': "ꜰϝ", 'g': "ԍɡɢ", 'h': "НнΗһʜ", 'i': "ІіΙιıɪӀ",
		'j': "ЈјϳᴊЈ", 'k': "КкΚκᴋ", 'l': "łʟ", 'm': "МмΜᴍ", 'n': "ΝηпПɴ", 'o': "ОоΟοσøᴏ", 'p': "РрΡρᴘ", 'q': "ԛ", 'r': "ʀᴦ", 's': "Ѕѕꜱ", 't': "ТтΤτᴛ",
		'u': "υμᴜ", 'v': "νѵᴠ", 'w': "ԝωѡᴡ", 'x': "ХхΧχ", 'y': "УуΥүʏ", 'z': "Ζᴢ",
	} {
		for _, r := range others {
			m[r] = latin
		}
	}
	return m
}()

// leet maps digits and signs that stand for letters.
var leet = [128]byte{'0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '8': 'b', '9': 'g', '$': 's', '@': 'a', '!': 'i', '|': 'i'}

// clean takes away what hides words, and keeps where each character was.
func clean(text string) []char {
	if len(text) > maxText {
		text = text[:maxText]
	}
	chars := make([]char, 0, len(text))
	var buf []byte
	for i, r := range text {
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			chars = append(chars, char{r: r, at: int32(i), end: int32(i + 1)})
			continue
		}
		end := i + utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size := utf8.DecodeRuneInString(text[i:])
			end = i + size
		}
		buf = norm.NFKD.AppendString(buf[:0], text[i:end])
		for len(buf) > 0 {
			d, size := utf8.DecodeRune(buf)
			buf = buf[size:]
			if hidden(d) {
				continue
			}
			chars = append(chars, char{r: canonical(d), look: lookalikes[d], at: int32(i), end: int32(end)})
		}
	}
	return chars
}

// hidden reports whether a character has no width of its own. The voicing marks of
// Japanese make other letters and stay.
func hidden(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return false
	case r == 0x3099, r == 0x309A:
		return false
	case r == 0x115F, r == 0x1160, r == 0x3164: // fillers of Hangul
		return true
	}
	return unicode.Is(unicode.Cf, r) || unicode.In(r, unicode.Mn, unicode.Me) && unicode.Is(unicode.Inherited, r)
}

// canonical is the one small form of a character's cases.
func canonical(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	switch {
	case r == 0x3002: // the ideographic full stop separates labels of a host (RFC 3490 §3.1)
		return '.'
	case r >= 0x1F150 && r <= 0x1F189 && (r-0x1F150)%32 < 26: // white letters in circles and squares
		return 'a' + (r-0x1F150)%32
	}
	low := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		low = min(low, f)
	}
	return unicode.ToLower(low)
}

// view is a cleaned text as the parts of a set want it.
type view struct {
	chars []char
	mixed bool // some character looks like a Latin letter without being one
	latin bool // at least half of the letters are Latin
}

func newView(text string) *view {
	v := &view{chars: clean(text)}
	latin, letters := 0, 0
	for _, c := range v.chars {
		switch {
		case c.r >= 'a' && c.r <= 'z':
			latin++
			letters++
		case c.r >= utf8.RuneSelf && unicode.IsLetter(c.r):
			letters++
		}
		v.mixed = v.mixed || c.look != 0
	}
	v.latin = latin > 0 && latin*2 >= letters
	return v
}

// undisguise puts Latin letters in the place of what looks like them, and returns the
// text with where each of its octets came from.
func (v *view) undisguise() (string, []int32) {
	text := make([]byte, 0, len(v.chars)+16)
	from := make([]int32, 0, len(v.chars)+16)
	for i := 0; i < len(v.chars); {
		end, disguised := i+1, false
		if v.mixed && wordly(v.chars[i]) {
			end = v.wordEnd(i)
			disguised = v.disguised(v.chars[i:end])
		}
		for ; i < end; i++ {
			c := v.chars[i]
			if disguised && c.look != 0 {
				c.r = rune(c.look)
			}
			n := len(text)
			text = utf8.AppendRune(text, c.r)
			for range len(text) - n {
				from = append(from, int32(i))
			}
		}
	}
	return string(text), from
}

// wordly reports whether a character is part of a word.
func wordly(c char) bool {
	if c.r < utf8.RuneSelf {
		return c.r >= 'a' && c.r <= 'z' || c.r >= '0' && c.r <= '9'
	}
	return c.look != 0 || unicode.IsLetter(c.r) || unicode.IsDigit(c.r) || unicode.Is(unicode.M, c.r)
}

// alone reports whether a character is a word of its own: scripts without spaces.
func alone(r rune) bool {
	return r > 0xE00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// wordEnd is where the word that begins at i ends.
func (v *view) wordEnd(i int) int {
	if alone(v.chars[i].r) {
		return i + 1
	}
	for i++; i < len(v.chars) && wordly(v.chars[i]) && !alone(v.chars[i].r); i++ {
	}
	return i
}

// disguised reports whether a word's look-alikes stand for Latin letters.
func (v *view) disguised(word []char) bool {
	looks, other, latin := 0, 0, 0
	for _, c := range word {
		switch {
		case c.look != 0:
			looks++
		case c.r >= 'a' && c.r <= 'z':
			latin++
		case c.r >= utf8.RuneSelf:
			other++
		}
	}
	return looks > 0 && other == 0 && (latin > 0 || v.latin)
}
