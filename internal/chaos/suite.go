package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// suite is one run.
type suite struct {
	o      options
	w      *World
	judge  *Judge
	report Report
	log    func(format string, args ...any)
}

// calm is how long messages flow undisturbed before the first event: something is
// under way at each of its steps then.
const calm = 5 * time.Second

// before is how much earlier than an event a message was offered that it may concern:
// it was on its way.
const before = 3 * time.Second

// runSuite starts a world in dir, does to it what the options say, and ends it. The
// report is of what was done also when there is an error; the error is of the suite,
// not of what it found.
func runSuite(ctx context.Context, dir string, o options, log func(string, ...any)) (report Report, err error) {
	s := &suite{o: o, log: log}
	s.report.Seed = o.Seed
	log("seed %d", o.Seed)
	chosen, _ := choose(Events, o)
	stepped := o.For > 0 || slices.ContainsFunc(chosen, func(e Event) bool { return e.stepped })
	mediaDisk := o.For > 0 || slices.ContainsFunc(chosen, func(e Event) bool { return e.mediaDisk })
	if s.w, err = StartWorld(ctx, dir, WorldOptions{Log: log, Disk: !o.Short && missingDisk() == "", MediaDisk: mediaDisk && missingDisk() == "", Stepped: stepped}); err != nil {
		return s.report, err
	}
	defer func() { err = errors.Join(err, s.w.Close()) }()
	log("the world is up in %s", dir)
	ledger := NewLedger()
	s.judge = NewJudge(s.w, ledger)
	s.judge.Hasty = o.Short
	defer s.judge.Close()
	load, err := StartLoad(ctx, s.w, ledger, o.Load)
	if err != nil {
		return s.report, err
	}
	err = s.events(ctx)
	load.Stop()
	if err != nil || ctx.Err() != nil {
		return s.report, errors.Join(err, ctx.Err())
	}
	err = s.end(ctx)
	return s.report, err
}

// events lets everything happen that was asked for.
func (s *suite) events(ctx context.Context) error {
	chosen, leftOut := choose(Events, s.o)
	s.report.LeftOut = leftOut
	if len(chosen) == 0 && s.o.For == 0 {
		return errors.New("no event is left to come")
	}
	if err := pause(ctx, calm); err != nil {
		return err
	}
	for step := range OneAtATime(chosen, s.o.Seed) {
		if err := s.one(ctx, step); err != nil {
			return err
		}
	}
	if s.o.For == 0 {
		return nil
	}
	return s.atRandom(ctx)
}

// choose keeps the events that were asked for, and names those that this machine
// cannot have.
func choose(events []Event, o options) (chosen []Event, leftOut []string) {
	for _, e := range events {
		if o.Short && !e.Short || o.Only != nil && !o.Only.MatchString(e.Name) {
			continue
		}
		if e.Missing != nil {
			if missing := e.Missing(); missing != "" {
				leftOut = append(leftOut, e.Name+": "+missing)
				continue
			}
		}
		chosen = append(chosen, e)
	}
	return chosen, leftOut
}

// one lets an event happen and judges what was accepted from before it until all went
// as before.
func (s *suite) one(ctx context.Context, step Step) error {
	if err := pause(ctx, step.Pause); err != nil {
		return err
	}
	row := Row{Event: step.Event.Name, Promise: step.Event.Promise, Began: time.Now()}
	s.log("%s", row.Event)
	row.fault(s.do(ctx, step))
	healed := time.Now()
	row.Took = healed.Sub(row.Began)
	var err error
	if row.Verdict, err = s.judge.Window(ctx, row.Began.Add(-before), healed); err != nil {
		return fmt.Errorf("judge %s: %w", row.Event, err)
	}
	if step.Event.Shows != nil {
		what, err := step.Event.Shows(s.w, row.Began, healed)
		row.fault(err)
		row.Verdict.Details = append(row.Verdict.Details, what)
	}
	s.add(row)
	return ctx.Err()
}

// do lets a step happen. Whatever it leaves behind is brought back to life: the next
// one begins with a whole world.
func (s *suite) do(ctx context.Context, step Step) error {
	err := step.Event.Run(ctx, s.w, rand.New(rand.NewPCG(step.Seed, 0)))
	for _, wire := range s.w.Wires {
		err = errors.Join(err, wire.Heal())
	}
	return errors.Join(err, s.w.reviveServers(ctx), s.w.StartNodes(ctx))
}

// atRandom lets events come for as long as was asked, none waiting until the one
// before it is over and forgotten.
func (s *suite) atRandom(ctx context.Context) error {
	row := Row{Event: fmt.Sprintf("at random for %s", s.o.For), Promise: "all of the above together", Began: time.Now()}
	possible, _ := choose(Events, options{})
	for step := range AtRandom(possible, s.o.Seed, s.o.For) {
		if err := pause(ctx, step.Pause); err != nil {
			return err
		}
		s.log("at random: %s", step.Event.Name)
		row.fault(s.do(ctx, step))
		row.Steps = append(row.Steps, step.Event.Name)
	}
	healed := time.Now()
	row.Event += fmt.Sprintf(", %d events", len(row.Steps))
	row.Took = healed.Sub(row.Began)
	var err error
	if row.Verdict, err = s.judge.Window(ctx, row.Began.Add(-before), healed); err != nil {
		return fmt.Errorf("judge %s: %w", row.Event, err)
	}
	s.add(row)
	return ctx.Err()
}

// end judges all messages together, and what the gateways leave behind when they are
// taken down in order.
func (s *suite) end(ctx context.Context) error {
	row := Row{Event: "the whole run", Promise: "every accepted message, counted once more at the end", Began: time.Now()}
	var err error
	if row.Verdict, err = s.judge.Whole(ctx); err != nil {
		return fmt.Errorf("judge the whole run: %w", err)
	}
	row.Took = time.Since(row.Began)
	s.add(row)
	row = Row{Event: "all gateways stopped in order", Promise: "no lease outlives its term, no row is left without its owner", Began: time.Now()}
	row.fault(s.w.StopNodes(ctx))
	row.Took = time.Since(row.Began)
	if row.Verdict, err = s.judge.AfterStop(ctx); err != nil {
		return fmt.Errorf("judge what is left: %w", err)
	}
	s.add(row)
	return nil
}

// add closes a row: what ended by itself meanwhile is told in it.
func (s *suite) add(row Row) {
	for _, n := range s.w.Nodes {
		for _, death := range n.Deaths() {
			if strings.Contains(death, "panic:") || strings.Contains(death, "fatal error:") || strings.Contains(death, "goroutine ") {
				row.fault(errors.New(death))
				continue
			}
			row.Verdict.Details = append(row.Verdict.Details, death)
		}
	}
	row.Wrong = append(row.Wrong, row.Verdict.Wrong()...)
	s.report.Rows = append(s.report.Rows, row)
	v := row.Verdict
	s.log("%s: %d accepted, %d lost, %d doubled, %d in doubt, recovered in %s", row.Event, v.Accepted, v.Lost, v.Doubled, v.InDoubt, v.Recover.Round(100*time.Millisecond))
	for _, wrong := range row.Wrong {
		s.log("  WRONG: %s", wrong)
	}
	for i, detail := range v.Details {
		if i == shownDetails {
			s.log("  and %d more", len(v.Details)-i)
			break
		}
		s.log("  %s", detail)
	}
}

// shownDetails bounds what is said of one row while the suite runs; the report has all.
const shownDetails = 20

// pause waits, or returns ctx's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
