package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/api"
)

// TestSecurity: what is weaker is named with its cluster, and what is not protected
// is said in the words of the documentation.
func TestSecurity(t *testing.T) {
	var b strings.Builder
	p := posture{Posture: "single-user", User: "ada", Address: "http://127.0.0.2:7070", Bounds: bounds(), Risks: []api.Risk{
		{Kind: "token-without-end", Message: "the token \"ci\" has no end", Remedy: "howdah token revoke 3f2a"},
	}, Weaker: []weakPoint{
		{"cell", "worker on w1: runc: no limits; docker: no user namespace\x1b[2J"},
	}}
	p.show(&b)
	text := b.String()
	for _, piece := range append(bounds(), "posture  single-user: one person", "To be mended:\n  the token \"ci\" has no end\n    howdah token revoke 3f2a\n", "user     ada: ", "  cell: worker on w1: runc: no limits;\n    docker: no user namespace", "127.0.0.2:7070, on loopback alone") {
		if !strings.Contains(text, piece) {
			t.Errorf("it does not say %q:\n%s", piece, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("a message reaches the terminal as it is")
	}
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "explanation", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sentence := range bounds() {
		if !strings.Contains(string(docs), sentence) {
			t.Errorf("docs/explanation/security.md does not say %q", sentence)
		}
	}
	b.Reset()
	posture{Posture: "single-user"}.show(&b)
	if !strings.Contains(b.String(), "No cluster says that something is weaker here") {
		t.Error(b.String())
	}
}
