package jasmin

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// field is a parameter and its rule.
type field struct {
	needed  bool
	pattern *regexp.Regexp // nil: any text
	hidden  bool           // its value is not repeated in answers
}

// Names and passwords here are longer than Jasmin's, which have 16 or 30 characters.
var credentialPattern = regexp.MustCompile(`^.{1,255}$`)

var credentialFields = map[string]field{
	"username": {needed: true, pattern: credentialPattern, hidden: true},
	"password": {needed: true, pattern: credentialPattern, hidden: true},
}

var rateFields = with(credentialFields, map[string]field{
	"to":              {needed: true, pattern: regexp.MustCompile(`^\+?\d+$`)},
	"from":            {},
	"coding":          {pattern: regexp.MustCompile(`^([0-9]|10|13|14)$`)},
	"priority":        {pattern: regexp.MustCompile(`^[0-3]$`)},
	"validity-period": {pattern: regexp.MustCompile(`^\d+$`)},
	"tags":            {pattern: regexp.MustCompile(`^[-a-zA-Z0-9,]{0,256}$`)},
	"content":         {hidden: true},
	"hex-content":     {hidden: true},
})

var sendFields = with(rateFields, map[string]field{
	"sdt":        {pattern: regexp.MustCompile(`^\d{15}[-+R]$`)},
	"dlr":        {pattern: regexp.MustCompile(`^(yes|no)$`)},
	"dlr-url":    {pattern: regexp.MustCompile(`^https?://.*$`), hidden: true},
	"dlr-level":  {pattern: regexp.MustCompile(`^[1-3]$`)},
	"dlr-method": {pattern: regexp.MustCompile(`^(?i:get|post)$`)},
})

func with(fields, more map[string]field) map[string]field {
	all := make(map[string]field, len(fields)+len(more))
	for name, f := range fields {
		all[name] = f
	}
	for name, f := range more {
		all[name] = f
	}
	return all
}

// withDefaults fills in what Jasmin fills in.
func withDefaults(p url.Values) {
	if p.Has("dlr-url") || p.Has("dlr-level") {
		p.Set("dlr", "yes")
	}
	if p.Get("dlr") == "yes" && !p.Has("dlr-level") {
		p.Set("dlr-level", "1")
	}
}

const maxShown = 64

// check looks whether all parameters are known and right. The first thing that is wrong, in
// the order of names, is the answer.
func check(p url.Values, fields map[string]field) error {
	if len(p) == 0 {
		return &refusal{http.StatusBadRequest, noArguments}
	}
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, ok := fields[name]; !ok {
			return wrong("Argument [%s] is unknown.", shown(name))
		}
	}
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, name := range known {
		f, value := fields[name], p.Get(name)
		switch {
		case !p.Has(name) && f.needed:
			return wrong("Mandatory argument [%s] is not found.", name)
		case !p.Has(name) || f.pattern == nil || f.pattern.MatchString(value):
		case f.hidden:
			return wrong("Argument [%s] has an invalid value.", name)
		default:
			return wrong("Argument [%s] has an invalid value: [%s].", name, shown(value))
		}
	}
	return nil
}

func wrong(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// shown makes what somebody sent fit to stand in an answer between quotes.
func shown(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown]
	}
	out := []byte(s)
	for i, c := range out {
		if c < ' ' || c > '~' || c == '"' {
			out[i] = '.'
		}
	}
	return string(out)
}

// times reads when a message is to leave, and how long it is worth delivering.
func times(p url.Values, now time.Time, r *ingress.Request) error {
	if s := p.Get("sdt"); s != "" {
		at, err := smpp.ParseTime(s, now)
		if err != nil {
			return wrong("Argument [sdt] has an invalid value: [%s].", shown(s))
		}
		r.SendAt = at
	}
	if s := p.Get("validity-period"); s != "" {
		minutes, err := strconv.Atoi(s)
		if most := int(message.MaxValidity / time.Minute); err != nil || minutes < 1 || minutes > most {
			return wrong("Argument [validity-period] has an invalid value: [%s].", shown(s))
		}
		r.Validity = time.Duration(minutes) * time.Minute
	}
	return nil
}

// content reads what is to be sent. With coding 0 content is UTF-8; with others, and in
// hex-content, it is the octets of the alphabet, as a submit_sm has them.
func content(p url.Values, r *ingress.Request) error {
	name, octets := "content", p.Get("content")
	switch {
	case p.Has("content") && p.Has("hex-content"):
		return wrong("content and hex-content cannot be used both in same request.")
	case p.Has("hex-content"):
		name = "hex-content"
		raw, err := hex.DecodeString(p.Get("hex-content"))
		if err != nil {
			return wrong("Invalid hex-content data")
		}
		octets = string(raw)
	}
	if octets == "" {
		return wrong("content or hex-content not present.")
	}
	n, _ := strconv.Atoi(p.Get("coding")) // by its pattern a number, or left out
	coding := byte(n)
	switch {
	case coding == 0 && name == "content":
		if !rest.Text(octets) {
			return wrong("Argument [content] has an invalid value.")
		}
		r.Body = octets
		return nil
	case text.IsBinary(coding):
		r.Body, r.Encoding, r.DataCoding = octets, message.EncodingBinary, coding
		return nil
	case !slices.Contains(alphabets, coding):
		return wrong("Argument [coding] has an invalid value: [%d].", coding)
	}
	body, ok := text.DecodeStrict(coding, "gsm7", []byte(octets))
	if !ok || body == "" || !rest.Text(body) {
		return wrong("Argument [%s] has an invalid value.", name)
	}
	r.Body, r.Encoding = body, message.EncodingAuto
	if text.IsUCS2(coding) {
		r.Encoding = message.EncodingUCS2
	}
	return nil
}

// alphabets are the codings of text that can be read, as over SMPP.
var alphabets = []byte{0, 1, 3, 6, 7, 8}
