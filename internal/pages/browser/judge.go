package browser

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// axe is axe-core 4.14.1, as the npm package axe-core ships it (axe/LICENSE: MPL 2.0).
//
//go:embed axe/axe.min.js
var axe string

// MaxBytes is the most that a page may weigh: what a cold load brings over the network, with
// everything that the page asks for until it rests, as it is encoded there.
const MaxBytes = 150_000

// Load is what a load with an empty cache has cost.
type Load struct {
	Requests   int
	Bytes      int64         // headers and bodies, as they were encoded
	FirstPaint time.Duration // first contentful paint, from the navigation's beginning
}

// Judgement is what Judge has found.
type Judgement struct {
	Faults []string // what must not be; none: the page is as it should be
	Notes  []string // what axe finds of less impact
	Load   Load
}

// Judge looks at a page in every way that holds for all pages, and pictures it light, dark and
// on a phone. The page
//   - weighs at most MaxBytes;
//   - has a language, a title, and one h1;
//   - gives axe nothing to find of impact serious or critical: light, dark, and on a phone;
//   - does not scroll sideways on a phone;
//   - has links that lead somewhere (links may be shared by the judgements of many pages);
//   - shows without scripts what it shows with them;
//   - brings no complaint of the browser.
//
// The tab is left as Open gives it, on that page.
func (t *Tab) Judge(path string, links *Links) Judgement {
	t.tb.Helper()
	var j Judgement
	fault := func(format string, args ...any) { j.Faults = append(j.Faults, fmt.Sprintf(format, args...)) }
	name := pictureName(path)
	j.Load = t.Measure(path)
	if j.Load.Bytes > MaxBytes {
		fault("it weighs %d bytes; %d are allowed", j.Load.Bytes, MaxBytes)
	}
	j.Faults = append(j.Faults, t.form()...)
	for _, look := range []struct {
		name  string
		theme Theme
		size  Size
	}{{"light", Light, Desktop}, {"dark", Dark, Desktop}, {"phone", Light, Phone}} {
		t.Theme(look.theme)
		t.Size(look.size)
		for _, v := range t.Axe() {
			if v.Grave() {
				fault("axe, %s: %s", look.name, v)
			} else if note := v.String(); !slices.Contains(j.Notes, note) {
				j.Notes = append(j.Notes, note)
			}
		}
		t.Picture(name + "-" + look.name)
	}
	j.Faults = append(j.Faults, t.sideways()...)
	t.Size(Desktop)
	j.Faults = append(j.Faults, links.check(t)...)
	j.Faults = append(j.Faults, t.withoutScripts(path)...)
	for _, complaint := range t.complaints() {
		fault("the browser complained: %s", complaint)
	}
	return j
}

// pictureName is the path as a file's name: /docs/errors?q=x is docs-errors-q-x.
func pictureName(path string) string {
	words := strings.FieldsFunc(path, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	})
	if len(words) == 0 {
		return "root"
	}
	return strings.Join(words, "-")
}

// Measure loads the page with an empty cache, and leaves the tab there.
func (t *Tab) Measure(path string) Load {
	t.tb.Helper()
	cache := func(disabled bool) {
		t.tb.Helper()
		if _, err := chromedp.Call(t.ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: disabled}); err != nil {
			t.fail("measure %s: %v", path, err)
		}
	}
	cache(true)
	t.traffic.reset()
	t.Open(path)
	cache(false)
	var painted float64 // milliseconds
	if err := t.ask(&painted, "postrider.painted()"); err != nil {
		t.fail("measure %s: first contentful paint: %v", path, err)
	}
	load := Load{FirstPaint: time.Duration(painted * float64(time.Millisecond))}
	load.Requests, load.Bytes, _ = t.traffic.counts()
	return load
}

// form is what a document must have.
func (t *Tab) form() (faults []string) {
	t.tb.Helper()
	var has struct {
		Lang, Title string
		Headings    []string
	}
	if err := t.ask(&has, "postrider.form()"); err != nil {
		t.fail("look at the document: %v", err)
	}
	if has.Lang == "" {
		faults = append(faults, "it has no language (lang of html)")
	}
	if has.Title == "" {
		faults = append(faults, "it has no title")
	}
	if len(has.Headings) != 1 || has.Headings[0] == "" {
		faults = append(faults, fmt.Sprintf("it has %d headings h1 (%q); want one", len(has.Headings), has.Headings))
	}
	return faults
}

// Violation is a rule of axe that a page does not keep.
type Violation struct {
	Rule, Impact, Help string   // Impact: minor, moderate, serious, critical
	Places             []string // selectors, with what is wrong there
}

// Grave reports whether the violation keeps people out.
func (v Violation) Grave() bool { return v.Impact == "serious" || v.Impact == "critical" }

// String is the violation in one line, with its first places.
func (v Violation) String() string {
	const most = 5
	places := v.Places
	if len(places) > most {
		places = append(slices.Clone(places[:most]), fmt.Sprintf("and %d more", len(places)-most))
	}
	return fmt.Sprintf("%s (%s, %s): %s", v.Rule, v.Impact, v.Help, strings.Join(places, "; "))
}

// Axe is all that axe-core finds on the page as it is shown now.
func (t *Tab) Axe() []Violation {
	t.tb.Helper()
	var there bool
	err := t.ask(&there, "typeof axe === 'object'")
	ctx, cancel := context.WithTimeout(t.ctx, longPatience) // 5 s for 18,000 elements, if there is nothing else to do
	defer cancel()
	if err == nil && !there {
		err = t.eval(ctx, axe, nil)
	}
	var found []Violation
	if err == nil {
		err = t.eval(ctx, "postrider.axe()", &found)
	}
	if err != nil {
		t.fail("axe: %v", err)
	}
	return found
}

// sideways is what makes the page scroll sideways at the window's width.
func (t *Tab) sideways() (faults []string) {
	t.tb.Helper()
	var wide *[]string
	if err := t.ask(&wide, "postrider.wide(%d)", t.size.Width); err != nil {
		t.fail("look for what is too wide: %v", err)
	}
	if wide != nil {
		faults = append(faults, fmt.Sprintf("it scrolls sideways at a width of %d: %s", t.size.Width, strings.Join(*wide, "; ")))
	}
	return faults
}

// withoutScripts is what the page, which is shown, lacks without its scripts. What is not there
// with them afterwards either has gone meanwhile, and is not missed.
func (t *Tab) withoutScripts(path string) (faults []string) {
	t.tb.Helper()
	var with, without, after []string
	err := t.ask(&with, "postrider.content()")
	scripts := func(disabled bool) {
		t.still = disabled
		if err == nil {
			_, err = chromedp.Call(t.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: disabled})
		}
	}
	scripts(true)
	if err == nil {
		err = t.open(path)
	}
	if err == nil {
		err = t.ask(&without, "postrider.content()")
	}
	scripts(false)
	if err == nil {
		err = t.open(path)
	}
	if err == nil {
		err = t.ask(&after, "postrider.content()")
	}
	if err != nil {
		t.fail("open %s without scripts: %v", path, err)
	}
	for _, text := range with {
		if !slices.Contains(without, text) && slices.Contains(after, text) {
			faults = append(faults, fmt.Sprintf("without scripts it lacks %q", text))
		}
	}
	return faults
}

// Links are places that were found to answer. The zero value is ready, and safe for concurrent use.
type Links struct {
	mu   sync.Mutex
	seen map[string]bool
}

// check follows the links of the page to places of the same origin, each once however many pages
// have it, with the tab's cookies.
func (l *Links) check(t *Tab) (faults []string) {
	t.tb.Helper()
	var links, lost []string
	if err := t.ask(&links, "postrider.links()"); err != nil {
		t.fail("look for links: %v", err)
	}
	if err := t.ask(&lost, "postrider.lost()"); err != nil {
		t.fail("look for links: %v", err)
	}
	for _, link := range lost {
		faults = append(faults, fmt.Sprintf("it links to %s, which is not on it", link))
	}
	client := t.client()
	for _, link := range links {
		u, err := url.Parse(link)
		if err != nil || u.Scheme != t.base.Scheme || u.Host != t.base.Host {
			continue
		}
		u.Fragment = ""
		if !l.first(u.String()) {
			continue
		}
		if fault := follow(t.ctx, client, u.String()); fault != "" && t.stillLinks(link) {
			faults = append(faults, fmt.Sprintf("it links to %s: %s", u.RequestURI(), fault))
		}
	}
	return faults
}

// stillLinks reports whether the page has the link when it is loaded again: what it led to may
// have been taken away since, and the link with it.
func (t *Tab) stillLinks(link string) bool {
	t.tb.Helper()
	var links []string
	err := t.open(t.Path())
	if err == nil {
		err = t.ask(&links, "postrider.links()")
	}
	if err != nil {
		t.fail("look for links again: %v", err)
	}
	return slices.Contains(links, link)
}

// first reports whether the place was not seen before.
func (l *Links) first(place string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	defer func() { l.seen[place] = true }()
	return !l.seen[place]
}

// client has the tab's cookies.
func (t *Tab) client() *http.Client {
	t.tb.Helper()
	jar, _ := cookiejar.New(nil) // never an error
	jar.SetCookies(t.base, t.Cookies())
	return &http.Client{Jar: jar}
}

// follow says what is wrong with the answer.
func follow(ctx context.Context, client *http.Client, place string) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return resp.Status
	}
	return ""
}
