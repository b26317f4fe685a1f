package pages

import (
	"net/url"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/snapshot"
)

// openMessage opens the newest of the demo's messages to a recipient, from the list.
func openMessage(tab *browser.Tab, to string) {
	tab.Open("/console/messages?" + url.Values{"to": {to}, "client_reference": {"variety"}}.Encode())
	row := tab.Row(to)
	row.Click(strings.Fields(row.Text())[0])
	tab.See("What happened")
}

// The page of a message, of one with markup in whatever its customer has written.
func TestMessagePage(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleSupport)
	openMessage(tab, "+13105550167")
	tab.See(`<b>Markup</b> & "quotes" <script>alert(1)</script>`, "<i>4711</i>", "Accepted", "Delivery report")
	judgeAll(t, tab, tab.Path())
	if said := tab.Dialogs(); len(said) > 0 {
		t.Errorf("a text was executed: %q", said)
	}
}

func TestCancelAMessageForItsCustomer(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleSupport)
	openMessage(tab, "+13105550165")
	tab.See("scheduled")
	tab.Click("Cancel…")
	tab.Fill("Reason", "The customer has asked for it")
	tab.Submit("Cancel the message")
	tab.See("The message is withdrawn", "canceled")
}

func TestSendAFailedMessageOnceMore(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleSupport)
	openMessage(tab, "+13105550002")
	tab.See("expired")
	tab.Click("Send it once more…")
	tab.Submit("Send once more")
	tab.See("A new message was made of it", "Retry of")
}

// Nobody knows whether the vendor has it, until support has asked the vendor.
func TestResolveAMessageInDoubt(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleSupport)
	tab.Expect("422")
	openMessage(tab, "+13105550013")
	tab.WaitFor("in doubt") // the page follows it
	tab.Open(tab.Path())
	tab.Click("Resolve the doubt…")
	tab.Submit("Resolve")
	tab.See("is needed")
	tab.Choose("What is known", "The vendor does not have it: it failed")
	tab.Fill("How that is known", "The vendor's desk has looked for it")
	tab.Submit("Resolve")
	tab.See("The doubt is resolved")
}

// Who may not do something reads so, and who may.
func TestViewerDoesNothingWithAMessage(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleViewer)
	openMessage(tab, "+13105550001")
	tab.See("your role is viewer", "Support and compliance may read texts")
	tab.SeeNot("Send it once more…", "The carrier cannot deliver this one")
}

// The field in the head finds a message by its id, or by a number.
func TestFindAMessage(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleViewer)
	openMessage(tab, "+13105550004")
	id := tab.Path()[strings.LastIndex(tab.Path(), "/")+1:]
	tab.Open("/console")
	tab.Fill("Find a message", id)
	tab.Click("Find")
	tab.See("Message "+id, "sent")
	tab.Open("/console")
	tab.Fill("Find a message", "+13105550004")
	tab.Click("Find")
	tab.Row("+13105550004").See("sent")
}
