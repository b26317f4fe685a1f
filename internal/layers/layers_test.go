// Package layers holds no code: its tests keep the import arrows of the whole
// module pointing downwards, as the architecture draws them.
package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/postrider/postrider"

// levels gives each package, by the longest prefix that is listed, its floor. A
// package imports lower floors only; what may be imported from the same floor
// is in neighbours. The free ones (wiring, tools, tests of the whole) import
// what they like, and nobody on a floor imports them.
var free = []string{"cmd/", "internal/stack", "internal/bench", "internal/chaos", "internal/e2e", "internal/pages", "internal/layers", "internal/client/generate"}

var levels = map[string]int{
	"internal/message":         0,
	"internal/secret":          0,
	"internal/email":           0,
	"internal/fuzztest":        0,
	"internal/telemetry":       0,
	"internal/mediaprofile":    0,
	"internal/client/api":      0,
	"internal/client/staffapi": 0,
	"internal/text":            1,
	"internal/registry":        1,
	"internal/content":         1,
	"internal/quiet":           1,
	"internal/snapshot":        1,
	"internal/limit":           1,
	"internal/origin":          1,
	"internal/pace":            1,
	"internal/optout":          1,
	"internal/webhook":         1,
	"internal/media":           1,
	"internal/mm4":             1,
	"internal/client":          1,
	"internal/cli":             3,
	"migrations":               1,
	"internal/door":            2,
	"internal/mm4out":          2,
	"internal/smpp":            2,
	"internal/policy":          2,
	"internal/notification":    2,
	"internal/health":          2,
	"internal/fetch":           2,
	"internal/smtpout":         1,
	"internal/postgres":        2,
	"activities":               3,
	"edges/vendors":            3,
	"internal/vendorconf":      3,
	"workflows":                5,
	"edges/ingress":            6,
	"edges/rest":               7,
	"edges/console/gate":       8,
	"edges/console/site":       9,
	"edges/console/account":    10,
	"edges/console/office":     11,
	"edges/console/own":        11,
	"edges/mm4":                7,
	"edges/mm4/desk":           8,
	"edges/mm4/postman":        8,
	"edges/smpp":               7,
	"workers":                  7,
	"internal/twilio":          1,
	"edges/compat":             8,
	"edges/console/page":       1,
	"edges/console/call":       1,
	"edges/console/story":      2,
	"edges/console/temporal":   2,
}

var neighbours = map[string]bool{"internal/content": true, "internal/quiet": true, "activities": true, "activities/route": true, "activities/record": true, "activities/transcode": true, "edges/vendors": true, "edges/vendors/httpvendor": true}

func TestImportsPointDownwards(t *testing.T) {
	for _, p := range packages(t) {
		from, fromKnown := floor(p.path)
		if !fromKnown && !slices.ContainsFunc(free, func(f string) bool { return strings.HasPrefix(p.path, f) }) {
			t.Errorf("%s has no floor: give it one in levels", p.path)
		}
		for _, i := range p.imports {
			if i == "internal/postgres" && !strings.HasPrefix(p.path, "cmd/") && p.path != "internal/chaos" {
				t.Errorf("%s imports internal/postgres, which cmd, the durability suite and tests alone may", p.path)
			}
			if !fromKnown {
				continue
			}
			to, toKnown := floor(i)
			switch {
			case !toKnown:
				t.Errorf("%s imports %s, which has no floor", p.path, i)
			case to < from, to == from && neighbours[i]:
			default:
				t.Errorf("%s imports %s, which lies no lower", p.path, i)
			}
		}
	}
}

func TestWorkflowsKnowNeitherSQLNorVendors(t *testing.T) {
	for _, dep := range strings.Fields(list(t, "-deps", "./workflows")) {
		rest, ours := strings.CutPrefix(dep, module+"/")
		if ours && (rest == "internal/postgres" || strings.HasPrefix(rest, "edges/")) || strings.HasPrefix(dep, "github.com/jackc/") {
			t.Errorf("workflows depends on %s", dep)
		}
	}
}

func TestNoTemporalServerInTheProduct(t *testing.T) {
	for _, dep := range strings.Fields(list(t, "-deps", "-test", "./...")) {
		if strings.HasPrefix(dep, "go.temporal.io/server") {
			t.Errorf("the module depends on %s, which belongs in deploy/temporal", dep)
		}
	}
}

// callers are the only ones who start and tell workflows: one door. The bench starts
// bare ones of its own, on a queue of its own.
var callers = []string{"edges/ingress", "workers", "internal/bench"}

var calls = []string{"ExecuteWorkflow", "UpdateWorkflow", "SignalWorkflow", "SignalWithStartWorkflow", "UpdateWithStartWorkflow", "ResetWorkflowExecution"}

func TestOneDoorToTheWorkflows(t *testing.T) {
	found := 0
	eachFile(t, func(path string, file *ast.File, fset *token.FileSet) {
		dir := filepath.ToSlash(filepath.Dir(path))
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(calls, s.Sel.Name) {
				found++
				if !slices.Contains(callers, dir) {
					t.Errorf("%s calls %s", fset.Position(call.Pos()), s.Sel.Name)
				}
			}
			return true
		})
	})
	if found == 0 {
		t.Error("no call was found: the test is blind")
	}
}

// eachFile parses the module's files that are no tests; the nested modules are
// left out.
func eachFile(t *testing.T, visit func(path string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	root := moduleRoot(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if path != root && (nested == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err == nil {
			visit(relative, file, fset)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

type pkg struct {
	path    string
	imports []string // of this module
}

// packages lists the module's packages with what they import of it, without
// their tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	var out []pkg
	for line := range strings.Lines(list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		p := pkg{path: strings.TrimPrefix(fields[0], module+"/")}
		for _, i := range fields[1:] {
			if rest, ours := strings.CutPrefix(i, module+"/"); ours {
				p.imports = append(p.imports, rest)
			}
		}
		out = append(out, p)
	}
	if len(out) < 10 {
		t.Fatalf("go list names %d packages", len(out))
	}
	return out
}

func floor(path string) (int, bool) {
	for p := path; p != "."; p = filepath.Dir(p) {
		if n, ok := levels[p]; ok {
			return n, true
		}
	}
	return 0, false
}

func list(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = moduleRoot(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return string(out)
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}
