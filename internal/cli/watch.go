package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/message"
)

// How often a message or a batch is looked at: often at first, when most happens.
const (
	lookFirst = 250 * time.Millisecond
	lookMost  = 3 * time.Second
)

// nextLook is the wait after one of d.
func nextLook(d time.Duration) time.Duration { return min(lookMost, max(lookFirst, d*3/2)) }

func (a *app) watchCommand() *cobra.Command {
	var timeout time.Duration
	cmd := a.command(&cobra.Command{
		Use: "watch MESSAGE", Short: "Follow a message's timeline until it has ended", Args: cobra.ExactArgs(1),
		Long: "Prints the timeline line by line until the message's status is final. Exit code 0 says that it was delivered, 4 that it was not, or that --timeout was over.",
	}, func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		w := &watcher{app: a, client: c, id: args[0], out: cmd.OutOrStdout()}
		return w.follow(cmd.Context(), timeout)
	})
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this; 0: never")
	return cmd
}

// watcher prints a message's timeline, each line of it once.
type watcher struct {
	app    *app
	client *client.Client
	id     string
	out    io.Writer

	cursor *string // of the page that the newest line is on
	seen   int64   // the sequence of that line
}

// print prints the lines that have come.
func (w *watcher) print(ctx context.Context) error {
	for {
		size := int64(200)
		page, err := w.client.ListMessageEventsWithResponse(ctx, w.id, &api.ListMessageEventsParams{Limit: &size, Cursor: w.cursor})
		if err != nil {
			return err
		}
		var raw struct {
			Data []json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(page.Body, &raw); err != nil {
			return err
		}
		for i, e := range page.JSON200.Data {
			if e.Sequence <= w.seen {
				continue
			}
			if err := w.line(e, raw.Data[i]); err != nil {
				return err
			}
			w.seen = e.Sequence
		}
		if page.JSON200.NextCursor == nil {
			return nil
		}
		w.cursor = page.JSON200.NextCursor
	}
}

func (w *watcher) line(e api.Event, raw []byte) error {
	if w.app.json() {
		return objectLine(w.out, raw)
	}
	text := fmt.Sprintf("%s  %3d  %-16s  %s", e.At.In(w.app.location).Format("15:04:05.000"), e.Sequence, e.Type, details(e.Detail))
	_, err := fmt.Fprintln(w.out, strings.TrimRight(plain(text), " "))
	return err
}

// details are the members of a line's detail in words; of rules that were looked at each
// with its result.
func details(of map[string]any) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		switch v := of[name].(type) {
		case string:
			words = append(words, name+"="+v)
		case []any:
			for _, e := range v {
				rule, _ := e.(map[string]any)
				if rule["rule"] == nil {
					words = append(words, fmt.Sprintf("%s=%v", name, e))
					continue
				}
				word := fmt.Sprintf("%v=%v", rule["rule"], rule["result"])
				if detail, _ := rule["detail"].(string); detail != "" && rule["result"] != "pass" {
					word += " (" + detail + ")"
				}
				words = append(words, word)
			}
		default:
			words = append(words, fmt.Sprintf("%s=%v", name, v))
		}
	}
	return strings.Join(words, " ")
}

// follow prints until the message has ended; timeout 0 is never over.
func (w *watcher) follow(ctx context.Context, timeout time.Duration) error {
	looking := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		looking, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	status := ""
	err := w.untilFinal(looking, &status)
	if err != nil && errors.Is(looking.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return unwelcome("message %s is %s after %v", w.id, or(&status, "not known"), timeout)
	}
	return err
}

func (w *watcher) untilFinal(ctx context.Context, status *string) error {
	for pause := lookFirst; ; pause = nextLook(pause) {
		// The status first: what is final by then is on the timeline that is read after it.
		got, err := w.client.GetMessageWithResponse(ctx, w.id)
		if err != nil {
			return err
		}
		m := got.JSON200
		*status = string(m.Status)
		if err := w.print(ctx); err != nil {
			return err
		}
		if message.Status(m.Status).Final() {
			if m.Status == api.MessageStatusDelivered {
				return nil
			}
			return unwelcome("message %s is %s%s", m.ID, m.Status, because(m.Error))
		}
		if err := w.app.wait(ctx, pause); err != nil {
			return err
		}
	}
}

func because(e *api.Error) string {
	if e == nil {
		return ""
	}
	return ": " + plain(why(e))
}
