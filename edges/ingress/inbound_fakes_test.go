package ingress_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// inbounds keeps what comes from handsets in memory. Every answer is owed.
type inbounds struct {
	arrived []message.Arrival
	refs    map[string]bool // ids of the vendor's
	owed    []message.AutomaticReply
	pairs   int // calls of ForgetPairs

	parts    []message.Arrival // that wait for others
	starts   map[message.InboundStart]time.Time
	tells    map[message.ID]message.BatchTell
	stalled  []message.ID // batches that nobody works
	unrouted []message.Unrouted
	redriven []message.Arrival
	match    message.Matched // the answer to MatchReceipt
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
		if a.Join == nil {
			j.keep(a, &out)
			return
		}
		j.inbounds.arrived, j.inbounds.parts = append(j.inbounds.arrived, a), append(j.inbounds.parts, a)
		if set := j.partsOf(a); set.Missing() == 0 {
			out.Wholes = append(out.Wholes, j.joinSet(a, set))
		}
	})
	if fail != nil {
		return message.Arrived{}, fail
	}
	return out, nil
}

func (j *journal) keep(a message.Arrival, out *message.Arrived) {
	j.inbounds.arrived = append(j.inbounds.arrived, a)
	if a.Act != nil && a.Act.Reply != nil {
		r := *a.Act.Reply
		r.InboundID, r.CreatedAt = a.ID, time.Now()
		j.inbounds.owed = append(j.inbounds.owed, r)
		out.Reply = &r
	}
	if a.Message != nil {
		if j.inbounds.starts == nil {
			j.inbounds.starts = map[message.InboundStart]time.Time{}
		}
		out.Start = &message.InboundStart{MessageID: a.ID, AccountID: a.AccountID}
		j.inbounds.starts[*out.Start] = time.Now()
	}
}

// partsOf are the parts with the reference of one.
func (j *journal) partsOf(a message.Arrival) (set message.InboundSet) {
	for _, p := range j.inbounds.parts {
		if p.Reference == a.Reference {
			set.Parts = append(set.Parts, p.InboundMessage)
		}
	}
	slices.SortFunc(set.Parts, func(a, b message.InboundMessage) int { return a.Part - b.Part })
	return set
}

func (j *journal) joinSet(a message.Arrival, set message.InboundSet) message.ArrivedWhole {
	whole, out := a.Join(set), message.Arrived{}
	j.keep(whole, &out)
	j.inbounds.parts = slices.DeleteFunc(j.inbounds.parts, func(p message.Arrival) bool { return p.Reference == a.Reference })
	return message.ArrivedWhole{AccountID: whole.AccountID, Missing: whole.Missing, Reply: out.Reply, Start: out.Start}
}

func (j *journal) InboundOver(_ context.Context, wait time.Duration, _ int, join func(message.InboundSet) message.Arrival) (wholes []message.ArrivedWhole, err error) {
	err = j.do(func() {
		for _, p := range slices.Clone(j.inbounds.parts) {
			if set := j.partsOf(p); len(set.Parts) > 0 && time.Since(p.ReceivedAt) > wait {
				p.Join = join
				wholes = append(wholes, j.joinSet(p, set))
			}
		}
	})
	return wholes, err
}

func (j *journal) InboundUnstarted(_ context.Context, age time.Duration, limit int) (due []message.InboundStart, err error) {
	err = j.do(func() {
		for s, at := range j.inbounds.starts {
			if time.Since(at) > age && len(due) < limit {
				due = append(due, s)
				j.inbounds.starts[s] = time.Now() // taken on
			}
		}
	})
	return due, err
}

func (j *journal) InboundStarted(_ context.Context, id message.ID) error {
	return j.step("started", func() {
		maps.DeleteFunc(j.inbounds.starts, func(s message.InboundStart, _ time.Time) bool { return s.MessageID == id })
	})
}

func (j *journal) UnroutedMessage(_ context.Context, id message.ID) (u message.Unrouted, err error) {
	fail := j.do(func() {
		i := slices.IndexFunc(j.inbounds.unrouted, func(u message.Unrouted) bool { return u.ID == id })
		if i < 0 {
			err = message.Refuse(message.ReasonNotFound, "no %s", id)
			return
		}
		u = j.inbounds.unrouted[i]
	})
	return u, errors.Join(err, fail)
}

func (j *journal) UnroutedMessages(_ context.Context, number message.Address, after message.ID, limit int) (list []message.Unrouted, err error) {
	err = j.do(func() {
		for _, u := range j.inbounds.unrouted {
			if (number == "" || u.To == string(number)) && bytes.Compare(u.ID[:], after[:]) > 0 && len(list) < limit {
				list = append(list, u)
			}
		}
	})
	return list, err
}

func (j *journal) Redrive(_ context.Context, _ message.Actor, a message.Arrival) (out message.Arrived, err error) {
	err = j.step("redrive", func() {
		j.inbounds.redriven = append(j.inbounds.redriven, a)
		j.inbounds.unrouted = slices.DeleteFunc(j.inbounds.unrouted, func(u message.Unrouted) bool { return u.ID == a.ID })
		j.keep(a, &out)
	})
	return out, err
}

func (j *journal) MatchReceipt(context.Context, message.Actor, message.ID, message.ID, int) (m message.Matched, err error) {
	err = j.do(func() { m = j.inbounds.match })
	return m, err
}

// StartInbound counts the starts of a workflow.
func (s *server) StartInbound(_ context.Context, in workflows.InboundInput) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if s.down != nil {
		return s.down
	}
	s.begun[in.MessageID]++
	return nil
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

// TellBatch counts the words to the workflow of a batch.
func (s *server) TellBatch(_ context.Context, in workflows.BatchInput, _ ingress.About) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if s.down != nil {
		return s.down
	}
	s.begun[in.BatchID]++
	return nil
}

// TellRedrive counts the words to the workflow of a re-drive.
func (s *server) TellRedrive(_ context.Context, in workflows.RedriveInput, _ ingress.About) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if s.down != nil {
		return s.down
	}
	s.begun[in.RedriveID]++
	return nil
}

func (j *journal) BatchesToTell(_ context.Context, age time.Duration, limit int) (due []message.BatchTell, err error) {
	err = j.do(func() {
		for id, t := range j.inbounds.tells {
			if time.Since(t.CreatedAt) > age && len(due) < limit {
				due = append(due, t)
				t.CreatedAt = time.Now() // taken on
				j.inbounds.tells[id] = t
			}
		}
	})
	return due, err
}

func (j *journal) BatchToTell(_ context.Context, id message.ID) (t message.BatchTell, found bool, err error) {
	err = j.do(func() { t, found = j.inbounds.tells[id] })
	return t, found, err
}

func (j *journal) TellStalledBatches(context.Context, time.Duration, int) (n int, err error) {
	err = j.do(func() {
		for _, id := range j.inbounds.stalled {
			j.inbounds.tells[id] = message.BatchTell{BatchID: id, Asked: 1, CreatedAt: time.Now().Add(-time.Hour)}
			n++
		}
		j.inbounds.stalled = nil
	})
	return n, err
}

func (j *journal) BatchTold(_ context.Context, id message.ID, asked int64) error {
	return j.do(func() {
		if j.inbounds.tells[id].Asked <= asked {
			delete(j.inbounds.tells, id)
		}
	})
}
