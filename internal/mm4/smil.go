package mm4

import (
	"fmt"
	"strings"
)

// slide is what is shown together.
type slide struct{ visual, text, audio *OutPart }

// timed reports whether the slide lasts as long as what plays in it.
func (s slide) timed() bool {
	return s.audio != nil || s.visual != nil && strings.HasPrefix(s.visual.ContentType, "video/")
}

// slides puts parts together in their order: each slide has one picture or video, one
// text, and one sound unless it has a video. Parts that a layout cannot show, such as
// cards and documents, are in none.
func slides(parts []OutPart) []slide {
	var out []slide
	place := func(p *OutPart, at func(*slide) **OutPart, free func(slide) bool) {
		if n := len(out); n == 0 || *at(&out[n-1]) != nil || !free(out[n-1]) {
			out = append(out, slide{})
		}
		*at(&out[len(out)-1]) = p
	}
	always := func(slide) bool { return true }
	for i := range parts {
		p := &parts[i]
		major, _, _ := strings.Cut(p.ContentType, "/")
		switch {
		case major == "video":
			place(p, func(s *slide) **OutPart { return &s.visual }, func(s slide) bool { return s.audio == nil })
		case major == "image":
			place(p, func(s *slide) **OutPart { return &s.visual }, always)
		case major == "audio":
			place(p, func(s *slide) **OutPart { return &s.audio }, func(s slide) bool { return !s.timed() })
		case p.ContentType == "text/plain":
			place(p, func(s *slide) **OutPart { return &s.text }, always)
		}
	}
	return out
}

// slideSeconds is how long a slide is shown whose parts have no length themselves.
const slideSeconds = 5

// Layout is the presentation of a message (SMIL 2.0 basic, as far as TS 26.140 and
// handsets go): a region for pictures above one for text, one slide after the other.
// The parts are named by their ContentID, which they must have. It is ASCII, in lines
// that end in CRLF; empty when there is nothing to show.
func Layout(parts []OutPart) string {
	list := slides(parts)
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("<smil><head><layout>\r\n" +
		`<region id="Image" top="0" left="0" width="100%" height="70%" fit="meet"/>` + "\r\n" +
		`<region id="Text" top="70%" left="0" width="100%" height="30%" fit="scroll"/>` + "\r\n" +
		"</layout></head><body>\r\n")
	for _, s := range list {
		if s.timed() {
			b.WriteString("<par>\r\n")
		} else {
			fmt.Fprintf(&b, "<par dur=\"%ds\">\r\n", slideSeconds)
		}
		if v := s.visual; v != nil {
			element := "img"
			if s.timed() && strings.HasPrefix(v.ContentType, "video/") {
				element = "video"
			}
			fmt.Fprintf(&b, "<%s src=\"%s\" region=\"Image\"/>\r\n", element, cidURL(v.ContentID))
		}
		if s.text != nil {
			fmt.Fprintf(&b, "<text src=\"%s\" region=\"Text\"/>\r\n", cidURL(s.text.ContentID))
		}
		if s.audio != nil {
			fmt.Fprintf(&b, "<audio src=\"%s\"/>\r\n", cidURL(s.audio.ContentID))
		}
		b.WriteString("</par>\r\n")
	}
	b.WriteString("</body></smil>\r\n")
	return b.String()
}

// cidURL names a part (RFC 2392). What percentEncode leaves, and the at sign, need no
// escape in XML.
func cidURL(id string) string {
	return "cid:" + strings.ReplaceAll(percentEncode(id), "%40", "@")
}
