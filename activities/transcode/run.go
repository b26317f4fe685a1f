package transcode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The bounds of one child process.
const (
	// maxMemory is RLIMIT_AS. Measured with one thread: ffmpeg of Debian 12 has 260 MB
	// of libraries in its address space before it begins, 445 MB while it converts 4K
	// H.264 of sixteen reference frames, 485 MB for 4K HEVC of ten bits.
	maxMemory = 768 << 20
	// maxDisk is RLIMIT_FSIZE: the largest file that is written on the way.
	maxDisk = 64 << 20
	// maxOutput and maxErrors bound what is kept of what a program prints.
	maxOutput = 1 << 20
	maxErrors = 16 << 10
	// niceness puts conversions behind everything else that wants the processor.
	niceness = 10
	// beat is how often progress is told while nothing else happens.
	beat = 5 * time.Second
	// lag is how long the pipes of an ended program may stay open.
	lag = 2 * time.Second
)

// limiter sets the bounds and then becomes the program. They hold before its
// first instruction, which prlimit after the start cannot promise, and it needs
// no second binary and no privilege. The processes of a user are not bounded:
// that limit counts all of them, those of others included.
const limiter = `ulimit -c 0; ulimit -t "$1"; ulimit -f "$2"; ulimit -v "$3" 2>/dev/null; shift 3; exec nice -n "$@"`

// The programs.
const (
	ffmpeg      = "ffmpeg"
	ffprobe     = "ffprobe"
	sox         = "sox"
	heifConvert = "heif-convert"
)

// run runs a program in the job's directory and gives what it printed. Its exit
// status says when something went wrong, not that all is well.
func (j *job) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	path, ok := j.t.programs[program]
	if !ok {
		return nil, internal(nil, "the program %s, which converts this type, is not installed here; deploy/install.sh brings it", program)
	}
	release, err := j.t.acquire(ctx, j.progress)
	if err != nil {
		return nil, err
	}
	defer release()
	if program != ffprobe {
		j.runs++
	}
	out, _, err := j.t.exec(ctx, j.dir, path, args, func() { j.say("%s is at work", program) })
	return out, err
}

// exec runs one child process to its end, which is that of all its descendants:
// they are in a group and, where the system allows, a namespace of their own.
func (t *Transcoder) exec(ctx context.Context, dir, path string, args []string, progress func()) (printed, complained []byte, err error) {
	deadline, cancel := context.WithTimeoutCause(ctx, t.config.Deadline, errDeadline)
	defer cancel()
	cpu := int(t.config.CPU / time.Second)
	cmd := exec.CommandContext(deadline, "/bin/sh", append([]string{"-c", limiter, "sh",
		strconv.Itoa(cpu), strconv.Itoa(maxDisk / 512), strconv.Itoa(maxMemory / 1024), strconv.Itoa(niceness), path}, args...)...)
	stdout, stderr := &capped{most: maxOutput}, &capped{most: maxErrors}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, stdout, stderr, lag
	// glibc reserves 64 MB of addresses a thread unless told otherwise.
	cmd.Env = []string{"PATH=" + t.config.Path + ":/usr/bin:/bin", "LANG=C", "MALLOC_ARENA_MAX=2"}
	cmd.SysProcAttr = t.attributes()
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	done := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// The kernel ends the child when this thread ends, so the thread must be there
		// for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, nil, internal(err, "a program could not be started")
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				_ = kill() // what it has left behind
			}
			return stdout.b, stderr.b, judge(deadline, cmd, err, stderr.b, t.config)
		case <-ticker.C:
			progress()
		}
	}
}

var errDeadline = errors.New("its time is over")

// judge tells the content's fault from the machine's.
func judge(ctx context.Context, cmd *exec.Cmd, err error, said []byte, c Config) error {
	if err == nil {
		return nil
	}
	words := printable(said)
	err = fmt.Errorf("%w: %s", err, words)
	switch {
	case errors.Is(context.Cause(ctx), errDeadline):
		return internal(err, "the conversion took longer than %v", c.Deadline)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	switch {
	case ok && status.Signaled() && used >= c.CPU-time.Second:
		return undecodable(err, "converting it takes more than %v of processor time", c.CPU)
	case ok && status.Signaled() && status.Signal() == syscall.SIGKILL:
		return internal(err, "the conversion was ended from outside")
	case strings.Contains(words, "No space left on device"), strings.Contains(words, "Disk quota exceeded"):
		return internal(err, "there is no room on the disk")
	case strings.Contains(words, "File too large"), ok && status.Signaled() && status.Signal() == syscall.SIGXFSZ:
		return undecodable(err, "converting it takes more than %d MB of disk", maxDisk>>20)
	case strings.Contains(words, "Cannot allocate memory"), strings.Contains(words, "bad_alloc"):
		return undecodable(err, "converting it takes more than %d MB of memory", maxMemory>>20)
	}
	return undecodable(err, "it is damaged, breaks off, or holds what cannot be decoded")
}

// printable makes the last words of a program fit for a log.
func printable(b []byte) string {
	const most = 300
	s := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, string(bytes.ToValidUTF8(bytes.TrimSpace(b), []byte("?"))))
	if len(s) > most {
		s = "…" + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return s
}

// capped keeps the first octets that are written to it and lets the rest go by,
// so that a program which prints for ever fills no memory.
type capped struct {
	most int
	b    []byte
}

// Write keeps what there is room for.
func (c *capped) Write(p []byte) (int, error) {
	c.b = append(c.b, p[:min(len(p), c.most-len(c.b))]...)
	return len(p), nil
}

// acquire waits for one of the places for heavy work. release gives it back.
func (t *Transcoder) acquire(ctx context.Context, progress func(string)) (release func(), err error) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case t.places <- struct{}{}:
			return func() { <-t.places }, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
			progress("waiting for a free processor")
		}
	}
}

// lookUp finds the programs in a list of directories like PATH.
func lookUp(path string) map[string]string {
	found := map[string]string{}
	for _, program := range []string{ffmpeg, ffprobe, sox, heifConvert} {
		for _, dir := range strings.Split(path, ":") {
			if file := dir + "/" + program; strings.HasPrefix(dir, "/") && executable(file) {
				found[program] = file
				break
			}
		}
	}
	return found
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
