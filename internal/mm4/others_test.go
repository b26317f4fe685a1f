package mm4

import (
	"strings"
	"testing"
)

// What other gateways got wrong, each as a test of its own: see the list of the field.

// There, a request that asked for a response got none.
func TestEveryRequestCanBeAnswered(t *testing.T) {
	own := map[string]struct{ request, response, text string }{
		"forward":           {"forward_req", "forward_res", "accepted"},
		"delivery report":   {"delivery_report_req", "delivery_report_res", ""},
		"read-reply report": {"read_reply_report_req", "read_reply_report_res", ""},
	}
	for name, tt := range own {
		want := examples[tt.response]
		req, _ := mustRead(t, example(t, tt.request))
		to, ok := req.ResponseTo()
		if req.AckRequest != Yes || !ok || !req.Type.Request() {
			t.Errorf("%s: wants a response %v, at %v", name, req.AckRequest, to)
		}
		res := req.Response(StatusOK, tt.text, want.From, to, want.Date)
		res.MailID = want.MailID
		if want.MessageID == "" {
			res.MessageID = "" // the example leaves out what is optional
		}
		if mail := render(t, res); mail != example(t, tt.response) {
			t.Errorf("%s: the response is\n%s\nwant\n%s", name, mail, example(t, tt.response))
		}
		if again := res.Response(StatusOK, "", want.From, to, want.Date); again.Type != "" {
			t.Errorf("%s: its response is answered by %s", name, again.Type)
		}
	}
	var h Header
	if _, ok := h.ResponseTo(); ok {
		t.Error("a request without a system is answered somewhere")
	}
	h.OriginatorSystem = "mms.peer.example"
	if _, ok := h.ResponseTo(); ok {
		t.Error("a name without a user is an address")
	}
}

// There, delivery reports went to handsets as messages.
func TestReportsAreNoMessages(t *testing.T) {
	for name, want := range examples {
		h, _ := mustRead(t, example(t, name))
		if h.Type != want.Type || (h.Type == ForwardREQ) != (name == "forward_req") {
			t.Errorf("%s is a %s", name, h.Type)
		}
		if (h.MMStatus != "") != (h.Type == DeliveryReportREQ) || (h.ReadStatus != "") != (h.Type == ReadReplyReportREQ) {
			t.Errorf("%s says %q, %q", name, h.MMStatus, h.ReadStatus)
		}
	}
}

// There, parts in 7 bit were refused, after the mail had been taken; here a mail is
// refused, if it is, before its parts are given out, and these never are for their
// encoding's spelling.
func TestSevenBitPartsAreTaken(t *testing.T) {
	for _, encoding := range []string{"7bit", "7BIT", "7-bit", "8bit", "binary", `"7bit"`, "7bit;", "7bit (plain)", ""} {
		mail := crlf(top + "Content-Type: multipart/related; boundary=b; type=text/plain\n\n--b\nContent-Transfer-Encoding: " + encoding + "\n\nHello\n--b--\n")
		if _, parts := mustRead(t, mail); len(parts) != 1 || parts[0].content != "Hello" {
			t.Errorf("%q: %+v", encoding, parts)
		}
	}
}

// There, the text of a message with media was dropped.
func TestTextBesideMediaIsKept(t *testing.T) {
	mail := render(t, forward(), media("image/png", "a.png", "PNG"), OutPart{Text: "one"}, media("image/png", "b.png", "PNG"), OutPart{Text: "two"})
	_, parts := mustRead(t, mail)
	var texts []string
	for _, p := range parts {
		if p.IsText() {
			texts = append(texts, p.content)
		}
	}
	if strings.Join(texts, " ") != "one two" || len(parts) != 5 {
		t.Errorf("%d parts with the texts %q", len(parts), texts)
	}
	if smil := parts[0].content; strings.Count(smil, "<par") != 2 || strings.Count(smil, "<text") != 2 {
		t.Errorf("layout\n%s", smil)
	}
}
