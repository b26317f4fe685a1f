package browser

import (
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
)

// A tab rests when its document has come with all that it asked for, and nothing leaves it: each
// step of a form that is sent, in the order of the browser's events.
func TestIdle(t *testing.T) {
	t.Parallel()
	f := newTraffic()
	f.frame = "main"
	for _, step := range []struct {
		what   string
		event  any
		leaves int // forms that the document says it has sent
		idle   bool
	}{
		{"nothing was opened", &page.EventFrameStoppedLoading{FrameID: "main"}, 0, false},
		{"a document comes", &page.EventFrameNavigated{Frame: &cdp.Frame{ID: "main", LoaderID: "d1"}}, 0, false},
		{"it has loaded", &page.EventLifecycleEvent{FrameID: "main", LoaderID: "d1", Name: "load"}, 0, true},
		{"a script asks", &network.EventRequestWillBeSent{RequestID: "r1", LoaderID: "d1", Request: &network.Request{}, Type: network.ResourceTypeFetch}, 0, false},
		{"it is answered", &network.EventLoadingFinished{RequestID: "r1"}, 0, true},
		{"a form is sent, and the browser knows nothing of it yet", &page.EventLifecycleEvent{}, 1, false},
		{"the navigation is requested", &page.EventFrameRequestedNavigation{FrameID: "main", Disposition: page.ClientNavigationDispositionCurrentTab}, 1, false},
		{"it brings no document", &page.EventFrameStoppedLoading{FrameID: "main"}, 1, true},
		{"another is requested", &page.EventFrameRequestedNavigation{FrameID: "main", Disposition: page.ClientNavigationDispositionCurrentTab}, 2, false},
		{"it brings one", &page.EventFrameNavigated{Frame: &cdp.Frame{ID: "main", LoaderID: "d2"}}, 0, false},
		{"a frame within it has loaded", &page.EventLifecycleEvent{FrameID: "inner", LoaderID: "d3", Name: "load"}, 0, false},
		{"it has loaded", &page.EventLifecycleEvent{FrameID: "main", LoaderID: "d2", Name: "load"}, 0, true},
	} {
		f.listen(step.event)
		if idle, _ := f.idle(step.leaves); idle != step.idle {
			t.Errorf("%s: idle %v; want %v", step.what, idle, step.idle)
		}
	}
}
