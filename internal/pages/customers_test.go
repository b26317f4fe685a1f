package pages

import (
	"net/http"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/snapshot"
)

// addCustomer adds one in the console, and ends at its page.
func addCustomer(tab *browser.Tab, name string) {
	tab.Open("/console/customers")
	tab.Click("Add a customer")
	tab.Fill("Name", name)
	tab.Submit("Add the customer")
	tab.See(name+" is added", "whsec_")
	tab.Click("Go to the customer")
}

func TestCustomerPages(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleAdmin)
	addCustomer(tab, "Pictured "+message.NewID().String())
	empty := tab.Path()
	tab.Open("/console/customers?company_name=demo")
	tab.Click("Demo")
	base := tab.Path()
	paths := []string{"/console/customers", "/console/customers/new", base, empty}
	for _, part := range []string{"/terms", "/webhooks", "/webhooks/new", "/deliveries?message_id=" + demoMessage(t), "/api-credentials", "/smpp-credentials", "/users", "/settings", "/limits", "/connection"} {
		paths = append(paths, base+part)
	}
	judgeAll(t, tab, paths...)
	t.Run("for who may only look", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asStaff(t, snapshot.RoleViewer), "/console/customers", base, base+"/terms", base+"/limits")
	})
}

func TestCustomerFromAddingToClosing(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	name := `Zeta <script>alert(1)</script> ` + message.NewID().String()
	addCustomer(tab, name)
	at := tab.Path()
	tab.See(name, "active")
	tab.Open("/console/customers")
	tab.Fill("Name", name[:10])
	tab.Click("Search")
	tab.Click(name)

	tab.Click("Suspend…")
	tab.Expect("422")
	tab.Submit("Suspend the customer")
	tab.See("is needed")
	tab.Within("Suspend the customer").Fill("Reason", "Invoice 104 is not paid")
	tab.Submit("Suspend the customer")
	tab.See("The customer is suspended", "This customer is suspended.")
	tab.Click("Let it go on…")
	tab.Within("Let the customer go on").Fill("Reason", "paid")
	tab.Submit("Let the customer go on")
	tab.See("The customer goes on")
	tab.SeeNot("This customer is suspended.")

	tab.Click("Close for good…")
	form := tab.Within("Close the customer for good")
	form.Fill("Reason", "contract ended")
	form.Fill("Its name, to be sure", "another one")
	form.Submit("Close the customer for good")
	tab.See("must be the customer's name as it is written")
	form.Fill("Its name, to be sure", name)
	form.Submit("Close the customer for good")
	tab.See("The customer is closed", "closed, for good")
	tab.Open(at + "/terms")
	tab.SeeNot("Save")
}

func TestTermsOfACustomerAreChanged(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	addCustomer(tab, "Eta "+message.NewID().String())
	tab.Click("Terms")
	tab.Expect("422")
	tab.Fill("Senders beside its own numbers", "not a sender at all")
	tab.Submit("Save")
	tab.See("is no sender")
	tab.Fill("Senders beside its own numbers", "ACME")
	tab.Fill("Messages a second", "25")
	tab.Submit("Save")
	tab.See("The terms are changed", "25")
	tab.Click("Settings")
	tab.See("ACME")
}

func TestLimitsOfACustomerAreSet(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	addCustomer(tab, "Theta "+message.NewID().String())
	tab.Click("Limits")
	tab.See("No limit is set")
	tab.Click("Set a limit…")
	tab.Expect("422")
	tab.Submit("Set the limit")
	tab.See("is needed")
	tab.Fill("Limit", "1000")
	tab.Submit("Set the limit")
	tab.See("The limit is set", "1,000", "the whole account")
	tab.Click("Set a limit…")
	tab.Fill("Limit", "5")
	tab.Choose("Period", "a month")
	tab.Submit("Set the limit")
	tab.See("The limit is set")
	tab.Click("Take a limit away…")
	tab.Choose("Which", "the whole account, SMS, 1,000 a day")
	tab.Submit("Take the limit away")
	tab.See("The limit is taken away")
	tab.SeeNot("1,000")
	tab.Row("month").See("5")
}

// Staff make for a customer what it would make itself; who may only look makes nothing.
func TestStaffMakeACredentialForACustomer(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	name := "Iota " + message.NewID().String()
	addCustomer(tab, name)
	at := tab.Path()
	tab.Click("API credentials")
	tab.See("There is no API credential")
	tab.Open(at + "/api-credentials/new")
	tab.Fill("Name", "its shop")
	tab.Submit("Make the credential")
	key, secret := shown(t, tab, `pk_\S+`), shown(t, tab, `sk_\S+`)
	eventually(t, "the credential is taken", func() bool { return asked(t, key, secret) == http.StatusOK })

	viewer := asStaff(t, snapshot.RoleViewer)
	viewer.Open(at + "/api-credentials")
	viewer.See("its shop", "You can read this. Operators change it")
	viewer.SeeNot("Make a credential")
	viewer.Open(at)
	viewer.See("Operators suspend and close customers")
	viewer.SeeNot("Suspend…")
}
