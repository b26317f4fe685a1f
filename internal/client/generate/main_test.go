package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The clients are those of the documents: who changes the API generates them anew.
func TestClientsAreCurrent(t *testing.T) {
	for _, target := range targets {
		t.Run(target.folder, func(t *testing.T) {
			code, err := target.generate("..", "../../../edges/rest")
			if err != nil {
				t.Fatal(err)
			}
			stored, err := os.ReadFile(filepath.Join("..", target.folder, written))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(stored, code) {
				t.Errorf("internal/client/%s/%s is not of today's document; run: go generate ./internal/client/...\n%s", target.folder, written, differ(stored, code))
			}
		})
	}
}

func TestPrepared(t *testing.T) {
	got, err := prepared([]byte(`{"openapi":"3.1.0","components":{"schemas":{"A":{"type":"object","additionalProperties":true,"properties":{
		"s":{"type":["string","null"],"examples":["x"],"enum":["x",null]},"r":{"anyOf":[{"$ref":"#/components/schemas/B"},{"type":"null"}]},
		"c":{"anyOf":[{"$ref":"#/components/schemas/B"},{"type":"string"}]},"m":{"type":"object","additionalProperties":true}}}}},
		"paths":{"/a":{"summary":"x","get":{"responses":{"200":{"headers":{"h":{}}},"404":{"description":"no"},"422":{"description":"no"}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	var want, is any
	if err := json.Unmarshal([]byte(`{"openapi":"3.0.3","components":{"schemas":{"A":{"type":"object","properties":{
		"s":{"type":"string","nullable":true,"enum":["x"]},"r":{"allOf":[{"$ref":"#/components/schemas/B"}],"nullable":true},
		"c":{"anyOf":[{"$ref":"#/components/schemas/B"},{"type":"string"}]},"m":{"type":"object","additionalProperties":true}}}}},
		"paths":{"/a":{"summary":"x","get":{"responses":{"200":{},"default":{"description":"no"}}}}}}`), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &is); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(is)
	if !bytes.Equal(a, b) {
		t.Errorf("%s\nwant %s", b, a)
	}
}

func TestDiffer(t *testing.T) {
	if s := differ([]byte("a\nb"), []byte("a\nc")); !strings.Contains(s, "line 2") || !strings.HasSuffix(s, "c") {
		t.Error(s)
	}
	if s := differ([]byte("a\nb"), []byte("a")); !strings.Contains(s, "after line 1") {
		t.Error(s)
	}
}
