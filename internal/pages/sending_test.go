package pages

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pages/browser"
)

// The pages of what an account sends and receives, in the portal.
func TestSendingPages(t *testing.T) {
	t.Parallel()
	t.Run("lists", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/messages?to=%2B13105550101", "/portal/inbound", "/portal/send", "/portal/batches", "/portal/batches/new")
	})
	t.Run("a message", func(t *testing.T) {
		t.Parallel()
		tab := asUser(t, "owner")
		sendText(tab, "+13105550140", "Judge this page.")
		tab.WaitFor("DELIVRD")
		judgeAll(t, tab, tab.Path())
		tab.Open("/portal/messages?direction=inbound")
		tab.Row("+13105550110").Click(messageLink(tab.Row("+13105550110"))) // the demo's handset
		tab.See("Where it went")
		judgeAll(t, tab, tab.Path())
	})
	t.Run("a batch", func(t *testing.T) {
		t.Parallel()
		tab := asUser(t, "owner")
		sendBatch(tab, "To be judged", "to,name\n+13105550121,Ada\nnobody,Bob\n", "Hello {{name}}")
		tab.WaitFor("completed")
		judgeAll(t, tab, tab.Path())
	})
}

// sendText sends a message with the form, and leaves the tab at its page.
func sendText(tab *browser.Tab, to, text string) {
	tab.Open("/portal/send")
	tab.Fill("From", demoNumber)
	tab.Fill("To", to)
	tab.Fill("Text", text)
	tab.Submit("Send")
	tab.See("The message is accepted")
}

func sendBatch(tab *browser.Tab, name, rows, text string) {
	tab.Open("/portal/batches/new")
	tab.Fill("Name", name)
	tab.Fill("From", demoNumber)
	tab.Fill("Or the rows themselves", rows)
	tab.Fill("Text", text)
	tab.Submit("Send the batch")
	tab.See("The batch is accepted")
}

// Somebody sends a test message, sees what it comes to while typing, and follows it.
func TestSendATestMessage(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Open("/portal/send")
	tab.Fill("From", demoNumber)
	tab.Fill("To", "+13105550122")
	tab.Fill("Text", strings.Repeat("a", 161))
	tab.See("161", "GSM 7-bit", "Parts 2")
	tab.Fill("Text", strings.Repeat("ж", 10))
	tab.See("Unicode (UCS-2)", "Parts 1")
	tab.See("It would go")
	tab.Submit("Send")
	tab.See("The message is accepted", "жжжж")
	tab.WaitFor("Delivery report")
	tab.WaitFor("delivered")
}

// What the API refuses stands at the form, and nothing is sent.
func TestATestMessageThatIsRefused(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Expect("422")
	tab.Open("/portal/send")
	tab.Fill("From", demoNumber)
	tab.Fill("To", "+1310")
	tab.Fill("Text", "never sent")
	tab.See("It would be refused", "What invalid_destination means")
	tab.Submit("Send")
	tab.See("This was not done")
	tab.Open("/portal/send")
	tab.Fill("Text", "never sent either")
	tab.Submit("Send")
	tab.See("is needed")
}

// onePixel is a PNG.
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func TestSendAPicture(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	picture, err := base64.StdEncoding.DecodeString(onePixel)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dot.png")
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		t.Fatal(err)
	}
	tab.Open("/portal/send")
	tab.Fill("From", demoNumber)
	tab.Fill("To", "+13105550123")
	tab.Fill("Text", "Look")
	tab.Attach("Files", file)
	tab.Submit("Send")
	tab.See("The message is accepted", "MMS", "image/png")
}

// A text of a stranger, or of a user, is text wherever it is shown.
func TestTextIsNoMarkup(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	text := `<script>document.title="owned"</script><img src=x onerror=alert(1)> "&amp;`
	sendText(tab, "+13105550124", text)
	tab.See(text)
	tab.Open("/portal/messages?to=%2B13105550124")
	tab.See("+13105550124")
}

func TestChangeAndCancelAScheduledMessage(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Open("/portal/send")
	tab.Fill("From", demoNumber)
	tab.Fill("To", "+13105550125")
	tab.Fill("Text", "Tomorrow")
	tab.Fill("To be sent at", time.Now().UTC().Add(24*time.Hour).Format("2006-01-02T15:04"))
	tab.Submit("Send")
	tab.See("The message is accepted", "scheduled")
	tab.Click("Change it…")
	tab.Fill("Text", "The day after")
	tab.Submit("Save")
	tab.See("The message is changed", "The day after")
	tab.Click("Change it…")
	tab.Expect("422")
	tab.Fill("Valid for", "5")
	tab.Submit("Save")
	tab.See("This was not done", "60 to 259")
	tab.Click("Cancel…")
	tab.Submit("Cancel the message")
	tab.See("The message is withdrawn")
	tab.WaitFor("canceled")
	tab.SeeNot("Change it…")
}

// 0001: the simulator reports it as undeliverable.
func TestRetryAMessageThatFailed(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	sendText(tab, "+13105550001", "To nobody")
	tab.WaitFor("Not delivered")
	before := tab.Path()
	tab.Open(before)
	tab.Click("Send it once more…")
	tab.Submit("Send once more")
	tab.See("A new message was made of it", "Retry of")
	if tab.Path() == before {
		t.Error("it is the same message")
	}
}

func TestSendABatch(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	file := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(file, []byte("to,name\n+13105550126,Ada\n+13105550127,Grace\nnobody,Bob\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tab.Open("/portal/batches/new")
	tab.Fill("Name", "Parcels")
	tab.Fill("From", demoNumber)
	tab.Attach("File", file)
	tab.Fill("Text", "{{name}}, your parcel is here")
	tab.Submit("Check it first")
	tab.See("One row would be refused", "Nothing was sent")
	tab.Submit("Send the batch")
	tab.See("The batch is accepted", "Parcels")
	tab.WaitFor("completed")
	tab.Open(tab.Path())
	tab.Row("nobody").See("rejected")
	tab.Click("Its messages") // a list that stands still
	tab.Row("+13105550126").Click(messageLink(tab.Row("+13105550126")))
	tab.See("Ada, your parcel is here")
}

// messageLink is the end of an id that a row shows.
func messageLink(row *browser.Part) string {
	for _, word := range strings.Fields(row.Text()) {
		if strings.HasPrefix(word, "…") {
			return word
		}
	}
	return ""
}

func TestABatchWithoutRows(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Expect("422")
	tab.Open("/portal/batches/new")
	tab.Fill("Text", "To whom?")
	tab.Submit("Send the batch")
	tab.See("choose a CSV")
}

func TestPauseResumeAndCancelABatch(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	var rows strings.Builder
	rows.WriteString("to\n")
	for i := range 300 { // five minutes at one a second
		fmt.Fprintf(&rows, "+1310555%04d\n", 2000+i)
	}
	tab.Open("/portal/batches/new")
	tab.Fill("Name", "Slow")
	tab.Fill("From", demoNumber)
	tab.Fill("Or the rows themselves", rows.String())
	tab.Fill("Text", "Slowly")
	tab.Fill("Rows a second at most", "1")
	tab.Submit("Send the batch")
	tab.See("running")
	tab.Click("Pause it…")
	tab.Submit("Pause")
	tab.See("The batch is paused")
	tab.Click("Resume it…")
	tab.Submit("Resume")
	tab.See("The batch goes on")
	tab.Click("Cancel it…")
	tab.Submit("Cancel the batch")
	tab.See("The batch is canceled")
	tab.SeeNot("Resume it…")
}

func TestFindAndExportMessages(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	sendText(tab, "+13105550128", "Find me")
	tab.Open("/portal/messages")
	tab.Fill("To", "+13105550128")
	tab.Choose("Direction", "sent")
	tab.Submit("Search")
	tab.Row("+13105550128").See("SMS")
	tab.SeeNot("+13105550101")
	name, content := tab.Download("Download as CSV")
	if name != "messages.csv" || !strings.Contains(string(content), "+13105550128") || strings.Contains(string(content), "+13105550101") {
		t.Errorf("%s: %s", name, content)
	}
	tab.Fill("To", "+19995550100")
	tab.Submit("Search")
	tab.See("No message fits")
}

// A user who may only look is offered nothing else.
func TestAReaderSendsNothing(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "reader")
	tab.Open("/portal/send")
	tab.See("Your user may not send")
	tab.Open("/portal/messages")
	tab.SeeNot("Send a message")
	tab.Open("/portal/batches")
	tab.SeeNot("Send a batch")
}
