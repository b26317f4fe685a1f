package content

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what guards a regular expression.
const (
	minGuard  = 3  // octets; less is in every text
	maxGuards = 64 // pieces of text, one of which must occur
)

// expression is a regular expression and what guards it.
type expression struct {
	rule int32
	re   *regexp.Regexp
	// guards are pieces of text of which at least one is in whatever matches; none:
	// it must be asked about every text.
	guards []string
}

// compileRegex reads a pattern. It is matched without regard to case.
func compileRegex(pattern string) (expression, error) {
	switch {
	case strings.TrimSpace(pattern) == "":
		return expression{}, errors.New("the pattern is empty")
	case len(pattern) > maxRegex:
		return expression{}, fmt.Errorf("more than %d octets", maxRegex)
	}
	for _, r := range pattern {
		if c := clean(string(r)); len(c) != 1 || c[0].r != canonical(r) {
			return expression{}, fmt.Errorf("%q never occurs in a cleaned text: write letters without marks and in their plain form", r)
		}
	}
	const flags = syntax.Perl | syntax.FoldCase
	tree, err := syntax.Parse(pattern, flags)
	if err != nil {
		return expression{}, err
	}
	tree = tree.Simplify()
	prog, err := syntax.Compile(tree)
	if err != nil {
		return expression{}, err
	}
	if len(prog.Inst) > maxProgram {
		return expression{}, fmt.Errorf("the pattern is too large: %d instructions, %d allowed", len(prog.Inst), maxProgram)
	}
	re, err := regexp.Compile("(?i)" + pattern)
	if err != nil {
		return expression{}, err
	}
	if re.MatchString("") {
		return expression{}, errors.New("the pattern matches the empty text, and so every text")
	}
	return expression{re: re, guards: guards(tree)}, nil
}

// guards finds pieces of text of which one must occur in whatever the tree matches.
func guards(t *syntax.Regexp) []string {
	var found []string
	switch t.Op {
	case syntax.OpLiteral:
		var b []byte
		for _, r := range t.Rune {
			b = utf8.AppendRune(b, canonical(r))
		}
		found = []string{string(b)}
	case syntax.OpCapture, syntax.OpPlus:
		return guards(t.Sub[0])
	case syntax.OpRepeat:
		if t.Min == 0 {
			return nil
		}
		return guards(t.Sub[0])
	case syntax.OpAlternate:
		for _, sub := range t.Sub {
			g := guards(sub)
			if g == nil {
				return nil
			}
			found = append(found, g...)
		}
	case syntax.OpConcat:
		for _, sub := range t.Sub {
			if g := guards(sub); g != nil && (found == nil || shortest(g) > shortest(found)) {
				found = g
			}
		}
		return found
	}
	if len(found) == 0 || len(found) > maxGuards || shortest(found) < minGuard {
		return nil
	}
	return found
}

func shortest(list []string) int {
	n := len(list[0])
	for _, s := range list {
		n = min(n, len(s))
	}
	return n
}

// regexRules are the regular expressions of a set.
type regexRules struct {
	list      []expression
	unguarded []int32 // places in list
	// guarded finds by its first octets what a piece of text guards.
	guarded map[[minGuard]byte][]guard
}

type guard struct {
	text       string
	expression int32 // place in list
}

func (s *regexRules) add(rule int32, pattern string) error {
	e, err := compileRegex(pattern)
	if err != nil {
		return err
	}
	e.rule = rule
	n := int32(len(s.list))
	if e.guards == nil {
		if len(s.unguarded) >= maxUnguarded {
			return fmt.Errorf("more than %d active patterns without at least %d letters that must occur as they are: each of them goes over every text", maxUnguarded, minGuard)
		}
		s.unguarded = append(s.unguarded, n)
	}
	if s.guarded == nil {
		s.guarded = map[[minGuard]byte][]guard{}
	}
	for _, g := range e.guards {
		head := [minGuard]byte([]byte(g))
		s.guarded[head] = append(s.guarded[head], guard{g, n})
	}
	s.list = append(s.list, e)
	return nil
}

// find calls hit with where expressions match the text, at most so many times each.
// One pass over the text tells which can match at all.
func (s *regexRules) find(text string, from []int32, times int, applies func(rule int32) bool, hit func(rule, from, to int32)) {
	wanted := slices.Clone(s.unguarded)
	for i := 0; i+minGuard <= len(text); i++ {
		for _, g := range s.guarded[[minGuard]byte([]byte(text[i:i+minGuard]))] {
			if strings.HasPrefix(text[i:], g.text) && !slices.Contains(wanted, g.expression) {
				wanted = append(wanted, g.expression)
			}
		}
	}
	slices.Sort(wanted)
	for _, n := range wanted {
		e := &s.list[n]
		if !applies(e.rule) {
			continue
		}
		for _, at := range e.re.FindAllStringIndex(text, times) {
			if at[0] < at[1] {
				hit(e.rule, from[at[0]], from[at[1]-1]+1)
			}
		}
	}
}
