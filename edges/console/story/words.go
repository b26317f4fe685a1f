package story

import (
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/message"
)

// table has the words of each type of line. A test asks for every type that there is.
var table = map[message.EventType]words{
	message.StatusEvent(message.StatusAccepted): {"Accepted", page.Busy, func(d detail) (string, []string) {
		return sentence("It was written down and answered", around("over ", edge(d.take("edge")), "")) + ".", nil
	}},
	message.StatusEvent(message.StatusScheduled): {"Scheduled", page.Busy, func(d detail) (string, []string) {
		return sentence("It waits for its time", around("until ", d.take("send_at"), "")) + ".", nil
	}},
	message.EventAdmitted: {"Checked", page.Plain, func(d detail) (string, []string) { return "Every rule that applies was looked at.", trail(d) }},
	message.StatusEvent(message.StatusQueued): {"Queued", page.Busy, func(d detail) (string, []string) {
		if s := hold(d); s != "" {
			return s, nil
		}
		vendor, n := d.take("vendor"), d.take("candidates")
		return sentence(around("It goes to ", vendor, "."), around("", n, " vendors could take it."), around("Why: ", d.take("why"), ".")), nil
	}},
	"revised": {"Changed", page.Plain, func(detail) (string, []string) { return "The customer changed it before it was sent.", nil }},
	message.EventMediaPrepared: {"Files made fit", page.Plain, func(d detail) (string, []string) {
		return sentence("Its files were made fit", around("for ", d.take("vendor"), ""), around("by the profile ", d.take("profile"), "")) + ".", nil
	}},
	message.EventFellBackToSMS: {"Became an SMS", page.Warn, func(detail) (string, []string) {
		return "No vendor takes its files, so it goes as a text with links to them.", nil
	}},
	message.StatusEvent(message.StatusSending): {"Submitting", page.Busy, func(d detail) (string, []string) {
		return sentence(part(d), around("goes to ", d.take("vendor"), "")) + ".", nil
	}},
	message.EventSubmitAccepted: {"Taken", page.Plain, func(d detail) (string, []string) {
		return sentence(part(d), around("was taken by ", d.take("vendor"), "")) + ".", nil
	}},
	message.EventSubmitRefused: {"Refused by the vendor", page.Warn, func(d detail) (string, []string) {
		return sentence(part(d), around("was refused by ", d.take("vendor"), "")) + ".", nil
	}},
	message.EventSubmitUnknown: {"No answer", page.Warn, func(d detail) (string, []string) {
		return sentence(part(d), around("went to ", d.take("vendor"), ""), "and no answer came") + ".", nil
	}},
	message.StatusEvent(message.StatusInDoubt): {"In doubt", page.Warn, func(d detail) (string, []string) {
		d.take("parts")
		return "The vendor may have it or not. It is not sent again unless its delivery policy or somebody says so.", nil
	}},
	message.StatusEvent(message.StatusSent): {"Sent", page.Busy, func(d detail) (string, []string) {
		return sentence("The vendor has all of it; its delivery report is awaited.", again(d)), nil
	}},
	message.EventReceipt: {"Delivery report", page.Plain, func(d detail) (string, []string) {
		return sentence(part(d), "is reported", around("as ", d.take("stat"), ""), around("(error ", d.take("err"), ")")) + ".", nil
	}},
	message.StatusEvent(message.StatusDelivered):   {"Delivered", page.Good, nil},
	message.StatusEvent(message.StatusUndelivered): {"Not delivered", page.Bad, nil},
	message.StatusEvent(message.StatusFailed):      {"Failed", page.Bad, nil},
	message.StatusEvent(message.StatusRejected): {"Refused", page.Bad, func(d detail) (string, []string) {
		return "A rule was against it, so it was not sent.", trail(d)
	}},
	message.StatusEvent(message.StatusExpired): {"Expired", page.Bad, func(detail) (string, []string) {
		return "Its validity ended.", nil
	}},
	message.StatusEvent(message.StatusCanceled): {"Withdrawn", page.Plain, nil},
	message.StatusEvent(message.StatusUnconfirmed): {"No delivery report", page.Warn, func(detail) (string, []string) {
		return "It was sent, and no delivery report came in time.", nil
	}},
	message.EventWebhookAttempt: {"Webhook", page.Plain, func(d detail) (string, []string) {
		return sentence("The customer's endpoint was told", around("for the ", nth(d.take("attempt")), " time"), answered(d)) + ".", nil
	}},
	message.EventDeliverSM: {"Handed over by SMPP", page.Plain, func(d detail) (string, []string) {
		return sentence("deliver_sm went out", around("for the ", nth(d.take("attempt")), " time"), around("and was answered with ", d.take("status"), "")) + ".", nil
	}},
	message.EventMM4: {"MM4", page.Plain, nil},
	message.EventEmail: {"E-mail", page.Plain, func(d detail) (string, []string) {
		return sentence("It was handed to the e-mail relay", around("for the ", nth(d.take("attempt")), " time")) + ".", nil
	}},
	message.EventRead:           {"Read", page.Good, func(detail) (string, []string) { return "The recipient has opened it.", nil }},
	message.EventOptOutRecorded: {"Opt-out recorded", page.Warn, nil},
	message.EventOptOutEnded:    {"Opt-out ended", page.Plain, nil},
	message.EventReceived: {"Received", page.Busy, func(d detail) (string, []string) {
		return sentence("It came from", d.take("vendor")) + ".", nil
	}},
	message.EventReplyOwed: {"Answered automatically", page.Plain, nil},
	message.EventPlanned:   {"To be delivered", page.Busy, nil},
	message.EventFellBack: {"Fell back", page.Warn, func(d detail) (string, []string) {
		return sentence("The first destination was given up", around("for ", d.take("to"), "")) + ".", nil
	}},
	message.EventStaffAction: {"Staff", page.Plain, func(d detail) (string, []string) {
		return sentence(d.take("actor"), around("did: ", strings.ReplaceAll(d.take("action"), "_", " "), ""), around("as ", d.take("as"), "")) + "." + around(" “", d.take("note"), "”"), nil
	}},
}

// edge is where a message came in, as people call it.
func edge(word string) string {
	if w, ok := map[string]string{"rest": "the REST API", "smpp": "SMPP", "mm4": "MM4", "batch": "a batch", "console": "the console"}[word]; ok {
		return w
	}
	return word
}

func again(d detail) string {
	if d.is("again") {
		return "It was sent again."
	}
	return ""
}

func nth(n string) string {
	switch n {
	case "", "0":
		return ""
	case "1":
		return "first"
	}
	return ordinal(n)
}

// answered is what an endpoint said to a webhook.
func answered(d detail) string {
	status, ms := d.take("http_status"), d.take("ms")
	if status == "" || status == "0" {
		return "and gave no answer"
	}
	return sentence("and answered with "+status, around("after ", ms, " ms"))
}
