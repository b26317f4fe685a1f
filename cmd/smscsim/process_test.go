package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/postrider/postrider/internal/smpp"
)

// asProgram makes the test binary behave as smscsim.
const asProgram = "SMSCSIM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is smscsim in a process of its own.
type program struct {
	cmd   *exec.Cmd
	ready ready
	log   *bufio.Reader
	file  string
}

// launch starts a simulator and waits for the line that says that it is ready.
func launch(t *testing.T, env ...string) *program {
	t.Helper()
	p := &program{file: filepath.Join(t.TempDir(), "ready.json")}
	p.cmd = exec.CommandContext(within(t), os.Args[0], "--listen", "127.0.0.1:0", "--ready-file", p.file)
	p.cmd.Env = append(os.Environ(), append(env, asProgram+"=1")...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	p.log = bufio.NewReader(stderr)
	for {
		line, err := p.log.ReadString('\n')
		if err != nil {
			t.Fatalf("smscsim ended: %v %s", err, line)
		}
		if strings.Contains(line, "ready") {
			break
		}
	}
	body, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &p.ready); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProgram(t *testing.T) {
	p := launch(t, "SMSCSIM_RECEIPT_DELAY=1ms", "SMSCSIM_MAGIC=true")
	if p.ready.PID != p.cmd.Process.Pid {
		t.Errorf("ready file says pid %d, want %d", p.ready.PID, p.cmd.Process.Pid)
	}
	call(t, p.ready.HTTP, "GET", "/healthz", "", 200, nil)
	var c config
	call(t, p.ready.HTTP, "GET", "/config", "", 200, &c)
	if c.ReceiptDelay.String() != "1ms" || !c.Magic {
		t.Errorf("config %+v", c)
	}
	e := connect(t, p.ready.SMPP, smpp.ModeTransceiver, nil)
	e.submit(sms("15551234321", "the words of the customer"))
	e.receipt()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-e.session.Done()
	if err := e.session.Err(); err != smpp.ErrUnbound {
		t.Errorf("session ended with %v, want an unbind", err)
	}
	log, _ := io.ReadAll(p.log)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("smscsim ended with %v", err)
	}
	if bytes.Contains(log, []byte("4321")) || bytes.Contains(log, []byte("customer")) || bytes.Contains(log, []byte("15550001000")) {
		t.Errorf("log shows numbers or text:\n%s", log)
	}
	if _, err := os.Stat(p.file); !os.IsNotExist(err) {
		t.Errorf("ready file after the end: %v", err)
	}
}

func TestIDsDoNotRepeatOverRestarts(t *testing.T) {
	last := uint64(0)
	for range 3 {
		p := launch(t)
		e := connect(t, p.ready.SMPP, smpp.ModeTransmitter, nil)
		for range 200 {
			id, err := strconv.ParseUint(e.submit(sms("15551230001", "x")), 10, 64)
			if err != nil || id <= last {
				t.Fatalf("id %d after %d, %v", id, last, err)
			}
			last = id
		}
		_ = p.cmd.Process.Kill()
		<-e.session.Done()
	}
}

func TestOptions(t *testing.T) {
	var help bytes.Buffer
	o, err := readOptions([]string{"--receipt-delay", "3s", "--receipt-rate-final", "UNDELIV=2.5:069"}, []string{
		"SMSCSIM_RECEIPT_DELAY=2s", "SMSCSIM_ID_FORMAT=hex", "SMSCSIM_PASSWORD=pw", "SMSCSIM_ERROR_STATUSES=ESME_RTHROTTLED,20", "OTHER=1",
	}, &help)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Config
	if c.ReceiptDelay.String() != "3s" || c.IDFormat != idHex || c.Password.Reveal() != "pw" || c.Seed != 0 {
		t.Errorf("config %+v", c)
	}
	if len(c.ErrorStatuses) != 2 || c.ErrorStatuses[0] != smpp.StatusThrottled || c.ErrorStatuses[1] != smpp.StatusMsgQueueFull {
		t.Errorf("statuses %v", c.ErrorStatuses)
	}
	if b, _ := c.ReceiptRateFinal.MarshalText(); string(b) != "UNDELIV=2.5:069" {
		t.Errorf("outcomes %s", b)
	}
	for _, args := range [][]string{
		{"--latency", "x"}, {"--no-such"}, {"word"}, {"--window", "-1"}, {"--id-format", "roman"}, {"--max-destinations", "0"},
	} {
		if _, err := readOptions(args, nil, &help); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	if _, err := readOptions(nil, []string{"SMSCSIM_SEED=x"}, &help); err == nil || !strings.Contains(err.Error(), "SMSCSIM_SEED") {
		t.Errorf("environment: %v", err)
	}
}

// Every setting can be given by flag and by PUT /config, under the same name.
func TestEverySettingHasAFlag(t *testing.T) {
	var help bytes.Buffer
	if _, err := readOptions([]string{"--help"}, nil, &help); err == nil {
		t.Fatal("--help is no error")
	}
	body, err := json.Marshal(defaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]any{}
	if err := json.Unmarshal(body, &names); err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if flagName := "  -" + strings.ReplaceAll(name, "_", "-"); !strings.Contains(help.String(), flagName+"\n") && !strings.Contains(help.String(), flagName+" ") {
			t.Errorf("%s has no flag", name)
		}
	}
}

func TestStartFails(t *testing.T) {
	s := simulate(t, nil)
	o := testOptions()
	o.Listen = s.ready().SMPP
	if _, err := start(o); err == nil {
		t.Error("two listen on one port")
	}
	o = testOptions()
	o.HTTP = s.ready().HTTP
	if _, err := start(o); err == nil {
		t.Error("two listen on one port")
	}
	o = testOptions()
	o.ReadyFile = filepath.Join(t.TempDir(), "missing", "ready.json")
	if err := serve(within(t), o); err == nil {
		t.Error("a ready file in no folder was written")
	}
}
