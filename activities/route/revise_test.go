package route_test

import (
	"reflect"
	"testing"

	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/internal/message"
)

// The message that was admitted is no longer the one that the record has: its route
// is neither chosen nor noted, nor the want of one.
func TestRevisedSinceAdmission(t *testing.T) {
	for name, spoil := range map[string]func(b *bundle) route.Input{
		"noted":    func(*bundle) route.Input { return route.Input{Record: true} },
		"no route": func(b *bundle) route.Input { b.config.Routes = nil; return route.Input{} },
	} {
		for _, when := range []string{"remembered", "read", "between read and write"} {
			t.Run(name+", "+when, func(t *testing.T) {
				b := setup(t)
				in := spoil(b)
				revise := func() { b.journal.Revise(b.m.ID, func(m *message.Message) { m.Body = "new" }) }
				b.journal.Remembers = when == "remembered"
				if when == "between read and write" {
					b.journal.Step = func(op string, done bool) error {
						if op == "advance" && !done {
							b.journal.Step = nil
							revise()
						}
						return nil
					}
				} else {
					revise()
				}
				if r := b.ask(t, in); !reflect.DeepEqual(r, route.Result{Revised: true}) {
					t.Errorf("%+v", r)
				}
				b.shows(t, message.StatusAccepted)
				in.Revision = 1
				if r := b.ask(t, in); r.Revised || name == "noted" && len(r.Candidates) != 2 || name == "no route" && r.Status != message.StatusRejected {
					t.Errorf("of the new revision: %+v", r)
				}
			})
		}
	}
}
