package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is a Go file that ships.
type source struct {
	name string
	tree *ast.File
}

// sources parses the Go files below folders, without their tests.
func sources(t *testing.T, folders ...string) (out []source) {
	t.Helper()
	for _, file := range goFiles(t) {
		within := slices.ContainsFunc(folders, func(dir string) bool { return strings.HasPrefix(file, dir+"/") })
		if !within || strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, read(t, file), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, source{file, tree})
	}
	return out
}

// literal is the text of a string in the source; "" for anything else.
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return text
}

// constants are the constants whose names begin with a prefix and a capital, by their
// values as they are written: texts without quotes.
func constants(files []source, prefix string) map[string]string {
	named := regexp.MustCompile("^" + prefix + "[A-Z]")
	out := map[string]string{}
	for _, f := range files {
		ast.Inspect(f.tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if !named.MatchString(name.Name) || i >= len(spec.Values) {
					continue
				}
				if lit, ok := spec.Values[i].(*ast.BasicLit); ok {
					out[strings.Trim(lit.Value, `"`)] = name.Name
				}
			}
			return true
		})
	}
	return out
}

var inBackticks = regexp.MustCompile("`([^`]+)`")

// rows are what the tables below a heading of a document name in their first column:
// what is in backticks, or the whole where nothing is.
func rows(t *testing.T, file, heading string) (names []string) {
	t.Helper()
	_, text, ok := strings.Cut("\n"+read(t, file), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", file, heading)
	}
	text, _, _ = strings.Cut(text, "\n#")
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || strings.HasPrefix(cells[1], "---") {
			continue
		}
		found := inBackticks.FindAllStringSubmatch(cells[1], -1)
		if found == nil {
			names = append(names, strings.TrimSpace(cells[1]))
		}
		for _, m := range found {
			names = append(names, m[1])
		}
	}
	return names
}

// same compares what the code has with what a page names.
func same(t *testing.T, what, page string, code, named []string) {
	t.Helper()
	if len(code) < 2 {
		t.Fatalf("of %ss the code is found to have %v: the test looks in the wrong place", what, code)
	}
	for _, name := range code {
		if !slices.Contains(named, name) {
			t.Errorf("%s does not name the %s %s", page, what, name)
		}
	}
	for _, name := range named {
		if !slices.Contains(code, name) {
			t.Errorf("%s names the %s %s, which the code does not have", page, what, name)
		}
	}
}

func values(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

const (
	conditionsPage = "docs/reference/conditions.md"
	eventsPage     = "docs/reference/events.md"
	exitCodesPage  = "docs/reference/exit-codes.md"
)

// TestConditionsAreDocumented: the page names each condition, reason, state and kind of
// step there is, and no other.
func TestConditionsAreDocumented(t *testing.T) {
	public := sources(t, "api")
	var conditions []string
	for _, heading := range []string{"## Conditions of a cluster", "## Conditions of a node", "## Conditions of a service"} {
		conditions = append(conditions, rows(t, conditionsPage, heading)[1:]...)
	}
	same(t, "condition", conditionsPage, values(constants(public, "Condition")), conditions)
	same(t, "state of an operation", conditionsPage, values(constants(public, "Operation")), rows(t, conditionsPage, "## States of an operation")[1:])
	same(t, "state of a step", conditionsPage, values(constants(public, "Step")), rows(t, conditionsPage, "## States of a step")[1:])
	same(t, "intent", conditionsPage, values(constants(sources(t, "internal/agentapi"), "Intent")), rows(t, conditionsPage, "## Intents of a node")[1:])
	page := read(t, conditionsPage)
	for state := range constants(public, "State") {
		if !strings.Contains(page, "\n| `"+state+"` |") {
			t.Errorf("%s does not name the state %s", conditionsPage, state)
		}
	}
	reasons := reasonsOf(append(sources(t, "internal/cluster", "internal/node"), public...))
	if len(reasons) < 15 {
		t.Errorf("only these reasons were found: %v", reasons)
	}
	for _, reason := range reasons {
		if !strings.Contains(page, "`"+reason+"`") {
			t.Errorf("%s does not name the reason %s", conditionsPage, reason)
		}
	}
}

var reasonWord = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// reasonsOf finds the reasons of conditions: constants called so, fields and variables
// called Reason or reason, and words given to what adds a condition.
func reasonsOf(files []source) []string {
	out := map[string]string{}
	maps.Copy(out, constants(files, "[Rr]eason"))
	add := func(e ast.Expr) {
		if text := literal(e); reasonWord.MatchString(text) {
			out[text] = ""
		}
	}
	called := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return strings.EqualFold(e.Name, "reason")
		case *ast.SelectorExpr:
			return e.Sel.Name == "Reason"
		}
		return false
	}
	for _, f := range files {
		ast.Inspect(f.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if called(n.Key) {
					add(n.Value)
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if called(left) && i < len(n.Rhs) {
						add(n.Rhs[i])
					}
				}
			case *ast.CallExpr:
				if by, ok := n.Fun.(*ast.Ident); ok && (by.Name == "reason" || by.Name == "add" && path.Base(f.name) == "status.go") {
					for _, a := range n.Args {
						add(a)
					}
				}
			}
			return true
		})
	}
	return values(out)
}

// TestStepsAreDocumented: the page names each kind of step.
func TestStepsAreDocumented(t *testing.T) {
	kinds := map[string]string{}
	for _, f := range sources(t, "internal/cluster") {
		if path.Base(f.name) != "kinds.go" {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok && literal(kv.Key) != "" {
				kinds[literal(kv.Key)] = ""
			}
			return true
		})
	}
	same(t, "kind of step", conditionsPage, values(kinds), rows(t, conditionsPage, "## Kinds of steps")[1:])
}

var (
	eventWord = regexp.MustCompile(`^[a-z]+\.[a-z]+$`)
	fileName  = regexp.MustCompile(`\.(yaml|jar|properties)$`)
)

// makesEvents tells whether a file makes events of the history.
func makesEvents(f source) (makes bool) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if of, ok := lit.Type.(*ast.SelectorExpr); ok && of.Sel.Name == "Event" && len(lit.Elts) > 0 {
			pkg, ok := of.X.(*ast.Ident)
			makes = makes || ok && pkg.Name == "api"
		}
		return true
	})
	return makes
}

// TestEventsAreDocumented: the page names each type of event, and no other.
func TestEventsAreDocumented(t *testing.T) {
	public := sources(t, "api")
	types := map[string]string{}
	for value := range constants(public, "Event") {
		types[value] = ""
	}
	for _, f := range sources(t, "internal") {
		if !makesEvents(f) {
			continue
		}
		// Which type an event has may be settled anywhere in the file.
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if e, ok := n.(*ast.BasicLit); ok && eventWord.MatchString(literal(e)) && !fileName.MatchString(literal(e)) {
				types[literal(e)] = ""
			}
			return true
		})
	}
	// These types are put together of a word and a state.
	for state := range constants(public, "Operation") {
		if state != "queued" {
			types["operation."+state] = ""
		}
	}
	named := rows(t, eventsPage, "## Types")[1:]
	if !slices.Contains(named, "service.STATE") {
		t.Errorf("%s does not say that there is a type for each state of a service", eventsPage)
	}
	types["service.STATE"] = ""
	for _, kind := range []string{"job", "topology"} { // of workloads, which stacks have
		types[kind+".submitted"] = ""
	}
	same(t, "type of event", eventsPage, values(types), named)
}

// TestExitCodesAreDocumented: the page names each exit code and each kind of error.
func TestExitCodesAreDocumented(t *testing.T) {
	same(t, "exit code", exitCodesPage, values(constants(sources(t, "internal/cli"), "exit")), rows(t, exitCodesPage, "# Exit codes")[1:])
	kinds := values(constants(sources(t, "api"), "Problem"))
	row := regexp.MustCompile("(?m)^\\| `type` \\|.*$").FindString(read(t, exitCodesPage))
	for _, kind := range append(kinds, "failed", "timeout") {
		if !strings.Contains(row, "`"+kind+"`") {
			t.Errorf("%s does not name the kind of error %s", exitCodesPage, kind)
		}
	}
	if len(kinds) < 5 {
		t.Errorf("only the kinds of errors %v were found", kinds)
	}
}

var (
	proof    = regexp.MustCompile("`((?:internal|test)/[a-z0-9/]+)` ((?:(?:Test|Fuzz)[A-Za-z0-9]+(?:, | and )?)+)")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
	testName = regexp.MustCompile(`(?:Test|Fuzz)[A-Za-z0-9]+`)
)

// TestProofsAreThere: each test that a document names as a proof is in the package it
// names.
func TestProofsAreThere(t *testing.T) {
	in := map[string]bool{} // folder and test
	for _, file := range goFiles(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			in[path.Dir(file)+" "+m[1]] = true
		}
	}
	found := 0
	for file, text := range documents(t) {
		for _, m := range proof.FindAllStringSubmatch(text, -1) {
			for _, name := range testName.FindAllString(m[2], -1) {
				if found++; !in[m[1]+" "+name] {
					t.Errorf("%s names the test %s of %s, which is not there", file, name, m[1])
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d tests are named", found)
	}
}
