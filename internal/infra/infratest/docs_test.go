package infratest_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/infra/infratest"
)

// TestDocumented: the reference lists the cases, all of them and no others.
func TestDocumented(t *testing.T) {
	data, err := os.ReadFile("../../../docs/reference/driver-contract.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## Conformance\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var listed []string
	for line := range strings.Lines(section) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			listed = append(listed, name)
		}
	}
	if cases := infratest.Cases(); !slices.Equal(listed, cases) {
		t.Errorf("docs/reference/driver-contract.md lists under Conformance:\n%s\n\nthe cases are:\n%s", strings.Join(listed, "\n"), strings.Join(cases, "\n"))
	}
}
