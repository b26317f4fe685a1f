package optout

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// Limits of a file.
const (
	MaxRows = 1_000_000 // after the header
	// maxLine is in octets: a row is one line, so that one that breaks the rules
	// spoils no other, and nothing longer is kept in memory.
	maxLine = 4096
	// batchRows is how many rows are written in one transaction: other writers of
	// opt-outs wait for it, some hundredths of a second.
	batchRows = 2000
	// maxBad is how many rows that were not taken are told one by one.
	maxBad = 1000
)

// Writer records opt-outs.
type Writer interface {
	// ImportOptOuts records a batch in one transaction and gives how many of it were
	// not in force before.
	ImportOptOuts(ctx context.Context, batch []message.OptOut) (int, error)
}

// Import is how a file is to be read.
type Import struct {
	Account message.ID
	Actor   string // who imports
	Now     time.Time
	// Check refuses an opt-out for what the file alone does not show; nil: nothing is.
	Check func(message.OptOut) error
}

// Result is what became of a file.
type Result struct {
	Rows    int // that were read, without header and empty lines
	Created int
	Already int // that were in force before, or stand in the file twice
	Invalid int // that were not taken
	Bad     []BadRow
}

// BadRow is a row that was not taken. Bad lists the first thousand.
type BadRow struct {
	Line  int // of the file, from 1
	Error string
}

// Columns are what an export has and an import understands. Of these an import needs
// recipient.
var Columns = []string{"recipient", "scope", "sender", "campaign_id", "keyword", "source", "reason", "created_at", "ended_at", "end_reason"}

// recipientNames are further names for the first column, as the lists of others have it.
var recipientNames = []string{"recipient", "to", "phone", "number"}

// Read takes opt-outs from CSV with a header row, batch by batch: what has been
// committed stays when it ends with an error, and the whole file may be given again.
// Errors are a *message.Error for the file, or those of w.
func (in Import) Read(ctx context.Context, r io.Reader, w Writer) (Result, error) {
	f := &file{in: in, out: w}
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, long, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return f.result, errors.Join(err, f.flush(ctx))
		}
		if f.number++; len(line) > 0 || long {
			if refusal := f.line(string(line), long); refusal != nil {
				return f.result, errors.Join(refusal, f.flush(ctx))
			}
		}
		if errors.Is(err, io.EOF) || len(f.batch) == batchRows {
			if err := f.flush(ctx); err != nil {
				return f.result, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if f.columns == nil {
		return f.result, message.Refuse(message.ReasonInvalidRequest, "the file is empty; its first line must name the columns, such as recipient,sender")
	}
	return f.result, nil
}

// readLine reads a line without its end. Of one that is too long it gives nothing and
// reads over it.
func readLine(r *bufio.Reader) (line []byte, long bool, err error) {
	line, err = r.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		line, long = nil, true
		_, err = r.ReadSlice('\n')
	}
	if long {
		line = nil
	}
	return bytes.TrimRight(line, "\r\n"), long, err
}

// file is one import under way.
type file struct {
	in      Import
	out     Writer
	number  int // of the line
	columns []string
	batch   []message.OptOut
	result  Result
}

// line reads one line. It refuses the file for its header or its length only.
func (f *file) line(line string, long bool) *message.Error {
	if f.columns == nil {
		return f.header(line, long)
	}
	if strings.TrimSpace(line) == "" && !long {
		return nil
	}
	if f.result.Rows == MaxRows {
		return message.Refuse(message.ReasonPayloadTooLarge, "the file has more than %d rows; those before line %d are imported", MaxRows, f.number)
	}
	f.result.Rows++
	o, err := f.row(line, long)
	if err == nil && f.in.Check != nil {
		err = f.in.Check(o)
	}
	if err != nil {
		f.bad(err)
		return nil
	}
	f.batch = append(f.batch, o)
	return nil
}

func (f *file) bad(err error) {
	f.result.Invalid++
	if len(f.result.Bad) < maxBad {
		why := err.Error()
		if e := (*message.Error)(nil); errors.As(err, &e) {
			why = e.Detail
		}
		f.result.Bad = append(f.result.Bad, BadRow{f.number, why})
	}
}

func (f *file) flush(ctx context.Context) error {
	if len(f.batch) == 0 {
		return nil
	}
	created, err := f.out.ImportOptOuts(ctx, f.batch)
	if err == nil {
		f.result.Created += created
		f.result.Already += len(f.batch) - created
	}
	f.batch = f.batch[:0]
	return err
}

func (f *file) header(line string, long bool) *message.Error {
	fields, err := fieldsOf(strings.TrimPrefix(line, "\ufeff"))
	if err != nil || long {
		return message.Refuse(message.ReasonInvalidRequest, "line 1 must name the columns, such as recipient,sender")
	}
	for i, name := range fields {
		name = strings.ToLower(strings.TrimSpace(name))
		if slices.Contains(recipientNames, name) {
			name = "recipient"
		}
		switch {
		case name != "" && !slices.Contains(Columns, name):
			return message.Refuse(message.ReasonInvalidRequest, "line 1: column %d is none of %s", i+1, strings.Join(Columns, ", "))
		case name != "" && slices.Contains(f.columns, name):
			return message.Refuse(message.ReasonInvalidRequest, "line 1: the column %s is there twice", name)
		}
		f.columns = append(f.columns, name)
	}
	if !slices.Contains(f.columns, "recipient") {
		return message.Refuse(message.ReasonInvalidRequest, "line 1 names no column recipient")
	}
	return nil
}

// fieldsOf cuts a line of CSV.
func fieldsOf(line string) ([]string, error) {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, ","), nil
	}
	r := csv.NewReader(strings.NewReader(line))
	return r.Read()
}

// row reads an opt-out.
func (f *file) row(line string, long bool) (message.OptOut, error) {
	var none message.OptOut
	switch {
	case long:
		return none, fmt.Errorf("the line has more than %d octets", maxLine)
	case !utf8.ValidString(line):
		return none, errors.New("the line is not UTF-8")
	}
	fields, err := fieldsOf(line)
	if err != nil {
		return none, errors.New("the quotes do not match; a row is one line")
	}
	if len(fields) > len(f.columns) {
		return none, fmt.Errorf("the line has %d fields, the header %d", len(fields), len(f.columns))
	}
	value := map[string]string{}
	for i, v := range fields {
		value[f.columns[i]] = strings.TrimSpace(v)
	}
	switch {
	case value["ended_at"] != "":
		return none, errors.New("it has ended_at: only what is in force is imported")
	case len(value[""]) > 0:
		return none, errors.New("it has a value in a column without a name")
	}
	o := message.OptOut{ID: message.NewID(), AccountID: f.in.Account, Keyword: value["keyword"], Reason: value["reason"], Source: message.OptOutByImport, Actor: f.in.Actor}
	if at := value["created_at"]; at != "" {
		if o.At, err = time.Parse(time.RFC3339, at); err != nil || o.At.After(f.in.Now) || o.At.Year() < 1990 {
			return none, errors.New("created_at must be a time that has passed, such as 2026-11-21T20:15:04Z")
		}
	}
	return o, Fill(&o, value["recipient"], value["scope"], value["sender"], value["campaign_id"])
}

// Fill reads what a person or program gives of an opt-out. Without a scope it is the
// number's if there is a sender, the campaign's if there is a campaign_id, else the
// account's. Errors are a *message.Error whose field is named as the parameter.
func Fill(o *message.OptOut, recipient, scope, sender, campaign string) error {
	var err error
	if o.Recipient, err = message.ParseRecipient(recipient); err != nil {
		return invalid("recipient", "must be an E.164 number with a leading + and country code, such as +13105550117, or a short code of 3 to 8 digits")
	}
	if sender != "" {
		if o.Sender, err = message.ParseSender(sender); err != nil {
			return invalid("sender", "must be an E.164 number with a leading +, a short code or an alphanumeric sender")
		}
	}
	o.CampaignID = campaign
	o.Scope = message.OptOutScope(scope)
	switch {
	case scope != "":
	case sender != "":
		o.Scope = message.OptOutNumber
	case campaign != "":
		o.Scope = message.OptOutCampaign
	default:
		o.Scope = message.OptOutAccount
	}
	return check(o)
}

func check(o *message.OptOut) error {
	switch o.Scope {
	case message.OptOutNumber, message.OptOutCampaign, message.OptOutAccount:
	default:
		return invalid("scope", "must be number, campaign or account")
	}
	switch {
	case o.Scope == message.OptOutNumber && o.Sender == "":
		return invalid("sender", "is required: which sender the recipient has stopped")
	case o.Scope != message.OptOutNumber && o.Sender != "":
		return invalid("sender", "must be left out: the scope is %s", o.Scope)
	case o.Scope == message.OptOutCampaign && o.CampaignID == "":
		return invalid("campaign_id", "is required: which campaign the recipient has stopped")
	case o.Scope != message.OptOutCampaign && o.CampaignID != "":
		return invalid("campaign_id", "must be left out: the scope is %s", o.Scope)
	}
	for _, t := range []struct {
		name, value string
		most        int
	}{{"campaign_id", o.CampaignID, 64}, {"keyword", o.Keyword, message.MaxOptOutKeyword}, {"reason", o.Reason, message.MaxOptOutReason}} {
		if err := Text(t.name, t.value, t.most); err != nil {
			return err
		}
	}
	return nil
}

// Text checks a line of text that stands in an opt-out.
func Text(name, value string, most int) error {
	if utf8.RuneCountInString(value) > most {
		return invalid(name, "must have at most %d characters", most)
	}
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return invalid(name, "must be one line of text without control characters")
	}
	return nil
}

func invalid(field, format string, args ...any) error {
	e := message.Refuse(message.ReasonInvalidRequest, format, args...)
	e.Fields = []message.FieldError{{Location: field, Message: e.Detail}}
	e.Detail = field + ": " + e.Detail
	return e
}

// Reader lists opt-outs.
type Reader interface {
	// OptOuts lists opt-outs of an account, newest first, older than before.
	OptOuts(ctx context.Context, account message.ID, f message.OptOutFilter, before message.ID, limit int) ([]message.OptOut, error)
}

// exportPage is how many rows are read at a time. No connection to the database is held
// while they are written to whoever reads slowly.
const exportPage = 1000

// Export writes an account's opt-outs that pass the filter as CSV, newest first. more is
// called before each page; nil: nothing is.
func Export(ctx context.Context, r Reader, account message.ID, f message.OptOutFilter, w io.Writer, more func()) error {
	out := csv.NewWriter(w)
	if err := out.Write(Columns); err != nil {
		return err
	}
	var before message.ID
	for {
		if more != nil {
			more()
		}
		page, err := r.OptOuts(ctx, account, f, before, exportPage)
		if err != nil {
			return err
		}
		for _, o := range page {
			if err := out.Write([]string{string(o.Recipient), string(o.Scope), string(o.Sender), o.CampaignID, oneLine(o.Keyword), string(o.Source), oneLine(o.Reason),
				stamp(o.At), stamp(o.Ended.At), oneLine(o.Ended.Reason)}); err != nil {
				return err
			}
		}
		if out.Flush(); out.Error() != nil || len(page) < exportPage {
			return out.Error()
		}
		before = page[len(page)-1].ID
	}
}

// oneLine keeps a row on its line, and free text from being a formula to whoever opens
// the file in a spreadsheet: such a text begins with an apostrophe.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
