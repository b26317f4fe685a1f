// Package mediaprofile holds what vendors and carriers take of files: types, sizes,
// lengths. A profile is a row of the configuration. Those that this release brings are
// there without one, until a row of the same name takes their place.
package mediaprofile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The choices of a profile.
const (
	VideoH264 = "h264" // H.264 baseline and AAC in MP4
	VideoH263 = "h263" // H.263 and AMR in 3GP, for old handsets

	AudioAAC = "aac" // audio/mp4
	AudioMP3 = "mp3" // audio/mpeg
	AudioAMR = "amr" // audio/amr, narrow band

	GIFKeep       = "keep"        // fewer colours, frames and pixels; the first frame if that does not help
	GIFFirstFrame = "first_frame" // a still
	GIFVideo      = "video"       // a video without sound

	TransparencyKeep  = "keep"  // as PNG while that fits; else on white
	TransparencyWhite = "white" // on white, as JPEG

	Pass   = "pass"   // as it is
	Refuse = "refuse" // ReasonMediaRejected
)

// What is looked at at all, whatever a profile says.
const (
	MaxSide    = 12_000 // pixels of a picture's or a video's longer side
	MaxSeconds = 600    // of video and sound; a message holds some seconds
)

// Profile is what a vendor or a carrier takes: a row of the configuration. Use
// it by value; nothing here changes one.
type Profile struct {
	Name string `json:"name"`
	// Types are the content types it takes of pictures, video, sound and text, such as
	// image/jpeg. Documents has the others.
	Types []string `json:"types"`
	// MessageBytes is the most that all parts, the text and the layout together may
	// have, 40,000 to 25,000,000 octets.
	MessageBytes int64 `json:"message_bytes"`
	// Encoded: MessageBytes, PartBytes and OtherBytes count base64 with its line
	// breaks, which is 1.37 times the binary.
	Encoded bool `json:"encoded,omitempty"`
	// PartBytes is the most that one part may have, in octets; 0: only MessageBytes counts.
	PartBytes int64 `json:"part_bytes,omitempty"`
	// OtherBytes is the most for a part that is neither JPEG, PNG nor GIF (Twilio
	// shrinks those three itself); 0: as PartBytes.
	OtherBytes int64 `json:"other_bytes,omitempty"`
	// MaxParts is how many parts it takes, 1 to 100.
	MaxParts int `json:"max_parts"`
	// MaxSide is the most pixels of a picture's or a video's longer side, 160 to 12,000.
	MaxSide int `json:"max_side"`
	// Video is the family a video is converted to: h264 or h263.
	Video string `json:"video"`
	// Audio is what sound alone is converted to: aac, mp3 or amr. Sound that would be
	// too large goes on to AMR where audio/amr is taken.
	Audio string `json:"audio"`
	// MaxSeconds bounds the length of video and sound; 0: only the octets do, for a
	// video needs 64 kbit/s to be worth looking at.
	MaxSeconds int `json:"max_seconds,omitempty"`
	// Cut: what is too long is cut; else it is refused.
	Cut bool `json:"cut,omitempty"`
	// AnimatedGIF is what becomes of an animation that does not fit: keep, first_frame
	// or video.
	AnimatedGIF string `json:"animated_gif"`
	// Transparency is what becomes of it in a picture that does not fit: keep or white.
	Transparency string `json:"transparency"`
	// Documents tells which of those that nobody converts are passed on.
	Documents Documents `json:"documents"`
}

// Documents says pass or refuse of each kind; empty is refuse.
type Documents struct {
	VCard    string `json:"vcard"`
	Calendar string `json:"calendar"`
	PDF      string `json:"pdf"`
}

// knownTypes are those a profile may list: what this package recognises by its
// octets and may send.
var knownTypes = []string{
	"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/heic", "image/avif",
	"video/mp4", "video/3gpp", "video/quicktime", "video/webm",
	"audio/mp4", "audio/mpeg", "audio/amr", "audio/aac", "audio/wav", "audio/ogg", "audio/flac",
	"text/plain",
}

// Takes reports whether the profile takes a content type as it is.
func (p Profile) Takes(contentType string) bool {
	switch contentType {
	case "text/vcard":
		return p.Documents.VCard == Pass
	case "text/calendar":
		return p.Documents.Calendar == Pass
	case "application/pdf":
		return p.Documents.PDF == Pass
	}
	return slices.Contains(p.Types, contentType)
}

var nameRule = regexp.MustCompile(`^[a-z0-9_-]{1,50}$`)

// Validate judges a profile before it is stored. The error is a *Fault with the first
// field that breaks a rule.
func (p Profile) Validate() error {
	between := func(field string, v, low, high int64) *Fault {
		if v < low || v > high {
			return &Fault{field, fmt.Sprintf("must be from %d to %d", low, high)}
		}
		return nil
	}
	for _, fault := range []*Fault{
		between("message_bytes", p.MessageBytes, 40_000, 25_000_000),
		between("part_bytes", p.PartBytes, 0, p.MessageBytes),
		between("other_bytes", p.OtherBytes, 0, p.MessageBytes),
		between("max_parts", int64(p.MaxParts), 1, 100),
		between("max_side", int64(p.MaxSide), 160, MaxSide),
		between("max_seconds", int64(p.MaxSeconds), 0, MaxSeconds),
	} {
		if fault != nil {
			return fault
		}
	}
	if !nameRule.MatchString(p.Name) {
		return &Fault{"name", "must be 1 to 50 of lower-case letters, digits, _ and -"}
	}
	if len(p.Types) > len(knownTypes) {
		return &Fault{"types", fmt.Sprintf("must be at most %d", len(knownTypes))}
	}
	for _, t := range p.Types {
		if !slices.Contains(knownTypes, t) {
			return &Fault{"types", fmt.Sprintf("has %.50q, which cannot be sent; known are %s", t, strings.Join(knownTypes, ", "))}
		}
	}
	// Everything else falls back on it.
	if !slices.Contains(p.Types, "image/jpeg") {
		return &Fault{"types", "must contain image/jpeg, to which pictures are converted"}
	}
	return p.validateChoices()
}

func (p Profile) validateChoices() error {
	for _, c := range []struct {
		field, value string
		may          []string
	}{
		{"video", p.Video, []string{VideoH264, VideoH263}},
		{"audio", p.Audio, []string{AudioAAC, AudioMP3, AudioAMR}},
		{"animated_gif", p.AnimatedGIF, []string{GIFKeep, GIFFirstFrame, GIFVideo}},
		{"transparency", p.Transparency, []string{TransparencyKeep, TransparencyWhite}},
		{"documents.vcard", p.Documents.VCard, []string{Pass, Refuse, ""}},
		{"documents.calendar", p.Documents.Calendar, []string{Pass, Refuse, ""}},
		{"documents.pdf", p.Documents.PDF, []string{Pass, Refuse, ""}},
	} {
		if !slices.Contains(c.may, c.value) {
			return &Fault{c.field, fmt.Sprintf("must be one of %q", c.may)}
		}
	}
	if p.AnimatedGIF == GIFVideo && !p.Takes(VideoType(p.Video)) {
		return &Fault{"animated_gif", fmt.Sprintf("cannot be %s when types do not contain %s", GIFVideo, VideoType(p.Video))}
	}
	return nil
}

// VideoType is the content type of what a family of Video gives.
func VideoType(family string) string {
	if family == VideoH263 {
		return "video/3gpp"
	}
	return "video/mp4"
}

// usual are the types that every handset of the last fifteen years shows.
var usual = []string{"image/jpeg", "image/png", "image/gif", "video/mp4", "video/3gpp", "audio/mp4", "audio/mpeg", "audio/amr", "text/plain"}

// Defaults are the rows that an installation begins with. Vendors and carriers
// contradict each other about their limits; where they do the smaller figure is
// here, and the row may be changed. Sources: the pages of Telnyx, Twilio,
// Bandwidth, Sinch and Infobip about MMS, as of 2026; KB and MB are decimal.
func Defaults() []Profile {
	row := func(name string, messageBytes int64) Profile {
		return Profile{Name: name, Types: slices.Clone(usual), MessageBytes: messageBytes, MaxParts: 10, MaxSide: 1920,
			Video: VideoH264, Audio: AudioAAC, MaxSeconds: 60, AnimatedGIF: GIFKeep, Transparency: TransparencyKeep,
			Documents: Documents{VCard: Pass, Calendar: Pass, PDF: Refuse}}
	}
	twilio := row("twilio", 5_000_000)
	twilio.OtherBytes = 500_000
	twilio.Documents.PDF = Pass
	// MM4 carries mail, and peers count it as it travels.
	mm4 := row("mm4", 600_000)
	mm4.Encoded = true
	return []Profile{
		row("default", 600_000), // the carrier is unknown
		row("toll_free", 600_000),
		row("rural", 300_000), // what every carrier takes
		row("att", 1_000_000),
		row("tmobile", 1_000_000),
		row("verizon", 1_000_000),
		row("uscellular", 1_460_000),
		row("telnyx", 1_000_000),
		twilio,
		mm4,
	}
}

// Binary turns a limit into one of binary octets.
func (p Profile) Binary(limit int64) int64 {
	if p.Encoded {
		return limit * 100 / 137
	}
	return limit
}

// PartLimit is the most for one part of a type; 0: none but the message's.
func (p Profile) PartLimit(contentType string) int64 {
	switch contentType {
	case "image/jpeg", "image/png", "image/gif":
	default:
		if p.OtherBytes > 0 {
			return p.Binary(p.OtherBytes)
		}
	}
	return p.Binary(p.PartBytes)
}
