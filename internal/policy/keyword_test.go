package policy

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestMatchKeyword(t *testing.T) {
	const (
		stop  = message.KeywordStop
		start = message.KeywordStart
		help  = message.KeywordHelp
		none  = message.KeywordNone
	)
	own := Words{Stop: []string{"nunca más", "LEAVE"}, Start: []string{"join", "Stop"}, Help: []string{"menu", "start"}}
	for _, tt := range []struct {
		text   string
		action message.KeywordAction
		word   string
		marks  string // b: begins, ?: only if stopped, h: for a human
	}{
		// The words, in every dress.
		{"STOP", stop, "STOP", ""},
		{"stop", stop, "STOP", ""},
		{"sToP", stop, "STOP", ""},
		{" Stop ", stop, "STOP", ""},
		{"\r\n\tStop\r\n", stop, "STOP", ""},
		{"Stop.", stop, "STOP", ""},
		{"STOP!!!", stop, "STOP", ""},
		{"...stop", stop, "STOP", ""},
		{"\"STOP\"", stop, "STOP", ""},
		{"“Stop”", stop, "STOP", ""},
		{"'stop'", stop, "STOP", ""},
		{"‘stop’", stop, "STOP", ""},
		{"«STOP»", stop, "STOP", ""},
		{"(stop)", stop, "STOP", ""},
		{"*STOP*", stop, "STOP", ""},
		{"#stop", stop, "STOP", ""},
		{"Stop 🛑", stop, "STOP", ""},
		{"🛑🛑 STOP 🛑", stop, "STOP", ""},
		{"stop🙏🏽", stop, "STOP", ""},
		{"stop ❤️", stop, "STOP", ""},
		{"stop 👨‍👩‍👧", stop, "STOP", ""},
		{"ＳＴＯＰ", stop, "STOP", ""},
		{"ｓｔｏｐ！", stop, "STOP", ""},
		{"𝐒𝐓𝐎𝐏", stop, "STOP", ""},
		{"Ⓢⓣⓞⓟ", stop, "STOP", ""},
		{"ﬆop", stop, "STOP", ""}, // a ligature of st
		{"ſtop", stop, "STOP", ""},
		{"stóp", stop, "STOP", ""},
		{"STÖP", stop, "STOP", ""},
		{"støp", stop, "STOP", ""},
		{"s\u0301t\u0301o\u0301p\u0301", stop, "STOP", ""},
		{"S\u200bT\u200bO\u200bP", stop, "STOP", ""},
		{"\ufeffSTOP", stop, "STOP", ""},
		{"ST\u00adOP", stop, "STOP", ""},
		{"\u202eSTOP\u202c", stop, "STOP", ""},
		{"\u00a0STOP\u00a0", stop, "STOP", ""},
		{"\u3000stop\u3000", stop, "STOP", ""},
		{"STOP\u3164", stop, "STOP", ""},
		{"S T O P", stop, "STOP", ""},
		{"S.T.O.P.", stop, "STOP", ""},
		{"s-t-o-p", stop, "STOP", ""},
		{"stop stop", stop, "STOP", ""},
		{"Stop! Stop! Stop! Stop! Stop!", stop, "STOP", ""},
		{"STOPALL", stop, "STOPALL", ""},
		{"STOP ALL", stop, "STOP ALL", ""},
		{"stop   all", stop, "STOP ALL", ""},
		{"stop-all", stop, "STOP ALL", ""},
		{"Unsubscribe", stop, "UNSUBSCRIBE", ""},
		{"unsubscrıbe", stop, "UNSUBSCRIBE", ""},
		{"UNSUBSCRİBE", stop, "UNSUBSCRIBE", ""},
		{"cancel", stop, "CANCEL", ""},
		{"End", stop, "END", ""},
		{"QUIT", stop, "QUIT", ""},
		{"revoke", stop, "REVOKE", ""},
		{"OPTOUT", stop, "OPTOUT", ""},
		{"OPT-OUT", stop, "OPT OUT", ""},
		{"opt out", stop, "OPT OUT", ""},
		{"opt‑out", stop, "OPT OUT", ""}, // a hyphen that does not break
		{"remove", stop, "REMOVE", ""},
		{"ARRET", stop, "ARRET", ""},
		{"arrêt", stop, "ARRET", ""},
		{"ARRÊT.", stop, "ARRET", ""},
		{"td", stop, "TD", ""},
		{"T.D.", stop, "TD", ""},
		{"ALTO", stop, "ALTO", ""},
		{"¡Alto!", stop, "ALTO", ""},
		{"parar", stop, "PARAR", ""},
		{"PARE", stop, "PARE", ""},
		{"Cancelar", stop, "CANCELAR", ""},
		{"baja", stop, "BAJA", ""},
		{"dar de baja", stop, "DAR DE BAJA", ""},
		{"Darme de baja.", stop, "DARME DE BAJA", ""},
		{"desuscribir", stop, "DESUSCRIBIR", ""},
		{"salir", stop, "SALIR", ""},
		{"START", start, "START", ""},
		{"unstop!", start, "UNSTOP", ""},
		{"yes", start, "YES", "?"},
		{"Yes!!", start, "YES", "?"},
		{"iniciar", start, "INICIAR", ""},
		{"Empezar", start, "EMPEZAR", ""},
		{"HELP", help, "HELP", ""},
		{"help?", help, "HELP", ""},
		{"info", help, "INFO", ""},
		{"Ayuda", help, "AYUDA", ""},
		{"¿AYUDA?", help, "AYUDA", ""},
		{"aide", help, "AIDE", ""},

		// A clear word with a few words after it.
		{"stop texting me", stop, "STOP", "b"},
		{"STOP PLEASE", stop, "STOP", "b"},
		{"Stop, thanks!", stop, "STOP", "b"},
		{"stop it right now", stop, "STOP", "b"},
		{"stop all messages", stop, "STOP ALL", "b"},
		{"stop all of your messages", stop, "STOP ALL", "b"},
		{"unsubscribe me", stop, "UNSUBSCRIBE", "b"},
		{"opt out of this list", stop, "OPT OUT", "b"},
		{"OPT-OUT please", stop, "OPT OUT", "b"},
		{"stop 2", stop, "STOP", "b"},
		{"STOP\nSent by phone", stop, "STOP", "b"},

		// Longer, or not so clear: somebody has to read it.
		{"stop at the shop on your way home", none, "", "h"},
		{"STOP\n\nSent from my new phone", none, "", "h"},
		{"please stop texting me", none, "", "h"},
		{"Please unsubscribe me from all of your lists", none, "", "h"},
		{"I want to opt out", none, "", "h"},
		{"Liked “Reply STOP to unsubscribe”", none, "", "h"},
		{"cancel my order please", none, "", "h"},
		{"Cancel it", none, "", "h"},
		{"end of story", none, "", "h"},
		{"quit smoking?", none, "", "h"},
		{"remove the second one", none, "", "h"},
		{"baja el precio", none, "", "h"},
		{"alto ahí", none, "", "h"},
		{"STOP HELP START YES INFO", none, "", "h"},
		{"stop" + strings.Repeat(" ", 5000) + "signs", none, "", "h"},
		{"STOP" + strings.Repeat("!", 5000), none, "", "h"},

		// Nothing of the kind.
		{"", none, "", ""},
		{" \t\r\n", none, "", ""},
		{"🛑", none, "", ""},
		{"...", none, "", ""},
		{"\u200b\u200b", none, "", ""},
		{"hello", none, "", ""},
		{"stopped", none, "", ""},
		{"nonstop", none, "", ""},
		{"stopp", none, "", ""},
		{"st op", none, "", ""},
		{"STOP1", none, "", ""},
		{"don't send it", none, "", ""},
		{"yes please", none, "", ""},
		{"yes, at 5", none, "", ""},
		{"start the car", none, "", ""},
		{"help me with my order", none, "", ""},
		{"no", none, "", ""},
		{"si", none, "", ""},
		{"weekend", none, "", ""},
		{"Y E T", none, "", ""},
		{"\xff\xfe", none, "", ""},
		{strings.Repeat("a", 100_000), none, "", ""},

		// The account's own words, which take nothing away from the others.
		{"Nunca mas!", stop, "NUNCA MAS", ""},
		{"leave", stop, "LEAVE", ""},
		{"leave me alone", none, "", ""},
		{"JOIN", start, "JOIN", ""},
		{"menú", help, "MENU", ""},
	} {
		got := MatchKeyword(tt.text, own, today)
		want := Keyword{Action: tt.action, Word: tt.word, Begins: strings.Contains(tt.marks, "b"), IfStopped: strings.Contains(tt.marks, "?"), ForHuman: strings.Contains(tt.marks, "h")}
		if got != want {
			t.Errorf("%.40q:\n got %+v\nwant %+v", tt.text, got, want)
		}
	}
}

// A word does nothing before its day.
func TestKeywordsHaveTheirDay(t *testing.T) {
	day := time.Date(2025, 4, 11, 0, 0, 0, 0, time.UTC)
	for _, text := range []string{"revoke", "opt out", "opt out please", "optout", "remove"} {
		if got := MatchKeyword(text, Words{}, day.Add(-time.Nanosecond)); got != (Keyword{}) {
			t.Errorf("%s the day before: %+v", text, got)
		}
		if got := MatchKeyword(text, Words{}, day); got.Action != message.KeywordStop {
			t.Errorf("%s on its day: %+v", text, got)
		}
	}
}

// Every word of the sets is found by itself, and means one thing.
func TestKeywordSets(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range keywordSets {
		form := strings.Join(k.words, " ")
		if seen[form] || form == "" || k.clear && k.action != message.KeywordStop || k.answer && k.action != message.KeywordStart {
			t.Errorf("%+v", k.keyword)
		}
		seen[form] = true
		if got := MatchKeyword(k.word, Words{}, today); got.Action != k.action || got.Word != k.word {
			t.Errorf("%s: %+v", k.word, got)
		}
	}
}

func TestCheckKeywords(t *testing.T) {
	for _, tt := range []struct {
		name  string
		words Words
		says  string
	}{
		{"none", Words{}, ""},
		{"some", Words{Stop: []string{"leave", "nunca más", "stop"}, Start: []string{"join"}, Help: []string{"menu"}}, ""},
		{"too many", Words{Help: make([]string, 51)}, "51"},
		{"too long", Words{Stop: []string{strings.Repeat("a", 41)}}, "40"},
		{"empty", Words{Stop: []string{" !"}}, "no letter"},
		{"a start that stops", Words{Start: []string{"Stop!"}}, "is a stop word"},
		{"a help that starts", Words{Help: []string{"yes"}}, "is a start word"},
		{"twice", Words{Stop: []string{"leave"}, Help: []string{"LEAVE"}}, "is a stop word"},
	} {
		err := CheckKeywords(tt.words, today)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzMatchKeyword(f *testing.F) {
	for _, s := range []string{"STOP", "stop texting me", "ＳＴＯＰ", "S\u200bTOP", "cancel my order please", "yes", "\xff", "s t o p", "a\u0300\u0301", "ﷺ"} {
		f.Add(s, "leave")
	}
	f.Fuzz(func(t *testing.T, s, word string) {
		own := Words{Stop: []string{word}}
		got := MatchKeyword(s, own, today)
		if got != MatchKeyword(s, own, today) {
			t.Error("not the same twice")
		}
		switch {
		case (got.Action == message.KeywordNone) != (got.Word == ""):
			t.Errorf("%+v", got)
		case got.Action != message.KeywordNone && got.ForHuman, got.Begins && got.Action != message.KeywordStop, got.IfStopped && got.Action != message.KeywordStart:
			t.Errorf("%+v", got)
		case !utf8.ValidString(got.Word):
			t.Errorf("word %q", got.Word)
		}
		// Case and what stands around a text make no difference, as long as it is read
		// to its end.
		if len(s) > mostRead/8 || !utf8.ValidString(s) {
			return
		}
		if around := MatchKeyword(" *“"+s+"”* !\n", own, today); around != got {
			t.Errorf("%q: %+v, with signs around it %+v", s, got, around)
		}
		// What stops somebody stops whatever words an account adds.
		if plain := MatchKeyword(s, Words{}, today); plain.Action == message.KeywordStop && got.Action != message.KeywordStop {
			t.Errorf("%q stops no more: %+v", s, got)
		}
	})
}

func BenchmarkMatchKeyword(b *testing.B) {
	for _, text := range []string{"STOP", "I shall be there at five, if the bus comes in time and the weather holds; else call me."} {
		b.Run(text[:4], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				MatchKeyword(text, Words{}, today)
			}
		})
	}
}
