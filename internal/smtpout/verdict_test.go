package smtpout

import (
	"errors"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

var allStages = []Stage{
	StageCheck, StageLookup, StageConnect, StageTLS, StageGreeting, StageEHLO, StageSTARTTLS, StageAUTH,
	StageMAIL, StageRCPT, StageDATA, StageContent, StageEnd,
}

// Every answer that a peer can give has a reason of the catalogue, and its first digit says
// whether the mail goes again, but for the exceptions that are named here.
func TestVerdictsAreComplete(t *testing.T) {
	t.Parallel()
	enhanced := []string{""}
	for e := range byEnhanced {
		enhanced = append(enhanced, e[2:])
	}
	enhanced = append(enhanced, "0.0", "1.99", "7.1", "9.9")
	for _, s := range allStages {
		for code := 400; code <= 599; code++ {
			for _, e := range enhanced {
				if strings.Count(e, ".") == 0 && e != "" {
					e += ".7" // of a whole subject
				}
				if e != "" {
					e = string(rune('0'+code/100)) + "." + e
				}
				for _, crowd := range []bool{false, true} {
					v := verdictOf(s, code, e, crowd)
					if !v.reason.Known() || v.reason == message.ReasonInternal || v.reason == message.ReasonSubmitInDoubt {
						t.Fatalf("%s %d %s: reason %q", s, code, e, v.reason)
					}
					again := code < 500 || s.setUp() || v.configure || e == "5.5.3" || code == 552 && crowd && e == ""
					if v.retry() != again {
						t.Errorf("%s %d %s, crowd %v: goes again: %v (%s)", s, code, e, crowd, v.retry(), v.reason)
					}
				}
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stage     Stage
		codes     string
		crowd     bool
		reason    message.Reason
		configure bool
	}{
		{StageRCPT, "550 5.1.1", false, message.ReasonUnknownSubscriber, false},
		{StageRCPT, "550", false, message.ReasonVendorRejected, false},
		{StageEnd, "550 5.7.1", false, message.ReasonVendorRejected, false},
		{StageRCPT, "551", false, message.ReasonUnknownSubscriber, false},
		{StageRCPT, "553 5.1.3", false, message.ReasonInvalidDestination, false},
		{StageRCPT, "553", false, message.ReasonInvalidDestination, false},
		{StageMAIL, "553", false, message.ReasonUnauthorizedSender, false},
		{StageMAIL, "550 5.1.8", false, message.ReasonUnauthorizedSender, false},
		{StageEnd, "552 5.3.4", false, message.ReasonMediaRejected, false},
		{StageEnd, "552", false, message.ReasonMediaRejected, false},
		{StageRCPT, "552", true, message.ReasonVendorThrottled, false},
		{StageRCPT, "452 4.5.3", true, message.ReasonVendorThrottled, false},
		{StageRCPT, "550 5.2.1", false, message.ReasonRecipientRefused, false},
		{StageRCPT, "552 5.2.2", false, message.ReasonRecipientRefused, false},
		{StageEnd, "554 5.6.0", false, message.ReasonMediaRejected, false},
		{StageEnd, "554", false, message.ReasonVendorRejected, false},
		{StageRCPT, "450 4.2.1", false, message.ReasonUnreachable, false},
		{StageMAIL, "450 4.7.1", false, message.ReasonVendorThrottled, false},
		{StageMAIL, "421 4.7.0", false, message.ReasonVendorThrottled, false},
		{StageEnd, "421 4.3.2", false, message.ReasonVendorUnreachable, false},
		{StageEnd, "451 4.3.0", false, message.ReasonVendorUnreachable, false},
		{StageEnd, "452 4.3.1", false, message.ReasonVendorThrottled, false},
		{StageMAIL, "530 5.7.0", false, message.ReasonVendorUnreachable, true},
		{StageAUTH, "535 5.7.8", false, message.ReasonVendorUnreachable, true},
		{StageAUTH, "454 4.7.0", false, message.ReasonVendorUnreachable, false},
		{StageMAIL, "432 4.7.12", false, message.ReasonVendorUnreachable, true},
		{StageGreeting, "554 5.7.1", false, message.ReasonVendorUnreachable, true},
		{StageGreeting, "421", false, message.ReasonVendorUnreachable, false},
	} {
		code, enhanced, _ := strings.Cut(tt.codes, " ")
		a := &reply{code: int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0'), enhanced: enhanced}
		e := answered("acme", &refusal{stage: tt.stage, reply: a, crowd: tt.crowd}, false)
		if e.Reason() != tt.reason || e.Configuration() != tt.configure || e.Codes() != tt.codes || e.Stage() != tt.stage || message.ReasonOf(e) != tt.reason {
			t.Errorf("%s %s: %s, configuration %v, want %s, %v", tt.stage, tt.codes, e.Reason(), e.Configuration(), tt.reason, tt.configure)
		}
	}
}

// A content that its source does not bring to an end has the source's reason.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		reason message.Reason
		retry  bool
	}{
		{errors.New("the disk is gone"), message.ReasonInternal, true},
		{message.Refuse(message.ReasonMediaRejected, "broken"), message.ReasonMediaRejected, false},
		{message.Refuse(message.ReasonMediaUnavailable, "away"), message.ReasonMediaUnavailable, true},
		{errTooLarge, message.ReasonMediaRejected, false},
		{errLongLine, message.ReasonInvalidRequest, false},
		{err8Bit, message.ReasonInvalidRequest, false},
	} {
		e := explain("acme", &sourceError{tt.err}, false)
		if e.Reason() != tt.reason || e.Retryable() != tt.retry || e.OnWire() || e.Ambiguous() || e.Stage() != StageContent || !errors.Is(e, tt.err) {
			t.Errorf("%v: %+v", tt.err, e)
		}
	}
}
