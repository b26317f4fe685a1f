package transcode

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
)

var update = flag.Bool("update", false, "write docs/media.md anew, one file after the other so that the times are worth something")

const tableFile = "../../docs/media.md"

// entry is what becomes of a sample under the profiles that make the same of it.
type entry struct {
	input    string
	profiles []string
	result   string // type, octets, dimensions or length, as in the table
	kind     string // the type alone, or refused
	ms       int64
}

// broken are samples that nothing should become of, by what they are.
func broken(t *testing.T) []Part {
	bomb := filepath.Join(t.TempDir(), "bomb.png")
	if err := pngBomb(bomb, 30_000, 30_000); err != nil {
		t.Fatal(err)
	}
	jpeg, mp4 := load(t, "photo.jpg"), load(t, "clip.mp4")
	flipped := slices.Clone(jpeg)
	for i := len(flipped) / 3; i < len(flipped)*2/3; i++ {
		flipped[i] ^= 0xff
	}
	return []Part{
		{Path: bomb},
		written(t, "concat.jpg", []byte("ffconcat version 1.0\nfile '"+bomb+"'\n")),
		written(t, "cut.jpg", jpeg[:len(jpeg)*3/100]),
		written(t, "cut.mp4", mp4[:len(mp4)/2]),
		written(t, "damaged.mp4", slices.Concat(mp4[:len(mp4)/3], bytes.Repeat([]byte{0xaa}, len(mp4)/3), mp4[len(mp4)*2/3:])),
		written(t, "damaged.jpg", flipped),
		written(t, "picture.svg", []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)),
	}
}

// Every sample under every profile of the release: what comes out is within the budget,
// of a type that is taken, and can be read; or it is refused for what it is. The table of
// docs/media.md says the same.
func TestTable(t *testing.T) {
	// As a process works that is busy: one processor for a file.
	if !*update {
		t.Parallel()
	}
	var parts []Part
	for _, row := range becomes {
		parts = append(parts, partOf(row.name))
	}
	parts = append(parts, broken(t)...)
	table := make([][]entry, len(parts))
	for i, part := range parts {
		t.Run(filepath.Base(part.Path), func(t *testing.T) {
			if !*update {
				t.Parallel()
			}
			table[i] = rows(t, part)
		})
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if *update {
			if err := os.WriteFile(tableFile, page(slices.Concat(table...)), 0o644); err != nil {
				t.Error(err)
			}
			return
		}
		whole := !slices.ContainsFunc(table, func(rows []entry) bool { return rows == nil }) // no -run chose some
		compare(t, slices.Concat(table...), whole)
	})
}

// rows fits a part to each profile. Those with the same key share a result, as they do in
// the journal.
func rows(t *testing.T, part Part) []entry {
	input := filepath.Base(part.Path)
	info, err := os.Stat(part.Path)
	if err != nil {
		t.Fatal(err)
	}
	var list []entry
	made := map[string]int{} // entries by key
	for _, p := range mediaprofile.Defaults() {
		key := "refused"
		if inspected, err := Inspect([]Part{part}); err == nil {
			if shares, err := Plan(p, inspected, 0); err == nil {
				key = Key("", p, shares[0])
			}
		}
		i, done := made[key]
		if !done {
			e := entry{input: fmt.Sprintf("%s, %s", input, thousands(info.Size()))}
			began := time.Now()
			r, err := fit(t, part, p)
			e.ms = time.Since(began).Milliseconds()
			if e.kind, e.result = describe(t, r, err); err == nil {
				check(t, r, p, r.Part.ContentType)
			}
			// The same by another way.
			if i = slices.IndexFunc(list, func(o entry) bool { return o.result == e.result }); i < 0 {
				i = len(list)
				list = append(list, e)
			}
			made[key] = i
		}
		list[i].profiles = append(list[i].profiles, p.Name)
	}
	return list
}

var refusal = regexp.MustCompile(`^.*?part 1( \([^)]*\))?: `)

// describe says what came out.
func describe(t *testing.T, r fitted, err error) (kind, result string) {
	var e *Error
	switch {
	case errors.As(err, &e) && e.Reason == message.ReasonMediaRejected:
		// Without the name of the part, and without the words of a program.
		why := refusal.ReplaceAllString(e.Error(), "")
		why, _, _ = strings.Cut(why, ": exit status")
		return "refused", "refused: " + strings.ReplaceAll(why, "|", " ")
	case err != nil:
		t.Errorf("%v", err)
		return "failed", err.Error()
	}
	size, how := "", r.Rung
	switch kind = r.Part.ContentType; {
	case strings.HasPrefix(kind, "image/"):
		w, h := dimensions(t, r.bytes)
		size = fmt.Sprintf("%d × %d", w, h)
	case strings.HasPrefix(kind, "video/"):
		p := look(t, r.Part.Path)
		v := p.first("video")
		size = fmt.Sprintf("%d × %d, %.1f s", v.Width, v.Height, p.seconds())
	case strings.HasPrefix(kind, "audio/"):
		size = fmt.Sprintf("%.1f s", look(t, r.Part.Path).seconds())
	}
	if !r.Changed {
		how = "untouched"
	}
	return kind, fmt.Sprintf("%s | %s | %s | %s", kind, thousands(r.Part.Size), size, how)
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

const tableHead = `# What becomes of media

What each sample of ` + "`activities/transcode/testdata`" + ` (its README says how they are made; what is large or broken the tests make) becomes under
each profile of the release, as the only file of a message without text. Every result was within its budget and of a type that the profile takes;
pictures were decoded again, video and sound probed, and nothing in them says who made them where; otherwise nothing is written here. What fits is
passed on without being decoded: of damage within a film's pictures (` + "`damaged.mp4`" + `) nobody knows. Other sizes with other versions of ffmpeg.

%s

Milliseconds are of one run each, of one file at a time on one processor, sniffing and the look at the result included; the machine had other work.
Profiles that stand together make the same of it; the time is that of the first.

| input, octets | profiles | becomes | octets | size | how | ms |
|---|---|---|---|---|---|---|
`

// page is the whole page.
func page(list []entry) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, tableHead, made())
	for _, e := range list {
		profiles := strings.Join(e.profiles, ", ")
		if len(e.profiles) == len(mediaprofile.Defaults()) {
			profiles = "all"
		}
		if e.kind == "refused" {
			e.result += " | | |"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d |\n", e.input, profiles, e.result, e.ms)
	}
	return b.Bytes()
}

// made says with what.
func made() string {
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=7").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	processor := "processor unknown"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				processor = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	return fmt.Sprintf("Made by `go test ./activities/transcode -run TestTable -update` at commit %s with ffmpeg %s on %d cores (%s), %s.",
		bytes.TrimSpace(commit), shared.Tools().FFmpeg, runtime.NumCPU(), processor, time.Now().UTC().Format(time.DateOnly))
}

// compare holds the page against what has come out. Octets may differ by the version of
// ffmpeg; inputs, profiles and types may not.
func compare(t *testing.T, list []entry, whole bool) {
	text, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{} // type by input and profile
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if len(cells) < 4 || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| input") {
			continue
		}
		input, _, _ := strings.Cut(strings.TrimPrefix(cells[0], "| "), ", ")
		kind, _, _ := strings.Cut(cells[2], ":")
		profiles := strings.Split(cells[1], ", ")
		if cells[1] == "all" {
			profiles = nil
			for _, p := range mediaprofile.Defaults() {
				profiles = append(profiles, p.Name)
			}
		}
		for _, p := range profiles {
			written[input+" under "+p] = kind
		}
	}
	found := 0
	for _, e := range list {
		input, _, _ := strings.Cut(e.input, ", ")
		for _, p := range e.profiles {
			found++
			if where := input + " under " + p; written[where] != e.kind {
				t.Errorf("%s: it became %s, and the page says %q; write it anew with -update", where, e.kind, written[where])
			}
		}
	}
	if whole && found != len(written) {
		t.Errorf("the page has %d rows of a sample and a profile, and there are %d", len(written), found)
	}
}
