package transcode

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/fuzztest"
)

// seeds are the small samples.
func seeds(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		f.Fatalf("%s: %v", pattern, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 20_000)])
		f.Add(slices.Concat(b[:min(len(b), 100)], b[len(b)-min(len(b), 100):]))
	}
}

// Whatever comes: one of the known types, by the first octets alone.
func FuzzSniff(f *testing.F) {
	seeds(f, "*.*")
	f.Fuzz(func(t *testing.T, b []byte) {
		var got format
		fuzztest.Within(t, 1<<20, func() { got = sniff(b[:min(len(b), headBytes)], "") })
		if got.kind != unknown && (got.contentType == "" || got.ext == "") {
			t.Errorf("%+v", got)
		}
		if bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("ffconcat version")) && got.kind != unknown {
			t.Errorf("a list of files is %+v", got)
		}
	})
}
