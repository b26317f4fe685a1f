package prepare

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/transcode"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
)

var report = flag.String("report", "", "measure the step, and write FILE.json and FILE.md")

// Of the measurement. Processor time is what counts: it is the same however much else the
// machine has to do, or nearly.
const (
	measuredMessages = 1000
	measuredWindow   = 100 // messages
	measuredAtOnce   = 16  // as a process with the role media has
	measuredRounds   = 3
)

// measured is the report.
type measured struct {
	Date    time.Time       `json:"date"`
	Command string          `json:"command"`
	Commit  string          `json:"commit"`
	CPU     string          `json:"cpu"`
	Cores   int             `json:"cores"`
	Memory  int64           `json:"memory_bytes"`
	Load    string          `json:"load_average"`
	FFmpeg  string          `json:"ffmpeg"`
	Kinds   []measuredKind  `json:"kinds"`
	Many    measuredWindows `json:"many"`
}

// measuredKind is one input, made fit again and again: medians of the rounds.
type measuredKind struct {
	Input      string  `json:"input"`
	Octets     int64   `json:"octets"`
	Becomes    string  `json:"becomes"`
	CPUSeconds float64 `json:"cpu_seconds"`
	Seconds    float64 `json:"seconds"`            // as it was, beside what else ran
	PerCore    float64 `json:"per_core_second"`    // files for a second of one core
	Realtime   float64 `json:"realtime,omitempty"` // how many times as fast as it plays, on one core
}

// measuredWindows is memory over many messages: the most that process and children had
// within each window.
type measuredWindows struct {
	Messages   int     `json:"messages"`
	CPUSeconds float64 `json:"cpu_seconds"`
	Seconds    float64 `json:"seconds"`
	PerCore    float64 `json:"per_core_second"`
	Process    []int64 `json:"process_rss_bytes"`
	Children   []int64 `json:"children_rss_bytes"`
}

// TestMeasure is no test: it measures, when asked to.
func TestMeasure(t *testing.T) {
	if *report == "" {
		t.Skip("measures with -report FILE")
	}
	convert := transcode.New(t.Context(), transcode.Config{})
	m := measured{Date: time.Now().UTC(), Command: "make bench-media", Cores: runtime.NumCPU(), FFmpeg: convert.Tools().FFmpeg, CPU: first("/proc/cpuinfo", "model name"), Load: strings.TrimSpace(read("/proc/loadavg"))}
	kilobytes, _, _ := strings.Cut(first("/proc/meminfo", "MemTotal"), " ")
	n, _ := strconv.ParseInt(kilobytes, 10, 64)
	m.Memory = n << 10
	commit, _ := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=7").Output()
	m.Commit = strings.TrimSpace(string(commit))
	for _, in := range inputs(t) {
		m.Kinds = append(m.Kinds, in.measure(t, convert))
	}
	m.Many = many(t, convert)
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{*report + ".json": append(b, '\n'), *report + ".md": m.page()} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// first is the value of a file of lines "name : value".
func first(path, name string) string {
	for line := range strings.Lines(read(path)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

type measuredInput struct {
	name    string
	octets  []byte
	seconds float64 // of a film or sound
}

func inputs(t *testing.T) []measuredInput {
	t.Helper()
	dir := t.TempDir()
	film := func(name, args string) []byte {
		out, err := exec.CommandContext(t.Context(), "ffmpeg", strings.Fields("-nostdin -loglevel error -threads 2 "+args+" "+filepath.Join(dir, name))...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return []byte(read(filepath.Join(dir, name)))
	}
	sample := func(name string) []byte { return []byte(read("../transcode/testdata/" + name)) }
	return []measuredInput{
		{"JPEG of 12 megapixels", noisy(t, 4000, 3000), 0},
		{"JPEG of 2 megapixels", noisy(t, 1600, 1200), 0},
		{"HEIC of 0.5 megapixels", sample("photo.heic"), 0},
		{"film of 5 s, 1280 × 720, 30/s, H.264", film("hd.mkv", "-f lavfi -t 5 -i testsrc2=size=1280x720:rate=30 -f lavfi -t 5 -i sine=440 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -b:v 4M -c:a aac"), 5},
		{"film of 2 s, 3840 × 2160, 30/s, H.264", film("uhd.mkv", "-f lavfi -t 2 -i testsrc2=size=3840x2160:rate=30 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -b:v 20M"), 2},
		{"sound of 40 s, WAV, stereo", film("tone.wav", "-f lavfi -t 40 -i sine=440:sample_rate=44100 -ac 2"), 40},
	}
}

// noisy is a photograph as far as its size goes: colours that change slowly, with noise.
func noisy(t *testing.T, w, h int) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range h {
		for x := range w {
			n := uint8(r.Uint32() & 31)
			p.SetRGBA(x, y, color.RGBA{uint8(x*250/w) + n, uint8(y*250/h) + n, 128 + n, 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// another is the same JPEG with another SHA-256.
func another(jpeg []byte, n int) []byte {
	comment := binary.BigEndian.AppendUint32([]byte{0xff, 0xfe, 0, 6}, uint32(n))
	return slices.Concat(jpeg[:2], comment, jpeg[2:])
}

// prepareOne runs the step for a message with one file, with a store on disk and the real
// converter; only the journal is in memory.
func prepareOne(t *testing.T, store *media.Store, convert Converter, octets []byte) message.MediaFile {
	t.Helper()
	rural, _ := mediaprofile.Builtin("rural")
	d := &desk{m: &message.Message{ID: message.NewID(), AccountID: message.NewID(), Kind: message.MMS, Status: message.StatusQueued, Body: "look"},
		files: map[string][]message.Media{}, added: map[message.ID]message.MediaFile{}, results: map[string]message.MediaFile{}, fails: map[string]error{}}
	b := &bundle{t: t, desk: d, library: &media.Library{Store: store, Records: d}}
	b.given(octets)
	a := &Activities{Journal: d, Library: b.library, Converter: convert, Profile: func(message.ID) mediaprofile.Profile { return rural }, Dir: os.TempDir()}
	r, err := a.Prepare(context.Background(), Input{MessageID: d.m.ID, Vendor: message.VendorRef{ID: message.NewID(), Name: "acme"}})
	if err != nil || r.Reason != "" || len(d.files[r.Profile]) != 1 {
		t.Errorf("%+v, %v", r, err)
		return message.MediaFile{}
	}
	return d.files[r.Profile][0].File
}

func openStore(t *testing.T) *media.Store {
	t.Helper()
	store, err := media.Open(t.Context(), t.TempDir(), media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// cpu is the processor time of this process and of its children that have ended.
func cpu() time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		_ = syscall.Getrusage(who, &u)
		sum += u.Utime.Nano() + u.Stime.Nano()
	}
	return time.Duration(sum)
}

func (in measuredInput) measure(t *testing.T, convert Converter) measuredKind {
	t.Helper()
	k := measuredKind{Input: in.name, Octets: int64(len(in.octets))}
	var spent, took []float64
	store := openStore(t)
	for range measuredRounds {
		began, before := time.Now(), cpu()
		f := prepareOne(t, store, convert, in.octets)
		spent, took = append(spent, (cpu()-before).Seconds()), append(took, time.Since(began).Seconds())
		k.Becomes = fmt.Sprintf("%s of %d octets", f.ContentType, f.Size)
	}
	k.CPUSeconds, k.Seconds = median(spent), median(took)
	k.PerCore, k.Realtime = 1/k.CPUSeconds, in.seconds/k.CPUSeconds
	return k
}

func median[T cmp.Ordered](list []T) T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// many prepares one message after the other, so many at once, and looks at the memory
// meanwhile.
func many(t *testing.T, convert Converter) (m measuredWindows) {
	t.Helper()
	picture, heic := noisy(t, 1024, 768), []byte(read("../transcode/testdata/photo.heic"))
	store := openStore(t)
	m.Messages = measuredMessages
	windows := measuredMessages / measuredWindow
	m.Process, m.Children = make([]int64, windows), make([]int64, windows)
	var next, done atomic.Int64
	began, before := time.Now(), cpu()
	stop := make(chan struct{})
	var looking, working sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			i := min(int(done.Load())/measuredWindow, windows-1)
			m.Process[i] = max(m.Process[i], resident(os.Getpid()))
			m.Children[i] = max(m.Children[i], childrenResident())
		}
	})
	for range measuredAtOnce {
		working.Go(func() {
			for {
				n := int(next.Add(1))
				if n > measuredMessages {
					return
				}
				octets := another(picture, n)
				if n%20 == 0 { // through a child process
					octets = heic
				}
				prepareOne(t, store, convert, octets)
				done.Add(1)
			}
		})
	}
	working.Wait()
	close(stop)
	looking.Wait()
	m.CPUSeconds, m.Seconds = (cpu() - before).Seconds(), time.Since(began).Seconds()
	m.PerCore = float64(m.Messages) / m.CPUSeconds
	return m
}

// resident is VmRSS.
func resident(pid int) int64 {
	kilobytes, _, _ := strings.Cut(first(fmt.Sprintf("/proc/%d/status", pid), "VmRSS"), " ")
	n, _ := strconv.ParseInt(kilobytes, 10, 64)
	return n << 10
}

func childrenResident() (sum int64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", os.Getpid()))
	for _, task := range tasks {
		for _, pid := range strings.Fields(read(task)) {
			if n, err := strconv.Atoi(pid); err == nil {
				sum += resident(n)
			}
		}
	}
	return sum
}

func (m measured) page() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Media\n\n`%s` at commit %s, %s, ffmpeg %s, %d cores (%s), %.1f GB of memory; load average %s at the start. Where that is more than the cores, the machine had other work, and processor time is what to read.\n\n",
		m.Command, m.Commit, m.Date.Format(time.RFC3339), m.FFmpeg, m.Cores, m.CPU, float64(m.Memory)/1e9, m.Load)
	fmt.Fprintf(&b, "Each is a message with one file through the step that prepares it for a vendor with the profile `rural` (300 KB), from the media store on disk and back; only the journal is in memory. Medians of %d runs; processor time is that of the process and its children.\n\n", measuredRounds)
	b.WriteString("| input | octets | becomes | CPU s | s, as it was | files a second and core | times as fast as it plays |\n|---|---|---|---|---|---|---|\n")
	for _, k := range m.Kinds {
		realtime := ""
		if k.Realtime > 0 {
			realtime = fmt.Sprintf("%.1f", k.Realtime)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %.3f | %.3f | %.1f | %s |\n", k.Input, k.Octets, k.Becomes, k.CPUSeconds, k.Seconds, k.PerCore, realtime)
	}
	fmt.Fprintf(&b, "\n**%d messages**, %d at a time, each with a JPEG of 0.8 megapixels of its own, every twentieth with a HEIC: %.0f CPU s, %.1f messages a second and core (%.0f s as it was). The most memory (RSS, MB) within each hundred of them:\n\n| messages |",
		m.Many.Messages, measuredAtOnce, m.Many.CPUSeconds, m.Many.PerCore, m.Many.Seconds)
	for i := range m.Many.Process {
		fmt.Fprintf(&b, " to %d |", (i+1)*measuredWindow)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(m.Many.Process)) + "\n")
	row(&b, "process", m.Many.Process)
	row(&b, "children", m.Many.Children)
	return b.Bytes()
}

func row(b *bytes.Buffer, name string, list []int64) {
	fmt.Fprintf(b, "| %s |", name)
	for _, n := range list {
		fmt.Fprintf(b, " %.0f |", float64(n)/1e6)
	}
	b.WriteString("\n")
}
