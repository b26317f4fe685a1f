// Package logtest collects log lines for tests.
package logtest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// Log is a handler that keeps what is logged, of every level. The zero value is
// ready, and safe for concurrent use. Attributes of a logger, not of a line, are
// left out, and groups are not told apart.
type Log struct {
	mu    sync.Mutex
	lines []string
}

// Enabled is true.
func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs is l.
func (l *Log) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup is l.
func (l *Log) WithGroup(string) slog.Handler { return l }

// Handle keeps a line: level, text and attributes, with blanks between.
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		a.Value = a.Value.Resolve() // as handlers do: what masks itself does so here
		line += " " + a.String()
		return true
	})
	l.lines = append(l.lines, line)
	return nil
}

// Lines gives the lines so far, oldest first.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}
