package rest

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/message"
)

const (
	// exportPage is how many rows are read at a time. No connection to the database is held
	// while they go out, and no more of a list is in memory.
	exportPage = 500
	// exportLook is how long an export looks for messages at a time, so that it holds no read
	// of the database for long.
	exportLook = time.Second
	// exportTime is how long an export may take. A longer one is asked for in ranges.
	exportTime = time.Hour
	// exportsPerMinute is how many exports an account, or a member of staff, may begin:
	// each may read all that there is.
	exportsPerMinute = 6
)

// exported is a list that goes out as CSV.
type exported[T any] struct {
	name    string // of the file, without its ending
	columns []string
	// page reads at most exportPage rows behind the last one, nil if there was none, and says
	// whether there may be more.
	page func(ctx context.Context, last *T) (rows []T, more bool, err error)
	row  func(T) []string
}

// export writes a list page by page as it is read (RFC 4180, UTF-8). What cannot be read
// before anything is out is refused; later the connection is cut, which is the one way to
// tell the client that the file is not whole.
func export[T any](ctx context.Context, s *Server, who message.ID, e exported[T]) (*huma.StreamResponse, error) {
	x := exchangeOf(ctx)
	if r := s.Limiter.Take("export "+who.String(), exportsPerMinute, time.Minute, s.now()); !r.OK {
		return nil, s.problem(x, &limited{message.Refuse(message.ReasonRateLimitExceeded, "more than %d exports in a minute", exportsPerMinute), r.Reset}, 0)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		ctx, cancel := context.WithTimeout(ctx, exportTime)
		defer cancel()
		_, w := humachi.Unwrap(hctx)
		err := e.write(ctx, s, x, w)
		switch {
		case err == nil:
		case x.status == 0:
			w.Header().Del("Content-Disposition")
			x.refuse(s.problem(x, err, 0))
		default:
			s.log.Warn("an export broke off", "request_id", x.requestID, "operation", x.operation, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

func (e exported[T]) write(ctx context.Context, s *Server, x *exchange, w http.ResponseWriter) error {
	control := http.NewResponseController(x)
	out := sheet{to: w}
	var last *T
	begun := false
	for {
		_ = control.SetWriteDeadline(time.Now().Add(fileTime)) // where it cannot be set there is none
		rows, more, err := e.read(ctx, s, last)
		if err != nil {
			return err
		}
		if !begun {
			begun = true
			w.Header().Set("Content-Type", csvType+"; charset=utf-8")
			w.Header().Set("Content-Disposition", `attachment; filename="`+e.name+`.csv"`)
			if err := out.write(e.columns); err != nil {
				return err
			}
		}
		for _, r := range rows {
			if err := out.write(e.row(r)); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		if len(rows) > 0 {
			last = &rows[len(rows)-1]
		}
	}
}

func (e exported[T]) read(ctx context.Context, s *Server, last *T) ([]T, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	return e.page(ctx, last)
}

// exportedPage says of a page of a list that ends with the first page that is not full
// whether there may be more.
func exportedPage[T any](rows []T, err error) ([]T, bool, error) {
	return rows, len(rows) == exportPage, err
}

// sheet writes rows of CSV. They end in CRLF, as RFC 4180 has it; line ends within a text
// stay what they are, which the standard library's own setting would change.
type sheet struct {
	to  io.Writer
	row bytes.Buffer
}

func (s *sheet) write(cells []string) error {
	s.row.Reset()
	w := csv.NewWriter(&s.row)
	if err := w.Write(cells); err != nil {
		return err
	}
	w.Flush()
	s.row.Truncate(s.row.Len() - 1)
	s.row.WriteString("\r\n")
	_, err := s.to.Write(s.row.Bytes())
	return err
}

// freeText is a cell with what somebody has written: spreadsheets take what begins with one
// of these characters for a formula, unless there is an apostrophe before it. Numbers begin
// with + too and stay as they are: they have digits alone, so the formula is the number.
func freeText(s *string) string {
	if s == nil {
		return ""
	}
	if *s != "" && strings.ContainsRune("=+-@\t\r\n", rune((*s)[0])) {
		return "'" + *s
	}
	return *s
}

// cell is a cell with words, numbers and times of ours.
func cell(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

var messageColumns = []string{"id", "direction", "type", "status", "from", "requested_from", "to", "body", "subject", "encoding", "segments",
	"price_amount", "price_currency", "price_estimated", "message_class", "delivery", "campaign_id", "batch_id", "group_id", "retry_of",
	"client_reference", "metadata", "error_code", "error_detail", "receipt_stat", "receipt_err", "receipt_at", "possible_duplicate",
	"send_at", "expires_at", "created_at", "submitted_at", "delivered_at", "updated_at"}

func messageRow(r messageResource) []string {
	var amount, currency, estimated, code, detail, stat, networkCode, at, metadata string
	if p := r.Price; p != nil {
		amount, currency, estimated = p.Amount, p.Currency, strconv.FormatBool(p.Estimated)
	}
	if e := r.Error; e != nil {
		code, detail = e.Code, freeText(&e.Detail)
	}
	if c := r.Receipt; c != nil {
		stat, networkCode, at = freeText(&c.Stat), freeText(&c.Err), cell(c.At)
	}
	if len(r.Metadata) > 0 {
		if b, err := encode(r.Metadata); err == nil { // strings: it cannot fail; it begins with {
			metadata = string(b)
		}
	}
	return []string{r.ID, r.Direction, r.Type, r.Status, cell(r.From), cell(r.RequestedFrom), cell(r.To), freeText(r.Body), freeText(r.Subject), cell(r.Encoding), strconv.Itoa(r.Segments),
		amount, currency, estimated, r.MessageClass, r.Delivery, freeText(r.CampaignID), cell(r.BatchID), cell(r.GroupID), cell(r.RetryOf),
		freeText(r.ClientReference), metadata, code, detail, stat, networkCode, at, strconv.FormatBool(r.PossibleDuplicate),
		cell(r.SendAt), cell(r.ExpiresAt), r.CreatedAt, cell(r.SubmittedAt), cell(r.DeliveredAt), r.UpdatedAt}
}

type exportMessagesInput struct{ MessageFilters }

func (s *Server) exportMessages(ctx context.Context, in *exportMessagesInput) (*huma.StreamResponse, error) {
	x := exchangeOf(ctx)
	account := x.caller.account.ID
	filter, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	var before message.ID // where the search goes on
	return export(ctx, s, account, exported[*message.Message]{name: "messages", columns: messageColumns,
		// Few of them may fit: how far was looked is not where the last one was found.
		page: func(ctx context.Context, _ **message.Message) ([]*message.Message, bool, error) {
			found, err := s.Journal.SearchMessages(ctx, account, message.Search{Filter: filter, Before: before, Limit: exportPage, Left: s.within(exportLook)})
			before = found.Next
			return found.Messages, before != (message.ID{}), err
		},
		row: func(m *message.Message) []string { return messageRow(s.resourceOf(m)) },
	})
}

var receivedColumns = []string{"message_id", "from", "to", "body", "received_at", "type", "segments", "complete", "keyword", "tag", "group", "subject", "media_urls",
	"delivery_method", "delivery_state", "delivery_attempts", "delivery_last_error"}

func receivedRow(r receivedResource) []string {
	var files []string
	for _, f := range r.Media {
		files = append(files, f.URL)
	}
	return []string{r.MessageID, r.From, r.To, freeText(r.Body), r.ReceivedAt, r.Type, strconv.Itoa(r.Segments), strconv.FormatBool(r.Complete), freeText(r.Keyword), freeText(r.Tag), freeText(r.Group),
		freeText(r.Subject), strings.Join(files, " "), cell(r.Delivery.Method), r.Delivery.State, strconv.Itoa(r.Delivery.Attempts), freeText(r.Delivery.LastError)}
}

type exportReceivedInput struct{ ReceivedFilters }

func (s *Server) exportReceived(ctx context.Context, in *exportReceivedInput) (*huma.StreamResponse, error) {
	_, cancel, x, err := s.beginInbound(ctx)
	cancel()
	if err != nil {
		return nil, err
	}
	account := x.caller.account.ID
	filter, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	return export(ctx, s, account, exported[message.ReceivedState]{name: "inbound-messages", columns: receivedColumns,
		page: func(ctx context.Context, last *message.ReceivedState) ([]message.ReceivedState, bool, error) {
			var behind message.ID
			if last != nil {
				behind = last.ID
			}
			return exportedPage(s.Inbound.ReceivedMessages(ctx, account, filter, behind, exportPage))
		},
		row: func(m message.ReceivedState) []string { return receivedRow(s.receivedOf(m)) },
	})
}

var entryColumns = []string{"id", "kind", "amount", "currency", "balance_after", "message_id", "reason", "reference", "created_at"}

func (s *Server) exportBalanceEntries(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	account := exchangeOf(ctx).caller.account.ID
	return export(ctx, s, account, exported[message.BalanceEntry]{name: "balance-entries", columns: entryColumns,
		page: func(ctx context.Context, last *message.BalanceEntry) ([]message.BalanceEntry, bool, error) {
			before := int64(0)
			if last != nil {
				before = last.Sequence
			}
			return exportedPage(s.Journal.BalanceEntries(ctx, account, before, exportPage))
		},
		row: func(e message.BalanceEntry) []string {
			return []string{e.ID.String(), string(e.Kind), e.Amount.String(), e.Currency, e.After.String(), cell(optionalID(e.MessageID)), freeText(&e.Reason), freeText(&e.Reference), stamp(e.At)}
		},
	})
}

// registerExport adds the CSV of a list: the path of the list with /export behind it.
func registerExport[I any](api huma.API, s *Server, of huma.Operation, a access, columns []string, h func(context.Context, *I) (*huma.StreamResponse, error)) {
	a.answers = csvType
	of.Method, of.Path = http.MethodGet, of.Path+"/export"
	of.Description += " An answer that breaks off is not whole: ask again. Texts that begin with `=`, `+`, `-` or `@` have an apostrophe before them, for spreadsheets; numbers stay as they are."
	of.Responses = map[string]*huma.Response{"200": {Description: "Columns: " + strings.Join(columns, ", "), Content: map[string]*huma.MediaType{csvType: {Schema: &huma.Schema{Type: "string"}}}}}
	register(api, s.operation(of, a), h, nil)
}

func (s *Server) registerExports(api huma.API) {
	registerExport(api, s, huma.Operation{OperationID: "exportMessages", Path: messagesPath, Tags: []string{"Messages"}, Summary: "Export messages as CSV",
		Description: "Newest first, with the filters of the list, as many as there are.",
		Extensions:  example(`curl -sS '` + exampleHost + `/v1/messages/export?created_after=2026-11-01T00:00:00Z' -u "$API_KEY:$API_SECRET" -o messages.csv`),
	}, access{scope: scopeMessagesRead, rate: asRequest}, messageColumns, s.exportMessages)
	registerExport(api, s, huma.Operation{OperationID: "exportInboundMessages", Path: "/v1/inbound-messages", Tags: []string{"Inbound"}, Summary: "Export inbound messages as CSV",
		Description: "Oldest first, with the filters of the list, as many as there are.",
		Extensions:  example(`curl -sS '` + exampleHost + `/v1/inbound-messages/export?after=2026-11-01T00:00:00Z' -u "$API_KEY:$API_SECRET" -o inbound.csv`),
	}, access{scope: scopeMessagesRead, rate: asRequest}, receivedColumns, s.exportReceived)
	registerExport(api, s, huma.Operation{OperationID: "exportBalanceEntries", Path: "/v1/balance/entries", Tags: []string{"Usage"}, Summary: "Export the entries of the balance as CSV",
		Description: "Newest first, all of them.",
		Extensions:  example(`curl -sS ` + exampleHost + `/v1/balance/entries/export -u "$API_KEY:$API_SECRET" -o entries.csv`),
	}, access{scope: scopeUsageRead, rate: asRequest}, entryColumns, s.exportBalanceEntries)
}
