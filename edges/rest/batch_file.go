package rest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// fileField is the location of what is wrong with a file as a whole.
const fileField = "file"

// maxColumns bounds a file's header.
const maxColumns = 64

// readForm reads a form: a file of rows, and the options of all of them as JSON, in any
// order.
func (in *batchBody) readForm(body io.Reader, boundary string) (*decoder, error) {
	if boundary == "" {
		return nil, message.Refuse(message.ReasonInvalidRequest, "Content-Type is %s without a boundary", multipartType)
	}
	form := multipart.NewReader(body, boundary)
	in.filed = true
	d, options := &decoder{}, []byte(nil)
	print := sha256.New()
	file := false
	table := batchTable{batch: in}
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, formError(err)
		}
		switch name := part.FormName(); {
		case name == "file" && !file:
			file = true
			sum := sha256.New()
			if err := table.read(io.TeeReader(part, sum)); err != nil {
				return nil, formError(err)
			}
			_, _ = print.Write(sum.Sum(nil)) // a hash takes everything
		case name == "options" && options == nil:
			if options, err = io.ReadAll(io.LimitReader(part, maxBatchField+1)); err != nil {
				return nil, formError(err)
			}
			if len(options) > maxBatchField {
				return nil, message.Refuse(message.ReasonPayloadTooLarge, "options are larger than %d octets", maxBatchField)
			}
		default:
			return nil, message.Refuse(message.ReasonInvalidRequest, "the form has a field %q that does not belong there, or twice; send file and options, each once", clip(name))
		}
	}
	_, _ = print.Write(options)
	sum := print.Sum(nil)
	if options != nil {
		var err error
		if d, err = decodeObject(options, in.option); err != nil {
			in.print = sum
			return d, err
		}
	}
	if !file {
		d.invalid(fileField, "is required: a CSV with a header row, in a form field named file")
	}
	table.settle(d)
	in.print = sum
	return d, nil
}

func formError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return message.Refuse(message.ReasonPayloadTooLarge, "the form is larger than %d octets", maxBatch)
	}
	var refused *message.Error
	if errors.As(err, &refused) {
		return err
	}
	return message.Because(message.ReasonInvalidRequest, err, "the form could not be read to its end")
}

// The columns that mean something; the names of each are alike. Every other one is a
// variable.
var batchColumns = map[string]string{
	"to": "to", "phone": "to", "number": "to", "destination": "to",
	"body": "body", "text": "body", "message": "body",
	"from": "from", "client_reference": "client_reference",
}

// batchTable reads a CSV (RFC 4180) with a header row: UTF-8, with or without a byte order
// mark, its fields apart by commas or, as spreadsheets of some countries have it, by
// semicolons; the header says which.
type batchTable struct {
	batch  *batchBody
	fields []string // what a column means: a field, or empty for a variable
	names  []string // of the columns, as given
	lines  []int    // on which the rows begin
	faults faults   // found while reading
	header bool
}

// read reads the rows. What is wrong with them is in faults; an error is one of reading.
func (t *batchTable) read(from io.Reader) error {
	in := bufio.NewReaderSize(from, 16<<10)
	begin, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.HasPrefix(begin, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3) // it was peeked at
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")):
		t.faults.invalid(fileField, "is UTF-16; save it as CSV in UTF-8")
	}
	r := csv.NewReader(in)
	r.Comma, err = separator(in)
	if err != nil {
		return err
	}
	r.ReuseRecord = true
	for {
		record, err := r.Read()
		var syntax *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &syntax) && errors.Is(err, csv.ErrFieldCount):
			t.faults.invalid(fmt.Sprintf("%s.rows[%d]", fileField, len(t.batch.rows)), "line %d has %d fields, the header has %d", syntax.StartLine, len(record), len(t.names))
		case errors.As(err, &syntax):
			t.faults.invalid(fileField, "line %d, octet %d: %s", syntax.Line, syntax.Column, quoting(syntax.Err))
			_, err = io.Copy(io.Discard, in)
			return err
		case err != nil:
			return err
		}
		line, _ := r.FieldPos(0)
		if !t.header {
			t.header = true
			t.head(record)
			continue
		}
		if len(t.faults.list) == maxFaults || len(t.batch.rows) == message.MaxBatchRows {
			if len(t.faults.list) < maxFaults {
				t.faults.invalid(fileField, "has more than %d rows", message.MaxBatchRows)
			}
			_, err := io.Copy(io.Discard, in)
			return err
		}
		t.row(record, line)
	}
}

func quoting(err error) string {
	switch {
	case errors.Is(err, csv.ErrBareQuote):
		return `a quote stands in a field that does not begin with one; put the field in quotes and double those in it`
	case errors.Is(err, csv.ErrQuote):
		return `a quote in a quoted field is not doubled, or the last one is missing`
	}
	return "it is no CSV"
}

// separator is what the fields of the header are apart by: the first comma or semicolon
// that stands outside quotes.
func separator(in *bufio.Reader) (rune, error) {
	line, err := in.Peek(in.Size())
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return 0, err
	}
	quoted := false
	for _, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';':
			return ';', nil
		case c == ',', c == '\n':
			return ',', nil
		}
	}
	return ',', nil
}

// head reads the header.
func (t *batchTable) head(record []string) {
	if len(record) > maxColumns {
		t.faults.invalid(fileField, "has %d columns; at most %d are allowed", len(record), maxColumns)
	}
	seen := map[string]bool{}
	for i, name := range record {
		name = strings.TrimSpace(strings.Clone(name))
		means := batchColumns[strings.ToLower(name)]
		at := fmt.Sprintf("%s.header[%d]", fileField, i)
		key := "variable " + name
		if means != "" {
			key = means
		}
		switch c, place := control(name, oneLine); {
		case name == "":
			t.faults.invalid(at, "is empty; each column has a name")
		case !utf8.ValidString(name):
			t.faults.invalid(at, "is not valid UTF-8; save the file as UTF-8")
		case place >= 0:
			t.faults.invalid(at, "has the control character U+%04X", c)
		case strings.ContainsAny(name, "{}"):
			t.faults.invalid(at, "has a brace, which the name of a variable cannot have")
		case utf8.RuneCountInString(name) > message.MaxVariableName:
			t.faults.invalid(at, "must have at most %d characters", message.MaxVariableName)
		case seen[key]:
			t.faults.invalid(at, "%s means the same as an earlier column", clip(name))
		}
		seen[key] = true
		t.fields, t.names = append(t.fields, means), append(t.names, name)
	}
	if !seen["to"] {
		t.faults.invalid(fileField, "has no column for the recipient: call one to, phone, number or destination")
	}
	variables := 0
	for _, f := range t.fields {
		if f == "" {
			variables++
		}
	}
	if variables > message.MaxVariables {
		t.faults.invalid(fileField, "has %d columns of variables; at most %d are allowed", variables, message.MaxVariables)
	}
}

// row reads a row.
func (t *batchTable) row(record []string, line int) {
	n := len(t.batch.rows)
	var row message.BatchContent
	for i, v := range record {
		if i >= len(t.fields) {
			break
		}
		at := func() string { return t.at(n, t.names[i]) }
		allow := oneLine
		if t.fields[i] == "" || t.fields[i] == "body" {
			allow = lines
		}
		if !utf8.ValidString(v) {
			t.faults.invalid(at(), "line %d: is not valid UTF-8; save the file as UTF-8", line)
			continue
		}
		if c, place := control(v, allow); place >= 0 {
			t.faults.invalid(at(), "line %d: has the control character U+%04X as character %d; remove it", line, c, place+1)
			continue
		}
		switch t.fields[i] {
		case "to":
			row.To = strings.TrimSpace(v)
		case "body":
			row.Body = v
		case "from":
			row.From = strings.TrimSpace(v)
		case "client_reference":
			row.ClientReference = strings.TrimSpace(v)
		default:
			if len(v) > maxVariable && utf8.RuneCountInString(v) > maxVariable {
				t.faults.invalid(at(), "line %d: must have at most %d characters", line, maxVariable)
			}
			if row.Variables == nil {
				row.Variables = make(map[string]string, len(t.fields))
			}
			row.Variables[t.names[i]] = v
		}
	}
	t.batch.rows, t.lines = append(t.batch.rows, row), append(t.lines, line)
}

func (t *batchTable) at(row int, column string) string {
	return fmt.Sprintf("%s.rows[%d].%s", fileField, row, clip(column))
}

// column is how the file calls a field.
func (t *batchTable) column(field string) string {
	for i, f := range t.fields {
		if f == field {
			return t.names[i]
		}
	}
	return field
}

// settle adds what was found to the faults of the options, and checks the rows, which need
// them.
func (t *batchTable) settle(d *decoder) {
	for _, f := range t.faults.list {
		d.invalid(f.Location, "%s", f.Message)
	}
	if t.header && len(t.batch.rows) == 0 && len(t.faults.list) == 0 {
		d.invalid(fileField, "has a header and no row")
	}
	if !t.header && len(t.batch.rows) == 0 && len(d.list) == 0 {
		d.invalid(fileField, "is empty; it needs a header row")
	}
	for i := range t.batch.rows {
		if len(d.list) == maxFaults {
			return
		}
		before := len(d.list)
		t.batch.checkRow(d, &t.batch.rows[i], func(field string) string { return t.at(i, t.column(field)) })
		for n := before; n < len(d.list); n++ {
			d.list[n].Message = fmt.Sprintf("line %d: %s", t.lines[i], d.list[n].Message)
		}
	}
}
