package main

import (
	"fmt"
	"time"
)

// Verdict is what became of the messages of a span of time. Counts are of messages
// unless said otherwise.
type Verdict struct {
	Accepted          int           `json:"accepted"`
	Refused           int           `json:"refused"`
	Unknown           int           `json:"unknown"` // nobody said whether they were accepted
	Final             int           `json:"final"`
	Open              int           `json:"open"` // not final; Details says why
	Lost              int           `json:"lost"`
	Doubled           int           `json:"doubled"`
	InDoubt           int           `json:"in_doubt"`
	ReceiptsMissing   int           `json:"receipts_missing"`
	WebhooksMissing   int           `json:"webhooks_missing"`
	WebhookIDsChanged int           `json:"webhook_ids_changed"`
	WebhooksToCome    int           `json:"webhooks_to_come"` // they failed, and have their time; no fault
	MMS               int           `json:"mms"`              // of those accepted
	FilesMissing      int           `json:"files_missing"`    // MMS that came in without their file, or with another one
	UploadsRefused    int           `json:"uploads_refused"`  // answers 503, not messages; no fault
	HalfStored        int           `json:"half_stored"`      // octets without a row, rows without octets
	FilesLeft         int           `json:"files_left"`       // temporary ones that nobody will remove
	Strange           int           `json:"strange"`          // webhooks and receipts that belong to no message, or are not signed
	DoorsShut         int           `json:"doors_shut"`       // over which no message went through any more
	StuckWorkflows    int           `json:"stuck_workflows"`
	LeakedLeases      int           `json:"leaked_leases"`
	OrphanRows        int           `json:"orphan_rows"`
	Recover           time.Duration `json:"recover_ns"` // from the end of the event until all went as before
	Details           []string      `json:"details,omitempty"`
}

// Wrong lists what must not be; empty: the promises were kept.
func (v Verdict) Wrong() []string {
	var wrong []string
	for _, of := range []struct {
		n    int
		what string
	}{
		{v.Open, "not at their end"}, {v.Lost, "lost"}, {v.Doubled, "doubled"}, {v.ReceiptsMissing, "without a receipt"},
		{v.WebhooksMissing, "without a webhook"}, {v.WebhookIDsChanged, "whose webhook-id changed"},
		{v.FilesMissing, "without their file"}, {v.HalfStored, "files half-stored"}, {v.FilesLeft, "temporary files left"},
		{v.Strange, "webhooks or receipts that belong to no message"}, {v.DoorsShut, "doors that stay shut"},
		{v.StuckWorkflows, "workflows that stay"}, {v.LeakedLeases, "leaked leases"}, {v.OrphanRows, "orphan rows"},
	} {
		if of.n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", of.n, of.what))
		}
	}
	return wrong
}
