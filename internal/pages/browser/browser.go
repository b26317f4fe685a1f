// Package browser drives a real browser through Postrider's pages as somebody would who
// reads what is shown and cannot see ids or classes: controls are named by their label or
// their text, and what is named otherwise cannot be reached. Each verb waits for the page
// (a new document, htmx, an event of the server), and ends the test with a picture and the
// page's text when it cannot be carried out.
//
//	func TestMain(m *testing.M) { stacktest.Main(m, browser.Stop) }
//
//	func TestKeys(t *testing.T) {
//		tab := browser.Open(t, baseURL)
//		tab.Open("/console/keys")
//		tab.Fill("Name", "billing")
//		tab.Submit("Create key")
//		tab.Row("billing").Click("Revoke")
//		tab.See("revoked")
//	}
//
// A test need not look for what the browser complains of (errors of scripts, violations of
// the policy, requests that failed): each tab ends its test with it, unless Expect foresaw it.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

const (
	// users are the tests that have tabs at a time: one for each core of the machine that CI
	// has. More of them only wait for each other.
	users = 2
	// patience ends what hangs; it measures nothing.
	patience = 30 * time.Second
)

// shared is the browser of this test binary.
var shared struct {
	mu      sync.Mutex
	browser *chromium
	err     error // of the first start: it is not tried again
}

// chromium is a running browser.
type chromium struct {
	ctx    context.Context // of chromedp
	cancel context.CancelFunc
	group  int // its process group

	mu    sync.Mutex
	tabs  map[string]int // open ones, by the test
	freed *sync.Cond     // of mu: a test has closed its last tab
}

// Stop ends the browser of this test binary, if one was started, with all its processes.
// Hand it to stacktest.Main. When the binary ends in another way (a panic, a test that hangs,
// a signal), the kernel kills the browser: on Linux with the thread that started it, elsewhere
// it ends itself when the pipe to it is closed.
func Stop() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.browser == nil {
		return nil
	}
	b := shared.browser
	shared.browser = nil
	return b.stop()
}

// running is the browser, started if need be.
func running(tb testing.TB) *chromium {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.browser == nil && shared.err == nil {
		shared.browser, shared.err = start(stacktest.SharedFolder(tb))
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.browser
}

// program is the path of Chromium, or of a browser of its family. deploy/install.sh looks for
// the same.
func program() (string, error) {
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
		"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no Chromium here: run `sh deploy/install.sh test`")
}

// start runs a browser whose profile lies in the folder. It is spoken to over a pipe: no port
// is opened that others on the machine could use.
func start(profile string) (*chromium, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	b := &chromium{tabs: map[string]int{}}
	b.freed = sync.NewCond(&b.mu)
	output, err := os.Create(filepath.Join(profile, "output.log"))
	if err != nil {
		return nil, err
	}
	// As root it is run without its sandbox, which chromedp sees to.
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.DisableGPU,
		chromedp.Flag("lang", "en-US"), chromedp.Env("TZ=UTC", "LANG=C.UTF-8", // pictures are the same everywhere
			"TMPDIR="+profile), // one that is killed leaves files there
		chromedp.CombinedOutput(output),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) { cmd.SysProcAttr = processGroup() }))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	b.ctx, b.cancel = chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	stop := b.cancel
	b.cancel = func() { stop(); cancel() }
	if err := chromedp.Do(b.ctx); err != nil {
		b.cancel()
		said, _ := os.ReadFile(output.Name())
		return nil, fmt.Errorf("start %s: %w\n%s", path, err, said)
	}
	b.group = chromedp.FromContext(b.ctx).Browser.Process().Pid
	return b, nil
}

// stop asks the browser to end, and kills what is left of it after that.
func (b *chromium) stop() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), patience)
	defer cancel()
	err := chromedp.Cancel(ctx)
	b.cancel()
	if killed := syscall.Kill(-b.group, syscall.SIGKILL); killed != nil && !errors.Is(killed, syscall.ESRCH) {
		err = errors.Join(err, fmt.Errorf("kill what the browser left: %w", killed))
	}
	// The kernel tells nobody of the end of a process that is not a child of his.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(-b.group, 0) == nil && ctx.Err() == nil {
		<-tick.C
	}
	return err
}

// take waits until the test may have a tab, and returns what gives it back. A test that has
// one gets more of them at once, and its subtests do: none that holds a tab waits for another.
func (b *chromium) take(tb testing.TB) (give func()) {
	test, _, _ := strings.Cut(tb.Name(), "/")
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.tabs[test] == 0 && len(b.tabs) >= users {
		b.freed.Wait()
	}
	b.tabs[test]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.tabs[test]--; b.tabs[test] == 0 {
			delete(b.tabs, test)
			b.freed.Broadcast()
		}
	}
}
