package content

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Rules are all active rules, compiled. They are never changed, and safe for
// concurrent use. A nil *Rules has none.
type Rules struct {
	global   *set
	accounts map[message.ID]*set
	problems []Problem
}

// set are the rules of one scope.
type set struct {
	rules   []Rule
	words   words
	links   linkRules
	phones  phoneRules
	regexes regexRules
}

// Compile makes sets of the active rules among these. A rule that cannot be used is
// left out and reported: one mistake must not end the checking of all the others. now
// decides which entries of shipped lists count.
func Compile(rules []Rule, now time.Time) (*Rules, []Problem) {
	c := &Rules{global: &set{}, accounts: map[message.ID]*set{}}
	for _, r := range rules {
		if !r.Active {
			continue
		}
		s := c.global
		if r.AccountID != (message.ID{}) {
			if s = c.accounts[r.AccountID]; s == nil {
				s = &set{}
				c.accounts[r.AccountID] = s
			}
		}
		if err := s.add(r, now); err != nil {
			c.problems = append(c.problems, Problem{r, err})
		}
	}
	return c, c.problems
}

// Problems are the active rules that were left out.
func (c *Rules) Problems() []Problem {
	if c == nil {
		return nil
	}
	return c.problems
}

func (s *set) add(r Rule, now time.Time) error {
	switch {
	case len(r.Pattern) > maxPattern:
		return fmt.Errorf("more than %d octets", maxPattern)
	case len(s.rules) >= MaxRules:
		return fmt.Errorf("more than %d active rules", MaxRules)
	}
	n := int32(len(s.rules))
	var err error
	switch r.Kind {
	case KindWord:
		err = s.words.add(n, r.Pattern)
	case KindLink:
		err = s.links.add(n, r.Pattern, now)
	case KindPhone:
		err = s.phones.add(n, r.Pattern)
	case KindRegex:
		err = s.regexes.add(n, r.Pattern)
	default:
		err = fmt.Errorf("kind %.20q is not known", r.Kind)
	}
	// A list that broke in its middle has left entries: they belong to a rule that
	// matches nothing.
	if err != nil {
		r.Active = false
	}
	s.rules = append(s.rules, r)
	return err
}

// Query is a text to be looked at.
type Query struct {
	Account message.ID
	Class   message.Class
	Text    string
	Now     time.Time
	// NoLinks and NoPhones say that the text's campaign was registered without links
	// or phone numbers; false: with them, or it is not known.
	NoLinks, NoPhones bool
}

// Match is a rule that a text matches, and where first.
type Match struct {
	Rule     *Rule
	From, To int // octets of the text
	// Overruled: an account's rule allows the class, and this one does not count.
	Overruled bool
}

// Outcome is what the rules say of a text.
type Outcome struct {
	// Action is that of the strongest rule that counts; empty: none matches, or an
	// account's rule allows what does.
	Action  Action
	Matches []Match // those that count first, the strongest before
}

// maxMatches bounds what Try returns.
const maxMatches = 200

// Evaluate looks at a text by the global rules and the account's: the strongest action
// wins, except that what an account's rule allows is not flagged or held for the same
// class.
func (c *Rules) Evaluate(q Query) Outcome { return c.look(q, 1) }

// Try is Evaluate with every place that matches, up to 200.
func (c *Rules) Try(q Query) Outcome { return c.look(q, maxMatches) }

func (c *Rules) look(q Query, times int) Outcome {
	var o Outcome
	if c == nil || q.Text == "" {
		return o
	}
	sets := make([]*set, 0, 2)
	for _, s := range []*set{c.global, c.accounts[q.Account]} {
		if s != nil && len(s.rules) > 0 {
			sets = append(sets, s)
		}
	}
	if len(sets) == 0 {
		return o
	}
	v := newView(q.Text)
	for _, s := range sets {
		o.Matches = append(o.Matches, s.matches(v, q, times)...)
	}
	o.settle()
	if len(o.Matches) > maxMatches {
		o.Matches = o.Matches[:maxMatches]
	}
	return o
}

func (s *set) matches(v *view, q Query, times int) []Match {
	var found []Match
	var count map[int32]int
	hit := func(rule, from, to int32) {
		r := &s.rules[rule]
		if !r.applies(q) || count[rule] >= times || len(found) >= 5*maxMatches {
			return
		}
		if count == nil {
			count = map[int32]int{}
		}
		count[rule]++
		found = append(found, Match{Rule: r, From: int(v.chars[from].at), To: int(v.chars[to-1].end)})
	}
	s.words.find(v, hit)
	if !s.links.empty() {
		s.links.find(findLinks(v), q.NoLinks, func(rule int32) bool { return s.rules[rule].Action == ActionAllow }, hit)
	}
	if !s.phones.empty() {
		s.phones.find(findPhones(v), q.NoPhones, hit)
	}
	if len(s.regexes.list) > 0 {
		text, from := v.undisguise()
		s.regexes.find(text, from, times, func(rule int32) bool { return s.rules[rule].applies(q) }, hit)
	}
	return found
}

// applies reports whether the rule is for such messages at this time.
func (r *Rule) applies(q Query) bool {
	return r.Active && !r.From.After(q.Now) && (r.MessageClass == "" || r.MessageClass == q.Class)
}

// settle finds what counts.
func (o *Outcome) settle() {
	allowed := map[string]bool{}
	for _, m := range o.Matches {
		if m.Rule.Action == ActionAllow {
			allowed[m.Rule.Class] = true
		}
	}
	for i := range o.Matches {
		m := &o.Matches[i]
		global := m.Rule.AccountID == (message.ID{})
		m.Overruled = global && allowed[m.Rule.Class] && (m.Rule.Action == ActionFlag || m.Rule.Action == ActionHold)
		if !m.Overruled && m.Rule.Action != ActionAllow && m.Rule.Action.strength() > o.Action.strength() {
			o.Action = m.Rule.Action
		}
	}
	slices.SortStableFunc(o.Matches, func(a, b Match) int {
		if a.Overruled != b.Overruled {
			if a.Overruled {
				return 1
			}
			return -1
		}
		return cmp.Or(b.Rule.Action.strength()-a.Rule.Action.strength(), a.From-b.From)
	})
}

// Classes are those of the rules that decided, in order.
func (o Outcome) Classes() []string {
	var list []string
	for _, m := range o.Matches {
		if !m.Overruled && m.Rule.Action == o.Action && !slices.Contains(list, m.Rule.Class) {
			list = append(list, m.Rule.Class)
		}
	}
	slices.Sort(list)
	return list
}

// maxNamed is how many rules String names.
const maxNamed = 5

// String names the rules that matched, with action and class, and nothing of the
// text: for a trail.
func (o Outcome) String() string {
	var words []string
	for _, m := range o.Matches {
		scope := ""
		if m.Rule.AccountID == (message.ID{}) {
			scope = ", global"
		}
		word := fmt.Sprintf("%s by %q (%s%s)", m.Rule.Action, m.Rule.Name, m.Rule.Class, scope)
		if m.Overruled {
			word += " overruled"
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	if n := len(words) - maxNamed; n > 0 {
		words = append(words[:maxNamed], fmt.Sprintf("%d more", n))
	}
	return strings.Join(words, "; ")
}
