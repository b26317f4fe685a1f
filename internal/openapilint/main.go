// Command openapilint holds OpenAPI documents against the rules of rules.yaml. It is
// part of `make verify`.
//
//	go run . FILE...
//
// It prints each finding with its line and fails if there is one, of whatever severity:
// a finding is mended, or excused in rules.yaml with the reason.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"

	engine "github.com/speakeasy-api/openapi/linter"
	"github.com/speakeasy-api/openapi/openapi"
	"github.com/speakeasy-api/openapi/openapi/linter"
)

//go:embed rules.yaml
var rules []byte

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: openapilint FILE...")
		os.Exit(2)
	}
	failed := false
	for _, path := range os.Args[1:] {
		document, err := os.ReadFile(path)
		if err == nil {
			err = lint(path, document)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// lint is what is wrong with a document; nil if nothing is.
func lint(path string, document []byte) error {
	ctx := context.Background()
	config, err := engine.LoadConfig(bytes.NewReader(rules))
	if err != nil {
		return fmt.Errorf("rules.yaml: %w", err)
	}
	l, err := linter.NewLinter(config)
	if err != nil {
		return fmt.Errorf("rules.yaml: %w", err)
	}
	doc, invalid, err := openapi.Unmarshal(ctx, bytes.NewReader(document))
	if err != nil {
		return err
	}
	found, err := l.Lint(ctx, engine.NewDocumentInfo(doc, path), invalid, nil)
	if err != nil {
		return err
	}
	if len(found.Results) > 0 {
		return errors.New("\n" + found.FormatText())
	}
	return nil
}
