package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// peak is the most memory that the gateway has held since forgetPeak, in MiB.
func (s *system) peak() int {
	s.tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.gateway.PID()))
	if err != nil {
		s.tb.Skip("this system does not tell of memory: ", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		s.tb.Skip("this system does not tell of memory")
	}
	kib, _ := strconv.Atoi(string(m[1]))
	return kib >> 10
}

func (s *system) forgetPeak() {
	s.tb.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.gateway.PID()), []byte("5"), 0o600); err != nil {
		s.tb.Skip("this system does not forget: ", err)
	}
}

// uploaded sends a file of so many octets as a batch, made while it is sent. Status 0: the
// gateway closed the connection instead of reading on, as it may.
func (s *system) uploaded(octets int) (status int, retryAfter string) {
	s.tb.Helper()
	const boundary = "batch"
	out, in := io.Pipe()
	go func() { // ends with the file, or when the request has ended and out is closed
		_, err := fmt.Fprintf(in, "--%s\r\nContent-Disposition: form-data; name=\"options\"\r\n\r\n{\"from\":%q}\r\n--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nto,body\n", boundary, from, boundary)
		line := append(append([]byte("not a number,"), bytes.Repeat([]byte("x"), 986)...), '\n')
		for sent := 0; err == nil && sent < octets; sent += len(line) {
			_, err = in.Write(line)
		}
		if err == nil {
			_, err = fmt.Fprintf(in, "\r\n--%s--\r\n", boundary)
		}
		in.CloseWithError(err)
	}()
	req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/v1/messages/batch", s.apiPort), out)
	if err != nil {
		s.tb.Error(err)
		return 0, ""
	}
	req.SetBasicAuth(s.key, s.apiSecret)
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// TestHundredBatches has a hundred batches sent at once: each row becomes one message, and
// the memory of the gateway stays flat; so it does when files that are far too large come
// in at once, of which only a few are read at a time.
func TestHundredBatches(t *testing.T) {
	s := start(t)
	const batches, rows = 100, 100
	later := time.Now().Add(time.Hour)
	first := s.batch("first", batches*rows, 1, map[string]any{"send_at": later}) // what the first takes is not counted
	s.until("a batch has completed", func() bool {
		b, ok := s.batchOf(first)
		return ok && b.Status == "completed"
	})
	s.forgetPeak()
	before, commits := s.peak(), queried[int](s, "select xact_commit::int from pg_stat_database where datname = current_database()")
	var wg sync.WaitGroup
	for i := range batches {
		wg.Go(func() { s.batch(fmt.Sprintf("many-%d", i), i*rows, rows, map[string]any{"send_at": later}) })
	}
	wg.Wait()
	s.until("all have completed", func() bool {
		return queried[int](s, "select count(*) from batches where status = 'completed'") == batches+1
	})
	made, numbers := queried[int](s, "select count(*) from messages")-1, queried[int](s, "select count(distinct to_addr) from messages")-1
	commits = queried[int](s, "select xact_commit::int from pg_stat_database where datname = current_database()") - commits
	t.Logf("%d messages of %d rows; %.2f transactions a row; at most %d MiB, %d before", made, batches*rows, float64(commits)/batches/rows, s.peak(), before)
	if made != batches*rows || numbers != batches*rows {
		t.Errorf("%d messages to %d numbers", made, numbers)
	}
	if grown := s.peak() - before; grown > 256 {
		t.Errorf("it grew by %d MiB", grown)
	}

	s.forgetPeak()
	before = s.peak()
	var mu sync.Mutex
	answers := map[int]int{}
	for range 24 {
		wg.Go(func() {
			status, again := s.uploaded(50 << 20)
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
			if status == http.StatusTooManyRequests && again == "" || status/100 == 2 {
				t.Errorf("a file of 50 MiB: %d, Retry-After %q", status, again)
			}
		})
	}
	wg.Wait()
	t.Logf("24 files of 50 MiB at once: %v; at most %d MiB, %d before", answers, s.peak(), before)
	if grown := s.peak() - before; grown > 256 {
		t.Errorf("it grew by %d MiB", grown)
	}
	s.wantUnviolated()
}
