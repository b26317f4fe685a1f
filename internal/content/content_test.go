package content

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

var (
	now     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	account = message.NewID()
)

func rule(kind Kind, pattern string) Rule {
	return Rule{ID: message.NewID(), Name: "rule", Kind: kind, Class: "other", Pattern: pattern, Action: ActionFlag, Active: true}
}

func compiled(t testing.TB, rules ...Rule) *Rules {
	t.Helper()
	c, problems := Compile(rules, now)
	for _, p := range problems {
		t.Fatalf("%s: %v", p.Rule.Pattern, p.Err)
	}
	return c
}

func TestMatching(t *testing.T) {
	for _, c := range []struct {
		kind    Kind
		pattern string
		found   []string // texts that match
		not     []string
	}{
		{KindWord, "casino", []string{
			"casino", "Visit our CASINO!", "cásinö", "ｃａｓｉｎｏ", "𝐜𝐚𝐬𝐢𝐧𝐨", "ⓒⓐⓢⓘⓝⓞ", "cas\u200bino", "cas\u00adino", "\u202ecasino\u202c", "с\u0430sino now", "cаѕіnо",
			"the best сasіnо here", "c4s1n0", "ca$ino", "cas!no", "c a s i n o", "c.a.s.i.n.o", "c-a-s-i-n-o", "our\ncasino\nis open", "casino's", "🄲🄰🅂🄸🄽🄾", "🅲🅰🆂🅸🅽🅾", "caｓ1no",
		}, []string{"", "casinos", "occasion", "cas ino", "c45100", "cashino", "casin", "order C451N0000 is here"}},
		{KindWord, "casino*", []string{"casinos", "casinoworld", "CA$INOS", "casino"}, []string{"mycasino"}},
		{KindWord, "payday loan*", []string{"Payday loans!", "payday-loan", "payday\tloan", "p4yd4y 1oans", "pаyday lоans"}, []string{"payday", "loan payday", "payday is near, loan officer", "payday my loan"}},
		{KindWord, "pot", []string{"buy pot", "p0t", "best рot in town", "free рот now in our shop"}, []string{"рот", "открой рот и скажи", "potato", "spot"}},
		{KindWord, "ass", []string{"ass", "a$s"}, []string{"A55", "A55 B66", "class", "as s"}},
		{KindWord, "sex", []string{"s3x", "$ex", "s e x", "S.E.X"}, []string{"essex", "s x e", "us 3 x", "3x"}},
		{KindWord, "хер", []string{"хер", "ХЕР"}, []string{"xep"}},
		{KindWord, "娱乐场", []string{"我们的娱乐场开业", "娱乐场"}, []string{"娱乐广场"}},
		{KindWord, "が", []string{"が"}, []string{"か"}},
		{KindWord, "one\n two words \n\nthree", []string{"one", "two  words", "three"}, []string{"two", "words"}},
		{KindWord, "ar-15", []string{"AR15 and ar-15", "ar 15"}, []string{"15 ar"}},
		{KindRegex, `free\s+(money|cash)`, []string{"FREE   money", "fr\u200bee cash", "ｆｒｅｅ cash", "frее саsh now"}, []string{"freemoney"}},
		{KindRegex, `\d{4}-\d{4}`, []string{"1234-5678"}, []string{"123-4567"}},
		{KindRegex, `привет`, []string{"ПРИВЕТ всем"}, []string{"privet"}},
		{KindRegex, `ὀδυσσεύς|σοφος`, nil, nil}, // refused, below
		{KindLink, "example.com", []string{
			"https://example.com", "see example.com/x", "example.com", "http://sub.example.com:8080/a?b#c", "https://user:pw@example.com/", "HTTPS://EXAMPLE.COM", `https:\\example.com`, "https:/example.com",
			"https://exam%70le.com", "example。com/x", "ｅｘａｍｐｌｅ．ｃｏｍ", "https://example.com.", "go to example.com.", "(example.com)", "https://ехаmple.com", "http://xn--xample-2of.com", "foo@example.com/x", "https://good.org/?u=example.com/x",
		}, []string{"https://example.com.evil.org", "https://notexample.com", "mail me at bob@example.com", "example . com", "https://evil.org@good.org", "example.community", "https://example.com@evil.org"}},
		{KindLink, "пример.рф", []string{"https://пример.рф/x", "http://xn--e1afmkfd.xn--p1ai", "ПРИМЕР.РФ"}, []string{"пример рф"}},
		{KindLink, "xn--e1afmkfd.xn--p1ai", []string{"пример.рф"}, nil},
		{KindLink, "*", []string{"www.anything.unheardof", "foo.com", "x.co/1", "https://localhost", "http://[::1]/"}, []string{"bye.Thanks", "3.50", "version 1.2.3.4", "a@b.com", "end.Start", "...", "e.g.", "https://"}},
		{KindLink, "@shorteners", []string{"bit.ly/2abc", "https://TinyURL.com/x", "t.co/a", "bіt.ly/x"}, []string{"rabbit.ly", "at.company", "bit ly"}},
		{KindLink, "@ip", []string{"http://10.0.0.1/x", "https://3232235777", "http://0x7f.1/", "http://[2001:db8::1]:80/x", "1.2.3.4/x"}, []string{"version 1.2.3.4", "http://a.1.com"}},
		{KindLink, "@userinfo", []string{"https://paypal.com@evil.org/", "paypal@evil.org/x"}, []string{"https://evil.org/@paypal", "mail bob@evil.org"}},
		{KindPhone, "*", []string{"call +1 (310) 555-0117", "310.555.0117", "1-310-555-0117", "3105550117", "+44 20 7946 0000", "0044 20 7946 0000", "(310) 555-0117", "+１３１０５５５０１１７"},
			[]string{"order 123456789", "2026-11-22 12:00", "12345678901234567890", "code 482913", "x3105550117", "4111 1111 1111 1111", "$1,234,567,890", "9105550117a"}},
		{KindPhone, "+1900", []string{"1-900-555-0100", "+19005550100"}, []string{"+1 310 900 5550"}},
	} {
		if c.found == nil && c.not == nil {
			continue
		}
		rules := compiled(t, rule(c.kind, c.pattern))
		for _, text := range c.found {
			if o := rules.Evaluate(Query{Text: text, Now: now}); o.Action != ActionFlag {
				t.Errorf("%s %q is not found in %q", c.kind, c.pattern, text)
			}
		}
		for _, text := range c.not {
			if o := rules.Evaluate(Query{Text: text, Now: now}); o.Action != "" {
				t.Errorf("%s %q is found in %q", c.kind, c.pattern, text)
			}
		}
	}
}

func TestUndeclared(t *testing.T) {
	rules := compiled(t, rule(KindLink, "@undeclared"), rule(KindPhone, "@undeclared"))
	for _, c := range []struct {
		q    Query
		want int
	}{
		{Query{Text: "see shop.com"}, 0},
		{Query{Text: "see shop.com", NoLinks: true}, 1},
		{Query{Text: "call +13105550117", NoLinks: true}, 0},
		{Query{Text: "call +13105550117 or shop.com", NoLinks: true, NoPhones: true}, 2},
	} {
		if got := len(rules.Evaluate(c.q).Matches); got != c.want {
			t.Errorf("%+v: %d matches, want %d", c.q, got, c.want)
		}
	}
}

func TestTheStrongestActionWins(t *testing.T) {
	word := func(owner message.ID, action Action, class, pattern string) Rule {
		r := rule(KindWord, pattern)
		r.AccountID, r.Action, r.Class, r.Name = owner, action, class, string(action)+" "+pattern
		return r
	}
	global := message.ID{}
	rules := compiled(t,
		word(global, ActionFlag, "alcohol", "beer"), word(global, ActionHold, "alcohol", "whiskey"), word(global, ActionRefuse, "alcohol", "moonshine"),
		word(global, ActionHold, "tobacco", "cigar"),
		word(account, ActionAllow, "alcohol", "brewery"), word(account, ActionHold, "alcohol", "cider"), word(account, ActionFlag, "other", "cigar"),
	)
	other := message.NewID()
	for _, c := range []struct {
		who  message.ID
		text string
		want Action
		said string
	}{
		{other, "hello", "", ""},
		{other, "beer", ActionFlag, `flag by "flag beer" (alcohol, global)`},
		{other, "beer and whiskey", ActionHold, `hold by "hold whiskey" (alcohol, global); flag by "flag beer" (alcohol, global)`},
		{other, "whiskey and moonshine", ActionRefuse, ""},
		{other, "brewery whiskey", ActionHold, ""},
		{other, "cider", "", ""},
		{account, "brewery beer", "", `allow by "allow brewery" (alcohol); flag by "flag beer" (alcohol, global) overruled`},
		{account, "brewery whiskey", "", ""},
		{account, "whiskey", ActionHold, ""},
		{account, "brewery moonshine", ActionRefuse, ""},
		{account, "brewery cider", ActionHold, ""},
		{account, "brewery cigar", ActionHold, `hold by "hold cigar" (tobacco, global); flag by "flag cigar" (other); allow by "allow brewery" (alcohol)`},
	} {
		o := rules.Evaluate(Query{Account: c.who, Text: c.text, Now: now})
		if o.Action != c.want {
			t.Errorf("%q: %q, want %q", c.text, o.Action, c.want)
		}
		if c.said != "" && o.String() != c.said {
			t.Errorf("%q: said %s", c.text, o)
		}
	}
}

// What only looks like an allowed domain is not allowed.
func TestLookAlikesAreNotAllowed(t *testing.T) {
	allow, hold := rule(KindLink, "brand.com"), rule(KindLink, "*")
	allow.AccountID, allow.Action, hold.Action = account, ActionAllow, ActionHold
	rules := compiled(t, allow, hold)
	for text, want := range map[string]Action{"https://brand.com/x": "", "https://brаnd.com/x": ActionHold, "https://xn--brnd-8cd.com/x": ActionHold} {
		if o := rules.Evaluate(Query{Account: account, Text: text, Now: now}); o.Action != want {
			t.Errorf("%s: %q, want %q", text, o.Action, want)
		}
	}
}

func TestRulesCountForTheirMessagesAndTime(t *testing.T) {
	bulk, later, off := rule(KindWord, "sale"), rule(KindWord, "sale"), rule(KindWord, "sale")
	bulk.MessageClass, later.From, off.Active = message.ClassBulk, now.Add(time.Second), false
	rules := compiled(t, bulk, later, off)
	for _, c := range []struct {
		class message.Class
		at    time.Time
		want  int
	}{{message.ClassBulk, now, 1}, {message.ClassOTP, now, 0}, {message.ClassOTP, now.Add(time.Second), 1}, {message.ClassBulk, now.Add(time.Second), 2}} {
		if got := len(rules.Evaluate(Query{Class: c.class, Text: "sale", Now: c.at}).Matches); got != c.want {
			t.Errorf("%s at %s: %d, want %d", c.class, c.at, got, c.want)
		}
	}
}

func TestABrokenRuleIsLeftOutAlone(t *testing.T) {
	broken := rule(KindRegex, "(unclosed")
	half := rule(KindLink, "fine.com\nno domain at all")
	rules, problems := Compile([]Rule{broken, rule(KindWord, "bad"), half}, now)
	if len(problems) != 2 || len(rules.Problems()) != 2 || problems[0].Rule.ID != broken.ID {
		t.Fatalf("problems: %v", problems)
	}
	if o := rules.Evaluate(Query{Text: "bad fine.com", Now: now}); len(o.Matches) != 1 || o.Matches[0].Rule.Pattern != "bad" {
		t.Errorf("matches: %s", o)
	}
	var none *Rules
	if o := none.Evaluate(Query{Text: "bad"}); o.Action != "" || none.Problems() != nil {
		t.Error("no rules have something to say")
	}
}

func TestCheck(t *testing.T) {
	good := rule(KindWord, "bad")
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Rule){
		"no name":            func(r *Rule) { r.Name = " " },
		"long name":          func(r *Rule) { r.Name = strings.Repeat("n", 101) },
		"kind":               func(r *Rule) { r.Kind = "glob" },
		"action":             func(r *Rule) { r.Action = "drop" },
		"class":              func(r *Rule) { r.Class = "nonsense" },
		"message class":      func(r *Rule) { r.MessageClass = "urgent" },
		"a global allow":     func(r *Rule) { r.Action = ActionAllow },
		"no word":            func(r *Rule) { r.Pattern = " \n" },
		"a word of signs":    func(r *Rule) { r.Pattern = "good\n!!!" },
		"a star alone":       func(r *Rule) { r.Pattern = "*" },
		"a long phrase":      func(r *Rule) { r.Pattern = strings.Repeat("w ", 11) },
		"a long list":        func(r *Rule) { r.Pattern = strings.Repeat("word\n", 4000) },
		"no regex":           func(r *Rule) { r.Kind, r.Pattern = KindRegex, "a(" },
		"an empty regex":     func(r *Rule) { r.Kind, r.Pattern = KindRegex, "" },
		"matches all":        func(r *Rule) { r.Kind, r.Pattern = KindRegex, "x*" },
		"back reference":     func(r *Rule) { r.Kind, r.Pattern = KindRegex, `(a)\1` },
		"a long regex":       func(r *Rule) { r.Kind, r.Pattern = KindRegex, strings.Repeat("a", 1001) },
		"a large regex":      func(r *Rule) { r.Kind, r.Pattern = KindRegex, "(abcdef){200}" },
		"accents in a regex": func(r *Rule) { r.Kind, r.Pattern = KindRegex, "café" },
		"full width":         func(r *Rule) { r.Kind, r.Pattern = KindRegex, "ａ" },
		"no domain":          func(r *Rule) { r.Kind, r.Pattern = KindLink, "example" },
		"a URL":              func(r *Rule) { r.Kind, r.Pattern = KindLink, "https://example.com/x" },
		"an unknown list":    func(r *Rule) { r.Kind, r.Pattern = KindLink, "@others" },
		"no number":          func(r *Rule) { r.Kind, r.Pattern = KindPhone, "1900" },
		"octets":             func(r *Rule) { r.Pattern = "\xff" },
	} {
		r := rule(KindWord, "bad")
		change(&r)
		if err := r.Check(); message.ReasonOf(err) != message.ReasonInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(rule(KindLink, "*.Example.com\nsub.example.org")).Check(); err != nil {
		t.Error(err)
	}
}

func TestPatternsThatGoOverEveryTextAreFew(t *testing.T) {
	var rules []Rule
	for i := range maxUnguarded + 2 {
		rules = append(rules, rule(KindRegex, fmt.Sprintf(`\d{%d}`, i+3)))
	}
	rules = append(rules, rule(KindRegex, `(?:casino|slots)\d`))
	if _, problems := Compile(rules, now); len(problems) != 2 {
		t.Errorf("%d problems", len(problems))
	}
}

func TestGuards(t *testing.T) {
	for pattern, want := range map[string]string{
		`free\s+money`:         "money",
		`(casino|slots)\d`:     "casino slots",
		`(casino|\d+)`:         "",
		`(abc)+`:               "abc",
		`(abc){2,3}`:           "abc",
		`(abc)?d`:              "",
		`ab`:                   "",
		`[cC]lick here`:        "click here",
		`bitcoin.{0,40}profit`: "bitcoin",
	} {
		e, err := compileRegex(pattern)
		if err != nil {
			t.Fatal(err)
		}
		g := slices.Clone(e.guards)
		if got := strings.Join(g, " "); got != want {
			t.Errorf("%s is guarded by %q, want %q", pattern, got, want)
		}
	}
}

func TestTryShowsWhere(t *testing.T) {
	rules := compiled(t, rule(KindWord, "casino"), rule(KindLink, "bit.ly"), rule(KindPhone, "*"), rule(KindRegex, "win\\s+now"))
	text := "Ünser c\u200bаѕino: bit.ly/x, WIN  now, CASINO, +1 310 555 0117!"
	var got []string
	for _, m := range rules.Try(Query{Text: text, Now: now}).Matches {
		got = append(got, text[m.From:m.To])
	}
	if want := []string{"c\u200bаѕino", "bit.ly", "WIN  now", "CASINO", "+1 310 555 0117"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if one := rules.Evaluate(Query{Text: text, Now: now}); len(one.Matches) != 4 {
		t.Errorf("a decision names %d rules, want each of 4 once", len(one.Matches))
	}
	if many := rules.Try(Query{Text: strings.Repeat("casino ", 1000), Now: now}); len(many.Matches) != maxMatches {
		t.Errorf("%d matches", len(many.Matches))
	}
}

func TestPunycode(t *testing.T) {
	for coded, want := range map[string]string{
		"e1afmkfd": "пример", "bcher-kva": "bücher", "fiqs8s": "中国", "mnchen-3ya": "münchen", "tda": "ü",
		// RFC 3492 §7.1, simplified Chinese and Japanese with Latin letters.
		"ihqwcrb4cv8a8dqg056pqjye": "他们为什么不说中文", "3b-ww4c5e180e575a65lsy2b": "3年b組金八先生",
	} {
		if got, err := decodePunycode(coded); err != nil || got != want {
			t.Errorf("%s: %q, %v", coded, got, err)
		}
	}
	for _, bad := range []string{"a!", "99999999999999", "ü", strings.Repeat("a", 200)} {
		if got, err := decodePunycode(bad); err == nil {
			t.Errorf("%s was decoded as %q", bad, got)
		}
	}
}

func TestShippedData(t *testing.T) {
	list, err := readShorteners(shortenersText, now)
	if err != nil || len(list) < 20 {
		t.Errorf("%d shorteners, %v", len(list), err)
	}
	if early, err := readShorteners(shortenersText, now.AddDate(-10, 0, 0)); err != nil || len(early) != 0 {
		t.Errorf("%v before the list was made, %v", early, err)
	}
	rules, err := Starter()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range rules {
		if err := r.Check(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if names[r.Name] || r.Active != (r.Action == ActionFlag) {
			t.Errorf("%s: twice, or active though it stops messages", r.Name)
		}
		names[r.Name] = true
	}
}

// What the starter rules would do to texts that are as they should be, and to those
// that are not.
func TestStarterRules(t *testing.T) {
	rules, err := Starter()
	if err != nil {
		t.Fatal(err)
	}
	for i := range rules {
		rules[i].Active = true
	}
	c := compiled(t, rules...)
	for _, text := range []string{
		"Your Acme code is 482913. It is good for 10 minutes.",
		"Hi Ana, your parcel is on its way and will be there today. Track it: https://acme.example/t/A55X1",
		"Reminder: Dr. Lee, Mon 9:30 AM. Reply C to confirm. Msg & data rates may apply. STOP to end.",
		"Acme: 20% off all shoes this weekend! Shop: https://acme.example/sale Reply STOP to opt out",
		"Your account statement for November is ready.",
	} {
		if o := c.Evaluate(Query{Text: text, Now: now}); o.Action != "" {
			t.Errorf("%q: %s", text, o)
		}
	}
	for text, want := range map[string]string{
		"USPS: your package is on hold due to an incomplete address, see http://192.0.2.7/x": "delivery phishing",
		"Your bank account was locked. Verify now: bit.ly/3xyz":                              "phishing shortener",
		"Pаydаy l0ans in minutes": "lending",
		"C4SINO free spins!":      "gambling",
	} {
		if o := c.Evaluate(Query{Text: text, Now: now}); strings.Join(o.Classes(), " ") != want {
			t.Errorf("%q: %v (%s)", text, o.Classes(), o)
		}
	}
}

// A word that is put into a text in any of the disguises is found there.
func TestDisguisesAreSeenThrough(t *testing.T) {
	rules := compiled(t, rule(KindWord, "winner\nfree spins"))
	disguises := map[rune][]string{
		'w': {"W", "ｗ", "ԝ"}, 'i': {"I", "і", "1", "!", "í", "ı"}, 'n': {"N", "ñ", "ո"[:0] + "n"}, 'e': {"E", "3", "е", "é", "ｅ"}, 'r': {"R", "ř"},
		'f': {"F"}, 's': {"S", "$", "5", "ѕ", "š"}, 'p': {"P", "р"},
	}
	rapid.Check(t, func(r *rapid.T) {
		word := rapid.SampledFrom([]string{"winner", "free spins"}).Draw(r, "word")
		var b strings.Builder
		signs := 0
		for i, c := range word {
			ways := append([]string{string(c)}, disguises[c]...)
			w := rapid.SampledFrom(ways).Draw(r, "letter")
			if len(w) == 1 && !('a' <= w[0]|0x20 && w[0]|0x20 <= 'z') && w != " " {
				if signs++; signs > 2 || i == 0 || i == len(word)-1 { // a sign at the edge is punctuation
					w = string(c)
				}
			}
			b.WriteString(w)
			if c != ' ' && rapid.Bool().Draw(r, "hidden") {
				b.WriteString(rapid.SampledFrom([]string{"\u200b", "\u200d", "\u2060", "\u00ad", "\u0301"}).Draw(r, "mark"))
			}
		}
		before := rapid.SampledFrom([]string{"", "you are a ", "¡", "(", "line\n"}).Draw(r, "before")
		after := rapid.SampledFrom([]string{"", " today", ".", ")", "!!!"}).Draw(r, "after")
		text := before + b.String() + after
		if o := rules.Evaluate(Query{Text: text, Now: now}); o.Action == "" {
			r.Fatalf("%q hides in %q", word, text)
		}
	})
}

func FuzzEvaluate(f *testing.F) {
	starter, err := Starter()
	if err != nil {
		f.Fatal(err)
	}
	for i := range starter {
		starter[i].Active = true
	}
	rules := compiled(f, append(starter, rule(KindLink, "*"), rule(KindPhone, "*"), rule(KindRegex, `\w+\s\d`), rule(KindLink, "example.com"))...)
	for _, seed := range []string{"c\u200bаѕino bit.ly/x", "https://a@b:80/\\x", "+1 (310) 555-0117", "http://[::1", "xn--a.xn--", "\xff\xfe", "$@!|", "h", "http://xn--zzzzzzzzzz.com", "a.b.c.d.e@f.g/h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := rules.Try(Query{Text: text, Now: now, NoLinks: true, NoPhones: true})
		for _, m := range o.Matches {
			if m.From < 0 || m.From >= m.To || m.To > len(text) {
				t.Fatalf("%q: %s at %d to %d", text, m.Rule.Name, m.From, m.To)
			}
			if utf8.ValidString(text) && !utf8.ValidString(text[m.From:m.To]) {
				t.Fatalf("%q: a match at %d to %d cuts a character", text, m.From, m.To)
			}
		}
		if (o.Action == "") != (len(o.Matches) == 0) {
			t.Fatalf("%q: %q with %d matches", text, o.Action, len(o.Matches))
		}
	})
}

func FuzzCheck(f *testing.F) {
	f.Add("word", "casino*\nfree spins")
	f.Add("regex", `(a|b)+c{2,5}`)
	f.Add("link", "@shorteners\nxn--e1afmkfd.xn--p1ai")
	f.Add("phone", "+1900\n*")
	f.Fuzz(func(t *testing.T, kind, pattern string) {
		r := rule(Kind(kind), pattern)
		if r.Check() != nil {
			return
		}
		compiled(t, r).Try(Query{Text: "Casino aac https://bit.ly +19005550100 " + pattern, Now: now})
	})
}
