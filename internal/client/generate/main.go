// Generate writes the Go clients of the HTTP API from its OpenAPI documents: go generate
// ./internal/client/... does, and TestClientsAreCurrent fails while they are not current.
//
// The generator is oapi-codegen, a tool of go.mod. The documents are of OpenAPI 3.1, and of
// 3.1 it makes a Go type of anyOf that holds raw JSON, also where null is the only other
// choice; so it is given a document of its own, in which (see prepared) a schema that may
// be null says so as 3.0 does, every refusal of an operation is its default answer, and two
// things have other names. Huma can write 3.0 itself; that keeps anyOf with a null schema,
// which 3.0 does not have, and the thousand answers that say the same.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// target is a package to write.
type target struct {
	folder   string   // below internal/client
	document string   // below edges/rest
	only     []string // the operations it holds; empty: all
}

var targets = []target{
	{folder: "api", document: "openapi.json"},
	{folder: "staffapi", document: "openapi_admin.json", only: []string{"issueStaffToken", "resolveMessage"}},
}

// written is the file of a package.
const written = "api.gen.go"

func main() {
	for _, t := range targets {
		code, err := t.generate("..", "../../../edges/rest")
		if err == nil {
			err = os.WriteFile(filepath.Join("..", t.folder, written), code, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "generate:", err)
			os.Exit(1)
		}
	}
}

// generate gives the package's code; the folders are those of the clients and of the documents.
func (t target) generate(clients, documents string) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(documents, t.document))
	if err != nil {
		return nil, err
	}
	doc, err := prepared(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.document, err)
	}
	dir, err := os.MkdirTemp("", "postrider-generate-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	in, out, config := filepath.Join(dir, "openapi.json"), filepath.Join(dir, written), filepath.Join(dir, "config.json")
	settings, err := json.Marshal(map[string]any{ // JSON is YAML
		"package": t.folder, "output": out,
		"generate":       map[string]any{"models": true, "client": true},
		"output-options": map[string]any{"include-operation-ids": t.only, "name-normalizer": "ToCamelCaseWithInitialisms"},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(in, doc, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, settings, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "tool", "oapi-codegen", "-config", config, in)
	cmd.Dir = clients
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("oapi-codegen of %s: %w\n%s", t.document, err, said)
	}
	return os.ReadFile(out)
}

// goNames are what has another name in Go: the generator names the values of
// Campaign.status like the schema CampaignStatus.
var goNames = map[string]string{"CampaignStatus": "CampaignProgress"}

// prepared is the document as the generator is given it.
func prepared(raw []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	doc["openapi"] = "3.0.3"
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for name, other := range goNames {
		if schema, ok := schemas[name].(map[string]any); ok {
			schema["x-go-name"] = other
		}
	}
	for _, item := range doc["paths"].(map[string]any) {
		for _, op := range item.(map[string]any) {
			if op, ok := op.(map[string]any); ok {
				foldRefusals(op)
			}
		}
	}
	return json.Marshal(lowered(doc))
}

// foldRefusals makes the refusals of an operation its default answer, since all of them
// are a Problem, and drops the headers of its answers, of which nothing is generated.
func foldRefusals(op map[string]any) {
	responses, _ := op["responses"].(map[string]any)
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		if !strings.HasPrefix(status, "2") {
			refused := responses[status]
			delete(responses, status)
			responses["default"] = refused
		}
	}
	for _, answer := range responses {
		delete(answer.(map[string]any), "headers")
	}
}

// lowered says what may be null as OpenAPI 3.0 does, in everything below v.
func lowered(v any) any {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			v[i] = lowered(e)
		}
	case map[string]any:
		for name, e := range v {
			v[name] = lowered(e)
		}
		if types, ok := v["type"].([]any); ok && slices.Contains(types, any("null")) && len(types) == 2 {
			types = slices.DeleteFunc(types, func(t any) bool { return t == "null" })
			v["type"], v["nullable"] = types[0], true
			if words, ok := v["enum"].([]any); ok {
				v["enum"] = slices.DeleteFunc(words, func(w any) bool { return w == nil }) // else there is a word "<nil>"
			}
		}
		if choice, ok := v["anyOf"].([]any); ok && len(choice) == 2 {
			if last, _ := choice[1].(map[string]any); last["type"] == "null" {
				delete(v, "anyOf")
				v["allOf"], v["nullable"] = choice[:1], true
			}
		}
		// Clients pass over what they do not know; generated, this would be a map and two
		// methods for each schema.
		if _, named := v["properties"]; named && v["additionalProperties"] == true {
			delete(v, "additionalProperties")
		}
		delete(v, "examples") // of 3.1
	}
	return v
}

// differ names the first line in which two texts differ.
func differ(was, is []byte) string {
	a, b := bytes.Split(was, []byte("\n")), bytes.Split(is, []byte("\n"))
	for i := range b {
		if i >= len(a) || !bytes.Equal(a[i], b[i]) {
			return fmt.Sprintf("line %d should be: %s", i+1, b[i])
		}
	}
	return fmt.Sprintf("it should end after line %d", len(b))
}
