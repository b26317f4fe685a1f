package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
)

// TestJudgeMedia stores files in order, and then each half alone.
func TestJudgeMedia(t *testing.T) {
	c := convene(t)
	ctx := t.Context()
	dir := t.TempDir()
	c.w.mediaDir, c.w.temp = filepath.Join(dir, "store"), filepath.Join(dir, "tmp")
	if err := os.Mkdir(c.w.temp, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.w.Media, err = media.Open(ctx, c.w.mediaDir, media.Options{}); err != nil {
		t.Fatal(err)
	}
	defer c.w.Media.Close()
	library := media.Library{Store: c.w.Media, Records: c.w.DB}
	keep := func(number int) message.MediaFile {
		octets, err := picture(number, false)
		if err != nil {
			t.Fatal(err)
		}
		up, err := library.Receive(ctx, bytes.NewReader(octets), maxPicture)
		if err != nil {
			t.Fatal(err)
		}
		defer up.Close()
		f, _, err := up.Keep(ctx, message.NewID(), time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	keep(1)
	v, err := c.AfterStop(ctx)
	c.want(v, err)

	if err := c.w.Media.Delete(ctx, keep(2).SHA256); err != nil { // a row without octets
		t.Fatal(err)
	}
	octets, _ := picture(3, false)
	if _, err := c.w.Media.Put(ctx, bytes.NewReader(octets), maxPicture); err != nil { // octets without a row
		t.Fatal(err)
	}
	spoiled := keep(4)
	spoil(t, c.w.mediaDir, spoiled.SHA256)
	for _, name := range []string{filepath.Join(c.w.mediaDir, "spool", "postrider-spool-1"), filepath.Join(c.w.temp, "postrider-media-1"), filepath.Join(c.w.temp, "other")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v, err = c.AfterStop(ctx)
	c.want(v, err, "3 files half-stored", "3 temporary files left")
	if err := c.halfStored(ctx, &v, false); err != nil || v.HalfStored != 2 {
		t.Errorf("without reading them: %v, %d", err, v.HalfStored)
	}
	// A process that was killed leaves what the upkeep knows, and nothing else.
	spool := filepath.Join(c.w.mediaDir, "spool", "postrider-spool-2")
	if err := os.WriteFile(spool, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.w.Nodes = map[string]*Node{nodeMedia: {died: time.Now().Add(time.Minute)}}
	v = Verdict{}
	if err := c.mediaAtRest(context.WithoutCancel(ctx), &v); err != nil || v.FilesLeft != 1 || !strings.Contains(strings.Join(v.Details, "\n"), "left behind: "+filepath.Join(c.w.temp, "other")) {
		t.Errorf("%v, %d left: %q", err, v.FilesLeft, v.Details)
	}
}

// spoil changes octets without changing how many there are.
func spoil(t *testing.T, dir string, sum [32]byte) {
	t.Helper()
	name := media.Object{SHA256: sum}.Hex()
	path := filepath.Join(dir, "plain", name[:2], name)
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	octets[len(octets)/2] ^= 1
	if err := os.WriteFile(path, octets, 0o600); err != nil {
		t.Fatal(err)
	}
}
