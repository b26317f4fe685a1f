package transcode

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"

	"go.temporal.io/sdk/temporal"
)

// What says that it is media and is not goes nowhere, whatever type is claimed.
func TestImpostorsAreRefused(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret.jpg")
	if err := os.WriteFile(secret, load(t, "photo.jpg"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"concat.jpg":     "ffconcat version 1.0\nfile '" + secret + "'\n",
		"concat.txt":     "ffconcat version 1.0\nfile '" + secret + "'\n",
		"hls.mp4":        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://" + secret + "\n#EXT-X-ENDLIST\n",
		"hls.txt":        "\ufeff\n#extm3u\n" + secret,
		"dash.mp4":       `<?xml version="1.0"?><MPD><BaseURL>file://` + secret + `</BaseURL></MPD>`,
		"session.mp4":    "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
		"picture.svg":    `<svg xmlns="http://www.w3.org/2000/svg"><image href="file://` + secret + `"/></svg>`,
		"page.txt":       "<!DOCTYPE html><script>alert(1)</script>",
		"archive.jpg":    "PK\x03\x04\x14\x00\x00\x00\x08\x00aaaaaaaaaaaaaaaaaaaaaa",
		"program.jpg":    "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00",
		"elf.mp4":        "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"script.txt":     "#!/bin/sh\nrm -rf /\n",
		"foreign.jpg":    "<smil><body/></smil>",
		"text.jpg":       "hello",
		"binary.txt":     "hello\x00world",
		"empty.jpg":      "",
		"bm.bmp":         "BM is how this text begins, and it is no bitmap at all",
		"broken.vcf":     "BEGIN:VCARD\nFN:Jane",
		"latin.vcf":      "BEGIN:VCARD\nFN:J\xe4ne\nEND:VCARD",
		"playlist.mp3":   "[playlist]\nFile1=/etc/passwd\n",
		"webvtt.mp4":     "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
		"redirect.mov":   "RTSPtextrtsp://127.0.0.1/x",
		"nothing.heic":   "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1",
		"nothing.mp4":    "\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42",
		"nothing.webm":   "\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1fwebm",
		"nothing.amr":    "#!AMR\n",
		"nothing.ogg":    "OggS\x00",
		"nothing.gif":    "GIF89a",
		"noframes.gif":   "GIF89a\x01\x00\x01\x00\x00\x00\x00;",
		"nothing.png":    "\x89PNG\r\n\x1a\n",
		"nothing.wav":    "RIFF\x00\x00\x00\x00WAVE",
		"nothing.riff":   "RIFF\x00\x00\x00\x00ACON",
		"nothing.tif":    "II*\x00",
		"endless.tif":    "II*\x00\x08\x00\x00\x00\xff\xff",
		"nothing.jpg":    "\xff\xd8\xff\xe0",
		"nothing.flac":   "fLaC",
		"nothing.mp3":    "ID3\x03\x00",
		"nothing.avi":    "RIFF\x00\x00\x00\x00AVI ",
		"unspecified":    "\x00\x01\x02\x03",
		"%d.jpg":         "ffconcat version 1.0\nfile '" + secret + "'\n",
		"-i secret.jpg":  "ffconcat version 1.0\nfile '" + secret + "'\n",
		"pipe:0":         "#EXTM3U\n",
		"huge.heic":      "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1....meta....iprp....ipco\x00\x00\x00\x14ispe\x00\x00\x00\x00\x00\x00\x75\x30\x00\x00\x75\x30",
		"frames.gif":     "GIF89a\x10\x27\xa0\x0f\x00\x00\x00" + strings.Repeat("\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00", 500) + ";",
		"allframes.gif":  "GIF89a\x01\x00\x01\x00\x00\x00\x00" + strings.Repeat("\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00", maxFrames+1) + ";",
		"letter.pdf.txt": "%PDF-1.4",
	} {
		part := written(t, strings.ReplaceAll(name, "/", ""), []byte(content))
		_, err := fit(t, part, profile("default", nil))
		rejectedOnly(t, err)
		if err != nil && strings.Contains(err.Error(), name) {
			t.Errorf("the error %q names the customer's file", err)
		}
	}
}

// Should sniff ever be wrong, the demuxer that is named opens no other file. The
// first line shows that the script works where nothing guards.
func TestDemuxersAreNamed(t *testing.T) {
	t.Parallel()
	script := "ffconcat version 1.0\nfile 'photo.jpg'\n"
	run := func(args ...string) bool {
		j := &job{t: shared, dir: t.TempDir(), progress: func(string) {}}
		for name, b := range map[string][]byte{"photo.jpg": load(t, "photo.jpg"), sourceName: []byte(script)} {
			if err := os.WriteFile(j.in(name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = j.run(t.Context(), ffmpeg, slices.Concat(global, args, []string{"-i", sourceName, "-frames:v", "1", "-f", "image2", "-update", "1", "out.jpg"})...)
		info, err := os.Stat(j.in("out.jpg"))
		return err == nil && info.Size() > 0
	}
	if !run("-protocol_whitelist", "file,pipe") {
		t.Error("the script reads nothing even without a guard: the test is blind")
	}
	seen := map[string]bool{}
	for _, f := range []format{formatGIF, formatMP4, formatWebM, formatAVI, formatMP3, formatAAC, formatAMR, formatWAV, formatOgg, formatFLAC} {
		if f.demuxer == "" || seen[f.demuxer] {
			t.Errorf("%s has the demuxer %q", f.contentType, f.demuxer)
		}
		seen[f.demuxer] = true
		if run(decoding(f.demuxer)...) {
			t.Errorf("%s read another file", f.demuxer)
		}
	}
}

// What is damaged or breaks off is refused, or as good as whole: never half a picture.
func TestDamaged(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"photo.jpg", "progressive.jpg", "photo.png", "photo.webp", "photo.bmp", "photo.tif", "photo.heic", "animation.gif", "clip.mp4", "clip.mov", "clip.3gp", "phone12.jpg", "tone.m4a"} {
		b := load(t, name)
		for what, broken := range map[string][]byte{"3 %": b[:len(b)*3/100], "half": b[:len(b)/2], "97 %": b[:len(b)*97/100]} {
			if _, err := fit(t, written(t, name, broken), old); err == nil {
				t.Errorf("%s of %s passed", what, name)
			} else {
				rejectedOnly(t, err)
			}
		}
	}
	// Recordings that break off are recordings that were stopped; they must not fail
	// otherwise than by the content.
	for _, name := range []string{"clip.webm", "clip.avi", "clip.mkv", "tone.mp3", "tone.ogg", "tone.wav", "tone.flac", "tone.aac", "tone.amr"} {
		b := slices.Clone(load(t, name))
		for _, broken := range [][]byte{b[:40], b[:len(b)/2], slices.Concat(b[:len(b)/3], bytes.Repeat([]byte{0xaa}, len(b)/3), b[len(b)*2/3:])} {
			if _, err := fit(t, written(t, name, broken), old); err != nil {
				rejectedOnly(t, err)
			}
		}
	}
}

// A bomb is refused by its header: what it would unpack to is never there.
func TestBombIsRefused(t *testing.T) {
	for _, size := range [][2]int{{30_000, 30_000}, {12_001, 10}, {10_000, 5_000}} {
		path := filepath.Join(t.TempDir(), "bomb.png")
		if err := pngBomb(path, size[0], size[1]); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := fit(t, Part{Path: path}, profile("default", nil))
		runtime.ReadMemStats(&after)
		rejectedOnly(t, err)
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%d x %d pixels are over the limit", size[0], size[1])) {
			t.Errorf("it says %v", err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%v: %d octets were allocated", size, used)
		}
	}
}

// hanging is a Transcoder whose ffmpeg starts children and never ends. What it and
// they hold open is the named pipe: its end is theirs.
func hanging(t *testing.T, c Config) (tr *Transcoder, started string) {
	t.Helper()
	dir := t.TempDir()
	started = filepath.Join(dir, "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	away := "(sleep 1000 &)"
	if shared.Tools().Isolated {
		away = "setsid sleep 1000 &" // in a group of its own, out of reach of a signal to the group
	}
	script := "#!/bin/sh\ncase \"$*\" in *-nostdin*) ;; *) exit 0;; esac\nexec 9>'" + started + "'\necho running >&9\nsleep 1000 &\n" + away + "\nwait\nsleep 1000\n"
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Path = dir + ":" + os.Getenv("PATH")
	return New(t.Context(), c), started
}

func TestHangIsEndedWithItsChildren(t *testing.T) {
	t.Parallel()
	tr, started := hanging(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	dir := t.TempDir()
	go func() {
		_, err := tr.Fit(ctx, dir, []Part{partOf("clip.mov")}, profile("default", nil), 0, nil)
		ended <- err
	}()
	f, err := os.Open(started) // until it runs
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if line, err := r.ReadString('\n'); err != nil || line != "running\n" {
		t.Fatalf("%q, %v", line, err)
	}
	cancel()
	if _, err := io.ReadAll(r); err != nil { // until the last of them is gone
		t.Error(err)
	}
	err = <-ended
	var e *Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || !e.Retryable() {
		t.Errorf("it ended with %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// sh runs a shell script as a child process would run.
func sh(t *testing.T, c Config, script string) (string, error) {
	t.Helper()
	tr := *shared
	if c.CPU > 0 {
		tr.config.CPU = c.CPU
	}
	if c.Deadline > 0 {
		tr.config.Deadline = c.Deadline
	}
	out, _, err := tr.exec(t.Context(), t.TempDir(), "/bin/sh", []string{"-c", script}, func() {})
	return strings.TrimSpace(string(out)), err
}

func TestBoundsOfAChild(t *testing.T) {
	t.Setenv("POSTRIDER_SECRET", "do not show")
	// A program of another group waits on standard input: it must be at its end.
	for script, want := range map[string]string{
		"ulimit -t":              fmt.Sprint(int(DefaultCPU / time.Second)),
		"ulimit -f":              fmt.Sprint(maxDisk / 512),
		"ulimit -v":              fmt.Sprint(maxMemory / 1024),
		"ulimit -H -v":           fmt.Sprint(maxMemory / 1024),
		"ulimit -c":              "0",
		"nice":                   fmt.Sprint(min(niceness+inherited(t), 19)),
		"cat":                    "",
		"echo $POSTRIDER_SECRET": "",
		"ls -A":                  "",
		"echo $LANG":             "C",
	} {
		if got, err := sh(t, Config{}, script); err != nil || got != want {
			t.Errorf("%s printed %q, want %q; %v", script, got, want, err)
		}
	}
	if !shared.Tools().Isolated {
		t.Log("this system allows no namespaces: what they forbid is not tested")
		return
	}
	for script, want := range map[string]string{
		"tail -n +3 /proc/net/dev | grep -vc ' lo:'":           "0",
		fmt.Sprintf("cat /proc/%d/environ", os.Getpid()):       "",
		fmt.Sprintf("kill -0 %d 2>&1 || echo no", os.Getpid()): "no",
		"id -u": "65534",
	} {
		if got, _ := sh(t, Config{}, script); !strings.HasSuffix(got, want) || want == "" && got != "" {
			t.Errorf("%s printed %q, want %q", script, got, want)
		}
	}
}

// inherited is the niceness of the tests.
func inherited(t *testing.T) int {
	t.Helper()
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		return 20 - n // the raw call of Linux gives it so
	}
	return n
}

// Why a child ended decides whether the same may pass later.
func TestEndsOfAChild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		config       Config
		reason       message.Reason
		says         string
	}{
		{"deadline", "sleep 1000", Config{Deadline: 50 * time.Millisecond}, message.ReasonInternal, "took longer than 50ms"},
		{"processor", "while :; do :; done", Config{CPU: time.Second}, message.ReasonMediaRejected, "1s of processor time"},
		{"disk", "exec head -c 200000000 /dev/zero >big", Config{}, message.ReasonMediaRejected, "64 MB of disk"},
		{"memory", "echo 'x: Cannot allocate memory' >&2; exit 1", Config{}, message.ReasonMediaRejected, "768 MB of memory"},
		{"no room", "echo 'x: No space left on device' >&2; exit 1", Config{}, message.ReasonInternal, "no room"},
		{"killed", "kill -9 $$; sleep 1000", Config{Deadline: time.Minute}, message.ReasonInternal, "ended from outside"},
		{"damaged", "echo moov atom not found >&2; exit 69", Config{}, message.ReasonMediaRejected, "moov atom not found"},
	} {
		if c.name == "killed" && shared.Tools().Isolated {
			continue // the first process of a namespace does not kill itself
		}
		_, err := sh(t, c.config, c.script)
		var e *Error
		if !errors.As(err, &e) || e.Reason != c.reason || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What a program prints without end fills no memory and no log.
func TestWordsOfAChildAreBounded(t *testing.T) {
	t.Parallel()
	out, err := sh(t, Config{}, "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero | tr '\\0' '\\033' >&2; exit 3")
	if len(out) != maxOutput {
		t.Errorf("%d octets were kept", len(out))
	}
	if err == nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "\033") {
		t.Errorf("the error is %.700q", err)
	}
}

func TestMissingPrograms(t *testing.T) {
	t.Parallel()
	tr := New(t.Context(), Config{Path: t.TempDir()})
	if got := tr.Tools(); len(got.Missing) != len(abilities) || got.FFmpeg != "" {
		t.Errorf("with nothing there: %+v", got)
	}
	for name, program := range map[string]string{"clip.mov": ffprobe, "photo.heic": heifConvert, "big.gif": ffmpeg} {
		_, err := tr.Fit(t.Context(), t.TempDir(), []Part{partOf(name)}, profile("default", nil), 0, nil)
		var e *Error
		if !errors.As(err, &e) || !e.Retryable() || !strings.Contains(e.Detail, program) || !strings.Contains(e.Detail, "deploy/install.sh") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Stills need none.
	if _, err := tr.Fit(t.Context(), t.TempDir(), []Part{partOf("phone.jpg")}, profile("default", nil), 0, nil); err != nil {
		t.Error(err)
	}
}

// No more than Limit at once: who finds no place waits until one is free or it is
// called off.
func TestPlaces(t *testing.T) {
	t.Parallel()
	tr := &Transcoder{places: make(chan struct{}, 1)}
	release, err := tr.acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.acquire(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a second place was there: %v", err)
	}
	release()
	if release, err = tr.acquire(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	release()
}

func TestErrorsInTheWordsOfTheGateway(t *testing.T) {
	for _, c := range []struct {
		err    error
		reason message.Reason
		final  bool
	}{
		{asError("part 1", rejected("too large")), message.ReasonMediaRejected, true},
		{asError("part 1", internal(nil, "no room")), message.ReasonInternal, false},
		{asError("part 1", &os.PathError{Op: "open", Err: syscall.ENOENT}), message.ReasonMediaUnavailable, false},
		{asError("part 1", &os.PathError{Op: "write", Err: syscall.ENOSPC}), message.ReasonInternal, false},
		{asError("part 1", context.Canceled), message.ReasonInternal, false},
	} {
		var app *temporal.ApplicationError
		if err := activities.Fail(fmt.Errorf("transcode: %w", c.err)); !errors.As(err, &app) || app.Type() != string(c.reason) || app.NonRetryable() != c.final {
			t.Errorf("%v became %v", c.err, err)
		}
		if m := message.AsError(c.err); !strings.HasPrefix(m.Detail, "part 1: ") || m.Reason != c.reason {
			t.Errorf("%v is %+v", c.err, m)
		}
	}
	if asError("part 1", nil) != nil {
		t.Error("an error out of nothing")
	}
	_, err := shared.Fit(t.Context(), t.TempDir(), []Part{{Path: "/nonexistent/Jane's holidays.jpg"}}, profile("default", nil), 0, nil)
	if message.ReasonOf(err) != message.ReasonMediaUnavailable || strings.Contains(message.AsError(err).Detail, "Jane") {
		t.Errorf("a missing file: %v", err)
	}
}
