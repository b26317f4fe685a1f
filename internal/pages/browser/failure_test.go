package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// trial is a test that may fail: its messages are looked at.
type trial struct {
	testing.TB
	said []string
}

func (f *trial) Helper()                      {}
func (f *trial) Log(args ...any)              { f.said = append(f.said, fmt.Sprint(args...)) }
func (f *trial) Logf(s string, args ...any)   { f.said = append(f.said, fmt.Sprintf(s, args...)) }
func (f *trial) Errorf(s string, args ...any) { f.Logf(s, args...) }
func (f *trial) Fatalf(s string, args ...any) {
	f.Logf(s, args...)
	runtime.Goexit()
}

// failing runs a verb that must fail, and gives all that it says.
func failing(t *testing.T, tab *Tab, verb func()) string {
	t.Helper()
	f := &trial{TB: t}
	tab.tb = f
	done := make(chan bool)
	go func() {
		passed := false
		defer func() { done <- passed }()
		verb()
		passed = true
	}()
	if <-done {
		t.Error("it did not fail")
	}
	tab.tb = t
	return strings.Join(f.said, "\n")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	tab := Open(t, site{
		"/": document(`<h1>Failures</h1><form action="/"><label>Name <input required></label><button>Save</button></form><button disabled>Off</button>
<div class="cover"><button>Under</button><p>Above</p></div><link rel="stylesheet" href="/cover.css">
<ul><li>one <button>Twice</button></li><li>one <button>Twice</button></li></ul>`),
		"/cover.css": `.cover { position: relative } .cover p { position: absolute; inset: 0; margin: 0 }`,
	}.start(t))
	tab.pictures, tab.patience = t.TempDir(), time.Millisecond
	tab.Open("/")
	for want, verb := range map[string]func(){
		`there is no button or link "Store"; there are button "Save", button "Off"`: func() { tab.Click("Store") },
		`it is disabled`: func() { tab.Click("Off") },
		`click "Under": it cannot be met: covered by <p> "Above"`:              func() { tab.Click("Under") },
		`there are 2 of button or link "Twice"`:                                func() { tab.Click("Twice") },
		`there are 2 of row "one"`:                                             func() { tab.Row("one").Click("Twice") },
		`nothing was sent; fields that the browser refuses: Name: Please fill`: func() { tab.Submit("Save") },
		`there is no such field labelled "Surname"; there are textbox "Name"`:  func() { tab.Fill("Surname", "x") },
		`"Success" is not shown`:                                               func() { tab.See("Success") },
		`"failures" is shown`:                                                  func() { tab.SeeNot("failures") },
	} {
		said := failing(t, tab, verb)
		for _, part := range []string{want, "it shows:\nFailures Name Save"} {
			if !strings.Contains(said, part) {
				t.Errorf("it does not say %q, but\n%s", part, said)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(tab.pictures, "failed", "TestFailures.png")); err != nil {
		t.Error(err)
	}
}
