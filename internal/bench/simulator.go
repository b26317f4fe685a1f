package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// simulator is smscsim's HTTP side: what the vendor saw.
type simulator struct {
	base  string
	begin int // rows of GET /destinations that are older than this run
}

// delayReceipts sets how long after its answer the simulator sends a receipt.
func (s *simulator) delayReceipts(ctx context.Context, d time.Duration) error {
	body, err := json.Marshal(map[string]string{"receipt_delay": d.String()})
	if err != nil {
		return err
	}
	if err := callJSON(ctx, http.MethodPut, s.base+"/config", body, &struct{}{}); err != nil {
		return fmt.Errorf("set the simulator's receipt delay: %w", err)
	}
	return nil
}

// leave takes the vendor away, or brings it back: nobody can connect meanwhile.
func (s *simulator) leave(ctx context.Context, away bool) error {
	body, err := json.Marshal(map[string]bool{"away": away})
	if err != nil {
		return err
	}
	if err := callJSON(ctx, http.MethodPut, s.base+"/config", body, &struct{}{}); err != nil {
		return fmt.Errorf("take the simulator away or bring it back: %w", err)
	}
	return nil
}

// rowsPerPage of GET /destinations; smscsim allows 100,000.
const rowsPerPage = 20_000

// openSimulator notes what the simulator saw before this run.
func openSimulator(ctx context.Context, statsURL string) (*simulator, error) {
	base, ok := strings.CutSuffix(statsURL, "/stats")
	if !ok {
		return nil, fmt.Errorf("POSTRIDER_SMSC_STATS is %q; want http://host:port/stats", statsURL)
	}
	var stats struct {
		Destinations int `json:"destinations"`
		Overflow     int `json:"overflow"`
	}
	if err := callJSON(ctx, http.MethodGet, statsURL, nil, &stats); err != nil {
		return nil, fmt.Errorf("ask the simulator: %w", err)
	}
	if stats.Overflow > 0 {
		return nil, errors.New("the simulator has seen more messages than it can tell apart: start it anew")
	}
	return &simulator{base: base, begin: stats.Destinations}, nil
}

// arrival is when a message was first at the simulator, in the run's time, and how
// often it was there.
type arrival struct {
	at    int64
	count int
}

// arrivals are those of the run's messages that have come so far, by their number in
// it. The simulator's clock is the bench's: both are on one machine. At the end they
// are asked once more, for a late second submit must count.
func (s *simulator) arrivals(ctx context.Context, of numbers, r *records) (map[int]arrival, error) {
	found := map[int]arrival{}
	err := s.each(ctx, func(row destination) {
		if i, ok := of.index(row.Destination); ok && row.Count > 0 {
			found[i] = arrival{int64(row.First.Sub(r.began)), row.Count}
		}
	})
	return found, err
}

// destination is a row of GET /destinations.
type destination struct {
	Number      int       `json:"number"`
	Destination string    `json:"destination"`
	Count       int       `json:"count"`
	First       time.Time `json:"first_at"`
}

// each visits the rows of this run.
func (s *simulator) each(ctx context.Context, visit func(destination)) error {
	for since := s.begin; ; {
		var rows []destination
		address := fmt.Sprintf("%s/destinations?since=%d&limit=%d", s.base, since, rowsPerPage)
		if err := callJSON(ctx, http.MethodGet, address, nil, &rows); err != nil {
			return fmt.Errorf("ask the simulator: %w", err)
		}
		for _, row := range rows {
			since = max(since, row.Number)
			visit(row)
		}
		if len(rows) < rowsPerPage {
			return nil
		}
	}
}

// fates tells of a span's messages how many were accepted and never submitted,
// how many submits there were beyond one of each, and how many were submitted
// without a 202 (its answer was lost on the way).
func (s span) fates(arrived map[int]arrival) (lost, doubled, unasked int) {
	for i := s.first; i < s.last; i++ {
		n, accepted := arrived[i].count, s.records.list[i].answered.Load() != 0
		switch {
		case n == 0 && accepted:
			lost++
		case n > 0 && !accepted:
			unasked++
		}
		doubled += max(n-1, 0)
	}
	return lost, doubled, unasked
}
