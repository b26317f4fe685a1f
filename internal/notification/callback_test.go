package notification

import (
	"net/url"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// told are the parameters of the callbacks that a message's status causes.
func told(t *testing.T, m *message.Message) []url.Values {
	t.Helper()
	var list []url.Values
	for _, n := range of(t, &snapshot.Snapshot{}, m, false) {
		v, err := url.ParseQuery(n.Payload)
		if err != nil || n.Format != m.Callback.Format() || n.URL != m.WebhookURL || n.AccountID != m.AccountID || n.MessageID != m.ID {
			t.Fatalf("%+v, %v", n, err)
		}
		if (n.Method == "GET") != m.Callback.Get() {
			t.Errorf("method %q", n.Method)
		}
		list = append(list, v)
	}
	return list
}

func TestTwilioCallbacks(t *testing.T) {
	t.Parallel()
	for status, want := range map[message.Status]string{
		message.StatusAccepted: "queued", message.StatusSent: "sent", message.StatusDelivered: "delivered", message.StatusUndelivered: "undelivered",
		message.StatusFailed: "failed", message.StatusRejected: "failed", message.StatusExpired: "undelivered", message.StatusCanceled: "canceled",
		message.StatusInDoubt: "", message.StatusUnconfirmed: "", message.StatusQueued: "", message.StatusSending: "",
	} {
		m := delivered()
		m.Callback, m.Status, m.Error = message.CallbackTwilio, status, message.Refuse(message.ReasonUnreachable, "away")
		list := told(t, m)
		if want == "" {
			if len(list) > 0 {
				t.Errorf("%s: %v", status, list)
			}
			continue
		}
		v := list[0]
		code := ""
		if want == "failed" || want == "undelivered" {
			code = "30003"
		}
		if len(list) != 1 || v.Get("MessageStatus") != want || v.Get("SmsStatus") != want || v.Get("ErrorCode") != code || v.Has("ErrorCode") != (code != "") {
			t.Errorf("%s: %v", status, list)
		}
		if v.Get("MessageSid") != "SM01a1ffbf86767d359c440f6f2f1b7e21" || v.Get("SmsSid") != v.Get("MessageSid") || v.Get("AccountSid") != "AC"+message.Hex32(account) ||
			v.Get("From") != "+12025550143" || v.Get("To") != "+13105550117" || v.Get("ApiVersion") != "2010-04-01" {
			t.Errorf("%v", v)
		}
	}
}

func TestJasminCallbacks(t *testing.T) {
	t.Parallel()
	submitted := at.Add(-1)
	for _, c := range []struct {
		name   string
		level  int
		status message.Status
		sent   bool // it was told of before
		want   []string
	}{
		{"taken", 1, message.StatusSent, false, []string{"1 ESME_ROK"}},
		{"taken, of both", 3, message.StatusSent, false, []string{"1 ESME_ROK"}},
		{"taken, nobody asked", 2, message.StatusSent, false, nil},
		{"delivered", 2, message.StatusDelivered, true, []string{"2 DELIVRD"}},
		{"delivered, of both", 3, message.StatusDelivered, true, []string{"2 DELIVRD"}},
		{"delivered before it was sent", 3, message.StatusDelivered, false, []string{"1 ESME_ROK", "2 DELIVRD"}},
		{"delivered before it was sent, of the submit", 1, message.StatusDelivered, false, []string{"1 ESME_ROK"}},
		{"delivered, nobody asked", 1, message.StatusDelivered, true, nil},
		{"undelivered", 3, message.StatusUndelivered, true, []string{"2 UNDELIV"}},
		{"no vendor took it", 1, message.StatusFailed, false, []string{"1 ESME_RSUBMITFAIL"}},
		{"no vendor took it, of both", 3, message.StatusFailed, false, []string{"1 ESME_RSUBMITFAIL"}},
		{"no vendor took it, of the delivery", 2, message.StatusFailed, false, []string{"2 UNDELIV"}},
		{"refused later", 2, message.StatusRejected, false, []string{"2 REJECTD"}},
		{"withdrawn", 2, message.StatusCanceled, false, []string{"2 DELETED"}},
		{"expired at the carrier", 3, message.StatusExpired, true, []string{"2 EXPIRED"}},
		{"expired here", 3, message.StatusExpired, false, []string{"1 ESME_RSUBMITFAIL"}},
		{"silence", 3, message.StatusUnconfirmed, true, []string{"2 UNKNOWN"}},
		{"silence after a doubt", 1, message.StatusUnconfirmed, false, nil},
		{"accepted", 3, message.StatusAccepted, false, nil},
		{"in doubt", 3, message.StatusInDoubt, false, nil},
	} {
		for _, get := range []bool{false, true} {
			m := delivered()
			m.Callback, m.Status = message.CallbackJasmin(c.level, get), c.status
			if c.status != message.StatusDelivered && c.status != message.StatusUndelivered {
				m.Receipt = nil
			}
			if c.sent {
				m.SubmittedAt = submitted
			}
			var got []string
			for _, v := range told(t, m) {
				got = append(got, v.Get("level")+" "+v.Get("message_status"))
				if v.Get("id") != m.ID.String() || v.Get("connector") == "" || v.Has("donedate") != (v.Get("level") == "2") || v.Get("text") != "" {
					t.Errorf("%s: %v", c.name, v)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%s: %q", c.name, got)
				continue
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("%s: %q", c.name, got)
				}
			}
		}
	}
	m := delivered()
	m.Callback, m.SubmittedAt = message.CallbackJasmin(2, false), submitted
	v := told(t, m)[0]
	if v.Get("sub") != "001" || v.Get("dlvrd") != "001" || v.Get("err") != "000" || v.Get("subdate") != "2611212015" || v.Get("donedate") != "2611212015" {
		t.Errorf("%v", v)
	}
	if again := message.Filled(of(t, &snapshot.Snapshot{}, m, false)[0].Payload, 7, at); again != v.Encode() {
		t.Errorf("the journal changes it: %s", again)
	}
}
