package pages

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/snapshot"
)

// Support reads a message's workflow in the Temporal UI, where it came from the message's
// page: what happened in words, the payloads opened, and nothing that changes it.
func TestWorkflowInTheTemporalUI(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleSupport)
	tab.Polls("/console/temporal/")
	tab.Open("/console/temporal")
	tab.WaitFor("Completed")
	tab.Picture("temporal-workflows")
	tab.Open("/console/messages?to=%2B13105550109")
	row := tab.Row("+13105550109")
	row.Click(strings.Fields(row.Text())[0])
	tab.Click("Workflow in the Temporal UI")
	tab.WaitFor("Event History")
	tab.WaitFor(`"vendor": "smscsim"`) // a payload, which is sealed in Temporal
	tab.WaitFor("Submit")
	tab.Picture("temporal-workflow")
	tab.Click("User Metadata")
	tab.See("Current Details") // what stands below is in frames
	tab.Picture("temporal-workflow-story")
}
