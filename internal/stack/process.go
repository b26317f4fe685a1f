package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// defaultGrace bounds a Stop whose context has no deadline. Temporal's own patience is 10 s, a
	// worker's drain 15 s.
	defaultGrace = 20 * time.Second
	// pipeGrace is how long a tee is read after the program's end, for what is still in the pipe.
	// Only a descendant that left the process group can hold it open that long.
	pipeGrace = 2 * time.Second
	// maxTeeLine bounds the memory of a tee; longer lines are cut into several.
	maxTeeLine = 64 << 10
	// logTail is how much of a log an error quotes.
	logTail = 2 << 10
	// maxLogFile is the size from which a log is set aside as .1 at the next start.
	maxLogFile = 16 << 20
)

// ProcessConfig says what to run. Path is required, the zero values of the others work.
type ProcessConfig struct {
	// Args are the arguments without the program's name.
	Args []string
	// Credential runs the program as another user, which only root may. Nil means the own user.
	Credential *syscall.Credential
	// DeathSignal is what the program gets when this process dies without stopping it. Linux only.
	// Zero means SIGTERM.
	DeathSignal syscall.Signal
	// Dir is the working directory. Empty means the own one.
	Dir string
	// Env is the whole environment. Nil means the own one.
	Env []string
	// LogFile receives stdout and stderr, appended. Empty drops them, unless there is a Tee.
	LogFile string
	// Name stands in errors and before each line of Tee. Empty means the program's base name.
	Name string
	// Path is the program: absolute, relative to the own working directory, or a name in PATH.
	Path string
	// Tee also receives the output, line by line, each with "Name | " before it. It is written by one
	// goroutine at a time and must not block for long: the program then blocks as well.
	Tee io.Writer
}

// Process is a running or ended program. All methods are safe for concurrent use.
type Process struct {
	cfg  ProcessConfig
	cmd  *exec.Cmd
	done chan struct{} // closed by run, once err is set
	err  error         // cmd.Wait's; read only after done
	from int64         // the log's size before the start
}

// StartProcess runs a program in a process group of its own. Its life is not bound to a context: the
// caller stops it. It returns the error of the start, not of the program.
func StartProcess(cfg ProcessConfig) (*Process, error) {
	if cfg.Name == "" {
		cfg.Name = filepath.Base(cfg.Path)
	}
	if cfg.DeathSignal == 0 {
		cfg.DeathSignal = syscall.SIGTERM
	}
	p := &Process{cfg: cfg, cmd: exec.Command(cfg.Path, cfg.Args...), done: make(chan struct{})}
	p.cmd.Dir = cfg.Dir
	p.cmd.Env = cfg.Env
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cfg.Credential}
	dieWithParent(p.cmd.SysProcAttr, cfg.DeathSignal)

	log, err := p.openLog()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Name, err)
	}
	finish, err := p.connect(log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", cfg.Name, err), closeFile(log))
	}
	started := make(chan error)
	go p.run(started, finish)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Name, err)
	}
	return p, nil
}

// run starts the program and waits for its end, on one thread: the kernel sends the death signal when
// the thread that forked ends, not the process, so that thread must live as long as the program.
func (p *Process) run(started chan<- error, finish func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		finish()
		started <- err
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // what it left behind; usually nobody
	finish()
	close(p.done)
}

// openLog returns nil when no log is wanted.
func (p *Process) openLog() (*os.File, error) {
	if p.cfg.LogFile == "" {
		return nil, nil
	}
	info, err := os.Stat(p.cfg.LogFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Size() > maxLogFile:
		if err := os.Rename(p.cfg.LogFile, p.cfg.LogFile+".1"); err != nil {
			return nil, err
		}
	default:
		p.from = info.Size()
	}
	return os.OpenFile(p.cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
}

// connect joins the program's output to the log, and to the tee through a pipe if there is one. The
// returned function closes what this process holds of it, once the program has ended.
func (p *Process) connect(log *os.File) (finish func(), err error) {
	if p.cfg.Tee == nil {
		if log != nil { // a nil *os.File in an io.Writer is not nil
			p.cmd.Stdout, p.cmd.Stderr = log, log
		}
		return func() { _ = closeFile(log) }, nil
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	var copied sync.WaitGroup
	copied.Go(func() { p.tee(reader, log) })
	return func() {
		_ = writer.Close()
		_ = reader.SetReadDeadline(time.Now().Add(pipeGrace))
		copied.Wait()
		_ = reader.Close()
		_ = closeFile(log)
	}, nil
}

func (p *Process) tee(from io.Reader, log *os.File) {
	lines := bufio.NewReaderSize(from, maxTeeLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			if log != nil {
				_, _ = log.Write(line) // a full disk must not stop the program
			}
			if line[len(line)-1] != '\n' {
				line = append(line[:len(line):len(line)], '\n')
			}
			_, _ = fmt.Fprintf(p.cfg.Tee, "%s | %s", p.cfg.Name, line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func closeFile(file *os.File) error {
	if file == nil {
		return nil
	}
	return file.Close()
}

// Done is closed when the program has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the program has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID is the program's process id. It stays the same after the end.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits for the program's end and returns nil for exit code 0, or an *exec.ExitError.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends a signal to the program alone. After its end that is nothing, and no error.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", p.cfg.Name, err)
	}
	return nil
}

// Stop sends SIGTERM and waits. When ctx ends first (or after 20 s, if ctx has no deadline) it kills
// the process group and returns an error that says so. It returns only when the program has ended,
// whatever its exit code. Stopping an ended program does nothing.
func (p *Process) Stop(ctx context.Context) error { return p.stopWith(ctx, syscall.SIGTERM) }

func (p *Process) stopWith(ctx context.Context, signal syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultGrace)
		defer cancel()
	}
	if err := p.Signal(signal); err != nil {
		return errors.Join(err, p.Kill())
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	return errors.Join(fmt.Errorf("%s had to be killed: it did not stop: %w", p.cfg.Name, ctx.Err()), p.Kill())
}

// Kill ends the program and its process group with SIGKILL and waits until they are gone.
func (p *Process) Kill() error {
	if p.Running() {
		if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %s: %w", p.cfg.Name, err)
		}
		<-p.done
	}
	return nil
}

// LogTail returns the end of what the program wrote to its log since its start, at most 2 KiB.
func (p *Process) LogTail() string {
	file, err := os.Open(p.cfg.LogFile)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	tail := make([]byte, min(logTail, max(0, info.Size()-p.from)))
	n, _ := file.ReadAt(tail, info.Size()-int64(len(tail)))
	return string(tail[:n])
}
