package browser

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// Theme is the colours that somebody's system asks for.
type Theme string

// The themes.
const (
	Light Theme = "light"
	Dark  Theme = "dark"
)

// Size is that of a window, in CSS pixels.
type Size struct {
	Width, Height int64
	Touch         bool // a phone: the page's viewport element counts
}

// The sizes that pages are looked at in.
var (
	Phone   = Size{Width: 390, Height: 844, Touch: true}
	Desktop = Size{Width: 1280, Height: 900}
	Wide    = Size{Width: 1920, Height: 1080}
)

// Tab is one tab with cookies and a cache of its own, for one test. Its verbs (those of Part,
// on the whole page) are called by the test's goroutine alone.
type Tab struct {
	*Part
	tb       testing.TB
	ctx      context.Context // of chromedp
	base     *url.URL
	traffic  *traffic
	folder   string // of downloads
	pictures string // their folder
	patience time.Duration
	size     Size
	foreseen []string
	still    bool // scripts are off, and nothing changes by itself

	mu    sync.Mutex
	world world
}

// Open is a new tab, light and of the size Desktop, on which paths are those of the base URL.
// Two tests have tabs at a time: the Open of another waits. The tab is closed at the test's end,
// which fails if the browser has complained of something. Starting the browser takes a second, once.
func Open(tb testing.TB, base string) *Tab {
	tb.Helper()
	at, err := url.Parse(base)
	if err != nil || at.Host == "" {
		tb.Fatalf("%q is no URL of pages", base)
	}
	b := running(tb)
	tb.Cleanup(b.take(tb))
	pictures, err := artifacts()
	if err != nil {
		tb.Fatal(err)
	}
	t := &Tab{tb: tb, base: at, traffic: newTraffic(), folder: stacktest.Folder(tb), pictures: pictures, patience: patience}
	t.Part = &Part{tab: t}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(t.listen))
	t.ctx = ctx
	tb.Cleanup(func() {
		for _, complaint := range t.complaints() {
			tb.Errorf("the browser complained: %s", complaint)
		}
		cancel()
	})
	if err := t.setUp(); err != nil {
		tb.Fatalf("open a tab: %v", err)
	}
	return t
}

func (t *Tab) setUp() error {
	if err := chromedp.Do(t.ctx); err != nil {
		return err
	}
	yes := true
	c := chromedp.FromContext(t.ctx)
	t.traffic.frame = cdp.FrameID(c.Target.TargetID) // Chromium names a tab after its main frame
	_, err := chromedp.Call(t.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllowAndName,
		BrowserContextID: c.BrowserContextID, DownloadPath: t.folder, EventsEnabled: &yes})
	if err != nil {
		return err
	}
	return errors.Join(t.setSize(Desktop), t.setTheme(Light))
}

// listen takes the browser's events. It must not wait for an answer of the browser.
func (t *Tab) listen(event any) {
	t.traffic.listen(event)
	if _, ok := event.(*page.EventJavascriptDialogOpening); ok {
		go func() { // ends with its call, at the latest with the tab
			_, _ = chromedp.Call(t.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}()
	}
}

// Dialogs are the questions that the page's scripts have asked by window.confirm and its like,
// in order. Each was answered with yes.
func (t *Tab) Dialogs() []string {
	t.traffic.mu.Lock()
	defer t.traffic.mu.Unlock()
	return append([]string(nil), t.traffic.dialogs...)
}

// Expect foresees what the browser will complain of until the test's end, by words of it: "422"
// of a form that is refused, or a path. It then does not fail the test.
func (t *Tab) Expect(words ...string) { t.foreseen = append(t.foreseen, words...) }

// Polls says that pages ask for such paths again and again, as those of the Temporal UI do: a
// page is at rest while such a request is under way.
func (t *Tab) Polls(part string) {
	t.traffic.mu.Lock()
	defer t.traffic.mu.Unlock()
	t.traffic.polls = append(t.traffic.polls, part)
}

// complaints are those since the last call that were not foreseen.
func (t *Tab) complaints() []string {
	var list []string
complaints:
	for _, c := range t.traffic.complaints() {
		for _, words := range t.foreseen {
			if strings.Contains(c, words) {
				continue complaints
			}
		}
		list = append(list, c)
	}
	return list
}

// Open shows the page at the path, which may have a query, and waits for it.
func (t *Tab) Open(path string) {
	t.tb.Helper()
	if err := t.open(path); err != nil {
		t.fail("open %s: %v", path, err)
	}
}

func (t *Tab) open(path string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	at, err := t.base.Parse(path)
	if err != nil {
		return err
	}
	went, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: at.String()})
	if err != nil {
		return err
	}
	if went.ErrorText != "" {
		return errors.New(went.ErrorText)
	}
	for went.LoaderID != "" { // empty: the same document
		there, changed := t.traffic.shows(went.LoaderID)
		if there {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err = t.settle(ctx)
	return err
}

// Path is where the tab is: path and query.
func (t *Tab) Path() string {
	t.tb.Helper()
	var at string
	if err := t.ask(&at, "location.href"); err != nil {
		t.fail("where is the tab: %v", err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.fail("where is the tab: %v", err)
	}
	return u.RequestURI()
}

// Status is that of the page's document, such as 200.
func (t *Tab) Status() int {
	t.traffic.mu.Lock()
	defer t.traffic.mu.Unlock()
	return int(t.traffic.status)
}

// Browser is the browser's name and version, such as "Chrome/156.0.8078.79".
func (t *Tab) Browser() string {
	t.tb.Helper()
	version, err := chromedp.CallBrowser(t.ctx, browser.GetVersion, cdp.Empty{})
	if err != nil {
		t.fail("ask for the browser's version: %v", err)
	}
	return version.Product
}

// Theme shows pages in these colours from now on.
func (t *Tab) Theme(theme Theme) {
	t.tb.Helper()
	if err := t.setTheme(theme); err != nil {
		t.fail("show it %s: %v", theme, err)
	}
}

func (t *Tab) setTheme(theme Theme) error {
	_, err := chromedp.Call(t.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: string(theme)},
		{Name: "prefers-reduced-motion", Value: "reduce"}, // pictures are the same every time
	}})
	return err
}

// Size gives the window this size.
func (t *Tab) Size(size Size) {
	t.tb.Helper()
	if err := t.setSize(size); err != nil {
		t.fail("show it in %d × %d: %v", size.Width, size.Height, err)
	}
}

func (t *Tab) setSize(size Size) error {
	t.size = size
	_, err := chromedp.Call(t.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: size.Width, Height: size.Height, DeviceScaleFactor: 1, Mobile: size.Touch})
	return err
}

// Cookies are all that the tab has: with SetCookies another tab is signed in as this one is.
func (t *Tab) Cookies() []*http.Cookie {
	t.tb.Helper()
	got, err := chromedp.CallBrowser(t.ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(t.ctx).BrowserContextID})
	if err != nil {
		t.fail("read the cookies: %v", err)
	}
	var list []*http.Cookie
	for _, c := range got.Cookies {
		list = append(list, &http.Cookie{Name: c.Name, Value: c.Value, Path: c.Path, Secure: c.Secure, HttpOnly: c.HTTPOnly})
	}
	return list
}

// SetCookies gives the tab cookies of another one.
func (t *Tab) SetCookies(list []*http.Cookie) {
	t.tb.Helper()
	for _, c := range list {
		_, err := chromedp.Call(t.ctx, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value, URL: t.base.String(), Path: c.Path,
			Secure: &c.Secure, HTTPOnly: &c.HttpOnly})
		if err != nil {
			t.fail("set the cookie %s: %v", c.Name, err)
		}
	}
}

// Picture writes a picture of the whole page, 4,000 pixels of it at most, as NAME.png into the
// folder pages below $ARTIFACTS (.run/artifacts of the checkout, if that is not set).
func (t *Tab) Picture(name string) {
	t.tb.Helper()
	if err := t.picture(name); err != nil {
		t.tb.Errorf("picture %s: %v", name, err)
	}
}

// tallest bounds a picture: a document of 100,000 pixels is more than Chromium draws in one
// piece, and more than anybody looks at.
const tallest = 4000

func (t *Tab) picture(name string) error {
	var height int64
	if err := t.ask(&height, "postrider.height()"); err != nil {
		return err
	}
	yes := true
	shot, err := chromedp.Call(t.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &yes,
		Clip: &page.Viewport{Width: float64(t.size.Width), Height: float64(min(max(height, t.size.Height), tallest)), Scale: 1}})
	if err != nil {
		return err
	}
	path := filepath.Join(t.pictures, name+".png")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, shot.Data, 0o644)
}

func artifacts() (string, error) {
	if folder := os.Getenv("ARTIFACTS"); folder != "" {
		return filepath.Join(folder, "pages"), nil
	}
	root, err := stack.RepoRoot()
	return filepath.Join(root, ".run", "artifacts", "pages"), err
}

// shownText is the most of a page's text that a failure quotes, in bytes.
const shownText = 3000

// fail ends the test with what the page shows.
func (t *Tab) fail(format string, args ...any) {
	t.tb.Helper()
	var at, text string
	_ = t.ask(&at, "location.href") // what cannot be had is not shown
	_ = t.ask(&text, "postrider.text(document)")
	name := filepath.Join("failed", strings.NewReplacer("/", "_", " ", "_").Replace(t.tb.Name()))
	seen := filepath.Join(t.pictures, name+".png")
	if err := t.picture(name); err != nil {
		seen = "none: " + err.Error()
	}
	t.tb.Logf("the tab is at %s; picture: %s; it shows:\n%s", at, seen, text[:min(len(text), shownText)])
	t.tb.Fatalf(format, args...)
}
