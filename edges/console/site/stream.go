package site

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
)

// maxStream ends a stream after this long: the browser connects anew, and is asked again
// who it is.
const maxStream = 10 * time.Minute

// Stream answers with server-sent events: the blocks that draw gives, at once and then
// every so often, when they have changed. It ends with the reader, the process or an
// error; the browser connects anew.
func (v *Visit) Stream(every time.Duration, draw func(context.Context) ([]page.Block, error)) (page.Page, error) {
	ctx, cancel := context.WithTimeout(v.R.Context(), maxStream)
	defer cancel()
	out := http.NewResponseController(v.W)
	frame := v.Frame(v.Person)
	var before []byte
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		blocks, err := draw(ctx)
		if err == nil {
			var text []byte
			if text, err = v.Kit.Fragment(&frame, blocks...); err == nil {
				if first {
					v.W.Header().Set("Content-Type", "text/event-stream")
					v.W.Header().Set("X-Accel-Buffering", "no") // nginx would keep it back
				}
				err = v.send(out, text, before)
				before = text
			}
		}
		if err != nil {
			if first {
				return page.Page{}, err
			}
			if ctx.Err() == nil && call.StatusOf(err) == 0 {
				v.Log.Debug("stream ended", "path", v.R.Pattern, "error", err)
			}
			return v.Answered()
		}
		select {
		case <-ctx.Done():
			return v.Answered()
		case <-v.Closing():
			return v.Answered()
		case <-tick.C:
		}
	}
}

// send writes an event, or a comment when nothing has changed, which shows whether the
// reader is there.
func (v *Visit) send(out *http.ResponseController, text, before []byte) error {
	var b bytes.Buffer
	if bytes.Equal(text, before) {
		b.WriteString(": \n\n")
	} else {
		b.WriteString("event: update\n")
		for line := range bytes.Lines(text) {
			b.WriteString("data: ")
			b.Write(bytes.TrimRight(line, "\r\n"))
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	// The server's bound is for answers that end.
	if err := out.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := v.W.Write(b.Bytes()); err != nil {
		return err
	}
	return out.Flush()
}
