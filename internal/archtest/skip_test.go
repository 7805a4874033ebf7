package archtest

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// skipUnless finds tests that are left out where nobody sets a variable.
var skipUnless = regexp.MustCompile(`os\.(?:Getenv|LookupEnv)\("(HOWDAH_TEST_[A-Z_]+)"\)[^}]*t\.Skip`)

// TestSkipsAreLifted: a test that wants to be told where a real program runs is told
// by an end-to-end test. One that nobody runs hides what is broken.
func TestSkipsAreLifted(t *testing.T) {
	var e2e strings.Builder
	skipped := map[string]string{} // file by variable
	for _, file := range goFiles(t) {
		switch {
		case strings.HasPrefix(file, "test/e2e/"):
			e2e.WriteString(read(t, file))
		case path.Base(file) == "record_test.go": // writes testdata, by hand
		case strings.HasSuffix(file, "_test.go"):
			for _, m := range skipUnless.FindAllStringSubmatch(read(t, file), -1) {
				skipped[m[1]] = file
			}
		}
	}
	for variable, file := range skipped {
		if !strings.Contains(e2e.String(), variable+"=") {
			t.Errorf("%s is skipped without %s, and nothing in test/e2e sets it", file, variable)
		}
	}
	if len(skipped) == 0 {
		t.Error("no such test was found; the pattern is wrong")
	}
}
