package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
)

func (a *app) batchCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "batch", Short: "Send many messages at once", Long: "Over the HTTP API, with an API key: see docs/cli.md."})
	cmd.AddCommand(a.batchSendCommand(), a.batchCheckCommand(), a.batchListCommand(), a.batchGetCommand(), a.batchRowsCommand(),
		a.batchChange("pause", "Stop working a batch's rows", func(ctx context.Context, c *client.Client, id string) ([]byte, *api.Batch, error) {
			r, err := c.PauseBatchWithResponse(ctx, id, nil)
			if err != nil {
				return nil, nil, err
			}
			return r.Body, r.JSON200, nil
		}),
		a.batchChange("resume", "Go on with a batch that is paused", func(ctx context.Context, c *client.Client, id string) ([]byte, *api.Batch, error) {
			r, err := c.ResumeBatchWithResponse(ctx, id, nil)
			if err != nil {
				return nil, nil, err
			}
			return r.Body, r.JSON200, nil
		}),
		a.batchChange("cancel", "Drop a batch's rows that were not worked, and withdraw its messages that have not left", func(ctx context.Context, c *client.Client, id string) ([]byte, *api.Batch, error) {
			r, err := c.CancelBatchWithResponse(ctx, id, nil)
			if err != nil {
				return nil, nil, err
			}
			return r.Body, r.JSON200, nil
		}))
	return cmd
}

func (a *app) batchChange(name, short string, change func(context.Context, *client.Client, string) ([]byte, *api.Batch, error)) *cobra.Command {
	return a.command(&cobra.Command{Use: name + " BATCH", Short: short, Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		raw, b, err := change(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		return a.showBatch(cmd.OutOrStdout(), raw, b)
	})
}

func (a *app) batchGetCommand() *cobra.Command {
	var watch bool
	cmd := a.command(&cobra.Command{Use: "get BATCH", Short: "Show how far a batch is", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		if watch {
			return a.followBatch(cmd, c, args[0])
		}
		got, err := c.GetBatchWithResponse(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.showBatch(cmd.OutOrStdout(), got.Body, got.JSON200)
	})
	cmd.Flags().BoolVar(&watch, "watch", false, "follow it until every row is worked")
	return cmd
}

// counts are how a batch's rows are told of, in the order in which they live.
func counts(c api.Counts) []struct {
	name string
	n    int64
} {
	return []struct {
		name string
		n    int64
	}{{"pending", c.Pending}, {"accepted", c.Accepted}, {"rejected", c.Rejected}, {"sent", c.Sent}, {"delivered", c.Delivered}, {"undelivered", c.Undelivered},
		{"failed", c.Failed}, {"expired", c.Expired}, {"canceled", c.Canceled}, {"unconfirmed", c.Unconfirmed}}
}

// tally is the counts that are not zero, in words.
func tally(c api.Counts) string {
	var words []string
	for _, one := range counts(c) {
		if one.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", one.n, one.name))
		}
	}
	return strings.Join(words, ", ")
}

func (a *app) showBatch(out io.Writer, raw []byte, b *api.Batch) error {
	if a.json() {
		return object(out, raw)
	}
	throttle := ""
	if b.ThrottlePerSecond != nil {
		throttle = fmt.Sprintf("%d/s", *b.ThrottlePerSecond)
	}
	return fields(out, "batch", b.ID.String(), "name", or(b.Name, ""), "status", string(b.Status), "rows", fmt.Sprint(b.Counts.Total), "", tally(b.Counts), "price", price(b.Price), "throttle", throttle,
		"created", a.at(&b.CreatedAt), "started", a.at(b.StartedAt), "completed", a.at(b.CompletedAt), "expected", a.at(b.Eta))
}

func (a *app) batchListCommand() *cobra.Command {
	var limit int
	cmd := a.command(&cobra.Command{Use: "list", Short: "List batches, newest first"}, func(cmd *cobra.Command, _ []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		return a.list(cmd, limit, "ID\tCREATED\tSTATUS\tROWS\tPENDING\tREJECTED\tDELIVERED\tNAME", func(size *int64, cursor *string) (body []byte, err error) {
			page, err := c.ListBatchesWithResponse(cmd.Context(), &api.ListBatchesParams{Limit: size, Cursor: cursor})
			if err == nil {
				body = page.Body
			}
			return body, err
		}, func(w io.Writer, raw []byte) error {
			var b api.Batch
			if err := json.Unmarshal(raw, &b); err != nil {
				return err
			}
			row(w, b.ID, a.at(&b.CreatedAt), b.Status, b.Counts.Total, b.Counts.Pending, b.Counts.Rejected, b.Counts.Delivered, clip(or(b.Name, ""), 40))
			return nil
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most")
	return cmd
}

func (a *app) batchRowsCommand() *cobra.Command {
	var limit int
	var statuses []string
	cmd := a.command(&cobra.Command{Use: "rows BATCH", Short: "List what became of a batch's rows", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		return a.list(cmd, limit, rowsHead, readRows(cmd.Context(), c, args[0], statuses), printRow)
	})
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most")
	cmd.Flags().StringSliceVar(&statuses, "status", nil, "rows in one of these statuses")
	return cmd
}

const rowsHead = "ROW\tTO\tSTATUS\tMESSAGE\tWHY"

func readRows(ctx context.Context, c *client.Client, id string, statuses []string) func(*int64, *string) ([]byte, error) {
	p := api.ListBatchRowsParams{}
	if len(statuses) > 0 {
		list := make([]api.ListBatchRowsParamsStatus, len(statuses))
		for i, s := range statuses {
			list[i] = api.ListBatchRowsParamsStatus(s)
		}
		p.Status = &list
	}
	return func(size *int64, cursor *string) ([]byte, error) {
		p.Limit, p.Cursor = size, cursor
		page, err := c.ListBatchRowsWithResponse(ctx, id, &p)
		if err != nil {
			return nil, err
		}
		return page.Body, nil
	}
}

func printRow(w io.Writer, raw []byte) error {
	var r api.BatchRow
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	id := ""
	if r.MessageID != nil {
		id = r.MessageID.String()
	}
	row(w, r.Row, or(r.To, ""), cmp.Or(or(r.Status, ""), "pending"), id, why(r.Error))
	return nil
}
