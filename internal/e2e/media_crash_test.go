package e2e

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// film is 40 seconds of a picture that changes, in a container that no vendor takes.
func film(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(stacktest.Folder(t), "film.mkv")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", strings.Fields("-nostdin -loglevel error -f lavfi -t 40 -i testsrc2=size=128x96:rate=5 -c:v libx264 -preset ultrafast -b:v 40k "+path)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// slowly puts an ffmpeg first in PATH that is the real one, but reads no faster than the
// film plays for as long as the file it gives is there.
func (s *system) slowly(t *testing.T) (while string) {
	t.Helper()
	dir := stacktest.Folder(t)
	real, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	while = filepath.Join(dir, "slowly")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *-nostdin*) [ -e '%s' ] && exec '%s' -re \"$@\";; esac\nexec '%s' \"$@\"\n", while, real, real)
	for _, err := range []error{os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(script), 0o755), os.WriteFile(while, nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(s.env, "PATH="+dir+":"+os.Getenv("PATH"))
	return while
}

// workersIn are the programs that work in folders below one, by their names.
func workersIn(t *testing.T, folder string) (names []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		// Those that end meanwhile have neither.
		at, _ := os.Readlink(p + "/cwd")
		program, _ := os.Readlink(p + "/exe")
		if strings.HasPrefix(at, folder+"/") {
			names = append(names, filepath.Base(program))
		}
	}
	return names
}

func entries(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The process that converts a film is killed while it does. The next one does it again,
// the vendor is asked once, and nothing is left of the first: no program, no file.
func TestKillWhileAFilmIsConverted(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.alter("delete from routing_rules")
	work := stacktest.Folder(t)
	while := s.slowly(t)
	s.env = append(s.env, fmt.Sprintf("PUBLIC_URL=http://127.0.0.1:%d", s.apiPort), "TMPDIR="+work)
	s.restartGateway()
	v := s.newHTTPVendor(s.office(snapshot.RoleOperator), "twilio", "+1310")
	s.current()
	up := s.upload(film(t))
	id := s.post(map[string]any{"from": from, "to": v.to(1), "body": "look", "media_ids": []string{up.ID}}).ID
	s.until("ffmpeg converts the film", func() bool {
		for _, name := range workersIn(t, work) {
			if name == "ffmpeg" {
				return true
			}
		}
		return false
	})
	if err := s.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	s.until("the programs have ended with their gateway", func() bool { return len(workersIn(t, work)) == 0 })
	folders := filepath.Join(work, prepare.WorkName+"*")
	if len(entries(t, folders)) != 1 {
		t.Fatalf("the killed run left %v, which is none: the test shows nothing", entries(t, folders))
	}
	v.once(t, 1, 0)
	if err := os.Remove(while); err != nil {
		t.Fatal(err)
	}
	s.startGateway()
	if left := entries(t, folders); len(left) != 0 { // the message's next run begins when Temporal misses the first
		t.Errorf("left after the start: %v", left)
	}
	c := v.came(1, 1)
	if len(c.Media) != 1 {
		t.Fatalf("came as %+v", c)
	}
	if kind, octets := s.read(t, c.Media[0]); kind != "video/mp4" || len(octets) == 0 {
		t.Errorf("%d octets of %s", len(octets), kind)
	}
	v.says(c, message.ReceiptDelivered)
	s.is(id, message.StatusDelivered)
	v.once(t, 1, 1)
	if left := entries(t, folders); len(left) != 0 || len(workersIn(t, work)) != 0 {
		t.Errorf("left in the end: %v, %v", left, workersIn(t, work))
	}
}

// spooled reports whether a process has a file without a name open that holds something.
func spooled(t *testing.T, pid int) bool {
	t.Helper()
	for _, fd := range entries(t, fmt.Sprintf("/proc/%d/fd/*", pid)) {
		at, _ := os.Readlink(fd)
		if info, err := os.Stat(fd); err == nil && strings.Contains(at, "/spool/") && info.Size() > 0 {
			return true
		}
	}
	return false
}

// stored lists the files below the folder of the media store.
func (s *system) stored(t *testing.T) (files []string) {
	t.Helper()
	var folder string
	for _, e := range s.env {
		if file, ok := strings.CutPrefix(e, "POSTRIDER_KEY_FILE="); ok {
			folder = filepath.Join(filepath.Dir(file), "media")
		}
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The gateway is killed in the middle of an upload. The customer's connection breaks, and
// there is nothing of the file: neither rows nor octets, stored or on their way.
func TestKillDuringAnUpload(t *testing.T) {
	t.Parallel()
	s := start(t)
	octets := photo(t)
	before := s.stored(t)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.apiPort))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req, err := http.NewRequest(http.MethodPost, "http://gw/v1/media", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(s.key, s.apiSecret)
	fmt.Fprintf(conn, "POST /v1/media HTTP/1.1\r\nHost: gw\r\nAuthorization: %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", req.Header.Get("Authorization"), len(octets))
	if _, err := conn.Write(octets[:len(octets)/2]); err != nil {
		t.Fatal(err)
	}
	s.until("half of the file is in the spool", func() bool { return spooled(t, s.gateway.PID()) })
	if err := s.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(conn), req); err == nil {
		resp.Body.Close()
		t.Errorf("it was answered with %d", resp.StatusCode)
	}
	s.startGateway()
	for _, table := range []string{"media_files", "media_objects", "media_loose"} {
		var n int
		if err := s.sql().QueryRow(t.Context(), "select count(*) from "+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s has %d rows, %v", table, n, err)
		}
	}
	if after := s.stored(t); len(after) != len(before) {
		t.Errorf("files are left: %v, and before were %v", after, before)
	}
	if up := s.upload(octets); up.SizeBytes != int64(len(octets)) {
		t.Errorf("the next try stored %d octets of %d", up.SizeBytes, len(octets))
	}
}
