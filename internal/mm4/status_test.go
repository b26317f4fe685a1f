package mm4

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestTypes(t *testing.T) {
	for _, k := range Types() {
		for _, s := range []string{string(k), strings.ToLower(string(k)), strings.ToUpper(string(k)), " " + string(k) + "\t"} {
			if got, err := ParseType(s); err != nil || got != k {
				t.Errorf("ParseType(%q) = %q, %v", s, got, err)
			}
		}
		if k.Request() == (k.Response() == "") {
			t.Errorf("%s: request %v, response %q", k, k.Request(), k.Response())
		}
		if r := k.Response(); r != "" && (!r.Valid() || r.Request() || string(r)[:len(r)-3] != string(k)[:len(k)-3]) {
			t.Errorf("%s is answered by %s", k, r)
		}
		if required[k] == nil {
			t.Errorf("%s has no headers that it must have", k)
		}
	}
	for _, s := range []string{"", "MM4_forward", "MM1_forward.REQ", strings.Repeat("x", 500)} {
		_, err := ParseType(s)
		var e *TypeError
		if !errors.As(err, &e) || len(err.Error()) > 100 {
			t.Errorf("ParseType(%q): %v", s, err)
		}
	}
	if Type("MM4_x.REQ").Response() != "" {
		t.Error("an unknown request has a response")
	}
}

func TestStatusesAreParsed(t *testing.T) {
	for _, s := range RequestStatuses() {
		short := strings.TrimPrefix(string(s), "Error-")
		for _, v := range []string{string(s), strings.ToUpper(string(s)), short, strings.ReplaceAll(string(s), "-", "_"), strings.ReplaceAll(string(s), "-", " ")} {
			if got, ok := ParseStatus(v); !ok || got != s {
				t.Errorf("ParseStatus(%q) = %q, %v", v, got, ok)
			}
		}
	}
	for v, want := range map[string]Status{
		"OK": StatusOK, "Error-transient-network-problem": StatusNetworkProblem, "Error-transient-failure": StatusNetworkProblem,
		"Error-permanent-failure": StatusServiceDenied, "Error-permanent-service-denied": StatusServiceDenied,
		"Error-permanent-message-not-found": StatusMessageNotFound,
	} {
		if got, ok := ParseStatus(v); !ok || got != want {
			t.Errorf("ParseStatus(%q) = %q, %v, want %q", v, got, ok, want)
		}
	}
	for _, v := range []string{"", "Error-", "whatever", "200"} {
		if got, ok := ParseStatus(v); ok || got != StatusUnspecified {
			t.Errorf("ParseStatus(%q) = %q, %v", v, got, ok)
		}
	}
}

// Each reason has a status and a reply, and whether it is worth another try does not
// change on the way.
func TestEveryReasonHasAStatusAndAReply(t *testing.T) {
	byCatalogue := 0
	for _, e := range message.Catalogue() {
		s := StatusOf(e.Reason)
		if !slices.Contains(RequestStatuses(), s) || s == StatusOK {
			t.Errorf("%s: status %q", e.Reason, s)
		}
		if s.Retryable() != e.Reason.Temporary() {
			t.Errorf("%s is temporary: %v, its status %s says %v", e.Reason, e.Reason.Temporary(), s, s.Retryable())
		}
		named, inCatalogue := ParseStatus(e.MM4)
		_, here := unsaid[e.Reason]
		if inCatalogue == here {
			t.Errorf("%s is %q in the catalogue and also here: %v", e.Reason, e.MM4, here)
		}
		if inCatalogue {
			byCatalogue++
			if s != named {
				t.Errorf("%s: %s, the catalogue says %s", e.Reason, s, named)
			}
		}
		r := ReplyOf(e.Reason)
		if r.Code/100 != r.Enhanced[0] || (r.Code/100 == 4) != e.Reason.Temporary() || r.Code/100 != 4 && r.Code/100 != 5 {
			t.Errorf("%s: reply %v", e.Reason, r)
		}
		if digits := e.MM4; len(digits) == 3 && digits != string(rune('0'+r.Code/100))+digits[1:] {
			t.Errorf("%s: reply %v, the catalogue says %s", e.Reason, r, digits)
		}
	}
	if byCatalogue < 15 {
		t.Errorf("only %d reasons have a status in the catalogue", byCatalogue)
	}
	if StatusOf("") != StatusOK || ReplyOf("").Code != 250 || StatusOf("nonsense") != StatusUnspecified || ReplyOf("nonsense").Code != 451 {
		t.Error("no reason, or an unknown one")
	}
}

func TestRepliesOfTheInterface(t *testing.T) {
	for r, want := range map[message.Reason]Reply{
		message.ReasonOptedOut:           {550, [3]int{5, 7, 1}},
		message.ReasonInvalidDestination: {553, [3]int{5, 1, 3}},
		message.ReasonMediaRejected:      {554, [3]int{5, 6, 0}},
		message.ReasonInvalidRequest:     {554, [3]int{5, 6, 0}},
		message.ReasonRateLimitExceeded:  {450, [3]int{4, 7, 1}},
		message.ReasonUnavailable:        {451, [3]int{4, 3, 0}},
		message.ReasonQuotaExceeded:      {452, [3]int{4, 3, 1}},
		message.ReasonPayloadTooLarge:    {552, [3]int{5, 3, 4}},
		message.ReasonUnauthenticated:    {535, [3]int{5, 7, 8}},
		message.ReasonForbidden:          {554, [3]int{5, 7, 1}},
	} {
		if got := ReplyOf(r); got != want {
			t.Errorf("ReplyOf(%s) = %v, want %v", r, got, want)
		}
	}
}

func TestEveryStatusHasAReasonAndAReply(t *testing.T) {
	for _, s := range RequestStatuses() {
		r := s.Reason()
		if _, ok := vendorReasons[s]; !ok || (r == "") != (s == StatusOK) || r != "" && !r.Known() {
			t.Errorf("%s: reason %q", s, r)
		}
		if r != "" && r.Temporary() != s.Retryable() {
			t.Errorf("%s is retryable: %v, its reason %s is not", s, s.Retryable(), r)
		}
		if _, ok := replies[s]; !ok {
			t.Errorf("%s has no reply", s)
		}
	}
	for s, want := range map[Status]message.Reason{
		StatusAddress: message.ReasonUnknownSubscriber, StatusContent: message.ReasonMediaRejected,
		StatusServiceDenied: message.ReasonVendorRejected, "odd": message.ReasonVendorRejected,
	} {
		if got := s.Reason(); got != want {
			t.Errorf("%s.Reason() = %s, want %s", s, got, want)
		}
	}
	if (Status("odd")).Reply() != StatusUnspecified.Reply() {
		t.Error("the reply of an odd status")
	}
}

// The table of statuses of the API document, written down a second time.
func TestMMStatusOfEveryStatus(t *testing.T) {
	const table = `
accepted Deferred
scheduled Deferred
queued Deferred
sending Deferred
in_doubt Deferred
sent Deferred
delivered Retrieved
undelivered Rejected
failed Rejected Rejection-by-Other-RS
rejected Rejected Rejection-by-Other-RS
expired Expired
canceled Rejected Rejection-by-Other-RS
unconfirmed Indeterminate`
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if len(rows) != len(message.Statuses()) || len(mmStatuses) != len(rows) {
		t.Fatalf("%d rows, %d statuses", len(rows), len(message.Statuses()))
	}
	for i, s := range message.Statuses() {
		w := append(strings.Fields(rows[i]), "")
		if got, e := MMStatusOf(s, message.ReasonVendorRejected); w[0] != string(s) || string(got) != w[1] || string(e) != w[2] {
			t.Errorf("%s: %s %s, want %v", s, got, e, w)
		}
	}
	for r, want := range map[message.Reason]MMStatus{
		message.ReasonUnreachable: Unreachable, message.ReasonMediaRejected: Unrecognised, message.ReasonRecipientRefused: Rejected, "": Rejected,
	} {
		got, e := MMStatusOf(message.StatusUndelivered, r)
		if got != want || (e == RejectedByRecipient) != (r == message.ReasonRecipientRefused) {
			t.Errorf("undelivered for %q: %s %s", r, got, e)
		}
		if other, _ := MMStatusOf(message.StatusDelivered, r); other != Retrieved {
			t.Errorf("delivered with %q: %s", r, other)
		}
	}
	if s, e := MMStatusOf("odd", ""); s != Indeterminate || e != "" {
		t.Error("an odd status")
	}
}

func TestReceiptOfEveryMMStatus(t *testing.T) {
	want := map[MMStatus]message.PartState{
		Retrieved: message.PartDelivered, Forwarded: message.PartDelivered, Expired: message.PartExpired,
		Rejected: message.PartUndelivered, Unrecognised: message.PartUndelivered, Unreachable: message.PartUndelivered,
		Deferred: "", Indeterminate: "",
	}
	for _, s := range append(MMStatuses(), "odd") {
		state, reason := s.Receipt("")
		part, decides := state.PartState()
		if w, ok := want[s]; part != w || !ok && s != "odd" {
			t.Errorf("%s makes the part %q, want %q", s, part, w)
		}
		if failed := decides && part != message.PartDelivered; failed != (reason != "") || reason != "" && !reason.Known() {
			t.Errorf("%s: reason %q", s, reason)
		}
	}
	if _, r := Rejected.Receipt(RejectedByRecipient); r != message.ReasonRecipientRefused {
		t.Errorf("rejected by the recipient: %s", r)
	}
	if _, r := Retrieved.Receipt(RejectedByRecipient); r != "" {
		t.Errorf("retrieved has the reason %s", r)
	}
}

func TestWordsAreParsedInAnyCase(t *testing.T) {
	checkWords(t, Classes())
	checkWords(t, Priorities())
	checkWords(t, Visibilities())
	checkWords(t, MMStatuses())
	checkWords(t, Extensions())
	checkWords(t, ReadStatuses())
	if s, ok := parseWord(MMStatuses(), "unrecognized"); !ok || s != Unrecognised {
		t.Error("the American spelling")
	}
	if s, ok := parseWord(ReadStatuses(), "Deleted"); !ok || s != DeletedUnread {
		t.Error("deleted")
	}
	if _, ok := parseWord(ReadStatuses(), "Retrieved"); ok {
		t.Error("a word of another list")
	}
	for s, want := range map[string]Flag{"Yes": Yes, "yes": Yes, "TRUE": Yes, "No": No, "n": No, "0": No, "": Unset, "maybe": Unset} {
		if got, ok := ParseFlag(s); got != want || ok != (want != Unset) {
			t.Errorf("ParseFlag(%q) = %v, %v", s, got, ok)
		}
	}
	if Yes.String() != "Yes" || No.String() != "No" || Unset.String() != "" || FlagOf(true) != Yes || FlagOf(false) != No {
		t.Error("flags")
	}
}

func checkWords[T ~string](t *testing.T, words []T) {
	t.Helper()
	for _, w := range words {
		s := string(w)
		for _, v := range []string{s, strings.ToLower(s), strings.ToUpper(s), " " + s + " ", strings.ReplaceAll(s, "-", " ")} {
			if got, ok := parseWord(words, v); !ok || got != w {
				t.Errorf("%q is %q, %v", v, got, ok)
			}
		}
	}
	if got, ok := parseWord(words, ""); ok {
		t.Errorf("nothing is %q", got)
	}
}

func TestIDs(t *testing.T) {
	id := message.NewID()
	long := strings.Repeat("a", 24) + ".example"
	for _, s := range []string{
		MessageID(id, "mms.gw.example"), MessageID(id, ""), MessageID(id, long), MessageID(id, "b\r\nX: y"),
		TransactionID(id, ForwardREQ, 1), TransactionID(id, DeliveryReportREQ, 1<<31), TransactionID(id, ReadReplyReportREQ, 2),
	} {
		if len(s) > 60 || strings.Trim(s, idOctets+"@") != "" {
			t.Errorf("id %q", s)
		}
		for _, form := range []string{s, "<" + s + ">", `"` + s + `"`, ` "<` + s + `>" `} {
			if got, ok := MessageOf(form); !ok || got != id || CleanID(form) != s {
				t.Errorf("MessageOf(%q) = %v, %v", form, got, ok)
			}
		}
	}
	if MessageID(id, "mms.gw.example") != message.Hex32(id)+"@mms.gw.example" || strings.Contains(MessageID(id, long), "@") {
		t.Error("the domain")
	}
	if TransactionID(id, ForwardREQ, 1) == TransactionID(id, DeliveryReportREQ, 1) || TransactionID(id, ForwardREQ, 1) == TransactionID(id, ForwardREQ, 2) {
		t.Error("two requests have one transaction id")
	}
	for _, s := range []string{"", "p-9001", "01JC8Q7Z5T@mms.gw.example", message.Hex32(id) + "0@x", strings.ToUpper(message.Hex32(id)), id.String()} {
		if _, ok := MessageOf(s); ok {
			t.Errorf("%q is ours", s)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a response has a transaction id of its own")
		}
	}()
	TransactionID(id, ForwardRES, 1)
}
