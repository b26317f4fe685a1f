package mm4

import (
	"errors"
	"net/mail"
	"strconv"
	"strings"
	"time"
)

// The headers that are named elsewhere.
const (
	hVersion          = "X-Mms-3GPP-MMS-Version"
	hType             = "X-Mms-Message-Type"
	hTransactionID    = "X-Mms-Transaction-ID"
	hMessageID        = "X-Mms-Message-ID"
	hRequestStatus    = "X-Mms-Request-Status-Code"
	hMMStatus         = "X-Mms-MM-Status-Code"
	hReadStatus       = "X-Mms-Read-Status"
	hFrom             = "From"
	hTo               = "To"
	hCc               = "Cc"
	hBcc              = "Bcc"
	hContentType      = "Content-Type"
	hTransferEncoding = "Content-Transfer-Encoding"
)

// errOdd says that a value means nothing to us; the header is kept in Header.Other.
var errOdd = errors.New("mm4: value is not readable")

// field is one header: how it is read into a Header, and written.
type field struct {
	name  string
	read  func(*Header, string) error
	write func(*Header) string // empty: the header is absent
	// once: two of them that differ are refused, because two readers may believe
	// one each.
	once bool
	// many: a second one adds to the first; else the first counts.
	many bool
}

// fields are the headers that a Header has fields for, in the order in which they are
// written.
var fields = []field{
	{hVersion, text(func(h *Header) *string { return &h.Version }).read, func(h *Header) string {
		if h.Version == "" {
			return DefaultVersion
		}
		return h.Version
	}, false, false},
	{hType, (*Header).readType, func(h *Header) string { return string(h.Type) }, true, false},
	text(func(h *Header) *string { return &h.TransactionID }).as(hTransactionID),
	text(func(h *Header) *string { return &h.MessageID }).as(hMessageID),
	text(func(h *Header) *string { return &h.OriginatorSystem }).as("X-Mms-Originator-System"),
	flag("X-Mms-Ack-Request", func(h *Header) *Flag { return &h.AckRequest }),
	flag("X-Mms-Delivery-Report", func(h *Header) *Flag { return &h.DeliveryReport }),
	flag("X-Mms-Read-Reply", func(h *Header) *Flag { return &h.ReadReply }),
	word("X-Mms-Message-Class", Classes(), func(h *Header) *Class { return &h.Class }),
	word("X-Mms-Priority", Priorities(), func(h *Header) *Priority { return &h.Priority }),
	{"X-Mms-Expiry", (*Header).readExpiry, func(h *Header) string { return h.Expiry.header() }, false, false},
	word("X-Mms-Sender-Visibility", Visibilities(), func(h *Header) *Visibility { return &h.SenderVisibility }),
	{"X-Mms-Forward-Counter", (*Header).readCounter, (*Header).writeCounter, true, false},
	{hRequestStatus, (*Header).readStatus, func(h *Header) string { return string(h.RequestStatus) }, true, false},
	people("X-Mms-Status-Text", func(h *Header) *string { return &h.StatusText }),
	list("X-Mms-Request-Recipients", func(h *Header) *[]Address { return &h.RequestRecipients }),
	{hMMStatus, (*Header).readMMStatus, func(h *Header) string { return string(h.MMStatus) }, true, false},
	word("X-Mms-MM-Status-Extension", Extensions(), func(h *Header) *Extension { return &h.MMStatusExtension }),
	flag("X-Mms-Forward-To-Originator-UA", func(h *Header) *Flag { return &h.ForwardToOriginator }),
	once(word(hReadStatus, ReadStatuses(), func(h *Header) *ReadStatus { return &h.ReadStatus })),
	{"Sender", (*Header).readSender, func(h *Header) string { return oneAddress(h.Sender) }, false, false},
	{hFrom, (*Header).readFrom, func(h *Header) string { return oneAddress(h.From) }, true, false},
	list(hTo, func(h *Header) *[]Address { return &h.To }),
	list(hCc, func(h *Header) *[]Address { return &h.Cc }),
	{hBcc, list(hBcc, func(h *Header) *[]Address { return &h.Bcc }).read, func(*Header) string { return "" }, false, true},
	people("Subject", func(h *Header) *string { return &h.Subject }),
	{"Date", (*Header).readDate, func(h *Header) string { return formatDate(h.Date) }, false, false},
	{"Message-ID", text(func(h *Header) *string { return &h.MailID }).read, func(h *Header) string {
		if h.MailID == "" {
			return ""
		}
		return "<" + h.MailID + ">"
	}, false, false},
}

// fieldByName has the fields by their names in lower case.
var fieldByName = func() map[string]*field {
	m := make(map[string]*field, len(fields))
	for i := range fields {
		m[strings.ToLower(fields[i].name)] = &fields[i]
	}
	return m
}()

// text is an id or another value for machines: without quotes and brackets, in ASCII.
func text(at func(*Header) *string) field {
	return field{
		read: func(h *Header, v string) error {
			v = CleanID(v)
			if len(v) > maxID || !isASCII(v) {
				return errOdd
			}
			*at(h) = v
			return nil
		},
		write: func(h *Header) string { return *at(h) },
	}
}

// as names a field that may come only once.
func (f field) as(name string) field {
	f.name, f.once = name, true
	return f
}

func once(f field) field { return f.as(f.name) }

// people is a value for people.
func people(name string, at func(*Header) *string) field {
	return field{
		name:  name,
		read:  func(h *Header, v string) error { *at(h) = decodeText(v); return nil },
		write: func(h *Header) string { return encodeText(cleanText(*at(h))) },
	}
}

func flag(name string, at func(*Header) *Flag) field {
	return field{
		name: name,
		read: func(h *Header, v string) error {
			f, ok := ParseFlag(v)
			if !ok {
				return errOdd
			}
			*at(h) = f
			return nil
		},
		write: func(h *Header) string { return at(h).String() },
	}
}

// word is a value of a closed list.
func word[T ~string](name string, words []T, at func(*Header) *T) field {
	return field{
		name: name,
		read: func(h *Header, v string) error {
			w, ok := parseWord(words, v)
			if !ok {
				return errOdd
			}
			*at(h) = w
			return nil
		},
		write: func(h *Header) string { return string(*at(h)) },
	}
}

// list is a list of addresses. Some peers write one header for each address.
func list(name string, at func(*Header) *[]Address) field {
	return field{
		name: name,
		read: func(h *Header, v string) error {
			as, err := ParseAddresses(v)
			if err != nil {
				return &Fault{Status: StatusAddress, Header: name, Detail: addressHelp, Err: err}
			}
			*at(h) = append(*at(h), as...)
			return nil
		},
		write: func(h *Header) string {
			var out []string
			for _, a := range *at(h) {
				out = append(out, a.header())
			}
			return strings.Join(out, ", ")
		},
		many: true,
	}
}

const addressHelp = "an address cannot be read; write it as +E164/TYPE=PLMN@domain"

func (h *Header) readType(v string) error {
	t, err := ParseType(v)
	if err != nil {
		return &Fault{Status: StatusUnsupported, Header: hType, Detail: "the message type is not known; it is one of the six of MM4", Err: err}
	}
	h.Type = t
	return nil
}

func (h *Header) readStatus(v string) error {
	s, ok := ParseStatus(v)
	h.RequestStatus = s
	if !ok {
		return errOdd
	}
	return nil
}

func (h *Header) readMMStatus(v string) error {
	s, ok := parseWord(MMStatuses(), v)
	if !ok {
		h.MMStatus = Indeterminate
		return errOdd
	}
	h.MMStatus = s
	return nil
}

// readSender takes what it can: a system's name that is no address is not needed.
func (h *Header) readSender(v string) error {
	a, err := ParseAddress(v)
	if err != nil {
		return errOdd
	}
	h.Sender = a
	return nil
}

// readFrom: a list has one member, and a hidden sender none.
func (h *Header) readFrom(v string) error {
	as, err := ParseAddresses(v)
	if err != nil || len(as) != 1 {
		return &Fault{Status: StatusAddress, Header: hFrom, Detail: addressHelp, Err: err}
	}
	h.From = as[0]
	return nil
}

func oneAddress(a Address) string {
	if a.IsZero() {
		return ""
	}
	return a.header()
}

// readCounter refuses what is no number: the counter is what ends a loop.
func (h *Header) readCounter(v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > 1<<20 {
		return corrupt("X-Mms-Forward-Counter", "it is no count; write a number such as 1")
	}
	h.ForwardCounter = n
	return nil
}

func (h *Header) writeCounter() string {
	if h.ForwardCounter <= 0 {
		return ""
	}
	return strconv.Itoa(h.ForwardCounter)
}

func (h *Header) readExpiry(v string) error {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		if n <= 0 || n > int64(maxExpiry/time.Second) {
			return errOdd
		}
		h.Expiry = Expiry{After: time.Duration(n) * time.Second}
		return nil
	}
	t, ok := parseDate(v)
	if !ok {
		return errOdd
	}
	h.Expiry = Expiry{At: t}
	return nil
}

func (e Expiry) header() string {
	if e.After > 0 {
		return strconv.FormatInt(int64(max(e.After/time.Second, 1)), 10)
	}
	return formatDate(e.At)
}

func (h *Header) readDate(v string) error {
	t, ok := parseDate(v)
	if !ok {
		return errOdd
	}
	h.Date = t
	return nil
}

// dateLayouts are forms that net/mail does not know, without the day of the week: of
// HTTP (RFC 9110 §5.6.7) and of ISO 8601.
var dateLayouts = []string{
	"02-Jan-06 15:04:05 -0700", time.ANSIC, time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05 -0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
}

// zones are the names of RFC 5322 §4.3. Any other is no zone for it, and read as +0000.
var zones = map[string]string{
	"EDT": "-0400", "EST": "-0500", "CDT": "-0500", "CST": "-0600", "MDT": "-0600", "MST": "-0700", "PDT": "-0700", "PST": "-0800",
}

// parseDate reads a date in one of the forms that occur. The time is in UTC, and
// false outside of the years 1970 to 9999, which other parts could not write.
func parseDate(v string) (time.Time, bool) {
	v = plainDate(v)
	t, err := mail.ParseDate(v)
	for i := 0; err != nil && i < len(dateLayouts); i++ {
		t, err = time.Parse(dateLayouts[i], v)
	}
	if err != nil {
		t, err = mail.ParseDate(v + " +0000") // it names no zone
	}
	t = t.UTC()
	return t, err == nil && t.Year() >= 1970 && t.Year() <= 9999
}

// plainDate takes out of a date what says nothing, and writes its zone in digits: what
// package time takes a zone's name for depends on where the machine stands.
func plainDate(v string) string {
	if _, rest, ok := strings.Cut(v, ","); ok {
		v = rest // behind the day of the week, in whatever language
	}
	if before, comment, ok := strings.Cut(v, "("); ok && strings.HasSuffix(comment, ")") {
		v = before
	}
	v = strings.TrimSpace(v)
	cut := strings.LastIndexByte(v, ' ')
	if cut < 0 {
		return v
	}
	switch zone := v[cut+1:]; {
	case strings.Trim(zone, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == "":
		digits, ok := zones[strings.ToUpper(zone)]
		if !ok {
			digits = "+0000"
		}
		return v[:cut+1] + digits
	case len(zone) == len("+14:00") && (zone[0] == '+' || zone[0] == '-'):
		return v[:cut+1] + strings.Replace(zone, ":", "", 1)
	}
	return v
}

// formatDate writes a date as RFC 5322 §3.3 has it.
func formatDate(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC1123Z)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
