package ingress_test

import (
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// inbounds keeps what comes from handsets in memory. Every answer is owed.
type inbounds struct {
	arrived []message.Arrival
	refs    map[string]bool // ids of the vendor's
	owed    []message.AutomaticReply
	pairs   int // calls of ForgetPairs
}

func (j *journal) Inbound(_ context.Context, a message.Arrival) (out message.Arrived, err error) {
	fail := j.step("inbound", func() {
		if out.Again = a.VendorRef != "" && j.inbounds.refs[a.VendorRef]; out.Again {
			return
		}
		if j.inbounds.refs == nil {
			j.inbounds.refs = map[string]bool{}
		}
		j.inbounds.refs[a.VendorRef] = true
		j.inbounds.arrived = append(j.inbounds.arrived, a)
		if a.Act != nil && a.Act.Reply != nil {
			r := *a.Act.Reply
			r.InboundID, r.CreatedAt = a.ID, time.Now()
			j.inbounds.owed = append(j.inbounds.owed, r)
			out.Reply = &r
		}
	})
	if fail != nil {
		return message.Arrived{}, fail
	}
	return out, nil
}

func (j *journal) RepliesDue(_ context.Context, age time.Duration, limit int) (due []message.AutomaticReply, err error) {
	err = j.do(func() {
		for i, r := range j.inbounds.owed {
			if time.Since(r.CreatedAt) > age && len(due) < limit {
				due = append(due, r)
				j.inbounds.owed[i].CreatedAt = time.Now() // taken on
			}
		}
	})
	return due, err
}

func (j *journal) DropReply(_ context.Context, id message.ID) error {
	return j.step("drop", func() {
		j.inbounds.owed = slices.DeleteFunc(j.inbounds.owed, func(r message.AutomaticReply) bool { return r.ID == id })
	})
}

func (j *journal) ForgetPairs(context.Context, int) error {
	return j.do(func() { j.inbounds.pairs++ })
}
