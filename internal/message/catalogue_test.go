package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// documented is the error catalogue of the API document: where that allows
// several HTTP statuses any of them will do; of command_status and MM4 it is
// the first; 0 and "" stand for "cannot arise there".
var documented = []struct {
	code   string
	class  ReasonClass
	http   []int
	submit uint32
	bind   uint32
	mm4    string
	stat   string
	err    string
}{
	{"invalid_request", Permanent, []int{400, 405, 415, 422}, 0x01, 0, "message-format-corrupt", "", ""},
	{"unauthenticated", Permanent, []int{401}, 0, 0x0E, "535", "", ""},
	{"forbidden", Permanent, []int{403}, 0, 0x0D, "554", "", ""},
	{"not_found", Permanent, []int{404}, 0x0C, 0, "message-not-found", "", ""},
	{"conflict", Permanent, []int{409, 412}, 0x11, 0, "", "", ""},
	{"idempotency_in_progress", Retry, []int{409}, 0x08, 0, "451", "", ""},
	{"idempotency_mismatch", Permanent, []int{422}, 0x45, 0, "", "", ""},
	{"payload_too_large", Permanent, []int{413}, 0x01, 0, "552", "", ""},
	{"unsafe_url", Permanent, []int{422}, 0, 0, "", "", ""},
	{"account_suspended", Permanent, []int{403}, 0x45, 0x0D, "service-denied", "REJECTD", "101"},
	{"unauthorized_sender", Permanent, []int{403}, 0x0A, 0, "service-denied", "REJECTD", "102"},
	{"sender_unavailable", Retry, []int{}, 0, 0, "network-problem", "UNDELIV", "103"},
	{"insufficient_balance", Permanent, []int{402}, 0x45, 0, "service-denied", "REJECTD", "104"},
	{"quota_exceeded", Retry, []int{429}, 0x14, 0, "452", "REJECTD", "105"},
	{"rate_limit_exceeded", Retry, []int{429}, 0x58, 0, "450", "", ""},
	{"queue_full", Retry, []int{429}, 0x14, 0, "452", "", ""},
	{"unregistered_campaign", FixRegistration, []int{422}, 0x45, 0, "service-denied", "REJECTD", "201"},
	{"campaign_inactive", FixRegistration, []int{422}, 0x45, 0, "service-denied", "REJECTD", "202"},
	{"sender_unverified", FixRegistration, []int{422}, 0x45, 0, "service-denied", "REJECTD", "203"},
	{"opted_out", Permanent, []int{422}, 0x0B, 0, "service-denied", "REJECTD", "301"},
	{"prohibited_content", Permanent, []int{422}, 0x45, 0, "content-not-accepted", "REJECTD", "302"},
	{"quiet_hours", Permanent, []int{422}, 0x45, 0, "service-denied", "REJECTD", "303"},
	{"message_too_long", Permanent, []int{422}, 0x01, 0, "content-not-accepted", "REJECTD", "304"},
	{"encoding_mismatch", Permanent, []int{422}, 0x45, 0, "content-not-accepted", "REJECTD", "305"},
	{"invalid_schedule", Permanent, []int{422}, 0x61, 0, "message-format-corrupt", "", ""},
	{"media_unavailable", Retry, []int{}, 0, 0, "", "UNDELIV", "306"},
	{"media_rejected", Permanent, []int{422}, 0, 0, "content-not-accepted", "UNDELIV", "307"},
	{"missing_part", Permanent, []int{}, 0, 0, "", "UNDELIV", "308"},
	{"invalid_destination", Permanent, []int{422}, 0x0B, 0, "sending-address-unresolved", "REJECTD", "401"},
	{"destination_not_allowed", Permanent, []int{422}, 0x0B, 0, "service-denied", "REJECTD", "402"},
	{"no_route", Permanent, []int{422}, 0x0B, 0, "sending-address-unresolved", "REJECTD", "403"},
	{"unknown_subscriber", Permanent, []int{}, 0, 0, "", "UNDELIV", "404"},
	{"unreachable", Retry, []int{}, 0, 0, "", "UNDELIV", "405"},
	{"recipient_refused", Permanent, []int{}, 0, 0, "", "UNDELIV", "406"},
	{"vendor_throttled", Retry, []int{}, 0, 0, "", "EXPIRED", "501"},
	{"daily_cap_reached", Retry, []int{429}, 0x14, 0, "network-problem", "EXPIRED", "502"},
	{"filtered", Permanent, []int{}, 0, 0, "", "UNDELIV", "503"},
	{"fraud_block", Retry, []int{}, 0, 0, "", "UNDELIV", "504"},
	{"vendor_rejected", Permanent, []int{}, 0, 0, "", "UNDELIV", "505"},
	{"vendor_unreachable", Retry, []int{}, 0, 0, "", "UNDELIV", "506"},
	{"submit_in_doubt", Permanent, []int{}, 0, 0, "", "UNKNOWN", "507"},
	{"no_receipt", Permanent, []int{}, 0, 0, "", "UNKNOWN", "508"},
	{"expired", Retry, []int{}, 0, 0, "", "EXPIRED", "509"},
	{"canceled", Permanent, []int{}, 0, 0, "", "DELETED", "510"},
	{"internal_error", Retry, []int{500}, 0x08, 0, "451", "UNDELIV", "901"},
	{"unavailable", Retry, []int{503}, 0x08, 0, "451", "", ""},
}

func TestCatalogueIsTheDocumented(t *testing.T) {
	cat := Catalogue()
	if len(cat) != len(documented) {
		t.Errorf("%d reasons, %d documented", len(cat), len(documented))
	}
	for i, want := range documented {
		if i < len(cat) && cat[i].Reason != Reason(want.code) {
			t.Errorf("row %d is %s, documented is %s", i+1, cat[i].Reason, want.code)
		}
		r := Reason(want.code)
		if !r.Known() {
			t.Errorf("%s is missing", r)
			continue
		}
		e := r.Entry()
		if e.Reason != r || e.Class != want.class || r.Class() != want.class {
			t.Errorf("%s: entry of %s, class %s; want %s", r, e.Reason, e.Class, want.class)
		}
		if (e.HTTP == 0) != (len(want.http) == 0) || e.HTTP != 0 && !slices.Contains(want.http, e.HTTP) {
			t.Errorf("%s: HTTP %d, want one of %v", r, e.HTTP, want.http)
		}
		if e.SMPP != want.submit || e.SMPPBind != want.bind {
			t.Errorf("%s: command_status %#x, bind %#x; want %#x, %#x", r, e.SMPP, e.SMPPBind, want.submit, want.bind)
		}
		if e.MM4 != want.mm4 {
			t.Errorf("%s: MM4 %q, want %q", r, e.MM4, want.mm4)
		}
		if e.ReceiptStat != want.stat || e.ReceiptErr != want.err {
			t.Errorf("%s: receipt %q %q, want %q %q", r, e.ReceiptStat, e.ReceiptErr, want.stat, want.err)
		}
		if r.Temporary() != (want.class == Retry) {
			t.Errorf("%s.Temporary() = %v", r, r.Temporary())
		}
	}
}

func TestCatalogueRowsAreSound(t *testing.T) {
	codes, errs := map[Reason]bool{}, map[string]Reason{}
	for _, e := range Catalogue() {
		if codes[e.Reason] {
			t.Errorf("%s is there twice", e.Reason)
		}
		codes[e.Reason] = true
		if e.Title == "" || strings.HasSuffix(e.Title, ".") || !strings.HasSuffix(e.Help, ".") {
			t.Errorf("%s: title %q, help %q", e.Reason, e.Title, e.Help)
		}
		if (e.ReceiptStat == "") != (e.ReceiptErr == "") {
			t.Errorf("%s: half a receipt", e.Reason)
		}
		if e.ReceiptStat != "" {
			if _, ok := ParseReceiptState(e.ReceiptStat); !ok {
				t.Errorf("%s: %q is no receipt word", e.Reason, e.ReceiptStat)
			}
			if other, ok := errs[e.ReceiptErr]; ok || len(e.ReceiptErr) != 3 || !allDigits(e.ReceiptErr) {
				t.Errorf("%s: err %q, also of %q", e.Reason, e.ReceiptErr, other)
			}
			errs[e.ReceiptErr] = e.Reason
		}
	}
}

func TestCatalogueIsACopy(t *testing.T) {
	c := Catalogue()
	c[0].HTTP = 999
	if Catalogue()[0].HTTP == 999 {
		t.Error("a caller can change the catalogue")
	}
}

func TestUnknownReason(t *testing.T) {
	r := Reason("no_such_reason")
	if r.Known() || r.Entry().Reason != ReasonInternal || r.Class() != Retry {
		t.Errorf("an unknown reason has the row of %s", r.Entry().Reason)
	}
}

func TestReasonOf(t *testing.T) {
	refusal := Refuse(ReasonOptedOut, "%s has stopped %s", "a", "b")
	cause := errors.New("connection reset")
	for _, c := range []struct {
		err  error
		want Reason
	}{
		{nil, ""},
		{refusal, ReasonOptedOut},
		{fmt.Errorf("admit: %w", refusal), ReasonOptedOut},
		{cause, ReasonInternal},
		{Because(ReasonUnavailable, cause, ""), ReasonUnavailable},
		{errors.Join(cause, refusal), ReasonOptedOut},
	} {
		if got := ReasonOf(c.err); got != c.want {
			t.Errorf("ReasonOf(%v) = %q, want %q", c.err, got, c.want)
		}
		got := AsError(c.err)
		if (got == nil) != (c.err == nil) || got != nil && got.Reason != c.want {
			t.Errorf("AsError(%v) = %v", c.err, got)
		}
	}
	if e := AsError(cause); e.Detail != "" || !errors.Is(e, cause) {
		t.Errorf("a foreign error shows its text to the customer: %q", e.Detail)
	}
	if !Refuse(ReasonQueueFull, "").Retryable() || refusal.Retryable() {
		t.Error("Retryable does not follow the class")
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("boom")
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{&Error{Reason: ReasonExpired}, "expired"},
		{Refuse(ReasonExpired, "after 60 s"), "expired: after 60 s"},
		{&Error{Reason: ReasonExpired, Err: cause}, "expired: boom"},
		{Because(ReasonExpired, cause, "after 60 s"), "expired: after 60 s: boom"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestSubmitErrorAnswers(t *testing.T) {
	cause := errors.New("reset")
	for _, c := range []struct {
		written, answered, ambiguous bool
	}{{false, false, false}, {true, false, true}, {true, true, false}} {
		e := &SubmitError{Reason: ReasonVendorRejected, Written: c.written, Answered: c.answered, Err: cause}
		if e.OnWire() != c.written || e.Ambiguous() != c.ambiguous || !errors.Is(e, cause) {
			t.Errorf("%+v: on wire %v, ambiguous %v", c, e.OnWire(), e.Ambiguous())
		}
	}
	e := &SubmitError{Reason: ReasonVendorThrottled, VendorCode: "0x58", Detail: "slow down", Again: true, After: 7, Err: cause}
	if e.Error() != "vendor_throttled (vendor code 0x58): slow down: reset" || !e.Retryable() || e.RetryAfter() != 7 {
		t.Errorf("%q, %v, %v", e.Error(), e.Retryable(), e.RetryAfter())
	}
}
