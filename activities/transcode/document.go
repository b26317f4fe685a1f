package transcode

import (
	"bytes"
	"unicode/utf8"
)

// maxText is the most octets of a contact, an event or a text: there is no honest
// larger one, and phones choke on them.
const maxText = 64 << 10

// document passes what nobody converts, after a look at it.
func (j *job) document() (outcome, error) {
	f := j.format
	if !j.profile.Takes(f.contentType) {
		return outcome{}, rejected("%s does not take this type", j.profile.Name)
	}
	if most := j.profile.PartLimit(f.contentType); most > 0 && j.part.Size > most {
		return outcome{}, rejected("%d octets are over the limit of %d", j.part.Size, most)
	}
	if f == formatPDF {
		return j.untouched(), nil
	}
	b, err := j.read()
	if err != nil {
		return outcome{}, err
	}
	if len(b) > maxText {
		return outcome{}, rejected("%d octets are over the limit of %d for this type", len(b), maxText)
	}
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return outcome{}, rejected("it is not UTF-8 text")
	}
	end := map[format]string{formatVCard: "END:VCARD", formatCalendar: "END:VCALENDAR"}[f]
	if !bytes.HasSuffix(bytes.ToUpper(bytes.TrimSpace(b)), []byte(end)) {
		return outcome{}, rejected("it breaks off: %s is missing at its end", end)
	}
	return j.untouched(), nil
}
