package smpp

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What a bind costs is measured in a process that has the server alone; its
// ESMEs are in another one, which is this test binary again.

const esmesVariable = "POSTRIDER_TEST_ESMES" // address, how many, tls or plain

// TestESMEsOfAnotherProcess is that other process. It says a line when all are
// bound, and another one each time that as many enquire_links as it has binds
// were answered. It ends with its input.
func TestESMEsOfAnotherProcess(t *testing.T) {
	var address, over string
	var n int
	if _, err := fmt.Sscanf(os.Getenv(esmesVariable), "%s %d %s", &address, &n, &over); err != nil {
		return // it is run as a test: there is nothing to do
	}
	var answered atomic.Int64
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if over == "tls" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		p := newServerPeer(t, c)
		p.bind(bindTRX)
		go func() {
			for {
				b, err := p.next()
				if err != nil || binary.BigEndian.Uint32(b[4:]) != 0x15 {
					return
				}
				if _, err := p.Write(serverFramed(t, fmt.Sprintf("80000015 00000000 %x", b[12:16]))); err != nil {
					return
				}
				if answered.Add(1)%int64(n) == 0 {
					fmt.Println("a round")
				}
			}
		}()
	}
	fmt.Println("bound")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// esmes binds n of them to the address, in a process of their own that ends
// with the test. It gives the lines that the process says.
func (w *crowd) esmes(address string, n int) *bufio.Scanner {
	w.t.Helper()
	over := "plain"
	if w.TLS != nil {
		over = "tls"
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestESMEsOfAnotherProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", esmesVariable, address, n, over))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			w.t.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	w.say(lines, "bound")
	return lines
}

// say waits for a line.
func (w *crowd) say(lines *bufio.Scanner, line string) {
	w.t.Helper()
	for lines.Scan() {
		if lines.Text() == line {
			return
		}
	}
	w.t.Fatalf("the other process ended before it said %q", line)
}

// bindCosts makes a server for n binds, with TLS or without.
func bindCosts(t testing.TB, over string, n int) *crowd {
	w := newCrowd(t, "acme")
	w.MaxPerAddress, w.credential("acme").MaxBinds = n, n
	if over == "tls" {
		w.TLS = &tls.Config{GetCertificate: newServerCA(t).files(t).GetCertificate}
	}
	return w
}

// mostPerBind is what a bind may take of memory.
const mostPerBind = 100 << 10

// TestMemoryPerBind bounds what each of a few hundred idle binds takes, heap and
// stacks. BenchmarkIdleBinds reports it for a thousand.
func TestMemoryPerBind(t *testing.T) {
	for _, over := range []string{"plain", "tls"} {
		t.Run(over, func(t *testing.T) {
			const n = 200
			w := bindCosts(t, over, n)
			address := w.listen()
			before := memoryInUse()
			w.esmes(address, n)
			each := (memoryInUse() - before) / n
			t.Logf("%d octets a bind", each)
			if each > mostPerBind {
				t.Errorf("%d octets a bind, want %d at most", each, mostPerBind)
			}
		})
	}
}

// BenchmarkIdleBinds holds 1,000 binds on which nothing happens but enquire_link,
// here each second instead of each 30: an iteration is one of all binds. It
// reports the memory of a bind and the processor time of an exchange, kernel
// included, and what the latter makes of one core at an exchange a bind each
// 30 s.
func BenchmarkIdleBinds(b *testing.B) {
	for _, over := range []string{"plain", "tls"} {
		b.Run(over, func(b *testing.B) {
			const n = 1000
			w := bindCosts(b, over, n)
			w.timers.EnquireLink, w.timers.EnquireTimeout = time.Second, time.Second
			address := w.listen()
			before := memoryInUse()
			lines := w.esmes(address, n)
			each := (memoryInUse() - before) / n
			w.say(lines, "a round") // the first one has the handshakes in it
			began, rounds := processorTime(b), 0
			for b.Loop() {
				w.say(lines, "a round")
				rounds++
			}
			exchange := (processorTime(b) - began) / time.Duration(rounds*n)
			b.ReportMetric(float64(each), "octets/bind")
			b.ReportMetric(float64(exchange.Nanoseconds())/1000, "cpu-us/enquire_link")
			b.ReportMetric(100*float64(n)*exchange.Seconds()/30, "%core")
			if each > mostPerBind {
				b.Errorf("%d octets a bind, want %d at most", each, mostPerBind)
			}
		})
	}
}

// processorTime is what this process has used of the processors, its children
// not counted.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
