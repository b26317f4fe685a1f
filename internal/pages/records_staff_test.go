package pages

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/snapshot"
)

// demoCustomer is the path of the demo's account in the console.
func demoCustomer(tab *browser.Tab) string {
	tab.Open("/console/customers?company_name=demo")
	tab.Click("Demo")
	return tab.Path()
}

// The same pages as staff see them at a customer.
func TestRecordsOfACustomerPages(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	base := demoCustomer(tab)
	judgeAll(t, tab, base+"/numbers", base+"/numbers/"+demoNumber, base+"/usage", base+"/balance", base+"/opt-outs", base+"/registration")
}

// An operator books a payment and puts it right; a viewer sees the entries, and who may.
func TestStaffBookAPayment(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleOperator)
	addCustomer(tab, "Payer "+message.NewID().String())
	base := tab.Path()
	tab.Expect("422")
	tab.Open(base + "/balance")
	tab.Click("Book a payment, a refund or a correction…")
	tab.Fill("Amount", "much")
	tab.Fill("Currency", "USD")
	tab.Fill("Reason", "Invoice 2026-104")
	tab.Submit("Book it")
	tab.See("This was not done")
	tab.Fill("Amount", "250.00")
	tab.Submit("Book it")
	tab.See("The entry is booked")
	tab.Row("Invoice 2026-104").See("paid in", "250")
	tab.Click("Book a payment, a refund or a correction…")
	tab.Choose("Kind", "Correction, which may be negative")
	tab.Fill("Amount", "-250.00")
	tab.Fill("Reason", "It was somebody else's")
	tab.Submit("Book it")
	tab.Row("It was somebody else's").See("adjustment", "-250")
	viewer := asStaff(t, snapshot.RoleViewer)
	viewer.Open(base + "/balance")
	viewer.See("Operators book payments and corrections", "Invoice 2026-104")
}
