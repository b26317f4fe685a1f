package ingress_test

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// meter stores a metered message as the journal's fit has it.
func (j *journal) meter(a *message.Acceptance, out *message.Accepted) {
	if !a.Metered {
		return
	}
	out.Fit = j.fit
	if k := a.Idempotency; j.fit.Refused == nil || k != nil && j.keys[k.Key] != k {
		return
	}
	m := *a.Message
	m.Status, m.Error = message.StatusRejected, j.fit.Refused
	if k := a.Idempotency; k != nil {
		delete(j.keys, k.Key)
	}
	a.Message, a.Idempotency = &m, nil
	if a.Unfit != nil {
		var err error
		if a.Idempotency, a.Notifications, err = a.Unfit(&m); err != nil {
			panic(err)
		}
	}
	if k := a.Idempotency; k != nil {
		j.keys[k.Key] = k
	}
}

func (j *journal) Fits(context.Context, *message.Message) (fit message.Fit, err error) {
	err = j.do(func() { j.fitted++; fit = j.fit })
	return fit, err
}

func (j *journal) SettleUsage(context.Context, time.Duration) error {
	return j.do(func() { j.usages++ })
}

func spent(reason message.Reason, rule string) message.Fit {
	e := message.Refuse(reason, "nothing is left")
	e.After = time.Hour
	return message.Fit{Refused: e, Trail: []message.TrailEntry{{Rule: rule, Result: message.Refused, Detail: e.Detail}}}
}

// rulesOf are the rules of a trail in order.
func rulesOf(trail []message.TrailEntry) string {
	var names []string
	for _, e := range trail {
		names = append(names, e.Rule)
	}
	return strings.Join(names, " ")
}

// A message that does not fit is answered at once, is not started, leaves the count
// of its account, and has its refusal as the answer of its key; one that may pass
// later leaves the key free.
func TestMeteredRefusal(t *testing.T) {
	t.Parallel()
	for reason, status := range map[message.Reason]int{message.ReasonQuotaExceeded: 0, message.ReasonInsufficientBalance: http.StatusPaymentRequired} {
		b := setup(t)
		b.account.Limited, b.account.MaxBacklog = true, 1
		b.journal.fit = spent(reason, message.RuleQuota)
		r := b.request()
		r.Key = &ingress.Key{Operation: "POST /v1/messages", Value: "k", Render: func(_ *message.Message, e *message.Error) (int, []byte, error) {
			if e != nil {
				return e.Reason.Entry().HTTP, []byte(e.Reason), nil
			}
			return http.StatusAccepted, []byte("accepted"), nil
		}}
		for range 2 {
			out, err := b.Accept(t.Context(), r)
			if status != 0 && out.Replay != nil {
				break // the second time
			}
			if message.ReasonOf(err) != reason || message.AsError(err).RetryAfter() != time.Hour {
				t.Fatalf("%+v, %v", out, err)
			}
			if m := out.Message; m.Status != message.StatusRejected || m.Error.Reason != reason {
				t.Errorf("%+v", m)
			}
			if got := rulesOf(out.Trail); !strings.HasSuffix(got, " quota route") {
				t.Errorf("trail: %s", got)
			}
		}
		key := b.journal.keys["k"]
		if (key == nil) != (status == 0) || key != nil && (key.Status != status || string(key.Response) != string(reason)) {
			t.Errorf("%s: the key has %+v", reason, key)
		}
		if len(b.journal.outbox) != 0 {
			t.Error("it is in the outbox")
		}
		// Nothing of it is left in the backlog, which has room for one.
		b.journal.fit = message.Fit{}
		r.Key = nil
		if _, err := b.Accept(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
}

// Messages of accounts without limits, refused ones, and the gateway's own answers
// take nothing.
func TestMetered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		change func(*snapshot.Account)
		r      func(*ingress.Request)
		want   bool
	}{
		{func(*snapshot.Account) {}, nil, false},
		{func(a *snapshot.Account) { a.Limited = true }, nil, true},
		{func(a *snapshot.Account) { a.Prepaid = true }, nil, true},
		{func(a *snapshot.Account) { a.Prepaid = true }, func(r *ingress.Request) { r.From = string(longCode) }, false},
	} {
		b.account.Limited, b.account.Prepaid = false, false
		c.change(b.account)
		r := b.request()
		if c.r != nil {
			c.r(&r)
		}
		_, _ = b.Accept(t.Context(), r)
		all := b.journal.all()
		if got := all[len(all)-1].Metered; got != c.want {
			t.Errorf("%+v: %v", b.account, got)
		}
	}
}

func TestDryRunLooksAtLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.request()
	r.DryRun = true
	look := func(want message.Reason, looks int) ingress.Outcome {
		t.Helper()
		out, err := b.Accept(t.Context(), r)
		if message.ReasonOf(err) != want || b.journal.fitted != looks || len(b.journal.all()) != 0 {
			t.Fatalf("%v; looked %d times", err, b.journal.fitted)
		}
		return out
	}
	look("", 0)
	b.account.Prepaid = true
	b.journal.fit = message.Fit{Trail: []message.TrailEntry{{Rule: message.RuleQuota, Result: message.Pass, Detail: "1 of 9 sms parts a day"}}}
	if out := look("", 1); !reflect.DeepEqual(out.Trail[len(out.Trail)-2], b.journal.fit.Trail[0]) {
		t.Errorf("%+v", out.Trail)
	}
	b.journal.fit = spent(message.ReasonInsufficientBalance, message.RuleBalance)
	if out := look(message.ReasonInsufficientBalance, 2); !strings.HasSuffix(rulesOf(out.Trail), " balance route") || out.Message.Price.Amount == 0 {
		t.Errorf("%+v", out)
	}
	r.From = string(longCode)
	look(message.ReasonUnauthorizedSender, 2)
}
