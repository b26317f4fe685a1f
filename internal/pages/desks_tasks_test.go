package pages

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestReleaseAHeldMessage(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Open("/console/held")
	tab.Row("+13105550150").See("class sweepstakes", `<img src=x onerror="document.title='owned'">`)
	tab.Row("+13105550150").Click(desks.held[0][:13] + "…")
	tab.See("It waits for a decision", "«"+desks.word+"»")
	tab.Click("Release…")
	tab.Within("Release").Fill("Reason", "They do raffle something.")
	tab.Within("Release").Submit("Release")
	tab.See("The message was released.")
	tab.Open("/console/messages/" + desks.held[0])
	tab.WaitFor("delivered")
	tab.Open("/console/held/" + desks.held[0])
	tab.See("It does not wait for a decision any more")
}

func TestRefuseAHeldMessage(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Expect("422")
	tab.Open("/console/held/" + desks.held[1])
	tab.Click("Refuse…")
	tab.Within("Refuse").Submit("Refuse")
	tab.See("is needed")
	tab.Within("Refuse").Fill("Reason", "The raffle is not part of the campaign.")
	tab.Within("Refuse").Submit("Refuse")
	tab.See("The message was refused.")
	tab.Open("/console/messages/" + desks.held[1])
	tab.WaitFor("The raffle is not part of the campaign.")
	tab.See("prohibited_content")
}

func TestDecideSeveralHeldMessages(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Expect("422")
	tab.Open("/console/held?account_id=" + desks.account)
	form := tab.Within("Decide several at once")
	form.Choose("What becomes of them", "Refuse: they end as rejected")
	form.Submit("Decide")
	tab.See("tick at least one message", "is needed to refuse")
	for _, i := range []int{2, 3} {
		text := fmt.Sprintf("You have won the %s no. %d! %s", desks.word, i, xss)
		form.Check(fmt.Sprintf("%s… to +1310555015%d: %s…", desks.held[i][:13], i, text[:70]))
	}
	form.Fill("Reason", "Not part of the campaign.")
	form.Submit("Decide")
	tab.See("2 messages were refused.")
	tab.SeeNot("+13105550152", "+13105550153")
}

func TestSupportLooksAtHeldMessages(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleSupport)
	tab.Open("/console/held/" + desks.held[4])
	tab.See("You have won", "This is for compliance and admin; your role is support.")
	tab.SeeNot("Release…")
	tab.Open("/console/held")
	tab.SeeNot("Decide several at once")
}

func TestViewerSeesNoTexts(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleViewer)
	tab.Open("/console/held")
	tab.See("+13105550154")
	tab.SeeNot("You have won")
	tab.Open("/console/unrouted")
	tab.See("nobody's number")
	tab.SeeNot("anybody")
}

func TestTakeInAnUnroutedMessage(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleSupport)
	const number = "+12025550962"
	tab.Open("/console/unrouted?to=%2B12025550962")
	tab.Row(number).See("nobody's number", "Assign the number")
	tab.SeeNot("number assigned since")
	at := demo(t).url + "/api/v1/admin"
	deskCall(t, "POST", at+"/numbers", desks.token, map[string]any{"number": number, "account_id": desks.account})
	deskCall(t, "POST", at+"/reload", desks.token, map[string]any{})
	tab.Open("/console/unrouted?to=%2B12025550962")
	tab.Row(number).See("number assigned since")
	tab.Row(number).Submit("Take in")
	tab.See("The message was taken in", "Wrong number?")
	tab.Open("/console/unrouted?to=%2B12025550962")
	tab.See("Nothing is here.")
}

func TestTakeInAllUnroutedMessages(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleSupport)
	tab.Expect("422")
	tab.Open("/console/unrouted")
	tab.Click("Take all in whose number is somebody's now…")
	form := tab.Within("Take all in")
	form.Fill("Only those to the number", "<x>")
	form.Submit("Take them in")
	tab.See("This was not done.")
	form.Fill("Only those to the number", strayTo)
	form.Submit("Take them in")
	tab.See("0 messages were taken in. 2 messages have a number that is still nobody's or not enabled.")
}

func TestReplayAWebhook(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleSupport)
	tab.Open("/console/webhooks?account_id=" + desks.account + "&state=pending")
	tab.See("127.0.0.1:9")
	tab.Open("/console/webhooks/" + desks.delivery)
	tab.See("no answer", "http://127.0.0.1:9/postrider")
	tab.Click("Replay…")
	tab.Submit("Replay")
	tab.See("The event is on its way again.")
}

func TestReplayManyWebhooks(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleSupport)
	tab.Expect("422")
	tab.Open("/console/webhooks")
	tab.Click("Replay many")
	form := tab.Within("Replay many")
	form.Submit("Replay them")
	tab.See("is needed")
	form.Fill("Account id", desks.account)
	form.Fill("Made after", "2026-01-01T00:00")
	form.Fill("Events", "batch.completed")
	form.Submit("Replay them")
	tab.See("There was none to replay in that time.")
	tab.Open("/console/webhooks/replay?account_id=" + desks.account)
	form.Fill("Made after", "2026-01-01T00:00")
	form.Choose("Which", "All, also those that were delivered")
	form.Fill("Events", "message.sent")
	form.Submit("Replay them")
	tab.See("on the way again.")
}

func TestViewerMayNotReplay(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleViewer)
	tab.Open("/console/webhooks/" + desks.delivery)
	tab.See("This is for support and admin; your role is viewer.")
	tab.Open("/console/webhooks/replay")
	tab.See("Replaying is for support and admin")
}

func TestNoReceiptIsUnmatched(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleSupport)
	tab.Open("/console")
	tab.Click("Unmatched receipts")
	if tab.Heading() != "Unmatched receipts" {
		t.Error(tab.Heading())
	}
	tab.Expect("404")
	tab.Open("/console/receipts/" + message.NewID().String())
	tab.See("There is no such thing", "it may have found its message meanwhile")
}

func TestMakeChangeAndDeleteAContentRule(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Expect("422")
	tab.Open("/console/content-rules")
	tab.Click("New rule")
	form := tab.Within("The rule")
	form.Fill("Name", "serial numbers "+desks.word)
	form.Choose("Action", "flag: it goes, and its trail says what was found")
	form.Choose("Looks for", "regular expression")
	form.Fill("Pattern", "(")
	form.Submit("Add the rule")
	tab.See("This was not done.")
	form.Fill("Pattern", `serial no\. [0-9]{9}`)
	form.Submit("Add the rule")
	tab.See("The rule was added.", "in force")
	form.Uncheck("It is asked")
	form.Submit("Save")
	tab.See("The rule was changed.", "off")
	tab.Click("Delete…")
	tab.Submit("Delete the rule")
	tab.See("The rule was deleted.")
	tab.SeeNot("serial numbers " + desks.word)
}

func TestTryATextOnTheRules(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Expect("422")
	tab.Open("/console/content-rules")
	tab.Click("Try a text")
	form := tab.Within("Try a text")
	form.Submit("Try")
	tab.See("is needed")
	form.Fill("Text", "Here is your "+desks.word+": é"+xss)
	form.Submit("Try")
	tab.See("It would be held", "«"+desks.word+"»", "prizes "+desks.word)
	form.Fill("Text", "Here is your parcel.")
	form.Submit("Try")
	tab.See("It would pass", "No rule finds anything.")
}

func TestEndAnOptOut(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Expect("422")
	made := deskCall(t, "POST", demo(t).url+"/v1/opt-outs", "", map[string]any{"recipient": "+13105550144", "reason": "asked by phone"})["id"].(string)
	tab.Open("/console/opt-outs")
	form := tab.Within("Search opt-outs")
	form.Fill("Sender", "+12025550143")
	form.Submit("Search")
	tab.See("give the recipient or the account as well")
	tab.Open("/console/opt-outs")
	form.Fill("Recipient", "+13105550144")
	form.Submit("Search")
	tab.Row("+13105550144").See("in force", "everything of the account")
	tab.Row("+13105550144").Click("+13105550144")
	tab.See("asked by phone")
	tab.Click("End it…")
	tab.Within("End the opt-out").Submit("End the opt-out")
	tab.See("is needed")
	tab.Within("End the opt-out").Fill("Proof", "Wrote to the shop on 23 November.")
	tab.Within("End the opt-out").Submit("End the opt-out")
	tab.See("The opt-out has ended.", "Wrote to the shop on 23 November.", "It has ended; the history stays.")
	if !strings.HasSuffix(tab.Path(), made) {
		t.Error(tab.Path())
	}
}

func TestFileABrandWithoutARegistry(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Expect("503")
	tab.Open("/console/brands?account_id=" + desks.account)
	tab.Click("Acme " + desks.word)
	tab.See("Acme Inc.", "unregistered")
	tab.Click("File it with the registry…")
	tab.Submit("File the brand")
	tab.See("This was not done.")
}

func TestFileACampaignTakesItsTerms(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Expect("422")
	tab.Open("/console/campaigns/" + desks.campaign)
	tab.See("It is a draft", "Tells customers of the shop")
	tab.Click("File it with the registry…")
	tab.Submit("File the campaign")
	tab.See("terms and conditions accepted for each campaign")
}

func TestLookAtACampaignThatSends(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleOperator)
	tab.Open("/console/campaigns")
	tab.Row("CDEMO").See("active")
	tab.Row("CDEMO").Click(strings.Fields(tab.Row("CDEMO").Text())[0])
	tab.See("It sends", demo(t).env["POSTRIDER_FROM"], "This is for compliance and admin; your role is operator.")
}

func TestFindWhoChangedARule(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Open("/console/audit")
	form := tab.Within("Search the audit log")
	form.Choose("What", "Content rule made")
	form.Fill("To what", desks.rule)
	form.Submit("Search")
	tab.Row(desks.line).See("Content rule made", "action: hold", demo(t).env["POSTRIDER_ADMIN_EMAIL"])
	tab.Row(desks.line).Click(desks.line)
	tab.See("Line "+desks.line+" of the audit log", desks.word, "sweepstakes")
	form = tab.Within("Search the audit log")
	tab.Open("/console/audit")
	form.Fill("Who", "nobody@gw.example")
	form.Submit("Search")
	tab.See("No line fits.")
}

func TestExportTheAuditLog(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Open("/console/audit?target=" + desks.rule)
	name, content := tab.Download("Export as CSV")
	if lines := strings.Split(strings.TrimSpace(string(content)), "\n"); !strings.HasSuffix(name, ".csv") || len(lines) < 2 || !strings.HasPrefix(lines[0], "id,at,actor") || !strings.Contains(lines[1], desks.rule) {
		t.Errorf("%s: %s", name, content)
	}
}

func TestCheckTheChain(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleCompliance)
	tab.Open("/console/audit")
	tab.Click("Check the chain")
	tab.See("The chain is whole")
	form := tab.Within("Compare with a seal that was kept")
	form.Fill("Line", desks.line)
	form.Fill("Hash that was kept", strings.Repeat("0", 64))
	form.Submit("Compare")
	tab.See("Line " + desks.line + " has another hash")
}

func TestAuditLogIsForSome(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleSupport)
	tab.Open("/console")
	tab.SeeNot("Audit log", "Service credentials")
	tab.Expect("403")
	tab.Open("/console/audit")
	tab.See("Your role does not allow this", "it is for admin, compliance")
}

func TestInviteStaff(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleAdmin)
	tab.Expect("409")
	email := "eve-" + desks.word + "@postrider.example"
	tab.Open("/console/staff")
	tab.Click("Invite somebody")
	form := tab.Within("Invite somebody")
	form.Fill("E-mail address", demo(t).env["POSTRIDER_ADMIN_EMAIL"])
	form.Submit("Invite")
	tab.See("has a password already")
	form.Fill("E-mail address", email)
	form.Fill("Name", "Eve")
	form.Choose("Role", "support")
	form.Submit("Invite")
	tab.See("Invited: "+email, "/console/links/", "This is shown once.")
	tab.Open("/console/staff")
	tab.Row(email).See("support", "invited", "Eve")
	tab.Row(email).Click(email)
	tab.Click("Invite again…")
	tab.Submit("Make a new link")
	tab.See("/console/links/")
	tab.Click("To the page of " + email)
	tab.Within("Name and role").Choose("Role", "viewer")
	tab.Within("Name and role").Submit("Save")
	tab.See("Changed.", "viewer")
	tab.Click("Deactivate…")
	tab.Submit("Deactivate")
	tab.See("Deactivated: all sessions have ended.", "off")
}

func TestTheLastAdminStays(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleAdmin)
	tab.Expect("409")
	tab.Open("/console/staff")
	tab.Click(demo(t).env["POSTRIDER_ADMIN_EMAIL"])
	tab.Click("Deactivate…")
	tab.Submit("Deactivate")
	tab.See("This was not done.")
}

func TestMakeAndEndAServiceCredential(t *testing.T) {
	t.Parallel()
	tab := asRole(t, snapshot.RoleAdmin)
	tab.Expect("422")
	tab.Open("/console/services")
	tab.Click("New credential")
	form := tab.Within("The credential")
	form.Submit("Make it")
	tab.See("is needed")
	form.Fill("Name", "billing "+desks.word)
	form.Submit("Make it")
	tab.See("Secret", "This is shown once.")
	tab.Click("To its page")
	tab.See("send messages for every account", "active")
	tab.SeeNot("Secret")
	tab.Click("End it…")
	tab.Submit("End the credential")
	tab.See("The credential has ended, and its tokens with it.", "ended")
}
