package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// TestKillQuota kills the gateway twice while more is sent than the account may
// send: exactly as much as it may is accepted, counted and paid.
func TestKillQuota(t *testing.T) {
	t.Parallel()
	s := start(t)
	const n, limit, rate, credit = 400, 150, 4500, 10_000_000
	began := time.Now()
	for _, err := range []error{
		s.db.SetUsageLimit(t.Context(), actor, message.UsageLimit{AccountID: s.account, Kind: message.SMS, Period: message.PeriodMonth, Parts: limit}),
		s.db.SetPrepaid(t.Context(), actor, s.account, true),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.db.Book(t.Context(), actor, message.BalanceEntry{AccountID: s.account, Kind: message.EntryCredit, Amount: credit, Currency: "USD"}); err != nil {
		t.Fatal(err)
	}
	s.until("the gateway knows of limit and balance", func() bool {
		a, err := s.submit("", []byte(`{"from":"`+from+`","to":"`+destination(0)+`","body":"x","dry_run":true}`))
		return err == nil && strings.Contains(string(a.Body), "of 150 sms parts a month") && strings.Contains(string(a.Body), "of 10.00 USD")
	})
	var accepted, refused, next atomic.Int64
	var kill sync.Mutex
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if i == limit/3 || i == 2*limit/3 {
					kill.Lock()
					if err := s.gateway.Kill(); err != nil {
						t.Error(err)
					}
					s.startGateway()
					kill.Unlock()
				}
				switch s.insist(i) {
				case http.StatusAccepted:
					accepted.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				}
			}
		})
	}
	senders.Wait()
	if accepted.Load() != limit || refused.Load() != n-limit {
		t.Errorf("%d accepted, %d refused; want %d and %d", accepted.Load(), refused.Load(), limit, n-limit)
	}
	s.until("every message has left, or is in doubt", func() bool { return s.going() == 0 })
	limits, err := s.db.Limits(t.Context(), s.account, began)
	if err != nil || len(limits) != 1 || limits[0].Used != limit {
		t.Errorf("%+v, %v", limits, err)
	}
	b, err := s.db.Balance(t.Context(), s.account)
	if left := b.Amount - b.Reserved; err != nil || left != credit-limit*rate {
		t.Errorf("%s may be spent, want %s; %v", left, message.Micros(credit-limit*rate), err)
	}
	stored := 0
	s.each(func(m *message.Message) {
		if m.Status != message.StatusRejected {
			stored++
		} else if m.Error.Reason != message.ReasonQuotaExceeded {
			t.Errorf("%s was rejected: %v", m.ID, m.Error)
		}
	})
	if stored != limit {
		t.Errorf("%d are stored, want %d", stored, limit)
	}
}

// insist sends a message until it is accepted or refused for the quota, under one
// key, and gives the answer's status.
func (s *system) insist(i int) int {
	body := fmt.Appendf(nil, `{"from":%q,"to":%q,"body":"message %d","message_class":"otp","validity_seconds":600}`, from, destination(i), i)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		a, err := s.submit(fmt.Sprintf("quota-%d", i), body)
		if err == nil && (a.JSON202 != nil || a.ApplicationProblemJSONDefault != nil && a.ApplicationProblemJSONDefault.Code == string(message.ReasonQuotaExceeded)) {
			return a.StatusCode()
		}
		select {
		case <-again.C:
		case <-deadline:
			s.tb.Errorf("message %d was never answered: %v, %+v", i, err, a)
			return 0
		}
	}
}

// going counts the messages that have neither left nor ended.
func (s *system) going() (n int) {
	s.each(func(m *message.Message) {
		if !m.Status.Final() && m.Status != message.StatusInDoubt && m.Status != message.StatusSent {
			n++
		}
	})
	return n
}

// each calls f with every message of the account.
func (s *system) each(f func(*message.Message)) {
	s.tb.Helper()
	for before := (message.ID{}); ; {
		page, err := s.db.Messages(s.tb.Context(), s.account, message.Filter{}, before, 200)
		if err != nil {
			s.tb.Fatal(err)
		}
		for _, m := range page {
			f(m)
			before = m.ID
		}
		if len(page) < 200 {
			return
		}
	}
}
