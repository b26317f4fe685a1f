package mm4

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-message/textproto"
)

// Limits bound what a mail may hold. A zero field means its default.
type Limits struct {
	Header     int // octets of the mail's header; DefaultHeader
	PartHeader int // octets of a part's header; DefaultPartHeader
	Parts      int // leaves, and multiparts, each; DefaultParts
	Depth      int // multiparts within each other; DefaultDepth
}

// The defaults. Messages of real peers have a handful of parts, two levels deep.
const (
	DefaultHeader     = 64 << 10
	DefaultPartHeader = 16 << 10
	DefaultParts      = 25
	DefaultDepth      = 4
)

func (l Limits) orDefault() Limits {
	or := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	or(&l.Header, DefaultHeader)
	or(&l.PartHeader, DefaultPartHeader)
	or(&l.Parts, DefaultParts)
	or(&l.Depth, DefaultDepth)
	return l
}

// Reader reads one MM4 message from a mail. It is not safe for concurrent use.
type Reader struct {
	// Header is what the mail's header says.
	Header Header

	limits Limits
	split  *splitter
	root   textproto.Header // for the MIME headers
	levels []level          // one for each open multipart
	leaves int
	nodes  int // multiparts
	groups int // multipart/alternative
	begun  bool
	part   *Part // the last one that was given out
	err    error // of Next; it stays
}

// level is an open multipart.
type level struct {
	group  int  // of the multipart/alternative that it is or is in; 0: none
	option int  // which of the alternatives comes now, from 1
	chosen bool // it is the multipart/alternative itself
}

// Alternative tells which parts say the same: those with the same Group, from 1, and
// different Options. Parts with the same Option belong together. The zero Alternative
// is of a part that has none.
type Alternative struct{ Group, Option int }

// Part is a leaf of the MIME tree.
type Part struct {
	// ContentType is in lower case without parameters: text/plain when none is given,
	// application/octet-stream when what is given is none.
	ContentType string
	Params      map[string]string // of Content-Type; names in lower case
	// Charset is as the part says it, empty when it does not. A text has been
	// converted from it to UTF-8 already.
	Charset string
	// CharsetErr is a *CharsetError when Charset is not known: the text may read odd.
	CharsetErr      error
	Name            string // a clean file name, see CleanName; empty: none
	ContentID       string // without brackets
	ContentLocation string // one line, otherwise as written
	Disposition     string // in lower case: attachment, inline, or empty
	Alternative     Alternative
	// Body is the content without its transfer encoding. It ends with the next call of
	// Next. A text (see IsText) is UTF-8 with LF at the ends of lines. An error is a
	// *Fault, or the source's own.
	Body io.Reader

	over bool
}

// IsText reports whether the part is text of the message.
func (p *Part) IsText() bool { return p.ContentType == "text/plain" && !p.IsSMIL() }

// IsSMIL reports whether the part is layout, which the gateway makes itself.
func (p *Part) IsSMIL() bool {
	if strings.HasPrefix(p.ContentType, "application/smil") {
		return true
	}
	if major, _, _ := strings.Cut(p.ContentType, "/"); major != "text" && major != "application" {
		return false
	}
	name := strings.ToLower(p.Name)
	return strings.HasSuffix(name, ".smil") || strings.HasSuffix(name, ".smi")
}

// NewReader reads and checks the header of a mail; it reads ahead 4 KiB at most.
//
// An error is a *Fault, or the source's own. With a *Fault about what the header means
// the Reader is not nil: its Header holds what could be read, so that a response can
// be sent if it asks for one. Its parts cannot be read.
func NewReader(r io.Reader, limits Limits) (*Reader, error) {
	limits = limits.orDefault()
	s := newSplitter(r)
	h, err := readBlock(s, limits.Header, true)
	if err != nil {
		return nil, err
	}
	m := &Reader{limits: limits, split: s, root: h}
	if m.err = m.Header.parse(h); m.err != nil {
		return m, m.err
	}
	return m, nil
}

// readBlock reads a header and cuts it into fields.
func readBlock(s *splitter, limit int, strict bool) (textproto.Header, error) {
	block, err := s.block(limit, strict)
	if err != nil {
		return textproto.Header{}, err
	}
	h, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(append(block, "\r\n"...))))
	if err != nil {
		return h, corrupt("", "a header has a line that is no field, or too many; write Name: value, and fold with a blank")
	}
	return h, nil
}

// parse reads all headers that mean something. Everything is read before the first
// fault is told, because a response needs the ids.
func (h *Header) parse(src textproto.Header) error {
	var first, address error
	fault := func(err error) {
		var f *Fault
		switch {
		case !errors.As(err, &f):
		case f.Status == StatusAddress:
			address = cmp.Or(address, err)
		case first == nil:
			first = err
		}
	}
	seen := make(map[string]string)
	for f := src.Fields(); f.Next(); {
		name := strings.ToLower(f.Key())
		value := f.Value()
		before, again := seen[name]
		seen[name] = value
		known := fieldByName[name]
		switch {
		case again && before != value && (known != nil && known.once || mimeHeaders[name]):
			display := f.Key()
			if known != nil {
				display = known.name
			}
			fault(corrupt(display, "the header comes twice and differs; send it once"))
		case known == nil && strings.HasPrefix(name, "x-mms-"):
			h.keep(f.Key(), value)
		case known == nil || value == "" || again && !known.many:
		default:
			err := known.read(h, value)
			if err == errOdd && strings.HasPrefix(name, "x-mms-") {
				h.keep(known.name, value)
			}
			fault(err)
		}
	}
	if h.Type == "" { // nothing else can be judged
		if v := src.Get(hType); v != "" {
			return h.readType(v)
		}
		return corrupt(hType, "the mail has no message type, so it is no MM4 message; add the header")
	}
	// A report and a response are found by their ids, so an address in one that cannot be
	// read, such as the bare name of an MMSC, must not lose it.
	if first == nil && h.Type == ForwardREQ {
		first = address
	}
	if first == nil {
		first = h.check()
	}
	return first
}

// mimeHeaders decide how the body is read.
var mimeHeaders = map[string]bool{"content-type": true, "content-transfer-encoding": true}

func (h *Header) keep(name, value string) {
	if len(h.Other) < maxOther {
		h.Other = append(h.Other, Field{name, value})
	}
}

// Next gives the next part; what was not read of the last one is passed over. After
// the last part it reads on to the end of the mail and gives io.EOF. Any other error
// is a *Fault, or the source's own, and stays.
func (m *Reader) Next() (*Part, error) {
	if m.part != nil {
		m.part.over = true
	}
	if m.err != nil {
		return nil, m.err
	}
	m.part, m.err = m.next()
	return m.part, m.err
}

func (m *Reader) next() (*Part, error) {
	if !m.begun {
		m.begun = true
		if p, err := m.enter(m.root); p != nil || err != nil {
			return p, err
		}
	}
	for {
		b, err := m.split.skip()
		if err != nil {
			return nil, err
		}
		keep := b.level + 1
		if b.last {
			keep--
		}
		m.levels, m.split.open = m.levels[:keep], m.split.open[:keep]
		if b.last {
			continue
		}
		if l := &m.levels[b.level]; l.chosen {
			l.option++
		}
		h, err := readBlock(m.split, m.limits.PartHeader, false)
		if err != nil {
			return nil, err
		}
		if p, err := m.enter(h); p != nil || err != nil {
			return p, err
		}
	}
}

// enter makes a part of what has the header h, or opens the multipart that it is.
func (m *Reader) enter(h textproto.Header) (*Part, error) {
	kind, params := contentType(h.Get(hContentType))
	if !strings.HasPrefix(kind, "multipart/") {
		return m.leaf(h, kind, params)
	}
	mark := params["boundary"]
	if mark = strings.TrimRight(mark, " \t"); mark == "" || len(mark) > maxLine/2 {
		return nil, corrupt(hContentType, "a multipart has no boundary that can be used; name one of up to 70 characters")
	}
	if len(m.levels) >= m.limits.Depth {
		return nil, content("multiparts are nested more than %d deep; flatten them", m.limits.Depth)
	}
	if m.nodes++; m.nodes > m.limits.Parts {
		return nil, content("the message has more than %d multiparts; flatten them", m.limits.Parts)
	}
	l := level{}
	if kind == "multipart/alternative" {
		m.groups++
		l = level{group: m.groups, chosen: true}
	} else if n := len(m.levels); n > 0 {
		l = level{group: m.levels[n-1].group, option: m.levels[n-1].option}
	}
	m.levels = append(m.levels, l)
	m.split.open = append(m.split.open, "--"+mark)
	return nil, nil
}

func (m *Reader) leaf(h textproto.Header, kind string, params map[string]string) (*Part, error) {
	if m.leaves++; m.leaves > m.limits.Parts {
		return nil, content("the message has more than %d parts; send fewer", m.limits.Parts)
	}
	disposition, dparams := parseParams(h.Get("Content-Disposition"))
	p := &Part{
		ContentType:     kind,
		Params:          params,
		Charset:         params["charset"],
		ContentID:       cleanText(CleanID(h.Get("Content-Id"))),
		ContentLocation: cleanText(h.Get("Content-Location")),
		Disposition:     disposition,
	}
	for _, name := range []string{dparams["filename"], params["name"]} {
		if p.Name == "" {
			p.Name = CleanName(decodeText(name))
		}
	}
	if n := len(m.levels); n > 0 {
		p.Alternative = Alternative{m.levels[n-1].group, m.levels[n-1].option}
	}
	body, err := transferReader(h.Get(hTransferEncoding), &body{m.split, p})
	if err != nil {
		return nil, err
	}
	switch {
	case p.IsText():
		body, p.CharsetErr = toUTF8(p.Charset, body)
		body = &lineEnds{src: body}
	case strings.HasPrefix(kind, "text/") && (p.Charset != "" || kind == "text/html"):
		body, p.CharsetErr = toUTF8(p.Charset, body)
	}
	p.Body = body
	return p, nil
}

// contentType reads Content-Type; RFC 2045 §5.2 says what the absent one is, and that
// an unreadable one is the same. "text" alone is what some programs write for it.
func contentType(v string) (string, map[string]string) {
	kind, params := parseParams(v)
	major, minor, ok := strings.Cut(kind, "/")
	switch {
	case kind == "" || kind == "text":
		return "text/plain", params
	case !ok || major == "" || minor == "" || strings.ContainsAny(kind, " \t\"<>@,()[]=?\\") || !isASCII(kind):
		return "application/octet-stream", params
	}
	return kind, params
}

// errOver is what a part's body says once Next was called.
var errOver = errors.New("mm4: the part's body was read after the next part was asked for")

// body is a part of the mail as it came.
type body struct {
	split *splitter
	part  *Part
}

// Read ends at the boundary.
func (b *body) Read(p []byte) (int, error) {
	if b.part.over {
		return 0, errOver
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.split.Read(p)
	if err == errBoundary {
		err = io.EOF
	}
	return n, err
}
