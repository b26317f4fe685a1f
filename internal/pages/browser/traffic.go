package browser

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

// traffic is what the browser tells of a tab: its documents, its requests, and what goes
// wrong. It is safe for concurrent use.
type traffic struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything below changes

	frame    cdp.FrameID  // the main one
	document cdp.LoaderID // what it shows
	loaded   cdp.LoaderID // the last whose load event came
	leaving  bool         // a navigation is on its way
	left     int          // navigations since the document came

	polls []string // parts of URLs whose requests nobody waits for

	open      map[network.RequestID]request
	sent      int // requests for documents and those of scripts
	finished  int // answers that came whole
	bytes     int64
	status    int64 // of the document
	complaint []string
	dialogs   []string
	downloads map[string]*download // by GUID
}

type request struct {
	document    cdp.LoaderID
	method, url string
	kind        network.ResourceType
	stream      bool // it has no end
}

type download struct {
	name  string
	state browser.DownloadProgressState
}

func newTraffic() *traffic {
	return &traffic{changed: make(chan struct{}), open: map[network.RequestID]request{}, downloads: map[string]*download{}}
}

// listen takes an event of the browser.
func (f *traffic) listen(event any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ofPage(event) || f.ofNetwork(event) || f.ofDownload(event) || f.ofTrouble(event) {
		close(f.changed)
		f.changed = make(chan struct{})
	}
}

func (f *traffic) ofPage(event any) bool {
	switch e := event.(type) {
	case *page.EventFrameRequestedNavigation:
		if e.FrameID == f.frame && e.Disposition == page.ClientNavigationDispositionCurrentTab {
			f.leaving = true
			f.left++
		}
	case *page.EventFrameNavigated:
		if e.Frame.ParentID != "" {
			return false
		}
		f.frame, f.document, f.leaving, f.left = e.Frame.ID, e.Frame.LoaderID, false, 0
		maps.DeleteFunc(f.open, func(_ network.RequestID, r request) bool { return r.document != f.document }) // they ended with theirs
	case *page.EventNavigatedWithinDocument:
		if e.FrameID == f.frame {
			f.leaving = false
		}
	case *page.EventLifecycleEvent:
		if e.Name != "load" || e.FrameID != f.frame {
			return false
		}
		f.loaded = e.LoaderID
	case *page.EventFrameStoppedLoading: // a download and a 204 bring no document
		if e.FrameID == f.frame {
			f.leaving = false
		}
	default:
		return false
	}
	return true
}

func (f *traffic) ofNetwork(event any) bool {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if strings.HasSuffix(e.Request.URL, "/favicon.ico") { // the browser's own idea, at any time
			return false
		}
		if e.RedirectResponse == nil {
			switch e.Type {
			case network.ResourceTypeDocument, network.ResourceTypeXHR, network.ResourceTypeFetch:
				f.sent++
			}
		}
		f.open[e.RequestID] = request{document: e.LoaderID, method: e.Request.Method, url: e.Request.URL, kind: e.Type,
			stream: e.Type == network.ResourceTypeEventSource || e.Type == network.ResourceTypeWebSocket}
	case *network.EventResponseReceived:
		r, known := f.open[e.RequestID]
		if !known {
			return false
		}
		if e.Type == network.ResourceTypeDocument && e.FrameID == f.frame {
			f.status = e.Response.Status
		}
		if e.Response.Status >= 400 {
			f.complain("%s %s: %d", r.method, e.Response.URL, e.Response.Status)
		}
		if e.Response.MimeType == "text/event-stream" {
			r.stream = true
			f.open[e.RequestID] = r
		}
	case *network.EventLoadingFinished:
		if _, known := f.open[e.RequestID]; !known {
			return false
		}
		f.finished++
		f.bytes += int64(e.EncodedDataLength)
		delete(f.open, e.RequestID)
	case *network.EventLoadingFailed:
		r, known := f.open[e.RequestID]
		delete(f.open, e.RequestID)
		// A document that is left takes its requests with it, and a download its navigation.
		if known && !e.Canceled && e.ErrorText != "net::ERR_ABORTED" {
			f.complain("%s %s: %s %s", r.method, r.url, e.ErrorText, e.BlockedReason)
		}
	default:
		return false
	}
	return true
}

func (f *traffic) ofDownload(event any) bool {
	switch e := event.(type) {
	case *browser.EventDownloadWillBegin:
		f.downloads[e.GUID] = &download{name: e.SuggestedFilename}
	case *browser.EventDownloadProgress:
		if d := f.downloads[e.GUID]; d != nil {
			d.state = e.State
		}
	default:
		return false
	}
	return true
}

func (f *traffic) ofTrouble(event any) bool {
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		f.dialogs = append(f.dialogs, e.Message)
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeAssert {
			return false
		}
		var words []string
		for _, a := range e.Args {
			words = append(words, cmp.Or(a.Description, strings.Trim(string(a.Value), `"`)))
		}
		f.complain("console: %s", strings.Join(words, " "))
	case *runtime.EventExceptionThrown:
		what := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			what = e.ExceptionDetails.Exception.Description
		}
		f.complain("uncaught: %s (%s:%d)", what, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber+1)
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError || e.Entry.Source == log.EntrySourceNetwork { // those are told above
			return false
		}
		f.complain("%s: %s", e.Entry.Source, e.Entry.Text)
	case *inspector.EventTargetCrashed:
		f.complain("the tab crashed")
	default:
		return false
	}
	return true
}

// complain takes what went wrong. The caller holds f.mu.
func (f *traffic) complain(format string, args ...any) {
	f.complaint = append(f.complaint, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// idle reports whether the document has come with all that it and its scripts have asked for,
// and nothing leaves it. leaves are the forms that it has sent. changed is closed at the next
// event.
func (f *traffic) idle(leaves int) (idle bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	idle = !f.leaving && f.document != "" && f.document == f.loaded && leaves <= f.left
	for _, r := range f.open {
		poll := slices.ContainsFunc(f.polls, func(part string) bool { return strings.Contains(r.url, part) })
		if !r.stream && !poll && r.kind != network.ResourceTypePing {
			idle = false
		}
	}
	return idle, f.changed
}

// shows reports whether the document is the one.
func (f *traffic) shows(document cdp.LoaderID) (is bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.document == document, f.changed
}

// counts are what a load has cost since the last reset.
func (f *traffic) counts() (requests int, bytes int64, sent int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.finished, f.bytes, f.sent
}

// reset begins to count anew.
func (f *traffic) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finished, f.bytes = 0, 0
}

// complaints are what went wrong since the last call.
func (f *traffic) complaints() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.complaint
	f.complaint = nil
	return list
}
