package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// TestSuspendedCampaign: 200 messages wait, some for their vendor and some for their
// campaign's turn, when the campaign is suspended. None of those that wait leaves,
// and each says why. When it is active again, new messages go.
func TestSuspendedCampaign(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		throughput int // parts a minute
		args       []string
	}{
		// The vendor takes nothing: they wait for it.
		"throttled": {0, []string{"--error-percent", "100", "--error-statuses", "RTHROTTLED"}},
		// A quarter of them leaves within the minute, the others wait for the next.
		"paced": {50, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, c.args...)
			ctx := stacktest.Context(t)
			campaign := s.campaign()
			s.alter("update campaigns set throughput_limit = $1", c.throughput)
			s.current()
			const n = 200
			ids := make([]string, n)
			for i := range ids {
				ids[i] = s.post(map[string]any{"from": from, "to": destination(i), "body": fmt.Sprintf("text %d", i)}).ID
			}
			s.until("every message has left or waits", func() bool {
				left, waiting := 0, s.number("select count(*) from holds")
				for _, id := range ids {
					switch s.status(id) {
					case message.StatusSent, message.StatusDelivered:
						left++
					case message.StatusSending, message.StatusQueued:
						if c.throughput == 0 {
							waiting++
						}
					}
				}
				return left+waiting == n
			})
			if err := s.db.SetCampaignStatus(ctx, actor, campaign, snapshot.CampaignSuspended); err != nil {
				t.Fatal(err)
			}
			s.current()
			s.smscPut(map[string]any{"error_percent": 0})
			s.judgeSuspension(ids, c.throughput)
			s.wantRefusedNow()
			if err := s.db.SetCampaignStatus(ctx, actor, campaign, snapshot.CampaignActive); err != nil {
				t.Fatal(err)
			}
			s.alter("update campaigns set throughput_limit = 0")
			s.current()
			if r := s.final(s.post(map[string]any{"from": from, "to": destination(n), "body": "again"}).ID); r.Status != "delivered" {
				t.Errorf("with the campaign active again: %+v", r)
			}
		})
	}
}

// judgeSuspension waits until all have ended, and compares with what the vendor has.
func (s *system) judgeSuspension(ids []string, throughput int) {
	s.tb.Helper()
	refused := 0
	for i, id := range ids {
		var status message.Status
		s.until("message "+id+" has ended", func() bool {
			status = s.status(id)
			return status.Final()
		})
		arrived := s.destinations()[destination(i)]
		switch {
		case status == message.StatusDelivered && arrived == 1:
		case status == message.StatusRejected && arrived == 0:
			refused++
			s.wantReason(id, throughput > 0)
		default:
			s.tb.Errorf("message %s is %s and arrived %d times", id, status, arrived)
		}
	}
	least := len(ids)
	if throughput > 0 {
		least -= throughput
	}
	if refused < least {
		s.tb.Errorf("%d of %d were refused, at least %d should be", refused, len(ids), least)
	}
	if n := s.number("select count(*) from holds"); n != 0 {
		s.tb.Errorf("%d messages that have ended still wait", n)
	}
}

// wantReason looks at what a refused message says of itself.
func (s *system) wantReason(id string, held bool) {
	s.tb.Helper()
	parsed, err := message.ParseID(id)
	if err != nil {
		s.tb.Fatal(err)
	}
	m, err := s.db.Message(s.tb.Context(), parsed)
	if err != nil {
		s.tb.Fatal(err)
	}
	if m.Error == nil || m.Error.Reason != message.ReasonCampaignInactive || m.Error.Detail != from+" belongs to campaign CTEST01, which is suspended" {
		s.tb.Errorf("message %s says %v", id, m.Error)
	}
	events, err := s.db.Events(s.tb.Context(), m.ID, 0, 100)
	if err != nil {
		s.tb.Fatal(err)
	}
	waited, why := false, false
	for _, e := range events {
		waited = waited || e.Type == message.StatusEvent(message.StatusQueued) && e.Detail["hold"] != nil
		why = why || e.Type == message.StatusEvent(message.StatusRejected) && e.Detail["trail"] != nil && e.Detail["code"] == string(message.ReasonCampaignInactive)
	}
	if !why || held && !waited {
		s.tb.Errorf("message %s: the timeline says that it waited: %v, and why it was refused: %v", id, waited, why)
	}
}

func (s *system) wantRefusedNow() {
	s.tb.Helper()
	body, err := json.Marshal(map[string]any{"from": from, "to": destination(999), "body": "now"})
	if err != nil {
		s.tb.Fatal(err)
	}
	a, err := s.submit("", body)
	if err != nil || a.StatusCode() != http.StatusUnprocessableEntity {
		s.tb.Errorf("a new message is answered %+v, %v", a, err)
	}
}

// campaign is the row id of the account's campaign.
func (s *system) campaign() message.ID {
	s.tb.Helper()
	snap, err := s.db.LoadSnapshot(stacktest.Context(s.tb))
	if err != nil {
		s.tb.Fatal(err)
	}
	return snap.Numbers[from].Campaign
}

// current waits until the gateway goes by the newest configuration.
func (s *system) current() {
	s.tb.Helper()
	db := s.sql()
	s.until("the configuration is in force", func() bool { return s.configIsCurrent(stacktest.Context(s.tb), db) })
}
