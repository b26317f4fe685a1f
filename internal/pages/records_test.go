package pages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The number of the demo's account.
const demoNumber = "+12025550143"

// The pages of what an account has to send and receive with, in the portal.
func TestRecordsPages(t *testing.T) {
	t.Parallel()
	t.Run("lists", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/numbers", "/portal/numbers/"+demoNumber, "/portal/inbound-settings", "/portal/usage", "/portal/balance", "/portal/opt-outs", "/portal/opt-outs/check", "/portal/opt-outs/import", "/portal/registration")
	})
	t.Run("forms", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/numbers/"+demoNumber+"/inbound", "/portal/inbound-settings?change=1&slots=2", "/portal/opt-outs/new", "/portal/brands/new", "/portal/campaigns/new")
	})
	t.Run("read only", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "reader"), "/portal/numbers/"+demoNumber, "/portal/registration")
	})
	t.Run("registrations", func(t *testing.T) {
		t.Parallel()
		tab := asUser(t, "owner")
		tab.Open("/portal/brands/new")
		tab.Fill("Brand name", "Judged brand")
		tab.Submit("Save and finish later")
		tab.See("It is a draft")
		judgeAll(t, tab, tab.Path(), tab.Path()+"/company?check=1", tab.Path()+"/contact")
		tab.Open("/portal/campaigns/new")
		tab.Choose("Use case", "Marketing – offers and news of products")
		tab.Submit("Save and finish later")
		tab.See("It is a draft")
		judgeAll(t, tab, tab.Path(), tab.Path()+"/messages", tab.Path()+"/consent?check=1")
	})
}

func TestANumberIsLabelled(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Open("/portal/numbers")
	tab.Click(demoNumber)
	tab.Fill("Tag", "front desk")
	tab.Submit("Save")
	tab.See("The labels are saved")
	tab.Open("/portal/numbers?tag=front+desk")
	tab.Row(demoNumber).See("front desk", "CDEMO")
	tab.Expect("422")
	tab.Click(demoNumber)
	tab.Fill("Tag", "front desk\x01")
	tab.Submit("Save")
	tab.See("This was not done")
}

// Where a number's messages go: refused, set, tried, and given back to the account's setting.
func TestInboundDeliveryIsSetAndTried(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Expect("422")
	tab.Open("/portal/numbers/" + demoNumber + "/inbound")
	tab.Choose("Method", "E-mail")
	tab.Fill("E-mail address", "nobody")
	tab.Submit("Save")
	tab.See("This was not done", "must be an e-mail address")
	tab.Choose("Method", "Stored, to be fetched")
	tab.Submit("Save")
	tab.See("It is saved", "fetched by GET /v1/inbound-messages")
	tab.Submit("Send a test message to each destination")
	tab.See("Every destination took the test")
	tab.Click("Change")
	tab.Choose("Method", "as it is set for the account")
	tab.Submit("Save")
	tab.See("Nothing is set for this number")
}

// A webhook of its own gets a secret, which is shown once.
func TestInboundSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Open("/portal/inbound-settings")
	tab.Click("Change")
	tab.Choose("Method", "Webhook")
	tab.Fill("URL", demo(t).url+"/nowhere")
	tab.Choose("If it is not taken, hand over by", "Stored, to be fetched")
	tab.Submit("Save")
	tab.See("A secret was made", "This is shown once")
	tab.Click("Go on")
	tab.See("a secret of its own", "Stored, to be fetched")
	tab.SeeNot("whsec_")
	tab.Click("Change")
	tab.Choose("Method", "the webhook endpoints that want message.received, or else stored")
	tab.Submit("Save")
	tab.SeeNot("/nowhere")
}

func TestAnOptOutIsRecordedCheckedAndEnded(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Expect("422")
	tab.Open("/portal/opt-outs")
	tab.Click("Record an opt-out")
	tab.Fill("Recipient", "nobody")
	tab.Submit("Record it")
	tab.See("This was not done")
	tab.Fill("Recipient", "+13105550130")
	tab.Fill("Reason", "asked by phone")
	tab.Submit("Record it")
	tab.See("The opt-out is in force", "stopped", "everything")
	tab.Open("/portal/opt-outs/check")
	tab.Fill("Recipient", "+13105550130")
	tab.Fill("Sender", demoNumber)
	tab.Submit("Check")
	tab.See("It is stopped")
	tab.Click("The opt-out")
	tab.Click("End it…")
	tab.Submit("End the opt-out")
	tab.See("is needed")
	tab.Fill("How the recipient consented again", "on the web form")
	tab.Submit("End the opt-out")
	tab.See("The opt-out has ended", "on the web form")
	tab.Open("/portal/opt-outs/check?recipient=%2B13105550130&sender=%2B12025550143")
	tab.See("No opt-out stands against it")
}

// A file is imported; what is wrong with it is told by line.
func TestOptOutsAreImportedAndExported(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	file := filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(file, []byte("recipient,keyword\n+13105550131,STOP\nnobody,STOP\n+13105550132,STOP\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tab.Open("/portal/opt-outs/import")
	tab.Attach("File", file)
	tab.Submit("Import")
	tab.See("imported in part", "2 opt-outs were recorded", "1 were not taken")
	tab.See("recipient: must be")
	tab.Open("/portal/opt-outs?recipient=%2B13105550131")
	tab.See("imported from a file")
	name, content := tab.Download("Download as CSV")
	if name != "opt-outs.csv" || !strings.Contains(string(content), "+13105550131") || strings.Contains(string(content), "+13105550132") {
		t.Errorf("%s: %s", name, content)
	}
}

func TestUsageAndBalanceAreDownloaded(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "reader")
	tab.Open("/portal/usage")
	tab.See("Messages a day", "Sent today")
	tab.Click("By status")
	tab.See("delivered")
	if name, content := tab.Download("Download as CSV"); name != "usage.csv" || !strings.HasPrefix(string(content), "day,direction") {
		t.Errorf("%s: %.200s", name, content)
	}
	tab.Open("/portal/balance")
	tab.See("Available", "Reserved")
	if name, content := tab.Download("Download as CSV"); !strings.HasSuffix(name, ".csv") || len(content) == 0 {
		t.Errorf("%s: %.200s", name, content)
	}
	tab.Expect("422")
	tab.Open("/portal/usage?from=2020-01-01&to=2026-11-24")
	tab.See("366")
}

// The guided form: each step says what the registry would refuse, the last one sends it in.
func TestABrandAndACampaignAreRegistered(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Expect("422")
	tab.Open("/portal/registration")
	tab.Click("Register a brand")
	tab.Fill("Brand name", "Ada's Parcels")
	tab.Choose("What it is", "a company that is not on a stock exchange")
	tab.Submit("Save and go on")
	tab.See("Saved as a draft", "is required")
	tab.Fill("Legal name", "Ada's Parcels Inc.")
	tab.Fill("Tax id (EIN)", "12-345")
	tab.Choose("Industry", "postal")
	tab.Submit("Save and go on")
	tab.See("must have 9 digits")
	tab.Fill("Tax id (EIN)", "12-3456789")
	tab.Submit("Save and go on")
	tab.See("Where you are")
	for label, value := range map[string]string{"Street and number": "1 Main St", "City": "Springfield", "State": "IL", "Postal code": "62701", "Country": "US", "Phone": "+12025550143", "E-mail address": "ada@parcels.example"} {
		tab.Fill(label, value)
	}
	tab.Submit("Save and go on")
	tab.See("Everything is there")
	tab.Submit("Ask for the registration")
	tab.See("Its registration is asked for", "sent in", "*****6789")
	tab.Click("Take it back…")
	tab.Submit("Take it back")
	tab.See("It is a draft again")

	tab.Open("/portal/registration")
	tab.Click("Describe a campaign")
	tab.Choose("Use case", "Delivery notices – where an order is, and when it comes")
	for _, brand := range []string{"Ada's Parcels (draft)"} {
		tab.Choose("Brand", brand)
	}
	tab.Submit("Save and go on")
	tab.Fill("Description", "Ada's Parcels tells customers who bought something where their parcel is.")
	tab.Fill("Sample 1", "Ada's Parcels: yours is on its way, see https://parcels.example/1")
	tab.Submit("Save and go on")
	tab.See("Saved as a draft", "has a link")
	tab.Check("Messages have links")
	tab.Submit("Save and go on")
	tab.See("How people come to opt in")
	tab.Fill("How people come to opt in", "Customers give their number in the shop and tick a box that says that they get notices.")
	tab.Submit("Save and go on")
	tab.See("Everything is there", "Ada's Parcels: yours is on its way")
	tab.Submit("Ask for the registration")
	tab.See("Its registration is asked for")
}

// Of a campaign that is in force, numbers are seen and the answers changed; a reader is told
// who may.
func TestACampaignInForce(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "reader")
	tab.Open("/portal/registration")
	tab.See("You can send to the US")
	tab.Row("CDEMO").Click(strings.Fields(tab.Row("CDEMO").Text())[0])
	tab.See(demoNumber)
	tab.SeeNot("Take a number out…", "Change the answers")
	path := tab.Path()
	owner := asUser(t, "owner")
	owner.Expect("422")
	owner.Open(path)
	owner.Click("Change the answers to START, STOP and HELP")
	owner.Fill("Answer to STOP", "short")
	owner.Submit("Save")
	owner.See("write at least 20")
	owner.Fill("Answer to STOP", "Demo: you have opted out and get no more messages.")
	owner.Submit("Save")
	owner.See("The answers are saved", "Demo: you have opted out")
}
