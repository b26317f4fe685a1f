package pages

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// fresh is a name that no other test has.
func fresh(what string) string { return what + "-" + message.NewID().String()[26:] }

// addVendor adds a vendor that nobody is behind, which takes no message: no route leads there.
func addVendor(t *testing.T, tab *browser.Tab) string {
	t.Helper()
	name := fresh("acme")
	tab.Open("/console/vendors/new")
	tab.Fill("Name", name)
	tab.Fill("Host", "127.0.0.1")
	tab.Fill("Port", fmt.Sprint(stacktest.FreePort(t)))
	tab.Fill("system_id", "us")
	tab.Fill("Password", "secret12")
	tab.Submit("Add the vendor")
	tab.See("The vendor is added.", "Vendor "+name)
	return name
}

// What goes through, what waits and the vendors are seen at a glance, as they change.
func TestOverviewFollowsTheGateway(t *testing.T) {
	t.Parallel()
	tab, other := asStaff(t, snapshot.RoleViewer), asStaff(t, snapshot.RoleOperator)
	tab.Open("/console")
	tab.See("In", "Out", "Final", "Error rate", "Backlog", "Oldest waiting", "Not started", "In doubt", "Held", "Webhooks to try", "Unrouted inbound", "Unmatched receipts", "Caps near their end")
	tab.Row("smscsim2").See("connected")
	name := addVendor(t, other)
	tab.WaitFor(name) // by itself
	tab.WaitFor("Vendor " + name + " is")
	tab.See("This needs somebody now.")
	tab.Click(name)
	tab.See("Vendor "+name, "Its last error")
	other.Click("Delete…")
	other.Click("Delete the vendor")
	other.See("The vendor is deleted.")
}

func TestVendorIsAdded(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400")
	tab.Open("/console/vendors")
	tab.Click("Add a vendor")
	tab.Fill("Name", "no name")
	tab.Submit("Add the vendor")
	tab.See("This was not done.", "must be 1 to 50 of letters")
	name := addVendor(t, tab)
	tab.See("SMPP", "us", "set")
	tab.SeeNot("secret12")
	tab.Click("Edit")
	if got := tab.Value("Password"); got != "" {
		t.Errorf("the password is shown: %q", got)
	}
	tab.Fill("Name for people", `Acme <script>alert(1)</script>`)
	tab.Fill("Window", "33")
	tab.Submit("Save")
	tab.See("Changed.", "Acme <script>alert(1)</script>", "33")
	tab.Open("/console/vendors")
	tab.Click(name)
	tab.Click("Delete…")
	tab.Click("Delete the vendor")
	tab.See("The vendor is deleted.")
}

func TestConfigurationIsReadAnew(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Open("/console/vendors")
	tab.Click("Read vendors and routes anew…")
	tab.Click("Read them anew")
	tab.See("Read anew:", "version")
}

func TestVendorOverHTTPIsAdded(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400")
	tab.Open("/console/vendors/new")
	tab.Click("Telnyx")
	name := fresh("telnyx")
	tab.Fill("Name", "no name")
	tab.Uncheck("It is in use")
	tab.Fill("API key", "KEY0123")
	tab.Submit("Add the vendor")
	tab.See("This was not done.")
	tab.Fill("Name", name)
	tab.Fill("API key", "KEY0123")
	tab.Fill("Signing key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	tab.Submit("Add the vendor")
	tab.See("The vendor is added.", "Telnyx", "Signing keys")
}

func TestVendorIsWorkedOn(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400")
	name := addVendor(t, tab)
	tab.Fill("Throughput", "25")
	tab.Click("Set throughput")
	tab.See("The throughput is set.", "of 25")
	tab.Fill("Throughput", "")
	tab.Click("Set throughput")
	tab.See("is needed")
	tab.Open("/console/vendors/" + name)
	tab.Click("Test the connection…")
	tab.Click("Test the connection")
	tab.See("The test failed.")
	tab.Click("Pause…")
	tab.Click("Pause")
	tab.See("It is paused", "and paused", "Resume…")
	tab.Click("Resume")
	tab.See("It takes messages again.")
	tab.Click("Drain…")
	tab.Click("Drain")
	tab.See("It drains", "Resume…")
	tab.Click("Resume")
	tab.Click("Restart its links…")
	tab.Click("Restart")
	tab.See("Its links are made anew")
	tab.Click("Delete…")
	tab.Click("Delete the vendor")
	tab.See("The vendor is deleted.")
}

func TestConnectionOfAVendorIsTested(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Open("/console/vendors/smscsim2")
	tab.Click("Test the connection…")
	tab.Click("Test the connection")
	tab.See("The connection works.")
}

func TestVendorInUseIsNotDeleted(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("409")
	tab.Open("/console/vendors/smscsim")
	tab.Click("Delete…")
	tab.Click("Delete the vendor")
	tab.See("This was not done.", "Vendor smscsim")
}

func TestRouteIsAddedMovedTriedAndDeleted(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400")
	name := fresh("far")
	tab.Open("/console/routes")
	tab.Click("Add a route")
	tab.Fill("Name", name)
	tab.Choose("Vendor", "smscsim2")
	tab.Fill("Priority", "900")
	tab.Fill("Recipients", "^(99")
	tab.Submit("Add the route")
	tab.See("This was not done.")
	tab.Fill("Recipients", "^999")
	tab.Fill("Price", "0.02")
	tab.Submit("Add the route")
	tab.See("The route is added.")
	tab.Row(name).See("to +999…", "smscsim2", "0.02", "active", "900")
	tab.Row(name).Click("Up")
	tab.See("Moved.")
	tab.Row(name).See("to +999…")
	if strings.Contains(tab.Row(name).Text(), "900") {
		t.Error("it was not moved: " + tab.Row(name).Text())
	}
	tab.Row(name).Click(name)
	tab.Choose("Type", "MMS")
	tab.Submit("Save")
	tab.See("The route is changed.")
	tab.Row(name).See("MMS, to +999…")
	tab.Row(name).Click(name)
	tab.Click("Delete…")
	tab.Click("Delete the route")
	tab.See("The route is deleted.")
	tab.SeeNot(name)
}

func TestRoutesAreTestedWithAMessage(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400")
	tab.Open("/console/routes")
	tab.Click("Test a message")
	tab.Fill("Recipient", "nobody at all")
	tab.Submit("Test")
	tab.See("This was not done.")
	tab.Fill("Recipient", "+13105550123")
	tab.Fill("Sender", demo(t).env["POSTRIDER_FROM"])
	tab.Submit("Test")
	tab.See("It goes to smscsim first.", "second", "standby")
	tab.Fill("Recipient", "+447700900123")
	tab.Submit("Test")
	tab.See("No vendor takes it.", "passed over")
}

func TestWhatIfOnPastMessages(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400")
	tab.Open("/console/routes/what-if")
	tab.Fill("Messages from", time.Now().UTC().Add(-time.Hour).Format("2006-01-02T15:04"))
	tab.Fill("Its priority", "5")
	tab.Submit("Look")
	tab.See("is needed for a new route")
	tab.Fill("Its priority", "")
	tab.Choose("Without this vendor", "smscsim")
	tab.Submit("Look")
	tab.See("would have gone to another vendor first.", "Customers pay", "smscsim2")
}

// bind opens a session as an ESME does, and gives its connection.
func bind(t *testing.T, address, systemID, password string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the gateway may have done so
	body := append([]byte(systemID+"\x00"+password+"\x00\x00"), 0x34, 0, 0, 0)
	pdu := binary.BigEndian.AppendUint32(nil, uint32(16+len(body)))
	pdu = binary.BigEndian.AppendUint32(pdu, 9) // bind_transceiver
	pdu = binary.BigEndian.AppendUint32(pdu, 0)
	pdu = binary.BigEndian.AppendUint32(pdu, 1)
	if _, err := conn.Write(append(pdu, body...)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 16)
	if _, err := conn.Read(head); err != nil || binary.BigEndian.Uint32(head[8:]) != 0 {
		t.Fatalf("bind: %v, status %d", err, binary.BigEndian.Uint32(head[8:]))
	}
	return conn
}

// shownPassword is the one that the page shows once.
func shownPassword(t *testing.T, tab *browser.Tab) string {
	t.Helper()
	_, after, _ := strings.Cut(tab.Text(), "password Copy ")
	word, _, ok := strings.Cut(after, " This is shown once.")
	if !ok || word == "" {
		t.Fatal("no password is shown: " + tab.Text())
	}
	return word
}

func TestSMPPUserIsAddedBindsAndIsEnded(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400", "409")
	id := strings.ReplaceAll(fresh("e"), "-", "")
	add := func() {
		tab.Open("/console/smpp-users")
		tab.Click("Add an SMPP user")
		tab.Choose("Customer", "Demo")
		tab.Fill("system_id", id)
		tab.Fill("Throughput", "700")
		tab.Submit("Add the SMPP user")
	}
	add()
	tab.See("The SMPP user is added", "This is shown once.", id)
	password := shownPassword(t, tab)
	add() // the same again
	tab.See("This was not done.")
	tab.Open("/console/smpp-users/" + id)
	tab.See("It is not bound now.")
	tab.SeeNot(password)

	bind(t, demo(t).env["POSTRIDER_SMPP_ADDR"], id, password)
	tab.Open("/console/sessions?protocol=smpp")
	tab.WaitFor(id)
	tab.Row(id).See("bound", "Demo", "transceiver, version 3.4", "127.0.0.1")
	tab.Row(id).Click("End…")
	tab.Click("End the session")
	tab.See("The session ends within 5 seconds.")

	tab.Open("/console/smpp-users/" + id)
	tab.Fill("Window", "0")
	tab.Click("Set")
	tab.See("This was not done.")
	tab.Fill("Window", "20")
	tab.Fill("Throughput", "50")
	tab.Click("Set")
	tab.See("The quota is set.")
	tab.Fill("From these networks", "203.0.113.0/24")
	tab.Click("Save")
	tab.See("Changed.", "203.0.113.0/24")
	tab.Click("New password…")
	tab.Click("Make a new password")
	tab.See("The password is new", "This is shown once.")
	if shownPassword(t, tab) == password {
		t.Error("it is the same password")
	}
	tab.Click("Go to " + id)
	tab.Click("Delete…")
	tab.Click("Delete the SMPP user")
	tab.See("The SMPP user is deleted.")
}

func TestNumberIsAddedAssignedAndReleased(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400", "409")
	tab.Open("/console/numbers")
	tab.Click("Add a number")
	tab.Fill("Number", demo(t).env["POSTRIDER_FROM"])
	tab.Choose("Customer", "Demo")
	tab.Submit("Add the number")
	tab.See("This was not done.")
	tab.Fill("Number", "+18885550171")
	tab.Submit("Add the number")
	tab.See("The number is added.", "Number +18885550171", "toll free", "unverified")
	tab.Choose("Verification", "approved")
	tab.Choose("Vendor", "smscsim")
	tab.Fill("Tag", `"><img src=x>`)
	tab.Click("Save")
	tab.See("The number is changed.", "approved", `"><img src=x>`)
	tab.Open("/console/numbers?type=toll_free")
	tab.Row("+18885550171").See("approved", "smscsim", "Demo")
	tab.SeeNot(demo(t).env["POSTRIDER_FROM"])
	tab.Row("+18885550171").Click("+18885550171")
	tab.Click("Release…")
	tab.Click("Release the number")
	tab.See("The number is released.")
}

func TestNumbersAreImported(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400", "409")
	file := filepath.Join(t.TempDir(), "numbers.csv")
	write := func(lines string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("number,account_id,tag\n"+lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tab.Open("/console/numbers/new")
	tab.Choose("Customer", "Demo")
	account := tab.Value("Customer")
	tab.Open("/console/numbers")
	tab.Click("Import")
	write("+12025550191," + account + ",a\nnonsense," + account + ",b\n")
	tab.Attach("CSV file", file)
	tab.Submit("Import")
	tab.See("Nothing was written.", "line 3")
	write("+12025550191," + account + ",a\n+12025550192," + account + ",b\n")
	tab.Attach("CSV file", file)
	tab.Submit("Import")
	tab.See("2 rows can be imported.")
	tab.Attach("CSV file", file)
	tab.Uncheck("Only check it: nothing is written")
	tab.Submit("Import")
	tab.See("2 numbers imported.", "+12025550191", "+12025550192")
}

// addPeer adds a customer's peer of MM4, at the second try.
func addPeer(tab *browser.Tab) string {
	name := fresh("mmsc")
	tab.Expect("422", "400")
	tab.Open("/console/mm4-peers")
	tab.Click("Add an MM4 peer")
	tab.Fill("Name", name)
	tab.Choose("Customer", "Demo")
	tab.Fill("From these networks", "not a network")
	tab.Submit("Add the MM4 peer")
	tab.See("This was not done.")
	tab.Fill("From these networks", "198.51.100.7/32")
	tab.Fill("Domains of its MAIL FROM", name+".example")
	tab.Submit("Add the MM4 peer")
	tab.See("The MM4 peer is added.")
	return name
}

func TestMM4PeerIsAddedAndChanged(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400", "409")
	name := addPeer(tab)
	tab.See("The MM4 peer is added.", "MM4 peer "+name, "198.51.100.", "Demo")
	tab.Fill("Host", "mms.carrier.example")
	tab.Uncheck("It may connect")
	tab.Click("Save")
	tab.See("Changed.", "mms.carrier.example", "off")
	tab.Click("Delete…")
	tab.Click("Delete the MM4 peer")
	tab.See("The MM4 peer is deleted.")
}

func TestMediaProfileIsAddedAndTakenAway(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	tab.Expect("422", "400", "409")
	name := fresh("narrow")
	tab.Open("/console/media-profiles")
	tab.Click("Add a media profile")
	tab.Fill("Name", name)
	tab.Fill("A message at most", "5")
	tab.Submit("Add the media profile")
	tab.See("This was not done.")
	tab.Fill("A message at most", "300000")
	tab.Choose("Video becomes", "H.263 and AMR in 3GP")
	tab.Submit("Add the media profile")
	tab.See("The media profile is added.", "300 kB", "h263", "added here")
	tab.Click("Take it away…")
	tab.Click("Take it away")
	tab.See("It is taken away.")
	tab.Open("/console/media-profiles/att")
	tab.See("release")
}

func TestViewerReadsTrafficAndChangesNothing(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleViewer)
	tab.Expect("403")
	tab.Open("/console/vendors/smscsim")
	tab.See("Operators and admins do things with vendors; your role is viewer.")
	tab.SeeNot("Set throughput", "Delete…")
	tab.Open("/console/numbers")
	tab.SeeNot("Add a number")
	tab.Open("/console/vendors/new")
	tab.See("your role is viewer")
	tab.Fill("Name", fresh("no"))
	tab.Submit("Add the vendor")
	tab.See("the role viewer may not do this")
}
