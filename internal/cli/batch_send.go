package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
)

// maxBatch is what a request may hold, in octets; the gateway has the same limit, and says
// so less clearly in the middle of an upload.
const maxBatch = 10 << 20

// batchFlags are the flags of a batch.
type batchFlags struct {
	format, sendAt string
	validity       time.Duration
	throttle       int64
}

const batchFiles = `FILE is a CSV with a header row (to, body, from, client_reference; every other column is a
variable, {{name}} in the text), or JSON: a list of rows, or the whole request as
POST /v1/messages/batch takes it. - reads standard input. Flags go before what the file says.`

func (a *app) batchSendCommand() *cobra.Command {
	var f batchFlags
	var detach bool
	var key string
	cmd := a.command(&cobra.Command{
		Use: "send FILE", Short: "Send the rows of a file, 1 to 10,000", Args: cobra.ExactArgs(1),
		Long: batchFiles + `

It is followed until every row has its message or its refusal: with a bar on a terminal, by
lines otherwise. Ctrl-C ends the watching; the batch goes on. Exit code 4 says that rows were
refused, or that the batch was canceled.`,
		Example: `  postrider batch send customers.csv --from +12025550143 --body "Hello {{first_name}}" --class bulk
  postrider batch send rows.json --throttle 20 --detach -o json`,
	}, func(cmd *cobra.Command, args []string) error {
		kind, body, err := a.batchOf(cmd, args[0], f)
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
		got, err := c.CreateBatchWithBodyWithResponse(cmd.Context(), &api.CreateBatchParams{IdempotencyKey: &key}, kind, bytes.NewReader(body))
		if err != nil {
			return doubtful(err, key)
		}
		if detach {
			return a.showBatch(cmd.OutOrStdout(), got.Body, got.JSON202)
		}
		return a.followBatch(cmd, c, got.JSON202.ID.String())
	})
	a.rowsFlags(cmd, &f)
	cmd.Flags().BoolVar(&detach, "detach", false, "return once the rows are stored")
	keyFlag(cmd, &key)
	return cmd
}

func (a *app) rowsFlags(cmd *cobra.Command, f *batchFlags) {
	flags := cmd.Flags()
	flags.String("name", "", "of the batch, for people")
	flags.String("body", "", "the text of rows without one; {{name}} stands for a column")
	flags.StringVar(&f.format, "format", "", "csv or json; without it: by the file's name or its first character")
	flags.Int64Var(&f.throttle, "throttle", 0, "messages a second at most; 0: the account's rate")
	messageFlags(cmd, &f.sendAt, &f.validity)
	complete(cmd, "format", "csv", "json")
}

// batchOf reads a file and makes the request of it and of the flags: its content type and
// its body.
func (a *app) batchOf(cmd *cobra.Command, path string, f batchFlags) (kind string, body []byte, err error) {
	file, err := openInput(cmd, path)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, maxBatch+1))
	if err != nil {
		return "", nil, err
	}
	if len(raw) > maxBatch {
		return "", nil, usage("%s has more than %d MiB; split it", path, maxBatch>>20)
	}
	options, err := a.batchOptions(cmd, f)
	if err != nil {
		return "", nil, err
	}
	format, err := formatOf(f.format, path, raw)
	if err != nil {
		return "", nil, err
	}
	if format == "json" {
		body, err = batchJSON(path, raw, options)
		return "application/json", body, err
	}
	return batchForm(raw, options)
}

func formatOf(given, path string, raw []byte) (string, error) {
	ext := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	first := bytes.TrimLeft(bytes.TrimPrefix(raw, []byte("\ufeff")), " \t\r\n")
	switch {
	case given == "csv", given == "json":
		return given, nil
	case given != "":
		return "", usage("--format must be csv or json, not %q", given)
	case len(first) == 0:
		return "", usage("%s is empty", path)
	case ext == "csv", ext == "json":
		return ext, nil
	case first[0] == '{', first[0] == '[':
		return "json", nil
	}
	return "csv", nil
}

// batchOptions are the members that flags give.
func (a *app) batchOptions(cmd *cobra.Command, f batchFlags) (map[string]any, error) {
	options := map[string]any{}
	flags := cmd.Flags()
	for flag, member := range map[string]string{
		"name": "name", "body": "body", "from": "from", "subject": "subject", "class": "message_class", "delivery": "delivery", "encoding": "encoding",
		"media-transcoding": "media_transcoding", "reference": "client_reference", "webhook-url": "webhook_url", "webhook-failover-url": "webhook_failover_url",
	} {
		if text := given(cmd, flag); text != nil {
			options[member] = *text
		}
	}
	if list, _ := flags.GetStringSlice("media-url"); len(list) > 0 {
		options["media_urls"] = list
	}
	if meta, _ := flags.GetStringToString("metadata"); len(meta) > 0 {
		options["metadata"] = meta
	}
	if flags.Changed("smart-encoding") {
		options["smart_encoding"], _ = flags.GetBool("smart-encoding")
	}
	if flags.Changed("throttle") {
		options["throttle_per_second"] = f.throttle
	}
	seconds, err := secondsOf(cmd, f.validity)
	if err != nil {
		return nil, err
	}
	if seconds != nil {
		options["validity_seconds"] = *seconds
	}
	at, err := a.time("--send-at", f.sendAt, 1)
	if err != nil {
		return nil, err
	}
	if at != nil {
		options["send_at"] = at.UTC().Format(time.RFC3339Nano)
	}
	return options, nil
}

// batchJSON puts the options over what a file of JSON says.
func batchJSON(path string, raw []byte, options map[string]any) ([]byte, error) {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\ufeff")))
	whole := map[string]json.RawMessage{}
	var err error
	if len(raw) > 0 && raw[0] == '[' {
		var rows []json.RawMessage
		err = json.Unmarshal(raw, &rows)
		whole["messages"] = raw
	} else {
		err = json.Unmarshal(raw, &whole)
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, usage("%s is not JSON in line %d: %w", path, 1+bytes.Count(raw[:min(int(syntax.Offset), len(raw))], []byte("\n")), err)
	case err != nil:
		return nil, usage("%s must be a list of rows, or an object with the member messages", path)
	}
	for name, v := range options {
		if whole[name], err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return json.Marshal(whole)
}

// batchForm makes the form of a CSV.
func batchForm(raw []byte, options map[string]any) (kind string, body []byte, err error) {
	var out bytes.Buffer
	form := multipart.NewWriter(&out)
	if len(options) > 0 {
		text, err := json.Marshal(options)
		if err != nil {
			return "", nil, err
		}
		if err := form.WriteField("options", string(text)); err != nil {
			return "", nil, err
		}
	}
	file, err := form.CreateFormFile("file", "rows.csv")
	if err == nil {
		_, err = file.Write(raw)
	}
	if err := errors.Join(err, form.Close()); err != nil {
		return "", nil, err
	}
	return form.FormDataContentType(), out.Bytes(), nil
}

// shownRefusals is how many refused rows are listed at the end of a batch.
const shownRefusals = 20

// followBatch shows how far a batch is until every row is worked, then what came of it.
func (a *app) followBatch(cmd *cobra.Command, c *client.Client, id string) error {
	ctx := cmd.Context()
	p := newProgress(cmd.ErrOrStderr(), a.location)
	for pause := lookFirst; ; pause = nextLook(pause) {
		got, err := c.GetBatchWithResponse(ctx, id)
		if err == nil {
			p.show(got.JSON200)
			if b := got.JSON200; b.CompletedAt != nil {
				p.end()
				return a.batchEnded(cmd, c, got.Body, b)
			}
			err = a.wait(ctx, pause)
		}
		if err != nil {
			p.end()
			fmt.Fprintf(cmd.ErrOrStderr(), "batch %s goes on: postrider batch get %s --watch\n", id, id)
			return err
		}
	}
}

func (a *app) batchEnded(cmd *cobra.Command, c *client.Client, raw []byte, b *api.Batch) error {
	if err := a.showBatch(cmd.OutOrStdout(), raw, b); err != nil {
		return err
	}
	id := b.ID.String()
	if b.Counts.Rejected > 0 && !a.json() {
		fmt.Fprintln(cmd.OutOrStdout())
		if err := a.list(cmd, shownRefusals, rowsHead, readRows(cmd.Context(), c, id, []string{"rejected"}), printRow); err != nil {
			return err
		}
	}
	switch {
	case b.Status == api.BatchStatusCanceled:
		return unwelcome("batch %s was canceled", id)
	case b.Counts.Rejected > 0:
		return unwelcome("%d of %d rows were refused; all of them: postrider batch rows %s --status rejected", b.Counts.Rejected, b.Counts.Total, id)
	}
	return nil
}

func (a *app) batchCheckCommand() *cobra.Command {
	var f batchFlags
	cmd := a.command(&cobra.Command{
		Use: "check FILE", Short: "Say what would become of a file's rows; nothing is stored or sent", Args: cobra.ExactArgs(1), Long: batchFiles,
	}, func(cmd *cobra.Command, args []string) error {
		kind, body, err := a.batchOf(cmd, args[0], f)
		if err != nil {
			return err
		}
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		got, err := c.CheckBatchWithBodyWithResponse(cmd.Context(), kind, bytes.NewReader(body))
		if err != nil {
			return err
		}
		return a.checked(cmd, got.Body, got.JSON200)
	})
	a.rowsFlags(cmd, &f)
	return cmd
}

func (a *app) checked(cmd *cobra.Command, raw []byte, k *api.Check) error {
	out := cmd.OutOrStdout()
	if a.json() {
		if err := object(out, raw); err != nil {
			return err
		}
	} else if err := a.showCheck(out, k); err != nil {
		return err
	}
	switch {
	case !k.Allowed && k.Error != nil:
		return unwelcome("it would be refused: %s", why(k.Error))
	case !k.Allowed:
		return unwelcome("it would be refused")
	case len(k.RowsRefused) > 0:
		return unwelcome("%d rows would be refused", len(k.RowsRefused))
	}
	return nil
}

func (a *app) showCheck(out io.Writer, k *api.Check) error {
	allowed := "yes"
	if !k.Allowed {
		allowed = "no"
	}
	if err := fields(out, "allowed", allowed, "parts", fmt.Sprint(k.Segments), "price", price(k.Price), "expected", a.at(k.Eta)); err != nil {
		return err
	}
	w := table(out, "\nLIMIT\tNUMBER\tUSED\tOF\tNEEDED\tFITS")
	for _, l := range k.Limits {
		row(w, fmt.Sprintf("%s a %s", l.Type, l.Period), or(l.Number, ""), l.Used, l.Limit, l.Needed, l.Fits)
	}
	if len(k.RowsRefused) > 0 {
		fmt.Fprintln(w, "\nROW\tCODE\tWHY")
		for _, r := range k.RowsRefused {
			row(w, r.Row, r.Code, or(r.Detail, ""))
		}
	}
	return w.Flush()
}
