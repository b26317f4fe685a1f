package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/webhook"
)

func (a *app) listenCommand() *cobra.Command {
	l := &listener{app: a}
	cmd := a.command(&cobra.Command{
		Use: "listen", Short: "Print events as they happen, and forward them to a local URL",
		Long: `Reads the event feed (GET /v1/events) and prints a line for each event; with -o json the event
itself. With --forward each is posted to a URL as a webhook is, signed, so that a consumer
can be written and tried on a machine that nobody can reach from outside. It is signed with
POSTRIDER_WEBHOOK_SECRET, or with a secret that is made at the first start, kept, and printed.

It begins with what happens from now on (or --since a while ago, or --all), and goes on where it
was ended when the same command is given again: after kill -9 a few events may come twice,
under the same id. Ctrl-C ends it.`,
		Example: `  postrider listen --forward http://localhost:3000/hooks --types message.delivered,message.received
  postrider listen --all --fresh -o json | jq .data.status`,
	}, func(cmd *cobra.Command, _ []string) error { return l.run(cmd) })
	flags := cmd.Flags()
	flags.StringVar(&l.forward, "forward", "", "post each event to this URL, signed")
	flags.BoolVar(&l.retry, "retry", false, "with --forward: try again until it is taken, and only then go on")
	flags.StringSliceVar(&l.types, "types", nil, "only events of these types")
	flags.DurationVar(&l.since, "since", 0, "begin with what happened so long ago, at most 30 days")
	flags.BoolVar(&l.all, "all", false, "begin with the oldest event there is")
	flags.BoolVar(&l.fresh, "fresh", false, "begin anew instead of where it was ended")
	complete(cmd, "types", notification.FeedTypes()...)
	return cmd
}

// listener reads the feed.
type listener struct {
	app               *app
	forward           string
	types             []string
	since             time.Duration
	all, fresh, retry bool

	client    *client.Client
	forwarder *forwarder // nil: nothing is forwarded
	out, says io.Writer
	place     place
	path      string // of place
}

// place is how far a listener is, in a file.
type place struct {
	Cursor string    `json:"cursor"`
	Done   string    `json:"done,omitempty"` // the newest event that was handled of the page behind Cursor
	From   time.Time `json:"from"`           // what is older is passed over
	Secret string    `json:"secret,omitempty"`
}

func (l *listener) run(cmd *cobra.Command) error {
	l.out, l.says = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if l.since < 0 || l.since > 0 && l.all {
		return usage("give --since a duration, or --all")
	}
	if l.retry && l.forward == "" {
		return usage("--retry goes with --forward")
	}
	s, err := l.app.settings()
	if err != nil {
		return err
	}
	if l.client, err = l.app.connect(cmd); err != nil {
		return err
	}
	if err := l.resume(s); err != nil {
		return err
	}
	if l.forward != "" {
		if err := l.prepareForward(s); err != nil {
			return err
		}
	}
	err = l.listen(cmd.Context())
	if saved := writeOwn(l.path, l.place); saved != nil {
		err = errors.Join(err, fmt.Errorf("the next start cannot go on from here: %w", saved))
	}
	if errors.Is(err, context.Canceled) && cmd.Context().Err() != nil {
		return nil // as it is meant to end
	}
	return err
}

// resume reads the place. Listeners with other filters, another target or another key have
// places of their own.
func (l *listener) resume(s settings) error {
	file, err := settingsFile()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s", s.URL, s.Key, l.forward, strings.Join(l.types, ",")))
	l.path = filepath.Join(filepath.Dir(file), fmt.Sprintf("listen-%x.json", sum[:8]))
	raw, err := readOwn(l.path)
	if err != nil {
		return err
	}
	if raw != nil && json.Unmarshal(raw, &l.place) != nil {
		return usage("%s is not as listen writes it; remove it", l.path)
	}
	if l.fresh || l.all || l.since > 0 {
		l.place = place{Secret: l.place.Secret}
	}
	return nil
}

func (l *listener) prepareForward(s settings) error {
	to, err := url.Parse(l.forward)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return usage("--forward must be a URL like http://localhost:3000/hooks, not %q", l.forward)
	}
	key := s.WebhookSecret
	if key == "" {
		if l.place.Secret == "" {
			l.place.Secret = secret.NewWebhookSecret().Reveal()
		}
		key = l.place.Secret
		fmt.Fprintf(l.says, "signed with %s\n", key)
	}
	if err := webhook.CheckSecret(key); err != nil {
		return usage("POSTRIDER_WEBHOOK_SECRET: %w", err)
	}
	l.forwarder = newForwarder(l.forward, key)
	return nil
}

// feedWait is how long the gateway is asked to wait for an event, in seconds: the most.
const feedWait = 30

// entry is an event of the feed. What its data holds is not read anew, so that what is
// forwarded and printed is what webhooks have.
type entry struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
	raw       json.RawMessage
}

func (l *listener) listen(ctx context.Context) error {
	for pause := lookFirst; ; {
		page, err := l.read(ctx)
		var e *client.Error
		switch {
		case err == nil:
			pause = lookFirst
		case ctx.Err() == nil && errors.As(err, &e) && (e.Retryable() || e.Status >= 500):
			// It goes on when the gateway does: a listener is left running.
			fmt.Fprintf(l.says, "postrider: %v\n", err)
			if err := l.app.wait(ctx, max(pause, e.RetryAfter)); err != nil {
				return err
			}
			pause = nextLook(pause)
			continue
		case errors.As(err, &e) && e.Status == http.StatusUnprocessableEntity && l.place.Cursor != "":
			return fmt.Errorf("%w; --fresh begins anew, --all with the oldest event", err)
		default:
			return err
		}
		if err := l.handle(ctx, page.events); err != nil {
			return err
		}
		if l.place.Cursor != page.next {
			l.place.Cursor, l.place.Done = page.next, ""
			if err := writeOwn(l.path, l.place); err != nil {
				return fmt.Errorf("keep the place in the feed: %w", err)
			}
		}
	}
}

// feedPage is an answer of the feed.
type feedPage struct {
	events []entry
	next   string
}

func (l *listener) read(ctx context.Context) (p feedPage, err error) {
	size, seconds := int64(200), int64(feedWait)
	params := api.ListAccountEventsParams{Limit: &size, WaitSeconds: &seconds}
	if l.place.Cursor != "" {
		params.Cursor = &l.place.Cursor
	}
	if len(l.types) > 0 {
		params.Types = &l.types
	}
	begins := l.place.Cursor == "" && l.place.From.IsZero() && !l.all
	if begins {
		seconds = 0 // the answer tells the time
	}
	got, err := l.client.ListAccountEventsWithResponse(ctx, &params)
	if err != nil {
		return p, err
	}
	var body struct {
		Data       []json.RawMessage `json:"data"`
		NextCursor string            `json:"next_cursor"`
	}
	if err := json.Unmarshal(got.Body, &body); err != nil {
		return p, fmt.Errorf("read the feed: %w", err)
	}
	p.next = body.NextCursor
	if begins {
		l.begin(got.HTTPResponse.Header)
	}
	for _, raw := range body.Data {
		e := entry{raw: raw}
		if err := json.Unmarshal(raw, &e); err != nil {
			return p, fmt.Errorf("read an event: %w", err)
		}
		p.events = append(p.events, e)
	}
	return p, nil
}

// begin sets what is old, by the gateway's clock, in whose times events are told: by that
// of this machine, were it fast, the first would be missed.
func (l *listener) begin(h http.Header) {
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil { // a proxy dropped it
		now = time.Now()
	}
	l.place.From = now.Add(-l.since)
	fmt.Fprintf(l.says, "listening; what happened before %s is passed over\n", l.app.at(&l.place.From))
}

// handle prints and forwards the events of a page that were not handled before.
func (l *listener) handle(ctx context.Context, events []entry) error {
	for i, e := range events {
		if e.ID == l.place.Done {
			events = events[i+1:]
			break
		}
	}
	for _, e := range events {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !e.Timestamp.Before(l.place.From) {
			if err := l.one(ctx, e); err != nil {
				return err
			}
		}
		l.place.Done = e.ID
	}
	return nil
}

func (l *listener) one(ctx context.Context, e entry) error {
	outcome := ""
	if l.forwarder != nil {
		var err error
		if outcome, err = l.deliver(ctx, e); err != nil {
			return err
		}
	}
	if !l.app.json() {
		if outcome != "" {
			outcome = "  -> " + outcome
		}
		_, err := fmt.Fprintf(l.out, "%s  %-20s  %s%s\n", e.Timestamp.In(l.app.location).Format("15:04:05.000"), plain(e.Type), summary(e), outcome)
		return err
	}
	if outcome != "" {
		fmt.Fprintf(l.says, "%s -> %s\n", e.ID, outcome)
	}
	return objectLine(l.out, e.raw)
}

// deliver forwards an event, again and again if that is wanted, and says what came of it.
func (l *listener) deliver(ctx context.Context, e entry) (string, error) {
	for pause := lookFirst; ; pause = nextLook(pause) {
		outcome, taken := l.post(ctx, e)
		if taken {
			return outcome, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if !l.retry {
			return outcome, nil
		}
		fmt.Fprintf(l.says, "%s -> %s; again in %v\n", e.ID, outcome, pause)
		if err := l.app.wait(ctx, pause); err != nil {
			return "", err
		}
	}
}

// lastPost is how long a post that is under way when one stops may take: what it came to
// is known then, and the event does not come again at the next start.
const lastPost = 5 * time.Second

func (l *listener) post(ctx context.Context, e entry) (outcome string, taken bool) {
	posting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastPost, cancel) })()
	return l.forwarder.post(posting, e)
}

// summary is what an event is about: the same members for all that have them.
func summary(e entry) string {
	var d struct {
		MessageID string     `json:"message_id"`
		BatchID   string     `json:"batch_id"`
		From      string     `json:"from"`
		To        string     `json:"to"`
		Body      string     `json:"body"`
		Error     *api.Error `json:"error"`
	}
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return "" // the data of another type: the line has its own
	}
	var words []string
	for _, w := range []string{d.MessageID, route(d.From, d.To), clip(d.Body, 60), why(d.Error)} {
		if w != "" {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		words = []string{clip(string(e.Data), 120)}
	}
	return plain(strings.Join(words, "  "))
}

func route(from, to string) string {
	if from == "" || to == "" {
		return from + to
	}
	return from + " > " + to
}
