package smpp

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

func (j *deliverJournal) instanceLocked(instance string) {
	if instance != "here" {
		j.wrongLocked("settled for %q", instance)
	}
}

// lateLocked takes what was delivered under a claim that has ended.
func (j *deliverJournal) lateLocked(t message.SMPPDelivered) bool {
	if t.State != message.NotificationDelivered {
		return false
	}
	for _, r := range j.rows {
		if r.ID != t.ID || r.held(time.Now()) {
			continue
		}
		if r.state == message.NotificationDelivered {
			j.wrongLocked("%s delivered twice", r.Kind)
		}
		r.state, r.claimed = t.State, time.Time{}
		r.late = append(r.late, t)
		return true
	}
	return false
}
