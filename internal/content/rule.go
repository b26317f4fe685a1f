// Package content looks for what may not be in a text: words, patterns, links and
// phone numbers that content rules name.
//
// The rules of everybody and those of one account are compiled into sets, once, when
// the configuration is read. A text is cleaned of what hides words (see clean.go),
// and each set goes over it: all its words in one pass, its links and phone numbers
// by look-up, and its regular expressions only where a piece of text that they need
// occurs at all. Regular expressions are RE2: no rule can stall the gateway.
//
// The rule not to break: no I/O, no clock, no state; and nothing here puts any of
// a text into an error or a log.
package content

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// Kind is how a rule's pattern is read.
type Kind string

// The kinds.
const (
	// KindWord is words or phrases, one a line. A star at the end stands for any
	// further letters: casino* finds casinos.
	KindWord Kind = "word"
	// KindRegex is one RE2 pattern, matched against the cleaned text without regard
	// to case.
	KindRegex Kind = "regex"
	// KindLink is domains, one a line, each with what is below it; or * for any link,
	// @shorteners, @ip (a host that is an address), @userinfo (a name before the host)
	// or @undeclared (any, if the campaign was registered without links).
	KindLink Kind = "link"
	// KindPhone is beginnings of numbers in E.164, one a line, such as +1900; or * for
	// any phone number, or @undeclared (any, if the campaign was registered without).
	KindPhone Kind = "phone"
)

// Action is what is done with a text that a rule matches.
type Action string

// The actions.
const (
	// ActionAllow belongs to an account's own rules: what others would flag or hold
	// for the same class passes.
	ActionAllow  Action = "allow"
	ActionFlag   Action = "flag" // it passes, and is noted and counted
	ActionHold   Action = "hold" // it waits until somebody has looked at it
	ActionRefuse Action = "refuse"
)

// strength orders the actions; what is no action is weaker than all.
func (a Action) strength() int {
	return slices.Index([]Action{ActionAllow, ActionFlag, ActionHold, ActionRefuse}, a)
}

// Classes are what a rule may be about: the carriers' prohibited content, marks of
// spam, and what staff think of.
var Classes = []string{
	"sex", "hate", "alcohol", "firearms", "tobacco", "cannabis", // SHAFT
	"drugs", "gambling", "lending", "debt", "sweepstakes", "jobs", "investment",
	"phishing", "malware", "delivery", "shortener", "link", "phone", "spam", "other",
}

// Rule is a content rule.
type Rule struct {
	ID           message.ID
	AccountID    message.ID // zero: it is global
	Name         string     // unique among the account's, or the global ones
	Kind         Kind
	Class        string // one of Classes
	Pattern      string
	Action       Action
	MessageClass message.Class // the messages that it is for; empty: all
	From         time.Time     // since when it counts
	Active       bool
	Actor        string // who changed it last
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Bounds of rules.
const (
	maxName    = 100    // characters
	maxPattern = 16_384 // octets of a list
	maxRegex   = 1_000  // octets
	// maxProgram bounds the compiled size of a regular expression in instructions,
	// and with it what a character of text can cost.
	maxProgram = 500
	// maxUnguarded is how many regular expressions of a set may be without a piece
	// of text that must occur: each of them goes over every text.
	maxUnguarded = 20
	// MaxRules is how many active rules a scope may have.
	MaxRules = 12_000
	// maxText is how much of a text is looked at, in octets: more than an MMS has.
	maxText = 32_768
)

// Check reports what is wrong with a rule before it is stored.
func (r *Rule) Check() error {
	if err := r.checkFields(); err != nil {
		return message.Refuse(message.ReasonInvalidRequest, "%s", err.Error())
	}
	one := *r
	one.Active, one.From = true, time.Time{}
	if _, problems := Compile([]Rule{one}, time.Now()); len(problems) > 0 {
		return message.Refuse(message.ReasonInvalidRequest, "pattern: %s", problems[0].Err.Error())
	}
	return nil
}

func (r *Rule) checkFields() error {
	switch {
	case strings.TrimSpace(r.Name) == "" || utf8.RuneCountInString(r.Name) > maxName || strings.ContainsFunc(r.Name, unicode.IsControl):
		return fmt.Errorf("name: 1 to %d characters", maxName)
	case !slices.Contains([]Kind{KindWord, KindRegex, KindLink, KindPhone}, r.Kind):
		return errors.New("kind: want word, regex, link or phone")
	case r.Action.strength() < 0:
		return errors.New("action: want allow, flag, hold or refuse")
	case r.Action == ActionAllow && r.AccountID == (message.ID{}):
		return errors.New("action: allow is for the rules of one account")
	case !slices.Contains(Classes, r.Class):
		return fmt.Errorf("class: want one of %s", strings.Join(Classes, ", "))
	case r.MessageClass != "" && !r.MessageClass.Valid():
		return errors.New("message_class: want otp, conversation or bulk, or nothing for all")
	case !utf8.ValidString(r.Pattern) || strings.ContainsRune(r.Pattern, 0):
		return errors.New("pattern: it is not UTF-8 text")
	}
	return nil
}

// Problem is a rule that cannot be used, and why. It is left out of its set.
type Problem struct {
	Rule Rule
	Err  error
}

// lines are the entries of a list.
func lines(pattern string) []string {
	var list []string
	for line := range strings.Lines(pattern) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// Filter narrows a list of rules. The zero value does not narrow.
type Filter struct {
	AccountID message.ID // of this account alone
	Global    bool       // without those of accounts
	Active    bool       // without those that are not in force
}
