package browser

import (
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// good has everything that a judge looks at.
const good = `<h1>Good</h1><h2>More</h2><p>Text with a <a href="/other">link</a> and <a href="#more">another</a>.</p><p id="more">More</p>
<div class="box" tabindex="0"><p class="long">A table that scrolls in its box</p></div>`

const style = `.box { overflow-x: auto } .long { width: 2000px } .wide { width: 2000px } .pale { color: #ccc; background: #fff }
@media (prefers-color-scheme: dark) { .dark { color: #333; background: #222 } }
@media (max-width: 600px) { .small { color: #ccc; background: #fff } }`

func judged(body string) site {
	return site{"/": strings.Replace(document(body), "</head>", `<link rel="stylesheet" href="/style.css"></head>`, 1), "/other": document("<h1>Other</h1>"), "/style.css": style,
		"/dynamic.js": `document.querySelector('#into').innerHTML = '<h2>Only by scripts</h2>';`,
		"/throws.js":  `console.error('it said', 7); setTimeout(() => { throw new Error('thrown'); }); fetch('/missing');`}
}

func TestJudgeOfAGoodPage(t *testing.T) {
	t.Parallel()
	tab := Open(t, judged(good).start(t))
	tab.pictures = t.TempDir()
	j := tab.Judge("/", &Links{})
	if len(j.Faults)+len(j.Notes) != 0 {
		t.Errorf("it finds %q and %q", j.Faults, j.Notes)
	}
	if j.Load.Requests != 2 || j.Load.Bytes < 1000 || j.Load.Bytes > 3000 || j.Load.FirstPaint <= 0 {
		t.Errorf("the load is %+v", j.Load)
	}
	if again := tab.Measure("/"); again.Requests != 2 || again.Bytes != j.Load.Bytes {
		t.Errorf("the second load is %+v; want it as cold as the first, %+v", again, j.Load)
	}
	for name, width := range map[string]int{"root-light.png": 1280, "root-dark.png": 1280, "root-phone.png": 390} {
		file, err := os.Open(filepath.Join(tab.pictures, name))
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(file)
		_ = file.Close()
		if err != nil || picture.Bounds().Dx() != width {
			t.Errorf("%s: %v, %v", name, picture.Bounds(), err)
		}
	}
}

func TestJudgeOfBadPages(t *testing.T) {
	t.Parallel()
	for want, body := range map[string]string{
		"without scripts it lacks":                                 `<h1>x</h1><div id="into"></div><script src="/dynamic.js"></script>`,
		"it has 2 headings h1":                                     `<h1>x</h1><h1>y</h1>`,
		"it has 0 headings h1":                                     `<p>x</p>`,
		"scrolls sideways at a width of 390: <p> \"x\"":            `<h1>x</h1><p class="wide">x</p>`,
		"axe, light: color-contrast (serious":                      `<h1>x</h1><p class="pale">Pale words</p>`,
		"axe, dark: color-contrast (serious":                       `<h1>x</h1><p class="dark">Dark words</p>`,
		"axe, phone: color-contrast":                               `<h1>x</h1><p class="small">Small words</p>`,
		"axe, light: label (critical":                              `<h1>x</h1><input>`,
		"it links to /gone: 404":                                   `<h1>x</h1><a href="/gone">gone</a>`,
		"it links to #gone":                                        `<h1>x</h1><a href="#gone">gone</a>`,
		"violates the following Content Security Policy directive": `<h1>x</h1><p style="color: red">x</p>`,
		"complained: console: it said 7":                           `<h1>x</h1><script src="/throws.js"></script>`,
		"complained: uncaught: Error: thrown":                      `<h1>x</h1><script src="/throws.js"></script>`,
		"complained: GET {base}/missing: 404":                      `<h1>x</h1><script src="/throws.js"></script>`,
		"it weighs":                                                `<h1>x</h1><p>` + strings.Repeat("0123456789 ", 14_000) + `</p>`,
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			base := judged(body).start(t)
			want := strings.ReplaceAll(want, "{base}", base)
			tab := Open(t, base)
			tab.pictures = t.TempDir()
			j := tab.Judge("/", &Links{})
			if !slices.ContainsFunc(j.Faults, func(f string) bool { return strings.Contains(f, want) }) {
				t.Errorf("it finds %q", j.Faults)
			}
		})
	}
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		tab := Open(t, site{"/": `<!doctype html><h1>x</h1>`}.start(t))
		tab.pictures = t.TempDir()
		j := tab.Judge("/", &Links{})
		for _, want := range []string{"it has no language", "it has no title"} {
			if !slices.ContainsFunc(j.Faults, func(f string) bool { return strings.Contains(f, want) }) {
				t.Errorf("it does not find %q, but %q", want, j.Faults)
			}
		}
	})
}

// What the browser complains of fails a test that did not look for it.
func TestComplaintsFailTests(t *testing.T) {
	t.Parallel()
	base := judged(`<h1>x</h1><p style="color: red">x</p>`).start(t)
	tab := Open(t, base)
	tab.Open("/")
	tab.Expect("Content Security Policy")
	if got := tab.complaints(); len(got) != 0 {
		t.Errorf("what was foreseen is told: %q", got)
	}
	tab.foreseen = nil
	tab.Open("/gone")
	if got := tab.complaints(); len(got) != 1 || !strings.Contains(got[0], "/gone: 404") || tab.Status() != 404 {
		t.Errorf("of a page that is not there, status %d: %q", tab.Status(), got)
	}
}

// What a link led to may be taken away while the page is judged, and the link with it.
func TestLinkThatGoes(t *testing.T) {
	t.Parallel()
	loads := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		body := `<h1>x</h1>`
		if loads++; loads == 1 {
			body += `<a href="/gone">gone</a>`
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, document(body))
	}))
	t.Cleanup(server.Close)
	tab := Open(t, server.URL)
	tab.pictures = t.TempDir()
	if j := tab.Judge("/", &Links{}); len(j.Faults) != 0 {
		t.Errorf("it finds %q", j.Faults)
	}
}
