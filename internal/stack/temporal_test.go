package stack_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func healthy(t *testing.T, temporal *stack.Temporal) {
	t.Helper()
	response, err := http.Get(temporal.Stats() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("temporald says %s", response.Status)
	}
}

func TestTemporalComesBackWhereItWas(t *testing.T) {
	t.Parallel()
	ctx := stacktest.Context(t)
	ui := stacktest.FreePort(t)
	temporal := stacktest.StartTemporal(t, stack.TemporalConfig{Namespace: "stack-test", UIPort: ui})
	healthy(t, temporal)
	if temporal.Namespace() != "stack-test" || temporal.UI() == "" {
		t.Errorf("it serves the namespace %q and the UI %q", temporal.Namespace(), temporal.UI())
	}
	address, stats, pid := temporal.Address(), temporal.Stats(), temporal.PID()
	for _, end := range []func() error{
		func() error { return temporal.Stop(ctx) },
		temporal.Kill,
	} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		<-temporal.Done()
		if err := temporal.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		healthy(t, temporal)
		if temporal.Address() != address || temporal.Stats() != stats {
			t.Errorf("it moved from %s and %s to %s and %s", address, stats, temporal.Address(), temporal.Stats())
		}
		if temporal.PID() == pid {
			t.Error("it was not started again")
		}
		pid = temporal.PID()
	}
}

func TestTemporalRefusals(t *testing.T) {
	t.Parallel()
	binary := stacktest.Temporald(t)
	dir := stacktest.Folder(t)
	for name, c := range map[string]struct {
		cfg  stack.TemporalConfig
		want string
	}{
		"no binary":       {stack.TemporalConfig{Dir: dir}, "names no Binary"},
		"no folder":       {stack.TemporalConfig{Binary: binary}, "no Dir"},
		"absent binary":   {stack.TemporalConfig{Binary: dir + "/absent", Dir: dir}, "no such file"},
		"a flag unknown":  {stack.TemporalConfig{Args: []string{"--absent"}, Binary: binary, Dir: dir}, "flag provided but not defined: -absent"},
		"a bad namespace": {stack.TemporalConfig{Binary: binary, Dir: dir, Namespace: "a b", Postgres: stacktest.Postgres(t).Server()}, "--namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := stack.StartTemporal(stacktest.Context(t), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want %q in it", err, c.want)
			}
		})
	}
}
