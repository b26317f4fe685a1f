package rest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

const (
	// maxImportedNumbers bounds the rows of a file: they are one transaction.
	maxImportedNumbers = 20_000
	// maxBadRows bounds how many faults of a file one answer names.
	maxBadRows = 200
)

type numberImport struct {
	_       struct{} `json:"-" additionalProperties:"true"`
	Rows    int      `json:"rows" doc:"That were read, without the header"`
	Created int      `json:"created" doc:"0 of a dry run"`
	DryRun  bool     `json:"dry_run"`
}

type numberImportInput struct {
	DryRun  bool `query:"dry_run" doc:"true: everything is checked and nothing is written"`
	RawBody []byte
}

// numberColumns are what a file may have.
func numberColumns() []string {
	doc := vendorconf.NewNumber()
	names := []string{"number"}
	for _, s := range vendorconf.Settings(&doc) {
		names = append(names, s.Name)
	}
	return names
}

func (s *Server) registerNumberImport(api huma.API, tags []string) {
	a := staff(snapshot.RoleOperator)
	a.bodies = []string{csvType}
	register(api, s.operation(huma.Operation{
		OperationID: "importNumbers", Method: http.MethodPost, Path: numbersPath + "/import", Tags: tags, Summary: "Give numbers to customers by a CSV file",
		Description: fmt.Sprintf("All or none, at most %d rows and 1 MiB. The first line names the columns: `number`, `account_id` and any of `%s`. "+
			"What is wrong is told by the line of the file, and nothing is written then. With `dry_run` nothing is written in any case.",
			maxImportedNumbers, strings.Join(numberColumns()[2:], "`, `")),
		DefaultStatus: http.StatusOK,
	}, a, 400, 409, 413, 415), s.importNumbers, &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{csvType: {Schema: &huma.Schema{Type: "string"}}}})
}

// numberFile is what was read of a file: the numbers with the lines they stand in.
type numberFile struct {
	numbers []snapshot.Number
	lines   []int
	wrong   []message.FieldError
}

func (f *numberFile) bad(line int, column, format string, args ...any) {
	if len(f.wrong) < maxBadRows {
		at := fmt.Sprintf("line %d", line)
		if column != "" {
			at += "." + column
		}
		f.wrong = append(f.wrong, message.FieldError{Location: at, Message: fmt.Sprintf(format, args...)})
	}
}

// refusal is what is wrong with the file, nil for nothing.
func (f *numberFile) refusal(reason message.Reason) error {
	if f.wrong == nil {
		return nil
	}
	return &message.Error{Reason: reason, Detail: fmt.Sprintf("nothing was written: %s %s", f.wrong[0].Location, f.wrong[0].Message), Fields: f.wrong}
}

// readNumbers reads a file. A row begins with the defaults of a number.
func readNumbers(file []byte) *numberFile {
	f := &numberFile{}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))))
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		f.bad(1, "", "must name the columns, such as number,account_id")
		return f
	}
	columns := f.columns(header)
	if f.wrong != nil {
		return f
	}
	seen := map[message.Address]int{}
	for {
		row, err := r.Read()
		var wrong *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return f
		case errors.As(err, &wrong):
			f.bad(wrong.Line, "", "is no CSV: %v", wrong.Err)
			if !errors.Is(err, csv.ErrFieldCount) {
				return f // what follows cannot be told apart
			}
			continue
		}
		line, _ := r.FieldPos(0)
		if len(f.lines) == maxImportedNumbers {
			f.bad(line, "", "is more than the %d rows of a file", maxImportedNumbers)
			return f
		}
		n := f.row(line, columns, row)
		if n.Number != "" && seen[n.Number] > 0 {
			f.bad(line, "number", "stands in line %d as well", seen[n.Number])
		}
		seen[n.Number] = line
		f.numbers, f.lines = append(f.numbers, n), append(f.lines, line)
	}
}

func (f *numberFile) columns(header []string) []string {
	known, columns := numberColumns(), make([]string, len(header))
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !contains(known, name):
			f.bad(1, clip(strings.ToValidUTF8(name, "?")), "there is no such column; there are %s", strings.Join(known, ", "))
		case contains(columns[:i], name):
			f.bad(1, name, "appears twice")
		}
		columns[i] = name
	}
	for _, name := range known[:2] {
		if !contains(columns, name) {
			f.bad(1, name, "is missing among the columns")
		}
	}
	return columns
}

// row reads one. An empty field leaves the default.
func (f *numberFile) row(line int, columns, row []string) snapshot.Number {
	doc, given := vendorconf.NewNumber(), ""
	var faults vendorconf.Faults
	for i, name := range columns {
		word := strings.TrimSpace(row[i])
		if name == "number" {
			given = word
			continue
		}
		for _, s := range vendorconf.Settings(&doc) {
			if s.Name == name && word != "" {
				if err := s.Set(strings.ToValidUTF8(word, "?")); err != nil {
					faults.Add(name, "%v", err)
				}
			}
		}
	}
	n := newNumber(given, doc, &faults)
	for _, fault := range faults {
		f.bad(line, fault.Location, "%s", fault.Message)
	}
	return n
}

func (s *Server) importNumbers(ctx context.Context, in *numberImportInput) (*output[numberImport], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	f := readNumbers(in.RawBody)
	if f.wrong == nil && len(f.numbers) == 0 {
		f.bad(2, "", "is missing: there is no row")
	}
	err := f.refusal(message.ReasonInvalidRequest)
	if err == nil {
		err = placedIn(s.Admin.Numbers.AddNumbers(ctx, x.actor(), f.numbers, in.DryRun), func(i int) string { return fmt.Sprintf("line %d.", f.lines[i]) })
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[numberImport]{Body: numberImport{Rows: len(f.numbers), Created: len(f.numbers), DryRun: in.DryRun}}
	if in.DryRun {
		out.Body.Created = 0
	}
	return out, nil
}

var inList = regexp.MustCompile(`^numbers\[([0-9]+)\]\.`)

// placedIn puts the place of a number in the request in front of the fields of a refusal
// that name it by its place in the list.
func placedIn(err error, place func(i int) string) error {
	var e *message.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return err
	}
	out := *e
	out.Fields = nil
	for _, f := range e.Fields[:min(len(e.Fields), maxBadRows)] {
		if m := inList.FindStringSubmatch(f.Location); m != nil {
			i, _ := strconv.Atoi(m[1]) // digits
			f.Location = place(i) + strings.TrimPrefix(f.Location, m[0])
		}
		out.Fields = append(out.Fields, f)
	}
	out.Detail = out.Fields[0].Location + ": " + out.Fields[0].Message
	return &out
}
