package smpp

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// quietLines of one text are logged in quietEvery at most. What peers do is
	// logged, strangers among them: without a limit they could fill the disk.
	quietLines = 20
	quietEvery = 10 * time.Second
	// maxTexts bounds the texts that are told apart. Texts are constants, so
	// there are fewer; beyond it they share one limit.
	maxTexts = 200
)

// quietLogger logs to log, but not more than quietLines of a text in
// quietEvery. The next line of the text then says how many were left out. Nil
// logs nothing.
func quietLogger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(quietHandler{log.Handler(), &textCounts{texts: make(map[string]*textCount)}})
}

type quietHandler struct {
	slog.Handler
	counts *textCounts
}

// Handle logs the record or counts it.
func (q quietHandler) Handle(ctx context.Context, r slog.Record) error {
	pass, left := q.counts.take(r.Message, r.Time)
	if !pass {
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", left))
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs and WithGroup keep the limit.
func (q quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{q.Handler.WithAttrs(attrs), q.counts}
}

// WithGroup is as WithAttrs.
func (q quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{q.Handler.WithGroup(name), q.counts}
}

type textCounts struct {
	mu    sync.Mutex
	texts map[string]*textCount
}

type textCount struct {
	since  time.Time
	passed int
	left   int
}

// take counts a line at now and tells whether it may pass, and how many before
// it could not.
func (t *textCounts) take(text string, now time.Time) (pass bool, left int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.texts[text]
	if c == nil {
		if len(t.texts) >= maxTexts {
			text = ""
		}
		if c = t.texts[text]; c == nil {
			c = &textCount{since: now}
			t.texts[text] = c
		}
	}
	if now.Sub(c.since) >= quietEvery {
		c.since, c.passed = now, 0
	}
	if c.passed >= quietLines {
		c.left++
		return false, 0
	}
	c.passed++
	left, c.left = c.left, 0
	return true, left
}
