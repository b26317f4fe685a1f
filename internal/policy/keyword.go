package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Words are the words that an account has added to the sets of everybody.
type Words = snapshot.Keywords

// Keyword is what the text of an inbound message asks for. The zero Keyword:
// nothing, it is a message like others.
type Keyword struct {
	Action message.KeywordAction
	Word   string // as the sets list it, such as STOP ALL; empty without an action
	Begins bool   // the text begins with it and has a few words more; else it is the word alone
	// IfStopped: the word may as well be the answer to a question, so it does
	// something only when the sender had stopped the messages.
	IfStopped bool
	// ForHuman: the text may ask for an end of the messages, but not so clearly that a
	// program may act on it.
	ForHuman bool
}

const (
	// mostAfter is how many words may follow a clear stop word: "stop texting me"
	// asks, "stop at the shop on your way home" tells.
	mostAfter = 3
	// mostRead bounds the octets of a text that are read. No word is that long: what
	// comes after them only makes the text longer than any word.
	mostRead = 4096
)

// keyword is a word of the sets. Sources: the tables of the carriers' codes of
// conduct for short codes and of the large vendors, which all know the English
// ones; French as Canada asks for it; Spanish as handled by vendors that serve the
// US.
type keyword struct {
	word   string
	action message.KeywordAction
	since  string // the day from which it counts, in UTC; empty: it always did
	clear  bool   // means nothing else: it counts with a few words after it too
	answer bool   // may be the answer to a question
}

// keywords are the words of everybody.
var keywords = []keyword{
	{word: "STOP", action: message.KeywordStop, clear: true},
	{word: "STOPALL", action: message.KeywordStop, clear: true},
	{word: "STOP ALL", action: message.KeywordStop, clear: true},
	{word: "UNSUBSCRIBE", action: message.KeywordStop, clear: true},
	{word: "CANCEL", action: message.KeywordStop},
	{word: "END", action: message.KeywordStop},
	{word: "QUIT", action: message.KeywordStop},
	// Any reasonable means (47 CFR 64.1200(a)(10)), in force since that day.
	{word: "REVOKE", action: message.KeywordStop, since: "2025-04-11"},
	{word: "OPTOUT", action: message.KeywordStop, since: "2025-04-11", clear: true},
	{word: "OPT OUT", action: message.KeywordStop, since: "2025-04-11", clear: true},
	{word: "REMOVE", action: message.KeywordStop, since: "2025-04-11"},
	// French.
	{word: "ARRET", action: message.KeywordStop},
	{word: "TD", action: message.KeywordStop},
	// Spanish. Most of them mean other things too, beside other words.
	{word: "ALTO", action: message.KeywordStop},
	{word: "PARAR", action: message.KeywordStop},
	{word: "PARE", action: message.KeywordStop},
	{word: "DETENER", action: message.KeywordStop},
	{word: "CANCELAR", action: message.KeywordStop},
	{word: "BAJA", action: message.KeywordStop},
	{word: "DAR DE BAJA", action: message.KeywordStop},
	{word: "DARME DE BAJA", action: message.KeywordStop},
	{word: "DESUSCRIBIR", action: message.KeywordStop, clear: true},
	{word: "DESUSCRIBIRME", action: message.KeywordStop, clear: true},
	{word: "SALIR", action: message.KeywordStop},

	{word: "START", action: message.KeywordStart},
	{word: "UNSTOP", action: message.KeywordStart},
	{word: "YES", action: message.KeywordStart, answer: true},
	{word: "INICIAR", action: message.KeywordStart},
	{word: "INICIO", action: message.KeywordStart},
	{word: "EMPEZAR", action: message.KeywordStart},
	{word: "COMENZAR", action: message.KeywordStart},

	{word: "HELP", action: message.KeywordHelp},
	{word: "INFO", action: message.KeywordHelp},
	{word: "AIDE", action: message.KeywordHelp},
	{word: "AYUDA", action: message.KeywordHelp},
	{word: "AUXILIO", action: message.KeywordHelp},
}

// keywordSets are the keywords in the form in which texts are compared with them.
var keywordSets = func() []keywordSet {
	var all []keywordSet
	for _, k := range keywords {
		from, err := time.Parse(time.DateOnly, cmp.Or(k.since, "0001-01-01"))
		if err != nil {
			panic(err) // of this file
		}
		all = append(all, keywordSet{keyword: k, words: keywordWords(k.word), from: from})
	}
	return all
}()

type keywordSet struct {
	keyword
	words []string
	from  time.Time
}

// MatchKeyword reads what the text of an inbound message asks for at a time:
// compliance.md §5. It is asked about whole texts: parts are joined first.
//
// Case, accents, width, punctuation, quotes, emoji and what cannot be seen make no
// difference. A text that is a word of the sets does what the word does; one that
// begins with a clear stop word does too when at most three words follow. Words that
// stop win over those that start, and those over help, so no word that an account
// adds takes a stop word away. The account's own words count alone only.
func MatchKeyword(text string, own Words, at time.Time) Keyword {
	clipped := len(text) > mostRead
	if clipped {
		text = text[:mostRead] // a rune cut in two is no letter
	}
	words := keywordWords(text)
	if len(words) == 0 {
		return Keyword{}
	}
	forms := [][]string{words, slices.Compact(slices.Clone(words))} // STOP STOP is STOP
	if spelled, ok := spelledOut(words); ok {
		forms = append(forms, spelled)
	}
	if !clipped {
		for _, form := range forms {
			if k, ok := alone(form, own, at); ok {
				return k
			}
		}
	}
	return beside(words, clipped, at)
}

// alone finds the word that the whole text is.
func alone(words []string, own Words, at time.Time) (Keyword, bool) {
	for _, of := range []struct {
		action message.KeywordAction
		own    []string
	}{{message.KeywordStop, own.Stop}, {message.KeywordStart, own.Start}, {message.KeywordHelp, own.Help}} {
		for _, k := range keywordSets {
			if k.action == of.action && !at.Before(k.from) && slices.Equal(words, k.words) {
				return Keyword{Action: k.action, Word: k.word, IfStopped: k.answer}, true
			}
		}
		for _, w := range of.own {
			if slices.Equal(words, keywordWords(w)) {
				return Keyword{Action: of.action, Word: strings.ToUpper(strings.Join(words, " "))}, true
			}
		}
	}
	return Keyword{}, false
}

// beside looks for a stop word that has other words beside it.
func beside(words []string, clipped bool, at time.Time) Keyword {
	var found Keyword
	most := 0 // words of the longest stop word that the text begins with
	for _, k := range keywordSets {
		if k.action != message.KeywordStop || at.Before(k.from) || len(k.words) > len(words) {
			continue
		}
		begins := slices.Equal(words[:len(k.words)], k.words)
		switch {
		case begins && k.clear && !clipped && len(words)-len(k.words) <= mostAfter:
			if len(k.words) > most {
				most = len(k.words)
				found = Keyword{Action: message.KeywordStop, Word: k.word, Begins: true}
			}
		case begins, k.clear && hasWords(words, k.words):
			found.ForHuman = found.Action == message.KeywordNone
		}
	}
	if found.Action != message.KeywordNone {
		found.ForHuman = false
	}
	return found
}

func hasWords(words, part []string) bool {
	for i := 0; i+len(part) <= len(words); i++ {
		if slices.Equal(words[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// spelledOut joins a text of single letters, such as S T O P or S.T.O.P.
func spelledOut(words []string) ([]string, bool) {
	if len(words) < 2 {
		return nil, false
	}
	for _, w := range words {
		if utf8.RuneCountInString(w) != 1 {
			return nil, false
		}
	}
	return []string{strings.Join(words, "")}, true
}

// keywordWords cuts a text into words of letters and digits, in small letters without
// accents and in their plain width. An apostrophe within a word and what cannot be
// seen stand in no word's way; everything else parts two words.
func keywordWords(text string) []string {
	var words []string
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
			b.Reset()
		}
	}
	for _, r := range norm.NFKD.String(text) {
		switch {
		case unicode.IsMark(r), unicode.Is(unicode.Cf, r), unseenLetter(r):
		case unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(plainLetter(r))
		case b.Len() > 0 && (r == '\'' || r == '\u2019'):
		default:
			end()
		}
	}
	end()
	return words
}

// unseenLetter finds letters that show nothing, by Unicode's Default_Ignorable_Code_Point.
func unseenLetter(r rune) bool {
	return r == '\u115F' || r == '\u1160' || r == '\u3164' || r == '\uFFA0'
}

func plainLetter(r rune) rune {
	switch r = unicode.ToLower(r); r {
	case 'ı': // a Turkish keyboard's I
		return 'i'
	case 'ø':
		return 'o'
	}
	return r
}

// CheckKeywords refuses words that an account may not add: too many or too long, such
// as have no letter or digit, and such as would do nothing, because they stop already.
func CheckKeywords(own Words, at time.Time) error {
	for _, of := range []struct {
		name   string
		action message.KeywordAction
		words  []string
	}{{"stop", message.KeywordStop, own.Stop}, {"start", message.KeywordStart, own.Start}, {"help", message.KeywordHelp, own.Help}} {
		if len(of.words) > snapshot.MaxKeywords {
			return message.Refuse(message.ReasonInvalidRequest, "%d %s words, %d are allowed", len(of.words), of.name, snapshot.MaxKeywords)
		}
		for _, w := range of.words {
			words := keywordWords(w)
			switch k, _ := alone(words, own, at); {
			case utf8.RuneCountInString(w) > snapshot.MaxKeywordLength:
				return message.Refuse(message.ReasonInvalidRequest, "%s word %q has more than %d characters", of.name, w, snapshot.MaxKeywordLength)
			case len(words) == 0:
				return message.Refuse(message.ReasonInvalidRequest, "%s word %q has no letter and no digit", of.name, w)
			case k.Action != of.action:
				return message.Refuse(message.ReasonInvalidRequest, "%s word %q is a %s word", of.name, w, k.Action)
			}
		}
	}
	return nil
}
