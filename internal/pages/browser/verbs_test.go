package browser

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// asked is what a form has sent: /shown has it in its text.
func asked(t *testing.T, tab *Tab) url.Values {
	t.Helper()
	if tab.Heading() != "Sent" {
		t.Fatalf("the tab is at %s", tab.Path())
	}
	u, err := url.Parse(tab.Path())
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func TestForm(t *testing.T) {
	t.Parallel()
	base := site{
		"/": document(`<h1>Form</h1><form method="post" action="/sent" enctype="multipart/form-data">
<label>Name <input name="name" required value="old"></label>
<label for="text">Text</label><textarea id="text" name="text"></textarea>
<label>Day <input type="date" name="day"></label>
<label>Country <select name="country"><option value="de">Germany<option value="us">United States</select></label>
<fieldset><legend>Speed</legend><label><input type="radio" name="speed" value="1" checked> Slow</label><label><input type="radio" name="speed" value="9"> Fast</label></fieldset>
<label><input type="checkbox" name="terms"> I agree</label>
<label><input type="checkbox" name="news" checked> Send news</label>
<label>List <input type="file" name="list"></label>
<label>Empty <input name="empty" value="something"></label>
<button>Save</button></form>`),
		"/shown": document(`<h1>Sent</h1>`),
	}.start(t)
	file := filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(file, []byte("number\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tab := Open(t, base)
	tab.Open("/")
	tab.Fill("Name", "Ünal & Söhne")
	tab.Fill("Text", "two\nlines")
	tab.Fill("Day", "2026-11-23")
	tab.Fill("Empty", "")
	tab.Choose("Country", "united states")
	tab.Choose("Speed", "Fast")
	tab.Check("I agree")
	tab.Uncheck("Send news")
	tab.Attach("List", file)
	if got := tab.Value("Name"); got != "Ünal & Söhne" {
		t.Errorf("the field holds %q", got)
	}
	tab.Submit("Save")
	got := asked(t, tab)
	for name, want := range map[string]string{"name": "Ünal & Söhne", "text": "two\r\nlines", "day": "2026-11-23", "country": "us", "speed": "9", "terms": "on", "news": "", "empty": ""} {
		if got.Get(name) != want {
			t.Errorf("%s is %q; want %q", name, got.Get(name), want)
		}
	}
}

// htmx is a stand-in that marks its work as htmx does, and is slower than anybody who does not wait.
const htmx = `document.addEventListener('submit', event => {
	event.preventDefault();
	const form = event.target;
	form.classList.add('htmx-request');
	fetch(form.getAttribute('data-get')).then(r => r.text()).then(text => {
		const target = document.querySelector('#target');
		target.classList.add('htmx-swapping');
		form.classList.remove('htmx-request');
		setTimeout(() => {
			target.innerHTML = text;
			target.classList.remove('htmx-swapping');
		}, 100);
	});
});`

func TestFragment(t *testing.T) {
	t.Parallel()
	tab := Open(t, site{
		"/":        document(`<h1>Fragment</h1><script src="/htmx.js"></script><form data-get="/part"><button>Load</button></form><div id="target"></div>`),
		"/part":    `<p>It came</p>`,
		"/htmx.js": htmx,
	}.start(t))
	tab.Open("/")
	tab.Submit("Load")
	if got, want := tab.Text(), "Fragment Load It came"; got != want { // not See, which waits by itself
		t.Errorf("the page shows %q; want %q", got, want)
	}
}

func TestNavigation(t *testing.T) {
	t.Parallel()
	tab := Open(t, site{
		"/":          document(`<h1>One</h1><a href="/two?x=1">On</a> <a href="#here">Down</a> <p id="here">Here</p>`),
		"/two":       document(`<h1>Two</h1><form action="/three"><button>On</button></form>`),
		"/three":     document(`<h1>Three</h1><button id="b">On</button><script src="/leave.js"></script>`),
		"/leave.js":  `document.querySelector('#b').addEventListener('click', () => setTimeout(() => { location.href = '/four'; }));`,
		"/four":      document(`<h1>Four</h1><p id="p"></p><script src="/late.js"></script><form action="/nothing"><button>Nowhere</button></form>`),
		"/late.js":   `setTimeout(() => { document.querySelector('#p').textContent = 'Late'; }, 300);`,
		"/dialog":    document(`<h1>Dialog</h1><button id="b">Delete</button><script src="/dialog.js"></script>`),
		"/dialog.js": `document.querySelector('#b').addEventListener('click', e => { if (confirm('Really?')) e.target.textContent = 'Gone'; });`,
	}.start(t))
	tab.Open("/")
	tab.Click("Down")
	tab.Click("On")
	if got := tab.Path(); got != "/two?x=1" {
		t.Errorf("the tab is at %s", got)
	}
	for _, want := range []string{"Two", "Three", "Four"} {
		if got := tab.Heading(); got != want {
			t.Fatalf("the heading is %q; want %q", got, want)
		}
		if want != "Four" {
			tab.Click("On")
		}
	}
	tab.SeeNot("Late")
	tab.See("late")
	tab.Submit("Nowhere")
	if got := tab.Heading(); got != "Four" {
		t.Errorf("after a 204 the heading is %q", got)
	}
	tab.Open("/dialog")
	tab.Click("Delete")
	tab.See("Gone")
	if got := tab.Dialogs(); len(got) != 1 || got[0] != "Really?" {
		t.Errorf("the page asked %q", got)
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	tab := Open(t, site{
		"/": document(`<h1>Keys</h1><nav aria-label="Main"><a href="/a">Open</a></nav>
<table><caption>Keys</caption><tr><td>billing</td><td><a href="/b">Open</a></td></tr><tr><td>shop</td><td><a href="/c">Open</a></td><td>` + "\n" + `<button aria-label="Revoke the key shop">Revoke</button></td></tr></table>
<p><a href="/c">More</a> <a href="/c">More</a> <a href="/list.csv">List</a></p>`),
		"/a": document(`<h1>A</h1>`), "/b": document(`<h1>B</h1>`), "/c": document(`<h1>C</h1>`),
	}.start(t))
	for _, step := range []struct {
		click func()
		want  string
	}{
		{func() { tab.Within("Main").Click("Open") }, "A"},
		{func() { tab.Row("billing").Click("Open") }, "B"},
		{func() { tab.Within("Keys").Row("shop").Click("Open") }, "C"},
		{func() { tab.Click("More") }, "C"}, // twice, to one place
		{func() { tab.Row("shop").Click("Revoke") }, "Keys"},
	} {
		tab.Open("/")
		step.click()
		if got := tab.Heading(); got != step.want {
			t.Errorf("the heading is %q; want %q", got, step.want)
		}
	}
	tab.Row("billing").SeeNot("Revoke")
	if name, content := tab.Download("List"); name != "numbers.csv" || string(content) != "number\n+12025550143\n" {
		t.Errorf("the file %s holds %q", name, content)
	}
}

// A tab with another's cookies is where the other is, and so is who follows its links.
func TestCookies(t *testing.T) {
	t.Parallel()
	base := site{"/": document(`<h1>Out</h1><a href="/in/side">In</a>`)}.start(t)
	first := Open(t, base)
	first.Open("/in")
	second := Open(t, base)
	second.SetCookies(first.Cookies())
	second.Open("/in/side")
	if got := second.Heading(); got != "In side" || second.Status() != 200 {
		t.Errorf("the heading is %q, the status %d", got, second.Status())
	}
	if faults := new(Links).check(first); len(faults) != 0 {
		t.Errorf("it finds %q", faults)
	}
	third := Open(t, base)
	third.Expect("401")
	third.Open("/in/side")
	if third.Status() != 401 {
		t.Errorf("without cookies the status is %d", third.Status())
	}
}

// What the server sends of itself is waited for, and a stream that has no end keeps no verb waiting.
func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	send := make(chan string)
	pages := site{
		"/": document(`<h1>Events</h1><p id="p"></p><a href="/other">Away</a><script src="/events.js"></script>`),
		"/events.js": `new EventSource('/events').onmessage = e => { document.querySelector('#p').textContent = e.data; };
fetch('/silence').catch(() => {});
new EventSource('/mute');`,
		"/other": document(`<h1>Other</h1>`),
	}
	stream := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for http.NewResponseController(w).Flush() == nil {
			select {
			case text := <-send:
				fmt.Fprintf(w, "data: %s\n\n", text)
			case <-r.Context().Done():
				return
			}
		}
	}
	mute := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	tab := Open(t, pages.start(t, func(mux *http.ServeMux) {
		mux.HandleFunc("GET /events", stream)
		mux.HandleFunc("GET /silence", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush() // a peer that has gone reads nothing
			mute(w, r)
		})
		mux.HandleFunc("GET /mute", mute)
	}))
	tab.Open("/")
	for _, text := range []string{"first", "second"} {
		send <- text
		tab.WaitFor(text)
	}
	tab.Click("Away")
	if got := tab.Heading(); got != "Other" {
		t.Errorf("the heading is %q", got)
	}
}
