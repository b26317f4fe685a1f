package cli

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
)

// maxText bounds what is read as a message's text; the gateway says what is too long.
const maxText = 64 << 10

func (a *app) sendCommand() *cobra.Command {
	var watch bool
	var key, sendAt string
	var validity time.Duration
	cmd := a.command(&cobra.Command{
		Use: "send", Short: "Send a message",
		Long: `Sends a message. It is made again, under one Idempotency-Key, while the gateway does not
answer: it is sent once, whatever happens meanwhile.`,
		Example: `  postrider message send --from +12025550143 --to +13105550117 --body "Your parcel is on its way" --watch
  postrider message send --to +13105550117 --body - < text.txt`,
	}, func(cmd *cobra.Command, _ []string) error {
		body, err := a.messageOf(cmd, sendAt, validity)
		if err != nil {
			return err
		}
		key, err := keyOf(key)
		if err != nil {
			return err
		}
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		got, err := c.SendMessageWithResponse(cmd.Context(), &api.SendMessageParams{IdempotencyKey: &key}, body)
		if err != nil {
			return doubtful(err, key)
		}
		if got.JSON200 != nil {
			return a.dryRun(cmd, got.Body, got.JSON200)
		}
		return a.sent(cmd, c, got.Body, got.JSON202, watch)
	})
	flags := cmd.Flags()
	flags.String("to", "", "the recipient")
	flags.String("body", "", "the text; - reads it from standard input")
	flags.StringSlice("media-id", nil, "files of POST /v1/media: the message is an MMS")
	flags.Bool("dry-run", false, "say what would happen; nothing is stored, charged or sent")
	flags.BoolVar(&watch, "watch", false, "follow the message to its end; exit code 4 if it is not delivered")
	messageFlags(cmd, &sendAt, &validity)
	keyFlag(cmd, &key)
	return cmd
}

// messageFlags are what messages and batches have alike.
func messageFlags(cmd *cobra.Command, sendAt *string, validity *time.Duration) {
	flags := cmd.Flags()
	flags.String("from", "", "the sender; not needed if the account has one number")
	flags.StringSlice("media-url", nil, "files to fetch: the message is an MMS")
	flags.String("media-transcoding", "", "auto, or bypass to send files as they are")
	flags.String("subject", "", "of an MMS")
	flags.StringVar(sendAt, "send-at", "", "when: a time (RFC 3339), or how long from now (90m)")
	flags.DurationVar(validity, "validity", 0, "how long it may take to be delivered")
	flags.String("class", "", "otp, conversation or bulk")
	flags.String("delivery", "", "at_most_once or at_least_once: what happens when a submit is in doubt")
	flags.String("encoding", "", "auto, gsm7 or ucs2")
	flags.Bool("smart-encoding", false, "replace quotes, dashes and blanks that gsm7 does not have")
	flags.String("reference", "", "client_reference: your own name for it")
	flags.StringToString("metadata", nil, "pairs that come back in every event, as k=v,k=v")
	flags.String("webhook-url", "", "gets its events instead of the account's endpoints")
	flags.String("webhook-failover-url", "", "gets them when that one fails")
	complete(cmd, "class", "otp", "conversation", "bulk")
	complete(cmd, "delivery", "at_most_once", "at_least_once")
	complete(cmd, "encoding", "auto", "gsm7", "ucs2")
	complete(cmd, "media-transcoding", "auto", "bypass")
}

func keyFlag(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "idempotency-key", "", "makes the command safe to repeat for 72 hours; without it: a new one")
}

// given is a flag's text if it was given.
func given(cmd *cobra.Command, name string) *string {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	text, err := cmd.Flags().GetString(name)
	if err != nil {
		panic(err) // the flag has another type, which the tests would see
	}
	return &text
}

// as is a text of a type of its own.
func as[T ~string](s *string) *T {
	if s == nil {
		return nil
	}
	t := T(*s)
	return &t
}

// messageOf makes the request of the flags. What is wrong with their values the gateway
// says.
func (a *app) messageOf(cmd *cobra.Command, sendAt string, validity time.Duration) (m api.CreateMessage, err error) {
	flags := cmd.Flags()
	to := given(cmd, "to")
	if to == nil {
		return m, usage("--to is required: the recipient")
	}
	m.To, m.Body = *to, given(cmd, "body")
	if m.Body != nil && *m.Body == "-" {
		raw, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxText))
		if err != nil {
			return m, err
		}
		text := strings.TrimRight(string(raw), "\r\n")
		m.Body = &text
	}
	if list, _ := flags.GetStringSlice("media-id"); len(list) > 0 {
		m.MediaIds = &list
	}
	if list, _ := flags.GetStringSlice("media-url"); len(list) > 0 {
		m.MediaUrls = &list
	}
	if meta, _ := flags.GetStringToString("metadata"); len(meta) > 0 {
		m.Metadata = &meta
	}
	for name, into := range map[string]**bool{"smart-encoding": &m.SmartEncoding, "dry-run": &m.DryRun} {
		if flags.Changed(name) {
			on, _ := flags.GetBool(name)
			*into = &on
		}
	}
	for name, into := range map[string]**string{
		"from": &m.From, "subject": &m.Subject, "reference": &m.ClientReference, "webhook-url": &m.WebhookURL, "webhook-failover-url": &m.WebhookFailoverURL,
	} {
		*into = given(cmd, name)
	}
	m.MessageClass, m.Delivery = as[api.CreateMessageMessageClass](given(cmd, "class")), as[api.CreateMessageDelivery](given(cmd, "delivery"))
	m.Encoding, m.MediaTranscoding = as[api.CreateMessageEncoding](given(cmd, "encoding")), as[api.CreateMessageMediaTranscoding](given(cmd, "media-transcoding"))
	if m.ValiditySeconds, err = secondsOf(cmd, validity); err != nil {
		return m, err
	}
	m.SendAt, err = a.time("--send-at", sendAt, 1)
	return m, err
}

func secondsOf(cmd *cobra.Command, validity time.Duration) (*int64, error) {
	if !cmd.Flags().Changed("validity") {
		return nil, nil
	}
	if validity%time.Second != 0 {
		return nil, usage("--validity must be whole seconds, not %v", validity)
	}
	n := int64(validity / time.Second)
	return &n, nil
}

// keyForm is what Idempotency-Key may be.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9_:.\-]{1,255}$`)

// keyOf is the key that was given, or a new one.
func keyOf(given string) (string, error) {
	if given == "" {
		return client.NewKey(), nil
	}
	if !keyForm.MatchString(given) {
		return "", usage("--idempotency-key must be 1 to 255 letters, digits, and _ : . -")
	}
	return given, nil
}

// doubtful says how to find out, if a request may have been carried out.
func doubtful(err error, key string) error {
	var e *client.Error
	if !errors.As(err, &e) || !e.Ambiguous() {
		return err
	}
	code := ExitCode(err)
	text := err.Error()
	if code == ExitInterrupted {
		text = "interrupted"
	}
	return &coded{fmt.Errorf("%s; whether it was taken is not known: give the same command with --idempotency-key %s to find out, and nothing is sent twice", text, key), code}
}

// sent prints what was sent, and follows it if that is wanted.
func (a *app) sent(cmd *cobra.Command, c *client.Client, raw []byte, m *api.Message, watch bool) error {
	if !watch {
		return a.printMessage(cmd, raw, m)
	}
	if !a.json() {
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", m.ID)
	}
	w := &watcher{app: a, client: c, id: m.ID.String(), out: cmd.OutOrStdout()}
	return w.follow(cmd.Context(), 0)
}

// dryRun prints what would happen. That it would be refused is the command's outcome.
func (a *app) dryRun(cmd *cobra.Command, raw []byte, d *api.DryRun) error {
	out := cmd.OutOrStdout()
	if a.json() {
		if err := object(out, raw); err != nil {
			return err
		}
	} else {
		segments, hold, allowed := "", "", "no"
		if d.Segments != nil {
			segments = fmt.Sprint(*d.Segments)
		}
		if d.Hold != nil {
			hold = d.Hold.Rule + ": " + d.Hold.Detail
		}
		if d.Allowed {
			allowed = "yes"
		}
		if err := fields(out, "allowed", allowed, "why", why(d.Error), "waits for", hold, "leaves", a.at(d.LeavesAt), "encoding", or(d.Encoding, ""), "parts", segments, "price", price(d.Price)); err != nil {
			return err
		}
		w := table(out, "\nRULE\tRESULT\tDETAIL")
		for _, t := range d.Trail {
			row(w, t.Rule, t.Result, or(t.Detail, ""))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if !d.Allowed {
		return unwelcome("it would be refused: %s", why(d.Error))
	}
	return nil
}
