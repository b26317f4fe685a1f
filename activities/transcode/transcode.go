package transcode

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// maxSource is the most octets of a part that is looked at; what is fetched or
// uploaded is bounded at 10 MiB before.
const maxSource = 25_000_000

// Part is one file of a message.
type Part struct {
	// Name is a customer's or a vendor's; of a Result, ours, such as media-1.jpg.
	Name string `json:"name"`
	// ContentType is what somebody claims; of Inspect and of a Result, what the octets
	// say.
	ContentType string `json:"content_type"`
	Size        int64  `json:"size"`   // octets
	SHA256      string `json:"sha256"` // hexadecimal, lower case
	Path        string `json:"path"`   // a local file; never changed
}

// Result is what became of a part.
type Result struct {
	Part Part `json:"part"` // what to send
	// Changed: Part is a new file in the directory given, the caller's to remove; else
	// its Path is the one that was given.
	Changed bool `json:"changed,omitempty"`
	// Dropped: there is nothing to send; a foreign layout, since the gateway makes its own.
	Dropped bool          `json:"dropped,omitempty"`
	From    string        `json:"from"`           // the content type before
	Rung    string        `json:"rung,omitempty"` // how it was made, such as "1280 px, quality 82"; empty: untouched
	Runs    int           `json:"runs,omitempty"` // how many conversions it took
	Took    time.Duration `json:"took"`
}

// Inspect decides the type of each part by its octets and measures it. Nothing
// else is done with them. The error is an *Error.
func Inspect(parts []Part) ([]Part, error) {
	out := make([]Part, len(parts))
	for i, p := range parts {
		p.Name = fmt.Sprintf("media-%d", i+1)
		info, err := os.Stat(p.Path)
		if err != nil {
			return nil, asError(label(i+1, Part{}), err)
		}
		if p.Size = info.Size(); p.Size == 0 || p.Size > maxSource {
			return nil, asError(label(i+1, Part{}), rejected("%d octets are not within 1 to %d", p.Size, maxSource))
		}
		f, err := sniffFile(p.Path, p.ContentType)
		if err != nil {
			return nil, asError(label(i+1, Part{}), err)
		}
		if f.kind == unknown {
			return nil, asError(label(i+1, Part{}), rejected("its content is of no type that can be sent"))
		}
		p.ContentType = f.contentType
		p.Name += "." + f.ext
		out[i] = p
	}
	return out, nil
}

// label names a part in errors: by number and type.
func label(n int, p Part) string {
	if p.ContentType == "" {
		return fmt.Sprintf("part %d", n)
	}
	return fmt.Sprintf("part %d (%s)", n, p.ContentType)
}

// Fit makes the media of one message fit a profile: Inspect, Plan and FitOne of
// each, in order. dir is a directory for this call, on a disk with room for
// some copies of the media; results that are new files are left there, nothing
// else. textBytes is the length of the message's own text. progress, which may
// be nil, is called at each step and at least every few seconds in between, for
// heartbeats; it must return at once. The error is an *Error; then nothing is
// left in dir.
func (t *Transcoder) Fit(ctx context.Context, dir string, parts []Part, p mediaprofile.Profile, textBytes int, progress func(detail string)) ([]Result, error) {
	parts, err := Inspect(parts)
	if err != nil {
		return nil, err
	}
	shares, err := Plan(p, parts, textBytes)
	if err != nil {
		return nil, err
	}
	results := make([]Result, 0, len(parts))
	for i, part := range parts {
		r, err := t.FitOne(ctx, dir, i+1, part, shares[i], p, progress)
		if err != nil {
			for _, made := range results {
				if made.Changed {
					_ = os.Remove(made.Part.Path)
				}
			}
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// FitOne makes the part of that number (from 1) fit a share of Plan's; the part
// must be one of Inspect's. The rest is as for Fit.
func (t *Transcoder) FitOne(ctx context.Context, dir string, n int, part Part, share int64, p mediaprofile.Profile, progress func(detail string)) (Result, error) {
	began := time.Now()
	if progress == nil {
		progress = func(string) {}
	}
	j := &job{t: t, n: n, part: part, share: share, profile: p, progress: progress}
	out, err := j.do(ctx, dir)
	if err != nil {
		return Result{}, asError(label(n, part), err)
	}
	r := Result{Part: part, From: part.ContentType, Rung: out.rung, Runs: j.runs, Dropped: out.format.kind == layout}
	r.Part.Name = fmt.Sprintf("media-%d.%s", n, out.format.ext)
	r.Part.ContentType = out.format.contentType
	if out.path != "" {
		r.Changed = true
		r.Part.Path, r.Part.Size, r.Part.SHA256 = out.path, out.size, out.sha256
	}
	r.Took = time.Since(began)
	return r, nil
}

// job is the work on one part.
type job struct {
	t        *Transcoder
	n        int
	part     Part
	share    int64
	profile  mediaprofile.Profile
	progress func(string)

	format format
	dir    string // its own; everything in it goes with it
	runs   int    // conversions so far
}

// outcome is what is to be sent of a part.
type outcome struct {
	format format
	rung   string
	path   string // empty: the file that was given
	size   int64
	sha256 string
}

// untouched is the outcome of what fits.
func (j *job) untouched() outcome { return outcome{format: j.format} }

// The names in a job's directory. ffmpeg gives a meaning to a percent sign and
// to what looks like a protocol or an option, so nobody else's name gets there.
const sourceName = "source"

// do runs the job in a directory of its own within dir, and moves what it made
// to dir.
func (j *job) do(ctx context.Context, dir string) (outcome, error) {
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	f, err := sniffFile(j.part.Path, j.part.ContentType)
	if err != nil {
		return outcome{}, err
	}
	j.format = f
	if j.dir, err = os.MkdirTemp(dir, "job-"); err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(j.dir)
	source, err := filepath.Abs(j.part.Path)
	if err != nil {
		return outcome{}, err
	}
	if err := os.Symlink(source, filepath.Join(j.dir, sourceName)); err != nil {
		return outcome{}, err
	}
	out, err := j.convert(ctx)
	if err != nil || out.path == "" {
		return out, err
	}
	return j.keep(out, dir)
}

func (j *job) convert(ctx context.Context) (outcome, error) {
	switch j.format.kind {
	case still:
		return j.still(ctx)
	case heif:
		return j.heif(ctx)
	case animation:
		return j.animation(ctx)
	case video, audio:
		return j.stream(ctx)
	case document:
		return j.document()
	case layout:
		return j.untouched(), nil
	}
	return outcome{}, rejected("its content is of no type that can be sent")
}

// say tells progress where the job is.
func (j *job) say(format string, args ...any) {
	j.progress(fmt.Sprintf("part %d: ", j.n) + fmt.Sprintf(format, args...))
}

// in gives the path of a file of the job's own.
func (j *job) in(name string) string { return filepath.Join(j.dir, name) }

// read reads the part, bounded.
func (j *job) read() ([]byte, error) {
	f, err := os.Open(j.part.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err == nil && len(b) > maxSource {
		return nil, rejected("it has more than %d octets", maxSource)
	}
	return b, err
}

// written is the outcome of octets made here.
func (j *job) written(b []byte, f format, rung string) (outcome, error) {
	path := j.in("made." + f.ext)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return outcome{}, err
	}
	return outcome{format: f, rung: rung, path: path}, nil
}

// keep looks at what was made once more, syncs it and moves it out of the job's
// directory.
func (j *job) keep(out outcome, dir string) (outcome, error) {
	f, err := os.OpenFile(out.path, os.O_RDWR, 0)
	if err != nil {
		return outcome{}, err
	}
	defer f.Close()
	head := make([]byte, headBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return outcome{}, err
	}
	if got := sniff(head[:n], ""); got.contentType != out.format.contentType {
		return outcome{}, internal(fmt.Errorf("%q instead of %s", got.contentType, out.format.contentType), "the conversion gave another type than it should")
	}
	h := sha256.New()
	if out.size, err = io.Copy(h, io.NewSectionReader(f, 0, maxDisk)); err != nil {
		return outcome{}, err
	}
	if out.size > j.limit(out.format) {
		return outcome{}, j.tooLarge(out.size, out.format)
	}
	out.sha256 = hex.EncodeToString(h.Sum(nil))
	if err := f.Sync(); err != nil {
		return outcome{}, err
	}
	final := filepath.Join(dir, fmt.Sprintf("media-%d-%s.%s", j.n, out.sha256[:16], out.format.ext))
	if err := os.Rename(out.path, final); err != nil {
		return outcome{}, err
	}
	out.path = final
	return out, nil
}

// limit is what a result of a format may have: the share, and the limit of one part
// if that is lower for the new type than it was for the old.
func (j *job) limit(f format) int64 {
	if most := j.profile.PartLimit(f.contentType); most > 0 {
		return min(j.share, most)
	}
	return j.share
}

func (j *job) tooLarge(size int64, f format) error {
	return rejected("as %s it still has %d octets, over the limit of %d", f.contentType, size, j.limit(f))
}

// fits reports whether the part may go as it is, as far as type and size say.
func (j *job) fits() bool {
	return j.profile.Takes(j.format.contentType) && j.part.Size <= j.limit(j.format)
}
