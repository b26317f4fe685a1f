package page

import (
	"encoding/base64"
	"html/template"
	"time"
)

// Text is a paragraph.
type Text string

// Notice is a box that says how something went or what to know. Tone: see Tone.
type Notice struct {
	Tone  Tone
	Title string
	Text  string
	// Lines are listed below the text.
	Lines []string
	// Link leads on; a zero one does not.
	Link Link
}

// Tone is the color of a thing, and the word with which it is read aloud.
type Tone string

// The tones: nothing special, done or healthy, under way or to be watched, gone wrong.
const (
	Plain Tone = ""
	Good  Tone = "good"
	Warn  Tone = "warn"
	Bad   Tone = "bad"
	Busy  Tone = "busy"
)

// Section is blocks under a heading.
type Section struct {
	// ID is the fragment of links to it; empty: none.
	ID      string
	Title   string
	Help    string
	Actions []Action
	Body    []Block
}

// Facts are names with values.
type Facts struct {
	// Title names the list to screen readers where no heading stands above it.
	Title string
	Items []Fact
}

// Fact is one of them.
type Fact struct {
	Label string
	// Help explains the value on hover, and to who reads with a keyboard.
	Help  string
	Value Cell
	// More are further values, below the first.
	More []Cell
}

// Table is rows under columns.
type Table struct {
	// Caption says what is listed; it is read aloud, and shown if ShowCaption is set.
	Caption     string
	ShowCaption bool
	Columns     []Column
	Rows        []Row
	// Empty is said when there are no rows, EmptyHelp what to do about it.
	Empty, EmptyHelp string
	EmptyLink        Link
	// Next is the URL of the next page, First that of the first if this is not it.
	Next, First string
	// Note is said below the table, such as how far a search has looked.
	Note string
}

// Column is the head of a column.
type Column struct {
	Title string
	// Help explains what stands below.
	Help string
	// Right aligns numbers.
	Right bool
}

// Row is a row. Its first cell is its head.
type Row struct {
	Cells []Cell
	// Tone marks a row that needs somebody.
	Tone Tone
}

// Stats are the figures of an overview.
type Stats struct {
	Title string
	Items []Stat
}

// Stat is one of them.
type Stat struct {
	Label, Value, Unit string
	// Help says what is counted, over which time.
	Help string
	// Sub stands below in small.
	Sub  string
	Href string
	Tone Tone
	// Share draws a bar, 0 to 1; negative: none. The zero value is an empty bar only if Bar is set.
	Share float64
	Bar   bool
}

// Percent is the share in whole percent, 0 to 100, as a bar has it.
func (s Stat) Percent() int { return min(100, max(0, int(s.Share*100+0.5))) }

// Timeline is what happened, oldest first.
type Timeline struct {
	Items []Event
	Empty string
}

// Event is a point of a timeline.
type Event struct {
	At    time.Time
	Title string
	Text  string
	Tone  Tone
	Lines []string
	// Details are shown when asked for.
	Details []Block
}

// Code is text to copy.
type Code struct {
	// Label says what it is, Text is it.
	Label, Text string
	// Secret says that it is shown once.
	Secret bool
}

// Tabs are pages of one thing.
type Tabs struct {
	Label string
	Items []Link
}

// Disclosure shows its body when asked: what has consequences stands in one, with the
// button that does it inside.
type Disclosure struct {
	Summary string
	Danger  bool
	Open    bool
	Body    []Block
}

// Split stands side by side where there is room.
type Split struct{ Left, Right []Block }

// Live is a part that follows server-sent events: each event of the name "update" takes
// the place of the body.
type Live struct {
	// Path is the stream's.
	Path string
	// Label says to screen readers what it is.
	Label string
	Body  []Block
}

// Chart is lines over time. Without a script it is its table.
type Chart struct {
	Title string
	// Help says what is drawn.
	Help string
	// At are the points' times, in seconds since 1970; each line has as many values.
	At    []int64
	Lines []Line
	// Unit stands behind values.
	Unit string
	// Days says that points are whole days.
	Days bool
	// Bars draws columns instead of lines.
	Bars bool
}

// Line is one of a chart.
type Line struct {
	Name   string
	Values []float64
	Tone   Tone
}

// Media is a file of a message.
type Media struct {
	// Kind is "image", "audio", "video" or anything else, which is a link only.
	Kind string
	// URL is of the same origin.
	URL, Name, Type, Size string
}

// Bullets are lines of a list.
type Bullets []Cell

// Drawn is markup that this process made itself, such as a QR code as SVG. Nothing that a
// stranger wrote may be in it.
type Drawn struct {
	Label string
	// SVG is the picture.
	SVG  []byte
	Size int // pixels wide and high
}

// Source is the picture as a URL.
func (d Drawn) Source() template.URL {
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(d.SVG)) //nolint:gosec // made here
}

// Points are the rows of a chart's table.
func (c Chart) Points() []ChartPoint {
	out := make([]ChartPoint, len(c.At))
	for i, at := range c.At {
		t := time.Unix(at, 0).UTC()
		out[i] = ChartPoint{At: t, Day: t.Format(time.DateOnly)}
		for _, l := range c.Lines {
			v := ""
			if i < len(l.Values) {
				v = Decimal(l.Values[i])
			}
			out[i].Values = append(out[i].Values, v)
		}
	}
	return out
}

// ChartPoint is one of them.
type ChartPoint struct {
	At     time.Time
	Day    string
	Values []string
}

func (Text) template() string       { return "text" }
func (Notice) template() string     { return "notice" }
func (Section) template() string    { return "section" }
func (Facts) template() string      { return "facts" }
func (Table) template() string      { return "table" }
func (Stats) template() string      { return "stats" }
func (Timeline) template() string   { return "timeline" }
func (Code) template() string       { return "code" }
func (Tabs) template() string       { return "tabs" }
func (Disclosure) template() string { return "disclosure" }
func (Split) template() string      { return "split" }
func (Live) template() string       { return "live" }
func (Chart) template() string      { return "chart" }
func (Media) template() string      { return "media" }
func (Bullets) template() string    { return "bullets" }
func (Drawn) template() string      { return "drawn" }
func (*Form) template() string      { return "form" }
