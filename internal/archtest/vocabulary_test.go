package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// generic are the packages, with all below them, that serve every kind of cluster
// and so may know none: a new kind is a folder under stacks/ and no Go. Protocol
// clients live in internal/adapter, dialects in internal/serengeti.
var generic = []string{
	"agentapi", "artifact", "cluster", "definition", "document", "infra", "node",
	"op", "place", "plan", "probe", "server", "stack", "store",
}

// particular are the names of kinds of clusters and of their programs.
var particular = []string{
	"hdfs", "hadoop", "yarn", "storm", "nimbus", "zookeeper", "namenode", "datanode",
	"mapreduce", "mesos", "marathon",
}

// The fields of a definition that BDE named after one kind of cluster: the one we
// have too, and those that the package which reads definitions must recognise.
const (
	ourField  = "externalHDFS"
	bdeFields = ourField + "|externalMapReduce|externalNamenode|externalSecondaryNamenode|externalDatanodes"
)

// TestVocabulary looks at identifiers and string literals. Comments and the doc
// texts of struct tags may give examples.
func TestVocabulary(t *testing.T) {
	for _, file := range goFiles(t) {
		if !isGeneric(file) || strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, f := range foreignWords(t, file, read(t, file)) {
			t.Errorf("%s: %q names a kind of cluster; put it into a stack or an adapter", f.at, f.text)
		}
	}
}

func isGeneric(file string) bool {
	for _, name := range generic {
		if strings.HasPrefix(file, "internal/"+name+"/") {
			return true
		}
	}
	return false
}

type foreign struct {
	at   token.Position
	text string
}

func foreignWords(t *testing.T, file, source string) []foreign {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	except := ours
	if strings.HasPrefix(file, "internal/definition/") {
		except = bde
	}
	var found []foreign
	look := func(pos token.Pos, text string) {
		if slices.ContainsFunc(words(except.ReplaceAllString(text, "")), isParticular) {
			found = append(found, foreign{fset.Position(pos), text})
		}
	}
	tags := map[*ast.BasicLit]bool{}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if n.Tag != nil {
				tags[n.Tag] = true
			}
		case *ast.Ident:
			look(n.Pos(), n.Name)
		case *ast.BasicLit:
			if n.Kind == token.STRING && tags[n] {
				look(n.Pos(), docTag.ReplaceAllString(n.Value, ""))
			} else if n.Kind == token.STRING {
				look(n.Pos(), n.Value)
			}
		}
		return true
	})
	return found
}

var (
	docTag = regexp.MustCompile(`\bdoc:"(\\.|[^"\\])*"`)
	// A word begins at a capital after a small letter, or at the last of several
	// capitals: readHDFSFile is read, HDFS, File.
	boundary = regexp.MustCompile(`([a-z])([A-Z])|([A-Z])([A-Z][a-z])`)
	letters  = regexp.MustCompile(`[A-Za-z]+`)
	ours     = regexp.MustCompile(`\b(?i:` + ourField + `)\b`)
	bde      = regexp.MustCompile(`\b(?i:` + bdeFields + `)\b`)
)

func isParticular(word string) bool {
	return slices.Contains(particular, word) || slices.Contains(particular, strings.TrimSuffix(word, "s"))
}

// words splits identifiers and sentences into words in small letters. Compounds
// count whole and in parts: NameNode is namenode, name and node.
func words(text string) []string {
	var out []string
	for _, whole := range letters.FindAllString(text, -1) {
		parts := strings.Fields(boundary.ReplaceAllString(boundary.ReplaceAllString(whole, "$1$3 $2$4"), "$1$3 $2$4"))
		for i := range parts {
			out = append(out, strings.ToLower(parts[i]))
			if i > 0 {
				out = append(out, strings.ToLower(parts[i-1]+parts[i]))
			}
		}
	}
	return out
}

func TestVocabularyFinds(t *testing.T) {
	tests := []struct {
		code string
		want []string
	}{
		{`var hdfsPort int`, []string{"hdfsPort"}},
		{`func readHDFSFile() {}`, []string{"readHDFSFile"}},
		{`type NameNode struct{}`, []string{"NameNode"}},
		{`var isMapReduceJob bool`, []string{"isMapReduceJob"}},
		{`const s = "the resourcemanager of yarn is down"`, []string{`"the resourcemanager of yarn is down"`}},
		{`import _ "howdah.dev/howdah/internal/adapter/zookeeper"`, []string{`"howdah.dev/howdah/internal/adapter/zookeeper"`}},
		{"type T struct { A int `json:\"storm\" doc:\"x\"` }", []string{"`json:\"storm\" `"}},
		{"type T struct { A int `json:\"a\" doc:\"Hadoop \\\"XML\\\"\"` }", nil},
		{`// HDFS, for example.` + "\nvar x int", nil},
		{`var ExternalHDFS = "externalHDFS"`, nil},
		{`var ExternalHDFSLink int`, []string{"ExternalHDFSLink"}},
		{`const s = "externalMapReduce"`, []string{`"externalMapReduce"`}},
		{`const s = "2 datanodes"`, []string{`"2 datanodes"`}},
		{`var brainstorm, yarnish, nodeName = "barnstorming", "", ""`, nil},
	}
	for _, test := range tests {
		var got []string
		for _, f := range foreignWords(t, "x.go", "package x\n"+test.code) {
			got = append(got, f.text)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.code, got, test.want)
		}
	}
	if !isGeneric("internal/op/step.go") || isGeneric("internal/opera/x.go") || isGeneric(path.Join("cmd", "howdah", "main.go")) {
		t.Error("isGeneric must go by whole folder names")
	}
}
