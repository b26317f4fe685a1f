package workflows_test

import (
	"context"
	"slices"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
)

// The steps that record how a message ended and tell the customer.

func (s *steps) RecordOutcome(_ context.Context, in record.Input) (record.Result, error) {
	r, err := s.record(in)
	if err == nil && in.Tell && !s.apart {
		r.Notify, r.Tried = s.first(r.Notify), true
	}
	return r, err
}

// first makes first tries.
func (s *steps) first(deliveries []message.ID) (left []message.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range deliveries {
		if done, _ := s.try(notify.Input{DeliveryID: id}); !done {
			left = append(left, id)
		}
	}
	return left
}

func (s *steps) record(in record.Input) (record.Result, error) {
	came := in.Wait && s.awaited != nil && s.awaited()
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.Wait {
		s.waits++
		if !came {
			return record.Result{Open: true}, nil
		}
	}
	if s.recordErr != nil {
		if err := s.recordErr(in); err != nil {
			return record.Result{}, err
		}
	}
	if t := s.others(in.Times); t != nil && !s.status.Final() {
		return record.Result{Status: s.status, Times: t}, nil
	}
	if in.Revision != nil && s.fresh() && *in.Revision != s.revision {
		return record.Result{Status: s.status, Revised: true}, nil
	}
	to, reason := in.To, in.Reason
	if to == "" || to == message.StatusUnconfirmed && s.receipts != "" {
		if s.receipts == "" {
			return record.Result{Status: s.status, Reason: s.reason, Open: true}, nil
		}
		to, reason = s.receipts, ""
		if s.status == message.StatusQueued {
			s.move(message.StatusSending)
		}
	}
	if !s.move(to) {
		return record.Result{Status: s.status, Reason: s.reason, Notify: slices.Clone(s.pending)}, nil
	}
	s.reason = reason
	r := record.Result{Status: to, Reason: reason, Changed: true}
	if to != message.StatusScheduled {
		r.Notify = s.tell()
	}
	return r, nil
}

func (s *steps) TryWebhook(_ context.Context, in notify.Input) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.try(in)
}

// try makes the first try, once.
func (s *steps) try(in notify.Input) (bool, error) {
	if slices.Contains(s.tried, in.DeliveryID) {
		return false, nil
	}
	s.tries, s.tried = s.tries+1, append(s.tried, in.DeliveryID)
	return s.take(in), nil
}

func (s *steps) take(in notify.Input) bool {
	if s.webhook != nil && !s.webhook(s.tries+s.posts) {
		return false
	}
	s.pending = slices.DeleteFunc(s.pending, func(id message.ID) bool { return id == in.DeliveryID })
	return true
}

func (s *steps) PostWebhook(_ context.Context, in notify.Input) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts++
	if s.take(in) {
		return nil
	}
	return temporal.NewApplicationErrorWithOptions("not now", "webhook_pending", temporal.ApplicationErrorOptions{NextRetryDelay: s.retryAfter})
}
