package transcode

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"
)

// The defaults of Config.
const (
	// DefaultCPU is the processor time of one child process. Measured: a minute of 4K
	// takes 35 s.
	DefaultCPU = 2 * time.Minute
	// DefaultDeadline is for one child process, which at its low priority may get a third
	// of a processor.
	DefaultDeadline = 6 * time.Minute
)

// Config is how conversions run. The zero Config is good.
type Config struct {
	// CPU is the processor time that one child process may use; 0: DefaultCPU.
	CPU time.Duration
	// Deadline is how long one child process may run, waiting included; 0: DefaultDeadline.
	Deadline time.Duration
	// Limit is how many conversions run at once; 0: one less than there are processors, at
	// least one, so that messages always find one free.
	Limit int
	// Path is where the programs are, as in PATH; empty: PATH.
	Path string
}

// Transcoder converts. Make it by New; safe for concurrent use. It has no
// goroutines beyond its calls.
type Transcoder struct {
	config   Config
	places   chan struct{} // never closed; holds one value for each conversion at work
	programs map[string]string
	isolated bool
	tools    Tools
}

// Tools is what a Transcoder has found, for /readyz.
type Tools struct {
	FFmpeg   string   `json:"ffmpeg,omitempty"` // its version
	Missing  []string `json:"missing"`          // what is not there and what is refused because of it; empty: nothing
	Isolated bool     `json:"isolated"`         // child processes have no network
}

// New looks for the programs and tries what they can do, once; it takes some
// tenths of a second. A missing program is no error: Tools tells of it, and
// what needs it fails by name. ctx bounds the trying.
func New(ctx context.Context, c Config) *Transcoder {
	if c.CPU <= 0 {
		c.CPU = DefaultCPU
	}
	if c.Deadline <= 0 {
		c.Deadline = DefaultDeadline
	}
	if c.Limit <= 0 {
		c.Limit = max(runtime.NumCPU()-1, 1)
	}
	if c.Path == "" {
		c.Path = os.Getenv("PATH")
	}
	t := &Transcoder{config: c, places: make(chan struct{}, c.Limit), programs: lookUp(c.Path)}
	if canIsolate {
		// Containers often forbid namespaces to those in them.
		t.isolated = true
		if _, err := t.try(ctx, "/bin/sh", "-c", "exit 0"); err != nil {
			t.isolated = false
		}
	}
	t.tools = t.survey(ctx)
	return t
}

// Tools tells what is there. The answer is New's; programs are not looked for
// again.
func (t *Transcoder) Tools() Tools {
	out := t.tools
	out.Missing = append([]string{}, out.Missing...)
	return out
}

// try runs a program in the directory for temporary files, with nothing of a message.
func (t *Transcoder) try(ctx context.Context, path string, args ...string) (string, error) {
	out, complaints, err := t.exec(ctx, os.TempDir(), path, args, func() {})
	return string(out) + string(complaints), err
}

// An ability is what a program must say that it has.
type ability struct {
	program, feature string // feature: empty is the program as such
	args             []string
	words            *regexp.Regexp
	lost             string // what is refused without it
}

func encoder(kind, name, lost string) ability {
	return ability{ffmpeg, name, []string{"-hide_banner", "-encoders"}, regexp.MustCompile(`(?m)^ ` + kind + `\S+ ` + name + ` `), lost}
}

var abilities = []ability{
	{ffmpeg, "", []string{"-version"}, version, "video, sound and animations that do not fit as they are"},
	{ffprobe, "", []string{"-version"}, regexp.MustCompile(`^ffprobe version `), "video and sound"},
	encoder("V", "libx264", "video for most handsets"),
	encoder("V", "h263", "video for old handsets"),
	encoder("V", "gif", "animations"),
	encoder("A", "aac", "sound as AAC"),
	encoder("A", "libmp3lame", "sound as MP3"),
	{sox, "amr-nb", []string{"--help"}, regexp.MustCompile(`\bamr-nb\b`), "sound as AMR and video for old handsets"},
	{heifConvert, "", []string{"--help"}, regexp.MustCompile(`(?i)usage`), "HEIC and AVIF pictures"},
}

var version = regexp.MustCompile(`^ffmpeg version (\S{1,60})`)

// survey asks each program what it can do.
func (t *Transcoder) survey(ctx context.Context) Tools {
	out := Tools{Isolated: t.isolated, Missing: []string{}}
	answers := map[string]string{}
	for _, a := range abilities {
		path, there := t.programs[a.program]
		question := fmt.Sprint(a.program, a.args)
		if _, asked := answers[question]; there && !asked {
			// sox and heif-convert end with a status of failure when asked for help.
			answers[question], _ = t.try(ctx, path, a.args...)
		}
		if m := version.FindStringSubmatch(answers[question]); m != nil {
			out.FFmpeg = m[1]
		}
		if a.words.MatchString(answers[question]) {
			continue
		}
		what := a.program
		if there && a.feature != "" {
			what += " without " + a.feature
		}
		out.Missing = append(out.Missing, fmt.Sprintf("%s: refused are %s", what, a.lost))
	}
	return out
}
