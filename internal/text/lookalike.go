package text

import "strings"

// lookAlikes is what smart encoding replaces: marks of typesetting for which
// GSM 7-bit has a mark that reads the same. Letters are never replaced, not
// even by their unaccented form: that would change words and names.
//
// Quotes, primes and accents standing alone become ' or "; hyphens, dashes and
// the minus sign become -; spaces of any width become a space, invisible ones
// vanish; bullets become * or -; the ellipsis and ligatures are spelled out.
var lookAlikes = map[rune]string{
	// Single quotation marks and what is typed for them.
	'\u2018': "'", '\u2019': "'", '\u201A': "'", '\u201B': "'", '\u2032': "'", '\u2035': "'", '\u02BC': "'",
	'\u0060': "'", '\u00B4': "'", '\u2039': "<", '\u203A': ">",
	// Double quotation marks.
	'\u201C': "\"", '\u201D': "\"", '\u201E': "\"", '\u201F': "\"", '\u2033': "\"", '\u2036': "\"",
	'\u00AB': "\"", '\u00BB': "\"",
	// Hyphens, dashes, minus.
	'\u2010': "-", '\u2011': "-", '\u2012': "-", '\u2013': "-", '\u2014': "-", '\u2015': "-", '\u2212': "-",
	'\uFE58': "-", '\uFE63': "-", '\uFF0D': "-",
	// Dots and slashes.
	'\u2026': "...", '\u2024': ".", '\u2025': "..", '\u2044': "/", '\u2215': "/",
	// Bullets.
	'\u2022': "*", '\u2023': "*", '\u25CF': "*", '\u25E6': "*", '\u2219': "*", '\u00B7': "*", '\u25AA': "*", '\u2043': "-",
	// Spaces that are seen as one space; the tabulator, too, which GSM lacks.
	'\t': " ", '\u00A0': " ", '\u2000': " ", '\u2001': " ", '\u2002': " ", '\u2003': " ", '\u2004': " ", '\u2005': " ",
	'\u2006': " ", '\u2007': " ", '\u2008': " ", '\u2009': " ", '\u200A': " ", '\u202F': " ", '\u205F': " ", '\u3000': " ",
	// Line and paragraph separators.
	'\u0085': "\n", '\u2028': "\n", '\u2029': "\n",
	// What nobody sees: soft hyphen, zero-width space, word joiner, byte order mark.
	'\u00AD': "", '\u200B': "", '\u2060': "", '\uFEFF': "",
	// Ligatures of typesetting.
	'\uFB00': "ff", '\uFB01': "fi", '\uFB02': "fl", '\uFB03': "ffi", '\uFB04': "ffl",
}

// replaceLookAlikes gives s with its look-alikes replaced and the septets that
// it then takes, or false if s has a character that no look-alike stands for:
// then UCS-2 is needed anyway and the text is better left as it was written.
func replaceLookAlikes(s string) (cured string, n int, ok bool) {
	for _, r := range s {
		if cellOf(r) == 0 {
			if _, known := lookAlikes[r]; !known {
				return "", 0, false
			}
		}
	}
	var out strings.Builder
	out.Grow(len(s))
	for _, r := range s {
		if cellOf(r) != 0 {
			out.WriteRune(r)
			continue
		}
		out.WriteString(lookAlikes[r])
	}
	cured = out.String()
	n, ok = septets(cured)
	return cured, n, ok
}
