package mm4

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// OutPart is a part to be written: a text, or what Open gives.
type OutPart struct {
	ContentType string // without parameters; empty for a text is text/plain
	Name        string // a file name; Write cleans it; empty: none
	ContentID   string // without brackets; empty: Write gives it one
	Text        string // in UTF-8, when Open is nil; line ends become CRLF

	// Open gives the content, of exactly Size octets. Write closes it.
	Open func() (io.ReadCloser, error)
	Size int64
}

// preferredLine is where headers are folded (RFC 5322 §2.1.1).
const preferredLine = 76

// maxOut is how many parts a message may have that we write.
const maxOut = DefaultParts - 1 // and the layout

// Write writes the message as a mail with CRLF line ends: the same octets for the
// same message, so that a second try is the same mail. Only a MM4_forward.REQ has
// parts. One text stands alone; more, or media, are a multipart/related with our
// layout first; what no layout can show is a multipart/mixed. Text goes as
// quoted-printable, media as base64, so every line has 78 octets or fewer but for
// headers that cannot be folded, and no octet is above 127.
//
// An error is a *Fault when the message cannot be written, which is known before
// anything is; else it is w's or a part's. Then w has the mail in part, and must not
// end it as if it were whole.
func Write(w io.Writer, h Header, parts []OutPart) error {
	m, err := compose(h, parts)
	if err != nil {
		return err
	}
	bw := bufio.NewWriter(w)
	if err := m.write(bw, (*OutPart).writeMedia); err != nil {
		return err
	}
	return bw.Flush()
}

// EncodedSize is how many octets Write would write, without opening a part: what
// SIZE= tells (RFC 1870), and what peers mean by a limit on the encoded message.
// Its error is the *Fault that Write would give.
func EncodedSize(h Header, parts []OutPart) (int64, error) {
	m, err := compose(h, parts)
	if err != nil {
		return 0, err
	}
	var n counter
	err = m.write(&n, func(p *OutPart, w io.Writer) error {
		*w.(*counter) += counter(base64Size(p.Size))
		return nil
	})
	return int64(n), err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// outMail is a message ready to be written.
type outMail struct {
	header   string // with the empty line
	layout   string // empty: none
	layoutID string
	mark     string // the boundary; empty: one text alone, or none
	parts    []OutPart
	headers  []string // of the parts, with the empty line
}

// compose checks all that can be wrong, and renders what is small.
func compose(h Header, parts []OutPart) (*outMail, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if h.Date.IsZero() {
		return nil, corrupt("Date", "the date is missing; set it")
	}
	if h.From.IsZero() || len(h.To)+len(h.Cc) == 0 {
		return nil, &Fault{Status: StatusAddress, Header: hFrom, Detail: "a message is from somebody and to somebody; set From, and To or Cc"}
	}
	if h.Type != ForwardREQ && len(parts) > 0 {
		return nil, corrupt("", "a %s has no parts; leave them out", h.Type)
	}
	if len(parts) > maxOut {
		return nil, content("the message has more than %d parts; send fewer", maxOut)
	}
	m := &outMail{}
	domain, err := m.take(&h, parts)
	if err != nil {
		return nil, err
	}
	kind, encoding := "text/plain; charset=us-ascii", ""
	switch {
	case len(m.parts) == 1 && m.parts[0].Open == nil:
		kind, encoding = "text/plain; charset=utf-8", "quoted-printable"
	case len(m.parts) > 0:
		m.mark = markOf(&h)
		m.layout = Layout(m.parts)
		kind = "multipart/mixed" + formatParam("boundary", m.mark)
		if m.layout != "" {
			m.layoutID = "smil" + domain
			kind = "multipart/related" + formatParam("boundary", m.mark) +
				formatParam("type", "application/smil") + formatParam("start", "<"+m.layoutID+">")
		}
	}
	var b strings.Builder
	if err := h.write(&b); err != nil {
		return nil, err
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	if err := writeField(&b, hContentType, kind); err != nil {
		return nil, err
	}
	if encoding != "" {
		b.WriteString(hTransferEncoding + ": " + encoding + "\r\n")
	}
	m.header = b.String() + "\r\n"
	return m, nil
}

// take copies the parts, completes them, and gives the domain that ids get, with its
// at sign.
func (m *outMail) take(h *Header, parts []OutPart) (domain string, err error) {
	if _, d, ok := strings.Cut(h.MessageID, "@"); ok && d != "" && strings.Trim(d, idOctets) == "" {
		domain = "@" + d
	}
	ids := map[string]bool{"smil" + domain: true}
	for i, p := range parts {
		if p.ContentType == "" && p.Open == nil {
			p.ContentType = "text/plain"
		}
		p.ContentType = strings.ToLower(p.ContentType)
		if p.ContentID == "" {
			p.ContentID = fmt.Sprintf("part-%d%s", i+1, domain)
		}
		p.Name = CleanName(p.Name)
		kind, _ := contentType(p.ContentType)
		switch {
		case kind != p.ContentType || strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/"):
			return "", corrupt(hContentType, "the type of part %d is none that a part can have; write one such as image/jpeg", i+1)
		case p.Open == nil && kind != "text/plain":
			return "", corrupt(hContentType, "part %d is a text and no text/plain; give its content by Open", i+1)
		case p.Size < 0:
			return "", corrupt("", "the size of part %d is negative; it is what Open gives", i+1)
		case len(p.ContentID) > maxID || p.ContentID != CleanID(p.ContentID) || !isASCII(p.ContentID) || strings.ContainsAny(p.ContentID, " <>"):
			return "", corrupt("Content-ID", "the id of part %d cannot be written; use letters, digits and @ . - _", i+1)
		case ids[p.ContentID]:
			return "", corrupt("Content-ID", "the id of part %d is that of another; give each its own", i+1)
		}
		ids[p.ContentID] = true
		head, err := p.header()
		if err != nil {
			return "", err
		}
		m.parts, m.headers = append(m.parts, p), append(m.headers, head)
	}
	return domain, nil
}

// markOf is the boundary, which is made of the message's id. It cannot stand in a
// part: quoted-printable has an equals sign only before two hex digits or at the end of
// a line, base64 only at its end, and the layout begins no line with a hyphen. So
// nothing has to be searched, and nothing to be drawn.
func markOf(h *Header) string {
	id, _, _ := strings.Cut(h.MessageID, "@")
	id = strings.Map(func(r rune) rune {
		if strings.ContainsRune(idOctets, r) {
			return r
		}
		return '-'
	}, id)
	return "b=_" + id[:min(len(id), 60)]
}

// write writes the header's fields in their order.
func (h *Header) write(b *strings.Builder) error {
	if err := h.checkAddresses(); err != nil {
		return err
	}
	for _, f := range fields {
		if f.name == "Sender" {
			if err := h.writeOther(b); err != nil {
				return err
			}
		}
		if v := f.write(h); v != "" {
			if err := writeField(b, f.name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeOther writes the headers that are passed on. Those that Write makes itself are
// left out: they are there because their value meant nothing.
func (h *Header) writeOther(b *strings.Builder) error {
	for _, f := range h.Other {
		name := strings.ToLower(f.Name)
		if fieldByName[name] != nil {
			continue
		}
		if !strings.HasPrefix(name, "x-mms-") || strings.Trim(name, idOctets) != "" {
			return corrupt("", "header %q is no X-Mms header and cannot be passed on; leave it out", clip(f.Name, 40))
		}
		if err := writeField(b, f.Name, f.Value); err != nil {
			return err
		}
	}
	return nil
}

// checkAddresses refuses those that a peer would not read as they are meant.
func (h *Header) checkAddresses() error {
	for _, l := range []struct {
		name string
		list []Address
	}{{"Sender", []Address{h.Sender}}, {hFrom, []Address{h.From}}, {hTo, h.To}, {hCc, h.Cc}, {"X-Mms-Request-Recipients", h.RequestRecipients}} {
		for _, a := range l.list {
			if !a.valid() && (l.name != "Sender" || !a.IsZero()) {
				return &Fault{Status: StatusAddress, Header: l.name, Detail: "an address cannot be written; it needs a number or e-mail address, and a domain of letters, digits, dots and hyphens"}
			}
		}
	}
	return nil
}

// writeField writes one header, folded at blanks. A value that could end a line, or
// that is longer than a line and has no blank, is refused.
func writeField(b *strings.Builder, name, value string) error {
	if !isASCII(value) {
		return corrupt(name, "the value has a line end, a control character, or a letter that is not ASCII; leave it out")
	}
	line := name + ":"
	for w := range strings.SplitSeq(value, " ") {
		if len(line)+1+len(w) > preferredLine && line != name+":" && w != "" {
			b.WriteString(line + "\r\n")
			line = ""
		}
		line += " " + w
		if len(line) > maxLine {
			return corrupt(name, "the value has a word of more than %d octets; shorten it", maxLine)
		}
	}
	b.WriteString(line + "\r\n")
	return nil
}

// write writes the mail; media writes what Open gives.
func (m *outMail) write(w io.Writer, media func(*OutPart, io.Writer) error) error {
	if _, err := io.WriteString(w, m.header); err != nil {
		return err
	}
	if m.mark == "" {
		if len(m.parts) == 0 || m.parts[0].Text == "" {
			return nil
		}
		if err := writeQP(w, m.parts[0].Text); err != nil {
			return err
		}
		_, err := io.WriteString(w, "\r\n")
		return err
	}
	if m.layout != "" {
		_, err := io.WriteString(w, "--"+m.mark+"\r\n"+hContentType+`: application/smil; charset=utf-8; name="layout.smil"`+"\r\n"+
			"Content-ID: <"+m.layoutID+">\r\n\r\n"+m.layout+"\r\n")
		if err != nil {
			return err
		}
	}
	for i := range m.parts {
		if err := m.writePart(w, i, media); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "--"+m.mark+"--\r\n")
	return err
}

// writePart writes one part with its boundary and the line end behind it.
func (m *outMail) writePart(w io.Writer, i int, media func(*OutPart, io.Writer) error) error {
	p := &m.parts[i]
	_, err := io.WriteString(w, "--"+m.mark+"\r\n"+m.headers[i])
	if err != nil {
		return err
	}
	if p.Open == nil {
		err = writeQP(w, p.Text)
	} else if err = media(p, w); err != nil {
		err = fmt.Errorf("mm4: part %d: %w", i+1, err)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "\r\n")
	return err
}

// header is the part's header with the empty line.
func (p *OutPart) header() (string, error) {
	var b strings.Builder
	kind, encoding := p.ContentType, "base64" // of a file nobody knows the charset
	if p.Open == nil {
		kind, encoding = kind+"; charset=utf-8", "quoted-printable"
	}
	if p.Name != "" {
		kind += formatParam("name", p.Name)
	}
	if err := writeField(&b, hContentType, kind); err != nil {
		return "", err
	}
	if err := writeField(&b, "Content-ID", "<"+p.ContentID+">"); err != nil {
		return "", err
	}
	if p.Open != nil && p.Name != "" && strings.Trim(p.Name, idOctets) == "" {
		b.WriteString("Content-Location: " + p.Name + "\r\n")
	}
	b.WriteString(hTransferEncoding + ": " + encoding + "\r\n\r\n")
	return b.String(), nil
}

// writeMedia writes what Open gives. Another number of octets than was promised is an
// error: the file has changed or broke off, and half of it must not look whole.
func (p *OutPart) writeMedia(w io.Writer) error {
	r, err := p.Open()
	if err != nil {
		return err
	}
	n, err := writeBase64(w, io.LimitReader(r, p.Size+1))
	if closed := r.Close(); err == nil {
		err = closed
	}
	if err == nil && n != p.Size {
		err = fmt.Errorf("it has %d octets or more, its size says %d", n, p.Size)
	}
	return err
}
