package content

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// benchRules are 10,000 words in 100 rules and 200 regular expressions.
func benchRules(b *testing.B) *Rules {
	random := rand.New(rand.NewPCG(1, 2))
	var rules []Rule
	for range 100 {
		var list []string
		for range 100 {
			list = append(list, benchWord(random)+benchWord(random))
		}
		rules = append(rules, rule(KindWord, strings.Join(list, "\n")))
	}
	for i := range 200 {
		pattern := fmt.Sprintf(`\b%s%d\b.{0,40}\b(%s|%s)\b`, benchWord(random), i, benchWord(random), benchWord(random))
		if i < 10 { // as common as any in the text
			pattern = fmt.Sprintf(`\b(%s|%s)\s+[0-9]{%d}\b`, benchWord(random), benchWord(random), i+2)
		}
		rules = append(rules, rule(KindRegex, pattern))
	}
	rules = append(rules, rule(KindLink, "@shorteners\n@ip"), rule(KindPhone, "*"))
	return compiled(b, rules...)
}

func benchWord(random *rand.Rand) string {
	const syllables = "ba be bi bo ca ce ci co da de di do fa fe fi fo ga ge gi go la le li lo ma me mi mo na ne ni no"
	list := strings.Fields(syllables)
	return list[random.IntN(len(list))] + list[random.IntN(len(list))] + list[random.IntN(len(list))]
}

// BenchmarkEvaluate looks at texts of 1,600 characters by 10,000 words and 200 regular
// expressions: plain, and disguised throughout.
func BenchmarkEvaluate(b *testing.B) {
	rules := benchRules(b)
	random := rand.New(rand.NewPCG(3, 4))
	var text strings.Builder
	for text.Len() < 1600 {
		text.WriteString(benchWord(random) + " ")
	}
	plain := text.String()[:1600]
	disguised := strings.NewReplacer("a", "а", "e", "3", "o", "ö").Replace(plain)
	for name, text := range map[string]string{"plain": plain, "disguised": disguised} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rules.Evaluate(Query{Text: text, Now: now})
			}
		})
	}
}

// BenchmarkCompile is what a change of the configuration costs.
func BenchmarkCompile(b *testing.B) {
	starter, err := Starter()
	if err != nil {
		b.Fatal(err)
	}
	all := benchRules(b)
	list := append(starter, all.global.rules...)
	for b.Loop() {
		Compile(list, now)
	}
}
