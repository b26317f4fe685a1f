package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/client/staffapi"
	"github.com/postrider/postrider/internal/message"
)

func (a *app) messageCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use: "message", Short: "Send messages and see what became of them",
		Long: "Over the HTTP API, with an API key: see docs/cli.md. What staff do in the database itself is under postrider admin message.",
	})
	cmd.AddCommand(a.sendCommand(), a.getCommand(), a.watchCommand(), a.listCommand(), a.cancelCommand(), a.retryCommand(), a.resolveCommand())
	return cmd
}

func (a *app) getCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use: "get MESSAGE", Short: "Show a message, its parts and its timeline", Args: cobra.ExactArgs(1),
		Long: "Show a message, its parts and its timeline; with -o json the message alone, as the API gives it.",
	}, func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		got, err := c.GetMessageWithResponse(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.json() {
			return object(cmd.OutOrStdout(), got.Body)
		}
		if err := a.show(cmd.OutOrStdout(), got.JSON200); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout())
		w := &watcher{app: a, client: c, id: args[0], out: cmd.OutOrStdout()}
		return w.print(cmd.Context())
	})
}

// show prints a message as a person reads it.
func (a *app) show(out io.Writer, m *api.Message) error {
	var meta, hold string
	for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
		meta += " " + k + "=" + m.Metadata[k]
	}
	if m.Hold != nil {
		hold = m.Hold.Rule + ": " + m.Hold.Detail
	}
	var media []string
	for _, f := range m.Media {
		media = append(media, fmt.Sprint(f.ID))
	}
	optional := func(id any, there bool) string {
		if !there {
			return ""
		}
		return fmt.Sprint(id)
	}
	err := fields(out,
		"message", m.ID.String(), "status", string(m.Status), "why", why(m.Error), "waits for", hold,
		"from", or(m.From, ""), "asked for", or(m.RequestedFrom, ""), "to", or(m.To, ""), "text", or(m.Body, ""), "subject", or(m.Subject, ""), "media", strings.Join(media, " "),
		"direction", string(m.Direction), "type", string(m.Type), "encoding", or(m.Encoding, ""), "parts", fmt.Sprint(m.Segments), "price", price(m.Price),
		"class", string(m.MessageClass), "delivery", string(m.Delivery), "campaign", or(m.CampaignID, ""),
		"batch", optional(m.BatchID, m.BatchID != nil), "retry of", optional(m.RetryOf, m.RetryOf != nil), "reference", or(m.ClientReference, ""), "metadata", strings.TrimSpace(meta),
		"created", a.at(&m.CreatedAt), "send at", a.at(m.SendAt), "submitted", a.at(m.SubmittedAt), "delivered", a.at(m.DeliveredAt), "expires", a.at(m.ExpiresAt))
	if err != nil || len(m.Parts) < 2 {
		return err
	}
	w := table(out, "\nPART\tSTATUS\tRECEIPT\tWHY")
	for _, p := range m.Parts {
		receipt := ""
		if p.Receipt != nil {
			receipt = p.Receipt.Stat + " " + p.Receipt.Err
		}
		row(w, p.Part, p.Status, receipt, why(p.Error))
	}
	return w.Flush()
}

func (a *app) listCommand() *cobra.Command {
	var p api.ListMessagesParams
	var limit int
	var after, before string
	cmd := a.command(&cobra.Command{Use: "list", Short: "List messages, newest first", Long: "List messages, newest first. All filters must hold."}, func(cmd *cobra.Command, _ []string) error {
		flags := cmd.Flags()
		text := func(name string) *string { return given(cmd, name) }
		p.From, p.To, p.ClientReference, p.BatchID, p.CampaignID, p.ErrorCode = text("from"), text("to"), text("reference"), text("batch"), text("campaign"), text("error")
		p.Direction, p.Type = as[api.ListMessagesParamsDirection](text("direction")), as[api.ListMessagesParamsType](text("type"))
		p.MessageClass = as[api.ListMessagesParamsMessageClass](text("class"))
		if list, _ := flags.GetStringSlice("status"); len(list) > 0 {
			statuses := make([]api.ListMessagesParamsStatus, len(list))
			for i, s := range list {
				statuses[i] = api.ListMessagesParamsStatus(s)
			}
			p.Status = &statuses
		}
		var err error
		if p.CreatedAfter, err = a.time("--after", after, -1); err != nil {
			return err
		}
		if p.CreatedBefore, err = a.time("--before", before, -1); err != nil {
			return err
		}
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		return a.list(cmd, limit, "ID\tCREATED\tFROM\tTO\tPARTS\tSTATUS\tWHY\tTEXT", func(size *int64, cursor *string) (body []byte, err error) {
			p.Limit, p.Cursor = size, cursor
			page, err := c.ListMessagesWithResponse(cmd.Context(), &p)
			if err == nil {
				body = page.Body
			}
			return body, err
		}, func(w io.Writer, raw []byte) error {
			var m api.Message
			if err := json.Unmarshal(raw, &m); err != nil {
				return err
			}
			code := ""
			if m.Error != nil {
				code = m.Error.Code
			}
			row(w, m.ID, a.at(&m.CreatedAt), or(m.From, ""), or(m.To, ""), m.Segments, m.Status, code, clip(or(m.Body, ""), 40))
			return nil
		})
	})
	flags := cmd.Flags()
	flags.IntVar(&limit, "limit", 50, "how many at most")
	for name, doc := range map[string]string{
		"from": "sent from this number", "to": "sent to this number", "reference": "with this client_reference", "batch": "of this batch",
		"campaign": "of this campaign", "error": "with this error code", "direction": "outbound or inbound", "type": "sms or mms", "class": "otp, conversation or bulk",
	} {
		flags.String(name, "", doc)
	}
	flags.StringSlice("status", nil, "in one of these statuses")
	flags.StringVar(&after, "after", "", "created after this: a time (RFC 3339), or how long ago (2h)")
	flags.StringVar(&before, "before", "", "created before this")
	var statuses []string
	for _, s := range message.Statuses() {
		statuses = append(statuses, string(s))
	}
	complete(cmd, "status", statuses...)
	complete(cmd, "direction", "outbound", "inbound")
	complete(cmd, "type", "sms", "mms")
	complete(cmd, "class", "otp", "conversation", "bulk")
	return cmd
}

// list prints a list page by page, as many as limit says: as a table, or each object in a
// line.
func (a *app) list(cmd *cobra.Command, limit int, head string, read func(size *int64, cursor *string) ([]byte, error), print func(w io.Writer, raw []byte) error) error {
	if limit < 1 || limit > a.rows {
		return usage("--limit must be 1 to %d", a.rows)
	}
	const page = 200
	var cursor *string
	out := cmd.OutOrStdout()
	w := table(io.Discard, "")
	if !a.json() {
		w = table(out, head)
	}
	for limit > 0 {
		size := int64(min(limit, page))
		body, err := read(&size, cursor)
		if err != nil {
			return err
		}
		var p struct {
			Data       []json.RawMessage `json:"data"`
			NextCursor *string           `json:"next_cursor"`
		}
		if err := json.Unmarshal(body, &p); err != nil {
			return err
		}
		for _, one := range p.Data[:min(limit, len(p.Data))] {
			if a.json() {
				err = objectLine(out, one)
			} else {
				err = print(w, one)
			}
			if err != nil {
				return err
			}
		}
		limit -= len(p.Data)
		if cursor = p.NextCursor; cursor == nil {
			break
		}
	}
	if limit <= 0 && cursor != nil && !a.json() {
		defer fmt.Fprintln(cmd.ErrOrStderr(), "there are more: --limit shows them")
	}
	return w.Flush()
}

func (a *app) cancelCommand() *cobra.Command {
	return a.command(&cobra.Command{Use: "cancel MESSAGE", Short: "Withdraw a message that has not left", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		got, err := c.CancelMessageByPostWithResponse(cmd.Context(), args[0], nil)
		if err != nil {
			return err
		}
		return a.printMessage(cmd, got.Body, got.JSON200)
	})
}

// printMessage prints what a change came to: the message, or its id and status.
func (a *app) printMessage(cmd *cobra.Command, raw []byte, m *api.Message) error {
	if a.json() {
		return object(cmd.OutOrStdout(), raw)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", m.ID, m.Status)
	return nil
}

func (a *app) retryCommand() *cobra.Command {
	var duplicate, watch bool
	var key string
	cmd := a.command(&cobra.Command{
		Use: "retry MESSAGE", Short: "Send a message that came to nothing again, as a new one", Args: cobra.ExactArgs(1),
		Long: "Of a message that is undelivered, failed, expired or rejected; of an unconfirmed one with --accept-duplicate alone, since it may have arrived.",
	}, func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		key, err := keyOf(key)
		if err != nil {
			return err
		}
		got, err := c.RetryMessageWithResponse(cmd.Context(), args[0], &api.RetryMessageParams{IdempotencyKey: &key}, api.RetryBody{AcceptDuplicate: &duplicate})
		if err != nil {
			return doubtful(err, key)
		}
		return a.sent(cmd, c, got.Body, got.JSON202, watch)
	})
	cmd.Flags().BoolVar(&duplicate, "accept-duplicate", false, "also if it may arrive twice")
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the new message to its end")
	keyFlag(cmd, &key)
	return cmd
}

func (a *app) resolveCommand() *cobra.Command {
	var outcome, reason string
	cmd := a.command(&cobra.Command{
		Use: "resolve MESSAGE", Short: "Say what became of a message in doubt (staff)", Args: cobra.ExactArgs(1),
		Long: `For staff who have asked the vendor; over the internal API, with an access token of staff in
POSTRIDER_STAFF_TOKEN (POST /api/v1/admin/auth/token gives one).
  sent        the vendor has it, and its receipt is waited for
  not_sent    the vendor does not have it, and it has failed
  send_again  it is offered again, and may come twice`,
	}, func(cmd *cobra.Command, args []string) error {
		if !staffapi.ResolveBodyAs(outcome).Valid() {
			return usage("--as must be sent, not_sent or send_again")
		}
		if reason == "" {
			return usage("--reason must say how that is known")
		}
		s, err := a.settings()
		if err != nil {
			return err
		}
		if s.StaffToken == "" {
			return usage("staff resolve messages: set POSTRIDER_STAFF_TOKEN to an access token of POST /api/v1/admin/auth/token")
		}
		c, err := a.connectAs(cmd, client.Config{URL: s.URL, Token: s.StaffToken})
		if err != nil {
			return err
		}
		got, err := c.Staff.ResolveMessageWithResponse(cmd.Context(), args[0], staffapi.ResolveBody{As: staffapi.ResolveBodyAs(outcome), Reason: reason})
		if err != nil {
			return err
		}
		if a.json() {
			return object(cmd.OutOrStdout(), got.Body)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", got.JSON200.ID, got.JSON200.Status)
		return nil
	})
	cmd.Flags().StringVar(&outcome, "as", "", "sent, not_sent or send_again")
	cmd.Flags().StringVar(&reason, "reason", "", "how that is known, for the audit log")
	complete(cmd, "as", "sent", "not_sent", "send_again")
	return cmd
}

// time reads a time that is given as such, or as how long from now (sign 1) or ago (-1).
func (a *app) time(flag, given string, sign time.Duration) (*time.Time, error) {
	if given == "" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, given); err == nil {
		return &t, nil
	}
	d, err := time.ParseDuration(given)
	if err != nil || d < 0 {
		return nil, usage("%s must be a time like 2026-11-21T20:15:00Z, or a duration like 90m, not %q", flag, given)
	}
	t := time.Now().Add(sign * d)
	return &t, nil
}
