package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// counted is a field that counts how often it is put into text.
type counted struct{ times int }

func (c *counted) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	c.times++
	enc.AddString("is", "here")
	return nil
}

func TestLogIsLazy(t *testing.T) {
	var out bytes.Buffer
	core := lazyCore{zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.WarnLevel)}
	field := &counted{}
	logger := log.With(log.NewZapLogger(zap.New(core)), tag.NewZapTag(zap.Object("workflow", field)))
	logger.Debug("not wanted")
	if field.times != 0 || out.Len() != 0 {
		t.Errorf("made into text %d times for a line that is not written: %q", field.times, out.String())
	}
	log.With(logger, tag.NewStringTag("more", "yes")).Warn("wanted")
	var line struct {
		Msg, More string
		Workflow  struct{ Is string }
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "wanted" || line.More != "yes" || line.Workflow.Is != "here" {
		t.Errorf("%q: %v", out.String(), err)
	}
}

func TestProfiles(t *testing.T) {
	if o, err := parseOptions(nil, noEnv, io.Discard); err != nil || o.PprofPort != 0 {
		t.Fatalf("profiles are served unasked: %+v, %v", o, err)
	}
	if _, err := parseOptions([]string{"--pprof-port", "70000"}, noEnv, io.Discard); err == nil {
		t.Error("port 70000 is taken")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	if _, err := startProfiles(port); err == nil {
		t.Error("a port that is in use is no error")
	}
	_ = free.Close()
	server, err := startProfiles(port)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	resp, err := http.Get("http://127.0.0.1:" + strconv.Itoa(port) + "/debug/pprof/heap?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the heap: %s", resp.Status)
	}
	if c, err := net.Dial("tcp", "127.0.0.2:"+strconv.Itoa(port)); err == nil {
		_ = c.Close()
		t.Error("127.0.0.2 is listened on as well")
	}
}
