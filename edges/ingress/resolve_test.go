package ingress_test

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// What staff say goes to the record, and then to the workflow; one whose workflow has
// gone is not put into a queue that nobody works on.
func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name   string
		as     message.Resolution
		closed bool
		away   bool
		fault  error
		reason message.Reason
		asked  int // of the record
	}{
		{"sent", message.ResolvedSent, false, false, nil, "", 1},
		{"not sent, Temporal away", message.ResolvedNotSent, false, true, nil, "", 1},
		{"again", message.ResolvedSendAgain, false, false, nil, "", 1},
		{"again, Temporal away", message.ResolvedSendAgain, false, true, nil, "", 1},
		{"again, without a workflow", message.ResolvedSendAgain, true, false, nil, message.ReasonConflict, 0},
		{"not sent, without a workflow", message.ResolvedNotSent, true, false, nil, "", 2}, // the settlement looks as well
		{"not in doubt", message.ResolvedSent, false, false, message.Refuse(message.ReasonConflict, "it is sent"), message.ReasonConflict, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t)
			m := b.scheduled(t)
			b.journal.set(m.ID, func(m *message.Message) { m.Status = message.StatusInDoubt })
			note := message.NewID()
			b.outcome, b.outcomeErr = record.Result{Status: message.StatusSent, Notify: []message.ID{note}}, c.fault
			if c.away {
				b.server.setDown(errAway)
			}
			b.server.closed[m.ID] = c.closed
			err := b.Resolve(t.Context(), ingress.Resolution{MessageID: m.ID, As: c.as, By: message.Actor{Name: "ada"}, Note: "their log"})
			if message.ReasonOf(err) != c.reason || len(b.outcomes) != c.asked {
				t.Fatalf("%v, the record was asked for %+v", err, b.outcomes)
			}
			if c.asked > 0 {
				if f := b.outcomes[0].Staff; f == nil || *f != (record.Finding{As: c.as, Actor: "ada", Note: "their log"}) {
					t.Errorf("%+v", f)
				}
			}
			if told := slices.ContainsFunc(b.server.posted, func(p string) bool { return p == "resolved "+note.String() }); told != (c.reason == "" && !c.away) {
				t.Errorf("posted %v", b.server.posted)
			}
		})
	}
}
